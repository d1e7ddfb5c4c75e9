/* The completions of before chat: what is read of a request and of an answer, and how a translated
 * answer is written. */
#include "providers/dialect.h"

#include "tests/unit/check.h"

static const struct dialect *const d = &dialect_openai_completions;

static struct chat_watch w;

static enum dialect_event event(const char *data)
{
    return d->read_event(&(struct sse_event){.data = span_of(data), .has_data = true}, &w, NULL,
                         NULL);
}

static void begin(unsigned expected)
{
    w = (struct chat_watch){.expected = expected};
}

#define CHUNK(i, text, finish)                                                                     \
    "{\"choices\":[{\"text\":\"" text "\",\"index\":" #i ",\"finish_reason\":" finish "}]}"

TEST(the_text_of_a_choice_is_output_and_its_finish_reason_ends_it)
{
    begin(2);
    CHECK_INT(event(CHUNK(0, "a", "null")), EVENT_OUTPUT);
    CHECK_INT(event(CHUNK(0, "", "\"stop\"")), EVENT_STOP);
    CHECK_INT(d->judge_end(&w), TRUNCATED); /* of two */
    CHECK_INT(event(CHUNK(1, "b", "\"length\"")), EVENT_OUTPUT);
    CHECK_INT(d->judge_end(&w), FAILURE_NONE);
    CHECK_INT(event("[DONE]"), EVENT_END);
}

TEST(no_text_is_an_answer_but_no_choice_is_none)
{
    begin(1);
    CHECK_INT(d->judge_end(&w), EMPTY);
    CHECK_INT(event("{\"choices\":[]}"), EVENT_LIFECYCLE);
    CHECK_INT(d->judge_end(&w), EMPTY);
    CHECK_INT(event(CHUNK(0, "", "null")), EVENT_LIFECYCLE);
    CHECK_INT(d->judge_end(&w), TRUNCATED);
    CHECK_INT(event(CHUNK(0, "", "\"stop\"")), EVENT_STOP);
    CHECK_INT(d->judge_end(&w), FAILURE_NONE);
}

static enum failure answer(unsigned expected, const char *body)
{
    begin(expected);
    d->read_answer(span_of(body), &w, NULL, NULL);
    return w.failure;
}

TEST(a_whole_answer_has_all_its_choices_with_their_reasons)
{
    CHECK_INT(answer(1, CHUNK(0, "a", "\"stop\"")), FAILURE_NONE);
    CHECK_INT(answer(1, CHUNK(0, "", "\"stop\"")), FAILURE_NONE);
    CHECK_INT(answer(1, CHUNK(0, "", "null")), TRUNCATED);
    CHECK_INT(answer(2, CHUNK(0, "a", "\"stop\"")), TRUNCATED);
    CHECK_INT(answer(1, "{\"choices\":[]}"), EMPTY);
    CHECK_INT(answer(1, "{}"), EMPTY);
    CHECK_INT(answer(1, "{\"choices\":[{\"text\":\"a"), TRUNCATED);
    CHECK_INT(answer(1, "{\"error\":{\"message\":\"m\",\"type\":\"overloaded_error\"}}"),
              OVERLOADED);
}

/* Some servers of chat repeat the text of a delta there. */
TEST(in_chat_a_choice_s_own_text_is_not_read)
{
    begin(1);
    CHECK_INT(dialect_openai_chat.read_event(
                  &(struct sse_event){.data = SPAN(CHUNK(0, "a", "null")), .has_data = true}, &w,
                  NULL, NULL),
              EVENT_LIFECYCLE);
    CHECK(!w.output);
}

TEST(a_request_asks_for_an_answer_to_each_prompt_as_often_as_n_says)
{
    static const struct {
        const char *members;
        unsigned choices;
        bool stream, logprobs;
    } rows[] = {
        {"\"prompt\":\"a\"", 1, false, false},
        {"\"stream\":false", 1, false, false}, /* OpenAI lets a prompt be missing */
        {"\"prompt\":\"a\",\"n\":3,\"stream\":true", 3, true, false},
        {"\"prompt\":[\"a\",\"b\"],\"n\":2,\"logprobs\":0", 4, false, true},
        {"\"prompt\":[1,2,3]", 1, false, false},
        {"\"prompt\":[[1],[2,3]],\"logprobs\":null", 2, false, false},
    };
    struct chat_request req;
    struct arena a;
    struct err e;
    char body[200];

    arena_init(&a);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(body, sizeof(body), "{\"model\":\"m\",%s}", rows[i].members);
        req = (struct chat_request){0};
        if (d->read_request(span_of(body), &a, &req, &e) < 0)
            fail_msg("%s: %s", body, e.msg);
        CHECK_INT(req.choices, rows[i].choices);
        CHECK(req.stream == rows[i].stream && req.logprobs == rows[i].logprobs);
    }
    CHECK_INT(d->read_request(SPAN("{\"model\":\"m\",\"prompt\":[]}"), &a, &req, &e), -1);
    arena_release(&a);
}

TEST(a_translated_stream_is_written_in_chunks_of_text)
{
    static const struct chat_event events[] = {
        {.kind = CHAT_START},
        {.kind = CHAT_REASONING, .text = SPAN("\"hm\"")},
        {.kind = CHAT_TEXT, .text = SPAN("\"a\\n\"")},
        {.kind = CHAT_STOP, .text = SPAN("\"max_tokens\"")},
        {.kind = CHAT_USAGE, .usage = {true, 3, 2, 0, 0}},
        {.kind = CHAT_END},
    };
    static const char want[] =
        "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\","
        "\"choices\":[{\"text\":\"a\\n\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}]}"
        "\n\n"
        "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\","
        "\"choices\":[{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"length\"}]}"
        "\n\ndata: [DONE]\n\n";
    struct answer_writer writer = {.id = SPAN("cmpl-1"), .model = SPAN("m"), .created = 7};
    struct strbuf out = strbuf_heap(4096);

    for (size_t i = 0; i < ARRAY_LEN(events); i++)
        d->write_event(&writer, &events[i], &out);
    CHECK_SPAN(strbuf_span(&out), want);
    strbuf_clear(&out);
    writer.usage_asked = true;
    d->write_event(&writer, &events[5], &out);
    CHECK(strstr(out.buf, "\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,"
                          "\"total_tokens\":5") != NULL);
    strbuf_release(&out);
}

TEST_MAIN()
