#include "proxy/wire/transport.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/attributes.h"
#include "tests/unit/check.h"

/* The name server and the clock are ours: libcurl calls these instead of the C library's. */

#define MINUTE_MS 60000

static atomic_bool name_server_up;
static _Atomic(const char *) name_leads_to;
static atomic_ullong ahead_ms; /* of the real clock */

int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints,
                struct addrinfo **out)
{
    struct {
        struct addrinfo info;
        struct sockaddr_storage to;
    } * answer;
    struct sockaddr_in *v4;
    struct sockaddr_in6 *v6;
    const char *address = name_leads_to;

    if (!name_server_up || strcmp(name, "provider.test") != 0)
        return EAI_AGAIN;
    answer = calloc(1, sizeof(*answer));
    answer->info = *hints;
    answer->info.ai_addr = (struct sockaddr *)&answer->to;
    v4 = (struct sockaddr_in *)&answer->to;
    v6 = (struct sockaddr_in6 *)&answer->to;
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((in_port_t)atoi(port));
        answer->info.ai_addrlen = sizeof(*v4);
    } else {
        CHECK(inet_pton(AF_INET6, address, &v6->sin6_addr) == 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((in_port_t)atoi(port));
        answer->info.ai_addrlen = sizeof(*v6);
    }
    answer->info.ai_family = answer->to.ss_family;
    *out = &answer->info;
    return 0;
}

void freeaddrinfo(struct addrinfo *a)
{
    free(a);
}

int clock_gettime(clockid_t which, struct timespec *out)
{
    long rc = syscall(SYS_clock_gettime, which, out);

    out->tv_sec += (time_t)(ahead_ms / 1000);
    return (int)rc;
}

time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

/* ---- one connection, in the loop of another thread -------------------------------------------
 */

static struct loop *loop;
static pthread_t thread;
static atomic_bool stopping;
static sem_t over;
static struct transport_space *space;
static struct transport_peer peer;
static char origin[64], proxy[64];
static int listener;
static struct transport *transport;
static enum failure why;
static char text[400];

static void is_up(void *ctx)
{
    (void)ctx;
    why = FAILURE_NONE;
    transport_close(transport);
    sem_post(&over);
}

static void has_failed(void *ctx, enum failure f, const char *words)
{
    (void)ctx;
    why = f;
    snprintf(text, sizeof(text), "%s", words);
    transport_close(transport);
    sem_post(&over);
}

static void woken(void *ctx)
{
    struct err e;

    if (stopping) {
        loop_stop(loop);
        return;
    }
    transport = transport_open(space, &peer, is_up, has_failed, ctx, &e);
    CHECK(transport != NULL);
}

static void *run(void *ctx)
{
    loop_run(loop);
    return ctx;
}

/* What it comes to, to connect to the peer. */
static enum failure connect_once(void)
{
    loop_wake(loop);
    sem_wait(&over);
    return why;
}

static int listen_at(const char *address, in_port_t *port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
    struct sockaddr *at = is_v4 ? (void *)&v4 : (void *)&v6;
    socklen_t n = is_v4 ? sizeof(v4) : sizeof(v6);
    int fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (!is_v4)
        CHECK(inet_pton(AF_INET6, address, &v6.sin6_addr) == 1);
    if (fd < 0 || bind(fd, at, n) != 0)
        return -1;
    CHECK(listen(fd, 64) == 0 && getsockname(fd, at, &n) == 0);
    *port = ntohs(is_v4 ? v4.sin_port : v6.sin6_port);
    return fd;
}

/* A provider at the address, whose name resolves. False where there is no such address. */
static bool begin(const char *address)
{
    struct err e;
    in_port_t port;

    listener = listen_at(address, &port);
    if (listener < 0)
        return false;
    snprintf(origin, sizeof(origin), "http://provider.test:%u", port);
    peer = (struct transport_peer){.origin = origin};
    name_server_up = true;
    name_leads_to = address;
    ahead_ms = 0;
    CHECK(transport_global_start(&e) == 0);
    loop = loop_new();
    loop_on_wake(loop, woken, NULL);
    space = transport_space_new(loop);
    stopping = false;
    sem_init(&over, 0, 0);
    CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
    return true;
}

static void end(void)
{
    stopping = true;
    loop_wake(loop);
    pthread_join(thread, NULL);
    close(listener);
    transport_space_free(space);
    loop_free(loop);
    transport_global_stop();
}

/* ---- a name that does not resolve ----------------------------------------------------------- */

TEST(a_name_that_was_never_found_does_not_resolve)
{
    CHECK(begin("127.0.0.1"));
    name_server_up = false;
    CHECK_INT(connect_once(), DNS);
    end();
}

