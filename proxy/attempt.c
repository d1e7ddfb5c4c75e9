#include "proxy/attempt_parts.h"

#include <stdio.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/secret.h"
#include "providers/params.h"
#include "providers/scripted.h"

#define MAX_EVENT         (16 * 1024 * 1024) /* bytes of one event: images come inline */
#define MAX_PREAMBLE      (256 * 1024)       /* held before the first output of a stream */
#define MAX_DROPPED       512  /* bytes of the list of fields that a provider cannot be told */
#define MAX_PASSED_FIELDS 1024 /* header lines that go on to the client, with room for our own */

/* ---- telling -------------------------------------------------------------------------------- */

void attempt_tell(struct attempt *a, enum failover_event_kind kind)
{
    struct failover_event ev = {
        .kind = kind, .try = a->number, .status = a->status, .retry_after_ms = RETRY_AFTER_NONE};

    a->events->happened(a, &ev);
}

/* A refusal of one parameter is mended once. The target is remembered to refuse it, unless it was
 * this request's value that it does not know. */
static bool mend(struct attempt *a, enum failure why)
{
    uint32_t refused =
        why == UNSUPPORTED && a->call.total != 0 ? params_blamed(&a->watch.error) : 0;

    if (refused == 0 || (a->without & refused) != 0)
        return false;
    a->refused = a->without | refused;
    if (params_only_value(&a->watch.error)) {
        log_warn("%s: refuses a parameter's value and is asked once more without it: %s",
                 a->target->name, a->watch.error.message);
        return true;
    }
    atomic_fetch_or_explicit(&a->target->without, refused, memory_order_relaxed);
    log_info("%s: refuses a parameter and is asked without it from now on: %s", a->target->name,
             a->watch.error.message);
    return true;
}

/* A 4xx to a request that asks to carry an answer on is about this way of asking: the same model
 * may do it in another one. That it takes no assistant's message at the end is remembered. */
static enum failure carry_refused(struct attempt *a, enum failure why)
{
    if (a->stitch == NULL || a->stitch->join.way == SEAM_ALIGN || a->mode != MODE_ERROR ||
        (why != BAD_REQUEST && why != UNSUPPORTED && why != CLIENT_ERROR))
        return why;
    if (a->stitch->join.way == SEAM_PREFILL &&
        span_find_nocase(span_of(a->watch.error.message), "prefill") != NULL)
        atomic_store_explicit(&a->target->no_prefill_ms, loop_now_ms(a->loop),
                              memory_order_relaxed);
    return CARRY_REFUSED;
}

static void fail(struct attempt *a, enum failure why)
{
    bool mended = mend(a, why);
    struct failover_event ev = {.kind = FAILOVER_FAILED,
                                .try = a->number,
                                .failure = mended ? why : carry_refused(a, why),
                                .mended = mended,
                                .status = a->status,
                                .retry_after_ms = a->retry_after_ms};

    a->over = true;
    upstream_cancel(&a->call);
    a->events->happened(a, &ev);
}

void attempt_fail(struct attempt *a, enum failure why, const char *text)
{
    size_t n;

    if (a->watch.failure != FAILURE_NONE) /* not what the provider said, then */
        a->watch.error = (struct chat_error){0};
    snprintf(a->watch.error.message, sizeof(a->watch.error.message), "%s", text);
    n = strlen(a->watch.error.message);
    secret_redact(a->watch.error.message, &n);
    a->watch.error.message[n] = '\0';
    fail(a, why);
}

/* An error inside an answer that began as a good one: `body` tells what its head could not. */
static void fail_inside(struct attempt *a, struct span body)
{
    a->retry_after_ms = retry_after_read(RETRY_AFTER_NONE, RETRY_AFTER_NONE, body);
    fail(a, a->watch.failure);
}

/* ---- an answer in events --------------------------------------------------------------------- */

/* Whole events go to the client, or wait for the commit. */
static bool pass_on(struct attempt *a, struct span bytes)
{
    if (bytes.n == 0)
        return true;
    if (a->held_back && !a->rewrites) {
        strbuf_add_span(&a->calls, bytes);
        if (!a->calls.failed)
            return true;
        attempt_fail(a, ANSWER_TOO_BIG, "a tool call is larger than limits.answer_body");
        return false;
    }
    if (a->owns) {
        a->events->write(a, bytes);
        return !a->over;
    }
    strbuf_add_span(&a->held, bytes);
    if (!a->held.failed)
        return true;
    attempt_fail(a, ANSWER_TOO_BIG, "too much came before the first output");
    return false;
}

