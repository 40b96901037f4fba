/* Whose every event is, worked out the slow way from the set of events and unlinks alone: the specification's paragraph
 * "Identity", sentence by sentence. It knows no partitions and no order of arrival. */
#ifndef WAYMARK_TESTS_PERSON_ORACLE_H
#define WAYMARK_TESTS_PERSON_ORACLE_H

#include "tests/support/state_case.h"

#include "proto/internal.h"

/* "Device was used by user at that moment." */
struct oracle_link {
    struct event_key key;
    struct str device, user;
    bool is_void;
};

struct oracle_unlink {
    struct str device, user;
    int64_t until;
};

struct oracle {
    struct model m; /* after oracle_init every event's profile is its owner */
    struct oracle_link *links;
    size_t link_count, link_cap;
    const struct oracle_unlink *unlinks;
    size_t unlink_count;
};

static inline void oracle_link(struct oracle *o, struct event_key key, struct str device, struct str user)
{
    if (o->link_count == o->link_cap) {
        o->link_cap = o->link_cap ? 2 * o->link_cap : 64;
        o->links = realloc(o->links, o->link_cap * sizeof *o->links);
        assert_non_null(o->links);
    }
    o->links[o->link_count++] = (struct oracle_link){key, device, user, false};
}

static inline bool oracle_states(const struct model_event *e, struct str order_id)
{
    enum order_status status;

    return order_stated(&e->ev, &status) && str_eq(e->ev.order.order_id, order_id);
}

/* The first event that speaks of the same order. */
static inline bool oracle_order_begins(const struct oracle *o, size_t at)
{
    enum order_status status;

    if (!order_stated(&o->m.v[at].ev, &status))
        return false;
    for (size_t i = 0; i < at; i++)
        if (oracle_states(&o->m.v[i], o->m.v[at].ev.order.order_id))
            return false;
    return true;
}

static inline bool oracle_is_guest(struct str device)
{
    return str_starts(device, STR_LIT("order:"));
}

static inline bool oracle_is_guest_of(struct str device, struct str order_id)
{
    return oracle_is_guest(device) && str_eq((struct str){device.p + 6, device.n - 6}, order_id);
}

/* --- the links ------------------------------------------------------------------------------------------------ */

static inline void oracle_links_of_events(struct oracle *o)
{
    for (size_t i = 0; i < o->m.n; i++) {
        const struct event *e = &o->m.v[i].ev;

        if (!str_has(e->user_id))
            continue;
        if (str_has(e->anonymous_id))
            oracle_link(o, event_key(e), e->anonymous_id, e->user_id);
        if (e->type == EVENT_ALIAS && str_has(e->previous_id))
            oracle_link(o, event_key(e), e->previous_id, e->user_id);
    }
}

/* `guest`: of the device order:ORDERID, else of all others. The events stand in their order: the first is the earliest.
 */
static inline void oracle_links_of_order(struct oracle *o, struct str order_id, bool guest)
{
    const struct event *device = NULL, *user = NULL;

    for (size_t i = 0; i < o->m.n; i++) {
        const struct event *e = &o->m.v[i].ev;

        if (!oracle_states(&o->m.v[i], order_id))
            continue;
        if (str_has(e->user_id))
            user = user ? user : e;
        else if (oracle_is_guest_of(e->anonymous_id, order_id) == guest)
            device = device ? device : e;
    }
    if (device && user) {
        struct event_key a = event_key(device), b = event_key(user);
        oracle_link(o, event_key_cmp(&a, &b) < 0 ? a : b, device->anonymous_id, user->user_id);
    }
}

static inline void oracle_links_of_orders(struct oracle *o)
{
    for (size_t i = 0; i < o->m.n; i++) {
        if (!oracle_order_begins(o, i))
            continue;
        if (o->m.rules->link_by_order)
            oracle_links_of_order(o, o->m.v[i].ev.order.order_id, false);
        oracle_links_of_order(o, o->m.v[i].ev.order.order_id, true);
    }
}

/* --- which of them are void ----------------------------------------------------------------------------------- */

