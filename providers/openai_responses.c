#include "providers/openai_responses.h"

#include "providers/openai_chat.h"
#include "providers/params.h"
#include "providers/request_top.h"

/* The keys we read. */
enum field {
    MODEL,
    INPUT,
    STREAM,
    TOOLS,
    TOOL_CHOICE,
    REASONING,
    TEXT,
    PREVIOUS,
    CONVERSATION,
    PROMPT,
    BACKGROUND,
    INCLUDE,
    PROMPT_CACHE_KEY,
    SAFETY_IDENTIFIER,
    USER,
    FIELDS
};

static const char *const field_names[FIELDS] = {
    "model",
    "input",
    "stream",
    "tools",
    "tool_choice",
    "reasoning",
    "text",
    "previous_response_id",
    "conversation",
    "prompt",
    "background",
    "include",
    "prompt_cache_key",
    "safety_identifier",
    "user",
};

static bool is_set(struct span raw)
{
    return raw.n != 0 && json_type_of(raw) != JSON_NULL;
}

/* Is there anything to answer, here or where it is kept? */
static int check_input(const struct span *v, struct err *e)
{
    enum json_type type = json_type_of(v[INPUT]);

    if (type == JSON_STRING || top_has_items(v[INPUT]))
        return 0;
    if (!is_set(v[INPUT]) && (is_set(v[PREVIOUS]) || is_set(v[CONVERSATION]) || is_set(v[PROMPT])))
        return 0;
    return top_expected(e, "input", "a string or an array with at least one item", v[INPUT]);
}

/* Tools that any model can be told of. */
static bool is_portable(struct span type)
{
    return json_is_string(type, "function") || json_is_string(type, "custom") ||
           json_is_string(type, "namespace");
}

/* Without a tool of its own a provider's model cannot do what is asked: where there are no others,
 * or this one has to be used. Beside others it is only one more, which agents declare as a matter
 * of course; it can be missed. */
static bool needs_provider_tool(struct span tools, struct span choice)
{
    struct json j = json_read(tools);
    struct span chosen = top_member(choice, "type");
    bool any = false, portable = false;

    if (json_enter(&j, JSON_ARRAY))
        while (json_item(&j)) {
            struct span type = top_member(json_take(&j), "type");

            any = true;
            portable |= type.n == 0 || is_portable(type);
        }
    return (any && !portable) ||
           (chosen.n != 0 && !is_portable(chosen) && !json_is_string(chosen, "allowed_tools"));
}

/* As a key or a value this stands in no text: quotes are escaped there. */
static bool has_tools(const struct span *v)
{
    return top_has_items(v[TOOLS]) || span_find(v[INPUT], "\"additional_tools\"") != NULL;
}

/* What only the provider has that keeps it; found in the same way. */
static bool is_pinned(const struct span *v)
{
    static const char *const marks[] = {"\"file_id\"", "\"item_reference\"", "\"compaction\""};
    bool background = false;

    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (span_find(v[INPUT], marks[i]) != NULL)
            return true;
    json_to_bool(v[BACKGROUND], &background);
    return background || is_set(v[PREVIOUS]) || is_set(v[CONVERSATION]) || is_set(v[PROMPT]) ||
           needs_provider_tool(v[TOOLS], v[TOOL_CHOICE]);
}

static struct span session_of(const struct span *v)
{
    static const enum field names[] = {PROMPT_CACHE_KEY, SAFETY_IDENTIFIER, USER};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (json_type_of(v[names[i]]) == JSON_STRING)
            return v[names[i]];
    return (struct span){0};
}

static int read_request(struct span body, struct arena *a, struct chat_request *out, struct err *e)
{
    struct span v[FIELDS] = {0};
    struct chat_request req = {.choices = 1, .usage_asked = true};

    body = top_body(body);
    if (top_fields(body, field_names, FIELDS, v, e) < 0 ||
        top_model(v[MODEL], a, &req.model, e) < 0 ||
        top_flag("stream", v[STREAM], &req.stream, e) < 0 || check_input(v, e) < 0)
        return -1;
    req.body = body;
    req.content = v[INPUT];
    req.model_raw = v[MODEL];
    req.tools = has_tools(v);
    req.structured = openai_chat_is_structured(top_member(v[TEXT], "format"));
    req.logprobs = span_find(v[INCLUDE], "logprobs") != NULL;
    req.pinned = is_pinned(v);
    req.reasoning = openai_chat_reasons(req.model, top_member(v[REASONING], "effort"));
    req.session = session_of(v);
    *out = req;
    return 0;
}

