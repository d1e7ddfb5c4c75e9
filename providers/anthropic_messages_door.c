#include "providers/anthropic_messages.h"

/* The keys we read. */
enum field {
    MODEL,
    MESSAGES,
    STREAM,
    TOOLS,
    THINKING,
    OUTPUT_CONFIG,
    OUTPUT_FORMAT,
    METADATA,
    CONTAINER,
    MCP_SERVERS,
    FIELDS
};

static const char *const field_names[FIELDS] = {
    "model",         "messages",      "stream",   "tools",     "thinking",
    "output_config", "output_format", "metadata", "container", "mcp_servers",
};

/* Tools that the provider itself runs: what they find is not to be had elsewhere. Those of other
 * types (bash_20250124, custom) are run by the client. */
static bool has_provider_tool(struct span tools)
{
    static const char *const runs[] = {"\"web_search", "\"web_fetch", "\"code_execution",
                                       "\"tool_search_tool", "\"mcp_toolset"};
    struct json j = json_read(tools);

    if (!json_enter(&j, JSON_ARRAY))
        return false;
    while (json_item(&j)) {
        struct span type = top_member(json_take(&j), "type");

        for (size_t i = 0; i < ARRAY_LEN(runs); i++)
            if (span_starts(type, runs[i]))
                return true;
    }
    return false;
}

static bool is_set(struct span raw)
{
    return raw.n != 0 && json_type_of(raw) != JSON_NULL;
}

static bool thinks(struct span thinking)
{
    struct span type = top_member(thinking, "type");

    return json_is_string(type, "enabled") || json_is_string(type, "adaptive");
}

int anthropic_read_request(struct span body, struct arena *a, struct chat_request *out,
                           struct err *e)
{
    struct span value[FIELDS] = {0}, user;
    struct chat_request req = *out;

    body = top_body(body);
    if (top_fields(body, field_names, FIELDS, value, e) < 0 ||
        top_model(value[MODEL], a, &req.model, e) < 0 ||
        top_flag("stream", value[STREAM], &req.stream, e) < 0)
        return -1;
    if (!top_has_items(value[MESSAGES]))
        return top_expected(e, "messages", "an array with at least one message", value[MESSAGES]);

    /* As a key or a value "file_id" stands in no text: quotes are escaped there. */
    req.pinned = span_find(value[MESSAGES], "\"file_id\"") != NULL || is_set(value[CONTAINER]) ||
                 top_has_items(value[MCP_SERVERS]) || has_provider_tool(value[TOOLS]);
    req.body = body;
    req.content = value[MESSAGES];
    req.model_raw = value[MODEL];
    req.stream &= !req.counting;
    req.usage_asked = true;
    req.tools = top_has_items(value[TOOLS]);
    req.structured =
        is_set(value[OUTPUT_FORMAT]) || is_set(top_member(value[OUTPUT_CONFIG], "format"));
    req.choices = 1;
    req.reasoning = req.reasoning_asked = thinks(value[THINKING]);
    user = top_member(value[METADATA], "user_id");
    req.session = json_type_of(user) == JSON_STRING ? user : (struct span){0};
    *out = req;
    return 0;
}

int anthropic_extend(const struct chat_request *req, struct span assistant, struct span user,
                     uint64_t used_tokens, struct arena *a, struct chat_request *out, struct err *e)
{
    struct span body = top_extend(req->body, assistant, user, used_tokens, a);

    if (body.n == 0)
        return err_set(e, ERR_VALUE, "messages: no place for another one was found");
    *out = (struct chat_request){0};
    return anthropic_read_request(body, a, out, e);
}
