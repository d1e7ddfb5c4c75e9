/* Every recorded exchange of OpenAI chat completions against our reading of it. What is expected
 * comes from how the recording was labelled, not from our code; where we decide otherwise, the
 * exception stands in a table with its reason. */
#include "providers/dialect.h"
#include "tests/unit/corpus.h"

/* ---- streams ---- */

/* Everything a reader of a stream comes to know. */
struct verdict {
    struct chat_watch watch;
    enum failure end;
    unsigned kinds[EVENT_BAD + 1]; /* how many events of each kind */
    unsigned cut_bad;              /* of the bad ones, how many the end of the stream cut */
};

static void read_one(const struct sse_event *ev, struct verdict *v)
{
    enum dialect_event kind = dialect_openai_chat.read_event(ev, &v->watch, NULL, NULL);

    v->kinds[kind]++;
    if (kind == EVENT_BAD && ev->cut)
        v->cut_bad++;
}

static void read_stream(struct span text, size_t step, struct verdict *v)
{
    struct sse s;
    struct sse_event ev;

    memset(v, 0, sizeof(*v));
    sse_init(&s, 1 << 22);
    for (size_t at = 0; at < text.n; at += step) {
        size_t n = text.n - at < step ? text.n - at : step;

        CHECK_INT(sse_feed(&s, (struct span){text.p + at, n}), 0);
        while (sse_next(&s, &ev))
            read_one(&ev, v);
    }
    if (sse_end(&s, &ev))
        read_one(&ev, v);
    sse_release(&s);
    v->end = dialect_openai_chat.judge_end(&v->watch);
}

struct exception {
    const char *id;
    enum failure failure;
    const char *why;
};

static const struct exception *find_exception(const struct exception *list, struct span id)
{
    while (list->id != NULL && !span_is(id, list->id))
        list++;
    return list->id != NULL ? list : NULL;
}

static const struct exception stream_exceptions[] = {
    {"be58131c-b5574f19", TRUNCATED, "[DONE] without a finish_reason"},
    {"1b90f81a-7b89052e", TRUNCATED, "[DONE] without a finish_reason"},
    {NULL, 0, NULL},
};

static void visit_stream(const struct recording *rec)
{
    const struct exception *ex = find_exception(stream_exceptions, rec->id);
    struct verdict v, part;

    if (!rec->stream)
        return;
    read_stream(rec->body, rec->body.n, &v);
    if (ex != NULL)
        expect("streams that are exceptions", rec, v.end == ex->failure);
    else if (tagged(rec, "error_in_stream"))
        expect("streams with an error", rec,
               v.kinds[EVENT_ERROR] == 1 && v.end == v.watch.failure && v.end != FAILURE_NONE);
    else if (tagged(rec, "cut_mid_event"))
        expect("streams cut inside an event", rec,
               v.end == TRUNCATED && v.kinds[EVENT_BAD] == 1 && v.cut_bad == 1);
    else if (tagged(rec, "cut_event_boundary"))
        expect("streams cut between events", rec, v.end == TRUNCATED && !v.watch.end);
    else if (tagged(rec, "cut_before_terminator") || tagged(rec, "no_done_sentinel"))
        expect("streams complete without [DONE]", rec, v.end == FAILURE_NONE && !v.watch.end);
    else
        expect("complete streams", rec, v.end == FAILURE_NONE && v.watch.end);

    if (!tagged(rec, "cut_mid_event"))
        expect("streams without an unreadable event", rec, v.kinds[EVENT_BAD] == 0);
    if (tagged(rec, "tool_call"))
        expect("streams with a tool call", rec, v.watch.tools && v.watch.output);
    if (tagged(rec, "max_tokens"))
        expect("streams that ran out of tokens", rec, v.watch.cut_short);
    if (tagged(rec, "reasoning_usage") && v.end == FAILURE_NONE)
        expect("streams with reasoning tokens", rec, v.watch.usage.reasoning > 0);
    if (tagged(rec, "cached_usage") && v.end == FAILURE_NONE)
        expect("streams with cached tokens", rec,
               v.watch.usage.cached > 0 && v.watch.usage.cached <= v.watch.usage.input);
    for (size_t step = 1; step <= 1000; step = step * 7 + 3) {
        read_stream(rec->body, step, &part);
        expect("streams that are the same in pieces", rec, memcmp(&part, &v, sizeof(v)) == 0);
    }
}

