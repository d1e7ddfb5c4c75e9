/* queue.h - requests of one route that wait for a place at a target.
 *
 * The first to come is the first to go, until the oldest has waited for a second. From then on the
 * newest goes first: those who wait longest are the likeliest to have given up by the time of their
 * turn, and serving them first would make everybody wait that long.
 *
 * No clock, no lock, no wake-ups: who waits asks again every QUEUE_LOOK_MS.
 */
#ifndef HOLDFAST_PROXY_QUEUE_H
#define HOLDFAST_PROXY_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/attributes.h"

#define QUEUE_LOOK_MS 20
#define QUEUE_AT_ONCE                                                                              \
    8 /* the first of the line: each looks in its own time, and there may be room for several */

/* In the memory of who waits. */
struct queue_waiter {
    struct queue_waiter *older, *newer;
    uint64_t since_ms;
    uint32_t wants; /* a mask of the route's targets that it would take */
    bool waiting;
};

struct queue {
    struct queue_waiter *oldest, *newest;
    unsigned n;
};

/* False when `max` wait already. */
bool queue_enter(struct queue *q, struct queue_waiter *w, uint32_t wants, unsigned max,
                 uint64_t now_ms) MUST_CHECK;
void queue_leave(struct queue *q, struct queue_waiter *w); /* fine when it does not wait */

/* Is it this one's turn for target number `target`: is it among the first of the line? NULL:
 * somebody who has only just come. */
bool queue_turn(const struct queue *q, const struct queue_waiter *w, unsigned target,
                uint64_t now_ms);

#endif
