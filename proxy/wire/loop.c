#include "proxy/wire/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/mem.h"

#define BATCH      128
#define LONGEST_MS 1000 /* the loop turns at least this often, so that its pulse can be seen */

struct loop {
    int epoll;
    bool stopping;
    uint64_t now_us;
    struct loop_timer **heap; /* earliest first */
    size_t n_timers, cap_timers;
    struct loop_task *tasks, **last_task;
    struct epoll_event batch[BATCH];
    int batch_at, batch_n;
    struct loop_fd wake_fd;
    void (*on_wake)(void *);
    void *wake_ctx;
    _Atomic uint64_t pulse_us;
};

/* ---- tasks -------------------------------------------------------------------------------- */

void loop_soon(struct loop *l, struct loop_task *t)
{
    if (t->queued)
        return;
    t->queued = true;
    t->next = NULL;
    *l->last_task = t;
    l->last_task = &t->next;
}

/* Only those queued by now: a task that asks for itself again gets its turn after the next events.
 */
static void run_tasks(struct loop *l)
{
    struct loop_task *t = l->tasks;

    l->tasks = NULL;
    l->last_task = &l->tasks;
    while (t != NULL) {
        struct loop_task *next = t->next;

        t->queued = false;
        t->run(t);
        t = next;
    }
}

static void woken(struct loop_fd *f, uint32_t events)
{
    struct loop *l = (struct loop *)((char *)f - offsetof(struct loop, wake_fd));
    uint64_t n;

    (void)events;
    if (read(f->fd, &n, sizeof(n)) == sizeof(n) && l->on_wake != NULL)
        l->on_wake(l->wake_ctx);
}

struct loop *loop_new(void)
{
    struct loop *l = mem_zalloc(sizeof(*l));

    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake_fd.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->wake_fd.on_event = woken;
    l->last_task = &l->tasks;
    l->now_us = clock_us();
    atomic_store(&l->pulse_us, l->now_us);
    if (l->epoll < 0 || l->wake_fd.fd < 0 || loop_add(l, &l->wake_fd, EPOLLIN) < 0)
        abort(); /* no loop, no program: only at start, before anything is served */
    return l;
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    while (l->tasks != NULL)
        run_tasks(l); /* what was put off until after the last events: mostly freeing */
    close(l->wake_fd.fd);
    close(l->epoll);
    free(l->heap);
    free(l);
}

/* ---- descriptors -------------------------------------------------------------------------- */

int loop_add(struct loop *l, struct loop_fd *f, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = f};

    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, f->fd, &ev);
}

void loop_change(struct loop *l, struct loop_fd *f, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = f};

    epoll_ctl(l->epoll, EPOLL_CTL_MOD, f->fd, &ev);
}

void loop_remove(struct loop *l, struct loop_fd *f)
{
    epoll_ctl(l->epoll, EPOLL_CTL_DEL, f->fd, NULL);
    for (int i = l->batch_at; i < l->batch_n; i++)
        if (l->batch[i].data.ptr == f)
            l->batch[i].data.ptr = NULL;
}

/* ---- timers: a binary heap that knows each timer's place ------------------------------------ */

static void place(struct loop *l, struct loop_timer *t, size_t at)
{
    l->heap[at] = t;
    t->slot = at + 1;
}

static void sift_up(struct loop *l, struct loop_timer *t, size_t at)
{
    while (at > 0 && l->heap[(at - 1) / 2]->due_ms > t->due_ms) {
        place(l, l->heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    place(l, t, at);
}

static void sift_down(struct loop *l, struct loop_timer *t, size_t at)
{
    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < l->n_timers && l->heap[child + 1]->due_ms < l->heap[child]->due_ms)
            child++;
        if (child >= l->n_timers || l->heap[child]->due_ms >= t->due_ms)
            break;
        place(l, l->heap[child], at);
        at = child;
    }
    place(l, t, at);
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t due_ms)
{
    if (t->slot != 0) {
        uint64_t was = t->due_ms;

        t->due_ms = due_ms;
        if (due_ms < was)
            sift_up(l, t, t->slot - 1);
        else if (due_ms > was)
            sift_down(l, t, t->slot - 1);
        return;
    }
    if (l->n_timers == l->cap_timers) {
        l->cap_timers = l->cap_timers != 0 ? 2 * l->cap_timers : 64;
        l->heap = mem_grow(l->heap, l->cap_timers * sizeof(struct loop_timer *));
    }
    t->due_ms = due_ms;
    sift_up(l, t, l->n_timers++);
}

void loop_timer_clear(struct loop *l, struct loop_timer *t)
{
    size_t at = t->slot - 1;
    struct loop_timer *last;

    if (t->slot == 0)
        return;
    t->slot = 0;
    last = l->heap[--l->n_timers];
    if (last == t)
        return;
    if (at > 0 && l->heap[(at - 1) / 2]->due_ms > last->due_ms)
        sift_up(l, last, at);
    else
        sift_down(l, last, at);
}

static void run_timers(struct loop *l)
{
    while (l->n_timers > 0 && l->heap[0]->due_ms <= loop_now_ms(l)) {
        struct loop_timer *t = l->heap[0];

        loop_timer_clear(l, t);
        t->on_due(t);
    }
}

/* ---- running ------------------------------------------------------------------------------ */

uint64_t loop_now_ms(const struct loop *l)
{
    return l->now_us / 1000;
}

uint64_t loop_now_us(const struct loop *l)
{
    return l->now_us;
}

static int wait_ms(const struct loop *l)
{
    uint64_t now = loop_now_ms(l);

    if (l->tasks != NULL)
        return 0;
    if (l->n_timers == 0 || l->heap[0]->due_ms > now + LONGEST_MS)
        return LONGEST_MS;
    return l->heap[0]->due_ms <= now ? 0 : (int)(l->heap[0]->due_ms - now);
}

void loop_run(struct loop *l)
{
    while (!l->stopping) {
        l->batch_at = 0;
        l->batch_n = epoll_wait(l->epoll, l->batch, BATCH, wait_ms(l));
        assert(l->batch_n >= 0 || errno == EINTR);
        l->now_us = clock_us();
        atomic_store_explicit(&l->pulse_us, l->now_us, memory_order_relaxed);
        while (l->batch_at < l->batch_n) {
            struct epoll_event *ev = &l->batch[l->batch_at++];
            struct loop_fd *f = ev->data.ptr;

            if (f != NULL)
                f->on_event(f, ev->events);
        }
        run_timers(l);
        run_tasks(l);
    }
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
}

void loop_on_wake(struct loop *l, void (*run)(void *ctx), void *ctx)
{
    l->on_wake = run;
    l->wake_ctx = ctx;
}

void loop_wake(struct loop *l)
{
    uint64_t one = 1;

    if (write(l->wake_fd.fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: it is awake already */
}

uint64_t loop_heartbeat_us(const struct loop *l)
{
    return atomic_load_explicit(&l->pulse_us, memory_order_relaxed);
}
