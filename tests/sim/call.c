#include "tests/sim/sim.h"

/* How soon an error comes, and how long after the finish reason the end marker. */
#define ERROR_MS 300
#define END_MS   400

static void later(struct sim *s, struct request *r, struct call *c, uint64_t in_ms, struct event e)
{
    e.at_ms = s->now + in_ms;
    e.request = r->id;
    e.call = (unsigned)(c - r->calls);
    sim_push(s, e);
}

static enum failure one_of(struct sim *s, const struct fault_row *row)
{
    unsigned n = 0;

    while (n < ARRAY_LEN(row->failures) && row->failures[n] != FAILURE_NONE)
        n++;
    return row->failures[sim_draw(s, 0, n - 1)];
}

/* The time that a provider names to come again, if it names one. */
static uint64_t draw_retry_after(struct sim *s)
{
    if (sim_chance(s, 50))
        return sim_draw(s, 0, 2500);
    return sim_chance(s, 80) ? sim_draw(s, 2501, 60000) : RETRY_AFTER_CAP;
}

static void fail_later(struct sim *s, struct request *r, struct call *c, const struct episode *e,
                       uint64_t in_ms)
{
    enum failure why = one_of(s, &fault_rows[e->kind]);
    bool may_name = why == RATE_LIMITED || why == OVERLOADED || why == QUOTA;

    later(s, r, c, in_ms,
          (struct event){
              .kind = FAIL,
              .failure = why,
              .retry_after_ms = may_name && e->named ? draw_retry_after(s) : RETRY_AFTER_NONE,
              .mended = (why == BAD_REQUEST || why == UNSUPPORTED) && sim_chance(s, 50)});
}

/* The connection is opened, or one that is there already is used. */
void call_start(struct sim *s, struct request *r, struct call *c)
{
    const struct habits *h = &s->habits[c->target->index];
    const struct episode *e = sim_fault(s, AT_CONNECT, c->target, c->key);

    c->tcp_up_ms = SIM_NEVER;
    if (e != NULL && e->kind == FAULT_NET_HANGS) {
        later(s, r, c, 0, (struct event){.kind = CONNECT}); /* which waits for the network */
    } else if (e != NULL && fault_rows[e->kind].silent) {
        if (e->kind == FAULT_NO_TLS)
            c->tcp_up_ms = s->now + h->rtt_ms;
    } else if (e != NULL) {
        fail_later(s, r, c, e, sim_draw(s, 0, 2 * h->rtt_ms + 3));
    } else if (sim_chance(s, 60)) {
        c->tcp_up_ms = s->now;
        later(s, r, c, 0, (struct event){.kind = CONNECT});
    } else {
        c->tcp_up_ms = s->now + h->rtt_ms;
        later(s, r, c, 2 * h->rtt_ms, (struct event){.kind = CONNECT});
    }
}

/* Has the provider more calls of this target under way than it takes? */
static const struct episode *too_many(struct sim *s, const struct call *c)
{
    const struct episode *e = sim_fault(s, OF_ROOM, c->target, c->key);
    const struct habits *h = &s->habits[c->target->index];
    unsigned live = 0;

    for (unsigned k = 0; k < SIM_KEYS; k++)
        live += h->live[k];
    return e != NULL && live > e->room ? e : NULL;
}

static uint64_t first_output_ms(struct sim *s, const struct request *r, const struct call *c)
{
    const struct habits *h = &s->habits[c->target->index];
    uint64_t ms = sim_draw(s, h->first_ms / 2, 2 * h->first_ms);

    if (r->kind == PACE_WHOLE || r->kind == PACE_WHOLE_REASONING)
        ms += h->tokens * h->gap_ms;
    if (sim_fault(s, OF_PACE, c->target, c->key) != NULL)
        ms *= 10;
    else if (!r->light && sim_chance(s, 3))
        ms *= 5;
    return ms;
}

