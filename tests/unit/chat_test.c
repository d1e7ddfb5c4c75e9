#include "providers/chat.h"

#include "proxy/base/arena.h"
#include "tests/unit/check.h"

static void check_mask(const char *text, const char *want)
{
    char out[512];

    chat_error_mask(span_of(text), out, sizeof(out));
    CHECK_STR(out, want);
}

TEST(keys_are_masked_wherever_they_stand)
{
    check_mask("Incorrect API key provided: sk-abcd1234.", "Incorrect API key provided: ***.");
    check_mask("Incorrect API key provided: DEADBEEF. You can",
               "Incorrect API key provided: ***. You can");
    check_mask("key sk-ant-api03-Xy_z-9 is bad", "key *** is bad");
    check_mask("(sk-proj-abc***xyz)", "(***)");
    check_mask("https://x.test/v1?key=AIzaSyA-1234567890&alt=sse",
               "https://x.test/v1?key=***&alt=sse");
    check_mask("AIzaSyA-1234567890 gsk_abcd xai-abcdef pplx-abcdef hf_abcdefgh",
               "*** *** *** *** ***");
    check_mask("Authorization: Bearer abc.def/ghi=, sent", "Authorization: Bearer ***=, sent");
    check_mask("authorization: bearer xyz", "authorization: bearer ***");
    check_mask("{\"key\":\"sk-12345678\"}", "{\"key\":\"***\"}");
    check_mask("api key: ****-key is invalid", "api key: *** is invalid");
    check_mask("in organization org-abcdefghijklmnop on requests",
               "in organization *** on requests");
    check_mask("/keys/sk-12345678/x", "/keys/***");
}

TEST(words_that_only_resemble_keys_stay)
{
    check_mask("task-management needs risk-assessment", "task-management needs risk-assessment");
    check_mask("sk- is no key", "sk- is no key");
    check_mask("a well-known org-chart", "a well-known org-chart");
    check_mask("the key is missing", "the key is missing");
}

TEST(a_message_is_one_line_without_space_at_its_ends)
{
    check_mask(" \n a\r\nb\tc\x01 \n", "a  b c");
    check_mask("", "");
    check_mask("\n\n", "");
    check_mask("\xc3\xa9\x7f!", "\xc3\xa9 !");
}

/* The text cut to `room` bytes and a NUL. */
static void check_cut(const char *text, size_t room, const char *want)
{
    char *out = malloc(room + 1);

    chat_error_mask(span_of(text), out, room + 1);
    CHECK_STR(out, want);
    free(out);
}

TEST(a_long_message_is_cut_between_two_characters)
{
    check_cut("abcdef", 6, "abcdef");
    check_cut("abcdef", 5, "abcde");
    check_cut("a\xc3\xa9z", 3, "a\xc3\xa9");
    check_cut("a\xc3\xa9z", 2, "a");
    check_cut("\xe2\x82\xac!", 3, "\xe2\x82\xac");
    check_cut("\xe2\x82\xac!", 2, "");
    check_cut("x\xf0\x9f\x98\x80y", 5, "x\xf0\x9f\x98\x80");
    check_cut("x\xf0\x9f\x98\x80y", 4, "x");
    check_cut("x\xf0\x9f\x98\x80y", 0, "");
    /* Never a part of a key, nor of its mask. */
    check_cut("see sk-12345678 there", 6, "see ");
    check_cut("see sk-12345678 there", 7, "see ***");
}

TEST(text_becomes_a_raw_string)
{
    struct arena a;

    arena_init(&a);
    CHECK_SPAN(chat_quote(SPAN("a\"b\n"), &a), "\"a\\\"b\\n\"");
    CHECK_SPAN(chat_quote(SPAN("\x01\x01"), &a), "\"\\u0001\\u0001\"");
    CHECK_SPAN(chat_quote(SPAN("\xff\xff"), &a), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    CHECK_SPAN(chat_quote((struct span){0}, &a), "\"\"");
    arena_release(&a);
}

TEST_MAIN()
