#include "proxy/wire/upstream.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "tests/unit/check.h"

/* The pool's own part: which connection a call gets, and that one is ready. The loop's clock and
 * the transports are ours; nothing is connected anywhere. */

#define T0     1000000
#define SECOND 1000
#define MINUTE (60 * SECOND)

static uint64_t asleep_ms; /* of the whole machine */

int clock_gettime(clockid_t which, struct timespec *out)
{
    long rc = syscall(SYS_clock_gettime, which, out);

    if (which == CLOCK_BOOTTIME)
        out->tv_sec += (time_t)(asleep_ms / 1000);
    return (int)rc;
}

/* ---- a loop with a clock that is turned by hand ------------------------------------------------
 */

struct loop {
    uint64_t now_ms;
    struct loop_timer *timers[64]; /* those that are set */
    size_t n_timers;
    struct loop_task *tasks;
};

uint64_t loop_now_ms(const struct loop *l)
{
    return l->now_ms;
}

void loop_timer_clear(struct loop *l, struct loop_timer *t)
{
    if (t->slot == 0)
        return;
    l->timers[t->slot - 1] = l->timers[--l->n_timers];
    l->timers[t->slot - 1]->slot = t->slot;
    t->slot = 0;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t due_ms)
{
    loop_timer_clear(l, t);
    CHECK(l->n_timers < ARRAY_LEN(l->timers));
    l->timers[l->n_timers++] = t;
    t->slot = l->n_timers;
    t->due_ms = due_ms;
}

void loop_soon(struct loop *l, struct loop_task *t)
{
    if (t->queued)
        return;
    t->queued = true;
    t->next = l->tasks;
    l->tasks = t;
}

static struct loop_fd *watched; /* the last one */

int loop_add(struct loop *l, struct loop_fd *f, uint32_t events)
{
    (void)l, (void)events;
    watched = f;
    return 0;
}

void loop_remove(struct loop *l, struct loop_fd *f)
{
    (void)l, (void)f;
}

static void run_tasks(struct loop *l)
{
    while (l->tasks != NULL) {
        struct loop_task *t = l->tasks;

        l->tasks = t->next;
        t->queued = false;
        t->run(t);
    }
}

/* All that is due until then, in its order. */
static void pass_time(struct loop *l, uint64_t ms)
{
    uint64_t end = l->now_ms + ms;

    for (;;) {
        struct loop_timer *first = NULL;

        run_tasks(l);
        for (size_t i = 0; i < l->n_timers; i++)
            if (first == NULL || l->timers[i]->due_ms < first->due_ms)
                first = l->timers[i];
        if (first == NULL || first->due_ms > end)
            break;
        l->now_ms = first->due_ms > l->now_ms ? first->due_ms : l->now_ms;
        loop_timer_clear(l, first);
        first->on_due(first);
    }
    l->now_ms = end;
}

/* ---- transports that come up, or not, when we say so -------------------------------------------
 */

struct transport {
    int number; /* from 1, in the order they were opened */
    bool is_up, gone;
    void (*up)(void *);
    void (*failed)(void *, enum failure, const char *);
    void *ctx;
    struct transport *older;
};

static struct transport *transports;
static int opened, closed;
static bool none_to_be_had;

struct transport_space *transport_space_new(struct loop *l)
{
    return (struct transport_space *)l;
}

void transport_space_free(struct transport_space *s)
{
    (void)s;
}

struct transport *transport_open(struct transport_space *s, const struct transport_peer *p,
                                 void (*up)(void *),
                                 void (*failed)(void *, enum failure, const char *), void *ctx,
                                 struct err *e)
{
    struct transport *t;

    (void)s, (void)p;
    if (none_to_be_had) {
        err_set(e, ERR_IO, "no descriptors");
        return NULL;
    }
    t = mem_zalloc(sizeof(*t));
    *t = (struct transport){++opened, false, false, up, failed, ctx, transports};
    transports = t;
    return t;
}

void transport_close(struct transport *t)
{
    struct transport **at = &transports;

    while (*at != t)
        at = &(*at)->older;
    *at = t->older;
    free(t);
    closed++;
}

bool transport_tcp_up(struct transport *t)
{
    return t->is_up;
}

void transport_waits_for(struct transport *t, char *out, size_t size)
{
    snprintf(out, size, "%d", t->number);
}

int transport_fd(const struct transport *t)
{
    return 1000 + t->number;
}

ssize_t transport_send(struct transport *t, const void *p, size_t n)
{
    (void)p;
    return t->gone ? TRANSPORT_ERROR : (ssize_t)n;
}

ssize_t transport_recv(struct transport *t, void *p, size_t n)
{
    (void)p, (void)n;
    return t->gone ? TRANSPORT_EOF : TRANSPORT_AGAIN;
}

