/* Folding: one record of the log after the other becomes a change in memory. Everything a record needs is read and
 * worked out first; then it is shown in one step under the lock. The worker's thread. */
#include <assert.h>
#include <errno.h>

#include "common/limits.h"
#include "profiler/state_private.h"
#include "proto/codec.h"

/* Which copy of the uid is known, and how the new one stands to it. */
enum copy { COPY_NONE, COPY_STANDS, COPY_REPLACED_MEMORY, COPY_REPLACED_DISK };

struct folding {
    struct partition *p;
    const struct log_record *record;
    struct err *err;
    const struct event *ev;
    struct event_key key;
    unsigned flags;
    struct stream *stream;
    enum copy copy;
    struct entry *entry;     /* new */
    struct entry *old_entry; /* COPY_REPLACED_MEMORY */
    struct gone *gone;       /* COPY_REPLACED_DISK */
    struct chunk_entry old;  /* the copy that is replaced */
    struct neighbours near;
    size_t change_count;
    struct order_change changes[2]; /* not cleared for each record */
};

/* --- the copy that is known ----------------------------------------------------------------------------------- */

struct copy_search {
    const struct uid *uid;
    struct arena *arena;
    struct chunk_entry found;
};

static int search_copy(void *arg, const struct key_place *place, struct str value)
{
    struct copy_search *s = arg;
    struct chunk_reader r;
    struct chunk_entry e;

    (void)place;
    if (!chunk_open(value, &r))
        return -EIO;
    while (chunk_next(&r, &e)) {
        if (memcmp(e.key.uid.b, s->uid->b, UID_BYTES) != 0)
            continue;
        s->found = e;
        s->found.bytes = arena_dup(s->arena, e.bytes);
        return s->found.bytes.p ? 1 : -ENOMEM;
    }
    return r.left ? -EIO : 0;
}

static int read_copy(struct folding *f, int64_t time)
{
    struct copy_search s = {.uid = &f->key.uid, .arena = &f->p->order_arena};
    struct chunk_range range = {f->stream->node.key, time, time, UINT32_MAX};
    int rc = chunks_visit(f->p->state, f->p->number, NULL, &range, search_copy, &s, f->err);

    if (rc == -EIO || (rc == 0 && !s.found.bytes.p))
        return damaged(f->err, "the copy of an event");
    f->old = s.found;
    return rc;
}

/* The earlier in the order of events stands, then the one of the least content hash. */
static bool stands(const struct folding *f)
{
    int c = event_key_cmp(&f->old.key, &f->key);
    struct uid a, b;

    if (c != 0)
        return c < 0;
    a = content_hash(f->old.bytes);
    b = content_hash(f->record->value);
    return memcmp(a.b, b.b, UID_BYTES) <= 0;
}

static int find_copy_in_memory(struct folding *f)
{
    f->old = (struct chunk_entry){f->old_entry->key, f->old_entry->flags, entry_bytes(f->old_entry)};
    f->copy = stands(f) ? COPY_STANDS : COPY_REPLACED_MEMORY;
    return 0;
}

static int find_copy(struct folding *f)
{
    const struct uid_times *known;
    int rc;

    f->old_entry = stream_entry(f->stream, &f->key.uid);
    if (f->old_entry)
        return find_copy_in_memory(f);
    known = uidset_find(&f->stream->uids, &f->key.uid);
    if (!known)
        return 0;
    if (known->time < f->key.time || (known->time == f->key.time && known->received < f->key.received)) {
        f->copy = COPY_STANDS;
        return 0;
    }
    rc = read_copy(f, known->time);
    if (rc == 0)
        f->copy = stands(f) ? COPY_STANDS : COPY_REPLACED_DISK;
    return rc;
}

/* --- working out ---------------------------------------------------------------------------------------------- */

