/* main.c - the command line, the wiring, and the life of the process. */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "config/config.h"
#include "config/value.h"
#include "providers/catalog.h"
#include "providers/fields.h"
#include "proxy/base/clock.h"
#include "proxy/base/hash.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/base/secret.h"
#include "proxy/ops/admin.h"
#include "proxy/ops/notify.h"
#include "proxy/ops/status.h"
#include "proxy/ops/status_command.h"
#include "proxy/ops/successor.h"
#include "proxy/ops/watch.h"
#include "proxy/service.h"
#include "proxy/wire/client.h"
#include "proxy/wire/inherit.h"
#include "proxy/wire/listener.h"
#include "proxy/wire/worker.h"

#define MAX_LISTENERS 16
#define MAX_WORKERS   64
#define PULSE_LOST_US 5000000 /* a loop that has not turned for so long is stuck */
#define DRAIN_LOOK_MS 20
#define WATCH_MS      1000 /* how often the files of the configuration are looked at */

/* What the main thread waits for; blocked in all. */
static const int awaited[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGCHLD};

/* Everything that runs, for the whole life of the process. */
struct program {
    struct config *config; /* of the service */
    struct service *service;
    pthread_mutex_t swap; /* held by the admin port's thread while it looks at the two */
    struct admin *admin;
    struct worker *workers[MAX_WORKERS];
    unsigned n_workers;
    struct listeners listeners;
    char addresses[MAX_LISTENERS][80]; /* of each place in `listen` */
    struct successor successor;
    char **admin_hosts;
    size_t n_admin_hosts;
    uint64_t seen; /* the files of the configuration, as they were read */
    unsigned reloads;
    char reload_error[512]; /* why the last reading was refused, or "" */
    char *listen_option;    /* of --listen, comma separated */
    const char *config_option;
    const char *admin_option;
    struct status_ask ask;       /* of `status` */
    const char *only_for_status; /* an option that was given */
};

/* ---- what the admin port asks ------------------------------------------------------------------
 */

static bool is_live(void *ctx)
{
    const struct program *p = ctx;
    uint64_t now = clock_us();

    for (unsigned i = 0; i < p->n_workers; i++)
        if (now > worker_pulse_us(p->workers[i]) + PULSE_LOST_US)
            return false;
    return true;
}

/* The service of this moment, kept from going away while the admin port looks at it. */
static struct service *borrow(struct program *p)
{
    struct service *s;

    pthread_mutex_lock(&p->swap);
    s = p->service;
    service_use(s);
    pthread_mutex_unlock(&p->swap);
    return s;
}

static bool is_ready(void *ctx, struct strbuf *why)
{
    struct service *s = borrow(ctx);
    bool ready = !atomic_load(&s->draining);

    service_drop(s);
    if (!ready)
        strbuf_add(why, "draining");
    return ready;
}

static void target_now(void *ctx, size_t i, struct metrics_target_now *out)
{
    static const enum metrics_breaker states[] = {
        [BREAKER_CLOSED] = METRICS_CLOSED,
        [BREAKER_OPEN] = METRICS_OPEN,
        [BREAKER_HALF_OPEN] = METRICS_HALF_OPEN,
    };
    const struct service *s = ctx;
    struct target *t = &s->targets->targets[i];
    struct target_view now;

    target_look(t, clock_us() / 1000, &now);
    out->breaker[METRICS_MODEL] = states[now.model];
    out->breaker[METRICS_ENDPOINT] = states[now.endpoint];
    out->breaker[METRICS_PATH] = states[now.path];
    out->in_flight = atomic_load_explicit(&t->in_flight, memory_order_relaxed);
    out->limit = now.limit;
    out->may_be_asked = now.may_be_asked;
    out->retry_tokens = now.retry_tokens;
}

static struct target *target_of(struct target_set *set, const struct config_target *ct)
{
    return target_set_find(set, ct->provider, ct->model); /* not NULL: made from the same routes */
}

static size_t route_now(void *ctx, size_t i)
{
    const struct service *s = ctx;
    const struct config_route *r = &s->config->routes[i];
    struct target_view now;
    size_t n = 0;

    for (size_t k = 0; k < r->n_targets; k++) {
        target_look(target_of(s->targets, &r->targets[k]), clock_us() / 1000, &now);
        n += now.may_be_asked;
    }
    return n;
}

