/* Inside the audiences: what their files share. Nobody else includes it.
 *
 *   audiences.c          start, stop, the thread and what it does in which order
 *   audience_definitions.c  definitions become the world
 *   audience_work.c      who is to be judged next
 *   audience_turns.c     those who take long, and when it is their turn
 *   audience_parts.c     partitions that come and go: rows into memory, the state compared with them
 *   audience_left.c      rows of partitions that are another's: they go when the state does
 *   audience_topic.c     reading LOG_AUDIENCES back
 *   audience_judge.c     one person: what is true of them
 *   audience_told.c      and what changes by it
 *   audience_past.c      what is known of long paths
 *   audience_publish.c   changes onto LOG_AUDIENCES, and then into rows and bitmaps
 *   audience_sets.c      numbers of audiences and values of tags, and who is in them
 *   audience_questions.c audience_count.c audience_solve.c audience_meter.c   what others ask
 *
 * One thread judges and is the only one who changes anything; it does so under `lock` taken alone, and reads without.
 * Questions share `lock`, for short, never while they wait for the state or the disk but for a row. `wake_lock` is held
 * with no other. */
#ifndef WAYMARK_AUDIENCE_INSIDE_H
#define WAYMARK_AUDIENCE_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/audience_bits.h"
#include "profiler/audience_change.h"
#include "profiler/audience_people.h"
#include "profiler/audience_rows.h"
#include "profiler/audience_rules.h"
#include "profiler/audience_subject.h"
#include "profiler/audiences.h"
#include "profiler/rule_past.h"
#include "profiler/state_table.h"

#define AGAIN_MS 50 /* before somebody who could not be judged is tried again */

/* A set of people by its number: an audience, or those with a value of a tag. */
struct set {
    int64_t updated_at; /* an audience's members changed last; 0: not since the start */
    char *bytes;        /* as the rows' store has it: "a" NAME, "t" TAG 0 VALUE; NULL: the number is free */
    size_t n;
};

struct sets {
    struct set *v;
    uint32_t n, cap;
    uint32_t *index, index_size; /* open addressing; UINT32_MAX where there is none */
    uint32_t used, tags_used;
};

/* Numbers of people who take long to be judged and are to be, each once, in the order in which they came. */
struct turns {
    struct turn {
        uint32_t number;
        unsigned long long since; /* a wake up to which they had not changed, or were judged since */
    } * v;
    size_t first, n, cap;
};

/* What is known of a long path, see rule_past.h; and the event of it that was received last. */
struct kept_past {
    struct table_node node; /* key: the person's hash */
    struct kept_past *before, *behind;
    struct rule_past *past;
    struct state_fence fence;
    size_t bytes;
    struct arena arena;
    int64_t received; /* INT64_MIN: there is none */
    struct str message_id, event_name;
    int64_t event_time;
};
struct pasts {
    struct table table;
    struct kept_past *first, *last; /* as they were used, the latest first */
    _Atomic size_t bytes;
};

/* One whose row is there and whose profile is not. */
struct gone_id {
    struct key_hash hash;
    struct str id; /* malloc */
};

