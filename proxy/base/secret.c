#include "proxy/base/secret.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <strings.h>

#include "proxy/base/attributes.h"
#include "proxy/base/mem.h"

#define WINDOW SECRET_MIN

/* What is registered ------------------------------------------------------------------------ */

struct value {
    char *text;
    size_t n;
    struct value *next; /* another one that begins with the same eight bytes */
};

/* Eight bytes that occur in a secret. */
struct window {
    bool used;
    bool telling; /* looks random: hide it wherever it stands */
    char bytes[WINDOW];
    struct value *values; /* those that begin with it */
};

/* A hash table of windows, at most half full, and before it two filters that say "not in there": by
 * the first two bytes, which is all that nearly any place of a text costs, then by a hash. */
static struct {
    pthread_rwlock_t lock;
    struct window *slots;
    size_t size; /* a power of two, or 0 */
    size_t used;
    uint64_t pairs[1024];  /* one bit for each two bytes that a window or a mark begins with */
    uint64_t filter[1024]; /* one bit for each value that 16 bits of a hash can have */
} known = {.lock = PTHREAD_RWLOCK_INITIALIZER};

static unsigned pair_at(const char *p)
{
    uint16_t pair;

    memcpy(&pair, p, sizeof(pair));
    return pair;
}

static void note_pair(const char *p)
{
    known.pairs[pair_at(p) / 64] |= (uint64_t)1 << (pair_at(p) % 64);
}

/* May a window or a mark begin at p, which has another byte behind it? */
static bool may_begin(const char *p)
{
    return (known.pairs[pair_at(p) / 64] >> (pair_at(p) % 64) & 1) != 0;
}

/* The golden ratio spreads neighbours; the upper bits are the well mixed ones. */
static uint64_t hash_of(const char *bytes)
{
    uint64_t v;

    memcpy(&v, bytes, sizeof(v));
    return v * 0x9e3779b97f4a7c15u;
}

static bool may_be_known(const char *bytes)
{
    uint64_t bit = hash_of(bytes) >> 48;

    return (known.filter[bit / 64] >> (bit % 64) & 1) != 0;
}

static struct window *slot_of(struct window *slots, size_t size, const char *bytes)
{
    size_t i = (size_t)(hash_of(bytes) >> 32) & (size - 1);

    while (slots[i].used && memcmp(slots[i].bytes, bytes, WINDOW) != 0)
        i = (i + 1) & (size - 1);
    return &slots[i];
}

static void make_room(size_t more)
{
    size_t size = known.size != 0 ? known.size : 256;
    struct window *slots;

    while (size < 2 * (known.used + more))
        size *= 2;
    if (size == known.size)
        return;
    slots = mem_zalloc(size * sizeof(*slots));
    for (size_t i = 0; i < known.size; i++)
        if (known.slots[i].used)
            *slot_of(slots, size, known.slots[i].bytes) = known.slots[i];
    if (known.slots != NULL)
        explicit_bzero(known.slots, known.size * sizeof(*known.slots));
    free(known.slots);
    known.slots = slots;
    known.size = size;
}

static struct window *window_get(const char *bytes)
{
    struct window *w = slot_of(known.slots, known.size, bytes);

    if (!w->used) {
        w->used = true;
        memcpy(w->bytes, bytes, WINDOW);
        note_pair(bytes);
        known.used++;
        known.filter[hash_of(bytes) >> 54] |= (uint64_t)1 << (hash_of(bytes) >> 48 & 63);
    }
    return w;
}

/* Does a piece of a secret look random, and can it stand in JSON as it is? */
static bool is_telling(const char *bytes)
{
    unsigned marks = 0;

    for (size_t i = 0; i < WINDOW; i++) {
        if (bytes[i] == '\\' || bytes[i] == '"')
            return false;
        if ((bytes[i] >= '0' && bytes[i] <= '9') || (bytes[i] >= 'A' && bytes[i] <= 'Z'))
            marks++;
    }
    return marks >= 2;
}

static bool is_known(const struct window *w, struct span value)
{
    for (const struct value *v = w->values; v != NULL; v = v->next)
        if (v->n == value.n && memcmp(v->text, value.p, value.n) == 0)
            return true;
    return false;
}

