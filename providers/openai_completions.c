/* OpenAI's completions of before chat: a prompt in, the text that goes on from it out. Its own
 * bytes pass on to those who still serve it. For others a prompt is a user's message, and what has
 * no words there (suffix, echo, tokens, several prompts) is refused, as half of it would be another
 * request.
 */
#include "providers/openai_chat.h"
#include "providers/openai_chat_conversation.h"
#include "providers/request_top.h"

#define MAX_PROMPTS 2048 /* as many as OpenAI takes */

static const struct span top = {"", 0};

/* ---- the client's request ---- */

/* The keys we read. */
enum { MODEL, PROMPT, STREAM, STREAM_OPTIONS, CHOICES, LOGPROBS, USER, FIELDS };

static const char *const field_names[FIELDS] = {"model", "prompt",   "stream", "stream_options",
                                                "n",     "logprobs", "user"};

static bool is_set(struct span raw)
{
    return raw.n != 0 && json_type_of(raw) != JSON_NULL;
}

/* A string, a list of them, or tokens in their place: a list of numbers is one prompt, lists in a
 * list are several. 0 where it is nothing of all that; a missing one is one. */
static unsigned count_prompts(struct span raw)
{
    struct json j = json_read(raw);
    unsigned n = 0;

    if (!is_set(raw) || json_type_of(raw) == JSON_STRING)
        return 1;
    if (!json_enter(&j, JSON_ARRAY))
        return 0;
    for (; json_item(&j); n++)
        if (json_type_of(json_take(&j)) == JSON_NUMBER)
            return 1;
    return n;
}

static int read_request(struct span body, struct arena *a, struct chat_request *out, struct err *e)
{
    struct span v[FIELDS] = {0};
    struct chat_request req = {0};

    body = top_body(body);
    if (top_fields(body, field_names, FIELDS, v, e) < 0 ||
        top_model(v[MODEL], a, &req.model, e) < 0 ||
        top_flag("stream", v[STREAM], &req.stream, e) < 0 ||
        openai_chat_check_stream_options(v[STREAM_OPTIONS], &req.usage_asked, e) < 0)
        return -1;
    req.choices = count_prompts(v[PROMPT]);
    if (req.choices == 0 || req.choices > MAX_PROMPTS)
        return top_expected(e, "prompt", "a string, or an array with 1 to 2048 prompts", v[PROMPT]);
    req.choices *= openai_chat_choices(v[CHOICES]);
    req.body = body;
    req.model_raw = v[MODEL];
    req.logprobs = is_set(v[LOGPROBS]);
    req.reasoning = openai_chat_reasons(req.model, (struct span){0});
    req.session = json_type_of(v[USER]) == JSON_STRING ? v[USER] : (struct span){0};
    *out = req;
    return 0;
}

/* ---- the whole of it, for those who only chat ---- */

/* clang-format off */
enum all {
    ALL_MODEL, ALL_PROMPT, ALL_STREAM, ALL_STREAM_OPTIONS, SUFFIX, ECHO, BEST_OF, ALL_LOGPROBS, N,
    MAX_TOKENS, TEMPERATURE, TOP_P, PRESENCE, FREQUENCY, SEED, STOP, ALL_USER, ALL
};

const char *const openai_completions_field_names[] = {
    "model", "prompt", "stream", "stream_options", "suffix", "echo", "best_of", "logprobs", "n",
    "max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop",
    "user", NULL
};
/* clang-format on */
_Static_assert(ARRAY_LEN(openai_completions_field_names) == ALL + 1, "a name for each field");

static int refuse(struct request_reader *r, const char *name, const char *what)
{
    return err_set(r->e, ERR_BOUND, "%s: %s", name, what);
}

