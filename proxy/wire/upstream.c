#include "proxy/wire/upstream.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/clock.h"
#include "proxy/base/mem.h"
#include "proxy/base/strbuf.h"

#define SCRATCH_BYTES   65536
#define GATHER_BYTES    16384 /* one TLS record */
#define IDLE_MS         30000
#define MAX_INTERIM     16   /* 1xx answers before the real one */
#define REPLACE_MS      1000 /* a reused connection that dies later than this had the request */
#define READS_PER_EVENT 8    /* then others get a turn */
#define MAX_LATER       (4 * 1024 * 1024)

/* To have a connection ready. While one is wanted they are opened WARM_EVERY_MS apart at least;
 * that doubles up to WARM_MOST_MS where the provider closes them, and is WARM_RETRY_MS once one
 * could not be opened. */
#define WARM_EVERY_MS 5000
#define WARM_MOST_MS  60000
#define WARM_RETRY_MS 30000
#define WARM_OPEN_MS  10000 /* one that is not up by then is given up */
#define RENEW_MS      5000  /* an old idle one stays so long beside the one that follows */
#define ADOPT_MS      1000  /* a call takes over one that is being opened, unless for longer */

/* One connection: in a call, idle in its lane, or being opened to be that. */
struct upstream_conn {
    struct loop_fd lfd;
    struct upstream_pool *pool;
    struct transport *transport;
    struct upstream_call *call; /* NULL: idle, or not up yet */
    unsigned lane;
    struct upstream_conn *older, *newer; /* while idle */
    struct strbuf in;                    /* a head that is not complete yet */
    uint64_t close_ms;                   /* when it has been idle for long enough */
    uint64_t boot_ms; /* when it became idle, by a clock that goes on while the machine sleeps */
    struct loop_timer idle_timer;
    struct loop_task more; /* goes on: after others had a turn, or because there is more to send */
    bool up;
    bool closing; /* the peer has closed its side; edge-triggered, so it is told once */
};

struct lane {
    struct upstream_pool *pool;
    struct upstream_conn *newest, *oldest; /* last in, first out: the warmest is used first */

    /* To have one ready. */
    const struct transport_peer *peer; /* NULL: not wanted so far */
    struct upstream_conn *opening;     /* for nobody yet; NULL: none */
    uint64_t warm_until_ms, opened_ms, every_ms, next_ms;
    struct loop_timer timer; /* for the next one, or the end of the patience with this one */
};

struct upstream_pool {
    struct loop *loop;
    struct transport_space *space;
    uint64_t warm_ms;
    unsigned n_lanes;
    struct lane *lanes;
    struct http1_head head;      /* of the answer being read */
    char scratch[SCRATCH_BYTES]; /* bytes being read */
    char gather[GATHER_BYTES];   /* bytes being sent */
};

static void warm_due(struct loop_timer *t);

struct upstream_pool *upstream_pool_new(struct loop *l, unsigned lanes, uint64_t warm_ms)
{
    struct upstream_pool *p = mem_alloc(sizeof(*p));

    p->loop = l;
    p->space = transport_space_new(l);
    p->warm_ms = warm_ms;
    p->n_lanes = lanes;
    p->lanes = mem_zalloc(lanes * sizeof(*p->lanes));
    for (unsigned i = 0; i < lanes; i++) {
        p->lanes[i].pool = p;
        p->lanes[i].every_ms = WARM_EVERY_MS;
        p->lanes[i].timer.on_due = warm_due;
    }
    return p;
}

/* ---- idle connections ----------------------------------------------------------------------- */

static void lane_take(struct upstream_conn *k)
{
    struct lane *lane = &k->pool->lanes[k->lane];

    if (k->newer != NULL)
        k->newer->older = k->older;
    else
        lane->newest = k->older;
    if (k->older != NULL)
        k->older->newer = k->newer;
    else
        lane->oldest = k->newer;
    k->older = k->newer = NULL;
}

