/* stitch.h - the events of an answer that carries another one on, made fit for the client.
 *
 * The client has the beginning of an answer from one target; these are the events of the next one,
 * whole from its own start. seam.h decides about its text; here the rest is seen to: it does not
 * start a second time, what was thought before is not told again, the tokens of both are counted,
 * and a tool call or the end comes only once the text fits.
 */
#ifndef HOLDFAST_PROXY_STITCH_H
#define HOLDFAST_PROXY_STITCH_H

#include "providers/chat.h"
#include "proxy/base/strbuf.h"
#include "proxy/seam.h"

struct stitch {
    struct seam_join join;
    struct chat_usage before; /* of whoever wrote what the client has */
    enum seam_verdict said;   /* may what comes go out? */
    struct strbuf piece, out, quoted;
};

/* `text` is what the client has; looked at until the verdict is LIVE. Memory from the arena. */
void stitch_init(struct stitch *s, enum seam_way way, const struct seam_text *text,
                 const struct chat_usage *before, struct arena *a);

/* One event of the new answer: passes on to `sink` what the client is to get of it. */
void stitch_event(struct stitch *s, const struct chat_event *ev, chat_sink *sink, void *ctx);

/* The new answer is complete, whatever it ended with: passes on what was held. False where it does
 * not fit. */
bool stitch_end(struct stitch *s, chat_sink *sink, void *ctx);

#endif
