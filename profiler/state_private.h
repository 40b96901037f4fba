/* Inside the state: a partition, what it is made of, and its ways from and to the disk. Only the files of the state
 * include this. What is erased stands in erased.h, what one record sets off in cascade.h.
 *
 * Threads. A partition has one worker, the only one who changes it, and any number of look-ups. A field marked [lock]
 * is changed by the worker under the partition's lock, so the worker reads it without and the look-ups with the lock.
 * [worker] is the worker's alone. The lock is never held while reading or writing the store. */
#ifndef WAYMARK_STATE_PRIVATE_H
#define WAYMARK_STATE_PRIVATE_H

#include <pthread.h>

#include "common/limits.h"
#include "profiler/chunk.h"
#include "profiler/state_kept.h"
#include "profiler/store.h"

/* From this many uids on a stream writes them down by themselves. */
#define LARGE_STREAM_UIDS 1024
/* A late chunk spans no more, so that a search by time knows where to stop. */
#define LATE_SPAN_MS (4 * TIME_HOUR)
#define STATE_FORMAT 6
#define PROFILE_KIND_BYTES 5 /* "user:" */
#define PROFILE_ID_MAX_BYTES (PROFILE_KIND_BYTES + KEY_ID_MAX_BYTES)

struct pointers {
    void **v;
    size_t n, cap;
};

#define TOMBSTONE_COMMANDS 8

/* That a profile was erased: known for ever. Offsets are the state's. */
struct tombstone {
    struct table_node node;               /* key: hash of the profile's id under the shop's key */
    uint64_t interval;                    /* [worker] in which it changed last */
    struct state_erasure is;              /* [lock] */
    int64_t commands[TOMBSTONE_COMMANDS]; /* [lock] one past the offset of each, newest first; 0: none */
};

/* A command by its place; it may be too long ago for its tombstone to know it. */
struct erased_command {
    int64_t at; /* as in the tombstone */
    struct tombstone *tombstone;
};

/* What was erased in a partition. */
struct erased {
    struct table tombstones;         /* [lock] */
    struct erased_command *commands; /* [lock] in the order of their places; owned */
    size_t command_count, command_cap;
    struct pointers dirty;   /* [worker] this interval */
    struct pointers emptied; /* [worker] profiles that were erased, or whose device's user was, in this interval */
    int64_t through;         /* [lock] one past the last record that erased something; 0: none did */
    int64_t cleaned;         /* [lock] up to here nothing is in any file any more */
    struct str *profiles;    /* [lock] whose copies the cache may have; owned, and each text */
    size_t profile_count, profile_cap;
};

/* What the log says of the erased by hashes alone, see grave.c. [worker] */
struct graves {
    struct table table;
    struct pointers dirty;     /* this interval */
    size_t waiting;            /* of devices whose names are not known */
    size_t held;               /* devices with events that are not erased yet, see grave.c */
    int64_t until;             /* records before it were on the log when following it began */
    struct grave_names *names; /* owned; see grave_search.c, as the rest */
    uint64_t searches;         /* in this interval */
    uint64_t walks;            /* through everybody, ever */
    bool crowded;              /* there is no room for names, in this interval */
};

/* Profiles that changed, for who watches: see state_watch.h. */
struct watch {
    uint32_t round;    /* [lock] of noting: a profile with this number is noted */
    struct buf notes;  /* [lock] hash and id of each */
    size_t count;      /* [lock] */
    uint64_t noted_in; /* [lock] the interval of the last one */
    bool lost;         /* [lock] not all were noted; */
    uint64_t lost_in;  /* [lock] none after this interval was missed: once it is on disk, the disk says which */
    uint32_t restarts; /* [place] how often the partition became another one */
};

/* What is defined under a kind and a name, in one allocation. Immutable but for `dirty`. */
struct definition {
    enum definition_kind kind;
    struct str name, body; /* behind the struct; body absent: it was removed */
    int64_t time, version;
    bool dirty; /* [worker] not on disk yet */
};

struct definitions {
    struct definition **v; /* [lock] owned, and each; sorted by kind and name */
    size_t n, cap;         /* [lock] */
    size_t bytes;          /* [lock] of all texts */
    size_t dirty;          /* [worker] how many are */
    uint64_t changes;      /* [lock] another number for each change */
};

/* Records are decoded a few ahead of the fold, so that what they will touch is on its way from memory meanwhile. */
#define DECODE_AHEAD 4

struct decoded {
    struct arena arena; /* what the event points into, beside the record */
    struct event ev;
    struct internal internal; /* of such a record */
    struct command command;
    bool is_event;
    bool no_memory;  /* nobody knows yet what it is */
    const char *why; /* it is no event */
    struct key_hash stream;
};

