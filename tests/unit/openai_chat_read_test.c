/* Answers of providers: what each event of a stream, and a whole answer, is taken for. */
#include "providers/dialect.h"
#include "tests/unit/check.h"

static const struct dialect *const d = &dialect_openai_chat;

static struct chat_watch w;

/* ---- one event ---- */

static enum dialect_event event_named(const char *name, const char *data)
{
    struct sse_event ev = {.name = span_of(name), .data = span_of(data), .has_data = true};

    return d->read_event(&ev, &w, NULL, NULL);
}

static enum dialect_event event(const char *data)
{
    return event_named("", data);
}

static enum dialect_event first_event(const char *data)
{
    memset(&w, 0, sizeof(w));
    return event(data);
}

static enum dialect_event delta(const char *members)
{
    char data[1000];

    snprintf(data, sizeof(data),
             "{\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{%s},\"finish_reason\":null}]}",
             members);
    return first_event(data);
}

#define FINISH(i, reason)                                                                          \
    "{\"choices\":[{\"index\":" #i ",\"delta\":{},\"finish_reason\":\"" reason "\"}]}"
#define TEXT(i) "{\"choices\":[{\"index\":" #i ",\"delta\":{\"content\":\"a\"}}]}"

TEST(what_carries_content_is_output)
{
    static const char *const outputs[] = {
        "\"content\":\"a\"",
        "\"content\":\" \"",
        "\"reasoning_content\":\"a\",\"content\":null",
        "\"reasoning\":\"a\",\"content\":\"\"",
        "\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"a\"}]",
        "\"reasoning_details\":[{\"type\":\"reasoning.summary\",\"summary\":\"a\"}]",
        "\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"a\"}]",
        "\"refusal\":\"no\"",
        "\"audio\":{\"id\":\"a\"}",
        "\"images\":[{\"type\":\"image_url\"}]",
        "\"content\":[{\"type\":\"text\",\"text\":\"a\"}]",
        "\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"a\"}]}]",
    };

    for (size_t i = 0; i < sizeof(outputs) / sizeof(outputs[0]); i++) {
        CHECK_INT(delta(outputs[i]), EVENT_OUTPUT);
        CHECK(w.output && !w.tools && !w.stopped);
        CHECK_INT(w.begun, 1);
    }
}

TEST(what_carries_none_is_lifecycle)
{
    static const char *const lifecycle[] = {
        "",
        "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null",
        "\"content\":null,\"tool_calls\":null,\"function_call\":null,\"audio\":null",
        "\"content\":[]",
        "\"content\":[{\"type\":\"text\",\"text\":\"\"}]",
        "\"reasoning\":\"\",\"reasoning_details\":[]",
        "\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"\"}]",
        "\"tool_calls\":[]",
        "\"audio\":{},\"images\":[ ]",
        "\"function_call\":{}",
        "\"new_thing\":\"text\"",
    };

    for (size_t i = 0; i < sizeof(lifecycle) / sizeof(lifecycle[0]); i++) {
        CHECK_INT(delta(lifecycle[i]), EVENT_LIFECYCLE);
        CHECK(!w.output && !w.tools);
        CHECK_INT(w.begun, 1);
    }
    CHECK_INT(first_event("{\"choices\":[],\"prompt_filter_results\":[{}]}"), EVENT_LIFECYCLE);
    CHECK_INT(w.begun, 0);
    CHECK_INT(first_event("{\"choices\":[{\"index\":0,\"delta\":null}]}"), EVENT_LIFECYCLE);
}

TEST(a_tool_call_is_output_and_remembered)
{
    CHECK_INT(delta("\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\","
                    "\"arguments\":\"\"}}]"),
              EVENT_OUTPUT);
    CHECK(w.output && w.tools);
    CHECK_INT(delta("\"function_call\":{\"name\":\"f\"}"), EVENT_OUTPUT);
    CHECK(w.output && w.tools);
}

