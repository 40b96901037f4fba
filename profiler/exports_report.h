/* What a campaign earned: people by the group that their mark names, and what they ordered in the days after it. Pure.
 */
#ifndef WAYMARK_EXPORTS_REPORT_H
#define WAYMARK_EXPORTS_REPORT_H

#include "common/buf.h"
#include "profiler/export_lift.h"
#include "profiler/order.h"

enum arm { ARM_EXPORTED, ARM_HELD_OUT, ARMS };

struct arm_sum {
    uint64_t people, conversions;
    money amount;
};

struct json;

struct report_day {
    int64_t day; /* since 1970, local */
    struct arm_sum arms[ARMS];
};

struct report {
    int64_t days, now;
    const struct fold_rules *rules;
    struct arm_sum all[ARMS];
    struct sample spent[ARMS]; /* a head, in units of the currency */
    uint64_t open[ARMS];       /* people whose days are not over */
    int64_t first, last;       /* assignments; TIME_NONE none */
    struct arm_sum *by_day;    /* [day * ARMS + arm]: what happened in that day after the assignment */
    struct report_day *dates;  /* sorted by day */
    size_t date_count;
    bool dates_cut; /* there are more than the report holds */
};

/* 0 or -ENOMEM; report_deinit frees, also after a failure. 1 <= days <= LIMIT_CAMPAIGN_DAYS. */
int report_init(struct report *r, const struct fold_rules *rules, int64_t days, int64_t now);
void report_deinit(struct report *r);
/* Of that date, made when it is missing. NULL: there are too many. */
struct report_day *report_date(struct report *r, int64_t day);
/* Somebody who was assigned at a time, with their orders. 0 or -ENOMEM. */
int report_add(struct report *r, enum arm arm, int64_t assigned, const struct order *orders, size_t n);
/* The sums, as the members of an object, for other profilers: first "days". */
void report_write_sums(const struct report *r, struct buf *b);
/* Adds another one's sums, of the same days. False: it is none, or memory is out. */
bool report_add_sums(struct report *r, const struct json *sums);
/* Members of an object, each with a comma before it where needed. */
void report_write(const struct report *r, struct buf *b);

#endif
