/* The oracle: the facts of a whole path and its orders, the straightforward way. What facts.c and facts_orders.c do
 * step by step is held against this, so it counts with code of its own: every name of every map is collected with its
 * first mention, and only at the end those that a map keeps are chosen. Linear in the path but for look-ups by name;
 * memory is bounded by the distinct names and the notes of the path. Pure; one thread at a time. */
#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "profiler/facts_maps.h"

/* One name of one map. */
struct named {
    struct tally t;         /* with a name of its own */
    struct event_key first; /* first mention */
    uint64_t event;         /* 1 + index of the event that counted here last: each counts once */
    struct named *next;
};

struct names {
    void *tree; /* tsearch: balanced, whatever names clients send */
    struct named *list;
    size_t n;
};

struct touch {
    int64_t time;
    struct named *campaign; /* NULL: it has none */
};

struct folding {
    const struct fold_input *in;
    const struct fold_rules *rules;
    struct path_note *notes;
    struct touch *touches; /* in the order of events */
    size_t touch_count;
    struct names by[FACTS_MAPS];
    struct names campaigns; /* of touches; only for their names */
    struct facts f;
};

/* --- names ---------------------------------------------------------------------------------------------------- */

static int compare_named(const void *a, const void *b)
{
    return str_cmp(((const struct named *)a)->t.name, ((const struct named *)b)->t.name);
}

/* The entry of a name, found or made, as mentioned at `key`. NULL when memory is out. */
static struct named *names_at(struct names *names, struct str name, const struct event_key *key)
{
    struct named probe = {.t = {.name = name}}, *e;
    struct named **found = tfind(&probe, &names->tree, compare_named);

    if (found) {
        e = *found;
        if (event_key_cmp(key, &e->first) < 0)
            e->first = *key;
        return e;
    }
    e = malloc(sizeof(*e) + name.n);
    if (!e)
        return NULL;
    memcpy(e + 1, name.p, name.n);
    *e = (struct named){.t = {.name = {(char *)(e + 1), name.n}}, .first = *key};
    if (!tsearch(e, &names->tree, compare_named)) {
        free(e);
        return NULL;
    }
    e->next = names->list;
    names->list = e;
    names->n++;
    return e;
}

static void keep(void *node)
{
    (void)node; /* the list frees it */
}

static void names_deinit(struct names *names)
{
    tdestroy(names->tree, keep);
    while (names->list) {
        struct named *e = names->list;

        names->list = e->next;
        free(e);
    }
}

/* --- events --------------------------------------------------------------------------------------------------- */

static int fold_shown_items(struct folding *fo, const struct event *e, size_t index, bool added)
{
    struct event_key key = event_key(e);

    for (int map = ITEM_MAP_FIRST; map < ITEM_MAP_END; map++) {
        for (size_t i = 0; i < e->item_count; i++) {
            struct str name = facts_item_name(&e->items[i], (enum facts_map)map);
            struct named *entry;

            if (!str_has(name))
                continue;
            entry = names_at(&fo->by[map], name, &key);
            if (!entry)
                return -ENOMEM;
            if (entry->event == index + 1)
                continue;
            entry->event = index + 1;
            if (added)
                entry->t.added++;
            else
                entry->t.views++;
        }
    }
    return 0;
}

static int fold_track(struct folding *fo, const struct event *e, size_t index)
{
    struct facts *f = &fo->f;
    bool viewed = str_is(e->name, "Product Viewed");
    bool added = str_is(e->name, "Product Added");

    f->products_viewed += viewed;
    f->products_added += added;
    f->products_removed += str_is(e->name, "Product Removed");
    f->checkouts += str_is(e->name, "Checkout Started");
    return viewed || added ? fold_shown_items(fo, e, index, added) : 0;
}

static int fold_module(struct folding *fo, const struct event *e)
{
    struct event_key key = event_key(e);
    struct named *entry;

    if (e->module.n == 0)
        return 0;
    entry = names_at(&fo->by[BY_MODULE], e->module, &key);
    if (!entry)
        return -ENOMEM;
    entry->t.pages++;
    return 0;
}

static void fold_time(struct folding *fo, int64_t time)
{
    struct facts *f = &fo->f;
    int hour, weekday;

    if (f->first_seen == TIME_NONE)
        f->first_seen = time;
    f->last_seen = time;
    facts_hour_weekday(fo->rules, time, &hour, &weekday);
    f->hour[hour]++;
    f->weekday[weekday - 1]++;
}

/* Counts what could be a touch, and notes what is one. */
static int fold_touch(struct folding *fo, const struct event *e, const struct path_entry *entry,
                      const struct path_note *note)
{
    struct event_key key = event_key(e);
    struct touch touch = {.time = e->time};

    fo->f.touches++;
    if (entry->flags & ENTRY_CAMPAIGN)
        fo->f.campaigns++;
    if (!note->starts)
        return 0;
    if (e->campaign.name.n > 0 && !(touch.campaign = names_at(&fo->campaigns, e->campaign.name, &key)))
        return -ENOMEM;
    fo->touches[fo->touch_count++] = touch;
    return 0;
}

