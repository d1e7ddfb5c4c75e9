/* tool.h - what the simulated providers and the load client share.
 *
 * Nothing here comes from the proxy that is measured: a mistake in its HTTP code must not be able
 * to hide from the tools that judge it.
 *
 * The dialogue. The client asks with an OpenAI chat request whose last message carries the wishes
 * as text, which passes every proxy and every translation:
 *
 *     sim:events=100,gap_us=50000;
 *
 * Asked for no stream, the provider answers always the same JSON, in OpenAI's dialect ANSWER_BYTES
 * of it, with the same text in every dialect. Else a stream of `events` words, `gap_us` apart (0:
 * as fast as the socket takes them), between what the dialect has before and after them: in
 * OpenAI's the role event, and the finish event and [DONE]. A word is WORD_BYTES long:
 *
 *     " w000042@0000012345678901"      its number from 0, and when it was sent, in monotonic us
 *
 * so the client sees a lost, doubled or swapped event, and how long each was on its way.
 */
#ifndef HOLDFAST_BENCH_TOOL_H
#define HOLDFAST_BENCH_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_MODEL    "gpt-4o-mini"
#define ANSWER_BYTES 1024
#define WORD_FORMAT  " w%06u@%016llu"
#define WORD_MARK    " w%06u@" /* the part of a word that is known beforehand */
#define WORD_BYTES   25
#define MAX_EVENTS   1000000 /* so that a word's number has six digits */

enum { HEAD_MAX = 16384 }; /* bytes of a message's head */

/* Prints "TOOL: text" on stderr and ends the program with 2. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);

/* Monotonic, the same clock in every process. */
uint64_t now_ns(void);
uint64_t now_us(void);

/* The body of every unary answer in OpenAI's dialect: ANSWER_BYTES bytes, NUL-terminated, static.
 */
const char *answer_body(void);

/* The text in every unary answer, in every dialect: as it stands in JSON, with escapes and without
 * quotes. Static. */
const char *answer_text(void);

/* A non-negative decimal number up to max that fills the whole text, or the program ends naming
 * `what`. */
uint64_t number_arg(const char *what, const char *text, uint64_t max);

/* One HTTP/1.1 message, request or answer, read piece by piece. It must say how long its body is;
 * a request that does not has none, an answer that does not is MESSAGE_BAD.
 *
 *   HEAD -> FIXED | SIZE -> DATA -> DATA_END -> SIZE ... -> TRAILER -> DONE, or BAD from anywhere
 */
enum message_state {
    MESSAGE_HEAD,     /* until the empty line */
    MESSAGE_FIXED,    /* `left` bytes of a body with a length */
    MESSAGE_SIZE,     /* in a chunk's size line; `left` is the number so far */
    MESSAGE_DATA,     /* `left` bytes of a chunk */
    MESSAGE_DATA_END, /* the CRLF after a chunk */
    MESSAGE_TRAILER,  /* lines after the last chunk */
    MESSAGE_DONE,
    MESSAGE_BAD,
};

struct message {
    enum message_state state;
    bool answer;     /* begins with a status line */
    bool extension;  /* the chunk's size is read, the rest of its line is not */
    bool digits;     /* the size line has at least one digit */
    bool close;      /* Connection: close was said */
    unsigned status; /* of an answer, once its head is read */
    uint64_t left;
    size_t line_len; /* of a trailer line so far */
    size_t head_len;
    char head[HEAD_MAX];
};

void message_start(struct message *m, bool answer);

/* Reads up to n bytes and gives those of the body to body(ctx, ...). Returns how many it took:
 * less than n only when the message is then DONE or BAD. */
size_t message_feed(struct message *m, const char *p, size_t n,
                    void (*body)(void *ctx, const char *p, size_t n), void *ctx);

#endif
