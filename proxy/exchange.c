#include "proxy/exchange.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proxy/admit.h"
#include "proxy/attempt.h"
#include "proxy/base/clock.h"
#include "proxy/base/hash.h"
#include "proxy/base/mem.h"
#include "proxy/ops/accesslog.h"
#include "proxy/outlet.h"
#include "proxy/relay.h"
#include "proxy/route.h"
#include "providers/sse_list.h"

#define MAX_SPARE      64
#define MAX_FIELDS     6144               /* header lines of an answer */
#define MAX_MODELS     1024               /* in the list of models */
#define MAX_LAST       (16 * 1024 * 1024) /* of the last event of a stream: it may repeat all */
#define MAX_REPLAY_KEY 255
#define SMALL_BODY     65536
#define MAX_HEDGED     131072 /* bytes of a request: a second call of a larger one costs too much */
#define TRAIL_TARGETS  (CONFIG_MAX_TARGETS + FAILOVER_MAX_TRIES + 1)

struct exchange {
    struct exchange_space *space;
    struct exchange *next, *prev;
    struct outlet out;
    struct follower follower; /* of an answer that is kept already */
    bool following;
    enum metrics_replay found_by;
    struct loop_timer alone; /* until an answer whose client has left is of no use any more */
    struct arena arena;
    struct loop_timer timer;
    struct loop_task release; /* gives it back once no callback can hold it */
    bool recorded, ended;

    char id[72];
    const char *address; /* the client's, for the log */
    unsigned counted;    /* tries that the metrics have already */
    struct admission admission;
    const struct dialect *dialect;
    struct span fields_for_all;  /* header lines that go on to every provider */
    struct span fields_for_same; /* ... to one that speaks the client's dialect */
    struct span query_for_same;  /* the same of the query, from "?" on */
    bool no_failover;
    bool retried;        /* the client's library tries this for the second time or later */
    struct span session; /* a header that names the conversation, or empty */
    uint64_t timeout_ms; /* 0: none asked for */
    enum seam_mode midstream;
    struct span route_wanted;
    struct span replay_key;            /* Idempotency-Key */
    struct span last_event;            /* Last-Event-ID */
    uint8_t caller[HASH_SHA256_BYTES]; /* whose the answer is; known only where it can be kept */

    struct strbuf body;
    uint64_t reserved; /* of the service's memory */
    struct chat_request request;
    struct conversation *conversation; /* the request in canonical form, once somebody needs it */
    struct err conversation_error;     /* ... or why it has none */
    struct span answer_id;             /* of an answer that we put into words ourselves */
    const struct config_route *route;

    struct failover failover;
    bool planned;             /* the failover core is at work */
    struct attempt *attempts; /* all of them, the newest first */
    struct attempt *deciding; /* the last one that ended or answered */
    struct attempt *owner;    /* the one whose answer goes to the client, once committed */
    struct chat_usage used;   /* by those that owned it before, as far as it is known or guessed */
    bool opened, committed;
    struct sse_list list;                    /* of a stream that the client wants as a JSON array */
    unsigned status;                         /* what the client got */
    uint64_t started_us, asked_us, first_us; /* head in, request whole, first output out */
    uint64_t answer_bytes;
    uint64_t request_bytes;
};

static void carry_out(struct exchange *x, const struct failover_orders *orders);
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

/* ---- birth and death --------------------------------------------------------------------------
 */

static void give_back(struct loop_task *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, release);
    struct exchange_space *s = x->space;

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

static void timer_due(struct loop_timer *t);
static void alone_due(struct loop_timer *t);

static struct exchange *exchange_new(struct exchange_space *s, struct client *c)
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
        .out = {.client = c},
        .arena = arena,
        .timer = {.on_due = timer_due},
        .alone = {.on_due = alone_due},
        .release = {.run = give_back},
        .dialect = &dialect_openai_chat,
        .started_us = loop_now_us(s->loop),
    };
    x->next = s->live;
    if (s->live != NULL)
        s->live->prev = x;
    s->live = x;
    return x;
}

static void log_exchange(struct exchange *x, const char *outcome);

/* The one terminal outcome, recorded once: before the last bytes go out, so that whoever has the
 * answer finds it in the metrics. `label`: a failure's, or the code of a refusal. */
static void record(struct exchange *x, enum failure outcome, const char *label)
{
    struct service *service = x->space->service;
    size_t route = x->route != NULL ? (size_t)(x->route - service->config->routes) : METRICS_NONE;

    assert(!x->recorded);
    x->recorded = true;
    metrics_request(service->metrics, route, door_dialect_index(x->dialect), outcome,
                    clock_us() - x->started_us);
    if (service->access_log)
        log_exchange(x, label);
}

static void sweep_later(struct exchange_space *s, uint64_t due_ms)
{
    if (s->sweep.slot == 0)
        loop_timer_set(s->loop, &s->sweep, due_ms);
}

static void sweep_due(struct loop_timer *t)
{
    struct exchange_space *s = CONTAINER_OF(t, struct exchange_space, sweep);
    uint64_t next = replay_sweep(s->service->replay, loop_now_ms(s->loop));

    if (next != UINT64_MAX)
        sweep_later(s, next);
}

/* What the request needed while there could be another target: none is asked any more. */
static void forget_body(struct exchange *x)
{
    if (x->body.arena != NULL)
        return;
    x->request.model = arena_copy(&x->arena, x->request.model);
    strbuf_release(&x->body);
    service_return(x->space->service, x->reserved);
    x->reserved = 0;
}

