#include "providers/conversation.h"

#include "proxy/base/json.h"

#define MAX_PATH 512 /* bytes of a path with the client's own name in it */

/* ---- what was dropped ---- */

/* Is `path` one of the names in the list already? */
static bool is_listed(struct span list, struct span path)
{
    while (list.n != 0) {
        const char *comma = memchr(list.p, ',', list.n);
        struct span name = {list.p, comma != NULL ? (size_t)(comma - list.p) : list.n};
        size_t used = comma != NULL ? name.n + 2 : name.n; /* the comma and its space */

        if (span_eq(name, path))
            return true;
        list = (struct span){list.p + used, list.n - used};
    }
    return false;
}

/* The path with the client's name in it, on `mem` where it differs. */
static struct span as_client_names(const struct field_name *names, struct span path,
                                   char mem[MAX_PATH])
{
    struct strbuf out;

    for (; names != NULL && names->usual != NULL; names++) {
        struct span usual = span_of(names->usual);
        struct span end = {path.p + path.n - usual.n, usual.n};
        bool whole = span_eq(path, usual);

        if (!whole && (usual.p[0] != '.' || path.n < usual.n || !span_eq(end, usual)))
            continue;
        out = strbuf_on(mem, MAX_PATH);
        strbuf_add_n(&out, path.p, path.n - usual.n);
        strbuf_add(&out, names->client);
        return out.failed ? path : strbuf_span(&out);
    }
    return path;
}

void name_for_client(const struct field_name *names, struct err *e)
{
    char mem[MAX_PATH];
    struct err was = *e;
    struct span path = {was.msg, strcspn(was.msg, ":")}, name = as_client_names(names, path, mem);
    struct strbuf out = strbuf_on(e->msg, sizeof(e->msg));
    size_t rest = strlen(was.msg) - path.n;

    strbuf_add_span(&out, name);
    strbuf_add_n(&out, was.msg + path.n, rest < out.max - out.len ? rest : out.max - out.len);
}

void drop_field(struct drops *d, struct span path)
{
    char mem[MAX_PATH];

    path = as_client_names(d->client, path, mem);
    if (path.n == 0 || is_listed(strbuf_span(d->names), path))
        return;
    /* Both or nothing, so that the list never ends in half a name. */
    if (d->names->max - d->names->len < path.n + 2) {
        d->names->failed = true;
        return;
    }
    if (d->names->len != 0)
        strbuf_add(d->names, ", ");
    strbuf_add_span(d->names, path);
}

void drop_named(struct drops *d, const char *path)
{
    drop_field(d, span_of(path));
}

void drop_cache_hint(struct drops *d, const struct part *p, struct arena *a)
{
    if (p->cache.n == 0)
        return;
    if (p->cache_path.n != 0)
        drop_field(d, p->cache_path);
    else
        drop_named(d, arena_printf(a, "%.*s.cache_control", SPAN_ARG(p->path)));
}

/* ---- raw strings ---- */

static bool is_white(unsigned c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* The character at the start of valid UTF-8, and how long it is. White space has at most three
 * bytes, so of longer ones only the length matters. */
static unsigned character(const char *p, size_t *n)
{
    const unsigned char *s = (const unsigned char *)p;

    *n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    switch (*n) {
    case 1:
        return s[0];
    case 2:
        return (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
    case 3:
        return (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
    default:
        return 0x10000;
    }
}

/* The same for the escape at the start of the inside of a valid string. */
static unsigned escaped(const char *p, size_t *n)
{
    unsigned c = 0;

    *n = 2;
    if (p[1] != 'u')
        return p[1] == 'n' || p[1] == 'r' || p[1] == 't' || p[1] == 'f' ? '\n' : 'x';
    for (*n = 2; *n < 6; (*n)++) {
        char digit = p[*n];

        c = c << 4 | (unsigned)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    return c;
}

bool raw_is_blank(struct span raw)
{
    const char *p, *end;
    size_t n;

    if (raw.n <= 2)
        return true;
    end = raw.p + raw.n - 1;
    for (p = raw.p + 1; p < end; p += n)
        if (!is_white(*p == '\\' ? escaped(p, &n) : character(p, &n)))
            return false;
    return true;
}

void raw_add_joined(struct strbuf *out, struct span raw, bool first, const char *separator)
{
    if (first)
        strbuf_add_char(out, '"');
    else
        strbuf_add(out, separator);
    if (raw.n > 2)
        strbuf_add_n(out, raw.p + 1, raw.n - 2);
}

static struct span field_of(struct span within, struct span path, const char *name, struct arena *a)
{
    struct span parent = within.n != 0 ? within : path;

    return span_of(arena_printf(a, "%.*s.%s", SPAN_ARG(parent), name));
}

struct span part_field(const struct part *p, const char *name, struct arena *a)
{
    return field_of(p->within, p->path, name, a);
}

struct span tool_field(const struct tool *t, const char *name, struct arena *a)
{
    return field_of(t->within, t->path, name, a);
}
