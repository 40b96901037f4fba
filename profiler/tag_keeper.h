/* What stands beside the judging of tags: the set in use, which is read again when its file changes, and the cut points
 * of quintiles, which are made once a day. A thread of its own; a file with a mistake changes nothing.
 *
 * Cut points are due at the first look after local midnight. Who has partition 0 makes them, of all people: those here,
 * and those of partitions elsewhere, whose owners say once a day what values they have (definitions "values.P", exact
 * up to CUTS_POINTS different values, else parted into as many equal shares). On the first day they are made as soon as
 * somebody has an order, and again in growing intervals while people come. */
#ifndef WAYMARK_TAG_KEEPER_H
#define WAYMARK_TAG_KEEPER_H

#include "common/conf.h"
#include "common/event_log.h"
#include "common/stats.h"
#include "profiler/audiences.h"
#include "profiler/tags.h"

struct tag_keeper;

/* Reads the set that `conf` says. Fails when the file has a mistake: `e` has the first, the log all of them. `conf`,
 * `traits` and `stats` must outlive it. 0, or a negative errno with `e` filled. */
int tag_keeper_start(const struct conf_profiler *conf, const struct vocabulary *traits, struct stats *stats,
                     struct tag_keeper **out, struct err *e);
/* A reference to the set in use. Any thread. */
struct tags *tag_keeper_set(struct tag_keeper *k);

/* Begins to look at the file and to make cut points; all of these must outlive tag_keeper_stop. */
struct tag_keeper_parts {
    struct audiences *audiences;
    struct state *state;
    struct event_log *log;
    const struct fold_rules *rules;
    uint32_t partitions;
    /* Whether the partition is here and everything that was shown before is folded again. Quick. */
    bool (*shows)(void *arg, uint32_t partition);
    void *arg;
    int64_t (*now)(void); /* NULL: clock_now */
};
void tag_keeper_run(struct tag_keeper *k, const struct tag_keeper_parts *parts);
/* The file is read again at once. Any thread; does not wait for it. */
void tag_keeper_reload(struct tag_keeper *k);
/* Makes cut points now: of everybody as of a moment, or TIME_NONE: of now. Appends their body (cuts.h). 0; -ENODATA:
 * nobody has a counted order; -EAGAIN: not all people are here, or the log does not take it; other negative errno. Any
 * thread that may wait. */
int tag_keeper_cut(struct tag_keeper *k, int64_t as_of, struct buf *out, struct err *e);
/* Ends the thread. The set stays. NULL is allowed, twice too. */
void tag_keeper_stop(struct tag_keeper *k);
void tag_keeper_free(struct tag_keeper *k);

#endif