TEST(each_choice_that_began_must_finish)
{
    CHECK_INT(first_event(TEXT(0)), EVENT_OUTPUT);
    CHECK_INT(event(TEXT(2)), EVENT_OUTPUT);
    CHECK_INT(event(FINISH(0, "stop")), EVENT_STOP);
    CHECK(!w.stopped);
    CHECK_INT(d->judge_end(&w), TRUNCATED);
    CHECK_INT(event(FINISH(0, "length")), EVENT_LIFECYCLE); /* repeated: the first one counts */
    CHECK(!w.stopped && !w.cut_short);
    CHECK_INT(event(FINISH(2, "stop")), EVENT_STOP);
    CHECK(w.stopped);
    CHECK_INT(d->judge_end(&w), FAILURE_NONE);
    CHECK_INT(event("{\"choices\":[{\"delta\":{\"content\":\"late\"},\"index\":1}]}"),
              EVENT_OUTPUT);
    CHECK(!w.stopped);
}

TEST(output_and_a_finish_reason_in_one_event_are_both_seen)
{
    CHECK_INT(first_event("{\"choices\":[{\"finish_reason\":\"stop\",\"delta\":{\"content\":\"a\"},"
                          "\"index\":0}]}"),
              EVENT_OUTPUT);
    CHECK(w.stopped && w.output);
}

TEST(an_empty_finish_reason_is_none)
{
    CHECK_INT(first_event(FINISH(0, "")), EVENT_LIFECYCLE);
    CHECK(!w.stopped);
}

TEST(the_end_is_judged_by_the_finish_reasons_not_by_the_marker)
{
    memset(&w, 0, sizeof(w));
    CHECK_INT(d->judge_end(&w), EMPTY);
    CHECK_INT(first_event("[DONE]"), EVENT_END);
    CHECK(w.end);
    CHECK_INT(d->judge_end(&w), EMPTY);

    CHECK_INT(first_event(TEXT(0)), EVENT_OUTPUT);
    CHECK_INT(event("\n [DONE]  "), EVENT_END);
    CHECK_INT(d->judge_end(&w), TRUNCATED);

    CHECK_INT(delta("\"role\":\"assistant\""), EVENT_LIFECYCLE);
    CHECK_INT(d->judge_end(&w), TRUNCATED);
    CHECK_INT(event(FINISH(0, "stop")), EVENT_STOP);
    CHECK_INT(d->judge_end(&w), EMPTY);
    CHECK_INT(event("[DONE]"), EVENT_END);
    CHECK_INT(d->judge_end(&w), EMPTY);
}

TEST(no_output_is_no_fault_where_length_or_a_filter_explains_it)
{
    static const char *const explained[] = {FINISH(0, "length"), FINISH(0, "content_filter"),
                                            FINISH(0, "model_length"), FINISH(0, "max_tokens")};

    for (size_t i = 0; i < sizeof(explained) / sizeof(explained[0]); i++) {
        CHECK_INT(first_event(explained[i]), EVENT_STOP);
        CHECK(w.cut_short);
        CHECK_INT(d->judge_end(&w), FAILURE_NONE);
    }
    CHECK_INT(first_event(FINISH(0, "eos")), EVENT_STOP);
    CHECK_INT(d->judge_end(&w), EMPTY);
}

/* ---- usage ---- */

static void check_usage(const char *usage, uint64_t input, uint64_t output, uint64_t cached,
                        uint64_t reasoning)
{
    char data[1000];

    snprintf(data, sizeof(data), "{\"choices\":[],\"usage\":%s}", usage);
    CHECK_INT(first_event(data), EVENT_LIFECYCLE);
    CHECK(w.usage.seen);
    CHECK_INT(w.usage.input, input);
    CHECK_INT(w.usage.output, output);
    CHECK_INT(w.usage.cached, cached);
    CHECK_INT(w.usage.reasoning, reasoning);
}

TEST(usage_is_read_in_every_form)
{
    check_usage("{\"prompt_tokens\":10,\"completion_tokens\":20,\"total_tokens\":30,"
                "\"prompt_tokens_details\":{\"audio_tokens\":1,\"cached_tokens\":4},"
                "\"completion_tokens_details\":{\"reasoning_tokens\":5}}",
                10, 20, 4, 5);
    check_usage("{\"prompt_tokens\":10,\"completion_tokens\":20,\"prompt_cache_hit_tokens\":3}", 10,
                20, 3, 0);
    check_usage("{\"prompt_tokens\":10,\"completion_tokens\":20,\"cached_tokens\":2}", 10, 20, 2,
                0);
    /* xAI: the reasoning is not in the completion, as the total tells. */
    check_usage("{\"prompt_tokens\":10,\"completion_tokens\":20,\"total_tokens\":37,"
                "\"completion_tokens_details\":{\"reasoning_tokens\":7}}",
                10, 27, 0, 7);
    check_usage("{\"prompt_tokens\":10,\"completion_tokens\":null}", 10, 0, 0, 0);
    check_usage("{\"prompt_tokens\":1,\"completion_tokens\":-5,\"cached_tokens\":9}", 1, 0, 1, 0);
    check_usage("{\"prompt_tokens\":1.5,\"completion_tokens\":99999999999999999999}", 0, 0, 0, 0);
}