TEST(recorded_streams_are_understood)
{
    each_recording("openai.chat", visit_stream);
}

/* What our own writer makes of the events, to be read once more. */
struct rewriter {
    struct answer_writer w;
    struct strbuf out;
};

static void rewrite(void *ctx, const struct chat_event *ev)
{
    struct rewriter *r = ctx;

    dialect_openai_chat.write_event(&r->w, ev, &r->out);
}

/* The whole answer that `text`, a stream or not, comes to, written by us. */
static struct span written_whole(struct span text, bool stream, struct answer_writer *w)
{
    struct chat_watch watch = {0};
    struct strbuf out = strbuf_in(w->arena, 1 << 24);
    struct sse_event ev;
    struct fold f;
    struct sse s;

    fold_init(&f, w->arena);
    sse_init(&s, 1 << 22);
    if (stream) {
        CHECK_INT(sse_feed(&s, text), 0);
        while (sse_next(&s, &ev))
            dialect_openai_chat.read_event(&ev, &watch, fold_event, &f);
        if (sse_end(&s, &ev))
            dialect_openai_chat.read_event(&ev, &watch, fold_event, &f);
    } else {
        dialect_openai_chat.read_answer(text, &watch, fold_event, &f);
    }
    fold_done(&f);
    CHECK(!f.too_big);
    dialect_openai_chat.write_answer(w, &f, &out);
    sse_release(&s);
    return strbuf_span(&out);
}

static void visit_rewritten(const struct recording *rec)
{
    struct arena a;
    struct rewriter r = {.w = {.id = SPAN("chatcmpl-1"),
                               .model = SPAN("m"),
                               .created = 1700000000,
                               .usage_asked = true,
                               .arena = &a},
                         .out = strbuf_heap(1 << 24)};
    struct chat_watch w = {0};
    struct verdict first, again;
    struct sse s;
    struct sse_event ev;

    arena_init(&a);
    if (!rec->stream)
        goto done;
    read_stream(rec->body, rec->body.n, &first);
    sse_init(&s, 1 << 22);
    CHECK_INT(sse_feed(&s, rec->body), 0);
    while (sse_next(&s, &ev))
        dialect_openai_chat.read_event(&ev, &w, rewrite, &r);
    sse_release(&s);
    /* Where nothing marks the end, whoever read it all knows. */
    if (!w.end && dialect_openai_chat.judge_end(&w) == FAILURE_NONE)
        rewrite(&r, &(struct chat_event){.kind = CHAT_END});
    CHECK(!r.out.failed);
    read_stream(strbuf_span(&r.out), 4096, &again);
    expect("translated streams that are readable", rec,
           again.kinds[EVENT_BAD] == 0 && again.kinds[EVENT_ERROR] == 0);
    /* Sound and pictures have no event yet. */
    expect("translated streams that say the same", rec,
           again.watch.output == first.watch.output && again.watch.tools == first.watch.tools &&
               again.watch.begun == first.watch.begun && again.watch.closed == first.watch.closed &&
               again.watch.cut_short == first.watch.cut_short);
    if (first.end == FAILURE_NONE) {
        struct span whole = written_whole(rec->body, true, &r.w);

        expect("streams that are the same in one piece", rec,
               span_eq(whole, written_whole(whole, false, &r.w)) &&
                   span_eq(whole, written_whole(strbuf_span(&r.out), true, &r.w)));
        expect("translated streams that are complete", rec,
               again.end == FAILURE_NONE &&
                   memcmp(&again.watch.usage, &first.watch.usage, sizeof(struct chat_usage)) == 0);
    }
done:
    strbuf_release(&r.out);
    arena_release(&a);
}