static int make_entry(struct folding *f)
{
    struct str bytes = f->record->value;
    struct entry *entry = interval_alloc(f->p->interval, sizeof *entry + bytes.n);

    if (!entry)
        return -ENOMEM;
    entry->key = f->key;
    entry->flags = f->flags;
    entry->length = (uint32_t)bytes.n;
    atomic_init(&entry->dead_at, 0);
    memcpy(entry->bytes, bytes.p, bytes.n);
    f->entry = entry;
    if (f->copy == COPY_REPLACED_DISK) {
        f->gone = interval_alloc(f->p->interval, sizeof *f->gone);
        if (!f->gone)
            return -ENOMEM;
        f->gone->key = f->old.key;
    }
    return stream_entry_reserve(f->stream);
}

static int add_change(struct folding *f, struct str order_id, const struct chunk_entry *drop,
                      const struct chunk_entry *add)
{
    assert(f->change_count < 2);
    return order_change_make(f->p, f->stream->profile->id, order_id, drop, add, &f->changes[f->change_count++], f->err);
}

/* Which order the replaced copy spoke of; absent for none. */
static int old_order(struct folding *f, struct str *order_id)
{
    enum order_status status;
    struct event old;

    *order_id = STR_NONE;
    if (f->copy == COPY_NONE || !(f->old.flags & ENTRY_ORDER))
        return 0;
    if (event_unpack(f->old.bytes, &f->p->order_arena, &old) != CODEC_OK)
        return damaged(f->err, "an event");
    if (order_stated(&old, &status))
        *order_id = old.order.order_id;
    return 0;
}

static int make_orders(struct folding *f)
{
    struct chunk_entry add = {f->key, f->flags, f->record->value};
    struct str now = STR_NONE, before;
    enum order_status status;
    int rc = old_order(f, &before);

    if ((f->flags & ENTRY_ORDER) && order_stated(f->ev, &status))
        now = f->ev->order.order_id;
    if (rc == 0 && str_has(before) && !str_eq(before, now))
        rc = add_change(f, before, &f->old, NULL);
    if (rc == 0 && str_has(now))
        rc = add_change(f, now, str_eq(before, now) ? &f->old : NULL, &add);
    return rc;
}

