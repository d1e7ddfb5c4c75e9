/* metrics.h - what the program counts, and how Prometheus reads it.
 *
 * Label sets are closed: routes, dialects and targets come from the configuration when the registry
 * is made, outcomes from the failure table. Nothing that a client sends becomes a label, so the
 * number of series has a bound. Callers name routes and targets by their index; METRICS_NONE (or
 * any index past the end) counts under the label "none".
 *
 * Recording is a handful of relaxed atomic additions: any thread, no lock, no allocation. What is
 * not counted but measured at the moment (breakers, requests in flight) is asked for by callback
 * when metrics are written.
 */
#ifndef HOLDFAST_OPS_METRICS_H
#define HOLDFAST_OPS_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/strbuf.h"
#include "providers/chat.h"
#include "providers/failure.h"

#define METRICS_NONE SIZE_MAX

struct metrics_target_label {
    const char *provider;
    const char *model; /* NULL: the client's own; the label is "*" */
};

/* Names that occur twice share one series, so that a configuration that says something twice does
 * not make a page that Prometheus refuses. */
struct metrics_labels {
    const char *const *routes;
    size_t n_routes;
    const char *const *dialects;
    size_t n_dialects;
    const struct metrics_target_label *targets;
    size_t n_targets;
    uint64_t start_wall_ms; /* when the process started, UTC since 1970 */
};

/* What happened after the answer had begun and its provider failed. */
enum metrics_midstream {
    MIDSTREAM_CONTINUED, /* another target carried the answer on */
    MIDSTREAM_ALIGNED,   /* another target repeated it, and it went on behind what was sent */
    MIDSTREAM_ERROR,     /* the client got an error inside the stream */
    MIDSTREAM_RESULTS,
};

/* What became of a second attempt beside a slow first one. */
enum metrics_hedge {
    HEDGE_RESULT_WON,    /* it had its output first */
    HEDGE_RESULT_LOST,   /* the first one had */
    HEDGE_RESULT_FAILED, /* it failed, or nobody answered */
    HEDGE_RESULTS,
};

/* How an answer that is kept was found. */
enum metrics_replay {
    REPLAYED_BY_KEY,    /* a retry with the same Idempotency-Key */
    REPLAYED_BY_STREAM, /* a stream was taken up again */
    REPLAYED_WAYS,
};

struct metrics;

struct metrics *metrics_new(const struct metrics_labels *labels); /* copies what it needs */
/* Moves all that `from` has counted over to the series of the same labels; what has none is lost.
 * Others may be counting in both at the same time. */
void metrics_absorb(struct metrics *m, struct metrics *from);

void metrics_free(struct metrics *m); /* NULL is fine */

/* One exchange is over. */
void metrics_request(struct metrics *m, size_t route, size_t dialect, enum failure outcome,
                     uint64_t duration_us);
/* How many exchanges have ended, and how many of them well: for the status page. */
void metrics_totals(const struct metrics *m, uint64_t *requests, uint64_t *ok);
/* The first output of an exchange went to the client; `target` gave it. */
void metrics_first_token(struct metrics *m, size_t target, uint64_t us);
/* The time that this proxy itself added to an exchange. */
void metrics_overhead(struct metrics *m, uint64_t us);
/* One attempt is over. */
void metrics_attempt(struct metrics *m, size_t target, enum failure outcome, uint64_t us);
/* An exchange moved from one target to the next because of `reason`. */
void metrics_failover(struct metrics *m, size_t from, size_t to, enum failure reason);
void metrics_midstream(struct metrics *m, enum metrics_midstream result);
void metrics_hedge(struct metrics *m, enum metrics_hedge result);
void metrics_replay(struct metrics *m, enum metrics_replay how);
const char *metrics_replay_label(enum metrics_replay how); /* also for the log */
/* What a provider says it has counted; nothing where usage->seen is false. */
void metrics_tokens(struct metrics *m, size_t target, const struct chat_usage *usage);

enum metrics_breaker { METRICS_CLOSED, METRICS_HALF_OPEN, METRICS_OPEN };
enum metrics_scope { METRICS_MODEL, METRICS_ENDPOINT, METRICS_PATH, METRICS_SCOPES };

/* How a target is at this moment. */
struct metrics_target_now {
    enum metrics_breaker breaker[METRICS_SCOPES];
    uint64_t in_flight;  /* attempts */
    uint64_t limit;      /* of those at once; 0: none */
    bool may_be_asked;   /* breakers and rests allow it */
    double retry_tokens; /* in its retry budget */
};

/* Asked from the thread that writes the metrics; must be safe there. */
struct metrics_now {
    void *ctx;
    void (*target)(void *ctx, size_t target, struct metrics_target_now *out);
    /* How many targets of a route may be asked. */
    size_t (*route)(void *ctx, size_t route);
    uint64_t kept_answers, kept_bytes; /* for clients who come back */
    bool reload_failed;                /* the last change of the configuration was refused */
};

/* Appends all metrics in the text exposition format 0.0.4. `now` may be NULL: no gauges then. */
void metrics_write(const struct metrics *m, const struct metrics_now *now, struct strbuf *out);

#endif
