#include "tests/unit/check.h"

#include <pthread.h>
#include <time.h>

#include "proxy/base/json.h"
#include "proxy/base/secret.h"

static char text[1 << 16];

/* What becomes of a text; in a buffer of exactly its size, so that a byte too far is noticed. */
static const char *redacted(const char *before)
{
    size_t n = strlen(before), was = n;
    char *exact = malloc(n != 0 ? n : 1);

    memcpy(exact, before, n);
    secret_redact(exact, &n);
    CHECK(n <= was);
    memcpy(text, exact, n);
    text[n] = '\0';
    free(exact);
    return text;
}

static void with_keys(void)
{
    secret_forget();
    CHECK(secret_register(SPAN("k7Qm2xV9pL4tR8wZ")));
    CHECK(secret_register(SPAN("correct-horse-battery")));
}

TEST(a_registered_value_becomes_three_stars)
{
    with_keys();
    CHECK_STR(redacted("k7Qm2xV9pL4tR8wZ"), "***");
    CHECK_STR(redacted("got k7Qm2xV9pL4tR8wZ, twice: k7Qm2xV9pL4tR8wZ."), "got ***, twice: ***.");
    CHECK_STR(redacted("xcorrect-horse-batteryx"), "x***x");
}

TEST(eight_random_characters_of_a_registered_value_are_hidden_too)
{
    with_keys();
    CHECK_STR(redacted("key is k7Qm2xV9..."), "key is ***...");
    CHECK_STR(redacted("ends in pL4tR8wZ!"), "ends in ***!");
    CHECK_STR(redacted("m2xV9pL4tR is inside"), "*** is inside");
    CHECK_STR(redacted("L4tR8wZ"), "L4tR8wZ"); /* seven are not */
}

TEST(a_piece_that_could_be_a_word_stays_legible)
{
    with_keys();
    CHECK_STR(redacted("the battery of the horse is correct-ish"),
              "the battery of the horse is correct-ish");
    CHECK_STR(redacted("-battery correct-horse"), "-battery correct-horse");
    CHECK_STR(redacted("correct-horse-battery"), "***");
}

TEST(values_that_begin_alike_are_all_found_the_longest_first)
{
    secret_forget();
    CHECK(secret_register(SPAN("same-head-one")));
    CHECK(secret_register(SPAN("same-head-one-and-more")));
    CHECK(secret_register(SPAN("same-head-two")));
    CHECK_STR(redacted("<same-head-two> <same-head-one> <same-head-one-and-more>"),
              "<***> <***> <***>");
    CHECK_STR(redacted("same-head-three"), "same-head-three");
}

TEST(values_too_short_to_hide_are_refused)
{
    secret_forget();
    CHECK(!secret_register(SPAN("1234567")));
    CHECK(!secret_register(SPAN("")));
    CHECK_STR(redacted("1234567"), "1234567");
    CHECK(secret_register(SPAN("12345678")));
    CHECK_STR(redacted("12345678"), "***");
}

TEST(registering_twice_and_many_values_changes_nothing_else)
{
    char value[32];

    secret_forget();
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 500; i++) {
            int n = snprintf(value, sizeof(value), "Q%04dxY7zK%04dm", i, i * 7 % 10000);

            CHECK(secret_register((struct span){value, (size_t)n}));
        }
    for (int i = 0; i < 500; i++) {
        snprintf(value, sizeof(value), "Q%04dxY7zK%04dm", i, i * 7 % 10000);
        CHECK_STR(redacted(value), "***");
    }
    CHECK_STR(redacted("nothing to see"), "nothing to see");
}

TEST(what_looks_like_a_key_is_hidden_unregistered)
{
    static const char *const pairs[][2] = {
        {"sk-abcd1234", "***"},
        {"wrong key: sk-proj-****wxyz. Try", "wrong key: ***. Try"},
        {"\"sk-ant-api03-a_b-c\"", "\"***\""},
        {"(AIzaSyA-123_x)", "(***)"},
        {"gsk_abcdefgh xai-abcdefgh pplx-abcdefgh", "*** *** ***"},
        {"Authorization: Bearer abc.def-ghi~j+k/l==, next", "Authorization: Bearer ***, next"},
        {"bearer\t  abcdef", "bearer\t  ***"},
        {"BEARER abcdef", "BEARER ***"},
        {"/v1/models?key=AbC-1.2&alt=sse", "/v1/models?key=***&alt=sse"},
        {"api_key=\"abc\" apiKey=abc;", "api_key=\"abc\" apiKey=***;"},
        {"Bearer key=abcdef", "Bearer ***"},
        {"key=Bearer abcdef", "key=*** ***"},
        {"bearer bearer abcdef", "bearer *** ***"},
        {"sk-abcd-key=efgh", "***=***"},
        {"key=***", "key=***"},
    };

    secret_forget();
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        CHECK_STR(redacted(pairs[i][0]), pairs[i][1]);
}

