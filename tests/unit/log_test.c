#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/json.h"
#include "proxy/base/log.h"
#include "proxy/base/secret.h"

static char got[4 << 20];

/* Starts the log into a file that read_log() reads back. */
static int file = -1;

static void start(enum log_level level, enum log_format format)
{
    struct err e;
    FILE *f = tmpfile();

    CHECK(f != NULL);
    file = dup(fileno(f));
    fclose(f);
    CHECK_INT(log_start(level, format, file, &e), 0);
}

static const char *stop_and_read(void)
{
    ssize_t n;

    log_stop();
    n = pread(file, got, sizeof(got) - 1, 0);
    CHECK(n >= 0);
    got[n] = '\0';
    close(file);
    return got;
}

static unsigned lines_in(const char *text)
{
    unsigned n = 0;

    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

/* Calls `see` for each line without its newline. */
static void each_line(const char *text, void (*see)(struct span line))
{
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1)
        see((struct span){text, (size_t)(end - text)});
    CHECK(*text == '\0');
}

static void is_json(struct span line)
{
    if (!json_valid(line))
        fail_msg("no JSON: %.*s", SPAN_ARG(line));
    CHECK(line.n <= LOG_LINE_MAX);
}

TEST(levels_and_formats_are_read_by_name)
{
    enum log_level level = LOG_ERROR;
    enum log_format format = LOG_TEXT;

    CHECK(log_level_parse("debug", &level) && level == LOG_DEBUG);
    CHECK(log_level_parse("warn", &level) && level == LOG_WARN);
    CHECK(!log_level_parse("warning", &level) && level == LOG_WARN);
    CHECK(log_format_parse("json", &format) && format == LOG_JSON);
    CHECK(!log_format_parse("JSON", &format) && format == LOG_JSON);
}

TEST(time_is_utc_with_milliseconds_in_every_sort_of_year)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } known[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {951782399999, "2000-02-28T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868800000, "2000-03-01T00:00:00.000Z"},
        {1709164800001, "2024-02-29T00:00:00.001Z"},
        {1767225599999, "2025-12-31T23:59:59.999Z"},
        {1767225600000, "2026-01-01T00:00:00.000Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
    };
    char mem[64];

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct strbuf out = strbuf_on(mem, sizeof(mem));

        log_add_time(&out, known[i].ms);
        CHECK_STR(mem, known[i].text);
    }
}

TEST(time_agrees_with_the_c_library_for_every_day_of_130_years)
{
    char mem[64], want[64];

    for (uint64_t day = 0; day < 130 * 366; day++) {
        struct strbuf out = strbuf_on(mem, sizeof(mem));
        time_t t = (time_t)(day * 86400 + day % 86400);
        struct tm tm;

        log_add_time(&out, (uint64_t)t * 1000);
        strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S.000Z", gmtime_r(&t, &tm));
        CHECK_STR(mem, want);
    }
}

TEST(text_cannot_forge_lines_or_move_a_cursor)
{
    static const char *const pairs[][2] = {
        {"plain text", "plain text"},
        {"a\nb\r\tc", "a\\x0ab\\x0d\\x09c"},
        {"\x1b[31mred", "\\x1b[31mred"},
        {"del\x7f", "del\\x7f"},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b31m"},
        {"\xc2\xa0", "\xc2\xa0"},
        {"\x9b\xff\xc3", "\\x9b\\xff\\xc3"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
        {"\xc0\x8a", "\\xc0\\x8a"},
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
        {"\xe2\x82", "\\xe2\\x82"},
        {"\\x0a", "\\\\x0a"},
    };
    char mem[128];

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct strbuf out = strbuf_on(mem, sizeof(mem));

        log_add_text(&out, span_of(pairs[i][0]));
        CHECK_STR(mem, pairs[i][1]);
    }
}

