#include "providers/sse.h"

#include <unistd.h>

#include "proxy/base/json.h"
#include "proxy/base/mem.h"
#include "tests/unit/check.h"

#define MAX_EVENT (1 << 20)

/* Everything a stream gave, as text: two runs are the same where this is. */
struct run {
    struct strbuf raw;        /* all raw bytes, one event after the other */
    struct strbuf dispatched; /* name and data of what WHATWG dispatches, a line each */
    struct strbuf all;        /* every event with all its fields and its borders */
};

static void run_init(struct run *r)
{
    *r = (struct run){strbuf_heap(1 << 24), strbuf_heap(1 << 24), strbuf_heap(1 << 24)};
}

static void run_release(struct run *r)
{
    strbuf_release(&r->raw);
    strbuf_release(&r->dispatched);
    strbuf_release(&r->all);
}

static void note(struct run *r, const struct sse_event *ev)
{
    strbuf_add_span(&r->raw, ev->raw);
    if (ev->has_data && !ev->cut) {
        strbuf_add_span(&r->dispatched, ev->name.n != 0 ? ev->name : SPAN("message"));
        strbuf_add_char(&r->dispatched, '=');
        json_add_string(&r->dispatched, ev->data);
        strbuf_add_char(&r->dispatched, '\n');
    }
    strbuf_addf(&r->all, "%zu %d %d %d ", ev->raw.n, ev->has_data, ev->stray, ev->cut);
    strbuf_add_span(&r->all, ev->name);
    strbuf_add_char(&r->all, '=');
    strbuf_add_span(&r->all, ev->data);
    strbuf_add_char(&r->all, '\n');
}

static void feed(struct sse *s, struct run *r, struct span bytes)
{
    /* A copy of the exact size: reading past its end, or after it is gone, is seen by ASan. */
    char *copy = bytes.n != 0 ? mem_strndup(bytes.p, bytes.n) : NULL;
    struct sse_event ev;

    CHECK_INT(sse_feed(s, (struct span){copy, bytes.n}), 0);
    while (sse_next(s, &ev))
        note(r, &ev);
    free(copy);
}

static void finish(struct sse *s, struct run *r)
{
    struct sse_event ev;

    if (sse_end(s, &ev))
        note(r, &ev);
    CHECK(!sse_end(s, &ev));
    sse_release(s);
}

/* The text in pieces: [0, cut), then `step` bytes at a time. */
static void run_split(struct run *r, struct span text, size_t cut, size_t step)
{
    struct sse s;

    run_init(r);
    sse_init(&s, MAX_EVENT);
    feed(&s, r, (struct span){text.p, cut});
    while (cut < text.n) {
        size_t n = text.n - cut < step ? text.n - cut : step;

        feed(&s, r, (struct span){text.p + cut, n});
        cut += n;
    }
    finish(&s, r);
}

static void same(struct strbuf *got, struct strbuf *want)
{
    if (!span_eq(strbuf_span(got), strbuf_span(want)))
        fail_msg("got:\n%s\nwant:\n%s", got->buf, want->buf);
}

static void check_splits(struct span text, const struct run *whole)
{
    struct run part;

    for (size_t cut = 0; cut <= text.n; cut++) {
        run_split(&part, text, cut, text.n + 1);
        same(&part.all, (struct strbuf *)&whole->all);
        run_release(&part);
    }
}

static void check_stream(struct span text, const char *want_all)
{
    struct run whole, bytewise;

    run_split(&whole, text, text.n, 1);
    CHECK_SPAN(strbuf_span(&whole.all), want_all);
    CHECK(span_eq(strbuf_span(&whole.raw), text));
    run_split(&bytewise, text, 0, 1);
    same(&bytewise.all, &whole.all);
    check_splits(text, &whole);
    run_release(&whole);
    run_release(&bytewise);
}

TEST(an_event_has_its_name_its_data_and_every_byte_of_it)
{
    check_stream(SPAN("event: error\ndata: {\"a\":1}\n\ndata:x\n\n"), "28 1 0 0 error={\"a\":1}\n"
                                                                      "8 1 0 0 =x\n");
}

TEST(comments_and_empty_lines_are_events_without_data)
{
    check_stream(SPAN(": keep-alive\n\n\ndata: a\n\n"), "14 0 0 0 =\n1 0 0 0 =\n9 1 0 0 =a\n");
    check_stream(SPAN(": first\ndata: a\n\n"), "17 1 0 0 =a\n");
}

