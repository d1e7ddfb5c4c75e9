#include "proxy/admit.h"

#include <stdarg.h>
#include <stdio.h>

#include "proxy/base/attributes.h"
#include "proxy/base/hash.h"

static bool refuse(struct admission *out, unsigned status, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

static bool refuse(struct admission *out, unsigned status, const char *code, const char *fmt, ...)
{
    va_list ap;

    out->error = (struct chat_error){.status = status};
    snprintf(out->error.code, sizeof(out->error.code), "%s", code);
    va_start(ap, fmt);
    vsnprintf(out->error.message, sizeof(out->error.message), fmt, ap);
    va_end(ap);
    return false;
}

/* ---- where it comes from -------------------------------------------------------------------- */

/* "name:8090" and "[::1]:8090" without the port. */
static struct span host_name(struct span host)
{
    for (size_t i = host.n; i > 0; i--) {
        if (host.p[i - 1] == ']')
            break;
        if (host.p[i - 1] == ':') {
            host.n = i - 1;
            break;
        }
    }
    return host;
}

/* An IPv6 address stands in brackets in a Host header, and without them in the configuration. */
static struct span without_brackets(struct span name)
{
    if (name.n < 2 || name.p[0] != '[' || name.p[name.n - 1] != ']')
        return name;
    return (struct span){name.p + 1, name.n - 2};
}

static bool is_loopback_name(struct span name)
{
    struct span rest = name;

    if (span_is_nocase(name, "localhost") || span_is(name, "[::1]"))
        return true;
    if (!span_starts(name, "127."))
        return false;
    for (size_t i = 0; i < rest.n; i++)
        if (rest.p[i] != '.' && (rest.p[i] < '0' || rest.p[i] > '9'))
            return false; /* 127.evil.example is a name like any other */
    return true;
}

static bool host_allowed(const struct config *c, struct span host)
{
    struct span name = host_name(host);
    bool open = false;

    if (host.n == 0 || is_loopback_name(name)) /* HTTP/1.0 may lack it; the codec sees to 1.1 */
        return true;
    name = without_brackets(name);
    for (size_t i = 0; i < c->n_hosts; i++)
        if (span_is_nocase(name, c->hosts[i]) || span_is_nocase(host, c->hosts[i]))
            return true;
    for (size_t i = 0; i < c->n_listens; i++) {
        if (c->listens[i].host != NULL && span_is_nocase(name, c->listens[i].host))
            return true;
        open = open || !c->listens[i].loopback;
    }
    /* Where every caller must show a key of its own, a page in a browser has nothing to gain. */
    return open && c->n_clients > 0;
}

static bool origin_allowed(const struct config *c, const struct admit_request *r)
{
    for (size_t i = 0; i < c->n_origins && r->origin.p != NULL; i++)
        if (span_is_nocase(r->origin, c->origins[i]))
            return true;
    if (r->origin.p != NULL)
        return false;
    return r->sec_fetch_site.p == NULL || span_is(r->sec_fetch_site, "none") ||
           span_is(r->sec_fetch_site, "same-origin");
}

/* ---- what it wants -------------------------------------------------------------------------- */

static bool wants_websocket(const struct admit_request *r)
{
    return span_find_nocase(r->upgrade, "websocket") != NULL;
}

static bool method_fits(const struct admit_request *r, struct admission *out)
{
    static const char *const passed[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
    bool post = door_asks(out->door.kind);

    for (size_t i = 0; door_passes(out->door.kind) && i < ARRAY_LEN(passed); i++)
        if (span_is(r->method, passed[i]))
            return true;
    if (post ? span_is(r->method, "POST") : span_is(r->method, "GET"))
        return true;
    if (!post && out->door.kind != DOOR_STREAM && span_is(r->method, "HEAD"))
        return true;
    if (post && wants_websocket(r))
        return refuse(
            out, 426, "no_websocket",
            "this proxy speaks no WebSocket; send the request as POST, and its answer comes "
            "as server-sent events");
    out->allow = post                            ? "POST"
                 : out->door.kind == DOOR_STREAM ? "GET"
                 : door_passes(out->door.kind)   ? "GET, HEAD, POST, PUT, PATCH, DELETE"
                                                 : "GET, HEAD";
    return refuse(out, 405, "method_not_allowed", "method %.*s is not allowed here; use %s",
                  r->method.n > 20 ? 20 : (int)r->method.n, r->method.p, out->allow);
}

/* ---- who it is ------------------------------------------------------------------------------ */

/* The credential after the scheme of an Authorization header; any scheme's name in any case. */
static struct span bearer(struct span authorization)
{
    struct span s = span_trim(authorization);

    if (s.n < 7 || !span_is_nocase((struct span){s.p, 7}, "bearer "))
        return (struct span){NULL, 0};
    return span_trim((struct span){s.p + 7, s.n - 7});
}

static struct span query_key(struct span target)
{
    const char *q = memchr(target.p, '?', target.n);

    while (q != NULL) {
        struct span rest = {q + 1, (size_t)(target.p + target.n - q - 1)};
        const char *next = memchr(rest.p, '&', rest.n);

        if (span_starts(rest, "key="))
            return (struct span){rest.p + 4,
                                 (size_t)((next != NULL ? next : rest.p + rest.n) - rest.p - 4)};
        q = next;
    }
    return (struct span){NULL, 0};
}

#define KEY_PLACES 5

static void shown_keys(const struct admit_request *r, struct span out[KEY_PLACES])
{
    out[0] = bearer(r->authorization);
    out[1] = r->x_api_key;
    out[2] = r->x_goog_api_key;
    out[3] = r->api_key;
    out[4] = query_key(r->target);
}

void admit_caller(const struct admit_request *r, const struct admission *a,
                  uint8_t out[HASH_SHA256_BYTES])
{
    struct span shown[KEY_PLACES];
    size_t i = 0;

    if (a->client != NULL) {
        memcpy(out, a->client->key_sha256, HASH_SHA256_BYTES);
        return;
    }
    shown_keys(r, shown);
    while (i + 1 < KEY_PLACES && shown[i].n == 0)
        i++;
    hash_sha256(shown[i], out);
}

static bool authenticate(const struct config *c, const struct admit_request *r,
                         struct admission *out)
{
    struct span shown[KEY_PLACES];
    uint8_t digest[HASH_SHA256_BYTES];

    if (c->n_clients == 0)
        return true;
    shown_keys(r, shown);
    for (size_t i = 0; i < KEY_PLACES; i++) {
        if (shown[i].n == 0)
            continue;
        hash_sha256(shown[i], digest);
        for (size_t k = 0; k < c->n_clients; k++)
            if (hash_equal(digest, c->clients[k].key_sha256, sizeof(digest)))
                out->client = &c->clients[k];
        if (out->client != NULL)
            return true;
    }
    return refuse(out, 401, "invalid_api_key",
                  "no valid client key; send one that this proxy is configured with as "
                  "\"Authorization: Bearer KEY\" or x-api-key");
}

/* ---- what it brings ------------------------------------------------------------------------- */

static bool is_json(struct span content_type)
{
    static const char json[] = "application/json";
    size_t n = sizeof(json) - 1;

    return content_type.n >= n && span_is_nocase((struct span){content_type.p, n}, json) &&
           (content_type.n == n || content_type.p[n] == ';' || content_type.p[n] == ' ');
}

static bool body_fits(const struct config *c, const struct admit_request *r, struct admission *out)
{
    if (!is_json(r->content_type))
        return refuse(out, 415, "unsupported_media_type",
                      "content-type \"%.*s\" is not supported; send application/json",
                      r->content_type.n > 60 ? 60 : (int)r->content_type.n,
                      r->content_type.n > 0 ? r->content_type.p : "");
    if (r->content_encoding.n > 0 && !span_is_nocase(r->content_encoding, "identity"))
        return refuse(out, 415, "unsupported_encoding",
                      "content-encoding \"%.*s\" is not supported; send the body uncompressed",
                      r->content_encoding.n > 60 ? 60 : (int)r->content_encoding.n,
                      r->content_encoding.p);
    if (r->has_length && r->length > c->limits.request_body)
        return refuse(out, 413, "body_too_large",
                      "the body has %llu bytes; limits.request_body allows %llu",
                      (unsigned long long)r->length, (unsigned long long)c->limits.request_body);
    return true;
}

bool admit(const struct config *c, const struct admit_request *r, struct admission *out)
{
    *out = (struct admission){0};
    out->door = door_find(
        r->target, &(struct door_hints){
                       .anthropic = r->anthropic_version.p != NULL,
                       .google = r->x_goog_api_key.p != NULL || r->x_goog_api_client.p != NULL,
                   });
    if (door_passes(out->door.kind) && !c->passthrough)
        out->door.kind = DOOR_NONE;
    if (out->door.kind == DOOR_TUNNEL && !(wants_websocket(r) && span_is(r->method, "GET")))
        out->door.kind = DOOR_PASS;
    if (!host_allowed(c, r->host))
        return refuse(out, 421, "host_not_allowed",
                      "host \"%.*s\" is none of this proxy's names; add it to hosts: in the "
                      "configuration",
                      r->host.n > 100 ? 100 : (int)r->host.n, r->host.p);
    if (!origin_allowed(c, r))
        return refuse(out, 403, "origin_not_allowed",
                      "requests from web pages are refused; add the page's origin to origins: in "
                      "the configuration");
    if (out->door.kind == DOOR_LIVEZ || out->door.kind == DOOR_READYZ)
        return method_fits(r, out);
    if (!authenticate(c, r, out))
        return false;
    if (out->door.kind == DOOR_NONE) {
        const char *q = memchr(r->target.p, '?', r->target.n);
        size_t n = q != NULL ? (size_t)(q - r->target.p) : r->target.n;

        return refuse(
            out, 404, "not_found",
            "there is nothing at %.*s; this proxy serves POST /v1/chat/completions, "
            "/v1/responses, /v1/completions, /v1/embeddings, /v1/messages, "
            "/v1/messages/count_tokens and /v1beta/models/NAME with :generateContent, "
            ":streamGenerateContent, :countTokens, :embedContent or :batchEmbedContents, and GET "
            "/v1/models",
            n > 200 ? 200 : (int)n, r->target.p);
    }
    if (!method_fits(r, out))
        return false;
    if (out->door.kind == DOOR_PASS && wants_websocket(r))
        return refuse(out, 426, "no_websocket", "there is no WebSocket at this path");
    return !door_asks(out->door.kind) || body_fits(c, r, out);
}
