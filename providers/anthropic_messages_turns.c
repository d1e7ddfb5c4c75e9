#include <stdio.h>

#include "providers/anthropic_messages.h"

#include "proxy/base/base64.h"
#include "proxy/base/hash.h"

/* ---- tool calls and their ids ---- */

/* All calls of the conversation with the same id. Ids may come back in later turns (some providers
 * number from 0) or be missing, so a result belongs to the oldest call with its id that has none
 * yet, and an id is written as it was sent only the first time. */
struct known_id {
    struct span id; /* decoded */
    unsigned calls; /* with this id so far */
    struct call *waiting, *last_waiting;
};

struct call {
    struct call *next, *next_waiting;
    struct part *part;
    struct part *result;
    struct span id; /* as it is written: raw */
};

struct ids {
    struct known_id **slots;
    size_t mask;
};

static uint64_t hash_of(struct span text)
{
    uint64_t h = span_hash(text);

    return h ^ h >> 32;
}

/* Room for twice as many as there are, so that a free slot is always near. */
static void ids_init(struct ids *ids, size_t calls, struct arena *a)
{
    size_t n = 16;

    while (n < 2 * calls)
        n *= 2;
    ids->slots = arena_zalloc(a, n * sizeof(struct known_id *));
    ids->mask = n - 1;
}

/* The entry of an id; with an arena it is made where there is none, else NULL. */
static struct known_id *ids_find(struct ids *ids, struct span id, struct arena *make)
{
    size_t at = hash_of(id) & ids->mask;

    while (ids->slots[at] != NULL && !span_eq(ids->slots[at]->id, id))
        at = (at + 1) & ids->mask;
    if (ids->slots[at] == NULL && make != NULL) {
        ids->slots[at] = arena_zalloc(make, sizeof(struct known_id));
        ids->slots[at]->id = id;
    }
    return ids->slots[at];
}

bool anthropic_is_plain(struct span text, size_t most)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-'))
            return false;
    }
    return text.n != 0 && text.n <= most;
}

/* The same id at every attempt and in every later request that holds the same history. */
static struct span derived_id(struct span id, unsigned times, struct arena *a)
{
    char *text = arena_printf(a, "%u:%.*s", times, SPAN_ARG(id)), hex[25];
    uint8_t digest[HASH_SHA256_BYTES];

    hash_sha256(span_of(text), digest);
    hash_hex(digest, 12, hex);
    return span_of(arena_printf(a, "\"call_%s\"", hex));
}

static struct span id_to_write(struct known_id *known, struct arena *a)
{
    bool again = known->calls++ != 0;

    if (!again && anthropic_is_plain(known->id, 64))
        return chat_quote(known->id, a);
    return derived_id(known->id, known->calls, a);
}

/* ---- the turns ---- */

/* Messages of one side that follow each other: Anthropic wants the sides to alternate. */
struct run {
    bool user;
    const struct message *first, *end; /* end: behind the last one */
};

struct turns {
    struct anthropic_writer *w;
    struct ids ids, names; /* of calls; of the tools they call */
    struct name_list **last_called;
    struct call *calls, *last_call;   /* of the assistant's run before */
    bool any;                         /* a message was written */
    bool blocks;                      /* a block of the message was written */
    bool called;                      /* the current turn has a tool call */
    bool strip;                       /* this is the last message: no white space at its end */
    const struct message *system_end; /* those before it are the system prompt */
    const struct message *turn;       /* the current turn begins behind it: the last real user */
};

static bool is_system(const struct message *m)
{
    return m->role == ROLE_SYSTEM || m->role == ROLE_DEVELOPER;
}

static bool is_said(const struct part *p)
{
    if (p->kind == PART_TEXT || p->kind == PART_REFUSAL)
        return !raw_is_blank(p->text);
    return p->kind != PART_REASONING;
}

/* Is there anything to write? Reasoning alone is no message. */
static bool says_something(const struct message *m)
{
    for (const struct part *p = m->parts; p != NULL; p = p->next)
        if (is_said(p))
            return true;
    return false;
}

static int refuse(struct turns *t, struct span path, const char *what)
{
    return err_set(t->w->e, ERR_VALUE, "%.*s: %s", SPAN_ARG(path), what);
}

