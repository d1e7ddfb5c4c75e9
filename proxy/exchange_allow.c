#include "proxy/exchange_parts.h"

#include <stdio.h>

#include "proxy/relay.h"

bool exchange_may_use(const struct exchange *x, struct span model)
{
    const struct config_client *c = x->admission.client;

    for (size_t i = 0; c != NULL && i < c->n_models; i++)
        if (model.p != NULL && span_glob(span_of(c->models[i]), model))
            return true;
    return c == NULL || c->n_models == 0;
}

bool exchange_allow(struct exchange *x, struct span model)
{
    struct chat_error e = {.status = 403, .code = "model_not_allowed", .param = "model"};

    if (exchange_may_use(x, model))
        return true;
    if (model.p == NULL)
        snprintf(e.message, sizeof(e.message),
                 "client \"%s\" may use some models only, and this path names none that could be "
                 "looked at",
                 x->admission.client->name);
    else
        snprintf(e.message, sizeof(e.message),
                 "client \"%s\" may not use the model \"%.*s\"; see clients[].models",
                 x->admission.client->name, model.n > 200 ? 200 : (int)model.n, model.p);
    exchange_refuse(x, &e);
    return false;
}

static void refuse_limit(struct exchange *x, enum quota_verdict why)
{
    const struct quota_limits *l = &x->quota.limits;
    struct chat_error e = {.status = 429, .code = "rate_limit_exceeded"};
    struct strbuf text = strbuf_on(e.message, sizeof(e.message));

    strbuf_addf(&text, "client \"%s\": its limit of ", x->admission.client->name);
    strbuf_add_u64(&text, why == QUOTA_AT_ONCE    ? l->at_once
                          : why == QUOTA_REQUESTS ? l->requests
                                                  : l->tokens);
    strbuf_add(&text, why == QUOTA_AT_ONCE    ? " requests at once"
                      : why == QUOTA_REQUESTS ? " requests a minute"
                                              : " tokens a minute");
    strbuf_addf(&text, " is reached; come again in %.1f s", (double)x->quota.wait_ms / 1000);
    exchange_refuse(x, &e);
}

bool exchange_within_limits(struct exchange *x, uint64_t bytes)
{
    const struct config_client *c = x->admission.client;
    struct quota_limits limits;
    enum quota_verdict verdict;

    if (c == NULL)
        return true;
    limits = (struct quota_limits){c->requests_per_minute, c->tokens_per_minute, c->concurrency};
    if (limits.requests == 0 && limits.tokens == 0 && limits.at_once == 0)
        return true;
    verdict =
        quota_take(x->space->service->quotas, c->key_sha256, &limits, bytes / RELAY_BYTES_A_TOKEN,
                   loop_now_ms(x->space->loop), &x->ticket, &x->quota);
    if (verdict == QUOTA_GRANTED)
        return true;
    refuse_limit(x, verdict);
    return false;
}

void exchange_settle(struct exchange *x)
{
    const struct chat_usage *last = x->owner != NULL ? &x->owner->watch.usage : NULL;
    uint64_t tokens = x->used.input + x->used.output;

    if (last != NULL && last->seen)
        tokens += last->input + (x->owner->watch.stopped ? last->output : exchange_written(x));
    else if (last != NULL && !x->owner->raw)
        tokens += (x->request_bytes + x->answer_bytes) / RELAY_BYTES_A_TOKEN;
    quota_give(x->space->service->quotas, &x->ticket, tokens, loop_now_ms(x->space->loop));
}
