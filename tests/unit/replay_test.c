#include "proxy/replay.h"

#include "proxy/base/mem.h"
#include "proxy/base/strbuf.h"
#include "tests/unit/check.h"

#define T0  1000000
#define TTL 120000
#define KIB 1024ull

static const struct replay_limits usual = {TTL, 64 * KIB, 1024 * KIB};

static const uint8_t key_a[HASH_SHA256_BYTES] = {1, 2, 3}, key_b[HASH_SHA256_BYTES] = {1, 2, 4};
static const uint8_t body_a[HASH_SHA256_BYTES] = {7}, body_b[HASH_SHA256_BYTES] = {8};
static const uint8_t id_a[REPLAY_ID_BYTES] = {5, 5, 1}, id_b[REPLAY_ID_BYTES] = {5, 5, 2};
static const uint8_t me[HASH_SHA256_BYTES] = {1}, another[HASH_SHA256_BYTES] = {2};

/* A reader, and how often it was told of news. */
struct listener {
    struct replay_reader reader;
    unsigned news;
};

static void heard(struct replay_reader *reader)
{
    ((struct listener *)reader)->news++;
}

static struct listener listener(void)
{
    return (struct listener){.reader = {.news = heard}};
}

static struct replay_answer *claim_new(struct replay *r, const uint8_t *key, uint64_t now)
{
    struct listener l = listener();
    struct replay_answer *a = NULL;

    CHECK(replay_claim(r, key, body_a, now, &l.reader, &a) == REPLAY_NEW);
    return a;
}

static void begin(struct replay_answer *a, bool whole)
{
    replay_begin(a, &(struct replay_head){200, whole, SPAN("x-a: b\r\n")});
}

/* A stream under id_a of `n` events, "0001\n" and so on. */
static struct replay_answer *record(struct replay *r, unsigned n)
{
    struct replay_answer *a = replay_open(r, T0);

    replay_identify(a, id_a, me);
    begin(a, false);
    for (unsigned i = 1; i <= n; i++) {
        char text[16];

        snprintf(text, sizeof(text), "%04u\n", i);
        CHECK(replay_write(a, span_of(text), true));
    }
    return a;
}

static enum replay_state read_all(struct listener *l, struct strbuf *out)
{
    char some[100];
    enum replay_state state;
    size_t n;

    while ((state = replay_read(&l->reader, some, sizeof(some), &n)) == REPLAY_BYTES)
        strbuf_add_n(out, some, n);
    return state;
}

static void check_reads(struct listener *l, const char *want, enum replay_state end)
{
    struct strbuf out = strbuf_heap(1 << 20);

    strbuf_add(&out, "");
    CHECK(read_all(l, &out) == end);
    CHECK_SPAN(strbuf_span(&out), want);
    strbuf_release(&out);
}

static enum replay_claim claim(struct replay *r, const uint8_t *key, const uint8_t *body,
                               uint64_t now, struct listener *l)
{
    struct replay_answer *a = NULL;
    enum replay_claim found;

    *l = listener();
    found = replay_claim(r, key, body, now, &l->reader, &a);
    if (a != NULL)
        replay_end(a, false, CLIENT_GONE, now);
    return found;
}

static void check_nothing_left(struct replay *r)
{
    uint64_t answers, bytes;

    replay_totals(r, &answers, &bytes);
    CHECK_INT(answers, 0);
    CHECK_INT(bytes, 0);
    replay_free(r);
}

TEST(a_second_request_with_the_key_reads_the_running_answer_and_what_follows)
{
    struct replay *r = replay_new(&usual);
    struct replay_answer *a = claim_new(r, key_a, T0);
    struct listener l;
    struct replay_head head;

    CHECK(claim(r, key_a, body_a, T0, &l) == REPLAY_KNOWN);
    CHECK(!replay_begun(&l.reader, &head));
    check_reads(&l, "", REPLAY_WAIT);
    begin(a, false);
    CHECK(replay_write(a, SPAN("one"), false));
    replay_flush(a);
    CHECK_INT(l.news, 1);
    CHECK(replay_begun(&l.reader, &head));
    CHECK_INT(head.status, 200);
    CHECK(!head.whole);
    CHECK_SPAN(head.fields, "x-a: b\r\n");
    check_reads(&l, "one", REPLAY_WAIT);
    CHECK(replay_write(a, SPAN("two"), false));
    replay_end(a, true, FAILURE_NONE, T0);
    CHECK_INT(l.news, 2);
    check_reads(&l, "two", REPLAY_ENDED);
    CHECK(replay_outcome(&l.reader) == FAILURE_NONE);
    replay_leave(&l.reader, T0);
    replay_sweep(r, T0 + TTL);
    check_nothing_left(r);
}

