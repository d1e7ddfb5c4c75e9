/* Every recorded exchange of Gemini's generateContent against our reading of it, and every recorded
 * request of OpenAI chat that we can read against what we write for Gemini. What is expected comes
 * from the recording, read here in another way than the product does. */
#include "providers/dialect.h"
#include "tests/unit/corpus.h"

/* The value at a path of keys ("response.body"); empty where there is none. */
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

/* All texts decoded; calls as "name(arguments)" each on a line; one candidate, as recorded. */
struct said {
    struct strbuf text, reasoning, calls;
    int64_t input, output, cached, thoughts;
    bool usage, finished, length, filtered;
};

static void init_said(struct said *s, struct arena *a)
{
    memset(s, 0, sizeof(*s));
    s->text = strbuf_in(a, 1 << 24);
    s->reasoning = strbuf_in(a, 1 << 24);
    s->calls = strbuf_in(a, 1 << 24);
}

static int64_t number(struct span usage, const char *name)
{
    int64_t v = 0;

    json_to_i64(at(usage, name), &v);
    return v;
}

static void add_decoded(struct strbuf *out, struct span raw, struct arena *a)
{
    strbuf_add_span(out, json_text(raw, a));
}

static void extract_part(struct span part, struct said *s, struct arena *a)
{
    struct span call = at(part, "functionCall"), text;

    add_decoded(span_is(at(part, "thought"), "true") ? &s->reasoning : &s->text, at(part, "text"),
                a);
    if (at(call, "name").n != 0) {
        text = at(call, "args");
        add_decoded(&s->calls, at(call, "name"), a);
        strbuf_addf(&s->calls, "(%.*s)\n", SPAN_ARG(text.n != 0 ? text : SPAN("{}")));
    }
    if (at(part, "inlineData").n != 0) {
        text = json_text(at(part, "inlineData.mimeType"), a);
        strbuf_addf(&s->text, "%s(data:%.*s;base64,",
                    span_starts(text, "image/") ? "![image]" : "[media]", SPAN_ARG(text));
        add_decoded(&s->text, at(part, "inlineData.data"), a);
        strbuf_add(&s->text, ")");
    }
    if (at(part, "executableCode").n > 2) {
        strbuf_add(&s->text, "\n```python\n");
        add_decoded(&s->text, at(part, "executableCode.code"), a);
        strbuf_add(&s->text, "\n```\n");
    }
    if (at(part, "codeExecutionResult").n > 2) {
        strbuf_add(&s->text, "\n```\n");
        add_decoded(&s->text, at(part, "codeExecutionResult.output"), a);
        strbuf_add(&s->text, "\n```\n");
    }
}

static void extract(struct span fragment, struct said *s, struct arena *a)
{
    struct span usage = at(fragment, "usageMetadata");
    struct json candidates = json_read(at(fragment, "candidates"));

    if (at(usage, "promptTokenCount").n != 0 || at(usage, "candidatesTokenCount").n != 0 ||
        at(usage, "thoughtsTokenCount").n != 0) {
        s->usage = true;
        s->input = number(usage, "promptTokenCount") + number(usage, "toolUsePromptTokenCount");
        s->output = number(usage, "candidatesTokenCount") + number(usage, "thoughtsTokenCount");
        s->cached = number(usage, "cachedContentTokenCount");
        s->thoughts = number(usage, "thoughtsTokenCount");
    }
    if (at(fragment, "promptFeedback.blockReason").n != 0)
        s->finished = s->filtered = true;
    if (!json_enter(&candidates, JSON_ARRAY))
        return;
    while (json_item(&candidates)) {
        struct span candidate = json_take(&candidates);
        struct span finish = at(candidate, "finishReason");
        struct json parts = json_read(at(candidate, "content.parts"));

        if (json_enter(&parts, JSON_ARRAY))
            while (json_item(&parts))
                extract_part(json_take(&parts), s, a);
        s->finished |= finish.n != 0;
        s->length |= json_is_string(finish, "MAX_TOKENS") || span_is(finish, "2");
        s->filtered |= json_is_string(finish, "SAFETY") || json_is_string(finish, "RECITATION") ||
                       json_is_string(finish, "MODEL_ARMOR") || span_is(finish, "3");
    }
}

