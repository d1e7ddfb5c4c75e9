/* Requests, and what a client of OpenAI chat completions gets. Answers of providers are in
 * openai_chat_read_test.c, their errors in openai_chat_error_test.c. */
#include "providers/dialect.h"
#include "tests/unit/check.h"

static const struct dialect *const d = &dialect_openai_chat;

static struct arena a;
static struct chat_request req;
static struct err e;

/* ---- reading requests ---- */

static bool read_request(const char *body)
{
    arena_reset(&a);
    memset(&req, 0, sizeof(req));
    e = (struct err){0};
    return d->read_request(span_of(body), &a, &req, &e) == 0;
}

static void check_refused(const char *body, const char *why)
{
    CHECK(!read_request(body));
    CHECK_STR(e.msg, why);
    CHECK(req.body.p == NULL); /* nothing was given out */
}

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

TEST(a_plain_request_is_read)
{
    static const char body[] = " {\"model\":\"gpt-\\u0034o\", " MESSAGES ",\"x\":[1,{}]} ";

    CHECK(read_request(body));
    CHECK_SPAN(req.model, "gpt-4o");
    CHECK_SPAN(req.model_raw, "\"gpt-\\u0034o\"");
    CHECK(req.body.p == body && req.body.n == strlen(body));
    CHECK(!req.stream && !req.usage_asked && !req.tools && !req.reasoning);
}

TEST(a_request_is_read_whatever_the_order_of_its_keys)
{
    CHECK(read_request(
        "{\"tools\":[{}],\"stream_options\":{\"include_usage\":true},\"stream\":true," MESSAGES
        ",\"model\":\"m\"}"));
    CHECK(req.stream && req.usage_asked && req.tools);
    CHECK(read_request("{\"functions\":[{}],\"stream_options\":null,\"stream\":null,"
                       "\"mod\\u0065l\":\"m\"," MESSAGES "}"));
    CHECK(!req.stream && !req.usage_asked && req.tools);
    CHECK(
        read_request("{\"tools\":[],\"stream\":false,\"stream_options\":{\"include_usage\":false},"
                     "\"model\":\"m\"," MESSAGES "}"));
    CHECK(!req.stream && !req.usage_asked && !req.tools);
}

static bool is_structured(const char *form)
{
    char body[500];

    snprintf(body, sizeof(body), "{\"model\":\"m\"," MESSAGES ",\"response_format\":%s}", form);
    CHECK(read_request(body));
    return req.structured;
}

TEST(a_form_other_than_prose_is_noticed)
{
    CHECK(is_structured("{\"type\":\"json_object\"}"));
    CHECK(is_structured("{\"json_schema\":{\"type\":\"text\"},\"type\":\"json_schema\"}"));
    CHECK(is_structured("{\"other\":\"text\",\"type\":\"json_object\"}"));
    CHECK(!is_structured("{\"type\":\"text\"}"));
    CHECK(!is_structured("null"));
    CHECK(read_request("{\"model\":\"m\"," MESSAGES "}"));
    CHECK(!req.structured);
}

TEST(a_byte_order_mark_is_not_passed_on)
{
    CHECK(read_request("\xef\xbb\xbf{\"model\":\"m\"," MESSAGES "}"));
    CHECK(req.body.p[0] == '{');
}

static bool reasoning(const char *model, const char *more)
{
    char body[256];

    snprintf(body, sizeof(body), "{\"model\":\"%s\"," MESSAGES "%s}", model, more);
    CHECK(read_request(body));
    return req.reasoning;
}

TEST(reasoning_is_told_by_the_effort_or_else_by_the_model)
{
    CHECK(reasoning("o3-mini", ""));
    CHECK(reasoning("o1", ""));
    CHECK(reasoning("gpt-5.2", ""));
    CHECK(reasoning("openai/o4-mini", ""));
    CHECK(!reasoning("gpt-4o", ""));
    CHECK(!reasoning("o2", ""));
    CHECK(!reasoning("o3/llama", ""));
    CHECK(reasoning("gpt-4o", ",\"reasoning_effort\":\"low\""));
    CHECK(!reasoning("gpt-5", ",\"reasoning_effort\":\"minimal\""));
    CHECK(!reasoning("gpt-5", ",\"reasoning_effort\":\"none\""));
    CHECK(reasoning("gpt-5", ",\"reasoning_effort\":null"));
}

