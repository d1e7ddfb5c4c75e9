#include "proxy/base/base64.h"

#include "tests/unit/check.h"

static struct arena a;

static void check_decodes(const char *text, const char *want)
{
    struct span got;

    CHECK(base64_decode(span_of(text), &a, &got));
    CHECK_SPAN(got, want);
}

static void check_is_none(const char *text)
{
    struct span got = SPAN("untouched");

    CHECK(!base64_decode(span_of(text), &a, &got));
    CHECK_SPAN(got, "untouched");
}

/* RFC 4648, 10 */
static const char *const vectors[][2] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

TEST(the_vectors_of_the_standard_hold_in_both_directions)
{
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct strbuf out = strbuf_in(&a, 100);

        base64_add(&out, span_of(vectors[i][0]));
        CHECK_SPAN(strbuf_span(&out), vectors[i][1]);
        check_decodes(vectors[i][1], vectors[i][0]);
    }
}

TEST(padding_may_be_missing_and_both_alphabets_are_read)
{
    check_decodes("Zg", "f");
    check_decodes("Zm8", "fo");
    check_decodes("+/+/", "\xfb\xff\xbf");
    check_decodes("-_-_", "\xfb\xff\xbf");
}

TEST(what_is_no_base64_is_told)
{
    check_is_none("Z");
    check_is_none("Zm9vY");
    check_is_none("Zm 9");
    check_is_none("Z===");
    check_is_none("Zg=");
    check_is_none("====");
    check_is_none("Zm=v");
}

TEST(every_byte_survives)
{
    char bytes[256];
    struct strbuf out = strbuf_in(&a, 1000);
    struct span got;

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)i;
    base64_add(&out, (struct span){bytes, sizeof(bytes)});
    CHECK(base64_decode(strbuf_span(&out), &a, &got));
    CHECK(got.n == sizeof(bytes) && memcmp(got.p, bytes, sizeof(bytes)) == 0);
    arena_release(&a);
}

TEST_MAIN()
