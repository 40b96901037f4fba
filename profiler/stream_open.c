/* Streams of a partition in memory: found, or made with what is on disk and tied to their profile, sibling, account and
 * device; and untied. The worker's thread; what others see is changed under the lock. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "profiler/device_users.h"
#include "profiler/erased.h"

static void stream_free(struct stream *s)
{
    stream_deinit(s);
    free(s);
}

static struct stream *stream_new(struct partition *p, struct key_hash hash, const struct stream_id *id)
{
    struct stream *s = calloc(1, sizeof *s + id->anonymous_id.n + id->user_id.n + 1);
    char *behind = (char *)(s + 1);

    if (!s)
        return NULL;
    s->node.key = hash;
    s->kept.kind = KEPT_STREAM;
    s->kind = id->kind;
    s->anonymous_id = copy_behind(&behind, id->anonymous_id);
    s->user_id = copy_behind(&behind, id->user_id);
    s->uids.seed = p->state->seed;
    s->disk_last = s->session_last = TIME_NONE;
    s->session_floor = INT64_MIN;
    return s;
}

static int is_on_disk(struct partition *p, struct key_hash profile, struct key_hash stream, bool *out, struct err *e)
{
    struct key key = key_two(KEY_STREAM, profile, stream);
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    store_value_free(&v);
    *out = rc == 0;
    return rc < 0 ? rc : 0;
}

/* Whether the stream is on disk, and then what it holds there. */
static int stream_fetch(struct partition *p, struct stream *s, struct err *e)
{
    int rc;

    if (s->profile->version == 0)
        return 0; /* nobody has a stream whose profile is not there */
    rc = is_on_disk(p, s->profile->node.key, s->node.key, &s->on_disk, e);
    return rc == 0 && s->on_disk ? stream_load(p, s, e) : rc;
}

struct stream *partition_find_stream(struct partition *p, struct key_hash hash)
{
    struct table_node *n = table_find(&p->streams, &hash);

    return n ? (struct stream *)((char *)n - offsetof(struct stream, node)) : NULL;
}

struct key_hash stream_hash(const struct partition *p, const struct stream_id *id)
{
    return id->kind == STREAM_PLACED ? key_hash_placed(&p->secret, id->anonymous_id, id->user_id)
                                     : key_hash_stream(&p->secret, id->anonymous_id, id->user_id);
}

static bool has_both(const struct stream *s)
{
    return str_has(s->anonymous_id) && str_has(s->user_id);
}

static struct stream_id other_id(const struct stream *s)
{
    return (struct stream_id){s->kind == STREAM_PLACED ? STREAM_STATED : STREAM_PLACED, s->anonymous_id, s->user_id};
}

static void join_siblings(struct stream *s, struct stream *other)
{
    s->sibling = other;
    s->sibling_known = true;
    if (other) {
        other->sibling = s;
        other->sibling_known = true;
    }
}

int stream_sibling(struct partition *p, struct stream *s, struct stream **out, struct err *e)
{
    struct stream_id id = other_id(s);
    struct key_hash hash;
    bool there = false;
    int rc = 0;

    *out = NULL;
    if (!has_both(s))
        return 0;
    if (!s->sibling_known) {
        hash = stream_hash(p, &id);
        rc = is_on_disk(p, s->profile->node.key, hash, &there, e);
        if (rc == 0 && there)
            rc = partition_stream(p, &id, hash, out, e); /* which joins them */
        else if (rc == 0)
            s->sibling_known = true;
    }
    *out = s->sibling;
    return rc;
}

int stream_open_account(struct partition *p, struct stream *s, struct err *e)
{
    int rc = partition_account(p, s->user_id, &s->account, e);

    if (rc == 0)
        s->account->streams++;
    return rc;
}

/* Who it belongs to, and what is known of its ids. */
static int stream_attach(struct partition *p, struct stream *s, struct err *e)
{
    char id[PROFILE_ID_MAX_BYTES];
    int rc = partition_profile(p, profile_id(s->anonymous_id, s->user_id, id), &s->profile, e);

    if (rc == 0)
        rc = stream_fetch(p, s, e);
    if (rc == 0 && s->kind == STREAM_STATED && has_both(s))
        rc = partition_account(p, s->user_id, &s->account, e);
    if (rc == 0 && s->kind == STREAM_STATED && !str_has(s->user_id))
        rc = partition_device(p, s->anonymous_id, false, &s->device, e);
    if (rc < 0)
        return rc;
    s->erased = tombstone_find(p, s->profile->id);
    if (s->device) {
        pthread_mutex_lock(&p->lock);
        s->profile->own_after = device_own_after(s->device->users, &s->device->runs); /* it may have gone with it */
        s->profile->fence_low = INT64_MIN;
        pthread_mutex_unlock(&p->lock);
    }
    return 0;
}

static void join_profile(struct stream *s)
{
    struct stream **first = &s->profile->streams;

    s->next = *first;
    s->link = first;
    if (s->next)
        s->next->link = &s->next;
    *first = s;
}

static void leave_profile(struct stream *s)
{
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
}

int partition_stream(struct partition *p, const struct stream_id *id, struct key_hash hash, struct stream **out,
                     struct err *e)
{
    struct stream *s = partition_find_stream(p, hash);
    int rc;

    if (s) {
        *out = s;
        return 0;
    }
    s = stream_new(p, hash, id);
    if (!s)
        return -ENOMEM;
    rc = stream_attach(p, s, e);
    if (rc == 0)
        rc = partition_keep(p, &p->streams, &s->node, &s->kept);
    if (rc < 0) {
        stream_free(s);
        return rc;
    }
    join_profile(s);
    if (s->account)
        s->account->streams++;
    if (s->device)
        s->device->stream = s;
    if (has_both(s)) {
        struct stream_id other = other_id(s);
        struct stream *sibling = partition_find_stream(p, stream_hash(p, &other));

        if (sibling)
            join_siblings(s, sibling);
    }
    *out = s;
    return 0;
}

static void stream_detach(struct stream *s)
{
    leave_profile(s);
    if (s->account)
        s->account->streams--;
    if (s->device)
        s->device->stream = NULL;
    if (s->sibling) {
        s->sibling->sibling = NULL;
        s->sibling->sibling_known = false;
    }
}

void stream_drop(struct stream *s)
{
    stream_detach(s);
    stream_free(s);
}
