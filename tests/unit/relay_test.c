#include "proxy/relay.h"

#include "tests/unit/world.h"

/* The second keeps the client's own model name. */
#define KEEPS                                                                                      \
    HEALTH "retry_budget: {capacity: 100}\n" PROVIDERS PROVIDER("a", "k0") PROVIDER("b", "k0")     \
        ROUTE("a/x, b")

#define MODEL SPAN("gpt-4o")

static char text[8192];

static const char *trail(const struct world *w)
{
    struct strbuf out = strbuf_on(text, sizeof(text));

    relay_trail(&w->f, MODEL, w->now, &out);
    return text;
}

static const char *fields(const struct world *w, int served, struct span model)
{
    struct strbuf out = strbuf_on(text, sizeof(text));

    relay_fields(&w->f, served, model, w->now, &out);
    CHECK(!out.failed);
    return text;
}

static const char *retry_fields(const struct world *w)
{
    struct strbuf out = strbuf_on(text, sizeof(text));

    relay_retry_fields(&w->f, &out);
    return text;
}

static struct chat_error error_of(const struct world *w, const char *said)
{
    struct chat_error theirs = {.status = 400, .type = "invalid_request_error", .param = "n"};
    struct chat_error out;

    if (said != NULL)
        snprintf(theirs.message, sizeof(theirs.message), "%s", said);
    relay_error(&w->f, said != NULL ? &theirs : NULL, MODEL, w->now, &out);
    return out;
}

/* ---- the trail ------------------------------------------------------------------------------ */

TEST(the_trail_names_each_attempt_its_outcome_its_status_and_its_end)
{
    struct world w = world_new(KEEPS);

    begin(&w);
    w.now += 120;
    fail_after(&w, SERVER_ERROR, 503, 60000);
    w.now += 680;
    act(&w, FAILOVER_CONNECTED);
    complete(&w);
    w.now += 1000;
    CHECK_STR(trail(&w), "a/x=server_error:503@120ms, b/gpt-4o=ok@800ms");
    world_release(&w);
}

TEST(a_failure_without_a_status_shows_none)
{
    struct world w = world_new(ONE);

    begin(&w);
    w.now += 4000;
    tick_at(&w, w.now, false);
    CHECK_STR(trail(&w), "a/x=connect_timeout@4000ms");
    world_release(&w);
}

TEST(an_answer_that_has_begun_shows_when_its_output_began)
{
    struct world w = world_new(ONE);

    begin(&w);
    w.now += 300;
    CHECK_STR(trail(&w), "a/x=pending@300ms"); /* before it: until now */
    act(&w, FAILOVER_CONNECTED);
    w.now += 200;
    act(&w, FAILOVER_OUTPUT);
    w.now += 900;
    CHECK_STR(trail(&w), "a/x=ok@500ms");
    world_release(&w);
}

TEST(targets_that_were_passed_over_and_the_requests_own_end_are_lines_too)
{
    struct world w = world_new(TWO);

    w.set->targets[1].rest = (struct rest){.until_ms = T0 + 60000};
    begin(&w);
    w.now += 10;
    fail_after(&w, OVERLOADED, 0, 500);
    w.now += 5;
    act(&w, FAILOVER_GONE);
    CHECK_STR(trail(&w), "a/x=overloaded@10ms, b/x=resting@10ms, request=client_gone@15ms");
    world_release(&w);
}

TEST(without_any_attempt_the_trail_is_empty)
{
    struct world w = world_new(ONE);

    failover_init(&w.f, &w.policy, 1, 1, &w.arena);
    CHECK_STR(trail(&w), "");
    world_release(&w);
}

/* ---- header lines --------------------------------------------------------------------------- */

