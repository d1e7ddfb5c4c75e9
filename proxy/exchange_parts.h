/* exchange_parts.h - what the files of the exchange share.
 *
 *   exchange.c         birth, death, and the client's connection
 *   exchange_head.c    a request's head and body come in
 *   exchange_serve.c   the whole request is in: what is it answered with?
 *   exchange_allow.c   what the client may ask for, and how much
 *   exchange_orders.c  the decision core's orders are carried out
 *   exchange_pass.c    requests that are handed on unread
 *   exchange_keep.c    answers that are kept for clients who come back
 *   exchange_answer.c  answers in one piece, and the line in the log
 *
 * Nobody else includes it: to the rest of the program an exchange is what exchange.h says.
 */
#ifndef HOLDFAST_PROXY_EXCHANGE_PARTS_H
#define HOLDFAST_PROXY_EXCHANGE_PARTS_H

#include "proxy/admit.h"
#include "proxy/attempt.h"
#include "proxy/exchange.h"
#include "proxy/outlet.h"
#include "proxy/ops/metrics.h"
#include "proxy/ops/payload.h"
#include "proxy/relay.h"
#include "providers/sse_list.h"

#define EXCHANGE_MAX_FIELDS 6144 /* header lines of an answer */

/* A request that is handed on unread. */
struct exchange_pass {
    struct span method, target;
    struct span fields; /* header lines that the provider gets as the client sent them */
    bool has_length;
    uint64_t length; /* of the body, as the head tells */
    bool asking;     /* it is on its way to the provider */
    bool open;       /* ... and more of its body is to come */
};

struct exchange {
    struct exchange_space *space;
    struct exchange *next, *prev;
    struct outlet out;
    struct follower follower; /* of an answer that is kept already */
    bool following;
    enum metrics_replay found_by;
    struct loop_timer alone; /* until an answer whose client has left is of no use any more */
    struct arena arena;
    struct loop_timer timer;
    struct loop_task release; /* gives it back once no callback can hold it */
    bool recorded, ended;

    char id[72];
    const char *address; /* the client's, for the log */
    unsigned counted;    /* tries that the metrics have already */
    struct admission admission;
    const struct dialect *dialect;
    struct span fields_for_all;  /* header lines that go on to every provider */
    struct span fields_for_same; /* ... to one that speaks the client's dialect */
    struct span query_for_same;  /* the same of the query, from "?" on */
    bool no_failover;
    bool retried;        /* the client's library tries this for the second time or later */
    bool tries_again;    /* the client asks again by itself when a connection breaks, and gives up
                            when it is told of an error inside an answer */
    struct span session; /* a header that names the conversation, or empty */
    uint64_t timeout_ms; /* 0: none asked for */
    enum seam_mode midstream;
    struct span route_wanted;
    struct span replay_key;            /* Idempotency-Key */
    struct span last_event;            /* Last-Event-ID */
    uint8_t caller[HASH_SHA256_BYTES]; /* whose the answer is; known only where it can be kept */

    struct quota_ticket ticket; /* of a client with limits */
    struct quota_view quota;    /* ... and how it stands */
    struct exchange_pass *pass; /* NULL: it is read here */
    struct strbuf body;
    uint64_t reserved; /* of the service's memory */
    struct chat_request request;
    struct conversation *conversation; /* the request in canonical form, once somebody needs it */
    struct err conversation_error;     /* ... or why it has none */
    struct span answer_id;             /* of an answer that we put into words ourselves */
    const struct config_route *route;

    struct failover failover;
    bool planned;             /* the failover core is at work */
    struct attempt *attempts; /* all of them, the newest first */
    struct attempt *deciding; /* the last one that ended or answered */
    struct attempt *owner;    /* the one whose answer goes to the client, once committed */
    struct chat_usage used;   /* by those that owned it before, as far as it is known or guessed */
    bool opened, committed;
    struct sse_list list;                    /* of a stream that the client wants as a JSON array */
    unsigned status;                         /* what the client got */
    uint64_t started_us, asked_us, first_us; /* head in, request whole, first output out */
    uint64_t answer_bytes;
    uint64_t request_bytes;
    struct payload asked, answered; /* for the log */
};

/* ---- exchange.c ---- */

/* A new one, live from now on. */
struct exchange *exchange_new(struct exchange_space *s, struct client *c);

/* The one terminal outcome, recorded once, before the last bytes go out. `label`: a failure's, or
 * the code of a refusal. */
void exchange_record(struct exchange *x, enum failure outcome, const char *label);

/* Gives back everything it holds; only once it is recorded. */
void exchange_end(struct exchange *x);

