#include "providers/dialect.h"
#include "tests/unit/check.h"

static struct arena arena;
static char names[1024];
static struct err e;
static struct dialect_request out;
static struct drops drops;
static struct strbuf drop_names;

#define RAW(text)  SPAN("\"" text "\"")
#define PARTS(...) ((struct part[]){__VA_ARGS__})
#define TEXT(raw, ...)                                                                             \
    {                                                                                              \
        .kind = PART_TEXT, .path = SPAN("messages[0].content"), .text = SPAN(raw)                  \
    }
#define SAY(who, list) message(who, list, ARRAY_LEN(list))

static struct conversation c;
static struct message *last;
static unsigned count;

static void start(const char *model)
{
    arena_release(&arena);
    arena_init(&arena);
    memset(names, 0, sizeof(names));
    drop_names = strbuf_on(names, sizeof(names));
    drops = (struct drops){.names = &drop_names};
    c = (struct conversation){.model = span_of(model), .n = 1};
    last = NULL;
    count = 0;
}

static void message(enum role role, const struct part *parts, size_t n)
{
    struct message *m = arena_zalloc(&arena, sizeof(*m));

    *m = (struct message){.role = role};
    m->path = span_of(arena_printf(&arena, "messages[%u]", count));
    for (size_t i = n; i-- > 0;) {
        struct part *p = arena_alloc(&arena, sizeof(*p));

        *p = parts[i];
        p->path = span_of(arena_printf(&arena, "messages[%u].content[%zu]", count, i));
        p->next = m->parts;
        m->parts = p;
    }
    if (last != NULL)
        last->next = m;
    else
        c.messages = m;
    last = m;
    count++;
}

static int try_write(void)
{
    struct dialect_target target = {.base_path = SPAN("/v1beta"), .key = SPAN("k")};

    e = (struct err){0};
    return dialect_gemini.write_conversation(&c, &target, &arena, &out, &drops, &e);
}

static void write_it(void)
{
    if (try_write() < 0)
        fail_msg("refused: %s", e.msg);
    CHECK(json_valid(out.body[0]));
    CHECK_INT(out.body[0].n, out.body_bytes);
}

static void check_body(const char *want)
{
    write_it();
    CHECK_SPAN(out.body[0], want);
}

static void check_has(const char *want)
{
    write_it();
    if (span_find(out.body[0], want) == NULL)
        fail_msg("no %s in %.*s", want, SPAN_ARG(out.body[0]));
}

static void check_refused(const char *want)
{
    CHECK_INT(try_write(), -1);
    if (strstr(e.msg, want) == NULL)
        fail_msg("no \"%s\" in \"%s\"", want, e.msg);
}

static void say_hello(void)
{
    SAY(ROLE_USER, PARTS(TEXT("\"hi\"")));
}

#define CONTENTS "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]"

/* ---- where it goes ---- */

TEST(the_model_stands_in_the_path_and_the_key_in_a_field)
{
    start("gemini-2.5-pro");
    say_hello();
    check_body(CONTENTS "}");
    CHECK_SPAN(out.path, "/v1beta/models/gemini-2.5-pro:generateContent");
    CHECK_SPAN(strbuf_span(&out.head_fields), "x-goog-api-key: k\r\n");
    c.stream = true;
    write_it();
    CHECK_SPAN(out.path, "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse");
    c.model = SPAN("models/gemini-2.0-flash");
    write_it();
    CHECK_SPAN(out.path, "/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse");
    c.model = SPAN("a/b:c");
    write_it();
    CHECK_SPAN(out.path, "/v1beta/models/a%2Fb%3Ac:streamGenerateContent?alt=sse");
    CHECK_STR(names, "");
}

TEST(the_model_of_the_target_goes_before_the_clients)
{
    struct dialect_target target = {.base_path = SPAN("/v1beta"), .model = SPAN("gemini-x")};

    start("gpt-4.1");
    say_hello();
    CHECK_INT(dialect_gemini.write_conversation(&c, &target, &arena, &out, &drops, &e), 0);
    CHECK_SPAN(out.path, "/v1beta/models/gemini-x:generateContent");
    CHECK_INT(out.head_fields.len, 0);
}

