/* The play that the tests of the followers look at and change, and its log, which can fail. */
#ifndef WAYMARK_TESTS_FOLLOWER_PLAY_LOG_H
#define WAYMARK_TESTS_FOLLOWER_PLAY_LOG_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/event_log_inside.h"
#include "common/limits.h"
#include "profiler/follower.h"
#include "profiler/profile_json.h"
#include "proto/codec.h"

#define PARTITIONS 3
#define PATIENCE_MS 30000

/* --- the play ------------------------------------------------------------------------------------------------- */

struct reader {
    struct log_reader base;
    int64_t place[PARTITIONS];
    bool woken;
};

struct waiting_append {
    uint32_t partition;
    log_done *done;
    void *arg;
};

/* All of it, under one lock. */
static struct play {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool shared;                                                     /* the log */
    int64_t begin[PARTITIONS], end[PARTITIONS];                      /* of the log */
    int64_t offset[PARTITIONS], disk[PARTITIONS], began[PARTITIONS]; /* the state's own */
    int64_t base[PARTITIONS];                                        /* what they are more than those of the log */
    int64_t released[PARTITIONS];                                    /* what retention may pass; -1 */
    int64_t sought[PARTITIONS];                                      /* last place that a reader was sent to; -1 */
    int seeks[PARTITIONS];
    int64_t skip_at; /* the log has no record of this offset; -1 */
    int uncommitted[PARTITIONS];
    int most_uncommitted; /* the bound of memory */
    int commits, failed_commits, failed_folds, failed_reads;
    int fail_commits, fail_folds, fail_reads, fail_seeks, fail_asks; /* how many are still to fail */
    int stale_reads;   /* how many are still to say that the place is gone */
    int64_t grows_by;  /* the log, once it has said that it does not reach a place */
    int64_t heard_end; /* the end that the log tells unasked; -1: as it is */
    int half;          /* records that a failing fold takes before it fails */
    bool disorder;     /* something was folded that was not next */
    /* the group */
    uint64_t stint[PARTITIONS];
    /* what the state folded last, and what the log has there */
    bool has_last;
    struct uid last_uid;
    struct buf event; /* of every record of the log: packed */
    /* emissions: every tenth offset is no event */
    bool poison;
    struct state_emission emissions[PARTITIONS][64];
    size_t emission_count[PARTITIONS];
    int unacked[PARTITIONS]; /* asked for, with those */
    struct waiting_append appends[64];
    size_t append_count;
    int appended, refuse_appends;
    bool keep_acks; /* until the test gives them */
    bool too_early; /* something was committed whose emissions were not acked */
    int move;       /* folds that are still to move something to user:m, which the state holds then */
    bool held[PARTITIONS];
    int announced;
    /* the cache */
    int64_t hold_until;       /* what cache_begin answers */
    int64_t hold_moved_until; /* the same for what was moved */
    int begun, ended, copied, copied_moved;
    uint64_t events;              /* of the profile */
    bool under_way, folded_early; /* while the cache said no */
    bool wants;
    /* backups */
    int64_t backup; /* the state's offset at which it stands; -1: there is none */
    int64_t backup_base;
    bool damaged; /* it cannot be taken */
    int restores;
    /* states that go */
    int forgotten[PARTITIONS], fail_forgets;
    bool forgot_early; /* one that was followed, or not all on disk */
    _Atomic int shown;
} play;

/* What every record of the log holds. Returns its uid. */
static inline struct uid play_event(const char *message_id)
{
    struct event e = {.type = EVENT_PAGE,
                      .trust = TRUST_BEACON,
                      .source = STR_LIT("web"),
                      .user_id = STR_LIT("k"),
                      .message_id = str_of(message_id),
                      .original_time = TIME_NONE,
                      .sent = TIME_NONE};

    e.uid = event_uid(e.source, e.anonymous_id, e.user_id, e.message_id);
    buf_reset(&play.event);
    assert_true(event_pack(&e, &play.event));
    return e.uid;
}

