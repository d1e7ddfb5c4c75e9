#include "proxy/failover.h"

#include <assert.h>

#include "proxy/base/backoff.h"

/* After the finish reason only a usage event and the end marker may come; a provider that keeps the
 * connection open instead has still given a whole answer. */
#define FINISH_MS 500

/* Before the same target is asked again, unless it named a time. */
#define PAUSE_LOW_MS  100
#define PAUSE_HIGH_MS 300

/* The only target, and its rate limit names no time: the wait is doubled each time. */
#define LIMITED_BASE_MS 500
#define LIMITED_CAP_MS  8000

/* The longest Retry-After that is waited out within a request. */
#define SAME_WAIT_MAX_MS 2500

/* A try is not started with less than this left. */
#define LEAST_TRY_MS 10

/* What is left of the request's time is shared among the targets that are left, but no try gets
 * less than this, and something is kept for telling the client. */
#define LEAST_SHARE_MS 5000
#define TELL_MS        2000

#define MOST_WAITS 3 /* of one target that has no room for another try */

#define PROBE_HEDGE_MS 2000 /* no caller waits longer for a target that may still be dead */
#define HEDGE_LOOK_MS  500  /* after a hedge that could not be had */

#define ROOM_MS                                                                                    \
    1000 /* a guess: who had no room for one more, and names no time, may have it then */

#define QUEUE_MOST    256 /* of one route; who is behind them would not get a place in time */
#define QUEUE_LOW_MS  2000
#define QUEUE_HIGH_MS 6000 /* when to come again: spread, so that not all come at once */
#define QUEUE_SHARE   3    /* of the time left, the part that may be waited */

/* An answer is not carried on with less than this part of the request's time left: the new target
 * has to come as far first. */
#define CARRY_TIME_TENTHS 3

void failover_init(struct failover *f, const struct failover_policy *p, unsigned max_candidates,
                   uint64_t seed, struct arena *a)
{
    /* Each target is passed over once at most; one line more tells the request's own end. */
    unsigned most_lines = max_candidates + p->max_attempts + 1;

    *f = (struct failover){
        .policy = *p,
        .rng = {seed},
        .live = {-1, -1},
        .again = -1,
        .hedge_at_ms = UINT64_MAX,
        .final = -1,
        .owner = -1,
        .cut = -1,
        .commit_at_ms = UINT64_MAX,
        .verdict = -1,
        .retry_after_ms = RETRY_AFTER_NONE,
        .candidates = arena_alloc(a, max_candidates * sizeof(*f->candidates)),
        .tries = arena_alloc(a, most_lines * sizeof(*f->tries)),
        .max_candidates = max_candidates,
    };
}

void failover_add(struct failover *f, const struct failover_candidate *c)
{
    assert(f->n_candidates < f->max_candidates);
    f->candidates[f->n_candidates++] = *c;
}

static void order(struct failover_orders *out, enum failover_order_kind k, int try)
{
    assert(out->n < ARRAY_LEN(out->v));
    out->v[out->n++] = (struct failover_order){k, try};
}

static struct failover_candidate *candidate_of(struct failover *f, int try)
{
    return &f->candidates[f->tries[try].candidate];
}

/* ---- ending ------------------------------------------------------------------------------- */

/* A live try is over; its ticket goes back. */
static void end_try(struct failover *f, int try, enum failure why, unsigned status,
                    uint64_t retry_after_ms, uint64_t now_ms)
{
    struct failover_try *t = &f->tries[try];

    assert(t->phase != PHASE_ENDED && (f->live[0] == try || f->live[1] == try));
    t->phase = PHASE_ENDED;
    t->outcome = why;
    t->status = status;
    t->retry_after_ms = retry_after_ms;
    t->ended_ms = now_ms;
    target_end(candidate_of(f, try)->target, &t->ticket, why, status, retry_after_ms, now_ms);
    if (f->live[0] == try)
        f->live[0] = f->live[1];
    f->live[1] = -1;
}

static void drop(struct failover *f, int try, enum failure why, uint64_t retry_after_ms,
                 uint64_t now_ms, struct failover_orders *out)
{
    end_try(f, try, why, 0, retry_after_ms, now_ms);
    order(out, ORDER_DROP, try);
}

static void leave_queue(struct failover *f)
{
    target_queue_leave(f->policy.set, f->policy.route, &f->waiter);
}

static void end_all(struct failover *f, enum failover_order_kind k, struct failover_orders *out)
{
    assert(!f->ended && f->live[0] < 0); /* one terminal outcome, no try left behind */
    leave_queue(f);
    f->ended = true;
    f->wait_until_ms = 0;
    order(out, k, f->verdict);
}

/* What a client is told of it: that a model is gone, also when that is known from before. */
static enum failure told(const struct failover_try *t)
{
    return t->rests_for != FAILURE_NONE ? t->rests_for : t->outcome;
}

/* Nothing more can be tried. The failure that helps the client most is told, and of a target that
 * was asked after all not that it was passed over before; the wait that would help is the shortest
 * of all. */
