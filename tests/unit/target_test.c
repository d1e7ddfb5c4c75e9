#include "proxy/target.h"

#include "tests/unit/world.h"

/* Two models of one provider with two keys, one of another without a key. */
#define KEYLESS "  b: {type: openai, base_url: http://b.localhost:1/v1}\n"
#define TWO_ROUTES                                                                                 \
    "routes:\n"                                                                                    \
    "- {model: one, targets: [b, a/x]}\n"                                                          \
    "- {model: two, targets: [a/x, a/y, b, b/x]}\n"
#define HOUSE HEALTH PROVIDERS PROVIDER("a", "k0, k1") KEYLESS TWO_ROUTES

static uint64_t wait_ms; /* what the last refusal said */

static const struct target_wish plain, last_resort = {.last_resort = true};

static enum failure ask_for(struct world *w, struct target *t, const struct target_wish *wish,
                            struct ticket *k)
{
    return target_ask(t, wish, w->now, k, &wait_ms);
}

static enum failure ask(struct world *w, struct target *t, struct ticket *k)
{
    return ask_for(w, t, &plain, k);
}

static void end(struct world *w, struct target *t, const struct ticket *k, enum failure f)
{
    target_end(t, k, f, 0, RETRY_AFTER_NONE, w->now);
}

/* One attempt with the first key that may go, ended at once. Returns that key. */
static unsigned attempt(struct world *w, struct target *t, enum failure f, uint64_t retry_after_ms)
{
    struct ticket k;

    CHECK_INT(ask(w, t, &k), FAILURE_NONE);
    target_end(t, &k, f, 0, retry_after_ms, w->now);
    return k.key;
}

/* Takes all keys but the first of a provider out of the game. */
static void only_first_key(struct target *t)
{
    for (size_t i = 1; i < t->provider->n_keys; i++)
        t->provider->rests[i] = (struct rest){.until_ms = UINT64_MAX, .firm_ms = UINT64_MAX};
}

/* A ms before `after_ms` have passed it is refused, for what it rests for, and then not. */
static void check_rests_for(struct world *w, struct target *t, enum failure why, uint64_t after_ms)
{
    struct ticket k;
    uint64_t since = w->now;

    CHECK_INT(ask(w, t, &k), why);
    CHECK_INT(wait_ms, after_ms);
    w->now = since + after_ms - 1;
    CHECK_INT(ask(w, t, &k), why);
    CHECK_INT(wait_ms, 1);
    w->now++;
    CHECK_INT(ask(w, t, &k), FAILURE_NONE);
    end(w, t, &k, CLIENT_GONE);
}

static struct target *find(struct world *w, size_t provider, const char *model)
{
    struct target *t = target_set_find(w->set, provider, model);

    CHECK(t != NULL);
    return t;
}

/* ---- the set -------------------------------------------------------------------------------- */

TEST(each_target_stands_once_in_the_order_of_first_mention)
{
    static const char *const names[] = {"b", "a/x", "a/y", "b/x"};
    struct world w = world_new(HOUSE);

    CHECK_INT(w.set->n_targets, ARRAY_LEN(names));
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        CHECK_STR(w.set->targets[i].name, names[i]);
        CHECK_INT(w.set->targets[i].index, i);
    }
    CHECK(find(&w, 0, "x") == &w.set->targets[1]);
    CHECK(find(&w, 1, NULL) == &w.set->targets[0]);
    CHECK(find(&w, 1, "x") == &w.set->targets[3]);
    CHECK(target_set_find(w.set, 0, NULL) == NULL);
    CHECK(target_set_find(w.set, 0, "z") == NULL);
    world_release(&w);
}

TEST(a_provider_without_keys_has_one_empty_key)
{
    struct world w = world_new(HOUSE);
    struct ticket k;

    CHECK_INT(w.set->providers[1].n_keys, 1);
    CHECK_SPAN(w.set->providers[1].keys[0], "");
    CHECK_INT(ask(&w, find(&w, 1, NULL), &k), FAILURE_NONE);
    CHECK_INT(k.key, 0);
    end(&w, find(&w, 1, NULL), &k, FAILURE_NONE);
    world_release(&w);
}

/* ---- keys ----------------------------------------------------------------------------------- */

TEST(the_first_key_that_was_not_used_is_given)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket k;

    CHECK_INT(ask(&w, t, &k), FAILURE_NONE);
    CHECK_INT(k.key, 0);
    end(&w, t, &k, FAILURE_NONE);
    CHECK_INT(ask_for(&w, t, &(struct target_wish){.keys_used = 1}, &k), FAILURE_NONE);
    CHECK_INT(k.key, 1);
    end(&w, t, &k, FAILURE_NONE);
    CHECK_INT(ask_for(&w, t, &(struct target_wish){.keys_used = 3}, &k), SKIPPED_REST);
    CHECK(wait_ms == UINT64_MAX); /* no wait would help */
    CHECK_INT(atomic_load(&t->in_flight), 0);
    world_release(&w);
}

TEST(a_refused_key_rests_half_a_minute_for_every_model_of_the_provider)
{
    struct world w = world_new(HOUSE);
    struct target *x = find(&w, 0, "x"), *y = find(&w, 0, "y");

    CHECK_INT(attempt(&w, x, AUTH, RETRY_AFTER_NONE), 0);
    CHECK_INT(attempt(&w, x, CLIENT_GONE, RETRY_AFTER_NONE), 1);
    CHECK_INT(attempt(&w, y, CLIENT_GONE, RETRY_AFTER_NONE), 1);
    only_first_key(y);
    check_rests_for(&w, y, AUTH, 30000);
    world_release(&w);
}

TEST(an_empty_account_rests_ten_minutes_or_as_long_as_it_says)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    only_first_key(t);
    attempt(&w, t, QUOTA, RETRY_AFTER_NONE);
    check_rests_for(&w, t, QUOTA, 600000);
    attempt(&w, t, QUOTA, 90000);
    check_rests_for(&w, t, QUOTA, 90000);
    world_release(&w);
}

TEST(a_key_that_may_not_use_a_model_rests_for_that_model_only)
{
    struct world w = world_new(HOUSE);
    struct target *x = find(&w, 0, "x"), *y = find(&w, 0, "y");

    CHECK_INT(attempt(&w, x, FORBIDDEN, RETRY_AFTER_NONE), 0);
    CHECK_INT(attempt(&w, y, CLIENT_GONE, RETRY_AFTER_NONE), 0);
    CHECK_INT(attempt(&w, x, CLIENT_GONE, RETRY_AFTER_NONE), 1);
    only_first_key(x);
    check_rests_for(&w, x, FORBIDDEN, 600000);
    world_release(&w);
}

TEST(a_rate_limit_rests_one_key_for_one_model_until_its_retry_after)
{
    struct world w = world_new(HOUSE);
    struct target *x = find(&w, 0, "x"), *y = find(&w, 0, "y");

    CHECK_INT(attempt(&w, x, RATE_LIMITED, 7000), 0);
    CHECK_INT(attempt(&w, y, CLIENT_GONE, RETRY_AFTER_NONE), 0);
    CHECK_INT(attempt(&w, x, CLIENT_GONE, RETRY_AFTER_NONE), 1);
    only_first_key(x);
    check_rests_for(&w, x, SKIPPED_REST, 7000);
    world_release(&w);
}

TEST(rate_limits_without_a_time_rest_twice_as_long_each_time_up_to_half_a_minute)
{
    static const uint64_t rests[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000};
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    only_first_key(t);
    for (size_t i = 0; i < ARRAY_LEN(rests); i++) {
        attempt(&w, t, RATE_LIMITED, RETRY_AFTER_NONE);
        check_rests_for(&w, t, SKIPPED_REST, rests[i]);
    }
    attempt(&w, t, FAILURE_NONE, RETRY_AFTER_NONE);
    attempt(&w, t, RATE_LIMITED, RETRY_AFTER_NONE);
    check_rests_for(&w, t, SKIPPED_REST, 1000); /* a success starts it anew */
    world_release(&w);
}

TEST(a_rate_limit_during_a_rest_does_not_make_it_longer)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 1, NULL);
    struct ticket k;

    attempt(&w, t, RATE_LIMITED, RETRY_AFTER_NONE);
    CHECK_INT(ask_for(&w, t, &last_resort, &k), FAILURE_NONE);
    end(&w, t, &k, RATE_LIMITED);
    check_rests_for(&w, t, SKIPPED_REST, 1000);
    world_release(&w);
}

TEST(a_later_shorter_rest_does_not_cut_a_longer_one)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket a, b;

    only_first_key(t);
    CHECK_INT(ask(&w, t, &a), FAILURE_NONE);
    CHECK_INT(ask(&w, t, &b), FAILURE_NONE);
    target_end(t, &a, RATE_LIMITED, 429, 9000, w.now);
    target_end(t, &b, RATE_LIMITED, 429, 2000, w.now);
    check_rests_for(&w, t, SKIPPED_REST, 9000);
    world_release(&w);
}

