#include "providers/gemini.h"

#include "proxy/base/base64.h"

#define PREFIX "holdfast:" /* nine bytes, so that base64 always begins with GEMINI_STATE */

static const char kind_letters[] = {
    [GEMINI_MARK] = 'm',     [GEMINI_SIGNED] = 's', [GEMINI_BARE] = 'b',
    [GEMINI_REDACTED] = 'r', [GEMINI_CALL] = 'c',
};

void gemini_add_state(struct strbuf *out, enum gemini_state_kind kind, struct span origin,
                      struct span state, struct arena *a)
{
    struct span text = json_text(state, a), name = json_text(origin, a);
    struct strbuf all = strbuf_in(a, sizeof(PREFIX) + name.n + text.n + 4);

    strbuf_add(&all, PREFIX);
    strbuf_add_char(&all, kind_letters[kind]);
    if (kind != GEMINI_MARK) {
        strbuf_add_char(&all, ':');
        strbuf_add_span(&all, name);
        strbuf_add_char(&all, ':');
        strbuf_add_span(&all, text);
    }
    strbuf_add_char(out, '"');
    base64_add(out, strbuf_span(&all));
    strbuf_add_char(out, '"');
}

bool gemini_read_state(struct span signature, struct arena *a, struct gemini_state *out)
{
    struct span text = json_text(signature, a), bytes;
    const char *colon;

    *out = (struct gemini_state){0};
    if (!span_starts(text, GEMINI_STATE) || !base64_decode(text, a, &bytes) ||
        bytes.n < sizeof(PREFIX))
        return false;
    bytes = (struct span){bytes.p + sizeof(PREFIX) - 1, bytes.n - sizeof(PREFIX) + 1};
    for (size_t k = 0; k < ARRAY_LEN(kind_letters); k++)
        if (bytes.p[0] == kind_letters[k])
            out->kind = (enum gemini_state_kind)k;
    colon = bytes.n > 2 ? memchr(bytes.p + 2, ':', bytes.n - 2) : NULL;
    if (out->kind == GEMINI_MARK || bytes.p[1] != ':' || colon == NULL) {
        out->kind = GEMINI_MARK;
        return true;
    }
    out->origin = (struct span){bytes.p + 2, (size_t)(colon - bytes.p - 2)};
    out->state = chat_quote((struct span){colon + 1, (size_t)(bytes.p + bytes.n - colon - 1)}, a);
    return true;
}
