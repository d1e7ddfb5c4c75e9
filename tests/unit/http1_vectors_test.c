/* The codec against the shared request vectors and the cases of another HTTP/1 parser: what must be
 * refused is refused, what is legal is read, and neither depends on how the bytes are cut. */
#include <dirent.h>

#include "proxy/base/attributes.h"
#include "tests/unit/check.h"
#include "tests/unit/http1_drive.h"

#define VECTORS SHARED_DIR "/testdata/http1-vectors/vectors.json"
#define CASES   SHARED_DIR "/testdata/llhttp/test/"

static bool is_one_of(struct span s, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (span_is(s, names[i]))
            return true;
    return false;
}

static bool load(const char *path, struct strbuf *out)
{
    FILE *f = fopen(path, "re");
    char *room;

    *out = strbuf_heap(1 << 22);
    if (f == NULL)
        return false;
    for (size_t n = 1; n > 0; strbuf_added(out, n)) {
        room = strbuf_room(out, 65536);
        assert(room != NULL);
        n = fread(room, 1, 65536, f);
    }
    fclose(f);
    return true;
}

static bool have_shared(void)
{
    FILE *f = fopen(VECTORS, "re");

    if (f == NULL) {
        print_message("skipped: no ../shared\n");
        return false;
    }
    fclose(f);
    return true;
}

/* Reads `in` whole, in two pieces cut at every place, and byte by byte: all must read the same. */
static void check_all_cuts(struct span in, const char *method, const struct reading *whole)
{
    for (size_t cut = 0; cut < in.n; cut++) {
        struct reading r;

        drive(in, method, (struct pieces){.first = cut, .size = cut == 0 ? 1 : in.n}, &r);
        if (!same_reading(whole, &r))
            fail_msg("cut at %zu (0: byte by byte) of:\n%.*s\nread\n%.*s\nnot\n%.*s", cut,
                     SPAN_ARG(in), SPAN_ARG(strbuf_span(&r.text)),
                     SPAN_ARG(strbuf_span(&whole->text)));
        reading_release(&r);
    }
}

static bool read_completely(const struct reading *r)
{
    return r->result == HTTP1_DONE && r->messages > 0;
}

/* --- the vectors: {"id": "...", "raw": "...", "expect": "accept|reject|either"} --- */

/* Decodes the next value of `key` behind *p; \u00XX is one byte. */
static bool next_string(struct span *rest, const char *key, struct strbuf *out)
{
    const char *p = span_find(*rest, key), *end = rest->p + rest->n;

    strbuf_clear(out);
    if (p == NULL)
        return false;
    for (p += strlen(key); p < end && *p != '"'; p++) {
        char c = *p;

        if (c == '\\') {
            unsigned code = 0;

            c = *++p;
            if (c == 'u') {
                sscanf(p + 1, "%4x", &code);
                p += 4;
                c = (char)code;
            } else if (c == 'n' || c == 'r' || c == 't' || c == 'f' || c == 'b') {
                c = c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c == 'f' ? '\f' : '\b';
            }
        }
        strbuf_add_char(out, c);
    }
    *rest = (struct span){p, (size_t)(end - p)};
    return true;
}

/* Refused, but not by the codec: the host by the allow list, the length by the cap on bodies (it is
 * the largest that can be told), and the empty segment is tolerated by our routing. */
static const char *const policy[] = {"host-evil", "cl-huge2", "rl-dslash"};

TEST(every_shared_vector_is_judged_as_it_must_be)
{
    struct strbuf file, id = strbuf_heap(256), raw = strbuf_heap(1 << 20),
                        expect = strbuf_heap(256);
    unsigned accepted = 0, refused = 0, either = 0, above = 0, cut = 0;
    struct span rest;

    if (!have_shared() || !load(VECTORS, &file))
        return;
    rest = strbuf_span(&file);
    while (next_string(&rest, "\"id\": \"", &id)) {
        struct reading r;
        struct span in;

        CHECK(next_string(&rest, "\"raw\": \"", &raw));
        CHECK(next_string(&rest, "\"expect\": \"", &expect));
        in = strbuf_span(&raw);
        drive(in, NULL, (struct pieces){.size = in.n}, &r);
        if (is_one_of(strbuf_span(&id), policy, ARRAY_LEN(policy))) {
            above++;
            if (r.result == HTTP1_BAD)
                fail_msg("%s: refused by the codec: %s", id.buf, r.why.code);
        } else if (span_is(strbuf_span(&expect), "accept")) {
            accepted++;
            if (!read_completely(&r))
                fail_msg("%s: must be accepted, but: %s", id.buf, r.text.buf);
        } else if (span_is(strbuf_span(&expect), "reject")) {
            refused++;
            if (r.result != HTTP1_BAD || r.messages > 0)
                fail_msg("%s: must be refused, but: %s", id.buf, r.text.buf);
        } else {
            either++;
        }
        if (in.n < 4096) {
            check_all_cuts(in, NULL, &r);
            cut++;
        }
        reading_release(&r);
    }
    print_message("vectors: %u accepted, %u refused, %u either way, %u left to policy; %u of %u "
                  "cut everywhere\n",
                  accepted, refused, either, above, cut, accepted + refused + either + above);
    CHECK_INT(accepted + refused + either + above, 117);
    strbuf_release(&file);
    strbuf_release(&id);
    strbuf_release(&raw);
    strbuf_release(&expect);
}

