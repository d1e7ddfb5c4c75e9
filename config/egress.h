/* egress.h - the outgoing proxy, as the environment names it.
 *
 * For https the variables are https_proxy, HTTPS_PROXY, all_proxy and ALL_PROXY, for http those
 * with http in place of https; the first that is set and not empty counts. curl leaves HTTP_PROXY
 * alone, because a CGI script finds there what a client has sent; this is none. Which hosts are
 * reached without it (no_proxy, NO_PROXY) is libcurl's to say.
 */
#ifndef HOLDFAST_CONFIG_EGRESS_H
#define HOLDFAST_CONFIG_EGRESS_H

#include <stdbool.h>

#include "proxy/base/err.h"
#include "proxy/base/span.h"

struct egress {
    char *url;            /* for libcurl, maybe with a password: never shown. NULL: no proxy */
    struct span password; /* a view of url; empty: none */
    bool socks, tls;      /* it speaks SOCKS; HTTP in TLS; neither: plain HTTP */
    char name[300];       /* for people: "office:3128 (HTTPS_PROXY)" */
};

/* The proxy on the way to https or http. `variable` is getenv. 0 with *out the caller's to release,
 * or -1 with *e, which names the variable and repeats no password. */
int egress_find(bool https, char *(*variable)(const char *name), struct egress *out,
                struct err *e) MUST_CHECK;
void egress_release(struct egress *x); /* wipes it */

#endif
