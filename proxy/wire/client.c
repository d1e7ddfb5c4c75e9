#include "proxy/wire/client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/base/strbuf.h"

#define SCRATCH_BYTES    65536
#define HEADROOM         (8 * 1024 * 1024) /* what one more read of the source may still unpack to */
#define RECORD_BYTES     16384             /* of TLS */
#define IDLE_MS          75000 /* between two requests; told to the client as Keep-Alive */
#define LINGER_MS        2000 /* how long we listen on after an early answer, so that it is not lost */
#define GREETING_MS      1000 /* what a new connection has left for its first request once we end */
#define ACCEPT_PAUSE_MS  100  /* after running out of descriptors */
#define ACCEPTS_PER_TURN 64
#define NEVER            UINT64_MAX

enum state {
    READ_HEAD,
    READ_BODY,
    BUSY,   /* an exchange works on it */
    FLUSH,  /* answered; the last bytes wait for the client */
    LINGER, /* our side is closed; reading until the client's is */
    CLOSED,
};

struct client {
    struct loop_fd lfd;
    struct tls_session *tls; /* NULL: plain */
    struct client_front *front;
    struct client *next, *prev;
    enum state state;
    void *exchange;
    bool readable;    /* edge-triggered: there may be bytes that nobody has asked for */
    bool writable;    /* the last write went through */
    bool begun;       /* the head of a request has come on it */
    bool half_closed; /* the client has closed its side */
    bool keep_alive;  /* after the current answer */
    bool chunked;     /* the current answer's framing */
    bool old_version; /* HTTP/1.0 */
    bool head_only;   /* HEAD: an answer without its body */
    bool body_left;   /* the request's body was not read to its end */
    bool paused;      /* the exchange waits for `drained` */
    bool held;        /* the request's body waits until the exchange resumes it */
    bool slow;        /* ... and its deadline counts from its last bytes */
    bool tunnel;      /* no HTTP any more: its bytes as they are, until either side closes */
    bool answering;   /* an answer in pieces has begun */
    bool lost;        /* cannot be written to any more: closed with its next task */
    struct strbuf in, out;
    size_t out_at; /* bytes of out already sent */
    size_t scanned;
    struct http1_body body;
    uint64_t deadline_ms; /* NEVER, or when the current state has lasted too long */
    struct loop_timer timer;
    struct loop_task task; /* goes on with what the buffer holds, or frees */
    char address[64];
};

struct listener {
    struct loop_fd lfd;
    struct client_front *front;
    struct loop_timer timer; /* until it may accept again */
    struct loop_task more;   /* goes on after the others' events, or frees */
    bool off, secure, lent;
    struct listener *next;
};

struct client_front {
    struct loop *loop;
    struct client_limits limits;
    const struct client_handler *handler;
    void *ctx;
    struct client *clients;
    struct listener *listeners;
    unsigned open, busy;
    bool draining;
    struct tls_server *tls; /* for secure listeners; NULL: they are plain */
    struct http1_head head;
    struct client *gatherer; /* whose bytes wait for their flush, within one turn */
    size_t gathered;
    char gather[SCRATCH_BYTES];
    char scratch[SCRATCH_BYTES];
    char record[RECORD_BYTES]; /* small pieces, put together for TLS */
};

/* ---- bytes ---------------------------------------------------------------------------------- */

static ssize_t take(struct client *c, void *p, size_t n)
{
    return c->tls != NULL ? tls_recv(c->tls, p, n) : recv(c->lfd.fd, p, n, 0);
}

static ssize_t put(struct client *c, const void *p, size_t n)
{
    return c->tls != NULL ? tls_send(c->tls, p, n) : send(c->lfd.fd, p, n, MSG_NOSIGNAL);
}

/* The pieces in one record where they are small, so that an event is not cut into four; else as far
 * as the first of them goes. */
