/* Who is to blame when nothing can be connected: our own network, or an endpoint? */
#include "proxy/target.h"

#include "proxy/base/log.h"
#include "tests/unit/check.h"

#define T0 1000000

#define TWO_FAR                                                                                    \
    "providers:\n"                                                                                 \
    "  a: {type: openai, base_url: http://10.0.0.1:1/v1, keys: [k0]}\n"                            \
    "  b: {type: openai, base_url: http://10.0.0.2:1/v1, keys: [k0]}\n"                            \
    "routes: [{model: \"*\", targets: [a/x, b/x]}]\n"

struct net {
    struct config *config;
    struct target_set *set;
    struct target *a, *b;
};

static struct net net_new(void)
{
    struct net n;
    struct err e = {0};

    log_set_level(LOG_ERROR);
    if (config_parse("net", TWO_FAR, strlen(TWO_FAR), &catalog_config_types, &n.config, &e) < 0)
        fail_msg("%s", e.msg);
    n.set = target_set_new(n.config, 7);
    n.a = &n.set->targets[0];
    n.b = &n.set->targets[1];
    return n;
}

static void net_release(struct net *n)
{
    target_set_free(n->set);
    config_free(n->config);
}

static struct ticket ask(struct target *t, uint64_t now)
{
    struct target_wish wish = {.kind = PACE_STREAM};
    struct ticket k;
    uint64_t wait_ms;

    CHECK_INT(target_ask(t, &wish, now, &k, &wait_ms), FAILURE_NONE);
    return k;
}

static void cannot_connect(struct target *t, unsigned times, uint64_t now)
{
    for (unsigned i = 0; i < times; i++) {
        struct ticket k = ask(t, now);

        target_end(t, &k, DNS, 0, RETRY_AFTER_NONE, now);
    }
}

static void answers(struct target *t, uint64_t now)
{
    struct ticket k = ask(t, now);

    target_output(t, &k, now);
    target_end(t, &k, FAILURE_NONE, 200, RETRY_AFTER_NONE, now);
}

static enum breaker_state state_of(const struct target *t)
{
    return t->provider->endpoint->breaker.state;
}

TEST(while_nothing_far_away_answers_nobody_is_blamed)
{
    struct net n = net_new();

    cannot_connect(n.a, 20, T0);
    cannot_connect(n.b, 20, T0);
    CHECK_INT(state_of(n.a), BREAKER_CLOSED);
    CHECK_INT(state_of(n.b), BREAKER_CLOSED);
    net_release(&n);
}

TEST(when_another_one_answers_who_could_not_be_connected_is_to_blame)
{
    struct net n = net_new();

    cannot_connect(n.a, 5, T0);
    answers(n.b, T0 + 1000);
    CHECK_INT(state_of(n.a), BREAKER_OPEN);
    CHECK_INT(state_of(n.b), BREAKER_CLOSED);
    net_release(&n);
}

TEST(after_an_outage_of_our_own_network_the_first_answer_blames_nobody)
{
    struct net n = net_new();

    cannot_connect(n.a, 20, T0);
    cannot_connect(n.b, 1, T0);
    answers(n.b, T0 + 1000);
    CHECK_INT(state_of(n.a), BREAKER_CLOSED);
    cannot_connect(n.a, 5, T0 + 2000); /* it was not only the network */
    answers(n.b, T0 + 3000);
    CHECK_INT(state_of(n.a), BREAKER_OPEN);
    net_release(&n);
}

TEST(a_stream_that_is_cut_shows_nothing_of_the_network)
{
    struct net n = net_new();
    struct ticket k = ask(n.b, T0);

    target_output(n.b, &k, T0);
    cannot_connect(n.a, 5, T0 + 1000);
    target_end(n.b, &k, TRUNCATED, 200, RETRY_AFTER_NONE, T0 + 1000);
    CHECK_INT(state_of(n.a), BREAKER_CLOSED);
    k = ask(n.b, T0 + 2000); /* but an error that is answered does */
    target_end(n.b, &k, SERVER_ERROR, 500, RETRY_AFTER_NONE, T0 + 2000);
    CHECK_INT(state_of(n.a), BREAKER_OPEN);
    net_release(&n);
}

TEST(a_probe_that_failed_in_the_outage_tells_of_it_too)
{
    struct net n = net_new();
    uint64_t now;

    cannot_connect(n.b, 5, T0);
    answers(n.a, T0);
    CHECK_INT(state_of(n.b), BREAKER_OPEN);
    now = n.b->provider->endpoint->breaker.retry_at;
    cannot_connect(n.a, 5, now);
    cannot_connect(n.b, 1, now); /* its probe */
    now = n.b->provider->endpoint->breaker.retry_at;
    answers(n.b, now);
    CHECK_INT(state_of(n.a), BREAKER_CLOSED);
    net_release(&n);
}

TEST_MAIN()
