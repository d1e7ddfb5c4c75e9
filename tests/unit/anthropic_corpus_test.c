/* Every recorded answer of Anthropic's messages against a second, naive reading of it, and every
 * recorded request of OpenAI chat written for Claude: what comes out must be a request that
 * Anthropic takes, with nothing lost that is not named. */
#include "providers/dialect.h"
#include "tests/unit/corpus.h"

static const struct dialect *const d = &dialect_anthropic_messages;

/* A member of a raw object; empty where it is not there. */
static struct span get(struct span object, const char *name)
{
    struct json j = json_read(object);
    struct span key, found = {0};

    if (json_type_of(object) != JSON_OBJECT || !json_enter(&j, JSON_OBJECT))
        return found;
    while (json_member(&j, &key)) {
        bool same = span_is(key, name);
        struct span raw = json_take(&j);

        if (same)
            found = raw;
    }
    return found;
}

/* ---- the second reading ---- */

/* Everything of an answer, in plain text. */
struct answer {
    struct strbuf text, thinking, signatures;
    struct strbuf calls; /* "id name arguments\n" each */
    struct span stop;    /* canonical, plain */
    uint64_t input, output, cached;
    bool usage, complete;
};

static void answer_init(struct answer *x, struct arena *a)
{
    *x = (struct answer){.text = strbuf_in(a, 1 << 24),
                         .thinking = strbuf_in(a, 1 << 24),
                         .signatures = strbuf_in(a, 1 << 24),
                         .calls = strbuf_in(a, 1 << 24)};
}

static uint64_t number(struct span raw, bool *told)
{
    int64_t v = 0;

    *told = json_to_i64(raw, &v);
    return (uint64_t)v;
}

struct usage_parts {
    uint64_t fresh, wrote, cached;
};

static void add_usage(struct answer *x, struct usage_parts *u, struct span usage)
{
    bool told;
    uint64_t v;

    if (json_type_of(usage) != JSON_OBJECT)
        return;
    x->usage = true;
    v = number(get(usage, "input_tokens"), &told);
    u->fresh = told ? v : u->fresh;
    v = number(get(usage, "cache_creation_input_tokens"), &told);
    u->wrote = told ? v : u->wrote;
    v = number(get(usage, "cache_read_input_tokens"), &told);
    u->cached = told ? v : u->cached;
    v = number(get(usage, "output_tokens"), &told);
    x->output = told ? v : x->output;
    x->input = u->fresh + u->wrote + u->cached;
    x->cached = u->cached;
}

static void set_stop(struct answer *x, struct span raw)
{
    if (json_is_string(raw, "refusal"))
        x->stop = SPAN("content_filter");
    else if (json_is_string(raw, "max_tokens"))
        x->stop = SPAN("length");
    else
        x->stop = x->calls.len != 0 ? SPAN("tool_calls") : SPAN("stop");
}

static void add_decoded(struct strbuf *out, struct span raw, struct arena *a)
{
    strbuf_add_span(out, json_text(raw, a));
}

static void add_block(struct answer *x, struct span block, struct arena *a)
{
    struct span type = get(block, "type");

    if (json_is_string(type, "text"))
        add_decoded(&x->text, get(block, "text"), a);
    if (json_is_string(type, "thinking")) {
        add_decoded(&x->thinking, get(block, "thinking"), a);
        add_decoded(&x->signatures, get(block, "signature"), a);
    }
    if (json_is_string(type, "redacted_thinking"))
        add_decoded(&x->signatures, get(block, "data"), a);
    if (json_is_string(type, "tool_use")) {
        add_decoded(&x->calls, get(block, "id"), a);
        strbuf_add_char(&x->calls, ' ');
        add_decoded(&x->calls, get(block, "name"), a);
        strbuf_add_char(&x->calls, ' ');
        strbuf_add_span(&x->calls, get(block, "input"));
        strbuf_add_char(&x->calls, '\n');
    }
}

static void extract_answer(struct span body, struct answer *x, struct arena *a)
{
    struct usage_parts u = {0};
    struct json j = json_read(get(body, "content"));

    answer_init(x, a);
    if (json_enter(&j, JSON_ARRAY))
        while (json_item(&j))
            add_block(x, json_take(&j), a);
    add_usage(x, &u, get(body, "usage"));
    set_stop(x, get(body, "stop_reason"));
    x->complete = true;
}

