/* reader.h - what the parts of config/ share while one configuration is being read. Nobody outside
 * of config/ includes this.
 *
 *   options  the rows            yaml     text to nodes       reader   nodes to struct config
 *   check    what a row cannot   environment  HOLDFAST_*      zero     providers and routes from
 *            see on its own                                            the keys in the environment
 */
#ifndef HOLDFAST_CONFIG_READER_H
#define HOLDFAST_CONFIG_READER_H

#include "config/config.h"
#include "config/options.h"
#include "config/yaml.h"
#include "proxy/base/arena.h"

#define CONFIG_MAX_ITEMS 1000 /* providers, routes, clients, entries of a list: each */
#define OPTIONS_MAX      160

struct reader {
    const char *file; /* for messages */
    bool open_to_all; /* every user of the machine can read the file */
    const struct config_types *types;
    struct config *c;        /* being filled */
    struct arena *arena;     /* paths and texts, until the configuration is read */
    const struct node *root; /* NULL: no file */
    struct err *e;
    bool set[OPTIONS_MAX];      /* by row: given in the file or the environment */
    bool from_env[OPTIONS_MAX]; /* by row: the environment had the last word */
};

/* Is the row of this path given, rather than left to its default? */
bool reader_is_set(const struct reader *r, const char *path);

/* Fill r->e with "FILE:LINE:COLUMN: PATH: ..." and return -1: at a node's value, at its key, and at
 * wherever the value of an outermost option came from. */
int fail_at(struct reader *r, const struct node *n, const char *path, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
int fail_at_key(struct reader *r, const struct node *n, const char *path, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
int fail_option(struct reader *r, const char *path, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Notes that the configuration was read from this file, too. */
void config_add_file(struct config *c, const char *path);

void warn(struct config *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* reader.c: takes everything from r->root. */
int reader_run(struct reader *r) MUST_CHECK;

/* The text of a scalar with its ${...} put in; `shown` is what may stand in a message. */
int reader_text(struct reader *r, const struct option *o, const struct node *n, const char *path,
                const char **text, const char **shown) MUST_CHECK;

/* check.c: one provider, the last of the routes and of the clients, and the whole. */
int check_provider(struct reader *r, const struct node *n, const char *path,
                   struct config_provider *p) MUST_CHECK;
int check_route(struct reader *r, const struct node *n, const char *path) MUST_CHECK;
int check_client(struct reader *r, const struct node *n, const char *path) MUST_CHECK;
int check_whole(struct reader *r) MUST_CHECK;

/* Puts the URL in its stored form, or returns -1 with *e as in value.h. */
int check_base_url(const char *text, bool allow_http, char **out, struct err *e) MUST_CHECK;

/* What a provider of OpenAI's kind speaks, where the configuration does not say. */
void check_settle_dialect(const struct config_type *type, struct config_provider *p);

/* The listener that `base_url` leads back to, or NULL. */
const struct config_listen *check_own_listener(const struct config *c, const char *base_url);

/* environment.c */
int environment_run(struct reader *r) MUST_CHECK;

/* zero.c: `demo`: with no key at all the built-in answer takes the place of a provider; else that
 * is an error. */
int zero_run(struct reader *r, bool demo) MUST_CHECK;

#endif
