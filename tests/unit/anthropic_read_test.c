/* Answers of Anthropic's messages: which events they are, and what they mean. */
#include "providers/dialect.h"
#include "tests/unit/check.h"

static const struct dialect *const d = &dialect_anthropic_messages;

/* ---- how the tests read ---- */

static char log_mem[8192];
static struct strbuf told;

/* One line an event. */
static void note(void *ctx, const struct chat_event *ev)
{
    static const char *const names[] = {
        [CHAT_START] = "start",         [CHAT_TEXT] = "text",
        [CHAT_REASONING] = "reasoning", [CHAT_REFUSAL] = "refusal",
        [CHAT_TOOL_START] = "tool",     [CHAT_TOOL_ARGS] = "args",
        [CHAT_SIGNATURE] = "signature", [CHAT_STOP] = "stop",
        [CHAT_USAGE] = "usage",         [CHAT_END] = "end",
    };
    struct strbuf *out = ctx;

    strbuf_add(out, names[ev->kind]);
    if (ev->kind == CHAT_TOOL_START || ev->kind == CHAT_TOOL_ARGS)
        strbuf_addf(out, " %u", ev->tool);
    if (ev->id.n != 0)
        strbuf_addf(out, " %.*s", SPAN_ARG(ev->id));
    if (ev->name.n != 0)
        strbuf_addf(out, " %.*s", SPAN_ARG(ev->name));
    if (ev->text.n != 0)
        strbuf_addf(out, " %.*s", SPAN_ARG(ev->text));
    if (ev->kind == CHAT_USAGE)
        strbuf_addf(out, " %d %d %d %d", (int)ev->usage.input, (int)ev->usage.output,
                    (int)ev->usage.cached, (int)ev->usage.reasoning);
    strbuf_add(out, "\n");
}

static enum dialect_event last_kind;

/* Reads a stream `step` bytes at a time into a fresh watch. */
static struct chat_watch read_stream(const char *text, size_t step, chat_sink *sink, void *ctx)
{
    struct span all = span_of(text);
    struct chat_watch w;
    struct sse_event ev;
    struct sse s;

    memset(&w, 0, sizeof(w));
    sse_init(&s, 1 << 20);
    for (size_t at = 0; at < all.n; at += step) {
        size_t n = all.n - at < step ? all.n - at : step;

        CHECK_INT(sse_feed(&s, (struct span){all.p + at, n}), 0);
        while (sse_next(&s, &ev))
            last_kind = d->read_event(&ev, &w, sink, ctx);
    }
    if (sse_end(&s, &ev))
        last_kind = d->read_event(&ev, &w, sink, ctx);
    sse_release(&s);
    return w;
}

/* The events of a stream, the same ones in every split. */
static struct chat_watch check_stream(const char *text, const char *want)
{
    struct chat_watch w, split;

    told = strbuf_on(log_mem, sizeof(log_mem));
    w = read_stream(text, strlen(text), note, &told);
    CHECK_STR(log_mem, want);
    for (size_t step = 1; step < 9; step += 3) {
        told = strbuf_on(log_mem, sizeof(log_mem));
        split = read_stream(text, step, note, &told);
        CHECK_STR(log_mem, want);
        CHECK(memcmp(&split, &w, sizeof(w)) == 0);
    }
    split = read_stream(text, strlen(text), NULL, NULL);
    CHECK(memcmp(&split, &w, sizeof(w)) == 0);
    return w;
}

static struct chat_watch check_answer(const char *body, const char *want)
{
    struct chat_watch w = {0};

    told = strbuf_on(log_mem, sizeof(log_mem));
    log_mem[0] = '\0';
    d->read_answer(span_of(body), &w, note, &told);
    CHECK_STR(log_mem, want);
    return w;
}

static enum dialect_event read_one(const char *text, struct chat_watch *w)
{
    struct sse_event ev;
    struct sse s;
    enum dialect_event kind;

    sse_init(&s, 1 << 20);
    CHECK_INT(sse_feed(&s, span_of(text)), 0);
    CHECK(sse_next(&s, &ev));
    kind = d->read_event(&ev, w, NULL, NULL);
    sse_release(&s);
    return kind;
}

#define EVENT(name, members) "event: " name "\ndata: {\"type\":\"" name "\"" members "}\n\n"
#define MESSAGE(usage)                                                                             \
    EVENT("message_start",                                                                         \
          ",\"message\":{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\","            \
          "\"model\":\"claude-x\",\"content\":[],\"stop_reason\":null,\"usage\":{" usage "}}")
