#include "tests/unit/check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/json.h"
#include "proxy/ops/admin.h"
#include "proxy/wire/listener.h"

/* What the callbacks answer. */
static bool is_live, is_ready;

static bool live(void *ctx)
{
    CHECK(ctx == &is_live);
    return is_live;
}

static bool ready(void *ctx, struct strbuf *why)
{
    (void)ctx;
    strbuf_add(why, is_ready ? "only said when not ready" : "draining");
    return is_ready;
}

static void metrics(void *ctx, struct strbuf *out)
{
    (void)ctx;
    strbuf_add(out, "# TYPE x counter\nx_total 1\n");
}

static void status(void *ctx, struct strbuf *out)
{
    (void)ctx;
    for (int i = 0; i < 100000; i++) /* larger than any buffer of the library */
        strbuf_add(out, "[1,2,3,4]\n");
}

static void events(void *ctx, struct strbuf *out)
{
    (void)ctx;
    strbuf_add(out, "{\"events\": []}\n");
}

static char name[] = "admin.example";
static char *hosts[] = {name};
static const struct admin_source source = {&is_live, live,   ready, metrics,
                                           status,   events, hosts, 1};

/* "host:port"; valid until the next call. */
static struct config_listen tcp(const char *host, unsigned port, bool loopback)
{
    static char text[64], name_only[32];

    snprintf(text, sizeof(text), "%s:%u", host, port);
    snprintf(name_only, sizeof(name_only), "%s", host);
    return (struct config_listen){text, name_only, NULL, (uint16_t)port, loopback};
}

static struct admin *admin;
static struct config_listen where;
static int listener;

static void start_at(struct config_listen at)
{
    struct err e = {0};

    where = at;
    is_live = is_ready = true;
    listener = listener_open(&where, false, &e);
    if (listener < 0 || admin_start(&where, listener, &source, &admin, &e) != 0)
        fail_msg("%s", e.msg);
}

static void start(void)
{
    start_at(tcp("127.0.0.1", 0, true));
}

static void stop(void)
{
    admin_stop(admin);
    admin = NULL;
    close(listener);
}

