/* The report of a campaign: a walk over everybody who is here, for those whom it has marked. The thread of who asks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "profiler/export_request.h"
#include "profiler/exports_inside.h"
#include "profiler/exports_report.h"
#include "profiler/marks.h"

#define JUDGED_MS 10000
#define REPORTS 2 /* at once */
#define TRIES 200 /* for the memory that views share */
#define PAUSE_US 20000
#define ID_KIND_BYTES 5 /* "user:" */

struct reporting {
    struct exports *x;
    struct str campaign;
    struct report *report;
    struct arena arena; /* of one person */
    struct err *e;
};

static int view_orders(struct reporting *g, struct str id, struct state_view *v)
{
    const struct exports *x = g->x;
    struct str key = {id.p + ID_KIND_BYTES, id.n - ID_KIND_BYTES};
    uint32_t partition = event_log_partition(key, x->o.partitions);
    int rc;

    for (int i = 0; i < TRIES; i++) {
        rc = state_view(x->o.state, partition, id, VIEW_ORDERS, v, g->e);
        if ((rc != -EBUSY && rc != -EAGAIN) || atomic_load(&x->ending))
            break;
        usleep(PAUSE_US);
    }
    return rc;
}

static int look_at(void *arg, struct str id, struct rule_subject *s)
{
    struct reporting *g = arg;
    struct state_view v;
    struct mark mark;

    arena_reset(&g->arena);
    if (!s->traits || id.n <= ID_KIND_BYTES)
        return 0;
    int rc = marks_find(s->traits, MARK_CAMPAIGN, g->campaign, &g->arena, &mark);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    bool held_out = memmem(mark.value.p, mark.value.n, "\"held_out\"", strlen("\"held_out\"")) != NULL;
    rc = view_orders(g, id, &v);
    if (rc != 0)
        return rc < 0 ? rc : 0; /* gone meanwhile */
    rc = report_add(g->report, held_out ? ARM_HELD_OUT : ARM_EXPORTED, mark.time, v.orders, v.order_count);
    state_view_free(&v);
    return rc;
}

static int report_all(struct reporting *g, bool *known, uint32_t *count)
{
    const uint32_t n = g->x->o.partitions;
    bool all;

    *count = exports_known(g->x, known, &all);
    if (!all) {
        err_set(g->e, "not everybody who should be here is known yet");
        return -EAGAIN;
    }
    if (*count > 0 && !audiences_await(g->x->o.audiences, JUDGED_MS, &g->x->ending)) {
        err_set(g->e, "there are people who are not judged yet: ask again soon");
        return -EAGAIN;
    }
    int rc = *count == 0 ? 0
                         : audiences_scan(g->x->o.audiences, RULE_NEEDS_TRAITS | RULE_NEEDS_MARKS, TIME_NONE, look_at,
                                          g, &g->x->ending, g->e);
    if (rc == 0 && (exports_known(g->x, known + n, &all) != *count || memcmp(known, known + n, n * sizeof *known) != 0))
        rc = -EAGAIN;
    return rc > 0 ? -EIO : rc;
}

static bool enter(struct exports *x)
{
    pthread_mutex_lock(&x->lock);
    bool in = !x->stopping && x->reports < REPORTS;
    x->reports += in;
    pthread_mutex_unlock(&x->lock);
    return in;
}

static void leave(struct exports *x)
{
    pthread_mutex_lock(&x->lock);
    x->reports--;
    pthread_cond_broadcast(&x->rested);
    pthread_mutex_unlock(&x->lock);
}

int exports_campaign(struct exports *x, struct str campaign, int64_t days, int64_t now, struct report *out,
                     uint32_t *known, struct err *e)
{
    struct reporting g = {.x = x, .campaign = campaign, .report = out, .e = e};
    bool *partitions;

    if (!export_name_valid(campaign) || days < 1 || days > LIMIT_CAMPAIGN_DAYS) {
        err_set(e, "needs a name, and days from 1 to %d", LIMIT_CAMPAIGN_DAYS);
        return -EINVAL;
    }
    if (!enter(x)) {
        err_set(e, "%d reports are being made already", REPORTS);
        return -EBUSY;
    }
    arena_init(&g.arena, LIMIT_EXPORT_ARENA);
    partitions = calloc(2 * (size_t)x->o.partitions, sizeof *partitions);
    int rc = partitions ? report_init(out, x->o.rules, days, now) : -ENOMEM;
    if (rc == 0)
        rc = report_all(&g, partitions, known);
    free(partitions);
    arena_deinit(&g.arena);
    leave(x);
    return rc;
}

void exports_campaign_write(const struct exports *x, struct str campaign, const struct report *r, uint32_t known,
                            struct buf *out)
{
    buf_add_char(out, '{');
    json_write_member(out, "campaign", campaign);
    report_write(r, out);
    json_write_key(out, "partitions");
    buf_addf(out, "{\"here\":%u,\"all\":%u},\"partial\":%s}", known, x->o.partitions,
             known < x->o.partitions ? "true" : "false");
}

const struct fold_rules *exports_rules(const struct exports *x)
{
    return x->o.rules;
}
