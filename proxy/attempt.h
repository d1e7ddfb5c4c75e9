/* attempt.h - one try at one target: from the client's original request to a judged answer.
 *
 * Writes the provider's request, reads its answer, and tells the decision core what happened. Until
 * it owns the client, what came is held here; when it is told to own (the core's COMMIT), the held
 * bytes go out and the rest follows as it comes, always up to the end of a whole event. Bytes of
 * the same dialect are passed on as they are.
 *
 * A tool call may be held back until all calls of the answer are complete, also when the attempt
 * owns the client: a call that was cut off is then as if it had never begun.
 *
 * An attempt can also carry on an answer that another one began. It puts its answer into the
 * client's words itself, whatever its dialect, and holds them until they fit (stitch.h).
 *
 * A request that is handed on unread has an attempt of another kind (attempt_raw.c): what comes is
 * judged by its status and by how it ends, and goes out as it is.
 */
#ifndef HOLDFAST_PROXY_ATTEMPT_H
#define HOLDFAST_PROXY_ATTEMPT_H

#include "providers/dialect.h"
#include "proxy/failover.h"
#include "proxy/ops/payload.h"
#include "proxy/service.h"
#include "proxy/stitch.h"
#include "proxy/wire/upstream.h"

/* How the bytes of an answer are read. */
enum attempt_mode {
    MODE_UNSEEN, /* nothing came yet */
    MODE_STREAM, /* server-sent events */
    MODE_WHOLE,  /* one JSON text, held until it is complete */
    MODE_ERROR,  /* the body of an error answer */
    MODE_RAW,    /* bytes that are not read here */
};

struct attempt;

/* When an answer's beginning may go to the client. */
enum attempt_commit {
    COMMIT_FIRST,  /* its first output */
    COMMIT_WINDOW, /* some output, or the first one a while ago */
    COMMIT_FULL,   /* all of it */
};

/* An answer to be carried on. */
struct attempt_carry {
    enum seam_way way;
    const struct answer_writer *writer; /* of whoever wrote the client's last bytes */
    struct chat_usage used;             /* of all who wrote some */
};

/* What an attempt is to ask, and in which words the client wants the answer. */
struct attempt_brief {
    int number; /* which of the exchange's tries it is: its events carry it */
    const struct dialect *client;
    const struct chat_request *request;
    const struct conversation *conversation; /* the canonical form; NULL while nobody needed it */
    const char *conversation_error;          /* ... or why it cannot be had */
    struct span id;                          /* of an answer that we write ourselves */
    struct span fields_for_all;              /* header lines of the client's that go along ... */
    struct span fields_for_same;             /* ... and where the provider speaks its dialect */
    struct span query_for_same;              /* the same of the query, from "?" on */
    uint32_t without; /* parameters that this target refused of this request a moment ago */
    enum attempt_commit commit;
    unsigned window;        /* pieces of output that COMMIT_WINDOW holds */
    bool atomic;            /* tool calls are held back until they are complete */
    struct seam_text *said; /* to be told of all that goes out; NULL: nobody will need it */
    const struct attempt_carry *carry; /* NULL: it begins an answer */
    bool own_limits;       /* the client has rate limits here: the provider's are not its */
    const char *unsayable; /* the request cannot even be put for another target: why, or NULL */
};

/* A request that is handed on unread. */
struct attempt_raw {
    int number;
    struct span method;
    struct span path;   /* and query, for this target (door_path) */
    struct span fields; /* header lines of the client's that go along */
    struct span body;   /* as far as it is there; good as long as the exchange */
    bool open;          /* more of it follows, with attempt_ask_more */
    bool has_length;
    uint64_t length; /* of all of the body, where that is known; else it goes out in chunks */
    bool once;       /* it must not go out twice, not even where nothing came back */
    bool upgrade;    /* it asks for a tunnel; `fields` say so */
    bool own_limits; /* as in the other brief */
};

/* Upward calls; wired by the exchange, which is a->ctx. Two attempts of it can be live at once. */
struct attempt_events {
    void (*happened)(struct attempt *a, const struct failover_event *ev);
    void (*write)(struct attempt *a, struct span bytes); /* once it owns; gathered until flush */
    void (*flush)(struct attempt *a);                    /* ... sends them */
    void (*progress)(struct attempt *a);                 /* the same: something of it came */
    void (*room)(struct attempt *a);                     /* of an open request: more may follow */
};

