#include "providers/gemini.h"

#define MAX_CALLS 1024  /* of one step: each result looks for its call among them */
#define WAITING   "..." /* said by the user where history begins with the model */

enum side { NOBODY, USER, MODEL };

/* A call of the model's last turn, and the result that answers it. */
struct call {
    const struct part *part, *result;
};

struct turns {
    struct gemini_writer *w;
    enum side open;      /* whose content is being written */
    bool any;            /* a content was written */
    bool called;         /* the open content of the model holds a call */
    bool current;        /* behind the last thing that the user said */
    struct call *calls;  /* of the model's last content, in order */
    size_t n_calls, cap; /* cap: room in `calls` */
};

static bool is_empty(struct span raw)
{
    return raw.n <= 2; /* absent or "" */
}

/* ---- contents ---- */

static void close_content(struct turns *t)
{
    if (t->open != NOBODY)
        strbuf_add(&t->w->out, "]}");
    t->open = NOBODY;
}

/* Makes room for one more part of `side`'s: what the same side says in a row is one content. */
static void begin_part(struct turns *t, enum side side)
{
    struct strbuf *out = &t->w->out;

    if (t->open == side) {
        strbuf_add_char(out, ',');
        return;
    }
    close_content(t);
    if (t->any)
        strbuf_add_char(out, ',');
    else if (side == MODEL) /* history must begin with the user, above all before a call */
        strbuf_add(out, "{\"role\":\"user\",\"parts\":[{\"text\":\"" WAITING "\"}]},");
    if (side == MODEL) {
        t->n_calls = 0;
        t->called = false;
    }
    strbuf_add(out,
               side == USER ? "{\"role\":\"user\",\"parts\":[" : "{\"role\":\"model\",\"parts\":[");
    t->open = side;
    t->any = true;
}

static bool is_ours(const struct part *p)
{
    return p->signature.n != 0 && span_is(p->origin, "gemini");
}

static void add_signature(struct turns *t, struct span signature)
{
    if (is_empty(signature))
        return;
    strbuf_add(&t->w->out, ",\"thoughtSignature\":");
    strbuf_add_span(&t->w->out, signature);
}

/* ---- parts ---- */

/* URLs that Google fetches from its own: Cloud Storage, the Files API and YouTube. */
static bool is_google_file(struct span url)
{
    static const char *const starts[] = {
        "gs://",
        "https://generativelanguage.googleapis.com/",
        "https://www.youtube.com/",
        "https://youtube.com/",
        "https://youtu.be/",
    };

    for (size_t i = 0; i < ARRAY_LEN(starts); i++)
        if (span_starts(url, starts[i]))
            return true;
    return false;
}

static int refuse(struct turns *t, const struct part *p, const char *what)
{
    return err_set(t->w->e, ERR_VALUE, "%.*s: %s", SPAN_ARG(p->path), what);
}

/* inlineData or fileData, without braces around it. */
static int add_media(struct turns *t, const struct part *p)
{
    struct strbuf *out = &t->w->out;
    struct span url = json_text(p->url, t->w->arena);

    if (p->detail.n != 0 && !json_is_string(p->detail, "auto"))
        drop_field(t->w->drops, part_field(p, "detail", t->w->arena));
    if (p->kind == PART_DOCUMENT && !is_empty(p->name))
        drop_field(t->w->drops, part_field(p, "filename", t->w->arena));
    if (p->data.n != 0) {
        if (p->mime.n == 0)
            return refuse(t, p, "its media type is unknown, expected one such as image/png");
        strbuf_add(out, "\"inlineData\":{\"mimeType\":");
        json_add_string(out, p->mime);
        strbuf_add(out, ",\"data\":");
        json_add_string(out, p->data);
        strbuf_add_char(out, '}');
        return 0;
    }
    if (p->file_id.n != 0)
        return refuse(t, p, "a file_id lives at one provider, expected the data itself");
    if (!is_google_file(url))
        return refuse(t, p,
                      "a URL is not fetched here, expected base64 data, or the URL of a file at "
                      "Google (gs://, the Files API, YouTube)");
    strbuf_add(out, "\"fileData\":{");
    if (p->mime.n != 0) {
        strbuf_add(out, "\"mimeType\":");
        json_add_string(out, p->mime);
        strbuf_add_char(out, ',');
    }
    strbuf_add(out, "\"fileUri\":");
    strbuf_add_span(out, p->url);
    strbuf_add_char(out, '}');
    return 0;
}

static int add_media_part(struct turns *t, enum side side, const struct part *p)
{
    begin_part(t, side);
    strbuf_add_char(&t->w->out, '{');
    if (add_media(t, p) < 0)
        return -1;
    strbuf_add_char(&t->w->out, '}');
    return 0;
}

