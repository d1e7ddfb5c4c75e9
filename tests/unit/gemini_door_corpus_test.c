/* Every recorded request of Gemini's clients as each provider dialect is told it, and every
 * recorded answer of any provider as a client of Gemini's gets it, read back. */
#include "providers/gemini.h"
#include "tests/unit/corpus.h"

/* ---- requests ---- */

static const struct {
    const struct dialect *dialect;
    const char *model;
} targets[] = {
    {&dialect_openai_chat, "gpt-4.1"},
    {&dialect_anthropic_messages, "claude-opus-4-7"},
    {&dialect_anthropic_messages, "claude-sonnet-4-5"},
    {&dialect_gemini, "gemini-3-flash-preview"},
    {&dialect_gemini, "gemini-2.5-flash"},
};

/* Refusals that are right: what such a provider cannot be told at all, or no provider. */
static const char *const refusals[] = {
    "lives at another provider",
    "a URL is not fetched here",
    "audio is not taken",
    "video is not taken",
    "audio of another kind",
    "a document by its URL",
    "takes no such part",
    "expected a file that is a PDF or text",
    "the call has no result",
    "a tool call without a result",
    "expected only text in a system message",
    "expected text in a system message",
    "expected an image",
    "answers asked for", /* candidateCount */
    "n: ",
    "candidateCount",
    "expected text or a tool call in the assistant's message",
    "its name",
    "a tool's name",
    "all are empty",
    "expected at least one message with something in it",
    "expected a schema without recursion",
};

static bool named(struct span list, const char *path)
{
    const char *at = span_find(list, path);

    return at != NULL;
}

/* Everything in an object that the reader does not know must be named. */
static void check_members(const struct recording *rec, struct span object, const char *prefix,
                          const char *const *known, struct span dropped)
{
    struct json j = json_read(object);
    struct span key;
    char path[200];

    if (!json_enter(&j, JSON_OBJECT))
        return;
    while (json_member(&j, &key)) {
        struct span raw = json_take(&j);
        bool is_known = json_type_of(raw) == JSON_NULL || span_is(raw, "{}") || span_is(raw, "[]");

        for (size_t i = 0; known[i] != NULL; i++)
            is_known |= gemini_is_name(key, known[i]);
        snprintf(path, sizeof(path), "%s%.*s", prefix, SPAN_ARG(key));
        expect("members of requests that are said or named", rec, is_known || named(dropped, path));
    }
}

static struct span member(struct span object, const char *name)
{
    struct json j = json_read(object);
    struct span key, found = {0};

    if (json_enter(&j, JSON_OBJECT))
        while (json_member(&j, &key)) {
            bool hit = gemini_is_name(key, name);
            struct span raw = json_take(&j);

            if (hit)
                found = raw;
        }
    return found;
}

/* Texts go on as the bytes they are; names of calls too. */
static void check_part(const struct recording *rec, struct span part, struct span body,
                       struct arena *a)
{
    struct span text = member(part, "text"), name = member(member(part, "functionCall"), "name");
    char *inside;

    if (span_is(member(part, "thought"), "true"))
        return;
    if (text.n > 2 && !raw_is_blank(text)) {
        inside = arena_strdup(a, span_trim((struct span){text.p + 1, text.n - 2}));
        if (strlen(inside) > 100)
            inside[100] = '\0';
        expect("texts of requests that are said", rec, span_find(body, inside) != NULL);
    }
    if (name.n > 2)
        expect("calls of requests that are said", rec,
               span_find(body, arena_strdup(a, name)) != NULL);
}

static void check_contents(const struct recording *rec, struct span contents, struct span body,
                           struct arena *a)
{
    struct json j = json_read(contents);

    if (!json_enter(&j, JSON_ARRAY))
        return;
    while (json_item(&j)) {
        struct json parts = json_read(member(json_take(&j), "parts"));

        if (json_enter(&parts, JSON_ARRAY))
            while (json_item(&parts))
                check_part(rec, json_take(&parts), body, a);
    }
}

