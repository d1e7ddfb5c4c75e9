#include "proxy/target.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/address.h"
#include "proxy/base/backoff.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

/* How long something is left alone when the provider names no time. A refused key may be a fault of
 * the provider's own (whole outages answered 401), so it is tried again soon, and given up only
 * when that goes on; an empty account is not filled within minutes. */
#define PREFILL_MEMORY_MS 86400000 /* models change */
#define AUTH_REST_MS      30000
#define AUTH_GO_ON        3     /* refusals in a row ... */
#define AUTH_GO_ON_MS     60000 /* ... over at least this time */
#define QUOTA_REST_MS     600000
#define LONGEST_REST_MS   3600000
#define FORBIDDEN_REST_MS 600000
#define GONE_REST_MS      600000
#define WRONG_REST_MS     60000
#define THROTTLE_BASE_MS  1000
#define THROTTLE_CAP_MS   30000

#define FULL_NOT_DEAD_MS 2000  /* a target that gave output so lately is overloaded, but alive */
#define UNPROVEN_MS      60000 /* a failure to connect that nobody has explained by then */
#define HEALS_BELOW      0.2   /* share of failures among the other calls */
#define LAST_RESORT_MS                                                                             \
    1000                /* one request of a route in such a time may go against all refusals       \
                         */
#define PLACE_MS   1000 /* a guess at how soon somebody is done and leaves a place */
#define BESIDE_USE 0.7  /* of a target's limit: more room than that is kept for its own */

/* ---- making the set ------------------------------------------------------------------------- */

static void set_breaker(struct breaker *b, const struct config *c, uint64_t seed)
{
    struct breaker_config cfg = {
        .consecutive = c->breaker.consecutive,
        .min_calls = c->breaker.min_calls,
        .failure_rate = c->breaker.failure_rate,
        .window_ms = c->breaker.window,
        .open_base_ms = c->breaker.open_base,
        .open_cap_ms = c->breaker.open_cap,
    };

    breaker_init(b, &cfg, seed);
}

/* "https://api.openai.com:443". What answers inside the process is an endpoint of its own. */
static char *origin_of(const struct config_provider *conf, bool *remote, bool *direct)
{
    struct err e;
    struct url u;
    char text[512];

    *remote = false;
    *direct = true;
    if (conf->base_url == NULL || url_read(conf->base_url, &u, &e) < 0)
        return mem_strdup(conf->name);
    *remote = u.scope != HOST_LOOPBACK;
    *direct = u.scope != HOST_PUBLIC;
    snprintf(text, sizeof(text), "%s://%.*s:%u", u.https ? "https" : "http", SPAN_ARG(u.host),
             u.port);
    return mem_strdup(text);
}

static struct endpoint *endpoint_get(struct target_set *s, const struct config_provider *conf,
                                     const struct config *c, uint64_t seed)
{
    bool remote, direct;
    char *origin = origin_of(conf, &remote, &direct);
    struct endpoint *e;

    for (size_t i = 0; i < s->n_endpoints; i++) {
        if (strcmp(s->endpoints[i].origin, origin) == 0) {
            free(origin);
            return &s->endpoints[i];
        }
    }
    e = &s->endpoints[s->n_endpoints++];
    e->origin = origin;
    e->remote = remote;
    e->direct = direct;
    set_breaker(&e->breaker, c, seed + s->n_endpoints);
    return e;
}

static void provider_init(struct provider *p, const struct config_provider *conf)
{
    p->conf = conf;
    p->type = provider_type_find(conf->type);
    assert(p->type != NULL); /* config checked it */
    provider_type_dialects(p->type, conf->dialect, conf->completions, p->dialects);
    for (size_t i = 0; i < conf->n_keys && i < TARGET_MAX_KEYS; i++)
        p->keys[p->n_keys++] = span_of(conf->keys[i]);
    if (p->n_keys == 0)
        p->keys[p->n_keys++] = SPAN("");
}

const struct dialect *provider_dialect(const struct provider *p, const struct dialect *client)
{
    for (size_t i = 0; i < ARRAY_LEN(p->dialects); i++)
        if (p->dialects[i] == client)
            return client;
    for (size_t i = 0; i < ARRAY_LEN(p->dialects); i++)
        if (p->dialects[i] != NULL && p->dialects[i]->embeds == client->embeds)
            return p->dialects[i];
    return NULL;
}

/* Is it in the first tier of a route? Then there are requests at home there. */
static bool is_home(const struct config *c, size_t provider, const char *model)
{
    for (size_t r = 0; r < c->n_routes; r++) {
        for (size_t i = 0; i < c->routes[r].n_targets; i++) {
            const struct config_target *ct = &c->routes[r].targets[i];
            bool same = ct->provider == provider &&
                        (model == NULL ? ct->model == NULL
                                       : ct->model != NULL && strcmp(model, ct->model) == 0);

            if (same && ct->tier == c->routes[r].targets[0].tier)
                return true;
        }
    }
    return false;
}

static double tolerance_of(const struct config *c)
{
    static const struct {
        const char *stance;
        double tolerance;
    } rows[] = {{"polite", 0.33}, {"balanced", 0.5}, {"aggressive", 0.7}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(c->overload.stance, rows[i].stance) == 0)
            return rows[i].tolerance;
    assert(!"a stance that config accepts and nobody knows");
    return 0.5;
}

