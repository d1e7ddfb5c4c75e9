#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "config/config.h"
#include "config/value.h"
#include "proxy/base/attributes.h"

static const struct {
    const char *name;
    size_t at;
} limits[] = {
    {"connect", offsetof(struct config_timeouts, connect)},
    {"tls", offsetof(struct config_timeouts, tls)},
    {"first_token", offsetof(struct config_timeouts, first_token)},
    {"first_token_reasoning", offsetof(struct config_timeouts, first_token_reasoning)},
    {"answer", offsetof(struct config_timeouts, answer)},
    {"idle", offsetof(struct config_timeouts, idle)},
    {"idle_tools", offsetof(struct config_timeouts, idle_tools)},
    {"total", offsetof(struct config_timeouts, total)},
};

static uint64_t *limit(struct config_timeouts *t, size_t i)
{
    return (uint64_t *)(void *)((char *)t + limits[i].at);
}

struct config_timeouts config_timeouts_of(const struct config *c, const struct config_route *route,
                                          const struct config_target *target)
{
    struct config_timeouts general = c->timeouts, middle = route->timeouts, own = target->timeouts;

    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        if (*limit(&own, i) == 0)
            *limit(&own, i) = *limit(&middle, i);
        if (*limit(&own, i) == 0)
            *limit(&own, i) = *limit(&general, i);
    }
    return own;
}

/* Those that differ from `usual`; all of them when that is NULL. */
static void print_timeouts(struct config_timeouts t, const struct config_timeouts *usual, FILE *out)
{
    char text[VALUE_TEXT_MAX];
    struct config_timeouts other = usual != NULL ? *usual : (struct config_timeouts){0};

    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (*limit(&t, i) != *limit(&other, i))
            fprintf(out, "  %s %s", limits[i].name, value_show_duration(text, *limit(&t, i)));
}

static void print_listeners(const struct config *c, FILE *out)
{
    bool off = c->admin.host == NULL && c->admin.path == NULL;

    fprintf(out, "listen       ");
    for (size_t i = 0; i < c->n_listens; i++)
        fprintf(out, "%s%s", i > 0 ? ", " : "", c->listens[i].text);
    fprintf(out, "\nadmin        %s\nclients      ", off ? "off" : c->admin.text);
    if (c->n_clients == 0)
        fprintf(out, "everybody who can connect%s", c->insecure ? " (insecure: true)" : "");
    for (size_t i = 0; i < c->n_clients; i++)
        fprintf(out, "%s%s", i > 0 ? ", " : "", c->clients[i].name);
    fprintf(out, "\n");
}

static void print_egress(const struct config *c, FILE *out)
{
    for (int https = 1; https >= 0; https--)
        if (c->egress[https].url != NULL)
            fprintf(out, "proxy        %s for %s, unless NO_PROXY names the host\n",
                    c->egress[https].name, https ? "https" : "http");
}

static void print_providers(const struct config *c, FILE *out)
{
    fprintf(out, "\nproviders\n");
    for (size_t i = 0; i < c->n_providers; i++) {
        const struct config_provider *p = &c->providers[i];
        char quoted[VALUE_QUOTE_MAX];

        fprintf(out, "  %-12s %-12s ", p->name, p->type);
        if (p->base_url == NULL)
            fprintf(out, "answers %s\n", value_quote(quoted, p->text));
        else if (p->n_keys == 0)
            fprintf(out, "%s  no key\n", p->base_url);
        else
            fprintf(out, "%s  %zu key%s\n", p->base_url, p->n_keys, p->n_keys == 1 ? "" : "s");
    }
}

static void print_target(const struct config *c, const struct config_route *route,
                         const struct config_target *t, FILE *out)
{
    fprintf(out, "    %2u. %s/%s", t->tier + 1, c->providers[t->provider].name,
            t->model != NULL ? t->model : "(the client's model)");
    if (t->weight != 1)
        fprintf(out, "  weight %u", t->weight);
    if (t->context_window != 0)
        fprintf(out, "  context_window %" PRIu64, t->context_window);
    print_timeouts(config_timeouts_of(c, route, t), &c->timeouts, out);
    fprintf(out, "\n");
}