TEST(of_several_resting_keys_the_shortest_wait_is_told)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket k;

    attempt(&w, t, RATE_LIMITED, 3000);
    attempt(&w, t, RATE_LIMITED, 8000);
    CHECK_INT(ask(&w, t, &k), SKIPPED_REST);
    CHECK_INT(wait_ms, 3000);
    CHECK_INT(ask_for(&w, t, &(struct target_wish){.keys_used = 1}, &k), SKIPPED_REST);
    CHECK_INT(wait_ms, 8000); /* the other one was used already */
    world_release(&w);
}

TEST(where_the_key_and_the_model_rest_the_longer_rest_counts)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket a, b;

    only_first_key(t);
    CHECK_INT(ask(&w, t, &a), FAILURE_NONE);
    CHECK_INT(ask(&w, t, &b), FAILURE_NONE);
    end(&w, t, &a, AUTH);
    target_end(t, &b, RATE_LIMITED, 429, 50000, w.now);
    check_rests_for(&w, t, SKIPPED_REST, 50000);
    world_release(&w);
}

TEST(an_overloaded_provider_that_names_a_time_rests_and_one_that_does_not_goes_on)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 1, NULL);

    attempt(&w, t, OVERLOADED, RETRY_AFTER_NONE);
    attempt(&w, t, OVERLOADED, 4000);
    CHECK_INT(ask_for(&w, t, &last_resort, &(struct ticket){0}), SKIPPED_REST);
    check_rests_for(&w, t, SKIPPED_REST, 4000);
    world_release(&w);
}

TEST(the_last_resort_goes_against_our_own_rests_and_never_against_a_stated_time)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 1, NULL);
    struct ticket k;

    attempt(&w, t, AUTH, RETRY_AFTER_NONE);
    CHECK_INT(ask(&w, t, &k), AUTH);
    CHECK_INT(ask_for(&w, t, &last_resort, &k), FAILURE_NONE);
    target_end(t, &k, RATE_LIMITED, 429, 4000, w.now);
    CHECK_INT(target_ask(t, &last_resort, w.now + 3999, &k, &wait_ms), SKIPPED_REST);
    CHECK_INT(wait_ms, 1);
    CHECK_INT(target_ask(t, &last_resort, w.now + 4000, &k, &wait_ms), FAILURE_NONE);
    end(&w, t, &k, FAILURE_NONE);
    world_release(&w);
}

/* ---- the breakers --------------------------------------------------------------------------- */

/* Three failures in a row are enough, see HEALTH. */
static void fail_thrice(struct world *w, struct target *t, enum failure f)
{
    for (unsigned i = 0; i < 3; i++)
        attempt(w, t, f, RETRY_AFTER_NONE);
}

TEST(an_open_breaker_refuses_its_target_only_and_says_how_long)
{
    struct world w = world_new(HOUSE);
    struct target *x = find(&w, 0, "x");
    struct ticket k;

    fail_thrice(&w, x, MALFORMED);
    CHECK_INT(ask(&w, x, &k), SKIPPED_OPEN);
    CHECK_INT(wait_ms, x->breaker.retry_at - w.now);
    CHECK(wait_ms >= 2000 && wait_ms <= 4000);
    CHECK_INT(atomic_load(&x->in_flight), 0);
    attempt(&w, find(&w, 0, "y"), FAILURE_NONE, RETRY_AFTER_NONE);
    world_release(&w);
}

TEST(a_target_whose_keys_rest_does_not_spend_its_probe)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 1, NULL);
    struct ticket k;

    fail_thrice(&w, t, MALFORMED);
    t->rests[0].until_ms = w.now + 60000;
    w.now += 30000;
    CHECK_INT(ask(&w, t, &k), SKIPPED_REST);
    CHECK_INT(t->breaker.state, BREAKER_OPEN);
    world_release(&w);
}

TEST(a_probe_that_ends_without_a_verdict_comes_back)
{
    static const enum failure kinds[] = {CLIENT_GONE, BAD_REQUEST, RATE_LIMITED, AUTH, DEADLINE};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 0, "x");
        struct ticket k, other;

        fail_thrice(&w, t, MALFORMED);
        w.now += 4000;
        CHECK_INT(ask(&w, t, &k), FAILURE_NONE);
        CHECK(k.probe);
        CHECK_INT(ask(&w, t, &other), SKIPPED_OPEN);
        end(&w, t, &k, kinds[i]);
        CHECK_INT(ask(&w, t, &k), FAILURE_NONE); /* with the other key where the first rests */
        CHECK(k.probe);
        end(&w, t, &k, FAILURE_NONE);
        CHECK_INT(t->breaker.won, 1);
        world_release(&w);
    }
}

TEST(a_probe_of_any_scope_is_known_and_its_first_output_wins_it)
{
    static const enum failure kinds[] = {MALFORMED, RESET, EGRESS_PROXY};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 0, "x");
        struct endpoint *e = t->provider->endpoint;
        struct ticket k;

        CHECK_INT(ask(&w, t, &k), FAILURE_NONE);
        CHECK(!k.probe);
        end(&w, t, &k, CLIENT_GONE);
        fail_thrice(&w, t, kinds[i]);
        w.now += 4000;
        CHECK_INT(ask(&w, t, &k), FAILURE_NONE);
        CHECK(k.probe);
        target_output(t, &k, w.now);
        CHECK_INT(t->breaker.won + e->breaker.won + w.set->path.won, 1);
        end(&w, t, &k, CLIENT_GONE);
        CHECK_INT(t->breaker.probes + e->breaker.probes + w.set->path.probes, 0);
        world_release(&w);
    }
}

TEST(a_probe_comes_back_when_the_failure_is_in_another_scope)
{
    static const enum failure kinds[] = {MALFORMED, RESET, EGRESS_PROXY};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 0, "x");

        fail_thrice(&w, t, kinds[i]);
        w.now += 4000;
        attempt(&w, t, kinds[(i + 1) % ARRAY_LEN(kinds)], RETRY_AFTER_NONE);
        CHECK_INT(t->breaker.probes + t->provider->endpoint->breaker.probes + w.set->path.probes,
                  0);
        world_release(&w);
    }
}

TEST(a_ticket_whose_output_closed_the_breaker_still_counts_at_its_end)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket k;

    fail_thrice(&w, t, MALFORMED);
    w.now += 4000;
    attempt(&w, t, FAILURE_NONE, RETRY_AFTER_NONE);
    attempt(&w, t, FAILURE_NONE, RETRY_AFTER_NONE);
    CHECK_INT(ask(&w, t, &k), FAILURE_NONE);
    target_output(t, &k, w.now);
    CHECK_INT(t->breaker.state, BREAKER_CLOSED);
    end(&w, t, &k, IDLE);
    CHECK_INT(t->breaker.failures, 1);
    world_release(&w);
}

TEST(a_breaker_that_refuses_keeps_no_place_of_the_concurrency_limit)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket k;

    fail_thrice(&w, t, MALFORMED);
    CHECK_INT(ask(&w, t, &k), SKIPPED_OPEN);
    CHECK_INT(t->limiters[0].in_flight, 0);
    CHECK_INT(ask_for(&w, t, &(struct target_wish){.away = true}, &k), SKIPPED_OPEN);
    CHECK_INT(t->limiters[0].away, 0);
    world_release(&w);
}

/* ---- the scopes, each by itself ------------------------------------------------------------- */

/* Two providers of one endpoint with two models and one, and one of another endpoint. */
#define SHARED(at)                                                                                 \
    "  " at ": {type: openai, base_url: http://shared.localhost:9/" at "/v1, keys: [k]}\n"
#define STREET                                                                                     \
    HEALTH PROVIDERS SHARED("a") SHARED("b") PROVIDER("c", "k") ROUTE("a/x, a/y, b/x, c/x")

struct street {
    struct world w;
    struct target *ax, *ay, *bx, *cx;
};

static struct street street_new(const char *yaml)
{
    struct street s = {.w = world_new(yaml)};

    s.ax = find(&s.w, 0, "x");
    s.ay = find(&s.w, 0, "y");
    s.bx = find(&s.w, 1, "x");
    s.cx = find(&s.w, 2, "x");
    return s;
}

/* May it be asked? It then comes back without a verdict. */
static enum failure may(struct world *w, struct target *t)
{
    struct ticket k;
    enum failure f = ask(w, t, &k);

    if (f == FAILURE_NONE)
        end(w, t, &k, CLIENT_GONE);
    return f;
}

static void check_may(struct street *s, enum failure ax, enum failure ay, enum failure bx,
                      enum failure cx)
{
    CHECK_INT(may(&s->w, s->ax), ax);
    CHECK_INT(may(&s->w, s->ay), ay);
    CHECK_INT(may(&s->w, s->bx), bx);
    CHECK_INT(may(&s->w, s->cx), cx);
}

