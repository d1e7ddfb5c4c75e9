/* provider.c - a simulated OpenAI provider for the benchmark.
 *
 *     provider PORT        serves http://127.0.0.1:PORT until it is killed
 *
 * One thread, one epoll, kept-alive connections, plain HTTP, loopback only. Every POST is taken for
 * a chat completion; tool.h says how a request chooses its answer.
 *
 * A stream with a gap sends one event per write, as a model that thinks does: it shows what waking
 * up costs. A stream without one is written in blocks of whole events as fast as the socket takes
 * them: it shows what an event's bytes cost. Streams with a gap keep their own schedule: a late
 * event does not delay those after it, and one that falls due while the socket is full is put off
 * to the next date.
 */
#define _GNU_SOURCE
#include "bench/tool.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_BYTES = 65536,
    STREAM_BYTES = 16384,          /* the largest block of events in one write */
    EVENT_ROOM = 512,              /* no event with its chunk framing is longer */
    BODY_MAX = 64 * 1024 * 1024,   /* of a request */
    GAP_MAX_US = 60 * 1000 * 1000, /* of a stream */
};

/* What all answers say beside their type and framing; the limits are far from used up, so that no
 * proxy holds back because of them. */
#define COMMON_HEADERS                                                                             \
    "Date: Fri, 21 Nov 2025 12:00:00 GMT\r\n"                                                      \
    "access-control-expose-headers: X-Request-ID\r\n"                                              \
    "openai-organization: bench\r\n"                                                               \
    "openai-processing-ms: 412\r\n"                                                                \
    "openai-version: 2020-10-01\r\n"                                                               \
    "x-ratelimit-limit-requests: 30000\r\n"                                                        \
    "x-ratelimit-limit-tokens: 150000000\r\n"                                                      \
    "x-ratelimit-remaining-requests: 29999\r\n"                                                    \
    "x-ratelimit-remaining-tokens: 149999742\r\n"                                                  \
    "x-ratelimit-reset-requests: 2ms\r\n"                                                          \
    "x-ratelimit-reset-tokens: 0s\r\n"                                                             \
    "x-request-id: req_5be0c4a1f27d4e3c9a8b7c6d5e4f3a2b\r\n"                                       \
    "strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n"                  \
    "X-Content-Type-Options: nosniff\r\n"

#define EVENT_START                                                                                \
    "data: {\"id\":\"chatcmpl-BenchStream0123456789abc\",\"object\":\"chat.completion.chunk\","    \
    "\"created\":1760000000,\"model\":\"" SIM_MODEL "\","

static const char stream_head[] =
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: text/event-stream; charset=utf-8\r\n"
    "Cache-Control: no-cache\r\n" COMMON_HEADERS "Transfer-Encoding: chunked\r\n\r\n";

struct conn {
    int fd;
    struct message request;
    char *body; /* of the request; heap */
    size_t body_len, body_cap;

    const char *out; /* not yet sent: points into `block` or at the unary answer */
    size_t out_len;

    bool streaming;    /* events are left to be written */
    bool usage;        /* the request asked for a usage event */
    uint64_t gap_us;   /* between words */
    unsigned words;    /* how many there are */
    unsigned word;     /* the next one's number */
    uint64_t due_us;   /* when, if gap_us > 0 */
    size_t heap_index; /* in `timers`; NO_TIMER when not there */
    size_t block_len;
    char block[STREAM_BYTES];
};

static const size_t NO_TIMER = (size_t)-1;

static int epoll_fd;
static char *unary; /* head and body of every unary answer */
static size_t unary_len;

/* Streams that wait for their next event: a binary heap, the earliest first. */
static struct conn **timers;
static size_t timer_count, timer_cap;

static void timer_put(size_t i, struct conn *c)
{
    timers[i] = c;
    c->heap_index = i;
}

/* Moves what stands at i, whose time has changed, to where it belongs. */
static void timer_sift(size_t i)
{
    struct conn *c = timers[i];

    for (; i > 0 && timers[(i - 1) / 2]->due_us > c->due_us; i = (i - 1) / 2)
        timer_put(i, timers[(i - 1) / 2]);
    for (size_t child = 2 * i + 1; child < timer_count; child = 2 * i + 1) {
        if (child + 1 < timer_count && timers[child + 1]->due_us < timers[child]->due_us)
            child++;
        if (timers[child]->due_us >= c->due_us)
            break;
        timer_put(i, timers[child]);
        i = child;
    }
    timer_put(i, c);
}

static void timer_add(struct conn *c)
{
    if (timer_count == timer_cap) {
        timer_cap = timer_cap > 0 ? timer_cap * 2 : 256;
        timers = realloc(timers, timer_cap * sizeof(*timers));
        if (timers == NULL)
            die("out of memory");
    }
    timer_put(timer_count++, c);
    timer_sift(c->heap_index);
}

