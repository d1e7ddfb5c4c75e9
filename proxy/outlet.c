#include "proxy/outlet.h"

bool outlet_taken(const struct outlet *o)
{
    return o->client != NULL;
}

/* The connection is the client's own again once an answer has ended. */
static struct client *let_go(struct outlet *o)
{
    struct client *c = o->client;

    o->client = NULL;
    return c;
}

void outlet_answer(struct outlet *o, unsigned status, struct span fields, struct span body)
{
    if (o->client != NULL)
        client_answer(let_go(o), status, fields, body);
}

void outlet_start(struct outlet *o, unsigned status, struct span fields)
{
    if (o->client != NULL)
        client_stream_start(o->client, status, fields);
}

void outlet_write(struct outlet *o, struct span bytes)
{
    if (o->client != NULL)
        client_stream_write(o->client, bytes);
}

void outlet_flush(struct outlet *o)
{
    if (o->client != NULL)
        client_stream_flush(o->client);
}

void outlet_end(struct outlet *o)
{
    if (o->client != NULL)
        client_stream_end(let_go(o));
}

void outlet_abort(struct outlet *o)
{
    if (o->client != NULL)
        client_stream_abort(let_go(o));
}

bool outlet_full(const struct outlet *o)
{
    return o->client != NULL && client_waiting(o->client) > CLIENT_HIGH_MARK;
}
