#include "proxy/base/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/json.h"
#include "proxy/base/mem.h"
#include "proxy/base/repeat.h"
#include "proxy/base/secret.h"

#define BUFFER_BYTES (512 * 1024) /* twice: one fills while the other is written */
#define GATHER_MS    20           /* from the first line until the writer takes what is there */
#define PATIENCE_MS  500          /* a reader that takes nothing for so long costs the batch */
#define FAREWELL_MS  1000         /* how long log_stop() lets the writer write */
#define PIECE_BYTES  4096         /* a pipe that poll() calls writable takes PIPE_BUF at least */

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const format_names[] = {"text", "json"};

static _Atomic int wanted_level = LOG_INFO;
static _Atomic int line_format = LOG_TEXT;
static _Atomic uint64_t dropped;
static _Atomic uint64_t end_by_us = UINT64_MAX; /* the writer gives up then */

/* Lines, each with its newline. */
struct buffer {
    char *text;
    size_t len;
};

/* The lock guards what follows it. The writer alone touches `taken` and what stands below. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* the first line came, the buffer is half full, or it is time to end */
    bool running;        /* the writer is there */
    bool ending;         /* ... and is to end */
    struct buffer filling;
    struct repeats repeats;

    pthread_t thread;
    int fd;
    struct buffer taken;
    bool torn;         /* half a line was written: a newline must come first */
    uint64_t reported; /* dropped lines that the log has owned up to */
} sink = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO};

/* Names ------------------------------------------------------------------------------------- */

static int index_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    return -1;
}

bool log_level_parse(const char *name, enum log_level *out)
{
    int i = index_of(name, level_names, ARRAY_LEN(level_names));

    if (i >= 0)
        *out = (enum log_level)i;
    return i >= 0;
}

bool log_format_parse(const char *name, enum log_format *out)
{
    int i = index_of(name, format_names, ARRAY_LEN(format_names));

    if (i >= 0)
        *out = (enum log_format)i;
    return i >= 0;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&wanted_level, (int)level, memory_order_relaxed);
}

void log_set_format(enum log_format format)
{
    atomic_store_explicit(&line_format, (int)format, memory_order_relaxed);
}

bool log_wants(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&wanted_level, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}

static enum log_format current_format(void)
{
    return (enum log_format)atomic_load_explicit(&line_format, memory_order_relaxed);
}

static void drop(uint64_t lines)
{
    atomic_fetch_add_explicit(&dropped, lines, memory_order_relaxed);
}

/* Making a line ------------------------------------------------------------------------------ */

static void add_digits(char *to, unsigned width, uint64_t v)
{
    while (width > 0) {
        to[--width] = (char)('0' + v % 10);
        v /= 10;
    }
}

/* By hand, because gmtime_r takes a lock that all threads share. Years begin in March, so that the
 * leap day is the last of its year; an era is 400 years. */
void log_add_time(struct strbuf *out, uint64_t wall_ms)
{
    char text[] = "0000-00-00T00:00:00.000Z";
    uint64_t seconds = wall_ms / 1000, days = seconds / 86400 + 719468; /* since 0000-03-01 */
    uint64_t era = days / 146097, day_of_era = days % 146097;
    uint64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month = (5 * day + 2) / 153; /* 0 is March */
    uint64_t year = era * 400 + year_of_era + (month >= 10 ? 1 : 0);

    add_digits(text, 4, year);
    add_digits(text + 5, 2, month < 10 ? month + 3 : month - 9);
    add_digits(text + 8, 2, day - (153 * month + 2) / 5 + 1);
    add_digits(text + 11, 2, seconds / 3600 % 24);
    add_digits(text + 14, 2, seconds / 60 % 60);
    add_digits(text + 17, 2, seconds % 60);
    add_digits(text + 20, 3, wall_ms % 1000);
    strbuf_add_n(out, text, sizeof(text) - 1);
}

