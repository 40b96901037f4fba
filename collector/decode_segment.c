/* Calls in Segment's shape: page, screen, track, identify, group, alias, with Waymark's extra members. Pure; any
 * thread. */
#include <errno.h>

#include "collector/decode_fields.h"

enum call_slot {
    CALL_TYPE,
    CALL_EVENT,
    CALL_NAME,
    CALL_USER,
    CALL_DEVICE,
    CALL_MESSAGE,
    CALL_TIMESTAMP,
    CALL_ORIGINAL,
    CALL_SENT,
    CALL_CONTEXT,
    CALL_PROPERTIES,
    CALL_TRAITS,
    CALL_GROUP,
    CALL_PREVIOUS,
    CALL_FROM,
    CALL_TO,
    CALL_MODULE,
    CALL_CAME_FROM,
    CALL_SHARED_BY,
    CALL_PLACE,
    CALL_INTEGRATIONS,
    CALL_HASH,
    CALL_CONSENT,
    CALL_DROPPED /* of the transport, or secret: kept nowhere */
};

static const struct key_row call_rows[] = {
    KEY("to", CALL_TO),
    KEY("from", CALL_FROM),
    KEY("name", CALL_NAME),
    KEY("type", CALL_TYPE),
    KEY("event", CALL_EVENT),
    KEY("place", CALL_PLACE),
    KEY("module", CALL_MODULE),
    KEY("sentAt", CALL_SENT),
    KEY("traits", CALL_TRAITS),
    KEY("userId", CALL_USER),
    KEY("consent", CALL_CONSENT),
    KEY("context", CALL_CONTEXT),
    KEY("groupId", CALL_GROUP),
    SNAKE("sent_at", CALL_SENT),
    SNAKE("user_id", CALL_USER),
    KEY("cameFrom", CALL_CAME_FROM),
    SNAKE("group_id", CALL_GROUP),
    KEY("sharedBy", CALL_SHARED_BY),
    KEY("userHash", CALL_HASH),
    KEY("writeKey", CALL_DROPPED),
    KEY("_metadata", CALL_DROPPED),
    SNAKE("came_from", CALL_CAME_FROM),
    KEY("messageId", CALL_MESSAGE),
    SNAKE("shared_by", CALL_SHARED_BY),
    KEY("timestamp", CALL_TIMESTAMP),
    SNAKE("user_hash", CALL_HASH),
    SNAKE("write_key", CALL_DROPPED),
    SNAKE("message_id", CALL_MESSAGE),
    KEY("previousId", CALL_PREVIOUS),
    KEY("properties", CALL_PROPERTIES),
    KEY("anonymousId", CALL_DEVICE),
    SNAKE("previous_id", CALL_PREVIOUS),
    SNAKE("anonymous_id", CALL_DEVICE),
    KEY("integrations", CALL_INTEGRATIONS),
    KEY("originalTimestamp", CALL_ORIGINAL),
    SNAKE("original_timestamp", CALL_ORIGINAL),
};
const struct key_table call_keys = KEY_TABLE(call_rows);

/* Beside these the product in the properties is read by its own table. */
static const struct key_row property_rows[] = {
    KEY("tax", F_TAX),
    KEY("url", F_URL),
    KEY("name", F_NAME),
    KEY("path", F_PATH),
    KEY("place", F_PLACE),
    KEY("title", F_TITLE),
    KEY("total", F_TOTAL),
    KEY("coupon", F_COUPON),
    KEY("module", F_MODULE),
    KEY("channel", F_CHANNEL),
    KEY("orderId", F_ORDER_ID),
    KEY("revenue", F_REVENUE),
    KEY("cameFrom", F_CAME_FROM),
    KEY("currency", F_CURRENCY),
    KEY("discount", F_DISCOUNT),
    SNAKE("order_id", F_ORDER_ID),
    KEY("products", F_ITEMS),
    KEY("refundId", F_REFUND_ID),
    KEY("referrer", F_REFERRER),
    KEY("shipping", F_SHIPPING),
    KEY("subtotal", F_SUBTOTAL),
    KEY("sharedBy", F_SHARED_BY),
    SNAKE("came_from", F_CAME_FROM),
    SNAKE("refund_id", F_REFUND_ID),
    SNAKE("shared_by", F_SHARED_BY),
};
const struct key_table property_keys = KEY_TABLE(property_rows);

