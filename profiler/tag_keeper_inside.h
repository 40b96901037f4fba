/* What the files of the keeper share. For profiler/tag_keeper*.c alone. */
#ifndef WAYMARK_TAG_KEEPER_INSIDE_H
#define WAYMARK_TAG_KEEPER_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

#include "profiler/tag_keeper.h"

/* How a file looks from outside. */
struct file_look {
    bool there, fresh;
    struct timespec written, changed;
    off_t size;
    ino_t inode;
    dev_t device;
};

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

    struct stats_counter *taken, *refused, *made, *failed;
    _Atomic int good;
    _Atomic size_t count;
    _Atomic int64_t made_at; /* of the cut points seen last, 0: none */
};

/* Makes cut points when they are due. The keeper's thread. */
void cuts_look_after(struct tag_keeper *k);

#endif
