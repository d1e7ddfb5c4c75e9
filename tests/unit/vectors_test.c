#include "providers/vectors.h"

#include "tests/unit/check.h"

/* What an answer with these vectors (raw, NULL ends them) comes to. */
static enum failure judge(struct chat_vectors asked, const char *const *raw)
{
    struct chat_watch watch = {.vectors = asked};
    struct vectors v = {0};

    for (; *raw != NULL; raw++)
        vectors_add(&v, span_of(*raw), asked.packed);
    vectors_judge(&v, &watch);
    CHECK((watch.failure == FAILURE_NONE) == (watch.error.message[0] == '\0'));
    return watch.failure;
}

#define JUDGE(inputs, ...)                                                                         \
    judge((struct chat_vectors){inputs, 0, false, false}, (const char *const[]){__VA_ARGS__, NULL})
#define JUDGE_PACKED(inputs, ...)                                                                  \
    judge((struct chat_vectors){inputs, 0, true, false}, (const char *const[]){__VA_ARGS__, NULL})

TEST(one_vector_for_each_text_all_of_one_length_is_whole)
{
    CHECK_INT(JUDGE(1, "[0]"), FAILURE_NONE);
    CHECK_INT(JUDGE(2, "[0.5,-1]", " [ 1e-3 , 2E2 ] "), FAILURE_NONE);
    CHECK_INT(JUDGE(2, "[1]"), TRUNCATED);
    CHECK_INT(JUDGE(1, "[1]", "[2]"), MALFORMED);
    CHECK_INT(JUDGE(2, "[1]", "[1,2]"), MALFORMED);
    CHECK_INT(JUDGE(2, "[1,2]", "[1]"), MALFORMED);
    CHECK_INT(judge((struct chat_vectors){1, 0, false, false}, (const char *const[]){NULL}), EMPTY);
}

TEST(what_is_no_number_of_32_bits_is_no_vector)
{
    static const char *const bad[] = {
        "[]",         "null",
        "{}",         "[null]",
        "[[1]]",      "[true]",
        "[\"1\"]",    "[1,null]",
        "[1e39]",     "[-1e39]",
        "[1,3.5e38]", "\"AACAPw==\"",
        "[1e9999]",   "[4000000000000000000000000000000000000000]",
        "",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (JUDGE(1, bad[i]) != MALFORMED)
            fail_msg("%s is taken", bad[i]);
    CHECK_INT(JUDGE(1, "[3.4e38,300000000000000000000000000000000000000]"), FAILURE_NONE);
}

TEST(base64_counts_only_where_it_was_asked_for_and_holds_whole_floats)
{
    CHECK_INT(JUDGE_PACKED(2, "\"AACAPw==\"", "[1]"), FAILURE_NONE); /* 1.0f */
    CHECK_INT(JUDGE_PACKED(1, "\"AACAPwAAgD8=\""), FAILURE_NONE);
    CHECK_INT(JUDGE_PACKED(1, "\"\\/\\/9\\/Pw==\""), FAILURE_NONE); /* slashes may be escaped */
    CHECK_INT(JUDGE_PACKED(1, "\"AACA\""), MALFORMED);              /* three bytes */
    CHECK_INT(JUDGE_PACKED(1, "\"\""), MALFORMED);
    CHECK_INT(JUDGE_PACKED(1, "\"AAC!Pw==\""), MALFORMED);
    CHECK_INT(JUDGE_PACKED(1, "\"AADAfw==\""), MALFORMED); /* NaN */
    CHECK_INT(JUDGE_PACKED(1, "\"AACA/w==\""), MALFORMED); /* -infinity */
    CHECK_INT(JUDGE_PACKED(2, "\"AACAPw==\"", "\"AACAPwAAgD8=\""), MALFORMED);
}

TEST(the_length_that_was_asked_for_is_the_length)
{
    const char *const raw[] = {"[1,2]", NULL};

    CHECK_INT(judge((struct chat_vectors){1, 2, false, false}, raw), FAILURE_NONE);
    CHECK_INT(judge((struct chat_vectors){1, 3, false, false}, raw), UNSUPPORTED);
}

static void check_packed(const char *list, const char *want)
{
    struct strbuf out = strbuf_heap(4096);

    vectors_pack(&out, span_of(list));
    CHECK_SPAN(strbuf_span(&out), want);
    strbuf_release(&out);
}

TEST(numbers_become_the_nearest_float_with_its_lowest_byte_first)
{
    check_packed("[1]", "\"AACAPw==\"");
    check_packed("[1,-2]", "\"AACAPwAAAMA=\"");
    check_packed("[1,-2,0.1]", "\"AACAPwAAAMDNzMw9\"");
    check_packed("[ 1.0e0 , -20e-1,\n0.1, -0.0 ]", "\"AACAPwAAAMDNzMw9AAAAgA==\"");
    check_packed("[16777217,0.30000000000000004,1e-46]", "\"AACAS5qZmT4AAAAA\"");
    check_packed("[]", "\"\"");
}

TEST_MAIN()
