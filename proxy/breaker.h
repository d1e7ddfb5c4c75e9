/* breaker.h - may this endpoint, model or path be tried now?
 *
 * One breaker guards one scope. It owns no clock, no lock and does no I/O: callers pass monotonic
 * milliseconds, so its tests never sleep.
 *
 *   CLOSED --(failures in a row, or a failure rate)--> OPEN --(cooled)--> HALF_OPEN
 *   HALF_OPEN --(three probes have output)--> CLOSED    HALF_OPEN --(one fails)--> OPEN, for longer
 *
 *   CLOSED     every request may go.
 *   OPEN       no request may go before `retry_at`.
 *   HALF_OPEN  some requests, the probes, are out: one at first, three at a time after the first
 *              success, five after the second. The place of one that never comes back is free again
 *              in the end.
 *
 * Every change of state starts a new epoch. Results of requests from an older epoch are ignored: a
 * slow request sent before the outage says nothing about the target now.
 */
#ifndef HOLDFAST_PROXY_BREAKER_H
#define HOLDFAST_PROXY_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/attributes.h"
#include "proxy/base/rng.h"

struct breaker_config {
    unsigned consecutive;  /* failures in a row that open it, at least 1 */
    unsigned min_calls;    /* results in the window before the rate counts */
    double failure_rate;   /* 0..1: that share of failures opens it */
    uint64_t window_ms;    /* what the rate looks back on */
    uint64_t open_base_ms; /* how long it stays open the first time */
    uint64_t open_cap_ms;  /* doubled each time the probe fails, up to this */
};

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

typedef uint32_t breaker_pass; /* leave to send one request; 0: not now */

#define BREAKER_SLOTS 10 /* the window is counted in tenths */

struct breaker {
    struct breaker_config cfg;
    struct rng rng; /* jitter, so that many proxies do not probe in step */
    enum breaker_state state;
    breaker_pass epoch;      /* never 0 */
    unsigned failures;       /* in a row */
    uint64_t last_failure;   /* when; a streak older than STREAK_MS is forgotten */
    unsigned opened;         /* times in a row without closing */
    uint64_t retry_at;       /* OPEN: when a probe may go */
    unsigned probes, won;    /* HALF_OPEN: those that are out, and those that had output */
    uint64_t probed_at;      /* ... and when the last of them went */
    uint64_t last_resort_at; /* when a request was let through although open */
    struct {
        uint64_t tenth; /* number of the window's tenth since time 0 */
        unsigned ok, failed;
    } slots[BREAKER_SLOTS];
};

void breaker_init(struct breaker *b, const struct breaker_config *cfg, uint64_t seed);

/* Goes on from where another one stands, whose passes never come back here. */
void breaker_inherit(struct breaker *b, const struct breaker *from, uint64_t now_ms);

/* Every pass but 0 comes back through exactly one of ok, fail and drop. */
breaker_pass breaker_ask(struct breaker *b, uint64_t now_ms) MUST_CHECK;

/* For a request that no target would take: lets it through as a probe, at most one a second, so
 * that a route whose targets are all open is never dead for good. */
breaker_pass breaker_ask_last_resort(struct breaker *b, uint64_t now_ms) MUST_CHECK;

/* Is the pass a probe's? */
bool breaker_is_probe(const struct breaker *b, breaker_pass p);

/* Has the state changed since the pass was given? Then its result no longer counts. */
bool breaker_is_late(const struct breaker *b, breaker_pass p);

/* The first output is there: a probe has won, whatever comes later. Returns the pass to go on with.
 */
breaker_pass breaker_output(struct breaker *b, breaker_pass p, uint64_t now_ms) MUST_CHECK;

void breaker_ok(struct breaker *b, breaker_pass p, uint64_t now_ms);
void breaker_fail(struct breaker *b, breaker_pass p, uint64_t now_ms);
void breaker_drop(struct breaker *b, breaker_pass p, uint64_t now_ms); /* no verdict */

/* What the window has seen, of all requests whose pass has come back. */
void breaker_counts(const struct breaker *b, uint64_t now_ms, unsigned *ok, unsigned *failed);

/* How long until a request may go: 0 when it may now; a second while the probes are out. */
uint64_t breaker_wait_ms(const struct breaker *b, uint64_t now_ms);

const char *breaker_state_name(enum breaker_state s); /* closed, open, half_open */

#endif
