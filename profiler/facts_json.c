/* The facts as people and rules read them: the JSON object of the interface, every fact in it. Pure. */
#include "common/json.h"
#include "profiler/facts_maps.h"

static void write_count(struct buf *b, const char *key, uint64_t v)
{
    json_write_key(b, key);
    num_write_int(b, (int64_t)v);
}

static void write_signed(struct buf *b, const char *key, int64_t v)
{
    json_write_key(b, key);
    num_write_int(b, v);
}

static void write_money(struct buf *b, const char *key, money v)
{
    json_write_key(b, key);
    num_write_micros(b, v);
}

static void write_time(struct buf *b, const char *key, int64_t ms)
{
    json_write_key(b, key);
    if (ms == TIME_NONE) {
        buf_add_text(b, "null");
        return;
    }
    buf_add_char(b, '"');
    time_write(b, ms);
    buf_add_char(b, '"');
}

/* A key that a client chose. */
static void write_name(struct buf *b, struct str name, bool first)
{
    if (!first)
        buf_add_char(b, ',');
    json_write_str(b, name);
    buf_add_char(b, ':');
}

static void write_tally(struct buf *b, enum facts_map map, const struct tally *t)
{
    buf_add_char(b, '{');
    if (map == BY_MODULE) {
        write_signed(b, "pages", t->pages);
    } else if (map >= ORDER_MAP_FIRST) {
        write_signed(b, "orders", t->orders);
        write_money(b, "amount", t->amount);
    } else {
        write_signed(b, "views", t->views);
        write_signed(b, "added", t->added);
        write_signed(b, "ordered", t->ordered);
        write_money(b, "amount", t->amount);
    }
    buf_add_char(b, '}');
}

static void write_map(struct buf *b, enum facts_map map, const struct tally_map *m)
{
    json_write_key(b, facts_map_names[map]);
    buf_add_char(b, '{');
    for (size_t i = 0; i < m->n; i++) {
        write_name(b, m->v[i].name, i == 0);
        write_tally(b, map, &m->v[i]);
    }
    buf_add_char(b, '}');
}

/* Counters by number, those that are 0 left out. */
static void write_clock(struct buf *b, const char *key, const uint64_t *v, int n, int from)
{
    bool first = true;

    json_write_key(b, key);
    buf_add_char(b, '{');
    for (int i = 0; i < n; i++) {
        if (v[i] == 0)
            continue;
        buf_add_text(b, first ? "\"" : ",\"");
        num_write_int(b, i + from);
        buf_add_text(b, "\":");
        num_write_int(b, (int64_t)v[i]);
        first = false;
    }
    buf_add_char(b, '}');
}

static void write_currencies(struct buf *b, const struct facts *f)
{
    json_write_key(b, "amounts_by_currency");
    buf_add_char(b, '{');
    for (size_t i = 0; i < f->currency_count; i++) {
        const struct currency_sum *c = &f->currencies[i];

        write_name(b, (struct str){c->currency, 3}, i == 0);
        buf_add_char(b, '{');
        write_money(b, "gross", c->gross);
        write_money(b, "refunded", c->refunded);
        write_money(b, "spent", c->gross - c->refunded);
        write_money(b, "discount", c->discount);
        buf_add_char(b, '}');
    }
    buf_add_char(b, '}');
}

static void write_counts(struct buf *b, const struct facts *f)
{
    write_count(b, "events", f->events);
    write_count(b, "sessions", f->sessions);
    write_count(b, "pages", f->pages);
    write_count(b, "products_viewed", f->products_viewed);
    write_count(b, "products_added", f->products_added);
    write_count(b, "products_removed", f->products_removed);
    write_count(b, "checkouts", f->checkouts);
    write_count(b, "orders", f->orders);
    write_count(b, "orders_cancelled", f->orders_cancelled);
    write_count(b, "orders_refunded", f->orders_refunded);
    write_count(b, "credit_notes", f->credit_notes);
    write_signed(b, "items", f->items);
}

static void write_amounts(struct buf *b, const struct facts *f)
{
    money spent = f->gross - f->refunded;

    write_money(b, "gross", f->gross);
    write_money(b, "refunded", f->refunded);
    write_money(b, "spent", spent);
    write_currencies(b, f);
    write_money(b, "discount", f->discount);
    if (f->items_without_cost > 0) {
        json_write_key(b, "cost");
        buf_add_text(b, "null");
        json_write_key(b, "margin");
        buf_add_text(b, "null");
        return;
    }
    write_money(b, "cost", f->cost);
    write_money(b, "margin", spent - f->cost);
}

static void write_mean_days(struct buf *b, const struct facts *f)
{
    json_write_key(b, "mean_days_between_orders");
    if (f->orders < 2)
        buf_add_text(b, "null");
    else
        num_write_double(b,
                         (double)(f->last_order_at - f->first_order_at) / (double)TIME_DAY / (double)(f->orders - 1));
}

void facts_write_json(const struct facts *f, const struct fold_rules *rules, struct buf *b)
{
    (void)rules; /* amounts stand without their currency, which the configuration says */
    buf_add_char(b, '{');
    write_time(b, "first_seen", f->first_seen);
    write_time(b, "last_seen", f->last_seen);
    write_time(b, "first_event_at", f->first_event_at);
    write_time(b, "last_event_at", f->last_event_at);
    write_counts(b, f);
    write_amounts(b, f);
    write_time(b, "first_order_at", f->first_order_at);
    write_time(b, "last_order_at", f->last_order_at);
    write_mean_days(b, f);
    json_write_key(b, "referred_by");
    if (str_has(f->referred_by))
        json_write_str(b, f->referred_by);
    else
        buf_add_text(b, "null");
    json_write_key(b, "by");
    buf_add_char(b, '{');
    for (int map = 0; map < FACTS_MAPS; map++)
        write_map(b, (enum facts_map)map, &f->by[map]);
    write_clock(b, "hour", f->hour, 24, 0);
    write_clock(b, "weekday", f->weekday, 7, 1);
    buf_add_text(b, "}}");
}
