#include "proxy/exchange_parts.h"

#include <assert.h>
#include <string.h>

#include "proxy/route.h"

#define HELD_BODY    131072 /* a body up to this is taken whole before the provider is asked */
#define AHEAD        262144 /* what may wait for a slow provider, of a longer one */
#define TUNNEL_IDLE  600000 /* ms without a byte either way */
#define TUNNEL_TOTAL 86400000
#define MAX_FIELDS   (EXCHANGE_MAX_FIELDS + 1024)

static const char *const fields_passed[] = {"content-type",
                                            "content-encoding",
                                            "accept",
                                            "accept-language",
                                            "range",
                                            "if-none-match",
                                            "if-match",
                                            "if-modified-since",
                                            "openai-beta",
                                            "anthropic-version",
                                            "anthropic-beta",
                                            "idempotency-key",
                                            "traceparent",
                                            "tracestate",
                                            NULL};

static const char *const fields_of_tunnel[] = {"openai-beta",
                                               "traceparent",
                                               "tracestate",
                                               "sec-websocket-key",
                                               "sec-websocket-version",
                                               "sec-websocket-extensions",
                                               NULL};

/* ---- the request comes in ---------------------------------------------------------------------
 */

/* Browsers cannot set headers, so callers there put a key and whose it is among the subprotocols.
 * Those stay here: ours takes their place. */
static void add_protocols(struct span all, struct strbuf *out)
{
    bool any = false;

    while (all.n > 0) {
        const char *comma = memchr(all.p, ',', all.n);
        struct span one = {all.p, comma != NULL ? (size_t)(comma - all.p) : all.n};

        all.p += one.n + (comma != NULL);
        all.n -= one.n + (comma != NULL);
        one = span_trim(one);
        if (one.n == 0 || span_find(one, "api-key") != NULL ||
            span_starts(one, "openai-organization") || span_starts(one, "openai-project"))
            continue;
        strbuf_add(out, any ? ", " : "Sec-WebSocket-Protocol: ");
        strbuf_add_span(out, one);
        any = true;
    }
    if (any)
        strbuf_add(out, "\r\n");
}

static struct span tunnel_fields(struct exchange *x, const struct http1_head *h)
{
    struct strbuf out = strbuf_in(&x->arena, 16384);

    strbuf_add(&out, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    strbuf_add_span(&out, exchange_copy_fields(x, h, fields_of_tunnel));
    for (unsigned i = 0; i < h->n; i++) {
        struct span value = h->headers[i].value;

        /* A space for each comma; a line goes on whole or not at all. */
        if (span_is_nocase(h->headers[i].name, "sec-websocket-protocol") &&
            2 * value.n + 32 <= out.max - out.len)
            add_protocols(value, &out);
    }
    return strbuf_span(&out);
}

bool exchange_pass_begin(struct exchange *x, const struct http1_head *h)
{
    struct exchange_pass *p;
    bool small = h->framing == HTTP1_LENGTH && h->length <= HELD_BODY;
    bool tunnel = x->admission.door.kind == DOOR_TUNNEL;

    if (!exchange_allow(x, (struct span){0}))
        return false;
    if (tunnel && (h->framing == HTTP1_CHUNKED || h->length != 0)) {
        exchange_refuse_saying(x, 400, "invalid_request", "",
                               "a request that asks for a WebSocket has no body");
        return false;
    }
    x->pass = p = arena_zalloc(&x->arena, sizeof(*p));
    p->method = arena_copy(&x->arena, h->method);
    p->target = arena_copy(&x->arena, h->target);
    x->admission.door.below = arena_copy(&x->arena, x->admission.door.below);
    p->fields = tunnel ? tunnel_fields(x, h) : exchange_copy_fields(x, h, fields_passed);
    p->has_length = h->framing == HTTP1_LENGTH;
    p->length = h->length;
    if (h->framing != HTTP1_NO_BODY && !exchange_reserve(x, small ? h->length : HELD_BODY + AHEAD))
        return false;
    x->body = strbuf_heap(HELD_BODY + AHEAD);
    return true;
}

/* ---- whom it goes to --------------------------------------------------------------------------
 */

/* The first target of a provider that is of the client's kind. */
static struct provider *home_on(const struct exchange *x, const struct config_route *r)
{
    struct target_set *set = x->space->service->targets;

