/* inherit.h - listening sockets that were open before us and are passed to us.
 *
 * By the service manager, in the protocol of sd_listen_fds(3): LISTEN_FDS sockets from descriptor 3
 * on, for the process LISTEN_PID. Or by our predecessor (ops/successor.h), who speaks the same and
 * gives its own number as HOLDFAST_PREDECESSOR in place of ours, which it does not know beforehand.
 * Behind its sockets stands a pipe: a byte in it says that we serve.
 * The sockets are known by their addresses: `listen` and `admin` say as ever where we are, and an
 * address that was passed is not opened anew. Between two processes such a socket lives on, and who
 * calls then waits in its queue in place of being refused.
 *
 * For the start of the process, by one thread.
 */
#ifndef HOLDFAST_WIRE_INHERIT_H
#define HOLDFAST_WIRE_INHERIT_H

#include <stdbool.h>

#include "config/config.h"
#include "proxy/base/attributes.h"
#include "proxy/base/err.h"

#define INHERIT_MOST      1088
#define INHERIT_FIRST_FD  3     /* SD_LISTEN_FDS_START */
#define INHERIT_OUR_NAME  "own" /* in LISTEN_FDNAMES: the predecessor's own, nobody else has it */
#define INHERIT_LENT_NAME "lent"

/* Finds what was passed and takes the variables out of the environment. */
void inherit_start(void);

/* A socket that was passed for this address, now the caller's; -1: none, or no further one. *lent:
 * the service manager has it too, and goes on when we end. */
int inherit_take(const struct config_listen *l, bool *lent);

/* -1 with *e where the service manager passed a socket that nothing names: it would never be
 * served. What a predecessor leaves over is closed: its addresses may have been others. */
int inherit_check(struct err *e) MUST_CHECK;

/* Is there a process whose place we take? */
bool inherit_has_predecessor(void);

/* Tells it that we serve. Nothing happens where there is none. */
void inherit_report(void);

#endif
