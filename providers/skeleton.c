/* skeleton.c - a dialect to copy: complete, small, and compiled with every build, never linked in.
 *
 * It speaks an invented protocol:
 *
 *     POST /generate      X-Key: KEY      {"model": "m", "prompt": "...", "stream": true}
 *     streamed            data: {"text": "Hel"}      data: {"done": true, "tokens": 12}
 *     in one piece        {"text": "Hello", "done": true, "tokens": 12}
 *     an error            {"error": "what is wrong"}, also as an event
 *
 * README.md in this folder tells the steps. What a dialect promises stands in dialect.h; a real one
 * with every quirk is openai_chat.c and its neighbours.
 */
#include "providers/dialect.h"

/* ---- the client side ---- */

static int read_request(struct span body, struct arena *a, struct chat_request *out, struct err *e)
{
    struct chat_request req = {.body = body};
    struct json j = json_read(body);
    struct span key;

    json_enter(&j, JSON_OBJECT);
    while (json_member(&j, &key)) {
        struct span raw = json_take(&j);

        if (span_is(key, "model"))
            req.model_raw = raw;
        else if (span_is(key, "stream"))
            json_to_bool(raw, &req.stream);
    }
    if (!json_end(&j))
        return json_error(&j, e);
    if (json_type_of(req.model_raw) != JSON_STRING)
        return err_set(e, ERR_VALUE, "model: expected a string");
    req.model = json_text(req.model_raw, a);
    *out = req;
    return 0;
}

static void write_error(const struct chat_error *error, struct strbuf *out)
{
    strbuf_add(out, "{\"error\":");
    json_add_string(out, span_of(error->message));
    strbuf_add(out, "}");
}

static void write_stream_error(const struct chat_error *error, struct strbuf *out)
{
    strbuf_add(out, "data: ");
    write_error(error, out);
    strbuf_add(out, "\n\n");
}

static void write_end(struct strbuf *out)
{
    strbuf_add(out, "data: {\"done\":true}\n\n");
}

static void write_event(struct answer_writer *w UNUSED, const struct chat_event *ev,
                        struct strbuf *out)
{
    if (ev->kind == CHAT_TEXT) {
        strbuf_add(out, "data: {\"text\":");
        strbuf_add_span(out, ev->text); /* raw: it was valid JSON where it came from */
        strbuf_add(out, "}\n\n");
    } else if (ev->kind == CHAT_END) {
        write_end(out);
    }
}

static void write_answer(struct answer_writer *w UNUSED, const struct fold *f, struct strbuf *out)
{
    const struct fold_choice *choice = f->choices;

    strbuf_add(out, "{\"text\":");
    if (choice != NULL && choice->text.len != 0)
        strbuf_add_span(out, strbuf_span(&choice->text));
    else
        strbuf_add(out, "\"\"");
    strbuf_add(out, ",\"done\":true,\"tokens\":");
    strbuf_add_u64(out, f->usage.output);
    strbuf_add(out, "}");
}

static void write_models(const struct span *names, size_t n, uint64_t created UNUSED,
                         struct strbuf *out)
{
    for (size_t i = 0; i < n; i++) {
        strbuf_add(out, i == 0 ? "[" : ",");
        json_add_string(out, names[i]);
    }
    strbuf_add(out, n == 0 ? "[]" : "]");
}

/* ---- the provider side ---- */

/* Only the model is replaced; every other byte is the client's. */
static void write_request(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct dialect_request *out, struct drops *drops)
{
    struct strbuf path = strbuf_in(a, target->base_path.n + 16);
    const char *rest = req->model_raw.p + req->model_raw.n;

    (void)drops; /* nothing is left out: target->without is for dialects with optional parameters */
    strbuf_add_span(&path, target->base_path);
    strbuf_add(&path, "/generate");
    *out = (struct dialect_request){.path = strbuf_span(&path),
                                    .head_fields = strbuf_in(a, 16384),
                                    .body = {req->body},
                                    .body_bytes = req->body.n};
    if (target->key.n != 0) {
        strbuf_add(&out->head_fields, "X-Key: ");
        strbuf_add_span(&out->head_fields, target->key);
        strbuf_add(&out->head_fields, "\r\n");
    }
    if (!target->rewrite_model)
        return;
    out->body[0].n = (size_t)(req->model_raw.p - req->body.p);
    out->body[1] = chat_quote(target->model, a);
    out->body[2] = (struct span){rest, (size_t)(req->body.p + req->body.n - rest)};
    out->body_bytes = out->body[0].n + out->body[1].n + out->body[2].n;
}

struct found {
    struct span text, error; /* raw */
    int64_t tokens;
    bool done;
};

