/* base64.h - bytes as text that survives JSON and headers (RFC 4648). */
#ifndef HOLDFAST_BASE_BASE64_H
#define HOLDFAST_BASE_BASE64_H

#include <stdbool.h>

#include "proxy/base/arena.h"
#include "proxy/base/strbuf.h"

/* Appends `bytes` in the standard alphabet, padded. */
void base64_add(struct strbuf *out, struct span bytes);

/* What a digit is worth, in either alphabet; -1 for what is none. */
int base64_digit(char c);

/* The bytes behind a text in either alphabet, padded or not. False, with *out untouched, where it
 * is anything else. */
bool base64_decode(struct span text, struct arena *a, struct span *out);

#endif
