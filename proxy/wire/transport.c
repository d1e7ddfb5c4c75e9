#include "proxy/wire/transport.h"

#include <arpa/inet.h>
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/base/strbuf.h"
#include "proxy/wire/tls.h"

#define STALE_MS     3600000 /* so long the last address of a name may stand in for its name server */
#define SAY_AGAIN_MS 60000

/* What is remembered of a peer. */
struct acquaintance {
    const char *origin; /* the peer's */
    const struct tls_own *own;
    char address[INET6_ADDRSTRLEN]; /* where it was last found by its name; empty: never */
    uint64_t found_ms;
    uint64_t said_ms; /* when the log was last told that it stands in; 0: never */
    struct tls_memory tls;
    struct acquaintance *next;
};

/* A multi handle of libcurl, driven from the loop. */
struct driver {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer timer;
    struct loop_task task; /* looks for results */
};

struct transport_space {
    struct loop *loop;
    CURLSH *share;
    struct driver *driver;      /* of all whose socket libcurl hands over; NULL before the first */
    struct acquaintance *known; /* at most one for each peer of the configuration */
};

/* One of the sockets that libcurl watches while it connects: several addresses are tried side by
 * side, and the resolver has one. */
struct watched {
    struct loop_fd lfd;
    struct transport *transport;
    struct watched *next;
    int events; /* EPOLLIN and EPOLLOUT as libcurl wants them */
};

struct transport {
    struct transport_space *space;
    struct driver *driver; /* the space's, or one of its own */
    CURL *easy;            /* NULL once it is not needed any more */
    struct tls_session *tls;
    struct loop_fd handshake; /* during ours; its fd is -1 at other times */
    const struct transport_peer *peer;
    struct curl_slist *stand_in; /* its last address, once its name did not resolve */
    bool reached;                /* a name has been resolved: a connection is being made */
    bool detour;                 /* ... not to the peer's own port: a proxy stands between */
    bool proxied;                /* the connection that was made goes through the proxy */
    bool short_of; /* there was no socket to be had: our own lack, which libcurl does not report */
    struct watched *watched;
    int fd;
    bool drained; /* see transport_drained, without TLS */
    void (*up)(void *);
    void (*failed)(void *, enum failure, const char *);
    void *ctx;
    char error[CURL_ERROR_SIZE];
};

static struct driver *driver_new(struct loop *l);
static void driver_free(struct driver *d);

int transport_global_start(struct err *e)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(e, ERR_IO, "libcurl does not start");
    return tls_trust_load(e);
}

void transport_global_stop(void)
{
    tls_trust_free();
    curl_global_cleanup();
}

struct transport_space *transport_space_new(struct loop *l)
{
    struct transport_space *s = mem_zalloc(sizeof(*s));

    s->loop = l;
    s->share = curl_share_init();
    curl_share_setopt(s->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    return s;
}

void transport_space_free(struct transport_space *s)
{
    if (s == NULL)
        return;
    while (s->known != NULL) {
        struct acquaintance *next = s->known->next;

        tls_memory_release(&s->known->tls);
        free(s->known);
        s->known = next;
    }
    driver_free(s->driver);
    curl_share_cleanup(s->share);
    free(s);
}

/* ---- while connecting ----------------------------------------------------------------------- */

static void drive(struct driver *d, curl_socket_t fd, int what)
{
    int running;

    curl_multi_socket_action(d->multi, fd, what, &running);
    loop_soon(d->loop, &d->task);
}

static void socket_ready(struct loop_fd *f, uint32_t events)
{
    struct watched *w = CONTAINER_OF(f, struct watched, lfd);
    int what = 0;

    if (events & EPOLLIN)
        what |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        what |= CURL_CSELECT_OUT;
    if (events & (EPOLLERR | EPOLLHUP))
        what |= CURL_CSELECT_ERR;
    drive(w->transport->driver, f->fd, what);
}

static void unwatch(struct transport *t, struct watched *w)
{
    struct watched **at = &t->watched;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    loop_remove(t->space->loop, &w->lfd);
    curl_multi_assign(t->driver->multi, w->lfd.fd, NULL);
    free(w);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct driver *d = ctx;
    struct watched *w = socket_ctx;
    uint32_t events = 0;

    if (what == CURL_POLL_REMOVE) {
        if (w != NULL)
            unwatch(w->transport, w);
        return 0;
    }
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    if (w == NULL) {
        w = mem_zalloc(sizeof(*w));
        w->lfd = (struct loop_fd){fd, socket_ready};
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &w->transport);
        w->next = w->transport->watched;
        w->transport->watched = w;
        loop_add(d->loop, &w->lfd, events);
        curl_multi_assign(d->multi, fd, w);
    } else {
        loop_change(d->loop, &w->lfd, events);
    }
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *ctx)
{
    struct driver *d = ctx;

    (void)multi;
    if (ms < 0)
        loop_timer_clear(d->loop, &d->timer);
    else
        loop_timer_set(d->loop, &d->timer, loop_now_ms(d->loop) + (uint64_t)ms);
    return 0;
}

