#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_TRY_MS  10
#define PROBE_LOST_MS 30000
#define TOKEN_MS      10000.0
#define ROUNDING      1e-6

void sim_fail(struct sim *s, const struct request *r, const char *fmt, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "sim: seed %llu, at %.3f", (unsigned long long)s->seed,
            (double)(s->now - SIM_T0) / 1000);
    if (r != NULL)
        fprintf(stderr, ", request %u", r->id);
    fprintf(stderr, ": ");
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nreplay it: sim --seed %llu --trace\n", (unsigned long long)s->seed);
    exit(1);
}

/* ---- breakers -------------------------------------------------------------------------------- */

void check_world(struct sim *s)
{
    for (unsigned i = 0; i < s->n_targets; i++)
        s->watched[s->n_watched++] = (struct watched){.breaker = &s->set->targets[i].breaker};
    for (unsigned i = 0; i < s->set->n_endpoints; i++)
        s->watched[s->n_watched++] = (struct watched){.breaker = &s->set->endpoints[i].breaker};
    s->watched[s->n_watched++] = (struct watched){.breaker = &s->set->path};
}

void check_before(struct sim *s)
{
    for (unsigned i = 0; i < s->n_watched; i++)
        s->before[i] = *s->watched[i].breaker;
}

static const char *breaker_name(const struct sim *s, unsigned i)
{
    if (i < s->n_targets)
        return s->set->targets[i].name;
    if (i < s->n_targets + s->set->n_endpoints)
        return s->set->endpoints[i - s->n_targets].origin;
    return "path";
}

/* The state after so many changes from `was`: only the machine's own edges. Two changes in one step
 * are a result and a last resort right after it; or, of the path, a failure that was the first to
 * tell that its endpoint goes that way. */
static bool legal(enum breaker_state was, enum breaker_state is, unsigned changes)
{
    switch (changes) {
    case 0:
        return is == was;
    case 1:
        return (was == BREAKER_CLOSED && is == BREAKER_OPEN) ||
               (was == BREAKER_OPEN && is == BREAKER_HALF_OPEN) ||
               (was == BREAKER_HALF_OPEN && is != BREAKER_HALF_OPEN);
    case 2:
        return was == BREAKER_OPEN ? is == BREAKER_OPEN : is == BREAKER_HALF_OPEN;
    default:
        return false;
    }
}

static void check_opening(struct sim *s, struct request *r, const struct breaker *b)
{
    uint64_t cap = b->cfg.open_cap_ms,
             least = b->cfg.open_base_ms < cap ? b->cfg.open_base_ms : cap;

    HOLDS(s, r, b->retry_at - s->now >= least / 2);
    HOLDS(s, r, b->retry_at - s->now <= cap);
}

/* How many probes of this breaker are out that have had no output, and are no older than this. */
static unsigned probes_out(const struct sim *s, const struct breaker *b, unsigned scope,
                           uint64_t longest_ms)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->n_requests; i++) {
        const struct request *r = &s->requests[i];

        for (unsigned k = 0; r->ending == NOT_YET && k < r->n_calls; k++) {
            const struct call *c = &r->calls[k];
            const struct breaker *its[] = {&c->target->breaker,
                                           &c->target->provider->endpoint->breaker, &s->set->path};

            n += c->live && its[scope] == b && c->passes[scope] == b->epoch &&
                 !r->f.tries[c->try].ticket.output && s->now - c->started_ms < longest_ms;
        }
    }
    return n;
}

static void check_probes(struct sim *s, struct request *r, unsigned i, unsigned scope)
{
    static const unsigned places[] = {1, 3, 5};
    struct watched *w = &s->watched[i];
    const struct breaker *b = w->breaker;

    HOLDS(s, r, b->won < ARRAY_LEN(places));
    HOLDS(s, r, probes_out(s, b, scope, PROBE_LOST_MS) <= places[b->won] + w->probes_beyond);
    HOLDS(s, r, b->probes <= probes_out(s, b, scope, SIM_NEVER)); /* I2: none is left behind */
}

