#include "proxy/stitch.h"

#include "proxy/base/json.h"

#define MAX_PIECE (16 * 1024 * 1024) /* of one event, as attempts take them */

void stitch_init(struct stitch *s, enum seam_way way, const struct seam_text *text,
                 const struct chat_usage *before, struct arena *a)
{
    *s = (struct stitch){
        .before = *before,
        .piece = strbuf_in(a, MAX_PIECE),
        .out = strbuf_in(a, 4 * MAX_PIECE),
        .quoted = strbuf_in(a, 8 * MAX_PIECE),
    };
    seam_join_init(&s->join, way, text, a);
}

/* What may go out of the text, as an event of the same kind. */
static void pass(struct stitch *s, const struct chat_event *ev, enum chat_event_kind kind,
                 chat_sink *sink, void *ctx)
{
    struct chat_event now = {.kind = kind, .choice = ev->choice};

    if (s->out.len == 0)
        return;
    strbuf_clear(&s->quoted);
    json_add_string(&s->quoted, strbuf_span(&s->out));
    now.text = strbuf_span(&s->quoted);
    sink(ctx, &now);
}

static void text(struct stitch *s, const struct chat_event *ev, chat_sink *sink, void *ctx)
{
    strbuf_clear(&s->piece);
    strbuf_clear(&s->out);
    if (ev->choice != 0 || !json_add_text(&s->piece, ev->text)) {
        s->said = SEAM_WRONG;
        return;
    }
    s->said = seam_join_text(&s->join, strbuf_span(&s->piece), &s->out);
    if (s->said == SEAM_LIVE)
        pass(s, ev, CHAT_TEXT, sink, ctx);
}

static void reasoning(struct stitch *s, const struct chat_event *ev, chat_sink *sink, void *ctx)
{
    strbuf_clear(&s->piece);
    strbuf_clear(&s->out);
    if (ev->choice == 0 && json_add_text(&s->piece, ev->text))
        seam_join_reasoning(&s->join, strbuf_span(&s->piece), &s->out);
    if (s->out.len > 0) /* no text was sent that it could contradict */
        s->said = SEAM_LIVE;
    pass(s, ev, CHAT_REASONING, sink, ctx);
}

bool stitch_end(struct stitch *s, chat_sink *sink, void *ctx)
{
    strbuf_clear(&s->out);
    if (s->said != SEAM_WRONG)
        s->said = seam_join_end(&s->join, &s->out);
    if (s->said == SEAM_LIVE)
        pass(s, &(struct chat_event){0}, CHAT_TEXT, sink, ctx);
    return s->said == SEAM_LIVE;
}

static struct chat_usage sum(const struct chat_usage *a, const struct chat_usage *b)
{
    return (struct chat_usage){
        .seen = a->seen || b->seen,
        .input = a->input + b->input,
        .output = a->output + b->output,
        .cached = a->cached + b->cached,
        .reasoning = a->reasoning + b->reasoning,
    };
}

void stitch_event(struct stitch *s, const struct chat_event *ev, chat_sink *sink, void *ctx)
{
    struct chat_event now = *ev;

    if (s->said == SEAM_WRONG)
        return;
    switch (ev->kind) {
    case CHAT_START:     /* it has started */
    case CHAT_SIGNATURE: /* of reasoning that the client does not get as it was */
        break;
    case CHAT_TEXT:
        text(s, ev, sink, ctx);
        break;
    case CHAT_REASONING:
        reasoning(s, ev, sink, ctx);
        break;
    case CHAT_USAGE:
        now.usage = sum(&s->before, &ev->usage);
        sink(ctx, &now);
        break;
    case CHAT_REFUSAL: /* in the middle of another one's answer it makes no sense */
        s->said = SEAM_WRONG;
        break;
    case CHAT_TOOL_START:
    case CHAT_TOOL_ARGS:
    case CHAT_STOP:
    case CHAT_VECTOR:
    case CHAT_END:
        if (stitch_end(s, sink, ctx))
            sink(ctx, ev);
        break;
    }
}
