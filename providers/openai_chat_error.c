#include "providers/openai_chat.h"

#include <stdio.h>

#define MAX_NESTING 4    /* how deep an error may stand inside an error */
#define MAX_SEARCH  4096 /* bytes of a message that are looked through for what it means */
#define MAX_TEXT    300  /* bytes shown of a body that is no JSON */

/* ---- what the body says ---- */

/* Decoded; views of the body or of the arena. */
struct told {
    struct span message, type, code, param;
    struct span reason;  /* Google's `status`, Azure's inner code: one more code */
    struct span details; /* raw: Google's lists of reasons and quotas */
    struct span cause;   /* what a gateway's own provider said (OpenRouter's metadata.raw) */
    unsigned status;     /* an HTTP status inside the body; 0 none */
    bool error;          /* there is an error, rather than any JSON object */
};

static void read_told(struct json *j, struct told *t, struct arena *a, unsigned nesting);

static bool is_nothing(struct span raw)
{
    enum json_type type = json_type_of(raw);

    return type == JSON_NULL || type == JSON_FALSE || span_is(raw, "\"\"") || span_is(raw, "0") ||
           span_is(raw, "{}") || span_is(raw, "[]");
}

/* A string decoded; anything else as it stands. Empty for what says nothing. */
static struct span plain(struct span raw, struct arena *a)
{
    if (raw.n == 0 || is_nothing(raw))
        return (struct span){0};
    return json_type_of(raw) == JSON_STRING ? json_text(raw, a) : raw;
}

static void take_text(struct json *j, struct span *to, struct arena *a)
{
    struct span text = plain(json_take(j), a);

    if (to->n == 0)
        *to = text;
}

static void learn_status(struct told *t, struct span text)
{
    uint64_t v;

    if (t->status == 0 && span_to_u64(text, &v) && v >= 400 && v < 600)
        t->status = (unsigned)v;
}

/* A nested error knows more than what stands around it. */
static void prefer(struct told *t, const struct told *inner)
{
#define PREFER(field)                                                                              \
    if (inner->field.n != 0)                                                                       \
    t->field = inner->field
    PREFER(message);
    PREFER(type);
    PREFER(code);
    PREFER(param);
    PREFER(reason);
    PREFER(details);
    PREFER(cause);
#undef PREFER
    if (inner->status != 0)
        t->status = inner->status;
}

/* The value of `error`, or of another key that holds an error: an object, a list of them of which
 * the first counts, or the message itself. */
static void read_nested(struct json *j, struct told *inner, struct arena *a, unsigned nesting)
{
    if (nesting == MAX_NESTING) {
        json_take(j);
    } else if (json_peek(j) == JSON_OBJECT) {
        read_told(j, inner, a, nesting + 1);
    } else if (json_enter(j, JSON_ARRAY)) {
        for (bool first = true; json_item(j); first = false)
            if (first)
                read_nested(j, inner, a, nesting + 1);
            else
                json_take(j);
    } else {
        take_text(j, &inner->message, a);
    }
}

/* OpenRouter: {"raw": "what the provider said", "provider_name": ...}. */
static void read_metadata(struct json *j, struct told *t, struct arena *a)
{
    struct span key;

    if (!json_enter(j, JSON_OBJECT)) {
        json_take(j);
        return;
    }
    while (json_member(j, &key))
        if (span_is(key, "raw"))
            take_text(j, &t->cause, a);
        else
            json_take(j);
}

