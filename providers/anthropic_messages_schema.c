#include <stdio.h>

#include "providers/anthropic_messages.h"

/* What becomes of a keyword. Those not listed are told in the description: the model reads it, and
 * the API would refuse them. */
enum fate {
    NOTE,   /* into the description */
    COPY,   /* as it stands */
    ONE,    /* holds a schema */
    LIST,   /* ... an array of them */
    MAP,    /* ... an object of them */
    CLOSED, /* additionalProperties */
    FORMAT, /* COPY or NOTE by its value */
    FEW,    /* minItems: 0 and 1 are known */
    TEXT,   /* description */
    SKIP,   /* says nothing */
};

static const struct {
    const char *name;
    enum fate fate;
} keywords[] = {
    {"type", COPY},        {"enum", COPY},       {"const", COPY},
    {"title", COPY},       {"required", COPY},   {"default", COPY},
    {"$ref", COPY},        {"$schema", COPY},    {"properties", MAP},
    {"$defs", MAP},        {"definitions", MAP}, {"items", ONE},
    {"anyOf", LIST},       {"oneOf", LIST},      {"allOf", LIST},
    {"format", FORMAT},    {"minItems", FEW},    {"additionalProperties", CLOSED},
    {"description", TEXT}, {"strict", SKIP},
};

static const char *const formats[] = {"date-time", "time", "date", "duration", "email",
                                      "hostname",  "uri",  "ipv4", "ipv6",     "uuid"};

static enum fate fate_of(struct span key, struct span raw)
{
    enum fate fate = NOTE;

    for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
        if (span_is(key, keywords[i].name))
            fate = keywords[i].fate;
    if (fate == FEW)
        return span_is(raw, "0") || span_is(raw, "1") ? COPY : NOTE;
    if (fate == TEXT)
        return json_type_of(raw) == JSON_STRING ? TEXT : NOTE;
    if ((fate == ONE && json_type_of(raw) != JSON_OBJECT) ||
        (fate == LIST && json_type_of(raw) != JSON_ARRAY) ||
        (fate == MAP && json_type_of(raw) != JSON_OBJECT))
        return NOTE;
    if (fate != FORMAT)
        return fate;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (json_is_string(raw, formats[i]))
            return COPY;
    return NOTE;
}

/* What is known of a schema object before it is written. */
struct facts {
    bool object, typed, title, any_of;
    struct span description; /* raw */
    struct strbuf notes;     /* "minimum: 0, maximum: 9" */
};

static bool names_object(struct span type)
{
    struct json j = json_read(type);
    bool found = json_is_string(type, "object");

    if (json_enter(&j, JSON_ARRAY))
        while (json_item(&j))
            found |= json_is_string(json_take(&j), "object");
    return found;
}

/* Of the two lists of alternatives only one can be said as `anyOf`. */
static enum fate fate_here(const struct facts *f, struct span key, struct span raw)
{
    return span_is(key, "oneOf") && f->any_of ? NOTE : fate_of(key, raw);
}

static void find_facts(struct span schema, struct facts *f)
{
    struct json j = json_read(schema);
    struct span key;
    bool properties = false;

    if (!json_enter(&j, JSON_OBJECT))
        return;
    while (json_member(&j, &key)) {
        struct span raw = json_take(&j);

        f->typed |= span_is(key, "type");
        f->object |= span_is(key, "type") && names_object(raw);
        f->title |= span_is(key, "title");
        f->any_of |= span_is(key, "anyOf");
        properties |= span_is(key, "properties");
        if (fate_of(key, raw) == TEXT)
            f->description = raw;
    }
    f->object |= !f->typed && properties;
}

static void find_notes(struct span schema, struct facts *f)
{
    struct json j = json_read(schema);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT))
        return;
    while (json_member(&j, &key)) {
        struct span raw_key = j.raw_key, raw;
        size_t from = f->notes.len;

        strbuf_add(&f->notes, from == 0 ? "" : ", ");
        strbuf_add_span(&f->notes, key); /* now: the reader may hold it */
        raw = json_take(&j);
        if (fate_here(f, (struct span){raw_key.p + 1, raw_key.n - 2}, raw) != NOTE) {
            f->notes.len = from;
            continue;
        }
        strbuf_add(&f->notes, ": ");
        strbuf_add_span(&f->notes, raw);
    }
}

static int add_schema(struct anthropic_writer *w, struct span schema, struct span title,
                      struct span description, const char *path);

/* The array of schemas, or the object of them, at `raw`. */
static int add_all(struct anthropic_writer *w, struct span raw, const char *path)
{
    static const struct span none;
    struct json j = json_read(raw);
    struct span key;
    bool array = json_enter(&j, JSON_ARRAY);

    if (!array && !json_enter(&j, JSON_OBJECT))
        return 0;
    strbuf_add_char(w->out, array ? '[' : '{');
    for (bool first = true; array ? json_item(&j) : json_member(&j, &key); first = false) {
        struct span name = j.raw_key;

        if (!first)
            strbuf_add_char(w->out, ',');
        if (!array) {
            strbuf_add_span(w->out, name);
            strbuf_add_char(w->out, ':');
        }
        if (add_schema(w, json_take(&j), none, none, path) < 0)
            return -1;
    }
    strbuf_add_char(w->out, array ? ']' : '}');
    return 0;
}

