#include "config/options.h"

#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/address.h"
#include "config/config.h"
#include "config/value.h"
#include "proxy/base/mem.h"
#include "proxy/base/span.h"
#include "proxy/base/strbuf.h"

#define SECOND 1000.0
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)
#define KIB    1024.0
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)

/* How a row says where its value goes. */
#define IN(s, f)      .at = offsetof(struct s, f), .size = sizeof(((struct s *)0)->f)
#define LIST(s, f, n) .at = offsetof(struct s, f), .count_at = offsetof(struct s, n)
#define NOWHERE       .at = NO_FIELD

/* A row of this version, one that only a restart changes, and one of a later version. */
#define READY   .ready = true
#define RESTART .ready = true, .restart = true
#define LATER   .ready = false, .at = NO_FIELD

/* clang-format off */

/* The time limits of one level; the outermost one has the defaults. */
#define LIMIT(path, def, owner, field, text) \
    {path, OPTION_DURATION, def, 1, DAY, IN(owner, timeouts.field), READY, .help = text}
#define TIMEOUTS(at, owner, connect_, tls_, first, reasoning, answer_, idle_, tools, total_)       \
    LIMIT(at "connect", connect_, owner, connect, "time to open a connection to the provider"),    \
    LIMIT(at "tls", tls_, owner, tls, "time for the TLS handshake after that"),                    \
    LIMIT(at "first_token", first, owner, first_token,                                             \
          "time from the request to the first output of a streamed answer"),                       \
    LIMIT(at "first_token_reasoning", reasoning, owner, first_token_reasoning,                     \
          "the same when the request asks the model to think first"),                              \
    LIMIT(at "answer", answer_, owner, answer,                                                     \
          "time for a whole answer that is not streamed; where `first_token` is given and this "   \
          "is not, the same as that"),                                                             \
    LIMIT(at "idle", idle_, owner, idle, "longest silence inside a streamed answer"),              \
    LIMIT(at "idle_tools", tools, owner, idle_tools, "the same while a tool call is written"),     \
    LIMIT(at "total", total_, owner, total,                                                        \
          "time for the request with all its attempts and waits")

