#include "proxy/seam.h"

#include "tests/unit/check.h"

/* ---- what was sent, and the ways ---- */

static void note(struct seam_text *t, enum chat_event_kind kind, const char *raw)
{
    seam_note(t, &(struct chat_event){.kind = kind, .text = span_of(raw)});
}

static struct seam_text text_of(const char *text)
{
    struct seam_text t;

    seam_text_init(&t, SEAM_TEXT_BYTES);
    strbuf_add(&t.text, text);
    return t;
}

static unsigned ways_of(const char *text, struct seam_rules rules)
{
    struct seam_text t = text_of(text);
    unsigned ways = seam_ways(&t, &rules);

    seam_text_release(&t);
    return ways;
}

static unsigned ways_after(enum chat_event_kind kind, unsigned choice)
{
    struct seam_rules rules = {.mode = SEAM_CONTINUE};
    struct seam_text t = text_of("It was the best of times.");
    unsigned ways;

    seam_note(&t, &(struct chat_event){.kind = kind, .choice = choice, .text = SPAN("\"x\"")});
    ways = seam_ways(&t, &rules);
    seam_text_release(&t);
    return ways;
}

#define PREFILL SEAM_BIT(SEAM_PREFILL)
#define TURN    SEAM_BIT(SEAM_TURN)
#define ALIGN   SEAM_BIT(SEAM_ALIGN)
#define PROSE                                                                                      \
    "The river rises in the hills above the old town, runs past the mill and the tannery, and "    \
    "reaches the sea after forty miles of fields. In spring it floods the meadows"

TEST(texts_are_kept_decoded_as_they_go_out)
{
    struct seam_text t;

    seam_text_init(&t, 100);
    note(&t, CHAT_START, "\"\"");
    note(&t, CHAT_TEXT, "\"a\\n\\u00e9\"");
    note(&t, CHAT_TEXT, "\"\"");
    note(&t, CHAT_USAGE, "\"\"");
    note(&t, CHAT_TEXT, "\"\\ud83d\\ude00!\"");
    CHECK_SPAN(strbuf_span(&t.text), "a\n\xc3\xa9\xf0\x9f\x98\x80!");
    CHECK(!t.lost && !t.tool && !t.stopped && !t.choices && !t.reasoning);
    seam_text_release(&t);
    CHECK(t.text.buf == NULL && t.text.max == 100);
}

TEST(past_the_cap_the_text_is_given_back_and_nothing_may_be_carried_on)
{
    struct seam_rules rules = {.mode = SEAM_AUTO};
    struct seam_text t;

    seam_text_init(&t, 8);
    note(&t, CHAT_TEXT, "\"12345678\"");
    CHECK(seam_ways(&t, &rules) != 0);
    note(&t, CHAT_TEXT, "\"9\"");
    CHECK(t.lost && t.text.buf == NULL);
    note(&t, CHAT_TEXT, "\"1\"");
    CHECK(t.text.buf == NULL);
    CHECK_INT(seam_ways(&t, &rules), 0);
}

TEST(a_surrogate_pair_over_two_events_loses_the_text)
{
    struct seam_rules rules = {.mode = SEAM_CONTINUE};
    struct seam_text t;

    seam_text_init(&t, 100);
    note(&t, CHAT_TEXT, "\"Smile \\ud83d\"");
    note(&t, CHAT_TEXT, "\"\\ude00\"");
    CHECK(t.lost);
    CHECK_INT(seam_ways(&t, &rules), 0);
}

TEST(what_is_no_plain_text_of_one_choice_is_not_carried_on)
{
    CHECK_INT(ways_after(CHAT_TEXT, 0), PREFILL | TURN | ALIGN);
    CHECK_INT(ways_after(CHAT_REASONING, 0), PREFILL | TURN | ALIGN);
    CHECK_INT(ways_after(CHAT_USAGE, 0), PREFILL | TURN | ALIGN);
    CHECK_INT(ways_after(CHAT_TEXT, 1), 0);
    CHECK_INT(ways_after(CHAT_TOOL_START, 0), 0);
    CHECK_INT(ways_after(CHAT_TOOL_ARGS, 0), 0);
    CHECK_INT(ways_after(CHAT_SIGNATURE, 0), 0);
    CHECK_INT(ways_after(CHAT_REFUSAL, 0), 0);
    CHECK_INT(ways_after(CHAT_STOP, 0), 0);
}

