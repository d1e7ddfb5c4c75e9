#include "providers/dialect.h"
#include "tests/unit/check.h"

/* ---- events as text ---- */

static void put_text(struct strbuf *out, const char *name, struct span text)
{
    strbuf_addf(out, "%s %.*s\n", name, SPAN_ARG(text));
}

/* One line for each event. */
static void note(void *ctx, const struct chat_event *ev)
{
    struct strbuf *out = ctx;

    if (ev->choice != 0)
        strbuf_addf(out, "%u: ", ev->choice);
    switch (ev->kind) {
    case CHAT_START:
        strbuf_addf(out, "start %.*s %.*s\n", SPAN_ARG(ev->id), SPAN_ARG(ev->name));
        break;
    case CHAT_TEXT:
        put_text(out, "text", ev->text);
        break;
    case CHAT_REASONING:
        put_text(out, "reasoning", ev->text);
        break;
    case CHAT_REFUSAL:
        put_text(out, "refusal", ev->text);
        break;
    case CHAT_TOOL_START:
        strbuf_addf(out, "call %u %.*s %.*s\n", ev->tool, SPAN_ARG(ev->id), SPAN_ARG(ev->name));
        break;
    case CHAT_TOOL_ARGS:
        strbuf_addf(out, "args %u %.*s\n", ev->tool, SPAN_ARG(ev->text));
        break;
    case CHAT_SIGNATURE:
        strbuf_addf(out, "signature %u %.*s %.*s %.*s\n", ev->tool, SPAN_ARG(ev->text),
                    SPAN_ARG(ev->id), SPAN_ARG(ev->name));
        break;
    case CHAT_STOP:
        put_text(out, "stop", ev->text);
        break;
    case CHAT_VECTOR:
        put_text(out, "vector", ev->text);
        break;
    case CHAT_USAGE:
        strbuf_addf(out, "usage %u %u %u %u\n", (unsigned)ev->usage.input,
                    (unsigned)ev->usage.output, (unsigned)ev->usage.cached,
                    (unsigned)ev->usage.reasoning);
        break;
    case CHAT_END:
        strbuf_add(out, "end\n");
        break;
    }
}

static char lines[65536];
static struct chat_watch watch;
static enum dialect_event kinds[16];

/* Reads a stream, `step` bytes at a time. */
static enum failure read_in_steps(const char *text, size_t step)
{
    struct strbuf out = strbuf_on(lines, sizeof(lines));
    struct sse_event ev;
    struct sse s;
    size_t n = strlen(text), k = 0;

    memset(lines, 0, sizeof(lines));
    memset(&watch, 0, sizeof(watch));
    sse_init(&s, 1 << 20);
    for (size_t at = 0; at < n; at += step) {
        CHECK_INT(sse_feed(&s, (struct span){text + at, n - at < step ? n - at : step}), 0);
        while (sse_next(&s, &ev))
            kinds[k++ % 16] = dialect_gemini.read_event(&ev, &watch, note, &out);
    }
    if (sse_end(&s, &ev))
        kinds[k++ % 16] = dialect_gemini.read_event(&ev, &watch, note, &out);
    sse_release(&s);
    return dialect_gemini.judge_end(&watch);
}

/* The events and the verdict of a stream, the same at any split. */
static void check_stream(const char *text, enum failure end, const char *want)
{
    struct chat_watch whole;

    CHECK_INT(read_in_steps(text, strlen(text)), end);
    CHECK_STR(lines, want);
    whole = watch;
    for (size_t step = 1; step < 40; step += 6) {
        CHECK_INT(read_in_steps(text, step), end);
        CHECK_STR(lines, want);
        CHECK(memcmp(&whole, &watch, sizeof(whole)) == 0);
    }
}

static void check_answer(const char *body, enum failure failure, const char *want)
{
    struct strbuf out = strbuf_on(lines, sizeof(lines));

    memset(lines, 0, sizeof(lines));
    memset(&watch, 0, sizeof(watch));
    dialect_gemini.read_answer(span_of(body), &watch, note, &out);
    CHECK_INT(watch.failure, failure);
    CHECK_STR(lines, want);
}

#define HEAD         "\"responseId\":\"r1\",\"modelVersion\":\"gemini-2.5-pro\""
#define BEGUN        "start \"r1\" \"gemini-2.5-pro\"\n"
#define CHUNK(cand)  "data: {\"candidates\":[{" cand "}]," HEAD "}\r\n\r\n"
#define PARTS(parts) "\"content\":{\"role\":\"model\",\"parts\":[" parts "]}"
#define STOP         ",\"finishReason\":\"STOP\""

