#include "providers/fold.h"

#include "tests/unit/check.h"

static struct arena a;
static struct fold f;

static void begin(void)
{
    arena_reset(&a);
    fold_init(&f, &a);
}

/* Events come as views that are gone with the next one. */
static void tell(struct chat_event ev)
{
    char text[100], id[100], name[100];

    memcpy(text, ev.text.p != NULL ? ev.text.p : "", ev.text.n);
    memcpy(id, ev.id.p != NULL ? ev.id.p : "", ev.id.n);
    memcpy(name, ev.name.p != NULL ? ev.name.p : "", ev.name.n);
    ev.text.p = text;
    ev.id.p = id;
    ev.name.p = name;
    fold_event(&f, &ev);
    memset(text, '?', sizeof(text));
    memset(id, '?', sizeof(id));
    memset(name, '?', sizeof(name));
}

static void text(enum chat_event_kind kind, unsigned choice, const char *raw)
{
    tell((struct chat_event){.kind = kind, .choice = choice, .text = span_of(raw)});
}

TEST(pieces_become_one_raw_string)
{
    begin();
    tell((struct chat_event){.kind = CHAT_START, .id = SPAN("\"i\""), .name = SPAN("\"m\"")});
    tell((struct chat_event){.kind = CHAT_START, .id = SPAN("\"x\""), .name = SPAN("\"y\"")});
    text(CHAT_REASONING, 0, "\"so\"");
    text(CHAT_TEXT, 0, "\"a\\ud83d\"");
    text(CHAT_TEXT, 0, "\"\\ude00\"");
    text(CHAT_REASONING, 0, "\" it is\"");
    text(CHAT_REFUSAL, 0, "\"no\"");
    text(CHAT_STOP, 0, "\"stop\"");
    text(CHAT_STOP, 0, "\"length\""); /* the first one counts */
    tell((struct chat_event){.kind = CHAT_USAGE, .usage = {true, 1, 1, 0, 0}});
    tell((struct chat_event){.kind = CHAT_USAGE, .usage = {true, 9, 8, 7, 6}});
    CHECK(!f.end);
    tell((struct chat_event){.kind = CHAT_END});
    fold_done(&f);
    CHECK(f.end && !f.too_big);
    CHECK_SPAN(f.id, "\"i\"");
    CHECK_SPAN(f.model, "\"m\"");
    CHECK_INT(f.usage.input, 9);
    CHECK(f.choices->next == NULL && f.choices->calls == NULL);
    CHECK_SPAN(strbuf_span(&f.choices->text), "\"a\\ud83d\\ude00\"");
    CHECK_SPAN(strbuf_span(&f.choices->reasoning), "\"so it is\"");
    CHECK_SPAN(strbuf_span(&f.choices->refusal), "\"no\"");
    CHECK_SPAN(f.choices->stop, "\"stop\"");
}

TEST(an_empty_text_is_not_the_same_as_none)
{
    begin();
    text(CHAT_TEXT, 0, "\"\"");
    fold_done(&f);
    CHECK_SPAN(strbuf_span(&f.choices->text), "\"\"");
    CHECK_INT(f.choices->reasoning.len, 0);
}

TEST(choices_are_in_the_order_of_their_numbers)
{
    begin();
    text(CHAT_TEXT, 2, "\"c\"");
    text(CHAT_TEXT, 0, "\"a\"");
    text(CHAT_TEXT, 1, "\"b\"");
    text(CHAT_TEXT, 0, "\"A\"");
    fold_done(&f);
    CHECK_SPAN(strbuf_span(&f.choices->text), "\"aA\"");
    CHECK_INT(f.choices->next->index, 1);
    CHECK_INT(f.choices->next->next->index, 2);
    CHECK(f.choices->next->next->next == NULL);
}

TEST(arguments_go_to_their_call)
{
    struct fold_call *call;

    begin();
    for (unsigned i = 3; i < 5; i++)
        tell((struct chat_event){
            .kind = CHAT_TOOL_START, .tool = i, .id = SPAN("\"c\""), .name = SPAN("\"f\"")});
    tell((struct chat_event){.kind = CHAT_TOOL_ARGS, .tool = 4, .text = SPAN("{\"q\":\"\"}")});
    tell((struct chat_event){.kind = CHAT_TOOL_ARGS, .tool = 3, .text = SPAN("\"{\\\"a\"")});
    tell((struct chat_event){.kind = CHAT_TOOL_ARGS, .tool = 3, .text = SPAN("\"\\\":1}\"")});
    tell((struct chat_event){.kind = CHAT_TOOL_ARGS, .tool = 9, .text = SPAN("\"lost\"")});
    tell((struct chat_event){.kind = CHAT_SIGNATURE,
                             .tool = 3,
                             .text = SPAN("\"sig\""),
                             .id = SPAN("\"gemini\""),
                             .name = SPAN("\"tool\"")});
    fold_done(&f);
    call = f.choices->calls;
    CHECK_INT(call->tool, 3);
    CHECK_SPAN(strbuf_span(&call->arguments), "\"{\\\"a\\\":1}\"");
    CHECK_SPAN(call->signature, "\"sig\"");
    CHECK_SPAN(call->origin, "\"gemini\"");
    call = call->next;
    CHECK_SPAN(strbuf_span(&call->arguments), "\"{\\\"q\\\":\\\"\\\"}\""); /* bare JSON */
    CHECK_INT(call->signature.n, 0);
    CHECK(call->next == NULL);
}

static void sign(const char *raw, const char *name)
{
    tell((struct chat_event){.kind = CHAT_SIGNATURE,
                             .text = span_of(raw),
                             .id = SPAN("\"anthropic_messages\""),
                             .name = span_of(name)});
}

TEST(a_signature_signs_the_reasoning_since_the_one_before)
{
    struct fold_signed *s;

    begin();
    text(CHAT_REASONING, 0, "\"a\"");
    text(CHAT_REASONING, 0, "\"b\"");
    sign("\"1\"", "");
    sign("\"2\"", "\"redacted\"");
    sign("\"3\"", "");
    text(CHAT_REASONING, 0, "\"c\"");
    sign("\"4\"", "");
    fold_done(&f);
    CHECK_SPAN(strbuf_span(&f.choices->reasoning), "\"abc\"");
    s = f.choices->signatures;
    CHECK_SPAN(s->text, "\"ab\"");
    CHECK_SPAN(s->signature, "\"1\"");
    s = s->next;
    CHECK(s->text.p == NULL);
    CHECK_SPAN(s->signature, "\"2\"");
    s = s->next;
    CHECK_SPAN(s->text, "\"\"");
    s = s->next;
    CHECK_SPAN(s->text, "\"c\"");
    CHECK_SPAN(s->origin, "\"anthropic_messages\"");
    CHECK(s->next == NULL);
}

TEST(too_many_choices_calls_or_signatures_are_noticed)
{
    begin();
    for (unsigned i = 0; i < 200; i++)
        text(CHAT_TEXT, i, "\"a\"");
    CHECK(f.too_big);
    begin();
    for (unsigned i = 0; i < 2000; i++)
        tell((struct chat_event){.kind = CHAT_TOOL_START, .tool = i, .name = SPAN("\"f\"")});
    CHECK(f.too_big);
    begin();
    for (unsigned i = 0; i < 2000; i++)
        sign("\"s\"", "\"redacted\"");
    CHECK(f.too_big);
}

TEST_MAIN()
