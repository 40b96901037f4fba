/* Properties of events: fields that every event of its kind has, else what the client sent. An event is taken apart
 * once for all rules, as long as there is room to keep it. Pure but for the keys of personal properties; the thread of
 * the evaluation. */
#include <assert.h>
#include <errno.h>

#include "profiler/render.h"
#include "profiler/rule_eval_inside.h"
#include "proto/codec.h"

/* --- taking apart ------------------------------------------------------------------------------------------------ */

/* Where the event is taken apart: kept for further questions while there is room, else for as long as no other event is
 * asked for. NULL: memory is out. */
static struct rule_opened *place_for(struct rule_events *shared, struct rule_event *e)
{
    struct rule_opened *o = &shared->one;
    struct arena *a = &shared->passing;

    if (shared->kept.used < LIMIT_RULE_KEPT) {
        a = &shared->kept;
        o = arena_alloc(a, sizeof *o);
        if (!o)
            return NULL;
    } else {
        arena_reset(a);
        shared->one_of = e;
    }
    *o = (struct rule_opened){.arena = a};
    return o;
}

static int unpack(struct rule_events *shared, struct rule_event *e, struct rule_opened **out)
{
    struct rule_opened *o = place_for(shared, e);
    int rc = 0;

    if (!o)
        return -ENOMEM;
    if (e->entry)
        rc = event_unpack(e->entry->bytes, o->arena, &o->event);
    else
        o->event = *e->order->best;
    if (rc != 0) {
        shared->one_of = NULL;
        return rc < 0 ? rc : -EIO;
    }
    if (o != &shared->one)
        e->opened = o;
    *out = o;
    return 0;
}

/* What was sealed stands where it belongs. */
static int unseal(const struct rule_subject *s, struct rule_opened *o)
{
    int rc = 0;

    if (o->unsealed)
        return 0;
    if (str_has(o->event.sealed) && s->rules->traits)
        rc = traits_unseal(&o->event, s->rules->traits, o->arena);
    o->unsealed = true;
    o->read = false; /* there may be more members */
    return rc < 0 ? rc : 0;
}

static int open_event(struct eval *e, struct rule_event *event, bool personal, struct rule_opened **out)
{
    struct rule_events *shared = rule_events_of(e->s);
    struct rule_opened *o;
    int rc = 0;

    if (!shared)
        return -ENOMEM;
    o = event->opened ? event->opened : shared->one_of == event ? &shared->one : NULL;
    if (!o)
        rc = unpack(shared, event, &o);
    if (rc == 0 && personal)
        rc = unseal(e->s, o);
    *out = o;
    return rc;
}

/* --- members of the properties ----------------------------------------------------------------------------------- */

static int read_member(const struct json *j, struct arena *a, struct rule_member *m)
{
    const bool nested = j->type >= JSON_ARRAY;
    int rc = 0;

    *m = (struct rule_member){.key = arena_dup(a, j->key)};
    if (nested) {
        m->value.type = j->type == JSON_ARRAY ? RULE_LIST : RULE_MAP;
        m->raw = arena_dup(a, j->raw);
    } else {
        rc = value_of_json(j, a, &m->value);
    }
    if (rc == 0 && (!m->key.p || (nested && !m->raw.p)))
        rc = -ENOMEM;
    return rc;
}

/* The properties as a tree; NULL: there are none, or they are larger than rules look into. */
static int parse(struct rule_events *shared, struct str json, const struct json **root)
{
    int rc;

    *root = NULL;
    if (json.n == 0)
        return 0;
    if (!shared->json) {
        shared->json = json_parser_new();
        if (!shared->json)
            return -ENOMEM;
        json_parser_limit(shared->json, LIMIT_RULE_VALUES);
    }
    buf_reset(&shared->text);
    if (!buf_room(&shared->text, json.n + JSON_PADDING))
        return -ENOMEM;
    buf_add_str(&shared->text, json);
    memset(shared->text.p + json.n, 0, JSON_PADDING);
    rc = json_parse(shared->json, shared->text.p, json.n, root, NULL);
    if (rc != JSON_OK)
        *root = NULL;
    return rc < 0 ? rc : 0;
}

