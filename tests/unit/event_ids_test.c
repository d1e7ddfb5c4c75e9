#include "proxy/event_ids.h"

#include "proxy/base/strbuf.h"
#include "tests/unit/check.h"

#define S "0123456789abcdef0123456789abcdef"

struct seen {
    struct strbuf out;
    unsigned events;
    size_t last_end;
};

static void see(void *ctx, struct span bytes, bool event_ends)
{
    struct seen *s = ctx;

    CHECK(bytes.n > 0);
    strbuf_add_span(&s->out, bytes);
    if (event_ends) {
        s->events++;
        s->last_end = s->out.len;
    }
}

static void check_numbered(const char *in, const char *want, unsigned events)
{
    struct event_ids ids = {.stream = S};
    struct seen s = {.out = strbuf_heap(65536)};

    event_ids_feed(&ids, span_of(in), see, &s);
    CHECK_SPAN(strbuf_span(&s.out), want);
    CHECK_INT(s.events, events);
    CHECK_INT(ids.ended, events);
    strbuf_release(&s.out);
}

TEST(every_event_gets_the_next_number_and_else_stays_as_it_is)
{
    check_numbered("data: a\n\nevent: x\ndata: b\ndata: c\n\n",
                   "id: " S "-1\ndata: a\n\nid: " S "-2\nevent: x\ndata: b\ndata: c\n\n", 2);
}

TEST(all_line_ends_of_the_standard_are_known)
{
    check_numbered("data: a\r\n\r\ndata: b\r\rdata: c\n\n",
                   "id: " S "-1\ndata: a\r\n\r\nid: " S "-2\ndata: b\r\rid: " S "-3\ndata: c\n\n",
                   3);
}

TEST(comments_alone_are_no_event_and_make_none)
{
    check_numbered(": keep-alive\n\ndata: a\n\n: x\n\n",
                   ": keep-alive\nid: " S "-1\ndata: a\n\n: x\n", 1);
    check_numbered("\n\n\r\ndata: a\n\n", "id: " S "-1\ndata: a\n\n", 1);
}

TEST(a_comment_inside_an_event_stays_there)
{
    check_numbered(": c\ndata: a\n: d\n\n", ": c\nid: " S "-1\ndata: a\n: d\n\n", 1);
}

TEST(ids_of_the_provider_s_own_are_left_out)
{
    check_numbered("id: 7\ndata: a\n\ndata: b\nid:8\r\nid\n\nidea: 1\n\n",
                   "id: " S "-1\ndata: a\n\nid: " S "-2\ndata: b\n\nid: " S "-3\nidea: 1\n\n", 3);
}

TEST(the_cuts_between_the_bytes_do_not_matter_behind_whole_events_and_lines)
{
    const char *in = ": x\n\ndata: a\n\nevent: b\ndata: {\"c\":1}\n\ndata: [DONE]\n\n";
    struct event_ids whole = {.stream = S};
    struct seen all = {.out = strbuf_heap(65536)};

    event_ids_feed(&whole, span_of(in), see, &all);
    for (size_t cut = 1; cut < strlen(in); cut++) {
        struct event_ids ids = {.stream = S};
        struct seen s = {.out = strbuf_heap(65536)};

        event_ids_feed(&ids, (struct span){in, cut}, see, &s);
        event_ids_feed(&ids, span_of(in + cut), see, &s);
        CHECK_STR(s.out.buf, all.out.buf);
        CHECK_INT(s.events, all.events);
        CHECK_INT(s.last_end, all.last_end);
        strbuf_release(&s.out);
    }
    strbuf_release(&all.out);
}

TEST(only_a_number_of_this_stream_is_an_event_s_id)
{
    uint64_t n = 0;
    uint8_t id[REPLAY_ID_BYTES];

    CHECK(event_ids_read_event(span_of(S "-42"), span_of(S), &n));
    CHECK_INT(n, 42);
    CHECK(!event_ids_read_event(span_of(S "-"), span_of(S), &n));
    CHECK(!event_ids_read_event(span_of(S), span_of(S), &n));
    CHECK(!event_ids_read_event(span_of(S "-4x"), span_of(S), &n));
    CHECK(!event_ids_read_event(span_of(S "+4"), span_of(S), &n));
    CHECK(!event_ids_read_event(span_of("1" S "-4"), span_of(S), &n));
    CHECK(!event_ids_read_event(span_of("f123456789abcdef0123456789abcdef-4"), span_of(S), &n));
    CHECK(event_ids_read_stream(span_of(S), id));
    CHECK(!event_ids_read_stream(span_of(S "0"), id));
    CHECK(!event_ids_read_stream(span_of("../../livez"), id));
    CHECK(!event_ids_read_stream(span_of(""), id));
}

TEST_MAIN()
