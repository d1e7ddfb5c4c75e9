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
    bool at_root; /* endpoints stand at the root of the host: a bare host gets no version */
    const char *key_header; /* "api-key: "; NULL: "Authorization: Bearer " */
    const char *query;      /* goes behind the path; NULL: none */
    bool model_in_path; /* the model's name (a deployment) stands in the path, not only in the body
                         */
    bool keeps_state;   /* carries others' reasoning state itself, as OpenRouter does */
    bool short_ids;     /* takes no ids of tool calls but nine letters and digits */
    bool text_only;     /* takes no images, audio or files, whatever the model */
    bool needs_key;
    bool responses; /* OpenAI's kind: at its own base URL it speaks OpenAI's responses as well */
    bool no_completions;  /* ... and lacks /completions, which was there before chat */
    const char *prefills; /* patterns of models that go on inside an assistant's message at the end
                             of a request, space between; NULL: none is known to */
};

/* Is `model` one of them? */
bool catalog_prefills(const struct provider_type *type, struct span model);

const struct provider_type *provider_type_find(const char *name); /* NULL if unknown */

#define CATALOG_MAX_DIALECTS 4 /* of one provider */

/* What a provider of this type speaks, the usual one first; NULL where there is no more. `dialect`:
 * "chat", "responses", "both", or NULL for types that have but one; `completions`: "native",
 * "chat", or NULL for the type's own way. */
void provider_type_dialects(const struct provider_type *type, const char *dialect,
                            const char *completions,
                            const struct dialect *out[CATALOG_MAX_DIALECTS]);

/* What stands before the dialect's own path ("/v1" of "/v1/chat/completions"), from the path of the
 * configured base URL. Base URLs are written as the vendor's SDKs take them, with a version or
 * without one, with slashes at their end or not; all of these mean the same:
 *
 *     openai      ""  "/"  "/v1"  "/v1/"                  -> "/v1"
 *     anthropic   ""  "/"  "/v1"                          -> "/v1"
 *     gemini      ""  "/"  "/v1beta"                      -> "/v1beta"
 *
 * A path in front is kept ("/proxy" -> "/proxy/v1" with anthropic). With a type whose base URLs
 * carry the version any path stands as it is ("/openai/v1", "/api/paas/v4", "/proxy"): only a bare
 * host gets the default's. A view of `url_path`, of the table or of memory from the arena. */
struct span catalog_base_path(const struct provider_type *type, struct span url_path,
                              struct arena *a);

/* The view of this table that the configuration needs, and the rows of zero configuration. */
extern const struct config_types catalog_config_types;

#endif