/* Whether an earlier link in the list names the same pair: then it was counted. */
static inline bool oracle_pair_seen(const struct oracle *o, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (str_eq(o->links[i].device, o->links[at].device) && str_eq(o->links[i].user, o->links[at].user))
            return true;
    return false;
}

static inline bool oracle_shared(const struct oracle *o, struct str device)
{
    size_t users = 0, events = 0;

    for (size_t i = 0; i < o->link_count; i++)
        users += str_eq(o->links[i].device, device) && !oracle_pair_seen(o, i);
    for (size_t i = 0; i < o->m.n; i++)
        events += !str_has(o->m.v[i].ev.user_id) && str_eq(o->m.v[i].ev.anonymous_id, device);
    return users > o->m.rules->max_users_per_device || events > o->m.rules->max_device_events;
}

static inline const struct event_key *oracle_evidence(const struct oracle *o, struct str device, struct str user)
{
    const struct event_key *first = NULL;

    for (size_t i = 0; i < o->link_count; i++)
        if (str_eq(o->links[i].device, device) && str_eq(o->links[i].user, user) &&
            (!first || event_key_cmp(&o->links[i].key, first) < 0))
            first = &o->links[i].key;
    return first;
}

/* Whether the user has as many devices of earlier evidence as they may keep. */
static inline bool oracle_beyond(const struct oracle *o, struct str device, struct str user)
{
    const struct event_key *own = oracle_evidence(o, device, user);
    size_t earlier = 0;

    if (oracle_is_guest(device))
        return false;
    for (size_t i = 0; i < o->link_count; i++) {
        const struct oracle_link *l = &o->links[i];
        int c;

        if (!str_eq(l->user, user) || oracle_is_guest(l->device) || oracle_pair_seen(o, i))
            continue;
        c = event_key_cmp(oracle_evidence(o, l->device, user), own);
        earlier += c < 0 || (c == 0 && str_cmp(l->device, device) < 0);
    }
    return earlier >= o->m.rules->max_devices_per_user;
}

static inline bool oracle_undone(const struct oracle *o, const struct oracle_link *l)
{
    for (size_t i = 0; i < o->unlink_count; i++)
        if (str_eq(o->unlinks[i].device, l->device) && str_eq(o->unlinks[i].user, l->user) &&
            l->key.time <= o->unlinks[i].until)
            return true;
    return false;
}

/* --- owners --------------------------------------------------------------------------------------------------- */

/* The user of the latest link at or before the key, else of the first; absent without links. */
static inline struct str oracle_user_at(const struct oracle *o, struct str device, const struct event_key *key)
{
    const struct oracle_link *before = NULL, *first = NULL;

    for (size_t i = 0; i < o->link_count; i++) {
        const struct oracle_link *l = &o->links[i];

        if (l->is_void || !str_eq(l->device, device))
            continue;
        if (!first || event_key_cmp(&l->key, &first->key) < 0)
            first = l;
        if (event_key_cmp(&l->key, key) <= 0 && (!before || event_key_cmp(&l->key, &before->key) >= 0))
            before = l;
    }
    return before ? before->user : first ? first->user : STR_NONE;
}

static inline void oracle_own(struct model_event *e, const char *kind, struct str id)
{
    assert_true(id.n + 5 <= sizeof e->profile);
    memcpy(e->profile, kind, 5);
    memcpy(e->profile + 5, id.p, id.n);
    e->profile_n = id.n + 5;
}

/* All points into the records. */
static inline void oracle_init(struct oracle *o, const struct log_record *records, size_t n,
                               const struct fold_rules *rules, const struct oracle_unlink *unlinks, size_t unlink_count)
{
    *o = (struct oracle){.unlinks = unlinks, .unlink_count = unlink_count};
    model_init(&o->m, records, n, rules);
    oracle_links_of_events(o);
    oracle_links_of_orders(o);
    for (size_t i = 0; i < o->link_count; i++) {
        struct oracle_link *l = &o->links[i];
        l->is_void = oracle_shared(o, l->device) || oracle_beyond(o, l->device, l->user) || oracle_undone(o, l);
    }
    for (size_t i = 0; i < o->m.n; i++) {
        const struct event *e = &o->m.v[i].ev;
        struct event_key key = event_key(e);
        struct str user = str_has(e->user_id) ? e->user_id : oracle_user_at(o, e->anonymous_id, &key);

        oracle_own(&o->m.v[i], str_has(user) ? "user:" : "anon:", str_has(user) ? user : e->anonymous_id);
    }
}

