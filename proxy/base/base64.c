#include "proxy/base/base64.h"

#include <stdint.h>

void base64_add(struct strbuf *out, struct span bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = (const uint8_t *)bytes.p;

    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t n = bytes.n - i < 3 ? bytes.n - i : 3;
        uint32_t bits = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                        (n > 2 ? (uint32_t)p[i + 2] : 0);

        for (unsigned k = 0; k < 4; k++)
            strbuf_add_char(out, k <= n ? digits[bits >> (18 - 6 * k) & 63] : '=');
    }
}

/* The two alphabets differ in the last two digits. */
int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

bool base64_decode(struct span text, struct arena *a, struct span *out)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;
    uint8_t *to;

    if (text.n % 4 == 0) /* padded, if at all */
        for (unsigned pad = 0; pad < 2 && text.n != 0 && text.p[text.n - 1] == '='; pad++)
            text.n--;
    if (text.n % 4 == 1)
        return false;
    to = arena_alloc(a, text.n + 1);
    for (size_t i = 0; i < text.n; i++) {
        int v = base64_digit(text.p[i]);

        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8)
            to[n++] = (uint8_t)(bits >> (have -= 8));
    }
    *out = (struct span){(const char *)to, n};
    return true;
}