TEST(behind_a_call_that_was_cut_only_the_same_answer_once_more_will_do)
{
    struct seam_rules rules = {.tools = true, .mode = SEAM_CONTINUE};
    struct seam_text t = text_of(PROSE);

    CHECK_INT(seam_ways(&t, &rules), PREFILL | TURN | ALIGN);
    t.call = true;
    CHECK_INT(seam_ways(&t, &rules), ALIGN);
    seam_text_release(&t);
}

TEST(the_request_says_which_ways_are_right)
{
    CHECK_INT(ways_of(PROSE, (struct seam_rules){.mode = SEAM_AUTO}), PREFILL | TURN | ALIGN);
    CHECK_INT(ways_of(PROSE, (struct seam_rules){.mode = SEAM_ERROR}), 0);
    CHECK_INT(ways_of(PROSE, (struct seam_rules){.choices = 1}), PREFILL | TURN | ALIGN);
    CHECK_INT(ways_of(PROSE, (struct seam_rules){.choices = 2}), 0);
    CHECK_INT(ways_of(PROSE, (struct seam_rules){.logprobs = true}), 0);
    CHECK_INT(ways_of(PROSE, (struct seam_rules){.audio = true}), 0);
    CHECK_INT(ways_of(PROSE, (struct seam_rules){.tools = true}), ALIGN);
    CHECK_INT(ways_of(PROSE, (struct seam_rules){.tools = true, .mode = SEAM_CONTINUE}),
              PREFILL | TURN | ALIGN);
    CHECK_INT(ways_of(PROSE, (struct seam_rules){.structured = true}), ALIGN);
    CHECK_INT(ways_of(PROSE, (struct seam_rules){.structured = true, .mode = SEAM_CONTINUE}),
              ALIGN);
}

TEST(the_length_of_what_was_sent_says_which_ways_are_right)
{
    static char text[3 * SEAM_CARRY_CHARS];
    struct seam_rules automatic = {.mode = SEAM_AUTO}, wanted = {.mode = SEAM_CONTINUE};
    size_t n = 0;

    CHECK_INT(ways_of("", automatic), ALIGN);
    CHECK_INT(ways_of(" \n\xc2\xa0", automatic), ALIGN);
    CHECK_INT(ways_of("x", automatic), PREFILL | ALIGN);

    /* Characters are counted, not bytes. */
    for (unsigned i = 0; i < SEAM_ALIGN_CHARS / 8; i++)
        n += (size_t)sprintf(text + n, "\xc3\xa9%06u ", i);
    CHECK_INT(ways_of(text, automatic), PREFILL | TURN | ALIGN);
    strcpy(text + n, "x");
    CHECK_INT(ways_of(text, automatic), PREFILL | TURN);
    CHECK_INT(ways_of(text, wanted), PREFILL | TURN | ALIGN);
    for (unsigned i = SEAM_ALIGN_CHARS / 8; i < SEAM_CARRY_CHARS / 8; i++)
        n += (size_t)sprintf(text + n, "\xc3\xa9%06u ", i);
    CHECK_INT(ways_of(text, automatic), PREFILL | TURN);
    strcpy(text + n, "x");
    CHECK_INT(ways_of(text, automatic), 0);
    CHECK_INT(ways_of(text, wanted), ALIGN);
}

TEST(reasoning_alone_is_begun_anew_with_an_empty_line_between)
{
    struct seam_rules rules = {.tools = true};
    struct seam_text t;
    struct seam_join j;
    struct arena a;
    struct strbuf out = strbuf_heap(1000);

    arena_init(&a);
    seam_text_init(&t, 100);
    note(&t, CHAT_REASONING, "\"Let me\"");
    CHECK_INT(seam_ways(&t, &rules), ALIGN);
    seam_join_init(&j, SEAM_ALIGN, &t, &a);
    seam_join_reasoning(&j, SPAN(""), &out);
    seam_join_reasoning(&j, SPAN("First"), &out);
    seam_join_reasoning(&j, SPAN(", this"), &out);
    CHECK_SPAN(strbuf_span(&out), "\n\nFirst, this");
    strbuf_clear(&out);
    CHECK_INT(seam_join_text(&j, SPAN("Hello"), &out), SEAM_LIVE);
    CHECK_SPAN(strbuf_span(&out), "Hello");
    CHECK_INT(seam_join_end(&j, &out), SEAM_LIVE);
    arena_release(&a);
    strbuf_release(&out);
}

