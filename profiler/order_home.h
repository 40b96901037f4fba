/* An order at its home, the partition of "order:" and its id: every statement that was made of it, wherever the events
 * are, whose it is therefore, and what follows: the order is told to its owner, who keeps it with their profile, and
 * the links that it makes are told to the device and to the user.
 *
 * The statements that *count* are the first in the order in which they count: those of a server key first, then in the
 * order of events, as far as LIMIT_STATEMENTS and LIMIT_STATEMENTS_BYTES allow. They are all in memory with their home;
 * the others only in the interval in which they came. So it does not matter how many there are, nor when they came.
 *
 * The worker's, but for what says otherwise. */
#ifndef WAYMARK_ORDER_HOME_H
#define WAYMARK_ORDER_HOME_H

#include "profiler/state_private.h"

struct commit;

/* What one event says of the order, or said. */
struct statement {
    struct table_node node; /* key: hash of the order's and the uid; in the partition's table of them */
    struct order_home *home;
    struct event_rank place; /* of the newest version, if it stands; else only the uid counts */
    struct internal_version version;
    bool removed;
    bool counts;
    bool told;    /* the owner has it, in some version */
    bool changed; /* but not in this one */
    /* Of one that is not removed; absent for one beyond those that count that is only on disk. */
    enum order_status status;
    struct str anonymous_id, user_id, owner, bytes; /* in `memory` */
    size_t cost;                                    /* bytes it takes unpacked */
    bool erased;                                    /* what is left of one of a person who was */
    char *memory;                                   /* owned */
    size_t memory_bytes;
    /* This interval. */
    bool fresh; /* in the home's list */
    struct statement *next_fresh;
    bool leaves; /* in the home's list: it counts no more, and the owner has to be told */
    struct statement *next_leaving;
    /* On disk. */
    bool on_disk, stands_on_disk;
    struct event_rank disk_place;
};

/* A link that was told. */
struct order_link {
    struct str device, user; /* owned; absent: none was told */
    struct event_key key;
};

struct order_home {
    struct table_node node; /* key: hash of the order's id */
    struct kept kept;
    uint64_t interval;             /* in which it changed last */
    struct str id;                 /* behind the struct */
    struct str owner;              /* [lock] a profile's id; owned. Absent: no statement is left */
    struct order_link link, guest; /* of link_by_order; of the device order:ID */
    struct statement **counting;   /* in the order in which they count; owned */
    size_t count, cap;
    struct statement *fresh;   /* changed in this interval */
    struct statement *leaving; /* while a record is worked off */
    bool beyond;               /* there are more than count, none before `cut` */
    struct event_rank cut;
    struct str left; /* while a record is worked off: the user whose statement was erased; owned */
    bool gap;        /* one that counted does no more: the next in line has to be found */
    bool on_disk;
    size_t statement_bytes; /* of all its statements in memory */
};

/* --- order_kept.c: in memory, and as bytes -------------------------------------------------------------------- */

/* From memory, else from disk, else new. 0 or negative errno. */
int partition_order_home(struct partition *p, struct str order_id, struct order_home **out, struct err *e);
/* Only read, for verify: order_home_free is all that may be done with it. */
int order_home_read(struct partition *p, struct str order_id, struct order_home **out, struct err *e);
struct order_home *kept_order_home(struct kept *k);
size_t order_home_bytes(const struct order_home *h);
bool order_home_droppable(const struct partition *p, const struct order_home *h);
/* Takes its statements out of the partition's table. With the lock. */
void order_home_free(struct partition *p, struct order_home *h);
/* Notes that it changes in this interval. */
void order_home_touch(struct partition *p, struct order_home *h);

/* Room for one more that counts. 0 or -ENOMEM. */
int order_home_reserve(struct order_home *h);
/* Whether one more may count, that takes `cost`, where those before it take `bytes`. */
bool order_home_has_room(const struct order_home *h, size_t bytes, size_t cost);
/* Puts one that is on disk behind those that count. 0 or -ENOMEM. */
int order_home_append(struct partition *p, struct order_home *h, const struct statement *from);

/* What an item says: places, ids and status; spans into it and into arena_other. 0, -ENOMEM, or 1: it does not state
 * that order. */
int statement_decode(struct partition *p, struct str order_id, const struct internal_item *item, struct statement *out);
struct statement *statement_in_memory(struct partition *p, struct order_home *h, const struct uid *uid);
/* From memory, else from disk (then without what it says), else NULL. */
int statement_find(struct partition *p, struct order_home *h, const struct uid *uid, struct statement **out,
                   struct err *e);
/* A new one, in the table. NULL when memory is out. */
struct statement *statement_new(struct partition *p, struct order_home *h, const struct uid *uid);
/* Takes version, place and what it says from `from`, copied. 0 or -ENOMEM, and then nothing is changed. */
int statement_set(struct statement *s, const struct statement *from);
void statement_touch(struct partition *p, struct statement *s);
/* Of one that neither counts nor is fresh. */
void statement_free(struct partition *p, struct statement *s);
/* Less than 0 when the statement at `a` counts before that at `b`. */
int counting_cmp(const struct event_rank *a, const struct event_rank *b);

/* A home as it is on disk; spans point into the bytes. Writers are false when the buffer failed, readers 0 or -EIO. */
struct home_record {
    struct str id, owner;
    struct order_link link, guest;
};
bool home_record_write(const struct order_home *h, struct buf *b);
int home_record_read(struct str bytes, struct home_record *out);
/* What stands under its place. */
bool statement_record_write(const struct statement *s, struct buf *b);
int statement_record_read(struct str bytes, struct statement *out);
/* With its key. 0 or -EIO with words. */
int home_place_read(const struct order_home *h, struct str key, struct str value, struct statement *out, struct err *e);
/* What stands under its uid: whether it is gone, else where it stands. */
bool statement_place_write(const struct statement *s, struct buf *b);
int statement_place_read(struct str bytes, struct statement *out);

/* --- order_home.c --------------------------------------------------------------------------------------------- */

/* Whose it is by its statements; absent without any. */
struct str order_home_best(const struct order_home *h);
/* The links that its statements make; spans are theirs. */
void order_home_links(const struct order_home *h, const struct fold_rules *rules, struct order_link *link,
                      struct order_link *guest);

/* --- commit_order.c ------------------------------------------------------------------------------------------- */

/* All orders and homes that changed: 0 or negative errno. */
int commit_orders(struct commit *c);
/* They are on disk now: forgets the interval, of dirty_orders and dirty_order_homes too. */
void settle_orders(struct partition *p);

#endif
