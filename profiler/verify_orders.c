/* Verifying orders: at their homes and at their owners, and that the two and the events in the paths say the same. What
 * is in another partition is compared when everything that was told between the two has been heard. One thread; nobody
 * folds meanwhile. */
#include <errno.h>

#include "profiler/order_doc.h"
#include "profiler/order_home.h"
#include "profiler/verify.h"
#include "proto/codec.h"

/* Whether `to` has heard all that `from` told it. */
static bool settled(struct verify *v, uint32_t from, uint32_t to)
{
    return from == to || internal_version_cmp(state_sent(v->state, from, to), state_heard(v->state, to, from)) == 0;
}

static void differs(struct verify *v, struct str order, const char *what)
{
    verify_say(v, "order %.*s: %s", (int)(order.n < 80 ? order.n : 80), order.p, what);
}

/* --- at the owner --------------------------------------------------------------------------------------------- */

static int check_named(struct verify *v, const struct order_parts *parts)
{
    uint32_t home = state_order_partition(v->state, parts->order_id);
    struct str owner = STR_NONE;
    struct arena a;
    int rc;

    if (!settled(v, home, v->partition))
        return 0;
    arena_init(&a, SIZE_MAX);
    rc = state_order(v->state, home, parts->order_id, &a, &owner, v->err);
    if (rc >= 0 && !str_eq(owner, parts->owner))
        differs(v, parts->order_id, "stands with a profile that its home does not name");
    arena_deinit(&a);
    return rc < 0 ? rc : 0;
}

static int check_owned(struct verify *v, struct str key, struct str value, struct arena *a)
{
    struct key_hash profile, order, of_owner, of_id;
    struct order_parts parts;
    struct order built;
    int rc = order_doc_read(value, a, 0, &parts);

    if (rc == 0 && parts.count > 0)
        rc = order_parts_build(&parts, v->state->rules, a, &built);
    if (rc == -ENOMEM)
        return rc;
    if (rc < 0 || !key_read_two(key, KEY_ORDER, &profile, &order)) {
        verify_say(v, "an order has a bad key or cannot be read");
        return 0;
    }
    of_owner = partition_hash(v->p, parts.owner);
    of_id = partition_hash(v->p, parts.order_id);
    if (!key_hash_eq(&of_owner, &profile) || !key_hash_eq(&of_id, &order))
        differs(v, parts.order_id, "stands under another key");
    if (parts.count == 0)
        return 0;
    v->report->orders++;
    return check_named(v, &parts);
}

int verify_order(struct verify *v, struct str key, struct str value)
{
    struct arena a;
    int rc;

    arena_init(&a, SIZE_MAX);
    rc = check_owned(v, key, value, &a);
    arena_deinit(&a);
    return rc;
}

/* --- at home -------------------------------------------------------------------------------------------------- */

static bool same_link(const struct order_link *a, const struct order_link *b)
{
    return str_eq(a->device, b->device) &&
           (!str_has(a->device) || (str_eq(a->user, b->user) && event_key_cmp(&a->key, &b->key) == 0));
}

static const struct chunk_entry *find(const struct order_parts *parts, const struct event_key *key)
{
    for (size_t i = 0; i < parts->count; i++)
        if (event_key_cmp(&parts->statements[i].key, key) == 0)
            return &parts->statements[i];
    return NULL;
}

static void compare(struct verify *v, const struct order_home *h, const struct order_parts *parts)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct chunk_entry *e = find(parts, &h->counting[i]->place.key);

        if (!e || !str_eq(e->bytes, h->counting[i]->bytes)) {
            differs(v, h->id, "its owner misses a statement that its home has");
            return;
        }
    }
    if (parts->count != h->count)
        differs(v, h->id, "its owner has a statement that does not count");
}

/* What the home has told the owner is there. */
static int check_told(struct verify *v, const struct order_home *h)
{
    uint32_t at = event_log_partition(profile_log_key(h->owner), v->state->partition_count);
    struct partition *p = &v->state->partitions[at];
    struct key key = key_two(KEY_ORDER, partition_hash(p, h->owner), partition_hash(p, h->id));
    struct order_parts parts;
    struct store_value value = {0};
    struct arena a;
    int rc;

    if (!settled(v, v->partition, at))
        return 0;
    rc = store_get(v->state->store, at, key_str(&key), NULL, &value, v->err);
    if (rc != 0) {
        if (rc == STORE_NOT_FOUND)
            differs(v, h->id, "its owner does not have it");
        return rc < 0 ? rc : 0;
    }
    arena_init(&a, SIZE_MAX);
    rc = order_doc_read(value.bytes, &a, 0, &parts);
    if (rc == 0)
        compare(v, h, &parts);
    arena_deinit(&a);
    store_value_free(&value);
    return rc == -ENOMEM ? rc : 0;
}

