#include "providers/gemini.h"

#define MAX_HEAD 16384               /* bytes of the header fields we add */
#define MAX_BODY ((size_t)256 << 20) /* bytes of a request we write */
#define MAX_NAME 128                 /* bytes of a function's name */
#define MAX_STOP 5                   /* stop sequences */

void gemini_drop_in(struct gemini_writer *w, struct span path, const char *field)
{
    drop_named(w->drops, arena_printf(w->arena, "%.*s.%s", SPAN_ARG(path), field));
}

/* ---- where it goes ---- */

static bool is_model_char(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != '\0' && strchr("._:/@-", c) != NULL);
}

int gemini_check_model(struct span model, struct err *e)
{
    bool good = model.n != 0 && span_find(model, "..") == NULL;

    for (size_t i = 0; good && i < model.n; i++)
        good = is_model_char(model.p[i]);
    if (good)
        return 0;
    return err_set(e, ERR_VALUE,
                   "model: \"%.*s\" cannot stand in a path, expected letters, digits and ._:/@- "
                   "without two dots in a row",
                   (int)(model.n < 60 ? model.n : 60), model.n != 0 ? model.p : "");
}

/* The model is one segment of the path: its own slashes and colons are encoded (RFC 3986 2.1). */
struct span gemini_path(struct span base_path, struct span model, const char *verb, struct arena *a)
{
    struct strbuf path = strbuf_in(a, base_path.n + 3 * model.n + 64);

    strbuf_add_span(&path, base_path);
    strbuf_add(&path, "/models/");
    if (span_starts(model, "models/"))
        model = (struct span){model.p + 7, model.n - 7};
    for (size_t i = 0; i < model.n; i++)
        if (is_model_char(model.p[i]) && model.p[i] != '/' && model.p[i] != ':')
            strbuf_add_char(&path, model.p[i]);
        else
            strbuf_addf(&path, "%%%02X", (unsigned char)model.p[i]);
    strbuf_add(&path, verb);
    return strbuf_span(&path);
}

/* The name without what may stand before it: "models/gemini-2.5-pro", "google/gemini-2.5-pro". */
struct span gemini_last_segment(struct span model)
{
    const char *slash = model.n != 0 ? memrchr(model.p, '/', model.n) : NULL;

    if (slash == NULL)
        return model;
    return (struct span){slash + 1, (size_t)(model.p + model.n - slash - 1)};
}

/* Aliases such as gemini-flash-latest stand for the newest. */
unsigned gemini_generation(struct span name)
{
    if (!span_starts(name, "gemini-"))
        return 0;
    if (name.n > 7 && name.p[7] >= '1' && name.p[7] <= '9')
        return name.p[7] > '3' ? 3 : (unsigned)(name.p[7] - '0');
    return 3;
}

/* ---- generationConfig ---- */

/* Appends `"name":` with a comma before all but the first of the object. */
static void add_key(struct strbuf *out, const char *name)
{
    if (out->len != 0 && out->buf[out->len - 1] != '{')
        strbuf_add_char(out, ',');
    json_add_name(out, name);
}

static void add_raw(struct strbuf *out, const char *name, struct span raw)
{
    if (raw.n == 0)
        return;
    add_key(out, name);
    strbuf_add_span(out, raw);
}

static int add_stop(struct gemini_writer *w)
{
    struct json j = json_read(w->c->stop);
    size_t n = 0;

    if (w->c->stop.n == 0)
        return 0;
    if (json_enter(&j, JSON_ARRAY))
        for (; json_item(&j); n++)
            json_take(&j);
    if (n > MAX_STOP)
        return err_set(w->e, ERR_VALUE, "stop: %zu sequences, expected at most %d", n, MAX_STOP);
    if (n != 0)
        add_raw(&w->out, "stopSequences", w->c->stop);
    return 0;
}

/* The API takes 32 bits. */
static void add_seed(struct gemini_writer *w)
{
    int64_t seed;

    if (w->c->seed.n == 0)
        return;
    if (json_to_i64(w->c->seed, &seed) && seed >= INT32_MIN && seed <= INT32_MAX)
        add_raw(&w->out, "seed", w->c->seed);
    else
        drop_named(w->drops, "seed");
}