/* What is to be put on the log; keys and values are malloc'ed. */
struct emissions {
    struct state_emission *v;
    size_t n, cap;
};

/* Something that this partition has to tell itself. */
struct told {
    struct told *next;
    struct internal r; /* all of it in the arena of the cascade */
    size_t done;       /* items that were worked off */
};

/* What one record of the log sets off. A record counts when all of it has been worked off: when the store fails in
 * between, folding goes on there. */
struct cascade {
    struct arena arena;
    struct told *first, *last;
    int64_t cause;   /* offset of the record */
    uint32_t index;  /* of the last thing told because of it */
    uint32_t graves; /* likewise, of what it told itself by the log */
    bool open;       /* the record is shown, and what it set off is not worked off yet */
    enum outcome outcome;
    uint32_t sender; /* of the record, and its version, if it is another partition's; else NOBODY */
    struct internal_version version;
};
#define NOBODY UINT32_MAX

struct partition {
    struct state *state;
    uint32_t number;
    struct key_secret secret; /* of the hashes in its keys; goes to disk with the offset, by the first commit */
    /* Look-ups hold it shared while they read the store; exclusive while the partition on disk becomes another. Taken
     * before the lock. */
    pthread_rwlock_t place;
    pthread_mutex_t lock;
    struct table streams, profiles, orders;      /* [lock] */
    struct table devices, accounts, order_homes; /* [lock] */
    struct table statements;                     /* [worker] of orders at their homes */
    struct kept ring;                            /* [worker] head */
    struct kept *hand;                           /* [worker] */
    size_t kept_count;                           /* [worker] */

    uint64_t interval_number;     /* [lock] */
    struct interval *interval;    /* [lock] the pointer */
    uint32_t commit;              /* [lock] number of the last commit that views may read */
    struct state_figures figures; /* [lock]; memory is kept apart */
    uint64_t changes;             /* [lock] of profiles, so that each has a number of its own */
    uint64_t memory;              /* [lock] of what is kept, without the interval */
    uint64_t memory_base;         /* [worker] memory after the last eviction */
    struct pointers dirty_streams, dirty_profiles, dirty_orders; /* [worker] this interval */
    struct pointers dirty_devices, dirty_accounts, dirty_order_homes;
    struct cascade cascade;         /* [worker] */
    struct internal_version *sent;  /* [lock] last that each partition was told */
    struct internal_version *heard; /* [lock] newest that was heard of each */
    /* Profiles that are held, and their ids for who asks. [worker] */
    struct pointers unannounced;
    struct str *unannounced_ids;
    struct str record_key;              /* [worker] of the record being folded */
    struct uid last_uid;                /* [worker] of the last record that was an event */
    int64_t last_offset;                /* [worker] its offset; -1: none of this log */
    struct store_batch *batch;          /* [worker] of the last commit, when it was a large one; or NULL */
    _Atomic size_t batch_held;          /* bytes that it keeps */
    struct decoded ahead[DECODE_AHEAD]; /* [worker] the records being folded */
    struct emissions emissions;         /* [worker] */
    struct erased erased;
    struct graves graves;
    struct watch watch;
    struct definitions definitions;
    struct arena order_arena; /* [worker] one record's orders */
    struct arena arena_other; /* [worker] an event looked at in passing */
    struct buf scratch;       /* [worker] */
};

struct state {
    struct store *store;
    const struct fold_rules *rules;
    uint64_t seed;
    uint64_t commit_bytes, cache_bytes, view_bytes;
    _Atomic uint64_t views_held; /* bytes of all counted views */
    _Atomic uint64_t fences;     /* that were set */
    uint32_t partition_count;
    bool read_only;
    bool keyed;
    bool announce;
    bool watch;
    uint64_t watch_bytes;
    _Atomic size_t watched; /* bytes of all notes */
    struct partition *partitions;
};

/* --- partition.c: objects ------------------------------------------------------------------------------------- */

int partition_init(struct partition *p, struct state *s, uint32_t number, struct err *e);
/* Copes with one that was never inited (zeroed). */
void partition_deinit(struct partition *p);
struct key_hash partition_hash(const struct partition *p, struct str bytes);
/* Copies a text to *at, which moves behind it: into memory that was taken together with an object. */
struct str copy_behind(char **at, struct str s);
/* From memory, else from disk, else new (version 0, not on disk). Worker, without the lock. 0 or negative errno. */
int partition_profile(struct partition *p, struct str id, struct profile **out, struct err *e);
/* Likewise; `hash` is that of its ids. */
int partition_stream(struct partition *p, const struct stream_id *id, struct key_hash hash, struct stream **out,
                     struct err *e);
