#include <assert.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "config/options.h"
#include "proxy/base/arena.h"
#include "proxy/base/strbuf.h"

#define MAX_ENTRY 4096 /* bytes of what one row says */

static const char intro[] =
    "# Configuration\n"
    "\n"
    "One YAML file, looked for in this order: `-c FILE`, `$HOLDFAST_CONFIG`, `./holdfast.yaml`,\n"
    "`$XDG_CONFIG_HOME/holdfast/holdfast.yaml`, `/etc/holdfast/holdfast.yaml`. Without a file, or "
    "in a\n"
    "file without `providers` and `routes`, these come from the provider keys in the environment.\n"
    "`holdfast check` reads the file, names the first mistake by line and column, or prints what\n"
    "applies.\n"
    "\n"
    "- A duration has a unit: `250ms`, `10s`, `1.5m`, `2h`. A size has one too: `512B`, `64KiB`,\n"
    "  `32MiB`, `1GiB`.\n"
    "- Inside any value `${NAME}` is replaced by an environment variable, `${NAME:-default}` by a\n"
    "  default where it is not set or empty, `${file:/path}` by what a file holds. `$${` stands "
    "for\n"
    "  `${`. What is put in is not read as YAML.\n"
    "- The keys with a variable below can be set by it too; it wins over the file. Entries of a "
    "list\n"
    "  are separated by commas. An empty variable counts as not set.\n"
    "- Anchors, aliases, tags, a second document and a key given twice are errors, as is every "
    "key\n"
    "  that is not listed here.\n"
    "- At SIGHUP, and when one of its files changes (also those of `${file:...}`), the "
    "configuration is\n"
    "  read again and what says \"reload\" is taken over, all of it or, where something is wrong, "
    "nothing;\n"
    "  the rest needs a restart.\n";

static void cell(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
}

/* What the row says beside its help. */
static void add_absent(struct strbuf *out, const struct option *o)
{
    if (!o->ready)
        strbuf_addf(out, ". Not available in %s yet: setting it is an error", HOLDFAST_VERSION);
    if (o->later != NULL)
        strbuf_addf(out, ". Not available in %s yet: `%s`", HOLDFAST_VERSION, o->later);
}

/* One line of the table of its chapter. */
static void print_row(const struct option *o, struct arena *a, FILE *out)
{
    char expects[OPTION_EXPECTS_MAX];
    const char *variable = option_variable(o, a);
    struct strbuf meaning = strbuf_in(a, MAX_ENTRY);

    strbuf_add(&meaning, o->help);
    add_absent(&meaning, o);
    assert(!meaning.failed);
    fprintf(out, "| `%s` | ", o->path);
    cell(out, option_expects(o, expects));
    fprintf(out, " | ");
    if (o->def != NULL)
        fprintf(out, "`%s`", o->def);
    fprintf(out, " | %s | ", o->restart ? "restart" : "reload");
    if (variable != NULL && o->ready)
        fprintf(out, "`HOLDFAST_%s`", variable);
    fprintf(out, " | ");
    cell(out, meaning.buf);
    fprintf(out, " |\n");
}

/* Rows that hold others and stand outermost begin a chapter; so does each outermost row alone. */
static bool is_chapter(const struct option *o)
{
    return strpbrk(o->path, ".[*") == NULL;
}

void config_manual(FILE *out)
{
    size_t n;
    const struct option *rows = options_all(&n);
    struct arena a;

    arena_init(&a);
    fputs(intro, out);
    for (size_t i = 0; i < n; i++) {
        bool holds = !option_is_scalar(&rows[i]) && !option_is_list(&rows[i]);

        if (is_chapter(&rows[i])) {
            fprintf(out, "\n## %s\n\n", rows[i].path);
            if (holds)
                fprintf(out, "%c%s.\n\n", toupper((unsigned char)rows[i].help[0]),
                        rows[i].help + 1);
            fprintf(out, "| key | takes | default | change | variable | meaning |\n"
                         "|---|---|---|---|---|---|\n");
        }
        if (!is_chapter(&rows[i]) || !holds)
            print_row(&rows[i], &a, out);
    }
    arena_release(&a);
}

/* ---- the same as a man page --------------------------------------------------------------------
 */

static const char page_begin[] =
    ".\\\" Made from the rows of config/options.c: cmake --build --preset dev --target manual\n"
    ".TH HOLDFAST.YAML 5 \"\" \"Holdfast\" \"File Formats\"\n"
    ".nh\n"
    ".SH NAME\n"
    "holdfast.yaml \\- configuration of holdfast\n"
    ".SH DESCRIPTION\n";

static const char page_end[] = ".SH SEE ALSO\n"
                               ".BR holdfast (1)\n";

/* Markdown's code becomes bold, its bullets become .IP, and nothing is taken for a request. */
static void put_roff(const char *text, FILE *out)
{
    bool begins = true, code = false;

    for (; *text != '\0'; text++) {
        if (begins && strncmp(text, "- ", 2) == 0) {
            fputs(".IP \\(bu 2\n", out);
            text += 2;
        } else if (begins && *text == '\n') {
            fputs(".PP", out);
        } else if (begins) {
            text += strspn(text, " ");
        }
        if (begins && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        if (*text == '`')
            fputs((code = !code) ? "\\fB" : "\\fR", out);
        else if (*text == '\\')
            fputs("\\e", out);
        else if (code && *text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
        begins = *text == '\n';
    }
}

/* What the table of the Markdown has in columns, in sentences. */
static void print_entry(const struct option *o, struct arena *a, FILE *out)
{
    char expects[OPTION_EXPECTS_MAX];
    const char *variable = option_variable(o, a);
    struct strbuf text = strbuf_in(a, MAX_ENTRY);

    strbuf_addf(&text, "`%s`\n%c%s", o->path, toupper((unsigned char)o->help[0]), o->help + 1);
    add_absent(&text, o);
    strbuf_addf(&text, ".\nTakes %s", option_expects(o, expects));
    if (o->def != NULL)
        strbuf_addf(&text, "; default `%s`", o->def);
    strbuf_addf(&text, "; changed by a %s", o->restart ? "restart" : "reload");
    if (variable != NULL && o->ready)
        strbuf_addf(&text, "; `HOLDFAST_%s`", variable);
    strbuf_add(&text, ".\n");
    assert(!text.failed);
    fputs(".TP\n", out);
    put_roff(text.buf, out);
}

void config_manual_page(FILE *out)
{
    size_t n;
    const struct option *rows = options_all(&n);
    struct arena a;

    arena_init(&a);
    fputs(page_begin, out);
    put_roff(strchr(intro, '\n') + 2, out); /* without its heading */
    fputs(".SH OPTIONS\n", out);
    for (size_t i = 0; i < n; i++)
        print_entry(&rows[i], &a, out);
    fputs(page_end, out);
    arena_release(&a);
}