/* What the request needed while there could be another target: none is asked any more. */
void exchange_forget_body(struct exchange *x);

/* ---- exchange_answer.c ---- */

/* Writes its line in the log. */
void exchange_log(struct exchange *x, const char *outcome);

/* Writes what the log is to show of its bodies. */
void exchange_log_payloads(struct exchange *x);

/* Appends the header line with its id. */
void exchange_add_id(const struct exchange *x, struct strbuf *fields);

/* An error as this client is to get it. */
struct chat_error exchange_for_client(const struct exchange *x, const struct chat_error *error);

/* Answers in one piece and ends it. */
void exchange_answer(struct exchange *x, unsigned status, struct strbuf *fields, struct span body,
                     enum failure outcome, const char *label);

/* Answers with an error of our own making: no target was asked. */
void exchange_refuse(struct exchange *x, const struct chat_error *error);

/* The same in a few words; `param`: the field or header that is at fault, or "". */
void exchange_refuse_saying(struct exchange *x, unsigned status, const char *code,
                            const char *param, const char *text);

/* A good answer of our own, which is JSON. */
void exchange_answer_json(struct exchange *x, unsigned status, struct span body);

/* ---- exchange_head.c ---- */

/* The client's id where it is harmless, else a new one. */
void exchange_set_id(struct exchange *x, struct span wanted);

/* Header lines of the client's that a provider may see, of the fields that are named. */
struct span exchange_copy_fields(struct exchange *x, const struct http1_head *h,
                                 const char *const *names);

/* Takes n more bytes of the service's memory, until its end. False where it was refused. */
bool exchange_reserve(struct exchange *x, uint64_t n);

/* What struct client_handler asks for while a request comes in. */
void *exchange_begin(void *ctx, struct client *c, const struct http1_head *h);

bool exchange_body(void *exchange, struct span bytes);

/* ---- exchange_allow.c ---- */

/* May this client ask for this model, or with p == NULL for what is handed on unread? False where
 * the request was refused. */
bool exchange_allow(struct exchange *x, struct span model);

/* The same without refusing. */
bool exchange_may_use(const struct exchange *x, struct span model);

/* Its limits; what the request has taken of them is given back by exchange_settle. */
bool exchange_within_limits(struct exchange *x, uint64_t bytes);
void exchange_settle(struct exchange *x);

/* ---- exchange_orders.c ---- */

/* An event for the decision core, and what it orders. */
void exchange_step(struct exchange *x, const struct failover_event *ev);

/* Carries the core's orders out, in their order; it may be over after that. */
void exchange_carry_out(struct exchange *x, const struct failover_orders *orders);

/* The tokens that whoever owns the client has written: what it told of them, if that can be all;
 * Anthropic begins a stream with a count of nothing yet. */
uint64_t exchange_written(const struct exchange *x);

void exchange_timer_due(struct loop_timer *t); /* of x->timer */

/* ---- exchange_keep.c ---- */

/* Whatever a client may come back for is recorded. False where the request is over by that. */
bool exchange_keep(struct exchange *x);

/* GET /v1/streams/ID */
void exchange_take_up_again(struct exchange *x);

/* There is more of the kept answer that it reads. */
void exchange_follow(struct follower *f);

/* The client has left, and may come back: the answer goes on. False where it may not. */
bool exchange_go_on_alone(struct exchange *x);

/* Nobody will have the answer. */
void exchange_abandon(struct exchange *x);

void exchange_alone_due(struct loop_timer *t); /* of x->alone */

/* ---- exchange_pass.c ---- */

/* The head is in. False where it was refused. */
bool exchange_pass_begin(struct exchange *x, const struct http1_head *h);

/* More of the body; and all of it is in. False where it is answered. */
bool exchange_pass_body(struct exchange *x, struct span bytes);
void exchange_pass_ready(struct exchange *x);

/* What the decision core orders. */
struct attempt *exchange_pass_try(struct exchange *x, int try, const struct attempt_events *events);
void exchange_pass_commit(struct exchange *x, struct attempt *a);
void exchange_pass_finish(struct exchange *x, struct attempt *a);

/* The provider has taken all that was there of the request. */
void exchange_pass_room(struct exchange *x, struct attempt *a);

/* ---- exchange_serve.c ---- */

/* What names its conversation; p == NULL where nothing does. */
struct span exchange_session(const struct exchange *x);

/* The list of models, or one of them. */
void exchange_serve_models(struct exchange *x);

/* A model's answer: from here on the decision core is at work. */
void exchange_serve_chat(struct exchange *x);

#endif
