#include "proxy/hedge.h"

#define SHORT_S   10
#define MANY_WANT 0.2 /* of the requests: everything is slow */

void hedge_init(struct hedge *h, double max_ratio, unsigned floor)
{
    *h = (struct hedge){.max_ratio = max_ratio, .floor = floor};
}

static struct hedge_second *at(struct hedge *h, uint64_t now_ms)
{
    uint64_t second = now_ms / 1000;
    struct hedge_second *s = &h->seconds[second % HEDGE_WINDOW_S];

    if (s->second != second)
        *s = (struct hedge_second){.second = second};
    return s;
}

static struct hedge_second sum(const struct hedge *h, unsigned span_s, uint64_t now_ms)
{
    uint64_t second = now_ms / 1000;
    struct hedge_second all = {0};

    for (unsigned i = 0; i < HEDGE_WINDOW_S; i++) {
        const struct hedge_second *s = &h->seconds[i];

        if (s->second + span_s <= second)
            continue;
        all.requests += s->requests;
        all.wanted += s->wanted;
        all.granted += s->granted;
    }
    return all;
}

void hedge_request(struct hedge *h, uint64_t now_ms)
{
    at(h, now_ms)->requests++;
}

void hedge_want(struct hedge *h, uint64_t now_ms)
{
    at(h, now_ms)->wanted++;
}

bool hedge_grant(struct hedge *h, uint64_t now_ms)
{
    struct hedge_second lately = sum(h, SHORT_S, now_ms), all = sum(h, HEDGE_WINDOW_S, now_ms);

    if (lately.granted >= h->floor) {
        if (lately.wanted > MANY_WANT * lately.requests)
            return false;
        if (all.granted + 1 > h->max_ratio * all.requests)
            return false;
    }
    at(h, now_ms)->granted++;
    return true;
}
