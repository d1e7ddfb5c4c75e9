#include "proxy/hedge.h"

#include "tests/unit/check.h"

#define T0 1000000

static struct hedge fresh(void)
{
    struct hedge h;

    hedge_init(&h, 0.05, 2);
    return h;
}

static void requests(struct hedge *h, unsigned n, uint64_t now)
{
    for (unsigned i = 0; i < n; i++)
        hedge_request(h, now);
}

/* So many that want one in turn; how many get it. */
static unsigned hedges(struct hedge *h, unsigned n, uint64_t now)
{
    unsigned granted = 0;

    for (unsigned i = 0; i < n; i++) {
        hedge_want(h, now);
        granted += hedge_grant(h, now);
    }
    return granted;
}

TEST(two_in_ten_seconds_are_always_granted)
{
    struct hedge h = fresh();

    CHECK_INT(hedges(&h, 5, T0), 2);
    CHECK_INT(hedges(&h, 5, T0 + 9000), 0);
    CHECK_INT(hedges(&h, 5, T0 + 10000), 2);
}

TEST(beyond_those_they_are_a_twentieth_of_the_requests)
{
    struct hedge h = fresh();

    requests(&h, 100, T0);
    CHECK_INT(hedges(&h, 20, T0), 5);
    requests(&h, 100, T0 + 30000);
    CHECK_INT(hedges(&h, 20, T0 + 30000), 5);
}

TEST(requests_and_hedges_of_more_than_a_minute_ago_count_no_more)
{
    struct hedge h = fresh();

    requests(&h, 100, T0);
    CHECK_INT(hedges(&h, 3, T0), 3);
    requests(&h, 60, T0 + 59000);
    CHECK_INT(hedges(&h, 8, T0 + 59000), 5); /* of 160 requests, beside those three */
    requests(&h, 60, T0 + 60000);
    CHECK_INT(hedges(&h, 8, T0 + 60000), 1); /* of 120, beside those five */
}

TEST(when_more_than_a_fifth_want_one_there_are_only_those_few)
{
    struct hedge h = fresh();

    requests(&h, 1000, T0);
    for (unsigned i = 0; i < 200; i++)
        hedge_want(&h, T0);
    CHECK(hedge_grant(&h, T0) && hedge_grant(&h, T0) && hedge_grant(&h, T0));
    hedge_want(&h, T0);
    CHECK(!hedge_grant(&h, T0));
    requests(&h, 1000, T0 + 10000); /* ten seconds on, those that wanted one are forgotten */
    CHECK_INT(hedges(&h, 10, T0 + 10000), 10);
}

TEST(a_ratio_of_nothing_leaves_the_floor_and_a_floor_of_nothing_the_ratio)
{
    struct hedge h;

    hedge_init(&h, 0, 1);
    requests(&h, 1000, T0);
    CHECK_INT(hedges(&h, 10, T0), 1);
    hedge_init(&h, 0.01, 0);
    CHECK_INT(hedges(&h, 1, T0), 0);
    requests(&h, 200, T0);
    CHECK_INT(hedges(&h, 10, T0), 2);
}

TEST_MAIN()
