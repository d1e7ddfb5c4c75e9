/* gemini_in.h - the whole request of a client of Gemini's: what its files share.
 *
 *   gemini_conversation.c  the request's own fields: generationConfig, tools, toolConfig
 *   gemini_contents.c      contents and their parts
 *   gemini_schema.c        Google's schemas as JSON Schema
 *
 * Names may stand in camelCase or in snake_case, and a list of one without its brackets, as Google
 * takes them. Paths tell names in camelCase. What has no place in the canonical request is noted
 * with its path, as in openai_chat_conversation.h, whose helpers read the objects.
 */
#ifndef HOLDFAST_PROVIDERS_GEMINI_IN_H
#define HOLDFAST_PROVIDERS_GEMINI_IN_H

#include "providers/gemini.h"
#include "providers/openai_chat_conversation.h"

/* The names of a request's own fields; ends with NULL. */
extern const char *const gemini_field_names[];

/* One item after the other of a list, or of what stands for a list of one. */
struct gemini_list {
    struct json j;
    struct span only;
    struct span path; /* of the list */
    bool list;
    unsigned i;
};

/* False where it is neither a list nor an object. */
bool gemini_list_begin(struct gemini_list *l, struct span raw, struct span path);
bool gemini_list_next(struct gemini_list *l, struct request_reader *r, struct span *item,
                      struct span *path);

/* What lives at Google can be read by nobody else. Fills *e and returns -1. */
int gemini_refuse_bound(struct request_reader *r, struct span path);

int gemini_read_contents(struct request_reader *r, struct span system, struct span contents);

/* A schema of Google's (a subset of OpenAPI's) in the words of JSON Schema. What it cannot say is
 * noted. */
struct span gemini_read_schema(struct request_reader *r, struct span raw, struct span path);

#endif
