#include "providers/openai_chat_conversation.h"

#include <strings.h>

/* ---- base64 ---- */

static bool is_white(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The character of the standard alphabet, or 0 (RFC 4648: sections 4 and 5 differ in two). */
static char standard(char c)
{
    if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '+' || c == '/')
        return c;
    return c == '-' ? '+' : c == '_' ? '/' : '\0';
}

/* Is it as providers want it already? Then it is not copied. */
static bool is_clean(struct span text)
{
    size_t n = text.n;

    while (n > 0 && text.n - n < 2 && text.p[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++)
        if (standard(text.p[i]) != text.p[i] || text.p[i] == '\0')
            return false;
    return text.n % 4 == 0;
}

bool request_base64(struct request_reader *r, struct span text, struct span *out)
{
    char *copy;
    size_t n = 0, pad = 0;

    if (is_clean(text)) {
        *out = text;
        return text.n != 0;
    }
    copy = arena_alloc(r->arena, text.n + 3);
    for (size_t i = 0; i < text.n; i++) {
        if (is_white(text.p[i]))
            continue;
        if (text.p[i] == '=') {
            pad++;
            continue;
        }
        copy[n] = standard(text.p[i]);
        if (copy[n++] == '\0' || pad != 0)
            return false;
    }
    if (n == 0 || n % 4 == 1 || pad > 2)
        return false;
    while (n % 4 != 0)
        copy[n++] = '=';
    *out = (struct span){copy, n};
    return true;
}

/* ---- URLs ---- */

static bool starts_nocase(struct span text, const char *prefix)
{
    size_t n = strlen(prefix);

    return text.n >= n && strncasecmp(text.p, prefix, n) == 0;
}

bool request_is_web_url(struct span text)
{
    return starts_nocase(text, "https://") || starts_nocase(text, "http://");
}

/* RFC 2397: data:TYPE[;PARAMETERS];base64,DATA */
bool request_data_url(struct request_reader *r, struct span text, struct span *mime,
                      struct span *data)
{
    static const char base64[] = ";base64";
    struct span head;
    const char *comma, *semicolon;

    if (!starts_nocase(text, "data:"))
        return false;
    text = (struct span){text.p + 5, text.n - 5};
    comma = memchr(text.p, ',', text.n);
    if (comma == NULL)
        return false;
    head = (struct span){text.p, (size_t)(comma - text.p)};
    if (head.n < sizeof(base64) ||
        strncasecmp(comma - (sizeof(base64) - 1), base64, sizeof(base64) - 1) != 0)
        return false;
    semicolon = memchr(head.p, ';', head.n);
    *mime = (struct span){head.p, (size_t)(semicolon - head.p)};
    for (size_t i = 0; i < mime->n; i++)
        if (mime->p[i] <= ' ' || mime->p[i] >= 0x7f || mime->p[i] == '"' || mime->p[i] == '\\')
            return false;
    if (memchr(mime->p, '/', mime->n) == NULL)
        return false;
    return request_base64(r, (struct span){comma + 1, (size_t)(text.p + text.n - comma - 1)}, data);
}
