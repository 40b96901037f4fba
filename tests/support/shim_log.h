/* A real log behind a seam of its own, so that its appends can be refused or held. Reading goes through. */
#ifndef WAYMARK_SHIM_LOG_H
#define WAYMARK_SHIM_LOG_H

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/event_log_inside.h"

#define SHIM_HELD 64

struct shim_log {
    struct event_log base;
    struct event_log *inner;
    _Atomic int refuse; /* enum log_status for appends by the collector; LOG_OK: they go through */
    _Atomic bool hold;  /* takes records of the collector and reports them when it is closed */
    struct shim_held {
        log_done *done;
        void *arg;
    } held[SHIM_HELD];
    size_t held_count;
};

static inline enum log_status shim_append(struct event_log *seam, enum log_topic topic, enum log_by by,
                                          const struct log_record *records, size_t n, log_done *done, void *const *args)
{
    struct shim_log *l = (struct shim_log *)seam;

    if (by == LOG_BY_COLLECTOR && l->refuse != LOG_OK)
        return (enum log_status)l->refuse;
    for (size_t i = 0; by == LOG_BY_COLLECTOR && l->hold && i < n; i++) {
        assert(l->held_count < SHIM_HELD);
        l->held[l->held_count++] = (struct shim_held){done, args[i]};
    }
    if (by == LOG_BY_COLLECTOR && l->hold)
        return LOG_OK;
    return event_log_append(l->inner, topic, by, records, n, done, args);
}

static inline uint32_t shim_partitions(const struct event_log *seam, enum log_topic topic)
{
    return event_log_partitions(((const struct shim_log *)seam)->inner, topic);
}

static inline int64_t shim_begin(struct event_log *seam, enum log_topic topic, uint32_t partition)
{
    return event_log_begin(((struct shim_log *)seam)->inner, topic, partition);
}

static inline int64_t shim_end(struct event_log *seam, enum log_topic topic, uint32_t partition)
{
    return event_log_end(((struct shim_log *)seam)->inner, topic, partition);
}

static inline uint64_t shim_bytes(struct event_log *seam)
{
    return event_log_bytes(((struct shim_log *)seam)->inner);
}

static inline uint64_t shim_appends(struct event_log *seam, enum log_by by)
{
    return event_log_appends(((struct shim_log *)seam)->inner, by);
}

static inline enum log_status shim_ready(struct event_log *seam)
{
    struct shim_log *l = (struct shim_log *)seam;

    return l->refuse != LOG_OK ? (enum log_status)l->refuse : event_log_ready(l->inner);
}

static inline int shim_reader_open(struct event_log *seam, enum log_topic topic, const char *name,
                                   struct log_reader **out, struct err *e)
{
    return log_reader_open(((struct shim_log *)seam)->inner, topic, name, out, e);
}

static inline void shim_close(struct event_log *seam)
{
    struct shim_log *l = (struct shim_log *)seam;

    for (size_t i = 0; i < l->held_count; i++)
        l->held[i].done(l->held[i].arg, LOG_FAILED, 0, -1);
    event_log_close(l->inner);
    free(l);
}

static const struct event_log_ops shim_ops = {.close = shim_close,
                                              .append = shim_append,
                                              .partitions = shim_partitions,
                                              .begin = shim_begin,
                                              .end = shim_end,
                                              .bytes = shim_bytes,
                                              .appends = shim_appends,
                                              .ready = shim_ready,
                                              .reader_open = shim_reader_open};

/* Takes the log. */
static inline struct shim_log *shim_new(struct event_log *inner)
{
    struct shim_log *l = calloc(1, sizeof *l);

    if (!l)
        abort();
    l->base.ops = &shim_ops;
    l->inner = inner;
    return l;
}

#endif
