/* The operators' log: a line is one write to standard error, and nobody waits for it. Any thread. */
#include "common/log.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"

#define TEXT_BYTES 1024
/* A pipe that polls as writable takes PIPE_BUF (4096) bytes without blocking, and whole. */
#define LINE_BYTES 4000
#define DEFAULT_PERIOD_MS (10 * TIME_SECOND)

static _Atomic int sink_level = LOG_INFO;
static _Atomic uint64_t sink_dropped;
static uint64_t sink_told; /* of them, those that a line has told of; under the lock */
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;

void log_set_level(enum log_level level)
{
    atomic_store(&sink_level, (int)level);
}

uint64_t log_dropped(void)
{
    return atomic_load(&sink_dropped);
}

static void add_escaped(struct buf *line, const char *text)
{
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f)
            buf_addf(line, "\\x%02x", c);
        else
            buf_add_char(line, *p);
    }
}

static void make_line(struct buf *line, enum log_level level, const char *text)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};

    time_write(line, clock_now());
    buf_addf(line, " %s ", names[level]);
    add_escaped(line, text);
    buf_add_char(line, '\n');
}

static bool write_now(const char *p, size_t n)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (poll(&fd, 1, 0) != 1 || !(fd.revents & POLLOUT))
        return false;
    return write(STDERR_FILENO, p, n) == (ssize_t)n;
}

/* Sends the line, and one before it when lines were lost since the last that got through. */
static void send_line(const struct buf *line)
{
    pthread_mutex_lock(&sink_lock);
    uint64_t dropped = atomic_load(&sink_dropped);
    if (dropped > sink_told) {
        struct buf lost;
        char text[64];
        buf_init(&lost, LINE_BYTES);
        snprintf(text, sizeof text, "log: %llu lines were dropped", (unsigned long long)(dropped - sink_told));
        make_line(&lost, LOG_WARN, text);
        if (!lost.failed && write_now(lost.p, lost.n))
            sink_told = dropped;
        buf_deinit(&lost);
    }
    if (line->failed || !write_now(line->p, line->n))
        atomic_fetch_add(&sink_dropped, 1);
    pthread_mutex_unlock(&sink_lock);
}

static void send_text(enum log_level level, const char *text)
{
    struct buf line;

    /* Escapes may make four bytes of one, so that a text of TEXT_BYTES may not fit whole: then it is cut. */
    buf_init(&line, LINE_BYTES);
    make_line(&line, level, text);
    if (line.failed && line.n > 0) {
        line.failed = false;
        if (line.n == LINE_BYTES)
            line.n--;
        buf_add_char(&line, '\n');
    }
    send_line(&line);
    buf_deinit(&line);
}

static bool wanted(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&sink_level, memory_order_relaxed);
}

void log_line(enum log_level level, const char *format, ...)
{
    char text[TEXT_BYTES] = "";
    va_list args;

    if (!wanted(level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    send_text(level, text);
}

void log_lines(enum log_level level, const char *head, const char *text, size_t n)
{
    while (n > 0) {
        const char *end = memchr(text, '\n', n);
        size_t line = end ? (size_t)(end - text) : n, step = line + (end != NULL);

        log_line(level, "%s%.*s", head, (int)line, text);
        text += step;
        n -= step;
    }
}

/* Whether a line may go now; then *held_back is how many were held back since the last. */
static bool may_pass(struct log_limit *limit, uint64_t *held_back)
{
    int64_t now = clock_monotonic(), next = atomic_load(&limit->next_ms);
    int64_t period = limit->period_ms ? limit->period_ms : DEFAULT_PERIOD_MS;

    if (now < next || !atomic_compare_exchange_strong(&limit->next_ms, &next, now + period)) {
        atomic_fetch_add(&limit->held_back, 1);
        return false;
    }
    *held_back = atomic_exchange(&limit->held_back, 0);
    return true;
}

void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
{
    char text[TEXT_BYTES] = "";
    uint64_t held_back;
    va_list args;

    if (!wanted(level) || !may_pass(limit, &held_back))
        return;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (held_back > 0 && n >= 0 && (size_t)n < sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, " (%llu more like it were held back)",
                 (unsigned long long)held_back);
    send_text(level, text);
}