static void timer_due(struct loop_timer *timer)
{
    drive(CONTAINER_OF(timer, struct driver, timer), CURL_SOCKET_TIMEOUT, 0);
}

static enum failure failure_of(CURLcode rc)
{
    switch (rc) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return DNS;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
        return EGRESS_PROXY;
    case CURLE_OPERATION_TIMEDOUT:
        return CONNECT_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_ENGINE_INITFAILED:
        return TLS_FAILED;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
        return LOCAL;
    default:
        return REFUSED;
    }
}

/* What the proxy has answered to CONNECT, or 0. */
static long tunnel_status(struct transport *t)
{
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return status;
}

/* Does it go through the proxy? NO_PROXY may have the host. */
static bool is_through_proxy(struct transport *t)
{
    if (t->easy == NULL)
        return t->proxied;
    return t->peer->egress != NULL && (t->detour || tunnel_status(t) != 0);
}

/* What libcurl reports of a proxy is what it would report of the provider: that it cannot be
 * reached, that it closes, and as a receive error what it answers to CONNECT. */
static enum failure blame_proxy(struct transport *t, enum failure f)
{
    if (!is_through_proxy(t) || tunnel_status(t) / 100 == 2)
        return f;
    return f == REFUSED || (f == TLS_FAILED && t->peer->egress->tls) ? EGRESS_PROXY : f;
}

static bool is_shortage(long no)
{
    return no == EMFILE || no == ENFILE || no == ENOMEM || no == ENOBUFS || no == EADDRNOTAVAIL;
}

/* The resolver calls its own lack of descriptors an unknown name. It needs up to three. */
static bool resolver_starves(void)
{
    int fds[3] = {-1, -1, -1};
    bool starves;

    fds[2] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    starves = fds[2] < 0 || pipe2(fds, O_CLOEXEC) < 0;
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return starves;
}

/* Our own lack of descriptors or ports says nothing about the provider. */
static enum failure blame_ourselves(struct transport *t, enum failure f)
{
    long no = 0;

    curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &no);
    return t->short_of || is_shortage(no) || (f == DNS && resolver_starves()) ? LOCAL : f;
}

/* ---- a name that does not resolve ------------------------------------------------------------
 *
 * Name servers fail more often than what they name moves. So where a name resolved within the last
 * hour, its last address is tried; the certificate is still checked against the name.
 */

static struct acquaintance *acquaintance_of(struct transport *t)
{
    struct transport_space *s = t->space;
    struct acquaintance *a = s->known;

    while (a != NULL && (a->own != t->peer->own || strcmp(a->origin, t->peer->origin) != 0))
        a = a->next;
    if (a == NULL) {
        a = mem_zalloc(sizeof(*a));
        a->origin = t->peer->origin;
        a->own = t->peer->own;
        a->next = s->known;
        s->known = a;
    }
    return a;
}

static void remember_address(struct transport *t)
{
    struct acquaintance *a = acquaintance_of(t);
    const char *text = NULL;

    curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_IP, &text);
    if (t->stand_in != NULL || is_through_proxy(t) || text == NULL)
        return; /* not by its name, or not its own */
    snprintf(a->address, sizeof(a->address), "%s", text);
    a->found_ms = loop_now_ms(t->space->loop);
}

/* Connects once more, to the last address. False where there is none, or it has been tried. */
static bool stand_in(struct transport *t)
{
    struct acquaintance *a = acquaintance_of(t);
    uint64_t now = loop_now_ms(t->space->loop);
    char to[INET6_ADDRSTRLEN + 8];

    if (a->address[0] == '\0' || t->stand_in != NULL || now - a->found_ms > STALE_MS)
        return false;
    snprintf(to, sizeof(to), strchr(a->address, ':') != NULL ? "::[%s]:" : "::%s:", a->address);
    t->stand_in = curl_slist_append(NULL, to);
    curl_multi_remove_handle(t->driver->multi, t->easy);
    curl_easy_setopt(t->easy, CURLOPT_CONNECT_TO, t->stand_in);
    t->error[0] = '\0';
    if (a->said_ms == 0 || now - a->said_ms >= SAY_AGAIN_MS) {
        a->said_ms = now;
        log_warn("%s: its name does not resolve; its last address %s stands in", t->peer->origin,
                 a->address);
    }
    return curl_multi_add_handle(t->driver->multi, t->easy) == CURLM_OK;
}

