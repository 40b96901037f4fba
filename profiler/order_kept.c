/* Orders at their homes: in memory, and as bytes on disk. The worker's thread; the readers of bytes are pure. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/order_home.h"
#include "proto/codec.h"

#define container(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

int counting_cmp(const struct event_rank *a, const struct event_rank *b)
{
    if (a->trust != b->trust)
        return a->trust > b->trust ? -1 : 1;
    return event_key_cmp(&a->key, &b->key);
}

/* --- bytes ---------------------------------------------------------------------------------------------------- */

static void put_link(struct buf *b, const struct order_link *l)
{
    put_text(b, l->device);
    if (!str_has(l->device))
        return;
    put_text(b, l->user);
    put_key(b, &l->key);
}

static bool get_link(const char **p, const char *end, struct order_link *out)
{
    *out = (struct order_link){0};
    if (!get_text(p, end, &out->device))
        return false;
    return !str_has(out->device) || (get_text(p, end, &out->user) && str_has(out->user) && get_key(p, end, &out->key));
}

bool home_record_write(const struct order_home *h, struct buf *b)
{
    buf_add_varint(b, STATE_FORMAT);
    put_text(b, h->id);
    put_text(b, h->owner);
    put_link(b, &h->link);
    put_link(b, &h->guest);
    return !b->failed;
}

int home_record_read(struct str bytes, struct home_record *out)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t format;

    return get_varint(&p, end, &format) && format == STATE_FORMAT && get_text(&p, end, &out->id) && str_has(out->id) &&
                   get_text(&p, end, &out->owner) && get_link(&p, end, &out->link) && get_link(&p, end, &out->guest) &&
                   p == end
               ? 0
               : -EIO;
}

enum { STATEMENT_ERASED = 16 }; /* beside the status */

bool statement_record_write(const struct statement *s, struct buf *b)
{
    put_version(b, s->version);
    buf_add_varint(b, s->status | (s->erased ? STATEMENT_ERASED : 0));
    put_text(b, s->anonymous_id);
    put_text(b, s->user_id);
    put_text(b, s->owner);
    return buf_add_str(b, s->bytes);
}

int statement_record_read(struct str bytes, struct statement *out)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t status;

    if (!get_version(&p, end, &out->version) || !get_varint(&p, end, &status) ||
        (status & ~(uint64_t)STATEMENT_ERASED) > STATUS_CANCELLED || !get_text(&p, end, &out->anonymous_id) ||
        !get_text(&p, end, &out->user_id) || !get_text(&p, end, &out->owner) || !profile_id_valid(out->owner) ||
        p == end)
        return -EIO;
    out->status = (enum order_status)(status & ~(uint64_t)STATEMENT_ERASED);
    out->erased = status & STATEMENT_ERASED;
    out->bytes = (struct str){p, (size_t)(end - p)};
    out->cost = event_unpacked_bytes(out->bytes);
    return 0;
}

bool statement_place_write(const struct statement *s, struct buf *b)
{
    put_version(b, s->version);
    buf_add_varint(b, s->removed ? 0 : s->place.trust);
    if (!s->removed)
        put_key(b, &s->place.key);
    return !b->failed;
}

int statement_place_read(struct str bytes, struct statement *out)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t trust;

    if (!get_version(&p, end, &out->version) || !get_varint(&p, end, &trust) || trust > TRUST_SERVER)
        return -EIO;
    out->removed = trust == 0;
    if (!out->removed) {
        out->place.trust = (enum event_trust)trust;
        if (!get_key(&p, end, &out->place.key))
            return -EIO;
    }
    return p == end ? 0 : -EIO;
}

/* --- statements ----------------------------------------------------------------------------------------------- */

static struct key_hash statement_hash(const struct partition *p, const struct order_home *h, const struct uid *uid)
{
    struct key_hash as_hash;

    _Static_assert(UID_BYTES == KEY_HASH_BYTES, "a uid is as large as a hash");
    memcpy(as_hash.b, uid->b, UID_BYTES);
    return key_hash_pair(&p->secret, h->node.key, as_hash);
}

struct statement *statement_in_memory(struct partition *p, struct order_home *h, const struct uid *uid)
{
    struct key_hash hash = statement_hash(p, h, uid);
    struct table_node *n = table_find(&p->statements, &hash);

    return n ? container(n, struct statement, node) : NULL;
}

struct statement *statement_new(struct partition *p, struct order_home *h, const struct uid *uid)
{
    struct statement *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->node.key = statement_hash(p, h, uid);
    s->home = h;
    s->place.key.uid = *uid;
    if (table_add(&p->statements, &s->node) < 0) {
        free(s);
        return NULL;
    }
    h->statement_bytes += sizeof *s;
    return s;
}

void statement_free(struct partition *p, struct statement *s)
{
    assert(!s->fresh && !s->counts && !s->leaves);
    table_remove(&p->statements, &s->node);
    s->home->statement_bytes -= sizeof *s + s->memory_bytes;
    free(s->memory);
    free(s);
}

static struct str keep(char **at, struct str s)
{
    struct str copy = {*at, s.n};

