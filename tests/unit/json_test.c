#include "tests/unit/check.h"

#include <ctype.h>
#include <dirent.h>

#include "proxy/base/arena.h"
#include "proxy/base/json.h"
#include "proxy/base/mem.h"
#include "proxy/base/rng.h"
#include "proxy/base/strbuf.h"

/* In memory of exactly its size, so that AddressSanitizer sees a read behind the end. */
static bool valid_n(const char *text, size_t n)
{
    char *copy = mem_alloc(n);
    bool valid;

    if (n > 0)
        memcpy(copy, text, n);
    valid = json_valid((struct span){copy, n});
    free(copy);
    return valid;
}

static bool valid(const char *text)
{
    return valid_n(text, strlen(text));
}

/* ---- what is JSON ---- */

/* The suite leaves these open ("i_"). We accept what the grammar allows and bytes that are UTF-8
 * encode, that is: numbers of any size, escapes of lone surrogates, a byte order mark. We refuse
 * all others: what is not UTF-8, and 500 arrays in one another. */
static const char *const accepted_by_choice[] = {
    "i_number_",
    "i_object_key_lone_2nd_surrogate",
    "i_string_1st_surrogate_but_2nd_missing",
    "i_string_1st_valid_surrogate_2nd_invalid",
    "i_string_incomplete_surrogate",
    "i_string_invalid_lonely_surrogate",
    "i_string_invalid_surrogate",
    "i_string_inverted_surrogates",
    "i_string_lone_second_surrogate",
    "i_structure_UTF-8_BOM_empty_object",
};

static bool expected(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(accepted_by_choice); i++)
        if (span_starts(span_of(name), accepted_by_choice[i]))
            return true;
    return name[0] == 'y';
}

TEST(the_parsing_suite_is_judged_as_it_asks)
{
    const char *folder = SHARED_DIR "/testdata/JSONTestSuite/test_parsing";
    DIR *dir = opendir(folder);
    struct dirent *entry;
    size_t count = 0, wrong = 0;

    if (dir == NULL) {
        puts("skipped: no ../shared");
        skip();
    }
    while ((entry = readdir(dir)) != NULL) {
        static char text[1 << 20];
        char path[1024];
        size_t n;
        FILE *f;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        f = fopen(path, "rb");
        CHECK(f != NULL);
        n = fread(text, 1, sizeof(text), f);
        CHECK(n < sizeof(text));
        fclose(f);
        count++;
        if (valid_n(text, n) != expected(entry->d_name)) {
            printf("wrong: %s\n", entry->d_name);
            wrong++;
        }
    }
    closedir(dir);
    CHECK(count > 300);
    CHECK_INT(wrong, 0);
}

static const char sample[] =
    "{\"a\": [1, -0.5e+3, 1E9, \"x\\u00e9\\n\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 and some longer"
    " text that fills more than one vector\"],\n\t\"b\":{\"c\":{}, \"d\":[ ], \"e\":[[true,false]"
    ",null]} , \"\": \"\"}";

TEST(every_prefix_of_a_document_is_refused)
{
    for (size_t n = 0; n < sizeof(sample) - 1; n++)
        CHECK(!valid_n(sample, n));
    CHECK(valid_n(sample, sizeof(sample) - 1));
}

TEST(a_scalar_is_a_document_with_white_space_around_it)
{
    CHECK(valid(" 1 "));
    CHECK(valid("\t\r\n\"\" "));
    CHECK(valid("null"));
    CHECK(!valid(""));
    CHECK(!valid(" "));
    CHECK(!valid("\f1"));
    CHECK(!valid("1 1"));
    CHECK(!valid("nul"));
    CHECK(!valid("nulll"));
    CHECK(!valid("nulk"));
    CHECK(json_valid((struct span){NULL, 0}) == false);
}

