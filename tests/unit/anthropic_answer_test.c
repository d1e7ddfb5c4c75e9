/* Answers in the words of Anthropic's clients: events, whole answers, errors, lists of models. */
#include "providers/anthropic_messages.h"
#include "tests/unit/check.h"

static const struct dialect *const d = &dialect_anthropic_messages;
static struct arena a;

struct stage {
    struct answer_writer w;
    struct strbuf out;
    struct fold fold;
};

static struct stage stage(bool reasoning)
{
    struct stage s = {
        .w = {.id = SPAN("msg_1"), .model = SPAN("m"), .reasoning_asked = reasoning, .arena = &a},
        .out = strbuf_in(&a, 1 << 20)};

    fold_init(&s.fold, &a);
    strbuf_add(&s.out, "");
    return s;
}

static void say(struct stage *s, struct chat_event ev)
{
    d->write_event(&s->w, &ev, &s->out);
    fold_event(&s->fold, &ev);
}

#define RAW(text) SPAN("\"" text "\"")

static void text(struct stage *s, struct span raw)
{
    say(s, (struct chat_event){.kind = CHAT_TEXT, .text = raw});
}

static void call(struct stage *s, unsigned tool, struct span id)
{
    say(s, (struct chat_event){.kind = CHAT_TOOL_START, .tool = tool, .id = id, .name = RAW("f")});
}

static void args(struct stage *s, unsigned tool, struct span raw)
{
    say(s, (struct chat_event){.kind = CHAT_TOOL_ARGS, .tool = tool, .text = raw});
}

static void sign(struct stage *s, struct span name, unsigned tool)
{
    say(s, (struct chat_event){.kind = CHAT_SIGNATURE,
                               .tool = tool,
                               .name = name,
                               .text = RAW("s"),
                               .id = RAW("gemini")});
}

static void end(struct stage *s, struct span reason)
{
    say(s, (struct chat_event){.kind = CHAT_STOP, .text = reason});
    say(s, (struct chat_event){.kind = CHAT_USAGE,
                               .usage = {true, .input = 9, .output = 5, .cached = 2}});
    say(s, (struct chat_event){.kind = CHAT_END});
}

static const char *whole(struct stage *s)
{
    struct strbuf out = strbuf_in(&a, 1 << 20);

    fold_done(&s->fold);
    d->write_answer(&s->w, &s->fold, &out);
    return out.buf;
}

/* The events in short: "NAME DATA\n", DATA without its type and what all of a kind share. */
static const char *brief(const struct stage *s)
{
    static const char *const cuts[][2] = {
        {"event: ", ""},
        {"\ndata: ", " "},
        {"\n\n", "\n"},
        {"content_block_", ""},
    };
    struct strbuf out = strbuf_in(&a, 1 << 20);

    for (const char *p = s->out.buf; *p != '\0';) {
        size_t i = 0;

        while (i < ARRAY_LEN(cuts) && strncmp(p, cuts[i][0], strlen(cuts[i][0])) != 0)
            i++;
        if (i == ARRAY_LEN(cuts)) {
            strbuf_add_char(&out, *p++);
        } else {
            strbuf_add(&out, cuts[i][1]);
            p += strlen(cuts[i][0]);
        }
    }
    return out.buf;
}

#define START                                                                                      \
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\","       \
    "\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],"                  \
    "\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":0,"                   \
    "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":0}}}\n\n"
#define END(reason)                                                                                \
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" reason \
    "\",\"stop_sequence\":null},\"usage\":{\"input_tokens\":7,"                                    \
    "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":2,\"output_tokens\":5}}\n\n"    \
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"

TEST(a_text_streamed_and_whole)
{
    struct stage s = stage(false);

    say(&s, (struct chat_event){.kind = CHAT_START, .id = RAW("theirs"), .name = RAW("theirs")});
    text(&s, RAW("a\\u00fc"));
    text(&s, RAW("b"));
    end(&s, RAW("stop"));
    CHECK_STR(s.out.buf, START
              "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
              "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
              "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
              "\"delta\":{\"type\":\"text_delta\",\"text\":\"a\\u00fc\"}}\n\n"
              "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
              "\"delta\":{\"type\":\"text_delta\",\"text\":\"b\"}}\n\n"
              "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}"
              "\n\n" END("end_turn"));
    CHECK_STR(whole(&s),
              "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","
              "\"content\":[{\"type\":\"text\",\"text\":\"a\\u00fcb\"}],"
              "\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":7,"
              "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":2,"
              "\"output_tokens\":5}}\n");
}

