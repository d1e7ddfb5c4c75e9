#include "proxy/failover.h"

#include <assert.h>

/* After the finish reason only a usage event and the end marker may come; a provider that keeps the
 * connection open instead has still given a whole answer. */
#define FINISH_MS 500

/* Between two tries of the same target, unless it named a time. */
#define BACKOFF_LOW_MS  100
#define BACKOFF_HIGH_MS 300

/* The longest Retry-After that is waited out within a request. */
#define SAME_WAIT_MAX_MS 2500

/* A try is not started with less than this left. */
#define LEAST_TRY_MS 10

void failover_init(struct failover *f, const struct failover_policy *p, unsigned max_candidates,
                   uint64_t seed, struct arena *a)
{
    /* Each target is passed over once at most; one line more tells the request's own end. */
    unsigned most_lines = max_candidates + p->max_attempts + 1;

    *f = (struct failover){
        .policy = *p,
        .rng = {seed},
        .current = -1,
        .verdict = -1,
        .retry_after_ms = RETRY_AFTER_NONE,
        .candidates = arena_alloc(a, max_candidates * sizeof(*f->candidates)),
        .tries = arena_alloc(a, most_lines * sizeof(*f->tries)),
        .max_candidates = max_candidates,
    };
}

void failover_add(struct failover *f, struct target *t, const struct failover_timers *timers,
                  bool unfit)
{
    assert(f->n_candidates < f->max_candidates);
    f->candidates[f->n_candidates++] =
        (struct failover_candidate){.target = t, .timers = *timers, .unfit = unfit};
}

static void order(struct failover_orders *out, enum failover_order_kind k)
{
    assert(out->n < sizeof(out->v) / sizeof(out->v[0]));
    out->v[out->n++] = k;
}

/* ---- ending ------------------------------------------------------------------------------- */

/* The live try is over; its ticket goes back. */
static void end_try(struct failover *f, enum failure why, unsigned status, uint64_t retry_after_ms,
                    uint64_t now_ms)
{
    struct failover_try *t = &f->tries[f->current];
    struct failover_candidate *c = &f->candidates[t->candidate];

    assert(t->phase != PHASE_ENDED);
    t->phase = PHASE_ENDED;
    t->outcome = why;
    t->status = status;
    t->retry_after_ms = retry_after_ms;
    t->ended_ms = now_ms;
    target_end(c->target, &t->ticket, why, retry_after_ms, now_ms);
    f->current = -1;
}

static void end_all(struct failover *f, enum failover_order_kind k, struct failover_orders *out)
{
    assert(!f->ended && f->current < 0); /* one terminal outcome, no try left behind */
    f->ended = true;
    f->wait_until_ms = 0;
    order(out, k);
}

/* Nothing more can be tried. The failure that helps the client most is told, and of a target that
 * was asked after all not that it was passed over before; the wait that would help is the shortest
 * of all. */
static void give_up(struct failover *f, struct failover_orders *out)
{
    int best = -1;

    for (unsigned i = 0; i < f->n_tries; i++) {
        const struct failover_try *t = &f->tries[i];
        bool asked_after = t->skipped && f->candidates[t->candidate].tries > 0;

        if (!asked_after &&
            (best < 0 || failure_rank(t->outcome) >= failure_rank(f->tries[best].outcome)))
            best = (int)i;
        if (t->retry_after_ms < f->retry_after_ms)
            f->retry_after_ms = t->retry_after_ms;
    }
    f->verdict = best;
    end_all(f, f->committed || f->opened ? ORDER_BREAK : ORDER_REFUSE, out);
}

/* A failure that no other target can mend speaks for itself. */
static void tell(struct failover *f, struct failover_orders *out)
{
    f->verdict = (int)f->n_tries - 1;
    f->retry_after_ms = f->tries[f->verdict].retry_after_ms;
    end_all(f, f->committed || f->opened ? ORDER_BREAK : ORDER_REFUSE, out);
}

/* The request's own end (deadline, client gone) as the last line of the trail. */
static void note_end(struct failover *f, enum failure why, uint64_t now_ms)
{
    f->tries[f->n_tries++] = (struct failover_try){
        .candidate = UINT8_MAX,
        .skipped = true,
        .phase = PHASE_ENDED,
        .outcome = why,
        .retry_after_ms = RETRY_AFTER_NONE,
        .started_ms = now_ms,
        .ended_ms = now_ms,
    };
}

/* ---- choosing ----------------------------------------------------------------------------- */

static void start_try(struct failover *f, unsigned candidate, struct ticket ticket, uint64_t now_ms,
                      struct failover_orders *out)
{
    struct failover_candidate *c = &f->candidates[candidate];

