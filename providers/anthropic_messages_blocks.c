#include "providers/anthropic_messages.h"
#include "providers/openai_chat_conversation.h"

/* A list of parts being read, and what waits for the next call. */
struct blocks {
    struct request_reader *r;
    struct part **last;
    bool inside; /* a tool's result */
    bool results;
    struct span call_state, call_origin; /* of the block of thinking before it */
};

static struct part *add_part(struct blocks *b, enum part_kind kind, struct span path)
{
    struct part *p = arena_zalloc(b->r->arena, sizeof(*p));

    p->kind = kind;
    p->path = path;
    *b->last = p;
    b->last = &p->next;
    return p;
}

static void add_text(struct blocks *b, struct span raw, struct span path, struct span cache)
{
    struct part *p;

    if (raw.n == 0)
        return;
    p = add_part(b, PART_TEXT, path);
    p->text = raw;
    p->cache = cache;
}

static void bind_to_provider(struct blocks *b, struct span path)
{
    if (b->r->out->pinned)
        return;
    b->r->out->pinned = true;
    b->r->out->pinned_by = path;
}

/* Texts with an empty line between them, as one raw string; empty where there is none. */
static struct span join(struct blocks *b, const struct span *raws, size_t n)
{
    struct strbuf out = strbuf_in(b->r->arena, b->r->body_bytes + 8 * n + 8);
    bool first = true;

    for (size_t i = 0; i < n; i++) {
        if (raws[i].n <= 2)
            continue;
        raw_add_joined(&out, raws[i], first, "\\n\\n");
        first = false;
    }
    if (first)
        return (struct span){0};
    strbuf_add_char(&out, '"');
    return strbuf_span(&out);
}

static int read_list(struct blocks *b, struct span raw, struct span path);

/* ---- text ---- */

static int read_text(struct blocks *b, struct span raw, struct span path)
{
    enum { TYPE, TEXT, CACHE, FIELDS };
    static const char *const names[] = {"type", "text", "cache_control", NULL};
    struct span v[FIELDS] = {0};

    if (request_object(b->r, raw, path, names, v) < 0)
        return -1;
    if (json_type_of(v[TEXT]) != JSON_STRING)
        return request_expected(b->r, request_path(b->r, path, "text"), "a string", v[TEXT]);
    add_text(b, v[TEXT], path, v[CACHE]);
    return 0;
}

/* What a search brought, as the model would read it. */
static int read_search_result(struct blocks *b, struct span raw, struct span path)
{
    enum { TYPE, TITLE, SOURCE, CONTENT, CITATIONS, CACHE, FIELDS };
    static const char *const names[] = {"type",      "title",         "source", "content",
                                        "citations", "cache_control", NULL};
    struct span v[FIELDS] = {0}, head[2], at;

    if (request_object(b->r, raw, path, names, v) < 0 ||
        request_string(b->r, v[TITLE], path, "title", &head[0]) < 0 ||
        request_string(b->r, v[SOURCE], path, "source", &head[1]) < 0)
        return -1;
    add_text(b, join(b, head, 2), path, v[CACHE]);
    if (json_type_of(top_member(v[CITATIONS], "enabled")) == JSON_TRUE)
        request_other(b->r, request_path(b->r, path, "citations"));
    at = request_path(b->r, path, "content");
    return v[CONTENT].n != 0 ? read_list(b, v[CONTENT], at) : 0;
}

/* The name of a tool that a search among tools found: it is declared with all others. */
static int read_tool_reference(struct blocks *b, struct span raw, struct span path)
{
    enum { TYPE, NAME, CACHE, FIELDS };
    static const char *const names[] = {"type", "tool_name", "cache_control", NULL};
    struct span v[FIELDS] = {0}, name;

    if (request_object(b->r, raw, path, names, v) < 0 ||
        request_string(b->r, v[NAME], path, "tool_name", &name) < 0)
        return -1;
    add_text(b, name, path, v[CACHE]);
    return 0;
}

/* The sum of an older part of the conversation, in words. */
static int read_compaction(struct blocks *b, struct span raw, struct span path)
{
    enum { TYPE, CONTENT, CACHE, FIELDS };
    static const char *const names[] = {"type", "content", "cache_control", NULL};
    struct span v[FIELDS] = {0}, text;

    if (request_object(b->r, raw, path, names, v) < 0 ||
        request_string(b->r, v[CONTENT], path, "content", &text) < 0)
        return -1;
    add_text(b, text, path, v[CACHE]);
    return 0;
}

/* ---- media ---- */

enum source_field { TYPE_, MEDIA_TYPE, DATA, URL, FILE_ID, CONTENT_, SOURCE_FIELDS };

