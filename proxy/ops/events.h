/* events.h - what has happened lately, for people who look: a short memory, not a log.
 *
 * Two things are kept, both of fixed size: the last moves from one target to another, broken
 * answers and changes of breakers (the same again within seconds is counted, not repeated, so that
 * an outage does not push out its own beginning); and who answered, in slots of some seconds.
 * Names are copied: a target may be gone from the configuration while it is still spoken of.
 *
 * Any thread; one lock, held for a few comparisons. Time is monotonic and passed in.
 */
#ifndef HOLDFAST_OPS_EVENTS_H
#define HOLDFAST_OPS_EVENTS_H

#include <stdint.h>

#include "proxy/base/strbuf.h"

#define EVENTS_KEPT    200
#define EVENTS_SLOT_MS 5000
#define EVENTS_SLOTS   120 /* ten minutes */

struct events;

struct events *events_new(void);
void events_free(struct events *e); /* NULL is fine */

/* One event. `what`: "failover", "hedge", "breaker open", ... and `why`, a label of the failure
 * table, are constants. `to` may be NULL. */
struct event {
    const char *what, *why;
    const char *target, *to;
};
void events_add(struct events *e, const struct event *ev, uint64_t now_ms);

/* A request got its answer from `target`, or with NULL a failure of ours. */
void events_answered(struct events *e, const char *target, uint64_t now_ms);

/* Appends a JSON document, the newest event first, the oldest slot first. */
void events_write(struct events *e, uint64_t now_ms, struct strbuf *out);

#endif
