#include "providers/anthropic_messages.h"

#include "providers/params.h"

#define LEAST_BUDGET 1024 /* the API takes no smaller one */
#define USUAL_BUDGET 8192

/* A body being made fit. */
struct fit {
    struct arena *arena;
    struct drops *drops;
    struct anthropic_model model; /* of the target, where we chose it */
    bool chosen;                  /* ... which is known */
    uint32_t without;
    uint64_t max_tokens; /* as it goes out; 0: none was sent */
    bool no_thinking;    /* the current turn's calls stand without what was thought before them */
    bool any_call;       /* ... and it has some */
    bool stripped;       /* at all */
};

static struct span path_in(struct fit *f, struct span path, const char *name, unsigned index)
{
    return span_of(arena_printf(f->arena, "%.*s%s[%u]", SPAN_ARG(path), name, index));
}

/* ---- blocks that only others can read ---- */

/* What a block of reasoning carries; false for other blocks and Claude's own. */
static bool is_foreign(struct fit *f, struct span block)
{
    struct span type = top_member(block, "type");
    struct anthropic_carried carried;

    if (json_is_string(type, "thinking"))
        return anthropic_carried(top_member(block, "signature"), f->arena, &carried);
    return json_is_string(type, "redacted_thinking") &&
           anthropic_carried(top_member(block, "data"), f->arena, &carried);
}

/* The content without such blocks; *left: how many of the others there are. */
static struct span strip_content(struct fit *f, struct span raw, struct span path, unsigned *left,
                                 bool *stripped)
{
    struct strbuf out = strbuf_in(f->arena, raw.n + 2);
    struct json j = json_read(raw);

    *left = 0;
    if (!json_enter(&j, JSON_ARRAY)) {
        *left = 1;
        return raw;
    }
    strbuf_add_char(&out, '[');
    for (unsigned i = 0; json_item(&j); i++) {
        struct span block = json_take(&j);

        f->any_call |= json_is_string(top_member(block, "type"), "tool_use");
        if (is_foreign(f, block)) {
            drop_field(f->drops, path_in(f, path, ".content", i));
            *stripped = true;
            continue;
        }
        if ((*left)++ != 0)
            strbuf_add_char(&out, ',');
        strbuf_add_span(&out, block);
    }
    strbuf_add_char(&out, ']');
    return strbuf_span(&out);
}

/* Does a turn of the user begin here? Results of tools go on with the turn before. */
static bool begins_turn(struct span message)
{
    struct span content = top_member(message, "content");
    struct json j = json_read(content);

    if (!json_is_string(top_member(message, "role"), "user"))
        return false;
    return !json_enter(&j, JSON_ARRAY) || !json_item(&j) ||
           !json_is_string(top_member(json_take(&j), "type"), "tool_result");
}

/* A message all of whose blocks went goes with them. */
static void strip_message(struct fit *f, struct span raw, struct span path, struct strbuf *out)
{
    struct json j = json_read(raw);
    struct span key;
    size_t start = out->len;
    unsigned left = 1;
    bool first = true, stripped = false;

    json_enter(&j, JSON_OBJECT);
    strbuf_add(out, start > 1 ? ",{" : "{");
    while (json_member(&j, &key)) {
        bool content = span_is(key, "content");
        struct span raw_key = j.raw_key, value = json_take(&j);

        if (content)
            value = strip_content(f, value, path, &left, &stripped);
        strbuf_add(out, first ? "" : ",");
        first = false;
        strbuf_add_span(out, raw_key);
        strbuf_add_char(out, ':');
        strbuf_add_span(out, value);
    }
    strbuf_add_char(out, '}');
    f->no_thinking |= stripped;
    f->stripped |= stripped;
    if (stripped && left == 0)
        out->len = start;
}

static struct span strip_messages(struct fit *f, struct span raw)
{
    struct strbuf out = strbuf_in(f->arena, raw.n + 2);
    struct json j = json_read(raw);

    if (!json_enter(&j, JSON_ARRAY))
        return raw;
    strbuf_add_char(&out, '[');
    for (unsigned i = 0; json_item(&j); i++) {
        struct span message = json_take(&j);

        if (json_type_of(message) != JSON_OBJECT)
            return raw; /* the provider's to refuse */
        if (begins_turn(message))
            f->any_call = f->no_thinking = false;
        strip_message(f, message, path_in(f, SPAN("messages"), "", i), &out);
    }
    strbuf_add_char(&out, ']');
    f->no_thinking &= f->any_call;
    return f->stripped ? strbuf_span(&out) : raw;
}

/* ---- what a model takes that we chose ---- */

static uint64_t budget_for(const struct fit *f, struct span asked)
{
    uint64_t most = f->max_tokens / 4 * 3;
    int64_t n;

    if (!json_to_i64(asked, &n) || n < 1)
        n = USUAL_BUDGET;
    return (uint64_t)n < most ? (uint64_t)n : most;
}

/* Other models think in another way, or not at all. Empty: without the field. */
static struct span fit_thinking(struct fit *f, struct span raw)
{
    struct span type = top_member(raw, "type"), budget = top_member(raw, "budget_tokens");
    bool adaptive = json_is_string(type, "adaptive"), enabled = json_is_string(type, "enabled");
    int64_t n;

