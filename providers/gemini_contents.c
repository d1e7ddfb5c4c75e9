#include "providers/gemini_in.h"

/* A call of the model's turn before, which a result may answer. */
struct waiting {
    struct waiting *next;
    struct span own; /* raw: the client's id, or empty */
    struct span id;  /* raw: the id it goes by */
    struct span name;
    bool answered;
};

struct turns;

/* The parts of one message. */
struct parts {
    struct turns *t;
    enum role role;
    struct part **last;
    struct part *thought; /* visible reasoning that is not signed yet */
    struct strbuf thought_text;
    bool only_results;
};

struct turns {
    struct request_reader *r;
    struct message **last;
    struct message *message;            /* the one being read */
    struct parts parts;                 /* of it */
    struct waiting *calls, **last_call; /* since the last content that was not the model's */
    unsigned content;                   /* number of the one being read */
};

static struct part *add_part(struct parts *to, enum part_kind kind, struct span path)
{
    struct part *p = arena_zalloc(to->t->r->arena, sizeof(*p));

    p->kind = kind;
    p->path = path;
    *to->last = p;
    to->last = &p->next;
    if (kind != PART_TOOL_RESULT)
        to->only_results = false;
    return p;
}

static bool is_text(struct span raw)
{
    return json_type_of(raw) == JSON_STRING && raw.n > 2;
}

/* ---- what was thought ---- */

/* Closes the text that was gathered: one piece of reasoning, signed or not. */
static void end_thought(struct parts *to)
{
    if (to->thought == NULL)
        return;
    if (to->thought_text.len == 0)
        strbuf_add_char(&to->thought_text, '"');
    strbuf_add_char(&to->thought_text, '"');
    to->thought->text = strbuf_span(&to->thought_text);
    to->thought = NULL;
}

/* Streams give it in pieces, which clients keep as parts of their own. */
static void add_thought(struct parts *to, struct span text, struct span path)
{
    if (to->thought == NULL) {
        to->thought = add_part(to, PART_REASONING, path);
        to->thought_text = strbuf_in(to->t->r->arena, to->t->r->body_bytes + 2);
    }
    raw_add_joined(&to->thought_text, text, to->thought_text.len == 0, "");
}

/* Whose it is, and what it belongs to, stands in it. Google's own belongs to the part. */
static void add_state(struct parts *to, struct span raw, struct span path, struct part *call)
{
    struct gemini_state state;
    bool foreign = gemini_read_state(raw, to->t->r->arena, &state);
    struct part *p = call;

    if (foreign && state.kind == GEMINI_MARK)
        return;
    if (!foreign && json_is_string(raw, GEMINI_SENTINEL))
        return; /* the same in Google's words */
    if (p == NULL && foreign && state.kind == GEMINI_SIGNED && to->thought != NULL) {
        p = to->thought;
        end_thought(to);
    }
    if (p == NULL && foreign && state.kind == GEMINI_SIGNED) { /* what it signs is gone */
        request_other(to->t->r, path);
        return;
    }
    if (p == NULL) {
        end_thought(to);
        p = add_part(to, PART_REASONING, path);
        if (!foreign || state.kind == GEMINI_BARE)
            p->text = SPAN("\"\"");
    }
    p->signature = foreign ? state.state : raw;
    p->origin = foreign ? state.origin : SPAN("gemini");
}

/* ---- media ---- */

static int read_blob(struct parts *to, struct span raw, struct span path, enum part_kind *kind,
                     struct part *p)
{
    enum { MIME, DATA, NAME, FIELDS };
    static const char *const names[] = {"mimeType", "data", "displayName", NULL};
    struct request_reader *r = to->t->r;
    struct span v[FIELDS] = {0};