/* Gives back everything it holds. */
static void end(struct exchange *x)
{
    struct exchange_space *s = x->space;

    assert(x->recorded && !x->ended);
    x->ended = true;
    x->out.client = NULL;
    for (struct attempt *a = x->attempts; a != NULL; a = a->next) {
        attempt_stop(a);
        if (a->said != NULL)
            seam_text_release(a->said);
    }
    outlet_abandon(&x->out);
    if (x->out.loop != NULL) /* it was kept: perhaps it is now */
        sweep_later(s, loop_now_ms(s->loop) + s->service->config->replay.ttl);
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

/* ---- the line in the log ----------------------------------------------------------------------
 */

/* As in the trail: with the model, also where that is the client's own. */
static struct span name_for_log(struct exchange *x, const struct target *t)
{
    if (t->model.p != NULL)
        return span_of(t->name);
    return span_of(arena_printf(&x->arena, "%s/%.*s", t->name, SPAN_ARG(x->request.model)));
}

static size_t attempts_for_log(struct exchange *x, struct access_attempt *out)
{
    const struct failover *f = &x->failover;
    size_t n = 0;

    for (unsigned i = 0; x->planned && i < f->n_tries && n < TRAIL_TARGETS; i++) {
        const struct failover_try *t = &f->tries[i];

        if (t->candidate == UINT8_MAX)
            continue;
        out[n++] = (struct access_attempt){
            .target = name_for_log(x, f->candidates[t->candidate].target),
            .outcome = failure_row(t->outcome)->label,
            .status = t->status,
            .us = (t->ended_ms - t->started_ms) * 1000,
            .ttft_us = t->output_ms != 0 ? (t->output_ms - t->started_ms) * 1000 : 0,
        };
    }
    return n;
}

static void log_exchange(struct exchange *x, const char *outcome)
{
    struct access_attempt attempts[TRAIL_TARGETS];
    char mem[LOG_LINE_MAX + 1];
    struct strbuf line = strbuf_on(mem, sizeof(mem));
    struct access_record r = {
        .id = span_of(x->id),
        .wall_ms = clock_wall_ms(),
        .client = span_of(x->address),
        .route = x->route != NULL ? span_of(x->route->model) : SPAN(""),
        .dialect = door_asks(x->admission.door.kind) ? x->dialect->name : NULL,
        .model = x->request.model,
        .stream = x->request.stream,
        .replayed = x->following ? metrics_replay_label(x->found_by) : NULL,
        .outcome = outcome,
        .status = x->status,
        .duration_us = clock_us() - x->started_us,
        .ttft_us = x->first_us != 0 ? x->first_us - x->started_us : 0,
        .request_bytes = x->request_bytes,
        .answer_bytes = x->answer_bytes,
        .attempts = attempts,
        .n_attempts = attempts_for_log(x, attempts),
    };

    if (x->committed) {
        const struct attempt *a = x->owner;

        r.usage_seen = a->watch.usage.seen;
        r.input_tokens = x->used.input + a->watch.usage.input;
        r.output_tokens = x->used.output + a->watch.usage.output;
        r.cached_tokens = x->used.cached + a->watch.usage.cached;
        r.reasoning_tokens = x->used.reasoning + a->watch.usage.reasoning;
        r.provider = span_of(a->target->provider->conf->name);
        r.served_model = a->target->model.p != NULL ? a->target->model : x->request.model;
    }
    accesslog_write(&r, x->space->service->log_format, &line);
    log_line(strbuf_span(&line));
}

/* ---- answering --------------------------------------------------------------------------------
 */

static void add_id(const struct exchange *x, struct strbuf *fields)
{
    strbuf_addf(fields, "x-request-id: %s\r\n", x->id);
    if (x->dialect->id_field != NULL)
        strbuf_addf(fields, "%s: %s\r\n", x->dialect->id_field, x->id);
}

/* An error as it goes to this client, before it is written in the words of his dialect. */
static struct chat_error for_client(const struct exchange *x, const struct chat_error *error)
{
    struct chat_error e = *error;

    e.request_id = x->id;
    if (e.status >= 500 && x->dialect->exhausted != 0)
        e.status = x->dialect->exhausted;
    return e;
}

static void answer(struct exchange *x, unsigned status, struct strbuf *fields, struct span body,
                   enum failure outcome, const char *label)
{
    x->status = status;
    x->answer_bytes = body.n;
    record(x, outcome, label);
    outlet_answer(&x->out, status, strbuf_span(fields), body, outcome);
    end(x);
}

/* An error of our own making: no target was asked. */
static void refuse(struct exchange *x, const struct chat_error *error)
{
    char mem[MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));
    struct strbuf body = strbuf_in(&x->arena, 8192);
    struct chat_error told = for_client(x, error);

    add_id(x, &fields);
    strbuf_add(&fields, "Content-Type: application/json\r\n");
    strbuf_add(&fields, error->status == 503 ? "x-should-retry: true\r\nretry-after: 1\r\n"
                                             : "x-should-retry: false\r\n");
    if (x->admission.allow != NULL)
        strbuf_addf(&fields, "Allow: %s\r\n", x->admission.allow);
    if (error->status == 426) /* RFC 9110 15.5.22 wants one named: what we do speak */
        strbuf_add(&fields, "Upgrade: HTTP/1.1\r\n");
    if (error->status == 401)
        strbuf_add(&fields, "WWW-Authenticate: Bearer\r\n");
    x->dialect->write_error(&told, &body);
    answer(x, told.status, &fields, strbuf_span(&body), REJECTED, error->code);
}

static void refuse_saying(struct exchange *x, unsigned status, const char *code, const char *param,
                          const char *text)
{
    struct chat_error e = {.status = status};

    snprintf(e.code, sizeof(e.code), "%s", code);
    snprintf(e.param, sizeof(e.param), "%s", param);
    snprintf(e.message, sizeof(e.message), "%s", text);
    refuse(x, &e);
}

static void answer_json(struct exchange *x, unsigned status, struct span body)
{
    char mem[MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));

    add_id(x, &fields);
    strbuf_add(&fields, "Content-Type: application/json\r\n");
    answer(x, status, &fields, body, FAILURE_NONE, failure_row(FAILURE_NONE)->label);
}

/* ---- a request's head -------------------------------------------------------------------------
 */

static bool good_id(struct span s)
{
    if (s.n == 0 || s.n > 64)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static void set_id(struct exchange *x, struct span wanted)
{
    static const char hex[] = "0123456789abcdef";
    uint64_t bits[2] = {rng_next(&x->space->rng), rng_next(&x->space->rng)};

    if (good_id(wanted)) {
        memcpy(x->id, wanted.p, wanted.n);
        x->id[wanted.n] = '\0';
        return;
    }
    memcpy(x->id, "req_", 4);
    for (unsigned i = 0; i < 32; i++)
        x->id[4 + i] = hex[(bits[i / 16] >> (i % 16 * 4)) & 15];
    x->id[36] = '\0';
}

static struct admit_request to_admit(const struct http1_head *h)
{
    return (struct admit_request){
        .method = h->method,
        .target = h->target,
        .host = http1_find(h, "host"),
        .origin = http1_find(h, "origin"),
        .sec_fetch_site = http1_find(h, "sec-fetch-site"),
        .authorization = http1_find(h, "authorization"),
        .x_api_key = http1_find(h, "x-api-key"),
        .x_goog_api_key = http1_find(h, "x-goog-api-key"),
        .api_key = http1_find(h, "api-key"),
        .anthropic_version = http1_find(h, "anthropic-version"),
        .x_goog_api_client = http1_find(h, "x-goog-api-client"),
        .content_type = http1_find(h, "content-type"),
        .content_encoding = http1_find(h, "content-encoding"),
        .upgrade = http1_find(h, "upgrade"),
        .has_length = h->framing == HTTP1_LENGTH,
        .length = h->length,
    };
}

/* Header lines of the client's that a provider may see; credentials and cookies never are. A field
 * may have several lines. */
static struct span copy_fields(struct exchange *x, const struct http1_head *h,
                               const char *const *names)
{
    struct strbuf out = strbuf_in(&x->arena, 8192);

    for (; *names != NULL; names++)
        for (unsigned i = 0; i < h->n; i++) {
            struct span value = h->headers[i].value;

            if (!span_is_nocase(h->headers[i].name, *names) || value.n == 0 || value.n > 1024 ||
                strlen(*names) + value.n + 4 > out.max - out.len)
                continue; /* a line goes on whole or not at all */
            strbuf_addf(&out, "%s: ", *names);
            strbuf_add_span(&out, value);
            strbuf_add(&out, "\r\n");
        }
    return strbuf_span(&out);
}

/* Could it stand in any path without a meaning of its own (RFC 3986 2.3)? */
static bool is_plain(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') ||
              (s.p[i] >= '0' && s.p[i] <= '9') || strchr("-._~", s.p[i]) != NULL) ||
            s.p[i] == '\0')
            return false;
    return true;
}

