#include "proxy/ops/events.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/json.h"
#include "proxy/base/mem.h"

#define MAX_NAME   96
#define SAME_MS    10000 /* the same again within it is counted */
#define LOOK_BACK  16    /* events among which the same is looked for */
#define MAX_SERIES 32    /* targets that answered; more of them share the last one */

struct kept {
    const char *what, *why;
    char target[MAX_NAME], to[MAX_NAME];
    uint64_t first_ms, last_ms, count;
};

struct slot {
    uint64_t number;        /* of the time since 0; what stands here of an older one is void */
    uint32_t n[MAX_SERIES]; /* answers by series */
    uint32_t failed;
};

struct events {
    pthread_mutex_t lock;
    struct kept ring[EVENTS_KEPT];
    uint64_t added; /* ever; the newest is at (added - 1) % EVENTS_KEPT */
    char series[MAX_SERIES][MAX_NAME];
    size_t n_series;
    struct slot slots[EVENTS_SLOTS];
};

struct events *events_new(void)
{
    struct events *e = mem_zalloc(sizeof(*e));

    pthread_mutex_init(&e->lock, NULL);
    return e;
}

void events_free(struct events *e)
{
    if (e == NULL)
        return;
    pthread_mutex_destroy(&e->lock);
    free(e);
}

static void copy_name(char out[MAX_NAME], const char *name)
{
    snprintf(out, MAX_NAME, "%s", name != NULL ? name : "");
}

/* ---- events ---------------------------------------------------------------------------------- */

static bool same(const struct kept *a, const struct kept *b)
{
    return strcmp(a->what, b->what) == 0 && strcmp(a->why, b->why) == 0 &&
           strcmp(a->target, b->target) == 0 && strcmp(a->to, b->to) == 0;
}

static struct kept *find_same(struct events *e, const struct kept *k)
{
    for (uint64_t i = 1; i <= LOOK_BACK && i <= e->added; i++) {
        struct kept *old = &e->ring[(e->added - i) % EVENTS_KEPT];

        if (same(old, k))
            return k->last_ms <= old->last_ms + SAME_MS ? old : NULL;
    }
    return NULL;
}

void events_add(struct events *e, const struct event *ev, uint64_t now_ms)
{
    struct kept k = {
        .what = ev->what, .why = ev->why, .first_ms = now_ms, .last_ms = now_ms, .count = 1};
    struct kept *old;

    copy_name(k.target, ev->target);
    copy_name(k.to, ev->to);
    pthread_mutex_lock(&e->lock);
    old = find_same(e, &k);
    if (old != NULL) {
        old->count++;
        old->last_ms = now_ms;
    } else {
        e->ring[e->added++ % EVENTS_KEPT] = k;
    }
    pthread_mutex_unlock(&e->lock);
}

/* ---- who answered ---------------------------------------------------------------------------- */

static size_t series_of(struct events *e, const char *target)
{
    for (size_t i = 0; i < e->n_series; i++)
        if (strncmp(e->series[i], target, MAX_NAME - 1) == 0)
            return i;
    if (e->n_series == MAX_SERIES)
        return MAX_SERIES - 1;
    copy_name(e->series[e->n_series], e->n_series < MAX_SERIES - 1 ? target : "others");
    return e->n_series++;
}

void events_answered(struct events *e, const char *target, uint64_t now_ms)
{
    uint64_t number = now_ms / EVENTS_SLOT_MS;
    struct slot *s = &e->slots[number % EVENTS_SLOTS];

    pthread_mutex_lock(&e->lock);
    if (s->number != number)
        *s = (struct slot){.number = number};
    if (target != NULL)
        s->n[series_of(e, target)]++;
    else
        s->failed++;
    pthread_mutex_unlock(&e->lock);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_event(const struct kept *k, uint64_t now_ms, struct strbuf *out)
{
    strbuf_addf(out, "{\"age_ms\": %llu, \"since_ms\": %llu, \"count\": %llu, \"what\": \"%s\"",
                (unsigned long long)(now_ms - k->last_ms),
                (unsigned long long)(now_ms - k->first_ms), (unsigned long long)k->count, k->what);
    strbuf_add(out, ", \"target\": ");
    json_add_string(out, span_of(k->target));
    if (k->to[0] != '\0') {
        strbuf_add(out, ", \"to\": ");
        json_add_string(out, span_of(k->to));
    }
    strbuf_addf(out, ", \"why\": \"%s\"}", k->why);
}

/* i < MAX_SERIES: answers of that target; else failures. */
static void write_series(const struct events *e, size_t i, uint64_t now_ms, struct strbuf *out)
{
    uint64_t last = now_ms / EVENTS_SLOT_MS;

    strbuf_add_char(out, '[');
    for (uint64_t back = EVENTS_SLOTS; back-- > 0;) {
        const struct slot *s = &e->slots[(last - back) % EVENTS_SLOTS];
        bool valid = last >= back && s->number == last - back;

        strbuf_add_u64(out, !valid ? 0 : i < MAX_SERIES ? s->n[i] : s->failed);
        strbuf_add(out, back > 0 ? "," : "]");
    }
}

void events_write(struct events *e, uint64_t now_ms, struct strbuf *out)
{
    uint64_t n;

    pthread_mutex_lock(&e->lock);
    n = e->added < EVENTS_KEPT ? e->added : EVENTS_KEPT;
    strbuf_add(out, "{\n  \"events\": [");
    for (uint64_t i = 1; i <= n; i++) {
        strbuf_add(out, i == 1 ? "\n    " : ",\n    ");
        write_event(&e->ring[(e->added - i) % EVENTS_KEPT], now_ms, out);
    }
    strbuf_addf(out, "%s],\n  \"slot_ms\": %d,\n  \"answered\": [", n > 0 ? "\n  " : "",
                EVENTS_SLOT_MS);
    for (size_t i = 0; i < e->n_series; i++) {
        strbuf_add(out, i == 0 ? "\n    {\"target\": " : ",\n    {\"target\": ");
        json_add_string(out, span_of(e->series[i]));
        strbuf_add(out, ", \"n\": ");
        write_series(e, i, now_ms, out);
        strbuf_add_char(out, '}');
    }
    strbuf_add(out, e->n_series > 0 ? "\n  ],\n  \"failed\": " : "],\n  \"failed\": ");
    write_series(e, MAX_SERIES, now_ms, out);
    strbuf_add(out, "\n}\n");
    pthread_mutex_unlock(&e->lock);
}
