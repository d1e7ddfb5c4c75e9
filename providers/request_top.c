#include "providers/request_top.h"

#define MAX_MODEL    200 /* bytes of a model's name */
#define LEAST_TOKENS 16

struct span top_body(struct span body)
{
    if (span_starts(body, "\xef\xbb\xbf"))
        return (struct span){body.p + 3, body.n - 3};
    return body;
}

int top_expected(struct err *e, const char *field, const char *what, struct span raw)
{
    if (raw.n == 0)
        return err_set(e, ERR_VALUE, "%s: expected %s, but it is missing", field, what);
    return err_set(e, ERR_VALUE, "%s: expected %s, got %.*s%s", field, what,
                   (int)(raw.n < 60 ? raw.n : 60), raw.p, raw.n < 60 ? "" : "...");
}

int top_fields(struct span body, const char *const *names, size_t n, struct span *values,
               struct err *e)
{
    struct json j = json_read(body);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT)) {
        struct span raw = json_take(&j);

        if (!json_end(&j))
            goto bad;
        return top_expected(e, "request body", "a JSON object", raw);
    }
    while (json_member(&j, &key)) {
        size_t i = 0;
        struct span raw;

        while (i < n && !span_is(key, names[i]))
            i++;
        raw = json_take(&j);
        if (i == n)
            continue;
        if (values[i].p != NULL)
            return err_set(e, ERR_VALUE, "%s: stands twice in the request, expected once",
                           names[i]);
        values[i] = raw;
    }
    if (json_end(&j))
        return 0;
bad:
    json_error(&j, e);
    return err_prefix(e, "request body");
}

int top_model(struct span raw, struct arena *a, struct span *model, struct err *e)
{
    static const char what[] = "a model's name, 1 to 200 bytes without control characters";

    if (json_type_of(raw) != JSON_STRING)
        return top_expected(e, "model", what, raw);
    *model = json_text(raw, a);
    if (model->n == 0 || model->n > MAX_MODEL)
        return top_expected(e, "model", what, raw);
    for (size_t i = 0; i < model->n; i++)
        if ((unsigned char)model->p[i] < 0x20 || model->p[i] == 0x7f)
            return top_expected(e, "model", what, raw);
    return 0;
}

int top_flag(const char *field, struct span raw, bool *out, struct err *e)
{
    if (raw.n == 0 || json_type_of(raw) == JSON_NULL || json_to_bool(raw, out))
        return 0;
    return top_expected(e, field, "true or false", raw);
}

bool top_has_items(struct span raw)
{
    struct json j = json_read(raw);

    return json_enter(&j, JSON_ARRAY) && json_item(&j);
}

struct span top_member(struct span object, const char *name)
{
    struct json j = json_read(object);
    struct span key, found = {0};

    if (!json_enter(&j, JSON_OBJECT))
        return found;
    while (found.p == NULL && json_member(&j, &key)) {
        bool same = span_is(key, name);
        struct span raw = json_take(&j);

        if (same)
            found = raw;
    }
    return found;
}

/* ---- the same request, to carry an answer on ---- */

/* Where a turn goes: behind the last of the messages. */
static int find_places(struct span body, struct span *last, struct span limit[2])
{
    struct json j = json_read(body);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT))
        return -1;
    while (json_member(&j, &key)) {
        if (span_is(key, "max_tokens"))
            limit[0] = json_take(&j);
        else if (span_is(key, "max_completion_tokens"))
            limit[1] = json_take(&j);
        else if (span_is(key, "messages") && json_enter(&j, JSON_ARRAY))
            while (json_item(&j))
                *last = json_take(&j);
        else
            json_take(&j);
    }
    return json_end(&j) && last->n != 0 ? 0 : -1;
}

static void add_turn(struct strbuf *out, const char *role, struct span text)
{
    if (text.n == 0)
        return;
    strbuf_addf(out, ",{\"role\":\"%s\",\"content\":", role);
    json_add_string(out, text);
    strbuf_add_char(out, '}');
}

struct span top_less(struct span limit, uint64_t used, struct arena *a)
{
    int64_t n;

    if (!json_to_i64(limit, &n) || n <= LEAST_TOKENS)
        return limit;
    n = (uint64_t)n > used + LEAST_TOKENS ? n - (int64_t)used : LEAST_TOKENS;
    return span_of(arena_printf(a, "%lld", (long long)n));
}

struct span top_extend(struct span request, struct span assistant, struct span user,
                       uint64_t used_tokens, struct arena *a)
{
    size_t most = request.n + 6 * (assistant.n + user.n) + 256;
    struct strbuf turns = strbuf_in(a, most), body = strbuf_in(a, most);
    struct span last = {0}, limit[2] = {0};
    struct json_edit edits[3];
    size_t n = 0;

    if (find_places(request, &last, limit) < 0)
        return (struct span){0};
    add_turn(&turns, "assistant", assistant);
    add_turn(&turns, "user", user);
    edits[n++] = (struct json_edit){{last.p + last.n, 0}, strbuf_span(&turns)};
    for (size_t i = 0; i < ARRAY_LEN(limit); i++) {
        size_t at = n;

        if (limit[i].n == 0)
            continue;
        while (at > 0 && edits[at - 1].old.p > limit[i].p) {
            edits[at] = edits[at - 1];
            at--;
        }
        edits[at] = (struct json_edit){limit[i], top_less(limit[i], used_tokens, a)};
        n++;
    }
    json_splice(&body, request, edits, n);
    return strbuf_span(&body);
}
