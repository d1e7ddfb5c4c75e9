/* skeleton.c - a dialect to copy: complete, small, and compiled with every build, never linked in.
 *
 * It speaks an invented protocol:
 *
 *     POST /generate      X-Key: KEY
 *                         {"model": "m", "prompt": "...", "stream": true, "max": 100, "heat": 0.5}
 *     streamed            data: {"text": "Hel"}      data: {"done": true, "tokens": 12}
 *     in one piece        {"text": "Hello", "done": true, "tokens": 12}
 *     an error            {"error": "what is wrong"}, also as an event
 *
 * A dialect has two sides, and each may stay empty (NULL) until it is needed. With the provider
 * side alone it serves everybody whose own dialect has a client side; that is how
 * anthropic_messages and gemini began. With the client side alone it is a door to all providers.
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

/* The same request in its canonical form, for a provider of another dialect. Every member ends up
 * in it: what has no place there is noted, and whoever writes names it to the client. */
static int read_conversation(struct span body, struct arena *a, struct conversation *out,
                             struct err *e)
{
    struct message *m = arena_zalloc(a, sizeof(*m));
    struct conversation c = {.n = 1, .messages = m};
    struct other_field **last = &c.others, *other;
    struct json j = json_read(body);
    int64_t max = 0;
    struct span key;

    m->role = ROLE_USER;
    m->path = SPAN("prompt");
    m->parts = arena_zalloc(a, sizeof(*m->parts));
    m->parts->kind = PART_TEXT;
    m->parts->path = m->path;
    json_enter(&j, JSON_OBJECT);
    while (json_member(&j, &key)) {
        struct span path = arena_copy(a, key), raw = json_take(&j);

        if (span_is(path, "model")) {
            c.model = json_text(raw, a);
        } else if (span_is(path, "prompt")) {
            m->parts->text = raw;
        } else if (span_is(path, "stream")) {
            json_to_bool(raw, &c.stream);
        } else if (span_is(path, "heat")) {
            c.temperature = raw;
        } else if (span_is(path, "max")) {
            if (!json_to_i64(raw, &max) || max < 1)
                return err_set(e, ERR_VALUE, "max: expected a whole number, at least 1");
            c.max_tokens = (uint64_t)max;
            c.max_tokens_path = path;
        } else {
            other = *last = arena_zalloc(a, sizeof(*other));
            other->path = path;
            last = &other->next;
        }
    }
    if (!json_end(&j))
        return json_error(&j, e);
    if (json_type_of(m->parts->text) != JSON_STRING)
        return err_set(e, ERR_VALUE, "prompt: expected a string");
    if (c.temperature.n != 0 && json_type_of(c.temperature) != JSON_NUMBER)
        return err_set(e, ERR_VALUE, "heat: expected a number");
    *out = c;
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

static void write_model(struct span name, uint64_t created UNUSED, struct strbuf *out)
{
    json_add_string(out, name);
}

static void write_models(const struct span *names, size_t n, uint64_t created, struct strbuf *out)
{
    for (size_t i = 0; i < n; i++) {
        strbuf_add(out, i == 0 ? "[" : ",");
        write_model(names[i], created, out);
    }
    strbuf_add(out, n == 0 ? "[]" : "]");
}

/* ---- the provider side ---- */

static void address(const struct dialect_target *target, struct arena *a,
                    struct dialect_request *out)
{
    struct strbuf path = strbuf_in(a, target->base_path.n + 16);

