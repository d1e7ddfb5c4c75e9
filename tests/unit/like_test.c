#include "tests/unit/check.h"

#include "providers/like.h"
#include "providers/openai_chat.h"

/* The place of `part` in the event. */
static struct span in(struct span event, const char *part)
{
    return (struct span){span_find(event, part), strlen(part)};
}

TEST(an_event_that_differs_in_its_text_is_like_the_one_before)
{
    struct span event = SPAN("{\"a\":1,\"text\":\"one\",\"b\":2}"), texts[LIKE_TEXTS];
    struct span one = in(event, "\"one\"");
    struct like l = {0};

    CHECK(!like_is(&l, event, texts));
    like_learn(&l, event, &one, 1);
    CHECK(like_is(&l, event, texts));
    CHECK(span_is(texts[0], "\"one\""));
    CHECK(like_is(&l, SPAN("{\"a\":1,\"text\":\"t\\\"w\xc3\xb6\",\"b\":2}"), texts));
    CHECK(span_is(texts[0], "\"t\\\"w\xc3\xb6\""));
    CHECK(like_is(&l, SPAN("{\"a\":1,\"text\":\"\",\"b\":2}"), texts));
}

TEST(whatever_else_differs_is_noticed)
{
    struct span event = SPAN("{\"a\":1,\"text\":\"one\",\"b\":2}"), texts[LIKE_TEXTS];
    struct span one = in(event, "\"one\"");
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
        "{\"a\":1,\"text\": \"one\",\"b\":2}",
        "{\"a\":1,\"text\":\"o\nne\",\"b\":2}",
        "{\"a\":1,\"text\":",
        "",
    };
    struct like l = {0};

    like_learn(&l, event, &one, 1);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (like_is(&l, span_of(others[i]), texts))
            fail_msg("%s is taken for the same", others[i]);
}

TEST(an_event_may_have_two_texts_and_must_not_have_too_much_beside_them)
{
    struct span event = SPAN("{\"t\":\"one\",\"pad\":\"xyz\"}"), texts[LIKE_TEXTS];
    struct span both[] = {in(event, "\"one\""), in(event, "\"xyz\"")};
    char large[LIKE_BYTES + 20];
    struct like l = {0};

    like_learn(&l, event, both, 2);
    CHECK(like_is(&l, SPAN("{\"t\":\"two\",\"pad\":\"z\"}"), texts));
    CHECK(span_is(texts[0], "\"two\"") && span_is(texts[1], "\"z\""));
    CHECK(!like_is(&l, SPAN("{\"t\":\"two\",\"pad\":1}"), texts));
    memset(large, ' ', sizeof(large));
    memcpy(large, "{\"t\":\"one\"", 10);
    event = (struct span){large, sizeof(large)};
    both[0] = in(event, "\"one\"");
    like_learn(&l, event, both, 1);
    CHECK(!like_is(&l, event, texts));
}

/* ---- what a reader makes of it ----------------------------------------------------------------
 */

static char told[4096];

static void sink(void *ctx, const struct chat_event *ev)
{
    size_t n = strlen(told);

    (void)ctx;
    snprintf(told + n, sizeof(told) - n, "%d %u %.*s;", (int)ev->kind, ev->choice,
             SPAN_ARG(ev->text));
}

/* A stream whose reader remembers, beside one that never does. */
static void check_same(const char *const *events, size_t n)
{
    struct chat_watch with, without;
    char expected[sizeof(told)];

    memset(&with, 0, sizeof(with)); /* also between its members: they are compared as bytes */
    memset(&without, 0, sizeof(without));
    with.expected = without.expected = 1;
    for (size_t i = 0; i < n; i++) {
        struct sse_event ev = {.data = span_of(events[i]), .has_data = true};
        enum dialect_event kind;

        without.like.n_texts = 0;
        told[0] = '\0';
        kind = openai_chat_read_event(&ev, &without, sink, NULL);
        memcpy(expected, told, sizeof(told));
        told[0] = '\0';
        CHECK_INT(openai_chat_read_event(&ev, &with, sink, NULL), kind);
        CHECK_STR(told, expected);
        with.like = without.like;
        CHECK(memcmp(&with, &without, sizeof(with)) == 0);
    }
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

    check_same(plain, ARRAY_LEN(plain));
    check_same(padded, ARRAY_LEN(padded));
    check_same(tools, ARRAY_LEN(tools));
}

TEST_MAIN()
