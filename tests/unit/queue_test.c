#include "proxy/queue.h"

#include "tests/unit/check.h"

#define T0 1000000

#define A 1u /* masks of what is waited for */
#define B 2u

/* One more than may look at once, and the one behind. */
#define LINE (QUEUE_AT_ONCE + 2)

TEST(the_first_to_come_are_the_first_to_go)
{
    struct queue q = {0};
    struct queue_waiter w[LINE] = {0};

    for (unsigned i = 0; i < LINE; i++)
        CHECK(queue_enter(&q, &w[i], A, LINE, T0 + i));
    CHECK(queue_turn(&q, &w[0], 0, T0 + 999));
    CHECK(queue_turn(&q, &w[QUEUE_AT_ONCE - 1], 0, T0 + 999));
    CHECK(!queue_turn(&q, &w[QUEUE_AT_ONCE], 0, T0 + 999));
    CHECK(!queue_turn(&q, NULL, 0, T0 + 999)); /* nor does who has only just come */
    queue_leave(&q, &w[0]);
    CHECK(queue_turn(&q, &w[QUEUE_AT_ONCE], 0, T0 + 999));
    CHECK(!queue_turn(&q, &w[QUEUE_AT_ONCE + 1], 0, T0 + 999));
}

TEST(once_the_oldest_has_waited_for_a_second_the_newest_go_first)
{
    struct queue q = {0};
    struct queue_waiter w[LINE] = {0};

    for (unsigned i = 0; i < LINE; i++)
        CHECK(queue_enter(&q, &w[i], A, LINE, T0 + i));
    CHECK(queue_turn(&q, &w[LINE - 1], 0, T0 + 1000));
    CHECK(queue_turn(&q, &w[2], 0, T0 + 1000));
    CHECK(!queue_turn(&q, &w[1], 0, T0 + 1000));
    CHECK(queue_turn(&q, NULL, 0, T0 + 1000)); /* the newest of all */
    queue_leave(&q, &w[0]);                    /* the next oldest has not waited for a second yet */
    CHECK(queue_turn(&q, &w[1], 0, T0 + 1000));
    CHECK(!queue_turn(&q, NULL, 0, T0 + 1000));
}

TEST(who_wants_another_target_stands_in_nobodys_way)
{
    struct queue q = {0};
    struct queue_waiter a[LINE] = {0}, b = {0};

    for (unsigned i = 0; i < LINE; i++)
        CHECK(queue_enter(&q, &a[i], A, LINE + 1, T0));
    CHECK(queue_enter(&q, &b, A | B, LINE + 1, T0));
    CHECK(queue_turn(&q, &b, 1, T0));
    CHECK(!queue_turn(&q, &b, 0, T0));
    CHECK(queue_turn(&q, NULL, 2, T0)); /* nobody waits for this one */
    CHECK(queue_turn(&q, &a[LINE - 1], 0, T0 + 1000));
}

TEST(no_more_wait_than_may)
{
    struct queue q = {0};
    struct queue_waiter w[3] = {0};

    CHECK(queue_enter(&q, &w[0], A, 2, T0));
    CHECK(queue_enter(&q, &w[1], A, 2, T0));
    CHECK(!queue_enter(&q, &w[2], A, 2, T0));
    CHECK(!w[2].waiting);
    queue_leave(&q, &w[1]);
    CHECK(queue_enter(&q, &w[2], A, 2, T0));
    CHECK_INT(q.n, 2);
}

TEST(whoever_leaves_leaves_no_trace)
{
    static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        struct queue q = {0};
        struct queue_waiter w[3] = {0};

        for (unsigned k = 0; k < 3; k++)
            CHECK(queue_enter(&q, &w[k], A, 8, T0));
        queue_leave(&q, &w[orders[i][0]]);
        queue_leave(&q, &w[orders[i][0]]); /* who does not wait may leave */
        queue_leave(&q, &w[orders[i][1]]);
        CHECK(queue_turn(&q, &w[orders[i][2]], 0, T0));
        CHECK(q.oldest == q.newest && q.n == 1);
        queue_leave(&q, &w[orders[i][2]]);
        CHECK(q.oldest == NULL && q.newest == NULL && q.n == 0);
        CHECK(queue_enter(&q, &w[0], A, 8, T0)); /* and may come again */
    }
}

TEST_MAIN()
