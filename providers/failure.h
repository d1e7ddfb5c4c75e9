/* failure.h - every way an attempt can end: one row each.
 *
 * One row feeds the enum, the decision what to try next, the breaker, the client's status, the log,
 * the metric label, the trail header and the manual. A new kind of failure is one new row.
 */
#ifndef HOLDFAST_PROVIDERS_FAILURE_H
#define HOLDFAST_PROVIDERS_FAILURE_H

#include <stdbool.h>

#include "proxy/base/strbuf.h"

/* May the same target be tried once more within the request? */
enum failure_again {
    AGAIN_NO,
    AGAIN_LATER, /* after the other targets had their turn, with a back-off */
    AGAIN_KEY,   /* at once, with another key of the same provider */
};

/* What a failure says of the target's health. Only BLAME moves a breaker. */
enum failure_blame {
    NEUTRAL,  /* nothing: the request, the client or we ourselves are the cause */
    BLAME,    /* the target is at fault */
    THROTTLE, /* the target is well but wants fewer requests: it rests until Retry-After */
    KEY_REST, /* this key is at fault: it rests */
};

/* A status of 0: what the provider itself answered, if that fits; see failure_status(). */
/* clang-format off */
/*    name             label                  again        next   blame     status retry  what people read */
#define FAILURES(X)                                                                                             \
    X(FAILURE_NONE,    "ok",                  AGAIN_NO,    false, NEUTRAL,  200,   false, "complete answer")                                   \
    X(DNS,             "dns",                 AGAIN_LATER, true,  BLAME,    502,   true,  "its name does not resolve")                         \
    X(REFUSED,         "refused",             AGAIN_LATER, true,  BLAME,    502,   true,  "connection refused or host unreachable")            \
    X(CONNECT_TIMEOUT, "connect_timeout",     AGAIN_NO,    true,  BLAME,    504,   true,  "no connection in time")                             \
    X(TLS_FAILED,      "tls",                 AGAIN_NO,    true,  BLAME,    502,   false, "TLS handshake or certificate check failed")         \
    X(EGRESS_PROXY,    "egress_proxy",        AGAIN_NO,    true,  NEUTRAL,  502,   true,  "the outgoing proxy refused the connection")         \
    X(RESET,           "reset",               AGAIN_LATER, true,  BLAME,    502,   true,  "connection closed before an answer")                \
    X(PROTOCOL,        "protocol",            AGAIN_NO,    true,  BLAME,    502,   false, "the answer is not valid HTTP")                      \
    X(REDIRECT,        "redirect",            AGAIN_NO,    true,  NEUTRAL,  502,   false, "answered with a redirect, which is never followed") \
    X(FIRST_TOKEN,     "first_token_timeout", AGAIN_NO,    true,  BLAME,    504,   true,  "no output in time")                                 \
    X(IDLE,            "idle_timeout",        AGAIN_NO,    true,  BLAME,    504,   true,  "the answer stopped coming")                         \
    X(BAD_REQUEST,     "bad_request",         AGAIN_NO,    false, NEUTRAL,  0,     false, "the request itself is wrong")                       \
    X(CONTEXT_LENGTH,  "context_length",      AGAIN_NO,    false, NEUTRAL,  0,     false, "the prompt is longer than the model's window")      \
    X(POLICY,          "content_policy",      AGAIN_NO,    false, NEUTRAL,  0,     false, "refused by the provider's content policy")          \
    X(TOO_LARGE,       "too_large",           AGAIN_NO,    false, NEUTRAL,  0,     false, "the request is too large")                          \
    X(CLIENT_ERROR,    "client_error",        AGAIN_NO,    false, NEUTRAL,  0,     false, "the provider refuses the request")                  \
    X(AUTH,            "auth",                AGAIN_KEY,   true,  KEY_REST, 502,   false, "the provider refuses our key")                      \
    X(FORBIDDEN,       "forbidden",           AGAIN_KEY,   true,  KEY_REST, 502,   false, "our key may not use this model or region")          \
    X(QUOTA,           "quota",               AGAIN_KEY,   true,  KEY_REST, 503,   false, "the account has no quota or credit left")           \
    X(MODEL_GONE,      "model_not_found",     AGAIN_NO,    true,  NEUTRAL,  404,   false, "the provider does not have this model")             \
    X(RATE_LIMITED,    "rate_limited",        AGAIN_KEY,   true,  THROTTLE, 429,   true,  "the provider's rate limit is reached")              \
    X(CONFLICT,        "conflict",            AGAIN_LATER, true,  NEUTRAL,  0,     true,  "the provider asks to come again")                   \
    X(OVERLOADED,      "overloaded",          AGAIN_LATER, true,  BLAME,    503,   true,  "the provider is overloaded")                        \
    X(SERVER_ERROR,    "server_error",        AGAIN_LATER, true,  BLAME,    0,     true,  "the provider answered with a server error")         \
    X(UNSUPPORTED,     "unsupported",         AGAIN_NO,    true,  NEUTRAL,  0,     false, "this target does not offer what the request asks")   \
    X(HTML_PAGE,       "html",                AGAIN_NO,    true,  BLAME,    502,   true,  "a web page came instead of an answer")              \
    X(TRUNCATED,       "truncated",           AGAIN_LATER, true,  BLAME,    502,   true,  "the answer ended before its end marker")            \
    X(MALFORMED,       "malformed",           AGAIN_NO,    true,  BLAME,    502,   true,  "the answer cannot be read")                         \
    X(EMPTY,           "empty",               AGAIN_LATER, true,  BLAME,    502,   true,  "the answer holds no output")                        \
    X(BAD_ENCODING,    "bad_encoding",        AGAIN_NO,    true,  BLAME,    502,   false, "the answer's compression is unknown or broken")     \
    X(ANSWER_TOO_BIG,  "answer_too_big",      AGAIN_NO,    true,  NEUTRAL,  502,   false, "the answer is larger than our cap")                 \
    X(UNFIT,           "unfit",               AGAIN_NO,    true,  NEUTRAL,  400,   false, "not tried: the request is too large for this model, or holds what it cannot take") \
    X(SKIPPED_OPEN,    "breaker_open",        AGAIN_NO,    true,  NEUTRAL,  503,   true,  "not tried: it failed repeatedly a moment ago")      \
    X(SKIPPED_REST,    "resting",             AGAIN_NO,    true,  NEUTRAL,  503,   true,  "not tried: it is left to rest after what it answered")                    \
    X(DEADLINE,        "deadline",            AGAIN_NO,    false, NEUTRAL,  504,   false, "the request's time was over")                       \
    X(LOCAL,           "local",               AGAIN_NO,    false, NEUTRAL,  503,   true,  "this proxy is out of resources")                    \
    X(STOPPING,        "stopping",            AGAIN_NO,    false, NEUTRAL,  503,   true,  "this proxy is shutting down")                       \
    X(REJECTED,        "rejected",            AGAIN_NO,    false, NEUTRAL,  0,     false, "refused by this proxy before any target was asked") \
    X(CLIENT_GONE,     "client_gone",         AGAIN_NO,    false, NEUTRAL,  499,   false, "the client went away")