#define START(i, block)                                                                            \
    EVENT("content_block_start", ",\"index\":" i ",\"content_block\":{" block "}")
#define DELTA(i, delta) EVENT("content_block_delta", ",\"index\":" i ",\"delta\":{" delta "}")
#define STOP(i)         EVENT("content_block_stop", ",\"index\":" i)
#define FINISH(reason, usage)                                                                      \
    EVENT("message_delta", ",\"delta\":{\"stop_reason\":\"" reason                                 \
                           "\",\"stop_sequence\":null},\"usage\":{" usage "}")
#define DONE          EVENT("message_stop", "")
#define TEXT_START(i) START(i, "\"type\":\"text\",\"text\":\"\"")
#define TEXT(i, text) DELTA(i, "\"type\":\"text_delta\",\"text\":\"" text "\"")
#define TOOL_START(i, n)                                                                           \
    START(i, "\"type\":\"tool_use\",\"id\":\"toolu_" n "\",\"name\":\"f" n "\",\"input\":{}")
#define ARGS(i, json) DELTA(i, "\"type\":\"input_json_delta\",\"partial_json\":\"" json "\"")

/* ---- streams ---- */

TEST(text_with_usage)
{
    struct chat_watch w = check_stream(
        MESSAGE("\"input_tokens\":3,\"cache_creation_input_tokens\":5,"
                "\"cache_read_input_tokens\":7,\"output_tokens\":1") TEXT_START("0")
            EVENT("ping", "") TEXT("0", "H\\u00e9") TEXT("0", "llo") STOP("0")
                FINISH("end_turn", "\"output_tokens\":9") DONE,
        "start \"msg_1\" \"claude-x\"\ntext \"H\\u00e9\"\ntext \"llo\"\nstop \"stop\"\n"
        "usage 15 9 7 0\nend\n");

    CHECK(w.output && w.stopped && w.end && !w.tools);
    CHECK_INT(d->judge_end(&w), FAILURE_NONE);
}

TEST(later_counts_replace_earlier_ones_each_by_itself)
{
    struct chat_watch w = check_stream(
        MESSAGE("\"input_tokens\":3,\"cache_creation_input_tokens\":5,"
                "\"cache_read_input_tokens\":7,\"output_tokens\":1") TEXT_START("0") TEXT("0", "a")
            EVENT("message_delta", ",\"delta\":{\"stop_reason\":null},\"usage\":{"
                                   "\"cache_read_input_tokens\":null,\"output_tokens\":4}")
                FINISH("end_turn", "\"input_tokens\":30,\"cache_read_input_tokens\":0,"
                                   "\"output_tokens\":20,"
                                   "\"output_tokens_details\":{\"thinking_tokens\":6}") DONE,
        "start \"msg_1\" \"claude-x\"\ntext \"a\"\nstop \"stop\"\nusage 35 20 0 6\nend\n");

    CHECK(w.usage.seen && w.usage.input == 35 && w.usage.reasoning == 6);
}

TEST(tool_calls_are_counted_without_the_provider_s_own)
{
    struct chat_watch w = check_stream(
        MESSAGE("\"input_tokens\":1") TEXT_START("0") TEXT("0", "a") STOP("0")
            START("1", "\"type\":\"server_tool_use\",\"id\":\"srvtoolu_1\",\"name\":\"web_search\","
                       "\"input\":{}") ARGS("1", "{}") STOP("1")
                START("2", "\"type\":\"web_search_tool_result\",\"tool_use_id\":\"srvtoolu_1\","
                           "\"content\":[]") STOP("2") TOOL_START("3", "0") ARGS("3", "")
                    ARGS("3", "{\\\"a\\\":") ARGS("3", "1}") STOP("3") TOOL_START("4", "1")
                        ARGS("4", "") STOP("4")
                            START("5", "\"type\":\"tool_use\",\"id\":\"toolu_2\",\"name\":\"f2\","
                                       "\"input\":{\"b\": 1.0}") STOP("5")
                                FINISH("tool_use", "\"output_tokens\":2") DONE,
        "start \"msg_1\" \"claude-x\"\ntext \"a\"\n"
        "tool 0 \"toolu_0\" \"f0\"\nargs 0 \"{\\\"a\\\":\"\nargs 0 \"1}\"\n"
        "tool 1 \"toolu_1\" \"f1\"\nargs 1 {}\n"
        "tool 2 \"toolu_2\" \"f2\"\nargs 2 {\"b\": 1.0}\n"
        "stop \"tool_calls\"\nusage 1 2 0 0\nend\n");

    CHECK(w.tools);
}

