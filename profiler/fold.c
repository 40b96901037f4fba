/* Folding: one record of the log after the other becomes a change in memory, with all that it sets off in this
 * partition. The worker's thread. */
#include <assert.h>
#include <errno.h>

#include "common/limits.h"
#include "profiler/cascade.h"
#include "profiler/erased.h"
#include "profiler/fold_entry.h"
#include "profiler/grave.h"
#include "proto/codec.h"

/* An event must fit into a record that tells another partition of it. */
#define EVENT_MAX_BYTES (LIMIT_RECORD_BYTES - 16 * KIB)

static const char *check_place(const struct partition *p, struct str key)
{
    bool is_here = !p->state->keyed || event_log_partition(key, p->state->partition_count) == p->number;

    return is_here ? NULL : "its key belongs into another partition";
}

/* Where look-ups and the cache will search for what the event says. */
static const char *check_key(const struct partition *p, const struct log_record *r, struct str key)
{
    if (!p->state->keyed)
        return NULL;
    if (!str_eq(r->key, key))
        return "its key is not the user id of its event, nor the anonymous id of one without a user";
    return check_place(p, key);
}

/* One that the eraser has taken something out of has lost its key. */
static const char *check_internal(const struct partition *p, const struct log_record *r, const struct internal *i)
{
    struct buf b;
    struct str key;
    const char *why;

    if (i->kind == INTERNAL_GRAVE)
        return grave_is_one(i) ? NULL : "it cannot be read";
    buf_init(&b, 64 * KIB);
    key = internal_key(i, &b);
    why = !str_has(key) ? "it has no usable key" : r->key.n > 0 ? check_key(p, r, key) : check_place(p, key);
    buf_deinit(&b);
    return why;
}

/* An erasure that names nobody was put where it belongs. */
static const char *check_command(const struct partition *p, const struct log_record *r, const struct command *c)
{
    struct str key = str_has(c->device) ? c->device : c->user;

    return str_has(key) ? check_key(p, r, key) : NULL;
}

/* What another partition, or this one's people, have to say. NULL when it is that; else what is wrong. */
static const char *decode_other(const struct partition *p, const struct log_record *r, struct decoded *d)
{
    int rc = r->kind == LOG_KIND_INTERNAL ? internal_unpack(r->value, &d->arena, &d->internal)
                                          : command_unpack(r->value, &d->arena, &d->command);

    d->no_memory = rc == -ENOMEM;
    if (rc == CODEC_VERSION_UNKNOWN)
        return "it is of a later format";
    if (rc != CODEC_OK)
        return "it cannot be read";
    return r->kind == LOG_KIND_INTERNAL ? check_internal(p, r, &d->internal) : check_command(p, r, &d->command);
}

/* Only the eraser puts it there, in the place of what it was made from. */
static const char *check_stripped(const struct log_record *r, const struct event *ev)
{
    if (r->key.n > 0)
        return "it says that its person was erased, and has a key";
    return order_is_stripped(ev) ? NULL : "it says that its person was erased, and is not what is left of an order";
}

/* Nobody marks people who only has a key of a web page; and a mark says of whom, not that a device is somebody's. */
static const char *check_mark(const struct event *ev)
{
    if (ev->trust != TRUST_SERVER)
        return "it is a mark, and not from a server";
    return str_has(ev->user_id) && str_has(ev->anonymous_id) ? "it is a mark with two ids" : NULL;
}

/* NULL when the record is an event; else what is wrong. */
static const char *decode(const struct partition *p, const struct log_record *r, struct decoded *d)
{
    const struct event *ev = &d->ev;

    arena_reset(&d->arena);
    d->no_memory = false;
    if (r->kind == LOG_KIND_INTERNAL || r->kind == LOG_KIND_COMMAND)
        return decode_other(p, r, d);
    if (r->kind != LOG_KIND_EVENT)
        return "its kind is not known";
    if (r->value.n > EVENT_MAX_BYTES)
        return "it is too large";
    int rc = event_unpack(r->value, &d->arena, &d->ev);
    d->no_memory = rc == -ENOMEM;
    if (rc == CODEC_VERSION_UNKNOWN)
        return "it is of a later format";
    if (rc != CODEC_OK)
        return "it cannot be read as an event";
    if (ev->erased)
        return check_stripped(r, ev);
    if (!str_has(event_log_key(ev)) || ev->anonymous_id.n > KEY_ID_MAX_BYTES || ev->user_id.n > KEY_ID_MAX_BYTES)
        return "it has no usable id";
    const char *why = ev->type == EVENT_MARK ? check_mark(ev) : NULL;
    return why ? why : check_key(p, r, event_log_key(ev));
}