/* --- the cases: Markdown with the message in an ```http block and the outcome in a ```log --- */

/* Lines end with CR LF, but a "\" at the end of a line joins it with the next; \r \n \t \f \xNN are
 * bytes. The line end before the closing fence is not part of the message. */
static void decode_message(struct span block, struct strbuf *out)
{
    strbuf_clear(out);
    if (block.n > 0)
        block.n--;
    for (size_t i = 0; i < block.n; i++) {
        char c = block.p[i], next = i + 1 < block.n ? block.p[i + 1] : '\0';
        unsigned code = 0;

        if (c == '\n') {
            strbuf_add(out, "\r\n");
        } else if (c != '\\') {
            strbuf_add_char(out, c);
        } else if (next == 'x') {
            sscanf(block.p + i + 2, "%2x", &code);
            strbuf_add_char(out, (char)code);
            i += 3;
        } else if (next == 'r' || next == 'n' || next == 't' || next == 'f') {
            strbuf_add_char(out, next == 'r'   ? '\r'
                                 : next == 'n' ? '\n'
                                 : next == 't' ? '\t'
                                               : '\f');
            i++;
        } else if (next == '\n') {
            i++;
        } else {
            strbuf_add_char(out, c);
        }
    }
}

static bool next_block(struct span *rest, const char *fence, struct span *block)
{
    const char *p = span_find(*rest, fence), *end = rest->p + rest->n;

    if (p == NULL)
        return false;
    p += strlen(fence);
    block->p = p;
    p = span_find((struct span){p, (size_t)(end - p)}, "```");
    if (p == NULL)
        return false;
    block->n = (size_t)(p - block->p);
    *rest = (struct span){p, (size_t)(end - p)};
    return true;
}

/* What that parser reads and we refuse on purpose: what the message holds, and our code for it. */
static const struct stricter {
    const char *holds, *code;
} stricter[] = {
    /* a target is a path (no fragment, no absolute form, no backslash), "*" goes with OPTIONS */
    {"#hey", "bad_request_line"},
    {"#posts-17408", "bad_request_line"},
    {"GET http://", "bad_request_line"},
    {"M-SEARCH *", "bad_request_line"},
    {"?foo=\\\"bar\\\"", "bad_request_line"},
    /* HTTP/1 is spoken here, and nothing else */
    {" ICE/1.0", "bad_request_line"},
    {" RTSP/1.0", "bad_request_line"},
    {"GET /\r\n", "bad_request_line"},
    {"RTSP/1.1 200", "bad_status_line"},
    {"ICE/1.1 200", "bad_status_line"},
    {"HTTP/0.9 200", "version_not_supported"},
    {"Host: 0.0.0.0=5000", "bad_host"},
    /* no transfer coding but chunked, in answers too */
    {"chunked, deflate", "bad_framing"},
    {"Transfer-Encoding: identity", "bad_framing"},
    {"chunkedchunked", "bad_framing"},
    {"\r\n\r\nHTTP/1.1 ", "bad_status_line"}, /* an empty line too many before an answer */
    {"\r\nHTTP/1.1 200 OK\r\nHeader1", "bad_status_line"},
    {"AAA\r\nHTTP/1.1 201", "bad_status_line"},
};

/* What that parser refuses and we leave to others, or read over because it has no meaning. */
static const char *const tolerated[] = {
    "Data after `Connection: close`", /* whoever owns the connection stops reading there */
    "Invalid method for HTTP/x.x",    /* methods are for the routing to know */
    "in chunk extensions",            /* their inner grammar */
};

struct tally {
    unsigned refused, accepted, stricter, tolerated;
};