static const struct option rows[] = {
    {"listen", OPTION_LISTENS, "localhost:8090", LIST(config, listens, n_listens), RESTART,
     .help = "where clients connect: `HOST:PORT`, `:PORT` (all addresses), `[IPV6]:PORT` or "
             "`unix:/path`; several are allowed. `localhost` is 127.0.0.1 and ::1. Other than loopback needs `clients`, or "
             "`insecure: true`"},
    {"admin", OPTION_LISTEN, "127.0.0.1:8091", IN(config, admin), RESTART, .words = "off",
     .help = "where health, metrics and status are served"},

    {"providers", OPTION_NAMED, READY, NOWHERE,
     .help = "the accounts that answer, each under a name of your choice. Without `providers` and "
             "`routes` both come from the keys in the environment"},
    {"providers.*.type", OPTION_STRING, IN(config_provider, type), READY,
     .help = "what speaks there: the dialect, the base URL and its quirks"},
    {"providers.*.base_url", OPTION_STRING, IN(config_provider, base_url), READY,
     .help = "in place of the type's own; as the vendor's SDKs take it. Plain `http` is for "
             "loopback and private hosts"},
    {"providers.*.api_key", OPTION_SECRET, IN(config_provider, keys), READY, .form = FORM_KEY,
     .count_at = offsetof(struct config_provider, n_keys),
     .help = "the key; best as `${VARIABLE}` or `${file:/path}`"},
    {"providers.*.keys", OPTION_SECRETS, LIST(config_provider, keys, n_keys), READY,
     .form = FORM_KEY, .help = "several keys of one account, in place of `api_key`"},
    {"providers.*.text", OPTION_STRING, IN(config_provider, text), READY,
     .help = "type `scripted`: what it answers"},
    {"providers.*.allow_http", OPTION_BOOLEAN, "false", IN(config_provider, allow_http), READY,
     .help = "plain `http` also to a public host: keys and prompts then travel readable"},
    {"providers.*.ca", OPTION_STRING, IN(config_provider, ca), READY,
     .help = "file (PEM) with certificates that it may be signed by, beside those of the system"},
    {"providers.*.client_cert", OPTION_STRING, IN(config_provider, client_cert), READY,
     .help = "file (PEM) with a certificate that is shown to it, and its chain"},
    {"providers.*.client_key", OPTION_STRING, IN(config_provider, client_key), READY,
     .help = "file (PEM) with the private key of that"},
    {"providers.*.carry_on", OPTION_ENUM, "auto", IN(config_provider, carry_on), READY,
     .words = "auto prefill turn align off",
     .help = "how its models are asked to go on with an answer that broke at another target: inside "
             "it (`prefill`), by a turn that has its last words repeated (`turn`), by the same "
             "request once more (`align`). Each also allows those behind it; `auto`: `prefill` for "
             "models that are known to, else `turn`"},
    {"providers.*.dialect", OPTION_ENUM, IN(config_provider, dialect), READY,
     .words = "chat responses both",
     .help = "types of OpenAI's kind: what it speaks. Without it both for OpenAI and xAI themselves, "
             "`chat` for every other `base_url`. Clients of a dialect that it does not speak are "
             "translated"},
    {"providers.*.completions", OPTION_ENUM, IN(config_provider, completions), READY,
     .words = "native chat",
     .help = "types of OpenAI's kind: how clients of `/v1/completions` are served there: by its own "
             "(`native`), or translated to chat. Without it `chat` for types that are known to have "
             "no other, else `native`"},

    {"routes", OPTION_OBJECTS, READY, NOWHERE,
     .help = "which targets serve which model names; the first route that matches wins"},
    {"routes[].model", OPTION_STRING, IN(config_route, model), READY, .form = FORM_MODEL,
     .help = "the client's model name; `*` stands for any text"},
    {"routes[].targets", OPTION_TARGETS, READY, NOWHERE,
     .help = "`provider/model` in the order they are tried; `provider` alone keeps the client's "
             "model name. A list inside the list is a tier: its targets share the load"},
    {"routes[].targets[].target", OPTION_STRING, READY, NOWHERE, .form = FORM_MODEL,
     .help = "`provider/model`, where a target needs settings of its own"},
    {"routes[].targets[].weight", OPTION_INTEGER, "1", 1, 1000, IN(config_target, weight), READY,
     .help = "its share inside a tier"},
    {"routes[].targets[].context_window", OPTION_INTEGER, NULL, 1, 1e9,
     IN(config_target, context_window), READY, .help = "tokens that the model takes"},
    TIMEOUTS("routes[].targets[].", config_target, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    {"routes[].timeouts", OPTION_SECTION, READY, NOWHERE,
     .help = "time limits of this route, in place of the general ones"},
    TIMEOUTS("routes[].timeouts.", config_route, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),

    {"passthrough", OPTION_BOOLEAN, "true", IN(config, passthrough), READY,
     .help = "requests for all that is not served here (images, audio, files, batches, ...) go to the "
             "first provider of the caller's dialect, in the order of the routes, as they are and with "
             "its key: whoever may call us then reaches all that this key may. `false`: they get a 404"},

    {"timeouts", OPTION_SECTION, READY, NOWHERE,
     .help = "time limits. A target's own value counts first, then its route's, then these"},
    TIMEOUTS("timeouts.", config, "4s", "6s", "30s", "120s", "120s", "20s", "180s", "600s"),

    {"failover", OPTION_SECTION, READY, NOWHERE, .help = "how long one request is tried"},
    {"failover.max_attempts", OPTION_INTEGER, "4", 1, 16, IN(config, failover.max_attempts), READY,
     .help = "attempts in all"},
    {"failover.per_target", OPTION_INTEGER, "2", 1, 32, IN(config, failover.per_target), READY,
     .help = "attempts at one target"},

    {"retry_budget", OPTION_SECTION, READY, NOWHERE,
     .help = "a limit for each target on calls beyond one a request: retries, hedges, third attempts"},
    {"retry_budget.ratio", OPTION_NUMBER, "0.2", 0, 1, IN(config, retry_budget.ratio), READY,
     .help = "such calls per request"},
    {"retry_budget.capacity", OPTION_INTEGER, "10", 0, 1e6, IN(config, retry_budget.capacity), READY,
     .help = "such calls that can be saved up"},

    {"breaker", OPTION_SECTION, READY, NOWHERE,
     .help = "when a failing target is left out, and for how long"},
    {"breaker.consecutive", OPTION_INTEGER, "5", 1, 1000, IN(config, breaker.consecutive), READY,
     .help = "failures in a row that open it"},
    {"breaker.window", OPTION_DURATION, "10s", SECOND, HOUR, IN(config, breaker.window), READY,
     .help = "the time over which the failure rate is taken"},
    {"breaker.min_calls", OPTION_INTEGER, "10", 1, 1e6, IN(config, breaker.min_calls), READY,
     .help = "calls in the window from which on the rate counts"},
    {"breaker.failure_rate", OPTION_NUMBER, "0.5", 0.01, 1, IN(config, breaker.failure_rate), READY,
     .help = "the share of failures that opens it"},
    {"breaker.open_base", OPTION_DURATION, "5s", 1, HOUR, IN(config, breaker.open_base), READY,
     .help = "how long it stays open the first time; longer each time a probe fails"},
    {"breaker.open_cap", OPTION_DURATION, "15s", 1, HOUR, IN(config, breaker.open_cap), READY,
     .help = "the longest time it stays open"},

    {"hedge", OPTION_SECTION, READY, NOWHERE,
     .help = "a second target beside a slow first one; whoever has output first answers"},
    {"hedge.after", OPTION_DURATION, "auto", 1, HOUR, IN(config, hedge.after), READY,
     .words = "auto off",
     .help = "silence after which the next target starts; `auto`: twice the 95th percentile of the "
             "target's time to first output (1 s to 30 s), without history 8 s, or 30 s where "
             "reasoning is asked for"},
    {"hedge.max_ratio", OPTION_NUMBER, "0.05", 0, 1, IN(config, hedge.max_ratio), READY,
     .help = "hedges per request, over a minute"},
    {"hedge.floor", OPTION_INTEGER, "2", 0, 1e6, IN(config, hedge.floor), READY,
     .help = "hedges always granted in any 10 s"},

    {"overload", OPTION_SECTION, READY, NOWHERE,
     .help = "what happens when targets refuse for want of room"},
    {"overload.stance", OPTION_ENUM, "balanced", IN(config, overload.stance), READY,
     .words = "polite balanced aggressive",
     .help = "the share of refusals (429, overloaded) that is borne before fewer requests are sent: a "
             "third, a half, or 0.7"},
    {"overload.queue_max_wait", OPTION_DURATION, "10s", 0, HOUR, IN(config, overload.queue_max_wait),
     READY, .help = "longest wait for a place at a target, and never more than a third of the time "
                    "left"},

    {"stream", OPTION_SECTION, READY, NOWHERE, .help = "streamed answers"},
    {"stream.commit", OPTION_ENUM, "first_content", IN(config, stream.commit), READY,
     .words = "first_content window full",
     .help = "when an answer begins to be passed on: with its first output, with some of it "
             "(`stream.window_*`), or when all of it is there. What has not been passed on can fail "
             "without a trace"},
    {"stream.window_tokens", OPTION_INTEGER, "32", 1, 1e6, IN(config, stream.window_tokens), READY,
     .help = "with `commit: window`: pieces of output that are held at first"},
    {"stream.window_time", OPTION_DURATION, "2s", 1, HOUR, IN(config, stream.window_time), READY,
     .help = "... and the longest time for it"},
    {"stream.midstream", OPTION_ENUM, "auto", IN(config, stream.midstream), READY,
     .words = "auto continue error",
     .help = "when an answer breaks after its start: `auto` has another target carry it on where that "
             "is surely right, `continue` also where the request has tools or the answer is long, "
             "else and with `error` the client gets a true error"},
    {"stream.tool_calls", OPTION_ENUM, "atomic", IN(config, stream.tool_calls), READY,
     .words = "atomic stream",
     .help = "`atomic` passes tool calls on when all of an answer's are complete, so that one that "
             "was cut off never reached the client; `stream`: as they come"},
    {"stream.seam_memory", OPTION_SIZE, "256KiB", 0, 64 * MIB, IN(config, stream.seam_memory), READY,
     .help = "text of an answer that is kept while it runs, to carry it on; a longer one is not "
             "carried on. `0KiB` keeps nothing"},
    {"stream.heartbeat_after", OPTION_DURATION, "45s", SECOND, HOUR,
     IN(config, stream.heartbeat_after), READY,
     .help = "silence before the first output after which the client gets a comment, so that "
             "nothing between takes the connection for dead"},
    {"stream.on_disconnect", OPTION_ENUM, "cancel", NOWHERE, READY, .words = "cancel",
     .later = "drain", .help = "what becomes of an answer whose client has left"},

    {"stream.resume", OPTION_ENUM, "off", IN(config, stream.resume), READY, .words = "off on",
     .help = "streams that can be taken up again after a lost connection: every event gets an `id`, the "
             "answer says its own in `x-holdfast-stream`, and `GET /v1/streams/ID` with "
             "`Last-Event-ID` goes on behind that event. An answer whose client has left then runs on "
             "for `replay.ttl`"},

    {"replay", OPTION_SECTION, READY, NOWHERE,
     .help = "answers that are kept, in memory only, for clients who lost their connection: a retry "
             "with the same `Idempotency-Key` (and key of the client, and body) gets the answer that "
             "is running or has ended, in place of a second one"},
    {"replay.ttl", OPTION_DURATION, "120s", SECOND, HOUR, IN(config, replay.ttl), READY,
     .help = "how long an ended answer is kept, and how long one without a client goes on"},
    {"replay.answer", OPTION_SIZE, "4MiB", 64 * KIB, GIB, IN(config, replay.answer), READY,
     .help = "the most that is kept of one answer; of a longer stream the last part"},
    {"replay.memory", OPTION_SIZE, "64MiB", MIB, 1024 * GIB, IN(config, replay.memory), READY,
     .words = "off", .help = "all kept answers together; `off`: nothing is kept"},

    {"keep_warm", OPTION_DURATION, "10m", 0, DAY, IN(config, keep_warm), READY,
     .help = "`https` only: for so long after the start or a reload, and after each request, each worker keeps "
             "a connection ready to each provider that a route names (a new one every 30 s), so that no "
             "request waits for a TLS handshake; 0: never"},

    {"drain", OPTION_SECTION, READY, NOWHERE, .help = "how the program stops"},
    {"drain.delay", OPTION_DURATION, "3s", 0, HOUR, IN(config, drain.delay), READY,
     .help = "time between not being ready and taking no more connections"},
    {"drain.timeout", OPTION_DURATION, "600s", 0, DAY, IN(config, drain.timeout), READY,
     .help = "time for the requests that are running"},

    {"limits", OPTION_SECTION, READY, NOWHERE, .help = "what one client can ask of this machine"},
    {"limits.request_body", OPTION_SIZE, "32MiB", KIB, 64 * MIB, IN(config, limits.request_body),
     READY, .help = "largest request"},
    {"limits.answer_body", OPTION_SIZE, "64MiB", KIB, GIB, IN(config, limits.answer_body), READY,
     .help = "largest answer"},
    {"limits.memory", OPTION_SIZE, "1GiB", MIB, 1024 * GIB, IN(config, limits.memory), READY,
     .help = "all requests and answers together; above it new requests get 503"},
    {"limits.head_timeout", OPTION_DURATION, "10s", 1, HOUR, IN(config, limits.head_timeout), READY,
     .help = "time in which a client must send the head of a request"},
    {"limits.body_timeout", OPTION_DURATION, "60s", 1, HOUR, IN(config, limits.body_timeout), READY,
     .help = "time in which it must send the body"},
    {"limits.connections", OPTION_INTEGER, "10000", 1, 1e6, IN(config, limits.connections), RESTART,
     .help = "client connections at once"},

    {"tls", OPTION_SECTION, READY, NOWHERE, .help = "TLS for every listener that is not loopback"},
    {"tls.cert", OPTION_STRING, IN(config, tls.cert), READY,
     .help = "file (PEM) with the certificate and its chain; a new one is taken when it changes"},
    {"tls.key", OPTION_STRING, IN(config, tls.key), READY, .help = "file (PEM) with its private key"},

    {"clients", OPTION_OBJECTS, READY, NOWHERE,
     .help = "who may call, each with a key; without it everybody who can connect"},
    {"clients[].name", OPTION_STRING, IN(config_client, name), READY, .form = FORM_NAME,
     .help = "the client's name in logs"},
    {"clients[].key_sha256", OPTION_SHA256, IN(config_client, key_sha256), READY,
     .help = "the SHA-256 of its key; `holdfast key NAME` makes both"},
    {"clients[].models", OPTION_STRINGS, LIST(config_client, models, n_models), READY,
     .form = FORM_MODEL,
     .help = "the model names that it may ask for; `*` stands for any text. Without it all, and with "
             "it nothing that is handed on unread (`passthrough`)"},
    {"clients[].requests_per_minute", OPTION_INTEGER, NULL, 1, 1e9,
     IN(config_client, requests_per_minute), READY, .help = "requests in any sixty seconds"},
    {"clients[].tokens_per_minute", OPTION_INTEGER, NULL, 1, 1e12,
     IN(config_client, tokens_per_minute), READY,
     .help = "tokens of requests and answers in any sixty seconds; until a request has ended, a "
             "quarter of its bytes"},
    {"clients[].concurrency", OPTION_INTEGER, NULL, 1, 1e6, IN(config_client, concurrency), READY,
     .help = "requests under way at once"},
    {"hosts", OPTION_STRINGS, LIST(config, hosts, n_hosts), READY, .form = FORM_HOST,
     .help = "more names under which clients may call this proxy (the Host header)"},
    {"allow", OPTION_STRINGS, LIST(config, allow, n_allow), READY, .form = FORM_NETWORK,
     .help = "networks that clients may come from, such as `10.0.0.0/8`; others are hung up on. "
             "Loopback and unix sockets always may; without it everybody may"},
    {"origins", OPTION_STRINGS, LIST(config, origins, n_origins), READY, .form = FORM_ORIGIN,
     .help = "web pages that may call, such as `https://app.example.com`; without it none"},
    {"insecure", OPTION_BOOLEAN, "false", IN(config, insecure), READY,
     .help = "start although anybody in the network can call"},

    {"log", OPTION_SECTION, READY, NOWHERE, .help = "the log, on stderr"},
    {"log.level", OPTION_ENUM, "info", IN(config, log.level), READY,
     .words = "error warn info debug", .help = "the least that is logged"},
    {"log.format", OPTION_ENUM, "json", IN(config, log.format), READY, .words = "json text",
     .help = "one JSON object a line, or text for people"},
    {"log.payloads", OPTION_SIZE, "off", 1, 128 * KIB, IN(config, log.payloads), READY, .words = "off",
     .help = "how much of each request, answer and provider's error is logged too. What is known or "
             "looks like a secret is taken out, people's words are not: for a search for a fault only"},
    {"workers", OPTION_INTEGER, "auto", 1, 256, IN(config, workers), RESTART, .words = "auto",
     .help = "threads; `auto`: 1 when all listeners are loopback, else one per core"},
};
/* clang-format on */

const struct option *options_all(size_t *n)
{
    *n = ARRAY_LEN(rows);
    return rows;
}

const struct option *option_find(const char *pattern)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].path, pattern) == 0)
            return &rows[i];
    return NULL;
}

