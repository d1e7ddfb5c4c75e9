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

/* ---- answers ---- */

/* The five reasons that clients know. */
static const char *finish_reason(struct span raw)
{
    static const char *const known[] = {"stop", "length", "tool_calls", "content_filter",
                                        "function_call"};

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (json_is_string(raw, known[i]))
            return known[i];
    return json_is_string(raw, "model_length") || json_is_string(raw, "max_tokens") ? "length"
                                                                                    : "stop";
}

static void add_usage(struct strbuf *out, const struct chat_usage *u)
{
    strbuf_add(out, "{\"prompt_tokens\":");
    strbuf_add_u64(out, u->input);
    strbuf_add(out, ",\"completion_tokens\":");
    strbuf_add_u64(out, u->output);
    strbuf_add(out, ",\"total_tokens\":");
    strbuf_add_u64(out, u->input + u->output);
    strbuf_add(out, ",\"prompt_tokens_details\":{\"cached_tokens\":");
    strbuf_add_u64(out, u->cached);
    strbuf_add(out, "},\"completion_tokens_details\":{\"reasoning_tokens\":");
    strbuf_add_u64(out, u->reasoning);
    strbuf_add(out, "}}");
}

/* A raw JSON string as it stands; another raw value as the text of a string; nothing as "". */
static void add_raw_string(struct strbuf *out, struct span raw)
{
    if (json_type_of(raw) == JSON_STRING)
        strbuf_add_span(out, raw);
    else
        json_add_string(out, raw);
}

static void add_head(struct strbuf *out, struct span id, const char *object, struct span model,
                     uint64_t created)
{
    strbuf_add(out, "{\"id\":");
    json_add_string(out, id);
    strbuf_add(out, ",\"object\":\"");
    strbuf_add(out, object);
    strbuf_add(out, "\",\"created\":");
    strbuf_add_u64(out, created);
    strbuf_add(out, ",\"model\":");
    json_add_string(out, model);
}

static void add_field(struct strbuf *out, const char *name, struct span raw)
{
    strbuf_add_char(out, '"');
    strbuf_add(out, name);
    strbuf_add(out, "\":");
    add_raw_string(out, raw);
}

/* The members of `delta`. */
static void add_delta(struct strbuf *out, const struct chat_event *ev)
{
    switch (ev->kind) {
    case CHAT_START:
        strbuf_add(out, "\"role\":\"assistant\",\"content\":\"\"");
        break;
    case CHAT_TEXT:
        add_field(out, "content", ev->text);
        break;
    case CHAT_REASONING:
        add_field(out, "reasoning_content", ev->text);
        break;
    case CHAT_REFUSAL:
        add_field(out, "refusal", ev->text);
        break;
    case CHAT_TOOL_START:
        strbuf_addf(out, "\"tool_calls\":[{\"index\":%u,", ev->tool);
        add_field(out, "id", ev->id);
        strbuf_add(out, ",\"type\":\"function\",\"function\":{");
        add_field(out, "name", ev->name);
        strbuf_add(out, ",\"arguments\":\"\"}}]");
        break;
    case CHAT_TOOL_ARGS:
        strbuf_addf(out, "\"tool_calls\":[{\"index\":%u,\"function\":{", ev->tool);
        add_field(out, "arguments", ev->text);
        strbuf_add(out, "}}]");
        break;
    case CHAT_STOP:
    case CHAT_USAGE:
    case CHAT_END:
        break;
    }
}

void openai_chat_write_event(const struct chat_event *ev, struct span id, struct span model,
                             uint64_t created, struct strbuf *out)
{
    if (ev->kind == CHAT_END) {
        openai_chat_write_end(out);
        return;
    }
    strbuf_add(out, "data: ");
    add_head(out, id, "chat.completion.chunk", model, created);
    if (ev->kind == CHAT_USAGE) {
        strbuf_add(out, ",\"choices\":[],\"usage\":");
        add_usage(out, &ev->usage);
    } else {
        strbuf_addf(out, ",\"choices\":[{\"index\":%u,\"delta\":{", ev->choice);
        add_delta(out, ev);
        strbuf_add(out, "},\"logprobs\":null,\"finish_reason\":");
        if (ev->kind == CHAT_STOP)
            strbuf_addf(out, "\"%s\"}]", finish_reason(ev->text));
        else
            strbuf_add(out, "null}]");
    }
    strbuf_add(out, "}\n\n");
}

void openai_chat_write_answer(struct span id, struct span model, uint64_t created,
                              struct span text_raw, const struct chat_usage *usage,
                              struct strbuf *out)
{
    add_head(out, id, "chat.completion", model, created);
    strbuf_add(out, ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    add_raw_string(out, text_raw);
    strbuf_add(out, ",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":");
    add_usage(out, usage);
    strbuf_add(out, "}\n");
}

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
