/* retry_after.h - how long does the provider ask us to wait?
 *
 * It can say so in many ways, and some of them are more to be believed than others: what it asks
 * for in so many words, then when an allowance that is used up comes back, then its prose. What is
 * negative, NaN or not understood is absent; a time in the past is 0; more than the cap is the cap.
 * All times are ms. Nothing here knows HTTP's codec: whoever has a head says how to look into it.
 */
#ifndef HOLDFAST_PROXY_RETRY_AFTER_H
#define HOLDFAST_PROXY_RETRY_AFTER_H

#include <stdint.h>

#include "proxy/base/span.h"

#define RETRY_AFTER_NONE UINT64_MAX
#define RETRY_AFTER_CAP  300000 /* whoever asks for more has run out of quota */

/* The value of a head's header, p == NULL where it has none with this name. */
typedef struct span retry_after_find(const void *head, const char *name);

/* What the head of an error asks for: retry-after-ms, x-ms-retry-after-ms, retry-after (seconds,
 * with fraction, or an HTTP date). Not for successes: several providers send it with those as well.
 * `wall_ms` is the UTC time that dates are compared with. */
uint64_t retry_after_asked(retry_after_find *find, const void *head, uint64_t wall_ms);

/* For how long nothing is left of an allowance, as any head may tell: the longest reset of those
 * whose remaining is 0. OpenAI and those like it write x-ratelimit-{remaining,reset}-{requests,
 * tokens} with Go's durations ("6m0s", "2m59.56s", "12ms") or plain seconds, Anthropic
 * anthropic-ratelimit-{requests,tokens,...}-{remaining,reset} with RFC 3339 times.
 * RETRY_AFTER_NONE where something is left, nothing is said, or the reset is over already. */
uint64_t retry_after_spent(retry_after_find *find, const void *head, uint64_t wall_ms);

/* The whole answer's word: what its head asks for, else Gemini's retryDelay in the body, else what
 * is spent, else the body's prose ("try again in 1m12s"). */
uint64_t retry_after_read(uint64_t asked_ms, uint64_t spent_ms, struct span body);

/* Whole seconds for a Retry-After header, rounded up, at least 1. SDKs ignore waits above a minute
 * (Anthropic) or two (OpenAI), so never more than 55. */
uint64_t retry_after_seconds(uint64_t ms);

#endif
