#include <stdlib.h>
#include <string.h>

#include "config/reader.h"
#include "config/value.h"
#include "proxy/base/mem.h"
#include "proxy/base/strbuf.h"

enum class { FLAGSHIP, FAST, REASONING };

/* Each vendor calls its small models by such a word. */
static const char *const small_words[] = {"mini", "nano", "flash", "haiku", "lite", "small"};

static const char demo_text[] =
    "This answer was written by Holdfast itself, not by a model: no provider key was found in the "
    "environment. Add one and start Holdfast again, for example: export OPENAI_API_KEY=... (or "
    "ANTHROPIC_API_KEY, or GEMINI_API_KEY). With two of them a failing provider is replaced by the "
    "other. Or describe your providers in holdfast.yaml.";

/* A value that is there; an empty one is how containers write "not set". */
static const char *read_variable(const char *name)
{
    const char *value = name != NULL ? getenv(name) : NULL;

    return value != NULL && *value != '\0' ? value : NULL;
}

static struct config_provider *add_provider(struct config *c, const char *name, const char *type)
{
    struct config_provider *p;

    c->providers = mem_grow(c->providers, (c->n_providers + 1) * sizeof(*p));
    p = &c->providers[c->n_providers++];
    *p = (struct config_provider){
        .name = mem_strdup(name), .type = mem_strdup(type), .carry_on = mem_strdup("auto")};
    return p;
}

/* Whoever exports OPENAI_BASE_URL so that programs find this proxy, and starts it in the same
 * shell, does not mean that it shall call itself. */
static int settle_url(struct reader *r, const struct config_zero *row,
                      const struct config_type *type, struct config_provider *p)
{
    const char *url = read_variable(row->env_url);
    char quoted[VALUE_QUOTE_MAX];
    struct err inner;

    if (url != NULL) {
        if (check_base_url(url, false, &p->base_url, &inner) < 0)
            return err_set(r->e, ERR_VALUE, "%s: %s %s", row->env_url,
                           strpbrk(url, "@?") != NULL ? "the URL" : value_quote(quoted, url),
                           inner.msg);
        if (check_own_listener(r->c, p->base_url) == NULL)
            return 0;
        warn(r->c, "%s: %s is this proxy itself; the provider's own URL is used", row->env_url,
             value_quote(quoted, url));
        free(p->base_url);
        p->base_url = NULL;
    }
    if (type->base_url == NULL)
        return err_set(r->e, ERR_VALUE, "%s: not set, and %s has no default", row->env_url,
                       row->name);
    p->base_url = mem_strdup(type->base_url);
    return 0;
}

static int add_zero_provider(struct reader *r, const struct config_zero *row)
{
    const char *key = read_variable(row->env_key);
    struct config_type type = {0};
    struct config_provider *p;
    struct err inner;

    if (!r->types->find(row->name, &type))
        return err_set(r->e, ERR_UNKNOWN, "%s: there is no type %s", row->env_key, row->name);
    p = add_provider(r->c, row->name, row->name);
    if (option_store(option_find("providers.*.api_key"), p, key, &inner) < 0)
        return err_set(r->e, ERR_VALUE, "%s: %s", row->env_key, inner.msg);
    if (settle_url(r, row, &type, p) < 0)
        return -1;
    check_settle_dialect(&type, p);
    return 0;
}

static void add_target(struct config_route *route, size_t provider, const char *model)
{
    struct config_target *t;

    if (route->n_targets == CONFIG_MAX_TARGETS)
        return;
    route->targets = mem_grow(route->targets, (route->n_targets + 1) * sizeof(*t));
    t = &route->targets[route->n_targets];
    *t = (struct config_target){
        .provider = provider, .tier = (unsigned)route->n_targets, .model = mem_strdup(model)};
    route->n_targets++;
    options_default("routes[].targets[]", t);
}

/* What stands in for another provider's model of that class. */
static const char *stand_in(const struct config_zero *row, enum class class)
{
    if (class == FAST && row->fast != NULL)
        return row->fast;
    if (class == REASONING && row->reasoning != NULL)
        return row->reasoning;
    return row->flagship;
}