static ssize_t put_record(struct client *c, const struct iovec *v, size_t n)
{
    size_t len = 0;

    if (v[0].iov_len >= RECORD_BYTES)
        return tls_send(c->tls, v[0].iov_base, v[0].iov_len);
    for (size_t i = 0; i < n && len < RECORD_BYTES; i++) {
        size_t fits = v[i].iov_len < RECORD_BYTES - len ? v[i].iov_len : RECORD_BYTES - len;

        memcpy(c->front->record + len, v[i].iov_base, fits);
        len += fits;
    }
    return tls_send(c->tls, c->front->record, len);
}

static ssize_t put_all(struct client *c, struct iovec *v, size_t n)
{
    struct msghdr m = {.msg_iov = v, .msg_iovlen = n};

    return c->tls != NULL ? put_record(c, v, n) : sendmsg(c->lfd.fd, &m, MSG_NOSIGNAL);
}

/* ---- time ----------------------------------------------------------------------------------- */

/* The timer is moved only when it must fire earlier: most deadlines pass unused. */
static void set_deadline(struct client *c, uint64_t in_ms)
{
    struct loop *l = c->front->loop;

    c->deadline_ms = in_ms == NEVER ? NEVER : loop_now_ms(l) + in_ms;
    if (in_ms != NEVER && (c->timer.slot == 0 || c->deadline_ms < c->timer.due_ms))
        loop_timer_set(l, &c->timer, c->deadline_ms);
}

/* ---- closing -------------------------------------------------------------------------------- */

static void client_free(struct loop_task *t)
{
    free(CONTAINER_OF(t, struct client, task));
}

static void set_busy(struct client *c, bool busy)
{
    bool was = c->state == BUSY || c->state == READ_BODY;

    if (busy && !was)
        c->front->busy++;
    else if (!busy && was)
        c->front->busy--;
}

static void set_state(struct client *c, enum state s)
{
    set_busy(c, s == BUSY || s == READ_BODY);
    c->state = s;
}

