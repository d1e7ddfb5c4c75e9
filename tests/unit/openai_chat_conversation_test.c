/* The whole request: read into its canonical form, written from it, and both for every recorded
 * request. */
#include "proxy/base/json.h"
#include "providers/dialect.h"
#include "tests/unit/check.h"

#define CORPUS SHARED_DIR "/wire/dev.jsonl"

static const struct dialect *const d = &dialect_openai_chat;

static struct arena a;
static struct conversation c;
static struct err e;

/* ---- a conversation as text, so that a test shows all of it ---- */

static void dump_span(struct strbuf *out, const char *name, struct span s)
{
    if (s.n != 0)
        strbuf_addf(out, " %s=%.*s", name, SPAN_ARG(s));
}

/* `bound`: with what no other provider could be told. */
static void dump_parts(struct strbuf *out, const struct part *p, bool bound)
{
    static const char *const kinds[] = {"text",    "image",     "document", "audio", "video",
                                        "refusal", "reasoning", "call",     "result"};

    for (; p != NULL; p = p->next) {
        if (!bound && p->kind == PART_REASONING)
            continue;
        strbuf_addf(out, "  %s", kinds[p->kind]);
        dump_span(out, "text", p->text);
        dump_span(out, "url", p->url);
        dump_span(out, "mime", p->mime);
        dump_span(out, "data", p->data);
        dump_span(out, "file", p->file_id);
        dump_span(out, "name", p->name);
        dump_span(out, "id", p->id);
        dump_span(out, "detail", p->detail);
        dump_span(out, "arguments", p->arguments);
        if (bound) {
            dump_span(out, "signature", p->signature);
            dump_span(out, "origin", p->origin);
            dump_span(out, "cache", p->cache);
            dump_span(out, "at", p->path);
        }
        strbuf_add_char(out, '\n');
        if (p->inner != NULL) {
            strbuf_add(out, "  (\n");
            dump_parts(out, p->inner, bound);
            strbuf_add(out, "  )\n");
        }
    }
}

static struct span dump_messages(const struct conversation *v, bool bound)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    struct strbuf out = strbuf_in(&a, 1 << 24);

    for (const struct message *m = v->messages; m != NULL; m = m->next) {
        strbuf_add(&out, roles[m->role]);
        dump_span(&out, "name", m->name);
        strbuf_add_char(&out, '\n');
        dump_parts(&out, m->parts, bound);
    }
    CHECK(!out.failed);
    return strbuf_span(&out);
}

static struct span dump_rest(const struct conversation *v)
{
    struct strbuf out = strbuf_in(&a, 1 << 24);

    strbuf_addf(&out,
                "stream=%d usage=%d choice=%d required=%d one=%d max=%llu n=%u logprobs=%d "
                "effort=%d format=%d strict=%d",
                v->stream, v->usage_asked, v->choice, v->choice_allowed_required,
                v->one_tool_at_a_time, (unsigned long long)v->max_tokens, v->n, v->logprobs,
                v->effort, v->format, v->schema_strict);
    dump_span(&out, "choice_name", v->choice_name);
    for (const struct name_list *n = v->choice_allowed; n != NULL; n = n->next)
        dump_span(&out, "allowed", n->name);
    dump_span(&out, "temperature", v->temperature);
    dump_span(&out, "top_p", v->top_p);
    dump_span(&out, "presence", v->presence_penalty);
    dump_span(&out, "frequency", v->frequency_penalty);
    dump_span(&out, "seed", v->seed);
    dump_span(&out, "stop", v->stop);
    dump_span(&out, "top_logprobs", v->top_logprobs);
    dump_span(&out, "schema", v->schema);
    dump_span(&out, "schema_name", v->schema_name);
    dump_span(&out, "schema_description", v->schema_description);
    dump_span(&out, "user", v->user);
    dump_span(&out, "tier", v->service_tier);
    dump_span(&out, "verbosity", v->verbosity);
    strbuf_add_char(&out, '\n');
    for (const struct tool *t = v->tools; t != NULL; t = t->next) {
        strbuf_addf(&out, "tool strict=%d/%d", t->strict_set, t->strict);
        dump_span(&out, "name", t->name);
        dump_span(&out, "description", t->description);
        dump_span(&out, "schema", t->schema);
        strbuf_add_char(&out, '\n');
    }
    CHECK(!out.failed);
    return strbuf_span(&out);
}

static struct span others(const struct conversation *v)
{
    struct strbuf out = strbuf_in(&a, 1 << 16);

    for (const struct other_field *o = v->others; o != NULL; o = o->next) {
        if (out.len != 0)
            strbuf_add(&out, ", ");
        strbuf_add_span(&out, o->path);
    }
    return strbuf_span(&out);
}

/* ---- reading ---- */

static bool read_body(const char *body)
{
    arena_reset(&a);
    memset(&c, 0, sizeof(c));
    e = (struct err){0};
    return d->read_conversation(arena_copy(&a, span_of(body)), &a, &c, &e) == 0;
}

static void read_with(const char *members)
{
    char body[8192];

    snprintf(body, sizeof(body), "{\"model\":\"m\",\"messages\":[]%s}", members);
    if (!read_body(body))
        fail_msg("%s: %s", members, e.msg);
}

