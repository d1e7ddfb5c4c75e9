#include "proxy/ops/admin.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "proxy/base/base64.h"
#include "proxy/base/hash.h"
#include "proxy/base/json.h"
#include "proxy/base/mem.h"
#include "proxy/ops/page.h"

#define MAX_CONNECTIONS   64u
#define IDLE_SECONDS      10u
#define CONNECTION_MEMORY (16 * 1024)
#define MAX_PAGE          (64u << 20)

#define TEXT_TYPE    "text/plain; charset=utf-8"
#define HTML_TYPE    "text/html; charset=utf-8"
#define JSON_TYPE    "application/json"
#define NO_POLICY    "default-src 'none'; frame-ancestors 'none'" /* of what is no page */
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct admin {
    struct MHD_Daemon *daemon;
    struct admin_source source;
    char *host;           /* of the listener; see struct config_listen */
    bool local, loopback; /* a unix socket; nobody from elsewhere */
    char policy[320];     /* of the page: what it may do in a browser */
};

/* Who may ask ---------------------------------------------------------------------------------- */

/* The host of "host", "host:port", "[v6]" or "[v6]:port", without brackets; empty where the text is
 * none of these. */
static struct span host_of(struct span authority)
{
    struct span host = authority, port;
    const char *end = NULL;

    if (span_starts(authority, "[")) {
        host.p++, host.n--;
        end = memchr(host.p, ']', host.n);
        if (end == NULL)
            return (struct span){0};
        port = (struct span){end + 1, (size_t)(authority.p + authority.n - (end + 1))};
    } else {
        end = authority.n > 0 ? memchr(authority.p, ':', authority.n) : NULL;
        if (end == NULL)
            return authority;
        port = (struct span){end, (size_t)(authority.p + authority.n - end)};
    }
    host.n = (size_t)(end - host.p);
    if (port.n == 0)
        return host;
    if (port.p[0] != ':')
        return (struct span){0};
    for (size_t i = 1; i < port.n; i++)
        if (port.p[i] < '0' || port.p[i] > '9')
            return (struct span){0};
    return host;
}

/* An address that names one machine: 0.0.0.0 and :: reach whatever listens on the browser's own. */
static bool is_address(struct span host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr six;
    struct in_addr four;

    if (host.n == 0 || host.n >= sizeof(text))
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(AF_INET, text, &four) == 1)
        return four.s_addr != INADDR_ANY;
    return inet_pton(AF_INET6, text, &six) == 1 && !IN6_IS_ADDR_UNSPECIFIED(&six);
}

static bool host_allowed(const struct admin *a, struct span authority)
{
    static const char *const loopback_names[] = {"localhost", "127.0.0.1", "::1"};
    struct span host = host_of(authority);

    if (a->local)
        return true;
    if (host.n == 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(loopback_names); i++)
        if (span_is_nocase(host, loopback_names[i]))
            return true;
    for (size_t i = 0; i < a->source.n_hosts; i++)
        if (span_is_nocase(host, a->source.hosts[i]))
            return true;
    /* A wildcard is where we listen, and nobody's name. */
    if (span_is_nocase(host, a->host) && !span_is(host, "0.0.0.0") && !span_is(host, "::"))
        return true;
    return !a->loopback && is_address(host);
}

/* Does the request come from no web page, or from one of this very port? */
static bool origin_allowed(struct span host, const char *origin, const char *site)
{
    struct span from = span_of(origin);

    if (site != NULL && strcmp(site, "none") != 0 && strcmp(site, "same-origin") != 0)
        return false;
    if (origin == NULL)
        return true;
    if (span_starts(from, "http://"))
        from.p += 7, from.n -= 7;
    else if (span_starts(from, "https://"))
        from.p += 8, from.n -= 8;
    else
        return false;
    return host.n > 0 && span_eq(from, host);
}

/* Answers ----------------------------------------------------------------------------------------
 */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) != MHD_YES)
        abort(); /* only out of memory */
}