TEST(ordinary_words_are_not_taken_for_keys)
{
    static const char *const plain[] = {
        "task-oriented risk-based disk-full",
        "sk-",
        "sk-abc",
        "the bearer",
        "a bearer, then",
        "bearers abc",
        "forbearer abc",
        "key = value",
        "monkey",
        "",
        "*",
        "AIz",
        "gsk_ab",
        "key=",
    };

    secret_forget();
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        CHECK_STR(redacted(plain[i]), plain[i]);
}

TEST(a_secret_of_one_or_two_bytes_leaves_no_more_than_that)
{
    secret_forget();
    CHECK_STR(redacted("key=a&key=bc&key=def&"), "key=*&key=**&key=***&");
}

TEST(stretches_that_touch_or_overlap_are_hidden_as_one)
{
    with_keys();
    CHECK_STR(redacted("k7Qm2xV9pL4tR8wZk7Qm2xV9pL4tR8wZ"), "***");
    CHECK_STR(redacted("sk-abc/k7Qm2xV9pL4tR8wZ/d"), "sk-abc/***/d");
    CHECK_STR(redacted("Bearer abc.k7Qm2xV9pL4tR8wZ"), "Bearer ***");
    CHECK(secret_register(SPAN("secret with spaces and sk-abc")));
    CHECK_STR(redacted("secret with spaces and sk-abcdef!"), "***!");
}

TEST(json_stays_json)
{
    static const char *const lines[] = {
        "{\"msg\":\"\\nsk-abcd1234\\n\"}",       "{\"msg\":\"\\u001fsk-abcd1234\"}",
        "{\"msg\":\"key=abc\\\"def\"}",          "{\"msg\":\"key=abc\\\\\"}",
        "{\"msg\":\"\\nextra-long-value\"}",     "{\"msg\":\"\\\\nextra-long-value\"}",
        "{\"msg\":\"ends-with-backslash\\\\\"}", "{\"key=\":\"Bearer \",\"x\":1}",
    };

    secret_forget();
    CHECK(secret_register(SPAN("nextra-long-value")));
    CHECK(secret_register(SPAN("ends-with-backslash\\")));
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const char *after = redacted(lines[i]);

        if (!json_valid(span_of(after)))
            fail_msg("%s became %s", lines[i], after);
        CHECK(strstr(after, "sk-") == NULL && strstr(after, "extra") == NULL);
    }
    CHECK_STR(redacted("{\"msg\":\"\\nsk-abcd1234\\n\"}"), "{\"msg\":\"\\n***\\n\"}");
}

TEST(forgotten_values_are_hidden_no_more)
{
    with_keys();
    secret_forget();
    CHECK_STR(redacted("correct-horse-battery"), "correct-horse-battery");
}

/* Seconds of CPU for n bytes made of `unit`, the best of three. */
static double cost(const char *unit, size_t n)
{
    double best = 1e9;
    char *big = malloc(n);

    for (int round = 0; round < 3; round++) {
        size_t len = n, unit_len = strlen(unit);
        clock_t start;

        for (size_t i = 0; i < n; i++)
            big[i] = unit[i % unit_len];
        start = clock();
        secret_redact(big, &len);
        if ((double)(clock() - start) / CLOCKS_PER_SEC < best)
            best = (double)(clock() - start) / CLOCKS_PER_SEC;
    }
    free(big);
    return best;
}

TEST(time_grows_in_step_with_the_text)
{
    static const char *const nasty[] = {"sk-",  "sk-sk-a",    "bearer ",
                                        "key=", "key=key=\\", "same-head",
                                        "\\",   "a",          "bearer bearer\t\t\t"};

    with_keys();
    for (int i = 0; i < 50; i++) {
        char value[40];
        int n = snprintf(value, sizeof(value), "same-head%02d-and-tail", i);

        CHECK(secret_register((struct span){value, (size_t)n}));
    }
    for (size_t i = 0; i < sizeof(nasty) / sizeof(nasty[0]); i++) {
        double small = cost(nasty[i], 1 << 13), big = cost(nasty[i], 1 << 17);

        if (big > 64 * small + 0.01)
            fail_msg("\"%s\": 8 KiB take %.6f s, 128 KiB take %.6f s", nasty[i], small, big);
    }
}

static void *register_many(void *arg)
{
    char value[32];

    (void)arg;
    for (int i = 0; i < 200; i++) {
        int n = snprintf(value, sizeof(value), "thread-value-%04d", i);

        secret_register((struct span){value, (size_t)n});
    }
    return NULL;
}

TEST(values_may_be_registered_while_others_redact)
{
    pthread_t thread;

    with_keys();
    CHECK_INT(pthread_create(&thread, NULL, register_many, NULL), 0);
    for (int i = 0; i < 200; i++)
        CHECK_STR(redacted("a k7Qm2xV9pL4tR8wZ b"), "a *** b");
    pthread_join(thread, NULL);
    CHECK_STR(redacted("thread-value-0199"), "***");
    secret_forget();
}

TEST_MAIN()
