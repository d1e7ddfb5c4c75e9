#include "tests/unit/check.h"

#include "providers/dialect.h"
#include "providers/like.h"
#include "providers/openai_chat.h"

/* The place of `part` in the event. */
static struct span in(struct span event, const char *part)
{
    return (struct span){span_find(event, part), strlen(part)};
}

TEST(an_event_that_differs_in_its_text_is_like_the_one_before)
{
    struct span event = SPAN("{\"a\":1,\"text\":\"one\",\"b\":2}"), found[LIKE_VALUES];
    struct span values[LIKE_VALUES] = {[2] = in(event, "\"one\"")};
    struct like l = {0};

    CHECK(!like_is(&l, event, found));
    like_learn(&l, event, values);
    CHECK(like_is(&l, event, found));
    CHECK(span_is(found[2], "\"one\"") && found[0].n == 0);
    CHECK(like_is(&l, SPAN("{\"a\":1,\"text\":\"t\\\"w\xc3\xb6\",\"b\":2}"), found));
    CHECK(span_is(found[2], "\"t\\\"w\xc3\xb6\""));
    CHECK(like_is(&l, SPAN("{\"a\":1,\"text\":\"\",\"b\":2}"), found));
    like_forget(&l);
    CHECK(!like_is(&l, event, found));
}

TEST(whatever_else_differs_is_noticed)
{
    struct span event = SPAN("{\"a\":1,\"text\":\"one\",\"b\":2}"), found[LIKE_VALUES];
    struct span values[LIKE_VALUES] = {in(event, "\"one\"")};
    static const char *const others[] = {
        "{\"a\":2,\"text\":\"one\",\"b\":2}",
        "{\"a\":1,\"text\":\"one\",\"b\":3}",
        "{\"a\":1,\"text\":\"one\",\"b\":2} ",
        "{\"a\":1,\"text\":\"one\",\"b\":2",
        "{\"a\":1,\"text\":\"one\"",
        "{\"a\":1,\"text\":\"one",
        "{\"a\":1,\"text\":\"o\xff\",\"b\":2}",
        "{\"a\":1,\"text\":\"o\\x\",\"b\":2}",
        "{\"a\":1,\"text\":null,\"b\":2}",
        "{\"a\":1,\"text\":7,\"b\":2}",
        "{\"a\":1,\"text\": \"one\",\"b\":2}",
        "{\"a\":1,\"text\":\"o\nne\",\"b\":2}",
        "{\"a\":1,\"text\":",
        "",
    };
    struct like l = {0};

    like_learn(&l, event, values);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (like_is(&l, span_of(others[i]), found))
            fail_msg("%s is taken for the same", others[i]);
}

TEST(an_event_may_have_several_values_in_any_order)
{
    struct span event = SPAN("{\"n\":12,\"t\":\"one\",\"pad\":\"xyz\"}"), found[LIKE_VALUES];
    struct span values[LIKE_VALUES] = {
        in(event, "\"xyz\""), {0}, in(event, "12"), in(event, "\"one\"")};
    struct like l = {0};

    like_learn(&l, event, values);
    CHECK(like_is(&l, SPAN("{\"n\":-3.5e1,\"t\":\"two\",\"pad\":\"z\"}"), found));
    CHECK(span_is(found[0], "\"z\"") && found[1].n == 0);
    CHECK(span_is(found[2], "-3.5e1") && span_is(found[3], "\"two\""));
    CHECK(!like_is(&l, SPAN("{\"n\":12,\"t\":\"two\",\"pad\":1}"), found));
    CHECK(!like_is(&l, SPAN("{\"n\":\"12\",\"t\":\"two\",\"pad\":\"\"}"), found));
    CHECK(!like_is(&l, SPAN("{\"n\":012,\"t\":\"two\",\"pad\":\"\"}"), found));
    CHECK(!like_is(&l, SPAN("{\"n\":,\"t\":\"two\",\"pad\":\"\"}"), found));
}