static int dial(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(listener_port(listener))};
    int fd = socket(where.path != NULL ? AF_UNIX : AF_INET, SOCK_STREAM, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (where.path != NULL) {
        strcpy(un.sun_path, where.path);
        CHECK_INT(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    } else {
        CHECK_INT(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    }
    return fd;
}

static char got[2 << 20];

/* Sends the bytes and reads until the server closes. */
static const char *exchange(const char *request)
{
    int fd = dial();
    size_t n = 0;
    ssize_t r;

    CHECK_INT(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    while ((r = recv(fd, got + n, sizeof(got) - 1 - n, 0)) > 0)
        n += (size_t)r;
    close(fd);
    got[n] = '\0';
    return got;
}

/* One request with these header lines; gives the status. */
static int ask(const char *method, const char *path, const char *host, const char *more)
{
    char request[1024];
    int code = 0;

    snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n",
             method, path, host, more);
    sscanf(exchange(request), "HTTP/1.1 %d", &code);
    return code;
}

static const char *body(void)
{
    const char *p = strstr(got, "\r\n\r\n");

    CHECK(p != NULL);
    return p + 4;
}

TEST(the_pages_are_what_the_callbacks_write)
{
    start();
    CHECK_INT(ask("GET", "/livez", "localhost", ""), 200);
    CHECK_STR(body(), "ok\n");
    CHECK_INT(ask("GET", "/readyz", "localhost", ""), 200);
    CHECK_STR(body(), "ready\n");
    CHECK_INT(ask("GET", "/metrics?x=1", "localhost", ""), 200);
    CHECK_STR(body(), "# TYPE x counter\nx_total 1\n");
    CHECK(strcasestr(got, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    CHECK_INT(ask("GET", "/status", "localhost", ""), 200);
    CHECK_INT(strlen(body()), 1000000);
    CHECK(strcasestr(got, "\r\nContent-Type: application/json\r\n") != NULL);
    CHECK_INT(ask("GET", "/", "localhost", ""), 200);
    CHECK(strstr(body(), "/metrics") != NULL);
    CHECK(strcasestr(got, "\r\nContent-Type: text/html; charset=utf-8\r\n") != NULL);
    CHECK(strcasestr(got, "; script-src 'sha256-") != NULL);
    CHECK(strcasestr(got, "unsafe-inline") == NULL);
    CHECK_INT(ask("GET", "/events", "localhost", ""), 200);
    CHECK_STR(body(), "{\"events\": []}\n");
    CHECK(strcasestr(got, "\r\nContent-Security-Policy: default-src 'none'; frame") != NULL);
    stop();
}

TEST(not_live_and_not_ready_are_503)
{
    start();
    is_live = is_ready = false;
    CHECK_INT(ask("GET", "/livez", "localhost", ""), 503);
    CHECK_INT(ask("GET", "/readyz", "localhost", ""), 503);
    CHECK_STR(body(), "draining\n");
    stop();
}

TEST(head_has_the_length_and_no_body)
{
    start();
    CHECK_INT(ask("HEAD", "/livez", "localhost", ""), 200);
    CHECK(strcasestr(got, "\r\nContent-Length: 3\r\n") != NULL);
    CHECK_STR(body(), "");
    stop();
}

TEST(everything_else_is_404_or_405_as_json)
{
    start();
    CHECK_INT(ask("GET", "/v1/models", "localhost", ""), 404);
    CHECK(json_valid(span_of(body())) && strstr(body(), "not_found") != NULL);
    CHECK_INT(ask("GET", "/livez/", "localhost", ""), 404);
    CHECK_INT(ask("DELETE", "/status", "localhost", ""), 405);
    CHECK(json_valid(span_of(body())) && strcasestr(got, "\r\nAllow: GET, HEAD\r\n") != NULL);
    CHECK_INT(ask("POST", "/status", "localhost", "Content-Length: 10000\r\n"), 405);
    CHECK_INT(ask("OPTIONS", "/status", "localhost", ""), 405);
    stop();
}

TEST(a_foreign_host_is_421)
{
    static const struct {
        const char *host;
        int want;
    } cases[] = {
        {"localhost", 200},
        {"LOCALHOST:80", 200},
        {"127.0.0.1:1", 200},
        {"[::1]", 200},
        {"[::1]:8091", 200},
        {"admin.example:9", 200},
        {"evil.example", 421},
        {"localhost.evil.example", 421},
        {"0.0.0.0", 421},
        {"10.0.0.1", 421},
        {"localhost:8x", 421},
        {"[::1", 421},
        {"[::1]x", 421},
        {"admin.example.", 421},
        {"evil.example:localhost", 421},
    };

    start();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int code = ask("GET", "/livez", cases[i].host, "");

        if (code != cases[i].want)
            fail_msg("Host: %s gave %d", cases[i].host, code);
    }
    CHECK_INT(ask("GET", "/livez", "localhost", "Host: evil.example\r\n"), 400);
    stop();
}

TEST(a_listener_for_the_network_takes_addresses_but_no_unknown_names)
{
    start_at(tcp("0.0.0.0", 0, false));
    CHECK_INT(ask("GET", "/readyz", "10.1.2.3:8091", ""), 200);
    CHECK_INT(ask("GET", "/readyz", "[fd00::1]:8091", ""), 200);
    CHECK_INT(ask("GET", "/readyz", "0.0.0.0:8091", ""), 421);
    CHECK_INT(ask("GET", "/readyz", "[::]:8091", ""), 421);
    CHECK_INT(ask("GET", "/readyz", "evil.example", ""), 421);
    stop();
}

TEST(a_page_of_another_site_is_403)
{
    static const struct {
        const char *header;
        int want;
    } cases[] = {
        {"Origin: https://evil.example\r\n", 403},  {"Origin: null\r\n", 403},
        {"Origin: http://localhost:9\r\n", 403},    {"Origin: localhost:8091\r\n", 403},
        {"Origin: http://localhost:8091\r\n", 200}, {"Sec-Fetch-Site: cross-site\r\n", 403},
        {"Sec-Fetch-Site: same-site\r\n", 403},     {"Sec-Fetch-Site: same-origin\r\n", 200},
        {"Sec-Fetch-Site: none\r\n", 200},
    };

    start();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int code = ask("GET", "/status", "localhost:8091", cases[i].header);

        if (code != cases[i].want)
            fail_msg("%s gave %d", cases[i].header, code);
    }
    stop();
}

TEST(a_connection_serves_several_requests)
{
    const char *second;

    start();
    exchange("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
             "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    second = strstr(body(), "HTTP/1.1 200");
    CHECK(strncmp(body(), "ok\n", 3) == 0 && second != NULL && strstr(second, "ready\n") != NULL);
    stop();
}

TEST(a_unix_socket_is_private_takes_any_host_and_replaces_a_dead_one)
{
    char folder[] = "/tmp/holdfast-admin-XXXXXX", path[64];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char text[] = "unix:x";
    struct config_listen at = {text, NULL, path, 0, true};
    struct err e = {0};
    struct stat st;
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);

    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/admin.sock", folder);
    strcpy(un.sun_path, path);
    CHECK_INT(bind(dead, (struct sockaddr *)&un, sizeof(un)), 0);
    close(dead);
    start_at(at);
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);
    CHECK_INT(listener_port(listener), 0);
    CHECK_INT(ask("GET", "/livez", "whatever", ""), 200);
    CHECK_INT(listener_open(&at, false, &e), -1); /* it is alive, so it is not replaced */
    CHECK(strstr(e.msg, "cannot listen on unix:x: ") != NULL);
    CHECK_INT(ask("GET", "/livez", "whatever", ""), 200);
    stop();
    unlink(path);
    rmdir(folder);
}

TEST(an_address_in_use_is_an_error_that_names_it)
{
    struct config_listen same;
    struct err e = {0};

    start();
    same = tcp("127.0.0.1", listener_port(listener), true);
    CHECK_INT(listener_open(&same, false, &e), -1);
    CHECK_INT(e.code, ERR_IO);
    CHECK(strstr(e.msg, same.text) != NULL);
    stop();
}

TEST(a_name_that_does_not_resolve_and_a_path_too_long_are_errors)
{
    static char text[256] = "unix:";
    struct config_listen nowhere = tcp("a b", 1, false), deep = {text, NULL, text + 5, 0, true};
    struct err e = {0};

    CHECK_INT(listener_open(&nowhere, false, &e), -1);
    CHECK(strstr(e.msg, "cannot listen on a b:1: ") != NULL);
    memset(text + 5, 'x', 200);
    CHECK_INT(listener_open(&deep, false, &e), -1);
    CHECK_INT(e.code, ERR_VALUE);
}

static volatile sig_atomic_t signals_here;
static pthread_t main_thread;

static void on_signal(int number)
{
    (void)number;
    signals_here += pthread_equal(pthread_self(), main_thread) ? 1 : -100;
}

TEST(signals_are_left_to_the_other_threads)
{
    struct sigaction act = {.sa_handler = on_signal}, before;
    sigset_t usr1;

    main_thread = pthread_self();
    sigaction(SIGUSR1, &act, &before);
    start();
    /* Blocked here, so any other thread that would take it, must: it stays pending. */
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    kill(getpid(), SIGUSR1);
    usleep(20000);
    CHECK_INT(signals_here, 0);
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    CHECK_INT(signals_here, 1);
    sigaction(SIGUSR1, &before, NULL);
    stop();
}

TEST(stopping_nothing_is_fine)
{
    admin_stop(NULL);
}

TEST_MAIN()