TEST(a_model_that_could_change_the_path_is_refused)
{
    static const char *const bad[] = {"",    "../x", "a..b", "a b",     "a?b",
                                      "a#b", "a%2e", "a\nb", "\xc3\xa9"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        start(bad[i]);
        say_hello();
        check_refused("model: ");
    }
}

/* ---- turns ---- */

TEST(leading_system_messages_are_joined_and_later_ones_are_turns_of_the_user)
{
    start("gemini-2.5-pro");
    SAY(ROLE_SYSTEM, PARTS(TEXT("\"a\\u00e9\"")));
    SAY(ROLE_DEVELOPER, PARTS(TEXT("\"b\"")));
    SAY(ROLE_USER, PARTS(TEXT("\"hi\"")));
    SAY(ROLE_SYSTEM, PARTS(TEXT("\"be brief\"")));
    SAY(ROLE_ASSISTANT, PARTS(TEXT("\"yes\"")));
    SAY(ROLE_ASSISTANT, PARTS({.kind = PART_REFUSAL, .text = RAW("no")}));
    SAY(ROLE_SYSTEM, PARTS(TEXT("\"on\"")));
    check_body("{\"systemInstruction\":{\"parts\":[{\"text\":\"a\\u00e9\\n\\nb\"}]},\"contents\":["
               "{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"},{\"text\":\"be brief\"}]},"
               "{\"role\":\"model\",\"parts\":[{\"text\":\"yes\"},{\"text\":\"no\"}]},"
               "{\"role\":\"user\",\"parts\":[{\"text\":\"on\"}]}]}");
}

TEST(instructions_alone_are_what_the_user_says)
{
    start("gemini-2.5-pro");
    SAY(ROLE_SYSTEM, PARTS(TEXT("\"hi\"")));
    check_body(CONTENTS "}");
    start("gemini-2.5-pro");
    SAY(ROLE_USER, PARTS(TEXT("\"\"")));
    check_refused("messages: all are empty");
}

TEST(history_that_begins_with_the_model_gets_a_user_before_it)
{
    start("gemini-2.5-pro");
    SAY(ROLE_ASSISTANT, PARTS(TEXT("\"yes\"")));
    say_hello();
    check_body("{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"...\"}]},"
               "{\"role\":\"model\",\"parts\":[{\"text\":\"yes\"}]},"
               "{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]}");
}

TEST(an_empty_message_between_two_of_the_user_leaves_one_turn)
{
    start("gemini-2.5-pro");
    say_hello();
    SAY(ROLE_ASSISTANT, PARTS(TEXT("\"\"")));
    say_hello();
    check_body("{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"},{\"text\":\"hi\"}]}"
               "]}");
}

/* ---- calls ---- */

#define CALL(i, f, ...)                                                                            \
    {                                                                                              \
        .kind = PART_TOOL_CALL, .id = RAW(i), .name = RAW(f), __VA_ARGS__                          \
    }
#define RESULT(i, ...)                                                                             \
    {                                                                                              \
        .kind = PART_TOOL_RESULT, .id = RAW(i), __VA_ARGS__                                        \
    }

static struct part rain = {.kind = PART_TEXT, .text = RAW("rain")};
static struct part object = {.kind = PART_TEXT, .text = RAW(" {\\\"t\\\":1.0}")};
static struct part broken = {.kind = PART_TEXT, .text = RAW("{broken")};

TEST(results_of_a_step_are_one_content_in_the_order_of_the_calls)
{
    start("gemini-2.5-pro");
    say_hello();
    SAY(ROLE_ASSISTANT, PARTS(CALL("x", "f", .arguments = SPAN("{\"b\":1e400, \"a\":2}")),
                              CALL("y", "f", .arguments = SPAN("{}")), CALL("z", "g")));
    SAY(ROLE_TOOL, PARTS(RESULT("z", .inner = &broken, .is_error = true)));
    SAY(ROLE_TOOL, PARTS(RESULT("x", .inner = &rain)));
    SAY(ROLE_USER, PARTS(TEXT("\"and?\"")));
    SAY(ROLE_TOOL, PARTS(RESULT("y", .inner = &object)));
    check_body("{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},"
               "{\"role\":\"model\",\"parts\":["
               "{\"functionCall\":{\"id\":\"x\",\"name\":\"f\",\"args\":{\"b\":1e400, \"a\":2}}},"
               "{\"functionCall\":{\"id\":\"y\",\"name\":\"f\",\"args\":{}}},"
               "{\"functionCall\":{\"id\":\"z\",\"name\":\"g\",\"args\":{}}}]},"
               "{\"role\":\"user\",\"parts\":["
               "{\"functionResponse\":{\"id\":\"x\",\"name\":\"f\",\"response\":{\"output\":"
               "\"rain\"}}},"
               "{\"functionResponse\":{\"id\":\"y\",\"name\":\"f\",\"response\":{\"t\":1.0}}},"
               "{\"functionResponse\":{\"id\":\"z\",\"name\":\"g\",\"response\":{\"error\":"
               "\"{broken\"}}},"
               "{\"text\":\"and?\"}]}]}");
}

