/* What the files of the keeper share. For profiler/tag_keeper*.c alone. */
#ifndef WAYMARK_TAG_KEEPER_INSIDE_H
#define WAYMARK_TAG_KEEPER_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/file_look.h"
#include "profiler/cuts.h"
#include "profiler/tag_keeper.h"

#define KEEPER_DEFINE_MS 10000 /* for a definition to be durable */

struct tag_keeper {
    const struct conf_profiler *conf;
    const struct vocabulary *traits;
    struct tag_keeper_parts parts;
    pthread_mutex_t lock; /* of `set`, `stopping` and `again` */
    pthread_cond_t cond;
    struct tags *set;
    bool stopping, again, started;
    _Atomic bool stop;
    pthread_t thread;
    struct file_look seen; /* the thread's, when the file was read last */

    pthread_mutex_t making; /* cut points are made, by one thread at a time */
    int64_t look_at;        /* the thread's: when it is worth to look for cut points again, clock_monotonic */
    int64_t wait_ms;        /* between two tries */
    int64_t due_at;         /* since when cut points are due, by the wall clock; 0: they are not */

    struct stats_counter *taken, *refused, *made, *failed;
    _Atomic int good;
    _Atomic size_t count;
    _Atomic int64_t made_at; /* of the cut points seen last, 0: none */
};

/* Before the thread begins: people that are just coming are waited for. */
void cuts_begin(struct tag_keeper *k);
/* Makes cut points when they are due. The keeper's thread. */
void cuts_look_after(struct tag_keeper *k);

/* Whether all partitions are here. */
bool keeper_shows_all(const struct tag_keeper *k);
/* A definition of cut points, or of values. */
int keeper_define(struct tag_keeper *k, struct str name, struct str body, struct err *e);
/* Says of every partition here which values its people have; `day` is today. */
int keeper_say_values(struct tag_keeper *k, struct str day, struct err *e);
/* Whether that was said of all partitions here. */
bool keeper_values_said(const struct tag_keeper *k, const struct state_definition *d, size_t n, struct str day);
/* The values of everybody: of the people here as of a moment or now, and what others said of theirs (that day; absent:
 * whenever they did). -EAGAIN: some are missing, -ENODATA: nobody has a counted order. */
int keeper_gather(struct tag_keeper *k, int64_t as_of, struct str day, struct cuts_values *out, struct err *e);

#endif
