#include "proxy/seam.h"

#include <assert.h>
#include <string.h>

#include "proxy/base/json.h"
#include "proxy/seam_compare.h"

/* In characters. */
#define LOOK         160                 /* of a beginning are compared */
#define SEEN         COMPARE_REACH(LOOK) /* of the new text, before it goes out */
#define FIND         400                 /* of it in which the anchor begins */
#define ANCHOR_SHORT 12
#define ANCHOR       40
#define ANCHOR_LONG  120
#define RESTART      64
#define RESTART_LONG 400 /* a whole text of this length is not said twice on purpose */
#define CHANCE       5   /* an echo that is shorter is none */
#define ECHO         12  /* one that is shorter is never cut */
#define LONG_LINE    100

#define SLICE (1u << 10) /* bytes looked at together */
#define SLACK (8u << 10) /* bytes held beyond what may come again */

static const char ask[] =
    "Your last message was cut off. Repeat the following end of it exactly as it stands, and then "
    "go on with the message directly behind it, with nothing before it, between or around:\n\n";

/* ---- what was sent ---- */

void seam_text_init(struct seam_text *t, size_t max_bytes)
{
    *t = (struct seam_text){.text = strbuf_heap(max_bytes)};
}

void seam_text_release(struct seam_text *t)
{
    strbuf_release(&t->text);
    *t = (struct seam_text){.text = t->text};
}

static void note_text(struct seam_text *t, struct span raw)
{
    if (t->lost)
        return;
    t->lost = !json_add_text(&t->text, raw) || t->text.failed;
    if (t->lost)
        strbuf_release(&t->text);
}

void seam_note(struct seam_text *t, const struct chat_event *ev)
{
    switch (ev->kind) {
    case CHAT_TEXT:
        if (ev->choice == 0)
            note_text(t, ev->text);
        break;
    case CHAT_REASONING:
        t->reasoning = true;
        break;
    case CHAT_REFUSAL:
        t->refusal = true;
        break;
    case CHAT_TOOL_START:
    case CHAT_TOOL_ARGS:
        t->tool = true;
        break;
    case CHAT_SIGNATURE:
        t->signature = true;
        break;
    case CHAT_STOP:
        t->stopped = true;
        break;
    case CHAT_START:
    case CHAT_VECTOR:
    case CHAT_USAGE:
    case CHAT_END:
        return;
    }
    t->choices |= ev->choice > 0;
}

/* ---- the ways ---- */

static struct span trimmed(const struct seam_text *t)
{
    return compare_trim_end(strbuf_span(&t->text));
}

static struct span anchor_of(struct span kept)
{
    struct span whole = compare_trim_start(kept);
    size_t chars = compare_chars(whole);

    if (chars < ANCHOR_SHORT || compare_repeats(whole))
        return (struct span){0};
    return compare_anchor(whole, chars < ANCHOR ? chars : ANCHOR, ANCHOR_LONG);
}

unsigned seam_ways(const struct seam_text *t, const struct seam_rules *rules)
{
    struct span sent = strbuf_span(&t->text), kept = trimmed(t);
    size_t chars = compare_chars(sent);
    unsigned ways = 0;

    if (rules->mode == SEAM_ERROR || t->lost || t->tool || t->signature || t->refusal ||
        t->stopped || t->choices || rules->choices > 1 || rules->logprobs || rules->audio)
        return 0;
    if (chars <= SEAM_ALIGN_CHARS || rules->mode == SEAM_CONTINUE)
        ways |= SEAM_BIT(SEAM_ALIGN);
    if (kept.n == 0 || chars > SEAM_CARRY_CHARS || rules->structured ||
        (rules->tools && rules->mode != SEAM_CONTINUE) || t->call)
        return ways;
    ways |= SEAM_BIT(SEAM_PREFILL);
    if (anchor_of(kept).p != NULL)
        ways |= SEAM_BIT(SEAM_TURN);
    return ways;
}