TEST(recorded_streams_survive_translation)
{
    each_recording("openai.chat", visit_rewritten);
}

/* ---- answers in one piece ---- */

static const struct exception answer_exceptions[] = {
    {"c18d33e7-85ab453f", POLICY, "a content filter's error under status 200"},
    {NULL, 0, NULL},
};

/* Ran out of tokens, or was filtered, before anything came. */
static bool may_be_empty(const struct recording *rec)
{
    return tagged(rec, "max_tokens") || tagged(rec, "content_filter");
}

static void visit_answer(const struct recording *rec)
{
    const struct exception *ex = find_exception(answer_exceptions, rec->id);
    struct chat_watch w = {0}, cut = {0}, spaced = {0};
    struct strbuf text;

    if (rec->stream || rec->status != 200)
        return;
    dialect_openai_chat.read_answer(rec->body, &w, NULL, NULL);
    if (ex != NULL) {
        expect("answers that are exceptions", rec, w.failure == ex->failure);
        return;
    }
    expect("complete answers", rec,
           w.failure == FAILURE_NONE && w.stopped && w.end && (w.output || may_be_empty(rec)));
    if (tagged(rec, "tool_call"))
        expect("answers with a tool call", rec, w.tools);
    if (tagged(rec, "max_tokens"))
        expect("answers that ran out of tokens", rec, w.cut_short);
    /* 01a11842-75599f3c tells them only for the models that Groq itself called in between. */
    if (tagged(rec, "reasoning_usage") && !span_is(rec->id, "01a11842-75599f3c"))
        expect("answers with reasoning tokens", rec,
               w.usage.reasoning > 0 && w.usage.reasoning <= w.usage.output);
    if (tagged(rec, "cached_usage"))
        expect("answers with cached tokens", rec,
               w.usage.cached > 0 && w.usage.cached <= w.usage.input);

    for (size_t n = 1; n < rec->body.n; n += rec->body.n / 50 + 1) {
        memset(&cut, 0, sizeof(cut));
        dialect_openai_chat.read_answer((struct span){rec->body.p, n}, &cut, NULL, NULL);
        expect("cut answers", rec, cut.failure == TRUNCATED && !cut.output && !cut.stopped);
    }
    text = strbuf_heap(rec->body.n + 100);
    strbuf_add(&text, "\n \r\n\n");
    strbuf_add_span(&text, rec->body);
    strbuf_add(&text, "\n");
    dialect_openai_chat.read_answer(strbuf_span(&text), &spaced, NULL, NULL);
    expect("answers behind white space", rec, memcmp(&spaced, &w, sizeof(w)) == 0);
    strbuf_release(&text);
}

TEST(recorded_answers_are_understood)
{
    each_recording("openai.chat", visit_answer);
}

/* ---- errors ---- */

/* Where what stands inside says more than the status. */
static const struct exception error_exceptions[] = {
    {"bbfb63e4-9b77b10b", CONTEXT_LENGTH, "maximum context length, as 400"},
    {"551c0735-08989413", CONTEXT_LENGTH, "the same, behind a gateway"},
    {"6cf34227-8010f81c", CONTEXT_LENGTH, "exceed_context_size_error, as 400"},
    {"abc78b13-e3474733", CONTEXT_LENGTH, "too_many_prompt_tokens, as 400"},
    {"1be33783-339672c5", MODEL_GONE, "invalid_model, as 400"},
    {"bd5a81d7-f87a4fe3", MODEL_GONE, "not a valid model ID, as 400"},
    {"16699fc3-f3def37f", UNSUPPORTED, "a model without images, as 400"},
    {"7cb885a7-c44d7191", UNSUPPORTED, "the same"},
    {"28942b53-b92ed831", UNSUPPORTED, "a parameter this model does not have, as 400"},
    {"e69df921-d14da335", UNSUPPORTED, "the same"},
    {"91a8f345-f716a845", UNSUPPORTED, "a value this model does not have, as 400"},
    {"6a0847c7-2a2377e4", UNSUPPORTED, "a model without images, as 500"},
    {"e5ff80d3-319b5d20", UNSUPPORTED, "a server started without tools, as 500"},
    {"adfda255-668930f3", CONFLICT, "the model's own bad tool call, as 400"},
    {"fa929767-e3541614", TOO_LARGE, "larger than the limit of a minute, as 429"},
    {NULL, 0, NULL},
};