TEST(arguments_that_are_no_object_are_kept)
{
    start("gemini-2.5-pro");
    say_hello();
    SAY(ROLE_ASSISTANT,
        PARTS(CALL("x", "f", .text = RAW("{\\\"a\\\":")), CALL("y", "f", .text = RAW(" "))));
    check_has("\"args\":{\"_raw\":\"{\\\"a\\\":\"}");
    check_has("\"id\":\"y\",\"name\":\"f\",\"args\":{}");
}

TEST(equal_ids_are_answered_in_order)
{
    start("gemini-2.5-pro");
    say_hello();
    SAY(ROLE_ASSISTANT, PARTS(CALL("", "f"), CALL("", "g")));
    SAY(ROLE_TOOL, PARTS(RESULT("", .inner = &rain)));
    SAY(ROLE_TOOL, PARTS(RESULT("", .inner = &object)));
    check_has("{\"functionResponse\":{\"name\":\"f\",\"response\":{\"output\":\"rain\"}}},"
              "{\"functionResponse\":{\"name\":\"g\",\"response\":{\"t\":1.0}}}");
}

TEST(results_without_a_call_and_calls_without_a_result_are_refused)
{
    start("gemini-2.5-pro");
    say_hello();
    SAY(ROLE_TOOL, PARTS(RESULT("x", .inner = &rain)));
    check_refused("messages[1].content[0]: answers the call \"x\"");

    start("gemini-2.5-pro");
    say_hello();
    SAY(ROLE_ASSISTANT, PARTS(CALL("x", "f"), CALL("y", "f")));
    SAY(ROLE_TOOL, PARTS(RESULT("x", .inner = &rain)));
    check_refused("messages[1].content[1]: the call has no result");

    start("gemini-2.5-pro");
    say_hello();
    SAY(ROLE_ASSISTANT, PARTS(CALL("x", "f")));
    SAY(ROLE_TOOL, PARTS(RESULT("x", .inner = &rain), RESULT("x", .inner = &rain)));
    check_refused("messages[2].content[1]: answers the call \"x\"");

    start("gemini-2.5-pro");
    say_hello();
    SAY(ROLE_ASSISTANT, PARTS(CALL("x", "1f")));
    check_refused("messages[1].content[0]: the function's name \"1f\"");
}

/* ---- signatures ---- */

#define MINE   .signature = RAW("sig"), .origin = SPAN("gemini")
#define THEIRS .signature = RAW("sig"), .origin = SPAN("anthropic_messages")

TEST(signatures_go_back_only_where_they_came_from)
{
    start("gemini-3-pro-preview");
    say_hello();
    SAY(ROLE_ASSISTANT, PARTS(CALL("x", "f", MINE), CALL("y", "f")));
    SAY(ROLE_TOOL, PARTS(RESULT("x", .inner = &rain), RESULT("y", .inner = &rain)));
    SAY(ROLE_ASSISTANT, PARTS(CALL("z", "f", THEIRS), CALL("u", "f")));
    check_has("\"args\":{}},\"thoughtSignature\":\"sig\"},{\"functionCall\":{\"id\":\"y\"");
    check_has("{\"functionCall\":{\"id\":\"z\",\"name\":\"f\",\"args\":{}},"
              "\"thoughtSignature\":\"skip_thought_signature_validator\"},"
              "{\"functionCall\":{\"id\":\"u\",\"name\":\"f\",\"args\":{}}}");
}

