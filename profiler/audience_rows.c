/* Rows on disk and those that wait; see audience_rows.h. The judging thread, and questions that read. */
#include "profiler/audience_rows.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/store.h"

#define ROWS_CACHE_BYTES (32 * MIB)
#define WAITING_FIRST 64

/* One that waits: its bytes, or that it is gone. */
struct waiting {
    struct key_hash hash;
    char *bytes; /* NULL: gone */
    uint32_t n;
    bool used;
};

struct waiting_table {
    struct waiting *v; /* open addressing */
    uint32_t size, count;
    size_t bytes;
};

/* What else the disk has of a partition. */
struct remains {
    _Atomic bool kept;
    _Atomic uint32_t wipes, cleaned; /* how often rows were removed, and of which of these nothing is in files */
};

struct row_store {
    struct store *store;
    struct remains *remains;
    pthread_mutex_t wiping; /* of 'W' and the numbers beside it */
    uint32_t partitions;
    struct waiting_table *waiting;
    size_t bytes;
    struct store_batch *sets; /* names that wait to be written */
};

/* --- packing -------------------------------------------------------------------------------------------------- */

bool row_pack(const struct row *r, struct buf *b)
{
    uint32_t before = 0;

    buf_add_varint(b, r->number);
    buf_add_svarint(b, r->version);
    buf_add_be64(b, r->world);
    buf_add_be64(b, (uint64_t)r->due);
    buf_add_varint(b, r->in_count);
    for (size_t i = 0; i < r->in_count; i++) {
        buf_add_varint(b, r->in[i].set - before);
        buf_add_be64(b, (uint64_t)r->in[i].entered_at);
        before = r->in[i].set;
    }
    before = 0;
    buf_add_varint(b, r->tag_count);
    for (size_t i = 0; i < r->tag_count; i++) {
        buf_add_varint(b, r->tags[i] - before);
        before = r->tags[i];
    }
    return buf_add_str(b, r->more_tags);
}

static bool read_in(const char **p, const char *end, struct row *r)
{
    uint64_t set, before = 0, entered;

    for (size_t i = 0; i < r->in_count; i++) {
        if (!get_varint(p, end, &set) || !get_be64(p, end, &entered))
            return false;
        before += set;
        r->in[i] = (struct membership){(uint32_t)before, (int64_t)entered};
    }
    return true;
}

static bool read_tags(const char **p, const char *end, struct row *r)
{
    uint64_t set, before = 0;

    for (size_t i = 0; i < r->tag_count; i++) {
        if (!get_varint(p, end, &set))
            return false;
        r->tags[i] = (uint32_t)(before += set);
    }
    return true;
}

int row_unpack(struct str bytes, struct arena *a, struct row *r)
{
    const char *p = bytes.p, *end = p + bytes.n;
    uint64_t number, due, n;

    *r = (struct row){0};
    if (!get_varint(&p, end, &number) || !get_svarint(&p, end, &r->version) || !get_be64(&p, end, &r->world) ||
        !get_be64(&p, end, &due) || number >= UINT32_MAX || !get_varint(&p, end, &n) || n > bytes.n)
        return 1;
    r->number = (uint32_t)number;
    r->due = (int64_t)due;
    r->in_count = n;
    r->in = arena_alloc(a, (n + 1) * sizeof *r->in);
    if (!r->in)
        return -ENOMEM;
    if (!read_in(&p, end, r) || !get_varint(&p, end, &n) || n > bytes.n)
        return 1;
    r->tag_count = n;
    r->tags = arena_alloc(a, (n + 1) * sizeof *r->tags);
    if (!r->tags)
        return -ENOMEM;
    if (!read_tags(&p, end, r))
        return 1;
    r->more_tags = (struct str){p, (size_t)(end - p)};
    return 0;
}