/* An object that is an error or holds one, at the reader. */
static void read_told(struct json *j, struct told *t, struct arena *a, unsigned nesting)
{
    struct told inner = {0};
    struct span key, status = {0}, object = {0}, detail = {0};
    bool choices = false;

    if (!json_enter(j, JSON_OBJECT)) {
        json_take(j);
        return;
    }
    while (json_member(j, &key)) {
        if (span_is(key, "error") || span_is(key, "errors")) {
            struct span raw = json_take(j);
            struct json nested = json_read(raw);

            if (raw.n == 0 || is_nothing(raw))
                continue;
            t->error = true;
            read_nested(&nested, &inner, a, nesting);
        } else if (span_is(key, "message") || span_is(key, "msg")) {
            take_text(j, &t->message, a);
        } else if (span_is(key, "detail")) {
            detail = json_take(j);
        } else if (span_is(key, "type")) {
            take_text(j, &t->type, a);
        } else if (span_is(key, "code")) {
            take_text(j, &t->code, a);
        } else if (span_is(key, "param")) {
            take_text(j, &t->param, a);
        } else if (span_is(key, "status")) {
            take_text(j, &t->reason, a);
        } else if (span_is(key, "status_code") || span_is(key, "statusCode") ||
                   span_is(key, "raw_status_code")) {
            take_text(j, &status, a);
        } else if (span_is(key, "details")) {
            t->details = json_take(j);
        } else if (span_is(key, "innererror")) {
            struct told azure = {0};

            read_nested(j, &azure, a, nesting);
            if (t->reason.n == 0)
                t->reason = azure.code;
        } else if (span_is(key, "metadata")) {
            read_metadata(j, t, a);
        } else if (span_is(key, "object")) {
            take_text(j, &object, a);
        } else {
            choices |= span_is(key, "choices");
            json_take(j);
        }
    }
    if (detail.n != 0 && t->message.n == 0) {
        struct json nested = json_read(detail);

        read_nested(&nested, &inner, a, nesting);
    }
    learn_status(t, status);
    learn_status(t, t->code);
    learn_status(t, t->reason);
    /* Flat shapes: Mistral, Doubleword, FastAPI. */
    t->error |=
        span_is(object, "error") || span_is(t->type, "error") ||
        (!choices && (detail.n != 0 || (t->message.n != 0 && (t->code.n | t->type.n) != 0)));
    prefer(t, &inner);
}

/* ---- bodies that are no JSON ---- */

struct span openai_chat_skip_lead(struct span body)
{
    if (span_starts(body, "\xef\xbb\xbf"))
        body = (struct span){body.p + 3, body.n - 3};
    while (body.n != 0 && (unsigned char)*body.p <= ' ')
        body = (struct span){body.p + 1, body.n - 1};
    return body;
}

static struct span at_most(struct span text, size_t n)
{
    return (struct span){text.p, text.n < n ? text.n : n};
}

bool openai_chat_is_html(struct span body)
{
    static const char *const marks[] = {"<!doctype html", "<html", "<head", "<body", "<title"};
    struct span start = at_most(openai_chat_skip_lead(body), 1024);

    if (!span_starts(start, "<"))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (span_find_nocase(start, marks[i]) != NULL)
            return true;
    return false;
}

/* The title of a web page, or an empty span. */
static struct span html_title(struct span body)
{
    struct span start = at_most(body, 16384);
    const char *p = span_find_nocase(start, "<title"), *end = start.p + start.n;
    const char *close;

    if (p == NULL || (p = memchr(p, '>', (size_t)(end - p))) == NULL)
        return (struct span){0};
    p++;
    close = memchr(p, '<', (size_t)(end - p));
    return close != NULL ? (struct span){p, (size_t)(close - p)} : (struct span){0};
}

/* ---- what it means ---- */

/* Under which status a row holds. */
enum { S4XX = 1, S429 = 2, S5XX = 4, UNKNOWN = 8, NOT5XX = S4XX | S429 | UNKNOWN, ANY = 15 };

struct meaning {
    enum { CODE, TEXT } in; /* equals a code or type; stands in the message */
    const char *word;       /* TEXT in small letters; the message's case does not count */
    const char *too;        /* stands in the message as well; NULL: need not */
    unsigned under;
    enum failure failure;
};

/* What is said inside counts before the status: gateways wrap one error in another's status, and a
 * quota that is spent looks like a rate limit. The first row that fits decides. */
