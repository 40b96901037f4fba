/* From the configuration to the rules of the fold and the options of the state. Before threads start. */
#include "profiler/profiler_settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/limits.h"
#include "common/log.h"

#define LEAST_PARTITION_BYTES (1 * MIB)

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