static void check_messages(const char *messages, const char *want)
{
    char body[8192];

    snprintf(body, sizeof(body), "{\"model\":\"m\",\"messages\":%s}", messages);
    if (!read_body(body))
        fail_msg("%s: %s", messages, e.msg);
    CHECK_SPAN(dump_messages(&c, true), want);
}

static void check_refused(const char *body, const char *why)
{
    CHECK(!read_body(body));
    CHECK_STR(e.msg, why);
    CHECK(c.messages == NULL); /* nothing was given out */
}

TEST(roles_and_plain_texts)
{
    check_messages(
        "[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"developer\",\"content\":\"d\"},"
        "{\"content\":\"u\\u00e9\\/\",\"role\":\"user\",\"name\":\"Ann\"},"
        "{\"role\":\"assistant\",\"content\":\"\"},{\"role\":\"assistant\",\"content\":null}]",
        "system\n  text text=\"s\" at=messages[0].content\n"
        "developer\n  text text=\"d\" at=messages[1].content\n"
        "user name=\"Ann\"\n  text text=\"u\\u00e9\\/\" at=messages[2].content\n"
        "assistant\n  text text=\"\" at=messages[3].content\n"
        "assistant\n");
    CHECK_SPAN(others(&c), "");
}

TEST(parts_of_every_kind)
{
    check_messages(
        "[{\"role\":\"user\",\"content\":["
        "{\"type\":\"text\",\"text\":\"t\",\"cache_control\":{\"type\":\"ephemeral\"}},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x.test/a\",\"detail\":\"low\"}},"
        "{\"type\":\"image_url\",\"image_url\":\"data:image\\/png;base64,ab\\/-\\nd_8\"},"
        "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AAAA\",\"format\":\"wav\"}},"
        "{\"type\":\"file\",\"file\":{\"filename\":\"a.pdf\","
        "\"file_data\":\"data:application/pdf;x=y;base64,AAA=\"}},"
        "{\"type\":\"file\",\"file\":{\"file_id\":\"file-1\"}},"
        "{\"type\":\"video_url\",\"video_url\":{\"url\":\"https://x.test/v\"}}]}]",
        "user\n"
        "  text text=\"t\" cache={\"type\":\"ephemeral\"} at=messages[0].content[0]\n"
        "  image url=\"https://x.test/a\" detail=\"low\" at=messages[0].content[1]\n"
        "  image mime=image/png data=ab/+d/8= at=messages[0].content[2]\n"
        "  audio mime=audio/wav data=AAAA at=messages[0].content[3]\n"
        "  document mime=application/pdf data=AAA= name=\"a.pdf\" at=messages[0].content[4]\n"
        "  document file=\"file-1\" at=messages[0].content[5]\n"
        "  video url=\"https://x.test/v\" at=messages[0].content[6]\n");
    CHECK(c.pinned);
    CHECK_SPAN(c.pinned_by, "messages[0].content[5].file.file_id");
}

TEST(audio_without_a_format_is_known_by_its_first_bytes)
{
    check_messages("[{\"role\":\"user\",\"content\":["
                   "{\"type\":\"input_audio\",\"input_audio\":\"UklGRAAA\"},"
                   "{\"type\":\"input_audio\",\"input_audio\":\"\\/\\/uQ\"}]}]",
                   "user\n  audio mime=audio/wav data=UklGRAAA at=messages[0].content[0]\n"
                   "  audio mime=audio/mp3 data=//uQ at=messages[0].content[1]\n");
    check_refused(
        "{\"messages\":[{\"role\":\"user\",\"content\":["
        "{\"type\":\"input_audio\",\"input_audio\":\"AAAA\"}]}]}",
        "messages[0].content[0].input_audio: expected an object, or wav or mp3 in base64, "
        "got a string");
}

TEST(calls_and_results)
{
    check_messages(
        "[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
        "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\" {\\\"n\\\":12345678901234567890,\\\"\\u00e9\\\":1.0}\\n\"},"
        "\"extra_content\":{\"google\":{\"thought_signature\":\"s\\/\"}}},"
        "{\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}},"
        "{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":null}},"
        "{\"id\":\"n\",\"function\":{\"name\":\"f\",\"arguments\":\" null \"}},"
        "{\"id\":\"o\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1.50}}},"
        "{\"id\":\"d\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{\\\"cut\"}},"
        "{\"id\":\"e\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"[1]\"}},"
        "{\"id\":\"g\",\"type\":\"custom\",\"custom\":{\"name\":\"h\",\"input\":\"x\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"r\",\"name\":\"f\","
        "\"cache_control\":{}},"
        "{\"role\":\"tool\",\"tool_call_id\":\"b\","
        "\"content\":[{\"type\":\"text\",\"text\":\"1\"},{\"type\":\"text\",\"text\":\"2\"}]}]",
        "assistant\n"
        "  call name=\"f\" id=\"a\" arguments={\"n\":12345678901234567890,\"\xc3\xa9\":1.0}"
        " signature=\"s\\/\" origin=gemini at=messages[0].tool_calls[0]\n"
        "  call name=\"f\" id=\"b\" arguments={} at=messages[0].tool_calls[1]\n"
        "  call name=\"f\" id=\"c\" arguments={} at=messages[0].tool_calls[2]\n"
        "  call name=\"f\" id=\"n\" arguments={} at=messages[0].tool_calls[3]\n"
        "  call name=\"f\" id=\"o\" arguments={\"a\":1.50} at=messages[0].tool_calls[4]\n"
        "  call text=\"{\\\"cut\" name=\"f\" id=\"d\" at=messages[0].tool_calls[5]\n"
        "  call text=\"[1]\" name=\"f\" id=\"e\" at=messages[0].tool_calls[6]\n"
        "  call text=\"x\" name=\"h\" id=\"g\" at=messages[0].tool_calls[7]\n"
        "tool name=\"f\"\n  result id=\"a\" cache={} at=messages[1]\n"
        "  (\n  text text=\"r\" at=messages[1].content\n  )\n"
        "tool\n  result id=\"b\" at=messages[2]\n"
        "  (\n  text text=\"1\" at=messages[2].content[0]\n"
        "  text text=\"2\" at=messages[2].content[1]\n  )\n");
    CHECK(c.messages->parts->next->next->next->next->next->arguments.p == NULL);
    CHECK_SPAN(others(&c), "messages[0].tool_calls[7].type");
}

