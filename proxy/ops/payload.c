#include "proxy/ops/payload.h"

#include <string.h>

#include "proxy/base/attributes.h"
#include "proxy/base/base64.h"
#include "proxy/base/json.h"
#include "proxy/base/secret.h"

#define LONG_RUN  512 /* of base64 digits: no text any more */
#define RUN_SHOWN 32
#define PIECE     7500 /* bytes of text in a line where none of them is escaped */

void payload_take(struct payload *p, struct span bytes)
{
    size_t room = p->cap - p->text.len;

    if (p->cap == 0)
        return;
    p->bytes += bytes.n;
    strbuf_add_n(&p->text, bytes.p, bytes.n < room ? bytes.n : room);
}

/* ---- what may be shown of it ---------------------------------------------------------------- */

static bool is_text(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' && strchr("\t\r\n", s.p[i] != '\0' ? s.p[i] : 'x') == NULL)
            return false;
    return true;
}

static bool says_secret(struct span name)
{
    static const char *const names[] = {
        "authorization", "api_key",       "apikey",        "api-key", "x-api-key", "password",
        "access_token",  "refresh_token", "client_secret", "secret",  "token"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_is_nocase(name, names[i]))
            return true;
    return false;
}

/* The end of the JSON string whose first byte is at `i`; its quote or the end of the text. */
static size_t string_end(struct span s, size_t i)
{
    while (i < s.n && s.p[i] != '"')
        i += s.p[i] == '\\' ? 2 : 1;
    return i < s.n ? i : s.n;
}

static size_t skip_space(struct span s, size_t i)
{
    while (i < s.n && strchr(" \t\r\n", s.p[i]) != NULL)
        i++;
    return i;
}

/* The text without the values of members that say that they are secret. */
static void hide_members(struct strbuf *text)
{
    struct span s = strbuf_span(text);
    size_t out = 0, i = 0;

    while (i < s.n) {
        size_t from = i++, end, value;

        if (s.p[from] == '"') {
            end = string_end(s, from + 1);
            value = skip_space(s, end + 1 < s.n ? end + 1 : s.n);
            i = end < s.n ? end + 1 : s.n;
            if (value < s.n && s.p[value] == ':' &&
                says_secret((struct span){s.p + from + 1, end - from - 1}) &&
                (value = skip_space(s, value + 1)) < s.n && s.p[value] == '"') {
                memmove(text->buf + out, s.p + from, value + 1 - from);
                out += value + 1 - from;
                from = string_end(s, value + 1);
                i = from < s.n ? from + 1 : s.n;
                for (size_t star = 0; star < 3 && star < from - value - 1; star++)
                    text->buf[out++] = '*';
            }
        }
        memmove(text->buf + out, s.p + from, i - from);
        out += i - from;
    }
    text->len = out;
}

/* Long runs of base64 are cut to their beginning. */
static void shorten_runs(struct strbuf *text)
{
    size_t out = 0, i = 0;

    while (i < text->len) {
        size_t from = i, keep;

        while (i < text->len && base64_digit(text->buf[i]) >= 0)
            i++;
        keep = i - from > LONG_RUN ? RUN_SHOWN : i - from;
        memmove(text->buf + out, text->buf + from, keep);
        out += keep;
        if (keep < i - from) {
            memcpy(text->buf + out, "...", 3);
            out += 3;
        }
        if (i < text->len)
            text->buf[out++] = text->buf[i++];
    }
    text->len = out;
}

static void make_fit_to_show(struct payload *p)
{
    if (!is_text(strbuf_span(&p->text))) {
        strbuf_clear(&p->text);
        return;
    }
    hide_members(&p->text);
    secret_redact(p->text.buf, &p->text.len);
    shorten_runs(&p->text);
}

/* ---- its lines ------------------------------------------------------------------------------ */

struct heading {
    struct span id, whose;
    uint64_t wall_ms, bytes;
    unsigned part;
    bool cut; /* there was more */
};

static bool add_line(struct strbuf *out, const struct heading *h, enum log_format format,
                     struct span text)
{
    strbuf_clear(out);
    if (format == LOG_JSON) {
        strbuf_add(out, "{\"time\":\"");
        log_add_time(out, h->wall_ms);
        strbuf_add(out, "\",\"level\":\"info\",\"msg\":\"payload\",\"id\":");
        json_add_string(out, h->id);
        strbuf_add(out, ",\"of\":");
        json_add_string(out, h->whose);
        strbuf_addf(out, ",\"bytes\":%llu,\"part\":%u,\"cut\":%s,\"text\":",
                    (unsigned long long)h->bytes, h->part, h->cut ? "true" : "false");
        json_add_string(out, text);
        strbuf_add_char(out, '}');
    } else {
        log_add_time(out, h->wall_ms);
        strbuf_add(out, " info  payload ");
        log_add_text(out, h->id);
        strbuf_add_char(out, ' ');
        log_add_text(out, h->whose);
        strbuf_addf(out, " %llu bytes%s, %u: ", (unsigned long long)h->bytes,
                    h->cut ? " (cut)" : "", h->part);
        log_add_text(out, text);
    }
    return !out->failed;
}

/* As much of the text as may stand in one line, with no character parted. */
static struct span piece_of(struct span text, size_t most)
{
    size_t n = most;

    if (text.n <= most)
        return text;
    while (n > most - 3 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    return (struct span){text.p, n};
}

void payload_end(struct payload *p, struct span id, struct span whose, uint64_t wall_ms,
                 enum log_format format, void (*line)(struct span))
{
    struct heading h = {id, whose, wall_ms, p->bytes, 1, p->bytes > p->text.len};
    char mem[LOG_LINE_MAX + 1];
    struct span left;

    make_fit_to_show(p);
    left = strbuf_span(&p->text);
    if (left.n == 0 && p->bytes > 0)
        left = SPAN("(not text)");
    while (left.n > 0) {
        struct strbuf out = strbuf_on(mem, sizeof(mem));
        size_t most = PIECE;
        struct span piece = piece_of(left, most);

        while (
            !add_line(&out, &h, format, piece)) /* what is escaped takes up to six times as much */
            piece = piece_of(left, most /= 2);
        line(strbuf_span(&out));
        left.p += piece.n;
        left.n -= piece.n;
        h.part++;
    }
    strbuf_release(&p->text);
    *p = (struct payload){0};
}
