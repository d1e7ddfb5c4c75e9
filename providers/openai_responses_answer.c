#include "providers/openai_responses.h"

#include "proxy/base/hash.h"
#include "providers/openai_chat.h"
#include "providers/request_top.h"

#define MAX_TEXT  (64 * 1024 * 1024) /* bytes of one text, and of all items */
#define MAX_CALLS 1024               /* of one answer, whose ids are compared */
#define MAX_ID    66                 /* bytes of a call's raw id that the dialect allows */

/* FOREIGN: an item of the provider's own, in a stream that passed as its bytes. */
enum open_item { NO_ITEM, MESSAGE, REASONING, CALL, FOREIGN };
enum open_part { NO_PART, TEXT, REFUSAL };

/* A stream on its way to the client. One item is open at a time, and of a message one part. */
struct stream {
    uint64_t sequence;
    unsigned items;        /* that have begun */
    struct strbuf output;  /* the finished ones, in order: the last event repeats them all */
    struct name_list *ids; /* of calls */
    unsigned n_ids;
    bool cut; /* the answer ended before it was complete */
    struct span reason;

    enum open_item open;
    struct span id;     /* of the item: raw */
    struct strbuf text; /* of the part, the reasoning or the arguments; a raw string but for its
                           closing quote; len == 0: there was none */
    enum open_part part;
    unsigned parts;            /* that have begun */
    struct strbuf content;     /* the message's finished parts */
    unsigned tool;             /* the call's number in the events */
    struct span call_id, name; /* raw */
    const struct tool_alias *alias;
    struct span state, origin; /* of the call: raw */
};

/* ---- small pieces ---- */

static void add_raw(struct strbuf *out, const char *name, struct span raw)
{
    strbuf_add_char(out, ',');
    json_add_name(out, name);
    strbuf_add_span(out, raw);
}

/* A raw JSON string as it stands; another raw value as the text of a string; nothing as "". */
static struct span as_string(struct span raw, struct arena *a)
{
    if (raw.n == 0)
        return SPAN("\"\"");
    return json_type_of(raw) == JSON_STRING ? raw : chat_quote(raw, a);
}

static void add_piece(struct strbuf *to, struct span raw)
{
    raw_add_joined(to, raw, to->len == 0, "");
}

static void add_finished(struct strbuf *to, struct span raw)
{
    if (json_type_of(raw) != JSON_OBJECT)
        return;
    if (to->len != 0)
        strbuf_add_char(to, ',');
    strbuf_add_span(to, raw);
}

static struct span closed(struct strbuf *text)
{
    if (text->len == 0)
        return SPAN("\"\"");
    strbuf_add_char(text, '"');
    return strbuf_span(text);
}

/* An id of ours: the same in a stream and in one piece, and no other answer's. */
static struct span make_id(const struct answer_writer *w, const char *prefix, unsigned index)
{
    uint8_t hash[HASH_SHA256_BYTES];
    char hex[25];

    hash_sha256(span_of(arena_printf(w->arena, "%u %.*s", index, SPAN_ARG(w->id))), hash);
    hash_hex(hash, 12, hex);
    return span_of(arena_printf(w->arena, "\"%s%s\"", prefix, hex));
}

static bool id_is_free(const struct name_list *ids, struct span id)
{
    for (; ids != NULL; ids = ids->next)
        if (span_eq(ids->name, id))
            return false;
    return true;
}

/* The provider's id where it can be one here, else one of ours. */
static struct span call_id(const struct answer_writer *w, struct name_list **ids, unsigned *n,
                           struct span wanted)
{
    struct name_list *known;
    bool good = json_type_of(wanted) == JSON_STRING && wanted.n > 2 && wanted.n <= MAX_ID &&
                *n < MAX_CALLS && id_is_free(*ids, wanted);

    known = arena_zalloc(w->arena, sizeof(*known));
    known->name = good ? arena_copy(w->arena, wanted) : make_id(w, "call_", *n);
    known->next = *ids;
    *ids = known;
    (*n)++;
    return known->name;
}