static void give_up(struct failover *f, struct failover_orders *out)
{
    bool full = f->n_tries > 0 && f->tries[f->n_tries - 1].outcome == QUEUE_FULL;
    int best = -1;

    for (unsigned i = 0; i < f->n_tries; i++) {
        const struct failover_try *t = &f->tries[i];
        uint64_t wait_ms;
        bool asked_after =
            t->skipped && t->candidate != UINT8_MAX && f->candidates[t->candidate].tries > 0;

        if (!asked_after &&
            (best < 0 || failure_rank(told(t)) >= failure_rank(told(&f->tries[best]))))
            best = (int)i;
        wait_ms = t->retry_after_ms;
        if (wait_ms == RETRY_AFTER_NONE && t->outcome == QUOTA)
            wait_ms = RETRY_AFTER_CAP;
        if (wait_ms == RETRY_AFTER_NONE && (failure_row(t->outcome)->marks & LOSS) != 0)
            wait_ms = ROOM_MS;
        if (full && t->outcome == SATURATED) /* the queue's own time spreads who comes again */
            wait_ms = RETRY_AFTER_NONE;
        if (wait_ms < f->retry_after_ms)
            f->retry_after_ms = wait_ms;
    }
    f->verdict = best;
    end_all(f, f->committed || f->opened ? ORDER_BREAK : ORDER_REFUSE, out);
}

/* A failure that no other target can mend speaks for itself. */
static void tell(struct failover *f, int try, struct failover_orders *out)
{
    f->verdict = try;
    f->retry_after_ms = f->tries[try].retry_after_ms;
    end_all(f, f->committed || f->opened ? ORDER_BREAK : ORDER_REFUSE, out);
}

/* A line of the trail without a call. */
static int note(struct failover *f, uint8_t candidate, enum failure why, uint64_t wait_ms,
                uint64_t now_ms)
{
    f->tries[f->n_tries] = (struct failover_try){
        .candidate = candidate,
        .skipped = true,
        .phase = PHASE_ENDED,
        .outcome = why,
        .retry_after_ms = wait_ms,
        .started_ms = now_ms,
        .ended_ms = now_ms,
    };
    return (int)f->n_tries++;
}

/* The request's own end (deadline, client gone) as the last line. */
static int note_end(struct failover *f, enum failure why, uint64_t wait_ms, uint64_t now_ms)
{
    return note(f, UINT8_MAX, why, wait_ms, now_ms);
}

/* ---- starting a try -------------------------------------------------------------------------- */

/* Is a call left, and the time for it? */
static bool may_try(const struct failover *f, uint64_t now_ms)
{
    return f->n_attempts < f->policy.max_attempts && now_ms + LEAST_TRY_MS <= f->deadline_ms;
}

/* Its share of the time left, so that the targets behind it get a chance too. */
static uint64_t first_output_limit(const struct failover *f, unsigned candidate, uint64_t now_ms)
{
    uint64_t limit = f->candidates[candidate].timers.first_output;
    uint64_t left = f->deadline_ms > now_ms ? f->deadline_ms - now_ms : 0, share, targets = 1;

    for (unsigned i = 0; i < f->n_candidates; i++) {
        const struct failover_candidate *c = &f->candidates[i];

        targets += c->tries == 0 && c->unfit == FAILURE_NONE &&
                   c->skipped == FAILURE_NONE; /* the others */
    }
    if (targets == 1) /* nobody else would use the rest */
        return limit;
    share = left > TELL_MS ? (left - TELL_MS) / targets : 0;
    if (share < LEAST_SHARE_MS)
        share = LEAST_SHARE_MS;
    return limit < share ? limit : share;
}

static uint64_t hedge_time(const struct failover *f, const struct failover_try *t, uint64_t now_ms)
{
    uint64_t ms = f->policy.hedge_ms;

    if (ms == FAILOVER_HEDGE_OFF || f->n_candidates == 1)
        return UINT64_MAX;
    if (ms == FAILOVER_HEDGE_AUTO)
        ms = target_hedge_ms(f->candidates[t->candidate].target, f->policy.kind);
    return now_ms + (t->ticket.probe && ms > PROBE_HEDGE_MS ? PROBE_HEDGE_MS : ms);
}

static void start_try(struct failover *f, unsigned candidate, const struct ticket *ticket,
                      uint64_t now_ms, struct failover_orders *out)
{
    struct failover_candidate *c = &f->candidates[candidate];
    bool hedge = f->live[0] >= 0;
    int try = (int)f->n_tries++;
    struct failover_try *t = &f->tries[try];

    leave_queue(f);
    f->live[hedge] = try;
    if (f->n_attempts++ == 0)
        target_begin(c->target, !f->policy.retried, now_ms);
    c->tries++;
    c->keys_used |= 1u << ticket->key;
    c->skipped = FAILURE_NONE;
    f->wait_until_ms = 0;
    *t = (struct failover_try){
        .candidate = (uint8_t)candidate,
        .hedge = hedge,
        .phase = PHASE_CONNECTING,
        .ticket = *ticket,
        .retry_after_ms = RETRY_AFTER_NONE,
        .first_output = first_output_limit(f, candidate, now_ms),
        .started_ms = now_ms,
        .progress_ms = now_ms,
    };
    f->hedged = f->hedged || hedge;
    f->hedge_at_ms = f->committed ? UINT64_MAX : hedge_time(f, t, now_ms);
    f->commit_at_ms = UINT64_MAX;
    assert(f->n_attempts <= f->policy.max_attempts && c->tries <= f->policy.per_target);
    order(out, ORDER_TRY, try);
}

static bool was_slow(enum failure f)
{
    return (failure_row(f)->marks & SLOW) != 0 || f == REQUEST_TIMEOUT;
}

/* A first attempt and a first failover are free: the former is the request, the latter is new load
 * elsewhere, which the limiter sees to. */
