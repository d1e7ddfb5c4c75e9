/* What a join delivers is the true text, or nothing: over many texts, cut at many places, carried
 * on by models that do what they are asked, and by models that do it nearly.
 *
 * A cut is a place in a text up to which it was sent; a model makes a new answer of the whole text
 * and the cut. Cooperative ones must be joined as a rule, the others may be: none ever wrongly. */
#include "proxy/seam.h"
#include "proxy/seam_compare.h"

#include "proxy/base/mem.h"
#include "proxy/base/rng.h"
#include "providers/dialect.h"
#include "providers/anthropic_messages.h"
#include "providers/gemini.h"
#include "providers/openai_chat.h"
#include "tests/unit/corpus.h"

#define MAX_TEXT (1u << 16)
#define TEXTS    30 /* made up, of every sort */
/* About so many of a text's tokens are cut behind, and a quarter more of its characters. */
#define MADE_UP_CUTS  48
#define RECORDED_CUTS 4
#define LEAST_COMMON  80 /* characters; a shorter beginning in other words cannot be told */

static struct rng rng = {20240607};

static size_t below(size_t n)
{
    return (size_t)(rng_next(&rng) % n);
}

/* ---- the cut and what is known at it ---- */

struct cut {
    struct span text, sent, rest;
    struct span kept;   /* sent, without white space at its end */
    struct span onward; /* the text behind `kept` */
    struct span anchor;
    struct span other; /* another text */
    bool repeats;      /* the text repeats itself here: nobody could tell an echo from it */
};

static struct span from(struct span s, size_t n)
{
    return (struct span){s.p + n, s.n - n};
}

static struct span last_chars(struct span s, size_t chars)
{
    size_t all = compare_chars(s);

    return chars >= all ? s : from(s, compare_first(s, all - chars).n);
}

static struct span first_word(struct span s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] != ' ' && s.p[n] != '\n')
        n++;
    while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\n'))
        n++;
    return (struct span){s.p, n};
}

/* ---- models ---- */

typedef bool model_says(const struct cut *c, struct strbuf *out); /* false: not at this cut */

/* Where nothing is left to be said, that is only believed of a text that looks complete. */
static bool can_end(const struct cut *c)
{
    return compare_trim_start(c->rest).n > 0 || compare_may_end(c->kept);
}

static bool goes_on(const struct cut *c, struct strbuf *out)
{
    strbuf_add_span(out, c->onward);
    return can_end(c);
}

static bool goes_on_without_space(const struct cut *c, struct strbuf *out)
{
    strbuf_add_span(out, c->rest);
    return c->kept.n < c->sent.n && c->rest.n > 0 && compare_trim_start(c->rest).n == c->rest.n;
}

static bool starts_again(const struct cut *c, struct strbuf *out)
{
    strbuf_add_span(out, c->text);
    return can_end(c);
}

static bool repeats_anchor(const struct cut *c, struct strbuf *out)
{
    strbuf_add_span(out, c->anchor);
    strbuf_add_span(out, c->onward);
    return can_end(c);
}

static bool repeats_anchor_typographically(const struct cut *c, struct strbuf *out)
{
    for (size_t i = 0; i < c->anchor.n; i++) {
        if (c->anchor.p[i] == '\'')
            strbuf_add(out, "’");
        else if (c->anchor.p[i] == '"')
            strbuf_add(out, "”");
        else if (c->anchor.p[i] == '-')
            strbuf_add(out, "–");
        else if (c->anchor.p[i] == '\n')
            strbuf_add(out, "\r\n");
        else if (c->anchor.p[i] == ' ' && i % 3 == 0)
            strbuf_add(out, "\xc2\xa0");
        else
            strbuf_add_char(out, c->anchor.p[i]);
    }
    strbuf_add_span(out, c->onward);
    return can_end(c);
}

static bool says_sure_first(const struct cut *c, struct strbuf *out)
{
    strbuf_add(out, "Sure, I'll go on with it:\n\n");
    return repeats_anchor(c, out);
}

