/* Records of the audit log by protobuf-c. Pure. */
#include "proto/codec_audit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/pb.h"
#include "waymark.pb-c.h"

#define UNPACK_BYTES(n) (64 * KIB + 8 * (size_t)(n))

static ProtobufCBinaryData data_of(const void *p, size_t n)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)p, .len = n}; /* packing only reads */
}

static ProtobufCBinaryData data_of_str(struct str s)
{
    return data_of(s.p, s.n);
}

static struct str str_of_data(ProtobufCBinaryData d)
{
    return (struct str){d.len ? (const char *)d.data : "", d.len};
}

static void fill_erasure(Waymark__V1__Erasure *m, const struct audit_erasure *e)
{
    waymark__v1__erasure__init(m);
    m->hash = data_of(e->hash, sizeof e->hash);
    m->alias = data_of(e->alias, sizeof e->alias);
    m->until = e->until;
    m->partition = e->partition;
}

static void fill(Waymark__V1__AuditRecord *m, const struct audit_record *r, ProtobufCBinaryData *targets,
                 Waymark__V1__Erasure *erasure)
{
    waymark__v1__audit_record__init(m);
    m->version = CODEC_VERSION;
    m->time = r->time;
    m->number = r->number;
    m->instance = data_of_str(r->instance);
    m->kind = (Waymark__V1__AuditKind)r->kind;
    m->who = data_of_str(r->who);
    m->from = data_of_str(r->from);
    m->method = data_of_str(r->method);
    m->route = data_of_str(r->route);
    for (size_t i = 0; i < r->target_count; i++)
        targets[i] = data_of(r->targets[i], AUDIT_TARGET_BYTES);
    m->targets = targets;
    m->n_targets = r->target_count;
    m->count = r->count;
    m->status = r->status;
    m->has_request = str_has(r->request);
    m->request = data_of_str(r->request);
    m->has_forwarded = r->forwarded;
    m->forwarded = r->forwarded;
    if (r->erases) {
        fill_erasure(erasure, &r->erasure);
        m->erasure = erasure;
    }
}

bool audit_record_pack(const struct audit_record *r, struct buf *b)
{
    Waymark__V1__AuditRecord m;
    Waymark__V1__Erasure erasure;
    ProtobufCBinaryData *targets = calloc(r->target_count + 1, sizeof *targets);
    size_t bound = 24 * PB_FIELD_BYTES + sizeof r->erasure + r->instance.n + r->who.n + r->from.n + r->method.n +
                   r->route.n + r->request.n + r->target_count * (PB_FIELD_BYTES + AUDIT_TARGET_BYTES);

    if (!targets) {
        b->failed = true;
        return false;
    }
    fill(&m, r, targets, &erasure);
    bool good = pb_pack(&m.base, bound, b);
    free(targets);
    return good;
}

static int take_targets(const Waymark__V1__AuditRecord *m, struct arena *a, struct audit_record *out)
{
    unsigned char(*targets)[AUDIT_TARGET_BYTES] = arena_alloc(a, (m->n_targets + 1) * sizeof *targets);

    if (!targets)
        return -ENOMEM;
    if (m->n_targets > LIMIT_AUDIT_TARGETS)
        return CODEC_INVALID;
    for (size_t i = 0; i < m->n_targets; i++) {
        if (m->targets[i].len != AUDIT_TARGET_BYTES)
            return CODEC_INVALID;
        memcpy(targets[i], m->targets[i].data, AUDIT_TARGET_BYTES);
    }
    out->targets = (const unsigned char(*)[AUDIT_TARGET_BYTES])targets;
    out->target_count = m->n_targets;
    return CODEC_OK;
}

static int take_erasure(const Waymark__V1__Erasure *m, struct audit_record *out)
{
    if (!m)
        return CODEC_OK;
    if (m->hash.len != ERASURE_HASH_BYTES || m->alias.len != ERASURE_ALIAS_BYTES)
        return CODEC_INVALID;
    out->erases = true;
    memcpy(out->erasure.hash, m->hash.data, ERASURE_HASH_BYTES);
    memcpy(out->erasure.alias, m->alias.data, ERASURE_ALIAS_BYTES);
    out->erasure.until = m->until;
    out->erasure.partition = m->partition;
    return CODEC_OK;
}

int audit_record_unpack(struct str bytes, struct arena *a, struct audit_record *out)
{
    if (bytes.n < 2 || bytes.n > LIMIT_RECORD_BYTES)
        return CODEC_INVALID;
    const Waymark__V1__AuditRecord *m = (const Waymark__V1__AuditRecord *)pb_unpack(
        &waymark__v1__audit_record__descriptor, bytes, UNPACK_BYTES(bytes.n), a);

    if (!m)
        return errno == ENOMEM ? -ENOMEM : CODEC_INVALID;
    if (m->version > CODEC_VERSION)
        return CODEC_VERSION_UNKNOWN;
    *out = (struct audit_record){.time = m->time,
                                 .number = m->number,
                                 .instance = str_of_data(m->instance),
                                 .kind = (unsigned)m->kind,
                                 .who = str_of_data(m->who),
                                 .from = str_of_data(m->from),
                                 .method = str_of_data(m->method),
                                 .route = str_of_data(m->route),
                                 .count = m->count,
                                 .status = m->status,
                                 .request = m->has_request ? str_of_data(m->request) : STR_NONE,
                                 .forwarded = m->has_forwarded && m->forwarded};
    int r = take_erasure(m->erasure, out);
    return r == CODEC_OK ? take_targets(m, a, out) : r;
}
