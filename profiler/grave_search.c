/* The search for who has a hash. Keys on disk and in memory are other hashes, so that it means to look through all
 * profiles and devices of the partition. A log that is read anew after thousands were erased asks thousands of times:
 * from the second search of an interval on it is noted which row has which hash, in a table that a look through all of
 * them makes and that everybody who comes into memory is added to, until the interval is over, or all that was on the
 * log. A row that is gone stays noted: what is found is read, and is the one only if its id has the hash. The worker's
 * thread. */
#include "profiler/grave_search.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/erased.h"

enum { FIRST_CAP = 1024 };

/* In the order of marks, as far as it goes: a place is searched for from its mark's share of the table on. */
struct grave_name {
    uint32_t mark; /* of the hash and the kind of row; 0: nobody */
    unsigned char row[KEY_HASH_BYTES];
};

struct grave_names {
    struct grave_name *v;
    size_t n, cap;
};

static size_t names_bytes(size_t cap)
{
    return sizeof(struct grave_names) + cap * sizeof(struct grave_name);
}

static uint32_t mark_of(enum key_kind kind, const struct key_hash *hash)
{
    uint32_t mark = (uint32_t)(key_hash_number(hash) >> 32) ^ (kind == KEY_DEVICE ? UINT32_C(0x9e3779b9) : 0);

    return mark ? mark : 1;
}

/* Hands out every place that the mark may be at, the last one empty. `*at` is SIZE_MAX at first. */
static struct grave_name *next_place(const struct grave_names *n, uint32_t mark, size_t *at)
{
    *at = *at == SIZE_MAX ? (size_t)((uint64_t)mark * n->cap >> 32) : *at + 1 == n->cap ? 0 : *at + 1;
    return &n->v[*at];
}

/* --- the table ------------------------------------------------------------------------------------------------ */

/* What it holds counts as memory of the partition, so that less else is kept meanwhile. With the lock. */
static void count(struct partition *p, size_t before, size_t after)
{
    p->memory += after - before;
}

void grave_search_drop(struct partition *p)
{
    struct grave_names *n = p->graves.names;

    if (!n)
        return;
    count(p, names_bytes(n->cap), 0);
    free(n->v);
    free(n);
    p->graves.names = NULL;
}

static void drop(struct partition *p)
{
    pthread_mutex_lock(&p->lock);
    grave_search_drop(p);
    pthread_mutex_unlock(&p->lock);
}

static void put(struct grave_names *n, const struct grave_name *one)
{
    struct grave_name *to;
    size_t at = SIZE_MAX;

    for (to = next_place(n, one->mark, &at); to->mark; to = next_place(n, one->mark, &at))
        if (to->mark == one->mark && memcmp(to->row, one->row, sizeof to->row) == 0)
            return;
    *to = *one;
    n->n++;
}

static int grow(struct partition *p, struct grave_names *n)
{
    size_t cap = n->cap ? n->cap + n->cap / 2 : FIRST_CAP;
    struct grave_names more = {.cap = cap};

    if (names_bytes(cap) > LIMIT_NAMES_BYTES / p->state->partition_count + names_bytes(FIRST_CAP))
        return -ENOMEM;
    more.v = calloc(cap, sizeof *more.v);
    if (!more.v)
        return -ENOMEM;
    for (size_t i = 0; i < n->cap; i++)
        if (n->v[i].mark)
            put(&more, &n->v[i]);
    free(n->v);
    pthread_mutex_lock(&p->lock);
    count(p, names_bytes(n->cap), names_bytes(cap));
    pthread_mutex_unlock(&p->lock);
    *n = more;
    return 0;
}

static int note(struct partition *p, enum key_kind kind, const struct key_hash *row, struct str profile)
{
    struct grave_names *n = p->graves.names;
    struct key_hash hash = erasure_hash(p, profile);
    struct grave_name one = {.mark = mark_of(kind, &hash)};
    int rc = n->n >= n->cap / 5 * 4 ? grow(p, n) : 0;

    memcpy(one.row, row->b, sizeof one.row);
    if (rc == 0)
        put(n, &one);
    return rc;
}