static bool inside(struct span part, struct span whole)
{
    return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

/* Where only the end of the transport ends an answer, more may come after a finish reason, and a
 * later one then counts. So it is held until the end. */
struct held_stop {
    struct held_stop *next;
    unsigned choice;
    struct span reason;
};

static void hold_stop(struct attempt *a, const struct chat_event *ev)
{
    struct held_stop **at = &a->stops;

    while (*at != NULL && (*at)->choice != ev->choice)
        at = &(*at)->next;
    if (*at == NULL) {
        *at = arena_zalloc(a->arena, sizeof(**at));
        (*at)->choice = ev->choice;
    }
    (*at)->reason = arena_copy(a->arena, ev->text);
}

/* One event to whoever puts the answer into the client's words: as it comes, or into the whole. */
static void give_words(void *ctx, const struct chat_event *ev)
{
    struct attempt *a = ctx;

    if (!a->request->stream) {
        fold_event(&a->whole, ev);
        return;
    }
    a->client->write_event(&a->writer, ev, &a->words);
    if (a->said != NULL && !a->held_back)
        seam_note(a->said, ev);
}

/* An event of a tool call that is held back, or one behind it. Until the call is complete it is not
 * put into words, lest the writer remember a call that the client never gets. */
struct kept_event {
    struct kept_event *next;
    struct chat_event ev;
};

static void keep_event(struct attempt *a, const struct chat_event *ev)
{
    struct kept_event *k = arena_alloc(a->arena, sizeof(*k));

    *k = (struct kept_event){.ev = *ev};
    k->ev.text = arena_copy(a->arena, ev->text);
    k->ev.id = arena_copy(a->arena, ev->id);
    k->ev.name = arena_copy(a->arena, ev->name);
    a->kept_bytes += sizeof(*k) + ev->text.n + ev->id.n + ev->name.n;
    if (a->kept_bytes > a->service->config->limits.answer_body)
        a->words.failed = true;
    if (a->last_kept != NULL)
        a->last_kept->next = k;
    else
        a->kept = k;
    a->last_kept = k;
}

/* Nothing of the calls of an answer goes out before all are complete. */
static void hold_back(struct attempt *a)
{
    a->held_back = true;
    if (a->said != NULL)
        a->said->call = true;
}

static void give(struct attempt *a, const struct chat_event *ev)
{
    if (ev->kind == CHAT_TOOL_START && a->atomic && !a->held_back && !a->gave_calls)
        hold_back(a);
    if (a->held_back)
        keep_event(a, ev);
    else if (a->stitch != NULL)
        stitch_event(a->stitch, ev, give_words, a);
    else
        give_words(a, ev);
}

static void give_stops(struct attempt *a)
{
    for (const struct held_stop *s = a->stops; s != NULL; s = s->next) {
        struct chat_event stop = {.kind = CHAT_STOP, .choice = s->choice, .text = s->reason};

        give(a, &stop);
    }
    a->stops = NULL;
}

/* Where an answer begins or ends, and how long it is, is not what it says. */
static bool is_output(const struct chat_event *ev)
{
    return ev->kind != CHAT_START && ev->kind != CHAT_STOP && ev->kind != CHAT_USAGE &&
           ev->kind != CHAT_END;
}

static void translate(void *ctx, const struct chat_event *ev)
{
    struct attempt *a = ctx;

    a->told_output += is_output(ev);
    if (ev->kind == CHAT_STOP && !a->dialect->marks_end) {
        hold_stop(a, ev);
        return;
    }
    if (ev->kind == CHAT_END)
        give_stops(a);
    give(a, ev);
}

/* An event goes out as the provider's own bytes. */
static void note(void *ctx, const struct chat_event *ev)
{
    struct attempt *a = ctx;

    a->told_output += is_output(ev);
    seam_note(a->said, ev);
}

/* Passes on what the translation of an event has come to. */
static bool pass_words(struct attempt *a)
{
    bool on = false;

    if (a->words.failed)
        attempt_fail(a, ANSWER_TOO_BIG, "an event of the answer is too large to be translated");
    else if (a->stitch != NULL && a->stitch->said == SEAM_WRONG)
        attempt_fail(a, SEAM_MISMATCH, "it goes on from another place, or with another text");
    else
        on = pass_on(a, strbuf_span(&a->words));
    strbuf_clear(&a->words);
    return on;
}

/* ---- when it may go out ---- */

static enum failover_hold hold_of(const struct attempt *a)
{
    if (a->held_back || a->commit == COMMIT_FULL ||
        (a->stitch != NULL && a->stitch->said != SEAM_LIVE))
        return HOLD_ALL;
    return a->commit == COMMIT_WINDOW && a->pieces < a->window ? HOLD_WINDOW : HOLD_NOT;
}

/* There is output, or what was held back of it has become free. False when the attempt is over. */
static bool tell_output(struct attempt *a)
{
    struct failover_event ev = {.kind = FAILOVER_OUTPUT,
                                .try = a->number,
                                .status = a->status,
                                .retry_after_ms = RETRY_AFTER_NONE,
                                .hold = hold_of(a)};

    a->pieces++;
    /* What is in words already, and waits for a call behind it, cannot be begun anew. */
    if (a->stitch != NULL && a->stitch->said == SEAM_LIVE && ev.hold != HOLD_NOT)
        a->said->tool = true;
    if (a->owns || (a->told && ev.hold == a->hold))
        return true;
    a->told = true;
    a->hold = ev.hold;
    if (ev.hold != HOLD_NOT) /* more than a few lifecycle events is going to be held */
        a->held.max = a->service->config->limits.answer_body;
    a->events->happened(a, &ev);
    return !a->over;
}

/* Does a tool call begin in the event that was just read, which would go out as it is? */
static bool begins_call(const struct attempt *a)
{
    return a->atomic && !a->rewrites && !a->held_back && !a->gave_calls && a->watch.tools &&
           !a->watch.stopped;
}

/* The same where the provider's bytes go out: nothing of the event does, and what was noted of it
 * is taken back. */
static void hold_bytes(struct attempt *a, const struct seam_text *before)
{
    a->calls = strbuf_heap(a->service->config->limits.answer_body);
    if (a->said != NULL && !a->said->lost) {
        struct strbuf text = a->said->text;

        text.len = before->text.len;
        *a->said = *before;
        a->said->text = text;
    }
    hold_back(a);
}

/* The calls are complete. */
static bool give_calls(struct attempt *a)
{
    bool on;

    a->held_back = false;
    a->gave_calls = true;
    if (a->rewrites) {
        for (const struct kept_event *k = a->kept; k != NULL; k = k->next)
            give(a, &k->ev);
        return pass_words(a) && tell_output(a);
    }
    if (a->said != NULL)
        a->said->tool = true;
    on = pass_on(a, strbuf_span(&a->calls));
    strbuf_release(&a->calls);
    return on && tell_output(a);
}

/* Whatever was held is all that comes. */
static void complete(struct attempt *a)
{
    if (a->held_back && !give_calls(a))
        return;
    if (a->stitch != NULL && a->stitch->said == SEAM_HOLD) {
        stitch_end(a->stitch, give_words, a);
        if (!pass_words(a))
            return;
    }
    a->over = true;
    attempt_tell(a, FAILOVER_COMPLETE);
}

/* One event of an answer that is translated: what goes out are not the provider's bytes. */
static bool take_words(struct attempt *a, enum dialect_event kind)
{
    if (!pass_words(a))
        return false;
    if (kind == EVENT_OUTPUT && !tell_output(a))
        return false;
    if (a->held_back && (a->watch.stopped || kind == EVENT_END) && !give_calls(a))
        return false;
    a->ending = kind == EVENT_END;
    return !a->ending;
}

/* Half a piece of an answer: without it there would be a hole in the text. */
static bool may_hold_text(struct span data)
{
    static const char *const marks[] = {"\"delta\"", "\"content\"", "\"text\"", "\"parts\""};

    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (span_find(data, marks[i]) != NULL)
            return true;
    return false;
}

/* One event that cannot be read, and was no piece of the answer, is no reason to break off prose
 * that somebody is reading. A tool call or JSON could be wrong without it, and a second one is no
 * accident. */
static bool may_leave_out(const struct attempt *a, const struct sse_event *ev)
{
    return a->owns && !a->gap && !a->request->tools && !a->request->structured &&
           !may_hold_text(ev->data);
}

static bool leave_out(struct attempt *a)
{
    a->gap = true;
    log_warn("%s: an event of its answer could not be read and was left out", a->target->name);
    if (!a->client->comments)
        return true;
    return pass_on(a, SPAN(": an event of the provider could not be read and was left out\n\n"));
}

/* Is it one data line and nothing else, with something in it? */
static bool is_plain(const struct sse_event *ev)
{
    static const char name[] = "data: ";

    return span_starts(ev->raw, name) && ev->data.n != 0 &&
           ev->data.p == ev->raw.p + sizeof(name) - 1 &&
           ev->raw.n - ev->data.n <= sizeof(name) - 1 + 4 && !span_is(ev->data, "[DONE]");
}

/* Clients that know no comments know no other lines and no marks either: they get the event's data,
 * and nothing where there is none. */
static bool take_plain(struct attempt *a, const struct sse_event *ev, enum dialect_event kind)
{
    if (ev->has_data && ev->data.n != 0 && !span_is(span_trim(ev->data), "[DONE]")) {
        strbuf_add(&a->words, "data: ");
        for (size_t i = 0; i < ev->data.n; i++) /* in JSON it is white space */
            strbuf_add_char(&a->words, ev->data.p[i] == '\n' ? ' ' : ev->data.p[i]);
        strbuf_add(&a->words, "\n\n");
    }
    return take_words(a, kind);
}

/* Judges one event. `run` is what stands before it and was not passed on yet. False when reading
 * stops: the attempt is over, or the answer has ended. */
static bool take_event(struct attempt *a, const struct sse_event *ev, struct span input,
                       struct span *run)
{
    struct seam_text before = a->said != NULL ? *a->said : (struct seam_text){0};
    chat_sink *sink = a->rewrites ? translate : a->said != NULL && !a->held_back ? note : NULL;
    unsigned told_before = a->told_output;
    enum dialect_event kind = a->dialect->read_event(ev, &a->watch, sink, a);
    bool untold = kind == EVENT_OUTPUT && sink != NULL && a->told_output == told_before;
    enum failure verdict = kind == EVENT_ERROR ? a->watch.failure
                           : kind == EVENT_BAD ? MALFORMED
                           : kind == EVENT_END ? a->dialect->judge_end(&a->watch)
                                               : FAILURE_NONE;

    if (verdict != FAILURE_NONE) {
        if (!pass_on(a, *run))
            return false;
        run->n = 0;
        if (kind == EVENT_BAD && may_leave_out(a, ev))
            return leave_out(a);
        if (kind == EVENT_ERROR)
            fail_inside(a, ev->data);
        else
            attempt_fail(a, verdict,
                         kind == EVENT_BAD
                             ? "an event of the answer is not valid JSON"
                             : "the end marker came without a finish reason or output");
        return false;
    }
    if (begins_call(a)) {
        if (!pass_on(a, *run))
            return false;
        run->n = 0;
        hold_bytes(a, &before);
    }
    /* A picture, say, or the work of a provider's own tool: it cannot be carried on, nor can an
     * answer be carried on that holds some. */
    if ((untold || a->watch.foreign) && a->stitch != NULL) {
        attempt_fail(a, SEAM_MISMATCH, "it holds what cannot stand in another one's answer");
        return false;
    }
    if (untold && a->said != NULL)
        a->said->tool = true;
    if (a->rewrites)
        return take_words(a, kind);
    if (a->said != NULL && !a->said->lost && !a->held_back)
        a->client->follow(&a->writer, ev, kind);
    if (!a->client->comments && !is_plain(ev)) {
        if (!pass_on(a, *run))
            return false;
        run->n = 0;
        return take_plain(a, ev, kind);
    }
    /* Neighbours in the input go out together; an event that was put together from several reads
     * stands elsewhere, and only until the next one is asked for. */
    if (run->n > 0 && run->p + run->n != ev->raw.p) {
        if (!pass_on(a, *run))
            return false;
        run->n = 0;
    }
    if (run->n == 0)
        run->p = ev->raw.p;
    run->n += ev->raw.n;
    if (!inside(ev->raw, input)) {
        if (!pass_on(a, *run))
            return false;
        run->n = 0;
    }
    if ((kind == EVENT_OUTPUT && !a->owns) || (a->held_back && a->watch.stopped)) {
        if (!pass_on(a, *run))
            return false;
        run->n = 0;
        if (kind == EVENT_OUTPUT && !tell_output(a))
            return false;
        if (a->held_back && a->watch.stopped && !give_calls(a))
            return false;
    }
    if (kind == EVENT_END) {
        a->ending = true;
        return false;
    }
    return true;
}

static void read_events(struct attempt *a, struct span bytes)
{
    struct sse_event ev;
    struct span run = {bytes.p, 0};
    bool was_whole = a->dialect->judge_end(&a->watch) == FAILURE_NONE, progress = false;

    if (sse_feed(&a->sse, bytes) < 0) {
        attempt_fail(a, ANSWER_TOO_BIG, "an event of the answer is larger than 16 MiB");
        return;
    }
    while (sse_next(&a->sse, &ev)) {
        progress = progress || ev.has_data;
        if (!take_event(a, &ev, bytes, &run))
            break;
    }
    if (a->over || !pass_on(a, run))
        return;
    if (a->ending ||
        (!was_whole && a->dialect->marks_end && a->dialect->judge_end(&a->watch) == FAILURE_NONE))
        attempt_tell(a, FAILOVER_STOPPED);
    else if (progress && a->told)
        a->events->progress(a);
}

/* The bytes are all there, or all that will come. `cut`: the transport did not end as it should. */
static void end_of_events(struct attempt *a, bool cut, const char *text)
{
    struct sse_event ev;
    struct span run = {NULL, 0};
    enum failure verdict;

    if (!a->ending && sse_end(&a->sse, &ev) && (ev.has_data || ev.stray)) {
        struct chat_watch before = a->watch;
        enum dialect_event kind = a->dialect->read_event(&ev, &a->watch, NULL, NULL);

        /* Half an event at the end is a cut, not nonsense, and the name of a field without a value
         * is no event. Bare text counts where it is an error: Google ends streams so. */
        if (kind == EVENT_BAD) {
            cut = true;
        } else if ((ev.has_data && kind != EVENT_NOTHING) || kind == EVENT_ERROR) {
            a->watch = before;
            take_event(a, &ev, run, &run);
            if (a->over || !pass_on(a, run))
                return;
            /* Without its empty line it would run together with what we write behind it. */
            if (ev.cut && !a->ending && !pass_on(a, SPAN("\n\n")))
                return;
        }
    }
    verdict = a->dialect->judge_end(&a->watch);
    if (verdict == FAILURE_NONE)
        complete(a);
    else if (verdict == EMPTY && !cut)
        attempt_fail(a, EMPTY, "the stream held no output");
    else
        attempt_fail(a, TRUNCATED, text);
}

/* ---- an answer in one piece -------------------------------------------------------------------
 */

/* The answer in the client's words takes the place of the provider's. */
static void put_into_words(struct attempt *a)
{
    give_stops(a);
    fold_done(&a->whole);
    if (!a->whole.too_big)
        a->client->write_answer(&a->writer, &a->whole, &a->words);
    strbuf_release(&a->held);
    a->held = a->words;
    a->words = strbuf_heap(a->held.max);
}

static void judge_whole(struct attempt *a)
{
    bool whole = a->translating && !a->request->stream;

    if (a->request->counting && a->dialect->is_count(strbuf_span(&a->held))) {
        complete(a);
        return;
    }
    a->dialect->read_answer(strbuf_span(&a->held), &a->watch, whole ? translate : NULL, a);
    if (a->watch.failure == FAILURE_NONE && whole) {
        put_into_words(a);
        if (a->whole.too_big || a->held.failed) {
            attempt_fail(a, ANSWER_TOO_BIG, "the answer is larger than limits.answer_body");
            return;
        }
    }
    if (a->watch.failure != FAILURE_NONE) {
        fail_inside(a, strbuf_span(&a->held));
    } else if (a->request->stream) {
        attempt_fail(a, MALFORMED, "one JSON text came where a stream was asked for");
    } else {
        complete(a);
    }
}

void attempt_judge_error(struct attempt *a)
{
    struct span type = a->html ? SPAN("text/html") : SPAN("");
    enum failure f = a->dialect->classify(a->status, type, strbuf_span(&a->held), &a->watch.error);
    size_t n = strlen(a->watch.error.message);

    payload_take(&a->said_no, strbuf_span(&a->held));
    /* Of a path that we do not know it says nothing of what else the key may do. */
    if (a->raw && (f == AUTH || f == FORBIDDEN))
        f = KEY_SCOPE;
    secret_redact(a->watch.error.message, &n);
    a->watch.error.message[n] = '\0';
    a->retry_after_ms = retry_after_read(a->retry_after_ms, a->spent_ms, strbuf_span(&a->held));
    fail(a, f);
}

/* ---- what the call brings ---------------------------------------------------------------------
 */

static void on_connected(void *ctx)
{
    attempt_tell(ctx, FAILOVER_CONNECTED);
}

bool attempt_shows(const struct attempt *a, struct span name)
{
    return span_is_nocase(name, "openai-processing-ms") || span_is_nocase(name, "openai-version") ||
           span_is_nocase(name, "openai-model") ||
           (!a->own_limits && (span_starts_nocase(name, "x-ratelimit-") ||
                               span_starts_nocase(name, "anthropic-ratelimit-")));
}

void attempt_keep_field(struct attempt *a, const struct http1_header *h)
{
    if (h->name.n + h->value.n + 4 > a->fields.max - a->fields.len)
        return;
    strbuf_add_span(&a->fields, h->name);
    strbuf_add(&a->fields, ": ");
    strbuf_add_span(&a->fields, h->value);
    strbuf_add(&a->fields, "\r\n");
}

static struct span find_field(const void *head, const char *name)
{
    return http1_find(head, name);
}

void attempt_read_limits(struct attempt *a, const struct http1_head *head)
{
    if (head->status / 100 == 2 || head->status == 429)
        a->spent_ms = retry_after_spent(find_field, head, clock_wall_ms());
    if (head->status / 100 != 2)
        a->retry_after_ms = retry_after_asked(find_field, head, clock_wall_ms());
}

static void on_head(void *ctx, const struct http1_head *head)
{
    struct attempt *a = ctx;
    struct span type = http1_find(head, "content-type");

    a->status = head->status;
    a->event_stream = span_find_nocase(type, "text/event-stream") != NULL;
    a->html = span_find_nocase(type, "text/html") != NULL;
    if (head->status / 100 == 3) {
        attempt_fail(a, REDIRECT, "it wants to send us elsewhere");
        return;
    }
    attempt_read_limits(a, head);
    if (head->status / 100 != 2) {
        a->mode = MODE_ERROR;
        a->held.max = ATTEMPT_MAX_ERROR;
        return;
    }
    for (unsigned i = 0; i < head->n; i++)
        if (attempt_shows(a, head->headers[i].name))
            attempt_keep_field(a, &head->headers[i]);
}

/* Content types lie, so the first byte decides: a stream starts with a field name or a comment. */
static enum attempt_mode mode_of(const struct attempt *a, struct span bytes)
{
    size_t i = 0;

    while (i < bytes.n &&
           (bytes.p[i] == ' ' || bytes.p[i] == '\t' || bytes.p[i] == '\r' || bytes.p[i] == '\n'))
        i++;
    if (i == bytes.n)
        return !a->request->stream ? MODE_WHOLE : a->event_stream ? MODE_STREAM : MODE_UNSEEN;
    if (!a->request->stream || bytes.p[i] == '{' || bytes.p[i] == '[' || bytes.p[i] == '<')
        return MODE_WHOLE;
    return MODE_STREAM;
}

static void on_body(void *ctx, struct span bytes)
{
    struct attempt *a = ctx;

    if (a->over || a->ending)
        return; /* nothing counts after the last marker */
    if (a->mode == MODE_UNSEEN) {
        a->mode = mode_of(a, bytes);
        if (a->mode == MODE_UNSEEN)
            return; /* white space before the answer keeps connections alive, and is no answer */
        a->held.max =
            a->mode == MODE_STREAM ? MAX_PREAMBLE : a->service->config->limits.answer_body;
    }
    switch (a->mode) {
    case MODE_STREAM:
        read_events(a, bytes);
        break;
    case MODE_WHOLE:
        strbuf_add_span(&a->held, bytes);
        if (a->held.failed)
            attempt_fail(a, ANSWER_TOO_BIG, "the answer is larger than limits.answer_body");
        break;
    default:
        /* Enough of an error was read when the cap is reached. */
        strbuf_add_n(&a->held, bytes.p,
                     bytes.n < ATTEMPT_MAX_ERROR - a->held.len ? bytes.n
                                                               : ATTEMPT_MAX_ERROR - a->held.len);
        if (a->held.len == ATTEMPT_MAX_ERROR)
            attempt_judge_error(a);
    }
}

static void ended(struct attempt *a, bool cut, const char *text)
{
    switch (a->mode) {
    case MODE_UNSEEN:
        attempt_fail(a, cut ? TRUNCATED : EMPTY, cut ? text : "the answer has no body");
        break;
    case MODE_STREAM:
        end_of_events(a, cut, text);
        break;
    case MODE_WHOLE:
        if (cut)
            attempt_fail(a, TRUNCATED, text);
        else
            judge_whole(a);
        break;
    case MODE_ERROR:
        attempt_judge_error(a);
        break;
    case MODE_RAW: /* not here */
        break;
    }
}

static void on_pause(void *ctx)
{
    struct attempt *a = ctx;

    if (a->owns)
        a->events->flush(a);
}

static void on_end(void *ctx)
{
    ended(ctx, false, "the stream ended without a finish reason");
}

static void on_failed(void *ctx, enum failure why, const char *text)
{
    struct attempt *a = ctx;

    if (why == TRUNCATED)
        ended(a, true, text);
    else
        attempt_fail(a, why, text);
}

static const struct upstream_events upstream_events = {
    .connected = on_connected,
    .head = on_head,
    .body = on_body,
    .pause = on_pause,
    .end = on_end,
    .failed = on_failed,
};

/* ---- starting ---------------------------------------------------------------------------------
 */

/* Writes the outgoing request. -1 where the target cannot be told what is asked: a->watch.error
 * says why.
 */
static int write_outgoing(struct attempt *a, const struct attempt_brief *brief,
                          const struct dialect_target *to)
{
    struct drops drops = {&a->dropped,
                          brief->conversation != NULL ? brief->conversation->names : NULL};
    struct conversation fitting;
    struct err e;

    a->outgoing.head_fields = strbuf_in(a->arena, HTTP1_MAX_HEAD);
    if (brief->unsayable != NULL) {
        a->watch.error.status = a->status = 400;
        snprintf(a->watch.error.message, sizeof(a->watch.error.message), "%s", brief->unsayable);
        return -1;
    }
    if (!a->translating) {
        drops.client = NULL; /* these are the client's names */
        a->dialect->write_request(a->request, to, a->arena, &a->outgoing, &drops);
        return 0;
    }
    a->watch.error.status = a->status = 400;
    if (brief->conversation == NULL) {
        snprintf(a->watch.error.message, sizeof(a->watch.error.message), "%s",
                 brief->conversation_error);
        return -1;
    }
    fitting = *brief->conversation;
    params_leave_out(&fitting, a->without, &drops);
    if (a->dialect->write_conversation(&fitting, to, a->arena, &a->outgoing, &drops, &e) < 0) {
        name_for_client(fitting.names, &e);
        snprintf(a->watch.error.message, sizeof(a->watch.error.message),
                 "%s cannot serve this request: %s", a->target->provider->conf->name, e.msg);
        return -1;
    }
    a->watch.error.status = a->status = 0;
    return 0;
}

/* A request that cannot be said is a failed attempt without a call; told from the loop. */
static void not_said(struct loop_task *t)
{
    struct attempt *a = CONTAINER_OF(t, struct attempt, task);

    if (a->over)
        return;
    a->mode = MODE_ERROR;
    fail(a, UNSUPPORTED);
}

static void start_call(struct attempt *a, struct upstream_pool *pool, unsigned key,
                       const struct attempt_brief *brief)
{
    struct provider *p = a->target->provider;
    const struct origin *o = &a->service->origins[p - a->service->targets->providers];
    struct strbuf head = strbuf_in(a->arena, HTTP1_MAX_HEAD);
    struct dialect_target to = {
        .base_path = span_of(o->base_path),
        .model = a->target->model,
        .key = p->keys[key],
        .key_header = p->type->key_header,
        .query = p->type->query,
        .model_in_path = p->type->model_in_path,
        .strip_foreign = a->service->mints_state && !p->type->keeps_state,
        .short_ids = p->type->short_ids,
        .without = a->without,
        .client_fields = a->translating ? SPAN("") : brief->fields_for_same,
        .client_query = a->translating ? SPAN("") : brief->query_for_same,
        .rewrite_model =
            a->target->model.p != NULL && !span_eq(a->target->model, a->request->model),
    };
    struct upstream_request request = {0};

    if (write_outgoing(a, brief, &to) < 0) {
        a->task.run = not_said;
        loop_soon(a->loop, &a->task);
        return;
    }
    strbuf_add(&head, "POST ");
    strbuf_add_span(&head, a->outgoing.path);
    strbuf_add(&head, " HTTP/1.1\r\n");
    strbuf_add(&head, o->host_field);
    strbuf_add_span(&head, strbuf_span(&a->outgoing.head_fields));
    strbuf_add(&head, a->request->stream ? "Accept: text/event-stream\r\n"
                                         : "Accept: application/json\r\n");
    strbuf_add(&head, "Accept-Encoding: identity\r\nContent-Type: application/json\r\n"
                      "User-Agent: holdfast/" HOLDFAST_VERSION "\r\n");
    strbuf_add_span(&head, brief->fields_for_all);
    strbuf_add_span(&head, to.client_fields);
    strbuf_add(&head, "Content-Length: ");
    strbuf_add_u64(&head, a->outgoing.body_bytes);
    strbuf_add(&head, "\r\n\r\n");
    request.parts[0] = strbuf_span(&head);
    for (size_t i = 0; i < ARRAY_LEN(a->outgoing.body); i++)
        request.parts[i + 1] = a->outgoing.body[i];
    upstream_start(&a->call, pool, o->lane + key, &o->peer, &request, &upstream_events, a);
}

/* ---- the provider inside the process ----------------------------------------------------------
 */

static void scripted_event(void *ctx, const struct chat_event *ev)
{
    struct attempt *a = ctx;

    if (ev->kind == CHAT_USAGE)
        a->watch.usage = ev->usage;
    a->client->write_event(&a->writer, ev, &a->held);
}

static void scripted_turn(struct loop_task *t)
{
    struct attempt *a = CONTAINER_OF(t, struct attempt, task);
    struct span text = span_of(a->target->provider->conf->text);

    if (a->over)
        return;
    attempt_tell(a, FAILOVER_CONNECTED);
    a->status = 200;
    a->watch.output = a->watch.stopped = a->watch.end = true;
    if (a->request->stream) {
        scripted_answer(text, a->writer.model, a->arena, scripted_event, a);
    } else {
        scripted_answer(text, a->writer.model, a->arena, fold_event, &a->whole);
        a->watch.usage = a->whole.usage;
        put_into_words(a);
    }
    complete(a);
}

/* ---- life -------------------------------------------------------------------------------------
 */

bool attempt_translates(const struct target *t, const struct dialect *client)
{
    const struct dialect *d = provider_dialect(t->provider, client);

    return d != NULL && d != client;
}

struct attempt *attempt_start(struct service *s, struct upstream_pool *pool, struct loop *l,
                              struct arena *arena, const struct attempt_brief *brief,
                              struct target *t, unsigned key, const struct attempt_events *events,
                              void *ctx)
{
    struct attempt *a = arena_zalloc(arena, sizeof(*a));

    a->service = s;
    a->said_no = payload_of(s->payloads);
    a->loop = l;
    a->arena = arena;
    a->events = events;
    a->ctx = ctx;
    a->number = brief->number;
    a->own_limits = brief->own_limits;
    a->dialect = provider_dialect(t->provider, brief->client);
    a->client = brief->client;
    a->translating = attempt_translates(t, brief->client);
    a->rewrites = a->translating || brief->carry != NULL;
    a->request = brief->request;
    a->target = t;
    a->without = atomic_load_explicit(&t->without, memory_order_relaxed) | brief->without;
    a->watch.expected = a->request->choices;
    a->watch.vectors = a->request->vectors;
    a->retry_after_ms = a->spent_ms = RETRY_AFTER_NONE;
    a->held = strbuf_heap(s->config->limits.answer_body);
    a->words = strbuf_heap(s->config->limits.answer_body);
    a->dropped = strbuf_in(arena, MAX_DROPPED);
    a->fields = strbuf_in(arena, MAX_PASSED_FIELDS);
    a->writer = (struct answer_writer){
        .id = brief->id,
        /* The request's bytes go once its answer comes; the name stands in every event. */
        .model = arena_copy(arena, t->model.p != NULL ? t->model : a->request->model),
        .created = clock_wall_ms() / 1000,
        .usage_asked = a->request->usage_asked,
        .reasoning_asked = a->request->reasoning_asked,
        .packed = a->request->vectors.packed,
        .tool_aliases = brief->conversation != NULL ? brief->conversation->tool_aliases : NULL,
        .arena = arena,
    };
    if (a->request->stream) {
        a->commit = brief->commit;
        a->window = brief->window;
        a->atomic = brief->atomic;
        if (a->rewrites || a->client->follow != NULL)
            a->said = brief->said;
    }
    if (brief->carry != NULL) {
        struct span model = a->writer.model;

        a->commit = COMMIT_FIRST;
        const struct tool_alias *aliases = a->writer.tool_aliases;

        a->writer = *brief->carry->writer;
        a->writer.model = model;
        a->writer.tool_aliases = aliases;
        if (a->client->split != NULL)
            a->client->split(&a->writer);
        a->stitch = arena_alloc(arena, sizeof(*a->stitch));
        stitch_init(a->stitch, brief->carry->way, a->said, &brief->carry->used, arena);
    }
    fold_init(&a->whole, arena);
    sse_init(&a->sse, MAX_EVENT);
    if (a->dialect == NULL) {
        a->task.run = scripted_turn;
        loop_soon(l, &a->task);
    } else {
        start_call(a, pool, key, brief);
    }
    return a;
}

void attempt_write_end(struct attempt *a, struct strbuf *out)
{
    if (a->watch.end)
        return;
    if (a->rewrites) {
        give_stops(a);
        give(a, &(struct chat_event){.kind = CHAT_END});
        strbuf_add_span(out, strbuf_span(&a->words));
        out->failed |= a->words.failed;
        strbuf_clear(&a->words);
    } else {
        a->client->write_end(out);
    }
}

void attempt_stop(struct attempt *a)
{
    a->over = true;
    upstream_cancel(&a->call);
    sse_release(&a->sse);
    strbuf_release(&a->held);
    strbuf_release(&a->words);
    strbuf_release(&a->calls);
}

struct span attempt_own(struct attempt *a)
{
    a->owns = true;
    return strbuf_span(&a->held);
}

void attempt_held_sent(struct attempt *a)
{
    strbuf_release(&a->held);
}
