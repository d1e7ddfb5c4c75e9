/* listener.h - the sockets that this process listens on: opened, taken from whoever passed them.
 *
 * A process opens its sockets at its start, by one thread, and keeps them until its end: those for
 * clients and the one of the admin port. Who hands them on to a successor (ops/successor.h) leaves
 * them open for it.
 */
#ifndef HOLDFAST_WIRE_LISTENER_H
#define HOLDFAST_WIRE_LISTENER_H

#include <netdb.h>

#include "config/config.h"
#include "proxy/base/attributes.h"
#include "proxy/base/err.h"

/* The addresses of a listener that is no unix socket, for freeaddrinfo. NULL with *e. */
struct addrinfo *listener_resolve(const struct config_listen *l, struct err *e) MUST_CHECK;

/* Opens a listening socket, of a name at the first of its addresses that can be had; with
 * `reuse_port` several may be open at one address. -1 with *e. A unix socket that nobody answers on
 * any more is removed first. */
int listener_open(const struct config_listen *l, bool reuse_port, struct err *e) MUST_CHECK;

/* The port that it is bound to; 0 for a unix socket. */
uint16_t listener_port(int fd);

/* One socket of this process. */
struct listening {
    int fd;
    size_t place; /* in `listen`; LISTENING_ADMIN: the admin port's */
    bool lent;    /* the service manager's, which goes on listening when we end */
};

#define LISTENING_ADMIN ((size_t)-1)

struct listeners {
    struct listening *all;
    size_t n;
    char **paths; /* of the unix sockets that are ours to remove */
    size_t n_paths;
};

/* Opens all that the configuration names, or takes them from what was passed (wire/inherit.h). For
 * `workers` there is one socket each at an address, so that the kernel spreads the connections; a
 * unix socket is shared. "localhost" is 127.0.0.1 and ::1, "*" every address of both families; a
 * machine may lack IPv6. -1 with *e; listeners_close in either case. */
int listeners_open(struct listeners *ls, const struct config *c, unsigned workers,
                   struct err *e) MUST_CHECK;

/* The first socket of a place; -1: there is none. */
int listeners_first(const struct listeners *ls, size_t place);

/* Closes all. What others go on with is left as it is: only where nobody does, unix sockets are
 * removed. */
void listeners_close(struct listeners *ls, bool handed_over);

#endif