TEST(a_name_that_is_lost_is_found_at_its_last_address_for_an_hour)
{
    CHECK(begin("127.0.0.1"));
    CHECK_INT(connect_once(), FAILURE_NONE);
    name_server_up = false;
    ahead_ms += 2 * MINUTE_MS; /* libcurl has forgotten it */
    CHECK_INT(connect_once(), FAILURE_NONE);
    ahead_ms += 57 * MINUTE_MS;
    CHECK_INT(connect_once(), FAILURE_NONE);
    ahead_ms += 2 * MINUTE_MS;
    CHECK_INT(connect_once(), DNS);
    end();
}

TEST(a_name_that_resolves_again_leads_to_its_new_address)
{
    CHECK(begin("127.0.0.1"));
    CHECK_INT(connect_once(), FAILURE_NONE);
    name_server_up = false;
    ahead_ms += 2 * MINUTE_MS;
    CHECK_INT(connect_once(), FAILURE_NONE);
    close(listener);
    name_server_up = true;
    CHECK_INT(connect_once(), REFUSED);
    end();
}

TEST(a_last_address_of_ipv6_stands_in_as_well)
{
    if (!begin("::1"))
        skip();
    CHECK_INT(connect_once(), FAILURE_NONE);
    name_server_up = false;
    ahead_ms += 2 * MINUTE_MS;
    CHECK_INT(connect_once(), FAILURE_NONE);
    end();
}

TEST(another_origin_has_no_part_in_it)
{
    CHECK(begin("127.0.0.1"));
    CHECK_INT(connect_once(), FAILURE_NONE);
    name_server_up = false;
    ahead_ms += 2 * MINUTE_MS;
    peer.origin = (char[]){"http://other.test:80"};
    CHECK_INT(connect_once(), DNS);
    CHECK(strstr(text, "last address") == NULL);
    end();
}

TEST(a_last_address_that_is_dead_as_well_is_still_a_name_that_does_not_resolve)
{
    CHECK(begin("127.0.0.1"));
    CHECK_INT(connect_once(), FAILURE_NONE);
    name_server_up = false;
    ahead_ms += 2 * MINUTE_MS;
    close(listener);
    CHECK_INT(connect_once(), DNS);
    CHECK(strstr(text, "name does not resolve") != NULL);
    CHECK(strstr(text, "connect") != NULL);
    end();
}

TEST(the_log_hears_of_it_once_a_minute)
{
    FILE *log = tmpfile();
    int stderr_was = dup(STDERR_FILENO);
    char lines[4096] = "", *at = lines;
    unsigned n = 0;

    CHECK(begin("127.0.0.1"));
    CHECK_INT(connect_once(), FAILURE_NONE);
    name_server_up = false;
    ahead_ms += 2 * MINUTE_MS;
    CHECK(log != NULL && dup2(fileno(log), STDERR_FILENO) >= 0);
    CHECK_INT(connect_once(), FAILURE_NONE);
    CHECK_INT(connect_once(), FAILURE_NONE);
    ahead_ms += MINUTE_MS;
    CHECK_INT(connect_once(), FAILURE_NONE);
    CHECK(dup2(stderr_was, STDERR_FILENO) >= 0);
    CHECK(pread(fileno(log), lines, sizeof(lines) - 1, 0) > 0);
    while ((at = strstr(at, "127.0.0.1 stands in")) != NULL) {
        at++;
        n++;
    }
    CHECK_INT(n, 2);
    fclose(log);
    close(stderr_was);
    end();
}

/* ---- whose fault it is ---------------------------------------------------------------------- */

/* An outgoing proxy that gives one answer to CONNECT, or none, and closes. */
struct office {
    int listener;
    in_port_t port;
    const char *answer;
    pthread_t thread;
};

static struct egress egress;

static char *only_one(const char *name)
{
    return strcmp(name, "HTTP_PROXY") == 0 ? proxy : NULL;
}

static void go_by(const char *url)
{
    struct err e;

    snprintf(proxy, sizeof(proxy), "%s", url);
    egress_release(&egress);
    CHECK_INT(egress_find(false, only_one, &egress, &e), 0);
    peer.egress = &egress;
}

static void go_through(in_port_t port)
{
    char url[64];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
    go_by(url);
}

static void *office_serves(void *ctx)
{
    const struct office *o = ctx;
    int fd = accept(o->listener, NULL, NULL);
    char head[1000];

    if (read(fd, head, sizeof(head)) > 0 && o->answer != NULL)
        CHECK(write(fd, o->answer, strlen(o->answer)) > 0);
    close(fd);
    return NULL;
}

