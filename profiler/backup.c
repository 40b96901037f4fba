/* The thread that makes backups, and what asks it to. What others see of it is under its lock. */
#include "profiler/backup.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/backup_make.h"
#include "profiler/checkpoint.h"

#define RETRY_MS (10 * TIME_MINUTE) /* after a scheduled one failed, or the interval if that is less */
#define NICE 10
#define SUMMARY_BYTES (1 * MIB)

struct job {
    char name[LIMIT_BACKUP_NAME + 1];
    bool scheduled;
    backup_done *done; /* NULL: nobody waits */
    void *arg;
};

struct backups {
    struct backups_options o;
    char folder[COPY_PATH_BYTES];
    pthread_t thread;
    bool started; /* the thread */
    pthread_mutex_t lock;
    pthread_cond_t asked;
    _Atomic bool stopping;
    bool running;   /* [lock] a job is there */
    struct job job; /* [lock] while not running; then the thread's */
    int64_t due;    /* [thread] monotonic, of the next by the clock; TIME_NONE: never */
    _Atomic uint64_t bytes, bytes_to_do;
    _Atomic int64_t last_at; /* wall ms of the last whole one; 0: none yet */
    _Atomic uint64_t last_bytes;
    struct stats_counter *made, *failures;
};

/* --- one ------------------------------------------------------------------------------------------------------ */

static bool goes_on(void *arg, uint64_t bytes)
{
    struct backups *b = arg;

    atomic_fetch_add(&b->bytes, bytes);
    return !atomic_load(&b->stopping);
}

struct made {
    struct backups *b;
    struct buf summary;
};

static void whole(void *arg, const struct manifest *m)
{
    struct made *out = arg;
    struct backups *b = out->b;

    manifest_write_summary(m, b->job.name, &out->summary);
    atomic_store(&b->last_at, m->made_at);
    atomic_store(&b->last_bytes, manifest_bytes(m));
}

/* Who is told may ask for another one at once. */
static void end_job(struct backups *b, int rc, struct str summary, const struct err *why)
{
    struct job job = b->job;

    pthread_mutex_lock(&b->lock);
    b->running = false;
    pthread_mutex_unlock(&b->lock);
    if (job.done)
        job.done(job.arg, rc, summary, why);
}

/* Somebody's mistake, or the end of the program, is no failure. */
static void say_end(const struct backups *b, int rc, int64_t ms, const struct err *e)
{
    if (rc == 0)
        log_info("profiler: backup %s/%s is whole: %llu bytes, %lld ms", b->folder, b->job.name,
                 (unsigned long long)atomic_load(&b->last_bytes), (long long)ms);
    else
        log_line(rc == -EEXIST || rc == -ECANCELED ? LOG_INFO : LOG_ERROR, "profiler: backup %s/%s was not made: %s",
                 b->folder, b->job.name, e->text);
    if (b->o.stats && rc != -EEXIST && rc != -ECANCELED)
        stats_add(rc == 0 ? b->made : b->failures, 1);
}

static void run(struct backups *b)
{
    struct made out = {.b = b};
    struct err e = {0};
    struct backup_order order = {.state = b->o.state,
                                 .options = b->o.state_options,
                                 .folder = b->folder,
                                 .name = b->job.name,
                                 .instance = b->o.instance,
                                 .event_log = b->o.conf->kafka ? "kafka" : "embedded",
                                 .topic_prefix = b->o.conf->kafka ? b->o.conf->topic_prefix : "",
                                 .scheduled = b->job.scheduled,
                                 .reserve_bytes = b->o.conf->log.reserve_bytes,
                                 .progress = {goes_on, b},
                                 .bytes_to_do = &b->bytes_to_do};
    int64_t began = clock_monotonic();
    int rc;

    buf_init(&out.summary, SUMMARY_BYTES);
    atomic_store(&b->bytes, 0);
    atomic_store(&b->bytes_to_do, 0);
    rc = atomic_load(&b->stopping) ? -ECANCELED : backup_make(&order, whole, &out, &e);
    if (rc < 0 && !e.text[0])
        err_set(&e, "%s", rc == -ECANCELED ? "the program ends" : strerror(-rc));
    say_end(b, rc, clock_monotonic() - began, &e);
    end_job(b, rc, buf_str(&out.summary), &e);
    buf_deinit(&out.summary);
}

/* --- by the clock --------------------------------------------------------------------------------------------- */

