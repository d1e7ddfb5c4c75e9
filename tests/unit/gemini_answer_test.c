/* What a client of Gemini's gets, streamed and in one piece. */
#include "providers/dialect.h"
#include "tests/unit/check.h"

static const struct dialect *const d = &dialect_gemini;

static struct arena a;
static struct answer_writer w;
static struct strbuf out;
static struct fold f;

static void begin(bool thoughts)
{
    arena_reset(&a);
    w = (struct answer_writer){.id = SPAN("i"),
                               .model = SPAN("m"),
                               .usage_asked = true,
                               .reasoning_asked = thoughts,
                               .arena = &a};
    out = strbuf_in(&a, 100000);
    fold_init(&f, &a);
}

#define REST ",\"modelVersion\":\"m\",\"responseId\":\"i\"}"
#define FRAGMENT_OF(choice, parts)                                                                 \
    "data: {\"candidates\":[{\"content\":{\"parts\":[" parts                                       \
    "],\"role\":\"model\"},\"index\":" choice "}]" REST "\n\n"
#define FRAGMENT(parts) FRAGMENT_OF("0", parts)
#define LAST(finish, usage)                                                                        \
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},"        \
    "\"finishReason\":\"" finish ",\"index\":0}]" usage REST "\n\n"
#define WHOLE(parts, finish, usage)                                                                \
    "{\"candidates\":[{\"content\":{\"parts\":[" parts                                             \
    "],\"role\":\"model\"},\"finishReason\":\"" finish ",\"index\":0}]" usage REST "\n"
#define MARK ",\"thoughtSignature\":\"aG9sZGZhc3Q6bQ==\"" /* holdfast:m */

/* Tells both writers; checks what the stream gains. */
static void check_event(struct chat_event ev, const char *want)
{
    strbuf_clear(&out);
    d->write_event(&w, &ev, &out);
    CHECK_SPAN(strbuf_span(&out), want);
    fold_event(&f, &ev);
}

static void check_whole(const char *want)
{
    strbuf_clear(&out);
    fold_done(&f);
    d->write_answer(&w, &f, &out);
    CHECK_SPAN(strbuf_span(&out), want);
    CHECK(json_valid((struct span){out.buf, out.len - 1}));
}

static struct chat_event of(enum chat_event_kind kind, const char *raw)
{
    return (struct chat_event){.kind = kind, .text = span_of(raw)};
}

static struct chat_event call(unsigned tool, const char *id, const char *name)
{
    return (struct chat_event){
        .kind = CHAT_TOOL_START, .tool = tool, .id = span_of(id), .name = span_of(name)};
}

static struct chat_event arguments(unsigned tool, const char *raw)
{
    return (struct chat_event){.kind = CHAT_TOOL_ARGS, .tool = tool, .text = span_of(raw)};
}

static struct chat_event signature(const char *of_what, const char *raw, const char *origin)
{
    return (struct chat_event){.kind = CHAT_SIGNATURE,
                               .text = span_of(raw),
                               .id = span_of(origin),
                               .name = span_of(of_what)};
}

static const struct chat_event start = {.kind = CHAT_START}, end = {.kind = CHAT_END};

#define USAGE                                                                                      \
    ",\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":3,"                       \
    "\"totalTokenCount\":8,\"cachedContentTokenCount\":1,\"thoughtsTokenCount\":2}"

TEST(an_answer_in_text_has_its_reason_and_its_usage_in_the_last_fragment)
{
    begin(true);
    check_event(start, "");
    check_event((struct chat_event){.kind = CHAT_USAGE, .usage = {true, 3, 1, 0, 0}}, "");
    check_event(of(CHAT_REASONING, "\"r\""), FRAGMENT("{\"text\":\"r\",\"thought\":true}"));
    check_event(of(CHAT_TEXT, "\"\""), "");
    check_event(of(CHAT_TEXT, "\"a\\u00e9\""), FRAGMENT("{\"text\":\"a\\u00e9\"}"));
    check_event(of(CHAT_STOP, "\"stop\""), "");
    check_event((struct chat_event){.kind = CHAT_USAGE, .usage = {true, 3, 5, 1, 2}}, "");
    check_event(end, LAST("STOP\"", USAGE));
    check_whole(
        WHOLE("{\"text\":\"r\",\"thought\":true},{\"text\":\"a\\u00e9\"}", "STOP\"", USAGE));
}

TEST(thoughts_are_shown_only_to_who_asks)
{
    begin(false);
    check_event(start, "");
    check_event(of(CHAT_REASONING, "\"r\""), "");
    check_event(signature("\"\"", "\"c2ln\"", "\"anthropic_messages\""), "");
    check_event(of(CHAT_TEXT, "\"a\""), FRAGMENT("{\"text\":\"a\"}"));
    check_event(of(CHAT_STOP, "\"stop\""), "");
    check_event(end, LAST("STOP\"", ""));
    check_whole(WHOLE("{\"text\":\"a\"}", "STOP\"", ""));
}

