#include "tests/unit/check.h"

#include <string.h>

#include "proxy/base/json.h"
#include "proxy/base/mem.h"
#include "proxy/base/secret.h"
#include "proxy/ops/payload.h"

static struct strbuf lines; /* each with a newline */
static unsigned n_lines;

static void keep(struct span line)
{
    CHECK(line.n <= LOG_LINE_MAX && memchr(line.p, '\n', line.n) == NULL);
    strbuf_add_span(&lines, line);
    strbuf_add_char(&lines, '\n');
    n_lines++;
}

/* Its lines, or all of them behind the first. */
static const char *log_of(uint64_t cap, struct span body, enum log_format format)
{
    struct payload p = payload_of(cap);

    strbuf_release(&lines);
    lines = strbuf_heap(1 << 22);
    n_lines = 0;
    payload_take(&p, (struct span){body.p, body.n / 3});
    payload_take(&p, (struct span){body.p + body.n / 3, body.n - body.n / 3});
    payload_end(&p, SPAN("req-1"), SPAN("request"), 1767225600125, format, keep);
    CHECK(p.text.buf == NULL && p.cap == 0);
    strbuf_add(&lines, "");
    return lines.buf;
}

TEST(a_body_is_a_line)
{
    CHECK_STR(log_of(100, SPAN("{\"a\": \"b\n\"}"), LOG_JSON),
              "{\"time\":\"2026-01-01T00:00:00.125Z\",\"level\":\"info\",\"msg\":\"payload\","
              "\"id\":\"req-1\",\"of\":\"request\",\"bytes\":11,\"part\":1,\"cut\":false,"
              "\"text\":\"{\\\"a\\\": \\\"b\\n\\\"}\"}\n");
    CHECK_STR(log_of(100, SPAN("hi\n"), LOG_TEXT),
              "2026-01-01T00:00:00.125Z info  payload req-1 request 3 bytes, 1: hi\\x0a\n");
}

TEST(what_is_not_wanted_leaves_nothing)
{
    CHECK_STR(log_of(0, SPAN("hi"), LOG_TEXT), "");
    CHECK_STR(log_of(100, SPAN(""), LOG_TEXT), "");
}

TEST(no_more_than_the_cap_is_shown)
{
    const char *text = log_of(4, SPAN("0123456789"), LOG_JSON);

    CHECK(strstr(text, "\"bytes\":10,\"part\":1,\"cut\":true,\"text\":\"0123\"") != NULL);
    CHECK(strstr(log_of(4, SPAN("0123456789"), LOG_TEXT), "10 bytes (cut), 1: 0123\n") != NULL);
    CHECK(strstr(log_of(10, SPAN("0123456789"), LOG_JSON), "\"cut\":false") != NULL);
}

/* Puts the texts of the lines together again. */
static void check_whole(struct span body)
{
    struct strbuf all = strbuf_heap(1 << 22);
    int64_t parts = 0;

    for (const char *p = log_of(1 << 20, body, LOG_JSON); *p != '\0'; p = strchr(p, '\n') + 1) {
        struct json j = json_read((struct span){p, (size_t)(strchr(p, '\n') - p)});
        struct span key, value;
        int64_t part;

        CHECK(json_enter(&j, JSON_OBJECT));
        while (json_member(&j, &key)) {
            value = json_take(&j);
            if (span_is(key, "part"))
                CHECK(json_to_i64(value, &part) && part == ++parts);
            if (span_is(key, "text"))
                CHECK(json_add_text(&all, value));
        }
        CHECK(json_end(&j));
    }
    CHECK_INT(parts, n_lines);
    CHECK(span_eq(strbuf_span(&all), body));
    strbuf_release(&all);
}

TEST(a_long_body_is_several_lines_and_no_byte_is_lost)
{
    enum { N = 100000 };
    char *text = mem_alloc(N);

    for (size_t i = 0; i < N; i++)
        text[i] = " abcdefg"[i % 8];
    check_whole((struct span){text, N});
    CHECK(n_lines < 16);
    for (size_t i = 0; i + 3 <= N; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    check_whole((struct span){text, N - N % 3});
    memset(text, '\n', N); /* each becomes two bytes */
    check_whole((struct span){text, N});
    free(text);
}

TEST(secrets_are_taken_out)
{
    static const char body[] =
        "{\"x\": \"key-with-0123456789 inside\", \"API_Key\" : \"short\", "
        "\"authorization\":\"a\\\"b\","
        "\"note\": \"sk-abcdef0123\", \"token\": 5, \"tokens\": \"legible\", \"secret\": \"cut off";
    const char *text;

    CHECK(secret_register(SPAN("key-with-0123456789")));
    text = log_of(1000, SPAN(body), LOG_TEXT);
    CHECK(strstr(text, "{\"x\": \"*** inside\", \"API_Key\" : ***, \"authorization\":***,"
                       "\"note\": \"***\", \"token\": *, \"tokens\": \"legible\", "
                       "\"secret\": ***\n") != NULL);
    secret_forget();
}

TEST(secrets_are_found_in_json_inside_json_and_in_any_form)
{
    static const char *const rows[][2] = {
        {"{\"arguments\": \"{\\\"password\\\": \\\"a\\\\\\\"b\\\", \\\"x\\\": 1}\"}",
         "{\"arguments\": \"{\\\"password\\\": ***, \\\"x\\\": 1}\"}"},
        {"{\"api_key\": [\"a\", \"b\"], \"x\": 1}", "{\"api_key\": ***, \"x\": 1}"},
        {"{\"password\": 123456, \"x\": 1}", "{\"password\": ***, \"x\": 1}"},
        {"{\"aws_secret_access_key\": \"a\"}", "{\"aws_secret_access_key\": ***}"},
        {"{\"session_token\":\"abcd\"}", "{\"session_token\":***}"},
        {"{\"private_key\":\"-----\\nabc\"}", "{\"private_key\":***}"},
        {"{\"X-Auth\":\"ab\\\\\",\"b\":2}", "{\"X-Auth\":***,\"b\":2}"},
        {"{\"max_tokens\": 5, \"keys\": \"a\"}", "{\"max_tokens\": 5, \"keys\": \"a\"}"},
        {"\"key\"", "\"key\""},
        {"{\"key\":", "{\"key\":"},
        {"{\"key\": \"a\\", "{\"key\": ***"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strbuf want = strbuf_heap(1000);

        strbuf_add(&want, ": ");
        log_add_text(&want, span_of(rows[i][1]));
        strbuf_add(&want, "\n");
        if (strstr(log_of(1000, span_of(rows[i][0]), LOG_TEXT), want.buf) == NULL)
            fail_msg("%s became %s", rows[i][0], lines.buf);
        strbuf_release(&want);
    }
}

TEST(pictures_and_other_bytes_are_not_spread_out)
{
    char picture[1000] = "{\"url\": \"data:image/png;base64,";
    size_t n = strlen(picture);
    const char *text;

    memset(picture + n, 'A', 600);
    memcpy(picture + n + 600, "\"}", 2);
    text = log_of(1000, (struct span){picture, n + 602}, LOG_TEXT);
    CHECK(strstr(text, "base64,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA...\"}\n") != NULL);
    CHECK(strstr(log_of(100, SPAN("a\0b"), LOG_TEXT), "3 bytes, 1: (not text)\n") != NULL);
}

TEST_MAIN()