/* ---- the result ----------------------------------------------------------------------------- */

/* The end of the attempt: `words` say what has failed, for people. */
static void fail(struct transport *t, enum failure f, const char *words)
{
    char mem[CURL_ERROR_SIZE + 400];
    struct strbuf text = strbuf_on(mem, sizeof(mem));

    if (t->stand_in != NULL)
        strbuf_add(&text, "its name does not resolve; at its last address: ");
    if (f == TLS_FAILED) /* of which the words do not say whose */
        strbuf_addf(&text, "%s: ", t->peer->origin);
    if (f == EGRESS_PROXY)
        strbuf_addf(&text, "proxy %s: ", t->peer->egress->name);
    else if (is_through_proxy(t))
        strbuf_addf(&text, "through proxy %s: ", t->peer->egress->name);
    strbuf_add(&text, words);
    t->failed(t->ctx, t->stand_in != NULL && f != LOCAL ? DNS : f, text.buf);
}

static void give_up(struct transport *t, CURLcode rc)
{
    enum failure f = blame_ourselves(t, blame_proxy(t, failure_of(rc)));

    if (f != DNS || !stand_in(t))
        fail(t, f, t->error[0] != '\0' ? t->error : curl_easy_strerror(rc));
}

/* ---- TLS ------------------------------------------------------------------------------------ */

static void end_handshake(struct transport *t)
{
    if (t->handshake.fd < 0)
        return;
    loop_remove(t->space->loop, &t->handshake);
    t->handshake.fd = -1;
}

static void go_on_with_handshake(struct transport *t)
{
    char why[300];
    int rc = tls_handshake(t->tls, why, sizeof(why));

    if (rc == 0)
        return;
    end_handshake(t);
    if (rc > 0)
        t->up(t->ctx);
    else
        fail(t, TLS_FAILED, why);
}

static void handshake_ready(struct loop_fd *f, uint32_t events)
{
    (void)events; /* whatever it is, OpenSSL finds it out */
    go_on_with_handshake(CONTAINER_OF(f, struct transport, handshake));
}

/* The host of "https://host:443", without the brackets of an IPv6 address. */
static void host_of(const char *origin, char *out, size_t size)
{
    const char *from = strstr(origin, "://") + 3, *to = strrchr(from, ':');

    if (*from == '[') {
        from++;
        to--;
    }
    snprintf(out, size, "%.*s", (int)(to - from), from);
}

static void start_tls(struct transport *t)
{
    char host[256];

    host_of(t->peer->origin, host, sizeof(host));
    t->tls = tls_session_open(t->peer->own, t->fd, host, &acquaintance_of(t)->tls);
    t->handshake.fd = t->fd;
    if (loop_add(t->space->loop, &t->handshake, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0) {
        t->handshake.fd = -1;
        fail(t, LOCAL, "cannot watch another connection");
        return;
    }
    go_on_with_handshake(t);
}

/* ---- what comes of it ----------------------------------------------------------------------- */

/* Only libcurl can go on with it: it has a TLS session with the proxy, which all bytes pass. */
static bool is_carried(const struct transport_peer *p)
{
    return p->egress != NULL && p->egress->tls;
}

/* libcurl is no longer needed. It leaves the socket t->fd alone. */
static void release_curl(struct transport *t)
{
    if (t->driver != NULL && t->easy != NULL)
        curl_multi_remove_handle(t->driver->multi, t->easy);
    curl_easy_cleanup(t->easy);
    t->easy = NULL;
    while (t->watched != NULL)
        unwatch(t, t->watched);
}

static void is_connected_by_curl(struct transport *t, int fd)
{
    remember_address(t);
    t->proxied = is_through_proxy(t);
    t->fd = fd;
    if (is_carried(t->peer)) {
        /* libcurl may still watch the socket; from here on it is the caller's to register. */
        while (t->watched != NULL)
            unwatch(t, t->watched);
        t->up(t->ctx);
        return;
    }
    release_curl(t);
    if (t->peer->tls)
        start_tls(t);
    else
        t->up(t->ctx);
}

static void look_for_results(struct loop_task *task)
{
    struct driver *d = CONTAINER_OF(task, struct driver, task);
    CURLMsg *msg;
    int left;

    /* The last of its transports may take the driver away. */
    while (d->multi != NULL && (msg = curl_multi_info_read(d->multi, &left)) != NULL) {
        CURLcode rc = msg->data.result;
        curl_socket_t fd = CURL_SOCKET_BAD;
        struct transport *t;

        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &t);
        if (rc == CURLE_OK)
            curl_easy_getinfo(t->easy, CURLINFO_ACTIVESOCKET, &fd);
        if (fd == CURL_SOCKET_BAD && rc == CURLE_OK)
            fail(t, REFUSED, "closed as soon as it was connected");
        else if (fd == CURL_SOCKET_BAD)
            give_up(t, rc);
        else
            is_connected_by_curl(t, fd);
    }
}