/* The folders of ours that the clock made. */
struct ours {
    const struct backups *b;
    struct {
        int64_t made_at;
        char name[LIMIT_BACKUP_NAME + 1];
    } * v;
    size_t n, cap;
};

static int note_ours(void *arg, const char *path, const struct manifest *m, const struct err *why)
{
    struct ours *o = arg;
    const char *name = strrchr(path, '/') + 1;
    size_t folder = strlen(o->b->folder);

    (void)why;
    if (!m || !m->scheduled || strcmp(m->instance, o->b->o.instance) != 0 || strlen(name) > LIMIT_BACKUP_NAME ||
        strncmp(path, o->b->folder, folder) != 0 || path + folder + 1 != name)
        return 0;
    if (o->n == o->cap) {
        size_t cap = o->cap ? 2 * o->cap : 16;
        void *more = realloc(o->v, cap * sizeof *o->v);

        if (!more)
            return -ENOMEM;
        o->v = more;
        o->cap = cap;
    }
    o->v[o->n].made_at = m->made_at;
    snprintf(o->v[o->n++].name, sizeof o->v->name, "%s", name);
    return 0;
}

static int youngest_first(const void *a, const void *b)
{
    const int64_t *x = a, *y = b; /* both begin with the time */

    return (*x < *y) - (*x > *y);
}

static int find_ours(const struct backups *b, struct ours *out)
{
    struct err e = {0};

    *out = (struct ours){.b = b};
    int rc = checkpoint_each(b->folder, note_ours, out, &e);
    if (rc < 0)
        log_warn("profiler: %s", e.text);
    if (out->n > 1)
        qsort(out->v, out->n, sizeof *out->v, youngest_first);
    return rc;
}

static void remove_old(const struct backups *b)
{
    struct ours ours;

    if (find_ours(b, &ours) == 0)
        for (size_t i = b->o.conf->profiler.backup_keep; i < ours.n; i++) {
            struct err e = {0};

            if (backup_remove(b->folder, ours.v[i].name, &e) < 0)
                log_warn("profiler: an old backup stays: %s", e.text);
            else
                log_info("profiler: the old backup %s/%s was removed", b->folder, ours.v[i].name);
        }
    free(ours.v);
}

/* So that a start neither makes one at once nor puts off the next. */
static int64_t first_due(const struct backups *b)
{
    int64_t interval = b->o.conf->profiler.backup_interval_ms, wait = 0;
    struct ours ours;

    if (interval == 0)
        return TIME_NONE;
    if (find_ours(b, &ours) == 0 && ours.n > 0)
        wait = ours.v[0].made_at + interval - clock_now();
    free(ours.v);
    /* The wall clock may have been anything. */
    return clock_monotonic() + (wait < 0 ? 0 : wait > interval ? interval : wait);
}

static void time_name(char *to)
{
    struct buf b;

    buf_init(&b, LIMIT_BACKUP_NAME);
    time_write(&b, clock_now());
    size_t n = 0;
    for (size_t i = 0; i < b.n; i++) /* 2026-01-31T235959.123Z */
        if (b.p[i] != ':')
            to[n++] = b.p[i];
    to[n] = '\0';
    buf_deinit(&b);
}

/* --- the thread ----------------------------------------------------------------------------------------------- */

static void wait_until(struct backups *b, int64_t due)
{
    struct timespec until = cond_at(due);

    if (due == TIME_NONE)
        pthread_cond_wait(&b->asked, &b->lock);
    else
        pthread_cond_timedwait(&b->asked, &b->lock, &until);
}

/* With the lock. Whether there is a job; false: the end. */
static bool next_job(struct backups *b)
{
    while (!b->running && !atomic_load(&b->stopping)) {
        if (b->due != TIME_NONE && clock_monotonic() >= b->due) {
            b->job = (struct job){.scheduled = true};
            time_name(b->job.name);
            b->running = true;
        } else {
            wait_until(b, b->due);
        }
    }
    return b->running;
}

static void after_scheduled(struct backups *b, int64_t began)
{
    int64_t interval = b->o.conf->profiler.backup_interval_ms;
    bool made = atomic_load(&b->last_at) >= began;

    b->due = clock_monotonic() + (made || interval < RETRY_MS ? interval : RETRY_MS);
    if (made)
        remove_old(b);
}