TEST(functions_of_before_become_tools)
{
    read_with(",\"functions\":[{\"name\":\"f\",\"parameters\":{}}],"
              "\"function_call\":{\"name\":\"f\"}");
    CHECK_SPAN(c.tools->name, "\"f\"");
    CHECK_SPAN(c.tools->path, "functions[0]");
    CHECK_INT(c.choice, CHOICE_NAMED);
    CHECK_SPAN(c.choice_name, "\"f\"");
    check_messages("[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":"
                   "null,\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
                   "{\"role\":\"function\",\"name\":\"f\",\"content\":\"r\"}]",
                   "user\n  text text=\"u\" at=messages[0].content\n"
                   "assistant\n  call name=\"f\" id=\"call_message_1\" arguments={}"
                   " at=messages[1].function_call\n"
                   "tool name=\"f\"\n  result id=\"call_message_1\" at=messages[2]\n"
                   "  (\n  text text=\"r\" at=messages[2].content\n  )\n");
    check_refused("{\"messages\":[{\"role\":\"function\",\"name\":\"f\",\"content\":\"r\"}]}",
                  "messages[0].name: expected the name of the function_call before it, got \"f\"");
}

#define SAID(members) "[{\"role\":\"assistant\"," members ",\"content\":\"t\"}]"
#define TEXT_T        "  text text=\"t\" at=messages[0].content\n"
#define DETAILS       "messages[0].reasoning_details"

TEST(reasoning_keeps_its_signature_and_who_minted_it)
{
    check_messages(SAID("\"reasoning_content\":\"r\""),
                   "assistant\n  reasoning text=\"r\" at=messages[0].reasoning_content\n" TEXT_T);
    check_messages(SAID("\"reasoning\":\"r\""),
                   "assistant\n  reasoning text=\"r\" at=messages[0].reasoning\n" TEXT_T);
    /* As our own answers have it: the text stands beside. */
    check_messages(
        SAID("\"reasoning_content\":\"r\",\"reasoning_details\":[{\"type\":\"reasoning.text\","
             "\"signature\":\"s\",\"format\":\"anthropic-claude-v1\",\"index\":0},"
             "{\"type\":\"reasoning.encrypted\",\"data\":\"d\","
             "\"format\":\"anthropic-claude-v1\",\"index\":1}]"),
        "assistant\n  reasoning text=\"r\" signature=\"s\" origin=anthropic_messages at=" DETAILS
        "[0]\n  reasoning signature=\"d\" origin=anthropic_messages at=" DETAILS "[1]\n" TEXT_T);
    /* As OpenRouter has it: the text in pieces, and beside them once more. */
    check_messages(
        SAID("\"reasoning\":\"ab\",\"reasoning_details\":[{\"type\":\"reasoning.text\","
             "\"text\":\"a\",\"index\":0},{\"type\":\"reasoning.text\",\"text\":\"b\",\"index\":0},"
             "{\"type\":\"reasoning.text\",\"signature\":\"s\",\"format\":\"google-gemini-v1\","
             "\"index\":0},{\"type\":\"reasoning.text\",\"text\":\"c\",\"signature\":\"z\","
             "\"format\":\"other-v1\",\"index\":1}]"),
        "assistant\n  reasoning text=\"ab\" signature=\"s\" origin=gemini at=" DETAILS
        "[0]\n  reasoning text=\"c\" signature=\"z\" at=" DETAILS "[3]\n" TEXT_T);
    CHECK_SPAN(others(&c), "");
    /* Nobody can tell which text two signatures are for. */
    check_messages(SAID("\"reasoning_content\":\"r\",\"reasoning_details\":["
                        "{\"type\":\"reasoning.text\",\"signature\":\"s\",\"index\":0},"
                        "{\"type\":\"reasoning.text\",\"signature\":\"s\",\"index\":1}]"),
                   "assistant\n  reasoning text=\"r\" at=messages[0].reasoning_content\n" TEXT_T);
    CHECK_SPAN(others(&c), DETAILS "[0], " DETAILS "[1]");
    /* Nothing was shown. */
    check_messages(SAID("\"reasoning_details\":[{\"type\":\"reasoning.text\",\"signature\":\"s\","
                        "\"format\":\"anthropic-claude-v1\"}]"),
                   "assistant\n  reasoning text=\"\" signature=\"s\" origin=anthropic_messages"
                   " at=" DETAILS "[0]\n" TEXT_T);
}