static void lane_put(struct upstream_conn *k)
{
    struct lane *lane = &k->pool->lanes[k->lane];

    k->older = lane->newest;
    k->newer = NULL;
    if (lane->newest != NULL)
        lane->newest->newer = k;
    else
        lane->oldest = k;
    lane->newest = k;
    k->close_ms = loop_now_ms(k->pool->loop) + IDLE_MS;
    k->boot_ms = clock_boot_ms();
    if (k->idle_timer.slot == 0)
        loop_timer_set(k->pool->loop, &k->idle_timer, k->close_ms);
}

static void lane_warm(struct lane *lane);

static void conn_free(struct loop_task *t)
{
    free(CONTAINER_OF(t, struct upstream_conn, more));
}

static void conn_close(struct upstream_conn *k)
{
    struct loop *l = k->pool->loop;
    struct lane *lane = &k->pool->lanes[k->lane];

    if (lane->opening == k)
        lane->opening = NULL;
    else if (k->call == NULL)
        lane_take(k);
    k->call = NULL; /* whose it was may go on with another one */
    if (k->up)
        loop_remove(l, &k->lfd);
    loop_timer_clear(l, &k->idle_timer);
    transport_close(k->transport);
    strbuf_release(&k->in);
    k->more.run = conn_free;
    loop_soon(l, &k->more);
    lane_warm(lane);
}

static void lane_open(struct lane *lane);
static void lane_lost(struct lane *lane);
static bool lane_is_warm(const struct lane *lane);

static void idle_due(struct loop_timer *t)
{
    struct upstream_conn *k = CONTAINER_OF(t, struct upstream_conn, idle_timer);
    struct lane *lane = &k->pool->lanes[k->lane];
    uint64_t now = loop_now_ms(k->pool->loop);

    if (k->call != NULL)
        return; /* in use: set again when it comes back */
    if (now < k->close_ms) {
        loop_timer_set(k->pool->loop, t, k->close_ms);
    } else if (lane->newest == k && lane_is_warm(lane) && now < k->close_ms + RENEW_MS) {
        loop_timer_set(k->pool->loop, t, k->close_ms + RENEW_MS);
        lane_open(lane);
    } else {
        conn_close(k);
    }
}

void upstream_pool_free(struct upstream_pool *p)
{
    if (p == NULL)
        return;
    upstream_cool(p);
    for (unsigned i = 0; i < p->n_lanes; i++)
        while (p->lanes[i].newest != NULL)
            conn_close(p->lanes[i].newest);
    transport_space_free(p->space);
    free(p->lanes);
    free(p);
}

/* ---- the end of a call ---------------------------------------------------------------------- */

static void call_over(struct upstream_call *c)
{
    c->live = false;
    c->conn = NULL;
    strbuf_release(&c->later);
    inflate_free(c->inflate);
    c->inflate = NULL;
}

static void call_failed(struct upstream_call *c, enum failure why, const char *text)
{
    if (c->conn != NULL)
        conn_close(c->conn);
    call_over(c);
    c->events->failed(c->ctx, why, text);
}

static void call_ended(struct upstream_call *c, bool leftover)
{
    struct upstream_conn *k = c->conn;

    if (c->inflate != NULL && !inflate_complete(c->inflate)) {
        call_failed(c, TRUNCATED, "the compressed answer ended early");
        return;
    }
    if (c->reusable && !leftover && upstream_asked(c) && !k->closing) {
        k->call = NULL;
        strbuf_release(&k->in);
        lane_put(k);
    } else {
        conn_close(k);
    }
    call_over(c);
    c->events->end(c->ctx);
}

static void open_fresh(struct upstream_call *c);

