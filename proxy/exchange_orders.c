#include "proxy/exchange_parts.h"

#include <assert.h>
#include <string.h>

#include "proxy/base/clock.h"
#include "proxy/relay.h"

#define MAX_LAST (16 * 1024 * 1024) /* of the last event of a stream: it may repeat all */

/* The metrics of the tries that have ended since the last look. */
static void count_tries(struct exchange *x)
{
    const struct failover *f = &x->failover;
    struct metrics *m = x->space->service->metrics;

    for (; x->counted < f->n_tries; x->counted++) {
        const struct failover_try *t = &f->tries[x->counted];

        if (t->phase != PHASE_ENDED)
            return;
        if (!t->skipped)
            metrics_attempt(m, f->candidates[t->candidate].target->index, t->outcome,
                            (t->ended_ms - t->started_ms) * 1000);
        if (t->hedge)
            metrics_hedge(m, t->output_ms != 0          ? HEDGE_RESULT_WON
                             : t->outcome == HEDGE_LOST ? HEDGE_RESULT_LOST
                                                        : HEDGE_RESULT_FAILED);
    }
}

/* The timer only ever moves to an earlier time; when it comes too early it is set anew. */
static void arm(struct exchange *x)
{
    uint64_t due = failover_due(&x->failover);

    if (x->timer.slot == 0 || due < x->timer.due_ms)
        loop_timer_set(x->space->loop, &x->timer, due);
}

void exchange_step(struct exchange *x, const struct failover_event *ev)
{
    struct failover_orders orders;

    failover_step(&x->failover, ev, loop_now_ms(x->space->loop), &orders);
    exchange_carry_out(x, &orders);
}

static struct attempt *find_attempt(struct exchange *x, int number)
{
    struct attempt *a = x->attempts;

    while (a != NULL && a->number != number)
        a = a->next;
    return a;
}

/* Its text stays where the client has it. */
static void stop_attempt(const struct exchange *x, struct attempt *a)
{
    attempt_stop(a);
    if (a->said != NULL && (x->owner == NULL || a->said != x->owner->said))
        seam_text_release(a->said);
}

/* How the answer that the client has a part of can be carried on, if at all. */
static unsigned carry_ways(const struct exchange *x)
{
    const struct seam_rules rules = {
        .mode = x->midstream,
        .choices = x->request.choices,
        .tools = x->request.tools,
        .structured = x->request.structured,
        .logprobs = x->request.logprobs,
        .audio = x->request.audio,
    };

    if (x->owner == NULL || x->owner->said == NULL)
        return 0;
    return seam_ways(x->owner->said, &rules);
}

/* What the one before it holds is of no use any more; it cannot be freed from within itself. */
static void attempt_over(struct exchange *x, struct attempt *a)
{
    if (x->deciding != NULL && x->deciding != a)
        stop_attempt(x, x->deciding);
    x->deciding = a;
}

/* What the provider said, for the status page; once the failure itself has been written down. */
static void note_error(const struct attempt *a)
{
    if (a->watch.error.message[0] != '\0')
        target_note(a->target, a->watch.error.message);
}

static void happened(struct attempt *a, const struct failover_event *ev)
{
    struct exchange *x = a->ctx;
    struct failover_event now = *ev;
    struct failover_orders orders;

    if (ev->kind == FAILOVER_FAILED || ev->kind == FAILOVER_COMPLETE)
        attempt_over(x, a);
    if (ev->kind == FAILOVER_FAILED)
        now.ways = carry_ways(x);
    failover_step(&x->failover, &now, loop_now_ms(x->space->loop), &orders);
    if (ev->kind == FAILOVER_FAILED)
        note_error(a);
    exchange_carry_out(x, &orders); /* maybe the end of both */
}

/* Whole events of a stream, in the framing that the client asked for. */
static void send_events(struct exchange *x, struct span events)
{
    struct strbuf out;

    if (!x->admission.door.list) {
        x->answer_bytes += events.n;
        outlet_write(&x->out, events);
        return;
    }
    out = strbuf_heap(events.n + 16); /* shorter than "data: " and the empty line of each */
    sse_list_add(&x->list, events, &out);
    x->answer_bytes += out.len;
    outlet_write(&x->out, strbuf_span(&out));
    strbuf_release(&out);
}