TEST(reasoning_behind_a_text_is_left_out)
{
    struct seam_text t = text_of("Hello");
    struct seam_join j;
    struct arena a;
    struct strbuf out = strbuf_heap(1000);

    arena_init(&a);
    seam_join_init(&j, SEAM_ALIGN, &t, &a);
    seam_join_reasoning(&j, SPAN("They greet."), &out);
    CHECK_INT(out.len, 0);
    arena_release(&a);
    strbuf_release(&out);
    seam_text_release(&t);
}

/* ---- the request ---- */

static void check_anchor(const char *text, const char *anchor)
{
    struct seam_rules rules = {.mode = SEAM_CONTINUE};
    struct seam_text t = text_of(text);
    struct seam_request r;
    struct arena a;

    arena_init(&a);
    if (anchor == NULL) {
        CHECK((seam_ways(&t, &rules) & TURN) == 0);
    } else {
        CHECK((seam_ways(&t, &rules) & TURN) != 0);
        seam_request(&t, SEAM_TURN, &a, &r);
        CHECK(r.user.n > strlen(anchor));
        CHECK_SPAN(((struct span){span_find(r.user, "\n\n") + 2,
                                  r.user.n - (size_t)(span_find(r.user, "\n\n") + 2 - r.user.p)}),
                   anchor);
    }
    arena_release(&a);
    seam_text_release(&t);
}

TEST(the_partial_answer_is_given_without_white_space_at_its_end)
{
    struct seam_text t = text_of(" \n" PROSE " \r\n\xc2\xa0\t");
    struct seam_request r;
    struct arena a;

    arena_init(&a);
    seam_request(&t, SEAM_PREFILL, &a, &r);
    CHECK_SPAN(r.assistant, " \n" PROSE);
    CHECK(r.user.n == 0);
    seam_request(&t, SEAM_TURN, &a, &r);
    CHECK_SPAN(r.assistant, " \n" PROSE);
    CHECK(r.user.n > 0);
    seam_request(&t, SEAM_ALIGN, &a, &r);
    CHECK(r.assistant.n == 0 && r.user.n == 0);
    arena_release(&a);
    seam_text_release(&t);
}

TEST(an_anchor_is_forty_characters_from_the_beginning_of_a_word)
{
    check_anchor(PROSE, "of fields. In spring it floods the meadows");
    check_anchor(PROSE " \n", "of fields. In spring it floods the meadows");
    check_anchor("\n twelve chars", "twelve chars");
    check_anchor("eleven char", NULL);
}

TEST(an_anchor_grows_until_it_stands_in_the_text_once)
{
    check_anchor("First: of fields. In spring it floods the meadows. " PROSE,
                 "forty miles of fields. In spring it floods the meadows");
    check_anchor(PROSE ".\n\n" PROSE ".\n\n" PROSE, NULL);
}

TEST(an_anchor_does_not_begin_inside_a_character_of_several_codes)
{
    check_anchor("They wave ✌🏽 and then the boats go out to sea at da",
                 "✌🏽 and then the boats go out to sea at da");
}

TEST(there_is_no_anchor_where_the_text_ends_in_a_repetition)
{
    check_anchor(PROSE " ha ha ha", NULL);
    check_anchor(PROSE " ----", NULL);
    check_anchor(PROSE "\n| 1 | 2 |\n| 1 | 2 |", NULL);
}

/* ---- joins ---- */

