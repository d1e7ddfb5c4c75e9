/* sim.h - a small world for the decision core, driven by a seed.
 *
 * One seed is one world: a configuration, providers with their habits and faults, clients that try
 * again as SDKs do, and a clock that is a number. The world drives the very code of the program
 * (failover, target and the policies below it) and carries out its orders as the exchange would.
 * After every step the promises of the core are checked. The same seed gives the same world, event
 * for event.
 *
 *   world.c   draws a world from its seed and runs it to its end
 *   call.c    the providers: what becomes of one call
 *   drive.c   one request: events into the core, its orders carried out, the client's side
 *   check.c   what must hold after every step, and at the end
 *   main.c    many seeds, one seed with its trace, what was seen in all
 */
#ifndef HOLDFAST_TESTS_SIM_H
#define HOLDFAST_TESTS_SIM_H

#include "config/config.h"
#include "proxy/base/arena.h"
#include "proxy/base/rng.h"
#include "proxy/failover.h"

#define SIM_TARGETS   6
#define SIM_PROVIDERS 4
#define SIM_KEYS      3
#define SIM_ROUTES    3
#define SIM_EPISODES  12
#define SIM_REQUESTS                                                                               \
    1200 /* of one seed, with what clients try again and the last light traffic                    \
          */
#define SIM_BREAKERS (SIM_TARGETS + SIM_PROVIDERS + 1)

#define SIM_T0       1000000 /* when the world begins */
#define SIM_LATE_MS  20      /* a driver's timer comes this late at most */
#define SIM_GRACE_MS 250     /* of invariant I6 */
#define SIM_HEAL_MS  30000   /* of light traffic close every breaker */
#define SIM_NEVER    UINT64_MAX

/* ---- faults ----------------------------------------------------------------------------------
 */

enum fault_stage { AT_CONNECT, AT_ANSWER, AT_TOKEN, OF_PACE, OF_ROOM, OF_ALLOWANCE, OF_CLIENT };
enum fault_scope { ON_ENDPOINT, ON_REMOTE, ON_TARGET, ON_KEY, ON_ALL };

/* clang-format off */
/*    name           stage         scope        silent  failures, one of them at random */
#define FAULTS(X)                                                                                   \
    X(DOWN,          AT_CONNECT,   ON_ENDPOINT, false, REFUSED)                                     \
    X(FLAPPING,      AT_CONNECT,   ON_ENDPOINT, false, REFUSED)                                     \
    X(NO_NAME,       AT_CONNECT,   ON_ENDPOINT, false, DNS)                                         \
    X(NO_TCP,        AT_CONNECT,   ON_ENDPOINT, true,  CONNECT_TIMEOUT)                             \
    X(NO_TLS,        AT_CONNECT,   ON_ENDPOINT, true,  TLS_FAILED)                                  \
    X(BAD_CERT,      AT_CONNECT,   ON_ENDPOINT, false, TLS_FAILED)                                  \
    X(NO_EGRESS,     AT_CONNECT,   ON_REMOTE,   false, EGRESS_PROXY)                                \
    X(NET_LOST,      AT_CONNECT,   ON_REMOTE,   false, DNS, REFUSED)                                \
    X(NET_HANGS,     AT_CONNECT,   ON_REMOTE,   true,  CONNECT_TIMEOUT)                             \
    X(NO_FILES,      AT_CONNECT,   ON_ALL,      false, LOCAL)                                       \
    X(RESETS,        AT_ANSWER,    ON_ENDPOINT, false, RESET, PROTOCOL)                             \
    X(GATEWAY,       AT_ANSWER,    ON_ENDPOINT, false, BAD_GATEWAY, HTML_PAGE, BAD_ENCODING)        \
    X(ERRORS,        AT_ANSWER,    ON_TARGET,   false, SERVER_ERROR)                                \
    X(OVERLOAD,      AT_ANSWER,    ON_TARGET,   false, OVERLOADED)                                  \
    X(HANGS,         AT_ANSWER,    ON_TARGET,   true,  FIRST_TOKEN)                                 \
    X(MANGLED,       AT_ANSWER,    ON_TARGET,   false, MALFORMED, EMPTY, TRUNCATED, ANSWER_TOO_BIG, REQUEST_TIMEOUT) \
    X(MODEL_LOST,    AT_ANSWER,    ON_TARGET,   false, MODEL_GONE)                                  \
    X(MISSET,        AT_ANSWER,    ON_TARGET,   false, REDIRECT, NOT_IMPLEMENTED)                   \
    X(BAD_KEY,       AT_ANSWER,    ON_KEY,      false, AUTH)                                        \
    X(NO_ENTRY,      AT_ANSWER,    ON_KEY,      false, FORBIDDEN)                                   \
    X(NO_CREDIT,     AT_ANSWER,    ON_KEY,      false, QUOTA)                                       \
    X(RATE,          AT_ANSWER,    ON_KEY,      false, RATE_LIMITED)                                \
    X(CALLERS_FAULT, AT_ANSWER,    ON_ALL,      false, BAD_REQUEST, CONTEXT_LENGTH, POLICY, TOO_LARGE, CLIENT_ERROR, UNSUPPORTED, CONFLICT) \
    X(CUT,           AT_TOKEN,     ON_TARGET,   false, TRUNCATED, RESET, MALFORMED, PROTOCOL)       \
    X(STALL,         AT_TOKEN,     ON_TARGET,   true,  IDLE)                                        \
    X(CRAWL,         OF_PACE,      ON_TARGET,   false, FAILURE_NONE)                                \
    X(TIGHT,         OF_ROOM,      ON_TARGET,   false, RATE_LIMITED, OVERLOADED)                    \
    X(NOTHING_LEFT,  OF_ALLOWANCE, ON_KEY,      false, FAILURE_NONE)                                \
    X(CLIENTS_LEAVE, OF_CLIENT,    ON_ALL,      false, CLIENT_GONE)                                 \
    X(PROGRAM_ENDS,  OF_CLIENT,    ON_ALL,      false, STOPPING)
