#include "providers/fields.h"

#include "providers/openai_chat.h"

#define MAX_NAMES 4096 /* bytes of dropped names */
#define MAX_CELL  4096

/* ---- trying one ---- */

struct trial {
    struct span sent;    /* the client's request */
    struct span written; /* path and body for the provider */
    struct strbuf dropped;
    bool read; /* the request was understood; else, or where it was refused, e says why */
    struct err e;
};

static struct span request_text(const char *members, const char *model, struct arena *a)
{
    return span_of(arena_printf(a, "{\"model\":\"%s\",%s}", model, members));
}

static struct span put_together(const struct dialect_request *r, struct arena *a)
{
    struct strbuf all = strbuf_in(a, r->path.n + r->body_bytes + 1);

    strbuf_add_span(&all, r->path);
    strbuf_add_char(&all, ' ');
    for (size_t i = 0; i < ARRAY_LEN(r->body); i++)
        strbuf_add_span(&all, r->body[i]);
    return strbuf_span(&all);
}

/* As a client would be served. False where it was not. */
static bool translate(const struct dialect *client, const char *members, const struct dialect *d,
                      const char *model, struct arena *a, struct trial *t)
{
    struct dialect_target target = {.base_path = SPAN("/v1"), .model = span_of(model)};
    struct chat_request *req = arena_zalloc(a, sizeof(*req));
    struct conversation *c = arena_zalloc(a, sizeof(*c));
    struct drops drops = {.names = &t->dropped};
    struct dialect_request out;

    req->model = c->model = span_of(model); /* where a path says it */
    *t =
        (struct trial){.sent = request_text(members, model, a), .dropped = strbuf_in(a, MAX_NAMES)};
    t->read = client->read_request(t->sent, a, req, &t->e) == 0;
    if (!t->read || client->read_conversation(t->sent, a, c, &t->e) < 0) {
        /* Such a request is fine, and for its own provider, or its own dialect, alone. */
        t->read = t->e.code == ERR_BOUND || (t->read && req->pinned);
        return false;
    }
    drops.client = c->names;
    if (d->write_conversation(c, &target, a, &out, &drops, &t->e) < 0) {
        name_for_client(c->names, &t->e);
        return false;
    }
    t->written = put_together(&out, a);
    return true;
}

/* The next name of a list "a, b"; false at its end. */
static bool next_name(struct span *list, struct span *name)
{
    const char *comma = list->n != 0 ? memchr(list->p, ',', list->n) : NULL;
    size_t used = list->n;

    if (list->n == 0)
        return false;
    *name = *list;
    if (comma != NULL) {
        name->n = (size_t)(comma - list->p);
        used = name->n + 2;
    }
    *list = (struct span){list->p + used, list->n - used};
    return true;
}

static bool is_listed(struct span list, struct span wanted)
{
    struct span name;

    while (next_name(&list, &name))
        if (span_eq(name, wanted))
            return true;
    return false;
}

/* "messages[1].name" -> "messages[].name" */
static void add_without_indices(struct strbuf *out, struct span name)
{
    bool inside = false;

    for (size_t i = 0; i < name.n; i++) {
        inside = inside && name.p[i] != ']';
        if (!inside)
            strbuf_add_char(out, name.p[i]);
        inside |= name.p[i] == '[';
    }
}

/* What is named of the request with the field, and not of the one without it. */
static struct span newly_dropped(const struct trial *without, const struct trial *with,
                                 struct arena *a)
{
    struct span list = strbuf_span(&with->dropped), name;
    struct strbuf out = strbuf_in(a, MAX_NAMES);

    while (next_name(&list, &name)) {
        if (is_listed(strbuf_span(&without->dropped), name))
            continue;
        if (out.len != 0)
            strbuf_add(&out, ", ");
        add_without_indices(&out, name);
    }
    return strbuf_span(&out);
}

/* A provider of the client's own dialect: the model differs, and what it is known not to take. What
 * others signed stays in an OpenAI request: its providers may be such as keep it. */
static struct field_verdict try_untouched(const struct dialect *client, const struct field_probe *p,
                                          const char *model, struct arena *a)
{
    struct dialect_target target = {.base_path = SPAN("/v1"),
                                    .model = span_of(model),
                                    .rewrite_model = true,
                                    .strip_foreign = client != &dialect_openai_chat};
    struct span sent = request_text(p->with, "theirs", a), text, names;
    struct trial none = {0}, t = {.dropped = strbuf_in(a, MAX_NAMES)};
    struct drops drops = {.names = &t.dropped};
    struct dialect_request out;
    struct chat_request req = {.model = span_of(model)};
    struct err e;

    if (client->read_request(sent, a, &req, &e) < 0)
        return (struct field_verdict){FIELD_INVALID, span_of(arena_printf(a, "%s", e.msg))};
    client->write_request(&req, &target, a, &out, &drops);
    out.path = (struct span){0};
    text = span_trim(put_together(&out, a));
    if (span_eq(text, request_text(p->with, model, a)))
        return (struct field_verdict){.fate = FIELD_UNTOUCHED};
    names = newly_dropped(&none, &t, a);
    if (!span_is(names, p->field))
        return (struct field_verdict){.fate = FIELD_PARTLY, .text = names};
    return (struct field_verdict){
        .fate = span_eq(text, request_text(p->without, model, a)) ? FIELD_DROPPED : FIELD_NEAREST};
}

