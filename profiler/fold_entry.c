/* Folding one event into a stream: that of its ids at its home, or that of events which are placed with a user. All it
 * needs is read and worked out first; then it is shown in one step under the lock. The worker's thread. */
#include "profiler/fold_entry.h"
#include "profiler/grave.h"

#include <assert.h>
#include <errno.h>

#include "common/limits.h"
#include "profiler/cascade.h"
#include "profiler/device_users.h"
#include "profiler/erased.h"
#include "proto/codec.h"

/* Which copy of the uid is known, and how the new one stands to it. */
enum copy { COPY_NONE, COPY_STANDS, COPY_REPLACED_MEMORY, COPY_REPLACED_DISK };

struct folding {
    struct partition *p;
    struct err *err;
    struct str head;        /* before the event in its entry: of a placed one its version */
    struct str bytes;       /* of the event; absent: it is taken back */
    const struct event *ev; /* NULL likewise */
    struct event_key key;
    const struct internal_version *placed; /* NULL: it is an event at its home */
    unsigned flags;
    struct stream *stream;
    enum copy copy;
    struct entry *entry;     /* new */
    struct entry *old_entry; /* COPY_REPLACED_MEMORY */
    struct gone *gone;       /* COPY_REPLACED_DISK */
    struct chunk_entry old;  /* the copy that is replaced */
    struct neighbours near;
    bool states_traits;
    bool has_traits;        /* they are added: */
    struct traits traits;   /* of the profile with them; the old ones once it is shown */
    struct event old_event; /* of an event at its home; not cleared for each record */
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

/* Of a placed event what was said last; else the earlier in the order of events, then the one of the least content
 * hash. */
static int old_stands(const struct folding *f, bool *out)
{
    struct internal_version version;
    struct str event;
    struct uid a, b;
    int c;

    if (f->placed) {
        if (!placed_event(f->old.bytes, &version, &event))
            return damaged(f->err, "the copy of an event");
        *out = internal_version_cmp(version, *f->placed) >= 0;
        return 0;
    }
    c = event_key_cmp(&f->old.key, &f->key);
    *out = c < 0;
    if (c == 0) {
        a = content_hash(f->old.bytes);
        b = content_hash(f->bytes);
        *out = memcmp(a.b, b.b, UID_BYTES) <= 0;
    }
    return 0;
}

static int find_copy(struct folding *f)
{
    const struct uid_times *known;
    bool stands;
    int rc;

    f->old_entry = stream_entry(f->stream, &f->key.uid);
    if (f->old_entry) {
        f->old = (struct chunk_entry){f->old_entry->key, f->old_entry->flags, entry_bytes(f->old_entry)};
        rc = old_stands(f, &stands);
        f->copy = stands ? COPY_STANDS : COPY_REPLACED_MEMORY;
        return rc;
    }
    known = uidset_find(&f->stream->uids, &f->key.uid);
    if (!known)
        return 0;
    if (!f->placed &&
        (known->time < f->key.time || (known->time == f->key.time && known->received < f->key.received))) {
        f->copy = COPY_STANDS;
        return 0;
    }
    rc = read_copy(f, known->time);
    if (rc == 0)
        rc = old_stands(f, &stands);
    if (rc == 0)
        f->copy = stands ? COPY_STANDS : COPY_REPLACED_DISK;
    return rc;
}

/* --- working out ---------------------------------------------------------------------------------------------- */

static void put_bytes(char *to, struct str s)
{
    if (s.n)
        memcpy(to, s.p, s.n);
}

static int make_entry(struct folding *f)
{
    size_t n = f->head.n + f->bytes.n;
    struct entry *entry = interval_alloc(f->p->interval, sizeof *entry + n);

    if (!entry)
        return -ENOMEM;
    entry->key = f->key;
    entry->flags = f->flags;
    entry->length = (uint32_t)n;
    atomic_init(&entry->dead_at, 0);
    put_bytes(entry->bytes, f->head);
    put_bytes(entry->bytes + f->head.n, f->bytes);
    f->entry = entry;
    if (f->copy == COPY_REPLACED_DISK) {
        f->gone = interval_alloc(f->p->interval, sizeof *f->gone);
        if (!f->gone)
            return -ENOMEM;
        f->gone->key = f->old.key;
    }
    return stream_entry_reserve(f->stream);
}

static int64_t later_of(int64_t a, int64_t b)
{
    return a > b ? a : b; /* TIME_NONE is the least of all */
}

static int64_t earlier_of(int64_t a, int64_t b)
{
    return a == TIME_NONE || (b != TIME_NONE && b < a) ? b : a;
}

/* Session events next to it: of its device in its profile, whichever of the two streams they are in. */
static int find_neighbours(struct folding *f)
{
    struct stream *sibling;
    struct neighbours other;
    int rc = stream_neighbours(f->p, f->stream, f->key.time, &f->near, f->err);

    if (rc == 0)
        rc = stream_sibling(f->p, f->stream, &sibling, f->err);
    if (rc < 0 || !sibling)
        return rc;
    rc = stream_neighbours(f->p, sibling, f->key.time, &other, f->err);
    if (rc < 0)
        return rc;
    f->near.inside = f->near.inside || other.inside;
    f->near.before = later_of(f->near.before, other.before);
    f->near.after = earlier_of(f->near.after, other.after);
    return 0;
}

/* Opening what is sealed takes too long for the lock: the profile's traits are changed beside it. */
static int add_traits(struct folding *f)
{
    const struct profile *r = f->stream->profile;
    const struct traits_rules *rules = f->p->state->rules->traits;
    int rc;

    f->states_traits = rules && f->ev && traits_in_event(f->ev);
    if (!f->states_traits || f->copy != COPY_NONE || str_has(r->user) || r->refold)
        return 0;
    rc = traits_copy(&r->traits, &f->traits);
    if (rc == 0)
        rc = traits_add_event(&f->traits, f->ev, rules);
    f->has_traits = rc == TRAITS_OK;
    return rc < 0 ? rc : 0;
}

static int prepare(struct folding *f)
{
    int rc = make_entry(f);

    if (rc == 0 && (f->flags & ENTRY_SESSION) && f->copy == COPY_NONE && !f->stream->spans_inexact)
        rc = find_neighbours(f);
    if (rc == 0)
        rc = add_traits(f);
    if (rc == 0)
        rc = pointers_reserve(&f->p->dirty_streams, 1);
    return rc < 0 ? rc : pointers_reserve(&f->p->dirty_profiles, 1);
}

/* --- showing, with the lock ----------------------------------------------------------------------------------- */

void stream_touch(struct partition *p, struct stream *s, int64_t from)
{
    s->kept.touched = true;
    profile_touch_from(p, s->profile, from);
    if (stream_current(p, s))
        return;
    s->interval = p->interval_number;
    s->entries = NULL;
    s->gone = NULL;
    s->rewritten = false;
    s->next_dirty = s->profile->dirty_streams;
    s->profile->dirty_streams = s;
    pointers_add(&p->dirty_streams, s);
}

/* A record changes profiles step by step: who looks between two of them knows the steps by their numbers. */
static void link_entry(struct folding *f)
{
    struct stream *s = f->stream;

    s->fresh += f->copy == COPY_NONE;
    f->entry->next = s->entries;
    s->entries = f->entry;
    stream_entry_put(s, f->entry);
    if (f->copy == COPY_REPLACED_MEMORY)
        atomic_store_explicit(&f->old_entry->dead_at, f->p->changes, memory_order_relaxed);
    if (f->gone) {
        f->gone->next = s->gone;
        s->gone = f->gone;
    }
}

static bool sibling_inexact(const struct stream *s)
{
    return s->sibling && s->sibling->spans_inexact;
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
    if (s->spans_inexact || sibling_inexact(s))
        return true;
    if (!f->near.inside && !str_has(s->profile->user) && !s->profile->refold)
        facts_add_sessions(&s->profile->facts,
                           path_session_change(f->near.before, f->key.time, f->near.after, rules->session_gap_ms));
    return false;
}

static void apply_traits(struct folding *f)
{
    struct profile *r = f->stream->profile;
    struct traits old = r->traits;

    if (!f->states_traits)
        return;
    /* What a look-up has folded meanwhile is without them. */
    if (!f->has_traits) {
        r->refold = true;
        return;
    }
    r->traits = f->traits;
    f->traits = old;
}

/* Adds it to the facts. False when only a fold of everything can tell. */
static bool count(struct folding *f, bool in_order)
{
    struct facts *facts = &f->stream->profile->facts;

    return facts_add_event(facts, f->ev, f->flags, f->p->state->rules) == FACTS_OK &&
           !facts_touch_matters(facts, f->flags, in_order, false);
}

static void apply_facts(struct folding *f)
{
    struct profile *r = f->stream->profile;
    bool in_order = facts_comes_last(&r->facts, f->key.time), lost;

    if (r->own_after != INT64_MIN)
        r->refold = true; /* what came before is not its own, which sessions know nothing of */
    if (f->copy == COPY_NONE && !f->ev)
        return; /* it was taken back before it came */
    lost = sessions_lost(f) || f->copy != COPY_NONE;
    if (str_has(r->user) || r->refold) /* of a device with links: its events are its users' */
        return;
    if (lost || (!(f->flags & ENTRY_MARK) && !count(f, in_order)))
        r->refold = true;
    apply_traits(f);
}

/* Whose own events are not all of its streams', or which is none itself, has a path that is not only added to. */
static int64_t changes_from(const struct folding *f)
{
    const struct profile *r = f->stream->profile;

    if (str_has(r->user) || r->own_after != INT64_MIN)
        return INT64_MIN;
    return f->copy != COPY_NONE && f->old.key.time < f->key.time ? f->old.key.time : f->key.time;
}

static void apply(struct folding *f)
{
    struct partition *p = f->p;
    struct profile *r = f->stream->profile;

    pthread_mutex_lock(&p->lock);
    stream_touch(p, f->stream, changes_from(f));
    link_entry(f);
    r->version = p->cascade.cause + 1;
    apply_facts(f);
    partition_recount(p, &f->stream->kept);
    partition_recount(p, &r->kept);
    pthread_mutex_unlock(&p->lock);
}

/* --- what follows from an event at its home ------------------------------------------------------------------- */

static int read_old_event(struct folding *f)
{
    if (f->copy == COPY_NONE)
        return 0;
    return event_unpack(f->old.bytes, &f->p->order_arena, &f->old_event) == CODEC_OK ? 0 : damaged(f->err, "an event");
}

static void tell_link(struct folding *f, struct str device, bool removed)
{
    struct internal r = {.kind = INTERNAL_LINK,
                         .device = device,
                         .user = f->ev->user_id,
                         .key = f->key,
                         .subject = f->key.uid,
                         .removed = removed};

    tell(f->p, &r);
}

struct str alias_of(const struct event *ev)
{
    return ev->type == EVENT_ALIAS && str_has(ev->user_id) ? ev->previous_id : STR_NONE;
}

/* A copy that replaces another first takes its link back: receivers need not look for it then. */
static void follow_link(struct folding *f, struct str device)
{
    if (f->stream->erased)
        tell_erasure(f->p, &f->stream->erased->is, device, f->ev->user_id);
    if (f->copy != COPY_NONE)
        tell_link(f, device, true);
    tell_link(f, device, false);
    if (f->stream->account)
        account_evidence(f->p, f->stream->account, device, &f->key);
}

static void follow_links(struct folding *f)
{
    const struct event *ev = f->ev;
    struct str previous = alias_of(ev), old = f->copy == COPY_NONE ? STR_NONE : alias_of(&f->old_event);

    if (!str_has(ev->user_id))
        return;
    if (str_has(old) && !str_eq(old, previous) && !str_eq(old, ev->anonymous_id))
        tell_link(f, old, true);
    if (str_has(ev->anonymous_id))
        follow_link(f, ev->anonymous_id);
    if (str_has(previous) && !str_eq(previous, ev->anonymous_id))
        follow_link(f, previous);
}

static struct str user_at(const struct stream *s, const struct event_key *key)
{
    uint32_t user = s->device ? device_owner(s->device->users, &s->device->runs, key) : NO_USER;