static void write_out(struct attempt *a, struct span bytes)
{
    struct exchange *x = a->ctx;

    send_events(x, bytes);
    if (!outlet_taken(&x->out)) /* it cannot end from within its attempt */
        loop_timer_set(x->space->loop, &x->alone, loop_now_ms(x->space->loop));
}

static void flush(struct attempt *a)
{
    struct exchange *x = a->ctx;

    outlet_flush(&x->out);
    if (outlet_full(&x->out))
        upstream_pause(&a->call);
}

static void progress(struct attempt *a)
{
    struct exchange *x = a->ctx;

    failover_progress(&x->failover, a->owns && !a->held_back, loop_now_ms(x->space->loop));
}

static void room(struct attempt *a)
{
    exchange_pass_room(a->ctx, a);
}

static const struct attempt_events attempt_events = {
    .happened = happened,
    .write = write_out,
    .flush = flush,
    .progress = progress,
    .room = room,
};

/* Reads the whole request, once, for the first target that speaks another dialect. */
static void need_conversation(struct exchange *x)
{
    struct conversation *c;

    if (x->conversation != NULL || x->conversation_error.msg[0] != '\0')
        return;
    c = arena_zalloc(&x->arena, sizeof(*c));
    c->model = x->request.model;
    c->content = x->request.content;
    c->stream = x->request.stream;
    if (x->dialect->read_conversation(strbuf_span(&x->body), &x->arena, c,
                                      &x->conversation_error) == 0)
        x->conversation = c;
}

static void happened_to(struct exchange *x, const char *what, const struct target *t,
                        const struct target *to, enum failure why)
{
    struct event ev = {what, failure_row(why)->label, t->name, to != NULL ? to->name : NULL};

    events_add(x->space->service->events, &ev, loop_now_ms(x->space->loop));
}

static void moved(struct exchange *x, const char *how, const struct target *from,
                  const struct target *to, enum failure why)
{
    metrics_failover(x->space->service->metrics, from->index, to->index, why);
    happened_to(x, how, from, to, why);
}

/* The try before this one that made a call; -1 for the first. */
static int call_before(const struct failover *f, int try)
{
    do
        try--;
    while (try >= 0 && f->tries[try].skipped);
    return try;
}

static void count_start(struct exchange *x, int try)
{
    const struct failover *f = &x->failover;
    const struct failover_try *t = &f->tries[try], *before;
    struct metrics *m = x->space->service->metrics;
    int last = call_before(f, try);

    if (last < 0) {
        metrics_overhead(m, clock_us() - x->asked_us);
        return;
    }
    before = &f->tries[last];
    if (!t->hedge && before->candidate != t->candidate)
        moved(x, "failover", f->candidates[before->candidate].target,
              f->candidates[t->candidate].target, before->outcome);
}

uint64_t exchange_written(const struct exchange *x)
{
    const struct attempt *a = x->owner;
    bool known = a->said != NULL && !a->said->lost;
    bool went_on = known && a->stitch != NULL && a->stitch->join.way != SEAM_ALIGN;
    uint64_t bytes =
        known ? a->said->text.len - (went_on ? a->stitch->join.sent.n : 0) : x->answer_bytes;
    uint64_t guess = bytes / RELAY_BYTES_A_TOKEN;

    return a->watch.usage.output > guess ? a->watch.usage.output : guess;
}

/* The tokens of the answer so far. */
static struct chat_usage used_so_far(const struct exchange *x)
{
    struct chat_usage u = x->used;
    const struct chat_usage *last = &x->owner->watch.usage;

    u.seen = true;
    u.input += last->input;
    u.cached += last->cached;
    u.reasoning += last->reasoning;
    u.output += exchange_written(x);
    return u;
}

/* What a target is asked that is to carry the answer on: the request with more turns behind it. */
static void extend_request(struct exchange *x, enum seam_way way, uint64_t used, bool translates,
                           struct attempt_brief *brief)
{
    struct chat_request *longer = arena_zalloc(&x->arena, sizeof(*longer));
    struct conversation *c = arena_zalloc(&x->arena, sizeof(*c));
    struct err *e = arena_zalloc(&x->arena, sizeof(*e));
    struct seam_request ask;

