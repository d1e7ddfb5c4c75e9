/* value.h - what a scalar of the configuration may look like, and how it is shown again.
 *
 * Each reader takes the whole text or refuses it: no spaces, no sign, nothing after the value. On
 * failure *e holds only what is wrong and what was expected ("has no unit; write 10s or 10000ms");
 * the caller puts the place, the key and the value before it. That way a secret never gets into a
 * message, since nothing here repeats the text; the advice for a missing unit is the one exception
 * and repeats nothing but digits.
 */
#ifndef HOLDFAST_CONFIG_VALUE_H
#define HOLDFAST_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/err.h"

/* "250ms", "10s", "1.5m", "2h": a number and one of ms s m h; whole milliseconds. */
int value_duration(const char *text, uint64_t *ms, struct err *e) MUST_CHECK;

/* "512B", "64KiB", "32MiB", "1GiB": whole bytes. */
int value_size(const char *text, uint64_t *bytes, struct err *e) MUST_CHECK;

int value_integer(const char *text, uint64_t *out, struct err *e) MUST_CHECK; /* "4" */
int value_number(const char *text, double *out, struct err *e) MUST_CHECK;    /* "0.25" */
int value_boolean(const char *text, bool *out, struct err *e) MUST_CHECK;     /* true, false */

/* 64 hexadecimal digits, in either case. */
int value_sha256(const char *text, uint8_t out[32], struct err *e) MUST_CHECK;

/* Is `text` one of the words in `words`, which spaces separate? */
bool value_is_word(const char *text, const char *words);

#define VALUE_TEXT_MAX 32

/* In the largest unit that shows the value exactly: 90000 is "90s", 7200000 is "2h". Returns buf.
 */
char *value_show_duration(char buf[VALUE_TEXT_MAX], uint64_t ms);
char *value_show_size(char buf[VALUE_TEXT_MAX], uint64_t bytes);

#define VALUE_QUOTE_MAX 64

/* The text in double quotes for a message: cut when long, control characters and quotes shown as
 * '?', so that a value can neither break a log line nor flood it. Returns buf. */
char *value_quote(char buf[VALUE_QUOTE_MAX], const char *text);

/* Did you mean? Offer all candidates; `best` is the nearest one or NULL when none is near. */
struct suggestion {
    const char *word; /* what was written */
    const char *best; /* a candidate as it was offered */
    size_t distance;  /* single-character edits and swaps between the two */
};

struct suggestion suggest(const char *word);
void suggest_offer(struct suggestion *s, const char *candidate);

#endif
