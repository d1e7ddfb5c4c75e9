/* What an error of a provider is taken for: by what it says, then by its status. */
#include "providers/dialect.h"
#include "tests/unit/check.h"

static struct chat_error error;

static enum failure classify(unsigned status, const char *body)
{
    memset(&error, 'x', sizeof(error)); /* all of it must be written */
    return dialect_openai_chat.classify(status, SPAN("text/html"), span_of(body), &error);
}

/* ---- the message, in every shape ---- */

static void check_message(const char *body, const char *message)
{
    classify(500, body);
    CHECK_STR(error.message, message);
}

TEST(the_message_is_found_in_every_shape)
{
    check_message("{\"error\":{\"message\":\"a \\\"b\\\"\\nc\"}}", "a \"b\" c");
    check_message("{\"error\":\"text\"}", "text");
    check_message("{\"message\":\"outer\",\"error\":{\"message\":\"inner\"}}", "inner");
    check_message("{\"error\":{\"message\":\"inner\"},\"message\":\"outer\"}", "inner");
    check_message("{\"message\":\"m\"}", "m");
    check_message("{\"detail\":\"d\"}", "d");
    check_message("{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"field required\"}]}",
                  "field required");
    check_message("{\"detail\":{\"error\":{\"message\":\"deep\"}}}", "deep");
    check_message("{\"errors\":[{\"code\":7,\"message\":\"first\"},{\"message\":\"second\"}]}",
                  "first");
    check_message("[{\"error\":{\"message\":\"wrapped\"}}]", "wrapped");
    check_message("{\"message\":{\"detail\":[1]}}", "{\"detail\":[1]}");
    check_message("\"just a string\"", "just a string");
    check_message("<html><head>\n<title>502 Bad Gateway</title></head></html>", "502 Bad Gateway");
    check_message("<!doctype html><body>no title", "HTTP status 500 without a message");
    check_message("error code: 522", "error code: 522");
    check_message("  upstream connect error\n", "upstream connect error");
    check_message("", "HTTP status 500 without a message");
    check_message("{}", "HTTP status 500 without a message");
    check_message("{\"error\":{\"message\":\"complete\"}, \"cut", "complete");
    check_message("{\"error\":{\"mess", "{\"error\":{\"mess");
}

TEST(the_other_fields_are_found_too)
{
    classify(400, "{\"error\":{\"message\":\"m\",\"type\":\"t\",\"param\":\"p\",\"code\":\"c\"}}");
    CHECK_STR(error.type, "t");
    CHECK_STR(error.param, "p");
    CHECK_STR(error.code, "c");
    CHECK_INT(error.status, 400);
    classify(429, "{\"error\":{\"message\":\"m\",\"type\":null,\"param\":null,\"code\":1500}}");
    CHECK_STR(error.type, "");
    CHECK_STR(error.param, "");
    CHECK_STR(error.code, "1500");
    classify(400, "{\"code\":\"invalid-argument\",\"error\":\"xAI's shape\"}");
    CHECK_STR(error.code, "invalid-argument");
    CHECK_STR(error.message, "xAI's shape");
}

TEST(a_long_text_is_cut_and_a_key_is_masked)
{
    char body[4000];

    snprintf(body, sizeof(body), "{\"error\":\"key sk-verysecret1 %02000d\"}", 0);
    classify(401, body);
    CHECK_INT(strlen(error.message), sizeof(error.message) - 1);
    CHECK(strncmp(error.message, "key *** 000", 11) == 0);
    snprintf(body, sizeof(body), "plain %02000d", 0);
    classify(500, body);
    CHECK_INT(strlen(error.message), 300);
}

TEST(deeply_nested_errors_end_somewhere)
{
    char body[2048] = "";

    for (int i = 0; i < 100; i++)
        strcat(body, "{\"error\":");
    strcat(body, "\"x\"");
    for (int i = 0; i < 100; i++)
        strcat(body, "}");
    CHECK_INT(classify(500, body), SERVER_ERROR);
}

