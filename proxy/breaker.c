#include "proxy/breaker.h"

#include <assert.h>
#include <stddef.h>

#include "proxy/base/attributes.h"
#include "proxy/base/backoff.h"

#define STREAK_MS      60000 /* failures further apart than this are no streak */
#define LAST_RESORT_MS 1000
#define PROBE_MS       1000  /* a guess at how long a probe needs, for who must come again */
#define PROBE_LOST_MS  30000 /* a probe that is out for longer no longer takes a place */

/* How many probes may be out after so many have won; when none is left to win, it closes. */
static const unsigned places[] = {1, 3, 5};

enum event { OK, FAIL, TRIP, DROP, COOLED, WON, EVENTS };
enum act { NEVER, STAY, COUNT, FORGET, HOLD, PROBE };

struct cell {
    enum breaker_state next;
    enum act act;
};

/* The whole machine. An empty cell is a pair that cannot happen. */
/* clang-format off */
static const struct cell transitions[][EVENTS] = {
    [BREAKER_CLOSED] = {
        [OK]     = { BREAKER_CLOSED,    FORGET },
        [FAIL]   = { BREAKER_CLOSED,    COUNT },
        [TRIP]   = { BREAKER_OPEN,      HOLD },
        [DROP]   = { BREAKER_CLOSED,    STAY },
    },
    [BREAKER_OPEN] = {
        [COOLED] = { BREAKER_HALF_OPEN, PROBE },
    },
    [BREAKER_HALF_OPEN] = {
        [OK]     = { BREAKER_HALF_OPEN, STAY },
        [WON]    = { BREAKER_CLOSED,    FORGET },
        [FAIL]   = { BREAKER_OPEN,      HOLD },
        [DROP]   = { BREAKER_HALF_OPEN, STAY },
    },
};
/* clang-format on */

void breaker_init(struct breaker *b, const struct breaker_config *cfg, uint64_t seed)
{
    assert(cfg->consecutive >= 1);
    *b = (struct breaker){.cfg = *cfg, .rng = {seed}, .state = BREAKER_CLOSED, .epoch = 1};
}

/* Doubled for each time in a row, capped, and then somewhere in its upper half. */
static uint64_t open_for(struct breaker *b)
{
    uint64_t d = backoff_ms(b->cfg.open_base_ms, b->opened, b->cfg.open_cap_ms);

    return rng_between(&b->rng, d / 2, d);
}

static void forget(struct breaker *b)
{
    b->failures = 0;
    b->opened = 0;
    for (size_t i = 0; i < BREAKER_SLOTS; i++)
        b->slots[i].ok = b->slots[i].failed = 0;
}

/* The only place that changes `state`. */
static void step(struct breaker *b, enum event ev, uint64_t now_ms)
{
    enum breaker_state from = b->state;
    struct cell cell = transitions[from][ev];

    assert(cell.act != NEVER);
    if (cell.act == HOLD) {
        b->retry_at = now_ms + open_for(b);
        b->opened++;
    } else if (cell.act == PROBE) {
        b->probes = b->won = 0;
    } else if (cell.act == FORGET && from == BREAKER_HALF_OPEN) {
        forget(b);
    } else if (cell.act == FORGET) {
        b->failures = 0;
    }
    b->state = cell.next;
    if (b->state != from && ++b->epoch == 0)
        b->epoch = 1;
}

static void count(struct breaker *b, bool failed, uint64_t now_ms)
{
    uint64_t tenth = now_ms * BREAKER_SLOTS / b->cfg.window_ms;
    size_t i = tenth % BREAKER_SLOTS;

    if (b->slots[i].tenth != tenth)
        b->slots[i].ok = b->slots[i].failed = 0;
    b->slots[i].tenth = tenth;
    if (failed)
        b->slots[i].failed++;
    else
        b->slots[i].ok++;
}

void breaker_counts(const struct breaker *b, uint64_t now_ms, unsigned *ok, unsigned *failed)
{
    uint64_t tenth = now_ms * BREAKER_SLOTS / b->cfg.window_ms;

    *ok = *failed = 0;
    for (size_t i = 0; i < BREAKER_SLOTS; i++) {
        if (b->slots[i].tenth + BREAKER_SLOTS <= tenth)
            continue;
        *ok += b->slots[i].ok;
        *failed += b->slots[i].failed;
    }
}

