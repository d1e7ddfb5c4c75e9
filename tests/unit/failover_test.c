#include "proxy/failover.h"

#include "tests/unit/world.h"

/* What an attempt itself can end in; the other rows are the request's own end. */
static bool ends_attempts(enum failure f)
{
    static const enum failure others[] = {FAILURE_NONE, UNFIT,          SKIPPED_OPEN, SKIPPED_REST,
                                          SATURATED,    SKIPPED_BUDGET, QUEUE_FULL,   DEADLINE,
                                          STOPPING,     REJECTED,       CLIENT_GONE};

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (others[i] == f)
            return false;
    return true;
}

static struct target *target_of(struct world *w, unsigned i)
{
    return &w->set->targets[i];
}

/* A ticket for somebody else's request. */
static struct ticket take(struct world *w, unsigned i)
{
    const struct target_wish wish = {.kind = PACE_STREAM, .place = i};
    struct ticket k;
    uint64_t wait;

    CHECK_INT(target_ask(target_of(w, i), &wish, w->now, &k, &wait), FAILURE_NONE);
    return k;
}

static void give(struct world *w, unsigned i, const struct ticket *k, enum failure f,
                 uint64_t retry_after_ms)
{
    target_end(target_of(w, i), k, f, 0, retry_after_ms, w->now);
}

/* Somebody else's request, from its beginning to its end. */
static void elsewhere(struct world *w, unsigned i, enum failure f, uint64_t retry_after_ms)
{
    struct ticket k = take(w, i);

    give(w, i, &k, f, retry_after_ms);
}

/* Opens the breaker of a target from outside the exchange. */
static void break_target(struct world *w, unsigned i)
{
    while (target_of(w, i)->breaker.state != BREAKER_OPEN)
        elsewhere(w, i, MALFORMED, RETRY_AFTER_NONE);
}

/* Nobody holds a ticket or a place any more. */
static void check_all_returned(struct world *w)
{
    for (size_t i = 0; i < w->set->n_targets; i++) {
        struct target *t = target_of(w, (unsigned)i);

        CHECK_INT(atomic_load(&t->in_flight), 0);
        CHECK_INT(t->streaming, 0);
        for (size_t k = 0; k < t->provider->n_keys; k++)
            CHECK_INT(t->limiters[k].in_flight + t->limiters[k].away, 0);
    }
    CHECK_INT(w->set->queues[0].n, 0);
}

/* Somebody's wait within the exchange ends in time. */
static void wait_for(struct world *w)
{
    CHECK_ORDERS(w, "");
    CHECK(w->f.live[FIRST] < 0);
    while (w->orders.n == 0)
        tick_at(w, failover_due(&w->f), false);
}

/* ---- which target comes next ---------------------------------------------------------------- */

TEST(the_preferred_target_is_asked_first_and_its_whole_answer_ends_the_exchange_well)
{
    struct world w = world_new(THREE);

    begin(&w);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "a/x");
    CHECK_INT(atomic_load(&target_of(&w, 0)->in_flight), 1);
    act(&w, FAILOVER_CONNECTED);
    CHECK_ORDERS(&w, "");
    act(&w, FAILOVER_OUTPUT);
    CHECK_ORDERS(&w, "commit");
    complete(&w);
    CHECK_ORDERS(&w, "finish");
    CHECK(w.f.ended);
    CHECK_INT(failover_outcome(&w.f), FAILURE_NONE);
    CHECK_INT(w.f.verdict, 0);
    CHECK_INT(w.f.n_attempts, 1);
    check_all_returned(&w);
    world_release(&w);
}

TEST(every_row_of_the_failure_table_decides_what_comes_next)
{
    for (unsigned i = 0; i < FAILURE_KINDS; i++) {
        const struct failure_row *row = failure_row((enum failure)i);
        struct world w;

        if (!ends_attempts((enum failure)i))
            continue;
        w = world_new(TWO);
        begin(&w);
        act(&w, FAILOVER_CONNECTED);
        fail_with(&w, (enum failure)i);
        if (row->next != NEXT_YES) { /* no window is declared */
            CHECK_ORDERS(&w, "refuse");
            CHECK_INT(w.f.verdict, 0);
            CHECK_INT(failover_outcome(&w.f), i);
            check_all_returned(&w);
        } else if (row->again == AGAIN_SOON) {
            wait_for(&w);
            CHECK_STR(asked(&w), "a/x");
        } else {
            CHECK_ORDERS(&w, "try");
            CHECK_STR(asked(&w), row->again == AGAIN_KEY ? "a/x" : "b/x");
            CHECK_INT(w.f.tries[1].ticket.key, row->again == AGAIN_KEY ? 1 : 0);
        }
        world_release(&w);
    }
}

TEST(every_row_decides_whether_the_only_target_is_asked_again)
{
    for (unsigned i = 0; i < FAILURE_KINDS; i++) {
        const struct failure_row *row = failure_row((enum failure)i);
        struct world w;

        if (!ends_attempts((enum failure)i))
            continue;
        w = world_new(ONE);
        begin(&w);
        fail_with(&w, (enum failure)i);
        if (row->again == AGAIN_SOON || row->again == AGAIN_LATER || i == RATE_LIMITED) {
            wait_for(&w);
            CHECK_ORDERS(&w, "try");
            CHECK_INT(w.f.n_attempts, 2);
        } else {
            CHECK_ORDERS(&w, "refuse");
            CHECK_INT(w.f.n_attempts, 1);
        }
        world_release(&w);
    }
}

TEST(every_row_decides_which_scope_it_speaks_of)
{
    for (unsigned i = 0; i < FAILURE_KINDS; i++) {
        enum failure_blame blame = failure_row((enum failure)i)->blame;
        struct target *t;
        struct world w;

        if (!ends_attempts((enum failure)i))
            continue;
        w = world_new(TWO);
        begin(&w);
        fail_with(&w, (enum failure)i);
        t = target_of(&w, 0);
        CHECK_INT(t->breaker.failures, blame == BLAME_MODEL);
        CHECK_INT(t->provider->endpoint->breaker.failures, blame == BLAME_ENDPOINT);
        CHECK_INT(w.set->path.failures, blame == BLAME_PATH);
        CHECK_INT(t->rests[0].until_ms > w.now || t->provider->rests[0].until_ms > w.now,
                  blame == REST_KEY || blame == THROTTLE);
        CHECK_INT(t->rest.until_ms > w.now, blame == REST_TARGET);
        world_release(&w);
    }
}

TEST(attempts_never_exceed_max_attempts)
{
    struct world w = world_new(THREE);

    w.policy.max_attempts = 2;
    begin(&w);
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "try");
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.n_attempts, 2);
    CHECK_INT(w.f.n_tries, 2);
    world_release(&w);
}

TEST(the_last_attempt_is_followed_by_no_other_key_and_no_pause)
{
    static const enum failure kinds[] = {AUTH, RATE_LIMITED, SERVER_ERROR, OVERLOADED};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(ONE_WITH_KEYS);

        w.policy.max_attempts = 1;
        begin(&w);
        fail_with(&w, kinds[i]);
        CHECK_ORDERS(&w, "refuse");
        world_release(&w);
    }
}

TEST(a_request_that_is_at_home_elsewhere_says_so)
{
    struct world w = world_new(TWO);

    w.away = 2;
    begin(&w);
    CHECK(!w.f.tries[0].ticket.away);
    fail_with(&w, MALFORMED);
    CHECK(w.f.tries[1].ticket.away);
    world_release(&w);
}

TEST(one_target_is_asked_per_target_times_at_most)
{
    struct world w = world_new(ONE);

    w.policy.per_target = 2;
    w.policy.max_attempts = 9;
    begin(&w);
    fail_with(&w, OVERLOADED);
    wait_for(&w);
    CHECK_ORDERS(&w, "try");
    fail_with(&w, OVERLOADED);
    CHECK_ORDERS(&w, "refuse");
    world_release(&w);
}

TEST(other_keys_count_towards_per_target)
{
    struct world w = world_new(ONE_WITH_KEYS);

    w.policy.per_target = 2;
    begin(&w);
    fail_with(&w, AUTH);
    CHECK_ORDERS(&w, "try");
    fail_with(&w, AUTH);
    CHECK_ORDERS(&w, "refuse");
    world_release(&w);
}

TEST(a_refused_key_is_followed_at_once_by_each_other_key_and_by_none_twice)
{
    static const enum failure kinds[] = {AUTH, QUOTA, FORBIDDEN};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(ONE_WITH_KEYS);

        w.policy.per_target = w.policy.max_attempts = 9;
        begin(&w);
        for (unsigned key = 0; key < 3; key++) {
            CHECK_ORDERS(&w, "try");
            CHECK_INT(w.f.tries[w.f.live[FIRST]].ticket.key, key);
            CHECK_INT(w.f.tries[w.f.live[FIRST]].started_ms, T0);
            fail_after(&w, kinds[i], 400, 0);
        }
        CHECK_ORDERS(&w, "refuse");
        CHECK_INT(w.f.n_attempts, 3);
        world_release(&w);
    }
}

/* ---- the same target again ------------------------------------------------------------------ */

TEST(a_target_that_names_a_short_time_is_asked_again_after_the_others)
{
    struct world w = world_new(TWO);

    begin(&w);
    fail_after(&w, OVERLOADED, 503, 200);
    CHECK_STR(asked(&w), "b/x");
    w.now += 10;
    fail_with(&w, MALFORMED);
    wait_for(&w);
    CHECK(w.now >= T0 + 200 && w.now <= T0 + 220); /* counted from its own failure */
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "a/x");
    world_release(&w);
}

TEST(a_time_that_the_others_have_used_up_is_not_waited_for)
{
    struct world w = world_new(TWO);

    begin(&w);
    fail_after(&w, OVERLOADED, 503, 2000);
    w.now += 5000;
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "a/x");
    world_release(&w);
}

TEST(an_overloaded_target_that_names_no_time_is_left_alone_where_there_are_others)
{
    struct world w = world_new(TWO);

    begin(&w);
    fail_with(&w, OVERLOADED);
    CHECK_STR(asked(&w), "b/x");
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "refuse");
    world_release(&w);
}

TEST(the_only_target_that_is_overloaded_is_asked_again_after_100_to_300_ms)
{
    struct world w = world_new(ONE);

    begin(&w);
    fail_with(&w, OVERLOADED);
    wait_for(&w);
    CHECK(w.now >= T0 + 100 && w.now <= T0 + 300);
    CHECK_ORDERS(&w, "try");
    world_release(&w);
}

TEST(back_offs_are_spread_over_the_whole_range)
{
    struct world w = world_new(ONE);
    uint64_t shortest = UINT64_MAX, longest = 0;

    for (w.seed = 0; w.seed < 500; w.seed++) {
        uint64_t wait;

        begin(&w);
        fail_with(&w, CONFLICT);
        wait = failover_due(&w.f) - T0;
        shortest = wait < shortest ? wait : shortest;
        longest = wait > longest ? wait : longest;
        act(&w, FAILOVER_GONE);
    }
    CHECK(shortest >= 100 && shortest < 110);
    CHECK(longest <= 300 && longest > 290);
    world_release(&w);
}

