#include "providers/like.h"

#include "proxy/base/json.h"

void like_learn(struct like *l, struct span event, const struct span *texts, unsigned n_texts)
{
    const char *at = event.p, *end = event.p + event.n;
    size_t kept = 0;

    l->n_texts = 0;
    for (unsigned i = 0; i <= n_texts; i++) {
        size_t n = (size_t)((i < n_texts ? texts[i].p : end) - at);

        if (n > LIKE_BYTES - kept)
            return;
        memcpy(l->bytes + kept, at, n);
        l->pieces[i] = (unsigned)n;
        kept += n;
        if (i < n_texts)
            at = texts[i].p + texts[i].n;
    }
    l->n_texts = n_texts;
}

/* Takes the piece from the front. */
static bool take(struct span *left, const char *piece, size_t n)
{
    if (left->n < n || memcmp(left->p, piece, n) != 0)
        return false;
    left->p += n;
    left->n -= n;
    return true;
}

bool like_is(const struct like *l, struct span event, struct span *texts)
{
    const char *piece = l->bytes;

    if (l->n_texts == 0)
        return false;
    for (unsigned i = 0; i < l->n_texts; i++) {
        struct json j;

        if (!take(&event, piece, l->pieces[i]) || !span_starts(event, "\""))
            return false;
        piece += l->pieces[i];
        j = json_read(event);
        texts[i] = json_take(&j);
        if (texts[i].p == NULL)
            return false;
        event.p += texts[i].n;
        event.n -= texts[i].n;
    }
    return take(&event, piece, l->pieces[l->n_texts]) && event.n == 0;
}
