#include "proxy/pace.h"

#include "tests/unit/check.h"

#define T0 1000000

static struct pace fresh(void)
{
    struct pace p;

    pace_init(&p);
    return p;
}

static void outputs(struct pace *p, enum pace_kind kind, unsigned n, uint64_t ms)
{
    for (unsigned i = 0; i < n; i++)
        pace_output(p, kind, ms, T0);
}

/* ---- times ---------------------------------------------------------------------------------- */

TEST(without_history_a_hedge_waits_for_eight_seconds_and_longer_with_reasoning)
{
    struct pace p = fresh();

    CHECK_INT(pace_hedge_ms(&p, PACE_STREAM), 8000);
    CHECK_INT(pace_hedge_ms(&p, PACE_WHOLE), 8000);
    CHECK_INT(pace_hedge_ms(&p, PACE_STREAM_REASONING), 30000);
    CHECK_INT(pace_hedge_ms(&p, PACE_WHOLE_REASONING), 30000);
    outputs(&p, PACE_STREAM, 9, 2000);
    CHECK_INT(pace_hedge_ms(&p, PACE_STREAM), 8000);
}

TEST(with_history_it_waits_for_twice_the_95th_percentile)
{
    struct pace p = fresh();

    outputs(&p, PACE_STREAM, 95, 1000);
    outputs(&p, PACE_STREAM, 5, 9000);
    CHECK(pace_hedge_ms(&p, PACE_STREAM) >= 2000 && pace_hedge_ms(&p, PACE_STREAM) <= 2400);
    outputs(&p, PACE_STREAM, 5, 9000); /* now more than a twentieth */
    CHECK(pace_hedge_ms(&p, PACE_STREAM) >= 18000 && pace_hedge_ms(&p, PACE_STREAM) <= 21600);
}

TEST(it_waits_for_at_least_one_second_and_at_most_thirty)
{
    struct pace p = fresh();

    outputs(&p, PACE_STREAM, 20, 3);
    outputs(&p, PACE_WHOLE, 20, 40000);
    CHECK_INT(pace_hedge_ms(&p, PACE_STREAM), 1000);
    CHECK_INT(pace_hedge_ms(&p, PACE_WHOLE), 30000);
}

TEST(kinds_of_requests_are_measured_apart)
{
    struct pace p = fresh();

    outputs(&p, PACE_WHOLE, 20, 10000);
    CHECK_INT(pace_hedge_ms(&p, PACE_STREAM), 8000);
    CHECK_INT(pace_quantile(&p, PACE_STREAM, 0.5), 0);
    CHECK(pace_quantile(&p, PACE_WHOLE, 0.5) >= 10000);
}

TEST(a_quantile_is_right_to_a_fifth_over_the_whole_range)
{
    for (uint64_t ms = 5; ms < 400000; ms = ms * 3 / 2) {
        struct pace p = fresh();

        outputs(&p, PACE_STREAM, 10, ms);
        CHECK(pace_quantile(&p, PACE_STREAM, 0.5) >= ms - 1);
        CHECK(pace_quantile(&p, PACE_STREAM, 0.5) <= ms * 6 / 5 + 1);
    }
}

TEST(times_beyond_the_range_count_as_its_ends)
{
    struct pace p = fresh();

    outputs(&p, PACE_STREAM, 10, 0);
    outputs(&p, PACE_WHOLE, 10, UINT32_MAX);
    CHECK_INT(pace_quantile(&p, PACE_STREAM, 1), 5);
    CHECK(pace_quantile(&p, PACE_WHOLE, 0.5) >= 400000);
}

TEST(what_is_typical_counts_reasoning_too_and_from_the_first_answer_on)
{
    struct pace p = fresh();

    CHECK_INT(pace_typical(&p, true, 0.5), 0);
    outputs(&p, PACE_WHOLE, 1, 40000);
    CHECK_INT(pace_typical(&p, true, 0.95), 0);
    outputs(&p, PACE_STREAM, 1, 100);
    CHECK(pace_typical(&p, true, 0.95) >= 100 && pace_typical(&p, true, 0.95) <= 120);
    outputs(&p, PACE_STREAM_REASONING, 1, 9000);
    CHECK(pace_typical(&p, true, 0.5) >= 100 && pace_typical(&p, true, 0.5) <= 120);
    CHECK(pace_typical(&p, true, 0.95) >= 9000 && pace_typical(&p, true, 0.95) <= 10800);
    CHECK(pace_typical(&p, false, 0.95) >= 40000);
}

TEST(old_times_fade)
{
    struct pace p = fresh();

    outputs(&p, PACE_STREAM, 5000, 100);
    outputs(&p, PACE_STREAM, 1000, 2000);
    CHECK(pace_quantile(&p, PACE_STREAM, 0.5) >= 2000);
}