struct crowd {
    uint32_t number;
    bool here;         /* its rows are in memory */
    bool known;        /* everybody in the state has been compared with them since */
    bool unread;       /* the topic may say more than the rows: it is to be read back before anything is published */
    bool compare;      /* everybody in the state is to be compared with them */
    int64_t retry_at;  /* monotonic: reading failed */
    uint64_t stint;    /* for which it is here */
    struct bits *kept; /* while it is not: the sets that its rows on disk name; NULL: to be read */
    struct people people;
    struct bits **sets; /* by set */
    uint32_t set_cap;
    int64_t place;            /* on the topic: the rows know everything before it */
    int64_t next;             /* the offset that a record of ours gets, if nobody else writes */
    bool gap;                 /* it got another, and what was judged before that is not to be published */
    int64_t came_at, late_at; /* monotonic: its rows were taken in; the topic's end is asked for again, 0: it is not */
    bool bare;                /* it came without rows, and not everybody was judged since */
    bool blind;    /* what was published before is not on the topic any more: somebody may be said to enter again */
    uint64_t anew; /* entered in a blind one who had no row */
    struct key_hash mark;
    bool dirty;                             /* rows or the place are to be written */
    unsigned long long taken, taken_before; /* the rounds in which what had changed was taken last, and before that */
    struct arena changed_arena;
    struct state_changed *changed; /* taken from the state, from changed_at on not judged yet */
    size_t changed_n, changed_at;
    uint32_t *again; /* numbers to be judged soon: they could not be */
    uint32_t again_n, again_cap;
    int64_t again_at; /* monotonic */
    bool again_over;  /* some had no room there: the lap finds them */
    struct turns turns;
    uint32_t *gone; /* numbers */
    uint32_t gone_n, gone_at, gone_cap;
    struct gone_id *gone_ids; /* by hash */
    size_t gone_id_n;
    uint32_t cursor, lap_left; /* of the background: where it goes on, and how many numbers it has to pass */
    _Atomic bool whole;        /* everybody was judged since the background began */
    bool stale;                /* the background is to find who has changed */
    uint64_t definitions;      /* the state's number of changes that were taken */
    bool gathered;             /* its definitions are among those of the world */
};

/* Of a partition, for other threads. */
struct outer {
    _Atomic uint64_t live; /* the stint for which its rows are in memory; 0: they are not */
    _Atomic bool forget;   /* they are to be taken off the disk, if it is another's */
};

struct verdict {
    struct crowd *part;
    uint32_t number; /* PERSON_NONE: unknown until now */
    struct key_hash hash;
    bool gone;
    struct row was, now;          /* in the batch's arena */
    size_t first_change, changes; /* of the batch */
    bool failed;                  /* not all of its changes are on the topic */
};

struct batch {
    struct arena arena; /* lives until the batch is applied */
    struct arena scratch;
    struct verdict v[LIMIT_AUDIENCE_BATCH];
    size_t n;
    struct batch_change {
        struct audience_change c;
        struct crowd *part;
        struct str key; /* of the record; absent: of who was erased */
        size_t verdict;
        int64_t offset; /* that it got; -1: none */
        bool guessed;   /* who decided it is: rows were lost; the last event was received then */
        int64_t received;
    } * changes;
    size_t change_count, change_cap;
    struct buf out;
};

enum { JUDGED_EVENT, JUDGED_TIME, JUDGED_RULE, JUDGED_GONE, JUDGED_REASONS };

struct audiences {
    struct audiences_options o;
    struct row_store *rows;
    pthread_rwlock_t lock;
    struct sets sets;
    struct crowd *parts;
    struct outer *outer;      /* of each partition */
    _Atomic uint64_t tags_by; /* the world's tags_id; 0: there is none yet */
    struct world *world;
    bool building[LIMIT_AUDIENCES]; /* by the world's index */
    struct tags *next_tags;         /* under wake_lock: to be taken; NULL: none */

    pthread_mutex_t wake_lock;
    pthread_cond_t wake_cond;
    bool woken, stopping;
    unsigned long long round; /* `wakes` when the thread's round began; its own */
    pthread_t thread;
    bool started;
    /* How often it was woken; up to which of these nothing waits; and nobody who changed. */
    atomic_ullong wakes, settled, caught_up;
    _Atomic bool hurry;             /* nobody is to wait any more */
    atomic_ullong flushes, flushed; /* that were asked for, and that are done */
    _Atomic bool turns_behind;      /* of those who wait for a turn some were not judged by the rules that stand */
    struct batch batch;
    struct pasts pasts;
    int64_t batch_until;       /* monotonic: nobody further is taken into it */
    int64_t turn_at;           /* monotonic, us: of the next one who takes long */
    uint32_t turn_of;          /* the partition whose it is */
    struct log_reader *reader; /* holds the topic on the embedded log */
    int64_t write_at;          /* monotonic: rows are to be written; TIME_NONE: nothing waits */
    int64_t retry_at;          /* monotonic: publishing or writing failed */
    int64_t retry_ms;
    struct log_limit limit;
    struct stats_counter *judged[JUDGED_REASONS], *changes[2], *failures, *put_off;
    struct stats_counter *paths[2]; /* read whole; the end */
    atomic_llong behind_since;      /* monotonic: since when somebody waits; 0: nobody */
};

