/* What the log goes on to say of the erased once their records are blanked. Private to the state. See grave.c. */
#ifndef WAYMARK_GRAVE_H
#define WAYMARK_GRAVE_H

#include "profiler/state_private.h"

/* Puts on the partition's log who the erased user of the device was to it: all of their links, or the one that came
 * late. The links are known. Only where tell may be called; memory that is out ends the process. Worker. */
void grave_leave(struct partition *p, const struct device *d, uint32_t user, const struct link *late);
/* The device is about to be spoken of by its name: what waits for it becomes part of it. Before anything of it is
 * looked for; tells nothing. 0 or negative errno, and then it may be called again. Worker. */
int grave_meet(struct partition *p, struct str device, struct err *e);
/* Whether a record of the kind can be read. */
bool grave_is_one(const struct internal *r);

/* --- grave_hold.c: what is kept while a log is caught up with ---------------------------------------------------- */

/* Whether what falls to the erased is kept for now: somebody else may have it by a record that comes. Worker. */
bool grave_holds(const struct partition *p);
/* Of the device something is kept so. 0 or negative errno. Worker. */
int grave_hold(struct partition *p, const struct device *d, struct err *e);
/* Whether something was, and it is to go. */
bool grave_lets_go(const struct partition *p, const struct device *d);
void grave_let_go(struct partition *p, const struct device *d);
/* Before a record is folded, and once it is, before what it sets off: the last one before which things are held has all
 * devices with such look again. 0 or negative errno. Worker. */
int graves_prepare(struct partition *p, int64_t offset, struct err *e);
void graves_release(struct partition *p, int64_t offset);

/* --- graves.c: what waits for its device, and what was said already -------------------------------------------- */

enum grave_kind {
    GRAVE_SAID = 0,  /* key: the partition's hash of the record that it has said */
    GRAVE_WAITS = 1, /* for the device; key: its hash under the shop's key; its records */
    GRAVE_HOLDS = 2  /* events of the device; key: its own; its id */
};
struct grave {
    struct table_node node;
    enum grave_kind kind;
    bool gone; /* with the next commit */
    bool dirty;
    char *v; /* records, each behind its length; NULL: on disk */
    size_t n;
};

/* NULL when there is none. Worker, as all of these. */
struct grave *graves_find(const struct partition *p, const struct key_hash *hash);
/* Made where there is none; NULL when memory is out. */
struct grave *graves_make(struct partition *p, const struct key_hash *hash, enum grave_kind kind);
void graves_drop(struct partition *p, struct grave *g);
/* Has its records in memory. 0 or negative errno. */
int graves_fetch(struct partition *p, struct grave *g, struct err *e);
/* One more; what is there already is not there twice. 0 or -ENOMEM. */
int graves_add(struct partition *p, struct grave *g, struct str record);
/* The next record; false at the end, where p == end, and for bytes that are none. */
bool graves_next(const char **p, const char *end, struct str *record);

#endif
