/* What the core learns of a request of Gemini's clients, and the same request for a Gemini. */
#include "providers/gemini.h"
#include "providers/params.h"
#include "tests/unit/check.h"

static const struct dialect *const d = &dialect_gemini;

static struct arena a;
static struct chat_request req;
static struct err e;
static char names[512];

/* ---- reading ---- */

static bool read_as(const char *model, const char *body)
{
    arena_reset(&a);
    req = (struct chat_request){.model = span_of(model), .stream = true};
    e = (struct err){0};
    return d->read_request(span_of(body), &a, &req, &e) == 0;
}

static bool read_request(const char *body)
{
    return read_as("m", body);
}

static void check_refused(const char *body, const char *why)
{
    CHECK(!read_request(body));
    CHECK_STR(e.msg, why);
    CHECK(req.body.p == NULL); /* nothing was given out */
}

#define HI "\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]"

TEST(model_and_stream_are_what_the_path_said)
{
    static const char body[] = " {" HI ",\"x\":[1,{}]} ";

    CHECK(read_as("models/gemini-2.5-flash", body));
    CHECK_SPAN(req.model, "gemini-2.5-flash");
    CHECK(req.stream && req.usage_asked);
    CHECK(req.body.p == body && req.body.n == strlen(body));
    CHECK(!req.tools && !req.reasoning && !req.pinned && !req.structured && !req.reasoning_asked);
    CHECK_INT(req.choices, 1);
    CHECK(!read_as("", body));
}

TEST(both_spellings_and_lists_without_brackets_are_read)
{
    CHECK(read_request(
        "{\"generation_config\":{\"candidate_count\":3,\"response_mime_type\":\"application/json\","
        "\"thinking_config\":{\"include_thoughts\":true,\"thinking_budget\":9}},"
        "\"tools\":{\"function_declarations\":[{}]},\"contents\":{\"parts\":{\"text\":\"hi\"}}}"));
    CHECK(req.tools && !req.pinned && req.structured && req.reasoning && req.reasoning_asked);
    CHECK_INT(req.choices, 3);
}

TEST(what_lives_at_google_pins_a_request)
{
    CHECK(read_request("{" HI ",\"tools\":[{\"googleSearch\":{}}]}") && req.pinned && !req.tools);
    CHECK(read_request("{" HI ",\"tools\":[{\"googleSearch\":null}]}") && !req.pinned);
    CHECK(read_request("{" HI ",\"cachedContent\":\"cachedContents/1\"}") && req.pinned);
    CHECK(read_request("{\"contents\":[{\"parts\":[{\"file_data\":{\"file_uri\":"
                       "\"https://generativelanguage.googleapis.com/v1beta/files/1\"}}]}]}") &&
          req.pinned);
    CHECK(read_request("{\"contents\":[{\"parts\":[{\"text\":"
                       "\"see https://generativelanguage.googleapis.com/\"}]}]}") &&
          !req.pinned);
}

TEST(whoever_thinks_long_is_known_by_name_or_by_what_is_asked)
{
    CHECK(read_as("gemini-3-pro-preview", "{" HI "}") && req.reasoning);
    CHECK(read_as("google/gemini-2.5-pro", "{" HI "}") && req.reasoning);
    CHECK(read_as("o3", "{" HI "}") && req.reasoning);
    CHECK(read_as("gemini-2.5-flash", "{" HI "}") && !req.reasoning);
    CHECK(read_as("gemini-3-flash", "{" HI ",\"generationConfig\":{\"thinkingConfig\":{"
                                    "\"thinkingBudget\":0}}}") &&
          !req.reasoning);
    CHECK(read_request("{" HI ",\"generationConfig\":{\"thinkingConfig\":{"
                       "\"thinkingLevel\":\"LOW\"}}}") &&
          req.reasoning);
}