static void write_metrics(void *ctx, struct strbuf *out)
{
    struct program *p = ctx;
    struct service *s = borrow(p);
    struct metrics_now now = {.ctx = s, .target = target_now, .route = route_now};

    pthread_mutex_lock(&p->swap);
    now.reload_failed = p->reload_error[0] != '\0';
    pthread_mutex_unlock(&p->swap);
    replay_totals(s->replay, &now.kept_answers, &now.kept_bytes);
    metrics_write(s->metrics, &now, out);
    service_drop(s);
}

static void snapshot_target(struct target *t, uint64_t now_ms, struct arena *a,
                            struct status_target *out)
{
    struct target_view now;
    const struct failure_row *row;

    target_look(t, now_ms, &now);
    row = failure_row(now.last_failure);
    *out = (struct status_target){
        .name = span_of(t->name),
        .breaker = breaker_state_name(now.worst),
        .scope = now.closed_by,
        .may_be_asked = now.may_be_asked,
        .retry_ms = now.retry_ms,
        .failures_in_a_row = now.failures,
        .slow = now.behind,
        .limit = now.limit,
        .in_flight = atomic_load_explicit(&t->in_flight, memory_order_relaxed),
        .attempts = atomic_load_explicit(&t->attempts, memory_order_relaxed),
        .failures = atomic_load_explicit(&t->failures, memory_order_relaxed),
        .first_token_p50_ms = now.first_token.p50_ms,
        .first_token_p95_ms = now.first_token.p95_ms,
        .answer_p50_ms = now.answer.p50_ms,
        .answer_p95_ms = now.answer.p95_ms,
        .input_tokens = atomic_load_explicit(&t->tokens_in, memory_order_relaxed),
        .output_tokens = atomic_load_explicit(&t->tokens_out, memory_order_relaxed),
    };
    if (now.last_failure != FAILURE_NONE) {
        out->last_error =
            span_of(now.last_text[0] != '\0' ? arena_printf(a, "%s: %s", row->text, now.last_text)
                                             : row->text);
        out->last_error_age_ms = now.last_failure_age_ms;
    }
    if (now.closed_by != NULL)
        out->why = span_of(row->label);
    else if (now.rests_for != FAILURE_NONE)
        out->why = span_of(failure_row(now.rests_for)->label);
}

static void add_resting(struct status_key *out, size_t *n, size_t max, const struct provider *p,
                        struct span model, const struct rest *rests, uint64_t now_ms)
{
    for (size_t k = 0; k < p->n_keys && *n < max; k++)
        if (rests[k].until_ms > now_ms)
            out[(*n)++] = (struct status_key){
                .provider = span_of(p->conf->name),
                .model = model,
                .index = k,
                .why = failure_row(rests[k].why)->label,
                .rest_ms = rests[k].until_ms - now_ms,
            };
}

static size_t snapshot_keys(struct target_set *set, uint64_t now_ms, struct status_key *out,
                            size_t max)
{
    size_t n = 0;

    pthread_mutex_lock(&set->lock);
    for (size_t i = 0; i < set->n_providers; i++)
        add_resting(out, &n, max, &set->providers[i], SPAN(""), set->providers[i].rests, now_ms);
    for (size_t i = 0; i < set->n_all; i++) {
        const struct target *t = &set->targets[i];

        add_resting(out, &n, max, t->provider, t->model.p != NULL ? t->model : SPAN("*"), t->rests,
                    now_ms);
    }
    pthread_mutex_unlock(&set->lock);
    return n;
}

static const struct status_route *snapshot_routes(const struct config *c, struct target_set *set,
                                                  struct arena *a)
{
    struct status_route *routes = arena_alloc(a, c->n_routes * sizeof(*routes));

    for (size_t r = 0; r < c->n_routes; r++) {
        const struct config_route *from = &c->routes[r];
        size_t *targets = arena_alloc(a, from->n_targets * sizeof(*targets));

        for (size_t i = 0; i < from->n_targets; i++)
            targets[i] = target_of(set, &from->targets[i])->index;
        routes[r] = (struct status_route){span_of(from->model), targets, from->n_targets};
    }
    return routes;
}