static bool same_verdicts(const struct breaker *a, const struct breaker *b)
{
    for (size_t i = 0; i < BREAKER_SLOTS; i++)
        if (a->slots[i].ok != b->slots[i].ok || a->slots[i].failed != b->slots[i].failed)
            return false;
    return a->failures == b->failures && a->opened == b->opened && a->won == b->won &&
           a->retry_at == b->retry_at;
}

/* Does nothing in this world ever speak against it, but that it may be slower than another?
 * `forgive_net`: while our own network is lost, that does not. */
static bool is_clean(const struct sim *s, const struct target *t, bool forgive_net)
{
    bool forgiven = forgive_net && sim_net_back_ms(s, t) != 0 && s->set->n_endpoints > 1;

    for (unsigned i = 0; i < s->n_episodes; i++) {
        enum fault kind = s->episodes[i].kind;
        bool net = kind == FAULT_NET_LOST || kind == FAULT_NET_HANGS;

        if (fault_rows[kind].stage == OF_CLIENT || kind == FAULT_CALLERS_FAULT || (net && forgiven))
            continue;
        for (unsigned k = 0; k < t->provider->n_keys; k++)
            if (sim_hits(s, &s->episodes[i], t, k))
                return false;
    }
    return true;
}

/* Nobody's breaker opens who has not failed. */
static void check_deserved(struct sim *s, struct request *r, const struct breaker *b)
{
    bool clean = false;

    for (unsigned i = 0; i < s->n_targets; i++) {
        const struct target *t = &s->set->targets[i];

        if (b == &t->breaker)
            HOLDS(s, r,
                  !is_clean(s, t, false) || t->last_failure == SLOWER ||
                      t->last_failure == FIRST_TOKEN);
        if (b != &t->provider->endpoint->breaker)
            continue;
        if (!is_clean(s, t, true) || s->habits[i].outcomes[TLS_FAILED] > 0)
            return; /* the network may go in the midst of a handshake */
        clean = true;
    }
    HOLDS(s, r, !clean);
}

static void note_breaker(struct sim *s, unsigned i, unsigned scope)
{
    static const enum sight opened[] = {SEEN_OPENED_MODEL, SEEN_OPENED_ENDPOINT, SEEN_OPENED_PATH};
    const struct breaker *was = &s->before[i], *is = s->watched[i].breaker;

    sim_trace(s, NULL, "  breaker of %s: %s -> %s, %u failures, next try in %.3f",
              breaker_name(s, i), breaker_state_name(was->state), breaker_state_name(is->state),
              is->failures, (double)breaker_wait_ms(is, s->now) / 1000);
    if (was->state == BREAKER_CLOSED)
        sim_saw(s, opened[scope]);
    else if (is->state == BREAKER_CLOSED)
        sim_saw(s, SEEN_CLOSED);
    else if (was->state == BREAKER_HALF_OPEN)
        sim_saw(s, SEEN_REOPENED);
}

/* `spoke`: something happened in this step that may move it. */
static void check_breaker(struct sim *s, struct request *r, unsigned i, unsigned scope, bool spoke)
{
    struct watched *w = &s->watched[i];
    const struct breaker *was = &s->before[i], *is = w->breaker;
    bool last_resort = is->last_resort_at != was->last_resort_at;

    if (!spoke && is->state == BREAKER_HALF_OPEN && was->state == BREAKER_OPEN)
        HOLDS(s, r, is->won == 0);
    else if (!spoke)
        HOLDS(s, r, same_verdicts(was, is)); /* I8, I9 */
    if (is->epoch != was->epoch) {
        HOLDS(s, r, legal(was->state, is->state, is->epoch - was->epoch));
        if (is->state == BREAKER_OPEN) {
            check_opening(s, r, is);
            if (was->state == BREAKER_CLOSED)
                check_deserved(s, r, is);
        }
        w->probes_beyond = 0;
        note_breaker(s, i, scope);
    }
    w->probes_beyond += last_resort;
    if (last_resort)
        sim_saw(s, SEEN_FORCED);
    if (is->state == BREAKER_HALF_OPEN)
        check_probes(s, r, i, scope);
}

/* ---- what a step may have said of whom --------------------------------------------------------
 */

struct said {
    bool model[SIM_TARGETS], endpoint[SIM_PROVIDERS], path, answered;
};

