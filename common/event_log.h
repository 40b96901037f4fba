/* The event log: the seam under collector and profiler. Records are appended to a partition that their key chooses, and
 * the appender is told when they are durable; readers follow a partition from an offset. Two implementations: the
 * embedded log on RocksDB (event_log_local.c) and Kafka
 * (event_log_kafka.c); the files behind them include event_log_inside.h.
 *
 * Topics: events; bad events, which have partition 0 only; where several processes share the log, the claims by which
 * they tell each other who has a partition: as many partitions as the events, and nothing else in them; the audit log,
 * which has partition 0 only and is kept for ever; and the changes of audiences: as many partitions as the events, with
 * the keys of these.
 *
 * Threads: append, read and the figures from any thread. Callbacks come on a thread of the log, in offset order within
 * a partition; they must be short and must not call back into append with a wait. */
#ifndef WAYMARK_EVENT_LOG_H
#define WAYMARK_EVENT_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/str.h"

struct event_log;
struct buf;

enum log_topic { LOG_EVENTS, LOG_BAD, LOG_CLAIMS, LOG_AUDIT, LOG_AUDIENCES, LOG_TOPICS };
/* Whether it has partition 0 only; else it has as many as the events. */
static inline bool log_topic_is_single(enum log_topic t)
{
    return t == LOG_BAD || t == LOG_AUDIT;
}

/* What a record is; a flag beside the value, so that internal records can share the log with events. */
enum log_kind {
    LOG_KIND_EVENT = 0,
    LOG_KIND_BAD = 1,
    LOG_KIND_CLAIM = 2,
    LOG_KIND_INTERNAL = 3, /* of one partition for another: proto/internal.h */
    LOG_KIND_COMMAND = 4,  /* of people or programs that administer the profiles: proto/internal.h */
    LOG_KIND_AUDIT = 5,    /* proto/codec_audit.h */
    LOG_KIND_ERASED = 6,   /* what stood there was an erased person's; nothing is left. On the embedded log only */
    LOG_KIND_CHANGE = 7,   /* who entered or left an audience: profiler/audience_change.h */
    LOG_KIND_UNKNOWN = 255
};

enum log_by { LOG_BY_COLLECTOR, LOG_BY_SPOOL, LOG_BY_PROFILER, LOG_BY_COMMAND, LOG_BYS };

/* Outcomes of an append. */
enum log_status {
    LOG_OK = 0,
    LOG_QUEUE_FULL = 1,  /* more is waiting than may wait; try again later */
    LOG_DISK_FULL = 2,   /* refused to keep the reserve; everything acked is still there */
    LOG_FAILED = 3,      /* the store failed; see the operators' log */
    LOG_TOO_LARGE = 4,   /* over LIMIT_RECORD_BYTES */
    LOG_STOPPED = 5,     /* closing */
    LOG_UNREACHABLE = 6, /* the brokers do not answer, or the topic is missing */
    LOG_SPOOLED = 7      /* of the collector's sink: on the disk of this machine, and on the log later */
};

const char *log_status_text(enum log_status s);

struct log_record {
    enum log_kind kind;
    struct str key; /* chooses the partition */
    struct str value;
    int64_t time;   /* ms, when it was appended: age for retention and lag; 0 in an append: now */
    int64_t offset; /* when read */
    bool placed;    /* in an append: it goes to `partition`, whatever its key */
    uint32_t partition;
};

/* Called once per accepted record when its fate is known. `offset` is -1 unless status is LOG_OK. A record whose fate
 * is another may still turn up on a Kafka log: whoever appends it again makes a duplicate. */
typedef void log_done(void *arg, enum log_status status, uint32_t partition, int64_t offset);

struct event_log_options {
    const char *path;       /* folder; made when missing */
    uint32_t partitions;    /* of LOG_EVENTS; must be what the data has */
    int64_t retain_ms;      /* 0: for ever */
    uint64_t retain_bytes;  /* over all partitions; 0: no bound */
    uint64_t reserve_bytes; /* free space of the disk below which appends are refused */
    /* 0: none. Else a log that its readers empty: what every name has passed is dropped at once, whatever its age, and
     * an append that would make it hold more is refused with LOG_DISK_FULL; to the collector an eighth before that, so
     * that who empties it has room to work. */
    uint64_t limit_bytes;
};

/* Opens the embedded log, recovering from a torn tail. Fails with a clear text when the folder is in use, holds another
 * number of partitions, or the disk has less than the reserve. */
int event_log_open_local(const struct event_log_options *o, struct event_log **out, struct err *e);