static bool rate_too_high(const struct breaker *b, uint64_t now_ms)
{
    unsigned ok, failed;

    breaker_counts(b, now_ms, &ok, &failed);
    return ok + failed >= b->cfg.min_calls && failed >= b->cfg.failure_rate * (ok + failed);
}

/* A request goes in HALF_OPEN. */
static breaker_pass probe(struct breaker *b, uint64_t now_ms)
{
    b->probes++;
    b->probed_at = now_ms;
    return b->epoch;
}

static bool all_out(const struct breaker *b, uint64_t now_ms)
{
    return b->probes >= places[b->won] && now_ms < b->probed_at + PROBE_LOST_MS;
}

void breaker_inherit(struct breaker *b, const struct breaker *from, uint64_t now_ms)
{
    struct breaker_config cfg = b->cfg;

    *b = *from;
    b->cfg = cfg;
    if (b->state == BREAKER_HALF_OPEN) { /* its probes are out elsewhere */
        b->state = BREAKER_OPEN;
        b->retry_at = now_ms;
        b->probes = b->won = 0;
    }
}

breaker_pass breaker_ask(struct breaker *b, uint64_t now_ms)
{
    if (b->state == BREAKER_CLOSED)
        return b->epoch;
    if (b->state == BREAKER_OPEN) {
        if (now_ms < b->retry_at)
            return 0;
        step(b, COOLED, now_ms);
    }
    if (all_out(b, now_ms))
        return 0;
    if (b->probes >= places[b->won])
        b->probes = 0; /* none of them came back */
    return probe(b, now_ms);
}

breaker_pass breaker_ask_last_resort(struct breaker *b, uint64_t now_ms)
{
    breaker_pass p = breaker_ask(b, now_ms);

    if (p != 0)
        return p;
    if (b->last_resort_at != 0 && now_ms < b->last_resort_at + LAST_RESORT_MS)
        return 0;
    b->last_resort_at = now_ms;
    if (b->state == BREAKER_OPEN)
        step(b, COOLED, now_ms);
    return probe(b, now_ms);
}

bool breaker_is_probe(const struct breaker *b, breaker_pass p)
{
    return b->state == BREAKER_HALF_OPEN && p == b->epoch;
}

bool breaker_is_late(const struct breaker *b, breaker_pass p)
{
    return p != b->epoch;
}

static void came_back(struct breaker *b)
{
    if (b->probes > 0)
        b->probes--;
}

breaker_pass breaker_output(struct breaker *b, breaker_pass p, uint64_t now_ms)
{
    if (!breaker_is_probe(b, p))
        return p;
    came_back(b);
    b->won++;
    if (b->won < ARRAY_LEN(places)) {
        step(b, OK, now_ms);
        return 0; /* its word is given */
    }
    step(b, WON, now_ms);
    return b->epoch;
}

void breaker_ok(struct breaker *b, breaker_pass p, uint64_t now_ms)
{
    p = breaker_output(b, p, now_ms);
    if (p != b->epoch)
        return;
    step(b, OK, now_ms);
    count(b, false, now_ms);
}

void breaker_fail(struct breaker *b, breaker_pass p, uint64_t now_ms)
{
    if (p != b->epoch)
        return;
    if (b->state == BREAKER_HALF_OPEN) {
        step(b, FAIL, now_ms);
        return;
    }
    if (b->failures > 0 && now_ms > b->last_failure + STREAK_MS)
        b->failures = 0;
    b->failures++;
    b->last_failure = now_ms;
    count(b, true, now_ms);
    step(b, b->failures >= b->cfg.consecutive || rate_too_high(b, now_ms) ? TRIP : FAIL, now_ms);
}

void breaker_drop(struct breaker *b, breaker_pass p, uint64_t now_ms)
{
    if (p != b->epoch)
        return;
    if (b->state == BREAKER_HALF_OPEN)
        came_back(b);
    step(b, DROP, now_ms);
}

uint64_t breaker_wait_ms(const struct breaker *b, uint64_t now_ms)
{
    if (b->state == BREAKER_HALF_OPEN)
        return all_out(b, now_ms) ? PROBE_MS : 0;
    return b->state == BREAKER_OPEN && b->retry_at > now_ms ? b->retry_at - now_ms : 0;
}

const char *breaker_state_name(enum breaker_state s)
{
    static const char *const names[] = {"closed", "open", "half_open"};

    return names[s];
}