static bool repeats_more(const struct cut *c, struct strbuf *out)
{
    strbuf_add_span(out, last_chars(c->kept, compare_chars(c->anchor) + below(200)));
    strbuf_add_span(out, c->onward);
    return can_end(c);
}

static bool repeats_in_quotes(const struct cut *c, struct strbuf *out)
{
    strbuf_add(out, "\"");
    strbuf_add_span(out, c->anchor);
    strbuf_add(out, "\"");
    strbuf_add_span(out, c->onward);
    return true;
}

static bool quotes_and_leaves_space(const struct cut *c, struct strbuf *out)
{
    strbuf_add(out, "“");
    strbuf_add_span(out, c->anchor);
    strbuf_add(out, "” ");
    strbuf_add_span(out, compare_trim_start(c->onward));
    return compare_trim_start(c->rest).n == c->rest.n && c->kept.n == c->sent.n;
}

static bool fences(const struct cut *c, struct strbuf *out)
{
    strbuf_add(out, "```\n");
    strbuf_add_span(out, c->anchor);
    strbuf_add(out, "\n```\n");
    strbuf_add_span(out, compare_trim_start(c->onward));
    return true;
}

static bool quotes_it_in_passing(const struct cut *c, struct strbuf *out)
{
    strbuf_add(out, "The text ended with ");
    strbuf_add_span(out, c->anchor);
    strbuf_add(out, " so I go on: ");
    return repeats_anchor(c, out);
}

static bool begins_a_word_late(const struct cut *c, struct strbuf *out)
{
    strbuf_add_span(out, from(c->anchor, first_word(c->anchor).n));
    strbuf_add_span(out, c->onward);
    return first_word(c->anchor).n < c->anchor.n;
}

static bool says_anchor_twice(const struct cut *c, struct strbuf *out)
{
    strbuf_add_span(out, c->anchor);
    strbuf_add(out, "\n\n");
    return repeats_anchor(c, out);
}

static bool repeats_and_echoes(const struct cut *c, struct strbuf *out)
{
    strbuf_add_span(out, c->anchor);
    strbuf_add_span(out, last_chars(c->kept, 5 + below(56)));
    strbuf_add_span(out, c->onward);
    return true;
}

static bool sets_anchor_apart(const struct cut *c, struct strbuf *out)
{
    strbuf_add_span(out, c->anchor);
    strbuf_add(out, "\n\n");
    strbuf_add_span(out, compare_trim_start(c->onward));
    /* In short lines and at the ends of sentences a line break may be the text's own. */
    return c->rest.n > 0 && c->rest.p[0] == ' ' && c->rest.n > 1 && c->rest.p[1] >= 'a' &&
           c->rest.p[1] <= 'z' && compare_ends_in_word(c->kept) && c->kept.n > 120 &&
           memchr(c->kept.p + c->kept.n - 110, '\n', 110) == NULL;
}

static bool says_anchor_only(const struct cut *c, struct strbuf *out)
{
    strbuf_add_span(out, c->anchor);
    return !compare_may_end(c->kept);
}

/* Every fourth word is another one, and so is the first. */
static void paraphrase(struct span text, struct strbuf *out)
{
    static const char *const words[] = {"indeed ", "another ", "somewhat ", "matters ", "whole "};
    size_t at = 0;

    for (unsigned i = 0; at < text.n; i++) {
        struct span word = first_word(from(text, at));

        if (!compare_starts_in_word(word))
            i--;
        if (compare_starts_in_word(word) && i % 4 == 0)
            strbuf_add(out, words[i / 4 % ARRAY_LEN(words)]);
        else
            strbuf_add_span(out, word);
        at += word.n;
    }
}

static bool starts_again_in_other_words(const struct cut *c, struct strbuf *out)
{
    paraphrase(c->text, out);
    if (c->anchor.n > 0 && memmem(out->buf, out->len, c->anchor.p, c->anchor.n) != NULL)
        return false; /* what is said behind it goes on there, in words of its own */
    return compare_chars(c->kept) >= LEAST_COMMON && memchr(c->kept.p, ' ', 40) != NULL;
}

