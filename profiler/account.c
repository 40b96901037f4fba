/* An account at its home: which devices it is paired with, which of them are within its cap, and which have a link to
 * it that counts. Steps S3 of the protocol over partitions. The worker's thread; members of a profile change under the
 * lock. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/cascade.h"
#include "profiler/device_users.h"
#include "profiler/erased.h"

/* Where the device stands in the list, or would. */
static size_t pair_at(const struct account *a, struct str device)
{
    size_t low = 0, high = a->pair_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (str_cmp(a->pairs[middle].device, device) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct pair *find_pair(const struct account *a, struct str device)
{
    size_t at = pair_at(a, device);

    return at < a->pair_count && str_eq(a->pairs[at].device, device) ? &a->pairs[at] : NULL;
}

static struct pair *add_pair(struct partition *p, struct account *a, struct str device)
{
    size_t at = pair_at(a, device);
    struct pair pair = {0};

    if (text_copy(device, &pair.device) < 0)
        abort();
    pthread_mutex_lock(&p->lock);
    if (a->pair_count == a->pair_cap) {
        size_t cap = a->pair_cap ? 2 * a->pair_cap : 2;
        struct pair *v = realloc(a->pairs, cap * sizeof *v);

        if (!v)
            abort();
        a->pairs = v;
        a->pair_cap = cap;
    }
    memmove(a->pairs + at + 1, a->pairs + at, (a->pair_count - at) * sizeof *a->pairs);
    a->pairs[at] = pair;
    a->pair_count++;
    pthread_mutex_unlock(&p->lock);
    return &a->pairs[at];
}

static void drop_pair(struct partition *p, struct account *a, size_t at)
{
    pthread_mutex_lock(&p->lock);
    free((void *)(uintptr_t)a->pairs[at].device.p);
    memmove(a->pairs + at, a->pairs + at + 1, (a->pair_count - at - 1) * sizeof *a->pairs);
    a->pair_count--;
    pthread_mutex_unlock(&p->lock);
}

/* --- the cap -------------------------------------------------------------------------------------------------- */

/* A device by its earliest evidence, of events and orders. */
struct ranked {
    struct event_key evidence;
    size_t pair;
    struct str device;
    bool stands; /* there is some */
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int c = event_key_cmp(&x->evidence, &y->evidence);

    return c ? c : str_cmp(x->device, y->device);
}

/* Of the pairs that something stands for; `orders`: orders count too. */
static size_t rank_pairs(const struct account *a, bool orders, struct ranked *out)
{
    size_t n = 0;

    for (size_t i = 0; i < a->pair_count; i++)
        out[i] = (struct ranked){a->pairs[i].evidence, i, a->pairs[i].device, a->pairs[i].by_events};
    for (size_t i = 0; orders && i < a->order_pair_count; i++) {
        const struct order_pair *o = &a->order_pairs[i];
        const struct pair *pair = o->removed ? NULL : find_pair(a, o->device);
        struct ranked *r;

        if (!pair)
            continue;
        r = &out[pair - a->pairs];
        if (!r->stands || event_key_cmp(&o->key, &r->evidence) < 0)
            r->evidence = o->key;
        r->stands = true;
    }
    for (size_t i = 0; i < a->pair_count; i++)
        if (out[i].stands)
            out[n++] = out[i];
    qsort(out, n, sizeof *out, compare_ranked);
    return n;
}

static void tell_verdict(struct partition *p, const struct account *a, struct str device, bool beyond)
{
    struct internal r = {.kind = INTERNAL_VERDICT, .device = device, .user = a->id, .removed = beyond};

    tell(p, &r);
}

/* Tells those that entered or left the cap. */
static void tell_verdicts(struct partition *p, struct account *a, struct ranked *v, size_t n, struct str news)
{
    for (size_t i = 0; i < n; i++) {
        struct pair *pair = &a->pairs[v[i].pair];
        bool beyond = i >= identity_max_devices(p->state->rules), capped = a->capped || beyond;

        /* Whether a device that was forgotten was within the cap when it was told last is not known any more. */
        if (pair->beyond != beyond || (capped && str_has(news) && str_eq(pair->device, news)))
            tell_verdict(p, a, pair->device, beyond);
        pthread_mutex_lock(&p->lock);
        a->capped = capped;
        pair->beyond = beyond;
        pthread_mutex_unlock(&p->lock);
    }
}

/* Of each pair whether an order names the device, or did. */
static bool *named_by_orders(const struct account *a)
{
    bool *named = calloc(a->pair_count + 1, sizeof *named);

    if (!named)
        abort();
    for (size_t i = 0; i < a->order_pair_count; i++) {
        const struct pair *pair = find_pair(a, a->order_pairs[i].device);

        if (pair)
            named[pair - a->pairs] = true;
    }
    return named;
}

/* Evidence in events only gets earlier: one beyond the cap of these alone comes back only with new evidence. */
static void forget(struct partition *p, struct account *a, struct ranked *v)
{
    size_t n = rank_pairs(a, false, v);
    bool *named = named_by_orders(a);

    for (size_t i = identity_max_devices(p->state->rules); i < n; i++) {
        if (named[v[i].pair])
            continue;
        pthread_mutex_lock(&p->lock);
        a->pairs[v[i].pair].by_events = false;
        pthread_mutex_unlock(&p->lock);
    }
    for (size_t i = a->pair_count; i-- > 0;)
        if (!a->pairs[i].by_events && !named[i])
            drop_pair(p, a, i);
    free(named);
}

/* For whom nothing stands that is known: an order's pair was taken back, and if events speak of it, these were
 * forgotten because they are beyond the cap. */
static void tell_unranked(struct partition *p, struct account *a, const struct ranked *v, size_t n)
{
    bool *ranked = calloc(a->pair_count + 1, sizeof *ranked);

    if (!ranked)
        abort();
    for (size_t i = 0; i < n; i++)
        ranked[v[i].pair] = true;
    for (size_t i = 0; a->capped && i < a->pair_count; i++) {
        struct pair *pair = &a->pairs[i];

        if (ranked[i] || pair->beyond)
            continue;
        tell_verdict(p, a, pair->device, true);
        pthread_mutex_lock(&p->lock);
        pair->beyond = true;
        pthread_mutex_unlock(&p->lock);
    }
    free(ranked);
}

/* `news`: a device that it did not know before; or absent. */
static void recount(struct partition *p, struct account *a, struct str news)
{
    struct ranked *v;
    size_t n;

    if (!a->capped && a->pair_count <= identity_max_devices(p->state->rules))
        return;
    v = malloc((a->pair_count + 1) * sizeof *v);
    if (!v)
        abort();
    n = rank_pairs(a, true, v);
    tell_verdicts(p, a, v, n, news);
    tell_unranked(p, a, v, n);
    forget(p, a, v);
    free(v);
}

void account_reset(struct account *a)
{
    for (size_t i = 0; i < a->pair_count; i++)
        free((void *)(uintptr_t)a->pairs[i].device.p);
    for (size_t i = 0; i < a->order_pair_count; i++)
        free((void *)(uintptr_t)a->order_pairs[i].device.p);
    a->pair_count = a->order_pair_count = 0;
    a->capped = false;
}

static void show_account(struct partition *p, struct account *a)
{
    account_touch(p, a);
    pthread_mutex_lock(&p->lock);
    partition_recount(p, &a->kept);
    pthread_mutex_unlock(&p->lock);
}

void account_evidence(struct partition *p, struct account *a, struct str device, const struct event_key *key)
{
    struct pair *pair;
    bool known;

    if (device_is_guest(device))
        return;
    pair = find_pair(a, device);
    known = pair != NULL;
    if (known && pair->by_events && event_key_cmp(&pair->evidence, key) <= 0)
        return;
    if (!known)
        pair = add_pair(p, a, device);
    pthread_mutex_lock(&p->lock);
    pair->by_events = true;
    pair->evidence = *key;
    pthread_mutex_unlock(&p->lock);
    recount(p, a, known ? STR_NONE : device);
    show_account(p, a);
}

/* --- pairs of orders ------------------------------------------------------------------------------------------ */

static struct order_pair *find_order_pair(struct account *a, const struct internal *r)
{
    for (size_t i = 0; i < a->order_pair_count; i++)
        if (memcmp(a->order_pairs[i].subject.b, r->subject.b, UID_BYTES) == 0 &&
            str_eq(a->order_pairs[i].device, r->device))
            return &a->order_pairs[i];
    return NULL;
}

/* With the lock. */
static struct order_pair *add_order_pair(struct account *a, struct str device)
{
    struct order_pair pair = {.version = {INT64_MIN, 0}};

    if (text_copy(device, &pair.device) < 0)
        abort();
    if (a->order_pair_count == a->order_pair_cap) {
        size_t cap = a->order_pair_cap ? 2 * a->order_pair_cap : 2;
        struct order_pair *v = realloc(a->order_pairs, cap * sizeof *v);

        if (!v)
            abort();
        a->order_pairs = v;
        a->order_pair_cap = cap;
    }
    a->order_pairs[a->order_pair_count] = pair;
    return &a->order_pairs[a->order_pair_count++];
}

int account_pair(struct partition *p, const struct internal *r, struct err *e)
{
    struct order_pair *pair;
    struct account *a;
    bool known;
    int rc;

    if (user_is_erased(p, r->user, r->key.time))
        return 0;
    rc = partition_account(p, r->user, &a, e);
    if (rc < 0)
        return rc;
    pair = find_order_pair(a, r);
    if (pair && internal_version_cmp(r->version, pair->version) <= 0)
        return 0;
    pthread_mutex_lock(&p->lock);
    if (!pair)
        pair = add_order_pair(a, r->device);
    pair->key = r->key;
    pair->subject = r->subject;
    pair->version = r->version;
    pair->removed = r->removed;
    pthread_mutex_unlock(&p->lock);
    known = find_pair(a, r->device) != NULL;
    if (!known)
        add_pair(p, a, r->device);
    recount(p, a, known ? STR_NONE : r->device);
    show_account(p, a);
    return 0;
}

/* --- members -------------------------------------------------------------------------------------------------- */

static size_t member_at(const struct profile *r, struct str device)
{
    size_t low = 0, high = r->member_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (str_cmp(r->members[middle].device, device) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* With the lock. */
static void insert_member(struct profile *r, size_t at, const struct member *m)
{
    struct member *v = realloc(r->members, (r->member_count + 1) * sizeof *v);

    if (!v)
        abort();
    r->members = v;
    memmove(v + at + 1, v + at, (r->member_count - at) * sizeof *v);
    v[at] = *m;
    r->member_count++;
}

static void drop_member(struct profile *r, size_t at)
{
    free((void *)(uintptr_t)r->members[at].device.p);
    memmove(r->members + at, r->members + at + 1, (r->member_count - at - 1) * sizeof *r->members);
    r->member_count--;
}

/* Of those that were taken back so many are remembered, those of which was heard last: anybody can make many. */
static void forget_members(struct profile *r)
{
    size_t removed = 0, oldest = 0;

    for (size_t i = 0; i < r->member_count; i++) {
        if (!r->members[i].removed)
            continue;
        if (removed++ == 0 || internal_version_cmp(r->members[i].version, r->members[oldest].version) < 0)
            oldest = i;
    }
    if (removed > LIMIT_MEMBERS_GONE)
        drop_member(r, oldest);
}

/* With the lock. One that was taken back is remembered, so that an older record does not bring it back; not of a user
 * who was erased: whatever brought it back is followed by what takes it back. */
static void change_member(struct partition *p, struct profile *r, const struct internal *said)
{
    bool forget = said->removed && tombstone_find(p, r->id);
    size_t at = member_at(r, said->device);
    bool known = at < r->member_count && str_eq(r->members[at].device, said->device);
    struct member m = {.version = said->version, .removed = said->removed};

    if (known && internal_version_cmp(said->version, r->members[at].version) <= 0)
        return;
    if (forget && !known)
        return;
    profile_touch_from(p, r, INT64_MAX);
    r->version = p->cascade.cause + 1;
    if (forget) {
        drop_member(r, at);
    } else if (known) {
        r->members[at].version = said->version;
        r->members[at].removed = said->removed;
    } else {
        if (text_copy(said->device, &m.device) < 0)
            abort();
        insert_member(r, at, &m);
    }
    if (said->removed)
        forget_members(r);
    partition_recount(p, &r->kept);
}

int account_member(struct partition *p, const struct internal *r, struct err *e)
{
    char buf[PROFILE_ID_MAX_BYTES];
    struct profile *profile;
    int rc = partition_profile(p, profile_id(STR_NONE, r->user, buf), &profile, e);

    if (rc == 0)
        rc = pointers_reserve(&p->dirty_profiles, 1);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&p->lock);
    change_member(p, profile, r);
    pthread_mutex_unlock(&p->lock);
    return 0;
}
