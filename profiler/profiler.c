/* The owner of the profiler's parts: makes them in the order of the data's path, takes them down in the same order. The
 * thread of the caller; what the parts ask of each other goes over the small functions here, on their threads. */
#include "profiler/profiler.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/disk.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/process.h"
#include "profiler/address.h"
#include "profiler/api.h"
#include "profiler/audiences.h"
#include "profiler/audit.h"
#include "profiler/backup.h"
#include "profiler/cache.h"
#include "profiler/checkpoint.h"
#include "profiler/eraser.h"
#include "profiler/exports.h"
#include "profiler/follower.h"
#include "profiler/forward.h"
#include "profiler/lookup.h"
#include "profiler/meter.h"
#include "profiler/ownership.h"
#include "profiler/tag_keeper.h"
#include "profiler/webhooks.h"

#define LEAST_PARTITION_BYTES (1 * MIB)
#define STOP_API_MS 5000
#define STOP_AUDIT_MS 5000 /* for records that wait to be written */
#define STOP_CACHE_MS 1000
#define STOP_WEBHOOKS_MS 1000 /* for the answers to calls under way */
#define LEAVE_MS 5000         /* for the group, when the brokers do not answer */

struct profiler {
    struct profiler_settings settings;
    const struct conf *conf;
    struct event_log *log;
    struct stats *stats;
    char instance[LIMIT_LOG_NAME + 1];
    struct state *state;
    struct lookups *lookups;
    struct cache *cache; /* NULL: none */
    struct ownership *ownership;
    struct followers *_Atomic followers; /* NULL at first, when partitions may be given already */
    struct eraser *eraser;
    struct lost *lost; /* NULL: the log is of this process alone */
    struct meter *meter;
    struct disk_gauges disk;
    struct forward *forward; /* NULL: nobody else has the log */
    struct backups *backups;
    struct audit *audit;
    struct tag_keeper *tag_keeper;
    struct audiences *_Atomic audiences; /* NULL at first, when partitions may be shown already */
    struct exports *_Atomic exports;     /* NULL at first, when people may be erased already */
    struct webhooks *_Atomic webhooks;   /* NULL at first, when people may be judged already, or none */
    _Atomic bool erased;                 /* somebody was since the start */
    struct api *api;
    bool joined;
};

/* --- settings ------------------------------------------------------------------------------------------------- */

static uint64_t share(uint64_t bytes, uint32_t partitions)
{
    uint64_t one = bytes / partitions;

    return one < LEAST_PARTITION_BYTES ? LEAST_PARTITION_BYTES : one;
}

static bool has_any_key(const char *folder)
{
    struct seal_key_info one;
    struct err e = {0};
    size_t n;

    return seal_keys_list(folder, &one, 1, &n, &e) == 0 && n > 0;
}

/* On a log of our own who writes to it makes the keys, so without any nothing sealed is there. What others put on Kafka
 * may be sealed, and would be folded past. */
static int open_keys(struct profiler_settings *s, const struct conf *conf, struct err *e)
{
    int r = seal_keys_open(conf->keys, SEAL_PROFILER, &s->keys, e);

    if (r == -ENOENT && !conf->kafka && !has_any_key(conf->keys)) {
        log_warn("profiler: personal values are not folded without keys: %s", e->text);
        s->keys = NULL;
        *e = (struct err){0};
        r = 0;
    }
    if (r == -ENOENT)
        err_prefix(e, "without keys personal values on the log would be folded past");
    s->traits = (struct traits_rules){conf->vocabulary, s->keys, &s->traits_counters};
    return r;
}

/* Several profilers must have the same. On a log of our own it is made when the first event is taken, so that without
 * one nobody was erased. */
static int take_erasure_key(struct profiler_settings *s, const struct conf *conf, struct err *e)
{
    if (s->keys && seal_erasure_key(s->keys, s->erasure_key) == SEAL_OK) {
        s->rules.erasure_key = s->erasure_key;
        return 0;
    }
    if (!conf->kafka)
        return 0;
    err_set(e, "erasure.key is missing in %s: make it once, with `waymark keys init`, and copy it to all profilers",
            conf->keys);
    return -ENOENT;
}

