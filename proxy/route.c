#include "proxy/route.h"

#include <assert.h>
#include <math.h>

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

enum pace_kind route_kind(const struct chat_request *req)
{
    if (req->counting || req->vectors.inputs != 0)
        return PACE_COUNT;
    if (req->reasoning)
        return req->stream ? PACE_STREAM_REASONING : PACE_WHOLE_REASONING;
    return req->stream ? PACE_STREAM : PACE_WHOLE;
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

static size_t without_space(struct span body, size_t n)
{
    while (n > 0 && (body.p[n - 1] == ' ' || (body.p[n - 1] >= '\t' && body.p[n - 1] <= '\r')))
        n--;
    return n;
}

/* Is there a part of this type? The same word as a name, or in a list, says nothing: tools have
 * parameters of any name. */
static bool has_part(struct span body, const char *type)
{
    static const char member[] = "\"type\"";
    const size_t size = sizeof(member) - 1;
    const char *found;

    while ((found = span_find(body, type)) != NULL) {
        size_t n = without_space(body, (size_t)(found - body.p));

        if (n > 0 && body.p[n - 1] == ':') {
            n = without_space(body, n - 1);
            if (n >= size && memcmp(body.p + n - size, member, size) == 0)
                return true;
        }
        body = (struct span){found + 1, (size_t)(body.p + body.n - found - 1)};
    }
    return false;
}

/* Roughly four bytes a token (English; other scripts have fewer, so this errs on the side of
 * asking). Media travel as text but count otherwise: with them nothing is assumed. */
static bool fits(const struct config_target *ct, const struct target *t,
                 const struct chat_request *req)
{
    static const char *const media_parts[] = {"\"image_url\"",   "\"input_audio\"", "\"file\"",
                                              "\"input_image\"", "\"input_file\"",  "\"image\"",
                                              "\"document\""};
    bool media = false;

    if (t->provider->type->text_only || ct->context_window != 0)
        for (size_t i = 0; i < ARRAY_LEN(media_parts); i++)
            media = media || has_part(req->body, media_parts[i]);

    if (media)
        return !t->provider->type->text_only;
    return ct->context_window == 0 || req->body.n / 4 <= ct->context_window;
}

/* Weighted rendezvous: each target draws a number that depends on its name and the session alone, a
 * heavier one larger ones; the largest goes first. So a session keeps its target whoever else comes
 * and goes, and over all sessions each target gets its weight's share. */
static double draw(const struct config_target *ct, const char *name, uint64_t session)
{
    struct rng rng = {session ^ span_hash(span_of(name))};
    double u = ((double)(rng_next(&rng) >> 11) + 1) / 9007199254740993.0; /* in (0, 1) */

    return log(u) / ct->weight;
}

/* The numbers of the route's targets in the order in which they are preferred; as they are written
 * where a request depends on what only one of them has. */
static void rank(const struct config_route *r, struct target_set *set, uint64_t session,
                 bool as_written, size_t *order)
{
    double drawn[CONFIG_MAX_TARGETS];

    for (size_t i = 0; i < r->n_targets; i++) {
        const struct config_target *ct = &r->targets[i];
        size_t at = i;
        bool alone = (i == 0 || r->targets[i - 1].tier != ct->tier) &&
                     (i + 1 == r->n_targets || r->targets[i + 1].tier != ct->tier);

        drawn[i] = as_written || alone
                       ? 0
                       : draw(ct, target_set_find(set, ct->provider, ct->model)->name, session);
        while (at > 0 && r->targets[order[at - 1]].tier == ct->tier &&
               drawn[order[at - 1]] < drawn[i]) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
}

static bool has_home(const struct config_route *r, struct target_set *set,
                     const struct dialect *client)
{
    for (size_t i = 0; i < r->n_targets; i++) {
        const struct config_target *ct = &r->targets[i];

        if (provider_dialect(target_set_find(set, ct->provider, ct->model)->provider, client) ==
            client)
            return true;
    }
    return false;
}

/* How the target can be asked to carry on an answer that broke elsewhere. */
static unsigned ways_of(const struct target *t, const struct chat_request *req)
{
    const unsigned align = SEAM_BIT(SEAM_ALIGN), turn = align | SEAM_BIT(SEAM_TURN),
                   prefill = turn | SEAM_BIT(SEAM_PREFILL);
    const char *wish = t->provider->conf->carry_on;

    if (t->provider->type->dialect == NULL || strcmp(wish, "off") == 0)
        return 0;
    if (strcmp(wish, "auto") == 0)
        return catalog_prefills(t->provider->type, t->model.p != NULL ? t->model : req->model)
                   ? prefill
                   : turn;
    return strcmp(wish, "prefill") == 0 ? prefill : strcmp(wish, "turn") == 0 ? turn : align;
}

/* What the target's model is called, whether the route names it or the client does. */
static struct span model_of(const struct config_target *ct, const struct chat_request *req)
{
    struct span model = ct->model != NULL ? span_of(ct->model) : req->model;

    return span_starts(model, "models/") ? (struct span){model.p + 7, model.n - 7} : model;
}

/* Why the target cannot serve the request at all, or FAILURE_NONE. */
static enum failure unfit(const struct config_route *r, const struct config_target *ct,
                          const struct target *t, const struct chat_request *req,
                          const struct dialect *client)
{
    const struct dialect *d = provider_dialect(t->provider, client);

    if (!client->embeds)
        return fits(ct, t, req) ? FAILURE_NONE : UNFIT;
    if (d == NULL || (d != client && client->read_conversation == NULL))
        return NO_ENDPOINT;
    /* By the configuration alone, so that today's vectors can be compared with last year's. */
    return span_eq(model_of(ct, req), model_of(&r->targets[0], req)) ? FAILURE_NONE : OTHER_MODEL;
}

void route_plan(const struct config *c, const struct config_route *r, struct target_set *set,
                const struct chat_request *req, const struct dialect *client, bool only_first,
                uint64_t session, struct failover *f)
{
    size_t order[CONFIG_MAX_TARGETS];
    bool bound = req->pinned && has_home(r, set, client);

    rank(r, set, session, req->pinned, order);
    for (size_t i = 0; i < r->n_targets; i++) {
        const struct config_target *ct = &r->targets[order[i]];
        struct target *t = target_set_find(set, ct->provider, ct->model);
        struct config_timeouts limits = config_timeouts_of(c, r, ct);
        struct failover_candidate candidate = {
            .target = t,
            .place = (unsigned)order[i],
            .timers = timers_for(&limits, req),
            .window = ct->context_window,
            .away = ct->tier != r->targets[0].tier,
            .unfit = unfit(r, ct, t, req, client),
            .ways = ways_of(t, req),
        };

        assert(t != NULL);
        /* Each model counts in its own way; and what binds a request lives where its dialect is. */
        if ((req->counting || bound) && provider_dialect(t->provider, client) != client)
            continue;
        failover_add(f, &candidate);
        if (only_first || req->pinned)
            break;
    }
}
