#include "providers/chat.h"

#include <assert.h>
#include <strings.h>

#include "proxy/base/json.h"
#include "proxy/base/strbuf.h"

/* What keys look like, wherever they stand: the first letters, and how many more there are at
 * least. */
static const struct {
    const char *prefix;
    size_t more;
} keys[] = {
    {"sk-", 4}, {"AIza", 8},  {"gsk_", 4}, {"xai-", 6},  {"pplx-", 6},
    {"hf_", 8}, {"ya29.", 8}, {"eyJ", 20}, {"org-", 12}, {"proj_", 12},
};

/* What stands before a key whose own look is unknown; in either case of letters. */
static const char *const introducers[] = {
    "bearer ",   "key provided: ", "api key: ", "api-key: ",
    "api_key: ", "api key=",       "key=",      "token=",
};

static bool is_word_char(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' ||
           c == '-';
}

static bool is_key_char(char c)
{
    return is_word_char(c) || (c != '\0' && strchr(".*+/~", c) != NULL);
}

/* The run of key characters at the start; a full stop at its end is the sentence's. */
static size_t key_run(struct span text)
{
    size_t n = 0;

    while (n < text.n && is_key_char(text.p[n]))
        n++;
    while (n > 0 && text.p[n - 1] == '.')
        n--;
    return n;
}

static size_t key_length(struct span text)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (text.p[0] == keys[i].prefix[0] && span_starts(text, keys[i].prefix)) {
            size_t n = key_run(text);

            return n >= strlen(keys[i].prefix) + keys[i].more ? n : 0;
        }
    return 0;
}

static size_t introducer_length(struct span text)
{
    for (size_t i = 0; i < ARRAY_LEN(introducers); i++) {
        size_t n;

        if ((text.p[0] | 0x20) != introducers[i][0])
            continue;
        n = strlen(introducers[i]);
        if (text.n >= n && strncasecmp(text.p, introducers[i], n) == 0)
            return n;
    }
    return 0;
}

static bool is_space(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7f;
}

/* Takes away what is left of a character that was cut. */
static size_t whole_characters(const char *out, size_t n)
{
    size_t at = n;

    while (at > 0 && n - at < 3 && ((unsigned char)out[at - 1] & 0xc0) == 0x80)
        at--;
    if (at > 0 && (unsigned char)out[at - 1] >= 0xc0) {
        unsigned char lead = (unsigned char)out[at - 1];
        size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;

        return n - (at - 1) < length ? at - 1 : n;
    }
    return n;
}

void chat_error_mask(struct span text, char *out, size_t size)
{
    struct strbuf to = strbuf_on(out, size);
    bool inside = false; /* the byte before is part of a word */
    size_t i = 0;

    assert(size > 0);
    while (text.n != 0 && is_space(text.p[text.n - 1]))
        text.n--;
    while (i < text.n && is_space(text.p[i]))
        i++;
    while (i < text.n && !to.failed) {
        struct span rest = {text.p + i, text.n - i};
        size_t intro = introducer_length(rest);
        size_t hidden = intro != 0 ? key_run((struct span){rest.p + intro, rest.n - intro})
                        : inside   ? 0
                                   : key_length(rest);

        if (hidden != 0) {
            strbuf_add_n(&to, rest.p, intro);
            strbuf_add(&to, "***");
            i += intro + hidden;
            inside = true;
        } else {
            strbuf_add_char(&to, is_space(*rest.p) ? ' ' : *rest.p);
            inside = is_word_char(*rest.p);
            i++;
        }
    }
    if (to.failed)
        out[whole_characters(out, to.len)] = '\0';
}

struct span chat_quote(struct span text, struct arena *a)
{
    struct strbuf out = strbuf_in(a, 6 * text.n + 2); /* "\u0001" is the longest escape */

    json_add_string(&out, text);
    return strbuf_span(&out);
}
