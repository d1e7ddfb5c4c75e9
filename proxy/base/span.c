#include "proxy/base/span.h"

#include <strings.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#ifdef __SSE2__
/* At which of the sixteen bytes at p do these two stand, one behind the other? */
static inline __m128i pairs(const char *p, __m128i first, __m128i second)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i y = _mm_loadu_si128((const __m128i *)(const void *)(p + 1));

    return _mm_and_si128(_mm_cmpeq_epi8(x, first), _mm_cmpeq_epi8(y, second));
}

/* The needle at one of the first 16 * n places at p, if it ends before `end`. */
static const char *find_near(const char *p, unsigned n, const char *end, struct span needle)
{
    const __m128i first = _mm_set1_epi8(needle.p[0]), second = _mm_set1_epi8(needle.p[1]);

    for (; n > 0; n--, p += 16)
        for (unsigned at = (unsigned)_mm_movemask_epi8(pairs(p, first, second)); at != 0;
             at &= at - 1) {
            const char *here = p + __builtin_ctz(at);

            if ((size_t)(end - here) >= needle.n && memcmp(here, needle.p, needle.n) == 0)
                return here;
        }
    return NULL;
}
#endif

const char *span_find(struct span a, const char *needle)
{
    size_t n = strlen(needle), i = 0;

#ifdef __SSE2__
    /* 64 places at once, by the needle's first two bytes: most texts have those seldom. */
    if (n >= 2 && a.n >= n) {
        const __m128i first = _mm_set1_epi8(needle[0]), second = _mm_set1_epi8(needle[1]);
        const char *end = a.p + a.n, *found = NULL;

        for (; i + 64 + 1 <= a.n && found == NULL; i += 64) {
            const char *p = a.p + i;
            __m128i low = _mm_or_si128(pairs(p, first, second), pairs(p + 16, first, second));
            __m128i high = _mm_or_si128(pairs(p + 32, first, second), pairs(p + 48, first, second));

            if (_mm_movemask_epi8(_mm_or_si128(low, high)) != 0)
                found = find_near(p, 4, end, (struct span){needle, n});
        }
        for (; i + 16 + 1 <= a.n && found == NULL; i += 16)
            found = find_near(a.p + i, 1, end, (struct span){needle, n});
        if (found != NULL)
            return found;
    }
#endif
    return a.n == 0 ? NULL : memmem(a.p + i, a.n - i, needle, n);
}

const char *span_find_nocase(struct span a, const char *needle)
{
    size_t n = strlen(needle);

    for (size_t i = 0; n <= a.n && i <= a.n - n; i++)
        if ((n == 0 || ((a.p[i] ^ needle[0]) & ~('a' ^ 'A')) == 0) &&
            strncasecmp(a.p + i, needle, n) == 0)
            return a.p + i;
    return NULL;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct span span_trim(struct span a)
{
    while (a.n > 0 && is_blank(a.p[0])) {
        a.p++;
        a.n--;
    }
    while (a.n > 0 && is_blank(a.p[a.n - 1]))
        a.n--;
    return a;
}

bool span_to_u64(struct span a, uint64_t *out)
{
    uint64_t v = 0;

    if (a.n == 0 || a.n > 19)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (a.p[i] < '0' || a.p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(a.p[i] - '0');
    }
    *out = v;
    return true;
}

uint64_t span_hash(struct span a)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < a.n; i++)
        h = (h ^ (unsigned char)a.p[i]) * 0x100000001b3u;
    return h;
}

bool span_glob(struct span pattern, struct span text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, mark = 0;

    /* On a mismatch after a star, let that star swallow one character more. */
    while (t < text.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.n && pattern.p[p] == text.p[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}
