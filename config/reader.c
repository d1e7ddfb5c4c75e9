#include "config/reader.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/substitute.h"
#include "config/value.h"
#include "proxy/base/mem.h"
#include "proxy/base/strbuf.h"

static size_t row_index(const struct option *o)
{
    size_t n, i = (size_t)(o - options_all(&n));

    assert(i < n && n <= OPTIONS_MAX);
    return i;
}

bool reader_is_set(const struct reader *r, const char *path)
{
    return r->set[row_index(option_find(path))];
}

static int fail_with(struct reader *r, const char *place, const char *fmt, va_list ap)
    PRINTF_LIKE(3, 0);

static int fail_with(struct reader *r, const char *place, const char *fmt, va_list ap)
{
    char text[sizeof(r->e->msg)];

    vsnprintf(text, sizeof(text), fmt, ap);
    return err_set(r->e, ERR_VALUE, "%s: %s", place, text);
}

static const char *place_of(struct reader *r, unsigned line, unsigned column, const char *path)
{
    return arena_printf(r->arena, "%s:%u:%u%s%s", r->file, line, column, *path != '\0' ? ": " : "",
                        path);
}

int fail_at(struct reader *r, const struct node *n, const char *path, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail_with(r, place_of(r, n->line, n->column, path), fmt, ap);
    va_end(ap);
    return -1;
}

int fail_at_key(struct reader *r, const struct node *n, const char *path, const char *fmt, ...)
{
    va_list ap;

    assert(n->key != NULL);
    va_start(ap, fmt);
    fail_with(r, place_of(r, n->key_line, n->key_column, path), fmt, ap);
    va_end(ap);
    return -1;
}

/* The node of an option outside of lists: "drain.timeout" leads through one map. */
static const struct node *node_of(const struct reader *r, const char *path)
{
    const char *dot = strchr(path, '.');

    if (dot == NULL)
        return node_find(r->root, path);
    return node_find(
        node_find(r->root, arena_strdup(r->arena, (struct span){path, (size_t)(dot - path)})),
        dot + 1);
}

int fail_option(struct reader *r, const char *path, const char *fmt, ...)
{
    const struct option *o = option_find(path);
    const struct node *n = node_of(r, path);
    const char *place;
    va_list ap;

    if (r->from_env[row_index(o)])
        place = arena_printf(r->arena, "HOLDFAST_%s", option_variable(o, r->arena));
    else if (n != NULL)
        place = place_of(r, n->line, n->column, path);
    else
        place = arena_printf(r->arena, "%s: %s", r->file, path);
    va_start(ap, fmt);
    fail_with(r, place, fmt, ap);
    va_end(ap);
    return -1;
}

void warn(struct config *c, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->warnings = mem_grow(c->warnings, (c->n_warnings + 1) * sizeof(char *));
    c->warnings[c->n_warnings++] = mem_strdup(text);
}

static const char *kind_name(const struct node *n)
{
    return n->kind == NODE_MAP ? "a mapping" : n->kind == NODE_LIST ? "a list" : "text";
}

/* Keys in a file that every user of the machine can read are worth a word, but no refusal: in a
 * container there may be no other user. */
static void warn_open_secret(struct reader *r, const struct node *n, const char *path,
                             const struct substituted *s)
{
    if (s->open_file != NULL)
        warn(r->c, "%s:%u:%u: %s: every user of this machine can read %s", r->file, n->line,
             n->column, path, s->open_file);
    else if (!s->changed && r->open_to_all)
        warn(
            r->c,
            "%s:%u:%u: %s: every user of this machine can read this file and its key; chmod 600 it",
            r->file, n->line, n->column, path);
}

int reader_text(struct reader *r, const struct option *o, const struct node *n, const char *path,
                const char **text, const char **shown)
{
    char expects[OPTION_EXPECTS_MAX];
    struct substituted s;
    struct err inner;

    if (n->kind != NODE_TEXT)
        return fail_at(r, n, path, "expected %s, found %s", option_expects(o, expects),
                       kind_name(n));
    if (n->null)
        return fail_at(r, n, path, "has no value; expected %s", option_expects(o, expects));
    if (substitute(n->text, r->arena, &s, &inner) < 0)
        return fail_at(r, n, path, "%s", inner.msg);
    for (size_t i = 0; i < s.n_files; i++)
        config_add_file(r->c, s.files[i]);
    if (option_is_secret(o))
        warn_open_secret(r, n, path, &s);
    *text = s.text;
    *shown = n->text; /* as written: what a variable or a file holds may be a secret */
    return 0;
}

