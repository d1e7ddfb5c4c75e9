/* anthropic_messages.h - Anthropic's messages, as a provider speaks them: what its files share.
 *
 *   anthropic_messages.c        the table `dialect_anthropic_messages`, and the request's fields
 *   anthropic_messages_turns.c  ... its messages
 *   anthropic_messages_schema.c ... its JSON Schemas
 *   anthropic_messages_model.c  what a model takes, by its name
 *   anthropic_messages_read.c   answers, streamed or whole
 *
 * What an error means is read where all such meanings stand, in openai_chat_error.c: gateways send
 * each provider's errors in any shape.
 */
#ifndef HOLDFAST_PROVIDERS_ANTHROPIC_MESSAGES_H
#define HOLDFAST_PROVIDERS_ANTHROPIC_MESSAGES_H

#include "providers/dialect.h"

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

enum dialect_event anthropic_read_event(const struct sse_event *ev, struct chat_watch *watch,
                                        chat_sink *sink, void *ctx);
void anthropic_read_answer(struct span body, struct chat_watch *watch, chat_sink *sink, void *ctx);
enum failure anthropic_judge_end(const struct chat_watch *watch);

#endif