static void check_told(const struct recording *rec, const struct conversation *c, size_t i)
{
    static const char *const known[] = {
        "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "model", NULL};
    static const char *const config[] = {"temperature",
                                         "topP",
                                         "topK",
                                         "maxOutputTokens",
                                         "stopSequences",
                                         "candidateCount",
                                         "seed",
                                         "presencePenalty",
                                         "frequencyPenalty",
                                         "responseMimeType",
                                         "responseSchema",
                                         "responseJsonSchema",
                                         "thinkingConfig",
                                         "responseModalities",
                                         NULL};
    struct arena *a = rec->arena;
    struct dialect_target target = {.base_path = SPAN("/v1"), .model = span_of(targets[i].model)};
    struct strbuf list = strbuf_in(a, 1 << 20);
    struct drops drops = {.names = &list, .client = c->names};
    struct dialect_request out;
    struct err e;
    bool right = false;

    if (targets[i].dialect->write_conversation(c, &target, a, &out, &drops, &e) < 0) {
        for (size_t k = 0; k < ARRAY_LEN(refusals); k++)
            right |= strstr(e.msg, refusals[k]) != NULL;
        if (!right)
            printf("%.*s (%s): %s\n", SPAN_ARG(rec->id), targets[i].model, e.msg);
        expect("requests that are refused with reason", rec, right);
        return;
    }
    expect("requests that are valid JSON", rec, json_valid(out.body[0]));
    check_members(rec, rec->request, "", known, strbuf_span(&list));
    check_members(rec, member(rec->request, "generationConfig"), "generationConfig.", config,
                  strbuf_span(&list));
    check_contents(rec, member(rec->request, "contents"), out.body[0], a);
}

/* Made by hand, or sent in order to be refused. */
static const char *const unreadable[] = {
    "contents: expected", "expected the name of a functionCall",
    "contents[0].role",   "expected base64",
    "lives at Google",
};

static void visit_request(const struct recording *rec)
{
    struct arena *a = rec->arena;
    struct chat_request req = {.model = SPAN("m"), .stream = rec->stream};
    struct conversation c = {0};
    struct err e = {0};
    bool right = rec->status >= 400;

    if (json_type_of(rec->request) != JSON_OBJECT)
        return;
    c = (struct conversation){.model = SPAN("m"), .stream = rec->stream};
    if (dialect_gemini.read_request(rec->request, a, &req, &e) < 0 ||
        dialect_gemini.read_conversation(req.body, a, &c, &e) < 0) {
        for (size_t i = 0; i < ARRAY_LEN(unreadable); i++)
            right |= strstr(e.msg, unreadable[i]) != NULL;
        if (!right)
            printf("%.*s: %s\n", SPAN_ARG(rec->id), e.msg);
        expect("requests that are refused at the door with reason", rec, right);
        return;
    }
    expect("requests whose stream is the path's", rec, c.stream == rec->stream);
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        check_told(rec, &c, i);
}

TEST(recorded_requests_are_told_to_every_provider)
{
    each_recording("gemini.generateContent", visit_request);
}

/* ---- answers ---- */

/* An answer read once: as the events fold, and as a client of Gemini's is told it. */
struct told {
    const struct dialect *from;
    struct fold f;
    struct answer_writer w;
    struct strbuf out;
    struct chat_event stops[GEMINI_CHOICES]; /* held, where only the transport ends an answer */
};

static void give(struct told *t, const struct chat_event *ev)
{
    fold_event(&t->f, ev);
    dialect_gemini.write_event(&t->w, ev, &t->out);
}

static void tell(void *ctx, const struct chat_event *ev)
{
    struct told *t = ctx;

    if (ev->kind == CHAT_STOP && !t->from->marks_end && ev->choice < GEMINI_CHOICES) {
        t->stops[ev->choice] = *ev;
        t->stops[ev->choice].text = arena_copy(t->w.arena, ev->text);
        return;
    }
    if (ev->kind != CHAT_END)
        give(t, ev);
}

static void tell_end(struct told *t)
{
    for (unsigned i = 0; i < GEMINI_CHOICES; i++)
        if (t->stops[i].text.n != 0)
            give(t, &t->stops[i]);
    give(t, &(struct chat_event){.kind = CHAT_END});
    fold_done(&t->f);
}

static void begin_told(struct told *t, const struct dialect *from, struct arena *a)
{
    memset(t, 0, sizeof(*t));
    t->from = from;
    fold_init(&t->f, a);
    t->out = strbuf_in(a, 1 << 26);
    t->w = (struct answer_writer){.id = SPAN("i"),
                                  .model = SPAN("m"),
                                  .usage_asked = true,
                                  .reasoning_asked = true,
                                  .arena = a};
}

static struct chat_watch read_stream(const struct dialect *d, struct span text, chat_sink *sink,
                                     void *ctx)
{
    struct chat_watch watch = {0};
    struct sse_event ev;
    struct sse s;

    sse_init(&s, 1 << 24);
    CHECK_INT(sse_feed(&s, text), 0);
    while (sse_next(&s, &ev))
        d->read_event(&ev, &watch, sink, ctx);
    if (sse_end(&s, &ev))
        d->read_event(&ev, &watch, sink, ctx);
    sse_release(&s);
    return watch;
}

static struct span decoded(const struct strbuf *raw, struct arena *a)
{
    return json_text(strbuf_span(raw), a);
}

static bool same_arguments(struct fold_call *x, struct fold_call *y, struct arena *a)
{
    struct span want = span_trim(decoded(&x->arguments, a)), got = decoded(&y->arguments, a);

    if (want.n == 0 || span_is(want, "null"))
        want = SPAN("{}");
    if (memchr(want.p, '\n', want.n) == NULL && memchr(want.p, '\r', want.n) == NULL)
        return span_eq(want, got);
    return want.n == got.n; /* line ends between tokens became spaces */
}

static bool is_object(struct fold_call *call, struct arena *a)
{
    struct span text = span_trim(decoded(&call->arguments, a));

    return text.n == 0 || span_is(text, "null") ||
           (json_type_of(text) == JSON_OBJECT && json_valid(text));
}

/* The state that came back, whatever clothes it wears. */
static bool same_state(struct span want, struct span origin, struct span got, struct arena *a)
{
    struct gemini_state s;
    struct span who = json_text(origin, a);

    if (json_is_string(origin, "gemini"))
        return span_eq(json_text(want, a), json_text(got, a));
    return gemini_read_state(got, a, &s) && span_eq(s.origin, who) &&
           span_eq(json_text(s.state, a), json_text(want, a));
}

static void same_calls(const struct recording *rec, struct fold_choice *x, struct fold_choice *y)
{
    struct arena *a = rec->arena;
    struct fold_call *got = y->calls;

    for (struct fold_call *want = x->calls; want != NULL; want = want->next) {
        if (!is_object(want, a)) {
            expect("calls that were cut off and are told so", rec, true);
            continue;
        }
        expect("calls that are the same", rec,
               got != NULL && span_eq(got->name, want->name) && same_arguments(want, got, a) &&
                   (want->id.n <= 2 || span_eq(want->id, got->id)));
        if (got != NULL && want->signature.n != 0)
            expect("states of calls that are the same", rec,
                   same_state(want->signature, want->origin, got->signature, a));
        got = got != NULL ? got->next : NULL;
    }
    expect("calls that nobody made", rec, got == NULL);
}

static void same_choice(const struct recording *rec, struct fold_choice *x, struct fold_choice *y)
{
    struct arena *a = rec->arena;
    struct strbuf said = strbuf_in(a, 1 << 26);
    struct fold_signed *got = y->signatures;
    const char *stop = json_is_string(x->stop, "length")           ? "\"length\""
                       : json_is_string(x->stop, "content_filter") ? "\"content_filter\""
                       : y->calls != NULL                          ? "\"tool_calls\""
                                                                   : "\"stop\"";

    strbuf_add_span(&said, decoded(&x->text, a));
    strbuf_add_span(&said, decoded(&x->refusal, a));
    expect("texts that are the same", rec, span_eq(strbuf_span(&said), decoded(&y->text, a)));
    expect("reasoning that is the same", rec,
           span_eq(decoded(&x->reasoning, a), decoded(&y->reasoning, a)));
    for (struct fold_signed *want = x->signatures; want != NULL; want = want->next) {
        expect("states that are the same", rec,
               got != NULL && same_state(want->signature, want->origin, got->signature, a));
        got = got != NULL ? got->next : NULL;
    }
    expect("reasons to stop that are the same", rec, span_is(y->stop, stop));
    same_calls(rec, x, y);
}

static void same_answer(const struct recording *rec, struct fold *x, struct fold *y)
{
    struct fold_choice *got = y->choices;

    for (struct fold_choice *want = x->choices; want != NULL; want = want->next) {
        expect("choices that are there", rec, got != NULL && got->index == want->index);
        if (got == NULL)
            return;
        same_choice(rec, want, got);
        got = got->next;
    }
    expect("usages that are the same", rec,
           x->usage.seen == y->usage.seen && x->usage.input == y->usage.input &&
               x->usage.output == y->usage.output && x->usage.cached == y->usage.cached &&
               x->usage.reasoning == y->usage.reasoning);
}

/* The stream and the whole answer that the client gets say what the provider said. */
static void check_back(const struct recording *rec, struct told *t)
{
    struct told again;
    struct chat_watch watch;
    struct strbuf whole = strbuf_in(rec->arena, 1 << 26);

    if (t->f.choices == NULL || t->f.choices->index >= GEMINI_CHOICES)
        return;
    begin_told(&again, &dialect_gemini, rec->arena);
    watch = read_stream(&dialect_gemini, strbuf_span(&t->out), tell, &again);
    tell_end(&again);
    expect("streams for the client that are complete", rec,
           dialect_gemini.judge_end(&watch) != TRUNCATED);
    same_answer(rec, &t->f, &again.f);

    dialect_gemini.write_answer(&t->w, &t->f, &whole);
    begin_told(&again, &dialect_gemini, rec->arena);
    memset(&watch, 0, sizeof(watch));
    dialect_gemini.read_answer(strbuf_span(&whole), &watch, tell, &again);
    tell_end(&again);
    if (watch.failure == FAILURE_NONE)
        same_answer(rec, &t->f, &again.f);
    else
        expect("whole answers that cannot be read back because they are empty", rec,
               watch.failure == EMPTY || watch.failure == CONFLICT);
}

static void visit(const struct recording *rec, const struct dialect *d)
{
    struct told t;
    struct chat_watch watch = {0};

    if (rec->status != 200 || span_starts(rec->body, "["))
        return;
    begin_told(&t, d, rec->arena);
    if (rec->stream)
        watch = read_stream(d, rec->body, tell, &t);
    else
        d->read_answer(rec->body, &watch, tell, &t);
    if (watch.failure != FAILURE_NONE || d->judge_end(&watch) != FAILURE_NONE)
        return;
    tell_end(&t);
    check_back(rec, &t);
}

static void visit_openai(const struct recording *rec)
{
    visit(rec, &dialect_openai_chat);
}

static void visit_anthropic(const struct recording *rec)
{
    visit(rec, &dialect_anthropic_messages);
}

static void visit_gemini(const struct recording *rec)
{
    visit(rec, &dialect_gemini);
}

TEST(recorded_answers_of_openai_reach_geminis_clients)
{
    each_recording("openai.chat", visit_openai);
}

TEST(recorded_answers_of_claude_reach_geminis_clients)
{
    each_recording("anthropic.messages", visit_anthropic);
}

TEST(recorded_answers_of_gemini_survive_being_written_again)
{
    each_recording("gemini.generateContent", visit_gemini);
}

TEST_MAIN()
