#include "proxy/exchange_parts.h"

#include <stdio.h>
#include <string.h>

#include "proxy/route.h"

#define MAX_MODELS 1024   /* in the list of models */
#define MAX_HEDGED 131072 /* bytes of a request: a second call of a larger one costs too much */

void exchange_serve_models(struct exchange *x)
{
    const struct config *c = x->space->service->config;
    struct span names[MAX_MODELS];
    struct strbuf out = strbuf_in(&x->arena, 1024 * 1024);
    size_t n = 0, shown = 0;

    /* Names that a client can use as they are: patterns are not. */
    for (size_t i = 0; i < c->n_routes && n < MAX_MODELS; i++)
        if (strchr(c->routes[i].model, '*') == NULL)
            names[n++] = span_of(c->routes[i].model);
    /* A pattern stands for the models that its targets name. */
    for (size_t i = 0; i < c->n_routes; i++) {
        if (strchr(c->routes[i].model, '*') == NULL)
            continue;
        for (size_t k = 0; k < c->routes[i].n_targets; k++) {
            const char *model = c->routes[i].targets[k].model;
            bool known = model == NULL || !span_glob(span_of(c->routes[i].model), span_of(model));

            for (size_t m = 0; m < n && !known; m++)
                known = span_is(names[m], model);
            if (!known && n < MAX_MODELS)
                names[n++] = span_of(model);
        }
    }
    for (size_t i = 0; i < n; i++) /* what it may not use is not there */
        if (exchange_may_use(x, names[i]))
            names[shown++] = names[i];
    n = shown;
    if (x->admission.door.kind == DOOR_MODELS) {
        x->dialect->write_models(names, n, 0, &out);
        exchange_answer_json(x, 200, strbuf_span(&out));
        return;
    }
    if (route_find(c, x->admission.door.model) == NULL ||
        !exchange_may_use(x, x->admission.door.model)) {
        exchange_refuse_saying(x, 404, "model_not_found", "model", "no route serves this model");
        return;
    }
    x->dialect->write_model(x->admission.door.model, 0, &out);
    exchange_answer_json(x, 200, strbuf_span(&out));
}

static void refuse_model(struct exchange *x)
{
    struct chat_error e = {.status = 404, .code = "model_not_found", .param = "model"};
    struct span m = x->request.model;

    snprintf(e.message, sizeof(e.message),
             "no route serves the model \"%.*s\"; add one under routes: (a pattern such as \"*\" "
             "serves all)",
             m.n > 200 ? 200 : (int)m.n, m.p);
    exchange_refuse(x, &e);
}

struct span exchange_session(const struct exchange *x)
{
    return x->session.n > 0           ? x->session
           : x->request.session.n > 0 ? x->request.session
                                      : (struct span){0};
}

/* What balances inside a tier: the conversation where one is named, else chance. */
static uint64_t session_of(struct exchange *x)
{
    struct span named = exchange_session(x);

    return named.n > 0 ? span_hash(named) : rng_next(&x->space->rng);
}

/* Whoever broke off an answer of this conversation a moment ago is asked behind the others. */
static void put_behind(struct exchange *x)
{
    struct span named = exchange_session(x);

    for (unsigned i = 0; i < x->failover.n_candidates && named.n > 0; i++) {
        struct failover_candidate *c = &x->failover.candidates[i];

        c->behind = target_broke(c->target, span_hash(named), loop_now_ms(x->space->loop));
    }
}

void exchange_serve_chat(struct exchange *x)
{
    struct service *s = x->space->service;
    struct failover_policy policy;
    struct failover_orders orders;
    const struct door *door = &x->admission.door;
    struct err e;

    x->request = (struct chat_request){.stream = door->stream,
                                       .counting = door->kind == DOOR_COUNT,
                                       .vectors = {.batch = door->batch}};
    if (door->model.n != 0 && !door_model(door->model, &x->arena, &x->request.model)) {
        exchange_refuse_saying(
            x, 400, "invalid_request", "model",
            "the model in the path: expected a name of 1 to 200 letters, digits and "
            "._:/@+- without two dots in a row");
        return;
    }
    if (x->dialect->read_request(strbuf_span(&x->body), &x->arena, &x->request, &e) < 0) {
        exchange_refuse_saying(x, 400, e.code == ERR_SYNTAX ? "invalid_json" : "invalid_request",
                               "", e.msg);
        return;
    }
    if (!exchange_allow(x, x->request.model) || !exchange_within_limits(x, x->body.len))
        return;
    x->route = x->route_wanted.n > 0 ? route_named(s->config, x->route_wanted)
                                     : route_find(s->config, x->request.model);
    if (x->route == NULL) {
        if (x->route_wanted.n > 0)
            exchange_refuse_saying(x, 404, "route_not_found", "x-holdfast-route",
                                   "x-holdfast-route names no route of the configuration");
        else
            refuse_model(x);
        return;
    }
    /* A route that its model would not have come to is asked for by the route's own name. */
    if (x->route_wanted.n > 0 && x->route != route_find(s->config, x->request.model) &&
        !exchange_allow(x, span_of(x->route->model)))
        return;
    if (!exchange_keep(x))
        return;
    policy = (struct failover_policy){
        .max_attempts = s->config->failover.max_attempts,
        .per_target = s->config->failover.per_target,
        .total_ms = route_total_ms(s->config, x->route),
        .heartbeat_ms = x->request.stream ? s->config->stream.heartbeat_after : 0,
        .hedge_ms = x->request.body.n > MAX_HEDGED || x->request.counting ? FAILOVER_HEDGE_OFF
                                                                          : s->config->hedge.after,
        .queue_ms = s->config->overload.queue_max_wait,
        .window_ms = s->config->stream.window_time,
        .kind = route_kind(&x->request),
        .retried = x->retried,
        .set = s->targets,
        .route = (size_t)(x->route - s->config->routes),
    };
    if (policy.max_attempts > FAILOVER_MAX_TRIES)
        policy.max_attempts = FAILOVER_MAX_TRIES;
    if (x->timeout_ms != 0 && x->timeout_ms < policy.total_ms)
        policy.total_ms = x->timeout_ms;
    if (x->no_failover)
        policy.max_attempts = policy.per_target = 1;
    x->answer_id = arena_join(&x->arena, span_of(x->dialect->id_prefix), span_of(x->id));
    failover_init(&x->failover, &policy, (unsigned)x->route->n_targets, rng_next(&x->space->rng),
                  &x->arena);
    route_plan(s->config, x->route, s->targets, &x->request, x->dialect, x->no_failover,
               session_of(x), &x->failover);
    if (x->failover.n_candidates == 0) {
        exchange_refuse_saying(
            x, 404, "not_found", "model",
            "none of this model's targets can count tokens in this dialect; an estimate "
            "would not be theirs");
        return;
    }
    put_behind(x);
    x->planned = true;
    failover_begin(&x->failover, loop_now_ms(x->space->loop), &orders);
    exchange_carry_out(x, &orders);
}
