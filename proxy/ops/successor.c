#include "proxy/ops/successor.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/base/strbuf.h"
#include "proxy/wire/inherit.h"

#define SERVES_MS 30000 /* within this it must serve */

extern char **environ;

void successor_init(struct successor *s, char **argv)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path));

    s->argv = argv;
    s->program = n > 0 && n < (ssize_t)sizeof(path) ? mem_strndup(path, (size_t)n) : NULL;
}

void successor_release(struct successor *s)
{
    free(s->program);
}

/* ---- starting ------------------------------------------------------------------------------- */

/* Our environment and the caller's lines. */
static char **make_environment(char own[2][40], struct strbuf *names)
{
    size_t n = 0;
    char **all;

    while (environ[n] != NULL)
        n++;
    all = mem_alloc((n + 4) * sizeof(*all));
    memcpy(all, environ, n * sizeof(*all));
    for (size_t i = 0; i < 2; i++)
        all[n++] = own[i];
    all[n++] = names->buf;
    all[n] = NULL;
    return all;
}

/* Every socket is copied to above the places where they must come to stand, so that none is
 * overwritten before it got there. -1 with errno. */
static int place_sockets(const struct listeners *ls, int *copies, posix_spawn_file_actions_t *todo)
{
    int first = INHERIT_FIRST_FD, above = first + (int)ls->n;

    for (size_t i = 0; i < ls->n; i++) {
        copies[i] = fcntl(ls->all[i].fd, F_DUPFD_CLOEXEC, above);
        if (copies[i] < 0)
            return -1;
        posix_spawn_file_actions_adddup2(todo, copies[i], first + (int)i);
    }
    posix_spawn_file_actions_addclosefrom_np(todo, above);
    return 0;
}

/* The child starts with no signal blocked or ignored. */
static int spawn(struct successor *s, const posix_spawn_file_actions_t *todo, char **environment)
{
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int rc;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    rc = posix_spawn(&s->pid, s->program, todo, &attributes, s->argv, environment);
    posix_spawnattr_destroy(&attributes);
    if (rc != 0)
        s->pid = 0;
    return rc;
}

static int start(struct successor *s, const struct listeners *ls)
{
    struct strbuf names = strbuf_heap(16 * INHERIT_MOST);
    posix_spawn_file_actions_t todo;
    char own[2][40], **environment;
    int *copies = mem_alloc((ls->n + 1) * sizeof(*copies)), rc;

    snprintf(own[0], sizeof(own[0]), "LISTEN_FDS=%zu", ls->n);
    snprintf(own[1], sizeof(own[1]), "HOLDFAST_PREDECESSOR=%d", (int)getpid());
    strbuf_add(&names, "LISTEN_FDNAMES=");
    for (size_t i = 0; i < ls->n; i++) {
        copies[i] = -1;
        strbuf_addf(&names, i > 0 ? ":%s" : "%s",
                    ls->all[i].lent ? INHERIT_LENT_NAME : INHERIT_OUR_NAME);
    }
    environment = make_environment(own, &names);
    posix_spawn_file_actions_init(&todo);
    rc = place_sockets(ls, copies, &todo) < 0 ? errno : spawn(s, &todo, environment);
    posix_spawn_file_actions_destroy(&todo);
    for (size_t i = 0; i < ls->n; i++)
        if (copies[i] >= 0)
            close(copies[i]);
    free(environment);
    free(copies);
    strbuf_release(&names);
    return rc;
}

int successor_start(struct successor *s, const struct listeners *ls, uint64_t now_ms, struct err *e)
{
    int rc;

    if (s->pid != 0)
        return err_set(e, ERR_VALUE, "process %d is starting already to take our place",
                       (int)s->pid);
    if (getpid() == 1)
        return err_set(e, ERR_VALUE,
                       "as process 1 of a container we have no successor: the "
                       "container ends with us; start another one");
    if (s->program == NULL)
        return err_set(e, ERR_IO, "the file of the program is not known (/proc is missing)");
    rc = start(s, ls);
    if (rc != 0)
        return err_set(e, ERR_IO, "%s cannot be started: %s", s->program, strerror(rc));
    s->until_ms = now_ms + SERVES_MS;
    return 0;
}

/* ---- what becomes of it --------------------------------------------------------------------- */

int successor_look(struct successor *s, uint64_t now_ms, struct err *e)
{
    pid_t pid = s->pid;
    int how;

    if (pid == 0)
        return 0;
    if (waitpid(pid, &how, WNOHANG) == pid) {
        s->pid = 0;
        return WIFEXITED(how) ? err_set(e, ERR_IO,
                                        "process %d, which was to take our place, ended with exit "
                                        "code %d",
                                        (int)pid, WEXITSTATUS(how))
                              : err_set(e, ERR_IO,
                                        "process %d, which was to take our place, was ended by "
                                        "signal %d",
                                        (int)pid, WTERMSIG(how));
    }
    if (now_ms < s->until_ms)
        return 0;
    kill(pid, SIGKILL);
    waitpid(pid, &how, 0);
    s->pid = 0;
    return err_set(e, ERR_IO,
                   "process %d, which was to take our place, did not serve within %d s "
                   "and was ended",
                   (int)pid, SERVES_MS / 1000);
}

bool successor_serves(const struct successor *s, const siginfo_t *signal)
{
    return s->pid != 0 && signal->si_signo == SIGUSR2 && signal->si_pid == s->pid;
}

void successor_abandon(struct successor *s)
{
    if (s->pid != 0)
        kill(s->pid, SIGTERM);
    s->pid = 0;
}

void successor_report(void)
{
    if (inherit_predecessor() != 0)
        kill(inherit_predecessor(), SIGUSR2);
}
