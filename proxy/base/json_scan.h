/* json_scan.h - the bytes inside a JSON string, for json.c and json_text.c alone.
 *
 * Long strings are most of all traffic, so skip_plain decides how fast we read. JSON_PORTABLE
 * leaves out its vector code, so that a test can run what other processors get.
 */
#ifndef HOLDFAST_BASE_JSON_SCAN_H
#define HOLDFAST_BASE_JSON_SCAN_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proxy/base/span.h"

#if defined(__SSE2__) && !defined(JSON_PORTABLE)
#define USE_SSE2 1
#include <emmintrin.h>
#else
#define USE_SSE2 0
#endif

/* The inside of a raw string. */
static inline struct span without_quotes(struct span raw)
{
    assert(raw.n >= 2);
    return (struct span){raw.p + 1, raw.n - 2};
}

static inline bool has_escape(struct span text)
{
    return memchr(text.p, '\\', text.n) != NULL;
}

/* Decodes the inside of a valid string into `out`. False if it is more than `room` bytes; text.n
 * bytes are always enough. */
bool json_decode(struct span text, char *out, size_t room, size_t *n);

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In a string these stand for themselves, one byte each. */
static inline bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

#if USE_SSE2
/* Which of the sixteen bytes at p are not plain, as bits. */
static inline uint64_t specials_16(const char *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i low = _mm_cmplt_epi8(x, _mm_set1_epi8(0x20)); /* controls, and 0x80 and above */
    __m128i special =
        _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('"')), _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, special));
}

/* What stands where among 64 bytes, as bits. */
struct json_marks {
    uint64_t quotes, slashes;
    uint64_t usual; /* what is escaped most: quotes, backslashes, n and t */
    uint64_t odd;   /* controls, and 0x80 and above */
};

static inline void mark_16(struct json_marks *m, const char *p, unsigned shift)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i quotes = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
    __m128i slashes = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
    __m128i letters =
        _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('n')), _mm_cmpeq_epi8(x, _mm_set1_epi8('t')));
    __m128i usual = _mm_or_si128(_mm_or_si128(quotes, slashes), letters);
    __m128i odd = _mm_cmplt_epi8(x, _mm_set1_epi8(0x20));

    m->quotes |= (uint64_t)(unsigned)_mm_movemask_epi8(quotes) << shift;
    m->slashes |= (uint64_t)(unsigned)_mm_movemask_epi8(slashes) << shift;
    m->usual |= (uint64_t)(unsigned)_mm_movemask_epi8(usual) << shift;
    m->odd |= (uint64_t)(unsigned)_mm_movemask_epi8(odd) << shift;
}

static inline struct json_marks marks_at(const char *p)
{
    struct json_marks m = {0};

    mark_16(&m, p, 0);
    mark_16(&m, p + 16, 16);
    mark_16(&m, p + 32, 32);
    mark_16(&m, p + 48, 48);
    return m;
}

/* Which of these backslashes begin an escape, the one before them being none: every second of
 * those that stand in a row. Adding its first one clears a row. */
static inline uint64_t escaping(uint64_t slashes)
{
    const uint64_t even = 0x5555555555555555u;
    uint64_t firsts = slashes & ~(slashes << 1);
    uint64_t from_even = slashes & ~(slashes + (firsts & even));

    return (from_even & even) | (slashes & ~from_even & ~even);
}
#else
/* Is any of the eight bytes not plain? A byte b is below n (n <= 128) where b - n borrows and b has
 * no high bit; the borrow of one byte can spoil only bytes above one that is itself below n, so
 * the answer for the whole word is exact. */
static inline bool has_special(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
    uint64_t below = (word - ones * 0x20) & ~word;
    uint64_t zero = ((quote - ones) & ~quote) | ((slash - ones) & ~slash);

    return ((word | below | zero) & highs) != 0;
}
#endif

/* The first byte that is not plain, or the end. */
static inline const char *skip_plain(const char *p, const char *end)
{
#if USE_SSE2
    while (end - p >= 16) {
        uint64_t special = specials_16(p);

        if (special != 0)
            return p + __builtin_ctzll(special);
        p += 16;
    }
#else
    while (end - p >= 8) {
        uint64_t word;

        memcpy(&word, p, sizeof(word));
        if (has_special(word))
            break;
        p += 8;
    }
#endif
    while (p < end && is_plain(*p))
        p++;
    return p;
}

static inline bool is_continuation(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* How many bytes the well-formed UTF-8 character has that starts with the byte >= 0x80 at `s`, or
 * 0 (RFC 3629 section 4: no overlong form, no surrogate, nothing above U+10FFFF). */
static inline size_t utf8_length(const char *s, const char *end)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t left = (size_t)(end - s);

    if (p[0] < 0xc2 || left < 2 || !is_continuation(p[1]))
        return 0;
    if (p[0] < 0xe0)
        return 2;
    if (left < 3 || !is_continuation(p[2]))
        return 0;
    if (p[0] < 0xf0)
        return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ? 0 : 3;
    if (left < 4 || !is_continuation(p[3]))
        return 0;
    return p[0] > 0xf4 || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90) ? 0 : 4;
}

#endif
