#include "proxy/service.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/address.h"
#include "proxy/base/clock.h"
#include "proxy/base/hash.h"
#include "proxy/base/mem.h"
#include "proxy/door.h"

static struct metrics *make_metrics(const struct config *c, const struct target_set *set,
                                    uint64_t start_wall_ms)
{
    const char **routes = mem_alloc(c->n_routes * sizeof(*routes));
    struct metrics_target_label *targets = mem_alloc(set->n_all * sizeof(*targets));
    const char **dialects = mem_alloc(door_n_dialects * sizeof(*dialects));
    struct metrics_labels labels = {
        .routes = routes,
        .n_routes = c->n_routes,
        .dialects = dialects,
        .n_dialects = door_n_dialects,
        .targets = targets,
        .n_targets = set->n_all,
        .start_wall_ms = start_wall_ms,
    };
    struct metrics *m;

    for (size_t i = 0; i < door_n_dialects; i++)
        dialects[i] = door_dialects[i]->name;
    for (size_t i = 0; i < c->n_routes; i++)
        routes[i] = c->routes[i].model;
    for (size_t i = 0; i < set->n_all; i++)
        targets[i] = (struct metrics_target_label){set->targets[i].provider->conf->name,
                                                   set->targets[i].model.p};
    m = metrics_new(&labels);
    free(routes);
    free(dialects);
    free(targets);
    return m;
}

/* The path of "https://host:port/path", without a slash at its end. */
static struct span url_path(const char *url)
{
    const char *p = strstr(url, "://");
    struct span path;

