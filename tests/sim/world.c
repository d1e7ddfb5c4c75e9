#include "tests/sim/sim.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

#define MUCH 6 /* more of one kind of fault than of others */

#define FAULT_ROW(name, stage, scope, silent, ...)                                                 \
    [FAULT_##name] = {#name, stage, scope, silent, {__VA_ARGS__}},
const struct fault_row fault_rows[FAULT_KINDS] = {FAULTS(FAULT_ROW)};
#undef FAULT_ROW

/* ---- chance, order, trace ------------------------------------------------------------------- */

uint64_t sim_draw(struct sim *s, uint64_t low, uint64_t high)
{
    return rng_between(&s->rng, low, high);
}

bool sim_chance(struct sim *s, unsigned percent)
{
    return sim_draw(s, 1, 100) <= percent;
}

void sim_saw(struct sim *s, enum sight what)
{
    s->sights->n[what]++;
}

void sim_mix(struct sim *s, uint64_t v)
{
    s->hash = (s->hash ^ v) * 0x100000001b3u;
}

void sim_trace(struct sim *s, const struct request *r, const char *fmt, ...)
{
    va_list args;

    if (!s->trace)
        return;
    printf("%9.3f ", (double)(s->now - SIM_T0) / 1000);
    if (r != NULL)
        printf("r%-4u ", r->id);
    else
        printf("      ");
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
}

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

void sim_push(struct sim *s, struct event e)
{
    size_t i = s->n_events++;

    if (s->n_events > s->max_events) {
        s->max_events = s->max_events > 0 ? 2 * s->max_events : 256;
        s->heap = mem_grow(s->heap, s->max_events * sizeof(*s->heap));
    }
    e.order = s->orders++;
    for (; i > 0 && earlier(&e, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = e;
}

static struct event pop(struct sim *s)
{
    struct event first = s->heap[0], last = s->heap[--s->n_events];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < s->n_events) {
        child += child + 1 < s->n_events && earlier(&s->heap[child + 1], &s->heap[child]);
        if (earlier(&last, &s->heap[child]))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return first;
}

/* ---- a configuration ------------------------------------------------------------------------ */

PRINTF_LIKE(2, 3) static void say(struct sim *s, const char *fmt, ...)
{
    size_t n = strlen(s->text);
    va_list args;

    va_start(args, fmt);
    vsnprintf(s->text + n, sizeof(s->text) - n, fmt, args);
    va_end(args);
    assert(strlen(s->text) + 1 < sizeof(s->text));
}

static double draw_share(struct sim *s, unsigned low, unsigned high)
{
    return (double)sim_draw(s, low, high) / 100;
}

static void say_policies(struct sim *s)
{
    static const char *const stances[] = {"polite", "balanced", "aggressive"};
    bool usual = sim_chance(s, 50);

    s->breaker = (struct breaker_config){.consecutive = 5,
                                         .min_calls = 10,
                                         .failure_rate = 0.5,
                                         .window_ms = 10000,
                                         .open_base_ms = 5000,
                                         .open_cap_ms = 15000};
    s->budget_ratio = 0.2;
    s->budget_capacity = 10;
    s->hedge_ratio = 0.05;
    s->hedge_floor = 2;
    if (!usual) {
        s->breaker.consecutive = (unsigned)sim_draw(s, 1, 8);
        s->breaker.min_calls = (unsigned)sim_draw(s, 1, 20);
        s->breaker.failure_rate = draw_share(s, 1, 100);
        s->breaker.window_ms = sim_draw(s, 1000, 30000);
        s->breaker.open_base_ms = sim_draw(s, 100, 10000);
        s->breaker.open_cap_ms = sim_draw(s, s->breaker.open_base_ms, 30000);
        s->budget_ratio = draw_share(s, 0, 100);
        s->budget_capacity = (double)sim_draw(s, 0, 20);
        s->hedge_ratio = draw_share(s, 0, 30);
        s->hedge_floor = (unsigned)sim_draw(s, 0, 4);
    }
    say(s, "breaker: {consecutive: %u, min_calls: %u, failure_rate: %.2f, window: %llums, ",
        s->breaker.consecutive, s->breaker.min_calls, s->breaker.failure_rate,
        (unsigned long long)s->breaker.window_ms);
    say(s, "open_base: %llums, open_cap: %llums}\n", (unsigned long long)s->breaker.open_base_ms,
        (unsigned long long)s->breaker.open_cap_ms);
    say(s, "retry_budget: {ratio: %.2f, capacity: %.0f}\n", s->budget_ratio, s->budget_capacity);
    say(s, "hedge: {max_ratio: %.2f, floor: %u}\n", s->hedge_ratio, s->hedge_floor);
    say(s, "overload: {stance: %s}\n", stances[usual ? 1 : sim_draw(s, 0, 2)]);
}

/* Some share an endpoint; some are on this machine, and no network is between. */
static unsigned say_providers(struct sim *s)
{
    unsigned n = (unsigned)sim_draw(s, 2, SIM_PROVIDERS);

    say(s, "providers:\n");
    for (unsigned i = 0; i < n; i++) {
        unsigned host = i > 0 && sim_chance(s, 25) ? i - 1 : i, keys = 1;

        if (sim_chance(s, 40))
            keys = (unsigned)sim_draw(s, 2, SIM_KEYS);
        say(s, "  p%u: {type: openai, base_url: http://%s:%u/v1, keys: [k0%s%s]}\n", i,
            s->seed % 5 == 0 ? "127.0.0.1" : "10.0.0.1", 8000 + host, keys > 1 ? ", k1" : "",
            keys > 2 ? ", k2" : "");
    }
    return n;
}

/* Each target stands in the first tier of the route with its number, if there is one: it is home
 * for that route, and away for the others. */
static void say_routes(struct sim *s, unsigned providers)
{
    unsigned n_targets = (unsigned)sim_draw(s, 3, SIM_TARGETS);

    s->n_routes = (unsigned)sim_draw(s, 1, SIM_ROUTES);
    say(s, "routes:\n");
    for (unsigned r = 0; r < s->n_routes; r++) {
        unsigned n = r == 0 ? n_targets : (unsigned)sim_draw(s, 1, n_targets), tier = 0;

        s->routes[r].n = n;
        say(s, "  - {model: r%u, targets: [[", r);
        for (unsigned i = 0; i < n; i++) {
            unsigned t = (r + i) % n_targets;

            if (i > 0 && sim_chance(s, 60)) {
                say(s, "], [");
                tier++;
            } else if (i > 0) {
                say(s, ", ");
            }
            s->routes[r].tiers[i] = tier;
            say(s, "p%u/m%u", t % providers, t / providers);
        }
        say(s, "]]}\n");
    }
}

static uint64_t draw_total(struct sim *s)
{
    if (sim_chance(s, 5))
        return sim_draw(s, 5, 500);
    return sim_draw(s, 3000, sim_chance(s, 30) ? 300000 : 60000);
}

static uint64_t draw_hedge(struct sim *s)
{
    if (sim_chance(s, 50))
        return FAILOVER_HEDGE_AUTO;
    return sim_chance(s, 20) ? FAILOVER_HEDGE_OFF : sim_draw(s, 20, 5000);
}

static void make_routes(struct sim *s)
{
    for (unsigned r = 0; r < s->n_routes; r++) {
        const struct config_route *conf = &s->config->routes[r];
        bool usual = sim_chance(s, 50);

        s->routes[r].policy = (struct failover_policy){
            .max_attempts = usual ? 4 : (unsigned)sim_draw(s, 1, 8),
            .per_target = usual ? 2 : (unsigned)sim_draw(s, 1, 4),
            .total_ms = draw_total(s),
            .heartbeat_ms = sim_chance(s, 30) ? sim_draw(s, 100, 45000) : 0,
            .hedge_ms = draw_hedge(s),
            .queue_ms = usual ? 10000 : sim_draw(s, 0, 10000),
            .window_ms = sim_draw(s, 0, 1500),
            .set = s->set,
            .route = r,
        };
        if (sim_chance(s, 30))
            s->routes[r].commit = sim_chance(s, 50) ? COMMIT_WINDOW : COMMIT_FULL;
        s->routes[r].window = (unsigned)sim_draw(s, 1, 6);
        for (unsigned i = 0; i < conf->n_targets; i++) {
            assert(conf->targets[i].tier == s->routes[r].tiers[i]);
            s->routes[r].targets[i] =
                target_set_find(s->set, conf->targets[i].provider, conf->targets[i].model);
        }
    }
}

/* How it can be asked to carry an answer on, and what it makes of that. */
static void make_ways(struct sim *s, struct habits *h)
{
    const unsigned align = SEAM_BIT(SEAM_ALIGN), turn = align | SEAM_BIT(SEAM_TURN),
                   prefill = turn | SEAM_BIT(SEAM_PREFILL);
    const unsigned ways[] = {0, align, turn, turn, prefill, prefill},
                   strays[] = {0, 0, 15, 60, 100};

    h->ways = ways[sim_draw(s, 0, ARRAY_LEN(ways) - 1)];
    for (unsigned way = 0; way < SEAM_ALIGN; way++)
        if (sim_chance(s, 30))
            h->refuses |= SEAM_BIT(way);
    h->strays = strays[sim_draw(s, 0, ARRAY_LEN(strays) - 1)];
}

static void make_habits(struct sim *s)
{
    for (unsigned i = 0; i < s->n_targets; i++) {
        struct habits *h = &s->habits[i];

        h->rtt_ms = sim_draw(s, 0, 150);
        h->first_ms = sim_draw(s, 20, sim_chance(s, 80) ? 800 : 3000);
        h->gap_ms = sim_draw(s, 0, 150);
        h->tokens = (unsigned)sim_draw(s, 1, 8);
        h->window = sim_chance(s, 50) ? 0 : sim_draw(s, 1, 3) * 1000;
        h->timers = (struct failover_timers){
            .connect = 3 * h->rtt_ms + sim_draw(s, 200, 4000),
            .tls = 6 * h->rtt_ms + sim_draw(s, 300, 6000),
            .first_output = 12 * h->first_ms + 8 * h->rtt_ms + sim_draw(s, 500, 20000),
            .idle = 4 * h->gap_ms + sim_draw(s, 600, 15000),
        };
        make_ways(s, h);
    }
}

/* ---- users and faults ----------------------------------------------------------------------- */

/* Some come in crowds, some one by one. */
static void make_users(struct sim *s)
{
    unsigned n = (unsigned)sim_draw(s, 40, 160), crowd = 0;
    uint64_t at = SIM_T0, span = s->calm_ms - SIM_T0;

    for (s->n_users = 0; s->n_users < n; s->n_users++) {
        struct user *u = &s->users[s->n_users];

        if (crowd > 0) {
            crowd--;
            at += sim_draw(s, 0, 300);
        } else {
            at = SIM_T0 + sim_draw(s, 0, span);
            crowd = sim_chance(s, 40) ? (unsigned)sim_draw(s, 2, 40) : 0;
        }
        *u = (struct user){
            .route = (unsigned)sim_draw(s, 0, s->n_routes - 1),
            .kind = (enum pace_kind)sim_draw(s, 0, PACE_KINDS - 1),
            .patience_ms = sim_chance(s, 20) ? sim_draw(s, 500, 60000) : SIM_NEVER,
        };
        sim_push(s, (struct event){.at_ms = at, .kind = ARRIVAL, .request = s->n_users});
    }
}

/* Only some kinds in each world: faults that would hide each other behind them are seen alone. In
 * some worlds most of them are answers that break. */
static void make_faults(struct sim *s)
{
    enum fault kinds[MUCH * FAULT_KINDS];
    unsigned n = 0, percents[] = {100, 100, 60, 25, 6};
    bool breaking = sim_chance(s, 30);

    for (unsigned i = 0; i < FAULT_KINDS; i++) {
        bool often = breaking && fault_rows[i].stage == AT_TOKEN;

        if (often || sim_chance(s, 25))
            for (unsigned k = 0; k < (often ? MUCH : 1); k++)
                kinds[n++] = (enum fault)i;
    }
    if (n == 0)
        return;
    s->n_episodes = (unsigned)sim_draw(s, 0, SIM_EPISODES);
    for (unsigned i = 0; i < s->n_episodes; i++) {
        struct episode *e = &s->episodes[i];
        uint64_t longest = sim_chance(s, 50) ? 30000 : 180000;

        e->kind = kinds[sim_draw(s, 0, n - 1)];
        if (fault_rows[e->kind].scope == ON_REMOTE)
            longest = 30000;
        e->target = (unsigned)sim_draw(s, 0, s->n_targets - 1);
        e->provider = (unsigned)sim_draw(s, 0, s->set->n_providers - 1);
        e->key = (unsigned)sim_draw(s, 0, s->set->providers[e->provider].n_keys - 1);
        e->from_ms = sim_draw(s, SIM_T0, s->calm_ms);
        e->to_ms = e->from_ms + sim_draw(s, 500, longest);
        if (e->to_ms > s->calm_ms)
            e->to_ms = s->calm_ms;
        e->percent = percents[sim_draw(s, 0, ARRAY_LEN(percents) - 1)];
        if (e->kind == FAULT_NET_LOST || e->kind == FAULT_NET_HANGS)
            e->percent = 100;
        if (fault_rows[e->kind].stage == OF_CLIENT || e->kind == FAULT_CALLERS_FAULT ||
            e->kind == FAULT_NO_FILES)
            e->percent = (e->percent + 3) / 4;
        e->room = (unsigned)sim_draw(s, 0, 6);
        e->named = sim_chance(s, 50);
    }
}

bool sim_hits(const struct sim *s, const struct episode *e, const struct target *t, unsigned key)
{
    const struct provider *p = &s->set->providers[e->provider];

    switch (fault_rows[e->kind].scope) {
    case ON_ENDPOINT:
        return t->provider->endpoint == p->endpoint;
    case ON_REMOTE:
        return t->provider->endpoint->remote;
    case ON_TARGET:
        return t->index == e->target;
    case ON_KEY:
        return t->provider == p && key == e->key;
    case ON_ALL:
        return true;
    }
    return false;
}

uint64_t sim_net_back_ms(const struct sim *s, const struct target *t)
{
    for (unsigned i = 0; i < s->n_episodes; i++) {
        const struct episode *e = &s->episodes[i];

        if ((e->kind == FAULT_NET_LOST || e->kind == FAULT_NET_HANGS) && s->now >= e->from_ms &&
            s->now < e->to_ms && t->provider->endpoint->remote)
            return e->to_ms;
    }
    return 0;
}

const struct episode *sim_fault(struct sim *s, enum fault_stage stage, const struct target *t,
                                unsigned key)
{
    for (unsigned i = 0; i < s->n_episodes; i++) {
        const struct episode *e = &s->episodes[i];

        if (fault_rows[e->kind].stage != stage || s->now < e->from_ms || s->now >= e->to_ms)
            continue;
        if (e->kind == FAULT_FLAPPING && (s->now - e->from_ms) / 2000 % 2 == 1)
            continue;
        if ((t == NULL || sim_hits(s, e, t, key)) && sim_chance(s, e->percent)) {
            s->sights->faults[e->kind]++;
            return e;
        }
    }
    return NULL;
}

/* ---- the run -------------------------------------------------------------------------------- */

static void make_world(struct sim *s)
{
    struct err e = {0};

    /* Seeds that follow each other are states that follow each other: each gets one far away. */
    s->rng.state = rng_next(&(struct rng){s->seed});
    s->hash = 0xcbf29ce484222325u;
    s->now = SIM_T0;
    say_policies(s);
    say_routes(s, say_providers(s));
    if (config_parse("sim", s->text, strlen(s->text), &catalog_config_types, &s->config, &e) < 0)
        sim_fail(s, NULL, "%s\n%s", e.msg, s->text);
    s->set = target_set_new(s->config, sim_draw(s, 0, UINT32_MAX));
    s->n_targets = (unsigned)s->set->n_targets;
    arena_init(&s->arena);
    s->requests = mem_alloc(SIM_REQUESTS * sizeof(*s->requests));
    s->calm_ms = SIM_T0 + sim_draw(s, 60000, sim_chance(s, 50) ? 900000 : 180000);
    make_routes(s);
    make_habits(s);
    make_users(s);
    make_faults(s);
    if (s->trace)
        printf("%s", s->text);
    for (unsigned i = 0; i < s->n_episodes; i++)
        sim_trace(s, NULL, "%s from %.3f to %.3f: target %s, provider p%u, key %u, %u %%",
                  fault_rows[s->episodes[i].kind].name,
                  (double)(s->episodes[i].from_ms - SIM_T0) / 1000,
                  (double)(s->episodes[i].to_ms - SIM_T0) / 1000,
                  s->set->targets[s->episodes[i].target].name, s->episodes[i].provider,
                  s->episodes[i].key, s->episodes[i].percent);
    check_world(s);
}

static void happen(struct sim *s, struct request *r, const struct event *e)
{
    struct failover_event ev = {.retry_after_ms = e->retry_after_ms};

    switch (e->kind) {
    case TICK:
        request_tick(s, r, e);
        break;
    case LEAVE:
        ev.kind = FAILOVER_GONE;
        request_step(s, r, &ev);
        break;
    case STOP:
        ev.kind = FAILOVER_STOP;
        request_step(s, r, &ev);
        break;
    default:
        call_happen(s, r, e);
        break;
    }
}

/* Carries out what comes next, until nothing is left. What comes too late for its request is passed
 * over, and time does not go on for it. */
static void run(struct sim *s)
{
    while (s->n_events > 0) {
        struct event e = pop(s);
        struct request *r = e.kind == ARRIVAL ? NULL : &s->requests[e.request];

        if (r != NULL && r->ending != NOT_YET)
            continue;
        assert(e.at_ms >= s->now);
        s->now = e.at_ms;
        if (r == NULL)
            request_begin(s, e.request, e.call, -1);
        else
            happen(s, r, &e);
    }
    for (unsigned i = 0; i < s->n_requests; i++)
        HOLDS(s, &s->requests[i], s->requests[i].ending != NOT_YET);
}

/* The last of the rests that are still on. */
static uint64_t rested_ms(const struct sim *s)
{
    uint64_t last = s->now;

    for (unsigned i = 0; i < s->n_targets; i++) {
        const struct target *t = &s->set->targets[i];

        last = t->rest.until_ms > last ? t->rest.until_ms : last;
        for (size_t k = 0; k < t->provider->n_keys; k++) {
            last = t->rests[k].until_ms > last ? t->rests[k].until_ms : last;
            last = t->provider->rests[k].until_ms > last ? t->provider->rests[k].until_ms : last;
        }
    }
    return last;
}

static bool all_closed(const struct sim *s)
{
    for (unsigned i = 0; i < s->n_watched; i++)
        if (s->watched[i].breaker->state != BREAKER_CLOSED)
            return false;
    return true;
}

static bool reached_by_proxy(const struct sim *s)
{
    for (unsigned i = 0; i < s->set->n_endpoints; i++)
        if (s->set->endpoints[i].proxied)
            return true;
    return false;
}

/* The faults are over. Once nothing rests any more, one request after the other for each target
 * alone: within half a minute all must be well. */
static void heal(struct sim *s)
{
    uint64_t until;
    unsigned closed = 0;

    s->now = rested_ms(s);
    if (s->now < s->calm_ms)
        s->now = s->calm_ms;
    until = s->now + SIM_HEAL_MS;
    sim_trace(s, NULL, "light traffic to every target");
    for (unsigned i = 0; i < s->n_watched; i++)
        closed += s->watched[i].breaker->state != BREAKER_CLOSED;
    do { /* the first answers may tell of whom could not be connected in the faults' last minute */
        uint64_t next = s->now + 1000;

        for (unsigned i = 0; i < s->n_targets; i++)
            request_begin(s, 0, 0, (int)i);
        run(s);
        s->now = s->now > next ? s->now : next;
    } while (!all_closed(s) && s->now < until);
    if (reached_by_proxy(s) || s->set->path.state == BREAKER_CLOSED)
        HOLDS(s, NULL, all_closed(s));
    for (unsigned i = 0; i < closed; i++)
        sim_saw(s, SEEN_HEALED);
    for (unsigned i = 0; i < s->n_targets; i++) {
        request_begin(s, 0, 0, (int)i);
        run(s);
        HOLDS(s, &s->requests[s->n_requests - 1],
              s->requests[s->n_requests - 1].ending == FINISHED);
    }
}

void sim_run(struct sim *s)
{
    make_world(s);
    run(s);
    heal(s);
    check_end(s);
    s->sights->simulated_ms += s->now - SIM_T0;
}

void sim_release(struct sim *s)
{
    arena_release(&s->arena);
    target_set_free(s->set);
    config_free(s->config);
    free(s->requests);
    free(s->heap);
}
