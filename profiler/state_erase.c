/* What others ask of erasure in a partition. Any thread, under the partition's lock. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/device_copy.h"
#include "profiler/device_users.h"
#include "profiler/erased.h"

bool state_erasing(struct state *s, uint32_t partition, int64_t *through)
{
    struct partition *p = &s->partitions[partition];

    assert(partition < s->partition_count);
    pthread_mutex_lock(&p->lock);
    bool is = p->erased.through > p->erased.cleaned;
    *through = p->erased.through;
    pthread_mutex_unlock(&p->lock);
    return is;
}

struct str *state_erased_profiles(struct state *s, uint32_t partition, size_t *n)
{
    struct partition *p = &s->partitions[partition];
    size_t bytes = 0;
    struct str *out = NULL;
    char *at;

    assert(partition < s->partition_count);
    pthread_mutex_lock(&p->lock);
    *n = p->erased.profile_count;
    for (size_t i = 0; i < *n; i++)
        bytes += sizeof *out + p->erased.profiles[i].n;
    if (*n > 0)
        out = malloc(bytes);
    at = out ? (char *)(out + *n) : NULL;
    for (size_t i = 0; out && i < *n; i++) {
        struct str id = p->erased.profiles[i];

        memcpy(at, id.p, id.n);
        out[i] = (struct str){at, id.n};
        at += id.n;
    }
    if (*n > 0 && !out)
        *n = SIZE_MAX;
    pthread_mutex_unlock(&p->lock);
    return out;
}

int state_compact(struct state *s, uint32_t partition, struct err *e)
{
    assert(partition < s->partition_count);
    return store_compact(s->store, partition, e);
}

void state_cleaned(struct state *s, uint32_t partition, int64_t through)
{
    struct partition *p = &s->partitions[partition];
    struct erased *x = &p->erased;

    assert(partition < s->partition_count);
    pthread_mutex_lock(&p->lock);
    if (through == x->through) {
        for (size_t i = 0; i < x->profile_count; i++)
            free((void *)(uintptr_t)x->profiles[i].p);
        x->profile_count = 0;
    }
    if (through > x->cleaned)
        x->cleaned = through;
    pthread_mutex_unlock(&p->lock);
}

/* --- whether something is erased ------------------------------------------------------------------------------ */

static bool by_tombstone(struct partition *p, struct str profile, int64_t time)
{
    const struct tombstone *t;
    bool is;

    pthread_mutex_lock(&p->lock);
    t = tombstone_find(p, profile);
    is = t && time <= t->is.until;
    pthread_mutex_unlock(&p->lock);
    return is;
}

/* Of any user that the device ever had. */
static bool lost_a_user(const struct device *d)
{
    for (size_t i = 0; i < d->user_count; i++)
        if (d->users[i].erased || d->users[i].erased_until != INT64_MIN)
            return true;
    return false;
}

static int by_device(struct state *s, uint32_t partition, struct str device, const struct event_key *key, bool *out,
                     struct err *e)
{
    struct device_copy c;
    int rc = device_copy_open(s, partition, device, &c, e);

    if (rc == 0 && c.device && key->time == TIME_NONE) {
        *out = *out || lost_a_user(c.device);
    } else if (rc == 0 && c.device) {
        uint32_t owner = device_owner(c.device->users, &c.device->runs, key);

        *out = owner == USER_ERASED || (owner == NO_USER && *out);
    }
    device_copy_close(&c);
    return rc;
}

int state_is_erased(struct state *s, struct str profile, const struct event_key *key, bool *out, struct err *e)
{
    uint32_t partition;

    *out = false;
    if (!profile_id_valid(profile))
        return 0;
    partition = event_log_partition(profile_log_key(profile), s->partition_count);
    *out = by_tombstone(&s->partitions[partition], profile, key->time);
    if (str_starts(profile, STR_LIT("user:")))
        return 0;
    return by_device(s, partition, profile_log_key(profile), key, out, e);
}

int64_t state_erased_version(struct state *s, uint32_t partition, struct str profile)
{
    struct partition *p = &s->partitions[partition];
    const struct tombstone *t;

    assert(partition < s->partition_count);
    pthread_mutex_lock(&p->lock);
    t = tombstone_find(p, profile);
    int64_t version = t ? t->commands[0] : 0;
    pthread_mutex_unlock(&p->lock);
    return version;
}

int state_erasure(struct state *s, uint32_t partition, int64_t offset, struct state_erasure *out)
{
    struct partition *p = &s->partitions[partition];
    const struct tombstone *t;

    assert(partition < s->partition_count);
    pthread_mutex_lock(&p->lock);
    t = tombstone_of(p, offset + p->figures.base + 1);
    if (t)
        *out = t->is;
    pthread_mutex_unlock(&p->lock);
    out->offset = offset;
    return t ? 0 : STATE_NOT_FOUND;
}