/* clang-format on */

#define FAULT_ENUM(name, ...) FAULT_##name,
enum fault { FAULTS(FAULT_ENUM) FAULT_KINDS };
#undef FAULT_ENUM

struct fault_row {
    const char *name;
    enum fault_stage stage;
    enum fault_scope scope;
    bool silent;              /* nothing comes: one of the core's timers has to end it */
    enum failure failures[8]; /* up to the first FAILURE_NONE */
};
extern const struct fault_row fault_rows[FAULT_KINDS];

struct episode {
    enum fault kind;
    unsigned provider, target, key; /* as far as its scope needs them */
    uint64_t from_ms, to_ms;
    unsigned percent; /* of the calls */
    unsigned room;    /* TIGHT: calls at once */
    bool named;       /* the provider names a time to come again */
};

/* ---- what was seen ---------------------------------------------------------------------------
 */

#define SIGHTS(X)                                                                                  \
    X(REQUESTS, "requests")                                                                        \
    X(RETRIED, "requests that a client made again")                                                \
    X(STEPS, "steps of the core")                                                                  \
    X(CALLS, "calls")                                                                              \
    X(FINISHED, "answers")                                                                         \
    X(BROKEN, "answers broken off")                                                                \
    X(REFUSED, "refusals")                                                                         \
    X(VANISHED, "clients gone")                                                                    \
    X(HEARTBEATS, "heartbeats")                                                                    \
    X(SAVED, "answers after a failure")                                                            \
    X(SAME_AGAIN, "same target again")                                                             \
    X(OTHER_KEY, "same target with another key")                                                   \
    X(WAITED_OUT, "waits for the same target")                                                     \
    X(HEDGES, "hedges")                                                                            \
    X(HEDGES_WON, "hedges won")                                                                    \
    X(HEDGES_LOST, "hedges lost")                                                                  \
    X(PROBE_HEDGES, "probes and trials hedged")                                                    \
    X(MOVED_ON, "moved on from a silent target")                                                   \
    X(QUEUED, "requests that waited for a place")                                                  \
    X(QUEUE_SERVED, "... and got one")                                                             \
    X(QUEUE_FULL, "... or did not")                                                                \
    X(OPENED_ENDPOINT, "breaker openings of an endpoint")                                          \
    X(OPENED_MODEL, "... of a model")                                                              \
    X(OPENED_PATH, "... of the path")                                                              \
    X(CLOSED, "breaker closings")                                                                  \
    X(REOPENED, "failed probes")                                                                   \
    X(LAST_RESORTS, "last resorts past a rest")                                                    \
    X(FORCED, "... past an open breaker")                                                          \
    X(TRIALS, "trials of slow targets")                                                            \
    X(SPENT, "spent allowances")                                                                   \
    X(CAPPED, "requests with a limited target")                                                    \
    X(UNFIT, "targets that do not fit")                                                            \
    X(MENDED, "requests mended for the same target")                                               \
    X(HEALED, "breakers closed by light traffic")                                                  \
    X(CARRIED_PREFILL, "answers carried on inside the text")                                       \
    X(CARRIED_TURN, "... behind a turn")                                                           \
    X(CARRIED_ALIGN, "... by the same request")                                                    \
    X(CARRIED_AGAIN, "... more than once")                                                         \
    X(CARRIED_HOME, "... by who broke them")                                                       \
    X(CARRIED_TO_END, "answers carried on and complete")                                           \
    X(OTHER_WAY, "targets asked in another way at once")                                           \
    X(UNMENDED, "answers broken off in spite of it")                                               \
    X(HELD_LOST, "failures of held output")                                                        \
    X(HELD_WHOLE, "answers held to their end")                                                     \
    X(WINDOWS, "windows that ended by themselves")                                                 \
    X(CALLS_LOST, "tool calls cut off that no client saw")

