#include "providers/foreign.h"

#include "tests/unit/check.h"

static void check(const char *body, const char *want, const char *dropped)
{
    struct arena a;
    struct strbuf names;
    struct drops drops = {.names = &names};

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

static void check_ids(const char *body, const char *want)
{
    struct arena a;

    arena_init(&a);
    CHECK_SPAN(foreign_short_ids(span_of(body), &a), want);
    arena_release(&a);
}

TEST(ids_of_calls_become_short_and_still_meet_their_results)
{
    check_ids("{\"id\":\"call_1\",\"messages\":[{\"id\":\"call_1\",\"tool_calls\":[{\"id\":"
              "\"call_1\",\"function\":{\"id\":\"call_1\"}},{\"id\":\"Abcdefg12\"}]},"
              "{\"role\":\"tool\",\"tool_call_id\":\"c\\u0061ll_1\"},"
              "{\"role\":\"tool\",\"tool_call_id\":\"Abcdefg12\"}]}",
              "{\"id\":\"call_1\",\"messages\":[{\"id\":\"call_1\",\"tool_calls\":[{\"id\":"
              "\"74196fe72\",\"function\":{\"id\":\"call_1\"}},{\"id\":\"Abcdefg12\"}]},"
              "{\"role\":\"tool\",\"tool_call_id\":\"74196fe72\"},"
              "{\"role\":\"tool\",\"tool_call_id\":\"Abcdefg12\"}]}");
}

TEST(a_request_whose_ids_fit_is_not_touched)
{
    static const char body[] =
        "{ \"messages\" : [ {\"tool_calls\":[{\"id\": \"123456789\"}, {\"id\":null}, 3]} ] }";

    check_ids(body, body);
    check_ids("{ \"messages\" : [ {\"tool_call_id\":\"\"} ] }",
              "{\"messages\":[{\"tool_call_id\":\"e3b0c4429\"}]}");
}

TEST_MAIN()
