#include "proxy/door.h"

#include <assert.h>

const struct dialect *const door_dialects[] = {&dialect_openai_chat, &dialect_openai_responses,
                                               &dialect_anthropic_messages};
const size_t door_n_dialects = ARRAY_LEN(door_dialects);

/* What stands behind the version. */
static const struct row {
    const char *path;
    enum door_kind kind;
    const struct dialect *dialect;
} rows[] = {
    {"chat/completions", DOOR_ANSWER, &dialect_openai_chat},
    {"responses", DOOR_ANSWER, &dialect_openai_responses},
    {"messages", DOOR_ANSWER, &dialect_anthropic_messages},
    {"messages/count_tokens", DOOR_COUNT, &dialect_anthropic_messages},
};

size_t door_dialect_index(const struct dialect *d)
{
    size_t i = 0;

    while (i < door_n_dialects && door_dialects[i] != d)
        i++;
    assert(i < door_n_dialects);
    return i;
}

static struct span skip_slashes(struct span path)
{
    while (path.n > 0 && path.p[0] == '/') {
        path.p++;
        path.n--;
    }
    return path;
}

/* Takes one path segment, with the slashes around it: "//v1///models" works as "/v1/models". */
static struct span segment(struct span *path)
{
    struct span s = skip_slashes(*path);
    size_t n = 0;

    while (n < s.n && s.p[n] != '/')
        n++;
    *path = skip_slashes((struct span){s.p + n, s.n - n});
    return (struct span){s.p, n};
}

static struct span without_query(struct span target)
{
    const char *q = memchr(target.p, '?', target.n);

    return q == NULL ? target : (struct span){target.p, (size_t)(q - target.p)};
}

static bool same_path(struct span path, const char *wanted)
{
    struct span rest = span_of(wanted);

    while (path.n > 0 && rest.n > 0)
        if (!span_eq(segment(&path), segment(&rest)))
            return false;
    return path.n == 0 && rest.n == 0;
}

struct door door_find(struct span target, const struct door_hints *hints)
{
    struct door d = {.dialect =
                         hints->anthropic ? &dialect_anthropic_messages : &dialect_openai_chat};
    struct span path = skip_slashes(without_query(target)), rest = path, first = segment(&rest);

    if (same_path(path, "livez"))
        d.kind = DOOR_LIVEZ;
    if (same_path(path, "readyz"))
        d.kind = DOOR_READYZ;
    if (span_is(first, "v1")) {
        path = rest;
        first = segment(&rest);
    }
    if (span_is(first, "messages")) /* also below it, where nothing is */
        d.dialect = &dialect_anthropic_messages;
    if (span_is(first, "models")) {
        d.kind = rest.n == 0 ? DOOR_MODELS : DOOR_MODEL;
        d.model = rest; /* may hold slashes: "openai/gpt-4o" */
    }
    if (span_is(first, "streams") && rest.n > 0) {
        d.kind = DOOR_STREAM;
        d.model = rest;
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (same_path(path, rows[i].path)) {
            d.kind = rows[i].kind;
            d.dialect = rows[i].dialect;
        }
    return d;
}