TEST(numbers_follow_the_grammar)
{
    static const char *const good[] = {"0", "-0", "10", "0.0", "-1.5e10", "1E+2", "1e-2", "0e1"};
    static const char *const bad[] = {"00",    "01",       "-",   "+1",   ".5",    "1.",
                                      "1.e1",  "1e",       "1e+", "0x10", "1.5.2", "--1",
                                      "1e1.5", "Infinity", "NaN", "-a",   "1a"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        CHECK(valid(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK(!valid(bad[i]));
}

/* Each byte value at each place of a string that covers whole vectors, words and their tails. */
TEST(a_special_byte_is_seen_wherever_it_stands_in_a_string)
{
    enum { LEN = 40 };
    char text[LEN + 2];

    for (int at = 1; at <= LEN; at++)
        for (int c = 0; c < 256; c++) {
            /* A backslash makes an unknown escape of an x, and takes the closing quote away. */
            bool ok = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';

            memset(text, 'x', sizeof(text));
            text[0] = text[LEN + 1] = '"';
            text[at] = (char)c;
            CHECK(valid_n(text, sizeof(text)) == ok);
        }
}

/* How many bytes the character at s has, by the plain reading of RFC 3629; 0: it is none. */
static size_t plain_character(const unsigned char *s, const unsigned char *end)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t code = n <= 1 ? s[0] : s[0] & (0xffu >> (n + 1));

    if (n == 0 || s[0] >= 0xf8 || (size_t)(end - s) < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    return (n > 1 && code < smallest[n]) || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff
               ? 0
               : n;
}

/* The string at the front, one byte after the other: true with its length, false with the offset of
 * what is wrong. */
static bool plain_string(struct span text, size_t *at)
{
    const unsigned char *s = (const unsigned char *)text.p, *end = s + text.n, *p = s + 1;
    bool good = false;

    for (size_t n; p < end && *p >= 0x20; p += n) {
        if (*p == '"') {
            p++;
            good = true;
            break;
        }
        n = plain_character(p, end);
        if (n == 0)
            break;
        if (*p != '\\')
            continue;
        p++;
        if (p == end || *p == '\0' || strchr("\"\\/bfnrtu", *p) == NULL)
            break;
        if (*p != 'u')
            continue;
        for (n = 1; n <= 4 && p + n < end && isxdigit(p[n]); n++)
            ;
        if (n <= 4) {
            p += n;
            break;
        }
    }
    *at = (size_t)(p - s);
    return good;
}

/* Whatever is read many bytes at once must be read as one byte after the other would be. */
TEST(a_string_is_read_as_if_byte_by_byte)
{
    static const char *const pieces[] = {
        "x",
        "n",
        "u",
        "0f",
        " ",
        "/",
        "plain text",
        "\\n",
        "\\t",
        "\\\"",
        "\\\\",
        "\\/",
        "\\b",
        "\\u00e9",
        "\\ud83d",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "\\\\\\\\\\\\",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    };
    static const char *const ends[] = {"\"",       "\"",           "\\",       "\\x",
                                       "\\u12g4",  "\\u1",         "\x1f",     "\x80",
                                       "\xe2\x82", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80",
                                       "\xff",     "\x7f\"",       "\\\n",     "\\\x80"};
    struct rng rng = {7};
    char text[512];

    for (int round = 0; round < 60000; round++) {
        struct strbuf s = strbuf_on(text, sizeof(text));
        size_t len = rng_between(&rng, 0, 200), at;
        struct json j;
        struct span raw;
        char *copy;
        bool good;

        strbuf_add_char(&s, '"');
        while (s.len < len)
            strbuf_add(&s, pieces[rng_between(&rng, 0, ARRAY_LEN(pieces) - 1)]);
        strbuf_add(&s, ends[rng_between(&rng, 0, ARRAY_LEN(ends) - 1)]);
        for (size_t n = rng_between(&rng, 0, 1) * rng_between(&rng, 0, 100); n > 0; n--)
            strbuf_add_char(&s, ' ');
        copy = mem_alloc(s.len);
        memcpy(copy, s.buf, s.len);
        good = plain_string((struct span){copy, s.len}, &at);
        j = json_read((struct span){copy, s.len});
        raw = json_take(&j);
        CHECK((raw.p != NULL) == good);
        CHECK_INT(j.at - copy, at);
        free(copy);
    }
}

TEST(strings_must_be_well_formed_utf8)
{
    static const char *const good[] = {"\xc2\x80",         "\xdf\xbf",         "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",     "\xee\x80\x80",     "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\x7f"};
    static const char *const bad[] = {
        "\x80",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2\x7f",
        "\xc2\xc0",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xe1\x80",
        "\xe1\x80\x7f",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf1\x80\x80",
        "\xf1\x80\x80\xc0",
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "\xfe",
    };
    char text[32];

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        snprintf(text, sizeof(text), "\"%s\"", good[i]);
        CHECK(valid(text));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), "\"%s\"", bad[i]);
        CHECK(!valid(text));
        snprintf(text, sizeof(text), "\"%s", bad[i]); /* cut off by the end */
        CHECK(!valid(text));
    }
}

