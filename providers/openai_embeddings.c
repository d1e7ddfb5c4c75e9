/* OpenAI's embeddings: texts in, vectors out. Its own bytes pass on to everybody who speaks it; for
 * Google they are said in other words, answers as well.
 */
#include "providers/openai_chat.h"
#include "providers/openai_chat_conversation.h"
#include "providers/request_top.h"
#include "providers/vectors.h"

static const struct span top = {"", 0};

/* ---- the client's request ---- */

/* The keys we read. */
enum field { MODEL, INPUT, FORMAT, DIMENSIONS, USER, FIELDS };

static const char *const field_names[FIELDS + 1] = {"model",      "input", "encoding_format",
                                                    "dimensions", "user",  NULL};

/* How many texts: a string, a list of them, or tokens in their place: a list of numbers is one
 * text, lists in a list are several. 0 where it is nothing of all that. */
static unsigned count_inputs(struct span raw)
{
    struct json j = json_read(raw);
    unsigned n = 0;

    if (json_type_of(raw) == JSON_STRING)
        return 1;
    if (!json_enter(&j, JSON_ARRAY))
        return 0;
    for (; json_item(&j); n++)
        if (json_type_of(json_take(&j)) == JSON_NUMBER)
            return 1;
    return n;
}

/* What is no sensible number is left for the provider to refuse. */
static unsigned dimensions(struct span raw)
{
    int64_t n;

    return json_to_i64(raw, &n) && n >= 1 && n <= UINT32_MAX ? (unsigned)n : 0;
}

static int read_request(struct span body, struct arena *a, struct chat_request *out, struct err *e)
{
    struct span v[FIELDS] = {0};
    struct chat_request req = {.choices = 1};

    body = top_body(body);
    if (top_fields(body, field_names, FIELDS, v, e) < 0 ||
        top_model(v[MODEL], a, &req.model, e) < 0)
        return -1;
    req.vectors.inputs = count_inputs(v[INPUT]);
    if (req.vectors.inputs == 0)
        return top_expected(e, "input", "a string or an array with at least one text", v[INPUT]);
    req.vectors.dimensions = dimensions(v[DIMENSIONS]);
    req.vectors.packed = json_is_string(v[FORMAT], "base64");
    req.body = body;
    req.model_raw = v[MODEL];
    req.session = json_type_of(v[USER]) == JSON_STRING ? v[USER] : (struct span){0};
    *out = req;
    return 0;
}

/* ---- the whole of it ---- */

static struct message *add_text(struct request_reader *r, struct span raw, struct span path)
{
    struct message *m = arena_zalloc(r->arena, sizeof(*m));

    m->role = ROLE_USER;
    m->path = path;
    m->parts = arena_zalloc(r->arena, sizeof(*m->parts));
    m->parts->kind = PART_TEXT;
    m->parts->text = raw;
    m->parts->path = path;
    return m;
}

static int read_input(struct request_reader *r, struct span raw)
{
    static const char what[] = "a text (tokens are of use to one model's own provider alone)";
    struct message **last = &r->out->messages;
    struct json j = json_read(raw);

    if (json_type_of(raw) == JSON_STRING) {
        *last = add_text(r, raw, span_of(field_names[INPUT]));
        return 0;
    }
    json_enter(&j, JSON_ARRAY);
    for (unsigned i = 0; json_item(&j); i++) {
        struct span path = request_path_at(r, span_of(field_names[INPUT]), i), item = json_take(&j);

        if (json_type_of(item) != JSON_STRING)
            return request_expected(r, path, what, item);
        *last = add_text(r, item, path);
        last = &(*last)->next;
    }
    return 0;
}

static int read_conversation(struct span body, struct arena *a, struct conversation *out,
                             struct err *e)
{
    struct conversation c = {.model = out->model, .n = 1};
    struct request_reader r = {
        .arena = a, .out = &c, .e = e, .last_other = &c.others, .body_bytes = body.n};
    struct span v[FIELDS] = {0};

    if (request_object(&r, body, top, field_names, v) < 0 || read_input(&r, v[INPUT]) < 0 ||
        request_number(&r, v[DIMENSIONS], top, field_names[DIMENSIONS], &c.dimensions) < 0 ||
        request_user(&r, (struct span){0}, v[USER]) < 0)
        return -1;
    *out = c;
    return 0;
}

/* ---- the answer, for a client ---- */

