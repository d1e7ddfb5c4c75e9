/* err.h - an error that carries its context.
 *
 * Three sorts of trouble are never mixed: a bug is an assert (on in release too), a failed attempt
 * upstream is an `enum failure`, anything else that can go wrong returns -1 with *e filled. Low
 * floors fill *e and stay silent; whoever gives up logs it, once.
 */
#ifndef HOLDFAST_BASE_ERR_H
#define HOLDFAST_BASE_ERR_H

#include "proxy/base/attributes.h"

enum err_code {
    ERR_NONE,
    ERR_IO,      /* the system refused: file, socket, address in use */
    ERR_SYNTAX,  /* the bytes are not what their format asks for */
    ERR_VALUE,   /* well-formed, but the value is not allowed here */
    ERR_TOO_BIG, /* a cap was passed */
    ERR_UNKNOWN, /* a name that nothing defines */
    ERR_BOUND,   /* well-formed, but of use in one place only, which is not here */
};

/* Lives on the caller's stack. Untouched on success, so one serves a whole chain of calls. */
struct err {
    enum err_code code; /* what the program branches on */
    char msg[320];      /* what a person reads, outermost context first */
};

/* Fills *e and returns -1, so that `return err_set(...)` is one step. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "<text>: " before what the callee left in *e. Returns -1. */
int err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
