#include "proxy/wire/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/mem.h"
#include "tests/unit/check.h"

/* A loop in a thread of its own with a handler that does what the path says; the test is the client
 * and reads and writes as it likes. */

#define HEAD_MS     150
#define BODY_MS     200
#define STALL_MS    300
#define PATIENT_MS  60000 /* where no limit is meant to be met, however busy the machine is */
#define LONG_MS     30000
#define PIECE_BYTES 65536
#define FLOOD_BYTES (12u << 20)

struct fake {
    struct client *client;
    char path[32];
    struct strbuf body;
    size_t left; /* /flood: still to be written; /trickle: the large first piece */
    struct loop_task task;
    struct loop_timer timer;
};

static struct loop *loop;
static struct client_front *front;
static pthread_t thread;
static int listener;
static struct sockaddr_in address;
static atomic_uint gone_count, ready_count, bad_count;
static char piece[PIECE_BYTES];

static void fake_free(struct fake *x)
{
    loop_timer_clear(loop, &x->timer);
    strbuf_release(&x->body);
    free(x);
}

static void more(struct loop_task *t)
{
    struct fake *x = CONTAINER_OF(t, struct fake, task);

    if (x->client == NULL) {
        fake_free(x);
        return;
    }
    while (x->left > 0 && client_waiting(x->client) <= CLIENT_HIGH_MARK) {
        client_stream_write(x->client, (struct span){piece, sizeof(piece)});
        client_stream_flush(x->client);
        x->left -= sizeof(piece);
    }
    if (x->left == 0) {
        client_stream_end(x->client);
        fake_free(x);
    }
}

static void trickle(struct loop_timer *t)
{
    struct fake *x = CONTAINER_OF(t, struct fake, timer);

    client_stream_write(x->client, SPAN("and more"));
    client_stream_flush(x->client);
    loop_timer_set(loop, t, loop_now_ms(loop) + 20);
}

static void resume(struct loop_timer *t)
{
    client_body_resume(CONTAINER_OF(t, struct fake, timer)->client);
}

static void *begin(void *ctx, struct client *c, const struct http1_head *head)
{
    struct fake *x;

    CHECK(ctx == &gone_count);
    if (span_starts(head->target, "/now")) {
        client_answer(c, 200, SPAN("x-path: now\r\n"), SPAN("now"));
        return NULL;
    }
    x = mem_zalloc(sizeof(*x));
    x->client = c;
    x->body = strbuf_heap(1 << 20);
    x->task.run = more;
    x->timer.on_due = trickle;
    snprintf(x->path, sizeof(x->path), "%.*s", SPAN_ARG(head->target));
    return x;
}

static bool body(void *exchange, struct span bytes)
{
    struct fake *x = exchange;

    if (strcmp(x->path, "/limit") == 0) {
        client_answer(x->client, 413, SPAN(""), SPAN("too large"));
        fake_free(x);
        return false;
    }
    if (strcmp(x->path, "/tunnel") == 0) {
        client_stream_write(x->client, bytes);
        client_stream_flush(x->client);
        return true;
    }
    strbuf_add_span(&x->body, bytes);
    if (strncmp(x->path, "/pause", 6) == 0) { /* for as long as the path says */
        x->timer.on_due = resume;
        client_body_pause(x->client);
        loop_timer_set(loop, &x->timer, loop_now_ms(loop) + strtoul(x->path + 6, NULL, 10));
    }
    return true;
}

static void ready(void *exchange)
{
    struct fake *x = exchange;

    ready_count++;
    if (strcmp(x->path, "/hold") == 0)
        return;
    if (strcmp(x->path, "/tunnel") == 0) {
        client_tunnel(x->client, SPAN("Upgrade: x\r\n"));
        return;
    }
    if (strcmp(x->path, "/echo") == 0 || strncmp(x->path, "/pause", 6) == 0) {
        client_answer(x->client, 200, SPAN("x-path: echo\r\n"), strbuf_span(&x->body));
        fake_free(x);
        return;
    }
    client_stream_start(x->client, 200, SPAN("x-path: stream\r\n"));
    if (strcmp(x->path, "/flood") == 0) {
        x->left = FLOOD_BYTES;
        loop_soon(loop, &x->task);
        return;
    }
    if (strcmp(x->path, "/trickle") == 0) {
        for (unsigned i = 0; i < 128; i++)
            client_stream_write(x->client, (struct span){piece, sizeof(piece)});
        loop_timer_set(loop, &x->timer, loop_now_ms(loop) + 20);
        return;
    }
    client_stream_write(x->client, SPAN("one "));
    client_stream_write(x->client, SPAN("two"));
    if (strcmp(x->path, "/abort") == 0)
        client_stream_abort(x->client);
    else
        client_stream_end(x->client);
    fake_free(x);
}

