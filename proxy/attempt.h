/* attempt.h - one try at one target: from the client's original request to a judged answer.
 *
 * Writes the provider's request, reads its answer, and tells the decision core what happened. Until
 * it owns the client, what came is held here; when it is told to own (the core's COMMIT), the held
 * bytes go out and the rest follows as it comes, always up to the end of a whole event. Bytes of
 * the same dialect are passed on as they are.
 */
#ifndef HOLDFAST_PROXY_ATTEMPT_H
#define HOLDFAST_PROXY_ATTEMPT_H

#include "providers/dialect.h"
#include "proxy/failover.h"
#include "proxy/service.h"
#include "proxy/wire/upstream.h"

/* How the bytes of an answer are read. */
enum attempt_mode {
    MODE_UNSEEN, /* nothing came yet */
    MODE_STREAM, /* server-sent events */
    MODE_WHOLE,  /* one JSON text, held until it is complete */
    MODE_ERROR,  /* the body of an error answer */
};

/* Upward calls; wired by the exchange. */
struct attempt_events {
    void (*happened)(void *ctx, const struct failover_event *ev);
    void (*write)(void *ctx, struct span bytes); /* once it owns the client; gathered until flush */
    void (*flush)(void *ctx);                    /* ... sends them */
    void (*progress)(void *ctx);                 /* the same: something of the answer came */
};

struct attempt {
    struct service *service;
    struct loop *loop;
    struct arena *arena; /* of the exchange */
    const struct attempt_events *events;
    void *ctx;
    const struct dialect *dialect;
    const struct chat_request *request;
    struct target *target;

    struct upstream_call call;
    struct dialect_request outgoing;
    struct loop_task task; /* the scripted provider's turn */
    enum attempt_mode mode;
    bool over, owns, ending; /* ending: the last marker came; only the transport's end is missing */
    unsigned status;
    bool event_stream; /* the answer's content-type says so */
    bool html;         /* ... or that it is a page */
    uint64_t retry_after_ms;
    struct span retry_fields[3]; /* retry-after-ms, x-ms-retry-after-ms, retry-after */
    struct strbuf fields;        /* header lines of the answer that the client may see */
    struct sse sse;
    struct chat_watch watch;
    struct answer_writer writer; /* of an answer that is put into words here */
    struct strbuf held;          /* whole events (or the whole answer) that nobody has seen */
    struct chat_error error;     /* what the provider said, or what the network did */
};

/* From the arena; starts at once. `client_fields`: header lines of the client's that go along. The
 * events never come from within this call. */
struct attempt *attempt_start(struct service *s, struct upstream_pool *pool, struct loop *l,
                              struct arena *a, const struct chat_request *req, struct target *t,
                              unsigned key, struct span client_fields,
                              const struct attempt_events *events, void *ctx);

/* Ends it in any phase, closes its connection where that is in use, frees what it holds. */
void attempt_stop(struct attempt *a);

/* COMMIT: from now on it writes to the client. The held bytes are the caller's to send first. */
struct span attempt_own(struct attempt *a);
void attempt_held_sent(struct attempt *a);

#endif