/* The length of the printable UTF-8 character at the start of the text; 0 where there is none. */
static size_t printable(const unsigned char *p, size_t n)
{
    size_t more = p[0] < 0x80 ? 0 : p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;

    if (p[0] < 0x80)
        return p[0] >= ' ' && p[0] != 0x7f ? 1 : 0;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n <= more)
        return 0;
    /* The second byte excludes C1 controls, overlong forms, surrogates and what is past U+10FFFF
     * (Unicode 15, table 3-7). */
    if ((p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xe0 && p[1] < 0xa0) ||
        (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    for (size_t i = 1; i <= more; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return more + 1;
}

void log_add_text(struct strbuf *out, struct span text)
{
    static const char digits[] = "0123456789abcdef";
    size_t i = 0;

    while (i < text.n) {
        size_t plain = i, n;

        while (i < text.n && text.p[i] != '\\' &&
               (n = printable((const unsigned char *)text.p + i, text.n - i)) > 0)
            i += n;
        strbuf_add_n(out, text.p + plain, i - plain);
        if (i == text.n)
            break;
        if (text.p[i] == '\\') {
            strbuf_add_n(out, "\\\\", 2);
        } else {
            unsigned char byte = (unsigned char)text.p[i];
            char escape[4] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};

            strbuf_add_n(out, escape, sizeof(escape));
        }
        i++;
    }
}

static void add_message(struct strbuf *out, enum log_format format, enum log_level level,
                        struct span msg)
{
    strbuf_clear(out);
    if (format == LOG_JSON) {
        strbuf_add(out, "{\"time\":\"");
        log_add_time(out, clock_wall_ms());
        strbuf_add(out, "\",\"level\":\"");
        strbuf_add(out, level_names[level]);
        strbuf_add(out, "\",\"msg\":");
        json_add_string(out, msg);
        strbuf_add_char(out, '}');
    } else {
        log_add_time(out, clock_wall_ms());
        strbuf_addf(out, " %-5s ", level_names[level]);
        log_add_text(out, msg);
    }
}

/* A message as a line. One that grows too long by escaping is cut to what fits at worst, which is
 * six bytes for one. */
static void make_line(struct strbuf *out, enum log_format format, enum log_level level,
                      struct span msg)
{
    add_message(out, format, level, msg);
    if (out->failed) {
        msg.n = msg.n < LOG_LINE_MAX / 6 - 16 ? msg.n : LOG_LINE_MAX / 6 - 16;
        add_message(out, format, level, msg);
    }
    assert(!out->failed);
}

/* Writing ------------------------------------------------------------------------------------ */

/* Writes as long as the reader takes something every PATIENCE_MS. Returns how many bytes went out:
 * fewer than n where no more will. */
static size_t write_out(const char *text, size_t n)
{
    size_t done = 0;
    uint64_t progress = clock_us(), now = progress;

    while (done < n && now < progress + PATIENCE_MS * 1000 &&
           now < atomic_load_explicit(&end_by_us, memory_order_relaxed)) {
        size_t piece = n - done < PIECE_BYTES ? n - done : PIECE_BYTES;
        struct pollfd p = {.fd = sink.fd, .events = POLLOUT};
        ssize_t wrote = -1;

        if (poll(&p, 1, PATIENCE_MS / 10) > 0) {
            wrote = write(sink.fd, text + done, piece);
            if (wrote < 0 && errno != EINTR && errno != EAGAIN)
                break;
            if (wrote < 0)
                poll(NULL, 0, 1); /* writable, and yet it is not: do not spin */
        }
        now = clock_us();
        if (wrote > 0) {
            done += (size_t)wrote;
            progress = now;
        }
    }
    return done;
}

static uint64_t count_lines(const char *text, size_t n)
{
    uint64_t lines = 0;

    for (const char *end = text + n; (text = memchr(text, '\n', (size_t)(end - text))) != NULL;)
        text++, lines++;
    return lines;
}

/* Writes whole lines; where that fails, those that are not out entirely count as dropped. */
static bool write_lines(const char *text, size_t n)
{
    size_t done;

    if (sink.torn && write_out("\n", 1) != 1)
        done = 0;
    else
        done = write_out(text, n);
    if (done > 0)
        sink.torn = text[done - 1] != '\n';
    if (done < n)
        drop(count_lines(text + done, n - done));
    return done == n;
}

static void own_up(void)
{
    char mem[256];
    char msg[64];
    struct strbuf line = strbuf_on(mem, sizeof(mem));
    uint64_t now = log_dropped(), n = now - sink.reported;

    if (n == 0)
        return;
    snprintf(msg, sizeof(msg), "%" PRIu64 " log line%s dropped", n, n == 1 ? "" : "s");
    make_line(&line, current_format(), LOG_WARN, span_of(msg));
    strbuf_add_char(&line, '\n');
    if (write_out(line.buf, line.len) == line.len)
        sink.reported = now;
    else
        sink.torn = true;
}

static void write_taken(void)
{
    secret_redact(sink.taken.text, &sink.taken.len);
    if (write_lines(sink.taken.text, sink.taken.len))
        own_up();
    sink.taken.len = 0;
}

/* With the lock: false where there is no room up to `most` bytes. */
static bool add_line_within(struct span line, size_t most)
{
    struct buffer *b = &sink.filling;

    if (b->len > most || line.n >= most - b->len)
        return false;
    memcpy(b->text + b->len, line.p, line.n);
    b->text[b->len + line.n] = '\n';
    b->len += line.n + 1;
    return true;
}

static bool add_line(struct span line)
{
    return add_line_within(line, BUFFER_BYTES);
}

/* The writer thread -------------------------------------------------------------------------- */

/* Without an end for UINT64_MAX. */
static void wait_until(uint64_t until_us)
{
    struct timespec t = {.tv_sec = (time_t)(until_us / 1000000),
                         .tv_nsec = (long)(until_us % 1000000 * 1000)};

    if (until_us == UINT64_MAX)
        pthread_cond_wait(&sink.wake, &sink.lock);
    else
        pthread_cond_timedwait(&sink.wake, &sink.lock, &t);
}

static uint64_t summaries_due_us(void)
{
    uint64_t due_ms = repeat_due_ms(&sink.repeats);

    return due_ms == UINT64_MAX ? UINT64_MAX : due_ms * 1000;
}

/* Appends the summaries that are due, at the end all of them, to what is filling. */
static void add_summaries(void)
{
    char mem[LOG_LINE_MAX + 1], msg[REPEAT_TEXT + 128];
    struct repeat_summary s;

    while (repeat_summarise(&sink.repeats, sink.ending, clock_us() / 1000, &s)) {
        struct strbuf line = strbuf_on(mem, sizeof(mem)), text = strbuf_on(msg, sizeof(msg));

        strbuf_addf(&text, "%" PRIu64 " more time%s in the last %" PRIu64 " s, the last: ", s.times,
                    s.times == 1 ? "" : "s", (s.ms + 500) / 1000);
        strbuf_add_span(&text, s.last);
        make_line(&line, current_format(), (enum log_level)s.level, strbuf_span(&text));
        if (!add_line(strbuf_span(&line)))
            drop(1);
    }
}

/* Waits for lines, lets them gather, and takes them by swapping the buffers. False: the end. */
static bool take_lines(void)
{
    struct buffer empty = sink.taken;
    uint64_t until;

    pthread_mutex_lock(&sink.lock);
    add_summaries();
    while (sink.filling.len == 0 && !sink.ending) {
        wait_until(summaries_due_us());
        add_summaries();
    }
    until = clock_us() + GATHER_MS * 1000;
    while (sink.filling.len < BUFFER_BYTES / 2 && !sink.ending && clock_us() < until)
        wait_until(until);
    add_summaries();
    sink.taken = sink.filling;
    sink.filling = empty;
    pthread_mutex_unlock(&sink.lock);
    return sink.taken.len > 0;
}

static void *writer(void *arg)
{
    (void)arg;
    while (take_lines())
        write_taken();
    return NULL;
}

/* Signals are for the main thread; SIGPIPE, when blocked here, is nothing but EPIPE. */
static int start_thread(void)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&sink.thread, NULL, writer, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static void init_wake(void)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sink.wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void release(void)
{
    pthread_cond_destroy(&sink.wake);
    free(sink.filling.text);
    free(sink.taken.text);
    sink.filling = sink.taken = (struct buffer){0};
}

int log_start(enum log_level level, enum log_format format, int fd, struct err *e)
{
    int rc;

    pthread_mutex_lock(&sink.lock);
    assert(!sink.running);
    init_wake();
    sink.repeats = (struct repeats){0};
    sink.filling = (struct buffer){.text = mem_alloc(BUFFER_BYTES)};
    sink.taken = (struct buffer){.text = mem_alloc(BUFFER_BYTES)};
    sink.fd = fd;
    sink.torn = false;
    sink.ending = false;
    sink.reported = log_dropped();
    atomic_store(&end_by_us, UINT64_MAX);
    rc = start_thread();
    sink.running = rc == 0;
    if (rc != 0)
        release();
    pthread_mutex_unlock(&sink.lock);
    if (rc != 0)
        return err_set(e, ERR_IO, "log: cannot start its thread: %s", strerror(rc));
    log_set_level(level);
    log_set_format(format);
    return 0;
}

void log_stop(void)
{
    bool was;

    pthread_mutex_lock(&sink.lock);
    was = sink.running;
    sink.running = false; /* from now on lines go to stderr */
    sink.ending = true;
    if (was) {
        atomic_store(&end_by_us, clock_us() + FAREWELL_MS * 1000);
        pthread_cond_signal(&sink.wake);
    }
    pthread_mutex_unlock(&sink.lock);
    if (!was)
        return;
    pthread_join(sink.thread, NULL);
    atomic_store(&line_format, LOG_TEXT);
    pthread_mutex_lock(&sink.lock);
    release();
    pthread_mutex_unlock(&sink.lock);
}

/* The callers' side -------------------------------------------------------------------------- */

/* Hands a line to the writer; false where there is none. */
static bool push(struct span line, size_t most)
{
    size_t before;
    bool running, added = false;

    pthread_mutex_lock(&sink.lock);
    running = sink.running;
    before = sink.filling.len;
    if (running)
        added = add_line_within(line, most);
    if (added &&
        (before == 0 || (before < BUFFER_BYTES / 2 && sink.filling.len >= BUFFER_BYTES / 2)))
        pthread_cond_signal(&sink.wake);
    pthread_mutex_unlock(&sink.lock);
    if (running && !added)
        drop(1);
    return running;
}

/* Where no writer is: one write, whole. */
static void write_direct(struct span line)
{
    char text[LOG_LINE_MAX + 1];
    size_t n = line.n;

    memcpy(text, line.p, n);
    secret_redact(text, &n);
    text[n++] = '\n';
    if (write(STDERR_FILENO, text, n) != (ssize_t)n)
        drop(1);
}

static void hand_in(struct span line, size_t most)
{
    int keep = errno;

    assert(memchr(line.p, '\n', line.n) == NULL);
    if (line.n > LOG_LINE_MAX)
        drop(1);
    else if (!push(line, most))
        write_direct(line);
    errno = keep;
}

void log_line(struct span line)
{
    hand_in(line, BUFFER_BYTES);
}

void log_bulk_line(struct span line)
{
    hand_in(line, BUFFER_BYTES / 2);
}

/* The same kind of trouble: the same sentence, of the same thing where it begins with one. */
static uint64_t kind_of(enum log_level level, const char *fmt, va_list ap)
{
    uint64_t kind = 31 * span_hash(span_of(fmt)) + level;

    return strncmp(fmt, "%s", 2) == 0 ? 31 * kind + span_hash(span_of(va_arg(ap, const char *)))
                                      : kind;
}

/* May it be told now, or was it counted? */
static bool is_news(uint64_t kind, enum log_level level, struct span msg)
{
    uint64_t due_us;
    bool news = true;

    pthread_mutex_lock(&sink.lock);
    due_us = summaries_due_us();
    if (sink.running)
        news = repeat_tell(&sink.repeats, kind, (int)level, msg, clock_us() / 1000);
    if (summaries_due_us() < due_us)
        pthread_cond_signal(&sink.wake);
    pthread_mutex_unlock(&sink.lock);
    return news;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char msg[LOG_LINE_MAX], mem[LOG_LINE_MAX + 1];
    struct strbuf line = strbuf_on(mem, sizeof(mem));
    int keep = errno, n;
    uint64_t kind;
    size_t len;
    va_list ap;

    va_start(ap, fmt);
    kind = kind_of(level, fmt, ap);
    va_end(ap);
    va_start(ap, fmt);
    n = vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    len = n < 0 ? 0 : (size_t)n < sizeof(msg) ? (size_t)n : sizeof(msg) - 1;
    /* Before escaping, which could part a secret. */
    secret_redact(msg, &len);
    if (level > LOG_WARN || is_news(kind, level, (struct span){msg, len})) {
        make_line(&line, current_format(), level, (struct span){msg, len});
        log_line(strbuf_span(&line));
    }
    errno = keep;
}