#define SIGHT_ENUM(name, text) SEEN_##name,
enum sight { SIGHTS(SIGHT_ENUM) SIGHT_KINDS };
#undef SIGHT_ENUM

struct sights {
    uint64_t n[SIGHT_KINDS];
    uint64_t outcomes[FAILURE_KINDS]; /* of calls and of targets passed over */
    uint64_t faults[FAULT_KINDS];     /* calls that met it */
    uint64_t simulated_ms;
};

/* ---- the world -------------------------------------------------------------------------------
 */

/* One call as its provider sees it. */
struct call {
    int try; /* of the request's core */
    struct target *target;
    unsigned key;
    bool live, away;
    bool connected, stopped, whole; /* request there; finish reasons told; everything sent */
    uint64_t started_ms, tcp_up_ms, said_ms;
    unsigned tokens, sent;   /* pieces of its answer; those that it has written */
    unsigned given;          /* ... and that the client has, or had before */
    unsigned call_at;        /* the piece that begins a tool call; tokens: none does */
    bool calling;            /* the call is held back until it is complete */
    bool carries, fits;      /* it carries an answer on, and what it writes may go out */
    enum seam_way way;       /* ... in this way ... */
    unsigned from, unsure;   /* ... from this piece on; what it writes before that is certain */
    bool told;               /* the core knows of output ... */
    enum failover_hold hold; /* ... and when it may go out ... */
    uint64_t window_ms;      /* HOLD_WINDOW: at the latest */
    unsigned pieces;         /* ... and how many of them it has been told */
    enum failure reported;   /* what the driver told the core of its end; FAILURE_KINDS: nothing */
    breaker_pass passes[3];  /* of model, endpoint, path, as they were when it began */
};

/* How a request ended for its client. */
enum ending { NOT_YET, FINISHED, BROKEN, REFUSED_ALL, LEFT };

struct request {
    struct failover f;
    unsigned id, route, user, retry; /* retry: how many of this user's came before */
    bool light;                      /* of the traffic after all faults */
    enum pace_kind kind;
    struct call calls[FAILOVER_MAX_TRIES];
    unsigned n_calls;
    uint64_t tick_ms; /* when the pending tick comes; SIM_NEVER: none pending */
    uint64_t began_ms;
    /* what the client sees */
    enum ending ending;
    int owner;       /* the call whose answer it gets, -1 */
    unsigned owners; /* how many there were */
    unsigned tokens; /* pieces of the answer that it has */
    unsigned ways;   /* in which this request's answers can be carried on */
    bool tools;      /* they may have tool calls ... */
    bool has_call;   /* ... and one has come */
    bool opened, waiting, wanted;
    uint64_t told_ms;
};

struct user {
    unsigned route;
    enum pace_kind kind;
    uint64_t patience_ms; /* leaves and tries again; SIM_NEVER: waits for ever */
};

enum happening { ARRIVAL, TICK, CONNECT, ANSWER, PROGRESS, TOKEN, END, FAIL, LEAVE, STOP };

struct event {
    uint64_t at_ms, order; /* order: of those at the same time, the first made is the first */
    enum happening kind;
    unsigned request, call; /* of an ARRIVAL: the user, and how often it has asked before */
    uint64_t at_due;        /* TICK: what it was set for */
    enum failure failure;
    uint64_t retry_after_ms;
    bool mended;
    bool no_prefill; /* it says that it takes no assistant's message at the end */
};

