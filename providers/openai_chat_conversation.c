#include "providers/openai_chat_conversation.h"

#include "providers/openai_chat.h"

#define MAX_CHOICES 128

static const struct span top = {"", 0};

/* ---- tools ---- */

static int read_function(struct request_reader *r, struct span raw, struct span path,
                         struct tool *tool)
{
    enum { NAME, DESCRIPTION, PARAMETERS, STRICT, FIELDS };
    static const char *const names[] = {"name", "description", "parameters", "strict", NULL};
    struct span v[FIELDS] = {0};

    tool->within = path;
    if (request_object(r, raw, path, names, v) < 0 ||
        request_string(r, v[NAME], path, "name", &tool->name) < 0 ||
        request_string(r, v[DESCRIPTION], path, "description", &tool->description) < 0 ||
        request_bool(r, v[STRICT], path, "strict", &tool->strict) < 0)
        return -1;
    if (tool->name.n <= 2)
        return request_expected_value(r, request_path(r, path, "name"), "the function's name",
                                      v[NAME]);
    if (v[PARAMETERS].n != 0 && json_type_of(v[PARAMETERS]) != JSON_OBJECT)
        return request_expected(r, request_path(r, path, "parameters"), "a JSON Schema object",
                                v[PARAMETERS]);
    tool->schema = v[PARAMETERS];
    tool->strict_set = v[STRICT].n != 0;
    return 0;
}

/* Tools that the provider itself runs, and those of free text, have no place. */
static int read_tool(struct request_reader *r, struct span raw, struct span path, struct tool **out)
{
    enum { TYPE, FUNCTION, CACHE, FIELDS };
    static const char *const names[] = {"type", "function", "cache_control", NULL};
    struct other_field **others = r->last_other;
    struct span v[FIELDS] = {0}, type;
    struct tool *tool;

    if (request_object(r, raw, path, names, v) < 0 ||
        request_string(r, v[TYPE], path, "type", &type) < 0)
        return -1;
    if (type.n != 0 && !json_is_string(type, "function")) {
        r->last_other = others; /* the whole tool stands for its parts */
        *others = NULL;
        request_other(r, path);
        return 0;
    }
    tool = arena_zalloc(r->arena, sizeof(*tool));
    tool->path = path;
    tool->cache = v[CACHE];
    if (read_function(r, v[FUNCTION], request_path(r, path, "function"), tool) < 0)
        return -1;
    *out = tool;
    return 0;
}

/* `functions` are the tools of before: the same without a wrapping. */
static int read_tools(struct request_reader *r, struct span raw, const char *name, bool wrapped)
{
    struct tool **last = &r->out->tools;
    struct json j = json_read(raw);

    if (raw.n == 0)
        return 0;
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, span_of(name), "an array", raw);
    while (*last != NULL)
        last = &(*last)->next;
    for (unsigned i = 0; json_item(&j); i++) {
        struct span path = request_path_at(r, span_of(name), i), item = json_take(&j);

        if (wrapped) {
            if (read_tool(r, item, path, last) < 0)
                return -1;
        } else {
            *last = arena_zalloc(r->arena, sizeof(**last));
            (*last)->path = path;
            if (read_function(r, item, path, *last) < 0)
                return -1;
        }
        if (*last != NULL)
            last = &(*last)->next;
    }
    return 0;
}

/* ---- which tool ---- */

/* {"function": {"name": "f"}} or, as before, {"name": "f"}. */
static int read_name(struct request_reader *r, struct span raw, struct span path, struct span *out)
{
    static const char *const names[] = {"name", NULL};
    struct span name = {0};

    if (request_object(r, raw, path, names, &name) < 0)
        return -1;
    if (json_type_of(name) != JSON_STRING || name.n <= 2)
        return request_expected_value(r, request_path(r, path, "name"), "the function's name",
                                      name);
    *out = name;
    return 0;
}

