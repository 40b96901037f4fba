/* An event log of the tests' own, which acks, delays, fails and refuses as it is told. A thread of its own reports, as
 * that of a real one does; closing reports all that is owed. Unless
 * `uncounted`, what it keeps is counted by the number in the first eight bytes of a value. */
#ifndef WAYMARK_FAKE_LOG_H
#define WAYMARK_FAKE_LOG_H

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/event_log_inside.h"

#define FAKE_IDS (1 << 20)
#define FAKE_NEVER INT64_MAX

/* What becomes of the records of an append. */
struct fake_fate {
    enum log_status refuse; /* LOG_OK: it is taken */
    enum log_status report;
    int64_t delay; /* ms to the report; FAKE_NEVER: when the log is closed or `fake_release` is called */
    bool kept;     /* though the report says otherwise */
};

struct fake_owed {
    struct fake_owed *next;
    struct fake_fate fate;
    int64_t due;
    log_done *done;
    void *arg;
    enum log_by by;
    enum log_topic topic;
    struct log_record record; /* into `bytes` */
    char bytes[];
};

struct fake_log {
    struct event_log base;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    struct fake_fate fate;
    /* When set, gives the fate of each append; under the lock. */
    struct fake_fate (*choose)(void *arg, enum log_by by);
    void *choose_arg;
    void (*keep)(void *arg, uint64_t id); /* told of each record that is kept, before its appender; may be NULL */
    void *keep_arg;
    bool uncounted;
    size_t largest;        /* value that fits; 0: any */
    bool largest_reported; /* it is said by the report, not at once */
    struct fake_owed *owed;
    size_t owed_count;
    bool closing;
    int64_t next; /* offset */
    uint64_t tried[LOG_BYS], kept[LOG_BYS];
    unsigned char seen[LOG_TOPICS][FAKE_IDS]; /* up to 255 */
    struct log_record last;                   /* kept: kind, time, and */
    char last_key[64];
};

static inline uint64_t fake_id(const struct log_record *r)
{
    uint64_t id;

    assert(r->value.n >= sizeof id);
    memcpy(&id, r->value.p, sizeof id);
    assert(id < FAKE_IDS);
    return id;
}

static inline void fake_keep(struct fake_log *l, const struct fake_owed *o)
{
    if (!l->uncounted && l->seen[o->topic][fake_id(&o->record)] < 255)
        l->seen[o->topic][fake_id(&o->record)]++;
    l->kept[o->by]++;
    if (l->keep)
        l->keep(l->keep_arg, fake_id(&o->record));
    l->last = o->record;
    size_t n = o->record.key.n < sizeof l->last_key - 1 ? o->record.key.n : sizeof l->last_key - 1;
    memcpy(l->last_key, o->record.key.p, n);
    l->last_key[n] = '\0';
}

/* With the lock held, which is let go meanwhile. */
static inline void fake_report(struct fake_log *l, struct fake_owed *o)
{
    int64_t offset = -1;

    if (o->fate.report == LOG_OK || o->fate.kept)
        fake_keep(l, o);
    if (o->fate.report == LOG_OK)
        offset = l->next++;
    pthread_mutex_unlock(&l->lock);
    o->done(o->arg, o->fate.report, 0, offset);
    free(o);
    pthread_mutex_lock(&l->lock);
    l->owed_count--;
    pthread_cond_broadcast(&l->changed);
}

/* Takes the first that is due. */
static inline struct fake_owed *fake_take(struct fake_log *l, int64_t now, int64_t *next)
{
    *next = FAKE_NEVER;
    for (struct fake_owed **p = &l->owed; *p; p = &(*p)->next) {
        struct fake_owed *o = *p;

        if (o->due > now && !l->closing) {
            if (o->due < *next)
                *next = o->due;
            continue;
        }
        *p = o->next;
        if (l->closing && o->due > now)
            o->fate.report = LOG_STOPPED;
        return o;
    }
    return NULL;
}

