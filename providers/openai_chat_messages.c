#include "providers/openai_chat_conversation.h"

/* Where the next part of a message goes. */
struct parts {
    struct part **last;
};

static struct part *add_part(struct request_reader *r, struct parts *to, enum part_kind kind,
                             struct span path)
{
    struct part *p = arena_zalloc(r->arena, sizeof(*p));

    p->kind = kind;
    p->path = path;
    *to->last = p;
    to->last = &p->next;
    return p;
}

void request_pin(struct request_reader *r, struct span path)
{
    if (r->out->pinned)
        return;
    r->out->pinned = true;
    r->out->pinned_by = path;
}

/* ---- parts of content ---- */

int request_url(struct request_reader *r, struct span raw, struct span path, struct part *p)
{
    struct span text = json_text(raw, r->arena);

    if (json_type_of(raw) == JSON_STRING && request_is_web_url(text)) {
        p->url = raw;
        return 0;
    }
    if (request_data_url(r, text, &p->mime, &p->data))
        return 0;
    return request_expected(r, path, "an http(s) URL or a data: URL with a media type and base64",
                            raw);
}

/* {"url": "...", "detail": "..."}; some send the URL alone. */
static int read_image(struct request_reader *r, struct span raw, struct span path, struct part *p)
{
    static const char *const names[] = {"url", "detail", NULL};
    struct span v[2] = {0};

    if (json_type_of(raw) == JSON_STRING)
        return request_url(r, raw, path, p);
    p->within = path;
    if (request_object(r, raw, path, names, v) < 0 ||
        request_string(r, v[1], path, "detail", &p->detail) < 0)
        return -1;
    return request_url(r, v[0], request_path(r, path, "url"), p);
}

/* Mistral's: the data alone; its first bytes tell what it is. */
static int read_bare_audio(struct request_reader *r, struct span raw, struct span path,
                           struct part *p)
{
    bool base64 = request_base64(r, json_text(raw, r->arena), &p->data);

    if (base64 && span_starts(p->data, "UklGR")) /* "RIFF" */
        p->mime = SPAN("audio/wav");
    else if (base64 && (span_starts(p->data, "SUQz") || span_starts(p->data, "//"))) /* ID3, sync */
        p->mime = SPAN("audio/mp3");
    else
        return request_expected(r, path, "an object, or wav or mp3 in base64", raw);
    return 0;
}

int request_audio(struct request_reader *r, struct span raw, struct span path, struct part *p)
{
    static const char *const names[] = {"data", "format", NULL};
    struct span v[2] = {0}, data, format;

    if (json_type_of(raw) == JSON_STRING)
        return read_bare_audio(r, raw, path, p);
    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    data = json_text(v[0], r->arena);
    format = json_text(v[1], r->arena);
    if (format.n == 0 || format.n > 32 ||
        strspn(arena_strdup(r->arena, format), "abcdefghijklmnopqrstuvwxyz0123456789") != format.n)
        return request_expected_value(r, request_path(r, path, "format"),
                                      "a format such as \"wav\" or \"mp3\"", v[1]);
    p->mime = span_of(arena_printf(r->arena, "audio/%.*s", SPAN_ARG(format)));
    if (!request_base64(r, data, &p->data))
        return request_expected(r, request_path(r, path, "data"), "base64", v[0]);
    return 0;
}

static int read_file(struct request_reader *r, struct span raw, struct span path, struct part *p)
{
    enum { FILENAME, DATA, ID, FIELDS };
    static const char *const names[] = {"filename", "file_data", "file_id", NULL};
    struct span v[FIELDS] = {0};

    p->within = path;
    if (request_object(r, raw, path, names, v) < 0 ||
        request_string(r, v[FILENAME], path, "filename", &p->name) < 0 ||
        request_string(r, v[ID], path, "file_id", &p->file_id) < 0)
        return -1;
    if (v[DATA].n != 0)
        return request_url(r, v[DATA], request_path(r, path, "file_data"), p);
    if (p->file_id.n == 0)
        return request_expected(r, request_path(r, path, "file_data"), "file_data or file_id",
                                v[DATA]);
    request_pin(r, request_path(r, path, "file_id"));
    return 0;
}

