#include "proxy/wire/loop.h"

#include <unistd.h>

#include "proxy/base/attributes.h"
#include "proxy/base/rng.h"
#include "tests/unit/check.h"

static struct loop *the_loop;
static unsigned fired;
static uint64_t last_due;

static void in_order(struct loop_timer *t)
{
    CHECK(t->due_ms >= last_due);
    last_due = t->due_ms;
    if (--fired == 0)
        loop_stop(the_loop);
}

TEST(timers_fire_in_order_whatever_was_moved_or_cleared)
{
    static struct loop_timer timers[300];
    struct rng rng = {7};
    uint64_t now;

    the_loop = loop_new();
    now = loop_now_ms(the_loop);
    for (size_t i = 0; i < ARRAY_LEN(timers); i++) {
        timers[i].on_due = in_order;
        loop_timer_set(the_loop, &timers[i], now + rng_between(&rng, 0, 20));
    }
    for (size_t i = 0; i < ARRAY_LEN(timers); i += 3)
        loop_timer_set(the_loop, &timers[i], now + rng_between(&rng, 0, 20));
    for (size_t i = 0; i < ARRAY_LEN(timers); i += 5)
        loop_timer_clear(the_loop, &timers[i]);
    fired = 240;
    last_due = 0;
    loop_run(the_loop);
    CHECK_INT(fired, 0);
    loop_free(the_loop);
}

static struct loop_fd ends[2];
static unsigned seen;

static void remove_the_other(struct loop_fd *f, uint32_t events)
{
    CHECK(events & EPOLLIN);
    seen++;
    loop_remove(the_loop, &ends[0]);
    loop_remove(the_loop, &ends[1]);
    (void)f;
    loop_stop(the_loop);
}

TEST(a_removed_descriptor_gets_no_event_of_the_same_batch)
{
    int a[2], b[2];

    CHECK(pipe(a) == 0 && pipe(b) == 0);
    CHECK(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1);
    the_loop = loop_new();
    ends[0] = (struct loop_fd){a[0], remove_the_other};
    ends[1] = (struct loop_fd){b[0], remove_the_other};
    CHECK(loop_add(the_loop, &ends[0], EPOLLIN) == 0);
    CHECK(loop_add(the_loop, &ends[1], EPOLLIN) == 0);
    seen = 0;
    loop_run(the_loop);
    CHECK_INT(seen, 1);
    loop_free(the_loop);
    for (size_t i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

static unsigned runs;

static void again(struct loop_task *t)
{
    if (++runs < 3)
        loop_soon(the_loop, t);
    else
        loop_stop(the_loop);
}

TEST(a_task_runs_once_per_request_and_may_ask_again)
{
    struct loop_task task = {.run = again};

    the_loop = loop_new();
    runs = 0;
    loop_soon(the_loop, &task);
    loop_soon(the_loop, &task);
    loop_run(the_loop);
    CHECK_INT(runs, 3);
    loop_free(the_loop);
}

TEST_MAIN()