/* clang-format off */
static const struct meaning meanings[] = {
    {CODE, "insufficient_quota",                  NULL,         ANY,           QUOTA},
    {CODE, "billing_error",                       NULL,         ANY,           QUOTA},
    {CODE, "billing_not_active",                  NULL,         ANY,           QUOTA},
    {CODE, "billing_hard_limit_reached",          NULL,         ANY,           QUOTA},
    {CODE, "insufficient_credits",                NULL,         ANY,           QUOTA},
    {CODE, "exceeded_current_quota_error",        NULL,         ANY,           QUOTA},
    {TEXT, "exceeded your current quota",         NULL,         ANY,           QUOTA},
    {TEXT, "credit balance is too low",           NULL,         ANY,           QUOTA},
    {TEXT, "insufficient credit",                 NULL,         ANY,           QUOTA},
    {TEXT, "insufficient balance",                NULL,         ANY,           QUOTA},
    {TEXT, "requires more credits",               NULL,         ANY,           QUOTA},
    {TEXT, "billing hard limit",                  NULL,         ANY,           QUOTA},
    {TEXT, "check your billing",                  NULL,         ANY,           QUOTA},
    {TEXT, "specified api usage limits",          NULL,         ANY,           QUOTA},
    {TEXT, "spending limit",                      NULL,         NOT5XX,        QUOTA},

    {CODE, "invalid_api_key",                     NULL,         NOT5XX,        AUTH},
    {CODE, "authentication_error",                NULL,         NOT5XX,        AUTH},
    {CODE, "invalid_authentication_error",        NULL,         NOT5XX,        AUTH},
    {CODE, "UNAUTHENTICATED",                     NULL,         NOT5XX,        AUTH},
    {TEXT, "api_key_invalid",                     NULL,         NOT5XX,        AUTH},
    {TEXT, "incorrect api key",                   NULL,         NOT5XX,        AUTH},
    {TEXT, "invalid api key",                     NULL,         NOT5XX,        AUTH},
    {TEXT, "invalid x-api-key",                   NULL,         NOT5XX,        AUTH},
    {TEXT, "api key not valid",                   NULL,         NOT5XX,        AUTH},
    {TEXT, "api key expired",                     NULL,         NOT5XX,        AUTH},

    {CODE, "request_too_large",                   NULL,         ANY,           TOO_LARGE},
    {TEXT, "request too large",                   NULL,         NOT5XX,        TOO_LARGE},

    {CODE, "engine_overloaded_error",             NULL,         ANY,           OVERLOADED},
    {CODE, "rate_limit_exceeded",                 NULL,         NOT5XX,        RATE_LIMITED},
    {CODE, "rate_limit_error",                    NULL,         NOT5XX,        RATE_LIMITED},
    {CODE, "too_many_requests",                   NULL,         NOT5XX,        RATE_LIMITED},
    {CODE, "RESOURCE_EXHAUSTED",                  NULL,         NOT5XX,        RATE_LIMITED},
    {TEXT, "rate limit",                          NULL,         NOT5XX,        RATE_LIMITED},

    {CODE, "context_length_exceeded",             NULL,         ANY,           CONTEXT_LENGTH},
    {CODE, "exceed_context_size_error",           NULL,         ANY,           CONTEXT_LENGTH},
    {CODE, "too_many_prompt_tokens",              NULL,         ANY,           CONTEXT_LENGTH},
    {TEXT, "context_length_exceeded",             NULL,         ANY,           CONTEXT_LENGTH},
    {TEXT, "maximum context length",              NULL,         ANY,           CONTEXT_LENGTH},
    {TEXT, "available context size",              NULL,         ANY,           CONTEXT_LENGTH},
    {TEXT, "context window",                      NULL,         NOT5XX,        CONTEXT_LENGTH},
    {TEXT, "prompt is too long",                  NULL,         ANY,           CONTEXT_LENGTH},
    {TEXT, "exceed context limit",                NULL,         ANY,           CONTEXT_LENGTH},
    {TEXT, "input token count",                   "exceeds",    ANY,           CONTEXT_LENGTH},
    {TEXT, "messages is too long",                NULL,         ANY,           CONTEXT_LENGTH},

    {CODE, "content_filter",                      NULL,         NOT5XX,        POLICY},
    {CODE, "content_policy_violation",            NULL,         NOT5XX,        POLICY},
    {CODE, "ResponsibleAIPolicyViolation",        NULL,         NOT5XX,        POLICY},
    {CODE, "bio_policy",                          NULL,         NOT5XX,        POLICY},
    {CODE, "cyber_policy",                        NULL,         NOT5XX,        POLICY},
    {TEXT, "content management policy",           NULL,         NOT5XX,        POLICY},
    {TEXT, "content policy",                      NULL,         NOT5XX,        POLICY},
    {TEXT, "content filtering policy",            NULL,         ANY,           POLICY},
    {TEXT, "our safety system",                   NULL,         NOT5XX,        POLICY},
    {TEXT, "requires moderation",                 NULL,         NOT5XX,        POLICY},

    {CODE, "unsupported_parameter",               NULL,         S4XX | UNKNOWN, UNSUPPORTED},
    {CODE, "unsupported_value",                   NULL,         S4XX | UNKNOWN, UNSUPPORTED},
    {CODE, "invalid_encrypted_content",           NULL,         S4XX | UNKNOWN, UNSUPPORTED},
    {TEXT, "is deprecated for this model",        NULL,         S4XX | UNKNOWN, UNSUPPORTED},
    {TEXT, "extra inputs are not permitted",      NULL,         S4XX | UNKNOWN, UNSUPPORTED},
    {TEXT, "does not support effort level",       NULL,         S4XX | UNKNOWN, UNSUPPORTED},
    {TEXT, "does not support assistant message prefill", NULL,  S4XX | UNKNOWN, UNSUPPORTED},
    {TEXT, "unknown variant `image_url`",         NULL,         S4XX | UNKNOWN, UNSUPPORTED},
    {TEXT, "no endpoints found that support",     NULL,         S4XX | UNKNOWN, UNSUPPORTED},
    {TEXT, "image input is not supported",        NULL,         ANY,           UNSUPPORTED},
    {TEXT, "does not support image",              NULL,         ANY,           UNSUPPORTED},
    {TEXT, "requires --jinja",                    NULL,         ANY,           UNSUPPORTED},

    /* A model of another kind. */
    {TEXT, "v1/completions endpoint",             NULL,         S4XX | UNKNOWN, UNSUPPORTED},
    {TEXT, "allowed to generate embeddings",      NULL,         S4XX | UNKNOWN, UNSUPPORTED},
    {TEXT, "does not support embeddings",         NULL,         ANY,           UNSUPPORTED},

    {CODE, "model_not_found",                     NULL,         NOT5XX,        MODEL_GONE},
    {CODE, "DeploymentNotFound",                  NULL,         NOT5XX,        MODEL_GONE},
    {CODE, "invalid_model",                       NULL,         NOT5XX,        MODEL_GONE},
    {CODE, "model_deprecated",                    NULL,         NOT5XX,        MODEL_GONE},
    {TEXT, "does not exist",                      "model",      S4XX | UNKNOWN, MODEL_GONE},
    {TEXT, "has been deprecated",                 "model",      S4XX | UNKNOWN, MODEL_GONE},
    {TEXT, "decommissioned",                      "model",      S4XX | UNKNOWN, MODEL_GONE},
    {TEXT, "no longer available",                 "model",      S4XX | UNKNOWN, MODEL_GONE},
    {TEXT, "model not found",                     NULL,         S4XX | UNKNOWN, MODEL_GONE},
    {TEXT, "not a valid model",                   NULL,         S4XX | UNKNOWN, MODEL_GONE},
    {TEXT, "no endpoints found",                  NULL,         S4XX | UNKNOWN, MODEL_GONE},

    {CODE, "permission_error",                    NULL,         NOT5XX,        FORBIDDEN},
    {CODE, "PERMISSION_DENIED",                   NULL,         NOT5XX,        FORBIDDEN},
    {CODE, "request_forbidden",                   NULL,         NOT5XX,        FORBIDDEN},
    {CODE, "unsupported_country_region_territory", NULL,        NOT5XX,        FORBIDDEN},
    {TEXT, "user location is not supported",      NULL,         NOT5XX,        FORBIDDEN},

    /* The model wrote a call that its own provider refuses (Groq): another try may well do. */
    {CODE, "tool_use_failed",                     NULL,         S4XX | UNKNOWN, CONFLICT},

    {CODE, "overloaded_error",                    NULL,         ANY,           OVERLOADED},
    {CODE, "overloaded",                          NULL,         ANY,           OVERLOADED},
    {CODE, "UNAVAILABLE",                         NULL,         ANY,           OVERLOADED},
    {TEXT, "overloaded",                          NULL,         S5XX | UNKNOWN, OVERLOADED},
    {TEXT, "high demand",                         NULL,         S5XX | UNKNOWN, OVERLOADED},
    {TEXT, "at capacity",                         NULL,         S5XX | UNKNOWN, OVERLOADED},
    {TEXT, "over capacity",                       NULL,         S5XX | UNKNOWN, OVERLOADED},
};

