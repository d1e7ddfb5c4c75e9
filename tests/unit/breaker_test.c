#include "proxy/breaker.h"

#include "tests/unit/check.h"

static const struct breaker_config cfg = {
    .consecutive = 5,
    .min_calls = 10,
    .failure_rate = 0.5,
    .window_ms = 10000,
    .open_base_ms = 5000,
    .open_cap_ms = 15000,
};

static struct breaker fresh(void)
{
    struct breaker b;

    breaker_init(&b, &cfg, 1);
    return b;
}

static void fail_times(struct breaker *b, unsigned n, uint64_t now)
{
    for (unsigned i = 0; i < n; i++)
        breaker_fail(b, breaker_ask(b, now), now);
}

TEST(five_failures_in_a_row_open_it)
{
    struct breaker b = fresh();

    fail_times(&b, 4, 0);
    CHECK_INT(b.state, BREAKER_CLOSED);
    fail_times(&b, 1, 0);
    CHECK_INT(b.state, BREAKER_OPEN);
    CHECK_INT(breaker_ask(&b, 1), 0);
}

TEST(a_success_between_ends_the_streak)
{
    struct breaker b = fresh();

    fail_times(&b, 4, 0);
    breaker_ok(&b, breaker_ask(&b, 0), 0);
    fail_times(&b, 4, 0);
    CHECK_INT(b.state, BREAKER_CLOSED);
}

TEST(failures_more_than_a_minute_apart_are_no_streak)
{
    struct breaker b = fresh();

    for (uint64_t i = 0; i < 20; i++)
        fail_times(&b, 1, i * 61000);
    CHECK_INT(b.state, BREAKER_CLOSED);
}

TEST(half_of_ten_results_in_the_window_open_it)
{
    struct breaker b = fresh();

    for (unsigned i = 0; i < 4; i++) {
        breaker_ok(&b, breaker_ask(&b, 100 * i), 100 * i);
        fail_times(&b, 1, 100 * i);
    }
    breaker_ok(&b, breaker_ask(&b, 500), 500);
    CHECK_INT(b.state, BREAKER_CLOSED);
    fail_times(&b, 1, 600);
    CHECK_INT(b.state, BREAKER_OPEN);
}

TEST(results_older_than_the_window_do_not_count)
{
    struct breaker b = fresh();

    for (unsigned i = 0; i < 4; i++) {
        fail_times(&b, 1, i);
        breaker_ok(&b, breaker_ask(&b, i), i);
    }
    breaker_ok(&b, breaker_ask(&b, 11500), 11500);
    fail_times(&b, 1, 11500);
    CHECK_INT(b.state, BREAKER_CLOSED);
}

TEST(a_tenth_that_comes_round_again_starts_empty)
{
    struct breaker b = fresh();

    for (unsigned i = 0; i < 4; i++) {
        fail_times(&b, 1, 0);
        breaker_ok(&b, breaker_ask(&b, 0), 0);
    }
    breaker_ok(&b, breaker_ask(&b, 10000), 10000);
    fail_times(&b, 1, 10000);
    CHECK_INT(b.state, BREAKER_CLOSED);
}

TEST(what_was_before_a_recovery_counts_no_more)
{
    struct breaker b = fresh();
    breaker_pass probe;

    fail_times(&b, 5, 0);
    probe = breaker_output(&b, breaker_ask(&b, 5000), 5000);
    breaker_ok(&b, probe, 5000);
    for (unsigned i = 0; i < 5; i++)
        breaker_ok(&b, breaker_ask(&b, 5000), 5000);
    fail_times(&b, 1, 5000); /* with those before it, 6 of 12 in the window */
    CHECK_INT(b.state, BREAKER_CLOSED);
}