static double cost_of(const struct failover *f, bool more)
{
    bool slow = false;

    for (unsigned i = 0; i < f->n_tries; i++)
        slow = slow || was_slow(f->tries[i].outcome);
    if (!more && f->n_attempts < 2)
        return 0;
    return slow ? BUDGET_TIMEOUT_COST : 1;
}

/* Where the request began: what it costs more than one call is on the account of that target. */
static struct target *first_target(const struct failover *f)
{
    unsigned i = 0;

    while (f->tries[i].skipped)
        i++;
    return f->candidates[f->tries[i].candidate].target;
}

static enum failure ask(struct failover *f, unsigned i, struct target_wish wish, uint64_t now_ms,
                        struct ticket *ticket, uint64_t *wait_ms)
{
    wish.away = wish.beside || f->candidates[i].away;
    wish.payer = f->n_attempts > 0 ? first_target(f) : NULL;
    wish.kind = f->policy.kind;
    wish.route = f->policy.route;
    wish.place = f->candidates[i].place;
    wish.waiter = f->waiter.waiting ? &f->waiter : NULL;
    return target_ask(f->candidates[i].target, &wish, now_ms, ticket, wait_ms);
}

/* Asks a candidate for the first time; true when a try has started. */
static bool try_candidate(struct failover *f, unsigned i, bool last_resort, uint64_t now_ms,
                          struct failover_orders *out)
{
    struct failover_candidate *c = &f->candidates[i];
    struct target_wish wish = {.last_resort = last_resort, .cost = cost_of(f, false)};
    struct ticket ticket;
    uint64_t wait_ms;
    enum failure no;

    if (c->unfit != FAILURE_NONE) {
        if (c->skipped == FAILURE_NONE) {
            c->skipped = c->unfit;
            note(f, (uint8_t)i, c->unfit, RETRY_AFTER_NONE, now_ms);
        }
        return false;
    }
    no = ask(f, i, wish, now_ms, &ticket, &wait_ms);
    if (no == FAILURE_NONE) {
        start_try(f, i, &ticket, now_ms, out);
        return true;
    }
    if (c->tries == 0 && c->skipped == FAILURE_NONE) {
        bool lasting = failure_row(no)->blame != NEUTRAL; /* it rests for what it answered */

        c->skipped = lasting ? SKIPPED_REST : no;
        c->not_before = wait_ms < UINT64_MAX - now_ms ? now_ms + wait_ms : UINT64_MAX;
        f->tries[note(f, (uint8_t)i, c->skipped, wait_ms, now_ms)].rests_for =
            lasting ? no : FAILURE_NONE;
    }
    return false;
}

/* ---- the same target once more ------------------------------------------------------------------
 */

/* At once: with a key that has not been tried, or with a request that was mended. */
static bool try_other_key(struct failover *f, const struct failover_try *last, uint64_t now_ms,
                          struct failover_orders *out)
{
    struct failover_candidate *c = &f->candidates[last->candidate];
    struct target_wish wish = {.keys_used = last->mended ? 0 : c->keys_used};
    struct ticket ticket;
    uint64_t wait_ms;

    if ((failure_row(last->outcome)->again != AGAIN_KEY && !last->mended) ||
        c->tries >= f->policy.per_target)
        return false;
    if (ask(f, last->candidate, wish, now_ms, &ticket, &wait_ms) != FAILURE_NONE)
        return false;
    start_try(f, last->candidate, &ticket, now_ms, out);
    return true;
}

/* Has the same target been tried once more after this try? */
static bool tried_since(const struct failover *f, unsigned try)
{
    for (unsigned i = try + 1; i < f->n_tries; i++)
        if (!f->tries[i].skipped && f->tries[i].candidate == f->tries[try].candidate)
            return true;
    return false;
}

/* Targets whose last failure another key could still mend; a hedge's failure may have hidden it. */
static bool try_keys_left(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    for (unsigned i = 0; i < f->n_tries; i++)
        if (!f->tries[i].skipped && !f->tries[i].mended && !tried_since(f, i) &&
            try_other_key(f, &f->tries[i], now_ms, out))
            return true;
    return false;
}

/* Before the others have their turn: a fault that looks like a single one, or a rate limit that is
 * over in a moment. */
static bool pause_for_same(struct failover *f, const struct failover_try *last)
{
    const struct failover_candidate *c = &f->candidates[last->candidate];
    bool soon = failure_row(last->outcome)->again == AGAIN_SOON;
    bool limited = last->outcome == RATE_LIMITED && last->retry_after_ms <= SAME_WAIT_MAX_MS;

    if (c->given_up || c->tries >= f->policy.per_target ||
        c->not_before + LEAST_TRY_MS > f->deadline_ms)
        return false;
    if (!limited && !soon)
        return false;
    f->again = last->candidate;
    f->wait_until_ms = c->not_before;
    return true;
}

/* Is there one to queue for? */
static bool others_are_full(const struct failover *f)
{
    for (unsigned i = 0; i < f->n_candidates; i++)
        if (f->candidates[i].skipped == SATURATED)
            return true;
    return false;
}

/* Nobody else is left: a candidate that failed in a way that may pass, after a pause. */
static bool wait_for_retry(struct failover *f, uint64_t now_ms)
{
    uint64_t soonest = UINT64_MAX;

    for (unsigned i = 0; i < f->n_candidates; i++) {
        const struct failover_candidate *c = &f->candidates[i];

        if (c->tries > 0 && !c->given_up && c->tries < f->policy.per_target &&
            !(c->full && others_are_full(f)) && c->not_before < soonest)
            soonest = c->not_before;
    }
    if (soonest == UINT64_MAX || soonest + LEAST_TRY_MS > f->deadline_ms)
        return false;
    f->again = -1;
    f->wait_until_ms = soonest > now_ms ? soonest : now_ms;
    return true;
}

