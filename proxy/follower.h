/* follower.h - gives a client an answer that is kept: what is there at once, the rest as it comes.
 *
 * The answer may be recorded by another worker's thread. Its news wake this worker's loop, which
 * then looks after its followers; a burst of news is one wake.
 */
#ifndef HOLDFAST_PROXY_FOLLOWER_H
#define HOLDFAST_PROXY_FOLLOWER_H

#include <stdatomic.h>

#include "proxy/base/strbuf.h"
#include "proxy/replay.h"
#include "proxy/wire/client.h"

struct follower;

/* The followers of one worker. */
struct follower_set {
    struct loop *loop;
    atomic_bool news;
    struct follower *first;
};

void follower_set_init(struct follower_set *s, struct loop *l);

/* The loop was woken: calls on_news of each follower where there is news at all. */
void follower_set_look(struct follower_set *s);

/* Embedded in the exchange that follows. */
struct follower {
    struct replay_reader reader;
    struct follower_set *set;
    struct follower *next, *prev;
    void (*on_news)(struct follower *self); /* may stop it */
    bool opened;                            /* a stream's head went to the client */
    bool over;                              /* there is nothing more to wait for */
    enum replay_state end;                  /* ... and this is how it ended */
    struct strbuf whole;                    /* an answer that is no stream */
    uint64_t bytes;                         /* of the answer, so far */
};

/* Gives the reader that is to be attached to an answer; follower_start comes once it is. */
struct replay_reader *follower_init(struct follower *f, struct follower_set *s,
                                    void (*on_news)(struct follower *self));
void follower_start(struct follower *f, size_t max_answer);
void follower_stop(struct follower *f); /* no news any more */

/* Passes on what there is and sets `over` where that was the last. `fields`: header lines that go
 * before the answer's own. */
void follower_pump(struct follower *f, struct client *c, struct span fields);

/* Once it is over: is there an answer to end? Else nothing of it was sent, and nothing can be. */
bool follower_has_answer(struct follower *f);
unsigned follower_status(struct follower *f);
enum failure follower_outcome(struct follower *f);

/* Sends the end that the answer has. The client is let go. */
void follower_finish(struct follower *f, struct client *c, struct span fields);

#endif
