#include "providers/openai_chat.h"

#include <stdio.h>

/* What one event, or a whole answer, adds to the watch. It is put there only once all of it is
 * known to be valid and no error. */
struct found {
    struct span id, model;  /* raw */
    bool choices;           /* the key is there, be the list empty */
    bool error;             /* a key `error` with something in it */
    bool output, tools;     /* as in the watch */
    bool cut_short;         /* the same */
    uint64_t begun, closed; /* the same */
    struct span bad_finish; /* a finish reason that says that the provider failed; raw */
    struct chat_usage usage;
};

struct reader {
    struct json j;
    bool whole; /* an answer in one piece: `message` instead of `delta` */
    struct chat_watch *watch;
    struct found found;
    chat_sink *sink; /* NULL in the first pass */
    void *ctx;

    /* The choice being read. */
    unsigned choice;
    bool choice_output;
    const char *reasoning_key; /* where its reasoning stands; several keys repeat the same text */
};

static void emit(struct reader *r, struct chat_event ev)
{
    if (r->sink == NULL)
        return;
    ev.choice = r->choice;
    r->sink(r->ctx, &ev);
}

static void saw_output(struct reader *r)
{
    r->found.output = r->choice_output = true;
}

/* ---- texts ---- */

static void read_parts(struct reader *r, enum chat_event_kind kind);

/* A string, or a list of parts (Mistral). An empty string is no output. */
static void read_text(struct reader *r, enum chat_event_kind kind)
{
    struct span raw;

    if (json_peek(&r->j) == JSON_ARRAY) {
        read_parts(r, kind);
        return;
    }
    raw = json_take(&r->j);
    if (json_type_of(raw) != JSON_STRING || raw.n <= 2)
        return;
    saw_output(r);
    emit(r, (struct chat_event){.kind = kind, .text = raw});
}

static bool is_filled(struct span raw)
{
    enum json_type type = json_type_of(raw);
    struct json j = json_read(raw);
    struct span key;

    if (type == JSON_OBJECT)
        return json_enter(&j, type) && json_member(&j, &key);
    if (type == JSON_ARRAY)
        return json_enter(&j, type) && json_item(&j);
    if (type == JSON_STRING)
        return raw.n > 2;
    return type == JSON_TRUE || (type == JSON_NUMBER && !span_is(raw, "0"));
}

/* Something that is output but no text: a picture, sound, encrypted reasoning. */
static void read_other(struct reader *r)
{
    if (is_filled(json_take(&r->j)))
        saw_output(r);
}

static void read_parts(struct reader *r, enum chat_event_kind kind)
{
    struct span key;

    if (!json_enter(&r->j, JSON_ARRAY)) {
        json_take(&r->j);
        return;
    }
    while (json_item(&r->j)) {
        if (!json_enter(&r->j, JSON_OBJECT)) {
            json_take(&r->j);
            continue;
        }
        while (json_member(&r->j, &key)) {
            if (span_is(key, "text"))
                read_text(r, kind);
            else if (span_is(key, "thinking") || span_is(key, "summary"))
                read_text(r, CHAT_REASONING);
            else if (span_is(key, "data") || span_is(key, "image_url"))
                read_other(r);
            else
                json_take(&r->j);
        }
    }
}

/* Some providers send the same reasoning under two or three keys: the first one with text in it is
 * passed on. */
static void read_reasoning(struct reader *r, const char *key)
{
    chat_sink *sink = r->sink;
    bool before = r->choice_output;

    if (r->reasoning_key != NULL && r->reasoning_key != key)
        r->sink = NULL;
    r->choice_output = false;
    read_text(r, CHAT_REASONING);
    if (r->choice_output && r->reasoning_key == NULL)
        r->reasoning_key = key;
    r->choice_output |= before;
    r->sink = sink;
}

/* ---- tool calls ---- */

struct call {
    struct span index, id, name, arguments; /* raw */
};

static void read_function(struct reader *r, struct call *call)
{
    struct span key;

    if (!json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key)) {
        struct span raw = json_take(&r->j);

        if (span_is(key, "name"))
            call->name = raw;
        else if (span_is(key, "arguments") || span_is(key, "input"))
            call->arguments = raw;
    }
}

