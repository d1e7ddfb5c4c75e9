#include "proxy/ops/accesslog.h"

#include <assert.h>

#include "proxy/base/json.h"

/* No more attempts are listed from here on: one, and what comes after the list, still fits. */
#define ATTEMPTS_UNTIL (LOG_LINE_MAX - 6 * ACCESSLOG_FIELD_MAX - 512)

static struct span cut(struct span s)
{
    size_t n = s.n;

    if (n <= ACCESSLOG_FIELD_MAX)
        return s;
    n = ACCESSLOG_FIELD_MAX;
    while (n > ACCESSLOG_FIELD_MAX - 4 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--; /* not inside a character */
    return (struct span){s.p, n};
}

/* JSON --------------------------------------------------------------------------------------- */

/* Every exchange pays for this line, so it is not put together by a hundred calls of strbuf: room
 * for the longest line is taken once, and a pen moves through it. Each field is bounded, which is
 * what keeps the pen inside; the assert at the end is for whoever adds one. */
struct pen {
    char *at;
    char *start;
};

static inline void put_n(struct pen *pen, const char *text, size_t n)
{
    memcpy(pen->at, text, n);
    pen->at += n;
}

#define PUT(pen, literal) put_n(pen, literal, sizeof(literal) - 1)

/* A name with its comma and colon: ,"model": */
#define PUT_NAME(pen, key) PUT(pen, ",\"" key "\":")

static void put_number(struct pen *pen, uint64_t v)
{
    char digits[20];
    size_t n = sizeof(digits);

    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    put_n(pen, digits + n, sizeof(digits) - n);
}

/* Microseconds as milliseconds with three decimals. */
static void put_ms(struct pen *pen, uint64_t us)
{
    char decimals[4] = {'.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10),
                        (char)('0' + us % 10)};

    put_number(pen, us / 1000);
    put_n(pen, decimals, sizeof(decimals));
}

static void put_string(struct pen *pen, struct span value)
{
    struct strbuf out = strbuf_on(pen->at, 6 * ACCESSLOG_FIELD_MAX + 3);

    json_add_string(&out, cut(value));
    pen->at += out.len;
}

#define PUT_TEXT(pen, key, value)                                                                  \
    do {                                                                                           \
        if ((value).n > 0) {                                                                       \
            PUT_NAME(pen, key);                                                                    \
            put_string(pen, value);                                                                \
        }                                                                                          \
    } while (0)

#define PUT_COUNT(pen, key, value)                                                                 \
    do {                                                                                           \
        PUT_NAME(pen, key);                                                                        \
        put_number(pen, value);                                                                    \
    } while (0)

#define PUT_MS(pen, key, us)                                                                       \
    do {                                                                                           \
        PUT_NAME(pen, key);                                                                        \
        put_ms(pen, us);                                                                           \
    } while (0)

static void put_attempt(struct pen *pen, const struct access_attempt *a)
{
    PUT(pen, "{\"target\":");
    put_string(pen, a->target);
    PUT_TEXT(pen, "outcome", span_of(a->outcome));
    if (a->status != 0)
        PUT_COUNT(pen, "status", a->status);
    PUT_MS(pen, "ms", a->us);
    if (a->ttft_us != 0)
        PUT_MS(pen, "ttft_ms", a->ttft_us);
    PUT(pen, "}");
}

static void put_attempts(struct pen *pen, const struct access_record *r)
{
    size_t i;

    PUT(pen, ",\"attempts\":[");
    for (i = 0; i < r->n_attempts && pen->at - pen->start < ATTEMPTS_UNTIL; i++) {
        if (i > 0)
            PUT(pen, ",");
        put_attempt(pen, &r->attempts[i]);
    }
    PUT(pen, "]");
    if (i < r->n_attempts)
        PUT_COUNT(pen, "attempts_omitted", r->n_attempts - i);
}

static void put_record(struct pen *pen, const struct access_record *r)
{
    PUT(pen, "\",\"level\":\"info\",\"msg\":\"exchange\"");
    PUT_TEXT(pen, "id", r->id);
    PUT_TEXT(pen, "client", r->client);
    PUT_TEXT(pen, "caller", span_of(r->caller));
    PUT_TEXT(pen, "route", r->route);
    PUT_TEXT(pen, "dialect", span_of(r->dialect));
    PUT_TEXT(pen, "model", r->model);
    if (r->stream)
        PUT(pen, ",\"stream\":true");
    else
        PUT(pen, ",\"stream\":false");
    PUT_TEXT(pen, "replayed", span_of(r->replayed));
    PUT_TEXT(pen, "outcome", span_of(r->outcome));
    if (r->status != 0)
        PUT_COUNT(pen, "status", r->status);
    PUT_MS(pen, "duration_ms", r->duration_us);
    if (r->queue_us != 0)
        PUT_MS(pen, "queue_ms", r->queue_us);
    if (r->ttft_us != 0)
        PUT_MS(pen, "ttft_ms", r->ttft_us);
    PUT_COUNT(pen, "request_bytes", r->request_bytes);
    PUT_COUNT(pen, "answer_bytes", r->answer_bytes);
    if (r->usage_seen) {
        PUT_COUNT(pen, "input_tokens", r->input_tokens);
        PUT_COUNT(pen, "output_tokens", r->output_tokens);
        PUT_COUNT(pen, "cached_tokens", r->cached_tokens);
        PUT_COUNT(pen, "reasoning_tokens", r->reasoning_tokens);
    }
    PUT_TEXT(pen, "provider", r->provider);
    PUT_TEXT(pen, "served_model", r->served_model);
    put_attempts(pen, r);
    PUT(pen, "}");
}

static void write_json(const struct access_record *r, struct strbuf *out)
{
    struct pen pen = {.start = strbuf_room(out, LOG_LINE_MAX)};

    if (pen.start == NULL)
        return;
    pen.at = pen.start;
    PUT(&pen, "{\"time\":\"");
    strbuf_added(out, (size_t)(pen.at - pen.start));
    log_add_time(out, r->wall_ms);
    pen.at = out->buf + out->len;
    put_record(&pen, r);
    assert(pen.at - pen.start <= LOG_LINE_MAX);
    strbuf_added(out, (size_t)(pen.at - (out->buf + out->len)));
}

/* Text --------------------------------------------------------------------------------------- */

static void pad(struct strbuf *out, size_t start, size_t width)
{
    do
        strbuf_add_char(out, ' ');
    while (out->len - start <= width && !out->failed);
}

static void text_or_dash(struct strbuf *out, struct span s)
{
    log_add_text(out, s.n > 0 ? cut(s) : SPAN("-"));
}

/* The trail as clients get it: openai/gpt-4o=server_error:503@120ms */
static void text_attempts(struct strbuf *out, const struct access_record *r, size_t start)
{
    size_t i;

    for (i = 0; i < r->n_attempts && out->len - start < ATTEMPTS_UNTIL; i++) {
        const struct access_attempt *a = &r->attempts[i];

        strbuf_add(out, i == 0 ? "  [" : ", ");
        log_add_text(out, cut(a->target));
        strbuf_add_char(out, '=');
        strbuf_add(out, a->outcome);
        if (a->status != 0 && a->status != 200)
            strbuf_addf(out, ":%u", a->status);
        strbuf_addf(out, "@%llums", (unsigned long long)(a->us / 1000));
    }
    if (i < r->n_attempts)
        strbuf_addf(out, ", %zu more", r->n_attempts - i);
    if (i > 0)
        strbuf_add_char(out, ']');
}

/* 2026-03-01T09:30:00.125Z info  200 ok              812.4ms  gpt-4o -> claude/claude-sonnet-4-5 */
static void write_text(const struct access_record *r, struct strbuf *out)
{
    size_t start = out->len, column;

    log_add_time(out, r->wall_ms);
    strbuf_addf(out, " info  %3u ", r->status);
    column = out->len;
    strbuf_add(out, r->outcome);
    pad(out, column, 19);
    strbuf_addf(out, "%9.1fms  ", (double)r->duration_us / 1000);
    column = out->len;
    text_or_dash(out, r->model);
    if (r->provider.n > 0) {
        strbuf_add(out, " -> ");
        log_add_text(out, cut(r->provider));
        strbuf_add_char(out, '/');
        text_or_dash(out, r->served_model);
    }
    pad(out, column, 48);
    if (r->ttft_us != 0)
        strbuf_addf(out, " ttft %.1fms ", (double)r->ttft_us / 1000);
    if (r->queue_us != 0)
        strbuf_addf(out, " queued %.1fms ", (double)r->queue_us / 1000);
    if (r->usage_seen)
        strbuf_addf(out, " %llu+%llu tokens ", (unsigned long long)r->input_tokens,
                    (unsigned long long)r->output_tokens);
    strbuf_addf(out, " %llu+%llu bytes  %s%s ", (unsigned long long)r->request_bytes,
                (unsigned long long)r->answer_bytes, r->dialect != NULL ? r->dialect : "-",
                r->stream ? " stream" : "");
    if (r->replayed != NULL)
        strbuf_addf(out, "replayed by %s ", r->replayed);
    text_or_dash(out, r->route);
    strbuf_add_char(out, ' ');
    text_or_dash(out, r->client);
    if (r->caller != NULL)
        strbuf_addf(out, "/%s", r->caller);
    strbuf_add_char(out, ' ');
    text_or_dash(out, r->id);
    text_attempts(out, r, start);
}

void accesslog_write(const struct access_record *r, enum log_format format, struct strbuf *out)
{
    if (format == LOG_JSON)
        write_json(r, out);
    else
        write_text(r, out);
}
