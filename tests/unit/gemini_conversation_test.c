/* The whole request of a client of Gemini's, seen in what a provider of OpenAI's dialect is told,
 * and in what is named as dropped. */
#include "providers/dialect.h"
#include "tests/unit/check.h"

static struct arena a;
static struct conversation c;
static struct err e;
static char names[2048];

static bool read_it(const char *body)
{
    struct chat_request req = {.model = SPAN("m")};

    arena_reset(&a);
    e = (struct err){0};
    c = (struct conversation){.model = SPAN("m"), .stream = true};
    if (dialect_gemini.read_request(span_of(body), &a, &req, &e) < 0)
        return false;
    return dialect_gemini.read_conversation(req.body, &a, &c, &e) == 0;
}

/* The body for a provider, from its messages on. */
static const char *told(const struct dialect *d, const char *body)
{
    struct dialect_target target = {.base_path = SPAN("/v1"), .model = SPAN("gpt-4.1")};
    struct strbuf list = strbuf_on(names, sizeof(names));
    struct drops drops = {.names = &list};
    struct dialect_request out;

    names[0] = '\0';
    if (!read_it(body))
        fail_msg("%s", e.msg);
    drops.client = c.names;
    if (d->write_conversation(&c, &target, &a, &out, &drops, &e) < 0)
        fail_msg("%s", e.msg);
    return arena_strdup(&a, out.body[0]);
}

#define SENT(rest) "{\"model\":\"gpt-4.1\",\"messages\":[" rest
#define STREAM     ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"

static void check_openai(const char *body, const char *want, const char *dropped)
{
    CHECK_STR(told(&dialect_openai_chat, body), want);
    CHECK_STR(names, dropped);
}

static void check_refused(const char *body, const char *why)
{
    CHECK(!read_it(body));
    CHECK_STR(e.msg, why);
}

#define HI       "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]"
#define HI_SENT  "{\"role\":\"user\",\"content\":\"hi\"}]"
#define USER(x)  "{\"role\":\"user\",\"parts\":[" x "]}"
#define MODEL(x) "{\"role\":\"model\",\"parts\":[" x "]}"
#define TURNS(x) "{\"contents\":[" x "]}"

/* ---- contents ---- */

TEST(system_user_and_model_are_who_they_are)
{
    check_openai(
        "{\"systemInstruction\":{\"parts\":[{\"text\":\"be\"},{\"text\":\"brief\"}]},"
        "\"contents\":[{\"parts\":[{\"text\":\"a\\u00e9\"}]}," MODEL(
            "{\"text\":\"b\"},{\"text\":\"\"},{\"text\":\"c\"}") "," USER("{\"text\":\"d\"}") "]}",
        SENT("{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"be\"},"
             "{\"type\":\"text\",\"text\":\"brief\"}]},"
             "{\"role\":\"user\",\"content\":\"a\\u00e9\"},"
             "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"b\"},"
             "{\"type\":\"text\",\"text\":\"c\"}]},"
             "{\"role\":\"user\",\"content\":\"d\"}]" STREAM "}"),
        "");
}

TEST(lists_of_one_may_lack_their_brackets)
{
    check_openai("{\"system_instruction\":{\"parts\":{\"text\":\"s\"}},"
                 "\"contents\":{\"parts\":{\"text\":\"hi\"}}}",
                 SENT("{\"role\":\"system\",\"content\":\"s\"}," HI_SENT STREAM "}"), "");
}

#define PNG "iVBORw0KGgo="