/* Calls come one after the other. A name, which some providers repeat with every piece, begins the
 * next call; where there is no index (Mistral), the calls are counted. */
static void tell_call(struct reader *r, const struct call *call)
{
    struct chat_watch *w = r->watch;
    bool same_choice = w->calling && w->choice == r->choice;
    bool named = json_type_of(call->name) == JSON_STRING && call->name.n > 2;
    unsigned tool = same_choice ? w->tool + (named ? 1 : 0) : 0;
    int64_t index;

    if (json_to_i64(call->index, &index) && index >= 0 && index < UINT32_MAX)
        tool = (unsigned)index;
    if (named && !(same_choice && w->tool == tool)) {
        w->calling = true;
        w->choice = r->choice;
        w->tool = tool;
        emit(r, (struct chat_event){
                    .kind = CHAT_TOOL_START, .tool = tool, .id = call->id, .name = call->name});
    }
    if (is_filled(call->arguments))
        emit(r, (struct chat_event){.kind = CHAT_TOOL_ARGS, .tool = tool, .text = call->arguments});
}

static void saw_call(struct reader *r, const struct call *call)
{
    saw_output(r);
    r->found.tools = true;
    if (r->sink != NULL)
        tell_call(r, call);
}

static void read_tool_calls(struct reader *r)
{
    struct span key;

    if (!json_enter(&r->j, JSON_ARRAY)) {
        json_take(&r->j);
        return;
    }
    while (json_item(&r->j)) {
        struct call call = {0};

        if (!json_enter(&r->j, JSON_OBJECT)) {
            json_take(&r->j);
            continue;
        }
        while (json_member(&r->j, &key)) {
            if (span_is(key, "function") || span_is(key, "custom"))
                read_function(r, &call);
            else if (span_is(key, "index"))
                call.index = json_take(&r->j);
            else if (span_is(key, "id"))
                call.id = json_take(&r->j);
            else
                json_take(&r->j);
        }
        saw_call(r, &call);
    }
}

/* The form before tool_calls: one call, without an id. */
static void read_function_call(struct reader *r)
{
    struct call call = {0};

    read_function(r, &call);
    if (is_filled(call.name) || is_filled(call.arguments))
        saw_call(r, &call);
}

/* ---- choices ---- */

static void read_message(struct reader *r)
{
    struct span key;

    if (!json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key)) {
        if (span_is(key, "content"))
            read_text(r, CHAT_TEXT);
        else if (span_is(key, "reasoning_content"))
            read_reasoning(r, "reasoning_content");
        else if (span_is(key, "reasoning"))
            read_reasoning(r, "reasoning");
        else if (span_is(key, "reasoning_details"))
            read_reasoning(r, "reasoning_details");
        else if (span_is(key, "refusal"))
            read_text(r, CHAT_REFUSAL);
        else if (span_is(key, "tool_calls"))
            read_tool_calls(r);
        else if (span_is(key, "function_call"))
            read_function_call(r);
        else if (span_is(key, "audio") || span_is(key, "images"))
            read_other(r);
        else
            json_take(&r->j);
    }
}

/* Reasons that stand for a failure of the provider: OpenRouter, DeepSeek, Gemini's compatible
 * endpoint. */
static bool is_bad_finish(struct span raw)
{
    return json_is_string(raw, "error") || json_is_string(raw, "insufficient_system_resource") ||
           span_starts(raw, "\"function_call_filter");
}

/* Reasons that explain an answer without output: no room, or not allowed. */
static bool is_cut_short(struct span raw)
{
    return json_is_string(raw, "length") || json_is_string(raw, "content_filter") ||
           json_is_string(raw, "model_length") || json_is_string(raw, "max_tokens");
}

static void end_choice(struct reader *r, struct span finish)
{
    uint64_t bit = r->choice < 64 ? (uint64_t)1 << r->choice : 0;

    r->found.begun |= bit;
    if (json_type_of(finish) != JSON_STRING || finish.n <= 2) {
        /* In one piece it is complete, whatever the reason is (Snowflake: ""). */
        if (!r->whole || !r->choice_output)
            return;
        finish = SPAN("\"stop\"");
    }
    if (is_bad_finish(finish))
        r->found.bad_finish = finish;
    r->found.cut_short |= is_cut_short(finish);
    r->found.closed |= bit;
    if (bit == 0 || (r->watch->closed & bit) == 0)
        emit(r, (struct chat_event){.kind = CHAT_STOP, .text = finish});
}

