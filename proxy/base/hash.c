#include "proxy/base/hash.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

static NO_RETURN void refuse(const char *what)
{
    fprintf(stderr, "holdfast: OpenSSL has no %s\n", what);
    abort();
}

void hash_sha256(struct span data, uint8_t out[HASH_SHA256_BYTES])
{
    unsigned n = 0;

    if (EVP_Digest(data.n > 0 ? data.p : "", data.n, out, &n, EVP_sha256(), NULL) != 1 ||
        n != HASH_SHA256_BYTES)
        refuse("SHA-256");
}

bool hash_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

void hash_hex(const void *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = bytes;

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[from[i] >> 4];
        out[2 * i + 1] = digits[from[i] & 15];
    }
    out[2 * n] = '\0';
}

/* The value of a hexadecimal digit, or -1. */
static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hash_parse_hex(struct span text, void *out, size_t n)
{
    uint8_t *to = out;

    if (text.n % 2 != 0 || text.n / 2 != n)
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (digit_of(text.p[i]) < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(digit_of(text.p[2 * i]) << 4 | digit_of(text.p[2 * i + 1]));
    return true;
}

void random_bytes(void *out, size_t n)
{
    if (n > INT_MAX || RAND_bytes(out, (int)n) != 1)
        refuse("random numbers");
}