/* Mistral's: a list of texts. */
static int read_thinking(struct request_reader *r, struct span raw, struct span path,
                         struct part *p)
{
    static const char *const names[] = {"type", "text", NULL};
    struct json j = json_read(raw);
    struct strbuf text;
    bool first = true;

    if (json_type_of(raw) == JSON_STRING) {
        p->text = raw;
        return 0;
    }
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, path, "a string or an array of texts", raw);
    text = strbuf_in(r->arena, raw.n + 2);
    for (unsigned i = 0; json_item(&j); i++) {
        struct span at = request_path_at(r, path, i), v[2] = {0}, piece;

        if (request_object(r, json_take(&j), at, names, v) < 0 ||
            request_string(r, v[1], at, "text", &piece) < 0)
            return -1;
        if (piece.n == 0) {
            request_other(r, at);
            continue;
        }
        raw_add_joined(&text, piece, first, "");
        first = false;
    }
    if (first)
        strbuf_add_char(&text, '"');
    strbuf_add_char(&text, '"');
    p->text = strbuf_span(&text);
    return 0;
}

enum part_field {
    TYPE,
    TEXT,
    IMAGE_URL,
    VIDEO_URL,
    INPUT_AUDIO,
    FILE_,
    REFUSAL,
    THINKING,
    CACHE,
    PART_FIELDS
};

static const char *const part_fields[] = {
    "type", "text",    "image_url", "video_url",     "input_audio",
    "file", "refusal", "thinking",  "cache_control", NULL,
};

/* What each type of part holds, and where. */
static const struct {
    const char *type;
    enum part_kind kind;
    enum part_field field;
    int (*read)(struct request_reader *r, struct span raw, struct span path, struct part *p);
} part_types[] = {
    {"text", PART_TEXT, TEXT, NULL},
    {"image_url", PART_IMAGE, IMAGE_URL, read_image},
    {"input_audio", PART_AUDIO, INPUT_AUDIO, request_audio},
    {"file", PART_DOCUMENT, FILE_, read_file},
    {"refusal", PART_REFUSAL, REFUSAL, NULL},
    {"video_url", PART_VIDEO, VIDEO_URL, read_image},
    {"thinking", PART_REASONING, THINKING, read_thinking},
};

static int read_part(struct request_reader *r, struct json *j, struct span path, struct parts *to)
{
    struct other_field **others = r->last_other;
    struct span v[PART_FIELDS] = {0}, raw, at;
    struct part *p;
    size_t i = 0;

    if (request_object_at(r, j, path, part_fields, v) < 0)
        return -1;
    if (json_type_of(v[TYPE]) != JSON_STRING)
        return request_expected(r, request_path(r, path, "type"), "the part's type, a string",
                                v[TYPE]);
    while (i < ARRAY_LEN(part_types) && !json_is_string(v[TYPE], part_types[i].type))
        i++;
    if (i == ARRAY_LEN(part_types)) {
        r->last_other = others; /* the whole part stands for its fields */
        *others = NULL;
        request_other(r, path);
        return 0;
    }
    for (enum part_field f = TEXT; f < CACHE; f++)
        if (f != part_types[i].field && v[f].n != 0)
            request_other(r, request_path(r, path, part_fields[f]));
    p = add_part(r, to, part_types[i].kind, path);
    p->cache = v[CACHE];
    at = request_path(r, path, part_fields[part_types[i].field]);
    raw = v[part_types[i].field];
    if (part_types[i].read != NULL)
        return part_types[i].read(r, raw, at, p);
    if (json_type_of(raw) != JSON_STRING)
        return request_expected(r, at, "a string", raw);
    p->text = raw;
    return 0;
}

/* `path` is the message's: a plain string is its only part. */
static int read_content(struct request_reader *r, struct span raw, struct span path,
                        struct parts *to)
{
    struct span at = request_path(r, path, "content");
    struct json j = json_read(raw);

    if (json_type_of(raw) == JSON_STRING) {
        add_part(r, to, PART_TEXT, at)->text = raw;
        return 0;
    }
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, at, "a string or an array of parts", raw);
    for (unsigned i = 0; json_item(&j); i++)
        if (read_part(r, &j, request_path_at(r, at, i), to) < 0)
            return -1;
    return 0;
}

