#include <stdlib.h>
#include <string.h>

#include "config/address.h"
#include "config/reader.h"
#include "config/value.h"
#include "proxy/base/mem.h"
#include "proxy/base/span.h"

/* The names of all types, "a, b, c", each offered to the suggestion. Those stay in the arena. */
static void offer_types(struct reader *r, struct suggestion *near)
{
    for (const char *at = r->types->names; *at != '\0'; at += strspn(at, ", ")) {
        size_t n = strcspn(at, ", ");

        suggest_offer(near, arena_strdup(r->arena, (struct span){at, n}));
        at += n;
    }
}

static int bad_type(struct reader *r, const struct node *type, const char *path, const char *text)
{
    struct suggestion near = suggest(text);
    char quoted[VALUE_QUOTE_MAX];

    offer_types(r, &near);
    value_quote(quoted, type->text);
    if (near.best != NULL)
        return fail_at(r, type, path, "%s is no type; did you mean %s?", quoted, near.best);
    return fail_at(r, type, path, "%s is no type; expected one of %s", quoted, r->types->names);
}

/* A type that answers inside of the process has no account anywhere. */
static int check_local(struct reader *r, const struct node *n, const char *path,
                       const struct config_provider *p)
{
    static const char *const remote[] = {"base_url",   "api_key",     "keys",
                                         "allow_http", "dialect",     "completions",
                                         "ca",         "client_cert", "client_key"};

    for (size_t i = 0; i < ARRAY_LEN(remote); i++) {
        const struct node *key = node_find(n, remote[i]);

        if (key != NULL)
            return fail_at_key(r, key, arena_printf(r->arena, "%s.%s", path, remote[i]),
                               "type %s answers by itself and takes none; remove the line",
                               p->type);
    }
    if (p->text == NULL)
        return fail_at_key(r, n, path, "has no text; type %s needs what it is to answer", p->type);
    return 0;
}

/* What people copy from a curl line. */
static bool ends_with_endpoint(struct span url)
{
    static const char *const ends[] = {"/chat/completions", "/messages", "/responses"};

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        size_t n = strlen(ends[i]);

        if (url.n > n && memcmp(url.p + url.n - n, ends[i], n) == 0)
            return true;
    }
    return false;
}

int check_base_url(const char *text, bool allow_http, char **out, struct err *e)
{
    struct url url;
    size_t n = strlen(text), scheme;
    char *copy;

    if (url_read(text, &url, e) < 0)
        return -1;
    if (!url.https && url.scope == HOST_PUBLIC && !allow_http)
        return err_set(e, ERR_VALUE,
                       "sends keys and prompts readable through the internet; use https, or set "
                       "allow_http: true");
    while (text[n - 1] == '/')
        n--;
    if (ends_with_endpoint((struct span){text, n}))
        return err_set(e, ERR_VALUE, "is an endpoint; expected the URL before /chat/completions");
    copy = mem_strndup(text, n);
    scheme = url.https ? 5 : 4;
    memcpy(copy, "https", scheme);
    free(*out);
    *out = copy;
    return 0;
}

static int check_url(struct reader *r, const struct node *n, const char *path,
                     struct config_provider *p)
{
    const char *at = arena_printf(r->arena, "%s.base_url", path);
    const struct node *node = node_find(n, "base_url");
    char quoted[VALUE_QUOTE_MAX];
    struct err inner;

    if (check_base_url(p->base_url, p->allow_http, &p->base_url, &inner) == 0)
        return 0;
    /* What looks like a password or a key in the URL is not repeated. */
    if (strpbrk(node->text, "@?") != NULL)
        return fail_at(r, node, at, "%s", inner.msg);
    return fail_at(r, node, at, "%s %s", value_quote(quoted, node->text), inner.msg);
}

void check_settle_dialect(const struct config_type *type, struct config_provider *p)
{
    bool own_url = type->base_url != NULL && strcmp(p->base_url, type->base_url) == 0;

    if (type->openai_like && p->dialect == NULL)
        p->dialect = mem_strdup(type->both && own_url ? "both" : "chat");
}