struct key_hash stream_hash(const struct partition *p, const struct stream_id *id);
/* Has the stream know its user's account. 0 or negative errno. */
int stream_open_account(struct partition *p, struct stream *s, struct err *e);
/* The other stream of its profile with the same device, NULL when there is none. 0 or negative errno. */
int stream_sibling(struct partition *p, struct stream *s, struct stream **out, struct err *e);
/* Puts an object into its table and the ring. Worker, without the lock. 0 or -ENOMEM. */
int partition_keep(struct partition *p, struct table *t, struct table_node *node, struct kept *k);
int partition_order(struct partition *p, struct key_hash profile, struct key_hash order, struct kept_order **out,
                    struct err *e); /* order_doc.c */
/* Only from memory; NULL when it is not there. With the lock, or the worker. */
struct stream *partition_find_stream(struct partition *p, struct key_hash hash);
/* Hands every row on disk whose key begins with that kind to `take`, until it returns other than 0, which is returned.
 */
typedef int partition_row(struct partition *p, struct str key, struct str value, struct err *e);
int partition_load_rows(struct partition *p, char kind, partition_row *take, struct err *e);
struct profile *partition_find_profile(struct partition *p, struct key_hash hash);
/* Notes that the profile changes in this interval. Worker, with the lock; room must be reserved. */
void profile_touch(struct partition *p, struct profile *r);
/* The same of a change that leaves its path as it is before `from`. */
void profile_touch_from(struct partition *p, struct profile *r, int64_t from);
/* Its facts and traits are these, folded anew; the old ones are given back in their place. With the lock. */
void profile_take(struct partition *p, struct profile *r, struct facts *facts, struct traits *traits);
/* Counts what an object holds now. With the lock. */
void partition_recount(struct partition *p, struct kept *k);
/* Drops clean objects until memory fits the budget. Worker, without the lock. */
void partition_evict(struct partition *p);
/* Forgets everything: the partition on disk is another, which stands where `meta` says. `fresh` is taken. Worker, with
 * `place` held exclusively. */
struct meta;
void partition_restart(struct partition *p, const struct meta *meta, struct interval *fresh);
/* Room for `more` pointers: 0 or -ENOMEM. Then pointers_add cannot fail. */
int pointers_reserve(struct pointers *v, size_t more);
void pointers_add(struct pointers *v, void *item);

struct stream *kept_stream(struct kept *k);
struct profile *kept_profile(struct kept *k);
struct kept_order *kept_order_of(struct kept *k);
size_t order_bytes(const struct kept_order *o);
void order_free(struct kept_order *o);

static inline bool stream_current(const struct partition *p, const struct stream *s)
{
    return s->interval == p->interval_number;
}

static inline bool profile_current(const struct partition *p, const struct profile *r)
{
    return r->interval == p->interval_number;
}

/* --- partition_records.c: ids and what stands on disk --------------------------------------------------------- */

/* "user:U" or "anon:D" in `buf`, which has PROFILE_ID_MAX_BYTES. */
struct str profile_id(struct str anonymous_id, struct str user_id, char *buf);
bool profile_id_valid(struct str id);
/* The key on the log of a profile's events: its id without the kind. */
struct str profile_log_key(struct str id);
/* The other profile with the same log key. */
struct str profile_sibling(struct str id, char *buf);

/* A profile as it is on disk; spans point into the bytes. 0 or -EIO. */
struct profile_record {
    struct str id;
    int64_t version;
    struct str user, members, traits;
    int64_t own_after;
    struct str facts;
};
int profile_record_read(struct str bytes, struct profile_record *out);
/* A stream's ids as they are on disk. False when the buffer failed; 0 or -EIO. */
bool stream_record_write(const struct stream_id *id, struct buf *b);
int stream_record_read(struct str bytes, struct stream_id *out);
/* The members of a profile: 0 or negative errno, -EIO for damage. */
void put_members(const struct member *v, size_t n, struct buf *b);
int get_members(struct str bytes, struct member **out, size_t *count);
void member_list_free(struct member *v, size_t n);
/* A text, absent apart from empty. */
void put_text(struct buf *b, struct str s);
bool get_text(const char **p, const char *end, struct str *out);
bool get_uid(const char **p, const char *end, struct uid *out);
void put_key(struct buf *b, const struct event_key *k);
bool get_key(const char **p, const char *end, struct event_key *out);
void put_version(struct buf *b, struct internal_version v);
bool get_version(const char **p, const char *end, struct internal_version *out);
/* The version before a placed event, and the event; absent for one that is gone. False for bytes that are none. */
bool placed_event(struct str bytes, struct internal_version *version, struct str *event);
/* A copy on the heap. 0 or -ENOMEM. */
int text_copy(struct str from, struct str *out);

