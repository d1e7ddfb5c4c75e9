#include "proxy/retry_after.h"

#include <ctype.h>
#include <time.h>

#include "proxy/base/attributes.h"

#define TELL_AT_MOST_S 55
#define LONGEST_WAIT_S 1e9 /* a larger number is a time of day in disguise */

/* ---- numbers and durations ------------------------------------------------------------------ */

static void skip(struct span *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

static bool is_digit(struct span s, size_t i)
{
    return i < s.n && s.p[i] >= '0' && s.p[i] <= '9';
}

/* "12" or "12.5"; moves *s behind it, where the rest of a number too long to be meant may stand.
 */
static bool take_number(struct span *s, double *v)
{
    double scale = 1;
    size_t i = 0;
    bool digits = false;

    for (*v = 0; is_digit(*s, i) && i < 18; i++, digits = true)
        *v = *v * 10 + (s->p[i] - '0');
    if (i < s->n && s->p[i] == '.')
        for (i++; is_digit(*s, i) && i < 36; i++, digits = true)
            *v += (s->p[i] - '0') * (scale /= 10);
    if (!digits)
        return false;
    skip(s, i);
    return true;
}

static uint64_t capped(double ms)
{
    return ms > RETRY_AFTER_CAP ? RETRY_AFTER_CAP : (uint64_t)(ms + 0.5);
}

static uint64_t plain_number(struct span s, double unit_ms)
{
    double v;

    return take_number(&s, &v) && s.n == 0 ? capped(v * unit_ms) : RETRY_AFTER_NONE;
}

static bool is_unit_byte(unsigned char c)
{
    return isalpha(c) || c == 0xc2 || c == 0xb5; /* the two bytes of the micro sign */
}

/* A unit as Go writes it, or as a word of prose. */
static bool take_unit(struct span *s, double *ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ns", 1e-6},      {"us", 1e-3},      {"\xc2\xb5s", 1e-3}, {"ms", 1},
                 {"s", 1000},       {"m", 60000},      {"h", 3600000},      {"d", 86400000},
                 {"second", 1000},  {"seconds", 1000}, {"minute", 60000},   {"minutes", 60000},
                 {"hour", 3600000}, {"hours", 3600000}};
    struct span word = {s->p, 0};

    while (word.n < s->n && is_unit_byte((unsigned char)s->p[word.n]))
        word.n++;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (span_is(word, units[i].name)) {
            *ms = units[i].ms;
            skip(s, word.n);
            return true;
        }
    }
    return false;
}

/* "1h2m3.5s", "644ms", "6 seconds" at the start of *s; moves behind it. */
static uint64_t take_duration(struct span *s)
{
    double sum = 0, v, unit_ms;
    struct span rest = *s;
    bool any = false;

    while (take_number(&rest, &v)) {
        if (rest.n > 0 && rest.p[0] == ' ')
            skip(&rest, 1);
        if (!take_unit(&rest, &unit_ms))
            break;
        sum += v * unit_ms;
        any = true;
        *s = rest;
    }
    return any ? capped(sum) : RETRY_AFTER_NONE;
}

/* ---- times of day --------------------------------------------------------------------------- */

static uint64_t until(double at_ms, uint64_t wall_ms)
{
    return at_ms <= (double)wall_ms ? 0 : capped(at_ms - (double)wall_ms);
}

/* Reads a UTC time in a form of strptime's; moves *s behind it. */
static bool take_time(struct span *s, const char *form, double *ms)
{
    char text[48];
    struct tm tm = {0};
    const char *end;

    if (s->n == 0 || s->n >= sizeof(text))
        return false;
    memcpy(text, s->p, s->n);
    text[s->n] = '\0';
    end = strptime(text, form, &tm);
    if (end == NULL)
        return false;
    *ms = 1000.0 * (double)timegm(&tm);
    skip(s, (size_t)(end - text));
    return true;
}

/* RFC 9110 5.6.7: the form of today and the two obsolete ones. */
static uint64_t http_date(struct span s, uint64_t wall_ms)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %d %H:%M:%S %Y"};

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct span rest = s;
        double at_ms;

        if (take_time(&rest, forms[i], &at_ms) && rest.n == 0)
            return until(at_ms, wall_ms);
    }
    return RETRY_AFTER_NONE;
}

/* "Z", "+02:00": how far the clock there is ahead of UTC. */
static bool read_zone(struct span s, double *ahead_ms)
{
    if (span_is_nocase(s, "Z")) {
        *ahead_ms = 0;
        return true;
    }
    if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':')
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (i != 3 && !is_digit(s, i))
            return false;
    *ahead_ms = ((s.p[1] - '0') * 10 + (s.p[2] - '0')) * 3600e3 +
                ((s.p[4] - '0') * 10 + (s.p[5] - '0')) * 60e3;
    if (s.p[0] == '-')
        *ahead_ms = -*ahead_ms;
    return true;
}