/* NULL: it was never read again; "ok", or what was wrong with it. */
static const char *last_reload(struct program *p, char *text)
{
    bool never;

    pthread_mutex_lock(&p->swap);
    never = p->reloads == 0 && p->reload_error[0] == '\0';
    snprintf(text, sizeof(p->reload_error), "%s",
             p->reload_error[0] != '\0' ? p->reload_error : "ok");
    pthread_mutex_unlock(&p->swap);
    return never ? NULL : text;
}

static void write_status(void *ctx, struct strbuf *out)
{
    struct program *p = ctx;
    struct service *service = borrow(p);
    struct target_set *set = service->targets;
    struct arena a;
    struct span listeners[MAX_LISTENERS];
    struct status_key keys[64];
    char reload[sizeof(p->reload_error)];
    struct status_snapshot s = {
        .version = HOLDFAST_VERSION,
        .uptime_ms = (clock_us() - service->started_us) / 1000,
        .config = span_of(service->config->source),
        .last_reload = last_reload(p, reload),
        .listeners = listeners,
        .n_listeners = service->config->n_listens,
        .workers = p->n_workers,
        .draining = atomic_load(&service->draining),
        .log_dropped = log_dropped(),
        .keys = keys,
    };
    struct status_target *targets;

    arena_init(&a);
    targets = arena_alloc(&a, set->n_all * sizeof(*targets));
    for (size_t i = 0; i < set->n_all; i++) {
        struct target *t = &set->targets[i];

        if (t->passthrough && atomic_load_explicit(&t->attempts, memory_order_relaxed) == 0)
            continue; /* most never hand anything on */
        snapshot_target(t, clock_us() / 1000, &a, &targets[s.n_targets]);
        s.in_flight += targets[s.n_targets++].in_flight;
    }
    s.targets = targets;
    s.routes = snapshot_routes(service->config, set, &a);
    s.n_routes = service->config->n_routes;
    s.n_keys = snapshot_keys(set, clock_us() / 1000, keys, ARRAY_LEN(keys));
    metrics_totals(service->metrics, &s.requests, &s.requests_ok);
    replay_totals(service->replay, &s.kept_answers, &s.kept_bytes);
    for (size_t i = 0; i < s.n_listeners; i++)
        listeners[i] = span_of(p->addresses[i]);
    status_write(&s, out);
    arena_release(&a);
    service_drop(service);
}

static void write_events(void *ctx, struct strbuf *out)
{
    struct service *s = borrow(ctx);

    events_write(s->events, clock_us() / 1000, out);
    service_drop(s);
}

/* ---- starting ----------------------------------------------------------------------------------
 */

static void raise_descriptor_limit(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static unsigned count_workers(const struct config *c)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = c->workers;

    for (size_t i = 0; i < c->n_listens && n == 0; i++)
        if (!c->listens[i].loopback)
            n = cores > 0 ? (unsigned)cores : 1;
    if (n == 0)
        n = 1;
    return n > MAX_WORKERS ? MAX_WORKERS : n;
}

/* How people and clients reach a listener. */
static void name_listener(struct program *p, size_t i)
{
    const struct config_listen *l = &p->config->listens[i];
    bool secure = p->config->tls.cert != NULL && !l->loopback;
    char *out = p->addresses[i];
    size_t size = sizeof(p->addresses[i]);

    if (l->path != NULL)
        snprintf(out, size, "unix:%s", l->path);
    else
        snprintf(out, size, strchr(l->host, ':') != NULL ? "%s://[%s]:%u" : "%s://%s:%u",
                 secure ? "https" : "http", l->host,
                 (unsigned)listener_port(listeners_first(&p->listeners, i)));
}

/* The sockets of each place are dealt out in turn. Where there are fewer than workers, they share
 * them; where there are more, some have several. */
static void start_worker(struct program *p, unsigned w)
{
    const struct listeners *ls = &p->listeners;
    struct client_listener *mine = mem_alloc((ls->n + p->config->n_listens) * sizeof(*mine));
    size_t n = 0;

    for (size_t i = 0; i < p->config->n_listens; i++) {
        size_t first = 0, count = 0;

        for (size_t k = ls->n; k-- > 0;)
            if (ls->all[k].place == i)
                first = k, count++;
        for (size_t k = w; k < count || k == w; k += p->n_workers) {
            const struct listening *from = &ls->all[first + k % count];

            mine[n++] = (struct client_listener){
                .fd = from->fd, .secure = !p->config->listens[i].loopback, .lent = from->lent};
        }
    }
    p->workers[w] = worker_start(p->service, mine, n);
    free(mine);
}