    f->current = (int)f->n_tries++;
    f->n_attempts++;
    c->tries++;
    c->keys_used |= 1u << ticket.key;
    c->skipped = FAILURE_NONE;
    f->wait_until_ms = 0;
    f->tries[f->current] = (struct failover_try){
        .candidate = (uint8_t)candidate,
        .phase = PHASE_CONNECTING,
        .ticket = ticket,
        .retry_after_ms = RETRY_AFTER_NONE,
        .started_ms = now_ms,
        .progress_ms = now_ms,
    };
    assert(f->n_attempts <= f->policy.max_attempts && c->tries <= f->policy.per_target);
    order(out, ORDER_TRY);
}

static void note_skip(struct failover *f, unsigned candidate, enum failure why, uint64_t wait_ms,
                      uint64_t now_ms)
{
    f->candidates[candidate].skipped = why;
    f->tries[f->n_tries++] = (struct failover_try){
        .candidate = (uint8_t)candidate,
        .skipped = true,
        .phase = PHASE_ENDED,
        .outcome = why,
        .retry_after_ms = wait_ms,
        .started_ms = now_ms,
        .ended_ms = now_ms,
    };
}

/* Asks one candidate; true when a try has started. */
static bool try_candidate(struct failover *f, unsigned i, bool last_resort, uint64_t now_ms,
                          struct failover_orders *out)
{
    struct failover_candidate *c = &f->candidates[i];
    struct ticket ticket;
    uint64_t wait_ms = 0;
    enum failure no;

    if (c->unfit) {
        if (c->skipped == FAILURE_NONE)
            note_skip(f, i, UNFIT, RETRY_AFTER_NONE, now_ms);
        return false;
    }
    no = target_ask(c->target, 0, last_resort, now_ms, &ticket, &wait_ms);

    if (no == FAILURE_NONE) {
        start_try(f, i, ticket, now_ms, out);
        return true;
    }
    if (c->tries == 0 && c->skipped == FAILURE_NONE)
        note_skip(f, i, no, wait_ms, now_ms);
    return false;
}

/* The same target at once: with a key that has not been tried, or with a request that was mended.
 */
static bool try_other_key(struct failover *f, const struct failover_try *last, uint64_t now_ms,
                          struct failover_orders *out)
{
    struct failover_candidate *c = &f->candidates[last->candidate];
    struct ticket ticket;
    uint64_t wait_ms;

    if ((failure_row(last->outcome)->again != AGAIN_KEY && !last->mended) ||
        c->tries >= f->policy.per_target)
        return false;
    if (target_ask(c->target, last->mended ? 0 : c->keys_used, false, now_ms, &ticket, &wait_ms) !=
        FAILURE_NONE)
        return false;
    start_try(f, last->candidate, ticket, now_ms, out);
    return true;
}

/* A candidate that failed in a way that may pass: once more, after the others and a back-off. */
static bool wait_for_retry(struct failover *f, uint64_t now_ms)
{
    uint64_t soonest = UINT64_MAX;

    for (unsigned i = 0; i < f->n_candidates; i++) {
        const struct failover_candidate *c = &f->candidates[i];

        if (c->tries > 0 && !c->given_up && c->tries < f->policy.per_target &&
            c->not_before < soonest)
            soonest = c->not_before;
    }
    if (soonest == UINT64_MAX || soonest + LEAST_TRY_MS > f->deadline_ms)
        return false;
    f->wait_until_ms = soonest > now_ms ? soonest : now_ms;
    return true;
}

static bool retry_due(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    for (unsigned i = 0; i < f->n_candidates; i++) {
        struct failover_candidate *c = &f->candidates[i];
        struct ticket ticket;
        uint64_t wait_ms;

        if (c->tries == 0 || c->given_up || c->tries >= f->policy.per_target ||
            c->not_before > now_ms)
            continue;
        if (target_ask(c->target, 0, false, now_ms, &ticket, &wait_ms) == FAILURE_NONE) {
            start_try(f, i, ticket, now_ms, out);
            return true;
        }
        c->given_up = true; /* its breaker opened meanwhile */
    }
    return false;
}

/* Nobody was even asked: the one that is nearest to being well again may have it, else any other.
 */
static bool try_last_resort(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    unsigned lines = f->n_tries;
    const struct failover_try *nearest = NULL;

    for (unsigned i = 0; i < lines; i++)
        if (nearest == NULL || f->tries[i].retry_after_ms < nearest->retry_after_ms)
            nearest = &f->tries[i];
    if (nearest != NULL && try_candidate(f, nearest->candidate, true, now_ms, out))
        return true;
    for (unsigned i = 0; i < f->n_candidates; i++)
        if (try_candidate(f, i, true, now_ms, out))
            return true;
    return false;
}