bool transport_drained(const struct transport *t)
{
    return !t->gone;
}

static void comes_up(struct transport *t)
{
    t->is_up = true;
    t->up(t->ctx);
}

/* The provider closes the last one. */
static void goes(void)
{
    transports->gone = true;
    watched->on_event(watched, EPOLLIN | EPOLLRDHUP);
}

static void all_come_up(void)
{
    struct transport *next;

    for (struct transport *t = transports; t != NULL; t = next) {
        next = t->older;
        if (!t->is_up)
            comes_up(t);
    }
}

static struct loop loop;

/* Seconds in which every transport comes up at once. */
static void live_on(int seconds)
{
    while (seconds-- > 0) {
        all_come_up();
        pass_time(&loop, SECOND);
    }
    all_come_up();
}

/* ---- calls ------------------------------------------------------------------------------------
 */

static struct upstream_pool *pool;
static char https[] = "https://a.test:443", http[] = "http://a.test:80";
static const struct transport_peer secure = {.origin = https, .tls = true},
                                   plain = {.origin = http};
static int connected, failed;

static void on_connected(void *ctx)
{
    (void)ctx;
    connected++;
}

static void on_failed(void *ctx, enum failure why, const char *text)
{
    (void)ctx, (void)why, (void)text;
    failed++;
}

static const struct upstream_events events = {.connected = on_connected, .failed = on_failed};

static void begin(uint64_t warm_ms)
{
    loop = (struct loop){.now_ms = T0};
    opened = closed = connected = failed = 0;
    none_to_be_had = false;
    transports = NULL;
    pool = upstream_pool_new(&loop, 2, warm_ms);
}

static void end(void)
{
    upstream_pool_free(pool);
    run_tasks(&loop);
    CHECK_INT(opened, closed);
    CHECK_INT(loop.n_timers, 0);
}

static void start(struct upstream_call *c, const struct transport_peer *peer)
{
    struct upstream_request request = {.parts = {SPAN("GET / HTTP/1.1\r\n\r\n")}};

    upstream_start(c, pool, 0, peer, &request, &events, NULL);
}

/* Asks, and ends at once: which connection was it? */
static int ask(const struct transport_peer *peer)
{
    struct upstream_call c;
    char number[16] = "0";

    start(&c, peer);
    upstream_waits_for(&c, number, sizeof(number));
    upstream_cancel(&c);
    run_tasks(&loop);
    return atoi(number);
}

TEST(a_connection_is_ready_before_the_first_call)
{
    begin(10 * MINUTE);
    upstream_warm(pool, 0, &secure);
    CHECK_INT(opened, 1);
    all_come_up();
    pass_time(&loop, 20 * SECOND);
    CHECK_INT(ask(&secure), 1);
    end();
}

TEST(it_is_replaced_before_it_is_closed_for_its_age)
{
    begin(10 * MINUTE);
    upstream_warm(pool, 0, &secure);
    all_come_up();
    pass_time(&loop, 30 * SECOND);
    CHECK_INT(opened, 2);
    CHECK_INT(closed, 0);
    all_come_up();
    pass_time(&loop, 5 * SECOND);
    CHECK_INT(closed, 1);
    live_on(60);
    CHECK_INT(opened - closed, 1);
    CHECK_INT(ask(&secure), opened);
    CHECK(opened >= 4);
    end();
}

TEST(one_that_is_too_old_stands_by_until_the_next_is_up)
{
    begin(10 * MINUTE);
    upstream_warm(pool, 0, &secure);
    all_come_up();
    pass_time(&loop, 32 * SECOND);
    CHECK_INT(opened, 2);
    CHECK_INT(ask(&secure), 1);
    end();
}

TEST(after_the_machine_has_slept_none_is_trusted)
{
    begin(10 * MINUTE);
    upstream_warm(pool, 0, &secure);
    all_come_up();
    CHECK_INT(ask(&secure), 1);
    upstream_warm(pool, 0, &secure);
    pass_time(&loop, 5 * SECOND);
    all_come_up();
    CHECK_INT(opened, 2);
    asleep_ms += 10 * MINUTE; /* the loop's clock has stood still meanwhile */
    CHECK(ask(&secure) > 2);
    end();
}

TEST(nobody_has_asked_for_long_so_none_is_kept)
{
    struct upstream_call c;

    begin(10 * MINUTE);
    start(&c, &secure);
    all_come_up();
    upstream_cancel(&c);
    live_on(9 * 60 + 50);
    CHECK(opened > closed);
    live_on(60);
    CHECK_INT(opened, closed);
    CHECK_INT(loop.n_timers, 0);
    end();
}

