/* yaml.h - text to a small tree of nodes that know where they stand.
 *
 * The only module that uses libyaml, and only its events. What a configuration does not need is
 * refused, since it is where YAML surprises people and where its bombs are: anchors and aliases,
 * tags, more than one document, keys that are not plain text, the same key twice, nesting deeper
 * than YAML_MAX_DEPTH, text larger than YAML_MAX_BYTES, anything that is not UTF-8, NUL characters.
 * All scalars stay text: what "no" or "010" means is for the option that reads it.
 */
#ifndef HOLDFAST_CONFIG_YAML_H
#define HOLDFAST_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/arena.h"
#include "proxy/base/err.h"
#include "proxy/base/span.h"

#define YAML_MAX_BYTES ((size_t)1 << 20)
#define YAML_MAX_DEPTH 32

enum node_kind { NODE_TEXT, NODE_MAP, NODE_LIST };

/* Lines and columns count from 1, columns in characters. */
struct node {
    enum node_kind kind;
    unsigned line, column; /* where the value begins */
    const char *text;      /* NODE_TEXT: NUL-terminated, without NULs inside; else NULL */
    bool null;             /* NODE_TEXT: nothing, ~ or null, not in quotes */

    const char *key; /* inside a map: this value's key; else NULL */
    unsigned key_line, key_column;

    struct node *first, *next; /* first child; next in the same parent, in the order written */
};

struct yaml {
    struct arena arena; /* holds all nodes and texts */
    struct node *root;  /* NULL: the text has no document or an empty one */
};

/* Fills *y, which yaml_release gives back, or returns -1 with "NAME:LINE:COLUMN: what is wrong" and
 * nothing to release. */
int yaml_read(struct yaml *y, const char *name, struct span text, struct err *e) MUST_CHECK;
void yaml_release(struct yaml *y);

/* The value of a key in a map, or NULL; `map` may be NULL or no map. */
const struct node *node_find(const struct node *map, const char *key);

#endif
