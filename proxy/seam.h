/* seam.h - an answer that one target began is carried on by another: what may go out?
 *
 * A stream broke after text had gone to the client. Another target is asked to go on, and this is
 * the pure code between its answer and the client: it keeps what was sent (struct seam_text), says
 * which ways of asking what was sent allows (seam_ways), gives the texts to ask with (seam_request)
 * and then decides over the new answer (struct seam_join). No I/O, no clock.
 *
 * It promises: never a character twice, never one missing, never a wrong text put together. In
 * doubt it says WRONG, and nothing of that answer has gone out: the caller tries another way, or
 * ends with a true error.
 *
 *   PREFILL   the request, and what was sent as the start of the assistant's last message, without
 *             the white space at its end; the model goes on inside it.
 *   TURN      the request, what was sent as an assistant message, and a user turn that asks to
 *             repeat the end of it (the anchor) and to go on from there. All up to the anchor's end
 *             is cut off.
 *   ALIGN     the request once more. The new answer is suppressed as long as it equals what was
 *             sent, byte by byte, goes out from the exact end on, and is WRONG at the first
 *             difference.
 *
 * With T what was sent without the white space at its end, W that white space, and N the new text:
 *
 *   White space. What the client has ends in W, so W must not come twice: N goes on with W, which
 *     is cut, or (PREFILL) with no white space at all. Other white space is WRONG. CRLF,
 *     indentation and no-break spaces are bytes as any others here.
 *
 *   Restart. N begins with the first 64 characters of T, or with all of a shorter T of 12 or more:
 *     from there on it is ALIGN, over what was held too. WRONG where N may as well be a repetition
 *     that goes on: where those 64 stand in T twice, where N also begins with a shorter end of T,
 *     or (PREFILL) where T has less than 400 characters and the seam is not inside a word. WRONG
 *     also where all of a T below 12 characters comes again.
 *
 *   Similar start. A restart with changes cannot be joined: N begins with nearly the first 64
 *     characters of T (at most a quarter of them changed, left out or put in; T of 8 characters or
 *     more), or, PREFILL, a quarter of N's pairs of words stand at about the same place in T.
 *     WRONG.
 *
 *   Echo. N begins with the last k characters of T. Below 5 that is chance. From 12 on PREFILL cuts
 *     them, where they cannot be the text's own repetition: they stand in T once, the seam would
 *     be inside a word, the end of T does not repeat what stands k characters before it, and no
 *     shorter echo fits. All else is WRONG, and so is any echo behind an anchor. Tables, rows of
 *     dashes, "ha ha ha": WRONG where the new text repeats, for one time too many cannot be seen.
 *
 *   The anchor (TURN) has 40 characters, or up to 120 until it stands in T only once (tolerant) and
 *     begins with a word. There is none, and so no TURN, where T ends in a repetition. T of 12 to
 *     40 characters is its own anchor; a shorter one has none: asking again is the same then. It
 *     is found where it begins in the first 400 characters of N; runs of white space, typographic
 *     quotes and dashes count as their plain forms. What stands before it is cut with it ("Sure:"),
 *     but WRONG if a part of the anchor stands there already.
 *
 *   Marks around the anchor. A quote or bracket stands right before it, and not in T: the same
 *     marks behind it are cut as well, where W and then no white space follow, or the end. WRONG
 *     in every other case, such as a code fence.
 *
 *   A second anchor soon behind the first: the first one was only talked about. WRONG.
 *
 *   A line break behind the anchor, where T ends in the middle of a sentence of a long line and N
 *     goes on with a small letter: the model has set the anchor apart. WRONG.
 *
 *   The end of N with nothing to go out is the end of the answer where T may end: with the mark
 *     that ends a sentence, a quotation, a bracket or a code block. Else WRONG. Under ALIGN, N may
 *     end where T and W do, and not before.
 *
 * To see all this, PREFILL holds the first 204 characters of N, and TURN those behind the anchor,
 * longer only while N repeats a part of T. No part of a character goes out.
 *
 * What text alone cannot show: a model that ignores the prefill and begins something else; one that
 * repeats the anchor and then leaves something out; a restart in other words of so short a T that
 * there is little to compare. PREFILL and TURN are for targets that are known to do it.
 */
#ifndef HOLDFAST_PROXY_SEAM_H
#define HOLDFAST_PROXY_SEAM_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/arena.h"
#include "proxy/base/attributes.h"
#include "proxy/base/strbuf.h"
#include "providers/chat.h"

#define SEAM_TEXT_BYTES  (256u * 1024) /* how much of an answer is kept, unless configured */
#define SEAM_CARRY_CHARS 32768         /* a longer text is not given to another model */
#define SEAM_ALIGN_CHARS 4000          /* ... nor generated anew, unless the client wants it */

