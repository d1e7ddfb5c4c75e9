/* Answers for a client of this dialect. A fragment stands alone, so there is little to remember:
 * calls, which go out whole, and how each choice ended, which goes out last, with the usage. */
#include "providers/gemini.h"

#define MAX_ARGUMENTS (64 * 1024 * 1024) /* bytes of one call's */

struct written_call {
    struct written_call *next;
    unsigned tool;
    struct span id, name;          /* raw */
    struct strbuf arguments;       /* raw string, without its closing quote */
    struct span signature, origin; /* raw */
};

struct written_choice {
    struct written_choice *next; /* in the order of their indices */
    unsigned index;
    struct written_call *calls, *last_call; /* not written yet */
    bool called;                            /* a call was written */
    bool thought;                           /* reasoning was written since the last signature */
    bool stopped;
    struct span reason;    /* raw, canonical */
    struct span malformed; /* raw: the name of a call whose arguments nobody can read */
};

/* ---- what a stream and an answer in one piece share ---- */

static bool is_filled(struct span raw)
{
    return json_type_of(raw) == JSON_STRING && raw.n > 2;
}

static void add_usage(struct strbuf *out, const struct chat_usage *u)
{
    uint64_t reasoning = u->reasoning < u->output ? u->reasoning : u->output;

    strbuf_add(out, ",\"usageMetadata\":{\"promptTokenCount\":");
    strbuf_add_u64(out, u->input);
    strbuf_add(out, ",\"candidatesTokenCount\":");
    strbuf_add_u64(out, u->output - reasoning);
    strbuf_add(out, ",\"totalTokenCount\":");
    strbuf_add_u64(out, u->input + u->output);
    if (u->cached != 0) {
        strbuf_add(out, ",\"cachedContentTokenCount\":");
        strbuf_add_u64(out, u->cached);
    }
    if (reasoning != 0) {
        strbuf_add(out, ",\"thoughtsTokenCount\":");
        strbuf_add_u64(out, reasoning);
    }
    strbuf_add_char(out, '}');
}

/* Behind the candidates. */
static void add_rest(struct strbuf *out, const struct answer_writer *w, bool last)
{
    if (last && w->usage.seen)
        add_usage(out, &w->usage);
    strbuf_add(out, ",\"modelVersion\":");
    json_add_string(out, w->model);
    strbuf_add(out, ",\"responseId\":");
    json_add_string(out, w->id);
    strbuf_add_char(out, '}');
}

static void add_text(struct strbuf *out, struct span raw, bool thought, struct span signature)
{
    strbuf_add(out, "{\"text\":");
    if (json_type_of(raw) == JSON_STRING)
        strbuf_add_span(out, raw);
    else
        json_add_string(out, raw);
    if (thought)
        strbuf_add(out, ",\"thought\":true");
    if (signature.n != 0) {
        strbuf_add(out, ",\"thoughtSignature\":");
        strbuf_add_span(out, signature);
    }
    strbuf_add_char(out, '}');
}

/* A state as this dialect's clients keep it: Google's own as it is. */
static struct span carried(struct span state, struct span origin, enum gemini_state_kind kind,
                           struct arena *a)
{
    struct strbuf out = strbuf_in(a, 2 * (state.n + origin.n) + 64);

    if (json_is_string(origin, "gemini"))
        return state;
    gemini_add_state(&out, kind, origin, state, a);
    return strbuf_span(&out);
}

/* The signature of reasoning has a part of its own, behind the text that it signs. False where
 * nothing is to be written: the reasoning itself was not shown. */
static bool add_signature(struct strbuf *out, const struct answer_writer *w, struct span state,
                          struct span origin, enum gemini_state_kind kind)
{
    bool own = json_is_string(origin, "gemini");

    if (!own && !w->reasoning_asked)
        return false;
    add_text(out, SPAN("\"\""), !own, carried(state, origin, kind, w->arena));
    return true;
}

/* The JSON object in a raw string; p == NULL where there is none. Line ends between its tokens
 * would end the event. */
static struct span arguments_of(struct span raw, struct arena *a)
{
    struct span text = json_text(raw, a);
    char *copy;