/* ---- reasoning ---- */

struct detail {
    struct detail *next;
    struct strbuf text; /* raw string under construction; len == 0: none */
    struct span data;   /* raw: of reasoning.encrypted */
    struct span signature, index, format;
    struct span path;
};

static struct span origin_of(struct span format)
{
    if (json_is_string(format, "anthropic-claude-v1"))
        return SPAN("anthropic_messages");
    if (json_is_string(format, "openai-responses-v1"))
        return SPAN("openai_responses");
    if (json_is_string(format, "google-gemini-v1"))
        return SPAN("gemini");
    return (struct span){0}; /* nobody whose state we could give back */
}

/* Clients that gather a stream may keep each piece of a text: neighbours with the same index are
 * one, up to the signature. */
static int read_detail(struct request_reader *r, struct span raw, struct span path,
                       struct detail **last)
{
    enum { KIND, BODY, SUMMARY, DATA, SIGNATURE, FORMAT, INDEX, ID, FIELDS };
    static const char *const names[] = {"type",   "text",  "summary", "data", "signature",
                                        "format", "index", "id",      NULL};
    struct span v[FIELDS] = {0}, text, data, signature, summary;
    struct detail *d = *last;

    if (request_object(r, raw, path, names, v) < 0 ||
        request_string(r, v[BODY], path, "text", &text) < 0 ||
        request_string(r, v[SUMMARY], path, "summary", &summary) < 0 ||
        request_string(r, v[DATA], path, "data", &data) < 0 ||
        request_string(r, v[SIGNATURE], path, "signature", &signature) < 0)
        return -1;
    if (text.n == 0)
        text = summary;
    if (text.n == 0 && data.n == 0 && signature.n == 0) {
        request_other(r, path);
        return 0;
    }
    if (d == NULL || d->data.n != 0 || data.n != 0 || d->signature.n != 0 ||
        !span_eq(d->index, v[INDEX])) {
        struct detail *fresh = arena_zalloc(r->arena, sizeof(*fresh));

        fresh->text = strbuf_in(r->arena, r->body_bytes + 2);
        fresh->path = path;
        fresh->index = v[INDEX];
        if (d != NULL)
            d->next = fresh;
        d = *last = fresh;
    }
    if (text.n != 0)
        raw_add_joined(&d->text, text, d->text.len == 0, "");
    d->data = data;
    d->signature = signature;
    d->format = v[FORMAT];
    return 0;
}

static int read_details(struct request_reader *r, struct span raw, struct span path,
                        struct detail **out)
{
    struct json j = json_read(raw);
    struct detail *last = NULL;

    if (raw.n == 0)
        return 0;
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, path, "an array", raw);
    for (unsigned i = 0; json_item(&j); i++) {
        if (read_detail(r, json_take(&j), request_path_at(r, path, i), &last) < 0)
            return -1;
        if (*out == NULL)
            *out = last;
    }
    for (struct detail *d = *out; d != NULL; d = d->next)
        if (d->text.len != 0)
            strbuf_add_char(&d->text, '"');
    return 0;
}

/* The visible text may stand in the details, beside them, or in both. A signature without a text is
 * for the text beside it; of several such, nobody knows which signs what, so none is kept. */
static void put_reasoning(struct request_reader *r, struct detail *details, struct span beside,
                          struct span path, struct parts *to)
{
    unsigned texts = 0, bare = 0;
    bool blank = beside.n <= 2;

    for (const struct detail *d = details; d != NULL; d = d->next) {
        texts += d->text.len != 0;
        bare += d->text.len == 0 && d->data.n == 0;
    }
    if (!blank && texts == 0 && bare != 1)
        add_part(r, to, PART_REASONING, path)->text = beside;
    for (const struct detail *d = details; d != NULL; d = d->next) {
        struct part *p;

        if (d->text.len == 0 && d->data.n == 0 && bare > 1 && texts == 0 && !blank) {
            request_other(r, d->path);
            continue;
        }
        p = add_part(r, to, PART_REASONING, d->path);
        p->signature = d->data.n != 0 ? d->data : d->signature;
        if (p->signature.n != 0)
            p->origin = origin_of(d->format);
        if (d->text.len != 0)
            p->text = strbuf_span(&d->text);
        else if (d->data.n == 0)
            p->text = texts == 0 && !blank ? beside : SPAN("\"\"");
    }
}

