#include "providers/openai_responses.h"

#include "providers/request_top.h"

static const struct span top = {"", 0};

/* ---- tools ---- */

struct tools {
    struct request_reader *r;
    struct tool **last;
    struct tool_alias **last_alias;
};

enum tool_field { TYPE, NAME, DESCRIPTION, PARAMETERS, STRICT, FORMAT, TOOLS, TOOL_FIELDS };

static const char *const tool_fields[] = {
    "type", "name", "description", "parameters", "strict", "format", "tools", NULL,
};

/* The tool of this name, fresh: a later declaration of it stands for the earlier one. */
static struct tool *declare(struct tools *t, struct span name, struct span path)
{
    struct tool *tool = t->r->out->tools;

    while (tool != NULL && !span_eq(tool->name, name))
        tool = tool->next;
    if (tool == NULL) {
        tool = arena_zalloc(t->r->arena, sizeof(*tool));
        *t->last = tool;
        t->last = &tool->next;
    }
    *tool = (struct tool){.next = tool->next, .name = name, .path = path};
    return tool;
}

static void add_alias(struct tools *t, const struct tool *tool, struct span own, struct span space,
                      bool custom)
{
    struct arena *a = t->r->arena;
    struct tool_alias *alias = arena_zalloc(a, sizeof(*alias));

    alias->name = arena_copy(a, json_text(tool->name, a));
    alias->own = arena_copy(a, own);
    alias->space = space.n != 0 ? arena_copy(a, space) : space;
    alias->custom = custom;
    *t->last_alias = alias;
    t->last_alias = &alias->next;
}

/* A grammar cannot be enforced elsewhere, but the model can be told. */
static struct span with_grammar(struct request_reader *r, struct span description,
                                struct span format)
{
    struct span grammar = top_member(format, "definition");
    struct strbuf out;

    if (json_type_of(grammar) != JSON_STRING)
        return description;
    out = strbuf_in(r->arena, description.n + grammar.n + 128);
    raw_add_joined(&out, description.n != 0 ? description : SPAN("\"\""), true, "");
    raw_add_joined(&out, SPAN("\"The input is free text in this grammar:\\n\""), false,
                   description.n > 2 ? "\\n\\n" : "");
    raw_add_joined(&out, grammar, false, "");
    strbuf_add_char(&out, '"');
    return strbuf_span(&out);
}

/* A function or, with `custom`, a tool of free text: for providers that is a function too. */
static int read_function(struct tools *t, const struct span *v, struct span path, struct span space,
                         bool custom)
{
    struct request_reader *r = t->r;
    struct tool *tool;

    if (json_type_of(v[NAME]) != JSON_STRING || v[NAME].n <= 2)
        return request_expected_value(r, request_path(r, path, "name"), "the tool's name", v[NAME]);
    tool = declare(t, openai_responses_joined_name(r->arena, space, v[NAME]), path);
    if (request_string(r, v[DESCRIPTION], path, "description", &tool->description) < 0 ||
        request_bool(r, v[STRICT], path, "strict", &tool->strict) < 0)
        return -1;
    if (space.n > 2 || custom)
        add_alias(t, tool, v[NAME], space, custom);
    if (custom) {
        tool->description = with_grammar(r, tool->description, v[FORMAT]);
        if (json_is_string(top_member(v[FORMAT], "type"), "grammar"))
            request_other(r, request_path(r, path, "format"));
        tool->schema = SPAN("{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},"
                            "\"required\":[\"input\"],\"additionalProperties\":false}");
        return 0;
    }
    if (v[PARAMETERS].n != 0 && json_type_of(v[PARAMETERS]) != JSON_OBJECT)
        return request_expected(r, request_path(r, path, "parameters"), "a JSON Schema object",
                                v[PARAMETERS]);
    tool->schema = v[PARAMETERS];
    tool->strict_set = v[STRICT].n != 0;
    return 0;
}

static int read_list(struct tools *t, struct span raw, struct span path, struct span space);

