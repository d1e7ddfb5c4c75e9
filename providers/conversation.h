/* conversation.h - the canonical request: what a client asks, whatever its dialect.
 *
 * Read from the client's body once, and only when a target speaks another dialect than the client;
 * each attempt writes its own request from it, never from another attempt's translation. All spans
 * are views of the client's body or memory from the exchange's arena. Texts are raw JSON strings
 * (with quotes and escapes, RFC 8259), other values raw JSON, so that nothing is re-encoded on the
 * way: numbers, key order and bytes stay as they were sent. An absent value is an empty span.
 *
 * Nothing is lost silently. A writer maps a field, or drops it and names it (drop_field: it appears
 * in x-holdfast-dropped), or refuses the request for its target (-1 with the field's path in the
 * message).
 */
#ifndef HOLDFAST_PROVIDERS_CONVERSATION_H
#define HOLDFAST_PROVIDERS_CONVERSATION_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/err.h"
#include "proxy/base/span.h"
#include "proxy/base/strbuf.h"

enum role { ROLE_SYSTEM, ROLE_DEVELOPER, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL };

enum part_kind {
    PART_TEXT,        /* text */
    PART_IMAGE,       /* url, or data with mime */
    PART_DOCUMENT,    /* a PDF or text file: url, or data with mime, or file_id; name: its title */
    PART_AUDIO,       /* data with mime */
    PART_VIDEO,       /* url, or data with mime */
    PART_REFUSAL,     /* what the assistant said instead of an answer: text */
    PART_REASONING,   /* visible reasoning: text (may be empty); signature: opaque, see below */
    PART_TOOL_CALL,   /* id, name, arguments, signature */
    PART_TOOL_RESULT, /* id: of the call; inner: its content; is_error */
};

struct part {
    enum part_kind kind;
    struct part *next;
    struct span
        path; /* where it stands for the client: messages[3].content[1] (plain text, no quotes) */
    struct span
        within; /* where url, data, detail and name stand, if not there: ...content[1].image_url */
    struct span text;
    struct span url;     /* raw string: http(s) */
    struct span mime;    /* plain text: image/png */
    struct span data;    /* plain text: base64 as it was sent, without white space */
    struct span file_id; /* raw string: lives at one provider */
    struct span name;    /* raw string */
    struct span id;      /* raw string */
    struct span detail;  /* raw string: an image's resolution hint */
    struct span
        arguments; /* TOOL_CALL: raw JSON object; p == NULL where what was sent is none: see text */
    struct part *inner; /* TOOL_RESULT */
    bool is_error;
    /* Opaque state of the provider that minted it: given back to it byte-exact, stripped for
     * others. */
    struct span signature; /* raw string */
    struct span origin; /* plain text: the dialect that minted the signature, "anthropic_messages",
                           "gemini"; or that the file of file_id belongs to, if not OpenAI's */
    struct span cache;  /* raw JSON: the client's prompt-cache hint on this part (cache_control) */
    struct span cache_path; /* where the hint stands, if not on the part itself */
};

struct message {
    enum role role;
    struct message *next;
    struct span path; /* messages[3] */
    struct span name; /* raw string: the speaker's name */
    struct part *parts;
};

struct tool {
    struct tool *next;
    struct span path;        /* tools[0] */
    struct span within;      /* where its name and schema stand, if not there: tools[0].function */
    struct span name;        /* raw string */
    struct span description; /* raw string */
    struct span schema;      /* raw JSON object: the parameters' JSON Schema */
    bool strict, strict_set;
    struct span cache; /* raw JSON */
};

enum tool_choice {
    CHOICE_UNSET,
    CHOICE_AUTO,
    CHOICE_NONE,
    CHOICE_REQUIRED,
    CHOICE_NAMED,
    CHOICE_ALLOWED
};
enum answer_format { FORMAT_UNSET, FORMAT_TEXT, FORMAT_JSON, FORMAT_SCHEMA };
enum effort {
    EFFORT_UNSET,
    EFFORT_NONE,
    EFFORT_MINIMAL,
    EFFORT_LOW,
    EFFORT_MEDIUM,
    EFFORT_HIGH,
    EFFORT_XHIGH
};