/* What goes out behind `sent` when the new answer comes in pieces of `step` bytes; NULL: WRONG. */
static const char *joined_by(enum seam_way way, const char *sent, struct span answer, size_t step)
{
    static struct strbuf out;
    struct seam_text t = text_of(sent);
    struct seam_join j;
    struct arena a;
    enum seam_verdict said = SEAM_HOLD;

    out.max = 1 << 20;
    strbuf_clear(&out);
    strbuf_add(&out, "");
    arena_init(&a);
    seam_join_init(&j, way, &t, &a);
    for (size_t at = 0; at < answer.n; at += step) {
        size_t n = answer.n - at < step ? answer.n - at : step;

        said = seam_join_text(&j, (struct span){answer.p + at, n}, &out);
        CHECK(said == SEAM_LIVE || out.len == 0);
    }
    said = seam_join_end(&j, &out);
    CHECK(said == SEAM_LIVE || (said == SEAM_WRONG && out.len == 0));
    arena_release(&a);
    seam_text_release(&t);
    return said == SEAM_LIVE ? out.buf : NULL;
}

static void check_join(enum seam_way way, const char *sent, const char *answer, const char *want)
{
    for (size_t step = 1; step < 2000; step = step * 3 + 1) {
        const char *got = joined_by(way, sent, span_of(answer), step);

        if (want == NULL ? got != NULL : got == NULL || strcmp(got, want) != 0)
            fail_msg("in pieces of %zu: got \"%s\", want \"%s\"", step, got ? got : "WRONG",
                     want ? want : "WRONG");
    }
}

#define NEXT                                                                                       \
    " and the cattle are driven up to the common, where they stay until the hay is in. Nobody "    \
    "remembers a year without it; the parish books mention two, both in the seventeenth century."

TEST(prefill_goes_on_directly)
{
    check_join(SEAM_PREFILL, PROSE, NEXT, NEXT);
    check_join(SEAM_PREFILL, "The riv", "er rises in the hills.", "er rises in the hills.");
}

TEST(prefill_white_space_that_was_sent_does_not_come_twice)
{
    check_join(SEAM_PREFILL, PROSE " ", NEXT, &NEXT[1]);
    check_join(SEAM_PREFILL, PROSE " ", &NEXT[1], &NEXT[1]);
    check_join(SEAM_PREFILL, PROSE ".\r\n", &".\r\n  More of it."[1], "  More of it.");
    check_join(SEAM_PREFILL, "if (x)\n    ", "\n        return;", "    return;");
    check_join(SEAM_PREFILL, PROSE ".\n\n", "\nMore of it.", NULL);
    check_join(SEAM_PREFILL, PROSE ".\r\n", "\nMore of it.", NULL);
    check_join(SEAM_PREFILL, PROSE "\xc2\xa0", " more of it.", NULL);
    check_join(SEAM_PREFILL, PROSE ".\n\n", "\n", "");
}

TEST(prefill_that_says_nothing_is_believed_where_a_text_may_end)
{
    check_join(SEAM_PREFILL, PROSE ".", "", "");
    check_join(SEAM_PREFILL, PROSE ".\n", "", "");
    check_join(SEAM_PREFILL, "int x;\n```\n", "\n", "");
    check_join(SEAM_PREFILL, PROSE "。", "", "");
    check_join(SEAM_PREFILL, PROSE, "", NULL);
    check_join(SEAM_PREFILL, PROSE, "\n", NULL);
}

TEST(prefill_cuts_an_echo_that_can_be_nothing_else)
{
    check_join(SEAM_PREFILL, PROSE, "it floods the meadows" NEXT, NEXT);
    check_join(SEAM_PREFILL, PROSE, "In spring it floods the meadows" NEXT, NEXT);
}

TEST(prefill_with_an_echo_that_may_be_the_texts_own_is_wrong)
{
    check_join(SEAM_PREFILL, PROSE, "the meadows" NEXT, NULL);            /* short */
    check_join(SEAM_PREFILL, PROSE, " it floods the meadows" NEXT, NULL); /* at a gap */
    check_join(SEAM_PREFILL, PROSE " ", "it floods the meadows" NEXT, NULL);
    check_join(SEAM_PREFILL, "x = 1\nfoo(bar);\nfoo(bar);", "\nfoo(bar);\ny = 2\n", NULL);
    check_join(SEAM_PREFILL, PROSE "\n|---|---|---", "|---|---|\n", NULL);
    check_join(SEAM_PREFILL, "When it floods the meadows, then it floods the meadows",
               "it floods the meadows" NEXT, NULL);
}