TEST(a_json_line_has_time_level_and_message)
{
    start(LOG_INFO, LOG_JSON);
    log_warn("cannot open %s: \"%d\"\n", "x", 5);
    stop_and_read();
    CHECK(strncmp(got, "{\"time\":\"2", 10) == 0);
    CHECK(strstr(got, "Z\",\"level\":\"warn\",\"msg\":\"cannot open x: \\\"5\\\"\\n\"}\n") != NULL);
    each_line(got, is_json);
}

TEST(a_text_line_has_time_level_and_message)
{
    start(LOG_INFO, LOG_TEXT);
    log_info("up\nand running");
    stop_and_read();
    CHECK(strstr(got, "Z info  up\\x0aand running\n") != NULL);
    CHECK_INT(lines_in(got), 1);
}

TEST(a_level_that_is_off_costs_no_evaluation)
{
    int evaluated = 0;

    start(LOG_WARN, LOG_TEXT);
    log_info("%d", ++evaluated);
    log_error("%d", ++evaluated);
    log_set_level(LOG_DEBUG);
    log_debug("%d", ++evaluated);
    stop_and_read();
    CHECK_INT(evaluated, 2);
    CHECK_INT(lines_in(got), 2);
    log_set_level(LOG_INFO);
}

TEST(errno_survives)
{
    start(LOG_INFO, LOG_TEXT);
    errno = ENOTDIR;
    log_info("x");
    log_line(SPAN("y"));
    CHECK_INT(errno, ENOTDIR);
    stop_and_read();
}

TEST(long_messages_are_cut_and_still_valid)
{
    static char text[3 * LOG_LINE_MAX];

    start(LOG_INFO, LOG_JSON);
    memset(text, 'a', sizeof(text) - 1);
    log_info("%s", text);
    memset(text, '\x01', sizeof(text) - 1);
    log_info("%s", text);
    memset(text, '\xff', sizeof(text) - 1);
    log_info("%s", text);
    stop_and_read();
    CHECK_INT(lines_in(got), 3);
    CHECK(strlen(got) > 3 * LOG_LINE_MAX / 3);
    each_line(got, is_json);
}

TEST(a_ready_line_that_is_too_long_is_dropped_and_owned_up_to)
{
    static char text[LOG_LINE_MAX + 1];
    uint64_t before = log_dropped();

    start(LOG_INFO, LOG_TEXT);
    memset(text, 'a', sizeof(text));
    log_line((struct span){text, LOG_LINE_MAX});
    log_line((struct span){text, LOG_LINE_MAX + 1});
    stop_and_read();
    CHECK_INT(log_dropped() - before, 1);
    CHECK_INT(lines_in(got), 2);
    CHECK(strstr(got, "warn  1 log line dropped\n") != NULL);
}

/* Of one kind with other numbers; of three things, two of them in the same words; and good news. */
TEST(the_same_trouble_is_told_once_and_then_counted)
{
    start(LOG_INFO, LOG_JSON);
    for (int i = 1; i <= 5; i++) {
        log_warn("%s: open after %d failures sk-abcdefgh", "a", i);
        log_warn("%s: open after %d failures", "b", i);
        log_warn("%s: open after %d failures", "c", i);
        log_info("%s: closed", "a");
    }
    log_error("%s: open after %d failures sk-abcdefgh", "a", 6);
    stop_and_read();
    CHECK_INT(lines_in(got), 3 + 5 + 1 + 3);
    CHECK(strstr(got, "\"warn\",\"msg\":\"a: open after 1 failures ***\"}") != NULL);
    CHECK(strstr(got, "\"warn\",\"msg\":\"4 more times in the last 0 s, the last: a: open after 5 "
                      "failures ***\"}") != NULL);
    CHECK(strstr(got, "the last: b: open after 5 failures\"}") != NULL);
    CHECK(strstr(got, "the last: c: open after 5 failures\"}") != NULL);
    CHECK(strstr(got, "\"error\",\"msg\":\"a: open after 6 failures ***\"}") != NULL);
    each_line(got, is_json);
}

