#include "proxy/ops/status_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/ops/fetch.h"
#include "proxy/ops/status_table.h"

#define TIMEOUT_MS   5000
#define MAX_DOCUMENT (64u << 20)

/* A wildcard is where it listens, and nobody's address. */
static void name_url(const struct config_listen *where, char *url, size_t size)
{
    const char *host = where->host;

    if (where->path != NULL) {
        snprintf(url, size, "http://localhost/status");
        return;
    }
    if (strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    else if (strcmp(host, "::") == 0)
        host = "::1";
    snprintf(url, size, strchr(host, ':') != NULL ? "http://[%s]:%u/status" : "http://%s:%u/status",
             host, (unsigned)where->port);
}

static int fetch_status(const struct config_listen *where, struct strbuf *document, struct err *e)
{
    char url[512];
    struct fetch f = {.url = url, .unix_path = where->path, .timeout_ms = TIMEOUT_MS};
    unsigned code;

    name_url(where, url, sizeof(url));
    if (fetch_get(&f, &code, document, e) < 0)
        return -1;
    if (code != 200)
        return err_set(e, ERR_VALUE, "the answer is a %u, which no holdfast gives there", code);
    return 0;
}

static struct status_style style_of_stdout(bool terminal)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    struct status_style style = {0};
    struct winsize size;

    if (!terminal)
        return style;
    style.colour =
        (no_colour == NULL || no_colour[0] == '\0') && (term == NULL || strcmp(term, "dumb") != 0);
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        style.width = size.ws_col;
    return style;
}

/* One look: appends what it has found, or else fills *e. */
static int look(const struct status_ask *ask, const struct status_style *style, struct strbuf *out,
                struct err *e)
{
    struct strbuf document = strbuf_heap(MAX_DOCUMENT), table = strbuf_heap(MAX_DOCUMENT);
    bool served = false;
    int rc = STATUS_SILENT;

    if (fetch_status(ask->where, &document, e) == 0 &&
        status_table(strbuf_span(&document), style, &table, &served, e) == 0) {
        strbuf_add_span(out, strbuf_span(ask->json ? &document : &table));
        rc = served ? STATUS_SERVED : STATUS_UNSERVED;
    } else {
        err_prefix(e, "no status from %s", ask->where->text);
    }
    strbuf_release(&document);
    strbuf_release(&table);
    return rc;
}

static void pause_for(uint64_t ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

/* Again and again, also while nobody answers: somebody may be waiting for just that. */
static void watch(const struct status_ask *ask)
{
    bool terminal = isatty(STDOUT_FILENO);
    struct strbuf out = strbuf_heap(MAX_DOCUMENT);

    for (;;) {
        struct status_style style = style_of_stdout(terminal);
        struct err e;
        bool silent;

        strbuf_clear(&out);
        strbuf_add(&out, "");
        if (!ask->json) {
            strbuf_add(&out, terminal ? "\033[H\033[J" : "");
            log_add_time(&out, clock_wall_ms());
            strbuf_add_char(&out, '\n');
        }
        silent = look(ask, &style, &out, &e) == STATUS_SILENT;
        if (silent && ask->json) /* what reads the documents must not meet anything else */
            fprintf(stderr, "holdfast: %s\n", e.msg);
        else if (silent)
            strbuf_addf(&out, "%s\n", e.msg);
        fwrite(out.buf, 1, out.len, stdout);
        fflush(stdout);
        pause_for(ask->every_ms);
    }
}

int status_command(const struct status_ask *ask)
{
    struct status_style style = style_of_stdout(isatty(STDOUT_FILENO));
    struct strbuf out = strbuf_heap(MAX_DOCUMENT);
    struct err e;
    int rc;

    if (ask->every_ms != 0)
        watch(ask);
    rc = look(ask, &style, &out, &e);
    if (rc == STATUS_SILENT)
        fprintf(stderr, "holdfast: %s\n", e.msg);
    else
        fwrite(out.buf, 1, out.len, stdout);
    strbuf_release(&out);
    return rc;
}