    p->within = path;
    if (request_object(r, raw, path, names, v) < 0 ||
        request_string(r, v[NAME], path, names[NAME], &p->name) < 0)
        return -1;
    p->mime = json_text(v[MIME], r->arena);
    if (p->mime.n == 0 || memchr(p->mime.p, '/', p->mime.n) == NULL)
        return request_expected_value(r, request_path(r, path, names[MIME]),
                                      "a media type such as image/png", v[MIME]);
    for (size_t i = 0; i < p->mime.n; i++)
        if (p->mime.p[i] <= ' ' || p->mime.p[i] >= 0x7f || p->mime.p[i] == '"' ||
            p->mime.p[i] == '\\')
            return request_expected(r, request_path(r, path, names[MIME]),
                                    "a media type such as image/png", v[MIME]);
    if (!request_base64(r, json_text(v[DATA], r->arena), &p->data))
        return request_expected(r, request_path(r, path, names[DATA]), "base64", v[DATA]);
    *kind = span_starts(p->mime, "image/")   ? PART_IMAGE
            : span_starts(p->mime, "audio/") ? PART_AUDIO
            : span_starts(p->mime, "video/") ? PART_VIDEO
                                             : PART_DOCUMENT;
    return 0;
}

int gemini_refuse_bound(struct request_reader *r, struct span path)
{
    return err_set(r->e, ERR_BOUND,
                   "%.*s: lives at Google, expected a request that stands alone for a provider of "
                   "another dialect",
                   SPAN_ARG(path));
}

static int read_file(struct parts *to, struct span raw, struct span path, enum part_kind *kind,
                     struct part *p)
{
    enum { MIME, URI, NAME, FIELDS };
    static const char *const names[] = {"mimeType", "fileUri", "displayName", NULL};
    struct request_reader *r = to->t->r;
    struct span v[FIELDS] = {0}, uri;

    p->within = path;
    if (request_object(r, raw, path, names, v) < 0 ||
        request_string(r, v[NAME], path, names[NAME], &p->name) < 0)
        return -1;
    p->mime = json_text(v[MIME], r->arena);
    uri = json_text(v[URI], r->arena);
    if (!is_text(v[URI]))
        return request_expected(r, request_path(r, path, names[URI]), "a file's URI", v[URI]);
    if (!request_is_web_url(uri) || span_starts(uri, "https://generativelanguage.googleapis.com/"))
        return gemini_refuse_bound(r, request_path(r, path, names[URI]));
    p->url = v[URI];
    *kind = span_starts(p->mime, "image/")   ? PART_IMAGE
            : span_starts(p->mime, "audio/") ? PART_AUDIO
            : span_starts(p->mime, "video/") ? PART_VIDEO
                                             : PART_DOCUMENT;
    return 0;
}

static int add_media(struct parts *to, struct span raw, struct span path, const char *name,
                     int (*read)(struct parts *, struct span, struct span, enum part_kind *,
                                 struct part *))
{
    struct part *p = add_part(to, PART_DOCUMENT, path);

    return read(to, raw, request_path(to->t->r, path, name), &p->kind, p);
}

/* ---- calls and results ---- */

static int read_call(struct parts *to, struct span raw, struct span path, unsigned index,
                     struct span signature, struct span signature_path)
{
    enum { ID, NAME, ARGS, FIELDS };
    static const char *const names[] = {"id", "name", "args", NULL};
    struct request_reader *r = to->t->r;
    struct span v[FIELDS] = {0}, at = request_path(r, path, "functionCall");
    struct waiting *w = arena_zalloc(r->arena, sizeof(*w));
    struct part *p;

    if (request_object(r, raw, at, names, v) < 0 ||
        request_string(r, v[ID], at, names[ID], &w->own) < 0)
        return -1;
    if (!is_text(v[NAME]))
        return request_expected_value(r, request_path(r, at, names[NAME]), "the function's name",
                                      v[NAME]);
    if (v[ARGS].n != 0 && json_type_of(v[ARGS]) != JSON_OBJECT)
        return request_expected(r, request_path(r, at, names[ARGS]), "an object", v[ARGS]);
    if (!is_text(w->own))
        w->own = (struct span){0};
    /* The place of a call stays the same when the history grows. */
    w->id = w->own.n != 0
                ? w->own
                : span_of(arena_printf(r->arena, "\"call_%u_%u\"", to->t->content, index));
    w->name = v[NAME];
    *to->t->last_call = w;
    to->t->last_call = &w->next;

