#include "providers/anthropic_messages.h"

#include "providers/openai_chat.h"

#define MAX_COUNT ((uint64_t)1 << 48) /* tokens; a sum of four cannot overflow */

/* The reader's own state in the watch. */
enum {
    OWN_CALLS, /* tool calls begun */
    OWN_BLOCK, /* the open block: enum block, its index in the bits above */
    OWN_WROTE, /* tokens written to the cache: usage.input less this and cached is uncached input */
};

enum block {
    BLOCK_NONE,
    BLOCK_TEXT,  /* or one that is passed over */
    BLOCK_TOOL,  /* a call without arguments so far */
    BLOCK_ARGS,  /* ... with some */
    BLOCK_WHOLE, /* ... with all of them, told at its start */
    BLOCK_BITS = 8,
};

/* ---- what stands in an event ---- */

/* A content block, or what is added to one. Raw values. */
struct piece {
    struct span type;
    struct span text, thinking, signature, data;
    struct span id, name, input, partial_json;
};

/* Counts as far as they were told. */
struct counts {
    uint64_t input, wrote, cached, output, reasoning;
    bool has_input, has_wrote, has_cached, has_output, has_reasoning;
};

/* One event; for an answer in one piece its envelope. Raw values. */
struct found {
    struct span type, index;
    struct span id, model, stop_reason;
    struct span content; /* of an answer in one piece */
    struct piece piece;
    struct counts counts;
    bool error; /* a key `error` with something in it */
};

static void read_piece(struct json *j, struct piece *p)
{
    struct span key;

    if (!json_enter(j, JSON_OBJECT)) {
        json_take(j);
        return;
    }
    while (json_member(j, &key)) {
        if (span_is(key, "type"))
            p->type = json_take(j);
        else if (span_is(key, "text"))
            p->text = json_take(j);
        else if (span_is(key, "thinking"))
            p->thinking = json_take(j);
        else if (span_is(key, "signature"))
            p->signature = json_take(j);
        else if (span_is(key, "data"))
            p->data = json_take(j);
        else if (span_is(key, "id"))
            p->id = json_take(j);
        else if (span_is(key, "name"))
            p->name = json_take(j);
        else if (span_is(key, "input"))
            p->input = json_take(j);
        else if (span_is(key, "partial_json"))
            p->partial_json = json_take(j);
        else
            json_take(j);
    }
}

static void take_count(struct json *j, uint64_t *to, bool *has)
{
    int64_t v;

    if (!json_to_i64(json_take(j), &v) || v < 0)
        return;
    *to = (uint64_t)v < MAX_COUNT ? (uint64_t)v : MAX_COUNT;
    *has = true;
}

static void read_output_details(struct json *j, struct counts *c)
{
    struct span key;

    if (!json_enter(j, JSON_OBJECT)) {
        json_take(j);
        return;
    }
    while (json_member(j, &key))
        if (span_is(key, "thinking_tokens"))
            take_count(j, &c->reasoning, &c->has_reasoning);
        else
            json_take(j);
}

static void read_usage(struct json *j, struct counts *c)
{
    struct span key;

    if (!json_enter(j, JSON_OBJECT)) {
        json_take(j);
        return;
    }
    while (json_member(j, &key)) {
        if (span_is(key, "input_tokens"))
            take_count(j, &c->input, &c->has_input);
        else if (span_is(key, "cache_creation_input_tokens"))
            take_count(j, &c->wrote, &c->has_wrote);
        else if (span_is(key, "cache_read_input_tokens"))
            take_count(j, &c->cached, &c->has_cached);
        else if (span_is(key, "output_tokens"))
            take_count(j, &c->output, &c->has_output);
        else if (span_is(key, "output_tokens_details"))
            read_output_details(j, c);
        else
            json_take(j);
    }
}

static bool is_something(struct span raw)
{
    struct json j = json_read(raw);
    struct span key;

    if (json_type_of(raw) == JSON_OBJECT)
        return json_enter(&j, JSON_OBJECT) && json_member(&j, &key);
    if (json_type_of(raw) == JSON_STRING)
        return raw.n > 2;
    return raw.n != 0 && json_type_of(raw) != JSON_NULL && json_type_of(raw) != JSON_FALSE;
}

