/* The cache's life, and what it counts. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/cond.h"
#include "profiler/cache_inside.h"

/* --- figures */

static void make_figures(struct cache *c, struct stats *stats)
{
    static const char *const reads[CACHE_RESULTS] = {"result=\"hit\"", "result=\"miss\"", "result=\"error\"",
                                                     "result=\"late\""};
    static const char *const fills[FILL_RESULTS] = {"result=\"taken\"", "result=\"changed\"", "result=\"dropped\""};
    struct cache_figures *f = &c->figures;

    if (!stats)
        stats = f->own = stats_new();
    for (int i = 0; i < CACHE_RESULTS; i++)
        f->reads[i] =
            stats_counter(stats, "waymark_cache_reads_total", reads[i],
                          "Look-ups at Redis: hit, miss (no copy to believe), error, late (no answer in time).");
    for (int i = 0; i < FILL_RESULTS; i++)
        f->fills[i] = stats_counter(
            stats, "waymark_cache_fills_total", fills[i],
            "Copies of profiles that were missed: taken, changed meanwhile, dropped (no lease, or a full queue).");
    f->generations = stats_counter(stats, "waymark_cache_generations_total", NULL,
                                   "Generations begun: one for each partition and connection to Redis.");
    f->unconfirmed =
        stats_counter(stats, "waymark_cache_deletes_unconfirmed_total", NULL,
                      "Batches whose deletes Redis did not confirm in time: shown when the lease was over.");
    f->copies = stats_counter(stats, "waymark_cache_copies_total", NULL, "Copies of profiles sent to Redis.");
    f->dropped = stats_counter(stats, "waymark_cache_copies_dropped_total", NULL,
                               "Copies not sent because too much waited for Redis.");
    f->refused =
        stats_counter(stats, "waymark_cache_refused_total", NULL, "Leases and copies that Redis had no memory for.");
}

/* A gauge of the cache; on the thread that reads the figures. */
static void write_gauges(struct buf *out, void *arg)
{
    struct cache *c = arg;
    uint32_t leased = 0;

    pthread_mutex_lock(&c->reader.lock);
    bool reads = c->reader.up;
    size_t asked = c->reader.asked;
    pthread_mutex_unlock(&c->reader.lock);

    pthread_mutex_lock(&c->lock);
    const struct cache_writer *w = &c->writer;
    bool writes = w->up;
    size_t bytes = w->pending.n + w->sending;
    uint64_t commands = w->queued - w->answered;
    int64_t now = clock_boot();
    for (uint32_t p = 0; p < c->partitions; p++)
        leased += c->tenures[p].live && c->tenures[p].lease_over > now;
    pthread_mutex_unlock(&c->lock);

    stats_gauge_head(out, "waymark_cache_connected", "1 while there is a connection to Redis for this use.");
    stats_gauge_line(out, "waymark_cache_connected", "use=\"read\"", reads);
    stats_gauge_line(out, "waymark_cache_connected", "use=\"write\"", writes);
    stats_gauge_head(out, "waymark_cache_leased_partitions", "Partitions whose copies may be believed now.");
    stats_gauge_line(out, "waymark_cache_leased_partitions", NULL, leased);
    stats_gauge_head(out, "waymark_cache_queue_bytes", "Commands that wait to be sent to Redis.");
    stats_gauge_line(out, "waymark_cache_queue_bytes", NULL, (double)bytes);
    stats_gauge_head(out, "waymark_cache_queue_commands", "Commands that Redis has not answered.");
    stats_gauge_line(out, "waymark_cache_queue_commands", NULL, (double)commands);
    stats_gauge_head(out, "waymark_cache_questions", "Look-ups that wait for Redis.");
    stats_gauge_line(out, "waymark_cache_questions", NULL, (double)asked);
}

/* --- life */

static void make_locks(struct cache *c)
{
    cond_init(&c->confirmed);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->reader.lock, NULL);
}

static int make_fds(struct cache *c, struct err *e)
{
    c->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->writer.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->reader.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->stop_fd >= 0 && c->writer.wake_fd >= 0 && c->reader.wake_fd >= 0)
        return 0;
    int result = -errno;
    err_set(e, "cache: %s", strerror(errno));
    return result;
}

