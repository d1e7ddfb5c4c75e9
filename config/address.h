/* address.h - hosts, listen addresses and URLs as the configuration may give them.
 *
 * Host names are taken only in their ordinary spelling: a name whose last label is a number must be
 * a full dotted IPv4 address, since "127.1", "0x7f.1" and "2130706433" are spellings that resolvers
 * understand and people overlook.
 */
#ifndef HOLDFAST_CONFIG_ADDRESS_H
#define HOLDFAST_CONFIG_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/err.h"
#include "proxy/base/span.h"

enum host_scope {
    HOST_INVALID,
    HOST_LOOPBACK, /* 127.0.0.0/8, ::1, localhost */
    HOST_PRIVATE,  /* 10/8, 172.16/12, 192.168/16, fc00::/7, *.local, *.internal, one label */
    HOST_PUBLIC,
};

/* A name, an IPv4 address, or an IPv6 address without brackets. An IPv4 address mapped into IPv6
 * counts as itself. */
enum host_scope host_scope(struct span host);

struct url {
    bool https;
    struct span host; /* a view of the text, without brackets */
    uint16_t port;    /* the scheme's own when none is given */
    enum host_scope scope;
};

/* Reads "http://HOST[:PORT][/PATH]" or https: no user, no query, no fragment, nothing but printable
 * ASCII. As in value.h, *e does not repeat the text. */
int url_read(const char *text, struct url *out, struct err *e) MUST_CHECK;

/* Reads "HOST[:PORT]", an IPv6 address in brackets; *port stays where none is given, and is never
 * 0. *e as above. */
int host_and_port_read(struct span text, struct span *host, uint16_t *port,
                       struct err *e) MUST_CHECK;

/* Is it the origin of a web page: "scheme://host[:port]" and nothing more (RFC 6454, 7)? */
bool origin_valid(const char *text);

#endif