int profiler_settings_init(struct profiler_settings *s, const struct conf *conf, struct err *e)
{
    const struct conf_profiler *p = &conf->profiler;

    memset(s, 0, sizeof *s);
    if (snprintf(s->path, sizeof s->path, "%s/state", conf->data) >= (int)sizeof s->path) {
        err_set(e, "the path of the data folder is too long");
        return -ENAMETOOLONG;
    }
    s->zone = zone_new(conf->timezone);
    if (!s->zone) {
        err_set(e, "there is no time zone %s", conf->timezone);
        return -EINVAL;
    }
    int r = open_keys(s, conf, e);
    if (r != 0) {
        profiler_settings_deinit(s);
        return r;
    }
    s->rules = (struct fold_rules){.session_gap_ms = p->session_gap_ms,
                                   .count_from_paid = p->count_from_paid,
                                   .link_by_order = p->link_by_order,
                                   .max_users_per_device = p->max_users_per_device,
                                   .max_devices_per_user = p->max_devices_per_user,
                                   .zone = s->zone,
                                   .touch_window_ms = p->touch_window_ms,
                                   .payment_hosts = p->payment_hosts,

                                   .payment_host_count = p->payment_host_count,
                                   .traits = &s->traits};
    memcpy(s->rules.currency, conf->currency, sizeof s->rules.currency);
    r = take_erasure_key(s, conf, e);
    if (r != 0) {
        profiler_settings_deinit(s);
        return r;
    }
    s->state = (struct state_options){.path = s->path,
                                      .partitions = conf->partitions,
                                      .rules = &s->rules,
                                      .commit_bytes = share(p->commit_bytes, conf->partitions),
                                      .cache_bytes = share(p->cache_bytes, conf->partitions),
                                      .view_bytes = LIMIT_VIEWS_BYTES,
                                      .keyed = true};
    return 0;
}

void profiler_settings_deinit(struct profiler_settings *s)
{
    zone_free(s->zone);
    seal_keys_free(s->keys);
    s->zone = NULL;
    s->keys = NULL;
}

/* --- what the parts ask of each other ------------------------------------------------------------------------- */

/* Of the followers, on their threads. */
static void more_shown(void *arg)
{
    struct profiler *p = arg;
    struct audiences *a = atomic_load(&p->audiences);

    if (a)
        audiences_wake(a);
    lookups_wake(p->lookups);
}

static uint64_t stint(void *arg, uint32_t partition)
{
    const struct profiler *p = arg;

    return ownership_stint(p->ownership, partition);
}

static int restore(void *arg, uint32_t partition, int64_t log_begin, bool other, struct err *e)
{
    const struct profiler *p = arg;
    struct state_figures own;
    char path[4096];
    int64_t offset;
    struct checkpoint_log log = checkpoint_log_of(p->conf);

    state_figures(p->state, partition, &own);
    int r = checkpoint_find(p->conf->profiler.backups, &log, partition, log_begin, own.base + other, path, sizeof path,
                            &offset, e);
    if (r != 0)
        return r < 0 ? r : FOLLOWER_NO_BACKUP;
    if (offset <= own.offset)
        return FOLLOWER_NO_BACKUP;
    return state_take_partition(p->state, partition, path, e);
}

/* Of the ownership, on its thread and on the log's. */
static int64_t shown(void *arg, uint32_t partition)
{
    const struct profiler *p = arg;
    const struct followers *f = atomic_load(&p->followers);

    return f ? followers_shown(f, partition) : -1;
}

static void changed(void *arg, uint32_t partition)
{
    struct profiler *p = arg;
    struct followers *f = atomic_load(&p->followers);

    if (f)
        followers_wake(f, partition);
    more_shown(p);
}

/* --- starting ------------------------------------------------------------------------------------------------- */

static int make_folder(const char *path, struct err *e)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    int r = -errno;
    err_set(e, "cannot make the folder %s: %s", path, strerror(-r));
    return r;
}