/* One call while it is read. */
struct call {
    struct reader r;
    struct members m;
    const struct json *properties, *traits; /* objects, or NULL */
    uint32_t kept;                          /* slots whose value has no field: kept as it was written */
};

static void keep(struct call *c, unsigned slot)
{
    c->kept |= SLOT_BIT(slot);
}

static bool is_named(const struct event *e)
{
    return e->type == EVENT_PAGE || e->type == EVENT_SCREEN;
}

static bool has_properties(const struct event *e)
{
    return is_named(e) || e->type == EVENT_TRACK;
}

static int type_read(struct call *c)
{
    static const char *const words[] = {NULL, "page", "screen", "track", "identify", "group", "alias"};
    const struct json *v = member(&c->m, CALL_TYPE);

    c->r.e->type = c->r.in->route_type;
    if (!v && c->r.e->type == 0)
        return refuse(c->r.why, "type_unknown", "type is missing");
    if (!v)
        return 0;
    for (int i = EVENT_PAGE; v->type == JSON_STRING && i <= EVENT_ALIAS; i++) {
        if (str_is(v->text, words[i])) {
            c->r.e->type = (enum event_type)i;
            return 0;
        }
    }
    return refuse(c->r.why, "type_unknown", "type is not page, screen, track, identify, group or alias");
}

/* --- ids ---------------------------------------------------------------------------------------------- */

/* The hash that goes with the user: the event's own, else of its context, of the batch, of that one's context. */
static const struct json *hash_of(const struct call *c)
{
    const struct json *places[] = {member(&c->m, CALL_CONTEXT), c->r.in->batch, json_get(c->r.in->batch, "context")};
    const struct json *hash = member(&c->m, CALL_HASH);

    if (hash || !c->r.in->privacy || !c->r.in->privacy->user_hash)
        return hash;
    for (size_t i = 0; i < sizeof places / sizeof *places && !hash; i++) {
        hash = json_get(places[i], "userHash");
        if (!hash)
            hash = json_get(places[i], "user_hash");
    }
    return hash;
}

/* The device that an alias says is the user's. SDKs also write from and to. */
static int alias_read(struct call *c)
{
    struct event *e = c->r.e;
    int rc = device_read(&c->r, "previousId", member(&c->m, CALL_PREVIOUS), &e->previous_id);

    if (rc == 0 && !str_has(e->previous_id))
        rc = device_read(&c->r, "from", member(&c->m, CALL_FROM), &e->previous_id);
    if (rc == 0 && !str_has(e->user_id))
        rc = user_read(&c->r, "to", member(&c->m, CALL_TO), hash_of(c), &e->user_id);
    if (rc != 0)
        return rc;
    if (!str_has(e->user_id))
        return refuse(c->r.why, "id_missing", "an alias needs userId");
    if (!str_has(e->previous_id))
        return refuse(c->r.why, "id_missing", "an alias needs previousId");
    return 0;
}

static int ids_read(struct call *c)
{
    struct event *e = c->r.e;
    int rc = user_read(&c->r, "userId", member(&c->m, CALL_USER), hash_of(c), &e->user_id);

    if (rc == 0)
        rc = device_read(&c->r, "anonymousId", member(&c->m, CALL_DEVICE), &e->anonymous_id);
    if (rc == 0)
        rc = id_read(c->r.why, "id_invalid", "messageId", member(&c->m, CALL_MESSAGE), &e->message_id);
    if (rc == 0)
        rc = id_read(c->r.why, "id_invalid", "groupId", member(&c->m, CALL_GROUP), &e->group_id);
    if (rc != 0)
        return rc;
    if (e->type == EVENT_ALIAS)
        return alias_read(c);
    keep(c, CALL_PREVIOUS);
    keep(c, CALL_FROM);
    keep(c, CALL_TO);
    if (!str_has(e->user_id) && !str_has(e->anonymous_id))
        return refuse(c->r.why, "id_missing", "neither userId nor anonymousId names anybody");
    return 0;
}

static int track_name_read(struct call *c)
{
    const struct json *v = member(&c->m, CALL_EVENT);

    keep(c, CALL_NAME);
    if (v && v->type == JSON_STRING && v->text.n > LIMIT_TEXT_BYTES)
        return refuse(c->r.why, "value_invalid", "event is over %zu bytes", LIMIT_TEXT_BYTES);
    text_read_full(v, LIMIT_TEXT_BYTES, &c->r.e->name);
    if (!str_has(c->r.e->name))
        return refuse(c->r.why, "name_missing", "a track needs event, its name");
    return 0;
}