    p = add_part(to, PART_TOOL_CALL, path);
    p->within = at;
    p->id = w->id;
    p->name = v[NAME];
    p->arguments = v[ARGS].n != 0 ? v[ARGS] : SPAN("{}");
    if (is_text(signature))
        add_state(to, signature, signature_path, p);
    return 0;
}

/* By its id, where both have one; else the first call of that name which has no result yet. */
static struct waiting *find_call(struct turns *t, struct span id, struct span name)
{
    for (struct waiting *w = t->calls; w != NULL && id.n != 0; w = w->next)
        if (!w->answered && w->own.n != 0 && span_eq(w->own, id))
            return w;
    for (struct waiting *w = t->calls; w != NULL; w = w->next)
        if (!w->answered && span_eq(w->name, name))
            return w;
    return NULL;
}

/* The only member of an object, where it is this one and a string. */
static struct span sole_text(struct span object, const char *name)
{
    struct json j = json_read(object);
    struct span key, found = {0}, none = {0};
    bool wanted;

    json_enter(&j, JSON_OBJECT);
    if (!json_member(&j, &key))
        return none;
    wanted = span_is(key, name);
    found = json_take(&j);
    return wanted && json_type_of(found) == JSON_STRING && !json_member(&j, &key) ? found : none;
}

/* {"output": TEXT} and {"error": TEXT} are Google's words for a plain text; its SDK says "result".
 * Anything else is the text of the object. */
static void put_response(struct part *result, struct part *text, struct span raw, struct arena *a)
{
    static const char *const names[] = {"output", "result", "error"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        text->text = sole_text(raw, names[i]);
        if (text->text.n != 0) {
            result->is_error = strcmp(names[i], "error") == 0;
            return;
        }
    }
    text->text = chat_quote(raw, a);
}

static int read_result_media(struct parts *inner, struct span raw, struct span path)
{
    enum { BLOB, FILE_, FIELDS };
    static const char *const names[] = {"inlineData", "fileData", NULL};
    struct request_reader *r = inner->t->r;
    struct gemini_list l;
    struct span item, at;

    if (raw.n == 0)
        return 0;
    if (!gemini_list_begin(&l, raw, path))
        return request_expected(r, path, "an array of parts", raw);
    while (gemini_list_next(&l, r, &item, &at)) {
        struct span v[FIELDS] = {0};

        if (request_object(r, item, at, names, v) < 0)
            return -1;
        if (v[BLOB].n != 0 && add_media(inner, v[BLOB], at, names[BLOB], read_blob) < 0)
            return -1;
        if (v[FILE_].n != 0 && add_media(inner, v[FILE_], at, names[FILE_], read_file) < 0)
            return -1;
    }
    return 0;
}

static int read_result(struct parts *to, struct span raw, struct span path)
{
    enum { ID, NAME, RESPONSE, PARTS, FIELDS };
    static const char *const names[] = {"id", "name", "response", "parts", NULL};
    struct request_reader *r = to->t->r;
    struct span v[FIELDS] = {0}, at = request_path(r, path, "functionResponse");
    struct parts inner = {.t = to->t};
    struct waiting *call;
    struct part *p, *text;

    if (request_object(r, raw, at, names, v) < 0 ||
        request_string(r, v[ID], at, names[ID], &v[ID]) < 0)
        return -1;
    if (!is_text(v[NAME]))
        return request_expected_value(r, request_path(r, at, names[NAME]), "the function's name",
                                      v[NAME]);
    if (v[RESPONSE].n != 0 && json_type_of(v[RESPONSE]) != JSON_OBJECT)
        return request_expected(r, request_path(r, at, names[RESPONSE]), "an object", v[RESPONSE]);
    call = find_call(to->t, is_text(v[ID]) ? v[ID] : (struct span){0}, v[NAME]);
    if (call == NULL)
        return request_expected_value(
            r, request_path(r, at, names[NAME]),
            "the name of a functionCall in the model's content before it, "
            "each answered once",
            v[NAME]);
    call->answered = true;
    p = add_part(to, PART_TOOL_RESULT, path);
    p->within = at;
    p->id = call->id;
    inner.last = &p->inner;
    text = add_part(&inner, PART_TEXT, request_path(r, at, names[RESPONSE]));
    text->text = SPAN("\"\"");
    if (v[RESPONSE].n != 0)
        put_response(p, text, v[RESPONSE], r->arena);
    return read_result_media(&inner, v[PARTS], request_path(r, at, names[PARTS]));
}