/* clang-format on */

#define FAILURE_ENUM(name, label, again, next, blame, status, retry, text) name,
enum failure { FAILURES(FAILURE_ENUM) FAILURE_KINDS };
#undef FAILURE_ENUM

struct failure_row {
    const char *name;  /* the enum's name */
    const char *label; /* in trail, metrics and logs */
    enum failure_again again;
    bool next; /* may another target be tried? */
    enum failure_blame blame;
    unsigned status; /* for the client when this is what remains; 0: see failure_status */
    bool retry;      /* x-should-retry */
    const char *text;
};

const struct failure_row *failure_row(enum failure f); /* never NULL */

/* The status for the client: the row's, or with 0 the provider's own where the client can make
 * sense of it (a 4xx stays; 503 and 504 stay; every other 5xx is 502, a bad gateway). */
unsigned failure_status(enum failure f, unsigned upstream_status);

/* How much an error is worth telling once every attempt has failed: what the client can mend (only
 * it leads to another answer), then a rate limit (it says when to come again), then a server's
 * fault, then targets that were not tried, then faults of our own configuration. Higher is better;
 * FAILURE_NONE is 0. */
int failure_rank(enum failure f);

/* The manual's page: each symptom, what the caller gets, whether it moves on. Markdown. */
void failure_manual(struct strbuf *out);

#endif
