/* Every recorded exchange of OpenAI's responses against our reading of it, its requests against
 * what we write for every provider, and the answers of every provider written as responses and read
 * back. What is expected comes from the recording, read here in another way than the product does.
 */
#include "providers/dialect.h"
#include "tests/unit/corpus.h"

#define OURS (&dialect_openai_responses)

/* The value at a path of keys; empty where there is none. */
static struct span at(struct span json, const char *path)
{
    const char *dot = strchrnul(path, '.');
    struct span want = {path, (size_t)(dot - path)}, key, found = {0};
    struct json j = json_read(json);

    if (json.n == 0 || !json_enter(&j, JSON_OBJECT))
        return found;
    while (json_member(&j, &key)) {
        struct span raw = json_take(&j);

        if (span_eq(key, want))
            found = raw;
    }
    return *dot == '.' ? at(found, dot + 1) : found;
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

/* ---- what an answer says, found independently ---- */

struct said {
    struct strbuf text, calls; /* decoded; calls as "name(arguments)", each on a line */
    unsigned states;           /* items with encrypted_content; streams give it anew at their end */
    int64_t input, output;
    bool usage, others; /* others: items of the provider's own tools */
};

static void init_said(struct said *s, struct arena *a)
{
    memset(s, 0, sizeof(*s));
    s->text = strbuf_in(a, 1 << 24);
    s->calls = strbuf_in(a, 1 << 24);
}

static void extract_item(struct span item, struct said *s, struct arena *a)
{
    struct span type = at(item, "type");
    struct json parts = json_read(at(item, "content"));

    if (json_is_string(type, "message")) {
        CHECK(json_enter(&parts, JSON_ARRAY));
        while (json_item(&parts)) {
            struct span part = json_take(&parts);

            strbuf_add_span(&s->text, json_text(at(part, "text"), a));
            strbuf_add_span(&s->text, json_text(at(part, "refusal"), a));
        }
    } else if (json_is_string(type, "function_call")) {
        strbuf_add_span(&s->calls, json_text(at(item, "name"), a));
        strbuf_addf(&s->calls, "(%.*s)\n", SPAN_ARG(json_text(at(item, "arguments"), a)));
    } else if (json_is_string(type, "reasoning")) {
        s->states += at(item, "encrypted_content").n > 4; /* null is none */
    } else {
        s->others = true;
    }
}

static void extract(struct span response, struct said *s, struct arena *a)
{
    struct json items = json_read(at(response, "output"));
    struct span usage = at(response, "usage");

    s->usage = json_to_i64(at(usage, "input_tokens"), &s->input) &&
               json_to_i64(at(usage, "output_tokens"), &s->output);
    if (json_enter(&items, JSON_ARRAY))
        while (json_item(&items))
            extract_item(json_take(&items), s, a);
}

/* ---- reading ---- */

struct verdict {
    struct chat_watch watch;
    enum failure end;
    unsigned kinds[EVENT_BAD + 1];
};

struct sinks {
    struct fold *fold;            /* may be NULL */
    struct answer_writer *writer; /* writes the events as they come, to ... */
    struct strbuf *out;
};

static void sink(void *ctx, const struct chat_event *ev)
{
    struct sinks *s = ctx;

    if (s->fold != NULL)
        fold_event(s->fold, ev);
    if (s->writer != NULL)
        OURS->write_event(s->writer, ev, s->out);
}

static void read_stream(const struct dialect *d, struct span text, size_t step, struct verdict *v,
                        struct sinks *to)
{
    struct sse s;
    struct sse_event ev;
    bool over = false;