static void target_init(struct target *t, struct target_set *s, const struct config_target *ct,
                        const struct config *c, uint64_t seed)
{
    struct provider *p = &s->providers[ct->provider];
    size_t n = strlen(p->conf->name) + (ct->model != NULL ? strlen(ct->model) : 0) + 2;
    bool home = t->passthrough || is_home(c, ct->provider, ct->model);

    t->set = s;
    t->index = (unsigned)s->n_all;
    t->name = mem_alloc(n);
    snprintf(t->name, n, ct->model != NULL ? "%s/%s" : "%s", p->conf->name, ct->model);
    t->provider = p;
    t->model = span_of(ct->model);
    set_breaker(&t->breaker, c, seed + t->index);
    pace_init(&t->pace);
    budget_init(&t->budget, c->retry_budget.ratio, c->retry_budget.capacity);
    for (size_t i = 0; i < p->n_keys; i++)
        limiter_init(&t->limiters[i], tolerance_of(c), home);
}

struct target *target_set_find(struct target_set *s, size_t provider, const char *model)
{
    for (size_t i = 0; i < s->n_targets; i++) {
        struct target *t = &s->targets[i];

        if (t->provider != &s->providers[provider])
            continue;
        if (model == NULL ? t->model.p == NULL : t->model.p != NULL && span_is(t->model, model))
            return t;
    }
    return NULL;
}

static char passthrough[] = "passthrough"; /* in the place of a model's name */

/* Can it be asked for any path? It is used at all, and its paths are not made of models' names. */
static bool takes_all(const struct provider *p, const struct target_set *s)
{
    for (size_t i = 0; i < s->n_targets; i++)
        if (s->targets[i].provider == p)
            return p->type->dialect != NULL && !p->type->model_in_path;
    return false;
}

struct target_set *target_set_new(const struct config *c, uint64_t seed)
{
    struct target_set *s = mem_zalloc(sizeof(*s));
    size_t most = 0;

    pthread_mutex_init(&s->lock, NULL);
    s->n_providers = c->n_providers;
    s->providers = mem_zalloc(c->n_providers * sizeof(*s->providers));
    s->endpoints = mem_zalloc(c->n_providers * sizeof(*s->endpoints));
    s->queues = mem_zalloc(c->n_routes * sizeof(*s->queues));
    s->last_resorts_ms = mem_zalloc(c->n_routes * sizeof(*s->last_resorts_ms));
    set_breaker(&s->path, c, seed);
    hedge_init(&s->hedge, c->hedge.max_ratio, c->hedge.floor);
    for (size_t i = 0; i < c->n_providers; i++) {
        provider_init(&s->providers[i], &c->providers[i]);
        s->providers[i].endpoint = endpoint_get(s, &c->providers[i], c, seed + 1000);
    }
    for (size_t r = 0; r < c->n_routes; r++)
        most += c->routes[r].n_targets;
    s->targets = mem_zalloc((most + c->n_providers) * sizeof(*s->targets));
    for (size_t r = 0; r < c->n_routes; r++) {
        for (size_t i = 0; i < c->routes[r].n_targets; i++) {
            const struct config_target *ct = &c->routes[r].targets[i];

            if (target_set_find(s, ct->provider, ct->model) != NULL)
                continue;
            target_init(&s->targets[s->n_targets], s, ct, c, seed + 2000);
            s->n_all = ++s->n_targets;
        }
    }
    for (size_t i = 0; i < c->n_providers && c->passthrough; i++) {
        const struct config_target ct = {.provider = i, .model = passthrough};
        struct target *t = &s->targets[s->n_all];

        if (!takes_all(&s->providers[i], s))
            continue;
        t->passthrough = true;
        target_init(t, s, &ct, c, seed + 2000);
        s->providers[i].passthrough = t;
        s->n_all++;
    }
    return s;
}

/* ---- health that goes on ----------------------------------------------------------------------
 */

static const struct provider *provider_like(const struct target_set *s, const struct provider *p)
{
    for (size_t i = 0; i < s->n_providers; i++)
        if (strcmp(s->providers[i].conf->name, p->conf->name) == 0 &&
            s->providers[i].type == p->type &&
            strcmp(s->providers[i].endpoint->origin, p->endpoint->origin) == 0)
            return &s->providers[i];
    return NULL;
}

/* Where the other one has this key, or n_keys. */
static size_t key_like(const struct provider *p, struct span key)
{
    size_t i = 0;

    while (i < p->n_keys && !span_eq(p->keys[i], key))
        i++;
    return i;
}

static void inherit_target(struct target *t, const struct target *from, uint64_t now_ms)
{
    breaker_inherit(&t->breaker, &from->breaker, now_ms);
    t->pace = from->pace;
    t->pace.trial = false;
    t->budget.tokens =
        from->budget.tokens < t->budget.capacity ? from->budget.tokens : t->budget.capacity;
    t->budget.at_ms = from->budget.at_ms;
    t->rest = from->rest;
    for (size_t k = 0; k < t->provider->n_keys; k++) {
        size_t old = key_like(from->provider, t->provider->keys[k]);

        if (old == from->provider->n_keys)
            continue;
        t->rests[k] = from->rests[old];
        t->spent_ms[k] = from->spent_ms[old];
        limiter_inherit(&t->limiters[k], &from->limiters[old]);
    }
    t->output_ms = from->output_ms;
    t->last_failure = from->last_failure;
    t->last_failure_ms = from->last_failure_ms;
    memcpy(t->last_text, from->last_text, sizeof(t->last_text));
    t->without = atomic_load(&from->without);
    t->no_prefill_ms = atomic_load(&from->no_prefill_ms);
    t->attempts = atomic_load(&from->attempts);
    t->failures = atomic_load(&from->failures);
    t->tokens_in = atomic_load(&from->tokens_in);
    t->tokens_out = atomic_load(&from->tokens_out);
}