/* What a field is called in OpenAI's dialect, whose names this program's writers use, and what the
 * client's own dialect calls it. With a full stop in front it is the end of a path. */
struct field_name {
    const char *usual, *client;
};

/* A field that nothing here stands for: it can only be dropped and named. */
struct other_field {
    struct other_field *next;
    struct span path;
};

struct name_list {
    struct name_list *next;
    struct span name; /* raw string */
};

/* A tool that providers see under another name or in another form than the client declared: what a
 * call of it is for the client. Memory from the arena throughout, as answers outlive the body. */
struct tool_alias {
    struct tool_alias *next;
    struct span name;  /* decoded: for the provider */
    struct span own;   /* raw string: for the client */
    struct span space; /* raw string: the namespace that it stands in there, or empty */
    bool custom;       /* its input is free text: for providers the string `input` of an object */
};

/* Where vectors are asked for, each text is a message of its own. */
struct conversation {
    size_t bytes;        /* of the client's body, which a translation is about as long as */
    struct span model;   /* decoded */
    struct span content; /* of the chat_request */
    bool stream;
    bool usage_asked;
    struct message *messages; /* system and developer messages where they stood */
    struct tool *tools;
    struct tool_alias *tool_aliases;
    enum tool_choice choice;
    struct span choice_name;          /* CHOICE_NAMED: raw string */
    struct name_list *choice_allowed; /* CHOICE_ALLOWED */
    bool choice_allowed_required;     /* ... one of them must be called */
    bool one_tool_at_a_time;          /* parallel_tool_calls: false */

    uint64_t max_tokens; /* 0: not set */
    struct span max_tokens_path;
    struct span temperature, top_p, top_k;                 /* raw numbers */
    struct span presence_penalty, frequency_penalty, seed; /* raw numbers */
    struct span stop; /* raw JSON array of strings (a single string was made one) */
    unsigned n;       /* answers asked for; 1 as a rule */
    bool logprobs;
    struct span top_logprobs; /* raw number */
    enum effort effort;
    enum answer_format format;
    struct span schema, schema_name, schema_description; /* FORMAT_SCHEMA: raw JSON, raw strings */
    bool schema_strict;
    struct span user;               /* raw string: end user's id */
    struct span user_path;          /* how the client called that */
    struct span service_tier;       /* raw string */
    struct span verbosity;          /* raw string */
    struct span dimensions;         /* of vectors: raw number */
    struct other_field *others;     /* in the request's order */
    const struct field_name *names; /* where they differ, ends with {0}; NULL: nowhere */
    bool pinned;           /* bound to one provider's state or tools: no failover to another */
    struct span pinned_by; /* path of the field that binds it */
};

/* What a writer could not say to its target. */
struct drops {
    struct strbuf *names; /* comma separated paths, each once: "logit_bias, messages[3].name" */
    const struct field_name *client; /* of the conversation: how the client calls them; or NULL */
};

void drop_field(struct drops *d, struct span path);
void drop_named(struct drops *d, const char *path);

/* Puts the client's own name into an error of a writer, which begins with the field's path. */
void name_for_client(const struct field_name *names, struct err *e);

/* The path of a field of a part or a tool, as the client wrote it. */
struct span part_field(const struct part *p, const char *name, struct arena *a);
struct span tool_field(const struct tool *t, const char *name, struct arena *a);
/* Names a part's prompt-cache hint, if it has one. */
void drop_cache_hint(struct drops *d, const struct part *p, struct arena *a);

/* ---- helpers that several dialects share -------------------------------------------------------
 */

/* Is it "" or only white space (after decoding)? Absent counts as blank. */
bool raw_is_blank(struct span raw_string);

/* Appends to a raw string under construction: an opening quote with `first`, else `separator` (as
 * it stands inside a JSON string: "\\n\\n"), then the inside of the raw string `raw`. Whoever is
 * done appends the closing quote. */
void raw_add_joined(struct strbuf *out, struct span raw, bool first, const char *separator);

#endif