TEST(host_and_port_make_an_endpoint_and_paths_do_not)
{
    struct street s = street_new(STREET);

    CHECK(s.ax->provider->endpoint == s.bx->provider->endpoint);
    CHECK(s.ax->provider->endpoint != s.cx->provider->endpoint);
    CHECK_STR(s.ax->provider->endpoint->origin, "http://shared.localhost:9");
    CHECK_INT(s.w.set->n_endpoints, 2);
    world_release(&s.w);
}

TEST(the_scheme_and_its_own_port_belong_to_an_endpoint)
{
    struct world w = world_new(
        HEALTH PROVIDERS
        "  a: {type: openai, base_url: https://a.localhost/v1, keys: [k]}\n"
        "  b: {type: openai, base_url: http://a.localhost:443, keys: [k]}\n" ROUTE("a/x, b/x"));

    CHECK_STR(w.set->targets[0].provider->endpoint->origin, "https://a.localhost:443");
    CHECK_STR(w.set->targets[1].provider->endpoint->origin, "http://a.localhost:443");
    world_release(&w);
}

TEST(a_failure_of_the_endpoint_closes_it_for_every_provider_and_model_there)
{
    static const enum failure kinds[] = {DNS,      REFUSED,   CONNECT_TIMEOUT, TLS_FAILED,  RESET,
                                         PROTOCOL, HTML_PAGE, BAD_GATEWAY,     BAD_ENCODING};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct street s = street_new(STREET);

        attempt(&s.w, s.ax, kinds[i], RETRY_AFTER_NONE);
        attempt(&s.w, s.ay, kinds[i], RETRY_AFTER_NONE);
        attempt(&s.w, s.bx, kinds[i], RETRY_AFTER_NONE);
        check_may(&s, SKIPPED_OPEN, SKIPPED_OPEN, SKIPPED_OPEN, FAILURE_NONE);
        CHECK_INT(s.ax->breaker.failures, 0);
        world_release(&s.w);
    }
}

TEST(a_failure_of_the_model_closes_it_alone)
{
    static const enum failure kinds[] = {FIRST_TOKEN,     IDLE,      SERVER_ERROR, OVERLOADED,
                                         REQUEST_TIMEOUT, TRUNCATED, MALFORMED,    EMPTY,
                                         ANSWER_TOO_BIG};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct street s = street_new(STREET);

        fail_thrice(&s.w, s.ax, kinds[i]);
        check_may(&s, SKIPPED_OPEN, FAILURE_NONE, FAILURE_NONE, FAILURE_NONE);
        CHECK_INT(s.ax->provider->endpoint->breaker.failures, 0);
        world_release(&s.w);
    }
}

TEST(a_failure_of_the_outgoing_proxy_closes_the_way_of_all_who_go_through_it)
{
    struct street s = street_new(STREET);

    attempt(&s.w, s.cx, EGRESS_PROXY, RETRY_AFTER_NONE);
    attempt(&s.w, s.ax, EGRESS_PROXY, RETRY_AFTER_NONE);
    check_may(&s, FAILURE_NONE, FAILURE_NONE, FAILURE_NONE, FAILURE_NONE);
    attempt(&s.w, s.ax, EGRESS_PROXY, RETRY_AFTER_NONE);
    check_may(&s, SKIPPED_OPEN, SKIPPED_OPEN, SKIPPED_OPEN, SKIPPED_OPEN);
    CHECK_INT(s.ax->breaker.failures + s.ax->provider->endpoint->breaker.failures, 0);
    world_release(&s.w);
}

TEST(an_endpoint_that_never_met_the_outgoing_proxy_does_not_wait_for_it)
{
    struct street s = street_new(STREET);

    fail_thrice(&s.w, s.ax, EGRESS_PROXY);
    check_may(&s, SKIPPED_OPEN, SKIPPED_OPEN, SKIPPED_OPEN, FAILURE_NONE);
    s.w.now = s.w.set->path.retry_at;
    for (unsigned i = 0; i < 3; i++)
        attempt(&s.w, s.ay, FAILURE_NONE, RETRY_AFTER_NONE);
    CHECK_INT(s.w.set->path.state, BREAKER_CLOSED);
    world_release(&s.w);
}

TEST(a_success_ends_the_streak_in_every_scope)
{
    struct street s = street_new(STREET);

    attempt(&s.w, s.ax, RESET, RETRY_AFTER_NONE);
    attempt(&s.w, s.ax, RESET, RETRY_AFTER_NONE);
    attempt(&s.w, s.ax, MALFORMED, RETRY_AFTER_NONE);
    attempt(&s.w, s.ax, MALFORMED, RETRY_AFTER_NONE);
    attempt(&s.w, s.ax, EGRESS_PROXY, RETRY_AFTER_NONE);
    attempt(&s.w, s.ax, FAILURE_NONE, RETRY_AFTER_NONE);
    CHECK_INT(s.ax->breaker.failures, 0);
    CHECK_INT(s.ax->provider->endpoint->breaker.failures, 0);
    CHECK_INT(s.w.set->path.failures, 0);
    world_release(&s.w);
}

TEST(the_callers_own_faults_say_nothing_of_anybody)
{
    static const enum failure kinds[] = {BAD_REQUEST, CONTEXT_LENGTH, POLICY,      TOO_LARGE,
                                         UNSUPPORTED, CLIENT_ERROR,   CLIENT_GONE, DEADLINE,
                                         LOCAL,       CONFLICT,       HEDGE_LOST};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct street s = street_new(STREET);

        for (unsigned n = 0; n < 20; n++)
            attempt(&s.w, s.ax, kinds[i], RETRY_AFTER_NONE);
        check_may(&s, FAILURE_NONE, FAILURE_NONE, FAILURE_NONE, FAILURE_NONE);
        CHECK(!target_behind(s.ax, s.w.now));
        world_release(&s.w);
    }
}

TEST(a_target_that_is_set_up_wrongly_or_gone_rests_alone_with_all_its_keys)
{
    static const struct {
        enum failure failure;
        uint64_t ms;
    } rows[] = {{MODEL_GONE, 600000}, {REDIRECT, 60000}, {NOT_IMPLEMENTED, 60000}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(HOUSE);
        struct target *x = find(&w, 0, "x");

        attempt(&w, x, rows[i].failure, RETRY_AFTER_NONE);
        CHECK_INT(may(&w, find(&w, 0, "y")), FAILURE_NONE);
        CHECK_INT(may(&w, find(&w, 1, "x")), FAILURE_NONE);
        check_rests_for(&w, x, rows[i].failure, rows[i].ms);
        attempt(&w, x, rows[i].failure, RETRY_AFTER_NONE);
        check_rests_for(&w, x, rows[i].failure, rows[i].ms); /* the same again, and no longer */
        world_release(&w);
    }
}

TEST(a_target_rests_from_the_first_answer_of_those_that_were_out_together)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket a, b;

    CHECK_INT(ask(&w, t, &a), FAILURE_NONE);
    CHECK_INT(ask(&w, t, &b), FAILURE_NONE);
    end(&w, t, &a, MODEL_GONE);
    w.now += 5000;
    end(&w, t, &b, MODEL_GONE);
    check_rests_for(&w, t, MODEL_GONE, 595000);
    world_release(&w);
}

TEST(the_last_resort_goes_to_a_target_that_only_we_let_rest)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket k;

    attempt(&w, t, MODEL_GONE, RETRY_AFTER_NONE);
    CHECK_INT(ask_for(&w, t, &last_resort, &k), FAILURE_NONE);
    world_release(&w);
}

TEST(when_an_endpoint_is_well_again_all_its_models_get_their_load_by_and_by)
{
    struct street s = street_new(STREET);

    fail_thrice(&s.w, s.ax, RESET);
    s.w.now += 4000;
    for (unsigned i = 0; i < 3; i++) {
        CHECK_INT(limiter_limit(&s.bx->limiters[0]), 0);
        attempt(&s.w, s.ay, FAILURE_NONE, RETRY_AFTER_NONE);
    }
    CHECK_INT(s.ax->provider->endpoint->breaker.state, BREAKER_CLOSED);
    CHECK_INT(limiter_limit(&s.ax->limiters[0]), 20);
    CHECK_INT(limiter_limit(&s.ay->limiters[0]), 20);
    CHECK_INT(limiter_limit(&s.bx->limiters[0]), 20);
    CHECK_INT(limiter_limit(&s.cx->limiters[0]), 0);
    world_release(&s.w);
}

TEST(when_a_model_is_well_again_it_alone_gets_its_load_by_and_by)
{
    struct street s = street_new(STREET);

    fail_thrice(&s.w, s.ax, MALFORMED);
    s.w.now += 4000;
    for (unsigned i = 0; i < 3; i++)
        attempt(&s.w, s.ax, FAILURE_NONE, RETRY_AFTER_NONE);
    CHECK_INT(limiter_limit(&s.ax->limiters[0]), 20);
    CHECK_INT(limiter_limit(&s.ay->limiters[0]), 0);
    CHECK_INT(limiter_limit(&s.bx->limiters[0]), 0);
    world_release(&s.w);
}