/* The lines of a stream, without a parser of events: each "data:" is a fragment. */
static void extract_stream(struct span body, struct said *s, struct arena *a)
{
    const char *p = body.p, *end = body.p + body.n;

    while (p < end) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        struct span line = {p, (size_t)((line_end != NULL ? line_end : end) - p)};

        if (line.n != 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (span_starts(line, "data:")) {
            line = span_trim((struct span){line.p + 5, line.n - 5});
            if (json_valid(line))
                extract(line, s, a);
        }
        p = line_end != NULL ? line_end + 1 : end;
    }
}

static const char *expected_stop(const struct said *s)
{
    return s->length                                       ? "\"length\""
           : s->filtered                                   ? "\"content_filter\""
           : s->calls.len != 0 && strbuf_span(&s->calls).n ? "\"tool_calls\""
                                                           : "\"stop\"";
}

static bool same_text(struct strbuf *got, struct strbuf *want, struct arena *a)
{
    return span_eq(json_text(strbuf_span(got), a), strbuf_span(want));
}

/* Does the fold hold what was extracted? */
static bool same(const struct recording *rec, struct fold *f, struct said *s, struct arena *a)
{
    struct fold_choice none = {0}, *c = f->choices != NULL ? f->choices : &none;
    struct strbuf calls = strbuf_in(a, 1 << 24);

    for (struct fold_call *call = c->calls; call != NULL; call = call->next) {
        add_decoded(&calls, call->name, a);
        strbuf_add(&calls, "(");
        add_decoded(&calls, strbuf_span(&call->arguments), a);
        strbuf_add(&calls, ")\n");
        for (struct fold_call *other = call->next; other != NULL; other = other->next)
            expect("calls with an id of their own", rec, !span_eq(call->id, other->id));
    }
    expect("answers with the same text", rec, same_text(&c->text, &s->text, a));
    expect("answers with the same reasoning", rec, same_text(&c->reasoning, &s->reasoning, a));
    expect("answers with the same calls", rec,
           span_eq(strbuf_span(&calls), strbuf_span(&s->calls)));
    expect("answers with the same usage", rec,
           f->usage.seen == s->usage && f->usage.input == (uint64_t)s->input &&
               f->usage.output == (uint64_t)s->output && f->usage.cached == (uint64_t)s->cached &&
               f->usage.reasoning == (uint64_t)s->thoughts);
    if (s->finished)
        expect("answers with the same reason to stop", rec, span_is(c->stop, expected_stop(s)));
    else
        expect("answers without a reason to stop", rec, c->stop.n == 0);
    return wrong[0] == '\0';
}

/* ---- streams ---- */

struct verdict {
    struct chat_watch watch;
    enum failure end;
    unsigned kinds[EVENT_BAD + 1];
};

static void read_one(const struct sse_event *ev, struct verdict *v, struct fold *f)
{
    v->kinds[dialect_gemini.read_event(ev, &v->watch, f != NULL ? fold_event : NULL, f)]++;
}

static void read_stream(struct span text, size_t step, struct verdict *v, struct fold *f)
{
    struct sse s;
    struct sse_event ev;

    memset(v, 0, sizeof(*v));
    sse_init(&s, 1 << 22);
    for (size_t p = 0; p < text.n; p += step) {
        CHECK_INT(sse_feed(&s, (struct span){text.p + p, text.n - p < step ? text.n - p : step}),
                  0);
        while (sse_next(&s, &ev))
            read_one(&ev, v, f);
    }
    if (sse_end(&s, &ev))
        read_one(&ev, v, f);
    sse_release(&s);
    v->end = dialect_gemini.judge_end(&v->watch);
    if (f != NULL)
        fold_done(f);
}

