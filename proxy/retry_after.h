/* retry_after.h - how long does the provider ask us to wait?
 *
 * Read from an error answer only: several providers send Retry-After with successes as well.
 */
#ifndef HOLDFAST_PROXY_RETRY_AFTER_H
#define HOLDFAST_PROXY_RETRY_AFTER_H

#include <stdint.h>

#include "proxy/base/span.h"

#define RETRY_AFTER_NONE UINT64_MAX
#define RETRY_AFTER_CAP  300000 /* ms; whoever asks for more has run out of quota */

/* The headers as sent (p == NULL: absent), and the message of the error. In this order:
 * retry-after-ms, x-ms-retry-after-ms, retry-after (seconds, with fraction, or an HTTP date, RFC
 * 9110 10.2.3), then the message ("try again in 1m12s", "retry in 34.4s", Gemini's retryDelay).
 * What is negative, NaN, or not understood is absent; a date in the past is 0; more than the cap is
 * the cap. `wall_ms` is the UTC time that dates are compared with. Returns ms or RETRY_AFTER_NONE.
 */
uint64_t retry_after_read(struct span retry_after_ms, struct span x_ms_retry_after_ms,
                          struct span retry_after, struct span message, uint64_t wall_ms);

/* Whole seconds for a Retry-After header, rounded up, at least 1. SDKs ignore waits above a minute
 * (Anthropic) or two (OpenAI), so never more than 55. */
uint64_t retry_after_seconds(uint64_t ms);

#endif
