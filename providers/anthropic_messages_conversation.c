#include "providers/anthropic_messages.h"
#include "providers/openai_chat_conversation.h"

static const struct span top = {"", 0};

/* ---- tools ---- */

/* The tool of that name among those that can be said to others. */
static bool is_declared(struct request_reader *r, struct span name)
{
    struct span wanted = json_text(name, r->arena);

    for (const struct tool *t = r->out->tools; t != NULL; t = t->next)
        if (span_eq(json_text(t->name, r->arena), wanted))
            return true;
    return false;
}

/* Of a type of its own (web_search_20250305, bash_20250124) it has no schema: Claude knows it. */
static int read_tool(struct request_reader *r, struct span raw, struct span path, struct tool **out)
{
    enum { TYPE, NAME, DESCRIPTION, SCHEMA, STRICT, CACHE, FIELDS };
    static const char *const names[] = {"type",   "name",          "description", "input_schema",
                                        "strict", "cache_control", NULL};
    struct other_field **others = r->last_other;
    struct span v[FIELDS] = {0};
    struct tool *tool;

    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    if (v[TYPE].n != 0 && !json_is_string(v[TYPE], "custom")) {
        r->last_other = others; /* the whole tool stands for its parts */
        *others = NULL;
        request_other(r, path);
        return 0;
    }
    tool = arena_zalloc(r->arena, sizeof(*tool));
    tool->path = path;
    tool->cache = v[CACHE];
    if (request_string(r, v[NAME], path, "name", &tool->name) < 0 ||
        request_string(r, v[DESCRIPTION], path, "description", &tool->description) < 0 ||
        request_bool(r, v[STRICT], path, "strict", &tool->strict) < 0)
        return -1;
    if (tool->name.n <= 2)
        return request_expected_value(r, request_path(r, path, "name"), "the tool's name", v[NAME]);
    if (v[SCHEMA].n != 0 && json_type_of(v[SCHEMA]) != JSON_OBJECT)
        return request_expected(r, request_path(r, path, "input_schema"), "a JSON Schema object",
                                v[SCHEMA]);
    tool->schema = v[SCHEMA];
    tool->strict_set = v[STRICT].n != 0;
    *out = tool;
    return 0;
}

static int read_tools(struct request_reader *r, struct span raw)
{
    struct tool **last = &r->out->tools;
    struct json j = json_read(raw);

    if (raw.n == 0)
        return 0;
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, SPAN("tools"), "an array", raw);
    for (unsigned i = 0; json_item(&j); i++) {
        if (read_tool(r, json_take(&j), request_path_at(r, SPAN("tools"), i), last) < 0)
            return -1;
        if (*last != NULL)
            last = &(*last)->next;
    }
    return 0;
}

static int read_choice(struct request_reader *r, struct span raw)
{
    enum { TYPE, NAME, ONE, FIELDS };
    static const char *const names[] = {"type", "name", "disable_parallel_tool_use", NULL};
    struct conversation *c = r->out;
    struct span v[FIELDS] = {0}, path = SPAN("tool_choice");

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, names, v) < 0 ||
        request_bool(r, v[ONE], path, names[ONE], &c->one_tool_at_a_time) < 0)
        return -1;
    if (json_is_string(v[TYPE], "auto")) {
        c->choice = CHOICE_AUTO;
    } else if (json_is_string(v[TYPE], "any")) {
        c->choice = CHOICE_REQUIRED;
    } else if (json_is_string(v[TYPE], "none")) {
        c->choice = CHOICE_NONE;
    } else if (!json_is_string(v[TYPE], "tool")) {
        return request_expected_value(r, request_path(r, path, "type"),
                                      "\"auto\", \"any\", \"tool\" or \"none\"", v[TYPE]);
    } else if (json_type_of(v[NAME]) != JSON_STRING) {
        return request_expected(r, request_path(r, path, "name"), "the tool's name", v[NAME]);
    } else if (c->tools != NULL && !is_declared(r, v[NAME])) {
        request_other(r, path); /* it went with its tool */
    } else {
        c->choice = CHOICE_NAMED;
        c->choice_name = v[NAME];
    }
    return 0;
}

/* ---- thinking, and the form of the answer ---- */

static enum effort effort_of(struct span raw)
{
    static const struct {
        const char *name;
        enum effort effort;
    } efforts[] = {
        {"low", EFFORT_LOW},     {"medium", EFFORT_MEDIUM}, {"high", EFFORT_HIGH},
        {"xhigh", EFFORT_XHIGH}, {"max", EFFORT_XHIGH},
    };