    strbuf_add_span(&path, target->base_path);
    strbuf_add(&path, "/generate");
    *out = (struct dialect_request){.path = strbuf_span(&path), .head_fields = strbuf_in(a, 16384)};
    if (target->key.n == 0)
        return;
    strbuf_add(&out->head_fields, "X-Key: ");
    strbuf_add_span(&out->head_fields, target->key);
    strbuf_add(&out->head_fields, "\r\n");
}

/* For a client of the same dialect: only the model is replaced, every other byte is the client's.
 */
static void write_request(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct dialect_request *out, struct drops *drops UNUSED)
{
    const char *rest = req->model_raw.p + req->model_raw.n;

    address(target, a, out);
    out->body[0] = req->body;
    out->body_bytes = req->body.n;
    if (!target->rewrite_model)
        return;
    out->body[0].n = (size_t)(req->model_raw.p - req->body.p);
    out->body[1] = chat_quote(target->model, a);
    out->body[2] = (struct span){rest, (size_t)(req->body.p + req->body.n - rest)};
    out->body_bytes = out->body[0].n + out->body[1].n + out->body[2].n;
}

/* What cannot be said, where leaving it out gives the answer that was asked for all the same. */
static void drop_rest(const struct conversation *c, struct drops *drops)
{
    const struct {
        const char *name;
        bool set;
    } fields[] = {
        {"top_p", c->top_p.n != 0},
        {"top_k", c->top_k.n != 0},
        {"presence_penalty", c->presence_penalty.n != 0},
        {"frequency_penalty", c->frequency_penalty.n != 0},
        {"seed", c->seed.n != 0},
        {"logprobs", c->logprobs},
        {"top_logprobs", c->top_logprobs.n != 0},
        {"reasoning_effort", c->effort != EFFORT_UNSET},
        {"tool_choice", c->choice != CHOICE_UNSET},
        {"parallel_tool_calls", c->one_tool_at_a_time},
        {"user", c->user.n != 0},
        {"service_tier", c->service_tier.n != 0},
        {"verbosity", c->verbosity.n != 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].set)
            drop_named(drops, fields[i].name);
    for (const struct other_field *o = c->others; o != NULL; o = o->next)
        drop_field(drops, o->path);
}

/* ... and where it does not: the next target may be able to. */
static int refuse_rest(const struct conversation *c, struct err *e)
{
    if (c->pinned)
        return err_set(e, ERR_VALUE, "%.*s: lives at another provider", SPAN_ARG(c->pinned_by));
    if (c->tools != NULL)
        return err_set(e, ERR_VALUE, "tools: expected none, as this provider calls none");
    if (c->n > 1)
        return err_set(e, ERR_VALUE, "n: expected 1, got %u", c->n);
    if (c->format == FORMAT_JSON || c->format == FORMAT_SCHEMA)
        return err_set(e, ERR_VALUE, "response_format: expected a type of \"text\"");
    if (c->stop.n != 0)
        return err_set(e, ERR_VALUE, "stop: expected none, as this provider stops at no text");
    return 0;
}

/* All that was said as one prompt; raw strings are joined as they are, nothing is decoded. */
static int add_prompt(const struct conversation *c, struct strbuf *out, struct drops *drops,
                      struct arena *a, struct err *e)
{
    bool first = true;

    strbuf_add(out, ",\"prompt\":");
    for (const struct message *m = c->messages; m != NULL; m = m->next) {
        if (m->name.n != 0)
            drop_named(drops, arena_printf(a, "%.*s.name", SPAN_ARG(m->path)));
        for (const struct part *p = m->parts; p != NULL; p = p->next) {
            if (p->kind == PART_REASONING) { /* another provider's thoughts */
                drop_field(drops, p->path);
                continue;
            }
            if (p->kind != PART_TEXT && p->kind != PART_REFUSAL)
                return err_set(e, ERR_VALUE, "%.*s: expected text", SPAN_ARG(p->path));
            if (p->cache.n != 0)
                drop_named(drops, arena_printf(a, "%.*s.cache_control", SPAN_ARG(p->path)));
            raw_add_joined(out, p->text, first, "\\n\\n");
            first = false;
        }
    }
    if (first)
        return err_set(e, ERR_VALUE, "messages: expected at least one with text");
    strbuf_add_char(out, '"');
    return 0;
}

/* For a client of another dialect: each field is said, or dropped and named, or the request is
 * refused for this target. Nothing is lost silently. */
static int write_conversation(const struct conversation *c, const struct dialect_target *target,
                              struct arena *a, struct dialect_request *out, struct drops *drops,
                              struct err *e)
{
    struct strbuf body = strbuf_in(a, (size_t)64 << 20);

    if (refuse_rest(c, e) < 0)
        return -1;
    address(target, a, out);
    strbuf_add(&body, "{\"model\":");
    json_add_string(&body, target->model.p != NULL ? target->model : c->model);
    if (add_prompt(c, &body, drops, a, e) < 0)
        return -1;
    if (c->max_tokens != 0)
        strbuf_addf(&body, ",\"max\":%llu", (unsigned long long)c->max_tokens);
    if (c->temperature.n != 0) {
        strbuf_add(&body, ",\"heat\":");
        strbuf_add_span(&body, c->temperature);
    }
    strbuf_add(&body, c->stream ? ",\"stream\":true}" : "}");
    if (body.failed)
        return err_set(e, ERR_TOO_BIG, "the request is larger than %zu bytes", body.max);
    drop_rest(c, drops);
    out->body[0] = strbuf_span(&body);
    out->body_bytes = body.len;
    return 0;
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
    .marks_end = true, /* {"done": true} */
    .read_request = read_request,
    .read_conversation = read_conversation,
    .write_error = write_error,
    .write_stream_error = write_stream_error,
    .write_end = write_end,
    .write_event = write_event,
    .write_answer = write_answer,
    .write_model = write_model,
    .write_models = write_models,
    .write_request = write_request,
    .write_conversation = write_conversation,
    .read_event = read_event,
    .read_answer = read_answer,
    .judge_end = judge_end,
    .classify = classify,
};
