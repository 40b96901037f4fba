/* Exports: files of people for ad networks, mail, SMS, call centres. Made by a thread of their own, streamed to a file
 * in the exports folder beside a manifest (JSON) that says how many rows there are and who was left out for which
 * reason; fetched by GET with Range; kept for a while. */
#ifndef WAYMARK_EXPORTS_H
#define WAYMARK_EXPORTS_H

#include "common/conf.h"
#include "common/event_log.h"
#include "common/stats.h"
#include "profiler/audiences.h"

struct exports;
struct exports_options {
    const struct conf *conf;
    struct event_log *log; /* of the marks of campaigns */
    struct audiences *audiences;
    struct state *state;
    const struct fold_rules *rules;
    struct stats *stats;
    const char *path;
    uint32_t partitions;
    bool (*shows)(void *arg, uint32_t partition);
    void *arg;
};
int exports_start(const struct exports_options *o, struct exports **out, struct err *e);
/* Ends the thread: before audiences, state and log are closed. What is being made is made anew at the next start. NULL
 * is allowed. */
void exports_stop(struct exports *x);
/* After exports_stop, and once nobody asks and nobody reads the stats. NULL is allowed. */
void exports_free(struct exports *x);

/* Somebody was erased, and is not shown any more: removes every file made before, and what is being made is made anew.
 * They are gone when it returns. What deltas have told of them stands on as hashes until the removal is told. Any
 * thread that may wait. */
void exports_erase(struct exports *x);

#define EXPORT_ID_BYTES 32
/* Begins one as the body of the request says, for whoever may (`pii`) or may not see personal values in the clear. 0
 * and the id; -EINVAL, -ENOENT (no such audience), -EACCES, -EBUSY (too many wait), -ENOSPC or another negative errno
 * with words for the caller and a code in *code. The body has JSON_PADDING readable bytes behind it and is written to.
 */
int exports_begin(struct exports *x, struct str audience, char *body, size_t n, const char *who, bool pii, char *id,
                  const char **code, struct err *e);
/* {"id","state":"running"|"done"|"failed"|"expired"|"erased","progress":…,"manifest":{…}}. 0 or 1: there is none. */
int exports_show(struct exports *x, struct str id, struct buf *out);
/* The finished file, opened; *size. 0, 1: there is none, -EBUSY: it is not finished. The caller closes. */
int exports_open(struct exports *x, struct str id, int *fd, uint64_t *size, const char **content_type, char *file_name,
                 size_t file_name_size);
/* […]: all, newest first. */
int exports_list(struct exports *x, struct buf *out);
/* What a campaign earned within `days` of each person's assignment: {"campaign","days","reach":{"exported","held_out"},
 * "conversions":{…},"amount":{…},"by_day":[…],"by_assignment":[…],"partial"}. 0, 1: no such campaign, -EINVAL (days),
 * -EBUSY, another negative errno. May take its time: a thread that may wait. */
int exports_campaign_report(struct exports *x, struct str campaign, int64_t days, struct buf *out, struct err *e);

#endif
