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
    route_plan(w->config, r, w->set, req, &dialect_openai_chat, false, 0, &w->f);
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
    route_plan(w.config, &w.config->routes[0], w.set, &req, &dialect_openai_chat, true, 0, &w.f);
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

/* ---- tiers, shares, sessions ---------------------------------------------------------------- */

#define ABC    HEALTH PROVIDERS PROVIDER("a", "k") PROVIDER("b", "k") PROVIDER("c", "k")
#define SPREAD ABC ROUTE("[a/x, b/x, c/x]")

static const struct chat_request stream = {.stream = true};

/* The names of the candidates of a session, "a/x b/x c/x", of the first `n`. */
static const char *plan(struct world *w, uint64_t session, unsigned n)
{
    static char text[64];

    arena_release(&w->arena);
    arena_init(&w->arena);
    failover_init(&w->f, &w->policy, (unsigned)w->config->routes[0].n_targets, 1, &w->arena);
    route_plan(w->config, &w->config->routes[0], w->set, &stream, &dialect_openai_chat, false,
               session, &w->f);
    text[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        strcat(text, i > 0 ? " " : "");
        strcat(text, w->f.candidates[i].target->name);
    }
    return text;
}

/* The number of the session that is called so. */
static uint64_t session(unsigned i)
{
    char name[32];

    snprintf(name, sizeof(name), "session-%u", i);
    return span_hash(span_of(name));
}

TEST(a_list_in_the_list_of_targets_is_a_tier_and_the_next_tier_comes_after_it)
{
    struct world w = world_new(ABC ROUTE("c/x, [a/x, b/x], a/y"));

    for (unsigned i = 0; i < 100; i++) {
        const char *names = plan(&w, session(i), 4);

        CHECK(strcmp(names, "c/x a/x b/x a/y") == 0 || strcmp(names, "c/x b/x a/x a/y") == 0);
        CHECK(!w.f.candidates[0].away && w.f.candidates[1].away && w.f.candidates[3].away);
    }
    world_release(&w);
}

TEST(a_candidate_knows_its_place_in_the_route_and_its_window)
{
    struct world w = world_new(
        ABC ROUTE("[{target: a/x, context_window: 1000}, {target: b/x, context_window: 2000}]"));

    for (unsigned i = 0; i < 20; i++) {
        bool turned = strcmp(plan(&w, session(i), 2), "b/x a/x") == 0;

        CHECK_INT(w.f.candidates[0].place, turned ? 1 : 0);
        CHECK_INT(w.f.candidates[0].window, turned ? 2000 : 1000);
        CHECK_INT(w.f.candidates[1].place, turned ? 0 : 1);
    }
    world_release(&w);
}

TEST(over_many_sessions_each_target_of_a_tier_gets_the_share_of_its_weight)
{
    static const unsigned weights[] = {1, 2, 5};
    struct world w =
        world_new(ABC ROUTE("[a/x, {target: b/x, weight: 2}, {target: c/x, weight: 5}]"));
    unsigned first[3] = {0}, sessions = 8000;

    for (unsigned i = 0; i < sessions; i++)
        first[plan(&w, session(i), 1)[0] - 'a']++;
    for (unsigned i = 0; i < 3; i++) {
        double share = (double)first[i] / sessions, want = weights[i] / 8.0;

        CHECK(share > want - 0.02 && share < want + 0.02);
    }
    world_release(&w);
}

TEST(a_session_keeps_its_order_and_sessions_differ)
{
    struct world w = world_new(SPREAD), again = world_new(SPREAD);
    unsigned same = 0;

    for (unsigned i = 0; i < 300; i++) {
        char names[64];

        snprintf(names, sizeof(names), "%s", plan(&w, session(i), 3));
        CHECK_STR(plan(&again, session(i), 3), names);
        same += strcmp(plan(&w, session(i + 1), 3), names) == 0;
    }
    CHECK(same > 20 && same < 80); /* a sixth, as of dice */
    world_release(&w);
    world_release(&again);
}

