#include "proxy/ops/status_table.h"

#include <inttypes.h>

#include "proxy/base/arena.h"
#include "proxy/base/json.h"
#include "proxy/base/log.h"

#define MAX_TEXT   (SIZE_MAX / 8) /* the document itself has a cap */
#define MAX_NAME   44             /* columns of a route's pattern, which can be very long */
#define N_COLUMNS  9
#define WIDE_SPACE "  "

enum tone { PLAIN, GOOD, WARN, BAD, DIM };

/* A table under construction; its texts live in the arena. */
struct table {
    const struct status_style *style;
    struct arena *arena;
    struct strbuf *out;
};

/* ---- reading --------------------------------------------------------------------------------- */

/* The raw value of a member; empty where there is none. */
static struct span get(struct span object, const char *key)
{
    struct json j = json_read(object);
    struct span name;

    if (json_enter(&j, JSON_OBJECT)) {
        while (json_member(&j, &name)) {
            struct span value = json_take(&j);

            if (span_is(name, key))
                return value;
        }
    }
    return (struct span){0};
}

static uint64_t number(struct span object, const char *key)
{
    int64_t n = 0;

    return json_to_i64(get(object, key), &n) && n > 0 ? (uint64_t)n : 0;
}

static bool truth(struct span object, const char *key)
{
    bool yes = false;

    return json_to_bool(get(object, key), &yes) && yes;
}

/* The text of a member as it may be printed: control characters would be the terminal's. */
static const char *shown(const struct table *t, struct span raw)
{
    struct strbuf s = strbuf_in(t->arena, MAX_TEXT);

    log_add_text(&s, json_text(raw, t->arena));
    strbuf_add(&s, ""); /* so that there is memory */
    return s.buf;
}

static const char *text(const struct table *t, struct span object, const char *key)
{
    return shown(t, get(object, key));
}

/* ---- figures as people read them ------------------------------------------------------------- */

/* "80 ms", "1.3 s", "12 s", "5 min", "3 h", "2 d": never more digits than anybody needs. */
static const char *duration(const struct table *t, uint64_t ms)
{
    if (ms < 1000)
        return arena_printf(t->arena, "%" PRIu64 " ms", ms);
    if (ms < 10000)
        return arena_printf(t->arena, "%.1f s", (double)ms / 1000);
    if (ms < 120 * 1000)
        return arena_printf(t->arena, "%" PRIu64 " s", ms / 1000);
    if (ms < 120 * 60000)
        return arena_printf(t->arena, "%" PRIu64 " min", ms / 60000);
    if (ms < UINT64_C(48) * 3600000)
        return arena_printf(t->arena, "%" PRIu64 " h", ms / 3600000);
    return arena_printf(t->arena, "%" PRIu64 " d", ms / 86400000);
}

static const char *time_or_dash(const struct table *t, uint64_t ms)
{
    return ms > 0 ? duration(t, ms) : "-";
}