const struct membership *row_membership(const struct row *r, uint32_t set)
{
    for (size_t i = 0; i < r->in_count; i++)
        if (r->in[i].set == set)
            return &r->in[i];
    return NULL;
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static int has_key(struct row_store *r, uint32_t partition, struct str key, bool *has, struct err *e)
{
    struct store_value v = {0};
    int rc = store_get(r->store, partition, key, NULL, &v, e);

    *has = rc == 0;
    if (rc == 0)
        store_value_free(&v);
    return rc == STORE_NOT_FOUND ? 0 : rc;
}

static int find_remains(struct row_store *r, struct err *e)
{
    int rc = 0;

    for (uint32_t p = 0; p < r->partitions && rc == 0; p++) {
        bool kept = false, wiped = false;

        rc = has_key(r, p, STR_LIT("M"), &kept, e);
        if (rc == 0)
            rc = has_key(r, p, STR_LIT("W"), &wiped, e);
        atomic_init(&r->remains[p].kept, kept);
        atomic_init(&r->remains[p].wipes, wiped);
    }
    return rc;
}

int row_store_open(const char *path, uint32_t partitions, struct row_store **out, struct err *e)
{
    struct row_store *r = calloc(1, sizeof *r);
    int rc;

    if (!r || !(r->waiting = calloc(partitions, sizeof *r->waiting)) ||
        !(r->remains = calloc(partitions, sizeof *r->remains)))
        abort();
    r->partitions = partitions;
    pthread_mutex_init(&r->wiping, NULL);
    r->sets = store_batch_new(STORE_SHARED);
    rc = store_open(
        &(struct store_options){.path = path, .partitions = partitions, .block_cache_bytes = ROWS_CACHE_BYTES},
        &r->store, e);
    if (rc == 0)
        rc = store_make_families(r->store, e);
    if (rc == 0)
        rc = find_remains(r, e);
    if (rc != 0) {
        row_store_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

void row_store_close(struct row_store *r)
{
    if (!r)
        return;
    for (uint32_t p = 0; p < r->partitions; p++)
        row_store_forget(r, p);
    store_batch_free(r->sets);
    store_close(r->store);
    pthread_mutex_destroy(&r->wiping);
    free(r->remains);
    free(r->waiting);
    free(r);
}

/* --- what waits ----------------------------------------------------------------------------------------------- */

static uint32_t place_of(const struct waiting_table *t, const struct key_hash *hash)
{
    uint32_t at = (uint32_t)key_hash_number(hash) & (t->size - 1);

    while (t->v[at].used && !key_hash_eq(&t->v[at].hash, hash))
        at = (at + 1) & (t->size - 1);
    return at;
}

static void make_room(struct waiting_table *t)
{
    struct waiting_table old = *t;

    if (t->size && (t->count + 1) * 4 <= t->size * 3)
        return;
    t->size = old.size ? old.size * 2 : WAITING_FIRST;
    t->v = calloc(t->size, sizeof *t->v);
    if (!t->v)
        abort();
    for (uint32_t i = 0; i < old.size; i++)
        if (old.v[i].used)
            t->v[place_of(t, &old.v[i].hash)] = old.v[i];
    free(old.v);
}

void row_store_put(struct row_store *r, uint32_t partition, const struct key_hash *hash, struct str bytes)
{
    struct waiting_table *t = &r->waiting[partition];
    size_t cost = bytes.n + sizeof(struct waiting);

    make_room(t);
    struct waiting *w = &t->v[place_of(t, hash)];
    if (w->used) {
        size_t was = w->n + sizeof *w;

        t->bytes -= was;
        r->bytes -= was;
        free(w->bytes);
    } else {
        t->count++;
    }
    *w = (struct waiting){.hash = *hash, .n = (uint32_t)bytes.n, .used = true};
    if (str_has(bytes)) {
        w->bytes = malloc(bytes.n + 1);
        if (!w->bytes)
            abort();
        memcpy(w->bytes, bytes.p, bytes.n);
    }
    t->bytes += cost;
    r->bytes += cost;
}

size_t row_store_waiting(const struct row_store *r)
{
    return r->bytes;
}

void row_store_forget(struct row_store *r, uint32_t partition)
{
    struct waiting_table *t = &r->waiting[partition];

    for (uint32_t i = 0; i < t->size; i++)
        free(t->v[i].bytes);
    free(t->v);
    r->bytes -= t->bytes;
    *t = (struct waiting_table){0};
}

/* --- sets ----------------------------------------------------------------------------------------------------- */

static struct str set_key(uint32_t set, char key[5])
{
    key[0] = 'S';
    for (int i = 0; i < 4; i++)
        key[1 + i] = (char)(set >> (24 - 8 * i));
    return (struct str){key, 5};
}

void row_store_put_set(struct row_store *r, uint32_t set, struct str name)
{
    char key[5];

    if (str_has(name))
        store_batch_put(r->sets, set_key(set, key), name);
    else
        store_batch_delete(r->sets, set_key(set, key));
}

/* Before the rows that name them. */
int row_store_write_sets(struct row_store *r, struct err *e)
{
    int rc = store_batch_bytes(r->sets) ? store_write(r->store, r->sets, e) : 0;

    if (rc == 0)
        store_batch_clear(r->sets);
    return rc;
}

/* --- disk ----------------------------------------------------------------------------------------------------- */

#define ROW_KEY (1 + KEY_HASH_BYTES)

static struct str row_key(const struct key_hash *hash, char key[ROW_KEY])
{
    key[0] = 'R';
    memcpy(key + 1, hash->b, KEY_HASH_BYTES);
    return (struct str){key, ROW_KEY};
}

int row_store_get(struct row_store *r, uint32_t partition, const struct key_hash *hash, struct arena *a,
                  struct str *out, struct err *e)
{
    const struct waiting_table *t = &r->waiting[partition];
    struct store_value v = {0};
    char key[ROW_KEY];

    if (t->size) {
        const struct waiting *w = &t->v[place_of(t, hash)];

        if (w->used && !w->bytes)
            return 1;
        if (w->used) {
            *out = arena_dup(a, (struct str){w->bytes, w->n});
            return out->p ? 0 : -ENOMEM;
        }
    }
    int rc = store_get(r->store, partition, row_key(hash, key), NULL, &v, e);
    if (rc != 0)
        return rc == STORE_NOT_FOUND ? 1 : rc;
    *out = arena_dup(a, v.bytes);
    store_value_free(&v);
    return out->p ? 0 : -ENOMEM;
}

static void put_meta(struct store_batch *b, int64_t place, const struct key_hash *mark)
{
    char bytes[8 + KEY_HASH_BYTES];

    for (int i = 0; i < 8; i++)
        bytes[i] = (char)((uint64_t)place >> (56 - 8 * i));
    memcpy(bytes + 8, mark->b, KEY_HASH_BYTES);
    store_batch_put(b, STR_LIT("M"), (struct str){bytes, sizeof bytes});
}

int row_store_write(struct row_store *r, uint32_t partition, int64_t place, const struct key_hash *mark, struct err *e)
{
    struct waiting_table *t = &r->waiting[partition];
    struct store_batch *b;
    char key[ROW_KEY];
    int rc = row_store_write_sets(r, e);

    if (rc != 0)
        return rc;
    b = store_batch_new(partition);
    for (uint32_t i = 0; i < t->size; i++) {
        const struct waiting *w = &t->v[i];

        if (w->used && w->bytes)
            store_batch_put(b, row_key(&w->hash, key), (struct str){w->bytes, w->n});
        else if (w->used)
            store_batch_delete(b, row_key(&w->hash, key));
    }
    put_meta(b, place, mark);
    rc = store_write(r->store, b, e);
    store_batch_free(b);
    if (rc != 0)
        return rc;
    row_store_forget(r, partition);
    atomic_store(&r->remains[partition].kept, true);
    return 0;
}

int row_store_place(struct row_store *r, uint32_t partition, int64_t *place, struct key_hash *mark, struct err *e)
{
    struct store_value v = {0};
    int rc = store_get(r->store, partition, STR_LIT("M"), NULL, &v, e);
    uint64_t at;

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? 1 : rc;
    const char *p = v.bytes.p, *end = p + v.bytes.n;
    rc = get_be64(&p, end, &at) && end - p == KEY_HASH_BYTES ? 0 : 1;
    if (rc == 0) {
        *place = (int64_t)at;
        memcpy(mark->b, p, KEY_HASH_BYTES);
    }
    store_value_free(&v);
    return rc;
}

int row_store_walk(struct row_store *r, uint32_t partition, row_visitor *each, void *arg, struct err *e)
{
    struct store_iter *it = store_iter_new(r->store, partition, NULL, false);
    struct str key, value;
    struct key_hash hash;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, STR_LIT("R")); rc == 0 && store_iter_at(it, &key, &value); store_iter_next(it)) {
        if (key.n != ROW_KEY || key.p[0] != 'R')
            break;
        memcpy(hash.b, key.p + 1, KEY_HASH_BYTES);
        rc = each(arg, &hash, value);
    }
    if (rc == 0)
        rc = store_iter_status(it, e);
    store_iter_free(it);
    return rc;
}

struct wiping {
    struct store_batch *batch;
};

static int wipe_one(void *arg, const struct key_hash *hash, struct str bytes)
{
    struct wiping *w = arg;
    char key[ROW_KEY];

    (void)bytes;
    store_batch_delete(w->batch, row_key(hash, key));
    return 0;
}

int row_store_wipe(struct row_store *r, uint32_t partition, struct err *e)
{
    struct wiping w = {store_batch_new(partition)};
    int rc = row_store_walk(r, partition, wipe_one, &w, e);

    row_store_forget(r, partition);
    store_batch_delete(w.batch, STR_LIT("M"));
    store_batch_put(w.batch, STR_LIT("W"), STR_LIT(""));
    pthread_mutex_lock(&r->wiping);
    if (rc == 0)
        rc = store_write(r->store, w.batch, e);
    if (rc == 0) {
        atomic_fetch_add(&r->remains[partition].wipes, 1);
        atomic_store(&r->remains[partition].kept, false);
    }
    pthread_mutex_unlock(&r->wiping);
    store_batch_free(w.batch);
    return rc;
}

/* --- names of sets, read ----------------------------------------------------------------------------------- */

int row_store_sets(struct row_store *r, set_visitor *each, void *arg, struct err *e)
{
    struct store_iter *it = store_iter_new(r->store, STORE_SHARED, NULL, false);
    struct str key, value;
    uint32_t set;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, STR_LIT("S")); rc == 0 && store_iter_at(it, &key, &value); store_iter_next(it)) {
        const char *p = key.p + 1;

        if (key.n != 5 || key.p[0] != 'S' || !get_be32(&p, key.p + 5, &set))
            break;
        rc = each(arg, set, value);
    }
    if (rc == 0)
        rc = store_iter_status(it, e);
    store_iter_free(it);
    return rc;
}

