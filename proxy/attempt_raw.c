#include "proxy/attempt_parts.h"

#define GATHERED   65536 /* bytes of an answer that are held, so that a short one goes out whole */
#define MAX_FIELDS 2048  /* header lines of the answer */

/* ---- judging ----------------------------------------------------------------------------------
 */

/* The provider's own word on the request is the caller's, whatever it is. Ours to deal with is what
 * the provider cannot do now, and what it says of our key. */
static bool is_ours(unsigned status)
{
    switch (status) {
    case 401:
    case 403:
    case 408:
    case 429:
        return true;
    case 501:
    case 505:
        return false;
    default:
        return status >= 500;
    }
}

/* Where something was made: the path of a realtime call is told nowhere else. A whole URL stays
 * here, as it would lead the caller past us. */
static bool is_place(const struct attempt *a, struct span name, struct span value)
{
    return a->status == 201 && span_is_nocase(name, "location") && span_starts(value, "/") &&
           !span_starts(value, "//");
}

static bool client_may_see(const struct attempt *a, struct span name, struct span value)
{
    static const char *const names[] = {
        "content-type",  "content-disposition", "content-range", "accept-ranges", "etag",
        "last-modified", "cache-control",       "retry-after",   "retry-after-ms"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_is_nocase(name, names[i]))
            return true;
    if (attempt_shows(a, name) || is_place(a, name, value))
        return true;
    return a->tunnel && name.n > 14 && span_is_nocase((struct span){name.p, 14}, "sec-websocket-");
}

/* From now on what comes goes out. */
static void give(struct attempt *a)
{
    struct failover_event ev = {.kind = FAILOVER_OUTPUT,
                                .try = a->number,
                                .status = a->status,
                                .retry_after_ms = RETRY_AFTER_NONE};

    a->told = true;
    a->events->happened(a, &ev);
}

/* ---- what the call brings ---------------------------------------------------------------------
 */

static void on_connected(void *ctx)
{
    attempt_tell(ctx, FAILOVER_CONNECTED);
}

static void on_head(void *ctx, const struct http1_head *head)
{
    struct attempt *a = ctx;
    struct span type = http1_find(head, "content-type");

    a->status = head->status;
    a->html = span_find_nocase(type, "text/html") != NULL;
    attempt_read_limits(a, head);
    if (is_ours(head->status)) {
        a->mode = MODE_ERROR;
        return;
    }
    if (head->status / 100 == 3 && head->status != 304) {
        attempt_fail(a, UNSUPPORTED, "it wants to send us elsewhere, which is never followed");
        return;
    }
    a->mode = MODE_RAW;
    a->tunnel = head->status == 101;
    a->gathers = span_find_nocase(type, "json") != NULL;
    for (unsigned i = 0; i < head->n; i++)
        if (client_may_see(a, head->headers[i].name, head->headers[i].value))
            attempt_keep_field(a, &head->headers[i]);
    if (a->tunnel)
        give(a);
}

static void on_body(void *ctx, struct span bytes)
{
    struct attempt *a = ctx;

    if (a->over)
        return;
    if (a->mode == MODE_ERROR) { /* enough of an error was read when the cap is reached */
        strbuf_add_n(&a->held, bytes.p,
                     bytes.n < ATTEMPT_MAX_ERROR - a->held.len ? bytes.n
                                                               : ATTEMPT_MAX_ERROR - a->held.len);
        return;
    }
    if (a->owns) {
        a->events->write(a, bytes);
        a->events->progress(a);
        return;
    }
    strbuf_add_span(&a->held, bytes);
    if (a->held.failed)
        attempt_fail(a, ANSWER_TOO_BIG, "the answer is larger than limits.answer_body");
    else if (a->held.len >= GATHERED && !a->told)
        give(a);
}

static void on_pause(void *ctx)
{
    struct attempt *a = ctx;

    if (a->mode == MODE_RAW && !a->told && !a->gathers && a->held.len > 0)
        give(a);
    if (a->owns && !a->over)
        a->events->flush(a);
}

static void on_end(void *ctx)
{
    struct attempt *a = ctx;

    if (a->mode == MODE_ERROR) {
        attempt_judge_error(a);
        return;
    }
    a->over = true;
    attempt_tell(a, FAILOVER_COMPLETE);
}