TEST(a_call_that_comes_in_pieces_goes_out_in_pieces)
{
    struct stage s = stage(false);

    call(&s, 0, RAW("call_1"));
    args(&s, 0, RAW("{\\\"a"));
    CHECK(strstr(s.out.buf, "\"partial_json\":\"{\\\"a\"") != NULL);
    args(&s, 0, RAW("\\\":1}"));
    end(&s, RAW("stop"));
    CHECK(strstr(s.out.buf,
                 "{\"type\":\"tool_use\",\"id\":\"call_1\",\"name\":\"f\",\"input\":{}}") != NULL);
    CHECK(strstr(s.out.buf, END("tool_use")) != NULL);
    CHECK(strstr(whole(&s), "\"input\":{\"a\":1}}],\"stop_reason\":\"tool_use\"") != NULL);
}

TEST(calls_side_by_side_come_one_after_the_other)
{
    struct stage s = stage(false);

    call(&s, 0, RAW("x"));
    call(&s, 1, RAW("y"));
    args(&s, 1, RAW("{\\\"b\\\":"));
    args(&s, 0, RAW("{\\\"a\\\":\\\"}\\\\\\\"\\\""));
    args(&s, 1, RAW("2}"));
    args(&s, 0, RAW("}"));
    end(&s, RAW("tool_calls"));
    CHECK_STR(
        strchr(brief(&s), '\n') + 1,
        "start {\"type\":\"start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":"
        "\"x\",\"name\":\"f\",\"input\":{}}}\n"
        "delta {\"type\":\"delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\","
        "\"partial_json\":\"{\\\"a\\\":\\\"}\\\\\\\"\\\"\"}}\n"
        "delta {\"type\":\"delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\","
        "\"partial_json\":\"}\"}}\n"
        "stop {\"type\":\"stop\",\"index\":0}\n"
        "start {\"type\":\"start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":"
        "\"y\",\"name\":\"f\",\"input\":{}}}\n"
        "delta {\"type\":\"delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\","
        "\"partial_json\":\"{\\\"b\\\":2}\"}}\n"
        "stop {\"type\":\"stop\",\"index\":1}\n"
        "message_delta {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\","
        "\"stop_sequence\":null},\"usage\":{\"input_tokens\":7,\"cache_creation_input_tokens\":0,"
        "\"cache_read_input_tokens\":2,\"output_tokens\":5}}\n"
        "message_stop {\"type\":\"message_stop\"}\n");
}

TEST(arguments_behind_a_text_are_no_answer)
{
    struct stage s = stage(false);

    call(&s, 0, RAW("x"));
    args(&s, 0, RAW("{"));
    text(&s, RAW("t"));
    CHECK(!s.out.failed);
    args(&s, 0, RAW("}"));
    CHECK(s.out.failed);
}

TEST(ids_are_such_that_claude_takes_them_again)
{
    struct stage s = stage(false), t = stage(false);

    call(&s, 0, RAW("functions.f:0"));
    call(&s, 1, RAW("good-1"));
    call(&s, 2, RAW("good-1"));
    call(&s, 3, SPAN(""));
    end(&s, RAW("tool_calls"));
    CHECK(strstr(s.out.buf, "functions.f") == NULL && strstr(s.out.buf, "\"good-1\"") != NULL);
    CHECK(strstr(strstr(s.out.buf, "good-1") + 1, "good-1") == NULL);
    for (unsigned i = 0; i < 4; i++)
        call(&t, i, i == 1 || i == 2 ? RAW("good-1") : RAW("functions.f:0"));
    for (const char *id = strstr(s.out.buf, "\"toolu_"); id != NULL;
         id = strstr(id + 1, "\"toolu_"))
        CHECK(strstr(whole(&t), arena_printf(&a, "%.32s", id)) != NULL);
}

TEST(no_arguments_are_an_empty_object)
{
    static const char *const none[] = {"\"\"", "\"null\"", "\" \""};

    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        struct stage s = stage(false);

        call(&s, 0, RAW("x"));
        args(&s, 0, span_of(none[i]));
        end(&s, RAW("tool_calls"));
        CHECK(strstr(whole(&s), "\"input\":{}") != NULL);
        CHECK(strstr(s.out.buf, "partial_json") == NULL);
    }
}