static int read_reasoning(struct request_reader *r, struct span content, struct span plain,
                          struct span raw_details, struct span path, struct parts *to)
{
    struct span beside, other;
    struct detail *details = NULL;

    if (content.n == 0 && plain.n == 0 && raw_details.n == 0)
        return 0;
    if (request_string(r, content, path, "reasoning_content", &beside) < 0 ||
        request_string(r, plain, path, "reasoning", &other) < 0 ||
        read_details(r, raw_details, request_path(r, path, "reasoning_details"), &details) < 0)
        return -1;
    if (beside.n == 0)
        beside = other;
    else if (other.n > 2 && !span_eq(beside, other))
        request_other(r, request_path(r, path, "reasoning"));
    put_reasoning(r, details, beside,
                  request_path(r, path, content.n != 0 ? "reasoning_content" : "reasoning"), to);
    return 0;
}

/* ---- tool calls ---- */

static struct span trim(struct span text)
{
    while (text.n > 0 && strchr(" \t\r\n", text.p[text.n - 1]) != NULL && text.p[text.n - 1] != 0)
        text.n--;
    while (text.n > 0 && strchr(" \t\r\n", *text.p) != NULL && *text.p != 0)
        text = (struct span){text.p + 1, text.n - 1};
    return text;
}

int request_arguments(struct request_reader *r, struct span raw, struct span path, struct part *p)
{
    struct span text = trim(json_text(raw, r->arena));

    if (json_type_of(raw) == JSON_OBJECT) { /* some send what stands in it */
        p->arguments = raw;
        return 0;
    }
    if (raw.n != 0 && json_type_of(raw) != JSON_STRING)
        return request_expected(r, path, "a string with a JSON object", raw);
    if (text.n == 0 || span_is(text, "null"))
        p->arguments = SPAN("{}");
    else if (json_type_of(text) == JSON_OBJECT && json_valid(text))
        p->arguments = text;
    else
        p->text = raw;
    return 0;
}

static int read_call_signature(struct request_reader *r, struct span raw, struct span path,
                               struct part *p)
{
    static const char *const makers[] = {"google", NULL};
    static const char *const names[] = {"thought_signature", NULL};
    struct span google = {0}, signature = {0};

    if (raw.n == 0)
        return 0;
    if (request_object(r, raw, path, makers, &google) < 0)
        return -1;
    path = request_path(r, path, "google");
    if (google.n == 0)
        return 0;
    if (request_object(r, google, path, names, &signature) < 0 ||
        request_string(r, signature, path, names[0], &p->signature) < 0)
        return -1;
    if (p->signature.n != 0)
        p->origin = SPAN("gemini");
    return 0;
}

/* The name and the arguments; free text of a custom tool is kept as what is no JSON object. */
static int read_called(struct request_reader *r, struct span raw, struct span path, bool custom,
                       struct part *p)
{
    const char *const names[] = {"name", custom ? "input" : "arguments", NULL};
    struct span v[2] = {0}, at;

    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    if (json_type_of(v[0]) != JSON_STRING || v[0].n <= 2)
        return request_expected(r, request_path(r, path, "name"), "the function's name", v[0]);
    p->name = v[0];
    at = request_path(r, path, names[1]);
    if (!custom)
        return request_arguments(r, v[1], at, p);
    if (json_type_of(v[1]) != JSON_STRING)
        return request_expected(r, at, "a string", v[1]);
    p->text = v[1];
    return 0;
}

