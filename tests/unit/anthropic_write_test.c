/* Requests for Anthropic's messages, to the byte, from the canonical form. */
#include "providers/dialect.h"
#include "tests/unit/check.h"

static const struct dialect *const d = &dialect_anthropic_messages;

/* ---- how the tests read ---- */

static struct arena a;
static struct conversation c;
static struct message *last_message;
static struct part *last_part;
static struct tool *last_tool;
static unsigned messages, parts, tools;

static void begin(const char *model)
{
    arena_reset(&a);
    c = (struct conversation){
        .model = span_of(model), .max_tokens = 9, .max_tokens_path = SPAN("max_tokens"), .n = 1};
    last_message = NULL;
    last_part = NULL;
    last_tool = NULL;
    messages = parts = tools = 0;
}

static struct message *say(enum role role)
{
    struct message *m = arena_zalloc(&a, sizeof(*m));

    m->role = role;
    m->path = span_of(arena_printf(&a, "messages[%u]", messages++));
    if (last_message != NULL)
        last_message->next = m;
    else
        c.messages = m;
    last_message = m;
    last_part = NULL;
    parts = 0;
    return m;
}

static struct part *part(enum part_kind kind)
{
    struct part *p = arena_zalloc(&a, sizeof(*p));

    p->kind = kind;
    p->path = span_of(arena_printf(&a, "%.*s.content[%u]", SPAN_ARG(last_message->path), parts++));
    if (last_part != NULL)
        last_part->next = p;
    else
        last_message->parts = p;
    last_part = p;
    return p;
}

static struct part *text(const char *raw)
{
    struct part *p = part(PART_TEXT);

    p->text = span_of(raw);
    return p;
}

static struct part *user(const char *raw)
{
    say(ROLE_USER);
    return text(raw);
}

static struct part *assistant(const char *raw)
{
    say(ROLE_ASSISTANT);
    return text(raw);
}

static struct part *call(const char *id, const char *name, const char *arguments)
{
    struct part *p = part(PART_TOOL_CALL);

    p->id = span_of(id);
    p->name = span_of(name);
    p->arguments = span_of(arguments);
    return p;
}

static struct part *result(const char *id, const char *raw)
{
    struct part *p, *inner = arena_zalloc(&a, sizeof(*inner));

    say(ROLE_TOOL);
    p = part(PART_TOOL_RESULT);
    p->id = span_of(id);
    inner->kind = PART_TEXT;
    inner->text = span_of(raw);
    inner->path = p->path;
    p->inner = inner;
    return p;
}

static struct part *reasoning(const char *raw, const char *signature, const char *origin)
{
    struct part *p = part(PART_REASONING);

    p->text = span_of(raw);
    p->signature = span_of(signature);
    p->origin = span_of(origin);
    return p;
}

static struct tool *tool(const char *name, const char *schema)
{
    struct tool *t = arena_zalloc(&a, sizeof(*t));

    t->path = span_of(arena_printf(&a, "tools[%u]", tools++));
    t->name = span_of(name);
    t->schema = span_of(schema);
    if (last_tool != NULL)
        last_tool->next = t;
    else
        c.tools = t;
    last_tool = t;
    return t;
}

static char names_mem[1000], body_mem[65536];

static int write(struct dialect_request *out, struct err *e)
{
    struct dialect_target target = {
        .base_path = SPAN("/v1"), .key = SPAN("sk-1"), .model = c.model};
    struct strbuf names = strbuf_on(names_mem, sizeof(names_mem));
    struct drops drops = {.names = &names};

    names_mem[0] = '\0';
    return d->write_conversation(&c, &target, &a, out, &drops, e);
}

/* The whole body, and what was dropped. */
static void check_body(const char *want, const char *dropped)
{
    struct dialect_request out;
    struct strbuf body = strbuf_on(body_mem, sizeof(body_mem));
    struct err e = {0};

    if (write(&out, &e) < 0)
        fail_msg("refused: %s", e.msg);
    for (size_t i = 0; i < 3; i++)
        strbuf_add_span(&body, out.body[i]);
    CHECK_INT(body.len, out.body_bytes);
    CHECK(json_valid(strbuf_span(&body)));
    CHECK_STR(body_mem, want);
    CHECK_STR(names_mem, dropped);
}

static void check_refused(const char *message)
{
    struct dialect_request out;
    struct err e = {0};

    CHECK_INT(write(&out, &e), -1);
    CHECK_STR(e.msg, message);
}

#define OLD           "claude-3-5-haiku-20241022" /* neither thinks nor knows schemas */
#define HEAD(m, rest) "{\"model\":\"" m "\",\"max_tokens\":9" rest
#define TURN(role, b) "{\"role\":\"" role "\",\"content\":[" b "]}"
#define SAID(t)       "{\"type\":\"text\",\"text\":\"" t "\"}"
#define HI            ",\"messages\":[" TURN("user", SAID("hi")) "]}"

