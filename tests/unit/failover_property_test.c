/* Many exchanges at once over shared targets that fall ill and recover, driven by a seed: after
 * every step the promises of the decision core must hold. HOLDFAST_SEED=N repeats another run. */
#include "proxy/failover.h"

#include "tests/unit/world.h"

#define EXCHANGES 20000
#define AT_ONCE   8
#define LATE_MS   20 /* a driver's timer comes this late at most */

#define FIVE                                                                                       \
    "breaker: {consecutive: 3, min_calls: 8, open_base: 4s, open_cap: 16s}\n" PROVIDERS PROVIDER(  \
        "a", "k0, k1, k2") PROVIDER("b", "k0") PROVIDER("c", "k0, k1")                             \
        ROUTE("a/x, b/x, c/x, a/y, c/y")

#define N_TARGETS 5

enum mood { WELL, FLAKY, DOWN };

/* What this test knows of one exchange, beside what the core says. */
struct client {
    struct arena arena;
    struct failover f;
    struct target *targets[N_TARGETS]; /* by candidate */
    uint64_t begun_ms;
    uint64_t next_ms;         /* when its provider or its client does something */
    uint64_t tcp_up_ms;       /* of the live attempt */
    bool connected, finished; /* the live attempt: request sent; finish reason told */
    int live;                 /* index of the live try, -1 if none */
    bool committed, opened, ended;
    unsigned attempts, tries[N_TARGETS], keys[N_TARGETS];
    uint64_t told_ms; /* when the client last got a byte */
};

struct run {
    struct world w;
    struct rng rng;
    uint64_t seed, now;
    struct client clients[AT_ONCE];
    enum mood moods[N_TARGETS];
    unsigned begun, in_flight[N_TARGETS];
    uint64_t trace; /* of all orders: the same seed gives the same run */
    unsigned steps, seen[FAILURE_KINDS], finished, broken, refused, heartbeats, waits, openings,
        closings, last_resorts;
};

#define HOLDS(r, c, condition)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %llu, exchange begun at %llu, now %llu, orders \"%s\": %s",             \
                     (unsigned long long)(r)->seed, (unsigned long long)(c)->begun_ms,             \
                     (unsigned long long)(r)->now, orders_text(&(r)->w.orders), #condition);       \
    } while (0)

static bool chance(struct run *r, unsigned percent)
{
    return rng_between(&r->rng, 1, 100) <= percent;
}

/* ---- health: before a step and after it ------------------------------------------------------ */

static bool same_health(const struct breaker *a, const struct breaker *b)
{
    for (size_t i = 0; i < BREAKER_SLOTS; i++)
        if (a->slots[i].ok != b->slots[i].ok || a->slots[i].failed != b->slots[i].failed)
            return false;
    return a->state == b->state && a->failures == b->failures && a->opened == b->opened &&
           a->retry_at == b->retry_at;
}

/* The breaker of a target whose attempt has ended without blame and without success: as it was, or
 * a probe that said nothing makes room for the next. */
static bool unmoved(const struct breaker *was, const struct breaker *is, uint64_t now)
{
    struct breaker released = *was;

    if (same_health(was, is))
        return true;
    released.state = BREAKER_OPEN;
    released.retry_at = now;
    return was->state == BREAKER_HALF_OPEN && same_health(&released, is);
}

static void check_health(struct run *r, struct client *c, const struct breaker *before, int was)
{
    const struct failover *f = &c->f;
    const struct failover_try *ended = was >= 0 ? &f->tries[was] : NULL;

    for (unsigned i = 0; i < N_TARGETS; i++) {
        const struct target *t = &r->w.set->targets[i];
        bool asked =
            f->current >= 0 && f->current != was && c->targets[f->tries[f->current].candidate] == t;
        bool its = ended != NULL && c->targets[ended->candidate] == t;

        r->openings += t->breaker.state == BREAKER_OPEN && before[i].state == BREAKER_CLOSED;
        r->closings += t->breaker.state == BREAKER_CLOSED && before[i].state == BREAKER_HALF_OPEN;
        if (asked)
            continue;
        if (!its)
            HOLDS(r, c, same_health(&before[i], &t->breaker));
        else if (ended->phase == PHASE_ENDED && ended->output_ms == 0 &&
                 failure_row(ended->outcome)->blame != BLAME)
            HOLDS(r, c, unmoved(&before[i], &t->breaker, r->now)); /* I8, I9 */
    }
}

/* ---- orders -----------------------------------------------------------------------------------
 */

