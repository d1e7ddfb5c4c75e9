/* Any bytes, in any split: the same events, their raw bytes the input, every view inside it. */
#include <stdint.h>
#include <stdlib.h>

#include "providers/sse.h"
#include "proxy/base/strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_EVENT (1 << 20)

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void note(struct strbuf *out, const struct sse_event *ev, size_t *at, struct span text)
{
    require(ev->raw.n != 0);
    require(ev->raw.n <= text.n - *at && memcmp(ev->raw.p, text.p + *at, ev->raw.n) == 0);
    require(!(ev->has_data && ev->stray));
    require(ev->data.n <= ev->raw.n && ev->name.n <= ev->raw.n);
    *at += ev->raw.n;
    strbuf_addf(out, "%zu %d%d%d %zu ", ev->raw.n, ev->has_data, ev->stray, ev->cut, ev->name.n);
    strbuf_add_span(out, ev->name);
    strbuf_add_span(out, ev->data);
    strbuf_add_char(out, '\n');
}

/* Reads the text in pieces whose sizes `seed` decides; 0: all at once. */
static struct strbuf run(struct span text, uint32_t seed)
{
    struct strbuf out = strbuf_heap(1 << 24);
    struct sse_event ev;
    struct sse s;
    size_t fed = 0, at = 0;

    sse_init(&s, MAX_EVENT);
    while (fed < text.n) {
        size_t n = text.n - fed;

        if (seed != 0) {
            seed = seed * 1664525 + 1013904223;
            n = 1 + (seed >> 16) % 9 % n;
        }
        require(sse_feed(&s, (struct span){text.p + fed, n}) == 0);
        fed += n;
        while (sse_next(&s, &ev)) {
            require(!ev.cut);
            note(&out, &ev, &at, text);
        }
    }
    if (sse_end(&s, &ev))
        note(&out, &ev, &at, text);
    require(at == text.n);
    require(!sse_next(&s, &ev) && !sse_end(&s, &ev));
    sse_release(&s);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    struct strbuf whole, part;

    if (size > MAX_EVENT)
        return 0;
    whole = run(text, 0);
    for (uint32_t seed = 1; seed <= 3; seed++) {
        part = run(text, seed);
        require(span_eq(strbuf_span(&part), strbuf_span(&whole)));
        strbuf_release(&part);
    }
    strbuf_release(&whole);
    return 0;
}
