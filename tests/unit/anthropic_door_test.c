/* What Anthropic's clients send: as far as routing must know it, as a whole, and as it goes on to a
 * provider that speaks the dialect too. */
#include "providers/anthropic_messages.h"
#include "providers/params.h"
#include "tests/unit/check.h"

static const struct dialect *const d = &dialect_anthropic_messages;
static struct arena a;

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static struct chat_request read(const char *body)
{
    struct chat_request req = {0};
    struct err e = {0};

    if (d->read_request(span_of(body), &a, &req, &e) < 0)
        fail_msg("%s", e.msg);
    return req;
}

static struct chat_request read_with(const char *members)
{
    return read(arena_printf(&a, "{\"model\":\"m\"," HI "%s}", members));
}

TEST(what_routing_must_know)
{
    struct chat_request req = read_with("");

    CHECK_SPAN(req.model, "m");
    CHECK(!req.stream && !req.tools && !req.structured && !req.pinned && !req.reasoning);
    CHECK(req.usage_asked && req.choices == 1 && req.session.n == 0);
    req =
        read_with(",\"stream\":true,\"tools\":[{\"name\":\"f\"}],\"metadata\":{\"user_id\":\"u\"},"
                  "\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"format\":{}}");
    CHECK(req.stream && req.tools && req.structured && !req.pinned && req.reasoning);
    CHECK_SPAN(req.session, "\"u\"");
    CHECK(read_with(",\"output_format\":{\"type\":\"json_schema\"}").structured);
    CHECK(read_with(",\"thinking\":{\"type\":\"enabled\"}").reasoning);
    CHECK(!read_with(",\"thinking\":{\"type\":\"disabled\"}").reasoning);
}

TEST(what_lives_at_one_provider_binds_the_request_to_it)
{
    CHECK(read_with(",\"tools\":[{\"type\":\"web_search_20250305\"}]").pinned);
    CHECK(read_with(",\"container\":\"c\"").pinned);
    CHECK(read_with(",\"mcp_servers\":[{}]").pinned);
    CHECK(read("{\"model\":\"m\",\"messages\":[{\"content\":[{\"source\":{\"file_id\":\"f\"}}]}]}")
              .pinned);
    CHECK(!read_with(",\"tools\":[{\"type\":\"bash_20250124\"},{\"type\":\"custom\"}],"
                     "\"container\":null,\"mcp_servers\":[]")
               .pinned);
}

TEST(a_count_has_no_stream)
{
    struct chat_request req = {.counting = true};
    struct err e;

    CHECK(d->read_request(SPAN("{\"model\":\"m\",\"stream\":true," HI "}"), &a, &req, &e) == 0);
    CHECK(req.counting && !req.stream);
    CHECK(d->is_count(SPAN("{\"input_tokens\":7,\"x\":1}")));
    CHECK(!d->is_count(SPAN("{\"input_tokens\":\"7\"}")) && !d->is_count(SPAN("{")));
}

/* ---- the whole of it ---- */

static struct conversation converse(const char *body)
{
    struct conversation c = {0};
    struct err e = {0};

    if (d->read_conversation(span_of(body), &a, &c, &e) < 0)
        fail_msg("%s", e.msg);
    return c;
}

static struct conversation converse_with(const char *members)
{
    return converse(arena_printf(&a, "{\"model\":\"m\"," HI "%s}", members));
}

static void check_refused(const char *members, const char *text)
{
    struct conversation c = {0};
    struct err e = {0};
    char *body = arena_printf(&a, "{\"model\":\"m\",%s}", members);

    CHECK(d->read_conversation(span_of(body), &a, &c, &e) < 0);
    CHECK_STR(e.msg, text);
}

static const char *others(const struct conversation *c)
{
    struct strbuf out = strbuf_in(&a, 4096);

    strbuf_add(&out, "");
    for (const struct other_field *o = c->others; o != NULL; o = o->next) {
        strbuf_add(&out, out.len != 0 ? ", " : "");
        strbuf_add_span(&out, o->path);
    }
    return out.buf;
}

/* The conversation as OpenAI's dialect says it: a canonical form that a person can read. */
static void check_said(const char *members, const char *want, const char *want_dropped)
{
    struct conversation c = converse(arena_printf(&a, "{\"model\":\"m\",%s}", members));
    struct dialect_target target = {.model = SPAN("gpt-4o")};
    struct strbuf names = strbuf_in(&a, 4096);
    struct drops drops = {&names, c.names};
    struct dialect_request out;
    struct err e = {0};

    strbuf_add(&names, "");
    if (dialect_openai_chat.write_conversation(&c, &target, &a, &out, &drops, &e) < 0)
        fail_msg("%s", e.msg);
    CHECK_SPAN(out.body[0], want);
    CHECK_STR(names.buf, want_dropped);
}

