/* fields.h - what becomes of each field of a client's request, found out by trying it.
 *
 * The manual's table is not written by anybody: a list of small requests, each with one field, is
 * read and written by the same code that serves clients, and a cell says what came of it. So the
 * manual cannot promise what the code does not do. A field that the reader learns needs a probe
 * here (fields_test); what it then comes to is found by itself.
 */
#ifndef HOLDFAST_PROVIDERS_FIELDS_H
#define HOLDFAST_PROVIDERS_FIELDS_H

#include "providers/dialect.h"

/* One field, or one form of it. */
struct field_probe {
    const char *section; /* title of a table that begins with this probe; NULL: goes on */
    const char *field;   /* its path as x-holdfast-dropped names it, but [] for any index */
    const char *form;    /* which value or form of it, Markdown; NULL: as a rule */
    const char *without; /* members of a request (its model aside) without the field */
    const char *with;    /* ... and with it */
};

enum field_fate {
    FIELD_UNTOUCHED, /* the bytes of the client's request go on */
    FIELD_MAPPED,    /* the translated request says it */
    FIELD_NEAREST,   /* ... says what comes nearest, and the field is named as dropped */
    FIELD_PARTLY,    /* ... says it but for a part, which is named as dropped */
    FIELD_DROPPED,   /* left out, and named */
    FIELD_SAME,      /* nothing to say: the translated request is the same without it */
    FIELD_REFUSED,   /* this target cannot serve such a request */
    FIELD_INVALID,   /* the probe itself is wrong: no client could send it */
};

struct field_verdict {
    enum field_fate fate;
    struct span text; /* FIELD_REFUSED, FIELD_INVALID: the reason. FIELD_PARTLY, and FIELD_DROPPED
                         under another name: what is named. In the arena. */
};

/* The probes of each client's dialect; each list ends with {0}. */
extern const struct field_probe fields_of_openai_chat[];
extern const struct field_probe fields_of_openai_responses[];
extern const struct field_probe fields_of_openai_completions[];
extern const struct field_probe fields_of_anthropic_messages[];
extern const struct field_probe fields_of_gemini[];

/* The i-th of a client's dialect; NULL behind the last one. */
const struct field_probe *fields_probe(const struct dialect *client, size_t i);

/* Runs a probe as a client's request to a target of the dialect `d` with this model. */
struct field_verdict fields_try(const struct dialect *client, const struct field_probe *p,
                                const struct dialect *d, const char *model, struct arena *a);

/* The manual's page: what dropping and refusing mean, and the tables. Markdown. */
void fields_manual(struct strbuf *out);

#endif