/* --- what was removed ------------------------------------------------------------------------------------------ */

bool row_store_keeps(const struct row_store *r, uint32_t partition)
{
    return atomic_load(&r->remains[partition].kept);
}

bool row_store_unclean(const struct row_store *r, uint32_t partition)
{
    const struct remains *m = &r->remains[partition];

    return atomic_load(&m->wipes) != atomic_load(&m->cleaned);
}

void row_store_wipes(const struct row_store *r, uint32_t *wipes)
{
    for (uint32_t p = 0; p < r->partitions; p++)
        wipes[p] = atomic_load(&r->remains[p].wipes);
}

/* Unless more was removed meanwhile. */
static int end_unclean(struct row_store *r, uint32_t partition, uint32_t wipes, struct err *e)
{
    struct remains *m = &r->remains[partition];
    struct store_batch *b = store_batch_new(partition);
    int rc = 0;

    store_batch_delete(b, STR_LIT("W"));
    pthread_mutex_lock(&r->wiping);
    if (atomic_load(&m->wipes) == wipes) {
        rc = store_write(r->store, b, e);
        if (rc == 0)
            atomic_store(&m->cleaned, wipes);
    }
    pthread_mutex_unlock(&r->wiping);
    store_batch_free(b);
    return rc;
}

int row_store_compact(struct row_store *r, bool all, const uint32_t *wipes, struct err *e)
{
    int rc = 0;

    for (uint32_t p = 0; p < r->partitions && rc == 0; p++)
        if (all || row_store_unclean(r, p))
            rc = store_compact(r->store, p, e);
    if (rc == 0)
        rc = store_compact(r->store, STORE_SHARED, e);
    for (uint32_t p = 0; p < r->partitions && rc == 0; p++)
        if (row_store_unclean(r, p))
            rc = end_unclean(r, p, wipes[p], e);
    return rc;
}

void row_store_compact_stop(struct row_store *r)
{
    store_compact_stop(r->store);
}
