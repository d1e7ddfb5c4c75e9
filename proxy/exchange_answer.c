#include "proxy/exchange_parts.h"

#include <stdio.h>

#include "proxy/base/clock.h"
#include "proxy/ops/accesslog.h"

#define TRAIL_TARGETS (CONFIG_MAX_TARGETS + FAILOVER_MAX_TRIES + 1)

/* As in the trail: with the model, also where that is the client's own. */
static struct span name_for_log(struct exchange *x, const struct target *t)
{
    struct arena *a = &x->arena;

    if (t->model.p != NULL)
        return span_of(t->name);
    return arena_join(a, arena_join(a, span_of(t->name), SPAN("/")), x->request.model);
}

static size_t attempts_for_log(struct exchange *x, struct access_attempt *out)
{
    const struct failover *f = &x->failover;
    size_t n = 0;

    for (unsigned i = 0; x->planned && i < f->n_tries && n < TRAIL_TARGETS; i++) {
        const struct failover_try *t = &f->tries[i];

        if (t->candidate == UINT8_MAX)
            continue;
        out[n++] = (struct access_attempt){
            .target = name_for_log(x, f->candidates[t->candidate].target),
            .outcome = failure_row(t->outcome)->label,
            .status = t->status,
            .us = (t->ended_ms - t->started_ms) * 1000,
            .ttft_us = t->output_ms != 0 ? (t->output_ms - t->started_ms) * 1000 : 0,
        };
    }
    return n;
}

void exchange_log(struct exchange *x, const char *outcome)
{
    struct access_attempt attempts[TRAIL_TARGETS];
    char mem[LOG_LINE_MAX + 1];
    struct strbuf line = strbuf_on(mem, sizeof(mem));
    struct access_record r = {
        .id = span_of(x->id),
        .wall_ms = clock_wall_ms(),
        .client = span_of(x->address),
        .caller = x->admission.client != NULL ? x->admission.client->name : NULL,
        .route = x->route != NULL ? span_of(x->route->model) : SPAN(""),
        .dialect = door_asks(x->admission.door.kind) || x->pass != NULL ? x->dialect->name : NULL,
        .model = x->request.model,
        .stream = x->request.stream,
        .replayed = x->following ? metrics_replay_label(x->found_by) : NULL,
        .outcome = outcome,
        .status = x->status,
        .duration_us = clock_us() - x->started_us,
        .queue_us = x->planned ? x->failover.queued_ms * 1000 : 0,
        .ttft_us = x->first_us != 0 ? x->first_us - x->started_us : 0,
        .request_bytes = x->request_bytes,
        .answer_bytes = x->answer_bytes,
        .attempts = attempts,
        .n_attempts = attempts_for_log(x, attempts),
    };

    if (x->committed) {
        const struct attempt *a = x->owner;

        r.usage_seen = a->watch.usage.seen;
        r.input_tokens = x->used.input + a->watch.usage.input;
        r.output_tokens = x->used.output + a->watch.usage.output;
        r.cached_tokens = x->used.cached + a->watch.usage.cached;
        r.reasoning_tokens = x->used.reasoning + a->watch.usage.reasoning;
        r.provider = span_of(a->target->provider->conf->name);
        if (!a->raw)
            r.served_model = a->target->model.p != NULL ? a->target->model : x->request.model;
    }
    accesslog_write(&r, x->space->service->log_format, &line);
    log_line(strbuf_span(&line));
}

static void log_payload(const struct exchange *x, struct payload *p, struct span whose)
{
    payload_end(p, span_of(x->id), whose, clock_wall_ms(), x->space->service->log_format,
                log_bulk_line);
}

void exchange_log_payloads(struct exchange *x)
{
    if (x->asked.cap == 0)
        return;
    log_payload(x, &x->asked, SPAN("request"));
    for (struct attempt *a = x->attempts; a != NULL; a = a->next)
        log_payload(x, &a->said_no, name_for_log(x, a->target));
    log_payload(x, &x->answered, SPAN("answer"));
}

/* ---- answering --------------------------------------------------------------------------------
 */

void exchange_add_id(const struct exchange *x, struct strbuf *fields)
{
    strbuf_addf(fields, "x-request-id: %s\r\n", x->id);
    if (x->dialect->id_field != NULL)
        strbuf_addf(fields, "%s: %s\r\n", x->dialect->id_field, x->id);
    quota_fields(&x->quota, fields);
}

/* An error as it goes to this client, before it is written in the words of his dialect. */
struct chat_error exchange_for_client(const struct exchange *x, const struct chat_error *error)
{
    struct chat_error e = *error;

    e.request_id = x->id;
    if (e.status >= 500 && x->dialect->exhausted != 0)
        e.status = x->dialect->exhausted;
    return e;
}

void exchange_answer(struct exchange *x, unsigned status, struct strbuf *fields, struct span body,
                     enum failure outcome, const char *label)
{
    x->status = status;
    x->answer_bytes = body.n;
    exchange_record(x, outcome, label);
    outlet_answer(&x->out, status, strbuf_span(fields), body, outcome);
    exchange_end(x);
}

/* An error of our own making: no target was asked. */
void exchange_refuse(struct exchange *x, const struct chat_error *error)
{
    char mem[EXCHANGE_MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));
    struct strbuf body = strbuf_in(&x->arena, 8192);
    struct chat_error told = exchange_for_client(x, error);

    exchange_add_id(x, &fields);
    strbuf_add(&fields, "Content-Type: application/json\r\n");
    if (error->status == 429)
        strbuf_addf(&fields, "x-should-retry: true\r\nretry-after: %u\r\nretry-after-ms: %u\r\n",
                    (unsigned)((x->quota.wait_ms + 999) / 1000), (unsigned)x->quota.wait_ms);
    else
        strbuf_add(&fields, error->status == 503 ? "x-should-retry: true\r\nretry-after: 1\r\n"
                                                 : "x-should-retry: false\r\n");
    if (x->admission.allow != NULL)
        strbuf_addf(&fields, "Allow: %s\r\n", x->admission.allow);
    if (error->status == 426) /* RFC 9110 15.5.22 wants one named: what we do speak */
        strbuf_add(&fields, "Upgrade: HTTP/1.1\r\n");
    if (error->status == 401)
        strbuf_add(&fields, "WWW-Authenticate: Bearer\r\n");
    x->dialect->write_error(&told, &body);
    exchange_answer(x, told.status, &fields, strbuf_span(&body), REJECTED, error->code);
}

void exchange_refuse_saying(struct exchange *x, unsigned status, const char *code,
                            const char *param, const char *text)
{
    struct chat_error e = {.status = status};

    snprintf(e.code, sizeof(e.code), "%s", code);
    snprintf(e.param, sizeof(e.param), "%s", param);
    snprintf(e.message, sizeof(e.message), "%s", text);
    exchange_refuse(x, &e);
}

void exchange_answer_json(struct exchange *x, unsigned status, struct span body)
{
    char mem[EXCHANGE_MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));

    exchange_add_id(x, &fields);
    strbuf_add(&fields, "Content-Type: application/json\r\n");
    exchange_answer(x, status, &fields, body, FAILURE_NONE, failure_row(FAILURE_NONE)->label);
}
