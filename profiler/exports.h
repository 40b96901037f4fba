/* Exports: files of people for ad networks, mail, SMS, call centres. Made by a thread of their own, streamed to a file
 * in the exports folder beside a manifest (JSON) that says how many rows there are and who was left out for which
 * reason; fetched by GET with Range; kept for a while.
 *
 * Where several profilers share the log an export is made in parts, one by each profiler that has people, under one id.
 * Each part knows who makes the others (`makers`); what was told, for deltas, stays where it was made. */
#ifndef WAYMARK_EXPORTS_H
#define WAYMARK_EXPORTS_H

#include "common/conf.h"
#include "common/event_log.h"
#include "common/stats.h"
#include "profiler/audiences.h"

struct exports;
struct report;

struct exports_options {
    const struct conf *conf;
    struct event_log *log; /* of the marks of campaigns */
    struct audiences *audiences;
    struct state *state;
    const struct fold_rules *rules;
    struct stats *stats;
    const char *path;
    const char *instance; /* by which parts name their makers */
    uint32_t partitions;
    bool (*shows)(void *arg, uint32_t partition);
    bool (*elsewhere)(void *arg, uint32_t partition); /* another profiler has it; NULL: never */
    void *arg;
};
int exports_start(const struct exports_options *o, struct exports **out, struct err *e);
/* Where others ask this profiler. Once; before, no export is made with others. */
void exports_set_url(struct exports *x, const char *url);
/* Whether the export `id`, if it is here, has a part that is made there. */
bool exports_made_by(struct exports *x, struct str id, struct str url);
/* Ends the thread: before audiences, state and log are closed. What is being made is made anew at the next start. NULL
 * is allowed. */
void exports_stop(struct exports *x);
/* After exports_stop, and once nobody asks and nobody reads the stats. NULL is allowed. */
void exports_free(struct exports *x);

/* --- erasure --------------------------------------------------------------------------------------------------- */

/* Somebody was erased, and is not shown any more: removes every file made before, and what is being made is made anew.
 * They are gone when it returns. What deltas have told of them stands on as hashes until the removal is told. Any
 * thread that may wait. */
void exports_erase(struct exports *x);
/* Somebody was erased by the record before `place` of a partition, or by one before that, which another profiler may
 * have folded: whether no file here has people of the partition as they were before. If one does, it goes soon. Any
 * thread; quick. */
bool exports_clean(struct exports *x, uint32_t partition, int64_t place);

/* --- asking for one -------------------------------------------------------------------------------------------- */

#define EXPORT_ID_BYTES 32
#define EXPORT_DELTA_BYTES 65

struct export_wanted {
    struct str audience;
    char *body; /* has JSON_PADDING readable bytes behind it, and is written to */
    size_t n;
    const char *who;
    bool pii; /* whoever asks may see personal values in the clear */
    /* Of a part: */
    struct str id;              /* absent: a new one, of the whole */
    struct str makers;          /* JSON: see api_export_parts.h */
    struct str base;            /* of a delta: the export that it begins from; absent or empty: none */
    const uint32_t *partitions; /* whose people are in it; others of this profiler are an error */
    size_t partition_count;
    bool held; /* waits for exports_go, which says that all parts can be made; fails without it */
};
/* What a request asks for. */
struct export_asked {
    char delta[EXPORT_DELTA_BYTES]; /* deltas of one name follow each other; "" no delta */
    bool anew;                      /* the delta begins from nothing */
};
/* Whether it could be made: as exports_begin. */
int exports_check(struct exports *x, const struct export_wanted *w, struct export_asked *out, const char **code,
                  struct err *e);
/* Begins one. 0 and the id; -EINVAL, -ENOENT (no such audience), -EACCES, -EBUSY (too many wait), -EEXIST (a part of
 * that id is here), -ENOSPC or another negative errno with words for the caller and a code in *code. */
int exports_begin(struct exports *x, const struct export_wanted *w, char id[EXPORT_ID_BYTES], const char **code,
                  struct err *e);
/* Everybody has taken their part of that id: it is made. 1: it is not there, or not to be had any more. */
int exports_go(struct exports *x, struct str id);
/* It will not be whole: what is not made yet is not made, and fails. */
void exports_cancel(struct exports *x, struct str id);
/* An id that no other export has. */
void exports_new_id(char out[EXPORT_ID_BYTES]);

/* --- looking --------------------------------------------------------------------------------------------------- */

enum export_look {
    EXPORT_OUTSIDE, /* {"id","state":"running"|"done"|"failed"|"expired"|"erased","progress":…,"manifest":{…}} */
    EXPORT_INSIDE   /* the same, and what other profilers have to know: api_export_parts.h */
};
/* 0 or 1: there is none. */
int exports_show(struct exports *x, struct str id, enum export_look look, struct buf *out);
/* […]: all, newest first; with `delta` those of that name. */
int exports_list(struct exports *x, const char *delta, enum export_look look, struct buf *out);
/* Whether it waits or is being made here. */
bool exports_runs(struct exports *x, struct str id);
/* ,"instance":…,"url":… */
void exports_who(struct exports *x, struct buf *out);
/* Somebody takes the whole, of which this is a part. */
void exports_taken(struct exports *x, struct str id);
/* The finished file, opened; *size. 0, 1: there is none, -EBUSY: it is not finished. The caller closes. */
int exports_open(struct exports *x, struct str id, int *fd, uint64_t *size, const char **content_type, char *file_name,
                 size_t file_name_size);
/* A file without a name in the folder, for `bytes` that others have. -ENOSPC when the disk would have less than its
 * reserve. The caller closes. */
int exports_temporary(struct exports *x, uint64_t bytes, int *fd);

/* --- campaigns ------------------------------------------------------------------------------------------------- */

/* What a campaign earned within `days` of each person's assignment, up to `now`, with those who are here: adds to a
 * report. *known: of how many partitions. 0, -EINVAL (days, or no such name), -EBUSY, another negative errno. May take
 * its time: a thread that may wait. */
int exports_campaign(struct exports *x, struct str campaign, int64_t days, int64_t now, struct report *out,
                     uint32_t *known, struct err *e);
/* {"campaign","days","reach":{"exported","held_out"},"conversions":{…},"amount":{…},"by_day":[…],"by_assignment":[…],
 * "partial"}. */
void exports_campaign_write(const struct exports *x, struct str campaign, const struct report *r, uint32_t known,
                            struct buf *out);
const struct fold_rules *exports_rules(const struct exports *x);

#endif
