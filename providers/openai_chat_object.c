#include "providers/openai_chat.h"

struct reader {
    struct json j;
    bool whole; /* an answer in one piece: `message` instead of `delta` */
    struct chat_watch *watch;
    struct openai_chat_found found;
    chat_sink *sink; /* NULL in the first pass */
    void *ctx;

    /* The choice being read. */
    unsigned choice;
    bool choice_output;
    const char *reasoning_key; /* where its reasoning stands; several keys repeat the same text */
};

static void emit(struct reader *r, struct chat_event ev)
{
    if (r->sink == NULL) {
        r->found.events++;
        if (ev.kind == CHAT_TEXT)
            r->found.text = ev.text;
        return;
    }
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
    bool again = ((r->watch->closed | r->found.closed) & bit) != 0;

    r->found.begun |= bit;
    if (json_type_of(finish) != JSON_STRING || finish.n <= 2) {
        /* In one piece it is complete, whatever the reason is (Snowflake: ""). */
        if (!r->whole || !r->choice_output)
            return;
        finish = SPAN("\"stop\"");
    }
    if (is_bad_finish(finish))
        r->found.bad_finish = finish;
    if (again) /* many repeat it; the first one counts */
        return;
    r->found.cut_short |= is_cut_short(finish);
    r->found.closed |= bit;
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
        } else if (r->watch->own[OPENAI_BARE] != 0 && span_is(key, "text")) {
            read_text(r, CHAT_TEXT);
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
        else if (span_is(key, "obfuscation"))
            r->found.padding = json_take(&r->j);
        else if (span_is(key, "x_groq"))
            read_x_groq(r);
        else if (span_is(key, "error"))
            r->found.error |= is_filled(json_take(&r->j));
        else
            json_take(&r->j);
    }
}

bool openai_chat_look(struct span text, bool whole, struct chat_watch *watch,
                      struct openai_chat_found *found)
{
    struct reader r;

    r.j = json_read(text);
    r.whole = whole;
    r.watch = watch;
    r.found = (struct openai_chat_found){0};
    r.sink = NULL;
    read_object(&r);
    *found = r.found;
    return json_end(&r.j);
}

void openai_chat_tell(struct span text, bool whole, struct chat_watch *watch,
                      const struct openai_chat_found *found, chat_sink *sink, void *ctx)
{
    struct reader r = {
        .j = json_read(text), .whole = whole, .watch = watch, .sink = sink, .ctx = ctx};

    if (found->begun != 0 && watch->begun == 0)
        emit(&r, (struct chat_event){.kind = CHAT_START, .id = found->id, .name = found->model});
    read_object(&r);
    r.choice = 0;
    if (found->usage.seen)
        emit(&r, (struct chat_event){.kind = CHAT_USAGE, .usage = found->usage});
}
