#include "providers/like.h"

#include "proxy/base/json.h"

/* The first of the values that stands at `from` or behind it. */
static unsigned next_value(const struct span values[LIKE_VALUES], const char *from)
{
    unsigned next = LIKE_VALUES;

    for (unsigned i = 0; i < LIKE_VALUES; i++)
        if (values[i].n != 0 && values[i].p >= from &&
            (next == LIKE_VALUES || values[i].p < values[next].p))
            next = i;
    return next;
}

void like_learn(struct like *l, struct span event, const struct span values[LIKE_VALUES])
{
    const char *at = event.p, *end = event.p + event.n;
    size_t kept = 0;
    unsigned found = 0;

    l->n = 0;
    for (;;) {
        unsigned next = next_value(values, at);
        size_t n = (size_t)((next < LIKE_VALUES ? values[next].p : end) - at);

        if (n > LIKE_BYTES - kept)
            return;
        memcpy(l->bytes + kept, at, n);
        l->pieces[found] = (unsigned)n;
        kept += n;
        if (next == LIKE_VALUES)
            break;
        l->number[found] = json_type_of(values[next]) == JSON_NUMBER;
        l->which[found++] = next;
        at = values[next].p + values[next].n;
    }
    l->n = found;
}

void like_forget(struct like *l)
{
    l->n = 0;
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

/* The string or the number at the front. */
static struct span take_value(struct span *left, bool number)
{
    struct span value = {0};
    struct json j;

    if (json_type_of(*left) != (number ? JSON_NUMBER : JSON_STRING))
        return value;
    j = json_read(*left);
    value = json_take(&j);
    left->p += value.n;
    left->n -= value.n;
    return value;
}

bool like_is(const struct like *l, struct span event, struct span values[LIKE_VALUES])
{
    const char *piece = l->bytes;

    if (l->n == 0)
        return false;
    memset(values, 0, LIKE_VALUES * sizeof(*values));
    for (unsigned i = 0; i < l->n; i++) {
        struct span *value = &values[l->which[i]];

        if (!take(&event, piece, l->pieces[i]))
            return false;
        piece += l->pieces[i];
        *value = take_value(&event, l->number[i]);
        if (value->n == 0)
            return false;
    }
    return take(&event, piece, l->pieces[l->n]) && event.n == 0;
}