/* A stream by its lines: each data line is one event in all recordings. */
static void extract_stream(struct span body, struct answer *x, struct arena *a)
{
    struct usage_parts u = {0};
    bool tool = false, begun = false;

    answer_init(x, a);
    while (body.n != 0) {
        const char *end = memchr(body.p, '\n', body.n);
        struct span line = {body.p, end != NULL ? (size_t)(end - body.p) : body.n};
        struct span data, type, delta;
        size_t used = line.n + (end != NULL);

        body = (struct span){body.p + used, body.n - used};
        if (!span_starts(line, "data:"))
            continue;
        data = span_trim((struct span){line.p + 5, line.n - 5});
        if (data.n != 0 && data.p[data.n - 1] == '\r')
            data.n--;
        if (!json_valid(data)) /* cut */
            return;
        type = get(data, "type");
        delta = get(data, "delta");
        if (json_is_string(type, "message_start") && !begun) {
            begun = true;
            add_usage(x, &u, get(get(data, "message"), "usage"));
        } else if (json_is_string(type, "content_block_start")) {
            struct span block = get(data, "content_block");

            tool = json_is_string(get(block, "type"), "tool_use");
            add_block(x, block, a);
            if (tool && span_is(get(block, "input"), "{}"))
                x->calls.len -= 3; /* until something else comes */
            else if (tool)
                x->calls.len -= 1;
        } else if (json_is_string(type, "content_block_delta")) {
            add_decoded(&x->text, get(delta, "text"), a);
            add_decoded(&x->thinking, get(delta, "thinking"), a);
            add_decoded(&x->signatures, get(delta, "signature"), a);
            if (tool)
                add_decoded(&x->calls, get(delta, "partial_json"), a);
        } else if (json_is_string(type, "content_block_stop")) {
            if (tool && x->calls.buf[x->calls.len - 1] == ' ')
                strbuf_add(&x->calls, "{}");
            if (tool)
                strbuf_add(&x->calls, "\n");
            tool = false;
        } else if (json_is_string(type, "message_delta")) {
            add_usage(x, &u, get(data, "usage"));
            if (json_type_of(get(delta, "stop_reason")) == JSON_STRING) {
                set_stop(x, get(delta, "stop_reason"));
                x->complete = true;
            }
        } else if (json_is_string(type, "message_stop")) {
            return;
        }
    }
}

/* ---- our reading, put together ---- */

struct ours {
    struct fold fold;
    struct chat_watch watch;
    struct strbuf signatures;
    struct arena *a;
    bool end;
};

static void collect(void *ctx, const struct chat_event *ev)
{
    struct ours *o = ctx;

    fold_event(&o->fold, ev);
    if (ev->kind == CHAT_SIGNATURE)
        add_decoded(&o->signatures, ev->text, o->a);
    o->end |= ev->kind == CHAT_END;
}

static void ours_init(struct ours *o, struct arena *a)
{
    memset(o, 0, sizeof(*o));
    o->a = a;
    o->signatures = strbuf_in(a, 1 << 24);
    fold_init(&o->fold, a);
}

static bool same_text(const struct strbuf *raw, const struct strbuf *want, struct arena *a)
{
    return span_eq(json_text(strbuf_span(raw), a), strbuf_span(want));
}

static bool same_calls(const struct fold_choice *c, const struct answer *x, struct arena *a)
{
    struct strbuf calls = strbuf_in(a, 1 << 24);

    for (const struct fold_call *call = c->calls; call != NULL; call = call->next) {
        add_decoded(&calls, call->id, a);
        strbuf_add_char(&calls, ' ');
        add_decoded(&calls, call->name, a);
        strbuf_add_char(&calls, ' ');
        add_decoded(&calls, strbuf_span(&call->arguments), a);
        strbuf_add_char(&calls, '\n');
    }
    return span_eq(strbuf_span(&calls), strbuf_span(&x->calls));
}