TEST(an_ended_answer_is_found_until_its_time_is_over)
{
    struct replay *r = replay_new(&usual);
    struct replay_answer *a = claim_new(r, key_a, T0);
    struct listener l;

    begin(a, true);
    CHECK(replay_write(a, SPAN("{}"), false));
    replay_end(a, true, FAILURE_NONE, T0 + 500);
    CHECK(claim(r, key_a, body_a, T0 + 500 + TTL - 1, &l) == REPLAY_KNOWN);
    check_reads(&l, "{}", REPLAY_ENDED);
    CHECK_INT(replay_sweep(r, T0 + 500 + TTL - 1), T0 + 500 + TTL);
    CHECK_INT(replay_sweep(r, T0 + 500 + TTL), UINT64_MAX);
    check_reads(&l, "", REPLAY_ENDED); /* who reads it keeps it */
    replay_leave(&l.reader, T0 + 500 + TTL);
    CHECK(claim(r, key_a, body_a, T0 + 500 + TTL, &l) == REPLAY_NEW);
    check_nothing_left(r);
}

TEST(looking_is_enough_to_end_what_is_over_its_time)
{
    struct replay *r = replay_new(&usual);
    struct listener l;

    replay_end(claim_new(r, key_a, T0), true, FAILURE_NONE, T0);
    CHECK(claim(r, key_a, body_a, T0 + TTL, &l) == REPLAY_NEW);
    check_nothing_left(r);
}

TEST(the_same_key_with_another_request_is_told_apart)
{
    struct replay *r = replay_new(&usual);
    struct replay_answer *a = claim_new(r, key_a, T0);
    struct listener l;

    CHECK(claim(r, key_a, body_b, T0, &l) == REPLAY_OTHER);
    CHECK(claim(r, key_b, body_b, T0, &l) == REPLAY_NEW);
    replay_end(a, false, CLIENT_GONE, T0);
    check_nothing_left(r);
}

TEST(an_answer_that_failed_is_for_those_who_wait_for_it_and_for_nobody_else)
{
    struct replay *r = replay_new(&usual);
    struct replay_answer *a = claim_new(r, key_a, T0);
    struct listener waiting, late;

    CHECK(claim(r, key_a, body_a, T0, &waiting) == REPLAY_KNOWN);
    begin(a, true);
    CHECK(replay_write(a, SPAN("no"), false));
    replay_end(a, false, SERVER_ERROR, T0);
    CHECK(claim(r, key_a, body_a, T0, &late) == REPLAY_NEW);
    check_reads(&waiting, "no", REPLAY_BROKEN);
    CHECK(replay_outcome(&waiting.reader) == SERVER_ERROR);
    replay_leave(&waiting.reader, T0);
    check_nothing_left(r);
}

TEST(a_stream_goes_on_behind_each_of_its_events)
{
    struct replay *r = replay_new(&usual);
    struct replay_answer *a = record(r, 3);
    const char *all = "0001\n0002\n0003\n";

    for (unsigned seen = 0; seen <= 3; seen++) {
        struct listener l = listener();

        CHECK(replay_find(r, id_a, me, seen, T0, &l.reader) == REPLAY_FOUND);
        check_reads(&l, all + 5 * seen, REPLAY_WAIT);
        replay_leave(&l.reader, T0);
    }
    replay_end(a, true, FAILURE_NONE, T0);
    replay_sweep(r, T0 + TTL);
    check_nothing_left(r);
}

TEST(a_stream_is_its_owner_s_alone)
{
    struct replay *r = replay_new(&usual);
    struct replay_answer *a = record(r, 3);
    struct listener l = listener();

    CHECK(replay_find(r, id_a, another, 0, T0, &l.reader) == REPLAY_NOT_HIS);
    CHECK(replay_find(r, id_b, me, 0, T0, &l.reader) == REPLAY_GONE);
    CHECK(replay_find(r, id_a, me, 4, T0, &l.reader) == REPLAY_GONE); /* it has no such event */
    replay_end(a, true, FAILURE_NONE, T0);
    CHECK(replay_find(r, id_a, me, 3, T0 + TTL, &l.reader) == REPLAY_GONE);
    check_nothing_left(r);
}

TEST(a_stream_that_broke_off_is_gone)
{
    struct replay *r = replay_new(&usual);
    struct listener l = listener();

    replay_end(record(r, 3), false, TRUNCATED, T0);
    CHECK(replay_find(r, id_a, me, 1, T0, &l.reader) == REPLAY_GONE);
    check_nothing_left(r);
}

