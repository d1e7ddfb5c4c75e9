#include "proxy/door.h"

#include <assert.h>

const struct dialect *const door_dialects[] = {
    &dialect_openai_chat,       &dialect_openai_responses,   &dialect_openai_completions,
    &dialect_openai_embeddings, &dialect_anthropic_messages, &dialect_gemini,
    &dialect_gemini_embeddings,
};
const size_t door_n_dialects = ARRAY_LEN(door_dialects);

/* What stands behind the version. */
static const struct row {
    const char *path;
    enum door_kind kind;
    const struct dialect *dialect;
} rows[] = {
    {"chat/completions", DOOR_ANSWER, &dialect_openai_chat},
    {"completions", DOOR_ANSWER, &dialect_openai_completions},
    {"embeddings", DOOR_ANSWER, &dialect_openai_embeddings},
    {"messages", DOOR_ANSWER, &dialect_anthropic_messages},
    {"messages/count_tokens", DOOR_COUNT, &dialect_anthropic_messages},
    {"responses", DOOR_ANSWER, &dialect_openai_responses},
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

    path = skip_slashes(path);
    if (path.n == 0 || path.p[0] != rest.p[0] || span_eq(path, rest))
        return span_eq(path, rest);
    while (path.n > 0 && rest.n > 0)
        if (!span_eq(segment(&path), segment(&rest)))
            return false;
    return path.n == 0 && rest.n == 0;
}

/* ---- what is handed on ---- */

/* Paths of OpenAI's that are known without their version. Behind a version every path is taken for
 * the provider's: it knows its own best. */
static const char *const known[] = {
    "assistants", "audio",       "batches",       "containers",  "conversations", "evals",
    "files",      "fine_tuning", "images",        "moderations", "realtime",      "responses",
    "threads",    "uploads",     "vector_stores", "videos",
};

static void find_pass(struct span path, bool versioned, struct door *d)
{
    struct span rest = path, first = segment(&rest);
    /* A version twice is a base URL that has one too many. */
    bool is_known = versioned && first.n > 0 && !span_is(first, "v1") && !span_is(first, "v1beta");

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        is_known = is_known || span_is(first, known[i]);
    if (!is_known)
        return;
    d->kind = span_is(first, "realtime") ? DOOR_TUNNEL : DOOR_PASS;
    d->below = path;
}

struct span door_path(const struct door *d, struct span base, struct span target, struct arena *a)
{
    const char *q = memchr(target.p, '?', target.n);
    struct strbuf out = strbuf_in(a, base.n + target.n + 2);
    struct span below = d->below;
    char before = '?';

    strbuf_add_span(&out, base);
    while (below.n > 0) {
        struct span s = segment(&below);

        strbuf_add_char(&out, '/');
        strbuf_add_span(&out, s);
    }
    while (q != NULL) {
        struct span part = {q + 1, (size_t)(target.p + target.n - q - 1)};

        q = part.n != 0 ? memchr(part.p, '&', part.n) : NULL;
        if (q != NULL)
            part.n = (size_t)(q - part.p);
        if (part.n == 0 || span_starts(part, "key="))
            continue;
        strbuf_add_char(&out, before);
        strbuf_add_span(&out, part);
        before = '&';
    }
    return strbuf_span(&out);
}

/* ---- Google's paths: models/NAME:VERB, where the name may hold slashes and colons ---- */

static const struct verb {
    const char *name;
    enum door_kind kind;
    const struct dialect *dialect;
    bool stream, batch;
} verbs[] = {
    {"generateContent", DOOR_ANSWER, &dialect_gemini, false, false},
    {"streamGenerateContent", DOOR_ANSWER, &dialect_gemini, true, false},
    {"countTokens", DOOR_COUNT, &dialect_gemini, false, false},
    {"embedContent", DOOR_ANSWER, &dialect_gemini_embeddings, false, false},
    {"batchEmbedContents", DOOR_ANSWER, &dialect_gemini_embeddings, false, true},
};

/* The value of a query's parameter; p == NULL where it is missing. */
static struct span query_value(struct span target, const char *name)
{
    const char *q = target.n != 0 ? memchr(target.p, '?', target.n) : NULL;
    size_t n = strlen(name);

    while (q != NULL) {
        struct span rest = {q + 1, (size_t)(target.p + target.n - q - 1)};
        const char *next = rest.n != 0 ? memchr(rest.p, '&', rest.n) : NULL;

        if (next != NULL)
            rest.n = (size_t)(next - rest.p);
        if (span_starts(rest, name) && rest.n > n && rest.p[n] == '=')
            return (struct span){rest.p + n + 1, rest.n - n - 1};
        q = next;
    }
    return (struct span){0};
}

static void find_verb(struct span target, struct door *d)
{
    const char *colon = memrchr(d->model.p, ':', d->model.n);
    struct span name;

    if (colon == NULL)
        return;
    name = (struct span){colon + 1, (size_t)(d->model.p + d->model.n - colon - 1)};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (span_is(name, verbs[i].name)) {
            d->kind = verbs[i].kind;
            d->dialect = verbs[i].dialect;
            d->model.n = (size_t)(colon - d->model.p);
            d->stream = verbs[i].stream;
            d->batch = verbs[i].batch;
            d->list = d->stream && !span_is(query_value(target, "alt"), "sse");
        }
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_model_char(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != '\0' && strchr("._:/@+-", c) != NULL);
}

bool door_model(struct span model, struct arena *a, struct span *out)
{
    char *name = arena_alloc(a, model.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < model.n; i++) {
        char c = model.p[i];

        if (c == '%') {
            int high = i + 2 < model.n ? digit(model.p[i + 1]) : -1;
            int low = i + 2 < model.n ? digit(model.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (!is_model_char(c) || n == DOOR_MAX_MODEL || (c == '.' && n > 0 && name[n - 1] == '.'))
            return false;
        name[n++] = c;
    }
    *out = (struct span){name, n};
    return n > 0;
}

/* ---- */

struct door door_find(struct span target, const struct door_hints *hints)
{
    bool google = hints->google || query_value(target, "key").p != NULL;
    struct door d = {.dialect = hints->anthropic ? &dialect_anthropic_messages
                                : google         ? &dialect_gemini
                                                 : &dialect_openai_chat};
    struct span path = skip_slashes(without_query(target)), rest = path, first = segment(&rest);
    bool versioned = false;

    if (same_path(path, "livez"))
        d.kind = DOOR_LIVEZ;
    if (same_path(path, "readyz"))
        d.kind = DOOR_READYZ;
    if (span_is(first, "v1beta"))
        d.dialect = &dialect_gemini;
    if (span_is(first, "v1") || span_is(first, "v1beta")) {
        versioned = true;
        path = rest;
        first = segment(&rest);
    }
    if (span_is(first, "messages")) /* also below it, where nothing is */
        d.dialect = &dialect_anthropic_messages;
    if (span_is(first, "models")) {
        d.kind = rest.n == 0 ? DOOR_MODELS : DOOR_MODEL;
        d.model = rest; /* may hold slashes: "openai/gpt-4o" */
        if (rest.n != 0)
            find_verb(target, &d);
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
    if (d.kind == DOOR_NONE)
        find_pass(path, versioned, &d);
    return d;
}