/* The members of an event, of `message` in it, or of an answer in one piece. */
static void read_members(struct json *j, struct found *f, bool inner)
{
    struct span key;

    if (!json_enter(j, JSON_OBJECT)) {
        json_take(j);
        return;
    }
    while (json_member(j, &key)) {
        if (span_is(key, "type")) {
            struct span raw = json_take(j);

            if (!inner)
                f->type = raw;
        } else if (span_is(key, "id")) {
            f->id = json_take(j);
        } else if (span_is(key, "model")) {
            f->model = json_take(j);
        } else if (span_is(key, "stop_reason")) {
            f->stop_reason = json_take(j);
        } else if (span_is(key, "usage")) {
            read_usage(j, &f->counts);
        } else if (span_is(key, "content")) {
            f->content = json_take(j);
        } else if (span_is(key, "error")) {
            f->error |= is_something(json_take(j));
        } else if (!inner && span_is(key, "message")) {
            read_members(j, f, true);
        } else if (!inner && span_is(key, "index")) {
            f->index = json_take(j);
        } else if (!inner && span_is(key, "content_block")) {
            read_piece(j, &f->piece);
        } else if (!inner && span_is(key, "delta")) {
            struct json delta = *j;

            read_piece(&delta, &f->piece);
            read_members(j, f, true);
        } else {
            json_take(j);
        }
    }
}

static bool look(struct span text, struct found *f)
{
    struct json j = json_read(text);

    *f = (struct found){0};
    read_members(&j, f, false);
    return json_end(&j);
}

/* ---- blocks ---- */

struct reader {
    struct chat_watch *watch;
    chat_sink *sink;
    void *ctx;
};

static void emit(const struct reader *r, struct chat_event ev)
{
    if (r->sink != NULL)
        r->sink(r->ctx, &ev);
}

static bool filled(struct span raw)
{
    return json_type_of(raw) == JSON_STRING && raw.n > 2;
}

static enum dialect_event tell_text(struct reader *r, enum chat_event_kind kind, struct span raw)
{
    if (!filled(raw))
        return EVENT_LIFECYCLE;
    r->watch->output = true;
    emit(r, (struct chat_event){.kind = kind, .text = raw});
    return EVENT_OUTPUT;
}

/* No output: nobody can read it, and until there is something to read, another may take over. */
static enum dialect_event tell_signature(struct reader *r, struct span raw, struct span name)
{
    if (filled(raw))
        emit(r, (struct chat_event){.kind = CHAT_SIGNATURE,
                                    .text = raw,
                                    .id = SPAN("\"anthropic_messages\""),
                                    .name = name});
    return EVENT_LIFECYCLE;
}

static void tell_arguments(struct reader *r, struct span raw)
{
    emit(r, (struct chat_event){
                .kind = CHAT_TOOL_ARGS, .tool = r->watch->own[OWN_CALLS] - 1, .text = raw});
}

static enum block open_block(const struct chat_watch *w)
{
    return w->own[OWN_BLOCK] & ((1u << BLOCK_BITS) - 1);
}

static unsigned block_index(struct span raw)
{
    int64_t v;

    return json_to_i64(raw, &v) && v >= 0 ? (unsigned)v & (UINT32_MAX >> BLOCK_BITS) : 0;
}

static void set_block(struct chat_watch *w, enum block block, unsigned index)
{
    w->own[OWN_BLOCK] = index << BLOCK_BITS | (unsigned)block;
}

static unsigned open_index(const struct chat_watch *w)
{
    return w->own[OWN_BLOCK] >> BLOCK_BITS;
}

/* A call without arguments has an empty object of them. */
static void close_block(struct reader *r)
{
    if (open_block(r->watch) == BLOCK_TOOL)
        tell_arguments(r, SPAN("{}"));
    set_block(r->watch, BLOCK_NONE, 0);
}

static enum dialect_event start_tool(struct reader *r, const struct piece *p, unsigned index)
{
    struct chat_watch *w = r->watch;
    unsigned tool = w->own[OWN_CALLS]++;

    w->output = w->tools = true;
    set_block(w, BLOCK_TOOL, index);
    emit(r,
         (struct chat_event){.kind = CHAT_TOOL_START, .tool = tool, .id = p->id, .name = p->name});
    if (json_type_of(p->input) == JSON_OBJECT && is_something(p->input)) {
        set_block(w, BLOCK_WHOLE, index);
        tell_arguments(r, p->input);
    }
    return EVENT_OUTPUT;
}

/* The start of a block, or one that comes whole. What the provider does with tools of its own
 * (server_tool_use, their results, mcp) is nothing that the client could answer. */
