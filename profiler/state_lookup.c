/* Look-ups of facts. Any thread. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/state_private.h"

#define FACTS_BYTES (256 * MIB)

/* Inside: it is read in steps, and was changed between two of them. So often it is read again. */
enum { CHANGED = 3, MOST_TRIES = 8 };

/* --- who uses it ---------------------------------------------------------------------------------------------- */

static bool in_ids(const struct member *m)
{
    return !m->removed && !str_starts(m->device, STR_LIT(ORDER_DEVICE_PREFIX));
}

/* Sorted, as the members are. */
static int take_devices(const struct member *v, size_t n, struct arena *a, struct state_profile *out)
{
    out->devices = arena_alloc(a, (n + 1) * sizeof *out->devices);
    if (!out->devices)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (!in_ids(&v[i]))
            continue;
        out->devices[out->device_count] = arena_dup(a, v[i].device);
        if (!str_has(out->devices[out->device_count++]))
            return -ENOMEM;
    }
    return 0;
}

static int devices_from_record(const struct profile_record *record, struct arena *a, struct state_profile *out,
                               struct err *e)
{
    struct member *v;
    size_t n;
    int rc = get_members(record->members, &v, &n);

    if (rc < 0)
        return rc == -EIO ? damaged(e, "the devices of a profile") : rc;
    rc = take_devices(v, n, a, out);
    member_list_free(v, n);
    return rc;
}

static int user_profile(struct str user, struct arena *a, struct str *out)
{
    char buf[PROFILE_ID_MAX_BYTES];

    *out = arena_dup(a, profile_id(STR_NONE, user, buf));
    return str_has(*out) ? 0 : -ENOMEM;
}

