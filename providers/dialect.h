/* dialect.h - the contract of a wire protocol: a constant table of pure functions.
 *
 * Bytes in, bytes out; no I/O, no clock, no mutable globals. Both sides of the proxy use the same
 * table: the client's dialect reads the request and writes the answer, the provider's dialect
 * writes the request and reads the answer. Nothing is written per pair of dialects.
 */
#ifndef HOLDFAST_PROVIDERS_DIALECT_H
#define HOLDFAST_PROVIDERS_DIALECT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/err.h"
#include "proxy/base/json.h"
#include "proxy/base/strbuf.h"
#include "providers/chat.h"
#include "providers/conversation.h"
#include "providers/fold.h"
#include "providers/sse.h"

/* Where a request goes and as whom: from the configuration only, never from the request. */
struct dialect_target {
    struct span base_path;  /* path of the base URL, without a slash at the end: "/v1" */
    struct span model;      /* the model to ask for; p == NULL: the client's own */
    struct span key;        /* credential; empty: none is sent */
    bool rewrite_model;     /* model differs from the client's */
    const char *key_header; /* what stands before the key; NULL: the dialect's own way */
    const char *query;      /* behind the path; NULL: none */
    bool model_in_path;     /* the model's name stands in the path as well */
    bool strip_foreign; /* other providers' reasoning state may be in the request: not for this one
                         */
    bool short_ids;     /* ids of tool calls have to be nine letters and digits */
    struct span client_fields; /* the client's header lines that go along, if it speaks the
                                  dialect; the attempt sends them */
    struct span client_query;  /* ... and its query, from "?" on, for the path; or empty */
    uint32_t without;          /* parameters that the target is known to refuse, see params.h */
};

/* A request for a provider. `head_fields` are complete lines, each with CRLF; they hold the
 * credential, so they are never logged. The body is in up to three parts (what stands before the
 * model, the model, what stands behind), so that a large body is not copied. */
struct dialect_request {
    struct span path; /* with query */
    struct strbuf head_fields;
    struct span body[3];
    size_t body_bytes; /* of all parts */
};

/* What became of one event of an answer. */
enum dialect_event {
    EVENT_NOTHING,   /* comment, ping, unknown: no progress */
    EVENT_LIFECYCLE, /* belongs to the answer but is no output: role, usage; progress, no commit */
    EVENT_OUTPUT,    /* real output; a finish reason may stand in the same event (watch->stopped) */
    EVENT_STOP,      /* the finish reason of a choice, the first one, and no output */
    EVENT_END,       /* the last marker */
    EVENT_ERROR,     /* an error: watch->failure and watch->error say which */
    EVENT_BAD,       /* cannot be read */
};

/* An answer being written to a client from events of whatever dialect. Zero, then set the first
 * block. */
struct answer_writer {
    struct span id, model;                 /* plain text: for every event of the answer */
    uint64_t created;                      /* seconds since 1970 */
    bool usage_asked;                      /* the client wants token counts in its stream */
    bool reasoning_asked;                  /* ... and to see the reasoning */
    bool packed;                           /* vectors go out as base64 */
    const struct tool_alias *tool_aliases; /* of the request; NULL: none */
    struct arena *arena;

    bool started, stopped; /* the writer's own state from here on */
    unsigned own[4];
    void *state; /* in the arena */
    struct chat_usage usage;
};

struct dialect {
    const char *name;
    bool marks_end; /* an end marker follows the last finish reason; without one only the end of the
                       transport ends an answer, and more may come after a finish reason */
    bool embeds;    /* vectors are asked for, and not words: whole answers only, so all that is for
                       streams is NULL. A dialect of the other sort is no stand-in for it */

    /* The client side ------------------------------------------------------------------------ */

    const char *key_header; /* how its providers are shown a key, up to the key itself, where their
                               type names no other way */
    const char *id_prefix;  /* of the answers that we write ourselves: "chatcmpl-" */
    bool comments;          /* clients pass over comments in a stream: for heartbeats and marks */
    const char *const *client_fields; /* names of header lines that a provider of this dialect gets
                                         as the client sent them; ends with NULL */
    const char *const *client_query;  /* the same of parameters of the query; NULL: none */
    const char *id_field; /* where its clients look for a request's id, if not in x-request-id */
    unsigned exhausted;   /* status of errors that are no fault of the client's and end a request
                             for good, where its clients know a better one; 0: the error's own */

    /* Reads a request as far as struct chat_request goes; validates the whole body as JSON. -1 with
     * *e (its text is for the client). Duplicates of a key that we read are refused. What the path
     * has told already (model, stream) stands in *out; all else of it is zero. */
    int (*read_request)(struct span body, struct arena *a, struct chat_request *out, struct err *e);

    /* Appends the body of an error answer, or the in-band error event of a stream. */
    void (*write_error)(const struct chat_error *error, struct strbuf *out);
    void (*write_stream_error)(const struct chat_error *error, struct strbuf *out);

