/* The door for Anthropic's clients against every recording: what they sent reaches each dialect of
 * providers with nothing lost in silence, and what any provider answered says the same in theirs.
 */
#include "providers/anthropic_messages.h"
#include "tests/unit/corpus.h"

static const struct dialect *const door = &dialect_anthropic_messages;

/* ---- requests ---- */

static const struct {
    const struct dialect *dialect;
    const char *model;
} targets[] = {
    {&dialect_openai_chat, "gpt-4o"},
    {&dialect_openai_chat, "o3"},
    {&dialect_gemini, "gemini-3-pro-preview"},
    {&dialect_gemini, "gemini-2.5-flash"},
};

/* What a request comes to: its bytes and the names of what was left out, or a refusal. */
struct outcome {
    struct span bytes, dropped;
    bool read, refused;
    struct err e;
};

static struct outcome translate(struct span request, size_t target, struct arena *a)
{
    struct dialect_target to = {.base_path = SPAN("/v1"), .model = span_of(targets[target].model)};
    struct strbuf names = strbuf_in(a, 1 << 16), bytes = strbuf_in(a, 1 << 26);
    struct chat_request req = {0};
    struct conversation c = {0};
    struct dialect_request out;
    struct outcome o = {0};

    if (door->read_request(request, a, &req, &o.e) < 0 ||
        door->read_conversation(request, a, &c, &o.e) < 0)
        return o;
    o.read = true;
    o.refused = targets[target].dialect->write_conversation(
                    &c, &to, a, &out, &(struct drops){&names, c.names}, &o.e) < 0;
    if (!o.refused) {
        strbuf_add_span(&bytes, out.path);
        for (size_t i = 0; i < ARRAY_LEN(out.body); i++)
            strbuf_add_span(&bytes, out.body[i]);
        CHECK(json_valid(out.body[0]));
    }
    o.bytes = strbuf_span(&bytes);
    o.dropped = strbuf_span(&names);
    return o;
}

/* The request without one raw value and what stands in front of it: a member or an item. */
static struct span without(struct span request, const char *from, const char *to, struct arena *a)
{
    struct strbuf out = strbuf_in(a, request.n + 1);

    while (to < request.p + request.n && strchr(" \t\r\n", *to) != NULL)
        to++;
    if (*to == ',') {
        to++;
    } else {
        while (from > request.p && strchr(" \t\r\n", from[-1]) != NULL)
            from--;
        if (from[-1] == ',')
            from--;
    }
    strbuf_add_n(&out, request.p, (size_t)(from - request.p));
    strbuf_add_n(&out, to, (size_t)(request.p + request.n - to));
    return strbuf_span(&out);
}

/* Members that may change nothing. */
static bool says_nothing(struct span key, struct span raw, struct span request)
{
    struct span type = top_member(raw, "type");

    if (json_type_of(raw) == JSON_NULL || json_type_of(raw) == JSON_FALSE || span_is(raw, "[]") ||
        span_is(raw, "{}") || span_is(key, "stream") || span_is(key, "model"))
        return true;
    if (span_is(key, "thinking")) /* the word "adaptive" stands for the middle one */
        return json_is_string(type, "disabled") ||
               top_member(top_member(request, "output_config"), "effort").n != 0;
    return span_is(key, "temperature") && strtod(raw.p, NULL) == 1;
}

static bool is_lost(struct span request, const char *from, const char *to,
                    const struct outcome *all, size_t target, struct arena *a)
{
    struct outcome less = translate(without(request, from, to, a), target, a);

    return less.read && !less.refused && span_eq(less.bytes, all->bytes) &&
           span_eq(less.dropped, all->dropped);
}

static void check_members(const struct recording *rec, const struct outcome *all, size_t target,
                          struct arena *a)
{
    struct json j = json_read(rec->request);
    struct span key;

