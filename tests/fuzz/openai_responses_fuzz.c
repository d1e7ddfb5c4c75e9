/* Any bytes as a stream, an answer and a client's request of OpenAI's responses: no crash, the same
 * verdict in every split, what is written for any provider is one JSON object, and an answer that
 * is written as responses is read back as one. */
#include "tests/fuzz/fuzz.h"

static const struct dialect *const d = &dialect_openai_responses;

static void check_watch(const struct chat_watch *w)
{
    require(w->begun <= 1 && w->closed <= w->begun);
    require(w->stopped == (w->closed != 0) && w->end == w->stopped);
    require(w->usage.cached <= w->usage.input && w->usage.reasoning <= w->usage.output);
    if (w->failure != FAILURE_NONE)
        check_error(&w->error);
}

/* What a sink may rely on, and the same events written again. */
struct told {
    unsigned starts, stops, ends;
    struct answer_writer w;
    struct strbuf out;
};

static void check_event(void *ctx, const struct chat_event *ev)
{
    struct told *t = ctx;

    require(t->ends == 0);
    t->starts += ev->kind == CHAT_START;
    t->stops += ev->kind == CHAT_STOP;
    t->ends += ev->kind == CHAT_END;
    if (ev->kind == CHAT_TEXT || ev->kind == CHAT_REASONING || ev->kind == CHAT_TOOL_ARGS ||
        ev->kind == CHAT_SIGNATURE || ev->kind == CHAT_REFUSAL)
        require(json_type_of(ev->text) == JSON_STRING && ev->text.n > 2);
    require(t->starts <= 1 && t->stops <= 1 && t->ends <= t->stops);
    d->write_event(&t->w, ev, &t->out);
}

static struct chat_watch read_stream(struct span text, size_t step, struct told *t,
                                     struct answer_writer *follower)
{
    struct chat_watch w;
    struct sse_event ev;
    struct sse s;

    memset(&w, 0, sizeof(w));
    sse_init(&s, MAX_EVENT);
    for (size_t at = 0; at < text.n; at += step) {
        size_t n = text.n - at < step ? text.n - at : step;

        require(sse_feed(&s, (struct span){text.p + at, n}) == 0);
        while (sse_next(&s, &ev)) {
            struct chat_watch before = w;
            enum dialect_event kind;

            if (w.end || w.failure != FAILURE_NONE)
                continue; /* nobody reads on */
            kind = d->read_event(&ev, &w, t != NULL ? check_event : NULL, t);
            check_watch(&w);
            if (kind == EVENT_BAD)
                require(memcmp(&before, &w, sizeof(w)) == 0);
            if (kind == EVENT_OUTPUT)
                require(w.output);
            if (kind == EVENT_ERROR)
                require(w.failure != FAILURE_NONE && w.begun == before.begun);
            if (follower != NULL)
                d->follow(follower, &ev, kind);
        }
    }
    sse_release(&s);
    return w;
}

static struct told fresh(struct arena *a)
{
    return (struct told){
        .w = {.id = SPAN("resp_1"), .model = SPAN("m"), .arena = a},
        .out = strbuf_in(a, 1 << 26),
    };
}

static void check_events(struct span text)
{
    struct sse_event ev;
    struct sse s;

    sse_init(&s, 1 << 26);
    require(sse_feed(&s, text) == 0);
    while (sse_next(&s, &ev))
        require(json_valid(ev.data));
    sse_release(&s);
}

/* What was written is a stream of ours, up to a call whose arguments came too late. */
static void check_written(const struct told *t)
{
    struct sse_event ev;
    struct sse s;
    struct chat_watch w;

    if (t->out.failed)
        return;
    memset(&w, 0, sizeof(w));
    sse_init(&s, 1 << 26);
    require(sse_feed(&s, strbuf_span(&t->out)) == 0);
    while (sse_next(&s, &ev)) {
        require(json_valid(ev.data));
        require(d->read_event(&ev, &w, NULL, NULL) != EVENT_BAD);
    }
    require(w.end == (t->ends != 0));
    sse_release(&s);
}