/* Those whose pause is over, or the one that it was for. */
static bool retry_due(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    int only = f->again;

    f->again = -1;
    for (unsigned i = 0; i < f->n_candidates; i++) {
        struct failover_candidate *c = &f->candidates[i];
        struct target_wish wish = {.cost = cost_of(f, true)};
        struct ticket ticket;
        uint64_t wait_ms;
        enum failure no;

        if (c->tries == 0 || c->given_up || c->tries >= f->policy.per_target ||
            c->not_before > now_ms || (only >= 0 && (unsigned)only != i))
            continue;
        no = ask(f, i, wish, now_ms, &ticket, &wait_ms);
        if (no == FAILURE_NONE) {
            c->waits++;
            start_try(f, i, &ticket, now_ms, out);
            return true;
        }
        if ((no == SKIPPED_REST || no == SATURATED) && wait_ms <= LIMITED_CAP_MS &&
            c->waits++ < MOST_WAITS) {
            c->not_before = now_ms + wait_ms;
            c->full = no == SATURATED;
        } else {
            c->given_up = true; /* its breaker opened meanwhile, say */
        }
    }
    return false;
}

/* ---- the others ---------------------------------------------------------------------------------
 */

/* Has its endpoint failed this very request? Another model there would fail alike. */
static bool endpoint_failed(const struct failover *f, const struct target *t)
{
    const struct endpoint *its = t->provider->endpoint;

    for (unsigned i = 0; i < f->n_tries; i++) {
        const struct failover_try *e = &f->tries[i];
        enum failure_blame blame = failure_row(e->outcome)->blame;

        if (e->skipped || e->phase != PHASE_ENDED)
            continue;
        if (blame == BLAME_ENDPOINT &&
            f->candidates[e->candidate].target->provider->endpoint == its)
            return true;
        if (blame == BLAME_PATH && !its->direct) /* the same way there */
            return true;
    }
    return false;
}

static bool try_in_order(struct failover *f, bool all, uint64_t now_ms, struct failover_orders *out)
{
    for (unsigned i = 0; i < f->n_candidates; i++) {
        const struct failover_candidate *c = &f->candidates[i];

        if (c->tries > 0 || (c->skipped != FAILURE_NONE && now_ms < c->not_before))
            continue;
        if (!all &&
            (c->behind || endpoint_failed(f, c->target) || target_behind(c->target, now_ms)))
            continue;
        if (try_candidate(f, i, false, now_ms, out))
            return true;
    }
    return false;
}

/* The last resort: the one that is nearest to being well again, of those that were passed over for
 * `why` or, with FAILURE_NONE, for whatever they have done. */
static bool try_nearest(struct failover *f, enum failure why, uint64_t now_ms,
                        struct failover_orders *out)
{
    const struct failover_try *nearest = NULL;

    for (unsigned i = 0; i < f->n_tries; i++) {
        const struct failover_try *t = &f->tries[i];
        bool fits = why != FAILURE_NONE ? t->outcome == why
                                        : t->outcome != UNFIT && t->outcome != SATURATED;

        if (t->skipped && fits && t->candidate != UINT8_MAX &&
            (nearest == NULL || t->retry_after_ms < nearest->retry_after_ms))
            nearest = t;
    }
    return nearest != NULL && try_candidate(f, nearest->candidate, true, now_ms, out);
}

static uint64_t longest_wait(const struct failover *f, uint64_t now_ms)
{
    uint64_t share = (f->deadline_ms - now_ms) / QUEUE_SHARE;

    return share < f->policy.queue_ms ? share : f->policy.queue_ms;
}

/* The places, as a mask, of targets that are well but have no room, or whose rest is over soon. */
static uint32_t worth_waiting_for(const struct failover *f, uint64_t now_ms)
{
    uint64_t until_ms = now_ms + longest_wait(f, now_ms);
    uint32_t wants = 0;

    for (unsigned i = 0; i < f->n_candidates; i++) {
        const struct failover_candidate *c = &f->candidates[i];

        if (c->skipped == SATURATED || (c->skipped == SKIPPED_REST && c->not_before <= until_ms))
            wants |= 1u << c->place;
    }
    return wants;
}

/* Some target is well but has no room, or its rest is over soon: waits for a place. True when it
 * waits, or has been refused. */
static bool wait_in_queue(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    uint64_t longest = longest_wait(f, now_ms);
    uint32_t wants = worth_waiting_for(f, now_ms);

    if (wants == 0)
        return false;
    for (unsigned i = 0; i < f->n_candidates; i++) { /* who waits anyway may see one come back */
        const struct failover_candidate *c = &f->candidates[i];

        if (c->skipped == SKIPPED_OPEN && c->not_before <= now_ms + longest)
            wants |= 1u << c->place;
    }
    /* One that is open may be back by now: where there is not room for all, that is worth a look.
     */
    if (f->n_attempts == 0 && try_nearest(f, SKIPPED_OPEN, now_ms, out))
        return true;
    if (longest > 0 &&
        target_queue_enter(f->policy.set, f->policy.route, &f->waiter, wants, QUEUE_MOST, now_ms)) {
        f->queue_until_ms = now_ms + longest;
        f->queued_at_ms = now_ms;
        f->look_ms = now_ms + QUEUE_LOOK_MS;
        return true;
    }
    note_end(f, QUEUE_FULL, rng_between(&f->rng, QUEUE_LOW_MS, QUEUE_HIGH_MS), now_ms);
    give_up(f, out);
    return true;
}