    while (text.n > 0 && strchr(" \t\r\n", text.p[text.n - 1]) != NULL && text.p[text.n - 1] != 0)
        text.n--;
    while (text.n > 0 && strchr(" \t\r\n", *text.p) != NULL && *text.p != 0)
        text = (struct span){text.p + 1, text.n - 1};
    if (text.n == 0 || span_is(text, "null"))
        return SPAN("{}");
    if (json_type_of(text) != JSON_OBJECT || !json_valid(text))
        return (struct span){0};
    if (memchr(text.p, '\n', text.n) == NULL && memchr(text.p, '\r', text.n) == NULL)
        return text;
    copy = arena_alloc(a, text.n);
    for (size_t i = 0; i < text.n; i++)
        copy[i] = text.p[i] == '\n' || text.p[i] == '\r' ? ' ' : text.p[i];
    return (struct span){copy, text.n};
}

struct call_view {
    struct span id, name, arguments, signature, origin; /* raw; arguments: an object */
};

/* `first`: of a step, as far as this answer knows. */
static void add_call(struct strbuf *out, const struct call_view *call, bool first, struct arena *a)
{
    strbuf_add(out, "{\"functionCall\":{");
    if (is_filled(call->id)) {
        strbuf_add(out, "\"id\":");
        strbuf_add_span(out, call->id);
        strbuf_add_char(out, ',');
    }
    strbuf_add(out, "\"name\":");
    if (json_type_of(call->name) == JSON_STRING)
        strbuf_add_span(out, call->name);
    else
        json_add_string(out, call->name);
    strbuf_add(out, ",\"args\":");
    strbuf_add_span(out, call->arguments);
    strbuf_add_char(out, '}');
    if (call->signature.n != 0) {
        strbuf_add(out, ",\"thoughtSignature\":");
        strbuf_add_span(out, carried(call->signature, call->origin, GEMINI_CALL, a));
    } else if (first) {
        strbuf_add(out, ",\"thoughtSignature\":");
        gemini_add_state(out, GEMINI_MARK, (struct span){0}, (struct span){0}, a);
    }
    strbuf_add_char(out, '}');
}

/* Calls have no reason of their own here: they end with STOP. */
static const char *finish_reason(struct span raw, bool malformed)
{
    static const char *const cut[] = {"length", "model_length", "max_tokens"};

    for (size_t i = 0; i < ARRAY_LEN(cut); i++)
        if (json_is_string(raw, cut[i]))
            return "MAX_TOKENS";
    if (json_is_string(raw, "content_filter"))
        return "SAFETY";
    return malformed ? "MALFORMED_FUNCTION_CALL" : "STOP";
}

/* Behind the content. */
static void add_finish(struct strbuf *out, struct span reason, struct span malformed)
{
    strbuf_addf(out, ",\"finishReason\":\"%s\"", finish_reason(reason, malformed.n != 0));
    if (malformed.n == 0)
        return;
    strbuf_add(out, ",\"finishMessage\":\"the arguments of a call are no JSON object, so it was "
                    "left out: ");
    if (malformed.n > 2)
        strbuf_add_n(out, malformed.p + 1, malformed.n - 2);
    strbuf_add_char(out, '"');
}

/* ---- streams ---- */

static struct written_choice *get_choice(struct answer_writer *w, unsigned index)
{
    struct written_choice *head = w->state, *c, **at = &head;

    while (*at != NULL && (*at)->index < index)
        at = &(*at)->next;
    if (*at == NULL || (*at)->index != index) {
        c = arena_zalloc(w->arena, sizeof(*c));
        c->index = index;
        c->next = *at;
        *at = c;
    }
    c = *at;
    w->state = head;
    return c;
}

static void open_fragment(struct strbuf *out)
{
    strbuf_add(out, "data: {\"candidates\":[{\"content\":{\"parts\":[");
}

static void close_fragment(struct strbuf *out, const struct answer_writer *w, unsigned choice)
{
    strbuf_add(out, "],\"role\":\"model\"},\"index\":");
    strbuf_add_u64(out, choice);
    strbuf_add(out, "}]");
    add_rest(out, w, false);
    strbuf_add(out, "\n\n");
}

