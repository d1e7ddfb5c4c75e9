#include "providers/gemini_in.h"
/* ---- lists ---- */

bool gemini_list_begin(struct gemini_list *l, struct span raw, struct span path)
{
    *l = (struct gemini_list){.j = json_read(raw), .path = path};
    l->list = json_enter(&l->j, JSON_ARRAY);
    if (!l->list)
        l->only = raw;
    return l->list || json_type_of(raw) == JSON_OBJECT;
}

bool gemini_list_next(struct gemini_list *l, struct request_reader *r, struct span *item,
                      struct span *path)
{
    if (!l->list) {
        *item = l->only;
        *path = l->path;
        l->only = (struct span){0};
        return item->n != 0;
    }
    if (!json_item(&l->j))
        return false;
    *item = json_take(&l->j);
    *path = request_path_at(r, l->path, l->i++);
    return true;
}

/* ---- tools ---- */

static int read_function(struct request_reader *r, struct span raw, struct span path,
                         struct tool *tool)
{
    enum { NAME, DESCRIPTION, PARAMETERS, SCHEMA, FIELDS };
    static const char *const names[] = {"name", "description", "parameters", "parametersJsonSchema",
                                        NULL};
    struct span v[FIELDS] = {0};

    tool->path = path;
    if (request_object(r, raw, path, names, v) < 0 ||
        request_string(r, v[NAME], path, "name", &tool->name) < 0 ||
        request_string(r, v[DESCRIPTION], path, "description", &tool->description) < 0)
        return -1;
    if (tool->name.n <= 2)
        return request_expected_value(r, request_path(r, path, "name"), "the function's name",
                                      v[NAME]);
    for (unsigned f = PARAMETERS; f <= SCHEMA; f++)
        if (v[f].n != 0 && json_type_of(v[f]) != JSON_OBJECT)
            return request_expected(r, request_path(r, path, names[f]), "a schema, an object",
                                    v[f]);
    if (v[SCHEMA].n != 0) {
        tool->schema = v[SCHEMA];
        if (v[PARAMETERS].n != 0)
            request_other(r, request_path(r, path, names[PARAMETERS]));
    } else if (v[PARAMETERS].n != 0) {
        tool->schema =
            gemini_read_schema(r, v[PARAMETERS], request_path(r, path, names[PARAMETERS]));
    }
    return 0;
}

static int read_functions(struct request_reader *r, struct span raw, struct span path,
                          struct tool ***last)
{
    struct gemini_list l;
    struct span item, at;

    if (!gemini_list_begin(&l, raw, path))
        return request_expected(r, path, "an array", raw);
    while (gemini_list_next(&l, r, &item, &at)) {
        **last = arena_zalloc(r->arena, sizeof(***last));
        if (read_function(r, item, at, **last) < 0)
            return -1;
        *last = &(**last)->next;
    }
    return 0;
}

/* What the provider itself runs has no place; an empty object asks for it too. */
static int read_tool(struct request_reader *r, struct span raw, struct span path,
                     struct tool ***last)
{
    struct json j = json_read(raw);
    struct span key;
    bool seen = false;

    if (!json_enter(&j, JSON_OBJECT))
        return request_expected(r, path, "an object", raw);
    while (json_member(&j, &key)) {
        bool functions = gemini_is_name(key, "functionDeclarations");
        struct span at = request_path_of(r, path, key), value = json_take(&j);

        if (json_type_of(value) == JSON_NULL)
            continue;
        if (!functions) {
            request_other(r, at);
            continue;
        }
        if (seen)
            return err_set(r->e, ERR_VALUE, "%.*s: stands twice in the request, expected once",
                           SPAN_ARG(at));
        seen = true;
        if (read_functions(r, value, request_path(r, path, "functionDeclarations"), last) < 0)
            return -1;
    }
    return 0;
}

static int read_tools(struct request_reader *r, struct span raw)
{
    struct tool **last = &r->out->tools;
    struct gemini_list l;
    struct span item, at;

    if (raw.n == 0)
        return 0;
    if (!gemini_list_begin(&l, raw, SPAN("tools")))
        return request_expected(r, SPAN("tools"), "an array", raw);
    while (gemini_list_next(&l, r, &item, &at))
        if (read_tool(r, item, at, &last) < 0)
            return -1;
    return 0;
}

/* ---- which tool ---- */

