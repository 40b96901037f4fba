/* The thread that looks after the file of tags and the cut points of quintiles. The lock is held for the time of taking
 * a pointer only; `making` while cut points are made. */
#include "profiler/tag_keeper.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/cuts.h"
#include "profiler/tag_keeper_inside.h"

#define LOOK_MS 1000
#define FRESH_MS 2000 /* a file younger than that may change without showing it */
#define ERRORS_BYTES (64 * KIB)

/* --- the set ---------------------------------------------------------------------------------------------------- */

struct tags *tag_keeper_set(struct tag_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    struct tags *t = tags_ref(k->set);
    pthread_mutex_unlock(&k->lock);
    return t;
}

static void set_replace(struct tag_keeper *k, struct tags *t)
{
    pthread_mutex_lock(&k->lock);
    struct tags *old = k->set;
    k->set = t;
    pthread_mutex_unlock(&k->lock);
    tags_unref(old);
}

/* --- the file --------------------------------------------------------------------------------------------------- */

static int64_t milliseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct file_look look_at(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return (struct file_look){0};
    int64_t age = clock_now() - milliseconds(st.st_mtim);
    return (struct file_look){.there = true,
                              .fresh = age < FRESH_MS && age > -FRESH_MS,
                              .written = st.st_mtim,
                              .changed = st.st_ctim,
                              .size = st.st_size,
                              .inode = st.st_ino,
                              .device = st.st_dev};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Leaves out `fresh`: that is about the moment of looking. */
static bool same_look(const struct file_look *a, const struct file_look *b)
{
    return a->there == b->there && same_time(a->written, b->written) && same_time(a->changed, b->changed) &&
           a->size == b->size && a->inode == b->inode && a->device == b->device;
}

/* Each line as one of the operators' log. */
static void say_lines(struct buf *lines, bool error)
{
    struct str rest = buf_str(lines);

    while (rest.n > 0) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t n = end ? (size_t)(end - rest.p) : rest.n;
        if (error)
            log_error("profiler: %.*s", (int)n, rest.p);
        else
            log_warn("profiler: %.*s", (int)n, rest.p);
        n += end != NULL;
        rest = (struct str){rest.p + n, rest.n - n};
    }
}

/* NULL when it is bad. `news`: what is to be said of it is said. */
static struct tags *read_set(struct tag_keeper *k, bool news, struct err *e)
{
    struct buf errors, warnings;
    struct tags *t = NULL;

    buf_init(&errors, ERRORS_BYTES);
    buf_init(&warnings, ERRORS_BYTES);
    int r = tags_load(k->conf->tags_file, k->traits, &t, &errors, &warnings);
    if (r != 0)
        err_set(e, "%.*s", (int)strcspn(errors.p ? errors.p : "", "\n"), errors.p ? errors.p : "");
    if (news) {
        say_lines(&errors, true);
        say_lines(&warnings, false);
    }
    buf_deinit(&errors);
    buf_deinit(&warnings);
    return r == 0 ? t : NULL;
}

/* Another set is everybody's at once; one that means the same replaces the words only. */
static void use_set(struct tag_keeper *k, struct tags *t)
{
    struct tags *was = tag_keeper_set(k);
    bool other = tags_version(was) != tags_version(t);

    tags_unref(was);
    log_info("profiler: %s was read: %zu tags%s", k->conf->tags_file, tags_count(t),
             other ? "; everybody is judged by them" : ", which mean what they meant");
    atomic_store(&k->count, tags_count(t));
    set_replace(k, t);
    audiences_retag(k->parts.audiences, t);
}

static void take_file(struct tag_keeper *k)
{
    struct file_look before = k->seen;
    struct err e;

    k->seen = look_at(k->conf->tags_file);
    bool news = !same_look(&before, &k->seen);
    struct tags *t = read_set(k, news, &e);
    atomic_store(&k->good, t != NULL);
    if (t && news) {
        stats_add(k->taken, 1);
        use_set(k, t);
    } else if (t) {
        tags_unref(t);
    } else if (news) {
        stats_add(k->refused, 1);
        log_error("profiler: %s has a mistake: the tags of before go on to count", k->conf->tags_file);
    }
}

static void look_after_file(struct tag_keeper *k, bool again)
{
    if (!k->conf->tags_file)
        return;
    struct file_look now = look_at(k->conf->tags_file);
    if (again)
        k->seen = (struct file_look){0}; /* so that it is said what became of it */
    if (again || k->seen.fresh || !same_look(&now, &k->seen))
        take_file(k);
}