static void write_text(const struct answer_writer *w, const struct chat_event *ev, bool thought,
                       struct strbuf *out)
{
    if (json_type_of(ev->text) == JSON_STRING && !is_filled(ev->text))
        return;
    open_fragment(out);
    add_text(out, ev->text, thought, (struct span){0});
    close_fragment(out, w, ev->choice);
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

static void begin_call(struct answer_writer *w, struct written_choice *c,
                       const struct chat_event *ev)
{
    struct written_call *call = arena_zalloc(w->arena, sizeof(*call));

    call->tool = ev->tool;
    call->id = arena_copy(w->arena, ev->id);
    call->name = arena_copy(w->arena, ev->name);
    call->arguments = strbuf_in(w->arena, MAX_ARGUMENTS);
    if (c->last_call != NULL)
        c->last_call->next = call;
    else
        c->calls = call;
    c->last_call = call;
}

static void gather(struct answer_writer *w, struct written_call *call, struct span piece)
{
    if (call == NULL)
        return;
    if (json_type_of(piece) != JSON_STRING) /* bare JSON */
        piece = chat_quote(piece, w->arena);
    raw_add_joined(&call->arguments, piece, call->arguments.len == 0, "");
}

static void write_call(struct answer_writer *w, struct written_choice *c, struct written_call *call,
                       struct strbuf *out)
{
    struct call_view view = {
        .id = call->id, .name = call->name, .signature = call->signature, .origin = call->origin};

    if (call->arguments.len != 0)
        strbuf_add_char(&call->arguments, '"');
    if (!call->arguments.failed)
        view.arguments = arguments_of(strbuf_span(&call->arguments), w->arena);
    if (view.arguments.p == NULL) {
        c->malformed = call->name;
        return;
    }
    open_fragment(out);
    add_call(out, &view, !c->called, w->arena);
    close_fragment(out, w, c->index);
    c->called = true;
}

/* Calls go out whole, when all of them are there: their pieces may come mixed. */
static void write_calls(struct answer_writer *w, struct written_choice *c, struct strbuf *out)
{
    for (struct written_call *call = c->calls; call != NULL; call = call->next)
        write_call(w, c, call, out);
    c->calls = c->last_call = NULL;
}

static void write_signature(struct answer_writer *w, struct written_choice *c,
                            const struct chat_event *ev, struct strbuf *out)
{
    struct strbuf part = strbuf_in(w->arena, 4 * ev->text.n + 512);

    if (json_is_string(ev->name, "tool")) {
        struct written_call *call = find_call(c, ev->tool);

        if (call != NULL) {
            call->signature = arena_copy(w->arena, ev->text);
            call->origin = arena_copy(w->arena, ev->id);
        }
        return;
    }
    if (!add_signature(&part, w, ev->text, ev->id,
                       json_is_string(ev->name, "redacted") ? GEMINI_REDACTED
                       : c->thought                         ? GEMINI_SIGNED
                                                            : GEMINI_BARE))
        return;
    c->thought = c->thought && json_is_string(ev->name, "redacted");
    open_fragment(out);
    strbuf_add_span(out, strbuf_span(&part));
    close_fragment(out, w, c->index);
}

static void write_stop(struct answer_writer *w, struct written_choice *c, struct span reason,
                       struct strbuf *out)
{
    if (c->stopped)
        return;
    write_calls(w, c, out);
    c->stopped = true;
    c->reason = arena_copy(w->arena, reason);
}

/* The last fragment: why each choice ended, and what it cost. */
static void write_end(struct answer_writer *w, struct strbuf *out)
{
    struct written_choice *first;

    get_choice(w, 0);
    first = w->state;
    for (struct written_choice *c = first; c != NULL; c = c->next)
        write_calls(w, c, out); /* some come behind their reason to stop */
    strbuf_add(out, "data: {\"candidates\":[");
    for (struct written_choice *c = first; c != NULL; c = c->next) {
        if (c != first)
            strbuf_add_char(out, ',');
        strbuf_add(out, "{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"}");
        add_finish(out, c->reason, c->malformed);
        strbuf_addf(out, ",\"index\":%u}", c->index);
    }
    strbuf_add_char(out, ']');
    add_rest(out, w, true);
    strbuf_add(out, "\n\n");
}

static void write_of_choice(struct answer_writer *w, const struct chat_event *ev,
                            struct strbuf *out)
{
    struct written_choice *c = get_choice(w, ev->choice);