/* Tools that the provider itself runs have no place, nor those that only its models know. */
static int read_tool(struct tools *t, struct span raw, struct span path, struct span space)
{
    struct request_reader *r = t->r;
    struct other_field **others = r->last_other;
    struct span v[TOOL_FIELDS] = {0}, type;
    bool custom;

    if (request_object(r, raw, path, tool_fields, v) < 0 ||
        request_string(r, v[TYPE], path, "type", &type) < 0)
        return -1;
    if (space.n == 0 && json_is_string(type, "namespace")) {
        if (json_type_of(v[NAME]) != JSON_STRING || v[NAME].n <= 2)
            return request_expected_value(r, request_path(r, path, "name"), "the namespace's name",
                                          v[NAME]);
        if (v[DESCRIPTION].n > 2)
            request_other(r, request_path(r, path, "description"));
        return read_list(t, v[TOOLS], request_path(r, path, "tools"), v[NAME]);
    }
    custom = json_is_string(type, "custom");
    if (!custom && !json_is_string(type, "function")) {
        r->last_other = others; /* the whole tool stands for its parts */
        *others = NULL;
        request_other(r, path);
        return 0;
    }
    return read_function(t, v, path, space, custom);
}

static int read_list(struct tools *t, struct span raw, struct span path, struct span space)
{
    struct json j = json_read(raw);

    if (raw.n == 0)
        return 0;
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(t->r, path, "an array", raw);
    for (unsigned i = 0; json_item(&j); i++)
        if (read_tool(t, json_take(&j), request_path_at(t->r, path, i), space) < 0)
            return -1;
    return 0;
}

/* Those that stand among the input's items, as agents declare them. */
static int read_added(struct tools *t, struct span input)
{
    struct request_reader *r = t->r;
    struct json j = json_read(input);

    if (!json_enter(&j, JSON_ARRAY))
        return 0;
    for (unsigned i = 0; json_item(&j); i++) {
        struct span item = json_take(&j), path = request_path_at(r, SPAN("input"), i);

        if (openai_responses_adds_tools(item) &&
            read_list(t, top_member(item, "tools"), request_path(r, path, "tools"),
                      (struct span){0}) < 0)
            return -1;
    }
    return 0;
}

/* ---- which tool ---- */

static int read_name(struct request_reader *r, struct span name, struct span path, struct span *out)
{
    if (json_type_of(name) != JSON_STRING || name.n <= 2)
        return request_expected_value(r, request_path(r, path, "name"), "the tool's name", name);
    *out = name;
    return 0;
}

static bool is_callable(struct span type)
{
    return type.n == 0 || json_is_string(type, "function") || json_is_string(type, "custom");
}

static int read_allowed(struct request_reader *r, struct span mode, struct span tools)
{
    static const char *const names[] = {"type", "name", NULL};
    struct name_list **last = &r->out->choice_allowed;
    struct json j = json_read(tools);

    r->out->choice_allowed_required = json_is_string(mode, "required");
    if (!r->out->choice_allowed_required && !json_is_string(mode, "auto"))
        return request_expected_value(r, SPAN("tool_choice.mode"), "\"auto\" or \"required\"",
                                      mode);
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, SPAN("tool_choice.tools"), "an array", tools);
    for (unsigned i = 0; json_item(&j); i++) {
        struct span at = request_path_at(r, SPAN("tool_choice.tools"), i), v[2] = {0};

        if (request_object(r, json_take(&j), at, names, v) < 0)
            return -1;
        if (!is_callable(v[0])) {
            request_other(r, at);
            continue;
        }
        *last = arena_zalloc(r->arena, sizeof(**last));
        if (read_name(r, v[1], at, &(*last)->name) < 0)
            return -1;
        last = &(*last)->next;
    }
    r->out->choice = CHOICE_ALLOWED;
    return 0;
}

static int read_choice(struct request_reader *r, struct span raw)
{
    enum { KIND, CALLED, MODE, LIST, FIELDS };
    static const char *const names[] = {"type", "name", "mode", "tools", NULL};
    struct span v[FIELDS] = {0}, path = SPAN("tool_choice");

    if (raw.n == 0)
        return 0;
    if (json_is_string(raw, "auto"))
        r->out->choice = CHOICE_AUTO;
    else if (json_is_string(raw, "none"))
        r->out->choice = CHOICE_NONE;
    else if (json_is_string(raw, "required"))
        r->out->choice = CHOICE_REQUIRED;
    else if (json_type_of(raw) != JSON_OBJECT)
        return request_expected_value(r, path, "\"auto\", \"none\", \"required\" or an object",
                                      raw);
    if (json_type_of(raw) != JSON_OBJECT)
        return 0;
    if (!is_callable(top_member(raw, "type")) &&
        !json_is_string(top_member(raw, "type"), "allowed_tools")) {
        request_other(r, path);
        return 0;
    }
    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    if (json_is_string(v[KIND], "allowed_tools"))
        return read_allowed(r, v[MODE], v[LIST]);
    r->out->choice = CHOICE_NAMED;
    return read_name(r, v[CALLED], path, &r->out->choice_name);
}