/* --- the thread ------------------------------------------------------------------------------------------------- */

/* Until the next look. False: the thread is to end. */
static bool rest(struct tag_keeper *k, bool *again)
{
    struct timespec until = cond_in(LOOK_MS);
    int status = 0;

    pthread_mutex_lock(&k->lock);
    while (!k->stopping && !k->again && status == 0)
        status = pthread_cond_timedwait(&k->cond, &k->lock, &until);
    bool go_on = !k->stopping;
    *again = k->again;
    k->again = false;
    pthread_mutex_unlock(&k->lock);
    return go_on;
}

static void *look_after(void *arg)
{
    struct tag_keeper *k = arg;
    bool again;

    while (rest(k, &again)) {
        look_after_file(k, again);
        cuts_look_after(k);
    }
    return NULL;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void write_gauges(struct buf *out, void *arg)
{
    const struct tag_keeper *k = arg;

    stats_gauge_head(out, "waymark_tags", "Tags that are given.");
    stats_gauge_line(out, "waymark_tags", NULL, (double)atomic_load(&k->count));
    stats_gauge_head(out, "waymark_tags_file_good",
                     "1 when profiler.tags as it is counts, or there is none; 0 when it has a mistake.");
    stats_gauge_line(out, "waymark_tags_file_good", NULL, atomic_load(&k->good));
    stats_gauge_head(out, "waymark_cuts_made_timestamp_seconds",
                     "When the cut points of quintiles were made that count; 0: there are none.");
    stats_gauge_line(out, "waymark_cuts_made_timestamp_seconds", NULL, (double)atomic_load(&k->made_at) / 1000);
}

static void add_figures(struct tag_keeper *k, struct stats *stats)
{
    static const char reloads[] =
        "Times that profiler.tags had changed and was read: taken, or refused with a mistake, "
        "when the tags of before go on to count.";
    static const char cuts[] = "Times that cut points of quintiles were made, or could not be.";

    k->taken = stats_counter(stats, "waymark_tags_reloads_total", "result=\"taken\"", reloads);
    k->refused = stats_counter(stats, "waymark_tags_reloads_total", "result=\"refused\"", reloads);
    k->made = stats_counter(stats, "waymark_cuts_total", "result=\"made\"", cuts);
    k->failed = stats_counter(stats, "waymark_cuts_total", "result=\"failed\"", cuts);
    stats_add_gauges(stats, write_gauges, k);
}

int tag_keeper_start(const struct conf_profiler *conf, const struct vocabulary *traits, struct stats *stats,
                     struct tag_keeper **out, struct err *e)
{
    struct tag_keeper *k = calloc(1, sizeof *k);

    if (!k)
        return -ENOMEM;
    k->conf = conf;
    k->traits = traits;
    pthread_mutex_init(&k->lock, NULL);
    pthread_mutex_init(&k->making, NULL);
    cond_init(&k->cond);
    if (conf->tags_file)
        k->seen = look_at(conf->tags_file);
    k->set = read_set(k, true, e);
    if (!k->set) {
        tag_keeper_free(k);
        return -EINVAL;
    }
    atomic_store(&k->good, 1);
    atomic_store(&k->count, tags_count(k->set));
    add_figures(k, stats);
    *out = k;
    return 0;
}

void tag_keeper_run(struct tag_keeper *k, const struct tag_keeper_parts *parts)
{
    assert(!k->started);
    k->parts = *parts;
    if (!k->parts.now)
        k->parts.now = clock_now;
    cuts_begin(k);
    if (pthread_create(&k->thread, NULL, look_after, k) != 0)
        abort();
    pthread_setname_np(k->thread, "tags");
    k->started = true;
}

void tag_keeper_reload(struct tag_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    k->again = true;
    pthread_cond_signal(&k->cond);
    pthread_mutex_unlock(&k->lock);
}

void tag_keeper_stop(struct tag_keeper *k)
{
    if (!k || !k->started)
        return;
    atomic_store(&k->stop, true); /* of a scan */
    pthread_mutex_lock(&k->lock);
    k->stopping = true;
    pthread_cond_signal(&k->cond);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    k->started = false;
}

void tag_keeper_free(struct tag_keeper *k)
{
    if (!k)
        return;
    assert(!k->started);
    tags_unref(k->set);
    pthread_mutex_destroy(&k->lock);
    pthread_mutex_destroy(&k->making);
    pthread_cond_destroy(&k->cond);
    free(k);
}