/* NULL when there are no descriptors or there is no memory for it. */
static struct driver *driver_new(struct loop *l)
{
    struct driver *d = mem_zalloc(sizeof(*d));

    d->loop = l;
    d->timer.on_due = timer_due;
    d->task.run = look_for_results;
    d->multi = curl_multi_init();
    if (d->multi == NULL) {
        free(d);
        return NULL;
    }
    curl_multi_setopt(d->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(d->multi, CURLMOPT_SOCKETDATA, d);
    curl_multi_setopt(d->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(d->multi, CURLMOPT_TIMERDATA, d);
    return d;
}

static void driver_gone(struct loop_task *task)
{
    free(CONTAINER_OF(task, struct driver, task));
}

static void driver_free(struct driver *d)
{
    if (d == NULL)
        return;
    curl_multi_cleanup(d->multi);
    d->multi = NULL;
    loop_timer_clear(d->loop, &d->timer); /* taking down a multi may set it again */
    d->task.run = driver_gone;
    loop_soon(d->loop, &d->task); /* it may be queued already, and is freed after its turn */
}

/* A proxy has a port of its own, as a rule; libcurl 7.88 does not tell otherwise that there is one.
 */
static bool is_detour(const struct transport_peer *p, const struct sockaddr *to)
{
    const char *port = strrchr(p->origin, ':') + 1;
    const struct sockaddr_in *in = (const void *)to; /* IPv6 has the port at the same place */

    return ntohs(in->sin_port) != strtoul(port, NULL, 10);
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct transport *t = ctx;
    int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);

    (void)purpose;
    t->reached = true;
    t->detour = is_detour(t->peer, &a->addr);
    if (fd < 0 && is_shortage(errno))
        t->short_of = true;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* All but the one that goes on without libcurl. */
static int close_socket(void *ctx, curl_socket_t fd)
{
    const struct transport *t = ctx;

    return fd == t->fd && !is_carried(t->peer) ? 0 : close(fd);
}

static CURLcode trust_ours(CURL *easy, void *ssl_ctx, void *ctx)
{
    (void)easy;
    tls_trust_use(ssl_ctx, ctx);
    return CURLE_OK;
}

static void set_options(struct transport *t)
{
    const struct transport_peer *p = t->peer;
    CURL *c = t->easy;
    char plain[300];

    /* "http": TLS is ours, and libcurl connects to whatever port is named. */
    snprintf(plain, sizeof(plain), "http%s", strstr(p->origin, "://"));
    curl_easy_setopt(c, CURLOPT_URL, is_carried(p) ? p->origin : plain);
    curl_easy_setopt(c, CURLOPT_PRIVATE, t);
    curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT,
                     1L); /* a name that resolves slowly must not hold the loop */
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
                     300000L); /* the decision core has its own timers */
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(c, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(c, CURLOPT_CLOSESOCKETDATA, t);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 1024L); /* its smallest: hardly anything goes there */
    curl_easy_setopt(c, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(c, CURLOPT_SHARE, t->space->share);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(c, CURLOPT_HTTPPROXYTUNNEL, 1L);
    curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(c, CURLOPT_PROXY, p->egress != NULL ? p->egress->url : ""); /* "": none */
    if (is_carried(p)) {
        curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
        curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, trust_ours);
        curl_easy_setopt(c, CURLOPT_SSL_CTX_DATA, p->own);
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    }
}

static struct driver *driver_for(struct transport_space *s, const struct transport_peer *p)
{
    if (is_carried(p))
        return driver_new(s->loop);
    if (s->driver == NULL)
        s->driver = driver_new(s->loop);
    return s->driver;
}

