#include "proxy/stitch.h"

#include "tests/unit/check.h"

#define SENT "The harbour was quiet that morning, and the boats lay still. Nobody had come"

static struct arena a;
static struct seam_text text;
static struct stitch s;
static struct strbuf got; /* what came out, an event a line */

static void collect(void *ctx, const struct chat_event *ev)
{
    static const char *const names[] = {"start", "text",      "reasoning", "refusal", "tool",
                                        "args",  "signature", "stop",      "usage",   "end"};

    CHECK(ctx == &got && ev->choice == 0);
    strbuf_addf(&got, "%s", names[ev->kind]);
    if (ev->text.n > 0)
        strbuf_addf(&got, " %.*s", SPAN_ARG(ev->text));
    if (ev->kind == CHAT_USAGE)
        strbuf_addf(&got, " %d %llu %llu %llu %llu", ev->usage.seen,
                    (unsigned long long)ev->usage.input, (unsigned long long)ev->usage.output,
                    (unsigned long long)ev->usage.cached, (unsigned long long)ev->usage.reasoning);
    strbuf_add(&got, "\n");
}

static void give(struct chat_event ev)
{
    stitch_event(&s, &ev, collect, &got);
}

static struct chat_event of(enum chat_event_kind kind, const char *raw)
{
    return (struct chat_event){.kind = kind, .text = span_of(raw)};
}

static void say(const char *raw)
{
    give(of(CHAT_TEXT, raw));
}

/* What the client has: reasoning (or NULL), and text. */
static void begin_after(enum seam_way way, const char *thought, const char *sent)
{
    static const struct chat_usage before = {
        .seen = true, .input = 100, .output = 20, .cached = 7, .reasoning = 3};

    seam_text_release(&text);
    arena_reset(&a);
    seam_text_init(&text, SEAM_TEXT_BYTES);
    if (thought != NULL)
        seam_note(&text, &(struct chat_event){.kind = CHAT_REASONING,
                                              .text = chat_quote(span_of(thought), &a)});
    if (sent[0] != '\0')
        seam_note(&text,
                  &(struct chat_event){.kind = CHAT_TEXT, .text = chat_quote(span_of(sent), &a)});
    got = strbuf_in(&a, 100000);
    stitch_init(&s, way, &text, &before, &a);
}

static void begin(enum seam_way way)
{
    begin_after(way, NULL, SENT);
}

static void check_got(const char *want)
{
    CHECK_SPAN(strbuf_span(&got), want);
    strbuf_clear(&got);
}

/* ---- text ---- */

TEST(an_answer_does_not_start_a_second_time)
{
    begin(SEAM_ALIGN);
    give((struct chat_event){.kind = CHAT_START, .id = SPAN("\"x\"")});
    check_got("");
    CHECK(s.said == SEAM_HOLD);
}

TEST(text_that_the_client_has_is_left_out_and_the_rest_goes_out)
{
    begin(SEAM_ALIGN);
    say("\"The harbour was quiet that morning, and the boats \"");
    say("\"lay still. Nobody had\"");
    check_got("");
    CHECK(s.said == SEAM_HOLD);
    say("\" come home yet.\"");
    check_got("text \" home yet.\"\n");
    CHECK(s.said == SEAM_LIVE);
    say("\" They waited.\"");
    check_got("text \" They waited.\"\n");
}

TEST(what_goes_out_is_quoted_anew)
{
    begin(SEAM_ALIGN);
    say("\"" SENT "\\n\\u00e9 \\\"so\\\" \\ud83d\\ude00\"");
    check_got("text \"\\n\xc3\xa9 \\\"so\\\" \xf0\x9f\x98\x80\"\n");
}

TEST(text_is_held_until_it_is_certain)
{
    begin(SEAM_PREFILL);
    say("\" home\"");
    say("\" yet.\"");
    check_got("");
    CHECK(s.said == SEAM_HOLD);
    give(of(CHAT_STOP, "\"stop\""));
    check_got("text \" home yet.\"\nstop \"stop\"\n");
    CHECK(s.said == SEAM_LIVE);
}

TEST(another_text_is_wrong_and_nothing_of_it_goes_out)
{
    begin(SEAM_ALIGN);
    say("\"The harbour was loud\"");
    CHECK(s.said == SEAM_WRONG);
    say("\"" SENT " home.\"");
    give(of(CHAT_REASONING, "\"hm\""));
    give((struct chat_event){.kind = CHAT_USAGE, .usage = {true, 1, 1, 0, 0}});
    give((struct chat_event){.kind = CHAT_TOOL_START});
    give(of(CHAT_STOP, "\"stop\""));
    give((struct chat_event){.kind = CHAT_END});
    CHECK(!stitch_end(&s, collect, &got));
    check_got("");
    CHECK(s.said == SEAM_WRONG); /* and stays so */
}

TEST(text_of_another_choice_is_wrong)
{
    begin(SEAM_ALIGN);
    give((struct chat_event){.kind = CHAT_TEXT, .choice = 1, .text = SPAN("\"The\"")});
    check_got("");
    CHECK(s.said == SEAM_WRONG);
}

TEST(half_a_character_is_wrong)
{
    begin(SEAM_ALIGN);
    say("\"" SENT " \\ud83d\"");
    check_got("");
    CHECK(s.said == SEAM_WRONG);
}

TEST(what_is_no_string_is_wrong)
{
    begin(SEAM_ALIGN);
    say("12");
    check_got("");
    CHECK(s.said == SEAM_WRONG);
}

/* ---- its end ---- */

TEST(an_answer_that_ends_too_early_is_wrong)
{
    begin(SEAM_ALIGN);
    say("\"The harbour was quiet\"");
    give(of(CHAT_STOP, "\"stop\""));
    check_got("");
    CHECK(s.said == SEAM_WRONG);
}