static void office_start(struct office *o)
{
    o->listener = listen_at("127.0.0.1", &o->port);
    CHECK(o->listener >= 0);
    CHECK(pthread_create(&o->thread, NULL, office_serves, o) == 0);
    go_through(o->port);
}

static void office_stop(struct office *o)
{
    pthread_join(o->thread, NULL);
    close(o->listener);
}

static enum failure connect_through(const char *answer)
{
    struct office o = {.answer = answer};
    enum failure f;

    CHECK(begin("127.0.0.1"));
    office_start(&o);
    f = connect_once();
    office_stop(&o);
    end();
    return f;
}

TEST(what_a_proxy_refuses_is_its_own_fault)
{
    CHECK_INT(connect_through("HTTP/1.1 200 Connection established\r\n\r\n"), FAILURE_NONE);
    CHECK_INT(connect_through("HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n"),
              EGRESS_PROXY);
    CHECK_INT(connect_through("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
              EGRESS_PROXY);
    CHECK_INT(connect_through("HTTP/1.1 502 Bad Ga"), EGRESS_PROXY);
    CHECK_INT(connect_through("what?"), EGRESS_PROXY);
    CHECK_INT(connect_through(NULL), EGRESS_PROXY);
}

TEST(a_proxy_that_cannot_be_reached_is_at_fault_itself)
{
    in_port_t port;

    CHECK(begin("127.0.0.1"));
    close(listen_at("127.0.0.1", &port));
    go_through(port);
    CHECK_INT(connect_once(), EGRESS_PROXY);
    CHECK(strncmp(text, "proxy 127.0.0.1:", 16) == 0 && strstr(text, " (HTTP_PROXY): ") != NULL);
    go_by("http://user:hidden@office.test:3128");
    CHECK_INT(connect_once(), EGRESS_PROXY);
    CHECK(strstr(text, "proxy office.test:3128 (HTTP_PROXY): ") == text);
    CHECK(strstr(text, "hidden") == NULL);
    peer.egress = NULL;
    CHECK_INT(connect_once(), FAILURE_NONE);
    end();
}

TEST(a_proxy_with_the_providers_port_is_known_by_its_answer)
{
    struct office o = {.answer = "HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n"};

    CHECK(begin("127.0.0.1"));
    office_start(&o);
    snprintf(origin, sizeof(origin), "http://provider.test:%u", o.port);
    CHECK_INT(connect_once(), EGRESS_PROXY);
    office_stop(&o);
    end();
}

static void check_nothing_remembered(bool same_port)
{
    struct office o = {.answer = "HTTP/1.1 200 Connection established\r\n\r\n"};

    CHECK(begin("127.0.0.1"));
    office_start(&o);
    if (same_port)
        snprintf(origin, sizeof(origin), "http://provider.test:%u", o.port);
    CHECK_INT(connect_once(), FAILURE_NONE);
    office_stop(&o);
    name_server_up = false;
    peer.egress = NULL;
    CHECK_INT(connect_once(), DNS);
    CHECK(strstr(text, "last address") == NULL);
    end();
}

TEST(the_address_of_a_proxy_is_not_the_providers)
{
    check_nothing_remembered(false);
    check_nothing_remembered(true);
}

TEST(a_provider_that_cannot_be_reached_is_at_fault_itself)
{
    CHECK(begin("127.0.0.1"));
    close(listener);
    CHECK_INT(connect_once(), REFUSED);
    name_leads_to = "255.255.255.255"; /* the kernel has no route there for TCP */
    ahead_ms += 2 * MINUTE_MS;
    CHECK_INT(connect_once(), REFUSED);
    end();
}

TEST(whom_no_proxy_names_is_reached_without_it)
{
    in_port_t port;

    CHECK(begin("127.0.0.1"));
    close(listen_at("127.0.0.1", &port));
    go_through(port);
    setenv("NO_PROXY", "other.test,provider.test", 1);
    CHECK_INT(connect_once(), FAILURE_NONE);
    setenv("no_proxy", "other.test", 1); /* the lower case wins */
    CHECK_INT(connect_once(), EGRESS_PROXY);
    setenv("no_proxy", ".test", 1);
    CHECK_INT(connect_once(), FAILURE_NONE);
    close(listener);
    CHECK_INT(connect_once(), REFUSED);
    CHECK(strstr(text, "proxy") == NULL);
    unsetenv("no_proxy");
    unsetenv("NO_PROXY");
    end();
}

TEST(libcurl_finds_no_proxy_of_its_own)
{
    CHECK(begin("127.0.0.1"));
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    CHECK_INT(connect_once(), FAILURE_NONE);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    end();
}

TEST_MAIN()