    for (size_t i = 0; i < r->n_targets; i++) {
        struct provider *p = &set->providers[r->targets[i].provider];

        if (p->passthrough != NULL && p->type->dialect == x->dialect)
            return p;
    }
    return NULL;
}

/* Files and batches live at one provider, so it is always the same one. */
static struct provider *find_home(struct exchange *x)
{
    const struct config *c = x->space->service->config;
    struct provider *home = NULL;

    if (x->route_wanted.n > 0) {
        x->route = route_named(c, x->route_wanted);
        if (x->route == NULL) {
            exchange_refuse_saying(x, 404, "route_not_found", "x-holdfast-route",
                                   "x-holdfast-route names no route of the configuration");
            return NULL;
        }
        home = home_on(x, x->route);
    }
    for (size_t i = 0; i < c->n_routes && x->route_wanted.n == 0 && home == NULL; i++) {
        x->route = &c->routes[i];
        home = home_on(x, x->route);
    }
    if (home == NULL) {
        x->route = NULL;
        exchange_refuse_saying(x, 404, "not_found", "",
                               "this path is served by the provider alone, and no provider of its "
                               "kind is among the targets of the routes");
    }
    return home;
}

/* The rules of HTTP say which methods do no harm when they are repeated (RFC 9110 9.2.2). */
static bool is_once(struct span method)
{
    return span_is(method, "POST") || span_is(method, "PATCH");
}

/* Where a request without a body has to say that it has none (RFC 9110 8.6). */
static bool brings_body(struct span method)
{
    return is_once(method) || span_is(method, "PUT");
}

static void ask(struct exchange *x)
{
    struct service *s = x->space->service;
    const struct config *c = s->config;
    struct exchange_pass *p = x->pass;
    struct provider *home = find_home(x);
    bool tunnel = x->admission.door.kind == DOOR_TUNNEL;
    struct failover_orders orders;
    struct config_timeouts limits;

    if (home == NULL || !exchange_within_limits(x, 0))
        return;
    limits = config_timeouts_of(c, x->route, &x->route->targets[0]);
    p->asking = true;
    failover_init(
        &x->failover,
        &(struct failover_policy){
            .max_attempts = p->open || x->no_failover ? 1 : c->failover.max_attempts,
            .per_target =
                p->open || x->no_failover || is_once(p->method) ? 1 : c->failover.per_target,
            .total_ms = tunnel                                               ? TUNNEL_TOTAL
                        : x->timeout_ms != 0 && x->timeout_ms < limits.total ? x->timeout_ms
                                                                             : limits.total,
            .hedge_ms = FAILOVER_HEDGE_OFF,
            .queue_ms = c->overload.queue_max_wait,
            .kind = PACE_WHOLE,
            .retried = x->retried,
            .set = s->targets,
            .route = (size_t)(x->route - c->routes),
        },
        1, rng_next(&x->space->rng), &x->arena);
    failover_add(&x->failover, &(struct failover_candidate){
                                   .target = home->passthrough,
                                   .timers = {.connect = limits.connect,
                                              .tls = limits.tls,
                                              .first_output = limits.answer,
                                              .idle = tunnel ? TUNNEL_IDLE : limits.idle},
                               });
    x->planned = true;
    failover_begin(&x->failover, loop_now_ms(x->space->loop), &orders);
    exchange_carry_out(x, &orders);
}

bool exchange_pass_body(struct exchange *x, struct span bytes)
{
    struct exchange_pass *p = x->pass;

    x->request_bytes += bytes.n;
    if (p->asking) {
        attempt_ask_more(x->attempts, bytes);
        if (upstream_unsent(&x->attempts->call) > AHEAD)
            client_body_pause(x->out.client);
        return true;
    }
    strbuf_add_span(&x->body, bytes);
    assert(!x->body.failed);
    if (x->body.len < HELD_BODY || x->body.len == p->length)
        return true;
    p->open = true;
    client_body_pause(x->out.client);
    ask(x);
    return !x->ended;
}

void exchange_pass_ready(struct exchange *x)
{
    struct exchange_pass *p = x->pass;

    if (p->asking) {
        p->open = false;
        if (x->attempts != NULL) /* else it waits for its turn, and is then asked with all of it */
            attempt_asked(x->attempts);
        return;
    }
    ask(x);
}

void exchange_pass_room(struct exchange *x, struct attempt *a)
{
    uint64_t now = loop_now_ms(x->space->loop);

    if (a->owns)
        failover_progress(&x->failover, false, now);
    else if (x->pass->open)
        failover_asking(&x->failover, now);
    if (x->out.client != NULL)
        client_body_resume(x->out.client);
}

/* ---- the core's orders ------------------------------------------------------------------------
 */

struct attempt *exchange_pass_try(struct exchange *x, int try, const struct attempt_events *events)
{
    struct service *s = x->space->service;
    const struct exchange_pass *p = x->pass;
    const struct failover_try *t = &x->failover.tries[try];
    struct target *target = x->failover.candidates[t->candidate].target;
    const struct origin *o = &s->origins[target->provider - s->targets->providers];
    struct attempt_raw brief = {
        .number = try,
        .method = p->method,
        .path = door_path(&x->admission.door, span_of(o->base_path), p->target, &x->arena),
        .fields = p->fields,
        .body = strbuf_span(&x->body),
        .open = p->open,
        .has_length = p->open ? p->has_length : x->body.len > 0 || brings_body(p->method),
        .length = p->open ? p->length : x->body.len,
        .once = is_once(p->method),
        .upgrade = x->admission.door.kind == DOOR_TUNNEL,
        .own_limits = x->ticket.state != NULL,
    };