static inline int64_t wall(const struct audiences *a)
{
    return a->o.now ? a->o.now(a->o.arg) : clock_now();
}
bool crowd_shows(struct audiences *a, uint32_t partition);
uint64_t crowd_stint(struct audiences *a, uint32_t partition);

/* --- audience_sets.c: the judging thread changes, under the lock ----------------------------------------------- */

void sets_init(struct sets *s);
void sets_deinit(struct sets *s);
/* The number of a set, by its bytes; UINT32_MAX: there is none. */
uint32_t sets_find(const struct sets *s, char kind, struct str first, struct str second);
/* Finds or makes. UINT32_MAX: there are as many of tags as may be. */
uint32_t sets_make(struct audiences *a, char kind, struct str first, struct str second);
/* Of a number from the disk. */
void sets_put(struct sets *s, uint32_t set, struct str bytes);
/* The audience's name; absent when the set is none of an audience. */
struct str set_audience(const struct sets *s, uint32_t set);
/* Of a tag: false when it is none. */
bool set_tag(const struct sets *s, uint32_t set, struct str *tag, struct str *value);
/* Forgets the names of sets in which nobody is and that nothing defines. */
void sets_sweep(struct audiences *a);
const struct bits *crowd_set(const struct crowd *p, uint32_t set);
void crowd_set_add(struct crowd *p, uint32_t set, uint32_t number);
void crowd_set_remove(struct crowd *p, uint32_t set, uint32_t number);
/* Everything that a row says of a number, into or out of the bitmaps. */
void crowd_put_row(struct crowd *p, uint32_t number, const struct row *r);
void crowd_drop_row(struct crowd *p, uint32_t number, const struct row *r);

/* --- audience_parts.c: the judging thread -------------------------------------------------------------------- */

/* Takes in partitions that are shown, lets go of those that are not. True when something changed. */
bool crowds_follow(struct audiences *a);
/* Without any audience nobody needs the topic, which a shop that was there before it may not have. */
bool needs_topic(const struct audiences *a);
/* Takes what the state noted. False when there is nothing to judge by it. */
bool crowd_take(struct audiences *a, struct crowd *p);
void crowd_leave(struct audiences *a, struct crowd *p);
/* Of one that is not here: whether its rows on disk name the set. */
bool crowd_keeps(struct audiences *a, struct crowd *p, uint32_t set);
/* Of one that is another's: takes its rows off the disk, if that was asked for. */
void crowd_forget(struct audiences *a, struct crowd *p);
/* Whether something was erased in a partition whose rows know nothing of it, since they are not in memory: those of one
 * that is another's are to go. Any thread. */
bool crowds_left_behind(struct audiences *a);
/* To be judged again soon. */
void crowd_again(struct crowd *p, uint32_t number);
/* The background goes once more over everybody. */
void crowd_lap(struct crowd *p);
struct str crowd_gone_id(const struct crowd *p, const struct key_hash *hash);

/* --- audience_definitions.c, audience_work.c: the judging thread ---------------------------------------------- */

/* Whether definitions, or those whose they are, are others than those of the world. */
bool other_definitions(struct audiences *a);
/* Makes another world where there is reason to. Whether there is one. */
bool follow_rules(struct audiences *a);
/* Whether what comes out of judging its people may be published. */
bool crowd_ready(struct audiences *a, const struct crowd *p);
/* Whether everybody in the state was compared with the rows. */
bool crowd_compared(const struct crowd *p);
/* Whether somebody is to be judged now; `now` is the wall clock. */
bool crowd_waits(struct audiences *a, const struct crowd *p, int64_t now);
/* Fills the batch. */
void gather_people(struct audiences *a);

/* Once everybody was judged, one that came without rows is known, and bitmaps of tags are whole. */
void crowds_judged(struct audiences *a);
/* Whether numbers and lists may be told of it. With the lock. */
bool crowd_tells(const struct crowd *p);

