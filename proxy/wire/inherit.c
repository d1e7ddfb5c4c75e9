#include "proxy/wire/inherit.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/span.h"
#include "proxy/wire/listener.h"

static struct {
    int fds[INHERIT_MOST]; /* -1: taken */
    bool lent[INHERIT_MOST];
    size_t n;
    pid_t predecessor;
    int report; /* its pipe */
} passed;

/* 0 where it is not set, or no number. */
static uint64_t number_of(const char *variable)
{
    const char *text = getenv(variable);
    uint64_t n = 0;

    return text != NULL && span_to_u64(span_of(text), &n) ? n : 0;
}

/* A name for each socket, with colons between them. */
static void read_names(const char *names)
{
    const char *at = names;

    for (size_t i = 0; i < passed.n; i++) {
        size_t n = at != NULL ? strcspn(at, ":") : 0;

        passed.lent[i] =
            passed.predecessor == 0 || !span_is((struct span){at, n}, INHERIT_OUR_NAME);
        at = at != NULL && at[n] == ':' ? at + n + 1 : NULL;
    }
}

void inherit_start(void)
{
    uint64_t n = number_of("LISTEN_FDS");

    if (number_of("HOLDFAST_PREDECESSOR") == (uint64_t)getppid())
        passed.predecessor = getppid();
    if (passed.predecessor != 0 || number_of("LISTEN_PID") == (uint64_t)getpid())
        for (passed.n = 0; passed.n < INHERIT_MOST && passed.n < n; passed.n++) {
            int fd = INHERIT_FIRST_FD + (int)passed.n;

            fcntl(fd, F_SETFD, FD_CLOEXEC);
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
            passed.fds[passed.n] = fd;
        }
    if (passed.predecessor != 0) {
        passed.report = INHERIT_FIRST_FD + (int)passed.n;
        fcntl(passed.report, F_SETFD, FD_CLOEXEC);
    }
    read_names(getenv("LISTEN_FDNAMES"));
    unsetenv("HOLDFAST_PREDECESSOR");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

static bool is_same(const struct sockaddr *a, const struct sockaddr *b)
{
    const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
    const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return a4->sin_port == b4->sin_port && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return a->sa_family == AF_INET6 && a6->sin6_port == b6->sin6_port &&
           memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

static bool is_at(int fd, const struct config_listen *l, const struct addrinfo *wanted)
{
    struct sockaddr_storage a = {0};
    struct sockaddr_un *local = (void *)&a;
    socklen_t n = sizeof(a);

    if (fd < 0 || getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        return false;
    if (l->path != NULL)
        return a.ss_family == AF_UNIX && strcmp(local->sun_path, l->path) == 0;
    while (wanted != NULL && !is_same((struct sockaddr *)&a, wanted->ai_addr))
        wanted = wanted->ai_next;
    return wanted != NULL;
}

int inherit_take(const struct config_listen *l, bool *lent)
{
    struct addrinfo *found = NULL;
    struct err e;
    int fd = -1;

    if (passed.n == 0)
        return -1;
    if (l->path == NULL && (found = listener_resolve(l, &e)) == NULL)
        return -1;
    for (size_t i = 0; i < passed.n && fd < 0; i++)
        if (is_at(passed.fds[i], l, found)) {
            fd = passed.fds[i];
            passed.fds[i] = -1;
            *lent = passed.lent[i];
        }
    if (found != NULL)
        freeaddrinfo(found);
    return fd;
}

/* For people. */
static void name_of(int fd, char *out, size_t size)
{
    struct sockaddr_storage a = {0};
    const struct sockaddr_un *local = (const void *)&a;
    socklen_t n = sizeof(a);
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";

    if (getsockname(fd, (struct sockaddr *)&a, &n) == 0 && a.ss_family == AF_UNIX) {
        snprintf(out, size, "unix:%s", local->sun_path);
        return;
    }
    getnameinfo((struct sockaddr *)&a, n, host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(out, size, "%s port %s", host, port);
}

int inherit_check(struct err *e)
{
    char name[NI_MAXHOST + NI_MAXSERV + 8];

    for (size_t i = 0; i < passed.n; i++) {
        if (passed.fds[i] < 0)
            continue;
        if (passed.predecessor == 0) {
            name_of(passed.fds[i], name, sizeof(name));
            return err_set(e, ERR_VALUE,
                           "the service manager passed a socket at %s, which neither `listen` nor "
                           "`admin` names; both must have the same addresses",
                           name);
        }
        close(passed.fds[i]);
        passed.fds[i] = -1;
    }
    return 0;
}

bool inherit_has_predecessor(void)
{
    return passed.predecessor != 0;
}

/* The signal only has it look at once. */
void inherit_report(void)
{
    if (passed.predecessor == 0)
        return;
    if (write(passed.report, "", 1) == 1 && getppid() == passed.predecessor)
        kill(passed.predecessor, SIGUSR2);
    close(passed.report);
}
