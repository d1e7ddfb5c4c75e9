#define _GNU_SOURCE
#include "bench/tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

void die(const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(2);
}

uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t now_us(void)
{
    return now_ns() / 1000;
}

uint64_t number_arg(const char *what, const char *text, uint64_t max)
{
    char *end;
    unsigned long long v;

    errno = 0;
    v = strtoull(text, &end, 10);
    if (errno != 0 || text[0] < '0' || text[0] > '9' || *end != '\0' || v > max)
        die("%s: \"%s\" is not a number from 0 to %llu", what, text, (unsigned long long)max);
    return v;
}

static const char before_text[] =
    "{\n  \"id\": \"chatcmpl-BenchAnswer0123456789abcdefgh\",\n"
    "  \"object\": \"chat.completion\",\n  \"created\": 1760000000,\n"
    "  \"model\": \"" SIM_MODEL "\",\n  \"choices\": [\n    {\n      \"index\": 0,\n"
    "      \"message\": {\n        \"role\": \"assistant\",\n        \"content\": \"";
static const char after_text[] =
    "\",\n        \"refusal\": null,\n        \"annotations\": []\n      },\n"
    "      \"logprobs\": null,\n      \"finish_reason\": \"stop\"\n    }\n  ],\n"
    "  \"usage\": {\n    \"prompt_tokens\": 212,\n    \"completion_tokens\": 64,\n"
    "    \"total_tokens\": 276,\n"
    "    \"prompt_tokens_details\": {\"cached_tokens\": 0, \"audio_tokens\": 0},\n"
    "    \"completion_tokens_details\": {\"reasoning_tokens\": 0, \"audio_tokens\": 0}\n"
    "  },\n  \"service_tier\": \"default\",\n  \"system_fingerprint\": \"fp_b3nchb3nch\"\n}\n";

/* It fills what is missing to ANSWER_BYTES. */
const char *answer_text(void)
{
    static const char words[] = "The tide table says \\\"high water\\\" at noon.\\nWait for it. ";
    static char text[ANSWER_BYTES - sizeof(before_text) - sizeof(after_text) + 3];
    size_t n = 0;

    if (text[0] != '\0')
        return text;
    for (; n + sizeof(words) <= sizeof(text); n += sizeof(words) - 1)
        memcpy(text + n, words, sizeof(words) - 1);
    memset(text + n, '.', sizeof(text) - 1 - n); /* never half an escape */
    return text;
}

/* A chat completion as a vendor writes it. */
const char *answer_body(void)
{
    static char body[ANSWER_BYTES + 1];

    if (body[0] == '\0')
        snprintf(body, sizeof(body), "%s%s%s", before_text, answer_text(), after_text);
    return body;
}

void message_start(struct message *m, bool answer)
{
    m->state = MESSAGE_HEAD;
    m->answer = answer;
    m->close = false;
    m->status = 0;
    m->left = 0;
    m->head_len = 0;
}

/* The value of "name: value" when the line has that name, without surrounding blanks. */
static bool header_is(const char *line, size_t n, const char *name, const char **value,
                      size_t *value_len)
{
    size_t k = strlen(name);

    if (n <= k || line[k] != ':' || strncasecmp(line, name, k) != 0)
        return false;
    for (line += k + 1, n -= k + 1; n > 0 && (*line == ' ' || *line == '\t'); line++)
        n--;
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
        n--;
    *value = line;
    *value_len = n;
    return true;
}

static bool read_length(const char *p, size_t n, uint64_t *out)
{
    uint64_t v = 0;

    if (n == 0 || n > 18)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(p[i] - '0');
    }
    *out = v;
    return true;
}

/* The whole head is there: how does the body end? */
static enum message_state read_head(struct message *m)
{
    const char *p = m->head, *end = m->head + m->head_len - 2, *value;
    bool has_length = false, chunked = false;
    size_t n;