/* Only for a sink: events must name their choice, and `index` may stand behind the delta. */
static void find_index(struct reader *r)
{
    struct json ahead = r->j;
    struct span key;
    int64_t index;

    if (!json_enter(&ahead, JSON_OBJECT))
        return;
    while (json_member(&ahead, &key)) {
        struct span raw = json_take(&ahead);

        if (span_is(key, "index") && json_to_i64(raw, &index) && index >= 0 && index < UINT32_MAX)
            r->choice = (unsigned)index;
    }
}

static void read_choice(struct reader *r, unsigned position)
{
    struct span key, finish = {0};
    int64_t index;

    r->choice = position;
    r->choice_output = false;
    r->reasoning_key = NULL;
    if (r->sink != NULL)
        find_index(r);
    if (!json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key)) {
        if (r->whole ? span_is(key, "message") : span_is(key, "delta")) {
            read_message(r);
        } else if (span_is(key, "index")) {
            if (json_to_i64(json_take(&r->j), &index) && index >= 0 && index < UINT32_MAX)
                r->choice = (unsigned)index;
        } else if (span_is(key, "finish_reason")) {
            finish = json_take(&r->j);
        } else {
            json_take(&r->j);
        }
    }
    end_choice(r, finish);
}

static void read_choices(struct reader *r)
{
    r->found.choices = true;
    if (!json_enter(&r->j, JSON_ARRAY)) {
        json_take(&r->j);
        return;
    }
    for (unsigned position = 0; json_item(&r->j); position++)
        read_choice(r, position);
}

/* ---- usage ---- */

static uint64_t count(struct json *j)
{
    int64_t v;

    return json_to_i64(json_take(j), &v) && v > 0 ? (uint64_t)v : 0;
}

/* A member of the details of the tokens, such as `cached_tokens`. */
static uint64_t read_detail(struct json *j, const char *name)
{
    struct span key;
    uint64_t n = 0;

    if (!json_enter(j, JSON_OBJECT)) {
        json_take(j);
        return 0;
    }
    while (json_member(j, &key))
        if (span_is(key, name))
            n = count(j);
        else
            json_take(j);
    return n;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void read_usage(struct reader *r)
{
    struct chat_usage u = {0};
    uint64_t total = 0;
    struct span key;

    if (!json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key)) {
        if (span_is(key, "prompt_tokens")) {
            u.input = count(&r->j);
            u.seen = true;
        } else if (span_is(key, "completion_tokens")) {
            u.output = count(&r->j);
            u.seen = true;
        } else if (span_is(key, "total_tokens")) {
            total = count(&r->j);
        } else if (span_is(key, "prompt_tokens_details")) {
            u.cached = larger(u.cached, read_detail(&r->j, "cached_tokens"));
        } else if (span_is(key, "completion_tokens_details")) {
            u.reasoning = larger(u.reasoning, read_detail(&r->j, "reasoning_tokens"));
        } else if (span_is(key, "prompt_cache_hit_tokens") || span_is(key, "cached_tokens") ||
                   span_is(key, "num_cached_tokens")) {
            u.cached = larger(u.cached, count(&r->j)); /* DeepSeek, Moonshot, Hugging Face */
        } else if (span_is(key, "reasoning_tokens")) {
            u.reasoning = larger(u.reasoning, count(&r->j)); /* Perplexity */
        } else {
            json_take(&r->j);
        }
    }
    /* xAI counts reasoning beside the completion; then only the total tells. */
    if (u.reasoning != 0 && total == u.input + u.output + u.reasoning)
        u.output += u.reasoning;
    /* Some count what they cached beyond the prompt, or reasoning beyond the completion. */
    u.cached = smaller(u.cached, u.input);
    u.reasoning = smaller(u.reasoning, u.output);
    if (u.seen)
        r->found.usage = u;
}

