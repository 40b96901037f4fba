/* Products in events and lines of orders, and places offline. Pure; any thread. */
#include <errno.h>
#include <stdio.h>

#include "collector/decode_fields.h"

enum item_slot {
    ITEM_PRODUCT_ID,
    ITEM_ID, /* the older name of the product's id, in lists only */
    ITEM_SKU,
    ITEM_NAME,
    ITEM_CATEGORY,
    ITEM_STYLE,
    ITEM_BRAND,
    ITEM_COLOR,
    ITEM_COLOUR,
    ITEM_SIZE,
    ITEM_PRICE,
    ITEM_QUANTITY,
    ITEM_COST,
    ITEM_LISTED_AT
};

static const struct key_row item_rows[] = {
    KEY("id", ITEM_ID),
    KEY("sku", ITEM_SKU),
    KEY("cost", ITEM_COST),
    KEY("name", ITEM_NAME),
    KEY("size", ITEM_SIZE),
    KEY("brand", ITEM_BRAND),
    KEY("color", ITEM_COLOR),
    KEY("price", ITEM_PRICE),
    KEY("style", ITEM_STYLE),
    KEY("colour", ITEM_COLOUR),
    KEY("category", ITEM_CATEGORY),
    KEY("listedAt", ITEM_LISTED_AT),
    KEY("quantity", ITEM_QUANTITY),
    SNAKE("listed_at", ITEM_LISTED_AT),
    KEY("productId", ITEM_PRODUCT_ID),
    SNAKE("product_id", ITEM_PRODUCT_ID),
};
const struct key_table item_keys = KEY_TABLE(item_rows);

/* A text that becomes a name in a map of the facts; too long a one stays in the verbatim part. */
static void name_read(const struct members *m, unsigned slot, struct str *out, uint32_t *kept)
{
    if (!text_read_full(member(m, slot), LIMIT_NAME_BYTES, out))
        *kept |= SLOT_BIT(slot);
}

/* Of two keys for one field: the first that gives a text; the other is kept as it was written. */
static void either_read(const struct members *m, unsigned slot, unsigned other, struct str *out, uint32_t *kept)
{
    name_read(m, slot, out, kept);
    if (!str_has(*out))
        name_read(m, other, out, kept);
    else if (member(m, other))
        *kept |= SLOT_BIT(other);
}

static void item_texts_read(const struct members *m, bool listed, struct item *out, uint32_t *kept)
{
    if (listed)
        either_read(m, ITEM_PRODUCT_ID, ITEM_ID, &out->product_id, kept);
    else
        name_read(m, ITEM_PRODUCT_ID, &out->product_id, kept);
    name_read(m, ITEM_SKU, &out->sku, kept);
    if (!text_read_full(member(m, ITEM_NAME), LIMIT_TEXT_BYTES, &out->name))
        *kept |= SLOT_BIT(ITEM_NAME);
    name_read(m, ITEM_CATEGORY, &out->category, kept);
    name_read(m, ITEM_STYLE, &out->style, kept);
    name_read(m, ITEM_BRAND, &out->brand, kept);
    either_read(m, ITEM_COLOR, ITEM_COLOUR, &out->color, kept);
    name_read(m, ITEM_SIZE, &out->size, kept);
}

static int item_numbers_read(struct refusal *why, const struct members *m, struct item *out)
{
    int rc = amount_read(why, "price", member(m, ITEM_PRICE), &out->price);

    if (rc == 0)
        rc = quantity_read(why, "quantity", member(m, ITEM_QUANTITY), &out->quantity);
    if (rc == 0)
        rc = amount_read(why, "cost", member(m, ITEM_COST), &out->cost);
    if (rc == 0)
        rc = time_read(why, "value_invalid", "listedAt", member(m, ITEM_LISTED_AT), &out->listed_at);
    return rc;
}

