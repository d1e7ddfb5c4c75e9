#include "tests/unit/check.h"

#include "proxy/base/repeat.h"

#define WARN 1

static struct repeats r;
static struct repeat_summary s;

static bool tell(uint64_t kind, const char *text, uint64_t now_ms)
{
    return repeat_tell(&r, kind, WARN, span_of(text), now_ms);
}

static void check_summary(uint64_t now_ms, uint64_t times, uint64_t ms, const char *last)
{
    CHECK(repeat_summarise(&r, false, now_ms, &s));
    CHECK_INT(s.level, WARN);
    CHECK_INT(s.times, times);
    CHECK_INT(s.ms, ms);
    CHECK(span_eq(s.last, span_of(last)));
    CHECK(!repeat_summarise(&r, false, now_ms, &s));
}

TEST(the_first_is_told_and_the_others_are_counted_until_the_interval_is_over)
{
    r = (struct repeats){0};
    CHECK(tell(7, "one", 1000));
    CHECK(repeat_due_ms(&r) == UINT64_MAX);
    CHECK(!tell(7, "two", 1500));
    CHECK(!tell(7, "three", 10999));
    CHECK_INT(repeat_due_ms(&r), 11000);
    CHECK(!repeat_summarise(&r, false, 10999, &s));
    check_summary(11000, 2, 10000, "three");
    CHECK(repeat_due_ms(&r) == UINT64_MAX);
}

TEST(what_lasts_is_summarised_less_and_less_often_but_every_minute)
{
    static const uint64_t at_ms[] = {10000, 30000, 70000, 130000, 190000};
    uint64_t since_ms = 0;

    r = (struct repeats){0};
    CHECK(tell(7, "x", 0));
    for (size_t i = 0; i < sizeof(at_ms) / sizeof(at_ms[0]); i++) {
        CHECK(!tell(7, "again", since_ms + 1));
        CHECK_INT(repeat_due_ms(&r), at_ms[i]);
        check_summary(at_ms[i], 1, at_ms[i] - since_ms, "again");
        since_ms = at_ms[i];
    }
}

TEST(what_had_stopped_is_told_at_once_when_it_comes_again)
{
    r = (struct repeats){0};
    CHECK(tell(7, "x", 0));
    CHECK(tell(7, "x", 10000));
    CHECK(!tell(7, "x", 10001));
    check_summary(20000, 1, 10000, "x");
    CHECK(!tell(7, "x", 39999));
    check_summary(40000, 1, 20000, "x");
    CHECK(tell(7, "x", 80000));
    CHECK(!tell(7, "x", 80001));
    CHECK_INT(repeat_due_ms(&r), 90000); /* the intervals are short again */
}

TEST(a_count_that_was_not_told_yet_is_never_forgotten)
{
    r = (struct repeats){0};
    CHECK(tell(7, "x", 0));
    CHECK(!tell(7, "x", 1));
    CHECK(!tell(7, "y", 500000)); /* nobody has asked for summaries meanwhile */
    check_summary(500000, 2, 500000, "y");
}

TEST(at_the_end_all_is_told)
{
    r = (struct repeats){0};
    CHECK(tell(7, "x", 0) && !tell(7, "x", 1));
    CHECK(tell(8, "y", 2) && !tell(8, "y", 3));
    CHECK(repeat_summarise(&r, true, 5, &s) && repeat_summarise(&r, true, 5, &s));
    CHECK(!repeat_summarise(&r, true, 5, &s));
}

TEST(kinds_without_a_place_are_counted_together)
{
    r = (struct repeats){0};
    for (uint64_t kind = 1; kind <= REPEAT_KINDS; kind++)
        CHECK(tell(kind, "x", 0));
    CHECK(tell(1000, "first", 0)); /* the shared place is a kind as well */
    for (uint64_t kind = 1001; kind <= 1100; kind++)
        CHECK(!tell(kind, "last", 1));
    check_summary(10000, 100, 10000, "last");
    CHECK(tell(1200, "x", 10000)); /* those who said no more have left their places */
}

TEST(a_long_text_is_cut)
{
    char text[2 * REPEAT_TEXT];

    memset(text, 'x', sizeof(text));
    r = (struct repeats){0};
    CHECK(tell(7, "x", 0));
    CHECK(!repeat_tell(&r, 7, WARN, (struct span){text, sizeof(text)}, 1));
    CHECK(repeat_summarise(&r, true, 2, &s));
    CHECK_INT(s.last.n, REPEAT_TEXT);
}

TEST_MAIN()