static int read_allowed(struct request_reader *r, struct span raw, struct span path, unsigned *n)
{
    struct name_list **last = &r->out->choice_allowed;
    struct json j = json_read(raw);

    *n = 0;
    if (raw.n == 0)
        return 0;
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, path, "an array of names", raw);
    for (; json_item(&j); (*n)++) {
        struct span name = json_take(&j);

        if (json_type_of(name) != JSON_STRING || name.n <= 2)
            return request_expected_value(r, request_path_at(r, path, *n), "a function's name",
                                          name);
        *last = arena_zalloc(r->arena, sizeof(**last));
        (*last)->name = name;
        last = &(*last)->next;
    }
    return 0;
}

static bool is_word(struct span raw, const char *word, struct arena *a)
{
    return span_is_nocase(json_text(raw, a), word);
}

static int read_calling(struct request_reader *r, struct span raw, struct span path)
{
    enum { MODE, ALLOWED, FIELDS };
    static const char *const names[] = {"mode", "allowedFunctionNames", NULL};
    struct conversation *c = r->out;
    struct span v[FIELDS] = {0}, at = request_path(r, path, "mode");
    bool any;
    unsigned n;

    if (request_object(r, raw, path, names, v) < 0 ||
        read_allowed(r, v[ALLOWED], request_path(r, path, names[ALLOWED]), &n) < 0)
        return -1;
    any = is_word(v[MODE], "ANY", r->arena);
    if (is_word(v[MODE], "NONE", r->arena)) {
        c->choice = CHOICE_NONE;
        if (n != 0)
            request_other(r, request_path(r, path, names[ALLOWED]));
        return 0;
    }
    if (is_word(v[MODE], "VALIDATED", r->arena))
        request_other(r, at); /* that calls keep to their schemas is not promised elsewhere */
    else if (!any && v[MODE].n != 0 && !is_word(v[MODE], "AUTO", r->arena) &&
             !is_word(v[MODE], "MODE_UNSPECIFIED", r->arena))
        return request_expected_value(r, at, "AUTO, ANY, NONE or VALIDATED", v[MODE]);
    if (n == 1 && any) {
        c->choice = CHOICE_NAMED;
        c->choice_name = c->choice_allowed->name;
    } else if (n != 0) {
        c->choice = CHOICE_ALLOWED;
        c->choice_allowed_required = any;
    } else if (v[MODE].n != 0) {
        c->choice = any ? CHOICE_REQUIRED : CHOICE_AUTO;
    }
    return 0;
}

static int read_tool_config(struct request_reader *r, struct span raw)
{
    static const char *const names[] = {"functionCallingConfig", NULL};
    struct span path = SPAN("toolConfig"), calling = {0};

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, names, &calling) < 0)
        return -1;
    return calling.n != 0 ? read_calling(r, calling, request_path(r, path, names[0])) : 0;
}

/* ---- generationConfig ---- */

static const struct span config_path = SPAN("generationConfig");

/* clang-format off */
enum config_field {
    TEMPERATURE, TOP_P, TOP_K, MAX_TOKENS, STOP, CANDIDATES, SEED, PRESENCE, FREQUENCY, MIME,
    SCHEMA, JSON_SCHEMA, THINKING, MODALITIES, CONFIG_FIELDS
};

static const char *const config_names[] = {
    "temperature", "topP", "topK", "maxOutputTokens", "stopSequences", "candidateCount", "seed",
    "presencePenalty", "frequencyPenalty", "responseMimeType", "responseSchema",
    "responseJsonSchema", "thinkingConfig", "responseModalities", NULL
};
/* clang-format on */
_Static_assert(ARRAY_LEN(config_names) == CONFIG_FIELDS + 1, "a name for each field");

static struct span config_field_path(struct request_reader *r, enum config_field f)
{
    return request_path(r, config_path, config_names[f]);
}

static int read_numbers(struct request_reader *r, const struct span *v)
{
    struct conversation *c = r->out;
    struct {
        enum config_field field;
        struct span *out;
    } const numbers[] = {
        {TEMPERATURE, &c->temperature},   {TOP_P, &c->top_p}, {TOP_K, &c->top_k},
        {PRESENCE, &c->presence_penalty}, {SEED, &c->seed},   {FREQUENCY, &c->frequency_penalty},
    };

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (request_number(r, v[numbers[i].field], config_path, config_names[numbers[i].field],
                           numbers[i].out) < 0)
            return -1;
    return 0;
}

static int read_count(struct request_reader *r, const struct span *v, enum config_field f,
                      int64_t max, const char *what, uint64_t *out)
{
    int64_t n;

    if (v[f].n == 0)
        return 0;
    if (!json_to_i64(v[f], &n) || n < 1 || n > max)
        return request_expected_value(r, config_field_path(r, f), what, v[f]);
    *out = (uint64_t)n;
    return 0;
}

