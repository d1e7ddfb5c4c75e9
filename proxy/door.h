/* door.h - which door of the data port does a path lead to?
 *
 * Pure: a path, and the few headers that tell which dialect a caller speaks where the path alone
 * does not. A door is what is served there and in whose words; what has no door still gets its
 * error in the words that its caller most likely understands.
 */
#ifndef HOLDFAST_PROXY_DOOR_H
#define HOLDFAST_PROXY_DOOR_H

#include <stdbool.h>
#include <stddef.h>

#include "providers/dialect.h"
#include "proxy/base/span.h"

enum door_kind {
    DOOR_NONE,
    DOOR_LIVEZ,
    DOOR_READYZ,
    DOOR_MODELS, /* the list */
    DOOR_MODEL,  /* one of them */
    DOOR_STREAM, /* a stream that is taken up again; its id stands where a model's name would */
    DOOR_ANSWER, /* a model's answer (words or vectors), in the dialect of the door */
    DOOR_COUNT,  /* how many tokens the same request has, by a provider of that dialect */
    DOOR_PASS,   /* any other path of the dialect's: as it is, to one provider */
    DOOR_TUNNEL, /* the same, where another protocol than HTTP may follow (WebSocket) */
};

/* Does a request there bring a body that is read here, for a provider? */
static inline bool door_asks(enum door_kind kind)
{
    return kind == DOOR_ANSWER || kind == DOOR_COUNT;
}

/* Is it handed on unread? */
static inline bool door_passes(enum door_kind kind)
{
    return kind == DOOR_PASS || kind == DOOR_TUNNEL;
}

struct door {
    enum door_kind kind;
    const struct dialect *dialect; /* never NULL */
    struct span model;             /* as it stands in the path, or empty */
    bool stream;                   /* DOOR_ANSWER: the path asks for a stream */
    bool list;  /* ... as one JSON array that grows, and not as server-sent events */
    bool batch; /* ... for several texts, each in a request of its own: Google's embeddings */
    struct span below; /* of a door that passes: the path behind the version */
};

/* What a request's head says of its dialect. */
struct door_hints {
    bool anthropic; /* anthropic-version is there */
    bool google;    /* x-goog-api-key or x-goog-api-client is there */
};

#define DOOR_MAX_MODEL 200 /* bytes of a model's name */

/* `target`: as it stands in the request line, with its query. Slashes may be doubled, and "/v1" may
 * be missing. Spans of the result are views of it. */
struct door door_find(struct span target, const struct door_hints *hints);

/* The path and query that a provider is asked for, where its base URL has the path `base`: what
 * stands below the version, slashes once each, and of the query all but a key (callers of Google's
 * put theirs there). In the arena. The codec has refused what could leave the base (http1.h). */
struct span door_path(const struct door *d, struct span base, struct span target, struct arena *a);

/* The model of a path in plain text (RFC 3986 2.1), in the arena. False where it is no name that a
 * path may hold: 1 to DOOR_MAX_MODEL bytes, letters, digits and ._:/@+- only, no two dots in a row.
 */
bool door_model(struct span model, struct arena *a, struct span *out);

/* Every dialect that has a door, in a fixed order: for labels of metrics. */
extern const struct dialect *const door_dialects[];
extern const size_t door_n_dialects;
size_t door_dialect_index(const struct dialect *d);

#endif
