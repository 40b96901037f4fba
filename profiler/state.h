/* The state of one profiler: every partition's streams, profiles and orders, in memory between commits and in RocksDB
 * after them. One worker thread writes a partition; look-ups on other threads take views.
 *
 * Offsets here are the state's own, which only grow, and versions with them. They are those of the log plus the base of
 * the partition: 0 until it goes on with another log.
 *
 * Words: a *profile* is "user:U" or "anon:D". A *stream* is the pair (anonymous id, user id) as events state it; an
 * event's uid is unique within its stream, and an event never leaves its stream, whoever it will belong to. */
#ifndef WAYMARK_STATE_H
#define WAYMARK_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/event_log.h"
#include "common/str.h"
#include "profiler/facts.h"
#include "profiler/order.h"
#include "profiler/path.h"
#include "profiler/rules.h"
#include "profiler/traits.h"
#include "proto/internal.h"

struct state;

struct state_options {
    const char *path;
    uint32_t partitions;
    const struct fold_rules *rules; /* must outlive the state */
    uint64_t commit_bytes;          /* of one partition: uncommitted memory above which state_fold asks for a commit */
    uint64_t cache_bytes;           /* of one partition: memory of clean profiles and streams kept */
    uint64_t view_bytes;            /* memory that views hold together, but for a single one; 0: no bound */
    bool read_only;                 /* for verify: the folder of a stopped instance */
    /* A record whose key is not that of its event, or of another partition, is no event: nobody would find what it
     * says. */
    bool keyed;
    /* A cache is told of every profile before its change is shown: see state_unannounced. */
    bool announce;
    bool watch;           /* somebody asks who changed: see state_watch.h */
    uint64_t watch_bytes; /* of ids noted for them, over all partitions; 0: LIMIT_WATCH_BYTES */
};

/* What became of a record of the log: exactly one each. */
enum outcome {
    OUTCOME_FOLDED,
    OUTCOME_DUPLICATE,
    OUTCOME_BAD,
    OUTCOME_EXCLUDED,
    OUTCOME_EXPIRED,
    OUTCOME_ERASED,
    OUTCOME_MOVED,
    OUTCOMES
};
extern const char *const outcome_names[OUTCOMES];

/* What does not count, of the devices whose home the partition is: those that are shared; pairs of a device that is not
 * and a user that has links, all void. */
enum identity_figure { IDENTITY_SHARED, IDENTITY_CAP, IDENTITY_UNLINKED, IDENTITY_FIGURES };

/* One consistent reading of a partition's counters, as shown (memory), and the offset that is on disk. */
struct state_figures {
    uint64_t outcomes[OUTCOMES];
    uint64_t identity[IDENTITY_FIGURES];
    int64_t offset;      /* next to read, as shown */
    int64_t disk_offset; /* what a crash comes back to */
    int64_t began;       /* the offset at which the state began */
    int64_t base;        /* what they are more than offsets of the log: see state_adopt */
    uint64_t memory;     /* bytes held */
    uint64_t commits, refolds;
};

/* Fails with a clear text when the folder is in use, damaged, or was made with another number of partitions or other
 * fold rules (session gap, currency, …): then a refold is needed and the text says so. */
int state_open(const struct state_options *o, struct state **out, struct err *e);
uint32_t state_partitions(const struct state *s);
/* Commits nothing: call state_commit before. Waits for no one; all views must be released. NULL is allowed. */
void state_close(struct state *s);

/* --- the worker's side: one thread per partition -------------------------------------------------------------- */

/* Folds records (n of one partition, in offset order, the first at the partition's offset). Shown to look-ups when it
 * returns. Returns 0, STATE_COMMIT_DUE when uncommitted memory passed its bound, or a negative errno (the store
 * failed; nothing of a half-folded record is shown). */
