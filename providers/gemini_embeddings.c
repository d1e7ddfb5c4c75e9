/* Google's embeddings: one text with :embedContent, several with :batchEmbedContents.
 *
 * A client of these verbs is answered by a Gemini alone: what it asks for (a task, a title) has no
 * words in other dialects. Clients of OpenAI's embeddings are translated.
 */
#include "providers/gemini.h"
#include "providers/openai_chat.h"
#include "providers/request_top.h"
#include "providers/vectors.h"

#define MAX_HEAD 16384               /* bytes of the header fields we add */
#define MAX_BODY ((size_t)256 << 20) /* bytes of a request we write */

#define ONE     ":embedContent"
#define SEVERAL ":batchEmbedContents"

/* ---- the client's request ---- */

/* The keys we read. */
enum field { CONTENT, REQUESTS, MODEL, FIELDS };

static const char *const field_names[FIELDS] = {"content", "requests", "model"};

static unsigned count_items(struct span raw)
{
    struct json j = json_read(raw);
    unsigned n = 0;

    if (json_enter(&j, JSON_ARRAY))
        for (; json_item(&j); n++)
            json_take(&j);
    return n;
}

static int read_request(struct span body, struct arena *a UNUSED, struct chat_request *out,
                        struct err *e)
{
    struct span v[FIELDS] = {0};
    struct chat_request req = {.model = out->model, .choices = 1, .vectors = out->vectors};

    body = top_body(body);
    if (span_starts(req.model, "models/"))
        req.model = (struct span){req.model.p + 7, req.model.n - 7};
    if (req.model.n == 0)
        return top_expected(e, "model", "a model's name in the path", (struct span){0});
    if (top_fields(body, field_names, FIELDS, v, e) < 0)
        return -1;
    req.vectors.inputs =
        req.vectors.batch ? count_items(v[REQUESTS]) : json_type_of(v[CONTENT]) == JSON_OBJECT;
    if (req.vectors.inputs == 0 && req.vectors.batch)
        return top_expected(e, "requests", "an array with at least one request", v[REQUESTS]);
    if (req.vectors.inputs == 0)
        return top_expected(e, "content", "an object", v[CONTENT]);
    req.body = body;
    req.model_raw = v[MODEL];
    *out = req;
    return 0;
}

/* ---- for a provider, as the client wrote it ---- */

/* The same name with what stood before it: "models/m", "m". */
static struct span model_like(struct span raw, struct span model, struct arena *a)
{
    const char *before = span_starts(raw, "\"models/") ? "models/" : "";

    return chat_quote(span_of(arena_printf(a, "%s%.*s", before, SPAN_ARG(model))), a);
}

/* Each request of a batch names the model once more. */
static struct span rewrite_batch(struct span body, unsigned n, struct span model, struct arena *a)
{
    struct json_edit *edits = arena_alloc(a, n * sizeof(*edits));
    struct json j = json_read(top_member(body, field_names[REQUESTS]));
    struct strbuf out;
    size_t n_edits = 0, more = 0;

    json_enter(&j, JSON_ARRAY);
    while (json_item(&j)) {
        struct span raw = top_member(json_take(&j), field_names[MODEL]);

        if (raw.n == 0)
            continue;
        edits[n_edits] = (struct json_edit){raw, model_like(raw, model, a)};
        more += edits[n_edits++].now.n;
    }
    out = strbuf_in(a, body.n + more);
    json_splice(&out, body, edits, n_edits);
    return strbuf_span(&out);
}

static void write_request(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct dialect_request *out, struct drops *drops UNUSED)
{
    struct span model = target->model.p != NULL ? target->model : req->model, raw = req->model_raw;

    *out = (struct dialect_request){
        .path = gemini_path(target->base_path, model, req->vectors.batch ? SEVERAL : ONE, a),
        .head_fields = strbuf_in(a, MAX_HEAD),
        .body = {req->body},
        .body_bytes = req->body.n,
    };
    gemini_add_key(&out->head_fields, target->key);
    if (!target->rewrite_model)
        return;
    if (req->vectors.batch) {
        out->body[0] = rewrite_batch(req->body, req->vectors.inputs, model, a);
    } else if (raw.n != 0) {
        const char *end = req->body.p + req->body.n;

        out->body[0].n = (size_t)(raw.p - req->body.p);
        out->body[1] = model_like(raw, model, a);
        out->body[2] = (struct span){raw.p + raw.n, (size_t)(end - raw.p - raw.n)};
    }
    out->body_bytes = out->body[0].n + out->body[1].n + out->body[2].n;
}

/* ---- ... and for a client of OpenAI's ---- */

static void add_request(struct strbuf *out, const struct conversation *c, const struct message *m,
                        struct span model)
{
    strbuf_add(out, "{\"model\":");
    strbuf_add_span(out, model);
    strbuf_add(out, ",\"content\":{\"parts\":[{\"text\":");
    strbuf_add_span(out, m->parts->text);
    strbuf_add(out, "}]}");
    if (c->dimensions.n != 0) {
        strbuf_add(out, ",\"outputDimensionality\":");
        strbuf_add_span(out, c->dimensions);
    }
    strbuf_add_char(out, '}');
}

