#include "proxy/seam_compare.h"

#include <stdint.h>

#define TAIL       120 /* characters of an end that are looked at for repetitions */
#define REPEATED   4   /* ... of which so many are enough */
#define NEAR       64  /* characters compared one by one */
#define NEAR_LEAST 8
#define WORDS      128

#define PAIRS          3 /* fewer may be chance */
#define WORDS_BEFORE   12
#define WORDS_LEFT_OUT 4
#define NO_CHARACTER   0x110000u /* and above: a byte that belongs to none */

/* ---- characters ---- */

static bool is_inner(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Bytes that a character with this first byte has. */
static size_t length_by(char c)
{
    unsigned char b = (unsigned char)c;

    return b < 0xc0 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : b < 0xf8 ? 4 : 1;
}

static size_t char_length(struct span text)
{
    size_t want = length_by(text.p[0]), n = 1;

    while (n < want && n < text.n && is_inner(text.p[n]))
        n++;
    return n == want ? n : 1;
}

/* Takes the first character off. */
static unsigned next_char(struct span *rest)
{
    static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    size_t n = char_length(*rest);
    unsigned code = (unsigned char)rest->p[0];

    if (n == 1 && code >= 0x80)
        code += NO_CHARACTER;
    else
        code &= first_bits[n];
    for (size_t i = 1; i < n; i++)
        code = code << 6 | ((unsigned char)rest->p[i] & 0x3f);
    rest->p += n;
    rest->n -= n;
    return code;
}

/* Takes the last character off. */
static unsigned last_char(struct span *rest)
{
    size_t n = 1;
    struct span last;

    while (n < 4 && n < rest->n && is_inner(rest->p[rest->n - n]))
        n++;
    last = (struct span){rest->p + rest->n - n, n};
    if (char_length(last) != n)
        last = (struct span){rest->p + rest->n - 1, 1};
    rest->n -= last.n;
    return next_char(&last);
}

size_t compare_whole(struct span text)
{
    size_t back = 1;

    while (back < 4 && back < text.n && is_inner(text.p[text.n - back]))
        back++;
    if (text.n == 0 || length_by(text.p[text.n - back]) <= back)
        return text.n;
    return text.n - back;
}

size_t compare_chars(struct span text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++)
        n += !is_inner(text.p[i]);
    return n;
}

struct span compare_first(struct span text, size_t chars)
{
    struct span rest = text;

    while (chars-- > 0 && rest.n > 0)
        next_char(&rest);
    return (struct span){text.p, text.n - rest.n};
}

