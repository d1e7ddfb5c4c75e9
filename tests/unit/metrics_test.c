#include "tests/unit/check.h"

#include <pthread.h>
#include <unistd.h>

#include "proxy/ops/metrics.h"

static const char *const routes[] = {"gpt-4o", "fast-*"};
static const char *const dialects[] = {"openai_chat", "anthropic_messages"};
static const struct metrics_target_label targets[] = {
    {"openai", "gpt-4o"}, {"claude", "claude-sonnet-4-5"}, {"local", NULL}};
static const struct metrics_labels labels = {
    .routes = routes,
    .n_routes = 2,
    .dialects = dialects,
    .n_dialects = 2,
    .targets = targets,
    .n_targets = 3,
    .start_wall_ms = 1767225600250,
};

static void some_state(void *ctx, size_t target, struct metrics_target_now *out)
{
    (void)ctx;
    *out = (struct metrics_target_now){
        .breaker = {METRICS_CLOSED, (enum metrics_breaker)(target % 3), METRICS_CLOSED},
        .in_flight = target * 7,
        .limit = target,
        .may_be_asked = target != 1,
        .retry_tokens = (double)target * 1.5,
    };
}

static size_t some_available(void *ctx, size_t route)
{
    (void)ctx;
    return route * 2;
}

static const struct metrics_now now = {NULL, some_state, some_available, 3, 12345, true};

/* The page; valid until the next call. */
static const char *page(const struct metrics *m)
{
    static struct strbuf out;

    strbuf_release(&out);
    out = strbuf_heap(16 << 20);
    metrics_write(m, &now, &out);
    CHECK(!out.failed);
    return out.buf;
}

static bool has(const char *text, const char *line)
{
    size_t n = strlen(line);

    for (const char *p = text; (p = strstr(p, line)) != NULL; p++)
        if ((p == text || p[-1] == '\n') && p[n] == '\n')
            return true;
    return false;
}

/* A strict reader of the text format 0.0.4 ------------------------------------------------------
 */

struct series {
    char name[128], labels[1024];
    double value;
};

static struct series seen[20000];
static size_t n_seen;

static bool is_name(const char *p, size_t n)
{
    if (n == 0 || (p[0] >= '0' && p[0] <= '9'))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z') || p[i] == '_' ||
              p[i] == ':' || (p[i] >= '0' && p[i] <= '9')))
            return false;
    return true;
}

/* Reads {a="b",c="d"} and returns what follows. */
static const char *read_labels(const char *p)
{
    do {
        const char *equals = strchr(p, '=');

        CHECK(equals != NULL && is_name(p + 1, (size_t)(equals - p - 1)) && equals[1] == '"');
        for (p = equals + 2; *p != '"'; p++) {
            CHECK((unsigned char)*p >= ' ');
            if (*p == '\\')
                CHECK(*++p == '\\' || *p == '"' || *p == 'n');
        }
        p++;
    } while (*p == ',');
    CHECK(*p == '}');
    return p + 1;
}

static void read_sample(const char *line, const char *family, const char *type)
{
    size_t n = strcspn(line, "{ ");
    const char *p = line + n, *suffix = line + strlen(family);
    struct series *s = &seen[n_seen++];
    char *end;

    CHECK(n_seen < sizeof(seen) / sizeof(seen[0]));
    CHECK(is_name(line, n) && strncmp(line, family, strlen(family)) == 0);
    if (strcmp(type, "histogram") == 0)
        CHECK(strncmp(suffix, "_bucket{", 8) == 0 || strncmp(suffix, "_sum", 4) == 0 ||
              strncmp(suffix, "_count", 6) == 0);
    else
        CHECK(*suffix == '{' || *suffix == ' ');
    if (*p == '{')
        p = read_labels(p);
    CHECK(p - line - n < (ptrdiff_t)sizeof(s->labels) && n < sizeof(s->name));
    snprintf(s->name, sizeof(s->name), "%.*s", (int)n, line);
    snprintf(s->labels, sizeof(s->labels), "%.*s", (int)((size_t)(p - line) - n), line + n);
    CHECK(*p == ' ');
    s->value = strtod(p + 1, &end);
    CHECK(*end == '\0' && end > p + 1);
    for (struct series *other = seen; other < s; other++)
        if (strcmp(other->name, s->name) == 0 && strcmp(other->labels, s->labels) == 0)
            fail_msg("twice: %s%s", s->name, s->labels);
}

