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

/* As many probes as may go now. */
static unsigned ask_all(struct breaker *b, uint64_t now)
{
    unsigned n = 0;

    while (breaker_ask(b, now) != 0)
        n++;
    return n;
}

static void win_times(struct breaker *b, unsigned n, uint64_t now)
{
    for (unsigned i = 0; i < n; i++)
        breaker_ok(b, breaker_ask(b, now), now);
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

    fail_times(&b, 4, 0);
    breaker_ok(&b, breaker_ask(&b, 0), 0);
    fail_times(&b, 5, 0);
    win_times(&b, 8, 5000);
    fail_times(&b, 1, 5000); /* with those before it, 10 of 19 in the window */
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
        win_times(&b, 3, 100000);
        fail_times(&b, 5, 100000);
        CHECK_INT(b.state, BREAKER_OPEN);
        CHECK(b.retry_at >= 102500 && b.retry_at <= 105000);
    }
}

TEST(after_cooling_one_probe_goes_then_three_then_five_and_three_wins_close)
{
    struct breaker b = fresh();
    breaker_pass first, second;

    fail_times(&b, 5, 0);
    CHECK(b.retry_at >= 2500 && b.retry_at <= 5000);
    CHECK_INT(breaker_ask(&b, b.retry_at - 1), 0);
    first = breaker_ask(&b, 5000);
    CHECK(breaker_is_probe(&b, first));
    CHECK_INT(ask_all(&b, 5000), 0);
    CHECK_INT(breaker_output(&b, first, 5100), 0);
    CHECK_INT(b.state, BREAKER_HALF_OPEN);
    second = breaker_ask(&b, 5100);
    CHECK_INT(ask_all(&b, 5100), 2);
    CHECK_INT(breaker_output(&b, second, 5200), 0);
    CHECK_INT(ask_all(&b, 5200), 3); /* two are still out */
    CHECK_INT(b.state, BREAKER_HALF_OPEN);
    second = breaker_output(&b, second, 5300);
    CHECK_INT(b.state, BREAKER_CLOSED);
    CHECK_INT(second, b.epoch); /* it goes on as any request */
    CHECK_INT(breaker_wait_ms(&b, 5300), 0);
}

TEST(one_failed_probe_opens_it_again_whatever_was_won)
{
    struct breaker b = fresh();

    fail_times(&b, 5, 0);
    win_times(&b, 2, 5000);
    fail_times(&b, 1, 5000);
    CHECK_INT(b.state, BREAKER_OPEN);
    CHECK(b.retry_at >= 10000 && b.retry_at <= 15000); /* for longer than the first time */
    CHECK(breaker_ask(&b, b.retry_at) != 0);
    CHECK_INT(ask_all(&b, b.retry_at), 0); /* and the wins are forgotten */
}

TEST(what_a_probe_does_after_its_output_says_nothing_more)
{
    struct breaker b = fresh();
    breaker_pass p;

    fail_times(&b, 5, 0);
    p = breaker_output(&b, breaker_ask(&b, 5000), 5000);
    breaker_fail(&b, p, 6000);
    breaker_ok(&b, p, 6000);
    CHECK_INT(b.state, BREAKER_HALF_OPEN);
    CHECK_INT(ask_all(&b, 6000), 3); /* one win, not two */
}

TEST(a_probe_that_never_comes_back_frees_its_place_after_half_a_minute)
{
    struct breaker b = fresh();

    fail_times(&b, 5, 0);
    CHECK_INT(ask_all(&b, 5000), 1);
    CHECK_INT(breaker_wait_ms(&b, 34999), 1000);
    CHECK_INT(ask_all(&b, 34999), 0);
    CHECK_INT(breaker_wait_ms(&b, 35000), 0);
    CHECK_INT(ask_all(&b, 35000), 1);
}

TEST(without_requests_its_state_and_its_wait_are_told_all_the_same)
{
    struct breaker b = fresh();

    fail_times(&b, 5, 0);
    CHECK_INT(breaker_wait_ms(&b, 0), b.retry_at);
    CHECK_INT(breaker_wait_ms(&b, b.retry_at), 0);
    CHECK_STR(breaker_state_name(b.state), "open");
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
    CHECK_INT(b.state, BREAKER_HALF_OPEN);
    CHECK_INT(ask_all(&b, 5001), 1);
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
    CHECK_INT(b.state, BREAKER_OPEN);
    CHECK_INT(breaker_ask_last_resort(&b, 1199), 0);
    CHECK(breaker_ask_last_resort(&b, 1200) != 0);
}

TEST(the_last_resort_goes_beside_probes_that_hang)
{
    struct breaker b = fresh();

    fail_times(&b, 5, 0);
    CHECK_INT(ask_all(&b, 5000), 1);
    CHECK(breaker_is_probe(&b, breaker_ask_last_resort(&b, 5000)));
    CHECK_INT(breaker_ask_last_resort(&b, 5999), 0);
    CHECK(breaker_ask_last_resort(&b, 6000) != 0);
}

TEST(a_pass_is_late_once_the_state_has_changed)
{
    struct breaker b = fresh();
    breaker_pass p = breaker_ask(&b, 0);

    CHECK(!breaker_is_late(&b, p));
    fail_times(&b, 5, 0);
    CHECK(breaker_is_late(&b, p));
}

TEST(the_window_counts_what_came_back)
{
    struct breaker b = fresh();
    unsigned ok, failed;

    breaker_ok(&b, breaker_ask(&b, 1000), 1000);
    fail_times(&b, 2, 5000);
    breaker_drop(&b, breaker_ask(&b, 5000), 5000);
    breaker_counts(&b, 10999, &ok, &failed);
    CHECK(ok == 1 && failed == 2);
    breaker_counts(&b, 11000, &ok, &failed);
    CHECK(ok == 0 && failed == 2);
}

TEST(who_goes_on_for_another_one_keeps_its_state_and_asks_for_new_probes)
{
    struct breaker old = fresh(), b = fresh();

    b.cfg.consecutive = 9;
    fail_times(&old, 5, 1000);
    breaker_inherit(&b, &old, 1001);
    CHECK_INT(b.state, BREAKER_OPEN);
    CHECK_INT(b.cfg.consecutive, 9);
    CHECK_INT(breaker_ask(&b, 1001), 0);
    CHECK_INT(breaker_wait_ms(&b, 1001), breaker_wait_ms(&old, 1001));

    CHECK(breaker_ask(&old, 1000 + 20000) != 0); /* a probe, whose result comes back there only */
    CHECK_INT(old.state, BREAKER_HALF_OPEN);
    b = fresh();
    breaker_inherit(&b, &old, 1000 + 20000);
    CHECK(breaker_ask(&b, 1000 + 20000) != 0);
}

TEST_MAIN()
