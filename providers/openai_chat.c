#include "providers/openai_chat.h"

#include "providers/foreign.h"
#include "providers/params.h"

#define MAX_MODEL 200   /* bytes of a model's name */
#define MAX_HEAD  16384 /* bytes of the header fields we add */

/* ---- the request, as the client sent it ---- */

/* The keys we read. Each may stand once: with two, we and the provider could believe different
 * ones. */
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

static enum field find_field(struct span key)
{
    enum field f = 0;

    while (f < FIELDS && !span_is(key, field_names[f]))
        f++;
    return f;
}

/* "FIELD: expected WHAT, got VALUE", the value cut short. */
static int expected(struct err *e, const char *field, const char *what, struct span raw)
{
    if (raw.n == 0)
        return err_set(e, ERR_VALUE, "%s: expected %s, but it is missing", field, what);
    return err_set(e, ERR_VALUE, "%s: expected %s, got %.*s%s", field, what,
                   (int)(raw.n < 60 ? raw.n : 60), raw.p, raw.n < 60 ? "" : "...");
}

static int read_fields(struct span body, struct span *value, struct err *e)
{
    struct json j = json_read(body);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT)) {
        struct span raw = json_take(&j);

        if (!json_end(&j))
            goto bad;
        return expected(e, "request body", "a JSON object", raw);
    }
    while (json_member(&j, &key)) {
        enum field f = find_field(key);
        struct span raw = json_take(&j);

        if (f == FIELDS)
            continue;
        if (value[f].p != NULL)
            return err_set(e, ERR_VALUE, "%s: stands twice in the request, expected once",
                           field_names[f]);
        value[f] = raw;
    }
    if (json_end(&j))
        return 0;
bad:
    json_error(&j, e);
    return err_prefix(e, "request body");
}

static int check_model(struct span raw, struct arena *a, struct span *model, struct err *e)
{
    static const char what[] = "a model's name, 1 to 200 bytes without control characters";

    if (json_type_of(raw) != JSON_STRING)
        return expected(e, "model", what, raw);
    *model = json_text(raw, a);
    if (model->n == 0 || model->n > MAX_MODEL)
        return expected(e, "model", what, raw);
    for (size_t i = 0; i < model->n; i++)
        if ((unsigned char)model->p[i] < 0x20 || model->p[i] == 0x7f)
            return expected(e, "model", what, raw);
    return 0;
}

static bool has_items(struct span raw)
{
    struct json j = json_read(raw);

    return json_enter(&j, JSON_ARRAY) && json_item(&j);
}

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

/* true, false, or null and missing, which mean false. */
static int check_flag(const char *field, struct span raw, bool *out, struct err *e)
{
    if (raw.n == 0 || json_type_of(raw) == JSON_NULL || json_to_bool(raw, out))
        return 0;
    return expected(e, field, "true or false", raw);
}

static int check_stream_options(struct span raw, bool *usage_asked, struct err *e)
{
    struct json j = json_read(raw);
    struct span key, include = {0};

    if (raw.n == 0 || json_type_of(raw) == JSON_NULL)
        return 0;
    if (!json_enter(&j, JSON_OBJECT))
        return expected(e, "stream_options", "an object", raw);
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
    return check_flag("stream_options.include_usage", include, usage_asked, e);
}

/* How many answers; what is no sensible number is left for the provider to refuse. */
static unsigned choices(struct span raw)
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

/* May its first output take minutes? */
static bool reasons(struct span model, struct span effort)
{
    if (json_type_of(effort) == JSON_STRING)
        return !json_is_string(effort, "none") && !json_is_string(effort, "minimal");
    return openai_chat_always_reasons(model);
}

