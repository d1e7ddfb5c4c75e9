#include "proxy/event_ids.h"

#include <inttypes.h>
#include <stdio.h>

/* "\n", "\r" or "\r\n" at the start of `at`. */
static size_t line_end(struct span at)
{
    if (at.n > 1 && at.p[0] == '\r' && at.p[1] == '\n')
        return 2;
    return at.n > 0 && (at.p[0] == '\r' || at.p[0] == '\n');
}

static bool is_id_line(struct span at)
{
    return span_starts(at, "id:") ||
           (span_starts(at, "id") && line_end((struct span){at.p + 2, at.n - 2}) > 0);
}

static size_t to_line_end(struct span at)
{
    size_t n = 0;

    while (n < at.n && at.p[n] != '\r' && at.p[n] != '\n')
        n++;
    return n;
}

/* What stands between two bytes that are not passed on as they are. */
struct run {
    event_ids_sink *sink;
    void *ctx;
    const char *from;
};

static void pass(struct run *run, const char *to, const char *next, bool event_ends)
{
    if (to > run->from)
        run->sink(run->ctx, (struct span){run->from, (size_t)(to - run->from)}, event_ends);
    run->from = next;
}

static void add_id(const struct event_ids *ids, struct run *run)
{
    char line[EVENT_IDS_STREAM + 32];
    int n = snprintf(line, sizeof(line), "id: %s-%" PRIu64 "\n", ids->stream, ids->ended + 1);

    run->sink(run->ctx, (struct span){line, (size_t)n}, false);
}

void event_ids_feed(struct event_ids *ids, struct span bytes, event_ids_sink *sink, void *ctx)
{
    struct run run = {sink, ctx, bytes.p};
    struct span at = bytes;

    while (at.n > 0) {
        const char *start = at.p;
        size_t ending = line_end(at), n;

        if (!ids->in_line && ending > 0) {
            at.p += ending;
            at.n -= ending;
            if (ids->in_event) {
                ids->ended++;
                pass(&run, at.p, at.p, true);
            } else {
                pass(&run, start, at.p, false);
            }
            ids->in_event = false;
            continue;
        }
        if (!ids->in_line) {
            ids->dropping = is_id_line(at);
            if (ids->dropping) {
                pass(&run, start, start, false);
            } else if (at.p[0] != ':' && !ids->in_event) {
                pass(&run, start, start, false);
                add_id(ids, &run);
                ids->in_event = true;
            }
        }
        n = to_line_end(at);
        ending = line_end((struct span){at.p + n, at.n - n});
        at.p += n + ending;
        at.n -= n + ending;
        ids->in_line = ending == 0;
        if (ids->dropping)
            run.from = at.p;
    }
    pass(&run, at.p, at.p, false);
}

bool event_ids_read_stream(struct span text, uint8_t id[REPLAY_ID_BYTES])
{
    return hash_parse_hex(text, id, REPLAY_ID_BYTES);
}

bool event_ids_read_event(struct span text, struct span stream, uint64_t *number)
{
    return text.n > stream.n + 1 && span_eq((struct span){text.p, stream.n}, stream) &&
           text.p[stream.n] == '-' &&
           span_to_u64((struct span){text.p + stream.n + 1, text.n - stream.n - 1}, number);
}