/* ---- streams ---- */

TEST(texts_are_told_as_they_stand)
{
    check_stream(CHUNK(PARTS("{\"text\":\"a\\u00e9\"}"))
                     CHUNK(PARTS("{\"text\":\"\xc3\xa9\"}") STOP),
                 FAILURE_NONE, BEGUN "text \"a\\u00e9\"\ntext \"\xc3\xa9\"\nstop \"stop\"\n");
    CHECK_INT(kinds[0], EVENT_OUTPUT);
    CHECK(watch.stopped && watch.output && !watch.tools && !watch.cut_short && !watch.end);
}

TEST(thoughts_are_reasoning_and_signatures_stay_with_their_part)
{
    check_stream(CHUNK(PARTS("{\"text\":\"hm\",\"thought\":true}"))
                     CHUNK(PARTS("{\"text\":\"\",\"thoughtSignature\":\"s1\"}"))
                         CHUNK(PARTS("{\"functionCall\":{\"name\":\"f\",\"args\":{}},"
                                     "\"thoughtSignature\":\"s2\"}") STOP),
                 FAILURE_NONE,
                 BEGUN "reasoning \"hm\"\nsignature 0 \"s1\" \"gemini\" \n"
                       "call 0 \"call_aee3d30407ccfb32dbb15266_0\" \"f\"\nargs 0 \"{}\"\n"
                       "signature 0 \"s2\" \"gemini\" \"tool\"\nstop \"tool_calls\"\n");
}

TEST(calls_over_several_chunks_have_numbers_and_ids_of_their_own)
{
    check_stream(
        CHUNK(PARTS("{\"functionCall\":{\"name\":\"f\",\"args\":{\"b\":1e400, \"a\":\"\\u00e9\"}}},"
                    "{\"functionCall\":{\"name\":\"f\"}}"))
            CHUNK(PARTS("{\"functionCall\":{\"id\":\"own\",\"name\":\"g\",\"args\":null}}"))
                CHUNK(PARTS("{\"text\":\"\"}") STOP),
        FAILURE_NONE,
        BEGUN "call 0 \"call_aee3d30407ccfb32dbb15266_0\" \"f\"\n"
              "args 0 \"{\\\"b\\\":1e400, \\\"a\\\":\\\"\\\\u00e9\\\"}\"\n"
              "call 1 \"call_aee3d30407ccfb32dbb15266_1\" \"f\"\nargs 1 \"{}\"\n"
              "call 2 \"own\" \"g\"\nargs 2 \"{}\"\nstop \"tool_calls\"\n");
    CHECK_INT(kinds[2], EVENT_STOP);
    CHECK(watch.tools);
}

TEST(ids_differ_from_answer_to_answer)
{
    char first[256];

#define CALL_IN(id)                                                                                \
    "data: {\"responseId\":\"" id                                                                  \
    "\",\"candidates\":[{" PARTS("{\"functionCall\":{\"name\":\"f\"}}") STOP "}]}\n\n"
    CHECK_INT(read_in_steps(CALL_IN("r1"), 1000), FAILURE_NONE);
    snprintf(first, sizeof(first), "%.200s", strstr(lines, "call 0"));
    CHECK_INT(read_in_steps(CALL_IN("r2"), 1000), FAILURE_NONE);
    CHECK(strcmp(first, strstr(lines, "call 0")) != 0);
}

TEST(every_candidate_is_a_choice_with_calls_of_its_own)
{
#define F(i) "{\"index\":" i "," PARTS("{\"functionCall\":{\"id\":\"" i "\",\"name\":\"f\"}}") "}"
    check_stream(
        "data: {\"candidates\":[" F("0") "," F(
            "2") "]}\n\n"
                 "data: {\"candidates\":[" F(
                     "2") ",{\"finishReason\":\"STOP\"}]}\n\n"
                          "data: "
                          "{\"candidates\":[{\"finishReason\":\"MAX_TOKENS\",\"index\":2}]}\n\n",
        FAILURE_NONE,
        "start  \ncall 0 \"0\" \"f\"\nargs 0 \"{}\"\n2: call 0 \"2\" \"f\"\n"
        "2: args 0 \"{}\"\n2: call 1 \"2\" \"f\"\n2: args 1 \"{}\"\n"
        "stop \"tool_calls\"\n2: stop \"length\"\n");
}

