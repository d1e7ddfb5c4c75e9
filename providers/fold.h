/* fold.h - a whole answer, put together from its events.
 *
 * A sink: whatever dialect the events come from, this collects them, and a client's dialect writes
 * the answer in one piece from it. Texts stay raw JSON; several pieces of a text become one raw
 * string.
 */
#ifndef HOLDFAST_PROVIDERS_FOLD_H
#define HOLDFAST_PROVIDERS_FOLD_H

#include "providers/chat.h"
#include "proxy/base/arena.h"
#include "proxy/base/strbuf.h"

struct fold_call {
    struct fold_call *next;
    struct span id, name;    /* raw strings */
    struct strbuf arguments; /* raw string, without its closing quote until fold_done */
    struct span signature;   /* raw string; empty if there is none */
};

struct fold_choice {
    struct fold_choice *next;
    unsigned index;
    struct strbuf text, reasoning, refusal; /* raw strings; len == 0: there was none */
    struct span signature;                  /* of the reasoning */
    struct fold_call *calls, *last_call;
    struct span stop; /* raw string, canonical */
};

struct fold {
    struct arena *arena;
    struct span id, model; /* raw strings, from CHAT_START */
    struct fold_choice *choices;
    struct chat_usage usage;
    bool end, too_big;
};

void fold_init(struct fold *f, struct arena *a);
void fold_event(void *fold, const struct chat_event *ev); /* a chat_sink */
void fold_done(struct fold *f);                           /* closes the raw strings */

#endif