static const char *const source_fields[] = {"type",    "media_type", "data", "url",
                                            "file_id", "content",    NULL};

/* {"type": "base64" | "url" | "file" | ...}; *v: its fields. */
static int read_source(struct blocks *b, struct span raw, struct span path, struct part *p,
                       struct span *v)
{
    struct request_reader *r = b->r;

    p->within = path;
    if (request_object(r, raw, path, source_fields, v) < 0)
        return -1;
    if (json_is_string(v[TYPE_], "base64")) {
        p->mime = json_text(v[MEDIA_TYPE], r->arena);
        if (!request_base64(r, json_text(v[DATA], r->arena), &p->data))
            return request_expected(r, request_path(r, path, "data"), "base64", v[DATA]);
        for (size_t i = 0; i < p->mime.n; i++)
            if (p->mime.p[i] <= ' ' || p->mime.p[i] >= 0x7f || strchr("\"\\", p->mime.p[i]) != NULL)
                p->mime.n = 0;
        if (p->mime.n == 0)
            return request_expected_value(r, request_path(r, path, "media_type"),
                                          "a media type such as image/png", v[MEDIA_TYPE]);
        return 0;
    }
    if (json_is_string(v[TYPE_], "url")) {
        if (!request_is_web_url(json_text(v[URL], r->arena)))
            return request_expected(r, request_path(r, path, "url"), "an http(s) URL", v[URL]);
        p->url = v[URL];
        return 0;
    }
    if (json_is_string(v[TYPE_], "file")) {
        if (request_string(r, v[FILE_ID], path, "file_id", &p->file_id) < 0)
            return -1;
        if (p->file_id.n == 0)
            return request_expected(r, request_path(r, path, "file_id"), "a file's id", v[FILE_ID]);
        p->origin = SPAN("anthropic_messages");
        bind_to_provider(b, request_path(r, path, "file_id"));
        return 0;
    }
    return request_expected_value(r, request_path(r, path, "type"),
                                  "a type of source that is known", v[TYPE_]);
}

static int read_image(struct blocks *b, struct span raw, struct span path)
{
    enum { TYPE, SOURCE, CACHE, FIELDS };
    static const char *const names[] = {"type", "source", "cache_control", NULL};
    struct span v[FIELDS] = {0}, source[SOURCE_FIELDS] = {0};
    struct part *p;

    if (request_object(b->r, raw, path, names, v) < 0)
        return -1;
    p = add_part(b, PART_IMAGE, path);
    p->cache = v[CACHE];
    return read_source(b, v[SOURCE], request_path(b->r, path, "source"), p, source);
}

/* A document in words is told in words: title and context, then the text or the parts. */
static int read_words(struct blocks *b, struct span source, struct span path, struct span title,
                      struct span context, struct span cache)
{
    struct span v[SOURCE_FIELDS] = {0}, texts[3] = {title, context};

    if (request_object(b->r, source, path, source_fields, v) < 0)
        return -1;
    if (json_is_string(v[TYPE_], "text")) {
        if (json_type_of(v[DATA]) != JSON_STRING)
            return request_expected(b->r, request_path(b->r, path, "data"), "a string", v[DATA]);
        texts[2] = v[DATA];
        add_text(b, join(b, texts, 3), path, cache);
        return 0;
    }
    add_text(b, join(b, texts, 2), path, cache);
    return read_list(b, v[CONTENT_], request_path(b->r, path, "content"));
}

static int read_document(struct blocks *b, struct span raw, struct span path)
{
    enum { TYPE, SOURCE, TITLE, CONTEXT, CITATIONS, CACHE, FIELDS };
    static const char *const names[] = {"type",      "source",        "title", "context",
                                        "citations", "cache_control", NULL};
    struct request_reader *r = b->r;
    struct span v[FIELDS] = {0}, source[SOURCE_FIELDS] = {0}, title, context, at, type;
    struct part *p;

    if (request_object(r, raw, path, names, v) < 0 ||
        request_string(r, v[TITLE], path, "title", &title) < 0 ||
        request_string(r, v[CONTEXT], path, "context", &context) < 0)
        return -1;
    if (json_type_of(top_member(v[CITATIONS], "enabled")) == JSON_TRUE)
        request_other(r, request_path(r, path, "citations"));
    at = request_path(r, path, "source");
    type = top_member(v[SOURCE], "type");
    if (json_is_string(type, "text") || json_is_string(type, "content"))
        return read_words(b, v[SOURCE], at, title, context, v[CACHE]);
    add_text(b, context, request_path(r, path, "context"), (struct span){0});
    p = add_part(b, PART_DOCUMENT, path);
    p->name = title;
    p->cache = v[CACHE];
    if (read_source(b, v[SOURCE], at, p, source) < 0)
        return -1;
    p->within = path; /* the title stands there */
    return 0;
}

