#include "providers/gemini.h"

#include "proxy/base/hash.h"

#define SEED_BYTES 12 /* of the hash; an identifier may have 40 characters in all */

struct reader {
    struct json j;
    const struct chat_watch *watch; /* before this text */
    struct gemini_found found;

    /* The second pass. */
    struct chat_watch *state; /* NULL in the first one */
    chat_sink *sink;
    void *ctx;
    struct span seed; /* what identifiers are made from, where the provider gives none */
    char seed_hex[2 * SEED_BYTES + 1]; /* its hash; empty until one is wanted */

    /* The candidate being read. */
    unsigned choice;
    bool called; /* a tool, in this fragment */
};

static void emit(struct reader *r, struct chat_event ev)
{
    if (r->sink == NULL)
        return;
    ev.choice = r->choice;
    r->sink(r->ctx, &ev);
}

/* How many calls a choice has made is kept in 32 bits for the first one and in 8 for each of the
 * others; candidateCount goes no further than 8. */
static unsigned next_call(struct chat_watch *w, unsigned choice)
{
    unsigned *word = &w->own[GEMINI_CALLS + (choice + 3) / 4], shift = 8 * ((choice + 3) % 4), n;

    if (choice == 0)
        return w->own[GEMINI_CALLS]++;
    n = *word >> shift & 255;
    if (n < 255)
        *word += 1u << shift;
    return n;
}

static bool has_called(const struct chat_watch *w, unsigned choice)
{
    if (choice == 0)
        return w->own[GEMINI_CALLS] != 0;
    return (w->own[GEMINI_CALLS + (choice + 3) / 4] >> 8 * ((choice + 3) % 4) & 255) != 0;
}

static bool is_text(struct span raw)
{
    return json_type_of(raw) == JSON_STRING && raw.n > 2;
}

static bool is_filled(struct span raw)
{
    struct json j = json_read(raw);
    struct span key;

    switch (json_type_of(raw)) {
    case JSON_OBJECT:
        return json_enter(&j, JSON_OBJECT) && json_member(&j, &key);
    case JSON_ARRAY:
        return json_enter(&j, JSON_ARRAY) && json_item(&j);
    case JSON_STRING:
        return raw.n > 2;
    default:
        return json_type_of(raw) == JSON_TRUE || json_type_of(raw) == JSON_NUMBER;
    }
}

/* ---- parts ---- */

/* One part of a candidate, raw. */
struct part_read {
    struct span text, thought, signature, call, image, code, code_result;
};

/* Members of an object of which we read up to two. */
static void read_two(struct span object, const char *first, struct span *a, const char *second,
                     struct span *b)
{
    struct json j = json_read(object);
    struct span key;

    if (!json_enter(&j, JSON_OBJECT))
        return;
    while (json_member(&j, &key)) {
        struct span raw = json_take(&j);

        if (span_is(key, first))
            *a = raw;
        else if (span_is(key, second))
            *b = raw;
    }
}

/* The inside of a raw string; nothing for what is no string. */
static void add_inside(struct strbuf *out, struct span raw)
{
    if (is_text(raw))
        strbuf_add_n(out, raw.p + 1, raw.n - 2);
}

static void tell_made_text(struct reader *r, struct strbuf *text)
{
    if (!text->failed)
        emit(r, (struct chat_event){.kind = CHAT_TEXT, .text = strbuf_span(text)});
    strbuf_release(text);
}

/* A picture, or sound, that the model made. Clients of a chat have no place for one in an answer;
 * as a link in the text it is at least not lost. */
static void tell_media(struct reader *r, struct span blob)
{
    struct strbuf out = strbuf_heap(blob.n + 64);
    struct span mime = {0}, data = {0};

    read_two(blob, "mimeType", &mime, "data", &data);
    strbuf_add(&out, span_starts(mime, "\"image") ? "\"![image](data:" : "\"[media](data:");
    add_inside(&out, mime);
    strbuf_add(&out, ";base64,");
    add_inside(&out, data);
    strbuf_add(&out, ")\"");
    tell_made_text(r, &out);
}

/* What the model ran at the provider, and what came of it: as code in the text. */
static void tell_code(struct reader *r, struct span object, bool result)
{
    struct strbuf out = strbuf_heap(object.n + 64);
    struct span language = {0}, text = {0};

    read_two(object, result ? "output" : "code", &text, "language", &language);
    strbuf_add(&out, "\"\\n```");
    if (json_is_string(language, "PYTHON"))
        strbuf_add(&out, "python");
    strbuf_add(&out, "\\n");
    add_inside(&out, text);
    strbuf_add(&out, "\\n```\\n\"");
    tell_made_text(r, &out);
}

/* An identifier for a call that came without: the same for the same answer, and another for each
 * call of it. */