/* `name` and `index` say where it stands; a name of NULL: it keeps nothing more. */
static int item_read(struct reader *r, const struct json *v, const char *name, size_t index, struct item *out)
{
    char prefix[64];
    struct members m;
    uint32_t kept = 0;

    *out = (struct item){.listed_at = TIME_NONE};
    if (v->type != JSON_OBJECT)
        return refuse(r->why, "value_invalid", "is no object");
    members_read(v, &item_keys, &m);
    item_texts_read(&m, true, out, &kept);
    int rc = item_numbers_read(r->why, &m, out);
    if (rc != 0) {
        refusal_prefix(r->why, ".");
        return rc;
    }
    if (!name)
        return 0;
    snprintf(prefix, sizeof prefix, "%s[%zu].", name, index);
    return rest_keep(r, v, &item_keys, &m, kept, prefix, &out->extra);
}

int items_read(struct reader *r, const char *name, const struct json *v, bool keep, const struct item **out,
               size_t *count)
{
    size_t n = 0;

    if (v->type != JSON_ARRAY)
        return refuse(r->why, "value_invalid", "%s is no array", name);
    if (v->count > LIMIT_ITEMS)
        return refuse(r->why, "value_invalid", "%s has over %d elements", name, LIMIT_ITEMS);
    struct item *items = v->count ? arena_alloc(r->arena, v->count * sizeof *items) : NULL;
    if (v->count && !items)
        return -ENOMEM;
    for (const struct json *i = v->child; i; i = i->next, n++) {
        assert(items && n < v->count);
        int rc = item_read(r, i, keep ? name : NULL, n, &items[n]);
        if (rc == DECODE_REFUSED)
            refusal_prefix(r->why, r->why->message[0] == '.' ? "%s[%zu]" : "%s[%zu] ", name, n);
        if (rc != 0)
            return rc;
    }
    *out = items;
    *count = n;
    return 0;
}

/* A name alone is no product: promotions, lists and forms have one too. */
static bool is_product(const struct item *i)
{
    return str_has(i->product_id) || str_has(i->sku) || str_has(i->category) || str_has(i->style) ||
           str_has(i->brand) || str_has(i->color) || str_has(i->size) || i->price.has || i->quantity.has ||
           i->cost.has || i->listed_at != TIME_NONE;
}

int flat_item_read(struct reader *r, const struct json *properties)
{
    struct item item = {.listed_at = TIME_NONE};
    struct members m;
    uint32_t kept = 0;

    members_read(properties, &item_keys, &m);
    item_texts_read(&m, false, &item, &kept);
    int rc = item_numbers_read(r->why, &m, &item);
    if (rc != 0 || !is_product(&item))
        return rc;
    struct item *copy = arena_alloc(r->arena, sizeof *copy);
    if (!copy)
        return -ENOMEM;
    *copy = item;
    r->e->items = copy;
    r->e->item_count = 1;
    return 0;
}

enum place_slot { PLACE_STORE_ID, PLACE_STORE_NAME, PLACE_CITY, PLACE_DISTRICT, PLACE_ADDRESS };

static const struct key_row place_rows[] = {
    KEY("city", PLACE_CITY),
    KEY("address", PLACE_ADDRESS),
    KEY("storeId", PLACE_STORE_ID),
    KEY("district", PLACE_DISTRICT),
    SNAKE("store_id", PLACE_STORE_ID),
    KEY("storeName", PLACE_STORE_NAME),
    SNAKE("store_name", PLACE_STORE_NAME),
};
const struct key_table place_keys = KEY_TABLE(place_rows);

bool place_read(const struct json *v, struct place *out)
{
    struct members m;

    if (!v)
        return true;
    if (v->type != JSON_OBJECT)
        return false;
    members_read(v, &place_keys, &m);
    bool whole = m.unknown == 0;
    whole &= text_read_full(member(&m, PLACE_STORE_ID), LIMIT_NAME_BYTES, &out->store_id);
    whole &= text_read_full(member(&m, PLACE_STORE_NAME), LIMIT_NAME_BYTES, &out->store_name);
    whole &= text_read_full(member(&m, PLACE_CITY), LIMIT_NAME_BYTES, &out->city);
    whole &= text_read_full(member(&m, PLACE_DISTRICT), LIMIT_NAME_BYTES, &out->district);
    whole &= text_read_full(member(&m, PLACE_ADDRESS), LIMIT_TEXT_BYTES, &out->address);
    return whole;
}
