/* check.h - how our unit tests read: TEST(what_it_promises) { situation; one act; CHECK(...); }
 *
 * A thin face over cmocka. Tests register themselves; TEST_MAIN() at the end of the file runs them.
 */
#ifndef HOLDFAST_TESTS_CHECK_H
#define HOLDFAST_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/span.h"

static struct CMUnitTest check_tests[512];
static size_t check_count;

#define TEST(name)                                                                                 \
    static void name(void **);                                                                     \
    __attribute__((constructor)) static void register_##name(void)                                 \
    {                                                                                              \
        check_tests[check_count++] = (struct CMUnitTest){#name, name, NULL, NULL, NULL};           \
    }                                                                                              \
    static void name(void **check_state __attribute__((unused)))

#define CHECK(condition)     assert_true(condition)
#define CHECK_INT(got, want) assert_int_equal((got), (want))
#define CHECK_STR(got, want) assert_string_equal((got), (want))
#define CHECK_SPAN(got, want)                                                                      \
    do {                                                                                           \
        struct span check_got = (got);                                                             \
        if (!span_is(check_got, (want)))                                                           \
            fail_msg("got \"%.*s\", want \"%s\"", SPAN_ARG(check_got), (want));                    \
    } while (0)

#define TEST_MAIN()                                                                                \
    int main(void)                                                                                 \
    {                                                                                              \
        return _cmocka_run_group_tests(__FILE__, check_tests, check_count, NULL, NULL);            \
    }

#endif