static enum failure wanted(const struct recording *rec)
{
    const struct exception *ex = find_exception(error_exceptions, rec->id);

    if (ex != NULL)
        return ex->failure;
    if (tagged(rec, "quota"))
        return QUOTA;
    switch (rec->status) {
    case 400:
        return BAD_REQUEST;
    case 401:
        return AUTH;
    case 404:
        return MODEL_GONE;
    case 408:
        return REQUEST_TIMEOUT;
    case 413:
        return TOO_LARGE;
    case 429:
        return RATE_LIMITED;
    default:
        return rec->status >= 500 ? server_fault(rec->status) : FAILURE_NONE;
    }
}

/* "429 errors", as text that lives on. */
static const char *status_class(unsigned status)
{
    static char names[8][24];
    unsigned i = 0;

    while (names[i][0] != '\0' && (unsigned)atoi(names[i]) != status / 100 * 100 + status % 100)
        if (++i == 8)
            return "other errors";
    snprintf(names[i], sizeof(names[i]), "%u errors", status);
    return names[i];
}

static void visit_error(const struct recording *rec)
{
    struct chat_error error;
    enum failure f;

    if (rec->status < 400)
        return;
    f = dialect_openai_chat.classify(rec->status, (struct span){0}, rec->body, &error);
    expect(status_class(rec->status), rec, f == wanted(rec));
    expect("errors that say something", rec,
           error.message[0] != '\0' && error.status == rec->status &&
               strstr(error.message, "without a message") == NULL);
    expect("errors on one line without keys or markup", rec,
           strpbrk(error.message, "\r\n") == NULL && strstr(error.message, "DEADBEEF") == NULL &&
               strstr(error.message, "org-0") == NULL && strstr(error.message, "<h") == NULL);
}

TEST(recorded_errors_are_classified)
{
    each_recording("openai.chat", visit_error);
}

/* ---- requests ---- */

static void visit_request(const struct recording *rec)
{
    struct chat_request req;
    struct arena a;
    struct err e;
    struct dialect_request out;
    struct dialect_target target = {
        .base_path = SPAN("/v1"), .model = SPAN("m"), .rewrite_model = true};
    int rc;

    if (json_type_of(rec->request) != JSON_OBJECT || tagged(rec, "error"))
        return;
    arena_init(&a);
    rc = dialect_openai_chat.read_request(rec->request, &a, &req, &e);
    if (span_find(rec->request, "\"model\": \"") == NULL &&
        span_find(rec->request, "\"model\":\"") == NULL) {
        /* Azure names it in the URL. */
        expect("requests without a model", rec, rc < 0 && strstr(e.msg, "model: ") == e.msg);
        goto done;
    }
    expect("requests", rec, rc == 0 && req.stream == rec->stream);
    if (rc < 0)
        goto done;
    expect("requests with and without tools", rec, req.tools == tagged(rec, "tools"));
    expect("requests that ask for usage", rec, !req.usage_asked || tagged(rec, "stream_usage"));
    dialect_openai_chat.write_request(&req, &target, &a, &out, NULL);
    expect("requests with another model", rec,
           span_is(out.body[1], "\"m\"") && out.body_bytes == rec->request.n - req.model_raw.n + 3);
done:
    arena_release(&a);
}

TEST(recorded_requests_are_read)
{
    each_recording("openai.chat", visit_request);
}

TEST_MAIN()