enum { STATE_OK = 0, STATE_COMMIT_DUE = 1 };
int state_fold(struct state *s, uint32_t partition, const struct log_record *records, size_t n, struct err *e);
/* What folding asks to be put on the log, in the order of its causes: a record that is no event, with its bytes and
 * place, for the topic of bad events. The caller appends it, and commits what caused it only once all of it is acked.
 * It is a function of what was folded: after a crash the same is asked for again. */
struct state_emission {
    enum log_topic topic;
    struct log_record record;
};
/* Those since the last call of state_emitted; they live until then. */
size_t state_emissions(struct state *s, uint32_t partition, const struct state_emission **out);
void state_emitted(struct state *s, uint32_t partition);
/* The same, but their keys and values are the caller's from now on, to be freed. */
void state_emissions_taken(struct state *s, uint32_t partition);
/* Profiles that the last state_fold changed and that are not named by the key of the record that did so: a link moves
 * events from one person to another. With the option `announce` look-ups of them wait until state_announced; the ids
 * live until then. */
size_t state_unannounced(struct state *s, uint32_t partition, const struct str **ids);
void state_announced(struct state *s, uint32_t partition);
/* Whether there are profiles of which look-ups are answered -EAGAIN until state_announced. Any thread; quick. */
bool state_holds(struct state *s, uint32_t partition);
/* The partition's worker begins to follow a log that has records up to that offset, of the state's, and that records
 * may be blanked on: what in them falls to the erased is erased once all of them are folded. */
void state_catch_up(struct state *s, uint32_t partition, int64_t offset);
/* What a partition told another last, and what that has heard of it: once the second has reached the first, whatever
 * the folds up to now moved there is folded there. Any thread. */
struct internal_version state_sent(struct state *s, uint32_t partition, uint32_t to);
struct internal_version state_heard(struct state *s, uint32_t partition, uint32_t from);
/* Writes everything uncommitted and the offset in one atomic step, waits until it is on disk, then evicts down to the
 * budget. Look-ups go on meanwhile. */
int state_commit(struct state *s, uint32_t partition, struct err *e);
bool state_dirty(struct state *s, uint32_t partition);
/* Where a fresh partition (no state yet) starts. Only before its first fold. */
void state_begin_at(struct state *s, uint32_t partition, int64_t offset);
/* The last record that was an event, to tell whether the log is still the same: its offset and uid. False when there
 * was none of this log. Only before the first fold. */
bool state_last_event(struct state *s, uint32_t partition, int64_t *offset, struct uid *uid);

/* --- the look-ups' side: any thread --------------------------------------------------------------------------- */

void state_figures(struct state *s, uint32_t partition, struct state_figures *out);

/* A profile as of one moment. */
struct state_profile {
    struct str id;       /* "user:42" */
    int64_t version;     /* 1 + offset of the last record that changed it */
    struct str *devices; /* of a user: those with a link to it, sorted; in the arena */
    size_t device_count;
    struct facts facts;   /* owned by the caller: facts_deinit */
    struct traits traits; /* owned by the caller: traits_deinit */
    bool amid;            /* the record of that version is being folded: it may change it further */
};
/* STATE_LINKED: it is a device with links; ask for its user instead, see state_linked. */
enum { STATE_NOT_FOUND = 1, STATE_LINKED = 2 };
/* The user of a device's latest link, as a profile's id in the arena: 0, STATE_NOT_FOUND when it has none that counts,
 * or a negative errno, -EAGAIN while it is held. `partition` is that of the device. */
int state_linked(struct state *s, uint32_t partition, struct str id, struct arena *a, struct str *user, struct err *e);
/* Facts of one profile; `id` is user:… or anon:…; spans come from the arena. 0, STATE_NOT_FOUND, STATE_LINKED, negative
 * errno; -EAGAIN while it is held, see state_holds. */
int state_profile(struct state *s, uint32_t partition, struct str id, struct arena *a, struct state_profile *out,
                  struct err *e);

/* How many events a profile has: of one that is to be folded anew as many as it had; 0: memory does not know it. Quick.
 */
uint64_t state_profile_events(struct state *s, uint32_t partition, struct str id);