static bool ended_now(const struct request *r, int try, const int live_before[2])
{
    return (try == live_before[0] || try == live_before[1]) && try >= 0 &&
           r->f.tries[try].phase == PHASE_ENDED;
}

static void hear(struct sim *s, const struct request *r, const struct failover_event *ev,
                 const int live_before[2], struct said *said)
{
    *said = (struct said){.path = false};
    for (unsigned i = 0; i < 2; i++) {
        int try = live_before[i];

        if (try < 0)
            continue;
        const struct failover_try *t = &r->f.tries[try];
        const struct target *target = r->f.candidates[t->candidate].target;
        size_t e = (size_t)(target->provider->endpoint - s->set->endpoints);
        bool ended = ended_now(r, try, live_before);
        bool good = t->output_ms == s->now || (ended && t->outcome == FAILURE_NONE);
        enum failure_blame blame = ended ? failure_row(t->outcome)->blame : NEUTRAL;

        said->model[target->index] = said->model[target->index] || good || blame == BLAME_MODEL;
        said->endpoint[e] = said->endpoint[e] || good || blame == BLAME_ENDPOINT;
        said->path = said->path || good || blame == BLAME_PATH;
        /* An answer from far away shows that our own network is well. */
        said->answered = said->answered || (target->provider->endpoint->remote &&
                                            (good || (ended && ev->status != 0)));
    }
}

static void check_breakers(struct sim *s, struct request *r, const struct failover_event *ev,
                           const int live_before[2])
{
    struct said said;

    hear(s, r, ev, live_before, &said);
    for (unsigned i = 0; i < s->n_watched; i++) {
        if (i < s->n_targets)
            check_breaker(s, r, i, 0, said.model[i]);
        else if (i < s->n_targets + s->set->n_endpoints)
            check_breaker(s, r, i, 1,
                          said.endpoint[i - s->n_targets] ||
                              (said.answered && s->before[i].state == BREAKER_CLOSED));
        else
            check_breaker(s, r, i, 2, said.path);
    }
}

/* ---- how attempts end ------------------------------------------------------------------------ */

/* Of two, the other one had the first output; it may be held still. */
static bool other_won(const struct request *r)
{
    return r->f.committed || (r->f.live[0] >= 0 && r->f.tries[r->f.live[0]].output_ms != 0);
}

/* What the core ended by itself, it had a reason for. */
static void check_own_end(struct sim *s, struct request *r, const struct call *c,
                          const struct failover_event *ev)
{
    const struct failover_try *t = &r->f.tries[c->try];
    const struct failover_timers *limit = &r->f.candidates[t->candidate].timers;
    uint64_t age = s->now - c->started_ms;

    switch (t->outcome) {
    case FAILURE_NONE: /* only the end marker was missing */
        HOLDS(s, r, c->stopped);
        break;
    case CONNECT_TIMEOUT:
        HOLDS(s, r, !c->connected && c->tcp_up_ms > s->now && age >= limit->connect);
        break;
    case TLS_FAILED:
        HOLDS(s, r, !c->connected && c->tcp_up_ms <= s->now && age >= limit->tls);
        break;
    case FIRST_TOKEN:
    case TIME_SHARE:
        HOLDS(s, r, c->sent == 0 && age >= t->first_output);
        HOLDS(s, r,
              t->outcome == TIME_SHARE ? t->first_output < limit->first_output
                                       : t->first_output == limit->first_output);
        break;
    case IDLE:
        HOLDS(s, r, c->sent > 0 && !c->stopped && s->now - c->said_ms >= limit->idle);
        break;
    case SLOWER:
    case HEDGE_LOST:
        HOLDS(s, r, c->sent == 0 && r->f.policy.hedge_ms != FAILOVER_HEDGE_OFF);
        HOLDS(s, r, t->outcome == SLOWER || (t->hedge && other_won(r)));
        sim_saw(s, t->outcome == HEDGE_LOST ? SEEN_HEDGES_LOST
                   : other_won(r)           ? SEEN_HEDGES_WON
                                            : SEEN_MOVED_ON);
        break;
    case DEADLINE:
        HOLDS(s, r, s->now >= r->f.deadline_ms);
        break;
    case CLIENT_GONE:
        HOLDS(s, r, ev->kind == FAILOVER_GONE);
        break;
    case STOPPING:
        HOLDS(s, r, ev->kind == FAILOVER_STOP);
        break;
    default:
        sim_fail(s, r, "the core ended a try with %s", failure_row(t->outcome)->label);
    }
}

