#include "config/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "config/config.h"
#include "config/value.h"
#include "proxy/base/mem.h"

#define HOST_MAX      253 /* RFC 1035 2.3.4, as text */
#define PATH_MAX_UNIX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

static enum host_scope scope_ipv4(uint32_t ip)
{
    if (ip >> 24 == 127)
        return HOST_LOOPBACK;
    if (ip >> 24 == 10 || ip >> 20 == 0xac1 || ip >> 16 == 0xc0a8)
        return HOST_PRIVATE;
    return HOST_PUBLIC;
}

static enum host_scope scope_ipv6(const struct in6_addr *ip)
{
    uint32_t last;

    memcpy(&last, ip->s6_addr + 12, sizeof(last));
    if (IN6_IS_ADDR_LOOPBACK(ip))
        return HOST_LOOPBACK;
    if (IN6_IS_ADDR_V4MAPPED(ip))
        return scope_ipv4(ntohl(last));
    return (ip->s6_addr[0] & 0xfe) == 0xfc ? HOST_PRIVATE : HOST_PUBLIC;
}

static bool is_label(struct span label)
{
    if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++)
        if (!isalnum((unsigned char)label.p[i]) && label.p[i] != '-' && label.p[i] != '_')
            return false;
    return true;
}

static bool is_numeric(struct span label)
{
    if (label.n >= 2 && label.p[0] == '0' && (label.p[1] | 0x20) == 'x')
        return true;
    for (size_t i = 0; i < label.n; i++)
        if (!isdigit((unsigned char)label.p[i]))
            return false;
    return true;
}

static bool is_under(struct span host, const char *suffix)
{
    size_t n = strlen(suffix);

    return host.n > n && span_is_nocase((struct span){host.p + host.n - n, n}, suffix);
}

static enum host_scope scope_name(struct span host)
{
    struct span label = host;
    size_t labels = 0;

    for (struct span rest = host;; labels++) {
        const char *dot = memchr(rest.p, '.', rest.n);

        label = (struct span){rest.p, dot != NULL ? (size_t)(dot - rest.p) : rest.n};
        if (!is_label(label))
            return HOST_INVALID;
        if (dot == NULL)
            break;
        rest = (struct span){dot + 1, rest.n - label.n - 1};
    }
    if (is_numeric(label))
        return HOST_INVALID;
    if (span_is_nocase(host, "localhost") || is_under(host, ".localhost"))
        return HOST_LOOPBACK;
    if (labels == 0 || is_under(host, ".local") || is_under(host, ".internal"))
        return HOST_PRIVATE;
    return HOST_PUBLIC;
}

enum host_scope host_scope(struct span host)
{
    char text[HOST_MAX + 1];
    struct in_addr ip4;
    struct in6_addr ip6;

    if (host.n == 0 || host.n > HOST_MAX || memchr(host.p, '\0', host.n) != NULL)
        return HOST_INVALID;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(AF_INET, text, &ip4) == 1)
        return scope_ipv4(ntohl(ip4.s_addr));
    if (inet_pton(AF_INET6, text, &ip6) == 1)
        return scope_ipv6(&ip6);
    return scope_name(host);
}

static bool read_port(struct span text, uint16_t *out)
{
    uint64_t port;

    if (text.n > 5 || !span_to_u64(text, &port) || port > UINT16_MAX)
        return false;
    *out = (uint16_t)port;
    return true;
}

/* Splits "HOST", "HOST:PORT", "[IPV6]" and "[IPV6]:PORT"; the port without its colon, p == NULL
 * when there is none. False where a bracket or colon stands wrong. */
static bool split_host(struct span text, struct span *host, struct span *port)
{
    const char *end = text.p + text.n, *colon;

    *port = (struct span){0};
    if (text.n > 0 && text.p[0] == '[') {
        const char *close = memchr(text.p, ']', text.n);

        if (close == NULL)
            return false;
        *host = (struct span){text.p + 1, (size_t)(close - text.p) - 1};
        if (memchr(host->p, ':', host->n) == NULL)
            return false;
        if (close + 1 == end)
            return true;
        colon = close + 1;
        if (*colon != ':')
            return false;
    } else {
        colon = memchr(text.p, ':', text.n);
        *host = (struct span){text.p, colon != NULL ? (size_t)(colon - text.p) : text.n};
        if (colon == NULL)
            return true;
    }
    *port = (struct span){colon + 1, (size_t)(end - colon) - 1};
    return memchr(port->p, ':', port->n) == NULL;
}

