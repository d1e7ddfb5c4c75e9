#include "config/yaml.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "config/value.h"

struct reader {
    yaml_parser_t parser;
    struct yaml *y;
    const char *name;
    struct span text;
    struct err *e;
};

/* Where the byte at `offset` stands. */
static void locate(struct span text, size_t offset, unsigned *line, unsigned *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < offset && i < text.n; i++) {
        if (text.p[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
            ++*column;
        }
    }
}

static int fail(struct reader *r, yaml_mark_t mark, const char *what)
{
    return err_set(r->e, ERR_SYNTAX, "%s:%zu:%zu: %s", r->name, mark.line + 1, mark.column + 1,
                   what);
}

static int fail_at_byte(struct reader *r, size_t offset, const char *what)
{
    unsigned line, column;

    locate(r->text, offset, &line, &column);
    return err_set(r->e, ERR_SYNTAX, "%s:%u:%u: %s", r->name, line, column, what);
}

/* Bytes of the UTF-8 character at p, at most n; 0 when it is none (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF). */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (len == 0 || len > n || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

/* What is refused before libyaml sees it. */
static int check_text(struct reader *r)
{
    bool line_start = true;
    size_t len;

    if (r->text.n > YAML_MAX_BYTES)
        return err_set(r->e, ERR_TOO_BIG, "%s: larger than 1 MiB", r->name);
    for (size_t i = 0; i < r->text.n; i += len) {
        struct span rest = {r->text.p + i, r->text.n - i};

        len = utf8_length((const unsigned char *)rest.p, rest.n);
        if (len == 0)
            return fail_at_byte(r, i, "not UTF-8 text; save the file as UTF-8");
        /* libyaml compares each one with all before it. */
        if (line_start && span_starts(rest, "%TAG"))
            return fail_at_byte(r, i, "tags are not used here; remove the line");
        line_start = rest.p[0] == '\n' || rest.p[0] == '\r';
    }
    return 0;
}

/* Passes on what libyaml found, in words that help where its own do not. */
static int fail_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    struct span rest;

    if (p->error == YAML_MEMORY_ERROR)
        return err_set(r->e, ERR_SYNTAX, "%s: out of memory", r->name);
    if (p->error == YAML_READER_ERROR)
        return fail_at_byte(r, p->problem_offset, "a control character is not allowed");
    if (p->problem_mark.index < r->text.n) {
        size_t at = 0;

        /* libyaml's index counts characters. */
        for (size_t c = 0; c < p->problem_mark.index && at < r->text.n; c++)
            at += utf8_length((const unsigned char *)r->text.p + at, r->text.n - at);
        rest = (struct span){r->text.p + at, r->text.n - at};
        if (span_starts(rest, "\t"))
            return fail(r, p->problem_mark, "a tab cannot stand here; use spaces");
        if (p->problem_mark.index > 0 && r->text.p[at > 0 ? at - 1 : 0] == '*')
            return fail(r, p->problem_mark, "a value that begins with * must stand in quotes");
    }
    if (p->problem == NULL)
        return fail(r, p->problem_mark, "not YAML");
    if (p->context != NULL && p->context_mark.line != p->problem_mark.line)
        return err_set(r->e, ERR_SYNTAX, "%s:%zu:%zu: %s %s that begins on line %zu", r->name,
                       p->problem_mark.line + 1, p->problem_mark.column + 1, p->problem, p->context,
                       p->context_mark.line + 1);
    return fail(r, p->problem_mark, p->problem);
}

/* The next event that is not to be refused. The caller deletes it. */
static int next_event(struct reader *r, yaml_event_t *ev)
{
    const char *refused = NULL;

    if (!yaml_parser_parse(&r->parser, ev))
        return fail_syntax(r);
    if (ev->type == YAML_ALIAS_EVENT)
        refused = "aliases (*name) are not used here; write the value out";
    else if ((ev->type == YAML_SCALAR_EVENT && ev->data.scalar.anchor != NULL) ||
             (ev->type == YAML_SEQUENCE_START_EVENT && ev->data.sequence_start.anchor != NULL) ||
             (ev->type == YAML_MAPPING_START_EVENT && ev->data.mapping_start.anchor != NULL))
        refused = "anchors (&name) are not used here; write the value out";
    else if ((ev->type == YAML_SCALAR_EVENT && ev->data.scalar.tag != NULL) ||
             (ev->type == YAML_SEQUENCE_START_EVENT && ev->data.sequence_start.tag != NULL) ||
             (ev->type == YAML_MAPPING_START_EVENT && ev->data.mapping_start.tag != NULL))
        refused = "tags (!name) are not used here; remove it";
    else if (ev->type == YAML_SCALAR_EVENT &&
             memchr(ev->data.scalar.value, '\0', ev->data.scalar.length) != NULL)
        refused = "a NUL character is not allowed";
    if (refused == NULL)
        return 0;
    fail(r, ev->start_mark, refused);
    yaml_event_delete(ev);
    return -1;
}

