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

static bool ends_with(struct span name, const char *end)
{
    size_t n = strlen(end);

    return name.n >= n && span_is_nocase((struct span){name.p + name.n - n, n}, end);
}

/* The name of something that opens a door. Rather one too many: this is a log. */
static bool says_secret(struct span name)
{
    static const char *const parts[] = {"secret", "passw", "credential", "authorization", "cookie"};
    static const char *const ends[] = {"key", "token", "-auth", "_auth"};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (span_find_nocase(name, parts[i]) != NULL)
            return true;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (ends_with(name, ends[i]))
            return true;
    return false;
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

/* JSON stands inside JSON's strings too (the arguments of a tool call), and inside those again: its
 * quotes are then behind one backslash, or three. Behind how many is the quote at `i`? -1: there is
 * none. */
static int quote_depth(struct span s, size_t i)
{
    size_t from = i;

    while (i < s.n && s.p[i] == '\\')
        i++;
    return i < s.n && s.p[i] == '"' ? (int)(i - from) : -1;
}

/* The place behind the quote of this depth that ends what begins at `i`, or the end of the text. */
static size_t behind_quote(struct span s, size_t i, int depth)
{
    while (i < s.n) {
        int here = quote_depth(s, i);

        /* Before it may stand backslashes of the text itself, each 2 * (depth + 1) of them. */
        if (here >= 0 && here % (2 * (depth + 1)) == depth)
            return i + (size_t)here + 1;
        i += here >= 0 ? (size_t)here + 1 : s.p[i] == '\\' && i + 1 < s.n ? 2u : 1u;
    }
    return s.n;
}

static size_t skip_space(struct span s, size_t i)
{
    while (i < s.n && strchr(" \t\r\n", s.p[i]) != NULL)
        i++;
    return i;
}

/* Where the value at `i` ends: a text with its quotes, a list, or whatever else stands there. */
static size_t behind_value(struct span s, size_t i)
{
    int depth = quote_depth(s, i);
    const char *ends = i < s.n && s.p[i] == '[' ? "]" : i < s.n && s.p[i] == '{' ? "}" : ",}]\\ \n";

    if (depth >= 0)
        return behind_quote(s, i + (size_t)depth + 1, depth);
    while (i < s.n && strchr(ends, s.p[i]) == NULL)
        i++;
    return i < s.n && ends[1] == '\0' ? i + 1 : i;
}

/* Is there a member at `i` whose name says that it is secret? Then its value is from *value to
 * *end.
 */
static bool secret_member(struct span s, size_t i, size_t *value, size_t *end)
{
    int depth = quote_depth(s, i);
    size_t from = i + (size_t)depth + 1, to = from;

    if (depth < 0)
        return false;
    while (to < s.n && is_name(s.p[to]))
        to++;
    if (quote_depth(s, to) != depth || !says_secret((struct span){s.p + from, to - from}))
        return false;
    i = skip_space(s, to + (size_t)depth + 1);
    if (i == s.n || s.p[i] != ':')
        return false;
    *value = skip_space(s, i + 1);
    *end = behind_value(s, *value);
    return true;
}

/* The text with stars for the values of members that say that they are secret. */
static void hide_members(struct strbuf *text)
{
    struct span s = strbuf_span(text);
    size_t out = 0, i = 0;

    while (i < s.n) {
        size_t from = i, value, end, stars;

        if (secret_member(s, i, &value, &end)) {
            memmove(text->buf + out, s.p + from, value - from);
            out += value - from;
            stars = end - value < 3 ? end - value : 3;
            memset(text->buf + out, '*', stars);
            out += stars;
            i = end;
        } else { /* all of a run of backslashes: what is behind one is at no other depth */
            do
                text->buf[out++] = s.p[i];
            while (s.p[i++] == '\\' && i < s.n);
        }
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
