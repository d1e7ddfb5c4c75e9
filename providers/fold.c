#include "providers/fold.h"

#include "proxy/base/json.h"
#include "providers/conversation.h"

#define MAX_TEXT    (64 * 1024 * 1024) /* bytes of one text */
#define MAX_CHOICES 128
#define MAX_CALLS   1024 /* of one choice; as many signatures */

void fold_init(struct fold *f, struct arena *a)
{
    *f = (struct fold){.arena = a};
}

/* ---- texts ---- */

static void add(struct fold *f, struct strbuf *to, struct span raw)
{
    if (json_type_of(raw) == JSON_STRING) {
        raw_add_joined(to, raw, to->len == 0, "");
    } else if (raw.n != 0) { /* bare JSON: its text */
        struct span quoted = chat_quote(raw, f->arena);

        raw_add_joined(to, quoted, to->len == 0, "");
    }
    f->too_big |= to->failed;
}

static void close_text(struct fold *f, struct strbuf *text)
{
    if (text->len != 0)
        strbuf_add_char(text, '"');
    f->too_big |= text->failed;
}

/* ---- choices and calls ---- */

/* Choices stay in the order of their numbers, whatever order they came in. */
static struct fold_choice *get_choice(struct fold *f, unsigned index)
{
    struct fold_choice **at = &f->choices, *c;
    unsigned n = 0;

    for (; *at != NULL && (*at)->index < index; n++)
        at = &(*at)->next;
    if (*at != NULL && (*at)->index == index)
        return *at;
    for (c = *at; c != NULL; c = c->next)
        n++;
    if (n == MAX_CHOICES) {
        f->too_big = true;
        return NULL;
    }
    c = arena_zalloc(f->arena, sizeof(*c));
    c->index = index;
    c->text = strbuf_in(f->arena, MAX_TEXT);
    c->reasoning = strbuf_in(f->arena, MAX_TEXT);
    c->refusal = strbuf_in(f->arena, MAX_TEXT);
    c->unsigned_reasoning = strbuf_in(f->arena, MAX_TEXT);
    c->next = *at;
    *at = c;
    return c;
}

static struct fold_call *find_call(struct fold_choice *c, unsigned tool)
{
    struct fold_call *call = c->last_call;

    if (call != NULL && call->tool == tool)
        return call;
    for (call = c->calls; call != NULL && call->tool != tool; call = call->next)
        ;
    return call;
}

static void start_call(struct fold *f, struct fold_choice *c, const struct chat_event *ev)
{
    struct fold_call *call;
    unsigned n = 0;

    for (call = c->calls; call != NULL; call = call->next)
        n++;
    if (n == MAX_CALLS) {
        f->too_big = true;
        return;
    }
    call = arena_zalloc(f->arena, sizeof(*call));
    call->tool = ev->tool;
    call->id = arena_copy(f->arena, ev->id);
    call->name = arena_copy(f->arena, ev->name);
    call->arguments = strbuf_in(f->arena, MAX_TEXT);
    if (c->last_call != NULL)
        c->last_call->next = call;
    else
        c->calls = call;
    c->last_call = call;
}

static void sign_call(struct fold *f, struct fold_call *call, const struct chat_event *ev)
{
    if (call == NULL)
        return;
    call->signature = arena_copy(f->arena, ev->text);
    call->origin = arena_copy(f->arena, ev->id);
}

static void sign_reasoning(struct fold *f, struct fold_choice *c, const struct chat_event *ev)
{
    struct fold_signed *s, **at = &c->signatures;
    unsigned n = 0;

    for (; *at != NULL; at = &(*at)->next)
        n++;
    if (n == MAX_CALLS) {
        f->too_big = true;
        return;
    }
    s = arena_zalloc(f->arena, sizeof(*s));
    s->signature = arena_copy(f->arena, ev->text);
    s->origin = arena_copy(f->arena, ev->id);
    if (!json_is_string(ev->name, "redacted")) {
        struct strbuf *text = &c->unsigned_reasoning;

        close_text(f, text);
        s->text = text->len != 0 ? strbuf_span(text) : SPAN("\"\"");
        *text = strbuf_in(f->arena, MAX_TEXT); /* the old one is the signature's now */
    }
    *at = s;
}

static void add_vector(struct fold *f, const struct chat_event *ev)
{
    struct fold_vector *v = arena_alloc(f->arena, sizeof(*v));

    *v = (struct fold_vector){.index = ev->choice, .raw = ev->text};
    if (f->last_vector != NULL)
        f->last_vector->next = v;
    else
        f->vectors = v;
    f->last_vector = v;
}

/* ---- the sink ---- */

static void in_choice(struct fold *f, const struct chat_event *ev)
{
    struct fold_choice *c = get_choice(f, ev->choice);
    struct fold_call *call;

    if (c == NULL)
        return;
    switch (ev->kind) {
    case CHAT_TEXT:
        add(f, &c->text, ev->text);
        break;
    case CHAT_REASONING:
        add(f, &c->reasoning, ev->text);
        add(f, &c->unsigned_reasoning, ev->text);
        break;
    case CHAT_REFUSAL:
        add(f, &c->refusal, ev->text);
        break;
    case CHAT_TOOL_START:
        start_call(f, c, ev);
        break;
    case CHAT_TOOL_ARGS:
        call = find_call(c, ev->tool);
        if (call != NULL)
            add(f, &call->arguments, ev->text);
        break;
    case CHAT_SIGNATURE:
        if (json_is_string(ev->name, "tool"))
            sign_call(f, find_call(c, ev->tool), ev);
        else
            sign_reasoning(f, c, ev);
        break;
    case CHAT_STOP:
        if (c->stop.n == 0)
            c->stop = arena_copy(f->arena, ev->text);
        break;
    case CHAT_START:
    case CHAT_VECTOR:
    case CHAT_USAGE:
    case CHAT_END:
        break;
    }
}

void fold_event(void *fold, const struct chat_event *ev)
{
    struct fold *f = fold;

    switch (ev->kind) {
    case CHAT_START:
        if (f->id.p == NULL)
            f->id = arena_copy(f->arena, ev->id);
        if (f->model.p == NULL)
            f->model = arena_copy(f->arena, ev->name);
        break;
    case CHAT_VECTOR:
        add_vector(f, ev);
        break;
    case CHAT_USAGE:
        f->usage = ev->usage;
        break;
    case CHAT_END:
        f->end = true;
        break;
    default:
        in_choice(f, ev);
    }
}

void fold_done(struct fold *f)
{
    for (struct fold_choice *c = f->choices; c != NULL; c = c->next) {
        close_text(f, &c->text);
        close_text(f, &c->reasoning);
        close_text(f, &c->refusal);
        close_text(f, &c->unsigned_reasoning);
        for (struct fold_call *call = c->calls; call != NULL; call = call->next)
            close_text(f, &call->arguments);
    }
}