/* ---- our own network ------------------------------------------------------------------------ */

#define REMOTE(name)                                                                               \
    "  " name ": {type: openai, base_url: https://" name ".example/v1, keys: [k]}\n"
#define FAR          HEALTH PROVIDERS REMOTE("a") REMOTE("b") PROVIDER("c", "k") ROUTE("a/x, b/x, c/x")
#define FAR_AND_NEAR HEALTH PROVIDERS REMOTE("a") PROVIDER("c", "k") ROUTE("a/x, c/x")

static enum breaker_state endpoint_of(const struct target *t)
{
    return t->provider->endpoint->breaker.state;
}

/* It answers: with a status, be that an error, or with output. */
static void answer(struct world *w, struct target *t, bool output)
{
    struct ticket k;

    CHECK_INT(ask(w, t, &k), FAILURE_NONE);
    if (output)
        target_output(t, &k, w->now);
    target_end(t, &k, output ? CLIENT_GONE : BAD_REQUEST, output ? 0 : 400, RETRY_AFTER_NONE,
               w->now);
}

TEST(while_nobody_far_away_can_be_reached_nobody_is_blamed_for_it)
{
    static const enum failure kinds[] = {DNS, REFUSED, CONNECT_TIMEOUT};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(FAR);

        for (unsigned n = 0; n < 10; n++) {
            attempt(&w, &w.set->targets[0], kinds[i], RETRY_AFTER_NONE);
            attempt(&w, &w.set->targets[1], kinds[i], RETRY_AFTER_NONE);
        }
        answer(&w, &w.set->targets[2], true); /* on this machine: it proves nothing */
        CHECK_INT(endpoint_of(&w.set->targets[0]), BREAKER_CLOSED);
        CHECK_INT(endpoint_of(&w.set->targets[1]), BREAKER_CLOSED);
        world_release(&w);
    }
}

TEST(once_another_one_far_away_has_answered_who_could_not_be_reached_is_blamed)
{
    for (int output = 0; output < 2; output++) {
        struct world w = world_new(FAR);

        for (unsigned n = 0; n < 3; n++)
            attempt(&w, &w.set->targets[0], REFUSED, RETRY_AFTER_NONE);
        CHECK_INT(endpoint_of(&w.set->targets[0]), BREAKER_CLOSED);
        answer(&w, &w.set->targets[1], output);
        CHECK_INT(endpoint_of(&w.set->targets[0]), BREAKER_OPEN);
        CHECK_INT(endpoint_of(&w.set->targets[1]), BREAKER_CLOSED);
        world_release(&w);
    }
}

TEST(after_an_outage_of_our_own_the_first_to_answer_does_not_put_the_blame_on_the_others)
{
    struct world w = world_new(FAR);

    for (unsigned n = 0; n < 5; n++) {
        attempt(&w, &w.set->targets[0], CONNECT_TIMEOUT, RETRY_AFTER_NONE);
        attempt(&w, &w.set->targets[1], CONNECT_TIMEOUT, RETRY_AFTER_NONE);
    }
    answer(&w, &w.set->targets[1], true); /* who could not be reached either until now */
    CHECK_INT(endpoint_of(&w.set->targets[0]), BREAKER_CLOSED);
    CHECK_INT(w.set->targets[0].provider->endpoint->breaker.failures, 0);
    attempt(&w, &w.set->targets[1], CONNECT_TIMEOUT, RETRY_AFTER_NONE);
    w.now += 60001; /* that was another outage */
    fail_thrice(&w, &w.set->targets[0], CONNECT_TIMEOUT);
    answer(&w, &w.set->targets[1], true);
    CHECK_INT(endpoint_of(&w.set->targets[0]), BREAKER_OPEN);
    world_release(&w);
}

TEST(a_probe_that_cannot_connect_tells_of_our_own_outage_too)
{
    struct world w = world_new(FAR);
    struct target *a = &w.set->targets[0], *b = &w.set->targets[1];

    fail_thrice(&w, a, RESET);
    w.now = a->provider->endpoint->breaker.retry_at;
    attempt(&w, a, REFUSED, RETRY_AFTER_NONE);
    fail_thrice(&w, b, REFUSED);
    w.now = a->provider->endpoint->breaker.retry_at;
    answer(&w, a, true);
    CHECK_INT(endpoint_of(b), BREAKER_CLOSED);
    world_release(&w);
}

TEST(the_end_of_an_answer_that_began_earlier_proves_nothing)
{
    struct world w = world_new(FAR);
    struct target *a = &w.set->targets[0], *b = &w.set->targets[1];
    struct ticket k;

    CHECK_INT(ask(&w, b, &k), FAILURE_NONE);
    target_output(b, &k, w.now);
    fail_thrice(&w, a, CONNECT_TIMEOUT);
    target_end(b, &k, TRUNCATED, 200, RETRY_AFTER_NONE, w.now); /* cut by the same outage */
    CHECK_INT(endpoint_of(a), BREAKER_CLOSED);
    world_release(&w);
}

TEST(every_unexplained_failure_counts_once)
{
    struct world w = world_new(FAR);

    attempt(&w, &w.set->targets[0], REFUSED, RETRY_AFTER_NONE);
    attempt(&w, &w.set->targets[0], REFUSED, RETRY_AFTER_NONE);
    answer(&w, &w.set->targets[1], true);
    answer(&w, &w.set->targets[1], true);
    CHECK_INT(w.set->targets[0].provider->endpoint->breaker.failures, 2);
    CHECK_INT(endpoint_of(&w.set->targets[0]), BREAKER_CLOSED);
    world_release(&w);
}

TEST(an_endpoint_that_answers_after_all_is_not_blamed_for_what_was_before)
{
    struct world w = world_new(FAR);

    for (unsigned n = 0; n < 3; n++)
        attempt(&w, &w.set->targets[0], REFUSED, RETRY_AFTER_NONE);
    answer(&w, &w.set->targets[0], true);
    answer(&w, &w.set->targets[1], true);
    CHECK_INT(w.set->targets[0].provider->endpoint->breaker.failures, 0);
    world_release(&w);
}

TEST(a_failure_that_nobody_explained_within_a_minute_is_forgotten)
{
    struct world w = world_new(FAR);

    for (unsigned n = 0; n < 3; n++)
        attempt(&w, &w.set->targets[0], REFUSED, RETRY_AFTER_NONE);
    w.now += 60001;
    attempt(&w, &w.set->targets[0], REFUSED, RETRY_AFTER_NONE);
    answer(&w, &w.set->targets[1], true);
    CHECK_INT(w.set->targets[0].provider->endpoint->breaker.failures, 1);
    w.now += 60001;
    for (unsigned n = 0; n < 3; n++)
        attempt(&w, &w.set->targets[0], REFUSED, RETRY_AFTER_NONE);
    w.now += 60001;
    answer(&w, &w.set->targets[1], true);
    CHECK_INT(endpoint_of(&w.set->targets[0]), BREAKER_CLOSED);
    world_release(&w);
}

TEST(what_an_endpoint_itself_did_is_blamed_at_once)
{
    struct world w = world_new(FAR);

    fail_thrice(&w, &w.set->targets[0], TLS_FAILED);
    CHECK_INT(endpoint_of(&w.set->targets[0]), BREAKER_OPEN);
    fail_thrice(&w, &w.set->targets[2], REFUSED); /* on this machine */
    CHECK_INT(endpoint_of(&w.set->targets[2]), BREAKER_OPEN);
    world_release(&w);
}

TEST(the_only_endpoint_far_away_is_blamed_at_once)
{
    struct world w = world_new(FAR_AND_NEAR);

    fail_thrice(&w, &w.set->targets[0], REFUSED);
    CHECK_INT(endpoint_of(&w.set->targets[0]), BREAKER_OPEN);
    world_release(&w);
}

TEST(a_probe_that_cannot_connect_has_failed)
{
    struct world w = world_new(FAR);
    struct target *t = &w.set->targets[0];

    fail_thrice(&w, t, RESET);
    w.now = t->provider->endpoint->breaker.retry_at;
    attempt(&w, t, REFUSED, RETRY_AFTER_NONE);
    CHECK_INT(endpoint_of(t), BREAKER_OPEN);
    CHECK_INT(t->provider->endpoint->breaker.opened, 2);
    world_release(&w);
}

/* ---- full, and not dead --------------------------------------------------------------------- */