static void check_stream(struct span text)
{
    struct chat_watch whole = read_stream(text, text.n + 1, NULL, NULL), again;
    struct told t;
    struct answer_writer follower;
    struct strbuf out;
    struct arena a;

    arena_init(&a);
    t = fresh(&a);
    again = read_stream(text, 7, &t, NULL);
    require(memcmp(&again, &whole, sizeof(whole)) == 0);
    require((t.ends != 0) == (d->judge_end(&whole) == FAILURE_NONE));
    check_written(&t);

    follower = (struct answer_writer){.id = SPAN("x"), .model = SPAN("m"), .arena = &a};
    read_stream(text, 50, NULL, &follower);
    d->split(&follower);
    out = strbuf_in(&a, 1 << 26);
    d->write_event(&follower, &(struct chat_event){.kind = CHAT_TEXT, .text = SPAN("\"y\"")}, &out);
    d->write_event(&follower, &(struct chat_event){.kind = CHAT_STOP, .text = SPAN("\"stop\"")},
                   &out);
    d->write_event(&follower, &(struct chat_event){.kind = CHAT_END}, &out);
    check_events(strbuf_span(&out));
    arena_release(&a);
}

static void check_answer(struct span text)
{
    struct chat_watch w, told;
    struct told t;
    struct fold f;
    struct strbuf out;
    struct arena a;

    arena_init(&a);
    t = fresh(&a);
    memset(&w, 0, sizeof(w));
    memset(&told, 0, sizeof(told));
    d->read_answer(text, &w, NULL, NULL);
    d->read_answer(text, &told, check_event, &t);
    require(memcmp(&w, &told, sizeof(w)) == 0);
    require((t.ends == 1) == (w.failure == FAILURE_NONE));
    if (w.failure == FAILURE_NONE)
        check_watch(&w);
    else
        require(t.starts == 0);
    check_written(&t);
    if (w.failure == FAILURE_NONE) {
        struct chat_watch seen;
        struct answer_writer again = {.id = SPAN("resp_1"), .model = SPAN("m"), .arena = &a};

        memset(&seen, 0, sizeof(seen));
        fold_init(&f, &a);
        d->read_answer(text, &seen, fold_event, &f);
        fold_done(&f);
        out = strbuf_in(&a, 1 << 26);
        d->write_answer(&again, &f, &out);
        require(out.failed || json_valid(span_trim((struct span){out.buf, out.len - 1})));
    }
    arena_release(&a);
}

/* ---- requests ---- */

static void check_request(struct span text)
{
    static const struct {
        const struct dialect *dialect;
        const char *model;
    } targets[] = {
        {&dialect_openai_chat, "gpt-4.1"},
        {&dialect_openai_responses, "gpt-5"},
        {&dialect_anthropic_messages, "claude-sonnet-4-5"},
        {&dialect_gemini, "gemini-3-pro-preview"},
    };
    struct chat_request req, longer;
    struct conversation c = {0};
    struct dialect_request out;
    struct dialect_target same = {
        .base_path = SPAN("/v1"), .model = SPAN("gpt-5"), .rewrite_model = true};
    struct arena a;
    struct err e = {0};
    struct strbuf names;
    struct drops drops = {.names = &names};

    memset(&req, 0, sizeof(req));
    memset(&c, 0, sizeof(c));
    arena_init(&a);
    names = strbuf_in(&a, 1 << 20);
    if (d->read_request(text, &a, &req, &e) == 0) {
        memset(&longer, 0, sizeof(longer));
        d->write_request(&req, &same, &a, &out, &drops);
        require(out.body_bytes == out.body[0].n + out.body[1].n + out.body[2].n);
        if (d->extend(&req, SPAN("so far"), SPAN("go on"), 5, &a, &longer, &e) == 0)
            require(json_valid(longer.body));
        if (d->read_conversation(req.body, &a, &c, &e) == 0)
            for (size_t t = 0; t < ARRAY_LEN(targets); t++) {
                struct dialect_target target = {.base_path = SPAN("/v1"),
                                                .model = span_of(targets[t].model)};

                strbuf_clear(&names);
                drops.client = c.names;
                if (targets[t].dialect->write_conversation(&c, &target, &a, &out, &drops, &e) == 0)
                    require(json_valid(out.body[0]));
                else
                    require(e.msg[0] != '\0');
            }
    }
    arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};

    if (size > 1 << 16)
        return 0;
    check_stream(text);
    check_answer(text);
    check_request(text);
    return 0;
}
