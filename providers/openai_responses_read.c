#include "providers/openai_responses.h"

#include "providers/openai_chat.h"
#include "providers/request_top.h"

#define FEW 32 /* items of which the reader remembers what it has told */

/* The reader's own state between two events: indices of watch->own, each a bit for an item. What
 * an item holds comes in pieces, and once more as a whole: it is told once. */
enum {
    TOLD,         /* its text, arguments or reasoning */
    TOLD_REFUSAL, /* its refusal */
    CALLED,       /* its call has begun */
    FINISHED,     /* all of it */
};

struct reader {
    struct chat_watch *watch;
    bool whole;      /* an answer in one piece: nothing was told before */
    bool output;     /* this event brought some */
    unsigned item;   /* output_index: calls go by it as well */
    chat_sink *sink; /* may be NULL */
    void *ctx;
};

/* The members of an event that any of them has; raw. */
struct event {
    struct span type, delta, text, arguments, refusal, item, response, error;
    struct span output_index, summary_index;
};

/* ---- telling ---- */

static void emit(struct reader *r, struct chat_event ev)
{
    if (r->sink != NULL)
        r->sink(r->ctx, &ev);
}

static bool was(const struct reader *r, unsigned what)
{
    if (r->whole)
        return false;
    return r->item >= FEW || (r->watch->own[what] >> r->item & 1) != 0;
}

static void mark(struct reader *r, unsigned what)
{
    if (r->item < FEW)
        r->watch->own[what] |= 1u << r->item;
}

static bool is_filled(struct span raw)
{
    return json_type_of(raw) == JSON_STRING && raw.n > 2;
}

static void tell_piece(struct reader *r, enum chat_event_kind kind, struct span text)
{
    if (!is_filled(text))
        return;
    r->output = true;
    mark(r, kind == CHAT_REFUSAL ? TOLD_REFUSAL : TOLD);
    emit(r, (struct chat_event){.kind = kind, .tool = r->item, .text = text});
}

static void begin_answer(struct reader *r, struct span response)
{
    if ((r->watch->begun & 1) != 0)
        return;
    r->watch->begun |= 1;
    emit(r, (struct chat_event){.kind = CHAT_START,
                                .id = top_member(response, "id"),
                                .name = top_member(response, "model")});
}

/* ---- items ---- */

static bool is_call(struct span item)
{
    struct span type = top_member(item, "type");

    return json_is_string(type, "function_call") || json_is_string(type, "custom_tool_call");
}

static void begin_call(struct reader *r, struct span item)
{
    r->output = r->watch->tools = true;
    r->watch->foreign |= json_is_string(top_member(item, "type"), "custom_tool_call");
    if (was(r, CALLED) && r->item < FEW)
        return;
    mark(r, CALLED);
    emit(r, (struct chat_event){.kind = CHAT_TOOL_START,
                                .tool = r->item,
                                .id = top_member(item, "call_id"),
                                .name = top_member(item, "name")});
}

/* What is no message, no reasoning and no call is the work of a tool that the provider runs. */
static void add_item(struct reader *r, struct span item)
{
    struct span type = top_member(item, "type");

    if (is_call(item))
        begin_call(r, item);
    else if (json_type_of(type) == JSON_STRING && !json_is_string(type, "message") &&
             !json_is_string(type, "reasoning"))
        r->output = true;
}

static void finish_message(struct reader *r, struct span item)
{
    bool text = was(r, TOLD), refused = was(r, TOLD_REFUSAL);
    struct json j = json_read(top_member(item, "content"));

    if (!json_enter(&j, JSON_ARRAY))
        return;
    while (json_item(&j)) {
        struct span part = json_take(&j);

        if (!text)
            tell_piece(r, CHAT_TEXT, top_member(part, "text"));
        if (!refused)
            tell_piece(r, CHAT_REFUSAL, top_member(part, "refusal"));
    }
}

static void finish_call(struct reader *r, struct span item)
{
    bool told = was(r, TOLD);

    if (!was(r, CALLED))
        begin_call(r, item);
    r->output = true;
    if (!told)
        tell_piece(r, CHAT_TOOL_ARGS, top_member(item, "arguments"));
}

