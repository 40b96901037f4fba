/* Copies of the state, and partitions out of them. A copy may be made on any thread; a partition is replaced on that of
 * its worker. */
#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/erased.h"

#define COPY_CACHE_BYTES (16 * MIB)

int state_copy(struct state *s, const char *folder, struct err *e)
{
    return store_copy(s->store, folder, e);
}

void state_files(struct state *s, void (*each)(void *arg, const char *name, uint32_t partition), void *arg)
{
    _Static_assert(STORE_SHARED == UINT32_MAX, "as state.h says");
    store_files(s->store, each, arg);
}

/* --- taking a partition --------------------------------------------------------------------------------------- */

/* A copy that was made with other settings holds other figures. */
static int check_made_with(struct state *s, struct store *copy, struct err *e)
{
    struct store_value theirs = {0}, ours = {0};
    struct str name, was, is;
    int rc = store_get(copy, STORE_SHARED, str_of(STATE_MADE_WITH), NULL, &theirs, e);

    if (rc == 0)
        rc = store_get(s->store, STORE_SHARED, str_of(STATE_MADE_WITH), NULL, &ours, e);
    if (rc == STORE_NOT_FOUND)
        rc = damaged(e, "what it was made with");
    if (rc == 0 && !made_with_equal(theirs.bytes, ours.bytes, &name, &was, &is)) {
        err_set(e, "the copy was made with another value of %.*s%s%.*s%s%.*s%s", STR_ARG(name), str_has(is) ? " (" : "",
                STR_ARG(was), str_has(is) ? ", now " : "", STR_ARG(is), str_has(is) ? ")" : "");
        rc = -EINVAL;
    }
    store_value_free(&theirs);
    store_value_free(&ours);
    return rc;
}

/* Every record, in the order of keys. */
static int fill(struct store *copy, uint32_t partition, struct store_filler *f, struct err *e)
{
    struct store_iter *it = store_iter_new(copy, partition, NULL, false);
    struct str key, value;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, STR_LIT("")); rc == 0 && store_iter_at(it, &key, &value); store_iter_next(it))
        rc = store_filler_put(f, key, value, e);
    if (rc == 0)
        rc = store_iter_status(it, e);
    store_iter_free(it);
    return rc;
}

static int read_meta(const struct state *s, struct store *copy, uint32_t partition, struct meta *out, struct err *e)
{
    struct key key = key_meta();
    struct store_value v = {0};
    int rc = store_get(copy, partition, key_str(&key), NULL, &v, e);

    if (rc == STORE_NOT_FOUND) {
        err_set(e, "the copy holds nothing of partition %u", (unsigned)partition);
        return -ENOENT;
    }
    if (rc == 0 && (!meta_read(v.bytes, out) || out->flows != s->partition_count))
        rc = damaged(e, "the offset of a partition");
    store_value_free(&v);
    return rc;
}

/* From the filler's end on a crash comes back to the partition of the copy. */
static int replace(struct state *s, uint32_t partition, struct store *copy, struct err *e)
{
    struct partition *p = &s->partitions[partition];
    struct interval *fresh = interval_new();
    struct store_filler *f = NULL;
    struct meta meta;
    int rc = fresh ? read_meta(s, copy, partition, &meta, e) : -ENOMEM;

    if (rc == 0)
        rc = store_filler_new(s->store, partition, &f, e);
    if (rc == 0)
        rc = fill(copy, partition, f, e);
    if (rc == 0)
        rc = store_filler_end(f, e);
    if (rc == 0) {
        pthread_rwlock_wrlock(&p->place);
        store_filler_swap(f);
        partition_restart(p, &meta, fresh);
        rc = erased_load(p, e);
        if (rc == 0)
            rc = graves_load(p, e);
        if (rc == 0)
            rc = definitions_load(p, e);
        pthread_rwlock_unlock(&p->place);
    } else if (fresh) {
        interval_unref(fresh);
    }
    store_filler_free(f);
    return rc;
}

int state_take_partition(struct state *s, uint32_t partition, const char *folder, struct err *e)
{
    struct store_options o = {.path = folder,
                              .partitions = s->partition_count,
                              .block_cache_bytes = COPY_CACHE_BYTES,
                              .read_only = true,
                              .only = &partition};
    struct store *copy = NULL;
    int rc;

    assert(partition < s->partition_count && !s->read_only);
    rc = store_open(&o, &copy, e);
    if (rc == 0)
        rc = check_made_with(s, copy, e);
    if (rc == 0)
        rc = replace(s, partition, copy, e);
    store_close(copy);
    return rc;
}

/* --- forgetting one ------------------------------------------------------------------------------------------- */

static void nothing(const struct state *s, struct meta *out)
{
    *out = (struct meta){.last_offset = -1, .flows = s->partition_count};
    randombytes_buf(out->secret.b, sizeof out->secret.b);
}

static int forget(struct partition *p, struct store_filler *f, struct meta *meta, struct err *e)
{
    struct interval *fresh = interval_new();
    int rc = fresh ? store_filler_end(f, e) : -ENOMEM;

    if (rc < 0) {
        if (fresh)
            interval_unref(fresh);
        return rc;
    }
    nothing(p->state, meta);
    pthread_rwlock_wrlock(&p->place);
    store_filler_swap(f);
    partition_restart(p, meta, fresh);
    pthread_rwlock_unlock(&p->place);
    return 0;
}

int state_forget(struct state *s, uint32_t partition, struct err *e)
{
    struct meta *meta = malloc(sizeof *meta);
    struct store_filler *f = NULL;
    int rc = meta ? store_filler_new(s->store, partition, &f, e) : -ENOMEM;

    assert(partition < s->partition_count && !s->read_only && !state_dirty(s, partition));
    if (rc == 0)
        rc = forget(&s->partitions[partition], f, meta, e);
    store_filler_free(f);
    free(meta);
    return rc;
}
