/* A log, a state, a cache and backups that are played, so that each can fail, for the test of the followers. */
#ifndef WAYMARK_TESTS_FOLLOWER_PLAY_H
#define WAYMARK_TESTS_FOLLOWER_PLAY_H

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
    int fail_commits, fail_folds, fail_reads, fail_seeks; /* how many are still to fail */
    int half;                                             /* records that a failing fold takes before it fails */
    bool disorder;                                        /* something was folded that was not next */
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
    bool under_way, folded_early; /* while the cache said no */
    bool wants;
    /* backups */
    int64_t backup; /* the state's offset at which it stands; -1: there is none */
    int64_t backup_base;
    bool damaged; /* it cannot be taken */
    int restores;
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
    play.skip_at = play.backup = -1;
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
    int64_t end = play.end[partition];
    pthread_mutex_unlock(&play.lock);
    return end;
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
    if (r->place[partition] < play.begin[partition]) {
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

/* --- the state ------------------------------------------------------------------------------------------------ */

void state_figures(struct state *s, uint32_t partition, struct state_figures *out)
{
    (void)s;
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&play.lock);
    out->offset = play.offset[partition];
    out->disk_offset = play.disk[partition];
    out->began = play.began[partition];
    out->base = play.base[partition];
    out->outcomes[OUTCOME_FOLDED] = (uint64_t)(play.offset[partition] - play.began[partition]);
    pthread_mutex_unlock(&play.lock);
}

int state_fold(struct state *s, uint32_t partition, const struct log_record *records, size_t n, struct err *e)
{
    int r = STATE_OK;

    (void)s;
    pthread_mutex_lock(&play.lock);
    bool fails = play.fail_folds > 0;
    if (fails && (size_t)play.half < n)
        n = (size_t)play.half;
    play.folded_early |= play.under_way && clock_boot() < play.hold_until;
    for (size_t i = 0; i < n; i++) {
        play.disorder |= records[i].offset != play.offset[partition];
        play.offset[partition] = records[i].offset + 1;
        play.uncommitted[partition]++;
        if (play.poison && records[i].offset % 10 == 0) {
            assert_true(play.emission_count[partition] < 64);
            play.unacked[partition]++;
            play.emissions[partition][play.emission_count[partition]++] = (struct state_emission){
                .topic = LOG_BAD, .record = {.partition = partition, .time = records[i].offset}};
        }
    }
    if (play.move > 0) {
        play.move--;
        play.held[partition] = true;
    }
    if (fails) {
        play.fail_folds--;
        play.failed_folds++;
        err_set(e, "the store does not answer");
        r = -EIO;
    } else if (play.uncommitted[partition] > play.most_uncommitted) {
        r = STATE_COMMIT_DUE;
    }
    /* A batch is ten records: that much over the bound and no more. */
    play.disorder |= play.uncommitted[partition] > play.most_uncommitted + 10;
    pthread_mutex_unlock(&play.lock);
    return r;
}

int state_commit(struct state *s, uint32_t partition, struct err *e)
{
    int r = 0;

    (void)s;
    pthread_mutex_lock(&play.lock);
    if (play.fail_commits > 0) {
        play.fail_commits--;
        play.failed_commits++;
        err_set(e, "the disk is full");
        r = -ENOSPC;
    } else {
        play.too_early |= play.unacked[partition] > 0 || play.held[partition];
        play.disk[partition] = play.offset[partition];
        play.uncommitted[partition] = 0;
        play.commits++;
    }
    pthread_mutex_unlock(&play.lock);
    return r;
}

bool state_dirty(struct state *s, uint32_t partition)
{
    (void)s;
    pthread_mutex_lock(&play.lock);
    bool dirty = play.uncommitted[partition] > 0;
    pthread_mutex_unlock(&play.lock);
    return dirty;
}

void state_begin_at(struct state *s, uint32_t partition, int64_t offset)
{
    (void)s;
    pthread_mutex_lock(&play.lock);
    play.offset[partition] = play.began[partition] = play.disk[partition] = offset;
    pthread_mutex_unlock(&play.lock);
}

