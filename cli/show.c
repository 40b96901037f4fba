/* Profiles, paths, orders and scenes as a person reads them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/show.h"

#define TOP_NAMES 5

void show_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        /* A terminal obeys control characters, also those of two bytes: U+0080 to U+009F. */
        if (c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0)
            c = (unsigned char)s.p[++i];
        if (c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xa0 && i > 0 && (unsigned char)s.p[i - 1] == 0xc2))
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

static struct str text_of(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);

    return v && (v->type == JSON_STRING || v->type == JSON_NUMBER) ? v->text : STR_NONE;
}

static double number_of(const struct json *o, const char *key)
{
    char text[64];

    snprintf(text, sizeof text, "%.*s", STR_ARG(text_of(o, key)));
    return strtod(text, NULL);
}

static void show_field(const char *label, struct str value)
{
    if (!str_has(value))
        return;
    printf("  %-22s ", label);
    show_text(value);
    putchar('\n');
}

/* 2026-01-31T10:00:00.000Z is easier to read as 2026-01-31 10:00:00. */
static void show_time(struct str t)
{
    if (t.n >= 19)
        printf("%.10s %.8s", t.p, t.p + 11);
    else
        printf("%-19s", "-");
}

static void show_time_field(const char *label, struct str t)
{
    if (!str_has(t))
        return;
    printf("  %-22s ", label);
    show_time(t);
    putchar('\n');
}

struct named {
    const struct json *v;
    double weight;
};

static int heavier(const void *a, const void *b)
{
    const struct named *x = a, *y = b;

    return x->weight < y->weight ? 1 : x->weight > y->weight ? -1 : str_cmp(x->v->key, y->v->key);
}

/* The names under which most counts, by the first of the fields that is there. */
static void show_top(const struct json *by, const char *group)
{
    static const char *const fields[] = {"amount", "orders", "ordered", "views", "added", "pages"};
    const struct json *map = json_get(by, group);

    if (!map || !map->count)
        return;
    struct named *v = calloc(map->count, sizeof *v);
    if (!v)
        return;
    size_t n = 0;
    for (const struct json *m = map->child; m; m = m->next, n++) {
        v[n].v = m;
        for (size_t f = 0; f < sizeof fields / sizeof *fields && v[n].weight == 0; f++)
            v[n].weight = number_of(m, fields[f]);
    }
    qsort(v, n, sizeof *v, heavier);
    printf("  by %-19s ", group);
    for (size_t i = 0; i < n && i < TOP_NAMES; i++) {
        printf("%s", i ? ", " : "");
        show_text(v[i].v->key);
        printf(" (%.10g)", v[i].weight);
    }
    printf("%s\n", n > TOP_NAMES ? ", …" : "");
    free(v);
}

static void show_facts(const struct json *facts)
{
    static const char *const times[] = {"first_seen", "last_seen", "first_order_at", "last_order_at"};
    static const char *const numbers[] = {"events",          "sessions",     "pages",    "products_viewed",
                                          "products_added",  "checkouts",    "orders",   "orders_cancelled",
                                          "orders_refunded", "credit_notes", "items",    "gross",
                                          "refunded",        "spent",        "discount", "mean_days_between_orders",
                                          "referred_by"};
    static const char *const groups[] = {"category", "brand", "product", "channel",
                                         "campaign", "city",  "store",   "module"};

    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        show_time_field(times[i], text_of(facts, times[i]));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct str v = text_of(facts, numbers[i]);
        if (!str_is(v, "0"))
            show_field(numbers[i], v);
    }
    const struct json *by = json_get(facts, "by");
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        show_top(by, groups[i]);
}

void show_profile(const struct json *profile)
{
    show_text(text_of(profile, "id"));
    printf("  (version %.*s)\n", STR_ARG(text_of(profile, "version")));
    show_facts(json_get(profile, "facts"));
    const struct json *traits = json_get(profile, "traits"), *consent = json_get(profile, "consent");
    if (traits && traits->count) {
        printf("traits\n");
        show_traits(traits);
    }
    if (consent && consent->count) {
        printf("consent\n");
        show_consent(consent);
    }
}

static const char *event_word(const struct json *e)
{
    return str_is(text_of(e, "type"), "order") ? "order log" : NULL;
}