static inline void play_begin(void)
{
    buf_deinit(&play.event);
    memset(&play, 0, sizeof play);
    buf_init(&play.event, LIMIT_RECORD_BYTES);
    play.last_uid = play_event("m1");
    pthread_mutex_init(&play.lock, NULL);
    pthread_cond_init(&play.changed, NULL);
    play.most_uncommitted = 1 << 30;
    play.skip_at = play.backup = play.heard_end = -1;
    for (int p = 0; p < PARTITIONS; p++) {
        play.released[p] = play.sought[p] = -1;
        play.stint[p] = 1;
    }
}

static inline void append(uint32_t partition, int64_t n)
{
    pthread_mutex_lock(&play.lock);
    play.end[partition] += n;
    pthread_cond_broadcast(&play.changed);
    pthread_mutex_unlock(&play.lock);
}

/* --- the log -------------------------------------------------------------------------------------------------- */

static inline int64_t log_begin(struct event_log *log, enum log_topic topic, uint32_t partition)
{
    (void)log, (void)topic;
    pthread_mutex_lock(&play.lock);
    int64_t begin = play.begin[partition];
    pthread_mutex_unlock(&play.lock);
    return begin;
}

static inline int64_t log_end(struct event_log *log, enum log_topic topic, uint32_t partition)
{
    (void)log, (void)topic;
    pthread_mutex_lock(&play.lock);
    int64_t end = play.heard_end >= 0 ? play.heard_end : play.end[partition];
    pthread_mutex_unlock(&play.lock);
    return end;
}

static inline int log_ask_ends(struct event_log *log, enum log_topic topic, const uint32_t *partitions, size_t n,
                               int64_t ms, int64_t *ends, struct err *e)
{
    (void)log, (void)topic, (void)ms, (void)e;
    pthread_mutex_lock(&play.lock);
    bool fails = play.fail_asks > 0;
    play.fail_asks -= fails;
    for (size_t i = 0; i < n && !fails; i++)
        ends[i] = play.end[partitions[i]];
    pthread_mutex_unlock(&play.lock);
    return fails ? -EAGAIN : 0;
}

static inline enum log_status log_ready(struct event_log *log)
{
    (void)log;
    return LOG_OK;
}

static inline enum log_status log_append(struct event_log *log, enum log_topic topic, enum log_by by,
                                         const struct log_record *records, size_t n, log_done *done, void *const *args)
{
    (void)log;
    assert_int_equal(topic, LOG_BAD);
    assert_int_equal(by, LOG_BY_PROFILER);
    assert_int_equal(n, 1);
    pthread_mutex_lock(&play.lock);
    if (play.refuse_appends > 0) {
        play.refuse_appends--;
        pthread_mutex_unlock(&play.lock);
        return LOG_QUEUE_FULL;
    }
    play.appended++;
    bool keep = play.keep_acks;
    if (keep) {
        assert_true(play.append_count < 64);
        play.appends[play.append_count++] = (struct waiting_append){records[0].partition, done, args[0]};
    }
    play.unacked[records[0].partition] -= !keep;
    pthread_mutex_unlock(&play.lock);
    if (!keep)
        done(args[0], LOG_OK, 0, 0);
    return LOG_OK;
}

static inline int reader_open(struct event_log *log, enum log_topic topic, const char *name, struct log_reader **out,
                              struct err *e);

static inline int log_join(struct event_log *log, const struct log_group_options *o, struct err *e)
{
    (void)log, (void)o, (void)e;
    return 0;
}

static const struct event_log_ops own_ops = {
    .append = log_append, .begin = log_begin, .end = log_end, .ready = log_ready, .reader_open = reader_open};