TEST(calls_go_out_whole_and_in_order_however_their_pieces_come)
{
    begin(false);
    check_event(call(4, "\"c1\"", "\"f\""), "");
    check_event(call(9, "\"\"", "\"g\""), "");
    check_event(arguments(9, "\"{\\\"b\\\":\\n\""), "");
    check_event(arguments(4, "\"\""), "");
    check_event(arguments(9, "\"1}\""), "");
    check_event(of(CHAT_STOP, "\"tool_calls\""),
                FRAGMENT("{\"functionCall\":{\"id\":\"c1\",\"name\":\"f\",\"args\":{}}" MARK "}")
                    FRAGMENT("{\"functionCall\":{\"name\":\"g\",\"args\":{\"b\": 1}}}"));
    check_event(end, LAST("STOP\"", ""));
    check_whole(WHOLE("{\"functionCall\":{\"id\":\"c1\",\"name\":\"f\",\"args\":{}}" MARK "},"
                      "{\"functionCall\":{\"name\":\"g\",\"args\":{\"b\": 1}}}",
                      "STOP\"", ""));
}

TEST(a_call_behind_the_reason_to_stop_is_not_lost)
{
    begin(false);
    check_event(of(CHAT_STOP, "\"tool_calls\""), "");
    check_event(call(0, "\"c\"", "\"f\""), "");
    check_event(end, FRAGMENT("{\"functionCall\":{\"id\":\"c\",\"name\":\"f\",\"args\":{}}" MARK
                              "}") LAST("STOP\"", ""));
}

TEST(bare_arguments_are_taken_as_they_are)
{
    begin(false);
    check_event(call(0, "\"c\"", "\"f\""), "");
    check_event(arguments(0, "{\"n\":12345678901234567890}"), "");
    check_event(of(CHAT_STOP, "\"stop\""),
                FRAGMENT("{\"functionCall\":{\"id\":\"c\",\"name\":\"f\",\"args\":{"
                         "\"n\":12345678901234567890}}" MARK "}"));
}

#define MALFORMED                                                                                  \
    "MALFORMED_FUNCTION_CALL\",\"finishMessage\":\"the arguments of a call are no JSON object, "   \
    "so it was left out: f\""

TEST(a_call_that_cannot_be_read_is_told_and_not_made_up)
{
    begin(false);
    check_event(call(0, "\"c\"", "\"f\""), "");
    check_event(arguments(0, "\"{\\\"b\\\":\""), "");
    check_event(of(CHAT_STOP, "\"tool_calls\""), "");
    check_event(end, LAST(MALFORMED, ""));
    check_whole(WHOLE("{\"text\":\"\"}", MALFORMED, ""));
}

#define STATE                                                                                      \
    "\"aG9sZGZhc3Q6czphbnRocm9waWNfbWVzc2FnZXM6YzJsbg==\"" /* s:anthropic_messages:c2ln            \
                                                            */
#define BARE          "\"aG9sZGZhc3Q6YjphbnRocm9waWNfbWVzc2FnZXM6YzJsbg==\"" /* b:... */
#define HIDDEN        "\"aG9sZGZhc3Q6cjphbnRocm9waWNfbWVzc2FnZXM6YzJsbg==\"" /* r:... */
#define SIGNED(state) "{\"text\":\"\",\"thought\":true,\"thoughtSignature\":" state "}"

TEST(anothers_state_travels_as_a_signature_that_tells_whose_it_is)
{
    begin(true);
    check_event(of(CHAT_REASONING, "\"r\""), FRAGMENT("{\"text\":\"r\",\"thought\":true}"));
    check_event(signature("\"\"", "\"c2ln\"", "\"anthropic_messages\""), FRAGMENT(SIGNED(STATE)));
    check_event(signature("\"redacted\"", "\"c2ln\"", "\"anthropic_messages\""),
                FRAGMENT(SIGNED(HIDDEN)));
    check_event(signature("\"\"", "\"c2ln\"", "\"anthropic_messages\""), FRAGMENT(SIGNED(BARE)));
    check_event(of(CHAT_TEXT, "\"a\""), FRAGMENT("{\"text\":\"a\"}"));
    check_event(of(CHAT_STOP, "\"stop\""), "");
    check_event(end, LAST("STOP\"", ""));
    check_whole(WHOLE("{\"text\":\"r\",\"thought\":true}," SIGNED(STATE) "," SIGNED(
                          HIDDEN) "," SIGNED(BARE) ",{\"text\":\"a\"}",
                      "STOP\"", ""));
}

TEST(geminis_own_state_is_passed_on_as_it_is)
{
    begin(false);
    check_event(of(CHAT_TEXT, "\"a\""), FRAGMENT("{\"text\":\"a\"}"));
    check_event(signature("\"\"", "\"c2ln\"", "\"gemini\""),
                FRAGMENT("{\"text\":\"\",\"thoughtSignature\":\"c2ln\"}"));
    check_event(call(0, "\"c\"", "\"f\""), "");
    check_event(signature("\"tool\"", "\"c2lo\"", "\"gemini\""), "");
    check_event(of(CHAT_STOP, "\"stop\""),
                FRAGMENT("{\"functionCall\":{\"id\":\"c\",\"name\":\"f\",\"args\":{}},"
                         "\"thoughtSignature\":\"c2lo\"}"));
}

