/* Any bytes as a stream and an answer of Anthropic's messages, and as a client's request written
 * for it: no crash, the same verdict in every split, and what is written is one JSON object with
 * two sides that alternate. */
#include "tests/fuzz/fuzz.h"

static const struct dialect *const d = &dialect_anthropic_messages;

static void check_watch(const struct chat_watch *w)
{
    require(w->begun <= 1 && w->closed <= w->begun);
    require(w->stopped == (w->closed != 0));
    require(w->usage.cached <= w->usage.input && w->usage.reasoning <= w->usage.output);
    if (w->failure != FAILURE_NONE)
        check_error(&w->error);
}

/* What a sink may rely on. */
struct order {
    unsigned starts, stops, ends, tools;
};

static void check_order(void *ctx, const struct chat_event *ev)
{
    struct order *o = ctx;

    require(o->ends == 0);
    switch (ev->kind) {
    case CHAT_START:
        o->starts++;
        break;
    case CHAT_TOOL_START:
        require(ev->tool == o->tools);
        o->tools++;
        break;
    case CHAT_TOOL_ARGS:
        require(o->tools != 0 && ev->tool == o->tools - 1 && json_valid(ev->text));
        break;
    case CHAT_STOP:
        o->stops++;
        break;
    case CHAT_END:
        require(o->stops == 1);
        o->ends++;
        break;
    case CHAT_TEXT:
    case CHAT_REASONING:
        require(json_type_of(ev->text) == JSON_STRING && ev->text.n > 2);
        break;
    default:
        break;
    }
    require(o->starts <= 1 && o->stops <= 1);
}

static struct chat_watch read_stream(struct span text, size_t step, struct order *order)
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
            enum dialect_event kind =
                d->read_event(&ev, &w, order != NULL ? check_order : NULL, order);

            check_watch(&w);
            if (kind == EVENT_BAD)
                require(memcmp(&before, &w, sizeof(w)) == 0);
            if (kind == EVENT_OUTPUT)
                require(w.output);
            if (kind == EVENT_ERROR)
                require(w.failure != FAILURE_NONE && w.begun == before.begun);
        }
    }
    if (sse_end(&s, &ev))
        d->read_event(&ev, &w, order != NULL ? check_order : NULL, order);
    sse_release(&s);
    return w;
}

static void check_stream(struct span text)
{
    struct order order = {0};
    struct chat_watch whole = read_stream(text, text.n + 1, NULL), again;

    again = read_stream(text, 7, &order);
    require(memcmp(&again, &whole, sizeof(whole)) == 0);
    require((order.stops != 0) == whole.stopped);
    require((order.tools != 0) == whole.tools);
    d->judge_end(&whole);
}

static void check_answer(struct span text)
{
    struct order order = {0};
    struct chat_watch w, told;

    memset(&w, 0, sizeof(w));
    memset(&told, 0, sizeof(told));
    d->read_answer(text, &w, NULL, NULL);
    d->read_answer(text, &told, check_order, &order);
    require(memcmp(&w, &told, sizeof(w)) == 0);
    check_watch(&w);
    require((order.ends == 1) == (w.failure == FAILURE_NONE));
    if (w.failure == FAILURE_NONE)
        require(w.stopped && w.end && (w.output || w.cut_short));
    else
        require(order.starts == 0);
}

/* ---- requests ---- */

static struct span get(struct span object, const char *name)
{
    struct json j = json_read(object);
    struct span key, found = {0};

    if (json_enter(&j, JSON_OBJECT))
        while (json_member(&j, &key)) {
            bool same = span_is(key, name);
            struct span raw = json_take(&j);

            if (same)
                found = raw;
        }
    return found;
}

static void check_body(struct span body)
{
    struct json j = json_read(get(body, "messages"));
    bool user = false;

    require(json_valid(body));
    require(json_enter(&j, JSON_ARRAY));
    while (json_item(&j)) {
        struct span m = json_take(&j);

        user = !user;
        require(json_is_string(get(m, "role"), user ? "user" : "assistant"));
        require(get(m, "content").n > 2);
    }
    require(json_type_of(get(body, "max_tokens")) == JSON_NUMBER);
}

static void check_request(struct span text, const char *model)
{
    struct dialect_target target = {.base_path = SPAN("/v1"), .model = span_of(model)};
    struct chat_request req;
    struct conversation c = {0};
    struct dialect_request out;
    struct arena a;
    struct err e = {0};

    memset(&c, 0, sizeof(c));
    arena_init(&a);
    if (dialect_openai_chat.read_request(text, &a, &req, &e) == 0 &&
        dialect_openai_chat.read_conversation(req.body, &a, &c, &e) == 0) {
        struct strbuf names = strbuf_in(&a, 1 << 20);
        struct drops drops = {.names = &names};

        if (d->write_conversation(&c, &target, &a, &out, &drops, &e) == 0)
            check_body(out.body[0]);
        else
            require(e.msg[0] != '\0');
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
    check_request(text, "claude-sonnet-4-5");
    check_request(text, "claude-opus-4-7");
    return 0;
}
