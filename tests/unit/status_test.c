#include "tests/unit/check.h"

#include "proxy/base/json.h"
#include "proxy/base/secret.h"
#include "proxy/ops/status.h"

static char mem[1 << 16];

static const char *document(const struct status_snapshot *s)
{
    struct strbuf out = strbuf_on(mem, sizeof(mem));

    status_write(s, &out);
    CHECK(!out.failed);
    if (!json_valid(strbuf_span(&out)))
        fail_msg("no JSON: %s", mem);
    return mem;
}

static const struct status_target targets[] = {
    {.name = SPAN("openai/gpt-4o"),
     .breaker = "open",
     .scope = "endpoint",
     .slow = true,
     .limit = 12,
     .first_token_p50_ms = 300,
     .first_token_p95_ms = 1200,
     .answer_p50_ms = 2000,
     .answer_p95_ms = 4000,
     .why = SPAN("5 failures in a row"),
     .retry_ms = 4200,
     .failures_in_a_row = 5,
     .attempts = 100,
     .failures = 9,
     .last_error = SPAN("overloaded: \"try later\""),
     .last_error_age_ms = 800,
     .input_tokens = 12345678901234567890u},
    {.name = SPAN("local"), .breaker = "closed", .may_be_asked = true, .in_flight = 2},
};
static const size_t order[] = {0, 1};
static const struct status_route routes[] = {{SPAN("gpt-*"), order, 2}, {SPAN("o3"), order, 1}};
static const struct status_key keys[] = {{.provider = SPAN("gemini"),
                                          .model = SPAN("pro"),
                                          .index = 1,
                                          .why = "quota",
                                          .rest_ms = 60000}};
static const struct span listeners[] = {SPAN("127.0.0.1:8090"), SPAN("unix:/run/x\n.sock")};
static const struct status_snapshot full = {
    .version = "1.2.3",
    .uptime_ms = 1234,
    .config = SPAN("holdfast.yaml"),
    .last_reload = "ok",
    .listeners = listeners,
    .n_listeners = 2,
    .workers = 4,
    .draining = true,
    .requests = 10,
    .requests_ok = 9,
    .in_flight = 1,
    .log_dropped = 3,
    .kept_answers = 2,
    .kept_bytes = 4096,
    .targets = targets,
    .n_targets = 2,
    .routes = routes,
    .n_routes = 2,
    .keys = keys,
    .n_keys = 1,
};

TEST(the_document_tells_the_whole_snapshot)
{
    CHECK_STR(document(&full), "{\n"
                               "  \"version\": \"1.2.3\",\n"
                               "  \"uptime_ms\": 1234,\n"
                               "  \"config\": \"holdfast.yaml\",\n"
                               "  \"last_reload\": \"ok\",\n"
                               "  \"listeners\": [\"127.0.0.1:8090\", \"unix:/run/x\\n.sock\"],\n"
                               "  \"workers\": 4,\n"
                               "  \"draining\": true,\n"
                               "  \"requests\": 10,\n"
                               "  \"requests_ok\": 9,\n"
                               "  \"in_flight\": 1,\n"
                               "  \"kept_answers\": 2,\n"
                               "  \"kept_answer_bytes\": 4096,\n"
                               "  \"log_lines_dropped\": 3,\n"
                               "  \"targets\": [\n"
                               "    {\n"
                               "      \"target\": \"openai/gpt-4o\",\n"
                               "      \"breaker\": \"open\",\n"
                               "      \"scope\": \"endpoint\",\n"
                               "      \"why\": \"5 failures in a row\",\n"
                               "      \"may_be_asked\": false,\n"
                               "      \"retry_ms\": 4200,\n"
                               "      \"failures_in_a_row\": 5,\n"
                               "      \"slow\": true,\n"
                               "      \"limit\": 12,\n"
                               "      \"in_flight\": 0,\n"
                               "      \"attempts\": 100,\n"
                               "      \"failures\": 9,\n"
                               "      \"last_error\": \"overloaded: \\\"try later\\\"\",\n"
                               "      \"last_error_age_ms\": 800,\n"
                               "      \"first_token_p50_ms\": 300,\n"
                               "      \"first_token_p95_ms\": 1200,\n"
                               "      \"answer_p50_ms\": 2000,\n"
                               "      \"answer_p95_ms\": 4000,\n"
                               "      \"input_tokens\": 12345678901234567890,\n"
                               "      \"output_tokens\": 0\n"
                               "    },\n"
                               "    {\n"
                               "      \"target\": \"local\",\n"
                               "      \"breaker\": \"closed\",\n"
                               "      \"may_be_asked\": true,\n"
                               "      \"retry_ms\": 0,\n"
                               "      \"failures_in_a_row\": 0,\n"
                               "      \"slow\": false,\n"
                               "      \"limit\": 0,\n"
                               "      \"in_flight\": 2,\n"
                               "      \"attempts\": 0,\n"
                               "      \"failures\": 0,\n"
                               "      \"input_tokens\": 0,\n"
                               "      \"output_tokens\": 0\n"
                               "    }\n"
                               "  ],\n"
                               "  \"routes\": [\n"
                               "    {\n"
                               "      \"route\": \"gpt-*\",\n"
                               "      \"targets\": [\"openai/gpt-4o\", \"local\"],\n"
                               "      \"may_be_asked\": 1\n"
                               "    },\n"
                               "    {\n"
                               "      \"route\": \"o3\",\n"
                               "      \"targets\": [\"openai/gpt-4o\"],\n"
                               "      \"may_be_asked\": 0\n"
                               "    }\n"
                               "  ],\n"
                               "  \"resting_keys\": [\n"
                               "    {\n"
                               "      \"provider\": \"gemini\",\n"
                               "      \"model\": \"pro\",\n"
                               "      \"key\": 1,\n"
                               "      \"why\": \"quota\",\n"
                               "      \"rest_ms\": 60000\n"
                               "    }\n"
                               "  ]\n"
                               "}\n");
}

TEST(an_empty_snapshot_is_a_document_too)
{
    struct status_snapshot s = {.version = "0", .config = SPAN("zero configuration")};

    document(&s);
    CHECK(strstr(mem, "\"listeners\": [],") != NULL);
    CHECK(strstr(mem, "\"targets\": [],") != NULL);
    CHECK(strstr(mem, "\"resting_keys\": []\n}") != NULL);
    CHECK(strstr(mem, "last_reload") == NULL);
}

TEST(secrets_in_errors_are_hidden)
{
    struct status_target t = targets[0];
    struct status_snapshot s = full;

    CHECK(secret_register(SPAN("Zq8vT3mK1xW6")));
    t.why = SPAN("bad key Zq8vT3mK1xW6");
    t.last_error = SPAN("\"\nsk-abcdefgh\" is wrong");
    s.targets = &t;
    s.n_targets = 1;
    s.n_routes = 0;
    s.last_reload = "providers.x: Zq8vT3mK1xW6";
    document(&s);
    secret_forget();
    CHECK(strstr(mem, "Zq8v") == NULL && strstr(mem, "sk-") == NULL);
    CHECK(strstr(mem, "\"why\": \"bad key ***\"") != NULL);
    CHECK(strstr(mem, "\"last_error\": \"\\\"\\n***\\\" is wrong\"") != NULL);
}

TEST(an_appended_document_does_not_depend_on_what_stands_before)
{
    struct strbuf out = strbuf_heap(1 << 16);

    document(&full);
    strbuf_add(&out, "before {");
    status_write(&full, &out);
    CHECK_STR(out.buf + strlen("before {"), mem);
    strbuf_release(&out);
}

TEST_MAIN()