/* The parameters of the client's query that a provider may see: some callers put their key there.
 */
static struct span copy_query(struct exchange *x, struct span target, const char *const *names)
{
    struct strbuf out = strbuf_in(&x->arena, 256);
    const char *q = memchr(target.p, '?', target.n);

    while (q != NULL && names != NULL) {
        struct span rest = {q + 1, (size_t)(target.p + target.n - q - 1)}, part = rest;
        size_t n = 0;

        q = memchr(rest.p, '&', rest.n);
        if (q != NULL)
            part.n = (size_t)(q - rest.p);
        for (const char *const *name = names; *name != NULL; name++) {
            n = strlen(*name);
            if (!span_starts(part, *name) || part.n <= n || part.p[n] != '=' || part.n > 60 ||
                !is_plain((struct span){part.p + n + 1, part.n - n - 1}))
                continue;
            strbuf_add_char(&out, out.len == 0 ? '?' : '&');
            strbuf_add_span(&out, part);
        }
    }
    return out.failed ? (struct span){0} : strbuf_span(&out);
}

/* How long the client's own library waits: an answer after that reaches nobody. Values from 5000 on
 * are milliseconds (older SDKs), below that seconds. */
static void read_client_timeouts(struct exchange *x, const struct http1_head *h)
{
    static const char *const names[] = {"x-stainless-timeout", "x-server-timeout"};
    uint64_t v;

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_to_u64(http1_find(h, names[i]), &v) && v > 0 && v < 100000000)
            x->timeout_ms = v >= 5000 ? v : v * 1000;
}

/* The x-holdfast-* headers of a request. False when it was refused. */
static bool read_wishes(struct exchange *x, const struct http1_head *h)
{
    static const char *const sessions[] = {"x-session-id", "session-id", "x-session-affinity",
                                           "x-claude-code-session-id"};
    struct span failover = http1_find(h, "x-holdfast-failover");
    struct span midstream = http1_find(h, "x-holdfast-midstream");
    struct span timeout = http1_find(h, "x-holdfast-timeout-ms");
    uint64_t ms = 0, retries;

    read_client_timeouts(x, h);
    x->retried = span_to_u64(http1_find(h, "x-stainless-retry-count"), &retries) && retries > 0;
    for (size_t i = 0; i < ARRAY_LEN(sessions) && x->session.n == 0; i++)
        x->session = arena_copy(&x->arena, http1_find(h, sessions[i]));
    x->no_failover = span_is_nocase(failover, "off");
    if (failover.p != NULL && !x->no_failover && !span_is_nocase(failover, "on")) {
        refuse_saying(x, 400, "invalid_header", "x-holdfast-failover",
                      "x-holdfast-failover is neither \"on\" nor \"off\"");
        return false;
    }
    if (midstream.n == 0)
        midstream = span_of(x->space->service->config->stream.midstream);
    if (span_is_nocase(midstream, "continue")) {
        x->midstream = SEAM_CONTINUE;
    } else if (span_is_nocase(midstream, "error")) {
        x->midstream = SEAM_ERROR;
    } else if (!span_is_nocase(midstream, "auto")) {
        refuse_saying(x, 400, "invalid_header", "x-holdfast-midstream",
                      "x-holdfast-midstream is none of \"auto\", \"continue\" and \"error\"");
        return false;
    }
    if (timeout.p != NULL && (!span_to_u64(timeout, &ms) || ms == 0 || ms > 86400000)) {
        refuse_saying(x, 400, "invalid_header", "x-holdfast-timeout-ms",
                      "x-holdfast-timeout-ms is not a number of milliseconds from 1 to 86400000");
        return false;
    }
    if (ms != 0)
        x->timeout_ms = ms;
    x->route_wanted = arena_copy(&x->arena, http1_find(h, "x-holdfast-route"));
    x->replay_key = arena_copy(&x->arena, http1_find(h, "idempotency-key"));
    if (x->replay_key.n > MAX_REPLAY_KEY) {
        refuse_saying(x, 400, "invalid_header", "Idempotency-Key",
                      "Idempotency-Key is longer than 255 bytes");
        return false;
    }
    return true;
}

static void *begin(void *ctx, struct client *c, const struct http1_head *h)
{
    struct exchange_space *s = ctx;
    struct exchange *x = exchange_new(s, c);
    struct admit_request r = to_admit(h);
    bool admitted;

    set_id(x, http1_find(h, "x-request-id"));
    x->address = arena_strdup(&x->arena, span_of(client_address(c)));
    admitted = admit(s->service->config, &r, &x->admission);
    x->dialect = x->admission.door.dialect;
    if (!admitted) {
        refuse(x, &x->admission.error);
        return NULL;
    }
    x->admission.door.model = arena_copy(&x->arena, x->admission.door.model);
    if (x->admission.door.kind == DOOR_STREAM) {
        x->last_event = arena_copy(&x->arena, http1_find(h, "last-event-id"));
        admit_caller(&r, &x->admission, x->caller);
    }
    if (!door_asks(x->admission.door.kind)) {
        x->body = strbuf_in(&x->arena, SMALL_BODY);
        return x;
    }
    if (!read_wishes(x, h))
        return NULL;
    if (x->replay_key.n > 0 || s->service->resume)
        admit_caller(&r, &x->admission, x->caller);
    x->fields_for_all = copy_fields(x, h, (const char *const[]){"traceparent", "tracestate", NULL});
    x->fields_for_same = copy_fields(x, h, x->dialect->client_fields);
    x->query_for_same = copy_query(x, h->target, x->dialect->client_query);
    if (h->framing == HTTP1_LENGTH) {
        if (!service_reserve(s->service, h->length)) {
            refuse_saying(x, 503, "proxy_overloaded", "",
                          "the requests under way use all the memory that limits.memory allows");
            return NULL;
        }
        x->reserved = h->length;
    }
    x->body = h->framing == HTTP1_LENGTH && h->length <= SMALL_BODY
                  ? strbuf_in(&x->arena, SMALL_BODY)
                  : strbuf_heap(s->service->config->limits.request_body);
    if (h->framing == HTTP1_LENGTH)
        strbuf_room(&x->body, h->length); /* once, so that a large body is never moved */
    return x;
}