static void look_ahead(struct partition *p, const struct log_record *r, struct decoded *d)
{
    d->why = decode(p, r, d);
    d->is_event = !d->why && r->kind == LOG_KIND_EVENT;
    if (!d->is_event)
        return;
    d->stream = key_hash_stream(&p->secret, d->ev.anonymous_id, d->ev.user_id);
    table_fetch_bucket(&p->streams, &d->stream);
}

static int fold_command(struct partition *p, const struct log_record *r, const struct command *c, enum outcome *outcome,
                        struct err *e)
{
    const char *why = NULL;
    int rc;

    if (c->kind == COMMAND_ERASE)
        return erase_profile(p, c, e);
    if (c->kind == COMMAND_UNLINK)
        return device_unlink(p, c, e);
    rc = define(p, c, &why);
    if (rc < 0 || !why)
        return rc;
    *outcome = OUTCOME_BAD;
    return emit_bad(p, r, why);
}

/* What other profilers and commands write counts for itself, anything else is said to be bad. */
static int fold_other(struct partition *p, const struct log_record *r, const struct decoded *d, enum outcome *outcome,
                      struct err *e)
{
    *outcome = OUTCOME_MOVED;
    if (r->kind == LOG_KIND_CLAIM)
        return 0;
    if (r->kind == LOG_KIND_ERASED) {
        *outcome = OUTCOME_ERASED;
        return 0;
    }
    if (!d->why && r->kind == LOG_KIND_COMMAND)
        return fold_command(p, r, &d->command, outcome, e);
    if (!d->why && cascade_take(p, &d->internal) == 0)
        return 0;
    *outcome = OUTCOME_BAD;
    return emit_bad(p, r, d->why ? d->why : "its sender is not known");
}

/* What the eraser has left of an order on the log. */
static void fold_stripped(struct partition *p, struct str bytes, const struct event *ev)
{
    const struct event_key key = event_key(ev);

    tell_stripped(p, ev->order.order_id, &key, bytes);
}

static int fold_stated(struct partition *p, const struct log_record *r, const struct decoded *d, enum outcome *outcome,
                       struct err *e)
{
    if (!d->ev.erased)
        return fold_event(p, r->value, &d->ev, d->stream, outcome, e);
    fold_stripped(p, r->value, &d->ev);
    *outcome = OUTCOME_ERASED;
    return 0;
}

static int begin_record(struct partition *p, const struct log_record *r, const struct decoded *d, struct err *e)
{
    enum outcome outcome = OUTCOME_BAD;
    int rc;

    if (d->no_memory) {
        err_set(e, "memory is out");
        return -ENOMEM;
    }
    rc = graves_prepare(p, r->offset, e);
    if (rc < 0)
        return rc;
    cascade_begin(p, r->offset);
    p->record_key = r->key;
    rc = d->is_event ? fold_stated(p, r, d, &outcome, e) : fold_other(p, r, d, &outcome, e);
    if (rc < 0)
        return rc;
    graves_release(p, r->offset);
    p->cascade.open = true;
    p->cascade.outcome = outcome;
    return 0;
}

static void end_record(struct partition *p, const struct log_record *r, const struct decoded *d)
{
    pthread_mutex_lock(&p->lock);
    p->figures.outcomes[p->cascade.outcome]++;
    p->figures.offset = r->offset + 1;
    cascade_heard(p);
    pthread_mutex_unlock(&p->lock);
    p->cascade.open = false;
    if (d->is_event) {
        p->last_uid = d->ev.uid;
        p->last_offset = r->offset;
    }
}

/* A record of which a part was shown when the store failed is gone on with there. */
static int fold_record(struct partition *p, const struct log_record *r, const struct decoded *d, struct err *e)
{
    int rc = p->cascade.open ? 0 : begin_record(p, r, d, e);

    assert(rc < 0 || p->cascade.cause == r->offset);
    p->record_key = r->key;
    if (rc == 0)
        rc = cascade_run(p, e);
    if (rc == 0)
        end_record(p, r, d);
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

static bool commit_due(const struct partition *p)
{
    return p->interval->filled + (p->memory > p->memory_base ? p->memory - p->memory_base : 0) >=
           p->state->commit_bytes;
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
