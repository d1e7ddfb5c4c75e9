/* gemini.h - Gemini generateContent, the provider side: what its files share.
 *
 *   gemini.c          the table `dialect_gemini`; where a request goes; generationConfig and tools
 *   gemini_turns.c    the conversation's turns: contents and systemInstruction
 *   gemini_read.c     answers, streamed or whole: what each means
 *   gemini_object.c   ... and what stands in one object of them
 *   gemini_error.c    what an error means
 *
 * A streamed answer has no last marker: it is complete when the connection ends behind a
 * finishReason. Chunks may follow a finishReason (rounds of code execution), so the first one ends
 * nothing; where a later one changes the reason, CHAT_STOP is sent once more and the last counts.
 */
#ifndef HOLDFAST_PROVIDERS_GEMINI_H
#define HOLDFAST_PROVIDERS_GEMINI_H

#include "providers/dialect.h"

/* ---- writing ---- */

/* A request on its way to Gemini. */
struct gemini_writer {
    const struct conversation *c;
    struct arena *arena;
    struct drops *drops;
    struct err *e;
    unsigned generation; /* of the model: 1, 2, 3; 0: none of the Gemini family */
    struct strbuf out;
};

/* Appends `"systemInstruction":{...},` where there is one, and `"contents":[...]`. */
int gemini_write_turns(struct gemini_writer *w);

/* Does the name of a function fit? Else -1 with the reason in *e. */
int gemini_check_name(struct gemini_writer *w, struct span path, struct span name);

/* Names `path` with `field` behind it as dropped. */
void gemini_drop_in(struct gemini_writer *w, struct span path, const char *field);

/* ---- reading ---- */

/* Why a choice ended. */
enum gemini_stop { GEMINI_GOES_ON, GEMINI_STOP, GEMINI_TOOLS, GEMINI_LENGTH, GEMINI_FILTER };

#define GEMINI_CHOICES 8 /* candidateCount goes no further */

/* The reader's own state between two events: indices of watch->own. */
enum {
    GEMINI_CALLS,    /* calls of choice 0; in the next two words 8 bits for each of the others */
    GEMINI_SAID = 3, /* 3 bits a choice: the enum gemini_stop that was told last */
};
#define GEMINI_BLOCKED 0x80000000u /* in GEMINI_SAID: the prompt was refused, nothing will come */

/* What one event, or a whole answer, adds to the watch. It is put there only once all of it is
 * known to be valid and no error. */
struct gemini_found {
    struct span id, model;  /* raw */
    bool candidates;        /* the key is there, be the list empty */
    bool error;             /* a key `error` with something in it */
    bool output, tools;     /* as in the watch */
    bool cut_short;         /* the same */
    bool blocked;           /* promptFeedback.blockReason */
    uint64_t begun, closed; /* the same as in the watch */
    struct span bad_finish; /* a finishReason that says that the model's call was no good; raw */
    struct span bad_detail; /* its finishMessage; raw */
    bool partial_args;      /* a call in pieces, which nobody asked for */
    struct chat_usage usage;
};

/* Reads a fragment of an answer. False where it is no valid JSON. A list of fragments is read as
 * if they had come one by one. */
bool gemini_look(struct span text, const struct chat_watch *watch, struct gemini_found *found);

/* Reads the same text once more, for the sink (which may be NULL) and for watch->own. */
void gemini_tell(struct span text, struct chat_watch *watch, const struct gemini_found *found,
                 chat_sink *sink, void *ctx);

enum dialect_event gemini_read_event(const struct sse_event *ev, struct chat_watch *watch,
                                     chat_sink *sink, void *ctx);
void gemini_read_answer(struct span body, struct chat_watch *watch, chat_sink *sink, void *ctx);
enum failure gemini_judge_end(const struct chat_watch *watch);

enum failure gemini_classify(unsigned status, struct span content_type, struct span body,
                             struct chat_error *error);

/* The error that `body` holds, told under a status of success; FAILURE_NONE, with *error untouched,
 * where it holds none. */
enum failure gemini_find_error(struct span body, bool certain, struct chat_error *error);

#endif