static int read_members(struct rule_events *shared, struct rule_opened *o)
{
    const struct json *root;
    int rc;

    if (o->read)
        return 0;
    o->member_count = 0;
    rc = parse(shared, o->event.properties, &root);
    if (rc == 0 && root && root->type == JSON_OBJECT) {
        o->members = arena_alloc(o->arena, (root->count + 1) * sizeof *o->members);
        if (!o->members)
            return -ENOMEM;
        for (const struct json *j = root->child; j && rc == 0; j = j->next)
            rc = read_member(j, o->arena, &o->members[o->member_count++]);
    }
    o->read = rc == 0;
    return rc;
}

static int member_of(struct eval *e, struct rule_opened *o, struct str name, struct rule_value *out)
{
    struct rule_events *shared = e->s->events;
    int rc = read_members(shared, o);

    /* Of members of one name the last one stands. */
    for (size_t i = rc == 0 ? o->member_count : 0; i-- > 0;) {
        const struct rule_member *m = &o->members[i];

        if (!str_eq(m->key, name))
            continue;
        *out = m->value;
        if (m->value.type != RULE_LIST && m->value.type != RULE_MAP)
            return 0;
        *out = (struct rule_value){0};
        rc = value_parse(shared->json, &shared->text, m->raw, e->arena, out);
        return rc < 0 ? rc : 0;
    }
    return rc;
}

/* --- fields ------------------------------------------------------------------------------------------------------ */

enum field_kind { FIELD_TEXT, FIELD_AMOUNT, FIELD_COUNT };

struct field {
    const char *name;
    enum field_kind kind;
    size_t at;
};

#define TEXT(member)                                                                                                   \
    {                                                                                                                  \
#member, FIELD_TEXT, offsetof(struct HOLDER, member)                                                           \
    }
#define AMOUNT(member)                                                                                                 \
    {                                                                                                                  \
#member, FIELD_AMOUNT, offsetof(struct HOLDER, member)                                                         \
    }

#define HOLDER item
static const struct field item_fields[] = {
    TEXT(product_id), TEXT(sku),
    TEXT(name),       TEXT(category),
    TEXT(style),      TEXT(brand),
    TEXT(color),      TEXT(size),
    AMOUNT(price),    {"quantity", FIELD_COUNT, offsetof(struct item, quantity)},
    AMOUNT(cost),
};
#undef HOLDER
#define HOLDER event
static const struct field event_fields[] = {
    TEXT(url),
    TEXT(path),
    TEXT(title),
    TEXT(module),
    TEXT(came_from),
    TEXT(referrer),
    TEXT(source),
    TEXT(shared_by),
    TEXT(locale),
    TEXT(message_id),
    {"campaign", FIELD_TEXT, offsetof(struct event, campaign.name)},
};
#undef HOLDER
#define HOLDER place
static const struct field place_fields[] = {TEXT(store_id), TEXT(store_name), TEXT(city), TEXT(district)};
#undef HOLDER
#define HOLDER order_fields
static const struct field order_event_fields[] = {
    TEXT(order_id),   AMOUNT(total), AMOUNT(revenue), AMOUNT(subtotal), AMOUNT(discount),
    AMOUNT(shipping), AMOUNT(tax),   TEXT(currency),  TEXT(coupon),     TEXT(channel),
};
#undef HOLDER
#define HOLDER order
static const struct field order_fields[] = {
    TEXT(order_id), AMOUNT(revenue), AMOUNT(subtotal), AMOUNT(discount), AMOUNT(shipping),
    AMOUNT(tax),    TEXT(coupon),    TEXT(channel),    TEXT(shared_by),
};
#undef HOLDER

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])

