#include "tests/unit/check.h"

#include "proxy/ops/status_table.h"

static char mem[1 << 16];
static bool served;

static const char *table_of(const char *document, struct status_style style)
{
    struct strbuf out = strbuf_on(mem, sizeof(mem));
    struct err e = {0};

    if (status_table(span_of(document), &style, &out, &served, &e) != 0)
        fail_msg("%s", e.msg);
    CHECK(!out.failed);
    return mem;
}

#define HEAD                                                                                       \
    "{\"version\": \"1.2\", \"uptime_ms\": 7500000, \"config\": \"x.yaml\", "                      \
    "\"listeners\": [\"http://127.0.0.1:8090\"], \"requests\": 12345, \"requests_ok\": 12344, "    \
    "\"in_flight\": 2, "

static const char document[] =
    HEAD "\"targets\": ["
         "{\"target\": \"a/m\", \"breaker\": \"open\", \"scope\": \"endpoint\", \"why\": "
         "\"bad_gateway\", \"may_be_asked\": false, \"retry_ms\": 4200, \"failures_in_a_row\": 5, "
         "\"in_flight\": 1, \"attempts\": 12, \"failures\": 6, \"last_error\": \"it said: "
         "\\u001b[2J\\u00e9\", \"last_error_age_ms\": 65000, \"input_tokens\": 2500000, "
         "\"output_tokens\": 0},"
         "{\"target\": \"b/a-longer-name\", \"breaker\": \"half_open\", \"scope\": \"model\", "
         "\"why\": \"empty\", \"may_be_asked\": true, \"limit\": 20, \"in_flight\": 3, "
         "\"first_token_p50_ms\": 310, \"first_token_p95_ms\": 12345, \"answer_p95_ms\": 9},"
         "{\"target\": \"c\", \"breaker\": \"closed\", \"may_be_asked\": true, \"slow\": true, "
         "\"answer_p50_ms\": 1500, \"answer_p95_ms\": 300000}],"
         "\"routes\": ["
         "{\"route\": \"gpt-*\", \"targets\": [\"a/m\", \"c\"], \"may_be_asked\": 1},"
         "{\"route\": \"o3\", \"targets\": [\"a/m\"], \"may_be_asked\": 0},"
         "{\"route\": \"fine\", \"targets\": [\"c\"], \"may_be_asked\": 1}],"
         "\"resting_keys\": [{\"provider\": \"g\", \"model\": \"pro\", \"key\": 1, \"why\": "
         "\"quota\", \"rest_ms\": 60000}]}";

TEST(the_table_tells_what_is_wrong_first_and_then_of_each_target)
{
    CHECK_STR(table_of(document, (struct status_style){0}),
              "holdfast 1.2, up 2 h, x.yaml, http://127.0.0.1:8090\n"
              "12.3k requests, 12.3k of them answered (99.9 %); 2 under way\n"
              "route gpt-*: 1 of 2 targets are out\n"
              "route o3 CANNOT BE SERVED: its only target is out\n"
              "key 2 of g for pro rests for 60 s: quota\n"
              "\n"
              "TARGET           STATE                 BUSY      P50      P95  CALLS  FAILED  "
              "TOKENS IN  OUT\n"
              "a/m              DOWN, again in 4.2 s     1        -        -     12       6       "
              "2.5M    0\n"
              "    its endpoint: bad_gateway, 5 failures in a row\n"
              "    65 s ago: it said: \\x1b[2J\xc3\xa9\n"
              "b/a-longer-name  trying again          3/20   310 ms     12 s      0       0        "
              "  0    0\n"
              "    its model: empty\n"
              "c                slow, asked last         0  (1.5 s)  (5 min)      0       0        "
              "  0    0\n"
              "\n"
              "BUSY: calls under way, of how many at once. P50, P95: time to the first token of\n"
              "streams; in brackets of whole answers. Below a target: the last error.\n");
    CHECK(!served);
}

TEST(routes_that_can_all_be_served_are_not_listed)
{
    table_of(HEAD "\"targets\": [], \"routes\": [{\"route\": \"a\", \"targets\": [\"x\"], "
                  "\"may_be_asked\": 1}, {\"route\": \"b\", \"targets\": [\"x\"], "
                  "\"may_be_asked\": 1}]}",
             (struct status_style){0});
    CHECK(strstr(mem, "\nall 2 routes can be served\n") != NULL);
    CHECK(strstr(mem, "route a") == NULL);
    CHECK(served);
}

TEST(colours_are_for_who_wants_them_and_long_errors_end_at_the_edge)
{
    table_of(document, (struct status_style){.colour = true, .width = 24});
    CHECK(strstr(mem, "\033[1;31mDOWN, again in 4.2 s\033[0m") != NULL);
    CHECK(strstr(mem, "    \033[2m65 s ago: it said: …\033[0m\n") != NULL);
    table_of(document, (struct status_style){0});
    CHECK(strchr(mem, '\033') == NULL);
}

TEST(what_is_no_status_is_refused)
{
    static const char *const wrong[] = {"", "<html>", "[]", "{}", "{\"targets\": [}", "null"};
    struct strbuf out = strbuf_on(mem, sizeof(mem));

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct err e = {0};

        CHECK_INT(status_table(span_of(wrong[i]), &(struct status_style){0}, &out, &served, &e),
                  -1);
        CHECK_INT(out.len, 0);
    }
}

/* Nothing that an answer leaves out, or has in another type, is read astray. */
TEST(a_document_cut_anywhere_or_of_other_types_does_no_harm)
{
    struct err e;

    for (size_t n = 0; n < sizeof(document); n++) {
        struct strbuf out = strbuf_on(mem, sizeof(mem));
        int rc =
            status_table((struct span){document, n}, &(struct status_style){0}, &out, &served, &e);

        CHECK_INT(rc, n == sizeof(document) - 1 ? 0 : -1);
    }
    table_of("{\"targets\": {\"x\": 1}, \"routes\": 7, \"resting_keys\": \"x\", \"requests\": -1}",
             (struct status_style){0});
    table_of("{\"targets\": [1, null, {\"target\": [2], \"retry_ms\": \"x\"}], \"routes\": [3]}",
             (struct status_style){0});
}

TEST_MAIN()
