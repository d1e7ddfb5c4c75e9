/* fold.h - a whole answer, put together from its events.
 *
 * A sink: whatever dialect the events come from, this collects them, and a client's dialect writes
 * the answer in one piece from it. Texts stay raw JSON; several pieces of a text become one raw
 * string.
 */
#ifndef HOLDFAST_PROVIDERS_FOLD_H
#define HOLDFAST_PROVIDERS_FOLD_H

#include "proxy/base/arena.h"
#include "proxy/base/strbuf.h"
#include "providers/chat.h"

struct fold_call {
    struct fold_call *next;
    unsigned tool;           /* its number in the events */
    struct span id, name;    /* raw strings */
    struct strbuf arguments; /* raw string, without its closing quote until fold_done */
    struct span signature;   /* raw string; empty if there is none */
    struct span origin;      /* ... the dialect that minted it, raw string */
};

/* A piece of signed reasoning: an answer may hold several, and each signature is for its own. */
struct fold_signed {
    struct fold_signed *next;
    struct span text;      /* raw string, what it signs; p == NULL where nothing of it is shown */
    struct span signature; /* raw string */
    struct span origin;    /* the dialect that minted it, raw string */
};

struct fold_choice {
    struct fold_choice *next;
    unsigned index;
    struct strbuf text, reasoning, refusal; /* raw strings; len == 0: there was none */
    struct strbuf unsigned_reasoning;       /* what came since the last signature; raw string */
    struct fold_signed *signatures;         /* of the reasoning, in order */
    struct fold_call *calls, *last_call;
    struct span stop; /* raw string, canonical */
};

struct fold_vector {
    struct fold_vector *next;
    unsigned index;  /* of the input */
    struct span raw; /* a list of numbers: a view, see CHAT_VECTOR */
};

struct fold {
    struct arena *arena;
    struct span id, model; /* raw strings, from CHAT_START; copies */
    struct fold_choice *choices;
    struct fold_vector *vectors, *last_vector; /* in the order they came in */
    struct chat_usage usage;
    bool end, too_big; /* too_big: a text, or the count of choices or calls, passed its cap */
};

void fold_init(struct fold *f, struct arena *a);
void fold_event(void *fold, const struct chat_event *ev); /* a chat_sink */
void fold_done(struct fold *f);                           /* closes the raw strings */

#endif