#define SAID(text) "{\"model\":\"gpt-4o\"," text "}"

TEST(each_field_has_its_place)
{
    check_said(HI ",\"max_tokens\":9,\"temperature\":0.50,\"top_p\":1,\"stop_sequences\":[\"a\"],"
                  "\"metadata\":{\"user_id\":\"u\"},\"service_tier\":\"standard_only\","
                  "\"system\":\"S\"",
               SAID("\"messages\":[{\"role\":\"system\",\"content\":\"S\"},"
                    "{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":9,\"temperature\":0.50,"
                    "\"top_p\":1,\"stop\":[\"a\"],\"user\":\"u\",\"service_tier\":\"default\""),
               "");
    check_said(HI ",\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{\"a\":1}}}",
               SAID(HI ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{"
                       "\"name\":\"response\",\"schema\":{\"a\":1}}}"),
               "");
    check_said(HI ",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"strict\":true,"
                  "\"input_schema\":{\"type\":\"object\"}}],\"tool_choice\":{\"type\":\"tool\","
                  "\"name\":\"f\",\"disable_parallel_tool_use\":true}",
               SAID(HI ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
                       "\"description\":\"d\",\"parameters\":{\"type\":\"object\"},"
                       "\"strict\":true}}],\"tool_choice\":{\"type\":\"function\",\"function\":{"
                       "\"name\":\"f\"}},\"parallel_tool_calls\":false"),
               "");
}

TEST(each_block_has_its_place)
{
    check_said("\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
               "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\","
               "\"data\":\"iVBORw0KGgo=\"}},{\"type\":\"document\",\"title\":\"T\","
               "\"context\":\"C\",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\","
               "\"data\":\"D\"}},{\"type\":\"search_result\",\"title\":\"R\",\"source\":\"S\","
               "\"content\":[{\"type\":\"text\",\"text\":\"b\"}]}]}]",
               SAID("\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
                    "\"text\":\"a\"},{\"type\":\"image_url\",\"image_url\":{\"url\":"
                    "\"data:image/png;base64,iVBORw0KGgo=\"}},{\"type\":\"text\","
                    "\"text\":\"T\\n\\nC\\n\\nD\"},{\"type\":\"text\",\"text\":\"R\\n\\nS\"},"
                    "{\"type\":\"text\",\"text\":\"b\"}]}]"),
               "");
    check_said("\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\","
               "\"thinking\":\"t\",\"signature\":\"s\"},{\"type\":\"text\",\"text\":\"a\"},"
               "{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{\"n\": 1e3},"
               "\"caller\":{\"type\":\"direct\"}},{\"type\":\"server_tool_use\",\"id\":\"x\"}]},"
               "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"b\"},"
               "{\"type\":\"tool_result\",\"tool_use_id\":\"i\",\"is_error\":true,"
               "\"content\":\"no\"}]}]",
               SAID("\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"tool_calls\":["
                    "{\"id\":\"i\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                    "\"arguments\":\"{\\\"n\\\": 1e3}\"}}]},{\"role\":\"tool\","
                    "\"tool_call_id\":\"i\",\"content\":\"Error: no\"},{\"role\":\"user\","
                    "\"content\":\"b\"}]"),
               "messages[0].content[0], messages[0].content[3]");
}

TEST(a_file_in_a_result_follows_the_results)
{
    check_said("\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
               "\"tool_use_id\":\"i\",\"content\":[{\"type\":\"document\",\"source\":{"
               "\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":\"JVBERi0=\"}}]},"
               "{\"type\":\"text\",\"text\":\"b\"}]}]",
               SAID("\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"i\",\"content\":"
                    "\"(a file of this result follows the results)\"},{\"role\":\"user\","
                    "\"content\":[{\"type\":\"file\",\"file\":{\"file_data\":"
                    "\"data:application/pdf;base64,JVBERi0=\"}},{\"type\":\"text\","
                    "\"text\":\"b\"}]}]"),
               "");
}

TEST(results_go_on_with_the_turn_whatever_is_said_beside_them)
{
    struct conversation c = converse(
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
        "\"text\":\"t\"},{\"type\":\"tool_result\",\"tool_use_id\":\"i\"}]},{\"role\":\"user\","
        "\"content\":\"t\"}]}");

    CHECK_INT(c.messages->role, ROLE_TOOL);
    CHECK_INT(c.messages->next->role, ROLE_USER);
}

TEST(thinking_becomes_an_effort)
{
    static const struct {
        const char *members;
        enum effort effort;
        const char *others;
    } cases[] = {
        {"", EFFORT_UNSET, ""},
        {",\"thinking\":{\"type\":\"disabled\"}", EFFORT_NONE, ""},
        {",\"thinking\":{\"type\":\"adaptive\"}", EFFORT_MEDIUM, ""},
        {",\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"},"
         "\"output_config\":{\"effort\":\"max\"}",
         EFFORT_XHIGH, ""},
        {",\"output_config\":{\"effort\":\"low\"}", EFFORT_LOW, ""},
        {",\"output_config\":{\"effort\":\"odd\"}", EFFORT_UNSET, "output_config.effort"},
        {",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":4095}", EFFORT_LOW,
         "thinking.budget_tokens"},
        {",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":4096}", EFFORT_MEDIUM,
         "thinking.budget_tokens"},
        {",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":16384}", EFFORT_HIGH,
         "thinking.budget_tokens"},
        {",\"thinking\":{\"type\":\"disabled\"},\"output_config\":{\"effort\":\"high\"}",
         EFFORT_NONE, "output_config.effort"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conversation c = converse_with(cases[i].members);

        CHECK_INT(c.effort, cases[i].effort);
        CHECK_STR(others(&c), cases[i].others);
    }
}