static const struct event_log_ops shared_ops = {.append = log_append,
                                                .begin = log_begin,
                                                .end = log_end,
                                                .ask_ends = log_ask_ends,
                                                .ready = log_ready,
                                                .reader_open = reader_open,
                                                .join = log_join};

static inline void reader_close(struct log_reader *r)
{
    free(r);
}

static inline int reader_seek(struct log_reader *base, uint32_t partition, int64_t offset)
{
    struct reader *r = (struct reader *)base;
    int status = 0;

    pthread_mutex_lock(&play.lock);
    if (play.fail_seeks > 0) {
        play.fail_seeks--;
        status = -EAGAIN;
    } else if (offset < play.begin[partition] || offset > play.end[partition]) {
        status = LOG_READ_GAP;
        play.end[partition] += play.grows_by;
    } else {
        r->place[partition] = play.sought[partition] = offset;
        play.seeks[partition]++;
    }
    pthread_mutex_unlock(&play.lock);
    return status;
}

static inline int reader_read(struct log_reader *base, uint32_t partition, struct log_record *out, size_t max,
                              size_t max_bytes, struct err *e)
{
    struct reader *r = (struct reader *)base;
    int n = 0;

    assert_true(max_bytes > 0);
    pthread_mutex_lock(&play.lock);
    if (play.fail_reads > 0) {
        play.fail_reads--;
        play.failed_reads++;
        pthread_mutex_unlock(&play.lock);
        err_set(e, "the disk does not read");
        return -EIO;
    }
    if (play.stale_reads > 0 || r->place[partition] < play.begin[partition]) {
        play.stale_reads -= play.stale_reads > 0;
        pthread_mutex_unlock(&play.lock);
        err_set(e, "retention has taken the place");
        return -ESTALE;
    }
    while ((size_t)n < max && n < 10 && r->place[partition] < play.end[partition]) {
        int64_t offset = r->place[partition]++;
        if (offset != play.skip_at)
            out[n++] = (struct log_record){
                .offset = offset, .key = STR_LIT("k"), .value = buf_str(&play.event), .time = offset};
    }
    pthread_mutex_unlock(&play.lock);
    return n;
}

static inline void reader_wait(struct log_reader *base, const uint32_t *partitions, size_t n, int64_t ms)
{
    struct reader *r = (struct reader *)base;
    struct timespec until;

    assert_true(ms > 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&play.lock);
    for (int status = 0; status == 0 && !r->woken;) {
        bool more = false;
        for (size_t i = 0; i < n; i++)
            more |= r->place[partitions[i]] < play.end[partitions[i]];
        if (more)
            break;
        status = pthread_cond_timedwait(&play.changed, &play.lock, &until);
    }
    r->woken = false;
    pthread_mutex_unlock(&play.lock);
}

static inline void reader_wake(struct log_reader *base)
{
    pthread_mutex_lock(&play.lock);
    ((struct reader *)base)->woken = true;
    pthread_cond_broadcast(&play.changed);
    pthread_mutex_unlock(&play.lock);
}

static inline int reader_commit(struct log_reader *r, uint32_t partition, int64_t offset, struct err *e)
{
    (void)r, (void)e;
    pthread_mutex_lock(&play.lock);
    assert_true(offset + play.base[partition] <= play.disk[partition]);
    play.released[partition] = offset;
    pthread_mutex_unlock(&play.lock);
    return 0;
}

static const struct log_reader_ops reader_ops = {.close = reader_close,
                                                 .seek = reader_seek,
                                                 .read = reader_read,
                                                 .wait = reader_wait,
                                                 .wake = reader_wake,
                                                 .commit = reader_commit};

static inline int reader_open(struct event_log *log, enum log_topic topic, const char *name, struct log_reader **out,
                              struct err *e)
{
    (void)log, (void)e;
    assert_int_equal(topic, LOG_EVENTS);
    assert_string_equal(name, "profiler");
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->base.ops = &reader_ops;
    *out = &r->base;
    return 0;
}

#endif
