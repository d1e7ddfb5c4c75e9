/* gemini.h - Gemini generateContent: what its files share.
 *
 *   gemini.c          the table `dialect_gemini`; where a request goes; generationConfig and tools
 *   gemini_turns.c    the conversation's turns: contents and systemInstruction
 *   gemini_read.c     answers, streamed or whole: what each means
 *   gemini_object.c   ... and what stands in one object of them
 *   gemini_error.c    what an error means
 *
 *   gemini_request.c  a client's request, as far as the core must know it, and on to a Gemini
 *   gemini_in.h       the whole of it; its files are named there
 *   gemini_answer.c   answers for a client, streamed or whole
 *   gemini_write.c    errors and lists of models for a client
 *   gemini_embeddings.c  the table `dialect_gemini_embeddings`: vectors in place of words
 *   gemini_state.c    other providers' reasoning state, in the clothes of a thoughtSignature
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

    /* For an event that holds one text and nothing else that is told. Raw. */
    struct span text;
    bool thought;                                  /* the text is a thought's */
    unsigned told;                                 /* how much is told, the text included */
    struct span n_candidates, n_thoughts, n_total; /* the counts that differ from event to event */
};

uint64_t gemini_count(struct span raw); /* one of usageMetadata; 0 for what is none */

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

/* ---- the client side ---- */

#define GEMINI_WHOLE  ":generateContent"
#define GEMINI_STREAM ":streamGenerateContent?alt=sse"
#define GEMINI_COUNT  ":countTokens"

/* Where a model's answer stands, with its base path. The name may hold slashes and colons. */
struct span gemini_path(struct span base_path, struct span model, const char *verb,
                        struct arena *a);
int gemini_check_model(struct span model, struct err *e); /* may it stand there? else -1 */
void gemini_add_key(struct strbuf *head, struct span key);

/* 1, 2, 3; 0: none of the Gemini family. `name`: without what may stand before it. */
unsigned gemini_generation(struct span name);
struct span gemini_last_segment(struct span model);

/* Is `key` this name, in camelCase or in snake_case (proto JSON takes both)? */
bool gemini_is_name(struct span key, const char *name);

int gemini_read_request(struct span body, struct arena *a, struct chat_request *out, struct err *e);
int gemini_extend(const struct chat_request *req, struct span assistant, struct span user,
                  uint64_t used_tokens, struct arena *a, struct chat_request *out, struct err *e);
void gemini_write_request(const struct chat_request *req, const struct dialect_target *target,
                          struct arena *a, struct dialect_request *out, struct drops *drops);
int gemini_read_conversation(struct span body, struct arena *a, struct conversation *out,
                             struct err *e);

void gemini_write_event(struct answer_writer *w, const struct chat_event *ev, struct strbuf *out);
void gemini_follow(struct answer_writer *w, const struct sse_event *ev, enum dialect_event kind);
void gemini_write_answer(struct answer_writer *w, const struct fold *f, struct strbuf *out);

bool gemini_is_count(struct span body);

void gemini_write_error(const struct chat_error *error, struct strbuf *out);
void gemini_write_stream_error(const struct chat_error *error, struct strbuf *out);
void gemini_write_end(struct strbuf *out);
void gemini_write_model(struct span name, uint64_t created, struct strbuf *out);
void gemini_write_models(const struct span *names, size_t n, uint64_t created, struct strbuf *out);

/* ---- other providers' state ----
 *
 * A client of this dialect gives back what it finds as a thoughtSignature, and nothing else. So the
 * state of a Claude travels as one: base64 (clients decode it, and may write it in the other
 * alphabet) of "holdfast:", what it is, who minted it, and its text. The first call of a step that
 * no Gemini made carries a mark without state: from Gemini 3 on, Google must be told that the call
 * is another model's. */
enum gemini_state_kind {
    GEMINI_MARK,     /* no state: the call is another model's */
    GEMINI_SIGNED,   /* signs the visible reasoning before it */
    GEMINI_BARE,     /* signs reasoning whose text is empty */
    GEMINI_REDACTED, /* stands for reasoning that is not shown */
    GEMINI_CALL,     /* belongs to the call */
};

struct gemini_state {
    enum gemini_state_kind kind;
    struct span origin; /* plain text: the dialect that minted it */
    struct span state;  /* raw string */
};

#define GEMINI_STATE    "aG9sZGZhc3Q6"                     /* how the text of each begins */
#define GEMINI_SENTINEL "skip_thought_signature_validator" /* Google's word for others' calls */

/* Appends it as a raw string; origin and state are raw strings too. */
void gemini_add_state(struct strbuf *out, enum gemini_state_kind kind, struct span origin,
                      struct span state, struct arena *a);

/* False where a thoughtSignature is Google's own. */
bool gemini_read_state(struct span signature, struct arena *a, struct gemini_state *out);

#endif