/* The status that a type or code stands for, where an error comes without one. */
static const struct {
    const char *word;
    unsigned status;
} statuses[] = {
    {"invalid_request_error", 400}, {"invalid_prompt", 400},     {"INVALID_ARGUMENT", 400},
    {"FAILED_PRECONDITION", 400},   {"bad_request", 400},        {"authentication_error", 401},
    {"invalid_api_key", 401},       {"UNAUTHENTICATED", 401},    {"billing_error", 402},
    {"permission_error", 403},      {"PERMISSION_DENIED", 403},  {"not_found_error", 404},
    {"model_not_found", 404},       {"NOT_FOUND", 404},          {"content_filter", 400},
    {"request_too_large", 413},     {"rate_limit_error", 429},   {"rate_limit_exceeded", 429},
    {"insufficient_quota", 429},    {"RESOURCE_EXHAUSTED", 429}, {"CANCELLED", 499},
    {"server_error", 500},          {"api_error", 500},          {"INTERNAL", 500},
    {"UNAVAILABLE", 503},           {"timeout_error", 504},      {"DEADLINE_EXCEEDED", 504},
    {"overloaded_error", 529},
};
/* clang-format on */

static bool has_code(const struct told *t, const char *word)
{
    return span_is_nocase(t->code, word) || span_is_nocase(t->type, word) ||
           span_is_nocase(t->reason, word);
}

