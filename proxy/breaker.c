#include "proxy/breaker.h"

#include <assert.h>
#include <stddef.h>

#define STREAK_MS      60000 /* failures further apart than this are no streak */
#define LAST_RESORT_MS 1000
#define PROBE_MS       1000 /* a guess at how long a probe needs, for who must come again */

enum event { OK, FAIL, TRIP, DROP, COOLED, EVENTS };
enum act { NEVER, STAY, COUNT, FORGET, HOLD, RELEASE };

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
        [COOLED] = { BREAKER_HALF_OPEN, STAY },
    },
    [BREAKER_HALF_OPEN] = {
        [OK]     = { BREAKER_CLOSED,    FORGET },
        [FAIL]   = { BREAKER_OPEN,      HOLD },
        [DROP]   = { BREAKER_OPEN,      RELEASE },
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
    uint64_t d = b->cfg.open_base_ms;

    for (unsigned i = 0; i < b->opened && d < b->cfg.open_cap_ms; i++)
        d *= 2;
    if (d > b->cfg.open_cap_ms)
        d = b->cfg.open_cap_ms;
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
    } else if (cell.act == RELEASE) {
        b->retry_at = now_ms;
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

static bool rate_too_high(const struct breaker *b, uint64_t now_ms)
{
    uint64_t tenth = now_ms * BREAKER_SLOTS / b->cfg.window_ms;
    unsigned ok = 0, failed = 0;

    for (size_t i = 0; i < BREAKER_SLOTS; i++) {
        if (b->slots[i].tenth + BREAKER_SLOTS <= tenth)
            continue;
        ok += b->slots[i].ok;
        failed += b->slots[i].failed;
    }
    return ok + failed >= b->cfg.min_calls && failed >= b->cfg.failure_rate * (ok + failed);
}

breaker_pass breaker_ask(struct breaker *b, uint64_t now_ms)
{
    if (b->state == BREAKER_HALF_OPEN)
        return 0; /* the probe is out */
    if (b->state == BREAKER_OPEN) {
        if (now_ms < b->retry_at)
            return 0;
        step(b, COOLED, now_ms);
    }
    return b->epoch;
}

breaker_pass breaker_ask_last_resort(struct breaker *b, uint64_t now_ms)
{
    if (b->state == BREAKER_OPEN && now_ms < b->retry_at) {
        if (b->last_resort_at != 0 && now_ms < b->last_resort_at + LAST_RESORT_MS)
            return 0;
        b->last_resort_at = now_ms;
        b->retry_at = now_ms;
    }
    return breaker_ask(b, now_ms);
}

breaker_pass breaker_output(struct breaker *b, breaker_pass p, uint64_t now_ms)
{
    if (p != b->epoch || b->state != BREAKER_HALF_OPEN)
        return p;
    step(b, OK, now_ms);
    return b->epoch;
}

void breaker_ok(struct breaker *b, breaker_pass p, uint64_t now_ms)
{
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
    if (p == b->epoch)
        step(b, DROP, now_ms);
}

uint64_t breaker_wait_ms(const struct breaker *b, uint64_t now_ms)
{
    if (b->state == BREAKER_HALF_OPEN)
        return PROBE_MS;
    return b->state == BREAKER_OPEN && b->retry_at > now_ms ? b->retry_at - now_ms : 0;
}

const char *breaker_state_name(enum breaker_state s)
{
    static const char *const names[] = {"closed", "open", "half_open"};

    return names[s];
}
