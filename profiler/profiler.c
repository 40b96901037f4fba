/* The owner of the profiler's parts: makes them in the order of the data's path, takes them down in the same order. The
 * thread of the caller. */
#include "profiler/profiler.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/api.h"
#include "profiler/follower.h"
#include "profiler/lookup.h"
#include "profiler/meter.h"

#define LEAST_PARTITION_BYTES (1 * MIB)
#define STOP_API_MS 5000

struct profiler {
    struct profiler_settings settings;
    struct state *state;
    struct lookups *lookups;
    struct followers *followers;
    struct meter *meter;
    struct api *api;
};

/* --- settings ------------------------------------------------------------------------------------------------- */

static uint64_t share(uint64_t bytes, uint32_t partitions)
{
    uint64_t one = bytes / partitions;

    return one < LEAST_PARTITION_BYTES ? LEAST_PARTITION_BYTES : one;
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
    s->rules = (struct fold_rules){.session_gap_ms = p->session_gap_ms,
                                   .count_from_paid = p->count_from_paid,
                                   .zone = s->zone,
                                   .touch_window_ms = p->touch_window_ms,
                                   .payment_hosts = p->payment_hosts,
                                   .payment_host_count = p->payment_host_count};
    memcpy(s->rules.currency, conf->currency, sizeof s->rules.currency);
    s->state = (struct state_options){.path = s->path,
                                      .partitions = conf->partitions,
                                      .rules = &s->rules,
                                      .commit_bytes = share(p->commit_bytes, conf->partitions),
                                      .cache_bytes = share(p->cache_bytes, conf->partitions),
                                      .view_bytes = LIMIT_VIEWS_BYTES};
    return 0;
}

void profiler_settings_deinit(struct profiler_settings *s)
{
    zone_free(s->zone);
    s->zone = NULL;
}

/* --- starting ------------------------------------------------------------------------------------------------- */

static void shown(void *arg)
{
    lookups_wake(arg);
}

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

static int start_parts(struct profiler *p, const struct conf *conf, struct event_log *log, struct stats *stats,
                       struct err *e)
{
    int r = check_partitions(conf, log, e);

    if (r == 0)
        r = make_folder(conf->data, e);
    if (r == 0)
        r = state_open(&p->settings.state, &p->state, e);
    if (r == 0)
        r = lookups_start(conf->profiler.lookup_threads, &p->lookups, e);
    if (r == 0)
        r = followers_start(&(struct followers_options){.log = log,
                                                        .state = p->state,
                                                        .partitions = conf->partitions,
                                                        .threads = conf->profiler.threads,
                                                        .commit_ms = conf->profiler.commit_ms,
                                                        .shown = shown,
                                                        .arg = p->lookups},
                            &p->followers, e);
    if (r == 0) {
        p->meter = meter_new(&(struct meter_options){
            .stats = stats, .log = log, .state = p->state, .lookups = p->lookups, .partitions = conf->partitions});
        r = p->meter ? 0 : -ENOMEM;
    }
    if (r == 0)
        r = api_start(&(struct api_options){.conf = conf,
                                            .rules = &p->settings.rules,
                                            .log = log,
                                            .state = p->state,
                                            .followers = p->followers,
                                            .lookups = p->lookups,
                                            .meter = p->meter,
                                            .stats = stats},
                      &p->api, e);
    return r;
}

int profiler_start(const struct conf *conf, struct event_log *log, struct stats *stats, struct profiler **out,
                   struct err *e)
{
    struct profiler *p = calloc(1, sizeof *p);

    if (!p)
        return -ENOMEM;
    int r = profiler_settings_init(&p->settings, conf, e);
    if (r == 0)
        r = start_parts(p, conf, log, stats, e);
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

/* --- stopping ------------------------------------------------------------------------------------------------- */

int profiler_stop(struct profiler *p, int64_t ms)
{
    int r = 0;

    if (!p)
        return 0;
    if (p->api)
        api_quiesce(p->api);
    if (p->followers)
        r = followers_finish(p->followers, ms);
    if (p->lookups)
        lookups_finish(p->lookups);
    api_stop(p->api, STOP_API_MS);
    lookups_free(p->lookups);
    meter_free(p->meter);
    followers_free(p->followers);
    state_close(p->state);
    profiler_settings_deinit(&p->settings);
    free(p);
    return r;
}
