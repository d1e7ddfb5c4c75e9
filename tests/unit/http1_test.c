#include "proxy/wire/http1.h"

#include "proxy/base/attributes.h"
#include "tests/unit/check.h"
#include "tests/unit/http1_drive.h"

static struct http1_head head;
static struct http1_problem why;
static size_t used;

static enum http1_result request(struct span in)
{
    size_t scanned = 0;

    return http1_read_request(in, &scanned, &head, &used, &why);
}

static enum http1_result answer(const char *method, struct span in)
{
    size_t scanned = 0;

    return http1_read_answer(in, &scanned, span_of(method), &head, &used, &why);
}

static void check_refused(enum http1_result r, struct span in, unsigned status, const char *code)
{
    if (r != HTTP1_BAD)
        fail_msg("not refused (%d): %.*s", (int)r, SPAN_ARG(in));
    if (why.status != status || strcmp(why.code, code) != 0)
        fail_msg("%u %s (%s), not %u %s, for: %.*s", why.status, why.code, why.text, status, code,
                 SPAN_ARG(in));
    CHECK(strlen(why.text) > 10);
}

/* A NUL inside a literal counts. */
#define BYTES(literal)                                                                             \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

struct refusal {
    struct span in;
    unsigned status;
    const char *code;
};

#define REQUEST_LINE   "GET /v1/models HTTP/1.1\r\n"
#define WITH(fields)   BYTES(REQUEST_LINE "Host: a\r\n" fields "\r\n")
#define TARGET(target) BYTES("GET " target " HTTP/1.1\r\nHost: a\r\n\r\n")
#define HOST(host)     BYTES(REQUEST_LINE "Host: " host "\r\n\r\n")

TEST(a_request_is_handed_out_as_views_of_its_bytes)
{
    static const char in[] = "POST /v1/chat/completions?x=%2F HTTP/1.1\r\n"
                             "Host: localhost:8080\r\n"
                             "content-LENGTH: 7\r\n"
                             "X-Empty:\r\n"
                             "X-Spaced: \t a b\tc \t\r\n"
                             "\r\n"
                             "{\"a\":1}";

    CHECK_INT(request(span_of(in)), HTTP1_DONE);
    CHECK_INT(used, sizeof in - 1 - 7);
    CHECK_SPAN(head.method, "POST");
    CHECK_SPAN(head.target, "/v1/chat/completions?x=%2F");
    CHECK(head.method.p == in);
    CHECK_INT(head.minor, 1);
    CHECK_INT(head.framing, HTTP1_LENGTH);
    CHECK_INT(head.length, 7);
    CHECK(head.keep_alive && !head.expect_continue);
    CHECK_INT(head.n, 4);
    CHECK_SPAN(head.headers[1].name, "content-LENGTH");
    CHECK_SPAN(http1_find(&head, "x-spaced"), "a b\tc");
    CHECK_SPAN(http1_find(&head, "x-empty"), "");
    CHECK(http1_find(&head, "x-empty").p != NULL);
    CHECK(http1_find(&head, "x-none").p == NULL);
}

TEST(nothing_is_decided_before_bytes_come)
{
    size_t scanned = 0;

    CHECK_INT(http1_read_request((struct span){NULL, 0}, &scanned, &head, &used, &why), HTTP1_MORE);
    CHECK_INT(http1_read_answer((struct span){NULL, 0}, &scanned, SPAN("GET"), &head, &used, &why),
              HTTP1_MORE);
    CHECK_INT(scanned, 0);
}