/* Sends the text, whose memory it takes. MHD leaves the body out for HEAD. */
static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *type,
                              const char *policy, struct strbuf *text)
{
    struct MHD_Response *response;
    enum MHD_Result rc;

    strbuf_add(text, ""); /* so that there is memory to hand over */
    response = MHD_create_response_from_buffer(text->len, text->buf, MHD_RESPMEM_MUST_FREE);
    *text = (struct strbuf){0};
    if (response == NULL)
        abort(); /* only out of memory */
    add_header(response, "Content-Type", type);
    add_header(response, "Cache-Control", "no-store");
    add_header(response, "X-Content-Type-Options", "nosniff");
    add_header(response, "Content-Security-Policy", policy);
    add_header(response, "Referrer-Policy", "no-referrer");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        add_header(response, "Allow", "GET, HEAD");
    rc = MHD_queue_response(c, status, response);
    MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result refuse(struct MHD_Connection *c, unsigned status, const char *code,
                              const char *message)
{
    struct strbuf out = strbuf_heap(MAX_PAGE);

    strbuf_add(&out, "{\"error\":{\"code\":");
    json_add_string(&out, span_of(code));
    strbuf_add(&out, ",\"message\":");
    json_add_string(&out, span_of(message));
    strbuf_add(&out, "}}\n");
    return answer(c, status, JSON_TYPE, NO_POLICY, &out);
}

/* Pages: each writes its text and returns the status. */

static unsigned page_index(const struct admin_source *s, struct strbuf *out)
{
    (void)s;
    strbuf_add_n(out, page_html, page_html_bytes);
    return MHD_HTTP_OK;
}

static unsigned page_livez(const struct admin_source *s, struct strbuf *out)
{
    bool live = s->live(s->ctx);

    strbuf_add(out, live ? "ok\n" : "stuck\n");
    return live ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned page_readyz(const struct admin_source *s, struct strbuf *out)
{
    if (s->ready(s->ctx, out)) {
        strbuf_clear(out);
        strbuf_add(out, "ready\n");
        return MHD_HTTP_OK;
    }
    strbuf_add_char(out, '\n');
    return MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned page_metrics(const struct admin_source *s, struct strbuf *out)
{
    s->metrics(s->ctx, out);
    return MHD_HTTP_OK;
}

static unsigned page_status(const struct admin_source *s, struct strbuf *out)
{
    s->status(s->ctx, out);
    return MHD_HTTP_OK;
}

static unsigned page_events(const struct admin_source *s, struct strbuf *out)
{
    s->events(s->ctx, out);
    return MHD_HTTP_OK;
}

static const struct page {
    const char *path, *type;
    unsigned (*write)(const struct admin_source *s, struct strbuf *out);
} pages[] = {
    {"/", HTML_TYPE, page_index},        {"/livez", TEXT_TYPE, page_livez},
    {"/readyz", TEXT_TYPE, page_readyz}, {"/metrics", METRICS_TYPE, page_metrics},
    {"/status", JSON_TYPE, page_status}, {"/events", JSON_TYPE, page_events},
};

static enum MHD_Result send_page(const struct admin *a, struct MHD_Connection *c,
                                 const struct page *page)
{
    struct strbuf out = strbuf_heap(MAX_PAGE);
    unsigned status = page->write(&a->source, &out);

    if (out.failed) {
        strbuf_release(&out);
        return refuse(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "too_big", "the page exceeds its cap");
    }
    return answer(c, status, page->type, page->write == page_index ? a->policy : NO_POLICY, &out);
}

static enum MHD_Result count_host(void *cls, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    (void)kind, (void)value;
    if (span_is_nocase(span_of(key), "host"))
        ++*(unsigned *)cls;
    return MHD_YES;
}

static const char *header(struct MHD_Connection *c, const char *name)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

/* The library calls when the head is there and, if that is not answered, again when the request is
 * complete. An answer to the first call ends the connection: that is for requests that announce a
 * body, which then is never read. */
static enum MHD_Result handle(void *cls, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_n, void **con_cls)
{
    const struct admin *a = cls;
    struct span host = span_of(header(c, "Host"));
    unsigned hosts = 0;

    (void)version, (void)upload, (void)upload_n;
    if (*con_cls == NULL && header(c, "Content-Length") == NULL &&
        header(c, "Transfer-Encoding") == NULL) {
        *con_cls = cls;
        return MHD_YES;
    }
    MHD_get_connection_values(c, MHD_HEADER_KIND, count_host, &hosts);
    if (hosts > 1)
        return refuse(c, MHD_HTTP_BAD_REQUEST, "duplicate_header", "more than one Host");
    if (!host_allowed(a, host))
        return refuse(c, MHD_HTTP_MISDIRECTED_REQUEST, "bad_host",
                      "this Host is not one of this port's names; see `hosts` in the manual");
    if (!origin_allowed(host, header(c, "Origin"), header(c, "Sec-Fetch-Site")))
        return refuse(c, MHD_HTTP_FORBIDDEN, "bad_origin",
                      "requests from other sites' pages are refused");
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return refuse(c, MHD_HTTP_METHOD_NOT_ALLOWED, "bad_method", "only GET and HEAD");
    for (size_t i = 0; i < ARRAY_LEN(pages); i++)
        if (strcmp(url, pages[i].path) == 0)
            return send_page(a, c, &pages[i]);
    return refuse(c, MHD_HTTP_NOT_FOUND, "not_found",
                  "there are /, /livez, /readyz, /metrics, /status and /events");
}

/* Start and stop ---------------------------------------------------------------------------------
 */

/* How the library is told to refuse what RFC 9112 refuses has changed its name. */
#if MHD_VERSION >= 0x00097600
#define STRICTNESS MHD_OPTION_CLIENT_DISCIPLINE_LVL
#else
#define STRICTNESS MHD_OPTION_STRICT_FOR_CLIENT
#endif

/* The thread is started with all signals blocked: they are the main thread's. */
static struct MHD_Daemon *start_daemon(struct admin *a, int fd)
{
    struct MHD_Daemon *daemon;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    daemon = MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, handle, a,
                              MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                              MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
                              MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
                              STRICTNESS, 1, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return daemon;
}

static void release(struct admin *a)
{
    free(a->host);
    free(a);
}

/* Appends 'sha256-...' of what stands between the two tags of the page. */
static void add_hash(struct strbuf *out, const char *from, const char *to)
{
    struct span page = {(const char *)page_html, page_html_bytes};
    const char *start = span_find(page, from), *end = span_find(page, to);
    uint8_t digest[HASH_SHA256_BYTES];

    assert(start != NULL && end != NULL && start < end);
    start += strlen(from);
    hash_sha256((struct span){start, (size_t)(end - start)}, digest);
    strbuf_add(out, "'sha256-");
    base64_add(out, (struct span){(const char *)digest, sizeof(digest)});
    strbuf_add(out, "'");
}

static void make_policy(struct admin *a)
{
    struct strbuf out = strbuf_on(a->policy, sizeof(a->policy));

    strbuf_add(&out, "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; "
                     "form-action 'none'; frame-ancestors 'none'; style-src ");
    add_hash(&out, "<style>", "</style>");
    strbuf_add(&out, "; script-src ");
    add_hash(&out, "<script>", "</script>");
    assert(!out.failed);
}

int admin_start(const struct config_listen *where, int fd, const struct admin_source *source,
                struct admin **out, struct err *e)
{
    struct admin *a;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* the library closes it */

    assert(where->path != NULL || where->host != NULL);
    if (own < 0)
        return err_set(e, ERR_IO, "admin: %s", strerror(errno));
    a = mem_zalloc(sizeof(*a));
    a->source = *source;
    a->host = mem_strdup(where->host);
    a->local = where->path != NULL;
    a->loopback = where->loopback;
    make_policy(a);
    a->daemon = start_daemon(a, own);
    if (a->daemon == NULL) {
        close(own);
        release(a);
        return err_set(e, ERR_IO, "admin: cannot start serving on %s", where->text);
    }
    *out = a;
    return 0;
}

void admin_quiesce(struct admin *a)
{
    MHD_socket fd = a != NULL ? MHD_quiesce_daemon(a->daemon) : MHD_INVALID_SOCKET;

    if (fd != MHD_INVALID_SOCKET)
        close(fd);
}

void admin_stop(struct admin *a)
{
    if (a == NULL)
        return;
    MHD_stop_daemon(a->daemon);
    release(a);
}
