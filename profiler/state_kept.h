/* What a partition holds in memory: the objects of its people, and what was folded since the last commit. Only the
 * files of the state include this.
 *
 * Who may touch a field is marked as in state_private.h.
 *
 * Intervals. What was folded since the last commit is an *interval*: the packed events in blocks of memory that a view
 * keeps alive by a reference. A commit writes it and then, under the lock, only counts the interval's number up: lists
 * that carry an older number are empty from then on, and the worker tidies them up at its leisure. */
#ifndef WAYMARK_STATE_KEPT_H
#define WAYMARK_STATE_KEPT_H

#include <stdatomic.h>

#include "profiler/links.h"
#include "profiler/state.h"
#include "profiler/state_table.h"
#include "profiler/uidset.h"
#include "proto/keys.h"

/* --- an interval ---------------------------------------------------------------------------------------------- */

struct interval_block;
struct interval {
    _Atomic uint32_t refs;
    struct interval_block *blocks; /* [worker] in use */
    struct interval_block *spare;  /* [worker] of the interval before: fresh pages cost more than what is put in them */
    _Atomic size_t used, held;     /* bytes of blocks in use; with the spare ones */
    size_t filled;                 /* [worker] bytes handed out */
};

/* An event folded in this interval. Immutable once it is in its stream's list, but for `dead_at`. */
struct entry {
    struct entry *next; /* the one before it */
    struct event_key key;
    uint32_t flags, length;
    _Atomic uint64_t dead_at; /* the number of the change that replaced it; 0: it stands */
    char bytes[];
};

/* A copy on disk that an earlier one has replaced; the commit takes it out of its chunk. */
struct gone {
    struct gone *next;
    struct event_key key;
};

/* NULL when memory is out. */
struct interval *interval_new(void);
/* Gives back the reference to `old`; when it was the last one, `i` gets its blocks to use them again. */
void interval_recycle(struct interval *i, struct interval *old);
void interval_ref(struct interval *i);
void interval_unref(struct interval *i);
/* Aligned for any type; NULL when memory is out. */
void *interval_alloc(struct interval *i, size_t n);

static inline struct str entry_bytes(const struct entry *e)
{
    return (struct str){e->bytes, e->length};
}

/* --- what is kept in memory ----------------------------------------------------------------------------------- */

enum kept_kind { KEPT_STREAM, KEPT_PROFILE, KEPT_ORDER, KEPT_DEVICE, KEPT_ACCOUNT, KEPT_ORDER_HOME };

/* Links every object into the ring that the clock of eviction goes round. */
struct kept {
    struct kept *prev, *next;
    enum kept_kind kind;
    bool touched;
    size_t bytes; /* [lock] as counted in the partition's memory */
};

/* Session events of one session that lie in this interval. */
struct span {
    int64_t first, last;
};

struct uid_slot {
    uint64_t spread;
    struct entry *entry;
};

/* What stands in a stream. Each kind has keys of its own. */
enum stream_kind {
    STREAM_STATED = 0, /* events with these ids, in the partition of their key */
    STREAM_PLACED = 1  /* events of the device without a user that are the user's: copies, from the device's home */
};

/* Flags of an entry beside those of path.h. */
enum {
    ENTRY_PLACED = 64, /* before the event stands the version of what placed it: placed_event() */
    ENTRY_GONE = 128   /* it was placed and taken back; only the version is there */
};

struct stream_id {
    enum stream_kind kind;
    struct str anonymous_id, user_id;
};

struct stream {
    struct table_node node; /* key: hash of the stream */
    struct kept kept;
    enum stream_kind kind;
    struct profile *profile;
    struct str anonymous_id, user_id; /* behind the struct */
    /* [worker] The other stream of its profile with the same device: their events make sessions together. Worth
     * nothing until `sibling_known`. */
    struct stream *sibling;
    bool sibling_known;
    struct device *device;       /* [worker] of one without a user: NULL: it has no links */
    struct stream *next, **link; /* [worker] the next one of its profile in memory; what points to this one */
    struct tombstone *erased;    /* [worker] of its profile; NULL: it was not */
    struct account *account;     /* [worker] of one with device and user */
    uint64_t fresh;              /* [worker] uids of this interval that are not on disk */

    uint64_t interval;         /* [lock] to which the three below belong */
    struct entry *entries;     /* [lock] newest first */
    struct gone *gone;         /* [lock] newest first */
    struct stream *next_dirty; /* [lock] of the profile */
    bool rewritten;            /* [lock] all that counts is in `entries`: what is on disk goes with the next commit */
    bool on_disk;              /* [worker] its record is */

    /* [worker] this interval */
    struct uid_slot *slots; /* entries that stand, by uid */
    size_t slot_count, slot_cap;
    struct span *spans; /* sorted, more than a session gap apart */
    size_t span_count, span_cap;
    bool spans_inexact; /* an event was replaced: only a fold of everything knows the sessions */

