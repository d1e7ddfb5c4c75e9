/* Any bytes as a stream, an answer, an error and a request of OpenAI chat completions: no crash,
 * the same verdict in every split, and what the reader promises of its verdicts. */
#include "tests/fuzz/fuzz.h"

static const struct dialect *const d = &dialect_openai_chat;

static void check_watch(const struct chat_watch *w)
{
    require((w->closed & ~w->begun) == 0);
    require(w->stopped == (w->begun != 0 && w->begun == w->closed));
    require(w->usage.cached <= w->usage.input && w->usage.reasoning <= w->usage.output);
    if (w->failure != FAILURE_NONE)
        check_error(&w->error);
}

/* ---- streams ---- */

struct rewriter {
    struct answer_writer w;
    struct arena arena;
    struct strbuf out;
};

static void start_rewriting(struct rewriter *r)
{
    arena_init(&r->arena);
    r->w = (struct answer_writer){.id = SPAN("id"),
                                  .model = SPAN("model"),
                                  .created = 1,
                                  .usage_asked = true,
                                  .arena = &r->arena};
    r->out = strbuf_heap(1 << 26);
}

static void end_rewriting(struct rewriter *r)
{
    strbuf_release(&r->out);
    arena_release(&r->arena);
}

static void rewrite(void *ctx, const struct chat_event *ev)
{
    struct rewriter *r = ctx;

    d->write_event(&r->w, ev, &r->out);
}

static enum dialect_event read_event(const struct sse_event *ev, struct chat_watch *w,
                                     struct rewriter *out)
{
    struct chat_watch before = *w;
    enum dialect_event kind = d->read_event(ev, w, out != NULL ? rewrite : NULL, out);

    check_watch(w);
    if (kind == EVENT_BAD)
        require(memcmp(&before, w, sizeof(before)) == 0);
    if (kind == EVENT_OUTPUT)
        require(w->output);
    if (kind == EVENT_ERROR)
        require(w->failure != FAILURE_NONE && w->begun == before.begun);
    return kind;
}

/* Reads all of it, `step` bytes at a time, in a verdict. */
static struct chat_watch read_stream(struct span text, size_t step, struct rewriter *out)
{
    struct chat_watch w;
    struct sse_event ev;
    struct sse s;

    memset(&w, 0, sizeof(w));
    sse_init(&s, MAX_EVENT);
    for (size_t at = 0; at < text.n; at += step) {
        size_t n = text.n - at < step ? text.n - at : step;

        require(sse_feed(&s, (struct span){text.p + at, n}) == 0);
        while (sse_next(&s, &ev))
            read_event(&ev, &w, out);
    }
    if (sse_end(&s, &ev))
        read_event(&ev, &w, out);
    sse_release(&s);
    return w;
}

static void check_stream(struct span text)
{
    struct chat_watch whole = read_stream(text, text.n + 1, NULL), again;
    struct rewriter r;

    again = read_stream(text, 7, NULL);
    require(memcmp(&again, &whole, sizeof(whole)) == 0);

    /* What we write for a client says the same. */
    start_rewriting(&r);
    again = read_stream(text, text.n + 1, &r);
    require(again.output == whole.output && again.closed == whole.closed);
    require(!r.out.failed);
    again = read_stream(strbuf_span(&r.out), r.out.len + 1, NULL);
    require(again.failure == FAILURE_NONE);
    require(again.closed == whole.closed && again.cut_short == whole.cut_short);
    end_rewriting(&r);
}

/* ---- the rest ---- */

static void check_answer(struct span text)
{
    struct chat_watch w, told;
    struct rewriter r;
    struct fold f;

    memset(&w, 0, sizeof(w));
    memset(&told, 0, sizeof(told));
    start_rewriting(&r);
    fold_init(&f, &r.arena);
    d->read_answer(text, &w, NULL, NULL);
    d->read_answer(text, &told, fold_event, &f);
    require(w.failure == told.failure && w.output == told.output);
    if (w.failure != FAILURE_NONE) {
        check_error(&w.error);
    } else {
        require(w.stopped && w.end && (w.output || w.cut_short));
        fold_done(&f);
        require(f.too_big || f.end);
        d->write_answer(&r.w, &f, &r.out);
        require(json_valid(strbuf_span(&r.out)));
    }
    end_rewriting(&r);
}

static void check_errors(struct span text)
{
    static const unsigned statuses[] = {200, 400, 403, 429, 500, 503};

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct chat_error error;
        struct strbuf out = strbuf_heap(1 << 16);

        require(d->classify(statuses[i], (struct span){0}, text, &error) != FAILURE_NONE);
        check_error(&error);
        d->write_error(&error, &out);
        require(json_valid(strbuf_span(&out)));
        strbuf_release(&out);
    }
}

static void check_request(struct span text)
{
    struct dialect_target target = {.base_path = SPAN("/v1"),
                                    .model = SPAN("other"),
                                    .key = SPAN("key"),
                                    .rewrite_model = true};
    struct dialect_request out;
    struct chat_request req, again;
    struct strbuf whole;
    struct arena a;
    struct err e = {0};

    arena_init(&a);
    if (d->read_request(text, &a, &req, &e) < 0) {
        require(e.msg[0] != '\0');
        goto done;
    }
    d->write_request(&req, &target, &a, &out, NULL);
    whole = strbuf_in(&a, text.n + 100);
    for (size_t i = 0; i < 3; i++)
        strbuf_add_span(&whole, out.body[i]);
    require(whole.len == out.body_bytes);
    require(d->read_request(strbuf_span(&whole), &a, &again, &e) == 0);
    require(span_is(again.model, "other"));
    require(again.stream == req.stream && again.tools == req.tools &&
            again.usage_asked == req.usage_asked);
done:
    arena_release(&a);
}

/* What we write is what we read, and nothing of a request can break a header field. */
static void check_conversation(struct span text)
{
    struct dialect_target target = {.base_path = SPAN("/v1"), .model = SPAN("o3")};
    struct dialect_request out;
    struct conversation c = {0}, again = {0};
    struct strbuf names;
    struct drops drops = {.names = &names};
    struct arena a;
    struct err e = {0};

    arena_init(&a);
    names = strbuf_in(&a, 4096);
    if (!json_valid(text) || d->read_conversation(text, &a, &c, &e) < 0)
        goto done;
    for (const struct other_field *o = c.others; o != NULL; o = o->next)
        for (size_t i = 0; i < o->path.n; i++)
            require(o->path.p[i] > ' ' && o->path.p[i] < 0x7f && o->path.p[i] != ',');
    if (d->write_conversation(&c, &target, &a, &out, &drops, &e) < 0) {
        require(e.msg[0] != '\0');
        goto done;
    }
    require(json_valid(out.body[0]));
    require(d->read_conversation(out.body[0], &a, &again, &e) == 0);
    require(again.others == NULL && again.max_tokens == c.max_tokens && again.n == c.n);
done:
    arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};

    if (size > 1 << 16)
        return 0;
    check_stream(text);
    check_answer(text);
    check_errors(text);
    check_request(text);
    check_conversation(text);
    return 0;
}