/* Within a histogram the buckets grow and the last is the count. */
static void check_histograms(void)
{
    double before = 0;

    for (size_t i = 0; i < n_seen; i++) {
        size_t n = strlen(seen[i].name);

        if (n > 7 && strcmp(seen[i].name + n - 7, "_bucket") == 0) {
            CHECK(seen[i].value >= before);
            before = seen[i].value;
            if (strstr(seen[i].labels, "le=\"+Inf\"") != NULL) {
                CHECK(seen[i + 2].value == seen[i].value);
                CHECK(strstr(seen[i + 2].name, "_count") != NULL);
                before = 0;
            }
        }
    }
}

static void check_page(const char *text)
{
    char line[4096], family[128] = "", type[16] = "", helped[128] = "";

    n_seen = 0;
    CHECK(text[strlen(text) - 1] == '\n');
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");

        CHECK(n > 0 && n < sizeof(line));
        memcpy(line, text, n);
        line[n] = '\0';
        text += n + 1;
        if (strncmp(line, "# HELP ", 7) == 0) {
            CHECK_INT(sscanf(line, "# HELP %127s", helped), 1);
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            CHECK_INT(sscanf(line, "# TYPE %127s %15s", family, type), 2);
            CHECK_STR(family, helped);
            for (size_t i = 0; i < n_seen; i++)
                CHECK(strcmp(seen[i].name, family) != 0);
            if (strcmp(type, "counter") == 0)
                CHECK(strcmp(family + strlen(family) - 6, "_total") == 0);
        } else {
            CHECK(line[0] != '#');
            read_sample(line, family, type);
        }
    }
    check_histograms();
}

/* The tests -------------------------------------------------------------------------------------
 */

TEST(an_unused_registry_is_a_valid_page_with_ok_at_zero)
{
    struct metrics *m = metrics_new(&labels);
    const char *text = page(m);

    check_page(text);
    CHECK(has(text, "holdfast_requests_total{route=\"fast-*\",dialect=\"openai_chat\","
                    "outcome=\"ok\"} 0"));
    CHECK(has(text, "holdfast_attempts_total{provider=\"local\",model=\"*\",outcome=\"ok\"} 0"));
    CHECK(strstr(text, "server_error") == NULL && strstr(text, "none") == NULL);
    CHECK(strstr(text, "holdfast_failovers_total{") == NULL);
    metrics_free(m);
    metrics_free(NULL);
}

TEST(every_metric_of_the_contract_is_there)
{
    static const char *const names[] = {
        "holdfast_requests_total",
        "holdfast_request_duration_seconds",
        "holdfast_time_to_first_token_seconds",
        "holdfast_overhead_seconds",
        "holdfast_attempts_total",
        "holdfast_failovers_total",
        "holdfast_breaker_state",
        "holdfast_midstream_total",
        "holdfast_retry_budget_tokens",
        "holdfast_target_available",
        "holdfast_route_available_targets",
        "holdfast_in_flight",
        "holdfast_tokens_total",
        "holdfast_replays_total",
        "holdfast_kept_answers",
        "holdfast_kept_answer_bytes",
        "holdfast_build_info",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    };
    struct metrics *m = metrics_new(&labels);
    const char *text = page(m);

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char want[128];

        snprintf(want, sizeof(want), "\n# TYPE %s ", names[i]);
        CHECK(strstr(text, want) != NULL);
    }
    metrics_free(m);
}

TEST(a_request_counts_once_under_its_labels)
{
    struct metrics *m = metrics_new(&labels);
    const char *text;

    metrics_request(m, 0, 1, FAILURE_NONE, 1250000);
    metrics_request(m, 0, 1, FAILURE_NONE, 700000000);
    metrics_request(m, 0, 1, SERVER_ERROR, 50000);
    metrics_request(m, METRICS_NONE, 7, BAD_REQUEST, 1);
    text = page(m);
    check_page(text);
    CHECK(has(text, "holdfast_requests_total{route=\"gpt-4o\",dialect=\"anthropic_messages\","
                    "outcome=\"ok\"} 2"));
    CHECK(has(text, "holdfast_requests_total{route=\"gpt-4o\",dialect=\"anthropic_messages\","
                    "outcome=\"server_error\"} 1"));
    CHECK(has(text, "holdfast_requests_total{route=\"none\",dialect=\"none\","
                    "outcome=\"bad_request\"} 1"));
    CHECK(has(text, "holdfast_request_duration_seconds_bucket{route=\"gpt-4o\",le=\"0.05\"} 1"));
    CHECK(has(text, "holdfast_request_duration_seconds_bucket{route=\"gpt-4o\",le=\"1\"} 1"));
    CHECK(has(text, "holdfast_request_duration_seconds_bucket{route=\"gpt-4o\",le=\"2\"} 2"));
    CHECK(has(text, "holdfast_request_duration_seconds_bucket{route=\"gpt-4o\",le=\"600\"} 2"));
    CHECK(has(text, "holdfast_request_duration_seconds_bucket{route=\"gpt-4o\",le=\"+Inf\"} 3"));
    CHECK(has(text, "holdfast_request_duration_seconds_sum{route=\"gpt-4o\"} 701.3"));
    CHECK(has(text, "holdfast_request_duration_seconds_count{route=\"gpt-4o\"} 3"));
    metrics_free(m);
}

