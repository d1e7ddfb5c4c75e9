/* replay.h - answers that are kept for clients who come back.
 *
 * An answer is recorded while it goes to its client, and can be read by others from any place on:
 * what is there at once, the rest as it comes. It is found in two ways: by a key (a retry with the
 * same Idempotency-Key, which must be the same request) and by the id of its stream. Who looks has
 * to be the client whose answer it is.
 *
 * Only answers that ended well are found afterwards, until their time is over or their room is
 * needed. Of an answer that is longer than what may be kept the last part stays: then it is found
 * by its id only, as whoever comes with a key needs all of it.
 *
 * All workers share one store, behind one lock. No I/O, no clock; readers of another thread are
 * woken by a callback.
 */
#ifndef HOLDFAST_PROXY_REPLAY_H
#define HOLDFAST_PROXY_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/attributes.h"
#include "proxy/base/hash.h"
#include "proxy/base/span.h"
#include "providers/failure.h"

#define REPLAY_ID_BYTES 16

struct replay_limits {
    uint64_t ttl_ms;       /* of an ended answer, and of a running one that nobody waits for */
    uint64_t answer_bytes; /* of one */
    uint64_t memory_bytes; /* of all together, with what they need themselves */
};

struct replay;        /* the store */
struct replay_answer; /* one of its answers, as its recorder holds it */

struct replay *replay_new(const struct replay_limits *limits);
void replay_limit(struct replay *r, const struct replay_limits *limits); /* from now on */
void replay_free(struct replay *r); /* nobody may record or read any more; NULL is fine */

/* Forgets what is over its time. Returns when the next one is, UINT64_MAX if there is none. */
uint64_t replay_sweep(struct replay *r, uint64_t now_ms);

/* What is kept at this moment. */
void replay_totals(struct replay *r, uint64_t *answers, uint64_t *bytes);

/* ---- reading ------------------------------------------------------------------------------------
 */

/* Embedded in whoever reads; `news` is the reader's, the rest is replay.c's business. */
struct replay_reader {
    /* There is more to read. Called from the recorder's thread with the store locked: it must not
     * call back. None comes after replay_leave. */
    void (*news)(struct replay_reader *self);
    struct replay_answer *answer;
    struct replay_reader *next;
    uint64_t at;
};

struct replay_head {
    unsigned status;
    bool whole;         /* not a stream: one text, to be sent once it is all there */
    struct span fields; /* complete header lines; good until replay_leave */
};

enum replay_state {
    REPLAY_WAIT,   /* nothing more yet: news will come */
    REPLAY_BYTES,  /* some were read */
    REPLAY_ENDED,  /* all was read, and it ended as it should */
    REPLAY_BROKEN, /* all was read, and it broke off */
    REPLAY_GAP,    /* the reader is so slow that the next bytes are not kept any more */
};

/* False until the answer has begun. */
bool replay_begun(struct replay_reader *reader, struct replay_head *out);

/* Reads what comes next, at most `size` bytes. */
enum replay_state replay_read(struct replay_reader *reader, char *out, size_t size, size_t *n);

/* How the answer has ended; only after it has. */
enum failure replay_outcome(struct replay_reader *reader);

void replay_leave(struct replay_reader *reader, uint64_t now_ms);

/* ---- finding ------------------------------------------------------------------------------------
 */

enum replay_claim {
    REPLAY_NEW,     /* nobody has asked this before: *out is the caller's to record */
    REPLAY_KNOWN,   /* the reader has it, from its start */
    REPLAY_OTHER,   /* the key was used with another request */
    REPLAY_NO_ROOM, /* new, but it cannot be kept */
};

/* `key` is a digest of who asks and of the key, `request` one of what is asked. */
enum replay_claim replay_claim(struct replay *r, const uint8_t key[HASH_SHA256_BYTES],
                               const uint8_t request[HASH_SHA256_BYTES], uint64_t now_ms,
                               struct replay_reader *reader, struct replay_answer **out);

enum replay_found {
    REPLAY_FOUND,
    REPLAY_GONE,    /* unknown, over its time, or without the bytes behind `seen` */
    REPLAY_NOT_HIS, /* it is another client's */
};

/* Attaches the reader behind the event number `seen`; 0: from the start. */
enum replay_found replay_find(struct replay *r, const uint8_t id[REPLAY_ID_BYTES],
                              const uint8_t owner[HASH_SHA256_BYTES], uint64_t seen,
                              uint64_t now_ms, struct replay_reader *reader);

/* ---- recording ----------------------------------------------------------------------------------
 */

/* A stream without a key, to be found by its id. NULL where there is no room. */
struct replay_answer *replay_open(struct replay *r, uint64_t now_ms);

/* Has it found by its id as well, which nobody may guess; before anything is written. */
void replay_identify(struct replay_answer *a, const uint8_t id[REPLAY_ID_BYTES],
                     const uint8_t owner[HASH_SHA256_BYTES]);

void replay_begin(struct replay_answer *a, const struct replay_head *head);

/* Appends. `event_ends`: with these bytes one more event is complete. False when nobody can have a
 * use for more: end it. */
bool replay_write(struct replay_answer *a, struct span bytes, bool event_ends) MUST_CHECK;
void replay_flush(struct replay_answer *a); /* tells the readers */

/* The recorder lets go of it. `well`: it is found from now on too, until its time is over. Else
 * those who read it already may read to where it ends. */
void replay_end(struct replay_answer *a, bool well, enum failure outcome, uint64_t now_ms);

/* The client it was made for has left. Until when it goes on without a reader is what replay_due
 * says: UINT64_MAX while somebody reads it, 0 when nobody can find it any more. */
void replay_left(struct replay_answer *a, uint64_t now_ms);
uint64_t replay_due(struct replay_answer *a);

#endif