TEST(of_several_that_may_be_asked_again_the_soonest_ends_the_wait)
{
    static const struct {
        uint64_t a, b;
        const char *first;
    } rows[] = {{2000, 700, "b/x"}, {700, 2000, "a/x"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(TWO);

        begin(&w);
        fail_after(&w, OVERLOADED, 503, rows[i].a);
        fail_after(&w, OVERLOADED, 503, rows[i].b);
        wait_for(&w);
        CHECK(w.now >= T0 + 700 && w.now <= T0 + 770);
        CHECK_STR(asked(&w), rows[i].first);
        fail_with(&w, MALFORMED);
        wait_for(&w);
        CHECK(w.now >= T0 + 2000 && w.now <= T0 + 2200);
        CHECK_ORDERS(&w, "try");
        CHECK(strcmp(asked(&w), rows[i].first) != 0);
        world_release(&w);
    }
}

TEST(a_short_retry_after_is_waited_out_and_up_to_a_tenth_more)
{
    struct world w = world_new(ONE);
    uint64_t shortest = UINT64_MAX, longest = 0;

    w.policy.total_ms = 60000;
    for (w.seed = 0; w.seed < 300; w.seed++) {
        uint64_t wait;

        begin(&w);
        fail_after(&w, OVERLOADED, 503, 2500);
        CHECK_ORDERS(&w, "");
        wait = failover_due(&w.f) - w.now;
        shortest = wait < shortest ? wait : shortest;
        longest = wait > longest ? wait : longest;
        tick_at(&w, w.now + wait - 1, false);
        CHECK_ORDERS(&w, "");
        tick_at(&w, w.now + 1, false);
        CHECK_ORDERS(&w, "try");
        act(&w, FAILOVER_OUTPUT); /* the breaker stays shut */
        complete(&w);
        w.now += 60000;
    }
    CHECK(shortest >= 2500 && shortest < 2510);
    CHECK(longest <= 2750 && longest > 2740);
    world_release(&w);
}

TEST(a_long_retry_after_is_told_and_not_waited_out)
{
    struct world w = world_new(ONE);

    begin(&w);
    fail_after(&w, OVERLOADED, 503, 2501);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.retry_after_ms, 2501);
    world_release(&w);
}

TEST(a_wait_that_would_leave_no_time_for_a_try_is_not_begun)
{
    struct world w = world_new(ONE);

    w.policy.total_ms = 1000;
    begin(&w);
    fail_after(&w, OVERLOADED, 503, 991);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(failover_outcome(&w.f), OVERLOADED);
    world_release(&w);

    w = world_new(ONE);
    w.policy.total_ms = 1000;
    begin(&w);
    fail_after(&w, OVERLOADED, 503, 900); /* and a tenth of it at most */
    wait_for(&w);
    CHECK_ORDERS(&w, "try");
    world_release(&w);
}

TEST(a_target_whose_breaker_opened_during_the_back_off_is_not_asked_again)
{
    struct world w = world_new(ONE);

    begin(&w);
    fail_with(&w, RESET);
    break_target(&w, 0);
    tick_at(&w, failover_due(&w.f), false);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(failover_outcome(&w.f), RESET);
    world_release(&w);
}

TEST(a_fault_that_looks_like_a_single_one_is_tried_again_before_the_next_target)
{
    static const enum failure kinds[] = {RESET, CONFLICT, REQUEST_TIMEOUT, SERVER_ERROR};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(THREE);

        begin(&w);
        fail_with(&w, kinds[i]);
        wait_for(&w);
        CHECK(w.now >= T0 + 100 && w.now <= T0 + 300);
        CHECK_STR(asked(&w), "a/x");
        fail_with(&w, kinds[i]); /* once is enough */
        CHECK_STR(asked(&w), "b/x");
        world_release(&w);
    }
}

TEST(a_target_that_fails_others_too_is_not_tried_again)
{
    static const struct {
        unsigned ok;
        const char *orders;
    } rows[] = {{9, ""}, {8, "try"}}; /* 2 of 11 are less than a fifth, 2 of 10 are not */

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(TWO);

        for (unsigned n = 0; n < 2; n++)
            elsewhere(&w, 0, MALFORMED, RETRY_AFTER_NONE);
        for (unsigned n = 0; n < rows[i].ok; n++)
            elsewhere(&w, 0, FAILURE_NONE, RETRY_AFTER_NONE);
        begin(&w);
        fail_with(&w, SERVER_ERROR);
        CHECK_ORDERS(&w, rows[i].orders);
        world_release(&w);
    }
}

TEST(the_pause_is_for_the_target_that_failed_last_though_another_ones_is_over)
{
    struct world w = world_new(THREE);

    begin(&w);
    fail_after(&w, OVERLOADED, 503, 2000);
    w.now += 5000;
    fail_with(&w, SERVER_ERROR);
    wait_for(&w);
    CHECK_STR(asked(&w), "b/x");
    world_release(&w);
}

TEST(a_target_that_must_rest_for_long_meanwhile_is_not_waited_for)
{
    static const struct {
        uint64_t rest;
        const char *orders;
    } rows[] = {{8000, "try"}, {8500, "refuse"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(ONE);

        begin(&w);
        fail_with(&w, OVERLOADED);
        w.now = failover_due(&w.f);
        elsewhere(&w, 0, RATE_LIMITED, rows[i].rest);
        tick_at(&w, w.now, false);
        while (w.orders.n == 0)
            tick_at(&w, failover_due(&w.f), false);
        CHECK_ORDERS(&w, rows[i].orders);
        world_release(&w);
    }
}

TEST(failures_of_ten_seconds_ago_no_longer_speak_against_a_second_try)
{
    struct world w = world_new(TWO);

    elsewhere(&w, 0, MALFORMED, RETRY_AFTER_NONE);
    elsewhere(&w, 0, RESET, RETRY_AFTER_NONE);
    w.now += 11000;
    begin(&w);
    fail_with(&w, RESET);
    CHECK_ORDERS(&w, "");
    world_release(&w);
}

TEST(a_client_that_tries_again_itself_gets_no_second_try_of_the_same_target)
{
    struct world w = world_new(TWO);

    w.policy.retried = true;
    begin(&w);
    fail_with(&w, SERVER_ERROR);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "b/x");
    fail_with(&w, SERVER_ERROR);
    CHECK_ORDERS(&w, "refuse");
    world_release(&w);
}

TEST(a_second_try_costs_the_target_a_token_and_two_after_a_time_limit)
{
    struct world w = world_new(ONE);
    struct budget *budget = &target_of(&w, 0)->budget;

    budget->tokens = 5;
    begin(&w);
    CHECK(budget_tokens(budget, w.now) == 5.2); /* a request earns a fifth */
    fail_with(&w, SERVER_ERROR);
    tick_at(&w, failover_due(&w.f), false);
    CHECK_ORDERS(&w, "try");
    CHECK(budget->tokens > 4.2 && budget->tokens < 4.3);
    world_release(&w);

    w = world_new(ONE);
    budget = &target_of(&w, 0)->budget;
    budget->tokens = 5;
    begin(&w);
    fail_with(&w, REQUEST_TIMEOUT);
    tick_at(&w, failover_due(&w.f), false);
    CHECK_ORDERS(&w, "try");
    CHECK(budget->tokens > 3.2 && budget->tokens < 3.3);
    world_release(&w);
}

TEST(a_request_that_the_client_sends_again_earns_no_tokens)
{
    struct world w = world_new(ONE);

    target_of(&w, 0)->budget.tokens = 5;
    w.policy.retried = true;
    begin(&w);
    CHECK(target_of(&w, 0)->budget.tokens == 5);
    world_release(&w);
}

TEST(without_a_token_the_next_target_has_its_turn)
{
    struct world w = world_new(TWO);

    target_of(&w, 0)->budget.tokens = 0;
    begin(&w);
    fail_with(&w, SERVER_ERROR);
    CHECK_ORDERS(&w, "try"); /* without a pause for nothing */
    CHECK_STR(asked(&w), "b/x");
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "refuse");
    world_release(&w);
}

TEST(a_rate_limit_that_is_over_in_a_moment_is_waited_out_once)
{
    struct world w = world_new(THREE);

    begin(&w);
    fail_after(&w, RATE_LIMITED, 429, 2500);
    wait_for(&w);
    CHECK(w.now >= T0 + 2500 && w.now <= T0 + 2750);
    CHECK_STR(asked(&w), "a/x");
    fail_after(&w, RATE_LIMITED, 429, 2500);
    CHECK_STR(asked(&w), "b/x");
    world_release(&w);
}

TEST(another_key_comes_before_the_wait_for_a_rate_limit)
{
    struct world w = world_new(TWO);

    w.policy.per_target = 3;
    begin(&w);
    fail_after(&w, RATE_LIMITED, 429, 2000);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "a/x");
    CHECK_INT(w.f.tries[1].ticket.key, 1);
    fail_after(&w, RATE_LIMITED, 429, 1000);
    wait_for(&w);
    CHECK(w.now >= T0 + 1000 && w.now <= T0 + 1100);
    CHECK_INT(w.f.tries[2].ticket.key, 1); /* the one that rests no longer */
    world_release(&w);
}

TEST(a_rate_limit_is_waited_out_once_however_many_tries_are_allowed)
{
    struct world w = world_new(ONE);

    w.policy.per_target = w.policy.max_attempts = 9;
    begin(&w);
    fail_after(&w, RATE_LIMITED, 429, 1000);
    wait_for(&w);
    CHECK_ORDERS(&w, "try");
    fail_after(&w, RATE_LIMITED, 429, 1000);
    CHECK_ORDERS(&w, "refuse");
    world_release(&w);
}

TEST(a_key_that_was_left_when_a_hedge_failed_too_is_tried_then)
{
    struct world w = world_new(TWO);

    w.policy.hedge_ms = 1000;
    begin(&w);
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "try");
    fail_on(&w, FIRST, AUTH);
    CHECK_ORDERS(&w, "");
    fail_on(&w, FIRST, MALFORMED); /* the one that is left */
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "a/x");
    CHECK_INT(w.f.tries[2].ticket.key, 1);
    world_release(&w);
}

TEST(a_longer_rate_limit_or_one_without_a_time_leads_to_the_next_target_for_good)
{
    static const uint64_t times[] = {2501, 60000, RETRY_AFTER_NONE};

    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct world w = world_new(THREE);

        begin(&w);
        fail_after(&w, RATE_LIMITED, 429, times[i]);
        CHECK_STR(asked(&w), "b/x");
        fail_with(&w, MALFORMED);
        CHECK_STR(asked(&w), "c/x");
        fail_with(&w, MALFORMED);
        CHECK_ORDERS(&w, "refuse");
        CHECK_INT(failover_outcome(&w.f), RATE_LIMITED);
        world_release(&w);
    }
}

TEST(the_only_target_with_a_rate_limit_without_a_time_is_asked_again_when_its_key_is_rested)
{
    struct world w = world_new(ONE);

    begin(&w);
    fail_after(&w, RATE_LIMITED, 429, RETRY_AFTER_NONE);
    wait_for(&w);
    CHECK_STR(asked(&w), "a/x");
    CHECK_INT(w.now, T0 + 1000);
    CHECK_INT(w.f.n_tries, 2); /* looking whether it rests is no line of the trail */
    fail_after(&w, RATE_LIMITED, 429, RETRY_AFTER_NONE);
    CHECK_ORDERS(&w, "refuse");
    world_release(&w);
}

TEST(the_only_target_that_is_full_is_asked_again_after_longer_and_longer_pauses)
{
    struct world w = world_new(ONE);
    struct ticket other = take(&w, 0); /* so that its key does not rest */
    uint64_t longest[2] = {0};

    w.policy.per_target = 3;
    for (w.seed = 0; w.seed < 200; w.seed++) {
        begin(&w);
        for (unsigned i = 0; i < 2; i++) {
            uint64_t since = w.now;

            fail_after(&w, RATE_LIMITED, 429, RETRY_AFTER_NONE);
            wait_for(&w);
            longest[i] = w.now - since > longest[i] ? w.now - since : longest[i];
        }
        act(&w, FAILOVER_OUTPUT);
        complete(&w);
        w.now += 60000;
    }
    CHECK(longest[0] > 480 && longest[0] <= 500);
    CHECK(longest[1] > 960 && longest[1] <= 1000);
    give(&w, 0, &other, FAILURE_NONE, RETRY_AFTER_NONE);
    world_release(&w);
}

/* ---- a larger window ------------------------------------------------------------------------ */

TEST(a_prompt_that_is_too_long_goes_to_the_next_larger_declared_window)
{
    static const enum failure kinds[] = {CONTEXT_LENGTH, TOO_LARGE};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(THREE);

        w.windows[0] = 8000, w.windows[1] = 8000, w.windows[2] = 128000;
        begin(&w);
        fail_with(&w, kinds[i]);
        CHECK_ORDERS(&w, "try");
        CHECK_STR(asked(&w), "c/x");
        CHECK_INT(w.f.tries[1].outcome, UNFIT);
        fail_with(&w, MALFORMED);
        CHECK_ORDERS(&w, "refuse"); /* not to the small one */
        CHECK_INT(failover_outcome(&w.f), kinds[i]);
        world_release(&w);
    }
}

