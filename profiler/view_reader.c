/* Views of many profiles one after the other: what is on disk is taken hold of once for many of them, and in the order
 * of hashes their keys follow each other, so that they are passed rather than sought. The thread of whoever looks.
 *
 * What was taken hold of stands for as long as no other commit is shown: memory has whatever came later. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/view_inside.h"

/* Nobody waits for long for a snapshot that a reader holds. */
enum { READINGS = 64 };
/* Keys that are passed before it is quicker to seek. */
enum { STEPS = 8 };

/* --- what is on disk -------------------------------------------------------------------------------------------- */

static void disk_free(struct state *s, struct reader_disk *d)
{
    store_iter_free(d->profiles.it);
    store_iter_free(d->streams.it);
    store_iter_free(d->orders.it);
    store_iter_free(d->chunks);
    store_snapshot_free(s->store, d->snap);
    *d = (struct reader_disk){0};
}

int reader_take(struct state_reader *reader, const struct partition *p)
{
    bool same = reader->commit == p->commit && reader->restarts == p->watch.restarts;

    if (reader->disk.snap && same && ++reader->used < READINGS)
        return 0;
    assert(!reader->before.snap);
    reader->before = reader->disk;
    reader->disk = (struct reader_disk){.snap = store_snapshot_new(reader->state->store)};
    reader->commit = p->commit;
    reader->restarts = p->watch.restarts;
    reader->used = 0;
    return reader->disk.snap ? 0 : -ENOMEM;
}

void reader_drop(struct state_reader *reader)
{
    disk_free(reader->state, &reader->before);
}

/* --- going through it ------------------------------------------------------------------------------------------- */

static struct reader_cursor *cursor_of(struct reader_disk *d, const struct key *prefix)
{
    switch (prefix->b[0]) {
    case KEY_PROFILE:
        return &d->profiles;
    case KEY_STREAM:
        return &d->streams;
    default:
        assert(prefix->b[0] == KEY_ORDER);
        return &d->orders;
    }
}

/* By steps from where it stands, which is before `key` or at it if that is behind what was sought last. */
static bool pass(struct reader_cursor *c, const struct key *key)
{
    struct str at;

    for (int i = 0; i < STEPS && store_iter_at(c->it, &at, NULL); i++) {
        if (str_cmp(at, key_str(key)) >= 0)
            return true;
        store_iter_next(c->it);
    }
    return false;
}

struct store_iter *reader_seek(struct state_reader *reader, const struct key *prefix)
{
    struct reader_cursor *c = cursor_of(&reader->disk, prefix);
    const unsigned char *hash = prefix->b + 1;

    assert(prefix->n == KEY_PREFIX_BYTES);
    if (!c->it)
        c->it = store_iter_new(reader->state->store, reader->partition, reader->disk.snap, false);
    if (!c->it)
        return NULL;
    if (!c->any || memcmp(c->last.b, hash, KEY_HASH_BYTES) >= 0 || !pass(c, prefix))
        store_iter_seek(c->it, key_str(prefix));
    c->any = true;
    memcpy(c->last.b, hash, KEY_HASH_BYTES);
    return c->it;
}

struct store_iter *reader_chunks(struct state_reader *reader)
{
    struct reader_disk *d = &reader->disk;

    if (!d->chunks)
        d->chunks = store_iter_new(reader->state->store, reader->partition, d->snap, true);
    return d->chunks;
}

/* --- for who looks ---------------------------------------------------------------------------------------------- */

struct state_reader *state_reader_new(struct state *s, uint32_t partition)
{
    struct state_reader *reader = calloc(1, sizeof *reader);

    assert(partition < s->partition_count);
    if (reader) {
        reader->state = s;
        reader->partition = partition;
    }
    return reader;
}

void state_reader_rest(struct state_reader *reader)
{
    disk_free(reader->state, &reader->disk);
}

void state_reader_free(struct state_reader *reader)
{
    if (reader)
        state_reader_rest(reader);
    free(reader);
}

int state_reader_view(struct state_reader *reader, const struct key_hash *hash, unsigned what, struct state_view *out,
                      struct err *e)
{
    struct partition *p = &reader->state->partitions[reader->partition];
    struct reading *r = reading_new(reader->state, reader->partition, what, e);

    if (!r)
        return -ENOMEM;
    r->reader = reader;
    pthread_rwlock_rdlock(&p->place);
    int rc = reading_view(r, hash, STR_NONE, what, out);
    pthread_rwlock_unlock(&p->place);
    return rc;
}