    if (!str_has(s))
        return s;
    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

/* Takes all of `from` but where it stands; copies the spans. 0 or -ENOMEM. */
int statement_set(struct statement *s, const struct statement *from)
{
    size_t n = from->anonymous_id.n + from->user_id.n + from->owner.n + from->bytes.n + 1;
    char *memory = malloc(n), *at = memory;

    if (!memory)
        return -ENOMEM;
    s->place = from->place;
    s->version = from->version;
    s->status = from->status;
    s->anonymous_id = keep(&at, from->anonymous_id);
    s->user_id = keep(&at, from->user_id);
    s->owner = keep(&at, from->owner);
    s->bytes = keep(&at, from->bytes);
    s->cost = from->cost;
    s->erased = from->erased;
    s->removed = false;
    s->home->statement_bytes += n - s->memory_bytes;
    free(s->memory);
    s->memory = memory;
    s->memory_bytes = n;
    return 0;
}

int statement_decode(struct partition *p, struct str order_id, const struct internal_item *item, struct statement *out)
{
    struct event ev;
    struct event_key key;
    int rc;

    arena_reset(&p->arena_other);
    rc = event_unpack(item->bytes, &p->arena_other, &ev);
    if (rc != CODEC_OK)
        return rc < 0 ? rc : 1;
    key = event_key(&ev);
    if (!order_stated(&ev, &out->status) || !str_eq(ev.order.order_id, order_id) ||
        event_key_cmp(&key, &item->key) != 0)
        return 1;
    out->place = event_rank(&ev);
    out->anonymous_id = ev.anonymous_id;
    out->user_id = ev.user_id;
    out->bytes = item->bytes;
    out->cost = event_unpacked_bytes(item->bytes);
    out->erased = ev.erased;
    return 0;
}

/* What the disk knows of the uid. */
static int read_place(struct partition *p, struct order_home *h, const struct uid *uid, struct statement *out,
                      struct err *e)
{
    struct key_home at = {h->node.key, HOME_UID, {.key = {.uid = *uid}}};
    struct key key = key_homed(&at);
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc != 0)
        return rc;
    rc = statement_place_read(v.bytes, out);
    store_value_free(&v);
    return rc < 0 ? damaged(e, "a statement of an order") : 0;
}

int statement_find(struct partition *p, struct order_home *h, const struct uid *uid, struct statement **out,
                   struct err *e)
{
    struct statement read = {0}, *s = statement_in_memory(p, h, uid);
    int rc;