static bool is_tolerated(struct span log)
{
    for (size_t i = 0; i < ARRAY_LEN(tolerated); i++)
        if (span_find(log, tolerated[i]) != NULL)
            return true;
    return false;
}

static bool is_stricter(struct span message, const char *code)
{
    for (size_t i = 0; i < ARRAY_LEN(stricter); i++)
        if (strcmp(stricter[i].code, code) == 0 && span_find(message, stricter[i].holds) != NULL)
            return true;
    return false;
}

/* Their HTTP/1.1 requests often lack the Host that the protocol asks for. */
static void add_host(struct strbuf *message)
{
    struct strbuf whole = strbuf_heap(1 << 20);
    struct span rest = strbuf_span(message);
    const char *end;

    while ((end = span_find(rest, " HTTP/1.1\r\n")) != NULL) {
        size_t n = (size_t)(end - rest.p) + strlen(" HTTP/1.1\r\n");

        strbuf_add_n(&whole, rest.p, n);
        strbuf_add(&whole, "Host: a\r\n");
        rest = (struct span){rest.p + n, rest.n - n};
    }
    strbuf_add_span(&whole, rest);
    strbuf_release(message);
    *message = whole;
}

/* Some stop at the trouble, in the middle of a line; then the end of the head must show it. */
static void judge_case(const char *file, bool answer, struct strbuf *text, struct span log,
                       struct tally *tally)
{
    bool refused = span_find(log, "error code=") != NULL;
    const char *method = answer ? "GET" : NULL;
    struct span message;
    struct reading r;

    if (!answer && !refused && span_find_nocase(strbuf_span(text), "\nHost:") == NULL)
        add_host(text);
    message = strbuf_span(text);
    drive(message, method, (struct pieces){.size = message.n}, &r);
    if (refused && r.result == HTTP1_MORE) {
        reading_release(&r);
        strbuf_add(text, "\r\n\r\n");
        message = strbuf_span(text);
        drive(message, method, (struct pieces){.size = message.n}, &r);
    }
    check_all_cuts(message, method, &r);
    if (refused == (r.result == HTTP1_BAD))
        *(refused ? &tally->refused : &tally->accepted) += 1;
    else if (refused && is_tolerated(log))
        tally->tolerated++;
    else if (!refused && is_stricter(message, r.why.code))
        tally->stricter++;
    else
        fail_msg("%s:\n%.*s\nis read as\n%.*s\n", file, SPAN_ARG(message),
                 SPAN_ARG(strbuf_span(&r.text)));
    reading_release(&r);
}

/* Only what is meant for a strict parser without callbacks that pause it or skip bodies. */
static bool is_plain(struct span meta, const char *type)
{
    char wanted[64];

    snprintf(wanted, sizeof wanted, "\"%s\"", type);
    return span_find(meta, wanted) != NULL && span_find(meta, "pause") == NULL &&
           span_find(meta, "skipBody") == NULL;
}

static void run_file(const char *file, const char *type, struct tally *tally)
{
    struct strbuf text;
    struct span rest, meta, message, log;
    char path[1024];

    snprintf(path, sizeof path, CASES "%s/%s", type, file);
    if (!load(path, &text))
        fail_msg("%s: cannot be read", path);
    rest = strbuf_span(&text);
    while (next_block(&rest, "<!-- meta=", &meta)) {
        struct strbuf decoded = strbuf_heap(1 << 20);

        meta.n = (size_t)((const char *)memchr(meta.p, '\n', meta.n) - meta.p);
        CHECK(next_block(&rest, "http\n", &message));
        CHECK(next_block(&rest, "```log\n", &log));
        decode_message(message, &decoded);
        if (is_plain(meta, type))
            judge_case(file, strcmp(type, "response") == 0, &decoded, log, tally);
        strbuf_release(&decoded);
    }
    strbuf_release(&text);
}

static void run_folder(const char *type)
{
    struct tally tally = {0};
    struct dirent *entry;
    DIR *dir = opendir(strcmp(type, "request") == 0 ? CASES "request" : CASES "response");

    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            run_file(entry->d_name, type, &tally);
    closedir(dir);
    print_message("%s cases: %u refused and %u read by both, %u refused by us only, %u read by us "
                  "only\n",
                  type, tally.refused, tally.accepted, tally.stricter, tally.tolerated);
    CHECK(tally.refused > 0 && tally.accepted > 0);
}

TEST(the_request_cases_of_another_parser_are_judged_alike)
{
    if (have_shared())
        run_folder("request");
}

TEST(the_answer_cases_of_another_parser_are_judged_alike)
{
    if (have_shared())
        run_folder("response");
}

TEST_MAIN()
