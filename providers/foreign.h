/* foreign.h - opaque reasoning state of other providers, taken out of an OpenAI request.
 *
 * A client of ours that talked to Claude or Gemini holds their signatures in its messages
 * (reasoning_details, extra_content) and gives them back with the next turn. They go back to their
 * origin; a provider that did not mint them must not see them, and may refuse the request for them.
 */
#ifndef HOLDFAST_PROVIDERS_FOREIGN_H
#define HOLDFAST_PROVIDERS_FOREIGN_H

#include "providers/conversation.h"

/* The body without that state, each place named in `drops`; the body itself where it holds none.
 * What stays are the client's bytes. */
struct span foreign_strip(struct span body, struct arena *a, struct drops *drops);

#endif
