/* secret.h - the one choke point where secrets are taken out of text that leaves the process.
 *
 * Logs, error messages and status pages go through secret_redact(). It hides two sorts of things:
 *
 *   - what was registered: the exact value wherever it stands, and also any eight characters in a
 *     row of it that look random (two digits or capitals among them). Providers like to quote half
 *     a key in their errors. A piece that could be a word of a sentence stays legible.
 *   - what looks like a key although nobody registered it: sk-... AIza... gsk_... xai-... pplx-...,
 *     what follows "Bearer", what follows "key=".
 *
 * Each hidden stretch becomes "***", so text never grows. JSON text stays JSON: a backslash beside
 * a hidden stretch goes with it, and quotes end what merely looks like a key.
 *
 * Thread-safe. Values are registered at start and at reload and stay registered: an old key is
 * still a secret.
 */
#ifndef HOLDFAST_BASE_SECRET_H
#define HOLDFAST_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/span.h"

#define SECRET_MIN 8 /* shorter values would hide ordinary words */

/* Keeps a copy of the value. False, and nothing is kept, where it is shorter than SECRET_MIN. */
bool secret_register(struct span value);

/* Hides all secrets in buf[0 .. *len) in place and sets *len to what remains (never more). Writes
 * no NUL. Linear in the text; the number of registered values matters only where they begin
 * alike. */
void secret_redact(char *buf, size_t *len);

/* Wipes and forgets all that was registered: at the end of the process. */
void secret_forget(void);

#endif