static void add_value(struct span text)
{
    struct window *first;
    struct value *v;

    make_room(text.n);
    first = window_get(text.p);
    if (is_known(first, text))
        return;
    v = mem_alloc(sizeof(*v));
    *v = (struct value){mem_strndup(text.p, text.n), text.n, first->values};
    first->values = v;
    for (size_t i = 0; i + WINDOW <= text.n; i++)
        if (is_telling(text.p + i))
            window_get(text.p + i)->telling = true;
}

bool secret_register(struct span value)
{
    if (value.n < SECRET_MIN)
        return false;
    pthread_rwlock_wrlock(&known.lock);
    add_value(value);
    pthread_rwlock_unlock(&known.lock);
    return true;
}

/* What looks like a key --------------------------------------------------------------------- */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The bytes that the rest of a key of each sort is made of. */
enum run { TOKEN, BEARER, VALUE, RUNS };

/* The star is there because providers mask the middle of the keys that they quote. */
static bool is_token(char c)
{
    return is_alnum(c) || c == '-' || c == '_' || c == '*';
}

/* b64token, RFC 6750 2.1. */
static bool is_bearer(char c)
{
    return is_token(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '=';
}

static bool is_value(char c)
{
    return (unsigned char)c > ' ' && c != 0x7f && strchr("\"'\\&;,<>(){}[]", c) == NULL;
}

static bool (*const in_run[RUNS])(char) = {is_token, is_bearer, is_value};

/* One way to tell that a key stands here. */
struct mark {
    const char *text;
    size_t n;
    enum run run;     /* what follows it */
    size_t least;     /* of that, to be taken for a key */
    bool word;        /* a new word must begin with it */
    bool hide;        /* it is part of the secret itself */
    bool gap, nocase; /* white space stands between it and the key; letters in either case */
};

#define MARK(literal) literal, sizeof(literal) - 1

static const struct mark marks[] = {
    {MARK("sk-"), TOKEN, 4, .word = true, .hide = true},
    {MARK("AIza"), TOKEN, 4, .word = true, .hide = true},
    {MARK("gsk_"), TOKEN, 4, .word = true, .hide = true},
    {MARK("xai-"), TOKEN, 4, .word = true, .hide = true},
    {MARK("pplx-"), TOKEN, 4, .word = true, .hide = true},
    {MARK("bearer"), BEARER, 1, .word = true, .gap = true, .nocase = true},
    {MARK("key="), VALUE, 1, .nocase = true},
};

static pthread_once_t marks_noted = PTHREAD_ONCE_INIT;

static void note_marks(void)
{
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        const char *text = marks[i].text; /* those in either case are small here */

        note_pair(text);
        if (!marks[i].nocase)
            continue;
        for (unsigned upper = 1; upper < 4; upper++)
            note_pair((char[]){(char)(text[0] - (upper & 1 ? 'a' - 'A' : 0)),
                               (char)(text[1] - (upper & 2 ? 'a' - 'A' : 0))});
    }
}

void secret_forget(void)
{
    pthread_rwlock_wrlock(&known.lock);
    for (size_t i = 0; i < known.size; i++) {
        while (known.slots[i].values != NULL) {
            struct value *v = known.slots[i].values;

            known.slots[i].values = v->next;
            explicit_bzero(v->text, v->n);
            free(v->text);
            free(v);
        }
    }
    if (known.slots != NULL)
        explicit_bzero(known.slots, known.size * sizeof(*known.slots));
    free(known.slots);
    known.slots = NULL;
    known.size = known.used = 0;
    memset(known.filter, 0, sizeof(known.filter));
    memset(known.pairs, 0, sizeof(known.pairs));
    note_marks();
    pthread_rwlock_unlock(&known.lock);
}

/* The walk over a text ------------------------------------------------------------------------ */

struct walk {
    char *buf;
    size_t n;                    /* bytes of the original text */
    size_t at;                   /* where we read; all from here on is still original */
    size_t legible;              /* what is legible from here to `at` was not moved yet */
    size_t out;                  /* bytes of the new text so far, never past `legible` */
    size_t hide_to;              /* all before this is to be hidden */
    size_t later_from, later_to; /* a stretch found, its mark being legible, that begins later */
    size_t run_end[RUNS]; /* ends of the runs measured last, so that none is measured twice */
};

static size_t end_of_run(struct walk *w, enum run run, size_t from)
{
    size_t i = from;

    if (from < w->run_end[run])
        return w->run_end[run];
    while (i < w->n && in_run[run](w->buf[i]))
        i++;
    if (i > from)
        w->run_end[run] = i;
    return i;
}