    return user >= USER_ERASED ? STR_NONE : s->device->users[user].id;
}

static void tell_place(struct folding *f, struct str user, const struct event_key *key, struct str bytes)
{
    struct internal_item item = {*key, bytes};
    struct internal r = {
        .kind = INTERNAL_PLACEMENT, .device = f->stream->anonymous_id, .user = user, .items = &item, .item_count = 1};

    tell(f->p, &r);
}

/* An event without a user goes to the user who has the device then. */
static void follow_device(struct folding *f)
{
    struct stream *s = f->stream;
    struct str now = user_at(s, &f->key), old = f->copy == COPY_NONE ? STR_NONE : user_at(s, &f->old.key);
    struct internal recount = {.kind = INTERNAL_RECOUNT, .device = s->anonymous_id};

    if (!s->device || str_has(s->user_id))
        return;
    if (str_has(now))
        tell_place(f, now, &f->key, f->bytes);
    if (str_has(old) && !str_eq(old, now))
        tell_place(f, old, &f->old.key, STR_NONE);
    if (f->copy == COPY_NONE && !s->device->shared && device_is_full(f->p, s))
        tell(f->p, &recount);
}

struct str stated_order(const struct event *ev, unsigned flags)
{
    enum order_status status;

    if (!(flags & ENTRY_ORDER) || !order_stated(ev, &status) || ev->order.order_id.n > ORDER_ID_MAX_BYTES)
        return STR_NONE;
    return ev->order.order_id;
}

static void follow_order(struct folding *f)
{
    struct str now = stated_order(f->ev, f->flags),
               old = f->copy == COPY_NONE ? STR_NONE : stated_order(&f->old_event, f->old.flags);
    const struct event *ev = f->ev;
    char buf[PROFILE_ID_MAX_BYTES];
    struct str user = str_has(ev->user_id) ? ev->user_id : user_at(f->stream, &f->key);
    struct str owner = profile_id(ev->anonymous_id, user, buf);

    if (str_has(now))
        tell_statement(f->p, now, owner, &f->key, f->bytes);
    if (str_has(old) && !str_eq(old, now))
        tell_statement(f->p, old, owner, &f->old.key, STR_NONE);
}

int fold_event(struct partition *p, struct str bytes, const struct event *ev, struct key_hash stream,
               enum outcome *outcome, struct err *e)
{
    struct stream_id id = {STREAM_STATED, ev->anonymous_id, ev->user_id};
    struct folding f;
    int rc;

