#include "proxy/exchange_parts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/clock.h"
#include "proxy/base/hash.h"
#include "proxy/base/mem.h"
#include "proxy/ops/accesslog.h"

#define MAX_SPARE 64

static void sweep_due(struct loop_timer *t);

void exchange_space_init(struct exchange_space *s, struct service *service, struct loop *l,
                         struct upstream_pool *pool)
{
    *s = (struct exchange_space){
        .service = service, .loop = l, .pool = pool, .sweep = {.on_due = sweep_due}};
    follower_set_init(&s->followers, l);
    random_bytes(&s->rng.state, sizeof(s->rng.state));
}

void exchange_space_release(struct exchange_space *s)
{
    assert(s->live == NULL);
    while (s->spare != NULL) {
        struct exchange *next = s->spare->next;

        arena_release(&s->spare->arena);
        free(s->spare);
        s->spare = next;
    }
}

bool exchange_space_idle(const struct exchange_space *s)
{
    return s->n_out == 0;
}

/* ---- birth and death --------------------------------------------------------------------------
 */

static void give_back(struct loop_task *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, release);
    struct exchange_space *s = x->space;

    s->n_out--;
    arena_reset(&x->arena);
    if (s->n_spare >= MAX_SPARE) {
        arena_release(&x->arena);
        free(x);
        return;
    }
    x->next = s->spare;
    s->spare = x;
    s->n_spare++;
}

struct exchange *exchange_new(struct exchange_space *s, struct client *c)
{
    struct exchange *x = s->spare;
    struct arena arena;

    if (x != NULL) {
        s->spare = x->next;
        s->n_spare--;
        arena = x->arena;
    } else {
        x = mem_alloc(sizeof(*x));
        arena_init(&arena);
    }
    *x = (struct exchange){
        .space = s,
        .out = {.client = c, .shown = &x->answered},
        .arena = arena,
        .timer = {.on_due = exchange_timer_due},
        .alone = {.on_due = exchange_alone_due},
        .release = {.run = give_back},
        .dialect = &dialect_openai_chat,
        .started_us = loop_now_us(s->loop),
        .asked = payload_of(s->service->payloads),
        .answered = payload_of(s->service->payloads),
    };
    s->n_out++;
    x->next = s->live;
    if (s->live != NULL)
        s->live->prev = x;
    s->live = x;
    return x;
}

/* An error that no provider and no proxy could have kept from the caller. */
static bool is_callers_own(unsigned status)
{
    return status >= 400 && status < 500 && status != 429;
}

/* The one terminal outcome, recorded once: before the last bytes go out, so that whoever has the
 * answer finds it in the metrics. `label`: a failure's, or the code of a refusal. */
void exchange_record(struct exchange *x, enum failure outcome, const char *label)
{
    struct service *service = x->space->service;
    size_t route = x->route != NULL ? (size_t)(x->route - service->config->routes) : METRICS_NONE;

    assert(!x->recorded);
    x->recorded = true;
    metrics_request(service->metrics, route, door_dialect_index(x->dialect), outcome,
                    clock_us() - x->started_us);
    if (outcome == FAILURE_NONE && x->committed)
        events_answered(service->events, x->owner->target->name, loop_now_ms(x->space->loop));
    else if (outcome != FAILURE_NONE && outcome != CLIENT_GONE && !is_callers_own(x->status))
        events_answered(service->events, NULL, loop_now_ms(x->space->loop));
    if (service->access_log)
        exchange_log(x, label);
}

static void exchange_sweep_later(struct exchange_space *s, uint64_t due_ms)
{
    if (s->sweep.slot == 0)
        loop_timer_set(s->loop, &s->sweep, due_ms);
}

static void sweep_due(struct loop_timer *t)
{
    struct exchange_space *s = CONTAINER_OF(t, struct exchange_space, sweep);
    uint64_t next = replay_sweep(s->service->replay, loop_now_ms(s->loop));

    if (next != UINT64_MAX)
        exchange_sweep_later(s, next);
}

void exchange_space_sweep(struct exchange_space *s)
{
    exchange_sweep_later(s, loop_now_ms(s->loop));
}

/* What the request needed while there could be another target: none is asked any more. */
void exchange_forget_body(struct exchange *x)
{
    if (x->body.arena != NULL)
        return;
    x->request.model = arena_copy(&x->arena, x->request.model);
    strbuf_release(&x->body);
    service_return(x->space->service, x->reserved);
    x->reserved = 0;
}