    json_enter(&j, JSON_OBJECT);
    while (json_member(&j, &key)) {
        const char *start = j.raw_key.p;
        struct span name = arena_copy(a, key), raw = json_take(&j);
        bool lost = !says_nothing(name, raw, rec->request) &&
                    is_lost(rec->request, start, raw.p + raw.n, all, target, a);

        if (lost)
            printf("%.*s at %s: %.*s\n", SPAN_ARG(rec->id), targets[target].model, SPAN_ARG(name));
        expect("fields that are said or named", rec, !lost);
    }
}

static bool is_silent(struct span block)
{
    struct span text = top_member(block, "text");

    return json_is_string(top_member(block, "type"), "text") && raw_is_blank(text);
}

static void check_blocks(const struct recording *rec, const struct outcome *all, size_t target,
                         struct arena *a)
{
    struct json messages = json_read(top_member(rec->request, "messages"));

    json_enter(&messages, JSON_ARRAY);
    while (json_item(&messages)) {
        struct json blocks = json_read(top_member(json_take(&messages), "content"));

        if (!json_enter(&blocks, JSON_ARRAY))
            continue;
        while (json_item(&blocks)) {
            struct span raw = json_take(&blocks);
            bool lost =
                !is_silent(raw) && is_lost(rec->request, raw.p, raw.p + raw.n, all, target, a);

            if (lost)
                printf("%.*s at %s: %.*s\n", SPAN_ARG(rec->id), targets[target].model,
                       (int)(raw.n < 200 ? raw.n : 200), raw.p);
            expect("blocks that are said or named", rec, !lost);
        }
    }
}

static void visit_request(const struct recording *rec)
{
    /* Amazon's and Google's Claude has its model in the path: no client of ours. */
    if (top_member(rec->request, "model").n == 0 || rec->status >= 400)
        return;
    for (size_t t = 0; t < ARRAY_LEN(targets); t++) {
        struct arena a;
        struct outcome all;

        arena_init(&a);
        all = translate(rec->request, t, &a);
        expect("requests that are read", rec, all.read);
        if (!all.read)
            printf("%.*s: %s\n", SPAN_ARG(rec->id), all.e.msg);
        expect("requests that are said, or refused by a path", rec,
               !all.refused || strchr(all.e.msg, ':') != NULL);
        if (all.refused)
            printf("%.*s at %s: %s\n", SPAN_ARG(rec->id), targets[t].model, all.e.msg);
        if (all.read && !all.refused && rec->request.n < 20000) {
            check_members(rec, &all, t, &a);
            check_blocks(rec, &all, t, &a);
        }
        arena_release(&a);
    }
}

TEST(what_clients_sent_reaches_every_provider_with_nothing_lost_in_silence)
{
    each_recording("anthropic.messages", visit_request);
}

/* ---- answers ---- */

/* What an answer says, in plain text: only its first choice, which is all that has a place. */
struct said {
    struct arena *a;
    struct strbuf text, reasoning, states;
    struct fold fold; /* of the calls */
    struct span stop;
    struct chat_usage usage;
    bool end;
};

static void said_init(struct said *s, struct arena *a)
{
    *s = (struct said){.a = a,
                       .text = strbuf_in(a, 1 << 26),
                       .reasoning = strbuf_in(a, 1 << 26),
                       .states = strbuf_in(a, 1 << 26)};
    fold_init(&s->fold, a);
}

static void hear_state(struct said *s, const struct chat_event *ev)
{
    struct anthropic_carried carried;
    bool ours = anthropic_carried(ev->text, s->a, &carried) && json_is_string(ev->id, door->name);

    if (!ours) {
        carried.state = ev->text;
        carried.origin = json_text(ev->id, s->a);
        carried.of_call = json_is_string(ev->name, "tool");
    }
    if (carried.state.n != 0)
        strbuf_addf(&s->states, "%.*s %d %.*s\n", SPAN_ARG(carried.origin), carried.of_call,
                    SPAN_ARG(json_text(carried.state, s->a)));
}

