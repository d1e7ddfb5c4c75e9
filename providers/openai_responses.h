/* openai_responses.h - OpenAI responses: what its files share.
 *
 *   openai_responses.c               the table, reading requests for routing, passing them on
 *   openai_responses_conversation.c  the whole request, read: its own fields, tools and choices
 *   openai_responses_input.c         ... and its input: items and their parts
 *   openai_responses_request.c       the same, written for a provider
 *   openai_responses_read.c          answers, streamed or whole: what each means
 *   openai_responses_answer.c        answers for a client, streamed or whole
 *   openai_responses_state.c         other providers' state on its way through a client
 *
 * What the dialect shares with chat completions (errors, lists of models, the client's body read
 * field by field) stands in openai_chat*.h.
 */
#ifndef HOLDFAST_PROVIDERS_OPENAI_RESPONSES_H
#define HOLDFAST_PROVIDERS_OPENAI_RESPONSES_H

#include "providers/dialect.h"
#include "providers/openai_chat_conversation.h"

/* ---- state ----
 *
 * Clients give reasoning items back as they got them. Other providers' signatures travel in the
 * field `encrypted_content`, marked as ours and with their origin; a reasoning item that we wrote
 * without one has an id that says so. Neither may reach OpenAI, which knows neither. */

enum responses_state_kind {
    STATE_NONE,     /* not ours: the provider's own */
    STATE_SIGNED,   /* signs the text of its item */
    STATE_REDACTED, /* reasoning of which nothing is shown */
    STATE_CALL,     /* belongs to the call before it */
};

struct responses_state {
    enum responses_state_kind kind;
    struct span origin;    /* plain text: the dialect that minted it */
    struct span signature; /* raw string */
};

#define RESPONSES_OWN_ID "rs_holdfast_" /* how the ids of reasoning items of ours begin */

/* Appends the raw string; `origin` and `signature` are raw strings. */
void responses_add_state(struct strbuf *out, enum responses_state_kind kind, struct span origin,
                         struct span signature, struct arena *a);

struct responses_state responses_read_state(struct span encrypted, struct arena *a);

/* The request's body without reasoning items that are ours, each named; the body itself where it
 * has none. `all`: without anybody's, for a provider that cannot read what another one minted. */
struct span responses_strip(struct span body, bool all, struct arena *a, struct drops *drops);

/* ---- requests ---- */

/* The names of a request's own fields; ends with NULL. */
extern const char *const openai_responses_field_names[];

int openai_responses_read_conversation(struct span body, struct arena *a, struct conversation *out,
                                       struct err *e);
int openai_responses_read_input(struct request_reader *r, struct span instructions,
                                struct span input);
int openai_responses_write_conversation(const struct conversation *c,
                                        const struct dialect_target *target, struct arena *a,
                                        struct dialect_request *out, struct drops *drops,
                                        struct err *e);

/* Is this item of the input a list of further tools? */
bool openai_responses_adds_tools(struct span item);

/* What a call of a namespace's tool is named for providers: raw, and never two names the same where
 * the client's are not. */
struct span openai_responses_joined_name(struct arena *a, struct span space, struct span name);

/* ---- answers ---- */

enum dialect_event openai_responses_read_event(const struct sse_event *ev, struct chat_watch *watch,
                                               chat_sink *sink, void *ctx);
void openai_responses_read_answer(struct span body, struct chat_watch *watch, chat_sink *sink,
                                  void *ctx);
enum failure openai_responses_judge_end(const struct chat_watch *watch);

void openai_responses_write_event(struct answer_writer *w, const struct chat_event *ev,
                                  struct strbuf *out);
void openai_responses_follow(struct answer_writer *w, const struct sse_event *ev,
                             enum dialect_event kind);
void openai_responses_write_answer(struct answer_writer *w, const struct fold *f,
                                   struct strbuf *out);
void openai_responses_split(struct answer_writer *w);
void openai_responses_write_stream_error(const struct chat_error *error, struct strbuf *out);
void openai_responses_write_break(struct answer_writer *w, const struct chat_error *error,
                                  struct strbuf *out);

#endif