/* ---- the soft memory ------------------------------------------------------------------------ */

TEST(after_a_slow_failure_it_is_behind_for_five_seconds_and_then_one_may_try)
{
    struct pace p = fresh();

    CHECK_INT(pace_place(&p, T0), PACE_FRONT);
    pace_failed(&p, T0);
    CHECK_INT(pace_place(&p, T0 + 4999), PACE_BEHIND);
    CHECK_INT(pace_place(&p, T0 + 5000), PACE_TRIAL);
    pace_try(&p, T0 + 5000);
    CHECK_INT(pace_place(&p, T0 + 5000), PACE_BEHIND);
    CHECK_INT(pace_place(&p, T0 + 14999), PACE_BEHIND);
    CHECK_INT(pace_place(&p, T0 + 15000), PACE_TRIAL); /* it is out for so long: another one */
}

TEST(output_brings_it_to_the_front_at_once)
{
    struct pace p = fresh();

    pace_failed(&p, T0);
    pace_output(&p, PACE_STREAM, 300, T0 + 1);
    CHECK_INT(pace_place(&p, T0 + 1), PACE_FRONT);
    pace_failed(&p, T0 + 2);
    CHECK_INT(pace_place(&p, T0 + 5002), PACE_TRIAL); /* the short time again */
}

TEST(each_failed_trial_doubles_the_time_up_to_a_minute)
{
    static const uint64_t times[] = {5000, 10000, 20000, 40000, 60000, 60000};
    struct pace p = fresh();
    uint64_t now = T0;

    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        pace_failed(&p, now);
        CHECK_INT(pace_place(&p, now + times[i] - 1), PACE_BEHIND);
        now += times[i];
        CHECK_INT(pace_place(&p, now), PACE_TRIAL);
        pace_try(&p, now);
    }
}

TEST(failures_of_requests_that_were_out_together_count_once)
{
    struct pace p = fresh();

    for (unsigned i = 0; i < 20; i++)
        pace_failed(&p, T0 + i);
    CHECK_INT(pace_place(&p, T0 + 5000), PACE_TRIAL);
    pace_try(&p, T0 + 5000);
    for (unsigned i = 0; i < 20; i++)
        pace_failed(&p, T0 + 6000 + i);
    CHECK_INT(pace_place(&p, T0 + 16000), PACE_TRIAL);
}

TEST(a_trial_that_says_nothing_makes_room_for_another_at_once)
{
    struct pace p = fresh();

    pace_failed(&p, T0);
    pace_try(&p, T0 + 5000);
    pace_unsaid(&p, T0 + 6000);
    CHECK_INT(pace_place(&p, T0 + 6000), PACE_TRIAL);
    pace_failed(&p, T0 + 6000); /* the second time, not the third */
    CHECK_INT(pace_place(&p, T0 + 16000), PACE_TRIAL);
}

TEST(a_target_that_became_much_slower_than_usual_is_behind)
{
    struct pace p = fresh();

    outputs(&p, PACE_STREAM, 100, 500);
    outputs(&p, PACE_STREAM, 7, 5000);
    CHECK_INT(pace_place(&p, T0), PACE_FRONT);
    outputs(&p, PACE_STREAM, 1, 5000);
    CHECK_INT(pace_place(&p, T0), PACE_BEHIND);
    CHECK_INT(pace_place(&p, T0 + 5000), PACE_TRIAL);
}

TEST(up_to_four_times_the_usual_is_not_slow)
{
    struct pace p = fresh();

    outputs(&p, PACE_STREAM, 100, 500);
    outputs(&p, PACE_STREAM, 20, 2000);
    CHECK_INT(pace_place(&p, T0), PACE_FRONT);
}

TEST(a_few_slow_outputs_among_quick_ones_are_nothing)
{
    struct pace p = fresh();

    outputs(&p, PACE_STREAM, 100, 500);
    for (unsigned i = 0; i < 8; i++) {
        outputs(&p, PACE_STREAM, 2, 5000);
        CHECK_INT(pace_place(&p, T0), PACE_FRONT);
        outputs(&p, PACE_STREAM, 1, 500);
    }
}

TEST(slow_output_after_a_timeout_is_output_all_the_same)
{
    struct pace p = fresh();

    outputs(&p, PACE_STREAM, 100, 500);
    pace_failed(&p, T0);
    pace_try(&p, T0 + 5000);
    pace_output(&p, PACE_STREAM, 3000, T0 + 8000);
    CHECK_INT(pace_place(&p, T0 + 8000), PACE_FRONT);
}

TEST_MAIN()