static const struct target *target_like(const struct target_set *s, const struct target *t)
{
    const struct provider *p = provider_like(s, t->provider);

    for (size_t i = 0; p != NULL && i < s->n_all; i++)
        if (s->targets[i].provider == p && s->targets[i].passthrough == t->passthrough &&
            (s->targets[i].model.p == NULL) == (t->model.p == NULL) &&
            span_eq(s->targets[i].model, t->model))
            return &s->targets[i];
    return NULL;
}

static void inherit_endpoint(struct endpoint *e, const struct endpoint *from, uint64_t now_ms)
{
    breaker_inherit(&e->breaker, &from->breaker, now_ms);
    e->proxied = from->proxied;
    e->unproven = from->unproven;
    e->unproven_ms = from->unproven_ms;
}

void target_set_inherit(struct target_set *s, struct target_set *from, uint64_t now_ms)
{
    pthread_mutex_lock(&from->lock);
    breaker_inherit(&s->path, &from->path, now_ms);
    memcpy(s->hedge.seconds, from->hedge.seconds, sizeof(s->hedge.seconds));
    for (size_t i = 0; i < s->n_endpoints; i++)
        for (size_t k = 0; k < from->n_endpoints; k++)
            if (strcmp(s->endpoints[i].origin, from->endpoints[k].origin) == 0)
                inherit_endpoint(&s->endpoints[i], &from->endpoints[k], now_ms);
    for (size_t i = 0; i < s->n_providers; i++) {
        struct provider *p = &s->providers[i];
        const struct provider *old = provider_like(from, p);

        for (size_t k = 0; old != NULL && k < p->n_keys; k++) {
            size_t was = key_like(old, p->keys[k]);

            if (was < old->n_keys)
                p->rests[k] = old->rests[was];
        }
    }
    for (size_t i = 0; i < s->n_all; i++) {
        const struct target *old = target_like(from, &s->targets[i]);

        if (old != NULL)
            inherit_target(&s->targets[i], old, now_ms);
    }
    pthread_mutex_unlock(&from->lock);
}

void target_set_free(struct target_set *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n_all; i++)
        free(s->targets[i].name);
    for (size_t i = 0; i < s->n_endpoints; i++)
        free(s->endpoints[i].origin);
    pthread_mutex_destroy(&s->lock);
    free(s->queues);
    free(s->last_resorts_ms);
    free(s->targets);
    free(s->endpoints);
    free(s->providers);
    free(s);
}

/* ---- asking --------------------------------------------------------------------------------- */

static uint64_t resting_ms(const struct rest *r, bool last_resort, uint64_t now_ms)
{
    uint64_t until = last_resort ? r->firm_ms : r->until_ms;

    return until > now_ms ? until - now_ms : 0;
}

