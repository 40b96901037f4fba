/* Records of the audit log as waymark.v1.AuditRecord. Pure; any thread. */
#ifndef WAYMARK_CODEC_AUDIT_H
#define WAYMARK_CODEC_AUDIT_H

#include "common/arena.h"
#include "common/buf.h"
#include "proto/codec.h"
#include "proto/internal.h"

#define AUDIT_TARGET_BYTES 16

/* That a person was erased, without who it was: what erases them again where an older state was brought back. */
struct audit_erasure {
    unsigned char hash[ERASURE_HASH_BYTES], alias[ERASURE_ALIAS_BYTES];
    int64_t until;
    uint32_t partition; /* of the command */
};

struct audit_record {
    int64_t time;
    uint64_t number; /* of its instance, in order */
    struct str instance;
    unsigned kind; /* enum audit_kind of profiler/audit.h: AUDIT_READ or later */
    struct str who, from, method, route;
    const unsigned char (*targets)[AUDIT_TARGET_BYTES];
    size_t target_count; /* at most LIMIT_AUDIT_TARGETS */
    uint64_t count;
    unsigned status;
    struct str request; /* absent: none */
    bool forwarded, erases;
    struct audit_erasure erasure; /* of one that erases */
};

/* Appends; false (b->failed) when it does not fit, or memory is out. */
bool audit_record_pack(const struct audit_record *r, struct buf *b);
/* Results as for event_unpack; `bytes` and the arena must outlive `out`. */
int audit_record_unpack(struct str bytes, struct arena *a, struct audit_record *out);

#endif
