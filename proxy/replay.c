#include "proxy/replay.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "proxy/base/mem.h"

#define BLOCK_BYTES 4096
#define BUCKETS     1024

struct replay_answer {
    struct replay *store;
    struct replay_answer *next_by_key, *next_by_id; /* in their buckets */
    struct replay_answer *older, *newer;            /* ended ones, by the end of their time */
    bool by_key, by_id;                             /* how it can be found */
    bool recorded;                                  /* nobody writes to it any more */
    bool well, begun;
    uint8_t key[HASH_SHA256_BYTES], request[HASH_SHA256_BYTES];
    uint8_t id[REPLAY_ID_BYTES], owner[HASH_SHA256_BYTES];
    struct replay_head head;
    struct replay_reader *readers;
    enum failure outcome;
    uint64_t idle_ms;    /* since when nobody waits for it */
    uint64_t expires_ms; /* once it has ended */

    /* The bytes from `from` to `to` of all that were written, in blocks of one size. */
    char **blocks;
    size_t n_blocks, cap_blocks;
    uint64_t from, to;
    /* Where its events end: the first of them is number `first_event`. */
    uint64_t *ends;
    size_t n_ends, cap_ends;
    uint64_t first_event;
    uint64_t memory; /* all of it, in bytes */
};

struct replay {
    pthread_mutex_t lock;
    struct replay_limits limits;
    struct replay_answer *by_key[BUCKETS], *by_id[BUCKETS];
    struct replay_answer *oldest, *newest; /* of the ended ones that can be found */
    uint64_t answers, memory;
};

struct replay *replay_new(const struct replay_limits *limits)
{
    struct replay *r = mem_zalloc(sizeof(*r));

