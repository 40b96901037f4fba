/* The parts of the profiler that say who is meant, and tell others: tags, audiences, webhooks, exports. The thread of
 * the caller makes them; the small functions here are called on theirs. */
#include <errno.h>
#include <stdio.h>

#include "profiler/profiler_inside.h"

/* Of the audiences and what stands beside them, on their threads. */
static bool shows(void *arg, uint32_t partition)
{
    const struct profiler *p = arg;

    return ownership_ask(p->ownership, partition) == OWNERSHIP_SERVES;
}

static bool elsewhere(void *arg, uint32_t partition)
{
    const struct profiler *p = arg;
    char url[LIMIT_URL_BYTES];

    return ownership_ask(p->ownership, partition) == OWNERSHIP_ELSEWHERE &&
           ownership_url(p->ownership, partition, url, sizeof url);
}

static void judged(void *arg)
{
    struct profiler *p = arg;

    lookups_wake(p->lookups);
    webhooks_wake(p->webhooks);
}

static int folder_of(const struct profiler *p, const char *name, char *path, size_t cap, struct err *e)
{
    if (snprintf(path, cap, "%s/%s", p->conf->data, name) < (int)cap)
        return 0;
    err_set(e, "the path of the data folder is too long");
    return -ENAMETOOLONG;
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
    int r = folder_of(p, "audiences", path, sizeof path, e);

    if (r != 0)
        return r;
    tags = tag_keeper_set(p->tag_keeper);
    r = audiences_start(&(struct audiences_options){.path = path,
                                                    .rules = &p->settings.rules,
                                                    .log = p->log,
                                                    .state = p->state,
                                                    .stats = p->stats,
                                                    .tags = tags,
                                                    .partitions = p->conf->partitions,
                                                    .shows = shows,
                                                    .stint = profiler_stint,
                                                    .elsewhere = elsewhere,
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
    int r = folder_of(p, "webhooks", path, sizeof path, e);

    if (r != 0)
        return r;
    r = webhooks_start(&(struct webhooks_options){.conf = p->conf,
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
    int r = folder_of(p, "exports", path, sizeof path, e);

    if (r != 0)
        return r;
    r = exports_start(&(struct exports_options){.conf = p->conf,
                                                .log = p->log,
                                                .audiences = p->audiences,
                                                .state = p->state,
                                                .rules = &p->settings.rules,
                                                .stats = p->stats,
                                                .path = path,
                                                .instance = p->instance[0] ? p->instance : "waymark",
                                                .partitions = p->conf->partitions,
                                                .shows = shows,
                                                .elsewhere = elsewhere,
                                                .arg = p},
                      &x, e);
    atomic_store(&p->exports, x);
    if (r == 0 && atomic_load(&p->erased))
        exports_erase(x);
    return r;
}

int profiler_start_people(struct profiler *p, struct err *e)
{
    int r = start_tags(p, e);

    if (r == 0)
        r = start_audiences(p, e);
    if (r == 0)
        r = start_webhooks(p, e);
    if (r == 0)
        r = start_exports(p, e);
    return r;
}