TEST(a_larger_window_does_not_make_a_target_fit_that_cannot_serve_the_request)
{
    struct world w = world_new(TWO);

    w.windows[0] = 8000, w.windows[1] = 128000;
    w.unfit = 2;
    begin(&w);
    fail_with(&w, CONTEXT_LENGTH);
    CHECK_ORDERS(&w, "refuse");
    world_release(&w);
}

TEST(without_a_larger_declared_window_a_prompt_that_is_too_long_is_refused_at_once)
{
    static const uint64_t windows[][3] = {{0, 0, 0}, {8000, 8000, 4000}, {8000, 0, 0}};

    for (size_t i = 0; i < ARRAY_LEN(windows); i++) {
        struct world w = world_new(THREE);

        memcpy(w.windows, windows[i], sizeof(windows[i]));
        begin(&w);
        fail_after(&w, CONTEXT_LENGTH, 400, RETRY_AFTER_NONE);
        CHECK_ORDERS(&w, "refuse");
        CHECK_INT(w.f.n_tries, 1);
        CHECK_INT(w.f.verdict, 0);
        world_release(&w);
    }
}

TEST(a_prompt_too_long_for_the_larger_window_too_is_refused)
{
    struct world w = world_new(THREE);

    w.windows[0] = 8000, w.windows[1] = 128000;
    begin(&w);
    fail_with(&w, CONTEXT_LENGTH);
    CHECK_STR(asked(&w), "b/x");
    fail_with(&w, CONTEXT_LENGTH);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.verdict, 1);
    world_release(&w);
}

/* ---- which of the others -------------------------------------------------------------------- */

/* Two models at one endpoint, and another one. */
#define NEIGHBOURS HEALTH PROVIDERS PROVIDER("a", "k0") PROVIDER("b", "k0") ROUTE("a/x, a/y, b/x")

TEST(a_target_at_an_endpoint_that_failed_in_this_request_goes_last)
{
    struct world w = world_new(NEIGHBOURS);

    begin(&w);
    fail_with(&w, BAD_GATEWAY);
    CHECK_STR(asked(&w), "b/x");
    fail_with(&w, MALFORMED);
    CHECK_STR(asked(&w), "a/y"); /* when nothing else is left */
    world_release(&w);
}

TEST(a_failure_of_the_model_alone_does_not_speak_against_its_neighbours)
{
    struct world w = world_new(NEIGHBOURS);

    begin(&w);
    fail_with(&w, MALFORMED);
    CHECK_STR(asked(&w), "a/y");
    world_release(&w);
}

TEST(a_target_that_has_just_cost_somebody_time_goes_last)
{
    static const enum failure kinds[] = {FIRST_TOKEN, IDLE, CONNECT_TIMEOUT, TLS_FAILED, SLOWER};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(TWO);

        elsewhere(&w, 0, kinds[i], RETRY_AFTER_NONE);
        begin(&w);
        CHECK_STR(asked(&w), "b/x");
        CHECK_INT(w.f.n_tries, 1); /* it is no ban, and stands in no trail */
        fail_with(&w, MALFORMED);
        CHECK_STR(asked(&w), "a/x");
        world_release(&w);
    }
}

TEST(targets_that_have_all_cost_time_are_asked_in_their_order)
{
    struct world w = world_new(TWO);

    elsewhere(&w, 0, FIRST_TOKEN, RETRY_AFTER_NONE);
    elsewhere(&w, 1, FIRST_TOKEN, RETRY_AFTER_NONE);
    begin(&w);
    CHECK_STR(asked(&w), "a/x");
    world_release(&w);
}

TEST(after_five_seconds_one_request_tries_the_slow_target_and_the_next_ones_do_not)
{
    struct world w = world_new(TWO);
    struct failover first;

    elsewhere(&w, 0, FIRST_TOKEN, RETRY_AFTER_NONE);
    w.now += 5000;
    begin(&w);
    CHECK_STR(asked(&w), "a/x");
    CHECK(w.f.tries[0].ticket.probe);
    first = w.f;
    begin(&w);
    CHECK_STR(asked(&w), "b/x");
    w.f = first;
    act(&w, FAILOVER_CONNECTED);
    act(&w, FAILOVER_OUTPUT); /* it is well again */
    begin(&w);
    CHECK_STR(asked(&w), "a/x");
    world_release(&w);
}

TEST(a_third_target_costs_the_first_a_token_and_two_after_a_time_limit)
{
    static const struct {
        enum failure first;
        double left;
    } rows[] = {{MALFORMED, 9}, {CONNECT_TIMEOUT, 8}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(THREE);

        begin(&w);
        fail_with(&w, rows[i].first);
        CHECK(budget_tokens(&target_of(&w, 0)->budget, w.now) == 10); /* the second is free */
        fail_with(&w, MALFORMED);
        CHECK_STR(asked(&w), "c/x");
        CHECK(target_of(&w, 0)->budget.tokens == rows[i].left);
        CHECK(target_of(&w, 2)->budget.tokens == 10);
        world_release(&w);
    }
}

TEST(a_third_target_without_a_token_is_passed_over)
{
    struct world w = world_new(THREE);

    target_of(&w, 0)->budget.tokens = 0.7;
    begin(&w);
    fail_with(&w, MALFORMED);
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.n_attempts, 2);
    CHECK_INT(w.f.tries[2].outcome, SKIPPED_BUDGET);
    check_all_returned(&w);
    world_release(&w);
}

/* ---- the share of the time left ------------------------------------------------------------- */

TEST(each_target_gets_its_share_of_the_time_left_and_two_seconds_are_kept)
{
    struct world w = world_new(THREE);

    w.policy.total_ms = 32000;
    begin(&w);
    CHECK_INT(w.f.tries[0].first_output, 10000);
    act(&w, FAILOVER_CONNECTED);
    tick_at(&w, T0 + 9999, false);
    CHECK_ORDERS(&w, "");
    tick_at(&w, T0 + 10000, false);
    CHECK_ORDERS(&w, "drop try");
    CHECK_INT(w.f.tries[0].outcome, TIME_SHARE);
    CHECK_INT(target_of(&w, 0)->breaker.failures, 0);
    CHECK_INT(w.f.tries[1].first_output, 10000);
    w.now += 4000;
    fail_with(&w, MALFORMED);
    CHECK_INT(w.f.tries[2].first_output, 30000); /* the last one may use it all */
    world_release(&w);
}

TEST(no_share_is_below_five_seconds_or_above_the_targets_own_limit)
{
    struct world w = world_new(THREE);

    w.policy.total_ms = 10000;
    begin(&w);
    CHECK_INT(w.f.tries[0].first_output, 5000);
    act(&w, FAILOVER_GONE);
    w.policy.total_ms = 1000;
    begin(&w);
    CHECK_INT(w.f.tries[0].first_output, 5000);
    act(&w, FAILOVER_GONE);
    w.policy.total_ms = 92001;
    begin(&w);
    CHECK_INT(w.f.tries[0].first_output, 30000);
    world_release(&w);
}

TEST(targets_that_will_not_be_asked_get_no_share)
{
    struct world w = world_new(THREE);

    w.policy.total_ms = 22000;
    w.unfit = 2;
    begin(&w);
    CHECK_INT(w.f.tries[0].first_output, 10000);
    act(&w, FAILOVER_GONE);
    w.unfit = 0;
    break_target(&w, 0);
    begin(&w);
    CHECK_STR(asked(&w), "b/x");
    CHECK_INT(last_try(&w)->first_output, 10000);
    world_release(&w);
}

/* ---- targets that may not be asked ---------------------------------------------------------- */

TEST(an_open_breaker_is_passed_over_and_stands_in_the_trail)
{
    struct world w = world_new(TWO);

    break_target(&w, 0);
    begin(&w);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "b/x");
    CHECK_INT(w.f.n_tries, 2);
    CHECK_INT(w.f.n_attempts, 1);
    CHECK(w.f.tries[0].skipped);
    CHECK_INT(w.f.tries[0].candidate, 0);
    CHECK_INT(w.f.tries[0].outcome, SKIPPED_OPEN);
    CHECK_INT(w.f.tries[0].phase, PHASE_ENDED);
    CHECK_INT(w.f.tries[0].retry_after_ms, target_of(&w, 0)->breaker.retry_at - T0);
    CHECK(!w.f.tries[1].skipped);
    world_release(&w);
}

TEST(a_target_that_was_passed_over_is_noted_once_only)
{
    struct world w = world_new(TWO);

    break_target(&w, 0);
    begin(&w);
    fail_with(&w, RESET);
    CHECK_ORDERS(&w, "");
    tick_at(&w, failover_due(&w.f), false);
    CHECK_ORDERS(&w, "try");
    fail_with(&w, RESET);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.n_tries, 3);
    CHECK_INT(failover_outcome(&w.f), RESET);
    world_release(&w);
}

TEST(when_every_target_is_open_the_nearest_to_its_probe_is_the_last_resort)
{
    struct world w = world_new(TWO);

    break_target(&w, 0);
    break_target(&w, 1);
    target_of(&w, 0)->breaker.retry_at = T0 + 3000;
    target_of(&w, 1)->breaker.retry_at = T0 + 1000;
    begin(&w);
    CHECK_STR(asked(&w), "b/x");
    world_release(&w);

    w = world_new(TWO);
    break_target(&w, 0);
    break_target(&w, 1);
    target_of(&w, 0)->breaker.retry_at = T0 + 1000;
    target_of(&w, 1)->breaker.retry_at = T0 + 3000;
    begin(&w);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "a/x");
    CHECK_INT(target_of(&w, 0)->breaker.state, BREAKER_HALF_OPEN);
    CHECK_INT(w.f.n_tries, 3);
    CHECK_INT(w.f.candidates[0].skipped, FAILURE_NONE);
    CHECK_INT(w.f.candidates[1].skipped, SKIPPED_OPEN);
    act(&w, FAILOVER_OUTPUT);
    complete(&w);
    CHECK_ORDERS(&w, "finish");
    CHECK_INT(target_of(&w, 0)->breaker.won, 1);
    CHECK_INT(target_of(&w, 1)->breaker.state, BREAKER_OPEN);
    world_release(&w);
}

TEST(where_the_nearest_may_not_be_asked_at_all_another_one_is_the_last_resort)
{
    struct world w = world_new(TWO);

    elsewhere(&w, 0, RATE_LIMITED, 3000); /* both keys, and the provider means it */
    elsewhere(&w, 0, RATE_LIMITED, 3000);
    break_target(&w, 1);
    target_of(&w, 1)->breaker.retry_at = T0 + 4000;
    begin(&w);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "b/x");
    world_release(&w);
}

TEST(the_last_resort_is_for_requests_of_which_nobody_was_asked)
{
    struct world w = world_new(TWO);

    break_target(&w, 1);
    begin(&w);
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.n_attempts, 1);
    CHECK_INT(target_of(&w, 1)->breaker.state, BREAKER_OPEN);
    world_release(&w);
}

TEST(what_the_last_resort_came_to_is_told_and_not_that_it_was_passed_over_before)
{
    struct world w = world_new(ONE);

    elsewhere(&w, 0, AUTH, RETRY_AFTER_NONE);
    w.now += 10;
    begin(&w);
    CHECK_ORDERS(&w, "try");
    CHECK_INT(w.f.tries[0].outcome, SKIPPED_REST);
    fail_with(&w, AUTH);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.n_tries, 2); /* both lines stand in the trail */
    CHECK_INT(failover_outcome(&w.f), AUTH);
    world_release(&w);
}

TEST(what_a_dead_target_answered_is_told_and_not_that_it_was_dead)
{
    struct world w = world_new(ONE);

    break_target(&w, 0);
    begin(&w);
    CHECK_INT(w.f.tries[0].outcome, SKIPPED_OPEN);
    fail_with(&w, MODEL_GONE);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(failover_outcome(&w.f), MODEL_GONE);
    world_release(&w);
}

TEST(when_nobody_may_be_asked_at_all_the_refusal_tells_the_shortest_wait)
{
    struct world w = world_new(TWO);

    elsewhere(&w, 0, RATE_LIMITED, 40000); /* the first key, and the second */
    elsewhere(&w, 0, RATE_LIMITED, 40000);
    elsewhere(&w, 1, RATE_LIMITED, 25000);
    w.now += 5000;
    begin(&w);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.n_attempts, 0);
    CHECK_INT(w.f.n_tries, 2);
    CHECK_INT(failover_outcome(&w.f), SKIPPED_REST);
    CHECK_INT(w.f.retry_after_ms, 20000);
    world_release(&w);
}

