#include "proxy/retry_after.h"

#include "tests/unit/check.h"

#define NOW  1795000000000u /* Wed, 18 Nov 2026 11:06:40 GMT */
#define NONE RETRY_AFTER_NONE

/* A head: names and values in turn, ended by NULL. */
static struct span find(const void *head, const char *name)
{
    for (const char *const *field = head; *field != NULL; field += 2)
        if (strcmp(field[0], name) == 0)
            return span_of(field[1]);
    return (struct span){NULL, 0};
}

#define ASKED(...) retry_after_asked(find, (const char *const[]){__VA_ARGS__, NULL}, NOW)
#define SPENT(...) retry_after_spent(find, (const char *const[]){__VA_ARGS__, NULL}, NOW)

static uint64_t seconds(const char *value)
{
    return ASKED("retry-after", value);
}

static uint64_t body(const char *text)
{
    return retry_after_read(NONE, NONE, span_of(text));
}

/* The reset of an allowance of which nothing is left. */
static uint64_t reset(const char *value)
{
    return SPENT("x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", value);
}

/* ---- what a head asks for ------------------------------------------------------------------- */

TEST(seconds_and_fractions_are_read)
{
    CHECK_INT(seconds("2"), 2000);
    CHECK_INT(seconds(" 1.5 "), 1500);
    CHECK_INT(seconds(".25"), 250);
    CHECK_INT(seconds("3."), 3000);
    CHECK_INT(seconds("1.2500000000000000000000"), 1250);
    CHECK_INT(seconds("1.574"), 1574);
    CHECK_INT(seconds("0"), 0);
    CHECK_INT(seconds("300"), RETRY_AFTER_CAP);
}

TEST(nonsense_is_absent_and_huge_is_capped)
{
    CHECK(seconds("-1") == NONE);
    CHECK(seconds("-0.5") == NONE);
    CHECK(seconds("NaN") == NONE);
    CHECK(seconds("inf") == NONE);
    CHECK(seconds("soon") == NONE);
    CHECK(seconds("") == NONE);
    CHECK(seconds(".") == NONE);
    CHECK(seconds("1e3") == NONE);
    CHECK(seconds("1.2.3") == NONE);
    CHECK(seconds("2, 5") == NONE);
    CHECK(seconds("0x10") == NONE);
    CHECK_INT(seconds("1000000000000"), RETRY_AFTER_CAP);
    CHECK(seconds("99999999999999999999999999") == NONE);
    CHECK(ASKED("content-type", "text/html") == NONE);
}

TEST(dates_count_from_now_and_the_past_is_zero)
{
    CHECK_INT(seconds("Wed, 18 Nov 2026 11:06:50 GMT"), 10000);
    CHECK_INT(seconds("Wed, 18 Nov 2026 11:06:40 GMT"), 0);
    CHECK_INT(seconds("Wed, 18 Nov 2020 11:06:50 GMT"), 0);
    CHECK_INT(seconds("Thu, 01 Jan 1960 00:00:00 GMT"), 0);
    CHECK_INT(seconds("Fri, 31 Dec 9999 23:59:59 GMT"), RETRY_AFTER_CAP);
    CHECK_INT(seconds("Wednesday, 18-Nov-26 11:06:50 GMT"), 10000);
    CHECK_INT(seconds("Wed Nov 18 11:06:50 2026"), 10000);
}

TEST(what_is_no_date_is_absent)
{
    CHECK(seconds("Wed, 18 Nov 2026 11:06:50 CET") == NONE);
    CHECK(seconds("Wed, 18 Nov 2026 11:06:50") == NONE);
    CHECK(seconds("Wed, 18 Nov 2026 11:06:50 GMT, 3") == NONE);
    CHECK(seconds("Wed, 18 Nov 2026 25:06:50 GMT") == NONE);
    CHECK(seconds("2026-11-18T11:06:50Z") == NONE);
    CHECK(seconds("a value that is far longer than any date of any form would be") == NONE);
}

TEST(milliseconds_come_first)
{
    CHECK_INT(ASKED("retry-after", "7", "x-ms-retry-after-ms", "900", "retry-after-ms", "250"),
              250);
    CHECK_INT(ASKED("retry-after", "7", "x-ms-retry-after-ms", "900"), 900);
    CHECK_INT(ASKED("retry-after-ms", "1250.7"), 1251);
}

TEST(a_source_that_makes_no_sense_leaves_it_to_the_next)
{
    CHECK_INT(ASKED("retry-after-ms", "-5", "x-ms-retry-after-ms", "x", "retry-after", "7"), 7000);
}

