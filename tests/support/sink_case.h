/* A sink over a fake event log and a real spool in a folder, and appends whose reports are kept. For tests of C. */
#ifndef WAYMARK_SINK_CASE_H
#define WAYMARK_SINK_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "collector/sink.h"
#include "common/buf.h"
#include "common/limits.h"
#include "tests/support/fake_log.h"
#include "tests/support/shim_log.h"

#define LONG_MS 10000 /* a patience that nothing here uses up */
#define SHORT_MS 60   /* one that is to be used up */
#define WAIT_MS 20000 /* for what must happen */

/* What a record was told. */
struct told {
    _Atomic int times, status;
    _Atomic int64_t offset, begun, took;
};

struct sink_case {
    char folder[64];
    struct fake_log *log;
    struct shim_log *spool;
    struct sink *sink;
    struct stats *stats;
    int64_t patience_ms;
    uint64_t limit_bytes;
    struct told told[FAKE_IDS];
    uint64_t next_id;
};

static inline void case_done(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct told *t = arg;

    (void)partition;
    t->status = (int)status;
    t->offset = offset;
    t->took = clock_monotonic() - t->begun;
    t->times++;
}

static inline void case_open_spool(struct sink_case *c)
{
    const struct event_log_options o = {
        .path = c->folder, .partitions = 1, .retain_ms = 1, .limit_bytes = c->limit_bytes};
    struct event_log *inner;
    struct err e = {0};

    if (event_log_open_local(&o, &inner, &e) != 0)
        fail_msg("%s", e.text);
    c->spool = shim_new(inner);
}

static inline void case_start(struct sink_case *c)
{
    struct err e = {0};

    case_open_spool(c);
    c->stats = stats_new();
    const struct sink_options o = {.log = &c->log->base,
                                   .spool = &c->spool->base,
                                   .spool_bytes = c->limit_bytes,
                                   .patience_ms = c->patience_ms,
                                   .stats = c->stats};
    if (sink_start(&o, &c->sink, &e) != 0)
        fail_msg("%s", e.text);
}

/* All but the event log, which stays as it is. */
static inline void case_stop(struct sink_case *c, int64_t ms)
{
    if (!c->sink)
        return;
    sink_stop(c->sink, ms);
    sink_free(c->sink);
    c->sink = NULL;
    event_log_close(&c->spool->base);
    stats_free(c->stats);
}

/* With another patience, and all as it was left. */
static inline void case_restart(struct sink_case *c, int64_t patience_ms)
{
    case_stop(c, 0);
    c->patience_ms = patience_ms;
    case_start(c);
}

static inline int case_setup(void **state)
{
    struct sink_case *c = calloc(1, sizeof *c);

    strcpy(c->folder, "/tmp/waymark-sink-XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    c->patience_ms = LONG_MS;
    c->limit_bytes = UINT64_C(1) << 30;
    c->log = fake_new();
    case_start(c);
    *state = c;
    return 0;
}

static inline int case_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline int case_teardown(void **state)
{
    struct sink_case *c = *state;

    case_stop(c, 1000);
    event_log_close(&c->log->base); /* reports after the sink is gone */
    nftw(c->folder, case_remove, 8, FTW_DEPTH | FTW_PHYS);
    free(c);
    return 0;
}

#define WAIT_FOR(condition)                                                                                            \
    do {                                                                                                               \
        for (int64_t until_ = clock_monotonic() + WAIT_MS; !(condition);) {                                            \
            if (clock_monotonic() > until_)                                                                            \
                fail_msg("never: %s", #condition);                                                                     \
            usleep(500);                                                                                               \
        }                                                                                                              \
    } while (0)

/* Appends `n` records of `size` bytes with the next numbers. `first` is an output, and may be NULL. */
static inline enum log_status case_append(struct sink_case *c, enum log_topic topic, size_t n, size_t size,
                                          uint64_t *first)
{
    struct log_record *records = calloc(n, sizeof *records);
    void **args = calloc(n, sizeof *args);
    uint64_t id = __atomic_fetch_add(&c->next_id, n, __ATOMIC_SEQ_CST);
    char *values = calloc(n, size);

    assert_true(id + n <= FAKE_IDS && size >= sizeof id);
    for (size_t i = 0; i < n; i++) {
        uint64_t own = id + i;
        memcpy(values + i * size, &own, sizeof own);
        records[i] = (struct log_record){.kind = topic == LOG_BAD ? LOG_KIND_BAD : LOG_KIND_EVENT,
                                         .key = STR_LIT("the key"),
                                         .value = {values + i * size, size},
                                         .time = clock_now()};
        c->told[own].begun = clock_monotonic();
        args[i] = &c->told[own];
    }
    enum log_status s = sink_append(c->sink, topic, records, n, case_done, args);
    memset(values, 0xee, n * size); /* it was copied */
    free(values);
    free(records);
    free(args);
    if (first)
        *first = id;
    return s;
}

static inline void case_wait_told(struct sink_case *c, uint64_t first, size_t n)
{
    for (size_t i = 0; i < n; i++)
        WAIT_FOR(c->told[first + i].times > 0);
}

/* One event, its report waited for and returned. */
static inline enum log_status case_append_one(struct sink_case *c, uint64_t *id)
{
    uint64_t own;
    enum log_status s = case_append(c, LOG_EVENTS, 1, 100, &own);

    if (id)
        *id = own;
    if (s != LOG_OK)
        return s;
    case_wait_told(c, own, 1);
    return (enum log_status)c->told[own].status;
}

static inline struct sink_figures case_figures(struct sink_case *c)
{
    struct sink_figures f;

    sink_figures(c->sink, &f);
    return f;
}

static inline void case_wait_drained(struct sink_case *c)
{
    WAIT_FOR(case_figures(c).records == 0);
}

/* A line of the figures; -1: there is none. */
static inline double case_figure(struct sink_case *c, const char *name)
{
    struct buf text;
    double v = -1;

    buf_init(&text, MIB);
    stats_write(c->stats, &text);
    buf_add_char(&text, '\0');
    for (const char *line = text.p; line; line = (line = strchr(line, '\n')) ? line + 1 : NULL)
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ' ')
            v = atof(line + strlen(name));
    buf_deinit(&text);
    return v;
}

#endif