TEST(the_sentinel_is_for_the_current_turn_of_gemini_3)
{
    static const char *const models[] = {"gemini-2.5-pro", "gemini-3-flash-preview"};

    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        start(models[i]);
        say_hello();
        SAY(ROLE_ASSISTANT, PARTS(CALL("x", "f")));
        SAY(ROLE_TOOL, PARTS(RESULT("x", .inner = &rain)));
        say_hello();
        write_it();
        CHECK(span_find(out.body[0], "skip_") == NULL);
        SAY(ROLE_ASSISTANT, PARTS(CALL("y", "f")));
        write_it();
        CHECK_INT(span_find(out.body[0], "skip_") != NULL, i);
    }
}

TEST(reasoning_is_left_out_and_named_and_its_signature_stays_on_the_text)
{
    start("gemini-3-pro-preview");
    say_hello();
    SAY(ROLE_ASSISTANT,
        PARTS({.kind = PART_REASONING, .text = RAW(""), MINE}, TEXT("\"a\""), TEXT("\"b\"")));
    check_has("{\"text\":\"a\"},{\"text\":\"b\",\"thoughtSignature\":\"sig\"}");
    CHECK_STR(names, "");

    start("gemini-3-pro-preview");
    say_hello();
    SAY(ROLE_ASSISTANT, PARTS({.kind = PART_REASONING, .text = RAW("hm"), MINE}, CALL("x", "f")));
    check_has("{\"text\":\"\",\"thoughtSignature\":\"sig\"},{\"functionCall\"");
    CHECK_STR(names, "messages[1].content[0]");

    start("gemini-3-pro-preview");
    say_hello();
    SAY(ROLE_ASSISTANT, PARTS({.kind = PART_REASONING, .text = RAW("hm"), THEIRS}, TEXT("\"a\"")));
    check_has("\"parts\":[{\"text\":\"a\"}]");
    CHECK_STR(names, "messages[1].content[0]");
}

/* What Gemini said goes to a client of OpenAI and comes back from there. */
TEST(signatures_survive_the_way_through_a_client_of_openai)
{
    static const char answer[] =
        "{\"responseId\":\"r1\",\"candidates\":[{\"content\":{\"parts\":["
        "{\"text\":\"hm\",\"thought\":true},{\"text\":\"so\",\"thoughtSignature\":\"s1\"},"
        "{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":1.0}},\"thoughtSignature\":\"s2\"}]},"
        "\"finishReason\":\"STOP\"}]}";
    struct answer_writer w = {.arena = &arena};
    struct chat_watch watch = {0};
    struct strbuf text;
    struct fold f;
    const char *message, *end;
    struct chat_request req;

    start("gemini-3-flash");
    fold_init(&f, &arena);
    dialect_gemini.read_answer(SPAN(answer), &watch, fold_event, &f);
    fold_done(&f);
    text = strbuf_in(&arena, 1 << 16);
    dialect_openai_chat.write_answer(&w, &f, &text);
    message = strstr(text.buf, "{\"role\"");
    end = strstr(text.buf, ",\"logprobs\"");
    CHECK(message != NULL && end > message);
    message = arena_printf(&arena,
                           "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},"
                           "%.*s]}",
                           (int)(end - message), message);
    CHECK_INT(dialect_openai_chat.read_request(span_of(message), &arena, &req, &e), 0);
    CHECK_INT(dialect_openai_chat.read_conversation(req.body, &arena, &c, &e), 0);
    c.model = SPAN("gemini-3-flash");
    check_has("{\"text\":\"so\",\"thoughtSignature\":\"s1\"},{\"functionCall\":{\"id\":\"call_");
    check_has("\"name\":\"f\",\"args\":{\"a\":1.0}},\"thoughtSignature\":\"s2\"}");
}

/* ---- media ---- */

#define IMAGE(...)                                                                                 \
    {                                                                                              \
        .kind = PART_IMAGE, __VA_ARGS__                                                            \
    }
#define PNG .mime = SPAN("image/png"), .data = SPAN("iVBO")

