/* json.h - reading JSON without changing a byte of it.
 *
 * Providers' prompt caches compare prefixes byte by byte, and numbers of 64 bits and more must
 * survive, so nothing here re-serialises: a reader walks the original bytes once, validating them
 * strictly (RFC 8259: UTF-8, nothing after the value), hands out
 * views of them, and an edit is a splice.
 *
 *     struct json j = json_read(text);
 *     struct span key;
 *
 *     if (json_enter(&j, JSON_OBJECT))
 *         while (json_member(&j, &key)) {
 *             if (span_is(key, "model"))
 *                 model = json_take(&j);
 *             else
 *                 json_take(&j);
 *         }
 *     if (!json_end(&j))
 *         ... json_error(&j) says what is wrong and where
 *
 * One pass, no allocation, no recursion on input deeper than JSON_MAX_DEPTH. After a failure every
 * call returns empty or false, so errors are looked at once, at the end.
 */
#ifndef HOLDFAST_BASE_JSON_H
#define HOLDFAST_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/err.h"
#include "proxy/base/span.h"
#include "proxy/base/strbuf.h"

#define JSON_MAX_DEPTH 128
#define JSON_KEY_MAX   64 /* a key with escapes is decoded when it fits; no name we know is longer \
                           */

enum json_type {
    JSON_NONE, /* the reader has failed, or there is no value here */
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

struct json {
    const char *start, *at, *end;
    const char *problem;    /* NULL, or what is wrong at `at` */
    unsigned depth;         /* containers entered and not left */
    bool first;             /* nothing was read yet in the innermost container */
    char key[JSON_KEY_MAX]; /* the last key, where it had escapes */
};

/* A leading UTF-8 byte order mark and white space before the value are skipped. */
struct json json_read(struct span text);

/* The type of the value at the reader; does not move. */
enum json_type json_peek(struct json *j);

/* Steps into the object or array at the reader. False, without moving, where the value is of
 * another type. */
bool json_enter(struct json *j, enum json_type container);

/* The next member of the object entered last: its key (decoded; a view of the input, or of the
 * reader until the next call), the reader before its value. False after the last one, with the
 * reader behind the closing brace. The value must be taken or entered before the next call. */
bool json_member(struct json *j, struct span *key);

/* The same for an array. */
bool json_item(struct json *j);

/* The value at the reader with all its content, validated, as the raw bytes (a string with its
 * quotes); moves behind it. Empty after a failure. */
struct span json_take(struct json *j);

/* True if all was well and only white space follows. */
bool json_end(struct json *j);

/* Fills *e with the problem and its byte offset. Returns -1. */
int json_error(const struct json *j, struct err *e);

/* Is the whole text one valid JSON value? */
bool json_valid(struct span text);

/* What a raw value taken by json_take is. */
enum json_type json_type_of(struct span raw);
bool json_is_string(struct span raw, const char *text); /* equal after decoding */
bool json_to_bool(struct span raw, bool *out);          /* false unless it is true or false */
bool json_to_i64(struct span raw,
                 int64_t *out); /* an integer literal in range, no fraction, no exponent */

/* The text of a raw string. A view of the input where it has no escapes, else a copy in the arena.
 * \u0000 gives a NUL byte; a lone surrogate gives U+FFFD. */
struct span json_text(struct span raw, struct arena *a);

/* Appends `text` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD, so that
 * what we write is always valid. */
void json_add_string(struct strbuf *out, struct span text);

/* One replacement: the bytes `old` (a view into the document) by `now`. An empty `old` inserts. */
struct json_edit {
    struct span old;
    struct span now;
};

/* Appends the document with the edits done; they must be in document order and not overlap. */
void json_splice(struct strbuf *out, struct span document, const struct json_edit *edits, size_t n);

#endif