static int set_number(struct eval *e, struct rule_number v, struct rule_value *out)
{
    struct cell c;
    int rc = cell_number(e, &c, v);

    *out = c.v;
    return rc;
}

static void set_text(struct str s, struct rule_value *out)
{
    *out = (struct rule_value){0};
    if (str_has(s))
        *out = (struct rule_value){.type = RULE_STRING, .text = s};
}

static int set_amount(struct eval *e, money micros, struct rule_value *out)
{
    return set_number(e, rule_number_of(micros, MICROS), out);
}

/* Sets *out where the table has the name and the holder a value. */
static int field_of(struct eval *e, const struct field *table, size_t n, const void *holder, struct str name,
                    struct rule_value *out)
{
    for (size_t i = 0; i < n; i++) {
        const char *p = (const char *)holder + table[i].at;
        const struct opt *o = (const void *)p;

        if (!str_is(name, table[i].name))
            continue;
        if (table[i].kind == FIELD_TEXT)
            set_text(*(const struct str *)(const void *)p, out);
        else if (o->has)
            return set_number(e, rule_number_of(o->v, table[i].kind == FIELD_AMOUNT ? MICROS : 1), out);
        return 0;
    }
    return 0;
}

static int item_member(struct eval *e, const struct field *f, const struct item *it, struct rule_value *out)
{
    set_text(str_of(f->name), &out[0]);
    out[1] = (struct rule_value){0};
    return field_of(e, f, 1, it, str_of(f->name), &out[1]);
}

/* All items, each a map of what is known of it. */
static int items_of(struct eval *e, const struct item *items, size_t n, struct rule_value *out)
{
    struct rule_value *v = arena_alloc(e->arena, (n + 1) * sizeof *v);

    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct rule_value *members = arena_alloc(e->arena, 2 * LENGTH(item_fields) * sizeof *members);
        size_t m = 0;

        if (!members)
            return -ENOMEM;
        for (size_t k = 0; k < LENGTH(item_fields); k++) {
            int rc = item_member(e, &item_fields[k], &items[i], members + m);

            if (rc != 0)
                return rc;
            if (members[m + 1].type != RULE_ANY)
                m += 2;
        }
        v[i] = (struct rule_value){.type = RULE_MAP, .list = members, .n = m};
    }
    *out = (struct rule_value){.type = RULE_LIST, .list = v, .n = n};
    return 0;
}

static int field_of_items(struct eval *e, const struct item *items, size_t n, struct str name, struct rule_value *out)
{
    if (n == 0)
        return 0;
    if (str_is(name, "items"))
        return items_of(e, items, n, out);
    return field_of(e, item_fields, LENGTH(item_fields), &items[0], name, out);
}

static int field_of_place(struct eval *e, const struct place *p, struct str name, struct rule_value *out)
{
    if (str_is(name, "store")) {
        set_text(p->store_id.n ? p->store_id : p->store_name, out);
        return 0;
    }
    return field_of(e, place_fields, LENGTH(place_fields), p, name, out);
}

/* What an order says of itself; only of its refund `amount` and `refund_id` are. */
static int field_of_order(struct eval *e, const struct rule_event *event, struct str name, struct rule_value *out)
{
    const struct order *o = event->order;

    if (str_is(name, "total"))
        return set_amount(e, o->total, out);
    if (str_is(name, "refunded"))
        return set_amount(e, o->refunded, out);
    if (event->refund && str_is(name, "amount"))
        return set_amount(e, event->refund->amount, out);
    if (event->refund && str_is(name, "refund_id"))
        set_text(event->refund->id, out);
    else if (str_is(name, "currency"))
        set_text((struct str){o->currency, 3}, out);
    else if (str_is(name, "status"))
        set_text(str_of(render_status(o->status)), out);
    if (out->type != RULE_ANY)
        return 0;
    int rc = field_of(e, order_fields, LENGTH(order_fields), o, name, out);
    if (rc == 0 && out->type == RULE_ANY)
        rc = field_of_place(e, &o->place, name, out);
    if (rc == 0 && out->type == RULE_ANY)
        rc = field_of_items(e, o->items, o->item_count, name, out);
    return rc;
}

