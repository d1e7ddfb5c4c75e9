#include "providers/openai_chat.h"

#include "providers/foreign.h"
#include "providers/params.h"
#include "providers/request_top.h"

#define MAX_HEAD 16384 /* bytes of the header fields we add */

/* ---- the request, as the client sent it ---- */

/* The keys we read. */
enum field {
    MODEL,
    MESSAGES,
    STREAM,
    STREAM_OPTIONS,
    TOOLS,
    FUNCTIONS,
    REASONING_EFFORT,
    CHOICES,
    WEB_SEARCH,
    PROMPT_CACHE_KEY,
    USER,
    RESPONSE_FORMAT,
    LOGPROBS,
    AUDIO,
    FIELDS
};

static const char *const field_names[FIELDS] = {
    "model",
    "messages",
    "stream",
    "stream_options",
    "tools",
    "functions",
    "reasoning_effort",
    "n",
    "web_search_options",
    "prompt_cache_key",
    "user",
    "response_format",
    "logprobs",
    "audio",
};

/* Is there a tool that a provider runs itself (web_search, mcp, ...)? What is no object, or has no
 * type, is the provider's to refuse. */
static bool has_provider_tool(struct span tools)
{
    struct json j = json_read(tools);
    struct span key;
    bool found = false;

    if (!json_enter(&j, JSON_ARRAY))
        return false;
    while (json_item(&j)) {
        if (!json_enter(&j, JSON_OBJECT)) {
            json_take(&j);
            continue;
        }
        while (json_member(&j, &key)) {
            bool is_type = span_is(key, "type");
            struct span raw = json_take(&j);

            found |= is_type && json_type_of(raw) == JSON_STRING &&
                     !json_is_string(raw, "function") && !json_is_string(raw, "custom");
        }
    }
    return found;
}

int openai_chat_check_stream_options(struct span raw, bool *usage_asked, struct err *e)
{
    struct json j = json_read(raw);
    struct span key, include = {0};

    if (raw.n == 0 || json_type_of(raw) == JSON_NULL)
        return 0;
    if (!json_enter(&j, JSON_OBJECT))
        return top_expected(e, "stream_options", "an object", raw);
    while (json_member(&j, &key)) {
        struct span value = json_take(&j);

        if (!span_is(key, "include_usage"))
            continue;
        if (include.p != NULL)
            return err_set(e, ERR_VALUE,
                           "stream_options.include_usage: stands twice in the request, "
                           "expected once");
        include = value;
    }
    return top_flag("stream_options.include_usage", include, usage_asked, e);
}

/* How many answers; what is no sensible number is left for the provider to refuse. */
unsigned openai_chat_choices(struct span raw)
{
    int64_t n;

    return json_to_i64(raw, &n) && n >= 1 && n <= 128 ? (unsigned)n : 1;
}

bool openai_chat_always_reasons(struct span model)
{
    const char *slash = model.n != 0 ? memrchr(model.p, '/', model.n) : NULL;

    if (slash != NULL)
        model = (struct span){slash + 1, (size_t)(model.p + model.n - slash - 1)};
    return span_starts(model, "o1") || span_starts(model, "o3") || span_starts(model, "o4") ||
           (span_starts(model, "gpt-5") && !span_starts(model, "gpt-5-chat"));
}

bool openai_chat_reasons(struct span model, struct span effort)
{
    if (json_type_of(effort) == JSON_STRING)
        return !json_is_string(effort, "none") && !json_is_string(effort, "minimal");
    return openai_chat_always_reasons(model);
}

bool openai_chat_is_structured(struct span form)
{
    struct json j = json_read(form);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT))
        return false;
    while (json_member(&j, &key))
        if (json_is_string(json_take(&j), "text") && span_is(key, "type"))
            return false;
    return true;
}

static int read_request(struct span body, struct arena *a, struct chat_request *out, struct err *e)
{
    struct span value[FIELDS] = {0};
    struct chat_request req = {0};

    body = top_body(body);
    if (top_fields(body, field_names, FIELDS, value, e) < 0 ||
        top_model(value[MODEL], a, &req.model, e) < 0 ||
        top_flag("stream", value[STREAM], &req.stream, e) < 0 ||
        openai_chat_check_stream_options(value[STREAM_OPTIONS], &req.usage_asked, e) < 0)
        return -1;
    if (!top_has_items(value[MESSAGES]))
        return top_expected(e, "messages", "an array with at least one message", value[MESSAGES]);

    /* A file lives at one provider, and so does what its own tools find. As a key or a value this
     * stands in no text: quotes are escaped there. */
    req.pinned = span_find(value[MESSAGES], "\"file_id\"") != NULL || value[WEB_SEARCH].p != NULL ||
                 has_provider_tool(value[TOOLS]);
    req.body = body;
    req.content = value[MESSAGES];
    req.model_raw = value[MODEL];
    req.tools = top_has_items(value[TOOLS]) || top_has_items(value[FUNCTIONS]);
    req.structured = openai_chat_is_structured(value[RESPONSE_FORMAT]);
    req.logprobs = json_type_of(value[LOGPROBS]) == JSON_TRUE;
    req.audio = json_type_of(value[AUDIO]) == JSON_OBJECT;
    req.choices = openai_chat_choices(value[CHOICES]);
    req.reasoning = openai_chat_reasons(req.model, value[REASONING_EFFORT]);
    req.session = json_type_of(value[PROMPT_CACHE_KEY]) == JSON_STRING ? value[PROMPT_CACHE_KEY]
                  : json_type_of(value[USER]) == JSON_STRING           ? value[USER]
                                                                       : (struct span){0};
    *out = req;
    return 0;
}