static void timer_remove(struct conn *c)
{
    size_t i = c->heap_index;

    if (i == NO_TIMER)
        return;
    c->heap_index = NO_TIMER;
    if (i == --timer_count)
        return;
    timer_put(i, timers[timer_count]);
    timer_sift(i);
}

static void conn_close(struct conn *c)
{
    timer_remove(c);
    close(c->fd);
    free(c->body);
    free(c);
}

/* Adds one chunk that holds one event. */
__attribute__((format(printf, 2, 3))) static void add_event(struct conn *c, const char *fmt, ...)
{
    char event[EVENT_ROOM];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(event, sizeof(event), fmt, ap);
    va_end(ap);
    assert(n > 0 && n < EVENT_ROOM - 16 && c->block_len + EVENT_ROOM <= sizeof(c->block));
    c->block_len += (size_t)sprintf(c->block + c->block_len, "%x\r\n%s\r\n", (unsigned)n, event);
}

static void add_word(struct conn *c)
{
    add_event(c,
              EVENT_START "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" WORD_FORMAT
                          "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
              c->word, (unsigned long long)now_us());
    c->word++;
}

/* What comes before the words goes out with the head at once. */
static void add_start(struct conn *c)
{
    memcpy(c->block, stream_head, sizeof(stream_head) - 1);
    c->block_len = sizeof(stream_head) - 1;
    add_event(c, EVENT_START "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
                             "\"content\":\"\",\"refusal\":null},\"logprobs\":null,"
                             "\"finish_reason\":null}]}\n\n");
}

/* And what comes after them, with the last word. */
static void add_end(struct conn *c)
{
    add_event(c, EVENT_START "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,"
                             "\"finish_reason\":\"stop\"}]}\n\n");
    if (c->usage)
        add_event(c,
                  EVENT_START "\"choices\":[],\"usage\":{\"prompt_tokens\":212,"
                              "\"completion_tokens\":%u,\"total_tokens\":%u}}\n\n",
                  c->words, c->words + 212);
    add_event(c, "data: [DONE]\n\n");
    memcpy(c->block + c->block_len, "0\r\n\r\n", 5);
    c->block_len += 5;
    c->streaming = false;
}

/* Fills the empty block with what may be sent now. Room for the end is always left. */
static void fill_block(struct conn *c)
{
    const size_t full = sizeof(c->block) - 5 * EVENT_ROOM;

    do {
        if (c->word < c->words)
            add_word(c);
        if (c->word == c->words)
            add_end(c);
    } while (c->streaming && c->gap_us == 0 && c->block_len < full);
}

/* Sends until nothing is left or the socket is full. -1: the connection is lost. */
static int flush(struct conn *c)
{
    for (;;) {
        while (c->out_len > 0) {
            ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);

            if (n < 0 && errno == EAGAIN)
                return 0;
            if (n < 0)
                return -1;
            c->out += n;
            c->out_len -= (size_t)n;
        }
        if (!c->streaming || c->gap_us > 0)
            return 0;
        c->block_len = 0;
        fill_block(c);
        c->out = c->block;
        c->out_len = c->block_len;
    }
}

/* Is `"name": true` in the body, whatever blanks a proxy has put there? */
static bool says_true(const struct conn *c, const char *name)
{
    const char *p = c->body, *end = c->body + c->body_len;
    size_t n = strlen(name);

    while (p < end && (p = memmem(p, (size_t)(end - p), name, n)) != NULL) {
        for (p += n; p < end && (*p == ' ' || *p == ':'); p++)
            ;
        if (end - p >= 4 && memcmp(p, "true", 4) == 0)
            return true;
    }
    return false;
}

/* Reads the wishes after "sim:" into the connection; without any it is 100 words and no gap. */
static int read_wishes(struct conn *c)
{
    unsigned long long events = 100, gap = 0;
    const char *p = memmem(c->body, c->body_len, "sim:", 4);
    char text[80];
    size_t n;

    if (p != NULL) {
        n = (size_t)(c->body + c->body_len - p);
        n = n < sizeof(text) ? n : sizeof(text) - 1;
        memcpy(text, p, n);
        text[n] = '\0';
        if (sscanf(text, "sim:events=%llu,gap_us=%llu;", &events, &gap) != 2 || events == 0 ||
            events > MAX_EVENTS || gap > GAP_MAX_US)
            return -1;
    }
    c->words = (unsigned)events;
    c->gap_us = gap;
    return 0;
}