static void check_ends(struct sim *s, struct request *r, const struct failover_event *ev,
                       const struct failover_orders *o, const int live_before[2])
{
    for (unsigned i = 0; i < 2; i++) {
        const struct call *c = live_before[i] >= 0 ? request_call(r, live_before[i]) : NULL;
        unsigned drops = 0;

        if (c == NULL || !ended_now(r, c->try, live_before))
            continue;
        for (unsigned k = 0; k < o->n; k++)
            drops += o->v[k].kind == ORDER_DROP && o->v[k].try == c->try;
        if (c->reported != FAILURE_KINDS) {
            HOLDS(s, r, r->f.tries[c->try].outcome == c->reported && drops == 0);
            continue;
        }
        /* What a driver has not seen end, it is told to drop; a finished answer is closed anyway.
         */
        HOLDS(s, r, drops == (r->f.tries[c->try].outcome != FAILURE_NONE));
        check_own_end(s, r, c, ev);
    }
}

/* ---- new tries ------------------------------------------------------------------------------- */

static void check_rests(struct sim *s, struct request *r, const struct call *c)
{
    const struct target *t = c->target;
    const struct rest *rests[] = {&t->rest, &t->rests[c->key], &t->provider->rests[c->key]};

    HOLDS(s, r, s->now >= s->habits[t->index].not_before_ms[c->key]);
    for (size_t i = 0; i < ARRAY_LEN(rests); i++) {
        if (rests[i]->until_ms <= s->now)
            continue;
        HOLDS(s, r, rests[i]->firm_ms <= s->now);
        HOLDS(s, r, r->n_calls == 1); /* the last resort of a request that nobody has answered */
        sim_saw(s, SEEN_LAST_RESORTS);
    }
}

static void check_limit(struct sim *s, struct request *r, const struct call *c)
{
    const struct limiter *l = &c->target->limiters[c->key];
    double share = l->capped && l->reserve ? l->limit / 2 : l->limit;

    if (l->capped)
        sim_saw(s, SEEN_CAPPED);
    if (l->capped)
        HOLDS(s, r, l->in_flight <= l->limit);
    if (c->away)
        HOLDS(s, r, l->away <= (share < 2 ? 2 : share));
}

static struct second *this_second(struct sim *s)
{
    uint64_t second = s->now / 1000;
    struct second *v = &s->seconds[second % HEDGE_WINDOW_S];

    if (v->second != second)
        *v = (struct second){.second = second};
    return v;
}

static struct second sum_seconds(const struct sim *s, unsigned span)
{
    struct second sum = {0};

    for (unsigned i = 0; i < HEDGE_WINDOW_S; i++) {
        const struct second *v = &s->seconds[i];

        if (v->second + span <= s->now / 1000)
            continue;
        sum.requests += v->requests;
        sum.wanted += v->wanted;
        sum.hedges += v->hedges;
    }
    return sum;
}

/* At most their share of the requests of a minute, or the few that are always granted; and only
 * those few when more than a fifth of the requests want one. */
static void check_hedge_share(struct sim *s, struct request *r)
{
    struct second all = sum_seconds(s, HEDGE_WINDOW_S), lately = sum_seconds(s, 10);

    if (lately.hedges <= s->hedge_floor)
        return;
    HOLDS(s, r, all.hedges <= s->hedge_ratio * all.requests + ROUNDING);
    HOLDS(s, r, lately.wanted <= 0.2 * lately.requests + ROUNDING);
}