static int read_stop(struct request_reader *r, struct span raw)
{
    struct span path = config_field_path(r, STOP);
    struct json j = json_read(raw);

    if (raw.n == 0)
        return 0;
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, path, "an array of strings", raw);
    for (unsigned i = 0; json_item(&j); i++) {
        struct span item = json_take(&j);

        if (json_type_of(item) != JSON_STRING)
            return request_expected(r, request_path_at(r, path, i), "a string", item);
        r->out->stop = raw; /* an empty list is none */
    }
    return 0;
}

static int read_format(struct request_reader *r, const struct span *v)
{
    struct conversation *c = r->out;
    struct span mime = v[MIME];

    for (enum config_field f = SCHEMA; f <= JSON_SCHEMA; f++)
        if (v[f].n != 0 && json_type_of(v[f]) != JSON_OBJECT)
            return request_expected(r, config_field_path(r, f), "a schema, an object", v[f]);
    if (mime.n != 0 && json_type_of(mime) != JSON_STRING)
        return request_expected(r, config_field_path(r, MIME), "a string", mime);
    if (json_is_string(mime, "text/plain") ||
        (mime.n <= 2 && v[SCHEMA].n + v[JSON_SCHEMA].n == 0)) {
        c->format = mime.n > 2 ? FORMAT_TEXT : FORMAT_UNSET;
        for (enum config_field f = SCHEMA; f <= JSON_SCHEMA; f++)
            if (v[f].n != 0)
                request_other(r, config_field_path(r, f));
        return 0;
    }
    if (mime.n > 2 && !json_is_string(mime, "application/json")) { /* text/x.enum */
        for (enum config_field f = MIME; f <= JSON_SCHEMA; f++)
            if (v[f].n != 0)
                request_other(r, config_field_path(r, f));
        return 0;
    }
    c->format = v[SCHEMA].n + v[JSON_SCHEMA].n != 0 ? FORMAT_SCHEMA : FORMAT_JSON;
    if (v[JSON_SCHEMA].n != 0) {
        c->schema = v[JSON_SCHEMA];
        if (v[SCHEMA].n != 0)
            request_other(r, config_field_path(r, SCHEMA));
    } else if (v[SCHEMA].n != 0) {
        c->schema = gemini_read_schema(r, v[SCHEMA], config_field_path(r, SCHEMA));
    }
    return 0;
}

/* The nearest word for a budget of tokens, by Google's own table (see budget_of in gemini.c). */
static enum effort effort_of(int64_t budget, bool *exact)
{
    static const struct {
        int64_t budget, up_to;
        enum effort effort;
    } rows[] = {
        {0, 0, EFFORT_NONE},          {512, 768, EFFORT_MINIMAL},      {1024, 4096, EFFORT_LOW},
        {8192, 16384, EFFORT_MEDIUM}, {24576, INT64_MAX, EFFORT_HIGH},
    };
    size_t i = 0;

    while (budget > rows[i].up_to)
        i++;
    *exact = budget == rows[i].budget;
    return rows[i].effort;
}

static int read_thinking(struct request_reader *r, struct span raw)
{
    enum { BUDGET, LEVEL, SHOWN, FIELDS };
    static const char *const names[] = {"thinkingBudget", "thinkingLevel", "includeThoughts", NULL};
    static const struct {
        const char *name;
        enum effort effort;
    } levels[] = {
        {"THINKING_LEVEL_UNSPECIFIED", EFFORT_UNSET},
        {"MINIMAL", EFFORT_MINIMAL},
        {"LOW", EFFORT_LOW},
        {"MEDIUM", EFFORT_MEDIUM},
        {"HIGH", EFFORT_HIGH},
    };
    struct span v[FIELDS] = {0}, path = config_field_path(r, THINKING);
    bool shown = false, exact = true;
    size_t i = 0;
    int64_t budget = -1;

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, names, v) < 0 ||
        request_bool(r, v[SHOWN], path, names[SHOWN], &shown) < 0)
        return -1;
    if (v[BUDGET].n != 0 && !json_to_i64(v[BUDGET], &budget))
        return request_expected_value(r, request_path(r, path, names[BUDGET]),
                                      "a whole number of tokens, or -1", v[BUDGET]);
    while (v[LEVEL].n != 0 && i < ARRAY_LEN(levels) && !is_word(v[LEVEL], levels[i].name, r->arena))
        i++;
    if (i == ARRAY_LEN(levels))
        return request_expected_value(r, request_path(r, path, names[LEVEL]),
                                      "MINIMAL, LOW, MEDIUM or HIGH", v[LEVEL]);
    if (v[LEVEL].n != 0)
        r->out->effort = levels[i].effort;
    else if (budget >= 0)
        r->out->effort = effort_of(budget, &exact);
    if (!exact || (budget < 0 && v[BUDGET].n != 0)) /* -1: as the model likes */
        request_other(r, request_path(r, path, names[BUDGET]));
    /* Whoever reasons shows it; but nobody is told to begin with it by that alone. */
    if (shown && r->out->effort == EFFORT_UNSET)
        request_other(r, request_path(r, path, names[SHOWN]));
    return 0;
}