static const struct tool_alias *find_alias(const struct answer_writer *w, struct span name)
{
    const struct tool_alias *t = w->tool_aliases;
    struct span text;

    if (t == NULL)
        return NULL;
    text = json_text(name, w->arena);
    while (t != NULL && !span_eq(t->name, text))
        t = t->next;
    return t;
}

/* ---- items ---- */

static void open_object(struct strbuf *out, struct span id, const char *type)
{
    strbuf_add(out, "{\"id\":");
    strbuf_add_span(out, id);
    strbuf_addf(out, ",\"type\":\"%s\"", type);
}

static void add_part(struct strbuf *out, enum open_part part, struct span text)
{
    strbuf_add(out, part == REFUSAL ? "{\"type\":\"refusal\",\"refusal\":"
                                    : "{\"type\":\"output_text\",\"text\":");
    strbuf_add_span(out, text);
    strbuf_add(out, part == REFUSAL ? "}" : ",\"annotations\":[],\"logprobs\":[]}");
}

static void add_message(struct strbuf *out, struct span id, const char *status, struct span content)
{
    open_object(out, id, "message");
    strbuf_addf(out, ",\"status\":\"%s\",\"role\":\"assistant\",\"content\":[", status);
    strbuf_add_span(out, content);
    strbuf_add(out, "]}");
}

/* `state`: a raw string, or empty. */
static void add_reasoning(struct strbuf *out, struct span id, struct span text, struct span state)
{
    open_object(out, id, "reasoning");
    strbuf_add(out, ",\"summary\":[");
    if (text.n > 2) {
        strbuf_add(out, "{\"type\":\"summary_text\",\"text\":");
        strbuf_add_span(out, text);
        strbuf_add_char(out, '}');
    }
    strbuf_add_char(out, ']');
    if (state.n != 0)
        add_raw(out, "encrypted_content", state);
    strbuf_add_char(out, '}');
}

/* A call in the form in which its tool was declared. */
static void add_call(struct strbuf *out, struct span id, const struct tool_alias *alias,
                     struct span call, struct span name, struct span input, const char *status)
{
    bool custom = alias != NULL && alias->custom;

    open_object(out, id, custom ? "custom_tool_call" : "function_call");
    strbuf_addf(out, ",\"status\":\"%s\"", status);
    add_raw(out, "call_id", call);
    add_raw(out, "name", alias != NULL ? alias->own : name);
    if (alias != NULL && alias->space.n != 0)
        add_raw(out, "namespace", alias->space);
    add_raw(out, custom ? "input" : "arguments", input);
    strbuf_add_char(out, '}');
}

/* The free text in the arguments of a custom tool; all of them where the model wrote them in
 * another form, or was cut. */
static struct span input_of(struct span arguments, struct arena *a)
{
    struct span object = json_text(arguments, a);
    struct span input = {0};

    if (json_valid(object))
        input = top_member(object, "input");
    return json_type_of(input) == JSON_STRING ? input : arguments;
}

static struct span seal(const struct answer_writer *w, enum responses_state_kind kind,
                        struct span origin, struct span signature)
{
    struct strbuf out = strbuf_in(w->arena, signature.n + 128);

    responses_add_state(&out, kind, origin, signature, w->arena);
    return strbuf_span(&out);
}

/* ---- the response around them ---- */

static void add_usage(struct strbuf *out, const struct chat_usage *u)
{
    strbuf_add(out, "{\"input_tokens\":");
    strbuf_add_u64(out, u->input);
    strbuf_add(out, ",\"input_tokens_details\":{\"cached_tokens\":");
    strbuf_add_u64(out, u->cached);
    strbuf_add(out, "},\"output_tokens\":");
    strbuf_add_u64(out, u->output);
    strbuf_add(out, ",\"output_tokens_details\":{\"reasoning_tokens\":");
    strbuf_add_u64(out, u->reasoning);
    strbuf_add(out, "},\"total_tokens\":");
    strbuf_add_u64(out, u->input + u->output);
    strbuf_add_char(out, '}');
}

