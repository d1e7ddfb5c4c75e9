/* exchange.h - one client request from start to end.
 *
 *   wire/client --head--> admit ----------- refused ---------------> error answer
 *        |                  | body
 *        |                  v
 *        |               dialect reads it --> route --> failover (decides)
 *        |                                                 |      ^
 *        |                                          TRY    v      | events
 *        |                                              attempt --+-- dialect judges
 *        |                                                 |
 *        |                                    wire/upstream --> the provider
 *        v                                                 |
 *   the client <--- relay <----- COMMIT, FINISH, BREAK ----+
 *
 * An answer that a client may come back for is recorded on its way (outlet.h), and then goes on
 * without its client. Whoever comes back for it follows the record (follower.h): nobody is asked.
 *
 * The exchange carries out the decision core's orders and owns everything that lives as long as the
 * request: its arena, the request's body, its attempts. One access-log line is written when it
 * ends.
 */
#ifndef HOLDFAST_PROXY_EXCHANGE_H
#define HOLDFAST_PROXY_EXCHANGE_H

#include "proxy/base/rng.h"
#include "proxy/follower.h"
#include "proxy/service.h"
#include "proxy/wire/client.h"
#include "proxy/wire/upstream.h"

struct exchange;

/* What the exchanges of one worker have in common. */
struct exchange_space {
    struct service *service;
    struct loop *loop;
    struct upstream_pool *pool;
    struct rng rng;
    struct exchange *live;  /* every exchange that is not over */
    struct exchange *spare; /* ended ones, kept for their memory */
    unsigned n_spare;
    unsigned n_out; /* live ones, and those that are over but not given back yet */
    struct follower_set followers;
    struct loop_timer sweep; /* forgets kept answers whose time is over */
};

void exchange_space_init(struct exchange_space *s, struct service *service, struct loop *l,
                         struct upstream_pool *pool);
void exchange_space_release(struct exchange_space *s); /* only once it is idle, or without a loop */

/* Is nothing of it in use any more? */
bool exchange_space_idle(const struct exchange_space *s);

/* Looks for kept answers whose time is over, now and from then on; it does so by itself for those
 * that were made here. */
void exchange_space_sweep(struct exchange_space *s);

/* What the clients' connections call; their ctx is the space. */
extern const struct client_handler exchange_handler;

/* The loop was woken: there may be more of an answer that another worker records. */
void exchange_news(struct exchange_space *s);

/* The time for draining is over: answers under way get a true error at once. */
void exchange_break_all(struct exchange_space *s);

#endif