TEST(prefill_takes_a_few_equal_characters_for_chance)
{
    check_join(SEAM_PREFILL, "He had", " had enough of it by then.", " had enough of it by then.");
    check_join(SEAM_PREFILL, "100", "00 of them.", "00 of them.");
}

TEST(prefill_restarts_become_align)
{
    check_join(SEAM_PREFILL, PROSE, PROSE NEXT, NEXT);
    check_join(SEAM_PREFILL, "The river rises", "The river rises in the hills.", " in the hills.");
    check_join(SEAM_PREFILL, PROSE, PROSE, "");
    check_join(SEAM_PREFILL, PROSE,
               "The river rises in the hills above the old town, runs past "
               "the mill and then it ends.",
               NULL);
}

TEST(prefill_restarts_that_may_be_repetitions_are_wrong)
{
    check_join(SEAM_PREFILL, "The river rises.\n", "The river rises.\nIt falls.\n", NULL);
    check_join(SEAM_PREFILL, "ha", "haha!", NULL);
    check_join(SEAM_PREFILL, PROSE "\n" PROSE, PROSE NEXT, NULL);
}

TEST(prefill_similar_starts_are_wrong)
{
    check_join(
        SEAM_PREFILL, PROSE,
        "A river rises in the hills above the old town and runs past a mill and the tannery. "
        "It reaches the sea after many miles of fields, and in spring it floods everything.",
        NULL);
    check_join(SEAM_PREFILL, PROSE, "the river rises in the hills above the old town." NEXT, NULL);
    check_join(SEAM_PREFILL, PROSE,
               "Certainly! Here is the text once more: The river rises in the hills above the old "
               "town, runs past the mill and the tannery, and reaches the sea.",
               NULL);
    check_join(SEAM_PREFILL, "这条河发源于老城上方的山丘，流经磨坊和制革厂，",
               "那条河发源于老城上边的山丘，流过磨坊和制革厂，最后流入大海。", NULL);
}

TEST(turn_cuts_all_up_to_the_anchors_end)
{
    const char *anchor = "of fields. In spring it floods the meadows";
    char answer[1000];

    snprintf(answer, sizeof(answer), "%s%s", anchor, NEXT);
    check_join(SEAM_TURN, PROSE, answer, NEXT);
    snprintf(answer, sizeof(answer), "Sure, here's the rest:\n\n%s%s", anchor, NEXT);
    check_join(SEAM_TURN, PROSE, answer, NEXT);
    snprintf(answer, sizeof(answer), "after forty miles %s%s", anchor, NEXT);
    check_join(SEAM_TURN, PROSE, answer, NEXT);
    check_join(SEAM_TURN, PROSE, "of fields.\r\nIn spring\xc2\xa0it  floods the meadows" NEXT,
               NEXT);
    check_join(SEAM_TURN, "He said: \"It's no well-known river\"", //
               "He said: “It’s no well–known river” at all.", " at all.");
    check_join(SEAM_TURN, PROSE, PROSE NEXT, NEXT);
}

#define ANCHOR "of fields. In spring it floods the meadows"

TEST(turn_white_space_behind_the_anchor_is_exact)
{
    check_join(SEAM_TURN, PROSE " ", ANCHOR NEXT, &NEXT[1]);
    check_join(SEAM_TURN, PROSE "\n    ", ANCHOR "\n        x", "    x");
    check_join(SEAM_TURN, PROSE "\n", ANCHOR NEXT, NULL);
    check_join(SEAM_TURN, PROSE " ", ANCHOR "and the cattle", NULL);
    check_join(SEAM_TURN, PROSE "\r\n", ANCHOR "\nMore", NULL);
}

