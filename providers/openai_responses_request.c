#include "providers/openai_responses.h"

#include "providers/openai_chat.h"

#define MAX_BODY   ((size_t)1 << 30) /* far more than a client's request may have */
#define MIN_TOKENS 16                /* the least that max_output_tokens may be */

struct writer {
    const struct conversation *c;
    struct arena *arena;
    struct strbuf *out;
    struct drops *drops;
    struct err *e;
    struct span model;
    unsigned items; /* written so far */
};

/* ---- small pieces ---- */

/* `,"NAME":RAW`, and nothing where there is no value. */
static void add_field(struct writer *w, const char *name, struct span raw)
{
    if (raw.n == 0)
        return;
    strbuf_addf(w->out, ",\"%s\":", name);
    strbuf_add_span(w->out, raw);
}

static void drop_of(struct writer *w, struct span parent, const char *name)
{
    drop_named(w->drops, arena_printf(w->arena, "%.*s.%s", SPAN_ARG(parent), name));
}

static int refuse(struct writer *w, struct span path, const char *what)
{
    return err_set(w->e, ERR_VALUE, "%.*s: %s", SPAN_ARG(path), what);
}

static void open_item(struct writer *w, const char *type)
{
    strbuf_addf(w->out, w->items++ == 0 ? "{\"type\":\"%s\"" : ",{\"type\":\"%s\"", type);
}

/* ---- parts ---- */

static void add_data_url(struct writer *w, const struct part *p)
{
    strbuf_add(w->out, "\"data:");
    strbuf_add_span(w->out, p->mime);
    strbuf_add(w->out, ";base64,");
    strbuf_add_span(w->out, p->data);
    strbuf_add_char(w->out, '"');
}

static void add_image(struct writer *w, const struct part *p)
{
    strbuf_add(w->out, "{\"type\":\"input_image\"");
    add_field(w, "detail", p->detail.n != 0 ? p->detail : SPAN("\"auto\""));
    if (p->url.n != 0) {
        add_field(w, "image_url", p->url);
    } else if (p->data.n != 0) {
        strbuf_add(w->out, ",\"image_url\":");
        add_data_url(w, p);
    } else {
        add_field(w, "file_id", p->file_id);
    }
    strbuf_add_char(w->out, '}');
}

static void add_document(struct writer *w, const struct part *p)
{
    strbuf_add(w->out, "{\"type\":\"input_file\"");
    if (p->data.n != 0) {
        strbuf_add(w->out, ",\"file_data\":");
        add_data_url(w, p);
    } else if (p->url.n != 0) {
        add_field(w, "file_url", p->url);
    } else {
        add_field(w, "file_id", p->file_id);
    }
    if (p->data.n != 0 || p->url.n == 0)
        add_field(w, "filename", p->name.n == 0 && p->data.n != 0 ? SPAN("\"document\"") : p->name);
    else if (p->name.n != 0) /* with a URL it is refused */
        drop_field(w->drops, part_field(p, "filename", w->arena));
    strbuf_add_char(w->out, '}');
}

static void add_text(struct writer *w, const char *type, const char *name, struct span raw)
{
    strbuf_addf(w->out, "{\"type\":\"%s\"", type);
    add_field(w, name, raw);
    strbuf_add_char(w->out, '}');
}

/* `said`: by the assistant. */
static int add_part(struct writer *w, const struct part *p, bool said)
{
    drop_cache_hint(w->drops, p, w->arena);
    switch (p->kind) {
    case PART_TEXT:
        add_text(w, said ? "output_text" : "input_text", "text", p->text);
        return 0;
    case PART_REFUSAL:
        add_text(w, said ? "refusal" : "input_text", said ? "refusal" : "text", p->text);
        return 0;
    case PART_IMAGE:
        if (said)
            break;
        add_image(w, p);
        return 0;
    case PART_DOCUMENT:
        if (said)
            break;
        add_document(w, p);
        return 0;
    case PART_AUDIO:
    case PART_VIDEO:
        return refuse(w, p->path, "audio and video; this provider takes text, images and files");
    default:
        break;
    }
    return refuse(w, p->path, "this provider takes no such part in a message of this role");
}

static bool is_content(const struct part *p)
{
    return p->kind != PART_TOOL_CALL && p->kind != PART_TOOL_RESULT && p->kind != PART_REASONING;
}

