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

/* Every socket, and the pipe behind them, is copied to above the places where they must come to
 * stand, so that none is overwritten before it got there. -1 with errno. */
static int place_sockets(const struct listeners *ls, int report, int *copies,
                         posix_spawn_file_actions_t *todo)
{
    int first = INHERIT_FIRST_FD, above = first + (int)ls->n + 1;

    for (size_t i = 0; i <= ls->n; i++) {
        copies[i] = fcntl(i < ls->n ? ls->all[i].fd : report, F_DUPFD_CLOEXEC, above);
        if (copies[i] < 0)
            return -1;
        posix_spawn_file_actions_adddup2(todo, copies[i], first + (int)i);
    }
    posix_spawn_file_actions_addclosefrom_np(todo, above);
    return 0;
}

/* The child ignores no signal, and what would end it before it knows them waits. */
static int spawn(struct successor *s, const posix_spawn_file_actions_t *todo, char **environment)
{
    posix_spawnattr_t attributes;
    sigset_t later, all;
    int rc;

    sigemptyset(&later);
    sigaddset(&later, SIGHUP);
    sigaddset(&later, SIGUSR2);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &later);
    posix_spawnattr_setsigdefault(&attributes, &all);
    rc = posix_spawn(&s->pid, s->program, todo, &attributes, s->argv, environment);
    posix_spawnattr_destroy(&attributes);
    if (rc != 0)
        s->pid = 0;
    return rc;
}

/* 0, or an errno. `report`: where it is to say that it serves. */
static int start(struct successor *s, const struct listeners *ls, int report)
{
    struct strbuf names = strbuf_heap(16 * INHERIT_MOST);
    posix_spawn_file_actions_t todo;
    char own[2][40], **environment;
    int *copies = mem_alloc((ls->n + 1) * sizeof(*copies)), rc;

    snprintf(own[0], sizeof(own[0]), "LISTEN_FDS=%zu", ls->n);
    snprintf(own[1], sizeof(own[1]), "HOLDFAST_PREDECESSOR=%d", (int)getpid());
    strbuf_add(&names, "LISTEN_FDNAMES=");
    for (size_t i = 0; i < ls->n; i++)
        strbuf_addf(&names, i > 0 ? ":%s" : "%s",
                    ls->all[i].lent ? INHERIT_LENT_NAME : INHERIT_OUR_NAME);
    for (size_t i = 0; i <= ls->n; i++)
        copies[i] = -1;
    environment = make_environment(own, &names);
    posix_spawn_file_actions_init(&todo);
    rc = place_sockets(ls, report, copies, &todo) < 0 ? errno : spawn(s, &todo, environment);
    posix_spawn_file_actions_destroy(&todo);
    for (size_t i = 0; i <= ls->n; i++)
        if (copies[i] >= 0)
            close(copies[i]);
    free(environment);
    free(copies);
    strbuf_release(&names);
    return rc;
}

int successor_start(struct successor *s, const struct listeners *ls, uint64_t now_ms, struct err *e)
{
    int report[2], rc;

    if (s->pid != 0)
        return err_set(e, ERR_VALUE, "process %d is starting already to take our place",
                       (int)s->pid);
    if (getpid() == 1)
        return err_set(e, ERR_VALUE,
                       "as process 1 of a container we have no successor: the container ends with "
                       "us; start another one");
    if (s->program == NULL)
        return err_set(e, ERR_IO, "the file of the program is not known (/proc is missing)");
    if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_set(e, ERR_IO, "%s cannot be started: %s", s->program, strerror(errno));
    rc = start(s, ls, report[1]);
    close(report[1]);
    if (rc != 0) {
        close(report[0]);
        return err_set(e, ERR_IO, "%s cannot be started: %s", s->program, strerror(rc));
    }
    s->report = report[0];
    s->until_ms = now_ms + SERVES_MS;
    return 0;
}

/* ---- what becomes of it --------------------------------------------------------------------- */

static enum successor_news ended(struct successor *s)
{
    close(s->report);
    s->pid = 0;
    return SUCCESSOR_ENDED;
}

enum successor_news successor_look(struct successor *s, uint64_t now_ms, struct err *e)
{
    int pid = s->pid, how;
    char byte;

    if (pid == 0)
        return SUCCESSOR_NONE;
    if (waitpid(pid, &how, WNOHANG) == pid) {
        if (WIFEXITED(how))
            err_set(e, ERR_IO, "process %d, which was to take our place, ended with exit code %d",
                    pid, WEXITSTATUS(how));
        else
            err_set(e, ERR_IO, "process %d, which was to take our place, was ended by signal %d",
                    pid, WTERMSIG(how));
        return ended(s);
    }
    if (read(s->report, &byte, 1) == 1)
        return SUCCESSOR_SERVES;
    if (now_ms < s->until_ms)
        return SUCCESSOR_NONE;
    kill(pid, SIGKILL);
    waitpid(pid, &how, 0);
    err_set(e, ERR_IO,
            "process %d, which was to take our place, did not serve within %d s and was ended", pid,
            SERVES_MS / 1000);
    return ended(s);
}

bool successor_sent(const struct successor *s, const siginfo_t *signal)
{
    return s->pid != 0 && signal->si_pid == s->pid;
}

void successor_abandon(struct successor *s)
{
    if (s->pid == 0)
        return;
    kill(s->pid, SIGTERM);
    ended(s);
}