struct transport *transport_open(struct transport_space *s, const struct transport_peer *p,
                                 void (*up)(void *ctx),
                                 void (*failed)(void *ctx, enum failure why, const char *text),
                                 void *ctx, struct err *e)
{
    struct transport *t = mem_zalloc(sizeof(*t));

    t->space = s;
    t->peer = p;
    t->up = up;
    t->failed = failed;
    t->ctx = ctx;
    t->fd = -1;
    t->handshake = (struct loop_fd){-1, handshake_ready};
    t->easy = curl_easy_init();
    t->driver = driver_for(s, p);
    if (t->easy != NULL && t->driver != NULL) {
        set_options(t);
        if (curl_multi_add_handle(t->driver->multi, t->easy) == CURLM_OK) {
            drive(t->driver, CURL_SOCKET_TIMEOUT, 0); /* now, not a turn of the loop later */
            return t;
        }
    }
    err_set(e, ERR_IO, "no descriptors or memory for another connection");
    transport_close(t);
    return NULL;
}

void transport_close(struct transport *t)
{
    if (t == NULL)
        return;
    end_handshake(t);
    if (t->tls != NULL)
        tls_bye(t->tls);
    tls_session_free(t->tls);
    if (t->fd >= 0 && !is_carried(t->peer))
        close(t->fd);
    release_curl(t);
    if (is_carried(t->peer))
        driver_free(t->driver);
    curl_slist_free_all(t->stand_in);
    free(t);
}

/* ---- once up -------------------------------------------------------------------------------- */

static bool is_connected(const struct transport *t)
{
    /* libcurl notes the time only when TLS is up as well, so the sockets are asked. */
    for (const struct watched *w = t->watched; w != NULL; w = w->next) {
        struct sockaddr_storage a;
        socklen_t n = sizeof(a);

        if (getpeername(w->lfd.fd, (struct sockaddr *)&a, &n) == 0 &&
            (a.ss_family == AF_INET || a.ss_family == AF_INET6))
            return true;
    }
    return t->fd >= 0;
}

bool transport_tcp_up(struct transport *t)
{
    if (t->easy != NULL && is_through_proxy(t) && !t->peer->egress->socks)
        return tunnel_status(t) / 100 == 2;
    return is_connected(t);
}

void transport_waits_for(struct transport *t, char *out, size_t size)
{
    const char *proxy = t->peer->egress != NULL ? t->peer->egress->name : NULL;

    if (!t->reached && proxy != NULL)
        snprintf(out, size, "proxy %s, or %s without it: its name is still looked up", proxy,
                 t->peer->origin);
    else if (!t->reached)
        snprintf(out, size, "%s: its name is still looked up", t->peer->origin);
    else if (is_through_proxy(t) && !transport_tcp_up(t))
        snprintf(out, size, "proxy %s: %s", proxy,
                 is_connected(t) ? "no answer to CONNECT" : "no connection");
    else
        snprintf(out, size, "%s: no %s", t->peer->origin,
                 transport_tcp_up(t) ? "end of the TLS handshake" : "connection");
}

int transport_fd(const struct transport *t)
{
    return t->fd;
}

/* What became of curl_easy_send or curl_easy_recv. */
static ssize_t carried(CURLcode rc, const size_t *n)
{
    if (rc == CURLE_OK)
        return (ssize_t)*n;
    return rc == CURLE_AGAIN ? TRANSPORT_AGAIN : TRANSPORT_ERROR;
}

/* And of send or recv. */
static ssize_t result(ssize_t n)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? TRANSPORT_AGAIN : TRANSPORT_ERROR;
}

ssize_t transport_send(struct transport *t, const void *p, size_t n)
{
    size_t sent = 0;

    if (t->tls != NULL)
        return result(tls_send(t->tls, p, n));
    if (t->easy == NULL)
        return result(send(t->fd, p, n, MSG_NOSIGNAL));
    return carried(curl_easy_send(t->easy, p, n, &sent), &sent);
}

ssize_t transport_recv(struct transport *t, void *p, size_t n)
{
    size_t got = 0;
    ssize_t rc;

    if (t->tls != NULL)
        return result(tls_recv(t->tls, p, n));
    if (t->easy == NULL) {
        rc = result(recv(t->fd, p, n, 0));
        t->drained = rc < (ssize_t)n;
        return rc;
    }
    rc = carried(curl_easy_recv(t->easy, p, n, &got), &got);
    t->drained = rc == TRANSPORT_AGAIN; /* libcurl may hold a part of a record */
    return rc;
}

bool transport_drained(const struct transport *t)
{
    return t->tls != NULL ? tls_drained(t->tls) : t->drained;
}