static void check_hedge(struct sim *s, struct request *r, const struct call *c,
                        const int live_before[2])
{
    const struct failover_try *first = &r->f.tries[live_before[0]];

    HOLDS(s, r, live_before[0] >= 0 && live_before[1] < 0 && r->owner < 0);
    HOLDS(s, r, first->output_ms == 0);
    HOLDS(s, r, r->f.policy.hedge_ms != FAILOVER_HEDGE_OFF);
    HOLDS(s, r, c->target != r->f.candidates[first->candidate].target);
    HOLDS(s, r, c->target->breaker.state == BREAKER_CLOSED);
    HOLDS(s, r, c->target->provider->endpoint->breaker.state == BREAKER_CLOSED);
    if (first->ticket.probe) {
        sim_saw(s, SEEN_PROBE_HEDGES);
        return;
    }
    sim_saw(s, SEEN_HEDGES);
    this_second(s)->hedges++;
    check_hedge_share(s, r);
}

/* The try before it at the same target, if there was one. */
static const struct failover_try *before_at(const struct request *r, int try)
{
    const struct failover_try *t = &r->f.tries[try], *before = NULL;

    for (int i = 0; i < try; i++)
        if (!r->f.tries[i].skipped && r->f.tries[i].candidate == t->candidate)
            before = &r->f.tries[i];
    return before;
}

/* What it costs of its target's retry budget, by the rules' own words: a request and its first
 * failover are free, and so is the same target at once with another key or a mended request; an
 * answer that is carried on never is. */
static double cost_of(const struct sim *s, const struct request *r, int try,
                      const struct failover_try *same, bool at_once)
{
    bool slow = false;

    for (int i = 0; i < try; i++) {
        const struct failover_try *t = &r->f.tries[i];
        bool left_now = t->outcome == SLOWER && t->ended_ms == s->now; /* for this very one */

        if (!t->skipped && t->phase == PHASE_ENDED && !left_now)
            slow = slow || (failure_row(t->outcome)->marks & SLOW) != 0 ||
                   t->outcome == REQUEST_TIMEOUT;
    }
    if (r->f.tries[try].carries_on)
        return slow ? 2 : 1;
    if (at_once || r->n_calls == 1 || (same == NULL && !r->f.tries[try].hedge && r->n_calls == 2))
        return 0;
    return slow ? 2 : 1;
}

/* It is on the account of the target where the request began. */
static void check_cost(struct sim *s, struct request *r, double cost)
{
    struct habits *h = &s->habits[r->calls[0].target->index];

    h->earned += r->n_calls == 1 && !r->f.policy.retried;
    h->spent += cost;
    HOLDS(s, r,
          h->spent <= s->budget_capacity + s->budget_ratio * h->earned +
                          (double)(s->now - SIM_T0) / TOKEN_MS + ROUNDING);
}

/* A target whose endpoint has failed this request comes after those of which nothing is known. */
static bool endpoint_failed(const struct request *r, const struct endpoint *e, int try)
{
    for (int i = 0; i < try; i++) {
        const struct failover_try *t = &r->f.tries[i];

        if (!t->skipped && t->phase == PHASE_ENDED &&
            failure_row(t->outcome)->blame == BLAME_ENDPOINT &&
            r->f.candidates[t->candidate].target->provider->endpoint == e)
            return true;
    }
    return false;
}

static void check_turn(struct sim *s, struct request *r, const struct call *c)
{
    if (!endpoint_failed(r, c->target->provider->endpoint, c->try))
        return;
    for (unsigned i = 0; i < r->f.n_candidates; i++) {
        const struct failover_candidate *o = &r->f.candidates[i];

        HOLDS(s, r,
              o->tries > 0 || o->skipped != FAILURE_NONE || o->unfit != FAILURE_NONE ||
                  endpoint_failed(r, o->target->provider->endpoint, c->try) ||
                  target_behind(o->target, s->now));
    }
}

/* One layer of retries is enough: a client's retry goes to the others before it comes again. */
static void check_others_first(struct sim *s, struct request *r, const struct call *c)
{
    for (unsigned i = 0; i < r->f.n_candidates; i++) {
        const struct failover_candidate *o = &r->f.candidates[i];

        HOLDS(s, r, o->target == c->target || o->tries > 0 || o->skipped != FAILURE_NONE);
    }
}

/* After a failure that no other target can mend, none is asked; who goes on with an answer is told
 * nothing by what failed before it began. */