TEST(a_target_that_is_giving_output_is_overloaded_and_not_dead)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket k;

    CHECK_INT(ask(&w, t, &k), FAILURE_NONE);
    target_output(t, &k, w.now);
    w.now += 100000; /* it goes on */
    fail_thrice(&w, t, OVERLOADED);
    CHECK_INT(t->breaker.failures, 0);
    attempt(&w, t, SERVER_ERROR, RETRY_AFTER_NONE);
    CHECK_INT(t->breaker.failures, 1); /* only that it is full is no fault */
    end(&w, t, &k, FAILURE_NONE);
    fail_thrice(&w, t, OVERLOADED);
    CHECK_INT(t->breaker.state, BREAKER_OPEN);
    world_release(&w);
}

TEST(a_target_that_gave_output_within_two_seconds_is_alive)
{
    static const struct {
        uint64_t ago;
        unsigned failures;
    } rows[] = {{1999, 0}, {2000, 1}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 0, "x");

        answer(&w, t, true);
        w.now += rows[i].ago;
        attempt(&w, t, OVERLOADED, RETRY_AFTER_NONE);
        CHECK_INT(t->breaker.failures, rows[i].failures);
        world_release(&w);
    }
}

TEST(a_rate_limit_without_a_time_rests_no_key_that_has_others_under_way)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket a, b;

    only_first_key(t);
    CHECK_INT(ask(&w, t, &a), FAILURE_NONE);
    CHECK_INT(ask(&w, t, &b), FAILURE_NONE);
    end(&w, t, &a, RATE_LIMITED);
    CHECK_INT(may(&w, t), FAILURE_NONE);
    end(&w, t, &b, RATE_LIMITED); /* nobody else is */
    CHECK_INT(may(&w, t), SKIPPED_REST);
    world_release(&w);
}

TEST(losses_of_room_limit_how_many_may_be_under_way)
{
    static const enum failure kinds[] = {RATE_LIMITED, OVERLOADED, FIRST_TOKEN, IDLE};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w =
            world_new("breaker: {consecutive: 1000, min_calls: 1000}\n" PROVIDERS PROVIDER("a", "k")
                          ROUTE("a/x"));
        struct target *t = &w.set->targets[0];
        struct ticket k[8];

        for (unsigned n = 0; n < ARRAY_LEN(k); n++)
            CHECK_INT(ask(&w, t, &k[n]), FAILURE_NONE);
        for (unsigned n = 0; n < 3; n++)
            end(&w, t, &k[n], kinds[i]);
        CHECK_INT(limiter_limit(&t->limiters[0]), 5); /* those that are under way */
        CHECK_INT(may(&w, t), SATURATED);
        end(&w, t, &k[3], FAILURE_NONE);
        CHECK_INT(may(&w, t), FAILURE_NONE);
        world_release(&w);
    }
}

TEST(a_key_that_refuses_one_after_the_other_gets_a_break_though_others_are_under_way)
{
    static const enum failure kinds[] = {RATE_LIMITED, OVERLOADED};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 1, NULL);
        struct ticket k[8];

        for (unsigned n = 0; n < ARRAY_LEN(k); n++)
            CHECK_INT(ask(&w, t, &k[n]), FAILURE_NONE);
        target_output(t, &k[7], w.now); /* it is alive */
        for (unsigned n = 0; n < 4; n++)
            end(&w, t, &k[n], kinds[i]);
        end(&w, t, &k[4], CLIENT_GONE); /* there would be room */
        CHECK_INT(may(&w, t), SATURATED);
        w.now += 250;
        CHECK_INT(may(&w, t), FAILURE_NONE);
        world_release(&w);
    }
}

/* ---- rests that grow ------------------------------------------------------------------------ */

TEST(a_key_that_is_refused_over_and_over_rests_longer_and_longer_up_to_an_hour)
{
    static const uint64_t rests[] = {30000, 30000, 600000, 1200000, 2400000, 3600000, 3600000};
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    only_first_key(t);
    for (size_t i = 0; i < ARRAY_LEN(rests); i++) {
        attempt(&w, t, AUTH, RETRY_AFTER_NONE);
        check_rests_for(&w, t, AUTH, rests[i]);
    }
    attempt(&w, t, FAILURE_NONE, RETRY_AFTER_NONE);
    attempt(&w, t, AUTH, RETRY_AFTER_NONE);
    check_rests_for(&w, t, AUTH, 30000); /* a success starts it anew */
    world_release(&w);
}

TEST(refusals_of_requests_that_were_out_together_are_one)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket k[5];

    only_first_key(t);
    for (size_t i = 0; i < ARRAY_LEN(k); i++)
        CHECK_INT(ask(&w, t, &k[i]), FAILURE_NONE);
    for (size_t i = 0; i < ARRAY_LEN(k); i++)
        end(&w, t, &k[i], AUTH);
    CHECK_INT(t->provider->rests[0].streak, 1);
    check_rests_for(&w, t, AUTH, 30000);
    world_release(&w);
}

TEST(refusals_that_name_a_time_and_were_out_together_are_one_too)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket k[5];

    only_first_key(t);
    for (size_t i = 0; i < ARRAY_LEN(k); i++)
        CHECK_INT(ask(&w, t, &k[i]), FAILURE_NONE);
    for (size_t i = 0; i < ARRAY_LEN(k); i++)
        target_end(t, &k[i], QUOTA, 429, 2000 + 1000 * i, w.now);
    check_rests_for(&w, t, QUOTA, 6000); /* the longest that was named */
    attempt(&w, t, QUOTA, RETRY_AFTER_NONE);
    check_rests_for(&w, t, QUOTA, 1200000); /* the second time, and not the sixth */
    world_release(&w);
}

TEST(an_empty_account_rests_twice_as_long_each_time_up_to_an_hour)
{
    static const uint64_t rests[] = {600000, 1200000, 2400000, 3600000, 3600000};
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    only_first_key(t);
    for (size_t i = 0; i < ARRAY_LEN(rests); i++) {
        attempt(&w, t, QUOTA, RETRY_AFTER_NONE);
        check_rests_for(&w, t, QUOTA, rests[i]);
    }
    world_release(&w);
}

TEST(an_allowance_that_is_used_up_puts_one_key_behind_for_one_model_and_refuses_nothing)
{
    struct world w = world_new(HOUSE);
    struct target *x = find(&w, 0, "x"), *y = find(&w, 0, "y");
    struct ticket k, other;

    CHECK_INT(ask(&w, x, &k), FAILURE_NONE);
    target_spent(x, &k, 45000, w.now);
    end(&w, x, &k, FAILURE_NONE);
    CHECK_INT(attempt(&w, y, CLIENT_GONE, RETRY_AFTER_NONE), 0);
    CHECK_INT(attempt(&w, x, CLIENT_GONE, RETRY_AFTER_NONE), 1);
    CHECK(!target_behind(x, w.now)); /* the other key has some left */
    only_first_key(x);
    CHECK_INT(ask(&w, x, &k), FAILURE_NONE); /* some of it may be back */
    CHECK_INT(ask_for(&w, x, &(struct target_wish){.beside = true}, &other), SATURATED);
    target_output(x, &k, w.now); /* ... and its head says nothing of the kind any more */
    end(&w, x, &k, FAILURE_NONE);
    CHECK_INT(attempt(&w, x, CLIENT_GONE, RETRY_AFTER_NONE), 0);
    world_release(&w);
}

TEST(a_target_whose_allowances_are_all_used_up_stands_behind_the_others)
{
    struct world w = world_new(ONE);
    struct target *t = &w.set->targets[0];
    struct ticket k;

    CHECK_INT(ask(&w, t, &k), FAILURE_NONE);
    target_spent(t, &k, 45000, w.now);
    end(&w, t, &k, FAILURE_NONE);
    CHECK(target_behind(t, w.now + 44999));
    CHECK(!target_behind(t, w.now + 45000));
    world_release(&w);
}

TEST(a_success_of_who_was_asked_after_it_began_ends_a_rest_of_our_own_choice)
{
    static const enum failure kinds[] = {AUTH, QUOTA, FORBIDDEN, MODEL_GONE, NOT_IMPLEMENTED};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(ONE);
        struct target *t = &w.set->targets[0];
        struct ticket early, k;

        CHECK_INT(ask(&w, t, &early), FAILURE_NONE);
        w.now += 10;
        attempt(&w, t, kinds[i], RETRY_AFTER_NONE);
        end(&w, t, &early, FAILURE_NONE); /* asked before: says nothing */
        CHECK(ask(&w, t, &k) != FAILURE_NONE);
        w.now += 1000;
        CHECK_INT(ask_for(&w, t, &last_resort, &k), FAILURE_NONE);
        end(&w, t, &k, FAILURE_NONE);
        CHECK_INT(attempt(&w, t, FAILURE_NONE, RETRY_AFTER_NONE), 0);
        world_release(&w);
    }
}

/* ---- what is asked for ---------------------------------------------------------------------- */

static enum failure may_as(struct world *w, struct target *t, struct target_wish wish)
{
    struct ticket k;
    enum failure f = ask_for(w, t, &wish, &k);

    if (f == FAILURE_NONE)
        end(w, t, &k, CLIENT_GONE);
    return f;
}

