#include "providers/openai_chat.h"

#include "proxy/base/json.h"

/* ---- errors ---- */

static const char *error_type(unsigned status)
{
    if (status == 402)
        return "insufficient_quota";
    if (status == 429)
        return "requests";
    return status == 408 || status >= 500 ? "server_error" : "invalid_request_error";
}

static void add_text_or_null(struct strbuf *out, const char *text)
{
    if (text[0] == '\0')
        strbuf_add(out, "null");
    else
        json_add_string(out, span_of(text));
}

static void add_error(const struct chat_error *error, struct strbuf *out)
{
    strbuf_add(out, "{\"error\":{\"message\":");
    json_add_string(out, span_of(error->message));
    strbuf_add(out, ",\"type\":");
    json_add_string(out, span_of(error->type[0] != '\0' ? error->type : error_type(error->status)));
    strbuf_add(out, ",\"param\":");
    add_text_or_null(out, error->param);
    strbuf_add(out, ",\"code\":");
    add_text_or_null(out, error->code);
    strbuf_add(out, "}}");
}

void openai_chat_write_error(const struct chat_error *error, struct strbuf *out)
{
    add_error(error, out);
    strbuf_add_char(out, '\n');
}

void openai_chat_write_stream_error(const struct chat_error *error, struct strbuf *out)
{
    strbuf_add(out, "data: ");
    add_error(error, out);
    strbuf_add(out, "\n\n");
}

void openai_chat_write_end(struct strbuf *out)
{
    strbuf_add(out, "data: [DONE]\n\n");
}

/* ---- the list of models ---- */

void openai_chat_write_model(struct span name, uint64_t created, struct strbuf *out)
{
    strbuf_add(out, "{\"id\":");
    json_add_string(out, name);
    strbuf_add(out, ",\"object\":\"model\",\"created\":");
    strbuf_add_u64(out, created);
    strbuf_add(out, ",\"owned_by\":\"holdfast\"}");
}

void openai_chat_write_models(const struct span *names, size_t n, uint64_t created,
                              struct strbuf *out)
{
    strbuf_add(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            strbuf_add_char(out, ',');
        openai_chat_write_model(names[i], created, out);
    }
    strbuf_add(out, "]}\n");
}