/* ---- the form of the answer ---- */

static int read_format(struct request_reader *r, struct span raw)
{
    enum { KIND, SCHEMA_NAME, ABOUT, SCHEMA, STRICT_, FIELDS };
    static const char *const names[] = {"type", "name", "description", "schema", "strict", NULL};
    struct conversation *c = r->out;
    struct span v[FIELDS] = {0}, path = SPAN("text.format");

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    if (json_is_string(v[KIND], "text")) {
        c->format = FORMAT_TEXT;
        return 0;
    }
    if (json_is_string(v[KIND], "json_object")) {
        c->format = FORMAT_JSON;
        return 0;
    }
    if (!json_is_string(v[KIND], "json_schema"))
        return request_expected_value(r, SPAN("text.format.type"),
                                      "\"text\", \"json_object\" or \"json_schema\"", v[KIND]);
    if (request_string(r, v[SCHEMA_NAME], path, "name", &c->schema_name) < 0 ||
        request_string(r, v[ABOUT], path, "description", &c->schema_description) < 0 ||
        request_bool(r, v[STRICT_], path, "strict", &c->schema_strict) < 0)
        return -1;
    if (json_type_of(v[SCHEMA]) != JSON_OBJECT)
        return request_expected(r, SPAN("text.format.schema"), "a JSON Schema object", v[SCHEMA]);
    c->schema = v[SCHEMA];
    c->format = FORMAT_SCHEMA;
    return 0;
}

static int read_text(struct request_reader *r, struct span raw)
{
    static const char *const names[] = {"format", "verbosity", NULL};
    struct span v[2] = {0}, path = SPAN("text");

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    if (request_string(r, v[1], path, "verbosity", &r->out->verbosity) < 0)
        return -1;
    return read_format(r, v[0]);
}

/* Whatever reasoning a provider shows is passed on, so a summary needs no asking for. */
static int read_reasoning(struct request_reader *r, struct span raw)
{
    static const char *const names[] = {"effort", "summary", "generate_summary", NULL};
    struct span v[3] = {0}, path = SPAN("reasoning");

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    return request_effort(r, v[0], SPAN("reasoning.effort"));
}

/* Reasoning's state always comes along. Nothing else that can be asked for here is known to another
 * provider, or survives the translation of its answer (log probabilities). */
static int read_include(struct request_reader *r, struct span raw)
{
    struct json j = json_read(raw);
    struct span path = SPAN("include");

    if (raw.n == 0)
        return 0;
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, path, "an array", raw);
    for (unsigned i = 0; json_item(&j); i++) {
        struct span item = json_take(&j);

        if (!json_is_string(item, "reasoning.encrypted_content"))
            request_other(r, request_path_at(r, path, i));
    }
    return 0;
}

/* ---- the whole ---- */

/* clang-format off */
enum field {
    MODEL, INPUT, INSTRUCTIONS, STREAM, STREAM_OPTIONS, TOOLS_, TOOL_CHOICE, PARALLEL, MAX_TOKENS,
    TEMPERATURE, TOP_P, TOP_LOGPROBS, REASONING, TEXT, SAFETY_IDENTIFIER, USER, SERVICE_TIER,
    INCLUDE, STORE, TRUNCATION, BACKGROUND, PREVIOUS, CONVERSATION, PROMPT, FIELDS
};

const char *const openai_responses_field_names[] = {
    "model", "input", "instructions", "stream", "stream_options", "tools", "tool_choice",
    "parallel_tool_calls", "max_output_tokens", "temperature", "top_p", "top_logprobs",
    "reasoning", "text", "safety_identifier", "user", "service_tier", "include", "store",
    "truncation", "background", "previous_response_id", "conversation", "prompt", NULL
};
/* clang-format on */
_Static_assert(ARRAY_LEN(openai_responses_field_names) == FIELDS + 1 && FIELDS <= 64,
               "a name for each field");

/* What this dialect calls the fields of the canonical form. */
static const struct field_name own_names[] = {
    {"reasoning_effort", "reasoning.effort"},
    {"verbosity", "text.verbosity"},
    {"response_format", "text.format"},
    {"response_format.json_schema.name", "text.format.name"},
    {"response_format.json_schema.description", "text.format.description"},
    {"response_format.json_schema.schema", "text.format.schema"},
    {"response_format.json_schema.strict", "text.format.strict"},
    {"max_tokens", "max_output_tokens"},
    {"messages", "input"},
    {NULL, NULL},
};

