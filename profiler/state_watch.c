/* Which profiles changed, for who keeps something that follows from them; see state_watch.h. The worker notes them
 * under the lock; the questions come from any thread. */
#include "profiler/state_watch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/state_private.h"

#define WALK_SLICE 256 /* profiles read at once, while the partition cannot become another one */

/* --- noting: the worker, with the lock ------------------------------------------------------------------------ */

static void begin(struct partition *p, uint64_t lost_in)
{
    struct watch *w = &p->watch;

    w->round++;
    w->count = 0;
    w->lost = true;
    w->lost_in = lost_in;
    buf_init(&w->notes, p->state->watch_bytes);
}

/* Everybody is to be looked at, and stands on disk as far as they are known. */
void watch_init(struct partition *p)
{
    begin(p, p->interval_number - 1);
}

static void let_go(struct partition *p, struct buf *notes)
{
    atomic_fetch_sub_explicit(&p->state->watched, notes->n, memory_order_relaxed);
    buf_deinit(notes);
}

void watch_deinit(struct partition *p)
{
    let_go(p, &p->watch.notes);
}

void watch_restart(struct partition *p)
{
    let_go(p, &p->watch.notes);
    begin(p, p->interval_number - 1);
    p->watch.restarts++;
}

static bool write_note(struct partition *p, const struct profile *r)
{
    struct buf *b = &p->watch.notes;
    size_t before = b->n;

    if (atomic_load_explicit(&p->state->watched, memory_order_relaxed) + KEY_HASH_BYTES + r->id.n >
        p->state->watch_bytes)
        return false;
    if (!buf_room(b, KEY_HASH_BYTES + 4 + r->id.n))
        return false;
    buf_add(b, r->node.key.b, KEY_HASH_BYTES);
    buf_add_be32(b, (uint32_t)r->id.n);
    buf_add_str(b, r->id);
    atomic_fetch_add_explicit(&p->state->watched, b->n - before, memory_order_relaxed);
    return true;
}

void watch_note(struct partition *p, struct profile *r)
{
    struct watch *w = &p->watch;

    w->noted_in = p->interval_number;
    if (write_note(p, r)) {
        r->watch_round = w->round;
        w->count++;
        return;
    }
    w->notes.failed = false;
    w->lost = true;
    w->lost_in = p->interval_number;
}

/* --- taking --------------------------------------------------------------------------------------------------- */

static int read_notes(const struct buf *notes, size_t count, struct arena *a, struct state_changed **out)
{
    const char *p = notes->p, *end = notes->n > 0 ? p + notes->n : p;
    struct state_changed *v = arena_alloc(a, (count + 1) * sizeof *v);
    uint32_t n;

    for (size_t i = 0; v && i < count; i++) {
        memcpy(v[i].hash.b, p, KEY_HASH_BYTES);
        p += KEY_HASH_BYTES;
        if (!get_be32(&p, end, &n))
            abort();
        v[i].id = arena_dup(a, (struct str){p, n});
        if (!v[i].id.p)
            return -ENOMEM;
        p += n;
    }
    assert(!v || p == end);
    *out = v;
    return v ? 0 : -ENOMEM;
}

/* What was noted, with its memory; and whether some of those that are on disk were not. */
static struct watch take(struct partition *p, bool *all)
{
    struct watch *w = &p->watch, taken;

    pthread_mutex_lock(&p->lock);
    *all = w->lost && w->lost_in < p->interval_number;
    if (*all)
        w->lost = false;
    taken = *w;
    w->round++;
    w->count = 0;
    buf_init(&w->notes, p->state->watch_bytes);
    pthread_mutex_unlock(&p->lock);
    return taken;
}

static void forget(struct partition *p, uint64_t noted_in)
{
    struct watch *w = &p->watch;

    pthread_mutex_lock(&p->lock);
    if (!w->lost || w->lost_in < noted_in)
        w->lost_in = noted_in;
    w->lost = true;
    pthread_mutex_unlock(&p->lock);
}

int state_watch_take(struct state *s, uint32_t partition, struct arena *a, struct state_changed **out, size_t *n,
                     bool *all)
{
    struct partition *p = &s->partitions[partition];
    struct watch taken;
    int rc;

    assert(partition < s->partition_count && s->watch);
    taken = take(p, all);
    rc = read_notes(&taken.notes, taken.count, a, out);
    *n = taken.count;
    let_go(p, &taken.notes);
    if (rc < 0)
        forget(p, taken.noted_in);
    return rc;
}

void state_watch_again(struct state *s, uint32_t partition)
{
    struct partition *p = &s->partitions[partition];

    assert(partition < s->partition_count && s->watch);
    pthread_mutex_lock(&p->lock);
    uint64_t noted_in = p->watch.noted_in;
    pthread_mutex_unlock(&p->lock);
    forget(p, noted_in);
}

/* --- walking -------------------------------------------------------------------------------------------------- */

struct slice {
    struct found {
        struct key_hash hash;
        struct str id;
        int64_t version;
    } v[WALK_SLICE];
    size_t n;
    struct key_hash last; /* that was read, whoever it was */
    bool any, more;
    struct arena arena;
};

static bool is_somebody(const struct profile_record *r)
{
    return !str_has(r->user) && facts_packed_any(r->facts);
}