static int write_conversation(const struct conversation *c, const struct dialect_target *target,
                              struct arena *a, struct dialect_request *out, struct drops *drops,
                              struct err *e)
{
    struct span model = target->model.p != NULL ? target->model : c->model, name;
    bool several = c->messages->next != NULL;
    struct strbuf body = strbuf_in(a, MAX_BODY);

    if (gemini_check_model(model, e) < 0)
        return -1;
    name = span_starts(model, "models/") ? chat_quote(model, a)
                                         : model_like(SPAN("\"models/\""), model, a);
    if (several)
        strbuf_add(&body, "{\"requests\":[");
    for (const struct message *m = c->messages; m != NULL; m = m->next) {
        if (m != c->messages)
            strbuf_add_char(&body, ',');
        add_request(&body, c, m, name);
    }
    if (several)
        strbuf_add(&body, "]}");
    if (c->user.n != 0)
        drop_field(drops, c->user_path);
    for (const struct other_field *o = c->others; o != NULL; o = o->next)
        drop_field(drops, o->path);
    if (body.failed)
        return err_set(e, ERR_TOO_BIG, "the request is larger than %zu bytes", MAX_BODY);
    *out = (struct dialect_request){
        .path = gemini_path(target->base_path, model, several ? SEVERAL : ONE, a),
        .head_fields = strbuf_in(a, MAX_HEAD),
        .body = {strbuf_span(&body)},
        .body_bytes = body.len,
    };
    gemini_add_key(&out->head_fields, target->key);
    return 0;
}

/* ---- its answer ---- */

struct reader {
    struct json j;
    struct vectors vectors;
    struct chat_usage usage;
    bool found;
    chat_sink *sink; /* NULL in the first pass */
    void *ctx;
};

/* {"values": [...]} */
static void read_vector(struct reader *r)
{
    struct span values = top_member(json_take(&r->j), "values");

    if (r->sink != NULL)
        r->sink(r->ctx, &(struct chat_event){
                            .kind = CHAT_VECTOR, .choice = r->vectors.n++, .text = values});
    else
        vectors_add(&r->vectors, values, false);
}

/* False where it is no valid JSON. */
static bool read_object(struct reader *r)
{
    struct span key;
    int64_t n;

    if (!json_enter(&r->j, JSON_OBJECT))
        json_take(&r->j);
    else
        while (json_member(&r->j, &key))
            if (span_is(key, "embeddings") && json_enter(&r->j, JSON_ARRAY)) {
                r->found = true;
                while (json_item(&r->j))
                    read_vector(r);
            } else if (span_is(key, "embedding")) {
                r->found = true;
                read_vector(r);
            } else if (span_is(key, "usageMetadata")) { /* newer models tell */
                if (json_to_i64(top_member(json_take(&r->j), "promptTokenCount"), &n) && n >= 0)
                    r->usage = (struct chat_usage){.seen = true, .input = (uint64_t)n};
            } else {
                json_take(&r->j);
            }
    return json_end(&r->j);
}

static void read_answer(struct span body, struct chat_watch *watch, chat_sink *sink, void *ctx)
{
    struct reader r = {.sink = NULL}, told = {.sink = sink, .ctx = ctx};

    body = openai_chat_skip_lead(body);
    r.j = told.j = json_read(body);
    if (!read_object(&r)) {
        openai_chat_judge_text(body, watch);
    } else if (!r.found) {
        watch->failure = gemini_find_error(body, false, &watch->error);
        if (watch->failure == FAILURE_NONE)
            openai_chat_fail(watch, EMPTY, "the answer holds no embedding");
    } else {
        vectors_judge(&r.vectors, watch);
    }
    if (watch->failure != FAILURE_NONE)
        return;
    watch->usage = r.usage;
    watch->output = watch->stopped = watch->end = true;
    if (sink == NULL)
        return;
    read_object(&told); /* only now is it known to be good */
    sink(ctx, &(struct chat_event){.kind = CHAT_USAGE, .usage = r.usage});
    sink(ctx, &(struct chat_event){.kind = CHAT_END});
}

/* A model that makes no vectors may do well otherwise. */
static enum failure classify(unsigned status, struct span content_type, struct span body,
                             struct chat_error *error)
{
    enum failure f = gemini_classify(status, content_type, body, error);

    return f == MODEL_GONE && strstr(error->message, "is not supported for") != NULL ? UNSUPPORTED
                                                                                     : f;
}

const struct dialect dialect_gemini_embeddings = {
    .name = "gemini_embeddings",
    .embeds = true,
    .id_prefix = "",
    .client_fields = (const char *const[]){NULL},
    .read_request = read_request,
    .write_error = gemini_write_error,
    .write_request = write_request,
    .write_conversation = write_conversation,
    .read_answer = read_answer,
    .classify = classify,
};