TEST(a_target_that_is_removed_moves_only_its_own_sessions)
{
    static const struct {
        const char *config, *gone;
    } rows[] = {
        {ABC ROUTE("[b/x, c/x]"), "a/x"},
        {ABC ROUTE("[a/x, c/x]"), "b/x"},
        {ABC ROUTE("[a/x, b/x]"), "c/x"},
    };

    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        struct world w = world_new(SPREAD), fewer = world_new(rows[r].config);

        for (unsigned i = 0; i < 300; i++) {
            char second[64];
            bool moves = strcmp(plan(&w, session(i), 1), rows[r].gone) == 0;

            snprintf(second, sizeof(second), "%s", w.f.candidates[moves ? 1 : 0].target->name);
            CHECK_STR(plan(&fewer, session(i), 1), second);
        }
        world_release(&w);
        world_release(&fewer);
    }
}

TEST(a_request_that_only_one_provider_can_serve_goes_to_the_first_as_written)
{
    struct world w = world_new(SPREAD);
    struct chat_request req = {.stream = true, .pinned = true};

    for (unsigned i = 0; i < 20; i++) {
        failover_init(&w.f, &w.policy, 3, 1, &w.arena);
        route_plan(w.config, &w.config->routes[0], w.set, &req, &dialect_openai_chat, false,
                   session(i), &w.f);
        CHECK_INT(w.f.n_candidates, 1);
        CHECK_STR(w.f.candidates[0].target->name, "a/x");
    }
    world_release(&w);
}

TEST(a_session_is_known_by_its_name)
{
    CHECK(span_hash(SPAN("abc")) == span_hash(SPAN("abc")));
    CHECK(span_hash(SPAN("abc")) != span_hash(SPAN("acb")));
    CHECK(span_hash(SPAN("abc")) != span_hash(SPAN("ab")));
    CHECK(span_hash(SPAN("")) != span_hash(SPAN("a")));
}

/* ---- what a request is ---------------------------------------------------------------------- */

TEST(times_to_first_output_are_compared_among_requests_alike)
{
    CHECK_INT(route_kind(&(struct chat_request){.stream = true}), PACE_STREAM);
    CHECK_INT(route_kind(&(struct chat_request){.stream = false}), PACE_WHOLE);
    CHECK_INT(route_kind(&(struct chat_request){.stream = true, .reasoning = true}),
              PACE_STREAM_REASONING);
    CHECK_INT(route_kind(&(struct chat_request){.reasoning = true}), PACE_WHOLE_REASONING);
}

TEST(a_prompt_that_is_longer_than_a_declared_window_does_not_fit)
{
    static char body[4004];
    struct world w = world_new(ABC ROUTE("{target: a/x, context_window: 1000}, b/x"));
    struct chat_request req = {.body = {body, 4003}}; /* four bytes are a token */

    memset(body, 'x', sizeof(body));
    timers_of(&w, "any", &req);
    CHECK(!w.f.candidates[0].unfit);
    req.body.n = 4004;
    timers_of(&w, "any", &req);
    CHECK(w.f.candidates[0].unfit);
    CHECK(!w.f.candidates[1].unfit); /* nothing is declared */
    world_release(&w);
}

