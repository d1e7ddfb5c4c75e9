#include "providers/anthropic_messages.h"

/* The words of a name behind "claude-": letters make the family, small numbers the version; what
 * comes then (a date, "v1:0", "latest") says nothing. "claude-3-5-sonnet" and "claude-sonnet-4-5"
 * are both 305 and 405. */
struct name {
    enum { OTHER, HAIKU, SONNET, OPUS } family;
    unsigned version; /* 100 * major + minor; 0 unknown */
};

static struct span next_word(struct span *rest)
{
    struct span word = {rest->p, 0};

    while (word.n < rest->n && strchr("-.@:_", rest->p[word.n]) == NULL)
        word.n++;
    *rest = (struct span){rest->p + word.n, rest->n - word.n};
    if (rest->n != 0)
        *rest = (struct span){rest->p + 1, rest->n - 1};
    return word;
}

static struct name parse(struct span text)
{
    const char *start = span_find_nocase(text, "claude-");
    struct name name = {OTHER, 0};
    unsigned numbers = 0;
    uint64_t v;

    if (start == NULL)
        return name;
    text.n -= (size_t)(start + 7 - text.p);
    text.p = start + 7;
    while (text.n != 0) {
        struct span word = next_word(&text);

        if (word.n <= 2 && span_to_u64(word, &v)) {
            if (++numbers > 2)
                break;
            name.version += (unsigned)(numbers == 1 ? 100 * v : v);
        } else if (word.n != 0 && word.p[0] >= '0' && word.p[0] <= '9') {
            break;
        } else if (span_is_nocase(word, "haiku")) {
            name.family = HAIKU;
        } else if (span_is_nocase(word, "sonnet")) {
            name.family = SONNET;
        } else if (span_is_nocase(word, "opus")) {
            name.family = OPUS;
        }
    }
    return name;
}

static uint64_t most_tokens(struct name name)
{
    if (name.version >= 406)
        return 128000;
    if (name.family == OPUS && name.version >= 400 && name.version < 405)
        return 32000;
    if (name.version >= 307)
        return 64000;
    return name.version >= 305 ? 8192 : 4096;
}

struct anthropic_model anthropic_model_of(struct span text)
{
    struct name name = parse(text);
    unsigned v = name.version;

    if (v == 0)
        return (struct anthropic_model){.sampling = true, .budget = true};
    return (struct anthropic_model){
        .known = true,
        .sampling = v < 407 || (v < 500 && name.family != OPUS),
        .adaptive = v >= 406,
        .budget = v >= 307 && v < 406,
        .xhigh = v >= 407,
        .summarize = v >= 407,
        .schemas = v >= 405 || (v == 401 && name.family == OPUS),
        .max_tokens = most_tokens(name),
    };
}
