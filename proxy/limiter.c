#include "proxy/limiter.h"

#include <assert.h>

#include "proxy/base/backoff.h"

#define WINDOW_MS     1000
#define INITIAL       20.0 /* for load from elsewhere, before anything is known */
#define LEAST         2.0  /* less would learn nothing */
#define MOST          100000.0
#define ENOUGH        3     /* losses that show something */
#define FORGET_MS     60000 /* without a loss: there is no limit any more */
#define LARGEST_CUT   0.3
#define PAUSE_MS      250 /* after more than ENOUGH refusals in a row, doubled with each */
#define PAUSE_MOST_MS 4000
#define HOLD_MS       5000  /* after a loss the limit does not grow */
#define FAST_MS       10000 /* without a loss: it grows as in slow start */
#define HOME_RESERVE  0.5

void limiter_init(struct limiter *l, double tolerance, bool reserve)
{
    *l = (struct limiter){
        .tolerance = tolerance, .reserve = reserve, .limit = INITIAL, .slow_start = true};
}

static double at_least(double v)
{
    return v < LEAST ? LEAST : v;
}

/* What of the limit is for requests from elsewhere. */
static double away_limit(const struct limiter *l)
{
    return l->capped && l->reserve ? at_least(l->limit * HOME_RESERVE) : l->limit;
}

static void note_peak(struct limiter *l)
{
    unsigned n = l->capped ? l->in_flight : l->away;

    if (n > l->peak)
        l->peak = n;
}

static void begin_window(struct limiter *l, uint64_t now_ms)
{
    l->window_ms = now_ms;
    l->ok = l->lost = l->peak = 0;
    note_peak(l);
}

static bool too_many_lost(const struct limiter *l)
{
    return l->lost > l->tolerance * (l->ok + l->lost);
}

/* A limit that was not used has not been tested, and stays. One that has just been found stays for
 * a while as well: each test of it costs a refused request, and as a rule a rest. The longer
 * nothing is lost, the faster it grows. */
static void grow(struct limiter *l, uint64_t now_ms)
{
    uint64_t since = l->lost_ms != 0 ? now_ms - l->lost_ms : UINT64_MAX;
    double more = l->slow_start || since >= FAST_MS ? l->limit / 2 : l->limit / 20;

    if (l->ok == 0 || l->peak * 2 < away_limit(l) || (!l->slow_start && since < HOLD_MS))
        return;
    l->limit += more < 1 ? 1 : more;
    if (l->limit > MOST)
        l->limit = MOST;
}

/* The second is over. */
static void judge(struct limiter *l, uint64_t now_ms)
{
    double share = (double)l->lost / (l->ok + l->lost);
    double cut = share / 2;

    if (!too_many_lost(l)) {
        grow(l, now_ms);
        return;
    }
    if (!l->capped && l->in_flight > l->limit)
        l->limit = l->in_flight; /* from where it really stands */
    l->limit = at_least(l->limit * (1 - (cut < LARGEST_CUT ? cut : LARGEST_CUT)));
    l->capped = true;
    l->slow_start = false;
}

static void turn(struct limiter *l, uint64_t now_ms)
{
    if (l->window_ms == 0)
        begin_window(l, now_ms);
    if (now_ms < l->window_ms + WINDOW_MS)
        return;
    if (l->ok + l->lost > 0)
        judge(l, now_ms);
    if (l->capped && now_ms > l->lost_ms + FORGET_MS) {
        l->capped = false;
        l->slow_start = true;
    }
    begin_window(l, now_ms);
}

void limiter_inherit(struct limiter *l, const struct limiter *from)
{
    double tolerance = l->tolerance;
    bool reserve = l->reserve;

    *l = *from;
    l->tolerance = tolerance;
    l->reserve = reserve;
    l->in_flight = l->away = 0;
}

bool limiter_take(struct limiter *l, bool away, uint64_t now_ms)
{
    turn(l, now_ms);
    if (now_ms < l->pause_ms || (l->capped && l->in_flight + 1 > l->limit))
        return false;
    if (away && l->away + 1 > away_limit(l))
        return false;
    l->in_flight++;
    l->away += away;
    note_peak(l);
    return true;
}

void limiter_give(struct limiter *l, bool away)
{
    assert(l->in_flight > 0 && l->away >= away);
    l->in_flight--;
    l->away -= away;
}

void limiter_ok(struct limiter *l, uint64_t now_ms)
{
    turn(l, now_ms);
    l->ok++;
    l->refused = 0;
    l->pause_ms = 0;
}

/* Where several are refused at once, those that are still under way are what it takes: the rest of
 * the second need not be spent on finding that out. */
void limiter_lost(struct limiter *l, uint64_t now_ms)
{
    double left;

    turn(l, now_ms);
    l->lost++;
    l->lost_ms = now_ms;
    left = at_least(l->in_flight);
    if (l->lost < ENOUGH || !too_many_lost(l) || (l->capped && left >= l->limit))
        return;
    l->limit = left;
    l->capped = true;
    l->slow_start = false;
    begin_window(l, now_ms);
}

/* Those that were on their way together say it once. */
void limiter_refused(struct limiter *l, uint64_t now_ms)
{
    if (now_ms < l->pause_ms || ++l->refused <= ENOUGH)
        return;
    l->pause_ms = now_ms + backoff_ms(PAUSE_MS, l->refused - ENOUGH - 1, PAUSE_MOST_MS);
}

void limiter_recover(struct limiter *l, uint64_t now_ms)
{
    l->limit = l->capped ? at_least(l->limit / 2) : INITIAL;
    l->capped = true;
    l->slow_start = true;
    l->lost_ms = now_ms; /* it is a limit for a minute, then there is none again */
    l->refused = 0;
    l->pause_ms = 0;
    begin_window(l, now_ms);
}

double limiter_use(const struct limiter *l)
{
    double all = l->capped ? l->in_flight / l->limit : 0, away = l->away / away_limit(l);

    return all > away ? all : away;
}

unsigned limiter_limit(const struct limiter *l)
{
    return l->capped ? (unsigned)l->limit : 0;
}