static int check_partitions(const struct conf *conf, const struct event_log *log, struct err *e)
{
    uint32_t have = event_log_partitions(log, LOG_EVENTS);

    if (have == conf->partitions)
        return 0;
    err_set(e, "the event log has %u partitions, the configuration says %u", have, conf->partitions);
    return -EINVAL;
}

/* Of the cache: what tells the shop from others that have their copies in the same Redis. */
static uint64_t shop(void *arg)
{
    struct profiler *p = arg;

    return event_log_identity(p->log);
}

/* Of the cache: what tags in answers are by. */
static uint64_t tags_by(void *arg)
{
    struct profiler *p = arg;
    struct audiences *a = atomic_load(&p->audiences);

    return a ? audiences_tags_by(a) : 0;
}

static bool has_cache(const struct conf *conf)
{
    return conf->redis.url && !conf->profiler.cache_off;
}

static int start_cache(struct profiler *p, struct err *e)
{
    const struct conf_redis *redis = &p->conf->redis;

    if (!has_cache(p->conf))
        return 0;
    return cache_start(&(struct cache_options){.redis = redis,
                                               .partitions = p->conf->partitions,
                                               .stats = p->stats,
                                               .shop = event_log_shared(p->log) ? shop : NULL,
                                               .tags = tags_by,
                                               .arg = p},
                       &p->cache, e);
}

static int start_ownership(struct profiler *p, struct err *e)
{
    return ownership_start(&(struct ownership_options){.log = p->log,
                                                       .cache = p->cache,
                                                       .partitions = p->conf->partitions,
                                                       .instance = p->instance,
                                                       .shown = shown,
                                                       .changed = changed,
                                                       .arg = p},
                           &p->ownership, e);
}

/* Of a follower: the tags in a copy for the cache. */
static bool tags_of(void *arg, uint32_t partition, struct str id, struct buf *out, uint64_t *by, int64_t *until)
{
    struct profiler *p = arg;
    struct audiences *a = atomic_load(&p->audiences);
    struct tags_good good;

    if (!a || audiences_tags(a, partition, id, TIME_NONE, out, &good) != 0 || good.by == 0)
        return false;
    *by = good.by;
    *until = good.until == TIME_NONE ? 0 : good.until;
    return true;
}

static int start_followers(struct profiler *p, struct err *e)
{
    const struct conf_profiler *conf = &p->conf->profiler;
    struct followers *f = NULL;
    int r = followers_start(&(struct followers_options){.log = p->log,
                                                        .state = p->state,
                                                        .partitions = p->conf->partitions,
                                                        .threads = conf->threads,
                                                        .commit_ms = conf->commit_ms,
                                                        .cache = p->cache,
                                                        .rules = &p->settings.rules,
                                                        .stats = p->stats,
                                                        .stint = stint,
                                                        .restore = conf->backups ? restore : NULL,
                                                        .shown = more_shown,
                                                        .tags = tags_of,
                                                        .arg = p},
                            &f, e);

    atomic_store(&p->followers, f);
    return r;
}

/* Of the eraser, on its thread. */
static void commit_soon(void *arg, uint32_t partition)
{
    struct profiler *p = arg;

    followers_commit(p->followers, partition);
}

static bool follows(void *arg, uint32_t partition)
{
    const struct profiler *p = arg;

    return ownership_follows(p->ownership, partition);
}

static void forget(void *arg, uint32_t partition, int64_t below)
{
    struct profiler *p = arg;

    followers_forget(p->followers, partition, below);
}

static int start_lost(struct profiler *p)
{
    if (!event_log_shared(p->log))
        return 0;
    p->lost = lost_new(&(struct lost_options){.log = p->log,
                                              .state = p->state,
                                              .partitions = p->conf->partitions,
                                              .keep_ms = p->conf->profiler.keep_lost_ms,
                                              .follows = follows,
                                              .forget = forget,
                                              .arg = p});
    return p->lost ? 0 : -ENOMEM;
}

static void erased(void *arg)
{
    struct profiler *p = arg;
    atomic_store(&p->erased, true);
    struct exports *x = atomic_load(&p->exports);
    if (x)
        exports_erase(x);
}