/* ---- the status ---- */

TEST(a_status_alone_decides_where_nothing_inside_tells)
{
    static const struct {
        unsigned status;
        enum failure json, html;
    } rows[] = {
        {301, REDIRECT, REDIRECT},
        {307, REDIRECT, REDIRECT},
        {400, BAD_REQUEST, HTML_PAGE},
        {401, AUTH, AUTH},
        {402, QUOTA, QUOTA},
        {403, FORBIDDEN, HTML_PAGE},
        {404, MODEL_GONE, HTML_PAGE},
        {405, CLIENT_ERROR, HTML_PAGE},
        {407, EGRESS_PROXY, EGRESS_PROXY},
        {408, REQUEST_TIMEOUT, REQUEST_TIMEOUT},
        {409, CONFLICT, CONFLICT},
        {410, MODEL_GONE, HTML_PAGE},
        {413, TOO_LARGE, TOO_LARGE},
        {415, CLIENT_ERROR, HTML_PAGE},
        {422, CLIENT_ERROR, HTML_PAGE},
        {425, CONFLICT, CONFLICT},
        {429, RATE_LIMITED, RATE_LIMITED},
        {451, CLIENT_ERROR, HTML_PAGE},
        {499, CONFLICT, CONFLICT},
        {500, SERVER_ERROR, HTML_PAGE},
        {501, NOT_IMPLEMENTED, NOT_IMPLEMENTED},
        {502, BAD_GATEWAY, BAD_GATEWAY},
        {503, OVERLOADED, HTML_PAGE},
        {504, BAD_GATEWAY, BAD_GATEWAY},
        {505, NOT_IMPLEMENTED, NOT_IMPLEMENTED},
        {522, BAD_GATEWAY, BAD_GATEWAY},
        {529, OVERLOADED, HTML_PAGE},
        {530, BAD_GATEWAY, BAD_GATEWAY},
        {600, PROTOCOL, PROTOCOL},
        {199, PROTOCOL, PROTOCOL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK_INT(classify(rows[i].status, "{\"error\":{\"message\":\"m\"}}"), rows[i].json);
        CHECK_INT(error.status, rows[i].status);
        CHECK_INT(classify(rows[i].status, "m"), rows[i].json);
        CHECK_INT(classify(rows[i].status, ""), rows[i].json);
        CHECK_INT(classify(rows[i].status, "<html><title>m</title>"), rows[i].html);
        CHECK_STR(error.message, "m");
    }
}

TEST(a_status_of_success_is_judged_by_its_body)
{
    CHECK_INT(classify(200, ""), EMPTY);
    CHECK_INT(classify(200, "<html>"), HTML_PAGE);
    CHECK_INT(error.status, 502);
    CHECK_INT(classify(200, "garbage"), MALFORMED);
    CHECK_INT(classify(200, "{\"error\":{\"code\":\"429\",\"message\":\"m\"}}"), RATE_LIMITED);
    CHECK_INT(error.status, 429);
    CHECK_INT(classify(200, "{\"error\":{\"code\":503,\"message\":\"m\"}}"), OVERLOADED);
    CHECK_INT(error.status, 503);
    CHECK_INT(classify(200, "{\"error\":{\"type\":\"invalid_request_error\"}}"), BAD_REQUEST);
    CHECK_INT(error.status, 400);
    CHECK_INT(classify(200, "{\"error\":{\"type\":\"overloaded_error\"}}"), OVERLOADED);
    CHECK_INT(error.status, 529);
    CHECK_INT(classify(200, "{\"error\":{\"message\":\"what?\"}}"), SERVER_ERROR);
    CHECK_INT(error.status, 500);
    CHECK_INT(classify(200, "{\"error\":{\"status_code\":400,\"code\":\"x\",\"message\":\"m\"}}"),
              BAD_REQUEST);
}

/* ---- the meaning ---- */

static void check_meaning(unsigned status, const char *type, const char *code, const char *message,
                          enum failure want)
{
    char body[1000];

    snprintf(body, sizeof(body), "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"code\":\"%s\"}}",
             message, type, code);
    CHECK_STR(failure_row(classify(status, body))->name, failure_row(want)->name);
}

TEST(a_spent_quota_is_no_rate_limit)
{
    check_meaning(429, "insufficient_quota", "insufficient_quota", "m", QUOTA);
    check_meaning(429, "", "", "You exceeded your current quota, please check your plan", QUOTA);
    check_meaning(400, "invalid_request_error", "", "Your credit balance is too low to access",
                  QUOTA);
    check_meaning(403, "", "", "Insufficient credits. Add more", QUOTA);
    check_meaning(429, "requests", "rate_limit_exceeded",
                  "Rate limit reached. Add a payment method under account/billing", RATE_LIMITED);
    check_meaning(429, "exceeded_current_quota_error", "", "m", QUOTA);
    check_meaning(402, "", "", "m", QUOTA);
}

TEST(googles_quota_is_told_by_its_details)
{
#define GOOGLE(id)                                                                                 \
    "[{\"error\":{\"code\":429,\"message\":\"You exceeded your current quota\",\"status\":"        \
    "\"RESOURCE_EXHAUSTED\",\"details\":[{\"violations\":[{\"quotaId\":\"" id "\"}]}]}}]"
    CHECK_INT(classify(429, GOOGLE("GenerateRequestsPerMinutePerProject")), RATE_LIMITED);
    CHECK_INT(classify(429, GOOGLE("GenerateRequestsPerDayPerProject")), QUOTA);
    CHECK_INT(classify(429, GOOGLE("Other")), QUOTA);
    CHECK_INT(classify(429, "{\"error\":{\"status\":\"RESOURCE_EXHAUSTED\",\"message\":\"m\"}}"),
              RATE_LIMITED);
}

TEST(a_bad_key_is_known_under_any_4xx)
{
    check_meaning(400, "", "", "Incorrect API key provided: x", AUTH);
    check_meaning(401, "invalid_request_error", "invalid_api_key", "m", AUTH);
    check_meaning(403, "", "", "API key not valid. Please pass a valid API key.", AUTH);
    check_meaning(502, "", "", "Incorrect API key", BAD_GATEWAY); /* somebody else's */
    CHECK_INT(
        classify(400, "[{\"error\":{\"code\":400,\"message\":\"m\",\"status\":\"INVALID_ARGUMENT\","
                      "\"details\":[{\"reason\":\"API_KEY_INVALID\"}]}}]"),
        AUTH);
}

TEST(a_missing_model_is_known_under_any_4xx)
{
    check_meaning(400, "invalid_request_error", "model_not_found", "m", MODEL_GONE);
    check_meaning(400, "invalid_model", "1500", "Invalid model: x", MODEL_GONE);
    check_meaning(404, "", "DeploymentNotFound", "m", MODEL_GONE);
    check_meaning(400, "", "", "The model `x` has been deprecated", MODEL_GONE);
    check_meaning(400, "", "", "The model `x` does not exist", MODEL_GONE);
    check_meaning(400, "", "", "The file `x` does not exist", BAD_REQUEST);
    check_meaning(400, "", "", "temperature is deprecated for this model", UNSUPPORTED);
}

TEST(a_prompt_that_is_too_long_is_known_under_any_status)
{
    check_meaning(400, "", "context_length_exceeded", "m", CONTEXT_LENGTH);
    check_meaning(400, "", "", "This model's maximum context length is 8 tokens", CONTEXT_LENGTH);
    check_meaning(400, "", "", "prompt is too long: 9 tokens > 8 maximum", CONTEXT_LENGTH);
    check_meaning(503, "", "", "litellm: context_length_exceeded", CONTEXT_LENGTH);
    check_meaning(400, "", "", "The input token count (9) exceeds the maximum", CONTEXT_LENGTH);
}

TEST(a_request_that_never_fits_is_no_rate_limit)
{
    check_meaning(429, "tokens", "rate_limit_exceeded",
                  "Request too large for gpt-4o on tokens per min (TPM): Limit 1, Requested 2",
                  TOO_LARGE);
    check_meaning(429, "tokens", "rate_limit_exceeded",
                  "Rate limit reached on tokens per min (TPM)", RATE_LIMITED);
    check_meaning(400, "request_too_large", "", "m", TOO_LARGE);
}

TEST(policy_overload_and_missing_functions_are_told_apart)
{
    check_meaning(400, "", "content_filter", "m", POLICY);
    check_meaning(400, "", "", "triggering Azure OpenAI's content management policy", POLICY);
    CHECK_INT(classify(400, "{\"error\":{\"message\":\"m\",\"code\":\"x\",\"innererror\":{\"code\":"
                            "\"ResponsibleAIPolicyViolation\"}}}"),
              POLICY);
    check_meaning(503, "", "", "The engine is currently overloaded", OVERLOADED);
    check_meaning(503, "server_error", "", "This model is experiencing high demand", OVERLOADED);
    check_meaning(500, "overloaded_error", "", "m", OVERLOADED);
    check_meaning(429, "engine_overloaded_error", "", "m", OVERLOADED);
    check_meaning(429, "", "", "Rate limit exceeded. High demand for this model", RATE_LIMITED);
    check_meaning(400, "", "unsupported_parameter", "m", UNSUPPORTED);
    check_meaning(500, "server_error", "500", "image input is not supported - hint", UNSUPPORTED);
    check_meaning(400, "invalid_request_error", "tool_use_failed", "m", CONFLICT);
    check_meaning(400, "", "", "User location is not supported for the API use.", FORBIDDEN);
    check_meaning(403, "", "unsupported_country_region_territory", "m", FORBIDDEN);
}

TEST(an_endpoint_that_is_missing_says_nothing_of_the_model)
{
    static const struct {
        unsigned status;
        const char *body;
        enum failure at_embeddings, at_chat;
    } rows[] = {
        {404, "{\"detail\":\"Not Found\"}", UNSUPPORTED, MODEL_GONE},
        {404, "<html><title>404 Not Found</title>", UNSUPPORTED, HTML_PAGE},
        {405, "", UNSUPPORTED, CLIENT_ERROR},
        {501, "{\"error\":{\"message\":\"This server does not support embeddings\"}}", UNSUPPORTED,
         UNSUPPORTED},
        {501, "", UNSUPPORTED, NOT_IMPLEMENTED},
        {404, "{\"error\":{\"message\":\"The model `m` does not exist\"}}", MODEL_GONE, MODEL_GONE},
        {404, "{\"error\":{\"message\":\"m\",\"code\":\"DeploymentNotFound\"}}", MODEL_GONE,
         MODEL_GONE},
        {404,
         "{\"error\":{\"message\":\"This is a chat model and not supported in the "
         "v1/completions endpoint.\"}}",
         UNSUPPORTED, UNSUPPORTED},
        {403,
         "{\"error\":{\"message\":\"You are not allowed to generate embeddings from this "
         "model\"}}",
         UNSUPPORTED, UNSUPPORTED},
        {403, "{\"error\":{\"message\":\"no\"}}", FORBIDDEN, FORBIDDEN},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum failure f = dialect_openai_embeddings.classify(rows[i].status, SPAN(""),
                                                            span_of(rows[i].body), &error);

        if (f != rows[i].at_embeddings || classify(rows[i].status, rows[i].body) != rows[i].at_chat)
            fail_msg("%u %s: %s", rows[i].status, rows[i].body, failure_row(f)->label);
    }
}

TEST(a_gateways_own_provider_is_heard)
{
    CHECK_INT(
        classify(502,
                 "{\"error\":{\"message\":\"Provider returned error\",\"code\":502,\"metadata\":"
                 "{\"raw\":\"{\\\"error\\\":\\\"the model is overloaded\\\"}\"}}}"),
        OVERLOADED);
    CHECK_STR(error.message, "Provider returned error");
}

TEST_MAIN()