/* The parts up to `end`, a list with brackets. */
static int add_parts(struct writer *w, const struct part *p, const struct part *end, bool said)
{
    bool first = true;

    strbuf_add_char(w->out, '[');
    for (; p != end; p = p->next) {
        if (!is_content(p))
            continue;
        if (!first)
            strbuf_add_char(w->out, ',');
        first = false;
        if (add_part(w, p, said) < 0)
            return -1;
    }
    strbuf_add_char(w->out, ']');
    return 0;
}

/* ---- items ---- */

static void add_call(struct writer *w, const struct part *p)
{
    open_item(w, "function_call");
    add_field(w, "call_id", p->id);
    add_field(w, "name", p->name);
    add_field(w, "arguments",
              p->arguments.p != NULL ? chat_quote(p->arguments, w->arena) : p->text);
    strbuf_add_char(w->out, '}');
    if (p->signature.n != 0) /* nobody who speaks this dialect minted it */
        drop_of(w, p->path, "signature");
    drop_cache_hint(w->drops, p, w->arena);
}

/* Its own state goes back; without what it led to it would be refused. */
static void add_reasoning(struct writer *w, const struct part *p)
{
    bool ours = p->signature.n != 0 && span_is(p->origin, "openai_responses");

    if (!ours || p->next == NULL) {
        drop_field(w->drops, p->path);
        return;
    }
    open_item(w, "reasoning");
    strbuf_add(w->out, ",\"summary\":[");
    if (p->text.n > 2)
        add_text(w, "summary_text", "text", p->text);
    strbuf_add_char(w->out, ']');
    add_field(w, "encrypted_content", p->signature);
    strbuf_add_char(w->out, '}');
}

/* Texts that follow each other are one message; calls and reasoning stand between them, in order.
 */
static int add_assistant(struct writer *w, const struct message *m)
{
    if (m->name.n != 0)
        drop_of(w, m->path, "name");
    for (const struct part *p = m->parts, *end; p != NULL; p = end) {
        end = p->next;
        if (p->kind == PART_TOOL_CALL) {
            add_call(w, p);
        } else if (p->kind == PART_REASONING) {
            add_reasoning(w, p);
        } else if (p->kind == PART_TOOL_RESULT) {
            return refuse(w, p->path,
                          "the result of a call, expected behind the assistant's message");
        } else {
            while (end != NULL && is_content(end))
                end = end->next;
            open_item(w, "message");
            strbuf_add(w->out, ",\"role\":\"assistant\",\"content\":");
            if (add_parts(w, p, end, true) < 0)
                return -1;
            strbuf_add_char(w->out, '}');
        }
    }
    return 0;
}

/* A failure can only be said in words. */
static int add_result(struct writer *w, const struct part *p)
{
    const struct part *only = p->inner;

    open_item(w, "function_call_output");
    add_field(w, "call_id", p->id);
    strbuf_add(w->out, ",\"output\":");
    if (only == NULL) {
        strbuf_add(w->out, p->is_error ? "\"Error\"" : "\"\"");
    } else if (only->next == NULL && only->kind == PART_TEXT) {
        struct strbuf text = strbuf_in(w->arena, only->text.n + 16);

        raw_add_joined(&text, p->is_error ? SPAN("\"Error: \"") : SPAN("\"\""), true, "");
        raw_add_joined(&text, only->text, false, "");
        strbuf_add_char(&text, '"');
        strbuf_add_span(w->out, strbuf_span(&text));
        drop_cache_hint(w->drops, only, w->arena);
    } else {
        struct part failed = {
            .kind = PART_TEXT, .path = p->path, .text = SPAN("\"Error\""), .next = p->inner};

        if (add_parts(w, p->is_error ? &failed : p->inner, NULL, false) < 0)
            return -1;
    }
    drop_cache_hint(w->drops, p, w->arena);
    strbuf_add_char(w->out, '}');
    return 0;
}

