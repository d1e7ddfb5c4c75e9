#include "proxy/wire/inherit.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/span.h"
#include "proxy/wire/client.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */
#define MOST     64

static struct {
    int fds[MOST]; /* -1: taken */
    size_t n;
} passed;

/* 0 where it is not set, or no number. */
static uint64_t number_of(const char *variable)
{
    const char *text = getenv(variable);
    uint64_t n = 0;

    return text != NULL && span_to_u64(span_of(text), &n) ? n : 0;
}

void inherit_start(void)
{
    uint64_t n = number_of("LISTEN_FDS");

    if (number_of("LISTEN_PID") == (uint64_t)getpid())
        for (passed.n = 0; passed.n < MOST && passed.n < n; passed.n++) {
            int fd = FIRST_FD + (int)passed.n;

            fcntl(fd, F_SETFD, FD_CLOEXEC);
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
            passed.fds[passed.n] = fd;
        }
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

static bool is_at(int fd, const struct config_listen *l, const struct sockaddr *wanted)
{
    struct sockaddr_storage a = {0};
    struct sockaddr_un *local = (void *)&a;
    socklen_t n = sizeof(a);

    if (fd < 0 || getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        return false;
    if (l->path != NULL)
        return a.ss_family == AF_UNIX && strcmp(local->sun_path, l->path) == 0;
    return wanted != NULL && is_same((struct sockaddr *)&a, wanted);
}

int inherit_take(const struct config_listen *l)
{
    struct addrinfo *found = NULL;
    struct err e;
    int fd = -1;

    if (passed.n == 0)
        return -1;
    if (l->path == NULL && (found = client_resolve(l, &e)) == NULL)
        return -1;
    for (size_t i = 0; i < passed.n && fd < 0; i++)
        if (is_at(passed.fds[i], l, found != NULL ? found->ai_addr : NULL)) {
            fd = passed.fds[i];
            passed.fds[i] = -1;
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
    size_t i = 0;

    while (i < passed.n && passed.fds[i] < 0)
        i++;
    if (i == passed.n)
        return 0;
    name_of(passed.fds[i], name, sizeof(name));
    return err_set(e, ERR_VALUE,
                   "the service manager passed a socket at %s, which `listen` does not name; both "
                   "must have the same addresses",
                   name);
}