static struct span make_id(struct reader *r, unsigned tool, char *out, size_t size)
{
    struct strbuf id = strbuf_on(out, size);
    uint8_t digest[HASH_SHA256_BYTES];

    if (r->seed_hex[0] == '\0') {
        hash_sha256(r->seed, digest);
        hash_hex(digest, SEED_BYTES, r->seed_hex);
    }
    strbuf_addf(&id, "\"call_%s_", r->seed_hex);
    if (r->choice != 0)
        strbuf_addf(&id, "%u_", r->choice);
    strbuf_addf(&id, "%u\"", tool);
    return strbuf_span(&id);
}

static void tell_call(struct reader *r, struct span id, struct span name, struct span args,
                      struct span signature)
{
    unsigned tool = next_call(r->state, r->choice);
    struct strbuf text;
    char made[64];

    r->state->calling = true;
    r->state->choice = r->choice;
    r->state->tool = tool;
    if (r->sink == NULL)
        return;
    if (!is_text(id))
        id = make_id(r, tool, made, sizeof(made));
    emit(r, (struct chat_event){.kind = CHAT_TOOL_START, .tool = tool, .id = id, .name = name});
    if (json_type_of(args) != JSON_OBJECT)
        args = SPAN("{}");
    text = strbuf_heap(6 * args.n + 2);
    json_add_string(&text, args);
    emit(r, (struct chat_event){.kind = CHAT_TOOL_ARGS, .tool = tool, .text = strbuf_span(&text)});
    strbuf_release(&text);
    if (is_text(signature))
        emit(r, (struct chat_event){.kind = CHAT_SIGNATURE,
                                    .tool = tool,
                                    .text = signature,
                                    .id = SPAN("\"gemini\""),
                                    .name = SPAN("\"tool\"")});
}

/* A call stands in one part. Only who asks for it gets one in pieces; nobody here does. */
static void read_call(struct reader *r, struct span call, struct span signature)
{
    struct json j = json_read(call);
    struct span key, id = {0}, name = {0}, args = {0};

    if (!json_enter(&j, JSON_OBJECT))
        return;
    while (json_member(&j, &key)) {
        struct span raw = json_take(&j);

        if (span_is(key, "id"))
            id = raw;
        else if (span_is(key, "name"))
            name = raw;
        else if (span_is(key, "args"))
            args = raw;
        else if (span_is(key, "partialArgs") || span_is(key, "willContinue"))
            r->found.partial_args |= is_filled(raw);
    }
    if (!is_text(name))
        return;
    r->found.output = r->found.tools = r->called = true;
    if (r->state != NULL)
        tell_call(r, id, name, args, signature);
}

static void tell_part(struct reader *r, const struct part_read *p)
{
    bool thought = json_type_of(p->thought) == JSON_TRUE;

    r->found.told += is_text(p->text) + is_filled(p->image) + is_filled(p->code) +
                     is_filled(p->code_result) + (p->call.n != 0) + is_text(p->signature);
    r->found.text = p->text;
    r->found.thought = thought;
    if (is_text(p->text)) {
        r->found.output = true;
        emit(r, (struct chat_event){.kind = thought ? CHAT_REASONING : CHAT_TEXT, .text = p->text});
    }
    if (is_filled(p->image)) {
        r->found.output = true;
        if (r->sink != NULL)
            tell_media(r, p->image);
    }
    if (is_filled(p->code)) {
        r->found.output = true;
        if (r->sink != NULL)
            tell_code(r, p->code, false);
    }
    if (is_filled(p->code_result)) {
        r->found.output = true;
        if (r->sink != NULL)
            tell_code(r, p->code_result, true);
    }
    if (p->call.n != 0)
        read_call(r, p->call, p->signature);
    else if (is_text(p->signature)) /* also on an empty text: it is for the next turn */
        emit(r, (struct chat_event){
                    .kind = CHAT_SIGNATURE, .text = p->signature, .id = SPAN("\"gemini\"")});
}

static void read_part(struct reader *r)
{
    struct part_read p = {0};
    struct span key;

    if (!json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key)) {
        struct span raw = json_take(&r->j);

        if (span_is(key, "text"))
            p.text = raw;
        else if (span_is(key, "thought"))
            p.thought = raw;
        else if (span_is(key, "thoughtSignature"))
            p.signature = raw;
        else if (span_is(key, "functionCall"))
            p.call = raw;
        else if (span_is(key, "inlineData"))
            p.image = raw;
        else if (span_is(key, "executableCode"))
            p.code = raw;
        else if (span_is(key, "codeExecutionResult"))
            p.code_result = raw;
    }
    tell_part(r, &p);
}