TEST(secrets_do_not_reach_the_log)
{
    CHECK(secret_register(SPAN("Zq8vT3mK1xW6")));
    start(LOG_INFO, LOG_JSON);
    log_info("refused: Zq8vT3mK1xW6");
    log_info("line\nsk-abcdefgh");
    log_line(SPAN("{\"model\":\"Zq8vT3mK1xW6\",\"key\":\"sk-abcdefgh\"}"));
    stop_and_read();
    secret_forget();
    CHECK(strstr(got, "Zq8v") == NULL && strstr(got, "sk-") == NULL);
    CHECK(strstr(got, "refused: ***") != NULL);
    CHECK(strstr(got, "{\"model\":\"***\",\"key\":\"***\"}") != NULL);
    each_line(got, is_json);
}

/* How many lines each of four threads writes. */
#define EACH 2000

static void *write_many(void *arg)
{
    for (int i = 0; i < EACH; i++)
        log_info("thread %d line %d", *(int *)arg, i);
    return NULL;
}

static int next_of[4];

static void in_order(struct span line)
{
    char copy[256];
    const char *at;
    int thread = 0, number = 0;

    CHECK(line.n < sizeof(copy));
    memcpy(copy, line.p, line.n);
    copy[line.n] = '\0';
    at = strstr(copy, "thread ");
    CHECK(at != NULL && sscanf(at, "thread %d line %d", &thread, &number) == 2);
    CHECK_INT(number, next_of[thread]++);
}