TEST(attempts_first_tokens_overhead_and_tokens_are_counted_per_target)
{
    struct metrics *m = metrics_new(&labels);
    const char *text;

    metrics_attempt(m, 0, OVERLOADED, 120000);
    metrics_attempt(m, 1, FAILURE_NONE, 800000);
    metrics_first_token(m, 1, 310000);
    metrics_overhead(m, 37);
    metrics_tokens(m, 1, &(struct chat_usage){true, 100, 20, 64, 5});
    metrics_tokens(m, 1, &(struct chat_usage){true, 1, 2, 3, 4});
    metrics_tokens(m, 1, &(struct chat_usage){false, 1000, 1000, 1000, 1000});
    text = page(m);
    check_page(text);
    CHECK(has(text, "holdfast_attempts_total{provider=\"openai\",model=\"gpt-4o\","
                    "outcome=\"overloaded\"} 1"));
    CHECK(has(text, "holdfast_attempt_duration_seconds_sum{provider=\"openai\",model=\"gpt-4o\"} "
                    "0.12"));
    CHECK(has(text, "holdfast_time_to_first_token_seconds_bucket{provider=\"claude\","
                    "model=\"claude-sonnet-4-5\",le=\"0.25\"} 0"));
    CHECK(has(text, "holdfast_time_to_first_token_seconds_bucket{provider=\"claude\","
                    "model=\"claude-sonnet-4-5\",le=\"0.5\"} 1"));
    CHECK(strstr(text, "first_token_seconds_count{provider=\"openai\"") == NULL);
    CHECK(has(text, "holdfast_overhead_seconds_bucket{le=\"0.000025\"} 0"));
    CHECK(has(text, "holdfast_overhead_seconds_bucket{le=\"0.00005\"} 1"));
    CHECK(has(text, "holdfast_overhead_seconds_sum 0.000037"));
    CHECK(has(text, "holdfast_tokens_total{provider=\"claude\",model=\"claude-sonnet-4-5\","
                    "kind=\"input\"} 101"));
    CHECK(has(text, "holdfast_tokens_total{provider=\"claude\",model=\"claude-sonnet-4-5\","
                    "kind=\"reasoning\"} 9"));
    metrics_free(m);
}

TEST(a_value_on_a_bound_belongs_below_it)
{
    struct metrics *m = metrics_new(&labels);
    const char *text;

    metrics_overhead(m, 10);
    metrics_overhead(m, 11);
    text = page(m);
    CHECK(has(text, "holdfast_overhead_seconds_bucket{le=\"0.00001\"} 1"));
    CHECK(has(text, "holdfast_overhead_seconds_bucket{le=\"0.000025\"} 2"));
    metrics_free(m);
}

TEST(failovers_are_written_as_they_happen)
{
    struct metrics *m = metrics_new(&labels);
    const char *text;

    metrics_failover(m, 0, 1, SERVER_ERROR);
    metrics_failover(m, 0, 1, SERVER_ERROR);
    metrics_failover(m, 0, 1, FIRST_TOKEN);
    metrics_failover(m, 1, 2, SERVER_ERROR);
    metrics_midstream(m, MIDSTREAM_ALIGNED);
    text = page(m);
    check_page(text);
    CHECK(has(text, "holdfast_failovers_total{from=\"openai/gpt-4o\","
                    "to=\"claude/claude-sonnet-4-5\",reason=\"server_error\"} 2"));
    CHECK(has(text, "holdfast_failovers_total{from=\"openai/gpt-4o\","
                    "to=\"claude/claude-sonnet-4-5\",reason=\"first_token_timeout\"} 1"));
    CHECK(has(text, "holdfast_failovers_total{from=\"claude/claude-sonnet-4-5\",to=\"local\","
                    "reason=\"server_error\"} 1"));
    CHECK(has(text, "holdfast_midstream_total{result=\"aligned\"} 1"));
    CHECK(has(text, "holdfast_midstream_total{result=\"error\"} 0"));
    metrics_free(m);
}

