/* backoff.h - a time that doubles with each repetition, up to a cap.
 */
#ifndef HOLDFAST_BASE_BACKOFF_H
#define HOLDFAST_BASE_BACKOFF_H

#include <stdint.h>

/* base_ms doubled `times` times, at most cap_ms. */
static inline uint64_t backoff_ms(uint64_t base_ms, unsigned times, uint64_t cap_ms)
{
    for (; times > 0 && base_ms < cap_ms; times--)
        base_ms *= 2;
    return base_ms < cap_ms ? base_ms : cap_ms;
}

#endif
