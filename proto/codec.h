/* Bytes on the log and back: events of waymark.v1 by protobuf-c. Packing is canonical: one
 * event has one byte string. Unpacking takes hostile bytes: it is capped by LIMIT_RECORD_BYTES and by the arena. Pure.
 */
#ifndef WAYMARK_CODEC_H
#define WAYMARK_CODEC_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/limits.h"
#include "proto/event.h"

#define CODEC_VERSION 1

/* What unpacking n bytes takes of the arena at most, whatever they are: what may be in 10,000 items, the texts, and the
 * marks of where fields stand. Most events take about three times their size. */
#define CODEC_UNPACK_BYTES(n) (8 * MIB + 2 * (size_t)(n))

enum { CODEC_OK = 0, CODEC_INVALID = 1, CODEC_VERSION_UNKNOWN = 2 };

/* Appends the packed event; false (b->failed) when it does not fit. */
bool event_pack(const struct event *e, struct buf *b);
/* CODEC_INVALID for what is no event, lacks an id or a uid, or does not fit the arena; CODEC_VERSION_UNKNOWN for one of
 * a later format; -ENOMEM when memory is out, which says nothing of the bytes. `bytes` must outlive `out`. */
int event_unpack(struct str bytes, struct arena *a, struct event *out);

/* Type and name of a packed event, without unpacking it: a span into the bytes. False for what is no event; that it is
 * one says only event_unpack. */
bool event_peek(struct str packed, enum event_type *type, struct str *name);
/* A text of the first of its items, by the name that it has in struct item: a span into the bytes. False where there is
 * none; then event_unpack says what there is. */
bool event_peek_item(struct str packed, struct str name, struct str *text);
/* About how much memory the event takes unpacked: quick, without unpacking it, and the same for the same bytes. */
size_t event_unpacked_bytes(struct str packed);

/* An event that was refused: why, and what came. */
struct bad_event {
    int64_t received;
    struct str source; /* of the key */
    struct str route;
    uint32_t position;
    struct str code, message;
    struct str bytes;   /* as received, cut to LIMIT_EVENT_BYTES */
    bool sealed;        /* `bytes` are sealed, see common/seal.h */
    uint64_t full_size; /* before it was cut */
    /* Of a record of the events' topic that is no event: where it stands. */
    bool from_log;
    uint32_t log_partition;
    int64_t log_offset;
};

bool bad_event_pack(const struct bad_event *e, struct buf *b);
int bad_event_unpack(struct str bytes, struct arena *a, struct bad_event *out);

/* By which a profiler says that it follows a partition from now on. */
struct claim_record {
    struct str instance, url;
    int64_t time;
};

bool claim_pack(const struct claim_record *c, struct buf *b);
/* Results as for event_unpack; spans lie in the arena. */
int claim_unpack(struct str bytes, struct arena *a, struct claim_record *out);

/* BLAKE2b of 128 bits over length-prefixed fields, absent apart from empty: nobody can make two events collide.
 * The uid of (source, anonymous id, user id, message id). */
struct uid event_uid(struct str source, struct str anonymous_id, struct str user_id, struct str message_id);
/* Likewise of an alias: that of another device is another event, so that all copies of one make one link. */
struct uid alias_uid(struct str source, struct str anonymous_id, struct str user_id, struct str message_id,
                     struct str previous_id);
/* The message id of an order log that has none: hex of a hash over the fields of INTERFACE section 3 as values, the
 * timestamp too if one was given. `hex` gets 32 characters and a NUL. */
void order_content_id(const struct event *e, char hex[33]);
/* The subject of the link that an order makes: one for each order and device, and never the uid of an event. */
struct uid order_link_uid(struct str order_id, struct str device);
/* Of the packed bytes; decides between two copies that are equal in the order of events. */
struct uid content_hash(struct str packed);

#endif
