/* Exports: the queue, the thread that makes them one after another, what is kept of them and for how long. What others
 * see is under the lock, which is not held while one is made. */
#include "profiler/exports.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cond.h"
#include "common/disk.h"
#include "common/json.h"
#include "common/log.h"
#include "profiler/exports_inside.h"

#define TICK_MS 1000
#define NICE 5
#define DEAF_MS (10 * TIME_MINUTE) /* a profiler that starts has no people for a while */
#define KEY_FILE "people.key"

static const char erased_why[] = "somebody was erased who may have been in it";

/* --- ending ---------------------------------------------------------------------------------------------------- */

void exports_save(struct exports *x, struct export_entry *n)
{
    struct err e = {0};

    if (entry_save(x->folder, n, &e) < 0)
        log_error("profiler: the record of export %s could not be written: %s", n->id, e.text);
}

static void remove_file(struct exports *x, struct export_entry *n, const char *extension)
{
    char path[COPY_PATH_BYTES];

    if (entry_path(x->folder, n, extension, path) && unlink(path) != 0 && errno != ENOENT)
        log_error("profiler: %s cannot be removed: %s", path, strerror(errno));
}

/* The file goes; what is said of it stays. [lock] */
static void take_back(struct exports *x, struct export_entry *n, enum entry_state state, const char *why)
{
    remove_file(x, n, export_extension(n->kind));
    n->state = state;
    snprintf(n->error, sizeof n->error, "%s", why);
    if (!delta_is_told(n))
        delta_drop(x, n);
    exports_save(x, n);
}

static void forget(struct exports *x, struct export_entry **at)
{
    struct export_entry *n = *at;

    delta_drop(x, n);
    remove_file(x, n, export_extension(n->kind));
    remove_file(x, n, "json");
    *at = n->next;
    entry_free(n);
}

/* [lock] */
static void expire(struct exports *x)
{
    int64_t before = clock_now() - x->o.conf->profiler.exports_keep_ms;
    size_t kept = 0;

    for (struct export_entry **at = &x->entries; *at;) {
        struct export_entry *n = *at;
        bool over = n->state != ENTRY_WAITING && (n->ended_at < before || kept >= LIMIT_EXPORTS);

        if (over && n->state == ENTRY_DONE)
            take_back(x, n, ENTRY_EXPIRED, "it was kept as long as exports are kept");
        if (over && (!n->has_sent || kept >= LIMIT_EXPORTS)) {
            forget(x, at);
            continue;
        }
        kept++;
        at = &n->next;
    }
}

static void take_over(struct export_entry *n, struct export_made *made)
{
    n->bytes = made->bytes;
    n->head = made->head;
    n->removals = made->removals;
    n->manifest = made->manifest.failed ? NULL : strndup(made->manifest.p, made->manifest.n);
}

/* [lock] */
static void conclude(struct exports *x, struct export_entry *n, int rc, struct export_made *made, const struct err *e)
{
    n->ended_at = clock_now();
    if (rc == 0)
        take_over(n, made);
    if (rc == 0 && !n->manifest)
        rc = -ENOMEM;
    n->state = rc == 0 ? ENTRY_DONE : ENTRY_FAILED;
    n->has_sent = rc == 0 && n->delta[0];
    free(n->request);
    n->request = NULL;
    if (rc < 0) {
        snprintf(n->error, sizeof n->error, "%s", e->text[0] ? e->text : strerror(-rc));
        remove_file(x, n, export_extension(n->kind));
        remove_file(x, n, "sent");
        log_warn("profiler: export %s of %s failed: %s", n->id, n->audience, n->error);
    }
    stats_add(rc == 0 ? x->made : x->failures, 1);
    exports_save(x, n);
}

void exports_give_up(struct exports *x, struct export_entry *n, const char *why)
{
    struct err e;

    if (n == x->running) {
        atomic_store(&x->halt, true);
        return;
    }
    err_set(&e, "%s", why);
    n->held_until = 0;
    conclude(x, n, -ECANCELED, NULL, &e);
}

/* Whoever asked for a part does not speak of it any more. [lock] */
static void give_up_held(struct exports *x)
{
    for (struct export_entry *n = x->entries; n; n = n->next)
        if (n->state == ENTRY_WAITING && n->held_until && clock_monotonic() >= n->held_until)
            exports_give_up(x, n, "another profiler did not take its part of it");
}

/* Somebody was erased at another profiler who may be in a file of ours. [lock] */
static bool is_lost(const struct exports *x, const struct export_entry *n)
{
    for (uint32_t p = 0; p < n->place_count && p < x->o.partitions; p++)
        if (n->places[p] >= 0 && n->places[p] < x->lost[p])
            return true;
    return false;
}

/* [lock] */
static void take_back_lost(struct exports *x)
{
    x->lost_more = false;
    for (struct export_entry *n = x->entries; n; n = n->next)
        if (n->state == ENTRY_DONE && is_lost(x, n))
            take_back(x, n, ENTRY_ERASED, erased_why);
}

