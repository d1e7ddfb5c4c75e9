/* span.h - a view of bytes that somebody else owns. Not NUL-terminated; may hold NULs. */
#ifndef HOLDFAST_BASE_SPAN_H
#define HOLDFAST_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct span {
    const char *p;
    size_t n;
};

/* For printf: "%.*s", SPAN_ARG(s) */
#define SPAN_ARG(s)   (int)(s).n, (s).p
#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})

static inline struct span span_of(const char *s)
{
    return (struct span){s, s != NULL ? strlen(s) : 0};
}

static inline bool span_eq(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool span_is(struct span a, const char *s)
{
    size_t n = strlen(s);

    return a.n == n && (n == 0 || memcmp(a.p, s, n) == 0);
}

static inline bool span_starts(struct span a, const char *s)
{
    size_t n = strlen(s);

    return a.n >= n && (n == 0 || memcmp(a.p, s, n) == 0);
}

/* ASCII letters compare equal in either case; used for header names and tokens (RFC 9110 5.1). */
static inline bool span_eq_nocase(struct span a, struct span b)
{
    return a.n == b.n &&
           (a.n == 0 || (((a.p[0] ^ b.p[0]) & 0xdf) == 0 && strncasecmp(a.p, b.p, a.n) == 0));
}

static inline bool span_is_nocase(struct span a, const char *s)
{
    return span_eq_nocase(a, span_of(s));
}

static inline bool span_starts_nocase(struct span a, const char *s)
{
    size_t n = strlen(s);

    return a.n >= n && span_eq_nocase((struct span){a.p, n}, (struct span){s, n});
}

/* The first place of `needle` in `a`, or NULL. The second form ignores ASCII case. */
const char *span_find(struct span a, const char *needle);
const char *span_find_nocase(struct span a, const char *needle);

/* Without the spaces and tabs at both ends. */
struct span span_trim(struct span a);

/* Decimal digits only, no sign, at most 19 digits; false when it is anything else. */
bool span_to_u64(struct span a, uint64_t *out);

/* FNV-1a: spreads names over numbers; whoever chooses a name can choose its number. */
uint64_t span_hash(struct span a);

/* Does `text` match `pattern`, where * stands for any run of characters? Case counts. */
bool span_glob(struct span pattern, struct span text);

#endif
