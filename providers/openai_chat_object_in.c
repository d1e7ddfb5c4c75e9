#include "providers/openai_chat_conversation.h"

#include <stdio.h>

#include "providers/gemini.h"

#define MAX_KEY 64 /* bytes of a key that are shown */

/* ---- errors ---- */

static struct span shown(struct span path)
{
    return path.n != 0 ? path : SPAN("request body");
}

static const char *kind_of(struct span raw)
{
    switch (json_type_of(raw)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_NUMBER:
        return "a number";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
        return "null";
    case JSON_NONE:
        break;
    }
    return "nothing";
}

int request_expected(struct request_reader *r, struct span path, const char *what, struct span raw)
{
    path = shown(path);
    return err_set(r->e, ERR_VALUE, "%.*s: expected %s, got %s", SPAN_ARG(path), what,
                   kind_of(raw));
}

int request_expected_value(struct request_reader *r, struct span path, const char *what,
                           struct span raw)
{
    enum json_type type = json_type_of(raw);

    if (type != JSON_STRING && type != JSON_NUMBER)
        return request_expected(r, path, what, raw);
    return err_set(r->e, ERR_VALUE, "%.*s: expected %s, got %.*s%s", SPAN_ARG(path), what,
                   (int)(raw.n < 60 ? raw.n : 60), raw.p, raw.n < 60 ? "" : "...");
}

/* ---- paths ---- */

/* Nearly all of them are never shown, so they must cost little. */
struct span request_path(struct request_reader *r, struct span parent, const char *name)
{
    struct span key = span_of(name);
    char *path = arena_alloc(r->arena, parent.n + 1 + key.n), *to = path;

    if (parent.n != 0) {
        memcpy(path, parent.p, parent.n);
        path[parent.n] = '.';
        to += parent.n + 1;
    }
    memcpy(to, key.p, key.n);
    return (struct span){path, (size_t)(to - path) + key.n};
}

struct span request_path_of(struct request_reader *r, struct span parent, struct span key)
{
    char name[MAX_KEY + sizeof("...")];
    size_t n = key.n < MAX_KEY ? key.n : MAX_KEY;

    for (size_t i = 0; i < n; i++) {
        bool plain = key.p[i] > ' ' && key.p[i] < 0x7f && key.p[i] != ',';

        name[i] = plain ? key.p[i] : '?';
    }
    memcpy(name + n, "...", sizeof("..."));
    if (key.n <= MAX_KEY)
        name[n] = '\0';
    return request_path(r, parent, name);
}

struct span request_path_at(struct request_reader *r, struct span parent, unsigned index)
{
    struct strbuf path = strbuf_in(r->arena, parent.n + 16);

    strbuf_add_span(&path, parent);
    strbuf_add_char(&path, '[');
    strbuf_add_u64(&path, index);
    strbuf_add_char(&path, ']');
    return strbuf_span(&path);
}

/* ---- objects ---- */

void request_other(struct request_reader *r, struct span path)
{
    struct other_field *other = arena_zalloc(r->arena, sizeof(*other));

    other->path = path;
    *r->last_other = other;
    r->last_other = &other->next;
}

static bool is_empty(struct span raw)
{
    enum json_type type = json_type_of(raw);
    struct json j = json_read(raw);
    struct span key;

    if (type == JSON_NULL)
        return true;
    return json_enter(&j, type == JSON_OBJECT ? JSON_OBJECT : JSON_ARRAY) &&
           !(type == JSON_OBJECT ? json_member(&j, &key) : json_item(&j));
}

int request_object_at(struct request_reader *r, struct json *j, struct span path,
                      const char *const *names, struct span *values)
{
    uint64_t seen = 0;
    struct span key;

    if (!json_enter(j, JSON_OBJECT))
        return request_expected(r, path, "an object", json_take(j));
    while (json_member(j, &key)) {
        size_t i = 0;
        struct span value;
        char first = key.n != 0 ? key.p[0] : '\0';

        while (names[i] != NULL &&
               (names[i][0] != first ||
                !(r->snake ? gemini_is_name(key, names[i]) : span_is(key, names[i]))))
            i++;
        if (names[i] == NULL) {
            struct span other = request_path_of(r, path, key);

            if (!is_empty(json_take(j)))
                request_other(r, other);
            continue;
        }
        if ((seen >> i & 1) != 0)
            return err_set(r->e, ERR_VALUE, "%.*s: stands twice in the request, expected once",
                           SPAN_ARG(request_path_of(r, path, key)));
        seen |= (uint64_t)1 << i;
        value = json_take(j);
        if (json_type_of(value) != JSON_NULL)
            values[i] = value;
    }
    return 0;
}

int request_body(struct request_reader *r, struct span body, struct span content,
                 const char *const *names, struct span *values)
{
    struct json j = json_read(body);

    json_know(&j, content);
    if (request_object_at(r, &j, (struct span){0}, names, values) < 0)
        return -1;
    return json_end(&j) ? 0 : json_error(&j, r->e);
}

int request_object(struct request_reader *r, struct span raw, struct span path,
                   const char *const *names, struct span *values)
{
    struct json j = json_read(raw);

    if (request_object_at(r, &j, path, names, values) < 0)
        return -1;
    return json_end(&j) ? 0 : json_error(&j, r->e);
}

int request_string(struct request_reader *r, struct span raw, struct span parent, const char *name,
                   struct span *out)
{
    if (raw.n != 0 && json_type_of(raw) != JSON_STRING)
        return request_expected(r, request_path(r, parent, name), "a string", raw);
    *out = raw;
    return 0;
}

int request_number(struct request_reader *r, struct span raw, struct span parent, const char *name,
                   struct span *out)
{
    if (raw.n != 0 && json_type_of(raw) != JSON_NUMBER)
        return request_expected(r, request_path(r, parent, name), "a number", raw);
    *out = raw;
    return 0;
}

int request_bool(struct request_reader *r, struct span raw, struct span parent, const char *name,
                 bool *out)
{
    if (raw.n != 0 && !json_to_bool(raw, out))
        return request_expected(r, request_path(r, parent, name), "true or false", raw);
    return 0;
}