static void *backups_main(void *arg)
{
    struct backups *b = arg;

    /* This thread only; folding and look-ups go first. */
    setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    backup_tidy(b->folder);
    b->due = first_due(b);
    pthread_mutex_lock(&b->lock);
    while (next_job(b)) {
        bool scheduled = b->job.scheduled;
        int64_t began = clock_now();

        pthread_mutex_unlock(&b->lock);
        run(b);
        if (scheduled)
            after_scheduled(b, began);
        pthread_mutex_lock(&b->lock);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static void write_gauges(struct buf *out, void *arg)
{
    struct backups *b = arg;
    struct backups_progress p;

    backups_progress(b, &p);
    stats_gauge_head(out, "waymark_backup_running", "Whether a backup is being made");
    stats_gauge_line(out, "waymark_backup_running", NULL, p.running);
    stats_gauge_head(out, "waymark_backup_last_success_timestamp_seconds",
                     "When the last backup of this process was made; 0: none yet");
    stats_gauge_line(out, "waymark_backup_last_success_timestamp_seconds", NULL,
                     (double)atomic_load(&b->last_at) / 1000);
    stats_gauge_head(out, "waymark_backup_last_size_bytes", "Size of that backup");
    stats_gauge_line(out, "waymark_backup_last_size_bytes", NULL, (double)atomic_load(&b->last_bytes));
}

static void count(struct backups *b)
{
    static const char name[] = "waymark_backups_total", help[] = "Backups made, and those that failed";

    b->made = stats_counter(b->o.stats, name, "outcome=\"made\"", help);
    b->failures = stats_counter(b->o.stats, name, "outcome=\"failed\"", help);
    stats_add_gauges(b->o.stats, write_gauges, b);
}

static int place(struct backups *b, struct err *e)
{
    const char *folder = b->o.conf->profiler.backups;
    char links[COPY_PATH_BYTES];

    if (copy_path(links, b->o.state_options->path, BACKUP_LINKS, NULL) == 0)
        copy_remove(links);
    if (b->o.conf->kafka)
        return copy_path(b->folder, folder, b->o.instance, e);
    if (snprintf(b->folder, sizeof b->folder, "%s", folder) < (int)sizeof b->folder)
        return 0;
    err_set(e, "the path of the backups is too long");
    return -ENAMETOOLONG;
}

int backups_start(const struct backups_options *o, struct backups **out, struct err *e)
{
    struct backups *b = calloc(1, sizeof *b);
    int rc;

    if (!b)
        return -ENOMEM;
    b->o = *o;
    pthread_mutex_init(&b->lock, NULL);
    cond_init(&b->asked);
    rc = place(b, e);
    if (rc == 0 && o->stats)
        count(b);
    if (rc == 0)
        rc = -pthread_create(&b->thread, NULL, backups_main, b);
    b->started = rc == 0;
    if (rc < 0) {
        backups_stop(b);
        return rc;
    }
    *out = b;
    return 0;
}

void backups_stop(struct backups *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    atomic_store(&b->stopping, true);
    pthread_cond_signal(&b->asked);
    pthread_mutex_unlock(&b->lock);
    if (b->started)
        pthread_join(b->thread, NULL);
    pthread_cond_destroy(&b->asked);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

/* --- asking --------------------------------------------------------------------------------------------------- */

const char *backups_folder(const struct backups *b)
{
    return b->folder;
}

enum backups_answer backups_begin(struct backups *b, struct str name, backup_done *done, void *arg)
{
    enum backups_answer answer = BACKUPS_BEGUN;
    struct job job = {.done = done, .arg = arg};

    assert(done);
    if (str_has(name) && !backup_name_valid(name))
        return BACKUPS_BAD_NAME;
    if (str_has(name))
        memcpy(job.name, name.p, name.n);
    else
        time_name(job.name);
    pthread_mutex_lock(&b->lock);
    if (atomic_load(&b->stopping))
        answer = BACKUPS_STOPPED;
    else if (b->running)
        answer = BACKUPS_BUSY;
    if (answer == BACKUPS_BEGUN) {
        b->job = job;
        b->running = true;
        pthread_cond_signal(&b->asked);
    }
    pthread_mutex_unlock(&b->lock);
    return answer;
}

void backups_progress(struct backups *b, struct backups_progress *out)
{
    pthread_mutex_lock(&b->lock);
    out->running = b->running;
    pthread_mutex_unlock(&b->lock);
    out->bytes = out->running ? atomic_load(&b->bytes) : 0;
    out->bytes_to_do = out->running ? atomic_load(&b->bytes_to_do) : 0;
}