static void client_close(struct client *c, bool reset)
{
    struct client_front *f = c->front;
    struct linger hard = {1, 0};

    assert(c->state != CLOSED && c->exchange == NULL);
    set_state(c, CLOSED);
    if (f->gatherer == c) {
        f->gatherer = NULL;
        f->gathered = 0;
    }
    if (reset)
        setsockopt(c->lfd.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    loop_remove(f->loop, &c->lfd);
    loop_timer_clear(f->loop, &c->timer);
    if (c->tls != NULL && !reset)
        tls_bye(c->tls);
    tls_session_free(c->tls);
    close(c->lfd.fd);
    strbuf_release(&c->in);
    strbuf_release(&c->out);
    if (c->next != NULL)
        c->next->prev = c->prev;
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        f->clients = c->next;
    f->open--;
    c->task.run = client_free;
    loop_soon(f->loop, &c->task);
}

size_t client_waiting(const struct client *c)
{
    return c->out.len - c->out_at;
}

/* The client is gone, or must be treated as gone. An answer without a length of its own would look
 * whole after a plain close, so a reset tells that bytes are missing. */
static void client_lost(struct client *c)
{
    void *exchange = c->exchange;

    c->exchange = NULL;
    if (exchange != NULL)
        c->front->handler->gone(exchange);
    client_close(c, c->lost || client_waiting(c) > 0);
}

/* The same from inside a write, where nobody above may be called back: with the next task. */
static void lose(struct client *c)
{
    c->lost = true;
    loop_soon(c->front->loop, &c->task);
}

/* Closes our side only and listens on for a while: closing with unread input would make the kernel
 * send a reset, and that can destroy the answer on its way. */
static void start_linger(struct client *c)
{
    if (c->tls != NULL)
        tls_bye(c->tls);
    shutdown(c->lfd.fd, SHUT_WR);
    set_state(c, LINGER);
    set_deadline(c, LINGER_MS);
    loop_soon(c->front->loop, &c->task);
}

static void linger(struct client *c)
{
    for (unsigned i = 0; i < 64; i++) {
        ssize_t n = recv(c->lfd.fd, c->front->scratch, SCRATCH_BYTES, 0);

        if (n > 0)
            continue;
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            client_close(c, false);
        return;
    }
    loop_soon(c->front->loop, &c->task); /* others get a turn; the deadline is the end */
}

/* ---- writing -------------------------------------------------------------------------------- */

static void answer_sent(struct client *c)
{
    if (c->keep_alive && !c->body_left && !c->half_closed && !c->front->draining) {
        set_state(c, READ_HEAD);
        set_deadline(c, c->in.len > 0 ? c->front->limits.head_ms : IDLE_MS);
        c->scanned = 0;
        if (c->in.len > 0 || c->readable)
            loop_soon(c->front->loop, &c->task);
    } else if (c->half_closed) {
        client_close(c, false);
    } else {
        start_linger(c);
    }
}

/* Forgets what is sent, where that is worth a copy: the output of a slow reader is never empty. */
static void forget_sent(struct client *c)
{
    strbuf_drop_front(&c->out, c->out_at);
    c->out_at = 0;
}

/* Sends what waits, as far as it goes. False when the client is lost. */
static bool push(struct client *c)
{
    while (client_waiting(c) > 0) {
        ssize_t n = put(c, c->out.buf + c->out_at, client_waiting(c));

        if (n >= 0) {
            c->out_at += (size_t)n;
            set_deadline(c, c->front->limits.stall_ms);
        } else if (errno == EAGAIN) {
            c->writable = false;
            break;
        } else if (errno != EINTR) {
            lose(c);
            return false;
        }
    }
    if (client_waiting(c) == 0) {
        strbuf_release(&c->out);
        c->out_at = 0;
        if (c->state == BUSY || c->tunnel)
            set_deadline(c, NEVER);
    } else if (c->out_at >= SCRATCH_BYTES && c->out_at >= client_waiting(c)) {
        forget_sent(c);
    }
    return true;
}

/* The same when the client can take more. False when it is lost. */
static bool flush(struct client *c)
{
    if (!push(c))
        return false;
    if (c->paused && client_waiting(c) < CLIENT_LOW_MARK) {
        c->paused = false;
        if (c->exchange != NULL)
            c->front->handler->drained(c->exchange);
    }
    return true;
}

static void keep_for_later(struct client *c, const void *p, size_t n)
{
    if (n > c->out.max - c->out.len)
        forget_sent(c);
    strbuf_add_n(&c->out, p, n);
}

/* Sends the pieces, behind what already waits; keeps what does not go. Where that is too much, the
 * client is lost: an end that shows, not a gap. */
static void send_pieces(struct client *c, struct iovec *v, size_t n)
{
    size_t skip = 0, waited = client_waiting(c);

    if (c->lost)
        return;
    if (client_waiting(c) > 0 || !c->writable) {
        for (size_t i = 0; i < n; i++)
            keep_for_later(c, v[i].iov_base, v[i].iov_len);
    } else {
        ssize_t sent;

        do
            sent = put_all(c, v, n);
        while (sent < 0 && errno == EINTR);
        skip = sent > 0 ? (size_t)sent : 0;
        for (size_t i = 0; i < n; i++) {
            size_t gone = skip < v[i].iov_len ? skip : v[i].iov_len;

            skip -= gone;
            if (gone < v[i].iov_len)
                keep_for_later(c, (char *)v[i].iov_base + gone, v[i].iov_len - gone);
        }
    }
    if (c->out.failed) {
        lose(c);
    } else if (client_waiting(c) > 0) {
        /* The reader's stall begins with the first byte that waits; that more is written does not
         * end it. */
        if (waited == 0 || c->deadline_ms == NEVER)
            set_deadline(c, c->front->limits.stall_ms);
        push(c); /* a short write without EAGAIN brings no event: go on until one of them */
    }
}

static void head_lines(struct client *c, unsigned status, struct span fields, struct strbuf *out)
{
    strbuf_add(out, "HTTP/1.1 ");
    strbuf_add_u64(out, status);
    strbuf_add_char(out, ' ');
    strbuf_add(out, http1_reason(status));
    strbuf_add(out, "\r\n");
    strbuf_add_span(out, fields);
    if (c->body_left || c->front->draining)
        c->keep_alive = false;
    if (!c->keep_alive)
        strbuf_add(out, "Connection: close\r\n");
    else if (c->old_version)
        strbuf_add(out, "Connection: keep-alive\r\nKeep-Alive: timeout=75\r\n");
    else
        strbuf_add(out, "Keep-Alive: timeout=75\r\n");
}

/* The exchange lets go of the connection; what waits is sent, then the next request may come. */
static void answered(struct client *c)
{
    c->exchange = NULL;
    c->paused = c->held = c->slow = c->answering = false;
    if (c->lost || client_waiting(c) > 0)
        set_state(c, FLUSH);
    else
        answer_sent(c);
}

void client_answer(struct client *c, unsigned status, struct span fields, struct span body)
{
    char mem[8192];
    struct strbuf head = strbuf_on(mem, sizeof(mem));
    struct iovec v[2];

    head_lines(c, status, fields, &head);
    /* Such an answer has no body (RFC 9110 8.6), or its length is not known here. */
    if (status != 204 && status != 304 && !(c->head_only && body.n == 0)) {
        strbuf_add(&head, "Content-Length: ");
        strbuf_add_u64(&head, body.n);
        strbuf_add(&head, "\r\n");
    }
    strbuf_add(&head, "\r\n");
    assert(!head.failed);
    v[0] = (struct iovec){head.buf, head.len};
    v[1] = (struct iovec){(void *)(uintptr_t)body.p, body.n};
    c->exchange = NULL; /* from here on nobody is called back */
    send_pieces(c, v, body.n > 0 && !c->head_only ? 2 : 1);
    answered(c);
}

void client_stream_start(struct client *c, unsigned status, struct span fields)
{
    c->chunked = !c->old_version;
    if (!c->chunked)
        c->keep_alive = false;
    c->answering = true;
    head_lines(c, status, fields, &c->out);
    strbuf_add(&c->out, c->chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
}

/* Sends a run of the answer's bytes as one chunk, and with the last one what ends the body. */
static void send_run(struct client *c, struct span bytes, bool last)
{
    char size[HTTP1_CHUNK_HEAD];
    struct iovec v[4];
    size_t n = 0;
    struct strbuf head = c->out; /* a head that was held, and nothing else, goes in the same send */
    bool held = c->out_at == 0 && c->out.len > 0 && c->out.len < 4096 && c->writable;

    if (held) {
        c->out = strbuf_heap(c->out.max);
        v[n++] = (struct iovec){head.buf, head.len};
    }
    if (c->chunked && bytes.n > 0)
        v[n++] = (struct iovec){size, http1_chunk_head(size, bytes.n)};
    if (bytes.n > 0)
        v[n++] = (struct iovec){(void *)(uintptr_t)bytes.p, bytes.n};
    if (c->chunked) {
        const char *tail = bytes.n == 0 ? "0\r\n\r\n" : last ? "\r\n0\r\n\r\n" : "\r\n";

        v[n++] = (struct iovec){(void *)(uintptr_t)tail, strlen(tail)};
    }
    send_pieces(c, v, n);
    if (held)
        strbuf_release(&head);
    if (client_waiting(c) > CLIENT_HIGH_MARK)
        c->paused = true;
}

/* What was gathered for this client, taken. */
static struct span take_gathered(struct client *c)
{
    struct client_front *f = c->front;
    struct span bytes = {f->gather, f->gatherer == c ? f->gathered : 0};

    if (f->gatherer == c) {
        f->gatherer = NULL;
        f->gathered = 0;
    }
    return bytes;
}

void client_stream_flush(struct client *c)
{
    struct span bytes = take_gathered(c);

    if (bytes.n > 0)
        send_run(c, bytes, false);
}

void client_stream_write(struct client *c, struct span bytes)
{
    struct client_front *f = c->front;

    if (bytes.n == 0)
        return;
    if (f->gatherer != NULL && (f->gatherer != c || bytes.n > sizeof(f->gather) - f->gathered))
        client_stream_flush(f->gatherer);
    if (bytes.n > sizeof(f->gather)) {
        send_run(c, bytes, false);
        return;
    }
    memcpy(f->gather + f->gathered, bytes.p, bytes.n);
    f->gatherer = c;
    f->gathered += bytes.n;
}

void client_stream_end(struct client *c)
{
    struct span bytes = take_gathered(c);

    c->exchange = NULL;
    send_run(c, bytes, true);
    answered(c);
}

void client_stream_abort(struct client *c)
{
    client_stream_flush(c);
    c->exchange = NULL;
    c->keep_alive = false;
    if (!c->lost && flush(c)) {
        /* With chunks the missing last one tells. Without them only a reset does. What the kernel
         * still holds may be lost with a reset, so it is used only where nothing else tells. */
        if (c->chunked)
            answered(c);
        else
            client_close(c, true);
    }
}

/* ---- reading -------------------------------------------------------------------------------- */

static void refuse(struct client *c, const struct http1_problem *why)
{
    char mem[512];
    struct strbuf fields = strbuf_on(mem, sizeof(mem)), body = strbuf_heap(4096);

    c->keep_alive = false;
    c->body_left = true;
    set_state(c, BUSY);
    c->front->handler->bad_request(c->front->ctx, c, why, &fields, &body);
    client_answer(c, why->status, strbuf_span(&fields), strbuf_span(&body));
    strbuf_release(&body);
}

/* The bytes behind what was used go to the connection's own buffer, for later. */
static void keep(struct client *c, struct span rest)
{
    if (c->in.buf != NULL && rest.p >= c->in.buf && rest.p <= c->in.buf + c->in.len) {
        strbuf_drop_front(&c->in, (size_t)(rest.p - c->in.buf));
        if (c->in.len == 0)
            strbuf_release(&c->in);
    } else if (rest.n > 0) {
        strbuf_add_span(&c->in, rest);
    }
}

static void request_in(struct client *c)
{
    c->body_left = false;
    set_state(c, BUSY);
    set_deadline(c, NEVER);
    c->front->handler->ready(c->exchange);
}

/* Reads body bytes from `in`, moving it on. */
static void read_body(struct client *c, struct span *in)
{
    while (c->state == READ_BODY) {
        struct http1_problem why;
        struct span data;
        size_t used;
        enum http1_result r = http1_body_read(&c->body, *in, &used, &data, &why);

        in->p += used;
        in->n -= used;
        if (r == HTTP1_BAD && c->answering) {
            lose(c); /* nothing else can be said any more */
            return;
        }
        if (r == HTTP1_BAD) {
            void *exchange = c->exchange;

            c->exchange = NULL;
            c->front->handler->gone(exchange);
            refuse(c, &why);
            return;
        }
        if (data.n > 0 && !c->front->handler->body(c->exchange, data))
            return;
        if (c->slow && c->state == READ_BODY && client_waiting(c) == 0) /* else it is a reader's */
            set_deadline(c, c->held || c->tunnel ? NEVER : c->front->limits.body_ms);
        if (r == HTTP1_DONE) {
            keep(c, *in); /* before the exchange starts: it may answer at once */
            *in = (struct span){NULL, 0};
            request_in(c);
            return;
        }
        if (in->n == 0 || c->held)
            return;
    }
}

/* Reads a head from `in`, and what is there of the body. */
static void read_head(struct client *c, struct span *in)
{
    struct client_front *f = c->front;
    struct http1_problem why;
    size_t used;

    switch (http1_read_request(*in, &c->scanned, &f->head, &used, &why)) {
    case HTTP1_MORE:
        return;
    case HTTP1_BAD:
        c->old_version = c->head_only = false;
        refuse(c, &why);
        return;
    case HTTP1_DONE:
        break;
    }
    c->scanned = 0;
    c->head_only = span_is(f->head.method, "HEAD");
    c->keep_alive = f->head.keep_alive;
    c->old_version = f->head.minor == 0;
    c->body_left = f->head.framing != HTTP1_NO_BODY;
    http1_body_start(&c->body, &f->head);
    set_state(c, READ_BODY);
    set_deadline(c, f->limits.body_ms);
    c->begun = true;
    c->exchange = f->handler->begin(f->ctx, c, &f->head);
    in->p += used;
    in->n -= used;
    if (c->exchange == NULL)
        return;
    if (f->head.expect_continue && in->n == 0) {
        struct iovec v = {(void *)(uintptr_t) "HTTP/1.1 100 Continue\r\n\r\n", 25};

        send_pieces(c, &v, 1);
    }
    read_body(c, in);
}

/* Works on the bytes `in`, whatever state they meet; what is left is kept. */
static void consume(struct client *c, struct span in)
{
    if (c->state == READ_HEAD) {
        if (c->deadline_ms == NEVER || c->scanned == 0)
            set_deadline(c, c->front->limits.head_ms);
        read_head(c, &in);
    } else if (c->state == READ_BODY) {
        read_body(c, &in);
    }
    if (c->state != LINGER && c->state != CLOSED)
        keep(c, in);
}

static void read_on(struct client *c)
{
    struct client_front *f = c->front;

    while ((c->state == READ_HEAD || c->state == READ_BODY) && !c->held && !c->lost) {
        size_t had = c->in.len;
        ssize_t n;

        if (had > 0 && c->state == READ_BODY) {
            consume(c, strbuf_span(&c->in)); /* what was left when it was held */
            continue;
        }
        if (had > 0 && c->scanned == 0 && c->state == READ_HEAD) {
            consume(c, strbuf_span(&c->in)); /* a pipelined request */
            if (c->state != READ_HEAD || c->in.len != had)
                continue;
        }
        if (!c->readable)
            return;
        n = take(c, f->scratch, SCRATCH_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            c->readable = false;
            return;
        }
        if (n <= 0) {
            client_lost(c);
            return;
        }
        if ((size_t)n < SCRATCH_BYTES && !c->half_closed && c->tls == NULL)
            c->readable =
                false; /* a short read has emptied the socket; the next bytes bring an event */
        if (c->in.len > 0) {
            strbuf_add_n(&c->in, f->scratch, (size_t)n);
            consume(c, strbuf_span(&c->in));
        } else {
            consume(c, (struct span){f->scratch, (size_t)n});
        }
    }
}

void client_body_pause(struct client *c)
{
    if (c->state != READ_BODY)
        return;
    c->held = c->slow = true;
    if (client_waiting(c) == 0)
        set_deadline(c, NEVER);
}

void client_body_resume(struct client *c)
{
    bool reading = c->held && c->state == READ_BODY;

    c->held = false;
    if (!reading)
        return;
    set_deadline(c, c->tunnel ? NEVER : c->front->limits.body_ms);
    loop_soon(c->front->loop, &c->task);
}

void client_tunnel(struct client *c, struct span fields)
{
    strbuf_add(&c->out, "HTTP/1.1 101 Switching Protocols\r\n");
    strbuf_add_span(&c->out, fields);
    strbuf_add(&c->out, "\r\n");
    c->chunked = c->keep_alive = false;
    c->tunnel = c->answering = c->body_left = true;
    c->body = (struct http1_body){.framing = HTTP1_UNTIL_CLOSE};
    set_state(c, READ_BODY);
    set_deadline(c, NEVER);
    push(c);
    loop_soon(c->front->loop, &c->task);
}

static void client_work(struct client *c)
{
    read_on(c);
    /* A half-close cannot be told from a client that has left; it is taken as the latter. */
    if (c->state == BUSY && c->half_closed)
        client_lost(c);
}

static void go_on(struct loop_task *t)
{
    struct client *c = CONTAINER_OF(t, struct client, task);

    if (c->lost)
        client_lost(c);
    else if (c->state == LINGER)
        linger(c);
    else
        client_work(c);
}

/* ---- events --------------------------------------------------------------------------------- */

static void client_event(struct loop_fd *lfd, uint32_t events)
{
    struct client *c = CONTAINER_OF(lfd, struct client, lfd);

    if (c->lost)
        return;
    if (events & (EPOLLERR | EPOLLHUP)) {
        client_lost(c);
        return;
    }
    if (events & EPOLLRDHUP)
        c->half_closed = true;
    if (c->tls != NULL && (events & (EPOLLIN | EPOLLOUT)))
        events |= EPOLLIN | EPOLLOUT; /* it may have waited for either, whatever it was asked for */
    if (events & EPOLLIN)
        c->readable = true;
    if (events & EPOLLOUT) {
        c->writable = true;
        if (client_waiting(c) > 0 && !flush(c))
            return;
        if (c->state == FLUSH && client_waiting(c) == 0) {
            answer_sent(c);
            if (c->state == CLOSED)
                return;
        }
    }
    switch (c->state) {
    case READ_HEAD:
    case READ_BODY:
        c->readable = c->readable || c->half_closed;
        client_work(c);
        break;
    case BUSY:
        if (c->half_closed)
            client_lost(c);
        break;
    case LINGER:
        linger(c);
        break;
    case FLUSH:
    case CLOSED:
        break;
    }
}

static void client_due(struct loop_timer *t)
{
    struct client *c = CONTAINER_OF(t, struct client, timer);
    static const struct http1_problem late = {408, "request_timeout",
                                              "the request did not come in time"};

    if (c->deadline_ms == NEVER)
        return;
    if (loop_now_ms(c->front->loop) < c->deadline_ms) {
        loop_timer_set(c->front->loop, t, c->deadline_ms);
        return;
    }
    if (c->state == READ_HEAD && c->in.len > 0) {
        refuse(c, &late);
    } else if (c->state == READ_BODY && !c->answering) {
        void *exchange = c->exchange;

        c->exchange = NULL;
        c->front->handler->gone(exchange);
        refuse(c, &late);
    } else {
        client_lost(c); /* idle too long, does not read, or lingers */
    }
}

/* ---- accepting ------------------------------------------------------------------------------ */

/* What may wait for one client. */
static size_t most_waiting(const struct client_front *f)
{
    return f->limits.answer_bytes + CLIENT_HIGH_MARK + HEADROOM;
}

static void client_new(struct client_front *f, int fd, bool secure)
{
    struct client *c = mem_zalloc(sizeof(*c));
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* fails on unix sockets: fine */
    c->lfd = (struct loop_fd){fd, client_event};
    c->front = f;
    c->in = strbuf_heap(HTTP1_MAX_HEAD + 2 * SCRATCH_BYTES);
    c->out = strbuf_heap(most_waiting(f));
    c->timer.on_due = client_due;
    c->task.run = go_on;
    c->writable = true;
    if (loop_add(f->loop, &c->lfd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0) {
        close(fd);
        free(c);
        return;
    }
    if (secure && f->tls != NULL)
        c->tls = tls_session_new(f->tls, fd);
    c->next = f->clients;
    if (f->clients != NULL)
        f->clients->prev = c;
    f->clients = c;
    f->open++;
    set_state(c, READ_HEAD);
    set_deadline(c, f->limits.head_ms);
}

static void listener_on(struct loop_timer *t)
{
    struct listener *l = CONTAINER_OF(t, struct listener, timer);

    if (l->off && !l->front->draining && loop_add(l->front->loop, &l->lfd, EPOLLIN) == 0)
        l->off = false;
}

static void listener_pause(struct listener *l)
{
    if (!l->off)
        loop_remove(l->front->loop, &l->lfd);
    l->off = true;
    if (!l->front->draining)
        loop_timer_set(l->front->loop, &l->timer, loop_now_ms(l->front->loop) + ACCEPT_PAUSE_MS);
}

static bool may_call(const struct client_limits *limits, const struct sockaddr *from)
{
    if (limits->n_allow == 0 || from->sa_family == AF_UNIX || network_is_loopback(from))
        return true;
    for (size_t i = 0; i < limits->n_allow; i++)
        if (network_has(&limits->allow[i], from))
            return true;
    return false;
}

static void accept_some(struct loop_fd *lfd, uint32_t events)
{
    struct listener *l = CONTAINER_OF(lfd, struct listener, lfd);

    (void)events;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage from = {0};
        socklen_t size = sizeof(from);
        int fd;

        if (l->front->open >= l->front->limits.connections) {
            log_warn("all %u client connections (limits.connections) of a worker are in use: "
                     "others wait",
                     l->front->limits.connections);
            listener_pause(l); /* the others wait in the kernel's queue */
            return;
        }
        fd = accept4(lfd->fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && !may_call(&l->front->limits, (struct sockaddr *)&from)) {
            log_debug("a connection from outside of `allow` was closed");
            close(fd);
        } else if (fd >= 0) {
            client_new(l->front, fd, l->secure);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn("clients cannot be accepted at the moment: %s", strerror(errno));
            listener_pause(l); /* level-triggered: it would spin */
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
    /* Its next event stands behind those of all connections; a new client shall not wait for them.
     */
    loop_soon(l->front->loop, &l->more);
}

static void accept_more(struct loop_task *t)
{
    struct listener *l = CONTAINER_OF(t, struct listener, more);

    if (!l->off)
        accept_some(&l->lfd, EPOLLIN);
}

struct client_front *client_front_new(struct loop *l, const struct client_limits *limits,
                                      const struct client_handler *h, void *ctx)
{
    struct client_front *f = mem_alloc(sizeof(*f));

    f->loop = l;
    f->limits = *limits;
    f->handler = h;
    f->ctx = ctx;
    f->tls = NULL;
    f->clients = NULL;
    f->listeners = NULL;
    f->open = f->busy = 0;
    f->draining = false;
    f->gatherer = NULL;
    f->gathered = 0;
    return f;
}

void client_front_change(struct client_front *f, const struct client_limits *limits, void *ctx,
                         struct tls_server *tls)
{
    f->limits = *limits;
    f->ctx = ctx;
    f->tls = tls;
    for (struct client *c = f->clients; c != NULL; c = c->next)
        if (c->out.max < most_waiting(f)) /* answers under way may still be as long as before */
            c->out.max = most_waiting(f);
}

void client_front_listen(struct client_front *f, const struct client_listener *from)
{
    struct listener *l = mem_zalloc(sizeof(*l));

    l->lfd = (struct loop_fd){from->fd, accept_some};
    l->front = f;
    l->secure = from->secure;
    l->lent = from->lent;
    l->timer.on_due = listener_on;
    l->more.run = accept_more;
    l->next = f->listeners;
    f->listeners = l;
    l->off = true;
    listener_on(&l->timer);
}

void client_front_drain(struct client_front *f, bool handed_over)
{
    f->draining = true;
    for (struct listener *l = f->listeners; l != NULL; l = l->next) {
        loop_timer_clear(f->loop, &l->timer);
        if (!l->off)
            listener_pause(l);
        if (!l->lent && !handed_over)
            shutdown(l->lfd.fd, SHUT_RD); /* refused at once, not queued until we end */
    }
    for (struct client *c = f->clients, *next; c != NULL; c = next) {
        next = c->next;
        if (c->state != READ_HEAD || c->in.len > 0)
            continue;
        if (c->begun)
            client_close(c, false);
        else
            set_deadline(c, GREETING_MS); /* its request may be on the way */
    }
}

unsigned client_front_busy(const struct client_front *f)
{
    return f->busy;
}

unsigned client_front_open(const struct client_front *f)
{
    return f->open;
}

static void listener_gone(struct loop_task *t)
{
    free(CONTAINER_OF(t, struct listener, more));
}

void client_front_free(struct client_front *f)
{
    if (f == NULL)
        return;
    client_front_drain(f, true); /* the sockets are the caller's */
    while (f->clients != NULL)
        client_lost(f->clients);
    while (f->listeners != NULL) {
        struct listener *l = f->listeners;

        f->listeners = l->next;
        l->more.run = listener_gone;
        loop_soon(f->loop, &l->more); /* it may be queued already */
    }
    free(f);
}

const char *client_address(struct client *c)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof(a);
    char host[INET6_ADDRSTRLEN];

    if (c->address[0] != '\0')
        return c->address;
    snprintf(c->address, sizeof(c->address), "unix");
    if (getpeername(c->lfd.fd, (struct sockaddr *)&a, &n) < 0)
        return c->address;
    if (a.ss_family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&a;

        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(c->address, sizeof(c->address), "%s:%u", host, ntohs(v4->sin_port));
    } else if (a.ss_family == AF_INET6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;

        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(c->address, sizeof(c->address), "[%s]:%u", host, ntohs(v6->sin6_port));
    }
    return c->address;
}
