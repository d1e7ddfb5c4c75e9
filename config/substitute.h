/* substitute.h - ${VAR}, ${VAR:-default} and ${file:/path} inside one scalar.
 *
 * Runs on a scalar after YAML has been parsed, and once, so that neither a variable nor a file can
 * bring YAML or further references in. A variable that is not set or empty is an error, unless
 * there is a default ("${VAR:-}" gives nothing). A file must be named by an absolute path, be a
 * regular file of at most SUBSTITUTE_FILE_MAX bytes; line ends at its end are dropped. "$${" gives
 * "${"; any other "$" is itself.
 */
#ifndef HOLDFAST_CONFIG_SUBSTITUTE_H
#define HOLDFAST_CONFIG_SUBSTITUTE_H

#include <stdbool.h>

#include "proxy/base/arena.h"
#include "proxy/base/err.h"

#define SUBSTITUTE_FILE_MAX ((size_t)64 << 10)
#define SUBSTITUTE_MAX      ((size_t)1 << 20) /* the scalar with everything put in */

struct substituted {
    const char *text; /* `text` itself, or a string in the arena */
    bool changed;     /* something was put in: the text may be a secret and is not to be shown */
    const char *open_file; /* NULL, or a file put in that every user of the machine may read */
    const char **files;    /* all that were put in; in the arena */
    size_t n_files;
};

/* 0, or -1 with *e naming the variable or the file (never what it holds). */
int substitute(const char *text, struct arena *a, struct substituted *out,
               struct err *e) MUST_CHECK;

#endif