void seam_request(const struct seam_text *t, enum seam_way way, struct arena *a,
                  struct seam_request *out)
{
    *out = (struct seam_request){0};
    if (way == SEAM_ALIGN)
        return;
    out->assistant = trimmed(t);
    if (way == SEAM_TURN) {
        struct span anchor = anchor_of(out->assistant);
        struct strbuf user = strbuf_in(a, sizeof(ask) + anchor.n);

        assert(anchor.p != NULL);
        strbuf_add(&user, ask);
        strbuf_add_span(&user, anchor);
        out->user = strbuf_span(&user);
    }
}

/* ---- the join ---- */

void seam_join_init(struct seam_join *j, enum seam_way way, const struct seam_text *t,
                    struct arena *a)
{
    struct span sent = strbuf_span(&t->text), kept = trimmed(t);

    assert(way < SEAM_WAYS && !t->lost && (way == SEAM_ALIGN || kept.n > 0));
    *j = (struct seam_join){
        .way = way,
        .sent = sent,
        .kept = kept.n,
        .reasoning = t->reasoning,
        .held = strbuf_in(a, kept.n + SLACK),
    };
    if (way == SEAM_TURN) {
        j->anchor = anchor_of(kept);
        assert(j->anchor.p != NULL);
    }
}

static struct span behind(struct span text, size_t n)
{
    return (struct span){text.p + n, text.n - n};
}

static bool begins_with(struct span text, struct span start)
{
    return text.n >= start.n && (start.n == 0 || memcmp(text.p, start.p, start.n) == 0);
}

static struct span kept_of(const struct seam_join *j)
{
    return (struct span){j->sent.p, j->kept};
}

static struct span trimmed_off(const struct seam_join *j)
{
    return behind(j->sent, j->kept);
}

static enum seam_verdict say(struct seam_join *j, enum seam_verdict verdict)
{
    j->said = verdict;
    return verdict;
}

/* Passes on all that is held and the piece, but for the part of a character at the end. */
static enum seam_verdict pass(struct seam_join *j, struct span piece, struct strbuf *out)
{
    size_t whole;

    strbuf_add_span(&j->held, piece);
    whole = compare_whole(strbuf_span(&j->held));
    strbuf_add_n(out, j->held.buf, whole);
    strbuf_drop_front(&j->held, whole);
    return say(j, SEAM_LIVE);
}

/* ---- ALIGN ---- */

static enum seam_verdict align(struct seam_join *j, struct span piece, struct strbuf *out)
{
    struct span left = behind(j->sent, j->aligned);
    size_t n = piece.n < left.n ? piece.n : left.n;

    if (n > 0 && memcmp(piece.p, left.p, n) != 0)
        return say(j, SEAM_WRONG);
    j->aligned += n;
    if (j->aligned < j->sent.n)
        return say(j, SEAM_HOLD);
    return pass(j, behind(piece, n), out);
}

/* What is held is the answer from its beginning. */
static enum seam_verdict restart(struct seam_join *j, struct strbuf *out)
{
    struct strbuf held = j->held;

    j->way = SEAM_ALIGN;
    j->held = strbuf_in(held.arena, held.max);
    return align(j, strbuf_span(&held), out);
}

/* ---- what the new text looks like where it is to go on ---- */

enum look { LOOK_ON, LOOKS_WELL, LOOKS_LIKE_RESTART, LOOKS_LIKE_ECHO, LOOKS_WRONG };

/* Is the new text all that came again of T's end, as far as both go? */
static bool repeats_from(const struct span kept, size_t from, struct span now)
{
    size_t n = kept.n - from < now.n ? kept.n - from : now.n;

    return memcmp(kept.p + from, now.p, n) == 0;
}

/* Text may be repeated on purpose, but then hardly in the middle of a word. */
static bool seam_in_word(const struct seam_join *j, struct span now)
{
    return trimmed_off(j).n == 0 && compare_ends_in_word(kept_of(j)) && compare_starts_in_word(now);
}

static bool stands_once(struct span text, struct span part)
{
    const char *first = memmem(text.p, text.n, part.p, part.n);

    return first != NULL &&
           memmem(first + 1, text.n - (size_t)(first + 1 - text.p), part.p, part.n) == NULL;
}

/* Does `text` begin with an end of T that begins behind `at` and has so many characters? */
static bool ends_again(struct span kept, size_t at, struct span text, size_t least)
{
    while (++at < kept.n)
        if (kept.n - at <= text.n && repeats_from(kept, at, text) &&
            compare_chars(behind(kept, at)) >= least)
            return true;
    return false;
}

