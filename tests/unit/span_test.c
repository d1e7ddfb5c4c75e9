#include "tests/unit/check.h"

#include <stdlib.h>

#include "proxy/base/attributes.h"
#include "proxy/base/mem.h"
#include "proxy/base/rng.h"
#include "proxy/base/span.h"

TEST(spans_are_equal_by_their_bytes)
{
    CHECK(span_eq(SPAN("a\0b"), SPAN("a\0b")));
    CHECK(!span_eq(SPAN("a\0b"), SPAN("a\0c")));
    CHECK(!span_eq(SPAN("ab"), SPAN("abc")));
    CHECK(span_eq((struct span){NULL, 0}, SPAN("")));
    CHECK(span_is(SPAN("abc"), "abc"));
    CHECK(!span_is(SPAN("abc"), "ab"));
    CHECK(!span_is(SPAN("a\0"), "a"));
    CHECK(span_is(span_of(NULL), ""));
}

TEST(a_start_is_compared_within_the_span)
{
    CHECK(span_starts(SPAN("data: x"), "data:"));
    CHECK(!span_starts((struct span){"data:", 4}, "data:"));
    CHECK(!span_starts(SPAN("Data:"), "data:"));
    CHECK(!span_starts((struct span){NULL, 0}, "a"));
}

TEST(case_may_be_ignored)
{
    CHECK(span_is_nocase(SPAN("Content-Type"), "content-type"));
    CHECK(!span_is_nocase(SPAN("Content-Type"), "content-typ"));
    CHECK(!span_is_nocase(SPAN("a_b"), "a-b"));
    CHECK(span_is_nocase((struct span){NULL, 0}, ""));
}

TEST(a_needle_is_found_at_its_first_place_and_not_behind_the_end)
{
    struct span text = {"aXbXchunked", 10}; /* without the d */

    CHECK(span_find(text, "X") == text.p + 1);
    CHECK(span_find(text, "chunke") == text.p + 4);
    CHECK(span_find(text, "chunked") == NULL);
    CHECK(span_find(text, "x") == NULL);
    CHECK(span_find((struct span){NULL, 0}, "x") == NULL);
    CHECK(span_find_nocase(text, "x") == text.p + 1);
    CHECK(span_find_nocase(text, "CHUNKE") == text.p + 4);
    CHECK(span_find_nocase(text, "CHUNKED") == NULL);
    CHECK(span_find_nocase(SPAN("ab"), "abc") == NULL);
}

/* In few letters, so that beginnings of the needle are everywhere, and in memory of its size. */
TEST(a_needle_is_found_as_if_byte_by_byte)
{
    static const char *const needles[] = {"b", "ab", "aab", "abab", "aaaaaaaaaaaaaaaab"};
    struct rng rng = {3};

    for (int round = 0; round < 20000; round++) {
        size_t n = rng_between(&rng, 0, 200);
        const char *needle = needles[rng_between(&rng, 0, ARRAY_LEN(needles) - 1)];
        char *text = mem_alloc(n);

        for (size_t i = 0; i < n; i++)
            text[i] = rng_between(&rng, 0, 15) == 0   ? 'b'
                      : rng_between(&rng, 0, 15) == 0 ? 'c'
                                                      : 'a';
        CHECK(span_find((struct span){text, n}, needle) ==
              (n != 0 ? memmem(text, n, needle, strlen(needle)) : NULL));
        free(text);
    }
}

TEST(trimming_takes_spaces_and_tabs_off_both_ends_only)
{
    CHECK_SPAN(span_trim(SPAN(" \ta b\t ")), "a b");
    CHECK_SPAN(span_trim(SPAN("\ra\n")), "\ra\n");
    CHECK_SPAN(span_trim(SPAN(" \t ")), "");
    CHECK_SPAN(span_trim(SPAN("")), "");
}

TEST(a_number_is_digits_and_nothing_else)
{
    uint64_t v = 7;

    CHECK(span_to_u64(SPAN("0"), &v) && v == 0);
    CHECK(span_to_u64(SPAN("007"), &v) && v == 7);
    CHECK(span_to_u64(SPAN("9999999999999999999"), &v) && v == 9999999999999999999u);
    v = 7;
    CHECK(!span_to_u64(SPAN("10000000000000000000"), &v));
    CHECK(!span_to_u64(SPAN(""), &v));
    CHECK(!span_to_u64(SPAN("-1"), &v));
    CHECK(!span_to_u64(SPAN("+1"), &v));
    CHECK(!span_to_u64(SPAN(" 1"), &v));
    CHECK(!span_to_u64(SPAN("1a"), &v));
    CHECK(!span_to_u64(SPAN("1/"), &v) && !span_to_u64(SPAN("1:"), &v));
    CHECK(v == 7);
}

TEST(a_star_stands_for_any_run)
{
    CHECK(span_glob(SPAN("gpt-*"), SPAN("gpt-4o")));
    CHECK(span_glob(SPAN("gpt-*"), SPAN("gpt-")));
    CHECK(!span_glob(SPAN("gpt-*"), SPAN("gpt")));
    CHECK(!span_glob(SPAN("gpt-*"), SPAN("GPT-4o")));
    CHECK(span_glob(SPAN("*"), SPAN("")));
    CHECK(span_glob(SPAN("*-mini*"), SPAN("a-mi-mini")));
    CHECK(span_glob(SPAN("a*b*c"), SPAN("aXbXbXc")));
    CHECK(!span_glob(SPAN("a*b*c"), SPAN("aXbXbX")));
    CHECK(!span_glob(SPAN(""), SPAN("a")));
    CHECK(span_glob(SPAN(""), SPAN("")));
    CHECK(!span_glob(SPAN("abc"), SPAN("ab")));
}

TEST(a_pattern_of_many_stars_stays_fast)
{
    char text[20001], pattern[] = "*a*a*a*a*a*a*a*a*a*a*a*a*b";

    memset(text, 'a', sizeof(text));
    CHECK(!span_glob(span_of(pattern), (struct span){text, sizeof(text)}));
}

TEST_MAIN()