static bool repeats_anchor_in_other_words(const struct cut *c, struct strbuf *out)
{
    paraphrase(c->anchor, out);
    strbuf_add_span(out, c->onward);
    return true;
}

static bool echoes(const struct cut *c, struct strbuf *out)
{
    strbuf_add_span(out, last_chars(c->kept, 5 + below(56)));
    strbuf_add_span(out, c->onward);
    return true;
}

/* With one character replaced, outside of what is cut to pieces by it. */
static void changed(struct span text, size_t first, size_t last, struct strbuf *out)
{
    size_t at = first + below(last - first), n;

    while (at > 0 && ((unsigned char)text.p[at] & 0xc0) == 0x80)
        at--;
    n = compare_first(from(text, at), 1).n;
    strbuf_add_n(out, text.p, at);
    strbuf_add(out, text.p[at] == 'x' ? "y" : "x");
    strbuf_add_span(out, from(text, at + n));
}

static bool starts_again_with_a_change_before(const struct cut *c, struct strbuf *out)
{
    if (compare_chars(c->kept) < 12)
        return false;
    changed(c->text, 0, c->kept.n, out);
    return true;
}

static bool starts_again_with_a_change_behind(const struct cut *c, struct strbuf *out)
{
    if (c->rest.n == 0)
        return false;
    changed(c->text, c->sent.n, c->text.n, out);
    return true;
}

static bool starts_again_after_a_word(const struct cut *c, struct strbuf *out)
{
    strbuf_add(out, "Sure! Here it is: ");
    strbuf_add_span(out, c->text);
    return compare_chars(c->kept) >= LEAST_COMMON;
}

static bool starts_again_and_stops(const struct cut *c, struct strbuf *out)
{
    strbuf_add_n(out, c->text.p, compare_first(c->kept, compare_chars(c->kept) - 1).n);
    return compare_chars(c->kept) > 12;
}

static bool says_nothing(const struct cut *c, struct strbuf *out)
{
    (void)out;
    return !compare_may_end(c->kept); /* else it is believed */
}

static bool says_something_else(const struct cut *c, struct strbuf *out)
{
    strbuf_add_span(out, c->other);
    return c->other.p != c->text.p;
}

enum manner { DOES_IT, NEARLY, FROM_THE_START, MANNERS };

static const struct model {
    const char *name;
    enum seam_way way;
    enum manner manner; /* FROM_THE_START: what is delivered may also be its whole answer */
    model_says *says;
} models[] = {
    {"prefill: goes on", SEAM_PREFILL, DOES_IT, goes_on},
    {"prefill: goes on, no space", SEAM_PREFILL, DOES_IT, goes_on_without_space},
    {"turn: repeats", SEAM_TURN, DOES_IT, repeats_anchor},
    {"turn: typographic", SEAM_TURN, DOES_IT, repeats_anchor_typographically},
    {"turn: preamble", SEAM_TURN, DOES_IT, says_sure_first},
    {"turn: repeats more", SEAM_TURN, DOES_IT, repeats_more},
    {"turn: starts again", SEAM_TURN, DOES_IT, starts_again},
    {"align: starts again", SEAM_ALIGN, DOES_IT, starts_again},
    {"prefill: starts again", SEAM_PREFILL, NEARLY, starts_again},
    {"prefill: in other words", SEAM_PREFILL, NEARLY, starts_again_in_other_words},
    {"prefill: after a word", SEAM_PREFILL, NEARLY, starts_again_after_a_word},
    {"prefill: change before", SEAM_PREFILL, NEARLY, starts_again_with_a_change_before},
    {"prefill: change behind", SEAM_PREFILL, FROM_THE_START, starts_again_with_a_change_behind},
    {"prefill: again and stops", SEAM_PREFILL, NEARLY, starts_again_and_stops},
    {"prefill: echoes", SEAM_PREFILL, NEARLY, echoes},
    {"prefill: says nothing", SEAM_PREFILL, NEARLY, says_nothing},
    {"turn: in quotes", SEAM_TURN, NEARLY, repeats_in_quotes},
    {"turn: quotes, space", SEAM_TURN, NEARLY, quotes_and_leaves_space},
    {"turn: fences", SEAM_TURN, NEARLY, fences},
    {"turn: in passing", SEAM_TURN, NEARLY, quotes_it_in_passing},
    {"turn: word late", SEAM_TURN, NEARLY, begins_a_word_late},
    {"turn: twice", SEAM_TURN, NEARLY, says_anchor_twice},
    {"turn: echoes", SEAM_TURN, NEARLY, repeats_and_echoes},
    {"turn: sets apart", SEAM_TURN, NEARLY, sets_anchor_apart},
    {"turn: anchor only", SEAM_TURN, NEARLY, says_anchor_only},
    {"turn: other anchor", SEAM_TURN, NEARLY, repeats_anchor_in_other_words},
    {"turn: in other words", SEAM_TURN, NEARLY, starts_again_in_other_words},
    {"turn: change before", SEAM_TURN, NEARLY, starts_again_with_a_change_before},
    {"turn: change behind", SEAM_TURN, FROM_THE_START, starts_again_with_a_change_behind},
    {"turn: says nothing", SEAM_TURN, NEARLY, says_nothing},
    {"turn: something else", SEAM_TURN, FROM_THE_START, says_something_else},
    {"align: change before", SEAM_ALIGN, NEARLY, starts_again_with_a_change_before},
    {"align: change behind", SEAM_ALIGN, FROM_THE_START, starts_again_with_a_change_behind},
    {"align: again and stops", SEAM_ALIGN, NEARLY, starts_again_and_stops},
    {"align: says nothing", SEAM_ALIGN, NEARLY, says_nothing},
    {"align: something else", SEAM_ALIGN, FROM_THE_START, says_something_else},
};