/* Clients expect counts with every answer that ended; without any from the provider they are 0. */
static void add_response(struct strbuf *out, const struct answer_writer *w, const char *status,
                         struct span error, const char *incomplete, struct span output,
                         const struct chat_usage *usage)
{
    strbuf_add(out, "{\"id\":");
    json_add_string(out, w->id);
    strbuf_add(out, ",\"object\":\"response\",\"created_at\":");
    strbuf_add_u64(out, w->created);
    strbuf_addf(out, ",\"status\":\"%s\",\"background\":false", status);
    add_raw(out, "error", error.n != 0 ? error : SPAN("null"));
    if (incomplete != NULL)
        strbuf_addf(out, ",\"incomplete_details\":{\"reason\":\"%s\"}", incomplete);
    else
        strbuf_add(out, ",\"incomplete_details\":null");
    strbuf_add(out, ",\"instructions\":null,\"max_output_tokens\":null,\"model\":");
    json_add_string(out, w->model);
    strbuf_add(out, ",\"output\":[");
    strbuf_add_span(out, output);
    strbuf_add(out, "],\"parallel_tool_calls\":true,\"previous_response_id\":null,"
                    "\"reasoning\":{\"effort\":null,\"summary\":null},\"store\":false,"
                    "\"temperature\":null,\"text\":{\"format\":{\"type\":\"text\"}},"
                    "\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":null,"
                    "\"truncation\":\"disabled\",\"usage\":");
    if (usage != NULL)
        add_usage(out, usage);
    else
        strbuf_add(out, "null");
    strbuf_add(out, ",\"user\":null,\"metadata\":{}}");
}

/* Why the answer is incomplete; NULL where it is not. */
static const char *incomplete_reason(struct span stop)
{
    static const char *const cut[] = {"length", "model_length", "max_tokens"};

    for (size_t i = 0; i < ARRAY_LEN(cut); i++)
        if (json_is_string(stop, cut[i]))
            return "max_output_tokens";
    return json_is_string(stop, "content_filter") ? "content_filter" : NULL;
}

/* ---- streams ---- */

static struct stream *stream_of(struct answer_writer *w)
{
    struct stream *s = w->state;

    if (s == NULL) {
        s = arena_zalloc(w->arena, sizeof(*s));
        s->output = strbuf_in(w->arena, MAX_TEXT);
        s->text = strbuf_in(w->arena, MAX_TEXT);
        s->content = strbuf_in(w->arena, MAX_TEXT);
        w->state = s;
    }
    return s;
}

static void open_event(struct stream *s, const char *type, struct strbuf *out)
{
    strbuf_add(out, "event: ");
    strbuf_add(out, type);
    strbuf_add(out, "\ndata: {\"type\":\"");
    strbuf_add(out, type);
    strbuf_add(out, "\",\"sequence_number\":");
    strbuf_add_u64(out, s->sequence++);
}

static void close_event(struct strbuf *out)
{
    strbuf_add(out, "}\n\n");
}

static void start(struct answer_writer *w, struct stream *s, struct strbuf *out)
{
    static const char *const types[] = {"response.created", "response.in_progress"};

    if (w->started)
        return;
    w->started = true;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        open_event(s, types[i], out);
        strbuf_add(out, ",\"response\":");
        add_response(out, w, "in_progress", SPAN(""), NULL, SPAN(""), NULL);
        close_event(out);
    }
}

/* An event of the open item, as far as its output_index. */
static void open_of_item(struct stream *s, const char *type, struct strbuf *out)
{
    open_event(s, type, out);
    add_raw(out, "item_id", s->id);
    strbuf_add(out, ",\"output_index\":");
    strbuf_add_u64(out, s->items - 1);
}

static void open_of_part(struct stream *s, const char *type, struct strbuf *out)
{
    open_of_item(s, type, out);
    strbuf_add(out, ",\"content_index\":");
    strbuf_add_u64(out, s->parts - 1);
}

static void open_of_summary(struct stream *s, const char *type, struct strbuf *out)
{
    open_of_item(s, type, out);
    strbuf_add(out, ",\"summary_index\":0");
}

/* The item as it stands now, behind `,"item":`. */
static void add_item(struct stream *s, const char *status, struct span text, struct span state,
                     struct strbuf *out)
{
    switch (s->open) {
    case MESSAGE:
        add_message(out, s->id, status, strbuf_span(&s->content));
        break;
    case REASONING:
        add_reasoning(out, s->id, text, state);
        break;
    case CALL:
        add_call(out, s->id, s->alias, s->call_id, s->name, text, status);
        break;
    case NO_ITEM:
    case FOREIGN:
        break;
    }
}