/* Groq's place for it, the only one in some of its streams. */
static void read_x_groq(struct reader *r)
{
    struct span key;

    if (!json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key))
        if (span_is(key, "usage") && !r->found.usage.seen)
            read_usage(r);
        else
            json_take(&r->j);
}

/* ---- the whole object ---- */

static void read_object(struct reader *r)
{
    struct span key;

    if (!json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key)) {
        if (span_is(key, "choices"))
            read_choices(r);
        else if (span_is(key, "id"))
            r->found.id = json_take(&r->j);
        else if (span_is(key, "model"))
            r->found.model = json_take(&r->j);
        else if (span_is(key, "usage"))
            read_usage(r);
        else if (span_is(key, "x_groq"))
            read_x_groq(r);
        else if (span_is(key, "error"))
            r->found.error |= is_filled(json_take(&r->j));
        else
            json_take(&r->j);
    }
}

/* First pass: reads all of it and tells nobody. False where it is no valid JSON. */
static bool look(struct reader *r, struct span text, bool whole, struct chat_watch *watch)
{
    r->whole = whole;
    r->watch = watch;
    r->found = (struct found){0};
    r->sink = NULL;
    r->choice = 0;
    r->j = json_read(text);
    read_object(r);
    return json_end(&r->j);
}

/* Second pass: the same text, known to be good, for the sink. */
static void tell(const struct reader *first, struct span text, chat_sink *sink, void *ctx)
{
    struct reader r = {.j = json_read(text),
                       .whole = first->whole,
                       .watch = first->watch,
                       .sink = sink,
                       .ctx = ctx};

    if (first->found.begun != 0 && first->watch->begun == 0)
        emit(&r, (struct chat_event){
                     .kind = CHAT_START, .id = first->found.id, .name = first->found.model});
    read_object(&r);
    r.choice = 0;
    if (r.found.usage.seen)
        emit(&r, (struct chat_event){.kind = CHAT_USAGE, .usage = r.found.usage});
}

static void learn(struct chat_watch *w, const struct found *f)
{
    w->output |= f->output;
    w->tools |= f->tools;
    w->cut_short |= f->cut_short;
    w->begun |= f->begun;
    w->closed |= f->closed;
    w->stopped = w->begun != 0 && (w->begun & ~w->closed) == 0;
    if (f->usage.seen)
        w->usage = f->usage;
}

/* An error told by the finish reason alone. */
static enum failure bad_finish(struct span raw, struct chat_error *error)
{
    bool overloaded = json_is_string(raw, "insufficient_system_resource");
    char text[64];