/* Who was judged before goes onto the topic of changes, too, before it is walked over. */
static int forget_beside(void *arg, struct err *e)
{
    struct profiler *p = arg;
    struct audiences *a = atomic_load(&p->audiences);

    if (a)
        return audiences_forget(a, e);
    err_set(e, "the audiences are not there yet");
    return -EAGAIN;
}

static int start_eraser(struct profiler *p, struct err *e)
{
    return eraser_start(&(struct eraser_options){.log = p->log,
                                                 .state = p->state,
                                                 .cache = p->cache,
                                                 .lost = p->lost,
                                                 .stats = p->stats,
                                                 .partitions = p->conf->partitions,
                                                 .shown = shown,
                                                 .commit = commit_soon,
                                                 .cleaned = more_shown,
                                                 .erased = erased,
                                                 .beside = forget_beside,
                                                 .arg = p},
                        &p->eraser, e);
}

static void traits_gauges(struct buf *out, void *arg)
{
    const struct profiler *p = arg;
    const struct traits_counters *c = &p->settings.traits_counters;

    stats_gauge_head(out, "waymark_traits_unopened",
                     "Times that the personal part of an event was read and no key opened it, since the start.");
    stats_gauge_line(out, "waymark_traits_unopened", NULL, (double)atomic_load(&c->unopened));
    stats_gauge_head(out, "waymark_traits_unfit",
                     "Values of traits that were read and did not fit their type or a bound, since the start.");
    stats_gauge_line(out, "waymark_traits_unfit", NULL, (double)atomic_load(&c->unfit));
}

/* Of the audiences and what stands beside them, on their threads. */
static bool shows(void *arg, uint32_t partition)
{
    const struct profiler *p = arg;

    return ownership_ask(p->ownership, partition) == OWNERSHIP_SERVES;
}

static void judged(void *arg)
{
    struct profiler *p = arg;

    lookups_wake(p->lookups);
    webhooks_wake(p->webhooks);
}

static int start_tags(struct profiler *p, struct err *e)
{
    return tag_keeper_start(&p->conf->profiler, p->conf->vocabulary, p->stats, &p->tag_keeper, e);
}

static int start_audiences(struct profiler *p, struct err *e)
{
    char path[4096];
    struct audiences *a = NULL;
    struct tags *tags;

    if (snprintf(path, sizeof path, "%s/audiences", p->conf->data) >= (int)sizeof path) {
        err_set(e, "the path of the data folder is too long");
        return -ENAMETOOLONG;
    }
    tags = tag_keeper_set(p->tag_keeper);
    int r = audiences_start(&(struct audiences_options){.path = path,
                                                        .rules = &p->settings.rules,
                                                        .log = p->log,
                                                        .state = p->state,
                                                        .stats = p->stats,
                                                        .tags = tags,
                                                        .partitions = p->conf->partitions,
                                                        .shows = shows,
                                                        .stint = stint,
                                                        .moved = judged,
                                                        .arg = p},
                            &a, e);
    tags_unref(tags);
    if (r != 0)
        return r;
    atomic_store(&p->audiences, a);
    tag_keeper_run(p->tag_keeper, &(struct tag_keeper_parts){.audiences = a,
                                                             .state = p->state,
                                                             .log = p->log,
                                                             .rules = &p->settings.rules,
                                                             .partitions = p->conf->partitions,
                                                             .shows = shows,
                                                             .arg = p});
    return 0;
}

static int start_webhooks(struct profiler *p, struct err *e)
{
    char path[4096];
    struct webhooks *w = NULL;

    if (snprintf(path, sizeof path, "%s/webhooks", p->conf->data) >= (int)sizeof path) {
        err_set(e, "the path of the data folder is too long");
        return -ENAMETOOLONG;
    }
    int r = webhooks_start(&(struct webhooks_options){.conf = p->conf,
                                                      .log = p->log,
                                                      .audiences = p->audiences,
                                                      .state = p->state,
                                                      .rules = &p->settings.rules,
                                                      .stats = p->stats,
                                                      .path = path,
                                                      .shows = shows,
                                                      .arg = p},
                           &w, e);
    atomic_store(&p->webhooks, w);
    return r;
}