/* A property of librdkafka, as the configuration gives it. */
struct kafka_property {
    const char *name, *value;
};
struct event_log_kafka_options {
    const struct kafka_property *properties; /* passed on; event_log_kafka_check has taken them */
    size_t property_count;
    const char *prefix;   /* of the topics: "waymark." makes waymark.events, .bad, .claims, .audit and .audiences */
    uint32_t partitions;  /* that events and claims must have */
    const char *instance; /* this process for the brokers: client.id, and its place in the consumer group */
};
/* Whether librdkafka knows the property and its value, and whether it is one that may be set here; else words in `e`
 * that say what to do. Pure. 0 or -EINVAL. */
int event_log_kafka_check(const struct kafka_property *p, struct err *e);
/* Opens the log without waiting for the brokers: they may be away, now and later. Fails on wrong options only. */
int event_log_open_kafka(const struct event_log_kafka_options *o, struct event_log **out, struct err *e);
/* Makes the topics that are missing, with `replicas` copies of each (0: the brokers' default), and tells `say` of each
 * whether it was made or is there; checks those that are there against what is needed. Blocks up to `ms`. 0 or negative
 * errno: then `e` names the first that is wrong. */
int event_log_kafka_create(const struct event_log_kafka_options *o, int replicas, int64_t ms,
                           void (*say)(void *arg, const char *line), void *arg, struct err *e);
/* Tells `say` of each topic and partition where it begins and ends, or that it is missing. Otherwise the same. */
int event_log_kafka_list(const struct event_log_kafka_options *o, int64_t ms, void (*say)(void *arg, const char *line),
                         void *arg, struct err *e);

/* Waits for what was appended to become durable, then closes. All readers are closed before. NULL is allowed. */
void event_log_close(struct event_log *log);

/* murmur2 as Kafka's Java client has it: (murmur2(key) & 0x7fffffff) % partitions. Pure. */
uint32_t event_log_partition(struct str key, uint32_t partitions);
/* Where a record goes that is appended. Pure. */
uint32_t log_record_partition(const struct log_record *r, uint32_t partitions);

/* Queues `n` records; key and value are copied before it returns. All or none are taken: LOG_OK means that `done` will
 * be called once for each (with args[i]), any other status that it will not be called at all. Never blocks on the disk.
 */
enum log_status event_log_append(struct event_log *log, enum log_topic topic, enum log_by by,
                                 const struct log_record *records, size_t n, log_done *done, void *const *args);
/* Appends one and waits until it is durable (commands, tests). Partition and offset are optional outputs. */
enum log_status event_log_append_wait(struct event_log *log, enum log_topic topic, enum log_by by,
                                      const struct log_record *record, uint32_t *partition, int64_t *offset);

uint32_t event_log_partitions(const struct event_log *log, enum log_topic topic);
/* First offset still held and one past the last durable, as far as is known here: on Kafka as it was heard last. */
int64_t event_log_begin(struct event_log *log, enum log_topic topic, uint32_t partition);
int64_t event_log_end(struct event_log *log, enum log_topic topic, uint32_t partition);
/* Asks the log itself, and waits up to `ms` for its answer: everything that was acked before the call lies before the
 * end. Of n partitions. 0, or a negative errno and nothing in `ends`. Any thread that may wait. */
int event_log_ask_ends(struct event_log *log, enum log_topic topic, const uint32_t *partitions, size_t n, int64_t ms,
                       int64_t *ends, struct err *e);
/* Asks how far the members of the group that this process joined have committed LOG_EVENTS: the state of who followed
 * the partition last was on disk up to there, when it was said. Of n partitions; -1: nobody has. Waits up to `ms`. 0,
 * or a negative errno and nothing in `out`: -EAGAIN when nobody answers, -ENOTSUP on a log of this process alone. Any
 * thread that may wait. */
int event_log_ask_committed(struct event_log *log, const uint32_t *partitions, size_t n, int64_t ms, int64_t *out,
                            struct err *e);
/* Bytes of records that it holds, uncompressed, with those on their way to the disk; 0 where that is not known. */
uint64_t event_log_bytes(struct event_log *log);
/* Records ever appended by one kind of writer since the process started. */
uint64_t event_log_appends(struct event_log *log, enum log_by by);
/* Whether an append would be taken now; else why not. For /readyz. */
enum log_status event_log_ready(struct event_log *log);
/* A number by which processes that share the log tell it from other logs, wherever those are; 0: not known yet, or it
 * is shared with nobody. Any thread, quick. */
uint64_t event_log_identity(struct event_log *log);
/* Whether other processes may have the log open too, so that who owns a partition must be found out. The embedded log
 * is its process's alone. */
bool event_log_shared(const struct event_log *log);

/* What becomes of a record that is looked at to be blanked: it stays as it is, it becomes one of LOG_KIND_ERASED
 * without key and value, or one of its kind with the value that the judge wrote, and without a key. */
enum { LOG_KEEP = 0, LOG_BLANK = 1, LOG_REPLACE = 2 };
/* One of these, or a negative errno, which ends the walk. `value` is empty when it is called. The record lives until it
 * returns. It holds no lock of the log and may wait for anything. */
