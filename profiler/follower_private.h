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

/* What there was to show when so many emissions had been asked for. */
struct mark {
    uint64_t taken;
    struct state_figures figures;
};
#define MARKS 32

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
    uint64_t stint;               /* for which the place is good */
    bool restored;                /* from a backup, in this stint */
    int64_t check_until;          /* monotonic */
    int64_t next;                 /* offset that is to be read next, of the log like all here */
    int64_t base;                 /* what the state's offsets are more */
    bool full;                    /* memory is at its bound: no folding before a commit */
    bool at_end;                  /* the last read found nothing */
    int64_t dirty_since;          /* monotonic; TIME_NONE: everything is on disk */
    int64_t commit_took;          /* the last one, in ms */
    _Atomic bool hurry;           /* somebody waits for the next one */
    size_t held;                  /* records that the cache knows of and that may not be shown yet; 0: none */
    int64_t held_until;           /* of the boot clock */
    bool announcing;              /* the state holds profiles until held_until: see state_unannounced */
    int64_t changed_from;         /* the state's offset before what changed them */
    struct trouble folding;       /* reading and folding fail */
    struct trouble emits;         /* what folding emits does not get on the log; no commit meanwhile */
    struct trouble commits;       /* committing fails; folding goes on while there is room */
    struct trouble forgets;       /* taking it off the disk fails */
    _Atomic int64_t forget_below; /* its state is to be forgotten when it stands before; 0: not asked for */
    struct emitter *emitter;
    uint64_t emitted;         /* acked when it was looked at last */
    struct mark marks[MARKS]; /* to be shown once acked, the first mark_count */
    size_t mark_count;
    int64_t since;  /* monotonic: it is given since then, or its state was taken from a backup then */
    int64_t *ends;  /* under the lock: of every partition, when it found its place; NULL: nobody else writes there */
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
    uint32_t *numbers;     /* of all partitions; NULL where nobody else has the log, like the next */
    int64_t *ends;         /* of all partitions */
    int64_t ends_at;       /* monotonic: when they were asked for */
    pthread_t thread;
    bool started;
    _Atomic bool idle; /* finishing: everything that it found is on disk */
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
/* Lets retention pass what is on disk. */
void part_release(struct follower *me, struct part *p);

/* --- follower_emit.c: what folding asks to be put on the log, and what may be shown ---------------------------- */

int part_emit_init(struct followers *all, struct follower *me, struct part *p);
void part_emit_deinit(struct part *p);
/* Puts on the log what folding asked for since, and shows what it no longer holds back. */
void part_emit(struct followers *all, struct part *p);
/* Whether something is not acked yet. */
bool part_emitting(const struct part *p);
/* Shows what the state holds, as soon as all that it emitted is on the log. */
void part_publish(struct followers *all, struct part *p);
/* Asks where the log ends, so that what others have put there for the state until now is known. False when it does not
 * say. */
bool part_ask_ends(struct follower *me, struct part *p, struct err *e);

/* --- follower_place.c: where a partition goes on -------------------------------------------------------------- */

/* Whether this process is to follow it; a number, see the options. */
uint64_t part_stint(const struct followers *all, const struct part *p);
/* One step of finding the place of one that is away or checking. Returns whether there may be more to do at once. */
bool part_place(struct follower *me, struct part *p);
/* It is not followed any more, or given anew. */
void part_leave(struct followers *all, struct part *p);

/* --- follower_forget.c: states of partitions that are another's ------------------------------------------------ */

/* Does what followers_forget asked for, when it can. */
void part_forget(struct followers *all, struct part *p);

/* --- follower_cache.c: the ids of a batch and their copies ---------------------------------------------------- */

struct batch_ids *batch_ids_new(void);
void batch_ids_free(struct batch_ids *b);
/* Collects what the `n` records read may change. */
void batch_gather(struct follower *me, size_t n);
/* Tells the cache. 0: it may be shown; else when, of the boot clock. */
int64_t batch_begin(struct follower *me, const struct part *p);
/* The batch is folded: copies the profiles that changed from the state's offset `from` on. Those that others' records
 * moved are held until the cache has forgotten them, which may take until p->held_until. */
void batch_end(struct follower *me, struct part *p, int64_t from, bool folded);
/* The time has come for those that are held. */
void batch_announced(struct follower *me, struct part *p);

#endif
