/* successor.h - a new process takes our place while we still serve.
 *
 * SIGUSR2 starts the program again, as it is now on the disk: with our arguments, our environment
 * and our listening sockets. Both accept for a moment; then the new one says that it serves, and we
 * end as after SIGTERM, with what is under way. If it does not come to that, we go on and nothing
 * has changed. For the main thread.
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
    pid_t pid;  /* 0: there is none */
    int report; /* a pipe: a byte in it says that it serves */
    uint64_t until_ms;
};

/* Remembers what to start, before anybody puts another file there. */
void successor_init(struct successor *s, char **argv);
void successor_release(struct successor *s);

/* -1 with *e: it could not be started, or one is on its way already. */
int successor_start(struct successor *s, const struct listeners *ls, uint64_t now_ms,
                    struct err *e) MUST_CHECK;

enum successor_news { SUCCESSOR_NONE, SUCCESSOR_SERVES, SUCCESSOR_ENDED };

/* Looks what has become of it; to be asked at each signal and once a second. SUCCESSOR_ENDED with
 * *e: it has ended, or was ended because it did not serve in time. */
enum successor_news successor_look(struct successor *s, uint64_t now_ms, struct err *e);

/* Is this signal its own, which only says that there is news? */
bool successor_sent(const struct successor *s, const siginfo_t *signal);

/* We end before it serves: so must it. */
void successor_abandon(struct successor *s);

#endif