static void on_failed(void *ctx, enum failure why, const char *text)
{
    struct attempt *a = ctx;

    if (why == TRUNCATED && a->mode == MODE_ERROR)
        attempt_judge_error(a);
    else
        attempt_fail(a, why, text);
}

static void on_room(void *ctx)
{
    struct attempt *a = ctx;

    a->events->room(a);
}

static const struct upstream_events upstream_events = {
    .connected = on_connected,
    .head = on_head,
    .body = on_body,
    .pause = on_pause,
    .end = on_end,
    .failed = on_failed,
    .room = on_room,
};

/* ---- asking ------------------------------------------------------------------------------------
 */

static void write_head(const struct attempt *a, const struct attempt_raw *brief,
                       const struct origin *o, unsigned key, struct strbuf *out)
{
    const struct provider *p = a->target->provider;

    strbuf_add_span(out, brief->method);
    strbuf_add_char(out, ' ');
    strbuf_add_span(out, brief->path);
    strbuf_add(out, " HTTP/1.1\r\n");
    strbuf_add(out, o->host_field);
    if (p->keys[key].n > 0) {
        strbuf_add(out, p->type->key_header != NULL ? p->type->key_header : a->dialect->key_header);
        strbuf_add_span(out, p->keys[key]);
        strbuf_add(out, "\r\n");
    }
    strbuf_add(out, "Accept-Encoding: identity\r\nUser-Agent: holdfast/" HOLDFAST_VERSION "\r\n");
    strbuf_add_span(out, brief->fields);
    if (a->chunked)
        strbuf_add(out, "Transfer-Encoding: chunked\r\n");
    else if (brief->has_length)
        strbuf_addf(out, "Content-Length: %llu\r\n", (unsigned long long)brief->length);
    strbuf_add(out, "\r\n");
}

struct attempt *attempt_start_raw(struct service *s, struct upstream_pool *pool, struct loop *l,
                                  struct arena *arena, const struct attempt_raw *brief,
                                  const struct dialect *dialect, struct target *t, unsigned key,
                                  const struct attempt_events *events, void *ctx)
{
    static const struct chat_request nothing;
    struct attempt *a = arena_zalloc(arena, sizeof(*a));
    const struct origin *o = &s->origins[t->provider - s->targets->providers];
    struct strbuf head = strbuf_in(arena, HTTP1_MAX_HEAD);
    struct upstream_request request = {
        .bodyless = span_is(brief->method, "HEAD"),
        .fresh = brief->once,
        .open = brief->open || brief->upgrade,
        .upgrade = brief->upgrade,
    };
    char *size;

    a->service = s;
    a->said_no = payload_of(s->payloads);
    a->loop = l;
    a->arena = arena;
    a->events = events;
    a->ctx = ctx;
    a->number = brief->number;
    a->dialect = a->client = dialect;
    a->request = &nothing;
    a->target = t;
    a->raw = true;
    a->own_limits = brief->own_limits;
    a->chunked = brief->open && !brief->has_length;
    a->retry_after_ms = a->spent_ms = RETRY_AFTER_NONE;
    a->held = strbuf_heap(s->config->limits.answer_body);
    a->fields = strbuf_in(arena, MAX_FIELDS);
    write_head(a, brief, o, key, &head);
    request.parts[0] = strbuf_span(&head);
    if (a->chunked) {
        size = arena_alloc(arena, HTTP1_CHUNK_HEAD);
        request.parts[1] = (struct span){size, http1_chunk_head(size, brief->body.n)};
        request.parts[3] = SPAN("\r\n");
    }
    request.parts[2] = brief->body;
    upstream_start(&a->call, pool, o->lane + key, &o->peer, &request, &upstream_events, a);
    return a;
}

void attempt_ask_more(struct attempt *a, struct span bytes)
{
    char size[HTTP1_CHUNK_HEAD];

    if (a->chunked)
        upstream_write(&a->call, (struct span){size, http1_chunk_head(size, bytes.n)});
    upstream_write(&a->call, bytes);
    if (a->chunked)
        upstream_write(&a->call, SPAN("\r\n"));
}

void attempt_asked(struct attempt *a)
{
    if (a->chunked)
        upstream_write(&a->call, SPAN("0\r\n\r\n"));
    upstream_write_end(&a->call);
}
