#include "providers/openai_chat.h"

#include "providers/foreign.h"

#define MAX_BODY ((size_t)1 << 30) /* far more than a client's request may have */
#define MAX_USER 64                /* characters of a user's id that OpenAI takes */

struct writer {
    const struct conversation *c;
    struct arena *arena;
    struct strbuf *out;
    struct drops *drops;
    struct err *e;
    struct span model;
    unsigned messages; /* written so far */
};

/* ---- small pieces ---- */

/* `,"NAME":RAW`, and nothing where there is no value. */
static void add_field(struct writer *w, const char *name, struct span raw)
{
    if (raw.n == 0)
        return;
    strbuf_add_char(w->out, ',');
    json_add_name(w->out, name);
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

static void open_message(struct writer *w, const char *role, struct span name)
{
    strbuf_add(w->out, w->messages++ == 0 ? "{\"role\":\"" : ",{\"role\":\"");
    strbuf_add(w->out, role);
    strbuf_add_char(w->out, '"');
    add_field(w, "name", name);
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

static int add_image(struct writer *w, const struct part *p)
{
    if (p->url.n == 0 && p->data.n == 0)
        return refuse(w, p->path, "an uploaded image; this provider takes a URL or the data");
    strbuf_add(w->out, "{\"type\":\"image_url\",\"image_url\":{\"url\":");
    if (p->url.n != 0)
        strbuf_add_span(w->out, p->url);
    else
        add_data_url(w, p);
    add_field(w, "detail", p->detail);
    strbuf_add(w->out, "}}");
    return 0;
}

static int add_document(struct writer *w, const struct part *p)
{
    if (p->data.n == 0 && p->file_id.n == 0)
        return refuse(w, p->path, "a document by its URL; this provider takes the data");
    if (p->data.n == 0 && p->origin.n != 0)
        return refuse(w, p->path, "a file that lives at another provider; expected its data");
    strbuf_add(w->out, "{\"type\":\"file\",\"file\":{");
    if (p->data.n != 0) {
        strbuf_add(w->out, "\"file_data\":");
        add_data_url(w, p);
        if (p->file_id.n != 0)
            drop_of(w, p->path, "file_id");
    } else {
        strbuf_add(w->out, "\"file_id\":");
        strbuf_add_span(w->out, p->file_id);
    }
    add_field(w, "filename", p->name);
    strbuf_add(w->out, "}}");
    return 0;
}

static int add_audio(struct writer *w, const struct part *p)
{
    static const char *const formats[][2] = {
        {"audio/wav", "wav"}, {"audio/x-wav", "wav"}, {"audio/mp3", "mp3"}, {"audio/mpeg", "mp3"}};

    for (size_t i = 0; i < ARRAY_LEN(formats) && p->data.n != 0; i++)
        if (span_is(p->mime, formats[i][0])) {
            strbuf_add(w->out, "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"");
            strbuf_add_span(w->out, p->data);
            strbuf_addf(w->out, "\",\"format\":\"%s\"}}", formats[i][1]);
            return 0;
        }
    return refuse(w, p->path, "audio of another kind; this provider takes wav and mp3");
}

static void add_text(struct writer *w, const char *type, const char *name, struct span raw)
{
    strbuf_add(w->out, "{\"type\":\"");
    strbuf_add(w->out, type);
    strbuf_add_char(w->out, '"');
    add_field(w, name, raw);
    strbuf_add_char(w->out, '}');
}

static int add_part(struct writer *w, const struct part *p, enum role role)
{
    bool user = role == ROLE_USER;

    drop_cache_hint(w->drops, p, w->arena);
    switch (p->kind) {
    case PART_TEXT:
        add_text(w, "text", "text", p->text);
        return 0;
    case PART_REFUSAL:
        if (role != ROLE_ASSISTANT)
            break;
        add_text(w, "refusal", "refusal", p->text);
        return 0;
    case PART_IMAGE:
        if (!user && role != ROLE_TOOL)
            break;
        return add_image(w, p);
    case PART_DOCUMENT:
        if (!user)
            break;
        return add_document(w, p);
    case PART_AUDIO:
        if (!user)
            break;
        return add_audio(w, p);
    default:
        break;
    }
    return refuse(w, p->path, "this provider takes no such part in a message of this role");
}

/* Is it said in `content`? The rest has fields, or messages, of its own. */
static bool is_content(const struct part *p)
{
    return p->kind != PART_TOOL_CALL && p->kind != PART_TOOL_RESULT && p->kind != PART_REASONING;
}

/* `,"content":` of the parts: one text is a plain string. */
static int add_content(struct writer *w, const struct part *parts, enum role role)
{
    const struct part *only = NULL;
    unsigned n = 0;

    for (const struct part *p = parts; p != NULL; p = p->next)
        if (is_content(p)) {
            only = p;
            n++;
        }
    strbuf_add(w->out, ",\"content\":");
    if (n == 1 && only->kind == PART_TEXT) {
        drop_cache_hint(w->drops, only, w->arena);
        strbuf_add_span(w->out, only->text);
        return 0;
    }
    strbuf_add_char(w->out, '[');
    n = 0;
    for (const struct part *p = parts; p != NULL; p = p->next) {
        if (!is_content(p))
            continue;
        if (n++ > 0)
            strbuf_add_char(w->out, ',');
        if (add_part(w, p, role) < 0)
            return -1;
    }
    strbuf_add_char(w->out, ']');
    return 0;
}

/* ---- messages ---- */

static void add_call(struct writer *w, const struct part *p)
{
    strbuf_add(w->out, "{\"id\":");
    strbuf_add_span(w->out, p->id);
    strbuf_add(w->out, ",\"type\":\"function\",\"function\":{\"name\":");
    strbuf_add_span(w->out, p->name);
    add_field(w, "arguments",
              p->arguments.p != NULL ? chat_quote(p->arguments, w->arena) : p->text);
    strbuf_add(w->out, "}}");
    if (p->signature.n != 0) /* nobody who speaks this dialect minted it */
        drop_of(w, p->path, "signature");
    drop_cache_hint(w->drops, p, w->arena);
}

static int add_assistant(struct writer *w, const struct message *m)
{
    const struct part *only = NULL;
    unsigned n = 0, calls = 0;

    for (const struct part *p = m->parts; p != NULL; p = p->next) {
        if (p->kind == PART_REASONING)
            drop_field(w->drops, p->path);
        calls += p->kind == PART_TOOL_CALL;
        if (is_content(p)) {
            only = p;
            n++;
        }
    }
    if (n == 0 && calls == 0)
        return 0; /* nothing of it is left */
    open_message(w, "assistant", m->name);
    if (n == 0) {
        strbuf_add(w->out, ",\"content\":null");
    } else if (n == 1 && only->kind == PART_REFUSAL) {
        strbuf_add(w->out, ",\"content\":null");
        add_field(w, "refusal", only->text);
    } else if (add_content(w, m->parts, ROLE_ASSISTANT) < 0) {
        return -1;
    }
    if (calls != 0) {
        unsigned i = 0;

        strbuf_add(w->out, ",\"tool_calls\":[");
        for (const struct part *p = m->parts; p != NULL; p = p->next) {
            if (p->kind != PART_TOOL_CALL)
                continue;
            if (i++ > 0)
                strbuf_add_char(w->out, ',');
            add_call(w, p);
        }
        strbuf_add_char(w->out, ']');
    }
    strbuf_add_char(w->out, '}');
    return 0;
}

/* A failure can only be said in words. */
static const struct part *with_error(struct writer *w, const struct part *result)
{
    struct part *prefix = arena_zalloc(w->arena, sizeof(*prefix));
    struct part *text = result->inner;

    prefix->kind = PART_TEXT;
    prefix->path = result->path;
    prefix->text = SPAN("\"Error\"");
    prefix->next = text;
    if (text != NULL && text->kind == PART_TEXT) {
        struct strbuf joined = strbuf_in(w->arena, text->text.n + 16);

        raw_add_joined(&joined, SPAN("\"Error: \""), true, "");
        raw_add_joined(&joined, text->text, false, "");
        strbuf_add_char(&joined, '"');
        prefix->text = strbuf_span(&joined);
        prefix->cache = text->cache;
        prefix->cache_path = text->cache_path;
        prefix->next = text->next;
    }
    return prefix;
}

/* A tool's message holds text and images only. What else its result holds is said by the user,
 * behind the results: it goes to *rest, and a note stands in its place. */
static const struct part *without_files(struct writer *w, const struct part *inner,
                                        struct part ***rest)
{
    struct part *first = NULL, **last = &first;

    for (const struct part *p = inner; p != NULL; p = p->next) {
        struct part *copy = arena_alloc(w->arena, sizeof(*copy)), *stays = copy;

        *copy = *p;
        if (p->kind != PART_TEXT && p->kind != PART_IMAGE && p->kind != PART_REFUSAL) {
            copy->next = NULL;
            **rest = copy;
            *rest = &copy->next;
            stays = arena_zalloc(w->arena, sizeof(*stays));
            stays->kind = PART_TEXT;
            stays->text = SPAN("\"(a file of this result follows the results)\"");
        }
        stays->next = NULL;
        *last = stays;
        last = &stays->next;
    }
    return first;
}

static int add_result(struct writer *w, const struct part *p, struct span name, struct part ***rest)
{
    const struct part *inner = without_files(w, p->is_error ? with_error(w, p) : p->inner, rest);

    open_message(w, "tool", name);
    add_field(w, "tool_call_id", p->id);
    drop_cache_hint(w->drops, p, w->arena);
    if (inner == NULL)
        strbuf_add(w->out, ",\"content\":\"\"");
    else if (add_content(w, inner, ROLE_TOOL) < 0)
        return -1;
    strbuf_add_char(w->out, '}');
    return 0;
}

/* Results are messages of their own, and stand before what else was said with them. */
static int add_other(struct writer *w, const struct message *m)
{
    static const char *const names[] = {
        [ROLE_SYSTEM] = "system",
        [ROLE_DEVELOPER] = "developer",
        [ROLE_USER] = "user",
        [ROLE_TOOL] = "user",
    };
    bool content = m->parts == NULL;
    struct part *files = NULL, **last = &files;

    for (const struct part *p = m->parts; p != NULL; p = p->next) {
        content |= is_content(p);
        if (p->kind == PART_TOOL_RESULT &&
            add_result(w, p, m->role == ROLE_TOOL ? m->name : (struct span){0}, &last) < 0)
            return -1;
        if (p->kind == PART_TOOL_CALL || p->kind == PART_REASONING)
            return refuse(w, p->path, "only an assistant's message may hold this");
    }
    if (!content && files == NULL)
        return 0;
    *last = m->parts;
    open_message(w, names[m->role], m->name);
    if (add_content(w, files, m->role == ROLE_TOOL ? ROLE_USER : m->role) < 0)
        return -1;
    strbuf_add_char(w->out, '}');
    return 0;
}

static int add_messages(struct writer *w)
{
    strbuf_add(w->out, ",\"messages\":[");
    for (const struct message *m = w->c->messages; m != NULL; m = m->next)
        if ((m->role == ROLE_ASSISTANT ? add_assistant(w, m) : add_other(w, m)) < 0)
            return -1;
    strbuf_add_char(w->out, ']');
    return 0;
}

/* ---- tools ---- */

static void add_named(struct writer *w, struct span name)
{
    strbuf_add(w->out, "{\"type\":\"function\",\"function\":{\"name\":");
    strbuf_add_span(w->out, name);
    strbuf_add(w->out, "}}");
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
        strbuf_addf(w->out,
                    "{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"%s\",\"tools\":[",
                    c->choice_allowed_required ? "required" : "auto");
        for (const struct name_list *n = c->choice_allowed; n != NULL; n = n->next) {
            if (n != c->choice_allowed)
                strbuf_add_char(w->out, ',');
            add_named(w, n->name);
        }
        strbuf_add(w->out, "]}}");
    } else {
        strbuf_add(w->out, words[c->choice]);
    }
}

static void add_tool(struct writer *w, const struct tool *t)
{
    strbuf_add(w->out, "{\"type\":\"function\",\"function\":{\"name\":");
    strbuf_add_span(w->out, t->name);
    add_field(w, "description", t->description);
    add_field(w, "parameters", t->schema);
    if (t->strict_set)
        add_field(w, "strict", t->strict ? SPAN("true") : SPAN("false"));
    strbuf_add(w->out, "}}");
    if (t->cache.n != 0)
        drop_of(w, t->path, "cache_control");
}

/* A choice without tools is refused by OpenAI. */
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

static void add_format(struct writer *w)
{
    const struct conversation *c = w->c;

    if (c->format == FORMAT_TEXT) {
        strbuf_add(w->out, ",\"response_format\":{\"type\":\"text\"}");
    } else if (c->format == FORMAT_JSON) {
        strbuf_add(w->out, ",\"response_format\":{\"type\":\"json_object\"}");
    } else if (c->format == FORMAT_SCHEMA) {
        strbuf_add(w->out,
                   ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":");
        strbuf_add_span(w->out, c->schema_name.n != 0 ? c->schema_name : SPAN("\"response\""));
        add_field(w, "description", c->schema_description);
        add_field(w, "schema", c->schema);
        if (c->schema_strict)
            strbuf_add(w->out, ",\"strict\":true");
        strbuf_add(w->out, "}}");
    }
}

/* Models that reason refuse these. */
static void add_sampling(struct writer *w, bool reasons)
{
    const struct conversation *c = w->c;
    const struct {
        const char *name;
        struct span raw;
    } fields[] = {
        {"temperature", c->temperature},
        {"top_p", c->top_p},
        {"presence_penalty", c->presence_penalty},
        {"frequency_penalty", c->frequency_penalty},
        {"stop", c->stop},
        {"logprobs", c->logprobs ? SPAN("true") : (struct span){0}},
        {"top_logprobs", c->top_logprobs},
    };

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (!reasons)
            add_field(w, fields[i].name, fields[i].raw);
        else if (fields[i].raw.n != 0)
            drop_named(w->drops, fields[i].name);
    if (c->top_k.n != 0)
        drop_named(w->drops, "top_k");
}

/* The most that a model of OpenAI's writes: it refuses to be asked for more. 0: not known. */
static uint64_t most_tokens(struct span model)
{
    static const struct {
        const char *prefix;
        uint64_t most;
    } models[] = {
        {"gpt-4o-2024-05-13", 4096},
        {"gpt-4o", 16384},
        {"gpt-4.1", 32768},
        {"gpt-4-turbo", 4096},
        {"gpt-3.5-turbo", 4096},
        {"o1-mini", 65536},
        {"o1", 100000},
        {"o3", 100000},
        {"o4", 100000},
        {"gpt-5", 128000},
    };

    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        if (span_starts(model, models[i].prefix))
            return models[i].most;
    return 0;
}

static void add_max_tokens(struct writer *w, bool reasons)
{
    uint64_t n = w->c->max_tokens, most = most_tokens(w->model);

    if (n == 0)
        return;
    if (most != 0 && n > most) {
        n = most;
        drop_field(w->drops, w->c->max_tokens_path);
    }
    strbuf_add(w->out, reasons ? ",\"max_completion_tokens\":" : ",\"max_tokens\":");
    strbuf_add_u64(w->out, n);
}

static void add_options(struct writer *w)
{
    static const char *const efforts[] = {
        [EFFORT_NONE] = "none",     [EFFORT_MINIMAL] = "minimal", [EFFORT_LOW] = "low",
        [EFFORT_MEDIUM] = "medium", [EFFORT_HIGH] = "high",       [EFFORT_XHIGH] = "xhigh"};
    const struct conversation *c = w->c;
    bool reasons = openai_chat_always_reasons(w->model);

    add_max_tokens(w, reasons);
    add_sampling(w, reasons);
    add_field(w, "seed", c->seed);
    if (c->n > 1)
        strbuf_addf(w->out, ",\"n\":%u", c->n);
    /* Models that never reason refuse to be told so; of unknown ones it may have to be asked. */
    if (c->effort != EFFORT_UNSET &&
        (c->effort != EFFORT_NONE || reasons || most_tokens(w->model) == 0))
        strbuf_addf(w->out, ",\"reasoning_effort\":\"%s\"", efforts[c->effort]);
    add_format(w);
    if (c->user.n <= MAX_USER + 2)
        add_field(w, "user", c->user);
    else
        drop_field(w->drops, c->user_path);
    add_field(w, "service_tier", c->service_tier);
    add_field(w, "verbosity", c->verbosity);
}

int openai_chat_write_conversation(const struct conversation *c,
                                   const struct dialect_target *target, struct arena *a,
                                   struct dialect_request *out, struct drops *drops, struct err *e)
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

    strbuf_expect(&body, c->bytes);
    strbuf_add(&body, "{\"model\":");
    json_add_string(&body, w.model);
    if (add_messages(&w) < 0)
        return -1;
    if (w.messages == 0)
        return refuse(&w, SPAN("messages"), "nothing of them is left that this provider takes");
    add_tools(&w);
    if (c->stream)
        strbuf_add(&body, ",\"stream\":true");
    if (c->stream && c->usage_asked)
        strbuf_add(&body, ",\"stream_options\":{\"include_usage\":true}");
    add_options(&w);
    strbuf_add_char(&body, '}');
    if (body.failed)
        return err_set(e, ERR_TOO_BIG, "the request is larger than this provider can take");
    for (const struct other_field *o = c->others; o != NULL; o = o->next)
        drop_field(drops, o->path);
    openai_chat_address(target, c->model, "/chat/completions", a, out);
    out->body[0] = strbuf_span(&body);
    if (target->short_ids)
        out->body[0] = foreign_short_ids(out->body[0], a);
    out->body_bytes = out->body[0].n;
    return 0;
}
