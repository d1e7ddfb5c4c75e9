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
    AGAIN_SOON,  /* before the next one, after a short pause, if the target is well otherwise */
    AGAIN_LATER, /* when no other target is left, with a back-off */
    AGAIN_KEY,   /* at once, with another key of the same provider */
};

/* May another target be tried? */
enum failure_next {
    NEXT_NO,
    NEXT_YES,
    NEXT_LARGER, /* only one whose declared window is larger */
};

/* What a failure says of health, and in which scope. Only the three BLAMEs move a breaker. */
enum failure_blame {
    NEUTRAL,        /* nothing: the request, the client or we ourselves are the cause */
    BLAME_ENDPOINT, /* host and port: all models there suffer */
    BLAME_MODEL,    /* the model at its endpoint */
    BLAME_PATH,     /* the way there: an outgoing proxy that several endpoints share */
    THROTTLE,       /* all is well, but this key is to send fewer requests for this model */
    REST_KEY,       /* this key is at fault: it rests */
    REST_TARGET,    /* set up wrongly, or gone: it rests */
};

/* More that a row may say. */
enum failure_marks {
    LOSS = 1, /* the target had no room for it: the concurrency limit learns */
    SLOW = 2, /* it cost the caller time: the target goes behind the others for a while */
};

/* A status of 0: what the provider itself answered, if that fits; see failure_status(). */
/* clang-format off */
/*    name             label                  again        next         blame           marks status retry  what people read */
#define FAILURES(X)                                                                                             \
    X(FAILURE_NONE,    "ok",                  AGAIN_NO,    NEXT_NO,     NEUTRAL,        0,    200,   false, "complete answer")                                   \
    X(DNS,             "dns",                 AGAIN_NO,    NEXT_YES,    BLAME_ENDPOINT, 0,    502,   true,  "its name does not resolve")                         \
    X(REFUSED,         "refused",             AGAIN_NO,    NEXT_YES,    BLAME_ENDPOINT, 0,    502,   true,  "connection refused or host unreachable")            \
    X(CONNECT_TIMEOUT, "connect_timeout",     AGAIN_NO,    NEXT_YES,    BLAME_ENDPOINT, SLOW, 504,   true,  "no connection in time")                             \
    X(TLS_FAILED,      "tls",                 AGAIN_NO,    NEXT_YES,    BLAME_ENDPOINT, SLOW, 502,   false, "TLS handshake or certificate check failed")         \
    X(EGRESS_PROXY,    "egress_proxy",        AGAIN_NO,    NEXT_YES,    BLAME_PATH,     0,    502,   true,  "the outgoing proxy refused the connection")         \
    X(RESET,           "reset",               AGAIN_SOON,  NEXT_YES,    BLAME_ENDPOINT, 0,    502,   true,  "connection closed before an answer")                \
    X(PROTOCOL,        "protocol",            AGAIN_NO,    NEXT_YES,    BLAME_ENDPOINT, 0,    502,   false, "the answer is not valid HTTP")                      \
    X(REDIRECT,        "redirect",            AGAIN_NO,    NEXT_YES,    REST_TARGET,    0,    502,   false, "answered with a redirect, which is never followed") \
    X(FIRST_TOKEN,     "first_token_timeout", AGAIN_NO,    NEXT_YES,    BLAME_MODEL,    LOSS | SLOW, 504, true, "no output in time")                           \
    X(SLOWER,          "slow",                AGAIN_NO,    NEXT_YES,    NEUTRAL,        SLOW, 504,   true,  "no output yet when another target had its answer, or was asked in its place") \
    X(TIME_SHARE,      "time_share",          AGAIN_NO,    NEXT_YES,    NEUTRAL,        0,    504,   true,  "no output within its share of the caller's time") \
    X(HEDGE_LOST,      "hedge_lost",          AGAIN_NO,    NEXT_YES,    NEUTRAL,        0,    504,   true,  "the target that was asked before it had its answer first") \
    X(IDLE,            "idle_timeout",        AGAIN_NO,    NEXT_YES,    BLAME_MODEL,    LOSS | SLOW, 504, true, "the answer stopped coming")                   \
    X(BAD_REQUEST,     "bad_request",         AGAIN_NO,    NEXT_NO,     NEUTRAL,        0,    0,     false, "the request itself is wrong")                       \
    X(CONTEXT_LENGTH,  "context_length",      AGAIN_NO,    NEXT_LARGER, NEUTRAL,        0,    0,     false, "the prompt is longer than the model's window")      \
    X(POLICY,          "content_policy",      AGAIN_NO,    NEXT_NO,     NEUTRAL,        0,    0,     false, "refused by the provider's content policy")          \
    X(TOO_LARGE,       "too_large",           AGAIN_NO,    NEXT_LARGER, NEUTRAL,        0,    0,     false, "the request is too large")                          \
    X(CLIENT_ERROR,    "client_error",        AGAIN_NO,    NEXT_NO,     NEUTRAL,        0,    0,     false, "the provider refuses the request")                  \
    X(AUTH,            "auth",                AGAIN_KEY,   NEXT_YES,    REST_KEY,       0,    502,   false, "the provider refuses our key")                      \
    X(FORBIDDEN,       "forbidden",           AGAIN_KEY,   NEXT_YES,    REST_KEY,       0,    502,   false, "our key may not use this model or region")          \
    X(QUOTA,           "quota",               AGAIN_KEY,   NEXT_YES,    REST_KEY,       0,    503,   false, "the account has no quota or credit left")           \
    X(MODEL_GONE,      "model_not_found",     AGAIN_NO,    NEXT_YES,    REST_TARGET,    0,    404,   false, "the provider does not have this model")             \
    X(RATE_LIMITED,    "rate_limited",        AGAIN_KEY,   NEXT_YES,    THROTTLE,       LOSS, 429,   true,  "the provider's rate limit is reached")              \
    X(CONFLICT,        "conflict",            AGAIN_SOON,  NEXT_YES,    NEUTRAL,        0,    0,     true,  "the provider asks to come again")                   \
    X(REQUEST_TIMEOUT, "request_timeout",     AGAIN_SOON,  NEXT_YES,    BLAME_MODEL,    0,    0,     true,  "the provider gave up waiting (408)")                \
    X(OVERLOADED,      "overloaded",          AGAIN_LATER, NEXT_YES,    BLAME_MODEL,    LOSS, 503,   true,  "the provider is overloaded")                        \
    X(SERVER_ERROR,    "server_error",        AGAIN_SOON,  NEXT_YES,    BLAME_MODEL,    0,    0,     true,  "the provider answered with a server error")         \
    X(BAD_GATEWAY,     "bad_gateway",         AGAIN_NO,    NEXT_YES,    BLAME_ENDPOINT, 0,    0,     true,  "what stands before the provider cannot reach it (502, 504, 52x)") \
    X(NOT_IMPLEMENTED, "not_implemented",     AGAIN_NO,    NEXT_YES,    REST_TARGET,    0,    502,   false, "the provider does not serve such requests (501, 505)") \
    X(UNSUPPORTED,     "unsupported",         AGAIN_NO,    NEXT_YES,    NEUTRAL,        0,    0,     false, "this target does not offer what the request asks")   \
    X(KEY_SCOPE,       "key_scope",           AGAIN_KEY,   NEXT_NO,     NEUTRAL,        0,    502,   false, "the provider does not let our key do this")          \
    X(HTML_PAGE,       "html",                AGAIN_NO,    NEXT_YES,    BLAME_ENDPOINT, 0,    502,   true,  "a web page came instead of an answer")              \
    X(TRUNCATED,       "truncated",           AGAIN_NO,    NEXT_YES,    BLAME_MODEL,    0,    502,   true,  "the answer ended before its end marker")            \
    X(MALFORMED,       "malformed",           AGAIN_NO,    NEXT_YES,    BLAME_MODEL,    0,    502,   true,  "the answer cannot be read")                         \
    X(EMPTY,           "empty",               AGAIN_NO,    NEXT_YES,    BLAME_MODEL,    0,    502,   true,  "the answer holds no output")                        \
    X(BAD_ENCODING,    "bad_encoding",        AGAIN_NO,    NEXT_YES,    BLAME_ENDPOINT, 0,    502,   false, "the answer's compression is unknown or broken")     \
    X(ANSWER_TOO_BIG,  "answer_too_big",      AGAIN_NO,    NEXT_YES,    BLAME_MODEL,    0,    502,   false, "the answer is larger than our cap")                 \
    X(CARRY_REFUSED,   "carry_refused",       AGAIN_NO,    NEXT_YES,    NEUTRAL,        0,    502,   true,  "it would not go on with an answer that another target began") \
    X(SEAM_MISMATCH,   "seam_mismatch",       AGAIN_NO,    NEXT_YES,    NEUTRAL,        0,    502,   true,  "what it went on with does not fit what the client has already") \
    X(UNFIT,           "unfit",               AGAIN_NO,    NEXT_YES,    NEUTRAL,        0,    400,   false, "not tried: the request is too large for this model, or holds what it cannot take") \
    X(OTHER_MODEL,     "other_model",         AGAIN_NO,    NEXT_YES,    NEUTRAL,        0,    400,   false, "not tried: it is another model than the route's first, and vectors of two models cannot be compared") \
    X(NO_ENDPOINT,     "no_endpoint",         AGAIN_NO,    NEXT_YES,    NEUTRAL,        0,    400,   false, "not tried: its provider does not serve such requests") \
    X(SKIPPED_OPEN,    "breaker_open",        AGAIN_NO,    NEXT_YES,    NEUTRAL,        0,    503,   true,  "not tried: it failed repeatedly a moment ago")      \
    X(SKIPPED_REST,    "resting",             AGAIN_NO,    NEXT_YES,    NEUTRAL,        0,    503,   true,  "not tried: it is left to rest after what it answered") \
    X(SATURATED,       "saturated",           AGAIN_NO,    NEXT_YES,    NEUTRAL,        0,    503,   true,  "not tried: as many requests as it takes are under way") \
    X(SKIPPED_BUDGET,  "retry_budget",        AGAIN_NO,    NEXT_YES,    NEUTRAL,        0,    503,   true,  "not tried: the share of further attempts that it may get is used up") \
    X(QUEUE_FULL,      "queue_full",          AGAIN_NO,    NEXT_NO,     NEUTRAL,        0,    503,   true,  "every target had all the requests it takes, for too long") \
    X(DEADLINE,        "deadline",            AGAIN_NO,    NEXT_NO,     NEUTRAL,        0,    504,   false, "the request's time was over")                       \
    X(LOCAL,           "local",               AGAIN_NO,    NEXT_NO,     NEUTRAL,        0,    503,   true,  "this proxy is out of resources")                    \
    X(STOPPING,        "stopping",            AGAIN_NO,    NEXT_NO,     NEUTRAL,        0,    503,   true,  "this proxy is shutting down")                       \
    X(REJECTED,        "rejected",            AGAIN_NO,    NEXT_NO,     NEUTRAL,        0,    0,     false, "refused by this proxy before any target was asked") \
    X(CLIENT_GONE,     "client_gone",         AGAIN_NO,    NEXT_NO,     NEUTRAL,        0,    499,   false, "the client went away")
/* clang-format on */

#define FAILURE_ENUM(name, label, again, next, blame, marks, status, retry, text) name,
enum failure { FAILURES(FAILURE_ENUM) FAILURE_KINDS };
#undef FAILURE_ENUM

struct failure_row {
    const char *name;  /* the enum's name */
    const char *label; /* in trail, metrics and logs */
    enum failure_again again;
    enum failure_next next;
    enum failure_blame blame;
    unsigned marks;  /* enum failure_marks */
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
 * fault, then targets that were not tried, then faults of our own configuration, then targets that
 * never are for such a request. Higher is better; FAILURE_NONE is 0. */
int failure_rank(enum failure f);

/* The manual's page: each symptom, what the caller gets, whether it moves on. Markdown. */
void failure_manual(struct strbuf *out);

#endif
