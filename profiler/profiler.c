/* The owner of the profiler's parts: makes them in the order of the data's path, takes them down in the same order. The
 * thread of the caller. */
#include "profiler/profiler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "common/process.h"
#include "profiler/address.h"
#include "profiler/profiler_inside.h"
#include "profiler/profiler_settings.h"

#define STOP_API_MS 5000
#define STOP_AUDIT_MS 5000 /* for records that wait to be written */
#define STOP_CACHE_MS 1000
#define STOP_WEBHOOKS_MS 1000 /* for the answers to calls under way */

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

/* Last: from here on partitions are claimed, and a claim says where look-ups are answered. */
static int claim(struct profiler *p, struct err *e)
{
    char url[LIMIT_URL_BYTES];
    const struct conf_profiler *conf = &p->conf->profiler;
    int r =
        address_of(conf->advertise, conf->tls.certificate != NULL, conf->listen, api_port(p->api), url, sizeof url, e);

    if (r == 0) {
        exports_set_url(p->exports, url);
        ownership_set_url(p->ownership, url);
    }
    return r;
}

static int start_parts(struct profiler *p, struct err *e)
{
    int r = check_partitions(p->conf, p->log, e);

    if (r == 0)
        r = make_folder(p->conf->data, e);
    if (r == 0)
        r = process_instance(p->conf, p->instance, sizeof p->instance, e);
    p->settings.state.announce = profiler_has_cache(p->conf);
    p->settings.state.watch = true;
    if (r == 0)
        r = state_open(&p->settings.state, &p->state, e);
    if (r == 0)
        r = lookups_start(p->conf->profiler.lookup_threads, &p->lookups, e);
    if (r == 0)
        r = profiler_start_following(p, e);
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
        r = profiler_start_people(p, e);
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

int profiler_stop(struct profiler *p, int64_t ms)
{
    if (!p)
        return 0;
    if (p->api)
        api_quiesce(p->api);
    exports_stop(p->exports);
    webhooks_stop(p->webhooks, STOP_WEBHOOKS_MS);
    audiences_hurry(p->audiences);
    tag_keeper_stop(p->tag_keeper);
    eraser_stop(p->eraser);
    int r = profiler_stop_following(p, ms);
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