/* False where it is no valid JSON. Whatever is not known is read over: providers add keys. */
static bool find(struct span data, struct found *f)
{
    struct json j = json_read(data);
    struct span key;

    *f = (struct found){0};
    json_enter(&j, JSON_OBJECT);
    while (json_member(&j, &key)) {
        struct span raw = json_take(&j);

        if (span_is(key, "text"))
            f->text = raw;
        else if (span_is(key, "error"))
            f->error = raw;
        else if (span_is(key, "done"))
            json_to_bool(raw, &f->done);
        else if (span_is(key, "tokens"))
            json_to_i64(raw, &f->tokens);
    }
    return json_end(&j);
}

static enum failure fail(struct chat_error *error, enum failure f, unsigned status,
                         struct span text)
{
    *error = (struct chat_error){.status = status};
    chat_error_mask(text, error->message, sizeof(error->message)); /* it may quote our key */
    return f;
}

static void tell(chat_sink *sink, void *ctx, struct chat_event ev)
{
    if (sink != NULL)
        sink(ctx, &ev);
}

/* What is common to an event and to a whole answer. */
static void learn(const struct found *f, struct chat_watch *w, chat_sink *sink, void *ctx)
{
    if (w->begun == 0)
        tell(sink, ctx, (struct chat_event){.kind = CHAT_START});
    w->begun = 1;
    if (json_type_of(f->text) == JSON_STRING && f->text.n > 2) {
        w->output = true;
        tell(sink, ctx, (struct chat_event){.kind = CHAT_TEXT, .text = f->text});
    }
    if (!f->done)
        return;
    w->closed = 1;
    w->stopped = w->end = true;
    w->usage = (struct chat_usage){.seen = true, .output = f->tokens > 0 ? (uint64_t)f->tokens : 0};
    tell(sink, ctx, (struct chat_event){.kind = CHAT_STOP, .text = SPAN("\"stop\"")});
    tell(sink, ctx, (struct chat_event){.kind = CHAT_USAGE, .usage = w->usage});
    tell(sink, ctx, (struct chat_event){.kind = CHAT_END});
}

static enum dialect_event read_event(const struct sse_event *ev, struct chat_watch *watch,
                                     chat_sink *sink, void *ctx)
{
    struct found f;

    if (!ev->has_data)
        return EVENT_NOTHING;
    if (!find(ev->data, &f))
        return EVENT_BAD;
    if (f.error.n != 0) {
        watch->failure = fail(&watch->error, SERVER_ERROR, 500, f.error);
        return EVENT_ERROR;
    }
    learn(&f, watch, sink, ctx);
    if (f.done)
        return EVENT_END;
    return f.text.n > 2 ? EVENT_OUTPUT : EVENT_LIFECYCLE;
}

/* Never a success without the marker, nor without output. */
static enum failure judge_end(const struct chat_watch *watch)
{
    if (watch->failure != FAILURE_NONE)
        return watch->failure;
    if (watch->begun == 0)
        return EMPTY;
    if (!watch->stopped)
        return TRUNCATED;
    return watch->output ? FAILURE_NONE : EMPTY;
}

static void read_answer(struct span body, struct chat_watch *watch, chat_sink *sink, void *ctx)
{
    struct found f;

    if (!find(body, &f)) {
        watch->failure = fail(&watch->error, MALFORMED, 502, SPAN("the answer is not JSON"));
    } else if (f.error.n != 0) {
        watch->failure = fail(&watch->error, SERVER_ERROR, 500, f.error);
    } else {
        learn(&f, watch, sink, ctx);
        watch->failure = judge_end(watch);
    }
}

/* By the status alone; look inside the body where your provider says more there. */
static enum failure classify(unsigned status, struct span content_type UNUSED, struct span body,
                             struct chat_error *error)
{
    enum failure f = status == 401   ? AUTH
                     : status == 404 ? MODEL_GONE
                     : status == 429 ? RATE_LIMITED
                     : status < 400  ? MALFORMED
                     : status < 500  ? BAD_REQUEST
                                     : SERVER_ERROR;

    return fail(error, f, status, body);
}

extern const struct dialect dialect_skeleton; /* goes to dialect.h */
const struct dialect dialect_skeleton = {
    .name = "skeleton",
    .read_request = read_request,
    .write_error = write_error,
    .write_stream_error = write_stream_error,
    .write_end = write_end,
    .write_event = write_event,
    .write_answer = write_answer,
    .write_models = write_models,
    .write_request = write_request,
    .read_event = read_event,
    .read_answer = read_answer,
    .judge_end = judge_end,
    .classify = classify,
};