TEST(a_refusal_and_thinking_in_parts)
{
    check_messages("[{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"},"
                   "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":["
                   "{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]},"
                   "{\"type\":\"refusal\",\"refusal\":\"no\"}]}]",
                   "assistant\n  refusal text=\"no\" at=messages[0].refusal\n"
                   "assistant\n  reasoning text=\"ab\" at=messages[1].content[0]\n"
                   "  refusal text=\"no\" at=messages[1].content[1]\n");
}

TEST(a_hint_on_a_message_is_one_on_its_last_part)
{
    check_messages("[{\"role\":\"system\",\"cache_control\":{\"a\":1},\"content\":["
                   "{\"type\":\"text\",\"text\":\"1\"},{\"type\":\"text\",\"text\":\"2\"}]},"
                   "{\"role\":\"user\",\"content\":[],\"cache_control\":{\"a\":1}}]",
                   "system\n  text text=\"1\" at=messages[0].content[0]\n"
                   "  text text=\"2\" cache={\"a\":1} at=messages[0].content[1]\nuser\n");
    CHECK_SPAN(others(&c), "messages[1].cache_control");
}

TEST(what_has_no_place_is_noted_with_its_path)
{
    read_with(",\"logit_bias\":{\"1\":2},\"metadata\":{},\"store\":null,\"audio\":[],"
              "\"a key, with\\r\\nnoise\":1,\"stream_options\":{\"x\":1},"
              "\"tools\":[{\"type\":\"web_search\",\"x\":1},{\"type\":\"function\",\"y\":1,"
              "\"function\":{\"name\":\"f\",\"z\":0}}]");
    CHECK_SPAN(others(&c),
               "logit_bias, a?key??with??noise, stream_options.x, tools[0], tools[1].y, "
               "tools[1].function.z");
    CHECK(c.tools->next == NULL);
    check_messages(
        "[{\"role\":\"user\",\"content\":[{\"type\":\"new\",\"x\":1,\"text\":\"t\"},"
        "{\"type\":\"text\",\"text\":\"t\",\"file\":{\"x\":1}}],\"tool_call_id\":\"x\","
        "\"odd\":true},{\"role\":\"assistant\",\"content\":\"\",\"audio\":{\"id\":\"x\"}}]",
        "user\n  text text=\"t\" at=messages[0].content[1]\n"
        "assistant\n  text text=\"\" at=messages[1].content\n");
    CHECK_SPAN(others(&c), "messages[0].odd, messages[0].tool_call_id, messages[0].content[0], "
                           "messages[0].content[1].file, messages[1].audio");
    CHECK_SPAN(c.pinned_by, "messages[1].audio");
}

TEST(options)
{
    read_with(",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"temperature\":0.50,"
              "\"top_p\":1e0,\"top_k\":40,\"presence_penalty\":1,\"frequency_penalty\":-1,"
              "\"seed\":99999999999999999999,\"stop\":\"a\\n\",\"n\":2,\"logprobs\":true,"
              "\"top_logprobs\":3,\"reasoning_effort\":\"max\",\"safety_identifier\":\"u\","
              "\"user\":\"v\",\"service_tier\":\"flex\",\"verbosity\":\"low\","
              "\"parallel_tool_calls\":false,\"max_tokens\":5,\"max_completion_tokens\":6");
    CHECK_SPAN(dump_rest(&c),
               "stream=1 usage=1 choice=0 required=0 one=1 max=6 n=2 logprobs=1 effort=6 format=0 "
               "strict=0 temperature=0.50 top_p=1e0 presence=1 frequency=-1 "
               "seed=99999999999999999999 stop=[\"a\\n\"] top_logprobs=3 user=\"u\" tier=\"flex\" "
               "verbosity=\"low\"\n");
    CHECK_SPAN(c.top_k, "40");
    CHECK_SPAN(c.max_tokens_path, "max_completion_tokens");
    CHECK_SPAN(others(&c), "max_tokens, user");
    read_with(
        ",\"max_tokens\":5,\"stop\":[\"a\",\"b\"],\"user\":\"v\",\"reasoning_effort\":\"none\"");
    CHECK_SPAN(c.max_tokens_path, "max_tokens");
    CHECK_SPAN(c.stop, "[\"a\",\"b\"]");
    CHECK_SPAN(c.user, "\"v\"");
    CHECK_INT(c.effort, EFFORT_NONE);
    CHECK_INT(c.n, 1);
    CHECK_SPAN(others(&c), "");
    read_with(",\"stop\":[],\"temperature\":null,\"n\":null,\"max_tokens\":null,\"tools\":null");
    CHECK(c.stop.n == 0 && c.temperature.n == 0 && c.n == 1 && c.max_tokens == 0);
}

