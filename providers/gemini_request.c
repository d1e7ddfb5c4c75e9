/* A client's request: what the core must know of it, and the same request for a Gemini. */
#include "providers/gemini.h"

#include "providers/openai_chat.h"
#include "providers/params.h"
#include "providers/request_top.h"

#define MAX_HEAD 16384 /* bytes of the header fields we add */

bool gemini_is_name(struct span key, const char *name)
{
    size_t i = 0;

    if (span_is(key, name))
        return true;
    for (const char *c = name; *c != '\0'; c++) {
        bool upper = *c >= 'A' && *c <= 'Z';

        if (upper && (i == key.n || key.p[i++] != '_'))
            return false;
        if (i == key.n || key.p[i++] != (upper ? *c | 0x20 : *c))
            return false;
    }
    return i == key.n;
}

/* ---- reading ---- */

/* The keys we read. Each may stand once: with two, we and the provider could believe different
 * ones. */
enum field { CONTENTS, TOOLS, CONFIG, CACHED, MODEL, COUNTED, FIELDS };

static const char *const field_names[FIELDS] = {
    "contents", "tools", "generationConfig", "cachedContent", "model", "generateContentRequest",
};

static int read_fields(struct span body, struct span *value, struct err *e)
{
    struct json j = json_read(body);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT)) {
        struct span raw = json_take(&j);

        if (json_end(&j))
            return top_expected(e, "request body", "a JSON object", raw);
        json_error(&j, e);
        return err_prefix(e, "request body");
    }
    while (json_member(&j, &key)) {
        enum field f = 0;
        struct span raw;

        while (f < FIELDS && !gemini_is_name(key, field_names[f]))
            f++;
        raw = json_take(&j);
        if (f == FIELDS)
            continue;
        if (value[f].p != NULL)
            return err_set(e, ERR_VALUE, "%s: stands twice in the request, expected once",
                           field_names[f]);
        value[f] = raw;
    }
    if (json_end(&j))
        return 0;
    json_error(&j, e);
    return err_prefix(e, "request body");
}

/* A member of an object, by its name in either spelling. */
static struct span member(struct span object, const char *name)
{
    struct json j = json_read(object);
    struct span key, found = {0};

    if (!json_enter(&j, JSON_OBJECT))
        return found;
    while (json_member(&j, &key)) {
        bool wanted = gemini_is_name(key, name);
        struct span raw = json_take(&j);

        if (wanted)
            found = raw;
    }
    return found;
}

/* Something other than null. */
static bool is_there(struct span raw)
{
    return raw.n != 0 && json_type_of(raw) != JSON_NULL;
}

static bool is_filled(struct span raw)
{
    struct json j = json_read(raw);
    struct span key;

    return (json_enter(&j, JSON_ARRAY) && json_item(&j)) ||
           (json_enter(&j, JSON_OBJECT) && json_member(&j, &key));
}

struct tools_found {
    bool functions; /* declared by the client */
    bool provided;  /* run by the provider (googleSearch, ...) */
};

static void look_at_tool(struct span raw, struct tools_found *found)
{
    struct json j = json_read(raw);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT))
        return;
    while (json_member(&j, &key)) {
        bool functions = gemini_is_name(key, "functionDeclarations");
        struct span value = json_take(&j);

        if (functions)
            found->functions |= is_filled(value);
        else
            found->provided |= is_there(value);
    }
}

/* A list of one may stand without its brackets. */
static struct tools_found look_at_tools(struct span raw)
{
    struct tools_found found = {0};
    struct json j = json_read(raw);

    if (!json_enter(&j, JSON_ARRAY)) {
        look_at_tool(raw, &found);
        return found;
    }
    while (json_item(&j))
        look_at_tool(json_take(&j), &found);
    return found;
}

/* How many answers; what is no sensible number is left for the provider to refuse. */
static unsigned choices(struct span raw)
{
    int64_t n;

    return json_to_i64(raw, &n) && n >= 1 && n <= GEMINI_CHOICES ? (unsigned)n : 1;
}

static bool is_structured(struct span config)
{
    struct span mime = member(config, "responseMimeType");

    return (is_there(mime) && !json_is_string(mime, "text/plain")) ||
           is_there(member(config, "responseSchema")) ||
           is_there(member(config, "responseJsonSchema"));
}

