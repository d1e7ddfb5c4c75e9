/* openai_chat_conversation.h - the whole request of OpenAI chat completions: what its files share.
 *
 *   openai_chat_conversation.c  the request's own fields, tools and choices
 *   openai_chat_messages.c      messages and their parts
 *   openai_chat_media.c         base64 and data: URLs
 *   openai_chat_object_in.c     reading one object: each field known, or noted as one that is not
 *
 * Strict where we understand, because half-understood requests mean different things to different
 * providers: a wrong type or a key that stands twice is refused with its path. What has no place in
 * the canonical request is noted with its path, and a writer tells the client that it was dropped.
 */
#ifndef HOLDFAST_PROVIDERS_OPENAI_CHAT_CONVERSATION_H
#define HOLDFAST_PROVIDERS_OPENAI_CHAT_CONVERSATION_H

#include "providers/dialect.h"
#include "proxy/base/json.h"

struct request_reader {
    struct arena *arena;
    struct conversation *out;
    struct err *e;
    struct other_field **last_other;
    size_t body_bytes;              /* of the whole request: a cap for what is put together */
    bool snake;                     /* names may also stand in snake_case: top_p for topP */
    struct span call_id, call_name; /* raw: the last call in the form before tool_calls */
};

/* The names of a request's own fields; ends with NULL. */
extern const char *const openai_chat_field_names[];

/* The same of openai_completions.c, which reads its requests by the means of this one. */
extern const char *const openai_completions_field_names[];

/* ---- openai_chat_object_in.c: all of these fill *e and return -1 where they fail ---- */

/* "PATH: expected WHAT, got KIND". With a string or a number in `raw` its value is shown only by
 * the second form: a message's text does not belong into an error. */
int request_expected(struct request_reader *r, struct span path, const char *what, struct span raw);
int request_expected_value(struct request_reader *r, struct span path, const char *what,
                           struct span raw);

/* "PARENT.NAME", "PARENT[INDEX]"; the name alone where there is no parent. Every byte of `name`
 * that could not stand in a list in a header field becomes '?'. */
struct span request_path(struct request_reader *r, struct span parent, const char *name);
struct span request_path_of(struct request_reader *r, struct span parent, struct span name);
struct span request_path_at(struct request_reader *r, struct span parent, unsigned index);

/* Notes a field that has no place. */
void request_other(struct request_reader *r, struct span path);

/* Reads the object `raw`: values[i] becomes the member names[i] (a NULL ends the names), empty
 * where it is missing or null. Other members are noted, unless they are null or an empty list or
 * object. */
int request_object(struct request_reader *r, struct span raw, struct span path,
                   const char *const *names, struct span *values);

/* The same where the reader stands: items of a list are read without being taken first, as their
 * bytes would then be walked twice. The list is known to be well-formed. */
int request_object_at(struct request_reader *r, struct json *j, struct span path,
                      const char *const *names, struct span *values);

/* The same of the whole body. `content` is the conversation's: read_request has been through it, so
 * it is not walked once more. */
int request_body(struct request_reader *r, struct span body, struct span content,
                 const char *const *names, struct span *values);

/* Members of such an object: right type, or absent. */
int request_string(struct request_reader *r, struct span raw, struct span parent, const char *name,
                   struct span *out);
int request_number(struct request_reader *r, struct span raw, struct span parent, const char *name,
                   struct span *out);
int request_bool(struct request_reader *r, struct span raw, struct span parent, const char *name,
                 bool *out);

/* ---- openai_chat_conversation.c: single values, nothing where `raw` is empty ---- */

int request_count(struct request_reader *r, struct span raw, struct span path, int64_t max,
                  const char *what, uint64_t *out);
int request_effort(struct request_reader *r, struct span raw, struct span path);
int request_stop(struct request_reader *r, struct span raw);
int request_stream_options(struct request_reader *r, struct span raw);
int request_user(struct request_reader *r, struct span newer, struct span older);

/* ---- openai_chat_media.c ---- */

/* Base64 of either alphabet, with or without white space and padding, as the padded standard form:
 * a view of `text` where it is that already. False where it is none, or is empty. */
bool request_base64(struct request_reader *r, struct span text, struct span *out);

/* The media type and the data of a data: URL in base64; false for anything else. */
bool request_data_url(struct request_reader *r, struct span text, struct span *mime,
                      struct span *data);

bool request_is_web_url(struct span text); /* http: or https: */

/* ---- openai_chat_messages.c ---- */

/* Notes that the request is bound to one provider: the first field that binds it counts. */
void request_pin(struct request_reader *r, struct span path);

/* A URL of the web, or a data: URL, into the part. */
int request_url(struct request_reader *r, struct span raw, struct span path, struct part *p);

/* {"data": ..., "format": "wav"} */
int request_audio(struct request_reader *r, struct span raw, struct span path, struct part *p);

/* A JSON text in a string. Models write none for "no arguments", and what was cut is no JSON. */
int request_arguments(struct request_reader *r, struct span raw, struct span path, struct part *p);

int request_messages(struct request_reader *r, struct span raw);

#endif