static const struct exception stream_exceptions[] = {
    {"00873f2f-ccdfb268", CONFLICT, "UNEXPECTED_TOOL_CALL before any output"},
    {"00873f2f-f286a98c", CONFLICT, "the same"},
    {"00873f2f-fbbf91b6", CONFLICT, "the same"},
    {"8e82ebf1-37b768da", UNSUPPORTED, "streamed arguments, which we never ask for"},
    {"aad4a6fe-3171fcfb", UNSUPPORTED, "the same"},
    {"f2764a8b-228bc690", UNSUPPORTED, "the same"},
    {"9be62eb9-3c938742", UNSUPPORTED, "the same"},
    {"9ba7af39-2b5c54ab", OVERLOADED, "an error in the stream"},
    {"61ebf44e-5bca204e", CONFLICT, "CANCELLED, as JSON outside any field"},
    {"93eca3a6-90c6d769", EMPTY, "no answer at all"},
    {NULL, 0, NULL},
};

static void visit_stream(const struct recording *rec)
{
    struct arena *a = rec->arena;
    const struct exception *ex = find_exception(stream_exceptions, rec->id);
    struct verdict v, part;
    struct said said;
    struct fold f;

    if (!rec->stream || rec->status != 200 || span_starts(rec->body, "["))
        return;
    fold_init(&f, a);
    init_said(&said, a);
    read_stream(rec->body, rec->body.n, &v, &f);
    for (size_t step = 1; step <= 1000; step = step * 7 + 3) {
        read_stream(rec->body, step, &part, NULL);
        expect("streams that are the same in pieces", rec, memcmp(&part, &v, sizeof(v)) == 0);
    }
    if (ex != NULL) {
        expect("streams that are exceptions", rec, v.end == ex->failure);
        return;
    }
    extract_stream(rec->body, &said, a);
    same(rec, &f, &said, a);
    expect("streams that end as they should", rec,
           said.finished ? v.end == FAILURE_NONE : v.end == TRUNCATED);
}

TEST(recorded_streams_are_understood)
{
    each_recording("gemini.generateContent", visit_stream);
}

/* ---- answers in one piece, and lists of fragments ---- */

static const struct exception answer_exceptions[] = {
    {"9067b3bb-45f543b7", TRUNCATED, "made by hand, without a finishReason"},
    {"5d77ee15-e0ad97e1", TRUNCATED, "the same"},
    {"fe7fc78b-9630ebc3", TRUNCATED, "the same"},
    {"1f134174-1723c90a", EMPTY, "finishReason OTHER and nothing else"},
    {NULL, 0, NULL},
};

static void visit_answer(const struct recording *rec)
{
    struct arena *a = rec->arena;
    const struct exception *ex = find_exception(answer_exceptions, rec->id);
    struct chat_watch w = {0};
    struct json list = json_read(rec->body);
    struct said said;
    struct fold f;

    if (rec->status != 200 || !(span_starts(rec->body, "{") || span_starts(rec->body, "[")))
        return;
    fold_init(&f, a);
    init_said(&said, a);
    dialect_gemini.read_answer(rec->body, &w, fold_event, &f);
    fold_done(&f);
    if (ex != NULL) {
        expect("answers that are exceptions", rec, w.failure == ex->failure);
        return;
    }
    if (json_enter(&list, JSON_ARRAY))
        while (json_item(&list))
            extract(json_take(&list), &said, a);
    else
        extract(rec->body, &said, a);
    if (w.failure == EMPTY || w.failure == CONFLICT) {
        expect("answers that hold nothing, or a bad call", rec,
               w.failure == CONFLICT || (said.text.len == 0 && said.calls.len == 0));
        return;
    }
    expect("complete answers", rec,
           w.failure == FAILURE_NONE && said.finished && f.end && w.stopped && w.end);
    same(rec, &f, &said, a);
    for (size_t n = 1; n < rec->body.n; n += rec->body.n / 50 + 1) {
        struct chat_watch cut = {0};

        dialect_gemini.read_answer((struct span){rec->body.p, n}, &cut, NULL, NULL);
        expect("cut answers", rec, cut.failure == TRUNCATED && !cut.output && !cut.stopped);
    }
}

