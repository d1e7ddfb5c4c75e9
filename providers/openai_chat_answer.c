#include "providers/openai_chat.h"

#include "proxy/base/hash.h"
#include "proxy/base/json.h"

#define MAX_CALLS 1024 /* of one choice, whose ids are compared */

/* ---- what a stream and an answer in one piece share ---- */

/* Calls decide, not what was said of them: Gemini says "stop" with calls, and so does OpenAI where
 * the tool was named. */
const char *openai_chat_finish_reason(struct span raw, bool calls)
{
    static const char *const cut[] = {"length", "model_length", "max_tokens"};

    for (size_t i = 0; i < ARRAY_LEN(cut); i++)
        if (json_is_string(raw, cut[i]))
            return "length";
    if (json_is_string(raw, "content_filter"))
        return "content_filter";
    return calls || json_is_string(raw, "tool_calls") || json_is_string(raw, "function_call")
               ? "tool_calls"
               : "stop";
}

void openai_chat_add_usage(struct strbuf *out, const struct chat_usage *u)
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

void openai_chat_add_head(struct strbuf *out, const struct answer_writer *w, const char *object)
{
    strbuf_add(out, "{\"id\":");
    json_add_string(out, w->id);
    strbuf_add(out, ",\"object\":\"");
    strbuf_add(out, object);
    strbuf_add(out, "\",\"created\":");
    strbuf_add_u64(out, w->created);
    strbuf_add(out, ",\"model\":");
    json_add_string(out, w->model);
}

static void add_field(struct strbuf *out, const char *name, struct span raw)
{
    json_add_name(out, name);
    add_raw_string(out, raw);
}

/* An id for a call that has none, or one that another call has: the same in a stream and in one
 * piece, and no other answer's. */
static struct span make_id(const struct answer_writer *w, unsigned choice, unsigned index)
{
    uint8_t hash[HASH_SHA256_BYTES];
    char hex[25];

    hash_sha256(span_of(arena_printf(w->arena, "%u %u %.*s", choice, index, SPAN_ARG(w->id))),
                hash);
    hash_hex(hash, 12, hex);
    return span_of(arena_printf(w->arena, "\"call_%s\"", hex));
}

static bool is_id(struct span raw)
{
    return json_type_of(raw) == JSON_STRING && raw.n > 2;
}

/* Gemini's state on a call, in the shape of its own endpoint for this dialect. */
static void add_call_signature(struct strbuf *out, struct span signature)
{
    strbuf_add(out, ",\"extra_content\":{\"google\":{");
    add_field(out, "thought_signature", signature);
    strbuf_add(out, "}}");
}

static void add_format(struct strbuf *out, struct span origin)
{
    if (json_is_string(origin, "anthropic_messages"))
        strbuf_add(out, ",\"format\":\"anthropic-claude-v1\"");
    else if (json_is_string(origin, "openai_responses"))
        strbuf_add(out, ",\"format\":\"openai-responses-v1\"");
    else if (json_is_string(origin, "gemini"))
        strbuf_add(out, ",\"format\":\"google-gemini-v1\"");
    else if (origin.n != 0)
        strbuf_add(out, ",\"format\":\"unknown\"");
}

/* One of reasoning_details, as OpenRouter has them. `text` only where it is wanted. */
static void add_detail(struct strbuf *out, bool redacted, struct span text, struct span signature,
                       struct span origin, unsigned index)
{
    if (redacted) {
        strbuf_add(out, "{\"type\":\"reasoning.encrypted\",");
        add_field(out, "data", signature);
    } else {
        strbuf_add(out, "{\"type\":\"reasoning.text\",");
        if (text.n != 0) {
            add_field(out, "text", text);
            strbuf_add_char(out, ',');
        }
        add_field(out, "signature", signature);
    }
    add_format(out, origin);
    strbuf_addf(out, ",\"index\":%u}", index);
}

/* ---- streams ---- */

struct written_call {
    struct written_call *next;
    unsigned tool;  /* its number in the events; the client's numbers have no gaps */
    unsigned index; /* the client's */
    struct span id; /* raw */
    bool arguments; /* some were written */
};

struct written_choice {
    struct written_choice *next;
    unsigned index;
    struct span head; /* what all of its chunks begin with; empty until the first one */
    struct span head_id, head_model; /* of the answer that it was made for */
    uint64_t head_created;
    bool stopped;
    unsigned n_calls, n_details;
    struct written_call *calls, *last_call;
};