static void begin_item(struct answer_writer *w, struct stream *s, enum open_item kind,
                       const char *prefix, struct strbuf *out)
{
    s->open = kind;
    s->id = make_id(w, prefix, s->items++);
    s->text = strbuf_in(w->arena, MAX_TEXT);
    s->content = strbuf_in(w->arena, MAX_TEXT);
    s->part = NO_PART;
    s->parts = 0;
    open_event(s, "response.output_item.added", out);
    strbuf_addf(out, ",\"output_index\":%u,\"item\":", s->items - 1);
    add_item(s, "in_progress", SPAN("\"\""), (struct span){0}, out);
    close_event(out);
}

/* `item`: the whole of it. */
static void end_item(struct stream *s, struct span item, struct strbuf *out)
{
    open_event(s, "response.output_item.done", out);
    strbuf_addf(out, ",\"output_index\":%u", s->items - 1);
    add_raw(out, "item", item);
    close_event(out);
    add_finished(&s->output, item);
    s->open = NO_ITEM;
}

/* ---- ... messages ---- */

static void close_part(struct stream *s, struct strbuf *out)
{
    struct span text;

    if (s->part == NO_PART)
        return;
    text = closed(&s->text);
    open_of_part(s, s->part == REFUSAL ? "response.refusal.done" : "response.output_text.done",
                 out);
    if (s->part == REFUSAL) {
        add_raw(out, "refusal", text);
    } else {
        add_raw(out, "text", text);
        strbuf_add(out, ",\"logprobs\":[]");
    }
    close_event(out);
    open_of_part(s, "response.content_part.done", out);
    strbuf_add(out, ",\"part\":");
    add_part(out, s->part, text);
    close_event(out);
    if (s->content.len != 0)
        strbuf_add_char(&s->content, ',');
    add_part(&s->content, s->part, text);
    strbuf_clear(&s->text);
    s->part = NO_PART;
}

static void begin_part(struct stream *s, enum open_part part, struct strbuf *out)
{
    close_part(s, out);
    s->part = part;
    s->parts++;
    open_of_part(s, "response.content_part.added", out);
    strbuf_add(out, ",\"part\":");
    add_part(out, part, SPAN("\"\""));
    close_event(out);
}

/* ---- ... reasoning ---- */

static void close_summary(struct stream *s, struct span text, struct strbuf *out)
{
    open_of_summary(s, "response.reasoning_summary_text.done", out);
    add_raw(out, "text", text);
    close_event(out);
    open_of_summary(s, "response.reasoning_summary_part.done", out);
    strbuf_add(out, ",\"part\":{\"type\":\"summary_text\",\"text\":");
    strbuf_add_span(out, text);
    strbuf_add_char(out, '}');
    close_event(out);
}

/* ---- ... calls ---- */

static struct span close_arguments(struct answer_writer *w, struct stream *s, bool cut,
                                   struct strbuf *out)
{
    bool custom = s->alias != NULL && s->alias->custom;
    struct span text = closed(&s->text);

    if (custom) {
        text = text.n > 2 ? input_of(text, w->arena) : text;
        open_of_item(s, "response.custom_tool_call_input.delta", out);
        add_raw(out, "delta", text);
        close_event(out);
        open_of_item(s, "response.custom_tool_call_input.done", out);
        add_raw(out, "input", text);
        close_event(out);
        return text;
    }
    if (text.n <= 2 && !cut) { /* clients parse what they put together */
        text = SPAN("\"{}\"");
        open_of_item(s, "response.function_call_arguments.delta", out);
        add_raw(out, "delta", text);
        close_event(out);
    }
    open_of_item(s, "response.function_call_arguments.done", out);
    add_raw(out, "name", s->alias != NULL ? s->alias->own : s->name);
    add_raw(out, "arguments", text);
    close_event(out);
    return text;
}

static void close_item(struct answer_writer *w, struct stream *s, struct span state,
                       struct strbuf *out);

