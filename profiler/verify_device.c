/* Verifying one device, and one account. Of the device: who had it when follows from its links, and each of its events
 * without a user stands once, with the user who had it, in whatever partition that is. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/event_log.h"
#include "profiler/device_users.h"
#include "profiler/verify.h"
#include "proto/codec.h"

/* An event that stands somewhere, and what it says. */
struct seen_event {
    struct event_key key; /* first: they are sorted by it */
    struct uid content;
};

struct device_check {
    struct verify *v;
    struct device *d;
    struct seen_event *events; /* sorted */
    size_t count, cap;
};

static void differs(const struct device_check *c, const char *what)
{
    verify_say(c->v, "device %.*s: %s", (int)(c->d->id.n < 80 ? c->d->id.n : 80), c->d->id.p, what);
}

static bool counts(void *arg, const struct link *l)
{
    const struct device_check *c = arg;
    const struct device_user *u = &c->d->users[l->user];

    return !c->d->shared && !u->beyond && l->key.time > u->unlinked_until;
}

static int check_runs(struct device_check *c)
{
    struct runs runs = {0};
    int64_t from, to;
    int rc = runs_make(&c->d->links, counts, c, &runs);

    if (rc == 0 && runs_differ(&runs, &c->d->runs, &from, &to)) {
        /* A link before the first of the same user moves nothing, and is not noted as the beginning. */
        for (size_t i = 0; i < c->count && rc == 0; i++)
            if (device_owner(c->d->users, &runs, &c->events[i].key) !=
                device_owner(c->d->users, &c->d->runs, &c->events[i].key)) {
                differs(c, "who had it does not follow from its links");
                break;
            }
    }
    runs_deinit(&runs);
    return rc;
}

/* Of each user whether it has links, and whether one counts. */
static int count_void(struct device_check *c)
{
    const struct device *d = c->d;
    bool *has = calloc(2 * d->user_count + 1, sizeof *has), *good = has + d->user_count;

    if (!has)
        return -ENOMEM;
    for (size_t i = 0; i < d->links.n; i++) {
        const struct link *l = &d->links.v[i];

        has[l->user] = has[l->user] || !l->removed;
        good[l->user] = good[l->user] || (!l->removed && counts(c, l));
    }
    c->v->identity[IDENTITY_SHARED] += d->shared;
    for (size_t i = 0; i < d->user_count; i++)
        if (!d->shared && has[i] && !good[i])
            c->v->identity[d->users[i].beyond ? IDENTITY_CAP : IDENTITY_UNLINKED]++;
    free(has);
    return 0;
}

static int collect(void *arg, const struct key_place *place, struct str value)
{
    struct device_check *c = arg;
    struct chunk_reader r;
    struct chunk_entry e;
    struct internal_version version;

    (void)place;
    if (!chunk_open(value, &r))
        return 0; /* said of the stream */
    while (chunk_next(&r, &e)) {
        if (c->count == c->cap) {
            size_t cap = c->cap ? 2 * c->cap : 64;
            struct seen_event *v = realloc(c->events, cap * sizeof *v);

            if (!v)
                return -ENOMEM;
            c->events = v;
            c->cap = cap;
        }
        if ((e.flags & ENTRY_PLACED) && !placed_event(e.bytes, &version, &e.bytes))
            e.bytes = STR_NONE;
        if (!(e.flags & ENTRY_GONE))
            c->events[c->count++] = (struct seen_event){e.key, content_hash(e.bytes)};
    }
    return 0;
}

static int compare_seen(const void *a, const void *b)
{
    return event_key_cmp(&((const struct seen_event *)a)->key, &((const struct seen_event *)b)->key);
}

static int collect_stream(struct device_check *c, uint32_t partition, const struct stream_id *id)
{
    struct partition *p = &c->v->state->partitions[partition];
    struct chunk_range range = {stream_hash(p, id), INT64_MIN, INT64_MAX, UINT32_MAX};
    int rc;

    c->count = 0;
    rc = chunks_visit(c->v->state, partition, NULL, &range, collect, c, c->v->err);
    if (rc == 0 && c->count > 1)
        qsort(c->events, c->count, sizeof *c->events, compare_seen);
    return rc;
}

/* The placed events of one user against those of the home; `home` is sorted. */
static int check_user(struct device_check *c, const struct device_check *home, uint32_t user)
{
    struct verify *v = c->v;
    struct stream_id id = {STREAM_PLACED, c->d->id, c->d->users[user].id};
    uint32_t to = event_log_partition(id.user_id, v->state->partition_count);
    struct internal_version sent = state_sent(v->state, v->partition, to),
                            heard = state_heard(v->state, to, v->partition);
    size_t next = 0;
    int rc;

    if (to != v->partition && internal_version_cmp(sent, heard) != 0)
        return 0;
    rc = collect_stream(c, to, &id);
    for (size_t i = 0; i < home->count && rc == 0; i++) {
        if (device_owner(c->d->users, &c->d->runs, &home->events[i].key) != user)
            continue;
        v->all_expected++;
        if (next == c->count || event_key_cmp(&c->events[next].key, &home->events[i].key) != 0) {
            differs(c, "an event is not placed with its user");
            return 0;
        }
        if (memcmp(c->events[next].content.b, home->events[i].content.b, UID_BYTES) != 0)
            differs(c, "an event says something else where it is placed");
        next++;
    }
    if (rc == 0 && next < c->count)
        differs(c, "an event is placed with somebody who did not have the device then");
    return rc;
}

