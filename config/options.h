/* options.h - every key of the configuration, as one row each.
 *
 * From the rows come the check of every key and value, the defaults, the HOLDFAST_* variables and
 * the manual. A new option is a new row, and a field in config.h where it is kept.
 *
 * A path names the place of a key: "timeouts.idle"; "providers.*.type" is the type of any provider;
 * "routes[].model" the model of any route.
 */
#ifndef HOLDFAST_CONFIG_OPTIONS_H
#define HOLDFAST_CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/arena.h"
#include "proxy/base/err.h"

enum option_type {
    /* These hold other options. */
    OPTION_SECTION, /* a mapping; its keys have rows of their own */
    OPTION_NAMED,   /* a mapping from names of the user's choice to sections */
    OPTION_OBJECTS, /* a list of sections */
    OPTION_TARGETS, /* a list of targets: texts, objects, or lists of these (tiers) */

    /* One scalar each. */
    OPTION_DURATION, /* uint64_t, milliseconds */
    OPTION_SIZE,     /* uint64_t, bytes */
    OPTION_INTEGER,  /* unsigned or uint64_t */
    OPTION_NUMBER,   /* double */
    OPTION_BOOLEAN,  /* bool */
    OPTION_STRING,   /* char * */
    OPTION_SECRET,   /* char *, never shown */
    OPTION_ENUM,     /* char * */
    OPTION_SHA256,   /* uint8_t[32] */
    OPTION_LISTEN,   /* struct config_listen */

    /* Lists of scalars; a single scalar stands for a list of one. */
    OPTION_LISTENS, /* struct config_listen *, and the count */
    OPTION_STRINGS, /* char **, and the count */
    OPTION_SECRETS, /* the same, never shown */
};

/* What a string must look like; each has a line in options.c. */
enum option_form {
    FORM_ANY,
    FORM_NAME,
    FORM_MODEL,
    FORM_KEY,
    FORM_HOST,
    FORM_ORIGIN,
    FORM_NETWORK
};

struct option {
    const char *path;
    enum option_type type;
    const char *def; /* as it would be written, or NULL: none */
    double min, max; /* of numbers, sizes and durations, both allowed; max 0: no range */
    size_t at;       /* where the value goes in its struct; NO_FIELD: checked only */
    size_t size;     /* of the field */
    size_t count_at; /* lists: where the count goes */
    enum option_form form;
    const char *words; /* ENUM: the values; others: the words for 0 and the largest; or NULL */
    const char *later; /* ENUM: values that this version does not have yet, or NULL */
    bool ready;        /* false: known, but setting it is an error in this version */
    bool restart;      /* a reload does not change it */
    const char *help;
};

#define NO_FIELD ((size_t)-1)

/* All rows in the order of the manual: a section before its keys. */
const struct option *options_all(size_t *n);

/* The row of a path pattern, or NULL. */
const struct option *option_find(const char *pattern);

bool option_is_list(const struct option *o);   /* of scalars */
bool option_is_scalar(const struct option *o); /* one */
bool option_is_secret(const struct option *o);

/* Does `text` have the form? 0, or -1 with *e as in value.h. */
int option_check(enum option_form form, const char *text, struct err *e) MUST_CHECK;

/* Reads one scalar by the rules of the row and puts it into `owner`, the struct that the row's
 * field is in: it replaces the value, or is appended to a list. 0, or -1 with *e as in value.h:
 * what is wrong and what was expected, to stand behind the quoted value. */
int option_store(const struct option *o, void *owner, const char *text, struct err *e) MUST_CHECK;

/* Empties a list, so that what is stored next replaces it. */
void option_clear(const struct option *o, void *owner);

/* Stores the defaults of all rows whose fields are in `owner`: "" for struct config, "providers.*",
 * "routes[]", "routes[].targets[]" or "clients[]" for those. */
void options_default(const char *prefix, void *owner);

/* "TIMEOUTS_FIRST_TOKEN" of "HOLDFAST_TIMEOUTS_FIRST_TOKEN"; NULL for an option that has no
 * variable, which are those inside of lists and named sections. */
char *option_variable(const struct option *o, struct arena *a);

#define OPTION_EXPECTS_MAX 160

/* What the row takes, for messages and the manual: "1ms to 24h", "json or text". Returns buf. */
char *option_expects(const struct option *o, char buf[OPTION_EXPECTS_MAX]);

#endif