/* ---- what a head says is spent -------------------------------------------------------------- */

TEST(an_allowance_with_something_left_says_nothing)
{
    CHECK(SPENT("x-ratelimit-remaining-requests", "59", "x-ratelimit-reset-requests", "1s") ==
          NONE);
    CHECK(SPENT("x-ratelimit-reset-requests", "1s") == NONE);
    CHECK(SPENT("anthropic-ratelimit-tokens-remaining", "1000", "anthropic-ratelimit-tokens-reset",
                "2026-11-18T11:06:50Z") == NONE);
    CHECK(SPENT("content-type", "text/html") == NONE);
}

TEST(an_allowance_without_limit_is_not_spent)
{
    /* Azure: no limit is set, and no reset either */
    CHECK(SPENT("x-ratelimit-remaining-tokens", "-1", "x-ratelimit-reset-tokens", "0") == NONE);
    CHECK(SPENT("x-ratelimit-remaining-tokens", "", "x-ratelimit-reset-tokens", "5") == NONE);
}

TEST(a_reset_counts_only_with_its_own_remaining)
{
    CHECK_INT(SPENT("x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "1.5s",
                    "x-ratelimit-remaining-tokens", "149984", "x-ratelimit-reset-tokens", "4m"),
              1500);
    CHECK_INT(SPENT("x-ratelimit-remaining-requests", "12", "x-ratelimit-reset-requests", "4m",
                    "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "577ms"),
              577);
}

TEST(of_several_spent_ones_the_longest_counts)
{
    CHECK_INT(SPENT("x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "20s",
                    "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "3s"),
              20000);
    CHECK_INT(SPENT("x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "3s",
                    "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "20s"),
              20000);
    CHECK_INT(SPENT("x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "never",
                    "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "3s"),
              3000);
}

TEST(every_allowance_of_anthropic_is_looked_at)
{
    static const char *const names[] = {"requests", "tokens", "input-tokens", "output-tokens"};

    for (size_t i = 0; i < 4; i++) {
        char remaining[64], when[64];

        snprintf(remaining, sizeof(remaining), "anthropic-ratelimit-%s-remaining", names[i]);
        snprintf(when, sizeof(when), "anthropic-ratelimit-%s-reset", names[i]);
        CHECK_INT(SPENT(remaining, "0", when, "2026-11-18T11:07:10Z"), 30000);
        CHECK(SPENT(remaining, "1", when, "2026-11-18T11:07:10Z") == NONE);
    }
}

TEST(resets_are_durations_as_go_writes_them)
{
    CHECK_INT(reset("2m59.56s"), 179560); /* Groq */
    CHECK_INT(reset("7.66s"), 7660);
    CHECK_INT(reset("6m0s"), RETRY_AFTER_CAP); /* OpenAI */
    CHECK_INT(reset("1m0s"), 60000);
    CHECK_INT(reset("12ms"), 12);
    CHECK_INT(reset("8.64s"), 8640);
    CHECK_INT(reset("1h0m0.5s"), RETRY_AFTER_CAP);
    CHECK_INT(reset("1500\xc2\xb5s"), 2);
    CHECK_INT(reset("1500us"), 2);
    CHECK_INT(reset("2000000ns"), 2);
    CHECK_INT(reset("2d"), RETRY_AFTER_CAP);
}

TEST(resets_are_seconds_where_they_are_plain_numbers)
{
    CHECK_INT(reset("46"), 46000); /* Azure */
    CHECK_INT(reset(" 33.38 "), 33380);
    CHECK_INT(reset("86400"), RETRY_AFTER_CAP);
    CHECK(reset("1795000010") == NONE); /* a time, of who knows which unit */
}

TEST(resets_are_times_of_day_as_well)
{
    CHECK_INT(reset("2026-11-18T11:06:50Z"), 10000);
    CHECK_INT(reset("2026-11-18T11:06:50z"), 10000);
    CHECK_INT(reset("2026-11-18T11:06:50.250Z"), 10250);
    CHECK_INT(reset("2026-11-18T11:06:50.250999999Z"), 10251);
    CHECK_INT(reset("2026-11-18T11:06:50+00:00"), 10000);
    CHECK_INT(reset("2026-11-18T13:36:50+02:30"), 10000);
    CHECK_INT(reset("2026-11-18T03:06:50-08:00"), 10000);
    CHECK_INT(reset("2027-11-18T11:06:50Z"), RETRY_AFTER_CAP);
}

TEST(a_reset_that_is_over_says_nothing)
{
    CHECK(reset("2026-11-18T11:06:40Z") == NONE);
    CHECK(reset("2020-11-18T11:06:50Z") == NONE);
    CHECK(reset("0") == NONE);
    CHECK(reset("0s") == NONE);
}

TEST(a_reset_that_makes_no_sense_says_nothing)
{
    CHECK(reset("") == NONE);
    CHECK(reset("-5s") == NONE);
    CHECK(reset("5 parsecs") == NONE);
    CHECK(reset("5s and a bit") == NONE);
    CHECK(reset("1m5") == NONE);
    CHECK(reset("2026-11-18T11:06:50") == NONE);
    CHECK(reset("2026-11-18T11:06:50.Z") == NONE);
    CHECK(reset("2026-11-18T11:06:50+0200") == NONE);
    CHECK(reset("2026-11-18T11:06:50-0a:00") == NONE);
    CHECK(reset("2026-11-18T11:06:50-02x00") == NONE);
    CHECK(reset("2026-11-18T11:06:50-02:000") == NONE);
    CHECK(reset("2026-11-18T11:06:50-02:0") == NONE);
    CHECK(reset("2026-11-18T11:06:50Zz") == NONE);
    CHECK(reset("2026-13-18T11:06:50Z") == NONE);
    CHECK(reset("2026-11-18 11:06:50Z") == NONE);
    CHECK(SPENT("x-ratelimit-remaining-tokens", "0") == NONE);
}

/* ---- the whole answer ----------------------------------------------------------------------- */

TEST(prose_of_providers_is_understood)
{
    CHECK_INT(body("Rate limit reached. Please try again in 644ms."), 644);
    CHECK_INT(body("Please try again in 1.574s. Visit"), 1574);
    CHECK_INT(body("Please try again in 1m12s."), 72000);
    CHECK_INT(body("Please try again in 20s"), 20000);
    CHECK_INT(body("Please retry in 34.4s."), 34400);
    CHECK_INT(body("Please retry after 6 seconds."), 6000);
    CHECK_INT(body("Please Retry After 1 second."), 1000);
    CHECK_INT(body("Try again in 2 minutes"), 120000);
    CHECK_INT(body("try again in 1 hour"), RETRY_AFTER_CAP);
    CHECK_INT(body("Your quota will reset after 21s."), 21000);
    CHECK_INT(body("try again in 114h18m0s"), RETRY_AFTER_CAP);
    CHECK(body("try again in a while") == NONE);
    CHECK(body("try again in 1 month") == NONE);
    CHECK(body("try again in 5") == NONE);
    CHECK(body("") == NONE);
}

TEST(what_stands_behind_a_duration_is_none_of_it)
{
    CHECK_INT(body("try again in 20s 5 times"), 20000);
    CHECK_INT(body("try again in 20s5 6s"), 20000);
}

TEST(retry_info_of_gemini_is_understood)
{
    CHECK_INT(body("{\"retryDelay\": \"37s\"}"), 37000);
    CHECK_INT(body("{\"retryDelay\":\"0.5s\"}"), 500);
    CHECK_INT(body("{\"retryDelay\" :\n \"34.074824224s\"}"), 34075);
    CHECK(body("{\"retryDelay\": 137s}") == NONE);
    CHECK(body("{\"retryDelay\": \"-1s\"}") == NONE);
    CHECK(body("\"retryDelay\"") == NONE);
}

TEST(what_is_asked_for_goes_before_what_is_spent_and_prose_comes_last)
{
    static const char both[] = "{\"message\": \"try again in 4s\", \"retryDelay\": \"3s\"}";
    static const char prose[] = "{\"message\": \"try again in 4s\"}";

    CHECK_INT(retry_after_read(1, 2, span_of(both)), 1);
    CHECK_INT(retry_after_read(NONE, 2, span_of(both)), 3000);
    CHECK_INT(retry_after_read(NONE, 2, span_of(prose)), 2);
    CHECK_INT(retry_after_read(NONE, NONE, span_of(prose)), 4000);
    CHECK_INT(retry_after_read(0, 2, span_of(both)), 0);
}

TEST(what_we_tell_is_whole_seconds_that_sdks_obey)
{
    CHECK_INT(retry_after_seconds(0), 1);
    CHECK_INT(retry_after_seconds(1000), 1);
    CHECK_INT(retry_after_seconds(1001), 2);
    CHECK_INT(retry_after_seconds(300000), 55);
}

TEST_MAIN()
