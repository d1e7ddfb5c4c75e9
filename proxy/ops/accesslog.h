/* accesslog.h - one line for each exchange.
 *
 * Pure: a record in, a line out. The caller hands it to log_line(). What the client sent is escaped
 * and shortened, bodies are never in it, and the line always fits LOG_LINE_MAX: attempts that do
 * not fit are counted in "attempts_omitted".
 */
#ifndef HOLDFAST_OPS_ACCESSLOG_H
#define HOLDFAST_OPS_ACCESSLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/log.h"
#include "proxy/base/span.h"
#include "proxy/base/strbuf.h"

#define ACCESSLOG_FIELD_MAX 128 /* bytes of one string; what is longer is cut */

/* One try at one target. */
struct access_attempt {
    struct span target;  /* as in the trail: "openai/gpt-4o" */
    const char *outcome; /* a label of the failure table */
    unsigned status;     /* what the provider answered; 0: nothing */
    uint64_t us;         /* from its start to its end */
    uint64_t ttft_us;    /* from its start to the first output; 0: there was none */
};

/* Empty spans, NULL and 0 mean that there is nothing to tell; the field is then left out. */
struct access_record {
    struct span id;      /* x-request-id */
    uint64_t wall_ms;    /* when the exchange ended, UTC since 1970 */
    struct span client;  /* address and port, or "unix" */
    const char *caller;  /* the name that its key has in the configuration */
    struct span route;   /* the route's name */
    const char *dialect; /* the client's */
    struct span model;   /* as the client asked for it */
    bool stream;
    const char *replayed;   /* the answer was kept: how it was found */
    const char *outcome;    /* a label of the failure table; never NULL */
    unsigned status;        /* HTTP status that the client got; 0: none */
    uint64_t duration_us;   /* from the first byte of the request to the last of the answer */
    uint64_t queue_us;      /* of it waiting to be admitted */
    uint64_t ttft_us;       /* until the first output went to the client */
    uint64_t request_bytes; /* body */
    uint64_t answer_bytes;  /* body */
    bool usage_seen;        /* the four below are known */
    uint64_t input_tokens, output_tokens;
    uint64_t cached_tokens, reasoning_tokens; /* part of input, part of output */
    struct span provider, served_model;       /* whose answer it was */
    const struct access_attempt *attempts;
    size_t n_attempts;
};

/* Appends the line, without a newline. `out` needs room for LOG_LINE_MAX bytes. */
void accesslog_write(const struct access_record *r, enum log_format format, struct strbuf *out);

#endif