/* ---- the frame ---- */

TEST(where_it_goes_and_as_whom)
{
    struct dialect_request out;
    struct err e = {0};

    begin(OLD);
    user("\"hi\"");
    CHECK_INT(write(&out, &e), 0);
    CHECK_SPAN(out.path, "/v1/messages");
    CHECK_SPAN(strbuf_span(&out.head_fields),
               "x-api-key: sk-1\r\nanthropic-version: 2023-06-01\r\n");
}

TEST(plain_fields)
{
    begin(OLD);
    user("\"hi\"");
    c.stream = true;
    c.temperature = SPAN("0.70");
    c.top_k = SPAN("4");
    c.stop = SPAN("[\"a\",\" \\n\",\"\",\"b\"]");
    c.user = SPAN("\"u1\"");
    check_body(HEAD(OLD, ",\"stream\":true,\"temperature\":0.70,\"top_k\":4,"
                         "\"stop_sequences\":[\"a\",\"b\"],\"metadata\":{\"user_id\":\"u1\"}") HI,
               "stop");
    c.stop = SPAN("[\"\"]");
    c.user = c.top_k = c.temperature = (struct span){0};
    c.top_p = SPAN("0.9");
    c.stream = false;
    check_body(HEAD(OLD, ",\"top_p\":0.9") HI, "stop");
}

TEST(temperature_ends_at_1_and_excludes_top_p)
{
    begin(OLD);
    user("\"hi\"");
    c.temperature = SPAN("1.5");
    check_body(HEAD(OLD, ",\"temperature\":1") HI, "temperature");
    c.temperature = SPAN("1.0");
    c.top_p = SPAN("0.5");
    check_body(HEAD(OLD, ",\"temperature\":1.0") HI, "top_p");
    c.temperature = SPAN("-1");
    c.top_p = (struct span){0};
    check_body(HEAD(OLD, ",\"temperature\":0") HI, "temperature");
}

TEST(newest_models_take_no_sampling)
{
    static const char *const refuse[] = {"claude-opus-4-7", "claude-opus-4-8", "claude-sonnet-5",
                                         "claude-opus-5", "claude-haiku-5-20270101"};
    static const char *const take[] = {"claude-opus-4-6", "claude-sonnet-4-6", "gpt-oss"};

    for (size_t i = 0; i < 5; i++) {
        begin(refuse[i]);
        user("\"hi\"");
        c.temperature = SPAN("0.5");
        c.top_p = SPAN("0.5");
        c.top_k = SPAN("5");
        check_body(arena_printf(&a, "{\"model\":\"%s\",\"max_tokens\":9" HI, refuse[i]),
                   "temperature, top_p, top_k");
    }
    for (size_t i = 0; i < 3; i++) {
        begin(take[i]);
        user("\"hi\"");
        c.temperature = SPAN("0.5");
        check_body(
            arena_printf(&a, "{\"model\":\"%s\",\"max_tokens\":9,\"temperature\":0.5" HI, take[i]),
            "");
    }
}

