#include "providers/gemini_in.h"

/* Google's Schema is OpenAPI's with types in capitals, and lists and numbers that proto JSON may
 * have put into strings. JSON Schema says the same but for the order of properties, which is the
 * order in which they stand. */
#define MAX_ORDERED 256 /* each is looked for among all */

struct converter {
    struct request_reader *r;
    struct strbuf out;
};

static void add_schema(struct converter *c, struct span raw, struct span path);

static void add_key(struct converter *c, const char *name, bool *first)
{
    strbuf_addf(&c->out, "%s\"%s\":", *first ? "" : ",", name);
    *first = false;
}

/* The name of a key that Google knows, in camelCase; NULL for any other. */
static const char *known_name(struct span key)
{
    static const char *const names[] = {
        "anyOf",         "maxItems",         "minItems",
        "minLength",     "maxLength",        "minProperties",
        "maxProperties", "propertyOrdering", "additionalProperties",
        "prefixItems",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (gemini_is_name(key, names[i]))
            return names[i];
    return NULL;
}

static bool is_count(const char *name)
{
    return name != NULL && (strncmp(name, "min", 3) == 0 || strncmp(name, "max", 3) == 0);
}

/* "3" -> 3 */
static void add_count(struct converter *c, struct span raw)
{
    struct span text = json_text(raw, c->r->arena);
    uint64_t n;

    if (json_type_of(raw) == JSON_STRING && span_to_u64(text, &n))
        strbuf_add_u64(&c->out, n);
    else
        strbuf_add_span(&c->out, raw);
}

/* By its name in either case, or by its number, as proto JSON takes both. */
static void add_type(struct converter *c, struct span raw, bool nullable)
{
    static const char *const numbered[] = {"STRING", "NUMBER", "INTEGER", "BOOLEAN",
                                           "ARRAY",  "OBJECT", "NULL"};
    struct span text = json_text(raw, c->r->arena);
    int64_t n;

    if (json_to_i64(raw, &n) && n >= 1 && n <= (int64_t)ARRAY_LEN(numbered))
        text = span_of(numbered[n - 1]);

    strbuf_add(&c->out, nullable ? "[\"" : "\"");
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] >= 'A' && text.p[i] <= 'Z')
            strbuf_add_char(&c->out, (char)(text.p[i] | 0x20));
        else if (text.p[i] > ' ' && text.p[i] != '"' && text.p[i] != '\\')
            strbuf_add_char(&c->out, text.p[i]);
    strbuf_add(&c->out, nullable ? "\",\"null\"]" : "\"");
}

static void add_list(struct converter *c, struct span raw, struct span path, const char *more)
{
    struct json j = json_read(raw);
    bool first = true;

    if (!json_enter(&j, JSON_ARRAY)) {
        strbuf_add_span(&c->out, raw);
        return;
    }
    strbuf_add_char(&c->out, '[');
    for (unsigned i = 0; json_item(&j); i++, first = false) {
        if (!first)
            strbuf_add_char(&c->out, ',');
        if (path.n != 0)
            add_schema(c, json_take(&j), request_path_at(c->r, path, i));
        else
            strbuf_add_span(&c->out, json_take(&j));
    }
    if (more != NULL)
        strbuf_addf(&c->out, "%s%s", first ? "" : ",", more);
    strbuf_add_char(&c->out, ']');
}

static bool is_in(struct span list, struct span name, struct arena *a)
{
    struct json j = json_read(list);
    bool found = false;

    if (!json_enter(&j, JSON_ARRAY))
        return false;
    while (json_item(&j))
        found |= span_eq(json_text(json_take(&j), a), name);
    return found;
}

static void add_property(struct converter *c, struct span raw_key, struct span value,
                         struct span path, bool *first)
{
    if (!*first)
        strbuf_add_char(&c->out, ',');
    *first = false;
    strbuf_add_span(&c->out, raw_key);
    strbuf_add_char(&c->out, ':');
    add_schema(c, value, path);
}

/* Those of the ordering first, in its order. */
static void add_properties(struct converter *c, struct span raw, struct span order,
                           struct span path)
{
    struct json list = json_read(order), j;
    struct arena *a = c->r->arena;
    struct span key;
    bool first = true;