/* STATE_NOT_FOUND: memory does not know it. */
static int linked_in_memory(struct partition *p, struct key_hash hash, struct arena *a, struct str *user, bool *known)
{
    int rc = STATE_NOT_FOUND;

    pthread_mutex_lock(&p->lock);
    const struct profile *r = partition_find_profile(p, hash);
    *known = r && r->version > 0;
    if (*known && r->held)
        rc = -EAGAIN;
    else if (*known && str_has(r->user))
        rc = user_profile(r->user, a, user);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

static int linked_on_disk(struct partition *p, struct key_hash hash, struct arena *a, struct str *user, struct err *e)
{
    struct key key = key_one(KEY_PROFILE, hash);
    struct profile_record record;
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? STATE_NOT_FOUND : rc;
    if (profile_record_read(v.bytes, &record) < 0)
        rc = damaged(e, "a profile");
    else
        rc = str_has(record.user) ? user_profile(record.user, a, user) : STATE_NOT_FOUND;
    store_value_free(&v);
    return rc;
}

int state_linked(struct state *s, uint32_t partition, struct str id, struct arena *a, struct str *user, struct err *e)
{
    struct partition *p = &s->partitions[partition];
    struct key_hash hash;
    bool known;
    int rc;

    assert(partition < s->partition_count);
    if (!profile_id_valid(id) || !str_starts(id, STR_LIT("anon:")))
        return STATE_NOT_FOUND;
    pthread_rwlock_rdlock(&p->place);
    hash = partition_hash(p, id);
    rc = linked_in_memory(p, hash, a, user, &known);
    if (!known)
        rc = linked_on_disk(p, hash, a, user, e);
    pthread_rwlock_unlock(&p->place);
    return rc;
}

bool state_holds(struct state *s, uint32_t partition)
{
    struct partition *p = &s->partitions[partition];

    assert(partition < s->partition_count);
    pthread_mutex_lock(&p->lock);
    bool holds = p->unannounced.n > 0;
    pthread_mutex_unlock(&p->lock);
    return holds;
}

/* --- facts ---------------------------------------------------------------------------------------------------- */

enum where { IN_MEMORY, ON_DISK, TO_BE_FOLDED };

/* Facts as bytes: making a copy of them takes long enough to be done without the lock. */
static int pack_from_memory(struct partition *p, struct key_hash hash, struct buf *b, struct arena *a,
                            struct state_profile *out, enum where *where, uint64_t *changes)
{
    const struct profile *r;
    int rc = 0;

    pthread_mutex_lock(&p->lock);
    r = partition_find_profile(p, hash);
    *where = !r || r->version == 0 ? ON_DISK : r->refold ? TO_BE_FOLDED : IN_MEMORY;
    if (*where != ON_DISK)
        rc = r->held ? -EAGAIN : str_has(r->user) ? STATE_LINKED : take_devices(r->members, r->member_count, a, out);
    if (rc == 0 && *where != ON_DISK) {
        *changes = r->changes;
        out->amid = r->version > p->figures.offset;
        rc = traits_copy(&r->traits, &out->traits); /* of one to be folded: for its keys */
    }
    if (rc == 0 && *where == IN_MEMORY) {
        out->version = r->version;
        rc = facts_pack(&r->facts, b) ? 0 : -ENOMEM;
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

uint64_t state_profile_events(struct state *s, uint32_t partition, struct str id)
{
    struct partition *p = &s->partitions[partition];
    const struct profile *r;
    struct key_hash hash;
    uint64_t n;

    assert(partition < s->partition_count);
    pthread_rwlock_rdlock(&p->place);
    hash = partition_hash(p, id);
    pthread_mutex_lock(&p->lock);
    r = partition_find_profile(p, hash);
    n = r ? r->facts.events : 0;
    pthread_mutex_unlock(&p->lock);
    pthread_rwlock_unlock(&p->place);
    return n;
}

static int unpack(struct str bytes, struct state_profile *out, struct err *e)
{
    int rc = facts_unpack(bytes, &out->facts);

    return rc > 0 ? damaged(e, "the facts of a profile") : rc;
}

/* What memory had. */
static int unpack_own(struct str bytes, struct state_profile *out, struct err *e)
{
    int rc = facts_unpack_own(bytes, &out->facts);

    return rc > 0 ? damaged(e, "the facts of a profile") : rc;
}

static int profile_from_record(struct str bytes, struct arena *a, struct state_profile *out, struct err *e)
{
    struct profile_record record;
    int rc;

    if (profile_record_read(bytes, &record) < 0)
        return damaged(e, "a profile");
    if (str_has(record.user))
        return STATE_LINKED;
    out->version = record.version;
    rc = devices_from_record(&record, a, out, e);
    if (rc == 0 && (rc = traits_unpack(record.traits, &out->traits)) > 0)
        rc = damaged(e, "the traits of a profile");
    return rc == 0 ? unpack(record.facts, out, e) : rc;
}

static int facts_from_disk(struct partition *p, struct key_hash hash, struct arena *a, struct state_profile *out,
                           struct err *e)
{
    struct key key = key_one(KEY_PROFILE, hash);
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? STATE_NOT_FOUND : rc;
    rc = profile_from_record(v.bytes, a, out, e);
    store_value_free(&v);
    return rc;
}

/* Leaves what was folded for the next who asks, unless the profile has changed meanwhile. */
static void give_back(struct partition *p, struct key_hash hash, uint64_t changes, struct facts *facts,
                      struct traits *traits)
{
    struct profile *r;

    pthread_mutex_lock(&p->lock);
    r = partition_find_profile(p, hash);
    if (r && r->refold && r->changes == changes)
        profile_take(p, r, facts, traits);
    pthread_mutex_unlock(&p->lock);
}

/* What was taken from it already is of the moment in which it had the number `changes`. */
static int facts_by_folding(struct partition *p, struct key_hash hash, uint64_t changes, struct buf *b,
                            struct state_profile *out, struct err *e)
{
    struct state_view view;
    struct facts facts;
    struct traits traits;
    int rc = state_view(p->state, p->number, out->id, VIEW_PATH | VIEW_ORDERS | VIEW_MARKS, &view, e);

    if (rc != 0)
        return rc;
    if (view.changes != changes) {
        state_view_free(&view);
        return CHANGED;
    }
    out->version = view.version;
    rc = state_view_fold_all(&view, p->state->rules, &out->traits, &facts, &traits);
    state_view_free(&view);
    if (rc < 0)
        return rc;
    traits_deinit(&out->traits);
    rc = traits_copy(&traits, &out->traits);
    if (rc == 0)
        rc = facts_pack(&facts, b) ? unpack(buf_str(b), out, e) : -ENOMEM;
    give_back(p, hash, changes, &facts, &traits);
    facts_deinit(&facts);
    traits_deinit(&traits);
    return rc;
}

/* Of what was read, somebody or nobody. */
static int finish_profile(struct state_profile *out, int rc)
{
    if (rc == 0 && out->facts.events == 0) {
        facts_deinit(&out->facts); /* its events are other people's */
        rc = STATE_NOT_FOUND;
    }
    if (rc != 0)
        traits_deinit(&out->traits);
    return rc;
}

static int read_profile(struct partition *p, struct arena *a, struct state_profile *out, struct err *e)
{
    struct key_hash hash;
    uint64_t changes;
    enum where where;
    struct buf b;
    int rc;

    *out = (struct state_profile){.id = out->id};
    buf_init(&b, FACTS_BYTES);
    pthread_rwlock_rdlock(&p->place);
    hash = partition_hash(p, out->id);
    rc = pack_from_memory(p, hash, &b, a, out, &where, &changes);
    if (rc == 0 && where == ON_DISK)
        rc = facts_from_disk(p, hash, a, out, e);
    pthread_rwlock_unlock(&p->place);
    if (rc == 0 && where == IN_MEMORY)
        rc = unpack_own(buf_str(&b), out, e);
    else if (rc == 0 && where == TO_BE_FOLDED)
        rc = facts_by_folding(p, hash, changes, &b, out, e);
    buf_deinit(&b);
    return finish_profile(out, rc);
}

int state_profile(struct state *s, uint32_t partition, struct str id, struct arena *a, struct state_profile *out,
                  struct err *e)
{
    int rc = CHANGED;

    assert(partition < s->partition_count);
    if (!profile_id_valid(id))
        return STATE_NOT_FOUND;
    *out = (struct state_profile){.id = arena_dup(a, id)};
    if (!out->id.p)
        return -ENOMEM;
    for (int i = 0; rc == CHANGED && i < MOST_TRIES; i++)
        rc = read_profile(&s->partitions[partition], a, out, e);
    if (rc != CHANGED)
        return rc;
    err_set(e, "the profile changes all the time");
    return -EBUSY;
}

int state_view_profile(const struct state_view *v, struct arena *a, struct state_profile *out, struct err *e)
{
    assert(str_has(v->record));
    *out = (struct state_profile){.id = arena_dup(a, v->id)};
    if (!out->id.p)
        return -ENOMEM;
    return finish_profile(out, profile_from_record(v->record, a, out, e));
}
