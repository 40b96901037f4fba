/* The thread that looks after the file of tags and the cut points of quintiles. The lock is held for the time of taking
 * a pointer only; `making` while cut points are made. */
#include "profiler/tag_keeper.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/cuts.h"
#include "profiler/tag_keeper_inside.h"

#define LOOK_MS 1000
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
        log_lines(LOG_ERROR, "profiler: ", errors.p, errors.n);
        log_lines(LOG_WARN, "profiler: ", warnings.p, warnings.n);
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

    k->seen = file_look(k->conf->tags_file);
    bool news = !file_look_same(&before, &k->seen);
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
    struct file_look now = file_look(k->conf->tags_file);
    if (again)
        k->seen = (struct file_look){0}; /* so that it is said what became of it */
    if (again || k->seen.fresh || !file_look_same(&now, &k->seen))
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
        k->seen = file_look(conf->tags_file);
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