TEST(a_choice_that_lacks_makes_a_stream_incomplete)
{
    CHECK_INT(read_in_steps(CHUNK(PARTS("{\"text\":\"a\"}") STOP), 1000), FAILURE_NONE);
    watch.expected = 2;
    CHECK_INT(dialect_gemini.judge_end(&watch), TRUNCATED);
}

TEST(reasons_to_stop_become_the_canonical_ones)
{
    static const struct {
        const char *reason, *want;
    } cases[] = {
        {"\"STOP\"", "stop"},
        {"\"MAX_TOKENS\"", "length"},
        {"\"SAFETY\"", "content_filter"},
        {"\"RECITATION\"", "content_filter"},
        {"\"BLOCKLIST\"", "content_filter"},
        {"\"PROHIBITED_CONTENT\"", "content_filter"},
        {"\"SPII\"", "content_filter"},
        {"\"IMAGE_SAFETY\"", "content_filter"},
        {"\"MODEL_ARMOR\"", "content_filter"},
        {"\"LANGUAGE\"", "stop"},
        {"\"OTHER\"", "stop"},
        {"\"A_NEW_ONE\"", "stop"},
        {"1", "stop"},
        {"2", "length"},
        {"3", "content_filter"},
    };
    char text[512], want[512];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text),
                 "data: {\"candidates\":[{" PARTS("{\"text\":\"a\"}") ",\"finishReason\":%s}]}\n\n",
                 cases[i].reason);
        snprintf(want, sizeof(want), "start  \ntext \"a\"\nstop \"%s\"\n", cases[i].want);
        check_stream(text, FAILURE_NONE, want);
        CHECK_INT(watch.cut_short, strcmp(cases[i].want, "stop") != 0);
    }
}

TEST(chunks_behind_a_finish_reason_belong_to_the_answer)
{
    check_stream(
        CHUNK(PARTS("{\"executableCode\":{\"language\":\"PYTHON\",\"code\":\"1\\n2\"}}") STOP)
            CHUNK(PARTS("{\"codeExecutionResult\":{\"outcome\":\"OUTCOME_OK\",\"output\":\"2\"}}"))
                CHUNK(PARTS("{\"text\":\"two\"}") STOP),
        FAILURE_NONE,
        BEGUN "text \"\\n```python\\n1\\n2\\n```\\n\"\nstop \"stop\"\n"
              "text \"\\n```\\n2\\n```\\n\"\ntext \"two\"\n");
    check_stream(CHUNK(PARTS("{\"text\":\"a\"}") STOP)
                     CHUNK(PARTS("{\"functionCall\":{\"id\":\"x\",\"name\":\"f\"}}")),
                 FAILURE_NONE,
                 BEGUN "text \"a\"\nstop \"stop\"\ncall 0 \"x\" \"f\"\nargs 0 \"{}\"\n"
                       "stop \"tool_calls\"\n");
}

TEST(the_last_usage_counts)
{
    check_stream(
        "data: {\"candidates\":[{" PARTS(
            "{\"text\":\"a\"}") "}],\"usageMetadata\":"
                                "{\"promptTokenCount\":7,\"totalTokenCount\":7}}\n\n"
                                "data: "
                                "{\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":"
                                "{\"promptTokenCount\":7,\"toolUsePromptTokenCount\":3,"
                                "\"candidatesTokenCount\":5,"
                                "\"thoughtsTokenCount\":11,\"cachedContentTokenCount\":4,"
                                "\"totalTokenCount\":26}}"
                                "\n\n"
                                "data: {\"usageMetadata\":{\"trafficType\":\"ON_DEMAND\"}}\n\n",
        FAILURE_NONE, "start  \ntext \"a\"\nusage 7 0 0 0\nstop \"stop\"\nusage 10 16 4 11\n");
    CHECK_INT(watch.usage.output, 16);
}

TEST(a_refused_prompt_is_a_complete_answer_without_content)
{
    check_stream("data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}," HEAD "}\n\n",
                 FAILURE_NONE, BEGUN "stop \"content_filter\"\n");
    CHECK_INT(kinds[0], EVENT_STOP);
    watch.expected = 2;
    CHECK_INT(dialect_gemini.judge_end(&watch), FAILURE_NONE);
    check_answer("{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}," HEAD "}", FAILURE_NONE,
                 BEGUN "stop \"content_filter\"\nend\n");
    check_stream("data: {\"promptFeedback\":{\"safetyRatings\":[]}}\n\n", EMPTY, "");
}

TEST(pictures_become_links_in_the_text)
{
    check_stream(
        CHUNK(PARTS("{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"iVBO\"}}") STOP),
        FAILURE_NONE, BEGUN "text \"![image](data:image/png;base64,iVBO)\"\nstop \"stop\"\n");
}