TEST(without_any_target_the_refusal_blames_nobody)
{
    struct world w = world_new(ONE);

    failover_init(&w.f, &w.policy, 1, 1, &w.arena);
    failover_begin(&w.f, w.now, &w.orders);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.verdict, -1);
    CHECK_INT(failover_outcome(&w.f), LOCAL);
    CHECK(w.f.retry_after_ms == RETRY_AFTER_NONE);
    world_release(&w);
}

/* ---- a second target beside the first ------------------------------------------------------- */

/* A request over the targets that is not answered within its hedge time of a second. */
static struct world slow_request(const char *yaml)
{
    struct world w = world_new(yaml);

    w.policy.hedge_ms = 1000;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    return w;
}

/* ... and the second target has started. */
static struct world hedged_request(const char *yaml)
{
    struct world w = slow_request(yaml);

    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "try");
    act_on(&w, BESIDE, FAILOVER_CONNECTED);
    return w;
}

TEST(without_output_at_the_hedge_time_the_next_target_starts_beside)
{
    struct world w = slow_request(THREE);

    CHECK_INT(failover_due(&w.f), T0 + 1000);
    tick_at(&w, T0 + 999, false);
    CHECK_ORDERS(&w, "");
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "try");
    CHECK_INT(w.orders.v[0].try, 1);
    CHECK_STR(asked_on(&w, FIRST), "a/x");
    CHECK_STR(asked_on(&w, BESIDE), "b/x");
    CHECK(!w.f.tries[0].hedge && w.f.tries[1].hedge);
    CHECK_INT(w.f.tries[1].started_ms, T0 + 1000);
    CHECK(w.f.tries[1].ticket.away); /* it is new load there */
    world_release(&w);
}

TEST(a_hedge_is_started_while_connecting_too)
{
    struct world w = world_new(TWO);

    w.policy.hedge_ms = 1000;
    begin(&w);
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "try");
    world_release(&w);
}

TEST(the_first_targets_output_wins_and_the_hedge_is_dropped_without_blame)
{
    struct world w = hedged_request(TWO);

    w.now += 100;
    act_on(&w, FIRST, FAILOVER_OUTPUT);
    CHECK_ORDERS(&w, "drop commit");
    CHECK_INT(w.orders.v[0].try, 1);
    CHECK_INT(w.orders.v[1].try, 0);
    CHECK_INT(w.f.tries[1].outcome, HEDGE_LOST);
    CHECK_INT(target_of(&w, 1)->breaker.failures, 0);
    CHECK(!target_behind(target_of(&w, 1), w.now));
    CHECK_INT(atomic_load(&target_of(&w, 1)->in_flight), 0);
    complete(&w);
    CHECK_ORDERS(&w, "finish");
    CHECK_INT(w.f.verdict, 0);
    check_all_returned(&w);
    world_release(&w);
}

TEST(the_hedges_output_wins_and_the_first_target_was_slow)
{
    struct world w = hedged_request(TWO);

    w.now += 100;
    act_on(&w, BESIDE, FAILOVER_OUTPUT);
    CHECK_ORDERS(&w, "drop commit");
    CHECK_INT(w.orders.v[0].try, 0);
    CHECK_INT(w.orders.v[1].try, 1);
    CHECK_INT(w.f.tries[0].outcome, SLOWER);
    CHECK_INT(target_of(&w, 0)->breaker.failures, 0); /* slow is not dead */
    CHECK(target_behind(target_of(&w, 0), w.now));
    CHECK_STR(asked(&w), "b/x");
    complete(&w);
    CHECK_ORDERS(&w, "finish");
    CHECK_INT(w.f.verdict, 1);
    check_all_returned(&w);
    world_release(&w);
}

TEST(a_whole_answer_on_either_leg_wins_and_ends_it)
{
    for (int leg = FIRST; leg <= BESIDE; leg++) {
        struct world w = hedged_request(TWO);

        act_on(&w, (enum leg)leg, FAILOVER_COMPLETE);
        CHECK_ORDERS(&w, "drop commit finish");
        CHECK_INT(w.f.verdict, leg);
        CHECK_INT(w.f.tries[!leg].outcome, leg == FIRST ? HEDGE_LOST : SLOWER);
        check_all_returned(&w);
        world_release(&w);
    }
}

TEST(an_error_of_one_leg_is_swallowed_while_the_other_may_still_answer)
{
    static const enum failure kinds[] = {MALFORMED, SERVER_ERROR, RATE_LIMITED, AUTH, BAD_REQUEST};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        for (int leg = FIRST; leg <= BESIDE; leg++) {
            struct world w = hedged_request(THREE);

            fail_on(&w, (enum leg)leg, kinds[i]);
            CHECK_ORDERS(&w, "");
            CHECK_INT(w.f.tries[leg].outcome, kinds[i]);
            CHECK_STR(asked(&w), leg == FIRST ? "b/x" : "a/x");
            CHECK_INT(w.f.live[BESIDE], -1);
            act(&w, FAILOVER_OUTPUT);
            CHECK_ORDERS(&w, "commit");
            complete(&w);
            CHECK_INT(failover_outcome(&w.f), FAILURE_NONE);
            check_all_returned(&w);
            world_release(&w);
        }
    }
}

TEST(when_both_legs_fail_the_next_target_is_asked)
{
    struct world w = hedged_request(THREE);

    fail_on(&w, FIRST, MALFORMED);
    fail_on(&w, FIRST, MALFORMED); /* the hedge, which is the first now */
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "c/x");
    CHECK(!last_try(&w)->hedge);
    world_release(&w);
}

TEST(a_failure_that_no_target_can_mend_is_told_once_the_other_leg_has_failed_too)
{
    static const struct {
        enum failure first, hedge;
        int verdict;
    } rows[] = {{BAD_REQUEST, MALFORMED, 0}, {BAD_REQUEST, AUTH, 0}, {POLICY, BAD_REQUEST, 1}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = hedged_request(THREE);

        fail_on(&w, FIRST, rows[i].first);
        fail_on(&w, FIRST, rows[i].hedge);
        CHECK_ORDERS(&w, "refuse");
        CHECK_INT(w.f.verdict, rows[i].verdict);
        check_all_returned(&w);
        world_release(&w);
    }
}

TEST(there_is_one_hedge_and_no_second_one)
{
    struct world w = hedged_request(THREE);

    tick_at(&w, T0 + 20000, false);
    CHECK_ORDERS(&w, "");
    fail_on(&w, BESIDE, MALFORMED);
    CHECK_INT(failover_due(&w.f), w.now);
    tick_at(&w, w.now, false);
    CHECK_ORDERS(&w, "drop try"); /* another is asked, but in its place */
    CHECK_STR(asked(&w), "c/x");
    CHECK(w.f.live[1] < 0);
    world_release(&w);
}

TEST(a_time_limit_of_one_leg_leaves_the_other_alone)
{
    struct world w = hedged_request(TWO);

    CHECK_INT(failover_due(&w.f), T0 + 30000);
    tick_at(&w, T0 + 30000, false);
    CHECK_ORDERS(&w, "drop");
    CHECK_INT(w.f.tries[0].outcome, FIRST_TOKEN);
    CHECK_STR(asked(&w), "b/x");
    tick_at(&w, failover_due(&w.f), false); /* nobody is left to be asked in its place */
    CHECK_ORDERS(&w, "");
    tick_at(&w, T0 + 31000, false); /* its own */
    CHECK_ORDERS(&w, "drop refuse");
    check_all_returned(&w);
    world_release(&w);
}

TEST(limits_that_both_legs_reach_at_once_end_both)
{
    struct world w = hedged_request(TWO);

    tick_at(&w, T0 + 31000, false); /* a driver that slept too long */
    CHECK_ORDERS(&w, "drop drop refuse");
    CHECK_INT(w.f.tries[0].outcome, FIRST_TOKEN);
    CHECK_INT(w.f.tries[1].outcome, FIRST_TOKEN);
    check_all_returned(&w);
    world_release(&w);
}

TEST(each_leg_is_asked_about_its_own_tcp_connection)
{
    struct world w = world_new(TWO);
    struct failover_event tick = {.kind = FAILOVER_TICK, .retry_after_ms = RETRY_AFTER_NONE};

    w.policy.hedge_ms = 100;
    begin(&w);
    tick_at(&w, T0 + 100, false);
    tick.tcp_up[BESIDE] = true;
    w.now = T0 + 4100;
    step(&w, tick);
    CHECK_ORDERS(&w, "drop");
    CHECK_INT(w.f.tries[0].outcome, CONNECT_TIMEOUT);
    CHECK_STR(asked(&w), "b/x"); /* only its handshake is missing */
    world_release(&w);
}

TEST(no_hedge_starts_after_the_commit)
{
    struct world w = slow_request(TWO);

    act(&w, FAILOVER_OUTPUT);
    CHECK_INT(failover_due(&w.f), T0 + 20000);
    tick_at(&w, T0 + 10000, false);
    CHECK_ORDERS(&w, "");
    world_release(&w);
}

TEST(hedging_that_is_off_or_has_no_second_target_takes_no_time)
{
    struct world w = world_new(TWO);

    begin(&w); /* off: world.h */
    act(&w, FAILOVER_CONNECTED);
    CHECK_INT(failover_due(&w.f), T0 + 30000);
    world_release(&w);

    w = slow_request(ONE);
    CHECK_INT(failover_due(&w.f), T0 + 30000);
    world_release(&w);
}

TEST(a_hedge_is_an_attempt_of_max_attempts)
{
    struct world w = world_new(TWO);

    w.policy.hedge_ms = 1000;
    w.policy.max_attempts = 1;
    begin(&w);
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "");
    world_release(&w);
}

TEST(auto_is_eight_seconds_without_history_and_thirty_with_reasoning)
{
    static const struct {
        enum pace_kind kind;
        uint64_t ms;
    } rows[] = {{PACE_STREAM, 8000},
                {PACE_WHOLE, 8000},
                {PACE_STREAM_REASONING, 30000},
                {PACE_WHOLE_REASONING, 30000}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(TWO);

        w.policy.hedge_ms = FAILOVER_HEDGE_AUTO;
        w.policy.kind = rows[i].kind;
        w.timers.first_output = 60000;
        begin(&w);
        act(&w, FAILOVER_CONNECTED);
        CHECK_INT(failover_due(&w.f), T0 + rows[i].ms);
        world_release(&w);
    }
}

/* Somebody else's request with output after so long. */
static void output_after(struct world *w, unsigned i, uint64_t ms)
{
    struct ticket k = take(w, i);

    w->now += ms;
    target_output(target_of(w, i), &k, w->now);
    give(w, i, &k, FAILURE_NONE, RETRY_AFTER_NONE);
}

TEST(auto_learns_from_the_times_of_requests_of_the_same_kind)
{
    struct world w = world_new(TWO);
    uint64_t wait;

    for (unsigned i = 0; i < 20; i++)
        output_after(&w, 0, 1000);
    w.policy.hedge_ms = FAILOVER_HEDGE_AUTO;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    wait = failover_due(&w.f) - w.now;
    CHECK(wait >= 2000 && wait < 2500); /* times are kept in steps of a fifth */
    act(&w, FAILOVER_OUTPUT);
    CHECK_INT(target_of(&w, 0)->pace.times[PACE_STREAM].n, 21); /* this one as well */
    w.policy.kind = PACE_WHOLE;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    CHECK_INT(failover_due(&w.f), w.now + 8000);
    world_release(&w);
}

TEST(a_probe_is_hedged_after_two_seconds_whatever_the_ratio_says)
{
    struct world w = world_new(TWO);

    hedge_init(&w.set->hedge, 0, 0);
    break_target(&w, 0);
    w.now = target_of(&w, 0)->breaker.retry_at;
    w.policy.hedge_ms = 8000;
    begin(&w);
    CHECK(w.f.tries[0].ticket.probe);
    act(&w, FAILOVER_CONNECTED);
    CHECK_INT(failover_due(&w.f), w.now + 2000);
    tick_at(&w, w.now + 2000, false);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked_on(&w, BESIDE), "b/x");
    world_release(&w);
}