static inline void *fake_main(void *arg)
{
    struct fake_log *l = arg;
    int64_t next;

    pthread_mutex_lock(&l->lock);
    for (;;) {
        struct fake_owed *o = fake_take(l, clock_monotonic(), &next);
        struct timespec t = {next / 1000, next % 1000 * 1000000};

        if (o)
            fake_report(l, o);
        else if (l->closing)
            break;
        else if (next == FAKE_NEVER)
            pthread_cond_wait(&l->changed, &l->lock);
        else
            pthread_cond_timedwait(&l->changed, &l->lock, &t);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static inline void fake_owe(struct fake_log *l, struct fake_fate fate, enum log_topic topic, enum log_by by,
                            const struct log_record *r, log_done *done, void *arg)
{
    struct fake_owed *o = malloc(sizeof *o + r->key.n + r->value.n), **end = &l->owed;

    assert(o);
    *o = (struct fake_owed){.fate = fate, .done = done, .arg = arg, .by = by, .topic = topic, .record = *r};
    o->due = fate.delay == FAKE_NEVER ? FAKE_NEVER : clock_monotonic() + fate.delay;
    o->record.key.p = o->bytes;
    o->record.value.p = o->bytes + r->key.n;
    if (r->key.n)
        memcpy(o->bytes, r->key.p, r->key.n);
    memcpy(o->bytes + r->key.n, r->value.p, r->value.n);
    while (*end)
        end = &(*end)->next;
    *end = o;
    l->owed_count++;
}

static inline enum log_status fake_append(struct event_log *seam, enum log_topic topic, enum log_by by,
                                          const struct log_record *records, size_t n, log_done *done, void *const *args)
{
    struct fake_log *l = (struct fake_log *)seam;
    enum log_status status = LOG_OK;

    pthread_mutex_lock(&l->lock);
    struct fake_fate fate = l->choose ? l->choose(l->choose_arg, by) : l->fate;
    l->tried[by] += n;
    status = l->closing ? LOG_STOPPED : fate.refuse;
    for (size_t i = 0; i < n && status == LOG_OK; i++)
        if (l->largest && records[i].value.n > l->largest && !l->largest_reported)
            status = LOG_TOO_LARGE;
    for (size_t i = 0; i < n && status == LOG_OK; i++) {
        struct fake_fate own = fate;
        if (l->largest && records[i].value.n > l->largest)
            own = (struct fake_fate){.report = LOG_TOO_LARGE};
        fake_owe(l, own, topic, by, &records[i], done, args[i]);
    }
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    return status;
}

static inline uint32_t fake_partitions(const struct event_log *seam, enum log_topic topic)
{
    (void)seam, (void)topic;
    return 1;
}

static inline uint64_t fake_appends(struct event_log *seam, enum log_by by)
{
    struct fake_log *l = (struct fake_log *)seam;

    pthread_mutex_lock(&l->lock);
    uint64_t n = l->kept[by];
    pthread_mutex_unlock(&l->lock);
    return n;
}

static inline enum log_status fake_ready(struct event_log *seam)
{
    struct fake_log *l = (struct fake_log *)seam;

    pthread_mutex_lock(&l->lock);
    enum log_status s = l->fate.refuse;
    pthread_mutex_unlock(&l->lock);
    return s;
}

static inline void fake_close(struct event_log *seam)
{
    struct fake_log *l = (struct fake_log *)seam;

    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    assert(!l->owed && l->owed_count == 0);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static const struct event_log_ops fake_ops = {.close = fake_close,
                                              .append = fake_append,
                                              .partitions = fake_partitions,
                                              .appends = fake_appends,
                                              .ready = fake_ready};

static inline struct fake_log *fake_new(void)
{
    struct fake_log *l = calloc(1, sizeof *l);

    assert(l);
    l->base.ops = &fake_ops;
    pthread_mutex_init(&l->lock, NULL);
    cond_init(&l->changed);
    int r = pthread_create(&l->thread, NULL, fake_main, l);
    assert(r == 0);
    (void)r;
    return l;
}

/* From now on. */
static inline void fake_set(struct fake_log *l, struct fake_fate fate)
{
    pthread_mutex_lock(&l->lock);
    l->fate = fate;
    l->choose = NULL;
    pthread_mutex_unlock(&l->lock);
}

/* Reports at once, in the given way, all that is owed. */
static inline void fake_release(struct fake_log *l, enum log_status report)
{
    pthread_mutex_lock(&l->lock);
    for (struct fake_owed *o = l->owed; o; o = o->next) {
        o->due = 0;
        o->fate.report = report;
    }
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

static inline uint64_t fake_tried(struct fake_log *l, enum log_by by)
{
    pthread_mutex_lock(&l->lock);
    uint64_t n = l->tried[by];
    pthread_mutex_unlock(&l->lock);
    return n;
}

static inline unsigned fake_seen(struct fake_log *l, enum log_topic topic, uint64_t id)
{
    pthread_mutex_lock(&l->lock);
    unsigned n = l->seen[topic][id];
    pthread_mutex_unlock(&l->lock);
    return n;
}

#endif
