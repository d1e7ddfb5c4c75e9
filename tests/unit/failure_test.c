#include "providers/failure.h"

#include "tests/unit/check.h"

TEST(every_kind_has_a_row_of_its_own)
{
    for (unsigned i = 0; i < FAILURE_KINDS; i++) {
        const struct failure_row *row = failure_row((enum failure)i);

        CHECK(row->name != NULL && row->label != NULL && row->text != NULL);
        for (unsigned k = 0; k < i; k++)
            CHECK(strcmp(row->label, failure_row((enum failure)k)->label) != 0);
    }
    CHECK_STR(failure_row(SERVER_ERROR)->name, "SERVER_ERROR");
    CHECK_STR(failure_row(SERVER_ERROR)->label, "server_error");
    CHECK_STR(failure_row(CLIENT_GONE)->label, "client_gone");
}

TEST(labels_fit_the_trail_and_the_metrics)
{
    for (unsigned i = 0; i < FAILURE_KINDS; i++)
        for (const char *p = failure_row((enum failure)i)->label; *p != '\0'; p++)
            CHECK((*p >= 'a' && *p <= 'z') || *p == '_');
}

TEST(only_a_success_is_neither_an_error_nor_worth_telling)
{
    for (unsigned i = 0; i < FAILURE_KINDS; i++) {
        enum failure f = (enum failure)i;

        CHECK((failure_rank(f) == 0) == (f == FAILURE_NONE));
        CHECK((failure_status(f, 500) < 400) == (f == FAILURE_NONE));
    }
}

TEST(a_fault_of_the_caller_or_of_ours_never_moves_a_breaker)
{
    static const enum failure neutral[] = {BAD_REQUEST, CONTEXT_LENGTH, POLICY,      TOO_LARGE,
                                           LOCAL,       CLIENT_GONE,    CLIENT_ERROR};

    for (size_t i = 0; i < sizeof(neutral) / sizeof(neutral[0]); i++) {
        CHECK_INT(failure_row(neutral[i])->blame, NEUTRAL);
        CHECK(failure_row(neutral[i])->next != NEXT_YES);
    }
    CHECK_INT(failure_row(RATE_LIMITED)->blame, THROTTLE);
    CHECK_INT(failure_row(AUTH)->blame, REST_KEY);
    CHECK_INT(failure_row(TRUNCATED)->blame, BLAME_MODEL);
}

TEST(a_client_sees_the_providers_status_where_it_can_act_on_it)
{
    CHECK_INT(failure_status(BAD_REQUEST, 400), 400);
    CHECK_INT(failure_status(CLIENT_ERROR, 422), 422);
    CHECK_INT(failure_status(UNSUPPORTED, 400), 400);
    CHECK_INT(failure_status(UNSUPPORTED, 501), 502);
    CHECK_INT(failure_status(SERVER_ERROR, 500), 502);
    CHECK_INT(failure_status(SERVER_ERROR, 503), 503);
    CHECK_INT(failure_status(SERVER_ERROR, 504), 504);
    CHECK_INT(failure_status(SERVER_ERROR, 524), 502);
    CHECK_INT(failure_status(SERVER_ERROR, 0), 502);
    CHECK_INT(failure_status(CONFLICT, 409), 409);
}

TEST(our_credentials_failing_never_looks_like_the_clients_own)
{
    CHECK_INT(failure_status(AUTH, 401), 502);
    CHECK_INT(failure_status(FORBIDDEN, 403), 502);
    CHECK_INT(failure_status(QUOTA, 402), 503);
    CHECK_INT(failure_status(QUOTA, 429), 503);
}

TEST(what_the_client_can_mend_is_told_before_what_it_can_wait_for)
{
    CHECK(failure_rank(BAD_REQUEST) > failure_rank(RATE_LIMITED));
    CHECK(failure_rank(RATE_LIMITED) > failure_rank(SERVER_ERROR));
    CHECK(failure_rank(SERVER_ERROR) > failure_rank(SKIPPED_OPEN));
    CHECK(failure_rank(SKIPPED_REST) > failure_rank(MODEL_GONE));
    CHECK(failure_rank(MODEL_GONE) > failure_rank(AUTH));
}

TEST(the_manual_has_one_line_for_every_kind)
{
    struct strbuf out = strbuf_heap(1 << 16);
    unsigned lines = 0;

    failure_manual(&out);
    CHECK(!out.failed);
    for (size_t i = 0; i < out.len; i++)
        lines += out.buf[i] == '\n';
    CHECK_INT(lines, 6 + FAILURE_KINDS);
    CHECK(strstr(
              out.buf,
              "| the provider answered with a server error | `server_error` | once, "
              "after 100 to 300 ms, if it does well otherwise | yes | breaker of the model there | "
              "`holdfast_breaker_state{scope=\"model\"}` | the provider's 4xx, 503 or "
              "504, else 502 | true |\n") != NULL);
    CHECK(strstr(out.buf, "| the provider refuses our key | `auth` | with another key | yes | the "
                          "key rests | `/status`: resting_keys | 502 | false |\n") != NULL);
    strbuf_release(&out);
}

TEST_MAIN()
