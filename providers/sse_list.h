/* sse_list.h - a stream of events as one JSON array that grows: what Gemini's clients get that do
 * not ask for server-sent events.
 *
 *     struct sse_list l = {0};
 *
 *     sse_list_add(&l, events, out);   any number of times, whole events each time
 *     sse_list_end(&l, out);           only where the answer is complete
 *
 * Each event's data is one element. An answer that breaks off has no closing bracket, so nobody
 * takes it for a whole one.
 */
#ifndef HOLDFAST_PROVIDERS_SSE_LIST_H
#define HOLDFAST_PROVIDERS_SSE_LIST_H

#include <stdbool.h>

#include "proxy/base/strbuf.h"

struct sse_list {
    bool begun; /* the opening bracket was written */
};

void sse_list_add(struct sse_list *l, struct span events, struct strbuf *out);
void sse_list_end(struct sse_list *l, struct strbuf *out);

#endif