static void check_try(struct run *r, struct client *c)
{
    const struct failover *f = &c->f;
    const struct failover_try *t = &f->tries[f->current];
    const struct failover_try *before = f->current > 0 ? t - 1 : NULL;

    HOLDS(r, c, c->live < 0 && !c->committed && !c->ended);
    HOLDS(r, c, ++c->attempts <= f->policy.max_attempts); /* I5 */
    HOLDS(r, c, ++c->tries[t->candidate] <= f->policy.per_target);
    HOLDS(r, c, r->now + 10 <= f->deadline_ms);
    if (before != NULL && !before->skipped && before->candidate == t->candidate &&
        failure_row(before->outcome)->again == AGAIN_KEY && before->ended_ms == t->started_ms)
        HOLDS(r, c, (c->keys[t->candidate] & 1u << t->ticket.key) == 0);
    r->last_resorts += c->attempts == 1 && f->n_tries == f->n_candidates + 1;
    c->keys[t->candidate] |= 1u << t->ticket.key;
    c->live = f->current;
    c->connected = c->finished = false;
    c->tcp_up_ms = r->now + (chance(r, 90) ? 5 : 100000);
    c->next_ms = r->now + rng_between(&r->rng, 1, 30);
    r->in_flight[c->targets[t->candidate] - r->w.set->targets]++;
}

static void check_orders(struct run *r, struct client *c, const struct failover_event *ev)
{
    const struct failover *f = &c->f;
    bool driver_ended =
        ev != NULL && (ev->kind == FAILOVER_FAILED || ev->kind == FAILOVER_COMPLETE);
    const struct failover_try *ended = c->live >= 0 ? &f->tries[c->live] : NULL;
    unsigned ends = 0, drops = 0;

    if (ended != NULL && ended->phase != PHASE_ENDED)
        ended = NULL;
    if (ended != NULL) {
        r->seen[ended->outcome]++;
        r->in_flight[c->targets[ended->candidate] - r->w.set->targets]--;
        c->live = -1;
    }
    for (unsigned i = 0; i < r->w.orders.n; i++) {
        enum failover_order_kind k = r->w.orders.v[i];

        r->trace = (r->trace ^ (k + 1)) * 0x100000001b3u;
        HOLDS(r, c, ends == 0 || k == ORDER_HEARTBEAT);
        switch (k) {
        case ORDER_TRY:
            check_try(r, c);
            break;
        case ORDER_DROP: /* of what the driver has not ended itself */
            HOLDS(r, c, ended != NULL && !driver_ended && drops++ == 0);
            break;
        case ORDER_COMMIT:
            HOLDS(r, c, !c->committed && (c->live >= 0 || ended != NULL)); /* I3, I4 */
            c->committed = true;
            c->told_ms = r->now;
            break;
        case ORDER_FINISH:
            HOLDS(r, c, c->committed && (ev->kind == FAILOVER_COMPLETE || c->finished)); /* I11 */
            HOLDS(r, c, failover_outcome(f) == FAILURE_NONE);
            ends++;
            r->finished++;
            break;
        case ORDER_BREAK:
            HOLDS(r, c, c->committed || c->opened);
            ends++;
            r->broken++;
            break;
        case ORDER_REFUSE:
            HOLDS(r, c, !c->committed && !c->opened);
            ends++;
            r->refused++;
            break;
        case ORDER_HEARTBEAT:
            HOLDS(r, c, ends == 0 && r->now - c->told_ms >= f->policy.heartbeat_ms);
            c->opened = true;
            c->told_ms = r->now;
            r->heartbeats++;
            break;
        }
    }
    HOLDS(r, c, drops == (ended != NULL && !driver_ended && ended->outcome != FAILURE_NONE));
    HOLDS(r, c, ends == (f->ended && (ev == NULL || ev->kind != FAILOVER_GONE))); /* I1 */
    c->ended = f->ended;
    if (c->ended)
        c->next_ms = r->now + rng_between(&r->rng, 0, chance(r, 5) ? 600000 : 1000);
}

/* ---- one step ---------------------------------------------------------------------------------
 */

static void check_state(struct run *r, struct client *c)
{
    const struct failover *f = &c->f;

    HOLDS(r, c, f->current == c->live);
    HOLDS(r, c, c->committed == f->committed && c->opened == f->opened);
    HOLDS(r, c, r->now <= f->deadline_ms + LATE_MS); /* I6 */
    for (unsigned i = 0; i < N_TARGETS; i++)         /* I2 */
        HOLDS(r, c, atomic_load(&r->w.set->targets[i].in_flight) == r->in_flight[i]);
    if (c->ended) {
        HOLDS(r, c, c->live < 0);
        HOLDS(r, c, failure_row(failover_outcome(f)) != NULL);
        return;
    }
    HOLDS(r, c, c->live >= 0 || f->wait_until_ms > r->now); /* I14 */
    HOLDS(r, c, failover_due(f) >= r->now && failover_due(f) <= f->deadline_ms);
    r->waits += c->live < 0;
}

