/* Webhooks: start, stop, and the thread that reads, posts and writes down what was delivered. */
#include "profiler/webhooks.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cond.h"
#include "profiler/webhooks_inside.h"

#define TICK_MS 200  /* between looks at the log when nobody says that there is more */
#define WRITE_MS 500 /* between two writes of the places */
#define WRITE_AGAIN_MS 5000
#define ARENA_BYTES (16 * MIB)

void hook_id(const struct webhooks *w, uint32_t partition, int64_t offset, char out[WEBHOOK_ID_BYTES])
{
    const char *prefix = w->o.conf->topic_prefix;

    snprintf(out, WEBHOOK_ID_BYTES, "evt_%saudiences-%u-%lld", prefix ? prefix : "", partition, (long long)offset);
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static bool take_answers(struct webhooks *w, bool stopping)
{
    pthread_mutex_lock(&w->lock);
    struct hook_call *c = w->answered;
    w->answered = NULL;
    pthread_mutex_unlock(&w->lock);
    bool any = c != NULL;
    while (c) {
        struct hook_call *next = c->next;
        struct hook *h = c->hook;

        hook_answered(c, stopping);
        hook_figures(h);
        c = next;
    }
    return any;
}

static void write_places(struct webhooks *w, int64_t now)
{
    struct err e = {0};

    if (!w->dirty || now < w->write_at)
        return;
    w->dirty = places_save(w, &e) != 0;
    w->write_at = now + (w->dirty ? WRITE_AGAIN_MS : WRITE_MS);
    if (w->dirty)
        log_limited(&w->limit, LOG_ERROR, "webhooks: what was delivered cannot be written down: %s; trying again",
                    e.text);
}

/* When to look again. */
static int64_t go_round(struct webhooks *w)
{
    int64_t now = clock_monotonic(), next = now + TICK_MS;

    for (size_t i = 0; i < w->hook_count; i++) {
        struct hook *h = &w->hooks[i];
        bool more = hook_read(h);
        int64_t at = hook_send(h, clock_monotonic());

        hook_figures(h);
        next = more ? now : at < next ? at : next;
    }
    write_places(w, now);
    return w->dirty && w->write_at < next ? w->write_at : next;
}

static bool is_calling(const struct webhooks *w)
{
    unsigned n = 0;

    for (size_t i = 0; i < w->hook_count; i++)
        n += w->hooks[i].under_way;
    return n > 0;
}

/* Waits for answers that are under way. */
static void come_to_end(struct webhooks *w)
{
    while (is_calling(w) && clock_monotonic() < w->stop_at) {
        if (take_answers(w, true))
            continue;
        struct timespec until = cond_at(w->stop_at);
        pthread_mutex_lock(&w->lock);
        if (!w->answered)
            pthread_cond_timedwait(&w->cond, &w->lock, &until);
        pthread_mutex_unlock(&w->lock);
    }
}

static void *webhooks_main(void *arg)
{
    struct webhooks *w = arg;
    bool stopping = false;

    while (!stopping) {
        take_answers(w, false);
        int64_t next = go_round(w);
        struct timespec until = cond_at(next);

        pthread_mutex_lock(&w->lock);
        while (!w->woken && !w->stopping && clock_monotonic() < next)
            pthread_cond_timedwait(&w->cond, &w->lock, &until);
        w->woken = false;
        stopping = w->stopping;
        pthread_mutex_unlock(&w->lock);
    }
    come_to_end(w);
    return NULL;
}

/* --- figures ------------------------------------------------------------------------------------------------------ */

static void write_gauge(struct webhooks *w, struct buf *out, const char *name, const char *help,
                        double (*of)(const struct hook *h))
{
    char labels[128];

    stats_gauge_head(out, name, help);
    for (size_t i = 0; i < w->hook_count; i++) {
        snprintf(labels, sizeof labels, "hook=\"%s\"", w->hooks[i].conf->name);
        stats_gauge_line(out, name, labels, of(&w->hooks[i]));
    }
}

static double waiting(const struct hook *h)
{
    return (double)atomic_load(&h->waiting);
}

static double behind(const struct hook *h)
{
    int64_t oldest = atomic_load(&h->oldest), now = clock_now();

    return oldest == TIME_NONE || oldest > now ? 0 : (double)(now - oldest) / 1000;
}

static double off(const struct hook *h)
{
    return atomic_load(&h->is_off);
}

static void write_gauges(struct buf *out, void *arg)
{
    struct webhooks *w = arg;

    write_gauge(w, out, "waymark_webhook_waiting", "Changes that were read and are not delivered yet, 256 at most",
                waiting);
    write_gauge(w, out, "waymark_webhook_behind_seconds", "Age of the oldest change that is not delivered yet", behind);
    write_gauge(w, out, "waymark_webhook_off", "Whether the hook answered 410 and is left alone until the next start",
                off);
}

static void count(struct webhooks *w)
{
    static const char *const results[] = {[HOOK_DELIVERED] = "delivered",
                                          [HOOK_FAILED] = "failed",
                                          [HOOK_GIVEN_UP] = "given_up",
                                          [HOOK_LEFT_OUT] = "left_out",
                                          [HOOK_LOST] = "lost"};
    char labels[160];

    for (size_t i = 0; i < w->hook_count; i++)
        for (size_t k = 0; k < HOOK_RESULTS; k++) {
            snprintf(labels, sizeof labels, "hook=\"%s\",result=\"%s\"", w->hooks[i].conf->name, results[k]);
            w->hooks[i].results[k] =
                stats_counter(w->o.stats, "waymark_webhook_deliveries_total", labels,
                              "Changes by what became of them, and tries that failed, which are made again");
        }
    stats_add_gauges(w->o.stats, write_gauges, w);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void warn_of_personal(const struct webhooks *w, const struct conf_webhook *c)
{
    for (size_t i = 0; i < c->trait_count && !c->pii; i++)
        if (w->o.conf->vocabulary && traits_personal(w->o.conf->vocabulary, str_of(c->traits[i])))
            log_warn("webhook %s: the trait %s is personal and is left out: `pii` is not true", c->name, c->traits[i]);
}

/* Who has the secrets can say to the other side what they like. */
static void warn_of_readers(const struct webhooks *w)
{
    struct stat st;

    if (w->o.conf->file && stat(w->o.conf->file, &st) == 0 && (st.st_mode & S_IROTH))
        log_warn("webhooks: %s holds their secrets and everybody on this machine may read it", w->o.conf->file);
}

static int make_hooks(struct webhooks *w)
{
    const struct conf_profiler *conf = &w->o.conf->profiler;

    warn_of_readers(w);
    w->hooks = calloc(conf->webhook_count, sizeof *w->hooks);
    if (!w->hooks)
        return -ENOMEM;
    for (size_t i = 0; i < conf->webhook_count; i++) {
        struct hook *h = &w->hooks[w->hook_count];

        h->lanes = calloc(w->partitions, sizeof *h->lanes);
        if (!h->lanes)
            return -ENOMEM;
        h->w = w;
        h->conf = &conf->webhooks[i];
        atomic_store(&h->oldest, TIME_NONE);
        w->hook_count++;
        warn_of_personal(w, h->conf);
    }
    return 0;
}

/* On a log of our own a hook that was not there before begins here, and not when a partition is shown first, by which
 * time there may be changes. */
static void begin_here(struct webhooks *w)
{
    for (size_t i = 0; i < w->hook_count && !event_log_shared(w->o.log); i++)
        for (uint32_t p = 0; p < w->partitions; p++) {
            struct hook_lane *l = &w->hooks[i].lanes[p];

            if (l->known)
                continue;
            l->next = event_log_end(w->o.log, LOG_AUDIENCES, p);
            l->known = w->dirty = true;
        }
}

/* Nobody knows what was delivered. */
static void begin_again(struct webhooks *w, const struct err *e)
{
    log_error("webhooks: %s; what is a day old at most is told again", e->text);
    w->forgot = w->dirty = true;
    for (size_t i = 0; i < w->hook_count; i++)
        for (uint32_t p = 0; p < w->partitions; p++) {
            struct hook_lane *l = &w->hooks[i].lanes[p];

            hook_lane_forget(l);
            *l = (struct hook_lane){.known = true, .next = event_log_begin(w->o.log, LOG_AUDIENCES, p)};
        }
}

static int make_folder(const char *path, struct err *e)
{
    int rc = mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -errno;

    if (rc != 0)
        err_set(e, "cannot make the folder %.200s: %s", path, strerror(-rc));
    return rc;
}

static int start(struct webhooks *w, struct err *e)
{
    int rc = make_hooks(w);

    if (rc == 0)
        rc = make_folder(w->o.path, e);
    if (rc == 0)
        rc = places_load(w, e);
    if (rc == -EBADMSG) {
        begin_again(w, e);
        rc = 0;
    }
    if (rc == 0)
        begin_here(w);
    if (rc == 0)
        rc = forward_start(&w->forward, e);
    if (rc == 0) {
        count(w);
        rc = -pthread_create(&w->thread, NULL, webhooks_main, w);
    }
    w->started = rc == 0;
    if (w->started)
        pthread_setname_np(w->thread, "webhooks");
    return rc;
}

int webhooks_start(const struct webhooks_options *o, struct webhooks **out, struct err *e)
{
    *out = NULL;
    if (o->conf->profiler.webhook_count == 0)
        return 0;
    struct webhooks *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->o = *o;
    snprintf(w->folder, sizeof w->folder, "%s", o->path);
    w->o.path = w->folder;
    w->partitions = o->conf->partitions;
    pthread_mutex_init(&w->lock, NULL);
    cond_init(&w->cond);
    arena_init(&w->arena, ARENA_BYTES);
    int rc = start(w, e);
    if (rc != 0) {
        webhooks_stop(w, 0);
        webhooks_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void webhooks_wake(struct webhooks *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->woken = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

/* Ends calls that are under way; what they would have said is not known. */
static void end_calls(struct webhooks *w)
{
    struct err e = {0};

    if (w->forward)
        forward_stop(w->forward);
    take_answers(w, true);
    if (w->dirty && places_save(w, &e) != 0)
        log_error("webhooks: what was delivered cannot be written down: %s", e.text);
    forward_free(w->forward);
    w->forward = NULL;
}

void webhooks_stop(struct webhooks *w, int64_t ms)
{
    if (!w)
        return;
    if (w->started) {
        pthread_mutex_lock(&w->lock);
        w->stop_at = clock_monotonic() + ms;
        w->stopping = true;
        pthread_cond_signal(&w->cond);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
        w->started = false;
    }
    end_calls(w);
    for (size_t i = 0; i < w->hook_count; i++) {
        if (w->hooks[i].reader)
            log_reader_close(w->hooks[i].reader);
        w->hooks[i].reader = NULL;
    }
}

static void hook_free(struct hook *h, uint32_t partitions)
{
    while (h->item_count > 0)
        hook_item_free(h->items[--h->item_count]);
    for (uint32_t p = 0; p < partitions; p++)
        hook_lane_forget(&h->lanes[p]);
    free(h->lanes);
}

void webhooks_free(struct webhooks *w)
{
    if (!w)
        return;
    assert(!w->started);
    for (size_t i = 0; i < w->hook_count; i++)
        hook_free(&w->hooks[i], w->partitions);
    free(w->hooks);
    arena_deinit(&w->arena);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->cond);
    free(w);
}
