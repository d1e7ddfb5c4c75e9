/* hedge.h - may one more request have a second target beside the first?
 *
 * A hedge is a second paid call, so they are a small share of all requests, with a few always
 * granted lest a quiet proxy could never hedge. When many want one at once everything is slow: that
 * is an outage or a brown-out and no tail, and a second call for each would double the load on
 * whoever is left. Then there are none beyond those few.
 *
 * No clock, no lock: callers pass monotonic milliseconds.
 */
#ifndef HOLDFAST_PROXY_HEDGE_H
#define HOLDFAST_PROXY_HEDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/attributes.h"

#define HEDGE_WINDOW_S 60 /* of the ratio; the other two look back on 10 s */

struct hedge {
    double max_ratio; /* hedges per request */
    unsigned floor;   /* always granted in any 10 s */
    struct hedge_second {
        uint64_t second; /* since time 0 */
        unsigned requests, wanted, granted;
    } seconds[HEDGE_WINDOW_S];
};

void hedge_init(struct hedge *h, double max_ratio, unsigned floor);
void hedge_request(struct hedge *h, uint64_t now_ms); /* a request begins */
void hedge_want(struct hedge *h, uint64_t now_ms); /* ... has waited long enough; once for each */
bool hedge_grant(struct hedge *h, uint64_t now_ms) MUST_CHECK; /* ... and may have one */

#endif