static int make_targets(struct cache *c, struct err *e)
{
    int result = redis_target_new(c->conf, &c->writer.link.target, e);

    if (result == 0)
        result = redis_target_new(c->conf, &c->reader.link.target, e);
    c->writer.link.use = "write";
    c->reader.link.use = "read";
    if (result == 0 && strlen(c->conf->prefix) > LIMIT_CACHE_PREFIX) {
        err_set(e, "redis.prefix is longer than %d bytes", LIMIT_CACHE_PREFIX);
        result = -EINVAL;
    }
    return result;
}

/* Tells the threads to end and waits for them. */
static bool end_threads(struct cache *c, int64_t ms)
{
    struct timespec until = cond_in(ms);
    int error = 0;

    atomic_store(&c->stopping, true);
    cache_wake(c->stop_fd);
    pthread_mutex_lock(&c->lock);
    while (c->running > 0 && error == 0)
        error = pthread_cond_timedwait(&c->confirmed, &c->lock, &until);
    bool ended = c->running == 0;
    pthread_mutex_unlock(&c->lock);
    return ended;
}

static int start_threads(struct cache *c, struct err *e)
{
    int error;

    c->running = 2;
    error = pthread_create(&c->writer.thread, NULL, cache_writer_run, c);
    if (error != 0) {
        c->running = 0;
    } else if ((error = pthread_create(&c->reader.thread, NULL, cache_reader_run, c)) != 0) {
        cache_thread_ends(c); /* the one that never began */
        end_threads(c, LIMIT_CACHE_CONNECT_MS);
        pthread_join(c->writer.thread, NULL);
    }
    if (error != 0)
        err_set(e, "cache: %s", strerror(error));
    return -error;
}

bool cache_shop(const struct cache *c, char digits[SHOP_DIGITS + 1])
{
    uint64_t number = c->shop ? c->shop(c->arg) : 0;

    snprintf(digits, SHOP_DIGITS + 1, "%08x", (unsigned)(number ^ number >> 32));
    return !c->shop || number != 0;
}

int cache_start(const struct cache_options *o, struct cache **out, struct err *e)
{
    struct cache *c = calloc(1, sizeof *c);

    if (!c)
        return -ENOMEM;
    assert(o->redis->url && o->redis->prefix && o->partitions > 0 && o->partitions <= LIMIT_PARTITIONS);
    c->conf = o->redis;
    c->partitions = o->partitions;
    c->shop = o->shop;
    c->tags = o->tags;
    c->arg = o->arg;
    c->confirm_ms = LIMIT_CACHE_CONFIRM_MS;
    c->read_ms = LIMIT_CACHE_READ_MS;
    c->reader.last = &c->reader.first;
    c->stop_fd = c->writer.wake_fd = c->reader.wake_fd = -1;
    buf_init(&c->writer.pending, LIMIT_CACHE_QUEUE_BYTES);
    make_locks(c);
    c->tenures = calloc(c->partitions, sizeof *c->tenures);
    int result = c->tenures ? make_fds(c, e) : -ENOMEM;
    if (result == 0)
        result = make_targets(c, e);
    if (result == 0) {
        make_figures(c, o->stats);
        result = start_threads(c, e);
    }
    if (result < 0) {
        cache_free(c);
        return result;
    }
    if (o->stats)
        stats_add_gauges(o->stats, write_gauges, c);
    *out = c;
    return 0;
}

void cache_stop(struct cache *c, int64_t ms)
{
    if (c->ended)
        return;
    if (!end_threads(c, ms)) {
        log_warn("cache: a thread did not end in time");
        return;
    }
    pthread_join(c->reader.thread, NULL);
    pthread_join(c->writer.thread, NULL);
    c->ended = true;
}

void cache_free(struct cache *c)
{
    if (!c || c->running > 0) /* a thread that did not end still uses it */
        return;
    for (uint32_t p = 0; c->tenures && p < c->partitions; p++)
        if (c->tenures[p].changing)
            changes_end(&c->changes, &c->tenures[p].set);
    redis_target_free(c->writer.link.target);
    redis_target_free(c->reader.link.target);
    for (size_t i = 0; i < 3; i++) {
        int fd = i == 0 ? c->stop_fd : i == 1 ? c->writer.wake_fd : c->reader.wake_fd;
        if (fd >= 0)
            close(fd);
    }
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->reader.lock);
    pthread_cond_destroy(&c->confirmed);
    buf_deinit(&c->writer.pending);
    stats_free(c->figures.own);
    free(c->tenures);
    free(c);
}
