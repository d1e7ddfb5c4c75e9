/* config.h - the configuration: an immutable snapshot, read once, replaced as a whole.
 *
 * Where it comes from: a YAML file (or none: zero configuration from the environment), scalars
 * overridden by HOLDFAST_* variables, ${VAR} and ${VAR:-default} resolved inside scalars after
 * parsing (so a value cannot inject YAML). Everything unknown or out of range is an error with
 * file:line:column. Every key is a row of the option table (config/options.h), from which defaults,
 * checks and the manual are made.
 */
#ifndef HOLDFAST_CONFIG_CONFIG_H
#define HOLDFAST_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config/egress.h"
#include "config/network.h"
#include "proxy/base/err.h"

#define CONFIG_MAX_TARGETS 32 /* in one route */
#define CONFIG_OFF         UINT64_MAX

struct config_type {
    const char *base_url; /* default; NULL: the configuration must give one */
    bool needs_key;       /* api_key or keys must be given while base_url is the default */
    bool local;           /* answers inside the process; takes `text`, no URL and no key */
    bool openai_like;     /* takes `dialect` ... */
    bool both;            /* ... and speaks both of them at its own base_url */
};

/* One provider of zero configuration. */
struct config_zero {
    const char *name;    /* the provider's name and type: "openai" */
    const char *env_key; /* "OPENAI_API_KEY" */
    const char *env_url; /* "OPENAI_BASE_URL" */
    /* The models that stand in for another provider's: */
    const char *flagship;  /* ... large one */
    const char *fast;      /* ... small one */
    const char *reasoning; /* ... one that thinks at length before it answers */
    /* Space separated: how client model names that are at home here begin ("gpt- o1 o3"), and
     * patterns of those among them that think at length ("o1* o3*"). Small ones are known by words
     * that all vendors share, and come first: o3-mini is small. */
    const char *prefixes, *reasoners;
};

/* What config must know of the types of providers, which live a floor above: wired in main.c. */
struct config_types {
    /* True if `type` may stand in `providers.NAME.type`; fills what the type implies. */
    bool (*find)(const char *type, struct config_type *out);
    const char *names; /* "openai, anthropic, ..." for error messages */
    /* Zero configuration: rows in order of preference, ends with env_key == NULL. */
    const struct config_zero *zero;
};

struct config_listen {
    char *text; /* as written, for messages */
    char *host; /* numeric address or name, "*": every address; NULL for a unix socket */
    char *path; /* unix socket, or NULL */
    uint16_t port;
    bool loopback; /* 127.0.0.0/8, ::1, localhost or a unix socket */
};

/* All in milliseconds; 0 = not set here, take the outer one: a target's own value, else its
 * route's, else the configuration's, where none is 0. `answer` is settled already at each level:
 * one that sets first_token and no answer has the same for both. */
struct config_timeouts {
    uint64_t connect, tls;
    uint64_t first_token, first_token_reasoning;
    uint64_t answer; /* a whole answer that is not streamed */
    uint64_t idle, idle_tools;
    uint64_t total;
};

struct config_provider {
    char *name, *type;
    char *base_url; /* without a trailing slash; NULL for a local type */
    char **keys;    /* n_keys of them; may be none */
    size_t n_keys;
    char *text;     /* scripted: what it says */
    char *carry_on; /* how it can be asked to: auto, prefill, turn, align or off */
    bool allow_http;
    char *ca;                       /* file with certificates that are trusted as well, or NULL */
    char *client_cert, *client_key; /* files: what is shown to it; both or none */
    char *dialect;     /* "chat", "responses" or "both"; NULL for types that take none */
    char *completions; /* "native" or "chat"; NULL: as the type has it */
};

struct config_target {
    size_t provider;         /* index into config.providers */
    char *model;             /* NULL: the client's model name is kept */
    unsigned tier;           /* 0 first */
    unsigned weight;         /* inside the tier; 1 by default */
    uint64_t context_window; /* tokens; 0 unknown */
    struct config_timeouts timeouts;
};

struct config_route {
    char *model; /* glob over the client's model name */
    struct config_target *targets;
    size_t n_targets;
    struct config_timeouts timeouts;
};

struct config_client {
    char *name;
    uint8_t key_sha256[32];
    char **models; /* globs over the model names that it may ask for; none: all */
    size_t n_models;
    uint64_t requests_per_minute, tokens_per_minute; /* 0: no limit, as below */
    unsigned concurrency;                            /* requests at once */
};

struct config {
    char *source; /* the file's path, or "zero configuration" */
    char **files; /* it was read from, with those of ${file:...}; none for zero configuration */
    size_t n_files;
    struct config_listen *listens;
    size_t n_listens;
    struct config_listen admin; /* host == NULL and path == NULL: off */
    struct config_provider *providers;
    size_t n_providers;
    struct egress
        egress[2]; /* the way to public providers of http, of https; where there are any */
    struct config_route *routes;
    size_t n_routes;
    struct config_client *clients;
    size_t n_clients;
    char **hosts; /* more names that a Host header may carry */
    size_t n_hosts;
    char **allow; /* networks that clients may come from; none: all */
    size_t n_allow;
    struct network *networks; /* the same, n_allow of them */
    char **origins;           /* origins of web pages that may call */
    size_t n_origins;
    bool passthrough; /* paths that are not served here go to their provider as they are */
    bool insecure;    /* a non-loopback listener without clients may start */

