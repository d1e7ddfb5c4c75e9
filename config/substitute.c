#include "config/substitute.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/value.h"
#include "proxy/base/strbuf.h"

/* Appends what an open regular file holds. */
static int add_open_file(struct strbuf *out, int fd, const char *shown, struct err *e)
{
    size_t start = out->len;
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(e, ERR_IO, "%s is not a regular file", shown);
    for (;;) {
        char part[4096];
        ssize_t n = read(fd, part, sizeof(part));

        if (n < 0)
            return err_set(e, ERR_IO, "%s: %s", shown, strerror(errno));
        if (n == 0)
            break;
        if (memchr(part, '\0', (size_t)n) != NULL)
            return err_set(e, ERR_VALUE, "%s holds a NUL byte", shown);
        strbuf_add_n(out, part, (size_t)n);
        if (out->failed || out->len - start > SUBSTITUTE_FILE_MAX)
            return err_set(e, ERR_TOO_BIG, "%s is larger than 64 KiB", shown);
    }
    while (out->len > start && strchr("\r\n", out->buf[out->len - 1]) != NULL)
        out->len--;
    if (out->buf != NULL)
        out->buf[out->len] = '\0';
    if (out->len == start)
        return err_set(e, ERR_VALUE, "%s is empty", shown);
    return (st.st_mode & S_IROTH) != 0;
}

/* 1 when the file may be read by everybody, 0 when not, or -1. */
static int add_file(struct strbuf *out, const char *path, struct err *e)
{
    char shown[VALUE_QUOTE_MAX];
    int fd, rc;

    value_quote(shown, path);
    if (path[0] != '/')
        return err_set(e, ERR_VALUE, "the file %s has no absolute path; write ${file:/path}",
                       shown);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not hold us */
    if (fd < 0)
        return err_set(e, ERR_IO, "cannot open the file %s: %s", shown, strerror(errno));
    rc = add_open_file(out, fd, shown, e);
    if (rc < 0)
        err_prefix(e, "the file");
    close(fd);
    return rc;
}

static bool is_name(const char *name)
{
    if (!isalpha((unsigned char)*name) && *name != '_')
        return false;
    while (isalnum((unsigned char)*name) || *name == '_')
        name++;
    return *name == '\0';
}

static int add_variable(struct strbuf *out, char *reference, struct err *e)
{
    char shown[VALUE_QUOTE_MAX];
    char *fallback = strstr(reference, ":-");
    const char *value;

    if (fallback != NULL) {
        *fallback = '\0';
        fallback += 2;
    }
    if (!is_name(reference))
        return err_set(e, ERR_VALUE,
                       "${...} holds %s; expected ${NAME}, ${NAME:-default} or ${file:/path}",
                       value_quote(shown, reference));
    value = getenv(reference);
    if (value == NULL || *value == '\0') {
        if (fallback == NULL)
            return err_set(e, ERR_UNKNOWN, "the environment variable %.80s is %s", reference,
                           value == NULL ? "not set" : "empty");
        value = fallback;
    }
    strbuf_add(out, value);
    return 0;
}

static void add_name(struct substituted *s, const char *path, struct arena *a)
{
    const char **more = arena_alloc(a, (s->n_files + 1) * sizeof(*more));

    for (size_t i = 0; i < s->n_files; i++)
        more[i] = s->files[i];
    more[s->n_files++] = path;
    s->files = more;
}

int substitute(const char *text, struct arena *a, struct substituted *out, struct err *e)
{
    struct strbuf sb = strbuf_in(a, SUBSTITUTE_MAX);
    struct substituted s = {.text = text};
    const char *at = text, *dollar;

    while ((dollar = strstr(at, "${")) != NULL) {
        const char *end = strchr(dollar, '}');
        char *reference;

        if (dollar > at && dollar[-1] == '$') { /* "$${": one of the two goes */
            strbuf_add_n(&sb, at, (size_t)(dollar - at));
            strbuf_add_char(&sb, '{');
            at = dollar + 2;
            continue;
        }
        if (end == NULL)
            return err_set(e, ERR_SYNTAX, "\"${\" has no closing \"}\"; write $${ for itself");
        strbuf_add_n(&sb, at, (size_t)(dollar - at));
        reference = arena_strdup(a, (struct span){dollar + 2, (size_t)(end - dollar) - 2});
        if (strncmp(reference, "file:", 5) == 0) {
            int open_to_all = add_file(&sb, reference + 5, e);

            add_name(&s, reference + 5, a);
            if (open_to_all < 0)
                return -1;
            if (open_to_all > 0)
                s.open_file = reference + 5;
        } else if (add_variable(&sb, reference, e) < 0) {
            return -1;
        }
        s.changed = true;
        at = end + 1;
    }
    if (at == text) {
        *out = s; /* nothing in it: the usual case costs no copy */
        return 0;
    }
    strbuf_add(&sb, at);
    if (sb.failed)
        return err_set(e, ERR_TOO_BIG, "larger than 1 MiB with its variables put in");
    s.text = sb.buf != NULL ? sb.buf : "";
    *out = s;
    return 0;
}