/* A URL of its own or the type's, and a key where that asks for one. */
static int check_remote(struct reader *r, const struct node *n, const char *path,
                        const struct config_type *type, struct config_provider *p)
{
    const struct node *text = node_find(n, "text");

    if (text != NULL)
        return fail_at_key(r, text, arena_printf(r->arena, "%s.text", path),
                           "only a provider that answers by itself takes one, and type %s does not",
                           p->type);
    if ((p->client_cert == NULL) != (p->client_key == NULL))
        return fail_at_key(r, n, path, "has only one of client_cert and client_key; expected both");
    for (size_t i = 0; i < 3; i++) { /* a new one counts when it is there */
        const char *const files[] = {p->ca, p->client_cert, p->client_key};

        if (files[i] != NULL)
            config_add_file(r->c, files[i]);
    }
    if (node_find(n, "keys") != NULL && node_find(n, "api_key") != NULL)
        return fail_at_key(r, node_find(n, "keys"), arena_printf(r->arena, "%s.keys", path),
                           "api_key is given too; expected one of the two");
    if (p->base_url != NULL) {
        if (check_url(r, n, path, p) < 0)
            return -1;
    } else if (type->base_url == NULL) {
        return fail_at_key(r, n, path, "has no base_url; type %s has no default", p->type);
    } else {
        p->base_url = mem_strdup(type->base_url);
    }
    if (type->needs_key && p->n_keys == 0 && type->base_url != NULL &&
        strcmp(p->base_url, type->base_url) == 0)
        return fail_at_key(r, n, path, "has no api_key; %s needs one", type->base_url);
    if (p->dialect != NULL && !type->openai_like)
        return fail_at_key(r, node_find(n, "dialect"), arena_printf(r->arena, "%s.dialect", path),
                           "type %s has one of its own; remove the line", p->type);
    if (p->completions != NULL && !type->openai_like)
        return fail_at_key(r, node_find(n, "completions"),
                           arena_printf(r->arena, "%s.completions", path),
                           "type %s has no other than translated ones; remove the line", p->type);
    check_settle_dialect(type, p);
    return 0;
}

int check_provider(struct reader *r, const struct node *n, const char *path,
                   struct config_provider *p)
{
    struct config_type type = {0};

    if (p->type == NULL)
        return fail_at_key(r, n, path, "has no type; expected one of %s", r->types->names);
    if (!r->types->find(p->type, &type))
        return bad_type(r, node_find(n, "type"), arena_printf(r->arena, "%s.type", path), p->type);
    return type.local ? check_local(r, n, path, p) : check_remote(r, n, path, &type, p);
}

/* The first match wins: a later route with the same pattern can never be reached, which is an
 * error; one that an earlier glob covers can still be asked for by name. */
int check_route(struct reader *r, const struct node *n, const char *path)
{
    const struct config *c = r->c;
    const struct config_route *last = &c->routes[c->n_routes - 1];
    const struct node *model = node_find(n, "model");
    char quoted[VALUE_QUOTE_MAX];

    if (last->model == NULL)
        return fail_at(r, n, path, "has no model; expected a model name or pattern");
    if (last->n_targets == 0)
        return fail_at(r, n, path, "has no targets; expected at least one provider/model");
    path = arena_printf(r->arena, "%s.model", path);
    value_quote(quoted, model->text);
    for (size_t i = 0; i + 1 < c->n_routes; i++)
        if (strcmp(c->routes[i].model, last->model) == 0)
            return fail_at(r, model, path, "%s is routes[%zu].model already; the first match wins",
                           quoted, i);
    for (size_t i = 0; i + 1 < c->n_routes; i++)
        if (span_glob(span_of(c->routes[i].model), span_of(last->model))) {
            warn(r->c,
                 "%s:%u:%u: %s: %s never matches, since routes[%zu] (%s) matches all of it first",
                 r->file, model->line, model->column, path, quoted, i, c->routes[i].model);
            break;
        }
    return 0;
}

int check_client(struct reader *r, const struct node *n, const char *path)
{
    const struct config *c = r->c;
    const struct config_client *last = &c->clients[c->n_clients - 1];
    const struct node *key = node_find(n, "key_sha256");
    char quoted[VALUE_QUOTE_MAX];

    if (last->name == NULL)
        return fail_at(r, n, path, "has no name");
    if (key == NULL)
        return fail_at(r, n, path, "has no key_sha256");
    for (size_t i = 0; i + 1 < c->n_clients; i++) {
        if (strcmp(c->clients[i].name, last->name) == 0)
            return fail_at(r, node_find(n, "name"), arena_printf(r->arena, "%s.name", path),
                           "%s is clients[%zu].name already", value_quote(quoted, last->name), i);
        if (memcmp(c->clients[i].key_sha256, last->key_sha256, sizeof(last->key_sha256)) == 0)
            return fail_at(r, key, arena_printf(r->arena, "%s.key_sha256", path),
                           "is the key of clients[%zu] already", i);
    }
    return 0;
}

/* "localhost" is both of the usual addresses of this machine. */
static bool is_localhost_at(struct span name, struct span address)
{
    return span_is_nocase(name, "localhost") &&
           (span_is(address, "127.0.0.1") || span_is(address, "::1"));
}

static bool same_host(struct span a, const char *b)
{
    return span_is_nocase(a, b) || is_localhost_at(a, span_of(b)) || is_localhost_at(span_of(b), a);
}

static bool same_place(const struct config_listen *a, const struct config_listen *b)
{
    if (a->path != NULL || b->path != NULL)
        return a->path != NULL && b->path != NULL && strcmp(a->path, b->path) == 0;
    return a->host != NULL && b->host != NULL && a->port != 0 && a->port == b->port &&
           same_host(span_of(a->host), b->host);
}

