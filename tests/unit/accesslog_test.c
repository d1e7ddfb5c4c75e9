#include "tests/unit/check.h"

#include <time.h>

#include "proxy/base/json.h"
#include "proxy/ops/accesslog.h"

static char mem[2 * LOG_LINE_MAX];

static const char *line_of(const struct access_record *r, enum log_format format)
{
    struct strbuf out = strbuf_on(mem, sizeof(mem));

    accesslog_write(r, format, &out);
    CHECK(!out.failed);
    CHECK(strlen(mem) == out.len && strchr(mem, '\n') == NULL);
    return mem;
}

static const struct access_attempt two[] = {
    {SPAN("openai/gpt-4o"), "server_error", 503, 120400, 0},
    {SPAN("claude/claude-sonnet-4-5"), "ok", 200, 800001, 300000},
};
static const struct access_record full = {
    .id = SPAN("req-1"),
    .wall_ms = 1767225600125,
    .client = SPAN("127.0.0.1:50000"),
    .route = SPAN("gpt-4o"),
    .dialect = "openai_chat",
    .model = SPAN("gpt-4o"),
    .stream = true,
    .outcome = "ok",
    .status = 200,
    .duration_us = 921500,
    .queue_us = 1007,
    .ttft_us = 421050,
    .request_bytes = 312,
    .answer_bytes = 4096,
    .usage_seen = true,
    .input_tokens = 100,
    .output_tokens = 20,
    .cached_tokens = 64,
    .reasoning_tokens = 0,
    .provider = SPAN("claude"),
    .served_model = SPAN("claude-sonnet-4-5"),
    .attempts = two,
    .n_attempts = 2,
};

TEST(a_json_line_tells_everything)
{
    CHECK_STR(line_of(&full, LOG_JSON),
              "{\"time\":\"2026-01-01T00:00:00.125Z\",\"level\":\"info\",\"msg\":\"exchange\","
              "\"id\":\"req-1\",\"client\":\"127.0.0.1:50000\",\"route\":\"gpt-4o\","
              "\"dialect\":\"openai_chat\",\"model\":\"gpt-4o\",\"stream\":true,"
              "\"outcome\":\"ok\",\"status\":200,\"duration_ms\":921.500,\"queue_ms\":1.007,"
              "\"ttft_ms\":421.050,\"request_bytes\":312,\"answer_bytes\":4096,"
              "\"input_tokens\":100,\"output_tokens\":20,\"cached_tokens\":64,"
              "\"reasoning_tokens\":0,\"provider\":\"claude\","
              "\"served_model\":\"claude-sonnet-4-5\",\"attempts\":["
              "{\"target\":\"openai/gpt-4o\",\"outcome\":\"server_error\",\"status\":503,"
              "\"ms\":120.400},"
              "{\"target\":\"claude/claude-sonnet-4-5\",\"outcome\":\"ok\",\"status\":200,"
              "\"ms\":800.001,\"ttft_ms\":300.000}]}");
    CHECK(json_valid(span_of(mem)));
}

TEST(what_is_not_known_is_left_out)
{
    struct access_record r = {.outcome = "bad_request", .status = 400, .duration_us = 9};

    CHECK_STR(line_of(&r, LOG_JSON),
              "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\",\"msg\":\"exchange\","
              "\"stream\":false,\"outcome\":\"bad_request\",\"status\":400,"
              "\"duration_ms\":0.009,\"request_bytes\":0,\"answer_bytes\":0,\"attempts\":[]}");
}

TEST(a_text_line_is_read_at_a_glance)
{
    CHECK_STR(line_of(&full, LOG_TEXT),
              "2026-01-01T00:00:00.125Z info  200 ok                      921.5ms  "
              "gpt-4o -> claude/claude-sonnet-4-5                ttft 421.1ms  queued 1.0ms  "
              "100+20 tokens  312+4096 bytes  openai_chat stream gpt-4o 127.0.0.1:50000 req-1"
              "  [openai/gpt-4o=server_error:503@120ms, claude/claude-sonnet-4-5=ok@800ms]");
}