static void check_hope(struct sim *s, struct request *r, int try)
{
    for (int i = 0; i < try; i++) {
        const struct failover_try *t = &r->f.tries[i];
        bool before = r->f.tries[try].carries_on && !t->carries_on && t->output_ms == 0;

        HOLDS(s, r,
              t->skipped || t->phase != PHASE_ENDED || before ||
                  failure_row(t->outcome)->next != NEXT_NO);
    }
}

/* Who is to carry an answer on: that can be done, and in this way, which was not tried there. */
static void check_carries(struct sim *s, struct request *r, const struct call *c,
                          const int live_before[2])
{
    const struct failover_try *last = &r->f.tries[live_before[0]];
    const struct failover *f = &r->f;

    HOLDS(s, r, live_before[0] >= 0 && live_before[1] < 0 && last->phase == PHASE_ENDED);
    HOLDS(s, r, r->owner >= 0 && !r->calls[r->owner].live);
    HOLDS(s, r, (request_ways(r) & s->habits[c->target->index].ways & SEAM_BIT(c->way)) != 0);
    HOLDS(s, r, c->way != SEAM_PREFILL || atomic_load(&c->target->no_prefill_ms) == 0);
    HOLDS(s, r, (f->deadline_ms - s->now) * 10 >= f->policy.total_ms * 3);
    for (const struct call *o = r->calls; o < c; o++)
        HOLDS(s, r,
              !o->carries || o->target != c->target || o->way != c->way || f->tries[o->try].mended);
    if (last->outcome == CARRY_REFUSED && f->candidates[last->candidate].target == c->target)
        sim_saw(s, SEEN_OTHER_WAY);
}

/* It has not failed: another one's output came first. That may be held, and fail, and then who lost
 * is as good as any. */
static bool lost_to_output(const struct request *r, const struct failover_try *t)
{
    for (unsigned i = 0; i < r->f.n_tries; i++) {
        const struct failover_try *o = &r->f.tries[i];

        if ((t->outcome == SLOWER || t->outcome == HEDGE_LOST) && o->output_ms == t->ended_ms)
            return true;
    }
    return false;
}

static void check_again(struct sim *s, struct request *r, const struct call *c,
                        const struct failover_try *same, bool at_once)
{
    enum failure_again again = failure_row(same->outcome)->again;
    bool fresh = true; /* its key, which may come at once, or when the others have failed */

    for (const struct call *o = r->calls; o < c; o++)
        fresh = fresh && (o->target != c->target || o->key != c->key);
    if (lost_to_output(r, same))
        return;
    HOLDS(s, r, at_once || again == AGAIN_SOON || again == AGAIN_LATER || again == AGAIN_KEY);
    if ((at_once || (again == AGAIN_KEY && fresh)) && !same->mended) {
        for (const struct call *o = r->calls; o < c; o++)
            HOLDS(s, r, o->target != c->target || o->key != c->key || r->f.tries[o->try].mended);
        sim_saw(s, SEEN_OTHER_KEY);
    } else if (at_once) {
        sim_saw(s, SEEN_MENDED);
    } else {
        if (again == AGAIN_SOON)
            HOLDS(s, r, s->now - same->ended_ms >= 100);
        if (again == AGAIN_SOON && r->f.policy.retried)
            check_others_first(s, r, c);
        if (same->retry_after_ms != RETRY_AFTER_NONE)
            HOLDS(s, r, s->now - same->ended_ms >= same->retry_after_ms);
        sim_saw(s, again == AGAIN_SOON ? SEEN_SAME_AGAIN : SEEN_WAITED_OUT);
    }
}