/* May its first output take minutes? */
static bool reasons(struct span model, struct span thinking)
{
    struct span budget = member(thinking, "thinkingBudget"), name = gemini_last_segment(model);

    if (is_there(budget))
        return !span_is(budget, "0");
    return is_there(member(thinking, "thinkingLevel")) || gemini_generation(name) >= 3 ||
           span_starts(name, "gemini-2.5-pro") || openai_chat_always_reasons(model);
}

static bool asks_for_thoughts(struct span thinking)
{
    return json_type_of(member(thinking, "includeThoughts")) == JSON_TRUE;
}

/* A file of Google's Files API, which belongs to one key. */
static bool has_own_file(struct span contents)
{
    return span_find(contents, "\"https://generativelanguage.googleapis.com/") != NULL;
}

int gemini_read_request(struct span body, struct arena *a, struct chat_request *out, struct err *e)
{
    struct span value[FIELDS] = {0}, thinking;
    struct chat_request req = {
        .model = out->model, .stream = out->stream, .counting = out->counting};
    struct tools_found tools;

    (void)a;
    body = top_body(body);
    if (span_starts(req.model, "models/"))
        req.model = (struct span){req.model.p + 7, req.model.n - 7};
    if (req.model.n == 0)
        return top_expected(e, "model", "a model's name in the path", (struct span){0});
    if (read_fields(body, value, e) < 0)
        return -1;
    if (req.counting && is_there(value[COUNTED])) /* what is counted may stand in a wrapping */
        value[MODEL] = member(value[COUNTED], "model");
    else if (!is_filled(value[CONTENTS]))
        return top_expected(e, "contents", "an array with at least one content", value[CONTENTS]);
    tools = look_at_tools(value[TOOLS]);
    thinking = member(value[CONFIG], "thinkingConfig");
    req.body = body;
    req.content = value[CONTENTS];
    req.model_raw = value[MODEL];
    req.usage_asked = true;
    req.tools = tools.functions;
    req.pinned = tools.provided || is_there(value[CACHED]) || has_own_file(value[CONTENTS]);
    req.structured = is_structured(value[CONFIG]);
    req.logprobs = json_type_of(member(value[CONFIG], "responseLogprobs")) == JSON_TRUE;
    req.audio = is_there(member(value[CONFIG], "speechConfig"));
    req.choices = choices(member(value[CONFIG], "candidateCount"));
    req.reasoning = reasons(req.model, thinking);
    req.reasoning_asked = asks_for_thoughts(thinking);
    *out = req;
    return 0;
}

/* ---- the same request, to carry an answer on ---- */

static void add_turn(struct strbuf *out, const char *role, struct span text)
{
    if (text.n == 0)
        return;
    strbuf_addf(out, ",{\"role\":\"%s\",\"parts\":[{\"text\":", role);
    json_add_string(out, text);
    strbuf_add(out, "}]}");
}

/* Behind the last content; a limit is less by what was used of it. */
int gemini_extend(const struct chat_request *req, struct span assistant, struct span user,
                  uint64_t used_tokens, struct arena *a, struct chat_request *out, struct err *e)
{
    size_t most = req->body.n + 6 * (assistant.n + user.n) + 256, n = 0;
    struct strbuf turns = strbuf_in(a, most), body = strbuf_in(a, most);
    struct span value[FIELDS] = {0}, last = {0}, limit;
    struct json_edit edits[2];
    struct json j;

    if (read_fields(req->body, value, e) < 0)
        return -1;
    j = json_read(value[CONTENTS]);
    if (json_enter(&j, JSON_ARRAY))
        while (json_item(&j))
            last = json_take(&j);
    if (last.n == 0)
        return err_set(e, ERR_VALUE, "contents: no place for another one was found");
    add_turn(&turns, "model", assistant);
    add_turn(&turns, "user", user);
    edits[n++] = (struct json_edit){{last.p + last.n, 0}, strbuf_span(&turns)};
    limit = member(value[CONFIG], "maxOutputTokens");
    if (limit.n != 0) {
        size_t at = limit.p < last.p ? 0 : 1;

        edits[1] = edits[0];
        edits[at] = (struct json_edit){limit, top_less(limit, used_tokens, a)};
        n++;
    }
    json_splice(&body, req->body, edits, n);
    *out = (struct chat_request){.model = req->model, .stream = req->stream};
    return gemini_read_request(strbuf_span(&body), a, out, e);
}

/* ---- the same, for a Gemini: what must change in it ---- */