static bool nested_is_valid(size_t depth, const char *open, const char *inside, const char *close)
{
    struct strbuf s = strbuf_heap(1 << 20);
    bool ok;

    for (size_t i = 0; i < depth; i++)
        strbuf_add(&s, open);
    strbuf_add(&s, inside);
    for (size_t i = 0; i < depth; i++)
        strbuf_add(&s, close);
    ok = json_valid(strbuf_span(&s));
    strbuf_release(&s);
    return ok;
}

TEST(nesting_is_accepted_up_to_its_limit)
{
    CHECK(nested_is_valid(JSON_MAX_DEPTH, "[", "", "]"));
    CHECK(nested_is_valid(JSON_MAX_DEPTH, "{\"a\":", "1", "}"));
    CHECK(nested_is_valid(JSON_MAX_DEPTH / 2, "[{\"a\":", "[]", "},1]") == false); /* one more */
    CHECK(nested_is_valid(JSON_MAX_DEPTH / 2, "[{\"a\":", "1", "},1]"));
    CHECK(!nested_is_valid(JSON_MAX_DEPTH + 1, "[", "", "]"));
    CHECK(!nested_is_valid(JSON_MAX_DEPTH + 1, "{\"a\":", "1", "}"));
}

TEST(brackets_must_match)
{
    CHECK(!valid("[}"));
    CHECK(!valid("{]"));
    CHECK(!valid("[{\"a\":1]}"));
    CHECK(!valid("[1,]"));
    CHECK(!valid("[,1]"));
    CHECK(!valid("{\"a\":1,}"));
    CHECK(!valid("{\"a\" 1}"));
    CHECK(!valid("{\"a\"}"));
    CHECK(!valid("{1:1}"));
    CHECK(!valid("[1 2]"));
    CHECK(!valid("[]]"));
    CHECK(valid("[[],[[]],{}]"));
}

/* ---- walking ---- */

TEST(members_are_handed_out_in_order_as_raw_bytes)
{
    struct json j = json_read(SPAN(" { \"a\" : 1.50 ,\"b\":[ 1,{\"x\":2} ],\"a\":\"q\\n\"} "));
    struct span key;

    CHECK(json_peek(&j) == JSON_OBJECT);
    CHECK(!json_enter(&j, JSON_ARRAY));
    CHECK(json_enter(&j, JSON_OBJECT));
    CHECK(json_peek(&j) == JSON_NONE);
    CHECK(json_member(&j, &key));
    CHECK_SPAN(key, "a");
    CHECK(json_peek(&j) == JSON_NUMBER);
    CHECK_SPAN(json_take(&j), "1.50");
    CHECK(json_member(&j, &key));
    CHECK_SPAN(key, "b");
    CHECK_SPAN(json_take(&j), "[ 1,{\"x\":2} ]");
    CHECK(json_member(&j, &key));
    CHECK_SPAN(key, "a");
    CHECK_SPAN(j.raw_key, "\"a\"");
    CHECK_SPAN(json_take(&j), "\"q\\n\"");
    CHECK(!json_member(&j, &key));
    CHECK(json_end(&j));
}

TEST(containers_are_entered_and_left_at_any_depth)
{
    struct json j = json_read(SPAN("[[],{\"a\":{}, \"b\":[7 , [8]]},true]"));
    struct span key;

    CHECK(json_enter(&j, JSON_ARRAY));
    CHECK(json_item(&j));
    CHECK(json_enter(&j, JSON_ARRAY));
    CHECK(!json_item(&j));
    CHECK(json_item(&j));
    CHECK(json_enter(&j, JSON_OBJECT));
    CHECK(json_member(&j, &key));
    CHECK(json_enter(&j, JSON_OBJECT));
    CHECK(!json_member(&j, &key));
    CHECK(json_member(&j, &key));
    CHECK_SPAN(key, "b");
    CHECK(json_enter(&j, JSON_ARRAY));
    CHECK(json_item(&j));
    CHECK_SPAN(json_take(&j), "7");
    CHECK(json_item(&j));
    CHECK_SPAN(json_take(&j), "[8]");
    CHECK(!json_item(&j));
    CHECK(!json_member(&j, &key));
    CHECK(json_item(&j));
    CHECK(json_peek(&j) == JSON_TRUE);
    CHECK_SPAN(json_take(&j), "true");
    CHECK(!json_item(&j));
    CHECK(json_end(&j));
}

