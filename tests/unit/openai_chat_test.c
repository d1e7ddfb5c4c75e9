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

/* ---- the same request, to carry an answer on ---- */

static struct chat_request longer;

static bool extend(const char *body, const char *assistant, const char *user, uint64_t used)
{
    struct span before;

    CHECK(read_request(body));
    before = req.body;
    memset(&longer, 0, sizeof(longer));
    if (d->extend(&req, span_of(assistant), span_of(user), used, &a, &longer, &e) < 0)
        return false;
    CHECK(req.body.p == before.p && req.body.n == before.n);
    CHECK_SPAN(req.body, body); /* the client's own request stays as it is */
    return true;
}

static void check_extended(const char *body, const char *assistant, const char *user, uint64_t used,
                           const char *want)
{
    struct chat_request again;

    CHECK(extend(body, assistant, user, used));
    CHECK_SPAN(longer.body, want);
    CHECK(d->read_request(longer.body, &a, &again, &e) == 0);
}

#define SAID "{\"role\":\"assistant\",\"content\":\"so far\"}"
#define GO   "{\"role\":\"user\",\"content\":\"go on\"}"

TEST(turns_go_behind_the_last_message_and_all_else_stays_byte_for_byte)
{
    check_extended(
        " { \"x\" : 1.0e2,\"messages\" : [ {\"role\":\"user\", \"content\":\"\\u0068i\"} "
        "], \"model\":\"m\",\"y\":[ ] }\n",
        "so far", "go on", 0,
        " { \"x\" : 1.0e2,\"messages\" : [ {\"role\":\"user\", \"content\":\"\\u0068i\"}"
        "," SAID "," GO " ], \"model\":\"m\",\"y\":[ ] }\n");
    check_extended("{\"model\":\"m\",\"messages\":[{\"role\":\"system\"},{\"role\":\"user\"}]}",
                   "so far", "go on", 5,
                   "{\"model\":\"m\",\"messages\":[{\"role\":\"system\"},{\"role\":\"user\"}," SAID
                   "," GO "]}");
}

TEST(a_turn_without_text_is_not_added)
{
    check_extended("{\"model\":\"m\",\"messages\":[{}]}", "so far", "", 0,
                   "{\"model\":\"m\",\"messages\":[{}," SAID "]}");
    check_extended("{\"model\":\"m\",\"messages\":[{}]}", "", "go on", 0,
                   "{\"model\":\"m\",\"messages\":[{}," GO "]}");
}

TEST(the_text_of_a_turn_is_quoted)
{
    check_extended("{\"model\":\"m\",\"messages\":[{}]}",
                   "a \"b\"\n\\ \x01 \xc3\xa9 \xf0\x9f\x98\x80", "", 0,
                   "{\"model\":\"m\",\"messages\":[{},{\"role\":\"assistant\",\"content\":"
                   "\"a \\\"b\\\"\\n\\\\ \\u0001 \xc3\xa9 \xf0\x9f\x98\x80\"}]}");
}

TEST(a_text_of_escapes_only_has_room)
{
    static char text[5001];

    memset(text, 1, sizeof(text) - 1);
    CHECK(extend("{\"model\":\"m\",\"messages\":[{}]}", text, text, 0));
    CHECK(longer.body.n > 2 * 6 * (sizeof(text) - 1));
}

TEST(only_the_messages_and_limits_of_the_request_itself_are_meant)
{
    check_extended("{\"metadata\":{\"messages\":[{}],\"max_tokens\":500},\"model\":\"m\","
                   "\"m\\u0065ssages\":[{\"max_tokens\":500}],\"max_tok\\u0065ns\":500}",
                   "so far", "", 100,
                   "{\"metadata\":{\"messages\":[{}],\"max_tokens\":500},\"model\":\"m\","
                   "\"m\\u0065ssages\":[{\"max_tokens\":500}," SAID "],\"max_tok\\u0065ns\":400}");
}

TEST(limits_are_lessened_wherever_they_stand)
{
    check_extended("{\"max_tokens\":100,\"model\":\"m\",\"messages\":[{}],"
                   "\"max_completion_tokens\": 1000 }",
                   "so far", "", 30,
                   "{\"max_tokens\":70,\"model\":\"m\",\"messages\":[{}," SAID "],"
                   "\"max_completion_tokens\": 970 }");
    check_extended("{\"max_completion_tokens\":100,\"max_tokens\":200,\"model\":\"m\","
                   "\"messages\":[{}]}",
                   "so far", "", 30,
                   "{\"max_completion_tokens\":70,\"max_tokens\":170,\"model\":\"m\","
                   "\"messages\":[{}," SAID "]}");
    check_extended("{\"model\":\"m\",\"messages\":[{}],\"max_completion_tokens\":100,"
                   "\"max_tokens\":200}",
                   "so far", "", 30,
                   "{\"model\":\"m\",\"messages\":[{}," SAID "],\"max_completion_tokens\":70,"
                   "\"max_tokens\":170}");
}

/* What becomes of a limit after so many tokens. */
static void check_limit(const char *limit, uint64_t used, const char *want)
{
    char body[128], text[256];

    snprintf(body, sizeof(body), "{\"model\":\"m\",\"messages\":[{}],\"max_tokens\":%s}", limit);
    snprintf(text, sizeof(text), "{\"model\":\"m\",\"messages\":[{}," SAID "],\"max_tokens\":%s}",
             want);
    check_extended(body, "so far", "", used, text);
}

TEST(a_limit_leaves_room_for_a_few_tokens)
{
    check_limit("100", 0, "100");
    check_limit("100", 83, "17");
    check_limit("100", 84, "16");
    check_limit("100", 99, "16");
    check_limit("100", 100, "16");
    check_limit("100", 5000, "16"); /* the first target may have counted otherwise */
    check_limit("9007199254740993", 1, "9007199254740992");
}

TEST(a_limit_never_grows)
{
    check_limit("16", 4, "16");
    check_limit("10", 0, "10");
    check_limit("10", 4, "10");
    check_limit("1", 1, "1");
}

TEST(what_is_no_limit_stays_as_it_is)
{
    static const char *const limits[] = {"null", "0",       "-5",
                                         "1.5",  "\"100\"", "99999999999999999999"};

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        check_limit(limits[i], 50, limits[i]);
}

TEST(a_longer_request_is_read_as_the_first_one_was)
{
    CHECK(extend("{\"model\":\"m\\u0031\",\"stream\":true,\"user\":\"u\",\"tools\":[{}],"
                 "\"stream_options\":{\"include_usage\":true},\"n\":1," MESSAGES "}",
                 "so far", "go on", 0));
    CHECK_SPAN(longer.model, "m1");
    CHECK_SPAN(longer.session, "\"u\"");
    CHECK(longer.stream && longer.usage_asked && longer.tools && longer.choices == 1);
    CHECK(longer.model_raw.p >= longer.body.p &&
          longer.model_raw.p < longer.body.p + longer.body.n); /* views into the longer one */
}

TEST(a_request_without_a_place_for_turns_is_not_made_longer)
{
    static const char *const bodies[] = {"{\"model\":\"m\"}", "{\"messages\":[]}",
                                         "{\"messages\":{\"a\":1}}", "[]", "{\"messages\":[{}]"};

    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        arena_reset(&a);
        req = (struct chat_request){.body = span_of(bodies[i])};
        longer = (struct chat_request){0};
        CHECK_INT(d->extend(&req, SPAN("so far"), SPAN(""), 0, &a, &longer, &e), -1);
        CHECK_STR(e.msg, "messages: no place for another one was found");
        CHECK(longer.body.p == NULL);
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
