#include "config/egress.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/address.h"
#include "config/value.h"
#include "proxy/base/attributes.h"
#include "proxy/base/mem.h"

static const char *const variables[2][4] = {
    {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"},
    {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"},
};

/* What libcurl takes, and the port that it takes where none is given. */
static const struct scheme {
    const char *prefix;
    uint16_t port;
    bool socks, tls;
} schemes[] = {
    {"http://", 1080, false, false},   {"https://", 443, false, true},
    {"socks5h://", 1080, true, false}, {"socks5://", 1080, true, false},
    {"socks4a://", 1080, true, false}, {"socks4://", 1080, true, false},
};

/* Fills all of *out but the URL itself. */
static int read_url(const char *url, const char *variable, struct egress *out, struct err *e)
{
    const struct scheme *scheme = NULL;
    struct span rest = span_of(url), host;
    const char *at, *colon;
    uint16_t port;
    bool v6;

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (strncasecmp(url, schemes[i].prefix, strlen(schemes[i].prefix)) == 0) {
            scheme = &schemes[i];
            rest = span_of(url + strlen(scheme->prefix));
        }
    if (scheme == NULL && strstr(url, "://") != NULL)
        return err_set(e, ERR_VALUE,
                       "is no URL of http, https, socks4, socks4a, socks5 or socks5h");
    if (scheme == NULL)
        scheme = &schemes[0];
    if (rest.n > 0 && rest.p[rest.n - 1] == '/')
        rest.n--;
    if (strcspn(rest.p, "/?#") < rest.n)
        return err_set(e, ERR_VALUE,
                       "has a path, or a password in which / ? # are not %%2F %%3F %%23");
    at = memrchr(rest.p, '@', rest.n);
    colon = strchr(rest.p, ':');
    if (at != NULL && colon != NULL && colon < at)
        out->password = (struct span){colon + 1, (size_t)(at - colon) - 1};
    if (at != NULL)
        rest = (struct span){at + 1, rest.n - (size_t)(at + 1 - rest.p)};
    port = scheme->port;
    if (host_and_port_read(rest, &host, &port, e) < 0)
        return -1;
    v6 = memchr(host.p, ':', host.n) != NULL;
    out->socks = scheme->socks;
    out->tls = scheme->tls;
    snprintf(out->name, sizeof(out->name), v6 ? "[%.*s]:%u (%s)" : "%.*s:%u (%s)", SPAN_ARG(host),
             port, variable);
    return 0;
}

int egress_find(bool https, char *(*variable)(const char *name), struct egress *out, struct err *e)
{
    struct egress found = {0};
    char quoted[VALUE_QUOTE_MAX];
    const char *url, *name = NULL;
    struct err inner;

    for (size_t i = 0; i < ARRAY_LEN(variables[https]) && found.url == NULL; i++) {
        name = variables[https][i];
        url = variable(name);
        if (url != NULL && *url != '\0')
            found.url = mem_strdup(url);
    }
    if (found.url != NULL && read_url(found.url, name, &found, &inner) < 0) {
        err_set(e, ERR_VALUE, "%s: %s %s; expected a proxy such as http://office:3128", name,
                strchr(found.url, '@') != NULL ? "the URL" : value_quote(quoted, found.url),
                inner.msg);
        egress_release(&found);
        return -1;
    }
    *out = found;
    return 0;
}

void egress_release(struct egress *x)
{
    if (x->url != NULL)
        explicit_bzero(x->url, strlen(x->url));
    free(x->url);
    *x = (struct egress){0};
}
