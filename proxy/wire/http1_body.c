/* The bodies of http1.h; the heads are in http1.c. */
#include "proxy/wire/http1.h"

#include "proxy/wire/http1_bytes.h"

/* A chunked body, byte by byte but for its payload (RFC 9112 7.1):
 *
 *     SIZE [-> EXTENSION] -> SIZE_LF -> PAYLOAD -> PAYLOAD_CR -> PAYLOAD_LF -> SIZE -> ...
 *
 * and after the size 0 the trailers, where an empty line is the end:
 *
 *     TRAILER -> TRAILER_NAME -> TRAILER_VALUE -> TRAILER_LF -> TRAILER -> ... -> LAST_LF
 */
enum state {
    SIZE,
    EXTENSION,
    SIZE_LF,
    PAYLOAD,
    PAYLOAD_CR,
    PAYLOAD_LF,
    TRAILER,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
};

static bool bad_chunk(struct http1_problem *why, const char *text)
{
    return bad(why, 400, "bad_chunk", text);
}

void http1_body_start(struct http1_body *b, const struct http1_head *head)
{
    *b = (struct http1_body){.framing = head->framing, .state = SIZE};
    if (head->framing == HTTP1_LENGTH)
        b->left = head->length;
    b->done = head->framing == HTTP1_NO_BODY || (head->framing == HTTP1_LENGTH && b->left == 0);
}

static bool size_byte(struct http1_body *b, char c, struct http1_problem *why)
{
    int digit = hex_value(c);

    if (digit >= 0) {
        if (b->line == 16 || b->left > (uint64_t)INT64_MAX >> 4)
            return bad(why, 413, "body_too_large", "the size of a chunk is beyond any body");
        b->left = b->left << 4 | (unsigned)digit;
        b->line++;
        return true;
    }
    if (b->line == 0)
        return bad_chunk(why, "a chunk must start with its size in hex digits");
    if (c != '\r' && c != ';')
        return bad_chunk(why, "only CR LF or an extension may follow the size of a chunk");
    b->state = c == '\r' ? SIZE_LF : EXTENSION;
    b->line++; /* the ";" counts; after a CR nobody does */
    return true;
}

static bool extension_byte(struct http1_body *b, char c, struct http1_problem *why)
{
    if (c == '\r') {
        b->state = SIZE_LF;
        return true;
    }
    if (++b->line > HTTP1_MAX_CHUNK_LINE)
        return bad_chunk(why, "the size line of a chunk is longer than 4096 bytes");
    return is(c, TEXT) || bad_chunk(why, "a chunk extension holds a control byte");
}

static bool trailer_byte(struct http1_body *b, char c, struct http1_problem *why)
{
    if (++b->line > HTTP1_MAX_TRAILERS)
        return bad(why, 431, "bad_chunk", "the trailers of a body are larger than 16384 bytes");
    switch (b->state) {
    case TRAILER:
        if (c == '\r') {
            b->state = LAST_LF;
            return true;
        }
        b->state = TRAILER_NAME;
        return is(c, TOKEN) || bad_chunk(why, "a trailer does not start with its name");
    case TRAILER_NAME:
        if (c == ':')
            b->state = TRAILER_VALUE;
        return c == ':' || is(c, TOKEN) || bad_chunk(why, "the name of a trailer is not a token");
    default:
        if (c == '\r')
            b->state = TRAILER_LF;
        return c == '\r' || is(c, TEXT) || bad_chunk(why, "a trailer holds a control byte");
    }
}

/* After a CR. */
static bool line_feed(struct http1_body *b, char c, struct http1_problem *why)
{
    if (c != '\n')
        return bad_chunk(why, "a CR in a chunked body has no LF after it");
    switch (b->state) {
    case SIZE_LF:
        b->state = b->left > 0 ? PAYLOAD : TRAILER;
        break;
    case PAYLOAD_LF:
        b->state = SIZE;
        break;
    case TRAILER_LF:
        b->state = TRAILER;
        b->line++; /* the limit is for all trailers */
        return true;
    default:
        b->done = true;
    }
    b->line = 0;
    return true;
}

/* One byte of what is around the payload. */
static bool framing_byte(struct http1_body *b, char c, struct http1_problem *why)
{
    switch (b->state) {
    case SIZE:
        return size_byte(b, c, why);
    case EXTENSION:
        return extension_byte(b, c, why);
    case PAYLOAD_CR:
        b->state = PAYLOAD_LF;
        return c == '\r' || bad_chunk(why, "CR LF must follow the payload of a chunk");
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        return trailer_byte(b, c, why);
    default:
        return line_feed(b, c, why);
    }
}

static struct span take_run(struct http1_body *b, struct span in)
{
    if (in.n > b->left)
        in.n = (size_t)b->left;
    b->left -= in.n;
    return in;
}

/* The framing before one run of payload, that run, and the framing after it: so a buffer with one
 * chunk, or with a part of a large one, takes one call. */
static enum http1_result read_chunked(struct http1_body *b, struct span in, size_t *used,
                                      struct span *data, struct http1_problem *why)
{
    size_t at = 0;
    enum http1_result r = HTTP1_MORE;

    while (at < in.n && !b->done) {
        if (b->state == PAYLOAD) {
            if (data->n > 0)
                break;
            *data = take_run(b, skip(in, at));
            at += data->n;
            if (b->left == 0)
                b->state = PAYLOAD_CR;
        } else if (!framing_byte(b, in.p[at++], why)) {
            r = HTTP1_BAD;
            break;
        }
    }
    *used = at;
    return b->done ? HTTP1_DONE : r;
}

enum http1_result http1_body_read(struct http1_body *b, struct span in, size_t *used,
                                  struct span *data, struct http1_problem *why)
{
    *used = 0;
    *data = (struct span){in.p, 0};
    if (b->done)
        return HTTP1_DONE;
    switch (b->framing) {
    case HTTP1_CHUNKED:
        return read_chunked(b, in, used, data, why);
    case HTTP1_LENGTH:
        *data = take_run(b, in);
        b->done = b->left == 0;
        break;
    default:
        *data = in;
    }
    *used = data->n;
    return b->done ? HTTP1_DONE : HTTP1_MORE;
}

size_t http1_chunk_head(char *out, size_t payload)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t size = payload;
    unsigned shift = 0;
    size_t n = 0;

    while (size >> shift > 15)
        shift += 4;
    for (;; shift -= 4) {
        out[n++] = digits[size >> shift & 15];
        if (shift == 0)
            break;
    }
    out[n++] = '\r';
    out[n++] = '\n';
    return n;
}

_Static_assert(HTTP1_CHUNK_HEAD >= 2 * sizeof(size_t) + 2, "room for the largest size");