static struct written_choice *find_choice(const struct answer_writer *w, unsigned index)
{
    struct written_choice *c = w->state;

    while (c != NULL && c->index != index)
        c = c->next;
    return c;
}

static struct written_call *find_call(const struct written_choice *c, unsigned tool)
{
    struct written_call *call = c->last_call;

    if (call != NULL && call->tool == tool)
        return call;
    for (call = c->calls; call != NULL && call->tool != tool; call = call->next)
        ;
    return call;
}

static void open_chunk(struct strbuf *out, const struct answer_writer *w)
{
    strbuf_add(out, "data: ");
    openai_chat_add_head(out, w, "chat.completion.chunk");
}

static void make_head(const struct answer_writer *w, struct written_choice *c)
{
    struct strbuf head = strbuf_in(w->arena, 6 * (w->id.n + w->model.n) + 256);

    open_chunk(&head, w);
    strbuf_add(&head, ",\"choices\":[{\"index\":");
    strbuf_add_u64(&head, c->index);
    strbuf_add(&head, ",\"delta\":{");
    c->head = strbuf_span(&head);
    c->head_id = w->id;
    c->head_model = w->model;
    c->head_created = w->created;
}

static bool is_same(struct span a, struct span b)
{
    return a.p == b.p && a.n == b.n;
}

/* Whoever carries the answer on may have another model, and shares the state. */
static void open_delta(struct strbuf *out, const struct answer_writer *w, struct written_choice *c)
{
    if (c->head.n == 0 || !is_same(c->head_id, w->id) || !is_same(c->head_model, w->model) ||
        c->head_created != w->created)
        make_head(w, c);
    strbuf_add_span(out, c->head);
}

static void close_delta(struct strbuf *out, const char *finish)
{
    strbuf_add(out, "},\"logprobs\":null,\"finish_reason\":");
    if (finish != NULL)
        strbuf_addf(out, "\"%s\"}]}\n\n", finish);
    else
        strbuf_add(out, "null}]}\n\n");
}

/* The choice, after the chunk with its role, which comes before all else of it. */
static struct written_choice *get_choice(struct answer_writer *w, unsigned index,
                                         struct strbuf *out)
{
    struct written_choice *c = find_choice(w, index);

    if (c != NULL)
        return c;
    c = arena_zalloc(w->arena, sizeof(*c));
    c->index = index;
    c->next = w->state;
    w->state = c;
    open_delta(out, w, c);
    strbuf_add(out, "\"role\":\"assistant\",\"content\":\"\"");
    close_delta(out, NULL);
    return c;
}

static void write_text(const struct answer_writer *w, struct written_choice *c,
                       const struct chat_event *ev, const char *name, struct strbuf *out)
{
    open_delta(out, w, c);
    add_field(out, name, ev->text);
    close_delta(out, NULL);
}

/* Beyond a number that no answer has, ids are made without a look: time stays linear. */
static bool id_is_free(const struct written_choice *c, struct span id)
{
    if (c->n_calls > MAX_CALLS)
        return false;
    for (const struct written_call *call = c->calls; call != NULL; call = call->next)
        if (span_eq(call->id, id))
            return false;
    return true;
}

static void write_call(struct answer_writer *w, struct written_choice *c,
                       const struct chat_event *ev, struct strbuf *out)
{
    struct written_call *call = arena_zalloc(w->arena, sizeof(*call));

    call->tool = ev->tool;
    call->index = c->n_calls++;
    call->id = is_id(ev->id) && id_is_free(c, ev->id) ? arena_copy(w->arena, ev->id)
                                                      : make_id(w, c->index, call->index);
    if (c->last_call != NULL)
        c->last_call->next = call;
    else
        c->calls = call;
    c->last_call = call;
    open_delta(out, w, c);
    strbuf_addf(out, "\"tool_calls\":[{\"index\":%u,", call->index);
    add_field(out, "id", call->id);
    strbuf_add(out, ",\"type\":\"function\",\"function\":{");
    add_field(out, "name", ev->name);
    strbuf_add(out, ",\"arguments\":\"\"}}]");
    close_delta(out, NULL);
}

static void write_arguments(const struct answer_writer *w, struct written_choice *c,
                            struct written_call *call, struct span piece, struct strbuf *out)
{
    call->arguments = true;
    open_delta(out, w, c);
    strbuf_add(out, "\"tool_calls\":[{\"index\":");
    strbuf_add_u64(out, call->index);
    strbuf_add(out, ",\"function\":{");
    add_field(out, "arguments", piece);
    strbuf_add(out, "}}]");
    close_delta(out, NULL);
}