static unsigned family(unsigned status)
{
    if (status == 429)
        return S429;
    return status >= 500 ? S5XX : status >= 400 ? S4XX : UNKNOWN;
}

/* Google tells a limit of a minute from a spent quota only in its details. */
static enum failure google_quota(const struct told *t)
{
    if (!has_code(t, "RESOURCE_EXHAUSTED"))
        return FAILURE_NONE;
    if (span_find(t->details, "PerDay") != NULL || span_find(t->message, "limit: 0") != NULL)
        return QUOTA;
    return span_find(t->details, "PerMinute") != NULL ? RATE_LIMITED : FAILURE_NONE;
}

/* Adds the start of a text in small letters. */
static void add_searchable(struct strbuf *out, struct span text)
{
    size_t from = out->len;

    strbuf_add_span(out, at_most(text, MAX_SEARCH));
    strbuf_add_char(out, '\n');
    for (size_t i = from; i < out->len; i++)
        if (out->buf[i] >= 'A' && out->buf[i] <= 'Z')
            out->buf[i] |= 0x20;
}

static bool applies(const struct meaning *m, const struct told *t, unsigned status,
                    struct span text)
{
    if ((m->under & family(status)) == 0)
        return false;
    if (m->in == CODE ? !has_code(t, m->word) : span_find(text, m->word) == NULL)
        return false;
    return m->too == NULL || span_find(text, m->too) != NULL;
}

/* FAILURE_NONE where nothing inside tells. */
static enum failure by_meaning(const struct told *t, unsigned status, struct arena *a)
{
    struct strbuf text = strbuf_in(a, 3 * MAX_SEARCH + 3);
    enum failure f = google_quota(t);

    add_searchable(&text, t->message);
    add_searchable(&text, t->cause);
    add_searchable(&text, t->details);
    for (size_t i = 0; f == FAILURE_NONE && i < ARRAY_LEN(meanings); i++)
        if (applies(&meanings[i], t, status, strbuf_span(&text)))
            f = meanings[i].failure;
    return f;
}

static enum failure by_status(unsigned status, bool html)
{
    switch (status) {
    case 400:
        return html ? HTML_PAGE : BAD_REQUEST;
    case 401:
        return AUTH;
    case 402:
        return QUOTA;
    case 403:
        return html ? HTML_PAGE : FORBIDDEN;
    case 404:
    case 410:
        return html ? HTML_PAGE : MODEL_GONE;
    case 407:
        return EGRESS_PROXY;
    case 408:
        return REQUEST_TIMEOUT;
    case 409:
    case 425:
    case 499: /* Google's CANCELLED */
        return CONFLICT;
    case 413:
        return TOO_LARGE;
    case 429:
        return RATE_LIMITED;
    case 501:
    case 505:
        return NOT_IMPLEMENTED;
    case 502:
    case 504:
        return BAD_GATEWAY;
    case 503:
    case 529:
        return html ? HTML_PAGE : OVERLOADED;
    default:
        break;
    }
    if ((status >= 520 && status <= 527) || status == 530) /* Cloudflare's: the origin is down */
        return BAD_GATEWAY;
    if (status >= 500 && status < 600)
        return html ? HTML_PAGE : SERVER_ERROR;
    if (status >= 400 && status < 500)
        return html ? HTML_PAGE : CLIENT_ERROR;
    return status >= 300 && status < 400 ? REDIRECT : PROTOCOL;
}

