/* like.h - an event that is like the one before but for its values.
 *
 * The pieces of an answer come in events that differ in the piece alone, and in some padding, a
 * number or a count. Who has read one knows what all that are like it mean: only those values,
 * which are strings or numbers with nothing but themselves in them, have to be read again.
 */
#ifndef HOLDFAST_PROVIDERS_LIKE_H
#define HOLDFAST_PROVIDERS_LIKE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/span.h"

#define LIKE_BYTES  448 /* events with more beside their values are not remembered */
#define LIKE_VALUES 5

struct like {
    unsigned n;                       /* values; 0: nothing is remembered */
    unsigned which[LIKE_VALUES];      /* each one's place in values[], as they stand in the event */
    bool number[LIKE_VALUES];         /* ... and whether it is one, or a string */
    unsigned pieces[LIKE_VALUES + 1]; /* lengths of what stands before, between and behind them */
    char bytes[LIKE_BYTES];           /* the pieces */
};

/* Remembers an event in place of the one before. What each of the values is, its reader knows by
 * its place; they are raw strings and numbers in the event, in any order, or empty. */
void like_learn(struct like *l, struct span event, const struct span values[LIKE_VALUES]);

void like_forget(struct like *l);

/* Is this one like it? Then values[] gets its own, each where it stood before; they are valid. */
bool like_is(const struct like *l, struct span event, struct span values[LIKE_VALUES]);

#endif