/* ---- what the model ran at Google ---- */

static void add_inside(struct strbuf *out, struct span raw)
{
    if (is_text(raw))
        strbuf_add_n(out, raw.p + 1, raw.n - 2);
}

/* As code in the text, as answers have it for clients of other dialects. */
static int read_code(struct parts *to, struct span raw, struct span path, bool result)
{
    static const char *const code_names[] = {"code", "language", "id", NULL};
    static const char *const result_names[] = {"output", "outcome", "id", NULL};
    struct span v[3] = {0};
    struct strbuf out = strbuf_in(to->t->r->arena, raw.n + 64);

    path = request_path(to->t->r, path, result ? "codeExecutionResult" : "executableCode");
    if (request_object(to->t->r, raw, path, result ? result_names : code_names, v) < 0)
        return -1;
    strbuf_add(&out, json_is_string(v[1], "PYTHON") ? "\"\\n```python\\n" : "\"\\n```\\n");
    add_inside(&out, v[0]);
    strbuf_add(&out, "\\n```\\n\"");
    end_thought(to);
    add_part(to, PART_TEXT, path)->text = strbuf_span(&out);
    return 0;
}

/* ---- one part ---- */

enum part_field {
    TEXT,
    THOUGHT,
    SIGNATURE,
    BLOB,
    FILE_,
    CALL,
    RESULT,
    CODE,
    CODE_RESULT,
    PART_FIELDS
};

static const char *const part_names[] = {
    "text",         "thought",          "thoughtSignature", "inlineData",          "fileData",
    "functionCall", "functionResponse", "executableCode",   "codeExecutionResult", NULL,
};
_Static_assert(ARRAY_LEN(part_names) == PART_FIELDS + 1, "a name for each field");

static int read_text(struct parts *to, const struct span *v, struct span path, bool thought)
{
    struct span at = request_path(to->t->r, path, part_names[TEXT]);

    if (json_type_of(v[TEXT]) != JSON_STRING)
        return request_expected(to->t->r, at, "a string", v[TEXT]);
    if (thought && to->role == ROLE_ASSISTANT) {
        if (v[TEXT].n > 2)
            add_thought(to, v[TEXT], path);
    } else if (thought) { /* nobody else thinks */
        request_other(to->t->r, path);
    } else if (v[TEXT].n > 2) {
        end_thought(to);
        add_part(to, PART_TEXT, at)->text = v[TEXT];
    }
    return 0;
}

/* What stands in a part; one thing as a rule, and in this order. */
static int read_part(struct parts *to, struct span raw, struct span path, unsigned index)
{
    struct request_reader *r = to->t->r;
    struct span v[PART_FIELDS] = {0}, signature_path;
    bool thought = false, model = to->role == ROLE_ASSISTANT;

    if (request_object(r, raw, path, part_names, v) < 0 ||
        request_bool(r, v[THOUGHT], path, part_names[THOUGHT], &thought) < 0 ||
        request_string(r, v[SIGNATURE], path, part_names[SIGNATURE], &v[SIGNATURE]) < 0)
        return -1;
    signature_path = request_path(r, path, part_names[SIGNATURE]);
    if (v[TEXT].n != 0 && read_text(to, v, path, thought) < 0)
        return -1;
    if (v[CALL].n + v[RESULT].n + v[BLOB].n + v[FILE_].n != 0)
        end_thought(to);
    if (v[BLOB].n != 0 && add_media(to, v[BLOB], path, part_names[BLOB], read_blob) < 0)
        return -1;
    if (v[FILE_].n != 0 && add_media(to, v[FILE_], path, part_names[FILE_], read_file) < 0)
        return -1;
    if (v[CODE].n != 0 && read_code(to, v[CODE], path, false) < 0)
        return -1;
    if (v[CODE_RESULT].n != 0 && read_code(to, v[CODE_RESULT], path, true) < 0)
        return -1;
    if (v[RESULT].n != 0 && read_result(to, v[RESULT], path) < 0)
        return -1;
    if (v[CALL].n != 0)
        return read_call(to, v[CALL], path, index, v[SIGNATURE], signature_path);
    if (!is_text(v[SIGNATURE]))
        return 0;
    if (model)
        add_state(to, v[SIGNATURE], signature_path, NULL);
    else
        request_other(r, signature_path);
    return 0;
}