TEST(each_wrong_request_has_its_code)
{
    static const struct refusal wrong[] = {
        {BYTES("GET  / HTTP/1.1\r\n"), 400, "bad_request_line"},
        {BYTES("GET /\r\n"), 400, "bad_request_line"},
        {BYTES("GET / HTTP/1.1 \r\n"), 400, "bad_request_line"},
        {BYTES("GET / http/1.1\r\n"), 400, "bad_request_line"},
        {BYTES("GET / HTTP/1.11\r\n"), 400, "bad_request_line"},
        {BYTES("GET\t/\tHTTP/1.1\r\n"), 400, "bad_request_line"},
        {BYTES("GET / HTTP/1.1\n"), 400, "bad_request_line"},
        {BYTES("GET / HTTP/1.1\rX"), 400, "bad_request_line"},
        {BYTES("GET / HTTP/0.9\r\n"), 505, "version_not_supported"},
        {BYTES("GET / HTTP/2.0\r\n"), 505, "version_not_supported"},
        {BYTES("PRI * HTTP/2.0\r\n"), 505, "version_not_supported"},
        {WITH("X : 1\r\n"), 400, "bad_header"},
        {WITH("X\r\n"), 400, "bad_header"},
        {WITH(": 1\r\n"), 400, "bad_header"},
        {WITH("X: a\r\n b\r\n"), 400, "bad_header"},
        {WITH("X: a\nY: b\r\n"), 400, "bad_header"},
        {WITH("X: a\rb\r\n"), 400, "bad_header"},
        {WITH("X: a\0b\r\n"), 400, "bad_header"},
        {WITH("X: a\x7f\r\n"), 400, "bad_header"},
        {WITH("X\0: a\r\n"), 400, "bad_header"},
        {WITH("X\xa0: a\r\n"), 400, "bad_header"},
        {WITH("X: 0123456\x1f 0123456789\r\n"), 400, "bad_header"},
        {WITH("Host: b\r\n"), 400, "bad_host"},
        {BYTES(REQUEST_LINE "\r\n"), 400, "bad_host"},
        {WITH("Content-Length: 1\r\nContent-Length: 1\r\n"), 400, "bad_framing"},
        {WITH("Content-Length: 1, 1\r\n"), 400, "bad_framing"},
        {WITH("Content-Length: +1\r\n"), 400, "bad_framing"},
        {WITH("Content-Length: 1 1\r\n"), 400, "bad_framing"},
        {WITH("Content-Length:\r\n"), 400, "bad_framing"},
        {WITH("Content-Length: 9223372036854775808\r\n"), 413, "body_too_large"},
        {WITH("Content-Length: 99999999999999999999\r\n"), 413, "body_too_large"},
        {WITH("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400, "bad_framing"},
        {WITH("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, "bad_framing"},
        {WITH("Transfer-Encoding: chunked, chunked\r\n"), 400, "bad_framing"},
        {WITH("Transfer-Encoding: chunked, gzip\r\n"), 400, "bad_framing"},
        {WITH("Transfer-Encoding: xchunked\r\n"), 400, "bad_framing"},
        {WITH("Transfer-Encoding:\r\n"), 400, "bad_framing"},
        {WITH("Transfer-Encoding: gzip, chunked\r\n"), 501, "not_implemented"},
        {BYTES("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, "bad_framing"},
        {WITH("Expect: 200-ok\r\n"), 417, "expectation_failed"},
        {WITH("Expect: 100-continue\r\nExpect: 100-continue\r\n"), 400, "duplicate_header"},
        {WITH("Content-Type: a/b\r\nContent-Type: a/b\r\n"), 400, "duplicate_header"},
        {WITH("Authorization: a\r\nauthorization: a\r\n"), 400, "duplicate_header"},
        {WITH("X-Api-Key: a\r\nx-api-key: b\r\n"), 400, "duplicate_header"},
        {WITH("X-Goog-Api-Key: a\r\nx-goog-api-key: b\r\n"), 400, "duplicate_header"},
        {WITH("Origin: a\r\nOrigin: b\r\n"), 400, "duplicate_header"},
    };

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        check_refused(request(wrong[i].in), wrong[i].in, wrong[i].status, wrong[i].code);
}

/* The search goes by blocks of bytes, so a byte is tried at every place of several blocks. */
TEST(each_byte_is_judged_alike_wherever_it_stands)
{
    const char *const others = "!#$%&'*+-.^_`|~";
    char in[] = REQUEST_LINE "Host: a\r\n"
                             "Nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn:vvvvvvvvvvvvvvvvvvvvvvvvv"
                             "vvvvvvvvvvvvvvvv\r\n\r\n0123456789012345678901234567890123456789";
    size_t name = sizeof REQUEST_LINE "Host: a\r\n" - 1, value = name + 41;

    for (size_t i = 0; i < 40; i++)
        for (unsigned c = 0; c < 256; c++) {
            bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z', digit = c >= '0' && c <= '9';
            bool token = letter || digit || (c != 0 && strchr(others, (int)c) != NULL);
            bool text = c == '\t' || (c >= 0x20 && c != 0x7f);

            in[name + i] = (char)c; /* a colon ends the name early */
            CHECK((request((struct span){in, sizeof in - 1}) == HTTP1_DONE) ==
                  (token || (c == ':' && i > 0)));
            in[name + i] = 'n';
            in[value + i] = (char)c;
            CHECK((request((struct span){in, sizeof in - 1}) == HTTP1_DONE) == text);
            in[value + i] = 'v';
        }
}

TEST(noise_is_refused_by_its_first_bytes)
{
    static const struct refusal noise[] = {
        {BYTES("\x16"), 400, "bad_request_line"}, /* a TLS handshake */
        {BYTES("\0"), 400, "bad_request_line"},
        {BYTES("\xff\xfe"), 400, "bad_request_line"},
        {BYTES(" "), 400, "bad_request_line"},
        {BYTES("\n"), 400, "bad_request_line"},
        {BYTES("\rG"), 400, "bad_request_line"},
        {BYTES("{\"a\""), 400, "bad_request_line"},
        {BYTES("GET h"), 400, "bad_request_line"},
        {BYTES("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"), 400, "bad_request_line"},
        {BYTES("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG"), 501, "not_implemented"},
    };

    for (size_t i = 0; i < ARRAY_LEN(noise); i++)
        check_refused(request(noise[i].in), noise[i].in, noise[i].status, noise[i].code);
    check_refused(answer("GET", SPAN("\x15")), SPAN("\x15"), 400, "bad_status_line");
    check_refused(answer("GET", SPAN("HTTPS")), SPAN("HTTPS"), 400, "bad_status_line");
}

TEST(empty_lines_before_a_request_are_read_over)
{
    CHECK_INT(request(SPAN("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")), HTTP1_DONE);
    CHECK_INT(used, 4 + 16 + 9 + 2);
    CHECK_SPAN(head.method, "GET");
}

TEST(a_target_is_a_clean_path)
{
    static const struct span good[] = {
        TARGET("/"),
        TARGET("//v1/models"),
        TARGET("/v1/models/gpt-4o:x"),
        TARGET("/a.b/...?q=../%2F%5c&r=/../"),
        TARGET("/.a/b./..c"),
        TARGET("/%41%2ea"),
        BYTES("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    };
    static const struct span wrong[] = {
        TARGET("*"),
        TARGET("a"),
        TARGET("http://a/"),
        TARGET("a:443"),
        TARGET("/a#b"),
        TARGET("/a\\b"),
        TARGET("/a\x80"),
        TARGET("/a\0"),
        TARGET("/."),
        TARGET("/.."),
        TARGET("/../a"),
        TARGET("/a/.."),
        TARGET("/a/../b"),
        TARGET("/a/./b"),
        TARGET("/a/..?b"),
        TARGET("/%2e%2e/a"),
        TARGET("/.%2E/a"),
        TARGET("/a/%2e"),
        TARGET("/a%2fb"),
        TARGET("/a%5Cb"),
        TARGET("/a%00"),
        TARGET("/a?b=%00"),
        TARGET("/a%"),
        TARGET("/a%2"),
        TARGET("/a?b=%zz"),
        TARGET("/a%2g"),
        TARGET("/a\tb"),
        TARGET("/a b"),
        TARGET("/a\x7f"
               "b"),
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (request(good[i]) != HTTP1_DONE)
            fail_msg("%s: %.*s", why.text, SPAN_ARG(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        check_refused(request(wrong[i]), wrong[i], 400, "bad_request_line");
}

TEST(a_host_is_a_name_or_an_address_and_perhaps_a_port)
{
    static const struct span good[] = {
        HOST("a"),
        HOST("api.example-1.com:443"),
        HOST("my_host:0"),
        HOST("127.0.0.1"),
        HOST("127.0.0.1:65535"),
        HOST("[::1]"),
        HOST("[::1]:80"),
        HOST("[::ffff:127.0.0.1]:80"),
        BYTES("GET / HTTP/1.0\r\n\r\n"),
        BYTES("GET / HTTP/1.0\r\nHost:\r\n\r\n"),
    };
    static const struct span wrong[] = {
        HOST(""),        HOST("a@b"),    HOST("a b"),   HOST("a/b"),   HOST("a?b"),
        HOST("a:"),      HOST(":80"),    HOST("a:80b"), HOST("a:+80"), HOST("a:65536"),
        HOST("a:80:80"), HOST("a :80"),  HOST("::1"),   HOST("[]"),    HOST("[::1"),
        HOST("[::g]"),   HOST("[::1]b"), HOST("a,b"),   HOST("a%41"),  HOST("\xe4"),
        HOST("[:"),      HOST("[::1]:"), HOST("a#b"),   HOST("a\\b"),  HOST("[::1]]"),
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (request(good[i]) != HTTP1_DONE)
            fail_msg("%s: %.*s", why.text, SPAN_ARG(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        check_refused(request(wrong[i]), wrong[i], 400, "bad_host");
}

TEST(the_connection_lives_on_as_version_and_options_say)
{
    static const struct {
        struct span in;
        bool keep;
    } cases[] = {
        {WITH(""), true},
        {WITH("Connection: close\r\n"), false},
        {WITH("Connection: x, ClOsE ,y\r\n"), false},
        {WITH("Connection: closed\r\n"), true},
        {WITH("Connection: x\r\nConnection: close\r\n"), false},
        {WITH("Connection: keep-alive, close\r\n"), false},
        {BYTES("GET / HTTP/1.0\r\n\r\n"), false},
        {BYTES("GET / HTTP/1.0\r\nConnection: ,Keep-Alive\r\n\r\n"), true},
        {BYTES("GET / HTTP/1.9\r\nHost: a\r\n\r\n"), true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CHECK_INT(request(cases[i].in), HTTP1_DONE);
        if (head.keep_alive != cases[i].keep)
            fail_msg("wrong for %.*s", SPAN_ARG(cases[i].in));
    }
}

TEST(an_expectation_counts_from_http_1_1_on)
{
    CHECK_INT(request((struct span)WITH("Expect: 100-Continue\r\n")), HTTP1_DONE);
    CHECK(head.expect_continue);
    CHECK_INT(request(SPAN("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")), HTTP1_DONE);
    CHECK(!head.expect_continue);
}

TEST(the_framing_of_an_answer_follows_the_request_and_the_status)
{
    static const struct {
        const char *method;
        struct span in;
        unsigned status;
        enum http1_framing framing;
        bool keep;
    } cases[] = {
        {"GET", BYTES("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), 200, HTTP1_LENGTH, true},
        {"GET", BYTES("HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n"), 200, HTTP1_LENGTH, true},
        {"GET", BYTES("HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\n"), 200, HTTP1_LENGTH, true},
        {"GET", BYTES("HTTP/1.1 500 \xe4 b\tc\r\nTransfer-Encoding: Chunked\r\n\r\n"), 500,
         HTTP1_CHUNKED, true},
        {"GET", BYTES("HTTP/1.1 200 OK\r\n\r\n"), 200, HTTP1_UNTIL_CLOSE, false},
        {"GET", BYTES("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"), 200, HTTP1_UNTIL_CLOSE,
         false},
        {"GET", BYTES("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n"), 200, HTTP1_LENGTH, false},
        {"GET", BYTES("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n"),
         200, HTTP1_LENGTH, true},
        {"HEAD", BYTES("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), 200, HTTP1_NO_BODY, true},
        {"GET", BYTES("HTTP/1.1 204 No Content\r\n\r\n"), 204, HTTP1_NO_BODY, true},
        {"GET", BYTES("HTTP/1.1 304 X\r\nContent-Length: 3\r\n\r\n"), 304, HTTP1_NO_BODY, true},
        {"GET", BYTES("HTTP/1.1 100 Continue\r\n\r\n"), 100, HTTP1_NO_BODY, true},
        {"CONNECT", BYTES("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), 200, HTTP1_NO_BODY,
         true},
        {"CONNECT", BYTES("HTTP/1.1 403 X\r\nContent-Length: 3\r\n\r\n"), 403, HTTP1_LENGTH, true},
        {"GET",
         BYTES("HTTP/1.1 999 X\r\nContent-Length: 3\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n"),
         999, HTTP1_LENGTH, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (answer(cases[i].method, cases[i].in) != HTTP1_DONE)
            fail_msg("%s: %.*s", why.text, SPAN_ARG(cases[i].in));
        CHECK_INT(used, cases[i].in.n);
        if (head.status != cases[i].status || head.framing != cases[i].framing ||
            head.keep_alive != cases[i].keep ||
            head.length != (cases[i].framing == HTTP1_LENGTH ? 3 : 0))
            fail_msg("wrong for %s %.*s", cases[i].method, SPAN_ARG(cases[i].in));
    }
}

#define ANSWER(fields) BYTES("HTTP/1.1 200 OK\r\n" fields "\r\n")

TEST(each_wrong_answer_has_its_code)
{
    static const struct refusal wrong[] = {
        {BYTES("HTTP/1.1  200 OK\r\n"), 400, "bad_status_line"},
        {BYTES("HTTP/1.1 20 OK\r\n"), 400, "bad_status_line"},
        {BYTES("HTTP/1.1 2000 OK\r\n"), 400, "bad_status_line"},
        {BYTES("HTTP/1.1 099 OK\r\n"), 400, "bad_status_line"},
        {BYTES("HTTP/1.1 200OK\r\n"), 400, "bad_status_line"},
        {BYTES("HTTP/1.1\t200 OK\r\n"), 400, "bad_status_line"},
        {BYTES("HTTP/1.1 +20 OK\r\n"), 400, "bad_status_line"},
        {BYTES("HTTP/1.1\r\n"), 400, "bad_status_line"},
        {BYTES("\r\nHTTP/1.1 200 OK\r\n"), 400, "bad_status_line"},
        {BYTES("HTTP/1.1 200 O\0K\r\n"), 400, "bad_status_line"},
        {BYTES("HTTP/2.0 200 OK\r\n"), 505, "version_not_supported"},
        {ANSWER("Content-Length: 1\r\nContent-Length: 1\r\n"), 400, "bad_framing"},
        {ANSWER("Content-Length: -1\r\n"), 400, "bad_framing"},
        {ANSWER("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400, "bad_framing"},
        {ANSWER("Transfer-Encoding: gzip\r\n"), 400, "bad_framing"},
        {ANSWER("Transfer-Encoding: gzip, chunked\r\n"), 501, "not_implemented"},
        {BYTES("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, "bad_framing"},
        {ANSWER("X: a\n"), 400, "bad_header"},
    };

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        check_refused(answer("GET", wrong[i].in), wrong[i].in, wrong[i].status, wrong[i].code);
}

/* "GET /" + fill + " HTTP/1.1\r\nHost: a\r\n" + fields X: + fill */
static struct strbuf long_head(size_t line, size_t total)
{
    struct strbuf s = strbuf_heap(1 << 20);

    strbuf_add(&s, "GET /");
    while (s.len + 11 < line)
        strbuf_add_char(&s, 'a');
    strbuf_add(&s, " HTTP/1.1\r\nHost: a\r\nX:");
    while (s.len + 4 < total)
        strbuf_add_char(&s, 'x');
    strbuf_add(&s, "\r\n\r\n");
    return s;
}

TEST(limits_hold_to_the_byte_and_before_the_head_ends)
{
    struct strbuf s = long_head(HTTP1_MAX_LINE, HTTP1_MAX_HEAD);
    struct span in = strbuf_span(&s);

    CHECK_INT(request(in), HTTP1_DONE);
    CHECK_INT(used, HTTP1_MAX_HEAD);
    strbuf_release(&s);

    s = long_head(HTTP1_MAX_LINE + 1, 0);
    in = (struct span){s.buf, HTTP1_MAX_LINE};
    check_refused(request(in), (struct span){in.p, 5}, 414, "uri_too_long");
    in.n--;
    CHECK_INT(request(in), HTTP1_MORE);
    strbuf_release(&s);

    s = long_head(0, HTTP1_MAX_HEAD + 1);
    in = (struct span){s.buf, HTTP1_MAX_HEAD};
    check_refused(request(in), (struct span){in.p, 5}, 431, "header_too_large");
    in.n--;
    CHECK_INT(request(in), HTTP1_MORE);
    strbuf_release(&s);
}

TEST(too_many_fields_are_refused_whole_or_line_by_line)
{
    struct strbuf s = strbuf_heap(1 << 16);
    size_t scanned = 0, lines = 0;

    strbuf_add(&s, REQUEST_LINE "Host: a\r\n");
    for (lines = 1; lines < HTTP1_MAX_HEADERS; lines++) {
        strbuf_add(&s, "a:\r\n");
        CHECK_INT(http1_read_request(strbuf_span(&s), &scanned, &head, &used, &why), HTTP1_MORE);
    }
    strbuf_add(&s, "a:\r\n");
    CHECK_INT(http1_read_request(strbuf_span(&s), &scanned, &head, &used, &why), HTTP1_BAD);
    CHECK_INT(why.status, 431);
    check_refused(request(strbuf_span(&s)), SPAN("129 fields"), 431, "header_too_large");

    s.len -= 4;
    strbuf_add(&s, "\r\n");
    CHECK_INT(request(strbuf_span(&s)), HTTP1_DONE);
    CHECK_INT(head.n, HTTP1_MAX_HEADERS);
    strbuf_release(&s);
}

/* Spoilt behind the codec's back, what it has already searched is not noticed. */
TEST(bytes_that_were_searched_are_not_searched_again)
{
    char in[] = REQUEST_LINE "Host: a\r\nX: aaaaaaaa";
    size_t scanned = 0, n = sizeof in - 1;

    CHECK_INT(http1_read_request((struct span){in, n - 1}, &scanned, &head, &used, &why),
              HTTP1_MORE);
    memset(in, '\n', n - 1);
    CHECK_INT(http1_read_request((struct span){in, n}, &scanned, &head, &used, &why), HTTP1_MORE);
}

/* What a body comes to: "payload|rest" read whole, and the same byte by byte. */
static void check_chunked(struct span in, const char *want)
{
    const char *top = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    struct strbuf message = strbuf_heap(1 << 20);
    struct reading whole, bytewise;
    struct span got;

    strbuf_add(&message, top);
    strbuf_add_span(&message, in);
    in = strbuf_span(&message);
    drive(in, "GET", (struct pieces){.size = in.n}, &whole);
    drive(in, "GET", (struct pieces){.size = 1}, &bytewise);
    CHECK(same_reading(&whole, &bytewise));
    got = strbuf_span(&whole.text);
    got.p = span_find(got, "<chunked>\n");
    CHECK(got.p != NULL);
    got.p += strlen("<chunked>\n");
    if (strncmp(got.p, want, strlen(want)) != 0)
        fail_msg("%s\nis read as\n%s\nnot\n%s", in.p, got.p, want);
    reading_release(&whole);
    reading_release(&bytewise);
    strbuf_release(&message);
}

TEST(chunks_are_joined_and_what_is_around_them_is_dropped)
{
    check_chunked(SPAN("3\r\nabc\r\n02\r\nde\r\n0\r\n\r\n"), "abcde\n==\nDONE");
    check_chunked(SPAN("a;x=\"y\";z\r\n0123456789\r\n000\r\n\r\n"), "0123456789\n==\nDONE");
    check_chunked(SPAN("1\r\na\r\n0;x\r\nA: b\r\nHost: \xe4\r\nC:\r\n\r\n"), "a\n==\nDONE");
    check_chunked(SPAN("A\r\n01234"), "01234MORE");
    check_chunked(SPAN("0\r\n\r"), "MORE");
}

TEST(each_wrong_chunk_is_refused_after_the_payload_before_it)
{
    static const struct span wrong[] = {
        BYTES("+1\r\n"),     BYTES("-1\r\n"),     BYTES(" 1\r\n"),       BYTES("1 \r\n"),
        BYTES("0x1\r\n"),    BYTES("\r\n"),       BYTES(";a\r\n"),       BYTES("1\n"),
        BYTES("1\r\r"),      BYTES("1_0\r\n"),    BYTES("1;a\n"),        BYTES("1;a\rb"),
        BYTES("1;\0\r\n"),   BYTES("g\r\n"),      BYTES("1\r\na\n"),     BYTES("1\r\nab"),
        BYTES("1\r\na\r0"),  BYTES("0\n"),        BYTES("0\r\n\n"),      BYTES("0\r\n\rx"),
        BYTES("0\r\nA\n"),   BYTES("0\r\n:"),     BYTES("0\r\nA b:"),    BYTES("0\r\nA: \n"),
        BYTES("0\r\n A: b"), BYTES("0\r\nA\r\n"), BYTES("0\r\nA: b\rc"), BYTES("0\r\nA: \0"),
    };

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct strbuf s = strbuf_heap(64);

        strbuf_add(&s, "2\r\nok\r\n");
        strbuf_add_span(&s, wrong[i]);
        check_chunked(strbuf_span(&s),
                      wrong[i].p[0] != '1' || wrong[i].p[1] != '\r' || wrong[i].p[2] != '\n'
                          ? "okBAD 400 bad_chunk"
                          : "okaBAD 400 bad_chunk");
        strbuf_release(&s);
    }
    check_chunked(SPAN("8000000000000000\r\n"), "BAD 413 body_too_large");
    check_chunked(SPAN("00000000000000001\r\n"), "BAD 413 body_too_large");
    check_chunked(SPAN("7fffffffffffffff\r\nab"), "abMORE");
}

static void check_filled(const char *start, size_t fill, const char *end, const char *want)
{
    struct strbuf s = strbuf_heap(1 << 20);

    strbuf_add(&s, start);
    while (fill-- > 0)
        strbuf_add_char(&s, 'a');
    strbuf_add(&s, end);
    check_chunked(strbuf_span(&s), want);
    strbuf_release(&s);
}

TEST(extensions_and_trailers_are_limited)
{
    check_filled("1;", HTTP1_MAX_CHUNK_LINE - 2, "\r\nx\r\n0\r\n\r\n", "x\n==\nDONE");
    check_filled("1;", HTTP1_MAX_CHUNK_LINE - 1, "", "BAD 400 bad_chunk");
    check_filled("0\r\nx:", HTTP1_MAX_TRAILERS - 5, "\r\n\r\n", "\n==\nDONE");
    check_filled("0\r\nx:", HTTP1_MAX_TRAILERS - 1, "", "BAD 431 bad_chunk");
    check_filled("0\r\nx:\r\ny:", HTTP1_MAX_TRAILERS - 5, "", "BAD 431 bad_chunk");
}

TEST(a_buffer_with_a_part_of_a_large_chunk_takes_one_call)
{
    static char in[70000] = "10000\r\n";
    struct http1_body b;
    struct span data;

    head = (struct http1_head){.framing = HTTP1_CHUNKED};
    http1_body_start(&b, &head);
    CHECK(!b.done);
    CHECK_INT(http1_body_read(&b, (struct span){in, 60000}, &used, &data, &why), HTTP1_MORE);
    CHECK_INT(used, 60000);
    CHECK_INT(data.n, 60000 - 7);
    CHECK(data.p == in + 7);
    memcpy(in + 65536 - (60000 - 7), "\r\n2\r\nabcd", 9);
    CHECK_INT(http1_body_read(&b, (struct span){in, 10000}, &used, &data, &why), HTTP1_MORE);
    CHECK_INT(data.n, 65536 - (60000 - 7));
    CHECK_INT(used, data.n + 5);
}

TEST(a_body_with_a_length_ends_there)
{
    struct http1_body b;
    struct span data;

    head = (struct http1_head){.framing = HTTP1_LENGTH, .length = 5};
    http1_body_start(&b, &head);
    CHECK_INT(http1_body_read(&b, SPAN("abc"), &used, &data, &why), HTTP1_MORE);
    CHECK_SPAN(data, "abc");
    CHECK_INT(http1_body_read(&b, SPAN("deGET"), &used, &data, &why), HTTP1_DONE);
    CHECK_SPAN(data, "de");
    CHECK_INT(used, 2);
    CHECK_INT(http1_body_read(&b, SPAN("GET"), &used, &data, &why), HTTP1_DONE);
    CHECK_INT(used, 0);
}

TEST(a_body_of_no_bytes_is_done_at_once_and_one_until_close_never)
{
    struct http1_body b;
    struct span data;

    head = (struct http1_head){.framing = HTTP1_LENGTH};
    http1_body_start(&b, &head);
    CHECK(b.done);
    head.framing = HTTP1_NO_BODY;
    http1_body_start(&b, &head);
    CHECK(b.done);
    head.framing = HTTP1_UNTIL_CLOSE;
    http1_body_start(&b, &head);
    CHECK_INT(http1_body_read(&b, SPAN("abc"), &used, &data, &why), HTTP1_MORE);
    CHECK_SPAN(data, "abc");
    CHECK_INT(used, 3);
}

TEST(the_size_line_of_a_chunk_is_lower_case_hex)
{
    static const struct {
        size_t size;
        const char *line;
    } cases[] = {{1, "1\r\n"},
                 {15, "f\r\n"},
                 {16, "10\r\n"},
                 {500, "1f4\r\n"},
                 {0xabcdef, "abcdef\r\n"},
                 {0, "0\r\n"},
                 {SIZE_MAX, "ffffffffffffffff\r\n"}};
    char out[HTTP1_CHUNK_HEAD];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span got = {out, http1_chunk_head(out, cases[i].size)};

        CHECK_SPAN(got, cases[i].line);
    }
}

TEST(a_status_has_its_phrase)
{
    CHECK_STR(http1_reason(200), "OK");
    CHECK_STR(http1_reason(429), "Too Many Requests");
    CHECK_STR(http1_reason(529), "");
}

TEST_MAIN()