    memset(v, 0, sizeof(*v));
    sse_init(&s, 1 << 24);
    for (size_t p = 0; p < text.n && !over; p += step) {
        CHECK_INT(sse_feed(&s, (struct span){text.p + p, text.n - p < step ? text.n - p : step}),
                  0);
        while (!over && sse_next(&s, &ev)) {
            enum dialect_event kind = d->read_event(&ev, &v->watch, to != NULL ? sink : NULL, to);

            v->kinds[kind]++;
            over = kind == EVENT_END || kind == EVENT_ERROR || kind == EVENT_BAD;
        }
    }
    if (!over && sse_end(&s, &ev))
        v->kinds[d->read_event(&ev, &v->watch, to != NULL ? sink : NULL, to)]++;
    sse_release(&s);
    v->end = d->judge_end(&v->watch);
}

static struct answer_writer writer(struct arena *a)
{
    return (struct answer_writer){
        .id = SPAN("resp_1"), .model = SPAN("m"), .created = 1, .usage_asked = true, .arena = a};
}

/* ---- comparing ---- */

static bool same_raw(struct span one, struct span other, struct arena *a)
{
    return span_eq(json_text(one, a), json_text(other, a));
}

static unsigned count_calls(const struct fold_choice *c)
{
    unsigned n = 0;

    for (const struct fold_call *call = c->calls; call != NULL; call = call->next)
        n++;
    return n;
}

static bool is_empty_call(struct span arguments)
{
    return arguments.n <= 2 || span_is(arguments, "\"{}\"");
}

/* Do both say the same, as far as this dialect has words for it? A call without arguments has the
 * empty object. */
static bool same_answer(const struct fold *one, const struct fold *other, struct arena *a)
{
    struct fold_choice none = {0};
    const struct fold_choice *c = one->choices != NULL ? one->choices : &none;
    const struct fold_choice *d = other->choices != NULL ? other->choices : &none;
    const struct fold_call *call = c->calls, *again = d->calls;

    if (!same_raw(strbuf_span(&c->text), strbuf_span(&d->text), a) ||
        !same_raw(strbuf_span(&c->refusal), strbuf_span(&d->refusal), a) ||
        count_calls(c) != count_calls(d))
        return false;
    for (; call != NULL; call = call->next, again = again->next) {
        struct span args = strbuf_span(&call->arguments), args2 = strbuf_span(&again->arguments);

        if (!same_raw(call->name, again->name, a) ||
            !(same_raw(args, args2, a) || (is_empty_call(args) && is_empty_call(args2))))
            return false;
    }
    return (!one->usage.seen ||
            (one->usage.input == other->usage.input && one->usage.output == other->usage.output &&
             one->usage.cached == other->usage.cached &&
             one->usage.reasoning == other->usage.reasoning));
}

static bool same_reasoning(const struct fold *one, const struct fold *other, struct arena *a)
{
    struct fold_choice none = {0};
    const struct fold_choice *c = one->choices != NULL ? one->choices : &none;
    const struct fold_choice *d = other->choices != NULL ? other->choices : &none;

    return same_raw(strbuf_span(&c->reasoning), strbuf_span(&d->reasoning), a);
}

/* ---- the recordings of this dialect ---- */

/* Streams whose end is no good end. */
static const struct exception stream_exceptions[] = {
    {"6381b6c3-4110a92f", FAILURE_NONE, "its pieces are not what its end repeats"},
    {NULL, 0, NULL},
};

/* The response of the last event, found by its line. */
static struct span last_response(struct span body)
{
    const char *p = body.p, *end = body.p + body.n;
    struct span found = {0};

    while (p < end) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        struct span line = {p, (size_t)((line_end != NULL ? line_end : end) - p)};

        if (span_starts(line, "data:")) {
            struct span data = span_trim((struct span){line.p + 5, line.n - 5});
            struct span type = at(data, "type");

            if (json_is_string(type, "response.completed") ||
                json_is_string(type, "response.incomplete"))
                found = at(data, "response");
        }
        p = line_end != NULL ? line_end + 1 : end;
    }
    return found;
}

static void check_said(const struct recording *rec, struct fold *f, struct said *s)
{
    struct arena *a = rec->arena;
    struct fold_choice none = {0}, *c = f->choices != NULL ? f->choices : &none;
    struct strbuf text = strbuf_in(a, 1 << 24), calls = strbuf_in(a, 1 << 24);
    unsigned states = 0;

    strbuf_add_span(&text, json_text(strbuf_span(&c->text), a));
    strbuf_add_span(&text, json_text(strbuf_span(&c->refusal), a));
    for (struct fold_call *call = c->calls; call != NULL; call = call->next) {
        strbuf_add_span(&calls, json_text(call->name, a));
        strbuf_addf(&calls, "(%.*s)\n", SPAN_ARG(json_text(strbuf_span(&call->arguments), a)));
    }
    for (struct fold_signed *sig = c->signatures; sig != NULL; sig = sig->next)
        states += json_type_of(sig->signature) == JSON_STRING;
    expect("answers with the same text", rec, span_eq(strbuf_span(&text), strbuf_span(&s->text)));
    expect("answers with the same calls", rec,
           s->others || span_eq(strbuf_span(&calls), strbuf_span(&s->calls)));
    expect("answers with the same state", rec, states == s->states);
    if (s->usage)
        expect("answers with the same usage", rec,
               f->usage.input == (uint64_t)s->input && f->usage.output == (uint64_t)s->output);
}

