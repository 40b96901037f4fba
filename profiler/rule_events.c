/* The events of a person as rules ask for them. Everything is made on need and lives until rule_subject_done. Pure; the
 * thread of the evaluation. */
#include "profiler/rule_events.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/rule_eval_inside.h"
#include "proto/codec.h"

/* A name that events of the path have, and where they stand. */
struct rule_name {
    struct str name;
    size_t from, n;
};

#define NO_NAME UINT32_MAX

struct rule_events *rule_events_of(struct rule_subject *s)
{
    struct rule_events *e = s->events;

    if (e)
        return e;
    e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    arena_init(&e->kept, LIMIT_RULE_KEPT + LIMIT_RULE_OPEN);
    arena_init(&e->passing, LIMIT_RULE_OPEN);
    arena_init(&e->scratch, LIMIT_RULE_OPEN);
    buf_init(&e->text, LIMIT_RECORD_BYTES + JSON_PADDING);
    s->events = e;
    return e;
}

void rule_subject_done(struct rule_subject *s)
{
    struct rule_events *e = s->events;

    if (!e)
        return;
    s->events = NULL;
    arena_deinit(&e->kept);
    arena_deinit(&e->passing);
    arena_deinit(&e->scratch);
    json_parser_free(e->json);
    buf_deinit(&e->text);
    free(e->path);
    free(e->names);
    free(e->name_table);
    free(e->pages.v);
    free(e->screens.v);
    free(e->orders);
    free(e->order_keys);
    free(e->money);
    free(e);
}

/* --- the path by names ------------------------------------------------------------------------------------------- */

static size_t hash_of(struct str s)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * UINT64_C(1099511628211);
    return (size_t)(h ^ h >> 32);
}

/* Where the name's number stands in the table, or would. Names that hash alike are few: the table is for one person. */
static size_t find_name(const struct rule_events *e, struct str name)
{
    size_t at = hash_of(name) & (e->name_room - 1);

    while (e->name_table[at] != NO_NAME && !str_eq(e->names[e->name_table[at]].name, name))
        at = (at + 1) & (e->name_room - 1);
    return at;
}

/* Twice the room, half of which is used at most. */
static bool widen_names(struct rule_events *e)
{
    const size_t room = e->name_room ? 2 * e->name_room : 32;
    struct rule_name *names = realloc(e->names, room / 2 * sizeof *names);
    uint32_t *table;

    if (names)
        e->names = names;
    table = names ? realloc(e->name_table, room * sizeof *table) : NULL;
    if (!table)
        return false;
    e->name_table = table;
    e->name_room = room;
    memset(table, 0xff, room * sizeof *table);
    for (size_t i = 0; i < e->name_count; i++)
        table[find_name(e, e->names[i].name)] = (uint32_t)i;
    return true;
}

/* The number of a name, a new one for one that was not met. False: memory is out. */
static bool number_of_name(struct rule_events *e, struct str name, uint32_t *out)
{
    size_t at;

    if (2 * (e->name_count + 1) > e->name_room && !widen_names(e))
        return false;
    at = find_name(e, name);
    if (e->name_table[at] == NO_NAME) {
        e->name_table[at] = (uint32_t)e->name_count;
        e->names[e->name_count++] = (struct rule_name){.name = name};
    }
    *out = e->name_table[at];
    return true;
}

/* Which name each event has, and how many each. 0, -EIO or -ENOMEM. */
static int count_names(struct rule_events *e, const struct rule_subject *s, uint32_t *numbers)
{
    for (size_t i = 0; i < s->path_count; i++) {
        enum event_type type;
        struct str name;

        if (!event_peek(s->path[i].bytes, &type, &name))
            return -EIO;
        numbers[i] = NO_NAME;
        if (!str_has(name))
            continue;
        if (!number_of_name(e, name, &numbers[i]))
            return -ENOMEM;
        e->names[numbers[i]].n++;
    }
    return 0;
}

static void place_names(struct rule_events *e, const struct rule_subject *s, const uint32_t *numbers)
{
    size_t from = 0;

    for (size_t i = 0; i < e->name_count; i++) {
        e->names[i].from = from;
        from += e->names[i].n;
        e->names[i].n = 0;
    }
    for (size_t i = 0; i < s->path_count; i++) {
        const struct path_entry *entry = &s->path[i];
        struct rule_name *n;

        if (numbers[i] == NO_NAME)
            continue;
        n = &e->names[numbers[i]];
        e->path[n->from + n->n++] = (struct rule_event){.key = &entry->key, .entry = entry};
    }
}