    if (f->no_thinking && (adaptive || enabled)) {
        drop_named(f->drops, "thinking");
        return SPAN("{\"type\":\"disabled\"}");
    }
    if (!f->chosen || (!adaptive && !enabled))
        return raw;
    if (adaptive ? f->model.adaptive
                 : f->model.budget && json_to_i64(budget, &n) && (uint64_t)n < f->max_tokens)
        return raw;
    drop_named(f->drops, "thinking");
    if (f->model.adaptive)
        return f->model.summarize ? SPAN("{\"type\":\"adaptive\",\"display\":\"summarized\"}")
                                  : SPAN("{\"type\":\"adaptive\"}");
    if (!f->model.budget || budget_for(f, budget) < LEAST_BUDGET)
        return (struct span){0};
    return span_of(arena_printf(f->arena, "{\"type\":\"enabled\",\"budget_tokens\":%llu}",
                                (unsigned long long)budget_for(f, budget)));
}

static struct span fit_max_tokens(struct fit *f, struct span raw)
{
    int64_t n;

    if (!json_to_i64(raw, &n) || n <= 0 || (uint64_t)n == f->max_tokens)
        return raw;
    drop_named(f->drops, "max_tokens");
    return span_of(arena_printf(f->arena, "%llu", (unsigned long long)f->max_tokens));
}

/* An effort is for models that think by themselves. */
static struct span fit_output(struct fit *f, struct span raw)
{
    struct strbuf out = strbuf_in(f->arena, raw.n + 2);
    struct json j = json_read(raw);
    struct span key;
    bool effort = false;

    if (!f->chosen || f->model.adaptive || !json_enter(&j, JSON_OBJECT))
        return raw;
    strbuf_add_char(&out, '{');
    while (json_member(&j, &key)) {
        bool is_effort = span_is(key, "effort");
        struct span raw_key = j.raw_key, value = json_take(&j);

        effort |= is_effort;
        if (is_effort)
            continue;
        strbuf_add(&out, out.len > 1 ? "," : "");
        strbuf_add_span(&out, raw_key);
        strbuf_add_char(&out, ':');
        strbuf_add_span(&out, value);
    }
    strbuf_add_char(&out, '}');
    if (!effort)
        return raw;
    drop_named(f->drops, "output_config.effort");
    return out.len > 2 ? strbuf_span(&out) : (struct span){0};
}

static bool is_sampling(struct span key)
{
    return span_is(key, "temperature") || span_is(key, "top_p") || span_is(key, "top_k");
}

/* What becomes of a member of the body; empty: it is left out. */
static struct span fit_member(struct fit *f, struct span key, struct span raw)
{
    bool refused = is_sampling(key) &&
                   ((f->chosen && !f->model.sampling) || (params_find(key) & f->without) != 0);

    if (refused) {
        drop_field(f->drops, key);
        return (struct span){0};
    }
    if (span_is(key, "thinking"))
        return fit_thinking(f, raw);
    if (span_is(key, "max_tokens"))
        return fit_max_tokens(f, raw);
    if (span_is(key, "output_config"))
        return fit_output(f, raw);
    /* Which thinking to clear can only be said where there is some. */
    if (span_is(key, "context_management") && f->no_thinking &&
        span_find(raw, "\"clear_thinking") != NULL) {
        drop_field(f->drops, key);
        return (struct span){0};
    }
    return raw;
}

/* ---- the whole ---- */

/* Looks before it writes: what the messages and max_tokens come to decides on what stands before
 * them. */
static struct span look_ahead(struct fit *f, struct span body, bool strip)
{
    struct span messages = top_member(body, "messages");
    int64_t n;

    if (json_to_i64(top_member(body, "max_tokens"), &n) && n > 0)
        f->max_tokens = (uint64_t)n;
    if (f->chosen && f->model.max_tokens != 0 && f->max_tokens > f->model.max_tokens)
        f->max_tokens = f->model.max_tokens;
    return strip ? strip_messages(f, messages) : messages;
}

static struct span rewrite(struct fit *f, struct span body, struct span model, bool strip)
{
    struct span messages = look_ahead(f, body, strip), key;
    struct strbuf out = strbuf_in(f->arena, body.n + model.n + 256);
    struct json j = json_read(body);
    bool changed = false;

    json_enter(&j, JSON_OBJECT);
    strbuf_add_char(&out, '{');
    while (json_member(&j, &key)) {
        const char *start = j.raw_key.p;
        struct span name = arena_copy(f->arena, key), raw_key = j.raw_key, value = json_take(&j);
        struct span now = span_is(name, "messages") ? messages : fit_member(f, name, value);
        bool same = now.p == value.p && now.n == value.n;

        changed |= !same;
        if (span_is(name, "model") && model.n != 0) {
            same = false;
            now = model;
        }
        if (now.n == 0)
            continue;
        strbuf_add(&out, out.len > 1 ? "," : "");
        if (same) {
            strbuf_add_n(&out, start, (size_t)(value.p + value.n - start));
            continue;
        }
        strbuf_add_span(&out, raw_key);
        strbuf_add_char(&out, ':');
        strbuf_add_span(&out, now);
    }
    strbuf_add_char(&out, '}');
    return changed ? strbuf_span(&out) : body;
}

struct span anthropic_fit(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct drops *drops)
{
    bool chosen = target->rewrite_model && target->model.p != NULL;
    struct fit f = {.arena = a, .drops = drops, .without = target->without};
    struct span model = {0};
    bool strip = target->strip_foreign && span_find(req->body, "\"" ANTHROPIC_FOREIGN) != NULL;

    if (chosen) {
        f.model = anthropic_model_of(target->model);
        f.chosen = f.model.known;
        model = chat_quote(target->model, a);
    }
    if (!strip && !f.chosen && f.without == 0)
        return req->body;
    return rewrite(&f, req->body, model, strip);
}
