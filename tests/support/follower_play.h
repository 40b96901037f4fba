/* A log, a state, a cache and backups that are played, so that each can fail, for the tests of the followers. */
#ifndef WAYMARK_TESTS_FOLLOWER_PLAY_H
#define WAYMARK_TESTS_FOLLOWER_PLAY_H

#include "tests/support/follower_play_log.h"

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

int state_forget(struct state *s, uint32_t partition, struct err *e)
{
    int r = 0;

    (void)s;
    pthread_mutex_lock(&play.lock);
    play.forgot_early |= play.uncommitted[partition] > 0 || play.unacked[partition] > 0 || play.stint[partition] != 0;
    if (play.fail_forgets > 0) {
        play.fail_forgets--;
        err_set(e, "the disk is full");
        r = -ENOSPC;
    } else {
        play.offset[partition] = play.began[partition] = play.disk[partition] = play.base[partition] = 0;
        play.forgotten[partition]++;
    }
    pthread_mutex_unlock(&play.lock);
    return r;
}

void state_catch_up(struct state *s, uint32_t partition, int64_t offset)
{
    (void)s;
    (void)partition;
    (void)offset;
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

uint64_t state_profile_events(struct state *s, uint32_t partition, struct str id)
{
    (void)s, (void)partition, (void)id;
    pthread_mutex_lock(&play.lock);
    uint64_t n = play.events;
    pthread_mutex_unlock(&play.lock);
    return n;
}

void profile_write(const struct fold_rules *r, struct buf *b, const struct state_profile *p, struct str tags)
{
    (void)r;
    (void)tags;
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
    pthread_mutex_lock(&play.lock);
    bool wants = play.wants;
    pthread_mutex_unlock(&play.lock);
    return wants;
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

/* They end in time, by themselves. */
static inline void finish(struct followers *f)
{
    assert_int_equal(followers_finish(f, PATIENCE_MS), 0);
    followers_free(f);
}

/* And all is on disk, nothing of it before what follows from it was acked. */
static inline void finish_on_disk(struct followers *f)
{
    finish(f);
    assert_false(play.too_early);
    expect_all_on_disk();
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