TEST(what_has_no_place_is_noted_by_its_path)
{
    struct conversation c = converse_with(
        ",\"system\":[{\"type\":\"text\",\"text\":\"x-anthropic-billing-header: v=1\"},"
        "{\"type\":\"text\",\"text\":\"S\"}],\"context_management\":{\"edits\":[]},"
        "\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\",\"x\":1},{\"name\":\"f\","
        "\"defer_loading\":true}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"bash\"}");

    CHECK_STR(others(&c),
              "context_management, system[0], tools[0], tools[1].defer_loading, tool_choice");
    CHECK(c.tools != NULL && c.tools->next == NULL && c.choice == CHOICE_UNSET);
    CHECK_SPAN(c.messages->parts->text, "\"S\"");
}

TEST(what_is_wrong_is_told_by_its_path)
{
    check_refused("\"messages\":1", "messages: expected an array with at least one message, got a "
                                    "number");
    check_refused("\"messages\":[{\"role\":\"tool\",\"content\":\"\"}]",
                  "messages[0].role: expected user, assistant or system, got \"tool\"");
    check_refused("\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":"
                  "{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"?\"}}]}]",
                  "messages[0].content[0].source.data: expected base64, got a string");
    check_refused(HI ",\"max_tokens\":0",
                  "max_tokens: expected a whole number of tokens, at least 1, got 0");
    check_refused(HI ",\"thinking\":{\"type\":\"odd\"}",
                  "thinking.type: expected \"enabled\", \"adaptive\" or \"disabled\", got \"odd\"");
    check_refused(HI ",\"top_p\":1,\"top_p\":1",
                  "top_p: stands twice in the request, expected once");
}

TEST(names_are_the_clients_own)
{
    struct conversation c = converse_with(",\"thinking\":{\"type\":\"adaptive\"}");
    struct strbuf names = strbuf_in(&a, 4096);
    struct drops drops = {&names, c.names};
    struct err e;

    drop_named(&drops, "stop");
    drop_named(&drops, "reasoning_effort");
    drop_named(&drops, "messages[0].content[1].filename");
    drop_named(&drops, "temperature");
    CHECK_STR(names.buf, "stop_sequences, thinking, messages[0].content[1].title, temperature");
    err_set(&e, ERR_VALUE, "stop: 6 sequences: too many");
    name_for_client(c.names, &e);
    CHECK_STR(e.msg, "stop_sequences: 6 sequences: too many");
    err_set(&e, ERR_VALUE, "top_k: no");
    name_for_client(c.names, &e);
    CHECK_STR(e.msg, "top_k: no");
    c = converse_with(",\"output_config\":{\"effort\":\"low\"}");
    strbuf_clear(&names);
    drops.client = c.names;
    drop_named(&drops, "reasoning_effort");
    CHECK_STR(names.buf, "output_config.effort");
}

/* ---- others' state ---- */