/* Whoever has people is told of every erasure. A profiler that has none any more is not, and keeps no files. [lock] */
static void take_back_deaf(struct exports *x)
{
    bool deaf = x->o.elsewhere != NULL;

    for (uint32_t p = 0; deaf && p < x->o.partitions; p++)
        deaf = x->o.elsewhere(x->o.arg, p);
    if (!deaf)
        x->deaf_since = 0;
    else if (!x->deaf_since)
        x->deaf_since = clock_monotonic();
    if (!deaf || clock_monotonic() - x->deaf_since < DEAF_MS)
        return;
    for (struct export_entry *n = x->entries; n; n = n->next)
        if (n->state == ENTRY_DONE)
            take_back(x, n, ENTRY_EXPIRED, "its profiler has no people any more, and would not hear of erasures");
}

/* --- the thread ------------------------------------------------------------------------------------------------ */

/* The oldest that waits. [lock] */
static struct export_entry *next_job(const struct exports *x)
{
    struct export_entry *job = NULL;

    for (struct export_entry *n = x->entries; n; n = n->next)
        if (n->state == ENTRY_WAITING && !n->held_until)
            job = n;
    return job;
}

/* As far as each partition was folded. [lock] */
static void keep_places(const struct exports *x, struct export_entry *n, struct export_made *made)
{
    free(n->places);
    n->places = made->places;
    n->place_count = made->places ? x->o.partitions : 0;
    made->places = NULL;
}

/* With the lock, given up meanwhile. What was stopped by an erasure, or by the end of the program, waits on. */
static void run(struct exports *x, struct export_entry *n)
{
    const struct export_entry *base = delta_base(x, n);
    char sent[COPY_PATH_BYTES], based_on[EXPORT_ID_BYTES];
    struct export_made made = {.bytes = 0};
    struct err e = {0};

    if (base && !entry_path(x->folder, base, "sent", sent))
        base = NULL;
    snprintf(based_on, sizeof based_on, "%s", base ? base->id : n->base);
    buf_init(&made.manifest, LIMIT_EXPORT_MANIFEST);
    x->running = n;
    x->again = false;
    atomic_store(&x->halt, x->stopping);
    pthread_mutex_unlock(&x->lock);
    int rc = exports_run(x, n, base ? sent : NULL, based_on[0] ? based_on : NULL, &made, &e);
    pthread_mutex_lock(&x->lock);
    x->running = NULL;
    keep_places(x, n, &made);
    if (rc == 0 && is_lost(x, n))
        x->again = true;
    if (x->again || (rc == -ECANCELED && x->stopping)) {
        remove_file(x, n, export_extension(n->kind));
        remove_file(x, n, "sent");
    } else {
        conclude(x, n, rc, &made, &e);
    }
    buf_deinit(&made.manifest);
    pthread_cond_broadcast(&x->rested);
}

static void *exports_main(void *arg)
{
    struct exports *x = arg;

    setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    pthread_mutex_lock(&x->lock);
    while (!x->stopping) {
        if (x->lost_more)
            take_back_lost(x);
        give_up_held(x);
        take_back_deaf(x);
        struct export_entry *n = next_job(x);

        expire(x);
        if (n) {
            run(x, n);
        } else if (!x->lost_more) {
            struct timespec until = cond_in(TICK_MS);

            pthread_cond_timedwait(&x->asked, &x->lock, &until);
        }
    }
    pthread_mutex_unlock(&x->lock);
    return NULL;
}

/* --- life ------------------------------------------------------------------------------------------------------ */

static void write_gauges(struct buf *out, void *arg)
{
    struct exports *x = arg;
    unsigned waiting = 0;
    double bytes = 0;

    pthread_mutex_lock(&x->lock);
    for (const struct export_entry *n = x->entries; n; n = n->next) {
        waiting += n->state == ENTRY_WAITING;
        bytes += n->state == ENTRY_DONE ? (double)n->bytes : 0;
    }
    bool running = x->running != NULL;
    pthread_mutex_unlock(&x->lock);
    stats_gauge_head(out, "waymark_export_running", "Whether an export is being made");
    stats_gauge_line(out, "waymark_export_running", NULL, running);
    stats_gauge_head(out, "waymark_export_waiting", "Exports that are asked for and not over");
    stats_gauge_line(out, "waymark_export_waiting", NULL, waiting);
    stats_gauge_head(out, "waymark_export_kept_bytes", "Size of the files that can be fetched");
    stats_gauge_line(out, "waymark_export_kept_bytes", NULL, bytes);
}

static void count(struct exports *x)
{
    static const char name[] = "waymark_exports_total", help[] = "Exports made, and those that failed";

    x->made = stats_counter(x->o.stats, name, "outcome=\"made\"", help);
    x->failures = stats_counter(x->o.stats, name, "outcome=\"failed\"", help);
    x->rows = stats_counter(x->o.stats, "waymark_export_rows_total", NULL, "Rows written into exports");
    x->file_bytes = stats_counter(x->o.stats, "waymark_export_bytes_total", NULL, "Bytes written into exports");
    stats_add_gauges(x->o.stats, write_gauges, x);
}