    for (size_t i = 0; i < ARRAY_LEN(efforts); i++)
        if (json_is_string(raw, efforts[i].name))
            return efforts[i].effort;
    return EFFORT_UNSET;
}

/* The nearest word for a budget; the budget itself is named as what was not said. */
static int read_budget(struct request_reader *r, struct span raw)
{
    int64_t n;

    if (!json_to_i64(raw, &n) || n < 1)
        return request_expected_value(r, SPAN("thinking.budget_tokens"),
                                      "a whole number of tokens, at least 1", raw);
    r->out->effort = n < 4096 ? EFFORT_LOW : n < 16384 ? EFFORT_MEDIUM : EFFORT_HIGH;
    request_other(r, SPAN("thinking.budget_tokens"));
    return 0;
}

/* "adaptive" leaves it to the model how long it thinks, and so does the middle of the words. */
static int read_thinking(struct request_reader *r, struct span raw, struct span effort)
{
    enum { TYPE, BUDGET, DISPLAY, FIELDS };
    static const char *const names[] = {"type", "budget_tokens", "display", NULL};
    struct conversation *c = r->out;
    struct span v[FIELDS] = {0}, path = SPAN("thinking"),
                effort_path = SPAN("output_config.effort");

    c->effort = effort_of(effort);
    if (effort.n != 0 && c->effort == EFFORT_UNSET)
        request_other(r, effort_path);
    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    if (json_is_string(v[TYPE], "disabled")) {
        if (c->effort != EFFORT_UNSET)
            request_other(r, effort_path);
        c->effort = EFFORT_NONE;
        return 0;
    }
    if (v[DISPLAY].n != 0 && !json_is_string(v[DISPLAY], "summarized"))
        request_other(r, request_path(r, path, "display"));
    if (json_is_string(v[TYPE], "adaptive")) {
        if (c->effort == EFFORT_UNSET)
            c->effort = EFFORT_MEDIUM;
        return 0;
    }
    if (!json_is_string(v[TYPE], "enabled"))
        return request_expected_value(r, request_path(r, path, "type"),
                                      "\"enabled\", \"adaptive\" or \"disabled\"", v[TYPE]);
    if (c->effort == EFFORT_UNSET)
        return read_budget(r, v[BUDGET]);
    if (v[BUDGET].n != 0)
        request_other(r, request_path(r, path, "budget_tokens"));
    return 0;
}

static int read_format(struct request_reader *r, struct span raw, struct span path)
{
    enum { TYPE, SCHEMA, NAME, FIELDS };
    static const char *const names[] = {"type", "schema", "name", NULL};
    struct conversation *c = r->out;
    struct span v[FIELDS] = {0};

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    if (!json_is_string(v[TYPE], "json_schema"))
        return request_expected_value(r, request_path(r, path, "type"), "\"json_schema\"", v[TYPE]);
    if (json_type_of(v[SCHEMA]) != JSON_OBJECT)
        return request_expected(r, request_path(r, path, "schema"), "a JSON Schema object",
                                v[SCHEMA]);
    c->format = FORMAT_SCHEMA;
    c->schema = v[SCHEMA];
    return 0;
}

static int read_output(struct request_reader *r, struct span config, struct span format,
                       struct span *effort)
{
    enum { EFFORT, FORMAT, FIELDS };
    static const char *const names[] = {"effort", "format", NULL};
    struct span v[FIELDS] = {0}, path = SPAN("output_config");

    if (config.n != 0 && request_object(r, config, path, names, v) < 0)
        return -1;
    *effort = v[EFFORT];
    if (v[FORMAT].n != 0 && format.n != 0) {
        request_other(r, SPAN("output_format")); /* the form of before */
        format = (struct span){0};
    }
    return v[FORMAT].n != 0 ? read_format(r, v[FORMAT], request_path(r, path, "format"))
                            : read_format(r, format, SPAN("output_format"));
}

/* ---- single fields ---- */

static int read_max_tokens(struct request_reader *r, struct span raw)
{
    int64_t n;

    if (raw.n == 0)
        return 0; /* others do without */
    if (!json_to_i64(raw, &n) || n < 1)
        return request_expected_value(r, SPAN("max_tokens"), "a whole number of tokens, at least 1",
                                      raw);
    r->out->max_tokens = (uint64_t)n;
    r->out->max_tokens_path = SPAN("max_tokens");
    return 0;
}

static int read_stop(struct request_reader *r, struct span raw)
{
    struct json j = json_read(raw);

    if (raw.n == 0)
        return 0;
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, SPAN("stop_sequences"), "an array of strings", raw);
    for (unsigned i = 0; json_item(&j); i++) {
        struct span item = json_take(&j);

        if (json_type_of(item) != JSON_STRING)
            return request_expected(r, request_path_at(r, SPAN("stop_sequences"), i), "a string",
                                    item);
        r->out->stop = raw; /* an empty list is none */
    }
    return 0;
}