static void add_format(struct gemini_writer *w)
{
    const struct conversation *c = w->c;

    if (c->format == FORMAT_UNSET)
        return;
    add_key(&w->out, "responseMimeType");
    strbuf_add(&w->out, c->format == FORMAT_TEXT ? "\"text/plain\"" : "\"application/json\"");
    if (c->format != FORMAT_SCHEMA)
        return;
    add_raw(&w->out, "responseJsonSchema", c->schema);
    /* A label and a text for the model, for which there is no place. */
    if (c->schema_name.n != 0)
        drop_named(w->drops, "response_format.json_schema.name");
    if (c->schema_description.n != 0)
        drop_named(w->drops, "response_format.json_schema.description");
}

/* Google's own table for its OpenAI-compatible endpoint. */
static unsigned budget_of(enum effort effort, struct span name)
{
    bool pro = span_find(name, "pro") != NULL;

    switch (effort) {
    case EFFORT_NONE:
        return pro ? 128 : 0; /* pro cannot do without */
    case EFFORT_MINIMAL:
        return 512;
    case EFFORT_LOW:
        return 1024;
    case EFFORT_MEDIUM:
        return 8192;
    case EFFORT_XHIGH:
        return pro ? 32768 : 24576; /* the most that the model takes */
    default:
        return 24576;
    }
}

static const char *level_of(enum effort effort, struct span name)
{
    bool pro = span_find(name, "pro") != NULL;

    switch (effort) {
    case EFFORT_NONE:
    case EFFORT_MINIMAL:
        return pro ? "low" : "minimal";
    case EFFORT_LOW:
        return "low";
    case EFFORT_MEDIUM:
        return span_starts(name, "gemini-3-pro") ? "high" : "medium";
    default:
        return "high";
    }
}

/* Whether the model has a word for just this effort. */
static bool says_effort(enum effort effort, struct span name, bool levels)
{
    bool pro = span_find(name, "pro") != NULL;

    switch (effort) {
    case EFFORT_NONE:
        return !levels && !pro;
    case EFFORT_MINIMAL:
        return !levels || !pro;
    case EFFORT_MEDIUM:
        return !levels || !span_starts(name, "gemini-3-pro");
    case EFFORT_XHIGH:
        return !levels && pro;
    default:
        return true;
    }
}

static void add_thinking(struct gemini_writer *w, struct span name)
{
    enum effort effort = w->c->effort;

    if (effort == EFFORT_UNSET)
        return;
    if (w->generation < 3 && !span_starts(name, "gemini-2.5")) {
        if (effort != EFFORT_NONE) /* what does not think need not be told to */
            drop_named(w->drops, "reasoning_effort");
        return;
    }
    if (!says_effort(effort, name, w->generation >= 3))
        drop_named(w->drops, "reasoning_effort");
    add_key(&w->out, "thinkingConfig");
    if (w->generation >= 3)
        strbuf_addf(&w->out, "{\"thinkingLevel\":\"%s\"", level_of(effort, name));
    else
        strbuf_addf(&w->out, "{\"thinkingBudget\":%u", budget_of(effort, name));
    strbuf_add(&w->out, effort == EFFORT_NONE ? "}" : ",\"includeThoughts\":true}");
}

/* The most that a model of the family writes; others know their own. */
static uint64_t most_tokens(const struct gemini_writer *w, struct span name)
{
    if (w->generation == 0)
        return UINT64_MAX;
    return w->generation > 2 || span_starts(name, "gemini-2.5") ? 65536 : 8192;
}

static int add_config(struct gemini_writer *w, struct span name)
{
    const struct conversation *c = w->c;
    size_t before = w->out.len, start;

    strbuf_add(&w->out, ",\"generationConfig\":{");
    start = w->out.len;
    add_raw(&w->out, "temperature", c->temperature);
    add_raw(&w->out, "topP", c->top_p);
    add_raw(&w->out, "topK", c->top_k);
    if (c->max_tokens != 0) {
        uint64_t most = most_tokens(w, name);

        if (c->max_tokens > most)
            drop_field(w->drops, c->max_tokens_path);
        add_key(&w->out, "maxOutputTokens");
        strbuf_add_u64(&w->out, c->max_tokens < most ? c->max_tokens : most);
    }
    if (add_stop(w) < 0)
        return -1;
    if (c->n > 1) {
        add_key(&w->out, "candidateCount");
        strbuf_add_u64(&w->out, c->n);
    }
    add_seed(w);
    add_raw(&w->out, "presencePenalty", c->presence_penalty);
    add_raw(&w->out, "frequencyPenalty", c->frequency_penalty);
    add_format(w);
    add_thinking(w, name);
    if (w->out.len == start)
        w->out.len = before;
    else
        strbuf_add_char(&w->out, '}');
    return 0;
}