/* Decides what comes next when no try is live. */
static void choose(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    const struct failover_try *last = f->n_tries > 0 ? &f->tries[f->n_tries - 1] : NULL;

    if (f->n_attempts >= f->policy.max_attempts) {
        give_up(f, out);
        return;
    }
    if (f->deadline_ms < now_ms + LEAST_TRY_MS) {
        note_end(f, DEADLINE, now_ms);
        tell(f, out);
        return;
    }
    if (last != NULL && !last->skipped && try_other_key(f, last, now_ms, out))
        return;
    for (unsigned i = 0; i < f->n_candidates; i++)
        if (f->candidates[i].tries == 0 && f->candidates[i].skipped == FAILURE_NONE &&
            try_candidate(f, i, false, now_ms, out))
            return;
    if (retry_due(f, now_ms, out) || wait_for_retry(f, now_ms))
        return;
    if (f->n_attempts == 0 && try_last_resort(f, now_ms, out))
        return;
    give_up(f, out);
}

/* ---- events ------------------------------------------------------------------------------- */

static void failed(struct failover *f, enum failure why, unsigned status, uint64_t retry_after_ms,
                   uint64_t now_ms, struct failover_orders *out)
{
    struct failover_candidate *c = &f->candidates[f->tries[f->current].candidate];
    const struct failure_row *row = failure_row(why);
    bool named = retry_after_ms != RETRY_AFTER_NONE;

    end_try(f, why, status, retry_after_ms, now_ms);
    /* A rate limit is waited out only where the provider says how long, and that is short. */
    c->given_up = !(row->again == AGAIN_LATER || (why == RATE_LIMITED && named)) ||
                  (named && retry_after_ms > SAME_WAIT_MAX_MS);
    c->not_before = now_ms + rng_between(&f->rng, BACKOFF_LOW_MS, BACKOFF_HIGH_MS);
    if (named && now_ms + retry_after_ms > c->not_before)
        c->not_before = now_ms + retry_after_ms;
    if (f->committed || !row->next)
        tell(f, out);
    else
        choose(f, now_ms, out);
}

static void output(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    struct failover_try *t = &f->tries[f->current];

    t->progress_ms = now_ms;
    t->phase = PHASE_STREAMING;
    if (t->output_ms == 0) {
        t->output_ms = now_ms;
        target_output(f->candidates[t->candidate].target, &t->ticket, now_ms);
    }
    if (!f->committed) {
        f->committed = true;
        f->said_ms = now_ms;
        order(out, ORDER_COMMIT);
    }
}

static void complete(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    struct failover_try *t = &f->tries[f->current];

    if (!f->committed)
        output(f, now_ms, out);
    f->verdict = f->current;
    end_try(f, FAILURE_NONE, t->status != 0 ? t->status : 200, RETRY_AFTER_NONE, now_ms);
    end_all(f, ORDER_FINISH, out);
}

static void gone(struct failover *f, uint64_t now_ms, struct failover_orders *out)
{
    if (f->current >= 0) {
        end_try(f, CLIENT_GONE, 0, RETRY_AFTER_NONE, now_ms);
        order(out, ORDER_DROP);
    }
    note_end(f, CLIENT_GONE, now_ms);
    f->verdict = (int)f->n_tries - 1;
    f->ended = true;
}

/* Which limit the live try has reached, if any. */
static enum failure expired(const struct failover *f, bool tcp_up, uint64_t now_ms)
{
    const struct failover_try *t = &f->tries[f->current];
    const struct failover_timers *limit = &f->candidates[t->candidate].timers;
    uint64_t age = now_ms - t->started_ms;

    switch (t->phase) {
    case PHASE_CONNECTING:
        if (age >= limit->first_output)
            return FIRST_TOKEN;
        if (tcp_up)
            return age >= limit->tls ? TLS_FAILED : FAILURE_NONE;
        return age >= limit->connect ? CONNECT_TIMEOUT : FAILURE_NONE;
    case PHASE_WAITING:
        return age >= limit->first_output ? FIRST_TOKEN : FAILURE_NONE;
    case PHASE_STREAMING:
        return now_ms - t->progress_ms >= limit->idle ? IDLE : FAILURE_NONE;
    default:
        return FAILURE_NONE;
    }
}

/* The exchange itself is at its end, whatever its attempt does. An answer that only lacks its end
 * marker is whole, and is not broken off. */