/* A consistent reading of one profile: its whole path and its orders. Everything in it lives until state_view_free. */
struct state_view {
    struct str id;
    int64_t version;
    uint64_t changes;        /* the state's */
    struct path_entry *path; /* the order of events; bytes are packed events */
    size_t path_count;
    struct order *orders; /* owned by this profile, by placed_at (else first statement), then order id */
    size_t order_count;
    struct str record; /* of the profile, see state_view_profile */
    bool amid;         /* as in state_profile */
    void *private;
};
/* As state_profile; -EBUSY when others' views hold so much memory that this one has to wait. */
/* VIEW_NOBODY: also of a profile without events, which nobody is: one that has the orders of erased people.
 * VIEW_MARKS: marks stand in the path, too, flagged ENTRY_MARK; for who folds traits from it.
 * VIEW_RECORD: for who asks for the profile, too. */
enum { VIEW_PATH = 1, VIEW_ORDERS = 2, VIEW_NOBODY = 8, VIEW_MARKS = 16, VIEW_RECORD = 32 };
int state_view(struct state *s, uint32_t partition, struct str id, unsigned what, struct state_view *out,
               struct err *e);
void state_view_free(struct state_view *v);
/* As state_profile, of the view's moment and without reading: of one made with VIEW_RECORD that has a record; it has
 * none where memory knew the profile. */
int state_view_profile(const struct state_view *v, struct arena *a, struct state_profile *out, struct err *e);

/* For one who knows what the path was before a time: the path from there on, if nothing else of it changed since. */
struct state_fence {
    uint64_t id;    /* of the reading before; 0: there was none, or it could not be noted */
    int64_t before; /* INT64_MIN: nothing is known; set so when more of the path changed: then all of it is read */
};
/* As state_view, of entries that are not before fence->before. Of a profile only one may know it so: the next reading
 * looks from this one on. */
int state_view_since(struct state *s, uint32_t partition, struct str id, unsigned what, struct state_fence *fence,
                     struct state_view *out, struct err *e);

/* For who looks at many profiles of a partition, best in the order of their hashes: each view is of its own moment, as
 * one of state_view_since without a fence, but takes a fraction of the time. One thread; NULL: memory is out. */
struct state_reader;
struct state_reader *state_reader_new(struct state *s, uint32_t partition);
int state_reader_view(struct state_reader *reader, const struct key_hash *hash, unsigned what, struct state_view *out,
                      struct err *e);
/* Lets go of the disk; before who looks waits for something. */
void state_reader_rest(struct state_reader *reader);
/* NULL is allowed. */
void state_reader_free(struct state_reader *reader);

/* The home of an order: the partition that knows whose it is. */
uint32_t state_order_partition(const struct state *s, struct str order_id);
/* Whose an order is, as a profile's id in the arena; `partition` is its home. The order stands among those of that
 * profile, but for the moment in which it moves. 0, STATE_NOT_FOUND or a negative errno. */
int state_order(struct state *s, uint32_t partition, struct str order_id, struct arena *a, struct str *owner,
                struct err *e);

/* --- erasure ---------------------------------------------------------------------------------------------------- */

/* Folding COMMAND_ERASE takes a person out of the partition, or a device's part that was theirs, and the next commit
 * takes it off what is read from disk; the old bytes are in files until these are written anew. */

/* Whether that is still to be done; `through`: once as much is on disk (disk_offset of state_figures, which are the
 * state's offsets). Still true after a restart. Any thread; quick. */
bool state_erasing(struct state *s, uint32_t partition, int64_t *through);
/* Profiles that were erased, as far as they are known: not those of before the program started. One block, to be freed,
 * with the texts in it; NULL when there are none or memory is out, which *n tells apart (SIZE_MAX). Any thread. */
struct str *state_erased_profiles(struct state *s, uint32_t partition, size_t *n);
/* Writes all files of the partition anew: they may hold something of them, also where nothing was erased, since it may
 * have moved away before its person was. At once when nothing was written since the last time; else it takes its time.
 * Any thread that may wait, one at a time. */
