#include "tests/sim/sim.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define CLIENT_RETRIES    2
#define CLIENT_BACKOFF_MS 500
#define CLIENT_LONGEST_MS 8000
#define CLIENT_OBEYS_MS   60000 /* longer waits than this are not obeyed */
#define LIGHT_TOTAL_MS    60000

struct call *request_call(struct request *r, int try)
{
    for (unsigned i = 0; i < r->n_calls; i++)
        if (r->calls[i].try == try)
            return &r->calls[i];
    return NULL;
}

/* ---- the client's side ---------------------------------------------------------------------- */

/* As the SDKs do: twice more at most, after the time that was asked for or a back-off. */
static void try_again(struct sim *s, const struct request *r, uint64_t asked_ms)
{
    uint64_t wait = CLIENT_BACKOFF_MS << r->retry;

    if (r->light || r->retry >= CLIENT_RETRIES)
        return;
    if (wait > CLIENT_LONGEST_MS)
        wait = CLIENT_LONGEST_MS;
    wait = sim_draw(s, wait * 3 / 4, wait);
    if (asked_ms <= CLIENT_OBEYS_MS)
        wait = asked_ms;
    sim_push(
        s, (struct event){
               .at_ms = s->now + wait, .kind = ARRIVAL, .request = r->user, .call = r->retry + 1});
    sim_saw(s, SEEN_RETRIED);
}

static void ended(struct sim *s, struct request *r, enum ending how)
{
    HOLDS(s, r, r->ending == NOT_YET); /* I1 */
    r->ending = how;
    s->n_live--;
}

static void give_token(struct sim *s, struct request *r, const struct call *c)
{
    HOLDS(s, r, r->owner >= 0 && c == &r->calls[r->owner]); /* I3: nobody else's */
    r->tokens++;
    r->told_ms = s->now;
}

/* The held answer goes out. */
static void commit(struct sim *s, struct request *r, int try)
{
    struct call *c = request_call(r, try);

    HOLDS(s, r, r->owner < 0 && c != NULL && c->sent > 0); /* I3, I4 */
    r->owner = (int)(c - r->calls);
    for (unsigned i = 0; i < c->sent; i++)
        give_token(s, r, c);
}

/* One provider's answer from its first token to its last, and the provider said that it was the
 * last. */
static void finish(struct sim *s, struct request *r, int try)
{
    const struct call *c = request_call(r, try);

    HOLDS(s, r, c != NULL && r->owner == (int)(c - r->calls));
    HOLDS(s, r, c->whole || c->stopped); /* I11 */
    HOLDS(s, r, r->tokens == c->tokens && c->sent == c->tokens);
    sim_saw(s, SEEN_FINISHED);
    if (r->f.n_attempts > 1)
        sim_saw(s, SEEN_SAVED);
    ended(s, r, FINISHED);
}

static void break_off(struct sim *s, struct request *r)
{
    HOLDS(s, r, r->owner >= 0 || r->opened); /* else an error answer is due */
    sim_saw(s, SEEN_BROKEN);
    ended(s, r, BROKEN);
}

static void refuse(struct sim *s, struct request *r)
{
    HOLDS(s, r, r->owner < 0 && !r->opened); /* I4 */
    sim_saw(s, SEEN_REFUSED);
    ended(s, r, REFUSED_ALL);
    if (failure_row(failover_outcome(&r->f))->retry)
        try_again(s, r, r->f.retry_after_ms);
}

static void left(struct sim *s, struct request *r)
{
    sim_saw(s, SEEN_VANISHED);
    ended(s, r, LEFT);
    if (s->now >= r->began_ms + s->users[r->user].patience_ms)
        try_again(s, r, RETRY_AFTER_NONE);
}

static void heartbeat(struct sim *s, struct request *r)
{
    HOLDS(s, r, s->now - r->told_ms >= r->f.policy.heartbeat_ms);
    r->opened = true;
    r->told_ms = s->now;
    sim_saw(s, SEEN_HEARTBEATS);
}

/* ---- calls ---------------------------------------------------------------------------------- */

static void start_call(struct sim *s, struct request *r, int try)
{
    const struct failover_try *t = &r->f.tries[try];
    struct target *target = r->f.candidates[t->candidate].target;
    struct habits *h = &s->habits[target->index];
    struct call *c;

    HOLDS(s, r, r->n_calls < ARRAY_LEN(r->calls));
    c = &r->calls[r->n_calls++];
    *c = (struct call){
        .try = try,
        .target = target,
        .key = t->ticket.key,
        .live = true,
        .away = t->hedge || r->f.candidates[t->candidate].away,
        .started_ms = s->now,
        .tokens = h->tokens,
        .reported = FAILURE_KINDS,
        .passes = {t->ticket.model, t->ticket.endpoint, t->ticket.path},
    };
    h->calls++;
    h->live[c->key]++;
    h->live_away[c->key] += c->away;
    sim_saw(s, SEEN_CALLS);
    call_start(s, r, c);
}

