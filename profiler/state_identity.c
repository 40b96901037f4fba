/* What the state says of a device and of a user's devices. Look-up threads. */
#include "profiler/state_identity.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/device_copy.h"
#include "profiler/erased.h"

#define MOST_RUNS 1000
#define COPY_BYTES (256 * MIB)

_Static_assert(TIME_NONE == INT64_MIN, "what device_user says of none");

const char *pair_void_name(enum pair_void v)
{
    static const char *const names[] = {NULL, "shared", "cap", "unlinked"};

    return names[v];
}

/* --- a device ------------------------------------------------------------------------------------------------- */

struct count {
    size_t n, most;
};

static int count_event(void *arg, const struct event_key *key, unsigned flags, struct str bytes)
{
    struct count *c = arg;

    (void)key;
    (void)flags;
    (void)bytes;
    return ++c->n > c->most;
}

static int count_events(const struct device_copy *c, size_t *out, struct err *e)
{
    struct count count = {0, identity_max_events(c->p->state->rules)};
    int rc = device_copy_events(c, count_event, &count, e);

    *out = count.n;
    return rc;
}

static void count_link(const struct device *d, const struct link *l, struct state_pair *pair)
{
    if (l->removed)
        return;
    if (pair->links == 0 || l->key.time < pair->first)
        pair->first = l->key.time;
    if (pair->links == 0 || l->key.time > pair->last)
        pair->last = l->key.time;
    pair->links++;
    pair->by_order += l->by_order;
    if (link_stands(d, l))
        pair->why = PAIR_COUNTS;
}

/* Of those of whom anything is known but that links were taken back. */
static int list_pairs(const struct device_copy *c, struct arena *a, struct state_device *out)
{
    const struct device *d = c->device;
    struct state_pair *pairs = arena_zalloc(a, (d->user_count + 1) * sizeof *pairs);

    if (!pairs)
        return -ENOMEM;
    for (size_t i = 0; i < d->user_count; i++) {
        const struct device_user *u = &d->users[i];

        pairs[i] = (struct state_pair){.user = arena_dup(a, u->id),
                                       .why = u->beyond ? PAIR_CAP : PAIR_UNLINKED,
                                       .first = TIME_NONE,
                                       .last = TIME_NONE,
                                       .unlinked_until = u->unlinked_until};
        if (!pairs[i].user.p)
            return -ENOMEM;
    }
    for (size_t i = 0; i < d->links.n; i++)
        count_link(d, &d->links.v[i], &pairs[d->links.v[i].user]);
    for (size_t i = 0; i < d->user_count; i++) {
        if (out->shared)
            pairs[i].why = PAIR_SHARED;
        if (!d->users[i].erased && (pairs[i].links > 0 || pairs[i].unlinked_until != TIME_NONE))
            pairs[out->pair_count++] = pairs[i];
    }
    out->pairs = pairs;
    return 0;
}

static int list_runs(const struct device *d, struct arena *a, struct state_device *out)
{
    size_t skip = d->runs.n > MOST_RUNS ? d->runs.n - MOST_RUNS : 0;

    out->runs_left_out = skip;
    out->runs = arena_alloc(a, (d->runs.n - skip + 1) * sizeof *out->runs);
    if (!out->runs)
        return -ENOMEM;
    for (size_t i = skip; i < d->runs.n; i++) {
        struct state_run *run = &out->runs[out->run_count];

        if (d->users[d->runs.v[i].user].erased)
            continue;
        out->run_count++;
        run->user = arena_dup(a, d->users[d->runs.v[i].user].id);
        run->from = d->runs.v[i].from.time;
        if (!run->user.p)
            return -ENOMEM;
    }
    return 0;
}

static int describe(const struct device_copy *c, bool events, struct arena *a, struct state_device *out, struct err *e)
{
    struct device_weight weight;
    int rc = events ? count_events(c, &out->events, e) : 0;

    if (rc < 0 || !c->device)
        return rc;
    out->user = str_has(c->user) ? arena_dup(a, c->user) : STR_NONE;
    out->links_cut = c->links_cut;
    out->shared = c->device->shared;
    device_weigh(c, out->events, &weight);
    out->by_events = out->shared && out->events > identity_max_events(c->p->state->rules);
    out->by_users = out->shared && (c->device->crowded || weight.users > identity_max_users(c->p->state->rules));
    rc = list_pairs(c, a, out);
    return rc == 0 ? list_runs(c->device, a, out) : rc;
}