TEST(the_header_lines_name_who_served_and_how_many_were_asked)
{
    struct world w = world_new(KEEPS);

    begin(&w);
    w.now += 5;
    fail_after(&w, OVERLOADED, 529, RETRY_AFTER_NONE);
    complete(&w);
    CHECK_STR(fields(&w, 0, MODEL),
              "x-holdfast-provider: a\r\n"
              "x-holdfast-model: x\r\n"
              "x-holdfast-attempts: 2\r\n"
              "x-holdfast-trail: a/x=overloaded:529@5ms, b/gpt-4o=ok@5ms\r\n");
    CHECK(strncmp(fields(&w, 1, MODEL), "x-holdfast-provider: b\r\nx-holdfast-model: gpt-4o\r\n",
                  50) == 0);
    CHECK_STR(fields(&w, -1, MODEL),
              "x-holdfast-attempts: 2\r\n"
              "x-holdfast-trail: a/x=overloaded:529@5ms, b/gpt-4o=ok@5ms\r\n");
    world_release(&w);
}

TEST(the_requests_own_end_names_no_provider)
{
    struct world w = world_new(ONE);

    begin(&w);
    fail_with(&w, RESET);
    act(&w, FAILOVER_STOP);
    CHECK_INT(w.f.tries[w.f.verdict].candidate, UINT8_MAX);
    CHECK_STR(fields(&w, w.f.verdict, MODEL),
              "x-holdfast-attempts: 1\r\n"
              "x-holdfast-trail: a/x=reset@0ms, request=stopping@0ms\r\n");
    world_release(&w);
}

TEST(passed_over_targets_are_no_attempts)
{
    struct world w = world_new(TWO);

    w.set->targets[0].provider->rests[0] = (struct rest){.until_ms = T0 + 9};
    w.set->targets[0].provider->rests[1] = (struct rest){.until_ms = T0 + 9};
    begin(&w);
    CHECK(strstr(fields(&w, -1, MODEL), "x-holdfast-attempts: 1\r\n") != NULL);
    world_release(&w);
}

/* Each line is a name that we chose, ": ", printable ASCII and CR LF. */
static void check_lines(const char *s)
{
    while (*s != '\0') {
        const char *end = strstr(s, "\r\n");

        CHECK(end != NULL && strncmp(s, "x-holdfast-", 11) == 0);
        for (; s < end; s++)
            CHECK(*s >= ' ' && *s <= '~');
        s += 2;
    }
}

TEST(no_model_name_breaks_a_header_line)
{
    static const char *const models[] = {
        "x\r\nset-cookie: a=b", "x\ny", "\x01\x7f", "na\xc3\xafve", "\xff\xfe",
        "a, b=ok@1ms",          "\tx"};
    struct world w = world_new(KEEPS);

    begin(&w);
    fail_with(&w, MALFORMED);
    complete(&w);
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        check_lines(fields(&w, 1, span_of(models[i])));
        CHECK(strstr(text, "set-cookie: a=b") == NULL || strstr(text, "??set-cookie") != NULL);
    }
    check_lines(fields(&w, 1, (struct span){"a\0b", 3}));
    CHECK(strstr(text, "x-holdfast-model: a?b\r\n") != NULL);
    world_release(&w);
}

TEST(a_long_trail_is_cut_and_its_line_stays_whole)
{
    struct world w = world_new(KEEPS);
    char model[200];

    memset(model, 'm', sizeof(model));
    w.policy.max_attempts = w.policy.per_target = 16;
    begin(&w);
    fail_with(&w, MALFORMED);
    while (!w.f.ended) {
        if (w.f.live[FIRST] < 0)
            tick_at(&w, failover_due(&w.f), false);
        else
            fail_after(&w, CONFLICT, 409, 1); /* a neutral one, so that its breaker stays shut */
    }
    CHECK_INT(w.f.n_attempts, 16);
    check_lines(fields(&w, -1, (struct span){model, sizeof(model)}));
    CHECK(strlen(text) > 1800 && strlen(text) < 2200);
    world_release(&w);
}

/* ---- the error that remains -------------------------------------------------------------------
 */

TEST(the_error_names_the_target_the_reason_the_providers_words_and_the_trail)
{
    struct world w = world_new(ONE);
    struct chat_error e;

    begin(&w);
    w.now += 30;
    fail_after(&w, SERVER_ERROR, 500, 60000);
    e = error_of(&w, "boom");
    CHECK_INT(e.status, 502);
    CHECK_STR(e.code, "server_error");
    CHECK_STR(e.type, "");
    CHECK_STR(e.param, "");
    CHECK_STR(e.message, "a/x: the provider answered with a server error (boom) "
                         "[a/x=server_error:500@30ms]");
    e = error_of(&w, "");
    CHECK_STR(e.message, "a/x: the provider answered with a server error "
                         "[a/x=server_error:500@30ms]");
    e = error_of(&w, NULL);
    CHECK_STR(e.message, "a/x: the provider answered with a server error "
                         "[a/x=server_error:500@30ms]");
    world_release(&w);
}