    /* [worker] what is on disk */
    struct uidset uids;
    bool large;                         /* has uids written by themselves */
    uint32_t uid_parts, uid_parts_next; /* values that hold them; after the commit being made, if it writes some */
    int64_t disk_last;                  /* no chunk's entry is later; TIME_NONE: nothing on disk */
    int64_t last_next;                  /* the latest entry of the commit being made */
    int64_t session_last;  /* last session event on disk before `session_floor`, within reach of a session */
    int64_t session_floor; /* for times from here on session_last is right; before it the chunks say */
};

/* An order's statements as they are on disk (order_doc_*): made anew for each change. */
struct order_doc {
    _Atomic uint32_t refs;
    size_t n;
    char bytes[];
};

struct kept_order {
    struct table_node node; /* key: of profile and order together */
    struct kept kept;
    struct key_hash profile, order;
    uint64_t interval;             /* [lock] in which it changed last */
    struct order_doc *doc;         /* [lock] NULL: nothing was ever told of it */
    struct kept_order *next_dirty; /* [lock] of the profile */
};

/* A device in the `ids` of a user. One that was taken back is remembered, so that an older record does not bring it
 * back. */
struct member {
    struct str device; /* owned */
    struct internal_version version;
    bool removed;
};

/* What a device's home knows of one of its users. */
struct device_user {
    struct str id; /* owned */
    bool beyond;   /* the user's cap: it does not keep the device */
    struct internal_version verdict;
    int64_t unlinked_until; /* links up to this time do not count; INT64_MIN: none were undone */
    bool told;              /* the user was told that the device is its */
    bool erased;            /* the user was, and `id` is their alias */
    int64_t erased_until;   /* what was theirs up to then is gone; INT64_MIN: nothing is */
    struct key_hash was;    /* of an erased one: the hash of "user:" and the id under the shop's key */
};

/* A device that somebody was linked to, at its home. [worker] but for what says otherwise. */
struct device {
    struct table_node node; /* key: hash of the id */
    struct kept kept;
    uint64_t interval;         /* in which it changed last */
    struct str id;             /* behind the struct */
    struct stream *stream;     /* in memory: its events without a user; or NULL */
    struct device_user *users; /* [lock] owned; never moves one to another number */
    size_t user_count, user_cap;
    bool crowded; /* [lock] more users than it may have, for good: no link counts and no further one is kept */
    bool shared;  /* [lock] more users or more events than it may have */
    uint32_t figures[IDENTITY_FIGURES]; /* [lock] what it adds to the partition's */
    struct runs runs;                   /* [lock] of the links that count */
    struct links links;                 /* all; worth nothing unless `links_known` */
    bool links_known;
    bool links_changed;                   /* those on disk are to be written anew */
    bool behind;                          /* what follows from the links could not be worked out yet */
    struct links fresh;                   /* [lock] those of this interval, in the order in which they were said */
    uint32_t link_parts, link_parts_next; /* values on disk that hold links; after the commit being made */
};

/* A device that a user is paired with, for the user's cap. */
struct pair {
    struct str device; /* owned */
    bool by_events;    /* an event says so, the earliest at `evidence` */
    struct event_key evidence;
    bool beyond; /* the device's home was told that it is beyond the cap */
};

/* That an order pairs a device with the user, or did. */
struct order_pair {
    struct str device; /* owned */
    struct event_key key;
    struct uid subject;
    struct internal_version version;
    bool removed;
};

/* What a user's home knows of their devices. [lock] what goes to disk; the rest is the worker's. */
struct account {
    struct table_node node; /* key: hash of the user's id */
    struct kept kept;
    uint64_t interval;
    struct str id;      /* behind the struct */
    uint32_t streams;   /* in memory, which keep it there */
    bool capped;        /* it had more devices than it keeps, once */
    struct pair *pairs; /* owned; sorted by device */
    size_t pair_count, pair_cap;
    struct order_pair *order_pairs; /* owned */
    size_t order_pair_count, order_pair_cap;
};

struct profile {
    struct table_node node; /* key: hash of its id */
    struct kept kept;
    struct str id;                /* behind the struct */
    struct str user;              /* [lock] of a device with links: the user of the latest; owned. Its events are its
                                   * users' then, and the profile itself has none */
    int64_t own_after;            /* [lock] of a device whose last user was erased: only events after it are its own;
                                   * INT64_MIN else */
    struct member *members;       /* [lock] of a user: devices with a link to it, sorted by id; owned */
    size_t member_count;          /* [lock] */
    bool held;                    /* [lock] look-ups wait: the cache may still have it as it was */
    struct stream *streams;       /* [worker] in memory, which keep it there */
    int64_t version;              /* [lock] 0: made for an event that was not folded yet */
    uint64_t changes;             /* [lock] the partition's; one record may change it several times under one version */
    struct facts facts;           /* [lock] exact unless refold; a look-up that folded it puts both right */
    struct traits traits;         /* [lock] likewise */
    bool refold;                  /* [lock] */
    uint32_t watch_round;         /* [lock] in which it was noted last */
    uint64_t fence;               /* [lock] of the last state_view_since; look-ups set it */
    int64_t fence_low;            /* [lock] the earliest time at which its path changed since then */
    uint64_t interval;            /* [lock] to which the two below belong */
    struct stream *dirty_streams; /* [lock] */
    struct kept_order *dirty_orders; /* [lock] */
};

#endif