static int fold_referral(struct facts *f, const struct event *e)
{
    char *copy;

    if (str_has(f->referred_by) || e->shared_by.n == 0)
        return 0;
    copy = malloc(e->shared_by.n);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, e->shared_by.p, e->shared_by.n);
    f->referred_by = (struct str){copy, e->shared_by.n};
    f->referred_key = event_key(e);
    return 0;
}

static int fold_event(struct folding *fo, const struct event *e, size_t i)
{
    const struct path_entry *entry = &fo->in->path[i];
    int rc = fold_referral(&fo->f, e);

    if (rc == 0 && e->type == EVENT_TRACK)
        rc = fold_track(fo, e, i);
    if (rc == 0 && (entry->flags & ENTRY_PAGE)) {
        fo->f.pages++;
        rc = fold_module(fo, e);
    }
    if (rc == 0 && (entry->flags & ENTRY_SESSION)) {
        fold_time(fo, e->time);
        if (entry->flags & ENTRY_TOUCH)
            rc = fold_touch(fo, e, entry, &fo->notes[i]);
    }
    return rc;
}

/* The first and the last that is no mark. */
static void fold_ends(struct facts *f, const struct path_entry *e)
{
    if (f->events++ == 0)
        f->first_event_at = e->key.time;
    f->last_key = e->key;
    f->last_event_at = e->key.time;
}

static int fold_path(struct folding *fo)
{
    const struct fold_input *in = fo->in;
    uint32_t sessions;
    int rc;

    if (in->path_count == 0)
        return 0;
    fo->notes = malloc(in->path_count * sizeof(*fo->notes));
    fo->touches = malloc(in->path_count * sizeof(*fo->touches));
    if (!fo->notes || !fo->touches)
        return -ENOMEM;
    rc = path_annotate(in->path, in->path_count, fo->rules->session_gap_ms, fo->notes, &sessions);
    for (size_t i = 0; i < in->path_count && rc == 0; i++) {
        struct event e;

        if (in->path[i].flags & ENTRY_MARK)
            continue;
        fold_ends(&fo->f, &in->path[i]);
        rc = in->decode(in->arg, &in->path[i], &e);
        if (rc == 0)
            rc = fold_event(fo, &e, i);
    }
    if (rc == 0)
        fo->f.sessions = sessions;
    return rc;
}

/* --- orders --------------------------------------------------------------------------------------------------- */

static int fold_order_items(struct folding *fo, const struct order *o)
{
    struct event_key key = facts_order_key(o);

    for (size_t i = 0; i < o->item_count; i++) {
        const struct item *it = &o->items[i];

        fo->f.items += order_pieces(it);
        if (!it->cost.has)
            fo->f.items_without_cost++;
        if (o->home_currency)
            fo->f.cost += order_cost(it);
        for (int map = ITEM_MAP_FIRST; map < ITEM_MAP_END; map++) {
            struct str name = facts_item_name(it, (enum facts_map)map);
            struct named *entry;

            if (!str_has(name))
                continue;
            entry = names_at(&fo->by[map], name, &key);
            if (!entry)
                return -ENOMEM;
            entry->t.lines++;
            entry->t.ordered += order_pieces(it);
            if (o->home_currency)
                entry->t.amount += order_line(it);
        }
    }
    return 0;
}

/* The campaign of the last touch up to placed_at. Touches stand in the order of events. */
static struct str last_campaign(const struct folding *fo, int64_t placed_at)
{
    size_t low = 0, high = fo->touch_count;
    const struct touch *t;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (fo->touches[mid].time <= placed_at)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        return STR_NONE;
    t = &fo->touches[low - 1];
    if ((uint64_t)placed_at - (uint64_t)t->time > (uint64_t)fo->rules->touch_window_ms || !t->campaign)
        return STR_NONE;
    return t->campaign->t.name;
}

static int fold_order_names(struct folding *fo, const struct order *o)
{
    struct event_key key = facts_order_key(o);

    for (int map = ORDER_MAP_FIRST; map < ORDER_MAP_END; map++) {
        struct str name =
            map == BY_CAMPAIGN ? last_campaign(fo, o->placed_at) : facts_order_name(o, (enum facts_map)map);
        struct named *entry;

        if (!str_has(name))
            continue;
        entry = names_at(&fo->by[map], name, &key);
        if (!entry)
            return -ENOMEM;
        entry->t.orders++;
        if (o->home_currency)
            entry->t.amount += o->total;
    }
    return 0;
}

static int fold_money(struct facts *f, const struct order *o)
{
    struct currency_sum *c = facts_currency(f, o->currency);

    if (!c)
        return -ENOMEM;
    c->uses++;
    c->refunded += o->refunded;
    if (o->counted) {
        c->gross += o->total;
        c->discount += o->discount.has ? o->discount.v : 0;
    }
    return 0;
}