static bool body(void *exchange, struct span bytes)
{
    struct exchange *x = exchange;
    struct service *s = x->space->service;

    strbuf_add_span(&x->body, bytes);
    if (x->body.failed) {
        refuse_saying(x, 413, "body_too_large", "",
                      "the body is larger than limits.request_body allows");
        return false;
    }
    if (x->body.len > x->reserved) {
        uint64_t more = x->body.len - x->reserved;

        if (!service_reserve(s, more)) {
            refuse_saying(x, 503, "proxy_overloaded", "",
                          "the requests under way use all the memory that limits.memory allows");
            return false;
        }
        x->reserved += more;
    }
    return true;
}

/* ---- orders -----------------------------------------------------------------------------------
 */

/* The metrics of the tries that have ended since the last look. */
static void count_tries(struct exchange *x)
{
    const struct failover *f = &x->failover;
    struct metrics *m = x->space->service->metrics;

    for (; x->counted < f->n_tries; x->counted++) {
        const struct failover_try *t = &f->tries[x->counted];

        if (t->phase != PHASE_ENDED)
            return;
        if (!t->skipped)
            metrics_attempt(m, f->candidates[t->candidate].target->index, t->outcome,
                            (t->ended_ms - t->started_ms) * 1000);
        if (t->hedge)
            metrics_hedge(m, t->output_ms != 0          ? HEDGE_RESULT_WON
                             : t->outcome == HEDGE_LOST ? HEDGE_RESULT_LOST
                                                        : HEDGE_RESULT_FAILED);
    }
}

/* The timer only ever moves to an earlier time; when it comes too early it is set anew. */
static void arm(struct exchange *x)
{
    uint64_t due = failover_due(&x->failover);

    if (x->timer.slot == 0 || due < x->timer.due_ms)
        loop_timer_set(x->space->loop, &x->timer, due);
}

static void step(struct exchange *x, const struct failover_event *ev)
{
    struct failover_orders orders;

    failover_step(&x->failover, ev, loop_now_ms(x->space->loop), &orders);
    carry_out(x, &orders);
}

static struct attempt *find_attempt(struct exchange *x, int number)
{
    struct attempt *a = x->attempts;

    while (a != NULL && a->number != number)
        a = a->next;
    return a;
}

/* Its text stays where the client has it. */
static void stop_attempt(const struct exchange *x, struct attempt *a)
{
    attempt_stop(a);
    if (a->said != NULL && (x->owner == NULL || a->said != x->owner->said))
        seam_text_release(a->said);
}

/* How the answer that the client has a part of can be carried on, if at all. */
static unsigned carry_ways(const struct exchange *x)
{
    const struct seam_rules rules = {
        .mode = x->midstream,
        .choices = x->request.choices,
        .tools = x->request.tools,
        .structured = x->request.structured,
        .logprobs = x->request.logprobs,
        .audio = x->request.audio,
    };

    if (x->owner == NULL || x->owner->said == NULL)
        return 0;
    return seam_ways(x->owner->said, &rules);
}

/* What the one before it holds is of no use any more; it cannot be freed from within itself. */
static void attempt_over(struct exchange *x, struct attempt *a)
{
    if (x->deciding != NULL && x->deciding != a)
        stop_attempt(x, x->deciding);
    x->deciding = a;
    if (a->error.message[0] != '\0')
        target_note(a->target, a->error.message);
}

static void happened(struct attempt *a, const struct failover_event *ev)
{
    struct exchange *x = a->ctx;

    struct failover_event now = *ev;

    if (ev->kind == FAILOVER_FAILED || ev->kind == FAILOVER_COMPLETE)
        attempt_over(x, a);
    if (ev->kind == FAILOVER_FAILED)
        now.ways = carry_ways(x);
    step(x, &now);
}

/* Whole events of a stream, in the framing that the client asked for. */
static void send_events(struct exchange *x, struct span events)
{
    struct strbuf out;

    if (!x->admission.door.list) {
        x->answer_bytes += events.n;
        outlet_write(&x->out, events);
        return;
    }
    out = strbuf_heap(events.n + 16); /* shorter than "data: " and the empty line of each */
    sse_list_add(&x->list, events, &out);
    x->answer_bytes += out.len;
    outlet_write(&x->out, strbuf_span(&out));
    strbuf_release(&out);
}

static void write_out(struct attempt *a, struct span bytes)
{
    struct exchange *x = a->ctx;

    send_events(x, bytes);
    if (!outlet_taken(&x->out)) /* it cannot end from within its attempt */
        loop_timer_set(x->space->loop, &x->alone, loop_now_ms(x->space->loop));
}

static void flush(struct attempt *a)
{
    struct exchange *x = a->ctx;

    outlet_flush(&x->out);
    if (outlet_full(&x->out))
        upstream_pause(&a->call);
}

static void progress(struct attempt *a)
{
    struct exchange *x = a->ctx;

    failover_progress(&x->failover, a->owns && !a->held_back, loop_now_ms(x->space->loop));
}

static const struct attempt_events attempt_events = {
    .happened = happened,
    .write = write_out,
    .flush = flush,
    .progress = progress,
};

/* Reads the whole request, once, for the first target that speaks another dialect. */
static void need_conversation(struct exchange *x)
{
    struct conversation *c;

    if (x->conversation != NULL || x->conversation_error.msg[0] != '\0')
        return;
    c = arena_zalloc(&x->arena, sizeof(*c));
    c->model = x->request.model;
    c->stream = x->request.stream;
    if (x->dialect->read_conversation(strbuf_span(&x->body), &x->arena, c,
                                      &x->conversation_error) == 0)
        x->conversation = c;
}

/* The try before this one that made a call; -1 for the first. */
static int call_before(const struct failover *f, int try)
{
    do
        try--;
    while (try >= 0 && f->tries[try].skipped);
    return try;
}

static void count_start(struct exchange *x, int try)
{
    const struct failover *f = &x->failover;
    const struct failover_try *t = &f->tries[try], *before;
    struct metrics *m = x->space->service->metrics;
    int last = call_before(f, try);

    if (last < 0) {
        metrics_overhead(m, clock_us() - x->asked_us);
        return;
    }
    before = &f->tries[last];
    if (!t->hedge && before->candidate != t->candidate)
        metrics_failover(m, f->candidates[before->candidate].target->index,
                         f->candidates[t->candidate].target->index, before->outcome);
}

/* The tokens that whoever owns the client has written: what it told of them, if that can be all;
 * Anthropic begins a stream with a count of nothing yet. */
static uint64_t written(const struct exchange *x)
{
    const struct attempt *a = x->owner;
    bool went_on = a->stitch != NULL && a->stitch->join.way != SEAM_ALIGN;
    size_t bytes = a->said->text.len - (went_on ? a->stitch->join.sent.n : 0);
    uint64_t guess = bytes / RELAY_BYTES_A_TOKEN;

    return a->watch.usage.output > guess ? a->watch.usage.output : guess;
}

