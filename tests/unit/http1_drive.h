/* http1_drive.h - reads bytes as a connection would: messages one after the other, arriving in
 * pieces, and writes down what was understood. Two readings are the same when their texts are.
 *
 * Every call gets a copy of exactly the bytes that have come, so that AddressSanitizer sees a read
 * past them, and every view handed out must lie inside that copy.
 */
#ifndef HOLDFAST_TESTS_HTTP1_DRIVE_H
#define HOLDFAST_TESTS_HTTP1_DRIVE_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "proxy/base/rng.h"
#include "proxy/base/strbuf.h"
#include "proxy/wire/http1.h"

struct pieces {
    size_t first;    /* bytes of the first piece; 0: as the others */
    size_t size;     /* bytes of each piece, or with `rng` at most */
    struct rng *rng; /* may be NULL */
};

struct reading {
    struct strbuf text;       /* heads, bodies, and how it ended */
    unsigned messages;        /* read to their end */
    enum http1_result result; /* DONE: ended between two messages; MORE: in the middle of one */
    struct http1_problem why; /* with HTTP1_BAD */
};

static inline void reading_release(struct reading *r)
{
    strbuf_release(&r->text);
}

static inline void drive_inside(struct span view, struct span in, size_t used)
{
    if (view.n > 0)
        assert(view.p >= in.p && view.p + view.n <= in.p + used);
}

static inline void drive_head(struct reading *r, const struct http1_head *h, struct span in,
                              size_t used)
{
    drive_inside(h->method, in, used);
    drive_inside(h->target, in, used);
    strbuf_addf(&r->text, "%.*s|%.*s|%u|1.%u|%d|%llu|%d|%d\n", SPAN_ARG(h->method),
                SPAN_ARG(h->target), h->status, h->minor, (int)h->framing,
                (unsigned long long)h->length, h->keep_alive, h->expect_continue);
    assert(h->n <= HTTP1_MAX_HEADERS);
    for (unsigned i = 0; i < h->n; i++) {
        drive_inside(h->headers[i].name, in, used);
        drive_inside(h->headers[i].value, in, used);
        strbuf_addf(&r->text, "<%.*s>=<%.*s>\n", SPAN_ARG(h->headers[i].name),
                    SPAN_ARG(h->headers[i].value));
    }
}

struct drive {
    struct reading *r;
    bool answers;
    struct span method; /* answers: of the request */
    bool in_body;
    size_t scanned;
    struct http1_body body;
};

/* One call of the codec. False when it needs more bytes or the bytes are bad. */
static inline bool drive_step(struct drive *d, struct span in, size_t *used)
{
    struct reading *r = d->r;
    struct http1_head head;
    struct span data;

    *used = 0;
    if (d->in_body) {
        r->result = http1_body_read(&d->body, in, used, &data, &r->why);
        assert(*used <= in.n && (*used > 0 || d->body.done));
        drive_inside(data, in, *used);
        strbuf_add_n(&r->text, data.p, data.n);
        if (r->result == HTTP1_DONE)
            assert(d->body.done);
    } else {
        r->result = d->answers ? http1_read_answer(in, &d->scanned, d->method, &head, used, &r->why)
                               : http1_read_request(in, &d->scanned, &head, used, &r->why);
        if (r->result == HTTP1_DONE) {
            assert(*used > 0 && *used <= in.n && d->scanned == 0);
            drive_head(r, &head, in, *used);
            http1_body_start(&d->body, &head);
            d->in_body = true;
            if (!d->body.done)
                r->result = HTTP1_MORE;
        }
    }
    if (r->result == HTTP1_DONE) {
        r->messages++;
        d->in_body = false;
        strbuf_add(&r->text, "\n==\n");
    }
    return r->result != HTTP1_BAD && *used > 0;
}

/* `method` NULL: the bytes are requests, otherwise answers to requests with this method. */
static inline void drive(struct span in, const char *method, struct pieces pieces,
                         struct reading *r)
{
    struct drive d = {.r = r, .answers = method != NULL, .method = span_of(method)};
    size_t have = 0, at = 0, used;

    *r = (struct reading){.text = strbuf_heap(1 << 22), .result = HTTP1_DONE};
    while (have < in.n && r->result != HTTP1_BAD) {
        size_t more = pieces.size;

        if (have == 0 && pieces.first > 0)
            more = pieces.first;
        else if (pieces.rng != NULL)
            more = (size_t)rng_between(pieces.rng, 1, pieces.size);
        have = more < in.n - have ? have + more : in.n;
        for (bool go = true; go && at < have; at += used) {
            size_t n = have - at;
            char *copy = mem_alloc(n);

            memcpy(copy, in.p + at, n);
            go = drive_step(&d, (struct span){copy, n}, &used);
            free(copy);
        }
    }
    if (r->result == HTTP1_MORE && d.in_body && d.body.framing == HTTP1_UNTIL_CLOSE) {
        r->result = HTTP1_DONE;
        r->messages++;
    }
    if (r->result == HTTP1_BAD)
        strbuf_addf(&r->text, "BAD %u %s %s", r->why.status, r->why.code, r->why.text);
    else
        strbuf_add(&r->text, r->result == HTTP1_MORE ? "MORE" : "DONE");
    assert(!r->text.failed);
}

static inline bool same_reading(const struct reading *a, const struct reading *b)
{
    return a->result == b->result && a->messages == b->messages && a->text.len == b->text.len &&
           memcmp(a->text.buf, b->text.buf, a->text.len) == 0;
}

#endif