/* Calls that the core has ended: those it was told of, and those it orders to drop. */
static void note_ends(struct sim *s, struct request *r)
{
    for (unsigned i = 0; i < r->n_calls; i++) {
        struct call *c = &r->calls[i];
        const struct failover_try *t = &r->f.tries[c->try];
        struct habits *h = &s->habits[c->target->index];

        if (!c->live || t->phase != PHASE_ENDED)
            continue;
        c->live = false;
        h->live[c->key]--;
        h->live_away[c->key] -= c->away;
        h->outcomes[t->outcome]++;
        h->failed += t->outcome != FAILURE_NONE && t->outcome != CLIENT_GONE;
        s->sights->outcomes[t->outcome]++;
        sim_trace(s, r, "  try %d at %s ended: %s", c->try, c->target->name,
                  failure_row(t->outcome)->label);
    }
}

static void trace_try(struct sim *s, const struct request *r, int try)
{
    const struct failover_try *t = &r->f.tries[try];

    sim_trace(s, r, "  TRY %d at %s, key %u%s%s%s%s", try,
              r->f.candidates[t->candidate].target->name, t->ticket.key, t->hedge ? ", hedge" : "",
              t->ticket.away ? ", away" : "", t->ticket.probe ? ", probe" : "",
              t->ticket.trial ? ", trial" : "");
}