static enum look look_at_restart(const struct seam_join *j, struct span now, struct span whole)
{
    struct span opening = compare_first(whole, RESTART), text = compare_trim_start(now);

    if (compare_chars(whole) < ECHO || !stands_once(whole, opening) ||
        ends_again(whole, 0, text, CHANCE))
        return LOOKS_WRONG;
    if (compare_chars(whole) < RESTART_LONG && !seam_in_word(j, now))
        return LOOKS_WRONG;
    return LOOKS_LIKE_RESTART;
}

/* `now` begins with T's end from j->echo on, and perhaps with the white space before that. */
static enum look look_at_echo(const struct seam_join *j, struct span now)
{
    struct span kept = kept_of(j), echo = behind(kept, j->echo), text = compare_trim_start(now);
    size_t space = now.n - text.n;

    if (space > j->echo || !begins_with(now, behind(kept, j->echo - space)))
        space = 0;
    if (compare_chars(behind(kept, j->echo - space)) < CHANCE)
        return LOOKS_WELL;
    if (compare_chars(echo) < ECHO || !seam_in_word(j, now) || !stands_once(kept, echo) ||
        kept.p[j->echo - 1] == kept.p[j->kept - 1] || ends_again(kept, j->echo, text, CHANCE))
        return LOOKS_WRONG;
    return LOOKS_LIKE_ECHO;
}

/* `now` is the new text from where it is to go on; `over` says that there is no more of it. */
static enum look look_at(struct seam_join *j, struct span now, bool over)
{
    struct span kept = kept_of(j), whole = compare_trim_start(kept), text = compare_trim_start(now);
    size_t start = kept.n - whole.n, chars = compare_chars(text), few;
    enum look look;

    if (text.n == 0)
        return over ? LOOKS_WELL : LOOK_ON;
    /* The longest end of T that the new text may be repeating: it only ever gets shorter. */
    if (j->echo < start)
        j->echo = start;
    while (j->echo < kept.n && !repeats_from(kept, j->echo, text))
        j->echo++;
    if (j->echo == start && (text.n >= whole.n || chars >= (over ? ECHO : RESTART)))
        return look_at_restart(j, now, whole);
    if (kept.n - j->echo > text.n && !over)
        return LOOK_ON;
    while (kept.n - j->echo > text.n || !repeats_from(kept, j->echo, text))
        j->echo++;
    if (j->echo < kept.n && (look = look_at_echo(j, now)) != LOOKS_WELL)
        return look;
    few = compare_chars(compare_first(whole, LOOK));
    if (chars < (j->way == SEAM_TURN ? SEEN : COMPARE_REACH(few)) && !over)
        return LOOK_ON;
    /* Behind an anchor nobody begins anew in other words. */
    if (compare_nearly_equal(whole, text, few) ||
        (j->way == SEAM_PREFILL && compare_in_other_words(whole, text, few)))
        return LOOKS_WRONG;
    return LOOKS_WELL;
}

/* ---- PREFILL ---- */

/* What is held, without the part of a character at its end. */
static struct span held_of(const struct seam_join *j)
{
    struct span held = strbuf_span(&j->held);

    return (struct span){held.p, compare_whole(held)};
}

/* All that is held goes out, without its first n bytes. */
static enum seam_verdict go_on(struct seam_join *j, size_t n, bool over, struct strbuf *out)
{
    struct span now = behind(held_of(j), n);

    if (over && compare_trim_start(now).n == 0 && !compare_may_end(kept_of(j)))
        return say(j, SEAM_WRONG);
    strbuf_drop_front(&j->held, n);
    return pass(j, (struct span){0}, out);
}

static enum seam_verdict prefill(struct seam_join *j, bool over, struct strbuf *out)
{
    struct span now = held_of(j), off = trimmed_off(j);
    size_t space = now.n - compare_trim_start(now).n;

