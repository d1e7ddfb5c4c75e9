/* world.h - what the tests of the decision core stand on: targets from a configuration, one
 * exchange over all of them, and a clock that is a number.
 *
 *     struct world w = world_new(TWO);
 *
 *     begin(&w);
 *     CHECK_ORDERS(&w, "try");
 *     fail_with(&w, RESET);
 *     CHECK_ORDERS(&w, "try");
 *     world_release(&w);
 */
#ifndef HOLDFAST_TESTS_WORLD_H
#define HOLDFAST_TESTS_WORLD_H

#include "providers/catalog.h"
#include "proxy/failover.h"
#include "proxy/base/log.h"
#include "tests/unit/check.h"

/* Parts of a configuration. The breaker opens at the third failure in a row, never for a rate. Each
 * provider is an endpoint of its own, on this machine: failures to connect are always its own. */
#define HEALTH    "breaker: {consecutive: 3, min_calls: 1000, open_base: 4s, open_cap: 16s}\n"
#define PROVIDERS "providers:\n"
#define PROVIDER(name, keys)                                                                       \
    "  " name ": {type: openai, base_url: http://" name ".localhost:1/v1, keys: [" keys "]}\n"
#define ROUTE(targets) "routes: [{model: \"*\", targets: [" targets "]}]\n"

#define ONE           HEALTH PROVIDERS PROVIDER("a", "k0") ROUTE("a/x")
#define ONE_WITH_KEYS HEALTH PROVIDERS PROVIDER("a", "k0, k1, k2") ROUTE("a/x")
#define TWO           HEALTH PROVIDERS PROVIDER("a", "k0, k1") PROVIDER("b", "k0") ROUTE("a/x, b/x")
#define THREE                                                                                      \
    HEALTH PROVIDERS PROVIDER("a", "k0") PROVIDER("b", "k0") PROVIDER("c", "k0")                   \
        ROUTE("a/x, b/x, c/x")

#define T0 1000000 /* when the first exchange of a test begins */

struct world {
    struct config *config;
    struct target_set *set;
    struct arena arena;
    struct failover_policy policy;
    struct failover_timers timers;
    uint64_t windows[4];  /* declared by the targets of an exchange, 0: none is */
    unsigned ways[4];     /* in which the targets can be asked to carry an answer on */
    unsigned unfit, away; /* masks of those that cannot serve it, and not of the first tier */
    bool turned;          /* their places in the route are the other way round */
    struct failover f;
    struct failover_orders orders; /* of the last act */
    uint64_t now;
    uint64_t seed; /* of the next exchange */
};

static inline struct world world_new(const char *yaml)
{
    struct world w = {
        .policy = {.max_attempts = 4,
                   .per_target = 2,
                   .total_ms = 600000,
                   .hedge_ms = FAILOVER_HEDGE_OFF,
                   .queue_ms = 10000,
                   .kind = PACE_STREAM},
        .timers = {.connect = 4000, .tls = 6000, .first_output = 30000, .idle = 20000},
        .now = T0,
        .seed = 11,
    };
    struct err e = {0};

    if (config_parse("world", yaml, strlen(yaml), &catalog_config_types, &w.config, &e) < 0)
        fail_msg("%s", e.msg);
    w.set = w.policy.set = target_set_new(w.config, 7);
    arena_init(&w.arena);
    return w;
}

static inline void world_release(struct world *w)
{
    arena_release(&w->arena);
    target_set_free(w->set);
    config_free(w->config);
}

/* A new exchange over every target, in order, that has not begun yet. */
static inline void prepare(struct world *w)
{
    failover_init(&w->f, &w->policy, (unsigned)w->set->n_targets, w->seed, &w->arena);
    for (unsigned i = 0; i < w->set->n_targets; i++) {
        struct failover_candidate c = {
            .target = &w->set->targets[i],
            .timers = w->timers,
            .place = w->turned ? (unsigned)w->set->n_targets - 1 - i : i,
            .window = i < ARRAY_LEN(w->windows) ? w->windows[i] : 0,
            .ways = i < ARRAY_LEN(w->ways) ? w->ways[i] : 0,
            .away = (w->away & 1u << i) != 0,
            .unfit = (w->unfit & 1u << i) != 0 ? UNFIT : FAILURE_NONE,
        };

        failover_add(&w->f, &c);
    }
}

static inline void begin(struct world *w)
{
    prepare(w);
    failover_begin(&w->f, w->now, &w->orders);
}

static inline void step(struct world *w, struct failover_event ev)
{
    failover_step(&w->f, &ev, w->now, &w->orders);
}

/* What follows is about the first live try, or the one beside it. */
enum leg { FIRST, BESIDE };

static inline void act_on(struct world *w, enum leg leg, enum failover_event_kind kind)
{
    step(w, (struct failover_event){
                .kind = kind, .try = w->f.live[leg], .retry_after_ms = RETRY_AFTER_NONE});
}

static inline void act(struct world *w, enum failover_event_kind kind)
{
    act_on(w, FIRST, kind);
}

static inline void fail_on(struct world *w, enum leg leg, enum failure why)
{
    step(w, (struct failover_event){.kind = FAILOVER_FAILED,
                                    .try = w->f.live[leg],
                                    .failure = why,
                                    .retry_after_ms = RETRY_AFTER_NONE});
}

static inline void fail_after(struct world *w, enum failure why, unsigned status,
                              uint64_t retry_after_ms)
{
    step(w, (struct failover_event){.kind = FAILOVER_FAILED,
                                    .try = w->f.live[FIRST],
                                    .failure = why,
                                    .status = status,
                                    .retry_after_ms = retry_after_ms});
}

static inline void fail_with(struct world *w, enum failure why)
{
    fail_after(w, why, 0, RETRY_AFTER_NONE);
}

static inline void complete(struct world *w)
{
    step(w, (struct failover_event){.kind = FAILOVER_COMPLETE,
                                    .try = w->f.live[FIRST],
                                    .status = 200,
                                    .retry_after_ms = RETRY_AFTER_NONE});
}

static inline void tick_at(struct world *w, uint64_t now, bool tcp_up)
{
    w->now = now;
    step(w, (struct failover_event){.kind = FAILOVER_TICK,
                                    .retry_after_ms = RETRY_AFTER_NONE,
                                    .tcp_up = {tcp_up, tcp_up}});
}

/* The name of the target that is asked on a leg now; "" when none is. */
static inline const char *asked_on(const struct world *w, enum leg leg)
{
    const struct failover *f = &w->f;

    return f->live[leg] < 0 ? "" : f->candidates[f->tries[f->live[leg]].candidate].target->name;
}

static inline const char *asked(const struct world *w)
{
    return asked_on(w, FIRST);
}

static inline const struct failover_try *last_try(const struct world *w)
{
    return &w->f.tries[w->f.n_tries - 1];
}

static inline const char *orders_text(const struct failover_orders *o)
{
    static const char *const names[] = {"try",   "drop",   "commit",   "finish",
                                        "break", "refuse", "heartbeat"};
    static char text[80];

    text[0] = '\0';
    for (unsigned i = 0; i < o->n; i++) {
        if (i > 0)
            strcat(text, " ");
        strcat(text, names[o->v[i].kind]);
    }
    return text;
}

#define CHECK_ORDERS(w, want) CHECK_STR(orders_text(&(w)->orders), want)

/* Thousands of breakers open here, and each would say so. */
__attribute__((constructor)) static void keep_the_log_quiet(void)
{
    log_set_level(LOG_ERROR);
}

#endif
