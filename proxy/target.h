/* target.h - what outlives a request: the health of each target and of each provider's keys.
 *
 * A target is provider + model. Asking it gives a ticket: leave for one attempt, with the key to
 * use. Every ticket comes back through target_end, with the failure that ended the attempt; the
 * failure's row decides what it means for the breaker or for the key. Shared by all workers: each
 * target and each provider has its own short lock, held for a few instructions, never over I/O.
 */
#ifndef HOLDFAST_PROXY_TARGET_H
#define HOLDFAST_PROXY_TARGET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "proxy/breaker.h"
#include "proxy/retry_after.h"
#include "providers/catalog.h"
#include "providers/failure.h"

#define TARGET_MAX_KEYS 32 /* of one provider: a mask of keys fits a uint32_t */

/* Until when a key (of a provider, or for one model) is left alone. */
struct rest {
    uint64_t until_ms;
    bool firm;       /* the provider named the time: not even the last resort goes earlier */
    unsigned streak; /* rate limits in a row without a stated time */
    enum failure why;
};

struct provider {
    const struct config_provider *conf;
    const struct provider_type *type;
    size_t n_keys; /* 1 where no key is needed: an empty one */
    struct span keys[TARGET_MAX_KEYS];
    pthread_mutex_t lock; /* guards rests */
    struct rest rests[TARGET_MAX_KEYS];
};

struct target {
    unsigned index; /* in the set; names it in metrics */
    char *name;     /* "openai/gpt-4o", or "openai" where the client's model name is kept */
    struct provider *provider;
    struct span model; /* p == NULL: the client's own */

    pthread_mutex_t lock; /* guards what follows */
    struct breaker breaker;
    struct rest rests[TARGET_MAX_KEYS];
    enum failure last_failure; /* the last that was not FAILURE_NONE, with its time and text */
    uint64_t last_failure_ms;
    char last_text[160];

    atomic_uint without; /* parameters that it has refused, see providers/params.h */
    atomic_uint in_flight;
    atomic_ulong attempts, failures;
    atomic_ulong tokens_in, tokens_out;
};

/* Every target of a configuration, each once, in the order of first mention. */
struct target_set {
    struct provider *providers;
    size_t n_providers;
    struct target *targets;
    size_t n_targets;
};

struct target_set *target_set_new(const struct config *c, uint64_t seed); /* keeps views of *c */
void target_set_free(struct target_set *s);
struct target *target_set_find(struct target_set *s, size_t provider,
                               const char *model); /* model may be NULL */

struct ticket {
    breaker_pass pass;
    unsigned key; /* index into provider.keys */
};

/* May `t` be tried now with a key outside `keys_used` (a mask)? FAILURE_NONE with *out filled, or
 * SKIPPED_OPEN or SKIPPED_REST with *wait_ms until it may be. `last_resort`: no other target of the
 * request would do; see breaker_ask_last_resort. */
enum failure target_ask(struct target *t, uint32_t keys_used, bool last_resort, uint64_t now_ms,
                        struct ticket *out, uint64_t *wait_ms) MUST_CHECK;

/* The attempt has its first output. */
void target_output(struct target *t, struct ticket *k, uint64_t now_ms);

/* The attempt is over. retry_after_ms: RETRY_AFTER_NONE where the provider named no time. */
void target_end(struct target *t, const struct ticket *k, enum failure f, uint64_t retry_after_ms,
                uint64_t now_ms);

/* Keeps the text of the last failure for the status page. */
void target_note(struct target *t, const char *text);

#endif
