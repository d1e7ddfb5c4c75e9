/* request_top.h - the top of a request, as far as a door must know it.
 *
 * What read_request of every dialect does with a body: each member of the object that is read may
 * stand once (with two, we and the provider could believe different ones), the rest is passed over,
 * and an error is for the client: "FIELD: expected WHAT, got VALUE".
 */
#ifndef HOLDFAST_PROVIDERS_REQUEST_TOP_H
#define HOLDFAST_PROVIDERS_REQUEST_TOP_H

#include <stdbool.h>

#include "proxy/base/arena.h"
#include "proxy/base/err.h"
#include "proxy/base/json.h"

/* Without a byte order mark: RFC 8259 8.1 lets us read it, but not send it on. */
struct span top_body(struct span body);

/* Validates the whole body; values[i] becomes the raw member names[i], p == NULL where it is
 * missing. -1 with *e. */
int top_fields(struct span body, const char *const *names, size_t n, struct span *values,
               struct err *e);

/* Fills *e and returns -1; the value is shown cut short. */
int top_expected(struct err *e, const char *field, const char *what, struct span raw);

/* A model's name, decoded. */
int top_model(struct span raw, struct arena *a, struct span *model, struct err *e);

/* true, false, or null and missing, which leave *out as it is. */
int top_flag(const char *field, struct span raw, bool *out, struct err *e);

/* Is it a list with something in it? */
bool top_has_items(struct span raw);

/* A member of an object, the first of that name; empty where there is none, or no object. */
struct span top_member(struct span object, const char *name);

/* What is left of a limit of tokens, raw; it is no answer any more with less than a few, if it was
 * one before. */
struct span top_less(struct span limit, uint64_t used, struct arena *a);

/* The request with turns of these texts behind the last of its `messages`, where there is a text,
 * and with fewer tokens to write where max_tokens or max_completion_tokens says how many; empty
 * where no place was found. */
struct span top_extend(struct span request, struct span assistant, struct span user,
                       uint64_t used_tokens, struct arena *a);

#endif