/* The whole answer as both read it. */
static void compare(const struct recording *rec, struct ours *o, struct answer *x)
{
    static const struct fold_choice none;
    const struct fold_choice *c;

    fold_done(&o->fold);
    c = o->fold.choices != NULL ? o->fold.choices : &none;
    expect("texts", rec, same_text(&c->text, &x->text, o->a));
    expect("reasonings", rec, same_text(&c->reasoning, &x->thinking, o->a));
    expect("signatures", rec, span_eq(strbuf_span(&o->signatures), strbuf_span(&x->signatures)));
    if (x->calls.len != 0 && x->calls.buf[x->calls.len - 1] == '\n')
        expect("tool calls", rec, same_calls(c, x, o->a));
    expect("stop reasons", rec, span_eq(json_text(c->stop, o->a), x->stop));
    expect("usages", rec,
           o->watch.usage.seen == x->usage && o->watch.usage.input == x->input &&
               o->watch.usage.output == x->output && o->watch.usage.cached == x->cached);
}

/* ---- streams ---- */

static void read_stream(struct span text, size_t step, struct ours *o)
{
    struct sse s;
    struct sse_event ev;

    sse_init(&s, 1 << 24);
    for (size_t at = 0; at < text.n; at += step) {
        size_t n = text.n - at < step ? text.n - at : step;

        CHECK(sse_feed(&s, (struct span){text.p + at, n}) == 0);
        while (sse_next(&s, &ev))
            d->read_event(&ev, &o->watch, collect, o);
    }
    if (sse_end(&s, &ev))
        d->read_event(&ev, &o->watch, collect, o);
    sse_release(&s);
}

static void visit_stream(const struct recording *rec)
{
    static const size_t steps[] = {1, 3, 64, 4096};
    struct arena a;
    struct answer x;
    struct ours whole, split;
    bool complete;

    if (!rec->stream || rec->status != 200)
        return;
    arena_init(&a);
    extract_stream(rec->body, &x, &a);
    ours_init(&whole, &a);
    read_stream(rec->body, rec->body.n + 1, &whole);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        ours_init(&split, &a);
        read_stream(rec->body, steps[i], &split);
        fold_done(&split.fold);
        expect("splits", rec, memcmp(&split.watch, &whole.watch, sizeof(split.watch)) == 0);
    }
    complete = d->judge_end(&whole.watch) == FAILURE_NONE;
    if (tagged(rec, "error_in_stream")) {
        expect("errors in a stream", rec,
               (whole.watch.failure == OVERLOADED || whole.watch.failure == SERVER_ERROR) &&
                   !whole.end);
    } else if (span_is(rec->id, "886d59db-fa6790c4")) { /* nothing but the provider's own tools */
        expect("streams that are exceptions", rec, d->judge_end(&whole.watch) == EMPTY);
    } else if (tagged(rec, "unterminated_stream")) {
        expect("ends of cut streams", rec,
               complete == x.complete && !whole.end &&
                   complete == (rec->id.n != 0 && whole.watch.stopped));
    } else {
        expect("ends of streams", rec, complete && x.complete && whole.end);
    }
    compare(rec, &whole, &x);
    arena_release(&a);
}

TEST(recorded_streams_are_understood)
{
    each_recording("anthropic.messages", visit_stream);
}

/* ---- answers in one piece ---- */

static void visit_answer(const struct recording *rec)
{
    struct arena a;
    struct answer x;
    struct ours o;

    if (rec->stream || rec->status != 200)
        return;
    arena_init(&a);
    ours_init(&o, &a);
    d->read_answer(rec->body, &o.watch, collect, &o);
    /* The model ended its turn behind a tool's result without a word, or after nothing but tools
     * of the provider's own: nothing a client can use. */
    if (span_is(rec->id, "c5d9511f-2503b1be") || span_is(rec->id, "886d59db-f988677f")) {
        expect("answers that are exceptions", rec, o.watch.failure == EMPTY && !o.end);
    } else {
        expect("answers", rec, o.watch.failure == FAILURE_NONE && o.end && o.watch.stopped);
        extract_answer(rec->body, &x, &a);
        compare(rec, &o, &x);
    }
    for (size_t n = 1; n < rec->body.n; n += rec->body.n / 20 + 1) {
        struct chat_watch cut = {0};

        d->read_answer((struct span){rec->body.p, n}, &cut, NULL, NULL);
        expect("cut answers", rec, cut.failure == TRUNCATED && !cut.output && !cut.stopped);
    }
    arena_release(&a);
}

TEST(recorded_answers_are_understood)
{
    each_recording("anthropic.messages", visit_answer);
}

/* ---- errors ---- */