const char *anthropic_path(struct arena *a, struct span path, const char *name)
{
    return arena_printf(a, "%.*s.%s", SPAN_ARG(path), name);
}

static void drop_in(struct turns *t, struct span path, const char *name)
{
    drop_named(t->w->drops, anthropic_path(t->w->arena, path, name));
}

/* ---- media ---- */

static const char *sniff_image(struct span data)
{
    static const struct {
        const char *magic, *mime;
    } kinds[] = {{"iVBOR", "image/png"},
                 {"/9j/", "image/jpeg"},
                 {"_9j_", "image/jpeg"},
                 {"R0lGOD", "image/gif"},
                 {"UklGR", "image/webp"}};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (span_starts(data, kinds[i].magic))
            return kinds[i].mime;
    return NULL;
}

/* The bytes tell what an image is; a name that says otherwise would be refused. */
static const char *image_type(const struct part *p)
{
    static const char *const known[] = {"image/png", "image/jpeg", "image/gif", "image/webp"};
    const char *mime = sniff_image(p->data);

    for (size_t i = 0; mime == NULL && i < ARRAY_LEN(known); i++)
        if (span_is_nocase(p->mime, known[i]))
            mime = known[i];
    return mime;
}

static struct span without_padding(struct span data)
{
    while (data.n != 0 && data.p[data.n - 1] == '=')
        data.n--;
    return data;
}

static bool is_base64(struct span data)
{
    data = without_padding(data);
    for (size_t i = 0; i < data.n; i++)
        if (base64_digit(data.p[i]) < 0)
            return false;
    return data.n % 4 != 1;
}

/* As it was sent, in the usual alphabet. */
static void add_base64(struct strbuf *out, struct span data)
{
    char *to = strbuf_room(out, data.n);

    if (to == NULL)
        return;
    for (size_t i = 0; i < data.n; i++)
        to[i] = data.p[i] == '-' ? '+' : data.p[i] == '_' ? '/' : data.p[i];
    strbuf_added(out, data.n);
}

static struct span decode_base64(struct span data, struct arena *a)
{
    uint8_t *to = arena_alloc(a, data.n + 1);
    unsigned bits = 0, have = 0;
    size_t n = 0;

    data = without_padding(data);
    for (size_t i = 0; i < data.n; i++) {
        bits = bits << 6 | (unsigned)base64_digit(data.p[i]);
        have += 6;
        if (have >= 8)
            to[n++] = (uint8_t)(bits >> (have -= 8));
    }
    return (struct span){(const char *)to, n};
}

/* ---- blocks ---- */

static void open_block(struct turns *t, const char *type)
{
    strbuf_add(t->w->out, t->blocks ? ",{\"type\":\"" : "{\"type\":\"");
    strbuf_add(t->w->out, type);
    strbuf_add_char(t->w->out, '"');
    t->blocks = true;
}

static void add_field(struct turns *t, const char *name, struct span raw)
{
    strbuf_add_char(t->w->out, ',');
    json_add_name(t->w->out, name);
    strbuf_add_span(t->w->out, raw);
}

static void close_block(struct turns *t, const struct part *p)
{
    if (p->cache.n != 0)
        add_field(t, "cache_control", p->cache);
    strbuf_add_char(t->w->out, '}');
}

static void add_source(struct turns *t, const char *mime, struct span data)
{
    strbuf_addf(t->w->out, ",\"source\":{\"type\":\"base64\",\"media_type\":\"%s\",\"data\":\"",
                mime);
    add_base64(t->w->out, data);
    strbuf_add(t->w->out, "\"}");
}

static void add_url_source(struct turns *t, struct span url)
{
    strbuf_add(t->w->out, ",\"source\":{\"type\":\"url\",\"url\":");
    strbuf_add_span(t->w->out, url);
    strbuf_add_char(t->w->out, '}');
}

