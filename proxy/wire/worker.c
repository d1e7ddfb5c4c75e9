#include "proxy/wire/worker.h"

#include <pthread.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "proxy/exchange.h"

#define STALL_MS  60000
#define LOOK_MS   20  /* while draining: how often it looks whether all is done */
#define RETIRE_MS 100 /* how often it looks whether an older generation is done */

/* What belongs to one service: its exchanges and its connections to providers. */
struct generation {
    struct generation *older;
    struct service *service;
    struct upstream_pool *pool;
    struct exchange_space space;
};

struct worker {
    pthread_t thread;
    struct loop *loop;
    struct client_front *front;
    struct generation *newest;      /* new requests are its */
    _Atomic(struct service *) next; /* used; NULL: no change */
    struct loop_timer look, retire;
    atomic_bool want_drain, handed_over, want_break, want_stop, draining, idle;
};

static struct client_limits limits_of(const struct service *s)
{
    const struct config *c = s->config;

    return (struct client_limits){
        .head_ms = c->limits.head_timeout,
        .body_ms = c->limits.body_timeout,
        .stall_ms = STALL_MS,
        .answer_bytes = c->limits.answer_body,
        .connections = c->limits.connections / s->n_workers + 1,
        .allow = c->networks,
        .n_allow = c->n_allow,
    };
}

/* The first request to a provider shall not wait for a handshake either. */
static void warm_up(struct upstream_pool *pool, const struct service *s, const struct provider *p)
{
    const struct origin *o = &s->origins[p - s->targets->providers];

    if (o->peer.origin != NULL)
        upstream_warm(pool, o->lane, &o->peer);
}

/* Takes over the caller's use of the service. */
static void add_generation(struct worker *w, struct service *s)
{
    struct generation *g = mem_zalloc(sizeof(*g));

    g->service = s;
    g->pool = upstream_pool_new(w->loop, s->lanes, s->config->keep_warm);
    for (size_t i = 0; i < s->targets->n_targets; i++)
        warm_up(g->pool, s, s->targets->targets[i].provider);
    exchange_space_init(&g->space, s, w->loop, g->pool);
    g->older = w->newest;
    w->newest = g;
}

/* Only once its space is idle. */
static void free_generation(struct worker *w, struct generation *g)
{
    loop_timer_clear(w->loop, &g->space.sweep);
    exchange_space_sweep(&w->newest->space); /* what was kept there is the newest's to forget */
    upstream_pool_free(g->pool);
    exchange_space_release(&g->space);
    service_drop(g->service);
    free(g);
}

/* Those whose last request has ended. */
static void retire(struct loop_timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, retire);
    struct generation **at = &w->newest->older;

    while (*at != NULL) {
        struct generation *g = *at;

        if (!exchange_space_idle(&g->space)) {
            at = &g->older;
            continue;
        }
        *at = g->older;
        free_generation(w, g);
    }
    if (w->newest->older != NULL)
        loop_timer_set(w->loop, t, loop_now_ms(w->loop) + RETIRE_MS);
}

static void change(struct worker *w, struct service *s)
{
    struct client_limits limits = limits_of(s);

    upstream_cool(w->newest->pool);
    add_generation(w, s);
    client_front_change(w->front, &limits, &w->newest->space, s->tls);
    loop_timer_set(w->loop, &w->retire, loop_now_ms(w->loop) + RETIRE_MS);
}

static void look(struct loop_timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, look);

    atomic_store(&w->idle, client_front_open(w->front) == 0);
    loop_timer_set(w->loop, t, loop_now_ms(w->loop) + LOOK_MS);
}

static void woken(void *ctx)
{
    struct worker *w = ctx;
    struct service *next = atomic_exchange(&w->next, NULL);

    if (next != NULL)
        change(w, next);
    for (struct generation *g = w->newest; g != NULL; g = g->older)
        exchange_news(&g->space);
    if (atomic_load(&w->want_drain) && !atomic_load(&w->draining)) {
        client_front_drain(w->front, atomic_load(&w->handed_over));
        for (struct generation *g = w->newest; g != NULL; g = g->older)
            upstream_cool(g->pool);
        atomic_store(&w->draining, true);
        look(&w->look);
    }
    if (atomic_exchange(&w->want_break, false))
        for (struct generation *g = w->newest; g != NULL; g = g->older)
            exchange_break_all(&g->space);
    if (atomic_load(&w->want_stop))
        loop_stop(w->loop);
}

static void *run(void *ctx)
{
    struct worker *w = ctx;

    loop_run(w->loop);
    return NULL;
}

struct worker *worker_start(struct service *s, const struct client_listener *listeners, size_t n)
{
    struct worker *w = mem_zalloc(sizeof(*w));
    struct client_limits limits = limits_of(s);

    w->loop = loop_new();
    w->look.on_due = look;
    w->retire.on_due = retire;
    service_use(s);
    add_generation(w, s);
    w->front = client_front_new(w->loop, &limits, &exchange_handler, &w->newest->space);
    client_front_change(w->front, &limits, &w->newest->space, s->tls);
    for (size_t i = 0; i < n; i++)
        client_front_listen(w->front, &listeners[i]);
    loop_on_wake(w->loop, woken, w);
    if (pthread_create(&w->thread, NULL, run, w) != 0)
        abort(); /* at start only */
    return w;
}

void worker_change(struct worker *w, struct service *s)
{
    service_use(s);
    service_drop(atomic_exchange(&w->next, s)); /* one that it had not seen yet */
    loop_wake(w->loop);
}

void worker_drain(struct worker *w, bool handed_over)
{
    atomic_store(&w->handed_over, handed_over);
    atomic_store(&w->want_drain, true);
    loop_wake(w->loop);
}

void worker_break(struct worker *w)
{
    atomic_store(&w->want_break, true);
    loop_wake(w->loop);
}

bool worker_drains(const struct worker *w)
{
    return atomic_load(&w->draining);
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
    for (struct generation *g = w->newest; g != NULL; g = g->older) {
        exchange_break_all(&g->space); /* answers that went on without their client */
        upstream_pool_free(g->pool);
    }
    loop_free(w->loop);
    while (w->newest != NULL) {
        struct generation *g = w->newest;

        w->newest = g->older;
        exchange_space_release(&g->space);
        service_drop(g->service);
        free(g);
    }
    service_drop(atomic_load(&w->next));
    free(w);
}

uint64_t worker_pulse_us(const struct worker *w)
{
    return loop_heartbeat_us(w->loop);
}