bool option_is_list(const struct option *o)
{
    return o->type >= OPTION_LISTENS;
}

bool option_is_scalar(const struct option *o)
{
    return o->type >= OPTION_DURATION && o->type < OPTION_LISTENS;
}

bool option_is_secret(const struct option *o)
{
    return o->type == OPTION_SECRET || o->type == OPTION_SECRETS;
}

static bool printable_without_spaces(const char *text, size_t max)
{
    size_t n = 0;

    for (; text[n] != '\0'; n++)
        if (text[n] <= 0x20 || text[n] >= 0x7f || n == max)
            return false;
    return n > 0;
}

static bool is_plain_name(const char *text)
{
    if (!isalnum((unsigned char)text[0]) || strlen(text) > 64)
        return false;
    for (; *text != '\0'; text++)
        if (!isalnum((unsigned char)*text) && strchr("._-", *text) == NULL)
            return false;
    return true;
}

int option_check(enum option_form form, const char *text, struct err *e)
{
    if (*text == '\0')
        return err_set(e, ERR_VALUE, "is empty");
    switch (form) {
    case FORM_ANY:
        return 0;
    case FORM_NAME:
        if (!is_plain_name(text))
            return err_set(e, ERR_VALUE, "is not a name; expected letters, digits and . _ -");
        return 0;
    case FORM_MODEL:
        if (!printable_without_spaces(text, 256))
            return err_set(e, ERR_VALUE,
                           "is not a model name; expected up to 256 printable ASCII characters "
                           "without spaces");
        return 0;
    case FORM_KEY: /* it goes into a header: a line end in it would begin another one */
        if (!printable_without_spaces(text, 8192))
            return err_set(e, ERR_VALUE,
                           "not a key; expected printable ASCII characters without spaces");
        return 0;
    case FORM_HOST:
        if (host_scope(span_of(text)) == HOST_INVALID)
            return err_set(e, ERR_VALUE,
                           "is not a host name or address; expected one without "
                           "scheme, port and brackets");
        return 0;
    case FORM_NETWORK: {
        struct network n;

        return network_parse(text, &n, e);
    }
    case FORM_ORIGIN:
        if (!origin_valid(text))
            return err_set(e, ERR_VALUE, "is not an origin; expected scheme://host[:port]");
        return 0;
    }
    return 0;
}

