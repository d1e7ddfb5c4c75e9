#include "proxy/outlet.h"

bool outlet_taken(const struct outlet *o)
{
    return o->client != NULL || o->kept != NULL;
}

/* The connection is the client's own again once an answer has ended. */
static struct client *let_go(struct outlet *o)
{
    struct client *c = o->client;

    o->client = NULL;
    return c;
}

static void end_record(struct outlet *o, enum failure outcome)
{
    if (o->kept != NULL)
        replay_end(o->kept, outcome == FAILURE_NONE, outcome, loop_now_ms(o->loop));
    o->kept = NULL;
}

void outlet_abandon(struct outlet *o)
{
    end_record(o, CLIENT_GONE);
}

static void to_both(void *outlet, struct span bytes, bool event_ends)
{
    struct outlet *o = outlet;

    if (o->kept != NULL && !replay_write(o->kept, bytes, event_ends))
        outlet_abandon(o);
    if (o->client != NULL)
        client_stream_write(o->client, bytes);
}

static struct span without_id(struct span fields)
{
    const char *end = memchr(fields.p, '\n', fields.n);

    return (struct span){end + 1, (size_t)(fields.p + fields.n - end - 1)};
}

static void begin_record(struct outlet *o, unsigned status, bool whole, struct span fields)
{
    if (o->kept != NULL)
        replay_begin(o->kept, &(struct replay_head){status, whole, without_id(fields)});
}

void outlet_answer(struct outlet *o, unsigned status, struct span fields, struct span body,
                   enum failure outcome)
{
    begin_record(o, status, true, fields);
    payload_take(o->shown, body);
    if (o->kept != NULL && !replay_write(o->kept, body, false))
        outlet_abandon(o);
    end_record(o, outcome);
    if (o->client != NULL)
        client_answer(let_go(o), status, fields, body);
}

void outlet_start(struct outlet *o, unsigned status, struct span fields)
{
    begin_record(o, status, false, fields);
    if (o->client != NULL)
        client_stream_start(o->client, status, fields);
}

void outlet_write(struct outlet *o, struct span bytes)
{
    payload_take(o->shown, bytes);
    if (o->ids.stream[0] != '\0')
        event_ids_feed(&o->ids, bytes, to_both, o);
    else
        to_both(o, bytes, false);
}

void outlet_flush(struct outlet *o)
{
    if (o->kept != NULL)
        replay_flush(o->kept);
    if (o->client != NULL)
        client_stream_flush(o->client);
}

void outlet_end(struct outlet *o)
{
    end_record(o, FAILURE_NONE);
    if (o->client != NULL)
        client_stream_end(let_go(o));
}

void outlet_abort(struct outlet *o, enum failure outcome)
{
    end_record(o, outcome);
    if (o->client != NULL)
        client_stream_abort(let_go(o));
}

bool outlet_full(const struct outlet *o)
{
    return o->client != NULL && client_waiting(o->client) > CLIENT_HIGH_MARK;
}