/* --- partition_person.c: devices and accounts ----------------------------------------------------------------- */

/* As partition_profile; *out is NULL where there is none and `make` is false. */
int partition_device(struct partition *p, struct str id, bool make, struct device **out, struct err *e);
int partition_account(struct partition *p, struct str id, struct account **out, struct err *e);
struct device *kept_device(struct kept *k);
struct account *kept_account(struct kept *k);
size_t device_bytes(const struct device *d);
size_t account_bytes(const struct account *a);
size_t members_bytes(const struct profile *r);
void device_free(struct device *d);
void account_free(struct account *a);
/* Note that it changes in this interval. Worker. */
void device_touch(struct partition *p, struct device *d);
void account_touch(struct partition *p, struct account *a);
/* Makes sure that all links are in memory. 0 or negative errno. */
int device_load_links(struct partition *p, struct device *d, struct err *e);
/* What stands on disk of them. False when the buffer failed. */
bool device_write(const struct device *d, struct buf *b);
bool account_write(const struct account *a, struct buf *b);
/* One that is nobody's yet, with its id and nothing else; NULL when memory is out. To be freed, also when it could not
 * be read from what stands on disk: 0, -EIO or -ENOMEM. Any thread. */
struct device *device_new(const struct partition *p, struct str id);
struct account *account_new(const struct partition *p, struct str id);
int device_unpack(struct str bytes, struct device *d);
int account_read(struct str bytes, struct account *a);

/* --- stream_open.c --------------------------------------------------------------------------------------------- */

/* Unties it and frees it; it is in no table any more. With the lock. */
void stream_drop(struct stream *s);

/* --- partition_stream.c: a stream's memory -------------------------------------------------------------------- */

void stream_deinit(struct stream *s);
size_t stream_bytes(const struct stream *s);
/* Fetches ahead what stream_entry will touch. */
void stream_fetch_entry(const struct stream *s, const struct uid *uid);
/* The entry of this interval with that uid, or NULL. */
struct entry *stream_entry(const struct stream *s, const struct uid *uid);
/* Makes room for one more entry: 0 or -ENOMEM. Then stream_entry_put cannot fail. */
int stream_entry_reserve(struct stream *s);
/* Puts the entry in the place of its uid. */
void stream_entry_put(struct stream *s, struct entry *e);
/* Loads uids and the last times. 0 or negative errno. */
int stream_load(struct partition *p, struct stream *s, struct err *e);
/* Uids written by themselves, into s->uids; says in s->large whether there were any. */
int stream_load_uids(struct partition *p, struct stream *s, struct err *e);
/* Session events next to `time` in this stream, as far as a session may reach; TIME_NONE for none. */
struct neighbours {
    bool inside; /* `time` lies inside a session of this interval: nothing changes */
    int64_t before, after;
};
int stream_neighbours(struct partition *p, struct stream *s, int64_t time, struct neighbours *out, struct err *e);
/* Notes a session event. 0 or -ENOMEM. */
int stream_span_add(struct stream *s, int64_t time, int64_t gap);
/* Notes that it changes in this interval. With the lock; room must be reserved, for its profile too. */
void stream_touch(struct partition *p, struct stream *s, int64_t from); /* fold_entry.c; as profile_touch_from */
/* What was in memory is on disk now: forgets the interval. */
void stream_settle(struct stream *s);

/* --- stream_rewrite.c: a stream without what was erased ------------------------------------------------------ */

/* All entries that stand, in the order of events, copied into the arena. 0 or negative errno. Worker. */
int stream_read_all(struct partition *p, struct stream *s, struct arena *a, struct chunk_entry **out, size_t *n,
                    struct err *e);
/* The stream as it would be with these entries alone. 0 or -ENOMEM, and then there is nothing to be freed. */
struct stream_rewrite {
    struct entry *entries;
    struct uid_slot *slots;
    size_t slot_count, slot_cap;
};
int stream_rewrite_make(struct partition *p, struct stream *s, const struct chunk_entry *const *kept, size_t n,
                        struct stream_rewrite *out);
/* It is like that from now on; nothing of it is on disk for who reads. Takes what `w` has. With the lock; room must be
 * reserved. */
void stream_rewrite_show(struct partition *p, struct stream *s, struct stream_rewrite *w);
void stream_rewrite_drop(struct stream_rewrite *w);

