/* What a client of OpenAI chat completions gets, streamed and in one piece. */
#include "providers/dialect.h"
#include "tests/unit/check.h"

static const struct dialect *const d = &dialect_openai_chat;

static struct arena a;
static struct answer_writer w;
static struct strbuf out;
static struct fold f;

static void begin(void)
{
    arena_reset(&a);
    w = (struct answer_writer){
        .id = SPAN("i"), .model = SPAN("m"), .created = 7, .usage_asked = true, .arena = &a};
    out = strbuf_in(&a, 100000);
    fold_init(&f, &a);
}

#define CHUNK(members)                                                                             \
    "data: "                                                                                       \
    "{\"id\":\"i\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\"," members    \
    "}\n\n"
#define DELTA_OF(choice, members, finish)                                                          \
    CHUNK("\"choices\":[{\"index\":" choice ",\"delta\":{" members                                 \
          "},\"logprobs\":null,\"finish_reason\":" finish "}]")
#define DELTA(members) DELTA_OF("0", members, "null")
#define ROLE           "\"role\":\"assistant\",\"content\":\"\""
#define ANSWER(choices, usage)                                                                     \
    "{\"id\":\"i\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"m\",\"choices\":"      \
    "[" choices "]" usage "}\n"

/* Tells both writers; checks what the stream gains. */
static void check_event(struct chat_event ev, const char *want)
{
    strbuf_clear(&out);
    d->write_event(&w, &ev, &out);
    CHECK_SPAN(strbuf_span(&out), want);
    fold_event(&f, &ev);
}

static void check_whole(const char *want)
{
    struct chat_watch watch = {0};

    strbuf_clear(&out);
    fold_done(&f);
    d->write_answer(&w, &f, &out);
    CHECK_SPAN(strbuf_span(&out), want);
    d->read_answer(strbuf_span(&out), &watch, NULL, NULL);
    CHECK(watch.failure == FAILURE_NONE || watch.failure == EMPTY);
}

static struct chat_event of(enum chat_event_kind kind, const char *raw)
{
    return (struct chat_event){.kind = kind, .text = span_of(raw)};
}

static struct chat_event call(unsigned tool, const char *id, const char *name)
{
    return (struct chat_event){
        .kind = CHAT_TOOL_START, .tool = tool, .id = span_of(id), .name = span_of(name)};
}

static struct chat_event arguments(unsigned tool, const char *raw)
{
    return (struct chat_event){.kind = CHAT_TOOL_ARGS, .tool = tool, .text = span_of(raw)};
}

static struct chat_event signature(const char *of_what, const char *raw, const char *origin)
{
    return (struct chat_event){.kind = CHAT_SIGNATURE,
                               .text = span_of(raw),
                               .id = span_of(origin),
                               .name = span_of(of_what)};
}

#define USAGE_3_5                                                                                  \
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8,"                   \
    "\"prompt_tokens_details\":{\"cached_tokens\":1},"                                             \
    "\"completion_tokens_details\":{\"reasoning_tokens\":2}}"

TEST(an_answer_in_text)
{
    begin();
    check_event((struct chat_event){.kind = CHAT_START}, DELTA(ROLE));
    check_event((struct chat_event){.kind = CHAT_USAGE, .usage = {true, 3, 1, 0, 0}}, "");
    check_event(of(CHAT_REASONING, "\"r\""), DELTA("\"reasoning_content\":\"r\""));
    check_event(of(CHAT_TEXT, "\"a\\u00e9\""), DELTA("\"content\":\"a\\u00e9\""));
    check_event(of(CHAT_TEXT, "\"b\""), DELTA("\"content\":\"b\""));
    check_event(of(CHAT_STOP, "\"eos\""), DELTA_OF("0", "", "\"stop\""));
    check_event(of(CHAT_STOP, "\"length\""), ""); /* once a choice */
    check_event((struct chat_event){.kind = CHAT_USAGE, .usage = {true, 3, 5, 1, 2}}, "");
    check_event((struct chat_event){.kind = CHAT_END},
                CHUNK("\"choices\":[]," USAGE_3_5) "data: [DONE]\n\n");
    check_whole(ANSWER("{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\\u00e9b\","
                       "\"refusal\":null,\"reasoning_content\":\"r\"},\"logprobs\":null,"
                       "\"finish_reason\":\"stop\"}",
                       "," USAGE_3_5));
}