TEST(usage_counts_wherever_it_stands)
{
    CHECK_INT(first_event("{\"usage\":{\"prompt_tokens\":1},\"choices\":[{\"index\":0,\"delta\":{},"
                          "\"finish_reason\":\"stop\"}]}"),
              EVENT_STOP);
    CHECK_INT(w.usage.input, 1);
    CHECK_INT(event("{\"choices\":[],\"x_groq\":{\"id\":\"r\",\"usage\":{\"prompt_tokens\":2}}}"),
              EVENT_LIFECYCLE);
    CHECK_INT(w.usage.input, 2);
    CHECK_INT(event("{\"usage\":{\"prompt_tokens\":3}}"), EVENT_LIFECYCLE);
    CHECK_INT(w.usage.input, 3);
    CHECK_INT(event("{\"choices\":[],\"usage\":null,\"x_groq\":{}}"), EVENT_LIFECYCLE);
    CHECK_INT(w.usage.input, 3);
}

/* ---- errors inside ---- */

TEST(an_error_counts_before_anything_else)
{
    CHECK_INT(
        first_event("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},"
                    "\"finish_reason\":\"stop\"}],\"error\":{\"code\":429,\"message\":\"slow\"}}"),
        EVENT_ERROR);
    CHECK_INT(w.failure, RATE_LIMITED);
    CHECK_INT(w.error.status, 429);
    CHECK_STR(w.error.message, "slow");
    CHECK(!w.output && !w.stopped && w.begun == 0); /* nothing else was taken from it */
    CHECK_INT(d->judge_end(&w), RATE_LIMITED);
}

TEST(errors_are_known_in_every_shape)
{
    CHECK_INT(first_event("{\"error\":\"it broke\"}"), EVENT_ERROR);
    CHECK_INT(w.failure, SERVER_ERROR);
    CHECK_STR(w.error.message, "it broke");
    CHECK_INT(
        first_event("[{\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\",\"message\":\"m\"}}]"),
        EVENT_ERROR);
    CHECK_INT(w.failure, OVERLOADED);
    CHECK_INT(first_event("{\"object\":\"error\",\"message\":\"m\",\"type\":\"t\",\"code\":1}"),
              EVENT_ERROR);
    CHECK_INT(first_event("{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}"),
              EVENT_ERROR);
    CHECK_INT(w.failure, OVERLOADED);
    CHECK_INT(first_event("{\"detail\":\"d\"}"), EVENT_ERROR);

    memset(&w, 0, sizeof(w));
    CHECK_INT(event_named("error", "{\"message\":\"m\",\"status_code\":400}"), EVENT_ERROR);
    CHECK_INT(w.failure, BAD_REQUEST);
    memset(&w, 0, sizeof(w));
    CHECK_INT(event_named("error", "Internal Server Error"), EVENT_ERROR);
    CHECK_INT(w.failure, SERVER_ERROR);
    CHECK_STR(w.error.message, "Internal Server Error");
}

TEST(a_key_error_without_content_is_no_error)
{
    static const char *const fine[] = {"null", "\"\"", "false", "{}", "[]", "0"};

    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        char data[200];

        snprintf(data, sizeof(data),
                 "{\"error\":%s,\"choices\":[{\"index\":0,\"delta\":{\"content\":"
                 "\"a\"}}]}",
                 fine[i]);
        CHECK_INT(first_event(data), EVENT_OUTPUT);
        CHECK_INT(w.failure, FAILURE_NONE);
    }
}

