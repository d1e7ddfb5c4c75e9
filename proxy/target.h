/* target.h - what outlives a request: the health of every target, in its four scopes.
 *
 * A target is provider + model. Asking it gives a ticket: leave for one attempt, with the key to
 * use. Every ticket comes back through target_end, with the failure that ended the attempt; the
 * failure's row decides which scope it speaks of:
 *
 *   endpoint        host and port, shared by all models there     a breaker
 *   path            an outgoing proxy, shared by endpoints        a breaker
 *   model@endpoint  the target itself                             a breaker, its pace, a budget
 *   key@endpoint    a provider's key, or that key for one model   a rest, a concurrency limit
 *
 * Shared by all workers: one lock for the set, held for well under a microsecond, never over I/O.
 * The policies behind it (breaker, limiter, budget, pace, hedge, queue) know nothing of each other.
 */
#ifndef HOLDFAST_PROXY_TARGET_H
#define HOLDFAST_PROXY_TARGET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "proxy/breaker.h"
#include "proxy/budget.h"
#include "proxy/hedge.h"
#include "proxy/limiter.h"
#include "proxy/pace.h"
#include "proxy/queue.h"
#include "proxy/retry_after.h"
#include "providers/catalog.h"
#include "providers/failure.h"

#define TARGET_MAX_KEYS 32 /* of one provider: a mask of keys fits a uint32_t */

/* Until when a key (of a provider, or for one model) or a target is left alone. */
struct rest {
    uint64_t until_ms;
    uint64_t firm_ms;  /* the provider named this time: not even the last resort goes earlier */
    uint64_t set_ms;   /* when it was last made longer: who was asked later may end it */
    unsigned streak;   /* failures in a row */
    uint64_t since_ms; /* ... and when the first of them was */
    enum failure why;
};

/* Host and port: what providers with the same base URL have in common. */
struct endpoint {
    char *origin; /* "https://api.openai.com:443"; of a local type its provider's name */
    bool remote;  /* not on this machine: reached by the network */
    bool direct;  /* loopback or private: never through an outgoing proxy */
    bool proxied; /* an outgoing proxy stood in its way once */
    struct breaker breaker;
    unsigned unproven;    /* failures to connect that may be our own network's */
    uint64_t unproven_ms; /* the last of them */
};

struct provider {
    const struct config_provider *conf;
    const struct provider_type *type;
    const struct dialect *dialects[CATALOG_MAX_DIALECTS]; /* that it speaks, the first in doubt;
                                                             NULL: no more */
    struct endpoint *endpoint;
    size_t n_keys; /* 1 where no key is needed: an empty one */
    struct span keys[TARGET_MAX_KEYS];
    struct rest rests[TARGET_MAX_KEYS];
    struct target
        *passthrough; /* stands for all that is handed on to it unread; NULL: nothing is */
};

/* What it is asked in for a client of this dialect: that one where it speaks it, so that the
 * client's bytes pass. NULL: it answers inside the process, or has none of the client's sort. */
const struct dialect *provider_dialect(const struct provider *p, const struct dialect *client);

struct target_set;

struct target {
    struct target_set *set;
    unsigned index; /* in the set; names it in metrics */
    char *name;     /* "openai/gpt-4o", or "openai" where the client's model name is kept */
    struct provider *provider;
    struct span model; /* p == NULL: the client's own */
    bool passthrough;  /* no model: see its provider's */

    struct breaker breaker;
    struct pace pace;
    struct budget budget;
    struct rest rest;                   /* of the target itself */
    struct rest rests[TARGET_MAX_KEYS]; /* of a key for this model */
    struct limiter limiters[TARGET_MAX_KEYS];
    uint64_t spent_ms[TARGET_MAX_KEYS]; /* until when nothing is left of an allowance */
    unsigned streaming;                 /* attempts with output under way */
    uint64_t output_ms;                 /* the last first output of any attempt; 0: none yet */
    enum failure last_failure; /* the last that was not FAILURE_NONE, with its time and text */
    uint64_t last_failure_ms;
    char last_text[160];

