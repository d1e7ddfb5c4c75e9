#include "proxy/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_die(void *p, size_t size)
{
    if (p == NULL) {
        fprintf(stderr, "holdfast: out of memory (%zu bytes)\n", size);
        abort();
    }
    return p;
}

void *mem_alloc(size_t size)
{
    return or_die(malloc(size != 0 ? size : 1), size);
}

void *mem_zalloc(size_t size)
{
    return or_die(calloc(1, size != 0 ? size : 1), size);
}

void *mem_grow(void *p, size_t size)
{
    return or_die(realloc(p, size != 0 ? size : 1), size);
}

char *mem_strdup(const char *s)
{
    return s == NULL ? NULL : mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t n)
{
    char *copy = mem_alloc(n + 1);

    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}
