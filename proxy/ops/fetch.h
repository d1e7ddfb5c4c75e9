/* fetch.h - control-plane calls: one GET, one answer, by libcurl's HTTP engine.
 *
 * For what is asked now and then and is no part of a request: the caller waits for it, so never on
 * a worker's loop, and straight to the host: never through an outgoing proxy. Redirects are not
 * followed and nothing is asked twice.
 */
#ifndef HOLDFAST_OPS_FETCH_H
#define HOLDFAST_OPS_FETCH_H

#include <stdint.h>

#include "proxy/base/attributes.h"
#include "proxy/base/err.h"
#include "proxy/base/strbuf.h"

struct fetch {
    const char *url;       /* http or https */
    const char *unix_path; /* a socket to ask instead of the URL's host, or NULL */
    uint64_t timeout_ms;   /* for all of it */
};

/* Appends the answer's body, whatever its status is. 0, or -1 with *e: there is no (whole) answer,
 * or it passes the buffer's cap. Where there are threads, after transport_global_start(). */
int fetch_get(const struct fetch *f, unsigned *status, struct strbuf *body,
              struct err *e) MUST_CHECK;

#endif