static int read_call(struct request_reader *r, struct json *j, struct span path, struct parts *to)
{
    enum { ID, KIND, FUNCTION, CUSTOM, EXTRA, INDEX, CACHE_, FIELDS };
    static const char *const names[] = {
        "id", "type", "function", "custom", "extra_content", "index", "cache_control", NULL};
    struct span v[FIELDS] = {0};
    struct part *p = add_part(r, to, PART_TOOL_CALL, path);
    bool custom;

    if (request_object_at(r, j, path, names, v) < 0)
        return -1;
    if (json_type_of(v[ID]) != JSON_STRING)
        return request_expected(r, request_path(r, path, "id"), "the call's id, a string", v[ID]);
    p->id = v[ID];
    p->cache = v[CACHE_];
    custom = json_is_string(v[KIND], "custom");
    if (custom)
        request_other(r, request_path(r, path, "type"));
    else if (v[KIND].n != 0 && !json_is_string(v[KIND], "function"))
        return request_expected_value(r, request_path(r, path, "type"),
                                      "\"function\" or \"custom\"", v[KIND]);
    if (read_called(r, v[custom ? CUSTOM : FUNCTION],
                    request_path(r, path, names[custom ? CUSTOM : FUNCTION]), custom, p) < 0)
        return -1;
    return read_call_signature(r, v[EXTRA], request_path(r, path, "extra_content"), p);
}

static int read_calls(struct request_reader *r, struct span raw, struct span path, struct parts *to)
{
    struct json j = json_read(raw);

    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, path, "an array", raw);
    for (unsigned i = 0; json_item(&j); i++)
        if (read_call(r, &j, request_path_at(r, path, i), to) < 0)
            return -1;
    return 0;
}

/* The form before tool_calls: the result names the function, so the id is ours. */
static int read_function_call(struct request_reader *r, struct span raw, struct span path,
                              unsigned message, struct parts *to)
{
    struct part *p = add_part(r, to, PART_TOOL_CALL, path);

    if (read_called(r, raw, path, false, p) < 0)
        return -1;
    p->id = span_of(arena_printf(r->arena, "\"call_message_%u\"", message));
    r->call_id = p->id;
    r->call_name = p->name;
    return 0;
}

/* ---- messages ---- */

enum message_field {
    ROLE,
    CONTENT,
    NAME,
    TOOL_CALLS,
    TOOL_CALL_ID,
    FUNCTION_CALL,
    SAID_REFUSAL,
    REASONING_CONTENT,
    REASONING,
    REASONING_DETAILS,
    MESSAGE_CACHE,
    AUDIO,
    MESSAGE_FIELDS
};

static const char *const message_fields[] = {
    "role",         "content",           "name",          "tool_calls",
    "tool_call_id", "function_call",     "refusal",       "reasoning_content",
    "reasoning",    "reasoning_details", "cache_control", "audio",
    NULL,
};

static int read_assistant(struct request_reader *r, const struct span *v, struct span path,
                          unsigned index, struct parts *to)
{
    struct span refusal;

    if (read_reasoning(r, v[REASONING_CONTENT], v[REASONING], v[REASONING_DETAILS], path, to) < 0)
        return -1;
    if (v[CONTENT].n != 0 && read_content(r, v[CONTENT], path, to) < 0)
        return -1;
    if (request_string(r, v[SAID_REFUSAL], path, "refusal", &refusal) < 0)
        return -1;
    if (refusal.n != 0)
        add_part(r, to, PART_REFUSAL, request_path(r, path, "refusal"))->text = refusal;
    if (v[AUDIO].n != 0) { /* {"id": "..."}: what it said lives at the provider */
        request_other(r, request_path(r, path, "audio"));
        request_pin(r, request_path(r, path, "audio"));
    }
    if (v[TOOL_CALLS].n != 0 &&
        read_calls(r, v[TOOL_CALLS], request_path(r, path, "tool_calls"), to) < 0)
        return -1;
    if (v[FUNCTION_CALL].n == 0)
        return 0;
    return read_function_call(r, v[FUNCTION_CALL], request_path(r, path, "function_call"), index,
                              to);
}

/* The result of a call; its content may be missing. */
static int read_result(struct request_reader *r, const struct span *v, struct span path,
                       struct span id, struct parts *to)
{
    struct part *p = add_part(r, to, PART_TOOL_RESULT, path);
    struct parts inner = {.last = &p->inner};

    p->id = id;
    return v[CONTENT].n != 0 ? read_content(r, v[CONTENT], path, &inner) : 0;
}