static int add_other(struct writer *w, const struct message *m)
{
    static const char *const names[] = {
        [ROLE_SYSTEM] = "system",
        [ROLE_DEVELOPER] = "developer",
        [ROLE_USER] = "user",
        [ROLE_TOOL] = "user",
    };
    bool content = m->parts == NULL;

    if (m->name.n != 0)
        drop_of(w, m->path, "name");
    for (const struct part *p = m->parts; p != NULL; p = p->next) {
        content |= is_content(p);
        if (p->kind == PART_TOOL_RESULT && add_result(w, p) < 0)
            return -1;
        if (p->kind == PART_TOOL_CALL || p->kind == PART_REASONING)
            return refuse(w, p->path, "only an assistant's message may hold this");
    }
    if (!content)
        return 0;
    open_item(w, "message");
    strbuf_addf(w->out, ",\"role\":\"%s\",\"content\":", names[m->role]);
    if (add_parts(w, m->parts, NULL, false) < 0)
        return -1;
    strbuf_add_char(w->out, '}');
    return 0;
}

static int add_input(struct writer *w)
{
    strbuf_add(w->out, ",\"input\":[");
    for (const struct message *m = w->c->messages; m != NULL; m = m->next)
        if ((m->role == ROLE_ASSISTANT ? add_assistant(w, m) : add_other(w, m)) < 0)
            return -1;
    strbuf_add_char(w->out, ']');
    return 0;
}

/* ---- tools ---- */

static void add_named(struct writer *w, struct span name)
{
    strbuf_add(w->out, "{\"type\":\"function\"");
    add_field(w, "name", name);
    strbuf_add_char(w->out, '}');
}

static void add_choice(struct writer *w)
{
    static const char *const words[] = {
        [CHOICE_AUTO] = "\"auto\"", [CHOICE_NONE] = "\"none\"", [CHOICE_REQUIRED] = "\"required\""};
    const struct conversation *c = w->c;

    if (c->choice == CHOICE_UNSET)
        return;
    strbuf_add(w->out, ",\"tool_choice\":");
    if (c->choice == CHOICE_NAMED) {
        add_named(w, c->choice_name);
    } else if (c->choice == CHOICE_ALLOWED) {
        strbuf_addf(w->out, "{\"type\":\"allowed_tools\",\"mode\":\"%s\",\"tools\":[",
                    c->choice_allowed_required ? "required" : "auto");
        for (const struct name_list *n = c->choice_allowed; n != NULL; n = n->next) {
            if (n != c->choice_allowed)
                strbuf_add_char(w->out, ',');
            add_named(w, n->name);
        }
        strbuf_add(w->out, "]}");
    } else {
        strbuf_add(w->out, words[c->choice]);
    }
}

/* `strict` is said either way: here it is true where nothing is said. */
static void add_tool(struct writer *w, const struct tool *t)
{
    strbuf_add(w->out, "{\"type\":\"function\"");
    add_field(w, "name", t->name);
    add_field(w, "description", t->description);
    add_field(w, "parameters",
              t->schema.n != 0 ? t->schema : SPAN("{\"type\":\"object\",\"properties\":{}}"));
    add_field(w, "strict", t->strict ? SPAN("true") : SPAN("false"));
    strbuf_add_char(w->out, '}');
    if (t->cache.n != 0)
        drop_of(w, t->path, "cache_control");
}

/* A choice without tools is refused. */
static void add_tools(struct writer *w)
{
    const struct conversation *c = w->c;

    if (c->tools == NULL) {
        if (c->choice != CHOICE_UNSET)
            drop_named(w->drops, "tool_choice");
        if (c->one_tool_at_a_time)
            drop_named(w->drops, "parallel_tool_calls");
        return;
    }
    strbuf_add(w->out, ",\"tools\":[");
    for (const struct tool *t = c->tools; t != NULL; t = t->next) {
        if (t != c->tools)
            strbuf_add_char(w->out, ',');
        add_tool(w, t);
    }
    strbuf_add_char(w->out, ']');
    add_choice(w);
    if (c->one_tool_at_a_time)
        strbuf_add(w->out, ",\"parallel_tool_calls\":false");
}

/* ---- the rest ---- */