/* Whether all that was known of it has gone with who was erased. */
static bool only_erased(const struct device_copy *c)
{
    size_t erased = 0;

    for (size_t i = 0; c->device && i < c->device->user_count; i++)
        erased += c->device->users[i].erased;
    return !c->device || (erased > 0 && erased == c->device->user_count);
}

/* 0 when it has events, else STATE_NOT_FOUND. */
static int is_used(const struct device_copy *c, struct err *e)
{
    size_t events;
    int rc = count_events(c, &events, e);

    return rc < 0 || events > 0 ? rc : STATE_NOT_FOUND;
}

int state_device(struct state *s, uint32_t partition, struct str device, bool events, struct arena *a,
                 struct state_device *out, struct err *e)
{
    struct device_copy c;
    int rc;

    assert(partition < s->partition_count);
    *out = (struct state_device){0};
    rc = device_copy_open(s, partition, device, &c, e);
    if (rc == 0 && !c.device && !c.profile)
        rc = STATE_NOT_FOUND;
    if (rc == 0)
        rc = describe(&c, events, a, out, e);
    if (rc == 0 && only_erased(&c))
        rc = is_used(&c, e);
    device_copy_close(&c);
    return rc;
}

/* --- a user --------------------------------------------------------------------------------------------------- */

struct account_copy {
    struct partition *p;
    struct account *account; /* nothing in it when there is none */
    struct member *members;
    size_t member_count;
    struct store_snapshot *snap;
    bool known;
};

struct account_seen {
    struct buf account, members;
    bool account_known, profile_known;
    bool erased; /* and nothing of the profile since */
};

static int account_see(struct account_copy *c, struct str user, struct key_hash profile, struct account_seen *out)
{
    struct partition *p = c->p;
    struct key_hash hash = partition_hash(p, user);

    pthread_mutex_lock(&p->lock);
    const struct account *a = (const struct account *)table_find(&p->accounts, &hash);
    _Static_assert(offsetof(struct account, node) == 0, "a node is its account");
    const struct profile *r = partition_find_profile(p, profile);
    out->account_known = a != NULL;
    if (a)
        account_write(a, &out->account);
    out->profile_known = r && r->version > 0;
    out->erased = out->profile_known && r->member_count == 0 && r->facts.events == 0 && tombstone_find(p, r->id);
    if (out->profile_known)
        put_members(r->members, r->member_count, &out->members);
    c->snap = store_snapshot_new(p->state->store);
    pthread_mutex_unlock(&p->lock);
    return !c->snap || out->account.failed || out->members.failed ? -ENOMEM : 0;
}

static int account_load(struct account_copy *c, const struct account_seen *seen, struct err *e)
{
    struct key key = key_one(KEY_ACCOUNT, c->account->node.key);
    struct store_value v = {0};
    int rc;

    if (seen->account_known) {
        rc = account_read(buf_str(&seen->account), c->account);
    } else {
        rc = store_get(c->p->state->store, c->p->number, key_str(&key), c->snap, &v, e);
        if (rc == STORE_NOT_FOUND)
            return 0;
        if (rc == 0)
            rc = account_read(v.bytes, c->account);
        store_value_free(&v);
    }
    /* One that memory has may have been made by looking for it. */
    c->known = c->account->pair_count > 0 || c->account->order_pair_count > 0;
    return rc == -EIO ? damaged(e, "the devices of a user") : rc;
}