enum seam_way { SEAM_PREFILL, SEAM_TURN, SEAM_ALIGN, SEAM_WAYS };

#define SEAM_BIT(way) (1u << (way))

/* What the client has got so far. One choice's text is kept; of all else only that it was there. */
struct seam_text {
    struct strbuf text; /* decoded, on the heap; grows as the answer does, up to its cap */
    bool lost;          /* more than the cap, or half a character: the text is given back */
    bool reasoning, signature, refusal, tool, stopped;
    bool call; /* a tool call began, of which nothing has gone out: set by whoever holds it back */
    bool choices; /* something of another choice than the first */
};

void seam_text_init(struct seam_text *t, size_t max_bytes); /* takes no memory yet */
void seam_text_release(struct seam_text *t);                /* empty and usable after */

/* An event has gone out. Takes no memory but for the text's growth. An escape that is half a
 * surrogate pair is no text that could be compared or given to a model, even if the next event has
 * the other half: such a text is lost. */
void seam_note(struct seam_text *t, const struct chat_event *ev);

enum seam_mode { SEAM_AUTO, SEAM_CONTINUE, SEAM_ERROR };

/* What the request, the route and the client's header say. */
struct seam_rules {
    enum seam_mode mode;
    unsigned choices; /* asked for; 0 counts as 1 */
    bool tools;       /* declared: a model that has begun in prose would go on in prose */
    bool structured;  /* a grammar's state cannot be given to another model */
    bool logprobs, audio;
};

/* The ways that what was sent allows, as SEAM_BITs; 0: none.
 *
 *   none      mode `error`; the text lost; a tool call begun, a signature or a refusal sent;
 * stopped; more than one choice; logprobs or audio asked for no text   sent, at most reasoning:
 * ALIGN, which then is a plain restart ALIGN     up to SEAM_ALIGN_CHARS; with `continue` any length
 *   PREFILL   T is not empty and not over SEAM_CARRY_CHARS; no tools (but with `continue`); not
 *             structured
 *   TURN      as PREFILL, and there is an anchor
 */
unsigned seam_ways(const struct seam_text *t, const struct seam_rules *rules);

/* What the request's writer adds behind the client's messages; an empty one is not added. */
struct seam_request {
    struct span assistant; /* PREFILL, TURN: T, a view of the text */
    struct span user;      /* TURN: the turn, with the anchor at its end; in the arena */
};

/* `way` is one that seam_ways allows. */
void seam_request(const struct seam_text *t, enum seam_way way, struct arena *a,
                  struct seam_request *out);

enum seam_verdict {
    SEAM_HOLD,  /* nothing is certain yet */
    SEAM_LIVE,  /* what stands in `out` may go, and from now on every piece passes */
    SEAM_WRONG, /* this answer cannot be joined; nothing of it may go out, and it stays so */
};

/* One new answer. Holds, in the arena, at most twice what was sent and 8 KiB. */
struct seam_join {
    enum seam_way way;       /* becomes ALIGN with a restart */
    enum seam_verdict said;  /* the last verdict */
    struct span sent;        /* T and W: a view, looked at only until LIVE */
    size_t kept;             /* bytes of T */
    struct span anchor;      /* TURN: a view of T's end */
    size_t searched;         /* TURN: bytes of N before which the anchor does not begin */
    size_t aligned;          /* ALIGN: bytes of `sent` that came again */
    size_t echo;             /* T from here on may be what N begins with; kept: it is not */
    bool reasoning, thought; /* reasoning was sent; that of the new answer has begun */
    struct strbuf held;      /* of N; when LIVE, the part of a character */
};

/* `way` is one that seam_ways allows. What goes out may be noted in `t` once it is LIVE, not
 * before.
 */
void seam_join_init(struct seam_join *j, enum seam_way way, const struct seam_text *t,
                    struct arena *a);

/* The next piece of the new answer's text, decoded (json_add_text; where that says false, the
 * answer is WRONG), cut anywhere, also inside a character. Appends to `out` what may go to the
 * client. */
enum seam_verdict seam_join_text(struct seam_join *j, struct span piece,
                                 struct strbuf *out) MUST_CHECK;

/* The new answer's text is over: its stop came, or a tool call begins. LIVE: `out` has the last of
 * it, the answer is complete. WRONG also where it ends inside a character. Never HOLD. */
enum seam_verdict seam_join_end(struct seam_join *j, struct strbuf *out) MUST_CHECK;

/* A piece of the new answer's reasoning: appends to `out` what may go to the client. All of it,
 * with an empty line between it and the old one, as long as no text was sent; nothing afterwards. A
 * signature of reasoning that was left out must not go out either. */
void seam_join_reasoning(struct seam_join *j, struct span piece, struct strbuf *out);

#endif