/* Walks an object and the arrays in it. */
static bool walk(const char *text)
{
    struct json j = json_read(span_of(text));
    struct span key;

    json_enter(&j, JSON_OBJECT);
    while (json_member(&j, &key)) {
        if (!json_enter(&j, JSON_ARRAY)) {
            json_take(&j);
            continue;
        }
        while (json_item(&j))
            json_take(&j);
    }
    return json_end(&j);
}

TEST(walking_is_as_strict_as_taking_the_whole)
{
    CHECK(walk("{\"a\":[1,2],\"b\":{}}"));
    CHECK(!walk("{\"a\":[1,2],\"b\":{},}"));
    CHECK(!walk("{\"a\":[1,2,],\"b\":{}}"));
    CHECK(!walk("{\"a\":[1 2],\"b\":{}}"));
    CHECK(!walk("{\"a\":[1,2}],\"b\":{}}"));
    CHECK(!walk("{\"a\":[1,2],\"b\":{}"));
    CHECK(!walk("{\"a\":[1,2],\"b\":{}}}"));
    CHECK(!walk("{\"a\":[1,2]\"b\":{}}"));
    CHECK(!walk("{,\"a\":1}"));
    CHECK(!walk("{\"a\":\"\x01\"}"));
}

TEST(the_depth_limit_counts_what_was_entered)
{
    struct strbuf s = strbuf_heap(4096);
    struct json j;

    for (int i = 0; i <= JSON_MAX_DEPTH; i++)
        strbuf_add_char(&s, '[');
    j = json_read(strbuf_span(&s));
    for (int i = 0; i < JSON_MAX_DEPTH; i++) {
        CHECK(json_enter(&j, JSON_ARRAY));
        CHECK(json_item(&j));
    }
    CHECK(!json_enter(&j, JSON_ARRAY));
    CHECK(j.problem != NULL);
    strbuf_release(&s);
}

TEST(after_a_failure_every_call_gives_nothing)
{
    struct json j = json_read(SPAN("{\"a\":x,\"b\":1}"));
    struct span key;

    CHECK(json_enter(&j, JSON_OBJECT));
    CHECK(json_member(&j, &key));
    CHECK(json_take(&j).p == NULL);
    CHECK(json_peek(&j) == JSON_NONE);
    CHECK(!json_member(&j, &key));
    CHECK(!json_item(&j));
    CHECK(!json_enter(&j, JSON_OBJECT));
    CHECK_INT(json_take(&j).n, 0);
    CHECK(!json_end(&j));
}

TEST(a_call_that_does_not_fit_fails_instead_of_reading_astray)
{
    struct span key;
    struct json j = json_read(SPAN("[1]"));

    CHECK(!json_member(&j, &key)); /* not entered */
    CHECK(!json_end(&j));

    j = json_read(SPAN("[1]"));
    CHECK(json_enter(&j, JSON_ARRAY));
    CHECK(!json_member(&j, &key)); /* no object */
    CHECK(!json_end(&j));

    j = json_read(SPAN("[1]"));
    CHECK(json_enter(&j, JSON_ARRAY));
    CHECK(json_take(&j).p == NULL); /* no item asked for */
    CHECK(!json_end(&j));

    j = json_read(SPAN("[1,2]"));
    CHECK(json_enter(&j, JSON_ARRAY));
    CHECK(json_item(&j));
    CHECK(!json_item(&j)); /* the first was not taken */
    CHECK(!json_end(&j));

    j = json_read(SPAN("[1,]"));
    CHECK(json_enter(&j, JSON_ARRAY));
    CHECK(json_item(&j));
    json_take(&j);
    CHECK(json_item(&j));
    CHECK(!json_item(&j)); /* would leave by the bracket that stands where a value should */
    CHECK(!json_end(&j));

    j = json_read(SPAN("1"));
    CHECK_SPAN(json_take(&j), "1");
    CHECK(json_take(&j).p == NULL); /* twice */
    CHECK(!json_end(&j));

    j = json_read(SPAN("[1]"));
    CHECK(json_enter(&j, JSON_ARRAY));
    CHECK(!json_end(&j)); /* not read to its end */

    j = json_read(SPAN("["));
    CHECK(json_enter(&j, JSON_ARRAY));
    CHECK(!json_end(&j));
}