bool state_last_event(struct state *s, uint32_t partition, int64_t *offset, struct uid *uid)
{
    (void)s;
    pthread_mutex_lock(&play.lock);
    bool has = play.has_last && play.offset[partition] > 0;
    *offset = play.offset[partition] - 1;
    *uid = play.last_uid;
    pthread_mutex_unlock(&play.lock);
    return has;
}

size_t state_emissions(struct state *s, uint32_t partition, const struct state_emission **out)
{
    (void)s;
    pthread_mutex_lock(&play.lock);
    size_t n = play.emission_count[partition];
    pthread_mutex_unlock(&play.lock);
    *out = play.emissions[partition];
    return n;
}

void state_emissions_taken(struct state *s, uint32_t partition)
{
    (void)s;
    pthread_mutex_lock(&play.lock);
    play.emission_count[partition] = 0;
    pthread_mutex_unlock(&play.lock);
}

size_t state_unannounced(struct state *s, uint32_t partition, const struct str **ids)
{
    static const struct str moved = {"user:m", 6};

    (void)s;
    *ids = &moved;
    pthread_mutex_lock(&play.lock);
    size_t n = play.held[partition];
    pthread_mutex_unlock(&play.lock);
    return n;
}

void state_announced(struct state *s, uint32_t partition)
{
    (void)s;
    pthread_mutex_lock(&play.lock);
    assert_true(play.held[partition] && play.under_way);
    assert_true(clock_boot() >= play.hold_moved_until);
    play.held[partition] = false;
    play.announced++;
    pthread_mutex_unlock(&play.lock);
}

/* The profile of the one key, changed by every record, and the one to which something is moved. */
int state_profile(struct state *s, uint32_t partition, struct str id, struct arena *a, struct state_profile *out,
                  struct err *e)
{
    (void)s, (void)a, (void)e;
    if (!str_is(id, "user:k") && !str_is(id, "user:m"))
        return STATE_NOT_FOUND;
    pthread_mutex_lock(&play.lock);
    assert_false(play.held[partition]);
    *out = (struct state_profile){.id = id, .version = play.offset[partition]};
    pthread_mutex_unlock(&play.lock);
    facts_init(&out->facts);
    return 0;
}

void profile_write(const struct fold_rules *r, struct buf *b, const struct state_profile *p)
{
    (void)r;
    buf_addf(b, "{\"id\":\"%.*s\"}", STR_ARG(p->id));
}

/* --- the cache ------------------------------------------------------------------------------------------------ */

int64_t cache_begin(struct cache *c, uint32_t partition, const struct str *ids, size_t n)
{
    (void)c;
    pthread_mutex_lock(&play.lock);
    bool moved = play.held[partition];
    play.begun++;
    play.under_way = true;
    int64_t until = moved ? play.hold_moved_until : play.hold_until;
    pthread_mutex_unlock(&play.lock);
    assert_int_equal(n, moved ? 1 : 2); /* of however many records of one key */
    assert_true(str_is(ids[0], moved ? "user:m" : "user:k"));
    assert_true(moved || str_is(ids[1], "anon:k"));
    return until;
}

bool cache_wants(struct cache *c, uint32_t partition)
{
    (void)c, (void)partition;
    return play.wants;
}

void cache_end(struct cache *c, uint32_t partition, const struct cache_copy *copies, size_t n)
{
    (void)c;
    pthread_mutex_lock(&play.lock);
    assert_true(play.under_way);
    for (size_t i = 0; i < n; i++) {
        bool moved = str_is(copies[i].id, "user:m");
        assert_true(moved || str_is(copies[i].id, "user:k"));
        assert_int_equal(copies[i].version, play.offset[partition]);
        assert_true(
            str_starts(copies[i].answer, moved ? STR_LIT("{\"id\":\"user:m\"") : STR_LIT("{\"id\":\"user:k\"")));
        play.copied++;
        play.copied_moved += moved;
    }
    play.ended++;
    assert_false(play.held[partition] && n > 0);
    play.under_way = false;
    pthread_mutex_unlock(&play.lock);
}

/* --- helpers -------------------------------------------------------------------------------------------------- */

static inline void shown(void *arg)
{
    (void)arg;
    atomic_fetch_add(&play.shown, 1);
}

