/* foreign.h - what other providers left in an OpenAI request, made fit for the one that takes over.
 *
 * A client of ours that talked to Claude or Gemini holds their signatures in its messages
 * (reasoning_details, extra_content) and gives them back with the next turn. They go back to their
 * origin; a provider that did not mint them must not see them, and may refuse the request for them.
 * The ids of tool calls are whatever the last provider gave; Mistral takes its own form only.
 */
#ifndef HOLDFAST_PROVIDERS_FOREIGN_H
#define HOLDFAST_PROVIDERS_FOREIGN_H

#include "providers/conversation.h"

/* The body without that state, each place named in `drops`; the body itself where it holds none.
 * What stays are the client's bytes. */
struct span foreign_strip(struct span body, struct arena *a, struct drops *drops);

/* The body with each id of a tool call that is not nine letters and digits (Mistral's API takes no
 * other) replaced by one that is derived from it, the same for the call and its result and in every
 * later request; the body itself where all fit. */
struct span foreign_short_ids(struct span body, struct arena *a);

#endif