/* "a, b or c" of "a b c". */
static void add_words(struct strbuf *out, const char *words)
{
    while (*words != '\0') {
        size_t n = strcspn(words, " ");
        const char *next = words + n + strspn(words + n, " ");

        strbuf_add_n(out, words, n);
        if (*next != '\0')
            strbuf_add(out, strchr(next, ' ') != NULL ? ", " : " or ");
        words = next;
    }
}

static void add_bound(struct strbuf *out, enum option_type type, double v)
{
    char text[VALUE_TEXT_MAX];

    if (type == OPTION_DURATION)
        strbuf_add(out, value_show_duration(text, (uint64_t)v));
    else if (type == OPTION_SIZE)
        strbuf_add(out, value_show_size(text, (uint64_t)v));
    else
        strbuf_addf(out, "%.10g", v);
}

char *option_expects(const struct option *o, char buf[OPTION_EXPECTS_MAX])
{
    static const char *const kinds[] = {
        [OPTION_SECTION] = "a mapping",     [OPTION_NAMED] = "a mapping of names",
        [OPTION_OBJECTS] = "a list",        [OPTION_TARGETS] = "a list of targets",
        [OPTION_DURATION] = "a duration",   [OPTION_SIZE] = "a size",
        [OPTION_INTEGER] = "a number",      [OPTION_NUMBER] = "a number",
        [OPTION_BOOLEAN] = "true or false", [OPTION_STRING] = "text",
        [OPTION_SECRET] = "a key",          [OPTION_ENUM] = "",
        [OPTION_SHA256] = "a SHA-256",      [OPTION_LISTEN] = "an address",
        [OPTION_LISTENS] = "addresses",     [OPTION_STRINGS] = "texts",
        [OPTION_SECRETS] = "keys"};
    struct strbuf out = strbuf_on(buf, OPTION_EXPECTS_MAX);

    if (o->max > 0) {
        add_bound(&out, o->type, o->min);
        strbuf_add(&out, " to ");
        add_bound(&out, o->type, o->max);
    } else {
        strbuf_add(&out, kinds[o->type]);
    }
    if (o->words != NULL) {
        strbuf_add(&out, out.len > 0 ? ", or " : "");
        add_words(&out, o->words);
    }
    return buf;
}

