#include "providers/gemini.h"

/* ---- errors ---- */

static const char *status_of(unsigned status)
{
    static const struct {
        unsigned status;
        const char *name;
    } names[] = {
        {401, "UNAUTHENTICATED"},    {402, "FAILED_PRECONDITION"}, {403, "PERMISSION_DENIED"},
        {404, "NOT_FOUND"},          {408, "DEADLINE_EXCEEDED"},   {409, "ABORTED"},
        {429, "RESOURCE_EXHAUSTED"}, {499, "CANCELLED"},           {501, "UNIMPLEMENTED"},
        {503, "UNAVAILABLE"},        {504, "DEADLINE_EXCEEDED"},   {529, "UNAVAILABLE"},
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].status == status)
            return names[i].name;
    return status >= 500 ? "INTERNAL" : "INVALID_ARGUMENT";
}

static void add_error(const struct chat_error *error, struct strbuf *out)
{
    strbuf_add(out, "{\"error\":{\"code\":");
    strbuf_add_u64(out, error->status);
    strbuf_add(out, ",\"message\":");
    json_add_string(out, span_of(error->message));
    strbuf_addf(out, ",\"status\":\"%s\"}}", status_of(error->status));
}

void gemini_write_error(const struct chat_error *error, struct strbuf *out)
{
    add_error(error, out);
    strbuf_add_char(out, '\n');
}

void gemini_write_stream_error(const struct chat_error *error, struct strbuf *out)
{
    strbuf_add(out, "data: ");
    add_error(error, out);
    strbuf_add(out, "\n\n");
}

/* Only the end of the transport ends a stream. */
void gemini_write_end(struct strbuf *out)
{
    (void)out;
}

/* ---- the list of models ---- */

void gemini_write_model(struct span name, uint64_t created, struct strbuf *out)
{
    struct strbuf full = strbuf_heap(name.n + 8);

    (void)created;
    strbuf_add(&full, "models/");
    strbuf_add_span(&full, name);
    strbuf_add(out, "{\"name\":");
    json_add_string(out, strbuf_span(&full));
    strbuf_release(&full);
    strbuf_add(out, ",\"version\":\"1\",\"displayName\":");
    json_add_string(out, name);
    strbuf_add(out, ",\"supportedGenerationMethods\":[\"generateContent\","
                    "\"streamGenerateContent\"]}");
}

void gemini_write_models(const struct span *names, size_t n, uint64_t created, struct strbuf *out)
{
    strbuf_add(out, "{\"models\":[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            strbuf_add_char(out, ',');
        gemini_write_model(names[i], created, out);
    }
    strbuf_add(out, "]}\n");
}
