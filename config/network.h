/* network.h - a network of clients, such as 10.0.0.0/8 or 2001:db8::/32; without a length one
 * address.
 */
#ifndef HOLDFAST_CONFIG_NETWORK_H
#define HOLDFAST_CONFIG_NETWORK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proxy/base/err.h"

struct network {
    int family; /* AF_INET or AF_INET6 */
    uint8_t address[16];
    unsigned bits;
};

/* -1 with *e as in value.h. Bits behind the length must be 0, or it was meant otherwise. */
int network_parse(const char *text, struct network *out, struct err *e) MUST_CHECK;

/* Is it an address of the network? An IPv4 address is the same in IPv6's clothes (::ffff:a.b.c.d).
 */
bool network_has(const struct network *n, const struct sockaddr *a);

/* Is it this machine's own loopback? */
bool network_is_loopback(const struct sockaddr *a);

#endif