static void check_nothing_is_held(const struct target *t)
{
    CHECK_INT(atomic_load(&t->in_flight), 0);
    for (size_t i = 0; i < t->provider->n_keys; i++)
        CHECK_INT(t->limiters[i].in_flight + t->limiters[i].away, 0);
    CHECK_INT(t->breaker.probes + t->provider->endpoint->breaker.probes, 0);
}

TEST(a_probe_of_the_endpoint_comes_back_when_the_model_refuses)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    fail_thrice(&w, t, MALFORMED);
    t->breaker.retry_at += 60000;
    fail_thrice(&w, find(&w, 0, "y"), RESET);
    w.now += 4000;
    CHECK_INT(may(&w, t), SKIPPED_OPEN);
    check_nothing_is_held(t);
    CHECK_INT(may(&w, find(&w, 0, "y")), FAILURE_NONE); /* the endpoint's probe is to be had */
    world_release(&w);
}

TEST(a_probe_of_the_way_comes_back_when_the_endpoint_refuses)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    fail_thrice(&w, t, EGRESS_PROXY);
    t->provider->endpoint->breaker.state = BREAKER_OPEN;
    t->provider->endpoint->breaker.retry_at = w.now + 60000;
    w.now = w.set->path.retry_at;
    CHECK_INT(may(&w, t), SKIPPED_OPEN);
    CHECK_INT(wait_ms, t->provider->endpoint->breaker.retry_at - w.now);
    CHECK_INT(w.set->path.probes, 0);
    check_nothing_is_held(t);
    world_release(&w);
}

TEST(a_second_call_goes_beside_only_where_no_breaker_is_open_or_half_open)
{
    static const enum failure kinds[] = {MALFORMED, RESET, EGRESS_PROXY};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 0, "x");
        struct target_wish beside = {.beside = true, .away = true, .granted = true};

        CHECK_INT(may_as(&w, t, beside), FAILURE_NONE);
        fail_thrice(&w, t, kinds[i]);
        w.now += 4000; /* a probe may go, and another request may be it */
        CHECK_INT(may_as(&w, t, beside), SKIPPED_OPEN);
        check_nothing_is_held(t);
        CHECK_INT(may(&w, t), FAILURE_NONE);
        CHECK_INT(may_as(&w, t, beside), SKIPPED_OPEN);
        world_release(&w);
    }
}

TEST(a_second_call_does_not_go_beside_to_a_target_that_was_slow)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct target_wish beside = {.beside = true, .away = true, .granted = true};

    attempt(&w, t, FIRST_TOKEN, RETRY_AFTER_NONE);
    CHECK_INT(may_as(&w, t, beside), SKIPPED_OPEN);
    w.now += 5000; /* its trial is for a request of its own */
    CHECK_INT(may_as(&w, t, beside), SKIPPED_OPEN);
    answer(&w, t, true);
    CHECK_INT(may_as(&w, t, beside), FAILURE_NONE);
    world_release(&w);
}

TEST(a_second_call_goes_beside_only_where_there_is_plenty_of_room)
{
    static const struct {
        double limit;
        enum failure want;
    } rows[] = {{11, FAILURE_NONE}, {10, SATURATED}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 1, NULL);
        struct target_wish beside = {.beside = true, .granted = true};
        struct ticket k[7];

        for (unsigned n = 0; n < ARRAY_LEN(k); n++)
            CHECK_INT(ask(&w, t, &k[n]), FAILURE_NONE);
        t->limiters[0].capped = true;
        t->limiters[0].limit = rows[i].limit;
        t->limiters[0].lost_ms = w.now;
        CHECK_INT(may_as(&w, t, beside), rows[i].want);
        CHECK_INT(may(&w, t), FAILURE_NONE); /* its own find a place */
        world_release(&w);
    }
}

TEST(a_second_call_must_be_granted_except_beside_a_probe)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    hedge_init(&w.set->hedge, 0, 0);
    CHECK_INT(may_as(&w, t, (struct target_wish){.beside = true, .away = true, .cost = 1}),
              SKIPPED_BUDGET);
    check_nothing_is_held(t);
    CHECK(budget_tokens(&t->budget, w.now) == 10);
    CHECK_INT(may_as(&w, t, (struct target_wish){.beside = true, .granted = true}), FAILURE_NONE);
    hedge_init(&w.set->hedge, 0, 1);
    CHECK_INT(may_as(&w, t, (struct target_wish){.beside = true}), FAILURE_NONE);
    CHECK_INT(may_as(&w, t, (struct target_wish){.beside = true}), SKIPPED_BUDGET);
    world_release(&w);
}

TEST(what_costs_more_than_the_budget_holds_is_refused_and_what_was_granted_is_paid)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    t->budget.tokens = 1.5;
    CHECK_INT(may_as(&w, t, (struct target_wish){.cost = 2}), SKIPPED_BUDGET);
    check_nothing_is_held(t);
    CHECK_INT(may_as(&w, t, (struct target_wish){.cost = 1.5}), FAILURE_NONE);
    CHECK(t->budget.tokens == 0);
    CHECK_INT(may_as(&w, t, (struct target_wish){.cost = 1}), SKIPPED_BUDGET);
    CHECK_INT(may(&w, t), FAILURE_NONE);
    world_release(&w);
}

TEST(what_is_refused_is_not_paid)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    fail_thrice(&w, t, MALFORMED);
    CHECK_INT(may_as(&w, t, (struct target_wish){.cost = 1}), SKIPPED_OPEN);
    CHECK(budget_tokens(&t->budget, w.now) == 10);
    world_release(&w);
}

TEST(a_place_is_for_those_whose_turn_it_is)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct queue_waiter first = {0}, others[QUEUE_AT_ONCE] = {0};

    CHECK(target_queue_enter(w.set, 1, &first, 1u << 0, 10, w.now));
    for (unsigned i = 0; i < QUEUE_AT_ONCE; i++)
        CHECK(target_queue_enter(w.set, 1, &others[i], 1u << 0, 10, w.now));
    CHECK_INT(may_as(&w, t, (struct target_wish){.route = 1}), SATURATED);
    CHECK_INT(may_as(&w, t, (struct target_wish){.route = 1, .waiter = &others[QUEUE_AT_ONCE - 1]}),
              SATURATED);
    CHECK_INT(may_as(&w, t, (struct target_wish){.route = 1, .waiter = &first}), FAILURE_NONE);
    CHECK_INT(may_as(&w, t, (struct target_wish){.route = 1, .place = 1}), FAILURE_NONE);
    CHECK_INT(may_as(&w, t, (struct target_wish){.route = 0}), FAILURE_NONE);
    target_queue_leave(w.set, 1, &first);
    target_queue_leave(w.set, 1, &first); /* fine */
    CHECK_INT(w.set->queues[1].n, QUEUE_AT_ONCE);
    world_release(&w);
}

TEST(load_from_elsewhere_begins_with_twenty_at_once_and_the_next_key_has_room_for_more)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct target_wish away = {.away = true};
    struct ticket k;

    for (unsigned i = 0; i < 40; i++) {
        CHECK_INT(ask_for(&w, t, &away, &k), FAILURE_NONE);
        CHECK_INT(k.key, i / 20);
    }
    CHECK_INT(ask_for(&w, t, &away, &k), SATURATED);
    CHECK_INT(wait_ms, 1000); /* nobody knows: a guess */
    CHECK_INT(may(&w, t), FAILURE_NONE);
    world_release(&w);
}

TEST(load_from_elsewhere_grows_while_it_is_accepted)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 1, NULL);
    struct target_wish away = {.away = true};
    struct ticket k[20], one_more;

    for (size_t i = 0; i < ARRAY_LEN(k); i++) {
        CHECK_INT(ask_for(&w, t, &away, &k[i]), FAILURE_NONE);
        target_output(t, &k[i], w.now);
    }
    CHECK_INT(ask_for(&w, t, &away, &one_more), SATURATED);
    w.now += 1000;
    CHECK_INT(ask_for(&w, t, &away, &one_more), FAILURE_NONE);
    world_release(&w);
}

TEST(where_one_key_rests_and_the_other_is_full_the_target_is_full)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket k;

    attempt(&w, t, RATE_LIMITED, 9000);
    t->limiters[1].capped = true;
    t->limiters[1].limit = 0;
    t->limiters[1].lost_ms = w.now;
    CHECK_INT(ask(&w, t, &k), SATURATED);
    CHECK_INT(wait_ms, 1000); /* and not the rest's */
    world_release(&w);
}

TEST(room_is_kept_for_requests_of_the_routes_that_name_a_target_first)
{
    struct world w = world_new(HOUSE);

    CHECK(find(&w, 1, NULL)->limiters[0].reserve); /* first of route one, third of route two */
    CHECK(find(&w, 0, "x")->limiters[1].reserve);
    CHECK(!find(&w, 0, "y")->limiters[0].reserve);
    CHECK(!find(&w, 1, "x")->limiters[0].reserve);
    world_release(&w);
}