static uint64_t longer(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Of those that keep a key from being used for this target. */
static const struct rest *longest_rest(const struct target *t, size_t key, bool last_resort,
                                       uint64_t now_ms)
{
    const struct rest *rests[] = {&t->rest, &t->provider->rests[key], &t->rests[key]};
    const struct rest *longest = rests[0];

    for (size_t i = 1; i < ARRAY_LEN(rests); i++)
        if (resting_ms(rests[i], last_resort, now_ms) > resting_ms(longest, last_resort, now_ms))
            longest = rests[i];
    return longest;
}

/* A key that is refused and a model that is gone are not well in a moment: that says more. */
static enum failure reason_of(const struct rest *r)
{
    enum failure_blame blame = failure_row(r->why)->blame;

    return blame == REST_KEY || blame == REST_TARGET ? r->why : SKIPPED_REST;
}

static bool has_room(const struct target *t, unsigned key, bool beside, uint64_t now_ms)
{
    return !beside || (limiter_use(&t->limiters[key]) < BESIDE_USE && now_ms >= t->spent_ms[key]);
}

/* Those that have something left of their allowance first. */
static void order_keys(const struct target *t, uint64_t now_ms, unsigned *order)
{
    size_t n = 0;

    for (unsigned i = 0; i < t->provider->n_keys; i++)
        if (now_ms >= t->spent_ms[i])
            order[n++] = i;
    for (unsigned i = 0; i < t->provider->n_keys; i++)
        if (now_ms < t->spent_ms[i])
            order[n++] = i;
}

/* The first key that nothing speaks against, with a place taken; else -1 with the reason and the
 * shortest wait among the unused ones. */
static int take_key(struct target *t, const struct target_wish *wish, uint64_t now_ms,
                    enum failure *why, uint64_t *wait_ms)
{
    struct provider *p = t->provider;
    unsigned order[TARGET_MAX_KEYS];

    *why = SKIPPED_REST;
    *wait_ms = RETRY_AFTER_NONE;
    order_keys(t, now_ms, order);
    for (unsigned n = 0; n < p->n_keys; n++) {
        unsigned i = order[n];
        const struct rest *longest = longest_rest(t, i, wish->last_resort, now_ms);
        uint64_t wait = resting_ms(longest, wish->last_resort, now_ms);

        if (wish->keys_used & (1u << i))
            continue;
        if (wait > 0 && wait < *wait_ms) {
            *wait_ms = wait;
            *why = *why != SATURATED ? reason_of(longest) : SATURATED;
        } else if (wait > 0) {
            continue;
        } else if (has_room(t, i, wish->beside, now_ms) &&
                   limiter_take(&t->limiters[i], wish->away, now_ms)) {
            return (int)i;
        } else {
            *why = SATURATED;
        }
    }
    if (*why == SATURATED)
        *wait_ms = PLACE_MS;
    return -1;
}

static breaker_pass ask_breaker(struct breaker *b, const struct target_wish *wish, uint64_t now_ms)
{
    if (wish->beside && b->state != BREAKER_CLOSED)
        return 0;
    return wish->last_resort ? breaker_ask_last_resort(b, now_ms) : breaker_ask(b, now_ms);
}

static void drop_passes(struct target *t, const struct ticket *k, uint64_t now_ms)
{
    breaker_drop(&t->set->path, k->path, now_ms);
    breaker_drop(&t->provider->endpoint->breaker, k->endpoint, now_ms);
    breaker_drop(&t->breaker, k->model, now_ms);
}

/* All three, or none and how long until. A pass of 0 for a way that is not in use is fine. */
static bool take_passes(struct target *t, const struct target_wish *wish, struct ticket *k,
                        uint64_t now_ms, uint64_t *wait_ms)
{
    struct endpoint *e = t->provider->endpoint;

    k->path = k->endpoint = k->model = 0;
    if (e->proxied && (k->path = ask_breaker(&t->set->path, wish, now_ms)) == 0)
        *wait_ms = breaker_wait_ms(&t->set->path, now_ms);
    else if ((k->endpoint = ask_breaker(&e->breaker, wish, now_ms)) == 0)
        *wait_ms = breaker_wait_ms(&e->breaker, now_ms);
    else if ((k->model = ask_breaker(&t->breaker, wish, now_ms)) == 0)
        *wait_ms = breaker_wait_ms(&t->breaker, now_ms);
    else
        return true;
    drop_passes(t, k, now_ms);
    return false;
}

static enum failure ask(struct target *t, const struct target_wish *wish, uint64_t now_ms,
                        struct ticket *out, uint64_t *wait_ms)
{
    struct endpoint *e = t->provider->endpoint;
    uint64_t *last = &t->set->last_resorts_ms[wish->route];
    struct budget *budget = wish->payer != NULL ? &wish->payer->budget : &t->budget;
    enum pace_place place;
    enum failure why;
    int key;

    *wait_ms = RETRY_AFTER_NONE;
    if (wish->last_resort && *last != 0 && now_ms < *last + LAST_RESORT_MS)
        return SKIPPED_OPEN;
    if (wish->beside && pace_place(&t->pace, now_ms) != PACE_FRONT)
        return SKIPPED_OPEN;
    if (!queue_turn(&t->set->queues[wish->route], wish->waiter, wish->place, now_ms))
        return SATURATED;
    if (wish->cost > 0 && budget_tokens(budget, now_ms) < wish->cost)
        return SKIPPED_BUDGET;
    key = take_key(t, wish, now_ms, &why, wait_ms);
    if (key < 0)
        return why;
    *out = (struct ticket){
        .key = (unsigned)key, .kind = wish->kind, .away = wish->away, .asked_ms = now_ms};
    if (!take_passes(t, wish, out, now_ms, wait_ms)) {
        limiter_give(&t->limiters[key], wish->away);
        return SKIPPED_OPEN;
    }
    if (wish->beside && !wish->granted && !hedge_grant(&t->set->hedge, now_ms)) {
        drop_passes(t, out, now_ms);
        limiter_give(&t->limiters[key], wish->away);
        return SKIPPED_BUDGET;
    }
    if (wish->last_resort)
        *last = now_ms;
    if (wish->cost > 0)
        budget_spend(budget, wish->cost, now_ms);
    place = pace_place(&t->pace, now_ms);
    out->trial = place == PACE_TRIAL;
    if (out->trial)
        pace_try(&t->pace, now_ms);
    out->probe = place != PACE_FRONT || breaker_is_probe(&t->breaker, out->model) ||
                 breaker_is_probe(&e->breaker, out->endpoint) ||
                 (out->path != 0 && breaker_is_probe(&t->set->path, out->path));
    return FAILURE_NONE;
}

enum failure target_ask(struct target *t, const struct target_wish *wish, uint64_t now_ms,
                        struct ticket *out, uint64_t *wait_ms)
{
    enum failure refusal;

    pthread_mutex_lock(&t->set->lock);
    refusal = ask(t, wish, now_ms, out, wait_ms);
    pthread_mutex_unlock(&t->set->lock);
    if (refusal == FAILURE_NONE) {
        atomic_fetch_add_explicit(&t->in_flight, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&t->attempts, 1, memory_order_relaxed);
    }
    return refusal;
}

/* ---- what operators read at 3 a.m. ------------------------------------------------------------
 */

struct states {
    enum breaker_state model, endpoint, path;
};

static struct states states_of(const struct target *t)
{
    return (struct states){t->breaker.state, t->provider->endpoint->breaker.state,
                           t->set->path.state};
}

static void tell_breaker(const struct target_news *news, const char *name, const struct breaker *b,
                         enum breaker_state was, enum failure why, uint64_t now_ms)
{
    double wait_s = (double)breaker_wait_ms(b, now_ms) / 1000;
    unsigned ok, failed;

    if (was == b->state)
        return;
    if (news->breaker != NULL)
        news->breaker(news->ctx, name, b->state, why, now_ms);
    breaker_counts(b, now_ms, &ok, &failed);
    if (b->state == BREAKER_OPEN && was == BREAKER_CLOSED && b->failures < b->cfg.consecutive)
        log_warn(
            "%s: breaker open after %u of %u calls failed within %.0f s, the last: %s; next try "
            "in %.1f s",
            name, failed, ok + failed, (double)b->cfg.window_ms / 1000, failure_row(why)->text,
            wait_s);
    else if (b->state == BREAKER_OPEN && was == BREAKER_CLOSED)
        log_warn("%s: breaker open after %u failures in a row, the last: %s; next try in %.1f s",
                 name, b->failures, failure_row(why)->text, wait_s);
    else if (b->state == BREAKER_OPEN)
        log_warn("%s: breaker open again, its probe failed: %s; next try in %.1f s", name,
                 failure_row(why)->text, wait_s);
    else if (b->state == BREAKER_CLOSED)
        log_info("%s: breaker closed, it answers again", name);
}

/* Tells what has changed, and brings the load back by and by to what has recovered. */
static void after_change(struct target *t, const struct states *was, enum failure why,
                         uint64_t now_ms)
{
    struct endpoint *e = t->provider->endpoint;
    struct states is = states_of(t);

    if (is.model == was->model && is.endpoint == was->endpoint && is.path == was->path)
        return;
    tell_breaker(&t->set->news, t->name, &t->breaker, was->model, why, now_ms);
    tell_breaker(&t->set->news, e->origin, &e->breaker, was->endpoint, why, now_ms);
    tell_breaker(&t->set->news, "the outgoing proxy", &t->set->path, was->path, why, now_ms);
    for (size_t i = 0; i < t->set->n_all; i++) {
        struct target *o = &t->set->targets[i];
        bool back =
            (o == t && was->model != BREAKER_CLOSED && t->breaker.state == BREAKER_CLOSED) ||
            (o->provider->endpoint == e && was->endpoint != BREAKER_CLOSED &&
             e->breaker.state == BREAKER_CLOSED);

        for (size_t k = 0; back && k < o->provider->n_keys; k++)
            limiter_recover(&o->limiters[k], now_ms);
    }
}

/* ---- our own network ------------------------------------------------------------------------- */

/* Failures to connect are blamed only once somebody else far away has answered: until then it may
 * be our own network. */
static bool may_be_ours(const struct target_set *s, const struct endpoint *e, enum failure f)
{
    size_t remote = 0;

    for (size_t i = 0; i < s->n_endpoints; i++)
        remote += s->endpoints[i].remote;
    return (f == DNS || f == REFUSED || f == CONNECT_TIMEOUT) && e->remote && remote > 1;
}

static void count_unproven(struct endpoint *e, uint64_t now_ms)
{
    if (now_ms > e->unproven_ms + UNPROVEN_MS)
        e->unproven = 0;
    e->unproven++;
    e->unproven_ms = now_ms;
}

/* `answered` has: the network is well, and who could not be connected is to blame after all; unless
 * the one that answers could not be connected either until now: then the network has come back. */
static void prove_network(struct target_set *s, struct endpoint *answered, uint64_t now_ms)
{
    bool is_back = answered->unproven > 0 && now_ms <= answered->unproven_ms + UNPROVEN_MS;

    for (size_t i = 0; answered->remote && i < s->n_endpoints; i++) {
        struct endpoint *e = &s->endpoints[i];

        if (is_back || now_ms > e->unproven_ms + UNPROVEN_MS)
            e->unproven = 0;
        for (; e->unproven > 0 && e->breaker.state == BREAKER_CLOSED; e->unproven--) {
            enum breaker_state was = e->breaker.state;

            breaker_fail(&e->breaker, breaker_ask(&e->breaker, now_ms), now_ms);
            tell_breaker(&s->news, e->origin, &e->breaker, was, REFUSED, now_ms);
        }
        e->unproven = 0;
    }
}

/* ---- output, and the end ----------------------------------------------------------------------
 */

void target_output(struct target *t, struct ticket *k, uint64_t now_ms)
{
    struct endpoint *e = t->provider->endpoint;
    struct states was;

    pthread_mutex_lock(&t->set->lock);
    was = states_of(t);
    k->output = true;
    k->model = breaker_output(&t->breaker, k->model, now_ms);
    k->endpoint = breaker_output(&e->breaker, k->endpoint, now_ms);
    k->path = breaker_output(&t->set->path, k->path, now_ms);
    limiter_ok(&t->limiters[k->key], now_ms);
    pace_output(&t->pace, k->kind, now_ms - k->asked_ms, now_ms);
    t->streaming++;
    t->output_ms = now_ms;
    t->spent_ms[k->key] = 0; /* its head says so again where that still holds */
    prove_network(t->set, e, now_ms);
    after_change(t, &was, FAILURE_NONE, now_ms);
    pthread_mutex_unlock(&t->set->lock);
}

/* A rest only ever grows: a later, shorter one must not cut an earlier, longer one. */
static void rest_for(struct rest *r, uint64_t ms, bool firm, enum failure why, uint64_t now_ms)
{
    uint64_t until_ms = now_ms + ms;

    if (firm && until_ms > r->firm_ms)
        r->firm_ms = until_ms;
    if (until_ms > r->until_ms) {
        r->until_ms = until_ms;
        r->set_ms = now_ms;
        r->why = why;
    }
}

static void count_streak(struct rest *r, uint64_t now_ms)
{
    if (r->streak++ == 0)
        r->since_ms = now_ms;
}

/* Requests that were out together with the one that failed say nothing new. */
static bool rests_already(const struct rest *r, uint64_t now_ms)
{
    return r->until_ms > now_ms;
}

static void rest_key(struct target *t, unsigned key, enum failure f, uint64_t retry_after_ms,
                     uint64_t now_ms)
{
    struct rest *r = f == FORBIDDEN ? &t->rests[key] : &t->provider->rests[key];
    uint64_t ms = FORBIDDEN_REST_MS;
    bool known = rests_already(r, now_ms);

    if (known && retry_after_ms == RETRY_AFTER_NONE)
        return;
    if (!known)
        count_streak(r, now_ms);
    if (f == QUOTA)
        ms = backoff_ms(QUOTA_REST_MS, r->streak - 1, LONGEST_REST_MS);
    else if (f == AUTH)
        ms = r->streak >= AUTH_GO_ON && now_ms >= r->since_ms + AUTH_GO_ON_MS
                 ? backoff_ms(QUOTA_REST_MS, r->streak - AUTH_GO_ON, LONGEST_REST_MS)
                 : AUTH_REST_MS;
    if (retry_after_ms != RETRY_AFTER_NONE)
        ms = retry_after_ms;
    rest_for(r, ms, retry_after_ms != RETRY_AFTER_NONE, f, now_ms);
    log_warn("%s: key %u of provider %s is left alone for %llu s: %s", t->name, key + 1,
             t->provider->conf->name, (unsigned long long)(ms / 1000), failure_row(f)->text);
}

static void rest_target(struct target *t, enum failure f, uint64_t now_ms)
{
    uint64_t ms = f == MODEL_GONE ? GONE_REST_MS : WRONG_REST_MS;

    if (rests_already(&t->rest, now_ms))
        return;
    rest_for(&t->rest, ms, false, f, now_ms);
    log_warn("%s is left alone for %llu s: %s", t->name, (unsigned long long)(ms / 1000),
             failure_row(f)->text);
}

/* A limit without a time, while others of the same key are under way, is one on how many may be:
 * the limiter has learnt it. */
static void throttle(struct target *t, unsigned key, uint64_t retry_after_ms, uint64_t now_ms)
{
    struct rest *r = &t->rests[key];

    if (retry_after_ms != RETRY_AFTER_NONE) {
        rest_for(r, retry_after_ms, true, RATE_LIMITED, now_ms);
    } else if (t->limiters[key].in_flight > 0) {
        limiter_refused(&t->limiters[key], now_ms);
    } else if (!rests_already(r, now_ms)) {
        count_streak(r, now_ms);
        rest_for(r, backoff_ms(THROTTLE_BASE_MS, r->streak - 1, THROTTLE_CAP_MS), false,
                 RATE_LIMITED, now_ms);
    }
}

static void blame_endpoint(struct target *t, const struct ticket *k, enum failure f,
                           uint64_t now_ms)
{
    struct endpoint *e = t->provider->endpoint;

    bool ours = may_be_ours(t->set, e, f);

    if (ours)
        count_unproven(e, now_ms);
    if (ours && e->breaker.state == BREAKER_CLOSED)
        breaker_drop(&e->breaker, k->endpoint, now_ms);
    else
        breaker_fail(&e->breaker, k->endpoint, now_ms);
}

static void blame_model(struct target *t, const struct ticket *k, enum failure f,
                        uint64_t retry_after_ms, uint64_t now_ms)
{
    bool alive =
        t->streaming > 0 || (t->output_ms != 0 && now_ms < t->output_ms + FULL_NOT_DEAD_MS);

    if (f == OVERLOADED && alive) { /* full, and not dead */
        breaker_drop(&t->breaker, k->model, now_ms);
        limiter_refused(&t->limiters[k->key], now_ms);
    } else {
        breaker_fail(&t->breaker, k->model, now_ms);
    }
    /* An overloaded provider that names a time means it. */
    if (retry_after_ms != RETRY_AFTER_NONE)
        rest_for(&t->rests[k->key], retry_after_ms, true, f, now_ms);
}

static void blame_path(struct target *t, const struct ticket *k, uint64_t now_ms)
{
    struct breaker *b = &t->set->path;

    /* That it goes through a proxy at all is known from here on. */
    breaker_fail(b, t->provider->endpoint->proxied ? k->path : breaker_ask(b, now_ms), now_ms);
    t->provider->endpoint->proxied = true;
}

static void take_verdict(struct target *t, const struct ticket *k, enum failure f,
                         uint64_t retry_after_ms, uint64_t now_ms)
{
    struct endpoint *e = t->provider->endpoint;

    switch (failure_row(f)->blame) {
    case NEUTRAL:
        break;
    case BLAME_ENDPOINT:
        blame_endpoint(t, k, f, now_ms);
        break;
    case BLAME_MODEL:
        blame_model(t, k, f, retry_after_ms, now_ms);
        break;
    case BLAME_PATH:
        blame_path(t, k, now_ms);
        break;
    case THROTTLE:
        throttle(t, k->key, retry_after_ms, now_ms);
        break;
    case REST_KEY:
        rest_key(t, k->key, f, retry_after_ms, now_ms);
        break;
    case REST_TARGET:
        rest_target(t, f, now_ms);
        break;
    }
    /* In the other scopes it says nothing. */
    if (failure_row(f)->blame != BLAME_ENDPOINT)
        breaker_drop(&e->breaker, k->endpoint, now_ms);
    if (failure_row(f)->blame != BLAME_MODEL)
        breaker_drop(&t->breaker, k->model, now_ms);
    if (failure_row(f)->blame != BLAME_PATH)
        breaker_drop(&t->set->path, k->path, now_ms);
}

/* Who was asked after the rest had begun, as the last resort, and was served shows that it is over;
 * not before a time that the provider has named. */
static void end_rest(struct rest *r, const struct ticket *k)
{
    r->streak = 0;
    if (k->asked_ms >= r->set_ms)
        r->until_ms = r->firm_ms;
}

static void take_success(struct target *t, const struct ticket *k, uint64_t now_ms)
{
    breaker_ok(&t->breaker, k->model, now_ms);
    breaker_ok(&t->provider->endpoint->breaker, k->endpoint, now_ms);
    breaker_ok(&t->set->path, k->path, now_ms);
    end_rest(&t->rest, k);
    end_rest(&t->rests[k->key], k);
    end_rest(&t->provider->rests[k->key], k);
}

static bool is_blamed(enum failure f)
{
    enum failure_blame blame = failure_row(f)->blame;

    return blame == BLAME_ENDPOINT || blame == BLAME_MODEL || blame == BLAME_PATH;
}

static void learn_pace(struct target *t, const struct ticket *k, enum failure f, uint64_t now_ms)
{
    if ((failure_row(f)->marks & SLOW) != 0 || (k->trial && is_blamed(f)))
        pace_failed(&t->pace, now_ms);
    else if (k->trial && !k->output)
        pace_unsaid(&t->pace, now_ms);
}

void target_end(struct target *t, const struct ticket *k, enum failure f, unsigned status,
                uint64_t retry_after_ms, uint64_t now_ms)
{
    struct states was;
    unsigned before;

    pthread_mutex_lock(&t->set->lock);
    was = states_of(t);
    limiter_give(&t->limiters[k->key], k->away);
    if (k->output)
        t->streaming--;
    if (status != 0 && !k->output) /* what ends after its output may be cut by our own network */
        prove_network(t->set, t->provider->endpoint, now_ms);
    if ((failure_row(f)->marks & LOSS) != 0)
        limiter_lost(&t->limiters[k->key], now_ms);
    if (f == FAILURE_NONE) {
        take_success(t, k, now_ms);
    } else {
        take_verdict(t, k, f, retry_after_ms, now_ms);
        learn_pace(t, k, f, now_ms);
    }
    if (f != FAILURE_NONE && f != CLIENT_GONE) {
        t->last_failure = f;
        t->last_failure_ms = now_ms;
        t->last_text[0] = '\0';
        atomic_fetch_add_explicit(&t->failures, 1, memory_order_relaxed);
    }
    after_change(t, &was, f, now_ms);
    pthread_mutex_unlock(&t->set->lock);
    before = atomic_fetch_sub_explicit(&t->in_flight, 1, memory_order_relaxed);
    assert(before > 0); /* one ticket, one end */
}

void target_spent(struct target *t, const struct ticket *k, uint64_t wait_ms, uint64_t now_ms)
{
    pthread_mutex_lock(&t->set->lock);
    t->spent_ms[k->key] = now_ms + wait_ms;
    pthread_mutex_unlock(&t->set->lock);
}

void target_note(struct target *t, const char *text)
{
    pthread_mutex_lock(&t->set->lock);
    snprintf(t->last_text, sizeof(t->last_text), "%s", text);
    pthread_mutex_unlock(&t->set->lock);
}

/* ---- policy that the decision core asks for ---------------------------------------------------
 */

static bool all_spent(const struct target *t, uint64_t now_ms)
{
    for (size_t i = 0; i < t->provider->n_keys; i++)
        if (now_ms >= t->spent_ms[i])
            return false;
    return true;
}

bool target_behind(struct target *t, uint64_t now_ms)
{
    bool behind;

    pthread_mutex_lock(&t->set->lock);
    behind = pace_place(&t->pace, now_ms) == PACE_BEHIND || all_spent(t, now_ms);
    pthread_mutex_unlock(&t->set->lock);
    return behind;
}

static struct target_break *break_of(struct target *t, uint64_t session, uint64_t *who)
{
    *who = session ^ span_hash(span_of(t->name));
    return &t->set->breaks[*who % TARGET_BREAKS];
}

/* Two numbers that belong to different breaks are a wrong order of targets once, and no more. */
void target_note_break(struct target *t, uint64_t session, uint64_t now_ms)
{
    uint64_t who;
    struct target_break *b = break_of(t, session, &who);

    atomic_store_explicit(&b->until_ms, now_ms + TARGET_BREAK_MS, memory_order_relaxed);
    atomic_store_explicit(&b->who, who, memory_order_relaxed);
}

bool target_broke(struct target *t, uint64_t session, uint64_t now_ms)
{
    uint64_t who;
    const struct target_break *b = break_of(t, session, &who);

    return atomic_load_explicit(&b->who, memory_order_relaxed) == who &&
           atomic_load_explicit(&b->until_ms, memory_order_relaxed) > now_ms;
}

bool target_heals(struct target *t, enum failure last, uint64_t now_ms)
{
    struct endpoint *e = t->provider->endpoint;
    unsigned ok, failed, ok_there, failed_there;
    bool well;

    pthread_mutex_lock(&t->set->lock);
    breaker_counts(&t->breaker, now_ms, &ok, &failed);
    breaker_counts(&e->breaker, now_ms, &ok_there, &failed_there);
    well = t->breaker.state == BREAKER_CLOSED && e->breaker.state == BREAKER_CLOSED;
    pthread_mutex_unlock(&t->set->lock);
    failed += failed_there;
    if (is_blamed(last) && failed > 0)
        failed--;
    return well && (failed == 0 || failed < HEALS_BELOW * (ok + failed));
}

bool target_affords(struct target *t, double cost, uint64_t now_ms)
{
    bool enough;

    pthread_mutex_lock(&t->set->lock);
    enough = budget_tokens(&t->budget, now_ms) >= cost;
    pthread_mutex_unlock(&t->set->lock);
    return enough;
}

bool target_silent(struct target *t, const struct ticket *k)
{
    bool silent;

    pthread_mutex_lock(&t->set->lock);
    silent = t->output_ms < k->asked_ms || breaker_is_late(&t->breaker, k->model) ||
             breaker_is_late(&t->provider->endpoint->breaker, k->endpoint);
    pthread_mutex_unlock(&t->set->lock);
    return silent;
}

bool target_no_prefill(const struct target *t, uint64_t now_ms)
{
    uint64_t at = atomic_load_explicit(&t->no_prefill_ms, memory_order_relaxed);

    return at != 0 && now_ms < at + PREFILL_MEMORY_MS;
}

void target_begin(struct target *t, bool earns, uint64_t now_ms)
{
    pthread_mutex_lock(&t->set->lock);
    hedge_request(&t->set->hedge, now_ms);
    if (earns)
        budget_earn(&t->budget, now_ms);
    pthread_mutex_unlock(&t->set->lock);
}

void target_want_hedge(struct target *t, uint64_t now_ms)
{
    pthread_mutex_lock(&t->set->lock);
    hedge_want(&t->set->hedge, now_ms);
    pthread_mutex_unlock(&t->set->lock);
}

uint64_t target_hedge_ms(struct target *t, enum pace_kind kind)
{
    uint64_t ms;

    pthread_mutex_lock(&t->set->lock);
    ms = pace_hedge_ms(&t->pace, kind);
    pthread_mutex_unlock(&t->set->lock);
    return ms;
}

bool target_queue_enter(struct target_set *s, size_t route, struct queue_waiter *w, uint32_t wants,
                        unsigned max, uint64_t now_ms)
{
    bool in;

    pthread_mutex_lock(&s->lock);
    in = queue_enter(&s->queues[route], w, wants, max, now_ms);
    pthread_mutex_unlock(&s->lock);
    return in;
}

void target_queue_leave(struct target_set *s, size_t route, struct queue_waiter *w)
{
    if (!w->waiting)
        return;
    pthread_mutex_lock(&s->lock);
    queue_leave(&s->queues[route], w);
    pthread_mutex_unlock(&s->lock);
}

/* ---- for people -------------------------------------------------------------------------------
 */

/* How long until the first of its keys may be used. */
static void look_at_rests(const struct target *t, uint64_t now_ms, struct target_view *out)
{
    uint64_t shortest = UINT64_MAX;

    for (size_t i = 0; i < t->provider->n_keys; i++) {
        const struct rest *longest = longest_rest(t, i, false, now_ms);
        uint64_t wait = resting_ms(longest, false, now_ms);

        if (wait < shortest) {
            shortest = wait;
            out->rests_for = wait > 0 ? longest->why : FAILURE_NONE;
        }
    }
    out->retry_ms = longer(out->retry_ms, shortest);
}

static struct target_times times_of(const struct pace *p, bool streams)
{
    return (struct target_times){pace_typical(p, streams, 0.5), pace_typical(p, streams, 0.95)};
}

void target_look(struct target *t, uint64_t now_ms, struct target_view *out)
{
    struct endpoint *e = t->provider->endpoint;
    const struct {
        const char *scope;
        const struct breaker *breaker;
        enum breaker_state *state;
    } scopes[] = {{"model", &t->breaker, &out->model},
                  {"endpoint", &e->breaker, &out->endpoint},
                  {"path", e->proxied ? &t->set->path : NULL, &out->path}};

    *out = (struct target_view){0};
    pthread_mutex_lock(&t->set->lock);
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        const struct breaker *b = scopes[i].breaker;

        if (b == NULL)
            continue;
        *scopes[i].state = b->state;
        out->failures = b->failures > out->failures ? b->failures : out->failures;
        out->retry_ms = longer(out->retry_ms, breaker_wait_ms(b, now_ms));
        if (b->state != BREAKER_CLOSED && out->worst != BREAKER_OPEN) {
            out->closed_by = scopes[i].scope;
            out->worst = b->state;
        }
    }
    for (size_t i = 0; i < t->provider->n_keys; i++)
        out->limit += limiter_limit(&t->limiters[i]);
    look_at_rests(t, now_ms, out);
    out->may_be_asked =
        out->rests_for == FAILURE_NONE && (out->worst != BREAKER_OPEN || out->retry_ms == 0);
    out->retry_tokens = budget_tokens(&t->budget, now_ms);
    out->behind = pace_place(&t->pace, now_ms) != PACE_FRONT;
    out->first_token = times_of(&t->pace, true);
    out->answer = times_of(&t->pace, false);
    out->last_failure = t->last_failure;
    out->last_failure_age_ms = t->last_failure_ms != 0 ? now_ms - t->last_failure_ms : 0;
    memcpy(out->last_text, t->last_text, sizeof(out->last_text));
    pthread_mutex_unlock(&t->set->lock);
}