TEST(some_finish_reasons_are_failures)
{
    CHECK_INT(first_event(FINISH(0, "error")), EVENT_ERROR);
    CHECK_INT(w.failure, SERVER_ERROR);
    CHECK_STR(w.error.message, "the provider ended its answer with finish_reason \"error\"");
    CHECK_INT(first_event(FINISH(0, "insufficient_system_resource")), EVENT_ERROR);
    CHECK_INT(w.failure, OVERLOADED);
    CHECK_INT(first_event(FINISH(0, "function_call_filter: MALFORMED_FUNCTION_CALL")), EVENT_ERROR);
    CHECK_INT(w.failure, SERVER_ERROR);
    CHECK_STR(w.error.message, "the provider ended its answer with finish_reason "
                               "\"function_call_filter: MALFORMED_FUNCTIO");
}

TEST(text_outside_of_any_field_tells_of_a_failure_or_of_nothing)
{
    static const struct {
        const char *text;
        enum dialect_event kind;
        enum failure failure;
    } rows[] = {
        {"{\n\"error\": {\"code\": 499,\n\"message\": \"m\", \"status\": \"CANCELLED\"}}",
         EVENT_ERROR, CONFLICT},
        {"<html><head><title>502 Bad Gateway</title></head></html>", EVENT_ERROR, HTML_PAGE},
        {"{\"id\":\"x\",\"choices\":[]}", EVENT_NOTHING, FAILURE_NONE},
        {"foo: bar", EVENT_NOTHING, FAILURE_NONE},
        {"{\"error\":", EVENT_NOTHING, FAILURE_NONE},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sse_event ev = {.data = span_of(rows[i].text), .stray = true};

        memset(&w, 0, sizeof(w));
        CHECK_INT(d->read_event(&ev, &w, NULL, NULL), rows[i].kind);
        CHECK_INT(w.failure, rows[i].failure);
    }
    CHECK_STR(w.error.message, "");
}

/* ---- what is not understood ---- */

TEST(data_that_is_no_json_object_is_bad_and_changes_nothing)
{
    static const char *const bad[] = {
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]",
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}}",
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xff\"}}]}",
        "nonsense",
        "[1]",
        "null",
        "\"text\"",
        "[DONE]x",
    };
    struct chat_watch none = {0};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_INT(first_event(bad[i]), EVENT_BAD);
        CHECK(memcmp(&w, &none, sizeof(w)) == 0);
    }
}

TEST(unknown_events_are_no_progress)
{
    CHECK_INT(first_event(""), EVENT_NOTHING);
    CHECK_INT(first_event("   "), EVENT_NOTHING);
    CHECK_INT(first_event("{\"type\":\"ping\"}"), EVENT_NOTHING);
    CHECK_INT(event_named("ping", "pong"), EVENT_NOTHING);
    CHECK_INT(event_named("message", "pong"), EVENT_BAD);
    CHECK_INT(d->read_event(&(struct sse_event){.raw = SPAN(": hi\n\n")}, &w, NULL, NULL),
              EVENT_NOTHING);
    /* A name does not hide a chunk. */
    CHECK_INT(event_named("chunk", TEXT(0)), EVENT_OUTPUT);
}

/* ---- events for translation ---- */

static struct strbuf heard;

static void hear(void *ctx, const struct chat_event *ev)
{
    CHECK(ctx == &heard);
    strbuf_addf(&heard, "%s %u/%u %.*s %.*s %.*s %llu\n",
                (const char *[]){"start", "text", "reasoning", "refusal", "call", "args",
                                 "signature", "stop", "usage", "end"}[ev->kind],
                ev->choice, ev->tool, SPAN_ARG(ev->text), SPAN_ARG(ev->id), SPAN_ARG(ev->name),
                (unsigned long long)(ev->usage.input + ev->usage.output));
}

static void check_heard(const char *const *events, const char *want)
{
    heard = strbuf_heap(10000);
    memset(&w, 0, sizeof(w));
    for (; *events != NULL; events++) {
        struct sse_event ev = {.data = span_of(*events), .has_data = true};

        d->read_event(&ev, &w, hear, &heard);
    }
    CHECK_SPAN(strbuf_span(&heard), want);
    strbuf_release(&heard);
}

