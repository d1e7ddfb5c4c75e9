/* inherit.h - listening sockets that the service manager has opened and passed to us.
 *
 * The protocol of sd_listen_fds(3): LISTEN_FDS sockets from descriptor 3 on, for the process
 * LISTEN_PID. They are known by their addresses: `listen` says as ever where we are, and an address
 * that was passed is not opened anew. Between two processes such a socket lives on, and who calls
 * then waits in its queue in place of being refused.
 *
 * For the start of the process, by one thread.
 */
#ifndef HOLDFAST_WIRE_INHERIT_H
#define HOLDFAST_WIRE_INHERIT_H

#include "config/config.h"
#include "proxy/base/attributes.h"
#include "proxy/base/err.h"

/* Finds what was passed and takes the variables out of the environment. */
void inherit_start(void);

/* The socket that was passed for this address, now the caller's; -1: none was. */
int inherit_take(const struct config_listen *l);

/* -1 with *e where a socket is left that `listen` does not name: it would never be served. */
int inherit_check(struct err *e) MUST_CHECK;

#endif