    switch (look_at(j, now, over)) {
    case LOOK_ON:
        return say(j, SEAM_HOLD);
    case LOOKS_LIKE_RESTART:
        return restart(j, out);
    case LOOKS_LIKE_ECHO:
        return go_on(j, j->kept - j->echo, over, out);
    case LOOKS_WRONG:
        return say(j, SEAM_WRONG);
    case LOOKS_WELL:
        break;
    }
    if (begins_with(now, off))
        return go_on(j, off.n, over, out);
    if (space == 0 || (space == now.n && begins_with(off, now)))
        return go_on(j, space, over, out);
    return say(j, SEAM_WRONG);
}

/* ---- TURN ---- */

static const struct mark {
    const char *open, *close; /* close NULL: what it opens has no end that we could cut */
} marks[] = {
    {"\"", "\""}, {"'", "'"},   {"`", "`"},   {"*", "*"},   {"_", "_"},   {"~", "~"},
    {"|", "|"},   {"(", ")"},   {"[", "]"},   {"{", "}"},   {"<", ">"},   {">", NULL},
    {"“", "”"},   {"„", "“"},   {"‘", "’"},   {"‚", "‘"},   {"«", "»"},   {"»", "«"},
    {"「", "」"}, {"『", "』"}, {"《", "》"}, {"【", "】"}, {"（", "）"},
};

static const struct mark *mark_at(struct span text)
{
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (span_starts(text, marks[i].open))
            return &marks[i];
    return NULL;
}

/* The first mark of a preamble; an apostrophe is none. */
static struct span first_mark(struct span text)
{
    for (struct span rest = text; rest.n > 0; rest = behind(rest, 1)) {
        struct span before = {text.p, (size_t)(rest.p - text.p)};

        if (mark_at(rest) != NULL && !(compare_ends_in_word(before) &&
                                       compare_starts_in_word(behind(rest, 1)) && *rest.p == '\''))
            return rest;
    }
    return (struct span){0};
}

/* Does a part of `text` stand in `other`? */
static bool shares_part(struct span text, struct span other)
{
    for (; text.n >= ECHO; text = behind(text, 1))
        if (memmem(other.p, other.n, text.p, ECHO) != NULL)
            return true;
    return false;
}

/* Takes off `rest`, what stands behind the anchor, the marks that close those that stand before it.
 * LOOKS_WELL: there were none, and nothing else is around it. LOOKS_LIKE_ECHO: they are taken off.
 */
static enum look unquote(const struct seam_join *j, struct span before, struct span *rest)
{
    struct span earlier = {j->sent.p, (size_t)(j->anchor.p - j->sent.p)};
    struct span lead = compare_trim_start(before), opened = first_mark(lead), close;
    const struct mark *mark = opened.n > 0 ? mark_at(opened) : NULL;
    bool begun_earlier =
        lead.n <= earlier.n && begins_with(behind(earlier, earlier.n - lead.n), lead);

    if (!begun_earlier && shares_part(lead, j->anchor))
        return LOOKS_WRONG; /* it was repeated before, though not exactly */
    if (mark == NULL || (begun_earlier && opened.n < lead.n))
        return LOOKS_WELL;
    if (mark->close == NULL)
        return begun_earlier ? LOOKS_WELL : LOOKS_WRONG;
    close = span_of(mark->close);
    for (; opened.n > 0; opened = behind(opened, strlen(mark->open))) {
        if (rest->n < close.n && begins_with(close, *rest))
            return LOOK_ON;
        if (begun_earlier) /* a mark of T, or one around the anchor? */
            return begins_with(compare_trim_start(*rest), close) ? LOOKS_WRONG : LOOKS_WELL;
        if (!span_starts(opened, mark->open) || !begins_with(*rest, close))
            return LOOKS_WRONG;
        *rest = behind(*rest, close.n);
    }
    return LOOKS_LIKE_ECHO;
}

/* Has the model set the anchor apart as if it were a quotation, where a sentence goes on? */
static bool set_apart(struct span kept, struct span rest)
{
    struct span text = compare_trim_start(rest);
    const char *line = memrchr(kept.p, '\n', kept.n);
    char last = kept.p[kept.n - 1];

    if ((!compare_ends_in_word(kept) && last != ',') || text.n == 0 || *text.p < 'a' ||
        *text.p > 'z' || memchr(rest.p, '\n', rest.n - text.n) == NULL)
        return false;
    return kept.n - (line != NULL ? (size_t)(line + 1 - kept.p) : 0) > LONG_LINE;
}