TEST(media_are_inlined_or_files_at_google)
{
    start("gemini-2.5-pro");
    SAY(ROLE_USER, PARTS(IMAGE(PNG, .detail = RAW("high")),
                         {.kind = PART_AUDIO, .mime = SPAN("audio/wav"), .data = SPAN("UklG")},
                         {.kind = PART_DOCUMENT,
                          .mime = SPAN("application/pdf"),
                          .data = SPAN("JVBE"),
                          .name = RAW("a.pdf")},
                         {.kind = PART_VIDEO, .url = RAW("https://youtu.be/x")},
                         IMAGE(.mime = SPAN("image/png"), .url = RAW("gs://b/x.png"))));
    check_body("{\"contents\":[{\"role\":\"user\",\"parts\":["
               "{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"iVBO\"}},"
               "{\"inlineData\":{\"mimeType\":\"audio/wav\",\"data\":\"UklG\"}},"
               "{\"inlineData\":{\"mimeType\":\"application/pdf\",\"data\":\"JVBE\"}},"
               "{\"fileData\":{\"fileUri\":\"https://youtu.be/x\"}},"
               "{\"fileData\":{\"mimeType\":\"image/png\",\"fileUri\":\"gs://b/x.png\"}}]}]}");
    CHECK_STR(names, "messages[0].content[0].detail, messages[0].content[2].filename");
}

TEST(media_elsewhere_are_refused)
{
    start("gemini-2.5-pro");
    SAY(ROLE_USER, PARTS(IMAGE(.url = RAW("https://example.com/x.png"))));
    check_refused("messages[0].content[0]: a URL is not fetched here");
    start("gemini-2.5-pro");
    SAY(ROLE_USER, PARTS({.kind = PART_DOCUMENT, .file_id = RAW("file-1")}));
    check_refused("messages[0].content[0]: a file_id");
    start("gemini-2.5-pro");
    SAY(ROLE_USER, PARTS(IMAGE(.data = SPAN("AA"))));
    check_refused("media type");
    start("gemini-2.5-pro");
    SAY(ROLE_SYSTEM, PARTS(IMAGE(PNG)));
    say_hello();
    check_refused("messages[0].content[0]: expected only text in a system message");
}

TEST(a_picture_in_a_result_goes_where_the_model_can_see_it)
{
    struct part image = IMAGE(PNG), text = {.kind = PART_TEXT, .text = RAW("map"), .next = &image};

    start("gemini-3-flash");
    say_hello();
    SAY(ROLE_ASSISTANT, PARTS(CALL("x", "f")));
    SAY(ROLE_TOOL, PARTS(RESULT("x", .inner = &text)));
    check_has("\"response\":{\"output\":\"map\"},\"parts\":[{\"inlineData\":{\"mimeType\":"
              "\"image/png\",\"data\":\"iVBO\"}}]}}");
    c.model = SPAN("gemini-2.5-flash");
    check_has("\"response\":{\"output\":\"map\\n(a file of this result follows the results)\"}}},"
              "{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"iVBO\"}}]}");
}

/* ---- tools ---- */

static struct tool second = {.path = SPAN("tools[1]"),
                             .name = RAW("g.h"),
                             .schema = SPAN("{\"type\":\"object\",\"properties\":{}}"),
                             .strict = true};
static struct tool first = {.path = SPAN("tools[0]"),
                            .name = RAW("f"),
                            .next = &second,
                            .description = RAW("F"),
                            .schema = SPAN("{ \"$ref\":\"#/$defs/a\" }")};

#define BOTH                                                                                       \
    ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":\"F\","                \
    "\"parametersJsonSchema\":{ \"$ref\":\"#/$defs/a\" }},{\"name\":\"g.h\"}]}]"

static void check_choice(enum tool_choice choice, const char *want)
{
    start("gemini-2.5-pro");
    say_hello();
    c.tools = &first;
    c.choice = choice;
    c.choice_name = RAW("f");
    check_body(want);
    CHECK_STR(names, "tools[1].strict");
}

#define CONFIG(x) ",\"toolConfig\":{\"functionCallingConfig\":{" x "}}}"