/* The request is there; what will the provider make of it? */
static void connected(struct sim *s, struct request *r, struct call *c)
{
    const struct episode *e;
    uint64_t ms;

    c->connected = true;
    c->tcp_up_ms = s->now < c->tcp_up_ms ? s->now : c->tcp_up_ms;
    request_step(s, r,
                 &(struct failover_event){.kind = FAILOVER_CONNECTED,
                                          .try = c->try,
                                          .retry_after_ms = RETRY_AFTER_NONE});
    if (!c->live)
        return;
    e = too_many(s, c);
    if (e == NULL)
        e = sim_fault(s, AT_ANSWER, c->target, c->key);
    if (e != NULL && fault_rows[e->kind].silent)
        return;
    if (e != NULL) {
        fail_later(s, r, c, e, sim_draw(s, 0, ERROR_MS));
        return;
    }
    if (c->carries && (s->habits[c->target->index].refuses & SEAM_BIT(c->way)) != 0) {
        later(s, r, c, sim_draw(s, 0, ERROR_MS),
              (struct event){.kind = FAIL,
                             .failure = CARRY_REFUSED,
                             .retry_after_ms = RETRY_AFTER_NONE,
                             .no_prefill = c->way == SEAM_PREFILL && sim_chance(s, 50)});
        return;
    }
    ms = first_output_ms(s, r, c);
    if (c->tokens == 0) { /* the answer was complete but for its end */
        later(s, r, c, ms, (struct event){.kind = END});
        return;
    }
    if (sim_chance(s, 30)) /* "the answer begins", and a ping */
        later(s, r, c, ms / 2, (struct event){.kind = PROGRESS});
    later(s, r, c, ms, (struct event){.kind = ANSWER});
}

/* The provider has said that this key is not to ask for this model again until then. */
static void call_not_before(struct sim *s, const struct call *c, uint64_t until_ms)
{
    uint64_t *not_before = &s->habits[c->target->index].not_before_ms[c->key];

    if (until_ms > *not_before)
        *not_before = until_ms;
}

static void spend(struct sim *s, struct request *r, struct call *c)
{
    if (sim_fault(s, OF_ALLOWANCE, c->target, c->key) == NULL)
        return;
    target_spent(c->target, &r->f.tries[c->try].ticket, sim_draw(s, 1, 20000), s->now);
    sim_saw(s, SEEN_SPENT);
}

/* The next token, if there is one, or the end. */
static void go_on(struct sim *s, struct request *r, struct call *c)
{
    const struct habits *h = &s->habits[c->target->index];
    const struct episode *e = sim_fault(s, AT_TOKEN, c->target, c->key);

    if (e != NULL && fault_rows[e->kind].silent)
        return;
    if (e != NULL)
        fail_later(s, r, c, e, h->gap_ms);
    else if (c->sent < c->tokens)
        later(s, r, c, sim_draw(s, 0, 2 * h->gap_ms), (struct event){.kind = TOKEN});
    else
        later(s, r, c, sim_draw(s, 0, END_MS), (struct event){.kind = END});
}

/* ---- an answer in pieces ---- */

/* What it goes on with is another text. */
static void stray(struct sim *s, struct request *r, struct call *c)
{
    c->reported = SEAM_MISMATCH;
    request_step(s, r,
                 &(struct failover_event){.kind = FAILOVER_FAILED,
                                          .try = c->try,
                                          .failure = SEAM_MISMATCH,
                                          .status = 200,
                                          .retry_after_ms = RETRY_AFTER_NONE,
                                          .ways = request_ways(r)});
}

/* Does what it has written go on where the client's answer broke? `over`: more text will not come.
 * False when that is certainly not so, and its attempt is over. */
static bool look(struct sim *s, struct request *r, struct call *c, bool over)
{
    unsigned text = c->sent < c->call_at ? c->sent : c->call_at;

    if (c->fits)
        return true;
    if (c->way == SEAM_ALIGN && text > c->from)
        c->fits = true; /* each piece before was the same */
    else if (c->way == SEAM_ALIGN && over)
        c->fits = text == c->from;
    else if (c->way != SEAM_ALIGN && (over || text > c->unsure))
        c->fits = true;
    else if (!over)
        return true;
    if (c->fits && !sim_chance(s, s->habits[c->target->index].strays))
        return true;
    c->fits = false;
    stray(s, r, c);
    return false;
}

static void piece(struct sim *s, struct request *r, struct call *c)
{
    c->sent++;
    c->said_ms = s->now;
    c->calling = c->sent > c->call_at;
    if (!look(s, r, c, c->calling))
        return;
    request_output(s, r, c);
    if (c->live)
        go_on(s, r, c);
}

/* Nothing more of it comes: what was held back until then is free. False when its attempt is over.
 */
static bool nothing_more(struct sim *s, struct request *r, struct call *c)
{
    if (!look(s, r, c, true))
        return false;
    if (c->calling) {
        c->calling = false;
        c->said_ms = s->now;
        request_output(s, r, c);
    }
    return true;
}