static int read_tool_message(struct request_reader *r, const struct span *v, struct span path,
                             struct parts *to)
{
    if (json_type_of(v[TOOL_CALL_ID]) != JSON_STRING)
        return request_expected(r, request_path(r, path, "tool_call_id"),
                                "the id of the call, a string", v[TOOL_CALL_ID]);
    return read_result(r, v, path, v[TOOL_CALL_ID], to);
}

static int read_function_message(struct request_reader *r, const struct span *v, struct span path,
                                 struct parts *to)
{
    if (r->call_id.n == 0 || !span_eq(r->call_name, v[NAME]))
        return request_expected_value(r, request_path(r, path, "name"),
                                      "the name of the function_call before it", v[NAME]);
    return read_result(r, v, path, r->call_id, to);
}

/* Fields that only other roles have. */
static void note_strays(struct request_reader *r, const struct span *v, struct span path,
                        enum role role)
{
    for (enum message_field f = TOOL_CALLS; f < MESSAGE_FIELDS; f++) {
        bool at_home =
            f == MESSAGE_CACHE || (f == TOOL_CALL_ID ? role == ROLE_TOOL : role == ROLE_ASSISTANT);

        if (v[f].n != 0 && !at_home)
            request_other(r, request_path(r, path, message_fields[f]));
    }
}

static int read_role(struct request_reader *r, struct span raw, struct span path, enum role *out)
{
    static const struct {
        const char *name;
        enum role role;
    } roles[] = {
        {"system", ROLE_SYSTEM},       {"developer", ROLE_DEVELOPER}, {"user", ROLE_USER},
        {"assistant", ROLE_ASSISTANT}, {"tool", ROLE_TOOL},           {"function", ROLE_TOOL},
    };

    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (json_is_string(raw, roles[i].name)) {
            *out = roles[i].role;
            return 0;
        }
    return request_expected_value(r, request_path(r, path, "role"),
                                  "system, developer, user, assistant, tool or function", raw);
}

static int read_parts(struct request_reader *r, const struct span *v, struct span path,
                      unsigned index, enum role role, struct parts *to)
{
    if (role == ROLE_ASSISTANT)
        return read_assistant(r, v, path, index, to);
    if (json_is_string(v[ROLE], "function"))
        return read_function_message(r, v, path, to);
    if (role == ROLE_TOOL)
        return read_tool_message(r, v, path, to);
    return read_content(r, v[CONTENT], path, to);
}

/* A hint on the message is one on its last part. */
static void put_cache(struct request_reader *r, struct span raw, struct span path,
                      struct message *m)
{
    struct part *last = m->parts;
    struct span at;

    if (raw.n == 0)
        return;
    at = request_path(r, path, "cache_control");
    while (last != NULL && last->next != NULL)
        last = last->next;
    if (last != NULL && last->cache.n == 0) {
        last->cache = raw;
        last->cache_path = at;
    } else {
        request_other(r, at);
    }
}

static int read_message(struct request_reader *r, struct json *j, unsigned index, struct message *m)
{
    struct span v[MESSAGE_FIELDS] = {0};
    struct parts parts = {.last = &m->parts};

    m->path = request_path_at(r, SPAN("messages"), index);
    if (request_object_at(r, j, m->path, message_fields, v) < 0 ||
        read_role(r, v[ROLE], m->path, &m->role) < 0 ||
        request_string(r, v[NAME], m->path, "name", &m->name) < 0)
        return -1;
    note_strays(r, v, m->path, m->role);
    if (read_parts(r, v, m->path, index, m->role, &parts) < 0)
        return -1;
    put_cache(r, v[MESSAGE_CACHE], m->path, m);
    return 0;
}

int request_messages(struct request_reader *r, struct span raw)
{
    struct message **last = &r->out->messages;
    struct json j = json_read(raw);

    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, SPAN("messages"), "an array with at least one message", raw);
    for (unsigned i = 0; json_item(&j); i++) {
        *last = arena_zalloc(r->arena, sizeof(**last));
        if (read_message(r, &j, i, *last) < 0)
            return -1;
        last = &(*last)->next;
    }
    return 0;
}
