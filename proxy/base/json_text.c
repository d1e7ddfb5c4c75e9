/* What raw values mean, and strings as we write them. */
#include "proxy/base/json.h"

#include <assert.h>

#include "proxy/base/json_scan.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

static bool is_surrogate(unsigned code)
{
    return code >= 0xd800 && code <= 0xdfff;
}

static unsigned hex4(const char *p)
{
    unsigned code = 0;

    for (int i = 0; i < 4; i++)
        code = code << 4 | (unsigned)hex_digit(p[i]);
    return code;
}

static size_t put_utf8(char out[4], unsigned code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* Decodes the \u escape that `text` starts with, or the two of a surrogate pair, into out. Returns
 * how many bytes of text it was. */
static size_t decode_u(struct span text, char out[4], size_t *n)
{
    unsigned code;
    size_t used = 6;

    assert(text.n >= 6);
    code = hex4(text.p + 2);
    if (code >= 0xd800 && code < 0xdc00 && text.n >= 12 && memcmp(text.p + 6, "\\u", 2) == 0) {
        unsigned low = hex4(text.p + 8);

        if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
            used = 12;
        }
    }
    *n = put_utf8(out, is_surrogate(code) ? 0xfffd : code);
    return used;
}

static char unescape(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c; /* quote, backslash, slash */
    }
}

/* Cuts the next piece off `rest`, the inside of a string: all up to the next escape, or one escape
 * decoded into `out`. */
static struct span next_piece(struct span *rest, char out[4])
{
    const char *slash = memchr(rest->p, '\\', rest->n);
    size_t used = slash != NULL ? (size_t)(slash - rest->p) : rest->n;
    struct span piece = {rest->p, used};

    if (used == 0) {
        assert(rest->n >= 2);
        piece = (struct span){out, 1};
        if (rest->p[1] == 'u') {
            used = decode_u(*rest, out, &piece.n);
        } else {
            out[0] = unescape(rest->p[1]);
            used = 2;
        }
    }
    rest->p += used;
    rest->n -= used;
    return piece;
}

/* Copies what is plain of the next sixteen bytes; false where there are not as many, or nothing of
 * them is. What is copied too much is written over. */
static inline bool copy_block(struct span *text, char *out, size_t room, size_t *n)
{
#if USE_SSE2
    if (text->n >= 16 && room - *n >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)text->p);
        __m128i slashes = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
        size_t used = (size_t)__builtin_ctz((unsigned)_mm_movemask_epi8(slashes) | 0x10000);

        _mm_storeu_si128((__m128i *)(void *)(out + *n), x);
        *text = (struct span){text->p + used, text->n - used};
        *n += used;
        return used != 0;
    }
#else
    (void)text, (void)out, (void)room, (void)n;
#endif
    return false;
}

bool json_decode(struct span text, char *out, size_t room, size_t *n)
{
    char escape[4];

    *n = 0;
    while (text.n > 0) {
        struct span piece;

        if (text.p[0] == '\\' && text.p[1] != 'u') {
            if (*n == room)
                return false;
            out[(*n)++] = unescape(text.p[1]);
            text = (struct span){text.p + 2, text.n - 2};
            continue;
        }
        if (copy_block(&text, out, room, n))
            continue;
        piece = next_piece(&text, escape);
        if (piece.n > room - *n)
            return false;
        memcpy(out + *n, piece.p, piece.n);
        *n += piece.n;
    }
    return true;
}

bool json_is_string(struct span raw, const char *text)
{
    struct span want = span_of(text), rest;
    char escape[4];

    if (json_type_of(raw) != JSON_STRING)
        return false;
    rest = without_quotes(raw);
    if (rest.n > 0 && rest.p[0] != '\\' && rest.p[0] != text[0])
        return false; /* as nearly all that are not equal */
    if (rest.n > 0 && rest.n == want.n && memcmp(rest.p, want.p, rest.n) == 0)
        return !has_escape(rest); /* which would make it shorter */
    while (rest.n > 0) {
        struct span piece = next_piece(&rest, escape);

        if (piece.n > want.n || memcmp(piece.p, want.p, piece.n) != 0)
            return false;
        want.p += piece.n;
        want.n -= piece.n;
    }
    return want.n == 0;
}

