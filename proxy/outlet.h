/* outlet.h - where the bytes of an exchange's answer go.
 *
 * Everything that a client gets of an answer passes here: to its connection, and where the answer
 * is kept for clients who come back (replay.h), to its record as well. The exchange does not care
 * which of the two there are. Where nobody takes what is written, nothing happens.
 */
#ifndef HOLDFAST_PROXY_OUTLET_H
#define HOLDFAST_PROXY_OUTLET_H

#include "proxy/event_ids.h"
#include "proxy/ops/payload.h"
#include "proxy/replay.h"
#include "proxy/wire/client.h"

struct outlet {
    struct client *client;      /* NULL once it is answered or gone */
    struct replay_answer *kept; /* NULL: not kept, or its record has ended */
    struct event_ids ids;       /* of a stream that can be taken up again; else stream is empty */
    struct loop *loop;          /* for the time; only where it is kept */
    struct payload *shown;      /* in the log */
};

/* Does anybody take what is written? */
bool outlet_taken(const struct outlet *o);

/* The first line of `fields` is this request's id: whoever comes back has another one, so it is not
 * recorded. */
void outlet_answer(struct outlet *o, unsigned status, struct span fields, struct span body,
                   enum failure outcome);
void outlet_start(struct outlet *o, unsigned status, struct span fields);
void outlet_write(struct outlet *o, struct span bytes);
void outlet_flush(struct outlet *o);
void outlet_end(struct outlet *o);
void outlet_abort(struct outlet *o, enum failure outcome);

/* Ends the record of an answer that nobody will ever have. */
void outlet_abandon(struct outlet *o);

/* More waits for a slow client than should: the source has to pause until it is drained. */
bool outlet_full(const struct outlet *o);

#endif