static enum dialect_event start_block(struct reader *r, const struct piece *p, unsigned index)
{
    enum dialect_event event;

    close_block(r);
    set_block(r->watch, BLOCK_TEXT, index);
    if (json_is_string(p->type, "text"))
        return tell_text(r, CHAT_TEXT, p->text);
    if (json_is_string(p->type, "tool_use"))
        return start_tool(r, p, index);
    if (json_is_string(p->type, "redacted_thinking"))
        return tell_signature(r, p->data, SPAN("\"redacted\""));
    if (!json_is_string(p->type, "thinking"))
        return EVENT_LIFECYCLE;
    event = tell_text(r, CHAT_REASONING, p->thinking);
    tell_signature(r, p->signature, (struct span){0});
    return event;
}

static enum dialect_event add_arguments(struct reader *r, struct span raw)
{
    enum block block = open_block(r->watch);

    if (!filled(raw) || (block != BLOCK_TOOL && block != BLOCK_ARGS))
        return EVENT_LIFECYCLE;
    set_block(r->watch, BLOCK_ARGS, open_index(r->watch));
    tell_arguments(r, raw);
    return EVENT_OUTPUT;
}

static enum dialect_event add_piece(struct reader *r, const struct found *f)
{
    const struct piece *p = &f->piece;

    if (json_is_string(p->type, "text_delta"))
        return tell_text(r, CHAT_TEXT, p->text);
    if (json_is_string(p->type, "thinking_delta"))
        return tell_text(r, CHAT_REASONING, p->thinking);
    if (json_is_string(p->type, "signature_delta"))
        return tell_signature(r, p->signature, (struct span){0});
    if (json_is_string(p->type, "input_json_delta"))
        return add_arguments(r, p->partial_json);
    return EVENT_LIFECYCLE;
}

/* ---- the envelope ---- */

static void begin(struct reader *r, const struct found *f)
{
    r->watch->begun = 1;
    emit(r, (struct chat_event){.kind = CHAT_START, .id = f->id, .name = f->model});
}

/* Counts are totals so far: the last one told counts, one that is not told again stays. */
static void learn_usage(struct chat_watch *w, const struct counts *c)
{
    uint64_t wrote = w->own[OWN_WROTE], cached = w->usage.cached;
    uint64_t input = w->usage.input - wrote - cached;

    if (!c->has_input && !c->has_wrote && !c->has_cached && !c->has_output)
        return;
    if (c->has_input)
        input = c->input;
    if (c->has_wrote)
        wrote = c->wrote < UINT32_MAX ? c->wrote : UINT32_MAX;
    if (c->has_cached)
        cached = c->cached;
    w->own[OWN_WROTE] = (unsigned)wrote;
    w->usage.seen = true;
    w->usage.input = input + wrote + cached;
    w->usage.cached = cached;
    if (c->has_output)
        w->usage.output = c->output;
    if (c->has_reasoning)
        w->usage.reasoning = c->reasoning;
    if (w->usage.reasoning > w->usage.output)
        w->usage.reasoning = w->usage.output;
}

/* A call is what a client must know of, whatever reason was told; without one it has nothing to
 * answer. An answer that was cut may hold half a call, so that goes first. */
static struct span canonical_stop(const struct chat_watch *w, struct span raw)
{
    if (json_is_string(raw, "max_tokens") || json_is_string(raw, "model_context_window_exceeded"))
        return SPAN("\"length\"");
    if (json_is_string(raw, "refusal"))
        return SPAN("\"content_filter\"");
    return w->tools ? SPAN("\"tool_calls\"") : SPAN("\"stop\"");
}

/* Reasons that explain an answer without output. Where the model ends its turn without a word
 * (it may, behind a tool's result), a client has nothing to go on with: that is a failure. */
static bool is_cut_short(struct span raw)
{
    return json_is_string(raw, "max_tokens") || json_is_string(raw, "refusal") ||
           json_is_string(raw, "stop_sequence") ||
           json_is_string(raw, "model_context_window_exceeded");
}

static void stop(struct reader *r, struct span reason)
{
    struct chat_watch *w = r->watch;

    close_block(r);
    if (w->stopped)
        return;
    w->cut_short = is_cut_short(reason);
    w->begun = w->closed = 1;
    w->stopped = true;
    emit(r, (struct chat_event){.kind = CHAT_STOP, .text = canonical_stop(w, reason)});
}