TEST(formats_of_the_answer)
{
    read_with(",\"response_format\":{\"type\":\"text\"}");
    CHECK_INT(c.format, FORMAT_TEXT);
    read_with(",\"response_format\":{\"type\":\"json_object\",\"schema\":{\"a\":1}}");
    CHECK_INT(c.format, FORMAT_JSON);
    CHECK_SPAN(others(&c), "response_format.schema");
    read_with(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
              "\"description\":\"d\",\"strict\":true,\"schema\":{\"b\":1,\"a\": 2}}}");
    CHECK_INT(c.format, FORMAT_SCHEMA);
    CHECK(c.schema_strict);
    CHECK_SPAN(c.schema, "{\"b\":1,\"a\": 2}");
    CHECK_SPAN(c.schema_name, "\"n\"");
    CHECK_SPAN(c.schema_description, "\"d\"");
}

TEST(tools_and_all_forms_of_choice)
{
    read_with(",\"tools\":[{\"type\":\"function\",\"cache_control\":{\"a\":1},\"function\":{"
              "\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"b\":1},\"strict\":false}},"
              "{\"function\":{\"name\":\"g\",\"strict\":true}}]");
    CHECK_SPAN(c.tools->cache, "{\"a\":1}");
    CHECK_SPAN(c.tools->schema, "{\"b\":1}");
    CHECK(c.tools->strict_set && !c.tools->strict && c.tools->next->strict);
    CHECK_INT(c.tools->next->schema.n, 0);
    read_with(",\"tool_choice\":\"auto\"");
    CHECK_INT(c.choice, CHOICE_AUTO);
    read_with(",\"tool_choice\":\"none\"");
    CHECK_INT(c.choice, CHOICE_NONE);
    read_with(",\"tool_choice\":\"required\"");
    CHECK_INT(c.choice, CHOICE_REQUIRED);
    read_with(",\"tool_choice\":\"any\"");
    CHECK_INT(c.choice, CHOICE_REQUIRED);
    read_with(",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}");
    CHECK_INT(c.choice, CHOICE_NAMED);
    CHECK_SPAN(c.choice_name, "\"f\"");
    read_with(",\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":\"f\"}}");
    CHECK_INT(c.choice, CHOICE_UNSET);
    CHECK_SPAN(others(&c), "tool_choice");
    read_with(
        ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"required\","
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
        "{\"type\":\"mcp\"},{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]}}");
    CHECK_INT(c.choice, CHOICE_ALLOWED);
    CHECK(c.choice_allowed_required);
    CHECK_SPAN(c.choice_allowed->name, "\"f\"");
    CHECK_SPAN(c.choice_allowed->next->name, "\"g\"");
    CHECK_SPAN(others(&c), "tool_choice.allowed_tools.tools[1]");
}

TEST(a_wrong_type_is_refused_with_its_path)
{
    static const struct {
        const char *members, *why;
    } rows[] = {
        {"\"temperature\":\"0\"", "temperature: expected a number, got a string"},
        {"\"stop\":[\"a\",1]", "stop[1]: expected a string, got a number"},
        {"\"stop\":1", "stop: expected a string or an array of strings, got a number"},
        {"\"n\":0", "n: expected a whole number, 1 to 128, got 0"},
        {"\"max_tokens\":1.5",
         "max_tokens: expected a whole number of tokens, at least 1, got 1.5"},
        {"\"logprobs\":1", "logprobs: expected true or false, got a number"},
        {"\"reasoning_effort\":\"huge\"", "reasoning_effort: expected none, minimal, low, medium, "
                                          "high, xhigh or max, got \"huge\""},
        {"\"tools\":{}", "tools: expected an array, got an object"},
        {"\"tools\":[1]", "tools[0]: expected an object, got a number"},
        {"\"tools\":[{\"type\":\"function\"}]",
         "tools[0].function: expected an object, got nothing"},
        {"\"tools\":[{\"function\":{\"name\":\"f\",\"parameters\":[]}}]",
         "tools[0].function.parameters: expected a JSON Schema object, got an array"},
        {"\"tool_choice\":\"f\"",
         "tool_choice: expected \"auto\", \"none\", \"required\" or an object, got \"f\""},
        {"\"response_format\":{\"type\":\"json_schema\"}",
         "response_format.json_schema: expected an object, got nothing"},
        {"\"seed\":1,\"seed\":2", "seed: stands twice in the request, expected once"},
        {"\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"content\":\"b\"}]",
         "messages[0].content: stands twice in the request, expected once"},
        {"\"messages\":[{\"role\":\"robot\",\"content\":\"a\"}]",
         "messages[0].role: expected system, developer, user, assistant, tool or function, got "
         "\"robot\""},
        {"\"messages\":[{\"role\":\"user\",\"content\":5}]",
         "messages[0].content: expected a string or an array of parts, got a number"},
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":null}]}]",
         "messages[0].content[0].text: expected a string, got nothing"},
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
         "\"url\":\"ftp://x\"}}]}]",
         "messages[0].content[0].image_url.url: expected an http(s) URL or a data: URL with a "
         "media "
         "type and base64, got a string"},
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
         "\"url\":\"data:image/png;base64,a!bc\"}}]}]",
         "messages[0].content[0].image_url.url: expected an http(s) URL or a data: URL with a "
         "media "
         "type and base64, got a string"},
        {"\"messages\":[{\"role\":\"tool\",\"content\":\"a\"}]",
         "messages[0].tool_call_id: expected the id of the call, a string, got nothing"},
        {"\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"function\":{"
         "\"name\":\"f\",\"arguments\":7}}]}]",
         "messages[0].tool_calls[0].function.arguments: expected a string with a JSON object, got "
         "a "
         "number"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool own = span_starts(span_of(rows[i].members), "\"messages\"");
        char body[1024];

        snprintf(body, sizeof(body), "{\"model\":\"m\",%s%s}", own ? "" : "\"messages\":[],",
                 rows[i].members);
        check_refused(body, rows[i].why);
    }
    check_refused("[]", "request body: expected an object, got an array");
}