TEST(a_probe_whose_hedge_time_is_shorter_is_hedged_then)
{
    struct world w = world_new(TWO);

    break_target(&w, 0);
    w.now = target_of(&w, 0)->breaker.retry_at;
    w.policy.hedge_ms = 1500;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    CHECK_INT(failover_due(&w.f), w.now + 1500);
    world_release(&w);
}

TEST(a_hedge_costs_the_first_target_a_token)
{
    struct world w = hedged_request(TWO);

    CHECK(target_of(&w, 0)->budget.tokens == 9);
    CHECK(target_of(&w, 1)->budget.tokens == 10);
    world_release(&w);
}

TEST(the_first_target_is_the_first_that_was_asked)
{
    struct world w = world_new(THREE);

    break_target(&w, 0);
    w.policy.hedge_ms = 1000;
    begin(&w);
    tick_at(&w, T0 + 1000, false);
    CHECK_STR(asked_on(&w, BESIDE), "c/x");
    CHECK(target_of(&w, 1)->budget.tokens == 9);
    CHECK(target_of(&w, 0)->budget.tokens == 10);
    world_release(&w);
}

TEST(a_hedge_does_not_go_to_an_endpoint_that_failed_in_this_request)
{
    struct world w = world_new(NEIGHBOURS);

    w.policy.hedge_ms = 1000;
    begin(&w);
    fail_with(&w, BAD_GATEWAY);
    CHECK_STR(asked(&w), "b/x");
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "");
    world_release(&w);
}

TEST(no_hedge_begins_in_the_last_10_ms)
{
    static const struct {
        uint64_t total;
        const char *orders;
    } rows[] = {{1010, "try"}, {1009, ""}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(TWO);

        w.policy.total_ms = rows[i].total;
        w.policy.hedge_ms = 1000;
        begin(&w);
        tick_at(&w, T0 + 1000, false);
        CHECK_ORDERS(&w, rows[i].orders);
        world_release(&w);
    }
}

TEST(a_hedge_goes_to_the_first_target_where_all_is_well)
{
    struct world w = slow_request(THREE);

    break_target(&w, 1);
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked_on(&w, BESIDE), "c/x");
    world_release(&w);
}

TEST(a_hedge_does_not_go_where_the_request_cannot)
{
    struct world w = world_new(THREE);

    w.policy.hedge_ms = 1000;
    w.unfit = 2;
    begin(&w);
    tick_at(&w, T0 + 1000, false);
    CHECK_STR(asked_on(&w, BESIDE), "c/x");
    world_release(&w);
}

TEST(a_hedge_does_not_go_to_a_target_that_this_request_has_tried)
{
    struct world w = world_new(TWO);

    w.policy.hedge_ms = 1000;
    begin(&w);
    fail_with(&w, OVERLOADED);
    CHECK_STR(asked(&w), "b/x");
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "");
    world_release(&w);
}

/* ---- moved on ------------------------------------------------------------------------------- */

/* No hedge is granted to anybody. */
static struct world unhedged_request(const char *yaml)
{
    struct world w = slow_request(yaml);

    hedge_init(&w.set->hedge, 0, 0);
    return w;
}

TEST(where_no_hedge_is_granted_a_silent_target_is_left_for_the_next_one)
{
    struct world w = unhedged_request(THREE);

    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "drop try");
    CHECK_INT(w.orders.v[0].try, 0);
    CHECK_INT(w.f.tries[0].outcome, SLOWER);
    CHECK_STR(asked(&w), "b/x");
    CHECK(!w.f.tries[1].hedge);
    CHECK(target_behind(target_of(&w, 0), w.now));
    tick_at(&w, T0 + 2000, false); /* and the next one, which is silent too */
    CHECK_ORDERS(&w, "drop try");
    CHECK_STR(asked(&w), "c/x");
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "refuse"); /* whom it has left is not asked again */
    world_release(&w);
}

TEST(a_target_that_gives_others_output_meanwhile_is_left_for_a_token)
{
    struct world w = unhedged_request(THREE);

    output_after(&w, 0, 500);
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "drop try");
    CHECK(target_of(&w, 0)->budget.tokens == 9);
    world_release(&w);
}

TEST(a_silent_target_is_left_for_nothing)
{
    struct world w = unhedged_request(THREE);

    target_of(&w, 0)->budget.tokens = 0;
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "drop try");
    world_release(&w);
}

TEST(without_a_token_a_target_that_gives_others_output_is_waited_for)
{
    struct world w = unhedged_request(THREE);

    output_after(&w, 0, 500);
    target_of(&w, 0)->budget.tokens = 0;
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "");
    CHECK_INT(failover_due(&w.f), T0 + 1500); /* looks again every half second */
    target_of(&w, 0)->budget.tokens = 1;
    hedge_init(&w.set->hedge, 0, 1);
    tick_at(&w, T0 + 1500, false);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked_on(&w, BESIDE), "b/x");
    world_release(&w);
}

TEST(output_from_before_the_request_does_not_make_a_target_less_silent)
{
    struct world w = world_new(TWO);

    hedge_init(&w.set->hedge, 0, 0);
    output_after(&w, 0, 500);
    w.now += 1;
    w.policy.hedge_ms = 1000;
    begin(&w);
    tick_at(&w, w.now + 1000, false);
    CHECK_ORDERS(&w, "drop try");
    world_release(&w);
}

TEST(a_target_whose_breaker_opened_meanwhile_is_left_though_it_gave_output)
{
    struct world w = unhedged_request(TWO);

    output_after(&w, 0, 500);
    break_target(&w, 0);
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "drop try");
    CHECK_STR(asked(&w), "b/x");
    world_release(&w);
}

TEST(a_silent_target_is_not_left_for_one_that_cannot_be_asked_or_is_slow_itself)
{
    struct world w = unhedged_request(TWO);

    break_target(&w, 1);
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "");
    world_release(&w);

    w = unhedged_request(TWO);
    elsewhere(&w, 1, FIRST_TOKEN, RETRY_AFTER_NONE);
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "");
    CHECK_STR(asked(&w), "a/x");
    world_release(&w);
}

TEST(hedges_are_granted_up_to_the_floor_and_then_as_a_share_of_the_requests)
{
    struct world w = world_new(TWO);
    struct failover requests[3];
    unsigned beside = 0;

    w.policy.hedge_ms = 1000;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        begin(&w);
        requests[i] = w.f;
    }
    output_after(&w, 0, 500); /* the target is not silent */
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        w.f = requests[i];
        tick_at(&w, T0 + 1000, false);
        beside += w.f.live[BESIDE] >= 0;
    }
    CHECK_INT(beside, 2);
    world_release(&w);
}

TEST(a_request_is_counted_once_and_its_wish_for_a_hedge_once)
{
    struct world w = unhedged_request(TWO);

    output_after(&w, 0, 500);
    target_of(&w, 0)->budget.tokens = 0; /* it waits on */
    tick_at(&w, T0 + 1000, false);
    tick_at(&w, T0 + 1500, false);
    CHECK_INT(w.set->hedge.seconds[(T0 / 1000 + 1) % HEDGE_WINDOW_S].wanted, 1);
    world_release(&w);
}

/* ---- two legs and an end from outside ------------------------------------------------------- */

TEST(a_client_that_leaves_ends_both_legs_and_blames_nobody)
{
    struct world w = hedged_request(TWO);

    act(&w, FAILOVER_GONE);
    CHECK_ORDERS(&w, "drop drop");
    CHECK_INT(w.f.tries[0].outcome, CLIENT_GONE);
    CHECK_INT(w.f.tries[1].outcome, CLIENT_GONE);
    check_all_returned(&w);
    world_release(&w);
}

TEST(the_deadline_and_the_end_of_the_program_end_both_legs)
{
    struct world w = world_new(TWO);

    w.policy.total_ms = 3000;
    w.policy.hedge_ms = 1000;
    begin(&w);
    tick_at(&w, T0 + 1000, false);
    tick_at(&w, T0 + 3000, false);
    CHECK_ORDERS(&w, "drop drop refuse");
    CHECK_INT(failover_outcome(&w.f), DEADLINE);
    check_all_returned(&w);
    world_release(&w);

    w = hedged_request(TWO);
    act(&w, FAILOVER_STOP);
    CHECK_ORDERS(&w, "drop drop refuse");
    CHECK_INT(failover_outcome(&w.f), STOPPING);
    check_all_returned(&w);
    world_release(&w);
}

TEST(at_the_deadline_a_leg_whose_own_time_is_over_too_is_to_blame)
{
    struct world w = world_new(TWO);

    w.policy.total_ms = 4000;
    w.policy.hedge_ms = 1000;
    begin(&w);
    tick_at(&w, T0 + 1000, false);
    tick_at(&w, T0 + 4000, false);
    CHECK_INT(w.f.tries[0].outcome, CONNECT_TIMEOUT);
    CHECK_INT(w.f.tries[1].outcome, DEADLINE);
    world_release(&w);
}

TEST(at_the_deadline_each_leg_is_asked_about_its_own_tcp_connection)
{
    struct world w = world_new(TWO);
    struct failover_event tick = {.kind = FAILOVER_TICK, .retry_after_ms = RETRY_AFTER_NONE};

    w.policy.total_ms = 4500;
    w.policy.hedge_ms = 200;
    begin(&w);
    tick_at(&w, T0 + 200, false);
    tick.tcp_up[BESIDE] = true;
    w.now = T0 + 4500;
    step(&w, tick);
    CHECK_INT(w.f.tries[0].outcome, CONNECT_TIMEOUT);
    CHECK_INT(w.f.tries[1].outcome, DEADLINE);
    world_release(&w);
}

/* ---- waiting for a place -------------------------------------------------------------------- */

/* The first key of a target takes as many as are under way now, and no more. */
static void fill(struct world *w, unsigned i)
{
    struct limiter *l = &target_of(w, i)->limiters[0];

    l->capped = true;
    l->limit = l->in_flight;
    l->lost_ms = w->now;
}

/* A request that finds its only target full with one other request, whose ticket it returns. */
static struct ticket queue_up(struct world *w)
{
    struct ticket other = take(w, 0);

    fill(w, 0);
    begin(w);
    CHECK_ORDERS(w, "");
    CHECK_INT(w->set->queues[0].n, 1);
    return other;
}

TEST(a_request_whose_targets_are_full_waits_and_gets_the_place_that_comes_free)
{
    struct world w = world_new(ONE);
    struct ticket other = queue_up(&w);

    CHECK_INT(failover_due(&w.f), T0 + QUEUE_LOOK_MS);
    tick_at(&w, T0 + QUEUE_LOOK_MS, false);
    CHECK_ORDERS(&w, "");
    CHECK_INT(failover_due(&w.f), T0 + 2 * QUEUE_LOOK_MS);
    give(&w, 0, &other, FAILURE_NONE, RETRY_AFTER_NONE);
    tick_at(&w, T0 + 2 * QUEUE_LOOK_MS - 1, false);
    CHECK_ORDERS(&w, "");
    tick_at(&w, T0 + 2 * QUEUE_LOOK_MS, false);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "a/x");
    CHECK_INT(w.set->queues[0].n, 0);
    CHECK_INT(w.f.tries[0].outcome, SATURATED);
    CHECK_INT(w.f.n_tries, 2); /* however often it looked */
    CHECK_INT(w.f.queued_ms, 2 * QUEUE_LOOK_MS);
    complete(&w);
    check_all_returned(&w);
    world_release(&w);
}

TEST(nobody_waits_longer_than_the_policy_or_a_third_of_the_time_left)
{
    static const struct {
        uint64_t total, queue, wait;
    } rows[] = {{600000, 10000, 10000}, {21000, 10000, 7000}, {600000, 3000, 3000}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(ONE);
        struct ticket other = take(&w, 0);

        fill(&w, 0);
        w.policy.total_ms = rows[i].total;
        w.policy.queue_ms = rows[i].queue;
        begin(&w);
        CHECK_ORDERS(&w, "");
        tick_at(&w, T0 + rows[i].wait - 1, false);
        CHECK_ORDERS(&w, "");
        tick_at(&w, failover_due(&w.f), false);
        CHECK(w.now <= T0 + rows[i].wait + QUEUE_LOOK_MS);
        CHECK_ORDERS(&w, "refuse");
        CHECK_INT(failover_outcome(&w.f), QUEUE_FULL);
        CHECK(w.f.retry_after_ms >= 2000 && w.f.retry_after_ms <= 6000);
        give(&w, 0, &other, FAILURE_NONE, RETRY_AFTER_NONE);
        check_all_returned(&w);
        world_release(&w);
    }
}