TEST(usage_comes_only_where_it_was_asked_for)
{
    begin();
    w.usage_asked = false;
    check_event(of(CHAT_TEXT, "\"a\""), DELTA(ROLE) DELTA("\"content\":\"a\""));
    check_event((struct chat_event){.kind = CHAT_USAGE, .usage = {true, 3, 5, 1, 2}}, "");
    check_event((struct chat_event){.kind = CHAT_END}, "data: [DONE]\n\n");
}

TEST(a_refusal)
{
    begin();
    check_event(of(CHAT_REFUSAL, "\"no\""), DELTA(ROLE) DELTA("\"refusal\":\"no\""));
    check_event(of(CHAT_STOP, "\"content_filter\""), DELTA_OF("0", "", "\"content_filter\""));
    check_whole(
        ANSWER("{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,"
               "\"refusal\":\"no\"},\"logprobs\":null,\"finish_reason\":\"content_filter\"}",
               ""));
}

TEST(an_answer_without_anything_has_empty_content)
{
    begin();
    check_event(of(CHAT_STOP, "\"model_length\""), DELTA(ROLE) DELTA_OF("0", "", "\"length\""));
    check_whole(ANSWER("{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"\","
                       "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"length\"}",
                       ""));
}

TEST(calls)
{
    begin();
    check_event(call(2, "\"c\"", "\"f\""),
                DELTA(ROLE) DELTA("\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\","
                                  "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]"));
    check_event(
        arguments(2, "\"{\\\"a\\\"\""),
        DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\"\"}}]"));
    check_event(arguments(2, "\":1}\""),
                DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]"));
    check_event(arguments(3, "\"of no call\""), "");
    check_event(call(5, "\"d\"", "\"f\""),
                DELTA("\"tool_calls\":[{\"index\":1,\"id\":\"d\",\"type\":\"function\","
                      "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]"));
    /* Arguments that came as bare JSON are a string for a client. */
    check_event(
        arguments(5, "{\"a\":1}"),
        DELTA("\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"{\\\"a\\\":1}\"}}]"));
    /* Calls decide, not the word. */
    check_event(of(CHAT_STOP, "\"stop\""), DELTA_OF("0", "", "\"tool_calls\""));
    check_whole(ANSWER("{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,"
                       "\"refusal\":null,\"tool_calls\":["
                       "{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                       "\"arguments\":\"{\\\"a\\\":1}\"}},"
                       "{\"id\":\"d\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                       "\"arguments\":\"{\\\"a\\\":1}\"}}]},"
                       "\"logprobs\":null,\"finish_reason\":\"tool_calls\"}",
                       ""));
}

TEST(a_call_without_arguments_gets_the_empty_object)
{
    begin();
    check_event(call(0, "\"c\"", "\"f\""),
                DELTA(ROLE) DELTA("\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\","
                                  "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]"));
    check_event(of(CHAT_STOP, "\"tool_calls\""),
                DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]")
                    DELTA_OF("0", "", "\"tool_calls\""));
    check_whole(ANSWER("{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,"
                       "\"refusal\":null,\"tool_calls\":["
                       "{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                       "\"arguments\":\"{}\"}}]},"
                       "\"logprobs\":null,\"finish_reason\":\"tool_calls\"}",
                       ""));
}

TEST(arguments_that_were_cut_stay_cut)
{
    begin();
    check_event(call(0, "\"c\"", "\"f\""),
                DELTA(ROLE) DELTA("\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\","
                                  "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]"));
    check_event(of(CHAT_STOP, "\"length\""), DELTA_OF("0", "", "\"length\""));
    check_whole(ANSWER("{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,"
                       "\"refusal\":null,\"tool_calls\":["
                       "{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                       "\"arguments\":\"\"}}]},"
                       "\"logprobs\":null,\"finish_reason\":\"length\"}",
                       ""));
}

/* The ids of all calls in `text`, which is a stream or an answer. */
static size_t ids_in(struct span text, struct span *ids, size_t max)
{
    size_t n = 0;

    for (const char *p = span_find(text, "\"id\":\"");; p = span_find(text, "\"id\":\"")) {
        const char *end;

        if (p == NULL)
            return n;
        p += 6;
        end = memchr(p, '"', (size_t)(text.p + text.n - p));
        if (!span_is((struct span){p, (size_t)(end - p)}, "i") && n < max)
            ids[n++] = (struct span){p, (size_t)(end - p)};
        text = (struct span){end, (size_t)(text.p + text.n - end)};
    }
}

