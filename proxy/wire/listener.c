#include "proxy/wire/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/attributes.h"
#include "proxy/base/mem.h"
#include "proxy/wire/inherit.h"

/* ---- one socket ----------------------------------------------------------------------------- */

static int listen_error(const struct config_listen *l, int fd, struct err *e)
{
    err_set(e, ERR_IO, "cannot listen on %s: %s", l->text, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* A socket file that nobody answers on is left over from a process that is gone. To connect to
 * another kind of file is refused just so. */
static bool is_stale(const struct sockaddr_un *a)
{
    struct stat st;
    bool stale;
    int fd;

    if (lstat(a->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    stale =
        fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return stale;
}

/* Nobody else's from its first moment: no connection is possible before listen(). */
static int listen_unix(const struct config_listen *l, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(l->path) >= sizeof(a.sun_path))
        return err_set(e, ERR_VALUE, "cannot listen on %s: the path is longer than %zu bytes",
                       l->text, sizeof(a.sun_path) - 1);
    memcpy(a.sun_path, l->path, strlen(l->path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return listen_error(l, fd, e);
    if (is_stale(&a))
        unlink(l->path);
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || chmod(l->path, 0600) < 0 ||
        listen(fd, SOMAXCONN) < 0)
        return listen_error(l, fd, e);
    return fd;
}

static int listen_on(const struct addrinfo *a, bool reuse_port)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, keep;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if ((!reuse_port || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
        bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    keep = errno;
    close(fd);
    errno = keep;
    return -1;
}

/* Hosts that are an address of each family by their nature, whatever a name server thinks. */
static const struct pair {
    const char *host;
    const char *v4, *v6;
    int flags; /* of getaddrinfo, for both at once where it is given no name */
} pairs[] = {
    {"localhost", "127.0.0.1", "::1", 0},
    {"*", "0.0.0.0", "::", AI_PASSIVE},
};

static const struct pair *pair_find(const char *host)
{
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (host != NULL && strcasecmp(host, pairs[i].host) == 0)
            return &pairs[i];
    return NULL;
}

struct addrinfo *listener_resolve(const struct config_listen *l, struct err *e)
{
    const struct pair *pair = pair_find(l->host);
    struct addrinfo want = {.ai_socktype = SOCK_STREAM}, *found;
    char port[8];
    int rc;

    snprintf(port, sizeof(port), "%u", l->port);
    want.ai_flags = pair != NULL ? pair->flags : AI_PASSIVE;
    rc = getaddrinfo(pair != NULL ? NULL : l->host, port, &want, &found);
    if (rc == 0)
        return found;
    err_set(e, ERR_IO, "cannot listen on %s: %s", l->text, gai_strerror(rc));
    return NULL;
}

int listener_open(const struct config_listen *l, bool reuse_port, struct err *e)
{
    struct addrinfo *found;
    int fd = -1;

    if (l->path != NULL)
        return listen_unix(l, e);
    found = listener_resolve(l, e);
    if (found == NULL)
        return -1;
    for (const struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next)
        fd = listen_on(a, reuse_port);
    freeaddrinfo(found);
    return fd < 0 ? listen_error(l, -1, e) : fd;
}

uint16_t listener_port(int fd)
{
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof(a);

    if (getsockname(fd, (struct sockaddr *)&a, &n) != 0)
        return 0;
    return a.ss_family == AF_INET    ? ntohs(((struct sockaddr_in *)&a)->sin_port)
           : a.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&a)->sin6_port)
                                     : 0;
}

/* ---- all of a process ----------------------------------------------------------------------- */

static void add(struct listeners *ls, int fd, size_t place, bool lent)
{
    ls->all = mem_grow(ls->all, (ls->n + 1) * sizeof(*ls->all));
    ls->all[ls->n++] = (struct listening){fd, place, lent};
}

/* What was passed for this address: all of it, because who calls at one that nobody serves waits
 * for ever. False: nothing was. */
static bool take_passed(struct listeners *ls, const struct config_listen *l, size_t place)
{
    bool any = false, lent;
    int fd;

    while ((fd = inherit_take(l, &lent)) >= 0) {
        add(ls, fd, place, lent);
        any = true;
    }
    return any;
}

/* The first is opened alone, so that an address in use is noticed. */
static int open_one(struct listeners *ls, struct config_listen l, size_t place, unsigned sockets,
                    struct err *e)
{
    int fd = listener_open(&l, false, e);

    if (fd < 0)
        return -1;
    if (sockets == 1 || l.path != NULL) {
        add(ls, fd, place, false);
        return 0;
    }
    l.port = listener_port(fd);
    close(fd);
    for (unsigned i = 0; i < sockets; i++) {
        fd = listener_open(&l, true, e);
        if (fd < 0)
            return -1;
        add(ls, fd, place, false);
    }
    return 0;
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

    if (fd >= 0)
        close(fd);
    return has;
}

static int open_pair(struct listeners *ls, struct config_listen l, const struct pair *pair,
                     size_t place, unsigned sockets, struct err *e)
{
    l.host = (char *)pair->v4; /* of our copy, which nobody frees */
    if (open_one(ls, l, place, sockets, e) < 0)
        return -1;
    l.host = (char *)pair->v6;
    l.port = listener_port(ls->all[ls->n - 1].fd); /* where the system chose, the same */
    return has_ipv6() ? open_one(ls, l, place, sockets, e) : 0;
}

static int open_place(struct listeners *ls, const struct config_listen *at, size_t place,
                      unsigned sockets, struct err *e)
{
    const struct pair *pair = pair_find(at->host);
    struct config_listen l = *at;
    int rc = 0;

    if (l.path != NULL) {
        ls->paths = mem_grow(ls->paths, (ls->n_paths + 1) * sizeof(*ls->paths));
        ls->paths[ls->n_paths] = NULL;
    }
    if (!take_passed(ls, &l, place))
        rc = pair != NULL ? open_pair(ls, l, pair, place, sockets, e)
                          : open_one(ls, l, place, sockets, e);
    if (rc < 0)
        return -1;
    if (l.path != NULL && !ls->all[ls->n - 1].lent)
        ls->paths[ls->n_paths++] = mem_strdup(l.path);
    return 0;
}

int listeners_open(struct listeners *ls, const struct config *c, unsigned workers, struct err *e)
{
    for (size_t i = 0; i < c->n_listens; i++)
        if (open_place(ls, &c->listens[i], i, workers, e) < 0)
            return -1;
    if ((c->admin.host != NULL || c->admin.path != NULL) &&
        open_place(ls, &c->admin, LISTENING_ADMIN, 1, e) < 0)
        return err_prefix(e, "admin");
    return inherit_check(e);
}

int listeners_first(const struct listeners *ls, size_t place)
{
    for (size_t i = 0; i < ls->n; i++)
        if (ls->all[i].place == place)
            return ls->all[i].fd;
    return -1;
}

void listeners_close(struct listeners *ls, bool handed_over)
{
    for (size_t i = 0; i < ls->n; i++)
        close(ls->all[i].fd);
    for (size_t i = 0; i < ls->n_paths; i++) {
        if (!handed_over)
            unlink(ls->paths[i]);
        free(ls->paths[i]);
    }
    free(ls->all);
    free(ls->paths);
    *ls = (struct listeners){0};
}