    memset(&f, 0, offsetof(struct folding, old_event));
    f.p = p;
    f.err = e;
    f.bytes = bytes;
    f.ev = ev;
    f.key = event_key(ev);
    arena_reset(&p->order_arena);
    rc = str_has(ev->user_id) ? 0 : grave_meet(p, ev->anonymous_id, e);
    if (rc == 0)
        rc = partition_stream(p, &id, stream, &f.stream, e);
    if (rc == 0 && event_is_erased(f.stream, &f.key)) {
        *outcome = OUTCOME_ERASED;
        if (!event_is_held(p, f.stream, &f.key))
            return fold_erased(p, f.stream, ev, entry_flags(ev, p->state->rules));
        rc = grave_hold(p, f.stream->device, e);
    }
    if (rc == 0 && str_has(alias_of(ev)) && !f.stream->account)
        rc = stream_open_account(p, f.stream, e);
    if (rc == 0)
        rc = find_copy(&f);
    if (rc < 0)
        return rc;
    *outcome = f.copy == COPY_NONE ? OUTCOME_FOLDED : OUTCOME_DUPLICATE;
    if (f.copy == COPY_STANDS) {
        f.stream->kept.touched = true;
        return 0;
    }
    f.flags = entry_flags(ev, p->state->rules);
    rc = prepare(&f);
    if (rc == 0)
        rc = read_old_event(&f);
    if (rc == 0) {
        follow_links(&f);
        follow_device(&f);
        follow_order(&f);
        apply(&f);
    }
    traits_deinit(&f.traits);
    return rc;
}

/* --- events that are placed here ------------------------------------------------------------------------------ */

static struct str write_version(struct internal_version v, char *to, size_t size)
{
    struct buf b;

