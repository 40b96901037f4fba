/* Reading a stream's chunks by time. Worker and look-ups. */
#include <assert.h>
#include <errno.h>

#include "profiler/state_private.h"

int damaged(struct err *e, const char *what)
{
    err_set(e, "the state is damaged: %s cannot be read", what);
    return -EIO;
}

struct visit {
    struct store_iter *it;
    struct key_hash stream;
    int64_t from, to;
    uint32_t commit;
    chunk_visitor *each;
    void *arg;
};

static int64_t later(int64_t t, int64_t ms)
{
    return t > INT64_MAX - ms ? INT64_MAX : t + ms;
}

/* Whether no chunk from here on can hold anything up to `to`. */
static int beyond(const struct visit *v, const struct key_place *place, struct str value, bool *out, struct err *e)
{
    struct chunk_reader r;

    if (place->kind == KEY_LATE) {
        *out = place->time > later(v->to, LATE_SPAN_MS);
        return 0;
    }
    *out = false;
    if (place->time <= v->to)
        return 0;
    if (!chunk_open(value, &r))
        return damaged(e, "a chunk of a path");
    *out = r.time > v->to;
    return 0;
}

static int visit_kind(const struct visit *v, enum key_kind kind, struct err *e)
{
    struct key key = key_seek(kind, v->stream, v->from);
    struct str prefix = {(const char *)key.b, KEY_PREFIX_BYTES}, at, value;
    struct key_place place;
    bool over = false;
    int rc;

    for (store_iter_seek(v->it, key_str(&key)); store_iter_at(v->it, &at, &value); store_iter_next(v->it)) {
        if (!str_starts(at, prefix))
            return 0;
        if (!key_read_placed(at, &place))
            return damaged(e, "a key");
        rc = beyond(v, &place, value, &over, e);
        if (rc < 0 || over)
            return rc;
        if (place.commit > v->commit)
            continue;
        rc = v->each(v->arg, &place, value);
        if (rc != 0)
            return rc;
    }
    return store_iter_status(v->it, e);
}

int chunks_visit_by(struct store_iter *it, const struct chunk_range *range, chunk_visitor *each, void *arg,
                    struct err *e)
{
    const struct visit v = {it, range->stream, range->from, range->to, range->commit, each, arg};
    int rc = visit_kind(&v, KEY_CHUNK, e);

    if (rc == 0)
        rc = visit_kind(&v, KEY_LATE, e);
    return rc < 0 ? rc : 0;
}

int chunks_visit(struct state *s, uint32_t partition, const struct store_snapshot *snap,
                 const struct chunk_range *range, chunk_visitor *each, void *arg, struct err *e)
{
    struct store_iter *it = store_iter_new(s->store, partition, snap, true);
    int rc = it ? chunks_visit_by(it, range, each, arg, e) : -ENOMEM;

    store_iter_free(it);
    return rc;
}
