/* provider.c - simulated providers for the benchmark: OpenAI, Anthropic and Gemini.
 *
 *     provider PORT [TLS_PORT CERT KEY]
 *                          serves http://127.0.0.1:PORT, and the same as https at TLS_PORT, until
 *                          it is killed; CERT and KEY are PEM files
 *
 * One thread, one epoll, kept-alive connections, loopback only. The path of a request says which
 * dialect it wants; what is not known as another's is taken for an OpenAI chat completion. tool.h
 * says how a request chooses its answer.
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
#include <openssl/err.h>
#include <openssl/ssl.h>
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

struct conn;

/* How one of the vendors answers. The limits in its headers are far from used up, so that no proxy
 * holds back because of them. */
struct dialect {
    const char *path;    /* the part of a request's path that tells it from those below */
    bool streams;        /* the path asks for a stream; else the body may */
    const char *headers; /* beside type and framing */
    const char *before_text, *after_text; /* in the unary answer */
    void (*add_start)(struct conn *c);    /* the events before the words */
    void (*add_word)(struct conn *c);
    void (*add_end)(struct conn *c); /* the events after the words */

    char *unary; /* head and body of every unary answer */
    size_t unary_len;
};

struct conn {
    int fd;
    SSL *ssl; /* NULL: plain */
    const struct dialect *dialect;
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
    SSL_free(c->ssl);
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

/* ---- OpenAI ---- */

#define CHAT_EVENT                                                                                 \
    "data: {\"id\":\"chatcmpl-BenchStream0123456789abc\",\"object\":\"chat.completion.chunk\","    \
    "\"created\":1760000000,\"model\":\"" SIM_MODEL "\","

static const char chat_headers[] =
    "access-control-expose-headers: X-Request-ID\r\n"
    "openai-organization: bench\r\n"
    "openai-processing-ms: 412\r\n"
    "openai-version: 2020-10-01\r\n"
    "x-ratelimit-limit-requests: 30000\r\n"
    "x-ratelimit-limit-tokens: 150000000\r\n"
    "x-ratelimit-remaining-requests: 29999\r\n"
    "x-ratelimit-remaining-tokens: 149999742\r\n"
    "x-ratelimit-reset-requests: 2ms\r\n"
    "x-ratelimit-reset-tokens: 0s\r\n"
    "x-request-id: req_5be0c4a1f27d4e3c9a8b7c6d5e4f3a2b\r\n"
    "strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n"
    "X-Content-Type-Options: nosniff\r\n";

static void chat_start(struct conn *c)
{
    add_event(c, CHAT_EVENT "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
                            "\"content\":\"\",\"refusal\":null},\"logprobs\":null,"
                            "\"finish_reason\":null}]}\n\n");
}

static void chat_word(struct conn *c)
{
    add_event(c,
              CHAT_EVENT "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" WORD_FORMAT
                         "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
              c->word, (unsigned long long)now_us());
}

static void chat_end(struct conn *c)
{
    add_event(c, CHAT_EVENT "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,"
                            "\"finish_reason\":\"stop\"}]}\n\n");
    if (c->usage)
        add_event(c,
                  CHAT_EVENT "\"choices\":[],\"usage\":{\"prompt_tokens\":212,"
                             "\"completion_tokens\":%u,\"total_tokens\":%u}}\n\n",
                  c->words, c->words + 212);
    add_event(c, "data: [DONE]\n\n");
}

/* ---- Anthropic ---- */

static const char messages_headers[] =
    "anthropic-ratelimit-requests-limit: 4000\r\n"
    "anthropic-ratelimit-requests-remaining: 3999\r\n"
    "anthropic-ratelimit-requests-reset: 2025-11-21T12:00:00Z\r\n"
    "anthropic-ratelimit-tokens-limit: 4800000\r\n"
    "anthropic-ratelimit-tokens-remaining: 4799000\r\n"
    "anthropic-ratelimit-tokens-reset: 2025-11-21T12:00:00Z\r\n"
    "request-id: req_011BenchRequest0123456789\r\n"
    "anthropic-organization-id: 00000000-0000-4000-8000-000000000000\r\n"
    "strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n";

static const char messages_before_text[] =
    "{\"model\":\"claude-sonnet-4-5-20250929\",\"id\":\"msg_01BenchAnswer0123456789ab\","
    "\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"";
static const char messages_after_text[] =
    "\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":212,"
    "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"cache_creation\":"
    "{\"ephemeral_5m_input_tokens\":0,\"ephemeral_1h_input_tokens\":0},\"output_tokens\":64,"
    "\"service_tier\":\"standard\"}}";

static void messages_start(struct conn *c)
{
    add_event(c, "event: message_start\n"
                 "data: {\"type\":\"message_start\",\"message\":{"
                 "\"model\":\"claude-sonnet-4-5-20250929\",\"id\":\"msg_01BenchStream0123456789\","
                 "\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"stop_reason\":null,"
                 "\"stop_sequence\":null,\"usage\":{\"input_tokens\":212,"
                 "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
                 "\"output_tokens\":1,\"service_tier\":\"standard\"}}}\n\n");
    add_event(c, "event: content_block_start\n"
                 "data: {\"type\":\"content_block_start\",\"index\":0,"
                 "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
    add_event(c, "event: ping\ndata: {\"type\": \"ping\"}\n\n");
}

static void messages_word(struct conn *c)
{
    add_event(c,
              "event: content_block_delta\n"
              "data: {\"type\":\"content_block_delta\",\"index\":0,"
              "\"delta\":{\"type\":\"text_delta\",\"text\":\"" WORD_FORMAT "\"}}\n\n",
              c->word, (unsigned long long)now_us());
}

static void messages_end(struct conn *c)
{
    add_event(c, "event: content_block_stop\n"
                 "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
    add_event(c,
              "event: message_delta\n"
              "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\","
              "\"stop_sequence\":null},\"usage\":{\"input_tokens\":212,"
              "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
              "\"output_tokens\":%u}}\n\n",
              c->words);
    add_event(c, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

/* ---- Gemini ---- */

#define GEMINI_MODEL "gemini-2.5-flash"

static const char gemini_headers[] =
    "Vary: Origin\r\n"
    "Vary: X-Origin\r\n"
    "Vary: Referer\r\n"
    "Server: scaffolding on HTTPServer2\r\n"
    "X-XSS-Protection: 0\r\n"
    "X-Frame-Options: SAMEORIGIN\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Server-Timing: gfet4t7; dur=412\r\n"
    "Alt-Svc: h3=\":443\"; ma=2592000,h3-29=\":443\"; ma=2592000\r\n";

static const char gemini_before_text[] =
    "{\n  \"candidates\": [\n    {\n      \"content\": {\n        \"parts\": [\n          {\n"
    "            \"text\": \"";
static const char gemini_after_text[] =
    "\"\n          }\n        ],\n        \"role\": \"model\"\n      },\n"
    "      \"finishReason\": \"STOP\",\n      \"index\": 0\n    }\n  ],\n"
    "  \"usageMetadata\": {\n    \"promptTokenCount\": 212,\n    \"candidatesTokenCount\": 64,\n"
    "    \"totalTokenCount\": 276,\n    \"promptTokensDetails\": [\n      {\n"
    "        \"modality\": \"TEXT\",\n        \"tokenCount\": 212\n      }\n    ]\n  },\n"
    "  \"modelVersion\": \"" GEMINI_MODEL "\",\n  \"responseId\": \"BenchAnswer0123456789a\"\n}\n";

static void gemini_start(struct conn *c)
{
    (void)c; /* it begins with the first word */
}

static void gemini_part(struct conn *c, const char *text, const char *finish)
{
    add_event(c,
              "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"%s\"}],"
              "\"role\": \"model\"},%s\"index\": 0}],\"usageMetadata\": {"
              "\"promptTokenCount\": 212,\"candidatesTokenCount\": %u,\"totalTokenCount\": %u,"
              "\"promptTokensDetails\": [{\"modality\": \"TEXT\",\"tokenCount\": 212}]},"
              "\"modelVersion\": \"" GEMINI_MODEL "\","
              "\"responseId\": \"BenchStream0123456789b\"}\r\n\r\n",
              text, finish, c->word + 1, c->word + 213);
}

static void gemini_word(struct conn *c)
{
    char text[WORD_BYTES + 1];

    snprintf(text, sizeof(text), WORD_FORMAT, c->word, (unsigned long long)now_us());
    gemini_part(c, text, "");
}

static void gemini_end(struct conn *c)
{
    gemini_part(c, "", "\"finishReason\": \"STOP\",");
}

/* ---- every dialect ---- */

static struct dialect dialects[] = {
    {.path = "/v1/messages",
     .headers = messages_headers,
     .before_text = messages_before_text,
     .after_text = messages_after_text,
     .add_start = messages_start,
     .add_word = messages_word,
     .add_end = messages_end},
    {.path = ":generateContent",
     .headers = gemini_headers,
     .before_text = gemini_before_text,
     .after_text = gemini_after_text},
    {.path = ":streamGenerateContent",
     .headers = gemini_headers,
     .before_text = gemini_before_text,
     .after_text = gemini_after_text,
     .streams = true,
     .add_start = gemini_start,
     .add_word = gemini_word,
     .add_end = gemini_end},
    {.path = "", /* all others; its unary answer is tool.h's */
     .headers = chat_headers,
     .add_start = chat_start,
     .add_word = chat_word,
     .add_end = chat_end},
};

/* The dialect of a request, by its first line. */
static const struct dialect *dialect_of(const struct message *request)
{
    const char *end = memchr(request->head, '\r', request->head_len);
    const struct dialect *d = dialects;

    while (memmem(request->head, (size_t)(end - request->head), d->path, strlen(d->path)) == NULL)
        d++; /* the last one's path is part of all */
    return d;
}

static void make_unary(void)
{
    for (size_t i = 0; i < sizeof(dialects) / sizeof(*dialects); i++) {
        struct dialect *d = &dialects[i];
        char *body = NULL;
        int n;

        n = d->before_text == NULL
                ? asprintf(&body, "%s", answer_body())
                : asprintf(&body, "%s%s%s", d->before_text, answer_text(), d->after_text);
        if (n >= 0)
            n = asprintf(&d->unary,
                         "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         "Date: Fri, 21 Nov 2025 12:00:00 GMT\r\n%sContent-Length: %d\r\n\r\n%s",
                         d->headers, n, body);
        if (n < 0)
            die("out of memory");
        d->unary_len = (size_t)n;
        free(body);
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

/* What comes before the words goes out with the head at once. */
static void start_stream(struct conn *c)
{
    c->streaming = true;
    c->usage = says_true(c, "\"include_usage\"");
    c->word = 0;
    c->block_len = (size_t)sprintf(c->block,
                                   "HTTP/1.1 200 OK\r\n"
                                   "Content-Type: text/event-stream; charset=utf-8\r\n"
                                   "Cache-Control: no-cache\r\n"
                                   "Date: Fri, 21 Nov 2025 12:00:00 GMT\r\n%s"
                                   "Transfer-Encoding: chunked\r\n\r\n",
                                   c->dialect->headers);
    c->dialect->add_start(c);
    c->out = c->block;
    c->out_len = c->block_len;
    if (c->gap_us > 0) {
        c->due_us = now_us() + c->gap_us;
        timer_add(c);
    }
}

/* What comes after the words goes out with the last one. */
static void end_stream(struct conn *c)
{
    c->dialect->add_end(c);
    memcpy(c->block + c->block_len, "0\r\n\r\n", 5);
    c->block_len += 5;
    c->streaming = false;
}

/* Fills the empty block with what may be sent now. Room for the end is always left. */
static void fill_block(struct conn *c)
{
    const size_t full = sizeof(c->block) - 5 * EVENT_ROOM;

    do {
        if (c->word < c->words) {
            c->dialect->add_word(c);
            c->word++;
        }
        if (c->word == c->words)
            end_stream(c);
    } while (c->streaming && c->gap_us == 0 && c->block_len < full);
}

/* As recv and send do, with the same errno where nothing can be done now. */
static ssize_t tls_result(SSL *ssl, int n)
{
    int why = n > 0 ? SSL_ERROR_NONE : SSL_get_error(ssl, n);

    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return n > 0 ? n : -1;
}

static ssize_t conn_recv(struct conn *c, char *buf, size_t n)
{
    if (c->ssl == NULL)
        return recv(c->fd, buf, n, 0);
    ERR_clear_error();
    return tls_result(c->ssl, SSL_read(c->ssl, buf, (int)n));
}

static ssize_t conn_send(struct conn *c, const char *p, size_t n)
{
    if (c->ssl == NULL)
        return send(c->fd, p, n, MSG_NOSIGNAL);
    ERR_clear_error();
    return tls_result(c->ssl, SSL_write(c->ssl, p, (int)n));
}

/* Sends until nothing is left or the socket is full. -1: the connection is lost. */
static int flush(struct conn *c)
{
    for (;;) {
        while (c->out_len > 0) {
            ssize_t n = conn_send(c, c->out, c->out_len);

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

    c->dialect = dialect_of(&c->request);
    if (read_wishes(c) < 0) {
        c->out = bad;
        c->out_len = sizeof(bad) - 1;
    } else if (c->dialect->streams || says_true(c, "\"stream\"")) {
        start_stream(c);
    } else {
        c->out = c->dialect->unary;
        c->out_len = c->dialect->unary_len;
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
        n = conn_recv(c, buf, sizeof(buf));
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
    } while (n == sizeof(buf) || c->ssl != NULL || to_end);
    return 0;
}

struct listener {
    int fd;
    SSL_CTX *tls; /* NULL: plain */
};

static void accept_all(const struct listener *l)
{
    int fd;

    while ((fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = malloc(sizeof(*c));
        struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
        int on = 1;

        if (c == NULL)
            die("out of memory");
        memset(c, 0, offsetof(struct conn, block));
        c->fd = fd;
        c->heap_index = NO_TIMER;
        message_start(&c->request, false);
        if (l->tls != NULL) {
            c->ssl = SSL_new(l->tls);
            if (c->ssl == NULL || SSL_set_fd(c->ssl, fd) != 1)
                die("out of memory");
            SSL_set_accept_state(c->ssl);
        }
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

static void listen_on(struct listener *l, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = l};
    int on = 1;

    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(l->fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(l->fd, 4096) < 0)
        die("127.0.0.1:%u: %s", port, strerror(errno));
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, l->fd, &ev) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

static SSL_CTX *tls_context(const char *cert, const char *key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        die("%s, %s: no certificate and key of TLS", cert, key);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    return ctx;
}

int main(int argc, char **argv)
{
    struct listener plain = {-1, NULL}, tls = {-1, NULL};
    struct epoll_event events[256];

    if (argc != 2 && argc != 5)
        die("usage: provider PORT [TLS_PORT CERT KEY]");
    signal(SIGPIPE, SIG_IGN);
    make_unary();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll: %s", strerror(errno));
    if (argc == 5) {
        tls.tls = tls_context(argv[3], argv[4]);
        listen_on(&tls, (uint16_t)number_arg("TLS_PORT", argv[2], 65535));
    }
    listen_on(&plain, (uint16_t)number_arg("PORT", argv[1], 65535));

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

            if (events[i].data.ptr == &plain || events[i].data.ptr == &tls)
                accept_all(events[i].data.ptr);
            else if (conn_read(c, gone) < 0 || flush(c) < 0)
                conn_close(c);
        }
        if (timer_count > 0)
            run_timers(now_us());
    }
}
