#include "proxy/ops/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/ops/process.h"

typedef _Atomic uint64_t counter;

static void add(counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static uint64_t get(const counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* Histograms --------------------------------------------------------------------------------- */

#define MAX_BOUNDS 18

/* Upper bounds in microseconds, as people look at language models: most of an answer's first words
 * come within a second or two, a whole answer may take minutes, and what we add ourselves must
 * stay below a millisecond. */
struct bounds {
    size_t n;
    uint64_t us[MAX_BOUNDS];
};

static const struct bounds duration_bounds = {
    16,
    {50000, 100000, 250000, 500000, 1000000, 2000000, 3000000, 5000000, 8000000, 12000000, 20000000,
     30000000, 60000000, 120000000, 300000000, 600000000}};
static const struct bounds ttft_bounds = {18,
                                          {10000, 25000, 50000, 100000, 250000, 500000, 750000,
                                           1000000, 1500000, 2000000, 3000000, 5000000, 8000000,
                                           12000000, 20000000, 30000000, 60000000, 120000000}};
static const struct bounds overhead_bounds = {
    13, {10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000}};

struct histogram {
    counter buckets[MAX_BOUNDS + 1]; /* not cumulative; the one behind the bounds is +Inf */
    counter sum_us;
};

static void observe(struct histogram *h, const struct bounds *b, uint64_t us)
{
    size_t i = 0;

    while (i < b->n && us > b->us[i])
        i++;
    add(&h->buckets[i], 1);
    add(&h->sum_us, us);
}

/* The registry ------------------------------------------------------------------------------- */

/* Moves from one target to another: of the many pairs few ever happen, so they share a table that
 * is filled as they come. A key never changes once it is there. */
#define MOVES      4096 /* a power of two */
#define MOVE_TRIES 64   /* slots looked at before a move counts as "other" */

struct move {
    counter key; /* 0: free; else see move_key() */
    counter n;
};

struct target {
    char *labels;   /* provider="openai",model="gpt-4o" */
    char *name;     /* openai/gpt-4o, or openai: as the configuration has it */
    size_t same_as; /* the first target with these labels, maybe this one */
    counter outcomes[FAILURE_KINDS];
    counter input, output, cached, reasoning; /* tokens */
    struct histogram attempt, ttft;
};

struct route {
    char *labels; /* route="gpt-4o" */
    size_t same_as;
    struct histogram duration;
};

struct metrics {
    /* Each array has one more than was configured: "none". */
    struct route *routes;
    struct target *targets;
    char **dialects;                        /* dialect="openai_chat" */
    size_t n_routes, n_targets, n_dialects; /* without "none" */
    counter *requests;                      /* [route][dialect][outcome] */
    struct histogram overhead;
    counter midstream[MIDSTREAM_RESULTS];
    counter hedges[HEDGE_RESULTS];
    counter replays[REPLAYED_WAYS];
    struct move moves[MOVES];
    counter moves_other[FAILURE_KINDS]; /* when the table was too full */
    uint64_t start_wall_ms;
};

/* Appends a label's value as it stands between quotes. What is not printable UTF-8 would spoil the
 * page; log_add_text() has made \xNN of it, whose backslash must be doubled here, as it has already
 * doubled those of the value itself. */
static void add_value(struct strbuf *out, const char *value)
{
    struct strbuf clean = strbuf_heap(SIZE_MAX / 8);

    log_add_text(&clean, span_of(value));
    for (size_t i = 0; i < clean.len; i++) {
        if (clean.buf[i] == '\\' || clean.buf[i] == '"')
            strbuf_add_char(out, '\\');
        if (clean.buf[i] == '\\' && clean.buf[i + 1] == '\\')
            i++;
        strbuf_add_char(out, clean.buf[i]);
    }
    strbuf_release(&clean);
}

/* The text of a heap buffer, which is the caller's then. Adding nothing gives it memory. */
static char *text_of(struct strbuf *s)
{
    strbuf_add(s, "");
    return s->buf;
}

static char *label(const char *name, const char *value)
{
    struct strbuf out = strbuf_heap(SIZE_MAX / 8);

    strbuf_addf(&out, "%s=\"", name);
    add_value(&out, value);
    strbuf_add_char(&out, '"');
    return text_of(&out);
}

static void init_target(struct metrics *m, size_t i, const char *provider, const char *model)
{
    struct target *t = &m->targets[i];
    struct strbuf labels = strbuf_heap(SIZE_MAX / 8), name = strbuf_heap(SIZE_MAX / 8);

    strbuf_add(&labels, "provider=\"");
    add_value(&labels, provider);
    strbuf_add(&labels, "\",model=\"");
    add_value(&labels, model != NULL ? model : "*");
    strbuf_add_char(&labels, '"');
    t->labels = text_of(&labels);
    add_value(&name, provider);
    if (model != NULL) {
        strbuf_add_char(&name, '/');
        add_value(&name, model);
    }
    t->name = text_of(&name);
    while (strcmp(m->targets[t->same_as].labels, t->labels) != 0)
        t->same_as++;
}

static void init_route(struct metrics *m, size_t i, const char *name)
{
    struct route *r = &m->routes[i];

    r->labels = label("route", name);
    while (strcmp(m->routes[r->same_as].labels, r->labels) != 0)
        r->same_as++;
}

struct metrics *metrics_new(const struct metrics_labels *labels)
{
    struct metrics *m = mem_zalloc(sizeof(*m));

    m->n_routes = labels->n_routes;
    m->n_targets = labels->n_targets;
    m->n_dialects = labels->n_dialects;
    m->start_wall_ms = labels->start_wall_ms;
    m->routes = mem_zalloc((m->n_routes + 1) * sizeof(*m->routes));
    m->targets = mem_zalloc((m->n_targets + 1) * sizeof(*m->targets));
    m->dialects = mem_zalloc((m->n_dialects + 1) * sizeof(*m->dialects));
    m->requests =
        mem_zalloc((m->n_routes + 1) * (m->n_dialects + 1) * FAILURE_KINDS * sizeof(*m->requests));
    for (size_t i = 0; i <= m->n_routes; i++)
        init_route(m, i, i < m->n_routes ? labels->routes[i] : "none");
    for (size_t i = 0; i <= m->n_dialects; i++)
        m->dialects[i] = label("dialect", i < m->n_dialects ? labels->dialects[i] : "none");
    for (size_t i = 0; i < m->n_targets; i++)
        init_target(m, i, labels->targets[i].provider, labels->targets[i].model);
    init_target(m, m->n_targets, "none", "none");
    return m;
}

void metrics_free(struct metrics *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i <= m->n_routes; i++)
        free(m->routes[i].labels);
    for (size_t i = 0; i <= m->n_dialects; i++)
        free(m->dialects[i]);
    for (size_t i = 0; i <= m->n_targets; i++) {
        free(m->targets[i].labels);
        free(m->targets[i].name);
    }
    free(m->routes);
    free(m->dialects);
    free(m->targets);
    free(m->requests);
    free(m);
}

/* Recording ---------------------------------------------------------------------------------- */

static size_t route_of(const struct metrics *m, size_t i)
{
    return m->routes[i < m->n_routes ? i : m->n_routes].same_as;
}

static size_t target_of(const struct metrics *m, size_t i)
{
    return m->targets[i < m->n_targets ? i : m->n_targets].same_as;
}

static counter *requests_of(const struct metrics *m, size_t route, size_t dialect)
{
    return &m->requests[(route * (m->n_dialects + 1) + dialect) * FAILURE_KINDS];
}

void metrics_request(struct metrics *m, size_t route, size_t dialect, enum failure outcome,
                     uint64_t duration_us)
{
    size_t r = route_of(m, route), d = dialect < m->n_dialects ? dialect : m->n_dialects;

    assert(outcome < FAILURE_KINDS);
    add(&requests_of(m, r, d)[outcome], 1);
    observe(&m->routes[r].duration, &duration_bounds, duration_us);
}

void metrics_totals(const struct metrics *m, uint64_t *requests, uint64_t *ok)
{
    *requests = *ok = 0;
    for (size_t r = 0; r <= m->n_routes; r++) {
        for (size_t d = 0; d <= m->n_dialects; d++) {
            for (unsigned o = 0; o < FAILURE_KINDS; o++) {
                uint64_t n = get(&requests_of(m, r, d)[o]);

                *requests += n;
                *ok += o == FAILURE_NONE ? n : 0;
            }
        }
    }
}

void metrics_first_token(struct metrics *m, size_t target, uint64_t us)
{
    observe(&m->targets[target_of(m, target)].ttft, &ttft_bounds, us);
}

void metrics_overhead(struct metrics *m, uint64_t us)
{
    observe(&m->overhead, &overhead_bounds, us);
}

void metrics_attempt(struct metrics *m, size_t target, enum failure outcome, uint64_t us)
{
    struct target *t = &m->targets[target_of(m, target)];

    assert(outcome < FAILURE_KINDS);
    add(&t->outcomes[outcome], 1);
    observe(&t->attempt, &duration_bounds, us);
}

/* Never 0, because that is a free slot. */
static uint64_t move_key(size_t from, size_t to, enum failure reason)
{
    return (uint64_t)from << 40 | (uint64_t)to << 16 | ((uint64_t)reason + 1);
}

static void count_move(struct metrics *m, size_t from, size_t to, enum failure reason, uint64_t n)
{
    uint64_t key = move_key(target_of(m, from), target_of(m, to), reason);
    size_t at = (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & (MOVES - 1);

    assert(reason < FAILURE_KINDS);
    for (unsigned tries = 0; tries < MOVE_TRIES; tries++, at = (at + 1) & (MOVES - 1)) {
        struct move *v = &m->moves[at];
        uint64_t found = get(&v->key);

        /* On losing a race `found` becomes the winner's key, which may well be ours. */
        if (found == 0 && atomic_compare_exchange_strong_explicit(
                              &v->key, &found, key, memory_order_relaxed, memory_order_relaxed))
            found = key;
        if (found == key) {
            add(&v->n, n);
            return;
        }
    }
    add(&m->moves_other[reason], n);
}

void metrics_failover(struct metrics *m, size_t from, size_t to, enum failure reason)
{
    count_move(m, from, to, reason, 1);
}

void metrics_hedge(struct metrics *m, enum metrics_hedge result)
{
    assert(result < HEDGE_RESULTS);
    add(&m->hedges[result], 1);
}

void metrics_replay(struct metrics *m, enum metrics_replay how)
{
    assert(how < REPLAYED_WAYS);
    add(&m->replays[how], 1);
}

const char *metrics_replay_label(enum metrics_replay how)
{
    static const char *const labels[REPLAYED_WAYS] = {"key", "stream"};

    return labels[how];
}

void metrics_midstream(struct metrics *m, enum metrics_midstream result)
{
    assert(result < MIDSTREAM_RESULTS);
    add(&m->midstream[result], 1);
}

void metrics_tokens(struct metrics *m, size_t target, const struct chat_usage *usage)
{
    struct target *t = &m->targets[target_of(m, target)];

    if (!usage->seen)
        return;
    add(&t->input, usage->input);
    add(&t->output, usage->output);
    add(&t->cached, usage->cached);
    add(&t->reasoning, usage->reasoning);
}

/* Taking over ------------------------------------------------------------------------------- */

static void move(counter *to, counter *from)
{
    add(to, atomic_exchange_explicit(from, 0, memory_order_relaxed));
}

static void move_all(counter *to, counter *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        move(&to[i], &from[i]);
}

static void move_histogram(struct histogram *to, struct histogram *from)
{
    move_all(to->buckets, from->buckets, ARRAY_LEN(to->buckets));
    move(&to->sum_us, &from->sum_us);
}

/* The target of `m` with these labels, or n_targets + 1. */
static size_t find_target(const struct metrics *m, const char *labels)
{
    size_t i = 0;

    while (i <= m->n_targets && strcmp(m->targets[i].labels, labels) != 0)
        i++;
    return i;
}

static void absorb_target(struct metrics *m, struct target *from)
{
    size_t i = find_target(m, from->labels);
    struct target *to = &m->targets[i];

    if (i > m->n_targets)
        return;
    move_all(to->outcomes, from->outcomes, FAILURE_KINDS);
    move(&to->input, &from->input);
    move(&to->output, &from->output);
    move(&to->cached, &from->cached);
    move(&to->reasoning, &from->reasoning);
    move_histogram(&to->attempt, &from->attempt);
    move_histogram(&to->ttft, &from->ttft);
}

static void absorb_route(struct metrics *m, struct metrics *from, size_t r)
{
    size_t i = 0;

    while (i <= m->n_routes && strcmp(m->routes[i].labels, from->routes[r].labels) != 0)
        i++;
    if (i > m->n_routes)
        return;
    move_histogram(&m->routes[i].duration, &from->routes[r].duration);
    for (size_t d = 0; d <= m->n_dialects; d++)
        move_all(requests_of(m, i, d), requests_of(from, r, d), FAILURE_KINDS);
}

static void absorb_moves(struct metrics *m, struct metrics *from)
{
    for (size_t i = 0; i < MOVES; i++) {
        uint64_t key = get(&from->moves[i].key);
        uint64_t n = atomic_exchange_explicit(&from->moves[i].n, 0, memory_order_relaxed);
        size_t a, b;

        if (n == 0)
            continue;
        a = find_target(m, from->targets[key >> 40].labels);
        b = find_target(m, from->targets[key >> 16 & 0xffffff].labels);
        if (a <= m->n_targets && b <= m->n_targets)
            count_move(m, a, b, (enum failure)((key & 0xffff) - 1), n);
    }
    move_all(m->moves_other, from->moves_other, FAILURE_KINDS);
}

void metrics_absorb(struct metrics *m, struct metrics *from)
{
    assert(m->n_dialects == from->n_dialects);
    for (size_t i = 0; i <= from->n_targets; i++)
        if (from->targets[i].same_as == i)
            absorb_target(m, &from->targets[i]);
    for (size_t r = 0; r <= from->n_routes; r++)
        if (from->routes[r].same_as == r)
            absorb_route(m, from, r);
    absorb_moves(m, from);
    move_histogram(&m->overhead, &from->overhead);
    move_all(m->midstream, from->midstream, MIDSTREAM_RESULTS);
    move_all(m->hedges, from->hedges, HEDGE_RESULTS);
    move_all(m->replays, from->replays, REPLAYED_WAYS);
}

/* Writing ------------------------------------------------------------------------------------ */

static void head(struct strbuf *out, const char *name, const char *type, const char *help)
{
    strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Microseconds as seconds, without zeros at the end. */
static void add_seconds(struct strbuf *out, uint64_t us)
{
    uint64_t rest = us % 1000000;

    strbuf_add_u64(out, us / 1000000);
    if (rest == 0)
        return;
    strbuf_add_char(out, '.');
    for (uint64_t digit = 100000; rest != 0; rest %= digit, digit /= 10)
        strbuf_add_char(out, (char)('0' + rest / digit));
}

static void line(struct strbuf *out, const char *name, const char *labels, uint64_t value)
{
    strbuf_add(out, name);
    if (labels[0] != '\0')
        strbuf_addf(out, "{%s}", labels);
    strbuf_add_char(out, ' ');
    strbuf_add_u64(out, value);
    strbuf_add_char(out, '\n');
}

static uint64_t count_of(const struct histogram *h)
{
    uint64_t n = 0;

    for (size_t i = 0; i <= MAX_BOUNDS; i++)
        n += get(&h->buckets[i]);
    return n;
}

/* `labels` may be "". */
static void histogram(struct strbuf *out, const char *name, const char *labels,
                      const struct histogram *h, const struct bounds *b)
{
    const char *open = labels[0] != '\0' ? "{" : "", *close = labels[0] != '\0' ? "}" : "";
    const char *comma = labels[0] != '\0' ? "," : "";
    uint64_t total = 0;

    for (size_t i = 0; i <= b->n; i++) {
        /* The count is the sum of what was read here, not a counter of its own: it must equal the
         * last bucket also while others record. */
        total += get(&h->buckets[i]);
        strbuf_addf(out, "%s_bucket{%s%sle=\"", name, labels, comma);
        if (i < b->n)
            add_seconds(out, b->us[i]);
        else
            strbuf_add(out, "+Inf");
        strbuf_add(out, "\"} ");
        strbuf_add_u64(out, total);
        strbuf_add_char(out, '\n');
    }
    strbuf_addf(out, "%s_sum%s%s%s ", name, open, labels, close);
    add_seconds(out, get(&h->sum_us));
    strbuf_addf(out, "\n%s_count%s%s%s ", name, open, labels, close);
    strbuf_add_u64(out, total);
    strbuf_add_char(out, '\n');
}

/* Outcomes are many and most never happen: those are left out. "ok" is always there for what is
 * configured, so that a rate is seen from the first request on. */
static void outcomes(struct strbuf *out, const char *name, const char *labels,
                     const counter *counts, bool configured)
{
    for (int f = 0; f < FAILURE_KINDS; f++) {
        uint64_t n = get(&counts[f]);

        if (n == 0 && !(configured && f == FAILURE_NONE))
            continue;
        strbuf_addf(out, "%s{%s,outcome=\"%s\"} ", name, labels, failure_row(f)->label);
        strbuf_add_u64(out, n);
        strbuf_add_char(out, '\n');
    }
}

static void write_requests(const struct metrics *m, struct strbuf *out)
{
    head(out, "holdfast_requests_total", "counter",
         "Client requests that ended, by route, client dialect and outcome.");
    for (size_t r = 0; r <= m->n_routes; r++)
        for (size_t d = 0; d <= m->n_dialects && m->routes[r].same_as == r; d++) {
            struct strbuf labels = strbuf_heap(SIZE_MAX / 8);

            strbuf_addf(&labels, "%s,%s", m->routes[r].labels, m->dialects[d]);
            outcomes(out, "holdfast_requests_total", labels.buf, requests_of(m, r, d),
                     r < m->n_routes && d < m->n_dialects);
            strbuf_release(&labels);
        }
    head(out, "holdfast_request_duration_seconds", "histogram",
         "Time from the first byte of a request to the last of its answer.");
    for (size_t r = 0; r <= m->n_routes; r++)
        if (m->routes[r].same_as == r && (r < m->n_routes || count_of(&m->routes[r].duration) > 0))
            histogram(out, "holdfast_request_duration_seconds", m->routes[r].labels,
                      &m->routes[r].duration, &duration_bounds);
    head(out, "holdfast_overhead_seconds", "histogram",
         "Time that this proxy itself added to a request.");
    histogram(out, "holdfast_overhead_seconds", "", &m->overhead, &overhead_bounds);
}

/* The histograms of targets that were never used are left out. */
static void write_targets(const struct metrics *m, struct strbuf *out)
{
    head(out, "holdfast_attempts_total", "counter",
         "Attempts that ended, by provider, model and outcome.");
    for (size_t i = 0; i <= m->n_targets; i++)
        if (m->targets[i].same_as == i)
            outcomes(out, "holdfast_attempts_total", m->targets[i].labels, m->targets[i].outcomes,
                     i < m->n_targets);
    head(out, "holdfast_attempt_duration_seconds", "histogram",
         "Time from the start of an attempt to its end.");
    for (size_t i = 0; i <= m->n_targets; i++)
        if (count_of(&m->targets[i].attempt) > 0)
            histogram(out, "holdfast_attempt_duration_seconds", m->targets[i].labels,
                      &m->targets[i].attempt, &duration_bounds);
    head(out, "holdfast_time_to_first_token_seconds", "histogram",
         "Time from the first byte of a request to the first output sent, by who gave it.");
    for (size_t i = 0; i <= m->n_targets; i++)
        if (count_of(&m->targets[i].ttft) > 0)
            histogram(out, "holdfast_time_to_first_token_seconds", m->targets[i].labels,
                      &m->targets[i].ttft, &ttft_bounds);
}

static void write_tokens(const struct metrics *m, struct strbuf *out)
{
    head(out, "holdfast_tokens_total", "counter",
         "Tokens as providers count them; cached is part of input, reasoning of output.");
    for (size_t i = 0; i <= m->n_targets; i++) {
        const struct target *t = &m->targets[i];
        const struct {
            const char *kind;
            uint64_t n;
        } kinds[] = {{"input", get(&t->input)},
                     {"output", get(&t->output)},
                     {"cached", get(&t->cached)},
                     {"reasoning", get(&t->reasoning)}};

        for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
            if (t->same_as == i && (i < m->n_targets || kinds[k].n > 0))
                strbuf_addf(out, "holdfast_tokens_total{%s,kind=\"%s\"} %" PRIu64 "\n", t->labels,
                            kinds[k].kind, kinds[k].n);
    }
}

static void write_moves(const struct metrics *m, struct strbuf *out)
{
    static const char *const results[] = {"continued", "aligned", "error"};
    static const char *const hedges[HEDGE_RESULTS] = {"won", "lost", "failed"};

    head(out, "holdfast_failovers_total", "counter",
         "Moves of a request from one target to the next, by the failure that caused them.");
    for (size_t i = 0; i < MOVES; i++) {
        uint64_t key = get(&m->moves[i].key), n = get(&m->moves[i].n);

        if (n > 0)
            strbuf_addf(
                out, "holdfast_failovers_total{from=\"%s\",to=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
                m->targets[key >> 40].name, m->targets[key >> 16 & 0xffffff].name,
                failure_row((enum failure)((key & 0xffff) - 1))->label, n);
    }
    for (int f = 0; f < FAILURE_KINDS; f++)
        if (get(&m->moves_other[f]) > 0)
            strbuf_addf(out,
                        "holdfast_failovers_total{from=\"other\",to=\"other\",reason=\"%s\"} "
                        "%" PRIu64 "\n",
                        failure_row(f)->label, get(&m->moves_other[f]));
    head(out, "holdfast_midstream_total", "counter",
         "Answers whose provider failed after output had been sent, by what became of them.");
    for (size_t i = 0; i < MIDSTREAM_RESULTS; i++)
        strbuf_addf(out, "holdfast_midstream_total{result=\"%s\"} %" PRIu64 "\n", results[i],
                    get(&m->midstream[i]));
    head(out, "holdfast_hedges_total", "counter",
         "Second attempts started beside a slow first one, by what became of them.");
    for (size_t i = 0; i < HEDGE_RESULTS; i++)
        strbuf_addf(out, "holdfast_hedges_total{result=\"%s\"} %" PRIu64 "\n", hedges[i],
                    get(&m->hedges[i]));
    head(out, "holdfast_replays_total", "counter",
         "Answers given once more, or taken up again, by how they were found.");
    for (size_t i = 0; i < REPLAYED_WAYS; i++)
        strbuf_addf(out, "holdfast_replays_total{by=\"%s\"} %" PRIu64 "\n", metrics_replay_label(i),
                    get(&m->replays[i]));
}

static void write_gauges(const struct metrics *m, const struct metrics_now *now, struct strbuf *out)
{
    static const char *const scopes[METRICS_SCOPES] = {"model", "endpoint", "path"};
    struct metrics_target_now *state = mem_zalloc(m->n_targets * sizeof(*state));

    for (size_t i = 0; i < m->n_targets; i++)
        now->target(now->ctx, i, &state[i]);
    head(out, "holdfast_breaker_state", "gauge",
         "Whether a target may be tried, as far as its model, its endpoint (host and port) and the "
         "path there (an outgoing proxy) go: 0 closed (yes), 1 half open (some probes), 2 open "
         "(no).");
    for (size_t i = 0; i < m->n_targets; i++)
        for (size_t k = 0; k < METRICS_SCOPES && m->targets[i].same_as == i; k++)
            strbuf_addf(out, "holdfast_breaker_state{target=\"%s\",scope=\"%s\"} %d\n",
                        m->targets[i].name, scopes[k], (int)state[i].breaker[k]);
    head(out, "holdfast_target_available", "gauge",
         "Whether a target may be asked now: 0 while a breaker is open or all of its keys rest.");
    for (size_t i = 0; i < m->n_targets; i++)
        if (m->targets[i].same_as == i)
            strbuf_addf(out, "holdfast_target_available{target=\"%s\"} %d\n", m->targets[i].name,
                        state[i].may_be_asked);
    head(out, "holdfast_route_available_targets", "gauge",
         "Targets of a route that may be asked now; 0: it cannot be served.");
    for (size_t i = 0; i < m->n_routes; i++)
        if (m->routes[i].same_as == i)
            line(out, "holdfast_route_available_targets", m->routes[i].labels,
                 now->route(now->ctx, i));
    head(out, "holdfast_in_flight", "gauge", "Attempts under way.");
    for (size_t i = 0; i < m->n_targets; i++)
        if (m->targets[i].same_as == i)
            strbuf_addf(out, "holdfast_in_flight{target=\"%s\"} %" PRIu64 "\n", m->targets[i].name,
                        state[i].in_flight);
    head(out, "holdfast_concurrency_limit", "gauge",
         "Attempts at once that a target is given since it refused some; 0: no limit.");
    for (size_t i = 0; i < m->n_targets; i++)
        if (m->targets[i].same_as == i)
            strbuf_addf(out, "holdfast_concurrency_limit{target=\"%s\"} %" PRIu64 "\n",
                        m->targets[i].name, state[i].limit);
    head(out, "holdfast_retry_budget_tokens", "gauge", "Retries that a target may still be given.");
    for (size_t i = 0; i < m->n_targets; i++)
        if (m->targets[i].same_as == i)
            strbuf_addf(out, "holdfast_retry_budget_tokens{target=\"%s\"} %.3f\n",
                        m->targets[i].name, state[i].retry_tokens);
    head(out, "holdfast_kept_answers", "gauge", "Answers in memory for clients who come back.");
    line(out, "holdfast_kept_answers", "", now->kept_answers);
    head(out, "holdfast_kept_answer_bytes", "gauge", "What they take.");
    line(out, "holdfast_kept_answer_bytes", "", now->kept_bytes);
    head(out, "holdfast_config_last_reload_successful", "gauge",
         "0: the last change of the configuration was refused, the one before is in force.");
    line(out, "holdfast_config_last_reload_successful", "", !now->reload_failed);
    free(state);
}

static void write_process(const struct metrics *m, struct strbuf *out)
{
    struct process_now p = process_read();

    head(out, "holdfast_log_lines_dropped_total", "counter",
         "Log lines that could not be written in time.");
    line(out, "holdfast_log_lines_dropped_total", "", log_dropped());
    head(out, "holdfast_build_info", "gauge", "Always 1; the version is in the label.");
    line(out, "holdfast_build_info", "version=\"" HOLDFAST_VERSION "\"", 1);
    head(out, "process_cpu_seconds_total", "counter", "CPU time used, user and system.");
    strbuf_add(out, "process_cpu_seconds_total ");
    add_seconds(out, p.cpu_us);
    strbuf_add_char(out, '\n');
    head(out, "process_resident_memory_bytes", "gauge", "Memory in RAM.");
    line(out, "process_resident_memory_bytes", "", p.resident_bytes);
    head(out, "process_open_fds", "gauge", "File descriptors in use.");
    line(out, "process_open_fds", "", p.open_fds);
    head(out, "process_max_fds", "gauge", "File descriptors allowed.");
    line(out, "process_max_fds", "", p.max_fds);
    head(out, "process_start_time_seconds", "gauge", "When the process started, since 1970, UTC.");
    strbuf_add(out, "process_start_time_seconds ");
    add_seconds(out, m->start_wall_ms * 1000);
    strbuf_add_char(out, '\n');
}

void metrics_write(const struct metrics *m, const struct metrics_now *now, struct strbuf *out)
{
    write_requests(m, out);
    write_targets(m, out);
    write_tokens(m, out);
    write_moves(m, out);
    if (now != NULL)
        write_gauges(m, now, out);
    write_process(m, out);
}
