/* arena.h - memory that lives as long as one exchange and is given back at once.
 *
 * Nothing from an arena is freed by hand. Allocation is a pointer bump; a block is added when the
 * current one is full. There is no cap here: whoever copies something from outside into an arena
 * has checked its size before.
 */
#ifndef HOLDFAST_BASE_ARENA_H
#define HOLDFAST_BASE_ARENA_H

#include <stddef.h>

#include "proxy/base/attributes.h"
#include "proxy/base/span.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* the one with room first */
    char *at, *end;             /* free room in that */
    size_t total;               /* bytes asked from the system */
};

void arena_init(struct arena *a);    /* takes no memory yet */
void arena_reset(struct arena *a);   /* forgets all, keeps one small block for the next use */
void arena_release(struct arena *a); /* gives everything back */

void *arena_alloc(struct arena *a, size_t size);  /* uninitialised, 16-byte aligned; never NULL */
void *arena_zalloc(struct arena *a, size_t size); /* zeroed */
struct span arena_copy(struct arena *a, struct span s);
char *arena_strdup(struct arena *a, struct span s); /* NUL-terminated */
struct span arena_join(struct arena *a, struct span first, struct span then);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
