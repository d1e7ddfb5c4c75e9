/* client.h - the listeners and the connections of clients: HTTP/1.1 towards whoever calls us.
 *
 * A connection reads one request, hands it up, and reads the next one only when that is answered.
 * While a request is being worked on, a client that closes is noticed at once. Reading has absolute
 * deadlines (a byte now and then does not extend them); writing is buffered up to a mark, then the
 * exchange is asked to pause its source.
 *
 * The exchange stands above this file; it is reached through struct client_handler, wired by the
 * worker, so that a test can put a fake in its place.
 */
#ifndef HOLDFAST_WIRE_CLIENT_H
#define HOLDFAST_WIRE_CLIENT_H

#include "config/config.h"
#include "proxy/base/strbuf.h"
#include "proxy/wire/http1.h"
#include "proxy/wire/loop.h"
#include "proxy/wire/tls.h"

struct client;

/* What the connection asks of the code above. `exchange` is what `begin` returned. */
struct client_handler {
    /* A request's head is in (views: copy what stays). Returns the exchange, or NULL when it has
     * answered already by client_answer. */
    void *(*begin)(void *ctx, struct client *c, const struct http1_head *head);
    /* The next bytes of its body. False when it has answered (too large): reading stops. */
    bool (*body)(void *exchange, struct span bytes);
    void (*ready)(void *exchange);   /* the whole request is in */
    void (*gone)(void *exchange);    /* the client left: nothing may be written any more */
    void (*drained)(void *exchange); /* the output is below the low mark again */
    /* A request that is no HTTP: what to answer, in the dialect that fits best, and its record. */
    void (*bad_request)(void *ctx, struct client *c, const struct http1_problem *why,
                        struct strbuf *fields, struct strbuf *body);
};

#define CLIENT_HIGH_MARK                                                                           \
    (256 * 1024) /* output waiting: pause the source above, go on below low                        \
                  */
#define CLIENT_LOW_MARK (64 * 1024)

struct client_limits {
    uint64_t head_ms, body_ms; /* absolute, from the first byte */
    uint64_t stall_ms;         /* a reader that takes nothing for so long is gone */
    size_t answer_bytes;       /* output that may wait for a slow reader */
    unsigned connections;
    const struct network
        *allow; /* where clients may come from beside this machine; none: anywhere */
    size_t n_allow;
};

struct client_front; /* all listeners and connections of one worker */

struct client_front *client_front_new(struct loop *l, const struct client_limits *limits,
                                      const struct client_handler *h, void *ctx);
void client_front_free(struct client_front *f); /* closes what is left */

/* From the next request on another exchange above, and other limits (all but the number of
 * connections); from the next connection on this certificate, or with NULL none. It must outlive
 * the next change. */
void client_front_change(struct client_front *f, const struct client_limits *limits, void *ctx,
                         struct tls_server *tls);

/* A listening socket to serve. */
struct client_listener {
    int fd;      /* the caller's: other workers may share it */
    bool secure; /* clients speak TLS there, where there is a certificate */
    bool lent;   /* somebody else has it too and goes on when we end: who calls then waits there.
                    Otherwise nothing listens there any more once one of its users drains. */
};

void client_front_listen(struct client_front *f, const struct client_listener *from);

/* No new connections; idle ones are closed, the others after their current answer. `handed_over`:
 * all listening sockets are as if lent. */
void client_front_drain(struct client_front *f, bool handed_over);
unsigned client_front_busy(const struct client_front *f); /* connections with a request under way */
unsigned client_front_open(const struct client_front *f);

/* ---- answering: what an exchange may do with its connection ---------------------------------- */

/* A whole answer. `fields` are complete header lines, each with CRLF, without Content-Length and
 * Connection, which are added here. Ends the exchange's use of the connection. */
void client_answer(struct client *c, unsigned status, struct span fields, struct span body);

/* An answer in pieces: start, any number of writes, then end or abort. What is written is gathered
 * until the flush (or the end, or until there is much), so that many small events cost one send. */
void client_stream_start(struct client *c, unsigned status, struct span fields);
void client_stream_write(struct client *c, struct span bytes);
void client_stream_flush(struct client *c);
void client_stream_end(struct client *c); /* well: with the last chunk */
void client_stream_abort(
    struct client *c); /* sends what is waiting, then breaks off: no last chunk */

size_t client_waiting(const struct client *c); /* bytes of output not sent yet */

/* ---- a body that is passed on as it comes -------------------------------------------------------
 */

/* The next bytes of the body wait until client_body_resume; its time limit counts from its last
 * bytes on, and not while they wait. Nothing happens where all of it is in. */
void client_body_pause(struct client *c);
void client_body_resume(struct client *c);

/* Answers with 101 (RFC 9110 7.8): from here on all bytes of the client are handed up as body,
 * without an end but the client's, and client_stream_write sends bytes as they are. `fields` name
 * the new protocol. Only while the exchange works on a request that is all in. */
void client_tunnel(struct client *c, struct span fields);

/* "127.0.0.1:51234", or "unix"; good as long as the connection. */
const char *client_address(struct client *c);

#endif