TEST(streams_without_an_end_are_truncated_and_without_output_empty)
{
    check_stream(CHUNK(PARTS("{\"text\":\"a\"}")), TRUNCATED, BEGUN "text \"a\"\n");
    check_stream("", EMPTY, "");
    check_stream(": ping\n\n", EMPTY, "");
    check_stream("data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n", EMPTY,
                 "start  \nstop \"stop\"\n");
    check_stream("data: {\"candidates\":[{\"finishReason\":\"MAX_TOKENS\"}]}\n\n", FAILURE_NONE,
                 "start  \nstop \"length\"\n");
    check_stream(CHUNK(PARTS("{\"text\":\"a\"}") STOP) "data: {\"candi", FAILURE_NONE,
                 BEGUN "text \"a\"\nstop \"stop\"\n");
    CHECK_INT(kinds[1], EVENT_BAD);
}

TEST(a_bad_call_is_a_failure_until_there_was_output)
{
#define BAD(reason) "\"finishReason\":\"" reason "\",\"finishMessage\":\"why\""
    static const char *const bad[] = {CHUNK(BAD("MALFORMED_FUNCTION_CALL")),
                                      CHUNK(BAD("UNEXPECTED_TOOL_CALL")),
                                      CHUNK(BAD("TOO_MANY_TOOL_CALLS"))};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        check_stream(bad[i], CONFLICT, "");
        CHECK_INT(kinds[0], EVENT_ERROR);
        CHECK(strstr(watch.error.message, "why") != NULL && watch.begun == 0);
    }
    check_stream(
        CHUNK(PARTS("{\"functionCall\":{\"name\":\"f\"}}") "," BAD("UNEXPECTED_TOOL_CALL")),
        CONFLICT, "");
    check_stream(CHUNK(PARTS("{\"text\":\"a\"}")) CHUNK(BAD("MALFORMED_FUNCTION_CALL")),
                 FAILURE_NONE, BEGUN "text \"a\"\nstop \"stop\"\n");
    check_answer("{\"candidates\":[{" BAD("MALFORMED_FUNCTION_CALL") "}]}", CONFLICT, "");
}

TEST(arguments_in_pieces_are_not_guessed_at)
{
    check_stream(CHUNK(PARTS("{\"functionCall\":{\"name\":\"f\",\"willContinue\":true}}")),
                 UNSUPPORTED, "");
}

/* ---- errors inside a stream ---- */

#define ERROR_503 "{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}"

TEST(errors_inside_a_stream_are_found_in_every_form)
{
    static const char *const forms[] = {
        "data: " ERROR_503 "\n\n",
        "data: [" ERROR_503 "]\n\n",
        ERROR_503,
        "[" ERROR_503 "]\n",
        "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"busy\",\n"
        "    \"status\": \"UNAVAILABLE\"\n  }\n}\n",
        "event: error\ndata: " ERROR_503 "\n\n",
    };
    char text[1024];

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        check_stream(forms[i], OVERLOADED, "");
        CHECK_STR(watch.error.message, "busy");
        snprintf(text, sizeof(text), CHUNK(PARTS("{\"text\":\"a\"}")) "%s", forms[i]);
        check_stream(text, OVERLOADED, BEGUN "text \"a\"\n");
    }
    check_stream("data: oops\n\n", EMPTY, "");
    CHECK_INT(kinds[0], EVENT_BAD);
}

/* ---- answers in one piece ---- */

TEST(a_whole_answer_ends_with_its_end)
{
    check_answer("\n {\"candidates\":[{" PARTS("{\"text\":\"a\"}") STOP
                 "}]," HEAD ",\"usageMetadata\":{\"promptTokenCount\":1}}\n",
                 FAILURE_NONE, BEGUN "text \"a\"\nstop \"stop\"\nusage 1 0 0 0\nend\n");
    CHECK(watch.end && watch.stopped);
}

TEST(a_list_of_fragments_is_one_answer)
{
    check_answer(
        "[{\"candidates\":[{" PARTS(
            "{\"functionCall\":{\"id\":\"x\",\"name\":\"f\"}}") "}]," HEAD "},\n{\"candidates\":[{"
                                                                "\"finishReason\":\"STOP\"}]}]",
        FAILURE_NONE, BEGUN "call 0 \"x\" \"f\"\nargs 0 \"{}\"\nstop \"tool_calls\"\nend\n");
}

