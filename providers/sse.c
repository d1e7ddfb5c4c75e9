#include "providers/sse.h"

#include <assert.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

void sse_init(struct sse *s, size_t max_event)
{
    *s = (struct sse){
        .max = max_event, .tail = strbuf_heap(max_event), .joined = strbuf_heap(max_event)};
}

void sse_release(struct sse *s)
{
    strbuf_release(&s->tail);
    strbuf_release(&s->joined);
    *s = (struct sse){.max = s->max, .tail = s->tail, .joined = s->joined};
}

#ifdef __SSE2__
/* Which of the sixteen bytes at p end a line, as bits. */
static inline unsigned line_ends(const char *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i lf = _mm_cmpeq_epi8(x, _mm_set1_epi8('\n'));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(lf, _mm_cmpeq_epi8(x, _mm_set1_epi8('\r'))));
}
#endif

/* The offset of the first LF or CR, or text.n. Both are looked for at once: a search for one and
 * then for the other would read all that follows again for every line of a stream that uses only
 * the other. */
static size_t find_line_end(struct span text)
{
    size_t i = 0;

#ifdef __SSE2__
    for (; i + 16 <= text.n; i += 16) {
        unsigned ends = line_ends(text.p + i);

        if (ends != 0)
            return i + (size_t)__builtin_ctz(ends);
    }
    if (i < text.n && text.n >= 16) { /* the rest together with some that have been looked at */
        unsigned ends = line_ends(text.p + text.n - 16);

        return ends != 0 ? text.n - 16 + (size_t)__builtin_ctz(ends) : text.n;
    }
#endif
    while (i < text.n && text.p[i] != '\n' && text.p[i] != '\r')
        i++;
    return i;
}

/* How many bytes of `in` belong to the event that `*place` stands in, its empty line included; 0
 * with *ended where none do because the bytes before were all of it. Without *ended, all of `in`
 * belongs to it and more may come. */
static size_t find_event_end(struct span in, enum sse_place *place, bool *ended)
{
    size_t i = 0;

    *ended = false;
    while (i < in.n) {
        char c = in.p[i];

        switch (*place) {
        case SSE_EVENT_CR:
            *place = SSE_LINE_START;
            *ended = true;
            return c == '\n' ? i + 1 : i;
        case SSE_LINE_CR:
            *place = SSE_LINE_START;
            if (c == '\n')
                i++;
            break;
        case SSE_LINE_START:
            if (c == '\n') {
                *ended = true;
                return i + 1;
            }
            *place = c == '\r' ? SSE_EVENT_CR : SSE_IN_LINE;
            i++;
            break;
        case SSE_IN_LINE:
            i += find_line_end((struct span){in.p + i, in.n - i});
            if (i == in.n)
                break;
            *place = in.p[i] == '\r' ? SSE_LINE_CR : SSE_LINE_START;
            i++;
            break;
        }
    }
    return in.n;
}

static struct span skip(struct span text, size_t n)
{
    return n == 0 ? text : (struct span){text.p + n, text.n - n};
}

/* ---- one event ---- */

/* The next line of *text, without its end; *text then starts behind it. */
static struct span next_line(struct span *text)
{
    size_t n = find_line_end(*text), end = n;
    struct span line = {text->p, n};

    if (end < text->n && text->p[end] == '\r' && end + 1 < text->n && text->p[end + 1] == '\n')
        end++;
    if (end < text->n)
        end++;
    *text = skip(*text, end);
    return line;
}

/* Splits "name: value" at the first colon; a line without one is a name with an empty value. */
static struct span field_name(struct span line, struct span *value)
{
    const char *colon = line.n != 0 ? memchr(line.p, ':', line.n) : NULL;
    size_t n = colon != NULL ? (size_t)(colon - line.p) : line.n;

    *value = colon != NULL ? skip(line, n + 1) : (struct span){line.p + n, 0};
    if (value->n != 0 && value->p[0] == ' ')
        *value = skip(*value, 1);
    return (struct span){line.p, n};
}

/* A second data line needs memory of its own; the first one alone stays a view. */
static void add_data(struct sse *s, struct sse_event *ev, struct span value)
{
    if (!ev->has_data) {
        ev->has_data = true;
        ev->data = value;
        return;
    }
    if (s->joined.len == 0)
        strbuf_add_span(&s->joined, ev->data);
    strbuf_add_char(&s->joined, '\n');
    strbuf_add_span(&s->joined, value);
    assert(!s->joined.failed); /* it is shorter than the event */
    ev->data = strbuf_span(&s->joined);
}

static struct span without_line_ends(struct span text)
{
    while (text.n != 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    return text;
}

static void read_event(struct sse *s, struct span raw, struct sse_event *ev)
{
    struct span text = raw, stray = {0};

    *ev = (struct sse_event){.raw = raw};
    strbuf_clear(&s->joined);
    if (!s->started && span_starts(text, "\xef\xbb\xbf"))
        text = skip(text, 3);
    s->started = true;
    while (text.n != 0) {
        const char *from = text.p;
        struct span line = next_line(&text), value, name;

        if (line.n == 0 || line.p[0] == ':')
            continue;
        name = field_name(line, &value);
        if (span_is(name, "data"))
            add_data(s, ev, value);
        else if (span_is(name, "event"))
            ev->name = value;
        else if (stray.p == NULL && !span_is(name, "id") && !span_is(name, "retry"))
            stray = (struct span){from, (size_t)(raw.p + raw.n - from)};
    }
    /* Beside data, a line that is no field means nothing: WHATWG ignores it. */
    if (!ev->has_data && stray.p != NULL) {
        ev->stray = true;
        ev->data = without_line_ends(stray);
    }
}

/* ---- the stream ---- */

/* Does an event become longer than the cap with these bytes? */
static bool passes_cap(const struct sse *s, struct span bytes)
{
    enum sse_place place = s->place;
    size_t len = s->in_tail ? 0 : s->tail.len;

    if (bytes.n <= s->max && len <= s->max - bytes.n)
        return false;
    while (bytes.n != 0) {
        bool ended;
        size_t n = find_event_end(bytes, &place, &ended);

        if (n > s->max || len > s->max - n)
            return true;
        len = 0;
        bytes = skip(bytes, n);
    }
    return false;
}

int sse_feed(struct sse *s, struct span bytes)
{
    assert(s->in.n == 0);
    if (passes_cap(s, bytes))
        return -1;
    s->in = bytes;
    return 0;
}

static void forget_last(struct sse *s)
{
    if (s->in_tail)
        strbuf_clear(&s->tail);
    s->in_tail = false;
}

bool sse_next(struct sse *s, struct sse_event *ev)
{
    bool ended;
    size_t n;
    struct span raw;

    forget_last(s);
    n = find_event_end(s->in, &s->place, &ended);
    raw = (struct span){s->in.p, n};
    s->in = skip(s->in, n);
    if (!ended || s->tail.len != 0) {
        strbuf_add_span(&s->tail, raw);
        assert(!s->tail.failed); /* sse_feed has looked at the cap */
        raw = strbuf_span(&s->tail);
        s->in_tail = ended;
    }
    if (ended)
        read_event(s, raw, ev);
    return ended;
}

bool sse_end(struct sse *s, struct sse_event *ev)
{
    forget_last(s);
    if (s->tail.len == 0)
        return false;
    read_event(s, strbuf_span(&s->tail), ev);
    ev->cut = s->place != SSE_EVENT_CR;
    s->place = SSE_LINE_START;
    s->in_tail = true;
    return true;
}