/* RFC 3339: "2026-11-18T11:06:50Z", with a fraction and another zone perhaps. */
static uint64_t internet_time(struct span s, uint64_t wall_ms)
{
    double at_ms, fraction = 0, ahead_ms;

    if (!take_time(&s, "%Y-%m-%dT%H:%M:%S", &at_ms))
        return RETRY_AFTER_NONE;
    if (span_starts(s, ".") && !take_number(&s, &fraction))
        return RETRY_AFTER_NONE;
    if (!read_zone(s, &ahead_ms))
        return RETRY_AFTER_NONE;
    return until(at_ms + fraction * 1000 - ahead_ms, wall_ms);
}

/* ---- what is asked for ---------------------------------------------------------------------- */

uint64_t retry_after_asked(retry_after_find *find, const void *head, uint64_t wall_ms)
{
    struct span seconds = span_trim(find(head, "retry-after"));
    uint64_t ms = plain_number(span_trim(find(head, "retry-after-ms")), 1);

    if (ms == RETRY_AFTER_NONE)
        ms = plain_number(span_trim(find(head, "x-ms-retry-after-ms")), 1);
    if (ms == RETRY_AFTER_NONE)
        ms = plain_number(seconds, 1000);
    if (ms == RETRY_AFTER_NONE)
        ms = http_date(seconds, wall_ms);
    return ms;
}

/* ---- what is spent -------------------------------------------------------------------------- */

/* In whichever form: the names do not settle it, proxies before a provider mix them. */
static uint64_t read_reset(struct span s, uint64_t wall_ms)
{
    struct span rest = s;
    double seconds;
    uint64_t ms;

    if (take_number(&rest, &seconds) && rest.n == 0)
        return seconds < LONGEST_WAIT_S ? capped(seconds * 1000) : RETRY_AFTER_NONE;
    rest = s;
    ms = take_duration(&rest);
    return ms != RETRY_AFTER_NONE && rest.n == 0 ? ms : internet_time(s, wall_ms);
}

uint64_t retry_after_spent(retry_after_find *find, const void *head, uint64_t wall_ms)
{
    static const struct {
        const char *remaining, *reset;
    } allowances[] = {
        {"x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"},
        {"x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"},
        {"anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"},
        {"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"},
        {"anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"},
        {"anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"},
    };
    uint64_t longest = 0;

    for (size_t i = 0; i < ARRAY_LEN(allowances); i++) {
        uint64_t ms = RETRY_AFTER_NONE;

        if (plain_number(span_trim(find(head, allowances[i].remaining)), 1) == 0)
            ms = read_reset(span_trim(find(head, allowances[i].reset)), wall_ms);
        if (ms != RETRY_AFTER_NONE && ms > longest)
            longest = ms;
    }
    return longest > 0 ? longest : RETRY_AFTER_NONE;
}

/* ---- what the body says --------------------------------------------------------------------- */

static struct span behind(struct span text, const char *found, size_t n)
{
    return (struct span){found + n, text.n - (size_t)(found - text.p) - n};
}

/* google.rpc.RetryInfo among the details of Gemini's errors: "retryDelay": "37s". */
static uint64_t from_retry_info(struct span body)
{
    static const char name[] = "\"retryDelay\"";
    const char *at = span_find(body, name);
    struct span s;

    if (at == NULL)
        return RETRY_AFTER_NONE;
    s = behind(body, at, sizeof(name) - 1);
    while (s.n > 0 && memchr(" \t\r\n:", s.p[0], 5) != NULL)
        skip(&s, 1);
    if (s.n == 0 || s.p[0] != '"')
        return RETRY_AFTER_NONE;
    skip(&s, 1);
    return take_duration(&s);
}

/* What providers write before the duration: OpenAI; Gemini; Azure; Google's code assistant. */
static uint64_t from_prose(struct span body)
{
    static const char *const openings[] = {"try again in ", "retry in ", "retry after ",
                                           "reset after "};

    for (size_t i = 0; i < ARRAY_LEN(openings); i++) {
        const char *at = span_find_nocase(body, openings[i]);
        uint64_t ms = RETRY_AFTER_NONE;

        if (at != NULL) {
            struct span s = behind(body, at, strlen(openings[i]));

            ms = take_duration(&s);
        }
        if (ms != RETRY_AFTER_NONE)
            return ms;
    }
    return RETRY_AFTER_NONE;
}

uint64_t retry_after_read(uint64_t asked_ms, uint64_t spent_ms, struct span body)
{
    uint64_t ms = asked_ms;

    if (ms == RETRY_AFTER_NONE)
        ms = from_retry_info(body);
    if (ms == RETRY_AFTER_NONE)
        ms = spent_ms;
    if (ms == RETRY_AFTER_NONE)
        ms = from_prose(body);
    return ms;
}

uint64_t retry_after_seconds(uint64_t ms)
{
    uint64_t s = (ms + 999) / 1000;

    if (s < 1)
        s = 1;
    return s > TELL_AT_MOST_S ? TELL_AT_MOST_S : s;
}