TEST(more_sorts_of_failover_than_there_is_room_for_lose_their_names_only)
{
    static struct metrics_target_label many[200];
    static char names[200][8];
    struct metrics_labels big = labels;
    struct metrics *m;
    double total = 0;

    for (size_t i = 0; i < 200; i++) {
        snprintf(names[i], sizeof(names[i]), "p%zu", i);
        many[i] = (struct metrics_target_label){names[i], "m"};
    }
    big.targets = many;
    big.n_targets = 200;
    m = metrics_new(&big);
    for (size_t from = 0; from < 200; from++)
        for (size_t to = 0; to < 200; to++)
            metrics_failover(m, from, to, RESET);
    check_page(page(m));
    for (size_t i = 0; i < n_seen; i++)
        if (strcmp(seen[i].name, "holdfast_failovers_total") == 0)
            total += seen[i].value;
    CHECK_INT((int)total, 200 * 200);
    CHECK(strstr(page(m), "{from=\"other\",to=\"other\",reason=\"reset\"} ") != NULL);
    metrics_free(m);
}

TEST(gauges_are_what_the_callback_says)
{
    struct metrics *m = metrics_new(&labels);
    const char *text = page(m);
    struct strbuf bare = strbuf_heap(1 << 20);

    CHECK(has(text, "holdfast_breaker_state{target=\"openai/gpt-4o\",scope=\"model\"} 0"));
    CHECK(has(text, "holdfast_breaker_state{target=\"local\",scope=\"endpoint\"} 2"));
    CHECK(has(text, "holdfast_concurrency_limit{target=\"claude/claude-sonnet-4-5\"} 1"));
    CHECK(has(text, "holdfast_in_flight{target=\"claude/claude-sonnet-4-5\"} 7"));
    CHECK(has(text, "holdfast_target_available{target=\"openai/gpt-4o\"} 1"));
    CHECK(has(text, "holdfast_target_available{target=\"claude/claude-sonnet-4-5\"} 0"));
    CHECK(has(text, "holdfast_route_available_targets{route=\"gpt-4o\"} 0"));
    CHECK(has(text, "holdfast_route_available_targets{route=\"fast-*\"} 2"));
    CHECK(has(text, "holdfast_retry_budget_tokens{target=\"claude/claude-sonnet-4-5\"} 1.500"));
    CHECK(has(text, "holdfast_kept_answers 3"));
    CHECK(has(text, "holdfast_kept_answer_bytes 12345"));
    CHECK(has(text, "holdfast_config_last_reload_successful 0"));
    metrics_write(m, NULL, &bare);
    CHECK(strstr(bare.buf, "breaker_state") == NULL);
    check_page(bare.buf);
    strbuf_release(&bare);
    metrics_free(m);
}

TEST(odd_names_make_a_valid_page_and_twins_share_a_series)
{
    static const char *const odd_routes[] = {"a\"b\\c", "new\nline", "caf\xc3\xa9", "\xff", "same",
                                             "same",    ""};
    static const struct metrics_target_label odd_targets[] = {
        {"p", "m"}, {"p", "m"}, {"p", NULL}, {"q\"", "\x01"}};
    struct metrics_labels odd = labels;
    struct metrics *m;
    const char *text;

    odd.routes = odd_routes;
    odd.n_routes = 7;
    odd.targets = odd_targets;
    odd.n_targets = 4;
    m = metrics_new(&odd);
    metrics_request(m, 4, 0, FAILURE_NONE, 1);
    metrics_request(m, 5, 0, FAILURE_NONE, 1);
    metrics_attempt(m, 1, FAILURE_NONE, 1);
    metrics_failover(m, 1, 3, RESET);
    text = page(m);
    check_page(text);
    CHECK(strstr(text, "{route=\"a\\\"b\\\\c\",") != NULL);
    CHECK(strstr(text, "{route=\"new\\\\x0aline\",") != NULL);
    CHECK(strstr(text, "{route=\"caf\xc3\xa9\",") != NULL);
    CHECK(strstr(text, "{route=\"\\\\xff\",") != NULL);
    CHECK(has(text, "holdfast_requests_total{route=\"same\",dialect=\"openai_chat\","
                    "outcome=\"ok\"} 2"));
    CHECK(has(text, "holdfast_attempts_total{provider=\"p\",model=\"m\",outcome=\"ok\"} 1"));
    metrics_free(m);
}