/* ---- one join ---- */

static struct {
    size_t cuts, joined[MANNERS], refused[MANNERS];
    size_t repeated; /* refused where the text repeats itself */
    size_t wrong;
} tally;

static bool is_whole(struct span s)
{
    return compare_whole(s) == s.n && (s.n == 0 || ((unsigned char)s.p[0] & 0xc0) != 0x80);
}

/* Feeds the answer in pieces of up to `most` bytes. Whatever comes out is whole characters. */
static enum seam_verdict join(enum seam_way way, const struct seam_text *t, struct span answer,
                              size_t most, struct strbuf *out)
{
    struct arena a;
    struct seam_join j;
    enum seam_verdict said;

    arena_init(&a);
    seam_join_init(&j, way, t, &a);
    while (answer.n > 0) {
        size_t n = most < answer.n ? 1 + below(most) : answer.n, before = out->len;

        said = seam_join_text(&j, (struct span){answer.p, n}, out);
        answer = from(answer, n);
        CHECK(is_whole(from(strbuf_span(out), before)));
        CHECK(said == SEAM_LIVE || out->len == 0);
    }
    said = seam_join_end(&j, out);
    CHECK(said == SEAM_LIVE || (said == SEAM_WRONG && out->len == 0));
    arena_release(&a);
    return said;
}

static void judge(const struct model *m, const struct cut *c, const struct seam_text *t)
{
    static struct strbuf answer, out, again;
    enum seam_verdict said;
    bool right;

    answer.max = out.max = again.max = 4 * MAX_TEXT;
    strbuf_clear(&answer);
    strbuf_clear(&out);
    strbuf_clear(&again);
    if (!m->says(c, &answer))
        return;
    said = join(m->way, t, strbuf_span(&answer), 1 + below(60), &out);
    if (below(4) == 0) {
        CHECK_INT(join(m->way, t, strbuf_span(&answer), answer.len, &again), said);
        CHECK(span_eq(strbuf_span(&out), strbuf_span(&again)));
    }

    right = span_eq(strbuf_span(&out), c->rest);
    if (m->manner == FROM_THE_START && answer.len == c->sent.n + out.len)
        right = memcmp(answer.buf, c->sent.p, c->sent.n) == 0 &&
                memcmp(answer.buf + c->sent.n, out.buf, out.len) == 0;
    tally.joined[m->manner] += said == SEAM_LIVE && right;
    tally.refused[m->manner] += said == SEAM_WRONG && !c->repeats;
    tally.repeated += said == SEAM_WRONG && c->repeats;
    tally.wrong += said == SEAM_LIVE && !right;
    if (said == SEAM_LIVE && !right)
        printf("%s: sent \"%.*s\", new \"%.*s\", delivered \"%.*s\"\n", m->name,
               SPAN_ARG(last_chars(c->sent, 150)),
               SPAN_ARG(compare_first(strbuf_span(&answer), 300)),
               SPAN_ARG(compare_first(strbuf_span(&out), 100)));
}

