#include "providers/vectors.h"

#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "providers/openai_chat.h"
#include "proxy/base/base64.h"
#include "proxy/base/json.h"

#define MAX_NUMBER 64 /* bytes of a number, its NUL included: doubles need 25 */

/* The nearest 32-bit float. False where there is none. */
static bool to_float(struct span raw, float *out)
{
    char text[MAX_NUMBER];

    if (json_type_of(raw) != JSON_NUMBER || raw.n >= sizeof(text))
        return false;
    memcpy(text, raw.p, raw.n);
    text[raw.n] = '\0';
    *out = strtof(text, NULL);
    return isfinite(*out) != 0;
}

/* Most are seen at a glance to be no larger than the largest float, which has 39 digits. */
static bool is_float(struct span raw)
{
    float f;

    return (json_type_of(raw) == JSON_NUMBER && raw.n < 39 && memchr(raw.p, 'e', raw.n) == NULL &&
            memchr(raw.p, 'E', raw.n) == NULL) ||
           to_float(raw, &f);
}

/* How many numbers the list holds; 0 where it is none, or empty. */
static unsigned count_numbers(struct span raw)
{
    struct json j = json_read(raw);
    unsigned n = 0;

    if (!json_enter(&j, JSON_ARRAY))
        return 0;
    for (; json_item(&j); n++)
        if (!is_float(json_take(&j)))
            return 0;
    return n;
}

/* How many floats the base64 stands for; 0 where it stands for none, or for what is no number. */
static unsigned count_packed(struct span raw)
{
    struct arena a;
    struct span bytes;
    unsigned n = 0;

    arena_init(&a);
    if (base64_decode(json_text(raw, &a), &a, &bytes) && bytes.n % sizeof(float) == 0)
        for (; n < bytes.n / sizeof(float); n++) {
            uint32_t bits;
            float f;

            memcpy(&bits, bytes.p + n * sizeof(bits), sizeof(bits));
            bits = le32toh(bits);
            memcpy(&f, &bits, sizeof(f));
            if (!isfinite(f)) {
                n = 0;
                break;
            }
        }
    arena_release(&a);
    return n;
}

void vectors_add(struct vectors *v, struct span raw, bool packed)
{
    unsigned n = json_type_of(raw) != JSON_STRING ? count_numbers(raw)
                 : packed                         ? count_packed(raw)
                                                  : 0;

    v->bad |= n == 0;
    if (v->n++ == 0)
        v->dimensions = n;
    else if (n != v->dimensions)
        v->other = n;
}

void vectors_judge(const struct vectors *v, struct chat_watch *watch)
{
    const struct chat_vectors *asked = &watch->vectors;
    char text[160];

    if (v->n == 0) {
        openai_chat_fail(watch, EMPTY, "the answer holds no vectors");
    } else if (v->n != asked->inputs) {
        snprintf(text, sizeof(text), "the answer holds %u vectors for %u texts", v->n,
                 asked->inputs);
        openai_chat_fail(watch, v->n < asked->inputs ? TRUNCATED : MALFORMED, text);
    } else if (v->bad) {
        openai_chat_fail(watch, MALFORMED,
                         "a vector of the answer is not in the form that was asked for, or holds "
                         "what is no number");
    } else if (v->other != 0) {
        snprintf(text, sizeof(text), "the answer holds vectors of %u and of %u dimensions",
                 v->dimensions, v->other);
        openai_chat_fail(watch, MALFORMED, text);
    } else if (asked->dimensions != 0 && v->dimensions != asked->dimensions) {
        snprintf(text, sizeof(text), "dimensions: %u were asked for, and the vectors have %u",
                 asked->dimensions, v->dimensions);
        openai_chat_fail(watch, UNSUPPORTED, text);
    }
}

void vectors_pack(struct strbuf *out, struct span list)
{
    uint32_t group[3]; /* 12 bytes are 16 digits: only the last group is padded */
    struct json j = json_read(list);
    unsigned n = 0;

    strbuf_add_char(out, '"');
    json_enter(&j, JSON_ARRAY);
    while (json_item(&j)) {
        float f = 0;

        to_float(json_take(&j), &f);
        memcpy(&group[n], &f, sizeof(f));
        group[n] = htole32(group[n]);
        if (++n == ARRAY_LEN(group)) {
            base64_add(out, (struct span){(const char *)group, sizeof(group)});
            n = 0;
        }
    }
    base64_add(out, (struct span){(const char *)group, n * sizeof(*group)});
    strbuf_add_char(out, '"');
}