static bool is_space(unsigned c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* The scripts that write words without spaces between them: here every character is a word. */
static bool is_ideograph(unsigned c)
{
    return (c >= 0x2e80 && c < 0xa4d0) || (c >= 0xac00 && c < 0xd7b0) ||
           (c >= 0xf900 && c < 0xfb00) || (c >= 0x20000 && c < 0x32000);
}

static bool is_punctuation(unsigned c)
{
    return (c >= 0xa1 && c <= 0xbf && c != 0xaa && c != 0xb5 && c != 0xba) || c == 0xd7 ||
           c == 0xf7 || (c >= 0x2010 && c <= 0x206f) || (c >= 0x2190 && c <= 0x2bff) ||
           (c >= 0x3000 && c <= 0x303f) || (c >= 0xfe10 && c <= 0xfe6f) ||
           (c >= 0xff00 && c <= 0xff0f) || (c >= 0xff1a && c <= 0xff20) || c == 0xfffd;
}

static bool is_letter(unsigned c)
{
    if (c < 0x80)
        return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    return c < NO_CHARACTER && !is_space(c) && !is_punctuation(c);
}

/* Belongs to the character before it. */
static bool is_mark(unsigned c)
{
    return (c >= 0x300 && c <= 0x36f) || c == 0x200d || (c >= 0xfe00 && c <= 0xfe0f) ||
           (c >= 0x1f3fb && c <= 0x1f3ff);
}

struct span compare_trim_start(struct span text)
{
    struct span rest = text;

    while (rest.n > 0 && is_space(next_char(&rest)))
        text = rest;
    return text;
}

struct span compare_trim_end(struct span text)
{
    struct span rest = text;

    while (rest.n > 0 && is_space(last_char(&rest)))
        text = rest;
    return text;
}

bool compare_starts_in_word(struct span text)
{
    return text.n > 0 && is_letter(next_char(&text));
}

bool compare_ends_in_word(struct span text)
{
    return text.n > 0 && is_letter(last_char(&text));
}

bool compare_may_end(struct span text)
{
    unsigned c = text.n > 0 ? last_char(&text) : 0;

    switch (c) {
    case 0x00bb: /* closing quotes */
    case 0x2019:
    case 0x201c:
    case 0x201d:
    case 0x2026: /* ellipsis */
    case 0x3002: /* ideographic full stop, closing brackets, full-width marks */
    case 0x300d:
    case 0x300f:
    case 0x3011:
    case 0xff01:
    case 0xff09:
    case 0xff1f:
        return true;
    default:
        return c != 0 && c < 0x80 && strchr(".!?)]}>\"'`*_|;", (int)c) != NULL;
    }
}

/* ---- tolerance ---- */

static unsigned plain_form(unsigned c)
{
    if (c < 0x80)
        return is_space(c) ? ' ' : c;
    if (is_space(c))
        return ' ';
    if (c == 0xab || c == 0xbb || (c >= 0x201c && c <= 0x201f) || c == 0x2033)
        return '"';
    if ((c >= 0x2018 && c <= 0x201b) || c == 0x2032)
        return '\'';
    if ((c >= 0x2010 && c <= 0x2015) || c == 0x2212)
        return '-';
    return c;
}

/* The next character in its plain form; a run of white space is one. */
static unsigned next_plain(struct span *rest)
{
    unsigned c = plain_form(next_char(rest));

    if (c == ' ')
        *rest = compare_trim_start(*rest);
    return c;
}

struct span compare_find(struct span text, struct span what)
{
    for (; text.n > 0; next_char(&text)) {
        struct span rest = text, left = what;

        while (rest.n > 0 && left.n > 0 && next_plain(&rest) == next_plain(&left))
            if (left.n == 0)
                return (struct span){text.p, text.n - rest.n};
        if (rest.n == 0)
            return (struct span){text.p, 0};
    }
    return (struct span){0};
}

/* ---- ends ---- */

bool compare_repeats(struct span text)
{
    unsigned last[TAIL], n = 0;

    while (n < TAIL && text.n > 0) {
        unsigned c = plain_form(last_char(&text));

        if (c != ' ' || n == 0 || last[n - 1] != ' ')
            last[n++] = c;
    }
    for (unsigned period = 1; 2 * period <= n; period++) {
        unsigned run = period;

        while (run < n && last[run] == last[run - period])
            run++;
        if (run >= 2 * period && run >= REPEATED)
            return true;
    }
    return false;
}

/* May a word begin between `before` and `from`? */
static bool begins_word(struct span before, struct span from)
{
    unsigned left, right;

    if (before.n == 0)
        return true;
    left = last_char(&before);
    right = next_char(&from);
    return is_ideograph(right) || !is_letter(left) || !is_letter(right);
}

static bool stands_once(struct span text, struct span end)
{
    return compare_find(text, end).p == end.p;
}

static struct span find_anchor(struct span text, size_t least, size_t most, bool word)
{
    struct span before = text;
    size_t next = least; /* one that stands elsewhere too is not tried again a character longer */

    for (size_t chars = 1; chars <= most && before.n > 0; chars++) {
        unsigned first = last_char(&before);
        struct span end = {before.p + before.n, text.n - before.n};

        if (before.n == 0 && next > chars)
            next = chars;
        if (chars < next || is_space(first) || is_mark(first) ||
            (word && !begins_word(before, end)))
            continue;
        if (stands_once(text, end))
            return end;
        next = chars + 8;
    }
    return (struct span){0};
}

struct span compare_anchor(struct span text, size_t least, size_t most)
{
    struct span anchor = find_anchor(text, least, most, true);

    return anchor.p != NULL ? anchor : find_anchor(text, least, most, false);
}

/* ---- beginnings ---- */

static size_t plain_chars(struct span text, unsigned *out, size_t max)
{
    size_t n = 0;

    while (n < max && text.n > 0)
        out[n++] = next_plain(&text);
    return n;
}

/* How many characters are put in, left out or changed between `a` and that beginning of `b` which
 * is nearest to it. */
static size_t distance(const unsigned *a, size_t n, const unsigned *b, size_t m)
{
    size_t row[NEAR + NEAR / 4 + 1], least;

    for (size_t k = 0; k <= m; k++)
        row[k] = k;
    for (size_t i = 1; i <= n; i++) {
        size_t corner = row[0];

        row[0] = i;
        for (size_t k = 1; k <= m; k++) {
            size_t best = corner + (a[i - 1] != b[k - 1]);

            corner = row[k];
            if (row[k] + 1 < best)
                best = row[k] + 1;
            if (row[k - 1] + 1 < best)
                best = row[k - 1] + 1;
            row[k] = best;
        }
    }
    least = row[0];
    for (size_t k = 1; k <= m; k++)
        if (row[k] < least)
            least = row[k];
    return least;
}

bool compare_nearly_equal(struct span text, struct span start, size_t chars)
{
    unsigned a[NEAR], b[NEAR + NEAR / 4];
    size_t n = plain_chars(compare_first(text, chars), a, NEAR);
    size_t m = plain_chars(compare_first(start, COMPARE_REACH(chars)), b, n + n / 4);

    if (m < n)
        n = m; /* the new text is over */
    return n >= NEAR_LEAST && distance(a, n, b, m) <= n / 4;
}

/* The words as numbers; ASCII letters' case does not count. */
static size_t words_of(struct span text, uint32_t *out)
{
    size_t n = 0;
    uint32_t hash = 0;

    while (text.n > 0 && n < WORDS) {
        unsigned c = next_char(&text);

        if (hash != 0 && (!is_letter(c) || is_ideograph(c))) {
            out[n++] = hash;
            hash = 0;
        }
        if (is_letter(c))
            hash = (hash ^ (c < 0x80 ? c | 0x20 : c)) * 16777619u + 1;
        if (is_ideograph(c) && n < WORDS) {
            out[n++] = hash;
            hash = 0;
        }
    }
    if (hash != 0 && n < WORDS)
        out[n++] = hash;
    return n;
}

static bool has_pair(const uint32_t *words, size_t from, size_t to, const uint32_t *pair)
{
    for (size_t i = from; i + 1 < to; i++)
        if (words[i] == pair[0] && words[i + 1] == pair[1])
            return true;
    return false;
}

/* The same subject and the same few names have the same pairs anywhere, so only those count that
 * stand at about the same place: some words may stand in front, and one in four be put in or left
 * out on the way. */
bool compare_in_other_words(struct span text, struct span start, size_t chars)
{
    uint32_t a[WORDS], b[WORDS];
    size_t n = words_of(compare_first(text, chars), a), shared = 0;
    size_t m = words_of(compare_first(start, COMPARE_REACH(chars)), b);

    for (size_t i = 0; i + 1 < m; i++) {
        size_t from = i > WORDS_BEFORE ? i - WORDS_BEFORE : 0, to = i + i / 4 + WORDS_LEFT_OUT + 2;

        shared += has_pair(a, from, to < n ? to : n, b + i);
    }
    return shared >= PAIRS && 4 * shared >= m - 1;
}