/* --- partition_chunks.c: reading chunks ----------------------------------------------------------------------- */

struct chunk_range {
    struct key_hash stream;
    int64_t from, to; /* times of entries, both ends in */
    uint32_t commit;  /* later commits are passed over */
};
/* Called for every chunk that may hold an entry of the range, ordinary ones first. Returns 0 to go on, 1 to stop, or a
 * negative errno. */
typedef int chunk_visitor(void *arg, const struct key_place *place, struct str value);
int chunks_visit(struct state *s, uint32_t partition, const struct store_snapshot *snap,
                 const struct chunk_range *range, chunk_visitor *each, void *arg, struct err *e);
/* The same by an iterator that is there, for keys of one prefix. */
int chunks_visit_by(struct store_iter *it, const struct chunk_range *range, chunk_visitor *each, void *arg,
                    struct err *e);
/* -EIO with words. */
int damaged(struct err *e, const char *what);

/* --- state_announce.c ----------------------------------------------------------------------------------------- */

/* With the lock. */
void profile_hold(struct partition *p, struct profile *r);

/* --- fold_emit.c: what folding asks to be put on the log ------------------------------------------------------ */

/* That a record is no event, and why. 0 or -ENOMEM. */
int emit_bad(struct partition *p, const struct log_record *r, const char *why);
/* For another partition, or without a key for this one. Memory that is out ends the process. */
void emit_internal(struct partition *p, struct str key, const struct internal *r);
void emissions_clear(struct emissions *l);

/* --- state_watch.c -------------------------------------------------------------------------------------------- */

void watch_init(struct partition *p);
void watch_deinit(struct partition *p);
/* The profile changes in this interval. With the lock. */
void watch_note(struct partition *p, struct profile *r);
/* The partition became another one. With the lock, and `place` exclusively. */
void watch_restart(struct partition *p);

/* --- definitions.c -------------------------------------------------------------------------------------------- */

/* Works off COMMAND_DEFINE. 0, or negative errno, and then nothing was shown; *why: it is refused, and why. */
int define(struct partition *p, const struct command *c, const char **why);
/* Reads what is on disk. */
int definitions_load(struct partition *p, struct err *e);
/* Forgets all. With the lock, or before others know the partition. */
void definitions_clear(struct partition *p);
struct commit;
int commit_definitions(struct commit *c);
void settle_definitions(struct partition *p);
/* NULL, or what is wrong with what stands under the key. */
const char *definition_wrong(const struct partition *p, struct str key, struct str value);

/* --- commit.c ------------------------------------------------------------------------------------------------- */

/* What stands on disk of a partition as a whole. */
struct meta {
    uint32_t commit;
    int64_t offset, began, base;
    uint64_t outcomes[OUTCOMES], identity[IDENTITY_FIGURES];
    int64_t last_offset;
    struct uid last_uid;
    struct key_secret secret;
    int64_t erased_through, erased_cleaned;
    uint32_t flows; /* how many there are of the two below */
    struct internal_version sent[LIMIT_PARTITIONS], heard[LIMIT_PARTITIONS];
};
bool meta_read(struct str bytes, struct meta *out);
/* With the lock, or before others know the partition. */
void meta_apply(struct partition *p, const struct meta *m);
/* Reads and applies the partition's. */
int meta_load(struct partition *p, struct err *e);

/* --- state.c: what a state was made with ---------------------------------------------------------------------- */

#define STATE_MADE_WITH "made-with"
/* Whether two of these texts are one. False: name and values of the first setting that differs, spans into the texts;
 * the values are absent where they say nothing to people. */
bool made_with_equal(struct str made, struct str now, struct str *name, struct str *was, struct str *is);

/* --- view.c --------------------------------------------------------------------------------------------------- */

/* Beside VIEW_PATH and VIEW_ORDERS: takes what memory it needs. For the worker and verify, which cannot wait. */
enum { VIEW_UNCOUNTED = 4 };

/* --- view_fold.c ---------------------------------------------------------------------------------------------- */

/* Folds the profile anew from a view with path, marks and orders. 0 and facts, or negative errno. */
int state_view_fold(const struct state_view *v, const struct fold_rules *rules, struct facts *out);
/* Likewise of the traits; `was`: whose keys are kept, or NULL. */
int state_view_traits(const struct state_view *v, const struct fold_rules *rules, const struct traits *was,
                      struct traits *out);
/* Both: 0, or negative errno, and then there is neither. */
int state_view_fold_all(const struct state_view *v, const struct fold_rules *rules, const struct traits *was,
                        struct facts *facts, struct traits *traits);

#endif