TEST(the_stance_is_how_many_losses_are_borne)
{
    static const struct {
        const char *config;
        double tolerance;
    } rows[] = {{HOUSE, 0.5},
                {HOUSE "overload: {stance: polite}\n", 0.33},
                {HOUSE "overload: {stance: aggressive}\n", 0.7}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(rows[i].config);

        CHECK(w.set->targets[0].limiters[0].tolerance == rows[i].tolerance);
        world_release(&w);
    }
}

/* ---- slow, silent, well --------------------------------------------------------------------- */

TEST(a_slow_target_stands_behind_until_it_gives_output_again)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket k;

    attempt(&w, t, FIRST_TOKEN, RETRY_AFTER_NONE);
    CHECK(target_behind(t, w.now));
    CHECK(!target_behind(t, w.now + 5000));
    w.now += 5000;
    CHECK_INT(ask(&w, t, &k), FAILURE_NONE);
    CHECK(k.trial && k.probe);
    CHECK(target_behind(t, w.now)); /* for everybody else */
    target_output(t, &k, w.now);
    CHECK(!target_behind(t, w.now));
    world_release(&w);
}

TEST(a_trial_that_fails_in_any_way_of_the_targets_stands_it_back_for_longer)
{
    static const enum failure kinds[] = {FIRST_TOKEN, SERVER_ERROR, RESET, EGRESS_PROXY};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 0, "x");

        attempt(&w, t, FIRST_TOKEN, RETRY_AFTER_NONE);
        w.now += 5000;
        attempt(&w, t, kinds[i], RETRY_AFTER_NONE);
        CHECK(target_behind(t, w.now + 9999));
        CHECK(!target_behind(t, w.now + 10000));
        world_release(&w);
    }
}

TEST(a_request_that_had_no_other_target_says_nothing_of_how_long_one_stands_behind)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    attempt(&w, t, FIRST_TOKEN, RETRY_AFTER_NONE);
    attempt(&w, t, CLIENT_GONE, RETRY_AFTER_NONE);
    CHECK(target_behind(t, w.now));
    world_release(&w);
}

TEST(a_trial_that_says_nothing_leaves_it_to_the_next_request)
{
    static const enum failure kinds[] = {CLIENT_GONE, BAD_REQUEST, RATE_LIMITED, HEDGE_LOST};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 0, "x");
        struct ticket k;

        attempt(&w, t, FIRST_TOKEN, RETRY_AFTER_NONE);
        w.now += 5000;
        attempt(&w, t, kinds[i], RETRY_AFTER_NONE);
        CHECK_INT(ask(&w, t, &k), FAILURE_NONE);
        CHECK(k.trial);
        world_release(&w);
    }
}

TEST(a_target_heals_while_less_than_a_fifth_of_its_other_calls_have_failed)
{
    static const struct {
        enum failure last;
        unsigned ok;
        bool heals;
    } rows[] = {
        {MALFORMED, 4, false},
        {MALFORMED, 5, true}, /* itself left out: 1 of 5, 1 of 6 */
        {CONFLICT, 8, false},
        {CONFLICT, 9, true}, /* it is none of the 2 */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 0, "x");

        attempt(&w, t, MALFORMED, RETRY_AFTER_NONE);
        attempt(&w, t, MALFORMED, RETRY_AFTER_NONE);
        for (unsigned n = 0; n < rows[i].ok; n++)
            attempt(&w, t, FAILURE_NONE, RETRY_AFTER_NONE);
        CHECK_INT(target_heals(t, rows[i].last, w.now), rows[i].heals);
        world_release(&w);
    }
}

TEST(failures_of_the_endpoint_speak_against_every_model_there)
{
    struct street s = street_new(STREET);

    attempt(&s.w, s.bx, RESET, RETRY_AFTER_NONE);
    attempt(&s.w, s.ax, RESET, RETRY_AFTER_NONE);
    CHECK(!target_heals(s.ax, RESET, s.w.now));
    CHECK(!target_heals(s.ay, CONFLICT, s.w.now));
    CHECK(target_heals(s.cx, CONFLICT, s.w.now));
    world_release(&s.w);
}

TEST(a_target_whose_breaker_is_not_closed_does_not_heal)
{
    static const enum failure kinds[] = {MALFORMED, RESET};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 0, "x");

        fail_thrice(&w, t, kinds[i]);
        w.now += 30000; /* the window has forgotten */
        CHECK(!target_heals(t, CONFLICT, w.now));
        CHECK_INT(may(&w, t), FAILURE_NONE);
        CHECK(!target_heals(t, CONFLICT, w.now)); /* half open */
        world_release(&w);
    }
}

TEST(a_target_is_silent_until_anybody_has_output_or_when_a_breaker_has_opened)
{
    static const enum failure kinds[] = {MALFORMED, RESET};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 0, "x");
        struct ticket k;

        answer(&w, t, true);
        w.now += 10;
        CHECK_INT(ask(&w, t, &k), FAILURE_NONE);
        CHECK(target_silent(t, &k));
        w.now += 10;
        answer(&w, t, true);
        CHECK(!target_silent(t, &k));
        fail_thrice(&w, t, kinds[i]);
        CHECK(target_silent(t, &k));
        world_release(&w);
    }
}

TEST(a_request_is_counted_for_the_hedges_and_earns_its_target_a_part_of_a_call)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    t->budget.tokens = 1;
    target_begin(t, true, w.now);
    target_begin(t, false, w.now);
    target_want_hedge(t, w.now);
    CHECK(t->budget.tokens == 1.2);
    CHECK_INT(w.set->hedge.seconds[w.now / 1000 % HEDGE_WINDOW_S].requests, 2);
    CHECK_INT(w.set->hedge.seconds[w.now / 1000 % HEDGE_WINDOW_S].wanted, 1);
    world_release(&w);
}

/* ---- for people ----------------------------------------------------------------------------- */

static struct target_view look(const struct world *w, struct target *t)
{
    struct target_view v;

    target_look(t, w->now, &v);
    return v;
}

TEST(a_look_names_the_scope_that_closes_a_target)
{
    static const struct {
        enum failure failure;
        const char *scope;
    } rows[] = {{MALFORMED, "model"}, {RESET, "endpoint"}, {EGRESS_PROXY, "path"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(HOUSE);
        struct target *t = find(&w, 0, "x");
        struct target_view v = look(&w, t);

        CHECK(v.closed_by == NULL && v.retry_ms == 0 && v.failures == 0 && v.may_be_asked);
        CHECK_INT(v.worst, BREAKER_CLOSED);
        fail_thrice(&w, t, rows[i].failure);
        w.now += 100;
        v = look(&w, t);
        CHECK_STR(v.closed_by, rows[i].scope);
        CHECK_INT(v.worst, BREAKER_OPEN);
        CHECK(!v.may_be_asked);
        CHECK_INT(v.model, i == 0 ? BREAKER_OPEN : BREAKER_CLOSED);
        CHECK_INT(v.endpoint, i == 1 ? BREAKER_OPEN : BREAKER_CLOSED);
        CHECK_INT(v.path, i == 2 ? BREAKER_OPEN : BREAKER_CLOSED);
        CHECK_INT(v.failures, 3);
        CHECK(v.retry_ms >= 1900 && v.retry_ms <= 3900);
        CHECK_INT(v.last_failure, rows[i].failure);
        CHECK_INT(v.last_failure_age_ms, 100);
        world_release(&w);
    }
}

TEST(a_look_at_two_closed_scopes_names_the_one_that_is_open)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct target_view v;

    fail_thrice(&w, t, MALFORMED);
    w.now = t->breaker.retry_at;
    CHECK(look(&w, t).may_be_asked); /* the next one is its probe */
    CHECK_INT(may(&w, t), FAILURE_NONE);
    CHECK(look(&w, t).may_be_asked);
    CHECK_STR(look(&w, t).closed_by, "model");
    CHECK_INT(look(&w, t).worst, BREAKER_HALF_OPEN);
    fail_thrice(&w, find(&w, 0, "y"), RESET);
    v = look(&w, t);
    CHECK_STR(v.closed_by, "endpoint");
    CHECK_INT(v.worst, BREAKER_OPEN);
    CHECK_INT(v.retry_ms, t->provider->endpoint->breaker.retry_at - w.now);
    world_release(&w);
}

TEST(an_open_scope_is_named_before_one_that_is_half_open)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    fail_thrice(&w, find(&w, 0, "y"), RESET);
    w.now = t->provider->endpoint->breaker.retry_at;
    CHECK_INT(may(&w, t), FAILURE_NONE); /* half open, and the probe is back */
    fail_thrice(&w, t, MALFORMED);
    CHECK_INT(look(&w, t).endpoint, BREAKER_HALF_OPEN);
    CHECK_INT(look(&w, t).worst, BREAKER_OPEN);
    CHECK_STR(look(&w, t).closed_by, "model");
    world_release(&w);
}

