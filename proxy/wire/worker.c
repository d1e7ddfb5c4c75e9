#include "proxy/wire/worker.h"

#include <pthread.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "proxy/exchange.h"

#define STALL_MS 60000
#define LOOK_MS  20 /* while draining: how often it looks whether all is done */

struct worker {
    struct service *service;
    pthread_t thread;
    struct loop *loop;
    struct upstream_pool *pool;
    struct client_front *front;
    struct exchange_space space;
    struct loop_timer look;
    atomic_bool want_drain, want_break, want_stop, idle;
    bool draining;
};

static void look(struct loop_timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, look);

    atomic_store(&w->idle, client_front_open(w->front) == 0);
    loop_timer_set(w->loop, t, loop_now_ms(w->loop) + LOOK_MS);
}

static void woken(void *ctx)
{
    struct worker *w = ctx;

    exchange_news(&w->space);
    if (atomic_load(&w->want_drain) && !w->draining) {
        w->draining = true;
        client_front_drain(w->front);
        look(&w->look);
    }
    if (atomic_exchange(&w->want_break, false))
        exchange_break_all(&w->space);
    if (atomic_load(&w->want_stop))
        loop_stop(w->loop);
}

static void *run(void *ctx)
{
    struct worker *w = ctx;

    loop_run(w->loop);
    return NULL;
}

struct worker *worker_start(struct service *s, const int *fds, size_t n)
{
    struct worker *w = mem_zalloc(sizeof(*w));
    struct client_limits limits = {
        .head_ms = s->config->limits.head_timeout,
        .body_ms = s->config->limits.body_timeout,
        .stall_ms = STALL_MS,
        .answer_bytes = s->config->limits.answer_body,
        .connections = s->config->limits.connections / s->n_workers + 1,
    };

    w->service = s;
    w->loop = loop_new();
    w->look.on_due = look;
    w->pool = upstream_pool_new(w->loop, s->lanes);
    exchange_space_init(&w->space, s, w->loop, w->pool);
    w->front = client_front_new(w->loop, &limits, &exchange_handler, &w->space);
    for (size_t i = 0; i < n; i++)
        client_front_listen(w->front, fds[i]);
    loop_on_wake(w->loop, woken, w);
    if (pthread_create(&w->thread, NULL, run, w) != 0)
        abort(); /* at start only */
    return w;
}

void worker_drain(struct worker *w)
{
    atomic_store(&w->want_drain, true);
    loop_wake(w->loop);
}

void worker_break(struct worker *w)
{
    atomic_store(&w->want_break, true);
    loop_wake(w->loop);
}

bool worker_idle(const struct worker *w)
{
    return atomic_load(&w->idle);
}

void worker_stop(struct worker *w)
{
    atomic_store(&w->want_stop, true);
    loop_wake(w->loop);
    pthread_join(w->thread, NULL);
    client_front_free(w->front);
    exchange_break_all(&w->space); /* answers that went on without their client */
    upstream_pool_free(w->pool);
    loop_free(w->loop);
    exchange_space_release(&w->space);
    free(w);
}

uint64_t worker_pulse_us(const struct worker *w)
{
    return loop_heartbeat_us(w->loop);
}
