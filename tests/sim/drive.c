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

unsigned call_first(const struct call *c)
{
    return c->carries && c->way != SEAM_ALIGN ? c->from : 0;
}

unsigned call_free(const struct call *c)
{
    return !c->fits ? 0 : c->calling ? c->call_at : c->sent;
}

unsigned request_ways(const struct request *r)
{
    return r->owner < 0 || r->has_call || r->calls[r->owner].stopped ? 0 : r->ways;
}

/* All that is not held back goes to the client, and each piece is the next one of its answer. */
static void give(struct sim *s, struct request *r, struct call *c)
{
    HOLDS(s, r, r->owner >= 0 && c == &r->calls[r->owner]); /* I3: nobody else's */
    for (; c->given < call_free(c); c->given++) {
        HOLDS(s, r, call_first(c) + c->given == r->tokens); /* I4: none twice, none left out */
        r->tokens++;
        r->told_ms = s->now;
        r->has_call = r->has_call || c->given >= c->call_at;
    }
}

/* May the held answer go out? */
static bool is_free(const struct sim *s, const struct call *c)
{
    return c->whole || c->stopped || (c->told && c->hold == HOLD_NOT) ||
           (c->told && c->hold == HOLD_WINDOW && s->now >= c->window_ms);
}

/* The held answer goes out; that of another try only where the client's has ended. */
static void commit(struct sim *s, struct request *r, int try)
{
    static const enum sight carried[] = {SEEN_CARRIED_PREFILL, SEEN_CARRIED_TURN,
                                         SEEN_CARRIED_ALIGN};
    struct call *c = request_call(r, try);

    HOLDS(s, r, c != NULL && c->fits && is_free(s, c)); /* I3 */
    HOLDS(s, r, c->sent > 0 || c->carries);
    HOLDS(s, r, c->carries == (r->owner >= 0)); /* I4 */
    if (c->carries) {
        HOLDS(s, r, !r->calls[r->owner].live && c->from == r->tokens);
        sim_saw(s, carried[c->way]);
        if (r->owners > 1)
            sim_saw(s, SEEN_CARRIED_AGAIN);
        if (c->target == r->calls[r->owner].target)
            sim_saw(s, SEEN_CARRIED_HOME);
    } else if (c->hold == HOLD_WINDOW && !c->whole && !c->stopped) {
        sim_saw(s, SEEN_WINDOWS);
    }
    r->owner = (int)(c - r->calls);
    r->owners++;
    give(s, r, c);
}

/* From its first piece to its last, and who wrote the last one said that it was the last. */
static void finish(struct sim *s, struct request *r, int try)
{
    const struct call *c = request_call(r, try);

    HOLDS(s, r, c != NULL && r->owner == (int)(c - r->calls));
    HOLDS(s, r, c->whole || c->stopped); /* I11 */
    HOLDS(s, r, r->tokens == call_first(c) + c->tokens && c->given == c->tokens);
    sim_saw(s, SEEN_FINISHED);
    if (r->f.n_attempts > 1)
        sim_saw(s, SEEN_SAVED);
    if (c->carries)
        sim_saw(s, SEEN_CARRIED_TO_END);
    if (c->hold == HOLD_ALL)
        sim_saw(s, SEEN_HELD_WHOLE);
    ended(s, r, FINISHED);
}

static void break_off(struct sim *s, struct request *r)
{
    HOLDS(s, r, r->owner >= 0 || r->opened); /* else an error answer is due */
    if (r->owner >= 0 && r->calls[r->n_calls - 1].carries)
        sim_saw(s, SEEN_UNMENDED);
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

/* What it will write: for a request to go on, maybe nothing more; for the same request once more,
 * maybe less than the client has. */
static void plan_answer(struct sim *s, struct request *r, struct call *c)
{
    unsigned own = s->habits[c->target->index].tokens;

    if (c->carries && c->way != SEAM_ALIGN)
        c->tokens = (unsigned)sim_draw(s, 0, own);
    else if (c->carries)
        c->tokens = sim_chance(s, 90) ? c->from + (unsigned)sim_draw(s, 0, own) : own;
    else
        c->tokens = own;
    c->call_at = c->tokens;
    if (r->tools && c->tokens > 0 && sim_chance(s, 40))
        c->call_at = (unsigned)sim_draw(s, 0, c->tokens - 1);
    c->unsure = (unsigned)sim_draw(s, 0, 3);
    c->given = c->carries && c->way == SEAM_ALIGN ? c->from : 0;
}

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
        .carries = t->carries_on,
        .way = t->way,
        .from = r->tokens,
        .fits = !t->carries_on,
        .reported = FAILURE_KINDS,
        .passes = {t->ticket.model, t->ticket.endpoint, t->ticket.path},
    };
    plan_answer(s, r, c);
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
        if (t->outcome != FAILURE_NONE && c->told && r->owner < 0)
            sim_saw(s, SEEN_HELD_LOST);
        if (t->outcome != FAILURE_NONE && c->calling && r->owner >= 0)
            sim_saw(s, SEEN_CALLS_LOST);
        h->failed += t->outcome != FAILURE_NONE && t->outcome != CLIENT_GONE;
        s->sights->outcomes[t->outcome]++;
        sim_trace(s, r, "  try %d at %s ended: %s", c->try, c->target->name,
                  failure_row(t->outcome)->label);
    }
}