static bool has_link(const struct links *l, const struct event_key *key)
{
    size_t low = 0, high = l->n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (event_key_cmp(&l->v[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < l->n && event_key_cmp(&l->v[low].key, key) == 0; low++)
        if (!l->v[low].removed)
            return true;
    return false;
}

/* Every event of the device with the user is a link of it. */
static int check_links(struct device_check *c, uint32_t user)
{
    struct verify *v = c->v;
    struct stream_id id = {STREAM_STATED, c->d->id, c->d->users[user].id};
    uint32_t at = event_log_partition(id.user_id, v->state->partition_count);
    struct internal_version sent = state_sent(v->state, at, v->partition),
                            heard = state_heard(v->state, v->partition, at);
    int rc;

    if (c->d->crowded || (at != v->partition && internal_version_cmp(sent, heard) != 0))
        return 0;
    rc = collect_stream(c, at, &id);
    for (size_t i = 0; i < c->count && rc == 0; i++)
        if (!has_link(&c->d->links, &c->events[i].key)) {
            differs(c, "an event with a user is no link of it");
            break;
        }
    return rc;
}

static int check_events(struct device_check *c)
{
    struct device_check placed = {.v = c->v, .d = c->d};
    struct stream_id home = {STREAM_STATED, c->d->id, STR_NONE};
    int rc = collect_stream(c, c->v->partition, &home);

    if (rc == 0)
        rc = check_runs(c);
    if (rc == 0)
        rc = count_void(c);
    for (size_t i = 0; i < c->count; i++)
        c->v->away_events += device_owner(c->d->users, &c->d->runs, &c->events[i].key) != NO_USER;
    for (uint32_t u = 0; u < c->d->user_count && rc == 0; u++)
        if (!c->d->users[u].erased && (rc = check_user(&placed, c, u)) == 0)
            rc = check_links(&placed, u);
    free(placed.events);
    return rc;
}

/* Only erased users had it: what it was called is not known any more. */
static int count_nameless(struct verify *v, struct str value)
{
    struct device *d = device_new(v->p, STR_LIT(""));
    int rc = d ? device_unpack(value, d) : -ENOMEM;

    for (int i = 0; rc == 0 && i < IDENTITY_FIGURES; i++)
        v->identity[i] += d->figures[i];
    if (rc == -EIO)
        verify_say(v, "a device cannot be read");
    if (d)
        device_free(d);
    return rc == -EIO ? 0 : rc;
}

int verify_device(struct verify *v, struct str key, struct str value)
{
    struct device_check c = {.v = v};
    const char *p = value.p, *end = value.p + value.n;
    struct key_hash hash;
    uint64_t format;
    struct str id;
    int rc;

    if (!get_varint(&p, end, &format) || !get_text(&p, end, &id)) {
        verify_say(v, "a device cannot be read");
        return 0;
    }
    if (!str_has(id))
        return count_nameless(v, value);
    hash = partition_hash(v->p, id);
    if (key.n != KEY_PREFIX_BYTES || memcmp(key.p + 1, hash.b, KEY_HASH_BYTES) != 0) {
        verify_say(v, "a device stands under another key");
        return 0;
    }
    rc = partition_device(v->p, id, false, &c.d, v->err);
    if (rc == 0)
        rc = device_load_links(v->p, c.d, v->err);
    if (rc == 0)
        rc = check_events(&c);
    free(c.events);
    if (rc == -EIO) {
        verify_say(v, "a device cannot be read");
        return 0;
    }
    return rc;
}

/* --- accounts ------------------------------------------------------------------------------------------------- */

/* The first event of the device with the user is its evidence, or an alias is, which is earlier. What is beyond the cap
 * was forgotten, so that it may have come back with later evidence. */
static int check_pair(struct verify *v, const struct account *a, const struct pair *pair)
{
    struct device d = {.id = pair->device};
    struct device_check c = {.v = v, .d = &d};
    struct stream_id id = {STREAM_STATED, pair->device, a->id};
    int rc = pair->by_events && !a->capped ? collect_stream(&c, v->partition, &id) : 0;

    if (rc == 0 && c.count > 0 && event_key_cmp(&c.events[0].key, &pair->evidence) < 0)
        differs(&c, "its user holds later evidence than there is");
    free(c.events);
    return rc;
}

int verify_account(struct verify *v, struct str key, struct str value)
{
    const char *p = value.p, *end = value.p + value.n;
    struct account *a;
    struct key_hash hash;
    uint64_t format;
    struct str id;
    int rc;

    if (!get_varint(&p, end, &format) || !get_text(&p, end, &id) || !str_has(id)) {
        verify_say(v, "the devices of a user cannot be read");
        return 0;
    }
    hash = partition_hash(v->p, id);
    if (key.n != KEY_PREFIX_BYTES || memcmp(key.p + 1, hash.b, KEY_HASH_BYTES) != 0) {
        verify_say(v, "the devices of a user stand under another key");
        return 0;
    }
    rc = partition_account(v->p, id, &a, v->err);
    for (size_t i = 0; rc == 0 && i < a->pair_count; i++)
        rc = check_pair(v, a, &a->pairs[i]);
    if (rc == -EIO) {
        verify_say(v, "the devices of a user cannot be read");
        return 0;
    }
    return rc;
}