static void try_cut(struct span text, size_t at, struct span other)
{
    static const struct seam_rules rules = {.mode = SEAM_CONTINUE};
    struct cut c = {.text = text, .sent = {text.p, at}, .rest = from(text, at), .other = other};
    struct seam_text t;
    struct seam_request request;
    struct arena a;
    unsigned ways;

    arena_init(&a);
    seam_text_init(&t, MAX_TEXT);
    seam_note(&t, &(struct chat_event){.kind = CHAT_TEXT, .text = chat_quote(c.sent, &a)});
    CHECK(span_eq(strbuf_span(&t.text), c.sent));
    ways = seam_ways(&t, &rules);
    c.kept = compare_trim_end(c.sent);
    c.onward = from(text, c.kept.n);
    c.repeats = compare_repeats(c.kept);
    for (size_t k = 5; k <= c.kept.n && k <= c.onward.n; k++)
        c.repeats |= memcmp(c.kept.p + c.kept.n - k, c.onward.p, k) == 0;
    if (ways & SEAM_BIT(SEAM_TURN)) {
        seam_request(&t, SEAM_TURN, &a, &request);
        c.anchor = compare_trim_start(c.kept);
        c.anchor =
            from(request.user, (size_t)(span_find(request.user, "\n\n") + 2 - request.user.p));
        CHECK(c.anchor.n <= c.kept.n && span_eq(from(c.kept, c.kept.n - c.anchor.n), c.anchor));
    }
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        if (ways & SEAM_BIT(models[i].way) && below(6) == 0)
            judge(&models[i], &c, &t);
    tally.cuts++;
    seam_text_release(&t);
    arena_release(&a);
}

/* At all the places given, or at some of them where they are many, and at random characters. */
static void try_text(struct span text, const size_t *ends, size_t n, size_t some_cuts,
                     struct span other)
{
    for (size_t i = 0; i < n; i++)
        if (n <= some_cuts || below(n) < some_cuts)
            try_cut(text, ends[i], other);
    for (size_t i = 0; i < some_cuts / 4; i++)
        try_cut(text, compare_first(text, 1 + below(compare_chars(text))).n, other);
}

/* ---- texts that are made up ---- */

static const char *some(const char *const *words, size_t n)
{
    return words[below(n)];
}

#define SOME(words) some(words, ARRAY_LEN(words))

static const char *const words[] = {
    "the",       "of",      "and",        "to",      "a",         "in",      "that",     "is",
    "river",     "engine",  "because",    "it's",    "water",     "small",   "network",  "packet",
    "don't",     "light",   "answer",     "between", "therefore", "old",     "timeout",  "garden",
    "quickly",   "however", "measure",    "history", "request",   "server",  "although", "morning",
    "naïve",     "café",    "value",      "chapter", "question",  "machine", "winter",   "letters",
    "carefully", "road",    "second",     "colour",  "number",    "point",   "whether",  "village",
    "signal",    "paper",   "question's", "three",   "seventeen", "begin",   "without",  "surface"};

static void make_prose(struct strbuf *s)
{
    for (size_t sentences = 4 + below(20); sentences > 0; sentences--) {
        const char *word = SOME(words), *last = word;

        strbuf_addf(s, "%c%s", word[0] & ~0x20, word + 1);
        for (size_t n = 4 + below(14); n > 0; n--) {
            while ((word = SOME(words)) == last)
                ;
            strbuf_addf(s, "%s%s", below(9) == 0 ? ", " : below(25) == 0 ? " — " : " ", word);
            last = word;
        }
        strbuf_add(s, below(6) == 0 ? ".\n\n" : below(5) == 0 ? "? " : ". ");
    }
}