static int store_enum(const struct option *o, char **field, const char *text, struct err *e)
{
    char expects[OPTION_EXPECTS_MAX];

    if (value_is_word(text, o->words)) {
        if (field != NULL) {
            free(*field);
            *field = mem_strdup(text);
        }
        return 0;
    }
    if (o->later != NULL && value_is_word(text, o->later))
        return err_set(e, ERR_VALUE, "is not available in this version (%s); expected %s",
                       HOLDFAST_VERSION, o->words);
    return err_set(e, ERR_VALUE, "is not known; expected %s", option_expects(o, expects));
}

static int check_range(const struct option *o, double v, struct err *e)
{
    char expects[OPTION_EXPECTS_MAX];

    if (o->max > 0 && (v < o->min || v > o->max))
        return err_set(e, ERR_VALUE, "is out of range; expected %s", option_expects(o, expects));
    return 0;
}

/* Of an option with words the first stands for 0, any other one for the largest value. */
static uint64_t value_of_word(const char *text, const char *words)
{
    size_t n = strcspn(words, " ");

    return strlen(text) == n && memcmp(text, words, n) == 0 ? 0 : UINT64_MAX;
}

/* Everything that becomes a whole number. */
static int store_whole(const struct option *o, char *field, const char *text, struct err *e)
{
    char expects[OPTION_EXPECTS_MAX];
    uint64_t v = 0;
    unsigned small;

    if (o->words != NULL && value_is_word(text, o->words)) {
        v = value_of_word(text, o->words);
    } else {
        if (o->type == OPTION_INTEGER && value_integer(text, &v, e) < 0)
            return err_set(e, ERR_VALUE, "is not a whole number; expected %s",
                           option_expects(o, expects));
        if (o->type == OPTION_DURATION && value_duration(text, &v, e) < 0)
            return -1;
        if (o->type == OPTION_SIZE && value_size(text, &v, e) < 0)
            return -1;
        if (check_range(o, (double)v, e) < 0)
            return -1;
    }
    small = (unsigned)v;
    memcpy(field, o->size == sizeof(small) ? (void *)&small : (void *)&v, o->size);
    return 0;
}