TEST(every_call_has_an_id_of_its_own)
{
    struct chat_event events[] = {call(0, "\"0\"", "\"f\""), call(1, "\"0\"", "\"f\""),
                                  call(2, "", "\"f\""),      call(3, "\"\"", "\"f\""),
                                  call(4, "null", "\"f\""),  of(CHAT_STOP, "\"stop\"")};
    struct span streamed[8], whole[8];
    struct strbuf other;

    begin();
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        d->write_event(&w, &events[i], &out);
        fold_event(&f, &events[i]);
    }
    CHECK_INT(ids_in(strbuf_span(&out), streamed, 8), 5);
    fold_done(&f);
    other = strbuf_in(&a, 100000);
    d->write_answer(&w, &f, &other);
    CHECK_INT(ids_in(strbuf_span(&other), whole, 8), 5);
    CHECK_SPAN(streamed[0], "0");
    for (size_t i = 0; i < 5; i++) {
        CHECK(span_eq(streamed[i], whole[i]));
        CHECK(i == 0 || (streamed[i].n == 29 && span_starts(streamed[i], "call_")));
        for (size_t k = 0; k < i; k++)
            CHECK(!span_eq(streamed[i], streamed[k]));
    }

    /* Another answer's are others. */
    w.id = SPAN("j");
    strbuf_clear(&other);
    d->write_answer(&w, &f, &other);
    CHECK(ids_in(strbuf_span(&other), whole, 8) > 4 && !span_eq(whole[3], streamed[3]));
}

TEST(choices_have_their_own_role_calls_and_end)
{
    struct chat_event ev = of(CHAT_TEXT, "\"b\"");

    begin();
    ev.choice = 1;
    check_event(of(CHAT_TEXT, "\"a\""), DELTA(ROLE) DELTA("\"content\":\"a\""));
    check_event(ev, DELTA_OF("1", ROLE, "null") DELTA_OF("1", "\"content\":\"b\"", "null"));
    check_event(call(0, "\"c\"", "\"f\""),
                DELTA("\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\","
                      "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]"));
    ev = of(CHAT_STOP, "\"stop\"");
    ev.choice = 1;
    check_event(ev, DELTA_OF("1", "", "\"stop\""));
    check_event(of(CHAT_STOP, "\"length\""), DELTA_OF("0", "", "\"length\""));
    check_event(ev, "");
    check_whole(ANSWER("{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\","
                       "\"refusal\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\","
                       "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},"
                       "\"logprobs\":null,\"finish_reason\":\"length\"},"
                       "{\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":\"b\","
                       "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}",
                       ""));
}

TEST(signatures_stand_where_clients_give_them_back)
{
    begin();
    check_event(of(CHAT_REASONING, "\"r\""), DELTA(ROLE) DELTA("\"reasoning_content\":\"r\""));
    check_event(signature("", "\"s\\/1\"", "\"anthropic_messages\""),
                DELTA("\"reasoning_details\":[{\"type\":\"reasoning.text\",\"signature\":\"s\\/1\","
                      "\"format\":\"anthropic-claude-v1\",\"index\":0}]"));
    check_event(signature("\"redacted\"", "\"s2\"", "\"anthropic_messages\""),
                DELTA("\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"s2\","
                      "\"format\":\"anthropic-claude-v1\",\"index\":1}]"));
    check_event(call(0, "\"c\"", "\"f\""),
                DELTA("\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\","
                      "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]"));
    check_event(signature("\"tool\"", "\"s3\"", "\"gemini\""),
                DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\"},"
                      "\"extra_content\":{\"google\":{\"thought_signature\":\"s3\"}}}]"));
    check_event(arguments(0, "\"{}\""),
                DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]"));
    check_event(of(CHAT_STOP, "\"tool_calls\""), DELTA_OF("0", "", "\"tool_calls\""));
    check_whole(
        ANSWER("{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,"
               "\"refusal\":null,\"reasoning_content\":\"r\",\"reasoning_details\":["
               "{\"type\":\"reasoning.text\",\"signature\":\"s\\/1\","
               "\"format\":\"anthropic-claude-v1\",\"index\":0},"
               "{\"type\":\"reasoning.encrypted\",\"data\":\"s2\","
               "\"format\":\"anthropic-claude-v1\",\"index\":1}],"
               "\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
               "\"arguments\":\"{}\"},\"extra_content\":{\"google\":{"
               "\"thought_signature\":\"s3\"}}}]},"
               "\"logprobs\":null,\"finish_reason\":\"tool_calls\"}",
               ""));
}

