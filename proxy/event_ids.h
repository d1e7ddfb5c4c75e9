/* event_ids.h - numbers the events of a stream, so that a client can say which one it saw last.
 *
 * Pure: the bytes of a stream go in, the same bytes come out with a line "id: STREAM-NUMBER" in
 * every event, from 1 on. Only two things are taken away: ids of the provider's own, which would
 * take ours' place, and the empty line behind comments that stand alone: once there is an id,
 * clients (the OpenAI SDK among them) take such an empty line for an event without data, and fail
 * at it. A comment stands before the next event as well.
 */
#ifndef HOLDFAST_PROXY_EVENT_IDS_H
#define HOLDFAST_PROXY_EVENT_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/attributes.h"
#include "proxy/base/span.h"
#include "proxy/replay.h"

#define EVENT_IDS_STREAM (2 * REPLAY_ID_BYTES) /* characters of a stream's id */

/* Zero but for the stream's id before the first use. */
struct event_ids {
    char stream[EVENT_IDS_STREAM + 1];
    uint64_t ended; /* events that are complete */
    bool in_line;   /* the last byte was no line end */
    bool dropping;  /* ... of a line that is left out */
    bool in_event;  /* the current event has more than comments */
};

/* Receives what is to be sent, in order. `event_ends`: with these bytes one more is complete. */
typedef void event_ids_sink(void *ctx, struct span bytes, bool event_ends);

void event_ids_feed(struct event_ids *ids, struct span bytes, event_ids_sink *sink, void *ctx);

/* Reads what a client shows: "STREAM" and, in the second form, "STREAM-NUMBER" of that stream.
 * False where it is anything else. */
bool event_ids_read_stream(struct span text, uint8_t id[REPLAY_ID_BYTES]) MUST_CHECK;
bool event_ids_read_event(struct span text, struct span stream, uint64_t *number) MUST_CHECK;

#endif
