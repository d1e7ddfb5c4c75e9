/* outlet.h - where the bytes of an exchange's answer go.
 *
 * Everything that a client gets of an answer passes here, so that an answer can have more than one
 * taker without the exchange knowing. The functions are those of the client's connection (see
 * wire/client.h); where nobody takes what is written, they do nothing.
 */
#ifndef HOLDFAST_PROXY_OUTLET_H
#define HOLDFAST_PROXY_OUTLET_H

#include "proxy/wire/client.h"

struct outlet {
    struct client *client; /* NULL once it is answered or gone */
};

/* Does anybody take what is written? */
bool outlet_taken(const struct outlet *o);

void outlet_answer(struct outlet *o, unsigned status, struct span fields, struct span body);
void outlet_start(struct outlet *o, unsigned status, struct span fields);
void outlet_write(struct outlet *o, struct span bytes);
void outlet_flush(struct outlet *o);
void outlet_end(struct outlet *o);
void outlet_abort(struct outlet *o);

/* More waits for a slow client than should: the source has to pause until it is drained. */
bool outlet_full(const struct outlet *o);

#endif
