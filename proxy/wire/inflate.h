/* inflate.h - undoing gzip on an answer that came compressed although we asked for identity. */
#ifndef HOLDFAST_WIRE_INFLATE_H
#define HOLDFAST_WIRE_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/base/attributes.h"
#include "proxy/base/span.h"

/* A body may grow to a hundred times its size on the wire, after a start of its own; beyond that it
 * is an attack (a "bomb"), not an answer. */
#define INFLATE_MAX_RATIO 100
#define INFLATE_FREE      (1024 * 1024)

struct inflate;

struct inflate *inflate_new(void);    /* gzip or zlib format, told apart by the first bytes */
void inflate_free(struct inflate *z); /* NULL is fine */

enum inflate_result { INFLATE_OK, INFLATE_BROKEN, INFLATE_BOMB, INFLATE_STOPPED };

/* Decodes `in` and hands pieces to `sink`, which answers false to stop (then INFLATE_STOPPED). */
enum inflate_result inflate_feed(struct inflate *z, struct span in,
                                 bool (*sink)(void *ctx, struct span out), void *ctx) MUST_CHECK;

/* Was the compressed data's own end seen? */
bool inflate_complete(const struct inflate *z);

#endif