static void write_answer(struct answer_writer *w, const struct fold *f, struct strbuf *out)
{
    strbuf_add(out, "{\"object\":\"list\",\"data\":[");
    for (const struct fold_vector *v = f->vectors; v != NULL; v = v->next) {
        strbuf_addf(out, "%s{\"object\":\"embedding\",\"index\":%u,\"embedding\":",
                    v != f->vectors ? "," : "", v->index);
        if (w->packed)
            vectors_pack(out, v->raw);
        else
            strbuf_add_span(out, v->raw);
        strbuf_add_char(out, '}');
    }
    strbuf_add(out, "],\"model\":");
    json_add_string(out, w->model);
    /* Clients read it without a look whether it is there: 0 is what nobody has told. */
    strbuf_add(out, ",\"usage\":{\"prompt_tokens\":");
    strbuf_add_u64(out, f->usage.input);
    strbuf_add(out, ",\"total_tokens\":");
    strbuf_add_u64(out, f->usage.input);
    strbuf_add(out, "}}\n");
}

/* ---- for a provider ---- */

static void write_request(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct dialect_request *out, struct drops *drops)
{
    openai_chat_address(target, req->model, "/embeddings", a, out);
    openai_chat_pass_on(req, req->body, target, a, out, drops);
}

/* ---- its answer ---- */

struct reader {
    struct json j;
    struct chat_watch *watch;
    struct vectors vectors;
    bool *numbered; /* which inputs have theirs */
    bool twice;     /* one has two, or a number is of no input */
    bool data;
};

static void read_item(struct reader *r)
{
    unsigned n = r->watch->vectors.inputs;
    struct span key, vector = {0};
    int64_t index = r->vectors.n;

    if (!json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key))
        if (span_is(key, "embedding"))
            vector = json_take(&r->j);
        else if (span_is(key, "index"))
            json_to_i64(json_take(&r->j), &index);
        else
            json_take(&r->j);
    if (index < 0 || index >= n || r->numbered[index])
        r->twice = true;
    else
        r->numbered[index] = true;
    vectors_add(&r->vectors, vector, r->watch->vectors.packed);
}

static void read_usage(struct json *j, struct chat_usage *u)
{
    struct span key;
    int64_t n;

    if (!json_enter(j, JSON_OBJECT)) {
        json_take(j);
        return;
    }
    while (json_member(j, &key)) {
        bool input = span_is(key, "prompt_tokens");

        if (json_to_i64(json_take(j), &n) && input && n >= 0)
            *u = (struct chat_usage){.seen = true, .input = (uint64_t)n};
    }
}

/* False where it is no valid JSON. */
static bool read_object(struct reader *r, struct chat_usage *usage)
{
    struct span key;

    if (!json_enter(&r->j, JSON_OBJECT))
        json_take(&r->j);
    else
        while (json_member(&r->j, &key))
            if (span_is(key, "data") && json_enter(&r->j, JSON_ARRAY)) {
                r->data = true;
                while (json_item(&r->j))
                    read_item(r);
            } else if (span_is(key, "usage")) {
                read_usage(&r->j, usage);
            } else {
                json_take(&r->j);
            }
    return json_end(&r->j);
}

static void read_answer(struct span body, struct chat_watch *watch, chat_sink *sink UNUSED,
                        void *ctx UNUSED)
{
    struct reader r = {.watch = watch};
    struct chat_usage usage = {0};
    struct arena a;

    arena_init(&a);
    body = openai_chat_skip_lead(body);
    r.j = json_read(body);
    r.numbered = arena_zalloc(&a, watch->vectors.inputs * sizeof(*r.numbered));
    if (!read_object(&r, &usage)) {
        openai_chat_judge_text(body, watch);
    } else if (!r.data) {
        watch->failure = openai_chat_find_error(body, false, &watch->error);
        if (watch->failure == FAILURE_NONE)
            openai_chat_fail(watch, EMPTY, "the answer holds no data");
    } else {
        vectors_judge(&r.vectors, watch);
        if (watch->failure == FAILURE_NONE && r.twice)
            openai_chat_fail(watch, MALFORMED,
                             "the indices of the answer's vectors are not those of the texts");
    }
    if (watch->failure == FAILURE_NONE) {
        watch->usage = usage;
        watch->output = watch->stopped = watch->end = true;
    }
    arena_release(&a);
}

const struct dialect dialect_openai_embeddings = {
    .name = "openai_embeddings",
    .embeds = true,
    .id_prefix = "",
    .client_fields = (const char *const[]){"openai-beta", NULL},
    .read_request = read_request,
    .read_conversation = read_conversation,
    .write_error = openai_chat_write_error,
    .write_answer = write_answer,
    .write_request = write_request,
    .read_answer = read_answer,
    .classify = openai_chat_classify_other,
};