TEST(a_stream_becomes_events_with_their_texts_as_they_came)
{
    check_heard(
        (const char *[]){"{\"id\":\"\",\"choices\":[],\"model\":\"\"}",
                         "{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                         "\"index\":0}],\"id\":\"c-1\",\"model\":\"m\"}",
                         "{\"choices\":[{\"delta\":{\"content\":\"\\u00e9\\n\"},\"index\":1}]}",
                         FINISH(1, "stop"), FINISH(1, "stop"), FINISH(0, "length"),
                         "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}",
                         "[DONE]", NULL},
        "start 0/0  \"c-1\" \"m\" 0\n"
        "text 1/0 \"\\u00e9\\n\"   0\n"
        "stop 1/0 \"stop\"   0\n"
        "stop 0/0 \"length\"   0\n"
        "usage 0/0    7\n"
        "end 0/0    0\n");
}

TEST(reasoning_that_comes_under_several_keys_is_told_once)
{
    check_heard(
        (const char *[]){
            "{\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"a\","
            "\"reasoning_content\":\"a\",\"reasoning_details\":[{\"text\":\"a\"}]}}]}",
            "{\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"\","
            "\"reasoning_details\":[{\"text\":\"b\"},{\"summary\":\"c\"}]}}]}",
            "{\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"thinking\","
            "\"thinking\":[{\"text\":\"d\"}]},{\"text\":\"e\"}]}}]}",
            NULL},
        "start 0/0    0\n"
        "reasoning 0/0 \"a\"   0\n"
        "reasoning 0/0 \"b\"   0\n"
        "reasoning 0/0 \"c\"   0\n"
        "reasoning 0/0 \"d\"   0\n"
        "text 0/0 \"e\"   0\n");
}

#define CALL(members) "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{" members "}]}}]}"

TEST(a_tool_call_begins_once_however_often_its_name_comes)
{
    check_heard(
        (const char *[]){
            CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}"),
            CALL("\"index\":0,\"id\":\"\",\"function\":{\"arguments\":\"{\"}"),
            CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"}\"}"),
            CALL("\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}"),
            NULL},
        "start 0/0    0\n"
        "call 0/0  \"a\" \"f\" 0\n"
        "args 0/0 \"{\"   0\n"
        "args 0/0 \"}\"   0\n"
        "call 0/1  \"b\" \"g\" 0\n"
        "args 0/1 \"{}\"   0\n");
}

TEST(calls_without_an_index_are_counted)
{
    check_heard(
        (const char *[]){
            CALL("\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}},"
                 "{\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}"),
            "{\"choices\":[{\"index\":1,\"delta\":{\"function_call\":{\"name\":\"h\"}}}]}",
            "{\"choices\":[{\"index\":1,\"delta\":{\"function_call\":{\"arguments\":"
            "\"1\"}}}]}",
            NULL},
        "start 0/0    0\n"
        "call 0/0  \"a\" \"f\" 0\n"
        "args 0/0 {\"x\":1}   0\n"
        "call 0/1  \"b\" \"f\" 0\n"
        "args 0/1 \"{}\"   0\n"
        "call 1/0   \"h\" 0\n"
        "args 1/0 \"1\"   0\n");
}

TEST(nothing_is_told_of_a_bad_event_an_error_or_an_end_that_is_none)
{
    check_heard((const char *[]){TEXT(0) "}",
                                 "{\"error\":\"x\",\"choices\":[{\"index\":0,\"delta\":{"
                                 "\"content\":\"a\"}}]}",
                                 NULL},
                "");
    check_heard((const char *[]){"[DONE]", NULL}, "");
}

/* ---- answers in one piece ---- */

static enum failure answer(const char *body)
{
    memset(&w, 0, sizeof(w));
    d->read_answer(span_of(body), &w, NULL, NULL);
    CHECK((w.failure == FAILURE_NONE) == (w.error.message[0] == '\0'));
    CHECK((w.failure == FAILURE_NONE) == w.stopped);
    return w.failure;
}

#define MESSAGE(members, finish)                                                                   \
    "{\"choices\":[{\"index\":0,\"message\":{" members "},\"finish_reason\":" finish "}]}"

