/* The bytes of a person's traits, and the traits spread out while something changes. Pure but for the keys; the thread
 * of the caller.
 *
 *   version 1, or 2 when there are marks
 *   length, the person's key as it is wrapped; 0 when nothing is sealed
 *   count, stamps in the order of events: time, received - time, position, 16 bytes of uid, source
 *   count, traits by name; count, purposes by name; in version 2 count, marks by letter and name. Of each:
 *     name, flags, first stamp
 *     SET     stamp, unless NULL: value
 *     ONCE    stamp, last stamp, value
 *     ADD     first stamp, last stamp, sum: upper 64 bits, lower 64 bits
 *
 * Numbers are varints; texts and values have their length before them, an absent source is 0 and others 1 + length.
 * Equal traits whose values are sealed with one key have equal bytes. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/traits_inside.h"

enum { VERSION = 1, VERSION_MARKS = 2 };
/* No sum of increments, each of 10^9 at most, has greater upper bits. */
#define SUM_HIGH (INT64_C(1) << 40)
#define MOST_STAMPS (6 * (LIMIT_TRAITS + LIMIT_CONSENTS + MARKS_PER_PERSON))

enum flag { SET = 1, SET_NULL = 2, SET_SEALED = 4, ONCE = 8, ONCE_SEALED = 16, ADD = 32, FLAGS = 63 };

void open_traits_init(struct open_traits *o, struct arena *a)
{
    *o = (struct open_traits){.arena = a,
                              .traits = {.limit = LIMIT_TRAITS},
                              .consents = {.limit = LIMIT_CONSENTS},
                              .marks = {.limit = MARKS_PER_PERSON}};
}

struct trait_list *open_traits_list(struct open_traits *o, enum stated_in in)
{
    return in == IN_TRAITS ? &o->traits : in == IN_CONSENTS ? &o->consents : &o->marks;
}

/* Twice the room, in the arena. NULL when memory is out. */
static void *grown(struct arena *a, const void *v, size_t n, size_t *cap, size_t size)
{
    size_t more = *cap ? 2 * *cap : 8;
    void *p = arena_alloc(a, more * size);

    if (p && n)
        memcpy(p, v, n * size);
    if (p)
        *cap = more;
    return p;
}

static int64_t add_stamp(struct open_traits *o, const struct stamp *s)
{
    if (o->stamp_count == o->stamp_cap) {
        struct stamp *v = grown(o->arena, o->stamps, o->stamp_count, &o->stamp_cap, sizeof *v);
        if (!v)
            return -ENOMEM;
        o->stamps = v;
    }
    o->stamps[o->stamp_count] = *s;
    return (int64_t)o->stamp_count++;
}

int64_t open_traits_stamp(struct open_traits *o, const struct event *e)
{
    struct stamp s = {event_key(e), arena_dup(o->arena, e->source)};

    if (str_has(e->source) && !str_has(s.source))
        return -ENOMEM;
    return add_stamp(o, &s);
}

/* --- lists by name --------------------------------------------------------------------------------------------- */