static int name_read(struct call *c)
{
    if (c->r.e->type == EVENT_TRACK)
        return track_name_read(c);
    keep(c, CALL_EVENT);
    if (!is_named(c->r.e) || !text_read_full(member(&c->m, CALL_NAME), LIMIT_TEXT_BYTES, &c->r.e->name))
        keep(c, CALL_NAME);
    return 0;
}

static int call_times_read(struct call *c)
{
    const struct json *stated = member(&c->m, CALL_TIMESTAMP);

    if (!stated)
        stated = member(&c->m, CALL_ORIGINAL);
    return times_read(&c->r, stated, member(&c->m, CALL_SENT));
}

/* --- values ------------------------------------------------------------------------------------------- */

/* properties or traits: whichever the type has is the verbatim part, the other is just another member. */
static int objects_read(struct call *c)
{
    struct event *e = c->r.e;
    bool traits = e->type == EVENT_IDENTIFY || e->type == EVENT_GROUP;
    int rc = 0;

    if (has_properties(e))
        rc = object_read(c->r.why, "properties", member(&c->m, CALL_PROPERTIES), &c->properties);
    else
        keep(c, CALL_PROPERTIES);
    if (traits && rc == 0)
        rc = object_read(c->r.why, "traits", member(&c->m, CALL_TRAITS), &c->traits);
    else
        keep(c, CALL_TRAITS);
    if (c->properties)
        e->properties = c->properties->raw;
    return rc;
}

/* Waymark's own members, which stand beside the properties or in them. */
static void extras_read(struct call *c, const struct members *p)
{
    struct event *e = c->r.e;
    const struct {
        unsigned call, property;
        size_t max;
        struct str *out;
    } texts[] = {
        {CALL_MODULE, F_MODULE, LIMIT_NAME_BYTES, &e->module},
        {CALL_CAME_FROM, F_CAME_FROM, LIMIT_TEXT_BYTES, &e->came_from},
        {CALL_SHARED_BY, F_SHARED_BY, LIMIT_TEXT_BYTES, &e->shared_by},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!text_read_full(member(&c->m, texts[i].call), texts[i].max, texts[i].out))
            keep(c, texts[i].call);
        if (!str_has(*texts[i].out))
            text_read_full(member(p, texts[i].property), texts[i].max, texts[i].out);
    }
    if (!place_read(member(&c->m, CALL_PLACE), &e->place))
        keep(c, CALL_PLACE);
    if (!member(&c->m, CALL_PLACE))
        place_read(member(p, F_PLACE), &e->place);
}

static void page_texts_read(struct event *e, const struct members *p)
{
    text_read_full(member(p, F_URL), LIMIT_TEXT_BYTES, &e->url);
    text_read_full(member(p, F_PATH), LIMIT_TEXT_BYTES, &e->path);
    text_read_full(member(p, F_TITLE), LIMIT_TEXT_BYTES, &e->title);
    text_read_full(member(p, F_REFERRER), LIMIT_TEXT_BYTES, &e->referrer);
    if (is_named(e) && !str_has(e->name))
        text_read_full(member(p, F_NAME), LIMIT_TEXT_BYTES, &e->name);
}

/* Whether it can be a list of products; in events that are not about orders anything else may go by that name. */
static bool is_list_of_objects(const struct json *v)
{
    if (v->type != JSON_ARRAY)
        return false;
    for (const struct json *i = v->child; i; i = i->next)
        if (i->type != JSON_OBJECT)
            return false;
    return true;
}

/* What a track says of products: those of an order were read with the order. */
static int products_read(struct call *c, const struct members *p)
{
    struct event *e = c->r.e;
    const struct json *products = member(p, F_ITEMS);

    if (e->type != EVENT_TRACK || states_order(e))
        return 0;
    if (!products)
        return flat_item_read(&c->r, c->properties);
    if (!is_list_of_objects(products))
        return 0;
    return items_read(&c->r, "products", products, false, &e->items, &e->item_count);
}

static int properties_read(struct call *c, const struct members *p)
{
    int rc = 0;

    if (c->properties)
        rc = order_of_call_read(&c->r, p);
    if (rc == 0 && c->properties)
        rc = products_read(c, p);
    if (rc == DECODE_REFUSED)
        refusal_prefix(c->r.why, "properties.");
    return rc;
}