    *error = (struct chat_error){.status = overloaded ? 503 : 502};
    snprintf(text, sizeof(text), "the provider ended its answer with finish_reason %.*s",
             (int)(raw.n < 40 ? raw.n : 40), raw.p);
    chat_error_mask(span_of(text), error->message, sizeof(error->message));
    return overloaded ? OVERLOADED : SERVER_ERROR;
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

static enum dialect_event read_chunk(struct span data, struct chat_watch *watch, chat_sink *sink,
                                     void *ctx)
{
    struct reader r;

    if (!look(&r, data, false, watch))
        return EVENT_BAD;
    if (r.found.error || !r.found.choices) {
        enum dialect_event event = read_error(data, r.found.error, watch);

        if (event != EVENT_NOTHING)
            return event;
    }
    if (r.found.bad_finish.n != 0) {
        watch->failure = bad_finish(r.found.bad_finish, &watch->error);
        return EVENT_ERROR;
    }
    if (sink != NULL)
        tell(&r, data, sink, ctx);
    learn(watch, &r.found);
    if (r.found.output)
        return EVENT_OUTPUT;
    if (r.found.closed != 0)
        return EVENT_STOP;
    return r.found.choices || r.found.usage.seen ? EVENT_LIFECYCLE : EVENT_NOTHING;
}

static enum dialect_event read_done(struct chat_watch *watch, chat_sink *sink, void *ctx)
{
    watch->end = true;
    if (sink != NULL && openai_chat_judge_end(watch) == FAILURE_NONE)
        sink(ctx, &(struct chat_event){.kind = CHAT_END});
    return EVENT_END;
}

/* Text outside any field. It is no event to a client, so only what tells of a failure counts. */
static enum dialect_event read_stray(struct span text, struct chat_watch *watch)
{
    if (openai_chat_is_html(text) || json_valid(text))
        return read_error(text, false, watch);
    return EVENT_NOTHING;
}

enum dialect_event openai_chat_read_event(const struct sse_event *ev, struct chat_watch *watch,
                                          chat_sink *sink, void *ctx)
{
    struct span data = ev->data;

    if (ev->stray)
        return read_stray(data, watch);
    if (!ev->has_data)
        return EVENT_NOTHING;
    if (ev->name.n != 0 && span_is(ev->name, "error"))
        return read_error(data, true, watch);
    if (data.n == 0 || data.p[0] != '{') {
        data = span_trim(data);
        if (data.n == 0)
            return EVENT_NOTHING;
        if (span_is(data, "[DONE]"))
            return read_done(watch, sink, ctx);
        if (data.p[0] == '[' && json_valid(data) && read_error(data, false, watch) == EVENT_ERROR)
            return EVENT_ERROR;
        if (data.p[0] != '{') /* an event with a name of its own may hold anything: a ping */
            return ev->name.n != 0 && !span_is(ev->name, "message") ? EVENT_NOTHING : EVENT_BAD;
    }
    return read_chunk(data, watch, sink, ctx);
}

enum failure openai_chat_judge_end(const struct chat_watch *watch)
{
    if (watch->failure != FAILURE_NONE)
        return watch->failure;
    if (watch->begun == 0)
        return watch->output ? TRUNCATED : EMPTY;
    if (!watch->stopped || (unsigned)__builtin_popcountll(watch->closed) <
                               (watch->expected < 64 ? watch->expected : 64))
        return TRUNCATED;
    return watch->output || watch->cut_short ? FAILURE_NONE : EMPTY;
}

/* ---- an answer in one piece ---- */

/* Is it the start of a JSON value that was never closed? */
static bool is_cut_json(struct span text)
{
    size_t depth = 0;
    bool string = false;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                string = false;
        } else if (c == '"') {
            string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && (depth == 0 || --depth == 0)) {
            return false;
        }
    }
    return depth > 0;
}

static void fail(struct chat_watch *watch, enum failure f, const char *message)
{
    watch->failure = f;
    watch->error = (struct chat_error){.status = 502};
    chat_error_mask(span_of(message), watch->error.message, sizeof(watch->error.message));
}

static void judge_answer(struct reader *r, struct span body, struct chat_watch *watch)
{
    if (r->found.error || !r->found.choices) {
        enum failure f = openai_chat_find_error(body, r->found.error, &watch->error);

        if (f != FAILURE_NONE) {
            watch->failure = f;
            return;
        }
    }
    if (r->found.bad_finish.n != 0)
        watch->failure = bad_finish(r->found.bad_finish, &watch->error);
    else if (r->found.begun == 0 && !r->found.output)
        fail(watch, EMPTY, "the answer holds no choices");
    else if (!r->found.output && !r->found.cut_short)
        fail(watch, EMPTY, "the answer holds neither text nor a tool call");
}

void openai_chat_read_answer(struct span body, struct chat_watch *watch, chat_sink *sink, void *ctx)
{
    struct reader r;

    body = openai_chat_skip_lead(body);
    if (body.n == 0) {
        fail(watch, EMPTY, "the answer's body is empty");
        return;
    }
    if (!look(&r, body, true, watch)) {
        if (openai_chat_is_html(body))
            watch->failure = openai_chat_find_error(body, true, &watch->error);
        else if (is_cut_json(body))
            fail(watch, TRUNCATED, "the answer's JSON ends before it is complete");
        else
            fail(watch, MALFORMED, "the answer is not JSON");
        return;
    }
    judge_answer(&r, body, watch);
    if (watch->failure != FAILURE_NONE)
        return;
    if (sink != NULL)
        tell(&r, body, sink, ctx);
    learn(watch, &r.found);
    watch->stopped = watch->end = true;
    if (sink != NULL)
        sink(ctx, &(struct chat_event){.kind = CHAT_END});
}