TEST(tools_pass_with_their_schemas_untouched)
{
    check_choice(CHOICE_UNSET, CONTENTS BOTH "}");
    check_choice(CHOICE_AUTO, CONTENTS BOTH CONFIG("\"mode\":\"AUTO\""));
    check_choice(CHOICE_NONE, CONTENTS BOTH CONFIG("\"mode\":\"NONE\""));
    check_choice(CHOICE_REQUIRED, CONTENTS BOTH CONFIG("\"mode\":\"ANY\""));
    check_choice(CHOICE_NAMED,
                 CONTENTS BOTH CONFIG("\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\"]"));
}

TEST(allowed_tools_are_a_list_of_names_or_the_only_ones_declared)
{
    struct name_list allowed = {.name = RAW("f")};

    start("gemini-2.5-pro");
    say_hello();
    c.tools = &first;
    c.choice = CHOICE_ALLOWED;
    c.choice_allowed = &allowed;
    check_body(CONTENTS ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":"
                        "\"F\",\"parametersJsonSchema\":{ \"$ref\":\"#/$defs/a\" }}]}]" CONFIG(
                            "\"mode\":\"AUTO\""));
    c.choice_allowed_required = true;
    check_body(CONTENTS BOTH CONFIG("\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\"]"));
}

TEST(what_is_no_empty_object_is_no_function_without_parameters)
{
    static const char *const some[] = {
        "{\"type\":\"object\",\"properties\":{},\"additionalProperties\":true}",
        "{\"type\":\"object\",\"properties\":{\"a\":{}}}", "{\"anyOf\":[]}",
        "{\"required\":[\"a\"]}"};
    static const char *const none[] = {
        "{}", "{\"type\":\"object\"}",
        "{\"type\":\"object\",\"properties\":{},\"required\":[],\"additionalProperties\":false}"};
    struct tool t = {.path = SPAN("tools[0]"), .name = RAW("f")};

    for (size_t i = 0; i < ARRAY_LEN(some) + ARRAY_LEN(none); i++) {
        start("gemini-2.5-pro");
        say_hello();
        c.tools = &t;
        t.schema = span_of(i < ARRAY_LEN(some) ? some[i] : none[i - ARRAY_LEN(some)]);
        write_it();
        CHECK_INT(span_find(out.body[0], "parametersJsonSchema") != NULL, i < ARRAY_LEN(some));
    }
}

TEST(names_of_functions_follow_the_pattern)
{
    static const char *const bad[] = {"\"\"",    "\"3d\"",  "\"-a\"",
                                      "\"a b\"", "\"a/b\"", "\"\\u00e9\""};
    struct tool t = {.path = SPAN("tools[0]")};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        start("gemini-2.5-pro");
        say_hello();
        c.tools = &t;
        t.name = span_of(bad[i]);
        check_refused("tools[0]: the function's name ");
    }
}

TEST(a_choice_without_tools_is_dropped_and_named)
{
    start("gemini-2.5-pro");
    say_hello();
    c.choice = CHOICE_REQUIRED;
    check_body(CONTENTS "}");
    CHECK_STR(names, "tool_choice");
}

/* ---- the configuration of the answer ---- */

TEST(what_the_api_knows_is_mapped)
{
    start("gemini-2.5-flash");
    say_hello();
    c.temperature = SPAN("0.10");
    c.top_p = SPAN("1");
    c.top_k = SPAN("40");
    c.max_tokens = 65536;
    c.stop = SPAN("[\"a\", \"b\"]");
    c.n = 2;
    c.seed = SPAN("-7");
    c.presence_penalty = SPAN("0.5");
    c.frequency_penalty = SPAN("-1e-1");
    c.format = FORMAT_SCHEMA;
    c.schema = SPAN("{\"type\":[\"string\",\"null\"]}");
    c.effort = EFFORT_LOW;
    check_body(CONTENTS ",\"generationConfig\":{\"temperature\":0.10,\"topP\":1,\"topK\":40,"
                        "\"maxOutputTokens\":65536,\"stopSequences\":[\"a\", \"b\"],"
                        "\"candidateCount\":2,\"seed\":-7,\"presencePenalty\":0.5,"
                        "\"frequencyPenalty\":-1e-1,\"responseMimeType\":\"application/json\","
                        "\"responseJsonSchema\":{\"type\":[\"string\",\"null\"]},"
                        "\"thinkingConfig\":{\"thinkingBudget\":1024,\"includeThoughts\":true}}}");
    CHECK_STR(names, "");
}