static void keep_admin_hosts(struct program *p)
{
    p->n_admin_hosts = p->config->n_hosts;
    p->admin_hosts = mem_alloc((p->n_admin_hosts + 1) * sizeof(*p->admin_hosts));
    for (size_t i = 0; i < p->n_admin_hosts; i++)
        p->admin_hosts[i] = mem_strdup(p->config->hosts[i]);
}

static int start_admin(struct program *p, struct err *e)
{
    struct admin_source source = {
        .ctx = p,
        .live = is_live,
        .ready = is_ready,
        .metrics = write_metrics,
        .status = write_status,
        .events = write_events,
        .hosts = p->admin_hosts,
        .n_hosts = p->n_admin_hosts,
    };

    if (p->config->admin.host == NULL && p->config->admin.path == NULL)
        return 0;
    return admin_start(&p->config->admin, listeners_first(&p->listeners, LISTENING_ADMIN), &source,
                       &p->admin, e);
}

static void register_secrets(const struct config *c)
{
    for (size_t i = 0; i < c->n_providers; i++)
        for (size_t k = 0; k < c->providers[i].n_keys; k++)
            secret_register(span_of(c->providers[i].keys[k]));
    secret_register(c->egress[false].password);
    secret_register(c->egress[true].password);
}

/* ---- ending ------------------------------------------------------------------------------------
 */

static bool all(const struct program *p, bool (*worker_is)(const struct worker *w))
{
    for (unsigned i = 0; i < p->n_workers; i++)
        if (!worker_is(p->workers[i]))
            return false;
    return true;
}

/* Waits for a signal to end, at most `ms`. What else comes stays pending. */
static bool told_to_hurry(uint64_t ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    sigset_t ends;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    return sigtimedwait(&ends, NULL, &t) > 0;
}

/* What is under way may end; what has not ended by then gets a true error. A second signal skips
 * the waiting. */
static void finish(struct program *p, bool handed_over, bool hurry)
{
    uint64_t until = clock_us() / 1000 + p->config->drain.timeout;
    bool told = !handed_over; /* who ends a service signals its older processes too */

    for (unsigned i = 0; i < p->n_workers; i++)
        worker_drain(p->workers[i], handed_over);
    while (!hurry && !all(p, worker_idle) && clock_us() / 1000 < until) {
        if (handed_over && all(p, worker_drains)) /* nobody is to wait where only we would listen */
            listeners_close(&p->listeners, true);
        if (told_to_hurry(DRAIN_LOOK_MS)) {
            hurry = told;
            told = true;
        }
    }
    for (unsigned i = 0; i < p->n_workers; i++)
        worker_break(p->workers[i]);
}

/* Not ready at once; new connections are served a little longer, because load balancers take a
 * while to notice. */
static void drain(struct program *p, bool from_terminal)
{
    log_info("stopping: requests under way may end within %llu s; a second signal ends them now",
             (unsigned long long)(p->config->drain.timeout / 1000));
    notify_manager("STOPPING=1");
    atomic_store(&p->service->draining, true);
    finish(p, false, !from_terminal && told_to_hurry(p->config->drain.delay));
}

/* Our successor serves: who calls from now on is its. */
static void hand_over(struct program *p)
{
    char state[40];

    admin_quiesce(p->admin);
    log_info("process %d has taken our place; requests under way may end here within %llu s",
             (int)p->successor.pid, (unsigned long long)(p->config->drain.timeout / 1000));
    snprintf(state, sizeof(state), "MAINPID=%d", (int)p->successor.pid);
    notify_manager(state);
    finish(p, true, false);
}

/* ---- serve -------------------------------------------------------------------------------------
 */

static int load_config(struct program *p)
{
    static const char variable[] = "HOLDFAST_LISTEN";
    size_t n = sizeof(variable) - 1;
    struct err e;
    char *path;
    int rc;

    if (p->listen_option != NULL)
        setenv(variable, p->listen_option, 1);
    path = config_find(p->config_option);
    rc = config_load(path, &catalog_config_types, &p->config, &e);
    free(path);
    if (rc < 0) {
        /* What the user has written is the option. */
        if (p->listen_option != NULL && strncmp(e.msg, variable, n) == 0)
            fprintf(stderr, "holdfast: --listen%s\n", e.msg + n);
        else
            fprintf(stderr, "holdfast: %s\n", e.msg);
        return EX_CONFIG;
    }
    if (p->config->n_listens > MAX_LISTENERS) {
        fprintf(stderr, "holdfast: listen: %zu addresses; at most %d are possible\n",
                p->config->n_listens, MAX_LISTENERS);
        return EX_CONFIG;
    }
    return EX_OK;
}

