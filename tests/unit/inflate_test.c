#include "proxy/wire/inflate.h"

#include <zlib.h>

#include "proxy/base/strbuf.h"
#include "tests/unit/check.h"

enum { GZIP = 15 + 16, ZLIB = 15 };

static struct strbuf squeeze(struct span text, int window, int flush)
{
    struct strbuf out = strbuf_heap(1 << 26);
    z_stream z = {0};
    size_t room = text.n + 1024;

    CHECK_INT(deflateInit2(&z, 9, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)text.p;
    z.avail_in = (unsigned)text.n;
    z.next_out = (unsigned char *)strbuf_room(&out, room);
    z.avail_out = (unsigned)room;
    CHECK_INT(deflate(&z, flush), flush == Z_FINISH ? Z_STREAM_END : Z_OK);
    strbuf_added(&out, room - z.avail_out);
    deflateEnd(&z);
    return out;
}

static bool collect(void *ctx, struct span bytes)
{
    strbuf_add_span(ctx, bytes);
    return true;
}

static bool refuse(void *ctx, struct span bytes)
{
    (void)bytes;
    ++*(unsigned *)ctx;
    return false;
}

/* Text that packs well but not to nothing. */
static struct strbuf some_text(size_t n)
{
    struct strbuf s = strbuf_heap(n + 64);

    for (unsigned i = 0; s.len < n; i++)
        strbuf_addf(&s, "line %u of some text\n", i * 7919);
    return s;
}

static void check_round(int window, size_t step)
{
    struct strbuf text = some_text(100000), out = strbuf_heap(1 << 20);
    struct strbuf packed = squeeze(strbuf_span(&text), window, Z_FINISH);
    struct inflate *z = inflate_new();

    for (size_t i = 0; i < packed.len; i += step) {
        size_t n = packed.len - i < step ? packed.len - i : step;

        CHECK(!inflate_complete(z));
        CHECK_INT(inflate_feed(z, (struct span){packed.buf + i, n}, collect, &out), INFLATE_OK);
    }
    CHECK(inflate_complete(z));
    CHECK(span_eq(strbuf_span(&out), strbuf_span(&text)));
    inflate_free(z);
    strbuf_release(&text);
    strbuf_release(&packed);
    strbuf_release(&out);
}

TEST(both_formats_in_pieces_of_any_size)
{
    for (size_t step = 1; step < 200000; step *= 7) {
        check_round(GZIP, step);
        check_round(ZLIB, step);
    }
}

/* What zlib itself can make of the first bytes, in one go. */
static size_t possible(struct span packed)
{
    static unsigned char out[1 << 20];
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)packed.p,
                  .avail_in = (unsigned)packed.n,
                  .next_out = out,
                  .avail_out = sizeof(out)};
    size_t n;

    CHECK_INT(inflateInit2(&z, GZIP), Z_OK);
    inflate(&z, Z_SYNC_FLUSH);
    n = sizeof(out) - z.avail_out;
    inflateEnd(&z);
    return n;
}

TEST(nothing_that_could_be_told_is_kept_back)
{
    struct strbuf zeros = strbuf_heap(1 << 20), packed;

    memset(strbuf_room(&zeros, 200000), 0, 200000);
    strbuf_added(&zeros, 200000);
    packed = squeeze(strbuf_span(&zeros), GZIP, Z_FINISH);
    for (size_t n = 1; n <= packed.len; n++) {
        struct strbuf out = strbuf_heap(1 << 20);
        struct inflate *z = inflate_new();

        CHECK_INT(inflate_feed(z, (struct span){packed.buf, n}, collect, &out), INFLATE_OK);
        CHECK_INT(out.len, possible((struct span){packed.buf, n}));
        inflate_free(z);
        strbuf_release(&out);
    }
    strbuf_release(&zeros);
    strbuf_release(&packed);
}

TEST(a_cut_is_not_complete)
{
    struct strbuf text = some_text(5000), out = strbuf_heap(1 << 20);
    struct strbuf packed = squeeze(strbuf_span(&text), GZIP, Z_FINISH);

    for (size_t n = 0; n < packed.len; n++) {
        struct inflate *z = inflate_new();

        CHECK_INT(inflate_feed(z, (struct span){packed.buf, n}, collect, &out), INFLATE_OK);
        CHECK(!inflate_complete(z));
        inflate_free(z);
    }
    strbuf_release(&text);
    strbuf_release(&packed);
    strbuf_release(&out);
}

TEST(broken_data_is_told)
{
    struct strbuf text = some_text(5000), out = strbuf_heap(1 << 20);
    struct strbuf packed = squeeze(strbuf_span(&text), GZIP, Z_FINISH);
    struct inflate *z = inflate_new();

    packed.buf[packed.len - 6] ^= 1; /* inside the checksum */
    CHECK_INT(inflate_feed(z, strbuf_span(&packed), collect, &out), INFLATE_BROKEN);
    inflate_free(z);
    z = inflate_new();
    CHECK_INT(inflate_feed(z, SPAN("{\"not\": \"packed\"}"), collect, &out), INFLATE_BROKEN);
    CHECK(!inflate_complete(z));
    inflate_free(z);
    strbuf_release(&text);
    strbuf_release(&packed);
    strbuf_release(&out);
}

TEST(a_bomb_is_stopped_early)
{
    struct strbuf zeros = strbuf_heap(1 << 26), out = strbuf_heap(1 << 26), packed;
    struct inflate *z = inflate_new();

    memset(strbuf_room(&zeros, 32 << 20), 0, 32 << 20);
    strbuf_added(&zeros, 32 << 20);
    packed = squeeze(strbuf_span(&zeros), GZIP, Z_FINISH);
    CHECK_INT(inflate_feed(z, strbuf_span(&packed), collect, &out), INFLATE_BOMB);
    CHECK(out.len <= INFLATE_FREE + packed.len * INFLATE_MAX_RATIO + 65536);
    inflate_free(z);
    strbuf_release(&zeros);
    strbuf_release(&packed);
    strbuf_release(&out);
}

TEST(a_sink_that_has_enough_is_asked_once)
{
    struct strbuf text = some_text(100000);
    struct strbuf packed = squeeze(strbuf_span(&text), GZIP, Z_FINISH);
    struct inflate *z = inflate_new();
    unsigned asked = 0;

    CHECK_INT(inflate_feed(z, strbuf_span(&packed), refuse, &asked), INFLATE_STOPPED);
    CHECK_INT(asked, 1);
    inflate_free(z);
    strbuf_release(&text);
    strbuf_release(&packed);
}

TEST_MAIN()