/* The end of a stream: the finish reason first, as a rule, and the end marker most of the time. */
static void end(struct sim *s, struct request *r, struct call *c)
{
    struct failover_event ev = {.kind = FAILOVER_COMPLETE,
                                .try = c->try,
                                .status = 200,
                                .retry_after_ms = RETRY_AFTER_NONE};

    if (!nothing_more(s, r, c))
        return;
    if (!c->stopped && sim_chance(s, 70)) {
        c->stopped = true;
        ev.kind = FAILOVER_STOPPED;
        request_step(s, r, &ev);
        if (sim_chance(s, 90))
            later(s, r, c, sim_draw(s, 0, 2 * END_MS), (struct event){.kind = END});
        return;
    }
    c->whole = true;
    c->reported = FAILURE_NONE;
    request_step(s, r, &ev);
}

/* The answer begins; or all of it is there at once. */
static void answer(struct sim *s, struct request *r, struct call *c)
{
    struct failover_event ev = {.kind = FAILOVER_COMPLETE,
                                .try = c->try,
                                .status = 200,
                                .retry_after_ms = RETRY_AFTER_NONE};

    spend(s, r, c);
    if (r->kind != PACE_WHOLE && r->kind != PACE_WHOLE_REASONING) {
        piece(s, r, c);
        return;
    }
    c->sent = c->tokens;
    c->said_ms = s->now;
    c->whole = true;
    c->reported = FAILURE_NONE;
    request_step(s, r, &ev);
}

static unsigned status_of(enum failure f)
{
    switch (failure_row(f)->blame) {
    case BLAME_ENDPOINT:
        return f == BAD_GATEWAY || f == HTML_PAGE ? 502 : 0;
    case BLAME_PATH:
        return 0;
    default:
        return f == LOCAL ? 0 : f == SERVER_ERROR ? 500 : f == OVERLOADED ? 503 : 429;
    }
}

/* As an attempt does: what a target says against a request to go on is about the way of asking, if
 * it is not about one word of it. */
static enum failure meant(const struct call *c, const struct event *e)
{
    bool said = e->failure == BAD_REQUEST || e->failure == CLIENT_ERROR ||
                (e->failure == UNSUPPORTED && !e->mended);

    return said && c->carries && c->way != SEAM_ALIGN ? CARRY_REFUSED : e->failure;
}

static void fail(struct sim *s, struct request *r, struct call *c, const struct event *e)
{
    c->reported = meant(c, e);
    if (e->failure == RATE_LIMITED && e->retry_after_ms != RETRY_AFTER_NONE)
        call_not_before(s, c, s->now + e->retry_after_ms);
    if (e->no_prefill)
        atomic_store(&c->target->no_prefill_ms, s->now);
    request_step(s, r,
                 &(struct failover_event){.kind = FAILOVER_FAILED,
                                          .try = c->try,
                                          .failure = c->reported,
                                          .status = status_of(e->failure),
                                          .retry_after_ms = e->retry_after_ms,
                                          .mended = e->mended && c->reported == e->failure,
                                          .ways = request_ways(r)});
}

void call_happen(struct sim *s, struct request *r, const struct event *e)
{
    struct call *c = &r->calls[e->call];
    bool comes = c->connected || e->kind != FAIL; /* by the network */
    uint64_t back_ms = comes ? sim_net_back_ms(s, c->target) : 0;

    if (!c->live)
        return;
    if (back_ms != 0) { /* what is on its way is sent again until then */
        later(s, r, c, back_ms - s->now + sim_draw(s, 0, 300), *e);
        return;
    }
    sim_mix(s, s->now << 8 | e->kind);
    switch (e->kind) {
    case CONNECT:
        connected(s, r, c);
        break;
    case PROGRESS:
        c->said_ms = s->now;
        request_step(s, r,
                     &(struct failover_event){.kind = FAILOVER_PROGRESS,
                                              .try = c->try,
                                              .retry_after_ms = RETRY_AFTER_NONE});
        break;
    case ANSWER:
        answer(s, r, c);
        break;
    case TOKEN:
        piece(s, r, c);
        break;
    case END:
        end(s, r, c);
        break;
    case FAIL:
        fail(s, r, c, e);
        break;
    default:
        sim_fail(s, r, "a happening that is no call's");
    }
}
