/* json.h - reading JSON without changing a byte of it.
 *
 * Providers' prompt caches compare prefixes byte by byte, and numbers of 64 bits and more must
 * survive, so nothing here re-serialises: a reader walks the original bytes once, validating them
 * strictly (RFC 8259: UTF-8, nothing after the value), hands out views of them, and an edit is a
 * splice.
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
 *         return json_error(&j, e);
 *
 * One pass, no allocation, no recursion; deeper than JSON_MAX_DEPTH is refused. After a failure
 * every call returns empty or false, so errors are looked at once, at the end. A call that does not
 * fit where the reader stands (taking where no value is, asking for a member of a value that was
 * not entered) is such a failure too, and never reads astray: what fits may depend on the input.
 *
 * What RFC 8259 leaves open: numbers may have any size (only json_to_i64 has limits), names may
 * repeat (all are handed out), the escape of a lone surrogate is accepted and decodes to U+FFFD.
 */
#ifndef HOLDFAST_BASE_JSON_H
#define HOLDFAST_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/err.h"
#include "proxy/base/span.h"
#include "proxy/base/strbuf.h"

#define JSON_MAX_DEPTH 128 /* containers inside one another */
#define JSON_KEY_MAX   64  /* bytes of a decoded key; no name we know is longer */

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

/* May be copied: the copy reads on from the same place. Callers read only raw_key. */
struct json {
    const char *start, *at, *end;
    const char *problem; /* NULL, or what is wrong at `at` */
    struct span known;   /* see json_know */
    struct span raw_key; /* the last member's key as it stands in the input, with its quotes */
    unsigned depth;      /* containers entered and not left */
    bool first;          /* nothing was read yet in the innermost container */
    bool at_value;       /* a value stands at `at`, neither taken nor entered yet */
    uint64_t objects[JSON_MAX_DEPTH / 64]; /* bit n: is the container at depth n an object? */
    char key[JSON_KEY_MAX];                /* the last key decoded, where it had escapes */
};

/* A leading UTF-8 byte order mark and white space before the value are skipped. The text must
 * outlive the reader and all views that it hands out. */
struct json json_read(struct span text);

/* The type of the value at the reader, judged by its first byte: whether the rest is well-formed
 * is found out by taking or entering it. Does not move. */
enum json_type json_peek(const struct json *j);

/* Steps into the object or array at the reader. False, without moving, where the value is of
 * another type: that is no failure, the value may still be taken. */
bool json_enter(struct json *j, enum json_type container);

/* The next member of the object entered last: its key, the reader before its value. False after
 * the last one, with the reader behind the closing brace. The value must be taken, or entered and
 * read to its end, before the next call.
 *
 * The key is decoded: a view of the input, or of the reader until the next json_member. One that
 * has escapes and over JSON_KEY_MAX bytes when decoded is given as it stands, so it can equal no
 * name we know; json_text(j->raw_key, ...), before anything else is read, decodes it at any
 * length. */
bool json_member(struct json *j, struct span *key);

/* The same for an array. */
bool json_item(struct json *j);

/* The value at the reader with all its content, validated, as the raw bytes (a string with its
 * quotes); moves behind it. {NULL, 0} after a failure. */
struct span json_take(struct json *j);

/* Tells the reader of a value in its text that was taken before: it need not be walked again. */
void json_know(struct json *j, struct span raw);

/* True if all was well, the whole value was read and only white space follows. */
bool json_end(struct json *j);

/* Fills *e with the problem, its byte offset and the byte found there; where nothing failed, it
 * says that the value there is not the expected one. Returns -1. The code is ERR_TOO_BIG for too
 * deep a nesting, ERR_VALUE for a value that was not expected, else ERR_SYNTAX. */
int json_error(const struct json *j, struct err *e);

/* Is the whole text one valid JSON value? */
bool json_valid(struct span text);

/* What a raw value is. Here and below `raw` is what json_take gave (or text known to be one valid
 * value without white space around it); an empty one is of no type and is turned into nothing. */
enum json_type json_type_of(struct span raw);
bool json_is_string(struct span raw, const char *text); /* a string, equal after decoding */
bool json_to_bool(struct span raw, bool *out);          /* false unless it is true or false */

/* False unless it is a number in range, written without fraction and exponent. */
bool json_to_i64(struct span raw, int64_t *out);

/* The text of a raw string. A view of the input where it has no escapes, else a copy in the arena.
 * \u0000 gives a NUL byte; a lone surrogate gives U+FFFD. {NULL, 0} for what is not a string. */
struct span json_text(struct span raw, struct arena *a);

/* Appends the text of a raw string. False where that is not the whole text: `raw` is no string
 * (nothing is added), or a lone surrogate became U+FFFD. */
bool json_add_text(struct strbuf *out, struct span raw);

/* Appends `text` as a JSON string with its quotes. Each byte that is not part of well-formed UTF-8
 * becomes U+FFFD, so that what we write is always valid. */
void json_add_string(struct strbuf *out, struct span text);

/* Appends the name of a member, which is plain, with its quotes and its colon. */
void json_add_name(struct strbuf *out, const char *name);

/* One replacement: the bytes `old` (a view into the document) by `now`. An empty `old` inserts
 * where it points. */
struct json_edit {
    struct span old;
    struct span now;
};

/* Appends the document with the edits done; they must be in document order and not overlap. */
void json_splice(struct strbuf *out, struct span document, const struct json_edit *edits, size_t n);

#endif
