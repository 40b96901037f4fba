/* Inside the followers: what their files share. */
#ifndef WAYMARK_FOLLOWER_PRIVATE_H
#define WAYMARK_FOLLOWER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/buf.h"
#include "common/log.h"
#include "profiler/emitter.h"
#include "profiler/follower.h"

/* Something that fails again and again. The words are under the lock of the followers. */
struct trouble {
    int64_t retry_at; /* monotonic; 0: none */
    int64_t backoff_ms;
    _Atomic bool there;
    char text[256];
};

enum standing {
    PLACE_AWAY,     /* not followed, or it has to find its place (anew) */
    PLACE_CHECKING, /* waits for the record that the state folded last, to see whether the log is still the same */
    PLACE_FOLLOWED,
    PLACE_STOPPED /* its place is not on the log: not followed until it is given anew */
};

/* One partition. The follower's own part first; what others read is atomic or under the lock of the followers. */
struct part {
    uint32_t number;
    enum standing place;
    uint64_t stint;         /* for which the place is good */
    bool restored;          /* from a backup, in this stint */
    int64_t check_until;    /* monotonic */
    int64_t next;           /* offset that is to be read next, of the log like all here */
    int64_t base;           /* what the state's offsets are more */
    bool full;              /* memory is at its bound: no folding before a commit */
    bool at_end;            /* the last read found nothing */
    int64_t dirty_since;    /* monotonic; TIME_NONE: everything is on disk */
    size_t held;            /* records that the cache knows of and that may not be shown yet; 0: none */
    int64_t held_until;     /* of the boot clock */
    struct trouble folding; /* reading and folding fail */
    struct trouble emits;   /* what folding emits does not get on the log; no folding meanwhile */
    struct trouble commits; /* committing fails; folding goes on while there is room */
    struct emitter *emitter;
    int64_t target; /* the log's end when it found its place */
    _Atomic int64_t shown;
    _Atomic int64_t time; /* of the last record */
    _Atomic bool ready;
    struct state_figures figures; /* under the lock */
};

struct follower {
    struct followers *all;
    struct log_reader *reader;
    struct part **parts;
    uint32_t *waiting; /* room for the numbers of the parts, for log_reader_wait */
    size_t part_count;
    struct log_record *records;
    struct batch_ids *ids; /* NULL: there is no cache */
    pthread_t thread;
    bool started;
};

struct followers {
    struct followers_options o;
    struct part *parts;
    struct follower *followers;
    unsigned follower_count;
    pthread_mutex_t lock; /* words of troubles, figures, and `running` */
    pthread_cond_t ended;
    unsigned running;
    _Atomic bool finishing; /* fold to the end, commit, go */
    _Atomic bool give_up;   /* go */
    struct log_limit limit;
};

/* --- follower.c: what goes wrong, and what is shown ----------------------------------------------------------- */

/* The state's, in offsets of the log. */
void part_figures(const struct followers *all, uint32_t partition, struct state_figures *out);

/* Nothing is lost, since the log still has it. Try again, later and later. */
void part_failed(struct followers *all, struct part *p, struct trouble *t, const char *what, const struct err *e);
void part_worked(const struct part *p, struct trouble *t, const char *what);
void part_stop(struct followers *all, struct part *p, const char *text);
/* Shows what the state holds, unless something that it emitted is not on the log yet. */
void part_publish(struct followers *all, struct part *p);
/* Lets retention pass what is on disk. */
void part_release(struct follower *me, struct part *p);

/* --- follower_place.c: where a partition goes on -------------------------------------------------------------- */

/* Whether this process is to follow it; a number, see the options. */
uint64_t part_stint(const struct followers *all, const struct part *p);
/* One step of finding the place of one that is away or checking. Returns whether there may be more to do at once. */
bool part_place(struct follower *me, struct part *p);
/* It is not followed any more, or given anew. */
void part_leave(struct followers *all, struct part *p);

/* --- follower_cache.c: the ids of a batch and their copies ---------------------------------------------------- */

struct batch_ids *batch_ids_new(void);
void batch_ids_free(struct batch_ids *b);
/* Collects what the `n` records read may change. */
void batch_gather(struct follower *me, size_t n);
/* Tells the cache. 0: it may be shown; else when, of the boot clock. */
int64_t batch_begin(struct follower *me, const struct part *p);
/* It is shown; profiles that changed from the state's offset `from` on are copied. */
void batch_end(struct follower *me, const struct part *p, int64_t from);

#endif