    switch (ev->kind) {
    case CHAT_TEXT:
    case CHAT_REFUSAL: /* there is no other place for it */
        write_text(w, ev, false, out);
        break;
    case CHAT_REASONING:
        if (!w->reasoning_asked)
            break;
        write_text(w, ev, true, out);
        c->thought |= is_filled(ev->text);
        break;
    case CHAT_TOOL_START:
        begin_call(w, c, ev);
        break;
    case CHAT_TOOL_ARGS:
        gather(w, find_call(c, ev->tool), ev->text);
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

void gemini_write_event(struct answer_writer *w, const struct chat_event *ev, struct strbuf *out)
{
    switch (ev->kind) {
    case CHAT_START:
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

/* Fragments stand alone; only the id is the same in all of them. */
void gemini_follow(struct answer_writer *w, const struct sse_event *ev, enum dialect_event kind)
{
    struct json j = json_read(ev->data);
    struct span key;

    if (w->started || kind == EVENT_NOTHING || !json_enter(&j, JSON_OBJECT))
        return;
    while (json_member(&j, &key)) {
        bool is_id = span_is(key, "responseId");
        struct span raw = json_take(&j);

        if (is_id && is_filled(raw)) {
            w->id = arena_copy(w->arena, json_text(raw, w->arena));
            w->started = true;
        }
    }
}

/* ---- answers in one piece ---- */

static void separate(struct strbuf *out, bool *any)
{
    if (*any)
        strbuf_add_char(out, ',');
    *any = true;
}

/* What was thought first, each piece before its signature. */
static void add_reasoning(struct strbuf *out, const struct answer_writer *w,
                          const struct fold_choice *c, bool *any)
{
    for (const struct fold_signed *s = c->signatures; s != NULL; s = s->next) {
        struct strbuf part = strbuf_in(w->arena, 4 * s->signature.n + 512);

        if (w->reasoning_asked && is_filled(s->text)) {
            separate(out, any);
            add_text(out, s->text, true, (struct span){0});
        }
        if (add_signature(&part, w, s->signature, s->origin,
                          s->text.p == NULL    ? GEMINI_REDACTED
                          : is_filled(s->text) ? GEMINI_SIGNED
                                               : GEMINI_BARE)) {
            separate(out, any);
            strbuf_add_span(out, strbuf_span(&part));
        }
    }
    if (w->reasoning_asked && c->unsigned_reasoning.len > 2) {
        separate(out, any);
        add_text(out, strbuf_span(&c->unsigned_reasoning), true, (struct span){0});
    }
}

static void add_calls(struct strbuf *out, const struct answer_writer *w,
                      const struct fold_choice *c, bool *any, struct span *malformed)
{
    bool first = true;

    for (const struct fold_call *call = c->calls; call != NULL; call = call->next) {
        struct call_view view = {
            .id = call->id,
            .name = call->name,
            .arguments = arguments_of(strbuf_span(&call->arguments), w->arena),
            .signature = call->signature,
            .origin = call->origin,
        };

        if (view.arguments.p == NULL) {
            *malformed = call->name;
            continue;
        }
        separate(out, any);
        add_call(out, &view, first, w->arena);
        first = false;
    }
}

static void add_choice(struct strbuf *out, const struct answer_writer *w,
                       const struct fold_choice *c)
{
    struct span malformed = {0};
    bool any = false;

    strbuf_add(out, "{\"content\":{\"parts\":[");
    add_reasoning(out, w, c, &any);
    if (c->text.len > 2) {
        separate(out, &any);
        add_text(out, strbuf_span(&c->text), false, (struct span){0});
    }
    if (c->refusal.len > 2) {
        separate(out, &any);
        add_text(out, strbuf_span(&c->refusal), false, (struct span){0});
    }
    add_calls(out, w, c, &any, &malformed);
    if (!any)
        strbuf_add(out, "{\"text\":\"\"}");
    strbuf_add(out, "],\"role\":\"model\"}");
    add_finish(out, c->stop, malformed);
    strbuf_addf(out, ",\"index\":%u}", c->index);
}

void gemini_write_answer(struct answer_writer *w, const struct fold *f, struct strbuf *out)
{
    strbuf_add(out, "{\"candidates\":[");
    for (const struct fold_choice *c = f->choices; c != NULL; c = c->next) {
        if (c != f->choices)
            strbuf_add_char(out, ',');
        add_choice(out, w, c);
    }
    strbuf_add_char(out, ']');
    w->usage = f->usage;
    add_rest(out, w, true);
    strbuf_add_char(out, '\n');
}