TEST(vectors_come_of_the_model_that_the_route_names_first)
{
    static const char yaml[] = HEALTH PROVIDERS
        "  a: {type: openai, base_url: http://a.localhost:1/v1, keys: [k]}\n"
        "  b: {type: azure, base_url: http://b.localhost:1, keys: [k]}\n"
        "  g: {type: gemini, base_url: http://c.localhost:1, keys: [k]}\n"
        "  c: {type: anthropic, base_url: http://d.localhost:1, keys: [k]}\n"
        "  s: {type: scripted, text: hi}\n" ROUTE("a/m, a/n, b/m, b, g/models/m, g/mm, c/m, s/m");
    const enum failure mine[] = {FAILURE_NONE, OTHER_MODEL, FAILURE_NONE, FAILURE_NONE,
                                 FAILURE_NONE, OTHER_MODEL, NO_ENDPOINT,  NO_ENDPOINT};
    const enum failure googles[] = {NO_ENDPOINT,  NO_ENDPOINT, NO_ENDPOINT, NO_ENDPOINT,
                                    FAILURE_NONE, OTHER_MODEL, NO_ENDPOINT, NO_ENDPOINT};
    struct world w = world_new(yaml);
    const struct chat_request req = {.model = SPAN("m"), .vectors = {.inputs = 1}};
    const struct chat_request other = {.model = SPAN("x"), .vectors = {.inputs = 1}};

    CHECK_INT(route_kind(&req), PACE_COUNT);
    for (unsigned i = 0; i < ARRAY_LEN(mine); i++) {
        failover_init(&w.f, &w.policy, ARRAY_LEN(mine), 1, &w.arena);
        route_plan(w.config, &w.config->routes[0], w.set, &req, &dialect_openai_embeddings, false,
                   0, &w.f);
        CHECK_INT(w.f.candidates[i].unfit, mine[i]);
        failover_init(&w.f, &w.policy, ARRAY_LEN(mine), 1, &w.arena);
        route_plan(w.config, &w.config->routes[0], w.set, &req, &dialect_gemini_embeddings, false,
                   0, &w.f);
        CHECK_INT(w.f.candidates[i].unfit, googles[i]);
    }
    failover_init(&w.f, &w.policy, ARRAY_LEN(mine), 1, &w.arena);
    route_plan(w.config, &w.config->routes[0], w.set, &other, &dialect_openai_embeddings, false, 0,
               &w.f);
    CHECK_INT(w.f.candidates[0].unfit, FAILURE_NONE);
    CHECK_INT(w.f.candidates[3].unfit, OTHER_MODEL); /* it keeps the client's name */
    world_release(&w);
}

TEST(how_a_target_can_be_asked_to_carry_an_answer_on)
{
    static const char yaml[] = HEALTH PROVIDERS
        "  auto: {type: openai, base_url: http://a.localhost:1/v1, keys: [k]}\n"
        "  prefill: {type: openai, base_url: http://b.localhost:1/v1, keys: [k], carry_on: "
        "prefill}\n"
        "  turn: {type: anthropic, base_url: http://c.localhost:1, keys: [k], carry_on: turn}\n"
        "  align: {type: anthropic, base_url: http://d.localhost:1, keys: [k], carry_on: align}\n"
        "  off: {type: anthropic, base_url: http://e.localhost:1, keys: [k], carry_on: off}\n"
        "  claude: {type: anthropic, base_url: http://f.localhost:1, keys: [k]}\n"
        "  fixed: {type: scripted, text: hi}\n" ROUTE(
            "auto/claude-3-opus, prefill/x, turn/claude-3-opus, align/claude-3-opus, "
            "off/claude-3-opus, claude/claude-3-opus, claude/claude-opus-5, claude, fixed/x");
    const unsigned align = SEAM_BIT(SEAM_ALIGN), turn = align | SEAM_BIT(SEAM_TURN),
                   prefill = turn | SEAM_BIT(SEAM_PREFILL);
    const unsigned want[] = {turn, prefill, turn, align, 0, prefill, turn, prefill, 0};
    struct world w = world_new(yaml);
    const struct chat_request req = {.stream = true, .model = SPAN("claude-3-haiku")};

    failover_init(&w.f, &w.policy, ARRAY_LEN(want), 1, &w.arena);
    route_plan(w.config, &w.config->routes[0], w.set, &req, &dialect_openai_chat, false, 0, &w.f);
    CHECK_INT(w.f.n_candidates, ARRAY_LEN(want));
    for (unsigned i = 0; i < ARRAY_LEN(want); i++)
        CHECK_INT(w.f.candidates[i].ways, want[i]);
    world_release(&w);
}

TEST_MAIN()