static int check_listeners(struct reader *r)
{
    const struct config *c = r->c;
    char quoted[VALUE_QUOTE_MAX];

    for (size_t i = 0; i < c->n_listens; i++) {
        const struct config_listen *l = &c->listens[i];

        value_quote(quoted, l->text);
        for (size_t j = 0; j < i; j++)
            if (same_place(&c->listens[j], l))
                return fail_option(r, "listen", "%s stands here twice", quoted);
        if (same_place(&c->admin, l))
            return fail_option(r, "admin", "%s is a data port too; expected another one",
                               value_quote(quoted, c->admin.text));
        if (!l->loopback && c->n_clients == 0 && !c->insecure)
            return fail_option(r, "listen",
                               "other machines can reach %s and there are no clients; expected "
                               "clients with keys, or insecure: true",
                               quoted);
    }
    if (c->admin.host != NULL && !c->admin.loopback && !c->insecure)
        return fail_option(r, "admin",
                           "other machines can reach %s; expected a loopback address, or "
                           "insecure: true",
                           value_quote(quoted, c->admin.text));
    return 0;
}

const struct config_listen *check_own_listener(const struct config *c, const char *base_url)
{
    struct url url;
    struct err e;

    if (base_url == NULL || url_read(base_url, &url, &e) < 0 || url.https)
        return NULL;
    for (size_t i = 0; i < c->n_listens; i++) {
        const struct config_listen *l = &c->listens[i];

        if (l->host == NULL || l->port != url.port)
            continue;
        if (same_host(url.host, l->host))
            return l;
        if (url.scope == HOST_LOOPBACK &&
            (strcmp(l->host, "*") == 0 || strcmp(l->host, "0.0.0.0") == 0 ||
             strcmp(l->host, "::") == 0))
            return l;
    }
    return NULL;
}

/* A provider that is this proxy would send each request around in a circle. */
static int check_circle(struct reader *r)
{
    const struct node *providers = node_find(r->root, "providers");
    char quoted[VALUE_QUOTE_MAX];

    for (size_t i = 0; i < r->c->n_providers; i++) {
        const struct config_provider *p = &r->c->providers[i];
        const struct config_listen *own = check_own_listener(r->c, p->base_url);
        const struct node *n = node_find(node_find(providers, p->name), "base_url");

        if (own != NULL && n != NULL)
            return fail_at(r, n, arena_printf(r->arena, "providers.%s.base_url", p->name),
                           "%s leads back to this proxy, which listens on %s",
                           value_quote(quoted, p->base_url), own->text);
    }
    return 0;
}

/* The outgoing proxies of the environment, as far as providers are reached through them. */
static int check_egress(struct reader *r)
{
    struct url url;
    struct err none;

    for (size_t i = 0; i < r->c->n_providers; i++) {
        const char *base_url = r->c->providers[i].base_url;

        if (base_url == NULL || url_read(base_url, &url, &none) < 0 || url.scope != HOST_PUBLIC ||
            r->c->egress[url.https].url != NULL)
            continue;
        if (egress_find(url.https, getenv, &r->c->egress[url.https], r->e) < 0)
            return -1;
    }
    return 0;
}

/* What only the whole can tell. */
int check_whole(struct reader *r)
{
    struct config *c = r->c;
    char one[VALUE_TEXT_MAX], other[VALUE_TEXT_MAX];

    if (c->n_providers == 0)
        return fail_option(r, "providers", "there are none; expected at least one");
    if (c->n_routes == 0)
        return fail_option(r, "routes",
                           "there are none; expected at least one, such as {model: \"*\", "
                           "targets: [%s]}",
                           c->providers[0].name);
    if (c->breaker.open_base > c->breaker.open_cap)
        return fail_option(r, "breaker.open_base", "%s is more than breaker.open_cap, %s",
                           value_show_duration(one, c->breaker.open_base),
                           value_show_duration(other, c->breaker.open_cap));
    if (c->limits.request_body > c->limits.memory)
        return fail_option(r, "limits.request_body", "%s is more than limits.memory, %s",
                           value_show_size(one, c->limits.request_body),
                           value_show_size(other, c->limits.memory));
    if ((c->tls.cert == NULL) != (c->tls.key == NULL))
        return fail_option(r, "tls", "has only one of cert and key; expected both");
    if (c->tls.cert != NULL) { /* a new one counts when it is there */
        config_add_file(r->c, c->tls.cert);
        config_add_file(r->c, c->tls.key);
    }
    r->c->networks = mem_zalloc((c->n_allow + 1) * sizeof(*c->networks));
    for (size_t i = 0; i < c->n_allow; i++)
        if (network_parse(c->allow[i], &r->c->networks[i], r->e) < 0)
            return err_prefix(r->e, "allow"); /* its row has looked at it */
    if (check_listeners(r) < 0 || check_egress(r) < 0)
        return -1;
    if (c->log.payloads > 0)
        warn(c,
             "log.payloads: whoever reads the log reads what people write here and are answered");
    return check_circle(r);
}