static int store_number(const struct option *o, char *field, const char *text, struct err *e)
{
    char expects[OPTION_EXPECTS_MAX];
    double v;

    if (value_number(text, &v, e) < 0)
        return err_set(e, ERR_VALUE, "is not a number; expected %s", option_expects(o, expects));
    if (check_range(o, v, e) < 0)
        return -1;
    memcpy(field, &v, sizeof(v));
    return 0;
}

static void append_string(const struct option *o, void *owner, const char *text)
{
    char ***list = (char ***)((char *)owner + o->at);
    size_t *n = (size_t *)((char *)owner + o->count_at);

    *list = mem_grow(*list, (*n + 1) * sizeof(char *));
    (*list)[(*n)++] = mem_strdup(text);
}

static int append_listen(const struct option *o, void *owner, const char *text, struct err *e)
{
    struct config_listen **list = (struct config_listen **)((char *)owner + o->at), listen;
    size_t *n = (size_t *)((char *)owner + o->count_at);

    if (config_listen_parse(text, &listen, e) < 0)
        return -1;
    *list = mem_grow(*list, (*n + 1) * sizeof(listen));
    (*list)[(*n)++] = listen;
    return 0;
}

static int store_listen(const struct option *o, struct config_listen *field, const char *text,
                        struct err *e)
{
    struct config_listen listen = {0};