static inline uint64_t stint(void *arg, uint32_t partition)
{
    (void)arg;
    pthread_mutex_lock(&play.lock);
    uint64_t now = play.stint[partition];
    pthread_mutex_unlock(&play.lock);
    return now;
}

static inline int restore(void *arg, uint32_t partition, int64_t begin, bool other, struct err *e)
{
    (void)arg;
    pthread_mutex_lock(&play.lock);
    bool there = play.backup - play.backup_base >= begin && play.backup_base >= play.base[partition] + other;
    bool damaged = play.damaged;
    play.restores++;
    if (there && !damaged) {
        play.offset[partition] = play.began[partition] = play.disk[partition] = play.backup;
        play.base[partition] = play.backup_base;
    }
    pthread_mutex_unlock(&play.lock);
    if (there && damaged)
        err_set(e, "a file of it is damaged");
    return !there ? FOLLOWER_NO_BACKUP : damaged ? -EBADMSG : 0;
}

static struct event_log own_log = {&own_ops}, shared_log = {&shared_ops};
static struct fold_rules rules = {.currency = "GBP"};

static inline struct followers *start_with(unsigned threads, int64_t commit_ms, struct cache *cache)
{
    const struct followers_options o = {.log = play.shared ? &shared_log : &own_log,
                                        .partitions = PARTITIONS,
                                        .threads = threads,
                                        .commit_ms = commit_ms,
                                        .cache = cache,
                                        .rules = &rules,
                                        .stint = stint,
                                        .restore = restore,
                                        .shown = shown};
    struct followers *f;

    assert_int_equal(followers_start(&o, &f, NULL), 0);
    return f;
}

static inline struct followers *start(unsigned threads, int64_t commit_ms)
{
    return start_with(threads, commit_ms, NULL);
}

static inline void pause_a_moment(void)
{
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

#define WAIT_FOR(condition)                                                                                            \
    do {                                                                                                               \
        int64_t until_ = clock_monotonic() + PATIENCE_MS;                                                              \
        for (bool met_ = false; !met_;) {                                                                              \
            pthread_mutex_lock(&play.lock);                                                                            \
            met_ = (condition);                                                                                        \
            pthread_mutex_unlock(&play.lock);                                                                          \
            if (clock_monotonic() > until_)                                                                            \
                fail_msg("never: %s", #condition);                                                                     \
            if (!met_)                                                                                                 \
                pause_a_moment();                                                                                      \
        }                                                                                                              \
    } while (0)

static inline void expect_all_on_disk(void)
{
    assert_false(play.disorder);
    for (int p = 0; p < PARTITIONS; p++) {
        assert_int_equal(play.offset[p], play.end[p]);
        assert_int_equal(play.disk[p], play.end[p]);
        assert_int_equal(play.released[p], play.end[p]);
    }
}

static inline void wait_fault(struct followers *f, uint32_t partition, struct err *e)
{
    int64_t until = clock_monotonic() + PATIENCE_MS;

    while (!followers_fault(f, partition, e)) {
        assert_true(clock_monotonic() < until);
        pause_a_moment();
    }
}

static inline void wait_no_fault(struct followers *f, uint32_t partition)
{
    int64_t until = clock_monotonic() + PATIENCE_MS;
    struct err e;

    while (followers_fault(f, partition, &e)) {
        assert_true(clock_monotonic() < until);
        pause_a_moment();
    }
}

static inline void wait_ready(const struct followers *f, uint32_t partition)
{
    int64_t until = clock_monotonic() + PATIENCE_MS;

    while (!followers_ready(f, partition)) {
        assert_true(clock_monotonic() < until);
        pause_a_moment();
    }
}

static inline void wait_shown(const struct followers *f, uint32_t partition, int64_t offset)
{
    int64_t until = clock_monotonic() + PATIENCE_MS;

    while (followers_shown(f, partition) != offset) {
        assert_true(clock_monotonic() < until);
        pause_a_moment();
    }
}

static inline void set(uint64_t *what, uint64_t value)
{
    pthread_mutex_lock(&play.lock);
    *what = value;
    pthread_mutex_unlock(&play.lock);
}

#endif
