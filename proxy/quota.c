#include "proxy/quota.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

#define WINDOW   60           /* seconds */
#define SLOTS    (WINDOW + 1) /* with the one that is running, so that none leaves early */
#define AGAIN_MS 1000         /* where nobody knows when a request under way ends */

struct slot {
    uint64_t second; /* since time 0; another one: nothing in it counts */
    uint64_t requests, tokens;
};

struct quota_state {
    struct quota_state *next;
    uint8_t key[HASH_SHA256_BYTES];
    unsigned under_way;
    struct slot slots[SLOTS];
};

struct quota_store {
    pthread_mutex_t lock;
    struct quota_state *states; /* as many as there are keys in configurations */
};

struct quota_store *quota_store_new(void)
{
    struct quota_store *s = mem_zalloc(sizeof(*s));

    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void quota_store_free(struct quota_store *s)
{
    if (s == NULL)
        return;
    while (s->states != NULL) {
        struct quota_state *next = s->states->next;

        free(s->states);
        s->states = next;
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct quota_state *state_of(struct quota_store *s, const uint8_t key[HASH_SHA256_BYTES])
{
    struct quota_state *q = s->states;

    while (q != NULL && memcmp(q->key, key, sizeof(q->key)) != 0)
        q = q->next;
    if (q != NULL)
        return q;
    q = mem_zalloc(sizeof(*q));
    memcpy(q->key, key, sizeof(q->key));
    q->next = s->states;
    s->states = q;
    return q;
}

/* ---- the last sixty seconds -------------------------------------------------------------------
 */

static struct slot *slot_at(struct quota_state *q, uint64_t second)
{
    struct slot *s = &q->slots[second % SLOTS];

    if (s->second != second)
        *s = (struct slot){.second = second};
    return s;
}

static bool counts(const struct slot *s, uint64_t now)
{
    return s->second <= now && s->second + SLOTS > now;
}

static uint64_t requests_in(const struct slot *s)
{
    return s->requests;
}

static uint64_t tokens_in(const struct slot *s)
{
    return s->tokens;
}

static uint64_t sum(const struct quota_state *q, uint64_t (*of)(const struct slot *), uint64_t now)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < SLOTS; i++)
        if (counts(&q->slots[i], now))
            n += of(&q->slots[i]);
    return n;
}

/* How long until at most `most` are left in the window, when nothing is added. */
static uint64_t wait_for(const struct quota_state *q, uint64_t (*of)(const struct slot *),
                         uint64_t most, uint64_t now_ms)
{
    uint64_t now = now_ms / 1000, left = sum(q, of, now);

    for (uint64_t i = 0; i < SLOTS && left > most; i++) {
        uint64_t second = now + i >= WINDOW ? now + i - WINDOW : 0; /* the next to leave */
        const struct slot *s = &q->slots[second % SLOTS];

        if (s->second == second && counts(s, now)) {
            left -= of(s);
            if (left <= most)
                return (second + SLOTS) * 1000 - now_ms;
        }
    }
    return 0;
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void look(const struct quota_state *q, const struct quota_limits *limits, uint64_t now_ms,
                 struct quota_view *v)
{
    uint64_t now = now_ms / 1000;

    *v = (struct quota_view){.limits = *limits};
    if (limits->requests != 0) {
        v->requests_left = less(limits->requests, sum(q, requests_in, now));
        v->requests_reset_ms = wait_for(q, requests_in, 0, now_ms);
    }
    if (limits->tokens != 0) {
        v->tokens_left = less(limits->tokens, sum(q, tokens_in, now));
        v->tokens_reset_ms = wait_for(q, tokens_in, 0, now_ms);
    }
}

static enum quota_verdict judge(const struct quota_state *q, const struct quota_limits *limits,
                                uint64_t tokens, uint64_t now_ms, uint64_t *wait_ms)
{
    uint64_t now = now_ms / 1000;

    *wait_ms = AGAIN_MS;
    if (limits->at_once != 0 && q->under_way >= limits->at_once)
        return QUOTA_AT_ONCE;
    if (limits->requests != 0 && sum(q, requests_in, now) >= limits->requests) {
        *wait_ms = wait_for(q, requests_in, limits->requests - 1, now_ms);
        return QUOTA_REQUESTS;
    }
    if (limits->tokens != 0 && sum(q, tokens_in, now) + tokens > limits->tokens) {
        *wait_ms = wait_for(q, tokens_in, limits->tokens - tokens, now_ms);
        return QUOTA_TOKENS;
    }
    return QUOTA_GRANTED;
}

enum quota_verdict quota_take(struct quota_store *s, const uint8_t key[HASH_SHA256_BYTES],
                              const struct quota_limits *limits, uint64_t tokens, uint64_t now_ms,
                              struct quota_ticket *out, struct quota_view *view)
{
    enum quota_verdict verdict;
    struct quota_state *q;
    uint64_t wait_ms;

    if (limits->tokens != 0 && tokens > limits->tokens)
        tokens = limits->tokens;
    pthread_mutex_lock(&s->lock);
    q = state_of(s, key);
    verdict = judge(q, limits, tokens, now_ms, &wait_ms);
    if (verdict == QUOTA_GRANTED) {
        struct slot *slot = slot_at(q, now_ms / 1000);

        slot->requests++;
        slot->tokens += tokens;
        q->under_way++;
        *out = (struct quota_ticket){q, tokens, now_ms / 1000};
    }
    look(q, limits, now_ms, view);
    view->wait_ms = verdict == QUOTA_GRANTED ? 0 : wait_ms;
    pthread_mutex_unlock(&s->lock);
    return verdict;
}

void quota_give(struct quota_store *s, struct quota_ticket *t, uint64_t tokens, uint64_t now_ms)
{
    struct quota_state *q = t->state;
    struct slot *guessed;

    if (q == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    q->under_way--;
    guessed = &q->slots[t->second % SLOTS];
    if (guessed->second == t->second)
        guessed->tokens -= t->tokens;
    slot_at(q, now_ms / 1000)->tokens += tokens;
    pthread_mutex_unlock(&s->lock);
    t->state = NULL;
}

/* ---- telling ----------------------------------------------------------------------------------
 */

static void add_fields(const char *what, uint64_t limit, uint64_t left, uint64_t reset_ms,
                       struct strbuf *out)
{
    if (limit == 0)
        return;
    strbuf_addf(out, "x-ratelimit-limit-%s: ", what);
    strbuf_add_u64(out, limit);
    strbuf_addf(out, "\r\nx-ratelimit-remaining-%s: ", what);
    strbuf_add_u64(out, left);
    strbuf_addf(out, "\r\nx-ratelimit-reset-%s: ", what);
    strbuf_add_u64(out, (reset_ms + 999) / 1000);
    strbuf_add(out, "s\r\n");
}

void quota_fields(const struct quota_view *v, struct strbuf *out)
{
    add_fields("requests", v->limits.requests, v->requests_left, v->requests_reset_ms, out);
    add_fields("tokens", v->limits.tokens, v->tokens_left, v->tokens_reset_ms, out);
}