/* Reasoning that has nothing to show but its state. */
static void write_bare_state(struct answer_writer *w, struct stream *s, struct span state,
                             struct strbuf *out)
{
    begin_item(w, s, REASONING, RESPONSES_OWN_ID, out);
    close_item(w, s, state, out);
}

/* `state`: of reasoning, a raw string; or empty. */
static void close_item(struct answer_writer *w, struct stream *s, struct span state,
                       struct strbuf *out)
{
    struct strbuf item = strbuf_in(w->arena, MAX_TEXT);
    struct span text = SPAN("\"\""), of_call = s->state, origin = s->origin;
    const char *status = s->cut ? "incomplete" : "completed";

    if (s->open == NO_ITEM || s->open == FOREIGN) {
        s->open = NO_ITEM;
        return;
    }
    if (s->open == MESSAGE) {
        close_part(s, out);
    } else if (s->open == CALL) {
        text = close_arguments(w, s, s->cut, out);
    } else if (s->text.len != 0) {
        text = closed(&s->text);
        close_summary(s, text, out);
    }
    add_item(s, status, text, state, &item);
    end_item(s, strbuf_span(&item), out);
    s->state = s->origin = (struct span){0};
    if (of_call.n != 0)
        write_bare_state(w, s, seal(w, STATE_CALL, origin, of_call), out);
}

static void need_item(struct answer_writer *w, struct stream *s, enum open_item kind,
                      struct strbuf *out)
{
    if (s->open == kind)
        return;
    close_item(w, s, (struct span){0}, out);
    begin_item(w, s, kind, kind == MESSAGE ? "msg_holdfast_" : RESPONSES_OWN_ID, out);
}

/* ---- ... events ---- */

static void write_text(struct answer_writer *w, struct stream *s, enum open_part part,
                       struct span raw, struct strbuf *out)
{
    struct span piece = as_string(raw, w->arena);

    if (piece.n <= 2)
        return;
    need_item(w, s, MESSAGE, out);
    if (s->part != part)
        begin_part(s, part, out);
    add_piece(&s->text, piece);
    open_of_part(s, part == REFUSAL ? "response.refusal.delta" : "response.output_text.delta", out);
    add_raw(out, "delta", piece);
    if (part == TEXT)
        strbuf_add(out, ",\"logprobs\":[]");
    close_event(out);
}

static void write_reasoning(struct answer_writer *w, struct stream *s, struct span raw,
                            struct strbuf *out)
{
    struct span piece = as_string(raw, w->arena);

    if (piece.n <= 2)
        return;
    need_item(w, s, REASONING, out);
    if (s->text.len == 0) {
        open_of_summary(s, "response.reasoning_summary_part.added", out);
        strbuf_add(out, ",\"part\":{\"type\":\"summary_text\",\"text\":\"\"}");
        close_event(out);
    }
    add_piece(&s->text, piece);
    open_of_summary(s, "response.reasoning_summary_text.delta", out);
    add_raw(out, "delta", piece);
    close_event(out);
}

static void write_call(struct answer_writer *w, struct stream *s, const struct chat_event *ev,
                       struct strbuf *out)
{
    close_item(w, s, (struct span){0}, out);
    s->tool = ev->tool;
    s->call_id = call_id(w, &s->ids, &s->n_ids, ev->id);
    s->name = arena_copy(w->arena, as_string(ev->name, w->arena));
    s->alias = find_alias(w, s->name);
    begin_item(w, s, CALL, s->alias != NULL && s->alias->custom ? "ctc_holdfast_" : "fc_holdfast_",
               out);
}

static void write_arguments(struct answer_writer *w, struct stream *s, const struct chat_event *ev,
                            struct strbuf *out)
{
    struct span piece = as_string(ev->text, w->arena);

    if (piece.n <= 2)
        return;
    if (s->open != CALL || s->tool != ev->tool) {
        out->failed = true; /* the call is closed: the client would run it as it is */
        return;
    }
    add_piece(&s->text, piece);
    if (s->alias != NULL && s->alias->custom)
        return; /* its text can only be told from the whole */
    open_of_item(s, "response.function_call_arguments.delta", out);
    add_raw(out, "delta", piece);
    close_event(out);
}

