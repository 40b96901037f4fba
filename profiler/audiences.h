/* Audiences that are live, and tags beside them: who is in which, kept up with the state.
 *
 * One thread of this part judges people: those whom folds changed (state_watch.h), those whose time has come (the due
 * index) and, after a start or a change of a rule, everybody whose row is not of this version. Each person has a dense
 * number in their partition and a row: version, due time, the audiences and tag values. Rows are kept on disk in a
 * RocksDB of its own, in keys of the state's hashes, without ids. Bitmaps over the numbers are in memory, made
 * from the rows.
 *
 * Changes go to LOG_AUDIENCES first; the rows that they lead to are written down with the place that the topic had
 * then. After a crash the topic behind that place says what else was published, so that nobody enters twice or never
 * leaves. */
#ifndef WAYMARK_AUDIENCES_H
#define WAYMARK_AUDIENCES_H

#include "common/conf.h"
#include "common/event_log.h"
#include "common/stats.h"
#include "profiler/rule_eval.h"
#include "profiler/rules.h"
#include "profiler/state.h"
#include "profiler/state_watch.h"
#include "profiler/tags.h"

struct audiences;

struct audiences_options {
    const char *path; /* folder of the rows */
    const struct fold_rules *rules;
    struct event_log *log;
    struct state *state;
    struct stats *stats;
    struct tags *tags;
    uint32_t partitions;
    /* Whether the partition is ours and everything that was shown before is folded again. Quick. */
    bool (*shows)(void *arg, uint32_t partition);
    /* 0: the partition is another's; else a number that is another one each time that it is given. NULL: all are ours,
     * always. Quick. */
    uint64_t (*stint)(void *arg, uint32_t partition);
    /* Whether another profiler has the partition for sure: after a start, and while a group is shared out anew, one
     * that is not ours may be so again in a moment. NULL: whatever is not ours is another's. Quick. */
    bool (*elsewhere)(void *arg, uint32_t partition);
    /* A person's tags changed without a new version: copies in a cache are to be forgotten. May be NULL. */
    void (*retagged)(void *arg, uint32_t partition, struct str id);
    /* More was judged, or definitions or tags were taken: whoever waits for it may look again. Quick. May be NULL. */
    void (*moved)(void *arg);
    void *arg;
    int64_t (*now)(void *arg); /* wall clock, ms; NULL: the system's. Tests move it */
    int64_t slow_us;           /* who takes longer to be judged waits for a turn among their like; 0: as usual */
    size_t long_path;          /* from so many events on it is remembered what rules found in them; 0: as usual */
    size_t past_bytes;         /* of memory for that, over all people; 0: as usual */
};

/* 0 or negative errno. */
int audiences_start(const struct audiences_options *o, struct audiences **out, struct err *e);
/* More is shown of a partition than before. Quick; any thread. */
void audiences_wake(struct audiences *a);
/* Waits until everybody who had changed when it was called is judged, `ms` at most, or until *stop (NULL: never).
 * Whether that is so. Any thread that may wait. */
bool audiences_await(struct audiences *a, int64_t ms, const _Atomic bool *stop);
/* After people were erased: waits until they are judged, writes what that leads to and then all files anew, so that
 * nothing of them stands there. 0, -EAGAIN or another negative errno, with words. Any thread that may wait, one at a
 * time. */
int audiences_forget(struct audiences *a, struct err *e);
/* Whether rows of a partition stand in files that no erasure reaches: it is another's, or is not taken in yet, or they
 * were removed and the files are not written anew. Any thread; quick. */
bool audiences_leave_rows(struct audiences *a, uint32_t partition);
/* Those of a partition that is another's are to be removed, soon. Any thread; quick. */
void audiences_forget_rows(struct audiences *a, uint32_t partition);
/* Writes files anew in which rows stand that were removed. 0 or negative errno, with words. The thread of
 * audiences_forget. */
int audiences_tidy(struct audiences *a, struct err *e);
/* Ends those that wait soon, and lets them wait no more. Any thread; NULL is allowed. */
void audiences_hurry(struct audiences *a);
/* Another set of tags: everybody is judged anew by and by. Takes a reference. Any thread. */
void audiences_retag(struct audiences *a, struct tags *t);
/* Writes down what there is, and judges nobody any more; questions are answered. NULL is allowed. */
void audiences_stop(struct audiences *a);
/* After audiences_stop, and once nobody asks and nobody reads the stats. NULL is allowed. */
void audiences_free(struct audiences *a);

/* --- questions: any thread that may wait; about the partitions that are here ---------------------------------------
 */

enum { AUDIENCE_NOT_FOUND = 1 };

/* Whether the people of a partition are known here; else they are in no number and no list. Quick. */
bool audiences_knows(struct audiences *a, uint32_t partition);