/* ---- errors ---- */

static void check_error(const char *text, enum err_code code, const char *msg)
{
    struct json j = json_read(span_of(text));
    struct err e = {0};

    json_take(&j);
    CHECK(!json_end(&j));
    CHECK_INT(json_error(&j, &e), -1);
    CHECK_STR(e.msg, msg);
    CHECK_INT(e.code, code);
}

TEST(an_error_names_place_expectation_and_byte)
{
    check_error("{\"a\" 1}", ERR_SYNTAX, "JSON: byte 5: expected ':' behind a key, found '1'");
    check_error("[1", ERR_SYNTAX, "JSON: byte 2: expected ',' or ']', found the end");
    check_error("{\"a\":1;", ERR_SYNTAX, "JSON: byte 6: expected ',' or '}', found ';'");
    check_error("{\"a\":1,}", ERR_SYNTAX, "JSON: byte 7: expected a key, found '}'");
    check_error("", ERR_SYNTAX, "JSON: byte 0: expected a value, found the end");
    check_error("1 x", ERR_SYNTAX, "JSON: byte 2: expected nothing behind the value, found 'x'");
    check_error("\"a\nb\"", ERR_SYNTAX,
                "JSON: byte 2: control character in a string, found byte 0x0a");
    check_error("\"\x1f\"", ERR_SYNTAX,
                "JSON: byte 1: control character in a string, found byte 0x1f");
    check_error("\"a\xff\"", ERR_SYNTAX, "JSON: byte 2: not UTF-8, found byte 0xff");
    check_error("\"\\x\"", ERR_SYNTAX, "JSON: byte 2: unknown escape in a string, found 'x'");
    check_error("\"\\u12g4\"", ERR_SYNTAX,
                "JSON: byte 5: expected four hexadecimal digits after \\u, found 'g'");
    check_error("\"abc", ERR_SYNTAX, "JSON: byte 4: unfinished string, found the end");
    check_error("\"abc\\", ERR_SYNTAX, "JSON: byte 5: unfinished string, found the end");
    check_error("-x", ERR_SYNTAX, "JSON: byte 1: expected a digit, found 'x'");
}

TEST(an_error_tells_too_deep_and_another_type_from_bad_syntax)
{
    char deep[JSON_MAX_DEPTH + 2];
    struct json j = json_read(SPAN("  [1]"));
    struct err e;

    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    check_error(deep, ERR_TOO_BIG, "JSON: byte 128: nested too deep, found '['");

    CHECK(!json_enter(&j, JSON_OBJECT));
    CHECK_INT(json_error(&j, &e), -1);
    CHECK_STR(e.msg, "JSON: byte 2: unexpected value, found '['");
    CHECK_INT(e.code, ERR_VALUE);
    CHECK(!json_end(&j));
    CHECK_INT(json_error(&j, &e), -1);
    CHECK_INT(e.code, ERR_VALUE);
}

/* ---- meaning ---- */

TEST(a_key_with_escapes_is_decoded)
{
    struct json j = json_read(SPAN("{\"mod\\u0065l\":1,\"\\\"\":2,\"plain\":3}"));
    struct span key;

    CHECK(json_enter(&j, JSON_OBJECT));
    CHECK(json_member(&j, &key));
    CHECK_SPAN(key, "model");
    CHECK_SPAN(j.raw_key, "\"mod\\u0065l\"");
    json_take(&j);
    CHECK(json_member(&j, &key));
    CHECK_SPAN(key, "\"");
    json_take(&j);
    CHECK(json_member(&j, &key));
    CHECK_SPAN(key, "plain");
}

