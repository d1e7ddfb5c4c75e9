/* budget.h - how many more calls than requests may one target get?
 *
 * A token bucket: each request that is first sent to the target earns a part of a token, each call
 * beyond that costs one: another try of the same target, a hedge, a third attempt. So retries are a
 * share of the work and never a multiple of it, however many clients ask. A little comes in with
 * time, or a quiet laptop could never try again.
 *
 * No clock, no lock: callers pass monotonic milliseconds.
 */
#ifndef HOLDFAST_PROXY_BUDGET_H
#define HOLDFAST_PROXY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/attributes.h"

#define BUDGET_TIMEOUT_COST 2 /* of another try after one that has used up its time */

struct budget {
    double ratio, capacity; /* tokens earned by a request; tokens that can be saved up */
    double tokens;
    uint64_t at_ms; /* what came in with time is counted up to here */
};

void budget_init(struct budget *b, double ratio, double capacity); /* starts full */
void budget_earn(struct budget *b, uint64_t now_ms);
void budget_spend(struct budget *b, double cost, uint64_t now_ms); /* asked for before */
double budget_tokens(const struct budget *b, uint64_t now_ms);

#endif