static void read_content(struct reader *r)
{
    struct span key;

    if (!json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key)) {
        if (!span_is(key, "parts") || !json_enter(&r->j, JSON_ARRAY)) {
            json_take(&r->j);
            continue;
        }
        while (json_item(&r->j))
            read_part(r);
    }
}

/* ---- candidates ---- */

/* A call that the model got wrong: another try may well do. */
static bool is_bad_finish(struct span raw)
{
    return json_is_string(raw, "MALFORMED_FUNCTION_CALL") ||
           json_is_string(raw, "UNEXPECTED_TOOL_CALL") ||
           json_is_string(raw, "TOO_MANY_TOOL_CALLS") || span_is(raw, "9");
}

/* Numbers come where enums were asked for as integers. Unknown reasons are a plain end. */
static enum gemini_stop stop_of(struct span raw)
{
    static const struct {
        const char *word, *number;
        enum gemini_stop stop;
    } known[] = {
        {"FINISH_REASON_UNSPECIFIED", "0", GEMINI_GOES_ON},
        {"MAX_TOKENS", "2", GEMINI_LENGTH},
        {"SAFETY", "3", GEMINI_FILTER},
        {"RECITATION", "4", GEMINI_FILTER},
        {"BLOCKLIST", "6", GEMINI_FILTER},
        {"PROHIBITED_CONTENT", "7", GEMINI_FILTER},
        {"SPII", "8", GEMINI_FILTER},
        {"IMAGE_SAFETY", "", GEMINI_FILTER},
        {"IMAGE_PROHIBITED_CONTENT", "", GEMINI_FILTER},
        {"IMAGE_RECITATION", "", GEMINI_FILTER},
        {"MODEL_ARMOR", "", GEMINI_FILTER},
    };

    if (!is_text(raw) && json_type_of(raw) != JSON_NUMBER)
        return GEMINI_GOES_ON;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (json_is_string(raw, known[i].word) || span_is(raw, known[i].number))
            return known[i].stop;
    return GEMINI_STOP;
}

/* Tells the reason, unless it was told before. */
static void tell_stop(struct reader *r, enum gemini_stop stop)
{
    static const char *const words[] = {
        [GEMINI_STOP] = "\"stop\"",
        [GEMINI_TOOLS] = "\"tool_calls\"",
        [GEMINI_LENGTH] = "\"length\"",
        [GEMINI_FILTER] = "\"content_filter\"",
    };
    unsigned shift = 3 * r->choice, said;

    if (r->state == NULL)
        return;
    said = r->state->own[GEMINI_SAID] >> shift & 7;
    if (said == (unsigned)stop || (said != GEMINI_GOES_ON && stop == GEMINI_STOP))
        return;
    r->state->own[GEMINI_SAID] &= ~(7u << shift);
    r->state->own[GEMINI_SAID] |= (unsigned)stop << shift;
    emit(r, (struct chat_event){.kind = CHAT_STOP, .text = span_of(words[stop])});
}

static void end_candidate(struct reader *r, struct span finish)
{
    uint64_t bit = (uint64_t)1 << r->choice;
    enum gemini_stop stop = stop_of(finish);
    bool closed = ((r->watch->closed | r->found.closed) & bit) != 0;
    bool calls = r->called || (r->state != NULL && has_called(r->state, r->choice));

    r->found.begun |= bit;
    if (stop == GEMINI_GOES_ON) {
        if (closed && r->called) /* behind its end: then the calls are what it ended with */
            tell_stop(r, GEMINI_TOOLS);
        return;
    }
    if (is_bad_finish(finish))
        r->found.bad_finish = finish;
    if (stop == GEMINI_STOP && calls)
        stop = GEMINI_TOOLS;
    r->found.cut_short |= stop == GEMINI_LENGTH || stop == GEMINI_FILTER;
    r->found.closed |= bit;
    tell_stop(r, stop);
}

/* Events must name their choice, and `index` may stand behind the content. Where it is missing it
 * is 0, as proto JSON leaves it out. False for one that nobody can have asked for. */
static bool find_index(struct reader *r)
{
    struct json ahead = r->j;
    struct span key;
    int64_t index = 0;

    if (!json_enter(&ahead, JSON_OBJECT))
        return false;
    while (json_member(&ahead, &key)) {
        struct span raw = json_take(&ahead);

        if (span_is(key, "index") && !json_to_i64(raw, &index))
            index = 0;
    }
    r->choice = (unsigned)index;
    return index >= 0 && index < GEMINI_CHOICES;
}

static void read_candidate(struct reader *r)
{
    struct span key, finish = {0}, message = {0};

    r->called = false;
    if (!find_index(r) || !json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key)) {
        if (span_is(key, "content"))
            read_content(r);
        else if (span_is(key, "finishReason"))
            finish = json_take(&r->j);
        else if (span_is(key, "finishMessage"))
            message = json_take(&r->j);
        else
            json_take(&r->j);
    }
    end_candidate(r, finish);
    if (r->found.bad_finish.n != 0)
        r->found.bad_detail = message;
}