static void write_signature(struct answer_writer *w, struct stream *s, const struct chat_event *ev,
                            struct strbuf *out)
{
    if (json_is_string(ev->name, "tool")) {
        if (s->open == CALL && s->tool == ev->tool) {
            s->state = arena_copy(w->arena, ev->text);
            s->origin = arena_copy(w->arena, ev->id);
        } else {
            write_bare_state(w, s, seal(w, STATE_CALL, ev->id, ev->text), out);
        }
    } else if (json_is_string(ev->name, "redacted")) {
        close_item(w, s, (struct span){0}, out);
        write_bare_state(w, s, seal(w, STATE_REDACTED, ev->id, ev->text), out);
    } else {
        need_item(w, s, REASONING, out);
        close_item(w, s, seal(w, STATE_SIGNED, ev->id, ev->text), out);
    }
}

static void write_end(struct answer_writer *w, struct stream *s, struct strbuf *out)
{
    const char *why = incomplete_reason(s->reason);

    close_item(w, s, (struct span){0}, out);
    open_event(s, why != NULL ? "response.incomplete" : "response.completed", out);
    strbuf_add(out, ",\"response\":");
    add_response(out, w, why != NULL ? "incomplete" : "completed", SPAN(""), why,
                 strbuf_span(&s->output), &w->usage);
    close_event(out);
    out->failed |= s->output.failed;
}

void openai_responses_write_event(struct answer_writer *w, const struct chat_event *ev,
                                  struct strbuf *out)
{
    struct stream *s = stream_of(w);

    if (ev->kind >= CHAT_TEXT && ev->kind <= CHAT_STOP && ev->choice != 0)
        return; /* nobody can ask for more than one */
    start(w, s, out);
    switch (ev->kind) {
    case CHAT_START:
        break;
    case CHAT_TEXT:
        write_text(w, s, TEXT, ev->text, out);
        break;
    case CHAT_REFUSAL:
        write_text(w, s, REFUSAL, ev->text, out);
        break;
    case CHAT_REASONING:
        write_reasoning(w, s, ev->text, out);
        break;
    case CHAT_TOOL_START:
        write_call(w, s, ev, out);
        break;
    case CHAT_TOOL_ARGS:
        write_arguments(w, s, ev, out);
        break;
    case CHAT_SIGNATURE:
        write_signature(w, s, ev, out);
        break;
    case CHAT_STOP:
        if (s->reason.n != 0)
            break;
        s->reason = arena_copy(w->arena, ev->text);
        s->cut = incomplete_reason(s->reason) != NULL;
        break;
    case CHAT_VECTOR:
        break;
    case CHAT_USAGE:
        w->usage = ev->usage;
        break;
    case CHAT_END:
        write_end(w, s, out);
        break;
    }
}

/* ---- ... that passed as a provider's bytes ---- */

/* What can be gone on with is an item with all that is repeated of it. */
static enum open_item kind_of(struct span item)
{
    struct span type = top_member(item, "type");

    if (json_type_of(top_member(item, "id")) != JSON_STRING)
        return FOREIGN;
    if (json_is_string(type, "message"))
        return MESSAGE;
    if (json_is_string(type, "reasoning"))
        return REASONING;
    return json_is_string(type, "function_call") &&
                   json_type_of(top_member(item, "call_id")) == JSON_STRING &&
                   json_type_of(top_member(item, "name")) == JSON_STRING
               ? CALL
               : FOREIGN;
}

static void follow_item(struct answer_writer *w, struct stream *s, struct span item)
{
    s->open = kind_of(item);
    s->id = arena_copy(w->arena, top_member(item, "id"));
    s->call_id = arena_copy(w->arena, top_member(item, "call_id"));
    s->name = arena_copy(w->arena, top_member(item, "name"));
    s->alias = NULL;
    s->text = strbuf_in(w->arena, MAX_TEXT);
    s->content = strbuf_in(w->arena, MAX_TEXT);
    s->part = NO_PART;
    s->parts = 0;
}