static int add_image(struct turns *t, const struct part *p)
{
    const char *mime = image_type(p);

    if (p->url.n == 0 && p->data.n == 0)
        return refuse(t, p->path,
                      p->file_id.n != 0 ? "a file's id is known to one provider only; expected an "
                                          "image's URL or its data"
                                        : "expected an image's URL or its data, got neither");
    if (p->url.n == 0 && mime == NULL)
        return refuse(t, p->path, "expected an image of type PNG, JPEG, GIF or WebP");
    if (p->url.n == 0 && !is_base64(p->data))
        return refuse(t, p->path, "expected an image's data as base64");
    if (p->detail.n != 0 && !json_is_string(p->detail, "auto"))
        drop_field(t->w->drops, part_field(p, "detail", t->w->arena));
    open_block(t, "image");
    if (p->url.n != 0)
        add_url_source(t, p->url);
    else
        add_source(t, mime, p->data);
    close_block(t, p);
    return 0;
}

static bool is_text_type(struct span mime)
{
    return (mime.n > 5 && span_is_nocase((struct span){mime.p, 5}, "text/")) ||
           span_is_nocase(mime, "application/json");
}

static int add_document(struct turns *t, const struct part *p)
{
    bool pdf = span_starts(p->data, "JVBERi") || span_is_nocase(p->mime, "application/pdf");

    if (p->url.n == 0 && p->data.n == 0)
        return refuse(t, p->path,
                      p->file_id.n != 0 ? "a file's id is known to one provider only; expected the "
                                          "file's data"
                                        : "expected a file's data or URL, got neither");
    if (p->url.n == 0 && !pdf && !is_text_type(p->mime))
        return refuse(t, p->path, "expected a file that is a PDF or text");
    if (p->url.n == 0 && !is_base64(p->data))
        return refuse(t, p->path, "expected a file's data as base64");
    open_block(t, "document");
    if (p->url.n != 0) {
        add_url_source(t, p->url);
    } else if (pdf) {
        add_source(t, "application/pdf", p->data);
    } else {
        strbuf_add(t->w->out,
                   ",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":");
        json_add_string(t->w->out, decode_base64(p->data, t->w->arena));
        strbuf_add_char(t->w->out, '}');
    }
    if (p->name.n != 0 && !raw_is_blank(p->name))
        add_field(t, "title", p->name);
    close_block(t, p);
    return 0;
}

/* The raw string without the white space at its end, still quoted. */
static struct span trim_end(struct span raw, struct arena *a)
{
    static const char *const escapes[] = {"\\n",     "\\t",     "\\r",     "\\f",     "\\u0020",
                                          "\\u000a", "\\u000d", "\\u0009", "\\u000A", "\\u000D"};
    size_t i = 1, end = 1;

    while (i + 1 < raw.n) {
        struct span rest = {raw.p + i, raw.n - i};
        bool white = raw.p[i] == ' ';
        size_t n = raw.p[i] != '\\' ? 1 : raw.p[i + 1] == 'u' ? 6 : 2;

        for (size_t k = 0; k < ARRAY_LEN(escapes) && !white; k++)
            white = span_starts(rest, escapes[k]);
        i += n;
        if (!white)
            end = i;
    }
    return span_of(arena_printf(a, "%.*s\"", (int)end, raw.p));
}

static void add_text(struct turns *t, const struct part *p, bool last)
{
    struct span text = p->text;

    if (raw_is_blank(text))
        return;
    open_block(t, "text");
    add_field(t, "text", t->strip && last ? trim_end(text, t->w->arena) : text);
    close_block(t, p);
}

static int add_media(struct turns *t, const struct part *p)
{
    switch (p->kind) {
    case PART_IMAGE:
        return add_image(t, p);
    case PART_DOCUMENT:
        return add_document(t, p);
    case PART_AUDIO:
        return refuse(t, p->path, "audio is not taken; expected text, an image or a document");
    default:
        return refuse(t, p->path, "video is not taken; expected text, an image or a document");
    }
}

/* ---- what the user says ---- */

/* One text goes as a plain string. */
static int add_result_content(struct turns *t, const struct part *result)
{
    const struct part *only = NULL;
    bool outer = t->blocks;
    unsigned n = 0;

    for (const struct part *p = result->inner; p != NULL; p = p->next)
        if (is_said(p)) {
            only = p;
            n++;
        }
    if (n == 0)
        return 0;
    if (n == 1 && only->kind == PART_TEXT && only->cache.n == 0) {
        add_field(t, "content", only->text);
        return 0;
    }
    strbuf_add(t->w->out, ",\"content\":[");
    t->blocks = false;
    for (const struct part *p = result->inner; p != NULL; p = p->next) {
        if (p->kind == PART_TEXT || p->kind == PART_REFUSAL || p->kind == PART_REASONING) {
            if (is_said(p))
                add_text(t, p, false);
        } else if (add_media(t, p) < 0) {
            return -1;
        }
    }
    strbuf_add_char(t->w->out, ']');
    t->blocks = outer;
    return 0;
}

/* Gives each result of the run to its call. */
static int match_results(struct turns *t, const struct run *run)
{
    for (const struct message *m = run->first; m != run->end; m = m->next)
        for (struct part *p = m->parts; p != NULL; p = p->next) {
            struct known_id *known;
            struct call *call;

            if (p->kind != PART_TOOL_RESULT)
                continue;
            known = ids_find(&t->ids, json_text(p->id, t->w->arena), NULL);
            call = known != NULL ? known->waiting : NULL;
            if (call == NULL)
                return refuse(t, p->path,
                              "the result of a tool call that the assistant's message before does "
                              "not hold; expected the id of one of its calls, each once");
            known->waiting = call->next_waiting;
            call->result = p;
        }
    return 0;
}

/* In the order of the calls, before anything else. */
static int add_results(struct turns *t)
{
    for (struct call *call = t->calls; call != NULL; call = call->next) {
        if (call->result == NULL)
            return refuse(t, call->part->path,
                          "a tool call without a result; expected a message of role tool with its "
                          "id behind it");
        open_block(t, "tool_result");
        add_field(t, "tool_use_id", call->id);
        if (add_result_content(t, call->result) < 0)
            return -1;
        if (call->result->is_error)
            strbuf_add(t->w->out, ",\"is_error\":true");
        close_block(t, call->result);
    }
    t->calls = t->last_call = NULL;
    return 0;
}

static int add_user_parts(struct turns *t, const struct message *m)
{
    for (const struct part *p = m->parts; p != NULL; p = p->next)
        switch (p->kind) {
        case PART_TEXT:
        case PART_REFUSAL:
            add_text(t, p, false);
            break;
        case PART_REASONING:
            drop_field(t->w->drops, p->path);
            break;
        case PART_TOOL_RESULT:
            break;
        case PART_TOOL_CALL:
            return refuse(t, p->path, "expected a tool call in a message of role assistant");
        default:
            if (add_media(t, p) < 0)
                return -1;
        }
    return 0;
}

/* ---- what the assistant says ---- */

static bool is_ours(const struct part *p)
{
    return p->signature.n != 0 && span_is(p->origin, "anthropic_messages");
}

/* Reasoning goes back to who signed it, byte by byte; to others it means nothing. */
static void add_reasoning(struct turns *t, const struct part *p)
{
    if (!is_ours(p)) {
        drop_field(t->w->drops, p->path);
    } else if (p->text.p == NULL) {
        open_block(t, "redacted_thinking");
        add_field(t, "data", p->signature);
        strbuf_add_char(t->w->out, '}');
    } else {
        open_block(t, "thinking");
        add_field(t, "thinking", p->text.n != 0 ? p->text : SPAN("\"\""));
        add_field(t, "signature", p->signature);
        strbuf_add_char(t->w->out, '}');
    }
}

static void add_arguments(struct turns *t, const struct part *p)
{
    strbuf_add(t->w->out, ",\"input\":");
    if (p->arguments.p != NULL) {
        strbuf_add_span(t->w->out, p->arguments);
    } else if (raw_is_blank(p->text)) {
        strbuf_add(t->w->out, "{}");
    } else { /* cut off as a rule: the model may see what it wrote */
        strbuf_add(t->w->out, "{\"_raw\":");
        strbuf_add_span(t->w->out, p->text);
        strbuf_add_char(t->w->out, '}');
    }
}

static void note_name(struct turns *t, struct span name, struct span raw)
{
    struct arena *a = t->w->arena;
    struct name_list *n;

    if (ids_find(&t->names, name, a)->calls++ != 0)
        return;
    n = arena_alloc(a, sizeof(*n));
    *n = (struct name_list){.name = raw};
    *t->last_called = n;
    t->last_called = &n->next;
}

static int add_call(struct turns *t, struct part *p)
{
    struct arena *a = t->w->arena;
    struct known_id *known = ids_find(&t->ids, json_text(p->id, a), a);
    struct call *call = arena_zalloc(a, sizeof(*call));
    struct span name = json_text(p->name, a);

    if (!anthropic_is_plain(name, 128))
        return refuse(t, p->path, "expected a tool's name of 1 to 128 letters, digits, _ and -");
    note_name(t, name, p->name);
    *call = (struct call){.part = p, .id = id_to_write(known, a)};
    if (t->last_call != NULL)
        t->last_call->next = call;
    else
        t->calls = call;
    t->last_call = call;
    if (known->waiting != NULL)
        known->last_waiting->next_waiting = call;
    else
        known->waiting = call;
    known->last_waiting = call;

    if (p->signature.n != 0) /* another provider's */
        drop_in(t, p->path, "signature");
    open_block(t, "tool_use");
    add_field(t, "id", call->id);
    add_field(t, "name", p->name);
    add_arguments(t, p);
    close_block(t, p);
    return 0;
}

/* Reasoning first, as it was thought before the rest. `last`: nothing follows in the request. */
static int add_assistant_parts(struct turns *t, const struct message *m, bool current, bool last)
{
    const struct part *final = NULL;
    bool thought = false, calls = false;

    for (const struct part *p = m->parts; p != NULL; p = p->next) {
        if (p->kind == PART_REASONING) {
            thought |= is_ours(p);
            add_reasoning(t, p);
        } else if (is_said(p)) {
            final = p;
        }
        calls |= p->kind == PART_TOOL_CALL;
    }
    if (current && calls && !t->called) {
        t->called = true;
        t->w->thought_missing = !thought;
    }
    for (struct part *p = m->parts; p != NULL; p = p->next)
        switch (p->kind) {
        case PART_TEXT:
        case PART_REFUSAL:
            add_text(t, p, last && p == final);
            break;
        case PART_REASONING:
            break;
        case PART_TOOL_CALL:
            if (add_call(t, p) < 0)
                return -1;
            break;
        default:
            return refuse(t, p->path, "expected text or a tool call in the assistant's message");
        }
    return 0;
}

/* ---- all of it ---- */

static bool is_user(const struct message *m)
{
    return m->role != ROLE_ASSISTANT;
}

static void drop_name(struct turns *t, const struct message *m)
{
    if (m->name.n != 0)
        drop_in(t, m->path, "name");
}

/* The next run of messages with something in them, from *at on. */
static bool next_run(const struct message **at, struct run *run)
{
    const struct message *m = *at;

    while (m != NULL && !says_something(m))
        m = m->next;
    if (m == NULL)
        return false;
    *run = (struct run){.user = is_user(m), .first = *at};
    for (; m != NULL && (!says_something(m) || is_user(m) == run->user); m = m->next)
        ;
    run->end = *at = m;
    return true;
}

static void open_message(struct turns *t, bool user)
{
    if (t->any)
        strbuf_add_char(t->w->out, ',');
    strbuf_add(t->w->out,
               user ? "{\"role\":\"user\",\"content\":[" : "{\"role\":\"assistant\",\"content\":[");
    t->any = true;
    t->blocks = false;
}

static int add_run(struct turns *t, const struct run *run, bool *current)
{
    open_message(t, run->user);
    if (run->user && (match_results(t, run) < 0 || add_results(t) < 0))
        return -1;
    t->strip = !run->user && run->end == NULL;
    for (const struct message *m = run->first; m != run->end; m = m->next) {
        bool last = true;

        *current |= m == t->turn;
        if (!says_something(m)) {
            for (const struct part *p = m->parts; p != NULL; p = p->next)
                if (p->kind == PART_REASONING)
                    drop_field(t->w->drops, p->path);
            continue;
        }
        for (const struct message *n = m->next; n != run->end; n = n->next)
            if (says_something(n)) {
                last = false;
                break;
            }
        drop_name(t, m);
        if ((run->user ? add_user_parts(t, m) : add_assistant_parts(t, m, *current, last)) < 0)
            return -1;
    }
    strbuf_add(t->w->out, "]}");
    return 0;
}

static int add_turns(struct turns *t)
{
    const struct message *at = t->system_end;
    bool current = t->turn == NULL;
    struct run run;

    strbuf_add(t->w->out, ",\"messages\":[");
    while (next_run(&at, &run)) {
        if (!t->any && !run.user) /* the first word must be the user's */
            strbuf_add(t->w->out, "{\"role\":\"user\",\"content\":\"(continued)\"}"), t->any = true;
        if (add_run(t, &run, &current) < 0)
            return -1;
    }
    if (!t->any)
        return err_set(t->w->e, ERR_VALUE,
                       "messages: expected at least one message with something in it");
    if (t->calls != NULL)
        return refuse(t, t->calls->part->path,
                      "a tool call without a result; expected a message of role tool with its id "
                      "behind it");
    strbuf_add_char(t->w->out, ']');
    return 0;
}

/* ---- the system prompt ---- */

static const char json_hint[] = "\"Answer with one JSON object and nothing else.\"";

static int check_system(struct turns *t, bool *cached)
{
    for (const struct message *m = t->w->c->messages; m != t->system_end; m = m->next) {
        drop_name(t, m);
        for (const struct part *p = m->parts; p != NULL; p = p->next) {
            if (p->kind != PART_TEXT)
                return refuse(t, p->path, "expected text in a system message");
            *cached |= p->cache.n != 0;
        }
    }
    return 0;
}

/* One string, or blocks where the client marked what to cache. */
static int add_system(struct turns *t)
{
    struct strbuf *out = t->w->out;
    bool cached = false, first = true;

    if (check_system(t, &cached) < 0)
        return -1;
    t->blocks = false;
    for (const struct message *m = t->w->c->messages; m != t->system_end; m = m->next)
        for (const struct part *p = m->parts; p != NULL; p = p->next) {
            if (raw_is_blank(p->text))
                continue;
            if (first)
                strbuf_add(out, cached ? ",\"system\":[" : ",\"system\":");
            if (cached)
                add_text(t, p, false);
            else
                raw_add_joined(out, p->text, first, "\\n\\n");
            first = false;
        }
    if (t->w->c->format == FORMAT_JSON) {
        struct part hint = {.kind = PART_TEXT, .text = span_of(json_hint)};

        if (first)
            strbuf_add(out, ",\"system\":");
        if (cached)
            add_text(t, &hint, false);
        else
            raw_add_joined(out, hint.text, first, "\\n\\n");
        first = false;
    }
    if (!first)
        strbuf_add_char(out, cached ? ']' : '"');
    return 0;
}

/* ---- */

static bool is_answer_to_call(const struct message *m)
{
    return m->role == ROLE_TOOL || (m->parts != NULL && m->parts->kind == PART_TOOL_RESULT);
}

/* What was said before the first word of the user is the system prompt; a request that holds
 * nothing else is a word of the user. */
static void look_ahead(struct turns *t)
{
    const struct message *other = NULL;
    size_t calls = 0;

    for (const struct message *m = t->w->c->messages; m != NULL; m = m->next) {
        if (other == NULL && !is_system(m))
            other = m;
        if (is_user(m) && !is_system(m) && !is_answer_to_call(m) && says_something(m))
            t->turn = m;
        for (const struct part *p = m->parts; p != NULL; p = p->next)
            calls += p->kind == PART_TOOL_CALL;
    }
    t->system_end = other != NULL ? other : t->w->c->messages;
    ids_init(&t->ids, calls, t->w->arena);
    ids_init(&t->names, calls, t->w->arena);
}

int anthropic_write_messages(struct anthropic_writer *w)
{
    struct turns t = {.w = w, .last_called = &w->called};

    look_ahead(&t);
    return add_system(&t) < 0 || add_turns(&t) < 0 ? -1 : 0;
}
