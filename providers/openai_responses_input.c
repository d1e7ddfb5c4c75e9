#include "providers/openai_responses.h"

#include "providers/request_top.h"

#define ORIGIN SPAN("openai_responses")

/* Items of the assistant that follow each other are one message. */
struct input {
    struct request_reader *r;
    struct message **last; /* where the next one goes */
    struct message *said;  /* the assistant's, while it goes on */
    struct part **end;     /* where the next part goes, of whatever message */
    struct part *call;     /* the assistant's last, of that message */
};

static struct message *add_message(struct input *in, enum role role, struct span path)
{
    struct message *m = arena_zalloc(in->r->arena, sizeof(*m));

    m->role = role;
    m->path = path;
    *in->last = m;
    in->last = &m->next;
    in->end = &m->parts;
    in->said = role == ROLE_ASSISTANT ? m : NULL;
    in->call = NULL;
    return m;
}

static void go_on_as_assistant(struct input *in, struct span path)
{
    if (in->said == NULL)
        add_message(in, ROLE_ASSISTANT, path);
}

static struct part *add_part(struct input *in, enum part_kind kind, struct span path)
{
    struct part *p = arena_zalloc(in->r->arena, sizeof(*p));

    p->kind = kind;
    p->path = path;
    *in->end = p;
    in->end = &p->next;
    return p;
}

/* ---- parts of content ---- */

enum part_field { TYPE, TEXT, REFUSAL, IMAGE, DETAIL, FILENAME, DATA, URL, ID, AUDIO, PART_FIELDS };

static const char *const part_fields[] = {
    "type",      "text",     "refusal", "image_url",   "detail", "filename",
    "file_data", "file_url", "file_id", "input_audio", NULL,
};

static int read_text(struct request_reader *r, struct span raw, struct span path, const char *name,
                     struct part *p)
{
    if (json_type_of(raw) != JSON_STRING)
        return request_expected(r, request_path(r, path, name), "a string", raw);
    p->text = raw;
    return 0;
}

/* A file that was uploaded lives at one provider. */
static int read_file_id(struct request_reader *r, struct span raw, struct span path,
                        const char *instead, struct part *p)
{
    if (raw.n == 0)
        return request_expected(r, request_path(r, path, instead), "a string, or file_id", raw);
    if (request_string(r, raw, path, "file_id", &p->file_id) < 0)
        return -1;
    request_pin(r, request_path(r, path, "file_id"));
    return 0;
}

static int read_image(struct request_reader *r, const struct span *v, struct span path,
                      struct part *p)
{
    if (request_string(r, v[DETAIL], path, "detail", &p->detail) < 0)
        return -1;
    if (v[IMAGE].n != 0)
        return request_url(r, v[IMAGE], request_path(r, path, "image_url"), p);
    return read_file_id(r, v[ID], path, "image_url", p);
}

static int read_file(struct request_reader *r, const struct span *v, struct span path,
                     struct part *p)
{
    if (request_string(r, v[FILENAME], path, "filename", &p->name) < 0)
        return -1;
    if (v[DATA].n != 0)
        return request_url(r, v[DATA], request_path(r, path, "file_data"), p);
    if (v[URL].n != 0)
        return request_url(r, v[URL], request_path(r, path, "file_url"), p);
    return read_file_id(r, v[ID], path, "file_data", p);
}

/* What each type of part holds: bits of its fields. */
static const struct {
    const char *type;
    enum part_kind kind;
    unsigned fields;
} part_types[] = {
    {"input_text", PART_TEXT, 1u << TEXT},
    {"output_text", PART_TEXT, 1u << TEXT},
    {"text", PART_TEXT, 1u << TEXT},
    {"refusal", PART_REFUSAL, 1u << REFUSAL},
    {"input_image", PART_IMAGE, 1u << IMAGE | 1u << DETAIL | 1u << ID},
    {"input_file", PART_DOCUMENT,
     1u << FILENAME | 1u << DATA | 1u << URL | 1u << ID | 1u << DETAIL},
    {"input_audio", PART_AUDIO, 1u << AUDIO},
};

static int read_part(struct input *in, struct span raw, struct span path)
{
    struct request_reader *r = in->r;
    struct other_field **others = r->last_other;
    struct span v[PART_FIELDS] = {0};
    struct part *p;
    size_t i = 0;

    if (request_object(r, raw, path, part_fields, v) < 0)
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
    for (enum part_field f = TEXT; f < PART_FIELDS; f++)
        if (v[f].n != 0 && (part_types[i].fields >> f & 1) == 0)
            request_other(r, request_path(r, path, part_fields[f]));
    p = add_part(in, part_types[i].kind, path);
    switch (p->kind) {
    case PART_IMAGE:
        return read_image(r, v, path, p);
    case PART_DOCUMENT:
        return read_file(r, v, path, p);
    case PART_AUDIO:
        return request_audio(r, v[AUDIO], request_path(r, path, "input_audio"), p);
    case PART_REFUSAL:
        return read_text(r, v[REFUSAL], path, "refusal", p);
    default:
        return read_text(r, v[TEXT], path, "text", p);
    }
}