    *out = s;
    if (s || !h->on_disk)
        return 0;
    rc = read_place(p, h, uid, &read, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    s = statement_new(p, h, uid);
    if (!s)
        return -ENOMEM;
    s->on_disk = true;
    s->version = read.version;
    s->removed = read.removed;
    s->stands_on_disk = !read.removed;
    if (!read.removed)
        s->place = s->disk_place = read.place;
    *out = s;
    return 0;
}

void statement_touch(struct partition *p, struct statement *s)
{
    if (!s->fresh) {
        s->fresh = true;
        s->next_fresh = s->home->fresh;
        s->home->fresh = s;
    }
    order_home_touch(p, s->home);
}

/* --- homes ---------------------------------------------------------------------------------------------------- */

struct order_home *kept_order_home(struct kept *k)
{
    assert(k->kind == KEPT_ORDER_HOME);
    return container(k, struct order_home, kept);
}

size_t order_home_bytes(const struct order_home *h)
{
    return sizeof *h + h->id.n + h->owner.n + h->cap * sizeof(*h->counting) + h->statement_bytes;
}

bool order_home_droppable(const struct partition *p, const struct order_home *h)
{
    return h->interval != p->interval_number;
}

static void link_free(struct order_link *l)
{
    free((void *)(uintptr_t)l->device.p);
    free((void *)(uintptr_t)l->user.p);
    *l = (struct order_link){0};
}

void order_home_free(struct partition *p, struct order_home *h)
{
    struct statement *next;

    for (struct statement *s = h->fresh; s; s = next) {
        next = s->next_fresh;
        s->fresh = s->leaves = false;
        if (!s->counts)
            statement_free(p, s);
    }
    for (size_t i = 0; i < h->count; i++) {
        h->counting[i]->counts = h->counting[i]->leaves = false;
        statement_free(p, h->counting[i]);
    }
    free(h->counting);
    free((void *)(uintptr_t)h->owner.p);
    free((void *)(uintptr_t)h->left.p);
    link_free(&h->link);
    link_free(&h->guest);
    free(h);
}

void order_home_touch(struct partition *p, struct order_home *h)
{
    h->kept.touched = true;
    if (h->interval == p->interval_number)
        return;
    if (pointers_reserve(&p->dirty_order_homes, 1) < 0)
        abort(); /* what is told cannot be taken back */
    h->interval = p->interval_number;
    pointers_add(&p->dirty_order_homes, h);
}

int order_home_reserve(struct order_home *h)
{
    size_t cap = h->cap ? 2 * h->cap : 2;
    struct statement **v;

    if (h->count < h->cap)
        return 0;
    v = realloc(h->counting, cap * sizeof(*v));
    if (!v)
        return -ENOMEM;
    h->counting = v;
    h->cap = cap;
    return 0;
}

bool order_home_has_room(const struct order_home *h, size_t bytes, size_t cost)
{
    return h->count == 0 || (h->count < LIMIT_STATEMENTS && bytes + cost <= LIMIT_STATEMENTS_BYTES);
}

/* --- loading -------------------------------------------------------------------------------------------------- */

static int copy_link(const struct order_link *from, struct order_link *to)
{
    int rc;

    if (!str_has(from->device))
        return 0;
    to->key = from->key;
    rc = text_copy(from->device, &to->device);
    return rc == 0 ? text_copy(from->user, &to->user) : rc;
}

static int load_head(struct partition *p, struct order_home *h, struct err *e)
{
    struct key_home at = {.order = h->node.key, .part = HOME_HEAD};
    struct key key = key_homed(&at);
    struct home_record record;
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? 0 : rc;
    h->on_disk = true;
    if (home_record_read(v.bytes, &record) < 0 || !str_eq(record.id, h->id))
        rc = damaged(e, "the home of an order");
    if (rc == 0)
        rc = text_copy(record.owner, &h->owner);
    if (rc == 0)
        rc = copy_link(&record.link, &h->link);
    if (rc == 0)
        rc = copy_link(&record.guest, &h->guest);
    store_value_free(&v);
    return rc;
}

int order_home_append(struct partition *p, struct order_home *h, const struct statement *from)
{
    struct statement *s;

    if (order_home_reserve(h) < 0)
        return -ENOMEM;
    s = statement_new(p, h, &from->place.key.uid);
    if (!s)
        return -ENOMEM;
    if (statement_set(s, from) < 0) {
        statement_free(p, s);
        return -ENOMEM;
    }
    s->on_disk = s->stands_on_disk = s->counts = true;
    s->disk_place = s->place;
    h->counting[h->count++] = s;
    return 0;
}

int home_place_read(const struct order_home *h, struct str key, struct str value, struct statement *out, struct err *e)
{
    struct key_home at;

    *out = (struct statement){0};
    if (!key_read_homed(key, &at) || at.part != HOME_PLACE || !key_hash_eq(&at.order, &h->node.key) ||
        statement_record_read(value, out) < 0)
        return damaged(e, "a statement of an order");
    out->place = at.place;
    return 0;
}

/* Those that count, and the first that does not. */
static int load_statements(struct partition *p, struct order_home *h, struct err *e)
{
    struct key prefix = key_home_places(h->node.key);
    struct store_iter *it = store_iter_new(p->state->store, p->number, NULL, true);
    struct statement read;
    struct str key, value;
    size_t bytes = 0;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&prefix)); rc == 0 && store_iter_at(it, &key, &value); store_iter_next(it)) {
        if (!str_starts(key, key_str(&prefix)))
            break;
        rc = home_place_read(h, key, value, &read, e);
        if (rc == 0 && !order_home_has_room(h, bytes, read.cost)) {
            h->beyond = true;
            h->cut = read.place;
            break;
        }
        if (rc == 0)
            rc = order_home_append(p, h, &read);
        if (rc == 0)
            h->counting[h->count - 1]->told = true;
        bytes += read.cost;
    }
    if (rc == 0 && !h->beyond)
        rc = store_iter_status(it, e);
    store_iter_free(it);
    return rc;
}

static struct order_home *home_new(struct key_hash hash, struct str id)
{
    struct order_home *h = calloc(1, sizeof *h + id.n + 1);

    if (!h)
        return NULL;
    memcpy(h + 1, id.p, id.n);
    h->id = (struct str){(char *)(h + 1), id.n};
    h->node.key = hash;
    h->kept.kind = KEPT_ORDER_HOME;
    return h;
}

static int home_read(struct partition *p, struct key_hash hash, struct str id, struct order_home **out, struct err *e)
{
    struct order_home *h = home_new(hash, id);
    int rc;

    if (!h)
        return -ENOMEM;
    rc = load_head(p, h, e);
    if (rc == 0 && h->on_disk)
        rc = load_statements(p, h, e);
    if (rc < 0) {
        order_home_free(p, h);
        return rc;
    }
    *out = h;
    return 0;
}

int order_home_read(struct partition *p, struct str order_id, struct order_home **out, struct err *e)
{
    return home_read(p, partition_hash(p, order_id), order_id, out, e);
}

int partition_order_home(struct partition *p, struct str order_id, struct order_home **out, struct err *e)
{
    struct key_hash hash = partition_hash(p, order_id);
    struct table_node *n = table_find(&p->order_homes, &hash);
    int rc;

    if (n) {
        *out = container(n, struct order_home, node);
        return 0;
    }
    rc = home_read(p, hash, order_id, out, e);
    if (rc < 0)
        return rc;
    rc = partition_keep(p, &p->order_homes, &(*out)->node, &(*out)->kept);
    if (rc < 0)
        order_home_free(p, *out);
    return rc;
}