/* One more look whether there is a place now. */
static void look_in_queue(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    f->look_ms = now_ms + QUEUE_LOOK_MS;
    for (unsigned i = 0; i < f->n_candidates; i++)
        if ((f->waiter.wants & 1u << f->candidates[i].place) != 0 &&
            try_candidate(f, i, false, now_ms, out))
            return;
    if (now_ms < f->queue_until_ms)
        return;
    leave_queue(f);
    note_end(f, QUEUE_FULL, rng_between(&f->rng, QUEUE_LOW_MS, QUEUE_HIGH_MS), now_ms);
    give_up(f, out);
}

/* Decides what comes next when no try is live. */
static void choose(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    if (f->n_attempts >= f->policy.max_attempts) {
        give_up(f, out);
        return;
    }
    if (f->deadline_ms < now_ms + LEAST_TRY_MS) {
        tell(f, note_end(f, DEADLINE, RETRY_AFTER_NONE, now_ms), out);
        return;
    }
    if (try_in_order(f, false, now_ms, out) || try_in_order(f, true, now_ms, out) ||
        try_keys_left(f, now_ms, out))
        return;
    if (retry_due(f, now_ms, out) || wait_for_retry(f, now_ms) || wait_in_queue(f, now_ms, out))
        return;
    if (f->n_attempts == 0 && try_nearest(f, FAILURE_NONE, now_ms, out))
        return;
    give_up(f, out);
}

/* ---- a second target beside a slow first one
 * ----------------------------------------------------- */

static bool may_start_beside(const struct failover *f, unsigned i)
{
    const struct failover_candidate *c = &f->candidates[i];

    return c->tries == 0 && c->unfit == FAILURE_NONE && !endpoint_failed(f, c->target);
}

static bool start_hedge(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    const struct failover_try *first = &f->tries[f->live[0]];
    struct target_wish wish = {
        .beside = true, .granted = first->ticket.probe, .cost = cost_of(f, true)};
    struct ticket ticket;
    uint64_t wait_ms;

    for (unsigned i = 0; i < f->n_candidates; i++)
        if (may_start_beside(f, i) && ask(f, i, wish, now_ms, &ticket, &wait_ms) == FAILURE_NONE) {
            start_try(f, i, &ticket, now_ms, out);
            return true;
        }
    return false;
}

/* No hedge is to be had: the next target is asked in place of the first. Where that has gone silent
 * for everybody this is no tail, and free; else it comes from the retry budget, lest a slow day of
 * all targets become one on which every request is asked everywhere. */
static void move_on(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    struct failover_candidate *first = candidate_of(f, f->live[0]);
    bool silent = target_silent(first->target, &f->tries[f->live[0]].ticket);
    struct target_wish wish = {.cost = cost_of(f, !silent)};
    struct ticket ticket;
    uint64_t wait_ms;

    for (unsigned i = 0; i < f->n_candidates; i++)
        if (may_start_beside(f, i) && !target_behind(f->candidates[i].target, now_ms) &&
            ask(f, i, wish, now_ms, &ticket, &wait_ms) == FAILURE_NONE) {
            first->given_up = true;
            drop(f, f->live[0], SLOWER, RETRY_AFTER_NONE, now_ms, out);
            start_try(f, i, &ticket, now_ms, out);
            return;
        }
    /* No caller waits out a probe while there is a place to wait for. */
    if (silent && f->tries[f->live[0]].ticket.probe && worth_waiting_for(f, now_ms) != 0) {
        first->given_up = true;
        drop(f, f->live[0], SLOWER, RETRY_AFTER_NONE, now_ms, out);
        choose(f, now_ms, out);
    }
}

static void hedge(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    f->hedge_at_ms = now_ms + HEDGE_LOOK_MS;
    if (!f->hedge_wanted)
        target_want_hedge(candidate_of(f, f->live[0])->target, now_ms);
    f->hedge_wanted = true;
    if (may_try(f, now_ms) && (f->hedged || !start_hedge(f, now_ms, out)))
        move_on(f, now_ms, out);
}

/* ---- an answer that broke after its start ---------------------------------------------------- */

static bool carry_on_at(struct failover *f, unsigned i, unsigned ways, uint64_t now_ms,
                        struct failover_orders *out)
{
    struct failover_candidate *c = &f->candidates[i];
    struct target_wish wish = {.cost = cost_of(f, true)};
    unsigned left = c->ways & ways & ~c->ways_used, way = 0;
    struct ticket ticket;
    uint64_t wait_ms;

    if (target_no_prefill(c->target, now_ms))
        left &= ~SEAM_BIT(SEAM_PREFILL);
    if (left == 0 || c->unfit != FAILURE_NONE || c->tries >= f->policy.per_target ||
        ask(f, i, wish, now_ms, &ticket, &wait_ms) != FAILURE_NONE)
        return false;
    while ((left & SEAM_BIT(way)) == 0)
        way++;
    c->ways_used |= SEAM_BIT(way);
    start_try(f, i, &ticket, now_ms, out);
    f->tries[f->n_tries - 1].carries_on = true;
    f->tries[f->n_tries - 1].way = way;
    return true;
}