    if (m->answer && (m->head_len < 14 || memcmp(p, "HTTP/1.1 ", 9) != 0))
        return MESSAGE_BAD;
    if (m->answer)
        m->status = (unsigned)strtoul(p + 9, NULL, 10);
    p = (const char *)memchr(p, '\n', m->head_len) + 1; /* the first line is done */
    for (; p < end; p += n + 2) {
        n = (size_t)((const char *)memmem(p, (size_t)(end + 2 - p), "\r\n", 2) - p);
        size_t len;

        if (header_is(p, n, "content-length", &value, &len)) {
            if (has_length || !read_length(value, len, &m->left))
                return MESSAGE_BAD;
            has_length = true;
        } else if (header_is(p, n, "transfer-encoding", &value, &len)) {
            if (len != 7 || strncasecmp(value, "chunked", 7) != 0)
                return MESSAGE_BAD;
            chunked = true;
        } else if (header_is(p, n, "connection", &value, &len)) {
            m->close = len == 5 && strncasecmp(value, "close", 5) == 0;
        }
    }
    if (chunked && has_length)
        return MESSAGE_BAD;
    if (chunked) {
        m->left = 0;
        m->digits = m->extension = false;
        return MESSAGE_SIZE;
    }
    if (!has_length && m->answer)
        return MESSAGE_BAD;
    return m->left > 0 ? MESSAGE_FIXED : MESSAGE_DONE;
}

static size_t feed_head(struct message *m, const char *p, size_t n)
{
    size_t had = m->head_len, from = had > 3 ? had - 3 : 0;
    size_t take = n < HEAD_MAX - had ? n : HEAD_MAX - had;
    const char *end;

    memcpy(m->head + had, p, take);
    m->head_len += take;
    end = memmem(m->head + from, m->head_len - from, "\r\n\r\n", 4);
    if (end == NULL) {
        if (m->head_len == HEAD_MAX)
            m->state = MESSAGE_BAD;
        return take;
    }
    m->head_len = (size_t)(end + 4 - m->head);
    m->state = read_head(m);
    return m->head_len - had;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of a size line, of the CRLF after a chunk, or of the trailer. */
static void feed_framing(struct message *m, char c)
{
    int digit = hex_digit(c);

    switch (m->state) {
    case MESSAGE_SIZE:
        if (c == '\n') {
            m->state = !m->digits ? MESSAGE_BAD : m->left > 0 ? MESSAGE_DATA : MESSAGE_TRAILER;
            m->line_len = 0;
        } else if (!m->extension && digit >= 0 && m->left >> 56 == 0) {
            m->left = m->left * 16 + (uint64_t)digit;
            m->digits = true;
        } else if (c == ';' || c == '\r' || m->extension) {
            m->extension = true;
        } else {
            m->state = MESSAGE_BAD;
        }
        break;
    case MESSAGE_DATA_END:
        if (c == '\n') {
            m->state = MESSAGE_SIZE;
            m->left = 0;
            m->digits = m->extension = false;
        } else if (c != '\r') {
            m->state = MESSAGE_BAD;
        }
        break;
    default: /* MESSAGE_TRAILER */
        if (c == '\n' && m->line_len == 0)
            m->state = MESSAGE_DONE;
        else if (c == '\n')
            m->line_len = 0;
        else if (c != '\r')
            m->line_len++;
        break;
    }
}

size_t message_feed(struct message *m, const char *p, size_t n,
                    void (*body)(void *ctx, const char *p, size_t n), void *ctx)
{
    size_t at = 0;

    while (at < n && m->state != MESSAGE_DONE && m->state != MESSAGE_BAD) {
        if (m->state == MESSAGE_HEAD) {
            at += feed_head(m, p + at, n - at);
        } else if (m->state == MESSAGE_FIXED || m->state == MESSAGE_DATA) {
            size_t take = n - at < m->left ? n - at : (size_t)m->left;

            body(ctx, p + at, take);
            at += take;
            m->left -= take;
            if (m->left == 0)
                m->state = m->state == MESSAGE_FIXED ? MESSAGE_DONE : MESSAGE_DATA_END;
        } else {
            feed_framing(m, p[at++]);
        }
    }
    return at;
}
