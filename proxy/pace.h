/* pace.h - how soon does a target give its first output, and was it dead or slow a moment ago?
 *
 * Three things come of the times to first output: when a request has waited so long that another
 * target should start beside (hedge_ms), that a target has become much slower than it used to be
 * (degraded), and, together with the failures that cost a caller time, the soft memory: such a
 * target stands behind the others for a while, so that not every request pays for finding out. It
 * is an order, no ban: whoever has no other target asks it all the same.
 *
 * No clock, no lock: callers pass monotonic milliseconds.
 */
#ifndef HOLDFAST_PROXY_PACE_H
#define HOLDFAST_PROXY_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/attributes.h"

/* Requests whose first output may be compared: a whole answer, a stream, each with reasoning, and a
 * count of tokens or vectors: no model makes both. */
enum pace_kind {
    PACE_WHOLE,
    PACE_STREAM,
    PACE_WHOLE_REASONING,
    PACE_STREAM_REASONING,
    PACE_COUNT,
    PACE_KINDS
};

#define PACE_BUCKETS 64

struct pace_times {
    unsigned n; /* halved with all counts when it gets large, so that old ones fade */
    uint16_t counts[PACE_BUCKETS];
};

struct pace {
    struct pace_times times[PACE_KINDS];
    uint16_t slow; /* of the last outputs, newest in bit 0: did they take much longer than usual? */
    unsigned judged;   /* how many of those bits mean something */
    unsigned streak;   /* times behind in a row; 0: it is not */
    uint64_t until_ms; /* behind until then; afterwards one request may try, and then the next */
    bool trial;        /* it is out */
};

void pace_init(struct pace *p);

/* Where the target stands for the next request. */
enum pace_place {
    PACE_FRONT,
    PACE_TRIAL, /* one request may see whether it is well again */
    PACE_BEHIND,
};
enum pace_place pace_place(const struct pace *p, uint64_t now_ms);

void pace_try(struct pace *p, uint64_t now_ms);    /* a trial goes: no second one beside it */
void pace_unsaid(struct pace *p, uint64_t now_ms); /* ... and ended without saying anything */

/* The first output of a request came `ms` after it was asked. */
void pace_output(struct pace *p, enum pace_kind kind, uint64_t ms, uint64_t now_ms);

/* A failure cost its caller time. */
void pace_failed(struct pace *p, uint64_t now_ms);

/* How long to wait for first output before another target starts beside: twice the 95th percentile,
 * between 1 and 30 s; without history 8 s, or 30 s where reasoning was asked for. */
uint64_t pace_hedge_ms(const struct pace *p, enum pace_kind kind);

/* The q-th quantile of the times to first output, in ms; 0 without history. */
uint64_t pace_quantile(const struct pace *p, enum pace_kind kind, double q);

/* For people: the same over all streams, or over all whole answers, with reasoning and without, and
 * from the first one on; 0: there was none. */
uint64_t pace_typical(const struct pace *p, bool streams, double q);

#endif