/* What chat cannot say, and the answer would not be the same without. */
static int check_sayable(struct request_reader *r, const struct span *v)
{
    static const char what[] = "has no words in chat, expected a request without it";
    bool echo = false;
    int64_t best_of = 1;

    if (request_bool(r, v[ECHO], top, "echo", &echo) < 0)
        return -1;
    json_to_i64(v[BEST_OF], &best_of);
    if (echo)
        return refuse(r, "echo", what);
    if (best_of > 1)
        return refuse(r, "best_of", what);
    if (v[SUFFIX].n != 0 && !span_is(v[SUFFIX], "\"\""))
        return refuse(r, "suffix", what);
    if (v[ALL_LOGPROBS].n != 0)
        return refuse(r, "logprobs", what);
    return 0;
}

/* One string, be it in a list. */
static int read_prompt(struct request_reader *r, struct span raw)
{
    struct json j = json_read(raw);
    struct message *m = arena_zalloc(r->arena, sizeof(*m));
    unsigned n = 0;

    if (json_enter(&j, JSON_ARRAY))
        for (; json_item(&j); n++)
            raw = json_take(&j);
    if (n > 1 || json_type_of(raw) != JSON_STRING)
        return refuse(r, "prompt", "only one text is a message in chat, expected a string");
    m->role = ROLE_USER;
    m->path = span_of(openai_completions_field_names[ALL_PROMPT]);
    m->parts = arena_zalloc(r->arena, sizeof(*m->parts));
    m->parts->kind = PART_TEXT;
    m->parts->text = raw;
    m->parts->path = m->path;
    r->out->messages = m;
    return 0;
}

static int read_numbers(struct request_reader *r, const struct span *v)
{
    struct conversation *c = r->out;
    struct {
        enum all field;
        struct span *out;
    } const numbers[] = {
        {TEMPERATURE, &c->temperature},     {TOP_P, &c->top_p}, {PRESENCE, &c->presence_penalty},
        {FREQUENCY, &c->frequency_penalty}, {SEED, &c->seed},
    };
    uint64_t n = 1;

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (request_number(r, v[numbers[i].field], top,
                           openai_completions_field_names[numbers[i].field], numbers[i].out) < 0)
            return -1;
    if (request_count(r, v[N], SPAN("n"), 128, "a whole number, 1 to 128", &n) < 0 ||
        request_count(r, v[MAX_TOKENS], SPAN("max_tokens"), INT64_MAX,
                      "a whole number of tokens, at least 1", &c->max_tokens) < 0)
        return -1;
    c->n = (unsigned)n;
    c->max_tokens_path = SPAN("max_tokens");
    return 0;
}

static int read_conversation(struct span body, struct arena *a, struct conversation *out,
                             struct err *e)
{
    struct conversation c = {.model = out->model, .n = 1};
    struct request_reader r = {
        .arena = a, .out = &c, .e = e, .last_other = &c.others, .body_bytes = body.n};
    struct span v[ALL] = {0};

    if (request_object(&r, body, top, openai_completions_field_names, v) < 0 ||
        check_sayable(&r, v) < 0 || read_prompt(&r, v[ALL_PROMPT]) < 0 || read_numbers(&r, v) < 0 ||
        request_bool(&r, v[ALL_STREAM], top, "stream", &c.stream) < 0 ||
        request_stream_options(&r, v[ALL_STREAM_OPTIONS]) < 0 || request_stop(&r, v[STOP]) < 0 ||
        request_user(&r, (struct span){0}, v[ALL_USER]) < 0)
        return -1;
    *out = c;
    return 0;
}

/* ---- the answer, for a client ---- */

/* `text`: a raw string. */
static void add_choice(struct strbuf *out, unsigned index, struct span text, const char *finish)
{
    strbuf_add(out, "{\"text\":");
    strbuf_add_span(out, text.n != 0 ? text : SPAN("\"\""));
    strbuf_addf(out, ",\"index\":%u,\"logprobs\":null,\"finish_reason\":", index);
    if (finish != NULL)
        strbuf_addf(out, "\"%s\"}", finish);
    else
        strbuf_add(out, "null}");
}