/* An empty text says nothing, and some models refuse it; unless it carries a signature. */
static void add_text_part(struct turns *t, enum side side, struct span text, struct span signature)
{
    if (is_empty(text) && is_empty(signature))
        return;
    begin_part(t, side);
    strbuf_add(&t->w->out, "{\"text\":");
    strbuf_add_span(&t->w->out, text.n != 0 ? text : SPAN("\"\""));
    add_signature(t, signature);
    strbuf_add_char(&t->w->out, '}');
}

static void drop_cache(struct turns *t, const struct part *p)
{
    drop_cache_hint(t->w->drops, p, t->w->arena);
}

/* ---- what the model said ---- */

static int add_call(struct turns *t, const struct part *p)
{
    struct gemini_writer *w = t->w;
    bool first;

    if (gemini_check_name(w, p->path, p->name) < 0)
        return -1;
    begin_part(t, MODEL);
    first = !t->called;
    t->called = true;
    if (t->n_calls == MAX_CALLS)
        return err_set(w->e, ERR_TOO_BIG, "%.*s: expected at most %d calls in one turn",
                       SPAN_ARG(p->path), MAX_CALLS);
    if (t->n_calls == t->cap) {
        struct call *more = arena_alloc(w->arena, (2 * t->cap + 8) * sizeof(*more));

        if (t->cap != 0)
            memcpy(more, t->calls, t->n_calls * sizeof(*more));
        t->calls = more;
        t->cap = 2 * t->cap + 8;
    }
    t->calls[t->n_calls++] = (struct call){.part = p};

    strbuf_add(&w->out, "{\"functionCall\":{");
    if (!is_empty(p->id)) {
        strbuf_add(&w->out, "\"id\":");
        strbuf_add_span(&w->out, p->id);
        strbuf_add_char(&w->out, ',');
    }
    strbuf_add(&w->out, "\"name\":");
    strbuf_add_span(&w->out, p->name);
    strbuf_add(&w->out, ",\"args\":");
    if (p->arguments.p != NULL) {
        strbuf_add_span(&w->out, p->arguments);
    } else if (p->text.n == 0 || raw_is_blank(p->text)) {
        strbuf_add(&w->out, "{}");
    } else { /* cut off, as it may be with finish_reason "length" */
        strbuf_add(&w->out, "{\"_raw\":");
        strbuf_add_span(&w->out, p->text);
        strbuf_add_char(&w->out, '}');
    }
    strbuf_add_char(&w->out, '}');
    /* Since Gemini 3 the first call of each step since the user's last words must have one; the
     * sentinel is Google's word for history that another model made. */
    if (is_ours(p))
        add_signature(t, p->signature);
    else if (first && t->current && w->generation >= 3)
        add_signature(t, SPAN("\"" GEMINI_SENTINEL "\""));
    strbuf_add_char(&w->out, '}');
    return 0;
}

/* The signature of our own reasoning belongs to the last text of the message. */
static struct span reasoning_signature(const struct message *m)
{
    struct span found = {0};

    for (const struct part *p = m->parts; p != NULL; p = p->next)
        if (p->kind == PART_REASONING && is_ours(p))
            found = p->signature;
    return found;
}

static const struct part *last_text(const struct message *m)
{
    const struct part *found = NULL;

    for (const struct part *p = m->parts; p != NULL; p = p->next)
        if ((p->kind == PART_TEXT || p->kind == PART_REFUSAL) && !is_empty(p->text))
            found = p;
    return found;
}

static int add_model_message(struct turns *t, const struct message *m)
{
    struct span pending = reasoning_signature(m);
    const struct part *last = last_text(m);

    if (last == NULL && pending.n != 0)
        add_text_part(t, MODEL, SPAN("\"\""), pending);
    for (const struct part *p = m->parts; p != NULL; p = p->next) {
        drop_cache(t, p);
        switch (p->kind) {
        case PART_TEXT:
        case PART_REFUSAL:
            add_text_part(t, MODEL, p->text,
                          is_ours(p)  ? p->signature
                          : p == last ? pending
                                      : (struct span){0});
            break;
        case PART_REASONING: /* no text of it is wanted back, not even of Gemini's own */
            if (!is_empty(p->text) || (p->signature.n != 0 && p->signature.p != pending.p))
                drop_field(t->w->drops, p->path);
            break;
        case PART_TOOL_CALL:
            if (add_call(t, p) < 0)
                return -1;
            break;
        case PART_TOOL_RESULT:
            return refuse(t, p,
                          "the result of a call in a message of the assistant, expected it "
                          "behind that message");
        default:
            if (add_media_part(t, MODEL, p) < 0)
                return -1;
        }
    }
    return 0;
}

