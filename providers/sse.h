/* sse.h - server-sent events, byte by byte correct (WHATWG HTML 9.2.6).
 *
 * Any split of the bytes gives the same events. The raw bytes of all events, one after the other,
 * are exactly the bytes that came in: a relay can pass them on untouched and still stop between two
 * events. Accepts LF, CRLF and CR line ends, a leading byte order mark, comments, several data
 * lines (joined by LF), `data:` with or without a space.
 */
#ifndef HOLDFAST_PROVIDERS_SSE_H
#define HOLDFAST_PROVIDERS_SSE_H

#include <stdbool.h>

#include "proxy/base/span.h"
#include "proxy/base/strbuf.h"

struct sse {
    struct strbuf tail;   /* bytes of an event that is not complete yet */
    struct strbuf joined; /* the data of an event with several data lines */
    struct span in;       /* what is being read: the input itself, or `tail` */
    size_t scanned;       /* bytes of `in` known to hold no end of an event */
    bool started;         /* the byte order mark was looked for */
};

/* Views are good until the next sse_feed, sse_next or sse_end. */
struct sse_event {
    struct span raw; /* every byte of it, with comments before it and the empty line that ends it */
    struct span name; /* `event:`; empty where there is none */
    struct span data; /* without line ends at its end; joined by LF */
    bool has_data;    /* false: only comments or other fields; nothing was dispatched */
    bool stray; /* a line stands in it that is no field, such as bare JSON: data is that text */
};

void sse_init(struct sse *s, size_t max_event); /* no event may be longer than max_event bytes */
void sse_release(struct sse *s);

/* Gives the next bytes; they must stay where they are until sse_next has answered false. -1 when an
 * event would pass the cap. */
int sse_feed(struct sse *s, struct span bytes) MUST_CHECK;

/* The next complete event. False when there is none; what is left of the input was kept. */
bool sse_next(struct sse *s, struct sse_event *ev);

/* After the last byte: the event that lacks its empty line, if there is one (WHATWG drops it;
 * several providers end their stream so, so we look at it). */
bool sse_end(struct sse *s, struct sse_event *ev);

#endif