static void write_chunk(const struct answer_writer *w, unsigned choice, struct span text,
                        const char *finish, struct strbuf *out)
{
    strbuf_add(out, "data: ");
    openai_chat_add_head(out, w, "text_completion");
    strbuf_add(out, ",\"choices\":[");
    add_choice(out, choice, text, finish);
    strbuf_add(out, "]}\n\n");
}

static void write_end(const struct answer_writer *w, struct strbuf *out)
{
    if (w->usage_asked && w->usage.seen) {
        strbuf_add(out, "data: ");
        openai_chat_add_head(out, w, "text_completion");
        strbuf_add(out, ",\"choices\":[],\"usage\":");
        openai_chat_add_usage(out, &w->usage);
        strbuf_add(out, "}\n\n");
    }
    openai_chat_write_end(out);
}

/* There is no place for what a model thought. */
static void write_event(struct answer_writer *w, const struct chat_event *ev, struct strbuf *out)
{
    switch (ev->kind) {
    case CHAT_TEXT:
    case CHAT_REFUSAL:
        write_chunk(w, ev->choice, ev->text, NULL, out);
        break;
    case CHAT_STOP:
        write_chunk(w, ev->choice, (struct span){0}, openai_chat_finish_reason(ev->text, false),
                    out);
        break;
    case CHAT_USAGE:
        w->usage = ev->usage;
        break;
    case CHAT_END:
        write_end(w, out);
        break;
    default:
        break;
    }
}

static void write_answer(struct answer_writer *w, const struct fold *f, struct strbuf *out)
{
    openai_chat_add_head(out, w, "text_completion");
    strbuf_add(out, ",\"choices\":[");
    for (const struct fold_choice *c = f->choices; c != NULL; c = c->next) {
        const struct strbuf *text = c->text.len != 0 ? &c->text : &c->refusal;

        if (c != f->choices)
            strbuf_add_char(out, ',');
        add_choice(out, c->index, strbuf_span(text), openai_chat_finish_reason(c->stop, false));
    }
    strbuf_add_char(out, ']');
    if (f->usage.seen) {
        strbuf_add(out, ",\"usage\":");
        openai_chat_add_usage(out, &f->usage);
    }
    strbuf_add(out, "}\n");
}

/* ---- for a provider, and its answer: chat's but for the place of the text ---- */

static void write_request(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct dialect_request *out, struct drops *drops)
{
    openai_chat_address(target, req->model, "/completions", a, out);
    openai_chat_pass_on(req, req->body, target, a, out, drops);
}

static enum dialect_event read_event(const struct sse_event *ev, struct chat_watch *watch,
                                     chat_sink *sink, void *ctx)
{
    watch->own[OPENAI_BARE] = 1;
    return openai_chat_read_event(ev, watch, sink, ctx);
}

static void read_answer(struct span body, struct chat_watch *watch, chat_sink *sink, void *ctx)
{
    watch->own[OPENAI_BARE] = 1;
    openai_chat_read_answer(body, watch, sink, ctx);
    if (watch->failure == FAILURE_NONE && openai_chat_judge_end(watch) != FAILURE_NONE)
        openai_chat_fail(watch, TRUNCATED, "the answer holds a choice without a finish reason");
}

const struct dialect dialect_openai_completions = {
    .name = "openai_completions",
    .marks_end = true,
    .id_prefix = "cmpl-",
    .comments = true,
    .client_fields = (const char *const[]){"openai-beta", NULL},
    .read_request = read_request,
    .read_conversation = read_conversation,
    .write_error = openai_chat_write_error,
    .write_stream_error = openai_chat_write_stream_error,
    .write_end = openai_chat_write_end,
    .write_event = write_event,
    .write_answer = write_answer,
    .write_request = write_request,
    .read_event = read_event,
    .read_answer = read_answer,
    .judge_end = openai_chat_judge_end,
    .classify = openai_chat_classify_other,
};
