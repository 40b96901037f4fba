/* The names that rules have built in: facts, the groups of `by` and their figures, properties of events. Any thread. */
#include "profiler/rule_check.h"

#include <assert.h>
#include <stdio.h>

const struct rule_fact_kind rule_facts[RULE_FACTS] = {
    [FACT_FIRST_SEEN] = {"first_seen", RULE_TIME, true, "time of the first session event"},
    [FACT_LAST_SEEN] = {"last_seen", RULE_TIME, true, "time of the last session event"},
    [FACT_FIRST_EVENT_AT] = {"first_event_at", RULE_TIME, true, "time of the first event of any kind"},
    [FACT_LAST_EVENT_AT] = {"last_event_at", RULE_TIME, true, "time of the last event of any kind"},
    [FACT_EVENTS] = {"events", RULE_NUMBER, false, "all events"},
    [FACT_SESSIONS] = {"sessions", RULE_NUMBER, false, "visits"},
    [FACT_PAGES] = {"pages", RULE_NUMBER, false, "page and screen views"},
    [FACT_PRODUCTS_VIEWED] = {"products_viewed", RULE_NUMBER, false, "events Product Viewed"},
    [FACT_PRODUCTS_ADDED] = {"products_added", RULE_NUMBER, false, "events Product Added"},
    [FACT_PRODUCTS_REMOVED] = {"products_removed", RULE_NUMBER, false, "events Product Removed"},
    [FACT_CHECKOUTS] = {"checkouts", RULE_NUMBER, false, "events Checkout Started"},
    [FACT_ORDERS] = {"orders", RULE_NUMBER, false, "counted orders: placed and not cancelled"},
    [FACT_ORDERS_CANCELLED] = {"orders_cancelled", RULE_NUMBER, false, "orders placed, then cancelled"},
    [FACT_ORDERS_REFUNDED] = {"orders_refunded", RULE_NUMBER, false, "counted orders refunded in full"},
    [FACT_CREDIT_NOTES] = {"credit_notes", RULE_NUMBER, false, "refunds without an order"},
    [FACT_ITEMS] = {"items", RULE_NUMBER, false, "pieces in counted orders"},
    [FACT_GROSS] = {"gross", RULE_NUMBER, false, "totals of counted orders"},
    [FACT_REFUNDED] = {"refunded", RULE_NUMBER, false, "their refunds, and credit notes"},
    [FACT_SPENT] = {"spent", RULE_NUMBER, false, "gross less refunded"},
    [FACT_DISCOUNT] = {"discount", RULE_NUMBER, false, "discounts of counted orders"},
    [FACT_COST] = {"cost", RULE_NUMBER, true, "cost of the items of counted orders, when all are known"},
    [FACT_MARGIN] = {"margin", RULE_NUMBER, true, "spent less cost"},
    [FACT_FIRST_ORDER_AT] = {"first_order_at", RULE_TIME, true, "when the first counted order was placed"},
    [FACT_LAST_ORDER_AT] = {"last_order_at", RULE_TIME, true, "when the last counted order was placed"},
    [FACT_MEAN_DAYS_BETWEEN_ORDERS] = {"mean_days_between_orders", RULE_NUMBER, true,
                                       "days between counted orders, from two on"},
    [FACT_REFERRED_BY] = {"referred_by", RULE_STRING, true, "who shared the link by which they came first"},
};

const char *const rule_by_names[RULE_BYS] = {
    [BY_CATEGORY] = "category", [BY_BRAND] = "brand",     [BY_STYLE] = "style",       [BY_COLOR] = "color",
    [BY_SIZE] = "size",         [BY_PRODUCT] = "product", [BY_STORE] = "store",       [BY_CITY] = "city",
    [BY_DISTRICT] = "district", [BY_CHANNEL] = "channel", [BY_CAMPAIGN] = "campaign", [BY_MODULE] = "module",
    [BY_HOUR] = "hour",         [BY_WEEKDAY] = "weekday",
};

const char *const rule_figure_names[FIGURES_NONE] = {
    [FIGURE_VIEWS] = "views",   [FIGURE_ADDED] = "added",       [FIGURE_ORDERED] = "ordered",
    [FIGURE_AMOUNT] = "amount", [FIGURE_ORDERS] = "orders",     [FIGURE_PAGES] = "pages",
    [FIGURE_COUNT] = "count",   [FIGURE_GROSS] = "gross",       [FIGURE_REFUNDED] = "refunded",
    [FIGURE_SPENT] = "spent",   [FIGURE_DISCOUNT] = "discount",
};

enum rule_fact rule_fact_find(struct str name)
{
    enum rule_fact i = 0;

    while (i < RULE_FACTS && !str_is(name, rule_facts[i].name))
        i++;
    return i;
}

unsigned rule_by_find(struct str name)
{
    unsigned i = 0;

    while (i < RULE_BYS && !str_is(name, rule_by_names[i]))
        i++;
    return i;
}

enum rule_figure rule_figure_find(struct str name)
{
    enum rule_figure i = 0;

    while (i < FIGURES_NONE && !str_is(name, rule_figure_names[i]))
        i++;
    return i;
}

bool rule_by_has(unsigned group, enum rule_figure figure)
{
    assert(group < RULE_BYS);
    if (group <= BY_PRODUCT)
        return figure <= FIGURE_AMOUNT;
    if (group <= BY_CAMPAIGN)
        return figure == FIGURE_ORDERS || figure == FIGURE_AMOUNT;
    return figure == (group == BY_MODULE ? FIGURE_PAGES : FIGURE_COUNT);
}

bool rule_amounts_have(enum rule_figure figure)
{
    return figure == FIGURE_GROSS || figure == FIGURE_REFUNDED || figure == FIGURE_SPENT || figure == FIGURE_DISCOUNT;
}

enum rule_type rule_property_type(struct str name)
{
    static const char *const numbers[] = {"price",    "cost",     "revenue", "total",   "subtotal",
                                          "discount", "shipping", "tax",     "quantity"};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (str_is(name, numbers[i]))
            return RULE_NUMBER;
    return str_is(name, "time") ? RULE_TIME : str_is(name, "items") ? RULE_LIST : RULE_ANY;
}

struct rule_node *rule_fail_group(struct rule_checker *c, struct rule_place at, struct str name)
{
    struct rule_near near;

    rule_near_init(&near, name);
    for (unsigned i = 0; i < RULE_BYS; i++)
        rule_near_offer(&near, str_of(rule_by_names[i]));
    return rule_fail_near(c->source, at, rule_near_best(&near), "by has no group of that name");
}

struct rule_node *rule_fail_figure(struct rule_checker *c, struct rule_place at, unsigned group, struct str name)
{
    struct rule_near near;
    char list[128];
    size_t n = 0;

    rule_near_init(&near, name);
    for (enum rule_figure i = 0; i < FIGURES_NONE; i++) {
        if (group == RULE_BYS ? !rule_amounts_have(i) : !rule_by_has(group, i))
            continue;
        rule_near_offer(&near, str_of(rule_figure_names[i]));
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", rule_figure_names[i]);
        assert(n < sizeof list);
    }
    return rule_fail_near(c->source, at, rule_near_best(&near), "there is no such figure here; there are: %s", list);
}
