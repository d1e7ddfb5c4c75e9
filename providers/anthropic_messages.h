/* anthropic_messages.h - Anthropic's messages: what its files share.
 *
 *   anthropic_messages.c        the table `dialect_anthropic_messages`, and a translated request's
 *                               fields
 *   anthropic_messages_turns.c  ... its messages
 *   anthropic_messages_schema.c ... its JSON Schemas
 *   anthropic_messages_model.c  what a model takes, by its name
 *   anthropic_messages_read.c   answers, streamed or whole
 *
 *   anthropic_messages_door.c   a client's request, as far as routing must know it
 *   anthropic_messages_conversation.c  ... the whole of it
 *   anthropic_messages_blocks.c ... its messages
 *   anthropic_messages_fit.c    ... for a provider that speaks the dialect too
 *   anthropic_messages_answer.c answers for a client, streamed or whole
 *   anthropic_messages_write.c  errors and lists of models for a client
 *   anthropic_messages_state.c  what other providers want back, in answers and in requests
 *
 * What an error means is read where all such meanings stand, in openai_chat_error.c: gateways send
 * each provider's errors in any shape.
 */
#ifndef HOLDFAST_PROVIDERS_ANTHROPIC_MESSAGES_H
#define HOLDFAST_PROVIDERS_ANTHROPIC_MESSAGES_H

#include "providers/dialect.h"
#include "providers/request_top.h"

/* ---- others' state ----
 *
 * What a Gemini (or another) signs has to come back to it, and this dialect has one place for such
 * things that clients keep byte by byte: the signature of a block of thinking. So it is carried
 * there, "holdfast.ORIGIN.STATE"; a call's state in a block of its own right before the tool_use,
 * "holdfast-call.ORIGIN.STATE"; and reasoning without state is marked with "holdfast" alone. Only a
 * client that asked for thinking gets such blocks; for others Gemini's calls go back with Google's
 * word for calls of unknown origin. Claude could not verify any of these signatures: whatever goes
 * to Anthropic goes without such blocks (anthropic_fit). */
#define ANTHROPIC_FOREIGN      "holdfast"
#define ANTHROPIC_FOREIGN_CALL "holdfast-call"

/* The raw string that carries `state` of the dialect `origin` (both raw strings); Claude's own
 * state as it is. */
struct span anthropic_carry(const char *mark, struct span origin, struct span state,
                            struct arena *a);

struct anthropic_carried {
    bool of_call;
    struct span origin; /* plain text; empty where there is no state */
    struct span state;  /* raw string; empty where there is none */
};

/* Takes a signature or the data of redacted thinking (raw) apart; false where it is Claude's. */
bool anthropic_carried(struct span raw, struct arena *a, struct anthropic_carried *out);

/* What a model takes. The API refuses what a model does not know, so this is written per model. */
struct anthropic_model {
    bool known;          /* a Claude whose version its name tells */
    bool sampling;       /* temperature, top_p and top_k */
    bool adaptive;       /* thinking of type "adaptive", with an effort */
    bool budget;         /* thinking with a budget of tokens */
    bool xhigh;          /* an effort above "high" */
    bool summarize;      /* shows its thinking only where that is asked for */
    bool schemas;        /* output_config.format, and strict tools */
    uint64_t max_tokens; /* the most it writes; 0 unknown */
};

/* By its name, in whatever way a platform writes it: "claude-opus-4-5-20251101",
 * "anthropic/claude-opus-4.5", "us.anthropic.claude-sonnet-4-5-20250929-v1:0". */
struct anthropic_model anthropic_model_of(struct span name);

/* A request being written. */
struct anthropic_writer {
    const struct conversation *c;
    struct anthropic_model model;
    struct arena *arena;
    struct drops *drops;
    struct strbuf *out;
    struct err *e;
    struct name_list *called; /* tools that the history calls, each once, in order */
    bool thought_missing;     /* the current turn's first calls stand without their reasoning */
};

/* Appends `,"system":...` if there is one, and `,"messages":[...]`. */
int anthropic_write_messages(struct anthropic_writer *w);

/* Appends a JSON Schema as structured output takes it: every object closed, keywords that are not
 * known there told in the description. `path` is where it stands for the client, `title` and
 * `description` raw strings that are added where the schema has none of its own, or empty. */
int anthropic_write_schema(struct anthropic_writer *w, struct span schema, struct span title,
                           struct span description, const char *path);

/* Only letters, digits, _ and -, of which there are 1 to `most`? What names and ids must be. */
bool anthropic_is_plain(struct span text, size_t most);

/* "PATH.NAME" in the arena, as drop_named takes it. */
const char *anthropic_path(struct arena *a, struct span path, const char *name);

/* ---- the client's side ---- */

int anthropic_read_request(struct span body, struct arena *a, struct chat_request *out,
                           struct err *e);

int anthropic_extend(const struct chat_request *req, struct span assistant, struct span user,
                     uint64_t used_tokens, struct arena *a, struct chat_request *out,
                     struct err *e);

/* The names of a request's own fields; ends with NULL. */
extern const char *const anthropic_field_names[];

int anthropic_read_conversation(struct span body, struct arena *a, struct conversation *out,
                                struct err *e);

struct request_reader;
int anthropic_read_messages(struct request_reader *r, struct span raw);
/* Adds the system prompt in front of the messages. */
int anthropic_read_system(struct request_reader *r, struct span raw);

/* The client's body as this target takes it: the body itself where it does, else with edits, each
 * of which is named. */
struct span anthropic_fit(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct drops *drops);

void anthropic_write_error(const struct chat_error *error, struct strbuf *out);
void anthropic_write_stream_error(const struct chat_error *error, struct strbuf *out);
void anthropic_write_end(struct strbuf *out);
void anthropic_write_event(struct answer_writer *w, const struct chat_event *ev,
                           struct strbuf *out);
void anthropic_follow(struct answer_writer *w, const struct sse_event *ev, enum dialect_event kind);
void anthropic_write_answer(struct answer_writer *w, const struct fold *f, struct strbuf *out);
void anthropic_write_model(struct span name, uint64_t created, struct strbuf *out);
void anthropic_write_models(const struct span *names, size_t n, uint64_t created,
                            struct strbuf *out);

/* ---- answers ---- */

enum dialect_event anthropic_read_event(const struct sse_event *ev, struct chat_watch *watch,
                                        chat_sink *sink, void *ctx);
void anthropic_read_answer(struct span body, struct chat_watch *watch, chat_sink *sink, void *ctx);
enum failure anthropic_judge_end(const struct chat_watch *watch);

#endif