/* Who only refused the way in which it was asked, or a word of the request, is asked once more;
 * then those that have not been asked yet, the well ones first; then whoever has a try left, also
 * the one that broke. */
static bool carry_on(struct failover *f, const struct failover_try *last, unsigned ways,
                     uint64_t now_ms, struct failover_orders *out)
{
    if (ways == 0 || !may_try(f, now_ms) ||
        (f->deadline_ms - now_ms) * 10 < f->policy.total_ms * CARRY_TIME_TENTHS)
        return false;
    if ((last->outcome == CARRY_REFUSED || last->mended) &&
        carry_on_at(f, last->candidate, ways, now_ms, out))
        return true;
    for (unsigned turn = 0; turn < 3; turn++)
        for (unsigned i = 0; i < f->n_candidates; i++) {
            const struct target *t = f->candidates[i].target;
            bool asked = f->candidates[i].tries > 0;
            bool well = !endpoint_failed(f, t) && !target_behind(f->candidates[i].target, now_ms);

            if ((turn == 0 ? !asked && well : asked == (turn == 2)) &&
                carry_on_at(f, i, ways, now_ms, out))
                return true;
        }
    return false;
}

/* The client has a part of the answer: it is carried on, or ends in a true error. */
static void broken(struct failover *f, int try, unsigned ways, uint64_t now_ms,
                   struct failover_orders *out)
{
    const struct failover_try *t = &f->tries[try];

    if (try == f->owner)
        f->cut = try;
    if (t->carries_on && t->mended) /* this way is as good as before */
        candidate_of(f, try)->ways_used &= ~SEAM_BIT(t->way);
    if (failure_row(t->outcome)->next == NEXT_NO || !carry_on(f, t, ways, now_ms, out))
        tell(f, f->cut, out);
}

/* ---- events ------------------------------------------------------------------------------- */

/* Only a larger declared window can mend that the prompt is too long. True where there is one. */
static bool keep_larger(struct failover *f, uint64_t window)
{
    bool any = false;

    for (unsigned i = 0; i < f->n_candidates; i++) {
        struct failover_candidate *c = &f->candidates[i];

        if (c->unfit == FAILURE_NONE && c->window <= window)
            c->unfit = UNFIT;
        any = any || (c->unfit == FAILURE_NONE && c->tries == 0);
    }
    return any;
}

static bool others_may_mend(struct failover *f, const struct failover_candidate *c,
                            enum failure why)
{
    switch (failure_row(why)->next) {
    case NEXT_NO:
        return false;
    case NEXT_YES:
        return true;
    case NEXT_LARGER:
        return keep_larger(f, c->window);
    }
    return false;
}

/* Is it likely and paid for that another try of the same target does better? */
static bool may_heal(const struct failover *f, const struct failover_candidate *c, enum failure why,
                     uint64_t now_ms)
{
    return !f->policy.retried && target_heals(c->target, why, now_ms) &&
           target_affords(first_target(f), cost_of(f, true), now_ms);
}

/* When the same target may be asked again, if ever. */
static void plan_again(struct failover *f, struct failover_candidate *c,
                       const struct failover_try *t, uint64_t now_ms)
{
    enum failure_again again = failure_row(t->outcome)->again;
    bool named = t->retry_after_ms != RETRY_AFTER_NONE;
    bool no_room = t->outcome == RATE_LIMITED || t->outcome == OVERLOADED;
    uint64_t pause = rng_between(&f->rng, PAUSE_LOW_MS, PAUSE_HIGH_MS);

    c->given_up = again == AGAIN_NO || (again == AGAIN_KEY && t->outcome != RATE_LIMITED) ||
                  (t->outcome == RATE_LIMITED && c->waits >= (named ? 1 : 2)) ||
                  (again == AGAIN_SOON && !may_heal(f, c, t->outcome, now_ms)) ||
                  (named && t->retry_after_ms > SAME_WAIT_MAX_MS) ||
                  (no_room && !named && f->n_candidates > 1);
    if (named) {
        pause = t->retry_after_ms + rng_between(&f->rng, 0, t->retry_after_ms / 10);
    } else if (t->outcome == RATE_LIMITED) {
        pause = rng_between(&f->rng, PAUSE_LOW_MS,
                            backoff_ms(LIMITED_BASE_MS, c->tries - 1u, LIMITED_CAP_MS));
    }
    c->not_before = now_ms + pause;
}

static void failed(struct failover *f, int try, enum failure why, unsigned status,
                   uint64_t retry_after_ms, unsigned ways, uint64_t now_ms,
                   struct failover_orders *out)
{
    struct failover_candidate *c = candidate_of(f, try);
    struct failover_try *t = &f->tries[try];
    bool goes_on;

    end_try(f, try, why, status, retry_after_ms, now_ms);
    plan_again(f, c, t, now_ms);
    if (f->committed) {
        broken(f, try, ways, now_ms, out);
        return;
    }
    goes_on = others_may_mend(f, c, why);
    if (f->live[0] >= 0) { /* the other one may still answer ... */
        if (t->hedge)      /* ... or has had its time, and another is asked in its place */
            f->hedge_at_ms = now_ms;
        if (!goes_on || f->final >= 0) /* which nobody could mend any more */
            f->hedge_at_ms = UINT64_MAX;
        if (!goes_on && f->final < 0)
            f->final = try;
    } else if (!goes_on || f->final >= 0) {
        tell(f, goes_on ? f->final : try, out);
    } else if (!may_try(f, now_ms) ||
               (!try_other_key(f, t, now_ms, out) && !pause_for_same(f, t))) {
        choose(f, now_ms, out);
    }
}