    struct config_timeouts timeouts;
    struct {
        unsigned max_attempts, per_target;
    } failover;
    struct {
        double ratio;
        unsigned capacity;
    } retry_budget;
    struct {
        uint64_t after; /* 0: auto; CONFIG_OFF: never */
        double max_ratio;
        unsigned floor;
    } hedge;
    struct {
        char *stance; /* polite, balanced or aggressive */
        uint64_t queue_max_wait;
    } overload;
    struct {
        unsigned consecutive, min_calls;
        double failure_rate;
        uint64_t window, open_base, open_cap;
    } breaker;
    struct {
        char *commit; /* first_content, window or full */
        unsigned window_tokens;
        uint64_t window_time;
        char *midstream;      /* auto, continue or error */
        char *tool_calls;     /* atomic or stream */
        uint64_t seam_memory; /* bytes of an answer that are kept, to carry it on */
        uint64_t heartbeat_after;
        char *resume; /* on or off */
    } stream;
    struct {
        uint64_t ttl;
        uint64_t answer, memory; /* bytes: of one, and of all together (0: nothing is kept) */
    } replay;
    uint64_t keep_warm; /* connections to providers; 0: not */
    struct {
        uint64_t delay, timeout;
    } drain;
    struct {
        uint64_t request_body, answer_body, memory; /* bytes; memory: of all exchanges together */
        uint64_t head_timeout, body_timeout;
        unsigned connections; /* client connections at once */
    } limits;
    struct {
        char *cert, *key; /* files; NULL: no TLS */
    } tls;
    struct {
        char *level, *format;
        uint64_t payloads; /* bytes of each body; 0: none */
    } log;
    unsigned workers; /* 0: auto */

    /* What is allowed but probably not meant, for the log: HOLDFAST_* variables that nothing reads,
     * routes that never match, keys in files that everybody can read. */
    char **warnings;
    size_t n_warnings;
};

/* Reads `path`, or with NULL makes the zero configuration: providers and routes from the keys in
 * the environment, or the built-in answer when there is none. A file with neither `providers` nor
 * `routes` gets them from the environment too, where at least one key must then be. 0 with *out the
 * caller's to free, or -1 with *e ("holdfast.yaml:12:7: timeouts.idle: \"10\" has no unit; write
 * 10s or 10000ms"). */
int config_load(const char *path, const struct config_types *types, struct config **out,
                struct err *e) MUST_CHECK;

/* The same from text in memory; `name` stands for the file in messages. */
int config_parse(const char *name, const char *text, size_t n, const struct config_types *types,
                 struct config **out, struct err *e) MUST_CHECK;

/* May a client or a provider be called so? 0, or -1 with *e, which goes on behind the name. */
int config_check_name(const char *name, struct err *e) MUST_CHECK;

/* The names of options that differ and that only a restart changes, comma separated, "" for none;
 * `changed` takes over what `running` has of them. */
void config_keep_fixed(const struct config *running, struct config *changed, char *names,
                       size_t size);

void config_free(struct config *c); /* NULL is fine; keys are wiped */

/* What applies to a target of the route: its own limits, else the route's, else the general ones.
 */
struct config_timeouts config_timeouts_of(const struct config *c, const struct config_route *route,
                                          const struct config_target *target);

/* The file that applies: `given` (-c), $HOLDFAST_CONFIG, ./holdfast.yaml,
 * $XDG_CONFIG_HOME/holdfast/holdfast.yaml (without that variable in ~/.config),
 * /etc/holdfast/holdfast.yaml. A new string, or NULL when none exists (a file that was named and is
 * missing is config_load's error to report). */
char *config_find(const char *given);

/* The configuration as it applies, for people: where it came from, listeners, providers (never a
 * key), routes with what each target's time limits come to, warnings. */
void config_print(const struct config *c, FILE *out);

/* The manual of all options as Markdown, made from the option rows. */
void config_manual(FILE *out);

/* The same as a man page: holdfast.yaml(5). */
void config_manual_page(FILE *out);

/* "127.0.0.1:8090", "[::1]:8090", "localhost:8090" (the two before), ":8090" (every address) or
 * "unix:/path"; port 0 lets the system choose. On success *out is the caller's to release; on
 * failure it is untouched and *e says what is wrong, to stand behind the text: "has no port;
 * expected ...". */
int config_listen_parse(const char *text, struct config_listen *out, struct err *e) MUST_CHECK;
void config_listen_release(struct config_listen *l);

#endif
