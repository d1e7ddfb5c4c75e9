#include "providers/sse_list.h"

#include "providers/sse.h"

static void add_element(struct sse_list *l, const struct sse_event *ev, struct strbuf *out)
{
    if (!ev->has_data || ev->data.n == 0)
        return;
    strbuf_add(out, l->begun ? ",\r\n" : "[");
    strbuf_add_span(out, ev->data);
    l->begun = true;
}

void sse_list_add(struct sse_list *l, struct span events, struct strbuf *out)
{
    struct sse_event ev;
    struct sse s;

    sse_init(&s, events.n + 1);
    if (sse_feed(&s, events) == 0)
        while (sse_next(&s, &ev))
            add_element(l, &ev, out);
    if (sse_end(&s, &ev)) /* its empty line is a CR, or missing */
        add_element(l, &ev, out);
    sse_release(&s);
}

void sse_list_end(struct sse_list *l, struct strbuf *out)
{
    strbuf_add(out, l->begun ? "]\n" : "[]\n");
}