/* ---- the same request, to carry an answer on ---- */

#define MAX_TURN 64 /* bytes around the text of a turn */

static void add_turn(struct strbuf *out, const char *role, struct span raw)
{
    if (raw.n <= 2)
        return;
    strbuf_addf(out, "%s{\"role\":\"%s\",\"content\":", out->len != 0 ? "," : "", role);
    strbuf_add_span(out, raw);
    strbuf_add_char(out, '}');
}

/* The input with these turns behind it; a text alone becomes the first of a list. */
static struct span longer_input(struct span input, struct span assistant, struct span user,
                                struct arena *a)
{
    size_t most = input.n + 6 * (assistant.n + user.n) + 4 * MAX_TURN; /* "\u0000" is the longest */
    struct strbuf turns = strbuf_in(a, most), out = strbuf_in(a, most);

    if (json_type_of(input) == JSON_STRING)
        add_turn(&turns, "user", input);
    add_turn(&turns, "assistant", chat_quote(assistant, a));
    add_turn(&turns, "user", chat_quote(user, a));
    if (json_type_of(input) == JSON_STRING)
        strbuf_add_char(&out, '[');
    else /* without its closing bracket */
        strbuf_add_n(&out, input.p, input.n - 1);
    if (json_type_of(input) != JSON_STRING && turns.len != 0)
        strbuf_add_char(&out, ',');
    strbuf_add_span(&out, strbuf_span(&turns));
    strbuf_add_char(&out, ']');
    return strbuf_span(&out);
}

static int extend(const struct chat_request *req, struct span assistant, struct span user,
                  uint64_t used_tokens, struct arena *a, struct chat_request *out, struct err *e)
{
    struct span input = top_member(req->body, "input");
    struct span limit = top_member(req->body, "max_output_tokens");
    struct json_edit of_input, of_limit, edits[2];
    struct strbuf body;
    size_t n = 0;

    if (json_type_of(input) != JSON_STRING && !top_has_items(input))
        return err_set(e, ERR_VALUE, "input: no place for another turn was found");
    of_input = (struct json_edit){input, longer_input(input, assistant, user, a)};
    of_limit = (struct json_edit){limit, top_less(limit, used_tokens, a)};
    if (limit.n != 0 && limit.p < input.p)
        edits[n++] = of_limit;
    edits[n++] = of_input;
    if (limit.n != 0 && limit.p > input.p)
        edits[n++] = of_limit;
    body = strbuf_in(a, req->body.n + of_input.now.n + of_limit.now.n);
    json_splice(&body, req->body, edits, n);
    return read_request(strbuf_span(&body), a, out, e);
}

/* ---- the request, for a provider ---- */

/* The client's bytes, without what other providers left in them. */
static void write_request(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct dialect_request *out, struct drops *drops)
{
    bool all = (target->without & params_find(SPAN("encrypted_content"))) != 0;
    struct span body = responses_strip(req->body, all, a, drops);

    openai_chat_address(target, req->model, "/responses", a, out);
    openai_chat_pass_on(req, body, target, a, out, drops);
}

/* A stream ends with an event that only its writer or its provider has. */
static void write_end(struct strbuf *out UNUSED)
{
}

const struct dialect dialect_openai_responses = {
    .name = "openai_responses",
    .marks_end = true,
    .key_header = "Authorization: Bearer ",
    .id_prefix = "resp_",
    .comments = true,
    .client_fields = (const char *const[]){"openai-beta", "idempotency-key", NULL},
    .read_request = read_request,
    .extend = extend,
    .read_conversation = openai_responses_read_conversation,
    .write_error = openai_chat_write_error,
    .write_stream_error = openai_responses_write_stream_error,
    .write_break = openai_responses_write_break,
    .write_end = write_end,
    .write_event = openai_responses_write_event,
    .follow = openai_responses_follow,
    .split = openai_responses_split,
    .write_answer = openai_responses_write_answer,
    .write_models = openai_chat_write_models,
    .write_model = openai_chat_write_model,
    .write_request = write_request,
    .write_conversation = openai_responses_write_conversation,
    .read_event = openai_responses_read_event,
    .read_answer = openai_responses_read_answer,
    .judge_end = openai_responses_judge_end,
    .classify = openai_chat_classify,
};