static enum seam_verdict turn(struct seam_join *j, bool over, struct strbuf *out)
{
    struct span now = held_of(j), off = trimmed_off(j), at, before, rest, space;
    struct span opening = compare_first(kept_of(j), RESTART);
    enum look around;

    if (compare_chars(opening) == RESTART && begins_with(now, opening) &&
        stands_once(kept_of(j), opening) && !ends_again(kept_of(j), 0, now, ECHO))
        return restart(j, out);
    at = compare_find(behind(now, j->searched), j->anchor);
    j->searched = at.p != NULL ? (size_t)(at.p - now.p) : now.n;
    before = (struct span){now.p, j->searched};
    if (compare_chars(before) > FIND || (over && at.n == 0))
        return say(j, SEAM_WRONG);
    if (at.n == 0)
        return say(j, SEAM_HOLD);
    /* Or has it begun behind the anchor's beginning, in a text that repeats itself? */
    if (ends_again(kept_of(j), (size_t)(j->anchor.p - j->sent.p), compare_trim_start(now), ECHO))
        return say(j, SEAM_WRONG);
    rest = behind(now, (size_t)(at.p + at.n - now.p));
    around = unquote(j, before, &rest);
    if (around == LOOK_ON && !over)
        return say(j, SEAM_HOLD);
    if (around != LOOKS_WELL && around != LOOKS_LIKE_ECHO)
        return say(j, SEAM_WRONG);

    switch (look_at(j, rest, over)) {
    case LOOK_ON:
        return say(j, SEAM_HOLD);
    case LOOKS_WELL:
        break;
    case LOOKS_LIKE_RESTART:
    case LOOKS_LIKE_ECHO:
    case LOOKS_WRONG:
        return say(j, SEAM_WRONG);
    }
    space = (struct span){rest.p, rest.n - compare_trim_start(rest).n};
    if (space.n == rest.n && begins_with(off, space))
        return go_on(j, now.n, over, out);
    if (!begins_with(space, off) || (around == LOOKS_LIKE_ECHO && space.n > off.n) ||
        (off.n == 0 && set_apart(kept_of(j), rest)) ||
        compare_find(compare_first(rest, SEEN), j->anchor).n > 0)
        return say(j, SEAM_WRONG);
    return go_on(j, (size_t)(rest.p - now.p) + off.n, over, out);
}

/* ---- the new answer ---- */

static enum seam_verdict decide(struct seam_join *j, bool over, struct strbuf *out)
{
    return j->way == SEAM_PREFILL ? prefill(j, over, out) : turn(j, over, out);
}

static enum seam_verdict take(struct seam_join *j, struct span piece, struct strbuf *out)
{
    if (j->said == SEAM_LIVE)
        return pass(j, piece, out);
    if (j->way == SEAM_ALIGN)
        return align(j, piece, out);
    strbuf_add_span(&j->held, piece);
    return j->held.failed ? say(j, SEAM_WRONG) : decide(j, false, out);
}

enum seam_verdict seam_join_text(struct seam_join *j, struct span piece, struct strbuf *out)
{
    /* In slices: what is held stays small, and one large piece is judged as many small ones. */
    while (piece.n > 0 && j->said != SEAM_WRONG) {
        size_t n = piece.n < SLICE ? piece.n : SLICE;

        take(j, (struct span){piece.p, n}, out);
        piece = behind(piece, n);
    }
    return j->said;
}

enum seam_verdict seam_join_end(struct seam_join *j, struct strbuf *out)
{
    if (j->held.len > held_of(j).n)
        return say(j, SEAM_WRONG);
    if (j->said == SEAM_HOLD && j->way != SEAM_ALIGN)
        decide(j, true, out);
    if (j->said == SEAM_HOLD)
        return say(j, j->aligned == j->sent.n ? SEAM_LIVE : SEAM_WRONG);
    return j->said;
}

void seam_join_reasoning(struct seam_join *j, struct span piece, struct strbuf *out)
{
    if (j->sent.n > 0 || piece.n == 0)
        return;
    if (j->reasoning && !j->thought)
        strbuf_add(out, "\n\n");
    j->thought = true;
    strbuf_add_span(out, piece);
}