static void visit_stream(const struct recording *rec)
{
    const struct exception *ex = find_exception(stream_exceptions, rec->id);
    struct span response = last_response(rec->body);
    struct arena *a = rec->arena;
    struct verdict v, part;
    struct said said;
    struct fold f;
    struct sinks to = {.fold = &f};

    if (!rec->stream || rec->status != 200)
        return;
    fold_init(&f, a);
    init_said(&said, a);
    read_stream(OURS, rec->body, rec->body.n, &v, &to);
    fold_done(&f);
    for (size_t step = 1; step <= 1000; step = step * 7 + 3) {
        read_stream(OURS, rec->body, step, &part, NULL);
        expect("streams that are the same in pieces", rec,
               part.end == v.end && memcmp(part.kinds, v.kinds, sizeof(v.kinds)) == 0);
    }
    if (ex != NULL) {
        expect("streams that are exceptions", rec, v.end == ex->failure);
        return;
    }
    if (response.n == 0) {
        bool error = span_find(rec->body, "\"type\":\"error\"") != NULL ||
                     span_find(rec->body, "response.failed") != NULL;

        expect("streams without an end, or with an error", rec,
               error ? v.watch.failure != FAILURE_NONE : v.end == TRUNCATED);
        return;
    }
    extract(response, &said, a);
    expect("streams that are complete", rec, v.end == FAILURE_NONE && f.end);
    if (said.text.len + said.calls.len != 0) /* some recordings end with an empty list */
        check_said(rec, &f, &said);
}

TEST(recorded_streams_are_understood)
{
    each_recording("openai.responses", visit_stream);
}

static const struct exception answer_exceptions[] = {
    {"e872c292-86b6cbda", EMPTY, "a message with an empty text, and nothing else"},
    {NULL, 0, NULL},
};

static void visit_answer(const struct recording *rec)
{
    const struct exception *ex = find_exception(answer_exceptions, rec->id);
    struct arena *a = rec->arena;
    struct chat_watch w = {0};
    struct said said;
    struct fold f;

    if (rec->stream || rec->status != 200)
        return;
    fold_init(&f, a);
    init_said(&said, a);
    OURS->read_answer(rec->body, &w, fold_event, &f);
    fold_done(&f);
    if (ex != NULL) {
        expect("answers that are exceptions", rec, w.failure == ex->failure);
        return;
    }
    extract(rec->body, &said, a);
    expect("complete answers", rec, w.failure == FAILURE_NONE && w.stopped && w.end && f.end);
    check_said(rec, &f, &said);
    for (size_t n = 1; n < rec->body.n; n += rec->body.n / 50 + 1) {
        struct chat_watch cut = {0};

        OURS->read_answer((struct span){rec->body.p, n}, &cut, NULL, NULL);
        expect("cut answers", rec, cut.failure == TRUNCATED && !cut.output && !cut.stopped);
    }
}

TEST(recorded_answers_are_understood)
{
    each_recording("openai.responses", visit_answer);
}

static enum failure wanted(const struct recording *rec)
{
    switch (rec->status) {
    case 400:
        if (span_find(rec->body, "model_not_found") != NULL)
            return MODEL_GONE;
        if (span_find(rec->body, "context_length_exceeded") != NULL)
            return CONTEXT_LENGTH;
        if (span_find(rec->body, "Unsupported ") != NULL)
            return span_find(rec->body, "unsupported_value") != NULL ? UNSUPPORTED : BAD_REQUEST;
        return span_find(rec->body, "Incorrect API key") != NULL ? AUTH : BAD_REQUEST;
    case 401:
        return AUTH;
    case 429:
        return span_find(rec->body, "insufficient_quota") != NULL ? QUOTA : RATE_LIMITED;
    default:
        if (span_find(rec->body, "<html>") != NULL || span_find(rec->body, "<!DOCTYPE") != NULL)
            return server_fault(rec->status);
        return server_fault(rec->status);
    }
}

static void visit_error(const struct recording *rec)
{
    struct chat_error error;

    if (rec->status < 400)
        return;
    expect("errors", rec,
           OURS->classify(rec->status, (struct span){0}, rec->body, &error) == wanted(rec));
    expect("errors that say something", rec, error.message[0] != '\0');
}

TEST(recorded_errors_are_classified)
{
    each_recording("openai.responses", visit_error);
}

/* ---- answers of every provider, written as responses and read back ---- */

static const struct dialect *source;

