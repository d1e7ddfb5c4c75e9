#include "proxy/base/json.h"

#include <assert.h>

#include "proxy/base/attributes.h"
#include "proxy/base/json_scan.h"

static_assert(JSON_MAX_DEPTH % 64 == 0, "one bit for each depth");

static const char too_deep[] = "nested too deep";
static const char unexpected[] = "unexpected value";

/* Returns NULL, so that `return fail(...)` ends any of the skip functions below. They all take a
 * place in the text and return the place behind what they skipped. */
static const char *fail(struct json *j, const char *at, const char *problem)
{
    j->at = at;
    j->problem = problem;
    return NULL;
}

static const char *skip_space(const char *p, const char *end)
{
    /* Nearly always there is none, and what follows it is above all of it. */
    while (p < end && (unsigned char)*p <= ' ' &&
           (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* ---- scalars ---- */

static const bool one_letter[256] = {
    ['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true,
    ['f'] = true, ['n'] = true,  ['r'] = true, ['t'] = true,
};

/* At a backslash. */
static inline const char *skip_escape(struct json *j, const char *p)
{
    p++;
    if (p == j->end)
        return fail(j, p, "unfinished string");
    if (one_letter[(unsigned char)*p])
        return p + 1;
    if (*p != 'u')
        return fail(j, p, "unknown escape in a string");
    p++;
    for (int i = 0; i < 4; i++, p++)
        if (p == j->end || hex_digit(*p) < 0)
            return fail(j, p, "expected four hexadecimal digits after \\u");
    return p;
}

#if USE_SSE2
/* Behind a backslash, with room for what may stand there. */
static inline bool is_escape(const char *p)
{
    return one_letter[(unsigned char)*p] || (*p == 'u' && (hex_digit(p[1]) | hex_digit(p[2]) |
                                                           hex_digit(p[3]) | hex_digit(p[4])) >= 0);
}

/* Inside a string, over 64 bytes at a time. Stops at the closing quote, or before a block that is
 * not well-formed or too near to the end. */
static const char *skip_blocks(const char *p, const char *end)
{
    while (end - p >= 64 + 8) { /* an escape or a character may begin at the last byte */
        struct json_marks m = marks_at(p);
        uint64_t escapes = escaping(m.slashes), escaped = escapes << 1;
        uint64_t quotes = m.quotes & ~escaped, inside = (quotes - 1) & ~quotes;
        uint64_t others = inside & ((escaped & ~m.usual) | m.odd);
        size_t next = 64 - (escapes >> 63); /* what its last byte escapes is seen with it */

        while (others != 0) {
            size_t at = (size_t)__builtin_ctzll(others), n = 1;

            if ((escaped >> at & 1) != 0
                    ? !is_escape(p + at)
                    : (unsigned char)p[at] < 0x80 || (n = utf8_length(p + at, end)) == 0)
                return p;
            if (at + n >= 64) {
                next = at + n;
                break;
            }
            others &= ~(uint64_t)0 << (at + n);
        }
        if (quotes != 0)
            return p + __builtin_ctzll(quotes);
        p += next;
    }
    return p;
}
#endif

/* Inside a string, at a byte that is not plain or at the end. */
static const char *skip_rest(struct json *j, const char *p)
{
    const char *end = j->end;

#if USE_SSE2
    p = skip_plain(skip_blocks(p, end), end);
#endif
    for (;; p = skip_plain(p, end)) {
        if (p == end)
            return fail(j, p, "unfinished string");
        if (*p == '"')
            return p + 1;
        if (*p == '\\') {
            p = skip_escape(j, p);
            if (p == NULL)
                return NULL;
        } else if ((unsigned char)*p < 0x20) {
            return fail(j, p, "control character in a string");
        } else {
            /* Characters beyond ASCII come in words: stay here until the word ends. */
            do {
                size_t n = utf8_length(p, end);

                if (n == 0)
                    return fail(j, p, "not UTF-8");
                p += n;
            } while (p < end && (unsigned char)*p >= 0x80);
        }
    }
}

/* At the opening quote. */
static inline const char *skip_string(struct json *j, const char *p)
{
    const char *end = j->end;

    p = skip_plain(p + 1, end);
    return p < end && *p == '"' ? p + 1 : skip_rest(j, p);
}

static const char *skip_digits(struct json *j, const char *p)
{
    if (p == j->end || !is_digit(*p))
        return fail(j, p, "expected a digit");
    while (p < j->end && is_digit(*p))
        p++;
    return p;
}

/* At a minus sign or a digit. A second digit behind a leading zero is left to whoever looks for a
 * comma there. */
static const char *skip_number(struct json *j, const char *p)
{
    if (*p == '-')
        p++;
    if (p < j->end && *p == '0')
        p++;
    else if ((p = skip_digits(j, p)) == NULL)
        return NULL;
    if (p < j->end && *p == '.' && (p = skip_digits(j, p + 1)) == NULL)
        return NULL;
    if (p < j->end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < j->end && (*p == '+' || *p == '-'))
            p++;
        p = skip_digits(j, p);
    }
    return p;
}

static const char *skip_word(struct json *j, const char *p, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(j->end - p) < n || memcmp(p, word, n) != 0)
        return fail(j, p, "expected a value");
    return p + n;
}

static enum json_type type_at(const char *p, const char *end)
{
    if (p == end)
        return JSON_NONE;
    switch (*p) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return *p == '-' || is_digit(*p) ? JSON_NUMBER : JSON_NONE;
    }
}

enum json_type json_type_of(struct span raw)
{
    return raw.n != 0 ? type_at(raw.p, raw.p + raw.n) : JSON_NONE;
}

/* ---- containers ---- */

static bool in_object(const struct json *j)
{
    unsigned n = j->depth - 1;

    return (j->objects[n / 64] >> (n % 64) & 1) != 0;
}

/* At the opening bracket of an object or array: into it. */
static const char *open_container(struct json *j, const char *p)
{
    unsigned n = j->depth;
    uint64_t bit = (uint64_t)1 << (n % 64);

    if (n == JSON_MAX_DEPTH)
        return fail(j, p, too_deep);
    if (*p == '{')
        j->objects[n / 64] |= bit;
    else
        j->objects[n / 64] &= ~bit;
    j->depth++;
    j->first = true;
    j->at_value = false;
    return p + 1;
}

/* Over a key and its colon. *plain: there is no escape in it. */
static inline const char *skip_key(struct json *j, const char *p, bool *plain)
{
    const char *end = j->end, *key = p;

    if (p == end || *p != '"')
        return fail(j, p, "expected a key");
    p = skip_plain(p + 1, end);
    *plain = p < end && *p == '"';
    p = *plain ? p + 1 : skip_rest(j, p);
    if (p == NULL)
        return NULL;
    j->raw_key = (struct span){key, (size_t)(p - key)};
    p = skip_space(p, end);
    if (p == end || *p != ':')
        return fail(j, p, "expected ':' behind a key");
    return skip_space(p + 1, end);
}

/* A number or a word. */
static const char *skip_scalar(struct json *j, const char *p)
{
    switch (type_at(p, j->end)) {
    case JSON_NUMBER:
        return skip_number(j, p);
    case JSON_TRUE:
        return skip_word(j, p, "true");
    case JSON_FALSE:
        return skip_word(j, p, "false");
    case JSON_NULL:
        return skip_word(j, p, "null");
    default:
        return fail(j, p, "expected a value");
    }
}

/* A value with all its content. The same walk as by begin_value and advance, and the same findings,
 * with its state in variables of its own: nobody looks at the reader meanwhile, and what passes
 * here is most of all JSON. */
static const char *skip_value(struct json *j, const char *p)
{
    const char *end = j->end;
    unsigned outside = j->depth, depth = outside;
    uint64_t objects[ARRAY_LEN(j->objects)];
    bool object = false, plain;

    j->at_value = false;
    memcpy(objects, j->objects, sizeof(objects));
value:
    if (p < end && (*p == '{' || *p == '[')) {
        if (depth == JSON_MAX_DEPTH)
            return fail(j, p, too_deep);
        object = *p == '{';
        objects[depth / 64] &= ~((uint64_t)1 << (depth % 64));
        objects[depth / 64] |= (uint64_t)object << (depth % 64);
        depth++;
        p = skip_space(p + 1, end);
        if (p == end || *p != (object ? '}' : ']'))
            goto element;
    } else {
        p = p < end && *p == '"' ? skip_string(j, p) : skip_scalar(j, p);
        if (p == NULL)
            return NULL;
        goto behind;
    }
closed:
    p++;
    depth--;
    object = depth > outside && (objects[(depth - 1) / 64] >> ((depth - 1) % 64) & 1) != 0;
behind:
    if (depth == outside)
        return p;
    p = skip_space(p, end);
    if (p < end && *p == (object ? '}' : ']'))
        goto closed;
    if (p == end || *p != ',')
        return fail(j, p, object ? "expected ',' or '}'" : "expected ',' or ']'");
    p = skip_space(p + 1, end);
element:
    if (object && (p = skip_key(j, p, &plain)) == NULL)
        return NULL;
    goto value;
}

/* ---- the reader ---- */

struct json json_read(struct span text)
{
    const char *p = text.n != 0 ? text.p : "";
    struct json j = {.start = p, .end = p + text.n, .at_value = true};

    if (span_starts(text, "\xef\xbb\xbf"))
        p += 3;
    j.at = skip_space(p, j.end);
    return j;
}

enum json_type json_peek(const struct json *j)
{
    return j->problem == NULL && j->at_value ? type_at(j->at, j->end) : JSON_NONE;
}

bool json_enter(struct json *j, enum json_type container)
{
    const char *p;

    assert(container == JSON_OBJECT || container == JSON_ARRAY);
    if (json_peek(j) != container)
        return false;
    p = open_container(j, j->at);
    if (p == NULL)
        return false;
    j->at = p;
    return true;
}

/* To the next value of the innermost container, in an object to its key; NULL where that has ended,
 * or is no such container, or something failed. */
static inline const char *next(struct json *j, bool object)
{
    const char *end = j->end, *p;
    bool first = j->first;

    if (j->problem != NULL)
        return NULL;
    if (j->at_value || j->depth == 0 || in_object(j) != object)
        return fail(j, j->at, unexpected);
    j->first = false;
    p = skip_space(j->at, end);
    if (p < end && *p == (object ? '}' : ']')) {
        j->depth--;
        j->at = p + 1;
        return NULL;
    }
    if (first)
        return p;
    if (p == end || *p != ',')
        return fail(j, p, object ? "expected ',' or '}'" : "expected ',' or ']'");
    return skip_space(p + 1, end);
}

bool json_member(struct json *j, struct span *key)
{
    const char *p = next(j, true);
    bool plain;
    size_t n;

    if (p == NULL || (p = skip_key(j, p, &plain)) == NULL)
        return false;
    j->at = p;
    j->at_value = true;
    *key = without_quotes(j->raw_key);
    if (!plain && has_escape(*key) && json_decode(*key, j->key, sizeof(j->key), &n))
        *key = (struct span){j->key, n};
    return true;
}

bool json_item(struct json *j)
{
    const char *p = next(j, false);

    if (p == NULL)
        return false;
    j->at = p;
    j->at_value = true;
    return true;
}

struct span json_take(struct json *j)
{
    const char *from = j->at, *p;

    if (j->problem != NULL)
        return (struct span){0};
    if (j->at_value && from == j->known.p) {
        j->at_value = false;
        j->at = from + j->known.n;
        return j->known;
    }
    p = j->at_value ? skip_value(j, from) : fail(j, from, unexpected);
    if (p == NULL)
        return (struct span){0};
    j->at = p;
    return (struct span){from, (size_t)(p - from)};
}

void json_know(struct json *j, struct span raw)
{
    assert(raw.n == 0 || (raw.p >= j->at && raw.p + raw.n <= j->end));
    j->known = raw.n != 0 ? raw : (struct span){0};
}

bool json_end(struct json *j)
{
    if (j->problem != NULL)
        return false;
    if (j->at_value && j->at == j->end)
        fail(j, j->at, "expected a value");
    else if (j->at_value || j->depth > 0)
        fail(j, j->at, unexpected);
    else if ((j->at = skip_space(j->at, j->end)) != j->end)
        fail(j, j->at, "expected nothing behind the value");
    return j->problem == NULL;
}

int json_error(const struct json *j, struct err *e)
{
    const char *problem = j->problem != NULL ? j->problem : unexpected;
    enum err_code code = ERR_SYNTAX;
    size_t offset = (size_t)(j->at - j->start);
    unsigned char found;

    if (problem == too_deep)
        code = ERR_TOO_BIG;
    else if (problem == unexpected)
        code = ERR_VALUE;
    if (j->at == j->end)
        return err_set(e, code, "JSON: byte %zu: %s, found the end", offset, problem);
    found = (unsigned char)*j->at;
    if (found > 0x20 && found < 0x7f)
        return err_set(e, code, "JSON: byte %zu: %s, found '%c'", offset, problem, found);
    return err_set(e, code, "JSON: byte %zu: %s, found byte 0x%02x", offset, problem, found);
}

bool json_valid(struct span text)
{
    struct json j = json_read(text);

    json_take(&j);
    return json_end(&j);
}