static void write_signature(struct answer_writer *w, struct written_choice *c,
                            const struct chat_event *ev, struct strbuf *out)
{
    bool redacted = json_is_string(ev->name, "redacted");

    if (json_is_string(ev->name, "tool")) {
        struct written_call *call = find_call(c, ev->tool);

        if (call == NULL)
            return;
        open_delta(out, w, c);
        /* Clients look for `function` in every piece of a call. */
        strbuf_addf(out, "\"tool_calls\":[{\"index\":%u,\"function\":{\"arguments\":\"\"}",
                    call->index);
        add_call_signature(out, ev->text);
        strbuf_add(out, "}]");
    } else {
        open_delta(out, w, c);
        strbuf_add(out, "\"reasoning_details\":[");
        add_detail(out, redacted, (struct span){0}, ev->text, ev->id, c->n_details++);
        strbuf_add_char(out, ']');
    }
    close_delta(out, NULL);
}

/* Calls without arguments get the empty object: clients parse what they put together. */
static void write_stop(struct answer_writer *w, struct written_choice *c, struct span reason,
                       struct strbuf *out)
{
    const char *finish = openai_chat_finish_reason(reason, c->calls != NULL);

    if (c->stopped)
        return;
    for (struct written_call *call = c->calls; call != NULL; call = call->next)
        if (!call->arguments && strcmp(finish, "length") != 0)
            write_arguments(w, c, call, SPAN("\"{}\""), out);
    open_delta(out, w, c);
    close_delta(out, finish);
    c->stopped = true;
}

static void write_end(struct answer_writer *w, struct strbuf *out)
{
    if (w->usage_asked && w->usage.seen) {
        open_chunk(out, w);
        strbuf_add(out, ",\"choices\":[],\"usage\":");
        openai_chat_add_usage(out, &w->usage);
        strbuf_add(out, "}\n\n");
    }
    openai_chat_write_end(out);
}

static void write_of_choice(struct answer_writer *w, const struct chat_event *ev,
                            struct strbuf *out)
{
    struct written_choice *c = get_choice(w, ev->choice, out);
    struct written_call *call;

    switch (ev->kind) {
    case CHAT_TEXT:
        write_text(w, c, ev, "content", out);
        break;
    case CHAT_REASONING:
        write_text(w, c, ev, "reasoning_content", out);
        break;
    case CHAT_REFUSAL:
        write_text(w, c, ev, "refusal", out);
        break;
    case CHAT_TOOL_START:
        write_call(w, c, ev, out);
        break;
    case CHAT_TOOL_ARGS:
        call = find_call(c, ev->tool);
        if (call != NULL)
            write_arguments(w, c, call, ev->text, out);
        break;
    case CHAT_SIGNATURE:
        write_signature(w, c, ev, out);
        break;
    case CHAT_STOP:
        write_stop(w, c, ev->text, out);
        break;
    case CHAT_START:
    case CHAT_VECTOR:
    case CHAT_USAGE:
    case CHAT_END:
        break;
    }
}

void openai_chat_write_event(struct answer_writer *w, const struct chat_event *ev,
                             struct strbuf *out)
{
    switch (ev->kind) {
    case CHAT_START:
        get_choice(w, 0, out);
        break;
    case CHAT_USAGE:
        w->usage = ev->usage;
        break;
    case CHAT_END:
        write_end(w, out);
        break;
    default:
        write_of_choice(w, ev, out);
    }
}

static bool has_item(struct span list)
{
    struct json j = json_read(list);

    return json_enter(&j, JSON_ARRAY) && json_item(&j);
}

/* Its first chunk with a choice tells the id and the time that the others repeat, and has said the
 * role. What Azure sends before it has neither. */
void openai_chat_follow(struct answer_writer *w, const struct sse_event *ev,
                        enum dialect_event kind)
{
    struct json j = json_read(ev->data);
    struct strbuf none = strbuf_in(w->arena, 4096);
    struct span key, id = w->id;
    int64_t created = (int64_t)w->created;
    bool choice = false;

