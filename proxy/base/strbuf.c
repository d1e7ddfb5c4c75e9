#include "proxy/base/strbuf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/mem.h"

struct strbuf strbuf_heap(size_t max)
{
    return (struct strbuf){.max = max};
}

struct strbuf strbuf_in(struct arena *a, size_t max)
{
    return (struct strbuf){.max = max, .arena = a};
}

struct strbuf strbuf_on(char *mem, size_t size)
{
    assert(size > 0);
    mem[0] = '\0';
    return (struct strbuf){.buf = mem, .cap = size, .max = size - 1, .fixed = true};
}

void strbuf_release(struct strbuf *s)
{
    if (s->fixed) {
        strbuf_clear(s);
        return;
    }
    if (s->arena == NULL)
        free(s->buf);
    *s = (struct strbuf){.max = s->max, .arena = s->arena};
}

void strbuf_clear(struct strbuf *s)
{
    s->len = 0;
    s->failed = false;
    if (s->buf != NULL)
        s->buf[0] = '\0';
}

/* Doubles, so that n appended bytes cost O(n) in all. */
static void grow(struct strbuf *s, size_t need)
{
    size_t cap = s->cap != 0 ? s->cap : 64;

    while (cap < need)
        cap *= 2;
    if (cap - 1 > s->max)
        cap = s->max + 1;
    if (s->arena != NULL) {
        char *p = arena_alloc(s->arena, cap);

        if (s->len > 0)
            memcpy(p, s->buf, s->len);
        s->buf = p;
    } else {
        s->buf = mem_grow(s->buf, cap);
    }
    s->cap = cap;
}

void strbuf_expect(struct strbuf *s, size_t n)
{
    if (!s->failed && n <= s->max - s->len && s->len + n + 1 > s->cap)
        grow(s, s->len + n + 1);
}

char *strbuf_room(struct strbuf *s, size_t n)
{
    if (s->failed || n > s->max - s->len) {
        s->failed = true;
        return NULL;
    }
    if (s->len + n + 1 > s->cap)
        grow(s, s->len + n + 1);
    return s->buf + s->len;
}

void strbuf_added(struct strbuf *s, size_t n)
{
    assert(s->len + n < s->cap);
    s->len += n;
    s->buf[s->len] = '\0';
}

void strbuf_add_u64(struct strbuf *s, uint64_t v)
{
    char digits[20];
    size_t n = sizeof(digits);

    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    strbuf_add_n(s, digits + n, sizeof(digits) - n);
}

void strbuf_addf(struct strbuf *s, const char *fmt, ...)
{
    size_t room = s->failed ? 0 : s->cap - s->len;
    va_list ap;
    int n;
    char *to;

    va_start(ap, fmt);
    n = vsnprintf(room > 0 ? s->buf + s->len : NULL, room, fmt, ap);
    va_end(ap);
    assert(n >= 0);
    if ((size_t)n < room) {
        s->len += (size_t)n;
        return;
    }
    if (room > 0)
        s->buf[s->len] = '\0';
    to = strbuf_room(s, (size_t)n);
    if (to == NULL)
        return;
    va_start(ap, fmt);
    vsnprintf(to, (size_t)n + 1, fmt, ap);
    va_end(ap);
    strbuf_added(s, (size_t)n);
}

void strbuf_drop_front(struct strbuf *s, size_t n)
{
    assert(n <= s->len);
    if (n == 0)
        return;
    memmove(s->buf, s->buf + n, s->len - n);
    s->len -= n;
    s->buf[s->len] = '\0';
}
