#include "providers/params.h"

#include "proxy/base/json.h"

enum param {
    MAX_TOKENS,
    MAX_COMPLETION_TOKENS,
    TEMPERATURE,
    TOP_P,
    STOP,
    PRESENCE_PENALTY,
    FREQUENCY_PENALTY,
    LOGPROBS,
    TOP_LOGPROBS,
    LOGIT_BIAS,
    PARALLEL_TOOL_CALLS,
    REASONING_EFFORT,
    SEED,
    VERBOSITY,
    SERVICE_TIER,
    STREAM_OPTIONS,
    USER,
    ENCRYPTED_CONTENT,
    PARAMS
};

/* `instead`: it is not dropped but renamed. `reasoning`: models that always reason refuse it. */
static const struct {
    const char *name;
    enum param instead;
    bool renamed, reasoning;
} params[PARAMS] = {
    [MAX_TOKENS] = {"max_tokens", MAX_COMPLETION_TOKENS, true, true},
    [MAX_COMPLETION_TOKENS] = {"max_completion_tokens", MAX_TOKENS, true, false},
    [TEMPERATURE] = {"temperature", .reasoning = true},
    [TOP_P] = {"top_p", .reasoning = true},
    [STOP] = {"stop", .reasoning = true},
    [PRESENCE_PENALTY] = {"presence_penalty", .reasoning = true},
    [FREQUENCY_PENALTY] = {"frequency_penalty", .reasoning = true},
    [LOGPROBS] = {"logprobs", .reasoning = true},
    [TOP_LOGPROBS] = {"top_logprobs", .reasoning = true},
    [LOGIT_BIAS] = {"logit_bias", .reasoning = true},
    [PARALLEL_TOOL_CALLS] = {.name = "parallel_tool_calls"},
    [REASONING_EFFORT] = {.name = "reasoning_effort"},
    [SEED] = {.name = "seed"},
    [VERBOSITY] = {.name = "verbosity"},
    [SERVICE_TIER] = {.name = "service_tier"},
    [STREAM_OPTIONS] = {.name = "stream_options"},
    [USER] = {.name = "user"},
    /* Of reasoning items, wherever they stand: minted by another provider, or by another account.
     */
    [ENCRYPTED_CONTENT] = {.name = "encrypted_content"},
};

static uint32_t bit(enum param p)
{
    return 1u << p;
}

uint32_t params_find(struct span name)
{
    for (enum param p = 0; p < PARAMS; p++)
        if (span_is(name, params[p].name))
            return bit(p);
    return span_is(name, "reasoning.effort") || span_is(name, "reasoning") ? bit(REASONING_EFFORT)
                                                                           : 0;
}

/* The first word of a message in such quotes: "Unsupported parameter: 'max_tokens' is ...". */
static struct span quoted(struct span message, char quote)
{
    const char *open = message.n != 0 ? memchr(message.p, quote, message.n) : NULL;
    size_t left = open != NULL ? (size_t)(message.p + message.n - open - 1) : 0;
    const char *close = left != 0 ? memchr(open + 1, quote, left) : NULL;

    return close != NULL ? (struct span){open + 1, (size_t)(close - open - 1)} : SPAN("");
}

uint32_t params_blamed(const struct chat_error *e)
{
    struct span message = span_of(e->message), name = {message.p, 0};

    if (strcmp(e->code, "invalid_encrypted_content") == 0)
        return bit(ENCRYPTED_CONTENT);
    if (e->param[0] != '\0')
        return params_find(span_of(e->param));
    while (name.n < message.n && message.p[name.n] != ':')
        name.n++;
    if (name.n < message.n && params_find(name) != 0)
        return params_find(name);
    if (span_starts(message, "Penalty is not enabled")) /* Google, of either */
        return bit(PRESENCE_PENALTY) | bit(FREQUENCY_PENALTY);
    name = quoted(message, '`'); /* Anthropic */
    return params_find(name.n != 0 ? name : quoted(message, '\''));
}

bool params_only_value(const struct chat_error *e)
{
    uint32_t chosen = bit(REASONING_EFFORT) | bit(VERBOSITY) | bit(SERVICE_TIER);
    uint32_t blamed = params_blamed(e);

    if (blamed == bit(ENCRYPTED_CONTENT))
        return true;
    return strcmp(e->code, "unsupported_value") == 0 && (blamed & ~chosen) == 0;
}

uint32_t params_of_reasoning_models(void)
{
    uint32_t all = 0;

    for (enum param p = 0; p < PARAMS; p++)
        if (params[p].reasoning)
            all |= bit(p);
    return all;
}

static void leave_out(struct span *value, enum param p, uint32_t without, struct drops *drops)
{
    if ((without & bit(p)) == 0 || value->n == 0)
        return;
    *value = (struct span){NULL, 0};
    drop_named(drops, params[p].name);
}

void params_leave_out(struct conversation *c, uint32_t without, struct drops *drops)
{
    leave_out(&c->temperature, TEMPERATURE, without, drops);
    leave_out(&c->top_p, TOP_P, without, drops);
    leave_out(&c->stop, STOP, without, drops);
    leave_out(&c->presence_penalty, PRESENCE_PENALTY, without, drops);
    leave_out(&c->frequency_penalty, FREQUENCY_PENALTY, without, drops);
    leave_out(&c->seed, SEED, without, drops);
    leave_out(&c->verbosity, VERBOSITY, without, drops);
    leave_out(&c->service_tier, SERVICE_TIER, without, drops);
    leave_out(&c->user, USER, without, drops);
    if ((without & bit(REASONING_EFFORT)) != 0 && c->effort != EFFORT_UNSET) {
        c->effort = EFFORT_UNSET;
        drop_named(drops, params[REASONING_EFFORT].name);
    }
    if ((without & bit(PARALLEL_TOOL_CALLS)) != 0 && c->one_tool_at_a_time) {
        c->one_tool_at_a_time = false;
        drop_named(drops, params[PARALLEL_TOOL_CALLS].name);
    }
}

/* What becomes of one member of the body: it stays, goes by another name, or is left out. */
static void rewrite_member(struct strbuf *out, struct span key, struct span member,
                           struct span value, struct span model, uint32_t without,
                           struct drops *drops)
{
    uint32_t hit = params_find(key) & without;
    bool first = out->len == 1;
    enum param p = 0;

    if (span_is(key, "model") && model.n != 0) {
        strbuf_add(out, first ? "\"model\":" : ",\"model\":");
        strbuf_add_span(out, model);
        return;
    }
    if (hit == 0) {
        if (!first)
            strbuf_add_char(out, ',');
        strbuf_add_span(out, member);
        return;
    }
    while (bit(p) != hit)
        p++;
    if (!params[p].renamed || (without & bit(params[p].instead)) != 0) {
        drop_named(drops, params[p].name);
        return;
    }
    if (!first)
        strbuf_add_char(out, ',');
    json_add_name(out, params[params[p].instead].name);
    strbuf_add_span(out, value);
}

struct span params_rewrite(struct span body, struct span model, uint32_t without, struct arena *a,
                           struct drops *drops)
{
    struct strbuf out = strbuf_in(a, body.n + model.n + 256);
    struct json j = json_read(body);
    struct span key;

    strbuf_add_char(&out, '{');
    json_enter(&j, JSON_OBJECT);
    while (json_member(&j, &key)) {
        const char *start = j.raw_key.p;
        struct span value = json_take(&j);
        struct span member = {start, (size_t)(value.p + value.n - start)};

        rewrite_member(&out, key, member, value, model, without, drops);
    }
    strbuf_add_char(&out, '}');
    return strbuf_span(&out);
}