TEST(an_event_must_not_have_too_much_beside_its_values)
{
    struct span values[LIKE_VALUES] = {{0}}, found[LIKE_VALUES], event;
    char large[LIKE_BYTES + 20];
    struct like l = {0};

    memset(large, ' ', sizeof(large));
    memcpy(large, "{\"t\":\"one\"", 10);
    for (size_t n = LIKE_BYTES; n <= sizeof(large); n += 20) {
        event = (struct span){large, n};
        values[0] = in(event, "\"one\"");
        like_learn(&l, event, values);
        CHECK(like_is(&l, event, found) == (n == LIKE_BYTES));
    }
}

/* ---- what a reader makes of it ----------------------------------------------------------------
 */

static char told[4096];

static void sink(void *ctx, const struct chat_event *ev)
{
    size_t n = strlen(told);

    (void)ctx;
    snprintf(told + n, sizeof(told) - n, "%d %u %.*s %llu %llu %llu;", (int)ev->kind, ev->choice,
             SPAN_ARG(ev->text), (unsigned long long)ev->usage.input,
             (unsigned long long)ev->usage.output, (unsigned long long)ev->usage.reasoning);
}

/* A stream whose reader remembers, beside one that never does. How often did it make use of it? */
static unsigned check_same(const struct dialect *d, const char *const *events, size_t n)
{
    unsigned used = 0;
    struct chat_watch with, without;
    char expected[sizeof(told)];

    memset(&with, 0, sizeof(with)); /* also between its members: they are compared as bytes */
    memset(&without, 0, sizeof(without));
    with.expected = without.expected = 1;
    for (size_t i = 0; i < n; i++) {
        struct sse_event ev = {.data = span_of(events[i]), .has_data = true};
        enum dialect_event kind;
        struct like kept;
        struct span values[LIKE_VALUES], data = ev.data;

        like_forget(&without.like);
        told[0] = '\0';
        kind = d->read_event(&ev, &without, sink, NULL);
        memcpy(expected, told, sizeof(told));
        told[0] = '\0';
        used += like_is(&with.like, data, values) ||
                (data.n != 0 && like_is(&with.like, span_trim((struct span){data.p, data.n - 1}),
                                        values)); /* as Anthropic's are compared */
        CHECK_INT(d->read_event(&ev, &with, sink, NULL), kind);
        CHECK_STR(told, expected);
        kept = with.like;
        with.like = without.like;
        CHECK(memcmp(&with, &without, sizeof(with)) == 0);
        with.like = kept;
    }
    return used;
}

#define CHUNK(delta, rest)                                                                         \
    "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{" delta "}" rest "}]}"

TEST(a_reader_that_remembers_finds_the_same)
{
    static const char *const plain[] = {
        CHUNK("\"role\":\"assistant\",\"content\":\"\"", ",\"finish_reason\":null"),
        CHUNK("\"content\":\"a\"", ",\"finish_reason\":null"),
        CHUNK("\"content\":\"b\"", ",\"finish_reason\":null"),
        CHUNK("\"content\":\"\"", ",\"finish_reason\":null"),
        CHUNK("\"content\":\"c\"", ",\"finish_reason\":null"),
        CHUNK("\"content\":\"c\xff\"", ",\"finish_reason\":null"),
        CHUNK("\"content\":\"d\"", ",\"finish_reason\":\"stop\""),
        CHUNK("\"content\":\"e\"", ",\"finish_reason\":\"stop\""),
        CHUNK("\"content\":\"f\"", ",\"finish_reason\":\"error\""),
        "[DONE]",
    };
    static const char *const padded[] = {
        CHUNK("\"content\":\"a\"", "}],\"obfuscation\":\"xyz\",\"x\":[{"),
        CHUNK("\"content\":\"b\"", "}],\"obfuscation\":\"x\",\"x\":[{"),
        CHUNK("\"content\":\"bb\"", "}],\"obfuscation\":\"\",\"x\":[{"),
        CHUNK("\"content\":\"c\"", "}],\"obfuscation\":null,\"x\":[{"),
        CHUNK("\"content\":\"d\"", "}],\"obfuscation\":\"xy\",\"error\":{\"code\":500},\"x\":[{"),
        CHUNK("\"content\":\"e\"", "}],\"obfuscation\":\"xy\",\"error\":{\"code\":500},\"x\":[{"),
    };
    static const char *const tools[] = {
        CHUNK("\"content\":\"a\",\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"function\":"
              "{\"name\":\"f\",\"arguments\":\"\"}}]",
              ""),
        CHUNK("\"content\":\"b\",\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"function\":"
              "{\"name\":\"f\",\"arguments\":\"\"}}]",
              ""),
        CHUNK("\"reasoning\":\"b\"", ""),
        CHUNK("\"reasoning\":\"c\"", ""),
        "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"}}]}",
        "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"y\"}}]}",
    };

    CHECK_INT(check_same(&dialect_openai_chat, plain, ARRAY_LEN(plain)), 3);
    CHECK_INT(check_same(&dialect_openai_chat, padded, ARRAY_LEN(padded)), 1);
    CHECK_INT(check_same(&dialect_openai_chat, tools, ARRAY_LEN(tools)), 0);
}