TEST(a_key_with_escapes_is_decoded_up_to_the_limit_and_kept_raw_beyond)
{
    for (int extra = 0; extra <= 1; extra++) {
        char text[1024] = "{\"", want[1024] = "";
        size_t n = 2;
        struct arena a;
        struct json j;
        struct span key;

        for (int i = 0; i < JSON_KEY_MAX + extra; i++) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, "\\u0061");
            strcat(want, "a");
        }
        snprintf(text + n, sizeof(text) - n, "\":null}");
        j = json_read(span_of(text));
        CHECK(json_enter(&j, JSON_OBJECT));
        CHECK(json_member(&j, &key));
        if (extra == 0)
            CHECK_SPAN(key, want);
        else
            CHECK(span_eq(key, (struct span){text + 2, n - 2}));
        arena_init(&a);
        CHECK_SPAN(json_text(j.raw_key, &a), want);
        arena_release(&a);
        json_take(&j);
        CHECK(!json_member(&j, &key));
        CHECK(json_end(&j));
    }
}

TEST(a_value_that_is_known_is_taken_without_a_walk)
{
    struct span text = SPAN("{\"a\":[1,oops],\"b\":[2]}"), key;
    struct json j = json_read(text);

    json_know(&j, (struct span){text.p + 5, 8});
    CHECK(json_enter(&j, JSON_OBJECT));
    CHECK(json_member(&j, &key));
    CHECK_SPAN(json_take(&j), "[1,oops]");
    CHECK(json_member(&j, &key));
    CHECK_SPAN(key, "b");
    CHECK_SPAN(json_take(&j), "[2]");
    CHECK(!json_member(&j, &key));
    CHECK(json_end(&j));
}

static void check_text(const char *raw, const char *want)
{
    struct arena a;

    arena_init(&a);
    CHECK(json_valid(span_of(raw)));
    CHECK_SPAN(json_text(span_of(raw), &a), want);
    CHECK(json_is_string(span_of(raw), want));
    arena_release(&a);
}