TEST(a_target_that_had_recovered_is_open_for_the_short_time_again)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct breaker b;

        breaker_init(&b, &cfg, seed);
        fail_times(&b, 5, 0);
        for (unsigned i = 0; i < 4; i++)
            fail_times(&b, 1, b.retry_at);
        breaker_ok(&b, breaker_ask(&b, 100000), 100000);
        fail_times(&b, 5, 100000);
        CHECK_INT(b.state, BREAKER_OPEN);
        CHECK(b.retry_at >= 102500 && b.retry_at <= 105000);
    }
}

TEST(after_cooling_exactly_one_probe_goes_and_its_output_closes)
{
    struct breaker b = fresh();
    breaker_pass probe;

    fail_times(&b, 5, 0);
    CHECK(b.retry_at >= 2500 && b.retry_at <= 5000);
    CHECK_INT(breaker_ask(&b, b.retry_at - 1), 0);
    probe = breaker_ask(&b, 5000);
    CHECK(probe != 0);
    CHECK_INT(breaker_ask(&b, 5000), 0);
    CHECK_INT(breaker_ask(&b, 60000), 0);
    probe = breaker_output(&b, probe, 60000);
    CHECK_INT(b.state, BREAKER_CLOSED);
    breaker_ok(&b, probe, 60001);
    CHECK(breaker_ask(&b, 60001) != 0);
}

TEST(a_failed_probe_opens_it_for_longer_up_to_the_cap)
{
    struct breaker b = fresh();
    uint64_t now = 0, longest = 0;

    fail_times(&b, 5, 0);
    for (unsigned i = 0; i < 8; i++) {
        now = b.retry_at;
        breaker_fail(&b, breaker_ask(&b, now), now);
        CHECK_INT(b.state, BREAKER_OPEN);
        if (b.retry_at - now > longest)
            longest = b.retry_at - now;
    }
    CHECK(longest > 7500 && longest <= 15000);
}

TEST(a_probe_without_verdict_makes_room_for_the_next)
{
    struct breaker b = fresh();

    fail_times(&b, 5, 0);
    breaker_drop(&b, breaker_ask(&b, 5000), 5001);
    CHECK_INT(b.state, BREAKER_OPEN);
    CHECK(breaker_ask(&b, 5001) != 0);
    CHECK_INT(breaker_ask(&b, 5001), 0);
}

TEST(a_late_result_from_before_the_outage_does_not_end_the_probe)
{
    struct breaker b = fresh();
    breaker_pass slow = breaker_ask(&b, 0), probe;

    fail_times(&b, 5, 0);
    probe = breaker_ask(&b, 5000);
    breaker_ok(&b, slow, 5001);
    CHECK_INT(b.state, BREAKER_HALF_OPEN);
    breaker_fail(&b, probe, 5002);
    CHECK_INT(b.state, BREAKER_OPEN);
}

TEST(a_late_output_from_before_the_outage_does_not_win_the_probe)
{
    struct breaker b = fresh();
    breaker_pass slow = breaker_ask(&b, 0);

    fail_times(&b, 5, 0);
    CHECK(breaker_ask(&b, 5000) != 0);
    CHECK_INT(breaker_output(&b, slow, 5001), slow);
    CHECK_INT(b.state, BREAKER_HALF_OPEN);
}

TEST(neutral_results_move_nothing)
{
    struct breaker b = fresh();

    fail_times(&b, 4, 0);
    breaker_drop(&b, breaker_ask(&b, 0), 0);
    CHECK_INT(b.failures, 4);
    fail_times(&b, 1, 0);
    CHECK_INT(b.state, BREAKER_OPEN);
}

TEST(the_last_resort_lets_one_a_second_through)
{
    struct breaker b = fresh();
    breaker_pass p;

    fail_times(&b, 5, 100);
    p = breaker_ask_last_resort(&b, 200);
    CHECK(p != 0);
    CHECK_INT(breaker_ask_last_resort(&b, 200), 0);
    breaker_fail(&b, p, 300);
    CHECK_INT(breaker_ask_last_resort(&b, 1199), 0);
    CHECK(breaker_ask_last_resort(&b, 1200) != 0);
}

TEST_MAIN()