/* Does a word begin at w->at? The letter of a JSON escape (\n, \u001f) belongs to no word. */
static bool word_begins(const struct walk *w)
{
    const char *p = w->buf + w->at;

    return w->at == 0 || !is_alnum(p[-1]) ||
           (w->at >= 2 && p[-2] == '\\' && strchr("bfnrt", p[-1]) != NULL) ||
           (w->at >= 6 && p[-6] == '\\' && p[-5] == 'u');
}

/* Is there a mark at w->at with a key behind it? Then the stretch to hide is [*from, *to). */
static bool find_marked(struct walk *w, size_t *from, size_t *to)
{
    const char *p = w->buf + w->at;
    size_t left = w->n - w->at;

    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        const struct mark *m = &marks[i];
        size_t key = w->at + m->n;

        if (left < m->n || (m->nocase ? strncasecmp(p, m->text, m->n) : memcmp(p, m->text, m->n)))
            continue;
        if (m->word && !word_begins(w))
            continue;
        while (m->gap && key < w->n && (w->buf[key] == ' ' || w->buf[key] == '\t'))
            key++;
        if (m->gap && key == w->at + m->n)
            continue;
        *to = end_of_run(w, m->run, key);
        if (*to - key < m->least)
            continue;
        *from = m->hide ? w->at : key;
        return true;
    }
    return false;
}

/* The end of what is registered and stands at w->at, or w->at if nothing does. */
static size_t end_of_known(const struct walk *w)
{
    const char *p = w->buf + w->at;
    size_t left = w->n - w->at, longest = 0;
    const struct window *found;

    if (left < WINDOW || !may_be_known(p))
        return w->at;
    found = slot_of(known.slots, known.size, p);
    if (!found->used)
        return w->at;
    if (found->telling)
        longest = WINDOW;
    for (const struct value *v = found->values; v != NULL; v = v->next)
        if (v->n > longest && v->n <= left && memcmp(v->text, p, v->n) == 0)
            longest = v->n;
    return w->at + longest;
}

static void hide_until(struct walk *w, size_t to)
{
    if (to > w->hide_to)
        w->hide_to = to;
}

/* Finds what is to be hidden from w->at on. */
static void look(struct walk *w)
{
    size_t from, to;

    if (w->at == w->later_from)
        hide_until(w, w->later_to);
    hide_until(w, end_of_known(w));
    if (!find_marked(w, &from, &to))
        return;
    if (from == w->at) {
        hide_until(w, to);
    } else {
        w->later_from = from;
        w->later_to = to;
    }
}

/* Goes on to the next place worth a look, which may be this one, or the end. */
static void skip(struct walk *w)
{
    size_t end = w->later_from >= w->at && w->later_to > w->at ? w->later_from : w->n;
    const char *p = w->buf;
    size_t i = w->at;

    while (i < end && i + 1 < w->n && !may_begin(p + i))
        i++;
    w->at = i + 1 < w->n || i == end ? i : w->n;
}

/* Moves what is legible before w->at to its place. */
static void keep(struct walk *w)
{
    size_t n = w->at - w->legible;

    if (w->out != w->legible)
        memmove(w->buf + w->out, w->buf + w->legible, n);
    w->out += n;
    w->legible = w->at;
}

/* Reads over one stretch, or several that touch, and leaves stars in its place. */
static void hide(struct walk *w)
{
    size_t stars;

    while (w->at < w->hide_to)
        if (++w->at < w->n)
            look(w);
    /* Half an escape would break JSON: backslashes on either side go too. */
    if (w->buf[w->at - 1] == '\\')
        while (w->at < w->n && w->buf[w->at] == '\\')
            w->at++;
    while (w->out > 0 && w->buf[w->out - 1] == '\\')
        w->out--;
    stars = w->at - w->legible < 3 ? w->at - w->legible : 3;
    memset(w->buf + w->out, '*', stars);
    w->out += stars;
    w->legible = w->at;
}

void secret_redact(char *buf, size_t *len)
{
    struct walk w = {.buf = buf, .n = *len};

    pthread_once(&marks_noted, note_marks);
    pthread_rwlock_rdlock(&known.lock);
    while (skip(&w), w.at < w.n) {
        look(&w);
        if (w.at < w.hide_to) {
            keep(&w);
            hide(&w);
        } else {
            w.at++;
        }
    }
    keep(&w);
    pthread_rwlock_unlock(&known.lock);
    *len = w.out;
}