static int members_load(struct account_copy *c, struct key_hash profile, const struct account_seen *seen, struct err *e)
{
    struct key key = key_one(KEY_PROFILE, profile);
    struct profile_record record;
    struct store_value v = {0};
    int rc;

    if (seen->profile_known) {
        c->known = c->known || !seen->erased;
        rc = get_members(buf_str(&seen->members), &c->members, &c->member_count);
    } else {
        rc = store_get(c->p->state->store, c->p->number, key_str(&key), c->snap, &v, e);
        if (rc == STORE_NOT_FOUND)
            return 0;
        c->known = rc == 0 || c->known;
        if (rc == 0)
            rc = profile_record_read(v.bytes, &record);
        if (rc == 0)
            rc = get_members(record.members, &c->members, &c->member_count);
        store_value_free(&v);
    }
    return rc == -EIO ? damaged(e, "the devices of a profile") : rc;
}

static int account_open(struct account_copy *c, struct str user, struct err *e)
{
    char buf[PROFILE_ID_MAX_BYTES];
    struct key_hash profile = partition_hash(c->p, profile_id(STR_NONE, user, buf));
    struct account_seen seen = {0};
    int rc = -ENOMEM;

    buf_init(&seen.account, COPY_BYTES);
    buf_init(&seen.members, COPY_BYTES);
    c->account = account_new(c->p, user);
    if (c->account)
        rc = account_see(c, user, profile, &seen);
    if (rc == 0)
        rc = account_load(c, &seen, e);
    if (rc == 0)
        rc = members_load(c, profile, &seen, e);
    buf_deinit(&seen.account);
    buf_deinit(&seen.members);
    return rc;
}

static void account_close(struct account_copy *c)
{
    store_snapshot_free(c->p->state->store, c->snap);
    if (c->account)
        account_free(c->account);
    member_list_free(c->members, c->member_count);
}

static int compare_owned(const void *a, const void *b)
{
    return str_cmp(((const struct state_owned *)a)->device, ((const struct state_owned *)b)->device);
}

static void add_evidence(struct state_owned *o, int64_t time)
{
    if (o->evidence == TIME_NONE || time < o->evidence)
        o->evidence = time;
}

static struct state_owned *find_owned(struct state_owned *v, size_t n, struct str device)
{
    struct state_owned key = {.device = device};

    return n ? bsearch(&key, v, n, sizeof *v, compare_owned) : NULL;
}

static int list_owned(const struct account_copy *c, struct arena *arena, struct state_account *out)
{
    const struct account *a = c->account;
    struct state_owned *v = arena_zalloc(arena, (a->pair_count + c->member_count + 1) * sizeof *v), *o;
    size_t n = a->pair_count;

    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        v[i] = (struct state_owned){.device = a->pairs[i].device,
                                    .beyond = a->pairs[i].beyond,
                                    .evidence = a->pairs[i].by_events ? a->pairs[i].evidence.time : TIME_NONE};
    for (size_t i = 0; i < a->order_pair_count; i++) {
        o = a->order_pairs[i].removed ? NULL : find_owned(v, n, a->order_pairs[i].device);
        if (!o)
            continue;
        o->by_order++;
        add_evidence(o, a->order_pairs[i].key.time);
    }
    for (size_t i = 0, sorted = n; i < c->member_count; i++) {
        if (c->members[i].removed)
            continue;
        o = find_owned(v, sorted, c->members[i].device);
        if (!o) {
            o = &v[n++];
            *o = (struct state_owned){.device = c->members[i].device, .evidence = TIME_NONE};
        }
        o->linked = true;
    }
    if (n > 1)
        qsort(v, n, sizeof *v, compare_owned);
    for (size_t i = 0; i < n; i++)
        if (!(v[i].device = arena_dup(arena, v[i].device)).p)
            return -ENOMEM;
    *out = (struct state_account){v, n, a->capped};
    return 0;
}

int state_account(struct state *s, uint32_t partition, struct str user, struct arena *a, struct state_account *out,
                  struct err *e)
{
    struct account_copy c = {.p = &s->partitions[partition]};
    int rc;

    assert(partition < s->partition_count);
    *out = (struct state_account){0};
    pthread_rwlock_rdlock(&c.p->place);
    rc = account_open(&c, user, e);
    if (rc == 0)
        rc = c.known ? list_owned(&c, a, out) : STATE_NOT_FOUND;
    account_close(&c);
    pthread_rwlock_unlock(&c.p->place);
    return rc;
}