static void visit_error(const struct recording *rec)
{
    struct chat_error error;
    enum failure f, want;

    if (rec->status < 400)
        return;
    f = d->classify(rec->status, (struct span){0}, rec->body, &error);
    switch (rec->status) {
    case 400:
        want = BAD_REQUEST;
        break;
    case 401:
        want = AUTH;
        break;
    case 403:
        want = FORBIDDEN;
        break;
    case 404:
        want = MODEL_GONE;
        break;
    case 413:
        want = TOO_LARGE;
        break;
    case 429:
        want = RATE_LIMITED;
        break;
    default:
        want = server_fault(rec->status);
    }
    if (tagged(rec, "quota"))
        want = QUOTA;
    if (span_is(rec->id, "c285f971-848040bc")) /* prompt is too long, as 400 */
        want = CONTEXT_LENGTH;
    expect("errors", rec, f == want && error.message[0] != '\0' && error.status == rec->status);
}

TEST(recorded_errors_are_classified)
{
    each_recording("anthropic.messages", visit_error);
}

/* ---- requests of OpenAI chat ---- */

static struct {
    char reason[120];
    unsigned n;
} reasons[100];

/* Why requests are refused, without the numbers in the paths. */
static void count_reason(const char *message)
{
    char reason[120];
    size_t n = 0;

    for (; *message != '\0' && n + 1 < sizeof(reason); message++)
        if (*message < '0' || *message > '9')
            reason[n++] = *message;
    reason[n] = '\0';
    for (size_t i = 0; i < 100; i++)
        if (reasons[i].n == 0 || strcmp(reasons[i].reason, reason) == 0) {
            memcpy(reasons[i].reason, reason, n + 1);
            reasons[i].n++;
            return;
        }
}

static unsigned count_of(struct span text, const char *needle)
{
    unsigned n = 0;

    for (const char *p = text.p;
         (p = memmem(p, (size_t)(text.p + text.n - p), needle, strlen(needle))) != NULL; p++)
        n++;
    return n;
}

/* The ids of the blocks of one type in a message, in order. */
static void ids_in(struct span message, const char *type, const char *field, struct strbuf *out)
{
    struct json j = json_read(get(message, "content"));

    if (!json_enter(&j, JSON_ARRAY))
        return;
    while (json_item(&j)) {
        struct span block = json_take(&j);

        if (json_is_string(get(block, "type"), type))
            strbuf_add_span(out, get(block, field));
    }
}

/* Sides alternate from the user on, nothing is empty, results answer the calls before. */
static bool is_conversation(struct span messages, struct arena *a)
{
    struct json j = json_read(messages);
    struct strbuf calls = strbuf_in(a, 1 << 20);
    bool user = false, good = true;

    if (!json_enter(&j, JSON_ARRAY))
        return false;
    while (json_item(&j)) {
        struct span m = json_take(&j), content = get(m, "content");
        struct strbuf results = strbuf_in(a, 1 << 20);

        user = !user;
        good &= json_is_string(get(m, "role"), user ? "user" : "assistant");
        good &= content.n > 2;
        ids_in(m, "tool_result", "tool_use_id", &results);
        good &= span_eq(strbuf_span(&results), strbuf_span(&calls));
        strbuf_clear(&calls);
        ids_in(m, "tool_use", "id", &calls);
    }
    return good && calls.len == 0;
}

/* Keys of the request, and what shows that they were said. */
static const struct {
    const char *key, *shown;
} said[] = {
    {"model", "\"model\":"},
    {"messages", "\"messages\":"},
    {"max_tokens", "\"max_tokens\":"},
    {"max_completion_tokens", "\"max_tokens\":"},
    {"stream", ""},
    {"stream_options", ""},
    {"n", ""},
    {"parallel_tool_calls", ""},
    {"tools", "\"tools\":"},
    {"functions", "\"tools\":"},
    {"stop", "\"stop_sequences\":"},
    {"temperature", "\"temperature\":"},
    {"top_p", "\"top_p\":"},
    {"top_k", "\"top_k\":"},
    {"user", "\"user_id\":"},
    {"safety_identifier", "\"user_id\":"},
    {"tool_choice", "\"tool_choice\":"},
    {"function_call", "\"tool_choice\":"},
    {"reasoning_effort", "\"effort\":"},
    {"reasoning_effort", "\"thinking\":"},
};

static bool is_nothing(struct span raw)
{
    return json_type_of(raw) == JSON_NULL || span_is(raw, "[]") || span_is(raw, "{}") ||
           span_is(raw, "false") || span_is(raw, "\"\"");
}