static int read_path(struct rule_events *e, const struct rule_subject *s)
{
    uint32_t *numbers;
    int rc;

    if (e->path_read)
        return 0;
    free(e->path);
    e->name_count = e->name_room = 0;
    e->path = malloc((s->path_count + 1) * sizeof *e->path);
    numbers = malloc((s->path_count + 1) * sizeof *numbers);
    rc = e->path && numbers && widen_names(e) ? count_names(e, s, numbers) : -ENOMEM;
    if (rc == 0)
        place_names(e, s, numbers);
    e->path_read = rc == 0;
    free(numbers);
    return rc;
}

/* Pages and screens, or screens alone; those that are called so stand among them. */
static int read_pages(const struct rule_subject *s, bool screens, bool *done, struct rule_event_list *out)
{
    const struct str called = screens ? STR_LIT("screen") : STR_LIT("page");

    if (*done)
        return 0;
    free(out->v);
    *out = (struct rule_event_list){.v = malloc((s->path_count + 1) * sizeof *out->v)};
    if (!out->v)
        return -ENOMEM;
    for (size_t i = 0; i < s->path_count; i++) {
        const struct path_entry *entry = &s->path[i];
        enum event_type type;
        struct str name;

        if (!event_peek(entry->bytes, &type, &name))
            return -EIO;
        if (type == EVENT_SCREEN || (type == EVENT_PAGE && !screens) || str_eq(name, called))
            out->v[out->n++] = (struct rule_event){.key = &entry->key, .entry = entry};
    }
    *done = true;
    return 0;
}

/* --- what orders stand for --------------------------------------------------------------------------------------- */

/* The statement that placed it: the earliest at that time that can have. */
static struct event_key placed_key(const struct order *o)
{
    for (size_t i = 0; i < o->statement_count; i++)
        if (o->statements[i]->time == o->placed_at)
            return event_key(o->statements[i]);
    return (struct event_key){.time = o->placed_at};
}

/* The best statement that it is cancelled; only of one that was placed. */
static bool cancelled_key(const struct order *o, struct event_key *out)
{
    const struct event *best = NULL;

    if (o->placed_at == TIME_NONE || o->counted)
        return false;
    for (size_t i = 0; i < o->statement_count; i++) {
        const struct event *e = o->statements[i];
        enum order_status status = STATUS_NONE;

        if (order_stated(e, &status) && status == STATUS_CANCELLED && (!best || e->trust >= best->trust))
            best = e;
    }
    if (best)
        *out = event_key(best);
    return best != NULL;
}

static int compare_events(const void *a, const void *b)
{
    const struct rule_event *x = a, *y = b;

    return event_key_cmp(x->key, y->key);
}

static void sort_list(struct rule_event_list *l)
{
    if (l->n > 1)
        qsort(l->v, l->n, sizeof *l->v, compare_events);
}

static size_t count_refunds(const struct rule_subject *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->order_count; i++)
        n += s->orders[i].refund_count;
    return n;
}

static void add_order(struct rule_events *e, const struct order *o, struct event_key **keys)
{
    struct event_key *key = *keys;

    if (o->counted) {
        *key = placed_key(o);
        e->completed.v[e->completed.n++] = (struct rule_event){.key = key++, .order = o};
    } else if (cancelled_key(o, key)) {
        e->cancelled.v[e->cancelled.n++] = (struct rule_event){.key = key++, .order = o};
    }
    *keys = key;
    for (size_t i = 0; i < o->refund_count; i++)
        e->refunded.v[e->refunded.n++] =
            (struct rule_event){.key = &o->refunds[i].key, .order = o, .refund = &o->refunds[i]};
}

static int read_orders(struct rule_events *e, const struct rule_subject *s)
{
    const size_t n = s->order_count;
    struct event_key *keys;

    if (e->orders_read)
        return 0;
    free(e->orders);
    free(e->order_keys);
    e->orders = malloc((2 * n + count_refunds(s) + 1) * sizeof *e->orders);
    e->order_keys = keys = malloc((n + 1) * sizeof *e->order_keys);
    if (!e->orders || !e->order_keys)
        return -ENOMEM;
    e->completed = (struct rule_event_list){.v = e->orders};
    e->cancelled = (struct rule_event_list){.v = e->orders + n};
    e->refunded = (struct rule_event_list){.v = e->orders + 2 * n};
    for (size_t i = 0; i < n; i++)
        add_order(e, &s->orders[i], &keys);
    sort_list(&e->completed);
    sort_list(&e->cancelled);
    sort_list(&e->refunded);
    e->orders_read = true;
    return 0;
}

