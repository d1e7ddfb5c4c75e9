#include "providers/anthropic_messages.h"

/* A raw string without its quotes. */
static struct span inside(struct span raw)
{
    return raw.n > 2 ? (struct span){raw.p + 1, raw.n - 2} : (struct span){raw.p, 0};
}

struct span anthropic_carry(const char *mark, struct span origin, struct span state,
                            struct arena *a)
{
    struct strbuf out = strbuf_in(a, strlen(mark) + origin.n + state.n + 4);

    if (json_is_string(origin, "anthropic_messages"))
        return state;
    strbuf_add_char(&out, '"');
    strbuf_add(&out, mark);
    strbuf_add_char(&out, '.');
    strbuf_add_span(&out, inside(origin));
    strbuf_add_char(&out, '.');
    strbuf_add_span(&out, inside(state));
    strbuf_add_char(&out, '"');
    return strbuf_span(&out);
}

bool anthropic_carried(struct span raw, struct arena *a, struct anthropic_carried *out)
{
    struct span text = inside(raw);
    const char *dot;

    *out = (struct anthropic_carried){0};
    if (text.n == 0 || span_is(text, ANTHROPIC_FOREIGN))
        return true; /* nobody signed it */
    out->of_call = span_starts(text, ANTHROPIC_FOREIGN_CALL ".");
    if (!out->of_call && !span_starts(text, ANTHROPIC_FOREIGN "."))
        return false;
    dot = memchr(text.p, '.', text.n);
    text = (struct span){dot + 1, (size_t)(text.p + text.n - dot - 1)};
    dot = text.n != 0 ? memchr(text.p, '.', text.n) : NULL;
    if (dot == NULL || dot + 1 == text.p + text.n)
        return true; /* somebody cut it */
    out->origin = (struct span){text.p, (size_t)(dot - text.p)};
    out->state = span_of(arena_printf(a, "\"%.*s\"", (int)(text.p + text.n - dot - 1), dot + 1));
    return true;
}