/* ---- thinking ---- */

static void add_reasoning(struct blocks *b, struct span path, struct span text, struct span state)
{
    struct anthropic_carried carried;
    struct part *p;

    if (!anthropic_carried(state, b->r->arena, &carried)) {
        carried.origin = SPAN("anthropic_messages");
        carried.state = state;
    } else if (carried.of_call) {
        b->call_state = carried.state;
        b->call_origin = carried.origin;
        return;
    }
    p = add_part(b, PART_REASONING, path);
    p->text = text;
    p->signature = carried.state;
    p->origin = carried.origin;
}

static int read_thinking(struct blocks *b, struct span raw, struct span path)
{
    enum { TYPE, TEXT, SIGNATURE, FIELDS };
    static const char *const names[] = {"type", "thinking", "signature", NULL};
    struct span v[FIELDS] = {0}, text, signature;

    if (request_object(b->r, raw, path, names, v) < 0 ||
        request_string(b->r, v[TEXT], path, "thinking", &text) < 0 ||
        request_string(b->r, v[SIGNATURE], path, "signature", &signature) < 0)
        return -1;
    add_reasoning(b, path, text.n != 0 ? text : SPAN("\"\""), signature);
    return 0;
}

static int read_redacted(struct blocks *b, struct span raw, struct span path)
{
    enum { TYPE, DATA_, FIELDS };
    static const char *const names[] = {"type", "data", NULL};
    struct span v[FIELDS] = {0}, data;

    if (request_object(b->r, raw, path, names, v) < 0 ||
        request_string(b->r, v[DATA_], path, "data", &data) < 0)
        return -1;
    add_reasoning(b, path, (struct span){0}, data);
    return 0;
}

/* ---- tools ---- */

static int read_tool_use(struct blocks *b, struct span raw, struct span path)
{
    enum { TYPE, ID, NAME, INPUT, CACHE, CALLER, FIELDS };
    static const char *const names[] = {"type",          "id",     "name", "input",
                                        "cache_control", "caller", NULL};
    struct request_reader *r = b->r;
    struct span v[FIELDS] = {0};
    struct part *p;

    if (request_object(r, raw, path, names, v) < 0)
        return -1;
    if (json_type_of(v[ID]) != JSON_STRING)
        return request_expected(r, request_path(r, path, "id"), "the call's id, a string", v[ID]);
    if (json_type_of(v[NAME]) != JSON_STRING || v[NAME].n <= 2)
        return request_expected(r, request_path(r, path, "name"), "the tool's name", v[NAME]);
    if (v[INPUT].n != 0 && json_type_of(v[INPUT]) != JSON_OBJECT)
        return request_expected(r, request_path(r, path, "input"), "an object", v[INPUT]);
    if (v[CALLER].n != 0 && !json_is_string(top_member(v[CALLER], "type"), "direct"))
        request_other(r, request_path(r, path, "caller"));
    p = add_part(b, PART_TOOL_CALL, path);
    p->id = v[ID];
    p->name = v[NAME];
    p->arguments = v[INPUT].n != 0 ? v[INPUT] : SPAN("{}");
    p->cache = v[CACHE];
    p->signature = b->call_state;
    p->origin = b->call_origin;
    b->call_state = b->call_origin = (struct span){0};
    return 0;
}

static int read_tool_result(struct blocks *b, struct span raw, struct span path)
{
    enum { TYPE, ID, CONTENT, IS_ERROR, CACHE, FIELDS };
    static const char *const names[] = {"type",     "tool_use_id",   "content",
                                        "is_error", "cache_control", NULL};
    struct span v[FIELDS] = {0};
    struct blocks inner;
    struct part *p;

    if (request_object(b->r, raw, path, names, v) < 0)
        return -1;
    if (json_type_of(v[ID]) != JSON_STRING)
        return request_expected(b->r, request_path(b->r, path, "tool_use_id"),
                                "the id of the call, a string", v[ID]);
    p = add_part(b, PART_TOOL_RESULT, path);
    b->results = true;
    p->id = v[ID];
    p->cache = v[CACHE];
    if (request_bool(b->r, v[IS_ERROR], path, "is_error", &p->is_error) < 0)
        return -1;
    inner = (struct blocks){.r = b->r, .last = &p->inner, .inside = true};
    return v[CONTENT].n != 0 ? read_list(&inner, v[CONTENT], request_path(b->r, path, "content"))
                             : 0;
}

/* ---- blocks ---- */

