/* service.h - what all workers share: the configuration and what was made from it.
 *
 * Everything here is immutable once the workers run, except the targets' health (which has its own
 * locks), counters, and the flags at the end. A changed configuration makes another service: the
 * heir. Requests that came before it end with the one that they began with; the last of its users
 * frees it, and what it has counted meanwhile is the heir's.
 */
#ifndef HOLDFAST_PROXY_SERVICE_H
#define HOLDFAST_PROXY_SERVICE_H

#include <stdatomic.h>

#include "config/config.h"
#include "proxy/base/log.h"
#include "proxy/ops/events.h"
#include "proxy/ops/metrics.h"
#include "proxy/quota.h"
#include "proxy/replay.h"
#include "proxy/target.h"
#include "proxy/wire/tls.h"
#include "proxy/wire/transport.h"

/* Where a provider's requests go. */
struct origin {
    struct transport_peer peer;
    char *host_field; /* "Host: api.openai.com\r\n" */
    char *base_path;  /* "/v1" */
    unsigned lane;    /* of its first key; see upstream.h */
};

struct service {
    struct config *config;
    struct target_set *targets;
    struct origin *origins; /* one for each provider, in the configuration's order */
    unsigned lanes;         /* of all providers: one a key */
    bool mints_state; /* a provider's dialect hands out reasoning state of its own through us */
    struct tls_server *tls; /* towards clients of listeners that are not loopback; NULL: plain */
    struct metrics *metrics;
    struct replay *replay; /* answers that are kept; has its own lock; one for all generations */
    struct events *events; /* what happened lately; the same */
    struct quota_store *quotas; /* the same, of what clients have asked for */
    bool resume;                /* streams can be taken up again */
    enum log_format log_format;
    bool access_log;
    uint64_t payloads;                    /* bytes of each body that the log shows */
    uint64_t started_us, started_wall_ms; /* the process; monotonic, and UTC */
    unsigned n_workers;
    atomic_bool draining;
    _Atomic uint64_t memory; /* bytes that requests and held answers take now */
    struct service *heir;    /* used by this one; NULL: this is the last */
    atomic_uint users;
};

/* Takes the configuration over, also where it fails: -1 with *e. The caller uses it. */
int service_new(struct config *c, struct service **out, struct err *e) MUST_CHECK;

/* The same in place of `s`, which goes on for those who use it: with its health and its kept
 * answers, and what it has counted so far. */
int service_renew(struct service *s, struct config *c, struct service **out,
                  struct err *e) MUST_CHECK;

void service_use(struct service *s);
void service_drop(struct service *s); /* NULL is fine; the last one frees it */

/* Takes n bytes from the memory that all exchanges may use together; false when they are not there.
 */
bool service_reserve(struct service *s, uint64_t n);
void service_return(struct service *s, uint64_t n);

#endif
