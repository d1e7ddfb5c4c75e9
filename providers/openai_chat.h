/* openai_chat.h - OpenAI chat completions: what its files share.
 *
 *   openai_chat.c        the table `dialect_openai_chat`, reading and writing requests
 *   openai_chat_conversation.h  the whole request, read; its files are named there
 *   openai_chat_request.c       the same, written for a provider
 *   openai_chat_read.c   answers, streamed or whole: what each means
 *   openai_chat_object.c ... and what stands in one object of them
 *   openai_chat_answer.c answers for a client, streamed or whole
 *   openai_chat_write.c  errors and lists of models for a client
 *   openai_chat_error.c  what an error means, whoever of the many who speak this dialect sent it
 *
 *   openai_embeddings.c  the table `dialect_openai_embeddings`: vectors in place of words
 *   openai_completions.c the table `dialect_openai_completions`: what there was before chat
 *
 * Everything that calls itself compatible speaks it with an accent, so reading is tolerant: unknown
 * keys and unknown finish reasons pass, and errors are taken in every shape that was seen.
 */
#ifndef HOLDFAST_PROVIDERS_OPENAI_CHAT_H
#define HOLDFAST_PROVIDERS_OPENAI_CHAT_H

#include "providers/dialect.h"

/* In watch->own: the answer is one of /completions. Its text stands in the choice itself, and none
 * at all is an answer like any other: of what is to be filled in, nothing may be missing. */
enum { OPENAI_BARE };

/* What one event, or a whole answer, adds to the watch. It is put there only once all of it is
 * known to be valid and no error. */
struct openai_chat_found {
    struct span id, model;  /* raw */
    bool choices;           /* the key is there, be the list empty */
    bool error;             /* a key `error` with something in it */
    bool output, tools;     /* as in the watch */
    bool cut_short;         /* the same */
    uint64_t begun, closed; /* the same */
    struct span bad_finish; /* a finish reason that says that the provider failed; raw */
    struct chat_usage usage;
    unsigned events;     /* what a sink would be sent of it, calls left out */
    struct span text;    /* ... the last of them that is a piece of the answer's text; raw */
    struct span padding; /* OpenAI's, so that nobody can tell a piece by its length; raw */
};

/* Reads one object of an answer: a chunk of a stream or, with `whole`, an answer in one piece.
 * False where it is no valid JSON. Of the watch only what was closed before is looked at. */
bool openai_chat_look(struct span text, bool whole, struct chat_watch *watch,
                      struct openai_chat_found *found);

/* Reads the same text once more, for the sink: only now is it known to be good. */
void openai_chat_tell(struct span text, bool whole, struct chat_watch *watch,
                      const struct openai_chat_found *found, chat_sink *sink, void *ctx);

enum dialect_event openai_chat_read_event(const struct sse_event *ev, struct chat_watch *watch,
                                          chat_sink *sink, void *ctx);
void openai_chat_read_answer(struct span body, struct chat_watch *watch, chat_sink *sink,
                             void *ctx);
enum failure openai_chat_judge_end(const struct chat_watch *watch);

enum failure openai_chat_classify(unsigned status, struct span content_type, struct span body,
                                  struct chat_error *error);

/* The same for endpoints that not every server has beside chat's: that one is missing says nothing
 * of the model or the server. */
enum failure openai_chat_classify_other(unsigned status, struct span content_type, struct span body,
                                        struct chat_error *error);

/* The error that `body` holds, told under a status of success; FAILURE_NONE, with *error untouched,
 * where it is JSON that holds none. `certain`: it is known to be one (`event: error`). */
enum failure openai_chat_find_error(struct span body, bool certain, struct chat_error *error);

/* Without the white space in front: providers that take long send some to keep the connection. */
struct span openai_chat_skip_lead(struct span body);

/* Tells the watch that an answer in one piece is no good; the text is for people. */
void openai_chat_fail(struct chat_watch *watch, enum failure f, const char *message);

/* The same where it cannot be read: what is it instead? `body` without its lead. */
void openai_chat_judge_text(struct span body, struct chat_watch *watch);

/* Is it a web page? */
bool openai_chat_is_html(struct span body);

/* Is it the start of a JSON value that was never closed? */
bool openai_chat_is_cut_json(struct span text);

void openai_chat_write_error(const struct chat_error *error, struct strbuf *out);
void openai_chat_write_stream_error(const struct chat_error *error, struct strbuf *out);
void openai_chat_write_end(struct strbuf *out);
void openai_chat_write_event(struct answer_writer *w, const struct chat_event *ev,
                             struct strbuf *out);
/* Parts of such answers: the finish reason that clients know, `"prompt_tokens"` and the rest as an
 * object, and an object's beginning, up to the model. */
const char *openai_chat_finish_reason(struct span raw, bool calls);
void openai_chat_add_usage(struct strbuf *out, const struct chat_usage *u);
void openai_chat_add_head(struct strbuf *out, const struct answer_writer *w, const char *object);

void openai_chat_follow(struct answer_writer *w, const struct sse_event *ev,
                        enum dialect_event kind);
void openai_chat_write_answer(struct answer_writer *w, const struct fold *f, struct strbuf *out);
/* Models that always reason: their first output may take minutes, and they refuse parameters of
 * sampling. The name may carry its maker in front ("openai/o3"). */
bool openai_chat_always_reasons(struct span model);

/* May the first output take minutes? `effort`: raw, or empty. */
bool openai_chat_reasons(struct span model, struct span effort);

/* What read_request makes of `stream_options` and of `n`. */
int openai_chat_check_stream_options(struct span raw, bool *usage_asked, struct err *e);
unsigned openai_chat_choices(struct span raw);

/* Does a raw response_format ask for data rather than prose? */
bool openai_chat_is_structured(struct span form);

/* Where a request goes ("/chat/completions" behind the base path), and the credential; no body yet.
 */
void openai_chat_address(const struct dialect_target *target, struct span client_model,
                         const char *endpoint, struct arena *a, struct dialect_request *out);

/* Puts the client's request into *out: `body` is req->body, or what was made of it. Only the model
 * and what the target is known to refuse are changed. */
void openai_chat_pass_on(const struct chat_request *req, struct span body,
                         const struct dialect_target *target, struct arena *a,
                         struct dialect_request *out, struct drops *drops);

int openai_chat_read_conversation(struct span body, struct arena *a, struct conversation *out,
                                  struct err *e);
int openai_chat_write_conversation(const struct conversation *c,
                                   const struct dialect_target *target, struct arena *a,
                                   struct dialect_request *out, struct drops *drops, struct err *e);

void openai_chat_write_model(struct span name, uint64_t created, struct strbuf *out);
void openai_chat_write_models(const struct span *names, size_t n, uint64_t created,
                              struct strbuf *out);

#endif
