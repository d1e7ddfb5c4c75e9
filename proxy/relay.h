/* relay.h - what the client is told about how its answer came to be.
 *
 * Pure text: the trail of attempts, the header lines that carry it, and the error that remains when
 * every attempt has failed.
 */
#ifndef HOLDFAST_PROXY_RELAY_H
#define HOLDFAST_PROXY_RELAY_H

#include "providers/chat.h"
#include "proxy/failover.h"

/* Appends "openai/gpt-4o=server_error:503@120ms, claude/claude-sonnet-4-5=ok@800ms": every attempt
 * and every target passed over, each with its outcome, the provider's status where that says more,
 * and when it ended (for an answer that has begun: when its first output came) in ms since the
 * request. */
void relay_trail(const struct failover *f, struct span client_model, uint64_t now_ms,
                 struct strbuf *out);

/* Appends a value to a header line. It comes from a client or a configuration, and whatever is no
 * printable ASCII would end the line or worse: it becomes a question mark. */
void relay_add_value(struct span value, struct strbuf *out);

/* Appends the header lines of an answer: provider, model, attempts, trail. `served` is the index of
 * the try that answers, or -1. */
void relay_fields(const struct failover *f, int served, struct span client_model, uint64_t now_ms,
                  struct strbuf *out);

/* A guess, where a provider was cut off before it told how many tokens it wrote. */
#define RELAY_BYTES_A_TOKEN 4

/* Appends the comment that marks where the answer of try `from` goes on with that of `to`:
 *
 *     : holdfast seam from=openai/gpt-4o to=claude/claude-sonnet-4-5 reason=truncated way=turn
 *       at=1234 output_tokens=300
 *
 * in one line; `at` in bytes of text. `wrote`: the tokens of the first one; where it was cut off
 * before it told, they are a guess, and the comment says so by "~". */
void relay_seam(const struct failover *f, int from, int to, struct span client_model,
                const struct seam_join *join, uint64_t wrote, bool guessed, struct strbuf *out);

/* The error for the client once the core has given up: the true status class, the provider's own
 * words where the client can act on them, and every attempt by name. `said` is what the deciding
 * attempt's provider said (may be NULL). */
void relay_error(const struct failover *f, const struct chat_error *said, struct span client_model,
                 uint64_t now_ms, struct chat_error *out);

/* Appends x-should-retry, and retry-after with retry-after-ms where waiting helps: with each 503
 * too that a client had better not try again by itself, such as a quota that is spent. */
void relay_retry_fields(const struct failover *f, struct strbuf *out);

#endif