static void stop(struct failover *f, enum failure why, uint64_t retry_after_ms, uint64_t now_ms,
                 struct failover_orders *out)
{
    if (f->current >= 0 && f->tries[f->current].phase == PHASE_FINISHING) {
        complete(f, now_ms, out);
        return;
    }
    if (f->current >= 0) {
        end_try(f, why, 0, retry_after_ms, now_ms);
        order(out, ORDER_DROP);
    } else {
        note_end(f, why, now_ms);
    }
    tell(f, out);
}

static void tick(struct failover *f, bool tcp_up, uint64_t now_ms, struct failover_orders *out)
{
    enum failure why;

    if (now_ms >= f->deadline_ms) {
        stop(f, DEADLINE, RETRY_AFTER_NONE, now_ms, out);
        return;
    }
    if (f->current < 0) {
        if (f->wait_until_ms != 0 && now_ms >= f->wait_until_ms) {
            f->wait_until_ms = 0;
            choose(f, now_ms, out);
        }
    } else if (f->tries[f->current].phase == PHASE_FINISHING) {
        if (now_ms - f->tries[f->current].progress_ms >= FINISH_MS)
            complete(f, now_ms, out);
    } else if ((why = expired(f, tcp_up, now_ms)) != FAILURE_NONE) {
        order(out, ORDER_DROP);
        failed(f, why, 0, RETRY_AFTER_NONE, now_ms, out);
    } else if (f->tries[f->current].phase == PHASE_CONNECTING) {
        f->tries[f->current].progress_ms =
            now_ms; /* of the two limits the passed one was not ours */
    }
    if (!f->ended && f->policy.heartbeat_ms != 0 && now_ms - f->said_ms >= f->policy.heartbeat_ms) {
        f->said_ms = now_ms;
        f->opened = true;
        order(out, ORDER_HEARTBEAT);
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
    struct failover_try *t = f->current >= 0 ? &f->tries[f->current] : NULL;

    out->n = 0;
    assert(!f->ended);
    assert(t != NULL || ev->kind == FAILOVER_TICK || ev->kind == FAILOVER_GONE ||
           ev->kind == FAILOVER_STOP);
    switch (ev->kind) {
    case FAILOVER_CONNECTED:
        t->phase = PHASE_WAITING;
        break;
    case FAILOVER_OUTPUT:
        output(f, now_ms, out);
        break;
    case FAILOVER_PROGRESS:
        t->progress_ms = now_ms;
        break;
    case FAILOVER_STOPPED:
        t->progress_ms = now_ms;
        t->phase = PHASE_FINISHING;
        break;
    case FAILOVER_COMPLETE:
        t->status = ev->status;
        complete(f, now_ms, out);
        break;
    case FAILOVER_FAILED:
        t->mended = ev->mended;
        failed(f, ev->failure, ev->status, ev->retry_after_ms, now_ms, out);
        break;
    case FAILOVER_TICK:
        tick(f, ev->tcp_up, now_ms, out);
        break;
    case FAILOVER_GONE:
        gone(f, now_ms, out);
        break;
    case FAILOVER_STOP:
        stop(f, STOPPING, ev->retry_after_ms, now_ms, out);
        break;
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t failover_due(const struct failover *f)
{
    uint64_t due = f->deadline_ms;

    if (f->policy.heartbeat_ms != 0)
        due = earlier(due, f->said_ms + f->policy.heartbeat_ms);
    if (f->current < 0)
        return f->wait_until_ms != 0 ? earlier(due, f->wait_until_ms) : due;

    const struct failover_try *t = &f->tries[f->current];
    const struct failover_timers *limit = &f->candidates[t->candidate].timers;

    switch (t->phase) {
    case PHASE_CONNECTING:
        /* Whether TCP is up is only known at a tick, so both limits are looked at in turn. */
        due = earlier(due, t->started_ms + limit->first_output);
        if (t->started_ms + limit->connect > t->progress_ms)
            due = earlier(due, t->started_ms + limit->connect);
        if (t->started_ms + limit->tls > t->progress_ms)
            due = earlier(due, t->started_ms + limit->tls);
        return due;
    case PHASE_WAITING:
        return earlier(due, t->started_ms + limit->first_output);
    case PHASE_STREAMING:
        return earlier(due, t->progress_ms + limit->idle);
    case PHASE_FINISHING:
        return earlier(due, t->progress_ms + FINISH_MS);
    default:
        return due;
    }
}

enum failure failover_outcome(const struct failover *f)
{
    return f->verdict < 0 ? LOCAL : f->tries[f->verdict].outcome;
}