static int read_metadata(struct request_reader *r, struct span raw)
{
    static const char *const names[] = {"user_id", NULL};
    struct span user = {0}, path = SPAN("metadata");

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, names, &user) < 0 ||
        request_string(r, user, path, names[0], &r->out->user) < 0)
        return -1;
    r->out->user_path = SPAN("metadata.user_id");
    return 0;
}

/* "standard_only" is what others call the default; "auto" is the same word there. */
static int read_tier(struct request_reader *r, struct span raw)
{
    if (request_string(r, raw, top, "service_tier", &r->out->service_tier) < 0)
        return -1;
    if (json_is_string(raw, "standard_only"))
        r->out->service_tier = SPAN("\"default\"");
    return 0;
}

/* ---- the whole ---- */

/* clang-format off */
enum field {
    MODEL, MESSAGES, SYSTEM, MAX_TOKENS, STREAM, TEMPERATURE, TOP_P, TOP_K, STOP_SEQUENCES, TOOLS,
    TOOL_CHOICE, THINKING, OUTPUT_CONFIG, OUTPUT_FORMAT, METADATA, SERVICE_TIER, FIELDS
};

const char *const anthropic_field_names[] = {
    "model", "messages", "system", "max_tokens", "stream", "temperature", "top_p", "top_k",
    "stop_sequences", "tools", "tool_choice", "thinking", "output_config", "output_format",
    "metadata", "service_tier", NULL
};
/* clang-format on */
_Static_assert(ARRAY_LEN(anthropic_field_names) == FIELDS + 1 && FIELDS <= 64,
               "a name for each field");

/* How these clients call what the writers name. */
#define NAMES(effort, format)                                                                      \
    {                                                                                              \
        {"stop", "stop_sequences"}, {"user", "metadata.user_id"},                                  \
            {"parallel_tool_calls", "tool_choice.disable_parallel_tool_use"},                      \
            {"reasoning_effort", effort}, {"response_format", format},                             \
            {"response_format.json_schema.schema", format ".schema"},                              \
            {".parameters", ".input_schema"}, {".filename", ".title"},                             \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

static const struct field_name *names_for(bool thinking, bool older_format)
{
    static const struct field_name names[2][2][9] = {
        {NAMES("output_config.effort", "output_config.format"),
         NAMES("output_config.effort", "output_format")},
        {NAMES("thinking", "output_config.format"), NAMES("thinking", "output_format")},
    };

    return names[thinking][older_format];
}

static int read_numbers(struct request_reader *r, const struct span *v)
{
    return request_number(r, v[TEMPERATURE], top, "temperature", &r->out->temperature) < 0 ||
                   request_number(r, v[TOP_P], top, "top_p", &r->out->top_p) < 0 ||
                   request_number(r, v[TOP_K], top, "top_k", &r->out->top_k) < 0
               ? -1
               : 0;
}

int anthropic_read_conversation(struct span body, struct arena *a, struct conversation *out,
                                struct err *e)
{
    struct conversation c = {.bytes = body.n, .n = 1, .usage_asked = true};
    struct request_reader r = {
        .arena = a, .out = &c, .e = e, .last_other = &c.others, .body_bytes = body.n};
    struct span v[FIELDS] = {0}, effort = {0};

    if (request_body(&r, body, out->content, anthropic_field_names, v) < 0)
        return -1;
    c.model = json_text(v[MODEL], a);
    c.names = names_for(v[THINKING].n != 0, v[OUTPUT_FORMAT].n != 0);
    if (request_bool(&r, v[STREAM], top, "stream", &c.stream) < 0 ||
        anthropic_read_messages(&r, v[MESSAGES]) < 0 || anthropic_read_system(&r, v[SYSTEM]) < 0 ||
        read_tools(&r, v[TOOLS]) < 0 || read_choice(&r, v[TOOL_CHOICE]) < 0 ||
        read_output(&r, v[OUTPUT_CONFIG], v[OUTPUT_FORMAT], &effort) < 0 ||
        read_thinking(&r, v[THINKING], effort) < 0 || read_max_tokens(&r, v[MAX_TOKENS]) < 0 ||
        read_stop(&r, v[STOP_SEQUENCES]) < 0 || read_numbers(&r, v) < 0 ||
        read_metadata(&r, v[METADATA]) < 0 || read_tier(&r, v[SERVICE_TIER]) < 0)
        return -1;
    *out = c;
    return 0;
}
