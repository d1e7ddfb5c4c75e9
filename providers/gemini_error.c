/* Google's errors come in the one shape that openai_chat_error.c reads along with the others; what
 * is known only of this API is decided here, before or after it. */
#include "providers/gemini.h"
#include "providers/openai_chat.h"

#define MAX_SEARCH 16384 /* bytes of a body that are looked through for what it means */

/* What stands in the body, and under which status of gRPC; the first row that fits decides. */
static const struct {
    const char *status;
    const char *text; /* its case does not count; NULL: any */
    enum failure failure;
} meanings[] = {
    /* One message, "You exceeded your current quota", tells of a minute, a day and a month. */
    {"RESOURCE_EXHAUSTED", "PerDay", QUOTA},
    {"RESOURCE_EXHAUSTED", "limit: 0", QUOTA},
    {"RESOURCE_EXHAUSTED", "monthly", QUOTA},
    {"RESOURCE_EXHAUSTED", "spending cap", QUOTA},
    {"RESOURCE_EXHAUSTED", "credits are depleted", QUOTA},
    {"RESOURCE_EXHAUSTED", NULL, RATE_LIMITED},

    {"INVALID_ARGUMENT", "API_KEY_INVALID", AUTH},
    {"INVALID_ARGUMENT", "token count", CONTEXT_LENGTH},
    {"FAILED_PRECONDITION", "location is not supported", FORBIDDEN},
    {"FAILED_PRECONDITION", "enable billing", FORBIDDEN},
    {"NOT_FOUND", NULL, MODEL_GONE},

    /* This model cannot what another one can. */
    {"INVALID_ARGUMENT", "is not enabled for", UNSUPPORTED},
    {"INVALID_ARGUMENT", "is unsupported", UNSUPPORTED},
    {"INVALID_ARGUMENT", "is not supported by", UNSUPPORTED},
};

/* `error.status`, also in a list of one; empty where there is none. */
static struct span grpc_status(struct span body)
{
    struct json j = json_read(body), error = {0};
    struct span key, raw, status = {0};

    if (json_enter(&j, JSON_ARRAY) && !json_item(&j))
        return status;
    if (!json_enter(&j, JSON_OBJECT))
        return status;
    while (json_member(&j, &key)) {
        raw = json_take(&j);
        if (!span_is(key, "error"))
            continue;
        error = json_read(raw);
        if (!json_enter(&error, JSON_OBJECT))
            continue;
        while (json_member(&error, &key)) {
            raw = json_take(&error);
            if (span_is(key, "status"))
                status = raw;
        }
    }
    return status;
}

static enum failure by_meaning(struct span body)
{
    struct span status = grpc_status(body);

    if (body.n > MAX_SEARCH)
        body.n = MAX_SEARCH;
    for (size_t i = 0; status.n != 0 && i < ARRAY_LEN(meanings); i++)
        if (json_is_string(status, meanings[i].status) &&
            (meanings[i].text == NULL || span_find_nocase(body, meanings[i].text) != NULL))
            return meanings[i].failure;
    return FAILURE_NONE;
}

enum failure gemini_find_error(struct span body, bool certain, struct chat_error *error)
{
    enum failure f = openai_chat_find_error(body, certain, error), own;

    if (f == FAILURE_NONE)
        return f;
    own = by_meaning(openai_chat_skip_lead(body));
    return own != FAILURE_NONE ? own : f;
}

enum failure gemini_classify(unsigned status, struct span content_type, struct span body,
                             struct chat_error *error)
{
    enum failure f = openai_chat_classify(status, content_type, body, error), own = FAILURE_NONE;

    if (status >= 200 && status < 600)
        own = by_meaning(openai_chat_skip_lead(body));
    return own != FAILURE_NONE ? own : f;
}