/* ---- reading the configuration again -----------------------------------------------------------
 */

static void set_logging(const struct config *c, struct service *s)
{
    enum log_level level = LOG_INFO;
    enum log_format format = LOG_JSON;

    log_level_parse(c->log.level, &level) || (level = LOG_INFO);
    log_format_parse(c->log.format, &format) || (format = LOG_JSON);
    log_set_level(level);
    log_set_format(format);
    s->log_format = format;
    s->access_log = log_wants(LOG_INFO);
    s->payloads = s->access_log ? c->log.payloads : 0;
}

static void note_reload(struct program *p, const char *error)
{
    pthread_mutex_lock(&p->swap);
    snprintf(p->reload_error, sizeof(p->reload_error), "%s", error);
    p->reloads += error[0] == '\0';
    pthread_mutex_unlock(&p->swap);
}

/* The whole of it is checked before anything changes. */
static int read_again(struct program *p, struct err *e)
{
    char *path = config_find(p->config_option), fixed[200];
    struct config *c = NULL;
    struct service *s, *before = p->service;
    int rc = config_load(path, &catalog_config_types, &c, e);

    free(path);
    if (rc < 0)
        return -1;
    config_keep_fixed(p->config, c, fixed, sizeof(fixed));
    register_secrets(c);
    if (service_renew(before, c, &s, e) < 0)
        return -1;
    set_logging(c, s);
    pthread_mutex_lock(&p->swap);
    p->service = s;
    p->config = c;
    pthread_mutex_unlock(&p->swap);
    for (unsigned w = 0; w < p->n_workers; w++)
        worker_change(p->workers[w], s);
    service_drop(before);
    for (size_t i = 0; i < c->n_warnings; i++)
        log_warn("%s", c->warnings[i]);
    if (fixed[0] != '\0')
        log_warn("the configuration has another %s, which only a restart changes", fixed);
    return 0;
}

static void reload(struct program *p, const char *why)
{
    struct err e;

    p->seen = watch_look(p->config->files, p->config->n_files);
    if (read_again(p, &e) < 0) {
        /* What is wrong comes first: something else that is wrong is news. */
        log_error("%s; so the configuration was not taken over, the one before goes on (%s)", e.msg,
                  why);
        note_reload(p, e.msg);
        return;
    }
    p->seen = watch_look(p->config->files, p->config->n_files);
    note_reload(p, "");
    log_info("%s: the configuration is in force (%s)", why, p->config->source);
}

/* A change counts once it has stood for a moment: editors write in several steps. */
static void look_at_files(struct program *p, uint64_t *unsettled)
{
    uint64_t now = watch_look(p->config->files, p->config->n_files);

    if (now != p->seen && now == *unsettled)
        reload(p, "a file changed");
    *unsettled = now;
}

static void start_successor(struct program *p)
{
    struct err e;

    if (successor_start(&p->successor, &p->listeners, clock_us() / 1000, &e) < 0)
        log_error("SIGUSR2: %s; this process goes on", e.msg);
    else
        log_info("SIGUSR2: process %d is starting to take our place", (int)p->successor.pid);
}

/* Has it come to serve? */
static bool look_at_successor(struct program *p)
{
    struct err e;
    enum successor_news news = successor_look(&p->successor, clock_us() / 1000, &e);

    if (news == SUCCESSOR_ENDED)
        log_error("%s; this process goes on", e.msg);
    return news == SUCCESSOR_SERVES;
}

static void set_signals(sigset_t *set, const int *signals, size_t n)
{
    sigemptyset(set);
    for (size_t i = 0; i < n; i++)
        sigaddset(set, signals[i]);
}