struct rewriter {
    struct strbuf out;
    struct arena *arena;
    struct drops *drops;
    struct span model; /* in the body as well, where the client has it there; raw, or empty */
    uint32_t without;
    unsigned generation; /* of the target's model */
};

/* Names of generationConfig, and how the core calls them. */
static const struct {
    const char *name, *param;
} config_params[] = {
    {"temperature", "temperature"},
    {"topP", "top_p"},
    {"stopSequences", "stop"},
    {"presencePenalty", "presence_penalty"},
    {"frequencyPenalty", "frequency_penalty"},
    {"seed", "seed"},
    {"maxOutputTokens", "max_tokens"},
    {"thinkingConfig", "reasoning_effort"},
    {"responseLogprobs", "logprobs"},
    {"logprobs", "top_logprobs"},
};

static void add_member(struct rewriter *r, struct span raw_key, bool *first)
{
    if (!*first)
        strbuf_add_char(&r->out, ',');
    *first = false;
    strbuf_add_span(&r->out, raw_key);
    strbuf_add_char(&r->out, ':');
}

static bool is_without(const struct rewriter *r, struct span key)
{
    for (size_t i = 0; i < ARRAY_LEN(config_params); i++)
        if (gemini_is_name(key, config_params[i].name))
            return (params_find(span_of(config_params[i].param)) & r->without) != 0;
    return false;
}

static void rewrite_config(struct rewriter *r, struct span raw)
{
    struct json j = json_read(raw);
    struct span key;
    bool first = true;

    if (!json_enter(&j, JSON_OBJECT)) {
        strbuf_add_span(&r->out, raw);
        return;
    }
    strbuf_add_char(&r->out, '{');
    while (json_member(&j, &key)) {
        struct span raw_key = j.raw_key;

        if (is_without(r, key)) {
            drop_named(r->drops, arena_printf(r->arena, "generationConfig.%.*s", SPAN_ARG(key)));
            json_take(&j);
            continue;
        }
        add_member(r, raw_key, &first);
        strbuf_add_span(&r->out, json_take(&j));
    }
    strbuf_add_char(&r->out, '}');
}

/* One part, without a thoughtSignature that is another provider's. */
static void rewrite_part(struct rewriter *r, struct span raw, struct span path)
{
    struct json j = json_read(raw);
    struct span key;
    bool first = true, call = member(raw, "functionCall").n != 0;

    json_enter(&j, JSON_OBJECT);
    strbuf_add_char(&r->out, '{');
    while (json_member(&j, &key)) {
        bool signature = gemini_is_name(key, "thoughtSignature");
        struct span raw_key = j.raw_key, value = json_take(&j);
        struct gemini_state state;

        if (!signature || !gemini_read_state(value, r->arena, &state)) {
            add_member(r, raw_key, &first);
            strbuf_add_span(&r->out, value);
            continue;
        }
        if (state.kind != GEMINI_MARK)
            drop_named(r->drops, arena_printf(r->arena, "%.*s.thoughtSignature", SPAN_ARG(path)));
        if (call && r->generation >= 3) {
            add_member(r, raw_key, &first);
            strbuf_add(&r->out, "\"" GEMINI_SENTINEL "\"");
        }
    }
    strbuf_add_char(&r->out, '}');
}

/* Does the part hold nothing but another provider's state? Nothing is left of it then. */
static bool is_only_state(struct rewriter *r, struct span raw)
{
    struct span text = member(raw, "text");
    struct gemini_state state;

    return text.n <= 2 && member(raw, "functionCall").n == 0 &&
           gemini_read_state(member(raw, "thoughtSignature"), r->arena, &state);
}

static void rewrite_parts(struct rewriter *r, struct span raw, struct span path)
{
    struct json j = json_read(raw), ahead = j;
    bool first = true, kept = false;

    if (!json_enter(&j, JSON_ARRAY)) {
        if (json_type_of(raw) == JSON_OBJECT)
            rewrite_part(r, raw, path);
        else
            strbuf_add_span(&r->out, raw);
        return;
    }
    json_enter(&ahead, JSON_ARRAY);
    while (json_item(&ahead))
        kept |= !is_only_state(r, json_take(&ahead));
    strbuf_add_char(&r->out, '[');
    for (unsigned i = 0; json_item(&j); i++) {
        struct span item = json_take(&j);
        struct span at = span_of(arena_printf(r->arena, "%.*s[%u]", SPAN_ARG(path), i));

        if (kept && is_only_state(r, item)) {
            drop_named(r->drops, arena_printf(r->arena, "%.*s.thoughtSignature", SPAN_ARG(at)));
            continue;
        }
        if (!first)
            strbuf_add_char(&r->out, ',');
        first = false;
        if (json_type_of(item) == JSON_OBJECT)
            rewrite_part(r, item, at);
        else
            strbuf_add_span(&r->out, item);
    }
    strbuf_add_char(&r->out, ']');
}

