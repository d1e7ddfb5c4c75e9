/* log.h - the operational log, and the way of every line to it.
 *
 * Nobody waits for the log. A line goes into a bounded buffer behind a short lock; one writer
 * thread takes what has gathered (for 20 ms, so that a busy process pays one wake-up for many
 * lines), hides secrets (secret.h) and writes. When the buffer is full, or when nobody reads the
 * other end, lines are dropped and counted, and "N log lines dropped" is written once there is room
 * again. A broken pipe, a full disk or a reader that stands still never stops the process.
 *
 *     {"time":"2026-03-01T09:30:00.125Z","level":"warn","msg":"..."}       LOG_JSON
 *     2026-03-01T09:30:00.125Z warn  ...                                   LOG_TEXT
 *
 * A line is at most LOG_LINE_MAX bytes, always valid, and holds no control bytes: what comes from
 * outside cannot forge a second line or move a terminal's cursor.
 *
 * Warnings and errors of one kind are told once and then counted (repeat.h): "12 more times in the
 * last 60 s, the last: ...". A kind is a level, a format, and its first argument where the format
 * begins with %s: begin a message with the thing that it is about.
 *
 * Until log_start() and after log_stop() lines go straight to stderr, as text.
 */
#ifndef HOLDFAST_BASE_LOG_H
#define HOLDFAST_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/attributes.h"
#include "proxy/base/err.h"
#include "proxy/base/span.h"
#include "proxy/base/strbuf.h"

#define LOG_LINE_MAX 8192 /* bytes, without the newline */

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/* Reads "error", "warn", "info" or "debug"; "text" or "json". False for anything else. */
bool log_level_parse(const char *name, enum log_level *out) MUST_CHECK;
bool log_format_parse(const char *name, enum log_format *out) MUST_CHECK;

/* Starts the writer. The fd stays the caller's; it may be blocking or not and is left so. */
int log_start(enum log_level level, enum log_format format, int fd, struct err *e) MUST_CHECK;

/* Writes what is there and ends the writer; within about a second where nobody reads. */
void log_stop(void);

/* For a reload. Any thread, any time. */
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);

bool log_wants(enum log_level level);
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The arguments are evaluated only when the level is on. errno survives. */
#define log_at(level, ...)                                                                         \
    do {                                                                                           \
        if (log_wants(level))                                                                      \
            log_write(level, __VA_ARGS__);                                                         \
    } while (0)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

/* A line that is ready: no newline in it, everything from outside escaped. One that is longer than
 * LOG_LINE_MAX counts as dropped. */
void log_line(struct span line);

/* The same for what there may be very much of: it is lost already when half of the buffer is full,
 * so that there is room for what matters more. */
void log_bulk_line(struct span line);

/* Lines lost since the start of the process. */
uint64_t log_dropped(void);

/* Appends UTC as RFC 3339 with milliseconds. */
void log_add_time(struct strbuf *out, uint64_t wall_ms);

/* Appends text for a line in LOG_TEXT: control characters (C0, DEL, C1) and bytes that are not
 * UTF-8 become \xNN, a backslash is doubled. */
void log_add_text(struct strbuf *out, struct span text);

#endif