/* SIGCHLD only interrupts the waiting, as does a successor's signal. */
static void wait_for_the_end(struct program *p)
{
    struct timespec tick = {.tv_sec = WATCH_MS / 1000, .tv_nsec = WATCH_MS % 1000 * 1000000};
    uint64_t unsettled = p->seen;
    sigset_t signals;
    siginfo_t info;
    int sig;

    set_signals(&signals, awaited, ARRAY_LEN(awaited));
    for (;;) {
        sig = p->config->n_files > 0 || p->successor.pid != 0 ? sigtimedwait(&signals, &info, &tick)
                                                              : sigwaitinfo(&signals, &info);
        if (sig == SIGTERM || sig == SIGINT) {
            successor_abandon(&p->successor);
            drain(p, sig == SIGINT);
            return;
        }
        if (sig == SIGUSR2 && !successor_sent(&p->successor, &info))
            start_successor(p);
        else if (sig == SIGHUP)
            reload(p, "SIGHUP");
        else if (sig < 0 && errno == EAGAIN)
            look_at_files(p, &unsettled);
        if (look_at_successor(p)) {
            hand_over(p);
            return;
        }
    }
}

/* ---- serve, the whole --------------------------------------------------------------------------
 */

/* What whoever started us is to see, at any level; on the log's way, which never waits for a
 * reader. */