/* The tokens of the answer so far. */
static struct chat_usage used_so_far(const struct exchange *x)
{
    struct chat_usage u = x->used;
    const struct chat_usage *last = &x->owner->watch.usage;

    u.seen = true;
    u.input += last->input;
    u.cached += last->cached;
    u.reasoning += last->reasoning;
    u.output += written(x);
    return u;
}

/* What a target is asked that is to carry the answer on: the request with more turns behind it. */
static void extend_request(struct exchange *x, enum seam_way way, uint64_t used, bool translates,
                           struct attempt_brief *brief)
{
    struct chat_request *longer = arena_zalloc(&x->arena, sizeof(*longer));
    struct conversation *c = arena_zalloc(&x->arena, sizeof(*c));
    struct err *e = arena_zalloc(&x->arena, sizeof(*e));
    struct seam_request ask;

    seam_request(x->owner->said, way, &x->arena, &ask);
    brief->unsayable = e->msg;
    *longer = x->request;
    if (x->dialect->extend(&x->request, ask.assistant, ask.user, used, &x->arena, longer, e) < 0)
        return;
    c->model = longer->model;
    c->stream = longer->stream;
    if (translates && x->dialect->read_conversation(longer->body, &x->arena, c, e) < 0)
        return;
    brief->request = longer;
    brief->conversation = c;
    brief->unsayable = NULL;
}

/* Is what goes to the client kept, in case that somebody else has to carry it on? */
static struct seam_text *keep_text(struct exchange *x)
{
    struct seam_text *t;

    if (!x->request.stream || x->midstream == SEAM_ERROR || x->no_failover ||
        x->request.choices > 1 || x->request.logprobs || x->request.audio)
        return NULL;
    t = arena_zalloc(&x->arena, sizeof(*t));
    seam_text_init(t, x->space->service->config->stream.seam_memory);
    return t;
}

static enum attempt_commit commit_of(const struct config *c)
{
    return strcmp(c->stream.commit, "full") == 0     ? COMMIT_FULL
           : strcmp(c->stream.commit, "window") == 0 ? COMMIT_WINDOW
                                                     : COMMIT_FIRST;
}

static void start_attempt(struct exchange *x, int try)
{
    const struct failover *f = &x->failover;
    const struct failover_try *t = &f->tries[try];
    const struct config *c = x->space->service->config;
    struct target *target = f->candidates[t->candidate].target;
    bool translates = attempt_translates(target, x->dialect);
    struct attempt_carry carry;
    struct attempt_brief brief;
    struct attempt *a;

    count_start(x, try);
    if (translates && (!t->carries_on || t->way == SEAM_ALIGN))
        need_conversation(x);
    brief = (struct attempt_brief){
        .number = try,
        .client = x->dialect,
        .request = &x->request,
        .conversation = x->conversation,
        .conversation_error = x->conversation_error.msg,
        .id = x->answer_id,
        .fields_for_all = x->fields_for_all,
        .fields_for_same = x->fields_for_same,
        .query_for_same = x->query_for_same,
        .without = x->deciding != NULL && x->deciding->target == target ? x->deciding->refused : 0,
        .commit = commit_of(c),
        .window = c->stream.window_tokens,
        .atomic = strcmp(c->stream.tool_calls, "atomic") == 0,
    };
    if (t->carries_on) {
        carry = (struct attempt_carry){t->way, &x->owner->writer, used_so_far(x)};
        brief.carry = &carry;
        brief.said = x->owner->said;
        if (t->way != SEAM_ALIGN)
            extend_request(x, t->way, carry.used.output, translates, &brief);
    } else {
        brief.said = keep_text(x);
    }
    a = attempt_start(x->space->service, x->space->pool, x->space->loop, &x->arena, &brief, target,
                      t->ticket.key, &attempt_events, x);
    a->next = x->attempts;
    x->attempts = a;
}

/* It is no part of what goes on now: the other attempt, a timer, or the client's end has decided.
 */
static void drop_attempt(struct exchange *x, int try)
{
    struct attempt *a = find_attempt(x, try);

    if (a->error.message[0] != '\0')
        target_note(a->target, a->error.message);
    stop_attempt(x, a);
}

/* What the provider could not be told. */
static void add_dropped(const struct attempt *a, struct strbuf *fields)
{
    if (a == NULL || a->dropped.len == 0)
        return;
    strbuf_add(fields, "x-holdfast-dropped: ");
    relay_add_value(strbuf_span(&a->dropped), fields);
    strbuf_add(fields, a->dropped.failed ? ", ...\r\n" : "\r\n");
}

/* The status line and the header fields of a stream; nothing of it is sent before the first event.
 * `a`: who answers, as far as that is known. */
static void open_stream(struct exchange *x, const struct attempt *a)
{
    char mem[MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));

    add_id(x, &fields);
    relay_fields(&x->failover, a != NULL ? a->number : -1, x->request.model,
                 loop_now_ms(x->space->loop), &fields);
    add_dropped(a, &fields);
    if (a != NULL)
        strbuf_add_span(&fields, strbuf_span(&a->fields));
    strbuf_add(&fields, x->admission.door.list ? "Content-Type: application/json\r\n"
                                               : "Content-Type: text/event-stream\r\n");
    strbuf_add(&fields, "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n");
    if (x->out.ids.stream[0] != '\0')
        strbuf_addf(&fields, "x-holdfast-stream: %s\r\n", x->out.ids.stream);
    assert(!fields.failed); /* each part of them is bounded */
    x->status = 200;
    x->opened = true;
    outlet_start(&x->out, 200, strbuf_span(&fields));
}

static void heartbeat(struct exchange *x)
{
    if (!x->opened)
        open_stream(x, NULL); /* nobody has answered yet */
    if (x->dialect->comments)
        outlet_write(&x->out, SPAN(": keep-alive\n\n"));
    outlet_flush(&x->out);
}

/* A head that had to go out with a heartbeat could not know who would answer. Comments say it,
 * which clients pass over and people read. */
static void correct_head(struct exchange *x, const struct attempt *a)
{
    char mem[MAX_FIELDS], text[MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem)), out = strbuf_on(text, sizeof(text));

    if (!x->dialect->comments)
        return;
    relay_fields(&x->failover, a->number, x->request.model, loop_now_ms(x->space->loop), &fields);
    add_dropped(a, &fields);
    for (size_t i = 0, start = 0; i < fields.len; i++)
        if (mem[i] == '\n') {
            strbuf_add(&out, ": ");
            strbuf_add_n(&out, mem + start, i - 1 - start);
            strbuf_add_char(&out, '\n');
            start = i + 1;
        }
    strbuf_add_char(&out, '\n');
    assert(!fields.failed && !out.failed); /* each part of them is bounded */
    outlet_write(&x->out, strbuf_span(&out));
}

static void send_held(struct exchange *x, struct attempt *a)
{
    struct span held = attempt_own(a);

    if (held.n > 0)
        send_events(x, held);
    attempt_held_sent(a);
}