static const struct json *object_or_none(const struct json *v)
{
    return v && v->type == JSON_OBJECT && v->count > 0 ? v : NULL;
}

/* The person's traits: those of the call over those of its context, where mobile libraries send them with every call. A
 * group's traits are another's: those of its context stay there. */
static int traits_keep(struct call *c, const struct json *context_traits)
{
    struct event *e = c->r.e;
    bool group = e->type == EVENT_GROUP;
    enum scrub_part part = group ? SCRUB_GROUP : SCRUB_TRAITS;
    const struct scrub_source from = {.own = c->traits, .under = group ? NULL : object_or_none(context_traits)};

    if (c->traits)
        e->traits = c->traits->raw;
    else if (from.under && (c->r.scrub || e->type == EVENT_IDENTIFY))
        e->traits = from.under->raw;
    if (!c->r.scrub || (!from.own && !from.under))
        return 0;
    return (from.own && from.under) || scrub_wanted(c->r.scrub, part, &from)
               ? scrub_object(c->r.scrub, part, &from, &e->traits)
               : 0;
}

static int properties_keep(struct call *c)
{
    const struct scrub_source from = {.own = c->properties};

    if (!c->r.scrub || !c->properties || !scrub_wanted(c->r.scrub, SCRUB_PROPERTIES, &from))
        return 0;
    return scrub_object(c->r.scrub, SCRUB_PROPERTIES, &from, &c->r.e->properties);
}

/* Of the texts that have a field and may be urls; that of the page was cut before its campaign was read. */
static void urls_keep(struct call *c)
{
    struct event *e = c->r.e;

    if (!c->r.scrub)
        return;
    scrub_url(c->r.scrub, &e->title);
    scrub_url(c->r.scrub, &e->path);
    scrub_url(c->r.scrub, &e->referrer);
    scrub_url(c->r.scrub, &e->came_from);
    scrub_url(c->r.scrub, &e->shared_by);
}

static int values_read(struct call *c)
{
    const struct json *context_traits = NULL;
    struct members p;
    int rc = objects_read(c);

    if (rc != 0)
        return rc;
    members_read(c->properties, &property_keys, &p);
    page_texts_read(c->r.e, &p);
    extras_read(c, &p);
    rc = context_read(&c->r, member(&c->m, CALL_CONTEXT), member(&c->m, CALL_CONSENT), &context_traits);
    if (rc == 0)
        rc = traits_keep(c, context_traits);
    if (rc == 0)
        rc = properties_keep(c);
    if (rc != 0)
        return rc;
    urls_keep(c);
    return properties_read(c, &p);
}

/* An empty integrations is what libraries send who were told nothing. */
static void integrations_keep(struct call *c)
{
    const struct json *v = member(&c->m, CALL_INTEGRATIONS);

    if (v && !((v->type == JSON_OBJECT || v->type == JSON_ARRAY) && v->count == 0))
        keep(c, CALL_INTEGRATIONS);
}

static int call_read(struct call *c, const struct json *v)
{
    int rc = type_read(c);

    if (rc == 0)
        rc = ids_read(c);
    if (rc == 0)
        rc = name_read(c);
    if (rc == 0)
        rc = call_times_read(c);
    if (rc == 0)
        rc = values_read(c);
    if (rc != 0)
        return rc;
    integrations_keep(c);
    return rest_keep(&c->r, v, &call_keys, &c->m, c->kept, NULL, &c->r.e->extra);
}

int decode_event(const struct json *v, const struct decode_input *in, struct arena *a, struct event *out,
                 struct refusal *why)
{
    struct event e = {.trust = in->trust,
                      .source = in->source,
                      .received = in->received,
                      .position = in->position,
                      .original_time = TIME_NONE,
                      .sent = TIME_NONE};
    struct decode_notes notes;
    struct scrub scrub;
    struct call c = {.kept = 0};
    int rc = shape_check(v, in->batch, why);

    if (rc != 0)
        return rc;
    reader_begin(&c.r, in, a, why, &e, &scrub, &notes);
    members_read(v, &call_keys, &c.m);
    rc = call_read(&c, v);
    if (rc == 0)
        rc = event_finish(&c.r);
    rc = reader_end(&c.r, rc);
    if (rc == 0)
        *out = e;
    return rc;
}
