/* status.h - the /status document: how this process and its targets are, as JSON.
 *
 * Pure: whoever knows the state fills a snapshot, this writes it. Keys of providers appear by their
 * place in the configuration only; error texts pass through secret_redact().
 */
#ifndef HOLDFAST_OPS_STATUS_H
#define HOLDFAST_OPS_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/span.h"
#include "proxy/base/strbuf.h"

struct status_target {
    struct span name;            /* "openai/gpt-4o" */
    const char *breaker;         /* "closed", "half_open" or "open" */
    const char *scope;           /* "model", "endpoint" or "path": whose it is; NULL: closed */
    struct span why;             /* what opened it, or what all its keys rest for; empty: nothing */
    bool may_be_asked;           /* now, as far as its health goes; a last resort does not ask */
    bool slow;                   /* it was, or was dead: others are asked first for a while */
    uint64_t limit;              /* attempts at once; 0: none */
    uint64_t retry_ms;           /* until it may be tried again; 0: now */
    uint64_t failures_in_a_row;  /* that count against it */
    uint64_t in_flight;          /* attempts */
    uint64_t attempts, failures; /* ended since the start */
    struct span last_error;      /* empty: none yet */
    uint64_t last_error_age_ms;
    uint64_t first_token_p50_ms, first_token_p95_ms; /* of streams; 0: none yet */
    uint64_t answer_p50_ms, answer_p95_ms;           /* of whole answers */
    uint64_t input_tokens, output_tokens;
};

struct status_route {
    struct span model;     /* its pattern */
    const size_t *targets; /* of the snapshot, in the order in which they are asked */
    size_t n_targets;
};

/* A key that is left alone for a while. */
struct status_key {
    struct span provider;
    struct span model; /* for which it rests; empty: for all of them */
    size_t index;      /* 0: the first in the configuration */
    const char *why;   /* a label of the failure table */
    uint64_t rest_ms;  /* how much longer */
};

struct status_snapshot {
    const char *version;
    uint64_t uptime_ms;
    struct span config;      /* the file's path, or "zero configuration" */
    const char *last_reload; /* NULL: never; "ok", or what was wrong with it */
    const struct span *listeners;
    size_t n_listeners;
    unsigned workers;
    bool draining;
    uint64_t requests, requests_ok;    /* ended since the start */
    uint64_t in_flight;                /* exchanges */
    uint64_t log_dropped;              /* lines */
    uint64_t kept_answers, kept_bytes; /* for clients who come back */
    const struct status_target *targets;
    size_t n_targets;
    const struct status_route *routes;
    size_t n_routes;
    const struct status_key *keys;
    size_t n_keys;
};

/* Appends the document and a newline. */
void status_write(const struct status_snapshot *s, struct strbuf *out);

#endif
