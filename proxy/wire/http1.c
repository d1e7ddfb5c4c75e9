#include "proxy/wire/http1.h"

#include <assert.h>
#include <stddef.h>
#include <strings.h>

#include "proxy/base/attributes.h"
#include "proxy/wire/http1_bytes.h"

static bool bad_request_line(struct http1_problem *why, const char *text)
{
    return bad(why, 400, "bad_request_line", text);
}

/* "HTTP/1.1" and nothing else; how a version is spelt wrongly is for the caller to say. */
static bool is_version(struct span s)
{
    return s.n == 8 && span_starts(s, "HTTP/") && is(s.p[5], DIGIT) && s.p[6] == '.' &&
           is(s.p[7], DIGIT);
}

static bool take_version(struct span s, unsigned *minor, struct http1_problem *why)
{
    if (s.p[5] != '1')
        return bad(why, 505, "version_not_supported", "only HTTP/1.0 and HTTP/1.1 are spoken here");
    *minor = s.p[7] == '0' ? 0 : 1;
    return true;
}

/* One pass over a target that starts with "/": every byte, every escape, and in the path each
 * segment, which must not come down to "." or ".." (somebody after us would resolve it). */
static bool check_path_and_query(struct span target, struct http1_problem *why)
{
    size_t dots = 0, others = 0;
    bool in_path = true;

    for (size_t i = 0; i < target.n; i++) {
        char c = target.p[i];
        int high, low;

        if (!is(c, TARGET))
            return bad_request_line(why, "the request target holds a byte that is not allowed");
        if (c == '%') {
            high = i + 1 < target.n ? hex_value(target.p[i + 1]) : -1;
            low = i + 2 < target.n ? hex_value(target.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return bad_request_line(why, "two hex digits must follow a % in the target");
            c = (char)(high * 16 + low);
            if (c == '\0' || (in_path && (c == '/' || c == '\\')))
                return bad_request_line(why, "the request target holds %00, %2f or %5c");
            i += 2;
        } else if (in_path && (c == '/' || c == '?')) {
            if (others == 0 && (dots == 1 || dots == 2))
                break;
            dots = others = 0;
            in_path = c == '/';
            continue;
        }
        if (c == '.')
            dots++;
        else
            others++;
    }
    if (in_path && others == 0 && (dots == 1 || dots == 2))
        return bad_request_line(why, "the path of the request holds a \".\" or \"..\" segment");
    return true;
}

static bool parse_request_line(struct span line, struct http1_head *head, struct http1_problem *why)
{
    struct span method, target, version;
    const char *space;

    method = (struct span){line.p, run_of(line, TOKEN)};
    if (method.n == 0 || method.n == line.n || line.p[method.n] != ' ')
        return bad_request_line(why, "a request line is: METHOD, one space, target, one space, "
                                     "HTTP/1.1");
    target = skip(line, method.n + 1);
    space = memchr(target.p, ' ', target.n);
    if (space == NULL)
        return bad_request_line(why, "the request line has no HTTP version");
    version = skip(target, (size_t)(space - target.p) + 1);
    target.n = (size_t)(space - target.p);
    if (!is_version(version))
        return bad_request_line(why, "the request line must end with one space and HTTP/1.1");
    if (!take_version(version, &head->minor, why))
        return false;
    if (!span_starts(target, "/")) {
        if (!span_is(target, "*") || !span_is(method, "OPTIONS"))
            return bad_request_line(why, "the request target must start with \"/\"");
    } else if (!check_path_and_query(target, why)) {
        return false;
    }
    head->method = method;
    head->target = target;
    return true;
}

static bool parse_status_line(struct span line, struct http1_head *head, struct http1_problem *why)
{
    struct span version = {line.p, 8}, rest;

    if (line.n < 12 || !is_version(version) || line.p[8] != ' ')
        return bad(why, 400, "bad_status_line",
                   "a status line is: HTTP/1.1, one space, three digits, one space, a reason");
    if (!take_version(version, &head->minor, why))
        return false;
    rest = skip(line, 9);
    if (run_of(rest, DIGIT) != 3 || rest.p[0] == '0' || (rest.n > 3 && rest.p[3] != ' '))
        return bad(why, 400, "bad_status_line", "a status has three digits and is 100 or more");
    head->status = (unsigned)((rest.p[0] - '0') * 100 + (rest.p[1] - '0') * 10 + rest.p[2] - '0');
    return true;
}

/* A run of TOKEN bytes, quick where they are letters, digits and "-". */
static size_t name_length(struct span line)
{
    size_t n = 0;

    for (unsigned k = 16; k == 16 && line.n - n >= 16; n += k) {
        bytes16 v = load16(line.p + n), letter = (v | 0x20) - 'a', digit = v - '0';

        k = first_hit((bytes16)((letter >= 26) & (digit >= 10) & (v != '-')));
    }
    return n + run_of(skip(line, n), TOKEN);
}

static bool parse_header(struct span line, struct http1_header *header, struct http1_problem *why)
{
    size_t n = name_length(line);

    if (n == 0 && (line.p[0] == ' ' || line.p[0] == '\t'))
        return bad(why, 400, "bad_header", "a header line starts with white space");
    if (n == 0 || n == line.n || line.p[n] != ':')
        return bad(why, 400, "bad_header",
                   "a header line is: a name without odd bytes, a colon, a value");
    header->name = (struct span){line.p, n};
    header->value = span_trim(skip(line, n + 1));
    return true;
}

/* The first byte in [p, end) that cannot be inside a line: a control byte (but a tab) or DEL. */
static const char *skip_text(const char *p, const char *end)
{
    for (unsigned n; end - p >= 16; p += 16) {
        bytes16 v = load16(p);

        n = first_hit((bytes16)(((v < 0x20) & (v != '\t')) | (v == 0x7f)));
        if (n < 16)
            return p + n;
    }
    while (p < end && is(*p, TEXT))
        p++;
    return p;
}

/* RFC 9112 2.2: empty lines before a request are read over, but not for ever. */
static size_t skip_empty_lines(struct span in)
{
    size_t n = 0;

    while (n < 2 * HTTP1_MAX_EMPTY && in.n - n >= 2 && memcmp(in.p + n, "\r\n", 2) == 0)
        n += 2;
    return n;
}

/* Can a message start with these few bytes? So a TLS handshake, an HTTP/2 answer or noise is
 * refused by its first bytes, whether or not a line end ever comes. */
static bool check_request_start(struct span start, struct http1_problem *why)
{
    struct span method = start;
    size_t n;

    if (method.n > HTTP1_MAX_METHOD + 1)
        method.n = HTTP1_MAX_METHOD + 1;
    n = run_of(method, TOKEN);
    if (n > HTTP1_MAX_METHOD)
        return bad(why, 501, "not_implemented", "no method is that long");
    if (start.n == 1 && start.p[0] == '\r')
        return true; /* perhaps half of an empty line */
    if (n < start.n && (n == 0 || start.p[n] != ' '))
        return bad_request_line(why, "this is not the start of an HTTP/1.1 request");
    if (n + 1 < start.n && start.p[n + 1] != '/' && start.p[n + 1] != '*')
        return bad_request_line(why, "the request target must start with \"/\"");
    return true;
}

static bool check_answer_start(struct span start, struct http1_problem *why)
{
    if (memcmp(start.p, "HTTP/", start.n < 5 ? start.n : 5) != 0)
        return bad(why, 400, "bad_status_line", "this is not the start of an HTTP/1.1 answer");
    return true;
}

/* What stopped skip_text() at `p`, when it is not a whole CRLF? */
static void bad_byte(const char *p, bool in_start_line, bool request, struct http1_problem *why)
{
    const char *text = "a control byte in a message head";

    if (*p == '\n')
        text = "a line end in a message head is a bare LF; it must be CR LF";
    else if (*p == '\r')
        text = "a CR in a message head has no LF after it";
    if (!in_start_line)
        bad(why, 400, "bad_header", text);
    else
        bad(why, 400, request ? "bad_request_line" : "bad_status_line", text);
}

static void too_large(bool in_start_line, bool request, struct http1_problem *why)
{
    if (in_start_line && request)
        bad(why, 414, "uri_too_long", "the request line is longer than 16384 bytes");
    else
        bad(why, 431, "header_too_large",
            in_start_line ? "the status line is longer than 16384 bytes"
                          : "the message head is larger than 65536 bytes");
}

/* *scanned: how many bytes were searched and how many lines were complete among them. */
#define LINE_UNIT ((size_t)1 << 20)

_Static_assert(HTTP1_MAX_HEAD < LINE_UNIT, "an offset must fit below the count of lines");
_Static_assert(HTTP1_MAX_LINE + 2 * HTTP1_MAX_EMPTY <= HTTP1_MAX_HEAD, "limits must nest");

/* Where the first line starts, when it can be the first line of a message; or NULL. */
static const char *find_start(struct span in, bool request, struct http1_problem *why)
{
    struct span start = request ? skip(in, skip_empty_lines(in)) : in;

    if (start.n > 0 && !(request ? check_request_start : check_answer_start)(start, why))
        return NULL;
    return start.p;
}

static bool parse_line(size_t number, struct span line, bool request, struct http1_head *head,
                       struct http1_problem *why)
{
    if (number == 0)
        return (request ? parse_request_line : parse_status_line)(line, head, why);
    if (number > HTTP1_MAX_HEADERS)
        return bad(why, 431, "header_too_large", "the message has more than 128 header fields");
    if (!parse_header(line, &head->headers[number - 1], why))
        return false;
    head->marks |= http1_mark(head->headers[number - 1].name);
    return true;
}

/* Goes through the head line by line. Each line is checked when its end is found, in the order of
 * the bytes, and nothing is searched twice: so neither verdict nor cost depends on the pieces. When
 * a head is complete but its first lines came with an earlier call, one more pass fills *head. */
static enum http1_result read_head(struct span in, bool request, size_t *scanned,
                                   struct http1_head *head, size_t *used, struct http1_problem *why)
{
    size_t lines = *scanned / LINE_UNIT, limit = HTTP1_MAX_HEAD;
    const bool resumed = lines > 0;
    const char *line = NULL, *p, *end;

    if (in.n == 0)
        return HTTP1_MORE;
    assert(*scanned % LINE_UNIT <= in.n);
    p = in.p + *scanned % LINE_UNIT;
    if (!resumed) {
        line = find_start(in, request, why);
        if (line == NULL)
            return HTTP1_BAD;
        if (p < line)
            p = line;
        limit = (size_t)(line - in.p) + HTTP1_MAX_LINE;
    }
    for (;; lines++) {
        end = in.p + (in.n < limit ? in.n : limit);
        p = skip_text(p, end);
        if (p == end || (p + 1 == end && *p == '\r')) {
            if (in.n >= limit) {
                too_large(lines == 0, request, why);
                return HTTP1_BAD;
            }
            *scanned = lines * LINE_UNIT + (size_t)(p - in.p);
            return HTTP1_MORE;
        }
        if (*p != '\r' || p[1] != '\n') {
            bad_byte(p, lines == 0, request, why);
            return HTTP1_BAD;
        }
        if (line == NULL) { /* it began in an earlier piece, behind another line */
            line = memrchr(in.p, '\n', (size_t)(p - in.p));
            line++;
        }
        if (lines > 0 && line == p)
            break;
        if (!parse_line(lines, (struct span){line, (size_t)(p - line)}, request, head, why))
            return HTTP1_BAD;
        limit = HTTP1_MAX_HEAD;
        p += 2;
        line = p;
    }
    *scanned = 0;
    if (resumed)
        return read_head(in, request, scanned, head, used, why);
    head->n = (unsigned)lines - 1;
    *used = (size_t)(p + 2 - in.p);
    return HTTP1_DONE;
}

/* The fields that say how a message is framed or who sent it, so that there is one of each. */
enum field {
    HOST,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    EXPECT,
    ORIGIN,
    CONTENT_TYPE,
    AUTHORIZATION,
    API_KEY,
    GOOG_API_KEY,
    SINGLE_FIELDS,
    CONNECTION = SINGLE_FIELDS,
    OTHER,
};

static const struct twice {
    const char *code, *text;
} twice[SINGLE_FIELDS] = {
    [HOST] = {"bad_host", "there is more than one Host"},
    [CONTENT_LENGTH] = {"bad_framing", "there is more than one Content-Length"},
    [TRANSFER_ENCODING] = {"bad_framing", "there is more than one Transfer-Encoding"},
    [EXPECT] = {"duplicate_header", "there is more than one Expect"},
    [ORIGIN] = {"duplicate_header", "there is more than one Origin"},
    [CONTENT_TYPE] = {"duplicate_header", "there is more than one Content-Type"},
    [AUTHORIZATION] = {"duplicate_header", "there is more than one Authorization"},
    [API_KEY] = {"duplicate_header", "there is more than one x-api-key"},
    [GOOG_API_KEY] = {"duplicate_header", "there is more than one x-goog-api-key"},
};

static bool is_field(struct span name, const char *lower)
{
    return (name.p[0] | 0x20) == lower[0] && span_is_nocase(name, lower);
}

/* By length first: most names are none of these, and a message has many. */
static enum field field_of(struct span name)
{
    switch (name.n) {
    case 4:
        return is_field(name, "host") ? HOST : OTHER;
    case 6:
        if (is_field(name, "expect"))
            return EXPECT;
        return is_field(name, "origin") ? ORIGIN : OTHER;
    case 9:
        return is_field(name, "x-api-key") ? API_KEY : OTHER;
    case 10:
        return is_field(name, "connection") ? CONNECTION : OTHER;
    case 12:
        return is_field(name, "content-type") ? CONTENT_TYPE : OTHER;
    case 13:
        return is_field(name, "authorization") ? AUTHORIZATION : OTHER;
    case 14:
        if (is_field(name, "content-length"))
            return CONTENT_LENGTH;
        return is_field(name, "x-goog-api-key") ? GOOG_API_KEY : OTHER;
    case 17:
        return is_field(name, "transfer-encoding") ? TRANSFER_ENCODING : OTHER;
    default:
        return OTHER;
    }
}

/* What the header fields say together; a value with p == NULL was not sent. */
struct summary {
    struct span value[SINGLE_FIELDS];
    bool close, keep_alive; /* the options of Connection that concern us */
};

static void take_connection(struct summary *sum, struct span list)
{
    while (list.n > 0) {
        const char *comma = memchr(list.p, ',', list.n);
        size_t n = comma != NULL ? (size_t)(comma - list.p) : list.n;
        struct span option = span_trim((struct span){list.p, n});

        if (span_is_nocase(option, "close"))
            sum->close = true;
        else if (span_is_nocase(option, "keep-alive"))
            sum->keep_alive = true;
        list = skip(list, comma != NULL ? n + 1 : n);
    }
}

static bool summarise(const struct http1_head *head, bool request, struct summary *sum,
                      struct http1_problem *why)
{
    *sum = (struct summary){0};
    for (unsigned i = 0; i < head->n; i++) {
        const struct http1_header *h = &head->headers[i];
        enum field f = field_of(h->name);

        if (f == CONNECTION) {
            take_connection(sum, h->value);
        } else if (f != OTHER) {
            if (sum->value[f].p != NULL &&
                (request || f == CONTENT_LENGTH || f == TRANSFER_ENCODING))
                return bad(why, 400, twice[f].code, twice[f].text);
            sum->value[f] = h->value;
        }
    }
    return true;
}

/* RFC 9112 6.3: with "chunked" not last the length cannot be known (400); a coding before it is
 * legal but none of ours (6.1: 501). */
static bool check_transfer_encoding(struct span value, struct http1_problem *why)
{
    const char *comma;
    struct span before, last;

    if (span_is_nocase(value, "chunked"))
        return true;
    comma = memrchr(value.p, ',', value.n);
    if (comma != NULL) {
        before = (struct span){value.p, (size_t)(comma - value.p)};
        last = span_trim(skip(value, before.n + 1));
        if (span_is_nocase(last, "chunked") && span_find_nocase(before, "chunked") == NULL)
            return bad(why, 501, "not_implemented", "the only transfer coding here is chunked");
    }
    return bad(why, 400, "bad_framing", "Transfer-Encoding must be exactly: chunked");
}

static bool take_content_length(struct span value, uint64_t *length, struct http1_problem *why)
{
    if (value.n == 0 || run_of(value, DIGIT) != value.n)
        return bad(why, 400, "bad_framing", "Content-Length must be decimal digits only");
    if (!span_to_u64(value, length) || *length > INT64_MAX)
        return bad(why, 413, "body_too_large", "Content-Length is beyond any body");
    return true;
}

/* Where a body ends (RFC 9112 6.3), as the fields alone say it. */
static bool judge_framing(struct http1_head *head, const struct summary *sum,
                          struct http1_problem *why)
{
    struct span length = sum->value[CONTENT_LENGTH], coding = sum->value[TRANSFER_ENCODING];

    head->framing = HTTP1_NO_BODY;
    head->length = 0;
    if (coding.p != NULL) {
        if (head->minor == 0)
            return bad(why, 400, "bad_framing", "HTTP/1.0 has no Transfer-Encoding");
        if (length.p != NULL)
            return bad(why, 400, "bad_framing",
                       "Content-Length and Transfer-Encoding exclude each other");
        head->framing = HTTP1_CHUNKED;
        return check_transfer_encoding(coding, why);
    }
    if (length.p != NULL) {
        head->framing = HTTP1_LENGTH;
        return take_content_length(length, &head->length, why);
    }
    return true;
}

static void judge_connection(struct http1_head *head, const struct summary *sum)
{
    head->keep_alive = !sum->close && (head->minor > 0 || sum->keep_alive);
}

/* The port is checked here; whether the host is ours is not. */
static bool check_host(struct span host, struct http1_problem *why)
{
    size_t n = 0;
    uint64_t port;

    if (span_starts(host, "[")) {
        do
            n++;
        while (n < host.n && (hex_value(host.p[n]) >= 0 || host.p[n] == ':' || host.p[n] == '.'));
        if (n < 3 || n == host.n || host.p[n++] != ']')
            return bad(why, 400, "bad_host", "the address in Host must be like [::1]");
    } else {
        n = run_of(host, NAME);
    }
    if (n == 0)
        return bad(why, 400, "bad_host", "Host must be a name or an address");
    if (n == host.n)
        return true;
    if (host.p[n] != ':' || !span_to_u64(skip(host, n + 1), &port) || port > 65535)
        return bad(why, 400, "bad_host", "Host must be a name or an address, and a port at most");
    return true;
}

static bool judge_request(struct http1_head *head, struct http1_problem *why)
{
    struct summary sum;
    struct span host, expect;

    if (!summarise(head, true, &sum, why) || !judge_framing(head, &sum, why))
        return false;
    host = sum.value[HOST];
    if (host.n > 0) {
        if (!check_host(host, why))
            return false;
    } else if (head->minor > 0) {
        return bad(why, 400, "bad_host", "HTTP/1.1 asks for a Host that is not empty");
    }
    expect = sum.value[EXPECT];
    if (expect.p != NULL && !span_is_nocase(expect, "100-continue"))
        return bad(why, 417, "expectation_failed", "the only known expectation is 100-continue");
    head->expect_continue = expect.p != NULL && head->minor > 0;
    judge_connection(head, &sum);
    return true;
}

static bool judge_answer(struct http1_head *head, struct span method, struct http1_problem *why)
{
    unsigned status = head->status;
    struct summary sum;

    if (!summarise(head, false, &sum, why) || !judge_framing(head, &sum, why))
        return false;
    judge_connection(head, &sum);
    if (status < 200 || status == 204 || status == 304 || span_is(method, "HEAD") ||
        (span_is(method, "CONNECT") && status < 300)) {
        head->framing = HTTP1_NO_BODY;
        head->length = 0;
    } else if (head->framing == HTTP1_NO_BODY) {
        head->framing = HTTP1_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    return true;
}

/* The header fields themselves need no clearing: there are `n` of them. */
static void clear(struct http1_head *head)
{
    memset(head, 0, offsetof(struct http1_head, headers));
}

enum http1_result http1_read_request(struct span in, size_t *scanned, struct http1_head *head,
                                     size_t *used, struct http1_problem *why)
{
    enum http1_result r;

    clear(head);
    r = read_head(in, true, scanned, head, used, why);
    return r == HTTP1_DONE && !judge_request(head, why) ? HTTP1_BAD : r;
}

enum http1_result http1_read_answer(struct span in, size_t *scanned, struct span method,
                                    struct http1_head *head, size_t *used,
                                    struct http1_problem *why)
{
    enum http1_result r;

    clear(head);
    r = read_head(in, false, scanned, head, used, why);
    return r == HTTP1_DONE && !judge_answer(head, method, why) ? HTTP1_BAD : r;
}

struct span http1_find_among(const struct http1_head *head, struct span name)
{
    for (unsigned i = 0; i < head->n; i++)
        if (span_eq_nocase(head->headers[i].name, name))
            return head->headers[i].value;
    return (struct span){NULL, 0};
}

static const struct reason {
    unsigned status;
    const char *phrase;
} reasons[] = {
    {200, "OK"},
    {100, "Continue"},
    {101, "Switching Protocols"},
    {103, "Early Hints"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
    {511, "Network Authentication Required"},
};

const char *http1_reason(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].phrase;
    return "";
}
