#include "providers/request_top.h"

#define MAX_MODEL 200 /* bytes of a model's name */

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
