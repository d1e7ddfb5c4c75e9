#include "providers/foreign.h"

#include "tests/unit/check.h"

static void check(const char *body, const char *want, const char *dropped)
{
    struct arena a;
    struct strbuf names;
    struct drops drops = {&names};

    arena_init(&a);
    names = strbuf_in(&a, 512);
    CHECK_SPAN(foreign_strip(span_of(body), &a, &drops), want);
    CHECK_SPAN(strbuf_span(&names), dropped);
    arena_release(&a);
}

TEST(the_state_of_others_goes_and_the_rest_stays_to_the_byte)
{
    check("{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"reasoning_details\":[{"
          "\"signature\":"
          "\"x\"}],\"tool_calls\":[{\"id\":\"c\",\"extra_content\":{\"google\":{}}},{\"id\" : "
          "\"d\"}]},"
          "{\"role\":\"user\", \"content\":\"h\\u0069\"}],\"n\":1.0}",
          "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\"},"
          "{\"id\":\"d\"}]},{\"role\":\"user\",\"content\":\"h\\u0069\"}],\"n\":1.0}",
          "messages[0].reasoning_details, messages[0].tool_calls[0].extra_content");
}

TEST(a_request_without_it_is_not_touched)
{
    static const char body[] =
        "{ \"model\" : \"m\", \"messages\" : [ {\"content\":\"extra_content\"} ] }";

    check(body, body, "");
}

TEST(the_same_words_elsewhere_are_the_client_s_own)
{
    static const char body[] =
        "{\"extra_content\":1,\"messages\":[{\"content\":[{\"extra_content\":2}]}, 7]}";

    check(body, body, "");
}

TEST_MAIN()