static void settle(struct exchange *x, const struct attempt *a)
{
    metrics_tokens(x->space->service->metrics, a->target->index, &a->watch.usage);
    if (a->watch.usage.seen) {
        atomic_fetch_add_explicit(&a->target->tokens_in, a->watch.usage.input,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&a->target->tokens_out, a->watch.usage.output,
                                  memory_order_relaxed);
    }
}

/* Another target goes on where the answer broke, and its words fit: it owns the client now. A
 * comment marks the place, which clients pass over and people read. */
static void carried_on(struct exchange *x, int try, struct attempt *a)
{
    const struct failover *f = &x->failover;
    struct attempt *before = x->owner;
    uint64_t wrote = a->stitch->before.output - x->used.output;

    settle(x, before);
    x->used = a->stitch->before;
    x->owner = a;
    metrics_midstream(x->space->service->metrics,
                      a->stitch->join.way == SEAM_ALIGN ? MIDSTREAM_ALIGNED : MIDSTREAM_CONTINUED);
    if (x->dialect->comments) {
        char mem[MAX_FIELDS];
        struct strbuf mark = strbuf_on(mem, sizeof(mem));

        relay_seam(f, before->number, try, x->request.model, &a->stitch->join, wrote,
                   wrote != before->watch.usage.output, &mark);
        outlet_write(&x->out, strbuf_span(&mark));
    }
    send_held(x, a);
    outlet_flush(&x->out);
}

static void commit(struct exchange *x, int try)
{
    const struct failover_try *t = &x->failover.tries[try];
    struct attempt *a = find_attempt(x, try);

    if (x->committed) {
        carried_on(x, try, a);
        return;
    }
    x->committed = true;
    x->owner = a;
    if (a->spent_ms != RETRY_AFTER_NONE)
        target_spent(a->target, &t->ticket, a->spent_ms, loop_now_ms(x->space->loop));
    if (t->hedge) {
        int first = call_before(&x->failover, try);

        metrics_failover(x->space->service->metrics, find_attempt(x, first)->target->index,
                         a->target->index, x->failover.tries[first].outcome);
    }
    x->first_us = clock_us();
    metrics_first_token(x->space->service->metrics, a->target->index, x->first_us - x->started_us);
    if (!x->request.stream)
        return; /* FINISH follows and sends it in one piece */
    if (!x->opened)
        open_stream(x, a);
    else
        correct_head(x, a);
    send_held(x, a);
    /* The request is kept for another target; there is none any more. */
    if (a->said == NULL && a->call.sent == a->call.total)
        forget_body(x);
}

static void finish_whole(struct exchange *x, struct attempt *a)
{
    char mem[MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));

    add_id(x, &fields);
    relay_fields(&x->failover, x->failover.verdict, x->request.model, loop_now_ms(x->space->loop),
                 &fields);
    add_dropped(a, &fields);
    strbuf_add_span(&fields, strbuf_span(&a->fields));
    strbuf_add(&fields, "Content-Type: application/json\r\n");
    assert(!fields.failed); /* each part of them is bounded */
    answer(x, 200, &fields, strbuf_span(&a->held), FAILURE_NONE, failure_row(FAILURE_NONE)->label);
}

static void finish(struct exchange *x)
{
    struct attempt *a = x->owner;

    a->over = true;
    upstream_cancel(&a->call); /* where it only kept the connection open */
    settle(x, a);
    if (!x->request.stream) {
        finish_whole(x, a);
        return;
    }
    if (outlet_taken(&x->out) && !a->watch.end) {
        struct strbuf last = strbuf_in(&x->arena, 65536);

        attempt_write_end(a, &last);
        send_events(x, strbuf_span(&last));
    }
    if (outlet_taken(&x->out) && x->admission.door.list) {
        struct strbuf close = strbuf_in(&x->arena, 16);

        sse_list_end(&x->list, &close);
        x->answer_bytes += close.len;
        outlet_write(&x->out, strbuf_span(&close));
    }
    record(x, FAILURE_NONE, failure_row(FAILURE_NONE)->label);
    outlet_end(&x->out);
    end(x);
}

static const struct chat_error *what_was_said(struct exchange *x)
{
    const struct failover *f = &x->failover;
    const struct failover_try *t = f->verdict >= 0 ? &f->tries[f->verdict] : NULL;

    return t == NULL || t->skipped ? NULL : &find_attempt(x, f->verdict)->error;
}

/* After the first byte: the dialect's error inside the stream, then the connection breaks off. */
static void break_off(struct exchange *x)
{
    struct strbuf event = strbuf_in(&x->arena, MAX_LAST);
    struct chat_error error;

    relay_error(&x->failover, what_was_said(x), x->request.model, loop_now_ms(x->space->loop),
                &error);
    error.request_id = x->id;
    if (x->owner != NULL && x->owner->writer.started && x->dialect->write_break != NULL)
        x->dialect->write_break(&x->owner->writer, &error, &event);
    else
        x->dialect->write_stream_error(&error, &event);
    if (x->owner != NULL)
        settle(x, x->owner);
    metrics_midstream(x->space->service->metrics, MIDSTREAM_ERROR);
    send_events(x, strbuf_span(&event));
    record(x, failover_outcome(&x->failover), failure_row(failover_outcome(&x->failover))->label);
    outlet_abort(&x->out, failover_outcome(&x->failover));
    end(x);
}

static void give_up(struct exchange *x)
{
    char mem[MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));
    struct strbuf text = strbuf_in(&x->arena, 8192);
    enum failure outcome = failover_outcome(&x->failover);
    struct chat_error error;

    relay_error(&x->failover, what_was_said(x), x->request.model, loop_now_ms(x->space->loop),
                &error);
    error = for_client(x, &error);
    x->dialect->write_error(&error, &text);
    add_id(x, &fields);
    relay_fields(&x->failover, -1, x->request.model, loop_now_ms(x->space->loop), &fields);
    relay_retry_fields(&x->failover, &fields);
    strbuf_add(&fields, "Content-Type: application/json\r\n");
    answer(x, error.status, &fields, strbuf_span(&text), outcome, failure_row(outcome)->label);
}

static void carry_out(struct exchange *x, const struct failover_orders *orders)
{
    count_tries(x);
    for (unsigned i = 0; i < orders->n; i++) {
        int try = orders->v[i].try;

        switch (orders->v[i].kind) {
        case ORDER_TRY:
            start_attempt(x, try);
            break;
        case ORDER_DROP:
            drop_attempt(x, try);
            break;
        case ORDER_COMMIT:
            commit(x, try);
            break;
        case ORDER_HEARTBEAT:
            heartbeat(x);
            break;
        case ORDER_FINISH:
            finish(x);
            return;
        case ORDER_BREAK:
            break_off(x);
            return;
        case ORDER_REFUSE:
            give_up(x);
            return;
        }
    }
    if (!x->failover.ended)
        arm(x);
}