/* ---- tools ---- */

int gemini_check_name(struct gemini_writer *w, struct span path, struct span name)
{
    struct span text = json_text(name, w->arena);
    bool good = text.n != 0 && text.n <= MAX_NAME && text.p[0] != '-' && text.p[0] != '.' &&
                text.p[0] != ':' && !(text.p[0] >= '0' && text.p[0] <= '9');

    for (size_t i = 0; good && i < text.n; i++)
        good = is_model_char(text.p[i]) && text.p[i] != '/' && text.p[i] != '@';
    if (good)
        return 0;
    return err_set(w->e, ERR_VALUE,
                   "%.*s: the function's name %.*s is not taken here, expected a letter or _ and "
                   "then letters, digits and _.:-, at most %d",
                   SPAN_ARG(path), (int)(name.n < 60 ? name.n : 60), name.n != 0 ? name.p : "",
                   MAX_NAME);
}

/* Is it the schema of a function without parameters? Such a one is left out: an object without
 * properties is refused by some models. */
static bool takes_nothing(struct span schema)
{
    struct json j = json_read(schema);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT))
        return true;
    while (json_member(&j, &key)) {
        struct span raw = json_take(&j);
        struct json inner = json_read(raw);
        struct span member;

        if (span_is(key, "properties") && json_enter(&inner, JSON_OBJECT) &&
            !json_member(&inner, &member))
            continue;
        if (span_is(key, "required") && json_enter(&inner, JSON_ARRAY) && !json_item(&inner))
            continue;
        if (!json_is_string(raw, "object") && json_type_of(raw) != JSON_FALSE &&
            !span_is(key, "$schema") && !span_is(key, "title"))
            return false;
    }
    return true;
}

static bool is_allowed(const struct conversation *c, const struct tool *t)
{
    if (c->choice != CHOICE_ALLOWED || c->choice_allowed_required)
        return true;
    for (const struct name_list *n = c->choice_allowed; n != NULL; n = n->next)
        if (span_eq(n->name, t->name))
            return true;
    return false;
}

static int add_function(struct gemini_writer *w, const struct tool *t)
{
    if (gemini_check_name(w, t->path, t->name) < 0)
        return -1;
    strbuf_add(&w->out, "{\"name\":");
    strbuf_add_span(&w->out, t->name);
    add_raw(&w->out, "description", t->description);
    if (!takes_nothing(t->schema))
        add_raw(&w->out, "parametersJsonSchema", t->schema);
    strbuf_add_char(&w->out, '}');
    if (t->strict)
        drop_field(w->drops, tool_field(t, "strict", w->arena));
    if (t->cache.n != 0)
        gemini_drop_in(w, t->path, "cache_control");
    return 0;
}

static void add_choice(struct gemini_writer *w, bool any_tool)
{
    const struct conversation *c = w->c;
    bool first = true;

    if (c->choice == CHOICE_UNSET)
        return;
    if (!any_tool) { /* a choice among no functions is refused */
        drop_named(w->drops, "tool_choice");
        return;
    }
    strbuf_add(&w->out, ",\"toolConfig\":{\"functionCallingConfig\":{\"mode\":");
    if (c->choice == CHOICE_AUTO || (c->choice == CHOICE_ALLOWED && !c->choice_allowed_required))
        strbuf_add(&w->out, "\"AUTO\"");
    else
        strbuf_add(&w->out, c->choice == CHOICE_NONE ? "\"NONE\"" : "\"ANY\"");
    if (c->choice == CHOICE_NAMED) {
        strbuf_add(&w->out, ",\"allowedFunctionNames\":[");
        strbuf_add_span(&w->out, c->choice_name);
        strbuf_add_char(&w->out, ']');
    } else if (c->choice == CHOICE_ALLOWED && c->choice_allowed_required) {
        strbuf_add(&w->out, ",\"allowedFunctionNames\":[");
        for (const struct name_list *n = c->choice_allowed; n != NULL; n = n->next, first = false) {
            if (!first)
                strbuf_add_char(&w->out, ',');
            strbuf_add_span(&w->out, n->name);
        }
        strbuf_add_char(&w->out, ']');
    }
    strbuf_add(&w->out, "}}");
}