static int read_scalar(struct reader *r, const struct option *o, const struct node *n,
                       const char *path, void *owner)
{
    char quoted[VALUE_QUOTE_MAX];
    const char *text, *shown;
    struct err inner;

    if (reader_text(r, o, n, path, &text, &shown) < 0)
        return -1;
    if (option_store(o, owner, text, &inner) == 0)
        return 0;
    if (option_is_secret(o) || o->type == OPTION_SHA256) /* where a key may stand by mistake */
        return fail_at(r, n, path, "%s", inner.msg);
    if (text != shown)
        return fail_at(r, n, path, "%s: what it stands for %s", value_quote(quoted, shown),
                       inner.msg);
    return fail_at(r, n, path, "%s %s", value_quote(quoted, shown), inner.msg);
}

static int read_list(struct reader *r, const struct option *o, const struct node *n,
                     const char *path, void *owner)
{
    size_t i = 0;

    option_clear(o, owner);
    if (n->kind == NODE_TEXT)
        return read_scalar(r, o, n, path, owner);
    if (n->kind == NODE_MAP)
        return fail_at(r, n, path, "expected a list, found a mapping");
    if (n->first == NULL)
        return fail_at(r, n, path, "is an empty list");
    for (const struct node *item = n->first; item != NULL; item = item->next, i++) {
        if (i == CONFIG_MAX_ITEMS)
            return fail_at(r, item, path, "has more than %d entries", CONFIG_MAX_ITEMS);
        if (read_scalar(r, o, item, arena_printf(r->arena, "%s[%zu]", path, i), owner) < 0)
            return -1;
    }
    return 0;
}

/* The last key of a path that is `pattern` and one key more, or NULL. */
static const char *key_under(const char *path, const char *pattern)
{
    size_t n = strlen(pattern);

    if (strncmp(path, pattern, n) != 0 || (n > 0 && path[n] != '.'))
        return NULL;
    path += n > 0 ? n + 1 : 0;
    return *path == '*' || strpbrk(path, ".[") != NULL ? NULL : path;
}

/* A path with one key more, which may be any text. */
static const char *join(struct reader *r, const char *path, const char *key)
{
    char quoted[VALUE_QUOTE_MAX];
    struct err e;

    if (option_check(FORM_NAME, key, &e) < 0)
        key = value_quote(quoted, key);
    return arena_printf(r->arena, "%s%s%s", path, *path != '\0' ? "." : "", key);
}

static int unknown_key(struct reader *r, const struct node *n, const char *pattern,
                       const char *path)
{
    struct suggestion near = suggest(n->key);
    struct strbuf all = strbuf_in(r->arena, 512);
    size_t count;
    const struct option *rows = options_all(&count);

    for (size_t i = 0; i < count; i++) {
        const char *key = key_under(rows[i].path, pattern);

        if (key == NULL)
            continue;
        suggest_offer(&near, key);
        if (rows[i].ready)
            strbuf_addf(&all, "%s%s", all.len > 0 ? ", " : "", key);
    }
    if (near.best != NULL)
        return fail_at_key(r, n, path, "unknown key; did you mean %s?", near.best);
    if (all.len == 0)
        return fail_at_key(r, n, path, "unknown key");
    return fail_at_key(r, n, path, "unknown key; expected one of %s", all.buf);
}

static int read_option(struct reader *r, const struct option *o, const struct node *n,
                       const char *path, void *owner);

/* Reads the keys of a map, which are rows under `pattern` with fields in `owner`. */
static int read_section(struct reader *r, const struct node *map, const char *pattern,
                        const char *path, void *owner)
{
    if (map->kind != NODE_MAP && !map->null)
        return fail_at(r, map, path, "expected a mapping, found %s", kind_name(map));
    for (const struct node *n = map->first; n != NULL; n = n->next) {
        const char *inner = join(r, path, n->key);
        const struct option *o = NULL;

        /* A dot or bracket in a key must not reach the rows of another section. */
        if (strpbrk(n->key, ".*[") == NULL)
            o = option_find(
                arena_printf(r->arena, "%s%s%s", pattern, *pattern != '\0' ? "." : "", n->key));
        if (o == NULL)
            return unknown_key(r, n, pattern, inner);
        if (!o->ready && !(o->type == OPTION_SECTION && (n->kind == NODE_MAP || n->null)))
            return fail_at_key(r, n, inner, "not available in this version (%s); remove the line",
                               HOLDFAST_VERSION);
        if (read_option(r, o, n, inner, owner) < 0)
            return -1;
        r->set[row_index(o)] = true;
    }
    return 0;
}