TEST(an_answer_that_was_kept_says_so)
{
    struct access_record r = full;

    r.replayed = "key";
    CHECK(strstr(line_of(&r, LOG_JSON), "\"replayed\":\"key\",\"outcome\":\"ok\"") != NULL);
    CHECK(strstr(line_of(&r, LOG_TEXT), "openai_chat stream replayed by key gpt-4o") != NULL);
}

TEST(text_lines_stand_under_each_other)
{
    struct access_record r = full;
    size_t at;

    line_of(&full, LOG_TEXT);
    at = (size_t)(strstr(mem, "gpt-4o ->") - mem);
    r.outcome = "first_token_timeout";
    r.duration_us = 30000000;
    line_of(&r, LOG_TEXT);
    CHECK_INT(strstr(mem, "gpt-4o ->") - mem, at);
}

TEST(what_a_client_sends_cannot_forge_a_line)
{
    struct access_record r = full;

    r.model = SPAN("x\"}\r\n{\"level\":\"error\",\x1b[2J\x7f\xff");
    r.id = SPAN("id\nid");
    line_of(&r, LOG_JSON);
    CHECK(json_valid(span_of(mem)));
    CHECK(strstr(mem, "\"id\":\"id\\nid\"") != NULL);
    line_of(&r, LOG_TEXT);
    CHECK(strstr(mem, "x\"}\\x0d\\x0a{\"level\":\"error\",\\x1b[2J\\x7f\\xff") != NULL);
    for (const char *p = mem; *p != '\0'; p++)
        CHECK((unsigned char)*p >= ' ');
}

TEST(the_longest_record_fits_one_line_and_counts_what_it_omits)
{
    static char wild[4 * ACCESSLOG_FIELD_MAX];
    static struct access_attempt many[40];
    struct access_record r = full;

    memset(wild, '\x01', sizeof(wild));
    for (size_t i = 0; i < 40; i++)
        many[i] = (struct access_attempt){
            {wild, sizeof(wild)}, "first_token_timeout", 599, UINT64_MAX, UINT64_MAX};
    r.id = r.client = r.route = r.model = r.provider = r.served_model =
        (struct span){wild, sizeof(wild)};
    r.outcome = "first_token_timeout";
    r.duration_us = r.queue_us = r.ttft_us = UINT64_MAX;
    r.request_bytes = r.answer_bytes = UINT64_MAX;
    r.input_tokens = r.output_tokens = r.cached_tokens = r.reasoning_tokens = UINT64_MAX;
    r.attempts = many;
    r.n_attempts = 40;
    line_of(&r, LOG_JSON);
    CHECK(strlen(mem) <= LOG_LINE_MAX && json_valid(span_of(mem)));
    CHECK(strstr(mem, "\"attempts_omitted\":3") != NULL);
    line_of(&r, LOG_TEXT);
    CHECK(strlen(mem) <= LOG_LINE_MAX && strstr(mem, " more]") != NULL);
}

TEST(a_long_text_is_cut_between_characters)
{
    char text[ACCESSLOG_FIELD_MAX + 8];
    struct access_record r = {.outcome = "ok"};

    /* 127 letters and then characters of two bytes: the cut at 128 would part the first. */
    memset(text, 'a', sizeof(text));
    for (size_t i = ACCESSLOG_FIELD_MAX - 1; i + 1 < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    r.model = (struct span){text, sizeof(text)};
    line_of(&r, LOG_JSON);
    CHECK(strstr(mem, "a\",\"stream\"") != NULL && strstr(mem, "\xef\xbf\xbd") == NULL);
}

TEST(several_lines_may_share_a_buffer)
{
    static const enum log_format formats[] = {LOG_TEXT, LOG_JSON};

    for (size_t i = 0; i < 2; i++) {
        struct strbuf out = strbuf_heap(4 * LOG_LINE_MAX);
        size_t one;

        accesslog_write(&full, formats[i], &out);
        one = out.len;
        accesslog_write(&full, formats[i], &out);
        CHECK_INT(out.len, 2 * one);
        CHECK(memcmp(out.buf, out.buf + one, one) == 0);
        strbuf_release(&out);
    }
}

TEST(without_room_nothing_is_written)
{
    char small[512];
    struct strbuf out = strbuf_on(small, sizeof(small));

    accesslog_write(&full, LOG_JSON, &out);
    CHECK(out.failed && out.len == 0);
}

TEST_MAIN()