TEST(where_the_client_can_act_on_it_the_providers_own_error_stands)
{
    static const enum failure kinds[] = {BAD_REQUEST, CONTEXT_LENGTH, POLICY,
                                         TOO_LARGE,   CLIENT_ERROR,   MODEL_GONE};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w = world_new(ONE);
        struct chat_error e;

        begin(&w);
        fail_after(&w, kinds[i], 422, RETRY_AFTER_NONE);
        e = error_of(&w, "n is too large");
        CHECK_INT(e.status, kinds[i] == MODEL_GONE ? 404 : 422);
        CHECK_STR(e.type, "invalid_request_error");
        CHECK_STR(e.param, "n");
        CHECK(strncmp(e.message, "n is too large [a/x=", 20) == 0);
        world_release(&w);
    }
}

TEST(what_is_said_of_our_keys_and_accounts_never_is_the_clients_error)
{
    static const struct {
        enum failure failure;
        unsigned upstream, status;
    } rows[] = {{AUTH, 401, 502}, {FORBIDDEN, 403, 502}, {QUOTA, 402, 503}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(ONE);
        struct chat_error e;

        begin(&w);
        fail_after(&w, rows[i].failure, rows[i].upstream, RETRY_AFTER_NONE);
        e = error_of(&w, "no");
        CHECK_INT(e.status, rows[i].status);
        CHECK_STR(e.type, "");
        CHECK_STR(e.code, failure_row(rows[i].failure)->label);
        CHECK(strncmp(e.message, "a/x: ", 5) == 0);
        world_release(&w);
    }
}

TEST(after_the_commit_the_error_is_an_interrupted_stream)
{
    struct world w = world_new(ONE);
    struct chat_error e;

    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    act(&w, FAILOVER_OUTPUT);
    fail_with(&w, TRUNCATED);
    e = error_of(&w, NULL);
    CHECK_STR(e.code, "stream_interrupted");
    CHECK_STR(e.type, "upstream_error");
    CHECK_STR(e.message, "a/x: the answer ended before its end marker [a/x=truncated@0ms]");
    world_release(&w);
}

TEST(the_deadline_is_told_as_the_requests_own)
{
    struct world w = world_new(ONE);
    struct chat_error e;

    w.policy.total_ms = 50;
    begin(&w);
    w.now += 45;
    fail_with(&w, RESET);
    e = error_of(&w, NULL);
    CHECK_INT(e.status, 504);
    CHECK_STR(e.code, "deadline");
    CHECK_STR(e.message,
              "request: the request's time was over [a/x=reset@45ms, request=deadline@45ms]");
    world_release(&w);
}

/* ---- where another one goes on ----------------------------------------------------------------
 */

static const char *seam(const struct world *w, const struct seam_join *join, bool guessed)
{
    struct strbuf out = strbuf_on(text, sizeof(text));

    relay_seam(&w->f, 0, 1, MODEL, join, 308, guessed, &out);
    CHECK(!out.failed);
    return text;
}

TEST(a_comment_marks_where_another_target_goes_on)
{
    struct world w = world_new(KEEPS);
    struct seam_join join = {.way = SEAM_TURN, .sent = {"", 1234}};

    w.ways[1] = SEAM_BIT(SEAM_TURN);
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    act(&w, FAILOVER_OUTPUT);
    step(&w, (struct failover_event){.kind = FAILOVER_FAILED,
                                     .try = w.f.live[FIRST],
                                     .failure = TRUNCATED,
                                     .retry_after_ms = RETRY_AFTER_NONE,
                                     .ways = SEAM_BIT(SEAM_TURN)});
    CHECK_ORDERS(&w, "try");
    CHECK_STR(seam(&w, &join, false), ": holdfast seam from=a/x to=b/gpt-4o reason=truncated "
                                      "way=turn at=1234 output_tokens=308\n\n");
    CHECK_STR(seam(&w, &join, true), ": holdfast seam from=a/x to=b/gpt-4o reason=truncated "
                                     "way=turn at=1234 output_tokens=~308\n\n");
    join.way = SEAM_ALIGN; /* what it was in the end */
    CHECK(strstr(seam(&w, &join, true), " way=align ") != NULL);
    join.way = SEAM_PREFILL;
    CHECK(strstr(seam(&w, &join, true), " way=prefill ") != NULL);
    world_release(&w);
}

