/* json_fuzz.c - the JSON reader agrees with itself on any bytes.
 *
 * A value is taken whole and walked piece by piece: both must accept the same texts and end at the
 * same place. What was taken is valid by itself. A string that was decoded and written again is
 * valid and means the same. Replacing values by themselves changes no byte.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/arena.h"
#include "proxy/base/json.h"
#include "proxy/base/strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define MAX_EDITS 32

struct check {
    struct arena arena;
    struct json_edit edits[MAX_EDITS]; /* the first scalars, each replaced by itself */
    size_t edit_count;
};

/* Decoding undoes writing, for any bytes that are UTF-8; others become replacement characters, so
 * that writing a second time changes nothing more. */
static void check_string(struct check *c, struct span text)
{
    struct strbuf once = strbuf_in(&c->arena, SIZE_MAX / 2);
    struct strbuf twice = strbuf_in(&c->arena, SIZE_MAX / 2);
    struct span again;

    json_add_string(&once, text);
    REQUIRE(json_valid(strbuf_span(&once)));
    again = json_text(strbuf_span(&once), &c->arena);
    json_add_string(&twice, again);
    REQUIRE(span_eq(strbuf_span(&once), strbuf_span(&twice)));
}

static void check_scalar(struct check *c, struct span raw)
{
    enum json_type type = json_type_of(raw);
    bool truth;
    int64_t number;

    if (type == JSON_STRING) {
        struct strbuf written = strbuf_in(&c->arena, SIZE_MAX / 2);
        struct span text = json_text(raw, &c->arena);

        json_add_string(&written, text);
        REQUIRE(json_valid(strbuf_span(&written)));
        REQUIRE(span_eq(json_text(strbuf_span(&written), &c->arena), text));
        if (memchr(text.p, '\0', text.n) == NULL)
            REQUIRE(json_is_string(raw, arena_strdup(&c->arena, text)));
    }
    REQUIRE(json_to_bool(raw, &truth) == (type == JSON_TRUE || type == JSON_FALSE));
    if (json_to_i64(raw, &number))
        REQUIRE(type == JSON_NUMBER && strtoll(arena_strdup(&c->arena, raw), NULL, 10) == number);
    if (c->edit_count < MAX_EDITS)
        c->edits[c->edit_count++] = (struct json_edit){raw, raw};
}

static void check_key(struct check *c, const struct json *j, struct span key)
{
    struct span text = json_text(j->raw_key, &c->arena);

    REQUIRE(json_valid(j->raw_key));
    if (!span_eq(key, text))
        REQUIRE(text.n > JSON_KEY_MAX && key.p == j->raw_key.p + 1);
}

/* Recursion goes as deep as the reader lets it: JSON_MAX_DEPTH. */
static void walk(struct check *c, struct json *j)
{
    struct json whole = *j;
    struct span raw = json_take(&whole), key;
    enum json_type type = json_peek(j);

    if (whole.problem == NULL) {
        REQUIRE(json_valid(raw));
        REQUIRE(json_type_of(raw) == type);
    }
    if (json_enter(j, JSON_OBJECT)) {
        while (json_member(j, &key)) {
            check_key(c, j, key);
            walk(c, j);
        }
    } else if (json_enter(j, JSON_ARRAY)) {
        while (json_item(j))
            walk(c, j);
    } else {
        raw = json_take(j);
        if (raw.n > 0)
            check_scalar(c, raw);
    }
    REQUIRE(j->at == whole.at && j->problem == whole.problem);
    if (j->problem == NULL)
        REQUIRE(j->depth == whole.depth && !j->at_value && !whole.at_value && !j->first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    struct json j = json_read(text);
    struct check c = {0};
    struct err e = {0};

    arena_init(&c.arena);
    check_string(&c, text);
    walk(&c, &j);
    REQUIRE(json_end(&j) == json_valid(text));
    if (j.problem != NULL) {
        REQUIRE(json_error(&j, &e) == -1 && e.code != ERR_NONE);
    } else {
        struct strbuf same = strbuf_in(&c.arena, SIZE_MAX / 2);

        json_splice(&same, text, c.edits, c.edit_count);
        REQUIRE(span_eq(strbuf_span(&same), text));
    }
    arena_release(&c.arena);
    return 0;
}