static void gone(void *exchange)
{
    struct fake *x = exchange;

    gone_count++;
    x->client = NULL;
    loop_timer_clear(loop, &x->timer);
    loop_soon(loop, &x->task);
}

static void drained(void *exchange)
{
    struct fake *x = exchange;

    if (strcmp(x->path, "/flood") == 0)
        loop_soon(loop, &x->task);
}

static void bad_request(void *ctx, struct client *c, const struct http1_problem *why,
                        struct strbuf *fields, struct strbuf *out)
{
    (void)c;
    (void)fields;
    (void)ctx;
    bad_count++;
    strbuf_add(out, why->code);
}

static void stop(void *ctx)
{
    (void)ctx;
    loop_stop(loop);
}

static void *run(void *ctx)
{
    loop_run(loop);
    return ctx;
}

static void start_with(struct client_limits limits)
{
    static const struct client_handler handler = {begin, body, ready, gone, drained, bad_request};
    socklen_t n = sizeof(address);

    gone_count = ready_count = bad_count = 0;
    memset(piece, 'x', sizeof(piece));
    loop = loop_new();
    front = client_front_new(loop, &limits, &handler, &gone_count);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    CHECK_INT(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_INT(listen(listener, 16), 0);
    CHECK_INT(getsockname(listener, (struct sockaddr *)&address, &n), 0);
    client_front_listen(front, &(struct client_listener){.fd = listener});
    loop_on_wake(loop, stop, NULL);
    CHECK_INT(pthread_create(&thread, NULL, run, NULL), 0);
}

static void start(size_t answer_bytes)
{
    start_with((struct client_limits){.head_ms = PATIENT_MS,
                                      .body_ms = PATIENT_MS,
                                      .stall_ms = PATIENT_MS,
                                      .answer_bytes = answer_bytes,
                                      .connections = 10});
}

static void start_hasty(size_t answer_bytes)
{
    start_with((struct client_limits){.head_ms = HEAD_MS,
                                      .body_ms = BODY_MS,
                                      .stall_ms = STALL_MS,
                                      .answer_bytes = answer_bytes,
                                      .connections = 10});
}

static void finish(void)
{
    loop_wake(loop);
    pthread_join(thread, NULL);
    client_front_free(front);
    loop_free(loop);
    close(listener);
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    CHECK_INT(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until the text `end` stands at the end, the connection ends, or nothing comes for a while;
 * `how`: 0, or the errno that ended it, or -1 for an orderly end. */
static struct strbuf hear(int fd, const char *end, int *how)
{
    struct strbuf got = strbuf_heap(64 << 20);
    struct pollfd p = {.fd = fd, .events = POLLIN};

    *how = 0;
    while (end == NULL || got.len < strlen(end) ||
           memcmp(got.buf + got.len - strlen(end), end, strlen(end)) != 0) {
        char *room = strbuf_room(&got, PIECE_BYTES);
        ssize_t n = poll(&p, 1, LONG_MS) == 1 ? recv(fd, room, PIECE_BYTES, 0) : -2;

        if (n <= 0) {
            *how = n == 0 ? -1 : n == -2 ? ETIMEDOUT : errno;
            break;
        }
        strbuf_added(&got, (size_t)n);
    }
    return got;
}

static unsigned count(const struct strbuf *s, const char *what)
{
    unsigned n = 0;

    for (const char *p = s->buf; p != NULL && (p = strstr(p, what)) != NULL; p++)
        n++;
    return n;
}

static void check_talk(const char *request, const char *end, int want_how, const char *const *parts)
{
    int how, fd = dial();
    struct strbuf got;
    const char *at;

    say(fd, request);
    got = hear(fd, end, &how);
    CHECK_INT(how, want_how);
    at = got.buf;
    for (; *parts != NULL; parts++) {
        at = strstr(at, *parts);
        if (at == NULL)
            fail_msg("no \"%s\" (in its place) in: %s", *parts, got.buf);
        at += strlen(*parts);
    }
    strbuf_release(&got);
    close(fd);
}

#define TALK(request, end, how, ...)                                                               \
    check_talk(request, end, how, (const char *const[]){__VA_ARGS__, NULL})

TEST(pipelined_requests_are_answered_in_order)
{
    start(65536);
    TALK("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nfirst"
         "GET /now HTTP/1.1\r\nHost: h\r\n\r\n"
         "POST /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
         "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
         "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlast",
         NULL, -1, "first", "x-path: now", "\r\n\r\nnow", "7\r\none two\r\n0\r\n\r\nHTTP/1.1",
         "Connection: close", "\r\n\r\nlast");
    finish();
}

/* In chunks, so that each is handed up by itself. */
TEST(a_body_that_is_held_again_and_again_arrives_whole_and_the_next_request_waits)
{
    start(65536);
    TALK("POST /pause3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
         "POST /pause3 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\ngh"
         "GET /now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
         NULL, -1, "\r\n\r\nabcdef", "\r\n\r\ngh", "\r\n\r\nnow");
    finish();
}

TEST(while_a_body_is_held_its_time_does_not_run_and_it_begins_anew_behind_each_piece)
{
    int how, fd;
    struct strbuf got;

    start_hasty(65536);
    TALK("POST /pause600 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", "ab", 0, "200 OK");
    fd = dial();
    say(fd, "POST /pause1 HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab");
    got = hear(fd, NULL, &how); /* the rest never comes */
    CHECK(strstr(got.buf, " 408 ") != NULL);
    strbuf_release(&got);
    close(fd);
    finish();
}

TEST(a_tunnel_carries_all_bytes_until_the_client_closes)
{
    int how, fd;
    struct strbuf got;

    start_hasty(65536); /* no limit of a request counts in it */
    fd = dial();
    say(fd, "GET /tunnel HTTP/1.1\r\nHost: h\r\n\r\nGET early");
    got = hear(fd, "GET early", &how);
    CHECK(strncmp(got.buf, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nGET early",
                  got.len) == 0);
    strbuf_release(&got);
    usleep(2000 * (HEAD_MS + BODY_MS));
    say(fd, "\r\n\r\nlate");
    got = hear(fd, "late", &how);
    CHECK_INT(got.len, 8);
    strbuf_release(&got);
    close(fd);
    while (gone_count == 0)
        usleep(1000);
    finish();
}

TEST(a_bad_request_behind_a_good_one_ends_the_connection)
{
    start(65536);
    TALK("GET /now HTTP/1.1\r\nHost: h\r\n\r\nBAD\r\n\r\nGET /now HTTP/1.1\r\nHost: h\r\n\r\n",
         NULL, -1, "200 OK", "\r\n\r\nnow", "HTTP/1.1 400 ", "Connection: close");
    CHECK_INT(bad_count, 1);
    finish();
}

TEST(a_request_byte_by_byte)
{
    static const char request[] = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    int how, fd;
    struct strbuf got;

    start(65536);
    fd = dial();
    for (size_t i = 0; i + 1 < sizeof(request); i++) {
        CHECK_INT(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
        usleep(300);
    }
    got = hear(fd, "\r\n\r\nabc", &how);
    CHECK_INT(how, 0);
    strbuf_release(&got);
    close(fd);
    finish();
}

TEST(continue_is_said_only_to_who_waits_for_it)
{
    int how, fd;
    struct strbuf got;

    start(65536);
    fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    got = hear(fd, "HTTP/1.1 100 Continue\r\n\r\n", &how);
    CHECK_INT(how, 0);
    strbuf_release(&got);
    say(fd, "abc");
    got = hear(fd, "\r\n\r\nabc", &how);
    CHECK_INT(how, 0);
    CHECK_INT(count(&got, "HTTP/1.1"), 1);
    strbuf_release(&got);
    say(fd,
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\ndef");
    got = hear(fd, "\r\n\r\ndef", &how);
    CHECK_INT(how, 0);
    CHECK_INT(count(&got, "100 Continue"), 0);
    strbuf_release(&got);
    close(fd);
    finish();
}

TEST(head_has_the_length_and_no_body)
{
    start(65536);
    TALK("HEAD /now HTTP/1.1\r\nHost: h\r\n\r\nGET /now HTTP/1.1\r\nHost: h\r\nConnection: "
         "close\r\n\r\n",
         NULL, -1, "Content-Length: 3\r\n\r\nHTTP/1.1 200 OK", "Content-Length: 3\r\n\r\nnow");
    finish();
}

TEST(http_1_0_gets_no_chunks_and_an_end_that_tells)
{
    start(65536);
    TALK("POST /stream HTTP/1.0\r\nContent-Length: 0\r\n\r\n", NULL, -1, "Connection: close",
         "\r\n\r\none two");
    TALK("POST /abort HTTP/1.0\r\nContent-Length: 0\r\n\r\n", NULL, ECONNRESET, "HTTP/1.1 200");
    TALK("GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /now HTTP/1.0\r\n\r\n", NULL, -1,
         "Connection: keep-alive", "\r\n\r\nnow", "Connection: close", "\r\n\r\nnow");
    finish();
}

TEST(an_aborted_stream_has_no_last_chunk)
{
    int how, fd;
    struct strbuf got;

    start(65536);
    fd = dial();
    say(fd, "POST /abort HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    got = hear(fd, NULL, &how);
    CHECK_INT(how, -1);
    CHECK_INT(count(&got, "7\r\none two\r\n"), 1);
    CHECK_INT(count(&got, "\r\n0\r\n"), 0);
    strbuf_release(&got);
    close(fd);
    finish();
}

TEST(an_early_answer_reaches_a_client_that_still_sends)
{
    int how, fd;
    struct strbuf got;
    unsigned sent = 0;

    start(65536);
    fd = dial();
    say(fd, "POST /limit HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n");
    while (sent < 64 && send(fd, piece, sizeof(piece), MSG_NOSIGNAL) > 0)
        sent++;
    CHECK_INT(sent, 64);
    shutdown(fd, SHUT_WR);
    got = hear(fd, NULL, &how);
    CHECK_INT(how, -1);
    CHECK_INT(count(&got, "HTTP/1.1 413 "), 1);
    CHECK_INT(count(&got, "Connection: close"), 1);
    CHECK_INT(gone_count, 0);
    strbuf_release(&got);
    close(fd);
    finish();
}

TEST(a_byte_now_and_then_does_not_extend_a_deadline)
{
    int how, fd;
    struct strbuf got;
    struct pollfd p = {.events = POLLIN};
    unsigned n = 0;

    start_hasty(65536);
    p.fd = fd = dial();
    say(fd, "GET /now HTTP/1.1\r\nA: ");
    while (poll(&p, 1, 10) == 0 && n++ < 2000)
        CHECK_INT(send(fd, "b", 1, MSG_NOSIGNAL), 1);
    CHECK(n < 2000);
    got = hear(fd, NULL, &how);
    CHECK_INT(count(&got, "HTTP/1.1 408 "), 1);
    strbuf_release(&got);
    close(fd);
    fd = dial(); /* nothing at all: no answer either */
    got = hear(fd, NULL, &how);
    CHECK_INT(how, -1);
    CHECK_INT(got.len, 0);
    strbuf_release(&got);
    close(fd);
    TALK("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc", NULL, -1,
         "HTTP/1.1 408 ");
    CHECK_INT(gone_count, 1);
    finish();
}

static void wait_for_gone(unsigned n)
{
    for (unsigned i = 0; i < LONG_MS && gone_count < n; i++)
        usleep(1000);
    CHECK_INT(gone_count, n);
}

TEST(a_client_that_leaves_is_noticed_whenever_it_does)
{
    static const char request[] = "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    int fd;

    start(65536);
    fd = dial();
    say(fd, request);
    close(fd);
    wait_for_gone(1);
    fd = dial();
    say(fd, request);
    usleep(20000);
    close(fd);
    wait_for_gone(2);
    fd = dial();
    CHECK_INT(send(fd, request, sizeof(request) - 3, MSG_NOSIGNAL), sizeof(request) - 3);
    close(fd);
    wait_for_gone(3);
    finish();
}

TEST(a_reader_that_is_behind_gets_all_however_little_may_wait)
{
    int how, fd, small = 32768; /* the kernel never takes all that waits, so it never runs empty */
    struct strbuf got;

    start(1024);
    setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    fd = dial();
    say(fd, "POST /flood HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    usleep(50000);
    got = hear(fd, "\r\n0\r\n\r\n", &how);
    CHECK_INT(how, 0);
    CHECK(got.len > FLOOD_BYTES);
    strbuf_release(&got);
    close(fd);
    finish();
}

TEST(a_reader_that_takes_nothing_is_gone_though_more_is_written)
{
    int fd;

    start_hasty(16 << 20);
    fd = dial();
    say(fd, "POST /trickle HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    wait_for_gone(1);
    close(fd);
    finish();
}

TEST(draining_ends_what_is_idle_and_refuses_what_is_new)
{
    int how, fd, late;
    struct strbuf got;

    start(65536);
    fd = dial();
    say(fd, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    got = hear(fd, "now", &how);
    strbuf_release(&got);
    loop_wake(loop);
    pthread_join(thread, NULL);
    client_front_drain(front, false);
    CHECK_INT(client_front_open(front), 0);
    got = hear(fd, NULL, &how);
    CHECK_INT(how, -1);
    strbuf_release(&got);
    late = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_INT(connect(late, (struct sockaddr *)&address, sizeof(address)), -1);
    CHECK_INT(errno, ECONNREFUSED);
    close(late);
    close(fd);
    client_front_free(front);
    loop_free(loop);
    close(listener);
}

TEST_MAIN()