TEST(a_third_of_what_is_left_and_not_of_the_whole_time_may_be_waited)
{
    struct world w = world_new(TWO);
    struct ticket other = take(&w, 1);

    fill(&w, 1);
    w.policy.total_ms = 32000;
    begin(&w);
    w.now = T0 + 20000;
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, ""); /* for a place at the second */
    CHECK_INT(w.f.queue_until_ms, T0 + 24000);
    give(&w, 1, &other, FAILURE_NONE, RETRY_AFTER_NONE);
    tick_at(&w, failover_due(&w.f), false);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "b/x");
    world_release(&w);
}

TEST(where_no_wait_is_allowed_a_full_target_refuses_at_once)
{
    struct world w = world_new(ONE);
    struct ticket other = take(&w, 0);

    fill(&w, 0);
    w.policy.queue_ms = 0;
    begin(&w);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(failover_outcome(&w.f), QUEUE_FULL);
    CHECK(w.f.retry_after_ms >= 2000 && w.f.retry_after_ms <= 6000);
    give(&w, 0, &other, FAILURE_NONE, RETRY_AFTER_NONE);
    world_release(&w);
}

TEST(who_finds_256_waiting_is_refused_at_once)
{
    static struct queue_waiter others[256];
    struct world w = world_new(ONE);
    struct ticket other = take(&w, 0);

    fill(&w, 0);
    memset(others, 0, sizeof(others));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        CHECK(target_queue_enter(w.set, 0, &others[i], 1, 256, w.now));
    begin(&w);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(failover_outcome(&w.f), QUEUE_FULL);
    target_queue_leave(w.set, 0, &others[255]);
    begin(&w);
    CHECK_ORDERS(&w, "");
    CHECK_INT(w.set->queues[0].n, 256);
    give(&w, 0, &other, FAILURE_NONE, RETRY_AFTER_NONE);
    world_release(&w);
}

TEST(refusals_of_full_targets_spread_the_time_to_come_again)
{
    struct world w = world_new(ONE);
    struct ticket other = take(&w, 0);
    uint64_t shortest = UINT64_MAX, longest = 0;

    fill(&w, 0);
    w.policy.queue_ms = 0;
    for (w.seed = 0; w.seed < 300; w.seed++) {
        begin(&w);
        shortest = w.f.retry_after_ms < shortest ? w.f.retry_after_ms : shortest;
        longest = w.f.retry_after_ms > longest ? w.f.retry_after_ms : longest;
    }
    CHECK(shortest < 2100 && longest > 5900);
    give(&w, 0, &other, FAILURE_NONE, RETRY_AFTER_NONE);
    world_release(&w);
}

TEST(whoever_ends_leaves_the_queue)
{
    static const struct {
        struct failover_event event;
        const char *orders;
        enum failure outcome;
    } rows[] = {
        {{.kind = FAILOVER_GONE}, "", CLIENT_GONE},
        {{.kind = FAILOVER_STOP}, "refuse", STOPPING},
        {{.kind = FAILOVER_TICK}, "refuse", DEADLINE}, /* of a driver that slept too long */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(ONE);
        struct ticket other = queue_up(&w);

        w.now = T0 + 600000;
        step(&w, rows[i].event);
        CHECK_ORDERS(&w, rows[i].orders);
        CHECK_INT(failover_outcome(&w.f), rows[i].outcome);
        give(&w, 0, &other, FAILURE_NONE, RETRY_AFTER_NONE);
        check_all_returned(&w);
        world_release(&w);
    }
}

TEST(who_comes_later_does_not_overtake_those_who_wait)
{
    struct world w = world_new(ONE);
    struct queue_waiter older[QUEUE_AT_ONCE] = {0};

    for (unsigned i = 0; i < QUEUE_AT_ONCE; i++)
        CHECK(target_queue_enter(w.set, 0, &older[i], 1, 256, w.now));
    begin(&w);
    CHECK_ORDERS(&w, ""); /* though there is room */
    tick_at(&w, failover_due(&w.f), false);
    CHECK_ORDERS(&w, "");
    target_queue_leave(w.set, 0, &older[0]);
    tick_at(&w, failover_due(&w.f), false);
    CHECK_ORDERS(&w, "try");
    world_release(&w);
}

TEST(while_another_one_is_full_a_dead_target_is_looked_at_once_a_second)
{
    struct world w = world_new(TWO);
    struct ticket other = take(&w, 1);
    struct failover first;

    fill(&w, 1);
    break_target(&w, 0);
    begin(&w);
    CHECK_STR(asked(&w), "a/x");
    first = w.f;
    begin(&w);
    CHECK_ORDERS(&w, ""); /* everybody else waits for a place */
    act(&w, FAILOVER_GONE);
    w.f = first;
    act(&w, FAILOVER_GONE);
    give(&w, 1, &other, FAILURE_NONE, RETRY_AFTER_NONE);
    check_all_returned(&w);
    world_release(&w);
}

TEST(after_an_attempt_no_dead_target_is_looked_at)
{
    struct world w = world_new(THREE);
    struct ticket other = take(&w, 2);

    fill(&w, 2);
    break_target(&w, 1);
    begin(&w);
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "");
    CHECK_INT(w.f.waiter.wants, 6); /* at once; it may be back while we wait for the other */
    act(&w, FAILOVER_GONE);
    give(&w, 2, &other, FAILURE_NONE, RETRY_AFTER_NONE);
    world_release(&w);
}

TEST(a_full_target_is_waited_for_after_the_others_have_failed)
{
    struct world w = world_new(THREE);
    struct ticket other = take(&w, 1);

    fill(&w, 1);
    begin(&w);
    fail_with(&w, MALFORMED);
    CHECK_STR(asked(&w), "c/x"); /* who has room comes first */
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "");
    CHECK_INT(w.f.waiter.wants, 2);
    give(&w, 1, &other, FAILURE_NONE, RETRY_AFTER_NONE);
    tick_at(&w, failover_due(&w.f), false);
    CHECK_STR(asked(&w), "b/x");
    world_release(&w);
}

TEST(places_are_those_of_the_route_and_not_of_the_order)
{
    struct world w = world_new(TWO);
    struct ticket other = take(&w, 1);

    fill(&w, 1);
    target_of(&w, 0)->rest = (struct rest){.until_ms = T0 + 60000, .firm_ms = T0 + 60000};
    w.turned = true;
    begin(&w);
    CHECK_INT(w.f.waiter.wants, 1); /* the second one's place is the first */
    give(&w, 1, &other, FAILURE_NONE, RETRY_AFTER_NONE);
    wait_for(&w);
    CHECK_STR(asked(&w), "b/x");
    world_release(&w);
}

TEST(each_route_has_a_queue_of_its_own)
{
    for (size_t queue = 0; queue < 2; queue++) {
        struct world w =
            world_new(HEALTH PROVIDERS PROVIDER("a", "k") "routes: [{model: m, targets: [a/x]},"
                                                          " {model: \"*\", targets: [a/x]}]\n");
        struct queue_waiter older = {0};

        w.policy.route = 1;
        CHECK(target_queue_enter(w.set, queue, &older, 1, 256, w.now));
        begin(&w);
        CHECK_ORDERS(&w, queue == 0 ? "try" : "");
        act(&w, FAILOVER_GONE);
        CHECK_INT(w.set->queues[queue].n, 1);
        world_release(&w);
    }
}

TEST(a_pause_comes_before_waiting_for_a_place)
{
    struct world w = world_new(TWO);
    struct ticket other = take(&w, 1);

    fill(&w, 1);
    begin(&w);
    fail_after(&w, OVERLOADED, 503, 2000);
    CHECK_INT(w.set->queues[0].n, 0);
    wait_for(&w);
    CHECK_STR(asked(&w), "a/x");
    give(&w, 1, &other, FAILURE_NONE, RETRY_AFTER_NONE);
    world_release(&w);
}

TEST(a_pause_may_be_followed_by_waiting_for_a_place)
{
    struct world w = world_new(TWO);
    struct ticket at_a, at_b;

    begin(&w);
    fail_with(&w, SERVER_ERROR);
    at_a = take(&w, 0), at_b = take(&w, 1);
    fill(&w, 0);
    fill(&w, 1);
    target_of(&w, 0)->rests[1].until_ms = UINT64_MAX; /* its other key */
    tick_at(&w, failover_due(&w.f), false);
    CHECK_INT(w.set->queues[0].n, 1);
    tick_at(&w, w.now + QUEUE_LOOK_MS - 1, false);
    CHECK_ORDERS(&w, "");
    give(&w, 1, &at_b, FAILURE_NONE, RETRY_AFTER_NONE);
    wait_for(&w);
    CHECK_STR(asked(&w), "b/x");
    give(&w, 0, &at_a, FAILURE_NONE, RETRY_AFTER_NONE);
    world_release(&w);
}

TEST(a_rest_that_ends_while_one_may_wait_is_waited_for_and_a_longer_one_is_told)
{
    struct world w = world_new(ONE);

    elsewhere(&w, 0, RATE_LIMITED, 10000);
    begin(&w);
    wait_for(&w);
    CHECK_ORDERS(&w, "try");
    CHECK(w.now >= T0 + 10000 && w.now <= T0 + 10000 + QUEUE_LOOK_MS);
    world_release(&w);

    w = world_new(ONE);
    elsewhere(&w, 0, RATE_LIMITED, 10001);
    begin(&w);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(failover_outcome(&w.f), SKIPPED_REST);
    CHECK_INT(w.f.retry_after_ms, 10001);
    world_release(&w);
}

TEST(a_heartbeat_goes_out_while_a_request_waits_for_a_place)
{
    struct world w = world_new(ONE);
    struct ticket other = take(&w, 0);

    fill(&w, 0);
    w.policy.heartbeat_ms = 3010; /* between two looks */
    begin(&w);
    wait_for(&w);
    CHECK_INT(w.now, T0 + 3010);
    CHECK_ORDERS(&w, "heartbeat");
    tick_at(&w, T0 + 10000, false);
    CHECK_ORDERS(&w, "break"); /* the status line is out */
    CHECK_INT(failover_outcome(&w.f), QUEUE_FULL);
    give(&w, 0, &other, FAILURE_NONE, RETRY_AFTER_NONE);
    world_release(&w);
}

/* ---- the timers ----------------------------------------------------------------------------- */

/* Nothing happens a ms before `at`; at it the attempt is dropped for `why`. */
static void check_timer(struct world *w, uint64_t at, bool tcp_up, enum failure why)
{
    CHECK_INT(failover_due(&w->f), at);
    tick_at(w, at - 1, tcp_up);
    CHECK_ORDERS(w, "");
    CHECK_INT(failover_due(&w->f), at);
    tick_at(w, at, tcp_up);
    CHECK_ORDERS(w, "drop try");
    CHECK_INT(w->f.tries[0].outcome, why);
    CHECK_INT(w->f.tries[0].ended_ms, at);
    CHECK_INT(w->f.tries[1].started_ms, at);
    CHECK_STR(asked(w), "b/x");
}

TEST(a_connection_that_is_not_up_at_connect_ends_the_attempt)
{
    struct world w = world_new(TWO);

    begin(&w);
    check_timer(&w, T0 + 4000, false, CONNECT_TIMEOUT);
    world_release(&w);
}

TEST(a_handshake_that_is_not_done_at_tls_ends_the_attempt)
{
    struct world w = world_new(TWO);

    begin(&w);
    CHECK_INT(failover_due(&w.f), T0 + 4000);
    tick_at(&w, T0 + 4000, true);
    CHECK_ORDERS(&w, "");
    check_timer(&w, T0 + 6000, true, TLS_FAILED);
    world_release(&w);
}

