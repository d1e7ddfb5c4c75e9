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
        t->provider->rests[i] = (struct rest){.until_ms = UINT64_MAX, .firm = true};
}

/* A ms before `after_ms` have passed it is refused, and then not. */
static void check_rests_for(struct world *w, struct target *t, uint64_t after_ms)
{
    struct ticket k;
    uint64_t since = w->now;

    CHECK_INT(ask(w, t, &k), SKIPPED_REST);
    CHECK_INT(wait_ms, after_ms);
    w->now = since + after_ms - 1;
    CHECK_INT(ask(w, t, &k), SKIPPED_REST);
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

/* ---- the set ------------------------------------------------------------------------------- */

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

/* ---- keys ---------------------------------------------------------------------------------- */

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
    check_rests_for(&w, y, 30000);
    world_release(&w);
}

TEST(an_empty_account_rests_ten_minutes_or_as_long_as_it_says)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 0, "x");

    only_first_key(t);
    attempt(&w, t, QUOTA, RETRY_AFTER_NONE);
    check_rests_for(&w, t, 600000);
    attempt(&w, t, QUOTA, 90000);
    check_rests_for(&w, t, 90000);
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
    check_rests_for(&w, x, 600000);
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
    check_rests_for(&w, x, 7000);
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
        check_rests_for(&w, t, rests[i]);
    }
    attempt(&w, t, FAILURE_NONE, RETRY_AFTER_NONE);
    attempt(&w, t, RATE_LIMITED, RETRY_AFTER_NONE);
    check_rests_for(&w, t, 1000); /* a success starts it anew */
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
    check_rests_for(&w, t, 9000);
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
    check_rests_for(&w, t, 50000);
    world_release(&w);
}

TEST(an_overloaded_provider_that_names_a_time_rests_and_one_that_does_not_goes_on)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 1, NULL);

    attempt(&w, t, OVERLOADED, RETRY_AFTER_NONE);
    attempt(&w, t, OVERLOADED, 4000);
    check_rests_for(&w, t, 4000);
    world_release(&w);
}

TEST(the_last_resort_goes_against_our_own_rests_and_never_against_a_stated_time)
{
    struct world w = world_new(HOUSE);
    struct target *t = find(&w, 1, NULL);
    struct ticket k;

    attempt(&w, t, AUTH, RETRY_AFTER_NONE);
    CHECK_INT(ask(&w, t, &k), SKIPPED_REST);
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

TEST_MAIN()