static void check_try(struct sim *s, struct request *r, int try, const int live_before[2])
{
    const struct call *c = request_call(r, try);
    const struct failover_try *t = &r->f.tries[try], *same = before_at(r, try);
    bool at_once = same != NULL && ended_now(r, (int)(same - r->f.tries), live_before) &&
                   (failure_row(same->outcome)->again == AGAIN_KEY || same->mended);
    unsigned here = 0;

    for (unsigned i = 0; i < r->n_calls; i++)
        here += r->calls[i].target == c->target;
    HOLDS(s, r, r->n_calls <= r->f.policy.max_attempts && here <= r->f.policy.per_target); /* I5 */
    HOLDS(s, r, s->now + LEAST_TRY_MS <= r->f.deadline_ms + (t->hedge ? 0 : SIM_LATE_MS));
    HOLDS(s, r, t->carries_on == (r->owner >= 0));
    HOLDS(s, r, t->ticket.model != 0 && t->ticket.endpoint != 0);
    if (r->n_calls == 1)
        this_second(s)->requests++;
    if (t->ticket.trial)
        sim_saw(s, SEEN_TRIALS);
    check_hope(s, r, try);
    check_rests(s, r, c);
    check_limit(s, r, c);
    check_cost(s, r, cost_of(s, r, try, same, at_once));
    if (t->hedge)
        check_hedge(s, r, c, live_before);
    if (t->carries_on)
        check_carries(s, r, c, live_before);
    else if (same != NULL)
        check_again(s, r, c, same, at_once);
    else
        check_turn(s, r, c);
}

/* ---- books ----------------------------------------------------------------------------------- */

static void check_books(struct sim *s, struct request *r)
{
    for (unsigned i = 0; i < s->n_targets; i++) {
        const struct target *t = &s->set->targets[i];
        const struct habits *h = &s->habits[i];
        unsigned live = 0;

        for (unsigned k = 0; k < SIM_KEYS; k++) {
            HOLDS(s, r, t->limiters[k].in_flight == h->live[k]);
            HOLDS(s, r, t->limiters[k].away == h->live_away[k]);
            live += h->live[k];
        }
        HOLDS(s, r, atomic_load(&t->in_flight) == live); /* I2 */
        HOLDS(s, r, atomic_load(&t->attempts) == h->calls);
        HOLDS(s, r, atomic_load(&t->failures) == h->failed);
        HOLDS(s, r, t->streaming <= live);
    }
}

static void check_queue(struct sim *s, struct request *r, bool tried)
{
    bool waits = r->f.waiter.waiting;

    if (waits && !r->waiting) {
        s->waiting[r->route]++;
        sim_saw(s, SEEN_QUEUED);
    } else if (!waits && r->waiting) {
        s->waiting[r->route]--;
        sim_saw(s, tried ? SEEN_QUEUE_SERVED : SEEN_QUEUE_FULL);
    }
    r->waiting = waits;
    HOLDS(s, r, s->set->queues[r->route].n == s->waiting[r->route]);
}

static void check_live(struct sim *s, struct request *r)
{
    const struct failover *f = &r->f;
    unsigned live = 0;

    for (unsigned i = 0; i < r->n_calls; i++) {
        if (!r->calls[i].live)
            continue;
        live++;
        HOLDS(s, r, f->live[0] == r->calls[i].try || f->live[1] == r->calls[i].try);
        HOLDS(s, r, r->owner < 0 || r->owner == (int)i || r->calls[i].carries);
    }
    HOLDS(s, r, r->owner < 0 || live <= 1);
    HOLDS(s, r, f->owner == (r->owner < 0 ? -1 : r->calls[r->owner].try));
    HOLDS(s, r, live == (unsigned)(f->live[0] >= 0) + (f->live[1] >= 0));
    HOLDS(s, r, f->live[0] >= 0 || f->live[1] < 0);
    HOLDS(s, r, f->committed == (r->owner >= 0) && f->opened == r->opened);
    HOLDS(s, r, f->ended == (r->ending != NOT_YET));
    HOLDS(s, r, f->ended || s->now <= f->deadline_ms + SIM_LATE_MS); /* I6 */
    HOLDS(s, r, s->now <= f->deadline_ms + SIM_GRACE_MS);
    HOLDS(s, r, !f->ended || live == 0);
}

/* When the core must look at a call at the latest. */
static uint64_t call_due(const struct request *r, const struct call *c)
{
    const struct failover_try *t = &r->f.tries[c->try];

    if (c->sent > 0 && !c->stopped)
        return c->said_ms + r->f.candidates[t->candidate].timers.idle;
    if (c->sent == 0)
        return c->started_ms + t->first_output;
    return SIM_NEVER;
}

