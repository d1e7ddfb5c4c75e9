/* hash.h - the door to OpenSSL's hashing and random numbers.
 *
 * No other file below the TLS listener includes an OpenSSL header. Nothing here can fail for the
 * caller: a library without SHA-256 or a system without random numbers ends the process, because
 * whatever would go on then could be guessed.
 */
#ifndef HOLDFAST_BASE_HASH_H
#define HOLDFAST_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/attributes.h"
#include "proxy/base/span.h"

#define HASH_SHA256_BYTES 32

/* FIPS 180-4. */
void hash_sha256(struct span data, uint8_t out[HASH_SHA256_BYTES]);

/* Are the n bytes equal? Takes as long whether they differ early or late, so that nobody can find
 * a key byte by byte with a watch. */
bool hash_equal(const void *a, const void *b, size_t n) MUST_CHECK;

/* Writes n bytes as 2 * n lower case hexadecimal digits and a NUL. */
void hash_hex(const void *bytes, size_t n, char *out);

/* Reads exactly n bytes from exactly 2 * n hexadecimal digits of either case. False, with `out`
 * untouched, where the text is anything else. */
bool hash_parse_hex(struct span text, void *out, size_t n) MUST_CHECK;

/* Fills n bytes with random numbers fit for keys and ids that nobody may guess. */
void random_bytes(void *out, size_t n);

#endif