static void follow_response(struct answer_writer *w, struct span response)
{
    int64_t created;

    w->started = true;
    w->id = arena_copy(w->arena, json_text(top_member(response, "id"), w->arena));
    w->model = arena_copy(w->arena, json_text(top_member(response, "model"), w->arena));
    if (json_to_i64(top_member(response, "created_at"), &created))
        w->created = (uint64_t)created;
}

/* The members of an event that tell where a stream stands; raw. */
struct place {
    struct span type, sequence, output_index, content_index, item, part, delta, response;
};

static bool find_place(struct span data, struct place *p)
{
    struct {
        const char *name;
        struct span *value;
    } const members[] = {
        {"type", &p->type},
        {"sequence_number", &p->sequence},
        {"output_index", &p->output_index},
        {"content_index", &p->content_index},
        {"item", &p->item},
        {"part", &p->part},
        {"delta", &p->delta},
        {"response", &p->response},
    };
    struct json j = json_read(data);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT))
        return false;
    while (json_member(&j, &key)) {
        size_t i = 0;

        while (i < ARRAY_LEN(members) && !span_is(key, members[i].name))
            i++;
        if (i < ARRAY_LEN(members))
            *members[i].value = json_take(&j);
        else
            json_take(&j);
    }
    return json_end(&j);
}

static unsigned index_of(struct span raw)
{
    int64_t v;

    return json_to_i64(raw, &v) && v >= 0 && v < UINT32_MAX ? (unsigned)v : 0;
}

void openai_responses_follow(struct answer_writer *w, const struct sse_event *ev,
                             enum dialect_event kind)
{
    struct stream *s = stream_of(w);
    struct place p = {0};
    int64_t sequence;

    if (kind == EVENT_NOTHING || kind == EVENT_END || !find_place(ev->data, &p))
        return;
    if (json_to_i64(p.sequence, &sequence) && sequence >= 0)
        s->sequence = (uint64_t)sequence + 1;
    if (!w->started && p.response.n != 0)
        follow_response(w, p.response);
    if (json_is_string(p.type, "response.output_item.added")) {
        s->items = index_of(p.output_index) + 1;
        follow_item(w, s, p.item);
    } else if (json_is_string(p.type, "response.output_item.done")) {
        add_finished(&s->output, p.item);
        s->open = NO_ITEM;
    } else if (json_is_string(p.type, "response.content_part.added")) {
        s->part = json_is_string(top_member(p.part, "type"), "refusal") ? REFUSAL : TEXT;
        s->parts = index_of(p.content_index) + 1;
        strbuf_clear(&s->text);
    } else if (json_is_string(p.type, "response.content_part.done")) {
        add_finished(&s->content, p.part);
        s->part = NO_PART;
    } else if (s->open != NO_ITEM && json_type_of(p.delta) == JSON_STRING && p.delta.n > 2) {
        add_piece(&s->text, p.delta);
    }
}

static struct strbuf copy_of(const struct strbuf *text, struct arena *a)
{
    struct strbuf out = strbuf_in(a, MAX_TEXT);

    strbuf_add_span(&out, strbuf_span(text));
    return out;
}

void openai_responses_split(struct answer_writer *w)
{
    struct stream *s = stream_of(w), *own = arena_alloc(w->arena, sizeof(*own));

    *own = *s;
    own->output = copy_of(&s->output, w->arena);
    own->text = copy_of(&s->text, w->arena);
    own->content = copy_of(&s->content, w->arena);
    w->state = own;
}

/* ---- answers in one piece ---- */

/* Only the items are wanted: they are the same as a stream's. */
static void replay(struct answer_writer *w, struct strbuf *events, struct chat_event ev)
{
    openai_responses_write_event(w, &ev, events);
    strbuf_clear(events);
}