static unsigned status_of_words(const struct told *t)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        if (has_code(t, statuses[i].word))
            return statuses[i].status;
    return 0;
}

/* ---- together ---- */

static void show(const struct told *t, unsigned status, struct chat_error *error)
{
    *error = (struct chat_error){.status = status};
    chat_error_mask(at_most(t->message, 4 * sizeof(error->message)), error->message,
                    sizeof(error->message));
    chat_error_mask(t->type, error->type, sizeof(error->type));
    chat_error_mask(t->code, error->code, sizeof(error->code));
    chat_error_mask(t->param, error->param, sizeof(error->param));
    if (error->message[0] == '\0')
        snprintf(error->message, sizeof(error->message), "HTTP status %u without a message",
                 status);
}

/* Reads what the body says, in whatever shape. True where it is valid JSON. */
static bool read_body(struct span body, struct told *t, struct arena *a)
{
    struct json j = json_read(body);

    /* Google's streams wrap an error in a list. */
    if (json_peek(&j) == JSON_ARRAY) {
        read_nested(&j, t, a, 0);
    } else if (json_peek(&j) == JSON_OBJECT) {
        read_told(&j, t, a, 0);
    } else if (json_peek(&j) == JSON_STRING) {
        take_text(&j, &t->message, a);
    }
    if (json_end(&j))
        return true;
    if (t->message.n == 0)
        t->message = openai_chat_is_html(body) ? html_title(body) : at_most(body, MAX_TEXT);
    return false;
}

/* `status` is an error's, or 0 where the body alone tells. */
static enum failure judge(const struct told *t, unsigned status, bool html, struct arena *a,
                          struct chat_error *error)
{
    enum failure f = FAILURE_NONE;

    if (status == 0)
        status = t->status != 0 ? t->status : status_of_words(t);
    if (!html)
        f = by_meaning(t, status, a);
    if (f == FAILURE_NONE)
        f = status != 0 ? by_status(status, html) : html ? HTML_PAGE : SERVER_ERROR;
    if (status == 0)
        status = failure_row(f)->status != 0 ? failure_row(f)->status : 500;
    show(t, status, error);
    return f;
}

enum failure openai_chat_find_error(struct span body, bool certain, struct chat_error *error)
{
    struct told t = {0};
    struct arena a;
    enum failure f = FAILURE_NONE;
    bool html, valid;

    arena_init(&a);
    body = openai_chat_skip_lead(body);
    html = openai_chat_is_html(body);
    valid = read_body(body, &t, &a);
    if (certain || html || (valid && t.error))
        f = judge(&t, 0, html, &a, error);
    arena_release(&a);
    return f;
}

enum failure openai_chat_classify(unsigned status, struct span content_type UNUSED,
                                  struct span body, struct chat_error *error)
{
    struct told t = {0};
    struct arena a;
    enum failure f;
    bool html, valid;

    arena_init(&a);
    body = openai_chat_skip_lead(body);
    html = openai_chat_is_html(body);
    valid = read_body(body, &t, &a);
    if (status >= 400 && status < 600) {
        f = judge(&t, status, html, &a, error);
    } else if (status >= 200 && status < 300 && body.n != 0 && (html || (valid && t.error))) {
        f = judge(&t, 0, html, &a, error);
    } else {
        f = status < 200 || status >= 300 ? by_status(status, html)
            : body.n == 0                 ? EMPTY
                                          : MALFORMED;
        show(&t, status, error);
    }
    arena_release(&a);
    return f;
}

enum failure openai_chat_classify_other(unsigned status, struct span content_type, struct span body,
                                        struct chat_error *error)
{
    enum failure f = openai_chat_classify(status, content_type, body, error);
    bool about_model = span_find_nocase(span_of(error->message), "model") != NULL ||
                       span_find_nocase(span_of(error->code), "model") != NULL ||
                       strcmp(error->code, "DeploymentNotFound") == 0;

    if (((status == 404 || status == 405) && !about_model) || status == 501)
        return UNSUPPORTED;
    return f;
}