    r->limits = *limits;
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void replay_limit(struct replay *r, const struct replay_limits *limits)
{
    pthread_mutex_lock(&r->lock);
    r->limits = *limits;
    pthread_mutex_unlock(&r->lock);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void take(struct replay_answer *a, uint64_t n)
{
    a->memory += n;
    a->store->memory += n;
}

static void give_back(struct replay_answer *a, uint64_t n)
{
    a->memory -= n;
    a->store->memory -= n;
}

static void answer_free(struct replay_answer *a)
{
    for (size_t i = 0; i < a->n_blocks; i++)
        free(a->blocks[i]);
    free(a->blocks);
    free(a->ends);
    free((void *)(uintptr_t)a->head.fields.p);
    give_back(a, a->memory);
    a->store->answers--;
    free(a);
}

/* Nobody holds it, nobody finds it. */
static void free_if_over(struct replay_answer *a)
{
    if (a->recorded && a->readers == NULL && !a->by_key && !a->by_id)
        answer_free(a);
}

/* Digests and random numbers spread by themselves. */
static size_t bucket_of(const uint8_t *name)
{
    return (size_t)(name[0] | name[1] << 8) % BUCKETS;
}

static void hide_key(struct replay_answer *a)
{
    struct replay_answer **at = &a->store->by_key[bucket_of(a->key)];

    if (!a->by_key)
        return;
    while (*at != a)
        at = &(*at)->next_by_key;
    *at = a->next_by_key;
    a->by_key = false;
}

static void hide_id(struct replay_answer *a)
{
    struct replay_answer **at = &a->store->by_id[bucket_of(a->id)];

    if (!a->by_id)
        return;
    while (*at != a)
        at = &(*at)->next_by_id;
    *at = a->next_by_id;
    a->by_id = false;
}

static void unlist(struct replay_answer *a)
{
    struct replay *r = a->store;

    *(a->older != NULL ? &a->older->newer : &r->oldest) = a->newer;
    *(a->newer != NULL ? &a->newer->older : &r->newest) = a->older;
}

/* An ended one: whoever reads it may go on. */
static void forget(struct replay_answer *a)
{
    unlist(a);
    hide_key(a);
    hide_id(a);
    free_if_over(a);
}

static uint64_t sweep(struct replay *r, uint64_t now_ms)
{
    while (r->oldest != NULL && r->oldest->expires_ms <= now_ms)
        forget(r->oldest);
    return r->oldest != NULL ? r->oldest->expires_ms : UINT64_MAX;
}

/* Room for n more bytes, at the expense of ended answers that nobody reads. */
static bool make_room(struct replay *r, uint64_t n)
{
    struct replay_answer *a = r->oldest;

    while (a != NULL && r->memory + n > r->limits.memory_bytes) {
        struct replay_answer *newer = a->newer;

        if (a->readers == NULL)
            forget(a);
        a = newer;
    }
    return r->memory + n <= r->limits.memory_bytes;
}

uint64_t replay_sweep(struct replay *r, uint64_t now_ms)
{
    uint64_t next;

    pthread_mutex_lock(&r->lock);
    next = sweep(r, now_ms);
    pthread_mutex_unlock(&r->lock);
    return next;
}

void replay_totals(struct replay *r, uint64_t *answers, uint64_t *bytes)
{
    pthread_mutex_lock(&r->lock);
    *answers = r->answers;
    *bytes = r->memory;
    pthread_mutex_unlock(&r->lock);
}

void replay_free(struct replay *r)
{
    if (r == NULL)
        return;
    while (r->oldest != NULL)
        forget(r->oldest);
    assert(r->answers == 0 && r->memory == 0);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* For what an answer cannot do without: where there is no room, only those who read it already keep
 * it in memory. */
static void take_or_hide(struct replay_answer *a, uint64_t n)
{
    if (!make_room(a->store, n)) {
        hide_key(a);
        hide_id(a);
    }
    take(a, n);
}

/* ---- finding --------------------------------------------------------------------------------- */

static void attach(struct replay_answer *a, uint64_t at, struct replay_reader *reader)
{
    reader->answer = a;
    reader->at = at;
    reader->next = a->readers;
    a->readers = reader;
}

static struct replay_answer *answer_new(struct replay *r)
{
    struct replay_answer *a;

    if (!make_room(r, sizeof(*a)))
        return NULL;
    a = mem_zalloc(sizeof(*a));
    a->store = r;
    a->first_event = 1;
    r->answers++;
    take(a, sizeof(*a));
    return a;
}

enum replay_claim replay_claim(struct replay *r, const uint8_t key[HASH_SHA256_BYTES],
                               const uint8_t request[HASH_SHA256_BYTES], uint64_t now_ms,
                               struct replay_reader *reader, struct replay_answer **out)
{
    struct replay_answer **bucket = &r->by_key[bucket_of(key)], *a;
    enum replay_claim found;

    pthread_mutex_lock(&r->lock);
    sweep(r, now_ms);
    a = *bucket;
    while (a != NULL && !hash_equal(a->key, key, HASH_SHA256_BYTES))
        a = a->next_by_key;
    if (a == NULL) {
        a = answer_new(r);
        found = a != NULL ? REPLAY_NEW : REPLAY_NO_ROOM;
        if (a != NULL) {
            memcpy(a->key, key, sizeof(a->key));
            memcpy(a->request, request, sizeof(a->request));
            a->by_key = true;
            a->next_by_key = *bucket;
            *bucket = a;
            *out = a;
        }
    } else if (!hash_equal(a->request, request, HASH_SHA256_BYTES)) {
        found = REPLAY_OTHER;
    } else {
        attach(a, 0, reader);
        found = REPLAY_KNOWN;
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

/* Where the bytes behind an event begin; false when it is not known (any more, or yet). */
static bool place_behind(const struct replay_answer *a, uint64_t seen, uint64_t *at)
{
    if (seen == 0)
        *at = 0;
    else if (seen >= a->first_event && seen - a->first_event < a->n_ends)
        *at = a->ends[seen - a->first_event];
    else
        return false;
    return *at >= a->from;
}

enum replay_found replay_find(struct replay *r, const uint8_t id[REPLAY_ID_BYTES],
                              const uint8_t owner[HASH_SHA256_BYTES], uint64_t seen,
                              uint64_t now_ms, struct replay_reader *reader)
{
    enum replay_found found = REPLAY_GONE;
    struct replay_answer *a;
    uint64_t at;

    pthread_mutex_lock(&r->lock);
    sweep(r, now_ms);
    a = r->by_id[bucket_of(id)];
    while (a != NULL && !hash_equal(a->id, id, REPLAY_ID_BYTES))
        a = a->next_by_id;
    if (a != NULL && !hash_equal(a->owner, owner, HASH_SHA256_BYTES)) {
        found = REPLAY_NOT_HIS;
    } else if (a != NULL && place_behind(a, seen, &at)) {
        attach(a, at, reader);
        found = REPLAY_FOUND;
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

/* ---- recording ------------------------------------------------------------------------------- */

struct replay_answer *replay_open(struct replay *r, uint64_t now_ms)
{
    struct replay_answer *a;

    pthread_mutex_lock(&r->lock);
    sweep(r, now_ms);
    a = answer_new(r);
    pthread_mutex_unlock(&r->lock);
    return a;
}

void replay_identify(struct replay_answer *a, const uint8_t id[REPLAY_ID_BYTES],
                     const uint8_t owner[HASH_SHA256_BYTES])
{
    struct replay_answer **bucket = &a->store->by_id[bucket_of(id)];

    assert(!a->by_id && a->to == 0);
    pthread_mutex_lock(&a->store->lock);
    memcpy(a->id, id, sizeof(a->id));
    memcpy(a->owner, owner, sizeof(a->owner));
    a->by_id = true;
    a->next_by_id = *bucket;
    *bucket = a;
    pthread_mutex_unlock(&a->store->lock);
}

void replay_begin(struct replay_answer *a, const struct replay_head *head)
{
    assert(!a->begun);
    pthread_mutex_lock(&a->store->lock);
    a->begun = true;
    a->head = *head;
    a->head.fields.p = mem_strndup(head->fields.p, head->fields.n);
    take_or_hide(a, head->fields.n + 1);
    pthread_mutex_unlock(&a->store->lock);
}

/* The ends of events before `from` lead nowhere. Moved seldom, as it costs a copy. */
static void drop_ends(struct replay_answer *a)
{
    size_t n = 0;

    while (n < a->n_ends && a->ends[n] < a->from)
        n++;
    if (n <= a->n_ends / 2)
        return;
    memmove(a->ends, a->ends + n, (a->n_ends - n) * sizeof(*a->ends));
    a->n_ends -= n;
    a->first_event += n;
}

/* Its first bytes are lost: what needs all of it has no use for it any more. */
static void lose_front(struct replay_answer *a)
{
    hide_key(a);
    if (a->head.whole)
        hide_id(a);
    drop_ends(a);
}

/* Those who wait for a whole answer get it, however large: they would have it in memory anyway. */
static bool may_grow(const struct replay_answer *a)
{
    if (a->head.whole && a->readers != NULL)
        return true;
    return a->memory + BLOCK_BYTES <= a->store->limits.answer_bytes &&
           make_room(a->store, BLOCK_BYTES);
}

/* A block for the bytes at `to`: a new one, or the oldest one. NULL when there is neither. */
static char *next_block(struct replay_answer *a)
{
    char *block;

    if (may_grow(a)) {
        if (a->n_blocks == a->cap_blocks) {
            size_t cap = a->cap_blocks != 0 ? 2 * a->cap_blocks : 4;

            a->blocks = mem_grow(a->blocks, cap * sizeof(*a->blocks));
            take_or_hide(a, (cap - a->cap_blocks) * sizeof(*a->blocks));
            a->cap_blocks = cap;
        }
        if (a->n_blocks == 0)
            a->from = a->to;
        block = mem_alloc(BLOCK_BYTES);
        take(a, BLOCK_BYTES);
        a->blocks[a->n_blocks++] = block;
        return block;
    }
    if (a->n_blocks == 0)
        return NULL;
    block = a->blocks[0];
    memmove(a->blocks, a->blocks + 1, (a->n_blocks - 1) * sizeof(*a->blocks));
    a->blocks[a->n_blocks - 1] = block;
    a->from += BLOCK_BYTES;
    lose_front(a);
    return block;
}

static void append(struct replay_answer *a, struct span bytes)
{
    while (bytes.n > 0) {
        size_t used = (size_t)(a->to - a->from) % BLOCK_BYTES, n = BLOCK_BYTES - used;
        char *block = used != 0 ? a->blocks[a->n_blocks - 1] : next_block(a);

        if (block == NULL) {
            a->to += bytes.n;
            a->from = a->to;
            lose_front(a);
            return;
        }
        if (n > bytes.n)
            n = bytes.n;
        memcpy(block + used, bytes.p, n);
        a->to += n;
        bytes.p += n;
        bytes.n -= n;
    }
}

static void mark_end(struct replay_answer *a)
{
    if (a->n_ends == a->cap_ends) {
        size_t cap = a->cap_ends != 0 ? 2 * a->cap_ends : 64;

        a->ends = mem_grow(a->ends, cap * sizeof(*a->ends));
        take_or_hide(a, (cap - a->cap_ends) * sizeof(*a->ends));
        a->cap_ends = cap;
    }
    a->ends[a->n_ends++] = a->to;
}

bool replay_write(struct replay_answer *a, struct span bytes, bool event_ends)
{
    bool wanted;

    pthread_mutex_lock(&a->store->lock);
    append(a, bytes);
    if (event_ends && a->by_id)
        mark_end(a);
    wanted = a->by_key || a->by_id || a->readers != NULL;
    pthread_mutex_unlock(&a->store->lock);
    return wanted;
}

static void tell_readers(struct replay_answer *a)
{
    for (struct replay_reader *reader = a->readers; reader != NULL; reader = reader->next)
        reader->news(reader);
}

void replay_flush(struct replay_answer *a)
{
    pthread_mutex_lock(&a->store->lock);
    tell_readers(a);
    pthread_mutex_unlock(&a->store->lock);
}

void replay_end(struct replay_answer *a, bool well, enum failure outcome, uint64_t now_ms)
{
    struct replay *r = a->store;

    pthread_mutex_lock(&r->lock);
    a->recorded = true;
    a->well = well;
    a->outcome = outcome;
    a->expires_ms = now_ms + r->limits.ttl_ms;
    if (!well) {
        hide_key(a);
        hide_id(a);
    }
    if (a->by_key || a->by_id) {
        a->older = r->newest;
        *(r->newest != NULL ? &r->newest->newer : &r->oldest) = a;
        r->newest = a;
    }
    tell_readers(a);
    free_if_over(a);
    pthread_mutex_unlock(&r->lock);
}

void replay_left(struct replay_answer *a, uint64_t now_ms)
{
    pthread_mutex_lock(&a->store->lock);
    a->idle_ms = now_ms;
    pthread_mutex_unlock(&a->store->lock);
}

uint64_t replay_due(struct replay_answer *a)
{
    uint64_t due = 0;

    pthread_mutex_lock(&a->store->lock);
    if (a->readers != NULL)
        due = UINT64_MAX;
    else if (a->by_key || a->by_id)
        due = a->idle_ms + a->store->limits.ttl_ms;
    pthread_mutex_unlock(&a->store->lock);
    return due;
}

/* ---- reading --------------------------------------------------------------------------------- */

bool replay_begun(struct replay_reader *reader, struct replay_head *out)
{
    struct replay_answer *a = reader->answer;
    bool begun;

    pthread_mutex_lock(&a->store->lock);
    begun = a->begun;
    *out = a->head;
    pthread_mutex_unlock(&a->store->lock);
    return begun;
}

static size_t copy_out(const struct replay_answer *a, uint64_t at, char *out, size_t size)
{
    size_t n = 0;

    while (n < size && at < a->to) {
        uint64_t in = at - a->from, left = a->to - at;
        size_t run = BLOCK_BYTES - (size_t)(in % BLOCK_BYTES);

        if (run > left)
            run = (size_t)left;
        if (run > size - n)
            run = size - n;
        memcpy(out + n, a->blocks[in / BLOCK_BYTES] + in % BLOCK_BYTES, run);
        n += run;
        at += run;
    }
    return n;
}

enum replay_state replay_read(struct replay_reader *reader, char *out, size_t size, size_t *n)
{
    struct replay_answer *a = reader->answer;
    enum replay_state state;

    *n = 0;
    pthread_mutex_lock(&a->store->lock);
    if (reader->at < a->from)
        state = REPLAY_GAP;
    else if (reader->at < a->to)
        state = REPLAY_BYTES;
    else if (!a->recorded)
        state = REPLAY_WAIT;
    else
        state = a->well ? REPLAY_ENDED : REPLAY_BROKEN;
    if (state == REPLAY_BYTES) {
        *n = copy_out(a, reader->at, out, size);
        reader->at += *n;
    }
    pthread_mutex_unlock(&a->store->lock);
    return state;
}

enum failure replay_outcome(struct replay_reader *reader)
{
    struct replay_answer *a = reader->answer;
    enum failure outcome;

    pthread_mutex_lock(&a->store->lock);
    outcome = a->outcome;
    pthread_mutex_unlock(&a->store->lock);
    return outcome;
}

void replay_leave(struct replay_reader *reader, uint64_t now_ms)
{
    struct replay_answer *a = reader->answer;
    struct replay *r = a->store;
    struct replay_reader **at = &a->readers;

    pthread_mutex_lock(&r->lock);
    while (*at != reader)
        at = &(*at)->next;
    *at = reader->next;
    reader->answer = NULL;
    if (a->readers == NULL)
        a->idle_ms = now_ms;
    free_if_over(a);
    pthread_mutex_unlock(&r->lock);
}
