#include "proxy/wire/inflate.h"

#include <stdlib.h>
#include <zlib.h>

#include "proxy/base/mem.h"

#define EITHER_FORMAT (15 + 32) /* zlib's way to say: gzip or zlib, largest window */
#define PIECE         16384

struct inflate {
    z_stream z;
    bool complete;
    uint64_t in, out;
};

struct inflate *inflate_new(void)
{
    struct inflate *z = mem_zalloc(sizeof(*z));

    if (inflateInit2(&z->z, EITHER_FORMAT) != Z_OK)
        abort(); /* out of memory, as in mem.h */
    return z;
}

void inflate_free(struct inflate *z)
{
    if (z == NULL)
        return;
    inflateEnd(&z->z);
    free(z);
}

enum inflate_result inflate_feed(struct inflate *z, struct span in,
                                 bool (*sink)(void *ctx, struct span out), void *ctx)
{
    unsigned char piece[PIECE];

    z->in += in.n;
    z->z.next_in = (unsigned char *)(uintptr_t)in.p;
    z->z.avail_in = (unsigned)in.n;
    z->z.avail_out = 1;
    /* A piece that is full may have left more behind, also when all input is used. */
    while ((z->z.avail_in > 0 || z->z.avail_out == 0) && !z->complete) {
        size_t got;
        int rc;

        z->z.next_out = piece;
        z->z.avail_out = sizeof(piece);
        rc = inflate(&z->z, Z_NO_FLUSH);
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
            return INFLATE_BROKEN;
        got = sizeof(piece) - z->z.avail_out;
        z->complete = rc == Z_STREAM_END;
        z->out += got;
        if (z->out > INFLATE_FREE && z->out / INFLATE_MAX_RATIO > z->in - z->z.avail_in)
            return INFLATE_BOMB;
        if (got > 0 && !sink(ctx, (struct span){(char *)piece, got}))
            return INFLATE_STOPPED;
        if (rc == Z_BUF_ERROR && got == 0)
            break;
    }
    return INFLATE_OK;
}

bool inflate_complete(const struct inflate *z)
{
    return z->complete;
}