TEST(turn_without_the_anchor_is_wrong)
{
    char late[2000];
    size_t n = 0;

    check_join(SEAM_TURN, PROSE, NEXT, NULL);
    check_join(SEAM_TURN, PROSE, "", NULL);
    check_join(SEAM_TURN, PROSE, "fields. In spring it floods the meadows" NEXT, NULL);
    check_join(SEAM_TURN, PROSE, "of fields. In spring it flooded the meadows" NEXT, NULL);
    while (n < 400)
        n += (size_t)sprintf(late + n, "%zu and ", n);
    strcpy(late + n, ANCHOR NEXT);
    check_join(SEAM_TURN, PROSE, late, NULL);
    check_join(SEAM_TURN, PROSE, late + 30, NEXT);
}

TEST(turn_gives_up_as_soon_as_the_anchor_is_too_late)
{
    static char long_text[1 << 16];
    struct seam_text t = text_of(PROSE);
    struct seam_join j;
    struct arena a;
    struct strbuf out = strbuf_heap(1000);

    arena_init(&a);
    memset(long_text, 'x', sizeof(long_text));
    seam_join_init(&j, SEAM_TURN, &t, &a);
    CHECK_INT(seam_join_text(&j, (struct span){long_text, 390}, &out), SEAM_HOLD);
    CHECK_INT(seam_join_text(&j, (struct span){long_text, 100}, &out), SEAM_WRONG);
    CHECK_INT(seam_join_text(&j, (struct span){long_text, 100}, &out), SEAM_WRONG);
    CHECK_INT(seam_join_end(&j, &out), SEAM_WRONG);
    arena_release(&a);
    seam_text_release(&t);
}

TEST(turn_marks_around_the_anchor_are_cut_or_wrong)
{
    check_join(SEAM_TURN, PROSE, "\"" ANCHOR "\", then" NEXT, ", then" NEXT);
    check_join(SEAM_TURN, PROSE, "Yes: “" ANCHOR "”, then" NEXT, ", then" NEXT);
    check_join(SEAM_TURN, PROSE, "**" ANCHOR "**, then" NEXT, ", then" NEXT);
    check_join(SEAM_TURN, PROSE " ", "\"" ANCHOR "\" then" NEXT, "then" NEXT);
    check_join(SEAM_TURN, PROSE, "\"" ANCHOR "\"" NEXT, NULL); /* whose is the space? */
    check_join(SEAM_TURN, PROSE, "\"" ANCHOR ", then" NEXT "\"", NULL);
    check_join(SEAM_TURN, PROSE, "```\n" ANCHOR "\n```\nthen" NEXT, NULL);
    check_join(SEAM_TURN, PROSE, "\"the end was: " ANCHOR "\", then" NEXT, NULL);
    check_join(SEAM_TURN, PROSE, "> " ANCHOR ", then" NEXT, NULL);
    check_join(SEAM_TURN, PROSE, "*\"" ANCHOR "**, then" NEXT, NULL);
}

TEST(turn_with_a_second_anchor_is_wrong)
{
    check_join(SEAM_TURN, PROSE, "The end was " ANCHOR " so: " ANCHOR NEXT, NULL);
    check_join(SEAM_TURN, PROSE, ANCHOR "\n\n" PROSE NEXT, NULL);
    check_join(SEAM_TURN, PROSE, ANCHOR " the meadows" NEXT, NULL);
}

TEST(turn_with_a_line_break_inside_a_sentence_is_wrong)
{
    check_join(SEAM_TURN, PROSE, ANCHOR "\n\nand the cattle are driven up", NULL);
    check_join(SEAM_TURN, PROSE, ANCHOR "\n\nThe cattle are driven up",
               "\n\nThe cattle are driven up");
    check_join(SEAM_TURN, PROSE ". Then\nit floods the garden of the town hall",
               "Then\nit floods the garden of the town hall\nand the cellar", "\nand the cellar");
}

TEST(turn_that_says_the_anchor_only_is_complete_where_a_text_may_end)
{
    check_join(SEAM_TURN, PROSE ".", ANCHOR ".", "");
    check_join(SEAM_TURN, PROSE ".\n\n", ANCHOR ".\n", "");
    check_join(SEAM_TURN, PROSE, ANCHOR, NULL);
}

