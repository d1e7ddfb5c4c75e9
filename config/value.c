#include "config/value.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/span.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first, for showing. */
static const struct unit durations[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit sizes[] = {
    {"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}, {"B", 1}};

#define UNITS ARRAY_LEN(durations)
_Static_assert(ARRAY_LEN(sizes) == UNITS, "one length for both tables of units");

#define WHOLE_DIGITS    12 /* 10^12 hours in milliseconds fit 64 bits; sizes are checked */
#define FRACTION_DIGITS 6

enum scaled { SCALED, NO_NUMBER, NO_UNIT, BAD_UNIT, TOO_FINE, TOO_LARGE };

/* A decimal number with a unit, as a whole number of the smallest unit, without floating point. */
static enum scaled read_scaled(const char *text, const struct unit units[UNITS], uint64_t *out)
{
    uint64_t whole = 0, part = 0, scale = 1, factor = 0, value, rest;
    size_t digits = 0;

    for (; isdigit((unsigned char)*text); text++, digits++)
        if (digits < WHOLE_DIGITS)
            whole = whole * 10 + (uint64_t)(*text - '0');
    if (digits == 0)
        return NO_NUMBER;
    if (digits > WHOLE_DIGITS)
        return TOO_LARGE;
    if (*text == '.') {
        for (text++, digits = 0; isdigit((unsigned char)*text); text++, digits++) {
            if (digits == FRACTION_DIGITS)
                return TOO_FINE;
            part = part * 10 + (uint64_t)(*text - '0');
            scale *= 10;
        }
        if (digits == 0)
            return NO_NUMBER;
    }
    if (*text == '\0')
        return NO_UNIT;
    for (size_t i = 0; i < UNITS; i++)
        if (strcmp(text, units[i].name) == 0)
            factor = units[i].factor;
    if (factor == 0)
        return BAD_UNIT;
    rest = part * factor;
    if (rest % scale != 0)
        return TOO_FINE;
    if (__builtin_mul_overflow(whole, factor, &value) ||
        __builtin_add_overflow(value, rest / scale, out))
        return TOO_LARGE;
    return SCALED;
}

int value_duration(const char *text, uint64_t *ms, struct err *e)
{
    uint64_t n;

    switch (read_scaled(text, durations, ms)) {
    case SCALED:
        return 0;
    case NO_UNIT:
        if (strlen(text) <= WHOLE_DIGITS && value_integer(text, &n, e) == 0)
            return err_set(e, ERR_VALUE, "has no unit; write %ss or %s%sms", text, text,
                           n == 0 ? "" : "000");
        return err_set(e, ERR_VALUE, "has no unit; write %ss", text);
    case TOO_FINE:
        return err_set(e, ERR_VALUE, "is finer than a millisecond; expected whole milliseconds");
    case TOO_LARGE:
        return err_set(e, ERR_VALUE, "is too large");
    default:
        return err_set(e, ERR_VALUE,
                       "is not a duration; expected a number with ms, s, m or h, such as 10s");
    }
}

int value_size(const char *text, uint64_t *bytes, struct err *e)
{
    switch (read_scaled(text, sizes, bytes)) {
    case SCALED:
        return 0;
    case NO_UNIT:
        return err_set(e, ERR_VALUE, "has no unit; write %sMiB or %sB", text, text);
    case TOO_FINE:
        return err_set(e, ERR_VALUE, "is not a whole number of bytes");
    case TOO_LARGE:
        return err_set(e, ERR_VALUE, "is too large");
    default:
        return err_set(e, ERR_VALUE,
                       "is not a size; expected a number with B, KiB, MiB or GiB, such as 32MiB");
    }
}

int value_integer(const char *text, uint64_t *out, struct err *e)
{
    if (!span_to_u64(span_of(text), out))
        return err_set(e, ERR_VALUE, "is not a whole number");
    return 0;
}

int value_number(const char *text, double *out, struct err *e)
{
    char *end;
    size_t n = strspn(text, "0123456789.");

    /* The shape first: strtod would also take "nan", "0x1p3", a sign and leading spaces. */
    if (n == 0 || n > 30 || text[n] != '\0' || !isdigit((unsigned char)text[0]))
        return err_set(e, ERR_VALUE, "is not a number");
    *out = strtod(text, &end);
    if (*end != '\0')
        return err_set(e, ERR_VALUE, "is not a number");
    return 0;
}

int value_boolean(const char *text, bool *out, struct err *e)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return err_set(e, ERR_VALUE, "is neither true nor false");
    *out = text[0] == 't';
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int value_sha256(const char *text, uint8_t out[32], struct err *e)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++)
        if (n != 64 || hex_digit(text[i]) < 0)
            n = 0;
    if (n == 0)
        return err_set(e, ERR_VALUE,
                       "is not a SHA-256; expected 64 hexadecimal digits, as "
                       "`printf %%s KEY | sha256sum` prints them");
    for (size_t i = 0; i < 32; i++)
        out[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return 0;
}

bool value_is_word(const char *text, const char *words)
{
    size_t n = strlen(text);

    for (const char *w = words; *w != '\0'; w += strspn(w, " ")) {
        size_t len = strcspn(w, " ");

        if (len == n && memcmp(w, text, n) == 0)
            return true;
        w += len;
    }
    return false;
}

static char *show_scaled(char buf[VALUE_TEXT_MAX], const struct unit units[UNITS], uint64_t v)
{
    const struct unit *u = units;

    if (v == 0)
        u = &units[UNITS - 2]; /* "0s", "0KiB" */
    while (v % u->factor != 0)
        u++;
    snprintf(buf, VALUE_TEXT_MAX, "%" PRIu64 "%s", v / u->factor, u->name);
    return buf;
}

char *value_show_duration(char buf[VALUE_TEXT_MAX], uint64_t ms)
{
    /* "120s" and "600s" are how people write timeouts: minutes only from an hour on. */
    if (ms % 1000 == 0 && ms < 3600000)
        snprintf(buf, VALUE_TEXT_MAX, "%" PRIu64 "s", ms / 1000);
    else
        show_scaled(buf, durations, ms);
    return buf;
}

char *value_show_size(char buf[VALUE_TEXT_MAX], uint64_t bytes)
{
    return show_scaled(buf, sizes, bytes);
}

char *value_quote(char buf[VALUE_QUOTE_MAX], const char *text)
{
    size_t n = strlen(text), room = VALUE_QUOTE_MAX - 3, len = 1;
    bool cut = n > room;

    if (cut) {
        n = room - 3;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) /* not inside a character */
            n--;
    }
    buf[0] = '"';
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];

        buf[len++] = c < 0x20 || c == 0x7f || c == '"' ? '?' : (char)c;
    }
    snprintf(buf + len, VALUE_QUOTE_MAX - len, "%s\"", cut ? "..." : "");
    return buf;
}

#define SUGGEST_MAX 40 /* longer words are not compared */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: insert, drop, replace, swap two neighbours. Case does not count. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
    size_t rows[3][SUGGEST_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];

    for (size_t j = 0; j <= nb; j++)
        last[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *spare = before;

        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);

            now[j] = least(last[j - 1] + (ca != cb), least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
                cb == tolower((unsigned char)a[i - 2]))
                now[j] = least(now[j], before[j - 2] + 1);
        }
        before = last;
        last = now;
        now = spare;
    }
    return last[nb];
}

struct suggestion suggest(const char *word)
{
    return (struct suggestion){.word = word, .distance = SIZE_MAX};
}

void suggest_offer(struct suggestion *s, const char *candidate)
{
    size_t na = strlen(s->word), nb = strlen(candidate), d;

    if (na == 0 || na > SUGGEST_MAX || nb > SUGGEST_MAX)
        return;
    d = edit_distance(s->word, na, candidate, nb);
    if (d < s->distance && d < na && d < nb && d <= (na < 4 ? 1 : na / 3)) {
        s->best = candidate;
        s->distance = d;
    }
}