    /* The second one where a writer knows what the client has of the stream; NULL: that is all the
     * same. */
    void (*write_break)(struct answer_writer *w, const struct chat_error *error,
                        struct strbuf *out);

    /* Appends the marker that a complete stream ends with ("data: [DONE]\n\n"); may append nothing.
     */
    void (*write_end)(struct strbuf *out);

    /* The request with turns put behind the client's last one: `assistant`, and `user` where it is
     * not empty (both plain text), and with `used_tokens` fewer to write where it sets a limit.
     * *out is as read_request leaves it, in the arena. -1 with *e where that cannot be. NULL: its
     * answers are not carried on. */
    int (*extend)(const struct chat_request *req, struct span assistant, struct span user,
                  uint64_t used_tokens, struct arena *a, struct chat_request *out, struct err *e);

    /* Reads the whole request into its canonical form, once read_request has accepted it. Every
     * field of the request ends up in it: the ones that nothing stands for in `others`. Model,
     * content and stream stand in *out already, as read_request found them; all else of it is zero.
     * -1 with *e (for the client: 400). NULL: it is never translated. */
    int (*read_conversation)(struct span body, struct arena *a, struct conversation *out,
                             struct err *e);

    /* Appends one event of an answer as stream bytes. CHAT_START comes first, CHAT_END last; what
     * the dialect needs in between (roles, indices, lifecycle events) the writer makes. */
    void (*write_event)(struct answer_writer *w, const struct chat_event *ev, struct strbuf *out);

    /* Tells the writer of one event of a stream that went to the client as the provider's own
     * bytes, so that the writer can carry the stream on where it broke: ids, indices and what is
     * open. `kind` is what read_event made of it. Called for every such event, in order, on a
     * zeroed writer with the first block set; cheap for output. */
    void (*follow)(struct answer_writer *w, const struct sse_event *ev, enum dialect_event kind);

    /* `w` is a copy of a writer that others may be copied from as well, as whoever carries the
     * stream on may fail: makes w's state its own. NULL: where nothing is lost by sharing it. */
    void (*split)(struct answer_writer *w);

    /* Appends a whole answer that is not streamed. */
    void (*write_answer)(struct answer_writer *w, const struct fold *f, struct strbuf *out);

    /* Is it a whole answer to a request for the count of its tokens? Only where the dialect has
     * such a request (chat_request.counting, as the path tells). */
    bool (*is_count)(struct span body);

    /* Appends the list of models in the dialect's shape. */
    void (*write_model)(struct span name, uint64_t created, struct strbuf *out); /* one of them */
    void (*write_models)(const struct span *names, size_t n, uint64_t created, struct strbuf *out);

    /* The provider side ---------------------------------------------------------------------- */

    /* Writes the request for a target from the client's original one: its very bytes, but for the
     * model and what the target is known to refuse. */
    void (*write_request)(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct dialect_request *out, struct drops *drops);

    /* The same from the canonical form: for a client that speaks another dialect. Fields that
     * cannot be said are dropped and named, or refused: -1 with *e, which names the field and what
     * this dialect would take (the exchange puts the provider's name before it). */
    int (*write_conversation)(const struct conversation *c, const struct dialect_target *target,
                              struct arena *a, struct dialect_request *out, struct drops *drops,
                              struct err *e);

    /* Reads one event of a streamed answer; tells the watch and, where it is not NULL, the sink. An
     * event that is bad or an error changes nothing else in the watch and sends nothing to the
     * sink. CHAT_END is sent with the last marker of a complete stream; where a complete stream has
     * no marker, whoever asked judge_end knows it. */
    enum dialect_event (*read_event)(const struct sse_event *ev, struct chat_watch *watch,
                                     chat_sink *sink, void *ctx);

    /* Reads a whole answer that was not streamed. watch->failure is FAILURE_NONE only where the
     * answer is complete; else TRUNCATED, MALFORMED, EMPTY, HTML_PAGE or the class of the error
     * found inside. */
    void (*read_answer)(struct span body, struct chat_watch *watch, chat_sink *sink, void *ctx);

    /* What the end of a stream means: FAILURE_NONE when it was complete, else the error that was
     * seen in it, TRUNCATED or EMPTY. */
    enum failure (*judge_end)(const struct chat_watch *watch);

    /* Which failure an answer with an error status is, by what it says inside; fills *error. */
    enum failure (*classify)(unsigned status, struct span content_type, struct span body,
                             struct chat_error *error);
};

extern const struct dialect dialect_openai_chat;
extern const struct dialect dialect_openai_responses;
extern const struct dialect dialect_openai_completions;
extern const struct dialect dialect_openai_embeddings;
extern const struct dialect dialect_anthropic_messages;
extern const struct dialect dialect_gemini;
extern const struct dialect dialect_gemini_embeddings;

#endif