static void timer_due(struct loop_timer *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, timer);
    uint64_t now = loop_now_ms(x->space->loop);
    struct failover_event ev = {.kind = FAILOVER_TICK, .retry_after_ms = RETRY_AFTER_NONE};
    const struct failover *f = &x->failover;

    /* While a slow client holds the answer up, the provider is not at fault. */
    if (x->owner != NULL && !x->owner->over && x->owner->call.paused)
        failover_progress(&x->failover, true, now);
    if (failover_due(&x->failover) > now) {
        arm(x);
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(f->live); i++)
        if (f->live[i] >= 0 && f->tries[f->live[i]].phase == PHASE_CONNECTING)
            ev.tcp_up[i] = upstream_tcp_up(&find_attempt(x, f->live[i])->call);
    ev.ways = carry_ways(x);
    step(x, &ev);
    /* What was held for a while goes out, though nothing comes from the provider just now. */
    if (!x->ended && x->committed)
        outlet_flush(&x->out);
}

/* ---- answers that are kept ---------------------------------------------------------------------
 */

static void follow(struct follower *f)
{
    struct exchange *x = CONTAINER_OF(f, struct exchange, follower);
    char mem[MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));
    enum failure outcome;

    add_id(x, &fields);
    follower_pump(f, x->out.client, strbuf_span(&fields));
    x->status = follower_status(f);
    x->answer_bytes = f->bytes;
    if (!f->over)
        return;
    if (!follower_has_answer(f)) {
        refuse_saying(x, 503, "answer_lost", "",
                      "the answer that this request waited for has ended and was not kept");
        return;
    }
    outcome = follower_outcome(f);
    record(x, outcome, failure_row(outcome)->label);
    follower_finish(f, x->out.client, strbuf_span(&fields));
    end(x);
}

static void start_following(struct exchange *x, enum metrics_replay found_by)
{
    struct service *s = x->space->service;

    x->following = true;
    x->found_by = found_by;
    metrics_replay(s->metrics, found_by);
    forget_body(x);
    follower_start(&x->follower, s->config->limits.answer_body);
    follow(&x->follower);
}

void exchange_news(struct exchange_space *s)
{
    follower_set_look(&s->followers);
}

/* Digests of who asks under which key, and of what is asked. */
static void name_request(struct exchange *x, uint8_t key[HASH_SHA256_BYTES],
                         uint8_t request[HASH_SHA256_BYTES])
{
    struct strbuf text = strbuf_in(&x->arena, 8192);

    strbuf_add_n(&text, x->caller, sizeof(x->caller));
    strbuf_add(&text, x->dialect->name);
    strbuf_add_char(&text, ' ');
    strbuf_add_span(&text, x->replay_key);
    hash_sha256(strbuf_span(&text), key);
    hash_sha256(strbuf_span(&x->body), request);
    strbuf_clear(&text);
    strbuf_add_n(&text, request, HASH_SHA256_BYTES);
    strbuf_add(&text, x->admission.door.list ? "list "
                      : x->request.stream    ? "stream "
                      : x->request.counting  ? "count "
                                             : "whole ");
    strbuf_add_span(&text, x->admission.door.model);
    assert(!text.failed); /* a head is smaller */
    hash_sha256(strbuf_span(&text), request);
}

/* Finds the answer to the same request of a moment ago. True where there is none and this one is to
 * be answered; it is then recorded. */
static bool claim(struct exchange *x)
{
    uint8_t key[HASH_SHA256_BYTES], request[HASH_SHA256_BYTES];
    struct replay_reader *reader = follower_init(&x->follower, &x->space->followers, follow);

    name_request(x, key, request);
    switch (replay_claim(x->space->service->replay, key, request, loop_now_ms(x->space->loop),
                         reader, &x->out.kept)) {
    case REPLAY_NEW:
    case REPLAY_NO_ROOM:
        return true;
    case REPLAY_KNOWN:
        start_following(x, REPLAYED_BY_KEY);
        return false;
    case REPLAY_OTHER:
        break;
    }
    refuse_saying(x, 422, "idempotency_key_reused", "Idempotency-Key",
                  "this Idempotency-Key was used with another request a moment ago; a new request "
                  "needs a new key");
    return false;
}

/* Whatever a client may come back for is recorded. False where the request is over by that. */
static bool keep(struct exchange *x)
{
    struct service *s = x->space->service;
    bool resumable = s->resume && x->request.stream && x->dialect->comments;
    uint8_t id[REPLAY_ID_BYTES];

    if (x->replay_key.n > 0 && !claim(x))
        return false;
    if (resumable && x->out.kept == NULL)
        x->out.kept = replay_open(s->replay, loop_now_ms(x->space->loop));
    if (x->out.kept == NULL)
        return true;
    x->out.loop = x->space->loop;
    if (resumable) {
        random_bytes(id, sizeof(id));
        hash_hex(id, sizeof(id), x->out.ids.stream);
        replay_identify(x->out.kept, id, x->caller);
    }
    return true;
}

/* GET /v1/streams/ID */
static void take_up_again(struct exchange *x)
{
    struct service *s = x->space->service;
    struct span stream = x->admission.door.model;
    uint8_t id[REPLAY_ID_BYTES];
    uint64_t seen = 0;

    if (!s->resume) {
        refuse_saying(x, 404, "not_found", "",
                      "streams cannot be taken up again here: stream.resume is off");
        return;
    }
    if (!event_ids_read_stream(stream, id)) {
        refuse_saying(x, 400, "invalid_stream_id", "",
                      "this is no stream's id; it stands in x-holdfast-stream");
        return;
    }
    if (x->last_event.n > 0 && !event_ids_read_event(x->last_event, stream, &seen)) {
        refuse_saying(x, 400, "invalid_header", "Last-Event-ID",
                      "Last-Event-ID is no event's id of this stream");
        return;
    }
    switch (replay_find(s->replay, id, x->caller, seen, loop_now_ms(x->space->loop),
                        follower_init(&x->follower, &x->space->followers, follow))) {
    case REPLAY_FOUND:
        start_following(x, REPLAYED_BY_STREAM);
        return;
    case REPLAY_GONE:
        refuse_saying(x, 410, "stream_gone", "",
                      "this stream, or what came behind that event, is not kept (any more)");
        return;
    case REPLAY_NOT_HIS:
        refuse_saying(x, 404, "not_found", "", "there is no such stream");
        return;
    }
}

/* Nobody will have the answer. */
static void abandon(struct exchange *x)
{
    struct failover_event ev = {.kind = FAILOVER_GONE, .retry_after_ms = RETRY_AFTER_NONE};

    step(x, &ev);
    record(x, CLIENT_GONE, failure_row(CLIENT_GONE)->label);
    end(x);
}

