/* What the files of the embedded log share; nobody else includes it.
 *
 * Threads: the writer (log_writer.c) and retention (log_retention.c), one each a log; any thread appends and reads.
 * Locks, in the order in which one may be taken while another is held:
 *   blank_lock    who makes records anew or cleans files
 *   store_lock    shared by who uses the store, alone by who closes and opens it anew
 *   write_lock    one write to the store at a time, see log_store.h
 *   readers_lock  the list of readers and the names with what they hold
 * and last, never with each other: queue_lock, ends_lock, tick_lock. */
#ifndef WAYMARK_EVENT_LOG_LOCAL_H
#define WAYMARK_EVENT_LOG_LOCAL_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/buf.h"
#include "common/event_log.h"
#include "common/event_log_inside.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/log_store.h"

#define EVENT_LOG_MAGIC 0x6c6f6721u
#define LOG_READER_MAGIC 0x72656164u

/* One partition of one topic. */
struct log_family {
    _Atomic int64_t begin;
    _Atomic int64_t end;        /* one past the last durable */
    _Atomic uint64_t bytes_end; /* bytes ever appended, up to `end`; see log_record.h */
    _Atomic uint64_t bytes_begin;
    int64_t next; /* given to the next record of a batch; the writer's */
    uint64_t bytes_next;
};

/* What waits to be written. Each record's value lies in `bytes` as the store will have it, but for what only the writer
 * knows. */
struct log_waiting {
    size_t at;
    uint32_t size;
    uint32_t family;
    int64_t offset;
    log_done *done;
    void *arg;
    enum log_by by;
};

/* What a record of that size counts for in the queue. */
static inline size_t log_waiting_bytes(uint32_t size)
{
    return size + sizeof(struct log_waiting);
}

struct log_queue {
    struct buf bytes;
    struct log_waiting *waiting;
    size_t n, cap;
};

/* A name under which readers hold records back. */
struct log_name {
    char name[LIMIT_LOG_NAME + 1];
    enum log_topic topic;
    bool stored;
    int64_t *held; /* per partition; -1 when nothing was committed yet: all is held */
    bool *unsaved; /* per partition: `held` is not in the store yet */
};

struct local_log {
    struct event_log base; /* first: the seam hands it back */
    unsigned magic;
    struct event_log_options o;
    char *path;
    int lock_fd;

    uint32_t families; /* as the rows of the store, see log_store_open */
    struct log_family *family;

    pthread_mutex_t blank_lock;
    pthread_rwlock_t store_lock;
    struct log_store *store; /* NULL while it could not be opened anew */
    pthread_mutex_t write_lock;
    _Atomic bool broken; /* a write failed; nothing is written before the store is opened anew */

    pthread_mutex_t queue_lock;
    pthread_cond_t queue_cond;
    struct log_queue *filling;
    struct log_queue *writing; /* the writer's */
    size_t queued_bytes;       /* in both */
    bool stopping;
    _Atomic bool unsaved; /* commits of readers wait to be written */
    pthread_t writer;

    _Atomic int trouble; /* enum log_status: LOG_OK, or why nothing can be written */
    _Atomic int64_t disk_checked;
    _Atomic int64_t disk_free;
    struct log_limit disk_limit; /* of the line that says so */
    struct log_limit full_limit; /* of the line that says that the log is at its own limit */
    _Atomic uint64_t appends[LOG_BYS];

    pthread_mutex_t ends_lock; /* guards nothing; readers wait for ends with it */
    pthread_cond_t ends_cond;

    pthread_mutex_t readers_lock;
    struct local_reader *readers;
    struct log_name *names[LIMIT_LOG_READERS];
    size_t n_names;

    pthread_mutex_t tick_lock;
    pthread_cond_t tick_cond;
    bool tick_stop;
    pthread_t retention;

    /* Of a log with a limit, retention's: whether what was dropped may still stand in files, and when it was seen to.
     */
    _Atomic bool unclean;
    _Atomic int64_t cleaned_at; /* monotonic */
};

static inline struct local_log *local_log(struct event_log *log)
{
    struct local_log *l = (struct local_log *)log;

    assert(l->magic == EVENT_LOG_MAGIC);
    return l;
}