TEST(without_tls_or_where_it_is_not_wanted_none_is_opened)
{
    begin(10 * MINUTE);
    upstream_warm(pool, 0, &plain);
    pass_time(&loop, MINUTE);
    CHECK_INT(opened, 0);
    CHECK_INT(ask(&plain), 1);
    pass_time(&loop, MINUTE);
    CHECK_INT(opened, 1);
    end();

    begin(0);
    upstream_warm(pool, 0, &secure);
    pass_time(&loop, MINUTE);
    CHECK_INT(opened, 0);
    CHECK_INT(ask(&secure), 1);
    pass_time(&loop, MINUTE);
    CHECK_INT(opened, 1);
    end();
}

TEST(a_provider_that_closes_at_once_is_not_asked_again_at_once)
{
    begin(10 * MINUTE);
    upstream_warm(pool, 0, &secure);
    for (int i = 0; i < 599;
         i++) { /* almost a minute, in which each is closed as soon as it is up */
        all_come_up();
        if (transports != NULL)
            goes();
        pass_time(&loop, 100);
    }
    CHECK_INT(opened, 3); /* after 10 and 30 s; then once a minute */
    end();
}

TEST(a_provider_that_cannot_be_reached_is_tried_twice_a_minute)
{
    begin(10 * MINUTE);
    upstream_warm(pool, 0, &secure);
    for (int i = 0; i < 59; i++) {
        if (transports != NULL)
            transports->failed(transports->ctx, REFUSED, "refused");
        pass_time(&loop, SECOND);
    }
    CHECK_INT(opened, 2);
    CHECK_INT(failed, 0);
    end();
}

TEST(without_descriptors_it_is_tried_again_later)
{
    begin(10 * MINUTE);
    none_to_be_had = true;
    upstream_warm(pool, 0, &secure);
    pass_time(&loop, MINUTE);
    none_to_be_had = false;
    pass_time(&loop, 5 * SECOND);
    CHECK_INT(opened, 1);
    end();
}

TEST(one_that_does_not_come_up_is_given_up)
{
    begin(10 * MINUTE);
    upstream_warm(pool, 0, &secure);
    pass_time(&loop, 9 * SECOND);
    CHECK_INT(closed, 0);
    pass_time(&loop, 2 * SECOND);
    CHECK_INT(closed, 1);
    pass_time(&loop, 30 * SECOND);
    CHECK_INT(opened, 2);
    all_come_up();
    CHECK_INT(ask(&secure), 2);
    end();
}

TEST(a_pool_that_is_left_behind_keeps_none_ready)
{
    struct upstream_call c;

    begin(10 * MINUTE);
    upstream_warm(pool, 0, &secure);
    upstream_warm(pool, 1, &secure);
    comes_up(transports);
    upstream_cool(pool);
    CHECK_INT(closed, 1);
    pass_time(&loop, MINUTE);
    CHECK_INT(opened, 2);
    CHECK_INT(closed, 2);
    start(&c, &secure); /* of a request that began before */
    all_come_up();
    upstream_cancel(&c);
    pass_time(&loop, MINUTE);
    CHECK_INT(opened, 3);
    end();
}

TEST(a_call_takes_over_the_one_that_is_being_opened)
{
    struct upstream_call c;

    begin(10 * MINUTE);
    upstream_warm(pool, 0, &secure);
    pass_time(&loop, 500);
    start(&c, &secure);
    CHECK_INT(opened, 1);
    CHECK_INT(connected, 0);
    all_come_up();
    CHECK_INT(connected, 1);
    upstream_cancel(&c);
    end();
}

TEST(but_not_one_that_has_been_opened_for_long)
{
    struct upstream_call c;

    begin(10 * MINUTE);
    upstream_warm(pool, 0, &secure);
    pass_time(&loop, 2 * SECOND);
    start(&c, &secure);
    CHECK_INT(opened, 2);
    comes_up(transports);
    CHECK_INT(connected, 1);
    upstream_cancel(&c);
    end();
}

TEST(a_call_whose_connection_fails_hears_of_it_though_it_was_opened_for_nobody)
{
    struct upstream_call c;

    begin(10 * MINUTE);
    upstream_warm(pool, 0, &secure);
    start(&c, &secure);
    transports->failed(transports->ctx, REFUSED, "refused");
    CHECK_INT(failed, 1);
    end();
}

TEST(lanes_do_not_mix)
{
    struct upstream_call c;
    struct upstream_request request = {.parts = {SPAN("GET / HTTP/1.1\r\n\r\n")}};

    begin(10 * MINUTE);
    upstream_warm(pool, 1, &secure);
    all_come_up();
    upstream_start(&c, pool, 0, &secure, &request, &events, NULL);
    CHECK_INT(opened, 2);
    upstream_cancel(&c);
    end();
}

TEST_MAIN()
