/* http1.h - HTTP/1.1 messages, strictly: one codec for the requests of clients and the answers of
 * providers.
 *
 * Pure: bytes in, views out; no I/O, no allocation, no clock. What RFC 9112 calls an error is an
 * error here, never repaired: whoever frames a message differently from its neighbour can be made
 * to see another message (request smuggling). So: CRLF only, no obs-fold, no white space around a
 * name, one Content-Length, Transfer-Encoding "chunked" alone and never with Content-Length or in
 * HTTP/1.0, one Host, tokens are tokens, no control bytes in values.
 *
 * The verdict never depends on how the bytes were cut on their way: a message read whole and the
 * same message read byte by byte give the same head, the same body and the same error code.
 *
 * Not decided here, because it is policy: which hosts and origins are welcome, which methods exist,
 * how large a body may be, and where an empty path segment ("//") leads.
 */
#ifndef HOLDFAST_WIRE_HTTP1_H
#define HOLDFAST_WIRE_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/span.h"

#define HTTP1_MAX_HEAD       65536 /* bytes of a head, from its first line to the empty one */
#define HTTP1_MAX_LINE       16384 /* bytes of the start line (RFC 9112 3 asks for 8000 at least) */
#define HTTP1_MAX_HEADERS    128
#define HTTP1_MAX_METHOD     32    /* bytes of a method; the longest registered one has 17 */
#define HTTP1_MAX_EMPTY      8     /* empty lines read over before a request */
#define HTTP1_MAX_CHUNK_LINE 4096  /* bytes of a chunk's size and extensions */
#define HTTP1_MAX_TRAILERS   16384 /* bytes of the trailer section; it is read over */

enum http1_framing {
    HTTP1_NO_BODY,
    HTTP1_LENGTH,
    HTTP1_CHUNKED,
    HTTP1_UNTIL_CLOSE, /* answers only */
};

struct http1_header {
    struct span name;  /* as sent; compare with span_is_nocase */
    struct span value; /* without the white space around it */
};

struct http1_head {
    struct span method, target; /* requests */
    unsigned status;            /* answers: 100..999 */
    unsigned minor;             /* HTTP/1.x: 0 or 1 */
    enum http1_framing framing;
    uint64_t length;      /* with HTTP1_LENGTH: at most INT64_MAX */
    bool keep_alive;      /* may another message follow on this connection? */
    bool expect_continue; /* requests: Expect: 100-continue (never in HTTP/1.0) */
    unsigned n;
    uint64_t marks; /* of the headers' names: see http1_find */
    struct http1_header headers[HTTP1_MAX_HEADERS];
};

/* What is wrong with a message. `status` is what the sender of a bad request should be told; for a
 * bad answer it has no meaning (the client of such a provider is told 502 at most). */
struct http1_problem {
    unsigned status;  /* 400, 413, 414, 417, 431, 501 or 505 */
    const char *code; /* bad_request_line bad_status_line bad_header bad_framing bad_host bad_chunk
                         header_too_large uri_too_long body_too_large not_implemented
                         version_not_supported expectation_failed duplicate_header */
    const char *text; /* a sentence for people */
};

enum http1_result {
    HTTP1_MORE, /* not there yet: come again with more bytes */
    HTTP1_DONE,
    HTTP1_BAD, /* *why is filled; the connection cannot be used any more */
};

