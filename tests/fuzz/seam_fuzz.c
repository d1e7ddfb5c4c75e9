/* seam_fuzz.c - what was sent and a new answer, both any text, in any pieces, over every way.
 *
 * The input is a byte (the pieces' sizes), what was sent, a NUL, and the new answer. A join that is
 * WRONG gives nothing; one that goes live gives whole characters, the same for any pieces, and what
 * it gives is the end of the new answer. Under ALIGN that is all behind what was sent, and what was
 * sent is how the answer begins.
 */
#include "proxy/seam.h"

#include <stdint.h>
#include <stdlib.h>

#include "proxy/base/json.h"
#include "proxy/seam_compare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static struct span behind(struct span text, size_t n)
{
    return (struct span){text.p + n, text.n - n};
}

/* As JSON gives it: replacement characters for what is no UTF-8. */
static struct span raw_of(struct span bytes, struct arena *a)
{
    struct strbuf raw = strbuf_in(a, SIZE_MAX / 2);

    json_add_string(&raw, bytes);
    return strbuf_span(&raw);
}

/* In pieces whose sizes `seed` decides; 0: all at once. */
static enum seam_verdict join(enum seam_way way, const struct seam_text *t, struct span answer,
                              uint32_t seed, struct strbuf *out)
{
    struct arena a;
    struct seam_join j;
    enum seam_verdict said = SEAM_HOLD, last = SEAM_HOLD;

    arena_init(&a);
    seam_join_init(&j, way, t, &a);
    while (answer.n > 0) {
        size_t n = answer.n;

        if (seed != 0) {
            seed = seed * 1664525 + 1013904223;
            n = 1 + (seed >> 16) % 9 % n;
        }
        said = seam_join_text(&j, (struct span){answer.p, n}, out);
        require(last == SEAM_HOLD || said == last);
        require(said == SEAM_LIVE || out->len == 0);
        require(compare_whole(strbuf_span(out)) == out->len);
        last = said;
        answer = behind(answer, n);
    }
    said = seam_join_end(&j, out);
    require(last == SEAM_HOLD || said == last);
    require(said == SEAM_LIVE || (said == SEAM_WRONG && out->len == 0));
    arena_release(&a);
    return said;
}

static void check_way(enum seam_way way, const struct seam_text *t, struct span answer,
                      uint32_t seed)
{
    struct span sent = strbuf_span(&t->text);
    struct strbuf out = strbuf_heap(SIZE_MAX / 2), again = strbuf_heap(SIZE_MAX / 2);
    enum seam_verdict said = join(way, t, answer, seed, &out);

    require(join(way, t, answer, 0, &again) == said);
    require(span_eq(strbuf_span(&out), strbuf_span(&again)));
    require(out.len <= answer.n);
    require(span_eq(strbuf_span(&out), behind(answer, answer.n - out.len)));
    if (way == SEAM_ALIGN) {
        bool begins = answer.n >= sent.n && span_eq((struct span){answer.p, sent.n}, sent);

        require((said == SEAM_LIVE) == begins);
        require(said != SEAM_LIVE || out.len == answer.n - sent.n);
    }
    strbuf_release(&out);
    strbuf_release(&again);
}

static void check_request(enum seam_way way, const struct seam_text *t, struct arena *a)
{
    struct seam_request r;

    seam_request(t, way, a, &r);
    require((r.assistant.n > 0) == (way != SEAM_ALIGN) && (r.user.n > 0) == (way == SEAM_TURN));
    require(compare_trim_end(r.assistant).n == r.assistant.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seam_rules rules = {.mode = SEAM_CONTINUE};
    struct span rest = {(const char *)data, size}, sent = {0}, answer;
    struct seam_text t;
    struct arena a;
    uint32_t seed = 0;
    const char *nul;

    if (size == 0)
        return 0;
    seed = data[0] + 1u;
    rest = behind(rest, 1);
    nul = memchr(rest.p, '\0', rest.n);
    if (nul != NULL) {
        sent = (struct span){rest.p, (size_t)(nul - rest.p)};
        rest = behind(rest, sent.n + 1);
    }
    arena_init(&a);
    seam_text_init(&t, SEAM_TEXT_BYTES);
    seam_note(&t, &(struct chat_event){.kind = CHAT_TEXT, .text = raw_of(sent, &a)});
    answer = json_text(raw_of(rest, &a), &a);
    for (enum seam_way way = 0; way < SEAM_WAYS; way++) {
        if ((seam_ways(&t, &rules) & SEAM_BIT(way)) == 0)
            continue;
        check_request(way, &t, &a);
        check_way(way, &t, answer, seed);
    }
    arena_release(&a);
    seam_text_release(&t);
    return 0;
}