    seam_request(x->owner->said, way, &x->arena, &ask);
    brief->unsayable = e->msg;
    *longer = x->request;
    if (x->dialect->extend(&x->request, ask.assistant, ask.user, used, &x->arena, longer, e) < 0)
        return;
    c->model = longer->model;
    c->content = longer->content;
    c->stream = longer->stream;
    if (translates && x->dialect->read_conversation(longer->body, &x->arena, c, e) < 0)
        return;
    brief->request = longer;
    brief->conversation = c;
    brief->unsayable = NULL;
}

/* Is what goes to the client kept, in case that somebody else has to carry it on? */
static struct seam_text *keep_text(struct exchange *x)
{
    struct seam_text *t;

    if (!x->request.stream || x->dialect->extend == NULL || x->midstream == SEAM_ERROR ||
        x->no_failover || x->space->service->config->stream.seam_memory == 0 ||
        x->request.choices > 1 || x->request.logprobs || x->request.audio)
        return NULL;
    t = arena_zalloc(&x->arena, sizeof(*t));
    seam_text_init(t, x->space->service->config->stream.seam_memory);
    return t;
}

static enum attempt_commit commit_of(const struct config *c)
{
    return strcmp(c->stream.commit, "full") == 0     ? COMMIT_FULL
           : strcmp(c->stream.commit, "window") == 0 ? COMMIT_WINDOW
                                                     : COMMIT_FIRST;
}

static void add_attempt(struct exchange *x, struct attempt *a)
{
    a->next = x->attempts;
    x->attempts = a;
}

static void start_attempt(struct exchange *x, int try)
{
    const struct failover *f = &x->failover;
    const struct failover_try *t = &f->tries[try];
    const struct config *c = x->space->service->config;
    struct target *target = f->candidates[t->candidate].target;
    bool translates = attempt_translates(target, x->dialect);
    struct attempt_carry carry;
    struct attempt_brief brief;

    count_start(x, try);
    if (x->pass != NULL) {
        add_attempt(x, exchange_pass_try(x, try, &attempt_events));
        return;
    }
    if (translates && (!t->carries_on || t->way == SEAM_ALIGN))
        need_conversation(x);
    brief = (struct attempt_brief){
        .number = try,
        .client = x->dialect,
        .request = &x->request,
        .conversation = x->conversation,
        .conversation_error = x->conversation_error.msg,
        .id = x->answer_id,
        .fields_for_all = x->fields_for_all,
        .fields_for_same = x->fields_for_same,
        .query_for_same = x->query_for_same,
        .without = x->deciding != NULL && x->deciding->target == target ? x->deciding->refused : 0,
        .commit = commit_of(c),
        .window = c->stream.window_tokens,
        .atomic = strcmp(c->stream.tool_calls, "atomic") == 0,
        .own_limits = x->ticket.state != NULL,
    };
    if (t->carries_on) {
        carry = (struct attempt_carry){t->way, &x->owner->writer, used_so_far(x)};
        brief.carry = &carry;
        brief.said = x->owner->said;
        if (t->way != SEAM_ALIGN)
            extend_request(x, t->way, carry.used.output, translates, &brief);
    } else {
        brief.said = keep_text(x);
    }
    add_attempt(x, attempt_start(x->space->service, x->space->pool, x->space->loop, &x->arena,
                                 &brief, target, t->ticket.key, &attempt_events, x));
}

/* It is no part of what goes on now: the other attempt, a timer, or the client's end has decided.
 */
static void drop_attempt(struct exchange *x, int try)
{
    struct attempt *a = find_attempt(x, try);
    enum failure why = x->failover.tries[try].outcome;

    if (why == CONNECT_TIMEOUT ||
        why == TLS_FAILED) /* our own timer; what fails itself, has ended */
        upstream_waits_for(&a->call, a->watch.error.message, sizeof(a->watch.error.message));
    note_error(a);
    stop_attempt(x, a);
}