static void trace_try(struct sim *s, const struct request *r, int try)
{
    const struct failover_try *t = &r->f.tries[try];

    static const char *const ways[] = {", prefill", ", turn", ", align"};

    sim_trace(s, r, "  TRY %d at %s, key %u%s%s%s%s%s", try,
              r->f.candidates[t->candidate].target->name, t->ticket.key, t->hedge ? ", hedge" : "",
              t->ticket.away ? ", away" : "", t->ticket.probe ? ", probe" : "",
              t->ticket.trial ? ", trial" : "", t->carries_on ? ways[t->way] : "");
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
    ev.ways = request_ways(r);
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

static enum failover_hold hold_of(const struct sim *s, const struct request *r,
                                  const struct call *c)
{
    enum sim_commit commit = c->carries ? COMMIT_FIRST : s->routes[r->route].commit;

    if (!c->fits || c->calling || commit == COMMIT_FULL)
        return HOLD_ALL;
    return commit == COMMIT_WINDOW && c->pieces < s->routes[r->route].window ? HOLD_WINDOW
                                                                             : HOLD_NOT;
}

/* Of an answer that goes out: the hot path's short way, as a rule. */
static void request_token(struct sim *s, struct request *r, struct call *c)
{
    struct failover_event ev = {.kind = sim_chance(s, 50) ? FAILOVER_OUTPUT : FAILOVER_PROGRESS,
                                .try = c->try,
                                .retry_after_ms = RETRY_AFTER_NONE};

    give(s, r, c);
    if (!c->calling && sim_chance(s, 10))
        request_step(s, r, &ev);
    else
        failover_progress(&r->f, !c->calling, s->now);
}

/* The core is told of the first, and again when it may go out earlier or later than it knew. */
void request_output(struct sim *s, struct request *r, struct call *c)
{
    struct failover_event ev = {.kind = FAILOVER_OUTPUT,
                                .try = c->try,
                                .status = 200,
                                .retry_after_ms = RETRY_AFTER_NONE,
                                .hold = hold_of(s, r, c)};
    bool new = !c->told || ev.hold != c->hold;

    c->pieces++;
    if (r->owner >= 0 && c == &r->calls[r->owner]) {
        request_token(s, r, c);
        return;
    }
    if (!new) {
        failover_progress(&r->f, false, s->now);
        return;
    }
    c->told = true;
    c->hold = ev.hold;
    c->window_ms = s->now + r->f.policy.window_ms;
    request_step(s, r, &ev);
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
        static const enum failure unfit[] = {UNFIT, OTHER_MODEL, NO_ENDPOINT};
        struct target *t = s->routes[r->route].targets[order[i]];
        const struct habits *h = &s->habits[t->index];

        if (only_target >= 0 && t->index != (unsigned)only_target)
            continue;
        failover_add(&r->f, &(struct failover_candidate){
                                .target = t,
                                .place = order[i],
                                .timers = h->timers,
                                .window = h->window,
                                .ways = h->ways,
                                .away = s->routes[r->route].tiers[order[i]] > 0,
                                .unfit = !r->light && sim_chance(s, 2) ? unfit[i % ARRAY_LEN(unfit)]
                                                                       : FAILURE_NONE,
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

/* What its answers may have, and how they can be carried on. */
static void make_answer(struct sim *s, struct request *r)
{
    const unsigned align = SEAM_BIT(SEAM_ALIGN), all = (1u << SEAM_WAYS) - 1;

    r->tools = sim_chance(s, 25);
    r->ways = sim_chance(s, 15) ? 0 : r->tools || sim_chance(s, 15) ? align : all;
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
    make_answer(s, r);
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