TEST(media_are_read_in_either_alphabet_of_base64)
{
    check_openai(TURNS(USER("{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"-_-_\"}},"
                            "{\"inline_data\":{\"mime_type\":\"audio/wav\",\"data\":\"UklG\"}},"
                            "{\"inlineData\":{\"mimeType\":\"application/pdf\",\"data\":\"JVBE\","
                            "\"displayName\":\"a.pdf\"}}")),
                 SENT("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
                      "\"url\":\"data:image/png;base64,+/+/\"}},{\"type\":\"input_audio\","
                      "\"input_audio\":{\"data\":\"UklG\",\"format\":\"wav\"}},{\"type\":\"file\","
                      "\"file\":{\"file_data\":\"data:application/pdf;base64,JVBE\","
                      "\"filename\":\"a.pdf\"}}]}]" STREAM "}"),
                 "");
    check_openai(TURNS(USER("{\"fileData\":{\"mimeType\":\"image/png\","
                            "\"fileUri\":\"https://example.com/a.png\"}}")),
                 SENT("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
                      "\"url\":\"https://example.com/a.png\"}}]}]" STREAM "}"),
                 "");
}

#define BOUND                                                                                      \
    ": lives at Google, expected a request that stands alone for a provider of another dialect"

TEST(what_lives_at_google_is_told_to_nobody_else)
{
    check_refused(
        TURNS(USER("{\"fileData\":{\"mimeType\":\"video/mp4\",\"fileUri\":\"gs://b/v\"}}")),
        "contents[0].parts[0].fileData.fileUri" BOUND);
    check_refused("{" HI ",\"cachedContent\":\"cachedContents/1\"}", "cachedContent" BOUND);
}

