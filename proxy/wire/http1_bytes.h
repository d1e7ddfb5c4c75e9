/* http1_bytes.h - what a byte may be part of in an HTTP/1.1 message; for http1.c and http1_body.c
 * only. */
#ifndef HOLDFAST_WIRE_HTTP1_BYTES_H
#define HOLDFAST_WIRE_HTTP1_BYTES_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "proxy/base/span.h"
#include "proxy/wire/http1.h"

enum {
    TOKEN = 1,  /* tchar of RFC 9110 5.6.2: methods, header names */
    TEXT = 2,   /* header values and reason phrases; nothing else is inside any line */
    TARGET = 4, /* request targets; "%" needs a second look */
    NAME = 8,   /* host names. The grammar of URIs allows more, but no name in use has it. */
    DIGIT = 16,
};

extern const uint8_t http1_bytes[256];

static inline bool is(char c, unsigned classes)
{
    return (http1_bytes[(unsigned char)c] & classes) != 0;
}

static inline size_t run_of(struct span s, unsigned classes)
{
    size_t n = 0;

    while (n < s.n && is(s.p[n], classes))
        n++;
    return n;
}

static inline struct span skip(struct span s, size_t n)
{
    return (struct span){s.p + n, s.n - n};
}

/* 0 to 15, or -1 */
static inline int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Sixteen bytes looked at together; a comparison gives 0xff for each byte where it holds. */
typedef uint8_t bytes16 __attribute__((vector_size(16)));

static inline bytes16 load16(const char *p)
{
    bytes16 v;

    memcpy(&v, p, sizeof v);
    return v;
}

/* The place of the first byte where a comparison held; 16 when there is none. */
static inline unsigned first_hit(bytes16 hits)
{
#ifdef __SSE2__
    return (unsigned)__builtin_ctz((unsigned)_mm_movemask_epi8((__m128i)hits) | 1u << 16);
#else
    for (unsigned i = 0; i < 16; i++)
        if (hits[i] != 0)
            return i;
    return 16;
#endif
}

/* Every check of these files returns false with *why filled, so that `return bad(...)` is one
 * step. */
static inline bool bad(struct http1_problem *why, unsigned status, const char *code,
                       const char *text)
{
    *why = (struct http1_problem){status, code, text};
    return false;
}

#endif