static int fold_order(struct folding *fo, const struct order *o)
{
    struct facts *f = &fo->f;
    int rc = 0;

    if (o->placed_at != TIME_NONE && o->standing == STATUS_CANCELLED)
        f->orders_cancelled++;
    if (o->credit_note)
        f->credit_notes++;
    if (o->counted || o->credit_note)
        rc = fold_money(f, o);
    if (!o->counted || rc != 0)
        return rc;
    f->orders++;
    if (o->refund_count > 0 && o->refunded >= o->total)
        f->orders_refunded++;
    if (f->first_order_at == TIME_NONE || o->placed_at < f->first_order_at)
        f->first_order_at = o->placed_at;
    if (f->last_order_at == TIME_NONE || o->placed_at > f->last_order_at)
        f->last_order_at = o->placed_at;
    rc = fold_order_items(fo, o);
    return rc ? rc : fold_order_names(fo, o);
}

static int fold_orders(struct folding *fo)
{
    struct facts *f = &fo->f;
    int rc = 0;

    for (size_t i = 0; i < fo->in->order_count && rc == 0; i++)
        rc = fold_order(fo, &fo->in->orders[i]);
    for (size_t i = 0; i < f->currency_count; i++) {
        if (memcmp(f->currencies[i].currency, fo->rules->currency, sizeof(fo->rules->currency)) != 0)
            continue;
        f->gross = f->currencies[i].gross;
        f->refunded = f->currencies[i].refunded;
        f->discount = f->currencies[i].discount;
    }
    return rc;
}

/* --- choosing ------------------------------------------------------------------------------------------------- */

static int compare_first(const void *a, const void *b)
{
    const struct named *x = *(const struct named *const *)a;
    const struct named *y = *(const struct named *const *)b;
    int c = event_key_cmp(&x->first, &y->first);

    return c ? c : str_cmp(x->t.name, y->t.name);
}

static int compare_tallies(const void *a, const void *b)
{
    return str_cmp(((const struct tally *)a)->name, ((const struct tally *)b)->name);
}

/* The names but for what a client calls like the rest, by first mention. */
static struct named **by_first_mention(const struct names *names, size_t *n)
{
    struct named **v = malloc((names->n + 1) * sizeof(*v));

    *n = 0;
    for (struct named *e = names->list; v && e; e = e->next) {
        if (!str_eq(e->t.name, NAME_REST))
            v[(*n)++] = e;
    }
    if (v)
        qsort(v, *n, sizeof(*v), compare_first);
    return v;
}

/* A tally with a name of its own at the end of the map. */
static bool append(struct tally_map *m, const struct tally *t, struct str name)
{
    char *copy = malloc(name.n);

    if (!copy)
        return false;
    memcpy(copy, name.p, name.n);
    m->v[m->n] = *t;
    m->v[m->n].prefix = tally_prefix(name);
    m->v[m->n++].name = (struct str){copy, name.n};
    m->name_bytes += name.n;
    return true;
}

static int fill_map(struct tally_map *m, struct named **v, size_t n, size_t kept, struct tally rest)
{
    m->v = malloc((kept + 1) * sizeof(*m->v));
    if (!m->v)
        return -ENOMEM;
    m->cap = (uint32_t)kept + 1;
    for (size_t i = 0; i < kept; i++) {
        if (!append(m, &v[i]->t, v[i]->t.name))
            return -ENOMEM;
    }
    for (size_t i = kept; i < n; i++)
        tally_add(&rest, &v[i]->t);
    if (tally_stands(&rest) && !append(m, &rest, NAME_REST))
        return -ENOMEM;
    qsort(m->v, m->n, sizeof(*m->v), compare_tallies);
    return 0;
}

static int choose_names(const struct names *names, size_t limit, struct tally_map *m)
{
    struct tally rest = {0};
    struct named **v;
    size_t n, kept;
    int rc = 0;

    if (names->n == 0)
        return 0;
    v = by_first_mention(names, &n);
    if (!v)
        return -ENOMEM;
    for (struct named *e = names->list; e; e = e->next) {
        if (str_eq(e->t.name, NAME_REST))
            rest = e->t;
    }
    kept = n < limit ? n : limit;
    rc = fill_map(m, v, n, kept, rest);
    if (rc == 0 && n > kept && !tally_widen(m, v[kept - 1]->first))
        rc = -ENOMEM;
    free(v);
    return rc;
}

int facts_fold(const struct fold_input *in, const struct fold_rules *rules, struct facts *out)
{
    struct folding fo = {.in = in, .rules = rules};
    int rc;

    facts_init(&fo.f);
    rc = fold_path(&fo);
    if (rc == 0)
        rc = fold_orders(&fo);
    for (int map = 0; map < FACTS_MAPS && rc == 0; map++)
        rc = choose_names(&fo.by[map], facts_map_limit(rules), &fo.f.by[map]);
    for (int map = 0; map < FACTS_MAPS; map++)
        names_deinit(&fo.by[map]);
    names_deinit(&fo.campaigns);
    free(fo.notes);
    free(fo.touches);
    if (rc == 0)
        *out = fo.f;
    else
        facts_deinit(&fo.f);
    return rc;
}