/* First the provider where the name is at home, then what each other one has of that class. */
static void add_route(struct config *c, const struct config_zero *const *rows, size_t home,
                      const char *pattern, enum class class)
{
    struct config_route *route;

    for (size_t i = 0; i < c->n_routes; i++)
        if (strcmp(c->routes[i].model, pattern) == 0)
            return; /* of two routes with the same pattern only the first one counts */
    c->routes = mem_grow(c->routes, (c->n_routes + 1) * sizeof(*route));
    route = &c->routes[c->n_routes++];
    *route = (struct config_route){.model = mem_strdup(pattern)};
    add_target(route, home, NULL);
    for (size_t i = 0; i < c->n_providers; i++) {
        const char *model = stand_in(rows[i], class);

        if (i != home && model != NULL)
            add_target(route, i, model);
    }
}

/* Takes the next word of a space separated list; NULL at its end. */
static const char *next_word(struct reader *r, const char **list)
{
    int n;

    if (*list == NULL)
        return NULL;
    *list += strspn(*list, " ");
    n = (int)strcspn(*list, " ");
    *list += n;
    return n != 0 ? arena_printf(r->arena, "%.*s", n, *list - n) : NULL;
}

/* The narrow patterns before the wide ones. */
static void add_pattern_routes(struct reader *r, const struct config_zero *const *rows, size_t home)
{
    const char *list, *word;

    for (list = rows[home]->prefixes; (word = next_word(r, &list)) != NULL;)
        for (size_t i = 0; i < ARRAY_LEN(small_words); i++)
            add_route(r->c, rows, home, arena_printf(r->arena, "%s*%s*", word, small_words[i]),
                      FAST);
    for (list = rows[home]->reasoners; (word = next_word(r, &list)) != NULL;)
        add_route(r->c, rows, home, word, REASONING);
    for (list = rows[home]->prefixes; (word = next_word(r, &list)) != NULL;)
        add_route(r->c, rows, home, arena_printf(r->arena, "%s*", word), FLAGSHIP);
}

/* The built-in answer, so that a first try without any key shows that the program works. */
static int add_demo(struct reader *r)
{
    struct config_type type;
    struct config_route *route;

    if (!r->types->find("scripted", &type))
        return err_set(r->e, ERR_UNKNOWN, "zero configuration: there is no type scripted");
    add_provider(r->c, "demo", "scripted")->text = mem_strdup(demo_text);
    r->c->routes = mem_zalloc(sizeof(*route));
    route = &r->c->routes[r->c->n_routes++];
    route->model = mem_strdup("*");
    add_target(route, 0, "demo");
    return 0;
}

static int no_key(struct reader *r)
{
    struct strbuf all = strbuf_in(r->arena, 512);

    for (const struct config_zero *row = r->types->zero; row->env_key != NULL; row++)
        strbuf_addf(&all, "%s%s", all.len > 0 ? ", " : "", row->env_key);
    return err_set(r->e, ERR_VALUE,
                   "%s: there are no providers, and none of %s is set; add providers and routes",
                   r->file, all.buf != NULL ? all.buf : "the known keys");
}

int zero_run(struct reader *r, bool demo)
{
    const struct config_zero **rows; /* of the providers that are there */
    size_t n = 0;

    for (const struct config_zero *row = r->types->zero; row->env_key != NULL; row++)
        n++;
    rows = arena_alloc(r->arena, (n + 1) * sizeof(struct config_zero *));
    n = 0;
    for (const struct config_zero *row = r->types->zero; row->env_key != NULL; row++) {
        if (read_variable(row->env_key) == NULL)
            continue;
        rows[n++] = row;
        if (add_zero_provider(r, row) < 0)
            return -1;
    }
    if (n == 0)
        return demo ? add_demo(r) : no_key(r);
    /* By name first, so that a client's list of models has something to offer. */
    for (size_t home = 0; home < n; home++) {
        if (rows[home]->flagship != NULL)
            add_route(r->c, rows, home, rows[home]->flagship, FLAGSHIP);
        if (rows[home]->fast != NULL)
            add_route(r->c, rows, home, rows[home]->fast, FAST);
        if (rows[home]->reasoning != NULL)
            add_route(r->c, rows, home, rows[home]->reasoning, REASONING);
    }
    for (size_t home = 0; home < n; home++)
        add_pattern_routes(r, rows, home);
    add_route(r->c, rows, 0, "*", FLAGSHIP);
    return 0;
}