TEST(an_event_that_lacks_its_empty_line_is_told_at_the_end)
{
    check_stream(SPAN("data: [DONE]"), "12 1 0 1 =[DONE]\n");
    check_stream(SPAN("data: [DONE]\n"), "13 1 0 1 =[DONE]\n");
    check_stream(SPAN("data: [DONE]\r\n\r\n"), "16 1 0 0 =[DONE]\n");
    check_stream(SPAN("data: [DONE]\r\r"), "14 1 0 0 =[DONE]\n");
}

TEST(a_line_that_is_no_field_is_told_as_stray_text)
{
    check_stream(SPAN("data: a\n\n{\n  \"error\": {\n    \"code\": 499}\n}\n"),
                 "9 1 0 0 =a\n34 0 1 1 ={\n  \"error\": {\n    \"code\": 499}\n}\n");
    check_stream(SPAN("<html>\r\n<body>\r\n\r\n"), "18 0 1 0 =<html>\r\n<body>\n");
    check_stream(SPAN("foo: bar\ndata: a\n\n"), "18 1 0 0 =a\n");
    check_stream(SPAN("id: 7\nretry: 10\n\n"), "17 0 0 0 =\n");
}

TEST(a_byte_order_mark_counts_only_at_the_start)
{
    check_stream(SPAN("\xef\xbb\xbf"
                      "data: a\n\n\xef\xbb\xbf"
                      "data: b\n\n"),
                 "12 1 0 0 =a\n12 0 1 0 =\xef\xbb\xbf"
                 "data: b\n");
}

TEST(the_views_of_a_whole_event_are_the_input_itself)
{
    static const char text[] = "data: one\n\ndata: two\n\ndata: th";
    struct sse s;
    struct sse_event ev;

    sse_init(&s, MAX_EVENT);
    CHECK_INT(sse_feed(&s, SPAN(text)), 0);
    CHECK(sse_next(&s, &ev));
    CHECK(ev.raw.p == text && ev.data.p == text + 6);
    CHECK(sse_next(&s, &ev));
    CHECK(ev.raw.p == text + 11);
    CHECK(!sse_next(&s, &ev));
    /* What follows an event that came in pieces is a view again. */
    CHECK_INT(sse_feed(&s, SPAN("ree\n\ndata: four\n\n")), 0);
    CHECK(sse_next(&s, &ev));
    CHECK_SPAN(ev.data, "three");
    CHECK(sse_next(&s, &ev));
    CHECK_SPAN(ev.data, "four");
    CHECK_INT(s.tail.len, 0);
    CHECK(!sse_next(&s, &ev));
    CHECK(!sse_end(&s, &ev));
    sse_release(&s);
}

/* Feeds the text in pieces of `step` bytes under a cap; false where the cap was passed. */
static bool fits(size_t cap, struct span text, size_t step)
{
    struct sse s;
    struct sse_event ev;
    bool ok = true;

    sse_init(&s, cap);
    for (size_t at = 0; ok && at < text.n; at += step) {
        size_t n = text.n - at < step ? text.n - at : step;

        ok = sse_feed(&s, (struct span){text.p + at, n}) == 0;
        while (ok && sse_next(&s, &ev)) {
        }
    }
    sse_release(&s);
    return ok;
}

TEST(an_event_longer_than_the_cap_is_an_error_whatever_the_split)
{
    static const struct span text = SPAN("data: a\n\ndata: 0123456789\n\ndata: b\n\n");

    for (size_t step = 1; step <= text.n; step++) {
        CHECK(fits(18, text, step));
        CHECK(!fits(17, text, step));
    }
    CHECK(!fits(17, SPAN("data: 01234567890"), 5) == false);
    CHECK(!fits(16, SPAN("data: 01234567890"), 5));
}

