#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/reader.h"
#include "proxy/base/mem.h"
#include "proxy/base/strbuf.h"

/* Reads what `text` holds, or with NULL the environment alone. */
static int run(const char *name, const struct span *text, bool open_to_all,
               const struct config_types *types, struct config **out, struct err *e)
{
    struct yaml yaml = {0};
    struct reader r = {.file = name, .types = types, .open_to_all = open_to_all, .e = e};
    int rc = -1;

    r.c = mem_zalloc(sizeof(*r.c));
    r.c->source = mem_strdup(name);
    r.arena = &yaml.arena;
    if (text != NULL) {
        if (yaml_read(&yaml, name, *text, e) < 0)
            goto done;
        r.root = yaml.root;
        if (r.root == NULL) {
            /* Half-written by an editor or a mount that is missing: not a wish for defaults. */
            err_set(e, ERR_VALUE, "%s: is empty; expected providers and routes", name);
            goto done;
        }
    }
    if (reader_run(&r) < 0)
        goto done;
    *out = r.c;
    r.c = NULL;
    rc = 0;

done:
    config_free(r.c);
    yaml_release(&yaml);
    return rc;
}

int config_parse(const char *name, const char *text, size_t n, const struct config_types *types,
                 struct config **out, struct err *e)
{
    return run(name, &(struct span){text, n}, false, types, out, e);
}

/* At most one byte more than the YAML reader takes, so that it sees what is too large. */
static int read_file(const char *path, struct strbuf *text, bool *open_to_all, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    ssize_t n = -1;

    if (fd < 0)
        return err_set(e, ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, &st) == 0) {
        *open_to_all = S_ISREG(st.st_mode) && (st.st_mode & S_IROTH) != 0;
        do {
            char part[16384];

            n = read(fd, part, sizeof(part));
            if (n > 0)
                strbuf_add_n(text, part, (size_t)n);
        } while (n > 0 && !text->failed);
    }
    if (n < 0)
        err_set(e, ERR_IO, "%s: cannot read: %s", path, strerror(errno));
    close(fd);
    if (text->failed)
        return err_set(e, ERR_TOO_BIG, "%s: larger than 1 MiB", path);
    return n < 0 ? -1 : 0;
}

int config_load(const char *path, const struct config_types *types, struct config **out,
                struct err *e)
{
    struct strbuf text = strbuf_heap(YAML_MAX_BYTES);
    bool open_to_all = false;
    struct span span;
    int rc;

    if (path == NULL)
        return run("zero configuration", NULL, false, types, out, e);
    rc = read_file(path, &text, &open_to_all, e);
    if (rc == 0) {
        span = strbuf_span(&text);
        rc = run(path, &span, open_to_all, types, out, e);
    }
    if (rc == 0)
        config_add_file(*out, path);
    if (text.buf != NULL)
        explicit_bzero(text.buf, text.len); /* keys */
    strbuf_release(&text);
    return rc;
}

static void free_strings(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

static void free_provider(struct config_provider *p)
{
    for (size_t i = 0; i < p->n_keys; i++)
        explicit_bzero(p->keys[i], strlen(p->keys[i]));
    free_strings(p->keys, p->n_keys);
    free(p->name);
    free(p->type);
    free(p->base_url);
    free(p->dialect);
    free(p->completions);
    free(p->text);
    free(p->carry_on);
    free(p->ca);
    free(p->client_cert);
    free(p->client_key);
}

static void free_route(struct config_route *route)
{
    for (size_t i = 0; i < route->n_targets; i++)
        free(route->targets[i].model);
    free(route->targets);
    free(route->model);
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->n_listens; i++)
        config_listen_release(&c->listens[i]);
    free(c->listens);
    config_listen_release(&c->admin);
    for (size_t i = 0; i < c->n_providers; i++)
        free_provider(&c->providers[i]);
    free(c->providers);
    egress_release(&c->egress[false]);
    egress_release(&c->egress[true]);
    for (size_t i = 0; i < c->n_routes; i++)
        free_route(&c->routes[i]);
    free(c->routes);
    for (size_t i = 0; i < c->n_clients; i++) {
        free(c->clients[i].name);
        free_strings(c->clients[i].models, c->clients[i].n_models);
    }
    free(c->clients);
    free_strings(c->hosts, c->n_hosts);
    free_strings(c->origins, c->n_origins);
    free_strings(c->allow, c->n_allow);
    free(c->networks);
    free_strings(c->files, c->n_files);
    free_strings(c->warnings, c->n_warnings);
    free(c->overload.stance);
    free(c->stream.commit);
    free(c->stream.midstream);
    free(c->stream.tool_calls);
    free(c->log.level);
    free(c->stream.resume);
    free(c->log.format);
    free(c->tls.cert);
    free(c->tls.key);
    free(c->source);
    free(c);
}

int config_check_name(const char *name, struct err *e)
{
    return option_check(FORM_NAME, name, e);
}

void config_add_file(struct config *c, const char *path)
{
    c->files = mem_grow(c->files, (c->n_files + 1) * sizeof(*c->files));
    c->files[c->n_files++] = mem_strdup(path);
}

/* ---- reading it again --------------------------------------------------------------------------
 */

static bool same_listen(const struct config_listen *a, const struct config_listen *b)
{
    return (a->text == NULL) == (b->text == NULL) &&
           (a->text == NULL || strcmp(a->text, b->text) == 0);
}

static bool same_listens(const struct config *a, const struct config *b)
{
    for (size_t i = 0; i < a->n_listens && i < b->n_listens; i++)
        if (!same_listen(&a->listens[i], &b->listens[i]))
            return false;
    return a->n_listens == b->n_listens;
}

void config_keep_fixed(const struct config *running, struct config *changed, char *names,
                       size_t size)
{
    const struct {
        const char *name;
        bool same;
    } fixed[] = {
        {"listen", same_listens(running, changed)},
        {"admin", same_listen(&running->admin, &changed->admin)},
        {"workers", running->workers == changed->workers},
        {"limits.connections", running->limits.connections == changed->limits.connections},
    };
    struct strbuf out = strbuf_on(names, size);

    strbuf_add(&out, "");
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        if (!fixed[i].same)
            strbuf_addf(&out, "%s%s", out.len > 0 ? ", " : "", fixed[i].name);
    changed->workers = running->workers;
    changed->limits.connections = running->limits.connections;
}

static char *join(const char *folder, const char *rest)
{
    char *path = mem_alloc(strlen(folder) + strlen(rest) + 1);

    stpcpy(stpcpy(path, folder), rest);
    return path;
}

/* `path` when it is there, else frees it. */
static char *if_there(char *path)
{
    if (access(path, F_OK) == 0)
        return path;
    free(path);
    return NULL;
}

char *config_find(const char *given)
{
    const char *named = getenv("HOLDFAST_CONFIG");
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char *path;

    if (given != NULL)
        return mem_strdup(given);
    if (named != NULL && *named != '\0')
        return mem_strdup(named);
    path = if_there(mem_strdup("holdfast.yaml"));
    if (path == NULL && xdg != NULL && xdg[0] == '/')
        path = if_there(join(xdg, "/holdfast/holdfast.yaml"));
    else if (path == NULL && home != NULL && home[0] == '/')
        path = if_there(join(home, "/.config/holdfast/holdfast.yaml"));
    return path != NULL ? path : if_there(mem_strdup("/etc/holdfast/holdfast.yaml"));
}
