/* fuzz.h - what every fuzz target of a dialect's reader asks for. */
#ifndef HOLDFAST_TESTS_FUZZ_H
#define HOLDFAST_TESTS_FUZZ_H

#include <stdint.h>
#include <stdlib.h>

#include "providers/dialect.h"

#define MAX_EVENT (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void require(bool condition)
{
    if (!condition)
        abort();
}

static inline void check_text(const char *text, size_t size)
{
    size_t n = strnlen(text, size);

    require(n < size);
    for (size_t i = 0; i < n; i++)
        require((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
}

static inline void check_error(const struct chat_error *e)
{
    check_text(e->message, sizeof(e->message));
    check_text(e->type, sizeof(e->type));
    check_text(e->code, sizeof(e->code));
    check_text(e->param, sizeof(e->param));
    require(e->message[0] != '\0');
}

#endif