#define DELTA(index, delta)                                                                        \
    "{\"type\":\"content_block_delta\",\"index\":" index ",\"delta\":{\"type\":" delta "}"

TEST(a_reader_of_messages_that_remembers_finds_the_same)
{
    static const char *const start =
        "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"c\",\"usage\":"
        "{\"input_tokens\":3,\"output_tokens\":1}}}";
    static const char *const thinking =
        "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\"}}";
    static const char *const text =
        "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\"}}";
    static const char *const call =
        "{\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"tool_use\","
        "\"id\":\"t\",\"name\":\"f\",\"input\":{}}}";
    static const char *const call3 =
        "{\"type\":\"content_block_start\",\"index\":3,\"content_block\":{\"type\":\"tool_use\","
        "\"id\":\"u\",\"name\":\"g\",\"input\":{}}}";
    static const char *const stop = "{\"type\":\"content_block_stop\",\"index\":0}";
    const char *const whole[] = {
        start,
        thinking,
        DELTA("0", "\"thinking_delta\",\"thinking\":\"a\"") "}",
        DELTA("0", "\"thinking_delta\",\"thinking\":\"b\"") "}",
        DELTA("0", "\"signature_delta\",\"signature\":\"c\"") "}",
        DELTA("0", "\"signature_delta\",\"signature\":\"d\"") "}",
        stop,
        text,
        DELTA("1", "\"text_delta\",\"text\":\"e\"") "      }",
        DELTA("1", "\"text_delta\",\"text\":\"f\"") "}",
        DELTA("1", "\"text_delta\",\"text\":\"g\"") "   }",
        DELTA("1", "\"text_delta\",\"text\":\"\"") "}",
        DELTA("1", "\"text_delta\",\"text\":\"h\"") ",\"error\":{\"type\":\"x\"}}",
        DELTA("1", "\"text_delta\",\"text\":\"h\""),
        "{\"type\":\"ping\"}",
        DELTA("1", "\"text_delta\",\"text\":\"i\"") "}",
        stop,
        call,
        DELTA("2", "\"input_json_delta\",\"partial_json\":\"\"") "}",
        DELTA("2", "\"input_json_delta\",\"partial_json\":\"{\"") "}",
        DELTA("2", "\"input_json_delta\",\"partial_json\":\"\\\"a\\\":\"") "}",
        DELTA("2", "\"input_json_delta\",\"partial_json\":\"1}\"") "}",
        DELTA("3", "\"input_json_delta\",\"partial_json\":\"1}\"") "}",
        DELTA("2", "\"input_json_delta\",\"partial_json\":\"1}\"") "}",
        stop,
        call3,
        DELTA("2", "\"input_json_delta\",\"partial_json\":\"1}\"") "}",
        DELTA("3", "\"input_json_delta\",\"partial_json\":\"1}\"") ",\"x\":1}",
        DELTA("3", "\"input_json_delta\",\"partial_json\":\"1}\"") ",\"x\":1}",
        DELTA("3", "\"input_json_delta\",\"partial_json\":\"1}\"") ",\"x\":1",
        DELTA("3", "\"input_json_delta\",\"partial_json\":\"1}\"") ",\"x\":1}",
        "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":"
        "{\"output_tokens\":9}}",
        "{\"type\":\"message_stop\"}",
        DELTA("2", "\"text_delta\",\"text\":\"late\"") "}",
    };

    CHECK_INT(check_same(&dialect_anthropic_messages, whole, ARRAY_LEN(whole)), 11);
}