/* With an `allowed` list that may also stay unused, only the functions of the list are declared:
 * allowedFunctionNames would make one of them a must. */
static int add_tools(struct gemini_writer *w)
{
    bool any = false;

    for (const struct tool *t = w->c->tools; t != NULL; t = t->next) {
        if (!is_allowed(w->c, t))
            continue;
        strbuf_add(&w->out, any ? "," : ",\"tools\":[{\"functionDeclarations\":[");
        any = true;
        if (add_function(w, t) < 0)
            return -1;
    }
    if (any)
        strbuf_add(&w->out, "]}]");
    add_choice(w, any);
    return 0;
}

/* ---- together ---- */

/* What has no counterpart. */
static void drop_rest(struct gemini_writer *w)
{
    const struct conversation *c = w->c;

    if (c->one_tool_at_a_time)
        drop_named(w->drops, "parallel_tool_calls");
    /* They could be asked for, but no event of an answer carries them back. */
    if (c->logprobs)
        drop_named(w->drops, "logprobs");
    if (c->top_logprobs.n != 0)
        drop_named(w->drops, "top_logprobs");
    if (c->user.n != 0)
        drop_field(w->drops, c->user_path.n != 0 ? c->user_path : SPAN("user"));
    if (c->service_tier.n != 0)
        drop_named(w->drops, "service_tier");
    if (c->verbosity.n != 0)
        drop_named(w->drops, "verbosity");
    for (const struct other_field *f = c->others; f != NULL; f = f->next)
        drop_field(w->drops, f->path);
}

void gemini_add_key(struct strbuf *head, struct span key)
{
    if (key.n == 0)
        return;
    strbuf_add(head, "x-goog-api-key: ");
    strbuf_add_span(head, key);
    strbuf_add(head, "\r\n");
}

static int write_conversation(const struct conversation *c, const struct dialect_target *target,
                              struct arena *a, struct dialect_request *out, struct drops *drops,
                              struct err *e)
{
    struct span model = target->model.p != NULL ? target->model : c->model;
    struct span name = gemini_last_segment(model);
    struct gemini_writer w = {.c = c,
                              .arena = a,
                              .drops = drops,
                              .e = e,
                              .generation = gemini_generation(name),
                              .out = strbuf_in(a, MAX_BODY)};

    if (gemini_check_model(model, e) < 0)
        return -1;
    if (c->pinned)
        return err_set(e, ERR_VALUE,
                       "%.*s: lives at another provider, expected a request that stands alone",
                       SPAN_ARG(c->pinned_by));
    strbuf_expect(&w.out, c->bytes);
    strbuf_add_char(&w.out, '{');
    if (gemini_write_turns(&w) < 0 || add_tools(&w) < 0 || add_config(&w, name) < 0)
        return -1;
    strbuf_add_char(&w.out, '}');
    drop_rest(&w);
    if (w.out.failed)
        return err_set(e, ERR_TOO_BIG, "the request is larger than %zu bytes", MAX_BODY);
    *out = (struct dialect_request){
        .path = gemini_path(target->base_path, model, c->stream ? GEMINI_STREAM : GEMINI_WHOLE, a),
        .head_fields = strbuf_in(a, MAX_HEAD),
        .body = {strbuf_span(&w.out)},
        .body_bytes = w.out.len,
    };
    gemini_add_key(&out->head_fields, target->key);
    return 0;
}

const struct dialect dialect_gemini = {
    .name = "gemini",
    .key_header = "x-goog-api-key: ",
    .id_prefix = "",
    .client_fields = (const char *const[]){NULL},
    .read_request = gemini_read_request,
    .extend = gemini_extend,
    .read_conversation = gemini_read_conversation,
    .write_error = gemini_write_error,
    .write_stream_error = gemini_write_stream_error,
    .write_end = gemini_write_end,
    .write_event = gemini_write_event,
    .follow = gemini_follow,
    .write_answer = gemini_write_answer,
    .is_count = gemini_is_count,
    .write_model = gemini_write_model,
    .write_models = gemini_write_models,
    .write_request = gemini_write_request,
    .write_conversation = write_conversation,
    .read_event = gemini_read_event,
    .read_answer = gemini_read_answer,
    .judge_end = gemini_judge_end,
    .classify = gemini_classify,
};