/* Is the answer to be data rather than prose? */
static bool is_structured(struct span form)
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

    if (span_starts(body, "\xef\xbb\xbf")) /* RFC 8259 8.1: we may read it, but not send it */
        body = (struct span){body.p + 3, body.n - 3};
    if (read_fields(body, value, e) < 0 || check_model(value[MODEL], a, &req.model, e) < 0 ||
        check_flag("stream", value[STREAM], &req.stream, e) < 0 ||
        check_stream_options(value[STREAM_OPTIONS], &req.usage_asked, e) < 0)
        return -1;
    if (!has_items(value[MESSAGES]))
        return expected(e, "messages", "an array with at least one message", value[MESSAGES]);

    /* A file lives at one provider, and so does what its own tools find. As a key or a value this
     * stands in no text: quotes are escaped there. */
    req.pinned = span_find(value[MESSAGES], "\"file_id\"") != NULL || value[WEB_SEARCH].p != NULL ||
                 has_provider_tool(value[TOOLS]);
    req.body = body;
    req.model_raw = value[MODEL];
    req.tools = has_items(value[TOOLS]) || has_items(value[FUNCTIONS]);
    req.structured = is_structured(value[RESPONSE_FORMAT]);
    req.logprobs = json_type_of(value[LOGPROBS]) == JSON_TRUE;
    req.audio = json_type_of(value[AUDIO]) == JSON_OBJECT;
    req.choices = choices(value[CHOICES]);
    req.reasoning = reasons(req.model, value[REASONING_EFFORT]);
    req.session = json_type_of(value[PROMPT_CACHE_KEY]) == JSON_STRING ? value[PROMPT_CACHE_KEY]
                  : json_type_of(value[USER]) == JSON_STRING           ? value[USER]
                                                                       : (struct span){0};
    *out = req;
    return 0;
}

/* ---- the same request, to carry an answer on ---- */

#define LEAST_TOKENS 16

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

/* What is left of a limit, as text; it is no answer any more with less than a few tokens, if it was
 * one before. */
static struct span less(struct span limit, uint64_t used, struct arena *a)
{
    int64_t n;

    if (!json_to_i64(limit, &n) || n <= LEAST_TOKENS)
        return limit;
    n = (uint64_t)n > used + LEAST_TOKENS ? n - (int64_t)used : LEAST_TOKENS;
    return span_of(arena_printf(a, "%lld", (long long)n));
}

static int extend(const struct chat_request *req, struct span assistant, struct span user,
                  uint64_t used_tokens, struct arena *a, struct chat_request *out, struct err *e)
{
    size_t most = req->body.n + 6 * (assistant.n + user.n) + 256;
    struct strbuf turns = strbuf_in(a, most), body = strbuf_in(a, most);
    struct span last = {0}, limit[2] = {0};
    struct json_edit edits[3];
    size_t n = 0;

    if (find_places(req->body, &last, limit) < 0)
        return err_set(e, ERR_VALUE, "messages: no place for another one was found");
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
        edits[at] = (struct json_edit){limit[i], less(limit[i], used_tokens, a)};
        n++;
    }
    json_splice(&body, req->body, edits, n);
    return read_request(strbuf_span(&body), a, out, e);
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

static struct span path_of(const struct dialect_target *target, struct span model, struct arena *a)
{
    static const char end[] = "/chat/completions";
    size_t query = target->query != NULL ? strlen(target->query) : 0;
    struct strbuf path = strbuf_in(a, target->base_path.n + 3 * model.n + sizeof(end) + query + 1);

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
                         struct arena *a, struct dialect_request *out)
{
    *out = (struct dialect_request){
        .path = path_of(target, target->model.p != NULL ? target->model : client_model, a),
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

static void write_request(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct dialect_request *out, struct drops *drops)
{
    const char *body_end = req->body.p + req->body.n;
    const char *model_end = req->model_raw.p + req->model_raw.n;

    openai_chat_address(target, req->model, a, out);
    struct span body = target->strip_foreign ? foreign_strip(req->body, a, drops) : req->body;

    if (target->short_ids)
        body = foreign_short_ids(body, a);
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

const struct dialect dialect_openai_chat = {
    .name = "openai_chat",
    .marks_end = true,
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