static double value_of(const char *text, const char *name)
{
    const char *p = strstr(text, name);

    CHECK(p != NULL);
    return strtod(p + strlen(name), NULL);
}

TEST(the_process_is_measured)
{
    struct metrics *m = metrics_new(&labels);
    double before = value_of(page(m), "\nprocess_open_fds "), after;
    int fd = dup(0);

    after = value_of(page(m), "\nprocess_open_fds ");
    close(fd);
    CHECK(after == before + 1);
    CHECK(value_of(page(m), "\nprocess_resident_memory_bytes ") > 1e6);
    CHECK(value_of(page(m), "\nprocess_cpu_seconds_total ") > 0);
    CHECK(value_of(page(m), "\nprocess_max_fds ") >= after);
    CHECK(has(page(m), "process_start_time_seconds 1767225600.25"));
    CHECK(has(page(m), "holdfast_build_info{version=\"" HOLDFAST_VERSION "\"} 1"));
    metrics_free(m);
}

#define EACH 3000

static void *record_many(void *arg)
{
    struct metrics *m = arg;

    for (int i = 0; i < EACH; i++) {
        metrics_request(m, 0, 0, FAILURE_NONE, (uint64_t)i);
        metrics_failover(m, (size_t)i % 3, 1, (enum failure)(1 + i % 20));
    }
    return NULL;
}

TEST(many_threads_lose_no_count_and_pages_stay_valid_meanwhile)
{
    struct metrics *m = metrics_new(&labels);
    pthread_t threads[4];
    double moves = 0;

    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, record_many, m);
    for (int i = 0; i < 5; i++)
        check_page(page(m));
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    check_page(page(m));
    CHECK(has(page(m), "holdfast_requests_total{route=\"gpt-4o\",dialect=\"openai_chat\","
                       "outcome=\"ok\"} 12000"));
    for (size_t i = 0; i < n_seen; i++)
        if (strcmp(seen[i].name, "holdfast_failovers_total") == 0)
            moves += seen[i].value;
    CHECK_INT((int)moves, 4 * EACH);
    metrics_free(m);
}

TEST(what_another_one_has_counted_goes_to_the_series_of_the_same_labels)
{
    static const char *const other_routes[] = {"new", "gpt-4o"};
    static const struct metrics_target_label other_targets[] = {{"local", NULL},
                                                                {"openai", "gpt-4o"}};
    struct metrics_labels other = labels;
    struct chat_usage usage = {.seen = true, .input = 5, .output = 6};
    struct metrics *from = metrics_new(&labels), *m;
    const char *text;

    other.routes = other_routes;
    other.targets = other_targets;
    other.n_targets = 2;
    m = metrics_new(&other);
    metrics_request(from, 0, 1, FAILURE_NONE, 70000); /* gpt-4o: here the second */
    metrics_request(from, 1, 0, FAILURE_NONE, 70000); /* fast-*: gone */
    metrics_request(m, 1, 1, FAILURE_NONE, 70000);
    metrics_attempt(from, 0, RESET, 1000);
    metrics_attempt(from, 1, RESET, 1000); /* claude: gone */
    metrics_tokens(from, 2, &usage);
    metrics_failover(from, 0, 2, RESET);
    metrics_failover(m, 1, 0, RESET);
    metrics_failover(from, 0, 1, RESET);
    metrics_hedge(from, HEDGE_RESULT_WON);
    metrics_overhead(from, 20);
    for (unsigned i = 0; i < 2; i++) { /* the second time there is nothing left to move */
        metrics_absorb(m, from);
        text = page(m);
        CHECK(has(text, "holdfast_requests_total{route=\"gpt-4o\",dialect=\"anthropic_messages\","
                        "outcome=\"ok\"} 2"));
        CHECK(has(text, "holdfast_attempts_total{provider=\"openai\",model=\"gpt-4o\","
                        "outcome=\"reset\"} 1"));
        CHECK(has(text, "holdfast_tokens_total{provider=\"local\",model=\"*\",kind=\"output\"} 6"));
        CHECK(has(text, "holdfast_failovers_total{from=\"openai/gpt-4o\",to=\"local\","
                        "reason=\"reset\"} 2"));
        CHECK(has(text, "holdfast_hedges_total{result=\"won\"} 1"));
        CHECK(strstr(text, "claude") == NULL && strstr(text, "fast-") == NULL);
    }
    metrics_free(from);
    metrics_free(m);
}

TEST_MAIN()
