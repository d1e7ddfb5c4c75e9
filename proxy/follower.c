#include "proxy/follower.h"

#include <assert.h>

#include "proxy/base/attributes.h"

#define PIECE_BYTES 16384
#define MAX_FIELDS  8192

void follower_set_init(struct follower_set *s, struct loop *l)
{
    s->loop = l;
    atomic_init(&s->news, false);
    s->first = NULL;
}

void follower_set_look(struct follower_set *s)
{
    if (!atomic_exchange(&s->news, false))
        return;
    for (struct follower *f = s->first, *next; f != NULL; f = next) {
        next = f->next;
        f->on_news(f);
    }
}

/* In the recorder's thread. */
static void tell(struct replay_reader *reader)
{
    struct follower_set *s = CONTAINER_OF(reader, struct follower, reader)->set;

    if (!atomic_exchange(&s->news, true))
        loop_wake(s->loop);
}

struct replay_reader *follower_init(struct follower *f, struct follower_set *s,
                                    void (*on_news)(struct follower *self))
{
    *f = (struct follower){.reader = {.news = tell}, .set = s, .on_news = on_news};
    return &f->reader;
}

void follower_start(struct follower *f, size_t max_answer)
{
    f->whole = strbuf_heap(max_answer);
    f->next = f->set->first;
    if (f->next != NULL)
        f->next->prev = f;
    f->set->first = f;
}

void follower_stop(struct follower *f)
{
    replay_leave(&f->reader, loop_now_ms(f->set->loop));
    if (f->next != NULL)
        f->next->prev = f->prev;
    if (f->prev != NULL)
        f->prev->next = f->next;
    else
        f->set->first = f->next;
    strbuf_release(&f->whole);
}

/* The header lines of the first answer, behind our own. */
static struct span all_fields(struct span own, const struct replay_head *head, struct strbuf *out)
{
    strbuf_add_span(out, own);
    strbuf_add_span(out, head->fields);
    strbuf_add(out, "x-holdfast-replayed: true\r\n");
    assert(!out->failed);
    return strbuf_span(out);
}

static void pass_on(struct follower *f, struct client *c, struct span bytes)
{
    f->bytes += bytes.n;
    if (!f->opened) {
        strbuf_add_span(&f->whole, bytes);
        return;
    }
    client_stream_write(c, bytes);
    client_stream_flush(c);
}

void follower_pump(struct follower *f, struct client *c, struct span fields)
{
    char piece[PIECE_BYTES], mem[MAX_FIELDS];
    struct strbuf lines = strbuf_on(mem, sizeof(mem));
    struct replay_head head;

    if (replay_begun(&f->reader, &head) && !head.whole && !f->opened) {
        f->opened = true;
        client_stream_start(c, head.status, all_fields(fields, &head, &lines));
    }
    while (!f->over && client_waiting(c) <= CLIENT_HIGH_MARK) {
        struct span bytes = {piece, 0};
        enum replay_state state = replay_read(&f->reader, piece, sizeof(piece), &bytes.n);

        if (state == REPLAY_WAIT)
            break;
        if (state == REPLAY_BYTES) {
            pass_on(f, c, bytes);
        } else {
            f->over = true;
            f->end = state;
        }
    }
}

bool follower_has_answer(struct follower *f)
{
    struct replay_head head;

    return f->opened ||
           (replay_begun(&f->reader, &head) && f->end != REPLAY_GAP && !f->whole.failed);
}

unsigned follower_status(struct follower *f)
{
    struct replay_head head;

    return replay_begun(&f->reader, &head) ? head.status : 0;
}

enum failure follower_outcome(struct follower *f)
{
    return f->end == REPLAY_GAP ? TRUNCATED : replay_outcome(&f->reader);
}

void follower_finish(struct follower *f, struct client *c, struct span fields)
{
    char mem[MAX_FIELDS];
    struct strbuf lines = strbuf_on(mem, sizeof(mem));
    struct replay_head head;

    if (!f->opened) {
        replay_begun(&f->reader, &head);
        client_answer(c, head.status, all_fields(fields, &head, &lines), strbuf_span(&f->whole));
    } else if (f->end == REPLAY_ENDED) {
        client_stream_end(c);
    } else {
        client_stream_abort(c);
    }
}