TEST(align_goes_out_behind_the_exact_end)
{
    check_join(SEAM_ALIGN, PROSE, PROSE NEXT, NEXT);
    check_join(SEAM_ALIGN, PROSE, PROSE, "");
    check_join(SEAM_ALIGN, "", NEXT, NEXT);
    check_join(SEAM_ALIGN, " \r\n", " \r\n\tx", "\tx");
    check_join(SEAM_ALIGN, PROSE " ", PROSE, NULL);
    check_join(SEAM_ALIGN, PROSE, "The river", NULL);
    check_join(SEAM_ALIGN, PROSE, "", NULL);
    check_join(SEAM_ALIGN, "x\r\n", "x\n", NULL);
    check_join(SEAM_ALIGN, "It's", "It’s so", NULL);
    check_join(SEAM_ALIGN, "e", "e\xcc\x81t\xc3\xa9", "\xcc\x81t\xc3\xa9");
    check_join(SEAM_ALIGN, "שלום 👩", "שלום 👩‍🔬!", "‍🔬!");
}

TEST(align_is_wrong_at_the_first_difference)
{
    struct seam_text t = text_of("The river");
    struct seam_join j;
    struct arena a;
    struct strbuf out = strbuf_heap(1000);

    arena_init(&a);
    seam_join_init(&j, SEAM_ALIGN, &t, &a);
    CHECK_INT(seam_join_text(&j, SPAN("The "), &out), SEAM_HOLD);
    CHECK_INT(seam_join_text(&j, SPAN("rover"), &out), SEAM_WRONG);
    CHECK_INT(out.len, 0);
    arena_release(&a);
    seam_text_release(&t);
}

TEST(half_a_character_waits_for_its_other_half)
{
    struct seam_text t = text_of("a");
    struct seam_join j;
    struct arena a;
    struct strbuf out = strbuf_heap(1000);

    arena_init(&a);
    seam_join_init(&j, SEAM_ALIGN, &t, &a);
    CHECK_INT(seam_join_text(&j, SPAN("a\xf0\x9f"), &out), SEAM_LIVE);
    CHECK_INT(out.len, 0);
    CHECK_INT(seam_join_text(&j, SPAN("\x98"), &out), SEAM_LIVE);
    CHECK_INT(out.len, 0);
    CHECK_INT(seam_join_text(&j, SPAN("\x80!\xc3"), &out), SEAM_LIVE);
    CHECK_SPAN(strbuf_span(&out), "\xf0\x9f\x98\x80!");
    CHECK_INT(seam_join_end(&j, &out), SEAM_WRONG);
    arena_release(&a);
    seam_text_release(&t);
    strbuf_release(&out);
}

TEST(what_goes_out_may_be_noted_once_it_is_live)
{
    struct seam_text t = text_of("The river");
    struct seam_join j;
    struct arena a;
    struct strbuf out = strbuf_heap(1 << 20);

    arena_init(&a);
    seam_join_init(&j, SEAM_ALIGN, &t, &a);
    CHECK_INT(seam_join_text(&j, SPAN("The river"), &out), SEAM_LIVE);
    for (int i = 0; i < 1000; i++) {
        CHECK_INT(seam_join_text(&j, SPAN(" rises"), &out), SEAM_LIVE);
        note(&t, CHAT_TEXT, "\" rises\"");
    }
    CHECK_INT(seam_join_end(&j, &out), SEAM_LIVE);
    CHECK_INT(out.len, 6000);
    CHECK_INT(t.text.len, 9 + 6000);
    arena_release(&a);
    seam_text_release(&t);
    strbuf_release(&out);
}

TEST(a_join_holds_no_more_than_it_says)
{
    static char blank[1 << 20];
    struct seam_text t = text_of(PROSE);
    struct seam_join j;
    struct arena a;
    struct strbuf out = strbuf_heap(1000);

    arena_init(&a);
    memset(blank, ' ', sizeof(blank));
    seam_join_init(&j, SEAM_PREFILL, &t, &a);
    CHECK_INT(seam_join_text(&j, (struct span){blank, sizeof(blank)}, &out), SEAM_WRONG);
    CHECK(a.total < 64 * 1024);
    CHECK(t.text.len + 8192 >= j.held.len);
    arena_release(&a);
    seam_text_release(&t);
}

TEST_MAIN()