/* `outside`: only in a message, not in a tool's result. */
static const struct {
    const char *type;
    int (*read)(struct blocks *b, struct span raw, struct span path);
    bool outside;
} kinds[] = {
    {"text", read_text, false},
    {"image", read_image, false},
    {"document", read_document, false},
    {"search_result", read_search_result, false},
    {"tool_reference", read_tool_reference, false},
    {"thinking", read_thinking, true},
    {"redacted_thinking", read_redacted, true},
    {"tool_use", read_tool_use, true},
    {"tool_result", read_tool_result, true},
    {"compaction", read_compaction, true},
};

/* What a provider's own tools did (server_tool_use, their results, mcp) has no place elsewhere. */
static int read_block(struct blocks *b, struct span raw, struct span path)
{
    struct span type = top_member(raw, "type");

    if (json_type_of(raw) != JSON_OBJECT)
        return request_expected(b->r, path, "an object", raw);
    if (json_type_of(type) != JSON_STRING)
        return request_expected(b->r, request_path(b->r, path, "type"),
                                "the block's type, a string", type);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (json_is_string(type, kinds[i].type) && !(b->inside && kinds[i].outside))
            return kinds[i].read(b, raw, path);
    request_other(b->r, path);
    return 0;
}

static int read_list(struct blocks *b, struct span raw, struct span path)
{
    struct json j = json_read(raw);

    if (json_type_of(raw) == JSON_STRING) {
        add_text(b, raw, path, (struct span){0});
        return 0;
    }
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(b->r, path, "a string or an array of blocks", raw);
    for (unsigned i = 0; json_item(&j); i++)
        if (read_block(b, json_take(&j), request_path_at(b->r, path, i)) < 0)
            return -1;
    return 0;
}

/* ---- messages ---- */

static int read_role(struct request_reader *r, struct span raw, struct span path, enum role *out)
{
    if (json_is_string(raw, "user"))
        *out = ROLE_USER;
    else if (json_is_string(raw, "assistant"))
        *out = ROLE_ASSISTANT;
    else if (json_is_string(raw, "system")) /* Claude Code, between the turns */
        *out = ROLE_SYSTEM;
    else
        return request_expected_value(r, request_path(r, path, "role"), "user, assistant or system",
                                      raw);
    return 0;
}

static int read_message(struct request_reader *r, struct json *j, unsigned index, struct message *m)
{
    enum { ROLE, CONTENT, FIELDS };
    static const char *const names[] = {"role", "content", NULL};
    struct span v[FIELDS] = {0};
    struct blocks b = {.r = r, .last = &m->parts};

    m->path = request_path_at(r, SPAN("messages"), index);
    if (request_object_at(r, j, m->path, names, v) < 0 ||
        read_role(r, v[ROLE], m->path, &m->role) < 0 ||
        read_list(&b, v[CONTENT], request_path(r, m->path, "content")) < 0)
        return -1;
    if (m->role == ROLE_USER && b.results) /* no word of the user's begins here */
        m->role = ROLE_TOOL;
    return 0;
}

/* Of some nothing is left for others. */
int anthropic_read_messages(struct request_reader *r, struct span raw)
{
    struct message **last = &r->out->messages;
    struct json j = json_read(raw);

    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, SPAN("messages"), "an array with at least one message", raw);
    for (unsigned i = 0; json_item(&j); i++) {
        *last = arena_zalloc(r->arena, sizeof(**last));
        if (read_message(r, &j, i, *last) < 0)
            return -1;
        if ((*last)->parts != NULL)
            last = &(*last)->next;
        else
            *last = NULL;
    }
    return 0;
}

/* ---- the system prompt ---- */

/* The line by which Claude Code tells Anthropic whose bill it is. It differs from request to
 * request, and in front of the prompt it would spoil every other provider's cache. */
static bool is_attribution(const struct part *p)
{
    return span_starts(p->text, "\"x-anthropic-billing-header:");
}

int anthropic_read_system(struct request_reader *r, struct span raw)
{
    struct message *m = arena_zalloc(r->arena, sizeof(*m));
    struct blocks b = {.r = r, .last = &m->parts};

    if (raw.n == 0)
        return 0;
    m->role = ROLE_SYSTEM;
    m->path = SPAN("system");
    if (read_list(&b, raw, m->path) < 0)
        return -1;
    while (m->parts != NULL && m->parts->kind == PART_TEXT && is_attribution(m->parts)) {
        request_other(r, m->parts->path);
        m->parts = m->parts->next;
    }
    if (m->parts == NULL)
        return 0;
    m->next = r->out->messages;
    r->out->messages = m;
    return 0;
}