TEST(of_a_long_stream_the_last_part_is_kept_and_its_length_is_bounded)
{
    struct replay *r = replay_new(&usual);
    struct replay_answer *a = record(r, 9999);
    struct listener l = listener();
    struct strbuf out = strbuf_heap(1 << 20);
    uint64_t answers, bytes;
    char want[8];

    replay_totals(r, &answers, &bytes);
    CHECK_INT(answers, 1);
    CHECK(bytes <= usual.answer_bytes + 2 * 9999 * sizeof(uint64_t));
    CHECK(bytes > usual.answer_bytes / 2);
    CHECK(replay_find(r, id_a, me, 0, T0, &l.reader) == REPLAY_GONE);
    CHECK(replay_find(r, id_a, me, 1, T0, &l.reader) == REPLAY_GONE);
    for (unsigned seen = 9000; seen < 9999; seen += 3) {
        CHECK(replay_find(r, id_a, me, seen, T0, &l.reader) == REPLAY_FOUND);
        strbuf_clear(&out);
        CHECK(read_all(&l, &out) == REPLAY_WAIT);
        CHECK_INT(out.len, 5 * (9999 - seen));
        snprintf(want, sizeof(want), "%04u\n", seen + 1);
        CHECK(memcmp(out.buf, want, 5) == 0);
        replay_leave(&l.reader, T0);
    }
    strbuf_release(&out);
    replay_end(a, true, FAILURE_NONE, T0);
    replay_sweep(r, T0 + TTL);
    check_nothing_left(r);
}

TEST(a_reader_that_is_too_slow_sees_the_gap)
{
    struct replay *r = replay_new(&usual);
    struct replay_answer *a = record(r, 10);
    struct listener l = listener();
    size_t n;
    char some[8];

    CHECK(replay_find(r, id_a, me, 1, T0, &l.reader) == REPLAY_FOUND);
    for (unsigned i = 0; i < 20000; i++)
        CHECK(replay_write(a, SPAN("12345\n"), true));
    CHECK(replay_read(&l.reader, some, sizeof(some), &n) == REPLAY_GAP);
    replay_leave(&l.reader, T0);
    replay_end(a, true, FAILURE_NONE, T0);
    replay_sweep(r, T0 + TTL);
    check_nothing_left(r);
}

TEST(an_answer_that_grows_too_long_is_not_found_by_its_key_and_then_not_wanted)
{
    struct replay *r = replay_new(&usual);
    struct replay_answer *a = claim_new(r, key_a, T0);
    struct listener l;
    unsigned n = 0;

    begin(a, false);
    while (n < 100 && replay_write(a, SPAN("0123456789abcdef0123456789abcdef\n"), false))
        n++;
    while (n < 100000 && replay_write(a, SPAN("0123456789abcdef0123456789abcdef\n"), false))
        n++;
    CHECK(n > 64 * KIB / 33 / 2 && n < 64 * KIB / 33);
    CHECK_INT(replay_due(a), 0);
    CHECK(claim(r, key_a, body_a, T0, &l) == REPLAY_NEW);
    replay_end(a, true, FAILURE_NONE, T0);
    check_nothing_left(r);
}

TEST(who_already_waits_for_a_whole_answer_gets_it_however_long)
{
    struct replay *r = replay_new(&usual);
    struct replay_answer *a = claim_new(r, key_a, T0);
    struct listener l;
    struct strbuf out = strbuf_heap(1 << 20);
    size_t n = 300 * KIB;
    char *big = mem_alloc(n);

    for (size_t i = 0; i < n; i++)
        big[i] = (char)('a' + i % 23);
    CHECK(claim(r, key_a, body_a, T0, &l) == REPLAY_KNOWN);
    begin(a, true);
    CHECK(replay_write(a, (struct span){big, n}, false));
    replay_end(a, true, FAILURE_NONE, T0);
    CHECK(read_all(&l, &out) == REPLAY_ENDED);
    CHECK(span_eq(strbuf_span(&out), (struct span){big, n}));
    replay_leave(&l.reader, T0);
    replay_sweep(r, T0 + TTL);
    check_nothing_left(r);
    strbuf_release(&out);
    free(big);
}

/* An ended answer of some KiB under a key of its own. */
static void keep_one(struct replay *r, uint8_t number, uint64_t now)
{
    const uint8_t key[HASH_SHA256_BYTES] = {9, number};
    struct replay_answer *a = claim_new(r, key, now);

    begin(a, true);
    for (unsigned i = 0; i < 300; i++)
        CHECK(replay_write(a, SPAN("0123456789abcdef0123456789abcdef"), false));
    replay_end(a, true, FAILURE_NONE, now);
}

