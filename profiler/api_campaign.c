/* What became of a campaign. A report goes through everybody: the thread of the scans; several profilers add up their
 * people each, and whoever was asked adds the sums. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/num.h"
#include "profiler/api_audience.h"
#include "profiler/exports.h"
#include "profiler/exports_report.h"

#define REPORT_DAYS 14
#define REPORT_DAYS_MOST 365
#define REPORT_MS 120000 /* for the sums of others */

struct reporting {
    struct lookup_job job; /* first */
    struct ask *ask;
    int64_t days, now;
    bool partial;
};

static uint64_t people(const struct report *r)
{
    return r->all[ARM_EXPORTED].people + r->all[ARM_HELD_OUT].people;
}

static void answer(struct ask *ask, const struct report *r, uint32_t known)
{
    struct buf b;

    if (people(r) == 0) {
        ask_error(ask, 404, "campaign_not_found", "no export was of a campaign of this name");
        return;
    }
    buf_init(&b, LIMIT_ANSWER_BYTES);
    exports_campaign_write(ask->api->o.exports, ask->name, r, known, &b);
    ask_answer(ask, &b);
    buf_deinit(&b);
}

static int64_t number_of(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);
    int64_t n = 0;

    return v && v->type == JSON_NUMBER && num_integer(v->text, INT64_MAX, &n) == NUM_OK ? n : 0;
}

static void join(struct ask *ask, const struct json *const *answers, size_t n)
{
    struct report r;
    int rc = report_init(&r, exports_rules(ask->api->o.exports), number_of(answers[0], "days"),
                         number_of(answers[0], "now"));
    bool good = rc == 0;

    for (size_t i = 0; good && i < n; i++)
        good = report_add_sums(&r, answers[i]);
    if (good)
        answer(ask, &r, ask->api->o.conf->partitions);
    else
        ask_error(ask, 503, "unavailable", rc < 0 ? "out of memory" : "another profiler tells something else");
    report_deinit(&r);
}

static void gather(struct ask *ask, const bool *here, const struct report *r)
{
    char more[48];
    struct buf b;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    partitions_write(ask, here, &b);
    buf_addf(&b, ",\"now\":%" PRId64 ",", r->now);
    report_write_sums(r, &b);
    buf_add_char(&b, '}');
    snprintf(more, sizeof more, "now=%" PRId64, r->now);
    ask_gather_more(ask, &b, more, STR_NONE, REPORT_MS, join);
    buf_deinit(&b);
}

static void not_made(struct ask *ask, int r, const struct err *e)
{
    ask_error(ask, 503, r == -EAGAIN ? "not_yet" : "unavailable", "there is no report now: %s",
              e->text[0] ? e->text : "a partition came or went");
}

static void run_report(struct lookup_job *job, bool in_time)
{
    struct reporting *p = (struct reporting *)job, all = *p;
    struct ask *ask = p->ask;
    struct report r = {.days = 0};
    struct err e = {0};
    uint32_t known = 0;

    free(p);
    const bool *here = all.partial ? NULL : partitions_here(ask);
    if (!here && !all.partial)
        return;
    int rc = in_time ? exports_campaign(ask->api->o.exports, ask->name, all.days, all.now, &r, &known, &e) : -ECANCELED;
    if (rc != 0)
        not_made(ask, rc, &e);
    else if (all.partial)
        answer(ask, &r, known);
    else if (partitions_same(ask, here))
        gather(ask, here, &r);
    report_deinit(&r);
}

/* Another profiler says when it is now. */
static int64_t moment(const struct ask *ask)
{
    uint64_t now;

    if (ask->forwarded && num_u64(http_query(ask->request, "now"), &now) == NUM_OK && now <= INT64_MAX)
        return (int64_t)now;
    return clock_now();
}

void run_campaign(struct ask *ask)
{
    struct str text = http_query(ask->request, "days");
    struct reporting *p;
    uint64_t days = REPORT_DAYS;

    if (!audience_name_good(ask->name)) {
        ask_error(ask, 404, "campaign_not_found", "no export was of a campaign of this name");
        return;
    }
    if (str_has(text) && (num_u64(text, &days) != NUM_OK || days < 1 || days > REPORT_DAYS_MOST)) {
        ask_error(ask, 400, "parameter_invalid", "days is a number from 1 to %d", REPORT_DAYS_MOST);
        return;
    }
    p = calloc(1, sizeof *p);
    if (!p) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    *p = (struct reporting){.job = {.run = run_report}, .ask = ask, .days = (int64_t)days, .now = moment(ask)};
    p->partial = !ask->forwarded && str_is(http_query(ask->request, "partial"), "true");
    if (!ask_scan(ask, &p->job)) {
        free(p);
        ask_error(ask, 503, "unavailable", "too many counts are waiting");
    }
}