static void note_breakers(const struct run *r, struct breaker *out)
{
    for (unsigned i = 0; i < N_TARGETS; i++)
        out[i] = r->w.set->targets[i].breaker;
}

static void happen(struct run *r, struct client *c, struct failover_event ev)
{
    struct breaker before[N_TARGETS];
    int was = c->live;

    r->steps++;
    note_breakers(r, before);
    failover_step(&c->f, &ev, r->now, &r->w.orders);
    check_orders(r, c, &ev);
    check_state(r, c);
    /* A tick at its time gets things on: who drives does not spin. */
    HOLDS(r, c, c->ended || ev.kind != FAILOVER_TICK || failover_due(&c->f) > r->now);
    check_health(r, c, before, was);
}

/* ---- what providers and clients do ------------------------------------------------------------
 */

static enum failure random_failure(struct run *r)
{
    for (;;) {
        enum failure f = (enum failure)rng_between(&r->rng, 1, FAILURE_KINDS - 1);

        if (f != SKIPPED_OPEN && f != SKIPPED_REST && f != DEADLINE && f != STOPPING &&
            f != REJECTED && f != CLIENT_GONE)
            return f;
    }
}

static struct failover_event random_end(struct run *r)
{
    static const enum failure usual[] = {RESET, OVERLOADED, SERVER_ERROR, RATE_LIMITED, TRUNCATED};
    struct failover_event ev = {.kind = FAILOVER_FAILED, .retry_after_ms = RETRY_AFTER_NONE};

    ev.failure =
        chance(r, 60) ? usual[rng_between(&r->rng, 0, ARRAY_LEN(usual) - 1)] : random_failure(r);
    ev.status = (unsigned)rng_between(&r->rng, 0, 1) * 500;
    if (chance(r, 20))
        ev.retry_after_ms = rng_between(&r->rng, 0, 5000);
    return ev;
}

/* Something that may happen to a live attempt now. */
static struct failover_event random_event(struct run *r, struct client *c)
{
    const struct failover_try *t = &c->f.tries[c->live];
    enum mood mood = r->moods[c->targets[t->candidate] - r->w.set->targets];
    struct failover_event ev = {.retry_after_ms = RETRY_AFTER_NONE, .status = 200};

    if (chance(r, mood == DOWN ? 70 : mood == FLAKY ? 15 : 1))
        return random_end(r);
    if (!c->connected) {
        c->connected = true;
        ev.kind = FAILOVER_CONNECTED;
    } else if (c->finished) {
        ev.kind = chance(r, 70) ? FAILOVER_COMPLETE : FAILOVER_PROGRESS;
    } else if (chance(r, 50)) {
        ev.kind = chance(r, 50) && !c->committed ? FAILOVER_OUTPUT : FAILOVER_PROGRESS;
    } else {
        c->finished = chance(r, 60);
        ev.kind = c->finished ? FAILOVER_STOPPED : FAILOVER_COMPLETE;
    }
    return ev;
}

static void act_on(struct run *r, struct client *c)
{
    struct failover_event ev = {.kind = FAILOVER_GONE, .retry_after_ms = RETRY_AFTER_NONE};

    if (chance(r, 1)) {
        ev.kind = chance(r, 80) ? FAILOVER_GONE : FAILOVER_STOP;
    } else if (c->live >= 0) {
        ev = random_event(r, c);
        if (ev.kind == FAILOVER_PROGRESS && c->committed) { /* the hot path's short way */
            failover_progress(&c->f, r->now);
            c->told_ms = r->now;
            c->next_ms = r->now + rng_between(&r->rng, 0, 300);
            return;
        }
    } else {
        c->next_ms = r->now + 50;
        return;
    }
    happen(r, c, ev);
    if (c->live >= 0)
        c->next_ms = r->now + (chance(r, 4) ? 50000 : rng_between(&r->rng, 0, 300));
}