void grave_search_add(struct partition *p, enum key_kind kind, const struct key_hash *row, struct str profile)
{
    if (p->graves.names && note(p, kind, row, profile) < 0)
        drop(p);
}

void grave_search_settle(struct partition *p)
{
    bool catching_up = p->figures.offset < p->graves.until;

    if (!catching_up)
        drop(p);
    p->graves.searches = 0;
    p->graves.crowded = false;
}

/* --- everybody ------------------------------------------------------------------------------------------------ */

/* Of a row, with its profile's id. 0 to go on. */
typedef int visitor(void *arg, enum key_kind kind, const struct key_hash *row, struct str profile);

static int visit_memory(struct partition *p, visitor *visit, void *arg)
{
    char buf[PROFILE_ID_MAX_BYTES];
    int rc = 0;

    for (struct kept *k = p->ring.next; k != &p->ring && rc == 0; k = k->next) {
        if (k->kind == KEPT_PROFILE)
            rc = visit(arg, KEY_PROFILE, &kept_profile(k)->node.key, kept_profile(k)->id);
        else if (k->kind == KEPT_DEVICE)
            rc = visit(arg, KEY_DEVICE, &kept_device(k)->node.key, profile_id(kept_device(k)->id, STR_NONE, buf));
    }
    return rc;
}

/* The profile's id of a row as it is on disk; absent for a device that does not say what it was. */
static int read_id(enum key_kind kind, struct str value, char *buf, struct str *id, struct err *e)
{
    const char *p = value.p, *end = value.p + value.n;
    struct profile_record record;
    uint64_t format;

    if (kind == KEY_PROFILE) {
        if (profile_record_read(value, &record) < 0)
            return damaged(e, "a profile");
        *id = record.id;
        return 0;
    }
    if (!get_varint(&p, end, &format) || !get_text(&p, end, id) || id->n > KEY_ID_MAX_BYTES)
        return damaged(e, "a device");
    if (str_has(*id))
        *id = profile_id(*id, STR_NONE, buf);
    return 0;
}

static int visit_row(enum key_kind kind, struct str key, struct str value, visitor *visit, void *arg, struct err *e)
{
    char buf[PROFILE_ID_MAX_BYTES];
    struct key_hash row;
    struct str id;
    int rc = key.n == KEY_PREFIX_BYTES ? read_id(kind, value, buf, &id, e) : damaged(e, "a key");

    if (rc < 0 || !str_has(id))
        return rc;
    memcpy(row.b, key.p + 1, sizeof row.b);
    return visit(arg, kind, &row, id);
}

static int visit_disk(struct partition *p, enum key_kind kind, visitor *visit, void *arg, struct err *e)
{
    struct store_iter *it = store_iter_new(p->state->store, p->number, NULL, false);
    const char first = (char)kind;
    struct str key, value;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, (struct str){&first, 1}); rc == 0 && store_iter_at(it, &key, &value);
         store_iter_next(it)) {
        if (key.n == 0 || key.p[0] != first)
            break;
        rc = visit_row(kind, key, value, visit, arg, e);
    }
    if (rc == 0)
        rc = store_iter_status(it, e);
    store_iter_free(it);
    return rc;
}

static int visit_all(struct partition *p, visitor *visit, void *arg, struct err *e)
{
    int rc;

    p->graves.walks++;
    rc = visit_memory(p, visit, arg);
    if (rc == 0)
        rc = visit_disk(p, KEY_DEVICE, visit, arg, e);
    return rc == 0 ? visit_disk(p, KEY_PROFILE, visit, arg, e) : rc;
}

static int note_row(void *arg, enum key_kind kind, const struct key_hash *row, struct str profile)
{
    return note(arg, kind, row, profile);
}