/* The texts of `summary` or `content`, with an empty line between them. */
static void tell_reasoning(struct reader *r, struct span parts, bool *first)
{
    struct json j = json_read(parts);

    if (parts.n == 0 || !json_enter(&j, JSON_ARRAY))
        return;
    while (json_item(&j)) {
        struct span text = top_member(json_take(&j), "text");

        if (!is_filled(text))
            continue;
        if (!*first)
            tell_piece(r, CHAT_REASONING, SPAN("\"\\n\\n\""));
        *first = false;
        tell_piece(r, CHAT_REASONING, text);
    }
}

static void finish_reasoning(struct reader *r, struct span item)
{
    struct span state = top_member(item, "encrypted_content");
    bool told = was(r, TOLD), first = true;

    if (!told) {
        tell_reasoning(r, top_member(item, "summary"), &first);
        tell_reasoning(r, top_member(item, "content"), &first);
    }
    if (is_filled(state))
        emit(r, (struct chat_event){.kind = CHAT_SIGNATURE,
                                    .text = state,
                                    .id = SPAN("\"openai_responses\""),
                                    .name = told || !first ? SPAN("\"\"") : SPAN("\"redacted\"")});
}

/* The item as a whole: what of it was not told yet. */
static void finish_item(struct reader *r, struct span item)
{
    struct span type = top_member(item, "type");

    if (was(r, FINISHED))
        return;
    if (is_call(item))
        finish_call(r, item);
    else if (json_is_string(type, "reasoning"))
        finish_reasoning(r, item);
    else if (json_is_string(type, "message"))
        finish_message(r, item);
    else
        add_item(r, item);
    mark(r, FINISHED);
}

/* ---- the end ---- */

static uint64_t count(struct span usage, const char *name)
{
    int64_t v;

    return json_to_i64(top_member(usage, name), &v) && v > 0 ? (uint64_t)v : 0;
}

static uint64_t at_most(uint64_t n, uint64_t most)
{
    return n < most ? n : most;
}

static struct chat_usage read_usage(struct span usage)
{
    struct chat_usage u = {0};

    if (json_type_of(usage) != JSON_OBJECT)
        return u;
    u.seen = true;
    u.input = count(usage, "input_tokens");
    u.output = count(usage, "output_tokens");
    u.cached = at_most(count(top_member(usage, "input_tokens_details"), "cached_tokens"), u.input);
    u.reasoning =
        at_most(count(top_member(usage, "output_tokens_details"), "reasoning_tokens"), u.output);
    return u;
}

static struct span stop_reason(const struct reader *r, struct span response)
{
    struct span why = top_member(top_member(response, "incomplete_details"), "reason");

    if (!r->watch->cut_short)
        return r->watch->tools ? SPAN("\"tool_calls\"") : SPAN("\"stop\"");
    return json_is_string(why, "content_filter") ? SPAN("\"content_filter\"") : SPAN("\"length\"");
}

static bool has_status(struct span response, const char *status)
{
    return json_is_string(top_member(response, "status"), status);
}

/* The whole answer, complete or cut short. In the background it has only begun, and that is all
 * that was asked for. */
static void finish_answer(struct reader *r, struct span response)
{
    struct json j = json_read(top_member(response, "output"));
    struct chat_usage usage = read_usage(top_member(response, "usage"));
    struct chat_watch *w = r->watch;

    begin_answer(r, response);
    if (json_enter(&j, JSON_ARRAY))
        for (r->item = 0; json_item(&j); r->item++)
            finish_item(r, json_take(&j));
    w->output |= r->output;
    w->cut_short |= has_status(response, "incomplete") || has_status(response, "queued") ||
                    has_status(response, "in_progress");
    w->closed |= 1;
    w->stopped = w->end = true;
    if (usage.seen)
        w->usage = usage;
    if (openai_responses_judge_end(w) != FAILURE_NONE)
        return;
    emit(r, (struct chat_event){.kind = CHAT_STOP, .text = stop_reason(r, response)});
    if (usage.seen)
        emit(r, (struct chat_event){.kind = CHAT_USAGE, .usage = usage});
    emit(r, (struct chat_event){.kind = CHAT_END});
}

/* ---- errors ---- */

/* `raw`: what holds the error, be it null. */
static enum failure find_error(struct span raw, struct chat_error *error)
{
    enum failure f;

    if (json_type_of(raw) == JSON_NULL || raw.n == 0)
        raw = SPAN("{\"code\":\"server_error\",\"message\":\"the provider gave no reason\"}");
    f = openai_chat_find_error(raw, true, error);
    if (strcmp(error->type, "error") == 0) /* the event's own */
        error->type[0] = '\0';
    return f;
}