/* Is each key said or named? */
static bool is_whole(const struct recording *rec, struct span body, const char *dropped)
{
    struct json j = json_read(rec->request);
    struct span key;
    bool whole = true;

    CHECK(json_enter(&j, JSON_OBJECT));
    while (json_member(&j, &key)) {
        char name[100];
        struct span raw;
        bool good;

        snprintf(name, sizeof(name), "%.*s", SPAN_ARG(key));
        raw = json_take(&j);
        good = is_nothing(raw) || strstr(dropped, name) != NULL;
        for (size_t i = 0; i < sizeof(said) / sizeof(said[0]) && !good; i++)
            good = strcmp(said[i].key, name) == 0 &&
                   (said[i].shown[0] == '\0' || count_of(body, said[i].shown) != 0);
        if (strcmp(name, "response_format") == 0)
            good |= json_is_string(get(raw, "type"), "text") ||
                    (json_is_string(get(raw, "type"), "json_object") &&
                     count_of(body, "one JSON object") == 1) ||
                    count_of(body, "\"type\":\"json_schema\"") == 1;
        /* What says nothing: no effort is no thinking, a temperature of 1 is what there is. */
        good |= strcmp(name, "temperature") == 0 && strtod(raw.p, NULL) == 1;
        good |= strcmp(name, "reasoning_effort") == 0 &&
                (json_is_string(raw, "none") || json_is_string(raw, "minimal"));
        if (!good)
            printf("%.*s: %s is neither said nor named (%s)\n", SPAN_ARG(rec->id), name, dropped);
        whole &= good;
    }
    return whole;
}

/* Each text stands in the body as it was sent. */
static bool has_texts(const struct conversation *c, struct span body)
{
    for (const struct message *m = c->messages; m != NULL; m = m->next)
        for (const struct part *p = m->parts; p != NULL; p = p->next) {
            struct span inside = {p->text.p + 1, p->text.n - 2};

            if (p->kind != PART_TEXT || raw_is_blank(p->text) ||
                (m->next == NULL && m->role == ROLE_ASSISTANT))
                continue;
            if (memmem(body.p, body.n, inside.p, inside.n) == NULL)
                return false;
        }
    return true;
}

static void write_for(const struct recording *rec, const struct conversation *c, const char *model,
                      struct arena *a)
{
    struct dialect_target target = {.base_path = SPAN("/v1"), .model = span_of(model)};
    struct strbuf names = strbuf_in(a, 4096);
    struct drops drops = {.names = &names};
    struct dialect_request out;
    struct err e = {0};
    struct span body;

    strbuf_add(&names, "");
    if (d->write_conversation(c, &target, a, &out, &drops, &e) < 0) {
        expect("refusals that name a place", rec, strchr(e.msg, ':') != NULL);
        count_reason(e.msg);
        return;
    }
    body = out.body[0];
    expect("requests that are JSON", rec, json_valid(body) && body.n == out.body_bytes);
    expect("conversations", rec, is_conversation(get(body, "messages"), a));
    expect("requests with all their texts", rec, has_texts(c, body));
    expect("requests with nothing lost unnamed", rec,
           is_whole(rec, body, names.buf != NULL ? names.buf : ""));
    expect("requests with a cap", rec, get(body, "max_tokens").n != 0);
}

static void visit_request(const struct recording *rec)
{
    struct conversation c = {0};
    struct chat_request req;
    struct arena a;
    struct err e = {0};

    if (json_type_of(rec->request) != JSON_OBJECT)
        return;
    arena_init(&a);
    if (dialect_openai_chat.read_request(rec->request, &a, &req, &e) == 0 &&
        dialect_openai_chat.read_conversation(rec->request, &a, &c, &e) == 0) {
        write_for(rec, &c, "claude-sonnet-4-5", &a);
        write_for(rec, &c, "claude-opus-4-8", &a);
        write_for(rec, &c, "claude-3-5-haiku-latest", &a);
    }
    arena_release(&a);
}

TEST(recorded_requests_are_written)
{
    memset(reasons, 0, sizeof(reasons));
    each_recording("openai.chat", visit_request);
    for (size_t i = 0; i < 100 && reasons[i].n != 0; i++)
        printf("corpus: refused %u: %s\n", reasons[i].n, reasons[i].reason);
}

TEST_MAIN()