static void begin_one(struct run *r, struct client *c)
{
    struct breaker before[N_TARGETS];
    unsigned first = (unsigned)rng_between(&r->rng, 0, N_TARGETS - 1);
    unsigned n = (unsigned)rng_between(&r->rng, 1, N_TARGETS);
    struct failover_policy policy = {
        .max_attempts = (unsigned)rng_between(&r->rng, 1, 6),
        .per_target = (unsigned)rng_between(&r->rng, 1, 4),
        .total_ms = chance(r, 10) ? rng_between(&r->rng, 1, 200) : rng_between(&r->rng, 200, 20000),
        .heartbeat_ms = chance(r, 50) ? rng_between(&r->rng, 50, 2000) : 0,
    };
    struct arena arena = c->arena;

    arena_reset(&arena);
    *c = (struct client){.arena = arena, .live = -1, .begun_ms = r->now, .told_ms = r->now};
    failover_init(&c->f, &policy, n, rng_next(&r->rng), &c->arena);
    for (unsigned i = 0; i < n; i++) {
        struct failover_timers timers = {
            .connect = rng_between(&r->rng, 1, 400),
            .tls = rng_between(&r->rng, 1, 600),
            .first_output = rng_between(&r->rng, 1, 3000),
            .idle = rng_between(&r->rng, 1, 2000),
        };

        c->targets[i] = &r->w.set->targets[(first + i) % N_TARGETS];
        failover_add(&c->f, c->targets[i], &timers, false);
    }
    r->begun++;
    note_breakers(r, before);
    failover_begin(&c->f, r->now, &r->w.orders);
    check_orders(r, c, NULL);
    check_state(r, c);
    check_health(r, c, before, -1);
}

/* ---- the run ----------------------------------------------------------------------------------
 */

/* Carries out what is due next, of one exchange; false when all have ended. */
static bool turn(struct run *r)
{
    struct client *next = NULL;
    uint64_t at = UINT64_MAX;
    bool tick = false;

    for (unsigned i = 0; i < AT_ONCE; i++) {
        struct client *c = &r->clients[i];
        uint64_t due;

        if (c->ended && c->next_ms <= r->now && r->begun < EXCHANGES)
            begin_one(r, c);
        if (c->ended)
            continue;
        due = failover_due(&c->f);
        if (due < at || c->next_ms < at) {
            next = c;
            tick = due <= c->next_ms;
            at = tick ? due : c->next_ms;
        }
    }
    if (next == NULL) { /* all rest between two of their exchanges */
        r->now += 100;
        return r->begun < EXCHANGES;
    }
    if (at > r->now)
        r->now = at;
    if (tick && chance(r, 30))
        r->now += rng_between(&r->rng, 0, LATE_MS / AT_ONCE);
    if (chance(r, 1))
        r->moods[rng_between(&r->rng, 0, N_TARGETS - 1)] = (enum mood)rng_between(&r->rng, 0, 2);
    if (tick)
        happen(r, next,
               (struct failover_event){.kind = FAILOVER_TICK,
                                       .retry_after_ms = RETRY_AFTER_NONE,
                                       .tcp_up = r->now >= next->tcp_up_ms});
    else
        act_on(r, next);
    return true;
}

static struct run *run_new(uint64_t seed)
{
    struct run *r = calloc(1, sizeof(*r));

    *r = (struct run){.w = world_new(FIVE), .rng = {seed}, .seed = seed, .now = T0};
    for (unsigned i = 0; i < AT_ONCE; i++)
        r->clients[i].ended = true;
    while (turn(r))
        HOLDS(r, &r->clients[0], r->steps < EXCHANGES * 200); /* every exchange ends */
    return r;
}

static void run_free(struct run *r)
{
    for (unsigned i = 0; i < AT_ONCE; i++)
        arena_release(&r->clients[i].arena);
    world_release(&r->w);
    free(r);
}

TEST(the_promises_hold_after_every_step_of_20000_exchanges_over_shared_targets)
{
    const char *text = getenv("HOLDFAST_SEED");
    struct run *r = run_new(text != NULL ? strtoull(text, NULL, 10) : 20240607);

    CHECK_INT(r->begun, EXCHANGES);
    for (unsigned i = 0; i < N_TARGETS; i++)
        CHECK_INT(atomic_load(&r->w.set->targets[i].in_flight), 0);
    print_message("seed %llu: %u steps, %u finished, %u broken, %u refused, %u heartbeats, %u in "
                  "back-off, breakers opened %u times and closed %u, %u last resorts\n",
                  (unsigned long long)r->seed, r->steps, r->finished, r->broken, r->refused,
                  r->heartbeats, r->waits, r->openings, r->closings, r->last_resorts);
    /* The run has seen everything that it is about. */
    CHECK(r->finished > 1000 && r->broken > 500 && r->refused > 1000 && r->heartbeats > 1000);
    CHECK(r->waits > 500 && r->openings > 100 && r->closings > 50 && r->last_resorts > 20);
    for (unsigned i = 0; i < FAILURE_KINDS; i++)
        if (i != SKIPPED_OPEN && i != SKIPPED_REST && i != REJECTED)
            CHECK(r->seen[i] > 0);
    run_free(r);
}

TEST(the_same_seed_gives_the_same_run)
{
    struct run *a = run_new(5), *b = run_new(5);

    CHECK(a->trace == b->trace && a->steps == b->steps && a->now == b->now);
    run_free(a);
    run_free(b);
}

TEST_MAIN()