/* Where the name stands or would stand. */
static size_t place_of(const struct trait_list *l, struct str name, bool *found)
{
    size_t low = 0, high = l->n;

    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = str_cmp(l->v[middle].name, name);
        if (c == 0)
            *found = true;
        if (c >= 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct trait *trait_list_find(const struct trait_list *l, struct str name)
{
    bool found;
    size_t at = place_of(l, name, &found);

    return found ? &l->v[at] : NULL;
}

struct trait *trait_list_add(struct open_traits *o, struct trait_list *l, struct str name, bool *no_memory)
{
    bool found;
    size_t at = place_of(l, name, &found);

    assert(!found);
    *no_memory = false;
    if (l->n == l->limit)
        return NULL;
    if (l->n == l->cap) {
        struct trait *v = grown(o->arena, l->v, l->n, &l->cap, sizeof *v);
        *no_memory = !v;
        if (!v)
            return NULL;
        l->v = v;
    }
    struct str copy = arena_dup(o->arena, name);
    *no_memory = !str_has(copy);
    if (*no_memory)
        return NULL;
    memmove(&l->v[at + 1], &l->v[at], (l->n - at) * sizeof *l->v);
    l->v[at] = (struct trait){.name = copy};
    l->n++;
    return &l->v[at];
}

/* --- reading --------------------------------------------------------------------------------------------------- */

struct cursor_in {
    const char *p, *end;
    bool bad;
};

static uint64_t read_number(struct cursor_in *in, uint64_t most)
{
    uint64_t v = 0;

    if (in->bad || !get_varint(&in->p, in->end, &v) || v > most) {
        in->bad = true;
        return 0;
    }
    return v;
}

static struct str read_bytes(struct cursor_in *in, uint64_t n)
{
    if (in->bad || n > (uint64_t)(in->end - in->p)) {
        in->bad = true;
        return STR_LIT("");
    }
    struct str s = {in->p, (size_t)n};
    in->p += n;
    return s;
}

static struct str read_text(struct cursor_in *in, uint64_t most)
{
    return read_bytes(in, read_number(in, most));
}

static int64_t read_signed(struct cursor_in *in)
{
    int64_t v = 0;

    if (in->bad || !get_svarint(&in->p, in->end, &v)) {
        in->bad = true;
        return 0;
    }
    return v;
}

static int read_stamps(struct open_traits *o, struct cursor_in *in)
{
    uint64_t n = read_number(in, MOST_STAMPS);

    for (uint64_t i = 0; i < n && !in->bad; i++) {
        struct stamp s = {.source = STR_NONE};
        s.key.time = read_signed(in);
        s.key.received = (int64_t)((uint64_t)s.key.time + (uint64_t)read_signed(in));
        s.key.position = (uint32_t)read_number(in, UINT32_MAX);
        struct str uid = read_bytes(in, UID_BYTES);
        uint64_t source = read_number(in, UINT32_MAX);
        if (source > 0)
            s.source = read_bytes(in, source - 1);
        if (in->bad)
            break;
        memcpy(s.key.uid.b, uid.p, UID_BYTES);
        if (i > 0 && event_key_cmp(stamp_key(o, (uint32_t)i - 1), &s.key) >= 0)
            in->bad = true;
        else if (add_stamp(o, &s) < 0)
            return -ENOMEM;
    }
    return 0;
}

static uint32_t read_stamp(const struct open_traits *o, struct cursor_in *in)
{
    if (o->stamp_count == 0)
        in->bad = true;
    return in->bad ? 0 : (uint32_t)read_number(in, o->stamp_count - 1);
}

static struct str read_value(struct cursor_in *in)
{
    return read_text(in, LIMIT_TRAIT_BYTES + SEAL_VALUE_OVERHEAD);
}

static void read_trait(const struct open_traits *o, struct cursor_in *in, struct trait *t)
{
    uint64_t flags = read_number(in, FLAGS);

    t->first = read_stamp(o, in);
    if ((t->has_set = flags & SET)) {
        t->set.stamp = read_stamp(o, in);
        t->set.form = flags & SET_SEALED ? HELD_SEALED : HELD_CLEAR;
        t->set.bytes = flags & SET_NULL ? STR_NONE : read_value(in);
    }
    if ((t->has_once = flags & ONCE)) {
        t->once.stamp = read_stamp(o, in);
        t->once_last = read_stamp(o, in);
        t->once.form = flags & ONCE_SEALED ? HELD_SEALED : HELD_CLEAR;
        t->once.bytes = read_value(in);
    }
    if ((t->has_add = flags & ADD)) {
        t->add_first = read_stamp(o, in);
        t->add_last = read_stamp(o, in);
        int64_t high = read_signed(in);
        uint64_t low = read_number(in, UINT64_MAX);
        if (high > SUM_HIGH || high < -SUM_HIGH)
            in->bad = true;
        t->sum = (money)(((unsigned __int128)(uint64_t)high << 64) | low);
    }
    if (!t->has_set && !t->has_once && !t->has_add)
        in->bad = true;
    if (!t->has_set && flags & (SET_NULL | SET_SEALED))
        in->bad = true;
}

static int read_list(struct open_traits *o, struct cursor_in *in, struct trait_list *l)
{
    uint64_t n = read_number(in, l->limit);

    if (n == 0 || in->bad)
        return 0;
    l->v = arena_zalloc(o->arena, n * sizeof *l->v);
    if (!l->v)
        return -ENOMEM;
    l->cap = n;
    for (; l->n < n && !in->bad; l->n++) {
        l->v[l->n].name = read_text(in, LIMIT_NAME_BYTES);
        if (l->n > 0 && str_cmp(l->v[l->n - 1].name, l->v[l->n].name) >= 0)
            in->bad = true;
        else
            read_trait(o, in, &l->v[l->n]);
    }
    return 0;
}

/* Whether there are marks, and each has its letter and a name. */
static bool marks_named(const struct trait_list *l)
{
    size_t i = 0;

    while (i < l->n && l->v[i].name.n > MARK_NAME_PREFIX &&
           (l->v[i].name.p[0] == mark_letter(MARK_TAG) || l->v[i].name.p[0] == mark_letter(MARK_CAMPAIGN)))
        i++;
    return l->n > 0 && i == l->n;
}

int open_traits_read(struct open_traits *o, struct str bytes)
{
    struct cursor_in in = {bytes.p, str_end(bytes), false};
    uint64_t version;
    int rc;

    if (bytes.n == 0)
        return 0;
    version = read_number(&in, VERSION_MARKS);
    if (version < VERSION)
        in.bad = true;
    struct str wrapped = read_text(&in, SEAL_WRAPPED_BYTES);
    o->wrapped = wrapped.n ? wrapped : STR_NONE;
    rc = read_stamps(o, &in);
    if (rc == 0)
        rc = read_list(o, &in, &o->traits);
    if (rc == 0)
        rc = read_list(o, &in, &o->consents);
    if (rc == 0 && version == VERSION_MARKS)
        rc = read_list(o, &in, &o->marks);
    if (rc == 0 && version == VERSION_MARKS)
        in.bad = in.bad || !marks_named(&o->marks);
    if (rc == 0 && (in.bad || in.p != in.end))
        rc = 1;
    return rc;
}

/* --- writing --------------------------------------------------------------------------------------------------- */

struct writing {
    struct open_traits *o;
    const struct traits_rules *rules;
    struct seal_person person;
    bool opened;     /* the key is in `person` */
    uint32_t *place; /* of each stamp among those that are written */
    struct buf *b;
};

static void each_stamp(struct trait_list *l, void (*visit)(void *arg, uint32_t stamp), void *arg)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct trait *t = &l->v[i];
        visit(arg, t->first);
        if (t->has_set)
            visit(arg, t->set.stamp);
        if (t->has_once) {
            visit(arg, t->once.stamp);
            visit(arg, t->once_last);
        }
        if (t->has_add) {
            visit(arg, t->add_first);
            visit(arg, t->add_last);
        }
    }
}

