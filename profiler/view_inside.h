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

struct reading {
    struct arena arena;
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
    struct table devices; /* of its path: anybody can make many */
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
/* The key and value there; false when it does not begin with `prefix`, or there is none. Spans until the next step. */
bool reading_at(struct reading *r, const struct key *prefix, struct str *key, struct str *value);
/* The profile's path, in order, into the reading: view_path.c. 0 or a negative errno. */
int reading_path(struct reading *r, struct key_hash profile);

#endif
