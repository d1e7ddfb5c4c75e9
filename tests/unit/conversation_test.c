#include "providers/conversation.h"
#include "tests/unit/check.h"

static struct arena a;

TEST(a_dropped_path_is_named_once)
{
    struct strbuf names;
    struct drops d = {.names = &names};

    arena_init(&a);
    names = strbuf_in(&a, 100);
    drop_named(&d, "messages[3].name");
    drop_named(&d, "logit_bias");
    drop_field(&d, SPAN("messages[3]")); /* a part of a name is another name */
    drop_field(&d, SPAN("name"));
    drop_named(&d, "logit_bias");
    drop_named(&d, "messages[3].name");
    drop_named(&d, "");
    CHECK_SPAN(strbuf_span(&names), "messages[3].name, logit_bias, messages[3], name");
    arena_release(&a);
}

TEST(a_list_that_is_full_ends_with_a_whole_name)
{
    char mem[16];
    struct strbuf names = strbuf_on(mem, sizeof(mem));
    struct drops d = {.names = &names};

    drop_named(&d, "seed");
    drop_named(&d, "a_longer_name");
    CHECK_STR(names.buf, "seed");
    CHECK(names.failed);
}

TEST(blank_is_judged_after_decoding)
{
    static const char *const blank[] = {
        "\"\"",
        "\" \"",
        "\" \\n\\t\\r\\f\"",
        "\"\\u0020\\u00a0\\u3000\"",
        "\"\xc2\xa0\xe3\x80\x80\xe2\x80\x83\"",
    };
    static const char *const filled[] = {
        "\"a\"", "\" .\"",      "\"\\\\\"",      "\"\\\"\"",
        "\"/\"", "\"\\u0061\"", "\" \xc3\xa4\"", "\"\xf0\x9f\x98\x80\"",
    };

    CHECK(raw_is_blank((struct span){0}));
    for (size_t i = 0; i < ARRAY_LEN(blank); i++)
        if (!raw_is_blank(span_of(blank[i])))
            fail_msg("%s is blank", blank[i]);
    for (size_t i = 0; i < ARRAY_LEN(filled); i++)
        if (raw_is_blank(span_of(filled[i])))
            fail_msg("%s is not blank", filled[i]);
}

TEST(raw_strings_are_joined_without_decoding)
{
    struct strbuf out;

    arena_init(&a);
    out = strbuf_in(&a, 100);
    raw_add_joined(&out, SPAN("\"a\\u00e9\""), true, "\\n\\n");
    raw_add_joined(&out, SPAN("\"\""), false, "\\n\\n");
    raw_add_joined(&out, SPAN("\"b\""), false, "");
    strbuf_add_char(&out, '"');
    CHECK_SPAN(strbuf_span(&out), "\"a\\u00e9\\n\\nb\"");
    arena_release(&a);
}

TEST_MAIN()