/* What only the provider that keeps it can go on from. */
static int refuse_state(struct request_reader *r, const struct span *v)
{
    static const enum field fields[] = {PREVIOUS, CONVERSATION, PROMPT};
    bool background = false;

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (v[fields[i]].n != 0)
            return err_set(r->e, ERR_VALUE,
                           "%s: names what is kept at one provider, expected all of it in the "
                           "request, or a target that speaks OpenAI's responses",
                           openai_responses_field_names[fields[i]]);
    if (request_bool(r, v[BACKGROUND], top, "background", &background) < 0)
        return -1;
    if (background)
        return err_set(r->e, ERR_VALUE,
                       "background: expected false, or a target that speaks OpenAI's responses");
    return 0;
}

/* Nothing is stored, and nothing truncated: who asks for it is told. */
static int read_keeping(struct request_reader *r, const struct span *v)
{
    bool store = false;

    if (request_bool(r, v[STORE], top, "store", &store) < 0)
        return -1;
    if (store)
        request_other(r, SPAN("store"));
    if (v[TRUNCATION].n != 0 && !json_is_string(v[TRUNCATION], "disabled"))
        request_other(r, SPAN("truncation"));
    return 0;
}

static int read_stream_options(struct request_reader *r, struct span raw)
{
    static const char *const names[] = {"include_obfuscation", NULL};
    struct span v[1] = {0}, path = SPAN("stream_options");
    bool obfuscation = false;

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, names, v) < 0 ||
        request_bool(r, v[0], path, names[0], &obfuscation) < 0)
        return -1;
    if (obfuscation)
        request_other(r, request_path(r, path, names[0]));
    return 0;
}

static int read_top_logprobs(struct request_reader *r, struct span raw)
{
    struct span n;

    if (request_number(r, raw, top, "top_logprobs", &n) < 0)
        return -1;
    if (n.n != 0 && !span_is(n, "0"))
        request_other(r, SPAN("top_logprobs"));
    return 0;
}

static int read_options(struct request_reader *r, const struct span *v)
{
    struct conversation *c = r->out;
    bool parallel = true;

    if (request_number(r, v[TEMPERATURE], top, "temperature", &c->temperature) < 0 ||
        request_number(r, v[TOP_P], top, "top_p", &c->top_p) < 0 ||
        read_top_logprobs(r, v[TOP_LOGPROBS]) < 0 ||
        request_count(r, v[MAX_TOKENS], SPAN("max_output_tokens"), INT64_MAX,
                      "a whole number of tokens, at least 1", &c->max_tokens) < 0 ||
        request_bool(r, v[PARALLEL], top, "parallel_tool_calls", &parallel) < 0 ||
        read_reasoning(r, v[REASONING]) < 0 || read_text(r, v[TEXT]) < 0 ||
        read_include(r, v[INCLUDE]) < 0 || read_keeping(r, v) < 0 ||
        request_user(r, v[SAFETY_IDENTIFIER], v[USER]) < 0 ||
        request_string(r, v[SERVICE_TIER], top, "service_tier", &c->service_tier) < 0)
        return -1;
    c->max_tokens_path = c->max_tokens != 0 ? SPAN("max_output_tokens") : (struct span){0};
    c->one_tool_at_a_time = !parallel;
    return 0;
}

int openai_responses_read_conversation(struct span body, struct arena *a, struct conversation *out,
                                       struct err *e)
{
    struct conversation c = {.bytes = body.n, .n = 1, .usage_asked = true, .names = own_names};
    struct request_reader r = {
        .arena = a, .out = &c, .e = e, .last_other = &c.others, .body_bytes = body.n};
    struct tools tools = {.r = &r, .last = &c.tools, .last_alias = &c.tool_aliases};
    struct span v[FIELDS] = {0};

    if (request_body(&r, body, out->content, openai_responses_field_names, v) < 0)
        return -1;
    c.model = json_text(v[MODEL], a);
    if (refuse_state(&r, v) < 0 || request_bool(&r, v[STREAM], top, "stream", &c.stream) < 0 ||
        read_stream_options(&r, v[STREAM_OPTIONS]) < 0 ||
        openai_responses_read_input(&r, v[INSTRUCTIONS], v[INPUT]) < 0 ||
        read_list(&tools, v[TOOLS_], SPAN("tools"), (struct span){0}) < 0 ||
        read_added(&tools, v[INPUT]) < 0 || read_choice(&r, v[TOOL_CHOICE]) < 0 ||
        read_options(&r, v) < 0)
        return -1;
    *out = c;
    return 0;
}