static int field_of_event(struct eval *e, const struct event *ev, struct str name, struct rule_value *out)
{
    int rc = field_of_items(e, ev->items, ev->item_count, name, out);

    if (rc == 0 && out->type == RULE_ANY)
        rc = field_of(e, event_fields, LENGTH(event_fields), ev, name, out);
    if (rc == 0 && out->type == RULE_ANY)
        rc = field_of_place(e, &ev->place, name, out);
    if (rc == 0 && out->type == RULE_ANY)
        rc = field_of(e, order_event_fields, LENGTH(order_event_fields), &ev->order, name, out);
    if (rc == 0 && out->type == RULE_ANY && str_is(name, "status"))
        set_text(str_of(render_status(ev->order.status)), out);
    if (rc == 0 && out->type == RULE_ANY && str_is(name, "name") && ev->type != EVENT_TRACK)
        set_text(ev->name, out);
    return rc;
}

/* --- properties -------------------------------------------------------------------------------------------------- */

/* Texts of the first item come before anything else of that name, so the event need not be taken apart for them. */
static bool peek(const struct rule_event *event, struct str name, struct rule_value *out)
{
    struct str text;

    if (!event->entry || event->opened || !event_peek_item(event->entry->bytes, name, &text))
        return false;
    set_text(text, out);
    return true;
}

int event_property(struct eval *e, struct rule_event *event, struct str name, bool personal, struct rule_value *out)
{
    struct rule_opened *o;
    int rc;

    *out = (struct rule_value){0};
    if (str_is(name, "time")) {
        *out = (struct rule_value){.type = RULE_TIME, .ms = event->key->time};
        return 0;
    }
    if (event->order) {
        rc = field_of_order(e, event, name, out);
        if (rc != 0 || out->type != RULE_ANY)
            return rc;
    }
    if (!personal && peek(event, name, out))
        return 0;
    rc = open_event(e, event, personal, &o);
    if (rc == 0 && event->entry)
        rc = field_of_event(e, &o->event, name, out);
    if (rc == 0 && out->type == RULE_ANY)
        rc = member_of(e, o, name, out);
    if (rc == 0 && o == &e->s->events->one)
        rc = value_dup(e->arena, out);
    return rc;
}

/* --- further in -------------------------------------------------------------------------------------------------- */

static void step_into(const struct rule_value *key, struct rule_value *v)
{
    const struct rule_value from = *v;

    *v = (struct rule_value){0};
    if (from.type == RULE_LIST && key->type == RULE_NUMBER && rule_number_whole(*key->number)) {
        const __int128 i = rule_number_cut(*key->number);

        if (i >= 0 && i < (__int128)from.n)
            *v = from.list[i];
    } else if (from.type == RULE_MAP) {
        for (size_t i = from.n; i >= 2; i -= 2)
            if (rule_value_eq(&from.list[i - 2], key)) {
                *v = from.list[i - 1];
                return;
            }
    }
}

int value_further(struct eval *e, const struct rule_node *n, size_t kid, struct rule_value *v)
{
    for (; kid < n->kid_count; kid++) {
        struct cell key;
        int rc = eval_kid(e, n, kid, &key);

        if (rc != 0)
            return rc;
        if (key.moves)
            eval_wake_in(e, 1);
        step_into(&key.v, v);
    }
    return 0;
}

void value_as(enum rule_type type, struct rule_value *v)
{
    struct rule_value time;

    if (type == RULE_ANY || v->type == type)
        return;
    if (type == RULE_TIME && v->type == RULE_STRING && value_time(v->text, &time))
        *v = time;
    else
        *v = (struct rule_value){0};
}