static int read_provider(struct reader *r, const struct node *n, const char *path)
{
    struct config *c = r->c;
    struct config_provider *p;
    struct err inner;

    if (c->n_providers == CONFIG_MAX_ITEMS)
        return fail_at_key(r, n, path, "more than %d providers", CONFIG_MAX_ITEMS);
    if (option_check(FORM_NAME, n->key, &inner) < 0)
        return fail_at_key(r, n, path, "%s", inner.msg);
    c->providers = mem_grow(c->providers, (c->n_providers + 1) * sizeof(*p));
    p = &c->providers[c->n_providers++];
    *p = (struct config_provider){.name = mem_strdup(n->key)};
    options_default("providers.*", p);
    if (read_section(r, n, "providers.*", path, p) < 0)
        return -1;
    return check_provider(r, n, path, p);
}

static int no_such_provider(struct reader *r, const struct node *n, const char *path,
                            const char *name, const char *shown)
{
    struct suggestion near = suggest(name);
    struct strbuf all = strbuf_in(r->arena, 4096);
    char quoted[VALUE_QUOTE_MAX];

    for (size_t i = 0; i < r->c->n_providers; i++) {
        suggest_offer(&near, r->c->providers[i].name);
        strbuf_addf(&all, "%s%s", i > 0 ? ", " : "", r->c->providers[i].name);
    }
    value_quote(quoted, shown);
    if (near.best != NULL)
        return fail_at(r, n, path, "%s names no provider; did you mean %s?", quoted, near.best);
    return fail_at(r, n, path, "%s names no provider; there are %s", quoted, all.buf);
}

/* "provider/model", split at the first slash, or "provider". */
static int read_target_text(struct reader *r, const struct node *n, const char *path,
                            struct config_target *t)
{
    const struct option *o = option_find("routes[].targets[].target");
    const char *text, *shown, *slash;
    char quoted[VALUE_QUOTE_MAX], *name;
    struct err inner;

    if (reader_text(r, o, n, path, &text, &shown) < 0)
        return -1;
    if (option_check(o->form, text, &inner) < 0)
        return fail_at(r, n, path, "%s %s", value_quote(quoted, shown), inner.msg);
    slash = strchrnul(text, '/');
    if (*slash == '/' && slash[1] == '\0')
        return fail_at(r, n, path, "%s has no model after its slash; expected provider/model",
                       value_quote(quoted, shown));
    name = arena_strdup(r->arena, (struct span){text, (size_t)(slash - text)});
    for (t->provider = 0; t->provider < r->c->n_providers; t->provider++)
        if (strcmp(r->c->providers[t->provider].name, name) == 0)
            break;
    if (t->provider == r->c->n_providers)
        return no_such_provider(r, n, path, name, shown);
    if (*slash == '/')
        t->model = mem_strdup(slash + 1);
    return 0;
}

static int read_target(struct reader *r, const struct node *n, const char *path,
                       struct config_route *route, unsigned tier)
{
    const struct node *text = n;
    struct config_target *t;

    if (route->n_targets == CONFIG_MAX_TARGETS)
        return fail_at(r, n, path, "a route has at most %d targets", CONFIG_MAX_TARGETS);
    route->targets = mem_grow(route->targets, (route->n_targets + 1) * sizeof(*t));
    t = &route->targets[route->n_targets++];
    *t = (struct config_target){.tier = tier};
    options_default("routes[].targets[]", t);
    if (n->kind == NODE_MAP) {
        if (read_section(r, n, "routes[].targets[]", path, t) < 0)
            return -1;
        text = node_find(n, "target");
        if (text == NULL)
            return fail_at(r, n, path, "has no target; expected target: provider/model");
        path = join(r, path, "target");
    }
    return read_target_text(r, text, path, t);
}

/* A tier of its own for each target, or for each list of targets. */
static int read_targets(struct reader *r, const struct node *n, const char *path,
                        struct config_route *route)
{
    unsigned tier = 0;

    if (n->kind != NODE_LIST)
        return fail_at(r, n, path, "expected a list of targets, found %s", kind_name(n));
    if (n->first == NULL)
        return fail_at(r, n, path, "is an empty list; expected at least one provider/model");
    for (const struct node *item = n->first; item != NULL; item = item->next, tier++) {
        const char *at = arena_printf(r->arena, "%s[%u]", path, tier);
        unsigned i = 0;

        if (item->kind != NODE_LIST) {
            if (read_target(r, item, at, route, tier) < 0)
                return -1;
            continue;
        }
        if (item->first == NULL)
            return fail_at(r, item, at, "is an empty tier; expected at least one target");
        for (const struct node *in = item->first; in != NULL; in = in->next, i++)
            if (read_target(r, in, arena_printf(r->arena, "%s[%u]", at, i), route, tier) < 0)
                return -1;
    }
    return 0;
}

