/* One reading of a profile under way: what it has taken hold of, and the path that it merges. Private to view*.c; the
 * thread of whoever looks. */
#ifndef WAYMARK_VIEW_INSIDE_H
#define WAYMARK_VIEW_INSIDE_H

#include "profiler/state_private.h"

struct seen_stream {
    struct key_hash hash;
    struct str device; /* reading_device_name() */
    struct entry *entries;
    struct gone *gone;
    struct event_key *gone_keys; /* sorted */
    size_t gone_count;
    bool rewritten; /* what is on disk does not count */
    bool merged;
};

struct seen_order {
    struct key_hash order;
    struct order_doc *doc;
};

/* The streams of one device make sessions together. */
struct device_number {
    struct table_node node; /* key: hash of reading_device_name() */
    uint32_t number;
};

/* What many readings use one after the other; see view_reader.c. */
struct state_reader {
    struct state *state;
    uint32_t partition;
    uint32_t commit, restarts; /* of the partition when `disk` was taken hold of */
    unsigned used;             /* readings since */
    struct reader_disk {
        struct store_snapshot *snap; /* NULL: nothing is held */
        struct reader_cursor {
            struct store_iter *it;
            bool any;
            struct key_hash last; /* sought; it stands at its first key or behind */
        } profiles, streams, orders;
        struct store_iter *chunks;
    } disk, before; /* what is to be freed without the lock */
};

struct reading {
    struct arena arena;
    struct state_reader *reader; /* whose are `snap` and all iterators; NULL: they are its own */
    struct interval *interval;
    struct state *state;
    uint32_t partition;
    struct store_snapshot *snap;
    struct store_iter *it; /* NULL until somebody reads by it; one serves all, since they are dear */
    struct err *err;
    uint64_t seen; /* the partition's changes up to this one */
    uint32_t commit;
    struct seen_stream *streams;
    size_t stream_count;
    struct seen_order *orders;
    size_t order_count;
    bool found, refold;
    bool linked;       /* it is a device's, which has a user */
    int64_t own_after; /* of a profile */
    bool empty;        /* it has no events; one that is to be folded may have none either */
    int64_t version;
    bool amid;
    uint64_t changes;
    struct str id; /* as memory or the record has it; absent: nobody asked */
    bool any_device;
    struct key_hash first_device; /* its number is 0 */
    struct table devices;         /* the others of its path: anybody can make many */
    struct path_entry *path;
    size_t path_count, path_cap;
    bool keep;         /* the record */
    struct str record; /* of the profile, if it is read and kept */
    bool marks;        /* they are wanted */
    size_t unmarked;   /* entries of the path that are none */
    bool counted;
    bool heeds;                /* what is held */
    struct state_fence *fence; /* may be NULL */
    int64_t from;              /* the path before it is passed over */
    uint64_t held;             /* bytes counted for it */
};

/* Counts memory that the reading takes: 0, or -EBUSY when look-ups hold too much. */
int reading_hold(struct reading *r, uint64_t bytes);
/* By which the streams of one device are told: its id, or the user's where there is none. In the arena; p is NULL when
 * memory is out. */
struct str reading_device_name(struct reading *r, struct str anonymous_id, struct str user_id);
/* By hash, so that what is on disk finds its counterpart in memory quickly: anybody can make many of both. Both structs
 * begin with the hash. */
int reading_compare_hashes(const void *a, const void *b);
/* Goes to the first of the keys that begin with `prefix`: 0 or -ENOMEM. */
int reading_seek(struct reading *r, const struct key *prefix);
/* An iterator for chunks; NULL: memory is out. */
struct store_iter *reading_chunks(struct reading *r);
/* The key and value there; false when it does not begin with `prefix`, or there is none. Spans until the next step. */
bool reading_at(struct reading *r, const struct key *prefix, struct str *key, struct str *value);
/* The profile's path, in order, into the reading: view_path.c. 0 or a negative errno. */
int reading_path(struct reading *r, struct key_hash profile);
/* One that has read nothing yet, for a view of `what`; NULL: memory is out. */
struct reading *reading_new(struct state *s, uint32_t partition, unsigned what, struct err *e);
/* The view of it, of a profile by its hash; with a reader `id` is not needed. It takes the reading, which ends with the
 * view, or at once unless it returns 0. With `place`. */
int reading_view(struct reading *r, const struct key_hash *hash, struct str id, unsigned what, struct state_view *out);

/* --- view_reader.c ---------------------------------------------------------------------------------------------- */

/* Takes hold of what is on disk for a reading of the partition, if what it holds is of another commit. With `place` and
 * the lock. 0 or -ENOMEM. */
int reader_take(struct state_reader *reader, const struct partition *p);
/* Frees what that let go of; without the lock. */
void reader_drop(struct state_reader *reader);
/* The iterator of keys of the prefix's kind, at the first one that does not stand before it; NULL: memory is out. */
struct store_iter *reader_seek(struct state_reader *reader, const struct key *prefix);
struct store_iter *reader_chunks(struct state_reader *reader);

#endif