static inline void oracle_deinit(struct oracle *o)
{
    free(o->links);
    model_deinit(&o->m);
}

/* Who a look-up of the device answers; absent: itself. */
static inline struct str oracle_latest_user(const struct oracle *o, struct str device)
{
    struct event_key last = {INT64_MAX, INT64_MAX, UINT32_MAX, {{0}}};

    return oracle_user_at(o, device, &last);
}

/* Whether the device stands in the ids of the user. */
static inline bool oracle_member(const struct oracle *o, struct str device, struct str user)
{
    for (size_t i = 0; i < o->link_count; i++)
        if (!o->links[i].is_void && str_eq(o->links[i].device, device) && str_eq(o->links[i].user, user))
            return !oracle_is_guest(device);
    return false;
}

static inline size_t oracle_members(const struct oracle *o, struct str user)
{
    size_t n = 0;

    for (size_t i = 0; i < o->link_count; i++) {
        bool seen = false;

        for (size_t k = 0; k < i && !seen; k++)
            seen = !o->links[k].is_void && str_eq(o->links[k].device, o->links[i].device) &&
                   str_eq(o->links[k].user, o->links[i].user);
        n += !seen && !o->links[i].is_void && str_eq(o->links[i].user, user) && !oracle_is_guest(o->links[i].device);
    }
    return n;
}

/* --- profiles ------------------------------------------------------------------------------------------------- */

static inline void oracle_orders(struct oracle *o, struct str profile, struct model_answer *out)
{
    const struct event **statements = calloc(o->m.n + 1, sizeof(*statements));

    out->orders = calloc(o->m.n + 1, sizeof *out->orders);
    for (size_t i = 0; i < o->m.n; i++) {
        struct order *order = &out->orders[out->order_count];
        size_t n = 0;

        if (!oracle_order_begins(o, i))
            continue;
        for (size_t k = i; k < o->m.n; k++)
            if (oracle_states(&o->m.v[k], o->m.v[i].ev.order.order_id))
                statements[n++] = &o->m.v[k].ev;
        assert_int_equal(order_build(statements, n, o->m.rules, &o->m.arena, order), 0);
        for (size_t k = i; k < o->m.n; k++)
            if (&o->m.v[k].ev == order->best)
                out->order_count += str_eq(model_profile(&o->m.v[k]), profile);
    }
    qsort(out->orders, out->order_count, sizeof *out->orders, model_cmp_orders);
    free(statements);
}

static inline struct str oracle_device_of(const struct path_entry *e)
{
    return ((const struct model_event *)e->owner)->ev.anonymous_id;
}

/* The profile: false when there is none. */
static inline bool oracle_answer(struct oracle *o, struct str profile, struct model_answer *out)
{
    struct fold_input in = {.decode = model_decode};

    *out = (struct model_answer){.path = calloc(o->m.n + 1, sizeof *out->path)};
    for (size_t i = 0; i < o->m.n; i++) {
        struct model_event *e = &o->m.v[i];
        struct path_entry *p = &out->path[out->path_count];

        if (!str_eq(model_profile(e), profile))
            continue;
        *p = (struct path_entry){event_key(&e->ev), entry_flags(&e->ev, o->m.rules), 0, e->bytes, e};
        p->device = (uint32_t)out->path_count;
        for (size_t k = out->path_count; k-- > 0;)
            if (str_has(oracle_device_of(&out->path[k])) == str_has(e->ev.anonymous_id) &&
                str_eq(oracle_device_of(&out->path[k]), e->ev.anonymous_id))
                p->device = out->path[k].device;
        out->path_count++;
    }
    oracle_orders(o, profile, out);
    in.path = out->path;
    in.path_count = out->path_count;
    in.orders = out->orders;
    in.order_count = out->order_count;
    assert_int_equal(facts_fold(&in, o->m.rules, &out->facts), 0);
    return out->facts.events > 0; /* who has nothing but marks is nobody */
}

#endif
