/* upstream.h - HTTP/1.1 calls to providers, and the connections they leave behind.
 *
 * A call is one request and its answer, head and body as they come. A call that ends well leaves
 * its connection in the pool, for the same provider and the same key only; idle ones are closed
 * after 30 s, before most servers and load balancers do. A reused connection that dies without one
 * byte of an answer is replaced by a fresh one, once: the provider had closed it before our request
 * came.
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
    struct span parts[UPSTREAM_MAX_PARTS]; /* the request's bytes, one after the other */
    size_t n_parts, total, sent;
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

/* One pool a worker; lanes keep what must not mix (provider and key) apart. */
struct upstream_pool *upstream_pool_new(struct loop *l, unsigned lanes);
void upstream_pool_free(struct upstream_pool *p); /* no calls may be live */

/* Starts a call. The parts must stay in place until the call is over. */
void upstream_start(struct upstream_call *c, struct upstream_pool *p, unsigned lane,
                    const struct transport_peer *peer, const struct span *parts, size_t n_parts,
                    const struct upstream_events *events, void *ctx);
void upstream_cancel(struct upstream_call *c); /* closes its connection; fine when it is over */

bool upstream_tcp_up(const struct upstream_call *c);

/* Backpressure: no body callbacks between the two. */
void upstream_pause(struct upstream_call *c);
void upstream_resume(struct upstream_call *c);

#endif
