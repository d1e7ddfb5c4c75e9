/* upstream.h - HTTP/1.1 calls to providers, and the connections they leave behind.
 *
 * A call is one request and its answer, head and body as they come. A call that ends well leaves
 * its connection in the pool, for the same provider and the same key only; idle ones are closed
 * after 30 s, before most servers and load balancers do. A reused connection that dies without one
 * byte of an answer is replaced by a fresh one, once: the provider had closed it before our request
 * came.
 *
 * Where TLS makes a connection dear, one is kept ready: it is opened before anybody asks for it,
 * and another one before it is closed for its age.
 *
 * A request may be open: its body is not there yet when the call starts, and follows with
 * upstream_write. As its bytes are not kept, it goes out on a fresh connection only.
 */
#ifndef HOLDFAST_WIRE_UPSTREAM_H
#define HOLDFAST_WIRE_UPSTREAM_H

#include "proxy/wire/http1.h"
#include "proxy/wire/inflate.h"
#include "proxy/wire/transport.h"

#define UPSTREAM_MAX_PARTS 4

/* Callbacks come from the loop, never from within upstream_start. After `end` or `failed`, and
 * after upstream_cancel, none follows. A callback may cancel its own call. */
struct upstream_events {
    void (*connected)(void *ctx); /* the request goes out */
    void (*head)(void *ctx,
                 const struct http1_head *head); /* status >= 200; views, copy what stays */
    void (*body)(void *ctx, struct span bytes);  /* decoded */
    void (*pause)(void *ctx);                    /* no more bytes for now: send what was gathered */
    void (*end)(void *ctx);                      /* the body is whole, as HTTP sees it */
    void (*failed)(void *ctx, enum failure why, const char *text); /* TRUNCATED: after the head */
    void (*room)(void *ctx); /* all that was written of an open request has gone out; else NULL */
};

/* What is asked for. */
struct upstream_request {
    struct span parts[UPSTREAM_MAX_PARTS]; /* its bytes, one after the other; they must stay in
                                              place until the call is over */
    bool bodyless; /* HEAD: an answer has no body, whatever its head says (RFC 9110 9.3.2) */
    bool fresh;    /* on a connection of its own: it must not go out twice */
    bool open;     /* more of it follows; implies fresh */
    bool upgrade;  /* it asks for another protocol: after a 101 all bytes are body, both ways */
};

struct upstream_pool;
struct upstream_conn;

/* The caller's memory; fields are upstream.c's business. */
struct upstream_call {
    struct upstream_pool *pool;
    struct upstream_conn *conn;
    unsigned lane;
    const struct transport_peer *peer;
    const struct upstream_events *events;
    void *ctx;
    struct upstream_request request;
    size_t total, sent;  /* of the request's parts */
    struct strbuf later; /* what was written behind them ... */
    size_t later_sent;   /* ... and went out already */
    uint64_t started_ms;
    bool live, reused, answered, in_body, reusable, paused;
    unsigned interim;
    size_t scanned;
    struct http1_body body;
    struct inflate *inflate;
    uint64_t bytes_in; /* of the answer, as on the wire */
    char reason[96];   /* why it could not be started, until it is told */
    struct loop_task task;
};

/* One pool a worker; lanes keep what must not mix (provider and key) apart. For warm_ms after the
 * last call (or upstream_warm) of a lane a connection is kept ready in it; 0: never. */
struct upstream_pool *upstream_pool_new(struct loop *l, unsigned lanes, uint64_t warm_ms);
void upstream_pool_free(struct upstream_pool *p); /* no calls may be live */

/* Somebody may ask this peer before long. It must live as long as the pool. */
void upstream_warm(struct upstream_pool *p, unsigned lane, const struct transport_peer *peer);

/* From now on no connection is kept ready: the pool will not be asked for long. */
void upstream_cool(struct upstream_pool *p);

void upstream_start(struct upstream_call *c, struct upstream_pool *p, unsigned lane,
                    const struct transport_peer *peer, const struct upstream_request *request,
                    const struct upstream_events *events, void *ctx);

/* More of an open request, copied; and its end. Nothing happens where the call is over, or where
 * the provider takes no more of it. */
void upstream_write(struct upstream_call *c, struct span bytes);
void upstream_write_end(struct upstream_call *c);
size_t upstream_unsent(const struct upstream_call *c); /* bytes that wait to be sent */

/* Sends of it what goes at once: before a call ends whose client has left behind its last words. */
void upstream_write_last(struct upstream_call *c);

/* Is all of the request out? */
bool upstream_asked(const struct upstream_call *c);

void upstream_cancel(struct upstream_call *c); /* closes its connection; fine when it is over */

bool upstream_tcp_up(const struct upstream_call *c);

/* While it connects: what it waits for, as transport_waits_for. */
void upstream_waits_for(const struct upstream_call *c, char *out, size_t size);

/* Backpressure: no body callbacks between the two. */
void upstream_pause(struct upstream_call *c);
void upstream_resume(struct upstream_call *c);

#endif