static void start_answer(struct conn *c)
{
    static const char bad[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
                              "Content-Length: 52\r\n\r\n"
                              "{\"error\":{\"message\":\"sim: is wrong\",\"type\":\"bench\"}}";

    if (read_wishes(c) < 0) {
        c->out = bad;
        c->out_len = sizeof(bad) - 1;
    } else if (!says_true(c, "\"stream\"")) {
        c->out = unary;
        c->out_len = unary_len;
    } else {
        c->streaming = true;
        c->usage = says_true(c, "\"include_usage\"");
        c->word = 0;
        add_start(c);
        c->out = c->block;
        c->out_len = c->block_len;
        if (c->gap_us > 0) {
            c->due_us = now_us() + c->gap_us;
            timer_add(c);
        }
    }
    c->body_len = 0;
    message_start(&c->request, false);
}

static void keep_body(void *ctx, const char *p, size_t n)
{
    struct conn *c = ctx;

    if (c->body_len + n > BODY_MAX)
        die("a request body exceeds %d bytes", BODY_MAX);
    if (c->body_len + n > c->body_cap) {
        c->body_cap = (c->body_len + n) * 2;
        c->body = realloc(c->body, c->body_cap);
        if (c->body == NULL)
            die("out of memory");
    }
    memcpy(c->body + c->body_len, p, n);
    c->body_len += n;
}

/* Reads what is there. -1: the connection has ended or is of no more use. */
static int conn_read(struct conn *c, bool to_end)
{
    static char buf[READ_BYTES];
    ssize_t n;

    do {
        n = recv(c->fd, buf, sizeof(buf), 0);
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n <= 0)
            return -1;
        for (size_t at = 0; at < (size_t)n;) {
            if (c->streaming || c->out_len > 0) {
                fprintf(stderr, "provider: a request came before the last answer had ended\n");
                return -1;
            }
            at += message_feed(&c->request, buf + at, (size_t)n - at, keep_body, c);
            if (c->request.state == MESSAGE_BAD) {
                fprintf(stderr, "provider: the request cannot be read: %.60s\n", c->request.head);
                return -1;
            }
            if (c->request.state == MESSAGE_DONE) {
                start_answer(c);
                if (flush(c) < 0)
                    return -1;
            }
        }
    } while (n == sizeof(buf) || to_end);
    return 0;
}

static void accept_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = malloc(sizeof(*c));
        struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
        int on = 1;

        if (c == NULL)
            die("out of memory");
        memset(c, 0, offsetof(struct conn, block));
        c->fd = fd;
        c->heap_index = NO_TIMER;
        message_start(&c->request, false);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        ev.data.ptr = c;
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
            die("epoll_ctl: %s", strerror(errno));
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        die("accept: %s", strerror(errno));
}

/* Sends the events that are due. A connection that is lost is closed when epoll reports it: closing
 * it here could leave its address in a batch of events not yet looked at. */
static void run_timers(uint64_t now)
{
    while (timer_count > 0 && timers[0]->due_us <= now) {
        struct conn *c = timers[0];

        if (c->out_len == 0) {
            c->block_len = 0;
            fill_block(c);
            c->out = c->block;
            c->out_len = c->block_len;
            if (flush(c) < 0)
                c->streaming = false;
        }
        if (c->streaming) {
            c->due_us += c->gap_us;
            timer_sift(0);
        } else {
            timer_remove(c);
        }
    }
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0)
        die("127.0.0.1:%u: %s", port, strerror(errno));
    return fd;
}

static void make_unary(void)
{
    int n = asprintf(&unary,
                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" COMMON_HEADERS
                     "Content-Length: %d\r\n\r\n%s",
                     ANSWER_BYTES, answer_body());

    if (n < 0)
        die("out of memory");
    unary_len = (size_t)n;
}

int main(int argc, char **argv)
{
    struct epoll_event ev = {.events = EPOLLIN}, events[256];
    int listener;

    if (argc != 2)
        die("usage: provider PORT");
    signal(SIGPIPE, SIG_IGN);
    make_unary();
    listener = listen_on((uint16_t)number_arg("PORT", argv[1], 65535));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    ev.data.ptr = NULL; /* the listener; all else are connections */
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &ev) < 0)
        die("epoll: %s", strerror(errno));

    for (;;) {
        struct timespec wait = {0, 0};
        int n;

        if (timer_count > 0) {
            uint64_t now = now_us(), due = timers[0]->due_us;

            if (due > now) {
                wait.tv_sec = (time_t)((due - now) / 1000000);
                wait.tv_nsec = (long)((due - now) % 1000000 * 1000);
            }
        }
        n = epoll_pwait2(epoll_fd, events, 256, timer_count > 0 ? &wait : NULL, NULL);
        if (n < 0 && errno != EINTR)
            die("epoll_pwait2: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            bool gone = (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

            if (c == NULL)
                accept_all(listener);
            else if (conn_read(c, gone) < 0 || flush(c) < 0)
                conn_close(c);
        }
        if (timer_count > 0)
            run_timers(now_us());
    }
}
