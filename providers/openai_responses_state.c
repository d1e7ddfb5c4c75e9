#include "providers/openai_responses.h"

#include "providers/request_top.h"

#define MARK "holdfast."

/* ---- one state ---- */

static const char *const kinds[] = {
    [STATE_SIGNED] = "signed",
    [STATE_REDACTED] = "redacted",
    [STATE_CALL] = "call",
};

void responses_add_state(struct strbuf *out, enum responses_state_kind kind, struct span origin,
                         struct span signature, struct arena *a)
{
    struct span name = json_text(origin, a);

    strbuf_addf(out, "\"" MARK "%.*s.%s.", SPAN_ARG(name), kinds[kind]);
    if (signature.n > 2)
        strbuf_add_n(out, signature.p + 1, signature.n - 2);
    strbuf_add_char(out, '"');
}

/* Takes what stands before the next full stop. */
static struct span take_word(struct span *text)
{
    const char *dot = text->n != 0 ? memchr(text->p, '.', text->n) : NULL;
    struct span word = {text->p, dot != NULL ? (size_t)(dot - text->p) : 0};

    if (dot != NULL)
        *text = (struct span){dot + 1, text->n - word.n - 1};
    return word;
}

struct responses_state responses_read_state(struct span encrypted, struct arena *a)
{
    struct responses_state s = {0};
    struct span rest, kind;
    struct strbuf raw;

    if (!span_starts(encrypted, "\"" MARK))
        return s;
    rest = (struct span){encrypted.p + sizeof(MARK), encrypted.n - sizeof(MARK)};
    s.origin = take_word(&rest);
    kind = take_word(&rest);
    for (size_t k = STATE_SIGNED; k < ARRAY_LEN(kinds); k++)
        if (span_is(kind, kinds[k]))
            s.kind = (enum responses_state_kind)k;
    raw = strbuf_in(a, rest.n + 1);
    strbuf_add_char(&raw, '"');
    strbuf_add_span(&raw, rest); /* with the closing quote */
    s.signature = strbuf_span(&raw);
    return s;
}

/* ---- a request without them ---- */

static bool is_unwanted(struct span item, bool all)
{
    struct span state = top_member(item, "encrypted_content"), id = top_member(item, "id");

    if (!json_is_string(top_member(item, "type"), "reasoning"))
        return false;
    return (all && json_type_of(state) == JSON_STRING) || span_starts(state, "\"" MARK) ||
           span_starts(id, "\"" RESPONSES_OWN_ID);
}

/* Appends the list `input` as far as it is wanted. True where something was left out. */
static bool add_wanted(struct strbuf *out, struct span input, bool all, struct arena *a,
                       struct drops *drops)
{
    struct json j = json_read(input);
    bool found = false, first = true;

    if (!json_enter(&j, JSON_ARRAY)) {
        strbuf_add_span(out, input);
        return false;
    }
    strbuf_add_char(out, '[');
    for (unsigned i = 0; json_item(&j); i++) {
        struct span item = json_take(&j);

        if (is_unwanted(item, all)) {
            drop_named(drops, arena_printf(a, "input[%u]", i));
            found = true;
            continue;
        }
        if (!first)
            strbuf_add_char(out, ',');
        first = false;
        strbuf_add_span(out, item);
    }
    strbuf_add_char(out, ']');
    return found;
}

struct span responses_strip(struct span body, bool all, struct arena *a, struct drops *drops)
{
    struct span input = top_member(body, "input");
    struct strbuf kept;
    struct json_edit edit = {.old = input};
    struct strbuf out;

    /* A mark spelled with escapes is not looked for: nobody who keeps our state spells it so. */
    if (span_find(input, all ? "\"encrypted_content\"" : "holdfast") == NULL)
        return body;
    kept = strbuf_in(a, input.n + 2);
    if (!add_wanted(&kept, input, all, a, drops))
        return body;
    edit.now = strbuf_span(&kept);
    out = strbuf_in(a, body.n + 2);
    json_splice(&out, body, &edit, 1);
    return strbuf_span(&out);
}
