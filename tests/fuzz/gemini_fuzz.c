/* Any bytes as a stream, an answer and an error of Gemini: no crash, the same verdict and the same
 * events in every split and in both passes, and what the reader promises of its verdicts. The same
 * bytes as the texts of a conversation: what we write is valid JSON. */
#include "tests/fuzz/fuzz.h"

static const struct dialect *const d = &dialect_gemini;

static void check_watch(const struct chat_watch *w)
{
    require((w->closed & ~w->begun) == 0);
    require(w->stopped == (w->begun != 0 && w->begun == w->closed));
    require(w->usage.cached <= w->usage.input && w->usage.reasoning <= w->usage.output);
    if (w->failure != FAILURE_NONE)
        check_error(&w->error);
}

/* ---- events ---- */

/* Every text in an event is a valid raw string; they are kept to compare. */
static void collect(void *ctx, const struct chat_event *ev)
{
    struct strbuf *out = ctx;

    if (ev->kind != CHAT_START && ev->kind != CHAT_USAGE && ev->kind != CHAT_END &&
        ev->kind != CHAT_TOOL_START)
        require(json_type_of(ev->text) == JSON_STRING && json_valid(ev->text));
    if (ev->kind == CHAT_TOOL_START)
        require(json_valid(ev->id) && json_valid(ev->name));
    strbuf_addf(out, "%d %u %u ", (int)ev->kind, ev->choice, ev->tool);
    strbuf_add_span(out, ev->text);
    strbuf_add_span(out, ev->id);
    strbuf_add_span(out, ev->name);
    strbuf_add_char(out, '\n');
}

static void read_event(const struct sse_event *ev, struct chat_watch *w, struct strbuf *out)
{
    struct chat_watch before = *w;
    size_t len = out->len;
    enum dialect_event kind = d->read_event(ev, w, collect, out);

    check_watch(w);
    if (kind == EVENT_BAD || kind == EVENT_ERROR)
        require(out->len == len);
    if (kind == EVENT_BAD)
        require(memcmp(&before, w, sizeof(before)) == 0);
    if (kind == EVENT_OUTPUT)
        require(w->output);
    if (kind == EVENT_ERROR)
        require(w->failure != FAILURE_NONE && w->begun == before.begun);
    require(kind != EVENT_END);
}

static struct chat_watch read_stream(struct span text, size_t step, struct strbuf *out)
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
    struct strbuf out = strbuf_heap(1 << 26), pieces = strbuf_heap(1 << 26);
    struct chat_watch whole = read_stream(text, text.n + 1, &out);
    struct chat_watch again = read_stream(text, 7, &pieces);

    require(memcmp(&again, &whole, sizeof(whole)) == 0);
    require(span_eq(strbuf_span(&out), strbuf_span(&pieces)));
    strbuf_release(&out);
    strbuf_release(&pieces);
}

/* ---- answers and errors ---- */

static void check_answer(struct span text)
{
    struct strbuf out = strbuf_heap(1 << 26);
    struct chat_watch w, told;

    memset(&w, 0, sizeof(w));
    memset(&told, 0, sizeof(told));
    d->read_answer(text, &w, NULL, NULL);
    d->read_answer(text, &told, collect, &out);
    require(memcmp(&w, &told, sizeof(w)) == 0);
    if (w.failure == FAILURE_NONE) {
        require(w.stopped && w.end && (w.output || w.cut_short));
    } else {
        check_error(&w.error);
        require(out.len == 0);
    }
    strbuf_release(&out);
}

static void check_errors(struct span text)
{
    static const unsigned statuses[] = {200, 400, 404, 429, 500, 503};

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct chat_error error;

        require(d->classify(statuses[i], (struct span){0}, text, &error) != FAILURE_NONE);
        check_error(&error);
    }
}

/* ---- requests ---- */

static void check_request(struct span text, bool newest)
{
    struct dialect_target target = {.base_path = SPAN("/v1beta"),
                                    .model =
                                        newest ? SPAN("gemini-3-pro") : SPAN("gemini-2.5-pro")};
    struct dialect_request out;
    struct arena a;
    struct err e = {0};
    char names[512];
    struct strbuf list = strbuf_on(names, sizeof(names));
    struct drops drops = {.names = &list};
    struct span raw;

    arena_init(&a);
    raw = chat_quote(text, &a);
    {
        struct part inner = {.kind = PART_TEXT, .text = raw};
        struct part said = {.kind = PART_TEXT, .text = raw, .path = SPAN("messages[0].content")};
        struct part call = {.kind = PART_TOOL_CALL,
                            .id = raw,
                            .name = SPAN("\"f\""),
                            .text = raw,
                            .path = SPAN("messages[2].tool_calls[0]")};
        struct part result = {.kind = PART_TOOL_RESULT, .id = raw, .inner = &inner};
        struct message tool = {.role = ROLE_TOOL, .parts = &result};
        struct message model = {.role = ROLE_ASSISTANT, .parts = &call, .next = &tool};
        struct message user = {.role = ROLE_USER, .parts = &said, .next = &model};
        struct message system = {.role = ROLE_SYSTEM, .parts = &said, .next = &user};
        struct conversation c = {.messages = &system, .n = 1};

        require(d->write_conversation(&c, &target, &a, &out, &drops, &e) == 0);
        require(json_valid(out.body[0]) && out.body_bytes == out.body[0].n);
        target.model = text;
        if (d->write_conversation(&c, &target, &a, &out, &drops, &e) == 0)
            require(memchr(out.path.p, ' ', out.path.n) == NULL &&
                    memchr(out.path.p, '\n', out.path.n) == NULL &&
                    span_find(out.path, "..") == NULL);
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
    check_errors(text);
    check_request(text, size % 2 == 0);
    return 0;
}
