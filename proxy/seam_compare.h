/* seam_compare.h - comparing what was sent with what another model says, for seam.c alone.
 *
 * Texts are UTF-8. Where nothing else is said, a comparison is of bytes; a tolerant one takes runs
 * of white space, typographic quotes and dashes for their plain forms.
 */
#ifndef HOLDFAST_PROXY_SEAM_COMPARE_H
#define HOLDFAST_PROXY_SEAM_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/span.h"

/* Bytes without the part of a character at the end. */
size_t compare_whole(struct span text);

size_t compare_chars(struct span text);                    /* how many */
struct span compare_first(struct span text, size_t chars); /* at most so many */

/* Without the white space at the start, or at the end. */
struct span compare_trim_start(struct span text);
struct span compare_trim_end(struct span text);

/* Letters and digits of any script: what may stand inside a word. False for an empty text. */
bool compare_starts_in_word(struct span text);
bool compare_ends_in_word(struct span text);

/* Could a text that ends so be at its end? */
bool compare_may_end(struct span text);

/* Does the text end in something that stands there twice or more often: "----", "ha ha ha"? */
bool compare_repeats(struct span text);

/* Where `what`, without white space at its ends, first stands in `text`; tolerant. The place with
 * its own length; with length 0 a place where it may begin if the text goes on; p == NULL: nowhere.
 */
struct span compare_find(struct span text, struct span what);

/* The shortest end of `text` between `least` and `most` characters that stands in it once
 * (tolerant) and begins with a word, or at least with a character; p == NULL if there is none. */
struct span compare_anchor(struct span text, size_t least, size_t most);

/* How much of a new text is compared with so many characters of an old one. */
#define COMPARE_REACH(chars) ((chars) + (chars) / 4 + 4)

/* Does `start` begin as `text` does, in nearly the same characters, or in other words: with the
 * same pairs of words at about the same places? Both look at `chars` characters of `text`, and at
 * their reach of `start`. */
bool compare_nearly_equal(struct span text, struct span start, size_t chars);
bool compare_in_other_words(struct span text, struct span start, size_t chars);

#endif