    atomic_uint without;            /* parameters that it has refused, see providers/params.h */
    _Atomic uint64_t no_prefill_ms; /* when it last refused to go on with an assistant's message, in
                                       monotonic ms; 0: never */
    atomic_uint in_flight;
    atomic_ulong attempts, failures;
    atomic_ulong tokens_in, tokens_out;
};

/* Who is told that a breaker has changed; `name` of what it guards, the last failure as `why`. With
 * the set's lock held. */
struct target_news {
    void *ctx;
    void (*breaker)(void *ctx, const char *name, enum breaker_state is, enum failure why,
                    uint64_t now_ms); /* NULL: nobody */
};

#define TARGET_BREAKS   1024  /* remembered at once; a new one may take an old one's place */
#define TARGET_BREAK_MS 60000 /* how long */

/* A conversation whose answer a target broke off after its start: see target_broke. */
struct target_break {
    _Atomic uint64_t who, until_ms;
};

/* Every target of a configuration, each once, in the order of first mention; behind them one of
 * each provider for what is handed on unread. */
struct target_set {
    pthread_mutex_t lock; /* guards the health of all of it */
    struct endpoint *endpoints;
    size_t n_endpoints;
    struct breaker path; /* one is enough: the environment names one outgoing proxy */
    struct provider *providers;
    size_t n_providers;
    struct target *targets;
    size_t n_targets; /* that routes name */
    size_t n_all;     /* ... and behind them those for what is handed on unread */
    struct hedge hedge;
    struct target_news news; /* set before it is shared */
    struct target_break breaks[TARGET_BREAKS];
    struct queue *queues; /* one for each route */
    uint64_t
        *last_resorts_ms; /* the same: when a request last went against all refusals; 0: never */
};

struct target_set *target_set_new(const struct config *c, uint64_t seed); /* keeps views of *c */
/* Before anybody asks of `s`: takes over the health of all that is in `from` as well, by endpoint,
 * provider (with its base URL), key and model. Others may go on with `from`. */
void target_set_inherit(struct target_set *s, struct target_set *from, uint64_t now_ms);

void target_set_free(struct target_set *s);
struct target *target_set_find(struct target_set *s, size_t provider,
                               const char *model); /* model may be NULL */

/* ---- one attempt ---------------------------------------------------------------------------- */

/* What is asked for. */
struct target_wish {
    uint32_t keys_used; /* a mask: other keys than these */
    bool away;          /* the request is at home elsewhere: it is new load here */
    bool last_resort;   /* no other target of the request would do; see breaker_ask_last_resort */
    bool beside;        /* a hedge: only where all is well, there is room, and hedge.h grants it */
    bool granted;       /* ... which it need not, beside a probe */
    double cost;        /* it is one call more than there are requests: from the retry budget ... */
    struct target *payer; /* ... of this target, whose request it is; NULL: its own */
    enum pace_kind kind;
    size_t route; /* whose queue must be kept to */
    unsigned place;
    const struct queue_waiter *waiter; /* its own place there, or NULL */
};

struct ticket {
    breaker_pass model, endpoint, path;
    unsigned key; /* index into provider.keys */
    enum pace_kind kind;
    bool away;
    bool probe;  /* of a breaker, or of a target that was dead or slow a moment ago */
    bool trial;  /* the latter */
    bool output; /* there was some */
    uint64_t asked_ms;
};

/* May `t` be tried now? FAILURE_NONE with *out filled; or SKIPPED_OPEN, SKIPPED_REST
 * (or what it rests for, where that says more), SATURATED or SKIPPED_BUDGET with *wait_ms until it
 * may be (RETRY_AFTER_NONE: nobody knows). */
