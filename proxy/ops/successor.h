/* successor.h - a new process takes our place while we still serve.
 *
 * SIGUSR2 starts the program again, as it is now on the disk: with our arguments, our environment
 * and our listening sockets. Both accept for a moment; then the new one says by the same signal
 * that it serves, and we end as after SIGTERM, with what is under way. If it does not come to that,
 * we go on and nothing has changed. For the main thread.
 */
#ifndef HOLDFAST_OPS_SUCCESSOR_H
#define HOLDFAST_OPS_SUCCESSOR_H

#include <signal.h>

#include "proxy/base/attributes.h"
#include "proxy/base/err.h"
#include "proxy/wire/listener.h"

struct successor {
    char *program; /* the file that we were started from */
    char **argv;
    pid_t pid; /* 0: there is none */
    uint64_t until_ms;
};

/* Remembers what to start, before anybody puts another file there. */
void successor_init(struct successor *s, char **argv);
void successor_release(struct successor *s);

/* -1 with *e: it could not be started, or one is on its way already. */
int successor_start(struct successor *s, const struct listeners *ls, uint64_t now_ms,
                    struct err *e) MUST_CHECK;

/* Looks what has become of it; often enough to be asked once a second. -1 with *e: it has ended, or
 * was ended because it did not serve in time. */
int successor_look(struct successor *s, uint64_t now_ms, struct err *e) MUST_CHECK;

/* Is this the signal by which it says that it serves? */
bool successor_serves(const struct successor *s, const siginfo_t *signal);

/* We end before it serves: so must it. */
void successor_abandon(struct successor *s);

/* Tells the process whose place we take that we serve. Nothing happens where there is none. */
void successor_report(void);

#endif