TEST(recorded_answers_are_understood)
{
    each_recording("gemini.generateContent", visit_answer);
}

/* ---- an answer in one piece as a stream ---- */

static void visit_both(const struct recording *rec)
{
    struct arena *a = rec->arena;
    struct chat_watch w = {0};
    struct verdict v;
    struct strbuf text = strbuf_in(a, rec->body.n + 100);
    struct fold whole, streamed;
    struct said said;

    if (rec->status != 200 || rec->stream || !span_starts(rec->body, "{"))
        return;
    strbuf_add(&text, "data: ");
    strbuf_add_span(&text, rec->body);
    strbuf_add(&text, "\r\n\r\n");
    fold_init(&whole, a);
    fold_init(&streamed, a);
    init_said(&said, a);
    dialect_gemini.read_answer(rec->body, &w, fold_event, &whole);
    read_stream(strbuf_span(&text), 4096, &v, &streamed);
    expect("answers judged the same as a stream", rec, w.failure == v.end);
    if (w.failure != FAILURE_NONE)
        return;
    fold_done(&whole);
    extract(rec->body, &said, a);
    same(rec, &streamed, &said, a);
    expect("answers with the same id as a stream", rec,
           span_eq(whole.id, streamed.id) && span_eq(whole.model, streamed.model));
}

TEST(recorded_answers_say_the_same_as_a_stream)
{
    each_recording("gemini.generateContent", visit_both);
}

/* ---- errors ---- */

static const struct exception error_exceptions[] = {
    {"a7961f17-f2b5fe1f", CONTEXT_LENGTH, "token count exceeds, as 400"},
    {"a2d6f69c-61c6fab5", FORBIDDEN, "a location, as 400"},
    {"33203d80-2486ea40", FORBIDDEN, "the same, only in its details"},
    {NULL, 0, NULL},
};

static enum failure wanted(const struct recording *rec)
{
    const struct exception *ex = find_exception(error_exceptions, rec->id);

    if (ex != NULL)
        return ex->failure;
    switch (rec->status) {
    case 400: /* a bad key is 400 here */
        return span_find(rec->body, "API_KEY_INVALID") != NULL ? AUTH : BAD_REQUEST;
    case 401:
        return AUTH;
    case 403:
        return FORBIDDEN;
    case 404:
        return MODEL_GONE;
    case 429:
        return span_find(rec->body, "PerDay") != NULL ? QUOTA : RATE_LIMITED;
    default:
        return server_fault(rec->status);
    }
}

static void visit_error(const struct recording *rec)
{
    struct arena *a = rec->arena;
    struct strbuf list = strbuf_in(a, rec->body.n + 2);
    struct chat_error error, wrapped;

    if (rec->status < 400)
        return;
    expect("errors", rec,
           dialect_gemini.classify(rec->status, (struct span){0}, rec->body, &error) ==
               wanted(rec));
    expect("errors that say something", rec,
           error.message[0] != '\0' && error.status == rec->status &&
               strstr(error.message, "without a message") == NULL &&
               strpbrk(error.message, "\r\n") == NULL);
    if (!span_starts(rec->body, "{"))
        return;
    strbuf_add(&list, "[");
    strbuf_add_span(&list, rec->body);
    strbuf_add(&list, "]");
    expect("errors in a list", rec,
           dialect_gemini.classify(rec->status, (struct span){0}, strbuf_span(&list), &wrapped) ==
                   wanted(rec) &&
               strcmp(error.message, wrapped.message) == 0);
}

TEST(recorded_errors_are_classified)
{
    each_recording("gemini.generateContent", visit_error);
}

/* ---- requests of OpenAI chat, written for Gemini ---- */