static void print_limits(const struct config *c, FILE *out)
{
    char a[VALUE_TEXT_MAX], b[VALUE_TEXT_MAX], d[VALUE_TEXT_MAX];

    fprintf(out, "timeouts   ");
    print_timeouts(c->timeouts, NULL, out);
    fprintf(out, "\nfailover     max_attempts %u  per_target %u\n", c->failover.max_attempts,
            c->failover.per_target);
    fprintf(out, "breaker      consecutive %u  window %s  min_calls %u  failure_rate %g",
            c->breaker.consecutive, value_show_duration(a, c->breaker.window), c->breaker.min_calls,
            c->breaker.failure_rate);
    fprintf(out, "  open_base %s  open_cap %s\n", value_show_duration(a, c->breaker.open_base),
            value_show_duration(b, c->breaker.open_cap));
    fprintf(out, "stream       heartbeat_after %s  resume %s\n",
            value_show_duration(a, c->stream.heartbeat_after), c->stream.resume);
    if (c->replay.memory != 0)
        fprintf(out, "replay       ttl %s  answer %s  memory %s\n",
                value_show_duration(a, c->replay.ttl), value_show_size(b, c->replay.answer),
                value_show_size(d, c->replay.memory));
    else
        fprintf(out, "replay       off\n");
    fprintf(out, "limits       request_body %s  answer_body %s  memory %s  connections %u\n",
            value_show_size(a, c->limits.request_body), value_show_size(b, c->limits.answer_body),
            value_show_size(d, c->limits.memory), c->limits.connections);
    fprintf(out, "drain        delay %s  timeout %s\n", value_show_duration(a, c->drain.delay),
            value_show_duration(b, c->drain.timeout));
    fprintf(out, "log          %s, as %s\n", c->log.level, c->log.format);
}

/* Zero configuration has many patterns with one meaning; they share a line. */
static bool same_targets(const struct config_route *a, const struct config_route *b)
{
    if (a->n_targets != b->n_targets ||
        memcmp(&a->timeouts, &b->timeouts, sizeof(a->timeouts)) != 0)
        return false;
    for (size_t i = 0; i < a->n_targets; i++) {
        const struct config_target *x = &a->targets[i], *y = &b->targets[i];
        const char *x_model = x->model != NULL ? x->model : "";
        const char *y_model = y->model != NULL ? y->model : "";

        if (x->provider != y->provider || x->tier != y->tier || x->weight != y->weight ||
            x->context_window != y->context_window || strcmp(x_model, y_model) != 0 ||
            memcmp(&x->timeouts, &y->timeouts, sizeof(x->timeouts)) != 0)
            return false;
    }
    return true;
}

void config_print(const struct config *c, FILE *out)
{
    fprintf(out, "source       %s\n", c->source);
    print_listeners(c, out);
    print_egress(c, out);
    print_limits(c, out);
    print_providers(c, out);
    fprintf(out,
            "\nroutes (the first that matches; its targets in this order, with the limits that "
            "differ)\n");
    for (size_t i = 0; i < c->n_routes; i++) {
        fprintf(out, "  %s", c->routes[i].model);
        while (i + 1 < c->n_routes && same_targets(&c->routes[i], &c->routes[i + 1]))
            fprintf(out, ", %s", c->routes[++i].model);
        fprintf(out, "\n");
        for (size_t j = 0; j < c->routes[i].n_targets; j++)
            print_target(c, &c->routes[i], &c->routes[i].targets[j], out);
    }
    for (size_t i = 0; i < c->n_warnings; i++)
        fprintf(out, "%swarning: %s\n", i == 0 ? "\n" : "", c->warnings[i]);
}
