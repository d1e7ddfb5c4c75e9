/* Whatever the bytes are and however they are cut, they read the same; views stay inside the bytes
 * that came, and no call takes more than it was given (http1_drive.h asserts both).
 *
 * The first byte of the input says what the rest is: '0' requests, '1' answers to GET, '2' to HEAD,
 * '3' to CONNECT (taken modulo 4); it also seeds the cuts. */
#include "tests/unit/http1_drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const struct reading *whole, struct span in, const char *method,
                    struct pieces pieces)
{
    struct reading r;

    drive(in, method, pieces, &r);
    if (!same_reading(whole, &r)) {
        fprintf(stderr, "whole:\n%.*s\nin pieces:\n%.*s\n", SPAN_ARG(strbuf_span(&whole->text)),
                SPAN_ARG(strbuf_span(&r.text)));
        abort();
    }
    reading_release(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = {NULL, "GET", "HEAD", "CONNECT"};
    struct reading whole;
    struct rng rng;
    const char *method;
    struct span in;

    if (size == 0)
        return 0;
    method = methods[data[0] % 4];
    rng.state = data[0] * 1000003u + size;
    in = (struct span){(const char *)data + 1, size - 1};
    drive(in, method, (struct pieces){.size = in.n}, &whole);
    compare(&whole, in, method, (struct pieces){.size = 64, .rng = &rng});
    compare(&whole, in, method, (struct pieces){.first = in.n / 2, .size = in.n});
    if (in.n <= 2048)
        compare(&whole, in, method, (struct pieces){.size = 1});
    reading_release(&whole);
    return 0;
}