/* What a field of the request must have become, wherever it is not named as dropped. */
static const struct {
    const char *field, *becomes;
} mapped[] = {
    {"model", ""},
    {"messages", "\"contents\":["},
    {"stream", ""},
    {"stream_options", ""},
    {"tools", "\"functionDeclarations\":["},
    {"functions", "\"functionDeclarations\":["},
    {"tool_choice", "\"toolConfig\":{"},
    {"function_call", "\"toolConfig\":{"},
    {"temperature", "\"temperature\":"},
    {"top_p", "\"topP\":"},
    {"top_k", "\"topK\":"},
    {"max_tokens", "\"maxOutputTokens\":"},
    {"max_completion_tokens", "\"maxOutputTokens\":"},
    {"stop", "\"stopSequences\":["},
    {"seed", "\"seed\":"},
    {"n", "\"candidateCount\":"},
    {"presence_penalty", "\"presencePenalty\":"},
    {"frequency_penalty", "\"frequencyPenalty\":"},
    {"response_format", "\"responseMimeType\":"},
    {"reasoning_effort", "\"thinkingConfig\":{"},
};

/* Is the field, or something in it, among the names? */
static bool is_named(struct span names, struct span field)
{
    for (size_t i = 0; i + field.n <= names.n; i++)
        if ((i == 0 || names.p[i - 1] == ' ') && memcmp(names.p + i, field.p, field.n) == 0 &&
            (i + field.n == names.n || strchr(",.[", names.p[i + field.n]) != NULL))
            return true;
    return false;
}

static bool means_nothing(struct span field, struct span raw)
{
    return json_type_of(raw) == JSON_NULL || span_is(raw, "[]") || span_is(raw, "{}") ||
           (span_is(field, "n") && span_is(raw, "1")) ||
           (span_is(field, "parallel_tool_calls") && span_is(raw, "true")) ||
           (span_is(raw, "false") && (span_is(field, "logprobs") || span_is(field, "stream")));
}

static void check_fields(const struct recording *rec, struct span body, struct span names)
{
    struct json j = json_read(rec->request);
    struct span key;

    CHECK(json_enter(&j, JSON_OBJECT));
    while (json_member(&j, &key)) {
        struct span raw = json_take(&j);
        size_t i = 0;

        while (i < ARRAY_LEN(mapped) && !span_is(key, mapped[i].field))
            i++;
        if (means_nothing(key, raw))
            continue;
        if (is_named(names, key) ||
            (i < ARRAY_LEN(mapped) && span_find(body, mapped[i].becomes) != NULL)) {
            expect("fields that are mapped or named", rec, true);
            continue;
        }
        printf("%.*s: %.*s = %.*s\n", SPAN_ARG(rec->id), SPAN_ARG(key),
               (int)(raw.n < 60 ? raw.n : 60), raw.p);
        expect("fields that are mapped or named", rec, false);
    }
}

/* A text of the request stands in what was written: as it was, or decoded (the object of a
 * result). */
static void check_text(const struct recording *rec, struct span raw, struct span body,
                       struct arena *a)
{
    struct span inside = {raw.p + 1, raw.n - 2};
    struct span text = span_trim(json_text(raw, a));

    expect("texts that are there", rec,
           inside.n == 0 || memmem(body.p, body.n, inside.p, inside.n) != NULL ||
               (text.n != 0 && memmem(body.p, body.n, text.p, text.n) != NULL));
}

/* Every text and every call of the messages. */
static void check_messages(const struct recording *rec, struct span body, struct arena *a)
{
    struct json j = json_read(at(rec->request, "messages"));

    CHECK(json_enter(&j, JSON_ARRAY));
    while (json_item(&j)) {
        struct span m = json_take(&j), content = at(m, "content");
        struct json list = json_read(content), calls = json_read(at(m, "tool_calls"));

        if (json_type_of(content) == JSON_STRING)
            check_text(rec, content, body, a);
        if (json_enter(&list, JSON_ARRAY))
            while (json_item(&list)) {
                struct span text = at(json_take(&list), "text");

                if (json_type_of(text) == JSON_STRING)
                    check_text(rec, text, body, a);
            }
        if (json_enter(&calls, JSON_ARRAY))
            while (json_item(&calls)) {
                struct span call = json_take(&calls);
                struct span args = json_text(at(call, "function.arguments"), a);

                check_text(rec, at(call, "function.name"), body, a);
                expect("arguments that are there", rec,
                       args.n == 0 || memmem(body.p, body.n, args.p, args.n) != NULL);
            }
    }
}

