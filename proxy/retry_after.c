#include "proxy/retry_after.h"

#include <time.h>

#include "proxy/base/attributes.h"

#define TELL_AT_MOST_S 55

/* "12" or "12.5" in units of `unit_ms`; moves *s behind it. False where there is no number. */
static bool take_number(struct span *s, double unit_ms, double *ms)
{
    double v = 0, scale = 1;
    size_t i = 0;
    bool digits = false;

    for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9' && i < 18; i++, digits = true)
        v = v * 10 + (s->p[i] - '0');
    if (i < s->n && s->p[i] == '.')
        for (i++; i < s->n && s->p[i] >= '0' && s->p[i] <= '9' && i < 36; i++, digits = true)
            v += (s->p[i] - '0') * (scale /= 10);
    if (!digits)
        return false;
    *ms = v * unit_ms;
    s->p += i;
    s->n -= i;
    return true;
}

static uint64_t capped(double ms)
{
    return ms > RETRY_AFTER_CAP ? RETRY_AFTER_CAP : (uint64_t)ms;
}

static uint64_t whole_number(struct span s, double unit_ms)
{
    double ms;

    s = span_trim(s);
    return take_number(&s, unit_ms, &ms) && s.n == 0 ? capped(ms) : RETRY_AFTER_NONE;
}

/* RFC 9110 5.6.7: IMF-fixdate; the two obsolete forms are not sent by anybody we talk to. */
static uint64_t http_date(struct span s, uint64_t wall_ms)
{
    char text[40];
    struct tm tm = {0};
    const char *end;
    time_t at;

    s = span_trim(s);
    if (s.n == 0 || s.n >= sizeof(text))
        return RETRY_AFTER_NONE;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (end == NULL || *end != '\0')
        return RETRY_AFTER_NONE;
    at = timegm(&tm);
    if (at < 0)
        return RETRY_AFTER_NONE;
    return (uint64_t)at * 1000 <= wall_ms ? 0 : capped((double)((uint64_t)at * 1000 - wall_ms));
}

static bool take_unit(struct span *s, double *ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (span_starts(*s, units[i].name)) {
            size_t n = strlen(units[i].name);

            *ms *= units[i].ms;
            s->p += n;
            s->n -= n;
            return true;
        }
    }
    return false;
}

/* "1h2m3.5s", "644ms", "34.4s" at the start of the text. */
static uint64_t duration(struct span s)
{
    double sum = 0, ms;
    bool any = false;

    while (take_number(&s, 1, &ms) && take_unit(&s, &ms)) {
        sum += ms;
        any = true;
    }
    return any ? capped(sum) : RETRY_AFTER_NONE;
}

/* What providers write before the duration: OpenAI, Gemini (prose), Gemini's RetryInfo detail. */
static uint64_t from_message(struct span message)
{
    static const char *const openings[] = {"try again in ", "retry in ", "reset after ",
                                           "\"retryDelay\": \"", "\"retryDelay\":\""};

    for (size_t i = 0; i < ARRAY_LEN(openings); i++) {
        const char *at = span_find_nocase(message, openings[i]);
        size_t skip = strlen(openings[i]);
        uint64_t ms;

        if (at == NULL)
            continue;
        ms = duration((struct span){at + skip, message.n - (size_t)(at - message.p) - skip});
        if (ms != RETRY_AFTER_NONE)
            return ms;
    }
    return RETRY_AFTER_NONE;
}

uint64_t retry_after_read(struct span retry_after_ms, struct span x_ms_retry_after_ms,
                          struct span retry_after, struct span message, uint64_t wall_ms)
{
    uint64_t ms = whole_number(retry_after_ms, 1);

    if (ms == RETRY_AFTER_NONE)
        ms = whole_number(x_ms_retry_after_ms, 1);
    if (ms == RETRY_AFTER_NONE)
        ms = whole_number(retry_after, 1000);
    if (ms == RETRY_AFTER_NONE)
        ms = http_date(retry_after, wall_ms);
    if (ms == RETRY_AFTER_NONE)
        ms = from_message(message);
    return ms;
}

uint64_t retry_after_seconds(uint64_t ms)
{
    uint64_t s = (ms + 999) / 1000;

    if (s < 1)
        s = 1;
    return s > TELL_AT_MOST_S ? TELL_AT_MOST_S : s;
}