static void commit(struct failover *f, int try, uint64_t now_ms, struct failover_orders *out)
{
    f->owner = try;
    f->committed = true;
    f->said_ms = now_ms;
    f->commit_at_ms = UINT64_MAX;
    order(out, ORDER_COMMIT, try);
}

static void output(struct failover *f, int try, enum failover_hold hold, uint64_t now_ms,
                   struct failover_orders *out)
{
    struct failover_try *t = &f->tries[try];
    int other = f->live[f->live[0] == try];

    t->progress_ms = now_ms;
    t->phase = PHASE_STREAMING;
    if (t->output_ms == 0) {
        t->output_ms = now_ms;
        target_output(candidate_of(f, try)->target, &t->ticket, now_ms);
    }
    if (f->owner == try) {
        f->said_ms = now_ms;
        return;
    }
    if (other >= 0)
        drop(f, other, f->tries[other].hedge ? HEDGE_LOST : SLOWER, RETRY_AFTER_NONE, now_ms, out);
    f->hedge_at_ms = UINT64_MAX;
    if (hold == HOLD_NOT)
        commit(f, try, now_ms, out);
    else if (hold == HOLD_ALL)
        f->commit_at_ms = UINT64_MAX;
    else if (f->commit_at_ms == UINT64_MAX)
        f->commit_at_ms = now_ms + f->policy.window_ms;
}

static void complete(struct failover *f, int try, uint64_t now_ms, struct failover_orders *out)
{
    struct failover_try *t = &f->tries[try];

    if (f->owner != try)
        output(f, try, HOLD_NOT, now_ms, out);
    f->verdict = try;
    end_try(f, try, FAILURE_NONE, t->status != 0 ? t->status : 200, RETRY_AFTER_NONE, now_ms);
    end_all(f, ORDER_FINISH, out);
}

static void gone(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    while (f->live[0] >= 0)
        drop(f, f->live[0], CLIENT_GONE, RETRY_AFTER_NONE, now_ms, out);
    leave_queue(f);
    f->verdict = note_end(f, CLIENT_GONE, RETRY_AFTER_NONE, now_ms);
    f->ended = true;
}

/* Which limit a live try has reached, if any. */
static enum failure expired(const struct failover *f, int try, bool tcp_up, uint64_t now_ms)
{
    const struct failover_try *t = &f->tries[try];
    const struct failover_timers *limit = &f->candidates[t->candidate].timers;
    uint64_t age = now_ms - t->started_ms;
    /* A caller in a hurry is no reason to blame a target. */
    enum failure too_late = t->first_output < limit->first_output ? TIME_SHARE : FIRST_TOKEN;

    switch (t->phase) {
    case PHASE_CONNECTING:
        if (age >= t->first_output)
            return too_late;
        if (tcp_up)
            return age >= limit->tls ? TLS_FAILED : FAILURE_NONE;
        return age >= limit->connect ? CONNECT_TIMEOUT : FAILURE_NONE;
    case PHASE_WAITING:
        return age >= t->first_output ? too_late : FAILURE_NONE;
    case PHASE_STREAMING:
        return now_ms - t->progress_ms >= limit->idle ? IDLE : FAILURE_NONE;
    default:
        return FAILURE_NONE;
    }
}

/* The exchange itself is at its end, whatever its attempts do. An answer that only lacks its end
 * marker is whole, and is not broken off. A try whose own time was over as well is to blame. */
static void stop(struct failover *f, enum failure why, uint64_t retry_after_ms,
                 const bool tcp_up[2], uint64_t now_ms, struct failover_orders *out)
{
    int last = -1;

    for (unsigned i = 0; i < ARRAY_LEN(f->live); i++) {
        if (f->live[i] >= 0 && f->tries[f->live[i]].phase == PHASE_FINISHING) {
            complete(f, f->live[i], now_ms, out);
            return;
        }
    }
    for (unsigned i = 0; f->live[0] >= 0; i++) {
        enum failure own =
            why == DEADLINE ? expired(f, f->live[0], tcp_up[i], now_ms) : FAILURE_NONE;

        last = f->live[0];
        drop(f, last, own != FAILURE_NONE ? own : why, retry_after_ms, now_ms, out);
    }
    if (last < 0 || f->tries[last].outcome != why)
        last = note_end(f, why, retry_after_ms, now_ms);
    tell(f, last, out);
}

/* A live try at its time. */
static void look_at_try(struct failover *f, int try, bool tcp_up, unsigned ways, uint64_t now_ms,
                        struct failover_orders *out)
{
    struct failover_try *t = &f->tries[try];
    enum failure why;

    if (t->phase == PHASE_FINISHING) {
        if (now_ms - t->progress_ms >= FINISH_MS)
            complete(f, try, now_ms, out);
        return;
    }
    why = expired(f, try, tcp_up, now_ms);
    if (why != FAILURE_NONE) {
        order(out, ORDER_DROP, try);
        failed(f, try, why, 0, RETRY_AFTER_NONE, ways, now_ms, out);
    } else if (t->phase == PHASE_CONNECTING) {
        t->progress_ms = now_ms; /* of the two limits the passed one was not ours */
    }
}

static void tick(struct failover *f, const struct failover_event *ev, uint64_t now_ms,
                 struct failover_orders *out)
{
    const int live[2] = {f->live[0], f->live[1]};