/* A plain string is the only part. */
static int read_content(struct input *in, struct span raw, struct span at)
{
    struct json j = json_read(raw);

    if (raw.n == 0)
        return 0;
    if (json_type_of(raw) == JSON_STRING) {
        add_part(in, PART_TEXT, at)->text = raw;
        return 0;
    }
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(in->r, at, "a string or an array of parts", raw);
    for (unsigned i = 0; json_item(&j); i++)
        if (read_part(in, json_take(&j), request_path_at(in->r, at, i)) < 0)
            return -1;
    return 0;
}

/* ---- items ---- */

/* What every item may have, and tells nothing: ids and states of the provider's bookkeeping. */
#define OF_ALL "type", "id", "status"
enum { OWN = 3 };

static int read_role(struct request_reader *r, struct span raw, struct span path, enum role *out)
{
    static const struct {
        const char *name;
        enum role role;
    } roles[] = {
        {"system", ROLE_SYSTEM},
        {"developer", ROLE_DEVELOPER},
        {"user", ROLE_USER},
        {"assistant", ROLE_ASSISTANT},
    };

    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (json_is_string(raw, roles[i].name)) {
            *out = roles[i].role;
            return 0;
        }
    return request_expected_value(r, request_path(r, path, "role"),
                                  "system, developer, user or assistant", raw);
}

static int read_message(struct input *in, struct span raw, struct span path)
{
    static const char *const names[] = {OF_ALL, "role", "content", NULL};
    struct span v[OWN + 2] = {0};
    enum role role = ROLE_USER;

    if (request_object(in->r, raw, path, names, v) < 0 || read_role(in->r, v[OWN], path, &role) < 0)
        return -1;
    if (role == ROLE_ASSISTANT)
        go_on_as_assistant(in, path);
    else
        add_message(in, role, path);
    return read_content(in, v[OWN + 1], request_path(in->r, path, "content"));
}

static int read_call_id(struct request_reader *r, struct span raw, struct span path, struct part *p)
{
    if (json_type_of(raw) != JSON_STRING)
        return request_expected(r, request_path(r, path, "call_id"), "the call's id, a string",
                                raw);
    p->id = raw;
    return 0;
}

struct span openai_responses_joined_name(struct arena *a, struct span space, struct span name)
{
    struct strbuf out;
    bool ends = space.n > 2 && space.p[space.n - 2] == '_'; /* "mcp__files__" */

    if (space.n <= 2)
        return name;
    out = strbuf_in(a, space.n + name.n + 2);
    raw_add_joined(&out, space, true, "");
    raw_add_joined(&out, name, false, ends ? "" : "__");
    strbuf_add_char(&out, '"');
    return strbuf_span(&out);
}

/* The free text of a custom tool, as the object that providers are told it takes. */
static struct span wrapped(struct arena *a, struct span input)
{
    struct strbuf out = strbuf_in(a, input.n + 16);

    strbuf_add(&out, "{\"input\":");
    strbuf_add_span(&out, input);
    strbuf_add_char(&out, '}');
    return strbuf_span(&out);
}

static int read_call(struct input *in, struct span raw, struct span path, bool custom)
{
    enum { CALL = OWN, NAME, INPUT, SPACE, FIELDS };
    const char *const names[] = {OF_ALL,      "call_id", "name", custom ? "input" : "arguments",
                                 "namespace", NULL};
    struct request_reader *r = in->r;
    struct span v[FIELDS] = {0}, space;
    struct part *p;

    if (request_object(r, raw, path, names, v) < 0 ||
        request_string(r, v[SPACE], path, "namespace", &space) < 0)
        return -1;
    go_on_as_assistant(in, path);
    p = add_part(in, PART_TOOL_CALL, path);
    in->call = p;
    if (read_call_id(r, v[CALL], path, p) < 0)
        return -1;
    if (json_type_of(v[NAME]) != JSON_STRING || v[NAME].n <= 2)
        return request_expected(r, request_path(r, path, "name"), "the tool's name", v[NAME]);
    p->name = openai_responses_joined_name(r->arena, space, v[NAME]);
    if (!custom)
        return request_arguments(r, v[INPUT], request_path(r, path, "arguments"), p);
    if (json_type_of(v[INPUT]) != JSON_STRING)
        return request_expected(r, request_path(r, path, "input"), "a string", v[INPUT]);
    p->arguments = wrapped(r->arena, v[INPUT]);
    return 0;
}

static int read_result(struct input *in, struct span raw, struct span path)
{
    static const char *const names[] = {OF_ALL, "call_id", "output", NULL};
    struct span v[OWN + 2] = {0};
    struct part *p;

    if (request_object(in->r, raw, path, names, v) < 0)
        return -1;
    add_message(in, ROLE_TOOL, path);
    p = add_part(in, PART_TOOL_RESULT, path);
    if (read_call_id(in->r, v[OWN], path, p) < 0)
        return -1;
    in->end = &p->inner;
    return read_content(in, v[OWN + 1], request_path(in->r, path, "output"));
}

/* ---- reasoning ---- */