TEST(code_that_ran_at_google_is_text_elsewhere)
{
    check_openai(TURNS(USER("{\"text\":\"hi\"}") "," MODEL(
                     "{\"executableCode\":{\"language\":\"PYTHON\",\"code\":\"1+1\"}},"
                     "{\"codeExecutionResult\":{\"outcome\":\"OUTCOME_OK\",\"output\":\"2\"}}")),
                 SENT("{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":["
                      "{\"type\":\"text\",\"text\":\"\\n```python\\n1+1\\n```\\n\"},"
                      "{\"type\":\"text\",\"text\":\"\\n```\\n2\\n```\\n\"}]}]" STREAM "}"),
                 "");
}

/* ---- calls ---- */

#define CALL(id, name) "{\"functionCall\":{" id "\"name\":\"" name "\",\"args\":{\"n\":1}}}"
#define RESULT(id, name, response)                                                                 \
    "{\"functionResponse\":{" id "\"name\":\"" name "\",\"response\":" response "}}"
#define SENT_CALL(id, name)                                                                        \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name                      \
    "\",\"arguments\":\"{\\\"n\\\":1}\"}}"
#define SENT_RESULT(id, text)                                                                      \
    "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"" text "\"}"
#define CALLED(calls, results)                                                                     \
    SENT("{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":null,"        \
         "\"tool_calls\":[" calls "]}," results "]" STREAM "}")

TEST(results_find_their_calls_by_name_and_order_where_there_are_no_ids)
{
    check_openai(
        TURNS(
            USER("{\"text\":\"hi\"}") "," MODEL(CALL("", "f") "," CALL("", "g") "," CALL("", "f")) "," USER(
                RESULT("", "f", "{\"output\":\"1\"}") "," RESULT(
                    "", "f", "{\"result\":\"3\"}") "," RESULT("", "g", "{\"a\":[2]}"))),
        CALLED(SENT_CALL("call_1_0", "f") "," SENT_CALL("call_1_1", "g") "," SENT_CALL("call_1_2",
                                                                                       "f"),
               SENT_RESULT("call_1_0", "1") "," SENT_RESULT("call_1_2", "3") "," SENT_RESULT(
                   "call_1_1", "{\\\"a\\\":[2]}")),
        "");
}

TEST(ids_decide_where_both_have_one)
{
    check_openai(TURNS(USER("{\"text\":\"hi\"}") "," MODEL(CALL("\"id\":\"x\",", "f") "," CALL(
                     "\"id\":\"y\",",
                     "f")) "," USER(RESULT("\"id\":\"y\",", "f",
                                           "{\"output\":\"2\"}") "," RESULT("\"id\":\"x\",", "f",
                                                                            "{\"output\":\"1\"}"))),
                 CALLED(SENT_CALL("x", "f") "," SENT_CALL("y", "f"),
                        SENT_RESULT("y", "2") "," SENT_RESULT("x", "1")),
                 "");
    /* Some clients give results ids of their own making. */
    check_openai(TURNS(USER("{\"text\":\"hi\"}") "," MODEL(CALL("", "f")) "," USER(
                     RESULT("\"id\":\"f-17\",", "f", "{\"output\":\"1\"}"))),
                 CALLED(SENT_CALL("call_1_0", "f"), SENT_RESULT("call_1_0", "1")), "");
}

TEST(who_takes_short_ids_only_gets_them)
{
    struct dialect_target target = {.model = SPAN("mistral-large-latest"), .short_ids = true};
    struct strbuf list = strbuf_on(names, sizeof(names));
    struct drops drops = {.names = &list};
    struct dialect_request out;
    const char *body, *first, *second;

    CHECK(read_it(TURNS(USER("{\"text\":\"hi\"}") "," MODEL(CALL("", "f")) "," USER(
        RESULT("", "f", "{\"output\":\"1\"}")))));
    CHECK_INT(dialect_openai_chat.write_conversation(&c, &target, &a, &out, &drops, &e), 0);
    CHECK_INT(out.body_bytes, out.body[0].n);
    body = arena_strdup(&a, out.body[0]);
    first = strstr(body, "\"tool_calls\":[{\"id\":\"");
    second = strstr(body, "\"tool_call_id\":\"");
    CHECK(first != NULL && second != NULL);
    first += strlen("\"tool_calls\":[{\"id\":\"");
    second += strlen("\"tool_call_id\":\"");
    CHECK(first[9] == '"' && memcmp(first, second, 10) == 0 && memcmp(first, "call_", 5) != 0);
}

TEST(a_result_that_is_an_error_says_so)
{
    check_openai(TURNS(USER("{\"text\":\"hi\"}") "," MODEL(
                     CALL("", "f")) ",{\"role\":\"function\","
                                    "\"parts\":[" RESULT("", "f", "{\"error\":\"no\"}") "]}"),
                 CALLED(SENT_CALL("call_1_0", "f"), SENT_RESULT("call_1_0", "Error: no")), "");
}

TEST(a_result_without_its_call_is_refused)
{
    check_refused(TURNS(USER("{\"text\":\"hi\"}") "," MODEL(CALL("", "f")) "," USER(
                      RESULT("", "f", "{}") "," RESULT("", "f", "{}"))),
                  "contents[2].parts[1].functionResponse.name: expected the name of a functionCall "
                  "in the model's content before it, each answered once, got \"f\"");
    check_refused(TURNS(USER(RESULT("", "f", "{}"))),
                  "contents[0].parts[0].functionResponse.name: expected the name of a functionCall "
                  "in the model's content before it, each answered once, got \"f\"");
}

TEST(the_pieces_of_a_gathered_stream_are_one_message)
{
    check_openai(
        TURNS(USER("{\"text\":\"hi\"}") "," MODEL(CALL("", "f")) "," MODEL(CALL("", "g")) "," USER(
            RESULT("", "g", "{\"output\":\"2\"}") "," RESULT("", "f", "{\"output\":\"1\"}"))),
        CALLED(SENT_CALL("call_1_0", "f") "," SENT_CALL("call_2_0", "g"),
               SENT_RESULT("call_2_0", "2") "," SENT_RESULT("call_1_0", "1")),
        "");
}

/* ---- reasoning ---- */

#define STATE "aG9sZGZhc3Q6czphbnRocm9waWNfbWVzc2FnZXM6YzJsbg==" /* s:anthropic_messages:c2ln */
#define BARE  "aG9sZGZhc3Q6YjphbnRocm9waWNfbWVzc2FnZXM6YzJsbg=="
#define MARK  "aG9sZGZhc3Q6bQ=="
#define THOUGHT(text, state)                                                                       \
    "{\"text\":\"" text "\",\"thought\":true,\"thoughtSignature\":\"" state "\"}"

static const struct part *thought(unsigned n)
{
    const struct part *p = c.messages->next->parts;

    for (; p != NULL && (p->kind != PART_REASONING || n > 0); p = p->next)
        n -= p->kind == PART_REASONING;
    return p;
}

TEST(reasoning_is_put_together_and_keeps_its_signature)
{
    CHECK(read_it(
        TURNS(USER("{\"text\":\"hi\"}") "," MODEL("{\"text\":\"a\",\"thought\":true}") "," MODEL(
            "{\"text\":\"\\u00e9\",\"thought\":true}," THOUGHT("", STATE) "," THOUGHT("", BARE)))));
    CHECK_SPAN(thought(0)->text, "\"a\\u00e9\"");
    CHECK_SPAN(thought(0)->signature, "\"c2ln\"");
    CHECK_SPAN(thought(0)->origin, "anthropic_messages");
    CHECK_SPAN(thought(1)->text, "\"\"");
    CHECK_SPAN(thought(1)->signature, "\"c2ln\"");
    CHECK(thought(2) == NULL);
}

TEST(a_signature_whose_text_is_gone_is_dropped_and_named)
{
    check_openai(TURNS(USER("{\"text\":\"hi\"}") "," MODEL("{\"text\":\"a\"}," THOUGHT("", STATE))),
                 SENT("{\"role\":\"user\",\"content\":\"hi\"},"
                      "{\"role\":\"assistant\",\"content\":\"a\"}]" STREAM "}"),
                 "contents[1].parts[1].thoughtSignature");
    CHECK(thought(0) == NULL); /* nor does Claude get it with another text */
}

TEST(geminis_own_signatures_are_dropped_and_named_elsewhere)
{
    check_openai(
        TURNS(USER("{\"text\":\"hi\"}") "," MODEL(
            "{\"text\":\"a\",\"thoughtSignature\":\"c2ln\"},{\"functionCall\":{\"name\":\"f\"},"
            "\"thoughtSignature\":\"c2lo\"},{\"functionCall\":{\"name\":\"g\"},"
            "\"thoughtSignature\":\"" MARK
            "\"}") "," USER(RESULT("", "f", "{}") "," RESULT("", "g", "{}"))),
        SENT("{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"a\","
             "\"tool_calls\":[{\"id\":\"call_1_1\",\"type\":\"function\",\"function\":{"
             "\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"call_1_2\",\"type\":\"function\","
             "\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}," SENT_RESULT(
                 "call_1_1", "{}") "," SENT_RESULT("call_1_2", "{}") "]" STREAM "}"),
        "contents[1].parts[0].thoughtSignature, contents[1].parts[1].thoughtSignature");
}

/* ---- generationConfig ---- */

TEST(what_tunes_an_answer_is_mapped_in_both_spellings)
{
    check_openai("{" HI ",\"generationConfig\":{\"temperature\":0.50,\"topP\":1e-1,"
                 "\"max_output_tokens\":9,\"stopSequences\":[\"x\"],\"candidateCount\":2,"
                 "\"seed\":-7,\"presence_penalty\":1,\"frequencyPenalty\":2,"
                 "\"responseModalities\":[\"TEXT\"]}}",
                 SENT(HI_SENT STREAM ",\"max_tokens\":9,\"temperature\":0.50,\"top_p\":1e-1,"
                                     "\"presence_penalty\":1,\"frequency_penalty\":2,"
                                     "\"stop\":[\"x\"],\"seed\":-7,\"n\":2}"),
                 "");
}

TEST(what_has_no_place_is_named_as_the_client_wrote_it)
{
    check_openai("{" HI ",\"safetySettings\":[{\"a\":1}],\"generation_config\":{\"topK\":3,"
                 "\"responseLogprobs\":true,\"response_modalities\":[\"AUDIO\"],"
                 "\"speech_config\":{\"a\":1}},\"labels\":{},\"tools\":[{\"codeExecution\":{}}],"
                 "\"toolConfig\":{\"retrievalConfig\":{\"a\":1}}}",
                 SENT(HI_SENT STREAM "}"),
                 "generationConfig.topK, safetySettings, tools[0].codeExecution, "
                 "toolConfig.retrievalConfig, generationConfig.responseLogprobs, "
                 "generationConfig.speech_config, generationConfig.responseModalities");
}

#define FORMAT(schema)                                                                             \
    SENT(HI_SENT STREAM ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{"         \
                        "\"name\":\"response\",\"schema\":" schema "}}}")

TEST(googles_schema_becomes_json_schema)
{
    check_openai(
        "{" HI ",\"generationConfig\":{\"responseMimeType\":\"application/json\","
        "\"responseSchema\":{\"type\":\"OBJECT\",\"propertyOrdering\":[\"b\",\"type\"],"
        "\"properties\":{\"type\":{\"type\":\"STRING\",\"nullable\":true,\"enum\":[\"A\"],"
        "\"format\":\"enum\"},\"b\":{\"type\":\"ARRAY\",\"min_items\":\"2\",\"items\":{"
        "\"any_of\":[{\"type\":\"INTEGER\"},{\"type\":\"NULL\"}],\"nullable\":true}}},"
        "\"required\":[\"b\"]}}}",
        FORMAT(
            "{\"type\":\"object\",\"properties\":{\"b\":{\"type\":\"array\",\"minItems\":2,"
            "\"items\":{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"null\"},{\"type\":\"null\"}"
            "]}},\"type\":{\"type\":[\"string\",\"null\"],\"enum\":[\"A\",null]}},"
            "\"required\":[\"b\"]}"),
        "");
}

TEST(json_schema_goes_on_as_it_is)
{
    check_openai("{" HI ",\"generationConfig\":{\"responseMimeType\":\"application/json\","
                 "\"responseJsonSchema\":{\"type\":\"object\",\"$defs\":{ }}}}",
                 FORMAT("{\"type\":\"object\",\"$defs\":{ }}"), "");
    check_openai("{" HI ",\"generationConfig\":{\"responseMimeType\":\"application/json\"}}",
                 SENT(HI_SENT STREAM ",\"response_format\":{\"type\":\"json_object\"}}"), "");
    check_openai("{" HI ",\"generationConfig\":{\"responseMimeType\":\"text/x.enum\","
                 "\"responseSchema\":{\"type\":\"STRING\",\"enum\":[\"A\"]}}}",
                 SENT(HI_SENT STREAM "}"),
                 "generationConfig.responseMimeType, generationConfig.responseSchema");
}

static enum effort effort_of(const char *thinking)
{
    char body[500];

    snprintf(body, sizeof(body), "{" HI ",\"generationConfig\":{\"thinkingConfig\":%s}}", thinking);
    CHECK(read_it(body));
    return c.effort;
}

TEST(budgets_and_levels_are_efforts)
{
    CHECK_INT(effort_of("{\"thinkingBudget\":0}"), EFFORT_NONE);
    CHECK_INT(effort_of("{\"thinkingBudget\":512}"), EFFORT_MINIMAL);
    CHECK_INT(effort_of("{\"thinkingBudget\":1024}"), EFFORT_LOW);
    CHECK_INT(effort_of("{\"thinking_budget\":8192}"), EFFORT_MEDIUM);
    CHECK_INT(effort_of("{\"thinkingBudget\":24576}"), EFFORT_HIGH);
    CHECK(c.others == NULL);
    CHECK_INT(effort_of("{\"thinkingBudget\":2000}"), EFFORT_LOW);
    CHECK_SPAN(c.others->path, "generationConfig.thinkingConfig.thinkingBudget");
    CHECK_INT(effort_of("{\"thinkingBudget\":-1,\"includeThoughts\":true}"), EFFORT_UNSET);
    CHECK_SPAN(c.others->path, "generationConfig.thinkingConfig.thinkingBudget");
    CHECK_SPAN(c.others->next->path, "generationConfig.thinkingConfig.includeThoughts");
    CHECK_INT(effort_of("{\"thinkingLevel\":\"high\",\"includeThoughts\":true}"), EFFORT_HIGH);
    CHECK(c.others == NULL);
    CHECK_INT(effort_of("{\"thinkingLevel\":\"MINIMAL\"}"), EFFORT_MINIMAL);
}

/* ---- tools ---- */

#define TOOL                                                                                       \
    "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":\"d\","                 \
    "\"parameters\":{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"type\":\"STRING\"}}}},"          \
    "{\"name\":\"g\",\"parametersJsonSchema\":{\"x\": 1}}]}]"
#define SENT_TOOLS                                                                                 \
    ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","       \
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}}},"         \
    "{\"type\":\"function\",\"function\":{\"name\":\"g\",\"parameters\":{\"x\": 1}}}]"

static void check_choice(const char *config, const char *want, const char *dropped)
{
    char body[1000], sent[1000];

    snprintf(body, sizeof(body), "{" HI "," TOOL ",\"toolConfig\":{\"functionCallingConfig\":%s}}",
             config);
    snprintf(sent, sizeof(sent), SENT(HI_SENT SENT_TOOLS "%s" STREAM "}"), want);
    check_openai(body, sent, dropped);
}

TEST(functions_and_their_modes_are_mapped)
{
    check_choice("{}", "", "");
    check_choice("{\"mode\":\"AUTO\"}", ",\"tool_choice\":\"auto\"", "");
    check_choice("{\"mode\":\"any\"}", ",\"tool_choice\":\"required\"", "");
    check_choice("{\"mode\":\"NONE\"}", ",\"tool_choice\":\"none\"", "");
    check_choice("{\"mode\":\"ANY\",\"allowed_function_names\":[\"g\"]}",
                 ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}", "");
    check_choice("{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\",\"g\"]}",
                 ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":"
                 "\"required\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
                 "{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]}}",
                 "");
    check_choice("{\"mode\":\"VALIDATED\"}", ",\"tool_choice\":\"auto\"",
                 "toolConfig.functionCallingConfig.mode");
}

TEST(what_makes_no_sense_is_refused_with_its_path)
{
    check_refused("{\"contents\":[{\"role\":\"system\",\"parts\":[]}]}",
                  "contents[0].role: expected user or model, got \"system\"");
    check_refused(TURNS(USER("{\"text\":1}")),
                  "contents[0].parts[0].text: expected a string, got a "
                  "number");
    check_refused(TURNS(USER("{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"!\"}}")),
                  "contents[0].parts[0].inlineData.data: expected base64, got a string");
    check_refused(TURNS(MODEL("{\"functionCall\":{\"name\":\"f\",\"args\":[]}}")),
                  "contents[0].parts[0].functionCall.args: expected an object, got an array");
    check_refused("{" HI ",\"generationConfig\":{\"topP\":1,\"top_p\":2}}",
                  "generationConfig.top_p: stands twice in the request, expected once");
    check_refused("{" HI ",\"generationConfig\":{\"candidateCount\":9}}",
                  "generationConfig.candidateCount: expected a whole number, 1 to 8, got 9");
    check_refused("{" HI ",\"generationConfig\":{\"thinkingConfig\":{\"thinkingLevel\":\"x\"}}}",
                  "generationConfig.thinkingConfig.thinkingLevel: expected MINIMAL, LOW, MEDIUM or "
                  "HIGH, got \"x\"");
    check_refused("{" HI ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"\"}]}]}",
                  "tools[0].functionDeclarations[0].name: expected the function's name, got \"\"");
    arena_release(&a);
}

TEST_MAIN()
