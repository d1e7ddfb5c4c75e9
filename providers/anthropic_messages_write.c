#include "providers/anthropic_messages.h"

#include <time.h>

/* ---- errors ---- */

static const char *error_type(unsigned status)
{
    static const struct {
        unsigned status;
        const char *type;
    } types[] = {
        {401, "authentication_error"}, {402, "billing_error"},    {403, "permission_error"},
        {404, "not_found_error"},      {408, "timeout_error"},    {409, "conflict_error"},
        {413, "request_too_large"},    {429, "rate_limit_error"}, {503, "overloaded_error"},
        {504, "timeout_error"},        {529, "overloaded_error"},
    };

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (status == types[i].status)
            return types[i].type;
    return status >= 400 && status < 500 ? "invalid_request_error" : "api_error";
}

/* The type is this dialect's word for the status: what another provider called it means nothing to
 * these clients. */
static void add_error(const struct chat_error *error, struct strbuf *out)
{
    strbuf_addf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
                error_type(error->status));
    json_add_string(out, span_of(error->message));
    strbuf_add(out, "},\"request_id\":");
    if (error->request_id != NULL)
        json_add_string(out, span_of(error->request_id));
    else
        strbuf_add(out, "null");
    strbuf_add_char(out, '}');
}

void anthropic_write_error(const struct chat_error *error, struct strbuf *out)
{
    add_error(error, out);
    strbuf_add_char(out, '\n');
}

void anthropic_write_stream_error(const struct chat_error *error, struct strbuf *out)
{
    strbuf_add(out, "event: error\ndata: ");
    add_error(error, out);
    strbuf_add(out, "\n\n");
}

void anthropic_write_end(struct strbuf *out)
{
    strbuf_add(out, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

/* ---- the list of models ---- */

void anthropic_write_model(struct span name, uint64_t created, struct strbuf *out)
{
    time_t seconds = (time_t)created;
    char date[32];
    struct tm tm;

    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &tm));
    strbuf_add(out, "{\"type\":\"model\",\"id\":");
    json_add_string(out, name);
    strbuf_add(out, ",\"display_name\":");
    json_add_string(out, name);
    strbuf_addf(out, ",\"created_at\":\"%s\"}", date);
}

static void add_name_or_null(struct strbuf *out, const struct span *name)
{
    if (name != NULL)
        json_add_string(out, *name);
    else
        strbuf_add(out, "null");
}

void anthropic_write_models(const struct span *names, size_t n, uint64_t created,
                            struct strbuf *out)
{
    strbuf_add(out, "{\"data\":[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            strbuf_add_char(out, ',');
        anthropic_write_model(names[i], created, out);
    }
    strbuf_add(out, "],\"has_more\":false,\"first_id\":");
    add_name_or_null(out, n > 0 ? &names[0] : NULL);
    strbuf_add(out, ",\"last_id\":");
    add_name_or_null(out, n > 0 ? &names[n - 1] : NULL);
    strbuf_add(out, "}\n");
}