bool json_to_bool(struct span raw, bool *out)
{
    if (!span_is(raw, "true") && !span_is(raw, "false"))
        return false;
    *out = raw.p[0] == 't';
    return true;
}

bool json_to_i64(struct span raw, int64_t *out)
{
    bool minus = raw.n > 0 && raw.p[0] == '-';
    int64_t v = 0;

    if (raw.n == (minus ? 1 : 0))
        return false;
    for (size_t i = minus ? 1 : 0; i < raw.n; i++) {
        int digit = raw.p[i] - '0';

        /* Counted downwards where it is negative: INT64_MIN has no positive twin. */
        if (!is_digit(raw.p[i]) || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, minus ? -digit : digit, &v))
            return false;
    }
    *out = v;
    return true;
}

struct span json_text(struct span raw, struct arena *a)
{
    struct span text;
    char *copy;
    size_t n;

    if (json_type_of(raw) != JSON_STRING)
        return (struct span){0};
    text = without_quotes(raw);
    if (!has_escape(text))
        return text;
    copy = arena_alloc(a, text.n);
    json_decode(text, copy, text.n, &n);
    return (struct span){copy, n};
}

bool json_add_text(struct strbuf *out, struct span raw)
{
    struct span rest;
    char escape[4];
    bool whole = true;

    if (json_type_of(raw) != JSON_STRING)
        return false;
    rest = without_quotes(raw);
    while (rest.n > 0) {
        struct span at = rest, piece = next_piece(&rest, escape);

        if (piece.p == escape && at.p[1] == 'u' && at.n - rest.n == 6)
            whole &= !is_surrogate(hex4(at.p + 2));
        strbuf_add_span(out, piece);
    }
    return whole;
}

/* ---- writing ---- */

static void add_escape(struct strbuf *out, char c)
{
    switch (c) {
    case '"':
        strbuf_add(out, "\\\"");
        break;
    case '\\':
        strbuf_add(out, "\\\\");
        break;
    case '\n':
        strbuf_add(out, "\\n");
        break;
    case '\r':
        strbuf_add(out, "\\r");
        break;
    case '\t':
        strbuf_add(out, "\\t");
        break;
    default:
        strbuf_addf(out, "\\u%04x", (unsigned char)c);
        break;
    }
}

void json_add_string(struct strbuf *out, struct span text)
{
    const char *p = text.n != 0 ? text.p : "", *end = p + text.n;

    strbuf_add_char(out, '"');
    while (p < end) {
        const char *run = p;
        size_t n;

        /* As long a run as needs no change. */
        do {
            p = skip_plain(p, end);
            n = p < end && (unsigned char)*p >= 0x80 ? utf8_length(p, end) : 0;
            p += n;
        } while (n != 0);
        strbuf_add_n(out, run, (size_t)(p - run));
        if (p == end)
            break;
        if ((unsigned char)*p >= 0x80)
            strbuf_add(out, REPLACEMENT);
        else
            add_escape(out, *p);
        p++;
    }
    strbuf_add_char(out, '"');
}

void json_add_name(struct strbuf *out, const char *name)
{
    strbuf_add_char(out, '"');
    strbuf_add(out, name);
    strbuf_add(out, "\":");
}

void json_splice(struct strbuf *out, struct span document, const struct json_edit *edits, size_t n)
{
    struct span rest = document;

    for (size_t i = 0; i < n; i++) {
        struct span old = edits[i].old;
        size_t keep = (size_t)(old.p - rest.p);

        assert(old.p >= rest.p && keep <= rest.n && old.n <= rest.n - keep);
        strbuf_add_n(out, rest.p, keep);
        strbuf_add_span(out, edits[i].now);
        rest = (struct span){old.p + old.n, rest.n - keep - old.n};
    }
    strbuf_add_span(out, rest);
}
