#include "proxy/exchange_parts.h"

#include <string.h>

#include "proxy/route.h"

#define MAX_REPLAY_KEY 255
#define SMALL_BODY     65536

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

void exchange_set_id(struct exchange *x, struct span wanted)
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
struct span exchange_copy_fields(struct exchange *x, const struct http1_head *h,
                                 const char *const *names)
{
    struct strbuf out = strbuf_in(&x->arena, 8192);

    for (; *names != NULL; names++) {
        struct span name = span_of(*names);

        if (!http1_may_have(h, name))
            continue;
        for (unsigned i = 0; i < h->n; i++) {
            struct span value = h->headers[i].value;

            if (!span_eq_nocase(h->headers[i].name, name) || value.n == 0 || value.n > 1024 ||
                name.n + value.n + 4 > out.max - out.len)
                continue; /* a line goes on whole or not at all */
            strbuf_add_span(&out, name);
            strbuf_add(&out, ": ");
            strbuf_add_span(&out, value);
            strbuf_add(&out, "\r\n");
        }
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
    /* Claude Code, 2.1: an error event behind a part of an answer is the last word of its session.
     */
    x->tries_again = http1_find(h, "x-claude-code-session-id").n > 0;
    x->no_failover = span_is_nocase(failover, "off");
    if (failover.p != NULL && !x->no_failover && !span_is_nocase(failover, "on")) {
        exchange_refuse_saying(x, 400, "invalid_header", "x-holdfast-failover",
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
        exchange_refuse_saying(
            x, 400, "invalid_header", "x-holdfast-midstream",
            "x-holdfast-midstream is none of \"auto\", \"continue\" and \"error\"");
        return false;
    }
    if (timeout.p != NULL && (!span_to_u64(timeout, &ms) || ms == 0 || ms > 86400000)) {
        exchange_refuse_saying(
            x, 400, "invalid_header", "x-holdfast-timeout-ms",
            "x-holdfast-timeout-ms is not a number of milliseconds from 1 to 86400000");
        return false;
    }
    if (ms != 0)
        x->timeout_ms = ms;
    x->route_wanted = arena_copy(&x->arena, http1_find(h, "x-holdfast-route"));
    x->replay_key = arena_copy(&x->arena, http1_find(h, "idempotency-key"));
    if (x->replay_key.n > MAX_REPLAY_KEY) {
        exchange_refuse_saying(x, 400, "invalid_header", "Idempotency-Key",
                               "Idempotency-Key is longer than 255 bytes");
        return false;
    }
    return true;
}

bool exchange_reserve(struct exchange *x, uint64_t n)
{
    if (service_reserve(x->space->service, n)) {
        x->reserved += n;
        return true;
    }
    exchange_refuse_saying(x, 503, "proxy_overloaded", "",
                           "the requests under way use all the memory that limits.memory allows");
    return false;
}

void *exchange_begin(void *ctx, struct client *c, const struct http1_head *h)
{
    struct exchange_space *s = ctx;
    struct exchange *x = exchange_new(s, c);
    struct admit_request r = to_admit(h);
    bool admitted;

    exchange_set_id(x, http1_find(h, "x-request-id"));
    x->address = arena_strdup(&x->arena, span_of(client_address(c)));
    admitted = admit(s->service->config, &r, &x->admission);
    x->dialect = x->admission.door.dialect;
    if (!admitted) {
        exchange_refuse(x, &x->admission.error);
        return NULL;
    }
    x->admission.door.model = arena_copy(&x->arena, x->admission.door.model);
    if (x->admission.door.kind == DOOR_STREAM) {
        x->last_event = arena_copy(&x->arena, http1_find(h, "last-event-id"));
        admit_caller(&r, &x->admission, x->caller);
    }
    if (door_passes(x->admission.door.kind))
        return read_wishes(x, h) && exchange_pass_begin(x, h) ? x : NULL;
    if (!door_asks(x->admission.door.kind)) {
        x->body = strbuf_in(&x->arena, SMALL_BODY);
        return x;
    }
    if (!read_wishes(x, h))
        return NULL;
    if (x->replay_key.n > 0 || s->service->resume)
        admit_caller(&r, &x->admission, x->caller);
    x->fields_for_all =
        exchange_copy_fields(x, h, (const char *const[]){"traceparent", "tracestate", NULL});
    x->fields_for_same = exchange_copy_fields(x, h, x->dialect->client_fields);
    x->query_for_same = copy_query(x, h->target, x->dialect->client_query);
    if (h->framing == HTTP1_LENGTH) {
        if (!exchange_reserve(x, h->length))
            return NULL;
    }
    x->body = h->framing == HTTP1_LENGTH && h->length <= SMALL_BODY
                  ? strbuf_in(&x->arena, SMALL_BODY)
                  : strbuf_heap(s->service->config->limits.request_body);
    if (h->framing == HTTP1_LENGTH)
        strbuf_room(&x->body, h->length); /* once, so that a large body is never moved */
    return x;
}

bool exchange_body(void *exchange, struct span bytes)
{
    struct exchange *x = exchange;

    payload_take(&x->asked, bytes);
    if (x->pass != NULL)
        return exchange_pass_body(x, bytes);
    strbuf_add_span(&x->body, bytes);
    if (x->body.failed) {
        exchange_refuse_saying(x, 413, "body_too_large", "",
                               "the body is larger than limits.request_body allows");
        return false;
    }
    return x->body.len <= x->reserved || exchange_reserve(x, x->body.len - x->reserved);
}
