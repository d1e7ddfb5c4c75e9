/* payload.h - what the log shows of bodies, where `log.payloads` asks for it.
 *
 * The first bytes of a body are kept until its exchange ends, then written in as many lines as it
 * takes. Before that, secrets go (secret.h), and so do the values of JSON members whose names say
 * that they are secret; what looks like base64 is shortened, and what is no text is only counted.
 */
#ifndef HOLDFAST_OPS_PAYLOAD_H
#define HOLDFAST_OPS_PAYLOAD_H

#include "proxy/base/log.h"

struct payload {
    size_t cap;     /* bytes that are kept; 0: nothing is, and nothing is written */
    uint64_t bytes; /* all that there were */
    struct strbuf text;
};

static inline struct payload payload_of(uint64_t cap)
{
    return (struct payload){.cap = cap, .text = strbuf_heap(cap)};
}

/* More of the body. */
void payload_take(struct payload *p, struct span bytes);

/* Writes its lines, each at most LOG_LINE_MAX bytes, by `line`, and gives back what it holds.
 * `whose`: "request", "answer", or the target that gave an error. */
void payload_end(struct payload *p, struct span id, struct span whose, uint64_t wall_ms,
                 enum log_format format, void (*line)(struct span));

#endif
