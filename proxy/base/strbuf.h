/* strbuf.h - text that grows up to a cap, and remembers when it could not.
 *
 * Append freely and look at `failed` once at the end: after the cap is passed nothing more is
 * added. The text is always NUL-terminated (the NUL is not counted, and the text may hold others).
 */
#ifndef HOLDFAST_BASE_STRBUF_H
#define HOLDFAST_BASE_STRBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proxy/base/arena.h"
#include "proxy/base/span.h"

struct strbuf {
    char *buf;           /* the text; NULL until the first append when on the heap or in an arena */
    size_t len;          /* bytes of text */
    size_t cap;          /* bytes that buf can hold, NUL included */
    size_t max;          /* len never passes this */
    struct arena *arena; /* where it grows; NULL: the heap, or caller's memory that does not grow */
    bool fixed;          /* caller's memory */
    bool failed;         /* something did not fit */
};

struct strbuf strbuf_heap(size_t max);                /* give back with strbuf_release */
struct strbuf strbuf_in(struct arena *a, size_t max); /* lives as long as the arena */
struct strbuf strbuf_on(char *mem, size_t size); /* caller's memory of `size` bytes, never grows */
void strbuf_release(struct strbuf *s);           /* frees a heap buffer; empty and usable after */

void strbuf_clear(struct strbuf *s); /* empty again, memory kept, `failed` forgotten */
static inline void strbuf_add_n(struct strbuf *s, const void *p, size_t n);
static inline void strbuf_add(struct strbuf *s, const char *text);
static inline void strbuf_add_span(struct strbuf *s, struct span text);
static inline void strbuf_add_char(struct strbuf *s, char c);
void strbuf_add_u64(struct strbuf *s, uint64_t v);
void strbuf_addf(struct strbuf *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* About n more bytes will come: room for them at once costs less than growing to it. */
void strbuf_expect(struct strbuf *s, size_t n);

/* Room for n more bytes at the end (NULL and `failed` when over the cap); strbuf_added says how
 * many were written. */
char *strbuf_room(struct strbuf *s, size_t n);
void strbuf_added(struct strbuf *s, size_t n);

/* Takes away the first n bytes. Linear in what remains. */
void strbuf_drop_front(struct strbuf *s, size_t n);

static inline struct span strbuf_span(const struct strbuf *s)
{
    return (struct span){s->buf, s->len};
}

/* Nearly everything that is written goes through here in small pieces whose lengths the compiler
 * knows, and there nearly always is room: hence inline. */
static inline void strbuf_add_n(struct strbuf *s, const void *p, size_t n)
{
    char *to;

    if (s->cap - s->len > n && !s->failed) /* with cap == 0 there is no room for n == 0 either */
        to = s->buf + s->len;
    else if ((to = strbuf_room(s, n)) == NULL)
        return;
    if (n > 0)
        memcpy(to, p, n);
    to[n] = '\0';
    s->len += n;
}

static inline void strbuf_add(struct strbuf *s, const char *text)
{
    strbuf_add_n(s, text, strlen(text));
}

static inline void strbuf_add_span(struct strbuf *s, struct span text)
{
    strbuf_add_n(s, text.p, text.n);
}

static inline void strbuf_add_char(struct strbuf *s, char c)
{
    strbuf_add_n(s, &c, 1);
}

#endif
