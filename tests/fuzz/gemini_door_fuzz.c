/* Any bytes as the request of a client of Gemini's: no crash, what we write for each provider is
 * valid JSON, and nothing of it can break a header field. The same bytes as an answer of OpenAI's
 * and of Gemini's: what the client gets says the same when it is read back. */
#include "providers/gemini.h"
#include "proxy/door.h"
#include "tests/fuzz/fuzz.h"

static const struct dialect *const d = &dialect_gemini;

/* ---- requests ---- */

static void check_names(const struct strbuf *names)
{
    for (size_t i = 0; i < names->len; i++)
        require(names->buf[i] >= ' ' && names->buf[i] < 0x7f);
}

static void check_same_dialect(const struct chat_request *req, struct arena *a)
{
    struct dialect_target target = {.base_path = SPAN("/v1beta"),
                                    .model = SPAN("gemini-3-pro"),
                                    .rewrite_model = true,
                                    .without = UINT32_MAX};
    struct strbuf names = strbuf_in(a, 1 << 20);
    struct drops drops = {.names = &names};
    struct chat_request again = {.model = SPAN("m"), .stream = true};
    struct dialect_request out;
    struct err e = {0};

    d->write_request(req, &target, a, &out, &drops);
    require(json_valid(out.body[0]) && out.body_bytes == out.body[0].n);
    require(d->read_request(out.body[0], a, &again, &e) == 0);
    require(again.tools == req->tools && again.pinned == req->pinned);
}

static void check_extended(const struct chat_request *req, struct arena *a)
{
    struct chat_request longer;
    struct err e = {0};

    if (d->extend(req, SPAN("said"), SPAN("go on"), 10, a, &longer, &e) < 0)
        require(e.msg[0] != '\0');
    else
        require(json_valid(longer.body) && longer.body.n > req->body.n);
}

static void check_told(const struct conversation *c, const struct dialect *to, const char *model,
                       struct arena *a)
{
    struct dialect_target target = {.base_path = SPAN("/v1"), .model = span_of(model)};
    struct strbuf names = strbuf_in(a, 1 << 20);
    struct drops drops = {.names = &names, .client = c->names};
    struct dialect_request out;
    struct err e = {0};

    if (to->write_conversation(c, &target, a, &out, &drops, &e) < 0)
        require(e.msg[0] != '\0');
    else
        require(json_valid(out.body[0]));
    check_names(&names);
}

static void check_request(struct span text)
{
    struct chat_request req = {.model = SPAN("m"), .stream = true};
    struct conversation c = {.model = SPAN("m"), .stream = true};
    struct arena a;
    struct err e = {0};

    arena_init(&a);
    if (d->read_request(text, &a, &req, &e) < 0) {
        require(e.msg[0] != '\0');
        goto done;
    }
    check_same_dialect(&req, &a);
    check_extended(&req, &a);
    if (d->read_conversation(req.body, &a, &c, &e) < 0) {
        require(e.msg[0] != '\0');
        goto done;
    }
    for (const struct other_field *o = c.others; o != NULL; o = o->next)
        for (size_t i = 0; i < o->path.n; i++)
            require(o->path.p[i] > ' ' && o->path.p[i] < 0x7f && o->path.p[i] != ',');
    check_told(&c, &dialect_openai_chat, "gpt-4.1", &a);
    check_told(&c, &dialect_anthropic_messages, "claude-sonnet-4-5", &a);
    check_told(&c, d, "gemini-3-pro", &a);
done:
    arena_release(&a);
}

/* ---- answers ---- */

struct rewriter {
    struct answer_writer w;
    struct arena arena;
    struct strbuf out;
};

static void rewrite(void *ctx, const struct chat_event *ev)
{
    struct rewriter *r = ctx;

    if (ev->kind != CHAT_END)
        d->write_event(&r->w, ev, &r->out);
}

static struct chat_watch read_stream(const struct dialect *from, struct span text, chat_sink *sink,
                                     void *ctx)
{
    struct chat_watch w;
    struct sse_event ev;
    struct sse s;

    memset(&w, 0, sizeof(w));
    sse_init(&s, MAX_EVENT);
    require(sse_feed(&s, text) == 0);
    while (sse_next(&s, &ev))
        from->read_event(&ev, &w, sink, ctx);
    if (sse_end(&s, &ev))
        from->read_event(&ev, &w, sink, ctx);
    sse_release(&s);
    return w;
}

static void check_answer(const struct dialect *from, struct span text, bool thoughts)
{
    struct chat_watch w, again;
    struct sse_event ev;
    struct rewriter r;
    struct sse s;

    arena_init(&r.arena);
    r.out = strbuf_heap(1 << 26);
    r.w = (struct answer_writer){
        .id = SPAN("id"), .model = SPAN("model"), .reasoning_asked = thoughts, .arena = &r.arena};
    w = read_stream(from, text, rewrite, &r);
    d->write_event(&r.w, &(struct chat_event){.kind = CHAT_END}, &r.out);
    require(!r.out.failed);

    /* Each event is one line of data that is an object. */
    sse_init(&s, MAX_EVENT * 8);
    require(sse_feed(&s, strbuf_span(&r.out)) == 0);
    while (sse_next(&s, &ev))
        require(ev.has_data && ev.data.n == ev.raw.n - 8 && json_valid(ev.data));
    require(!sse_end(&s, &ev));
    sse_release(&s);

    if (w.failure == FAILURE_NONE) {
        again = read_stream(d, strbuf_span(&r.out), NULL, NULL);
        if (again.failure == CONFLICT) /* nothing but a call that nobody can read */
            require(span_find(strbuf_span(&r.out), "MALFORMED_FUNCTION_CALL") != NULL);
        else
            require(again.failure == FAILURE_NONE && again.stopped && (!again.output || w.output));
    }
    strbuf_release(&r.out);
    arena_release(&r.arena);
}

/* ---- names and states ---- */

static void check_small(struct span text)
{
    struct gemini_state state;
    struct span model;
    struct arena a;

    arena_init(&a);
    if (door_model(text, &a, &model))
        require(model.n > 0 && model.n <= DOOR_MAX_MODEL && span_find(model, "..") == NULL &&
                memchr(model.p, '%', model.n) == NULL);
    if (gemini_read_state(chat_quote(text, &a), &a, &state) && state.kind != GEMINI_MARK)
        require(json_valid(state.state));
    arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};

    if (size > 1 << 16)
        return 0;
    check_request(text);
    check_answer(&dialect_openai_chat, text, size % 2 == 0);
    check_answer(&dialect_gemini, text, size % 2 == 0);
    check_small(text);
    return 0;
}