static enum dialect_event read_error(struct span raw, struct chat_watch *watch)
{
    watch->failure = find_error(raw, &watch->error);
    return EVENT_ERROR;
}

/* ---- one event of a stream ---- */

static bool read_members(struct span data, struct event *e)
{
    struct {
        const char *name;
        struct span *value;
    } const members[] = {
        {"type", &e->type},         {"delta", &e->delta},
        {"text", &e->text},         {"arguments", &e->arguments},
        {"refusal", &e->refusal},   {"item", &e->item},
        {"response", &e->response}, {"output_index", &e->output_index},
        {"error", &e->error},       {"summary_index", &e->summary_index},
    };
    struct json j = json_read(data);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT))
        return false;
    while (json_member(&j, &key)) {
        size_t i = 0;
        struct span raw;

        while (i < ARRAY_LEN(members) && !span_is(key, members[i].name))
            i++;
        raw = json_take(&j);
        if (i < ARRAY_LEN(members))
            *members[i].value = raw;
    }
    return json_end(&j);
}

static void on_text(struct reader *r, const struct event *e)
{
    tell_piece(r, CHAT_TEXT, e->delta);
}

static void on_text_done(struct reader *r, const struct event *e)
{
    if (!was(r, TOLD))
        tell_piece(r, CHAT_TEXT, e->text);
}

static void on_refusal(struct reader *r, const struct event *e)
{
    tell_piece(r, CHAT_REFUSAL, e->delta);
}

static void on_refusal_done(struct reader *r, const struct event *e)
{
    if (!was(r, TOLD_REFUSAL))
        tell_piece(r, CHAT_REFUSAL, e->refusal);
}

static void on_reasoning(struct reader *r, const struct event *e)
{
    tell_piece(r, CHAT_REASONING, e->delta);
}

static void on_reasoning_part(struct reader *r, const struct event *e)
{
    int64_t index;

    if (json_to_i64(e->summary_index, &index) && index > 0 && was(r, TOLD))
        emit(r, (struct chat_event){.kind = CHAT_REASONING, .text = SPAN("\"\\n\\n\"")});
}

static void on_arguments(struct reader *r, const struct event *e)
{
    if (was(r, CALLED))
        tell_piece(r, CHAT_TOOL_ARGS, e->delta);
}

static void on_arguments_done(struct reader *r, const struct event *e)
{
    if (was(r, CALLED) && !was(r, TOLD))
        tell_piece(r, CHAT_TOOL_ARGS, e->arguments);
}

static void on_item_added(struct reader *r, const struct event *e)
{
    add_item(r, e->item);
}

static void on_item_done(struct reader *r, const struct event *e)
{
    finish_item(r, e->item);
}

static void on_end(struct reader *r, const struct event *e)
{
    finish_answer(r, e->response);
}

/* Output of the provider's own tools, in pieces: code, commands, pictures. */
static void on_other(struct reader *r, const struct event *e)
{
    r->output |= is_filled(e->delta);
}

static const struct {
    const char *type;
    void (*read)(struct reader *r, const struct event *e);
} types[] = {
    {"response.output_text.delta", on_text},
    {"response.function_call_arguments.delta", on_arguments},
    {"response.reasoning_summary_text.delta", on_reasoning},
    {"response.reasoning_text.delta", on_reasoning},
    {"response.output_item.added", on_item_added},
    {"response.output_item.done", on_item_done},
    {"response.output_text.done", on_text_done},
    {"response.function_call_arguments.done", on_arguments_done},
    {"response.reasoning_summary_part.added", on_reasoning_part},
    {"response.refusal.delta", on_refusal},
    {"response.refusal.done", on_refusal_done},
    {"response.completed", on_end},
    {"response.incomplete", on_end},
};

static enum dialect_event read_known(struct event *e, struct span data, struct chat_watch *watch,
                                     chat_sink *sink, void *ctx)
{
    struct reader r = {.watch = watch, .sink = sink, .ctx = ctx};
    int64_t index;
    size_t i = 0;

    if (json_is_string(e->type, "error") ||
        (e->error.n != 0 && json_type_of(e->error) != JSON_NULL))
        return read_error(data, watch);
    if (json_is_string(e->type, "response.failed") || json_is_string(e->type, "response.cancelled"))
        return read_error(top_member(e->response, "error"), watch);
    if (!span_starts(e->type, "\"response."))
        return EVENT_NOTHING; /* keepalive, and what may come */
    if (json_to_i64(e->output_index, &index) && index >= 0 && index < UINT32_MAX)
        r.item = (unsigned)index;
    while (i < ARRAY_LEN(types) && !json_is_string(e->type, types[i].type))
        i++;
    begin_answer(&r, e->response);
    if (i < ARRAY_LEN(types))
        types[i].read(&r, e);
    else
        on_other(&r, e);
    watch->output |= r.output;
    if (watch->end)
        return EVENT_END;
    return r.output ? EVENT_OUTPUT : EVENT_LIFECYCLE;
}

