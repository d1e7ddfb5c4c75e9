/* route.h - which targets may answer a request, in which order and with which limits. */
#ifndef HOLDFAST_PROXY_ROUTE_H
#define HOLDFAST_PROXY_ROUTE_H

#include "config/config.h"
#include "providers/dialect.h"
#include "proxy/failover.h"

/* The first route whose pattern matches the model's name, or the one that a request names by its
 * pattern (x-holdfast-route). NULL if there is none. */
const struct config_route *route_find(const struct config *c, struct span model);
const struct config_route *route_named(const struct config *c, struct span pattern);

/* How long an exchange on this route may take in all. */
uint64_t route_total_ms(const struct config *c, const struct config_route *r);

/* Whose times to first output may be compared with this request's. */
enum pace_kind route_kind(const struct chat_request *req);

/* Gives the decision core its candidates in order of preference: tier after tier, inside a tier by
 * weight. `session` chooses there: the same one always comes to the same target while that is well,
 * so that its prompt cache is of use; a random one balances. `only_first`: no failover. A count is
 * asked only of targets of the client's own dialect `client`: there may be none. A request that is
 * bound to one provider goes to the first that speaks that dialect, as only there can live what
 * binds it; where there is none, to the first. Vectors are asked only of the model that the
 * route's first target names, wherever the route has it: those of two models cannot be compared. */
void route_plan(const struct config *c, const struct config_route *r, struct target_set *set,
                const struct chat_request *req, const struct dialect *client, bool only_first,
                uint64_t session, struct failover *f);

#endif