/* ---- the same request, to carry an answer on ---- */

static int extend(const struct chat_request *req, struct span assistant, struct span user,
                  uint64_t used_tokens, struct arena *a, struct chat_request *out, struct err *e)
{
    struct span body = top_extend(req->body, assistant, user, used_tokens, a);

    if (body.n == 0)
        return err_set(e, ERR_VALUE, "messages: no place for another one was found");
    return read_request(body, a, out, e);
}

/* ---- the request, for a provider ---- */

/* A name as one segment of a path (RFC 3986 2.3): whatever it holds, it stays one. */
static void add_segment(struct strbuf *out, struct span name)
{
    static const char hex[] = "0123456789ABCDEF";
    bool dots = span_is(name, ".") || span_is(name, "..");

    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '-' || c == '_' || c == '~' || (c == '.' && !dots)) {
            strbuf_add_char(out, (char)c);
        } else {
            strbuf_add_char(out, '%');
            strbuf_add_char(out, hex[c >> 4]);
            strbuf_add_char(out, hex[c & 15]);
        }
    }
}

static struct span path_of(const struct dialect_target *target, struct span model, const char *end,
                           struct arena *a)
{
    size_t query = target->query != NULL ? strlen(target->query) : 0;
    struct strbuf path = strbuf_in(a, target->base_path.n + 3 * model.n + strlen(end) + query + 2);

    strbuf_add_span(&path, target->base_path);
    if (target->model_in_path) {
        strbuf_add_char(&path, '/');
        add_segment(&path, model);
    }
    strbuf_add(&path, end);
    if (target->query != NULL)
        strbuf_add(&path, target->query);
    return strbuf_span(&path);
}

void openai_chat_address(const struct dialect_target *target, struct span client_model,
                         const char *endpoint, struct arena *a, struct dialect_request *out)
{
    *out = (struct dialect_request){
        .path =
            path_of(target, target->model.p != NULL ? target->model : client_model, endpoint, a),
        .head_fields = strbuf_in(a, MAX_HEAD),
    };
    if (target->key.n != 0) {
        strbuf_add(&out->head_fields,
                   target->key_header != NULL ? target->key_header : "Authorization: Bearer ");
        strbuf_add_span(&out->head_fields, target->key);
        strbuf_add(&out->head_fields, "\r\n");
    }
}

/* What the target will not take. A model that we chose is known by its name; the client's own
 * choice is left alone until it is refused. */
static uint32_t refused_by(const struct dialect_target *target)
{
    uint32_t without = target->without;

    if (target->rewrite_model && openai_chat_always_reasons(target->model))
        without |= params_of_reasoning_models();
    return without;
}

void openai_chat_pass_on(const struct chat_request *req, struct span body,
                         const struct dialect_target *target, struct arena *a,
                         struct dialect_request *out, struct drops *drops)
{
    const char *body_end = req->body.p + req->body.n;
    const char *model_end = req->model_raw.p + req->model_raw.n;

    if (refused_by(target) != 0 || body.p != req->body.p) {
        struct span model = {0};

        if (target->rewrite_model && target->model.p != NULL)
            model = chat_quote(target->model, a);
        out->body[0] = params_rewrite(body, model, refused_by(target), a, drops);
        out->body_bytes = out->body[0].n;
        return;
    }
    out->body[0] = req->body;
    out->body_bytes = req->body.n;
    if (!target->rewrite_model || target->model.p == NULL)
        return;
    out->body[0].n = (size_t)(req->model_raw.p - req->body.p);
    out->body[1] = chat_quote(target->model, a);
    out->body[2] = (struct span){model_end, (size_t)(body_end - model_end)};
    out->body_bytes = out->body[0].n + out->body[1].n + out->body[2].n;
}

static void write_request(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct dialect_request *out, struct drops *drops)
{
    struct span body = target->strip_foreign ? foreign_strip(req->body, a, drops) : req->body;

    if (target->short_ids)
        body = foreign_short_ids(body, a);
    openai_chat_address(target, req->model, "/chat/completions", a, out);
    openai_chat_pass_on(req, body, target, a, out, drops);
}

const struct dialect dialect_openai_chat = {
    .name = "openai_chat",
    .marks_end = true,
    .key_header = "Authorization: Bearer ",
    .id_prefix = "chatcmpl-",
    .comments = true,
    .client_fields = (const char *const[]){"openai-beta", NULL},
    .read_request = read_request,
    .extend = extend,
    .read_conversation = openai_chat_read_conversation,
    .write_error = openai_chat_write_error,
    .write_stream_error = openai_chat_write_stream_error,
    .write_end = openai_chat_write_end,
    .write_event = openai_chat_write_event,
    .follow = openai_chat_follow,
    .write_answer = openai_chat_write_answer,
    .write_models = openai_chat_write_models,
    .write_model = openai_chat_write_model,
    .write_request = write_request,
    .write_conversation = openai_chat_write_conversation,
    .read_event = openai_chat_read_event,
    .read_answer = openai_chat_read_answer,
    .judge_end = openai_chat_judge_end,
    .classify = openai_chat_classify,
};