/* The names of the calls, or of the responses, of one content, each with its id. */
static unsigned list_names(struct span content, const char *kind, struct strbuf *out)
{
    struct json parts = json_read(at(content, "parts"));
    unsigned n = 0;

    CHECK(json_enter(&parts, JSON_ARRAY));
    while (json_item(&parts)) {
        struct span one = at(json_take(&parts), kind), name = at(one, "name"), id = at(one, "id");

        if (one.n == 0)
            continue;
        n++;
        strbuf_addf(out, "%.*s %.*s\n", SPAN_ARG(name), SPAN_ARG(id.n != 0 ? id : SPAN("-")));
        if (strcmp(kind, "functionResponse") == 0)
            CHECK_INT(json_type_of(at(one, "response")), JSON_OBJECT);
        else
            CHECK_INT(json_type_of(at(one, "args")), JSON_OBJECT);
    }
    return n;
}

static void check_contents(const struct recording *rec, struct span body, struct arena *a)
{
    struct json j = json_read(at(body, "contents"));
    struct strbuf calls = strbuf_in(a, 1 << 20), answers = strbuf_in(a, 1 << 20);
    bool user = true, ok = true;
    unsigned n = 0;

    CHECK(json_enter(&j, JSON_ARRAY));
    for (; json_item(&j); user = !user, n++) {
        struct span content = json_take(&j);

        ok = ok && json_is_string(at(content, "role"), user ? "user" : "model");
        strbuf_clear(user ? &answers : &calls);
        list_names(content, user ? "functionResponse" : "functionCall", user ? &answers : &calls);
        if (user)
            ok = ok && span_eq(strbuf_span(&answers), strbuf_span(&calls));
        else
            ok = ok && list_names(content, "functionResponse", &calls) == 0;
    }
    expect("requests with turns in order and answers to every call", rec, ok && n > 0);
}

/* Refusals that are right: what cannot be sent to Google at all. */
static const char *const refusals[] = {
    "a URL is not fetched here",
    "a file_id lives at one provider",
    "lives at another provider",
};

static void write_for(const struct recording *rec, const struct conversation *c, const char *model,
                      struct arena *a)
{
    struct dialect_target target = {.base_path = SPAN("/v1beta"), .model = span_of(model)};
    struct strbuf names = strbuf_in(a, 1 << 16);
    struct drops drops = {.names = &names};
    struct dialect_request out;
    struct err e;
    bool right = false;

    if (dialect_gemini.write_conversation(c, &target, a, &out, &drops, &e) < 0) {
        for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
            right |= strstr(e.msg, refusals[i]) != NULL;
        if (!right)
            printf("%.*s: %s\n", SPAN_ARG(rec->id), e.msg);
        expect("requests that are refused with reason", rec, right);
        return;
    }
    expect("requests that are valid JSON", rec, json_valid(out.body[0]));
    check_contents(rec, out.body[0], a);
    check_fields(rec, out.body[0], strbuf_span(&names));
    check_messages(rec, out.body[0], a);
}

static void visit_request(const struct recording *rec)
{
    struct arena *a = rec->arena;
    struct chat_request req;
    struct conversation c = {0};
    struct err e;

    if (json_type_of(rec->request) != JSON_OBJECT ||
        dialect_openai_chat.read_request(rec->request, a, &req, &e) < 0 ||
        dialect_openai_chat.read_conversation(req.body, a, &c, &e) < 0)
        return;
    write_for(rec, &c, "gemini-2.5-flash", a);
    write_for(rec, &c, "gemini-3-flash-preview", a);
}

TEST(recorded_requests_of_openai_are_written_for_gemini)
{
    each_recording("openai.chat", visit_request);
}

TEST_MAIN()