static int start_exports(struct profiler *p, struct err *e)
{
    char path[4096];
    struct exports *x = NULL;

    if (snprintf(path, sizeof path, "%s/exports", p->conf->data) >= (int)sizeof path) {
        err_set(e, "the path of the data folder is too long");
        return -ENAMETOOLONG;
    }
    int r = exports_start(&(struct exports_options){.conf = p->conf,
                                                    .log = p->log,
                                                    .audiences = p->audiences,
                                                    .state = p->state,
                                                    .rules = &p->settings.rules,
                                                    .stats = p->stats,
                                                    .path = path,
                                                    .partitions = p->conf->partitions,
                                                    .shows = shows,
                                                    .arg = p},
                          &x, e);
    atomic_store(&p->exports, x);
    if (r == 0 && atomic_load(&p->erased))
        exports_erase(x);
    return r;
}

static int start_meter(struct profiler *p)
{
    p->meter = meter_new(&(struct meter_options){.stats = p->stats,
                                                 .log = p->log,
                                                 .state = p->state,
                                                 .lookups = p->lookups,
                                                 .followers = p->followers,
                                                 .ownership = p->ownership,
                                                 .partitions = p->conf->partitions});
    p->disk = (struct disk_gauges){.folder = p->settings.path, .reserve = p->conf->log.reserve_bytes};
    disk_gauges_add(p->stats, &p->disk);
    stats_add_gauges(p->stats, traits_gauges, p);
    return p->meter ? 0 : -ENOMEM;
}

static int start_backups(struct profiler *p, struct err *e)
{
    return backups_start(&(struct backups_options){.conf = p->conf,
                                                   .instance = p->instance,
                                                   .state = p->state,
                                                   .state_options = &p->settings.state,
                                                   .stats = p->stats},
                         &p->backups, e);
}

static int start_audit(struct profiler *p, struct err *e)
{
    const struct conf_profiler *conf = &p->conf->profiler;

    return audit_start(&(struct audit_options){.folder = p->conf->data,
                                               .instance = p->instance,
                                               .file_bytes = conf->audit_bytes,
                                               .files = conf->audit_files,
                                               .log = p->log,
                                               .stats = p->stats},
                       &p->audit, e);
}

static int start_api(struct profiler *p, struct err *e)
{
    return api_start(&(struct api_options){.conf = p->conf,
                                           .rules = &p->settings.rules,
                                           .log = p->log,
                                           .state = p->state,
                                           .followers = p->followers,
                                           .lookups = p->lookups,
                                           .meter = p->meter,
                                           .stats = p->stats,
                                           .ownership = p->ownership,
                                           .cache = p->cache,
                                           .forward = p->forward,
                                           .backups = p->backups,
                                           .lost = p->lost,
                                           .audit = p->audit,
                                           .audiences = p->audiences,
                                           .exports = p->exports,
                                           .tag_keeper = p->tag_keeper,
                                           .instance = p->instance},
                     &p->api, e);
}

/* Before the followers, whose readers are of the group. */
static int join(struct profiler *p, struct err *e)
{
    int r =
        log_group_join(p->log,
                       &(struct log_group_options){
                           .name = "profiler", .given = ownership_given, .taken = ownership_taken, .arg = p->ownership},
                       e);
    p->joined = r == 0;
    return r;
}

/* Last: from here on partitions are claimed, and a claim says where look-ups are answered. */
static int claim(struct profiler *p, struct err *e)
{
    char url[LIMIT_URL_BYTES];
    const struct conf_profiler *conf = &p->conf->profiler;
    int r =
        address_of(conf->advertise, conf->tls.certificate != NULL, conf->listen, api_port(p->api), url, sizeof url, e);

    if (r == 0)
        ownership_set_url(p->ownership, url);
    return r;
}

