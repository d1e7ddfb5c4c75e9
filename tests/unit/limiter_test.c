#include "proxy/limiter.h"

#include "tests/unit/check.h"

#define T0 1000000

#define HOME false
#define AWAY true

static struct limiter fresh(void)
{
    struct limiter l;

    limiter_init(&l, 0.5, true);
    return l;
}

static unsigned take_all(struct limiter *l, bool away, uint64_t now)
{
    unsigned n = 0;

    while (n < 1000 && limiter_take(l, away, now))
        n++;
    return n;
}

static void give_times(struct limiter *l, bool away, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        limiter_give(l, away);
}

/* Requests that end so within the second that begins now: as they come back. */
static void results(struct limiter *l, unsigned ok, unsigned lost, uint64_t now)
{
    for (unsigned i = 0; i < ok; i++)
        limiter_ok(l, now);
    for (unsigned i = 0; i < lost; i++)
        limiter_lost(l, now);
}

/* As many requests as it takes, all of them accepted, for a second. */
static unsigned full_second(struct limiter *l, bool away, uint64_t now)
{
    unsigned n = take_all(l, away, now);

    results(l, n, 0, now);
    give_times(l, away, n);
    return n;
}

TEST(requests_at_home_have_no_limit_as_long_as_nothing_is_lost)
{
    struct limiter l = fresh();

    CHECK_INT(take_all(&l, HOME, T0), 1000);
    CHECK_INT(limiter_limit(&l), 0);
}

TEST(new_load_begins_with_twenty_and_grows_by_half_each_second)
{
    struct limiter l = fresh();

    CHECK_INT(full_second(&l, AWAY, T0), 20);
    CHECK_INT(full_second(&l, AWAY, T0 + 1000), 30);
    CHECK_INT(full_second(&l, AWAY, T0 + 2000), 45);
}

TEST(what_is_under_way_at_home_takes_no_place_from_new_load)
{
    struct limiter l = fresh();

    CHECK_INT(take_all(&l, HOME, T0), 1000);
    CHECK_INT(take_all(&l, AWAY, T0), 20);
}

TEST(a_limit_that_was_not_used_does_not_grow)
{
    struct limiter l = fresh();

    for (unsigned i = 0; i < 20; i++) {
        CHECK(limiter_take(&l, AWAY, T0 + 1000 * i));
        limiter_ok(&l, T0 + 1000 * i);
        limiter_give(&l, AWAY);
    }
    CHECK_INT(take_all(&l, AWAY, T0 + 20000), 20);
}

TEST(a_second_in_which_nothing_came_back_changes_nothing)
{
    struct limiter l = fresh();

    CHECK_INT(take_all(&l, AWAY, T0), 20);
    CHECK_INT(take_all(&l, AWAY, T0 + 5000), 0);
}

TEST(losses_within_the_tolerance_are_borne)
{
    struct limiter l = fresh();

    CHECK_INT(take_all(&l, HOME, T0), 1000);
    results(&l, 5, 5, T0);
    results(&l, 1, 0, T0 + 1000);
    CHECK_INT(limiter_limit(&l), 0);
}

TEST(a_second_with_more_losses_makes_a_limit_for_all)
{
    struct limiter l = fresh();

    for (unsigned i = 0; i < 40; i++)
        CHECK(limiter_take(&l, HOME, T0));
    results(&l, 0, 2, T0);
    CHECK_INT(limiter_limit(&l), 0); /* two show nothing before the second is over */
    results(&l, 1, 0, T0 + 1000);
    CHECK_INT(limiter_limit(&l), 28); /* of the forty that were under way, three tenths less */
    CHECK(!limiter_take(&l, HOME, T0 + 1000));
}

TEST(a_small_loss_that_is_too_much_cuts_by_half_of_it)
{
    struct limiter l;

    limiter_init(&l, 0.1, true);
    for (unsigned i = 0; i < 100; i++)
        CHECK(limiter_take(&l, HOME, T0));
    results(&l, 8, 2, T0);
    results(&l, 1, 0, T0 + 1000);
    CHECK_INT(limiter_limit(&l), 90);
}

TEST(several_losses_at_once_make_what_is_under_way_the_limit)
{
    struct limiter l = fresh();

    for (unsigned i = 0; i < 40; i++)
        CHECK(limiter_take(&l, HOME, T0));
    for (unsigned i = 0; i < 30; i++) { /* it takes ten */
        limiter_give(&l, HOME);
        limiter_lost(&l, T0);
    }
    CHECK_INT(limiter_limit(&l), 10);
    CHECK(!limiter_take(&l, HOME, T0));
}

TEST(losses_in_a_row_never_make_it_less_than_two)
{
    struct limiter l = fresh();

    for (unsigned i = 0; i < 60; i++)
        results(&l, 0, 1, T0 + 1000 * i);
    CHECK_INT(limiter_limit(&l), 2);
    CHECK_INT(take_all(&l, HOME, T0 + 60000), 2);
}

