/* openai_chat.h - OpenAI chat completions: what its files share.
 *
 *   openai_chat.c        the table `dialect_openai_chat`, reading and writing requests
 *   openai_chat_read.c   answers, streamed or whole
 *   openai_chat_write.c  answers and errors for a client
 *   openai_chat_error.c  what an error means, whoever of the many who speak this dialect sent it
 *
 * Everything that calls itself compatible speaks it with an accent, so reading is tolerant: unknown
 * keys and unknown finish reasons pass, and errors are taken in every shape that was seen.
 */
#ifndef HOLDFAST_PROVIDERS_OPENAI_CHAT_H
#define HOLDFAST_PROVIDERS_OPENAI_CHAT_H

#include "providers/dialect.h"

enum dialect_event openai_chat_read_event(const struct sse_event *ev, struct chat_watch *watch,
                                          chat_sink *sink, void *ctx);
void openai_chat_read_answer(struct span body, struct chat_watch *watch, chat_sink *sink,
                             void *ctx);
enum failure openai_chat_judge_end(const struct chat_watch *watch);

enum failure openai_chat_classify(unsigned status, struct span content_type, struct span body,
                                  struct chat_error *error);

/* The error that `body` holds, told under a status of success; FAILURE_NONE, with *error untouched,
 * where it is JSON that holds none. `certain`: it is known to be one (`event: error`). */
enum failure openai_chat_find_error(struct span body, bool certain, struct chat_error *error);

/* Without the white space in front: providers that take long send some to keep the connection. */
struct span openai_chat_skip_lead(struct span body);

/* Is it a web page? */
bool openai_chat_is_html(struct span body);

void openai_chat_write_error(const struct chat_error *error, struct strbuf *out);
void openai_chat_write_stream_error(const struct chat_error *error, struct strbuf *out);
void openai_chat_write_end(struct strbuf *out);
void openai_chat_write_event(const struct chat_event *ev, struct span id, struct span model,
                             uint64_t created, struct strbuf *out);
void openai_chat_write_answer(struct span id, struct span model, uint64_t created,
                              struct span text_raw, const struct chat_usage *usage,
                              struct strbuf *out);
void openai_chat_write_model(struct span name, uint64_t created, struct strbuf *out);
void openai_chat_write_models(const struct span *names, size_t n, uint64_t created,
                              struct strbuf *out);

#endif