static void check_timer(struct sim *s, struct request *r, const struct failover_event *ev)
{
    uint64_t due = failover_due(&r->f);

    HOLDS(s, r, due <= r->f.deadline_ms); /* I14 */
    for (unsigned i = 0; i < r->n_calls; i++) {
        const struct call *c = &r->calls[i];

        HOLDS(s, r, !c->live || due <= call_due(r, c));
        HOLDS(s, r,
              !c->live || !c->told || c->hold != HOLD_WINDOW || r->owner >= 0 ||
                  due <= c->window_ms);
    }
    HOLDS(s, r, r->f.live[0] >= 0 || r->f.waiter.waiting || r->f.wait_until_ms != 0);
    if (ev == NULL || ev->kind == FAILOVER_TICK)
        HOLDS(s, r, due > s->now); /* who drives does not spin */
}

/* Nobody is forgotten: who has not been called was passed over, or there was no call or no time
 * left, or the failure was one that nobody can mend. */
static void check_refusal(struct sim *s, struct request *r)
{
    const struct failover *f = &r->f;
    enum failure why = failover_outcome(f);

    HOLDS(s, r, f->verdict >= 0);
    if (f->n_attempts >= f->policy.max_attempts || s->now + LEAST_TRY_MS >= f->deadline_ms ||
        failure_row(why)->next != NEXT_YES)
        return;
    for (unsigned i = 0; i < f->n_candidates; i++)
        HOLDS(s, r, f->candidates[i].tries > 0 || f->candidates[i].skipped != FAILURE_NONE);
}

/* The error inside an answer tells what broke it, whoever was asked to mend that; or that the
 * request itself is at its end. */
static void check_break(struct sim *s, struct request *r)
{
    enum failure why = failover_outcome(&r->f);

    if (r->owner < 0) {
        check_refusal(s, r);
        return;
    }
    HOLDS(s, r, why != FAILURE_NONE);
    HOLDS(s, r, r->f.verdict == r->calls[r->owner].try || why == DEADLINE || why == STOPPING);
}

static void note_passed_over(struct sim *s, const struct request *r)
{
    for (unsigned i = 0; i < r->f.n_tries; i++) {
        if (!r->f.tries[i].skipped)
            continue;
        s->sights->outcomes[r->f.tries[i].outcome]++;
        if (r->f.tries[i].outcome == UNFIT)
            sim_saw(s, SEEN_UNFIT);
    }
}

void check_step(struct sim *s, struct request *r, const struct failover_event *ev,
                const struct failover_orders *o, const int live_before[2])
{
    unsigned tries = 0;

    if (r->f.hedge_wanted && !r->wanted)
        this_second(s)->wanted++;
    r->wanted = r->f.hedge_wanted;
    for (unsigned i = 0; i < o->n; i++) {
        if (o->v[i].kind != ORDER_TRY)
            continue;
        tries++;
        check_try(s, r, o->v[i].try, live_before);
    }
    HOLDS(s, r, tries <= 1);
    check_ends(s, r, ev, o, live_before);
    check_breakers(s, r, ev, live_before);
    check_books(s, r);
    check_queue(s, r, tries > 0);
    check_live(s, r);
    if (r->ending == NOT_YET)
        check_timer(s, r, ev);
    else
        note_passed_over(s, r);
    if (r->ending == REFUSED_ALL)
        check_refusal(s, r);
    else if (r->ending == BROKEN)
        check_break(s, r);
}

/* All has ended: the books of the core and of the providers tell the same. */
void check_end(struct sim *s)
{
    HOLDS(s, NULL, s->n_live == 0);
    check_books(s, NULL);
    for (unsigned i = 0; i < s->n_targets; i++) {
        const struct habits *h = &s->habits[i];
        unsigned long ended = 0;

        for (unsigned k = 0; k < FAILURE_KINDS; k++)
            ended += h->outcomes[k];
        HOLDS(s, NULL, ended == h->calls);
        HOLDS(s, NULL, s->set->targets[i].streaming == 0);
    }
    for (unsigned i = 0; i < s->n_routes; i++)
        HOLDS(s, NULL, s->set->queues[i].n == 0 && s->waiting[i] == 0);
}