static int read_route(struct reader *r, const struct node *n, const char *path)
{
    struct config *c = r->c;
    struct config_route *route;

    c->routes = mem_grow(c->routes, (c->n_routes + 1) * sizeof(*route));
    route = &c->routes[c->n_routes++];
    *route = (struct config_route){0};
    if (read_section(r, n, "routes[]", path, route) < 0)
        return -1;
    return check_route(r, n, path);
}

static int read_client(struct reader *r, const struct node *n, const char *path)
{
    struct config *c = r->c;
    struct config_client *client;

    c->clients = mem_grow(c->clients, (c->n_clients + 1) * sizeof(*client));
    client = &c->clients[c->n_clients++];
    *client = (struct config_client){0};
    if (read_section(r, n, "clients[]", path, client) < 0)
        return -1;
    return check_client(r, n, path);
}

/* The entries of a list of sections. */
static int read_objects(struct reader *r, const struct node *list, const char *path,
                        int (*read_one)(struct reader *r, const struct node *n, const char *path))
{
    size_t i = 0;

    if (list->kind != NODE_LIST && !list->null)
        return fail_at(r, list, path, "expected a list, found %s", kind_name(list));
    for (const struct node *n = list->first; n != NULL; n = n->next, i++) {
        const char *at = arena_printf(r->arena, "%s[%zu]", path, i);

        if (i == CONFIG_MAX_ITEMS)
            return fail_at(r, n, at, "more than %d %s", CONFIG_MAX_ITEMS, path);
        if (n->kind != NODE_MAP)
            return fail_at(r, n, at, "expected a mapping, found %s", kind_name(n));
        if (read_one(r, n, at) < 0)
            return -1;
    }
    return 0;
}

static int read_providers(struct reader *r, const struct node *map, const char *path)
{
    if (map->kind != NODE_MAP && !map->null)
        return fail_at(r, map, path, "expected a mapping of names, found %s", kind_name(map));
    for (const struct node *n = map->first; n != NULL; n = n->next)
        if (read_provider(r, n, join(r, path, n->key)) < 0)
            return -1;
    return 0;
}

static int read_option(struct reader *r, const struct option *o, const struct node *n,
                       const char *path, void *owner)
{
    if (o->type == OPTION_SECTION)
        return read_section(r, n, o->path, path, owner);
    if (o->type == OPTION_NAMED)
        return read_providers(r, n, path);
    if (o->type == OPTION_OBJECTS && owner == r->c && strcmp(o->path, "routes") == 0)
        return 0; /* after the providers, which may stand behind it */
    if (o->type == OPTION_OBJECTS)
        return read_objects(r, n, path, read_client);
    if (o->type == OPTION_TARGETS)
        return read_targets(r, n, path, owner);
    if (option_is_list(o))
        return read_list(r, o, n, path, owner);
    return read_scalar(r, o, n, path, owner);
}

/* Where a level gives its own time to the first token and none for whole answers, that is meant for
 * both: a client that wants its answer whole is not left waiting longer. */
static void settle_answer(struct config_timeouts *t)
{
    if (t->answer == 0)
        t->answer = t->first_token;
}

static void settle_timeouts(struct reader *r)
{
    struct config *c = r->c;

    if (!reader_is_set(r, "timeouts.answer") && reader_is_set(r, "timeouts.first_token"))
        c->timeouts.answer = c->timeouts.first_token;
    for (size_t i = 0; i < c->n_routes; i++) {
        settle_answer(&c->routes[i].timeouts);
        for (size_t j = 0; j < c->routes[i].n_targets; j++)
            settle_answer(&c->routes[i].targets[j].timeouts);
    }
}

int reader_run(struct reader *r)
{
    const struct node *routes = node_find(r->root, "routes");

    options_default("", r->c);
    if (r->root != NULL && read_section(r, r->root, "", "", r->c) < 0)
        return -1;
    if (routes != NULL && read_objects(r, routes, "routes", read_route) < 0)
        return -1;
    if (environment_run(r) < 0)
        return -1;
    if (r->root == NULL || (!reader_is_set(r, "providers") && !reader_is_set(r, "routes"))) {
        if (zero_run(r, r->root == NULL) < 0)
            return -1;
    }
    settle_timeouts(r);
    return check_whole(r);
}
