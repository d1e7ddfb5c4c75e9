/* vectors.h - vectors of texts (embeddings), as they stand in answers of any dialect.
 *
 * Whoever stores vectors compares them for years, so an answer that lacks one, or holds one that is
 * none, is a failure however well it looks: the count, the form, the same length for all, the
 * length that was asked for, and no value that a 32-bit float cannot hold.
 */
#ifndef HOLDFAST_PROVIDERS_VECTORS_H
#define HOLDFAST_PROVIDERS_VECTORS_H

#include "providers/chat.h"
#include "proxy/base/strbuf.h"

/* Those of one answer. Zero to begin with. */
struct vectors {
    unsigned n;
    unsigned dimensions; /* of the first one */
    unsigned other;      /* ... and of one that has more or fewer, or 0 */
    bool bad;            /* one is no vector */
};

/* The next one of the answer. `raw`: a list of numbers or, where `packed`, also a string with the
 * base64 of little-endian float32. */
void vectors_add(struct vectors *v, struct span raw, bool packed);

/* All are there: what is the answer worth? Tells the watch, which knows what was asked for. */
void vectors_judge(const struct vectors *v, struct chat_watch *watch);

/* Appends a list of numbers that vectors_add took in the other form, quotes included. */
void vectors_pack(struct strbuf *out, struct span list);

#endif
