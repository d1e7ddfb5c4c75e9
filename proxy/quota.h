/* quota.h - how much may one client ask for?
 *
 * Counts per client: requests and tokens of the last sixty seconds, and requests under way. In any
 * sixty seconds a client gets at most what its limits say: the seconds are counted one by one, and
 * leave one by one. Tokens are known at the end of a request only, so it is admitted with a guess,
 * which counts until it is settled; so many requests at once cannot get past the limit together by
 * more than their guesses were too small.
 *
 * Pure but for its lock: the time is passed in. One store for all workers and for all generations
 * of the configuration, by the digest of the client's key; the limits come with each request.
 */
#ifndef HOLDFAST_PROXY_QUOTA_H
#define HOLDFAST_PROXY_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/attributes.h"
#include "proxy/base/hash.h"
#include "proxy/base/strbuf.h"

/* 0: no limit. */
struct quota_limits {
    uint64_t requests, tokens; /* a minute */
    unsigned at_once;
};

enum quota_verdict { QUOTA_GRANTED, QUOTA_REQUESTS, QUOTA_TOKENS, QUOTA_AT_ONCE };

/* How a client stands; what has no limit is 0. */
struct quota_view {
    struct quota_limits limits;
    uint64_t requests_left, tokens_left;
    uint64_t requests_reset_ms, tokens_reset_ms; /* until all of it is there again */
    uint64_t wait_ms;                            /* refused: until it may be granted */
};

struct quota_store;
struct quota_state;

/* Leave for one request; zero: none. */
struct quota_ticket {
    struct quota_state *state;
    uint64_t tokens; /* guessed */
    uint64_t second; /* ... and counted there */
};

struct quota_store *quota_store_new(void);
void quota_store_free(struct quota_store *s); /* no ticket is out; NULL is fine */

/* May the client with this key have a request with about so many tokens? A guess above the whole
 * limit counts as the whole limit, so that nothing is refused for ever. */
enum quota_verdict quota_take(struct quota_store *s, const uint8_t key[HASH_SHA256_BYTES],
                              const struct quota_limits *limits, uint64_t tokens, uint64_t now_ms,
                              struct quota_ticket *out, struct quota_view *view) MUST_CHECK;

/* The request is over and took so many tokens. Each ticket comes back; an empty one is fine. */
void quota_give(struct quota_store *s, struct quota_ticket *t, uint64_t tokens, uint64_t now_ms);

/* Appends x-ratelimit-* header lines, as OpenAI's clients know them, for what has a limit. */
void quota_fields(const struct quota_view *v, struct strbuf *out);

#endif
