/* scripted.h - the provider that needs no network: it says a configured text.
 *
 * The last rung of a route ("all providers are down, ticket line 4711") and the answer of a fresh
 * installation without keys. It produces the same events as every other answer.
 */
#ifndef HOLDFAST_PROVIDERS_SCRIPTED_H
#define HOLDFAST_PROVIDERS_SCRIPTED_H

#include "providers/chat.h"
#include "proxy/base/arena.h"

/* Calls `sink` with CHAT_START, CHAT_TEXT (word by word, so that a stream looks like one),
 * CHAT_STOP, CHAT_USAGE (estimated: four bytes a token) and CHAT_END. */
void scripted_answer(struct span text, struct span model, struct arena *a, chat_sink *sink,
                     void *ctx);

#endif