TEST(what_the_api_does_not_know_is_dropped_and_named)
{
    struct other_field bias = {.path = SPAN("logit_bias")};

    start("gemini-2.5-flash");
    SAY(ROLE_USER, PARTS({.kind = PART_TEXT, .text = RAW("hi"), .cache = SPAN("{}")}));
    last->name = RAW("ann");
    c.one_tool_at_a_time = true;
    c.user = RAW("u");
    c.service_tier = RAW("flex");
    c.verbosity = RAW("low");
    c.logprobs = true;
    c.top_logprobs = SPAN("3");
    c.seed = SPAN("9007199254740993");
    c.format = FORMAT_SCHEMA;
    c.schema = SPAN("{}");
    c.schema_name = RAW("n");
    c.schema_description = RAW("d");
    c.others = &bias;
    check_body(CONTENTS ",\"generationConfig\":{\"responseMimeType\":\"application/json\","
                        "\"responseJsonSchema\":{}}}");
    CHECK_STR(names, "messages[0].name, messages[0].content[0].cache_control, seed, "
                     "response_format.json_schema.name, response_format.json_schema.description, "
                     "parallel_tool_calls, logprobs, top_logprobs, user, service_tier, verbosity, "
                     "logit_bias");
}

TEST(too_many_stop_sequences_and_pinned_requests_are_refused)
{
    start("gemini-2.5-flash");
    say_hello();
    c.stop = SPAN("[\"1\",\"2\",\"3\",\"4\",\"5\"]");
    write_it();
    c.stop = SPAN("[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\"]");
    check_refused("stop: 6 sequences, expected at most 5");
    c.stop = (struct span){0};
    c.pinned = true;
    c.pinned_by = SPAN("previous_response_id");
    check_refused("previous_response_id: ");
}

TEST(effort_becomes_a_budget_or_a_level)
{
    static const struct {
        const char *model;
        enum effort effort;
        const char *want;
        bool nearest;
    } cases[] = {
        {"gemini-2.5-flash", EFFORT_NONE, "{\"thinkingBudget\":0}", false},
        {"gemini-2.5-pro", EFFORT_NONE, "{\"thinkingBudget\":128}", true},
        {"gemini-2.5-flash", EFFORT_MINIMAL, "{\"thinkingBudget\":512,\"includeThoughts\":true}",
         false},
        {"gemini-2.5-flash", EFFORT_MEDIUM, "{\"thinkingBudget\":8192,\"includeThoughts\":true}",
         false},
        {"gemini-2.5-flash", EFFORT_HIGH, "{\"thinkingBudget\":24576,\"includeThoughts\":true}",
         false},
        {"gemini-2.5-flash", EFFORT_XHIGH, "{\"thinkingBudget\":24576,\"includeThoughts\":true}",
         true},
        {"gemini-2.5-pro", EFFORT_XHIGH, "{\"thinkingBudget\":32768,\"includeThoughts\":true}",
         false},
        {"gemini-3-flash-preview", EFFORT_NONE, "{\"thinkingLevel\":\"minimal\"}", true},
        {"gemini-3-pro-preview", EFFORT_NONE, "{\"thinkingLevel\":\"low\"}", true},
        {"models/gemini-3-flash", EFFORT_MINIMAL,
         "{\"thinkingLevel\":\"minimal\",\"includeThoughts\":true}", false},
        {"gemini-3-pro-preview", EFFORT_MEDIUM,
         "{\"thinkingLevel\":\"high\",\"includeThoughts\":true}", true},
        {"gemini-3.1-pro-preview", EFFORT_MEDIUM,
         "{\"thinkingLevel\":\"medium\",\"includeThoughts\":true}", false},
        {"gemini-flash-latest", EFFORT_XHIGH,
         "{\"thinkingLevel\":\"high\",\"includeThoughts\":true}", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        start(cases[i].model);
        say_hello();
        c.effort = cases[i].effort;
        check_has(cases[i].want);
        CHECK_STR(names, cases[i].nearest ? "reasoning_effort" : "");
    }
    start("gemini-2.0-flash");
    say_hello();
    c.effort = EFFORT_LOW;
    check_body(CONTENTS "}");
    CHECK_STR(names, "reasoning_effort");
}

TEST_MAIN()