TEST(a_bad_request_is_refused_with_field_value_and_what_was_expected)
{
    static const char model[] =
        "model: expected a model's name, 1 to 200 bytes without control characters, ";
    char text[512], want[512];

    check_refused("", "request body: JSON: byte 0: expected a value, found the end");
    check_refused("{\"model\":\"m\"," MESSAGES,
                  "request body: JSON: byte 56: expected ',' or '}', found the end");
    check_refused("{\"model\":\"m\"," MESSAGES "} x",
                  "request body: JSON: byte 58: expected nothing behind the value, found 'x'");
    check_refused("[1]", "request body: expected a JSON object, got [1]");
    /* Exactly sized, so that reading on behind the value would be seen. */
    {
        char *two = malloc(1);

        *two = '2';
        CHECK(d->read_request((struct span){two, 1}, &a, &req, &e) < 0);
        CHECK_STR(e.msg, "request body: expected a JSON object, got 2");
        free(two);
    }

    snprintf(want, sizeof(want), "%sbut it is missing", model);
    check_refused("{" MESSAGES "}", want);
    snprintf(want, sizeof(want), "%sgot null", model);
    check_refused("{\"model\":null," MESSAGES "}", want);
    snprintf(want, sizeof(want), "%sgot \"\"", model);
    check_refused("{\"model\":\"\"," MESSAGES "}", want);
    snprintf(want, sizeof(want), "%sgot \"a\\u0000\"", model);
    check_refused("{\"model\":\"a\\u0000\"," MESSAGES "}", want);
    snprintf(want, sizeof(want), "%sgot \"a\\n\"", model);
    check_refused("{\"model\":\"a\\n\"," MESSAGES "}", want);

    snprintf(text, sizeof(text), "{\"model\":\"%0200d\"," MESSAGES "}", 0);
    CHECK(read_request(text));
    snprintf(text, sizeof(text), "{\"model\":\"%0201d\"," MESSAGES "}", 0);
    CHECK(!read_request(text));

    check_refused("{\"model\":\"m\"}",
                  "messages: expected an array with at least one message, but it is missing");
    check_refused("{\"model\":\"m\",\"messages\":[]}",
                  "messages: expected an array with at least one message, got []");
    check_refused("{\"model\":\"m\",\"messages\":\"hello hello hello hello hello hello hello hello "
                  "hello hello\"}",
                  "messages: expected an array with at least one message, got \"hello hello hello "
                  "hello hello "
                  "hello hello hello hello hello...");
    check_refused("{\"model\":\"m\",\"stream\":\"true\"," MESSAGES "}",
                  "stream: expected true or false, got \"true\"");
    check_refused("{\"model\":\"m\",\"stream\":1," MESSAGES "}",
                  "stream: expected true or false, got 1");
    check_refused("{\"model\":\"m\",\"stream_options\":[]," MESSAGES "}",
                  "stream_options: expected an object, got []");
    check_refused("{\"model\":\"m\",\"stream_options\":{\"include_usage\":0}," MESSAGES "}",
                  "stream_options.include_usage: expected true or false, got 0");
}

TEST(a_key_we_read_may_stand_only_once)
{
    check_refused("{\"model\":\"a\",\"model\":\"b\"," MESSAGES "}",
                  "model: stands twice in the request, expected once");
    check_refused("{\"model\":\"a\",\"mod\\u0065l\":\"a\"," MESSAGES "}",
                  "model: stands twice in the request, expected once");
    check_refused("{\"model\":\"a\",\"stream\":null,\"stream\":true," MESSAGES "}",
                  "stream: stands twice in the request, expected once");
    check_refused("{\"model\":\"a\",\"stream_options\":{\"include_usage\":true,\"include_usage\":"
                  "true}," MESSAGES "}",
                  "stream_options.include_usage: stands twice in the request, expected once");
    CHECK(read_request("{\"model\":\"a\",\"seed\":1,\"seed\":2," MESSAGES "}"));
}

/* ---- writing requests ---- */

static struct span written(const struct dialect_target *target, struct dialect_request *out)
{
    struct strbuf whole = strbuf_in(&a, 10000);

    d->write_request(&req, target, &a, out, NULL);
    for (size_t i = 0; i < 3; i++)
        strbuf_add_span(&whole, out->body[i]);
    CHECK_INT(out->body_bytes, whole.len);
    return strbuf_span(&whole);
}

TEST(only_the_model_of_a_request_changes_for_another_target)
{
    struct dialect_target target = {.base_path = SPAN("/v1"),
                                    .model = SPAN("a \"b\"\n"),
                                    .key = SPAN("sk-1"),
                                    .rewrite_model = true};
    struct dialect_request out;

    CHECK(read_request("{\"n\":1e400, \"model\" : \"x\" ,\"z\":\"\\u00e9\"," MESSAGES "}\n"));
    CHECK_SPAN(written(&target, &out),
               "{\"n\":1e400, \"model\" : \"a \\\"b\\\"\\n\" ,\"z\":\"\\u00e9\"," MESSAGES "}\n");
    CHECK_SPAN(out.path, "/v1/chat/completions");
    CHECK_SPAN(strbuf_span(&out.head_fields), "Authorization: Bearer sk-1\r\n");
    CHECK(out.body[0].p == req.body.p); /* not copied */
}