TEST(of_several_signatures_each_names_what_it_signs)
{
    struct chat_event events[] = {of(CHAT_REASONING, "\"a\""), signature("", "\"1\"", "\"gemini\""),
                                  of(CHAT_REASONING, "\"b\""), signature("", "\"2\"", "\"gemini\""),
                                  of(CHAT_STOP, "\"stop\"")};

    begin();
    for (size_t i = 0; i < ARRAY_LEN(events); i++)
        fold_event(&f, &events[i]);
    check_whole(ANSWER("{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"\","
                       "\"refusal\":null,\"reasoning_content\":\"ab\",\"reasoning_details\":["
                       "{\"type\":\"reasoning.text\",\"text\":\"a\",\"signature\":\"1\","
                       "\"format\":\"google-gemini-v1\",\"index\":0},"
                       "{\"type\":\"reasoning.text\",\"text\":\"b\",\"signature\":\"2\","
                       "\"format\":\"google-gemini-v1\",\"index\":1}]},"
                       "\"logprobs\":null,\"finish_reason\":\"stop\"}",
                       ""));
}

/* ---- a stream of the provider's own bytes that we go on with ---- */

static struct chat_watch watch;

static void begin_following(void)
{
    begin();
    watch = (struct chat_watch){0};
}

/* One event goes to the client as it is. */
static void follow(const char *data)
{
    struct sse_event ev = {.data = span_of(data), .has_data = true};

    d->follow(&w, &ev, d->read_event(&ev, &watch, NULL, NULL));
}

#define THEIRS(id, created, delta)                                                                 \
    "{\"id\":" id ",\"object\":\"chat.completion.chunk\",\"created\":" created                     \
    ",\"model\":\"x\",\"choices\":[{\"index\":0,\"delta\":{" delta "},\"finish_reason\":null}]}"
#define GOES_ON(id, created)                                                                       \
    "data: {\"id\":\"" id "\",\"object\":\"chat.completion.chunk\",\"created\":" created           \
    ",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"},"                    \
    "\"logprobs\":null,\"finish_reason\":null}]}\n\n"

TEST(a_stream_goes_on_under_its_id_and_without_a_second_role)
{
    begin_following();
    follow(THEIRS("\"theirs\\u002d1\"", "99", "\"role\":\"assistant\",\"content\":\"\""));
    follow(THEIRS("\"theirs-1\"", "99", "\"content\":\"a\""));
    check_event((struct chat_event){.kind = CHAT_START}, "");
    check_event(of(CHAT_TEXT, "\"b\""), GOES_ON("theirs-1", "99"));
}

TEST(whoever_carries_a_stream_on_is_named)
{
    begin();
    check_event(of(CHAT_START, ""), DELTA(ROLE));
    check_event(of(CHAT_TEXT, "\"a\""), DELTA("\"content\":\"a\""));
    w.model = SPAN("n");
    check_event(of(CHAT_TEXT, "\"b\""),
                "data: {\"id\":\"i\",\"object\":\"chat.completion.chunk\",\"created\":7,"
                "\"model\":\"n\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"},"
                "\"logprobs\":null,\"finish_reason\":null}]}\n\n");
}

TEST(the_first_chunk_tells_the_id)
{
    begin_following();
    follow(THEIRS("\"one\"", "99", "\"content\":\"a\""));
    follow(THEIRS("\"two\"", "100", "\"content\":\"a\""));
    check_event(of(CHAT_TEXT, "\"b\""), GOES_ON("one", "99"));
}

TEST(what_is_no_part_of_the_answer_tells_no_id)
{
    begin_following();
    follow("{\"id\":\"ping\",\"created\":1}");
    follow("");
    follow(THEIRS("\"one\"", "99", "\"content\":\"a\""));
    check_event(of(CHAT_TEXT, "\"b\""), GOES_ON("one", "99"));
}

/* Azure first tells what its filter thinks of the prompt. */
TEST(a_chunk_before_the_first_choice_tells_no_id)
{
    begin_following();
    follow("{\"id\":\"\",\"object\":\"\",\"created\":0,\"model\":\"\",\"choices\":[],"
           "\"prompt_filter_results\":[{\"prompt_index\":0}]}");
    follow(THEIRS("\"one\"", "99", "\"role\":\"assistant\",\"content\":\"\""));
    follow(THEIRS("\"one\"", "99", "\"content\":\"a\""));
    check_event(of(CHAT_TEXT, "\"b\""), GOES_ON("one", "99"));
}

TEST(a_chunk_without_an_id_leaves_ours)
{
    begin_following();
    follow("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],\"created\":\"x\"}");
    check_event(of(CHAT_TEXT, "\"b\""), GOES_ON("i", "7"));
    begin_following();
    follow(THEIRS("null", "1.5", "\"content\":\"a\""));
    check_event(of(CHAT_TEXT, "\"b\""), GOES_ON("i", "7"));
}

TEST_MAIN()
