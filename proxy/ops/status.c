#include "proxy/ops/status.h"

#include <stdlib.h>

#include "proxy/base/json.h"
#include "proxy/base/mem.h"
#include "proxy/base/secret.h"

/* Each member begins on a line of its own, so that the page can be read without a tool. `indent`
 * is the level; a comma goes before every member but the first of its object. */
static void name(struct strbuf *out, unsigned indent, const char *key)
{
    char before = out->len > 0 ? out->buf[out->len - 1] : '\0';

    if (before != '{')
        strbuf_add_char(out, ',');
    strbuf_add_char(out, '\n');
    for (unsigned i = 0; i < indent; i++)
        strbuf_add(out, "  ");
    json_add_string(out, span_of(key));
    strbuf_add(out, ": ");
}

static void number(struct strbuf *out, unsigned indent, const char *key, uint64_t value)
{
    name(out, indent, key);
    strbuf_add_u64(out, value);
}

static void text(struct strbuf *out, unsigned indent, const char *key, struct span value)
{
    name(out, indent, key);
    json_add_string(out, value);
}

static void truth(struct strbuf *out, unsigned indent, const char *key, bool value)
{
    name(out, indent, key);
    strbuf_add(out, value ? "true" : "false");
}

/* An error's text comes from outside: a provider may quote our key in it. */
static void redacted(struct strbuf *out, unsigned indent, const char *key, struct span value)
{
    size_t n = value.n;
    char *copy = mem_strndup(n > 0 ? value.p : "", n);

    secret_redact(copy, &n);
    text(out, indent, key, (struct span){copy, n});
    free(copy);
}

static void open_item(struct strbuf *out, size_t i)
{
    strbuf_add(out, i == 0 ? "\n    {" : ",\n    {");
}

static void close_list(struct strbuf *out, size_t n)
{
    strbuf_add(out, n == 0 ? "]" : "\n  ]");
}

static void write_target(const struct status_target *t, struct strbuf *out)
{
    text(out, 3, "target", t->name);
    text(out, 3, "breaker", span_of(t->breaker));
    if (t->scope != NULL)
        text(out, 3, "scope", span_of(t->scope));
    if (t->why.n > 0)
        redacted(out, 3, "why", t->why);
    truth(out, 3, "may_be_asked", t->may_be_asked);
    number(out, 3, "retry_ms", t->retry_ms);
    number(out, 3, "failures_in_a_row", t->failures_in_a_row);
    truth(out, 3, "slow", t->slow);
    number(out, 3, "limit", t->limit);
    number(out, 3, "in_flight", t->in_flight);
    number(out, 3, "attempts", t->attempts);
    number(out, 3, "failures", t->failures);
    if (t->last_error.n > 0) {
        redacted(out, 3, "last_error", t->last_error);
        number(out, 3, "last_error_age_ms", t->last_error_age_ms);
    }
    if (t->first_token_p95_ms > 0) {
        number(out, 3, "first_token_p50_ms", t->first_token_p50_ms);
        number(out, 3, "first_token_p95_ms", t->first_token_p95_ms);
    }
    if (t->answer_p95_ms > 0) {
        number(out, 3, "answer_p50_ms", t->answer_p50_ms);
        number(out, 3, "answer_p95_ms", t->answer_p95_ms);
    }
    number(out, 3, "input_tokens", t->input_tokens);
    number(out, 3, "output_tokens", t->output_tokens);
}

static void write_route(const struct status_route *r, const struct status_target *targets,
                        struct strbuf *out)
{
    uint64_t open = 0;

    text(out, 3, "route", r->model);
    name(out, 3, "targets");
    strbuf_add_char(out, '[');
    for (size_t i = 0; i < r->n_targets; i++) {
        strbuf_add(out, i == 0 ? "" : ", ");
        json_add_string(out, targets[r->targets[i]].name);
        open += targets[r->targets[i]].may_be_asked;
    }
    strbuf_add_char(out, ']');
    number(out, 3, "may_be_asked", open);
}

static void write_key(const struct status_key *k, struct strbuf *out)
{
    text(out, 3, "provider", k->provider);
    if (k->model.n > 0)
        text(out, 3, "model", k->model);
    number(out, 3, "key", k->index);
    text(out, 3, "why", span_of(k->why));
    number(out, 3, "rest_ms", k->rest_ms);
}

static void write_process(const struct status_snapshot *s, struct strbuf *out)
{
    text(out, 1, "version", span_of(s->version));
    number(out, 1, "uptime_ms", s->uptime_ms);
    text(out, 1, "config", s->config);
    if (s->last_reload != NULL)
        redacted(out, 1, "last_reload", span_of(s->last_reload));
    name(out, 1, "listeners");
    strbuf_add_char(out, '[');
    for (size_t i = 0; i < s->n_listeners; i++) {
        strbuf_add(out, i == 0 ? "" : ", ");
        json_add_string(out, s->listeners[i]);
    }
    strbuf_add_char(out, ']');
    number(out, 1, "workers", s->workers);
    truth(out, 1, "draining", s->draining);
    number(out, 1, "requests", s->requests);
    number(out, 1, "requests_ok", s->requests_ok);
    number(out, 1, "in_flight", s->in_flight);
    number(out, 1, "kept_answers", s->kept_answers);
    number(out, 1, "kept_answer_bytes", s->kept_bytes);
    number(out, 1, "log_lines_dropped", s->log_dropped);
}

void status_write(const struct status_snapshot *s, struct strbuf *out)
{
    strbuf_add_char(out, '{');
    write_process(s, out);
    name(out, 1, "targets");
    strbuf_add_char(out, '[');
    for (size_t i = 0; i < s->n_targets; i++) {
        open_item(out, i);
        write_target(&s->targets[i], out);
        strbuf_add(out, "\n    }");
    }
    close_list(out, s->n_targets);
    name(out, 1, "routes");
    strbuf_add_char(out, '[');
    for (size_t i = 0; i < s->n_routes; i++) {
        open_item(out, i);
        write_route(&s->routes[i], s->targets, out);
        strbuf_add(out, "\n    }");
    }
    close_list(out, s->n_routes);
    name(out, 1, "resting_keys");
    strbuf_add_char(out, '[');
    for (size_t i = 0; i < s->n_keys; i++) {
        open_item(out, i);
        write_key(&s->keys[i], out);
        strbuf_add(out, "\n    }");
    }
    close_list(out, s->n_keys);
    strbuf_add(out, "\n}\n");
}