TEST(a_large_event_in_small_pieces_takes_linear_time)
{
    enum { SIZE = 8 << 20 };
    char *text = mem_alloc(SIZE);
    struct sse s;
    struct sse_event ev;
    size_t events = 0;

    /* With anything quadratic this would not end within the test's time limit. */
    memset(text, 'x', SIZE);
    memcpy(text, "data: ", 6);
    text[SIZE - 2] = text[SIZE - 1] = '\n';
    sse_init(&s, SIZE);
    for (size_t at = 0; at < SIZE; at += 16) {
        CHECK_INT(sse_feed(&s, (struct span){text + at, 16}), 0);
        while (sse_next(&s, &ev))
            events++;
    }
    CHECK_INT(events, 1);
    sse_release(&s);

    memset(text, '\r', SIZE);
    sse_init(&s, SIZE);
    CHECK_INT(sse_feed(&s, (struct span){text, SIZE}), 0);
    while (sse_next(&s, &ev))
        events++;
    CHECK(sse_end(&s, &ev));
    CHECK_INT(events, SIZE);
    sse_release(&s);
    free(text);
}

/* ---- the shared vectors ---- */

static struct strbuf read_file(const char *path)
{
    struct strbuf text = strbuf_heap(1 << 24);
    FILE *f = fopen(path, "re");
    size_t n;

    assert_non_null(f);
    do {
        char *room = strbuf_room(&text, 65536);

        assert_non_null(room);
        n = fread(room, 1, 65536, f);
        strbuf_added(&text, n);
    } while (n > 0);
    fclose(f);
    return text;
}

/* The vectors' `raw` holds one character for each byte (latin-1). */
static struct span bytes_of(struct span text, struct arena *a)
{
    char *out = arena_alloc(a, text.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c >= 0x80)
            c = (unsigned char)(c << 6 | ((unsigned char)text.p[++i] & 0x3f));
        out[n++] = (char)c;
    }
    return (struct span){out, n};
}

static void want_event(struct json *j, struct arena *a, struct strbuf *out)
{
    struct span key, event = {0}, data = {0};

    CHECK(json_enter(j, JSON_OBJECT));
    while (json_member(j, &key)) {
        struct span *to = span_is(key, "event") ? &event : span_is(key, "data") ? &data : NULL;
        struct span value = json_take(j);

        if (to != NULL)
            *to = json_text(value, a);
    }
    strbuf_add_span(out, event);
    strbuf_add_char(out, '=');
    json_add_string(out, data);
    strbuf_add_char(out, '\n');
}

static void check_vector(struct json *j, struct arena *a)
{
    struct strbuf want = strbuf_heap(1 << 20);
    struct span key, id = {0}, text = {0};
    struct run whole, bytewise;

    CHECK(json_enter(j, JSON_OBJECT));
    while (json_member(j, &key)) {
        if (span_is(key, "events")) {
            CHECK(json_enter(j, JSON_ARRAY));
            while (json_item(j))
                want_event(j, a, &want);
        } else if (span_is(key, "raw")) {
            text = bytes_of(json_text(json_take(j), a), a);
        } else if (span_is(key, "id")) {
            id = json_text(json_take(j), a);
        } else {
            json_take(j);
        }
    }
    run_split(&whole, text, text.n, 1);
    if (!span_eq(strbuf_span(&whole.dispatched), strbuf_span(&want)))
        fail_msg("%.*s: got:\n%s\nwant:\n%s", SPAN_ARG(id), whole.dispatched.buf, want.buf);
    CHECK(span_eq(strbuf_span(&whole.raw), text));
    run_split(&bytewise, text, 0, 1);
    same(&bytewise.all, &whole.all);
    if (text.n < 10000) /* a 2-way split of every longer one is the same event again */
        check_splits(text, &whole);
    run_release(&whole);
    run_release(&bytewise);
    strbuf_release(&want);
}

TEST(the_shared_vectors_hold_in_every_split)
{
    static const char path[] = SHARED_DIR "/testdata/sse-vectors/vectors.json";
    struct strbuf text;
    struct arena a;
    struct json j;
    struct span key;
    size_t n = 0;

    if (access(path, R_OK) != 0) {
        printf("skipped: no ../shared\n");
        return;
    }
    text = read_file(path);
    arena_init(&a);
    j = json_read(strbuf_span(&text));
    CHECK(json_enter(&j, JSON_OBJECT));
    while (json_member(&j, &key)) {
        if (!span_is(key, "vectors")) {
            json_take(&j);
            continue;
        }
        CHECK(json_enter(&j, JSON_ARRAY));
        for (; json_item(&j); n++)
            check_vector(&j, &a);
    }
    CHECK(json_end(&j));
    printf("sse vectors: %zu\n", n);
    CHECK(n >= 44);
    arena_release(&a);
    strbuf_release(&text);
}

TEST_MAIN()