int state_compact(struct state *s, uint32_t partition, struct err *e);
/* Ends one that is under way, soon, with -ECANCELED, and lets none begin. Any thread. */
void state_compact_stop(struct state *s);
/* Nothing of what was erased up to there is anywhere any more; with the next commit that is known on disk. Any thread.
 */
void state_cleaned(struct state *s, uint32_t partition, int64_t through);

/* Whether an event at that time of the stream's owner is erased: `profile` is "user:U" of an event with a user, else
 * "anon:D"; with the time TIME_NONE, whether any ever was. Only of profiles whose home's state is here; false of
 * others. Any thread that may wait. */
int state_is_erased(struct state *s, struct str profile, const struct event_key *key, bool *out, struct err *e);

/* One past the state offset of the last command that erased the profile; 0: none did. A version below it is of a life
 * that is over. Any thread; quick. */
int64_t state_erased_version(struct state *s, uint32_t partition, struct str profile);

/* What became of a command. */
struct state_erasure {
    int64_t offset;      /* of the command on the log */
    int64_t time, until; /* when it was ordered; events up to that time are gone */
    unsigned char hash[ERASURE_HASH_BYTES], alias[ERASURE_ALIAS_BYTES];
    uint64_t events, devices, orders; /* of the profile when it was erased */
};
/* Of the command at `offset` of the log, as far as it is one of the latest for the person, with what later ones added.
 * 0 or STATE_NOT_FOUND. Any thread. */
int state_erasure(struct state *s, uint32_t partition, int64_t offset, struct state_erasure *out);

/* --- copies --------------------------------------------------------------------------------------------------- */

/* A consistent copy of all that is on disk, with the offsets, while the workers go on: in `folder`, which must not be
 * there yet, on the same file system (else files are copied). Any thread. */
int state_copy(struct state *s, const char *folder, struct err *e);
/* Replaces a partition by that of a copy, whoever made it, and returns with the offset that it stands at; all or
 * nothing after a crash. Nobody may look at the partition or fold it meanwhile. -EINVAL when the copy was made with
 * other rules or another number of partitions. */
int state_take_partition(struct state *s, uint32_t partition, const char *folder, struct err *e);
/* Takes a partition off the disk, as if it had never been here: who folds it next begins with a backup, or with the
 * log's first record. Everything of it must be committed; nobody may fold it meanwhile, and who looks at it finds
 * nothing. After a crash it is gone, or as it was. The worker's side. 0 or a negative errno, and then it is as it was.
 */
int state_forget(struct state *s, uint32_t partition, struct err *e);
/* The names of all sorted files in the state's folder, each with the partition that it is of, UINT32_MAX for what all
 * share. */
void state_files(struct state *s, void (*each)(void *arg, const char *name, uint32_t partition), void *arg);

/* --- another log ---------------------------------------------------------------------------------------------- */

/* The log that the partition was made from is lost: all that was folded stays, and folding goes on with the record
 * `log_begin` of another log. On disk, in one step, when it returns. The state's offsets leave out a stretch: greater
 * than every one that was ever shown, on disk or not, so that versions only grow. Only before the first fold, of a
 * partition that has a state. 0 or a negative errno, and then it stands where it stood. */
#define STATE_ADOPT_STRETCH INT64_C(1000000000000)
int state_adopt(struct state *s, uint32_t partition, int64_t log_begin, struct err *e);

/* --- verify --------------------------------------------------------------------------------------------------- */

struct verify_report {
    uint64_t profiles, events, orders, streams, differences;
};
/* Walks the whole state: every profile equals the fold of its path and orders, orders equal the statements in the
 * paths, indexes agree both ways, counters add up to offsets. `say` gets a line for each difference (at most 1,000).
 * `progress` may be NULL. */
int state_verify(struct state *s, void (*say)(void *arg, const char *line), void (*progress)(void *arg, double share),
                 void *arg, struct verify_report *out, struct err *e);

#endif
