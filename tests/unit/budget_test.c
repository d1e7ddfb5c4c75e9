#include "proxy/budget.h"

#include "tests/unit/check.h"

#define T0 1000000

static struct budget fresh(void)
{
    struct budget b;

    budget_init(&b, 0.2, 10);
    return b;
}

/* All of it or nothing. */
static bool take(struct budget *b, double cost, uint64_t now)
{
    if (budget_tokens(b, now) < cost)
        return false;
    budget_spend(b, cost, now);
    return true;
}

static unsigned take_all(struct budget *b, uint64_t now)
{
    unsigned n = 0;

    while (take(b, 1, now))
        n++;
    return n;
}

static void earn_times(struct budget *b, unsigned n, uint64_t now)
{
    for (unsigned i = 0; i < n; i++)
        budget_earn(b, now);
}

TEST(it_starts_full)
{
    struct budget b = fresh();

    CHECK_INT(take_all(&b, T0), 10);
}

TEST(five_requests_pay_for_one_retry)
{
    struct budget b = fresh();

    take_all(&b, T0);
    earn_times(&b, 4, T0);
    CHECK(!take(&b, 1, T0));
    earn_times(&b, 2, T0); /* one more than five, as fifths do not add up to one exactly */
    CHECK(take(&b, 1, T0));
    earn_times(&b, 500, T0);
    CHECK_INT(take_all(&b, T0), 10); /* never more than its capacity */
}

TEST(a_token_comes_in_every_ten_seconds_without_any_request)
{
    struct budget b = fresh();

    take_all(&b, T0);
    CHECK(!take(&b, 1, T0 + 9999));
    CHECK(take(&b, 1, T0 + 10000));
    CHECK(!take(&b, 1, T0 + 10000));
    CHECK_INT(take_all(&b, T0 + 3600000), 10);
}

TEST(what_came_in_with_time_counts_once)
{
    struct budget b = fresh();

    take_all(&b, T0);
    for (unsigned i = 0; i <= 100; i++)
        CHECK(!take(&b, 5, T0 + 100 * i));
    CHECK_INT(take_all(&b, T0 + 10000), 1);
}

TEST(another_try_after_a_timeout_costs_two)
{
    struct budget b = fresh();

    CHECK(take(&b, 9, T0));
    CHECK(!take(&b, BUDGET_TIMEOUT_COST, T0));
    CHECK(take(&b, 1, T0));
    CHECK(budget_tokens(&b, T0) == 0);
}

TEST(without_capacity_there_are_no_retries_at_all)
{
    struct budget b;

    budget_init(&b, 1, 0);
    earn_times(&b, 100, T0);
    CHECK_INT(take_all(&b, T0 + 3600000), 0);
}

TEST_MAIN()