    buf_init(&b, 32);
    put_version(&b, v);
    assert(!b.failed && b.n <= size);
    memcpy(to, b.p, b.n);
    size = b.n;
    buf_deinit(&b);
    return (struct str){to, size};
}

/* Whether it can be what it is said to be: an event of the device without a user. */
static bool is_of_device(const struct event *ev, const struct internal *r, const struct internal_item *item)
{
    struct event_key key = event_key(ev);

    return !str_has(ev->user_id) && str_eq(ev->anonymous_id, r->device) && event_key_cmp(&key, &item->key) == 0;
}

static int place_event(struct partition *p, struct stream *s, const struct internal *r,
                       const struct internal_item *item, struct err *e)
{
    struct event ev;
    struct folding f;
    char head[32];
    int rc;

    if (s->erased && item->key.time <= s->erased->is.until)
        return 0; /* the user was erased meanwhile */
    if (s->erased && !str_has(item->bytes))
        return unplace_erased(p, s, &item->key.uid, e);
    arena_reset(&p->order_arena);
    memset(&f, 0, offsetof(struct folding, old_event));
    f.p = p;
    f.err = e;
    f.stream = s;
    f.key = item->key;
    f.bytes = item->bytes;
    f.placed = &r->version;
    f.head = write_version(r->version, head, sizeof head);
    f.flags = ENTRY_PLACED | ENTRY_GONE;
    if (str_has(item->bytes)) {
        rc = event_unpack(item->bytes, &p->order_arena, &ev);
        if (rc == -ENOMEM)
            return rc;
        if (rc != CODEC_OK || !is_of_device(&ev, r, item))
            return 0;
        f.ev = &ev;
        f.flags = entry_flags(&ev, p->state->rules) | ENTRY_PLACED;
    }
    rc = find_copy(&f);
    if (rc < 0 || f.copy == COPY_STANDS)
        return rc;
    rc = prepare(&f);
    if (rc == 0)
        apply(&f);
    traits_deinit(&f.traits);
    return rc;
}

int place_events(struct partition *p, const struct internal *r, size_t *done, struct err *e)
{
    struct stream_id id = {STREAM_PLACED, r->device, r->user};
    struct stream *s;
    int rc = partition_stream(p, &id, stream_hash(p, &id), &s, e);

    for (; rc == 0 && *done < r->item_count; *done += rc == 0)
        rc = place_event(p, s, r, &r->items[*done], e);
    return rc;
}