static void add_name(struct strbuf *s)
{
    static const char *const parts[] = {"count", "buf",   "next", "node", "user_id",
                                        "total", "is",    "find", "set",  "key",
                                        "Item",  "cache", "row",  "parse"};

    strbuf_add(s, SOME(parts));
    if (below(2) == 0)
        strbuf_addf(s, "_%s", SOME(parts));
    if (below(4) == 0)
        strbuf_addf(s, "%zu", below(30));
}

static void add_call(struct strbuf *s)
{
    add_name(s);
    strbuf_add(s, below(3) ? "(" : ".get(");
    add_name(s);
    strbuf_addf(s, below(3) ? ")" : ", %zu)", below(100));
}

static void make_code(struct strbuf *s)
{
    strbuf_addf(s, "Here is the %s:\n\n```python\n", SOME(words));
    for (size_t functions = 2 + below(4); functions > 0; functions--) {
        strbuf_add(s, "def ");
        add_call(s);
        strbuf_add(s, ":\n");
        for (size_t lines = 3 + below(8); lines > 0; lines--) {
            if (below(4) == 0) {
                strbuf_add(s, "    if ");
                add_call(s);
                strbuf_addf(s, " == \"%s\":\r\n    ", SOME(words));
            }
            strbuf_add(s, "    ");
            add_name(s);
            strbuf_add(s, below(3) ? " = " : " += ");
            add_call(s);
            strbuf_add(s, "\n");
        }
        strbuf_add(s, "    return ");
        add_name(s);
        strbuf_add(s, "\n\n\n");
    }
    strbuf_add(s, "```\n");
}

static void make_table(struct strbuf *s)
{
    strbuf_addf(s, "The %s of the %s:\n\n| name | %s | %s |\n|------|-----|-----|\n", SOME(words),
                SOME(words), SOME(words), SOME(words));
    for (size_t rows = 5 + below(12); rows > 0; rows--)
        strbuf_addf(s, "| %s %s | %zu | %s |\n", SOME(words), SOME(words), below(1000),
                    below(3) ? "yes" : "no");
    strbuf_add(s, "\n");
    make_prose(s);
}

static void make_cjk(struct strbuf *s)
{
    static const char *const others[] = {"です",      "テスト", "그리고", "😀",    "👩‍🔬",
                                         "e\xcc\x81", "مرحبا",  "שלום",   " PDF "};

    for (size_t sentences = 4 + below(10); sentences > 0; sentences--) {
        for (size_t n = 4 + below(16); n > 0; n--) {
            unsigned c = 0x4e00 + (unsigned)below(2500);

            if (below(8) == 0)
                strbuf_add(s, SOME(others));
            else
                strbuf_addf(s, "%c%c%c", 0xe0 | c >> 12, 0x80 | (c >> 6 & 0x3f), 0x80 | (c & 0x3f));
            if (below(12) == 0)
                strbuf_add(s, "，");
        }
        strbuf_add(s, below(4) == 0 ? "。\n" : "。");
    }
}

static void make_lines(struct strbuf *s)
{
    struct strbuf line = strbuf_heap(1000);

    for (size_t n = 1 + below(14); n > 0; n--)
        strbuf_addf(&line, "%s ", SOME(words));
    strbuf_add(&line, below(2) ? "\n" : "| --- |\n");
    for (size_t n = 3 + below(20); n > 0; n--) {
        strbuf_add_span(s, strbuf_span(&line));
        if (below(8) == 0)
            strbuf_addf(s, "%s----------ha ha ha ha\n", SOME(words));
    }
    strbuf_release(&line);
}

/* Tokens as models have them: a word with the space before it, or a mark. */
static size_t token_ends(struct span text, size_t *ends, size_t max)
{
    size_t n = 0;

    for (size_t at = 1; at < text.n && n < max; at++)
        if (((unsigned char)text.p[at] & 0xc0) != 0x80 && strchr(" \n.,|()-", text.p[at]) != NULL)
            ends[n++] = at;
    return n;
}

