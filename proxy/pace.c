#include "proxy/pace.h"

#include <math.h>

#include "proxy/base/backoff.h"

#define FIRST_BUCKET_MS 5.0
#define BUCKET_WIDTH    1.2 /* each bucket ends a fifth later than the one before */
#define FADE_AT         1024
#define HISTORY         10 /* fewer times are no history */

#define HEDGE_LEAST_MS     1000 /* below that a second call buys nobody anything */
#define HEDGE_MOST_MS      30000
#define HEDGE_UNKNOWN_MS   8000
#define HEDGE_REASONING_MS 30000

#define SLOW_FACTOR 4  /* times the median */
#define SLOW_LOOK   10 /* outputs looked back on */
#define SLOW_MANY   8  /* of them slow: degraded */

#define BEHIND_MS      5000
#define BEHIND_MOST_MS 60000
#define TRIAL_MS       10000 /* how long a trial may be out before another one goes */

void pace_init(struct pace *p)
{
    *p = (struct pace){.streak = 0};
}

/* ---- times ---------------------------------------------------------------------------------- */

static unsigned bucket_of(uint64_t ms)
{
    double n =
        ms <= FIRST_BUCKET_MS ? 0 : ceil(log((double)ms / FIRST_BUCKET_MS) / log(BUCKET_WIDTH));

    return n >= PACE_BUCKETS ? PACE_BUCKETS - 1 : (unsigned)n;
}

static void add_time(struct pace_times *t, uint64_t ms)
{
    t->counts[bucket_of(ms)]++;
    if (++t->n < FADE_AT)
        return;
    t->n = 0;
    for (unsigned i = 0; i < PACE_BUCKETS; i++)
        t->n += t->counts[i] /= 2;
}

/* Of two kinds together, which may be the same one. */
static uint64_t quantile(const struct pace_times *a, const struct pace_times *b, double q)
{
    double want = a == b ? q * a->n : q * (a->n + b->n);
    unsigned seen = 0;

    for (unsigned i = 0; i < PACE_BUCKETS; i++) {
        seen += a->counts[i] + (a == b ? 0u : b->counts[i]);
        if (seen > 0 && seen >= want)
            return (uint64_t)(FIRST_BUCKET_MS * pow(BUCKET_WIDTH, i));
    }
    return 0;
}

uint64_t pace_quantile(const struct pace *p, enum pace_kind kind, double q)
{
    const struct pace_times *t = &p->times[kind];

    return t->n < HISTORY ? 0 : quantile(t, t, q);
}

uint64_t pace_typical(const struct pace *p, bool streams, double q)
{
    return streams ? quantile(&p->times[PACE_STREAM], &p->times[PACE_STREAM_REASONING], q)
                   : quantile(&p->times[PACE_WHOLE], &p->times[PACE_WHOLE_REASONING], q);
}

uint64_t pace_hedge_ms(const struct pace *p, enum pace_kind kind)
{
    uint64_t ms = 2 * pace_quantile(p, kind, 0.95);

    if (ms == 0)
        return kind == PACE_WHOLE_REASONING || kind == PACE_STREAM_REASONING ? HEDGE_REASONING_MS
                                                                             : HEDGE_UNKNOWN_MS;
    return ms < HEDGE_LEAST_MS ? HEDGE_LEAST_MS : ms > HEDGE_MOST_MS ? HEDGE_MOST_MS : ms;
}

/* ---- the soft memory ------------------------------------------------------------------------ */

enum pace_place pace_place(const struct pace *p, uint64_t now_ms)
{
    if (p->streak == 0)
        return PACE_FRONT;
    return now_ms >= p->until_ms ? PACE_TRIAL : PACE_BEHIND;
}

void pace_try(struct pace *p, uint64_t now_ms)
{
    p->until_ms = now_ms + TRIAL_MS;
    p->trial = true;
}

void pace_unsaid(struct pace *p, uint64_t now_ms)
{
    p->until_ms = now_ms;
    p->trial = false;
}

/* Results of requests that were out together say one thing, once. */
void pace_failed(struct pace *p, uint64_t now_ms)
{
    if (p->streak > 0 && now_ms < p->until_ms && !p->trial)
        return;
    p->until_ms = now_ms + backoff_ms(BEHIND_MS, p->streak++, BEHIND_MOST_MS);
    p->trial = false;
}

static bool mostly_slow(const struct pace *p)
{
    return p->judged == SLOW_LOOK &&
           __builtin_popcount(p->slow & ((1u << SLOW_LOOK) - 1)) >= SLOW_MANY;
}

void pace_output(struct pace *p, enum pace_kind kind, uint64_t ms, uint64_t now_ms)
{
    uint64_t usual = pace_quantile(p, kind, 0.5);
    bool slow = usual != 0 && ms > SLOW_FACTOR * usual;

    add_time(&p->times[kind], ms);
    p->slow = (uint16_t)(p->slow << 1 | slow);
    if (p->judged < SLOW_LOOK)
        p->judged++;
    if (slow && mostly_slow(p)) {
        pace_failed(p, now_ms);
        return;
    }
    p->streak = 0;
    p->trial = false;
}