    if (json_type_of(raw) != JSON_OBJECT) {
        strbuf_add_span(&c->out, raw);
        return;
    }
    strbuf_add_char(&c->out, '{');
    if (json_enter(&list, JSON_ARRAY))
        while (json_item(&list)) {
            struct span wanted = json_text(json_take(&list), a);

            j = json_read(raw);
            json_enter(&j, JSON_OBJECT);
            while (json_member(&j, &key)) {
                bool hit = span_eq(key, wanted);
                struct span raw_key = j.raw_key, value = json_take(&j);

                if (hit)
                    add_property(c, raw_key, value, path, &first);
            }
        }
    j = json_read(raw);
    json_enter(&j, JSON_OBJECT);
    while (json_member(&j, &key)) {
        bool written = is_in(order, key, a);
        struct span raw_key = j.raw_key, value = json_take(&j);

        if (!written)
            add_property(c, raw_key, value, path, &first);
    }
    strbuf_add_char(&c->out, '}');
}

/* Two keys change how others are written. */
struct modifiers {
    bool nullable;
    struct span order;
};

static bool is_short(struct span list)
{
    struct json j = json_read(list);
    size_t n = 0;

    if (json_enter(&j, JSON_ARRAY))
        for (; n <= MAX_ORDERED && json_item(&j); n++)
            json_take(&j);
    return n <= MAX_ORDERED;
}

static struct modifiers look_ahead(struct converter *c, struct span raw, struct span path)
{
    struct modifiers m = {0};
    struct json j = json_read(raw);
    struct span key;

    json_enter(&j, JSON_OBJECT);
    while (json_member(&j, &key)) {
        bool nullable = span_is(key, "nullable");
        bool order = gemini_is_name(key, "propertyOrdering");
        struct span value = json_take(&j);

        m.nullable |= nullable && json_type_of(value) == JSON_TRUE;
        if (order)
            m.order = value;
    }
    if (!is_short(m.order)) {
        m.order = (struct span){0};
        request_other(c->r, request_path(c->r, path, "propertyOrdering"));
    }
    return m;
}

static void add_known(struct converter *c, struct span key, struct span value,
                      const struct modifiers *m, struct span path, bool *first)
{
    const char *name = known_name(key);

    if (span_is(key, "nullable") || (name != NULL && strcmp(name, "propertyOrdering") == 0) ||
        (span_is(key, "type") && json_is_string(value, "TYPE_UNSPECIFIED")) ||
        (span_is(key, "format") && json_is_string(value, "enum")))
        return;
    if (name == NULL) {
        static const char *const plain[] = {"type", "properties", "items", "enum"};

        for (size_t i = 0; i < ARRAY_LEN(plain); i++)
            if (span_is(key, plain[i]))
                name = plain[i];
    }
    if (name == NULL) { /* title, description, default, required, pattern, $ref, ... */
        strbuf_addf(&c->out, "%s", *first ? "" : ",");
        *first = false;
        json_add_string(&c->out, key);
        strbuf_add_char(&c->out, ':');
        strbuf_add_span(&c->out, value);
        return;
    }
    add_key(c, name, first);
    if (strcmp(name, "type") == 0 &&
        (json_type_of(value) == JSON_STRING || json_type_of(value) == JSON_NUMBER))
        add_type(c, value, m->nullable);
    else if (strcmp(name, "properties") == 0)
        add_properties(c, value, m->order, request_path(c->r, path, name));
    else if (strcmp(name, "enum") == 0)
        add_list(c, value, (struct span){0}, m->nullable ? "null" : NULL);
    else if (strcmp(name, "anyOf") == 0 || strcmp(name, "prefixItems") == 0)
        add_list(c, value, request_path(c->r, path, name),
                 m->nullable && name[0] == 'a' ? "{\"type\":\"null\"}" : NULL);
    else if (is_count(name))
        add_count(c, value);
    else /* items, additionalProperties */
        add_schema(c, value, request_path(c->r, path, name));
}

static void add_schema(struct converter *c, struct span raw, struct span path)
{
    struct json j = json_read(raw);
    struct modifiers m;
    struct span key;
    bool first = true;

    if (!json_enter(&j, JSON_OBJECT)) {
        strbuf_add_span(&c->out, raw);
        return;
    }
    m = look_ahead(c, raw, path);
    strbuf_add_char(&c->out, '{');
    while (json_member(&j, &key)) {
        struct span value = json_take(&j);

        if (json_type_of(value) != JSON_NULL || span_is(key, "default"))
            add_known(c, key, value, &m, path, &first);
    }
    strbuf_add_char(&c->out, '}');
}

struct span gemini_read_schema(struct request_reader *r, struct span raw, struct span path)
{
    struct converter c = {.r = r, .out = strbuf_in(r->arena, 8 * raw.n + 64)};

    add_schema(&c, raw, path);
    return strbuf_span(&c.out);
}
