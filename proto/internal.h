/* What partitions tell each other and what people command: records of the events' log that are no events. Pure.
 *
 * A person's devices, account and orders may be kept in different partitions. Each device has a home, the partition of
 * its id as a key of the log; so has each account (its id) and each order ("order:" and its id). */
#ifndef WAYMARK_INTERNAL_H
#define WAYMARK_INTERNAL_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/limits.h"
#include "proto/event.h"
#include "proto/keys.h"

#define ORDER_DEVICE_PREFIX "order:" /* of the device of a guest's order, and of the key of an order's home */

/* An order with a longer id has no home: nobody states it. */
#define ORDER_ID_MAX_BYTES (KEY_ID_MAX_BYTES - (sizeof ORDER_DEVICE_PREFIX - 1))

enum internal_kind {
    INTERNAL_LINK = 1,      /* to the device: device, user, key, removed, by_order */
    INTERNAL_VERDICT = 2,   /* to the device: device, user, removed: beyond the user's cap */
    INTERNAL_MEMBER = 3,    /* to the user: device, user, removed */
    INTERNAL_PLACEMENT = 4, /* to the user: device, user, items */
    INTERNAL_PAIR = 5,      /* to the user: device, user, key, removed */
    INTERNAL_STATEMENT = 6, /* to the order: order_id, owner, items */
    INTERNAL_ORDER = 7,     /* to the owner: order_id, owner, items */
    INTERNAL_ERASE = 8,     /* to the device: device, user, alias, until */
    INTERNAL_GRAVE = 9,     /* to the sender's own partition: device and user, as hashes, alias, until, links */
    INTERNAL_RECOUNT = 10   /* to the device, never on the log: device */
};
enum { INTERNAL_FIRST = INTERNAL_LINK, INTERNAL_LAST = INTERNAL_GRAVE };

/* Of two records about one subject the newer counts: offsets are those of the sender's state. */
struct internal_version {
    int64_t cause;  /* offset of the record because of which it is said */
    uint32_t index; /* among all that this record caused, from 1 */
};

static inline int internal_version_cmp(struct internal_version a, struct internal_version b)
{
    if (a.cause != b.cause)
        return a.cause < b.cause ? -1 : 1;
    return a.index < b.index ? -1 : a.index > b.index;
}

struct internal_item {
    struct event_key key;
    struct str bytes; /* the packed event; absent: it is taken back */
};

/* At most so many items are in one record, and so many bytes of events, but for a single one. */
#define INTERNAL_ITEMS 96
#define INTERNAL_ITEM_BYTES (256 * KIB)

struct internal {
    enum internal_kind kind;
    uint32_t sender;
    struct internal_version version;
    struct str device, user, order_id;
    struct str owner;     /* a profile's id */
    struct event_key key; /* of the evidence */
    struct uid subject;   /* of a link or pair: the uid of the event, or one made from the order */
    bool removed, by_order;
    bool erased;      /* of a link: its user was, and `user` is their alias. Of an erasure and a grave always */
    int64_t until;    /* of what is erased: the event time */
    struct str alias; /* of an erasure and a grave: ERASURE_ALIAS_BYTES */
    struct str links; /* of a grave */
    const struct internal_item *items;
    size_t item_count;
};

/* The key on the log of a record, which chooses its partition; absent of a grave, which is placed. `buf` has room for
 * "order:" and an order's id. */
struct str internal_key(const struct internal *r, struct buf *buf);

/* False (b->failed) when it does not fit. */
bool internal_pack(const struct internal *r, struct buf *b);
/* CODEC_INVALID for what is none, or lacks what its kind needs; CODEC_VERSION_UNKNOWN; -ENOMEM. Spans lie in the arena.
 */
int internal_unpack(struct str bytes, struct arena *a, struct internal *out);

enum command_kind { COMMAND_UNLINK = 1, COMMAND_ERASE = 2, COMMAND_DEFINE = 3 };

/* What all partitions have to know. A definition goes to every one of them, placed. */
enum definition_kind { DEFINITION_AUDIENCE = 1, DEFINITION_CUTS = 2, DEFINITION_CAMPAIGN = 3, DEFINITION_KINDS };
#define DEFINITION_NAME_BYTES 64
#define DEFINITION_BODY_BYTES (64 * KIB)

#define ERASURE_HASH_BYTES 16
#define ERASURE_ALIAS_BYTES 16

struct command {
    enum command_kind kind;
    int64_t time;                    /* when it was ordered */
    struct str device, user;         /* to be erased: one of them, or neither: whom the hash means */
    int64_t until;                   /* event time */
    struct str hash;                 /* of an erasure: keyed, of the profile's id */
    struct str alias;                /* of an erasure: random; stands for the user where their links were */
    enum definition_kind definition; /* of a definition, as the two below; 0 of others */
    struct str name, body;           /* body absent: it is removed */
};

bool command_pack(const struct command *c, struct buf *b);
int command_unpack(struct str bytes, struct arena *a, struct command *out);

#endif
