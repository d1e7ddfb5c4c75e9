/* failover.h - the decision core: an event goes in, orders come out.
 *
 * One instance decides one exchange, for every endpoint and dialect. It does no I/O and reads no
 * clock: whoever drives it (the exchange, or a simulator) passes the time and carries out the
 * orders.
 *
 *                    +--------- next target, or the same again after a pause ---------+
 *                    v                                                                  |
 *   BEGIN --> TRY a target --> connected --> first output --> COMMIT --> complete --> FINISH
 *      |             |              |              |
 *      v             +---- timer, failure --------+              +-- timer, failure --> carried on
 *    queue                 (invisible)                               by another TRY, or BREAK
 *                                                                    (a true error in the answer)
 *
 *   no output by its hedge time --> TRY the next one beside it: the first output wins, the other is
 *   DROPped; or, where there is no hedge to be had, in its place
 *
 *   nothing left and nothing sent --> REFUSE (an error answer that names every attempt)
 *
 * Before the commit every failure moves on invisibly; after it the answer is never contradicted. At
 * most two attempts are live, and only before the commit.
 *
 * Output may be held back: a tool call until it is complete, the beginning for a while, or all of
 * the answer. Its attempt has won then (no other one is asked), but is not committed: should it
 * fail, that is invisible still.
 *
 * When a committed answer breaks, and what the client has of it can be carried on (seam.h; the
 * caller knows that, and tells with the event), another target is asked to go on. Nothing of that
 * one is sent until it fits: then it is COMMITted, and owns the client from there. If it does not
 * fit or fails, the next way or the next target is tried; if none is left, BREAK tells of what
 * broke the answer.
 *
 * Timers, each on its own: connect (name and TCP), tls (until the handshake is done), first_token
 * (or `answer` for an answer that is not streamed), idle (between two outputs), total (everything).
 */
#ifndef HOLDFAST_PROXY_FAILOVER_H
#define HOLDFAST_PROXY_FAILOVER_H

#include "proxy/base/arena.h"
#include "proxy/base/rng.h"
#include "proxy/seam.h"
#include "proxy/target.h"

#define FAILOVER_MAX_TRIES 16

/* Limits of one attempt, in ms, already merged for its target. */
struct failover_timers {
    uint64_t connect, tls, first_output, idle;
};

struct failover_candidate {
    struct target *target;
    struct failover_timers timers;
    unsigned place;     /* its number in the route */
    uint64_t window;    /* tokens that its model takes; 0: unknown */
    bool behind;        /* asked after those that are not */
    bool away;          /* not of the route's first tier: new load there */
    enum failure unfit; /* why it cannot serve this request at all, and is passed over without a
                           call; FAILURE_NONE: it can */
    unsigned ways;      /* in which it can be asked to carry an answer on, as SEAM_BITs */
    uint8_t tries;
    unsigned ways_used;   /* in which it was asked to carry this answer on */
    uint32_t keys_used;   /* mask: no key is tried twice */
    uint8_t waits;        /* tries of it that came after a pause */
    bool full;            /* the last of them was refused for want of room */
    bool given_up;        /* its last failure rules it out for this request */
    uint64_t not_before;  /* for another try of the same target */
    enum failure skipped; /* why it was passed over without a call, FAILURE_NONE if it was not */
};

enum failover_phase {
    PHASE_CONNECTING,
    PHASE_WAITING,
    PHASE_STREAMING,
    PHASE_FINISHING,
    PHASE_ENDED
};

/* One attempt, or one target passed over: a line of the trail. */
struct failover_try {
    uint8_t candidate;      /* UINT8_MAX: the request's own end */
    bool skipped;           /* no call was made */
    enum failure rests_for; /* ... because of that failure of an earlier request, or FAILURE_NONE */
    bool hedge;             /* it was started beside another one */
    bool mended;            /* see the event */
    bool carries_on;        /* an answer that another try began ... */
    enum seam_way way;      /* ... and how it is asked to */
    enum failover_phase phase;
    struct ticket ticket;
    enum failure outcome;
    unsigned status; /* upstream's, 0 where there was none */
    uint64_t retry_after_ms;
    uint64_t first_output; /* its limit, ms: the candidate's, or its share of the time left */
    uint64_t started_ms, output_ms, progress_ms, ended_ms; /* output_ms: 0 before the first */
};

enum failover_event_kind {
    FAILOVER_CONNECTED, /* the request goes out */
    FAILOVER_OUTPUT,    /* real output came; an answer in one piece only ever is COMPLETE */
    FAILOVER_PROGRESS,  /* something of the answer came that is not output */
    FAILOVER_STOPPED,   /* every choice has its finish reason; only end markers may follow */
    FAILOVER_COMPLETE,  /* the answer is whole */
    FAILOVER_FAILED,    /* the attempt is over: `failure` says how */
    FAILOVER_TICK,      /* failover_due() has come */
    FAILOVER_GONE,      /* the client left */
    FAILOVER_STOP,      /* the program ends: no more time */
};

/* OUTPUT: when may it go to the client? */
enum failover_hold {
    HOLD_NOT,    /* now */
    HOLD_WINDOW, /* when it is told again, or the policy's time is over */
    HOLD_ALL,    /* when it is told again, or complete */
};