TEST(what_is_no_complete_answer_is_told_apart)
{
    check_answer("", EMPTY, "");
    check_answer("{}", EMPTY, "");
    check_answer("{\"candidates\":[]}", EMPTY, "");
    check_answer("{\"candidates\":[{\"finishReason\":\"STOP\"}]}", EMPTY, "");
    check_answer("{\"candidates\":[{" PARTS("{\"text\":\"a\"}") "}]}", TRUNCATED, "");
    check_answer("{\"candidates\":[{", TRUNCATED, "");
    check_answer("hello", MALFORMED, "");
    check_answer("<!DOCTYPE html><title>502</title>", HTML_PAGE, "");
    check_answer(ERROR_503, OVERLOADED, "");
    check_answer("[" ERROR_503 "]", OVERLOADED, "");
}

/* ---- errors by status ---- */

#define FAULT(code, status, message, details)                                                      \
    "{\"error\":{\"code\":" code ",\"message\":\"" message "\",\"status\":\"" status               \
    "\",\"details\":[" details "]}}"
#define OVER "You exceeded your current quota, please check your plan and billing details."

TEST(errors_are_classified_by_what_they_say)
{
    static const struct {
        unsigned status;
        const char *body;
        enum failure want;
    } cases[] = {
        {400, FAULT("400", "INVALID_ARGUMENT", "no", "{\"reason\":\"API_KEY_INVALID\"}"), AUTH},
        {400, FAULT("400", "INVALID_ARGUMENT", "no", ""), BAD_REQUEST},
        {400,
         FAULT("400", "INVALID_ARGUMENT", "The input token count (2) exceeds the maximum (1)", ""),
         CONTEXT_LENGTH},
        {400,
         FAULT("400", "FAILED_PRECONDITION", "User location is not supported for the API use.", ""),
         FORBIDDEN},
        {400,
         FAULT("400", "INVALID_ARGUMENT", "Image input modality is not enabled for models/x", ""),
         UNSUPPORTED},
        {401, FAULT("401", "UNAUTHENTICATED", "no", ""), AUTH},
        {403, FAULT("403", "PERMISSION_DENIED", "no", ""), FORBIDDEN},
        {404, FAULT("404", "NOT_FOUND", "no", ""), MODEL_GONE},
        {429,
         FAULT("429", "RESOURCE_EXHAUSTED", OVER,
               "{\"quotaId\":\"GenerateRequestsPerDayPerProject\"}"),
         QUOTA},
        {429,
         FAULT("429", "RESOURCE_EXHAUSTED", OVER, "{\"quotaId\":\"GenerateRequestsPerMinute\"}"),
         RATE_LIMITED},
        {429, FAULT("429", "RESOURCE_EXHAUSTED", OVER " limit: 0", ""), QUOTA},
        {429, FAULT("429", "RESOURCE_EXHAUSTED", OVER, ""), RATE_LIMITED},
        {499, FAULT("499", "CANCELLED", "no", ""), CONFLICT},
        {500, FAULT("500", "INTERNAL", "no", ""), SERVER_ERROR},
        {503, FAULT("503", "UNAVAILABLE", "The model is overloaded.", ""), OVERLOADED},
        {504, FAULT("504", "DEADLINE_EXCEEDED", "no", ""), BAD_GATEWAY},
        {502, "<html><title>Error 502</title>", BAD_GATEWAY},
        {404, "<html><title>Error 404</title>", HTML_PAGE},
        {500, "<html><title>Error 500</title>", HTML_PAGE},
        {408, "", REQUEST_TIMEOUT},
        {501, FAULT("501", "UNIMPLEMENTED", "no", ""), NOT_IMPLEMENTED},
        {502, "", BAD_GATEWAY},
        {503, "", OVERLOADED},
        {504, "", BAD_GATEWAY},
        {505, "", NOT_IMPLEMENTED},
        {522, "error code: 522", BAD_GATEWAY},
        {529, "", OVERLOADED},
    };
    struct chat_error error;
    char list[1024];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum failure f = dialect_gemini.classify(cases[i].status, (struct span){0},
                                                 span_of(cases[i].body), &error);

        if (f != cases[i].want)
            fail_msg("%s: got %s", cases[i].body, failure_row(f)->name);
        CHECK_INT(error.status, cases[i].status);
        if (cases[i].body[0] != '{')
            continue;
        snprintf(list, sizeof(list), "[%s]", cases[i].body);
        CHECK_INT(dialect_gemini.classify(cases[i].status, (struct span){0}, span_of(list), &error),
                  cases[i].want);
    }
}

TEST_MAIN()