static bool refers(struct span schema, const char *place, struct span name)
{
    char needle[2 * JSON_KEY_MAX];
    int n = snprintf(needle, sizeof(needle), "\"#/%s/%.*s", place, (int)name.n - 1, name.p + 1);

    return memmem(schema.p, schema.n, needle, (size_t)n) != NULL;
}

/* Does a definition refer to itself? Through another one it is left to the API to say so. */
static int check_recursion(struct anthropic_writer *w, struct span definitions, const char *path)
{
    struct json j = json_read(definitions);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT))
        return 0;
    while (json_member(&j, &key)) {
        struct span name = j.raw_key, raw = json_take(&j);

        if (name.n <= JSON_KEY_MAX &&
            (refers(raw, "$defs", name) || refers(raw, "definitions", name)))
            return err_set(w->e, ERR_VALUE,
                           "%s: the definition %.*s refers to itself; expected a schema without "
                           "recursion",
                           path, SPAN_ARG(name));
    }
    return 0;
}

static int add_member(struct anthropic_writer *w, struct span key, struct span raw_key,
                      struct span raw, const char *path)
{
    static const struct span none;
    enum fate fate = fate_of(key, raw);

    if (fate == MAP && !span_is(key, "properties") && check_recursion(w, raw, path) < 0)
        return -1;
    if (span_is(key, "$ref") && json_is_string(raw, "#"))
        return err_set(w->e, ERR_VALUE,
                       "%s: $ref refers to the whole schema; expected a schema without recursion",
                       path);
    if (w->out->buf[w->out->len - 1] != '{')
        strbuf_add_char(w->out, ',');
    if (span_is(key, "oneOf"))
        strbuf_add(w->out, "\"anyOf\"");
    else
        strbuf_add_span(w->out, raw_key);
    strbuf_add_char(w->out, ':');
    if (fate == ONE)
        return add_schema(w, raw, none, none, path);
    if (fate == LIST || fate == MAP)
        return add_all(w, raw, path);
    strbuf_add_span(w->out, raw);
    return 0;
}

static void add_name(struct strbuf *out, const char *name)
{
    if (out->len != 0 && out->buf[out->len - 1] != '{')
        strbuf_add_char(out, ',');
    strbuf_addf(out, "\"%s\":", name);
}

/* Up to three texts, as one raw string. */
static void add_description(struct anthropic_writer *w, struct span text, struct span more,
                            struct strbuf *notes)
{
    bool first = true;

    if (text.n == 0 && more.n == 0 && notes->len == 0)
        return;
    add_name(w->out, "description");
    if (more.n != 0) {
        raw_add_joined(w->out, more, true, "");
        first = false;
    }
    if (text.n != 0) {
        raw_add_joined(w->out, text, first, "\\n\\n");
        first = false;
    }
    if (notes->len != 0) {
        char *braces = arena_printf(w->arena, "{%.*s}", (int)notes->len, notes->buf);

        raw_add_joined(w->out, chat_quote(span_of(braces), w->arena), first, "\\n\\n");
    }
    strbuf_add_char(w->out, '"');
}

static int add_schema(struct anthropic_writer *w, struct span schema, struct span title,
                      struct span description, const char *path)
{
    struct facts f = {.notes = strbuf_in(w->arena, schema.n + 1)};
    struct json j = json_read(schema);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT)) { /* true: anything */
        strbuf_add(w->out, json_type_of(schema) == JSON_TRUE ? "{}" : "");
        if (json_type_of(schema) != JSON_TRUE)
            strbuf_add_span(w->out, schema);
        return 0;
    }
    find_facts(schema, &f);
    find_notes(schema, &f);
    strbuf_add_char(w->out, '{');
    if (!f.title && title.n != 0) {
        add_name(w->out, "title");
        strbuf_add_span(w->out, title);
    }
    while (json_member(&j, &key)) {
        struct span raw_key = j.raw_key, raw;
        enum fate fate;

        key = (struct span){raw_key.p + 1, raw_key.n - 2};
        raw = json_take(&j);
        fate = fate_here(&f, key, raw);
        if (fate == CLOSED && !span_is(raw, "false"))
            drop_named(w->drops, anthropic_path(w->arena, span_of(path), "additionalProperties"));
        if (fate == NOTE || fate == TEXT || fate == CLOSED || fate == SKIP)
            continue;
        if (add_member(w, key, raw_key, raw, path) < 0)
            return -1;
    }
    add_description(w, f.description, description, &f.notes);
    if (f.object) {
        add_name(w->out, "additionalProperties");
        strbuf_add(w->out, "false");
    }
    strbuf_add_char(w->out, '}');
    return 0;
}

int anthropic_write_schema(struct anthropic_writer *w, struct span schema, struct span title,
                           struct span description, const char *path)
{
    return add_schema(w, schema, title, description, path);
}