/* --- audience_past.c: the judging thread ---------------------------------------------------------------------- */

void pasts_init(struct pasts *p);
/* Forgets all; also because their rules go. */
void pasts_clear(struct pasts *p);
void pasts_deinit(struct pasts *p);
/* NULL: nothing is known of them. */
struct kept_past *past_find(struct pasts *p, const struct key_hash *hash);
void past_forget(struct pasts *p, struct kept_past *k);
/* The evaluation needs more than it knows: all of the path is to be read. */
void past_reset(struct kept_past *k);
/* After somebody was judged, `k` NULL where nothing was known: knows more of them, or nothing, as is best. */
void past_keep(struct audiences *a, const struct key_hash *hash, struct kept_past *k, struct person_seen *p);

/* --- audience_turns.c: the judging thread ---------------------------------------------------------------------- */

int64_t clock_us(void);
/* Puts off somebody who took long to be judged and did not change up to a wake; false: they do not wait. `number` may
 * be PERSON_NONE. */
bool turn_wait(struct audiences *a, struct crowd *p, uint32_t number, unsigned long long since);
/* Notes how long it took to judge them, since a moment of clock_us. */
void turn_took(struct audiences *a, struct crowd *p, const struct key_hash *hash, int64_t since);
/* The next one, if somebody may have a turn now; false: nobody. */
bool turn_next(struct audiences *a, struct crowd **p, uint32_t *number);
/* The wake up to which nothing of what changed waits for a turn; ULLONG_MAX: nobody waits. */
unsigned long long turns_since(const struct audiences *a);
/* Whether somebody who waits was not judged by the rules that stand. Others look at a->turns_behind. */
bool turns_behind(struct audiences *a);
/* How long until the next turn, ms; INT64_MAX: nobody waits. */
int64_t turns_pause(struct audiences *a);
/* Whether somebody who was erased just now could not be judged yet. */
bool gone_wait(struct audiences *a);
void turns_deinit(struct turns *t);

/* --- audience_topic.c: the judging thread -------------------------------------------------------------------- */

/* Asks for the ends of those that came lately: an owner before may have had something under way. What is there is read
 * back before anything is published. */
void crowds_ask_late(struct audiences *a);

/* Reads the topic from the partition's place to its end and applies what it says to the rows. 0 or negative errno. */
int crowd_read_topic(struct audiences *a, struct crowd *p, struct err *e);
/* Finds on the topic the ids of those whose profiles are gone. */
int crowd_find_gone(struct audiences *a, struct crowd *p, struct err *e);

/* --- audience_judge.c ------------------------------------------------------------------------------------------ */

void batch_init(struct batch *b);
void batch_deinit(struct batch *b);
void batch_reset(struct batch *b);
/* Adds what becomes of a person. `id` may be absent. 0, or negative errno: -EAGAIN later. */
int batch_judge(struct audiences *a, struct crowd *p, const struct key_hash *hash, struct str id, struct err *e);
/* But for one more who has a turn. */
bool batch_full(const struct batch *b);

/* --- audience_told.c: the judging thread --------------------------------------------------------------------- */

/* Adds to the batch what the person entered and left between the rows of the verdict. `k` NULL: nothing is known of
 * their path; `told`: their profile changed just now. 0 or negative errno. */
int verdict_changes(struct audiences *a, struct verdict *v, struct kept_past *k, struct person_seen *p, struct str id,
                    bool told);
/* Whether who is not there was erased; `id` is absent where nothing names them. */
bool verdict_erased(struct audiences *a, const struct verdict *v, struct str id);
/* They leave all that their row says they were in. 0 or negative errno. */
int verdict_leaves(struct audiences *a, struct verdict *v, struct str id, bool erased);

/* --- audience_publish.c ---------------------------------------------------------------------------------------- */

/* Publishes the changes of the batch and applies what is on the topic. False when something failed. */
bool batch_finish(struct audiences *a);
/* Writes rows that wait, of all partitions. */
bool row_store_flush(struct audiences *a);

/* --- audience_meter.c ------------------------------------------------------------------------------------------ */

void audiences_meter(struct audiences *a);

#endif
