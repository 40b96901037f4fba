/* Look-ups of facts. Any thread. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/state_private.h"

#define FACTS_BYTES (256 * MIB)

/* --- facts ---------------------------------------------------------------------------------------------------- */

enum where { IN_MEMORY, ON_DISK, TO_BE_FOLDED };

/* Facts as bytes: making a copy of them takes long enough to be done without the lock. */
static int pack_from_memory(struct partition *p, struct key_hash hash, struct buf *b, struct state_profile *out,
                            enum where *where)
{
    const struct profile *r;
    int rc = 0;

    pthread_mutex_lock(&p->lock);
    r = partition_find_profile(p, hash);
    if (!r || r->version == 0) {
        *where = ON_DISK;
    } else if (r->refold) {
        *where = TO_BE_FOLDED;
    } else {
        *where = IN_MEMORY;
        out->version = r->version;
        rc = facts_pack(&r->facts, b) ? 0 : -ENOMEM;
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

static int unpack(struct str bytes, struct state_profile *out, struct err *e)
{
    int rc = facts_unpack(bytes, &out->facts);

    return rc > 0 ? damaged(e, "the facts of a profile") : rc;
}

static int facts_from_disk(struct partition *p, struct key_hash hash, struct state_profile *out, struct err *e)
{
    struct key key = key_one(KEY_PROFILE, hash);
    struct profile_record record;
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? STATE_NOT_FOUND : rc;
    if (profile_record_read(v.bytes, &record) < 0) {
        rc = damaged(e, "a profile");
    } else {
        out->version = record.version;
        rc = unpack(record.facts, out, e);
    }
    store_value_free(&v);
    return rc;
}

/* Leaves the folded facts for the next who asks, unless the profile has changed meanwhile. */
static void give_back(struct partition *p, struct key_hash hash, int64_t version, struct facts *facts)
{
    struct profile *r;

    pthread_mutex_lock(&p->lock);
    r = partition_find_profile(p, hash);
    if (r && r->refold && r->version == version) {
        struct facts old = r->facts;

        r->facts = *facts;
        *facts = old;
        r->refold = false;
        p->figures.refolds++;
        partition_recount(p, &r->kept);
    }
    pthread_mutex_unlock(&p->lock);
}

static int facts_by_folding(struct partition *p, struct str id, struct key_hash hash, struct buf *b,
                            struct state_profile *out, struct err *e)
{
    struct state_view view;
    struct facts facts;
    int rc = state_view(p->state, p->number, id, VIEW_PATH | VIEW_ORDERS, &view, e);

    if (rc != 0)
        return rc;
    out->version = view.version;
    rc = state_view_fold(&view, p->state->rules, &facts);
    state_view_free(&view);
    if (rc < 0)
        return rc;
    if (facts_pack(&facts, b))
        rc = unpack(buf_str(b), out, e);
    else
        rc = -ENOMEM;
    give_back(p, hash, out->version, &facts);
    facts_deinit(&facts);
    return rc;
}

int state_profile(struct state *s, uint32_t partition, struct str id, struct arena *a, struct state_profile *out,
                  struct err *e)
{
    struct partition *p = &s->partitions[partition];
    struct key_hash hash;
    enum where where;
    struct buf b;
    int rc;

    assert(partition < s->partition_count);
    if (!profile_id_valid(id))
        return STATE_NOT_FOUND;
    out->id = arena_dup(a, id);
    if (!out->id.p)
        return -ENOMEM;
    buf_init(&b, FACTS_BYTES);
    pthread_rwlock_rdlock(&p->place);
    hash = partition_hash(p, id);
    rc = pack_from_memory(p, hash, &b, out, &where);
    if (rc == 0 && where == ON_DISK)
        rc = facts_from_disk(p, hash, out, e);
    pthread_rwlock_unlock(&p->place);
    if (rc == 0 && where == IN_MEMORY)
        rc = unpack(buf_str(&b), out, e);
    else if (rc == 0 && where == TO_BE_FOLDED)
        rc = facts_by_folding(p, id, hash, &b, out, e);
    buf_deinit(&b);
    return rc;
}
