#include "proxy/target.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/log.h"
#include "proxy/base/mem.h"

/* How long a key is left alone when the provider names no time. A refused key may be a fault of the
 * provider's own (whole outages answered 401), so it is tried again soon; an empty account is not
 * filled within minutes. */
#define AUTH_REST_MS      30000
#define QUOTA_REST_MS     600000
#define FORBIDDEN_REST_MS 600000
#define THROTTLE_BASE_MS  1000
#define THROTTLE_CAP_MS   30000

static void provider_init(struct provider *p, const struct config_provider *conf)
{
    p->conf = conf;
    p->type = provider_type_find(conf->type);
    assert(p->type != NULL); /* config checked it */
    pthread_mutex_init(&p->lock, NULL);
    for (size_t i = 0; i < conf->n_keys && i < TARGET_MAX_KEYS; i++)
        p->keys[p->n_keys++] = span_of(conf->keys[i]);
    if (p->n_keys == 0)
        p->keys[p->n_keys++] = SPAN("");
}

static void target_init(struct target *t, unsigned index, struct provider *p, const char *model,
                        const struct config *c, uint64_t seed)
{
    struct breaker_config b = {
        .consecutive = c->breaker.consecutive,
        .min_calls = c->breaker.min_calls,
        .failure_rate = c->breaker.failure_rate,
        .window_ms = c->breaker.window,
        .open_base_ms = c->breaker.open_base,
        .open_cap_ms = c->breaker.open_cap,
    };
    size_t n = strlen(p->conf->name) + (model != NULL ? strlen(model) : 0) + 2;

    t->index = index;
    t->name = mem_alloc(n);
    snprintf(t->name, n, model != NULL ? "%s/%s" : "%s", p->conf->name, model);
    t->provider = p;
    t->model = span_of(model);
    pthread_mutex_init(&t->lock, NULL);
    breaker_init(&t->breaker, &b, seed + index);
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

struct target_set *target_set_new(const struct config *c, uint64_t seed)
{
    struct target_set *s = mem_zalloc(sizeof(*s));
    size_t most = 0;

    s->n_providers = c->n_providers;
    s->providers = mem_zalloc(c->n_providers * sizeof(*s->providers));
    for (size_t i = 0; i < c->n_providers; i++)
        provider_init(&s->providers[i], &c->providers[i]);
    for (size_t r = 0; r < c->n_routes; r++)
        most += c->routes[r].n_targets;
    s->targets = mem_zalloc(most * sizeof(*s->targets));
    for (size_t r = 0; r < c->n_routes; r++) {
        for (size_t i = 0; i < c->routes[r].n_targets; i++) {
            const struct config_target *ct = &c->routes[r].targets[i];

            if (target_set_find(s, ct->provider, ct->model) != NULL)
                continue;
            target_init(&s->targets[s->n_targets], (unsigned)s->n_targets,
                        &s->providers[ct->provider], ct->model, c, seed);
            s->n_targets++;
        }
    }
    return s;
}

void target_set_free(struct target_set *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n_targets; i++) {
        pthread_mutex_destroy(&s->targets[i].lock);
        free(s->targets[i].name);
    }
    for (size_t i = 0; i < s->n_providers; i++)
        pthread_mutex_destroy(&s->providers[i].lock);
    free(s->targets);
    free(s->providers);
    free(s);
}

static uint64_t resting_ms(const struct rest *r, bool last_resort, uint64_t now_ms)
{
    return r->until_ms > now_ms && (r->firm || !last_resort) ? r->until_ms - now_ms : 0;
}

/* The first key that nothing speaks against; else -1 with the shortest wait among the unused ones.
 */
static int pick_key(struct target *t, uint32_t used, bool last_resort, uint64_t now_ms,
                    uint64_t *wait_ms)
{
    struct provider *p = t->provider;
    int found = -1;

    *wait_ms = UINT64_MAX;
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < p->n_keys && found < 0; i++) {
        uint64_t a = resting_ms(&p->rests[i], last_resort, now_ms);
        uint64_t b = resting_ms(&t->rests[i], last_resort, now_ms);
        uint64_t wait = a > b ? a : b;

        if (used & (1u << i))
            continue;
        if (wait == 0)
            found = (int)i;
        else if (wait < *wait_ms)
            *wait_ms = wait;
    }
    pthread_mutex_unlock(&p->lock);
    return found;
}

enum failure target_ask(struct target *t, uint32_t keys_used, bool last_resort, uint64_t now_ms,
                        struct ticket *out, uint64_t *wait_ms)
{
    enum failure refusal = FAILURE_NONE;
    int key;

    pthread_mutex_lock(&t->lock);
    key = pick_key(t, keys_used, last_resort, now_ms, wait_ms);
    if (key < 0) {
        refusal = SKIPPED_REST;
    } else {
        out->key = (unsigned)key;
        out->pass = last_resort ? breaker_ask_last_resort(&t->breaker, now_ms)
                                : breaker_ask(&t->breaker, now_ms);
        if (out->pass == 0) {
            refusal = SKIPPED_OPEN;
            *wait_ms = breaker_wait_ms(&t->breaker, now_ms);
        }
    }
    pthread_mutex_unlock(&t->lock);
    if (refusal == FAILURE_NONE) {
        atomic_fetch_add_explicit(&t->in_flight, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&t->attempts, 1, memory_order_relaxed);
    }
    return refusal;
}