/* Where there is no room it is searched without. 0 or negative errno. */
static int note_all(struct partition *p, struct err *e)
{
    int rc;

    p->graves.names = calloc(1, sizeof *p->graves.names);
    if (!p->graves.names)
        return -ENOMEM;
    pthread_mutex_lock(&p->lock);
    count(p, 0, names_bytes(0));
    pthread_mutex_unlock(&p->lock);
    rc = visit_all(p, note_row, p, e);
    if (rc < 0)
        drop(p);
    p->graves.crowded = rc == -ENOMEM;
    return rc == -ENOMEM ? 0 : rc;
}

/* --- searching ------------------------------------------------------------------------------------------------ */

struct search {
    struct partition *p;
    const struct key_hash *hash;
    bool devices;
    struct str *id;
};

/* 1 when it is the one. */
static int try(const struct search *f, struct str profile)
{
    struct key_hash hash = erasure_hash(f->p, profile);
    int rc = key_hash_eq(&hash, f->hash) ? text_copy(profile, f->id) : 0;

    return rc == 0 && str_has(*f->id) ? 1 : rc;
}

static int try_row(void *arg, enum key_kind kind, const struct key_hash *row, struct str profile)
{
    const struct search *f = arg;

    (void)row;
    return kind == KEY_PROFILE || f->devices ? try(f, profile) : 0;
}

static int try_disk(const struct search *f, enum key_kind kind, const struct key_hash *row, struct err *e)
{
    struct key key = key_one(kind, *row);
    char buf[PROFILE_ID_MAX_BYTES];
    struct store_value v = {0};
    struct str id;
    int rc = store_get(f->p->state->store, f->p->number, key_str(&key), NULL, &v, e);

    if (rc == STORE_NOT_FOUND)
        return 0;
    if (rc == 0)
        rc = read_id(kind, v.bytes, buf, &id, e);
    if (rc == 0 && str_has(id))
        rc = try(f, id);
    store_value_free(&v);
    return rc;
}

static int try_noted(const struct search *f, enum key_kind kind, const struct key_hash *row, struct err *e)
{
    struct table_node *n = table_find(kind == KEY_DEVICE ? &f->p->devices : &f->p->profiles, row);
    char buf[PROFILE_ID_MAX_BYTES];

    _Static_assert(offsetof(struct profile, node) == 0 && offsetof(struct device, node) == 0, "node first");
    if (!n)
        return try_disk(f, kind, row, e);
    return try(f,
               kind == KEY_PROFILE ? ((struct profile *)n)->id : profile_id(((struct device *)n)->id, STR_NONE, buf));
}

static int search_noted(const struct search *f, enum key_kind kind, struct err *e)
{
    const struct grave_names *n = f->p->graves.names;
    const uint32_t mark = mark_of(kind, f->hash);
    const struct grave_name *one;
    size_t at = SIZE_MAX;
    int rc = 0;

    for (one = n->cap ? next_place(n, mark, &at) : NULL; rc == 0 && one && one->mark; one = next_place(n, mark, &at)) {
        struct key_hash row;

        if (one->mark != mark)
            continue;
        memcpy(row.b, one->row, sizeof row.b);
        rc = try_noted(f, kind, &row, e);
    }
    return rc;
}

int grave_search(struct partition *p, const struct key_hash *hash, bool devices, struct str *id, struct err *e)
{
    const struct search f = {p, hash, devices, id};
    int rc = 0;

    *id = STR_NONE;
    if (!p->graves.names && p->graves.searches > 0 && !p->graves.crowded)
        rc = note_all(p, e);
    if (rc < 0)
        return rc;
    p->graves.searches++;
    if (!p->graves.names) {
        rc = visit_all(p, try_row, (void *)(uintptr_t)&f, e);
        return rc < 0 ? rc : 0;
    }
    if (devices)
        rc = search_noted(&f, KEY_DEVICE, e);
    if (rc == 0)
        rc = search_noted(&f, KEY_PROFILE, e);
    return rc < 0 ? rc : 0;
}