static void mark(void *arg, uint32_t stamp)
{
    uint32_t *place = arg;

    place[stamp] = 1;
}

struct used {
    const struct stamp *stamp;
    uint32_t number;
};

static int by_key(const void *a, const void *b)
{
    const struct used *x = a, *y = b;

    return event_key_cmp(&x->stamp->key, &y->stamp->key);
}

static void write_stamp(struct buf *b, const struct stamp *s)
{
    buf_add_svarint(b, s->key.time);
    buf_add_svarint(b, (int64_t)((uint64_t)s->key.received - (uint64_t)s->key.time));
    buf_add_varint(b, s->key.position);
    buf_add(b, s->key.uid.b, UID_BYTES);
    buf_add_varint(b, str_has(s->source) ? s->source.n + 1 : 0);
    buf_add_str(b, s->source);
}

/* Only stamps that something refers to, in their order; those of one event are one. */
static int write_stamps(struct writing *w)
{
    struct open_traits *o = w->o;
    size_t n = 0, kept = 0;
    struct used *used = arena_alloc(o->arena, (o->stamp_count + 1) * sizeof *used);

    w->place = arena_zalloc(o->arena, (o->stamp_count + 1) * sizeof *w->place);
    if (!used || !w->place)
        return -ENOMEM;
    each_stamp(&o->traits, mark, w->place);
    each_stamp(&o->consents, mark, w->place);
    each_stamp(&o->marks, mark, w->place);
    for (size_t i = 0; i < o->stamp_count; i++)
        if (w->place[i])
            used[n++] = (struct used){&o->stamps[i], (uint32_t)i};
    if (n > 1)
        qsort(used, n, sizeof *used, by_key);
    for (size_t i = 0; i < n; i++) {
        kept += i == 0 || by_key(&used[i - 1], &used[i]) != 0;
        w->place[used[i].number] = (uint32_t)kept - 1;
    }
    buf_add_varint(w->b, kept);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || by_key(&used[i - 1], &used[i]) != 0)
            write_stamp(w->b, used[i].stamp);
    return 0;
}

static void write_number(struct writing *w, uint32_t stamp)
{
    buf_add_varint(w->b, w->place[stamp]);
}

static void write_text(struct buf *b, struct str s)
{
    buf_add_varint(b, s.n);
    buf_add_str(b, s);
}

static unsigned flags_of(const struct trait *t)
{
    unsigned flags = (t->has_set ? SET : 0) | (t->has_once ? ONCE : 0) | (t->has_add ? ADD : 0);

    if (t->has_set && !str_has(t->set.bytes))
        flags |= SET_NULL;
    else if (t->has_set && t->set.form != HELD_CLEAR)
        flags |= SET_SEALED;
    if (t->has_once && t->once.form != HELD_CLEAR)
        flags |= ONCE_SEALED;
    return flags;
}

