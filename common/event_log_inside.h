/* Behind the seam of the event log: what an implementation gives. Only event_log.c, the implementations and tests with
 * a log of their own include this. What each does is said in event_log.h. */
#ifndef WAYMARK_EVENT_LOG_INSIDE_H
#define WAYMARK_EVENT_LOG_INSIDE_H

#include "common/event_log.h"

struct event_log_ops {
    void (*close)(struct event_log *log);
    enum log_status (*append)(struct event_log *log, enum log_topic topic, enum log_by by,
                              const struct log_record *records, size_t n, log_done *done, void *const *args);
    uint32_t (*partitions)(const struct event_log *log, enum log_topic topic);
    int64_t (*begin)(struct event_log *log, enum log_topic topic, uint32_t partition);
    int64_t (*end)(struct event_log *log, enum log_topic topic, uint32_t partition);
    /* NULL: `end` is the truth. */
    int (*ask_ends)(struct event_log *log, enum log_topic topic, const uint32_t *partitions, size_t n, int64_t ms,
                    int64_t *ends, struct err *e);
    /* NULL: nobody commits but this process. */
    int (*ask_committed)(struct event_log *log, const uint32_t *partitions, size_t n, int64_t ms, int64_t *out,
                         struct err *e);
    uint64_t (*bytes)(struct event_log *log); /* NULL: 0 */
    uint64_t (*appends)(struct event_log *log, enum log_by by);
    enum log_status (*ready)(struct event_log *log);
    uint64_t (*identity)(struct event_log *log); /* NULL: it has none */
    /* NULL: its records cannot be made anew. */
    int (*blank)(struct event_log *log, enum log_topic topic, uint32_t partition, int64_t below, log_judge *judge,
                 void *arg, _Atomic bool *stop, uint64_t *blanked, struct err *e);
    /* NULL: for ever. */
    int (*retention)(struct event_log *log, enum log_topic topic, int64_t ms, int64_t *retention, struct err *e);
    int (*reader_open)(struct event_log *log, enum log_topic topic, const char *name, struct log_reader **out,
                       struct err *e);
    /* NULL, both: the log is this process's alone. */
    int (*join)(struct event_log *log, const struct log_group_options *o, struct err *e);
    void (*leave)(struct event_log *log, bool for_good, int64_t ms);
};

/* First in what an implementation has for a log, as log_reader is in what it has for a reader. */
struct event_log {
    const struct event_log_ops *ops;
};

struct log_reader_ops {
    void (*close)(struct log_reader *r);
    int (*seek)(struct log_reader *r, uint32_t partition, int64_t offset);
    int (*read)(struct log_reader *r, uint32_t partition, struct log_record *out, size_t max, size_t max_bytes,
                struct err *e);
    void (*wait)(struct log_reader *r, const uint32_t *partitions, size_t n, int64_t ms);
    void (*wake)(struct log_reader *r);
    int (*commit)(struct log_reader *r, uint32_t partition, int64_t offset, struct err *e);
};

struct log_reader {
    const struct log_reader_ops *ops;
};

#endif