TEST(arguments_that_are_no_object_are_shown_to_the_client)
{
    struct stage s = stage(false);

    call(&s, 0, RAW("x"));
    args(&s, 0, RAW("{\\\"a"));
    end(&s, RAW("length"));
    CHECK(strstr(s.out.buf, END("max_tokens")) != NULL);
    CHECK(strstr(whole(&s), "\"input\":{\"_raw\":\"{\\\"a\"}}],\"stop_reason\":\"max_tokens\"") !=
          NULL);
}

TEST(bare_json_of_a_call_is_quoted)
{
    struct stage s = stage(false);

    call(&s, 0, RAW("x"));
    args(&s, 0, SPAN("{\"a\": 1e3}"));
    end(&s, RAW("stop"));
    CHECK(strstr(s.out.buf, "\"partial_json\":\"{\\\"a\\\": 1e3}\"") != NULL);
    CHECK(strstr(whole(&s), "\"input\":{\"a\": 1e3}") != NULL);
}

TEST(each_reason_has_its_word)
{
    static const char *const words[][2] = {{"\"stop\"", "end_turn"},
                                           {"\"length\"", "max_tokens"},
                                           {"\"content_filter\"", "refusal"},
                                           {"\"odd\"", "end_turn"}};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct stage s = stage(false);
        const char *want = arena_printf(&a, "\"stop_reason\":\"%s\"", words[i][1]);

        text(&s, RAW("t"));
        end(&s, span_of(words[i][0]));
        CHECK(strstr(s.out.buf, want) != NULL && strstr(whole(&s), want) != NULL);
    }
}

TEST(reasoning_is_a_block_with_a_signature)
{
    struct stage s = stage(true);

    say(&s, (struct chat_event){.kind = CHAT_REASONING, .text = RAW("r")});
    sign(&s, SPAN(""), 0);
    text(&s, RAW("t"));
    say(&s, (struct chat_event){.kind = CHAT_REASONING, .text = RAW("q")});
    sign(&s, RAW("redacted"), 0);
    end(&s, RAW("stop"));
    CHECK(strstr(brief(&s),
                 "start {\"type\":\"start\",\"index\":0,\"content_block\":{\"type\":\"thinking\","
                 "\"thinking\":\"\",\"signature\":\"\"}}\n"
                 "delta {\"type\":\"delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\","
                 "\"thinking\":\"r\"}}\n"
                 "delta {\"type\":\"delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\","
                 "\"signature\":\"holdfast.gemini.s\"}}\n"
                 "stop {\"type\":\"stop\",\"index\":0}\n") != NULL);
    CHECK(strstr(brief(&s),
                 "\"thinking\":\"q\"}}\n"
                 "delta {\"type\":\"delta\",\"index\":2,\"delta\":{\"type\":\"signature_delta\","
                 "\"signature\":\"holdfast\"}}\n"
                 "stop {\"type\":\"stop\",\"index\":2}\n"
                 "start {\"type\":\"start\",\"index\":3,\"content_block\":{\"type\":"
                 "\"redacted_thinking\",\"data\":\"holdfast.gemini.s\"}}\n"
                 "stop {\"type\":\"stop\",\"index\":3}\n") != NULL);
    CHECK(strstr(whole(&s), "\"content\":[{\"type\":\"thinking\",\"thinking\":\"r\",\"signature\":"
                            "\"holdfast.gemini.s\"},{\"type\":\"redacted_thinking\",\"data\":"
                            "\"holdfast.gemini.s\"},{\"type\":\"thinking\",\"thinking\":\"q\","
                            "\"signature\":\"holdfast\"},{\"type\":\"text\"") != NULL);
}

TEST(the_state_of_a_call_stands_before_it)
{
    struct stage s = stage(true), t = stage(false);

    for (unsigned i = 0; i < 2; i++) {
        struct stage *x = i == 0 ? &s : &t;

        call(x, 0, RAW("x"));
        args(x, 0, RAW("{}"));
        sign(x, RAW("tool"), 0);
        end(x, RAW("stop"));
    }
    CHECK(strstr(brief(&s), "\"signature\":\"holdfast-call.gemini.s\"}}\n"
                            "stop {\"type\":\"stop\",\"index\":0}\n"
                            "start {\"type\":\"start\",\"index\":1,\"content_block\":{\"type\":"
                            "\"tool_use\"") != NULL);
    CHECK(strstr(whole(&s), "\"thinking\":\"\",\"signature\":\"holdfast-call.gemini.s\"},{\"type\":"
                            "\"tool_use\"") != NULL);
    CHECK(strstr(t.out.buf, "holdfast") == NULL && strstr(whole(&t), "holdfast") == NULL);
}