TEST(an_answer_with_nothing_to_add_may_end)
{
    begin_after(SEAM_ALIGN, NULL, "It is done.");
    say("\"It is done.\"");
    give(of(CHAT_STOP, "\"stop\""));
    give((struct chat_event){.kind = CHAT_END});
    check_got("stop \"stop\"\nend\n");

    begin_after(SEAM_PREFILL, NULL, "It is done.");
    give(of(CHAT_STOP, "\"stop\""));
    check_got("stop \"stop\"\n");

    begin(SEAM_PREFILL); /* in the middle of a sentence nothing ends */
    give(of(CHAT_STOP, "\"stop\""));
    check_got("");
    CHECK(s.said == SEAM_WRONG);
}

TEST(what_was_held_comes_once_whatever_the_end_is_told_by)
{
    begin(SEAM_PREFILL);
    say("\" home yet.\"");
    CHECK(stitch_end(&s, collect, &got));
    check_got("text \" home yet.\"\n");
    CHECK(stitch_end(&s, collect, &got));
    give(of(CHAT_STOP, "\"stop\""));
    give((struct chat_event){.kind = CHAT_END});
    check_got("stop \"stop\"\nend\n");

    begin(SEAM_PREFILL); /* a stream without a finish reason of its own */
    say("\" home yet.\"");
    give((struct chat_event){.kind = CHAT_END});
    check_got("text \" home yet.\"\nend\n");
}

TEST(a_tool_call_comes_behind_the_text_that_was_held)
{
    begin(SEAM_PREFILL);
    say("\" home yet. Let me look.\"");
    give((struct chat_event){.kind = CHAT_TOOL_START});
    give(of(CHAT_TOOL_ARGS, "\"{}\""));
    give(of(CHAT_STOP, "\"tool_calls\""));
    check_got("text \" home yet. Let me look.\"\ntool\nargs \"{}\"\nstop \"tool_calls\"\n");
}

TEST(a_tool_call_in_place_of_the_text_is_wrong)
{
    begin(SEAM_ALIGN);
    say("\"The harbour\"");
    give((struct chat_event){.kind = CHAT_TOOL_START});
    give(of(CHAT_TOOL_ARGS, "\"{}\""));
    check_got("");
    CHECK(s.said == SEAM_WRONG);
}

TEST(a_refusal_is_no_end_of_anothers_answer)
{
    begin(SEAM_ALIGN);
    say("\"" SENT " home\"");
    check_got("text \" home\"\n");
    give(of(CHAT_REFUSAL, "\"I cannot\""));
    give(of(CHAT_STOP, "\"stop\""));
    CHECK(!stitch_end(&s, collect, &got)); /* although its text fits */
    check_got("");
    CHECK(s.said == SEAM_WRONG);
}

/* ---- reasoning ---- */

TEST(new_reasoning_follows_the_old_one_while_there_is_no_text)
{
    begin_after(SEAM_ALIGN, "So far", "");
    give(of(CHAT_REASONING, "\"Let me\""));
    check_got("reasoning \"\\n\\nLet me\"\n");
    CHECK(s.said == SEAM_LIVE);
    give(of(CHAT_REASONING, "\" see\""));
    say("\"Yes.\"");
    check_got("reasoning \" see\"\ntext \"Yes.\"\n");
}

TEST(reasoning_is_not_told_again_once_there_is_text)
{
    begin_after(SEAM_ALIGN, "So far", SENT);
    give(of(CHAT_REASONING, "\"Let me see\""));
    check_got("");
    CHECK(s.said == SEAM_HOLD); /* it says nothing about the text */
    say("\"" SENT " home\"");
    give(of(CHAT_REASONING, "\"And now\""));
    check_got("text \" home\"\n");
    CHECK(s.said == SEAM_LIVE);
}

TEST(reasoning_of_another_choice_or_half_a_character_is_left_out)
{
    begin_after(SEAM_ALIGN, "So far", "");
    give((struct chat_event){.kind = CHAT_REASONING, .choice = 1, .text = SPAN("\"x\"")});
    give(of(CHAT_REASONING, "\"\\ud83d\""));
    check_got("");
}

TEST(a_signature_of_reasoning_is_left_out)
{
    begin_after(SEAM_ALIGN, "So far", "");
    give(of(CHAT_REASONING, "\"Hm\""));
    give(of(CHAT_SIGNATURE, "\"abc\""));
    check_got("reasoning \"\\n\\nHm\"\n");
}

/* ---- tokens ---- */

TEST(tokens_of_all_who_wrote_are_counted)
{
    begin(SEAM_ALIGN);
    give((struct chat_event){
        .kind = CHAT_USAGE,
        .usage = {.seen = true, .input = 1000, .output = 200, .cached = 70, .reasoning = 30}});
    check_got("usage 1 1100 220 77 33\n"); /* before the text fits, too: nothing goes out by it */
    CHECK(s.said == SEAM_HOLD);
    give((struct chat_event){.kind = CHAT_USAGE}); /* counts nothing: what is before stays */
    check_got("usage 1 100 20 7 3\n");
}

TEST(tokens_that_nobody_told_are_not_said_to_be_known)
{
    static const struct chat_usage none;

    begin(SEAM_ALIGN);
    stitch_init(&s, SEAM_ALIGN, &text, &none, &a);
    give((struct chat_event){.kind = CHAT_USAGE});
    check_got("usage 0 0 0 0 0\n");
    give((struct chat_event){.kind = CHAT_USAGE, .usage = {.seen = true, .input = 5}});
    check_got("usage 1 5 0 0 0\n");
}

TEST_MAIN()