    if (w->started || kind == EVENT_NOTHING || !json_enter(&j, JSON_OBJECT))
        return;
    while (json_member(&j, &key)) {
        struct span value = json_take(&j);

        if (span_is(key, "id") && json_type_of(value) == JSON_STRING && value.n > 2)
            id = value;
        else if (span_is(key, "created"))
            json_to_i64(value, &created);
        else if (span_is(key, "choices"))
            choice = has_item(value);
    }
    if (!choice)
        return;
    if (id.p != w->id.p)
        w->id = arena_copy(w->arena, json_text(id, w->arena));
    w->created = (uint64_t)created;
    get_choice(w, 0, &none);
    w->started = true;
}

/* ---- answers in one piece ---- */

static bool id_is_free_before(const struct fold_choice *c, const struct fold_call *end,
                              struct span id)
{
    for (const struct fold_call *call = c->calls; call != end; call = call->next)
        if (span_eq(call->id, id))
            return false;
    return true;
}

static void add_calls(struct strbuf *out, const struct answer_writer *w,
                      const struct fold_choice *c)
{
    bool cut = strcmp(openai_chat_finish_reason(c->stop, true), "length") == 0;
    unsigned index = 0;

    strbuf_add(out, ",\"tool_calls\":[");
    for (const struct fold_call *call = c->calls; call != NULL; call = call->next, index++) {
        bool own = is_id(call->id) && id_is_free_before(c, call, call->id);

        if (index > 0)
            strbuf_add_char(out, ',');
        strbuf_add_char(out, '{');
        add_field(out, "id", own ? call->id : make_id(w, c->index, index));
        strbuf_add(out, ",\"type\":\"function\",\"function\":{");
        add_field(out, "name", call->name);
        strbuf_add_char(out, ',');
        add_field(out, "arguments",
                  call->arguments.len != 0 ? strbuf_span(&call->arguments)
                  : cut                    ? SPAN("\"\"")
                                           : SPAN("\"{}\""));
        strbuf_add_char(out, '}');
        if (call->signature.n != 0)
            add_call_signature(out, call->signature);
        strbuf_add_char(out, '}');
    }
    strbuf_add_char(out, ']');
}

/* One signature is for all of reasoning_content; of several, each names what it signs. */
static void add_details(struct strbuf *out, const struct fold_choice *c)
{
    unsigned index = 0, texts = 0;

    for (const struct fold_signed *s = c->signatures; s != NULL; s = s->next)
        texts += s->text.p != NULL;
    strbuf_add(out, ",\"reasoning_details\":[");
    for (const struct fold_signed *s = c->signatures; s != NULL; s = s->next) {
        if (index > 0)
            strbuf_add_char(out, ',');
        add_detail(out, s->text.p == NULL, texts > 1 ? s->text : (struct span){0}, s->signature,
                   s->origin, index++);
    }
    strbuf_add_char(out, ']');
}

static void add_text_or_null(struct strbuf *out, const struct strbuf *text)
{
    if (text->len != 0)
        strbuf_add_span(out, strbuf_span(text));
    else
        strbuf_add(out, "null");
}

static void add_choice(struct strbuf *out, const struct answer_writer *w,
                       const struct fold_choice *c)
{
    strbuf_addf(out, "{\"index\":%u,\"message\":{\"role\":\"assistant\",\"content\":", c->index);
    if (c->calls == NULL && c->refusal.len == 0 && c->text.len == 0)
        strbuf_add(out, "\"\"");
    else
        add_text_or_null(out, &c->text);
    strbuf_add(out, ",\"refusal\":");
    add_text_or_null(out, &c->refusal);
    if (c->reasoning.len != 0) {
        strbuf_add_char(out, ',');
        add_field(out, "reasoning_content", strbuf_span(&c->reasoning));
    }
    if (c->signatures != NULL)
        add_details(out, c);
    if (c->calls != NULL)
        add_calls(out, w, c);
    strbuf_addf(out, "},\"logprobs\":null,\"finish_reason\":\"%s\"}",
                openai_chat_finish_reason(c->stop, c->calls != NULL));
}

void openai_chat_write_answer(struct answer_writer *w, const struct fold *f, struct strbuf *out)
{
    openai_chat_add_head(out, w, "chat.completion");
    strbuf_add(out, ",\"choices\":[");
    for (const struct fold_choice *c = f->choices; c != NULL; c = c->next) {
        if (c != f->choices)
            strbuf_add_char(out, ',');
        add_choice(out, w, c);
    }
    strbuf_add_char(out, ']');
    if (f->usage.seen) {
        strbuf_add(out, ",\"usage\":");
        openai_chat_add_usage(out, &f->usage);
    }
    strbuf_add(out, "}\n");
}
