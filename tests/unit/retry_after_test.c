#include "proxy/retry_after.h"

#include "tests/unit/check.h"

#define NOW 1795000000000u /* a Wednesday in November 2026 */

static const struct span none = {NULL, 0};

static uint64_t seconds(const char *value)
{
    return retry_after_read(none, none, span_of(value), none, NOW);
}

static uint64_t message(const char *text)
{
    return retry_after_read(none, none, none, span_of(text), NOW);
}

TEST(seconds_and_fractions_are_read)
{
    CHECK_INT(seconds("2"), 2000);
    CHECK_INT(seconds(" 1.5 "), 1500);
    CHECK_INT(seconds("0"), 0);
}

TEST(nonsense_is_absent_and_huge_is_capped)
{
    CHECK(seconds("-1") == RETRY_AFTER_NONE);
    CHECK(seconds("NaN") == RETRY_AFTER_NONE);
    CHECK(seconds("soon") == RETRY_AFTER_NONE);
    CHECK(seconds("") == RETRY_AFTER_NONE);
    CHECK(seconds("1e3") == RETRY_AFTER_NONE);
    CHECK_INT(seconds("1000000000000"), RETRY_AFTER_CAP);
    CHECK_INT(seconds("99999999999999999999999999"), RETRY_AFTER_NONE);
}

TEST(dates_count_from_now_and_the_past_is_zero)
{
    CHECK_INT(seconds("Wed, 18 Nov 2026 11:06:50 GMT"), 10000);
    CHECK_INT(seconds("Wed, 18 Nov 2020 11:06:50 GMT"), 0);
    CHECK(seconds("Wed, 18 Nov 2026 11:06:50 CET") == RETRY_AFTER_NONE);
}

TEST(milliseconds_come_first)
{
    CHECK_INT(retry_after_read(SPAN("250"), SPAN("9"), SPAN("7"), none, NOW), 250);
    CHECK_INT(retry_after_read(none, SPAN("900"), SPAN("7"), none, NOW), 900);
}

TEST(messages_of_providers_are_understood)
{
    CHECK_INT(message("Rate limit reached. Please try again in 644ms."), 644);
    CHECK_INT(message("Please try again in 1.574s. Visit"), 1574);
    CHECK_INT(message("Please try again in 1m12s."), 72000);
    CHECK_INT(message("Please retry in 34.4s."), 34400);
    CHECK_INT(message("{\"retryDelay\": \"37s\"}"), 37000);
    CHECK_INT(message("try again in 114h18m0s"), RETRY_AFTER_CAP);
    CHECK(message("try again in a while") == RETRY_AFTER_NONE);
}

TEST(what_we_tell_is_whole_seconds_that_sdks_obey)
{
    CHECK_INT(retry_after_seconds(0), 1);
    CHECK_INT(retry_after_seconds(1001), 2);
    CHECK_INT(retry_after_seconds(300000), 55);
}

TEST_MAIN()