    if (value_is_word(text, o->words))
        listen.text = mem_strdup(text);
    else if (config_listen_parse(text, &listen, e) < 0)
        return -1;
    config_listen_release(field);
    *field = listen;
    return 0;
}

int option_store(const struct option *o, void *owner, const char *text, struct err *e)
{
    char *field = o->at != NO_FIELD ? (char *)owner + o->at : NULL;

    switch (o->type) {
    case OPTION_DURATION:
    case OPTION_SIZE:
    case OPTION_INTEGER:
        return store_whole(o, field, text, e);
    case OPTION_NUMBER:
        return store_number(o, field, text, e);
    case OPTION_BOOLEAN:
        return value_boolean(text, (bool *)field, e);
    case OPTION_SHA256:
        return value_sha256(text, (uint8_t *)field, e);
    case OPTION_ENUM:
        return store_enum(o, (char **)field, text, e);
    case OPTION_LISTEN:
        return store_listen(o, (struct config_listen *)field, text, e);
    case OPTION_LISTENS:
        return append_listen(o, owner, text, e);
    case OPTION_STRING:
        if (option_check(o->form, text, e) < 0)
            return -1;
        if (field != NULL) {
            free(*(char **)field);
            *(char **)field = mem_strdup(text);
        }
        return 0;
    case OPTION_SECRET: /* the first of a list of keys */
    case OPTION_SECRETS:
    case OPTION_STRINGS:
        if (option_check(o->form, text, e) < 0)
            return -1;
        append_string(o, owner, text);
        return 0;
    default:
        break;
    }
    assert(!"a row that holds other rows has no value");
    return -1;
}