/* What the provider could not be told. */
static void add_dropped(const struct attempt *a, struct strbuf *fields)
{
    if (a == NULL || a->dropped.len == 0)
        return;
    strbuf_add(fields, "x-holdfast-dropped: ");
    relay_add_value(strbuf_span(&a->dropped), fields);
    strbuf_add(fields, a->dropped.failed ? ", ...\r\n" : "\r\n");
}

/* The status line and the header fields of a stream; nothing of it is sent before the first event.
 * `a`: who answers, as far as that is known. */
static void open_stream(struct exchange *x, const struct attempt *a)
{
    char mem[EXCHANGE_MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));

    exchange_add_id(x, &fields);
    relay_fields(&x->failover, a != NULL ? a->number : -1, x->request.model,
                 loop_now_ms(x->space->loop), &fields);
    add_dropped(a, &fields);
    if (a != NULL)
        strbuf_add_span(&fields, strbuf_span(&a->fields));
    strbuf_add(&fields, x->admission.door.list ? "Content-Type: application/json\r\n"
                                               : "Content-Type: text/event-stream\r\n");
    strbuf_add(&fields, "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n");
    if (x->out.ids.stream[0] != '\0')
        strbuf_addf(&fields, "x-holdfast-stream: %s\r\n", x->out.ids.stream);
    assert(!fields.failed); /* each part of them is bounded */
    x->status = 200;
    x->opened = true;
    outlet_start(&x->out, 200, strbuf_span(&fields));
}

static void heartbeat(struct exchange *x)
{
    if (!x->opened)
        open_stream(x, NULL); /* nobody has answered yet */
    if (x->dialect->comments)
        outlet_write(&x->out, SPAN(": keep-alive\n\n"));
    outlet_flush(&x->out);
}

/* A head that had to go out with a heartbeat could not know who would answer. Comments say it,
 * which clients pass over and people read. */
static void correct_head(struct exchange *x, const struct attempt *a)
{
    char mem[EXCHANGE_MAX_FIELDS], text[EXCHANGE_MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem)), out = strbuf_on(text, sizeof(text));

    if (!x->dialect->comments)
        return;
    relay_fields(&x->failover, a->number, x->request.model, loop_now_ms(x->space->loop), &fields);
    add_dropped(a, &fields);
    for (size_t i = 0, start = 0; i < fields.len; i++)
        if (mem[i] == '\n') {
            strbuf_add(&out, ": ");
            strbuf_add_n(&out, mem + start, i - 1 - start);
            strbuf_add_char(&out, '\n');
            start = i + 1;
        }
    strbuf_add_char(&out, '\n');
    assert(!fields.failed && !out.failed); /* each part of them is bounded */
    outlet_write(&x->out, strbuf_span(&out));
}

static void send_held(struct exchange *x, struct attempt *a)
{
    struct span held = attempt_own(a);

    if (held.n > 0)
        send_events(x, held);
    attempt_held_sent(a);
}

static void settle(struct exchange *x, const struct attempt *a)
{
    metrics_tokens(x->space->service->metrics, a->target->index, &a->watch.usage);
    if (a->watch.usage.seen) {
        atomic_fetch_add_explicit(&a->target->tokens_in, a->watch.usage.input,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&a->target->tokens_out, a->watch.usage.output,
                                  memory_order_relaxed);
    }
}

/* Another target goes on where the answer broke, and its words fit: it owns the client now. A
 * comment marks the place, which clients pass over and people read. */
static void carried_on(struct exchange *x, int try, struct attempt *a)
{
    const struct failover *f = &x->failover;
    struct attempt *before = x->owner;
    uint64_t wrote = a->stitch->before.output - x->used.output;

    settle(x, before);
    x->used = a->stitch->before;
    x->owner = a;
    metrics_midstream(x->space->service->metrics,
                      a->stitch->join.way == SEAM_ALIGN ? MIDSTREAM_ALIGNED : MIDSTREAM_CONTINUED);
    happened_to(x, "carried on", before->target, a->target, f->tries[before->number].outcome);
    if (x->dialect->comments) {
        char mem[EXCHANGE_MAX_FIELDS];
        struct strbuf mark = strbuf_on(mem, sizeof(mem));

        relay_seam(f, before->number, try, x->request.model, &a->stitch->join, wrote,
                   wrote != before->watch.usage.output, &mark);
        outlet_write(&x->out, strbuf_span(&mark));
    }
    send_held(x, a);
    outlet_flush(&x->out);
}

