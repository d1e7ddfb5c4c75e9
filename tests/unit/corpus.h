/* corpus.h - the recorded exchanges, one at a time, and the count of what was as expected. */
#ifndef HOLDFAST_TESTS_CORPUS_H
#define HOLDFAST_TESTS_CORPUS_H

#include "providers/failure.h"
#include "proxy/base/json.h"
#include "tests/unit/check.h"

#define CORPUS SHARED_DIR "/wire/dev.jsonl"

struct recording {
    struct span id, api, tags; /* tags: the raw list */
    struct span body;          /* of the response: raw JSON, or the text where it was none */
    struct span request;       /* the request's body, raw */
    unsigned status;
    bool stream;
    struct arena *arena; /* until the next one */
};

/* ---- reading recordings ---- */

static inline void read_response(struct json *j, struct recording *rec, struct arena *a)
{
    struct span key;

    CHECK(json_enter(j, JSON_OBJECT));
    while (json_member(j, &key)) {
        struct span raw = json_take(j);
        int64_t status;

        if (span_is(key, "status") && json_to_i64(raw, &status))
            rec->status = (unsigned)status;
        if (span_is(key, "body"))
            rec->body = json_type_of(raw) == JSON_STRING ? json_text(raw, a) : raw;
    }
}

static inline void read_request_of(struct json *j, struct recording *rec)
{
    struct span key;

    if (!json_enter(j, JSON_OBJECT)) {
        json_take(j);
        return;
    }
    while (json_member(j, &key)) {
        struct span raw = json_take(j);

        if (span_is(key, "body"))
            rec->request = raw;
    }
}

static inline void read_recording(struct span line, struct recording *rec, struct arena *a)
{
    struct json j = json_read(line);
    struct span key;

    *rec = (struct recording){.arena = a};
    CHECK(json_enter(&j, JSON_OBJECT));
    while (json_member(&j, &key)) {
        if (span_is(key, "response")) {
            read_response(&j, rec, a);
        } else if (span_is(key, "request")) {
            read_request_of(&j, rec);
        } else {
            struct span raw = json_take(&j);

            if (span_is(key, "id"))
                rec->id = json_text(raw, a);
            else if (span_is(key, "api"))
                rec->api = json_text(raw, a);
            else if (span_is(key, "tags"))
                rec->tags = raw;
            else if (span_is(key, "stream"))
                json_to_bool(raw, &rec->stream);
        }
    }
    CHECK(json_end(&j));
}

static inline bool tagged(const struct recording *rec, const char *tag)
{
    struct json j = json_read(rec->tags);
    bool found = false;

    CHECK(json_enter(&j, JSON_ARRAY));
    while (json_item(&j))
        found |= json_is_string(json_take(&j), tag);
    return found;
}

/* ---- counting ---- */

static struct {
    const char *name;
    unsigned good, all;
} classes[32];
static unsigned class_count;
static char wrong[16384];

/* Counts one expectation of a recording; what fails is told at the end, all of it. */
static inline void expect(const char *class, const struct recording *rec, bool good)
{
    unsigned i = 0;

    while (i < class_count && strcmp(classes[i].name, class) != 0)
        i++;
    if (i == class_count)
        classes[class_count++].name = class;
    classes[i].all++;
    classes[i].good += good;
    if (!good)
        snprintf(wrong + strlen(wrong), sizeof(wrong) - strlen(wrong), "\n%.*s: %s",
                 SPAN_ARG(rec->id), class);
}

static inline void report(void)
{
    for (unsigned i = 0; i < class_count; i++)
        printf("corpus: %u of %u %s\n", classes[i].good, classes[i].all, classes[i].name);
    if (wrong[0] != '\0')
        fail_msg("expectations not met:%s", wrong);
}

/* Visits those of one API, and fails with all that was not as expected. */
static inline void each_recording(const char *api, void (*visit)(const struct recording *rec))
{
    struct arena a;
    struct recording rec;
    size_t size = 0;
    ssize_t n;
    char *line = NULL;
    FILE *f = fopen(CORPUS, "re");

    class_count = 0;
    memset(classes, 0, sizeof(classes));
    wrong[0] = '\0';
    if (f == NULL) {
        printf("skipped: no ../shared\n");
        return;
    }
    arena_init(&a);
    while ((n = getline(&line, &size, f)) > 0) {
        arena_reset(&a);
        read_recording((struct span){line, (size_t)n}, &rec, &a);
        if (span_is(rec.api, api))
            visit(&rec);
    }
    arena_release(&a);
    free(line);
    fclose(f);
    report();
}

/* What a server's error means where nothing but its status tells. */
static inline enum failure server_fault(unsigned status)
{
    if (status == 502 || status == 504 || (status >= 520 && status <= 527))
        return BAD_GATEWAY;
    return status == 503 || status == 529 ? OVERLOADED : SERVER_ERROR;
}

#endif