static int add_found(struct slice *s, struct str value, struct err *e)
{
    struct profile_record record;
    struct found *f = &s->v[s->n];

    if (profile_record_read(value, &record) < 0)
        return damaged(e, "a profile");
    if (!is_somebody(&record))
        return 0;
    *f = (struct found){s->last, arena_dup(&s->arena, record.id), record.version};
    if (!f->id.p)
        return -ENOMEM;
    s->n++;
    return 0;
}

/* Those behind s->last. */
static int read_slice(struct partition *p, struct slice *s, struct err *e)
{
    struct store_iter *it = store_iter_new(p->state->store, p->number, NULL, false);
    struct key from = key_one(KEY_PROFILE, s->last);
    struct str key, value;
    size_t looked = 0;
    int rc = 0;

    s->more = false;
    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&from)); rc == 0 && store_iter_at(it, &key, &value); store_iter_next(it)) {
        if (key.n != KEY_PREFIX_BYTES || key.p[0] != KEY_PROFILE)
            break;
        if (s->any && memcmp(key.p + 1, s->last.b, KEY_HASH_BYTES) == 0)
            continue;
        s->more = s->n == WALK_SLICE || looked == 4 * (size_t)WALK_SLICE;
        if (s->more)
            break;
        looked++;
        memcpy(s->last.b, key.p + 1, KEY_HASH_BYTES);
        s->any = true;
        rc = add_found(s, value, e);
    }
    if (rc == 0)
        rc = store_iter_status(it, e);
    store_iter_free(it);
    return rc;
}

static int next_slice(struct partition *p, struct slice *s, uint32_t restarts, struct err *e)
{
    int rc;

    s->n = 0;
    arena_reset(&s->arena);
    pthread_rwlock_rdlock(&p->place);
    rc = p->watch.restarts == restarts ? read_slice(p, s, e) : -ECANCELED;
    pthread_rwlock_unlock(&p->place);
    return rc;
}

static uint32_t restarts_of(struct partition *p)
{
    uint32_t n;

    pthread_rwlock_rdlock(&p->place);
    n = p->watch.restarts;
    pthread_rwlock_unlock(&p->place);
    return n;
}

int state_watch_walk(struct state *s, uint32_t partition, const struct key_hash *after, state_profile_visitor *each,
                     void *arg, struct err *e)
{
    struct partition *p = &s->partitions[partition];
    struct slice slice = {.more = true};
    uint32_t restarts;
    int rc = 0;

    assert(partition < s->partition_count);
    restarts = restarts_of(p);
    arena_init(&slice.arena, SIZE_MAX);
    if (after) {
        slice.last = *after;
        slice.any = true;
    }
    while (rc == 0 && slice.more) {
        rc = next_slice(p, &slice, restarts, e);
        for (size_t i = 0; i < slice.n && rc == 0; i++)
            rc = each(arg, &slice.v[i].hash, slice.v[i].id, slice.v[i].version);
    }
    arena_deinit(&slice.arena);
    return rc;
}

/* --- one ------------------------------------------------------------------------------------------------------ */

static int find_in_memory(struct partition *p, const struct key_hash *hash, struct arena *a, struct str *id,
                          int64_t *version, bool *known)
{
    const struct profile *r;
    int rc = STATE_NOT_FOUND;

    pthread_mutex_lock(&p->lock);
    r = partition_find_profile(p, *hash);
    *known = r && r->version > 0;
    if (*known && !str_has(r->user) && (r->refold || r->facts.events > 0)) {
        *id = arena_dup(a, r->id);
        *version = r->version;
        rc = id->p ? 0 : -ENOMEM;
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

static int find_on_disk(struct partition *p, const struct key_hash *hash, struct arena *a, struct str *id,
                        int64_t *version, struct err *e)
{
    struct key key = key_one(KEY_PROFILE, *hash);
    struct profile_record record;
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? STATE_NOT_FOUND : rc;
    if (profile_record_read(v.bytes, &record) < 0) {
        rc = damaged(e, "a profile");
    } else if (is_somebody(&record)) {
        *id = arena_dup(a, record.id);
        *version = record.version;
        rc = id->p ? 0 : -ENOMEM;
    } else {
        rc = STATE_NOT_FOUND;
    }
    store_value_free(&v);
    return rc;
}

int state_watch_find(struct state *s, uint32_t partition, const struct key_hash *hash, struct arena *a, struct str *id,
                     int64_t *version, struct err *e)
{
    struct partition *p = &s->partitions[partition];
    bool known;
    int rc;

    assert(partition < s->partition_count);
    pthread_rwlock_rdlock(&p->place);
    rc = find_in_memory(p, hash, a, id, version, &known);
    if (!known)
        rc = find_on_disk(p, hash, a, id, version, e);
    pthread_rwlock_unlock(&p->place);
    return rc;
}

struct key_hash state_watch_hash(struct state *s, uint32_t partition, struct str id)
{
    struct partition *p = &s->partitions[partition];
    struct key_hash hash;

    assert(partition < s->partition_count);
    pthread_rwlock_rdlock(&p->place);
    hash = partition_hash(p, id);
    pthread_rwlock_unlock(&p->place);
    return hash;
}