static int check_head(struct verify *v, struct key_hash order, struct str value)
{
    struct order_link link, guest;
    struct home_record record;
    struct order_home *h;
    struct key_hash hash;
    int rc;

    if (home_record_read(value, &record) < 0) {
        verify_say(v, "the home of an order cannot be read");
        return 0;
    }
    hash = partition_hash(v->p, record.id);
    if (!key_hash_eq(&hash, &order))
        differs(v, record.id, "its home stands under another key");
    if (state_order_partition(v->state, record.id) != v->partition)
        differs(v, record.id, "its home is another partition");
    rc = order_home_read(v->p, record.id, &h, v->err);
    if (rc < 0)
        return rc;
    if (!str_eq(order_home_best(h), h->owner))
        differs(v, h->id, "another has it than the owner of its best statement");
    order_home_links(h, v->state->rules, &link, &guest);
    if (!same_link(&link, &h->link) || !same_link(&guest, &h->guest))
        differs(v, h->id, "it has told other links than it makes");
    if (str_has(h->owner))
        rc = check_told(v, h);
    order_home_free(v->p, h);
    return rc;
}

/* The other record of a statement; 0, STORE_NOT_FOUND or a negative errno. */
static int other_record(struct verify *v, const struct key_home *at, struct store_value *out)
{
    struct key key = key_homed(at);

    return store_get(v->state->store, v->partition, key_str(&key), NULL, out, v->err);
}

/* Of an erased person: no path has it. */
static bool is_left_over(struct verify *v, struct str bytes)
{
    struct arena *a = &v->p->arena_other;
    struct event ev;

    arena_reset(a);
    return event_unpack(bytes, a, &ev) == CODEC_OK && ev.erased;
}

/* What its uid says against where it stands; `at` is of either. */
static int check_statement(struct verify *v, const struct key_home *at, struct str value)
{
    bool by_uid = at->part == HOME_UID;
    struct key_home other = {at->order, by_uid ? HOME_PLACE : HOME_UID, at->place};
    struct statement of_uid = {0}, of_place = {.place = at->place};
    struct store_value found = {0};
    int bad = by_uid ? statement_place_read(value, &of_uid) : statement_record_read(value, &of_place), rc = 0;

    if (bad < 0) {
        verify_say(v, "a statement of an order cannot be read");
        return 0;
    }
    if (by_uid && of_uid.removed)
        return 0;
    v->standing += !by_uid && !is_left_over(v, of_place.bytes);
    if (by_uid)
        other.place = of_uid.place;
    rc = other_record(v, &other, &found);
    if (rc == 0)
        bad = by_uid ? statement_record_read(found.bytes, &of_place) : statement_place_read(found.bytes, &of_uid);
    if (rc == STORE_NOT_FOUND ||
        (rc == 0 && (bad < 0 || of_uid.removed || internal_version_cmp(of_uid.version, of_place.version) != 0 ||
                     (!by_uid && event_rank_cmp(&of_uid.place, &at->place) != 0))))
        verify_say(v, "a statement of an order stands elsewhere than its uid says");
    store_value_free(&found);
    return rc < 0 ? rc : 0;
}

int verify_home(struct verify *v, struct str key, struct str value)
{
    struct key_home at;

    if (!key_read_homed(key, &at)) {
        verify_say(v, "the home of an order has a bad key");
        return 0;
    }
    return at.part == HOME_HEAD ? check_head(v, at.order, value) : check_statement(v, &at, value);
}

/* --- in the path ---------------------------------------------------------------------------------------------- */

int verify_stated(struct verify *v, struct str profile, const struct event *ev, struct str bytes)
{
    uint32_t home = state_order_partition(v->state, ev->order.order_id);
    uint32_t from = event_log_partition(event_log_key(ev), v->state->partition_count);
    struct partition *p = &v->state->partitions[home];
    struct key_home at = {partition_hash(p, ev->order.order_id), HOME_PLACE, event_rank(ev)};
    struct key key = key_homed(&at);
    struct store_value found = {0};
    struct statement s = {0};
    int rc;

    v->stated++;
    if (!settled(v, from, home) || !settled(v, from, v->partition))
        return 0;
    rc = store_get(v->state->store, home, key_str(&key), NULL, &found, v->err);
    if (rc == STORE_NOT_FOUND)
        differs(v, ev->order.order_id, "its home misses a statement that stands in a path");
    else if (rc == 0 && (statement_record_read(found.bytes, &s) < 0 || !str_eq(s.bytes, bytes)))
        differs(v, ev->order.order_id, "a statement at its home is not the one in the path");
    else if (rc == 0 && !str_eq(s.owner, profile))
        differs(v, ev->order.order_id, "a statement at its home is another's than in the path");
    store_value_free(&found);
    return rc < 0 ? rc : 0;
}

bool verify_settled(struct verify *v)
{
    for (uint32_t a = 0; a < v->state->partition_count; a++)
        for (uint32_t b = 0; b < v->state->partition_count; b++)
            if (!settled(v, a, b))
                return false;
    return true;
}

void verify_all_stated(struct verify *v)
{
    if (v->stated != v->standing)
        verify_say(v, "%llu statements in paths, %llu at the homes of their orders", (unsigned long long)v->stated,
                   (unsigned long long)v->standing);
}