    if (now_ms >= f->deadline_ms) {
        stop(f, DEADLINE, RETRY_AFTER_NONE, ev->tcp_up, now_ms, out);
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(live) && !f->ended; i++)
        if (live[i] >= 0 && f->tries[live[i]].phase != PHASE_ENDED)
            look_at_try(f, live[i], ev->tcp_up[i], ev->ways, now_ms, out);
    if (f->ended)
        return;
    if (live[0] < 0 && f->waiter.waiting && now_ms >= f->look_ms) {
        look_in_queue(f, now_ms, out);
    } else if (live[0] < 0 && f->wait_until_ms != 0 && now_ms >= f->wait_until_ms) {
        f->wait_until_ms = 0;
        if (f->again < 0 || !retry_due(f, now_ms, out))
            choose(f, now_ms, out);
    }
    if (f->live[0] >= 0 && f->live[1] < 0 && !f->committed && now_ms >= f->hedge_at_ms)
        hedge(f, now_ms, out);
    if (f->live[0] >= 0 && now_ms >= f->commit_at_ms)
        commit(f, f->live[0], now_ms, out);
    if (!f->ended && f->policy.heartbeat_ms != 0 && now_ms - f->said_ms >= f->policy.heartbeat_ms) {
        f->said_ms = now_ms;
        f->opened = true;
        order(out, ORDER_HEARTBEAT, -1);
    }
}

void failover_begin(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    out->n = 0;
    f->started_ms = f->said_ms = now_ms;
    f->deadline_ms = now_ms + f->policy.total_ms;
    choose(f, now_ms, out);
}

void failover_step(struct failover *f, const struct failover_event *ev, uint64_t now_ms,
                   struct failover_orders *out)
{
    bool about_none =
        ev->kind == FAILOVER_TICK || ev->kind == FAILOVER_GONE || ev->kind == FAILOVER_STOP;
    struct failover_try *t = about_none ? NULL : &f->tries[ev->try];

    out->n = 0;
    if (f->waiter.waiting) {
        f->queued_ms += now_ms - f->queued_at_ms;
        f->queued_at_ms = now_ms;
    }
    assert(!f->ended);
    assert(about_none || ev->try == f->live[0] || ev->try == f->live[1]);
    switch (ev->kind) {
    case FAILOVER_CONNECTED:
        t->phase = PHASE_WAITING;
        break;
    case FAILOVER_OUTPUT:
        output(f, ev->try, ev->hold, now_ms, out);
        break;
    case FAILOVER_PROGRESS:
        t->progress_ms = now_ms;
        if (f->owner == ev->try)
            f->said_ms = now_ms;
        break;
    case FAILOVER_STOPPED:
        t->progress_ms = now_ms;
        t->phase = PHASE_FINISHING;
        break;
    case FAILOVER_COMPLETE:
        t->status = ev->status;
        complete(f, ev->try, now_ms, out);
        break;
    case FAILOVER_FAILED:
        t->mended = ev->mended;
        failed(f, ev->try, ev->failure, ev->status, ev->retry_after_ms, ev->ways, now_ms, out);
        break;
    case FAILOVER_TICK:
        tick(f, ev, now_ms, out);
        break;
    case FAILOVER_GONE:
        gone(f, now_ms, out);
        break;
    case FAILOVER_STOP:
        stop(f, STOPPING, ev->retry_after_ms, ev->tcp_up, now_ms, out);
        break;
    }
}

void failover_asking(struct failover *f, uint64_t now_ms)
{
    struct failover_try *t = &f->tries[f->live[0]];

    t->first_output = now_ms - t->started_ms + f->candidates[t->candidate].timers.first_output;
    f->deadline_ms = now_ms + f->policy.total_ms;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t try_due(const struct failover *f, const struct failover_try *t)
{
    const struct failover_timers *limit = &f->candidates[t->candidate].timers;
    uint64_t due = t->started_ms + t->first_output;

    switch (t->phase) {
    case PHASE_CONNECTING:
        /* Whether TCP is up is only known at a tick, so both limits are looked at in turn. */
        if (t->started_ms + limit->connect > t->progress_ms)
            due = earlier(due, t->started_ms + limit->connect);
        if (t->started_ms + limit->tls > t->progress_ms)
            due = earlier(due, t->started_ms + limit->tls);
        return due;
    case PHASE_WAITING:
        return due;
    case PHASE_STREAMING:
        return t->progress_ms + limit->idle;
    case PHASE_FINISHING:
        return t->progress_ms + FINISH_MS;
    default:
        return UINT64_MAX;
    }
}

uint64_t failover_due(const struct failover *f)
{
    uint64_t due = f->deadline_ms;

    if (f->policy.heartbeat_ms != 0)
        due = earlier(due, f->said_ms + f->policy.heartbeat_ms);
    if (f->live[0] < 0 && f->waiter.waiting)
        return earlier(due, f->look_ms);
    if (f->live[0] < 0)
        return f->wait_until_ms != 0 ? earlier(due, f->wait_until_ms) : due;
    if (!f->committed && f->live[1] < 0)
        due = earlier(due, f->hedge_at_ms);
    due = earlier(due, f->commit_at_ms);
    for (unsigned i = 0; i < ARRAY_LEN(f->live) && f->live[i] >= 0; i++)
        due = earlier(due, try_due(f, &f->tries[f->live[i]]));
    return due;
}

enum failure failover_outcome(const struct failover *f)
{
    return f->verdict < 0 ? LOCAL : told(&f->tries[f->verdict]);
}