/* ---- what we wrote comes back ---- */

static struct span member(struct span raw, const char *name)
{
    struct json j = json_read(raw);
    struct span key, found = {0};

    if (json_enter(&j, JSON_OBJECT))
        while (json_member(&j, &key)) {
            struct span value = json_take(&j);

            if (span_is(key, name))
                found = value;
        }
    return found;
}

TEST(an_answer_that_the_client_gives_back_is_what_the_provider_said)
{
    static const struct chat_event events[] = {
        {.kind = CHAT_REASONING, .text = SPAN("\"r\"")},
        {.kind = CHAT_SIGNATURE, .text = SPAN("\"s1\\/=\""), .id = SPAN("\"anthropic_messages\"")},
        {.kind = CHAT_SIGNATURE,
         .text = SPAN("\"s2\""),
         .id = SPAN("\"anthropic_messages\""),
         .name = SPAN("\"redacted\"")},
        {.kind = CHAT_TEXT, .text = SPAN("\"t\"")},
        {.kind = CHAT_TOOL_START, .tool = 1, .id = SPAN("\"a\""), .name = SPAN("\"f\"")},
        {.kind = CHAT_SIGNATURE,
         .tool = 1,
         .text = SPAN("\"s3\""),
         .id = SPAN("\"gemini\""),
         .name = SPAN("\"tool\"")},
        {.kind = CHAT_TOOL_ARGS, .tool = 1, .text = SPAN("\"{\\\"n\\\":1e400}\"")},
        {.kind = CHAT_STOP, .text = SPAN("\"tool_calls\"")},
    };
    struct answer_writer w = {.id = SPAN("i"), .model = SPAN("m"), .arena = &a};
    struct strbuf out;
    struct span message;
    struct fold f;

    arena_reset(&a);
    out = strbuf_in(&a, 10000);
    fold_init(&f, &a);
    for (size_t i = 0; i < ARRAY_LEN(events); i++)
        fold_event(&f, &events[i]);
    fold_done(&f);
    d->write_answer(&w, &f, &out);
    message = member(strbuf_span(&out), "choices");
    message = member((struct span){message.p + 1, message.n - 2}, "message");
    CHECK(message.n != 0);
    check_messages(
        arena_printf(&a, "[%.*s]", SPAN_ARG(message)),
        "assistant\n  reasoning text=\"r\" signature=\"s1\\/=\" origin=anthropic_messages"
        " at=" DETAILS "[0]\n"
        "  reasoning signature=\"s2\" origin=anthropic_messages at=" DETAILS "[1]\n" TEXT_T
        "  call name=\"f\" id=\"a\" arguments={\"n\":1e400} signature=\"s3\" origin=gemini"
        " at=messages[0].tool_calls[0]\n");
    CHECK_SPAN(others(&c), "");
}

/* ---- writing ---- */

static char dropped_mem[4096];
static struct strbuf dropped;

static int write_it(const struct conversation *v, const char *model, struct span *body)
{
    struct dialect_target target = {
        .base_path = SPAN("/v1"), .model = span_of(model), .key = SPAN("k")};
    struct drops drops = {.names = &dropped};
    struct dialect_request out;

    dropped = strbuf_on(dropped_mem, sizeof(dropped_mem));
    if (d->write_conversation(v, &target, &a, &out, &drops, &e) < 0)
        return -1;
    CHECK_SPAN(out.path, "/v1/chat/completions");
    CHECK_SPAN(strbuf_span(&out.head_fields), "Authorization: Bearer k\r\n");
    CHECK(out.body[1].n == 0 && out.body_bytes == out.body[0].n);
    *body = out.body[0];
    return 0;
}

static void check_written(const char *members, const char *model, const char *want,
                          const char *dropped_want)
{
    struct span body = {0};
    char text[8192];

    snprintf(text, sizeof(text), "{\"model\":\"m\",%s}", members);
    if (!read_body(text) || write_it(&c, model, &body) < 0)
        fail_msg("%s: %s", text, e.msg);
    CHECK_SPAN(body, want);
    CHECK_SPAN(strbuf_span(&dropped), dropped_want);
}

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

TEST(models_that_reason_get_what_they_take)
{
    check_written(HI ",\"max_tokens\":9,\"temperature\":0,\"stop\":\"a\",\"seed\":1,\"top_k\":2,"
                     "\"reasoning_effort\":\"low\",\"x\":1",
                  "openai/o3-mini",
                  "{\"model\":\"openai/o3-mini\"," HI ",\"max_completion_tokens\":9,\"seed\":1,"
                  "\"reasoning_effort\":\"low\"}",
                  "temperature, stop, top_k, x");
    check_written(
        HI ",\"max_completion_tokens\":9,\"temperature\":0,\"stop\":\"a\"", "gpt-4o",
        "{\"model\":\"gpt-4o\"," HI ",\"max_tokens\":9,\"temperature\":0,\"stop\":[\"a\"]}", "");
}