TEST(max_tokens_by_the_model)
{
    static const struct {
        const char *model, *tokens;
    } rows[] = {
        {"claude-3-haiku-20240307", "4096"},
        {"claude-3-opus-latest", "4096"},
        {"claude-3-5-sonnet-20241022", "8192"},
        {"claude-3.5-haiku", "8192"},
        {"claude-3-7-sonnet-latest", "64000"},
        {"claude-opus-4-20250514", "32000"},
        {"claude-opus-4-1-20250805", "32000"},
        {"claude-sonnet-4-0", "64000"},
        {"anthropic/claude-opus-4.5", "64000"},
        {"us.anthropic.claude-sonnet-4-5-20250929-v1:0", "64000"},
        {"claude-sonnet-4-5@20250929", "64000"},
        {"claude-4-5-haiku", "64000"},
        {"claude-sonnet-4-6", "128000"},
        {"claude-opus-5", "128000"},
        {"deepseek-chat", "8192"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(rows[i].model);
        user("\"hi\"");
        c.max_tokens = 0;
        check_body(arena_printf(&a, "{\"model\":\"%s\",\"max_tokens\":%s" HI, rows[i].model,
                                rows[i].tokens),
                   "");
    }
    begin("claude-3-haiku-20240307");
    user("\"hi\"");
    c.max_tokens = 5000;
    check_body("{\"model\":\"claude-3-haiku-20240307\",\"max_tokens\":4096" HI, "max_tokens");
}

TEST(what_cannot_be_said_is_named)
{
    struct other_field other = {.path = SPAN("logit_bias")};

    begin(OLD);
    user("\"hi\"");
    last_message->name = SPAN("\"joe\"");
    c.presence_penalty = c.frequency_penalty = SPAN("1");
    c.seed = SPAN("7");
    c.logprobs = true;
    c.top_logprobs = SPAN("2");
    c.service_tier = c.verbosity = SPAN("\"low\"");
    c.others = &other;
    c.choice = CHOICE_REQUIRED;
    c.effort = EFFORT_HIGH;
    check_body(HEAD(OLD, "") HI,
               "messages[0].name, reasoning_effort, tool_choice, presence_penalty, "
               "frequency_penalty, seed, logprobs, top_logprobs, service_tier, verbosity, "
               "logit_bias");
}

TEST(more_than_one_answer_is_refused)
{
    begin(OLD);
    user("\"hi\"");
    c.n = 2;
    check_refused("n: expected 1, as this target gives one answer, got 2");
}

/* ---- messages ---- */

TEST(system_messages_in_front_are_joined_later_ones_are_the_user_s)
{
    begin(OLD);
    say(ROLE_SYSTEM);
    text("\"a\\u00e9\"");
    text("\" \"");
    say(ROLE_DEVELOPER);
    text("\"b\"");
    user("\"hi\"");
    say(ROLE_SYSTEM);
    text("\"c\"");
    assistant("\"yo\"");
    say(ROLE_SYSTEM);
    text("\"d\"");
    check_body(HEAD(OLD, ",\"system\":\"a\\u00e9\\n\\nb\",\"messages\":[")
                   TURN("user", SAID("hi") "," SAID("c")) "," TURN(
                       "assistant", SAID("yo")) "," TURN("user", SAID("d")) "]}",
               "");
    begin(OLD);
    say(ROLE_SYSTEM);
    text("\"alone\"");
    check_body(HEAD(OLD, ",\"messages\":[") TURN("user", SAID("alone")) "]}", "");
}

TEST(sides_alternate_and_nothing_is_empty)
{
    begin(OLD);
    assistant("\"first\"");
    user("\"a\"");
    user("\"\"");
    assistant("\" \\n\\u00a0\"");
    user("\"b\"");
    text("\"\\t\"");
    assistant("\"x\"");
    assistant("\"y \\\\ z \\n\\u000a \"");
    check_body(
        HEAD(OLD, ",\"messages\":[{\"role\":\"user\",\"content\":\"(continued)\"},")
            TURN("assistant", SAID("first")) "," TURN("user", SAID("a") "," SAID("b")) "," TURN(
                "assistant", SAID("x") "," SAID("y \\\\ z")) "]}",
        "");
    begin(OLD);
    user("\" \"");
    check_refused("messages: expected at least one message with something in it");
}

#define USE(id, name, input)                                                                       \
    "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"" name "\",\"input\":" input "}"
#define GOT(id, text)                                                                              \
    "{\"type\":\"tool_result\",\"tool_use_id\":\"" id "\",\"content\":\"" text "\"}"
#define TOOL_F                                                                                     \
    ",\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\",\"properties\":{}}}]"

TEST(results_stand_first_in_the_order_of_their_calls)
{
    begin(OLD);
    user("\"hi\"");
    assistant("\"calling\"");
    call("\"a\"", "\"f\"", "{\"n\": 1.0}");
    call("\"b\"", "\"f\"", NULL)->text = SPAN("\"{\\\"cut\"");
    call("\"c\"", "\"f\"", NULL);
    user("\"more\"");
    result("\"c\"", "\"3\"");
    result("\"b\"", "\"2\"")->is_error = true;
    result("\"a\"", "\" \"");
    tool("\"f\"", NULL);
    check_body(
        HEAD(OLD, TOOL_F ",\"messages\":[") TURN("user", SAID("hi")) "," TURN(
            "assistant",
            SAID("calling") "," USE("a", "f", "{\"n\": 1.0}") "," USE(
                "b", "f",
                "{\"_raw\":\"{\\\"cut\"}") "," USE("c", "f",
                                                   "{}")) "," TURN("user",
                                                                   "{\"type\":\"tool_result\","
                                                                   "\"tool_use_id\":\"a\"},"
                                                                   "{\"type\":\"tool_result\","
                                                                   "\"tool_use_id\":\"b\","
                                                                   "\"content\":\"2\","
                                                                   "\"is_error\":true}," GOT(
                                                                       "c",
                                                                       "3") "," SAID("more")) "]}",
        "");
}

/* The first 24 digits of SHA-256: of "1:x.1", "1:", "2:" and "2:ok_-1". */
#define ID_X  "call_35d8f691bbb0cecb13f38437"
#define ID_1  "call_0758ffe9350a70a1adf26990"
#define ID_2  "call_0c9d123c0dab7369f2c68ceb"
#define ID_OK "call_924ab8352a6de46305cd583d"

TEST(ids_that_do_not_fit_or_come_again_are_made_anew)
{
    begin(OLD);
    user("\"hi\"");
    say(ROLE_ASSISTANT);
    call("\"x.1\"", "\"f\"", "{}");
    call("\"ok_-1\"", "\"f\"", "{}");
    call("\"\"", "\"f\"", "{}");
    call("\"\"", "\"f\"", "{}");
    result("\"\"", "\"3\"");
    result("\"x.1\"", "\"1\"");
    result("\"\"", "\"4\"");
    result("\"ok_-1\"", "\"2\"");
    say(ROLE_ASSISTANT);
    call("\"ok_-1\"", "\"f\"", "{}");
    result("\"ok_-1\"", "\"5\"");
    tool("\"f\"", NULL);
    check_body(
        HEAD(OLD, TOOL_F ",\"messages\":[") TURN("user", SAID("hi")) "," TURN(
            "assistant",
            USE(ID_X, "f", "{}") "," USE("ok_-1", "f", "{}") "," USE(ID_1, "f", "{}") "," USE(
                ID_2, "f",
                "{}")) "," TURN("user",
                                GOT(ID_X, "1") "," GOT("ok_-1", "2") "," GOT(ID_1, "3") "," GOT(
                                    ID_2, "4")) "," TURN("assistant",
                                                         USE(ID_OK, "f",
                                                             "{}")) "," TURN("user",
                                                                             GOT(ID_OK, "5")) "]}",
        "");
}

TEST(calls_and_results_must_belong_together)
{
    begin(OLD);
    user("\"hi\"");
    result("\"a\"", "\"1\"");
    check_refused("messages[1].content[0]: the result of a tool call that the assistant's message "
                  "before does not hold; expected the id of one of its calls, each once");
    begin(OLD);
    user("\"hi\"");
    say(ROLE_ASSISTANT);
    call("\"a\"", "\"f\"", "{}");
    user("\"well?\"");
    check_refused("messages[1].content[0]: a tool call without a result; expected a message of "
                  "role tool with its id behind it");
    begin(OLD);
    user("\"hi\"");
    say(ROLE_ASSISTANT);
    call("\"a\"", "\"f\"", "{}");
    check_refused("messages[1].content[0]: a tool call without a result; expected a message of "
                  "role tool with its id behind it");
    begin(OLD);
    user("\"hi\"");
    say(ROLE_ASSISTANT);
    call("\"a\"", "\"f\"", "{}");
    result("\"a\"", "\"1\"");
    result("\"a\"", "\"2\"");
    check_refused("messages[3].content[0]: the result of a tool call that the assistant's message "
                  "before does not hold; expected the id of one of its calls, each once");
}

TEST(a_history_with_calls_declares_their_tools)
{
    begin(OLD);
    user("\"hi\"");
    say(ROLE_ASSISTANT);
    call("\"a\"", "\"f\"", "{}");
    call("\"b\"", "\"g\"", "{}");
    call("\"c\"", "\"f\"", "{}");
    result("\"a\"", "\"1\"");
    result("\"b\"", "\"2\"");
    result("\"c\"", "\"3\"");
    check_body(
        HEAD(OLD, ",\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}},"
                  "{\"name\":\"g\",\"input_schema\":{\"type\":\"object\"}}],"
                  "\"tool_choice\":{\"type\":\"none\"},\"messages\":[")
            TURN("user", SAID("hi")) "," TURN(
                "assistant",
                USE("a", "f", "{}") "," USE("b", "g", "{}") "," USE(
                    "c", "f",
                    "{}")) "," TURN("user", GOT("a", "1") "," GOT("b", "2") "," GOT("c", "3")) "]}",
        "");
}

/* ---- parts ---- */

static struct part *media(enum part_kind kind, const char *mime, const char *data)
{
    struct part *p = part(kind);

    p->mime = span_of(mime);
    p->data = span_of(data);
    return p;
}

#define IMAGE(type, data)                                                                          \
    "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"" type                   \
    "\",\"data\":\"" data "\"}}"

TEST(images_by_what_they_are)
{
    struct part *p;

    begin(OLD);
    say(ROLE_USER);
    media(PART_IMAGE, "image/png", "/9j/AA==");
    media(PART_IMAGE, "image/jpeg", "iVBORw0K");
    media(PART_IMAGE, NULL, "R0lGODlh");
    media(PART_IMAGE, NULL, "UklGR-_A");
    media(PART_IMAGE, "image/png", "AAAA")->detail = SPAN("\"auto\"");
    p = part(PART_IMAGE);
    p->url = SPAN("\"https:\\/\\/x\"");
    p->detail = SPAN("\"high\"");
    p->cache = SPAN("{\"type\":\"ephemeral\"}");
    check_body(HEAD(OLD, ",\"messages\":[") TURN(
                   "user",
                   IMAGE("image/jpeg", "/9j/AA==") "," IMAGE("image/png", "iVBORw0K") "," IMAGE(
                       "image/gif",
                       "R0lGODlh") "," IMAGE("image/webp",
                                             "UklGR+/A") "," IMAGE("image/png",
                                                                   "AAAA") ",{\"type\":\"image\","
                                                                           "\"source\":{\"type\":"
                                                                           "\"url\","
                                                                           "\"url\":\"https:\\/\\/"
                                                                           "x\"},\"cache_control\":"
                                                                           "{\"type\":"
                                                                           "\"ephemeral\"}}") "]}",
               "messages[0].content[5].detail");
}

TEST(documents)
{
    struct part *p;

    begin(OLD);
    say(ROLE_USER);
    media(PART_DOCUMENT, "application/octet-stream", "JVBERi0x")->name = SPAN("\"a.pdf\"");
    media(PART_DOCUMENT, "text/csv", "YSwi4oKsIgo=");
    p = part(PART_DOCUMENT);
    p->url = SPAN("\"https://x/y.pdf\"");
    check_body(HEAD(OLD, ",\"messages\":[") TURN(
                   "user", "{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":"
                           "\"application/pdf\",\"data\":\"JVBERi0x\"},\"title\":\"a.pdf\"},"
                           "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":"
                           "\"text/plain\",\"data\":\"a,\\\"\xe2\x82\xac\\\"\\n\"}},"
                           "{\"type\":\"document\",\"source\":{\"type\":\"url\",\"url\":"
                           "\"https://x/y.pdf\"}}") "]}",
               "");
}

TEST(parts_that_are_not_taken_are_refused_by_their_place)
{
    static const struct {
        enum part_kind kind;
        const char *mime, *data, *file_id, *message;
    } rows[] = {
        {PART_AUDIO, "audio/wav", "AAAA", NULL,
         "audio is not taken; expected text, an image or a document"},
        {PART_VIDEO, "video/mp4", "AAAA", NULL,
         "video is not taken; expected text, an image or a document"},
        {PART_IMAGE, "image/bmp", "Qk0A", NULL, "expected an image of type PNG, JPEG, GIF or WebP"},
        {PART_IMAGE, "image/png", "a\"},{", NULL, "expected an image's data as base64"},
        {PART_IMAGE, NULL, NULL, NULL, "expected an image's URL or its data, got neither"},
        {PART_IMAGE, NULL, NULL, "\"file-1\"",
         "a file's id is known to one provider only; expected an image's URL or its data"},
        {PART_DOCUMENT, NULL, NULL, "\"file-1\"",
         "a file's id is known to one provider only; expected the file's data"},
        {PART_DOCUMENT, "application/zip", "AAAA", NULL, "expected a file that is a PDF or text"},
        {PART_DOCUMENT, "text/plain", "a?", NULL, "expected a file's data as base64"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(OLD);
        user("\"hi\"");
        media(rows[i].kind, rows[i].mime, rows[i].data)->file_id = span_of(rows[i].file_id);
        check_refused(arena_printf(&a, "messages[0].content[1]: %s", rows[i].message));
    }
    begin(OLD);
    user("\"hi\"");
    assistant("\"yo\"");
    media(PART_IMAGE, "image/png", "iVBORw0K");
    check_refused(
        "messages[1].content[1]: expected text or a tool call in the assistant's message");
}

TEST(images_inside_results_and_what_to_cache)
{
    struct part *p, *image = NULL;

    begin(OLD);
    say(ROLE_SYSTEM);
    text("\"s\"")->cache = SPAN("{\"type\":\"ephemeral\",\"ttl\":\"1h\"}");
    text("\"t\"");
    user("\"hi\"");
    say(ROLE_ASSISTANT);
    call("\"a\"", "\"f\"", "{}");
    p = result("\"a\"", "\"see\"");
    image = arena_zalloc(&a, sizeof(*image));
    *image = (struct part){.kind = PART_IMAGE, .data = SPAN("iVBORw0K")};
    p->inner->next = image;
    p->cache = SPAN("{\"type\":\"ephemeral\"}");
    tool("\"f\"", NULL)->cache = SPAN("{\"type\":\"ephemeral\"}");
    check_body(HEAD(OLD, ",\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\","
                         "\"properties\":{}},\"cache_control\":{\"type\":\"ephemeral\"}}],"
                         "\"system\":[{\"type\":\"text\",\"text\":\"s\",\"cache_control\":"
                         "{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}," SAID("t") "],\"messages\":[")
                   TURN("user", SAID("hi")) "," TURN("assistant", USE("a", "f", "{}")) "," TURN(
                       "user", "{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[" SAID(
                                   "see") "," IMAGE("image/png",
                                                    "iVBORw0K") "],\"cache_control\":"
                                                                "{\"type\":\"ephemeral\"}}") "]}",
               "");
}

/* ---- tools ---- */

TEST(tools_and_their_schemas)
{
    begin("claude-sonnet-4-5");
    user("\"hi\"");
    tool("\"f\"", "{ \"type\":\"object\",\"x\":1.50}")->description = SPAN("\"d\\n\"");
    tool("\"g\"", "{\"properties\":{}}");
    tool("\"h\"", "{}")->description = SPAN("\"\"");
    tool("\"i\"", "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"properties\":{"
                  "}}},\"additionalProperties\":false}")
        ->strict = true;
    check_body(HEAD("claude-sonnet-4-5",
                    ",\"tools\":[{\"name\":\"f\",\"description\":\"d\\n\",\"input_schema\":"
                    "{ \"type\":\"object\",\"x\":1.50}},"
                    "{\"name\":\"g\",\"input_schema\":{\"type\":\"object\",\"properties\":{}}},"
                    "{\"name\":\"h\",\"input_schema\":{\"type\":\"object\",\"properties\":{}}},"
                    "{\"name\":\"i\",\"strict\":true,\"input_schema\":{\"type\":\"object\","
                    "\"properties\":{\"a\":{\"type\":\"object\",\"properties\":{},"
                    "\"additionalProperties\":false}},\"additionalProperties\":false}}]") HI,
               "");
    begin(OLD);
    user("\"hi\"");
    tool("\"f\"", NULL)->strict = true;
    check_body(HEAD(OLD, TOOL_F) HI, "tools[0].strict");
    begin(OLD);
    user("\"hi\"");
    tool("\"f\"", "{\"type\":\"array\"}");
    check_refused("tools[0]: expected parameters of type \"object\", got \"array\"");
    begin(OLD);
    user("\"hi\"");
    tool("\"a.b\"", NULL);
    check_refused("tools[0].name: expected 1 to 128 letters, digits, _ and -, got \"a.b\"");
}

TEST(tool_choice)
{
    static const struct {
        enum tool_choice choice;
        bool one, required;
        const char *want;
    } rows[] = {
        {CHOICE_UNSET, false, false, ""},
        {CHOICE_UNSET, true, false, "{\"type\":\"auto\",\"disable_parallel_tool_use\":true}"},
        {CHOICE_AUTO, false, false, "{\"type\":\"auto\"}"},
        {CHOICE_NONE, true, false, "{\"type\":\"none\"}"},
        {CHOICE_REQUIRED, true, false, "{\"type\":\"any\",\"disable_parallel_tool_use\":true}"},
        {CHOICE_NAMED, false, false, "{\"type\":\"tool\",\"name\":\"f\"}"},
        {CHOICE_ALLOWED, false, false, "{\"type\":\"auto\"}"},
        {CHOICE_ALLOWED, false, true, "{\"type\":\"any\"}"},
    };
    struct name_list allowed = {.name = SPAN("\"\\u0066\"")};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(OLD);
        user("\"hi\"");
        tool("\"f\"", NULL);
        if (rows[i].choice == CHOICE_ALLOWED)
            tool("\"g\"", NULL);
        c.choice = rows[i].choice;
        c.choice_name = SPAN("\"f\"");
        c.choice_allowed = &allowed;
        c.choice_allowed_required = rows[i].required;
        c.one_tool_at_a_time = rows[i].one;
        check_body(arena_printf(&a, HEAD(OLD, TOOL_F) "%s%s" HI,
                                rows[i].want[0] != '\0' ? ",\"tool_choice\":" : "", rows[i].want),
                   "");
    }
    allowed.name = SPAN("\"nobody\"");
    check_refused("tool_choice: expected at least one allowed tool that stands in tools");
}

/* ---- thinking ---- */

TEST(effort)
{
    static const struct {
        const char *model;
        enum effort effort;
        const char *want, *dropped;
    } rows[] = {
#define ADAPTIVE  ",\"thinking\":{\"type\":\"adaptive\"}"
#define SHOWN     ",\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"}"
#define OFF       ",\"thinking\":{\"type\":\"disabled\"}"
#define EFFORT(e) ",\"output_config\":{\"effort\":\"" e "\"}"
#define BUDGET(b) ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":" b "}"
        {"claude-sonnet-4-6", EFFORT_NONE, "9" OFF, ""},
        {"claude-sonnet-4-6", EFFORT_MINIMAL, "9" EFFORT("low"), ""},
        {"claude-sonnet-4-6", EFFORT_MEDIUM, "9" ADAPTIVE EFFORT("medium"), ""},
        {"claude-sonnet-4-6", EFFORT_XHIGH, "9" ADAPTIVE EFFORT("high"), "reasoning_effort"},
        {"claude-opus-4-7", EFFORT_XHIGH, "9" SHOWN EFFORT("xhigh"), ""},
        {"claude-sonnet-4-5", EFFORT_NONE, "9", ""},
        {"claude-sonnet-4-5", EFFORT_MINIMAL, "9", ""},
        {"claude-sonnet-4-5", EFFORT_LOW, "1033" BUDGET("1024"), ""},
        {"claude-sonnet-4-5", EFFORT_HIGH, "24585" BUDGET("24576"), ""},
        {"claude-opus-4-1", EFFORT_XHIGH, "24009" BUDGET("24000"), ""},
        {"deepseek-chat", EFFORT_MEDIUM, "8201" BUDGET("8192"), ""},
        {OLD, EFFORT_MEDIUM, "9", "reasoning_effort"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(rows[i].model);
        user("\"hi\"");
        c.effort = rows[i].effort;
        check_body(
            arena_printf(&a, "{\"model\":\"%s\",\"max_tokens\":%s" HI, rows[i].model, rows[i].want),
            rows[i].dropped);
    }
    begin("claude-opus-4-1");
    user("\"hi\"");
    c.effort = EFFORT_HIGH;
    c.max_tokens = 30000;
    c.temperature = SPAN("0.5");
    c.top_k = SPAN("3");
    check_body("{\"model\":\"claude-opus-4-1\",\"max_tokens\":32000" BUDGET("24000") HI,
               "temperature, top_k");
    begin("claude-sonnet-4-5");
    user("\"hi\"");
    tool("\"f\"", NULL);
    c.effort = EFFORT_HIGH;
    c.choice = CHOICE_REQUIRED;
    check_body(HEAD("claude-sonnet-4-5", TOOL_F ",\"tool_choice\":{\"type\":\"any\"}") HI,
               "reasoning_effort");
}

/* A turn with one call and its result. */
static void think_and_call(const char *signature, const char *origin)
{
    begin("claude-sonnet-4-5");
    user("\"hi\"");
    say(ROLE_ASSISTANT);
    call("\"a\"", "\"f\"", "{}");
    reasoning("\"hm\"", signature, origin);
    result("\"a\"", "\"1\"");
    tool("\"f\"", NULL);
    c.effort = EFFORT_LOW;
}

TEST(thinking_goes_back_to_who_signed_it)
{
    think_and_call("\"c2\\/ln\"", "anthropic_messages");
    reasoning(NULL, "\"ZGF0\"", "anthropic_messages");
    check_body("{\"model\":\"claude-sonnet-4-5\",\"max_tokens\":1033" BUDGET("1024") TOOL_F
               ",\"messages\":[" TURN("user", SAID("hi")) "," TURN(
                   "assistant",
                   "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"c2\\/ln\"}," USE(
                       "a", "f", "{}")) "," TURN("user", GOT("a", "1")) "]}",
               "messages[2].content[1]");
    think_and_call("\"c2\\/ln\"", "gemini");
    check_body(HEAD("claude-sonnet-4-5", TOOL_F ",\"messages\":[")
                   TURN("user", SAID("hi")) "," TURN("assistant", USE("a", "f", "{}")) "," TURN(
                       "user", GOT("a", "1")) "]}",
               "messages[1].content[1], reasoning_effort");
    think_and_call("\"c2\\/ln\"", "gemini");
    c.model = SPAN("claude-opus-4-6");
    check_body(HEAD("claude-opus-4-6", OFF EFFORT("low") TOOL_F ",\"messages\":[")
                   TURN("user", SAID("hi")) "," TURN("assistant", USE("a", "f", "{}")) "," TURN(
                       "user", GOT("a", "1")) "]}",
               "messages[1].content[1], reasoning_effort");
    /* The turn is over: the calls in it need their thinking no more. */
    think_and_call(NULL, NULL);
    assistant("\"done\"");
    user("\"next\"");
    check_body(
        "{\"model\":\"claude-sonnet-4-5\",\"max_tokens\":1033" BUDGET("1024") TOOL_F
        ",\"messages\":[" TURN("user", SAID("hi")) "," TURN(
            "assistant",
            USE("a", "f",
                "{}")) "," TURN("user",
                                GOT("a", "1")) "," TURN("assistant",
                                                        SAID("done")) "," TURN("user",
                                                                               SAID("next")) "]}",
        "messages[1].content[1]");
}

TEST(reasoning_alone_is_no_message)
{
    begin(OLD);
    say(ROLE_ASSISTANT);
    reasoning("\"hm\"", NULL, NULL);
    user("\"hi\"");
    say(ROLE_ASSISTANT);
    reasoning("\"hm\"", "\"c2ln\"", "anthropic_messages");
    user("\"so\"");
    check_body(HEAD(OLD, ",\"messages\":[") TURN("user", SAID("hi") "," SAID("so")) "]}",
               "messages[0].content[0], messages[2].content[0]");
}

TEST(redacted_thinking_goes_back_too)
{
    begin("claude-sonnet-4-5");
    user("\"hi\"");
    assistant("\"yo\"");
    reasoning(NULL, "\"ZGF0\"", "anthropic_messages");
    reasoning("\"\"", "\"c2ln\"", "anthropic_messages");
    user("\"so\"");
    say(ROLE_ASSISTANT);
    reasoning("\"only\"", "\"c2ln\"", "anthropic_messages");
    check_body(HEAD("claude-sonnet-4-5", ",\"messages\":[") TURN("user", SAID("hi")) "," TURN(
                   "assistant", "{\"type\":\"redacted_thinking\",\"data\":\"ZGF0\"},"
                                "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"c2ln\"}"
                                "," SAID("yo")) "," TURN("user", SAID("so")) "]}",
               "messages[3].content[0]");
}

/* ---- structured output ---- */

TEST(json_schemas_are_closed_and_what_is_unknown_is_told)
{
    begin("claude-sonnet-4-5");
    user("\"hi\"");
    c.format = FORMAT_SCHEMA;
    c.schema_name = SPAN("\"n\"");
    c.schema_description = SPAN("\"d\"");
    c.schema = SPAN(
        "{\"type\":\"object\",\"properties\":{\"minimum\":{\"type\":\"integer\",\"minimum\":0,"
        "\"maximum\":9,\"description\":\"x\"},\"b\":{\"oneOf\":[{\"type\":\"string\",\"pattern\":"
        "\"^a\\\"\"},{\"$ref\":\"#/$defs/e\"}]},\"c\":{\"type\":\"array\",\"minItems\":1,\"items\":"
        "{\"type\":\"string\",\"format\":\"date\"}},\"d\":{\"type\":\"array\",\"minItems\":2},"
        "\"f\":{\"type\":\"string\",\"format\":\"odd\"}},\"required\":[\"b\"],"
        "\"$defs\":{\"e\":{\"type\":[\"object\",\"null\"],\"additionalProperties\":true}}}");
    check_body(
        HEAD("claude-sonnet-4-5",
             ",\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{\"title\":\"n\","
             "\"type\":\"object\",\"properties\":{\"minimum\":{\"type\":\"integer\","
             "\"description\":\"x\\n\\n{minimum: 0, maximum: 9}\"},\"b\":{\"anyOf\":[{\"type\":"
             "\"string\",\"description\":\"{pattern: \\\"^a\\\\\\\"\\\"}\"},"
             "{\"$ref\":\"#/$defs/e\"}]},"
             "\"c\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"string\",\"format\":"
             "\"date\"}},\"d\":{\"type\":\"array\",\"description\":\"{minItems: 2}\"},"
             "\"f\":{\"type\":\"string\",\"description\":\"{format: \\\"odd\\\"}\"}},"
             "\"required\":[\"b\"],\"$defs\":{\"e\":{\"type\":[\"object\",\"null\"],"
             "\"additionalProperties\":false}},\"description\":\"d\","
             "\"additionalProperties\":false}}}") HI,
        "response_format.json_schema.schema.additionalProperties");
    c.model = SPAN(OLD);
    check_refused("response_format: expected a type of \"text\" or \"json_object\", as this model "
                  "is not known to hold to a JSON Schema, got \"json_schema\"");
    c.model = SPAN("claude-opus-4-8");
    c.schema = SPAN("{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"array\",\"items\":"
                    "{\"$ref\":\"#/$defs/t\"}}}}");
    check_refused("response_format.json_schema.schema: the definition \"t\" refers to itself; "
                  "expected a schema without recursion");
    c.schema = SPAN("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}");
    check_refused("response_format.json_schema.schema: $ref refers to the whole schema; expected a "
                  "schema without recursion");
}

TEST(any_json_is_a_hint)
{
    begin(OLD);
    user("\"hi\"");
    c.format = FORMAT_JSON;
    check_body(HEAD(OLD, ",\"system\":\"Answer with one JSON object and nothing else.\"") HI, "");
    begin(OLD);
    say(ROLE_SYSTEM);
    text("\"s\"");
    user("\"hi\"");
    c.format = FORMAT_JSON;
    check_body(HEAD(OLD, ",\"system\":\"s\\n\\nAnswer with one JSON object and nothing else.\"") HI,
               "");
}

TEST_MAIN()
