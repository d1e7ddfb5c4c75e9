#include "providers/scripted.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The length of the next word with the space behind it. */
static size_t word_length(struct span text)
{
    size_t n = 0;

    while (n < text.n && is_space(text.p[n]))
        n++;
    while (n < text.n && !is_space(text.p[n]))
        n++;
    while (n < text.n && is_space(text.p[n]))
        n++;
    return n;
}

void scripted_answer(struct span text, struct span model, struct arena *a, chat_sink *sink,
                     void *ctx)
{
    struct chat_event start = {
        .kind = CHAT_START, .id = SPAN("\"chatcmpl-scripted\""), .name = chat_quote(model, a)};
    struct chat_event stop = {.kind = CHAT_STOP, .text = SPAN("\"stop\"")};
    struct chat_event usage = {.kind = CHAT_USAGE,
                               .usage = {.seen = true, .output = (text.n + 3) / 4}};
    struct chat_event end = {.kind = CHAT_END};

    sink(ctx, &start);
    while (text.n != 0) {
        size_t n = word_length(text);
        struct chat_event ev = {.kind = CHAT_TEXT, .text = chat_quote((struct span){text.p, n}, a)};

        sink(ctx, &ev);
        text = (struct span){text.p + n, text.n - n};
    }
    sink(ctx, &stop);
    sink(ctx, &usage);
    sink(ctx, &end);
}