TEST(what_cannot_be_read_is_refused_with_its_name)
{
    check_refused("{}", "contents: expected an array with at least one content, but it is missing");
    check_refused("{\"contents\":[]}",
                  "contents: expected an array with at least one content, got []");
    check_refused("{\"contents\":\"hi\"}",
                  "contents: expected an array with at least one content, got \"hi\"");
    check_refused("[]", "request body: expected a JSON object, got []");
    check_refused("{" HI "," HI "}", "contents: stands twice in the request, expected once");
    check_refused("{" HI ",\"generationConfig\":{},\"generation_config\":{}}",
                  "generationConfig: stands twice in the request, expected once");
    CHECK(!read_request("{" HI ",}") && e.code == ERR_SYNTAX);
}

/* ---- carrying on ---- */

TEST(a_request_is_extended_behind_its_last_content)
{
    struct chat_request longer;

    CHECK(read_request("{\"generationConfig\":{\"max_output_tokens\":100}," HI ",\"x\":1}"));
    CHECK_INT(d->extend(&req, SPAN("so\n"), SPAN("go on"), 30, &a, &longer, &e), 0);
    CHECK_SPAN(longer.body,
               "{\"generationConfig\":{\"max_output_tokens\":70},\"contents\":[{\"parts\":[{"
               "\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{\"text\":\"so\\n\"}]},{\"role\":"
               "\"user\",\"parts\":[{\"text\":\"go on\"}]}],\"x\":1}");
    CHECK_SPAN(longer.model, "m");
    CHECK(longer.stream);
    CHECK(read_request("{" HI ",\"generationConfig\":{\"maxOutputTokens\":20}}"));
    CHECK_INT(d->extend(&req, SPAN("so"), SPAN(""), 30, &a, &longer, &e), 0);
    CHECK_SPAN(longer.body, "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\","
                            "\"parts\":[{\"text\":\"so\"}]}],\"generationConfig\":{"
                            "\"maxOutputTokens\":16}}");
    CHECK(read_request("{\"contents\":{\"parts\":{\"text\":\"hi\"}}}"));
    CHECK_INT(d->extend(&req, SPAN("so"), SPAN(""), 0, &a, &longer, &e), -1);
}

/* ---- writing ---- */

static struct dialect_request out;

static const char *written(const char *body, const struct dialect_target *target)
{
    struct strbuf list = strbuf_on(names, sizeof(names));
    struct drops drops = {.names = &list};

    names[0] = '\0';
    CHECK(read_request(body));
    d->write_request(&req, target, &a, &out, &drops);
    CHECK_INT(out.body_bytes, out.body[0].n + out.body[1].n + out.body[2].n);
    return arena_strdup(&a, out.body[0]);
}

static struct dialect_target target_of(const char *model)
{
    return (struct dialect_target){.base_path = SPAN("/v1beta"),
                                   .model = span_of(model),
                                   .key = SPAN("k"),
                                   .rewrite_model = true};
}