static void tell_usage(struct reader *r)
{
    if (r->watch->usage.seen)
        emit(r, (struct chat_event){.kind = CHAT_USAGE, .usage = r->watch->usage});
}

enum failure anthropic_judge_end(const struct chat_watch *w)
{
    if (w->failure != FAILURE_NONE)
        return w->failure;
    if (w->begun == 0)
        return w->output ? TRUNCATED : EMPTY;
    if (!w->stopped)
        return TRUNCATED;
    return w->output || w->cut_short ? FAILURE_NONE : EMPTY;
}

/* ---- one event of a stream ---- */

static enum dialect_event read_error(struct span text, bool certain, struct chat_watch *watch)
{
    enum failure f = openai_chat_find_error(text, certain, &watch->error);

    if (f == FAILURE_NONE)
        return EVENT_NOTHING;
    watch->failure = f;
    return EVENT_ERROR;
}

/* More than one message in a stream was seen: the first one's envelope is the answer's. */
static enum dialect_event on_message_start(struct reader *r, const struct found *f)
{
    if (r->watch->begun == 0) {
        begin(r, f);
        learn_usage(r->watch, &f->counts);
    }
    return EVENT_LIFECYCLE;
}

static enum dialect_event on_message_delta(struct reader *r, const struct found *f)
{
    bool first = !r->watch->stopped;

    learn_usage(r->watch, &f->counts);
    if (!filled(f->stop_reason))
        return EVENT_LIFECYCLE;
    stop(r, f->stop_reason);
    tell_usage(r);
    return first ? EVENT_STOP : EVENT_LIFECYCLE;
}

static enum dialect_event on_message_stop(struct reader *r)
{
    struct chat_watch *w = r->watch;

    /* Without a reason, an open call is half a call. */
    if (w->begun != 0 && !w->stopped && open_block(w) != BLOCK_TOOL &&
        open_block(w) != BLOCK_ARGS) {
        stop(r, (struct span){0});
        tell_usage(r);
    }
    w->end = true;
    if (anthropic_judge_end(w) == FAILURE_NONE)
        emit(r, (struct chat_event){.kind = CHAT_END});
    return EVENT_END;
}

/* Blocks come one after the other; a piece of another one would end up in the wrong call. */
static bool is_astray(const struct chat_watch *w, const struct found *f)
{
    return json_is_string(f->piece.type, "input_json_delta") && open_block(w) != BLOCK_NONE &&
           f->index.n != 0 && block_index(f->index) != open_index(w);
}

static enum dialect_event dispatch(struct reader *r, const struct found *f)
{
    struct chat_watch *w = r->watch;
    bool block = json_is_string(f->type, "content_block_start");

    if (json_is_string(f->type, "message_start"))
        return on_message_start(r, f);
    if (json_is_string(f->type, "message_delta"))
        return on_message_delta(r, f);
    if (json_is_string(f->type, "message_stop"))
        return on_message_stop(r);
    if (json_is_string(f->type, "content_block_stop")) {
        close_block(r);
        return EVENT_LIFECYCLE;
    }
    if (!block && !json_is_string(f->type, "content_block_delta"))
        return EVENT_NOTHING;
    if (!block && is_astray(w, f))
        return EVENT_BAD;
    if (w->begun == 0) /* a gateway that leaves out message_start */
        begin(r, f);
    return block ? start_block(r, &f->piece, block_index(f->index)) : add_piece(r, f);
}

/* Pieces of a block follow one another, and differ in nothing but themselves. */
enum { LIKE_TEXT, LIKE_THINKING, LIKE_ARGUMENTS };

/* Without its last brace, and the white space before it: Anthropic pads its events there. */
static struct span to_compare(struct span data)
{
    if (data.n != 0 && data.p[data.n - 1] == '}')
        data.n--;
    return span_trim(data);
}

/* For an event that was output. */
static void remember(struct chat_watch *w, struct span data, const struct found *f)
{
    const struct piece *p = &f->piece;
    struct span values[LIKE_VALUES] = {0};

    if (json_is_string(p->type, "text_delta"))
        values[LIKE_TEXT] = p->text;
    else if (json_is_string(p->type, "thinking_delta"))
        values[LIKE_THINKING] = p->thinking;
    else if (json_is_string(p->type, "input_json_delta"))
        values[LIKE_ARGUMENTS] = p->partial_json;
    like_learn(&w->like, to_compare(data), values);
}