static int read_allowed(struct request_reader *r, struct span raw, struct span path)
{
    enum { MODE, TOOLS, FIELDS };
    static const char *const names[] = {"mode", "tools", NULL};
    static const char *const tool_names[] = {"type", "function", NULL};
    struct name_list **last = &r->out->choice_allowed;
    struct span v[FIELDS] = {0};
    struct json j;

    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    r->out->choice_allowed_required = json_is_string(v[MODE], "required");
    if (!r->out->choice_allowed_required && !json_is_string(v[MODE], "auto"))
        return request_expected_value(r, request_path(r, path, "mode"), "\"auto\" or \"required\"",
                                      v[MODE]);
    path = request_path(r, path, "tools");
    j = json_read(v[TOOLS]);
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, path, "an array", v[TOOLS]);
    for (unsigned i = 0; json_item(&j); i++) {
        struct span at = request_path_at(r, path, i), tool[2] = {0};

        if (request_object(r, json_take(&j), at, tool_names, tool) < 0)
            return -1;
        if (tool[0].n != 0 && !json_is_string(tool[0], "function")) {
            request_other(r, at);
            continue;
        }
        *last = arena_zalloc(r->arena, sizeof(**last));
        if (read_name(r, tool[1], request_path(r, at, "function"), &(*last)->name) < 0)
            return -1;
        last = &(*last)->next;
    }
    r->out->choice = CHOICE_ALLOWED;
    return 0;
}

static int read_choice_object(struct request_reader *r, struct span raw)
{
    enum { TYPE, FUNCTION, ALLOWED, CUSTOM, FIELDS };
    static const char *const names[] = {"type", "function", "allowed_tools", "custom", NULL};
    struct span v[FIELDS] = {0}, path = SPAN("tool_choice");

    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    if (json_is_string(v[TYPE], "allowed_tools"))
        return read_allowed(r, v[ALLOWED], SPAN("tool_choice.allowed_tools"));
    if (json_is_string(v[TYPE], "custom")) {
        request_other(r, path);
        return 0;
    }
    if (!json_is_string(v[TYPE], "function"))
        return request_expected_value(r, SPAN("tool_choice.type"),
                                      "\"function\", \"allowed_tools\" or \"custom\"", v[TYPE]);
    r->out->choice = CHOICE_NAMED;
    return read_name(r, v[FUNCTION], SPAN("tool_choice.function"), &r->out->choice_name);
}

static int read_choice(struct request_reader *r, struct span raw)
{
    if (raw.n == 0)
        return 0;
    if (json_type_of(raw) == JSON_OBJECT)
        return read_choice_object(r, raw);
    if (json_is_string(raw, "auto"))
        r->out->choice = CHOICE_AUTO;
    else if (json_is_string(raw, "none"))
        r->out->choice = CHOICE_NONE;
    else if (json_is_string(raw, "required") || json_is_string(raw, "any")) /* Mistral */
        r->out->choice = CHOICE_REQUIRED;
    else
        return request_expected_value(r, SPAN("tool_choice"),
                                      "\"auto\", \"none\", \"required\" or an object", raw);
    return 0;
}

/* The form of before. */
static int read_function_choice(struct request_reader *r, struct span raw)
{
    if (raw.n == 0)
        return 0;
    if (r->out->choice != CHOICE_UNSET) {
        request_other(r, SPAN("function_call"));
        return 0;
    }
    if (json_is_string(raw, "auto"))
        r->out->choice = CHOICE_AUTO;
    else if (json_is_string(raw, "none"))
        r->out->choice = CHOICE_NONE;
    else if (json_type_of(raw) != JSON_OBJECT)
        return request_expected_value(r, SPAN("function_call"),
                                      "\"auto\", \"none\" or an object with a name", raw);
    else {
        r->out->choice = CHOICE_NAMED;
        return read_name(r, raw, SPAN("function_call"), &r->out->choice_name);
    }
    return 0;
}

/* ---- the form of the answer ---- */

static int read_schema(struct request_reader *r, struct span raw)
{
    enum { NAME, DESCRIPTION, SCHEMA, STRICT, FIELDS };
    static const char *const names[] = {"name", "description", "schema", "strict", NULL};
    struct conversation *c = r->out;
    struct span v[FIELDS] = {0}, path = SPAN("response_format.json_schema");

    if (request_object(r, raw, path, names, v) < 0 ||
        request_string(r, v[NAME], path, "name", &c->schema_name) < 0 ||
        request_string(r, v[DESCRIPTION], path, "description", &c->schema_description) < 0 ||
        request_bool(r, v[STRICT], path, "strict", &c->schema_strict) < 0)
        return -1;
    if (json_type_of(v[SCHEMA]) != JSON_OBJECT)
        return request_expected(r, request_path(r, path, "schema"), "a JSON Schema object",
                                v[SCHEMA]);
    c->schema = v[SCHEMA];
    c->format = FORMAT_SCHEMA;
    return 0;
}