/* ---- what the user said, and what the tools found ---- */

/* Results answer the calls of the turn before. They come in the order of the calls as a rule, so
 * the first call that waits is looked at first. */
static int match_result(struct turns *t, const struct part *p, size_t *next)
{
    size_t i = *next;

    while (i < t->n_calls && t->calls[i].result != NULL)
        i++;
    *next = i;
    while (i < t->n_calls && (t->calls[i].result != NULL || !span_eq(t->calls[i].part->id, p->id)))
        i++;
    if (i == t->n_calls)
        return err_set(t->w->e, ERR_VALUE,
                       "%.*s: answers the call %.*s, expected one of the assistant's message "
                       "before it, each once",
                       SPAN_ARG(p->path), (int)(p->id.n < 60 ? p->id.n : 60),
                       p->id.n != 0 ? p->id.p : "\"\"");
    t->calls[i].result = p;
    return 0;
}

/* Can the model look at media inside a result? Else they stand behind the results. */
static bool takes_media_in_results(const struct turns *t)
{
    return t->w->generation >= 3;
}

/* The text of a result as one raw string, with a note for each medium that stands elsewhere. */
static struct span result_text(struct turns *t, const struct part *result)
{
    struct strbuf text;
    bool first = true;
    size_t size = 2;

    for (const struct part *p = result->inner; p != NULL; p = p->next)
        size += p->text.n + 64; /* the note is shorter */
    text = strbuf_in(t->w->arena, size);
    for (const struct part *p = result->inner; p != NULL; p = p->next) {
        if (p->kind == PART_TEXT || p->kind == PART_REFUSAL) {
            raw_add_joined(&text, p->text, first, "\\n");
        } else if (!takes_media_in_results(t)) {
            raw_add_joined(&text, SPAN("\"(a file of this result follows the results)\""), first,
                           "\\n");
        } else {
            continue;
        }
        first = false;
    }
    if (first)
        return SPAN("\"\"");
    strbuf_add_char(&text, '"');
    return strbuf_span(&text);
}

/* Can the text of a raw string be an object? Most results are none, and long. */
static bool may_be_object(struct span raw)
{
    size_t i = 1;

    while (raw.p[i] == ' ')
        i++;
    return raw.p[i] == '{' || raw.p[i] == '\\';
}

/* `response` must be an object: the one that the tool returned, or one made around its text. */
static void add_response(struct turns *t, const struct part *result)
{
    struct span raw = result_text(t, result), text = {0};

    if (!result->is_error && may_be_object(raw))
        text = span_trim(json_text(raw, t->w->arena));
    strbuf_add(&t->w->out, ",\"response\":");
    if (span_starts(text, "{") && json_valid(text)) {
        strbuf_add_span(&t->w->out, text);
        return;
    }
    strbuf_add(&t->w->out, result->is_error ? "{\"error\":" : "{\"output\":");
    strbuf_add_span(&t->w->out, raw);
    strbuf_add_char(&t->w->out, '}');
}

static bool is_media(const struct part *p)
{
    return p->kind != PART_TEXT && p->kind != PART_REFUSAL;
}

static int add_result_media(struct turns *t, const struct part *result)
{
    bool first = true;

    for (const struct part *p = result->inner; p != NULL; p = p->next) {
        if (!is_media(p))
            continue;
        strbuf_add(&t->w->out, first ? ",\"parts\":[{" : ",{");
        first = false;
        if (add_media(t, p) < 0)
            return -1;
        strbuf_add_char(&t->w->out, '}');
    }
    if (!first)
        strbuf_add_char(&t->w->out, ']');
    return 0;
}

static int add_result(struct turns *t, const struct call *call)
{
    struct strbuf *out = &t->w->out;

    begin_part(t, USER);
    strbuf_add(out, "{\"functionResponse\":{");
    if (!is_empty(call->part->id)) {
        strbuf_add(out, "\"id\":");
        strbuf_add_span(out, call->part->id);
        strbuf_add_char(out, ',');
    }
    strbuf_add(out, "\"name\":");
    strbuf_add_span(out, call->part->name);
    add_response(t, call->result);
    if (takes_media_in_results(t) && add_result_media(t, call->result) < 0)
        return -1;
    strbuf_add(out, "}}");
    drop_cache(t, call->result);
    return 0;
}