static void read_source(const struct recording *rec, struct sinks *to, struct verdict *v)
{
    if (rec->stream) {
        read_stream(source, rec->body, rec->body.n, v, to);
    } else {
        memset(v, 0, sizeof(*v));
        source->read_answer(rec->body, &v->watch, sink, to);
        v->end = v->watch.failure;
    }
}

/* Where the end of the transport is the only end, whoever reads says so; as attempt.c does. */
static void finish_written(struct answer_writer *w, struct strbuf *out, const struct fold *f)
{
    if (!f->end)
        OURS->write_event(w, &(struct chat_event){.kind = CHAT_END}, out);
}

/* Each event has the next number and a name that is its type. */
static bool well_framed(struct span text)
{
    struct sse s;
    struct sse_event ev;
    int64_t next = 0, number = -1;
    bool good = true;

    sse_init(&s, 1 << 24);
    CHECK_INT(sse_feed(&s, text), 0);
    while (sse_next(&s, &ev)) {
        struct span type = at(ev.data, "type");

        good = good && json_valid(ev.data) && type.n > 2 &&
               span_eq(ev.name, (struct span){type.p + 1, type.n - 2}) &&
               json_to_i64(at(ev.data, "sequence_number"), &number) && number == next++;
    }
    good = good && !sse_end(&s, &ev);
    sse_release(&s);
    return good;
}

/* Output that is no text (a picture, sound), or none where a stop sequence came first. */
static bool says_nothing(const struct fold *f)
{
    const struct fold_choice *c = f->choices;

    return c == NULL ||
           (!json_is_string(c->stop, "length") && !json_is_string(c->stop, "content_filter") &&
            c->text.len + c->refusal.len + c->reasoning.len == 0 && c->calls == NULL);
}

static void visit_translated(const struct recording *rec)
{
    struct arena *a = rec->arena;
    struct strbuf out = strbuf_in(a, 1 << 26), whole = strbuf_in(a, 1 << 26);
    struct answer_writer w = writer(a), w2 = writer(a);
    struct fold f, back, back2;
    struct sinks to = {.fold = &f, .writer = &w, .out = &out}, again = {.fold = &back};
    struct chat_watch watch = {0};
    struct verdict v;

    if (rec->status != 200 || span_starts(rec->body, "["))
        return;
    fold_init(&f, a);
    fold_init(&back, a);
    fold_init(&back2, a);
    read_source(rec, &to, &v);
    if (v.end != FAILURE_NONE || (f.choices != NULL && f.choices->next != NULL))
        return; /* of several choices, which nobody can ask for here, the first one is told */
    finish_written(&w, &out, &f);
    fold_done(&f);
    expect("streams well framed", rec, !out.failed && well_framed(strbuf_span(&out)));
    read_stream(OURS, strbuf_span(&out), out.len, &v, &again);
    fold_done(&back);
    if (says_nothing(&f)) {
        expect("streams that end without output", rec,
               v.end == EMPTY && last_response(strbuf_span(&out)).n != 0);
        return;
    }
    expect("streams that are complete", rec, v.end == FAILURE_NONE);
    expect("streams that say the same", rec, same_answer(&f, &back, a));
    expect("streams that reason the same", rec, same_reasoning(&f, &back, a));

    OURS->write_answer(&w2, &f, &whole);
    expect("answers that are JSON", rec, !whole.failed && json_valid(strbuf_span(&whole)));
    OURS->read_answer(strbuf_span(&whole), &watch, fold_event, &back2);
    fold_done(&back2);
    expect("answers that say the same", rec,
           watch.failure == FAILURE_NONE && same_answer(&f, &back2, a));
    expect("streams that fold to the whole answer", rec,
           same_answer(&back, &back2, a) && same_reasoning(&back, &back2, a));
}

TEST(answers_of_chat_survive_translation)
{
    source = &dialect_openai_chat;
    each_recording("openai.chat", visit_translated);
}

TEST(answers_of_claude_survive_translation)
{
    source = &dialect_anthropic_messages;
    each_recording("anthropic.messages", visit_translated);
}

TEST(answers_of_gemini_survive_translation)
{
    source = &dialect_gemini;
    each_recording("gemini.generateContent", visit_translated);
}

TEST(answers_of_responses_survive_translation)
{
    source = OURS;
    each_recording("openai.responses", visit_translated);
}

/* ---- requests ---- */