TEST(the_oldest_make_room_for_the_newest_and_all_together_stay_below_the_cap)
{
    struct replay *r = replay_new(&(struct replay_limits){TTL, 32 * KIB, 64 * KIB});
    const uint8_t first[HASH_SHA256_BYTES] = {9, 0}, last[HASH_SHA256_BYTES] = {9, 19};
    struct listener l;
    uint64_t answers, bytes;

    for (unsigned i = 0; i < 20; i++) {
        keep_one(r, (uint8_t)i, T0 + i);
        replay_totals(r, &answers, &bytes);
        CHECK(bytes <= 64 * KIB);
    }
    CHECK(answers > 2 && answers < 8);
    CHECK(claim(r, last, body_a, T0 + 20, &l) == REPLAY_KNOWN);
    replay_leave(&l.reader, T0);
    CHECK(claim(r, first, body_a, T0 + 20, &l) == REPLAY_NEW);
    replay_sweep(r, T0 + 20 + TTL);
    check_nothing_left(r);
}

TEST(what_somebody_reads_is_not_thrown_away_for_others)
{
    struct replay *r = replay_new(&(struct replay_limits){TTL, 32 * KIB, 64 * KIB});
    const uint8_t first[HASH_SHA256_BYTES] = {9, 0};
    struct listener l, another_one;
    struct strbuf out = strbuf_heap(1 << 20);

    keep_one(r, 0, T0);
    CHECK(claim(r, first, body_a, T0, &l) == REPLAY_KNOWN);
    for (unsigned i = 1; i < 20; i++)
        keep_one(r, (uint8_t)i, T0 + i);
    CHECK(read_all(&l, &out) == REPLAY_ENDED);
    CHECK_INT(out.len, 9600);
    CHECK(claim(r, first, body_a, T0 + 19, &another_one) == REPLAY_KNOWN);
    replay_leave(&l.reader, T0);
    replay_leave(&another_one.reader, T0);
    strbuf_release(&out);
    replay_sweep(r, T0 + 20 + TTL);
    check_nothing_left(r);
}

TEST(without_room_nothing_is_kept_and_nothing_breaks)
{
    struct replay *r = replay_new(&(struct replay_limits){TTL, 32 * KIB, 0});
    struct listener l = listener();
    struct replay_answer *a = NULL;

    CHECK(replay_claim(r, key_a, body_a, T0, &l.reader, &a) == REPLAY_NO_ROOM);
    CHECK(replay_open(r, T0) == NULL);
    check_nothing_left(r);
}

TEST(running_answers_that_fill_the_memory_share_it_and_stay_below_the_cap)
{
    struct replay *r = replay_new(&(struct replay_limits){TTL, 32 * KIB, 64 * KIB});
    struct replay_answer *a[8];
    uint64_t answers, bytes;

    for (unsigned i = 0; i < 8; i++) {
        const uint8_t key[HASH_SHA256_BYTES] = {9, (uint8_t)i};

        a[i] = claim_new(r, key, T0);
        begin(a[i], false);
    }
    for (unsigned k = 0; k < 2000; k++)
        for (unsigned i = 0; i < 8; i++)
            if (!replay_write(a[i], SPAN("0123456789abcdef"), false))
                CHECK_INT(replay_due(a[i]), 0); /* nobody could have all of it */
    replay_totals(r, &answers, &bytes);
    CHECK(bytes <= 64 * KIB);
    for (unsigned i = 0; i < 8; i++)
        replay_end(a[i], true, FAILURE_NONE, T0);
    replay_sweep(r, T0 + TTL);
    check_nothing_left(r);
}

TEST(without_its_client_it_goes_on_until_nobody_has_come_for_the_ttl)
{
    struct replay *r = replay_new(&usual);
    struct replay_answer *a = claim_new(r, key_a, T0);
    struct listener l;

    replay_left(a, T0 + 1000);
    CHECK_INT(replay_due(a), T0 + 1000 + TTL);
    CHECK(claim(r, key_a, body_a, T0 + 5000, &l) == REPLAY_KNOWN);
    CHECK_INT(replay_due(a), UINT64_MAX);
    replay_leave(&l.reader, T0 + 9000);
    CHECK_INT(replay_due(a), T0 + 9000 + TTL);
    replay_end(a, false, CLIENT_GONE, T0 + 9000);
    check_nothing_left(r);
}

TEST_MAIN()
