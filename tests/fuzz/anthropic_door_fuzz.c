/* Any bytes as what a client of Anthropic's dialect sends, and any events as what it gets: no
 * crash, what is written is valid, and a request that goes on keeps its bytes or names what it
 * lost. */
#include "providers/anthropic_messages.h"
#include "tests/fuzz/fuzz.h"

static const struct dialect *const d = &dialect_anthropic_messages;

static void check_translation(const struct conversation *c, const struct dialect *to,
                              const char *model, struct arena *a)
{
    struct dialect_target target = {.base_path = SPAN("/v1"), .model = span_of(model)};
    struct strbuf names = strbuf_in(a, 1 << 20);
    struct drops drops = {&names, c->names};
    struct dialect_request out;
    struct err e = {0};

    if (to->write_conversation(c, &target, a, &out, &drops, &e) == 0)
        require(json_valid(out.body[0]));
    else
        name_for_client(c->names, &e);
}

static void check_passing(const struct chat_request *req, const char *model, struct arena *a)
{
    struct dialect_target target = {.base_path = SPAN("/v1"),
                                    .model = span_of(model),
                                    .rewrite_model = model != NULL,
                                    .strip_foreign = true};
    struct strbuf names = strbuf_in(a, 1 << 20), all = strbuf_in(a, 1 << 22);
    struct drops drops = {.names = &names};
    struct dialect_request out;

    d->write_request(req, &target, a, &out, &drops);
    for (size_t i = 0; i < sizeof(out.body) / sizeof(out.body[0]); i++)
        strbuf_add_span(&all, out.body[i]);
    require(json_valid(strbuf_span(&all)) && all.len == out.body_bytes);
    require(model != NULL || names.len != 0 || span_eq(strbuf_span(&all), req->body));
}

static void check_request(struct span text)
{
    struct chat_request req = {0};
    struct conversation c = {0};
    struct arena a;
    struct err e = {0};

    arena_init(&a);
    if (d->read_request(text, &a, &req, &e) == 0) {
        check_passing(&req, NULL, &a);
        check_passing(&req, "claude-3-5-haiku", &a);
        if (d->read_conversation(req.body, &a, &c, &e) == 0) {
            check_translation(&c, &dialect_openai_chat, "gpt-4o", &a);
            check_translation(&c, &dialect_gemini, "gemini-3-pro", &a);
            check_translation(&c, d, "claude-opus-4-8", &a);
        }
    } else {
        require(e.msg[0] != '\0');
    }
    arena_release(&a);
}

/* What the client gets of a stream of chat completions, which says anything in any order. */
struct client {
    struct answer_writer w;
    struct strbuf out;
    struct arena a;
};

static void write_down(void *ctx, const struct chat_event *ev)
{
    struct client *c = ctx;

    d->write_event(&c->w, ev, &c->out);
}

static void check_blocks(struct span text)
{
    struct sse s;
    struct sse_event ev;
    int64_t next = 0, index;
    bool open = false;

    sse_init(&s, 1 << 24);
    require(sse_feed(&s, text) == 0);
    while (sse_next(&s, &ev)) {
        require(json_valid(ev.data) &&
                json_is_string(top_member(ev.data, "type"), "ping") == span_is(ev.name, "ping"));
        if (!span_starts(ev.name, "content_block"))
            continue;
        require(json_to_i64(top_member(ev.data, "index"), &index) && index == next);
        require(open != span_is(ev.name, "content_block_start"));
        open = !span_is(ev.name, "content_block_stop");
        next += !open;
    }
    sse_release(&s);
}

static void check_answer(struct span text, bool reasoning)
{
    struct client c = {.w = {.id = SPAN("msg_1"), .model = SPAN("m")}, .out = strbuf_heap(1 << 24)};
    struct chat_watch watch = {0};
    struct sse s;
    struct sse_event ev;

    arena_init(&c.a);
    c.w.arena = &c.a;
    c.w.reasoning_asked = reasoning;
    sse_init(&s, 1 << 24);
    require(sse_feed(&s, text) == 0);
    while (sse_next(&s, &ev))
        dialect_openai_chat.read_event(&ev, &watch, write_down, &c);
    sse_release(&s);
    if (!c.out.failed)
        check_blocks(strbuf_span(&c.out));
    strbuf_release(&c.out);
    arena_release(&c.a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};

    if (size > 1 << 16)
        return 0;
    check_request(text);
    check_answer(text, false);
    check_answer(text, true);
    return 0;
}
