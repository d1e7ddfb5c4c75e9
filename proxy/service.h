/* service.h - what all workers share: the configuration and what was made from it.
 *
 * Everything here is immutable once the workers run, except the targets' health (which has its own
 * locks), counters, and the flags at the end.
 */
#ifndef HOLDFAST_PROXY_SERVICE_H
#define HOLDFAST_PROXY_SERVICE_H

#include <stdatomic.h>

#include "config/config.h"
#include "proxy/base/log.h"
#include "proxy/ops/metrics.h"
#include "proxy/replay.h"
#include "proxy/target.h"
#include "proxy/wire/transport.h"

/* Where a provider's requests go. */
struct origin {
    struct transport_peer peer;
    char *host_field; /* "Host: api.openai.com\r\n" */
    char *base_path;  /* "/v1" */
    unsigned lane;    /* of its first key; see upstream.h */
};

struct service {
    const struct config *config;
    struct target_set *targets;
    struct origin *origins; /* one for each provider, in the configuration's order */
    unsigned lanes;         /* of all providers: one a key */
    bool mints_state; /* a provider's dialect hands out reasoning state of its own through us */
    struct metrics *metrics;
    struct replay *replay; /* answers that are kept; has its own lock */
    bool resume;           /* streams can be taken up again */
    enum log_format log_format;
    bool access_log;
    uint64_t started_us; /* monotonic */
    unsigned n_workers;
    atomic_bool draining;
    _Atomic uint64_t memory; /* bytes that requests and held answers take now */
};

/* Takes the configuration over. 0, or -1 with *e. */
int service_new(const struct config *c, struct service **out, struct err *e) MUST_CHECK;
void service_free(struct service *s); /* not the configuration */

/* Takes n bytes from the memory that all exchanges may use together; false when they are not there.
 */
bool service_reserve(struct service *s, uint64_t n);
void service_return(struct service *s, uint64_t n);

#endif