/* The lock is for the look-ups, which search that table. */
static int reserve_orders(struct partition *p)
{
    int rc = pointers_reserve(&p->dirty_orders, 2);

    if (rc < 0)
        return rc;
    pthread_mutex_lock(&p->lock);
    rc = table_reserve(&p->changed_orders, 2);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

static int reserve(const struct folding *f)
{
    struct partition *p = f->p;
    int rc = pointers_reserve(&p->dirty_streams, 1);

    if (rc == 0)
        rc = pointers_reserve(&p->dirty_profiles, 5); /* its own, and two for each of two orders */
    if (rc == 0 && f->change_count > 0)
        rc = reserve_orders(p);
    return rc;
}

static int prepare(struct folding *f)
{
    int rc = make_entry(f);

    if (rc == 0 && (f->flags & ENTRY_SESSION) && f->copy == COPY_NONE && !f->stream->spans_inexact)
        rc = stream_neighbours(f->p, f->stream, f->key.time, &f->near, f->err);
    if (rc == 0 && (f->flags | f->old.flags) & ENTRY_ORDER)
        rc = make_orders(f);
    return rc < 0 ? rc : reserve(f);
}

/* --- showing, with the lock ----------------------------------------------------------------------------------- */

static void stream_touch(struct partition *p, struct stream *s)
{
    s->kept.touched = true;
    profile_touch(p, s->profile);
    if (stream_current(p, s))
        return;
    s->interval = p->interval_number;
    s->entries = NULL;
    s->gone = NULL;
    s->next_dirty = s->profile->dirty_streams;
    s->profile->dirty_streams = s;
    pointers_add(&p->dirty_streams, s);
}

static void link_entry(struct folding *f, int64_t version)
{
    struct stream *s = f->stream;

    f->entry->next = s->entries;
    s->entries = f->entry;
    stream_entry_put(s, f->entry);
    if (f->copy == COPY_REPLACED_MEMORY)
        atomic_store_explicit(&f->old_entry->dead_at, version, memory_order_relaxed);
    if (f->gone) {
        f->gone->next = s->gone;
        s->gone = f->gone;
    }
}

/* Session events change the number of sessions; true when only a fold of everything can tell how. */
static bool sessions_lost(struct folding *f)
{
    const struct fold_rules *rules = f->p->state->rules;
    struct stream *s = f->stream;

    if (f->copy != COPY_NONE)
        s->spans_inexact = true;
    if (!(f->flags & ENTRY_SESSION))
        return false;
    if (!s->spans_inexact && stream_span_add(s, f->key.time, rules->session_gap_ms) < 0)
        s->spans_inexact = true;
    if (s->spans_inexact)
        return true;
    if (!f->near.inside)
        facts_add_sessions(&s->profile->facts,
                           path_session_change(f->near.before, f->key.time, f->near.after, rules->session_gap_ms));
    return false;
}

static void apply_facts(struct folding *f, bool in_order)
{
    struct profile *r = f->stream->profile;
    bool lost = sessions_lost(f) || f->copy != COPY_NONE;

    if (r->refold)
        return;
    if (lost || facts_add_event(&r->facts, f->ev, f->flags, f->p->state->rules) != FACTS_OK ||
        facts_touch_matters(&r->facts, f->flags, in_order, false))
        r->refold = true;
}

static void count(struct partition *p, const struct log_record *r, enum outcome outcome)
{
    p->figures.outcomes[outcome]++;
    p->figures.offset = r->offset + 1;
}

static void apply(struct folding *f)
{
    struct partition *p = f->p;
    struct profile *r = f->stream->profile;
    struct order_shown shown = {f->record->offset + 1, f->key.time, facts_comes_last(&r->facts, f->key.time)};

    stream_touch(p, f->stream);
    link_entry(f, shown.version);
    r->version = shown.version;
    apply_facts(f, shown.in_order);
    for (size_t i = 0; i < f->change_count; i++)
        order_change_apply(p, &f->changes[i], r, &shown);
    partition_recount(p, &f->stream->kept);
    partition_recount(p, &r->kept);
    count(p, f->record, f->copy == COPY_NONE ? OUTCOME_FOLDED : OUTCOME_DUPLICATE);
}

/* --- records -------------------------------------------------------------------------------------------------- */

static void pass_over(struct partition *p, const struct log_record *r, enum outcome outcome)
{
    pthread_mutex_lock(&p->lock);
    count(p, r, outcome);
    pthread_mutex_unlock(&p->lock);
}

/* Where look-ups and the cache will search for what the event says. */
static const char *check_key(const struct partition *p, const struct log_record *r, struct str key)
{
    if (!p->state->keyed)
        return NULL;
    if (!str_eq(r->key, key))
        return "its key is not the user id of its event, nor the anonymous id of one without a user";
    if (event_log_partition(key, p->state->partition_count) != p->number)
        return "its key belongs into another partition";
    return NULL;
}

/* NULL when the record is an event; else what is wrong. */
static const char *decode(const struct partition *p, const struct log_record *r, struct decoded *d)
{
    const struct event *ev = &d->ev;

    arena_reset(&d->arena);
    d->no_memory = false;
    if (r->kind != LOG_KIND_EVENT)
        return "its kind is not known";
    int rc = r->value.n > UINT32_MAX ? CODEC_INVALID : event_unpack(r->value, &d->arena, &d->ev);
    d->no_memory = rc == -ENOMEM;
    if (rc == CODEC_VERSION_UNKNOWN)
        return "it is of a later format";
    if (rc != CODEC_OK)
        return "it cannot be read as an event";
    if (!str_has(event_log_key(ev)) || ev->anonymous_id.n > KEY_ID_MAX_BYTES || ev->user_id.n > KEY_ID_MAX_BYTES)
        return "it has no usable id";
    return check_key(p, r, event_log_key(ev));
}

static void look_ahead(struct partition *p, const struct log_record *r, struct decoded *d)
{
    d->why = decode(p, r, d);
    d->is_event = !d->why;
    if (!d->is_event)
        return;
    d->stream = key_hash_stream(&p->secret, d->ev.anonymous_id, d->ev.user_id);
    table_fetch_bucket(&p->streams, &d->stream);
}

static int fold_event(struct folding *f, struct key_hash stream)
{
    struct partition *p = f->p;
    int rc = partition_stream(p, f->ev, stream, &f->stream, f->err);

    if (rc == 0)
        rc = find_copy(f);
    if (rc < 0)
        return rc;
    if (f->copy == COPY_STANDS) {
        f->stream->kept.touched = true;
        pass_over(p, f->record, OUTCOME_DUPLICATE);
        return 0;
    }
    f->flags = entry_flags(f->ev, p->state->rules);
    rc = prepare(f);
    if (rc == 0) {
        pthread_mutex_lock(&p->lock);
        apply(f);
        pthread_mutex_unlock(&p->lock);
    }
    for (size_t i = 0; i < f->change_count; i++)
        order_change_drop(&f->changes[i]);
    return rc;
}

/* What other profilers and commands write counts for itself, anything else is said to be bad. */
static int fold_other(struct partition *p, const struct log_record *r, const char *why)
{
    int rc = r->kind == LOG_KIND_CLAIM ? 0 : emit_bad(p, r, why);

    if (rc == 0)
        pass_over(p, r, r->kind == LOG_KIND_CLAIM ? OUTCOME_MOVED : OUTCOME_BAD);
    return rc;
}

static int fold_record(struct partition *p, const struct log_record *r, const struct decoded *d, struct err *e)
{
    struct folding f;
    int rc;

    if (d->no_memory) {
        err_set(e, "memory is out");
        return -ENOMEM;
    }
    if (!d->is_event)
        return fold_other(p, r, d->why);
    memset(&f, 0, offsetof(struct folding, changes));
    f.p = p;
    f.record = r;
    f.err = e;
    f.ev = &d->ev;
    f.key = event_key(f.ev);
    arena_reset(&p->order_arena);
    rc = fold_event(&f, d->stream);
    if (rc == 0) {
        p->last_uid = f.key.uid;
        p->last_offset = r->offset;
    }
    return rc;
}

/* Decodes record `i` and fetches from memory, step by step, what the records before it need. */
static void advance(struct partition *p, const struct log_record *records, size_t i, size_t n)
{
    const struct decoded *d;
    struct stream *s;

    if (i < n)
        look_ahead(p, &records[i], &p->ahead[i % DECODE_AHEAD]);
    if (i >= 1 && i - 1 < n && (d = &p->ahead[(i - 1) % DECODE_AHEAD])->is_event)
        table_fetch_head(&p->streams, &d->stream);
    if (i >= 2 && i - 2 < n && (d = &p->ahead[(i - 2) % DECODE_AHEAD])->is_event) {
        s = partition_find_stream(p, d->stream);
        if (s)
            stream_fetch_entry(s, &d->ev.uid);
    }
}

/* A look-up of an order goes through those of its id that changed. */
static bool commit_due(const struct partition *p)
{
    return p->interval->filled + (p->memory > p->memory_base ? p->memory - p->memory_base : 0) >=
               p->state->commit_bytes ||
           p->most_same >= LIMIT_SAME_ORDER;
}

int state_fold(struct state *s, uint32_t partition, const struct log_record *records, size_t n, struct err *e)
{
    struct partition *p = &s->partitions[partition];

    assert(partition < s->partition_count && !s->read_only);
    for (size_t i = 0; i < DECODE_AHEAD - 1; i++)
        advance(p, records, i, n);
    for (size_t i = 0; i < n; i++) {
        int rc;

        assert(records[i].offset >= p->figures.offset);
        advance(p, records, i + DECODE_AHEAD - 1, n);
        rc = fold_record(p, &records[i], &p->ahead[i % DECODE_AHEAD], e);
        if (rc < 0)
            return rc;
    }
    return commit_due(p) ? STATE_COMMIT_DUE : STATE_OK;
}