/* The events of the answer once more, in an order in which a stream may have them. */
static void replay_choice(struct answer_writer *w, const struct fold_choice *c)
{
    struct strbuf events = strbuf_heap(MAX_TEXT);

    for (const struct fold_signed *s = c->signatures; s != NULL; s = s->next) {
        replay(w, &events, (struct chat_event){.kind = CHAT_REASONING, .text = s->text});
        replay(w, &events,
               (struct chat_event){
                   .kind = CHAT_SIGNATURE,
                   .text = s->signature,
                   .id = s->origin,
                   .name = s->text.p != NULL ? SPAN("\"\"") : SPAN("\"redacted\""),
               });
    }
    replay(
        w, &events,
        (struct chat_event){.kind = CHAT_REASONING, .text = strbuf_span(&c->unsigned_reasoning)});
    replay(w, &events, (struct chat_event){.kind = CHAT_TEXT, .text = strbuf_span(&c->text)});
    replay(w, &events, (struct chat_event){.kind = CHAT_REFUSAL, .text = strbuf_span(&c->refusal)});
    for (const struct fold_call *call = c->calls; call != NULL; call = call->next) {
        struct chat_event ev = {
            .kind = CHAT_TOOL_START, .tool = call->tool, .id = call->id, .name = call->name};

        replay(w, &events, ev);
        ev.kind = CHAT_TOOL_ARGS;
        ev.text = strbuf_span(&call->arguments);
        replay(w, &events, ev);
        ev = (struct chat_event){.kind = CHAT_SIGNATURE,
                                 .tool = call->tool,
                                 .text = call->signature,
                                 .id = call->origin,
                                 .name = SPAN("\"tool\"")};
        if (ev.text.n != 0)
            replay(w, &events, ev);
    }
    replay(w, &events, (struct chat_event){.kind = CHAT_STOP, .text = c->stop});
    close_item(w, stream_of(w), (struct span){0}, &events);
    strbuf_release(&events);
}

void openai_responses_write_answer(struct answer_writer *w, const struct fold *f,
                                   struct strbuf *out)
{
    struct stream *s = stream_of(w);
    const char *why;

    w->started = true; /* no events of its beginning */
    for (const struct fold_choice *c = f->choices; c != NULL; c = c->next)
        if (c->index == 0)
            replay_choice(w, c);
    why = incomplete_reason(s->reason);
    add_response(out, w, why != NULL ? "incomplete" : "completed", SPAN(""), why,
                 strbuf_span(&s->output), &f->usage);
    strbuf_add_char(out, '\n');
    out->failed |= s->output.failed;
}

/* ---- errors ---- */

static void add_code(struct strbuf *out, const struct chat_error *error, const char *otherwise)
{
    const char *code = error->code[0] != '\0' ? error->code : otherwise;

    if (code != NULL)
        json_add_string(out, span_of(code));
    else
        strbuf_add(out, "null");
}

/* Some clients look for `error`, others for its members beside `type`. */
static void add_error(struct strbuf *out, const struct chat_error *error, uint64_t sequence)
{
    struct strbuf plain = strbuf_heap(16384);

    openai_chat_write_error(error, &plain);
    strbuf_add(out, "event: error\ndata: {\"type\":\"error\",\"sequence_number\":");
    strbuf_add_u64(out, sequence);
    strbuf_add(out, ",\"code\":");
    add_code(out, error, NULL);
    strbuf_add(out, ",\"message\":");
    json_add_string(out, span_of(error->message));
    strbuf_add(out, ",\"param\":null,");
    strbuf_add_n(out, plain.buf + 1, plain.len - 2); /* without its brace and line end */
    strbuf_add(out, "\n\n");
    strbuf_release(&plain);
}

/* Nothing came before it, or nobody has counted. */
void openai_responses_write_stream_error(const struct chat_error *error, struct strbuf *out)
{
    add_error(out, error, 0);
}

/* The response has failed, with what was finished of it. */
void openai_responses_write_break(struct answer_writer *w, const struct chat_error *error,
                                  struct strbuf *out)
{
    struct stream *s = stream_of(w);
    struct strbuf why = strbuf_in(w->arena, 16384);

    add_error(out, error, s->sequence++);
    strbuf_add(&why, "{\"code\":");
    add_code(&why, error, "server_error");
    strbuf_add(&why, ",\"message\":");
    json_add_string(&why, span_of(error->message));
    strbuf_add_char(&why, '}');
    open_event(s, "response.failed", out);
    strbuf_add(out, ",\"response\":");
    add_response(out, w, "failed", strbuf_span(&why), NULL, strbuf_span(&s->output),
                 w->usage.seen ? &w->usage : NULL);
    close_event(out);
}
