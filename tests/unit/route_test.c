#include "proxy/route.h"

#include "tests/unit/world.h"

#define LIMITS                                                                                     \
    "timeouts: {connect: 1s, tls: 2s, first_token: 30s, first_token_reasoning: 120s,\n"            \
    "           answer: 200s, idle: 20s, idle_tools: 180s, total: 600s}\n"
#define FOUR_ROUTES                                                                                \
    "routes:\n"                                                                                    \
    "- {model: gpt-4o, targets: [a/x, b/y, a], timeouts: {total: 90s, connect: 3s}}\n"             \
    "- {model: \"gpt-*\", targets: [{target: b/y, first_token: 7s, idle: 5s}]}\n"                  \
    "- {model: \"*-mini\", targets: [a/x]}\n"                                                      \
    "- {model: slow, targets: [a/x], timeouts: {first_token: 300s}}\n"
#define ROUTES HEALTH PROVIDERS PROVIDER("a", "k0") PROVIDER("b", "k0") LIMITS FOUR_ROUTES

static struct failover_timers timers_of(struct world *w, const char *model,
                                        const struct chat_request *req)
{
    const struct config_route *r = route_find(w->config, span_of(model));

    failover_init(&w->f, &w->policy, (unsigned)r->n_targets, 1, &w->arena);
    route_plan(w->config, r, w->set, req, false, 0, &w->f);
    return w->f.candidates[0].timers;
}

TEST(the_first_pattern_that_matches_wins)
{
    static const struct {
        const char *model;
        int route;
    } rows[] = {
        {"gpt-4o", 0},  {"gpt-4o-mini", 1}, {"gpt-", 1}, {"claude-mini", 2}, {"-mini", 2},
        {"GPT-4o", -1}, {"claude", -1},     {"", -1},    {"xgpt-4o", -1},    {"mini", -1},
    };
    struct world w = world_new(ROUTES);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct config_route *r = route_find(w.config, span_of(rows[i].model));

        CHECK_INT(r == NULL ? -1 : (int)(r - w.config->routes), rows[i].route);
    }
    world_release(&w);
}

TEST(a_route_is_named_by_its_pattern_letter_by_letter)
{
    struct world w = world_new(ROUTES);

    CHECK(route_named(w.config, SPAN("gpt-*")) == &w.config->routes[1]);
    CHECK(route_named(w.config, SPAN("gpt-4o")) == &w.config->routes[0]);
    CHECK(route_named(w.config, SPAN("gpt-4o-mini")) == NULL);
    CHECK(route_named(w.config, SPAN("")) == NULL);
    world_release(&w);
}

TEST(the_routes_own_total_comes_before_the_general_one)
{
    struct world w = world_new(ROUTES);

    CHECK_INT(route_total_ms(w.config, &w.config->routes[0]), 90000);
    CHECK_INT(route_total_ms(w.config, &w.config->routes[1]), 600000);
    world_release(&w);
}

TEST(candidates_stand_in_the_order_of_the_route)
{
    struct world w = world_new(ROUTES);
    const struct chat_request req = {.stream = true};

    timers_of(&w, "gpt-4o", &req);
    CHECK_INT(w.f.n_candidates, 3);
    CHECK_STR(w.f.candidates[0].target->name, "a/x");
    CHECK_STR(w.f.candidates[1].target->name, "b/y");
    CHECK_STR(w.f.candidates[2].target->name, "a");
    world_release(&w);
}

TEST(without_failover_there_is_one_candidate)
{
    struct world w = world_new(ROUTES);
    const struct chat_request req = {.stream = true};

    failover_init(&w.f, &w.policy, 3, 1, &w.arena);
    route_plan(w.config, &w.config->routes[0], w.set, &req, true, 0, &w.f);
    CHECK_INT(w.f.n_candidates, 1);
    CHECK_STR(w.f.candidates[0].target->name, "a/x");
    world_release(&w);
}

TEST(the_limits_of_an_attempt_follow_from_target_route_and_request)
{
    static const struct {
        const char *model;
        struct chat_request req;
        struct failover_timers want; /* connect, tls, first output, idle */
    } rows[] = {
        {"gpt-4o", {.stream = true}, {3000, 2000, 30000, 20000}},
        {"gpt-4o", {.stream = false}, {3000, 2000, 200000, 20000}},
        {"gpt-4o", {.stream = true, .tools = true}, {3000, 2000, 30000, 180000}},
        {"gpt-4o", {.stream = true, .reasoning = true}, {3000, 2000, 120000, 180000}},
        {"gpt-4o", {.stream = false, .reasoning = true}, {3000, 2000, 200000, 180000}},
        {"gpt-x", {.stream = true}, {1000, 2000, 7000, 5000}},
        {"gpt-x", {.stream = true, .reasoning = true}, {1000, 2000, 120000, 180000}},
        {"slow", {.stream = true, .reasoning = true}, {1000, 2000, 300000, 180000}},
    };
    struct world w = world_new(ROUTES);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct failover_timers got = timers_of(&w, rows[i].model, &rows[i].req);

        CHECK_INT(got.connect, rows[i].want.connect);
        CHECK_INT(got.tls, rows[i].want.tls);
        CHECK_INT(got.first_output, rows[i].want.first_output);
        CHECK_INT(got.idle, rows[i].want.idle);
    }
    world_release(&w);
}

TEST_MAIN()