static void add_form(struct writer *w)
{
    const struct conversation *c = w->c;

    if (c->format == FORMAT_UNSET && c->verbosity.n == 0)
        return;
    strbuf_add(w->out, ",\"text\":{");
    if (c->format == FORMAT_SCHEMA) {
        strbuf_add(w->out, "\"format\":{\"type\":\"json_schema\"");
        add_field(w, "name", c->schema_name.n != 0 ? c->schema_name : SPAN("\"response\""));
        add_field(w, "description", c->schema_description);
        add_field(w, "schema", c->schema);
        add_field(w, "strict", c->schema_strict ? SPAN("true") : SPAN("false"));
        strbuf_add_char(w->out, '}');
    } else {
        strbuf_add(w->out, c->format == FORMAT_JSON ? "\"format\":{\"type\":\"json_object\"}"
                                                    : "\"format\":{\"type\":\"text\"}");
    }
    add_field(w, "verbosity", c->verbosity);
    strbuf_add_char(w->out, '}');
}

/* What this dialect has no word for, and what its models that reason refuse. */
static void drop_options(struct writer *w, bool reasons)
{
    const struct conversation *c = w->c;
    const struct {
        const char *name;
        struct span raw;
        bool dropped;
    } fields[] = {
        {"temperature", c->temperature, reasons},
        {"top_p", c->top_p, reasons},
        {"presence_penalty", c->presence_penalty, true},
        {"frequency_penalty", c->frequency_penalty, true},
        {"stop", c->stop, true},
        {"seed", c->seed, true},
        {"top_k", c->top_k, true},
        {"logprobs", c->logprobs ? SPAN("true") : (struct span){0}, true},
        {"top_logprobs", c->top_logprobs, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].raw.n == 0)
            continue;
        else if (fields[i].dropped)
            drop_named(w->drops, fields[i].name);
        else
            add_field(w, fields[i].name, fields[i].raw);
}

static void add_options(struct writer *w)
{
    static const char *const efforts[] = {
        [EFFORT_NONE] = "none",     [EFFORT_MINIMAL] = "minimal", [EFFORT_LOW] = "low",
        [EFFORT_MEDIUM] = "medium", [EFFORT_HIGH] = "high",       [EFFORT_XHIGH] = "xhigh"};
    const struct conversation *c = w->c;
    bool reasons = openai_chat_always_reasons(w->model);

    if (c->max_tokens != 0) {
        strbuf_add(w->out, ",\"max_output_tokens\":");
        strbuf_add_u64(w->out, c->max_tokens < MIN_TOKENS ? MIN_TOKENS : c->max_tokens);
    }
    if (c->max_tokens != 0 && c->max_tokens < MIN_TOKENS)
        drop_field(w->drops, c->max_tokens_path);
    drop_options(w, reasons);
    if (c->effort != EFFORT_UNSET)
        strbuf_addf(w->out, ",\"reasoning\":{\"effort\":\"%s\"}", efforts[c->effort]);
    /* Nothing is kept there, so the state of the reasoning has to come to the client; models that
     * do not reason refuse to be asked for it. */
    strbuf_add(w->out, ",\"store\":false");
    if (reasons)
        strbuf_add(w->out, ",\"include\":[\"reasoning.encrypted_content\"]");
    add_form(w);
    add_field(w, "user", c->user);
    add_field(w, "service_tier", c->service_tier);
}

int openai_responses_write_conversation(const struct conversation *c,
                                        const struct dialect_target *target, struct arena *a,
                                        struct dialect_request *out, struct drops *drops,
                                        struct err *e)
{
    struct strbuf body = strbuf_in(a, MAX_BODY);
    struct writer w = {
        .c = c,
        .arena = a,
        .out = &body,
        .drops = drops,
        .e = e,
        .model = target->model.p != NULL ? target->model : c->model,
    };

    if (c->n > 1)
        return refuse(&w, SPAN("n"), "expected 1, as this provider gives one answer at a time");
    strbuf_expect(&body, c->bytes);
    strbuf_add(&body, "{\"model\":");
    json_add_string(&body, w.model);
    if (add_input(&w) < 0)
        return -1;
    if (w.items == 0)
        return refuse(&w, SPAN("messages"), "nothing of them is left that this provider takes");
    add_tools(&w);
    if (c->stream)
        strbuf_add(&body, ",\"stream\":true");
    add_options(&w);
    strbuf_add_char(&body, '}');
    if (body.failed)
        return err_set(e, ERR_TOO_BIG, "the request is larger than this provider can take");
    for (const struct other_field *o = c->others; o != NULL; o = o->next)
        drop_field(drops, o->path);
    openai_chat_address(target, c->model, "/responses", a, out);
    out->body[0] = strbuf_span(&body);
    out->body_bytes = body.len;
    return 0;
}