void show_event(const struct json *e, uint32_t *session)
{
    uint32_t s = (uint32_t)number_of(e, "session");

    if (s && s != *session)
        printf("session %u\n", s);
    if (s)
        *session = s;
    printf("  ");
    show_time(text_of(e, "time"));
    const char *word = event_word(e);
    printf("  %-9.*s ", word ? (int)strlen(word) : (int)text_of(e, "type").n, word ? word : text_of(e, "type").p);
    show_text(text_of(e, "name"));
    const struct json *items = json_get(e, "items"), *first = items ? items->child : NULL;
    struct str what = first ? text_of(first, "name") : STR_NONE;
    if (first && !str_has(what))
        what = str_has(text_of(first, "product_id")) ? text_of(first, "product_id") : text_of(first, "sku");
    if (str_has(what)) {
        putchar(' ');
        show_text(what);
        if (items->count > 1)
            printf(" and %u more", items->count - 1);
    }
    struct str place = str_has(text_of(e, "title")) ? text_of(e, "title") : text_of(e, "url");
    if (str_has(place)) {
        printf("  ");
        show_text(place);
    }
    if (str_has(text_of(e, "order_id"))) {
        printf("  order ");
        show_text(text_of(e, "order_id"));
    }
    if (str_has(text_of(e, "dwell_ms")))
        printf("  (%.1f s)", number_of(e, "dwell_ms") / 1000);
    putchar('\n');
}

static void show_order(const struct json *o)
{
    show_text(text_of(o, "order_id"));
    printf("  %.*s  placed ", STR_ARG(text_of(o, "status")));
    show_time(text_of(o, "placed_at"));
    printf("  total %.*s %.*s", STR_ARG(text_of(o, "total")), STR_ARG(text_of(o, "currency")));
    if (number_of(o, "refunded") != 0)
        printf("  refunded %.*s", STR_ARG(text_of(o, "refunded")));
    putchar('\n');
}

static void show_items(const struct json *items)
{
    for (const struct json *i = items ? items->child : NULL; i; i = i->next) {
        struct str quantity = text_of(i, "quantity");
        if (!str_has(quantity))
            quantity = STR_LIT("1");
        printf("    %.*s x ", STR_ARG(quantity));
        show_text(str_has(text_of(i, "name")) ? text_of(i, "name") : text_of(i, "sku"));
        printf(" at %.*s\n", STR_ARG(text_of(i, "price")));
    }
}

void show_orders(const struct json *answer)
{
    const struct json *orders = json_get(answer, "orders");

    for (const struct json *o = orders ? orders->child : NULL; o; o = o->next) {
        show_order(o);
        show_items(json_get(o, "items"));
    }
}

static void show_touch(const char *label, const struct json *touch)
{
    static const char *const fields[] = {"type", "campaign", "referrer", "url"};

    if (!touch || touch->type != JSON_OBJECT)
        return;
    printf("  %-22s ", label);
    show_time(text_of(touch, "time"));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct str v = text_of(touch, fields[i]);
        const struct json *o = json_get(touch, fields[i]);
        if (!str_has(v) && o && o->type == JSON_OBJECT)
            v = text_of(o, "name");
        if (str_has(v)) {
            printf("  ");
            show_text(v);
        }
    }
    putchar('\n');
}

void show_scene(const struct json *scene)
{
    const struct json *who = json_get(scene, "who"), *where = json_get(scene, "where"), *path = json_get(scene, "path");
    const struct json *place = json_get(where, "offline");
    uint32_t session = 0;

    show_order(json_get(scene, "order"));
    show_field("who", text_of(who, "id"));
    show_field("shared by", text_of(who, "shared_by"));
    show_field("orders up to then", text_of(json_get(who, "facts"), "orders"));
    show_touch("first touch", json_get(scene, "first_touch"));
    show_touch("last touch", json_get(scene, "last_touch"));
    show_field("store", text_of(place, "store_name"));
    show_field("city", text_of(place, "city"));
    if (str_has(text_of(scene, "took_ms")))
        printf("  %-22s %.1f min\n", "took", number_of(scene, "took_ms") / 60000);
    printf("  what\n");
    show_items(json_get(scene, "what"));
    printf("  the path that led there\n");
    for (const struct json *e = path ? path->child : NULL; e; e = e->next)
        show_event(e, &session);
}
