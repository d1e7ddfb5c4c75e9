/* repeat.h - the same trouble again and again: told once, then counted.
 *
 * The first of a kind is told at once. What comes of it within the interval is only counted, and
 * told as one summary when that is over: how often, and the last of them in its own words. The
 * next interval is twice as long, up to the longest. An interval in which nothing came ends it, and
 * what comes then is told at once again. So a trouble that lasts costs a line a minute, and none of
 * it is told later than the longest interval.
 *
 * What a kind is, the caller says by a number. Its memory is bounded: kinds that find no room are
 * counted together, and their summary quotes the last of them.
 *
 * Pure: time is passed in, and what is to be told is given back. No lock.
 */
#ifndef HOLDFAST_BASE_REPEAT_H
#define HOLDFAST_BASE_REPEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/span.h"

#define REPEAT_KINDS      64
#define REPEAT_TEXT       512   /* bytes that a summary quotes */
#define REPEAT_FIRST_MS   10000 /* the first interval of a kind */
#define REPEAT_LONGEST_MS 60000

struct repeat_kind {
    uint64_t kind;
    uint64_t since_ms, until_ms; /* the interval; until 0: the place is free */
    uint64_t times;              /* counted, not told */
    int level;
    size_t n; /* of the text */
    char text[REPEAT_TEXT];
};

/* Zero at first. The last place is for kinds without one. */
struct repeats {
    struct repeat_kind kinds[REPEAT_KINDS + 1];
};

/* A summary: its text is good until the next call. */
struct repeat_summary {
    int level;
    uint64_t times, ms;
    struct span last;
};

/* One more of a kind. True: tell it now. False: it is counted. */
bool repeat_tell(struct repeats *r, uint64_t kind, int level, struct span text, uint64_t now_ms);

/* The next summary that is due, with `all` of those that are not due as well. False: no more. */
bool repeat_summarise(struct repeats *r, bool all, uint64_t now_ms, struct repeat_summary *out);

/* When the first one will be due; UINT64_MAX: nothing is counted. */
uint64_t repeat_due_ms(const struct repeats *r);

#endif