struct field_verdict fields_try(const struct dialect *client, const struct field_probe *p,
                                const struct dialect *d, const char *model, struct arena *a)
{
    struct field_verdict v = {.fate = FIELD_INVALID};
    struct trial without, with;
    bool same;

    if (d == client)
        return try_untouched(client, p, model, a);
    if (!translate(client, p->without, d, model, a, &without)) {
        v.fate = without.read ? FIELD_REFUSED : FIELD_INVALID;
        v.text = arena_copy(a, span_of(without.e.msg));
        return v;
    }
    if (!translate(client, p->with, d, model, a, &with)) {
        v.fate = with.read ? FIELD_REFUSED : FIELD_INVALID;
        v.text = arena_copy(a, span_of(with.e.msg));
        return v;
    }
    same = span_eq(without.written, with.written);
    v.text = newly_dropped(&without, &with, a);
    if (v.text.n == 0)
        v.fate = same ? FIELD_SAME : FIELD_MAPPED;
    else if (same)
        v.fate = FIELD_DROPPED;
    else
        v.fate = span_is(v.text, p->field) ? FIELD_NEAREST : FIELD_PARTLY;
    if (span_is(v.text, p->field))
        v.text = (struct span){0};
    return v;
}

/* ---- the page ---- */

static const struct {
    const struct dialect *dialect;
    const char *title;
    const struct field_probe *probes;
} clients[] = {
    {&dialect_openai_chat, "OpenAI's chat completions", fields_of_openai_chat},
    {&dialect_openai_responses, "OpenAI's responses", fields_of_openai_responses},
    {&dialect_openai_completions, "OpenAI's completions", fields_of_openai_completions},
    {&dialect_anthropic_messages, "Anthropic's messages", fields_of_anthropic_messages},
    {&dialect_gemini, "Gemini's generateContent", fields_of_gemini},
};

const struct field_probe *fields_probe(const struct dialect *client, size_t i)
{
    size_t c = 0;

    while (clients[c].dialect != client)
        c++;
    return clients[c].probes[i].field != NULL ? &clients[c].probes[i] : NULL;
}

static const char intro[] =
    "# What becomes of each field\n"
    "\n"
    "To a provider that speaks the client's own dialect its request goes on byte by byte, but for "
    "the\n"
    "model's name and what a model that was named instead does not take. For others "
    "(`openai_chat`, `openai_responses`,\n"
    "Claude's `anthropic_messages`, `gemini`) each attempt translates the client's own request; "
    "the tables "
    "below say\n"
    "what then becomes of each field. They are made by running the translation, not written by "
    "hand, with\n"
    "these models: older ones of a family take less, newer ones as much.\n"
    "\n"
    "- **mapped**: the provider is told, in its own words. **nothing to say**: there the same "
    "holds\n"
    "  without the field, or Holdfast itself does what it asks.\n"
    "- **dropped**: the provider has no word for it. The request is served without it, and the "
    "answer's\n"
    "  header `x-holdfast-dropped` names it by its path (`logit_bias, messages[3].name`), for "
    "streams\n"
    "  as well. **nearest**: what comes closest was sent instead, and the field is named all the "
    "same.\n"
    "  A caller that cannot do without a field looks at this header, or names only targets that "
    "have it.\n"
    "- **refused**: without it the answer would be another one than was asked for. The provider is "
    "not\n"
    "  asked, the attempt ends as `unsupported` and the next target has its turn; where none is "
    "left the\n"
    "  caller gets a 400 with the reason. No breaker moves.\n"
    "- **Reasoning state** (signatures, encrypted reasoning) belongs to the provider that made "
    "it. It goes\n"
    "  back there byte by byte, so that a Claude or Gemini that goes on with its own tool calls "
    "remembers\n"
    "  why it made them. Another provider that takes over gets neither the state nor the text of "
    "the\n"
    "  reasoning: it reads what was said and called, and thinks anew.\n"
    "- **Usage** is put in OpenAI's terms: `prompt_tokens` holds what was read from and written to "
    "a cache\n"
    "  too, `completion_tokens` the reasoning. The counts are the provider's own, so the same text "
    "costs\n"
    "  another number of tokens elsewhere. A stream ends with them only where "
    "`stream_options.include_usage`\n"
    "  asks for it.\n"
    "- **Answers** lose what OpenAI's dialect has no place for: the sources that a Claude or "
    "Gemini "
    "cites when\n"
    "  it searched by itself (no translated request makes it), safety ratings, and log "
    "probabilities, whose\n"
    "  request is dropped by name.\n";

