#include "tests/unit/check.h"

#include "proxy/base/hash.h"

/* The first two are the examples of FIPS 180-4's test vectors. */
TEST(sha256_is_the_sha256_of_the_standard)
{
    static const struct {
        const char *text, *digest;
    } known[] = {
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        uint8_t digest[HASH_SHA256_BYTES];
        char hex[2 * HASH_SHA256_BYTES + 1];

        hash_sha256(span_of(known[i].text), digest);
        hash_hex(digest, sizeof(digest), hex);
        CHECK_STR(hex, known[i].digest);
    }
}

TEST(an_empty_span_without_an_address_is_hashed_as_empty_text)
{
    uint8_t a[HASH_SHA256_BYTES], b[HASH_SHA256_BYTES];

    hash_sha256((struct span){NULL, 0}, a);
    hash_sha256(SPAN(""), b);
    CHECK(hash_equal(a, b, sizeof(a)));
}

TEST(equal_means_every_byte)
{
    uint8_t a[32] = {0}, b[32] = {0};

    CHECK(hash_equal(a, b, sizeof(a)));
    for (size_t i = 0; i < sizeof(a); i++) {
        b[i] = 0x80;
        CHECK(!hash_equal(a, b, sizeof(a)));
        b[i] = 0;
    }
}

TEST(hex_is_read_back_in_either_case)
{
    uint8_t bytes[4];

    CHECK(hash_parse_hex(SPAN("00ffA0a1"), bytes, sizeof(bytes)));
    CHECK_INT(bytes[0], 0x00);
    CHECK_INT(bytes[1], 0xff);
    CHECK_INT(bytes[2], 0xa0);
    CHECK_INT(bytes[3], 0xa1);
}

TEST(what_is_not_exactly_n_bytes_of_hex_is_refused_and_changes_nothing)
{
    static const char *const wrong[] = {"",          "00",         "0011223",
                                        "001122334", "0011223344", "0011223g",
                                        "0x112233",  " 0112233",   "00112:33"};
    uint8_t bytes[4] = {1, 2, 3, 4};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK(!hash_parse_hex(span_of(wrong[i]), bytes, sizeof(bytes)));
    CHECK(bytes[0] == 1 && bytes[1] == 2 && bytes[2] == 3 && bytes[3] == 4);
}

TEST(random_bytes_fill_everything_and_differ)
{
    uint8_t seen[64] = {0}, a[64], b[64];
    bool differ = false;

    /* A byte that is never filled would stay zero in all of 64 tries. */
    for (int i = 0; i < 64; i++) {
        random_bytes(a, sizeof(a));
        for (size_t k = 0; k < sizeof(a); k++)
            seen[k] |= a[k];
    }
    for (size_t k = 0; k < sizeof(seen); k++)
        CHECK(seen[k] != 0);
    random_bytes(a, sizeof(a));
    random_bytes(b, sizeof(b));
    for (size_t k = 0; k < sizeof(a); k++)
        differ = differ || a[k] != b[k];
    CHECK(differ);
}

TEST_MAIN()
