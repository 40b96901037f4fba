/* Metrics of the audiences. On the thread that makes the text. */
#include <stdio.h>

#include "profiler/audience_inside.h"

#define NAMED 100 /* audiences with a line of their own */

static const char *const reasons[JUDGED_REASONS] = {
    [JUDGED_EVENT] = "because=\"event\"",
    [JUDGED_TIME] = "because=\"time\"",
    [JUDGED_RULE] = "because=\"rule\"",
    [JUDGED_GONE] = "because=\"gone\"",
};

/* Names are the shop's, and label values may not hold everything. */
static void write_label(struct str name, char *to, size_t size)
{
    int n = snprintf(to, size, "audience=\"%.*s\"", STR_ARG(name));

    for (int i = 10; i < n - 1 && i < (int)size - 1; i++)
        if (to[i] == '"' || to[i] == '\\' || to[i] == '\n')
            to[i] = '_';
}

static void write_sizes(struct audiences *a, struct buf *out)
{
    stats_gauge_head(out, "waymark_audience_members", "People in an audience, of those whose partitions are here.");
    for (size_t i = 0; a->world && i < a->world->n && i < NAMED; i++) {
        uint32_t set = sets_find(&a->sets, 'a', a->world->v[i].name, STR_NONE);
        uint64_t n = 0;
        char label[160];

        for (uint32_t p = 0; p < a->o.partitions && set != UINT32_MAX; p++)
            n += bits_count(crowd_set(&a->parts[p], set));
        write_label(a->world->v[i].name, label, sizeof label);
        stats_gauge_line(out, "waymark_audience_members", label, (double)n);
    }
}

static void gauge(struct buf *out, const char *name, const char *help, double value)
{
    stats_gauge_head(out, name, help);
    stats_gauge_line(out, name, NULL, value);
}

static void gauges(struct buf *out, void *arg)
{
    struct audiences *a = arg;
    uint64_t people = 0, due = 0, left = 0, bytes = 0;
    int64_t since = atomic_load(&a->behind_since);

    pthread_rwlock_rdlock(&a->lock);
    for (uint32_t i = 0; i < a->o.partitions; i++) {
        const struct crowd *p = &a->parts[i];

        people += p->people.count;
        due += p->people.heap_n;
        left += p->lap_left + p->again_n + (p->changed_n - p->changed_at);
        if (!p->here)
            continue;
        bytes += people_bytes(&p->people);
        for (uint32_t k = 0; k < p->set_cap; k++)
            bytes += bits_bytes(p->sets[k]);
    }
    write_sizes(a, out);
    pthread_rwlock_unlock(&a->lock);
    gauge(out, "waymark_audience_people", "People who are judged here.", (double)people);
    gauge(out, "waymark_audience_due", "People whose rules time alone will change.", (double)due);
    gauge(out, "waymark_audience_waiting", "People who are to be judged anew, at most.", (double)left);
    gauge(out, "waymark_audience_behind_seconds", "Since when somebody has waited to be judged.",
          since ? (double)(clock_monotonic() - since) / 1000 : 0);
    gauge(out, "waymark_audience_past_bytes", "Memory of what rules found in long paths.",
          (double)atomic_load(&a->pasts.bytes));
    gauge(out, "waymark_audience_bytes", "Memory of numbers, due times and bitmaps.", (double)bytes);
}

void audiences_meter(struct audiences *a)
{
    struct stats *s = a->o.stats;

    for (unsigned i = 0; i < JUDGED_REASONS; i++)
        a->judged[i] = stats_counter(s, "waymark_audience_judged_total", reasons[i],
                                     "People judged by the rules of tags and audiences, by what made it necessary.");
    a->changes[0] = stats_counter(s, "waymark_audience_changes_total", "action=\"left\"",
                                  "Changes of membership that are on their topic.");
    a->changes[1] = stats_counter(s, "waymark_audience_changes_total", "action=\"entered\"",
                                  "Changes of membership that are on their topic.");
    a->failures = stats_counter(s, "waymark_audience_publish_failures_total", NULL,
                                "Changes of membership that the topic did not take; they are tried again.");
    a->paths[0] = stats_counter(s, "waymark_audience_paths_total", "read=\"whole\"",
                                "Paths that were read to judge somebody: whole, or the end of a long one.");
    a->paths[1] = stats_counter(s, "waymark_audience_paths_total", "read=\"end\"",
                                "Paths that were read to judge somebody: whole, or the end of a long one.");
    a->put_off = stats_counter(s, "waymark_audience_put_off_total", NULL,
                               "People who take long to be judged and changed again before it was their turn.");
    stats_add_gauges(s, gauges, a);
}
