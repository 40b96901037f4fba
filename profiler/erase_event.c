/* Events of the erased: which they are, and what is done with one that comes late. The worker's thread. */
#include <errno.h>

#include "profiler/cascade.h"
#include "profiler/device_users.h"
#include "profiler/erased.h"
#include "profiler/fold_entry.h"
#include "profiler/grave.h"
#include "proto/codec.h"

bool event_is_erased(const struct stream *s, const struct event_key *key)
{
    bool up_to = s->erased && key->time <= s->erased->is.until;
    uint32_t owner;

    if (up_to || !s->device || str_has(s->user_id))
        return up_to; /* of a device that was erased by itself also where a link is known before the event comes */
    owner = device_owner(s->device->users, &s->device->runs, key);
    return owner == USER_ERASED;
}

bool event_is_held(const struct partition *p, const struct stream *s, const struct event_key *key)
{
    return grave_holds(p) && s->device && !str_has(s->user_id) && !(s->erased && key->time <= s->erased->is.until);
}

void tell_erasure(struct partition *p, const struct state_erasure *is, struct str device, struct str user)
{
    struct internal r = {.kind = INTERNAL_ERASE,
                         .device = device,
                         .user = user,
                         .alias = {(const char *)is->alias, sizeof is->alias},
                         .erased = true,
                         .until = is->until};

    tell(p, &r);
}

void tell_stripped(struct partition *p, struct str order_id, const struct event_key *key, struct str bytes)
{
    char buf[PROFILE_ID_MAX_BYTES];
    size_t n = 0;
    static const char prefix[] = "anon:" ORDER_DEVICE_PREFIX;

    memcpy(buf, prefix, sizeof prefix - 1);
    n += sizeof prefix - 1;
    memcpy(buf + n, order_id.p, order_id.n);
    n += order_id.n;
    tell_statement(p, order_id, (struct str){buf, n}, key, bytes);
}

static void tell_link(struct partition *p, const struct stream *s, const struct event *ev, struct str device)
{
    const struct state_erasure *is = &s->erased->is;
    struct internal r = {.kind = INTERNAL_LINK,
                         .device = device,
                         .user = {(const char *)is->alias, sizeof is->alias},
                         .key = event_key(ev),
                         .subject = ev->uid,
                         .erased = true,
                         .until = is->until};

    tell(p, &r);
}

int fold_erased(struct partition *p, const struct stream *s, const struct event *ev, unsigned flags)
{
    struct str order = stated_order(ev, flags), previous = alias_of(ev);
    struct event_key key = event_key(ev);
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    if (str_has(order) && !order_strip(ev, &b)) {
        buf_deinit(&b);
        return -ENOMEM;
    }
    if (str_has(ev->user_id) && str_has(ev->anonymous_id))
        tell_link(p, s, ev, ev->anonymous_id);
    if (str_has(previous) && !str_eq(previous, ev->anonymous_id))
        tell_link(p, s, ev, previous);
    if (str_has(order))
        tell_stripped(p, order, &key, buf_str(&b));
    buf_deinit(&b);
    pthread_mutex_lock(&p->lock);
    erased_mark(p);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

static int sift(struct partition *p, struct stream *s, const struct uid *uid, struct arena *a, struct stream_rewrite *w,
                struct err *e)
{
    const struct chunk_entry **kept;
    struct chunk_entry *all;
    size_t n, k = 0;
    int rc = stream_read_all(p, s, a, &all, &n, e);

    kept = rc == 0 ? arena_alloc(a, (n + 1) * sizeof(*kept)) : NULL;
    if (!kept)
        return rc < 0 ? rc : -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (memcmp(all[i].key.uid.b, uid->b, UID_BYTES) != 0)
            kept[k++] = &all[i];
    if (k == n)
        return STATE_NOT_FOUND;
    rc = stream_rewrite_make(p, s, kept, k, w);
    return rc == 0 ? pointers_reserve(&p->dirty_profiles, 1) : rc;
}

int unplace_erased(struct partition *p, struct stream *s, const struct uid *uid, struct err *e)
{
    struct stream_rewrite w = {0};
    struct arena a;
    int rc;

    arena_init(&a, SIZE_MAX);
    rc = sift(p, s, uid, &a, &w, e);
    arena_deinit(&a);
    if (rc == 0) {
        pthread_mutex_lock(&p->lock);
        stream_rewrite_show(p, s, &w);
        s->profile->refold = true;
        s->profile->version = p->cascade.cause + 1;
        erased_mark(p);
        partition_recount(p, &s->profile->kept);
        pthread_mutex_unlock(&p->lock);
    }
    stream_rewrite_drop(&w);
    return rc < 0 ? rc : 0;
}