/* The connection ended or broke; what that means depends on how far the call was. */
static void call_cut(struct upstream_call *c, bool reset)
{
    uint64_t now = loop_now_ms(c->pool->loop);

    if (c->in_body && c->body.framing == HTTP1_UNTIL_CLOSE && !reset) {
        c->reusable = false;
        call_ended(c, false);
    } else if (c->in_body) {
        call_failed(c, TRUNCATED,
                    reset ? "connection reset inside the answer"
                          : "connection closed inside the answer");
    } else if (c->reused && !c->answered && now - c->started_ms <= REPLACE_MS) {
        conn_close(c->conn);
        c->conn = NULL;
        open_fresh(c);
    } else {
        call_failed(c, RESET,
                    reset         ? "connection reset before an answer"
                    : c->answered ? "connection closed inside the answer's head"
                                  : "connection closed before an answer");
    }
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool give_body(void *ctx, struct span bytes)
{
    struct upstream_call *c = ctx;

    c->events->body(c->ctx, bytes);
    return c->live;
}

static bool body_bytes(struct upstream_call *c, struct span bytes)
{
    if (c->inflate == NULL)
        return give_body(c, bytes);
    switch (inflate_feed(c->inflate, bytes, give_body, c)) {
    case INFLATE_OK:
        return true;
    case INFLATE_BROKEN:
        call_failed(c, BAD_ENCODING, "the answer's gzip data is broken");
        return false;
    case INFLATE_BOMB:
        call_failed(c, ANSWER_TOO_BIG, "the answer unpacks to more than a hundred times its size");
        return false;
    case INFLATE_STOPPED:
        break;
    }
    return false;
}

static bool start_decoding(struct upstream_call *c, const struct http1_head *head)
{
    struct span coding = http1_find(head, "content-encoding");

    if (coding.n == 0 || span_is_nocase(coding, "identity"))
        return true;
    if (!span_is_nocase(coding, "gzip") && !span_is_nocase(coding, "x-gzip") &&
        !span_is_nocase(coding, "deflate")) {
        call_failed(c, BAD_ENCODING, "the answer's content-encoding is none that we know");
        return false;
    }
    c->inflate = inflate_new();
    return true;
}

/* Reads a head from `in`. False when the call is over or more bytes are needed. */
static bool read_head(struct upstream_call *c, struct span *in)
{
    struct upstream_conn *k = c->conn;
    struct http1_head *head = &c->pool->head;
    struct http1_problem why;
    size_t used;

    c->answered = true;
    switch (http1_read_answer(*in, &c->scanned, c->request.bodyless ? SPAN("HEAD") : SPAN("POST"),
                              head, &used, &why)) {
    case HTTP1_MORE:
        if (k->in.len > 0) /* *in is its end, behind an interim head perhaps */
            strbuf_drop_front(&k->in, k->in.len - in->n);
        else
            strbuf_add_span(&k->in, *in);
        return false;
    case HTTP1_BAD:
        call_failed(c, PROTOCOL, why.text);
        return false;
    case HTTP1_DONE:
        break;
    }
    c->scanned = 0;
    in->p += used;
    in->n -= used;
    if (head->status < 200 && !(head->status == 101 && c->request.upgrade)) {
        if (head->status == 101 || ++c->interim > MAX_INTERIM) {
            call_failed(c, PROTOCOL,
                        head->status == 101 ? "it changes to another protocol, unasked"
                                            : "too many interim answers");
            return false;
        }
        return true;
    }
    c->in_body = true;
    c->reusable = head->keep_alive;
    http1_body_start(&c->body, head);
    if (head->status == 101) {
        c->body = (struct http1_body){.framing = HTTP1_UNTIL_CLOSE};
        c->reusable = false;
    }
    if (!c->body.done && !start_decoding(c, head))
        return false;
    c->events->head(c->ctx, head);
    return c->live;
}

static bool read_body(struct upstream_call *c, struct span *in)
{
    struct http1_problem why;
    struct span data;
    size_t used;
    enum http1_result r = http1_body_read(&c->body, *in, &used, &data, &why);

    in->p += used;
    in->n -= used;
    if (data.n > 0 && !body_bytes(c, data))
        return false;
    if (r == HTTP1_BAD) {
        call_failed(c, TRUNCATED, why.text);
        return false;
    }
    if (r == HTTP1_DONE) {
        call_ended(c, in->n > 0);
        return false;
    }
    assert(used > 0 || in->n == 0);
    return true;
}

/* Works through the bytes of one read. False when the connection is no longer this call's. */
static bool consume(struct upstream_call *c, struct span in)
{
    struct upstream_conn *k = c->conn;
    bool from_buffer = k->in.len > 0;

    if (from_buffer) {
        strbuf_add_span(&k->in, in);
        if (k->in.failed) {
            call_failed(c, PROTOCOL, "the answer's head is too large");
            return false;
        }
        in = strbuf_span(&k->in);
    }
    while (!c->in_body)
        if (!read_head(c, &in))
            return c->live;
    /* An answer without a body ends with its head; so the body is asked even with no bytes left. */
    do {
        if (!read_body(c, &in))
            return false;
    } while (in.n > 0);
    if (from_buffer)
        strbuf_release(&k->in);
    return true;
}

/* Is a connection that nobody has asked anything of still in order, as far as can be seen now? TLS
 * session tickets come at any time; whatever else comes is its end, or bytes behind the last
 * answer, which as the start of the next answer would be a wrong one. */
static bool is_quiet(struct upstream_conn *k)
{
    char stray;

    return transport_recv(k->transport, &stray, 1) == TRANSPORT_AGAIN;
}

static void conn_readable(struct upstream_conn *k)
{
    for (unsigned i = 0; k->call != NULL && !k->call->paused; i++) {
        ssize_t n;

        if (i == READS_PER_EVENT) {
            loop_soon(k->pool->loop, &k->more);
            return;
        }
        n = transport_recv(k->transport, k->pool->scratch, SCRATCH_BYTES);
        if (n == TRANSPORT_AGAIN)
            return;
        if (n <= 0) {
            call_cut(k->call, n == TRANSPORT_ERROR);
            return;
        }
        k->call->bytes_in += (size_t)n;
        if (!consume(k->call, (struct span){k->pool->scratch, (size_t)n}))
            return;
        k->call->events->pause(k->call->ctx);
        if (k->call != NULL && !k->closing && transport_drained(k->transport))
            return;
    }
}

/* ---- sending -------------------------------------------------------------------------------- */

/* The next bytes to send: a run inside one part, or several small parts gathered. */
static struct span next_bytes(struct upstream_call *c)
{
    size_t skip = c->sent, gathered = 0;

    for (size_t i = 0; i < UPSTREAM_MAX_PARTS; i++) {
        struct span part = c->request.parts[i];

        if (skip >= part.n) {
            skip -= part.n;
            continue;
        }
        part.p += skip;
        part.n -= skip;
        skip = 0;
        if (gathered == 0 && part.n >= GATHER_BYTES)
            return part;
        if (part.n > GATHER_BYTES - gathered)
            part.n = GATHER_BYTES - gathered;
        memcpy(c->pool->gather + gathered, part.p, part.n);
        gathered += part.n;
        if (gathered == GATHER_BYTES)
            break;
    }
    return (struct span){c->pool->gather, gathered};
}

/* Sends it as far as it goes. False when nothing more goes now, or ever. */
static bool send_bytes(struct upstream_call *c, struct span bytes, size_t *sent)
{
    ssize_t n = transport_send(c->conn->transport, bytes.p, bytes.n);

    if (n >= 0) {
        *sent += (size_t)n;
        return true;
    }
    if (n != TRANSPORT_AGAIN) {
        /* It may have answered before it stopped listening (413, 429): read that first. */
        c->sent = c->total;
        c->request.open = false;
        strbuf_release(&c->later);
        c->later_sent = 0;
        c->reusable = false;
        conn_readable(c->conn);
    }
    return false;
}

static void send_on(struct upstream_call *c)
{
    while (c->sent < c->total)
        if (!send_bytes(c, next_bytes(c), &c->sent))
            return;
    while (c->later_sent < c->later.len) {
        struct span bytes = {c->later.buf + c->later_sent, c->later.len - c->later_sent};

        if (!send_bytes(c, bytes, &c->later_sent))
            return;
    }
    strbuf_release(&c->later);
    c->later_sent = 0;
    if (c->request.open && c->events->room != NULL)
        c->events->room(c->ctx);
}

size_t upstream_unsent(const struct upstream_call *c)
{
    return c->total - c->sent + c->later.len - c->later_sent;
}

bool upstream_asked(const struct upstream_call *c)
{
    return !c->request.open && upstream_unsent(c) == 0;
}

void upstream_write(struct upstream_call *c, struct span bytes)
{
    if (!c->live || !c->request.open)
        return;
    strbuf_add_span(&c->later, bytes);
    assert(!c->later.failed); /* the caller waits for room */
    if (c->conn != NULL && c->conn->up)
        loop_soon(c->pool->loop, &c->conn->more);
}

void upstream_write_end(struct upstream_call *c)
{
    c->request.open = false;
}

void upstream_write_last(struct upstream_call *c)
{
    ssize_t n = 1;

    if (!c->live || c->conn == NULL || !c->conn->up || c->sent < c->total)
        return;
    while (c->later_sent < c->later.len && n > 0) {
        n = transport_send(c->conn->transport, c->later.buf + c->later_sent,
                           c->later.len - c->later_sent);
        c->later_sent += n > 0 ? (size_t)n : 0;
    }
}

static void go_on(struct loop_task *t)
{
    struct upstream_conn *k = CONTAINER_OF(t, struct upstream_conn, more);
    struct upstream_call *c = k->call;

    if (c != NULL && upstream_unsent(c) > 0)
        send_on(c);
    if (c != NULL && c->live && k->call == c)
        conn_readable(k);
}

static void conn_event(struct loop_fd *f, uint32_t events)
{
    struct upstream_conn *k = CONTAINER_OF(f, struct upstream_conn, lfd);
    struct upstream_call *c = k->call;

    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        k->closing = true;
    if (c == NULL) {
        if (!is_quiet(k)) {
            lane_lost(&k->pool->lanes[k->lane]);
            conn_close(k);
        }
        return;
    }
    if (c->task.queued) { /* taken from the pool in this turn of the loop; nothing is sent yet */
        if (!is_quiet(k)) {
            conn_close(k);
            open_fresh(c);
        }
        return;
    }
    if ((events & EPOLLOUT) && upstream_unsent(c) > 0) {
        send_on(c);
        if (k->call != c || !c->live)
            return;
    }
    /* To read may have waited for room to write: TLS answers for itself. */
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) || !transport_drained(k->transport))
        conn_readable(k);
}

