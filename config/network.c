#include "config/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first `bits` of two addresses. */
static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned rest = bits % 8;

    if (memcmp(a, b, bits / 8) != 0)
        return false;
    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) & (0xff << (8 - rest))) == 0;
}

static bool is_clean(const struct network *n, unsigned all)
{
    for (unsigned i = n->bits; i < all; i++)
        if (n->address[i / 8] & (0x80 >> i % 8))
            return false;
    return true;
}

static int not_one(struct err *e)
{
    return err_set(e, ERR_VALUE,
                   "is no network; expected an address, or one with a length such as 10.0.0.0/8");
}

int network_parse(const char *text, struct network *out, struct err *e)
{
    const char *slash = strchr(text, '/');
    size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
    char address[INET6_ADDRSTRLEN], *end;
    unsigned all;

    *out = (struct network){0};
    if (n >= sizeof(address))
        return not_one(e);
    memcpy(address, text, n);
    address[n] = '\0';
    out->family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
    if (inet_pton(out->family, address, out->address) != 1)
        return not_one(e);
    all = out->family == AF_INET ? 32 : 128;
    out->bits = all;
    if (slash != NULL) {
        unsigned long bits = strtoul(slash + 1, &end, 10);

        if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits > all)
            return not_one(e);
        out->bits = (unsigned)bits;
    }
    if (!is_clean(out, all))
        return err_set(e, ERR_VALUE, "has bits behind its length of %u; expected 0 there",
                       out->bits);
    return 0;
}

/* The address's bytes; of IPv4 in IPv6's clothes those of IPv4. */
static const uint8_t *bytes_of(const struct sockaddr *a, int *family)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const uint8_t *v6;

    *family = a->sa_family;
    if (a->sa_family == AF_INET)
        return (const uint8_t *)&((const struct sockaddr_in *)a)->sin_addr;
    v6 = (const uint8_t *)&((const struct sockaddr_in6 *)a)->sin6_addr;
    if (memcmp(v6, mapped, sizeof(mapped)) != 0)
        return v6;
    *family = AF_INET;
    return v6 + sizeof(mapped);
}

bool network_has(const struct network *n, const struct sockaddr *a)
{
    const uint8_t *bytes;
    int family;

    if (a->sa_family != AF_INET && a->sa_family != AF_INET6)
        return false;
    bytes = bytes_of(a, &family);
    return family == n->family && same_bits(bytes, n->address, n->bits);
}

bool network_is_loopback(const struct sockaddr *a)
{
    static const struct network loopback[] = {{AF_INET, {127}, 8}, {AF_INET6, {[15] = 1}, 128}};

    return network_has(&loopback[0], a) || network_has(&loopback[1], a);
}
