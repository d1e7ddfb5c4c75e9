/* status_table.h - the /status document as a table, for somebody at a terminal at 3 a.m.
 *
 * Pure: a document in, text out. What is wrong comes first: routes that cannot be served, then the
 * targets with the state of each in words, why, and its last error. What providers wrote is shown
 * without control characters.
 */
#ifndef HOLDFAST_OPS_STATUS_TABLE_H
#define HOLDFAST_OPS_STATUS_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/attributes.h"
#include "proxy/base/err.h"
#include "proxy/base/span.h"
#include "proxy/base/strbuf.h"

struct status_style {
    bool colour;
    size_t width; /* columns, to which texts of errors are cut; 0: they are not */
};

/* Appends the table. *served: does every route have a target that may be asked? 0, or -1 with *e
 * where it is no such document. */
int status_table(struct span document, const struct status_style *style, struct strbuf *out,
                 bool *served, struct err *e) MUST_CHECK;

#endif