TEST(thinking_carries_its_signature)
{
    struct chat_watch w = check_stream(
        MESSAGE("") START("0", "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"")
            DELTA("0", "\"type\":\"thinking_delta\",\"thinking\":\"hm\"")
                DELTA("0", "\"type\":\"signature_delta\",\"signature\":\"c2ln\\/\"") STOP("0")
                    START("1", "\"type\":\"redacted_thinking\",\"data\":\"ZGF0\"") STOP("1")
                        TEXT_START("2") TEXT("2", "a") STOP("2") FINISH("end_turn", "") DONE,
        "start \"msg_1\" \"claude-x\"\nreasoning \"hm\"\n"
        "signature \"anthropic_messages\" \"c2ln\\/\"\n"
        "signature \"anthropic_messages\" \"redacted\" \"ZGF0\"\n"
        "text \"a\"\nstop \"stop\"\nend\n");

    CHECK_INT(d->judge_end(&w), FAILURE_NONE);
}

TEST(a_call_makes_the_stop_reason_whatever_was_told)
{
    check_stream(MESSAGE("") TOOL_START("0", "0") STOP("0") FINISH("end_turn", "") DONE,
                 "start \"msg_1\" \"claude-x\"\ntool 0 \"toolu_0\" \"f0\"\nargs 0 {}\n"
                 "stop \"tool_calls\"\nend\n");
    check_stream(MESSAGE("") TOOL_START("0", "0") ARGS("0", "{\\\"a") FINISH("max_tokens", "") DONE,
                 "start \"msg_1\" \"claude-x\"\ntool 0 \"toolu_0\" \"f0\"\nargs 0 \"{\\\"a\"\n"
                 "stop \"length\"\nend\n");
    check_stream(MESSAGE("") TEXT_START("0") TEXT("0", "a") FINISH("tool_use", "") DONE,
                 "start \"msg_1\" \"claude-x\"\ntext \"a\"\nstop \"stop\"\nend\n");
}

TEST(stop_reasons)
{
    static const struct {
        const char *theirs, *ours;
        enum failure empty; /* without any output */
    } rows[] = {
        {"end_turn", "\"stop\"", EMPTY},
        {"stop_sequence", "\"stop\"", FAILURE_NONE},
        {"max_tokens", "\"length\"", FAILURE_NONE},
        {"model_context_window_exceeded", "\"length\"", FAILURE_NONE},
        {"refusal", "\"content_filter\"", FAILURE_NONE},
        {"pause_turn", "\"stop\"", EMPTY},
        {"something_new", "\"stop\"", EMPTY},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[600], want[200];
        struct chat_watch w;

        snprintf(text, sizeof(text), MESSAGE("") "%s" FINISH("%s", "") DONE, "", rows[i].theirs);
        snprintf(want, sizeof(want), "start \"msg_1\" \"claude-x\"\nstop %s\n%s", rows[i].ours,
                 rows[i].empty == EMPTY ? "" : "end\n");
        w = check_stream(text, want);
        CHECK_INT(d->judge_end(&w), rows[i].empty);
        snprintf(text, sizeof(text),
                 "{\"type\":\"message\",\"id\":\"msg_1\",\"model\":\"claude-x\",\"content\":[],"
                 "\"stop_reason\":\"%s\"}",
                 rows[i].theirs);
        w = check_answer(text, rows[i].empty == EMPTY ? "" : want);
        CHECK_INT(w.failure, rows[i].empty);
    }
}

TEST(a_stream_is_complete_with_its_end_or_its_stop_reason)
{
    struct chat_watch w =
        read_stream(MESSAGE("") TEXT_START("0") TEXT("0", "a") STOP("0"), 100, NULL, NULL);

    CHECK_INT(d->judge_end(&w), TRUNCATED);
    w = read_stream(MESSAGE(""), 100, NULL, NULL);
    CHECK_INT(d->judge_end(&w), TRUNCATED);
    w = read_stream(EVENT("ping", "") ": hello\n\n", 100, NULL, NULL);
    CHECK_INT(d->judge_end(&w), EMPTY);
    w = read_stream(MESSAGE("") TEXT_START("0") TEXT("0", "a") FINISH("end_turn", ""), 100, NULL,
                    NULL);
    CHECK_INT(d->judge_end(&w), FAILURE_NONE);
    CHECK(!w.end);
    w = read_stream(MESSAGE("") TEXT_START("0") TEXT("0", "a") DONE, 100, NULL, NULL);
    CHECK_INT(d->judge_end(&w), FAILURE_NONE);
    CHECK(w.end && w.stopped);
    w = read_stream(MESSAGE("") TOOL_START("0", "1") ARGS("0", "{") DONE, 100, NULL, NULL);
    CHECK_INT(d->judge_end(&w), TRUNCATED); /* half a call is no answer */
}

TEST(a_second_envelope_changes_nothing)
{
    check_stream(MESSAGE("\"input_tokens\":3") TEXT_START("0") TEXT("0", "a") STOP("0")
                     MESSAGE("\"input_tokens\":100") TEXT_START("0") TEXT("0", "b") STOP("0")
                         FINISH("end_turn", "\"output_tokens\":2") DONE MESSAGE("") TEXT_START("0")
                             TEXT("0", "behind the end"),
                 "start \"msg_1\" \"claude-x\"\ntext \"a\"\ntext \"b\"\nstop \"stop\"\n"
                 "usage 3 2 0 0\nend\n");
}

TEST(what_each_event_is)
{
    struct chat_watch w = {0};

    CHECK_INT(read_one(MESSAGE(""), &w), EVENT_LIFECYCLE);
    CHECK_INT(read_one(EVENT("ping", ""), &w), EVENT_NOTHING);
    CHECK_INT(read_one(EVENT("brand_new", ",\"delta\":{\"text\":\"a\"}"), &w), EVENT_NOTHING);
    CHECK_INT(read_one(TEXT_START("0"), &w), EVENT_LIFECYCLE);
    CHECK_INT(read_one(TEXT("0", ""), &w), EVENT_LIFECYCLE);
    CHECK(!w.output);
    CHECK_INT(read_one(TEXT("0", "a"), &w), EVENT_OUTPUT);
    CHECK_INT(read_one(TOOL_START("1", "1"), &w), EVENT_OUTPUT);
    CHECK_INT(read_one(ARGS("1", ""), &w), EVENT_LIFECYCLE);
    CHECK_INT(read_one(ARGS("2", "{"), &w), EVENT_BAD);
    CHECK_INT(read_one(ARGS("1", "{"), &w), EVENT_OUTPUT);
    CHECK_INT(read_one("data: {\"type\":\"content_block_delta\",\n\n", &w), EVENT_BAD);
    CHECK_INT(read_one("data: what\n\n", &w), EVENT_BAD);
    CHECK_INT(read_one("data: [DONE]\n\n", &w), EVENT_NOTHING);
    CHECK_INT(read_one(FINISH("max_tokens", ""), &w), EVENT_STOP);
    CHECK_INT(read_one(FINISH("end_turn", ""), &w), EVENT_LIFECYCLE);
    CHECK(w.cut_short);
    CHECK_INT(read_one(DONE, &w), EVENT_END);
}

/* ---- errors ---- */

TEST(errors_in_a_stream_are_told_by_their_type)
{
    static const struct {
        const char *type, *message;
        enum failure failure;
    } rows[] = {
        {"overloaded_error", "Overloaded", OVERLOADED},
        {"api_error", "Internal server error", SERVER_ERROR},
        {"timeout_error", "Request timed out", BAD_GATEWAY},
        {"rate_limit_error", "Number of requests has exceeded your rate limit", RATE_LIMITED},
        {"invalid_request_error", "max_tokens: field required", BAD_REQUEST},
        {"invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum",
         CONTEXT_LENGTH},
        {"invalid_request_error",
         "input length and `max_tokens` exceed context limit: 198000 + 8192 > 200000",
         CONTEXT_LENGTH},
        {"invalid_request_error", "Your credit balance is too low to access the Claude API", QUOTA},
        {"invalid_request_error", "Output blocked by content filtering policy", POLICY},
        {"invalid_request_error", "This model does not support effort level 'xhigh'.", UNSUPPORTED},
        {"invalid_request_error",
         "This model does not support assistant message prefill. The conversation must end with a "
         "user message.",
         UNSUPPORTED},
        {"invalid_request_error", "`temperature` is deprecated for this model.", UNSUPPORTED},
        {"invalid_request_error", "top_p: Extra inputs are not permitted", UNSUPPORTED},
        {"authentication_error", "invalid x-api-key", AUTH},
        {"permission_error", "no", FORBIDDEN},
        {"not_found_error", "model: claude-99", MODEL_GONE},
        {"request_too_large", "Request exceeds the maximum size", TOO_LARGE},
        {"billing_error", "pay", QUOTA},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[500];
        struct chat_watch w = {0}, named = {0};
        struct chat_error error;

        snprintf(text, sizeof(text),
                 "data: {\"type\":\"error\",\"error\":{\"details\":null,\"type\":\"%s\","
                 "\"message\":\"%s\"},\"request_id\":\"req_1\"}\n\n",
                 rows[i].type, rows[i].message);
        CHECK_INT(read_one(text, &w), EVENT_ERROR);
        CHECK_INT(w.failure, rows[i].failure);
        CHECK_STR(w.error.type, rows[i].type);
        CHECK_STR(w.error.message, rows[i].message);
        CHECK(w.begun == 0 && !w.output);
        snprintf(text, sizeof(text), "event: error\ndata: {\"type\":\"%s\",\"message\":\"%s\"}\n\n",
                 rows[i].type, rows[i].message);
        CHECK_INT(read_one(text, &named), EVENT_ERROR);
        CHECK_INT(named.failure, rows[i].failure);

        snprintf(text, sizeof(text),
                 "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"%s\"}}",
                 rows[i].type, rows[i].message);
        CHECK_INT(d->classify(strcmp(rows[i].type, "invalid_request_error") == 0 ? 400 : 529,
                              (struct span){0}, span_of(text), &error) != FAILURE_NONE,
                  true);
        memset(&w, 0, sizeof(w));
        d->read_answer(span_of(text), &w, NULL, NULL);
        CHECK_INT(w.failure, rows[i].failure);
    }
}

TEST(a_servers_fault_is_told_by_its_status)
{
    static const struct {
        unsigned status;
        const char *type;
        enum failure want;
    } rows[] = {
        {408, "timeout_error", REQUEST_TIMEOUT}, {500, "api_error", SERVER_ERROR},
        {501, "api_error", NOT_IMPLEMENTED},     {502, "api_error", BAD_GATEWAY},
        {503, "api_error", OVERLOADED},          {504, "timeout_error", BAD_GATEWAY},
        {505, "api_error", NOT_IMPLEMENTED},     {520, "api_error", BAD_GATEWAY},
        {529, "overloaded_error", OVERLOADED},   {500, "overloaded_error", OVERLOADED},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char body[200];
        struct chat_error error;

        snprintf(body, sizeof(body),
                 "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"m\"}}",
                 rows[i].type);
        CHECK_INT(d->classify(rows[i].status, (struct span){0}, span_of(body), &error),
                  rows[i].want);
        CHECK_INT(error.status, rows[i].status);
    }
}

TEST(an_error_behind_output_ends_the_stream)
{
    struct chat_watch w = check_stream(
        MESSAGE("") TEXT_START("0") TEXT("0", "a") "event: error\ndata: {\"type\":\"error\","
                                                   "\"error\":{\"type\":\"overloaded_error\","
                                                   "\"message\":\"Overloaded\"}}\n\n",
        "start \"msg_1\" \"claude-x\"\ntext \"a\"\n");

    CHECK_INT(d->judge_end(&w), OVERLOADED);
}

/* ---- answers in one piece ---- */

#define ANSWER(content, rest)                                                                      \
    "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-x\","        \
    "\"content\":[" content "]," rest "}"

TEST(an_answer_in_one_piece)
{
    struct chat_watch w = check_answer(
        "\n " ANSWER(
            "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"c2ln\"},"
            "{\"type\":\"redacted_thinking\",\"data\":\"ZGF0\"},"
            "{\"type\":\"text\",\"text\":\"a\",\"citations\":null},"
            "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"x\",\"input\":{\"q\":1}},"
            "{\"type\":\"tool_use\",\"id\":\"toolu_0\",\"name\":\"f\",\"input\":{\"n\": "
            "12345678901234567890}},"
            "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}}",
            "\"stop_reason\":\"tool_use\",\"usage\":{\"input_tokens\":1,"
            "\"cache_read_input_tokens\":2,\"output_tokens\":3}"),
        "start \"msg_1\" \"claude-x\"\nreasoning \"hm\"\n"
        "signature \"anthropic_messages\" \"c2ln\"\n"
        "signature \"anthropic_messages\" \"redacted\" \"ZGF0\"\ntext \"a\"\n"
        "tool 0 \"toolu_0\" \"f\"\nargs 0 {\"n\": 12345678901234567890}\n"
        "tool 1 \"toolu_1\" \"f\"\nargs 1 {}\n"
        "stop \"tool_calls\"\nusage 3 3 2 0\nend\n");

    CHECK_INT(w.failure, FAILURE_NONE);
    CHECK(w.stopped && w.end && w.output && w.tools);
}

TEST(answers_that_are_none)
{
    static const struct {
        const char *body;
        enum failure failure;
    } rows[] = {
        {"", EMPTY},
        {" \n", EMPTY},
        {"{}", EMPTY},
        {"[]", EMPTY},
        {"what", MALFORMED},
        {"{\"type\":\"message\",\"content\":[{\"type\":\"te", TRUNCATED},
        {"<html><title>502 Bad Gateway</title></html>", HTML_PAGE},
        {ANSWER("{\"type\":\"text\",\"text\":\"half\"}", "\"stop_reason\":null"), TRUNCATED},
        {ANSWER("{\"type\":\"text\",\"text\":\"\"}", "\"stop_reason\":\"end_turn\""), EMPTY},
        {ANSWER("{\"type\":\"redacted_thinking\",\"data\":\"x\"}", "\"stop_reason\":\"end_turn\""),
         EMPTY},
        {"{\"error\":{\"type\":\"forbidden\",\"message\":\"Request not allowed\"}}", SERVER_ERROR},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct chat_watch w = check_answer(rows[i].body, "");

        CHECK_INT(w.failure, rows[i].failure);
        CHECK(!w.output && !w.stopped && w.error.message[0] != '\0');
    }
}

/* The same answer, streamed and whole, as a client of OpenAI gets it. */
TEST(a_folded_stream_is_the_whole_answer)
{
    const char *stream = MESSAGE("\"input_tokens\":2,\"cache_read_input_tokens\":3")
        START("0", "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"")
            DELTA("0", "\"type\":\"thinking_delta\",\"thinking\":\"hm \"")
                DELTA("0", "\"type\":\"thinking_delta\",\"thinking\":\"so\"")
                    DELTA("0", "\"type\":\"signature_delta\",\"signature\":\"c2ln\"") STOP("0")
                        TEXT_START("1") TEXT("1", "a\\n") TEXT("1", "b") STOP("1")
                            TOOL_START("2", "0") ARGS("2", "") ARGS("2", "{\\\"q\\\":")
                                ARGS("2", "\\\"\xc3\xa9\\\"}") STOP("2") TOOL_START("3", "1")
                                    STOP("3") FINISH("tool_use", "\"output_tokens\":4") DONE;
    const char *whole = ANSWER(
        "{\"type\":\"thinking\",\"thinking\":\"hm so\",\"signature\":\"c2ln\"},"
        "{\"type\":\"text\",\"text\":\"a\\nb\"},"
        "{\"type\":\"tool_use\",\"id\":\"toolu_0\",\"name\":\"f0\",\"input\":{\"q\":\"\xc3\xa9\"}},"
        "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f1\",\"input\":{}}",
        "\"stop_reason\":\"tool_use\",\"usage\":{\"input_tokens\":2,\"cache_read_input_tokens\":3,"
        "\"output_tokens\":4}");
    struct strbuf out[2];
    struct arena a;

    arena_init(&a);
    for (int i = 0; i < 2; i++) {
        struct answer_writer writer = {.id = SPAN("i"), .model = SPAN("m"), .arena = &a};
        struct chat_watch w = {0};
        struct fold f;

        fold_init(&f, &a);
        if (i == 0)
            read_stream(stream, 11, fold_event, &f);
        else
            d->read_answer(span_of(whole), &w, fold_event, &f);
        CHECK(f.end);
        fold_done(&f);
        out[i] = strbuf_in(&a, 10000);
        dialect_openai_chat.write_answer(&writer, &f, &out[i]);
    }
    CHECK(span_find(strbuf_span(&out[0]), "\"tool_calls\"") != NULL);
    CHECK_STR(out[0].buf, out[1].buf);
    arena_release(&a);
}

TEST_MAIN()
