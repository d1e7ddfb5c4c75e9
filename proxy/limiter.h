/* limiter.h - how many requests at once does one key of one model take?
 *
 * Learnt from losses alone: answers that say "too many", and answers that never began. Times are no
 * measure here, because a long answer takes long on a target that has all the room in the world.
 *
 * A target that refuses nothing is not limited for the requests that are at home there (their route
 * names it first). Requests that fail over to it are new load: they begin with few and get more as
 * long as they are taken. Once too large a share of a second's requests is lost, there is a limit
 * for all, and where the target is somebody's home, half of it is kept for those.
 *
 * No clock, no lock: callers pass monotonic milliseconds.
 */
#ifndef HOLDFAST_PROXY_LIMITER_H
#define HOLDFAST_PROXY_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/attributes.h"

struct limiter {
    double tolerance; /* the share of losses that is borne, 0..1 */
    bool reserve;     /* it is somebody's home */
    double limit;
    bool capped;     /* holds for requests at home too */
    bool slow_start; /* grows by half each second, not by a twentieth */
    unsigned in_flight, away;
    uint64_t window_ms;      /* when the current second began; 0: none yet */
    unsigned ok, lost, peak; /* in it; peak: of those that the limit holds for */
    uint64_t lost_ms;        /* the last loss */
    unsigned refused;        /* in a row, by a target that serves others */
    uint64_t pause_ms;       /* no more of them until then */
};

void limiter_init(struct limiter *l, double tolerance, bool reserve);

/* Goes on from what another one has learnt; its places do not come back here. */
void limiter_inherit(struct limiter *l, const struct limiter *from);

/* A place, or not. `away`: the request is at home elsewhere. Each place comes back. */
bool limiter_take(struct limiter *l, bool away, uint64_t now_ms) MUST_CHECK;
void limiter_give(struct limiter *l, bool away);

/* One request of those under way was accepted (its first output came), or was lost. */
void limiter_ok(struct limiter *l, uint64_t now_ms);
void limiter_lost(struct limiter *l, uint64_t now_ms);

/* It was refused at once although the target serves others: after some in a row there is a pause,
 * for a place limit alone does not slow down who is refused within milliseconds. */
void limiter_refused(struct limiter *l, uint64_t now_ms);

/* The target is back after an outage: it gets its load by and by. */
void limiter_recover(struct limiter *l, uint64_t now_ms);

/* The share of its limit that is in use, as a request from elsewhere sees it; above 1 is possible.
 */
double limiter_use(const struct limiter *l);

/* How many may be under way at once now, for the status; 0: there is no limit. */
unsigned limiter_limit(const struct limiter *l);

#endif