enum failure target_ask(struct target *t, const struct target_wish *wish, uint64_t now_ms,
                        struct ticket *out, uint64_t *wait_ms) MUST_CHECK;

/* The attempt has its first output. */
void target_output(struct target *t, struct ticket *k, uint64_t now_ms);

/* The attempt is over. status: the provider's, 0 where it answered nothing; retry_after_ms:
 * RETRY_AFTER_NONE where it named no time. */
void target_end(struct target *t, const struct ticket *k, enum failure f, unsigned status,
                uint64_t retry_after_ms, uint64_t now_ms);

/* A good answer says that nothing is left of an allowance for this key and model until then. Other
 * keys and targets go first; but it is no refusal, and as a rule the time is when all of the
 * allowance is back and not when one more request would do. */
void target_spent(struct target *t, const struct ticket *k, uint64_t wait_ms, uint64_t now_ms);

/* Keeps the text of the last failure for the status page. */
void target_note(struct target *t, const char *text);

/* ---- policy that the decision core asks for ---------------------------------------------------
 */

/* Should other targets be asked first, because this one was dead or slow a moment ago? */
bool target_behind(struct target *t, uint64_t now_ms);

/* Does it serve other requests well (less than a fifth of them failed lately, `last` left out), so
 * that another try of the same makes sense? */
bool target_heals(struct target *t, enum failure last, uint64_t now_ms);

/* Is there enough in its retry budget? */
bool target_affords(struct target *t, double cost, uint64_t now_ms);

/* Has nobody had output from it since the attempt began, or has its breaker opened meanwhile? */
bool target_silent(struct target *t, const struct ticket *k);

/* The target broke off an answer of this conversation when the client had a part of it, and nobody
 * could carry it on. The client will ask again, so for a while others are asked first: one broken
 * stream in a hundred is no reason to close a target for everybody, but the same request may well
 * break again where it broke. */
void target_note_break(struct target *t, uint64_t session, uint64_t now_ms);
bool target_broke(struct target *t, uint64_t session, uint64_t now_ms);

/* Did its model refuse, within a day, to go on with an assistant's message? */
bool target_no_prefill(const struct target *t, uint64_t now_ms);

/* A request begins, at this target. `earns`: it is no retry of the client's, and earns the target a
 * part of another call. */
void target_begin(struct target *t, bool earns, uint64_t now_ms);

/* A request has waited for its hedge time; once for each. */
void target_want_hedge(struct target *t, uint64_t now_ms);

/* How long a request of this kind waits at this target before another one starts beside it. */
uint64_t target_hedge_ms(struct target *t, enum pace_kind kind);

/* queue.h for a route of the set. */
bool target_queue_enter(struct target_set *s, size_t route, struct queue_waiter *w, uint32_t wants,
                        unsigned max, uint64_t now_ms) MUST_CHECK;
void target_queue_leave(struct target_set *s, size_t route, struct queue_waiter *w);

/* ---- for people -------------------------------------------------------------------------------
 */

/* How a target is at this moment, in all its scopes. */
struct target_view {
    enum breaker_state model, endpoint, path; /* path: closed where none is in its way */
    enum breaker_state worst;                 /* of the three */
    const char *closed_by;  /* the scope that keeps it from being asked, or NULL */
    enum failure rests_for; /* what all of its keys rest for, or FAILURE_NONE */
    uint64_t retry_ms;      /* until it may be asked; 0: now */
    bool may_be_asked;      /* now, or as one of the probes that are out */
    unsigned failures;      /* in a row, that count against it */
    unsigned limit;         /* requests at once of its keys together; 0: no limit */
    double retry_tokens;
    bool behind;
    struct target_times {
        uint64_t p50_ms, p95_ms; /* 0: there was none yet */
    } first_token, answer;       /* of streams; of whole answers */
    enum failure last_failure;
    uint64_t last_failure_age_ms;
    char last_text[160];
};
void target_look(struct target *t, uint64_t now_ms, struct target_view *out);

#endif