TEST(a_gemini_gets_the_clients_bytes_and_its_own_path_and_key)
{
    static const char body[] = " {\"x\" : 1e999," HI "} ";
    struct dialect_target t = target_of("gemini-2.5-flash");

    CHECK_STR(written(body, &t), body);
    CHECK(out.body[0].p == req.body.p);
    CHECK_SPAN(out.path, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
    CHECK_SPAN(strbuf_span(&out.head_fields), "x-goog-api-key: k\r\n");
    CHECK_STR(names, "");
    t.model = SPAN("a b/c:d%");
    written(body, &t);
    CHECK_SPAN(out.path, "/v1beta/models/a%20b%2Fc%3Ad%25:streamGenerateContent?alt=sse");
    t = (struct dialect_target){.base_path = SPAN("/v1")};
    written(body, &t);
    CHECK_SPAN(out.path, "/v1/models/m:streamGenerateContent?alt=sse");
    CHECK_INT(out.head_fields.len, 0);
}

TEST(a_model_in_the_body_is_the_targets_too)
{
    struct dialect_target t = target_of("g");

    CHECK_STR(written("{\"model\":\"models/m\"," HI "}", &t), "{\"model\":\"models/g\"," HI "}");
    t.rewrite_model = false;
    CHECK_STR(written("{\"model\" : \"models/m\"," HI "}", &t),
              "{\"model\" : \"models/m\"," HI "}");
}

TEST(what_the_target_is_known_to_refuse_is_left_out_and_named)
{
    struct dialect_target t = target_of("g");

    t.without = params_find(SPAN("temperature")) | params_find(SPAN("presence_penalty"));
    CHECK_STR(written("{" HI ",\"generation_config\":{\"temperature\":1,\"seed\":3,"
                      "\"presence_penalty\":2}}",
                      &t),
              "{" HI ",\"generation_config\":{\"seed\":3}}");
    CHECK_STR(names, "generationConfig.temperature, generationConfig.presence_penalty");
}

#define MARK         "aG9sZGZhc3Q6bQ=="                                 /* holdfast:m */
#define STATE        "aG9sZGZhc3Q6czphbnRocm9waWNfbWVzc2FnZXM6YzJsbg==" /* of a Claude */
#define MODEL(parts) "{\"contents\":[{\"role\":\"model\",\"parts\":[" parts "]}]}"
#define CALL(more)   "{\"functionCall\":{\"name\":\"f\"}" more "}"

TEST(another_models_state_goes_to_no_gemini)
{
    struct dialect_target t = target_of("gemini-3-pro-preview");

    CHECK_STR(written(MODEL("{\"text\":\"r\",\"thought\":true},{\"text\":\"\",\"thought\":true,"
                            "\"thoughtSignature\":\"" STATE
                            "\"}," CALL(",\"thoughtSignature\":\"" MARK "\"") "," CALL("")),
                      &t),
              MODEL("{\"text\":\"r\",\"thought\":true}," CALL(
                  ",\"thoughtSignature\":\"" GEMINI_SENTINEL "\"") "," CALL("")));
    CHECK_STR(names, "contents[0].parts[1].thoughtSignature");

    t = target_of("gemini-2.5-pro"); /* it knows no sentinel */
    CHECK_STR(written(MODEL(CALL(",\"thought_signature\":\"" MARK "\"")), &t), MODEL(CALL("")));
    CHECK_STR(names, "");
    CHECK_STR(written(MODEL("{\"text\":\"\",\"thoughtSignature\":\"" STATE "\"}"), &t),
              MODEL("{\"text\":\"\"}")); /* an empty list would be refused */
}

TEST(a_geminis_own_state_is_not_touched)
{
    struct dialect_target t = target_of("gemini-3-pro-preview");
    static const char body[] = MODEL("{\"text\":\"\",\"thoughtSignature\":\"c2ln\"}," CALL(
        ",\"thoughtSignature\":\"" MARK "\""));

    CHECK_STR(written(body, &t), MODEL("{\"text\":\"\",\"thoughtSignature\":\"c2ln\"}," CALL(
                                     ",\"thoughtSignature\":\"" GEMINI_SENTINEL "\"")));
}

/* ---- state ---- */

TEST(state_survives_as_a_signature_in_either_alphabet)
{
    static const char text[] = "\"~~~ \\u00e9 >>>?? \\\"\"";
    struct gemini_state s;
    struct strbuf raw;

    for (enum gemini_state_kind k = GEMINI_SIGNED; k <= GEMINI_CALL; k++) {
        arena_reset(&a);
        raw = strbuf_in(&a, 500);
        gemini_add_state(&raw, k, SPAN("\"anthropic_messages\""), span_of(text), &a);
        for (size_t i = 0; i < raw.len; i++)
            raw.buf[i] = raw.buf[i] == '+' ? '-' : raw.buf[i] == '/' ? '_' : raw.buf[i];
        CHECK(gemini_read_state(strbuf_span(&raw), &a, &s));
        CHECK_INT(s.kind, k);
        CHECK_SPAN(s.origin, "anthropic_messages");
        CHECK(span_eq(json_text(s.state, &a), json_text(span_of(text), &a)));
    }
    CHECK(!gemini_read_state(SPAN("\"c2ln\""), &a, &s));
    CHECK(!gemini_read_state(SPAN("\"" GEMINI_STATE "!\""), &a, &s));
    CHECK(!gemini_read_state(SPAN("\"" GEMINI_STATE "\""), &a, &s));
    CHECK(gemini_read_state(SPAN("\"" MARK "\""), &a, &s) && s.kind == GEMINI_MARK);
    arena_release(&a);
}

TEST_MAIN()