/* Text is what there is without it. */
static int read_modalities(struct request_reader *r, struct span raw)
{
    struct span path = config_field_path(r, MODALITIES);
    struct json j = json_read(raw);
    bool more = false;

    if (raw.n == 0)
        return 0;
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, path, "an array", raw);
    while (json_item(&j))
        more |= !is_word(json_take(&j), "TEXT", r->arena);
    if (more)
        request_other(r, path);
    return 0;
}

static int read_config(struct request_reader *r, struct span raw)
{
    static const char tokens[] = "a whole number of tokens, at least 1";
    struct conversation *c = r->out;
    struct span v[CONFIG_FIELDS] = {0};
    uint64_t n = 1;

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, config_path, config_names, v) < 0 || read_numbers(r, v) < 0 ||
        read_count(r, v, MAX_TOKENS, INT64_MAX, tokens, &c->max_tokens) < 0 ||
        read_count(r, v, CANDIDATES, GEMINI_CHOICES, "a whole number, 1 to 8", &n) < 0 ||
        read_stop(r, v[STOP]) < 0 || read_format(r, v) < 0 || read_thinking(r, v[THINKING]) < 0 ||
        read_modalities(r, v[MODALITIES]) < 0)
        return -1;
    c->n = (unsigned)n;
    if (c->max_tokens != 0)
        c->max_tokens_path = config_field_path(r, MAX_TOKENS);
    return 0;
}

/* ---- the whole ---- */

/* clang-format off */
enum field { CONTENTS, SYSTEM, TOOLS, TOOL_CONFIG, CONFIG, CACHED, MODEL, FIELDS };

const char *const gemini_field_names[] = {
    "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "cachedContent",
    "model", NULL
};
/* clang-format on */
_Static_assert(ARRAY_LEN(gemini_field_names) == FIELDS + 1, "a name for each field");

/* What our writers call a field, and what clients of this dialect do. */
static const struct field_name names[] = {
    {"messages", "contents"},
    {"temperature", "generationConfig.temperature"},
    {"top_p", "generationConfig.topP"},
    {"top_k", "generationConfig.topK"},
    {"max_tokens", "generationConfig.maxOutputTokens"},
    {"stop", "generationConfig.stopSequences"},
    {"n", "generationConfig.candidateCount"},
    {"seed", "generationConfig.seed"},
    {"presence_penalty", "generationConfig.presencePenalty"},
    {"frequency_penalty", "generationConfig.frequencyPenalty"},
    {"reasoning_effort", "generationConfig.thinkingConfig"},
    {"response_format", "generationConfig.responseMimeType"},
    {"response_format.json_schema", "generationConfig.responseSchema"},
    {"response_format.json_schema.schema", "generationConfig.responseSchema"},
    {"tool_choice", "toolConfig.functionCallingConfig"},
    {".signature", ".thoughtSignature"},
    {".filename", ".displayName"},
    {0},
};

int gemini_read_conversation(struct span body, struct arena *a, struct conversation *out,
                             struct err *e)
{
    struct conversation c = {.bytes = body.n,
                             .n = 1,
                             .model = out->model,
                             .stream = out->stream,
                             .usage_asked = true,
                             .names = names};
    struct request_reader r = {.arena = a,
                               .out = &c,
                               .e = e,
                               .last_other = &c.others,
                               .body_bytes = body.n,
                               .snake = true};
    struct span v[FIELDS] = {0};

    if (request_body(&r, body, out->content, gemini_field_names, v) < 0 ||
        gemini_read_contents(&r, v[SYSTEM], v[CONTENTS]) < 0 || read_tools(&r, v[TOOLS]) < 0 ||
        read_tool_config(&r, v[TOOL_CONFIG]) < 0 || read_config(&r, v[CONFIG]) < 0)
        return -1;
    if (v[CACHED].n != 0)
        return gemini_refuse_bound(&r, span_of(gemini_field_names[CACHED]));
    *out = c;
    return 0;
}