TEST(a_complete_answer_has_output_or_a_reason_for_having_none)
{
    CHECK_INT(answer(MESSAGE("\"content\":\"hi\"", "\"stop\"")), FAILURE_NONE);
    CHECK(w.output && w.end && !w.tools);
    CHECK_INT(answer("\n\r\n  \t" MESSAGE("\"content\":\"hi\"", "null") "\n"), FAILURE_NONE);
    CHECK_INT(answer(MESSAGE("\"content\":\"hi\"", "\"\"")), FAILURE_NONE);
    CHECK_INT(answer("{\"choices\":[{\"message\":{\"content\":\"hi\"}}]}"), FAILURE_NONE);
    CHECK_INT(answer(MESSAGE("\"content\":null,\"tool_calls\":[{\"id\":\"a\"}]", "\"stop\"")),
              FAILURE_NONE);
    CHECK(w.tools);
    CHECK_INT(answer(MESSAGE("\"content\":\"\"", "\"length\"")), FAILURE_NONE);
    CHECK(!w.output && w.cut_short);
    CHECK_INT(answer("{\"choices\":[{\"finish_reason\":\"content_filter\"}]}"), FAILURE_NONE);
}

TEST(an_answer_without_output_is_empty)
{
    CHECK_INT(answer(""), EMPTY);
    CHECK_INT(answer("\n\n"), EMPTY);
    CHECK_INT(answer("{}"), EMPTY);
    CHECK_INT(answer("{\"choices\":[]}"), EMPTY);
    CHECK_INT(answer("{\"choices\":null}"), EMPTY);
    CHECK_INT(answer(MESSAGE("\"content\":\"\"", "\"stop\"")), EMPTY);
    CHECK_INT(answer(MESSAGE("\"content\":null", "null")), EMPTY);
    CHECK_STR(w.error.message, "the answer holds neither text nor a tool call");
}

TEST(an_answer_that_is_cut_a_page_or_no_json_is_told_apart)
{
    static const char whole[] = MESSAGE("\"content\":\"\\\"{[ hi\\\\\"", "\"stop\"");
    char cut[sizeof(whole)];

    CHECK_INT(answer(whole), FAILURE_NONE);
    for (size_t n = 1; n < strlen(whole); n++) {
        memcpy(cut, whole, n);
        cut[n] = '\0';
        CHECK_INT(answer(cut), TRUNCATED);
    }
    CHECK_INT(answer("<!DOCTYPE html><title>Sign in</title>"), HTML_PAGE);
    CHECK_STR(w.error.message, "Sign in");
    CHECK_INT(answer("Service ready"), MALFORMED);
    CHECK_INT(answer("{\"choices\":[]} trailing"), MALFORMED);
    CHECK_INT(answer("{\"choices\":[}"), TRUNCATED); /* never closed */
    CHECK_INT(answer("{\"choices\":[1,]}"), MALFORMED);
}

TEST(an_error_in_an_answer_is_classified)
{
    CHECK_INT(answer("{\"error\":{\"code\":\"insufficient_quota\",\"message\":\"m\"}}"), QUOTA);
    CHECK_INT(answer("{\"error\":\"rate limit\"}"), RATE_LIMITED);
    CHECK_INT(answer("[{\"error\":{\"code\":404,\"message\":\"m\"}}]"), MODEL_GONE);
    CHECK_INT(answer(MESSAGE("\"content\":\"hi\"", "\"error\"")), SERVER_ERROR);
}

TEST(an_answer_becomes_the_same_events_as_a_stream)
{
    heard = strbuf_heap(10000);
    memset(&w, 0, sizeof(w));
    d->read_answer(SPAN("{\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{"
                        "\"reasoning\":\"r\",\"content\":\"t\",\"tool_calls\":[{\"id\":\"a\","
                        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"finish_reason\":"
                        "null}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}"),
                   &w, hear, &heard);
    CHECK_SPAN(strbuf_span(&heard), "start 0/0  \"i\" \"m\" 0\n"
                                    "reasoning 0/0 \"r\"   0\n"
                                    "text 0/0 \"t\"   0\n"
                                    "call 0/0  \"a\" \"f\" 0\n"
                                    "args 0/0 \"{}\"   0\n"
                                    "stop 0/0 \"stop\"   0\n"
                                    "usage 0/0    3\n"
                                    "end 0/0    0\n");
    strbuf_release(&heard);
}

TEST_MAIN()