/* All results of the step, in the order of the calls, and what belongs to them. */
static int add_results(struct turns *t)
{
    size_t n = t->n_calls;

    for (size_t i = 0; i < n; i++) {
        if (t->calls[i].result == NULL)
            return refuse(t, t->calls[i].part,
                          "the call has no result, expected one behind its message");
        if (add_result(t, &t->calls[i]) < 0)
            return -1;
    }
    for (size_t i = 0; i < n && !takes_media_in_results(t); i++)
        for (const struct part *p = t->calls[i].result->inner; p != NULL; p = p->next)
            if (is_media(p) && add_media_part(t, USER, p) < 0)
                return -1;
    t->n_calls = 0;
    return 0;
}

static int add_user_message(struct turns *t, const struct message *m)
{
    for (const struct part *p = m->parts; p != NULL; p = p->next) {
        switch (p->kind) {
        case PART_TOOL_RESULT: /* written already */
            break;
        case PART_TEXT:
        case PART_REFUSAL:
            drop_cache(t, p);
            add_text_part(t, USER, p->text, (struct span){0});
            break;
        case PART_REASONING:
            drop_field(t->w->drops, p->path);
            break;
        case PART_TOOL_CALL:
            return refuse(t, p, "a call, expected only in a message of the assistant");
        default:
            drop_cache(t, p);
            if (add_media_part(t, USER, p) < 0)
                return -1;
        }
    }
    return 0;
}

/* Everything up to the assistant's next message is one content, results first. */
static int add_user_run(struct turns *t, const struct message *from, const struct message *end)
{
    size_t next = 0;

    for (const struct message *m = from; m != end; m = m->next)
        for (const struct part *p = m->parts; p != NULL; p = p->next)
            if (p->kind == PART_TOOL_RESULT && match_result(t, p, &next) < 0)
                return -1;
    if (add_results(t) < 0)
        return -1;
    for (const struct message *m = from; m != end; m = m->next)
        if (add_user_message(t, m) < 0)
            return -1;
    return 0;
}

/* ---- together ---- */

static bool is_system(const struct message *m)
{
    return m->role == ROLE_SYSTEM || m->role == ROLE_DEVELOPER;
}

/* The system messages that lead, joined. Later ones are turns of the user: there is no other place
 * between the turns. */
static int add_system(struct turns *t, const struct message *end)
{
    struct strbuf *out = &t->w->out;
    bool first = true;

    for (const struct message *m = t->w->c->messages; m != end; m = m->next)
        for (const struct part *p = m->parts; p != NULL; p = p->next) {
            if (p->kind != PART_TEXT)
                return refuse(t, p, "expected only text in a system message");
            drop_cache(t, p);
            if (is_empty(p->text))
                continue;
            if (first)
                strbuf_add(out, "\"systemInstruction\":{\"parts\":[{\"text\":");
            raw_add_joined(out, p->text, first, "\\n\\n");
            first = false;
        }
    if (!first)
        strbuf_add(out, "\"}]},");
    return 0;
}

/* The last message in which the user speaks; what comes behind is the current turn. */
static const struct message *last_words(const struct conversation *c)
{
    const struct message *found = NULL;

    for (const struct message *m = c->messages; m != NULL; m = m->next)
        if (m->role == ROLE_USER)
            found = m;
    return found;
}

static int add_contents(struct turns *t, const struct message *m)
{
    const struct message *words = last_words(t->w->c), *end;

    t->current = words == NULL;
    while (m != NULL) {
        if (m->role == ROLE_ASSISTANT) {
            if (add_model_message(t, m) < 0)
                return -1;
            m = m->next;
            continue;
        }
        for (end = m; end != NULL && end->role != ROLE_ASSISTANT; end = end->next)
            t->current |= end == words;
        if (add_user_run(t, m, end) < 0)
            return -1;
        m = end;
    }
    close_content(t);
    return 0;
}

int gemini_write_turns(struct gemini_writer *w)
{
    struct turns t = {.w = w};
    const struct message *first = w->c->messages;
    size_t start = w->out.len;

    while (first != NULL && is_system(first))
        first = first->next;
    for (const struct message *m = w->c->messages; m != NULL; m = m->next)
        if (!is_empty(m->name))
            gemini_drop_in(w, m->path, "name");
    if (add_system(&t, first) < 0)
        return -1;
    strbuf_add(&w->out, "\"contents\":[");
    if (add_contents(&t, first) < 0)
        return -1;
    if (!t.any) { /* contents may not be empty: the instructions are all there is to say */
        w->out.len = start;
        strbuf_add(&w->out, "\"contents\":[");
        if (add_user_run(&t, w->c->messages, NULL) < 0)
            return -1;
        close_content(&t);
    }
    if (!t.any)
        return err_set(w->e, ERR_VALUE, "messages: all are empty, expected one with content");
    strbuf_add_char(&w->out, ']');
    return 0;
}
