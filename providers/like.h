/* like.h - an event that is like the one before but for its texts.
 *
 * The pieces of an answer come in events that differ in the piece alone (and, at OpenAI, in some
 * padding). Who has read one knows what all that are like it mean: only the texts, which are
 * strings with nothing but themselves in them, have to be read again.
 */
#ifndef HOLDFAST_PROVIDERS_LIKE_H
#define HOLDFAST_PROVIDERS_LIKE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/span.h"

#define LIKE_BYTES 448 /* events with more beside their texts are not remembered */
#define LIKE_TEXTS 2

struct like {
    unsigned n_texts;                /* 0: nothing is remembered */
    unsigned pieces[LIKE_TEXTS + 1]; /* lengths of what stands before, between and behind them */
    char bytes[LIKE_BYTES];          /* the pieces */
};

/* Remembers an event. The texts are raw JSON strings in it, in their order. */
void like_learn(struct like *l, struct span event, const struct span *texts, unsigned n_texts);

/* Is this one like it? Then texts[] gets its own; they are valid. */
bool like_is(const struct like *l, struct span event, struct span *texts);

#endif
