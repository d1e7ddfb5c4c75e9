#include "providers/foreign.h"

#include "proxy/base/hash.h"
#include "proxy/base/json.h"

#define SHORT_ID 9

struct stripper {
    struct strbuf out;
    struct arena *arena;
    struct drops *drops;
    bool short_ids; /* ids are changed, else state is taken out */
    bool found;
};

static void strip_value(struct stripper *s, struct span raw, struct span path, unsigned depth);

static struct span child(struct stripper *s, struct span path, struct span key)
{
    return span_of(path.n == 0
                       ? arena_strdup(s->arena, key)
                       : arena_printf(s->arena, "%.*s.%.*s", SPAN_ARG(path), SPAN_ARG(key)));
}

/* Where the state can stand: messages[i] and messages[i].tool_calls[k]; only the way there is taken
 * apart, everything else is copied whole. */
static bool leads_on(struct span key, unsigned depth)
{
    return (depth == 0 && span_is(key, "messages")) || (depth == 2 && span_is(key, "tool_calls"));
}

static bool is_id(struct span key, unsigned depth)
{
    return (depth == 4 && span_is(key, "id")) || (depth == 2 && span_is(key, "tool_call_id"));
}

static bool is_short(struct span id)
{
    for (size_t i = 0; i < id.n; i++)
        if (!((id.p[i] >= 'a' && id.p[i] <= 'z') || (id.p[i] >= 'A' && id.p[i] <= 'Z') ||
              (id.p[i] >= '0' && id.p[i] <= '9')))
            return false;
    return id.n == SHORT_ID;
}

static void add_short_id(struct stripper *s, struct span raw)
{
    struct span id = json_text(raw, s->arena);
    uint8_t digest[HASH_SHA256_BYTES];
    char hex[2 * HASH_SHA256_BYTES + 1];

    if (is_short(id)) {
        strbuf_add_span(&s->out, raw);
        return;
    }
    hash_sha256(id, digest);
    hash_hex(digest, sizeof(digest), hex);
    strbuf_addf(&s->out, "\"%.*s\"", SHORT_ID, hex);
    s->found = true;
}

static void strip_object(struct stripper *s, struct span raw, struct span path, unsigned depth)
{
    struct json j = json_read(raw);
    struct span key;
    bool first = true;

    json_enter(&j, JSON_OBJECT);
    strbuf_add_char(&s->out, '{');
    while (json_member(&j, &key)) {
        struct span name = arena_copy(s->arena, key), raw_key = j.raw_key, value = json_take(&j);

        if (!s->short_ids && depth > 0 &&
            (span_is(name, "reasoning_details") || span_is(name, "extra_content"))) {
            drop_field(s->drops, child(s, path, name));
            s->found = true;
            continue;
        }
        if (!first)
            strbuf_add_char(&s->out, ',');
        first = false;
        strbuf_add_span(&s->out, raw_key);
        strbuf_add_char(&s->out, ':');
        if (leads_on(name, depth))
            strip_value(s, value, child(s, path, name), depth + 1);
        else if (s->short_ids && is_id(name, depth) && json_type_of(value) == JSON_STRING)
            add_short_id(s, value);
        else
            strbuf_add_span(&s->out, value);
    }
    strbuf_add_char(&s->out, '}');
}

static void strip_array(struct stripper *s, struct span raw, struct span path, unsigned depth)
{
    struct json j = json_read(raw);
    unsigned n = 0;

    json_enter(&j, JSON_ARRAY);
    strbuf_add_char(&s->out, '[');
    while (json_item(&j)) {
        struct span value = json_take(&j);

        if (n > 0)
            strbuf_add_char(&s->out, ',');
        strip_value(s, value, span_of(arena_printf(s->arena, "%.*s[%u]", SPAN_ARG(path), n++)),
                    depth + 1);
    }
    strbuf_add_char(&s->out, ']');
}

/* depth: 0 the request, 1 its messages, 2 a message, 3 its calls, 4 a call. */
static void strip_value(struct stripper *s, struct span raw, struct span path, unsigned depth)
{
    bool objects = depth % 2 == 0;

    if (objects && json_type_of(raw) == JSON_OBJECT)
        strip_object(s, raw, path, depth);
    else if (!objects && json_type_of(raw) == JSON_ARRAY)
        strip_array(s, raw, path, depth);
    else
        strbuf_add_span(&s->out, raw);
}

struct span foreign_strip(struct span body, struct arena *a, struct drops *drops)
{
    struct stripper s = {.arena = a, .drops = drops};

    /* A key spelled with escapes is not looked for: nobody who keeps our state spells it so. */
    if (span_find(body, "\"reasoning_details\"") == NULL &&
        span_find(body, "\"extra_content\"") == NULL)
        return body;
    s.out = strbuf_in(a, body.n + 2);
    strip_value(&s, body, (struct span){0}, 0);
    return s.found ? strbuf_span(&s.out) : body;
}

struct span foreign_short_ids(struct span body, struct arena *a)
{
    struct stripper s = {.arena = a, .short_ids = true};

    if (span_find(body, "\"tool_call") == NULL)
        return body;
    s.out = strbuf_in(a, 3 * body.n); /* "id":"" grows most */
    strip_value(&s, body, (struct span){0}, 0);
    return s.found ? strbuf_span(&s.out) : body;
}