static void commit(struct exchange *x, int try)
{
    const struct failover_try *t = &x->failover.tries[try];
    struct attempt *a = find_attempt(x, try);

    if (x->committed) {
        carried_on(x, try, a);
        return;
    }
    x->committed = true;
    x->owner = a;
    if (a->spent_ms != RETRY_AFTER_NONE)
        target_spent(a->target, &t->ticket, a->spent_ms, loop_now_ms(x->space->loop));
    if (t->hedge) {
        int first = call_before(&x->failover, try);

        moved(x, "hedge", find_attempt(x, first)->target, a->target,
              x->failover.tries[first].outcome);
    }
    x->first_us = clock_us();
    if (a->raw) {
        exchange_pass_commit(x, a);
        return;
    }
    metrics_first_token(x->space->service->metrics, a->target->index, x->first_us - x->started_us);
    if (!x->request.stream)
        return; /* FINISH follows and sends it in one piece */
    if (!x->opened)
        open_stream(x, a);
    else
        correct_head(x, a);
    send_held(x, a);
    /* The request is kept for another target; there is none any more. */
    if (a->said == NULL && upstream_asked(&a->call))
        exchange_forget_body(x);
}

static void finish_whole(struct exchange *x, struct attempt *a)
{
    char mem[EXCHANGE_MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));

    exchange_add_id(x, &fields);
    relay_fields(&x->failover, x->failover.verdict, x->request.model, loop_now_ms(x->space->loop),
                 &fields);
    add_dropped(a, &fields);
    strbuf_add_span(&fields, strbuf_span(&a->fields));
    strbuf_add(&fields, "Content-Type: application/json\r\n");
    assert(!fields.failed); /* each part of them is bounded */
    exchange_answer(x, 200, &fields, strbuf_span(&a->held), FAILURE_NONE,
                    failure_row(FAILURE_NONE)->label);
}

static void finish(struct exchange *x)
{
    struct attempt *a = x->owner;

    a->over = true;
    upstream_cancel(&a->call); /* where it only kept the connection open */
    if (a->raw) {
        exchange_pass_finish(x, a);
        return;
    }
    settle(x, a);
    if (!x->request.stream) {
        finish_whole(x, a);
        return;
    }
    if (outlet_taken(&x->out) && !a->watch.end) {
        struct strbuf last = strbuf_in(&x->arena, MAX_LAST);

        attempt_write_end(a, &last);
        if (last.failed) { /* without its end it is no whole answer */
            exchange_record(x, ANSWER_TOO_BIG, failure_row(ANSWER_TOO_BIG)->label);
            outlet_abort(&x->out, ANSWER_TOO_BIG);
            exchange_end(x);
            return;
        }
        send_events(x, strbuf_span(&last));
    }
    if (outlet_taken(&x->out) && x->admission.door.list) {
        struct strbuf close = strbuf_in(&x->arena, 16);

        sse_list_end(&x->list, &close);
        x->answer_bytes += close.len;
        outlet_write(&x->out, strbuf_span(&close));
    }
    exchange_record(x, FAILURE_NONE, failure_row(FAILURE_NONE)->label);
    outlet_end(&x->out);
    exchange_end(x);
}

static const struct chat_error *what_was_said(struct exchange *x)
{
    const struct failover *f = &x->failover;
    const struct failover_try *t = f->verdict >= 0 ? &f->tries[f->verdict] : NULL;

    return t == NULL || t->skipped ? NULL : &find_attempt(x, f->verdict)->watch.error;
}