    p = strchr(p != NULL ? p + 3 : url, '/');
    path = span_of(p);
    while (path.n > 0 && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

static int origin_init(struct origin *o, const struct config *c, const struct provider *p,
                       struct err *e)
{
    struct strbuf text = strbuf_heap(4096), host = strbuf_heap(1024);
    struct arena a;
    struct span path;
    struct url u;
    bool v6, usual;

    if (p->type->dialect == NULL)
        return 0; /* inside the process */
    if (url_read(p->conf->base_url, &u, e) < 0)
        return err_prefix(e, "providers.%s.base_url", p->conf->name);
    if ((p->conf->ca != NULL || p->conf->client_cert != NULL) &&
        tls_own_new(p->conf->ca, p->conf->client_cert, p->conf->client_key, &o->peer.own, e) < 0)
        return err_prefix(e, "providers.%s", p->conf->name);
    v6 = memchr(u.host.p, ':', u.host.n) != NULL;
    usual = u.port == (u.https ? 443 : 80);
    strbuf_addf(&host, v6 ? "[%.*s]" : "%.*s", SPAN_ARG(u.host));
    strbuf_addf(&text, "%s://%s:%u", u.https ? "https" : "http", host.buf, u.port);
    o->peer.origin = mem_strdup(text.buf);
    o->peer.tls = u.https;
    if (u.https && o->peer.own == NULL)
        tls_trust_expect();
    if (u.scope == HOST_PUBLIC && c->egress[u.https].url != NULL)
        o->peer.egress = &c->egress[u.https];
    strbuf_clear(&text);
    strbuf_addf(&text, usual ? "Host: %s\r\n" : "Host: %s:%u\r\n", host.buf, u.port);
    o->host_field = mem_strdup(text.buf);
    arena_init(&a);
    path = catalog_base_path(p->type, url_path(p->conf->base_url), &a);
    o->base_path = mem_strndup(path.n > 0 ? path.p : "", path.n);
    arena_release(&a);
    strbuf_release(&text);
    strbuf_release(&host);
    return 0;
}

static struct replay_limits replay_limits_of(const struct config *c)
{
    return (struct replay_limits){c->replay.ttl, c->replay.answer, c->replay.memory};
}

static void breaker_changed(void *ctx, const char *name, enum breaker_state is, enum failure why,
                            uint64_t now_ms)
{
    static const char *const what[] = {
        [BREAKER_CLOSED] = "breaker closed",
        [BREAKER_OPEN] = "breaker open",
        [BREAKER_HALF_OPEN] = "breaker half open",
    };

    events_add(ctx, &(struct event){what[is], failure_row(why)->label, name, NULL}, now_ms);
}

static void keep_events(struct service *s, struct events *events)
{
    s->events = events;
    s->targets->news = (struct target_news){events, breaker_changed};
}

/* All but what is handed on from one generation to the next. */
static int make(struct config *c, uint64_t started_us, uint64_t started_wall_ms,
                struct service **out, struct err *e)
{
    struct service *s = mem_zalloc(sizeof(*s));
    uint64_t seed;

    random_bytes(&seed, sizeof(seed));
    s->config = c;
    s->users = 1;
    s->targets = target_set_new(c, seed);
    s->origins = mem_zalloc(c->n_providers * sizeof(*s->origins));
    for (size_t i = 0; i < c->n_providers; i++) {
        const struct dialect *d = s->targets->providers[i].dialects[0];

        s->mints_state = s->mints_state || (d != NULL && d != &dialect_openai_chat);
        s->origins[i].lane = s->lanes;
        s->lanes += (unsigned)s->targets->providers[i].n_keys;
        if (origin_init(&s->origins[i], c, &s->targets->providers[i], e) < 0) {
            service_drop(s);
            return -1;
        }
    }
    if (c->tls.cert != NULL && tls_server_new(c->tls.cert, c->tls.key, &s->tls, e) < 0) {
        service_drop(s);
        return -1;
    }
    s->started_us = started_us;
    s->started_wall_ms = started_wall_ms;
    s->metrics = make_metrics(c, s->targets, started_wall_ms);
    s->resume = strcmp(c->stream.resume, "on") == 0;
    *out = s;
    return 0;
}

int service_new(struct config *c, struct service **out, struct err *e)
{
    struct replay_limits limits = replay_limits_of(c);

    if (make(c, clock_us(), clock_wall_ms(), out, e) < 0)
        return -1;
    (*out)->replay = replay_new(&limits);
    (*out)->quotas = quota_store_new();
    keep_events(*out, events_new());
    return 0;
}

int service_renew(struct service *s, struct config *c, struct service **out, struct err *e)
{
    struct replay_limits limits = replay_limits_of(c);

    if (make(c, s->started_us, s->started_wall_ms, out, e) < 0)
        return -1;
    (*out)->n_workers = s->n_workers;
    (*out)->replay = s->replay;
    (*out)->quotas = s->quotas;
    keep_events(*out, s->events);
    replay_limit(s->replay, &limits);
    target_set_inherit((*out)->targets, s->targets, clock_us() / 1000);
    metrics_absorb((*out)->metrics, s->metrics);
    s->heir = *out;
    service_use(*out);
    return 0;
}

void service_use(struct service *s)
{
    atomic_fetch_add(&s->users, 1);
}

void service_drop(struct service *s)
{
    struct service *heir;

    if (s == NULL || atomic_fetch_sub(&s->users, 1) != 1)
        return;
    heir = s->heir;
    if (heir != NULL) {
        metrics_absorb(heir->metrics, s->metrics);
    } else {
        replay_free(s->replay);
        quota_store_free(s->quotas);
        events_free(s->events);
    }
    for (size_t i = 0; i < s->config->n_providers; i++) {
        free(s->origins[i].peer.origin);
        tls_own_free(s->origins[i].peer.own);
        free(s->origins[i].host_field);
        free(s->origins[i].base_path);
    }
    free(s->origins);
    tls_server_free(s->tls);
    metrics_free(s->metrics);
    target_set_free(s->targets);
    config_free(s->config);
    free(s);
    service_drop(heir);
}

bool service_reserve(struct service *s, uint64_t n)
{
    uint64_t before = atomic_fetch_add_explicit(&s->memory, n, memory_order_relaxed);

    if (before + n <= s->config->limits.memory)
        return true;
    atomic_fetch_sub_explicit(&s->memory, n, memory_order_relaxed);
    return false;
}

void service_return(struct service *s, uint64_t n)
{
    if (n != 0)
        atomic_fetch_sub_explicit(&s->memory, n, memory_order_relaxed);
}
