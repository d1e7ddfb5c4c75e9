/* chat.h - what the core knows of a chat request and of an answer, whatever the dialect.
 *
 * An answer is a stream of events, also when it comes in one piece; a dialect's reader turns bytes
 * into events, its writer turns events into bytes. Texts in events are raw JSON strings (with their
 * quotes and escapes, as views of the input): who only watches never decodes them.
 */
#ifndef HOLDFAST_PROVIDERS_CHAT_H
#define HOLDFAST_PROVIDERS_CHAT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/span.h"
#include "providers/failure.h"
#include "providers/like.h"

struct arena;

/* What is asked for where vectors are the answer. */
struct chat_vectors {
    unsigned inputs;     /* texts: one vector each; 0: the answer is in words */
    unsigned dimensions; /* of each vector; 0: as many as the model makes */
    bool packed;         /* as base64 of little-endian float32, in place of lists of numbers */
    bool batch;          /* Google's form with a list of requests, as the path tells */
};

/* A request, as far as routing, timers and pass-through need to know it. Views into `body`. */
struct chat_request {
    struct span body;      /* the client's bytes, never changed */
    struct span content;   /* raw: its messages, contents or input, nearly all of it; or empty */
    struct span model_raw; /* the model as it stands in the body, quotes included */
    struct span model;     /* decoded */
    bool stream;
    bool usage_asked;     /* stream_options.include_usage */
    bool tools;           /* tools or functions are declared */
    bool structured;      /* a form other than prose is asked for: the text is data */
    bool logprobs;        /* probabilities of the tokens are asked for */
    bool audio;           /* the answer is to be spoken as well */
    unsigned choices;     /* how many answers are asked for (n): 1 as a rule */
    bool pinned;          /* bound to one provider's files or tools: another one cannot take over */
    bool reasoning;       /* reasoning is asked for: first output may take long */
    bool reasoning_asked; /* ... and its text is to be shown, in a dialect that hides it else */
    bool counting;        /* no answer is asked for, only the count of the request's tokens */
    struct chat_vectors vectors;
    struct span
        session; /* raw; what requests of one conversation or user have in common, or empty */
};

struct chat_usage {
    bool seen;
    uint64_t input, output, cached,
        reasoning; /* tokens; cached is part of input, reasoning of output */
};

/* An error as a provider told it, or as we tell it to the client. All texts are NUL-terminated. */
struct chat_error {
    unsigned status;        /* HTTP status it stands for; 0 unknown */
    char message[1024];     /* one line, secrets already taken out where it comes from upstream */
    char type[64];          /* "invalid_request_error"; may be empty */
    char code[64];          /* may be empty */
    char param[128];        /* may be empty */
    const char *request_id; /* of the request that it answers; NULL: unknown */
};

enum chat_event_kind {
    CHAT_START,      /* the answer begins: id, model */
    CHAT_TEXT,       /* a piece of the answer's text */
    CHAT_REASONING,  /* a piece of visible reasoning */
    CHAT_REFUSAL,    /* a piece of a refusal's text */
    CHAT_TOOL_START, /* a tool call begins: id, name */
    CHAT_TOOL_ARGS,  /* a piece of its arguments (a JSON text inside a JSON string; some providers
                        send the bare JSON text instead: `text` is then no string) */
    CHAT_SIGNATURE,  /* opaque state of the provider, for the client to give back: see below */
    CHAT_STOP,       /* one choice is finished, `text` says why; once a choice */
    CHAT_USAGE,      /* token counts so far: a later one replaces an earlier one */
    CHAT_END,        /* nothing more comes, and that is as it should be */
    CHAT_VECTOR, /* the vector of one input: `choice` is its number, `text` its list of numbers as
                    raw JSON; a view of the answer, which stays until all of it is written */
};

/* CHAT_SIGNATURE: `text` is the state, `id` the dialect that minted it ("anthropic_messages",
 * "gemini") and `name` what it belongs to: "tool" is the call `tool`, "redacted" is reasoning of
 * which nothing else is shown (Anthropic's redacted_thinking), and where it is empty it signs all
 * CHAT_REASONING of that choice since the signature before. */
struct chat_event {
    enum chat_event_kind kind;
    unsigned choice;      /* CHAT_TEXT ... CHAT_STOP */
    unsigned tool;        /* which call of that choice */
    struct span text;     /* raw JSON string; the finish reason with CHAT_STOP */
    struct span id, name; /* raw JSON strings: CHAT_START (id, model), CHAT_TOOL_START (id, name),
                             CHAT_SIGNATURE */
    struct chat_usage usage; /* CHAT_USAGE */
};

/* Copies a provider's text into `out` (size bytes, its NUL included) as it may be shown and logged:
 * on one line (control bytes become spaces), without space at its ends, cut between two characters,
 * and with everything that looks like a key, a token or an organisation's id replaced by "***":
 * providers quote the key they refuse. */
void chat_error_mask(struct span text, char *out, size_t size);

/* `text` as a raw JSON string, in the arena. */
struct span chat_quote(struct span text, struct arena *a);

/* Who receives a reader's events; NULL where nobody translates. */
typedef void chat_sink(void *ctx, const struct chat_event *ev);

/* What a reader has understood of an answer so far. */
struct chat_watch {
    unsigned expected;           /* choices that were asked for; set by the caller, 0 counts as 1 */
    struct chat_vectors vectors; /* the same, where these are the answer */
    bool output;                 /* real output was seen: text, reasoning, refusal, a tool call */
    bool tools;                  /* a tool call began */
    bool foreign;   /* ... that events say only in part: a custom tool's, whose input is text */
    bool stopped;   /* every choice that began has its finish reason, and one has */
    bool cut_short; /* stopped by length or by a filter: no output is then no fault */
    bool end;       /* the dialect's last marker was seen ([DONE]) */
    uint64_t begun, closed; /* choices 0..63 as bits: begun, and finished; a later choice counts as
                               output, but nobody waits for its end */
    unsigned own[4];        /* the reader's own state between two events */
    bool calling;           /* a tool call began; the last one is `tool` of `choice`: for readers */
    unsigned choice, tool;
    struct like like; /* the last event that was a piece of text and nothing else: for readers */
    struct chat_usage usage;
    enum failure
        failure; /* an error inside the answer, classified; FAILURE_NONE if there is none */
    struct chat_error error; /* that error */
};

#endif