/* The key by which people are known in what is kept; made once. */
static int take_key(struct exports *x, struct err *e)
{
    char path[COPY_PATH_BYTES], unused[EXPORT_HEX + 1];
    struct export_file f = {.fd = -1};
    int rc = copy_path(path, x->folder, KEY_FILE, e);
    int fd = rc == 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

    if (fd >= 0) {
        ssize_t n = read(fd, x->key, sizeof x->key);

        close(fd);
        if (n == (ssize_t)sizeof x->key)
            return 0;
        err_set(e, "%.200s is damaged: remove it, and deltas begin anew", path);
        return -EBADMSG;
    }
    export_random(x->key, sizeof x->key);
    if (rc == 0)
        rc = export_file_begin(&f, x->folder, ".ex_key", 0, e);
    if (rc == 0) {
        buf_add(export_file_out(&f), x->key, sizeof x->key);
        rc = export_file_end(&f, unused, e);
    }
    if (rc == 0)
        rc = copy_rename(f.path, path, e);
    export_file_drop(&f);
    return rc;
}

static int open_folder(struct exports *x, struct err *e)
{
    if (snprintf(x->folder, sizeof x->folder, "%s", x->o.path) >= (int)sizeof x->folder)
        return -ENAMETOOLONG;
    if (mkdir(x->folder, 0700) != 0 && errno != EEXIST) {
        int rc = -errno;

        err_set(e, "cannot make the folder %.180s: %s", x->folder, strerror(-rc));
        return rc;
    }
    int rc = entries_load(x->folder, &x->entries, e);
    return rc == 0 ? take_key(x, e) : rc;
}

int exports_start(const struct exports_options *o, struct exports **out, struct err *e)
{
    struct exports *x = calloc(1, sizeof *x);

    if (!x)
        return -ENOMEM;
    x->o = *o;
    pthread_mutex_init(&x->lock, NULL);
    cond_init(&x->asked);
    cond_init(&x->rested);
    x->lost = calloc(o->partitions, sizeof *x->lost);
    int rc = x->lost ? open_folder(x, e) : -ENOMEM;
    if (rc == 0) {
        count(x);
        rc = -pthread_create(&x->thread, NULL, exports_main, x);
    }
    x->started = rc == 0;
    if (rc < 0) {
        exports_stop(x);
        exports_free(x);
        return rc;
    }
    *out = x;
    return 0;
}

void exports_stop(struct exports *x)
{
    if (!x)
        return;
    pthread_mutex_lock(&x->lock);
    x->stopping = true;
    atomic_store(&x->halt, true);
    atomic_store(&x->ending, true);
    pthread_cond_broadcast(&x->asked);
    while (x->reports > 0)
        pthread_cond_wait(&x->rested, &x->lock);
    pthread_mutex_unlock(&x->lock);
    if (x->started)
        pthread_join(x->thread, NULL);
    x->started = false;
}

void exports_free(struct exports *x)
{
    if (!x)
        return;
    assert(!x->started);
    while (x->entries) {
        struct export_entry *n = x->entries;

        x->entries = n->next;
        entry_free(n);
    }
    pthread_cond_destroy(&x->asked);
    pthread_cond_destroy(&x->rested);
    pthread_mutex_destroy(&x->lock);
    free(x->lost);
    free(x);
}

/* --- erasure --------------------------------------------------------------------------------------------------- */

void exports_erase(struct exports *x)
{
    pthread_mutex_lock(&x->lock);
    for (struct export_entry *n = x->entries; n; n = n->next)
        if (n->state == ENTRY_DONE)
            take_back(x, n, ENTRY_ERASED, erased_why);
    if (x->running) {
        x->again = true;
        atomic_store(&x->halt, true);
    }
    while (x->running && x->again && x->started)
        pthread_cond_wait(&x->rested, &x->lock);
    pthread_mutex_unlock(&x->lock);
}

bool exports_clean(struct exports *x, uint32_t partition, int64_t place)
{
    bool clean = true;

    assert(partition < x->o.partitions);
    pthread_mutex_lock(&x->lock);
    for (const struct export_entry *n = x->entries; n && clean; n = n->next)
        clean = n->state != ENTRY_DONE || partition >= n->place_count || n->places[partition] < 0 ||
                n->places[partition] >= place;
    if (place > x->lost[partition]) {
        x->lost[partition] = place;
        x->again = x->again || x->running;
        if (x->again)
            atomic_store(&x->halt, true);
    }
    if (!clean) {
        x->lost_more = true;
        pthread_cond_signal(&x->asked);
    }
    clean = clean && !(x->running && x->again);
    pthread_mutex_unlock(&x->lock);
    return clean;
}