static void write_trait(struct writing *w, const struct trait *t)
{
    write_text(w->b, t->name);
    buf_add_varint(w->b, flags_of(t));
    write_number(w, t->first);
    if (t->has_set)
        write_number(w, t->set.stamp);
    if (t->has_set && str_has(t->set.bytes))
        write_text(w->b, t->set.bytes);
    if (t->has_once) {
        write_number(w, t->once.stamp);
        write_number(w, t->once_last);
        write_text(w->b, t->once.bytes);
    }
    if (t->has_add) {
        write_number(w, t->add_first);
        write_number(w, t->add_last);
        buf_add_svarint(w->b, (int64_t)(t->sum >> 64));
        buf_add_varint(w->b, (uint64_t)t->sum);
    }
}

static void write_list(struct writing *w, const struct trait_list *l)
{
    buf_add_varint(w->b, l->n);
    for (size_t i = 0; i < l->n; i++)
        write_trait(w, &l->v[i]);
}

/* --- sealing --------------------------------------------------------------------------------------------------- */

/* The key of the person, made when there is none yet, wrapped anew when its master key is an old one. */
static int open_key(struct writing *w)
{
    struct open_traits *o = w->o;
    struct buf b;

    if (w->opened)
        return 0;
    assert(w->rules->keys); /* else nothing personal is read */
    if (!str_has(o->wrapped))
        seal_person_new(&w->person);
    else if (seal_person_unwrap(w->rules->keys, o->wrapped, &w->person) != SEAL_OK)
        return OPEN_LOCKED;
    w->opened = true;
    if (str_has(o->wrapped) && !seal_person_is_old(w->rules->keys, o->wrapped))
        return 0;
    buf_init(&b, SEAL_WRAPPED_BYTES);
    seal_person_wrap(w->rules->keys, &w->person, &b);
    o->wrapped = b.failed ? STR_NONE : arena_dup(o->arena, buf_str(&b));
    buf_deinit(&b);
    return str_has(o->wrapped) ? 0 : -ENOMEM;
}

static int seal_held(struct writing *w, struct str name, struct held *h, bool *any)
{
    struct buf b;
    int rc;

    if (!str_has(h->bytes) || h->form == HELD_CLEAR)
        return 0;
    *any = true;
    if (h->form == HELD_SEALED)
        return 0;
    rc = open_key(w);
    if (rc != 0)
        return rc;
    buf_init(&b, LIMIT_TRAIT_BYTES + SEAL_VALUE_OVERHEAD);
    seal_person_seal(&w->person, name, h->bytes, &b);
    h->bytes = b.failed ? STR_NONE : arena_dup(w->o->arena, buf_str(&b));
    h->form = HELD_SEALED;
    buf_deinit(&b);
    return str_has(h->bytes) ? 0 : -ENOMEM;
}

/* The key stands there as long as something is sealed with it. */
static int seal_all(struct writing *w)
{
    struct open_traits *o = w->o;
    bool any = false;
    int rc = 0;

    for (size_t i = 0; i < o->traits.n && rc == 0; i++) {
        struct trait *t = &o->traits.v[i];
        if (t->has_set)
            rc = seal_held(w, t->name, &t->set, &any);
        if (rc == 0 && t->has_once)
            rc = seal_held(w, t->name, &t->once, &any);
    }
    if (!any)
        o->wrapped = STR_NONE;
    else if (rc == 0 && !w->opened && w->rules->keys && seal_person_is_old(w->rules->keys, o->wrapped) &&
             open_key(w) == -ENOMEM)
        rc = -ENOMEM;
    return rc;
}

static int write_all(struct writing *w)
{
    int rc = seal_all(w);

    if (rc != 0 || w->o->traits.n + w->o->consents.n + w->o->marks.n == 0)
        return rc;
    buf_add_varint(w->b, w->o->marks.n ? VERSION_MARKS : VERSION);
    write_text(w->b, str_has(w->o->wrapped) ? w->o->wrapped : STR_LIT(""));
    rc = write_stamps(w);
    if (rc != 0)
        return rc;
    write_list(w, &w->o->traits);
    write_list(w, &w->o->consents);
    if (w->o->marks.n)
        write_list(w, &w->o->marks);
    return w->b->failed ? -ENOMEM : 0;
}

int open_traits_write(struct open_traits *o, const struct traits_rules *r, struct traits *out)
{
    struct buf b;
    struct writing w = {.o = o, .rules = r, .b = &b};
    int rc;

    buf_init(&b, 64 * MIB);
    rc = write_all(&w);
    seal_person_clear(&w.person);
    traits_init(out);
    if (rc == 0 && b.n > 0) {
        out->bytes = malloc(b.n);
        if (out->bytes) {
            memcpy(out->bytes, b.p, b.n);
            out->n = (uint32_t)b.n;
        } else {
            rc = -ENOMEM;
        }
    }
    buf_deinit(&b);
    return rc;
}
