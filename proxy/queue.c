#include "proxy/queue.h"

#include <assert.h>
#include <stddef.h>

#define PATIENCE_MS 1000

bool queue_enter(struct queue *q, struct queue_waiter *w, uint32_t wants, unsigned max,
                 uint64_t now_ms)
{
    assert(!w->waiting);
    if (q->n >= max)
        return false;
    *w = (struct queue_waiter){
        .older = q->newest, .since_ms = now_ms, .wants = wants, .waiting = true};
    if (q->newest != NULL)
        q->newest->newer = w;
    else
        q->oldest = w;
    q->newest = w;
    q->n++;
    return true;
}

void queue_leave(struct queue *q, struct queue_waiter *w)
{
    if (!w->waiting)
        return;
    if (w->older != NULL)
        w->older->newer = w->newer;
    else
        q->oldest = w->newer;
    if (w->newer != NULL)
        w->newer->older = w->older;
    else
        q->newest = w->older;
    w->waiting = false;
    q->n--;
}

bool queue_turn(const struct queue *q, const struct queue_waiter *w, unsigned target,
                uint64_t now_ms)
{
    bool newest_first = q->oldest != NULL && now_ms >= q->oldest->since_ms + PATIENCE_MS;
    const struct queue_waiter *x = newest_first ? q->newest : q->oldest;
    unsigned before = 0;

    if (w == NULL && newest_first)
        return true;
    for (; x != NULL && x != w; x = newest_first ? x->older : x->newer)
        before += (x->wants >> target) & 1;
    return w == NULL ? before == 0 : before < QUEUE_AT_ONCE;
}
