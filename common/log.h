/* The log for operators: state changes and faults, a line each on standard error. Never a line per request. Any
 * thread. A line that cannot be written at once is dropped and counted. */
#ifndef WAYMARK_LOG_H
#define WAYMARK_LOG_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Lines above this level are not written; LOG_INFO at the start. */
void log_set_level(enum log_level level);
/* One line: time, level, text. Control characters in the text are written as \xNN. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Each line of `n` bytes of text, behind `head`. */
void log_lines(enum log_level level, const char *head, const char *text, size_t n);

/* Lines that were lost so far because standard error did not take them at once. */
uint64_t log_dropped(void);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* At most one line a period for a message that repeats; the next one says how many were held back. Zero-initialise
 * (static) but for the period. */
struct log_limit {
    int64_t period_ms; /* 0: ten seconds */
    _Atomic int64_t next_ms;
    _Atomic uint64_t held_back;
};

void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