/* The habits of a target, and what its provider has counted. */
struct habits {
    uint64_t rtt_ms, first_ms, gap_ms;
    unsigned tokens;
    uint64_t window;
    unsigned ways, refuses; /* of carrying on: in which it can be asked, and does not go on */
    unsigned strays;        /* percent of its continuations that do not fit */
    struct failover_timers timers;
    unsigned live[SIM_KEYS], live_away[SIM_KEYS];
    unsigned long calls, failed;
    unsigned outcomes[FAILURE_KINDS];
    uint64_t not_before_ms[SIM_KEYS]; /* the provider has named a time to come again */
    double earned, spent; /* of the retry budget: requests that began here; what calls cost */
};

/* What of a breaker the checks compare, with what they have counted themselves. */
struct watched {
    struct breaker *breaker;
    unsigned probes_beyond; /* last resorts of this epoch */
};

/* Of the hedges' share. */
struct second {
    uint64_t second; /* since time 0 */
    unsigned requests, wanted, hedges;
};

enum sim_commit { COMMIT_FIRST, COMMIT_WINDOW, COMMIT_FULL };

struct sim {
    uint64_t seed, now;
    bool trace;
    struct rng rng;
    uint64_t hash; /* of everything that happened */
    struct sights *sights;

    char text[4096];
    struct config *config;
    struct target_set *set;
    struct arena arena;
    struct breaker_config breaker;
    double budget_ratio, budget_capacity, hedge_ratio;
    unsigned hedge_floor;
    struct {
        struct failover_policy policy;
        enum sim_commit commit;
        unsigned window;                /* pieces that are held */
        unsigned n, tiers[SIM_TARGETS]; /* by candidate */
        struct target *targets[SIM_TARGETS];
    } routes[SIM_ROUTES];
    unsigned n_routes, n_targets, n_users;
    struct habits habits[SIM_TARGETS];
    struct user users[SIM_REQUESTS];

    struct episode episodes[SIM_EPISODES];
    unsigned n_episodes;
    uint64_t calm_ms; /* no faults from here on */

    struct request *requests;
    unsigned n_requests, n_live;
    struct event *heap;
    size_t n_events, max_events;
    uint64_t orders; /* the next event's order */

    struct watched watched[SIM_BREAKERS];
    unsigned n_watched;
    struct breaker before[SIM_BREAKERS]; /* as they were before the step */
    struct second seconds[HEDGE_WINDOW_S];
    unsigned waiting[SIM_ROUTES]; /* in the routes' queues */
};

/* world.c */
void sim_run(struct sim *s); /* seed, trace and sights are set; the rest is zero */
void sim_release(struct sim *s);
bool sim_chance(struct sim *s, unsigned percent);
uint64_t sim_draw(struct sim *s, uint64_t low, uint64_t high);
void sim_push(struct sim *s, struct event e);
void sim_saw(struct sim *s, enum sight what);
const struct episode *sim_fault(struct sim *s, enum fault_stage stage, const struct target *t,
                                unsigned key); /* one that hits this call now, or NULL */
bool sim_hits(const struct sim *s, const struct episode *e, const struct target *t, unsigned key);
/* While our own network is lost: when it is back. 0: it is there. */
uint64_t sim_net_back_ms(const struct sim *s, const struct target *t);
void sim_trace(struct sim *s, const struct request *r, const char *fmt, ...) PRINTF_LIKE(3, 4);
void sim_mix(struct sim *s, uint64_t v); /* into the hash */

/* call.c */
void call_start(struct sim *s, struct request *r, struct call *c);
void call_happen(struct sim *s, struct request *r, const struct event *e);

/* drive.c */
void request_begin(struct sim *s, unsigned user, unsigned retry, int only_target);
void request_tick(struct sim *s, struct request *r, const struct event *e);
void request_step(struct sim *s, struct request *r, const struct failover_event *ev);
void request_output(struct sim *s, struct request *r,
                    struct call *c);            /* a piece came, or is free */
unsigned request_ways(const struct request *r); /* in which its answer can be carried on now */
unsigned call_first(const struct call *c);      /* the number of its first piece in the answer */
unsigned call_free(const struct call *c);       /* its pieces that are not held back */
struct call *request_call(struct request *r, int try);

/* check.c */
void check_world(struct sim *s); /* once, when it has been made */
void check_before(struct sim *s);
/* `ev`: NULL when the request has only just begun. */
void check_step(struct sim *s, struct request *r, const struct failover_event *ev,
                const struct failover_orders *o, const int live_before[2]);
void check_end(struct sim *s);
_Noreturn void sim_fail(struct sim *s, const struct request *r, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#define HOLDS(s, r, condition)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            sim_fail((s), (r), "%s (%s:%d)", #condition, __FILE__, __LINE__);                      \
    } while (0)

#endif
