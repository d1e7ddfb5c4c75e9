/* admin.h - the admin port: is it alive, is it ready, what does it count, how are its targets?
 *
 *     GET /livez     200 "ok", or 503
 *     GET /readyz    200 "ready", or 503 and why
 *     GET /metrics   Prometheus text
 *     GET /status    JSON: how all is now
 *     GET /events    JSON: what happened lately (events.h)
 *     GET /          a page that shows the last two, live
 *
 * Read only: GET and HEAD, everything else is 405. A listener of its own, by libmicrohttpd in a
 * thread of its own, so that a full data port does not silence the probes and nothing here costs a
 * request there. It asks no key, hence these guards:
 *
 *   - a page in somebody's browser must not read it through a name that resolves to us: the Host
 *     must be a loopback name, the listener's own host or one of `hosts`, and on a listener that is
 *     not loopback it may be any IP address (probes and scrapers use those), else 421;
 *   - a request that another site's page makes (Origin, Sec-Fetch-Site) is 403.
 *
 * The page may run its own script and nothing else (Content-Security-Policy, by hash), talk to this
 * port only, and not be shown inside another page.
 *
 * A unix socket has mode 0600 and takes any Host: browsers cannot reach it.
 */
#ifndef HOLDFAST_OPS_ADMIN_H
#define HOLDFAST_OPS_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "proxy/base/attributes.h"
#include "proxy/base/err.h"
#include "proxy/base/strbuf.h"

/* Where the answers come from. The functions are called in the admin thread, one at a time, and
 * must be safe there. */
struct admin_source {
    void *ctx;
    bool (*live)(void *ctx);
    bool (*ready)(void *ctx, struct strbuf *why); /* false: *why gets one line */
    void (*metrics)(void *ctx, struct strbuf *out);
    void (*status)(void *ctx, struct strbuf *out);
    void (*events)(void *ctx, struct strbuf *out);
    char *const *hosts; /* more names that a Host may carry; must outlive the server */
    size_t n_hosts;
};

struct admin;

/* Answers from now on on the listening socket, which stays the caller's and is open at `where`.
 * That and `source` are copied. 0 with *out, to be given to admin_stop, or -1 with *e. */
int admin_start(const struct config_listen *where, int fd, const struct admin_source *source,
                struct admin **out, struct err *e) MUST_CHECK;

/* No new connections: whoever else has the socket gets them. NULL is fine. */
void admin_quiesce(struct admin *a);

/* Ends open connections and the thread. NULL is fine. */
void admin_stop(struct admin *a);

#endif