TEST(a_look_at_a_target_without_an_outgoing_proxy_knows_nothing_of_it)
{
    struct street s = street_new(STREET);

    fail_thrice(&s.w, s.ax, EGRESS_PROXY);
    CHECK_INT(look(&s.w, s.ay).path, BREAKER_OPEN);
    CHECK_INT(look(&s.w, s.cx).path, BREAKER_CLOSED);
    CHECK(look(&s.w, s.cx).closed_by == NULL);
    world_release(&s.w);
}

TEST(a_look_shows_the_limits_of_all_keys_the_tokens_and_who_stands_behind)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    CHECK_INT(look(&w, t).limit, 0);
    CHECK(look(&w, t).retry_tokens == 10);
    CHECK(!look(&w, t).behind);
    t->limiters[0].capped = t->limiters[1].capped = true;
    t->budget.tokens = 3;
    attempt(&w, t, FIRST_TOKEN, RETRY_AFTER_NONE);
    CHECK_INT(look(&w, t).limit, 40);
    CHECK(look(&w, t).retry_tokens == 3);
    CHECK(look(&w, t).behind);
    w.now += 5000; /* until its trial has had output */
    CHECK(look(&w, t).behind);
    world_release(&w);
}

/* ---- what is counted ------------------------------------------------------------------------ */

TEST(attempts_failures_and_those_in_flight_are_counted)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    struct ticket a, b, c;

    CHECK_INT(ask(&w, t, &a), FAILURE_NONE);
    CHECK_INT(ask(&w, t, &b), FAILURE_NONE);
    CHECK_INT(ask(&w, t, &c), FAILURE_NONE);
    CHECK_INT(atomic_load(&t->in_flight), 3);
    end(&w, t, &a, FAILURE_NONE);
    end(&w, t, &b, RESET);
    end(&w, t, &c, CLIENT_GONE);
    CHECK_INT(atomic_load(&t->in_flight), 0);
    CHECK_INT(atomic_load(&t->attempts), 3);
    CHECK_INT(atomic_load(&t->failures), 1); /* who leaves is no failure */
    world_release(&w);
}

TEST(the_last_failure_stays_to_be_looked_at_with_its_own_text)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    attempt(&w, t, SERVER_ERROR, RETRY_AFTER_NONE);
    target_note(t, "out of memory");
    w.now += 100;
    attempt(&w, t, FAILURE_NONE, RETRY_AFTER_NONE);
    attempt(&w, t, CLIENT_GONE, RETRY_AFTER_NONE);
    CHECK_INT(t->last_failure, SERVER_ERROR);
    CHECK_INT(t->last_failure_ms, T0);
    CHECK_STR(t->last_text, "out of memory");
    attempt(&w, t, RESET, RETRY_AFTER_NONE);
    CHECK_INT(t->last_failure, RESET);
    CHECK_INT(t->last_failure_ms, T0 + 100);
    CHECK_STR(t->last_text, "");
    world_release(&w);
}

TEST(a_long_text_is_cut)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");
    char text[1000];

    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    target_note(t, text);
    CHECK_INT(strlen(t->last_text), sizeof(t->last_text) - 1);
    world_release(&w);
}

TEST(a_longer_rest_of_our_own_choice_does_not_hide_the_time_that_the_provider_named)
{
    struct world w = world_new(ONE);
    struct target *t = &w.set->targets[0];
    struct target_wish wish = {.last_resort = true};
    struct ticket first, second;
    uint64_t wait;

    CHECK_INT(ask(&w, t, &first), FAILURE_NONE);
    CHECK_INT(ask(&w, t, &second), FAILURE_NONE);
    target_end(t, &first, FORBIDDEN, 403, RETRY_AFTER_NONE, w.now); /* ten minutes, of this model */
    target_end(t, &second, RATE_LIMITED, 429, 20000, w.now);
    CHECK_INT(target_ask(t, &wish, w.now + 19999, &first, &wait), FORBIDDEN);
    CHECK_INT(wait, 1);
    CHECK_INT(target_ask(t, &wish, w.now + 20000, &first, &wait), FAILURE_NONE);
    target_end(t, &first, FAILURE_NONE, 200, RETRY_AFTER_NONE, w.now + 20000);
    world_release(&w);
}

TEST(a_refused_prefill_is_remembered_for_a_day)
{
    struct world w = world_new(TWO);
    struct target *t = &w.set->targets[0];

    CHECK(!target_no_prefill(t, T0));
    atomic_store(&t->no_prefill_ms, T0);
    CHECK(target_no_prefill(t, T0));
    CHECK(target_no_prefill(t, T0 - 1)); /* another thread has looked at its clock a little later */
    CHECK(target_no_prefill(t, T0 + 86399999));
    CHECK(!target_no_prefill(t, T0 + 86400000));
    CHECK(!target_no_prefill(&w.set->targets[1], T0)); /* a model's own */
    world_release(&w);
}

/* ---- from one configuration to the next -------------------------------------------------------
 */

static void break_down(struct world *w, struct target *t)
{
    while (t->breaker.state == BREAKER_CLOSED)
        attempt(w, t, SERVER_ERROR, RETRY_AFTER_NONE);
}

static struct world heir_of(struct world *old, const char *text)
{
    struct world w = world_new(text);

    w.now = old->now;
    target_set_inherit(w.set, old->set, w.now);
    return w;
}

TEST(what_is_known_of_targets_that_stay_goes_on_whatever_their_order)
{
    struct world old = world_new(HOUSE), w;
    struct ticket k, live;

    break_down(&old, find(&old, 0, "y"));
    target_note(find(&old, 0, "y"), "what it said");
    CHECK_INT(ask(&old, find(&old, 0, "x"), &live), FAILURE_NONE);
    w = heir_of(&old, HEALTH PROVIDERS KEYLESS PROVIDER(
                          "a", "k0, k1") "routes:\n- {model: one, targets: [a/y, a/new, a/x]}\n");
    CHECK_INT(ask(&w, find(&w, 1, "y"), &k), SKIPPED_OPEN);
    CHECK_INT(find(&w, 1, "y")->attempts, find(&old, 0, "y")->attempts);
    CHECK(find(&w, 1, "y")->attempts > 0);
    CHECK_STR(find(&w, 1, "y")->last_text, "what it said");
    CHECK_INT(ask(&w, find(&w, 1, "new"), &k), FAILURE_NONE);
    end(&w, find(&w, 1, "new"), &k, FAILURE_NONE);
    /* What is under way there does not end here. */
    CHECK_INT(find(&w, 1, "x")->limiters[0].in_flight, 0);
    end(&old, find(&old, 0, "x"), &live, FAILURE_NONE);
    world_release(&w);
    world_release(&old);
}

TEST(a_key_is_known_by_what_it_is_and_not_by_its_place)
{
    struct world old = world_new(HOUSE), w;
    struct ticket k;

    CHECK_INT(attempt(&old, find(&old, 0, "x"), AUTH, RETRY_AFTER_NONE), 0); /* k0 rests */
    w = heir_of(&old, HEALTH PROVIDERS PROVIDER("a", "fresh, k0") KEYLESS TWO_ROUTES);
    CHECK_INT(ask(&w, find(&w, 0, "x"), &k), FAILURE_NONE);
    CHECK_INT(k.key, 0);
    end(&w, find(&w, 0, "x"), &k, FAILURE_NONE);
    CHECK(w.set->providers[0].rests[1].until_ms > w.now);
    CHECK(w.set->providers[0].rests[0].until_ms <= w.now);
    world_release(&w);
    world_release(&old);
}

TEST(a_provider_that_moved_to_another_address_is_another_one)
{
    struct world old = world_new(HOUSE), w;
    struct ticket k;

    break_down(&old, find(&old, 1, "x"));
    w = heir_of(
        &old,
        HEALTH PROVIDERS PROVIDER(
            "a", "k0, k1") "  b: {type: openai, base_url: http://b.localhost:2/v1}\n" TWO_ROUTES);
    CHECK_INT(ask(&w, find(&w, 1, "x"), &k), FAILURE_NONE);
    end(&w, find(&w, 1, "x"), &k, FAILURE_NONE);
    world_release(&w);
    world_release(&old);
}

TEST(a_broken_answer_is_remembered_for_its_conversation_and_target_and_a_while)
{
    struct world w = world_new(HOUSE);
    struct target *x = find(&w, 0, "x"), *y = find(&w, 0, "y");

    CHECK(!target_broke(x, 7, w.now));
    target_note_break(x, 7, w.now);
    CHECK(target_broke(x, 7, w.now + TARGET_BREAK_MS - 1));
    CHECK(!target_broke(x, 7, w.now + TARGET_BREAK_MS));
    CHECK(!target_broke(y, 7, w.now));
    CHECK(!target_broke(x, 8, w.now));
    world_release(&w);
}

TEST_MAIN()