static void rewrite_content(struct rewriter *r, struct span raw, struct span path)
{
    struct json j = json_read(raw);
    struct span key;
    bool first = true;

    if (!json_enter(&j, JSON_OBJECT)) {
        strbuf_add_span(&r->out, raw);
        return;
    }
    strbuf_add_char(&r->out, '{');
    while (json_member(&j, &key)) {
        bool parts = span_is(key, "parts");
        struct span raw_key = j.raw_key, value = json_take(&j);

        add_member(r, raw_key, &first);
        if (parts)
            rewrite_parts(r, value, span_of(arena_printf(r->arena, "%.*s.parts", SPAN_ARG(path))));
        else
            strbuf_add_span(&r->out, value);
    }
    strbuf_add_char(&r->out, '}');
}

static void rewrite_contents(struct rewriter *r, struct span raw)
{
    struct json j = json_read(raw);

    if (!json_enter(&j, JSON_ARRAY)) {
        rewrite_content(r, raw, SPAN("contents"));
        return;
    }
    strbuf_add_char(&r->out, '[');
    for (unsigned i = 0; json_item(&j); i++) {
        if (i > 0)
            strbuf_add_char(&r->out, ',');
        rewrite_content(r, json_take(&j), span_of(arena_printf(r->arena, "contents[%u]", i)));
    }
    strbuf_add_char(&r->out, ']');
}

static void rewrite_object(struct rewriter *r, struct span body)
{
    struct json j = json_read(body);
    struct span key;
    bool first = true;

    if (!json_enter(&j, JSON_OBJECT)) {
        strbuf_add_span(&r->out, body);
        return;
    }
    strbuf_add_char(&r->out, '{');
    while (json_member(&j, &key)) {
        bool is_model = span_is(key, "model") && r->model.n != 0;
        bool is_config = gemini_is_name(key, "generationConfig");
        bool is_contents = span_is(key, "contents");
        bool is_wrapping = gemini_is_name(key, field_names[COUNTED]);
        struct span raw_key = j.raw_key, value = json_take(&j);

        add_member(r, raw_key, &first);
        if (is_model)
            strbuf_add_span(&r->out, r->model);
        else if (is_config)
            rewrite_config(r, value);
        else if (is_contents)
            rewrite_contents(r, value);
        else if (is_wrapping)
            rewrite_object(r, value);
        else
            strbuf_add_span(&r->out, value);
    }
    strbuf_add_char(&r->out, '}');
}

static struct span rewrite(struct rewriter *r, struct span body)
{
    r->out = strbuf_in(r->arena, 3 * body.n + r->model.n + 64);
    rewrite_object(r, body);
    return strbuf_span(&r->out);
}

bool gemini_is_count(struct span body)
{
    int64_t n;

    return json_valid(body) && json_to_i64(member(body, "totalTokens"), &n);
}

void gemini_write_request(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct dialect_request *out, struct drops *drops)
{
    struct span model = target->model.p != NULL ? target->model : req->model;
    struct rewriter r = {.arena = a,
                         .drops = drops,
                         .without = target->without,
                         .generation = gemini_generation(gemini_last_segment(model))};

    if (target->rewrite_model && is_there(req->model_raw))
        r.model =
            chat_quote(span_of(arena_printf(
                           a, "%s%.*s", span_starts(req->model_raw, "\"models/") ? "models/" : "",
                           SPAN_ARG(model))),
                       a);
    *out = (struct dialect_request){
        .path = gemini_path(target->base_path, model,
                            req->counting ? GEMINI_COUNT
                            : req->stream ? GEMINI_STREAM
                                          : GEMINI_WHOLE,
                            a),
        .head_fields = strbuf_in(a, MAX_HEAD),
        .body = {req->body},
    };
    if (r.model.n != 0 || r.without != 0 || span_find(req->body, "\"" GEMINI_STATE) != NULL)
        out->body[0] = rewrite(&r, req->body);
    out->body_bytes = out->body[0].n;
    gemini_add_key(&out->head_fields, target->key);
}