void option_clear(const struct option *o, void *owner)
{
    size_t *n = (size_t *)((char *)owner + o->count_at);

    assert(option_is_list(o));
    if (o->type == OPTION_LISTENS) {
        struct config_listen *list = *(struct config_listen **)((char *)owner + o->at);

        while (*n > 0)
            config_listen_release(&list[--*n]);
    } else {
        char **list = *(char ***)((char *)owner + o->at);

        while (*n > 0)
            free(list[--*n]);
    }
}

/* Is the row's field in the struct that `prefix` stands for? */
static bool is_field_of(const char *path, const char *prefix)
{
    size_t n = strlen(prefix);

    return strncmp(path, prefix, n) == 0 && (n == 0 || path[n] == '.') &&
           strpbrk(path + n, "*[") == NULL;
}

void options_default(const char *prefix, void *owner)
{
    for (const struct option *o = rows; o < rows + ARRAY_LEN(rows); o++) {
        struct err e;
        int rc;

        if (o->def == NULL || !o->ready || !is_field_of(o->path, prefix))
            continue;
        rc = option_store(o, owner, o->def, &e);
        assert(rc == 0); /* a default that its own row refuses */
        (void)rc;
    }
}

char *option_variable(const struct option *o, struct arena *a)
{
    char *name;

    if (strpbrk(o->path, "*[") != NULL || (!option_is_scalar(o) && !option_is_list(o)))
        return NULL;
    name = arena_strdup(a, span_of(o->path));
    for (char *c = name; *c != '\0'; c++)
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
    return name;
}