TEST(state_of_others_is_carried_and_known_again)
{
    struct span raw = anthropic_carry(ANTHROPIC_FOREIGN, SPAN("\"gemini\""), SPAN("\"a\\/b\""), &a);
    struct anthropic_carried c;

    CHECK_SPAN(raw, "\"holdfast.gemini.a\\/b\"");
    CHECK(anthropic_carried(raw, &a, &c) && !c.of_call);
    CHECK_SPAN(c.origin, "gemini");
    CHECK_SPAN(c.state, "\"a\\/b\"");
    raw = anthropic_carry(ANTHROPIC_FOREIGN_CALL, SPAN("\"gemini\""), SPAN("\"x.y\""), &a);
    CHECK(anthropic_carried(raw, &a, &c) && c.of_call);
    CHECK_SPAN(c.state, "\"x.y\"");
    CHECK_SPAN(
        anthropic_carry(ANTHROPIC_FOREIGN, SPAN("\"anthropic_messages\""), SPAN("\"s\""), &a),
        "\"s\"");
    CHECK(!anthropic_carried(SPAN("\"EqQBCkYIARgC\""), &a, &c));
    CHECK(!anthropic_carried(SPAN("\"holdfastness\""), &a, &c));
    CHECK(anthropic_carried(SPAN("\"holdfast\""), &a, &c) && c.state.n == 0);
    CHECK(anthropic_carried(SPAN("\"\""), &a, &c) && c.state.n == 0);
    CHECK(anthropic_carried(SPAN("\"holdfast.gem\""), &a, &c) && c.state.n == 0);
    CHECK(anthropic_carried(SPAN("\"holdfast.gemini.\""), &a, &c) && c.state.n == 0);
}

#define FOREIGN                                                                                    \
    "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"holdfast-call.gemini.s\"}"
#define USE "{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{}}"