/* As add_piece would. Nothing came between the two, so a piece of a call is of the same one. */
static enum dialect_event add_like(struct reader *r, const struct span *values)
{
    if (values[LIKE_ARGUMENTS].n != 0)
        return add_arguments(r, values[LIKE_ARGUMENTS]);
    if (values[LIKE_THINKING].n != 0)
        return tell_text(r, CHAT_REASONING, values[LIKE_THINKING]);
    return tell_text(r, CHAT_TEXT, values[LIKE_TEXT]);
}

enum dialect_event anthropic_read_event(const struct sse_event *ev, struct chat_watch *watch,
                                        chat_sink *sink, void *ctx)
{
    struct reader r = {watch, sink, ctx};
    struct span data = span_trim(openai_chat_skip_lead(ev->data)), values[LIKE_VALUES];
    enum dialect_event event;
    struct found f;

    if (watch->end)
        return EVENT_NOTHING;
    if (ev->stray)
        return openai_chat_is_html(data) || json_valid(data) ? read_error(data, false, watch)
                                                             : EVENT_NOTHING;
    if (!ev->has_data || data.n == 0)
        return EVENT_NOTHING;
    if (span_is(ev->name, "error"))
        return read_error(data, true, watch);
    if (span_is(data, "[DONE]")) /* a habit of gateways; no mark of this dialect */
        return EVENT_NOTHING;
    if (like_is(&watch->like, to_compare(data), values) && data.p[data.n - 1] == '}')
        return add_like(&r, values);
    if (data.p[0] != '{' || !look(data, &f))
        return EVENT_BAD;
    if (f.error || json_is_string(f.type, "error"))
        return read_error(data, true, watch);
    event = dispatch(&r, &f);
    if (event == EVENT_OUTPUT)
        remember(watch, data, &f);
    else if (event != EVENT_BAD)
        like_forget(&watch->like);
    return event;
}

/* ---- an answer in one piece ---- */

static void fail(struct chat_watch *watch, enum failure f, const char *message)
{
    watch->failure = f;
    watch->error = (struct chat_error){.status = 502};
    chat_error_mask(span_of(message), watch->error.message, sizeof(watch->error.message));
}

static void read_content(struct reader *r, struct span content)
{
    struct json j = json_read(content);

    if (!json_enter(&j, JSON_ARRAY))
        return;
    for (unsigned index = 0; json_item(&j); index++) {
        struct piece p = {0};

        read_piece(&j, &p);
        start_block(r, &p, index);
    }
    close_block(r);
}

static void read_whole(struct reader *r, const struct found *f)
{
    struct chat_watch *w = r->watch;

    begin(r, f);
    learn_usage(w, &f->counts);
    read_content(r, f->content);
    stop(r, f->stop_reason);
    tell_usage(r);
    w->end = true;
    emit(r, (struct chat_event){.kind = CHAT_END});
}

void anthropic_read_answer(struct span body, struct chat_watch *watch, chat_sink *sink, void *ctx)
{
    struct chat_watch seen = *watch;
    struct reader r = {&seen, NULL, NULL};
    struct found f;

    body = openai_chat_skip_lead(body);
    if (body.n == 0) {
        fail(watch, EMPTY, "the answer's body is empty");
        return;
    }
    if (!look(body, &f)) {
        if (openai_chat_is_html(body))
            watch->failure = openai_chat_find_error(body, true, &watch->error);
        else if (openai_chat_is_cut_json(body))
            fail(watch, TRUNCATED, "the answer's JSON ends before it is complete");
        else
            fail(watch, MALFORMED, "the answer is not JSON");
        return;
    }
    if (f.error || json_is_string(f.type, "error") || json_type_of(f.content) != JSON_ARRAY) {
        watch->failure =
            openai_chat_find_error(body, f.error || json_is_string(f.type, "error"), &watch->error);
        if (watch->failure == FAILURE_NONE)
            fail(watch, EMPTY, "the answer holds no content");
        return;
    }
    if (!filled(f.stop_reason)) {
        fail(watch, TRUNCATED, "the answer holds no stop_reason");
        return;
    }
    read_whole(&r, &f);
    if (!seen.output && !seen.cut_short) {
        fail(watch, EMPTY, "the answer holds neither text nor a tool call");
        return;
    }
    r = (struct reader){watch, sink, ctx};
    read_whole(&r, &f);
}
