#include "proxy/base/repeat.h"

#include <string.h>

#include "proxy/base/attributes.h"

/* Nothing came for a whole interval, so that the next one is news again. */
static bool is_over(const struct repeat_kind *k, uint64_t now_ms)
{
    return k->times == 0 && now_ms >= k->until_ms;
}

/* The place of a kind: its own, a free one, or the one that is shared. */
static struct repeat_kind *place_of(struct repeats *r, uint64_t kind, uint64_t now_ms)
{
    struct repeat_kind *place = &r->kinds[REPEAT_KINDS];

    for (size_t i = 0; i < REPEAT_KINDS; i++) {
        struct repeat_kind *k = &r->kinds[i];

        if (k->until_ms != 0 && k->kind == kind)
            return k;
        if (is_over(k, now_ms))
            place = k;
    }
    return place;
}

static void count(struct repeat_kind *k, int level, struct span text)
{
    k->level = level;
    k->times++;
    k->n = text.n < REPEAT_TEXT ? text.n : REPEAT_TEXT;
    memcpy(k->text, text.p, k->n);
}

bool repeat_tell(struct repeats *r, uint64_t kind, int level, struct span text, uint64_t now_ms)
{
    struct repeat_kind *k = place_of(r, kind, now_ms);

    if (is_over(k, now_ms)) {
        k->kind = kind;
        k->since_ms = now_ms;
        k->until_ms = now_ms + REPEAT_FIRST_MS;
        return true;
    }
    count(k, level, text);
    return false;
}

bool repeat_summarise(struct repeats *r, bool all, uint64_t now_ms, struct repeat_summary *out)
{
    for (size_t i = 0; i < ARRAY_LEN(r->kinds); i++) {
        struct repeat_kind *k = &r->kinds[i];
        uint64_t next_ms = 2 * (k->until_ms - k->since_ms);

        if (k->times == 0 || (!all && now_ms < k->until_ms))
            continue;
        *out = (struct repeat_summary){k->level, k->times, now_ms - k->since_ms, {k->text, k->n}};
        k->times = 0;
        k->since_ms = now_ms;
        k->until_ms = now_ms + (next_ms < REPEAT_LONGEST_MS ? next_ms : REPEAT_LONGEST_MS);
        return true;
    }
    return false;
}

uint64_t repeat_due_ms(const struct repeats *r)
{
    uint64_t due_ms = UINT64_MAX;

    for (size_t i = 0; i < ARRAY_LEN(r->kinds); i++)
        if (r->kinds[i].times > 0 && r->kinds[i].until_ms < due_ms)
            due_ms = r->kinds[i].until_ms;
    return due_ms;
}
