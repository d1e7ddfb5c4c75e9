/* admit.h - may this request come in, and what does it want?
 *
 * Pure: looks at a request's head and at the configuration. The port that holds the keys is within
 * reach of every web page that the user opens, so before anything else: the Host must be one of
 * ours (else a foreign name was pointed at us), no foreign Origin, no cross-site fetch. Then the
 * path, the method, the caller's key, and what the body claims to be.
 */
#ifndef HOLDFAST_PROXY_ADMIT_H
#define HOLDFAST_PROXY_ADMIT_H

#include "config/config.h"
#include "providers/chat.h"
#include "proxy/base/hash.h"
#include "proxy/base/span.h"
#include "proxy/door.h"

/* The parts of a head that matter here; p == NULL where a header is absent. */
struct admit_request {
    struct span method, target;
    struct span host, origin, sec_fetch_site;
    struct span authorization, x_api_key, x_goog_api_key, api_key;
    struct span anthropic_version, x_goog_api_client;
    struct span content_type, content_encoding;
    struct span upgrade;
    bool has_length;
    uint64_t length; /* of the body, where the head tells */
};

struct admission {
    struct door door;                   /* known also where the request is refused */
    const struct config_client *client; /* NULL where no keys are configured */
    struct chat_error error;            /* why not */
    const char *allow;                  /* with 405: the value of Allow */
};

/* Whom an answer belongs to: a digest of the key that was shown, also where none is asked for, so
 * that callers who show different ones stay apart. After admit() has let the request in. */
void admit_caller(const struct admit_request *r, const struct admission *a,
                  uint8_t out[HASH_SHA256_BYTES]);

/* True, or false with out->error. */
bool admit(const struct config *c, const struct admit_request *r, struct admission *out);

#endif
