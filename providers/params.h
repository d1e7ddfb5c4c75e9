/* params.h - optional parameters that a model may refuse, and requests without them.
 *
 * A model says that it does not take a parameter by refusing the whole request. Such a refusal is
 * mended once: the parameter is left out (or goes by its other name), the client is told by
 * x-holdfast-dropped, and the target remembers, so that the next request is right at once (but
 * for a single value of a parameter that it takes otherwise).
 */
#ifndef HOLDFAST_PROVIDERS_PARAMS_H
#define HOLDFAST_PROVIDERS_PARAMS_H

#include "providers/chat.h"
#include "providers/conversation.h"

/* The bit of a parameter by its name in the OpenAI dialect ("temperature"), or of the one that an
 * error names; 0 where it is none that may be left out. */
uint32_t params_find(struct span name);

/* What an error complains about, one parameter as a rule: its param, else a name that stands at the
 * start of its message ("temperature: range: 0..1") or first in quotes there. 0 if there is none.
 */
uint32_t params_blamed(const struct chat_error *e);

/* Whether that complaint is about the value alone ("minimal"), where others may do: of words to
 * choose from, not of numbers, where a model that refuses one takes none but its default. */
bool params_only_value(const struct chat_error *e);

/* What models that always reason refuse of an OpenAI request (OpenAI's API reference). */
uint32_t params_of_reasoning_models(void);

/* Takes the parameters out of a canonical request and names those that were there. */
void params_leave_out(struct conversation *c, uint32_t without, struct drops *drops);

/* An OpenAI request's body without them, with `model` (a raw string) for the client's where it is
 * not empty. The members that stay are the client's bytes. */
struct span params_rewrite(struct span body, struct span model, uint32_t without, struct arena *a,
                           struct drops *drops);

#endif