/* "950", "12.3k", "4.5M" */
static const char *count(const struct table *t, uint64_t n)
{
    static const struct {
        uint64_t from;
        const char *unit;
    } rows[] = {{1000000000, "G"}, {1000000, "M"}, {10000, "k"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double unit = rows[i].from == 10000 ? 1000 : (double)rows[i].from;

        if (n >= rows[i].from)
            return arena_printf(t->arena, "%.1f%s", (double)n / unit, rows[i].unit);
    }
    return arena_printf(t->arena, "%" PRIu64, n);
}

/* ---- writing --------------------------------------------------------------------------------- */

static size_t columns_of(const char *s)
{
    size_t n = 0;

    for (; *s != '\0'; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

/* The text, at most `columns` of it. */
static void add_cut(struct strbuf *out, const char *s, size_t columns)
{
    if (columns_of(s) <= columns) {
        strbuf_add(out, s);
        return;
    }
    for (size_t n = 0; *s != '\0'; s++) {
        if (((unsigned char)*s & 0xc0) != 0x80 && ++n >= columns)
            break;
        strbuf_add_char(out, *s);
    }
    strbuf_add(out, "…");
}

static void paint(const struct table *t, enum tone tone)
{
    static const char *const codes[] = {[PLAIN] = "\033[0m",
                                        [GOOD] = "\033[32m",
                                        [WARN] = "\033[33m",
                                        [BAD] = "\033[1;31m",
                                        [DIM] = "\033[2m"};

    if (t->style->colour)
        strbuf_add(t->out, codes[tone]);
}

/* A line of its own, cut to the terminal. */
static void line(const struct table *t, enum tone tone, const char *indent, const char *s)
{
    size_t width = t->style->width, used = columns_of(indent);

    strbuf_add(t->out, indent);
    paint(t, tone);
    add_cut(t->out, s, width > used + 1 ? width - used : SIZE_MAX);
    paint(t, PLAIN);
    strbuf_add_char(t->out, '\n');
}

static const char *cut(const struct table *t, const char *s, size_t columns)
{
    struct strbuf out = strbuf_in(t->arena, MAX_TEXT);

    add_cut(&out, s, columns);
    strbuf_add(&out, "");
    return out.buf;
}

/* The head ------------------------------------------------------------------------------------- */

static void write_head(const struct table *t, struct span doc)
{
    uint64_t requests = number(doc, "requests"), ok = number(doc, "requests_ok");
    struct json listeners = json_read(get(doc, "listeners"));
    struct strbuf s = strbuf_in(t->arena, MAX_TEXT);

    strbuf_addf(&s, "holdfast %s, up %s, %s", text(t, doc, "version"),
                duration(t, number(doc, "uptime_ms")), text(t, doc, "config"));
    if (json_enter(&listeners, JSON_ARRAY))
        while (json_item(&listeners))
            strbuf_addf(&s, ", %s", shown(t, json_take(&listeners)));
    line(t, PLAIN, "", s.buf);
    if (requests == 0)
        line(t, PLAIN, "", "no request yet");
    else
        line(t, PLAIN, "",
             arena_printf(t->arena, "%s requests, %s of them answered (%.1f %%); %s under way",
                          count(t, requests), count(t, ok), (double)(ok * 1000 / requests) / 10,
                          count(t, number(doc, "in_flight"))));
    if (truth(doc, "draining"))
        line(t, WARN, "", "STOPPING: what is under way may end, nothing new is taken");
    if (number(doc, "log_lines_dropped") > 0)
        line(t, WARN, "",
             arena_printf(t->arena, "%s lines of the log could not be written",
                          count(t, number(doc, "log_lines_dropped"))));
}

/* Routes: only those that are not well are named. */

static bool write_routes(const struct table *t, struct span doc)
{
    struct json routes = json_read(get(doc, "routes"));
    size_t n = 0, out = 0;

    if (!json_enter(&routes, JSON_ARRAY))
        return true;
    for (; json_item(&routes); n++) {
        struct span route = json_take(&routes);
        struct json targets = json_read(get(route, "targets"));
        uint64_t open = number(route, "may_be_asked"), all = 0;
        const char *name = cut(t, text(t, route, "route"), MAX_NAME);

        if (json_enter(&targets, JSON_ARRAY))
            for (; json_item(&targets); all++)
                json_take(&targets);
        if (open == 0) {
            line(t, BAD, "",
                 all == 1
                     ? arena_printf(t->arena, "route %s CANNOT BE SERVED: its only target is out",
                                    name)
                     : arena_printf(t->arena,
                                    "route %s CANNOT BE SERVED: all %" PRIu64 " targets are out",
                                    name, all));
            out++;
        } else if (open < all) {
            line(t, WARN, "",
                 arena_printf(t->arena, "route %s: %" PRIu64 " of %" PRIu64 " targets are out",
                              name, all - open, all));
        }
    }
    if (out == 0)
        line(t, GOOD, "",
             n == 1 ? "the one route can be served"
                    : arena_printf(t->arena, "all %zu routes can be served", n));
    return out == 0;
}

/* Targets -------------------------------------------------------------------------------------- */

struct cells {
    const char *v[N_COLUMNS];
    enum tone tone; /* of the state */
    struct span target;
};

static const char *state_of(const struct table *t, struct span target, enum tone *tone)
{
    uint64_t wait = number(target, "retry_ms");
    struct span breaker = get(target, "breaker");

    *tone = BAD;
    if (json_is_string(breaker, "open"))
        return wait > 0 ? arena_printf(t->arena, "DOWN, again in %s", duration(t, wait))
                        : "DOWN, next one tries";
    if (!truth(target, "may_be_asked"))
        return arena_printf(t->arena, "RESTS for %s", duration(t, wait));
    *tone = WARN;
    if (json_is_string(breaker, "half_open"))
        return "trying again";
    if (truth(target, "slow"))
        return "slow, asked last";
    *tone = GOOD;
    return "ok";
}

/* Of streams, or where there were none, of whole answers: it says so. */
static const char *pace_of(const struct table *t, struct span target, const char *stream,
                           const char *whole)
{
    if (number(target, "first_token_p95_ms") > 0)
        return time_or_dash(t, number(target, stream));
    return number(target, whole) == 0
               ? "-"
               : arena_printf(t->arena, "(%s)", duration(t, number(target, whole)));
}

static struct cells cells_of(const struct table *t, struct span target)
{
    uint64_t limit = number(target, "limit"), busy = number(target, "in_flight");
    struct cells c = {.target = target};

    c.v[0] = text(t, target, "target");
    c.v[1] = state_of(t, target, &c.tone);
    c.v[2] = limit > 0 ? arena_printf(t->arena, "%" PRIu64 "/%" PRIu64, busy, limit)
                       : arena_printf(t->arena, "%" PRIu64, busy);
    c.v[3] = pace_of(t, target, "first_token_p50_ms", "answer_p50_ms");
    c.v[4] = pace_of(t, target, "first_token_p95_ms", "answer_p95_ms");
    c.v[5] = count(t, number(target, "attempts"));
    c.v[6] = count(t, number(target, "failures"));
    c.v[7] = count(t, number(target, "input_tokens"));
    c.v[8] = count(t, number(target, "output_tokens"));
    return c;
}

static void write_cells(const struct table *t, const struct cells *c, const size_t *widths)
{
    for (size_t i = 0; i < N_COLUMNS; i++) {
        size_t pad = widths[i] - columns_of(c->v[i]);
        bool left = i < 2;

        strbuf_add(t->out, i == 0 ? "" : WIDE_SPACE);
        for (size_t k = 0; k < pad && !left; k++)
            strbuf_add_char(t->out, ' ');
        paint(t, i == 1 ? c->tone : PLAIN);
        strbuf_add(t->out, c->v[i]);
        paint(t, PLAIN);
        for (size_t k = 0; k < pad && left; k++)
            strbuf_add_char(t->out, ' ');
    }
    strbuf_add_char(t->out, '\n');
}

static void write_details(const struct table *t, struct span target)
{
    uint64_t row = number(target, "failures_in_a_row");

    if (get(target, "scope").n > 0)
        line(t, PLAIN, "    ",
             row > 0 ? arena_printf(t->arena, "its %s: %s, %" PRIu64 " failures in a row",
                                    text(t, target, "scope"), text(t, target, "why"), row)
                     : arena_printf(t->arena, "its %s: %s", text(t, target, "scope"),
                                    text(t, target, "why")));
    else if (get(target, "why").n > 0)
        line(t, PLAIN, "    ",
             arena_printf(t->arena, "all its keys rest: %s", text(t, target, "why")));
    if (get(target, "last_error").n > 0)
        line(t, DIM, "    ",
             arena_printf(t->arena, "%s ago: %s", duration(t, number(target, "last_error_age_ms")),
                          text(t, target, "last_error")));
}

static void write_targets(const struct table *t, struct span doc)
{
    static const struct cells titles = {
        .v = {"TARGET", "STATE", "BUSY", "P50", "P95", "CALLS", "FAILED", "TOKENS IN", "OUT"}};
    struct json targets = json_read(get(doc, "targets"));
    size_t n = 0, widths[N_COLUMNS];
    struct cells *rows;

    if (json_enter(&targets, JSON_ARRAY))
        for (; json_item(&targets); n++)
            json_take(&targets);
    rows = arena_alloc(t->arena, (n + 1) * sizeof(*rows));
    rows[0] = titles;
    targets = json_read(get(doc, "targets"));
    if (json_enter(&targets, JSON_ARRAY))
        for (size_t i = 1; json_item(&targets); i++)
            rows[i] = cells_of(t, json_take(&targets));
    for (size_t c = 0; c < N_COLUMNS; c++) {
        widths[c] = 0;
        for (size_t i = 0; i <= n; i++)
            widths[c] = columns_of(rows[i].v[c]) > widths[c] ? columns_of(rows[i].v[c]) : widths[c];
    }
    strbuf_add_char(t->out, '\n');
    for (size_t i = 0; i <= n; i++) {
        write_cells(t, &rows[i], widths);
        if (i > 0)
            write_details(t, rows[i].target);
    }
    strbuf_add_char(t->out, '\n');
    line(t, DIM, "",
         "BUSY: calls under way, of how many at once. P50, P95: time to the first token of");
    line(t, DIM, "", "streams; in brackets of whole answers. Below a target: the last error.");
}

/* Keys ----------------------------------------------------------------------------------------- */

static void write_keys(const struct table *t, struct span doc)
{
    struct json keys = json_read(get(doc, "resting_keys"));

    if (!json_enter(&keys, JSON_ARRAY))
        return;
    while (json_item(&keys)) {
        struct span key = json_take(&keys);
        const char *model = text(t, key, "model");

        line(t, WARN, "",
             arena_printf(t->arena, "key %" PRIu64 " of %s%s%s rests for %s: %s",
                          number(key, "key") + 1, text(t, key, "provider"),
                          model[0] != '\0' ? " for " : "", model,
                          duration(t, number(key, "rest_ms")), text(t, key, "why")));
    }
}

int status_table(struct span document, const struct status_style *style, struct strbuf *out,
                 bool *served, struct err *e)
{
    struct arena arena;
    struct table t = {style, &arena, out};

    if (!json_valid(document) || get(document, "targets").n == 0)
        return err_set(e, ERR_VALUE, "that is not the status of a holdfast");
    arena_init(&arena);
    write_head(&t, document);
    *served = write_routes(&t, document);
    write_keys(&t, document);
    write_targets(&t, document);
    arena_release(&arena);
    return 0;
}