TEST(what_belongs_to_other_providers_is_dropped_and_named)
{
    check_written(
        "\"messages\":[{\"role\":\"user\",\"content\":\"hi\",\"cache_control\":{\"a\":1}},"
        "{\"role\":\"assistant\",\"reasoning_content\":\"r\",\"tool_calls\":[{\"id\":\"a\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{ }\"},\"extra_content\":{\"google\":{"
        "\"thought_signature\":\"s\"}}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"r\"}],\"tool_choice\":\"auto\"",
        "m",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\","
        "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{ }\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"r\"}]}",
        "messages[0].cache_control, messages[1].reasoning_content, "
        "messages[1].tool_calls[0].signature, tool_choice");
}

TEST(results_and_what_was_said_with_them_are_messages_in_order)
{
    struct part text = {.kind = PART_TEXT, .text = SPAN("\"and?\"")};
    struct part inner = {.kind = PART_TEXT, .text = SPAN("\"bad\"")};
    struct part failed = {
        .kind = PART_TOOL_RESULT, .id = SPAN("\"b\""), .inner = &inner, .is_error = true};
    struct part none = {.kind = PART_TOOL_RESULT, .id = SPAN("\"a\""), .next = &failed};
    struct message m = {.role = ROLE_USER, .parts = &text};
    struct conversation v = {.messages = &m, .model = SPAN("m"), .n = 1};
    struct span body;

    text.next = &none;
    CHECK_INT(write_it(&v, "m", &body), 0);
    CHECK_SPAN(body, "{\"model\":\"m\",\"messages\":["
                     "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"\"},"
                     "{\"role\":\"tool\",\"tool_call_id\":\"b\",\"content\":\"Error: bad\"},"
                     "{\"role\":\"user\",\"content\":\"and?\"}]}");
}

TEST(what_cannot_be_said_is_refused_with_its_path)
{
    struct part p = {.kind = PART_VIDEO, .path = SPAN("messages[0].content[0]")};
    struct message m = {.role = ROLE_USER, .parts = &p};
    struct conversation v = {.messages = &m, .n = 1};
    struct span body;

    CHECK_INT(write_it(&v, "m", &body), -1);
    CHECK_STR(e.msg,
              "messages[0].content[0]: this provider takes no such part in a message of this "
              "role");
    p.kind = PART_AUDIO;
    p.mime = SPAN("audio/flac");
    p.data = SPAN("AAAA");
    CHECK_INT(write_it(&v, "m", &body), -1);
    CHECK_STR(e.msg,
              "messages[0].content[0]: audio of another kind; this provider takes wav and mp3");
    p.kind = PART_REASONING;
    m.role = ROLE_ASSISTANT;
    CHECK_INT(write_it(&v, "m", &body), -1);
    CHECK_STR(e.msg, "messages: nothing of them is left that this provider takes");
}

/* ---- recorded requests ---- */

static unsigned n_read, n_counted, n_same, n_refused, n_all;

/* Counts written against the JSON itself, knowing nothing of the reader. */
static unsigned items(struct span raw)
{
    struct json j = json_read(raw);
    unsigned n = 0;

    if (json_type_of(raw) == JSON_STRING)
        return 1;
    if (!json_enter(&j, JSON_ARRAY))
        return 0;
    for (; json_item(&j); json_take(&j))
        n++;
    return n;
}

struct counts {
    unsigned messages, parts, calls, results, tools, options;
};

static struct counts count_json(struct span body)
{
    static const char *const options[] = {
        "temperature",       "top_p",           "top_k",        "seed",         "stop",
        "presence_penalty",  "response_format", "verbosity",    "service_tier", "tool_choice",
        "frequency_penalty", "top_logprobs",    "function_call"};
    struct json j = json_read(member(body, "messages"));
    struct counts n = {0};

    CHECK(json_enter(&j, JSON_ARRAY));
    for (; json_item(&j); n.messages++) {
        struct span m = json_take(&j);

        n.parts += items(member(m, "content")) + items(member(m, "refusal"));
        if (json_is_string(member(m, "role"), "assistant"))
            n.calls += items(member(m, "tool_calls"));
        n.calls += json_type_of(member(m, "function_call")) == JSON_OBJECT;
        n.results += json_is_string(member(m, "role"), "tool") ||
                     json_is_string(member(m, "role"), "function");
    }
    n.tools = items(member(body, "tools")) + items(member(body, "functions"));
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        enum json_type type = json_type_of(member(body, options[i]));

        n.options += type != JSON_NONE && type != JSON_NULL &&
                     !(type == JSON_ARRAY && items(member(body, options[i])) == 0);
    }
    n.options += json_type_of(member(body, "max_tokens")) == JSON_NUMBER ||
                 json_type_of(member(body, "max_completion_tokens")) == JSON_NUMBER;
    n.options += json_type_of(member(body, "reasoning_effort")) == JSON_STRING;
    n.options += json_type_of(member(body, "user")) == JSON_STRING ||
                 json_type_of(member(body, "safety_identifier")) == JSON_STRING;
    return n;
}