/* What an operator wants to read at 3 a.m.: a target that is left alone, and one that is back. */
static void log_breaker(const struct target *t, enum breaker_state was, enum breaker_state is,
                        unsigned failures, uint64_t wait_ms, enum failure why)
{
    if (was == is)
        return;
    if (is == BREAKER_OPEN && was == BREAKER_CLOSED)
        log_warn("%s: breaker open after %u failures in a row, the last: %s; next try in %.1f s",
                 t->name, failures, failure_row(why)->text, (double)wait_ms / 1000);
    else if (is == BREAKER_OPEN && wait_ms > 0)
        log_warn("%s: breaker open again, its probe failed: %s; next try in %.1f s", t->name,
                 failure_row(why)->text, (double)wait_ms / 1000);
    else if (is == BREAKER_CLOSED)
        log_info("%s: breaker closed, the target answers again", t->name);
}

void target_output(struct target *t, struct ticket *k, uint64_t now_ms)
{
    enum breaker_state was, is;

    pthread_mutex_lock(&t->lock);
    was = t->breaker.state;
    k->pass = breaker_output(&t->breaker, k->pass, now_ms);
    is = t->breaker.state;
    pthread_mutex_unlock(&t->lock);
    log_breaker(t, was, is, 0, 0, FAILURE_NONE);
}

/* A rest only ever grows: a later, shorter one must not cut an earlier, longer one. */
static void rest_until(struct rest *r, uint64_t until_ms, bool firm, enum failure why)
{
    if (until_ms > r->until_ms) {
        r->until_ms = until_ms;
        r->firm = firm;
        r->why = why;
    }
}

static void rest_key(struct target *t, unsigned key, enum failure f, uint64_t retry_after_ms,
                     uint64_t now_ms)
{
    struct provider *p = t->provider;
    bool firm = retry_after_ms != RETRY_AFTER_NONE;
    uint64_t ms = firm ? retry_after_ms : f == QUOTA ? QUOTA_REST_MS : AUTH_REST_MS;

    if (f == FORBIDDEN) {
        rest_until(&t->rests[key], now_ms + FORBIDDEN_REST_MS, false, f);
        return;
    }
    pthread_mutex_lock(&p->lock);
    rest_until(&p->rests[key], now_ms + ms, firm, f);
    pthread_mutex_unlock(&p->lock);
}

static void throttle(struct rest *r, uint64_t retry_after_ms, uint64_t now_ms)
{
    uint64_t ms = THROTTLE_BASE_MS;

    if (retry_after_ms != RETRY_AFTER_NONE) {
        rest_until(r, now_ms + retry_after_ms, true, RATE_LIMITED);
        return;
    }
    for (unsigned i = 0; i < r->streak && ms < THROTTLE_CAP_MS; i++)
        ms *= 2;
    r->streak++;
    rest_until(r, now_ms + (ms < THROTTLE_CAP_MS ? ms : THROTTLE_CAP_MS), false, RATE_LIMITED);
}

void target_end(struct target *t, const struct ticket *k, enum failure f, uint64_t retry_after_ms,
                uint64_t now_ms)
{
    enum failure_blame blame = failure_row(f)->blame;
    enum breaker_state before, after;
    unsigned was, failures;
    uint64_t wait_ms;

    pthread_mutex_lock(&t->lock);
    before = t->breaker.state;
    if (f == FAILURE_NONE) {
        t->rests[k->key].streak = 0;
        breaker_ok(&t->breaker, k->pass, now_ms);
    } else if (blame == BLAME) {
        breaker_fail(&t->breaker, k->pass, now_ms);
        /* An overloaded provider that names a time means it. */
        if (retry_after_ms != RETRY_AFTER_NONE)
            rest_until(&t->rests[k->key], now_ms + retry_after_ms, true, f);
    } else {
        breaker_drop(&t->breaker, k->pass, now_ms);
        if (blame == THROTTLE)
            throttle(&t->rests[k->key], retry_after_ms, now_ms);
        else if (blame == KEY_REST)
            rest_key(t, k->key, f, retry_after_ms, now_ms);
    }
    if (f != FAILURE_NONE && f != CLIENT_GONE) {
        t->last_failure = f;
        t->last_failure_ms = now_ms;
        t->last_text[0] = '\0';
        atomic_fetch_add_explicit(&t->failures, 1, memory_order_relaxed);
    }
    after = t->breaker.state;
    failures = t->breaker.failures;
    wait_ms = breaker_wait_ms(&t->breaker, now_ms);
    pthread_mutex_unlock(&t->lock);
    log_breaker(t, before, after, failures, wait_ms, f);
    if (blame == KEY_REST)
        log_warn("%s: key %u of provider %s is left alone for a while: %s", t->name, k->key + 1,
                 t->provider->conf->name, failure_row(f)->text);
    was = atomic_fetch_sub_explicit(&t->in_flight, 1, memory_order_relaxed);
    assert(was > 0); /* one ticket, one end */
}

void target_note(struct target *t, const char *text)
{
    pthread_mutex_lock(&t->lock);
    snprintf(t->last_text, sizeof(t->last_text), "%s", text);
    pthread_mutex_unlock(&t->lock);
}