static void check_reason(const char *canonical, const char *want)
{
    begin(false);
    check_event(of(CHAT_TEXT, "\"a\""), FRAGMENT("{\"text\":\"a\"}"));
    check_event(of(CHAT_STOP, canonical), "");
    check_event(of(CHAT_STOP, "\"length\""), ""); /* the first one counts */
    strbuf_clear(&out);
    d->write_event(&w, &end, &out);
    CHECK(span_find(strbuf_span(&out), want) != NULL);
}

TEST(reasons_to_stop_are_googles)
{
    check_reason("\"stop\"", "\"finishReason\":\"STOP\"");
    check_reason("\"tool_calls\"", "\"finishReason\":\"STOP\"");
    check_reason("\"length\"", "\"finishReason\":\"MAX_TOKENS\"");
    check_reason("\"content_filter\"", "\"finishReason\":\"SAFETY\"");
    check_reason("\"anything\"", "\"finishReason\":\"STOP\"");
}

TEST(several_answers_end_together)
{
    struct chat_event ev = of(CHAT_TEXT, "\"b\"");

    begin(false);
    ev.choice = 1;
    check_event(ev, FRAGMENT_OF("1", "{\"text\":\"b\"}"));
    check_event(of(CHAT_TEXT, "\"a\""), FRAGMENT("{\"text\":\"a\"}"));
    ev = of(CHAT_STOP, "\"length\"");
    ev.choice = 1;
    check_event(ev, "");
    check_event(of(CHAT_STOP, "\"stop\""), "");
    check_event(end, "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],"
                     "\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0},{\"content\":{"
                     "\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"finishReason\":"
                     "\"MAX_TOKENS\",\"index\":1}]" REST "\n\n");
}

TEST(a_stream_that_passed_as_bytes_is_carried_on_under_its_id)
{
    struct sse_event ev = {.has_data = true,
                           .data = SPAN("{\"candidates\":[],\"responseId\":\"theirs\"}")};

    begin(false);
    d->follow(&w, &(struct sse_event){0}, EVENT_NOTHING);
    d->follow(&w, &ev, EVENT_OUTPUT);
    CHECK_SPAN(w.id, "theirs");
    ev.data = SPAN("{\"responseId\":\"another\"}");
    d->follow(&w, &ev, EVENT_OUTPUT);
    CHECK_SPAN(w.id, "theirs");
}

/* ---- errors and models ---- */

static void check_status(unsigned status, const char *want)
{
    struct chat_error error = {.status = status, .message = "no \"x\""};
    char text[200];

    begin(false);
    snprintf(text, sizeof(text),
             "{\"error\":{\"code\":%u,\"message\":\"no \\\"x\\\"\",\"status\":\"%s\"}}\n", status,
             want);
    d->write_error(&error, &out);
    CHECK_SPAN(strbuf_span(&out), text);
}

TEST(errors_carry_googles_status_for_their_class)
{
    check_status(400, "INVALID_ARGUMENT");
    check_status(401, "UNAUTHENTICATED");
    check_status(403, "PERMISSION_DENIED");
    check_status(404, "NOT_FOUND");
    check_status(413, "INVALID_ARGUMENT");
    check_status(429, "RESOURCE_EXHAUSTED");
    check_status(500, "INTERNAL");
    check_status(502, "INTERNAL");
    check_status(503, "UNAVAILABLE");
    check_status(504, "DEADLINE_EXCEEDED");
}

TEST(an_error_in_a_stream_is_an_event_and_no_marker_ends_one)
{
    struct chat_error error = {.status = 502, .message = "m"};

    begin(false);
    d->write_stream_error(&error, &out);
    d->write_end(&out);
    CHECK_SPAN(strbuf_span(&out),
               "data: {\"error\":{\"code\":502,\"message\":\"m\",\"status\":\"INTERNAL\"}}\n\n");
}

TEST(models_are_listed_by_their_resource_names)
{
    struct span list[] = {SPAN("a\"b"), SPAN("openai/gpt")};

    begin(false);
    d->write_models(list, 2, 0, &out);
    CHECK_SPAN(strbuf_span(&out),
               "{\"models\":[{\"name\":\"models/a\\\"b\",\"version\":\"1\",\"displayName\":"
               "\"a\\\"b\",\"supportedGenerationMethods\":[\"generateContent\","
               "\"streamGenerateContent\"]},{\"name\":\"models/openai/gpt\",\"version\":\"1\","
               "\"displayName\":\"openai/gpt\",\"supportedGenerationMethods\":[\"generateContent\","
               "\"streamGenerateContent\"]}]}\n");
    arena_release(&a);
}

TEST_MAIN()