/* event_log_local.c */
uint32_t local_partitions(const struct local_log *log, enum log_topic topic);
uint32_t log_family_of(const struct local_log *log, enum log_topic topic, uint32_t partition);
enum log_topic log_topic_of(const struct local_log *log, uint32_t family, uint32_t *partition);
/* Opens the store and takes the ends from it. For opening, and for opening anew: the caller has it alone. */
int log_take_store(struct local_log *log, struct err *e);
/* Writes a batch, unless an earlier write failed. The caller shares the store. Sets `broken` and `trouble`. */
int log_write(struct local_log *log, struct log_batch *b, struct err *e);
/* The same for who has write_lock; without it, and when it fails, the writer must be woken. */
int log_write_alone(struct local_log *log, struct log_batch *b, struct err *e);
void log_wake_writer(struct local_log *log);
/* Free bytes of the disk as of at most a fifth of a second ago. */
int64_t log_disk_free(struct local_log *log);

/* log_append.c: the seam's append and ready */
enum log_status local_append(struct event_log *log, enum log_topic topic, enum log_by by,
                             const struct log_record *records, size_t n, log_done *done, void *const *args);
enum log_status local_ready(struct event_log *log);
uint64_t local_bytes(struct event_log *log);

/* log_writer.c */
void *log_writer_main(void *log);

/* log_names.c */
/* Reads the names and what they hold from the store. */
int log_names_load(struct local_log *log, struct err *e);
void log_names_free(struct local_log *log);
/* Finds a name, or makes and stores it. */
int log_names_register(struct local_log *log, enum log_topic topic, const char *name, struct log_name **out,
                       struct err *e);
/* Notes what a name holds; the writer stores it before long. */
void log_names_hold(struct local_log *log, struct log_name *name, uint32_t partition, int64_t offset);
int64_t log_names_held(struct local_log *log, const struct log_name *name, uint32_t partition);
/* The least offset that some name holds of a family, at most `most`. */
int64_t log_names_least(struct local_log *log, uint32_t family, int64_t most);
/* Moves the begin of a family up to `offset`, but not past what is held at that moment. Returns the begin. */
int64_t log_names_pass(struct local_log *log, uint32_t family, int64_t offset);
/* Adds what is not stored yet to a batch; true when there was something. After a failed write it must be said. */
bool log_names_save(struct local_log *log, struct log_batch *b);
void log_names_save_failed(struct local_log *log);

/* log_reader.c: the seam's readers */
int local_reader_open(struct event_log *log, enum log_topic topic, const char *name, struct log_reader **out,
                      struct err *e);
/* Ends the walks of all readers, before the store is closed. The caller has the store alone. */
void log_readers_let_go(struct local_log *log);

/* log_blank.c */
int local_blank(struct event_log *log, enum log_topic topic, uint32_t partition, int64_t below, log_judge *judge,
                void *arg, _Atomic bool *stop, uint64_t *blanked, struct err *e);

/* log_clean.c */
/* Offsets of a family whose old bytes are to go: sorted and apart, and at most so many. Where they come close, what is
 * between them counts too: `apart` says how close. */
enum { LOG_RANGES = 256 };
struct log_ranges {
    struct log_range {
        int64_t first, last;
    } at[LOG_RANGES];
    size_t n;
    int64_t apart;
};
void log_ranges_add(struct log_ranges *r, int64_t first, int64_t last);
/* When it returns 0 no file of the log has bytes of the family that were replaced in the ranges, or dropped before its
 * begin. The caller has blank_lock, and does not share the store. Errors as event_log_blank has them. */
int log_clean(struct local_log *log, uint32_t family, const struct log_ranges *ranges, _Atomic bool *stop,
              struct err *e);
/* Shares the store: 0, or -EAGAIN and it is not shared: it waits to be opened anew. */
int log_share_store(struct local_log *log, struct err *e);
/* Whether the disk has room for that much beside what commands must leave; else -ENOSPC and words. */
int log_room(struct local_log *log, uint64_t bytes, struct err *e);

/* log_retention.c */
void *log_retention_main(void *log);
/* Drops what may go at the time `now`. */
int log_retention_run(struct local_log *log, int64_t now, struct err *e);
/* Cleans the files of a log with a limit where that is due at the monotonic time `now`. Retention's thread. */
int log_retention_clean(struct local_log *log, int64_t now, struct err *e);

#endif
