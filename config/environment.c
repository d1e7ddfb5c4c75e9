#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/reader.h"
#include "config/value.h"
#include "proxy/base/span.h"

#define PREFIX "HOLDFAST_"

/* One value, or several with commas between for a list. */
static int store(struct reader *r, const struct option *o, const char *value, struct err *e)
{
    if (!option_is_list(o))
        return option_store(o, r->c, value, e);
    option_clear(o, r->c);
    for (const char *at = value;; at++) {
        struct span item = span_trim((struct span){at, strcspn(at, ",")});

        if (option_store(o, r->c, arena_strdup(r->arena, item), e) < 0)
            return -1;
        at += strcspn(at, ",");
        if (*at == '\0')
            return 0;
    }
}

static int override(struct reader *r, const struct option *o, size_t row, const char *name,
                    const char *value)
{
    char quoted[VALUE_QUOTE_MAX];
    struct err inner;

    if (!o->ready)
        return err_set(r->e, ERR_VALUE, "%s: %s is not available in this version (%s); unset it",
                       name, o->path, HOLDFAST_VERSION);
    if (store(r, o, value, &inner) < 0)
        return err_set(r->e, ERR_VALUE, "%s: %s %s", name, value_quote(quoted, value), inner.msg);
    r->set[row] = r->from_env[row] = true;
    return 0;
}

/* Kubernetes puts variables of this form into every container beside a service named "holdfast". */
static bool is_service_link(const char *rest)
{
    return strcmp(rest, "PORT") == 0 || strncmp(rest, "PORT_", 5) == 0 ||
           strncmp(rest, "SERVICE_", 8) == 0;
}

/* A variable with our prefix that no row reads is probably a slip, but may be another program's. */
static void warn_unknown(struct reader *r, const char *rest)
{
    struct suggestion near = suggest(rest);
    size_t count;
    const struct option *rows = options_all(&count);

    if (strcmp(rest, "CONFIG") == 0 || is_service_link(rest))
        return;
    for (size_t i = 0; i < count; i++) {
        const char *variable = option_variable(&rows[i], r->arena);

        if (variable == NULL)
            continue;
        if (strcmp(rest, variable) == 0)
            return;
        suggest_offer(&near, variable);
    }
    if (near.best != NULL)
        warn(r->c, PREFIX "%.80s: no such option; did you mean " PREFIX "%s?", rest, near.best);
    else
        warn(r->c, PREFIX "%.80s: no such option", rest);
}

int environment_run(struct reader *r)
{
    size_t count;
    const struct option *rows = options_all(&count);

    for (size_t i = 0; i < count; i++) {
        const char *variable = option_variable(&rows[i], r->arena), *name, *value;

        if (variable == NULL)
            continue;
        name = arena_printf(r->arena, PREFIX "%s", variable);
        value = getenv(name);
        if (value != NULL && *value != '\0' && override(r, &rows[i], i, name, value) < 0)
            return -1;
    }
    for (char **v = environ; v != NULL && *v != NULL; v++) {
        size_t n = strcspn(*v, "=");

        if (n > strlen(PREFIX) && strncmp(*v, PREFIX, strlen(PREFIX)) == 0)
            warn_unknown(
                r, arena_strdup(r->arena, (struct span){*v + strlen(PREFIX), n - strlen(PREFIX)}));
    }
    return 0;
}