/* After the first byte: the dialect's error inside the stream, then the connection breaks off. */
static void break_off(struct exchange *x)
{
    struct strbuf event = strbuf_in(&x->arena, MAX_LAST);
    struct chat_error error;

    if (x->pass != NULL) { /* nothing of ours can stand in it: it breaks off */
        exchange_record(x, failover_outcome(&x->failover),
                        failure_row(failover_outcome(&x->failover))->label);
        outlet_abort(&x->out, failover_outcome(&x->failover));
        exchange_end(x);
        return;
    }
    relay_error(&x->failover, what_was_said(x), x->request.model, loop_now_ms(x->space->loop),
                &error);
    error.request_id = x->id;
    if (x->tries_again && x->dialect->comments) {
        strbuf_add(&event, ": ");
        relay_add_value(span_of(error.message), &event);
        strbuf_add(&event, "\n\n");
    } else if (x->owner != NULL && x->owner->writer.started && x->dialect->write_break != NULL) {
        x->dialect->write_break(&x->owner->writer, &error, &event);
    } else {
        x->dialect->write_stream_error(&error, &event);
    }
    if (x->owner != NULL)
        settle(x, x->owner);
    if (x->owner != NULL && failure_row(failover_outcome(&x->failover))->blame != NEUTRAL &&
        exchange_session(x).n > 0)
        target_note_break(x->owner->target, span_hash(exchange_session(x)),
                          loop_now_ms(x->space->loop));
    metrics_midstream(x->space->service->metrics, MIDSTREAM_ERROR);
    if (x->owner != NULL)
        happened_to(x, "broken answer", x->owner->target, NULL, failover_outcome(&x->failover));
    send_events(x, strbuf_span(&event));
    exchange_record(x, failover_outcome(&x->failover),
                    failure_row(failover_outcome(&x->failover))->label);
    outlet_abort(&x->out, failover_outcome(&x->failover));
    exchange_end(x);
}

static void give_up(struct exchange *x)
{
    char mem[EXCHANGE_MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));
    struct strbuf text = strbuf_in(&x->arena, 8192);
    enum failure outcome = failover_outcome(&x->failover);
    struct chat_error error;

    relay_error(&x->failover, what_was_said(x), x->request.model, loop_now_ms(x->space->loop),
                &error);
    error = exchange_for_client(x, &error);
    x->dialect->write_error(&error, &text);
    exchange_add_id(x, &fields);
    relay_fields(&x->failover, -1, x->request.model, loop_now_ms(x->space->loop), &fields);
    relay_retry_fields(&x->failover, &fields);
    strbuf_add(&fields, "Content-Type: application/json\r\n");
    exchange_answer(x, error.status, &fields, strbuf_span(&text), outcome,
                    failure_row(outcome)->label);
}

void exchange_carry_out(struct exchange *x, const struct failover_orders *orders)
{
    count_tries(x);
    for (unsigned i = 0; i < orders->n; i++) {
        int try = orders->v[i].try;

        switch (orders->v[i].kind) {
        case ORDER_TRY:
            start_attempt(x, try);
            break;
        case ORDER_DROP:
            drop_attempt(x, try);
            break;
        case ORDER_COMMIT:
            commit(x, try);
            break;
        case ORDER_HEARTBEAT:
            heartbeat(x);
            break;
        case ORDER_FINISH:
            finish(x);
            return;
        case ORDER_BREAK:
            break_off(x);
            return;
        case ORDER_REFUSE:
            give_up(x);
            return;
        }
    }
    if (!x->failover.ended)
        arm(x);
}

void exchange_timer_due(struct loop_timer *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, timer);
    uint64_t now = loop_now_ms(x->space->loop);
    struct failover_event ev = {.kind = FAILOVER_TICK, .retry_after_ms = RETRY_AFTER_NONE};
    const struct failover *f = &x->failover;

    /* While a slow client holds the answer up, the provider is not at fault. */
    if (x->owner != NULL && !x->owner->over && x->owner->call.paused)
        failover_progress(&x->failover, true, now);
    if (failover_due(&x->failover) > now) {
        arm(x);
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(f->live); i++)
        if (f->live[i] >= 0 && f->tries[f->live[i]].phase == PHASE_CONNECTING)
            ev.tcp_up[i] = upstream_tcp_up(&find_attempt(x, f->live[i])->call);
    ev.ways = carry_ways(x);
    exchange_step(x, &ev);
    /* What was held for a while goes out, though nothing comes from the provider just now. */
    if (!x->ended && x->committed)
        outlet_flush(&x->out);
}