/* Text outside any field. It is no event to a client, so only what tells of a failure counts. */
static enum dialect_event read_stray(struct span text, struct chat_watch *watch)
{
    enum failure f = FAILURE_NONE;

    if (openai_chat_is_html(text) || json_valid(text))
        f = openai_chat_find_error(text, false, &watch->error);
    if (f == FAILURE_NONE)
        return EVENT_NOTHING;
    watch->failure = f;
    return EVENT_ERROR;
}

enum dialect_event openai_responses_read_event(const struct sse_event *ev, struct chat_watch *watch,
                                               chat_sink *sink, void *ctx)
{
    struct span data = span_trim(ev->data);
    struct event e = {0};

    if (ev->stray)
        return read_stray(ev->data, watch);
    if (!ev->has_data || data.n == 0 || span_is(data, "[DONE]")) /* OpenRouter says it as well */
        return EVENT_NOTHING;
    if (!read_members(data, &e))
        return EVENT_BAD;
    if (e.type.n == 0 && ev->name.n != 0 && span_is(ev->name, "error"))
        return read_error(data, watch);
    return read_known(&e, data, watch, sink, ctx);
}

enum failure openai_responses_judge_end(const struct chat_watch *watch)
{
    if (watch->failure != FAILURE_NONE)
        return watch->failure;
    if (!watch->end)
        return watch->begun != 0 || watch->output ? TRUNCATED : EMPTY;
    return watch->output || watch->cut_short ? FAILURE_NONE : EMPTY;
}

/* ---- an answer in one piece ---- */

static void fail(struct chat_watch *watch, enum failure f, const char *message)
{
    watch->failure = f;
    watch->error = (struct chat_error){.status = 502};
    chat_error_mask(span_of(message), watch->error.message, sizeof(watch->error.message));
}

/* An error under a status of success. False where there is none. */
static bool holds_error(struct span body, struct chat_watch *watch)
{
    struct span error = top_member(body, "error");
    bool failed = has_status(body, "failed") || has_status(body, "cancelled");

    if (error.n != 0 && json_type_of(error) != JSON_NULL)
        watch->failure =
            find_error(top_member(body, "output").n != 0 ? error : body, &watch->error);
    else if (failed)
        watch->failure = find_error(error, &watch->error);
    else if (top_member(body, "output").n == 0)
        watch->failure = openai_chat_find_error(body, false, &watch->error);
    return watch->failure != FAILURE_NONE;
}

void openai_responses_read_answer(struct span body, struct chat_watch *watch, chat_sink *sink,
                                  void *ctx)
{
    struct reader r = {.watch = watch, .whole = true, .sink = sink, .ctx = ctx};
    struct chat_watch seen = *watch;

    body = span_trim(openai_chat_skip_lead(body));
    while (body.n != 0 && (unsigned char)body.p[body.n - 1] <= ' ')
        body.n--;
    if (body.n == 0) {
        fail(watch, EMPTY, "the answer's body is empty");
    } else if (!json_valid(body)) {
        if (openai_chat_is_html(body))
            watch->failure = openai_chat_find_error(body, true, &watch->error);
        else if (openai_chat_is_cut_json(body))
            fail(watch, TRUNCATED, "the answer's JSON ends before it is complete");
        else
            fail(watch, MALFORMED, "the answer is not JSON");
    } else if (!holds_error(body, watch)) {
        /* Once without the sink: only a complete answer is told. */
        r.sink = NULL;
        finish_answer(&r, body);
        if (openai_responses_judge_end(watch) != FAILURE_NONE) {
            fail(watch, EMPTY, "the answer holds neither text nor a tool call");
        } else if (sink != NULL) {
            *watch = seen;
            r = (struct reader){.watch = watch, .whole = true, .sink = sink, .ctx = ctx};
            finish_answer(&r, body);
        }
    }
}