    return attempt_start_raw(s, x->space->pool, x->space->loop, &x->arena, &brief, x->dialect,
                             target, t->ticket.key, events, x);
}

/* The header fields of the answer: the provider's, and ours. */
static void add_fields(struct exchange *x, const struct attempt *a, struct strbuf *out)
{
    exchange_add_id(x, out);
    relay_fields(&x->failover, a->number, x->request.model, loop_now_ms(x->space->loop), out);
    strbuf_add_span(out, strbuf_span(&a->fields));
    assert(!out->failed); /* each part of them is bounded */
}

void exchange_pass_commit(struct exchange *x, struct attempt *a)
{
    char mem[MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));
    struct span held;

    if (a->over)
        return; /* all of it is here: it goes out in one piece */
    add_fields(x, a, &fields);
    x->status = a->status;
    x->opened = true;
    held = attempt_own(a);
    x->answer_bytes += held.n;
    if (a->tunnel) {
        strbuf_add(&fields, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
        client_tunnel(x->out.client, strbuf_span(&fields));
    } else {
        outlet_start(&x->out, a->status, strbuf_span(&fields));
    }
    outlet_write(&x->out, held);
    attempt_held_sent(a);
    outlet_flush(&x->out);
}

void exchange_pass_finish(struct exchange *x, struct attempt *a)
{
    char mem[MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));

    if (!x->opened) {
        add_fields(x, a, &fields);
        exchange_answer(x, a->status, &fields, strbuf_span(&a->held), FAILURE_NONE,
                        failure_row(FAILURE_NONE)->label);
        return;
    }
    exchange_record(x, FAILURE_NONE, failure_row(FAILURE_NONE)->label);
    outlet_end(&x->out);
    exchange_end(x);
}