static void alone_due(struct loop_timer *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, alone);
    uint64_t now = loop_now_ms(x->space->loop), ttl = x->space->service->config->replay.ttl;
    uint64_t due = x->out.kept != NULL ? replay_due(x->out.kept) : 0;

    if (due > now)
        loop_timer_set(x->space->loop, t, due == UINT64_MAX ? now + ttl : due);
    else
        abandon(x);
}

/* The client has left, and may come back: the answer goes on. False where it may not. */
static bool go_on_alone(struct exchange *x)
{
    uint64_t now = loop_now_ms(x->space->loop);
    bool stopping = atomic_load(&x->space->service->draining);

    if (x->out.kept == NULL || (stopping && replay_due(x->out.kept) != UINT64_MAX))
        return false;
    replay_left(x->out.kept, now);
    loop_timer_set(x->space->loop, &x->alone, now);
    if (x->owner != NULL && !x->owner->over && x->owner->call.paused) {
        failover_progress(&x->failover, true, now);
        upstream_resume(&x->owner->call);
    }
    return true;
}

/* ---- the whole request is in ------------------------------------------------------------------
 */

static void serve_models(struct exchange *x)
{
    const struct config *c = x->space->service->config;
    struct span names[MAX_MODELS];
    struct strbuf out = strbuf_in(&x->arena, 1024 * 1024);
    size_t n = 0;

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
    if (x->admission.door.kind == DOOR_MODELS) {
        x->dialect->write_models(names, n, 0, &out);
        answer_json(x, 200, strbuf_span(&out));
        return;
    }
    if (route_find(c, x->admission.door.model) == NULL) {
        refuse_saying(x, 404, "model_not_found", "model", "no route serves this model");
        return;
    }
    x->dialect->write_model(x->admission.door.model, 0, &out);
    answer_json(x, 200, strbuf_span(&out));
}

static void refuse_model(struct exchange *x)
{
    struct chat_error e = {.status = 404, .code = "model_not_found", .param = "model"};
    struct span m = x->request.model;

    snprintf(e.message, sizeof(e.message),
             "no route serves the model \"%.*s\"; add one under routes: (a pattern such as \"*\" "
             "serves all)",
             m.n > 200 ? 200 : (int)m.n, m.p);
    refuse(x, &e);
}

/* What balances inside a tier: the conversation where one is named, else chance. */
static uint64_t session_of(struct exchange *x)
{
    if (x->session.n > 0)
        return span_hash(x->session);
    if (x->request.session.n > 0)
        return span_hash(x->request.session);
    return rng_next(&x->space->rng);
}

static void serve_chat(struct exchange *x)
{
    struct service *s = x->space->service;
    struct failover_policy policy;
    struct failover_orders orders;
    const struct door *door = &x->admission.door;
    struct err e;

    x->request =
        (struct chat_request){.stream = door->stream, .counting = door->kind == DOOR_COUNT};
    if (door->model.n != 0 && !door_model(door->model, &x->arena, &x->request.model)) {
        refuse_saying(x, 400, "invalid_request", "model",
                      "the model in the path: expected a name of 1 to 200 letters, digits and "
                      "._:/@+- without two dots in a row");
        return;
    }
    if (x->dialect->read_request(strbuf_span(&x->body), &x->arena, &x->request, &e) < 0) {
        refuse_saying(x, 400, e.code == ERR_SYNTAX ? "invalid_json" : "invalid_request", "", e.msg);
        return;
    }
    x->route = x->route_wanted.n > 0 ? route_named(s->config, x->route_wanted)
                                     : route_find(s->config, x->request.model);
    if (x->route == NULL) {
        if (x->route_wanted.n > 0)
            refuse_saying(x, 404, "route_not_found", "x-holdfast-route",
                          "x-holdfast-route names no route of the configuration");
        else
            refuse_model(x);
        return;
    }
    if (!keep(x))
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
    x->answer_id = span_of(arena_printf(&x->arena, "%s%s", x->dialect->id_prefix, x->id));
    failover_init(&x->failover, &policy, (unsigned)x->route->n_targets, rng_next(&x->space->rng),
                  &x->arena);
    route_plan(s->config, x->route, s->targets, &x->request, x->dialect, x->no_failover,
               session_of(x), &x->failover);
    if (x->failover.n_candidates == 0) {
        refuse_saying(x, 404, "not_found", "model",
                      "none of this model's targets can count tokens in this dialect; an estimate "
                      "would not be theirs");
        return;
    }
    x->planned = true;
    failover_begin(&x->failover, loop_now_ms(x->space->loop), &orders);
    carry_out(x, &orders);
}

static void ready(void *exchange)
{
    struct exchange *x = exchange;

    x->asked_us = clock_us();
    x->request_bytes = x->body.len;
    switch (x->admission.door.kind) {
    case DOOR_LIVEZ:
        answer_json(x, 200, SPAN("{\"status\":\"ok\"}\n"));
        break;
    case DOOR_READYZ:
        if (atomic_load(&x->space->service->draining))
            answer_json(x, 503, SPAN("{\"status\":\"draining\"}\n"));
        else
            answer_json(x, 200, SPAN("{\"status\":\"ready\"}\n"));
        break;
    case DOOR_MODELS:
    case DOOR_MODEL:
        serve_models(x);
        break;
    case DOOR_STREAM:
        take_up_again(x);
        break;
    case DOOR_ANSWER:
    case DOOR_COUNT:
        serve_chat(x);
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
        record(x, CLIENT_GONE, failure_row(CLIENT_GONE)->label);
        end(x);
        return;
    }
    /* Whoever leaves after the last marker has the whole answer. */
    if (x->committed && a->ending) {
        struct failover_event ev = {.kind = FAILOVER_COMPLETE,
                                    .try = a->number,
                                    .status = a->status,
                                    .retry_after_ms = RETRY_AFTER_NONE};

        step(x, &ev);
        return;
    }
    if (!go_on_alone(x))
        abandon(x);
}

static void drained(void *exchange)
{
    struct exchange *x = exchange;

    if (x->following) {
        follow(&x->follower);
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

    set_id(x, (struct span){0});
    x->address = arena_strdup(&x->arena, span_of(client_address(c)));
    snprintf(e.code, sizeof(e.code), "%s", why->code);
    snprintf(e.message, sizeof(e.message), "%s", why->text);
    e.request_id = x->id;
    x->dialect->write_error(&e, out);
    add_id(x, fields);
    strbuf_add(fields, "Content-Type: application/json\r\nx-should-retry: false\r\n");
    x->status = why->status;
    x->answer_bytes = out->len;
    record(x, REJECTED, why->code);
    end(x);
}

const struct client_handler exchange_handler = {
    .begin = begin,
    .body = body,
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

            step(x, &ev);
        } else if (x->following && x->follower.opened) {
            record(x, STOPPING, failure_row(STOPPING)->label);
            outlet_abort(&x->out, STOPPING);
            end(x);
        } else {
            refuse_saying(x, 503, "draining", "", "this proxy is shutting down");
        }
    }
}