TEST(strings_are_decoded)
{
    check_text("\"\"", "");
    check_text("\"plain\"", "plain");
    check_text("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
    check_text("\"a\\u0041b\\u00e9c\\u20AC\\uffff\"", "aAb\xc3\xa9"
                                                      "c\xe2\x82\xac\xef\xbf\xbf");
    check_text("\"\\ud83d\\ude00!\"", "\xf0\x9f\x98\x80!");
    check_text("\"\\uDBFF\\uDFFF\"", "\xf4\x8f\xbf\xbf");
    check_text("\"\\u007f\\u0080\\u07ff\\u0800\"", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80");
}

/* Whatever stands at the edges of the blocks that are copied at once. */
TEST(a_string_of_many_pieces_is_decoded_piece_by_piece)
{
    static const struct {
        const char *raw, *text;
    } pieces[] = {
        {"a", "a"},
        {"bc", "bc"},
        {"\\n", "\n"},
        {"\\\\", "\\"},
        {"\\u0041", "A"},
        {"\\ud83d\\ude00", "\xf0\x9f\x98\x80"},
        {"\\/", "/"},
        {"\xc3\xa9", "\xc3\xa9"},
        {"0123456789abcde", "0123456789abcde"},
    };
    struct rng rng = {11};
    char raw[512], want[512];

    for (int round = 0; round < 20000; round++) {
        struct strbuf r = strbuf_on(raw, sizeof(raw)), w = strbuf_on(want, sizeof(want));
        size_t len = rng_between(&rng, 0, 120);
        struct arena a;
        char *copy;

        arena_init(&a);
        strbuf_add_char(&r, '"');
        while (w.len < len) {
            size_t i = rng_between(&rng, 0, ARRAY_LEN(pieces) - 1);

            strbuf_add(&r, pieces[i].raw);
            strbuf_add(&w, pieces[i].text);
        }
        strbuf_add_char(&r, '"');
        copy = mem_alloc(r.len);
        memcpy(copy, r.buf, r.len);
        CHECK(span_eq(json_text((struct span){copy, r.len}, &a), strbuf_span(&w)));
        CHECK(json_is_string((struct span){copy, r.len}, want));
        want[0] ^= 1;
        CHECK(w.len == 0 || !json_is_string((struct span){copy, r.len}, want));
        free(copy);
        arena_release(&a);
    }
}

TEST(a_lone_surrogate_becomes_the_replacement_character)
{
    check_text("\"\\ud800\"", "\xef\xbf\xbd");
    check_text("\"\\udc00x\"", "\xef\xbf\xbdx");
    check_text("\"\\udc00\\udc00\"", "\xef\xbf\xbd\xef\xbf\xbd");
    check_text("\"\\ud800\\n\"", "\xef\xbf\xbd\n");
    check_text("\"\\ud800abcdefgh\"", "\xef\xbf\xbd"
                                      "abcdefgh");
    check_text("\"\\ud800\\u0041\"", "\xef\xbf\xbd"
                                     "A");
    check_text("\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80");
}

TEST(a_string_may_hold_a_nul)
{
    struct arena a;
    struct span text;

    arena_init(&a);
    text = json_text(SPAN("\"a\\u0000b\""), &a);
    CHECK(span_eq(text, SPAN("a\0b")));
    CHECK(!json_is_string(SPAN("\"a\\u0000\""), "a"));
    CHECK(!json_is_string(SPAN("\"a\\u0000b\""), "a"));
    arena_release(&a);
}

TEST(a_string_without_escapes_is_a_view)
{
    static const char raw[] = "\"hello\"";
    struct arena a;

    arena_init(&a);
    CHECK(json_text(SPAN(raw), &a).p == raw + 1);
    CHECK_INT(a.total, 0);
}

TEST(comparing_needs_the_whole_string)
{
    CHECK(!json_is_string(SPAN("\"stop\""), "sto"));
    CHECK(!json_is_string(SPAN("\"sto\""), "stop"));
    CHECK(!json_is_string(SPAN("\"st\\u006Fq\""), "stop"));
    CHECK(!json_is_string(SPAN("\"a\\\\b\""), "a\\\\b"));
    CHECK(json_is_string(SPAN("\"a\\\\b\""), "a\\b"));
    CHECK(!json_is_string(SPAN("true"), "true"));
    CHECK(!json_is_string(SPAN("12"), "1"));
    CHECK(!json_is_string((struct span){0}, ""));
}

TEST(a_raw_value_has_a_type)
{
    CHECK(json_type_of(SPAN("{}")) == JSON_OBJECT);
    CHECK(json_type_of(SPAN("[]")) == JSON_ARRAY);
    CHECK(json_type_of(SPAN("\"\"")) == JSON_STRING);
    CHECK(json_type_of(SPAN("-1")) == JSON_NUMBER);
    CHECK(json_type_of(SPAN("0")) == JSON_NUMBER);
    CHECK(json_type_of(SPAN("true")) == JSON_TRUE);
    CHECK(json_type_of(SPAN("false")) == JSON_FALSE);
    CHECK(json_type_of(SPAN("null")) == JSON_NULL);
    CHECK(json_type_of((struct span){0}) == JSON_NONE);
}

TEST(booleans)
{
    bool b = false;

    CHECK(json_to_bool(SPAN("true"), &b) && b);
    CHECK(json_to_bool(SPAN("false"), &b) && !b);
    CHECK(!json_to_bool(SPAN("null"), &b));
    CHECK(!json_to_bool(SPAN("\"true\""), &b));
    CHECK(!json_to_bool((struct span){0}, &b));
}

TEST(integers_in_range)
{
    int64_t v = 7;

    CHECK(json_to_i64(SPAN("0"), &v) && v == 0);
    CHECK(json_to_i64(SPAN("-0"), &v) && v == 0);
    CHECK(json_to_i64(SPAN("9223372036854775807"), &v) && v == INT64_MAX);
    CHECK(json_to_i64(SPAN("-9223372036854775808"), &v) && v == INT64_MIN);
    v = 7;
    CHECK(!json_to_i64(SPAN("9223372036854775808"), &v));
    CHECK(!json_to_i64(SPAN("-9223372036854775809"), &v));
    CHECK(!json_to_i64(SPAN("92233720368547758070"), &v));
    CHECK(!json_to_i64(SPAN("1.0"), &v));
    CHECK(!json_to_i64(SPAN("1e3"), &v));
    CHECK(!json_to_i64(SPAN("\"1\""), &v));
    CHECK(!json_to_i64(SPAN("-"), &v));
    CHECK(!json_to_i64((struct span){0}, &v));
    CHECK_INT(v, 7);
}

TEST(what_is_not_a_string_has_no_text)
{
    struct arena a;

    arena_init(&a);
    CHECK(json_text(SPAN("12"), &a).p == NULL);
    CHECK(json_text(SPAN("null"), &a).p == NULL);
    CHECK(json_text((struct span){0}, &a).p == NULL);
    CHECK(json_text(SPAN("\"\""), &a).p != NULL);
}

/* ---- writing ---- */

static void check_written(struct span text, const char *want)
{
    struct strbuf s = strbuf_heap(4096);

    json_add_string(&s, text);
    CHECK_SPAN(strbuf_span(&s), want);
    CHECK(json_valid(strbuf_span(&s)));
    strbuf_release(&s);
}

TEST(strings_are_written_with_what_must_be_escaped)
{
    check_written(SPAN(""), "\"\"");
    check_written((struct span){NULL, 0}, "\"\"");
    check_written(SPAN("a\"b\\c/d\n\r\t\b\x01\x1f\x7f"),
                  "\"a\\\"b\\\\c/d\\n\\r\\t\\u0008\\u0001\\u001f\x7f\"");
    check_written(SPAN("a\0b"), "\"a\\u0000b\"");
    check_written(SPAN("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
                  "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
}

TEST(bytes_that_are_not_utf8_are_written_as_replacement_characters)
{
    check_written(SPAN("a\xff"), "\"a\xef\xbf\xbd\"");
    check_written(SPAN("\xc3"), "\"\xef\xbf\xbd\"");
    check_written(SPAN("\xed\xa0\x80z"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"");
    check_written(SPAN("\xe2\x82\xc3\xa9"), "\"\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9\"");
}

TEST(every_character_survives_writing_and_reading)
{
    char text[0x80];
    struct strbuf s = strbuf_heap(4096);
    struct arena a;

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)i;
    arena_init(&a);
    json_add_string(&s, (struct span){text, sizeof(text)});
    CHECK(json_valid(strbuf_span(&s)));
    CHECK(span_eq(json_text(strbuf_span(&s), &a), (struct span){text, sizeof(text)}));
    strbuf_release(&s);
    arena_release(&a);
}

TEST(a_splice_changes_only_what_it_names)
{
    struct span doc = SPAN("{\"model\": \"gpt\", \"n\":1}");
    struct json j = json_read(doc);
    struct span key, model, n;
    struct strbuf s = strbuf_heap(4096);

    CHECK(json_enter(&j, JSON_OBJECT));
    CHECK(json_member(&j, &key));
    model = json_take(&j);
    CHECK(json_member(&j, &key));
    n = json_take(&j);

    struct json_edit edits[] = {
        {{doc.p + 1, 0}, SPAN("\"first\":0,")},
        {model, SPAN("\"claude-longer\"")},
        {n, SPAN("")},
        {{n.p + n.n, 0}, SPAN("[2]")},
    };
    json_splice(&s, doc, edits, ARRAY_LEN(edits));
    CHECK_SPAN(strbuf_span(&s), "{\"first\":0,\"model\": \"claude-longer\", \"n\":[2]}");

    strbuf_clear(&s);
    json_splice(&s, doc, NULL, 0);
    CHECK(span_eq(strbuf_span(&s), doc));
    strbuf_clear(&s);
    json_splice(&s, doc, &(struct json_edit){{doc.p + doc.n, 0}, SPAN("\n")}, 1);
    CHECK_SPAN(strbuf_span(&s), "{\"model\": \"gpt\", \"n\":1}\n");
    strbuf_release(&s);
}

TEST(texts_are_appended_and_one_that_lost_half_a_character_says_so)
{
    struct strbuf s = strbuf_heap(1000);

    CHECK(json_add_text(&s, SPAN("\"plain\"")));
    CHECK(json_add_text(&s, SPAN("\" a\\n\\u00e9\\ud83d\\ude00\"")));
    CHECK(json_add_text(&s, SPAN("\"\"")));
    CHECK(json_add_text(&s, SPAN("\"\\ufffd\"")));
    CHECK_SPAN(strbuf_span(&s), "plain a\n\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbd");
    CHECK(!json_add_text(&s, SPAN("null")));
    CHECK(!json_add_text(&s, (struct span){0}));
    CHECK_INT(s.len, 17);
    strbuf_clear(&s);
    CHECK(!json_add_text(&s, SPAN("\"a\\ud83d\"")));
    CHECK(!json_add_text(&s, SPAN("\"\\ude00!\"")));
    CHECK_SPAN(strbuf_span(&s), "a\xef\xbf\xbd\xef\xbf\xbd!");
    strbuf_release(&s);
}

TEST_MAIN()