struct attempt {
    struct attempt *next; /* of the same exchange, which keeps the list */
    struct service *service;
    struct loop *loop;
    struct arena *arena; /* of the exchange */
    const struct attempt_events *events;
    void *ctx;
    int number;                    /* see the brief */
    const struct dialect *dialect; /* the provider's; NULL: it answers inside the process */
    const struct dialect *client;
    bool translating; /* the two differ */
    bool rewrites;    /* what goes out are our words, and not the provider's bytes */
    const struct chat_request *request;
    struct target *target;
    bool own_limits; /* see the brief */
    bool raw;        /* the request was handed on unread ... */
    bool tunnel;     /* ... and got a tunnel */
    bool chunked;    /* ... its body goes out in chunks */
    bool gathers;    /* its answer is short as a rule: worth having whole before it goes out */

    struct upstream_call call;
    struct dialect_request outgoing;
    struct loop_task task; /* the scripted provider's turn */
    enum attempt_mode mode;
    uint32_t without;        /* parameters that were left out */
    uint32_t refused;        /* ... that the next try of this target has to leave out */
    bool over, owns, ending; /* ending: the last marker came; only the transport's end is missing */
    bool gap;                /* an event of it could not be read and was left out */
    enum attempt_commit commit;
    unsigned window, pieces; /* of output: held at most, and seen */
    bool told;               /* the core knows that there is output ... */
    enum failover_hold hold; /* ... and when it may go out */
    bool atomic;
    bool held_back, gave_calls;          /* a tool call is being held back; that is over */
    struct strbuf calls;                 /* ... as the provider's bytes, where these go out */
    struct kept_event *kept, *last_kept; /* ... else as events that were not put into words yet */
    uint64_t kept_bytes;
    unsigned told_output; /* events of output that the reader has told of */
    struct seam_text *said;
    struct stitch *stitch; /* it carries an answer on; else NULL */
    unsigned status;
    bool event_stream;       /* the answer's content-type says so */
    bool html;               /* ... or that it is a page */
    uint64_t retry_after_ms; /* what the provider asks for in an error, or RETRY_AFTER_NONE */
    /* A good answer or a 429 said that an allowance of this key is used up for so long, or
     * RETRY_AFTER_NONE. With a 429 retry_after_ms goes before it. */
    uint64_t spent_ms;
    struct strbuf fields; /* header lines of the answer that the client may see */
    struct sse sse;
    struct chat_watch watch;     /* its error: what the provider said, or what the network did */
    struct answer_writer writer; /* of an answer that is put into words here */
    struct fold whole;           /* of one that comes in one piece */
    struct strbuf words;         /* the client's bytes of the current event */
    struct held_stop *stops;     /* finish reasons that may not be the last word yet */
    struct strbuf dropped;       /* paths of fields that the provider cannot be told */
    struct strbuf held;          /* whole events (or the whole answer) that nobody has seen */
    struct payload said_no;      /* for the log: the body of a provider's error */
};

/* Does the target speak another dialect than the client, so that the canonical form is needed? */
bool attempt_translates(const struct target *t, const struct dialect *client);

/* From the arena; starts at once. The events never come from within this call. */
struct attempt *attempt_start(struct service *s, struct upstream_pool *pool, struct loop *l,
                              struct arena *a, const struct attempt_brief *brief, struct target *t,
                              unsigned key, const struct attempt_events *events, void *ctx);

/* The same for a request that is handed on unread, of a provider of `dialect`. */
struct attempt *attempt_start_raw(struct service *s, struct upstream_pool *pool, struct loop *l,
                                  struct arena *a, const struct attempt_raw *brief,
                                  const struct dialect *dialect, struct target *t, unsigned key,
                                  const struct attempt_events *events, void *ctx);

/* More of its body, copied; and its end. */
void attempt_ask_more(struct attempt *a, struct span bytes);
void attempt_asked(struct attempt *a);

/* Appends what a complete stream still lacks at its end for the client; nothing where all came. */
void attempt_write_end(struct attempt *a, struct strbuf *out);

/* Ends it in any phase, closes its connection where that is in use, frees what it holds. */
void attempt_stop(struct attempt *a);

/* COMMIT: from now on it writes to the client. The held bytes are the caller's to send first. */
struct span attempt_own(struct attempt *a);
void attempt_held_sent(struct attempt *a);

#endif