static void count_parts(const struct part *p, struct counts *n)
{
    for (; p != NULL; p = p->next) {
        bool beside = span_find(p->path, ".content") == NULL;

        if (p->kind == PART_TOOL_CALL)
            n->calls++;
        else if (p->kind == PART_TOOL_RESULT)
            n->results++;
        else if (p->kind != PART_REASONING || !beside)
            n->parts++;
        count_parts(p->inner, n);
    }
}

static struct counts count_read(const struct conversation *v)
{
    const struct span options[] = {v->temperature,
                                   v->top_p,
                                   v->top_k,
                                   v->seed,
                                   v->stop,
                                   v->presence_penalty,
                                   v->frequency_penalty,
                                   v->top_logprobs,
                                   v->verbosity,
                                   v->service_tier,
                                   v->user};
    struct counts n = {0};

    for (const struct message *m = v->messages; m != NULL; m = m->next, n.messages++)
        count_parts(m->parts, &n);
    for (const struct tool *t = v->tools; t != NULL; t = t->next)
        n.tools++;
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        n.options += options[i].n != 0;
    n.options += (v->max_tokens != 0) + (v->effort != EFFORT_UNSET) + (v->format != FORMAT_UNSET) +
                 (v->choice != CHOICE_UNSET);
    for (const struct other_field *o = v->others; o != NULL; o = o->next) {
        bool whole = o->path.p[o->path.n - 1] == ']';

        n.parts += whole && span_find(o->path, ".content[") != NULL;
        n.tools += whole && span_starts(o->path, "tools[");
    }
    return n;
}

/* Nobody could understand these, and the provider did not either. */
static const char *const nonsense[] = {
    "4ea2dbd0-868779c4", /* "temperature": "hot" */
    "3971d82b-99dcd10c", /* messages where parts should stand */
};

/* This dialect has no place for it where OpenAI itself is the provider. */
static const char *const unsayable[] = {
    "181d05f4-70516b23", /* a video by its URL, OpenRouter's own */
};

static bool is_one_of(struct span id, const char *const *ids, size_t n)
{
    while (n > 0 && !span_is(id, ids[n - 1]))
        n--;
    return n > 0;
}

static void visit(struct span id, struct span body)
{
    struct counts want = count_json(body), got;
    struct conversation again = {0};
    struct span written;

    n_all++;
    e = (struct err){0};
    if (d->read_conversation(body, &a, &c, &e) < 0) {
        if (is_one_of(id, nonsense, ARRAY_LEN(nonsense)))
            n_all--;
        else
            printf("not read: %.*s: %s\n", SPAN_ARG(id), e.msg);
        return;
    }
    n_read++;
    got = count_read(&c);
    if (memcmp(&got, &want, sizeof(got)) == 0)
        n_counted++;
    else
        printf("counts differ: %.*s: got %u %u %u %u %u %u, want %u %u %u %u %u %u\n", SPAN_ARG(id),
               got.messages, got.parts, got.calls, got.results, got.tools, got.options,
               want.messages, want.parts, want.calls, want.results, want.tools, want.options);
    if (write_it(&c, "m", &written) < 0) {
        if (is_one_of(id, unsayable, ARRAY_LEN(unsayable)))
            n_refused++;
        printf("not written: %.*s: %s\n", SPAN_ARG(id), e.msg);
        return;
    }
    if (d->read_conversation(written, &a, &again, &e) < 0)
        fail_msg("%.*s: what we wrote is not read: %s", SPAN_ARG(id), e.msg);
    if (c.tools == NULL) { /* a choice without tools is dropped */
        c.choice = again.choice = CHOICE_UNSET;
        c.choice_name = again.choice_name = (struct span){0};
        c.one_tool_at_a_time = false;
    }
    c.usage_asked &= c.stream;
    if (span_eq(dump_messages(&c, false), dump_messages(&again, false)) &&
        span_eq(dump_rest(&c), dump_rest(&again)) && again.others == NULL)
        n_same++;
    else
        printf("not the same: %.*s: %.*s\n", SPAN_ARG(id), SPAN_ARG(others(&again)));
}

TEST(recorded_requests_are_read_counted_and_written)
{
    FILE *f = fopen(CORPUS, "re");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;

    if (f == NULL) {
        printf("skipped: no ../shared\n");
        return;
    }
    while ((n = getline(&line, &room, f)) > 0) {
        struct span text = {line, (size_t)n}, body;

        if (text.n > 0 && text.p[text.n - 1] == '\n')
            text.n--;
        if (!json_is_string(member(text, "api"), "openai.chat"))
            continue;
        arena_reset(&a);
        body = member(member(text, "request"), "body");
        if (json_type_of(body) == JSON_OBJECT &&
            json_type_of(member(body, "messages")) == JSON_ARRAY)
            visit(json_text(member(text, "id"), &a), body);
    }
    free(line);
    fclose(f);
    printf("corpus: %u of %u requests read\n", n_read, n_all);
    printf("corpus: %u of %u with every message, part, call, result, tool and option counted\n",
           n_counted, n_read);
    printf("corpus: %u of %u the same when written and read again, %u refused\n", n_same, n_read,
           n_refused);
    CHECK(n_all > 700);
    CHECK_INT(n_read, n_all);
    CHECK_INT(n_counted, n_all);
    CHECK_INT(n_same + n_refused, n_all);
    CHECK_INT(n_refused, ARRAY_LEN(unsayable));
    arena_release(&a);
}

TEST_MAIN()