TEST(half_of_a_limited_target_is_kept_for_those_at_home)
{
    struct limiter l = fresh();

    for (unsigned i = 0; i < 40; i++)
        CHECK(limiter_take(&l, HOME, T0));
    results(&l, 0, 2, T0);
    results(&l, 1, 0, T0 + 1000);
    give_times(&l, HOME, 40);
    CHECK_INT(take_all(&l, AWAY, T0 + 1000), 14);
    CHECK(limiter_use(&l) >= 1); /* full for those from elsewhere */
    CHECK_INT(take_all(&l, HOME, T0 + 1000), 14);
}

TEST(nothing_is_kept_where_nobody_is_at_home)
{
    struct limiter l;

    limiter_init(&l, 0.5, false);
    CHECK_INT(take_all(&l, AWAY, T0), 20);
    results(&l, 0, 2, T0);
    results(&l, 1, 0, T0 + 1000);
    give_times(&l, AWAY, 20);
    CHECK_INT(take_all(&l, AWAY, T0 + 1000), 14);
}

TEST(after_losses_it_holds_then_grows_slowly_then_fast_and_is_forgotten_after_a_minute)
{
    struct limiter l = fresh();

    for (unsigned i = 0; i < 40; i++)
        CHECK(limiter_take(&l, HOME, T0));
    results(&l, 0, 2, T0);
    results(&l, 1, 0, T0 + 1000);
    give_times(&l, HOME, 40);
    CHECK_INT(full_second(&l, HOME, T0 + 1500), 28);
    CHECK_INT(full_second(&l, HOME, T0 + 2500), 28);
    CHECK_INT(full_second(&l, HOME, T0 + 4999), 28);
    CHECK_INT(full_second(&l, HOME, T0 + 6000), 29);
    CHECK_INT(full_second(&l, HOME, T0 + 7000), 30);
    CHECK_INT(full_second(&l, HOME, T0 + 9999), 32);
    CHECK_INT(full_second(&l, HOME, T0 + 11000), 48);
    limiter_ok(&l, T0 + 60000);
    CHECK(limiter_limit(&l) > 0);
    limiter_ok(&l, T0 + 61001);
    CHECK_INT(limiter_limit(&l), 0);
    CHECK_INT(take_all(&l, HOME, T0 + 61001), 1000);
}

TEST(refused_again_and_again_it_is_left_alone_for_a_while_that_doubles)
{
    static const uint64_t pauses[] = {250, 500, 1000, 2000, 4000, 4000};
    struct limiter l = fresh();
    uint64_t now = T0;

    for (unsigned i = 0; i < 3; i++)
        limiter_refused(&l, now);
    CHECK(limiter_take(&l, HOME, now));
    for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
        limiter_refused(&l, now);
        limiter_refused(&l, now); /* who was on the way as well tells nothing new */
        CHECK(!limiter_take(&l, HOME, now + pauses[i] - 1));
        now += pauses[i];
        CHECK(limiter_take(&l, HOME, now));
    }
}

TEST(what_is_accepted_ends_the_pause)
{
    struct limiter l = fresh();

    for (unsigned i = 0; i < 4; i++)
        limiter_refused(&l, T0);
    CHECK(!limiter_take(&l, HOME, T0));
    limiter_ok(&l, T0);
    CHECK(limiter_take(&l, HOME, T0));
    for (unsigned i = 0; i < 3; i++)
        limiter_refused(&l, T0); /* and the row begins anew */
    CHECK(limiter_take(&l, HOME, T0));
}

TEST(after_an_outage_even_those_at_home_come_by_and_by)
{
    struct limiter l = fresh();

    limiter_recover(&l, T0);
    CHECK_INT(full_second(&l, HOME, T0), 20);
    CHECK_INT(full_second(&l, HOME, T0 + 1000), 30);
    CHECK_INT(full_second(&l, HOME, T0 + 2000), 45);
}

TEST(after_an_outage_a_limited_target_begins_with_half_and_grows_fast)
{
    struct limiter l = fresh();

    for (unsigned i = 0; i < 40; i++)
        CHECK(limiter_take(&l, HOME, T0));
    results(&l, 0, 2, T0);
    results(&l, 1, 0, T0 + 1000);
    give_times(&l, HOME, 40);
    limiter_recover(&l, T0 + 5000);
    CHECK_INT(full_second(&l, HOME, T0 + 5000), 14);
    CHECK_INT(full_second(&l, HOME, T0 + 6000), 21);
}

TEST(how_much_is_in_use_is_seen_as_a_request_from_elsewhere_sees_it)
{
    struct limiter l = fresh();

    CHECK_INT(take_all(&l, HOME, T0), 1000);
    CHECK(limiter_use(&l) == 0); /* no limit */
    for (unsigned i = 0; i < 10; i++)
        CHECK(limiter_take(&l, AWAY, T0));
    CHECK(limiter_use(&l) == 0.5);
    limiter_recover(&l, T0); /* now the twenty are for all */
    CHECK(limiter_use(&l) > 1);
}

TEST_MAIN()
