/* transport.h - how a connection to a provider is opened, and its bytes.
 *
 * With ops/fetch the only place that knows libcurl. libcurl resolves the name, picks the address
 * that answers first and goes through the corporate proxy, driven from the worker's loop, so that
 * nothing waits, not for DNS and not behind another connection. Then the socket is ours: TLS is
 * tls.h's, with one context for all and the last session with each peer remembered, and bytes go
 * without a detour. libcurl's HTTP engine is not used: it re-sends requests unasked and calls a cut
 * answer a success.
 *
 * One way is libcurl's to the end (CURLOPT_CONNECT_ONLY): through a proxy that is itself spoken to
 * by TLS. Such a transport has a multi handle of its own, because libcurl looks for its connection
 * among all of a handle's at every send.
 */
#ifndef HOLDFAST_WIRE_TRANSPORT_H
#define HOLDFAST_WIRE_TRANSPORT_H

#include <stdbool.h>
#include <sys/types.h>

#include "config/egress.h"
#include "providers/failure.h"
#include "proxy/base/err.h"
#include "proxy/base/span.h"
#include "proxy/wire/loop.h"
#include "proxy/wire/tls.h"

/* Where to connect to; from the configuration, immutable. */
struct transport_peer {
    char *origin; /* "https://api.openai.com:443" */
    bool tls;
    struct tls_own *own;         /* certificates that only it has; NULL: none */
    const struct egress *egress; /* the proxy on the way, unless NO_PROXY has the host; or NULL */
};

/* What the connections of one worker share: the loop, resolved names, TLS sessions. */
struct transport_space;

struct transport;

enum { TRANSPORT_EOF = 0, TRANSPORT_AGAIN = -1, TRANSPORT_ERROR = -2 };

int transport_global_start(struct err *e) MUST_CHECK; /* once per process */
void transport_global_stop(void);

struct transport_space *transport_space_new(struct loop *l);
void transport_space_free(struct transport_space *s); /* after its last connection */

/* Starts to connect. Exactly one of the two callbacks is called, later and from the loop; none
 * after transport_close. `text` names host and phase, for people. NULL (and *e) when out of
 * descriptors or memory: a local fault. */
struct transport *transport_open(struct transport_space *s, const struct transport_peer *p,
                                 void (*up)(void *ctx),
                                 void (*failed)(void *ctx, enum failure why, const char *text),
                                 void *ctx, struct err *e) MUST_CHECK;
void transport_close(struct transport *t); /* in any phase, also from inside its callbacks */

/* True when TCP is connected, though perhaps not TLS; behind a proxy of HTTP, when that said so. */
bool transport_tcp_up(struct transport *t);

/* For people, while it connects: which host it waits for, and what for. */
void transport_waits_for(struct transport *t, char *out, size_t size);

/* Once up: the socket, for the caller to register edge-triggered; and its bytes. TRANSPORT_AGAIN
 * when nothing goes now. */
int transport_fd(const struct transport *t);
ssize_t transport_send(struct transport *t, const void *p, size_t n);
ssize_t transport_recv(struct transport *t, void *p, size_t n);

/* Has the last transport_recv left nothing behind? Then whatever comes now, also the end, is an
 * event of its own. */
bool transport_drained(const struct transport *t);

#endif