TEST(who_did_not_ask_for_reasoning_hears_that_it_goes_on)
{
    struct stage s = stage(false);

    for (unsigned i = 0; i < 17; i++)
        say(&s, (struct chat_event){.kind = CHAT_REASONING, .text = RAW("r")});
    sign(&s, SPAN(""), 0);
    CHECK_STR(s.out.buf, START "event: ping\ndata: {\"type\":\"ping\"}\n\n"
                               "event: ping\ndata: {\"type\":\"ping\"}\n\n");
    text(&s, RAW("t"));
    end(&s, RAW("stop"));
    CHECK(strstr(whole(&s), "\"content\":[{\"type\":\"text\",\"text\":\"t\"}]") != NULL);
}

TEST(only_the_first_choice_has_a_place)
{
    struct stage s = stage(false);

    text(&s, RAW("t"));
    say(&s, (struct chat_event){.kind = CHAT_TEXT, .choice = 1, .text = RAW("u")});
    end(&s, RAW("stop"));
    CHECK(strstr(s.out.buf, "\"u\"") == NULL && strstr(whole(&s), "\"u\"") == NULL);
}

static void follow(struct stage *s, const char *name, const char *data, enum dialect_event kind)
{
    struct sse_event ev = {.name = span_of(name), .data = span_of(data), .has_data = true};

    d->follow(&s->w, &ev, kind);
}

TEST(a_stream_of_claudes_is_carried_on_where_it_broke)
{
    struct stage s = stage(true);

    follow(&s, "message_start", "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_theirs\"}}",
           EVENT_LIFECYCLE);
    follow(
        &s, "content_block_start",
        "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\"}}",
        EVENT_LIFECYCLE);
    follow(&s, "content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}",
           EVENT_LIFECYCLE);
    follow(&s, "content_block_start",
           "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\"}}",
           EVENT_LIFECYCLE);
    follow(&s, "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":1}",
           EVENT_OUTPUT);
    say(&s, (struct chat_event){.kind = CHAT_START});
    text(&s, RAW("t"));
    CHECK_SPAN(s.w.id, "msg_theirs");
    CHECK_STR(s.out.buf, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
                         "\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"t\"}}\n\n");
    end(&s, RAW("stop"));
    CHECK(strstr(s.out.buf, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\","
                            "\"index\":1}\n\n" END("end_turn")) != NULL);
}

TEST(each_status_has_its_word)
{
    static const struct {
        unsigned status;
        const char *type;
    } words[] = {
        {400, "invalid_request_error"},
        {401, "authentication_error"},
        {402, "billing_error"},
        {403, "permission_error"},
        {404, "not_found_error"},
        {405, "invalid_request_error"},
        {413, "request_too_large"},
        {429, "rate_limit_error"},
        {500, "api_error"},
        {502, "api_error"},
        {504, "timeout_error"},
        {529, "overloaded_error"},
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct chat_error e = {.status = words[i].status, .type = "theirs", .request_id = "req_1"};
        struct strbuf out = strbuf_in(&a, 4096);

        snprintf(e.message, sizeof(e.message), "It \"failed\".");
        d->write_error(&e, &out);
        CHECK_STR(out.buf, arena_printf(&a,
                                        "{\"type\":\"error\",\"error\":{\"type\":\"%s\","
                                        "\"message\":\"It \\\"failed\\\".\"},"
                                        "\"request_id\":\"req_1\"}\n",
                                        words[i].type));
        strbuf_clear(&out);
        d->write_stream_error(&e, &out);
        CHECK(strstr(out.buf, "event: error\ndata: {\"type\":\"error\"") == out.buf);
        CHECK_STR(out.buf + out.len - 3, "}\n\n");
    }
}

TEST(the_list_of_models)
{
    const struct span names[] = {SPAN("a\"b"), SPAN("c")};
    struct strbuf out = strbuf_in(&a, 4096);

    d->write_models(names, 2, 86400, &out);
    CHECK_STR(out.buf,
              "{\"data\":[{\"type\":\"model\",\"id\":\"a\\\"b\",\"display_name\":\"a\\\"b\","
              "\"created_at\":\"1970-01-02T00:00:00Z\"},{\"type\":\"model\",\"id\":\"c\","
              "\"display_name\":\"c\",\"created_at\":\"1970-01-02T00:00:00Z\"}],"
              "\"has_more\":false,\"first_id\":\"a\\\"b\",\"last_id\":\"c\"}\n");
    strbuf_clear(&out);
    d->write_models(NULL, 0, 0, &out);
    CHECK_STR(out.buf, "{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}\n");
}

TEST_MAIN()