static void hear(void *ctx, const struct chat_event *ev)
{
    struct said *s = ctx;

    if (ev->kind == CHAT_USAGE)
        s->usage = ev->usage;
    s->end |= ev->kind == CHAT_END;
    if (ev->choice != 0)
        return;
    if (ev->kind == CHAT_TEXT || ev->kind == CHAT_REFUSAL)
        strbuf_add_span(&s->text, json_text(ev->text, s->a));
    if (ev->kind == CHAT_REASONING)
        strbuf_add_span(&s->reasoning, json_text(ev->text, s->a));
    if (ev->kind == CHAT_STOP)
        s->stop = arena_copy(s->a, json_text(ev->text, s->a));
    if (ev->kind == CHAT_SIGNATURE)
        hear_state(s, ev);
    else
        fold_event(&s->fold, ev);
}

static const char *word_for(const struct said *s)
{
    if (span_is(s->stop, "length") || span_is(s->stop, "content_filter"))
        return span_is(s->stop, "length") ? "length" : "content_filter";
    return s->fold.choices != NULL && s->fold.choices->calls != NULL ? "tool_calls" : "stop";
}

/* Arguments of a call that are none are an empty object. */
static struct span arguments(const struct fold_call *call, struct arena *a)
{
    struct span text = span_trim(json_text(strbuf_span(&call->arguments), a));

    return text.n == 0 || span_is(text, "null") ? SPAN("{}") : text;
}

static bool same_calls(const struct said *x, const struct said *y, bool whole)
{
    const struct fold_call *p = x->fold.choices != NULL ? x->fold.choices->calls : NULL;
    const struct fold_call *q = y->fold.choices != NULL ? y->fold.choices->calls : NULL;

    for (; p != NULL && q != NULL; p = p->next, q = q->next) {
        struct span was = arguments(p, x->a);
        bool object = json_type_of(was) == JSON_OBJECT && json_valid(was);

        if (!span_eq(json_text(p->name, x->a), json_text(q->name, x->a)) ||
            !anthropic_is_plain(json_text(q->id, x->a), 64))
            return false;
        if ((object || !whole) && !span_eq(was, arguments(q, x->a)))
            return false;
    }
    return p == NULL && q == NULL;
}

/* The bytes of the stream, for the reader, in pieces of `step`. */
static bool read_stream(const struct dialect *d, struct span text, size_t step, struct said *s,
                        struct chat_watch *watch)
{
    struct sse sse;
    struct sse_event ev;

    sse_init(&sse, 1 << 26);
    for (size_t at = 0; at < text.n; at += step) {
        size_t n = text.n - at < step ? text.n - at : step;

        CHECK(sse_feed(&sse, (struct span){text.p + at, n}) == 0);
        while (sse_next(&sse, &ev))
            d->read_event(&ev, watch, hear, s);
    }
    if (sse_end(&sse, &ev))
        d->read_event(&ev, watch, hear, s);
    sse_release(&sse);
    return d->judge_end(watch) == FAILURE_NONE;
}

/* The sink that writes for the client, and hears what it writes. */
struct translation {
    struct answer_writer writer;
    struct fold fold;
    struct strbuf stream;
    struct said said;
    struct span stop;
};

static void write_down(void *ctx, const struct chat_event *ev)
{
    struct translation *t = ctx;

    hear(&t->said, ev);
    if (ev->kind == CHAT_STOP) { /* as an attempt does: the last one counts */
        t->stop = arena_copy(t->said.a, ev->text);
        return;
    }
    if (ev->kind == CHAT_END)
        return;
    door->write_event(&t->writer, ev, &t->stream);
    fold_event(&t->fold, ev);
}

static void finish(struct translation *t)
{
    struct chat_event ev = {.kind = CHAT_STOP, .text = t->stop};

    if (t->stop.n != 0) {
        door->write_event(&t->writer, &ev, &t->stream);
        fold_event(&t->fold, &ev);
    }
    ev.kind = CHAT_END;
    door->write_event(&t->writer, &ev, &t->stream);
    fold_event(&t->fold, &ev);
}

