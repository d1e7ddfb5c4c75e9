/* mem.h - memory that is there or the process ends.
 *
 * Every buffer has a cap and new work is shed above a global one, so an allocation that still fails
 * leaves nothing sensible to do: the process says so and aborts, and its supervisor starts it anew.
 */
#ifndef HOLDFAST_BASE_MEM_H
#define HOLDFAST_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);         /* uninitialised; free() it */
void *mem_zalloc(size_t size);        /* zeroed; free() it */
void *mem_grow(void *p, size_t size); /* realloc */
char *mem_strdup(const char *s);      /* NULL gives NULL */
char *mem_strndup(const char *s, size_t n);

#endif
