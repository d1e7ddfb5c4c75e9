#include "tests/unit/check.h"

#include "proxy/base/arena.h"
#include "proxy/base/strbuf.h"

TEST(text_grows_and_is_terminated)
{
    struct strbuf s = strbuf_heap(1 << 20);

    CHECK(s.buf == NULL);
    strbuf_add(&s, "a");
    strbuf_add_char(&s, '-');
    strbuf_add_u64(&s, 0);
    strbuf_add_u64(&s, UINT64_MAX);
    strbuf_addf(&s, " %s=%d", "x", -5);
    strbuf_add_span(&s, (struct span){NULL, 0});
    strbuf_add_n(&s, "|\0|", 3);
    CHECK(span_eq(strbuf_span(&s), SPAN("a-018446744073709551615 x=-5|\0|")));
    CHECK(s.buf[s.len] == '\0');
    for (int i = 0; i < 10000; i++)
        strbuf_add(&s, "0123456789");
    CHECK(!s.failed);
    CHECK_INT(s.len, 31 + 100000);
    CHECK(memcmp(s.buf + s.len - 11, "90123456789", 12) == 0);
    strbuf_release(&s);
}

TEST(a_formatted_text_that_does_not_fit_leaves_no_trace)
{
    char mem[8];
    struct strbuf s = strbuf_on(mem, sizeof(mem));

    strbuf_add(&s, "abc");
    strbuf_addf(&s, "%s", "defg"); /* to the last byte */
    CHECK(!s.failed);
    CHECK_STR(s.buf, "abcdefg");
    strbuf_clear(&s);
    strbuf_add(&s, "abc");
    strbuf_addf(&s, "%s", "defgh");
    CHECK(s.failed);
    CHECK_STR(s.buf, "abc");
    strbuf_addf(&s, "%s", "d");
    CHECK_STR(s.buf, "abc");
}

TEST(what_is_expected_makes_room_and_no_failure)
{
    char mem[8];
    struct strbuf s = strbuf_heap(1000), fixed = strbuf_on(mem, sizeof(mem));
    const char *at;

    strbuf_expect(&s, 900);
    at = s.buf;
    for (int i = 0; i < 90; i++)
        strbuf_add(&s, "0123456789");
    CHECK(s.buf == at);
    strbuf_expect(&s, 101); /* may turn out to be less */
    CHECK(!s.failed);
    strbuf_expect(&fixed, 7);
    strbuf_expect(&fixed, 8);
    CHECK(!fixed.failed && fixed.buf == mem);
    strbuf_release(&s);
}

TEST(nothing_is_added_after_the_cap_was_passed)
{
    struct strbuf s = strbuf_heap(5);

    strbuf_add(&s, "abc");
    strbuf_add(&s, "def");
    CHECK(s.failed);
    strbuf_add(&s, "g"); /* would fit, but a gap in the text is worse than its end */
    CHECK_SPAN(strbuf_span(&s), "abc");
    strbuf_clear(&s);
    CHECK(!s.failed);
    strbuf_add(&s, "fives");
    CHECK(!s.failed);
    CHECK_STR(s.buf, "fives");
    strbuf_addf(&s, "%d", 1);
    CHECK(s.failed);
    CHECK_STR(s.buf, "fives");
    strbuf_release(&s);
}

TEST(memory_of_the_caller_never_grows)
{
    char mem[4] = "xxx";
    struct strbuf s = strbuf_on(mem, sizeof(mem));

    CHECK_STR(mem, "");
    strbuf_add(&s, "abc");
    CHECK(!s.failed && s.buf == mem);
    strbuf_add_char(&s, 'd');
    CHECK(s.failed);
    CHECK_STR(mem, "abc");
}

TEST(text_in_an_arena_survives_growing)
{
    struct arena a;
    struct strbuf s;

    arena_init(&a);
    s = strbuf_in(&a, 100000);
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&s, "%04d", i);
    CHECK(!s.failed);
    CHECK_INT(s.len, 4000);
    CHECK(memcmp(s.buf, "000000010002", 12) == 0);
    CHECK_STR(s.buf + 3996, "0999");
    strbuf_release(&s);
    CHECK(s.buf == NULL && s.len == 0);
    arena_release(&a);
}

TEST(room_can_be_filled_in_part)
{
    struct strbuf s = strbuf_heap(100);
    char *to = strbuf_room(&s, 100);

    CHECK(to != NULL);
    memcpy(to, "abc", 3);
    strbuf_added(&s, 3);
    CHECK_STR(s.buf, "abc");
    CHECK(strbuf_room(&s, 98) == NULL);
    CHECK(s.failed);
    strbuf_release(&s);
}

TEST(the_front_can_be_dropped)
{
    struct strbuf s = strbuf_heap(100);

    strbuf_drop_front(&s, 0);
    strbuf_add(&s, "abcdef");
    strbuf_drop_front(&s, 2);
    CHECK_STR(s.buf, "cdef");
    strbuf_drop_front(&s, 4);
    CHECK_STR(s.buf, "");
    CHECK_INT(s.len, 0);
    strbuf_release(&s);
}

TEST_MAIN()