struct failover_event {
    enum failover_event_kind kind;
    int try; /* which live one it is about; TICK, GONE and STOP are about none */
    enum failure failure;
    unsigned status;
    uint64_t retry_after_ms;
    bool mended; /* FAILED: the same target takes the request in other words; at once again */
    enum failover_hold hold;
    unsigned ways;  /* FAILED, TICK: in which what the client has can be carried on; SEAM_BITs */
    bool tcp_up[2]; /* TICK: as in `live`: is its TCP connection up, and only TLS missing? */
};

enum failover_order_kind {
    ORDER_TRY,       /* start an attempt */
    ORDER_DROP,      /* abandon it: close its connection */
    ORDER_COMMIT,    /* its held answer goes to the client; maybe behind that of another try */
    ORDER_FINISH,    /* ... and is complete: end it well */
    ORDER_BREAK,     /* the answer cannot be completed: a true error inside it, then an abort */
    ORDER_REFUSE,    /* nothing was sent: an error answer. f->verdict says which try speaks */
    ORDER_HEARTBEAT, /* keep the client's connection alive without saying anything */
};

struct failover_order {
    enum failover_order_kind kind;
    int try; /* of TRY, DROP, COMMIT and FINISH: index into f->tries */
};

struct failover_orders {
    unsigned n;
    struct failover_order v[6];
};

#define FAILOVER_HEDGE_AUTO 0
#define FAILOVER_HEDGE_OFF  UINT64_MAX

struct failover_policy {
    unsigned max_attempts, per_target;
    uint64_t total_ms;     /* for the whole exchange */
    uint64_t heartbeat_ms; /* silence towards the client before a heartbeat; 0: never */
    uint64_t hedge_ms;     /* until a second target starts beside the first; or AUTO, or OFF */
    uint64_t queue_ms;     /* longest wait for a place at a target */
    uint64_t window_ms;    /* HOLD_WINDOW: how long the beginning of an answer is held */
    enum pace_kind kind;
    bool retried; /* the client itself tries again: one layer of retries is enough */
    struct target_set *set;
    size_t route; /* whose queue it is */
};

struct failover {
    struct failover_policy policy;
    struct rng rng;
    uint64_t started_ms, deadline_ms;
    unsigned n_candidates, n_tries, n_attempts; /* tries: with those passed over; attempts: calls */
    int live[2]; /* indices of the live tries, -1 if none: the first, and the hedge beside it */
    uint64_t wait_until_ms; /* pause before the next try; 0: not waiting */
    int again;              /* the candidate that the pause is for; -1: whoever is due */
    uint64_t hedge_at_ms;   /* when a second target may start beside the first; UINT64_MAX: never */
    bool hedge_wanted;      /* it has been counted */
    bool hedged;            /* it has started: once is enough */
    struct queue_waiter waiter; /* in the route's queue while `waiting` */
    uint64_t queue_until_ms, look_ms;
    uint64_t queued_ms, queued_at_ms; /* how long it has been there, until when that is counted */
    uint64_t said_ms;                 /* when the client last got a byte */
    bool committed, opened, ended;    /* opened: a heartbeat has sent the status line */
    int final; /* a try whose failure no other target can mend, while another one was live; -1 */
    int owner; /* the try whose answer the client gets, or got last; -1 before the commit */
    int cut;   /* the try whose failure broke the answer that the client has begun to get; -1 */
    uint64_t commit_at_ms; /* HOLD_WINDOW: when its time is over; UINT64_MAX: no time */
    int verdict;           /* REFUSE, BREAK: the try whose failure is told; -1: no target at all */
    uint64_t retry_after_ms; /* REFUSE: the shortest wait that would help, or RETRY_AFTER_NONE */
    struct failover_candidate *candidates; /* from the arena: max_candidates of them */
    struct failover_try *tries;            /* ... and room for every line that the trail can get */
    unsigned max_candidates;
};

/* Candidates in order of preference are added by the caller before failover_begin. */
void failover_init(struct failover *f, const struct failover_policy *p, unsigned max_candidates,
                   uint64_t seed, struct arena *a);
void failover_add(struct failover *f, const struct failover_candidate *c);
void failover_begin(struct failover *f, uint64_t now_ms, struct failover_orders *out);

void failover_step(struct failover *f, const struct failover_event *ev, uint64_t now_ms,
                   struct failover_orders *out);

/* Output or progress of a committed attempt that is live: the hot path's short way, no orders come
 * of it. `said`: the client got some of it. */
static inline void failover_progress(struct failover *f, bool said, uint64_t now_ms)
{
    f->tries[f->live[0]].progress_ms = now_ms;
    if (said)
        f->said_ms = now_ms;
}

/* The request of the live attempt is still on its way from the client, and more of it went out: its
 * time begins when all has. */
void failover_asking(struct failover *f, uint64_t now_ms);

/* When a TICK must come at the latest. Never in the past for long: there is no wait without a
 * timer. */
uint64_t failover_due(const struct failover *f);

/* The outcome of the whole exchange, for the client, log and metrics, once it has ended. */
enum failure failover_outcome(const struct failover *f);

#endif