static int read_format(struct request_reader *r, struct span raw)
{
    enum { TYPE, SCHEMA, FIELDS };
    static const char *const names[] = {"type", "json_schema", NULL};
    struct span v[FIELDS] = {0}, path = SPAN("response_format");

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    if (json_is_string(v[TYPE], "json_schema"))
        return read_schema(r, v[SCHEMA]);
    if (json_is_string(v[TYPE], "json_object"))
        r->out->format = FORMAT_JSON;
    else if (json_is_string(v[TYPE], "text"))
        r->out->format = FORMAT_TEXT;
    else
        return request_expected_value(r, SPAN("response_format.type"),
                                      "\"text\", \"json_object\" or \"json_schema\"", v[TYPE]);
    if (v[SCHEMA].n != 0)
        request_other(r, SPAN("response_format.json_schema"));
    return 0;
}

/* ---- single fields ---- */

int request_stop(struct request_reader *r, struct span raw)
{
    static const char what[] = "a string or an array of strings";
    struct json j = json_read(raw);
    struct strbuf one;

    if (raw.n == 0)
        return 0;
    if (json_type_of(raw) == JSON_STRING) {
        one = strbuf_in(r->arena, raw.n + 2);
        strbuf_add_char(&one, '[');
        strbuf_add_span(&one, raw);
        strbuf_add_char(&one, ']');
        r->out->stop = strbuf_span(&one);
        return 0;
    }
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, SPAN("stop"), what, raw);
    for (unsigned i = 0; json_item(&j); i++) {
        struct span item = json_take(&j);

        if (json_type_of(item) != JSON_STRING)
            return request_expected(r, request_path_at(r, SPAN("stop"), i), "a string", item);
        r->out->stop = raw; /* an empty list is none */
    }
    return 0;
}

int request_count(struct request_reader *r, struct span raw, struct span path, int64_t max,
                  const char *what, uint64_t *out)
{
    int64_t n;

    if (raw.n == 0)
        return 0;
    if (!json_to_i64(raw, &n) || n < 1 || n > max)
        return request_expected_value(r, path, what, raw);
    *out = (uint64_t)n;
    return 0;
}

/* The newer name wins; the older one is noted where it says something else. */
static int read_max_tokens(struct request_reader *r, struct span newer, struct span older)
{
    static const char what[] = "a whole number of tokens, at least 1";
    struct span newer_path = SPAN("max_completion_tokens"), older_path = SPAN("max_tokens");
    uint64_t n = 0, o = 0;

    if (request_count(r, newer, newer_path, INT64_MAX, what, &n) < 0 ||
        request_count(r, older, older_path, INT64_MAX, what, &o) < 0)
        return -1;
    if (n != 0 && o != 0 && n != o)
        request_other(r, older_path);
    r->out->max_tokens = n != 0 ? n : o;
    r->out->max_tokens_path = n != 0 ? newer_path : o != 0 ? older_path : (struct span){0};
    return 0;
}

int request_effort(struct request_reader *r, struct span raw, struct span path)
{
    static const struct {
        const char *name;
        enum effort effort;
    } efforts[] = {
        {"none", EFFORT_NONE},     {"minimal", EFFORT_MINIMAL}, {"low", EFFORT_LOW},
        {"medium", EFFORT_MEDIUM}, {"high", EFFORT_HIGH},       {"xhigh", EFFORT_XHIGH},
        {"max", EFFORT_XHIGH},
    };

    if (raw.n == 0)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(efforts); i++)
        if (json_is_string(raw, efforts[i].name)) {
            r->out->effort = efforts[i].effort;
            return 0;
        }
    return request_expected_value(r, path, "none, minimal, low, medium, high, xhigh or max", raw);
}

int request_user(struct request_reader *r, struct span newer, struct span older)
{
    struct span old_user;

    if (request_string(r, newer, top, "safety_identifier", &r->out->user) < 0 ||
        request_string(r, older, top, "user", &old_user) < 0)
        return -1;
    r->out->user_path = newer.n != 0 ? SPAN("safety_identifier") : SPAN("user");
    if (newer.n == 0)
        r->out->user = old_user;
    else if (older.n != 0 && !span_eq(newer, older))
        request_other(r, SPAN("user"));
    return 0;
}

int request_stream_options(struct request_reader *r, struct span raw)
{
    static const char *const names[] = {"include_usage", NULL};
    struct span path = SPAN("stream_options"), include = {0};

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, names, &include) < 0)
        return -1;
    return request_bool(r, include, path, names[0], &r->out->usage_asked);
}

