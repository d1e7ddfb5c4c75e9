#include "proxy/exchange_parts.h"

#include <assert.h>

#include "proxy/base/hash.h"

void exchange_follow(struct follower *f)
{
    struct exchange *x = CONTAINER_OF(f, struct exchange, follower);
    char mem[EXCHANGE_MAX_FIELDS];
    struct strbuf fields = strbuf_on(mem, sizeof(mem));
    enum failure outcome;

    exchange_add_id(x, &fields);
    follower_pump(f, x->out.client, strbuf_span(&fields));
    x->status = follower_status(f);
    x->answer_bytes = f->bytes;
    if (!f->over)
        return;
    if (!follower_has_answer(f)) {
        exchange_refuse_saying(
            x, 503, "answer_lost", "",
            "the answer that this request waited for has ended and was not kept");
        return;
    }
    outcome = follower_outcome(f);
    exchange_record(x, outcome, failure_row(outcome)->label);
    follower_finish(f, x->out.client, strbuf_span(&fields));
    exchange_end(x);
}

static void start_following(struct exchange *x, enum metrics_replay found_by)
{
    struct service *s = x->space->service;

    x->following = true;
    x->found_by = found_by;
    metrics_replay(s->metrics, found_by);
    exchange_forget_body(x);
    follower_start(&x->follower, s->config->limits.answer_body);
    exchange_follow(&x->follower);
}

void exchange_news(struct exchange_space *s)
{
    follower_set_look(&s->followers);
}

/* Digests of who asks under which key, and of what is asked. */
static void name_request(struct exchange *x, uint8_t key[HASH_SHA256_BYTES],
                         uint8_t request[HASH_SHA256_BYTES])
{
    struct strbuf text = strbuf_in(&x->arena, 8192);

    strbuf_add_n(&text, x->caller, sizeof(x->caller));
    strbuf_add(&text, x->dialect->name);
    strbuf_add_char(&text, ' ');
    strbuf_add_span(&text, x->replay_key);
    hash_sha256(strbuf_span(&text), key);
    hash_sha256(strbuf_span(&x->body), request);
    strbuf_clear(&text);
    strbuf_add_n(&text, request, HASH_SHA256_BYTES);
    strbuf_add(&text, x->admission.door.list ? "list "
                      : x->request.stream    ? "stream "
                      : x->request.counting  ? "count "
                                             : "whole ");
    strbuf_add_span(&text, x->admission.door.model);
    assert(!text.failed); /* a head is smaller */
    hash_sha256(strbuf_span(&text), request);
}

/* Finds the answer to the same request of a moment ago. True where there is none and this one is to
 * be answered; it is then recorded. */
static bool claim(struct exchange *x)
{
    uint8_t key[HASH_SHA256_BYTES], request[HASH_SHA256_BYTES];
    struct replay_reader *reader =
        follower_init(&x->follower, &x->space->followers, exchange_follow);

    name_request(x, key, request);
    switch (replay_claim(x->space->service->replay, key, request, loop_now_ms(x->space->loop),
                         reader, &x->out.kept)) {
    case REPLAY_NEW:
    case REPLAY_NO_ROOM:
        return true;
    case REPLAY_KNOWN:
        start_following(x, REPLAYED_BY_KEY);
        return false;
    case REPLAY_OTHER:
        break;
    }
    exchange_refuse_saying(
        x, 422, "idempotency_key_reused", "Idempotency-Key",
        "this Idempotency-Key was used with another request a moment ago; a new request "
        "needs a new key");
    return false;
}

/* Whatever a client may come back for is recorded. False where the request is over by that. */
bool exchange_keep(struct exchange *x)
{
    struct service *s = x->space->service;
    bool resumable = s->resume && x->request.stream && x->dialect->comments;
    uint8_t id[REPLAY_ID_BYTES];

    if (x->replay_key.n > 0 && !claim(x))
        return false;
    if (resumable && x->out.kept == NULL)
        x->out.kept = replay_open(s->replay, loop_now_ms(x->space->loop));
    if (x->out.kept == NULL)
        return true;
    x->out.loop = x->space->loop;
    if (resumable) {
        random_bytes(id, sizeof(id));
        hash_hex(id, sizeof(id), x->out.ids.stream);
        replay_identify(x->out.kept, id, x->caller);
    }
    return true;
}

/* GET /v1/streams/ID */
void exchange_take_up_again(struct exchange *x)
{
    struct service *s = x->space->service;
    struct span stream = x->admission.door.model;
    uint8_t id[REPLAY_ID_BYTES];
    uint64_t seen = 0;

    if (!s->resume) {
        exchange_refuse_saying(x, 404, "not_found", "",
                               "streams cannot be taken up again here: stream.resume is off");
        return;
    }
    if (!event_ids_read_stream(stream, id)) {
        exchange_refuse_saying(x, 400, "invalid_stream_id", "",
                               "this is no stream's id; it stands in x-holdfast-stream");
        return;
    }
    if (x->last_event.n > 0 && !event_ids_read_event(x->last_event, stream, &seen)) {
        exchange_refuse_saying(x, 400, "invalid_header", "Last-Event-ID",
                               "Last-Event-ID is no event's id of this stream");
        return;
    }
    switch (replay_find(s->replay, id, x->caller, seen, loop_now_ms(x->space->loop),
                        follower_init(&x->follower, &x->space->followers, exchange_follow))) {
    case REPLAY_FOUND:
        start_following(x, REPLAYED_BY_STREAM);
        return;
    case REPLAY_GONE:
        exchange_refuse_saying(
            x, 410, "stream_gone", "",
            "this stream, or what came behind that event, is not kept (any more)");
        return;
    case REPLAY_NOT_HIS:
        exchange_refuse_saying(x, 404, "not_found", "", "there is no such stream");
        return;
    }
}

/* Nobody will have the answer. */
void exchange_abandon(struct exchange *x)
{
    struct failover_event ev = {.kind = FAILOVER_GONE, .retry_after_ms = RETRY_AFTER_NONE};

    exchange_step(x, &ev);
    exchange_record(x, CLIENT_GONE, failure_row(CLIENT_GONE)->label);
    exchange_end(x);
}

void exchange_alone_due(struct loop_timer *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, alone);
    uint64_t now = loop_now_ms(x->space->loop), ttl = x->space->service->config->replay.ttl;
    uint64_t due = x->out.kept != NULL ? replay_due(x->out.kept) : 0;

    if (due > now)
        loop_timer_set(x->space->loop, t, due == UINT64_MAX ? now + ttl : due);
    else
        exchange_abandon(x);
}

/* The client has left, and may come back: the answer goes on. False where it may not. */
bool exchange_go_on_alone(struct exchange *x)
{
    uint64_t now = loop_now_ms(x->space->loop);
    bool stopping = atomic_load(&x->space->service->draining);

    if (x->out.kept == NULL || (stopping && replay_due(x->out.kept) != UINT64_MAX))
        return false;
    replay_left(x->out.kept, now);
    loop_timer_set(x->space->loop, &x->alone, now);
    if (x->owner != NULL && !x->owner->over && x->owner->call.paused) {
        failover_progress(&x->failover, true, now);
        upstream_resume(&x->owner->call);
    }
    return true;
}