static int listen_unix(const char *text, struct config_listen *out, struct err *e)
{
    const char *path = text + strlen("unix:");

    if (path[0] != '/' || path[1] == '\0')
        return err_set(e, ERR_VALUE, "needs an absolute path, such as unix:/run/holdfast.sock");
    if (strlen(path) > PATH_MAX_UNIX)
        return err_set(e, ERR_VALUE, "is too long for a unix socket; at most %zu bytes",
                       PATH_MAX_UNIX);
    *out = (struct config_listen){
        .text = mem_strdup(text), .path = mem_strdup(path), .loopback = true};
    return 0;
}

int config_listen_parse(const char *text, struct config_listen *out, struct err *e)
{
    static const char expected[] = "expected HOST:PORT, :PORT, [IPV6]:PORT or unix:/path";
    struct span host, port;
    enum host_scope scope;
    uint16_t number;

    if (strncmp(text, "unix:", 5) == 0)
        return listen_unix(text, out, e);
    if (!split_host(span_of(text), &host, &port))
        return err_set(e, ERR_VALUE, "is not an address; %s", expected);
    if (port.p == NULL && read_port(host, &number))
        return err_set(e, ERR_VALUE, "has no host; write 127.0.0.1:%u", number);
    if (port.p == NULL)
        return err_set(e, ERR_VALUE, "has no port; %s", expected);
    if (!read_port(port, &number))
        return err_set(e, ERR_VALUE, "has a port that is not 0 to 65535");
    if (host.n == 0)
        host = SPAN("*");
    scope = span_is(host, "*") ? HOST_PUBLIC : host_scope(host);
    if (scope == HOST_INVALID)
        return err_set(e, ERR_VALUE, "has no valid host; %s", expected);
    *out = (struct config_listen){.text = mem_strdup(text),
                                  .host = mem_strndup(host.p, host.n),
                                  .port = number,
                                  .loopback = scope == HOST_LOOPBACK};
    return 0;
}

void config_listen_release(struct config_listen *l)
{
    free(l->text);
    free(l->host);
    free(l->path);
    *l = (struct config_listen){0};
}

int host_and_port_read(struct span text, struct span *host, uint16_t *port, struct err *e)
{
    struct span digits;

    if (!split_host(text, host, &digits))
        return err_set(e, ERR_VALUE, "has no valid host");
    if (digits.p != NULL && (!read_port(digits, port) || *port == 0))
        return err_set(e, ERR_VALUE, "has a port that is not 1 to 65535");
    if (host_scope(*host) == HOST_INVALID)
        return err_set(e, ERR_VALUE, "has no valid host");
    return 0;
}

int url_read(const char *text, struct url *out, struct err *e)
{
    struct url u = {0};
    struct span rest = span_of(text), authority;
    size_t n;

    for (size_t i = 0; i < rest.n; i++)
        if (rest.p[i] <= 0x20 || rest.p[i] >= 0x7f || strchr("\"<>\\^`{|}", rest.p[i]) != NULL)
            return err_set(e, ERR_VALUE, "holds a character that a URL may not hold");
    u.https = rest.n >= 8 && strncasecmp(rest.p, "https://", 8) == 0;
    if (!u.https && (rest.n < 7 || strncasecmp(rest.p, "http://", 7) != 0))
        return err_set(e, ERR_VALUE, "is not an http or https URL");
    n = u.https ? 8 : 7;
    rest = (struct span){rest.p + n, rest.n - n};
    authority = (struct span){rest.p, strcspn(rest.p, "/?#")};
    if (memchr(authority.p, '@', authority.n) != NULL)
        return err_set(e, ERR_VALUE, "holds a user or password; the key goes into api_key");
    if (strpbrk(rest.p, "?#") != NULL)
        return err_set(e, ERR_VALUE, "has a query or fragment; expected scheme, host and path");
    u.port = u.https ? 443 : 80;
    if (host_and_port_read(authority, &u.host, &u.port, e) < 0)
        return -1;
    u.scope = host_scope(u.host);
    *out = u;
    return 0;
}

bool origin_valid(const char *text)
{
    const char *host = strstr(text, "://");
    struct span name, port;
    uint16_t number;

    if (host == NULL || !isalpha((unsigned char)text[0]))
        return false;
    for (const char *c = text; c < host; c++)
        if (!isalnum((unsigned char)*c) && strchr("+-.", *c) == NULL)
            return false;
    return split_host(span_of(host + 3), &name, &port) &&
           (port.p == NULL || read_port(port, &number)) && host_scope(name) != HOST_INVALID;
}
