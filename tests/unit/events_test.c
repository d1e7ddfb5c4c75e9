#include "tests/unit/check.h"

#include "proxy/base/json.h"
#include "proxy/ops/events.h"

static char mem[1 << 18];

/* The document; valid until the next call. */
static const char *look(struct events *e, uint64_t now_ms)
{
    struct strbuf out = strbuf_on(mem, sizeof(mem));

    events_write(e, now_ms, &out);
    CHECK(!out.failed);
    if (!json_valid(strbuf_span(&out)))
        fail_msg("no JSON: %s", mem);
    return mem;
}

static void moved(struct events *e, const char *from, const char *to, uint64_t now_ms)
{
    events_add(e, &(struct event){"failover", "reset", from, to}, now_ms);
}

/* How often `needle` is in the document. */
static size_t times(const char *needle)
{
    size_t n = 0;

    for (const char *p = mem; (p = strstr(p, needle)) != NULL; p++)
        n++;
    return n;
}

TEST(nothing_yet_is_a_document_too)
{
    struct events *e = events_new();

    look(e, 3);
    CHECK(strstr(mem, "\"events\": []") != NULL && strstr(mem, "\"answered\": []") != NULL);
    events_free(e);
    events_free(NULL);
}

TEST(the_newest_event_comes_first_with_its_age)
{
    struct events *e = events_new();

    moved(e, "a/m", "b/\"m\"", 1000);
    events_add(e, &(struct event){"breaker open", "reset", "a/m", NULL}, 1500);
    look(e, 2000);
    CHECK(strstr(mem, "\"events\": [\n    {\"age_ms\": 500, \"since_ms\": 500, \"count\": 1, "
                      "\"what\": \"breaker open\", \"target\": \"a/m\", \"why\": \"reset\"},\n"
                      "    {\"age_ms\": 1000, \"since_ms\": 1000, \"count\": 1, \"what\": "
                      "\"failover\", \"target\": \"a/m\", \"to\": \"b/\\\"m\\\"\", \"why\": "
                      "\"reset\"}\n  ]") != NULL);
    events_free(e);
}

TEST(the_same_again_is_counted_and_much_later_told_anew)
{
    struct events *e = events_new();

    for (uint64_t ms = 0; ms < 50000; ms += 100) {
        moved(e, "a", "b", ms);
        moved(e, "a", "c", ms);
    }
    moved(e, "a", "b", 80000);
    look(e, 80000);
    CHECK_INT(times("\"what\""), 3);
    CHECK(strstr(mem, "{\"age_ms\": 30100, \"since_ms\": 80000, \"count\": 500, ") != NULL);
    CHECK(strstr(mem, "[\n    {\"age_ms\": 0, \"since_ms\": 0, \"count\": 1, ") != NULL);
    events_free(e);
}

TEST(only_the_last_ones_are_kept)
{
    struct events *e = events_new();
    char name[200];

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "t%d%0150d", i, 0); /* cut, not refused */
        moved(e, name, "b", (uint64_t)i);
    }
    look(e, 1000);
    CHECK_INT(times("\"what\""), EVENTS_KEPT);
    CHECK(strstr(mem, "\"t999") != NULL && strstr(mem, "\"t800") != NULL);
    CHECK(strstr(mem, "\"t799") == NULL);
    events_free(e);
}

TEST(answers_are_counted_in_slots_by_who_gave_them)
{
    struct events *e = events_new();
    uint64_t start = UINT64_C(1000) * EVENTS_SLOTS * EVENTS_SLOT_MS;

    events_answered(e, "a", start);
    events_answered(e, "a", start + EVENTS_SLOT_MS - 1);
    events_answered(e, "b", start + EVENTS_SLOT_MS);
    events_answered(e, NULL, start + 3 * EVENTS_SLOT_MS);
    look(e, start + 3 * EVENTS_SLOT_MS);
    CHECK(strstr(mem, "{\"target\": \"a\", \"n\": [0,") != NULL &&
          strstr(mem, ",2,0,0,0]") != NULL);
    CHECK(strstr(mem, ",0,1,0,0]") != NULL);
    CHECK(strstr(mem, "\"failed\": [0,") != NULL && strstr(mem, ",0,0,0,1]\n}") != NULL);
    /* The slot of ten minutes ago is this one's place. */
    look(e, start + EVENTS_SLOTS * EVENTS_SLOT_MS);
    CHECK(strstr(mem, ",2,") == NULL && strstr(mem, "[2,") == NULL);
    events_answered(e, "a", start + EVENTS_SLOTS * EVENTS_SLOT_MS);
    look(e, start + EVENTS_SLOTS * EVENTS_SLOT_MS);
    CHECK(strstr(mem, ",0,0,0,1]}") != NULL && strstr(mem, ",3]") == NULL);
    events_free(e);
}

TEST(targets_beyond_the_count_that_is_kept_share_a_name)
{
    struct events *e = events_new();
    char name[16];

    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "t%d", i);
        events_answered(e, name, 0);
    }
    look(e, 0);
    CHECK_INT(times("\"target\""), 32);
    CHECK(strstr(mem, "\"t30\"") != NULL && strstr(mem, "\"t31\"") == NULL);
    CHECK(strstr(mem, "{\"target\": \"others\", \"n\": [0,") != NULL);
    CHECK(strstr(mem, ",0,19]}") != NULL);
    events_free(e);
}

TEST_MAIN()
