/* clock.h - the two clocks, read only by loops and by main; everybody else is told the time. */
#ifndef HOLDFAST_BASE_CLOCK_H
#define HOLDFAST_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_us(void);      /* monotonic: for timers and durations */
uint64_t clock_wall_ms(void); /* UTC since 1970: for logs and HTTP dates only */

/* Monotonic milliseconds in which the time counts that the machine was asleep. */
uint64_t clock_boot_ms(void);

#endif