static int start_parts(struct profiler *p, struct err *e)
{
    int r = check_partitions(p->conf, p->log, e);

    if (r == 0)
        r = make_folder(p->conf->data, e);
    if (r == 0)
        r = process_instance(p->conf, p->instance, sizeof p->instance, e);
    p->settings.state.announce = has_cache(p->conf);
    p->settings.state.watch = true;
    if (r == 0)
        r = state_open(&p->settings.state, &p->state, e);
    if (r == 0)
        r = lookups_start(p->conf->profiler.lookup_threads, &p->lookups, e);
    if (r == 0)
        r = start_cache(p, e);
    if (r == 0)
        r = start_ownership(p, e);
    if (r == 0)
        r = join(p, e);
    if (r == 0)
        r = start_followers(p, e);
    if (r == 0)
        r = start_lost(p);
    if (r == 0)
        r = start_eraser(p, e);
    if (r == 0)
        r = start_meter(p);
    if (r == 0 && event_log_shared(p->log))
        r = forward_start(&p->forward, e);
    if (p->forward)
        forward_trust(p->forward, p->conf->profiler.peer_ca);
    if (r == 0)
        r = start_backups(p, e);
    if (r == 0)
        r = start_audit(p, e);
    if (r == 0)
        r = start_tags(p, e);
    if (r == 0)
        r = start_audiences(p, e);
    if (r == 0)
        r = start_webhooks(p, e);
    if (r == 0)
        r = start_exports(p, e);
    if (r == 0)
        r = start_api(p, e);
    if (r == 0)
        r = claim(p, e);
    return r;
}

int profiler_start(const struct conf *conf, struct event_log *log, struct stats *stats, struct profiler **out,
                   struct err *e)
{
    struct profiler *p = calloc(1, sizeof *p);

    if (!p)
        return -ENOMEM;
    p->conf = conf;
    p->log = log;
    p->stats = stats;
    int r = profiler_settings_init(&p->settings, conf, e);
    if (r == 0)
        r = start_parts(p, e);
    if (r != 0) {
        profiler_stop(p, 0);
        return r;
    }
    log_info("profiler: listening on port %u", profiler_port(p));
    *out = p;
    return 0;
}

uint16_t profiler_port(const struct profiler *p)
{
    return api_port(p->api);
}

void profiler_reload(struct profiler *p)
{
    api_reload(p->api);
    tag_keeper_reload(p->tag_keeper);
}

/* --- stopping ------------------------------------------------------------------------------------------------- */

/* Where others may take over, partitions are let go before what was folded is committed; the group keeps them for this
 * instance for a while, as for a restart. A log of our own is folded to its end, and look-ups are answered until then.
 */
static int stop_following(struct profiler *p, int64_t ms)
{
    int r = 0;

    if (p->joined)
        log_group_leave(p->log, false, LEAVE_MS);
    if (p->ownership && event_log_shared(p->log))
        ownership_stop(p->ownership);
    if (p->followers)
        r = followers_finish(p->followers, ms);
    if (p->lookups)
        lookups_finish(p->lookups);
    if (p->ownership)
        ownership_stop(p->ownership);
    return r;
}

int profiler_stop(struct profiler *p, int64_t ms)
{
    if (!p)
        return 0;
    if (p->api)
        api_quiesce(p->api);
    exports_stop(p->exports);
    webhooks_stop(p->webhooks, STOP_WEBHOOKS_MS);
    tag_keeper_stop(p->tag_keeper);
    audiences_hurry(p->audiences);
    eraser_stop(p->eraser);
    int r = stop_following(p, ms);
    if (p->cache)
        cache_stop(p->cache, STOP_CACHE_MS);
    if (p->forward)
        forward_stop(p->forward);
    backups_stop(p->backups);
    audit_stop(p->audit, STOP_AUDIT_MS);
    api_stop(p->api, STOP_API_MS);
    exports_free(p->exports);
    audiences_stop(p->audiences);
    audiences_free(p->audiences);
    webhooks_free(p->webhooks);
    tag_keeper_free(p->tag_keeper);
    audit_free(p->audit);
    forward_free(p->forward);
    lookups_free(p->lookups);
    meter_free(p->meter);
    eraser_free(p->eraser);
    lost_free(p->lost);
    followers_free(p->followers);
    ownership_free(p->ownership);
    cache_free(p->cache);
    state_close(p->state);
    profiler_settings_deinit(&p->settings);
    free(p);
    return r;
}