static void try_made_up(void (*make)(struct strbuf *))
{
    static size_t ends[MAX_TEXT];
    struct strbuf text = strbuf_heap(MAX_TEXT), last = strbuf_heap(MAX_TEXT);

    make(&last);
    for (size_t i = 0; i < TEXTS; i++) {
        struct strbuf old = last;

        strbuf_clear(&text);
        make(&text);
        try_text(strbuf_span(&text), ends, token_ends(strbuf_span(&text), ends, MAX_TEXT),
                 MADE_UP_CUTS, strbuf_span(&last));
        last = text;
        text = old;
    }
    strbuf_release(&text);
    strbuf_release(&last);
}

/* ---- recorded texts ---- */

struct streamed {
    struct strbuf text;
    size_t ends[MAX_TEXT], n;
};

static void on_event(void *ctx, const struct chat_event *ev)
{
    struct streamed *s = ctx;

    if (ev->kind != CHAT_TEXT || ev->choice != 0 || s->n == MAX_TEXT)
        return;
    json_add_text(&s->text, ev->text);
    if (s->text.len > 0)
        s->ends[s->n++] = s->text.len;
}

static const struct dialect *dialect; /* of the recordings being visited */

static void visit(const struct recording *rec)
{
    static struct streamed s;
    static struct span other = {"Nothing of this was ever asked, and nobody has said it.", 55};
    struct chat_watch watch = {0};
    struct sse sse;
    struct sse_event ev;

    s.n = 0;
    s.text = strbuf_heap(MAX_TEXT);
    if (rec->status == 200 && rec->stream) {
        sse_init(&sse, 1 << 22);
        CHECK_INT(sse_feed(&sse, rec->body), 0);
        while (sse_next(&sse, &ev))
            dialect->read_event(&ev, &watch, on_event, &s);
        sse_release(&sse);
    } else if (rec->status == 200) {
        dialect->read_answer(rec->body, &watch, on_event, &s);
        s.n = token_ends(strbuf_span(&s.text), s.ends, MAX_TEXT);
    }
    if (compare_chars(strbuf_span(&s.text)) > 0 && !s.text.failed && is_whole(strbuf_span(&s.text)))
        try_text(strbuf_span(&s.text), s.ends, s.n, RECORDED_CUTS, other);
    strbuf_release(&s.text);
}

/* No wrong texts, and those who did what they were asked were joined in 99.5 % of the cases, unless
 * the texts are made of repetitions: `least` per mille. */
static void tell(const char *texts, size_t least)
{
    size_t done = tally.joined[DOES_IT], all = done + tally.refused[DOES_IT];

    printf("seam, %s: %zu cuts; asked and done: %zu joined, %zu refused; nearly done: %zu joined, "
           "%zu refused; %zu refused in repetitions; %zu wrong texts\n",
           texts, tally.cuts, done, all - done, tally.joined[NEARLY] + tally.joined[FROM_THE_START],
           tally.refused[NEARLY] + tally.refused[FROM_THE_START], tally.repeated, tally.wrong);
    CHECK_INT(tally.wrong, 0);
    CHECK(1000 * done >= least * all);
    memset(&tally, 0, sizeof(tally));
}

TEST(prose_code_tables_and_other_scripts_are_joined_or_refused)
{
    try_made_up(make_prose);
    try_made_up(make_code);
    try_made_up(make_table);
    try_made_up(make_cjk);
    tell("made up", 995);
}

TEST(repeated_lines_are_joined_or_refused)
{
    try_made_up(make_lines);
    tell("repeated lines", 0);
}

TEST(recorded_answers_are_joined_or_refused)
{
    dialect = &dialect_openai_chat;
    each_recording("openai.chat", visit);
    dialect = &dialect_anthropic_messages;
    each_recording("anthropic.messages", visit);
    dialect = &dialect_gemini;
    each_recording("gemini.generateContent", visit);
    tell("recorded", 995);
}

TEST_MAIN()