/* ---- starting ------------------------------------------------------------------------------- */

static void conn_up(void *ctx)
{
    struct upstream_conn *k = ctx;
    struct upstream_call *c = k->call;

    k->lfd.fd = transport_fd(k->transport);
    if (loop_add(k->pool->loop, &k->lfd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0) {
        if (c != NULL)
            call_failed(c, LOCAL, "cannot watch another connection");
        else
            conn_close(k);
        return;
    }
    k->up = true;
    if (c == NULL) {
        k->pool->lanes[k->lane].opening = NULL;
        lane_put(k);
        return;
    }
    c->events->connected(c->ctx);
    if (c->live)
        send_on(c);
}

static void conn_failed(void *ctx, enum failure why, const char *text)
{
    struct upstream_conn *k = ctx;
    char copy[400];

    if (k->call == NULL) { /* nobody has asked: the next one will hear of it */
        struct lane *lane = &k->pool->lanes[k->lane];

        lane->next_ms = loop_now_ms(k->pool->loop) + WARM_RETRY_MS;
        conn_close(k);
        return;
    }
    snprintf(copy, sizeof(copy), "%s", text); /* it lives in what is closed now */
    call_failed(k->call, why, copy);
}

/* What upstream_start or a replacement has to say, once the caller is back in the loop: there is no
 * connection, or an idle one, which is up already. One that was replaced meanwhile speaks for
 * itself. */
static void begin_call(struct loop_task *t)
{
    struct upstream_call *c = CONTAINER_OF(t, struct upstream_call, task);

    if (!c->live)
        return;
    if (c->conn == NULL) {
        call_failed(c, LOCAL, c->reason);
    } else if (c->reused) {
        c->events->connected(c->ctx);
        if (c->live)
            send_on(c);
    }
}

/* A connection that is being opened; NULL with *e. */
static struct upstream_conn *conn_open(struct upstream_pool *p, unsigned lane,
                                       const struct transport_peer *peer, struct err *e)
{
    struct upstream_conn *k = mem_zalloc(sizeof(*k));

    k->pool = p;
    k->lane = lane;
    k->in = strbuf_heap(HTTP1_MAX_HEAD + SCRATCH_BYTES);
    k->lfd.on_event = conn_event;
    k->idle_timer.on_due = idle_due;
    k->more.run = go_on;
    k->transport = transport_open(p->space, peer, conn_up, conn_failed, k, e);
    if (k->transport == NULL) {
        free(k);
        return NULL;
    }
    return k;
}

/* The one that is being opened for nobody yet, if that has not taken long. */
static struct upstream_conn *adopt(struct lane *lane)
{
    struct upstream_conn *k = lane->opening;

    if (k == NULL || loop_now_ms(lane->pool->loop) - lane->opened_ms >= ADOPT_MS)
        return NULL;
    lane->opening = NULL;
    return k;
}

static void open_fresh(struct upstream_call *c)
{
    struct upstream_conn *k = adopt(&c->pool->lanes[c->lane]);
    struct err e;

    c->reused = false;
    c->sent = 0;
    if (k == NULL)
        k = conn_open(c->pool, c->lane, c->peer, &e);
    c->conn = k;
    if (k != NULL) {
        k->call = c;
    } else {
        snprintf(c->reason, sizeof(c->reason), "%.*s", (int)sizeof(c->reason) - 1, e.msg);
        loop_soon(c->pool->loop, &c->task);
    }
}

/* ---- to have one ready ---------------------------------------------------------------------- */

static bool lane_is_warm(const struct lane *lane)
{
    return lane->peer != NULL && loop_now_ms(lane->pool->loop) < lane->warm_until_ms;
}

static void lane_open(struct lane *lane)
{
    struct upstream_pool *p = lane->pool;
    struct err e;

    if (lane->opening != NULL)
        return;
    lane->opened_ms = loop_now_ms(p->loop);
    lane->next_ms = lane->opened_ms + lane->every_ms;
    lane->opening = conn_open(p, (unsigned)(lane - p->lanes), lane->peer, &e);
    loop_timer_set(p->loop, &lane->timer,
                   lane->opening != NULL ? lane->opened_ms + WARM_OPEN_MS : lane->next_ms);
}

/* The provider has closed an idle one. Where that is its habit, it is not asked all the time. */
static void lane_lost(struct lane *lane)
{
    bool soon = loop_now_ms(lane->pool->loop) - lane->opened_ms <= lane->every_ms;

    lane->every_ms = soon ? lane->every_ms * 2 : WARM_EVERY_MS;
    if (lane->every_ms > WARM_MOST_MS)
        lane->every_ms = WARM_MOST_MS;
    lane->next_ms = lane->opened_ms + lane->every_ms;
}

/* Opens one where there is none, at once or as soon as it may. */
static void lane_warm(struct lane *lane)
{
    struct loop *l = lane->pool->loop;

    if (lane->newest != NULL || lane->opening != NULL || !lane_is_warm(lane))
        return;
    if (loop_now_ms(l) >= lane->next_ms)
        lane_open(lane);
    else
        loop_timer_set(l, &lane->timer, lane->next_ms);
}

static void warm_due(struct loop_timer *t)
{
    struct lane *lane = CONTAINER_OF(t, struct lane, timer);

    if (lane->opening == NULL) {
        lane_warm(lane);
    } else {
        lane->next_ms = loop_now_ms(lane->pool->loop) + WARM_RETRY_MS;
        conn_close(lane->opening);
    }
}

/* From now on, and for as long as the configuration has it. Only TLS makes it worth while. */
static void lane_want(struct lane *lane, const struct transport_peer *peer)
{
    if (!peer->tls || lane->pool->warm_ms == 0)
        return;
    lane->peer = peer;
    lane->warm_until_ms = loop_now_ms(lane->pool->loop) + lane->pool->warm_ms;
}

void upstream_warm(struct upstream_pool *p, unsigned lane, const struct transport_peer *peer)
{
    assert(lane < p->n_lanes);
    lane_want(&p->lanes[lane], peer);
    lane_warm(&p->lanes[lane]);
}

void upstream_cool(struct upstream_pool *p)
{
    p->warm_ms = 0;
    for (unsigned i = 0; i < p->n_lanes; i++) {
        struct lane *lane = &p->lanes[i];

        lane->peer = NULL;
        loop_timer_clear(p->loop, &lane->timer);
        if (lane->opening != NULL)
            conn_close(lane->opening);
    }
}

/* ---- a call --------------------------------------------------------------------------------- */

/* While a machine sleeps, whoever is on the way forgets its connections, and says nothing. */
static bool has_slept(const struct upstream_conn *k)
{
    return clock_boot_ms() - k->boot_ms > IDLE_MS + 2 * RENEW_MS;
}

/* The warmest idle connection of a lane, or NULL. What the last read may have left behind brings no
 * event of its own, so it is looked for. */
static struct upstream_conn *take_idle(struct upstream_pool *p, unsigned lane)
{
    struct upstream_conn *k;

    while ((k = p->lanes[lane].newest) != NULL) {
        if (!has_slept(k) && (transport_drained(k->transport) || is_quiet(k))) {
            lane_take(k);
            return k;
        }
        conn_close(k);
    }
    return NULL;
}

void upstream_start(struct upstream_call *c, struct upstream_pool *p, unsigned lane,
                    const struct transport_peer *peer, const struct upstream_request *request,
                    const struct upstream_events *events, void *ctx)
{
    struct upstream_conn *k;

    assert(lane < p->n_lanes);
    *c = (struct upstream_call){
        .pool = p,
        .lane = lane,
        .peer = peer,
        .events = events,
        .ctx = ctx,
        .request = *request,
        .later = strbuf_heap(MAX_LATER),
        .started_ms = loop_now_ms(p->loop),
        .live = true,
        .task = {.run = begin_call},
    };
    for (size_t i = 0; i < UPSTREAM_MAX_PARTS; i++)
        c->total += request->parts[i].n;
    lane_want(&p->lanes[lane], peer);
    k = request->open || request->fresh ? NULL : take_idle(p, lane);
    if (k == NULL) {
        open_fresh(c);
        return;
    }
    k->call = c;
    c->conn = k;
    c->reused = true;
    loop_soon(p->loop, &c->task);
}

void upstream_cancel(struct upstream_call *c)
{
    if (!c->live)
        return;
    if (c->conn != NULL)
        conn_close(c->conn);
    call_over(c);
}

bool upstream_tcp_up(const struct upstream_call *c)
{
    return c->live && c->conn != NULL && transport_tcp_up(c->conn->transport);
}

void upstream_waits_for(const struct upstream_call *c, char *out, size_t size)
{
    if (c->live && c->conn != NULL)
        transport_waits_for(c->conn->transport, out, size);
}

void upstream_pause(struct upstream_call *c)
{
    c->paused = true;
}

void upstream_resume(struct upstream_call *c)
{
    if (!c->live || !c->paused)
        return;
    c->paused = false;
    if (c->conn != NULL && c->conn->up)
        loop_soon(c->pool->loop, &c->conn->more);
}