static void read_candidates(struct reader *r)
{
    r->found.candidates = true;
    if (!json_enter(&r->j, JSON_ARRAY)) {
        json_take(&r->j);
        return;
    }
    while (json_item(&r->j))
        read_candidate(r);
}

/* ---- the rest of a fragment ---- */

static void read_feedback(struct reader *r)
{
    struct span key;

    if (!json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key)) {
        struct span raw = json_take(&r->j);

        if (span_is(key, "blockReason") && is_filled(raw))
            r->found.blocked = true;
    }
}

uint64_t gemini_count(struct span raw)
{
    int64_t v;

    return json_to_i64(raw, &v) && v > 0 ? (uint64_t)v : 0;
}

static uint64_t count(struct json *j)
{
    return gemini_count(json_take(j));
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Each one replaces the one before. Counts of 0 are left out; one without any count (Vertex, in the
 * middle of a stream) says nothing. */
static void read_usage(struct reader *r)
{
    struct chat_usage u = {0};
    struct span key;

    if (!json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key)) {
        if (span_is(key, "promptTokenCount") || span_is(key, "toolUsePromptTokenCount")) {
            u.input += count(&r->j);
            u.seen = true;
        } else if (span_is(key, "candidatesTokenCount")) {
            r->found.n_candidates = json_take(&r->j);
            u.output += gemini_count(r->found.n_candidates);
            u.seen = true;
        } else if (span_is(key, "thoughtsTokenCount")) {
            r->found.n_thoughts = json_take(&r->j);
            u.reasoning = gemini_count(r->found.n_thoughts);
            u.seen = true;
        } else if (span_is(key, "totalTokenCount")) {
            r->found.n_total = json_take(&r->j);
        } else if (span_is(key, "cachedContentTokenCount")) {
            u.cached = count(&r->j);
        } else {
            json_take(&r->j);
        }
    }
    u.output += u.reasoning;
    u.cached = smaller(u.cached, u.input);
    if (u.seen)
        r->found.usage = u;
}

static void read_fragment(struct reader *r)
{
    struct span key;

    if (!json_enter(&r->j, JSON_OBJECT)) {
        json_take(&r->j);
        return;
    }
    while (json_member(&r->j, &key)) {
        if (span_is(key, "candidates"))
            read_candidates(r);
        else if (span_is(key, "usageMetadata"))
            read_usage(r);
        else if (span_is(key, "promptFeedback"))
            read_feedback(r);
        else if (span_is(key, "responseId"))
            r->found.id = json_take(&r->j);
        else if (span_is(key, "modelVersion"))
            r->found.model = json_take(&r->j);
        else if (span_is(key, "error"))
            r->found.error |= is_filled(json_take(&r->j));
        else
            json_take(&r->j);
    }
}

static void read_all(struct reader *r)
{
    if (!json_enter(&r->j, JSON_ARRAY)) {
        read_fragment(r);
        return;
    }
    while (json_item(&r->j))
        read_fragment(r);
}

/* A refused prompt is an answer without content, of one choice. */
static void close_blocked(struct reader *r)
{
    if (!r->found.blocked || ((r->watch->closed | r->found.closed) & 1) != 0)
        return;
    r->choice = 0;
    r->found.begun |= 1;
    r->found.closed |= 1;
    r->found.cut_short = true;
    tell_stop(r, GEMINI_FILTER);
}

bool gemini_look(struct span text, const struct chat_watch *watch, struct gemini_found *found)
{
    struct reader r;

    memset(&r, 0, sizeof(r));
    r.j = json_read(text);
    r.watch = watch;
    read_all(&r);
    close_blocked(&r);
    *found = r.found;
    return json_end(&r.j);
}

void gemini_tell(struct span text, struct chat_watch *watch, const struct gemini_found *found,
                 chat_sink *sink, void *ctx)
{
    const struct chat_watch before = *watch;
    struct reader r;

    memset(&r, 0, sizeof(r));
    r.j = json_read(text);
    r.watch = &before;
    r.state = watch;
    r.sink = sink;
    r.ctx = ctx;
    r.seed = is_text(found->id) ? found->id : text;
    if (found->begun != 0 && before.begun == 0)
        emit(&r, (struct chat_event){.kind = CHAT_START, .id = found->id, .name = found->model});
    read_all(&r);
    close_blocked(&r);
    if (found->blocked)
        watch->own[GEMINI_SAID] |= GEMINI_BLOCKED;
    r.choice = 0;
    if (found->usage.seen)
        emit(&r, (struct chat_event){.kind = CHAT_USAGE, .usage = found->usage});
}