static void carry_out(struct sim *s, struct request *r, const struct failover_orders *o)
{
    static const char *const names[] = {"TRY",   "DROP",   "COMMIT",   "FINISH",
                                        "BREAK", "REFUSE", "HEARTBEAT"};

    note_ends(s, r);
    for (unsigned i = 0; i < o->n; i++) {
        const struct failover_order *v = &o->v[i];

        sim_mix(s, (uint64_t)v->kind << 8 | (uint8_t)v->try);
        if (v->kind == ORDER_TRY)
            trace_try(s, r, v->try);
        else
            sim_trace(s, r, "  %s %d%s%s", names[v->kind], v->try, r->f.ended ? ": " : "",
                      r->f.ended ? failure_row(failover_outcome(&r->f))->label : "");
        HOLDS(s, r, r->ending == NOT_YET); /* an end is the last order */
        switch (v->kind) {
        case ORDER_TRY:
            start_call(s, r, v->try);
            break;
        case ORDER_DROP: /* its events find it dead */
            break;
        case ORDER_COMMIT:
            commit(s, r, v->try);
            break;
        case ORDER_FINISH:
            finish(s, r, v->try);
            break;
        case ORDER_BREAK:
            break_off(s, r);
            break;
        case ORDER_REFUSE:
            refuse(s, r);
            break;
        case ORDER_HEARTBEAT:
            heartbeat(s, r);
            break;
        }
    }
    if (r->f.ended && r->ending == NOT_YET)
        left(s, r);
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* As in the program: the timer only ever moves to an earlier time; when it comes too early it is
 * set anew. Some come late, as timers do. */
static void arm(struct sim *s, struct request *r)
{
    uint64_t due = failover_due(&r->f);

    if (r->ending != NOT_YET || due >= r->tick_ms)
        return;
    r->tick_ms = due;
    if (due < s->now)
        due = s->now;
    if (sim_chance(s, 10))
        due += sim_draw(s, 1, SIM_LATE_MS);
    sim_push(s, (struct event){.at_ms = due, .kind = TICK, .request = r->id, .at_due = r->tick_ms});
}

void request_tick(struct sim *s, struct request *r, const struct event *e)
{
    struct failover_event ev = {.kind = FAILOVER_TICK, .retry_after_ms = RETRY_AFTER_NONE};

    if (e->at_due != r->tick_ms)
        return; /* another one was set before it */
    r->tick_ms = SIM_NEVER;
    if (failover_due(&r->f) > s->now) {
        arm(s, r);
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(ev.tcp_up); i++)
        if (r->f.live[i] >= 0)
            ev.tcp_up[i] = s->now >= request_call(r, r->f.live[i])->tcp_up_ms;
    request_step(s, r, &ev);
}

static void trace_event(struct sim *s, const struct request *r, const struct failover_event *ev)
{
    static const char *const names[] = {"connected", "output", "progress", "stopped", "complete",
                                        "failed",    "tick",   "gone",     "stop"};

    if (ev->kind == FAILOVER_FAILED)
        sim_trace(s, r, "try %d failed: %s, retry after %lld", ev->try,
                  failure_row(ev->failure)->label, (long long)ev->retry_after_ms);
    else if (ev->kind < FAILOVER_TICK)
        sim_trace(s, r, "try %d %s", ev->try, names[ev->kind]);
    else
        sim_trace(s, r, "%s", names[ev->kind]);
}

void request_step(struct sim *s, struct request *r, const struct failover_event *ev)
{
    const int live[2] = {r->f.live[0], r->f.live[1]};
    struct failover_orders o;

    sim_saw(s, SEEN_STEPS);
    sim_mix(s, s->now << 20 ^ r->id << 4 ^ ev->kind);
    trace_event(s, r, ev);
    check_before(s);
    failover_step(&r->f, ev, s->now, &o);
    carry_out(s, r, &o);
    check_step(s, r, ev, &o, live);
    arm(s, r);
}

/* Of an answer that goes out: the hot path's short way, as a rule. */
void request_token(struct sim *s, struct request *r, struct call *c)
{
    struct failover_event ev = {.kind = sim_chance(s, 50) ? FAILOVER_OUTPUT : FAILOVER_PROGRESS,
                                .try = c->try,
                                .retry_after_ms = RETRY_AFTER_NONE};

    give_token(s, r, c);
    if (sim_chance(s, 10))
        request_step(s, r, &ev);
    else
        failover_progress(&r->f, true, s->now);
}

/* ---- a request begins ----------------------------------------------------------------------- */

static void add_candidates(struct sim *s, struct request *r, int only_target)
{
    unsigned n = s->routes[r->route].n, order[SIM_TARGETS];

    for (unsigned i = 0; i < n; i++) {
        unsigned at = i;

        /* Inside a tier by chance. */
        while (at > 0 && s->routes[r->route].tiers[order[at - 1]] == s->routes[r->route].tiers[i] &&
               sim_chance(s, 50)) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    for (unsigned i = 0; i < n; i++) {
        struct target *t = s->routes[r->route].targets[order[i]];
        const struct habits *h = &s->habits[t->index];

        if (only_target >= 0 && t->index != (unsigned)only_target)
            continue;
        failover_add(&r->f, &(struct failover_candidate){
                                .target = t,
                                .place = order[i],
                                .timers = h->timers,
                                .window = h->window,
                                .away = s->routes[r->route].tiers[order[i]] > 0,
                                .unfit = !r->light && sim_chance(s, 2),
                            });
    }
}

static void plan_leaving(struct sim *s, const struct request *r)
{
    struct event e = {.request = r->id, .retry_after_ms = 1000};

    if (r->light)
        return;
    if (s->users[r->user].patience_ms != SIM_NEVER) {
        e.at_ms = s->now + s->users[r->user].patience_ms;
        e.kind = LEAVE;
        sim_push(s, e);
    }
    const struct episode *fault = sim_fault(s, OF_CLIENT, NULL, 0);

    if (fault != NULL) {
        e.at_ms = s->now + sim_draw(s, 0, 10000);
        e.kind = fault->kind == FAULT_PROGRAM_ENDS ? STOP : LEAVE;
        sim_push(s, e);
    }
}

/* `only_target`: a request of the light traffic that may go nowhere else; -1: a user's. */
void request_begin(struct sim *s, unsigned user, unsigned retry, int only_target)
{
    struct request *r = &s->requests[s->n_requests];
    struct failover_policy policy;
    struct failover_orders o;

    if (s->n_requests >= SIM_REQUESTS)
        sim_fail(s, NULL, "more requests than this world has room for");
    *r = (struct request){
        .id = s->n_requests++,
        .user = user,
        .retry = retry,
        .light = only_target >= 0,
        .route = only_target >= 0 ? 0 : s->users[user].route,
        .kind = only_target >= 0 ? PACE_STREAM : s->users[user].kind,
        .tick_ms = SIM_NEVER,
        .began_ms = s->now,
        .owner = -1,
        .told_ms = s->now,
    };
    s->n_live++;
    policy = s->routes[r->route].policy;
    policy.kind = r->kind;
    policy.retried = retry > 0;
    if (r->light)
        policy.total_ms = LIGHT_TOTAL_MS;
    failover_init(&r->f, &policy, SIM_TARGETS, rng_next(&s->rng), &s->arena);
    add_candidates(s, r, only_target);
    sim_saw(s, SEEN_REQUESTS);
    sim_trace(s, r, "begins on route %u, kind %u, retry %u", r->route, r->kind, retry);
    check_before(s);
    failover_begin(&r->f, s->now, &o);
    carry_out(s, r, &o);
    check_step(s, r, NULL, &o, (int[2]){-1, -1});
    arm(s, r);
    plan_leaving(s, r);
}
