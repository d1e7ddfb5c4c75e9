/* catalog.h - the types of providers: one row each.
 *
 * A provider that speaks a known dialect is one row here and nothing else: its default base URL,
 * how its key travels, where its endpoint stands below the base URL, and its quirks.
 */
#ifndef HOLDFAST_PROVIDERS_CATALOG_H
#define HOLDFAST_PROVIDERS_CATALOG_H

#include "config/config.h"
#include "providers/dialect.h"

struct provider_type {
    const char *name;              /* `type:` in the configuration */
    const struct dialect *dialect; /* NULL: answers inside the process (scripted) */
    const char *base_url;          /* default; NULL: must be configured */
    const char *path;              /* put behind the base URL's path before the dialect's own path:
                                      "" where base URLs carry the version ("/v1") */
    bool needs_key;
};

const struct provider_type *provider_type_find(const char *name); /* NULL if unknown */

/* The view of this table that the configuration needs, and the rows of zero configuration. */
extern const struct config_types catalog_config_types;

#endif