/* ---- the whole ---- */

/* clang-format off */
enum field {
    MODEL, MESSAGES, STREAM, STREAM_OPTIONS, TOOLS, FUNCTIONS, TOOL_CHOICE, FUNCTION_CALL, PARALLEL,
    MAX_COMPLETION_TOKENS, MAX_TOKENS, TEMPERATURE, TOP_P, TOP_K, PRESENCE, FREQUENCY, SEED, STOP,
    N, LOGPROBS, TOP_LOGPROBS, EFFORT, RESPONSE_FORMAT, SAFETY_IDENTIFIER, USER, SERVICE_TIER,
    VERBOSITY, FIELDS
};

const char *const openai_chat_field_names[] = {
    "model", "messages", "stream", "stream_options", "tools", "functions", "tool_choice",
    "function_call", "parallel_tool_calls", "max_completion_tokens", "max_tokens", "temperature",
    "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed", "stop", "n", "logprobs",
    "top_logprobs", "reasoning_effort", "response_format", "safety_identifier", "user",
    "service_tier", "verbosity", NULL
};
/* clang-format on */
_Static_assert(ARRAY_LEN(openai_chat_field_names) == FIELDS + 1 && FIELDS <= 64,
               "a name for each field");

static int read_numbers(struct request_reader *r, const struct span *v)
{
    struct conversation *c = r->out;
    struct {
        enum field field;
        struct span *out;
    } const numbers[] = {
        {TEMPERATURE, &c->temperature},
        {TOP_P, &c->top_p},
        {TOP_K, &c->top_k},
        {PRESENCE, &c->presence_penalty},
        {FREQUENCY, &c->frequency_penalty},
        {SEED, &c->seed},
        {TOP_LOGPROBS, &c->top_logprobs},
    };

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (request_number(r, v[numbers[i].field], top, openai_chat_field_names[numbers[i].field],
                           numbers[i].out) < 0)
            return -1;
    return 0;
}

static int read_options(struct request_reader *r, const struct span *v)
{
    struct conversation *c = r->out;
    uint64_t n = 1;
    bool parallel = true;

    if (read_numbers(r, v) < 0 || read_max_tokens(r, v[MAX_COMPLETION_TOKENS], v[MAX_TOKENS]) < 0 ||
        request_stop(r, v[STOP]) < 0 ||
        request_count(r, v[N], SPAN("n"), MAX_CHOICES, "a whole number, 1 to 128", &n) < 0 ||
        request_bool(r, v[LOGPROBS], top, "logprobs", &c->logprobs) < 0 ||
        request_bool(r, v[PARALLEL], top, "parallel_tool_calls", &parallel) < 0 ||
        request_effort(r, v[EFFORT], SPAN("reasoning_effort")) < 0 ||
        read_format(r, v[RESPONSE_FORMAT]) < 0 ||
        request_user(r, v[SAFETY_IDENTIFIER], v[USER]) < 0 ||
        request_string(r, v[SERVICE_TIER], top, "service_tier", &c->service_tier) < 0 ||
        request_string(r, v[VERBOSITY], top, "verbosity", &c->verbosity) < 0)
        return -1;
    c->n = (unsigned)n;
    c->one_tool_at_a_time = !parallel;
    return 0;
}

int openai_chat_read_conversation(struct span body, struct arena *a, struct conversation *out,
                                  struct err *e)
{
    struct conversation c = {.bytes = body.n, .n = 1};
    struct request_reader r = {
        .arena = a, .out = &c, .e = e, .last_other = &c.others, .body_bytes = body.n};
    struct span v[FIELDS] = {0};

    if (request_body(&r, body, out->content, openai_chat_field_names, v) < 0)
        return -1;
    c.model = json_text(v[MODEL], a);
    if (request_bool(&r, v[STREAM], top, "stream", &c.stream) < 0 ||
        request_stream_options(&r, v[STREAM_OPTIONS]) < 0 ||
        request_messages(&r, v[MESSAGES]) < 0 || read_tools(&r, v[TOOLS], "tools", true) < 0 ||
        read_tools(&r, v[FUNCTIONS], "functions", false) < 0 ||
        read_choice(&r, v[TOOL_CHOICE]) < 0 || read_function_choice(&r, v[FUNCTION_CALL]) < 0 ||
        read_options(&r, v) < 0)
        return -1;
    *out = c;
    return 0;
}
