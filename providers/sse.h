/* sse.h - server-sent events, byte by byte correct (WHATWG HTML 9.2.6).
 *
 *     if (sse_feed(&s, bytes) < 0)
 *         ... an event is longer than the cap
 *     while (sse_next(&s, &ev))
 *         ...
 *     and once, behind the last byte: if (sse_end(&s, &ev)) ...
 *
 * Any split of the bytes gives the same events. The raw bytes of all events, one after the other,
 * are exactly the bytes that came in: a relay can pass them on untouched and still stop between two
 * events. Accepts LF, CRLF and CR line ends, a leading byte order mark, comments, several data
 * lines (joined by LF), `data:` with or without a space; `id` and `retry` are read over.
 *
 * An event that is complete inside the input is handed out as views of it; only an event that
 * arrives in pieces is copied, each byte once. Every byte is searched once, however small the
 * pieces are. Where the empty line at the end of an event is a CR, the event is complete with the
 * byte behind it (a LF there belongs to it) or with sse_end.
 */
#ifndef HOLDFAST_PROVIDERS_SSE_H
#define HOLDFAST_PROVIDERS_SSE_H

#include <stdbool.h>

#include "proxy/base/attributes.h"
#include "proxy/base/span.h"
#include "proxy/base/strbuf.h"

/* Where in a line the search for the end of an event stands. */
enum sse_place {
    SSE_LINE_START,
    SSE_IN_LINE,
    SSE_LINE_CR,  /* behind a CR that ended a line: a LF would belong to it */
    SSE_EVENT_CR, /* behind a CR that ended the event: the same */
};

struct sse {
    size_t max;           /* bytes of one event */
    struct span in;       /* input that is not handed out yet */
    struct strbuf tail;   /* bytes of an event that began in earlier input */
    struct strbuf joined; /* the data of an event with several data lines */
    enum sse_place place; /* behind `tail`, before `in` */
    bool in_tail;         /* the event handed out last stands in `tail` */
    bool started;         /* the byte order mark was looked for */
};

/* Views are good until the next sse_feed, sse_next, sse_end or sse_release. */
struct sse_event {
    struct span raw; /* every byte of it, with comments before it and the empty line that ends it */
    struct span name; /* `event:`, the last one; empty where there is none */
    struct span data; /* the data lines, joined by LF; with `stray` that text */
    bool has_data;    /* false: only comments or other fields; nothing was dispatched */
    bool stray; /* no data, but a line that is no field, such as bare JSON or HTML: data is the text
                   from the first such line on, without line ends at its end */
    bool cut;   /* it lacks its empty line: only from sse_end */
};

void sse_init(struct sse *s, size_t max_event); /* no event may be longer than max_event bytes */
void sse_release(struct sse *s);

/* Gives the next bytes, after sse_next has answered false for the bytes before; they must stay
 * where they are until it does so again. -1, with nothing taken, when an event would pass the cap;
 * the stream cannot be read on then. */
int sse_feed(struct sse *s, struct span bytes) MUST_CHECK;

/* The next complete event. False when there is none; what is left of the input was kept. */
bool sse_next(struct sse *s, struct sse_event *ev);

/* After the last byte: the event that lacks its empty line, if there is one (WHATWG drops it;
 * several providers end their stream so, so we look at it). */
bool sse_end(struct sse *s, struct sse_event *ev);

#endif