#define FRAGMENT(part, rest, usage)                                                                \
    "{\"candidates\":[{\"content\":{\"parts\":[{" part "}]},\"index\":0" rest                      \
    "}],\"usageMetadata\":{" usage "},\"modelVersion\":\"g\"}"

TEST(a_reader_of_fragments_that_remembers_finds_the_same)
{
    static const char *const events[] = {
        FRAGMENT("\"thought\":true,\"text\":\"a\"", "",
                 "\"promptTokenCount\":5,\"thoughtsTokenCount\":7,\"totalTokenCount\":12"),
        FRAGMENT("\"thought\":true,\"text\":\"b\"", "",
                 "\"promptTokenCount\":5,\"thoughtsTokenCount\":8,\"totalTokenCount\":13"),
        FRAGMENT("\"text\":\"c\"", "",
                 "\"promptTokenCount\":5,\"candidatesTokenCount\":1,\"thoughtsTokenCount\":8,"
                 "\"totalTokenCount\":14"),
        FRAGMENT("\"text\":\"d\"", "",
                 "\"promptTokenCount\":5,\"candidatesTokenCount\":20,\"thoughtsTokenCount\":9,"
                 "\"totalTokenCount\":34"),
        FRAGMENT("\"text\":\"e\"", "",
                 "\"promptTokenCount\":5,\"candidatesTokenCount\":-1,\"thoughtsTokenCount\":1e3,"
                 "\"totalTokenCount\":0"),
        FRAGMENT("\"text\":\"\"", "",
                 "\"promptTokenCount\":5,\"candidatesTokenCount\":21,\"thoughtsTokenCount\":9,"
                 "\"totalTokenCount\":35"),
        FRAGMENT("\"text\":\"e\"", "", "\"promptTokenCount\":5,\"candidatesTokenCount\":\"1\""),
        FRAGMENT("\"text\":\"e\"", "", "\"promptTokenCount\":5,\"candidatesTokenCount\":\"1\""),
        FRAGMENT("\"text\":\"e\"", "", "\"promptTokenCount\":5"),
        FRAGMENT("\"text\":\"e\"", "", "\"promptTokenCount\":5"),
        FRAGMENT("\"text\":\"f\",\"thoughtSignature\":\"s\"", "", ""),
        FRAGMENT("\"text\":\"g\",\"thoughtSignature\":\"t\"", "", ""),
        FRAGMENT("\"text\":\"h\"},{\"text\":\"i\"", "", ""),
        FRAGMENT("\"text\":\"h\"},{\"text\":\"j\"", "", ""),
        FRAGMENT("\"text\":\"h\"},{\"x\":\"i\"", "", ""),
        FRAGMENT("\"text\":\"j\"},{\"x\":\"i\"", "", ""),
        FRAGMENT("\"thought\":true,\"text\":\"k\"", "", ""),
        FRAGMENT("\"thought\":true,\"text\":\"l\"", "", ""),
        FRAGMENT("\"text\":\"m\"", "", "\"candidatesTokenCount\":3,\"candidatesTokenCount\":4"),
        FRAGMENT("\"text\":\"n\"", "", "\"candidatesTokenCount\":3,\"candidatesTokenCount\":5"),
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"o\"}]},\"index\":1}]}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"p\"}]},\"index\":1}]}",
        FRAGMENT("\"functionCall\":{\"name\":\"f\"},\"text\":\"q\"", "", ""),
        FRAGMENT("\"functionCall\":{\"name\":\"f\"},\"text\":\"r\"", "", ""),
        FRAGMENT("\"text\":\"s\"", ",\"finishReason\":\"STOP\"", ""),
        FRAGMENT("\"text\":\"t\"", ",\"finishReason\":\"STOP\"", ""),
        FRAGMENT("\"text\":\"u\"", "", ""),
        FRAGMENT("\"text\":\"v\"", "", ""),
    };

    CHECK_INT(check_same(&dialect_gemini, events, ARRAY_LEN(events)), 6);
}

TEST_MAIN()