TEST(a_tls_limit_shorter_than_connect_does_not_cut_connecting_short)
{
    struct world w = world_new(TWO);

    w.timers.tls = 2000;
    begin(&w);
    CHECK_INT(failover_due(&w.f), T0 + 2000);
    tick_at(&w, T0 + 2000, false);
    CHECK_ORDERS(&w, "");
    check_timer(&w, T0 + 4000, false, CONNECT_TIMEOUT);
    world_release(&w);
}

TEST(no_output_at_first_token_ends_the_attempt_though_it_is_alive)
{
    struct world w = world_new(TWO);

    begin(&w);
    w.now += 3000;
    act(&w, FAILOVER_CONNECTED);
    w.now += 20000;
    act(&w, FAILOVER_PROGRESS); /* signs of life are no output */
    check_timer(&w, T0 + 30000, false, FIRST_TOKEN);
    world_release(&w);
}

TEST(first_token_holds_while_connecting_too)
{
    struct world w = world_new(TWO);

    w.timers.first_output = 1500;
    begin(&w);
    check_timer(&w, T0 + 1500, false, FIRST_TOKEN);
    world_release(&w);
}

TEST(silence_after_output_ends_the_attempt_at_idle_since_the_last_sign)
{
    struct world w = world_new(TWO);

    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    w.now += 29999;
    act(&w, FAILOVER_OUTPUT);
    CHECK_INT(failover_due(&w.f), w.now + 20000);
    w.now += 19999;
    failover_progress(&w.f, true, w.now);
    CHECK_INT(failover_due(&w.f), w.now + 20000);
    tick_at(&w, w.now + 19999, false);
    CHECK_ORDERS(&w, "");
    tick_at(&w, w.now + 1, false);
    CHECK_ORDERS(&w, "drop break");
    CHECK_INT(w.f.tries[0].outcome, IDLE);
    world_release(&w);
}

TEST(one_deadline_covers_all_attempts_and_waits)
{
    struct world w = world_new(THREE);

    w.policy.total_ms = 10000;
    begin(&w);
    tick_at(&w, T0 + 4000, false);
    CHECK_ORDERS(&w, "drop try");
    w.now = T0 + 7000;
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "try");
    act(&w, FAILOVER_CONNECTED);
    CHECK_INT(failover_due(&w.f), T0 + 10000);
    tick_at(&w, T0 + 9999, false);
    CHECK_ORDERS(&w, "");
    tick_at(&w, T0 + 10000, false);
    CHECK_ORDERS(&w, "drop refuse");
    CHECK_INT(failover_outcome(&w.f), DEADLINE);
    CHECK_INT(target_of(&w, 2)->breaker.failures, 0); /* our limit is not its fault */
    check_all_returned(&w);
    world_release(&w);
}

TEST(the_deadline_ends_a_wait_as_well)
{
    struct world w = world_new(ONE);

    w.policy.total_ms = 3000;
    begin(&w);
    fail_after(&w, OVERLOADED, 503, 2000);
    tick_at(&w, T0 + 3000, false); /* a driver that slept too long */
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(failover_outcome(&w.f), DEADLINE);
    CHECK_INT(last_try(&w)->candidate, UINT8_MAX);
    world_release(&w);
}

TEST(no_try_begins_in_the_last_10_ms)
{
    struct world w = world_new(TWO);

    w.policy.total_ms = 1000;
    begin(&w);
    w.now = T0 + 991;
    fail_with(&w, RESET);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(failover_outcome(&w.f), DEADLINE);
    world_release(&w);

    w = world_new(TWO);
    w.policy.total_ms = 1000;
    begin(&w);
    w.now = T0 + 990;
    fail_with(&w, RESET);
    CHECK_ORDERS(&w, "try");
    world_release(&w);
}

TEST(a_target_whose_time_ends_with_the_requests_is_blamed_in_the_trail_and_not_to_the_client)
{
    struct world w = world_new(ONE);

    w.policy.total_ms = 4000;
    begin(&w);
    tick_at(&w, T0 + 4000, false);
    CHECK_ORDERS(&w, "drop refuse");
    CHECK_INT(w.f.tries[0].outcome, CONNECT_TIMEOUT);
    CHECK_INT(failover_outcome(&w.f), DEADLINE);
    world_release(&w);
}

TEST(there_is_no_wait_without_a_timer)
{
    struct world w = world_new(TWO);

    begin(&w);
    CHECK(failover_due(&w.f) > w.now && failover_due(&w.f) < w.f.deadline_ms);
    tick_at(&w, T0 + 4000, true);
    CHECK(failover_due(&w.f) > w.now && failover_due(&w.f) < w.f.deadline_ms);
    tick_at(&w, T0 + 5000, true);
    act(&w, FAILOVER_CONNECTED);
    CHECK(failover_due(&w.f) > w.now && failover_due(&w.f) < w.f.deadline_ms);
    act(&w, FAILOVER_OUTPUT);
    CHECK(failover_due(&w.f) > w.now && failover_due(&w.f) < w.f.deadline_ms);
    act(&w, FAILOVER_STOPPED);
    CHECK(failover_due(&w.f) > w.now && failover_due(&w.f) < w.f.deadline_ms);
    world_release(&w);
}

/* ---- commit and after ----------------------------------------------------------------------- */

TEST(an_answer_is_committed_once_however_much_output_comes)
{
    struct world w = world_new(TWO);

    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    act(&w, FAILOVER_OUTPUT);
    CHECK_ORDERS(&w, "commit");
    w.now += 5;
    act(&w, FAILOVER_OUTPUT);
    CHECK_ORDERS(&w, "");
    CHECK_INT(w.f.tries[0].output_ms, T0);
    complete(&w);
    CHECK_ORDERS(&w, "finish");
    world_release(&w);
}

TEST(an_answer_in_one_piece_is_committed_and_finished_together)
{
    struct world w = world_new(TWO);

    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    w.now += 700;
    complete(&w);
    CHECK_ORDERS(&w, "commit finish");
    CHECK_INT(w.f.tries[0].status, 200);
    CHECK_INT(w.f.tries[0].ended_ms, T0 + 700);
    world_release(&w);
}

TEST(after_the_commit_no_failure_leads_to_another_try)
{
    for (unsigned i = 0; i < FAILURE_KINDS; i++) {
        struct world w;

        if (!ends_attempts((enum failure)i))
            continue;
        w = world_new(TWO);
        begin(&w);
        fail_with(&w, OVERLOADED); /* ... and one that could be asked again */
        act(&w, FAILOVER_CONNECTED);
        act(&w, FAILOVER_OUTPUT);
        w.now += 1000;
        fail_with(&w, (enum failure)i);
        CHECK_ORDERS(&w, "break");
        CHECK(w.f.ended);
        CHECK_INT(w.f.verdict, 1);
        CHECK_INT(failover_outcome(&w.f), i);
        check_all_returned(&w);
        world_release(&w);
    }
}

TEST(the_first_output_wins_a_probe_though_the_answer_breaks_off_later)
{
    struct world w = world_new(ONE);

    break_target(&w, 0);
    w.now = target_of(&w, 0)->breaker.retry_at;
    for (unsigned won = 0; won < 3; won++) {
        begin(&w);
        CHECK_INT(target_of(&w, 0)->breaker.state, BREAKER_HALF_OPEN);
        CHECK_INT(target_of(&w, 0)->breaker.won, won);
        act(&w, FAILOVER_CONNECTED);
        act(&w, FAILOVER_OUTPUT);
        fail_with(&w, TRUNCATED);
        CHECK_ORDERS(&w, "break");
    }
    CHECK_INT(target_of(&w, 0)->breaker.state, BREAKER_CLOSED);
    CHECK_INT(target_of(&w, 0)->breaker.failures, 1); /* the one after it had closed */
    world_release(&w);
}

TEST(after_the_finish_reason_500_ms_of_silence_are_a_whole_answer)
{
    struct world w = world_new(TWO);

    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    act(&w, FAILOVER_OUTPUT);
    w.now += 3000;
    act(&w, FAILOVER_STOPPED);
    CHECK_ORDERS(&w, "");
    CHECK_INT(failover_due(&w.f), w.now + 500);
    tick_at(&w, w.now + 499, false);
    CHECK_ORDERS(&w, "");
    tick_at(&w, w.now + 1, false);
    CHECK_ORDERS(&w, "finish");
    CHECK_INT(failover_outcome(&w.f), FAILURE_NONE);
    CHECK_INT(w.f.tries[0].status, 200);
    world_release(&w);
}

TEST(an_answer_without_output_that_was_cut_short_is_committed_when_it_is_whole)
{
    struct world w = world_new(TWO);

    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    act(&w, FAILOVER_STOPPED);
    tick_at(&w, w.now + 500, false);
    CHECK_ORDERS(&w, "commit finish");
    world_release(&w);
}

TEST(the_deadline_does_not_break_an_answer_whose_finish_reason_is_there)
{
    struct world w = world_new(TWO);

    w.policy.total_ms = 1000;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    act(&w, FAILOVER_OUTPUT);
    w.now = T0 + 900;
    act(&w, FAILOVER_STOPPED);
    CHECK_INT(failover_due(&w.f), T0 + 1000);
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "finish");
    CHECK_INT(failover_outcome(&w.f), FAILURE_NONE);
    world_release(&w);
}

TEST(the_deadline_after_the_commit_breaks_the_answer)
{
    struct world w = world_new(TWO);

    w.policy.total_ms = 1000;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    act(&w, FAILOVER_OUTPUT);
    tick_at(&w, T0 + 1000, false);
    CHECK_ORDERS(&w, "drop break");
    CHECK_INT(failover_outcome(&w.f), DEADLINE);
    world_release(&w);
}

TEST(the_end_of_the_program_does_not_break_an_answer_whose_finish_reason_is_there)
{
    struct world w = world_new(TWO);

    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    act(&w, FAILOVER_OUTPUT);
    act(&w, FAILOVER_STOPPED);
    act(&w, FAILOVER_STOP);
    CHECK_ORDERS(&w, "finish");
    CHECK_INT(failover_outcome(&w.f), FAILURE_NONE);
    world_release(&w);
}

/* ---- ends from outside ---------------------------------------------------------------------- */

TEST(a_client_that_leaves_ends_the_attempt_and_blames_nobody)
{
    struct world w = world_new(TWO);

    begin(&w);
    fail_with(&w, MALFORMED);
    act(&w, FAILOVER_CONNECTED);
    act(&w, FAILOVER_GONE);
    CHECK_ORDERS(&w, "drop");
    CHECK(w.f.ended);
    CHECK_INT(w.f.tries[1].outcome, CLIENT_GONE);
    CHECK_INT(failover_outcome(&w.f), CLIENT_GONE);
    CHECK_INT(target_of(&w, 1)->breaker.failures, 0);
    CHECK_INT(atomic_load(&target_of(&w, 1)->failures), 0);
    check_all_returned(&w);
    world_release(&w);
}

TEST(a_client_may_leave_during_a_back_off)
{
    struct world w = world_new(ONE);

    begin(&w);
    fail_with(&w, RESET);
    act(&w, FAILOVER_GONE);
    CHECK_ORDERS(&w, "");
    CHECK(w.f.ended);
    CHECK_INT(failover_outcome(&w.f), CLIENT_GONE);
    CHECK_INT(last_try(&w)->candidate, UINT8_MAX);
    world_release(&w);
}