TEST(a_models_name_cannot_end_the_comment)
{
    struct world w = world_new(KEEPS);
    struct seam_join join = {.way = SEAM_ALIGN, .sent = {"", 8}};
    struct strbuf out = strbuf_on(text, sizeof(text));

    w.ways[1] = SEAM_BIT(SEAM_ALIGN);
    begin(&w);
    act(&w, FAILOVER_CONNECTED);
    act(&w, FAILOVER_OUTPUT);
    step(&w, (struct failover_event){.kind = FAILOVER_FAILED,
                                     .try = w.f.live[FIRST],
                                     .failure = RESET,
                                     .retry_after_ms = RETRY_AFTER_NONE,
                                     .ways = SEAM_BIT(SEAM_ALIGN)});
    relay_seam(&w.f, 0, 1, SPAN("m\n\ndata: x"), &join, 2, true, &out);
    CHECK_STR(text, ": holdfast seam from=a/x to=b/m??data: x reason=reset way=align at=8 "
                    "output_tokens=~2\n\n");
    world_release(&w);
}

TEST(an_error_that_is_too_long_is_cut_and_stays_text)
{
    struct world w = world_new(ONE);
    struct chat_error e;
    char said[1024];

    memset(said, 's', sizeof(said));
    said[sizeof(said) - 1] = '\0';
    begin(&w);
    fail_after(&w, BAD_REQUEST, 400, RETRY_AFTER_NONE);
    e = error_of(&w, said);
    CHECK(strncmp(e.message, said, 500) == 0);
    CHECK_STR(e.message + 500, " [a/x=bad_request:400@0ms]");
    world_release(&w);

    w = world_new(ONE);
    begin(&w);
    fail_after(&w, MALFORMED, 200, RETRY_AFTER_NONE);
    e = error_of(&w, said);
    CHECK(strstr(e.message, "sss) [a/x=malformed:200@0ms]") != NULL);
    CHECK(strlen(e.message) < 300); /* of the provider's words 200 characters */
    world_release(&w);
}

/* ---- when to come again -------------------------------------------------------------------------
 */

TEST(whether_and_when_to_come_again_is_told_where_waiting_helps)
{
    static const struct {
        enum failure failure;
        uint64_t retry_after_ms;
        const char *want;
    } rows[] = {
        {RATE_LIMITED, 2600, "x-should-retry: true\r\nretry-after: 3\r\nretry-after-ms: 2600\r\n"},
        {RATE_LIMITED, RETRY_AFTER_NONE,
         "x-should-retry: true\r\nretry-after: 1\r\nretry-after-ms: 1000\r\n"},
        {SERVER_ERROR, RETRY_AFTER_NONE, "x-should-retry: true\r\n"},
        {OVERLOADED, 90000, "x-should-retry: true\r\nretry-after: 55\r\nretry-after-ms: 55000\r\n"},
        {RATE_LIMITED, 54999,
         "x-should-retry: true\r\nretry-after: 55\r\nretry-after-ms: 54999\r\n"},
        {AUTH, 2600, "x-should-retry: false\r\n"},
        {BAD_REQUEST, RETRY_AFTER_NONE, "x-should-retry: false\r\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(ONE);

        w.policy.per_target = 1;
        begin(&w);
        fail_after(&w, rows[i].failure, 0, rows[i].retry_after_ms);
        CHECK_ORDERS(&w, "refuse");
        CHECK_STR(retry_fields(&w), rows[i].want);
        world_release(&w);
    }
}

TEST_MAIN()