static bool is_null(const yaml_event_t *ev)
{
    const char *text = (const char *)ev->data.scalar.value;

    return ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (*text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

/* By key, then in the order written. */
static int compare_keys(const void *a, const void *b)
{
    const struct node *x = *(const struct node *const *)a, *y = *(const struct node *const *)b;
    int c = strcmp(x->key, y->key);

    if (c != 0)
        return c;
    if (x->key_line != y->key_line)
        return x->key_line < y->key_line ? -1 : 1;
    return x->key_column < y->key_column ? -1 : x->key_column > y->key_column;
}

/* Sorted, because comparing each key with each would be quadratic. */
static int check_duplicates(struct reader *r, const struct node *map, size_t n)
{
    const struct node **keys = arena_alloc(&r->y->arena, n * sizeof(struct node *));
    const struct node *first = NULL, *second = NULL;
    char quoted[VALUE_QUOTE_MAX];
    size_t i = 0;

    for (const struct node *c = map->first; c != NULL; c = c->next)
        keys[i++] = c;
    assert(i == n);
    qsort(keys, n, sizeof(*keys), compare_keys);
    for (i = 1; i < n; i++) {
        const struct node *a = keys[i - 1], *b = keys[i];

        if (strcmp(a->key, b->key) == 0 &&
            (second == NULL || b->key_line < second->key_line ||
             (b->key_line == second->key_line && b->key_column < second->key_column))) {
            first = a;
            second = b;
        }
    }
    if (second == NULL)
        return 0;
    return err_set(r->e, ERR_VALUE, "%s:%u:%u: the key %s stands here twice; first on line %u",
                   r->name, second->key_line, second->key_column, value_quote(quoted, second->key),
                   first->key_line);
}

static int read_node(struct reader *r, yaml_event_t *ev, unsigned depth, struct node **out);

/* Reads the children of *parent up to the end event of its kind. */
static int read_children(struct reader *r, struct node *parent, unsigned depth)
{
    struct node **link = &parent->first;
    size_t n = 0;

    for (;;) {
        const char *key = NULL;
        yaml_mark_t key_mark = {0};
        yaml_event_t ev;

        if (next_event(r, &ev) < 0)
            return -1;
        if (ev.type == YAML_MAPPING_END_EVENT || ev.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&ev);
            break;
        }
        if (parent->kind == NODE_MAP) {
            key_mark = ev.start_mark;
            if (ev.type != YAML_SCALAR_EVENT) {
                yaml_event_delete(&ev);
                return fail(r, key_mark, "a key must be plain text");
            }
            key = arena_strdup(&r->y->arena, (struct span){(const char *)ev.data.scalar.value,
                                                           ev.data.scalar.length});
            yaml_event_delete(&ev);
            if (next_event(r, &ev) < 0)
                return -1;
        }
        if (read_node(r, &ev, depth, link) < 0)
            return -1;
        (*link)->key = key;
        (*link)->key_line = (unsigned)key_mark.line + 1;
        (*link)->key_column = (unsigned)key_mark.column + 1;
        link = &(*link)->next;
        n++;
    }
    return parent->kind == NODE_MAP ? check_duplicates(r, parent, n) : 0;
}

/* Takes over *ev, which begins a node. Recursion ends at YAML_MAX_DEPTH. */
static int read_node(struct reader *r, yaml_event_t *ev, unsigned depth, struct node **out)
{
    struct node *n = arena_zalloc(&r->y->arena, sizeof(*n));
    yaml_mark_t mark = ev->start_mark;

    n->line = (unsigned)mark.line + 1;
    n->column = (unsigned)mark.column + 1;
    n->kind = ev->type == YAML_SCALAR_EVENT          ? NODE_TEXT
              : ev->type == YAML_MAPPING_START_EVENT ? NODE_MAP
                                                     : NODE_LIST;
    if (n->kind == NODE_TEXT) {
        n->null = is_null(ev);
        n->text = arena_strdup(&r->y->arena, (struct span){(const char *)ev->data.scalar.value,
                                                           ev->data.scalar.length});
    }
    yaml_event_delete(ev);
    *out = n;
    if (n->kind == NODE_TEXT)
        return 0;
    if (depth == YAML_MAX_DEPTH)
        return fail(r, mark, "nested too deeply");
    return read_children(r, n, depth + 1);
}

/* Stream start, at most one document, stream end. */
static int read_stream(struct reader *r)
{
    for (;;) {
        yaml_event_t ev;
        yaml_event_type_t type;
        yaml_mark_t mark;

        if (next_event(r, &ev) < 0)
            return -1;
        type = ev.type;
        mark = ev.start_mark;
        if (type == YAML_SCALAR_EVENT || type == YAML_MAPPING_START_EVENT ||
            type == YAML_SEQUENCE_START_EVENT) {
            if (read_node(r, &ev, 0, &r->y->root) < 0)
                return -1;
            continue;
        }
        yaml_event_delete(&ev);
        if (type == YAML_STREAM_END_EVENT)
            return 0;
        if (type == YAML_DOCUMENT_START_EVENT && r->y->root != NULL)
            return fail(r, mark, "a second document; expected one only");
    }
}

int yaml_read(struct yaml *y, const char *name, struct span text, struct err *e)
{
    struct reader r = {.y = y, .name = name, .e = e};
    int rc;

    if (text.n == 0)
        text = SPAN(""); /* libyaml asserts a pointer */
    if (span_starts(text, "\xef\xbb\xbf"))
        text = (struct span){text.p + 3, text.n - 3};
    r.text = text;
    *y = (struct yaml){0};
    arena_init(&y->arena);
    if (check_text(&r) < 0)
        return -1;
    if (!yaml_parser_initialize(&r.parser))
        return err_set(e, ERR_SYNTAX, "%s: out of memory", name);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.p, text.n);
    rc = read_stream(&r);
    yaml_parser_delete(&r.parser);
    if (rc < 0)
        yaml_release(y);
    else if (y->root != NULL && y->root->null)
        y->root = NULL;
    return rc;
}

void yaml_release(struct yaml *y)
{
    arena_release(&y->arena);
    y->root = NULL;
}

const struct node *node_find(const struct node *map, const char *key)
{
    if (map == NULL || map->kind != NODE_MAP)
        return NULL;
    for (const struct node *c = map->first; c != NULL; c = c->next)
        if (strcmp(c->key, key) == 0)
            return c;
    return NULL;
}