/* Gives back everything it holds. */
void exchange_end(struct exchange *x)
{
    struct exchange_space *s = x->space;

    assert(x->recorded && !x->ended);
    x->ended = true;
    exchange_settle(x);
    exchange_log_payloads(x);
    x->out.client = NULL;
    for (struct attempt *a = x->attempts; a != NULL; a = a->next) {
        attempt_stop(a);
        if (a->said != NULL)
            seam_text_release(a->said);
    }
    outlet_abandon(&x->out);
    if (x->out.loop != NULL) /* it was kept: perhaps it is now */
        exchange_sweep_later(s, loop_now_ms(s->loop) + s->service->config->replay.ttl);
    if (x->following)
        follower_stop(&x->follower);
    strbuf_release(&x->body);
    service_return(s->service, x->reserved);
    loop_timer_clear(s->loop, &x->timer);
    loop_timer_clear(s->loop, &x->alone);
    if (x->next != NULL)
        x->next->prev = x->prev;
    if (x->prev != NULL)
        x->prev->next = x->next;
    else
        s->live = x->next;
    loop_soon(s->loop, &x->release);
}

/* ---- the whole request is in ------------------------------------------------------------------
 */

static void ready(void *exchange)
{
    struct exchange *x = exchange;

    x->asked_us = clock_us();
    if (x->pass == NULL)
        x->request_bytes = x->body.len;
    switch (x->admission.door.kind) {
    case DOOR_LIVEZ:
        exchange_answer_json(x, 200, SPAN("{\"status\":\"ok\"}\n"));
        break;
    case DOOR_READYZ:
        if (atomic_load(&x->space->service->draining))
            exchange_answer_json(x, 503, SPAN("{\"status\":\"draining\"}\n"));
        else
            exchange_answer_json(x, 200, SPAN("{\"status\":\"ready\"}\n"));
        break;
    case DOOR_MODELS:
    case DOOR_MODEL:
        exchange_serve_models(x);
        break;
    case DOOR_STREAM:
        exchange_take_up_again(x);
        break;
    case DOOR_ANSWER:
    case DOOR_COUNT:
        exchange_serve_chat(x);
        break;
    case DOOR_PASS:
    case DOOR_TUNNEL:
        exchange_pass_ready(x);
        break;
    case DOOR_NONE:
        assert(false); /* admit has refused it */
    }
}

/* ---- the client -------------------------------------------------------------------------------
 */

static void gone(void *exchange)
{
    struct exchange *x = exchange;
    struct attempt *a = x->owner;

    x->out.client = NULL;
    if (!x->planned) {
        exchange_record(x, CLIENT_GONE, failure_row(CLIENT_GONE)->label);
        exchange_end(x);
        return;
    }
    /* Whoever leaves after the last marker has the whole answer; a tunnel has no other end. */
    if (x->committed && (a->ending || a->tunnel)) {
        struct failover_event ev = {.kind = FAILOVER_COMPLETE,
                                    .try = a->number,
                                    .status = a->status,
                                    .retry_after_ms = RETRY_AFTER_NONE};

        if (a->tunnel)
            upstream_write_last(&a->call);
        exchange_step(x, &ev);
        return;
    }
    if (!exchange_go_on_alone(x))
        exchange_abandon(x);
}

static void drained(void *exchange)
{
    struct exchange *x = exchange;

    if (x->following) {
        exchange_follow(&x->follower);
    } else if (x->owner != NULL && !x->owner->over) {
        failover_progress(&x->failover, true, loop_now_ms(x->space->loop));
        upstream_resume(&x->owner->call);
    }
}

/* Not a request, so not an exchange either; but whoever sent it gets an id to ask about, and the
 * log has a line. */
static void bad_request(void *ctx, struct client *c, const struct http1_problem *why,
                        struct strbuf *fields, struct strbuf *out)
{
    struct exchange_space *s = ctx;
    struct chat_error e = {.status = why->status};
    struct exchange *x = exchange_new(s, c);

    exchange_set_id(x, (struct span){0});
    x->address = arena_strdup(&x->arena, span_of(client_address(c)));
    snprintf(e.code, sizeof(e.code), "%s", why->code);
    snprintf(e.message, sizeof(e.message), "%s", why->text);
    e.request_id = x->id;
    x->dialect->write_error(&e, out);
    exchange_add_id(x, fields);
    strbuf_add(fields, "Content-Type: application/json\r\nx-should-retry: false\r\n");
    x->status = why->status;
    x->answer_bytes = out->len;
    exchange_record(x, REJECTED, why->code);
    exchange_end(x);
}

const struct client_handler exchange_handler = {
    .begin = exchange_begin,
    .body = exchange_body,
    .ready = ready,
    .gone = gone,
    .drained = drained,
    .bad_request = bad_request,
};

void exchange_break_all(struct exchange_space *s)
{
    while (s->live != NULL) {
        struct exchange *x = s->live;

        if (x->planned && !x->failover.ended) {
            struct failover_event ev = {.kind = FAILOVER_STOP, .retry_after_ms = 1000};

            exchange_step(x, &ev);
        } else if (x->following && x->follower.opened) {
            exchange_record(x, STOPPING, failure_row(STOPPING)->label);
            outlet_abort(&x->out, STOPPING);
            exchange_end(x);
        } else {
            exchange_refuse_saying(x, 503, "draining", "", "this proxy is shutting down");
        }
    }
}
