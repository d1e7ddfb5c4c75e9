#include "proxy/base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/mem.h"

#define BLOCK_BYTES 2048 /* with its header; an ordinary small exchange takes two or three */
#define ALIGN       16

struct arena_block {
    struct arena_block *older;
    size_t size; /* with this header */
};

#define HEADER_BYTES ((sizeof(struct arena_block) + ALIGN - 1) / ALIGN * ALIGN)

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

static void open_block(struct arena *a, struct arena_block *b)
{
    a->at = (char *)b + HEADER_BYTES;
    a->end = (char *)b + b->size;
}

static void drop_block(struct arena *a, struct arena_block *b)
{
    if (b != NULL)
        a->total -= b->size;
    free(b);
}

void arena_reset(struct arena *a)
{
    struct arena_block *kept = NULL, *older;

    for (struct arena_block *b = a->blocks; b != NULL; b = older) {
        older = b->older;
        if (b->size == BLOCK_BYTES) {
            drop_block(a, kept);
            kept = b;
        } else {
            drop_block(a, b);
        }
    }
    a->blocks = kept;
    if (kept != NULL) {
        kept->older = NULL;
        open_block(a, kept);
    } else {
        a->at = a->end = NULL;
    }
}

void arena_release(struct arena *a)
{
    while (a->blocks != NULL) {
        struct arena_block *older = a->blocks->older;

        free(a->blocks);
        a->blocks = older;
    }
    arena_init(a);
}

static struct arena_block *add_block(struct arena *a, size_t bytes)
{
    struct arena_block *b = mem_alloc(bytes);

    b->older = a->blocks;
    b->size = bytes;
    a->blocks = b;
    a->total += bytes;
    return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t need = (size + ALIGN - 1) / ALIGN * ALIGN;
    char *p;

    if (need > (size_t)(a->end - a->at)) {
        bool large = need + HEADER_BYTES > BLOCK_BYTES;
        struct arena_block *b = add_block(a, large ? need + HEADER_BYTES : BLOCK_BYTES);

        if (large && b->older != NULL) {
            /* It fills its block: the one before it has room for others still. */
            a->blocks = b->older;
            b->older = a->blocks->older;
            a->blocks->older = b;
            return (char *)b + HEADER_BYTES;
        }
        open_block(a, b);
    }
    p = a->at;
    a->at += need;
    return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    return memset(arena_alloc(a, size), 0, size);
}

struct span arena_copy(struct arena *a, struct span s)
{
    char *p;

    if (s.n == 0)
        return (struct span){"", 0};
    p = arena_alloc(a, s.n);
    memcpy(p, s.p, s.n);
    return (struct span){p, s.n};
}

char *arena_strdup(struct arena *a, struct span s)
{
    char *p = arena_alloc(a, s.n + 1);

    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

struct span arena_join(struct arena *a, struct span first, struct span then)
{
    char *p = arena_alloc(a, first.n + then.n);

    memcpy(p, first.p, first.n);
    memcpy(p + first.n, then.p, then.n);
    return (struct span){p, first.n + then.n};
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    char *here = a->at, *p;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(here, (size_t)(a->end - here), fmt, ap);
    va_end(ap);
    p = arena_alloc(a, (size_t)n + 1);
    if (p == here)
        return p; /* it had room, and stands there already */
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}
