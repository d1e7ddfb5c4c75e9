#include "proxy/route.h"

#include <assert.h>

const struct config_route *route_find(const struct config *c, struct span model)
{
    for (size_t i = 0; i < c->n_routes; i++)
        if (span_glob(span_of(c->routes[i].model), model))
            return &c->routes[i];
    return NULL;
}

const struct config_route *route_named(const struct config *c, struct span pattern)
{
    for (size_t i = 0; i < c->n_routes; i++)
        if (span_is(pattern, c->routes[i].model))
            return &c->routes[i];
    return NULL;
}

uint64_t route_total_ms(const struct config *c, const struct config_route *r)
{
    return r->timeouts.total != 0 ? r->timeouts.total : c->timeouts.total;
}

/* The limits of one attempt for this very request: a whole answer takes longer than its first
 * token, and a reasoning model thinks before it speaks. */
static struct failover_timers timers_for(const struct config_timeouts *t,
                                         const struct chat_request *req)
{
    struct failover_timers out = {
        .connect = t->connect,
        .tls = t->tls,
        .first_output = req->stream ? t->first_token : t->answer,
        .idle = req->tools || req->reasoning ? t->idle_tools : t->idle,
    };

    if (req->reasoning && t->first_token_reasoning > out.first_output)
        out.first_output = t->first_token_reasoning;
    return out;
}

/* Roughly four bytes a token (English; other scripts have fewer, so this errs on the side of
 * asking). Media travel as text but count otherwise: with them nothing is assumed. */
static bool fits(const struct config_target *ct, const struct target *t,
                 const struct chat_request *req)
{
    bool media = t->provider->type->text_only || ct->context_window != 0
                     ? span_find(req->body, "\"image_url\"") != NULL ||
                           span_find(req->body, "\"input_audio\"") != NULL ||
                           span_find(req->body, "\"file_data\"") != NULL
                     : false;

    if (media)
        return !t->provider->type->text_only;
    return ct->context_window == 0 || req->body.n / 4 <= ct->context_window;
}

void route_plan(const struct config *c, const struct config_route *r, struct target_set *set,
                const struct chat_request *req, bool only_first, struct failover *f)
{
    for (size_t i = 0; i < r->n_targets; i++) {
        const struct config_target *ct = &r->targets[i];
        struct target *t = target_set_find(set, ct->provider, ct->model);
        struct config_timeouts limits = config_timeouts_of(c, r, ct);
        struct failover_timers timers = timers_for(&limits, req);

        assert(t != NULL);
        failover_add(f, t, &timers, !fits(ct, t, req));
        if (only_first || req->pinned)
            break;
    }
}