#define MAX_MODELS 3

static const struct {
    const struct dialect *dialect;
    const char *models[MAX_MODELS + 1];
} columns[] = {
    {&dialect_openai_chat, {"gpt-4.1"}},
    {&dialect_openai_responses, {"gpt-4.1", "gpt-5"}},
    {&dialect_anthropic_messages, {"claude-opus-4-7", "claude-sonnet-4-5", "claude-3-5-haiku"}},
    {&dialect_gemini, {"gemini-3-pro-preview", "gemini-2.5-pro", "gemini-2.0-flash"}},
};

/* Text of the program in a table's cell; a bar would end the cell. */
static void add_escaped(struct strbuf *out, struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (strchr("|*_[]<", text.p[i]) != NULL && text.p[i] != '\0')
            strbuf_add_char(out, '\\');
        strbuf_add_char(out, text.p[i]);
    }
}

static void add_names(struct strbuf *out, const char *before, struct span names)
{
    struct span name;

    while (next_name(&names, &name)) {
        strbuf_addf(out, "%s`%.*s`", before, SPAN_ARG(name));
        before = ", ";
    }
}

static struct span verdict_text(const struct field_verdict *v, struct arena *a)
{
    struct strbuf out = strbuf_in(a, MAX_CELL);

    switch (v->fate) {
    case FIELD_UNTOUCHED:
        strbuf_add(&out, "untouched");
        break;
    case FIELD_MAPPED:
        strbuf_add(&out, "mapped");
        break;
    case FIELD_NEAREST:
        strbuf_add(&out, "nearest");
        break;
    case FIELD_PARTLY:
        strbuf_add(&out, "mapped");
        add_names(&out, ", dropped: ", v->text);
        break;
    case FIELD_DROPPED:
        strbuf_add(&out, "dropped");
        add_names(&out, " as ", v->text);
        break;
    case FIELD_SAME:
        strbuf_add(&out, "nothing to say");
        break;
    case FIELD_REFUSED:
        strbuf_add(&out, "refused: ");
        add_escaped(&out, v->text);
        break;
    case FIELD_INVALID:
        strbuf_add(&out, "**invalid**: ");
        add_escaped(&out, v->text);
        break;
    }
    return strbuf_span(&out);
}

/* What all models of a column have in common once; else each text with the models it is true of. */
static void add_cell(struct strbuf *out, const struct dialect *client, const struct field_probe *p,
                     size_t column, struct arena *a)
{
    struct span texts[MAX_MODELS];
    size_t n = 0;

    for (; columns[column].models[n] != NULL; n++) {
        struct field_verdict v =
            fields_try(client, p, columns[column].dialect, columns[column].models[n], a);

        texts[n] = verdict_text(&v, a);
    }
    for (size_t i = 0; i < n; i++) {
        size_t alike = 0;
        bool before = false;

        for (size_t k = 0; k < n; k++) {
            before |= k < i && span_eq(texts[k], texts[i]);
            alike += span_eq(texts[k], texts[i]);
        }
        if (before)
            continue;
        if (i != 0)
            strbuf_add(out, "; ");
        for (size_t k = i; k < n && alike != n; k++)
            if (span_eq(texts[k], texts[i]))
                strbuf_addf(out, "%s%s", k != i ? ", " : "", columns[column].models[k]);
        strbuf_add(out, alike != n ? ": " : "");
        strbuf_add_span(out, texts[i]);
    }
}

static void add_heading(struct strbuf *out, const char *title)
{
    strbuf_addf(out, "\n### %s\n\n| field |", title);
    for (size_t c = 0; c < ARRAY_LEN(columns); c++)
        strbuf_addf(out, " %s |", columns[c].dialect->name);
    strbuf_add(out, "\n|---|");
    for (size_t c = 0; c < ARRAY_LEN(columns); c++)
        strbuf_add(out, "---|");
    strbuf_add(out, "\n");
}

static void add_tables(struct strbuf *out, const struct dialect *client)
{
    for (size_t i = 0; fields_probe(client, i) != NULL; i++) {
        const struct field_probe *p = fields_probe(client, i);
        struct arena a;

        arena_init(&a);
        if (p->section != NULL)
            add_heading(out, p->section);
        strbuf_addf(out, "| `%s`%s%s |", p->field, p->form != NULL ? ": " : "",
                    p->form != NULL ? p->form : "");
        for (size_t c = 0; c < ARRAY_LEN(columns); c++) {
            strbuf_add_char(out, ' ');
            add_cell(out, client, p, c, &a);
            strbuf_add(out, " |");
        }
        strbuf_add_char(out, '\n');
        arena_release(&a);
    }
}

void fields_manual(struct strbuf *out)
{
    strbuf_add(out, intro);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        strbuf_addf(out, "\n## Clients of %s\n", clients[i].title);
        add_tables(out, clients[i].dialect);
    }
}