static const struct rule_event_list *list_of_orders(const struct rule_events *e, struct str name)
{
    if (str_is(name, "Order Completed"))
        return &e->completed;
    if (str_is(name, "Order Cancelled"))
        return &e->cancelled;
    return str_is(name, "Order Refunded") ? &e->refunded : NULL;
}

/* Those of the path that was read. */
static int list_of_path(struct rule_events *e, const struct rule_subject *s, struct str name,
                        struct rule_event_list *out)
{
    const struct rule_event_list *l;
    int rc;

    if (str_is(name, "page")) {
        l = &e->pages;
        rc = read_pages(s, false, &e->pages_read, &e->pages);
    } else if (str_is(name, "screen")) {
        l = &e->screens;
        rc = read_pages(s, true, &e->screens_read, &e->screens);
    } else {
        uint32_t number;

        *out = (struct rule_event_list){0};
        rc = read_path(e, s);
        if (rc != 0)
            return rc;
        number = e->name_table[find_name(e, name)];
        if (number != NO_NAME)
            *out = (struct rule_event_list){.v = e->path + e->names[number].from, .n = e->names[number].n};
        return 0;
    }
    if (rc == 0)
        *out = *l;
    return rc;
}

int rule_events_named(struct rule_subject *s, struct str name, struct rule_event_list *out)
{
    struct rule_events *e = rule_events_of(s);
    const struct rule_event_list *l = e ? list_of_orders(e, name) : NULL;
    int rc;

    if (!e)
        return -ENOMEM;
    if (l) {
        rc = read_orders(e, s);
        *out = *l;
        return rc;
    }
    rc = list_of_path(e, s, name, out);
    if (rc == 0 && s->past) {
        rc = past_list(s->past, name, &out->past);
        out->before = rc == 0 ? past_count(out->past) : 0;
    }
    return rc;
}

const struct event_key *rule_events_key(const struct rule_event_list *l, size_t i)
{
    return i < l->before ? past_key(l->past, i) : l->v[i - l->before].key;
}

size_t rule_events_after(const struct rule_event_list *l, int64_t ms)
{
    size_t low = 0, high = rule_events_count(l);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (rule_events_key(l, middle)->time <= ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t rule_events_behind(const struct rule_event_list *l, const struct event_key *key)
{
    size_t low = 0, high = rule_events_count(l);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (event_key_cmp(rule_events_key(l, middle), key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* --- money ------------------------------------------------------------------------------------------------------- */

static int compare_money(const void *a, const void *b)
{
    const struct rule_money_moved *x = a, *y = b;

    return x->time != y->time ? (x->time < y->time ? -1 : 1) : 0;
}

/* What the facts `gross`, `spent` and `items` are the sums of. */
static size_t money_of_order(const struct order *o, struct rule_money_moved *v)
{
    size_t n = 0;

    if (o->counted) {
        v[n] = (struct rule_money_moved){.time = o->placed_at};
        v[n].spent = v[n].gross = o->home_currency ? o->total : 0;
        for (size_t i = 0; i < o->item_count; i++)
            v[n].items += order_pieces(&o->items[i]);
        n++;
    }
    if (o->home_currency && (o->counted || o->credit_note))
        for (size_t i = 0; i < o->refund_count; i++)
            v[n++] = (struct rule_money_moved){.time = o->refunds[i].key.time, .spent = -o->refunds[i].amount};
    return n;
}

int rule_money_of(struct rule_subject *s, const struct rule_money_moved **out, size_t *n)
{
    struct rule_events *e = rule_events_of(s);

    if (!e)
        return -ENOMEM;
    if (!e->money_read) {
        e->money = malloc((s->order_count + count_refunds(s) + 1) * sizeof *e->money);
        if (!e->money)
            return -ENOMEM;
        for (size_t i = 0; i < s->order_count; i++)
            e->money_count += money_of_order(&s->orders[i], e->money + e->money_count);
        if (e->money_count > 1)
            qsort(e->money, e->money_count, sizeof *e->money, compare_money);
        e->money_read = true;
    }
    *out = e->money;
    *n = e->money_count;
    return 0;
}