/* Reads the head of a request at the start of `in`. With HTTP1_DONE the views of *head point into
 * `in` and *used tells how many bytes the head took (leading empty lines included, RFC 9112 2.2).
 *
 * With HTTP1_MORE call again with the same bytes and more behind them; they may have moved. What
 * was already searched is kept in *scanned, an opaque number that is 0 before a message and is 0
 * again after it, so that a head that comes byte by byte costs no more than twice a whole one.
 * *head and *used mean nothing until HTTP1_DONE.
 *
 * Trouble is found as soon as the bytes that show it are there: a start that cannot be a method is
 * not waited for, nor is what follows a bare LF, a bad line or a passed limit.
 *
 * HTTP/1.2 to 1.9 count as 1.1; other versions are 505. Duplicates of Host, Content-Length,
 * Transfer-Encoding, Content-Type, Authorization, x-api-key, x-goog-api-key, Expect and Origin are
 * refused. Host is name[:port], IPv4[:port] or [IPv6][:port], where a name has letters, digits and
 * "-._~" only; it may be empty or missing in HTTP/1.0.
 *
 * A target must start with "/" (or be "*" with OPTIONS) and hold neither control bytes, spaces,
 * non-ASCII bytes, "#", "\", %00 nor a "%" without two hex digits; its path holds neither a dot
 * segment, in clear or percent-encoded, nor %2f or %5c. It is handed out as sent. The absolute form
 * of a target is refused too: nothing here is a forward proxy. */
enum http1_result http1_read_request(struct span in, size_t *scanned, struct http1_head *head,
                                     size_t *used, struct http1_problem *why);

/* The same for an answer to a request with `method`: HEAD, 1xx, 204, 304 and a 2xx to CONNECT have
 * no body. An answer with neither length nor chunked is HTTP1_UNTIL_CLOSE (RFC 9112 6.3). Several
 * equal Content-Length values are refused too. An empty reason phrase may lack its space. Empty
 * lines before an answer are refused. */
enum http1_result http1_read_answer(struct span in, size_t *scanned, struct span method,
                                    struct http1_head *head, size_t *used,
                                    struct http1_problem *why);

/* http1_find, without the look at the marks. */
struct span http1_find_among(const struct http1_head *head, struct span name);

/* A name's mark, one bit of 64. Most names that are looked for are not there, and nearly always
 * that shows at once. */
static inline uint64_t http1_mark(struct span name)
{
    return (uint64_t)1 << ((name.n * 5 + ((unsigned char)name.p[0] | 0x20)) & 63);
}

/* False: there is none of this name for sure. */
static inline bool http1_may_have(const struct http1_head *head, struct span name)
{
    return (head->marks & http1_mark(name)) != 0;
}

/* The value of the first header with this name, in any case; an empty span with p == NULL where
 * there is none (the value of a header that is there never has p == NULL). For the names whose
 * duplicates are refused it is the only one. */
static inline struct span http1_find(const struct http1_head *head, const char *name)
{
    struct span wanted = span_of(name);

    if (!http1_may_have(head, wanted))
        return (struct span){NULL, 0};
    return http1_find_among(head, wanted);
}

/* Reads a body piece by piece. */
struct http1_body {
    enum http1_framing framing;
    uint64_t left;  /* bytes of this chunk or of the body still to come */
    unsigned state; /* chunked: where in the framing we are */
    unsigned line;  /* chunked: bytes of the current size line or of the trailers so far */
    bool done;      /* the whole body was read */
};

/* A message without a body, or with one of no bytes, is done at once. */
void http1_body_start(struct http1_body *b, const struct http1_head *head);

/* Takes bytes from the start of `in`: *used tells how many, *data is the run of payload among them
 * (may be empty). HTTP1_MORE: call again with what follows (at once if *used < in.n; at least one
 * byte of a non-empty `in` is always used). HTTP1_DONE: the body ended within the *used bytes.
 * HTTP1_BAD: as everywhere. *data may hold payload with each of them. A body without a length never
 * is HTTP1_DONE: the end of the connection ends it.
 *
 * The size of a chunk is 1 to 16 hex digits and at most INT64_MAX; no white space goes with it.
 * Extensions and trailers are checked and dropped. */
enum http1_result http1_body_read(struct http1_body *b, struct span in, size_t *used,
                                  struct span *data, struct http1_problem *why);

/* Writes the size line of a chunk ("1f4\r\n") into `out` (HTTP1_CHUNK_HEAD bytes) and returns its
 * length. The payload and "\r\n" follow it; "0\r\n" and "\r\n" end the body. */
#define HTTP1_CHUNK_HEAD 20
size_t http1_chunk_head(char *out, size_t payload);

/* The standard reason phrase; "" for a status without one. */
const char *http1_reason(unsigned status);

#endif