static const struct {
    const struct dialect *dialect;
    const char *model;
} targets[] = {
    {&dialect_openai_chat, "gpt-4.1"},
    {&dialect_openai_chat, "gpt-5"},
    {&dialect_anthropic_messages, "claude-sonnet-4-5"},
    {&dialect_anthropic_messages, "claude-opus-4-7"},
    {&dialect_gemini, "gemini-2.5-pro"},
    {&dialect_gemini, "gemini-3-pro-preview"},
    {&dialect_openai_responses, "gpt-4.1"},
    {&dialect_openai_responses, "gpt-5"},
};

/* A text of the request stands in what was written, as it was or decoded. */
static bool is_there(struct span raw, struct span body, struct arena *a)
{
    struct span inside = {raw.p + 1, raw.n - 2}, text = span_trim(json_text(raw, a));

    return raw.n <= 2 || memmem(body.p, body.n, inside.p, inside.n) != NULL ||
           (text.n != 0 && memmem(body.p, body.n, text.p, text.n) != NULL);
}

/* Is this path, or one around it, among the names? */
static bool is_named(struct span names, const char *path)
{
    size_t n = strlen(path);

    for (size_t i = 0; i < names.n;) {
        const char *comma = memchr(names.p + i, ',', names.n - i);
        size_t end = comma != NULL ? (size_t)(comma - names.p) : names.n;

        if (end - i <= n && memcmp(names.p + i, path, end - i) == 0 &&
            (path[end - i] == '\0' || strchr(".[", path[end - i]) != NULL))
            return true;
        i = end + 2;
    }
    return false;
}

/* Every string of the input that is content: it is said, or named. */
static void check_value(const struct recording *rec, struct span raw, const char *path,
                        struct span body, struct span names)
{
    struct arena *a = rec->arena;
    struct json j = json_read(raw);
    struct span key;

    if (json_enter(&j, JSON_OBJECT)) {
        while (json_member(&j, &key)) {
            static const char *const content[] = {"text",     "refusal", "arguments", "output",
                                                  "content",  "name",    "input",     "summary",
                                                  "file_url", NULL};
            char *name = arena_strdup(a, key);
            struct span value = json_take(&j);
            size_t i = 0;

            while (content[i] != NULL && strcmp(content[i], name) != 0)
                i++;
            if (content[i] != NULL)
                check_value(rec, value, arena_printf(a, "%s.%s", path, name), body, names);
        }
    } else if (json_enter(&j, JSON_ARRAY)) {
        for (unsigned i = 0; json_item(&j); i++)
            check_value(rec, json_take(&j), arena_printf(a, "%s[%u]", path, i), body, names);
    } else if (json_type_of(raw) == JSON_STRING) {
        bool good = is_there(raw, body, a) || is_named(names, path);

        if (!good)
            printf("%.*s: %s = %.*s (named: %.*s)\n", SPAN_ARG(rec->id), path,
                   (int)(raw.n < 60 ? raw.n : 60), raw.p, SPAN_ARG(names));
        expect("texts that are said or named", rec, good);
    }
}

static bool means_nothing(const char *field, struct span raw)
{
    return json_type_of(raw) == JSON_NULL || span_is(raw, "[]") || span_is(raw, "{}") ||
           span_is(raw, "false") || (strcmp(field, "parallel_tool_calls") == 0) ||
           strcmp(field, "include") == 0 || strcmp(field, "reasoning") == 0 ||
           strcmp(field, "model") == 0 || strcmp(field, "input") == 0 ||
           strcmp(field, "stream") == 0 ||
           (strcmp(field, "text") == 0 && json_is_string(at(raw, "format.type"), "text"));
}

/* The fields beside the input: a value of theirs is said, or they are named. */
static void check_fields(const struct recording *rec, struct span names)
{
    static const char *const mapped[] = {
        "tools",       "tool_choice", "text", "instructions", "max_output_tokens",
        "temperature", "top_p",       "user", "service_tier"};
    struct json j = json_read(rec->request);
    struct span key;

    CHECK(json_enter(&j, JSON_OBJECT));
    while (json_member(&j, &key)) {
        char *name = arena_strdup(rec->arena, key);
        struct span raw = json_take(&j);
        bool good = false;

        if (means_nothing(name, raw))
            continue;
        good = span_find(names, name) != NULL;
        for (size_t i = 0; i < ARRAY_LEN(mapped); i++)
            good |= strcmp(mapped[i], name) == 0;
        if (!good)
            printf("%.*s: %s\n", SPAN_ARG(rec->id), name);
        expect("fields that are mapped or named", rec, good);
    }
}