typedef int log_judge(void *arg, const struct log_record *r, struct buf *value);
/* Shows the records of a partition before `below`, from the begin on, to the judge, and makes anew what it says: each
 * keeps its offset and time. When it returns 0, the bytes that were there before stand in no file of the log any more,
 * and neither do those that retention has dropped; what stands in their place is on disk. Others append and read
 * meanwhile; a reader sees the record as it was or as it is. Records of LOG_KIND_ERASED are not shown. After an error,
 * or a crash, some are made anew and their old bytes may still be there: call it again, with a judge that says the same
 * or only keeps. Calls wait for each other.
 *
 * `stop`, NULL is allowed, is looked at between records: -ECANCELED. `blanked`, NULL is allowed, counts what was made
 * anew, also when it fails. -ENOTSUP on a log of others, -ENOSPC with words when the disk has not the room that writing
 * files anew takes, -EAGAIN while the log is being opened anew, else what the judge or the store said. */
int event_log_blank(struct event_log *log, enum log_topic topic, uint32_t partition, int64_t below, log_judge *judge,
                    void *arg, _Atomic bool *stop, uint64_t *blanked, struct err *e);

/* How long a topic keeps its records, ms; 0: for ever, or as long as its bytes have room. On Kafka that is retention.ms
 * of the topic: the segment that a record stands in goes once all of it is older. The brokers are asked, and waited for
 * up to `ms` and a second; what they said counts for some minutes. 0, or a negative errno: -EAGAIN when they do not
 * answer, -EACCES when they will not say. Any thread that may wait. */
int event_log_retention(struct event_log *log, enum log_topic topic, int64_t ms, int64_t *retention, struct err *e);

/* The partitions of LOG_EVENTS that this process is to follow. `given` and `taken` come on a thread of the log, never
 * both at once, and must be quick: from `given` on readers of the group's name may seek and read the partition, and
 * from `taken` on they must not count on it. On the embedded log all are given, at once, before the call returns. */
struct log_group_options {
    const char *name;
    void (*given)(void *arg, uint32_t partition);
    void (*taken)(void *arg, uint32_t partition);
    void *arg;
};
/* Once for each log. Does not wait for the brokers. */
int log_group_join(struct event_log *log, const struct log_group_options *o, struct err *e);
/* Nothing is given or taken once it returns, which it does within `ms`, whatever the brokers do. `for_good`: others get
 * the partitions at once; else they are kept for this instance until its session is over, as for a restart. */
void log_group_leave(struct event_log *log, bool for_good, int64_t ms);

/* A reader of some partitions of one topic, registered by name so that retention never passes it. */
struct log_reader;

enum { LOG_READ_GAP = 1 }; /* the offset is outside what the log holds */

/* On Kafka a named reader is of the group of that name, joined by then or later; seek asks the brokers and may then
 * also return -EAGAIN (they do not answer), and it reads only what it was told to seek. An unnamed one reads any
 * partition.
 *
 * `name` NULL: reads without holding anything back. A name (letters, digits, dot, line) is remembered in the log and
 * holds all that there is until it commits; several readers may share it, for different partitions. A reader starts
 * where its name committed, else at the begin. */
int log_reader_open(struct event_log *log, enum log_topic topic, const char *name, struct log_reader **out,
                    struct err *e);
void log_reader_close(struct log_reader *r);
/* Says where to read next in a partition. LOG_READ_GAP when below the begin or above the end; -EAGAIN see above. */
int log_reader_seek(struct log_reader *r, uint32_t partition, int64_t offset);
/* Up to `max` durable records of one partition from its place on, about `max_bytes` at most (at least one record).
 * Returns how many, 0 at the end (on Kafka: when nothing more has come yet), or a negative errno: -ESTALE when
 * retention took the place (never from a name that holds it) or the topic is another one, -EBADMSG when a record is
 * damaged or missing, -EAGAIN while the log is being opened anew or cannot be reached. Key and value live until the
 * next read or close of this reader. One thread at a time. */
int log_reader_read(struct log_reader *r, uint32_t partition, struct log_record *out, size_t max, size_t max_bytes,
                    struct err *e);
/* Waits until a partition of the reader has something to read, `ms` have passed or log_reader_wake is called. */
void log_reader_wait(struct log_reader *r, const uint32_t *partitions, size_t n, int64_t ms);
void log_reader_wake(struct log_reader *r);
/* The reader's state is on disk up to (not with) this offset; retention may pass what is before it. Durable itself at
 * some later time, never ahead. On Kafka it is for monitoring tools, and for those who had the partition before:
 * event_log_ask_committed. */
int log_reader_commit(struct log_reader *r, uint32_t partition, int64_t offset, struct err *e);

#endif