static PRINTF_LIKE(1, 2) void say(const char *fmt, ...)
{
    char text[LOG_LINE_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    log_line(span_of(text));
}

static void greet(const struct program *p)
{
    for (size_t i = 0; i < p->config->n_warnings; i++)
        log_warn("%s", p->config->warnings[i]);
    for (size_t i = 0; i < p->config->n_providers; i++)
        if (strcmp(p->config->providers[i].type, "scripted") == 0 && p->config->n_providers == 1)
            log_info("no provider key was found: every request gets a built-in answer; set "
                     "OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, or write holdfast.yaml");
    for (size_t i = 0; i < p->config->n_listens; i++)
        say("holdfast " HOLDFAST_VERSION ": listening on %s (%s)", p->addresses[i],
            p->config->source);
}

static int run(struct program *p)
{
    struct err e;
    int rc = EX_SOFTWARE;

    pthread_mutex_init(&p->swap, NULL);
    register_secrets(p->config);
    keep_admin_hosts(p);
    if (transport_global_start(&e) < 0 || log_start(LOG_INFO, LOG_JSON, STDERR_FILENO, &e) < 0) {
        config_free(p->config);
        goto done;
    }
    if (service_new(p->config, &p->service, &e) < 0) {
        rc = EX_CONFIG;
        goto done;
    }
    set_logging(p->config, p->service);
    p->n_workers = p->service->n_workers = count_workers(p->config);
    p->seen = watch_look(p->config->files, p->config->n_files);
    rc = EX_UNAVAILABLE;
    if (listeners_open(&p->listeners, p->config, p->n_workers, &e) < 0)
        goto done;
    for (size_t i = 0; i < p->config->n_listens; i++)
        name_listener(p, i);
    for (unsigned w = 0; w < p->n_workers; w++)
        start_worker(p, w);
    if (start_admin(p, &e) < 0)
        goto done;
    greet(p);
    if (inherit_has_predecessor())
        inherit_report();
    else
        notify_manager("READY=1");
    wait_for_the_end(p);
    rc = EX_OK;

done:
    if (rc != EX_OK)
        say("holdfast: %s", e.msg);
    admin_stop(p->admin);
    for (unsigned w = 0; w < p->n_workers; w++)
        if (p->workers[w] != NULL)
            worker_stop(p->workers[w]);
    /* Where we did not come to serve, the one whose place we were to take goes on. */
    listeners_close(&p->listeners,
                    p->successor.pid != 0 || (rc != EX_OK && inherit_has_predecessor()));
    service_drop(p->service);
    for (size_t i = 0; i < p->n_admin_hosts; i++)
        free(p->admin_hosts[i]);
    free(p->admin_hosts);
    pthread_mutex_destroy(&p->swap);
    log_stop();
    transport_global_stop();
    secret_forget();
    return rc;
}

static int serve(struct program *p)
{
    static const int later[] = {SIGHUP, SIGUSR2}; /* they would end us before we know them */
    sigset_t set;
    int rc;

    set_signals(&set, later, ARRAY_LEN(later));
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    inherit_start(); /* its variables are none of the configuration's */
    rc = load_config(p);
    if (rc != EX_OK)
        return rc;
    /* Keys are in memory: no core file, no reading by other processes of the same user. */
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* who started us may have ignored it: no child could be waited for */
    set_signals(&set, awaited, ARRAY_LEN(awaited));
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* inherited by every thread: main waits for them */
    raise_descriptor_limit();
    return run(p);
}

static int check(struct program *p)
{
    int rc = load_config(p);

    if (rc != EX_OK)
        return rc;
    config_print(p->config, stdout);
    config_free(p->config);
    return EX_OK;
}

/* ---- status ------------------------------------------------------------------------------------
 */

/* Where the configuration has its admin port. The shell of somebody who looks has not always what
 * the service has in its environment, so a configuration that cannot be read here is no obstacle
 * where the port is the usual one. */
static int find_admin(struct program *p, struct config_listen *out)
{
    static const char usual[] = "127.0.0.1:8091";
    const char *variable = getenv("HOLDFAST_ADMIN");
    const char *text = p->admin_option;
    struct err e;

    if (text == NULL && load_config(p) != EX_OK) {
        text = variable != NULL ? variable : usual;
        fprintf(stderr, "holdfast: asking %s; --admin names another address\n", text);
    } else if (text == NULL) {
        text = p->config->admin.text;
        if (p->config->admin.host == NULL && p->config->admin.path == NULL) {
            fprintf(stderr, "holdfast: %s: the admin port is off; --admin names another\n",
                    p->config->source);
            return -1;
        }
    }
    if (config_listen_parse(text, out, &e) == 0)
        return 0;
    fprintf(stderr, "holdfast: --admin: \"%s\" %s\n", text, e.msg);
    return -1;
}

static int status(struct program *p)
{
    struct config_listen where = {0};
    int rc = STATUS_SILENT;

    if (find_admin(p, &where) == 0) {
        p->ask.where = &where;
        rc = status_command(&p->ask);
        config_listen_release(&where);
    }
    config_free(p->config);
    return rc;
}

/* A new key for a client: what it sends, and what the configuration keeps of it. */
static int make_key(const char *name)
{
    uint8_t bytes[24], digest[HASH_SHA256_BYTES];
    char key[4 + 2 * sizeof(bytes)], hex[2 * sizeof(digest) + 1];
    struct err e;

    if (name == NULL) {
        fprintf(stderr, "holdfast: key: whose? Try \"holdfast key NAME\".\n");
        return EX_USAGE;
    }
    if (config_check_name(name, &e) < 0) {
        fprintf(stderr, "holdfast: key: the name \"%.80s\" %s\n", name, e.msg);
        return EX_USAGE;
    }
    random_bytes(bytes, sizeof(bytes));
    memcpy(key, "hf_", 3);
    hash_hex(bytes, sizeof(bytes), key + 3);
    hash_sha256(span_of(key), digest);
    hash_hex(digest, sizeof(digest), hex);
    printf("%s\n", key);
    fflush(stdout);
    fprintf(stderr,
            "The key of \"%s\", which is shown only now. Put into the configuration:\n\n"
            "clients:\n  - {name: %s, key_sha256: %s}\n",
            name, name, hex);
    explicit_bzero(bytes, sizeof(bytes));
    explicit_bzero(key, sizeof(key));
    return EX_OK;
}

/* ---- the command line --------------------------------------------------------------------------
 */

static const char usage[] =
    "Usage: holdfast [serve] [-c FILE] [--listen ADDRESS]...\n"
    "       holdfast check [-c FILE]\n"
    "       holdfast status [-c FILE] [--admin ADDRESS] [--json] [--watch[=SECONDS]]\n"
    "       holdfast key NAME\n"
    "       holdfast manual\n"
    "       holdfast version\n"
    "\n"
    "Keeps LLM work going when a provider fails: point a program's OpenAI base URL at\n"
    "http://127.0.0.1:8090/v1, and its requests are answered by whichever provider can.\n"
    "\n"
    "  serve              run (the default)\n"
    "  check              check the configuration and print what it comes to\n"
    "  status             ask the one that runs: routes, targets and why, last errors\n"
    "  key                make a key for a client of this name; its hash is for the\n"
    "                     configuration\n"
    "  manual             print the reference: options, failures, what becomes of\n"
    "                     each field of a request (Markdown)\n"
    "  version            print the version\n"
    "\n"
    "  -c, --config FILE  the configuration; without it $HOLDFAST_CONFIG, ./holdfast.yaml,\n"
    "                     $XDG_CONFIG_HOME/holdfast/holdfast.yaml and /etc/holdfast/holdfast.yaml\n"
    "                     are looked for; without any, keys are taken from the environment\n"
    "      --listen ADDR  listen here instead, e.g. localhost:8090 or unix:/run/holdfast.sock;\n"
    "                     may be given several times\n"
    "      --admin ADDR   the admin port to ask, if it is not the configuration's\n"
    "      --json         the document itself instead of the table\n"
    "      --watch        again every 2 s until Ctrl-C; --watch=0.5 is twice a second\n"
    "  -h, --help         this text\n"
    "\n"
    "Exit codes: 0 ended well, 64 wrong usage, 69 cannot listen, 70 internal error,\n"
    "78 wrong configuration. Of status: 0 every route can be served, 1 some route has no\n"
    "target that may be asked now, 2 nobody answers.\n";

static int wrong_usage(const char *what, const char *arg)
{
    fprintf(stderr, "holdfast: %s \"%s\"\nTry \"holdfast --help\".\n", what, arg);
    return EX_USAGE;
}

static int print_manual(void)
{
    struct strbuf pages = strbuf_heap(1 << 20);

    config_manual(stdout);
    strbuf_add_char(&pages, '\n');
    failure_manual(&pages);
    strbuf_add_char(&pages, '\n');
    fields_manual(&pages);
    assert(!pages.failed);
    fputs(pages.buf, stdout);
    strbuf_release(&pages);
    return EX_OK;
}

static void add_listen(struct program *p, const char *address)
{
    size_t had = p->listen_option != NULL ? strlen(p->listen_option) : 0;
    size_t size = had + strlen(address) + 2;

    p->listen_option = mem_grow(p->listen_option, size);
    snprintf(p->listen_option + had, size - had, "%s%s", had > 0 ? "," : "", address);
}

/* "2" or "0.5" seconds; 2 where none are given. */
static bool read_interval(const char *text, uint64_t *ms)
{
    struct err e;
    double seconds = 2;

    if (text != NULL && value_number(text, &seconds, &e) < 0)
        return false;
    *ms = (uint64_t)(seconds * 1000);
    return seconds >= 0.1 && seconds <= 3600;
}

static int run_command(struct program *p, int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"listen", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},         {"version", no_argument, NULL, 'v'},
        {"admin", required_argument, NULL, 'a'},  {"json", no_argument, NULL, 'j'},
        {"watch", optional_argument, NULL, 'w'},  {NULL, 0, NULL, 0},
    };
    const char *command = "serve";
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, ":c:hv", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            p->config_option = optarg;
            break;
        case 'l':
            add_listen(p, optarg);
            break;
        case 'h':
            fputs(usage, stdout);
            return EX_OK;
        case 'v':
            puts("holdfast " HOLDFAST_VERSION);
            return EX_OK;
        case 'a':
            p->admin_option = optarg;
            p->only_for_status = "--admin";
            break;
        case 'j':
            p->ask.json = true;
            p->only_for_status = "--json";
            break;
        case 'w':
            if (!read_interval(optarg, &p->ask.every_ms))
                return wrong_usage("--watch takes seconds, from 0.1 to 3600, not", optarg);
            p->only_for_status = "--watch";
            break;
        case ':':
            return wrong_usage("a value is missing behind", argv[optind - 1]);
        default:
            return wrong_usage("unknown option", argv[optind - 1]);
        }
    }
    if (optind < argc)
        command = argv[optind++];
    if (strcmp(command, "key") == 0 && optind + 1 >= argc)
        return make_key(argv[optind]);
    if (optind < argc)
        return wrong_usage("too many words:", argv[optind]);
    if (strcmp(command, "status") == 0)
        return status(p);
    if (p->only_for_status != NULL)
        return wrong_usage("only \"holdfast status\" takes", p->only_for_status);
    if (strcmp(command, "serve") == 0)
        return serve(p);
    if (strcmp(command, "check") == 0)
        return check(p);
    if (strcmp(command, "manual") == 0)
        return print_manual();
    if (strcmp(command, "version") == 0) {
        puts("holdfast " HOLDFAST_VERSION);
        return EX_OK;
    }
    return wrong_usage("unknown command", command);
}

int main(int argc, char **argv)
{
    static struct program p;
    int rc;

    successor_init(&p.successor, argv);
    rc = run_command(&p, argc, argv);
    successor_release(&p.successor);

    free(p.listen_option);
    return rc;
}