TEST(the_state_of_a_call_is_the_next_calls)
{
    struct conversation c =
        converse("{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":[" FOREIGN
                 "," USE "," USE "]}]}");
    const struct part *p = c.messages->parts;

    CHECK(p->kind == PART_TOOL_CALL && p->next->kind == PART_TOOL_CALL && p->next->next == NULL);
    CHECK_SPAN(p->signature, "\"s\"");
    CHECK_SPAN(p->origin, "gemini");
    CHECK(p->next->signature.n == 0);
}

/* ---- for a provider that speaks the dialect too ---- */

static const char *fit(const char *body, struct dialect_target target, const char *want_dropped)
{
    struct chat_request req = read(body);
    struct strbuf names = strbuf_in(&a, 4096), all = strbuf_in(&a, 1 << 16);
    struct drops drops = {.names = &names};
    struct dialect_request out;

    strbuf_add(&names, "");
    target.base_path = SPAN("/v1");
    d->write_request(&req, &target, &a, &out, &drops);
    for (size_t i = 0; i < ARRAY_LEN(out.body); i++)
        strbuf_add_span(&all, out.body[i]);
    CHECK_INT(all.len, out.body_bytes);
    CHECK_STR(names.buf, want_dropped);
    return all.buf;
}

#define CHOSEN(name) ((struct dialect_target){.rewrite_model = true, .model = SPAN(name)})

TEST(bytes_that_nobody_asked_to_change_stay)
{
    static const char body[] = " { \"x\" : 1e999,\"model\" :\"m\" , " HI " ,\"max_tokens\":1}\n";

    CHECK_STR(fit(body, (struct dialect_target){.strip_foreign = true}, ""), body);
    CHECK_STR(fit(body, CHOSEN("claude-opus-4-8"), ""),
              " { \"x\" : 1e999,\"model\" :\"claude-opus-4-8\" , " HI " ,\"max_tokens\":1}\n");
}

TEST(a_model_that_we_chose_gets_what_it_takes)
{
    CHECK_STR(fit("{\"model\":\"m\"," HI
                  ",\"max_tokens\":99999,\"thinking\":{\"type\":\"adaptive\"},"
                  "\"output_config\":{\"effort\":\"high\"}}",
                  CHOSEN("claude-sonnet-4-5"), "max_tokens, thinking, output_config.effort"),
              "{\"model\":\"claude-sonnet-4-5\"," HI ",\"max_tokens\":64000,\"thinking\":{"
              "\"type\":\"enabled\",\"budget_tokens\":8192}}");
    CHECK_STR(fit("{\"model\":\"m\"," HI ",\"max_tokens\":9000,\"temperature\":1,\"thinking\":{"
                  "\"type\":\"enabled\",\"budget_tokens\":2000}}",
                  CHOSEN("claude-opus-4-8"), "temperature, thinking"),
              "{\"model\":\"claude-opus-4-8\"," HI ",\"max_tokens\":9000,\"thinking\":{"
              "\"type\":\"adaptive\",\"display\":\"summarized\"}}");
    CHECK_STR(fit("{\"model\":\"m\",\"thinking\":{\"type\":\"adaptive\"}," HI ",\"max_tokens\":9}",
                  CHOSEN("claude-3-5-haiku"), "thinking"),
              "{\"model\":\"claude-3-5-haiku\"," HI ",\"max_tokens\":9}");
}

TEST(what_the_target_refused_is_left_out)
{
    CHECK_STR(fit("{\"model\":\"m\"," HI ",\"temperature\":1,\"max_tokens\":7}",
                  (struct dialect_target){.without = params_find(SPAN("temperature"))},
                  "temperature"),
              "{\"model\":\"m\"," HI ",\"max_tokens\":7}");
}

#define TURN(blocks)                                                                               \
    "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":"     \
    "[" blocks                                                                                     \
    "]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"i\"}]}"

TEST(claude_does_not_see_what_it_cannot_verify)
{
    struct dialect_target t = {.strip_foreign = true};

    CHECK_STR(
        fit("{\"model\":\"m\",\"thinking\":{\"type\":\"adaptive\"}," TURN(
                FOREIGN
                "," USE) "],\"context_management\":{\"edits\":[{\"type\":\"clear_thinking_1\"}]}}",
            t, "messages[1].content[0], thinking, context_management"),
        "{\"model\":\"m\",\"thinking\":{\"type\":\"disabled\"}," TURN(USE) "]}");
    /* In a turn that is over nobody misses it. */
    CHECK_STR(fit("{\"model\":\"m\",\"thinking\":{\"type\":\"adaptive\"}," TURN(
                      FOREIGN "," USE) ",{\"role\":\"user\",\"content\":\"q\"}]}",
                  t, "messages[1].content[0]"),
              "{\"model\":\"m\",\"thinking\":{\"type\":\"adaptive\"}," TURN(
                  USE) ",{\"role\":\"user\",\"content\":\"q\"}]}");
    /* Nor where there is no call. */
    CHECK_STR(
        fit("{\"model\":\"m\",\"thinking\":{\"type\":\"adaptive\"},\"messages\":[{"
            "\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[" FOREIGN
            ",{\"type\":\"text\",\"text\":\"a\"}]}]}",
            t, "messages[1].content[0]"),
        "{\"model\":\"m\",\"thinking\":{\"type\":\"adaptive\"},\"messages\":[{"
        "\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":["
        "{\"type\":\"text\",\"text\":\"a\"}]}]}");
    /* A message with nothing else goes. */
    CHECK_STR(fit("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},"
                  "{\"role\":\"assistant\",\"content\":[" FOREIGN "]}]}",
                  t, "messages[1].content[0]"),
              "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}");
}

TEST(the_clients_version_and_query_go_along)
{
    struct chat_request req = read_with("");
    struct dialect_target target = {.base_path = SPAN("/v1"), .key = SPAN("k")};
    struct strbuf names = strbuf_in(&a, 64);
    struct drops drops = {.names = &names};
    struct dialect_request out;

    d->write_request(&req, &target, &a, &out, &drops);
    CHECK_SPAN(out.path, "/v1/messages");
    CHECK_STR(out.head_fields.buf, "x-api-key: k\r\nanthropic-version: 2023-06-01\r\n");
    target.client_fields = SPAN("Anthropic-Version: 2026-10-21\r\n");
    target.client_query = SPAN("?beta=true");
    req.counting = true;
    d->write_request(&req, &target, &a, &out, &drops);
    CHECK_SPAN(out.path, "/v1/messages/count_tokens?beta=true");
    CHECK_STR(out.head_fields.buf, "x-api-key: k\r\n");
}

TEST(a_turn_is_put_behind_the_last_one)
{
    struct chat_request req = read_with(",\"max_tokens\":100"), longer;
    struct err e;

    CHECK(d->extend(&req, SPAN("so \"far\""), SPAN("go on"), 40, &a, &longer, &e) == 0);
    CHECK_SPAN(longer.body,
               "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},"
               "{\"role\":\"assistant\",\"content\":\"so \\\"far\\\"\"},{\"role\":\"user\","
               "\"content\":\"go on\"}],\"max_tokens\":60}");
}

TEST_MAIN()
