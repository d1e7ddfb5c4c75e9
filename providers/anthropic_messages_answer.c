#include "providers/anthropic_messages.h"

#include "proxy/base/hash.h"

#define MAX_ARGUMENTS (64 * 1024 * 1024) /* bytes of one call's, as in fold.c */
#define MAX_CALLS     1024               /* whose ids are compared */
#define HIDDEN_PIECES 16                 /* of reasoning that nobody asked for, to one ping */

/* ---- what a stream and an answer in one piece share ---- */

static const char *stop_reason(struct span canonical, bool calls)
{
    if (json_is_string(canonical, "length"))
        return "max_tokens";
    if (json_is_string(canonical, "content_filter"))
        return "refusal";
    return calls ? "tool_use" : "end_turn";
}

/* What was read from a cache does not count as input here, and what was written to one is input. */
static void add_usage(struct strbuf *out, const struct chat_usage *u)
{
    uint64_t cached = u->cached < u->input ? u->cached : u->input;

    strbuf_add(out, "\"usage\":{\"input_tokens\":");
    strbuf_add_u64(out, u->input - cached);
    strbuf_add(out, ",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":");
    strbuf_add_u64(out, cached);
    strbuf_add(out, ",\"output_tokens\":");
    strbuf_add_u64(out, u->output);
    if (u->reasoning != 0) {
        strbuf_add(out, ",\"output_tokens_details\":{\"thinking_tokens\":");
        strbuf_add_u64(out, u->reasoning);
        strbuf_add_char(out, '}');
    }
    strbuf_add_char(out, '}');
}

static void add_head(struct strbuf *out, const struct answer_writer *w)
{
    strbuf_add(out, "{\"id\":");
    json_add_string(out, w->id);
    strbuf_add(out, ",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    json_add_string(out, w->model);
}

static void add_field(struct strbuf *out, const char *name, struct span raw)
{
    strbuf_add_char(out, ',');
    json_add_name(out, name);
    if (json_type_of(raw) == JSON_STRING)
        strbuf_add_span(out, raw);
    else
        json_add_string(out, raw);
}

/* An id for a call that has none, one that another call has, or one that Claude would refuse to see
 * again: the same in a stream and in one piece, and no other answer's. */
static struct span make_id(const struct answer_writer *w, unsigned index)
{
    uint8_t hash[HASH_SHA256_BYTES];
    char hex[25];

    hash_sha256(span_of(arena_printf(w->arena, "%u %.*s", index, SPAN_ARG(w->id))), hash);
    hash_hex(hash, 12, hex);
    return span_of(arena_printf(w->arena, "\"toolu_%s\"", hex));
}

static bool is_good_id(const struct answer_writer *w, struct span raw)
{
    return json_type_of(raw) == JSON_STRING && anthropic_is_plain(json_text(raw, w->arena), 64);
}

/* ---- streams: the state ---- */

/* How far a call's arguments have come: pieces of JSON are watched for its end. */
struct scan {
    unsigned depth;
    bool begun, string, escape;
};

enum call_place { CALL_WAITS, CALL_OPEN, CALL_WRITTEN };

/* Blocks come one after the other, while calls of other dialects may come side by side: what comes
 * for a call whose turn it is not is kept. A call that came whole waits for the next event all the
 * same, as that may bring its signature, which has to stand before it. */
struct written_call {
    struct written_call *next;
    enum call_place place;
    unsigned tool;           /* its number in the events */
    struct span id, name;    /* raw */
    struct strbuf arguments; /* raw string so far, without its closing quote */
    struct scan scan;
    struct span signature, origin; /* raw */
};

enum open_block { OPEN_NONE, OPEN_TEXT, OPEN_THINKING, OPEN_TOOL };

struct written {
    bool begun; /* message_start is out */
    enum open_block open;
    bool is_signed;    /* the open block of thinking has its signature */
    unsigned index;    /* of the open block, or of the next one */
    unsigned n_calls;  /* in the answer */
    bool calls_before; /* the stream that is carried on held some */
    unsigned hidden;   /* pieces of reasoning that were not shown */
    struct span stop;  /* canonical, raw */
    struct written_call *calls, *last_call, *open_call;
};

static struct written *state_of(struct answer_writer *w)
{
    if (w->state == NULL)
        w->state = arena_zalloc(w->arena, sizeof(struct written));
    return w->state;
}

/* The ASCII character of an escape inside a JSON string, or 'x'; *n: how long it is. */
static char escaped(const char *p, size_t *n)
{
    unsigned c = 0;

    *n = p[1] == 'u' ? 6 : 2;
    if (p[1] != 'u')
        return p[1] == '"' || p[1] == '\\' ? p[1] : 'x';
    for (size_t i = 2; i < 6; i++)
        c = c << 4 | (unsigned)(p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return c < 0x80 ? (char)c : 'x';
}

static void scan_char(struct scan *s, char c)
{
    if (s->string) {
        if (s->escape)
            s->escape = false;
        else if (c == '\\')
            s->escape = true;
        else if (c == '"')
            s->string = false;
    } else if (c == '"') {
        s->string = s->begun = true;
    } else if (c == '{' || c == '[') {
        s->depth++;
        s->begun = true;
    } else if ((c == '}' || c == ']') && s->depth > 0) {
        s->depth--;
    }
}

static void scan_piece(struct scan *s, struct span raw)
{
    size_t n;

    for (const char *p = raw.p + 1; p < raw.p + raw.n - 1; p += n) {
        n = 1;
        scan_char(s, *p == '\\' ? escaped(p, &n) : *p);
    }
}

static bool is_whole(const struct written_call *call)
{
    return call->scan.begun && call->scan.depth == 0 && !call->scan.string;
}

/* ---- streams: the bytes ---- */

static void open_event(struct strbuf *out, const char *type)
{
    strbuf_add(out, "event: ");
    strbuf_add(out, type);
    strbuf_add(out, "\ndata: {\"type\":\"");
    strbuf_add(out, type);
    strbuf_add_char(out, '"');
}

static void close_event(struct strbuf *out)
{
    strbuf_add(out, "}\n\n");
}

/* Other dialects tell their counts at the end: message_delta has the true ones. */
static void begin(struct answer_writer *w, struct written *s, struct strbuf *out)
{
    if (s->begun)
        return;
    s->begun = true;
    open_event(out, "message_start");
    strbuf_add(out, ",\"message\":");
    add_head(out, w);
    strbuf_add(out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,");
    add_usage(out, &w->usage);
    strbuf_add_char(out, '}');
    close_event(out);
}

static void open_delta(const struct written *s, const char *type, struct strbuf *out)
{
    open_event(out, "content_block_delta");
    strbuf_add(out, ",\"index\":");
    strbuf_add_u64(out, s->index);
    strbuf_add(out, ",\"delta\":{\"type\":\"");
    strbuf_add(out, type);
    strbuf_add_char(out, '"');
}

static void add_delta(const struct written *s, const char *type, const char *field, struct span raw,
                      struct strbuf *out)
{
    open_delta(s, type, out);
    add_field(out, field, raw);
    strbuf_add_char(out, '}');
    close_event(out);
}

static void open_start(const struct written *s, struct strbuf *out)
{
    open_event(out, "content_block_start");
    strbuf_addf(out, ",\"index\":%u,\"content_block\":", s->index);
}

static void stop_block(struct written *s, struct strbuf *out)
{
    open_event(out, "content_block_stop");
    strbuf_addf(out, ",\"index\":%u", s->index++);
    close_event(out);
    s->open = OPEN_NONE;
}

/* Reasoning that nobody signed gets a mark, by which we know it when it comes back. */
static void close_block(struct written *s, struct strbuf *out)
{
    if (s->open == OPEN_NONE)
        return;
    if (s->open == OPEN_THINKING && !s->is_signed)
        add_delta(s, "signature_delta", "signature", SPAN("\"" ANTHROPIC_FOREIGN "\""), out);
    if (s->open_call != NULL)
        s->open_call->place = CALL_WRITTEN;
    s->open_call = NULL;
    stop_block(s, out);
}

static void open_block(struct written *s, enum open_block kind, struct strbuf *out)
{
    close_block(s, out);
    open_start(s, out);
    strbuf_add(out, kind == OPEN_TEXT
                        ? "{\"type\":\"text\",\"text\":\"\"}"
                        : "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
    close_event(out);
    s->open = kind;
    s->is_signed = false;
}

/* ---- streams: calls ---- */

static void write_state(const struct answer_writer *w, struct written *s,
                        const struct written_call *call, struct strbuf *out)
{
    if (call->signature.n == 0 || !w->reasoning_asked)
        return;
    open_block(s, OPEN_THINKING, out);
    add_delta(s, "signature_delta", "signature",
              anthropic_carry(ANTHROPIC_FOREIGN_CALL, call->origin, call->signature, w->arena),
              out);
    s->is_signed = true;
    close_block(s, out);
}

/* "null" and nothing mean what the empty object means that clients begin with. */
static bool has_arguments(const struct answer_writer *w, const struct written_call *call)
{
    struct span raw = strbuf_span(&call->arguments);

    if (call->scan.begun || raw.n == 0)
        return raw.n != 0;
    raw = span_of(arena_printf(w->arena, "%.*s\"", SPAN_ARG(raw)));
    return !raw_is_blank(raw) && !json_is_string(raw, "null");
}

/* Its start, and what there is of its arguments. */
static void write_call(const struct answer_writer *w, struct written *s, struct written_call *call,
                       struct strbuf *out)
{
    close_block(s, out);
    write_state(w, s, call, out);
    open_start(s, out);
    strbuf_add(out, "{\"type\":\"tool_use\"");
    add_field(out, "id", call->id);
    add_field(out, "name", call->name);
    strbuf_add(out, ",\"input\":{}}");
    close_event(out);
    s->open = OPEN_TOOL;
    s->open_call = call;
    call->place = CALL_OPEN;
    if (has_arguments(w, call)) {
        struct strbuf *all = &call->arguments;

        open_delta(s, "input_json_delta", out);
        strbuf_add(out, ",\"partial_json\":");
        strbuf_add_span(out, strbuf_span(all));
        strbuf_add(out, "\"}");
        close_event(out);
    }
}

/* Writes the calls before `end` that are whole; with `all` also the others. */
static void settle_calls(const struct answer_writer *w, struct written *s,
                         const struct written_call *end, bool all, struct strbuf *out)
{
    if (s->open == OPEN_TOOL && s->open_call != NULL && (all || is_whole(s->open_call)))
        close_block(s, out);
    for (struct written_call *call = s->calls; call != end; call = call->next) {
        if (call->place != CALL_WAITS)
            continue;
        if (!all && (!is_whole(call) || s->open == OPEN_TOOL))
            return;
        write_call(w, s, call, out);
        close_block(s, out);
    }
}

static struct written_call *find_call(const struct written *s, unsigned tool)
{
    struct written_call *call = s->last_call;

    if (call != NULL && call->tool == tool)
        return call;
    for (call = s->calls; call != NULL && call->tool != tool; call = call->next)
        ;
    return call;
}

/* Beyond a number that no answer has, ids are made without a look: time stays linear. */
static bool id_is_free(const struct written *s, struct span id)
{
    if (s->n_calls > MAX_CALLS)
        return false;
    for (const struct written_call *call = s->calls; call != NULL; call = call->next)
        if (span_eq(call->id, id))
            return false;
    return true;
}

static void start_call(struct answer_writer *w, struct written *s, const struct chat_event *ev,
                       struct strbuf *out)
{
    struct written_call *call;

    settle_calls(w, s, NULL, false, out);
    call = arena_zalloc(w->arena, sizeof(*call));
    call->tool = ev->tool;
    call->id = is_good_id(w, ev->id) && id_is_free(s, ev->id) ? arena_copy(w->arena, ev->id)
                                                              : make_id(w, s->n_calls);
    call->name = arena_copy(w->arena, ev->name);
    call->arguments = strbuf_in(w->arena, MAX_ARGUMENTS);
    if (s->last_call != NULL)
        s->last_call->next = call;
    else
        s->calls = call;
    s->last_call = call;
    s->n_calls++;
}

static bool is_next(const struct written *s, const struct written_call *call)
{
    const struct written_call *first = s->calls;

    while (first != NULL && first->place == CALL_WRITTEN)
        first = first->next;
    return first == call;
}

static void add_arguments(struct answer_writer *w, struct written *s, struct written_call *call,
                          struct span text, struct strbuf *out)
{
    struct span raw = json_type_of(text) == JSON_STRING ? text : chat_quote(text, w->arena);

    if (call->place == CALL_WRITTEN) { /* behind a text: no client could put it together */
        out->failed = true;
        return;
    }
    if (call->place == CALL_WAITS)
        settle_calls(w, s, call, false, out);
    scan_piece(&call->scan, raw);
    if (call->place == CALL_OPEN) {
        add_delta(s, "input_json_delta", "partial_json", raw, out);
        return;
    }
    raw_add_joined(&call->arguments, raw, call->arguments.len == 0, "");
    out->failed |= call->arguments.failed;
    if (call->scan.begun && !is_whole(call) && s->open != OPEN_TOOL && is_next(s, call))
        write_call(w, s, call, out);
}

/* ---- streams: everything else ---- */

static void write_text(struct answer_writer *w, struct written *s, struct span text,
                       struct strbuf *out)
{
    settle_calls(w, s, NULL, false, out);
    if (s->open != OPEN_TEXT)
        open_block(s, OPEN_TEXT, out);
    add_delta(s, "text_delta", "text", text, out);
}

/* Clients that did not ask for it would find it in the place of the answer. While it lasts they
 * hear that the connection is alive. */
static void write_reasoning(struct answer_writer *w, struct written *s, struct span text,
                            struct strbuf *out)
{
    if (!w->reasoning_asked) {
        if (s->hidden++ % HIDDEN_PIECES == 0) {
            open_event(out, "ping");
            close_event(out);
        }
        return;
    }
    settle_calls(w, s, NULL, false, out);
    if (s->open != OPEN_THINKING || s->is_signed)
        open_block(s, OPEN_THINKING, out);
    add_delta(s, "thinking_delta", "thinking", text, out);
}

static void write_signature(struct answer_writer *w, struct written *s, const struct chat_event *ev,
                            struct strbuf *out)
{
    struct written_call *call;
    struct span carried;

    if (json_is_string(ev->name, "tool")) {
        call = find_call(s, ev->tool);
        if (call != NULL) {
            call->signature = arena_copy(w->arena, ev->text);
            call->origin = arena_copy(w->arena, ev->id);
        }
        return;
    }
    if (!w->reasoning_asked)
        return;
    settle_calls(w, s, NULL, false, out);
    carried = anthropic_carry(ANTHROPIC_FOREIGN, ev->id, ev->text, w->arena);
    if (json_is_string(ev->name, "redacted")) {
        close_block(s, out);
        open_start(s, out);
        strbuf_add(out, "{\"type\":\"redacted_thinking\"");
        add_field(out, "data", carried);
        strbuf_add_char(out, '}');
        close_event(out);
        stop_block(s, out);
        return;
    }
    if (s->open != OPEN_THINKING || s->is_signed)
        open_block(s, OPEN_THINKING, out);
    add_delta(s, "signature_delta", "signature", carried, out);
    s->is_signed = true;
}

static void write_end(struct answer_writer *w, struct written *s, struct strbuf *out)
{
    settle_calls(w, s, NULL, true, out);
    close_block(s, out);
    open_event(out, "message_delta");
    strbuf_addf(out, ",\"delta\":{\"stop_reason\":\"%s\",\"stop_sequence\":null},",
                stop_reason(s->stop, s->n_calls != 0 || s->calls_before));
    add_usage(out, &w->usage);
    close_event(out);
    anthropic_write_end(out);
}

static void write_content(struct answer_writer *w, struct written *s, const struct chat_event *ev,
                          struct strbuf *out)
{
    struct written_call *call;

    switch (ev->kind) {
    case CHAT_TEXT:
    case CHAT_REFUSAL:
        write_text(w, s, ev->text, out);
        break;
    case CHAT_REASONING:
        write_reasoning(w, s, ev->text, out);
        break;
    case CHAT_TOOL_START:
        start_call(w, s, ev, out);
        break;
    case CHAT_TOOL_ARGS:
        call = find_call(s, ev->tool);
        if (call != NULL && ev->text.n != 0)
            add_arguments(w, s, call, ev->text, out);
        break;
    case CHAT_SIGNATURE:
        write_signature(w, s, ev, out);
        break;
    case CHAT_STOP:
        if (s->stop.n == 0)
            s->stop = arena_copy(w->arena, ev->text);
        settle_calls(w, s, NULL, true, out);
        close_block(s, out);
        break;
    default:
        break;
    }
}

/* One answer is all that this dialect has a place for. */
void anthropic_write_event(struct answer_writer *w, const struct chat_event *ev, struct strbuf *out)
{
    struct written *s = state_of(w);

    if (ev->kind == CHAT_USAGE)
        w->usage = ev->usage;
    if (ev->kind == CHAT_START || ev->kind == CHAT_USAGE || ev->choice != 0)
        return; /* the start waits for content: counts may come before it */
    begin(w, s, out);
    if (ev->kind == CHAT_END)
        write_end(w, s, out);
    else
        write_content(w, s, ev, out);
}

/* ---- a stream that somebody else began ---- */

static void follow_start(struct answer_writer *w, struct written *s, struct span data)
{
    struct span message = top_member(data, "message");

    if (s->begun)
        return;
    s->begun = true;
    w->id = arena_copy(w->arena, json_text(top_member(message, "id"), w->arena));
}

static void follow_block(struct written *s, struct span data)
{
    struct span type = top_member(top_member(data, "content_block"), "type");
    int64_t index;

    if (json_to_i64(top_member(data, "index"), &index) && index >= 0)
        s->index = (unsigned)index;
    s->calls_before |= json_is_string(type, "tool_use");
    s->open = json_is_string(type, "text")       ? OPEN_TEXT
              : json_is_string(type, "thinking") ? OPEN_THINKING
                                                 : OPEN_TOOL; /* whatever it is, it has to end */
    s->is_signed = false;
}

void anthropic_follow(struct answer_writer *w, const struct sse_event *ev, enum dialect_event kind)
{
    struct written *s = state_of(w);
    struct span type;

    if (kind == EVENT_NOTHING || span_is(ev->name, "content_block_delta"))
        return;
    type = top_member(ev->data, "type");
    if (json_is_string(type, "message_start"))
        follow_start(w, s, ev->data);
    else if (json_is_string(type, "content_block_start"))
        follow_block(s, ev->data);
    else if (json_is_string(type, "content_block_stop") && s->open != OPEN_NONE) {
        s->open = OPEN_NONE;
        s->index++;
    }
}

/* ---- answers in one piece ---- */

static void open_whole(struct strbuf *out, const char *type, bool *first)
{
    strbuf_addf(out, "%s{\"type\":\"%s\"", *first ? "" : ",", type);
    *first = false;
}

static void add_thinking(struct strbuf *out, struct span text, struct span signature, bool *first)
{
    open_whole(out, "thinking", first);
    add_field(out, "thinking", text);
    add_field(out, "signature", signature);
    strbuf_add_char(out, '}');
}

static void add_reasoning(struct strbuf *out, const struct answer_writer *w,
                          const struct fold_choice *c, bool *first)
{
    for (const struct fold_signed *s = c->signatures; s != NULL; s = s->next) {
        struct span carried = anthropic_carry(ANTHROPIC_FOREIGN, s->origin, s->signature, w->arena);

        if (s->text.p != NULL) {
            add_thinking(out, s->text, carried, first);
            continue;
        }
        open_whole(out, "redacted_thinking", first);
        add_field(out, "data", carried);
        strbuf_add_char(out, '}');
    }
    if (c->unsigned_reasoning.len != 0)
        add_thinking(out, strbuf_span(&c->unsigned_reasoning), SPAN("\"" ANTHROPIC_FOREIGN "\""),
                     first);
}

static void add_text(struct strbuf *out, const struct strbuf *text, bool *first)
{
    if (text->len == 0)
        return;
    open_whole(out, "text", first);
    add_field(out, "text", strbuf_span(text));
    strbuf_add_char(out, '}');
}

/* Only an object can stand here. What is none was cut off or is a mistake of the model's, and the
 * client may see it. */
static void add_input(struct strbuf *out, const struct answer_writer *w, struct span raw)
{
    struct span text = span_trim(json_text(raw, w->arena));

    if (json_type_of(text) == JSON_OBJECT && json_valid(text)) {
        strbuf_add_span(out, text);
    } else if (raw_is_blank(raw) || span_is(text, "null")) {
        strbuf_add(out, "{}");
    } else {
        strbuf_add(out, "{\"_raw\":");
        strbuf_add_span(out, raw);
        strbuf_add_char(out, '}');
    }
}

static bool id_is_free_before(const struct fold_choice *c, const struct fold_call *end,
                              struct span id)
{
    for (const struct fold_call *call = c->calls; call != end; call = call->next)
        if (span_eq(call->id, id))
            return false;
    return true;
}

static void add_calls(struct strbuf *out, const struct answer_writer *w,
                      const struct fold_choice *c, bool *first)
{
    unsigned index = 0;

    for (const struct fold_call *call = c->calls; call != NULL; call = call->next, index++) {
        bool own = is_good_id(w, call->id) && id_is_free_before(c, call, call->id);

        if (call->signature.n != 0 && w->reasoning_asked)
            add_thinking(
                out, SPAN("\"\""),
                anthropic_carry(ANTHROPIC_FOREIGN_CALL, call->origin, call->signature, w->arena),
                first);
        open_whole(out, "tool_use", first);
        add_field(out, "id", own ? call->id : make_id(w, index));
        add_field(out, "name", call->name);
        strbuf_add(out, ",\"input\":");
        add_input(out, w, strbuf_span(&call->arguments));
        strbuf_add_char(out, '}');
    }
}

void anthropic_write_answer(struct answer_writer *w, const struct fold *f, struct strbuf *out)
{
    const struct fold_choice *c = f->choices;
    bool first = true;

    add_head(out, w);
    strbuf_add(out, ",\"content\":[");
    if (c != NULL) {
        if (w->reasoning_asked)
            add_reasoning(out, w, c, &first);
        add_text(out, &c->text, &first);
        add_text(out, &c->refusal, &first);
        add_calls(out, w, c, &first);
    }
    strbuf_addf(out, "],\"stop_reason\":\"%s\",\"stop_sequence\":null,",
                c != NULL ? stop_reason(c->stop, c->calls != NULL) : "end_turn");
    add_usage(out, &f->usage);
    strbuf_add(out, "}\n");
}