/* Appends the texts of a list of parts, with an empty line between them. */
static int join_texts(struct request_reader *r, struct span raw, struct span path,
                      struct strbuf *out)
{
    static const char *const names[] = {"type", "text", NULL};
    struct json j = json_read(raw);

    if (raw.n == 0)
        return 0;
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, path, "an array", raw);
    for (unsigned i = 0; json_item(&j); i++) {
        struct span at = request_path_at(r, path, i), v[2] = {0}, text;

        if (request_object(r, json_take(&j), at, names, v) < 0 ||
            request_string(r, v[1], at, "text", &text) < 0)
            return -1;
        if (text.n > 2)
            raw_add_joined(out, text, out->len == 0, "\\n\\n");
    }
    return 0;
}

/* State of a call stands in an item of its own behind it. */
static void sign_call(struct input *in, const struct responses_state *state, struct span path)
{
    if (in->call == NULL || in->call->signature.n != 0) {
        request_other(in->r, path);
        return;
    }
    in->call->signature = state->signature;
    in->call->origin = state->origin;
}

static int read_reasoning(struct input *in, struct span raw, struct span path)
{
    enum { SUMMARY = OWN, CONTENT, STATE, FIELDS };
    static const char *const names[] = {OF_ALL, "summary", "content", "encrypted_content", NULL};
    struct request_reader *r = in->r;
    struct span v[FIELDS] = {0}, encrypted;
    struct strbuf text = strbuf_in(r->arena, raw.n + 2);
    struct responses_state state;
    struct part *p;

    if (request_object(r, raw, path, names, v) < 0 ||
        request_string(r, v[STATE], path, "encrypted_content", &encrypted) < 0 ||
        join_texts(r, v[SUMMARY], request_path(r, path, "summary"), &text) < 0 ||
        join_texts(r, v[CONTENT], request_path(r, path, "content"), &text) < 0)
        return -1;
    if (text.len != 0)
        strbuf_add_char(&text, '"');
    state = responses_read_state(encrypted, r->arena);
    if (state.kind == STATE_CALL) {
        sign_call(in, &state, path);
        return 0;
    }
    if (encrypted.n == 0 && text.len == 0)
        return 0;
    go_on_as_assistant(in, path);
    p = add_part(in, PART_REASONING, path);
    if (text.len != 0)
        p->text = strbuf_span(&text);
    else if (state.kind == STATE_SIGNED)
        p->text = SPAN("\"\""); /* shown, and empty */
    if (state.kind != STATE_NONE) {
        p->signature = state.signature;
        p->origin = state.origin;
    } else if (encrypted.n != 0) {
        p->signature = encrypted;
        p->origin = ORIGIN;
    }
    return 0;
}

/* ---- the list ---- */

/* Items that only whoever made them can read: without them it would be another conversation. */
static bool is_bound(struct span type)
{
    return json_is_string(type, "item_reference") || json_is_string(type, "compaction");
}

bool openai_responses_adds_tools(struct span item)
{
    return json_is_string(top_member(item, "type"), "additional_tools");
}

static int read_item(struct input *in, struct span raw, struct span path)
{
    struct request_reader *r = in->r;
    struct span type = top_member(raw, "type");

    if (json_type_of(raw) != JSON_OBJECT)
        return request_expected(r, path, "an object", raw);
    if (type.n == 0 || json_is_string(type, "message"))
        return read_message(in, raw, path);
    if (json_is_string(type, "function_call"))
        return read_call(in, raw, path, false);
    if (json_is_string(type, "custom_tool_call"))
        return read_call(in, raw, path, true);
    if (json_is_string(type, "function_call_output") ||
        json_is_string(type, "custom_tool_call_output"))
        return read_result(in, raw, path);
    if (json_is_string(type, "reasoning"))
        return read_reasoning(in, raw, path);
    if (openai_responses_adds_tools(raw))
        return 0; /* read with the others */
    if (is_bound(type))
        return err_set(r->e, ERR_VALUE,
                       "%.*s: an item of type %.*s lives at its provider, expected what it stands "
                       "for, or a target that speaks OpenAI's responses",
                       SPAN_ARG(path), SPAN_ARG(type));
    request_other(r, path); /* what the tools of a provider did */
    return 0;
}

int openai_responses_read_input(struct request_reader *r, struct span instructions,
                                struct span input)
{
    struct input in = {.r = r, .last = &r->out->messages};
    struct span path = SPAN("input");
    struct json j = json_read(input);

    if (instructions.n != 0) {
        add_message(&in, ROLE_SYSTEM, SPAN("instructions"));
        if (read_content(&in, instructions, SPAN("instructions")) < 0)
            return -1;
    }
    if (json_type_of(input) == JSON_STRING) {
        add_message(&in, ROLE_USER, path);
        return read_content(&in, input, path);
    }
    if (!json_enter(&j, JSON_ARRAY))
        return request_expected(r, path, "a string or an array of items", input);
    for (unsigned i = 0; json_item(&j); i++)
        if (read_item(&in, json_take(&j), request_path_at(r, path, i)) < 0)
            return -1;
    return 0;
}