TEST(the_end_of_the_program_refuses_with_a_time_or_breaks_what_has_begun)
{
    static const struct {
        bool committed;
        const char *orders;
    } rows[] = {{false, "drop refuse"}, {true, "drop break"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(TWO);

        begin(&w);
        act(&w, FAILOVER_CONNECTED);
        if (rows[i].committed)
            act(&w, FAILOVER_OUTPUT);
        step(&w, (struct failover_event){.kind = FAILOVER_STOP, .retry_after_ms = 1000});
        CHECK_ORDERS(&w, rows[i].orders);
        CHECK_INT(failover_outcome(&w.f), STOPPING);
        CHECK_INT(w.f.retry_after_ms, 1000);
        CHECK_INT(target_of(&w, 0)->breaker.failures, 0);
        check_all_returned(&w);
        world_release(&w);
    }
}

TEST(the_end_of_the_program_blames_nobody_whatever_the_time_is)
{
    struct world w = world_new(ONE);

    begin(&w);
    w.now += 4000;
    act(&w, FAILOVER_STOP);
    CHECK_INT(w.f.tries[0].outcome, STOPPING);
    CHECK_INT(target_of(&w, 0)->provider->endpoint->breaker.failures, 0);
    world_release(&w);
}

TEST(the_end_of_the_program_ends_a_back_off_too)
{
    struct world w = world_new(ONE);

    begin(&w);
    fail_with(&w, RESET);
    act(&w, FAILOVER_STOP);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(failover_outcome(&w.f), STOPPING);
    world_release(&w);
}

/* ---- heartbeats ----------------------------------------------------------------------------- */

TEST(silence_towards_the_client_is_broken_by_a_heartbeat_each_time_it_lasts_too_long)
{
    struct world w = world_new(TWO);

    w.policy.heartbeat_ms = 9000;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    for (uint64_t at = T0 + 9000; at <= T0 + 27000; at += 9000) {
        CHECK_INT(failover_due(&w.f), at);
        tick_at(&w, at - 1, false);
        CHECK_ORDERS(&w, "");
        tick_at(&w, at, false);
        CHECK_ORDERS(&w, "heartbeat");
    }
    world_release(&w);
}

TEST(a_heartbeat_is_due_from_the_last_byte_that_the_client_got)
{
    struct world w = world_new(TWO);

    w.policy.heartbeat_ms = 9000;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    w.now += 5000;
    act(&w, FAILOVER_PROGRESS); /* held back: the client has seen nothing of it */
    CHECK_INT(failover_due(&w.f), T0 + 9000);
    act(&w, FAILOVER_OUTPUT);
    CHECK_INT(failover_due(&w.f), T0 + 14000);
    w.now += 1000;
    failover_progress(&w.f, true, w.now);
    CHECK_INT(failover_due(&w.f), T0 + 15000);
    tick_at(&w, T0 + 15000, false);
    CHECK_ORDERS(&w, "heartbeat");
    world_release(&w);
}

TEST(events_of_the_answer_that_goes_out_put_off_the_heartbeat)
{
    struct world w = world_new(TWO);

    w.policy.heartbeat_ms = 9000;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    act(&w, FAILOVER_OUTPUT);
    w.now += 1000;
    act(&w, FAILOVER_OUTPUT);
    CHECK_INT(failover_due(&w.f), T0 + 10000);
    w.now += 1000;
    act(&w, FAILOVER_PROGRESS);
    CHECK_INT(failover_due(&w.f), T0 + 11000);
    world_release(&w);
}

TEST(a_heartbeat_may_come_with_a_change_of_targets)
{
    struct world w = world_new(TWO);

    w.policy.heartbeat_ms = 4000;
    begin(&w);
    tick_at(&w, T0 + 4000, false);
    CHECK_ORDERS(&w, "drop try heartbeat");
    world_release(&w);
}

TEST(after_a_heartbeat_a_failure_moves_on_and_the_last_one_breaks)
{
    struct world w = world_new(TWO);

    w.policy.heartbeat_ms = 3000;
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    tick_at(&w, T0 + 3000, false);
    CHECK_ORDERS(&w, "heartbeat");
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "try");
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "break");
    world_release(&w);
}

TEST(after_a_heartbeat_a_failure_that_no_target_can_mend_breaks)
{
    struct world w = world_new(TWO);

    w.policy.heartbeat_ms = 3000;
    begin(&w);
    tick_at(&w, T0 + 3000, false);
    CHECK_ORDERS(&w, "heartbeat");
    fail_with(&w, BAD_REQUEST);
    CHECK_ORDERS(&w, "break");
    world_release(&w);
}

TEST(a_heartbeat_is_sent_during_a_back_off)
{
    struct world w = world_new(ONE);

    w.policy.heartbeat_ms = 1500;
    begin(&w);
    fail_after(&w, OVERLOADED, 503, 2000);
    CHECK_INT(failover_due(&w.f), T0 + 1500);
    tick_at(&w, T0 + 1500, false);
    CHECK_ORDERS(&w, "heartbeat");
    CHECK(failover_due(&w.f) >= T0 + 2000 && failover_due(&w.f) <= T0 + 2200);
    world_release(&w);
}

TEST(without_a_heartbeat_time_there_are_no_heartbeats)
{
    struct world w = world_new(ONE);

    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    CHECK_INT(failover_due(&w.f), T0 + 30000);
    tick_at(&w, T0 + 29999, false);
    CHECK_ORDERS(&w, "");
    world_release(&w);
}

/* ---- what is told --------------------------------------------------------------------------- */

TEST(of_all_failures_the_one_that_helps_most_is_told_and_of_equals_the_last)
{
    static const struct {
        enum failure first, second, third;
        int verdict;
    } rows[] = {
        {RATE_LIMITED, SERVER_ERROR, AUTH, 0}, {AUTH, SERVER_ERROR, MODEL_GONE, 1},
        {MALFORMED, IDLE, MALFORMED, 2},       {AUTH, MODEL_GONE, REDIRECT, 1},
        {MODEL_GONE, AUTH, UNSUPPORTED, 2},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(THREE);

        w.policy.per_target = 1;
        begin(&w);
        fail_with(&w, rows[i].first);
        fail_with(&w, rows[i].second);
        fail_with(&w, rows[i].third);
        CHECK_ORDERS(&w, "refuse");
        CHECK_INT(w.f.verdict, rows[i].verdict);
        world_release(&w);
    }
}

TEST(the_shortest_wait_of_all_is_told)
{
    struct world w = world_new(THREE);

    begin(&w);
    fail_after(&w, RATE_LIMITED, 429, 30000);
    fail_after(&w, RATE_LIMITED, 429, 7000);
    fail_after(&w, RATE_LIMITED, 429, 12000);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.retry_after_ms, 7000);
    CHECK_INT(w.f.verdict, 2);
    world_release(&w);
}

TEST(who_had_no_room_and_names_no_time_is_told_to_be_asked_in_a_second)
{
    struct world w = world_new(ONE);

    w.policy.max_attempts = 1;
    begin(&w);
    fail_with(&w, RATE_LIMITED);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.retry_after_ms, 1000);
    world_release(&w);

    w = world_new(TWO);
    w.policy.max_attempts = 1;
    target_of(&w, 0)->limiters[0].capped = target_of(&w, 0)->limiters[1].capped = true;
    target_of(&w, 0)->limiters[0].limit = target_of(&w, 0)->limiters[1].limit = 0;
    begin(&w);
    fail_with(&w, MALFORMED);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.retry_after_ms, 1000); /* the first, which was full */
    world_release(&w);
}

TEST(what_a_target_rests_for_is_told_to_those_who_come_meanwhile)
{
    struct world w = world_new(ONE);

    elsewhere(&w, 0, MODEL_GONE, RETRY_AFTER_NONE);
    begin(&w);
    CHECK_ORDERS(&w, "try"); /* one a second */
    act(&w, FAILOVER_GONE);
    w.now += 999;
    begin(&w);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.tries[0].outcome, SKIPPED_REST);
    CHECK_INT(failover_outcome(&w.f), MODEL_GONE);
    w.now += 1;
    begin(&w);
    CHECK_ORDERS(&w, "try");
    world_release(&w);
}

TEST(a_failure_that_speaks_for_itself_brings_its_own_wait_or_none)
{
    struct world w = world_new(THREE);

    begin(&w);
    fail_after(&w, RATE_LIMITED, 429, 7000);
    fail_with(&w, CONTEXT_LENGTH);
    CHECK_ORDERS(&w, "refuse");
    CHECK_INT(w.f.verdict, 1);
    CHECK(w.f.retry_after_ms == RETRY_AFTER_NONE);
    world_release(&w);
}

TEST(the_trail_keeps_each_attempts_status_and_times)
{
    struct world w = world_new(TWO);

    begin(&w);
    w.now += 120;
    fail_after(&w, SERVER_ERROR, 503, 5000);
    CHECK_INT(w.f.tries[0].outcome, SERVER_ERROR);
    CHECK_INT(w.f.tries[0].status, 503);
    CHECK_INT(w.f.tries[0].retry_after_ms, 5000);
    CHECK_INT(w.f.tries[0].started_ms, T0);
    CHECK_INT(w.f.tries[0].ended_ms, T0 + 120);
    CHECK_INT(w.f.tries[0].output_ms, 0);
    CHECK_INT(w.f.tries[1].started_ms, T0 + 120);
    CHECK_INT(w.f.tries[1].phase, PHASE_CONNECTING);
    world_release(&w);
}

TEST(the_longest_trail_has_room)
{
    struct world w = world_new(TWO);
    struct ticket others[2] = {take(&w, 0), take(&w, 1)};
    char *behind; /* in memory, what comes after the lines */

    fill(&w, 0);
    fill(&w, 1);
    target_of(&w, 0)->rests[1].until_ms = UINT64_MAX;
    prepare(&w);
    behind = arena_alloc(&w.arena, 64);
    memset(behind, 'x', 64);
    failover_begin(&w.f, w.now, &w.orders); /* both are passed over */
    for (unsigned i = 0; i < 2; i++)
        give(&w, i, &others[i], FAILURE_NONE, RETRY_AFTER_NONE);
    for (unsigned i = 0; i < 4; i++) {
        while (w.f.live[FIRST] < 0)
            tick_at(&w, failover_due(&w.f), false);
        if (i < 3)
            fail_with(&w, SERVER_ERROR);
    }
    act(&w, FAILOVER_GONE); /* and its own end */
    CHECK_INT(w.f.n_tries, 2 + 4 + 1);
    for (unsigned i = 0; i < 64; i++)
        CHECK_INT(behind[i], 'x');
    world_release(&w);
}

/* ---- requests that are mended, or do not fit ------------------------------------------------ */

static void refuse_a_parameter(struct world *w, bool mended)
{
    step(w, (struct failover_event){.kind = FAILOVER_FAILED,
                                    .try = w->f.live[FIRST],
                                    .failure = UNSUPPORTED,
                                    .status = 400,
                                    .mended = mended,
                                    .retry_after_ms = RETRY_AFTER_NONE});
}

TEST(a_mended_request_goes_to_the_same_target_at_once)
{
    struct world w = world_new(TWO);

    begin(&w);
    refuse_a_parameter(&w, true);
    CHECK_ORDERS(&w, "try");
    CHECK_STR(asked(&w), "a/x");
    CHECK_INT(w.f.tries[1].ticket.key, 0); /* it was not the key's fault */
    refuse_a_parameter(&w, true);          /* twice is enough for one target */
    CHECK_STR(asked(&w), "b/x");
    world_release(&w);
}

TEST(a_refusal_that_cannot_be_mended_moves_on)
{
    struct world w = world_new(TWO);

    begin(&w);
    refuse_a_parameter(&w, false);
    CHECK_STR(asked(&w), "b/x");
    CHECK_INT(target_of(&w, 0)->breaker.failures, 0);
    world_release(&w);
}

TEST(a_target_that_a_request_does_not_fit_is_never_asked)
{
    struct world w = world_new(TWO);

    w.unfit = 1;
    begin(&w);
    CHECK_STR(asked(&w), "b/x");
    CHECK_INT(w.f.tries[0].outcome, UNFIT);
    CHECK_INT(w.f.n_attempts, 1);
    fail_with(&w, MODEL_GONE);
    CHECK_ORDERS(&w, "refuse");
    world_release(&w);

    w = world_new(TWO);
    w.unfit = 3;
    begin(&w);
    CHECK_ORDERS(&w, "refuse"); /* not even as the last resort */
    CHECK_INT(w.f.n_attempts, 0);
    world_release(&w);
}

TEST(who_is_put_behind_is_asked_after_the_others_and_still_before_nobody)
{
    struct world w = world_new(TWO);

    prepare(&w);
    w.f.candidates[0].behind = true;
    failover_begin(&w.f, w.now, &w.orders);
    CHECK_STR(w.f.candidates[w.f.tries[0].candidate].target->name, "b/x");
    fail_on(&w, FIRST, REFUSED);
    CHECK_STR(w.f.candidates[w.f.tries[1].candidate].target->name, "a/x");
    world_release(&w);
}

TEST_MAIN()