/* ---- contents ---- */

static int read_parts(struct parts *to, struct span raw, struct span path)
{
    struct request_reader *r = to->t->r;
    struct gemini_list l;
    struct span item, at;
    unsigned i = 0;

    if (raw.n != 0) {
        if (!gemini_list_begin(&l, raw, path))
            return request_expected(r, path, "an array of parts", raw);
        while (gemini_list_next(&l, r, &item, &at))
            if (read_part(to, item, at, i++) < 0)
                return -1;
    }
    return 0;
}

static int read_role(struct turns *t, struct span raw, struct span path, enum role *out)
{
    static const struct {
        const char *name;
        enum role role;
    } roles[] = {{"user", ROLE_USER}, {"model", ROLE_ASSISTANT}, {"function", ROLE_USER}};

    *out = ROLE_USER;
    if (raw.n <= 2 && (raw.n == 0 || json_type_of(raw) == JSON_STRING))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (json_is_string(raw, roles[i].name)) {
            *out = roles[i].role;
            return 0;
        }
    return request_expected_value(t->r, request_path(t->r, path, "role"), "user or model", raw);
}

static void end_message(struct turns *t)
{
    struct message *m = t->message;

    if (m == NULL)
        return;
    end_thought(&t->parts);
    if (m->parts == NULL)
        add_part(&t->parts, PART_TEXT, m->path)->text = SPAN("\"\"");
    else if (m->role == ROLE_USER && t->parts.only_results)
        m->role = ROLE_TOOL;
    t->message = NULL;
}

static void begin_message(struct turns *t, enum role role, struct span path)
{
    struct message *m = arena_zalloc(t->r->arena, sizeof(*m));

    end_message(t);
    m->path = path;
    m->role = role;
    *t->last = t->message = m;
    t->last = &m->next;
    t->parts = (struct parts){.t = t, .role = role, .last = &m->parts, .only_results = true};
    if (role == ROLE_ASSISTANT) {
        t->calls = NULL;
        t->last_call = &t->calls;
    }
}

/* Clients that gather a stream may keep each piece as a content of its own: what the model said in
 * a row is one message. */
static int read_content(struct turns *t, struct span raw, struct span path, bool system)
{
    static const char *const names[] = {"role", "parts", NULL};
    enum role role = ROLE_SYSTEM; /* whatever role stands in it */
    struct span v[2] = {0};

    if (request_object(t->r, raw, path, names, v) < 0)
        return -1;
    if (!system && read_role(t, v[0], path, &role) < 0)
        return -1;
    if (role != ROLE_ASSISTANT || t->message == NULL || t->message->role != ROLE_ASSISTANT)
        begin_message(t, role, path);
    return read_parts(&t->parts, v[1], request_path(t->r, path, names[1]));
}

int gemini_read_contents(struct request_reader *r, struct span system, struct span contents)
{
    struct turns t = {.r = r, .last = &r->out->messages};
    struct gemini_list l;
    struct span item, at;

    t.last_call = &t.calls;
    if (system.n != 0 && read_content(&t, system, SPAN("systemInstruction"), true) < 0)
        return -1;
    if (!gemini_list_begin(&l, contents, SPAN("contents")))
        return request_expected(r, SPAN("contents"), "an array with at least one content",
                                contents);
    for (; gemini_list_next(&l, r, &item, &at); t.content++)
        if (read_content(&t, item, at, false) < 0)
            return -1;
    end_message(&t);
    return 0;
}
