#include "providers/scripted.h"

#include "proxy/base/json.h"
#include "tests/unit/check.h"

struct heard {
    struct strbuf text; /* decoded texts, one after the other */
    char kinds[64];     /* a letter for each event */
    size_t n;
    struct chat_usage usage;
    struct arena *a;
};

static void hear(void *ctx, const struct chat_event *ev)
{
    struct heard *h = ctx;

    h->kinds[h->n++] = "STRF()*X$E"[ev->kind];
    if (ev->kind == CHAT_TEXT)
        strbuf_add_span(&h->text, json_text(ev->text, h->a));
    if (ev->kind == CHAT_START)
        CHECK_SPAN(ev->name, "\"a \\\"model\\\"\"");
    if (ev->kind == CHAT_STOP)
        CHECK_SPAN(ev->text, "\"stop\"");
    if (ev->kind == CHAT_USAGE)
        h->usage = ev->usage;
}

static void check_script(const char *text, const char *kinds)
{
    struct arena a;
    struct heard h = {0};

    arena_init(&a);
    h.text = strbuf_in(&a, 1000);
    h.a = &a;
    scripted_answer(span_of(text), SPAN("a \"model\""), &a, hear, &h);
    CHECK_SPAN(strbuf_span(&h.text), text);
    CHECK_STR(h.kinds, kinds);
    CHECK(h.usage.seen);
    CHECK_INT(h.usage.output, (strlen(text) + 3) / 4);
    arena_release(&a);
}

TEST(a_script_comes_word_by_word_and_is_the_whole_text)
{
    check_script("All providers are down.", "STTTTX$E");
    check_script("  led by\n\tspace ", "STTTX$E");
    check_script("gr\xc3\xbc\xc3\x9f \"dich\"", "STTX$E");
}

TEST(an_empty_script_is_still_a_complete_answer)
{
    check_script("", "SX$E");
}

TEST_MAIN()