/* Refusals that are right. */
static const char *const refusals[] = {
    "a URL is not fetched here",
    "a file_id lives at one provider",
    "lives at another provider",
    "lives at OpenAI",
    "an uploaded image",
    "a document by its URL",
    "takes no such part",
    "expected the data itself",
    "the call has no result",
    "answers the call",
    "expected a name",
    "uploaded",
    "a file's id is known to one provider",
    "expected a file that is a PDF or text",
};

static void write_for(const struct recording *rec, const struct conversation *c, size_t t)
{
    struct arena *a = rec->arena;
    struct dialect_target target = {.base_path = SPAN("/v1"), .model = span_of(targets[t].model)};
    struct strbuf names = strbuf_in(a, 1 << 16);
    struct drops drops = {&names, c->names};
    struct dialect_request out;
    struct err e;
    bool right = false;

    if (targets[t].dialect->write_conversation(c, &target, a, &out, &drops, &e) < 0) {
        for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
            right |= strstr(e.msg, refusals[i]) != NULL;
        if (!right)
            printf("%.*s (%s): %s\n", SPAN_ARG(rec->id), targets[t].model, e.msg);
        expect("requests that are refused with reason", rec, right);
        return;
    }
    expect("requests that are valid JSON", rec, json_valid(out.body[0]));
    check_value(rec, at(rec->request, "input"), "input", out.body[0], strbuf_span(&names));
    check_fields(rec, strbuf_span(&names));
}

/* What binds a request to its provider. */
static bool is_bound(struct span request)
{
    return at(request, "previous_response_id").n > 4 || at(request, "conversation").n > 4 ||
           at(request, "prompt").n > 4 || span_is(at(request, "background"), "true") ||
           span_find(request, "\"item_reference\"") != NULL ||
           span_find(request, "\"compaction\"") != NULL;
}

static void visit_request(const struct recording *rec)
{
    struct arena *a = rec->arena;
    struct chat_request req = {0};
    struct conversation c = {0};
    struct err e;
    bool understood;

    if (json_type_of(rec->request) != JSON_OBJECT)
        return;
    e.msg[0] = '\0';
    understood = OURS->read_request(rec->request, a, &req, &e) == 0;
    if (at(rec->request, "model").n == 0) {
        expect("requests without a model that are refused", rec, !understood);
        return;
    }
    expect("requests that are read", rec, understood);
    if (!understood) {
        printf("%.*s: %s\n", SPAN_ARG(rec->id), e.msg);
        return;
    }
    understood = OURS->read_conversation(req.body, a, &c, &e) == 0;
    if (is_bound(rec->request)) {
        expect("bound requests that stay where they are", rec, req.pinned && !understood);
        return;
    }
    if (!understood)
        printf("%.*s: %s\n", SPAN_ARG(rec->id), e.msg);
    expect("requests that are read whole", rec, understood || rec->status >= 400);
    for (size_t t = 0; understood && t < ARRAY_LEN(targets); t++)
        write_for(rec, &c, t);
}

TEST(recorded_requests_are_written_for_every_provider)
{
    each_recording("openai.responses", visit_request);
}

/* The requests of chat, for a provider that speaks only responses. */
static void visit_chat_request(const struct recording *rec)
{
    struct arena *a = rec->arena;
    struct dialect_target target = {.base_path = SPAN("/v1"), .model = SPAN("gpt-4.1")};
    struct strbuf names = strbuf_in(a, 1 << 16);
    struct drops drops = {.names = &names};
    struct dialect_request out;
    struct chat_request req = {0};
    struct conversation c = {0};
    struct err e;

    if (json_type_of(rec->request) != JSON_OBJECT ||
        dialect_openai_chat.read_request(rec->request, a, &req, &e) < 0 ||
        dialect_openai_chat.read_conversation(req.body, a, &c, &e) < 0)
        return;
    if (OURS->write_conversation(&c, &target, a, &out, &drops, &e) < 0) {
        bool right = strstr(e.msg, "audio and video") != NULL || strncmp(e.msg, "n:", 2) == 0;

        if (!right)
            printf("%.*s: %s\n", SPAN_ARG(rec->id), e.msg);
        expect("requests that are refused with reason", rec, right);
        return;
    }
    expect("requests that are valid JSON", rec, json_valid(out.body[0]));
    check_value(rec, at(rec->request, "messages"), "messages", out.body[0], strbuf_span(&names));
}

TEST(recorded_requests_of_chat_are_written_as_responses)
{
    each_recording("openai.chat", visit_chat_request);
}

TEST_MAIN()