struct audience_info {
    struct str name, body, rule, description; /* in the arena */
    uint64_t size;
    bool building;
    double progress;   /* of building, 0 to 1 */
    bool partial;      /* there are partitions whose people are not counted here */
    struct str broken; /* why the rule does not compile any more, and the members stay as they are; else absent */
    int64_t updated_at;
    int64_t version; /* of the definition: its time */
};
int audiences_get(struct audiences *a, struct str name, struct arena *arena, struct audience_info *out);
/* All, sorted by name. */
int audiences_list(struct audiences *a, struct arena *arena, struct audience_info **out, size_t *n);

/* Ids of members of one partition from a place on, at most `limit`; *place moves on: to {the next partition, 0} at the
 * end of this one. -ENOTCONN when the people of the partition are not known here: nothing moves. */
struct audience_place {
    uint32_t partition, number;
};
int audiences_members(struct audiences *a, struct str name, struct audience_place *place, size_t limit,
                      struct arena *arena, struct str **ids, size_t *n, struct err *e);

/* How many a rule means, of those who were judged by then (audiences_await): from bitmaps where they tell, else from a
 * walk through everybody who is here, as of `as_of` unless it is TIME_NONE. `each`, NULL is allowed, is called with
 * every person who is meant, and the subject, and may end it (not 0). `stop` is looked at between people. */
typedef int audience_visitor(void *arg, struct str id, struct rule_subject *s);
struct audience_count {
    uint64_t count, people;
    bool from_bitmaps;
    bool partial; /* people of some partitions are not known here */
};
int audiences_count(struct audiences *a, const struct rule *rule, int64_t as_of, audience_visitor *each, void *arg,
                    const _Atomic bool *stop, struct audience_count *out, struct err *e);

/* How many each of the rules means, and how many of them have an address of a kind, as far as bitmaps tell: all of one
 * moment. `out` has room for `n`. Any thread; quick. */
enum reach { REACH_EMAIL, REACH_PHONE, REACH_NONE };
struct audience_bits {
    bool known, reach_known;
    uint64_t count, reach[REACH_NONE];
};
void audiences_count_bits(struct audiences *a, const struct rule *const *rules, size_t n, struct audience_bits *out);

/* Calls `each` with everybody who is here and a subject that has what `needs` (rule_needs) asks for, as of a moment or
 * now. -EAGAIN while nobody can be known yet. No lock is held while `each` runs. */
int audiences_scan(struct audiences *a, unsigned needs, int64_t as_of, audience_visitor *each, void *arg,
                   const _Atomic bool *stop, struct err *e);

/* A person as rules see them: `use` is called with the subject (as of `as_of`, or now). STATE_NOT_FOUND, STATE_LINKED.
 */
int audiences_subject(struct audiences *a, uint32_t partition, struct str id, unsigned needs, int64_t as_of,
                      int (*use)(void *arg, struct rule_subject *s), void *arg, struct err *e);

/* The compiled rule of an audience, to be released. NULL: there is none. */
struct audience_rule;
const struct rule *audience_rule_get(struct audiences *a, struct str name, struct audience_rule **ref);
void audience_rule_release(struct audience_rule *ref);

/* How long tags in an answer are right, if nothing is folded. */
struct tags_good {
    uint64_t by; /* of the tags and cut points that they are by: never 0, the same number wherever those are the same */
    int64_t until; /* the first moment at which time may change one; TIME_NONE: never */
};
/* Tags of a person now, or as of a moment, as JSON for answers: {"lifecycle":"growing"}; "{}" for who is not there. 0
 * or negative errno, -EAGAIN while the definitions could not be read yet. */
int audiences_tags(struct audiences *a, uint32_t partition, struct str id, int64_t as_of, struct buf *out,
                   struct tags_good *good);
/* What tags are by now, 0: not known yet. Quick. */
uint64_t audiences_tags_by(struct audiences *a);
/* How many have each value of each tag: {"lifecycle":{"new":3,…},…}. */
int audiences_tag_counts(struct audiences *a, struct buf *out);

/* The set of tags in use, to be given back by tags_unref. */
struct tags *audiences_tagset(struct audiences *a);

/* Names for compiling rules: audiences that are defined, tags of the set. Valid while `hold` is held. */
struct audience_names {
    struct rule_names names;
    void *private;
};
void audiences_names(struct audiences *a, struct audience_names *out);
void audiences_names_done(struct audience_names *n);

/* A number of this moment, and whether whatever was shown by then is judged; for tests and read-your-writes. Quick. */
uint64_t audiences_moment(struct audiences *a);
bool audiences_settled(struct audiences *a, uint64_t moment);

#endif