TEST(lines_of_many_threads_come_whole_and_each_thread_in_order)
{
    pthread_t threads[4];
    int ids[4] = {0, 1, 2, 3};
    uint64_t before = log_dropped();

    start(LOG_INFO, LOG_TEXT);
    memset(next_of, 0, sizeof(next_of));
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, write_many, &ids[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    stop_and_read();
    CHECK_INT(log_dropped() - before, 0);
    CHECK_INT(lines_in(got), 4 * EACH);
    each_line(got, in_order);
}

static void fill(int fd)
{
    static const char page[4096];
    int flags = fcntl(fd, F_GETFL);

    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while (write(fd, page, sizeof(page)) > 0)
        ;
    fcntl(fd, F_SETFL, flags);
}

#define SOON_US 10000000 /* and not never, however busy the machine is */

/* A pipe that nobody reads: callers must not notice, and log_stop() must come back. */
static void log_into_stuck(int fd)
{
    uint64_t began, before = log_dropped();
    struct err e;
    char line[1000];

    memset(line, 'x', sizeof(line));
    CHECK_INT(log_start(LOG_INFO, LOG_JSON, fd, &e), 0);
    began = clock_us();
    for (int i = 0; i < 5000; i++)
        log_line((struct span){line, sizeof(line)});
    CHECK(clock_us() - began < SOON_US);
    began = clock_us();
    log_stop();
    CHECK(clock_us() - began < SOON_US);
    CHECK_INT(log_dropped() - before, 5000);
}

TEST(a_blocking_pipe_that_nobody_reads_stops_neither_callers_nor_the_end)
{
    int p[2];

    CHECK_INT(pipe(p), 0);
    fill(p[1]);
    log_into_stuck(p[1]);
    close(p[0]);
    close(p[1]);
}

TEST(a_blocking_socket_that_nobody_reads_neither)
{
    int s[2];

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
    fill(s[1]);
    log_into_stuck(s[1]);
    close(s[0]);
    close(s[1]);
}

TEST(a_closed_pipe_and_a_full_disk_cost_lines_only)
{
    int p[2], full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    uint64_t before = log_dropped();
    struct err e;

    CHECK(full >= 0);
    CHECK_INT(pipe(p), 0);
    close(p[0]);
    CHECK_INT(log_start(LOG_INFO, LOG_TEXT, p[1], &e), 0);
    log_info("nobody will read this");
    log_stop(); /* SIGPIPE has its default action here: it would have ended the test */
    CHECK_INT(log_dropped() - before, 1);
    CHECK_INT(log_start(LOG_INFO, LOG_TEXT, full, &e), 0);
    log_info("nor this");
    log_stop();
    CHECK_INT(log_dropped() - before, 2);
    close(p[1]);
    close(full);
}

/* Reads on into `got` until all lines are there that were not dropped, and `text` is at its end. */
static void read_on(int fd, uint64_t before, uint64_t lines, const char *text)
{
    size_t n = strlen(got), tail = strlen(text);

    while (lines_in(got) + (log_dropped() - before) < lines || n < tail ||
           strcmp(got + n - tail, text) != 0) {
        ssize_t r = read(fd, got + n, sizeof(got) - 1 - n);

        CHECK(r > 0);
        n += (size_t)r;
        got[n] = '\0';
    }
}

TEST(what_was_dropped_is_said_once_there_is_room)
{
    int p[2];
    uint64_t before = log_dropped(), lost;
    char line[1000], want[64];
    struct err e;

    memset(line, 'x', sizeof(line));
    CHECK_INT(pipe(p), 0);
    CHECK_INT(log_start(LOG_INFO, LOG_TEXT, p[1], &e), 0);
    for (int i = 0; i < 3000; i++)
        log_line((struct span){line, sizeof(line)});
    CHECK(log_dropped() > before);
    got[0] = '\0';
    read_on(p[0], before, 3000, "\n");
    lost = log_dropped() - before;
    log_info("after");
    read_on(p[0], before, 3000, "info  after\n");
    log_stop();
    snprintf(want, sizeof(want), "warn  %llu log lines dropped\n", (unsigned long long)lost);
    CHECK(strstr(got, want) != NULL);
    CHECK(strstr(got, "info  after\n") != NULL);
    CHECK_INT(lines_in(got) - 2, 3000 - lost);
    close(p[0]);
    close(p[1]);
}

TEST(half_a_line_is_ended_before_the_next_one)
{
    int p[2];
    char line[6000];
    uint64_t before = log_dropped();
    struct err e;
    const char *last;

    memset(line, 'x', sizeof(line));
    CHECK_INT(pipe(p), 0);
    CHECK_INT(fcntl(p[1], F_SETPIPE_SZ, 4096), 4096);
    CHECK_INT(log_start(LOG_INFO, LOG_TEXT, p[1], &e), 0);
    log_line((struct span){line, sizeof(line)}); /* 4096 bytes of it fit */
    while (log_dropped() == before)
        usleep(1000);
    log_info("next");
    got[0] = '\0';
    read_on(p[0], before, 0, "info  next\n");
    log_stop();
    last = strstr(got, "info  next\n");
    CHECK(last != NULL);
    CHECK(got[4096] == '\n' && memchr(got, '\n', 4096) == NULL);
    close(p[0]);
    close(p[1]);
}

/* Runs with stderr going to a file, and gives back what went there. */
TEST(without_a_writer_lines_go_straight_to_stderr)
{
    FILE *f = tmpfile();
    int keep = dup(STDERR_FILENO);
    ssize_t n;

    dup2(fileno(f), STDERR_FILENO);
    log_error("early\x1b sk-abcdefgh");
    log_line(SPAN("ready"));
    n = pread(fileno(f), got, sizeof(got) - 1, 0);
    dup2(keep, STDERR_FILENO);
    close(keep);
    fclose(f);
    CHECK(n > 0);
    got[n] = '\0';
    CHECK(strstr(got, "Z error early\\x1b ***\nready\n") != NULL);
}

TEST(an_idle_log_sleeps)
{
    struct timespec before, after;

    start(LOG_INFO, LOG_TEXT);
    log_info("one");
    usleep(100000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    usleep(500000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    stop_and_read();
    CHECK((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec < 20000000);
}

TEST_MAIN()