TEST(a_request_passes_untouched_where_the_model_stays)
{
    struct dialect_target target = {.base_path = SPAN("")};
    struct dialect_request out;

    CHECK(read_request("{\"model\":\"x\"," MESSAGES "}"));
    CHECK_SPAN(written(&target, &out), "{\"model\":\"x\"," MESSAGES "}");
    CHECK(out.body[0].p == req.body.p);
    CHECK_SPAN(out.path, "/chat/completions");
    CHECK_INT(out.head_fields.len, 0); /* no key, no field */
}

/* ---- what a client gets ---- */

static struct strbuf out;

static void fresh(void)
{
    arena_reset(&a);
    out = strbuf_in(&a, 100000);
}

TEST(an_error_is_openais_envelope)
{
    struct chat_error error = {.status = 503, .message = "no \"way\""};

    fresh();
    d->write_error(&error, &out);
    CHECK_SPAN(strbuf_span(&out),
               "{\"error\":{\"message\":\"no \\\"way\\\"\",\"type\":\"server_error\","
               "\"param\":null,\"code\":null}}\n");
    fresh();
    error =
        (struct chat_error){.status = 400, .message = "m", .type = "t", .code = "c", .param = "p"};
    d->write_stream_error(&error, &out);
    CHECK_SPAN(
        strbuf_span(&out),
        "data: {\"error\":{\"message\":\"m\",\"type\":\"t\",\"param\":\"p\",\"code\":\"c\"}}\n\n");
}

TEST(an_errors_type_follows_its_status)
{
    static const struct {
        unsigned status;
        const char *type;
    } rows[] = {{400, "\"invalid_request_error\""},
                {401, "\"invalid_request_error\""},
                {402, "\"insufficient_quota\""},
                {404, "\"invalid_request_error\""},
                {408, "\"server_error\""},
                {413, "\"invalid_request_error\""},
                {429, "\"requests\""},
                {500, "\"server_error\""},
                {502, "\"server_error\""},
                {504, "\"server_error\""}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct chat_error error = {.status = rows[i].status, .message = "m"};

        fresh();
        d->write_error(&error, &out);
        CHECK(strstr(out.buf, rows[i].type) != NULL);
    }
}

TEST(models_are_a_list)
{
    struct span names[] = {SPAN("a"), SPAN("b\"")};

    fresh();
    d->write_models(names, 2, 9, &out);
    CHECK_SPAN(strbuf_span(&out), "{\"object\":\"list\",\"data\":[{\"id\":\"a\",\"object\":"
                                  "\"model\",\"created\":9,\"owned_by\":"
                                  "\"holdfast\"},{\"id\":\"b\\\"\",\"object\":\"model\","
                                  "\"created\":9,\"owned_by\":\"holdfast\"}]}\n");
    fresh();
    d->write_models(NULL, 0, 9, &out);
    CHECK_SPAN(strbuf_span(&out), "{\"object\":\"list\",\"data\":[]}\n");
}

TEST(the_arena_is_given_back)
{
    arena_release(&a);
    CHECK_INT(a.total, 0);
}

TEST(a_deployment_stands_in_the_path_and_stays_one_segment)
{
    static const char body[] = "{\"model\":\"../x y\",\"messages\":[{}]}";
    struct dialect_target to = {.base_path = SPAN("/openai/deployments"),
                                .key = SPAN("k"),
                                .key_header = "api-key: ",
                                .query = "?api-version=1",
                                .model_in_path = true};
    struct dialect_request sent;
    struct chat_request asked;
    struct arena mem;
    struct err why;

    arena_init(&mem);
    CHECK_INT(dialect_openai_chat.read_request(span_of(body), &mem, &asked, &why), 0);
    dialect_openai_chat.write_request(&asked, &to, &mem, &sent, NULL);
    CHECK_SPAN(sent.path, "/openai/deployments/..%2Fx%20y/chat/completions?api-version=1");
    CHECK_SPAN(strbuf_span(&sent.head_fields), "api-key: k\r\n");
    to.model = SPAN("..");
    to.rewrite_model = true;
    dialect_openai_chat.write_request(&asked, &to, &mem, &sent, NULL);
    CHECK_SPAN(sent.path, "/openai/deployments/%2E%2E/chat/completions?api-version=1");
    arena_release(&mem);
}

TEST_MAIN()