static void compare(const struct recording *rec, const struct said *was, struct said *is,
                    bool whole)
{
    expect("texts", rec, span_eq(strbuf_span(&was->text), strbuf_span(&is->text)));
    expect("reasonings", rec, span_eq(strbuf_span(&was->reasoning), strbuf_span(&is->reasoning)));
    expect("states", rec, span_eq(strbuf_span(&was->states), strbuf_span(&is->states)));
    fold_done(&is->fold);
    expect("calls", rec, same_calls(was, is, whole));
    expect("stops", rec, span_is(is->stop, word_for(was)));
    expect("usages", rec,
           is->usage.seen && is->usage.input == was->usage.input &&
               is->usage.output == was->usage.output && is->usage.cached == was->usage.cached &&
               is->usage.reasoning == was->usage.reasoning && is->end);
}

static void visit_answer_of(const struct dialect *d, const struct recording *rec)
{
    static const size_t steps[] = {1 << 26, 7};
    struct translation t = {.stream = strbuf_heap(1 << 26)};
    struct chat_watch watch = {0};
    struct strbuf whole = strbuf_heap(1 << 26);
    struct arena a;
    struct said is;
    bool good, wordless;

    if (rec->status != 200 || (rec->stream && tagged(rec, "json_array_stream")))
        return;
    arena_init(&a);
    said_init(&t.said, &a);
    fold_init(&t.fold, &a);
    t.writer = (struct answer_writer){
        .id = SPAN("msg_1"), .model = SPAN("m"), .reasoning_asked = true, .arena = &a};
    if (rec->stream) {
        struct sse s;
        struct sse_event ev;

        sse_init(&s, 1 << 26);
        CHECK(sse_feed(&s, rec->body) == 0);
        while (sse_next(&s, &ev))
            d->read_event(&ev, &watch, write_down, &t);
        if (sse_end(&s, &ev))
            d->read_event(&ev, &watch, write_down, &t);
        sse_release(&s);
        good = d->judge_end(&watch) == FAILURE_NONE;
    } else {
        d->read_answer(rec->body, &watch, write_down, &t);
        good = watch.failure == FAILURE_NONE;
    }
    /* Without a word (sound alone, or a stop sequence at once) it would be no answer. */
    wordless = t.said.text.len == 0 && t.said.reasoning.len == 0 && !watch.tools &&
               !json_is_string(t.stop, "length") && !json_is_string(t.stop, "content_filter");
    if (good && !wordless) {
        finish(&t);
        fold_done(&t.fold);
        fold_done(&t.said.fold);
        door->write_answer(&t.writer, &t.fold, &whole);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            struct chat_watch again = {0};

            said_init(&is, &a);
            good = read_stream(door, strbuf_span(&t.stream), steps[i], &is, &again);
            expect("streams", rec, good && !t.stream.failed);
            compare(rec, &t.said, &is, false);
        }
        said_init(&is, &a);
        memset(&watch, 0, sizeof(watch));
        door->read_answer(strbuf_span(&whole), &watch, hear, &is);
        expect("whole answers", rec, watch.failure == FAILURE_NONE && !whole.failed);
        compare(rec, &t.said, &is, true);
    }
    strbuf_release(&whole);
    strbuf_release(&t.stream);
    arena_release(&a);
}

static void visit_openai(const struct recording *rec)
{
    visit_answer_of(&dialect_openai_chat, rec);
}

static void visit_anthropic(const struct recording *rec)
{
    visit_answer_of(&dialect_anthropic_messages, rec);
}

static void visit_gemini(const struct recording *rec)
{
    visit_answer_of(&dialect_gemini, rec);
}

TEST(what_openais_kind_answered_says_the_same_here)
{
    each_recording("openai.chat", visit_openai);
}

TEST(what_claude_answered_says_the_same_when_it_is_written_anew)
{
    each_recording("anthropic.messages", visit_anthropic);
}

TEST(what_gemini_answered_says_the_same_here)
{
    each_recording("gemini.generateContent", visit_gemini);
}

TEST_MAIN()
