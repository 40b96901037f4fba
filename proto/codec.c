/* Events and bad events as waymark.v1 by protobuf-c. Pure; any thread. */
#include "proto/codec.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "proto/pb.h"
#include "waymark.pb-c.h"

/* The texts of each message: a list serves both directions, so that none is forgotten in one. */
#define EVENT_TEXTS(X)                                                                                                 \
    X(source)                                                                                                          \
    X(message_id)                                                                                                      \
    X(anonymous_id)                                                                                                    \
    X(user_id)                                                                                                         \
    X(name)                                                                                                            \
    X(url)                                                                                                             \
    X(context)                                                                                                         \
    X(properties)                                                                                                      \
    X(consent)                                                                                                         \
    X(ip)                                                                                                              \
    X(user_agent)                                                                                                      \
    X(locale)                                                                                                          \
    X(shared_by)                                                                                                       \
    X(previous_id)                                                                                                     \
    X(group_id)                                                                                                        \
    X(path)                                                                                                            \
    X(title)                                                                                                           \
    X(module)                                                                                                          \
    X(came_from)                                                                                                       \
    X(referrer)                                                                                                        \
    X(traits)                                                                                                          \
    X(extra)                                                                                                           \
    X(sealed)
#define CAMPAIGN_TEXTS(X) X(name) X(source) X(medium) X(term) X(content) X(click_id)
#define PLACE_TEXTS(X) X(store_id) X(store_name) X(city) X(district) X(address)
#define ITEM_TEXTS(X) X(product_id) X(sku) X(name) X(category) X(style) X(brand) X(color) X(size) X(extra)
#define ORDER_TEXTS(X) X(order_id) X(currency) X(coupon) X(channel)
#define ORDER_AMOUNTS(X) X(total) X(revenue) X(subtotal) X(discount) X(shipping) X(tax)
#define BAD_TEXTS(X) X(source) X(route) X(code) X(message) X(bytes)

#define PUT_TEXT(field) m->has_##field = put_text(&m->field, from->field);
#define PUT_NUMBER(field) m->has_##field = put_number(&m->field, from->field);
#define GET_TEXT(field) to->field = get_text(m->has_##field, &m->field);
#define GET_NUMBER(field) to->field = get_number(m->has_##field, m->field);
#define HAS_TEXT(field) || str_has(from->field)
#define HAS_NUMBER(field) || from->field.has
#define ADD_SIZE(field) +from->field.n

static_assert((int)WAYMARK__V1__EVENT_TYPE__EVENT_PAGE == EVENT_PAGE &&
                  (int)WAYMARK__V1__EVENT_TYPE__EVENT_MARK == EVENT_MARK &&
                  (int)WAYMARK__V1__TRUST__TRUST_SERVER == TRUST_SERVER &&
                  (int)WAYMARK__V1__ORDER_STATUS__STATUS_CANCELLED == STATUS_CANCELLED,
              "enums are numbered alike");

static inline bool put_text(ProtobufCBinaryData *to, struct str s)
{
    to->data = (uint8_t *)(uintptr_t)s.p; /* protobuf-c takes no const; packing only reads */
    to->len = s.n;
    return str_has(s);
}

static inline bool put_number(int64_t *to, struct opt v)
{
    *to = v.v;
    return v.has;
}

static inline struct str get_text(bool has, const ProtobufCBinaryData *from)
{
    if (!has)
        return STR_NONE;
    return (struct str){from->len ? (const char *)from->data : "", from->len};
}

static inline struct opt get_number(bool has, int64_t v)
{
    return (struct opt){has, has ? v : 0};
}

/* --- packing -------------------------------------------------------------------------------------------------- */

/* protobuf-c wants an array of pointers to messages. Most events have few items. */
#define FEW_ITEMS 8

struct item_box {
    Waymark__V1__Item *v;
    Waymark__V1__Item **pointers;
    Waymark__V1__Item few[FEW_ITEMS];
    Waymark__V1__Item *few_pointers[FEW_ITEMS];
};

static void put_item(Waymark__V1__Item *m, const struct item *from)
{
    waymark__v1__item__init(m);
    ITEM_TEXTS(PUT_TEXT)
    PUT_NUMBER(price)
    PUT_NUMBER(quantity)
    PUT_NUMBER(cost)
    m->has_listed_at = from->listed_at != TIME_NONE;
    m->listed_at = from->listed_at;
}

/* Returns false when memory is out. */
static bool box_items(struct item_box *box, const struct item *items, size_t n)
{
    box->v = box->few;
    box->pointers = box->few_pointers;
    if (n > FEW_ITEMS) {
        box->v = malloc(n * (sizeof *box->v + sizeof *box->pointers));
        if (!box->v)
            return false;
        box->pointers = (Waymark__V1__Item **)(box->v + n);
    }
    for (size_t i = 0; i < n; i++) {
        put_item(&box->v[i], &items[i]);
        box->pointers[i] = &box->v[i];
    }
    return true;
}

static void unbox_items(struct item_box *box)
{
    if (box->v != box->few)
        free(box->v);
}

/* The messages inside an event, built beside it. */
struct event_box {
    Waymark__V1__Event event;
    Waymark__V1__Library library;
    Waymark__V1__Campaign campaign;
    Waymark__V1__Place place;
    Waymark__V1__Order order;
    Waymark__V1__Refund refund;
    struct item_box items, refund_items;
};

static void put_library(struct event_box *box, const struct event *e)
{
    Waymark__V1__Library *m = &box->library;

    if (!str_has(e->library) && !str_has(e->library_version))
        return;
    waymark__v1__library__init(m);
    m->has_name = put_text(&m->name, e->library);
    m->has_version = put_text(&m->version, e->library_version);
    box->event.library = m;
}

static void put_campaign(struct event_box *box, const struct campaign *from)
{
    Waymark__V1__Campaign *m = &box->campaign;

    if (!(false CAMPAIGN_TEXTS(HAS_TEXT)))
        return;
    waymark__v1__campaign__init(m);
    CAMPAIGN_TEXTS(PUT_TEXT)
    box->event.campaign = m;
}

static void put_place(struct event_box *box, const struct place *from)
{
    Waymark__V1__Place *m = &box->place;

    if (!(false PLACE_TEXTS(HAS_TEXT)))
        return;
    waymark__v1__place__init(m);
    PLACE_TEXTS(PUT_TEXT)
    box->event.place = m;
}

static bool put_refund(struct event_box *box, const struct order_fields *from)
{
    Waymark__V1__Refund *m = &box->refund;

    if (!box_items(&box->refund_items, from->refund_items, from->refund_item_count))
        return false;
    waymark__v1__refund__init(m);
    m->has_id = put_text(&m->id, from->refund_id);
    m->has_amount = put_number(&m->amount, from->refund_amount);
    m->items = box->refund_items.pointers;
    m->n_items = from->refund_item_count;
    m->has_has_items = m->has_items = from->has_refund_items;
    box->order.refund = m;
    return true;
}

static bool put_order(struct event_box *box, const struct order_fields *from)
{
    Waymark__V1__Order *m = &box->order;

    if (!(from->status != STATUS_NONE || from->has_items ||
          from->has_refund ORDER_TEXTS(HAS_TEXT) ORDER_AMOUNTS(HAS_NUMBER)))
        return true;
    waymark__v1__order__init(m);
    ORDER_TEXTS(PUT_TEXT)
    ORDER_AMOUNTS(PUT_NUMBER)
    m->has_status = from->status != STATUS_NONE;
    m->status = (Waymark__V1__OrderStatus)from->status;
    m->has_has_items = m->has_items = from->has_items;
    box->event.order = m;
    return !from->has_refund || put_refund(box, from);
}

static bool put_event(struct event_box *box, const struct event *from)
{
    Waymark__V1__Event *m = &box->event;

    waymark__v1__event__init(m);
    m->version = CODEC_VERSION;
    m->type = (Waymark__V1__EventType)from->type;
    m->trust = (Waymark__V1__Trust)from->trust;
    put_text(&m->uid, (struct str){(const char *)from->uid.b, UID_BYTES});
    m->time = from->time;
    m->received = from->received;
    m->has_position = from->position != 0;
    m->position = from->position;
    m->has_original_time = from->original_time != TIME_NONE;
    m->original_time = from->original_time;
    m->has_sent = from->sent != TIME_NONE;
    m->sent = from->sent;
    m->has_erased = m->erased = from->erased;
    EVENT_TEXTS(PUT_TEXT)
    put_library(box, from);
    put_campaign(box, &from->campaign);
    put_place(box, &from->place);
    if (!box_items(&box->items, from->items, from->item_count))
        return false;
    m->items = box->items.pointers;
    m->n_items = from->item_count;
    return put_order(box, &from->order);
}

static size_t items_bound(const struct item *items, size_t n)
{
    size_t bound = 0;

    for (size_t i = 0; i < n; i++) {
        const struct item *from = &items[i];
        bound += 15 * PB_FIELD_BYTES ITEM_TEXTS(ADD_SIZE);
    }
    return bound;
}

/* No event packs into more than this. Cheaper than the exact size, which costs protobuf-c as much as packing. */
static size_t event_bound(const struct event *e)
{
    size_t bound = 64 * PB_FIELD_BYTES + UID_BYTES + e->library.n + e->library_version.n + e->order.refund_id.n;

    bound += items_bound(e->items, e->item_count);
    bound += items_bound(e->order.refund_items, e->order.refund_item_count);
    {
        const struct event *from = e;
        bound += 0 EVENT_TEXTS(ADD_SIZE);
    }
    {
        const struct campaign *from = &e->campaign;
        bound += 0 CAMPAIGN_TEXTS(ADD_SIZE);
    }
    {
        const struct place *from = &e->place;
        bound += 0 PLACE_TEXTS(ADD_SIZE);
    }
    {
        const struct order_fields *from = &e->order;
        bound += 0 ORDER_TEXTS(ADD_SIZE);
    }
    return bound;
}

bool event_pack(const struct event *e, struct buf *b)
{
    struct event_box box;

    assert(e->item_count <= LIMIT_ITEMS && e->order.refund_item_count <= LIMIT_ITEMS);
    box.items.v = box.items.few;
    box.refund_items.v = box.refund_items.few;
    bool ok = put_event(&box, e) && pb_pack(&box.event.base, event_bound(e), b);
    if (!ok)
        b->failed = true;
    unbox_items(&box.items);
    unbox_items(&box.refund_items);
    return ok;
}

bool bad_event_pack(const struct bad_event *from, struct buf *b)
{
    Waymark__V1__BadEvent bad;
    Waymark__V1__BadEvent *m = &bad;

    waymark__v1__bad_event__init(m);
    m->version = CODEC_VERSION;
    m->received = from->received;
    m->has_position = from->position != 0;
    m->position = from->position;
    m->has_full_size = from->full_size != 0;
    m->full_size = from->full_size;
    m->has_log_partition = m->has_log_offset = from->from_log;
    m->log_partition = from->log_partition;
    m->log_offset = from->log_offset;
    m->has_sealed = m->sealed = from->sealed;
    BAD_TEXTS(PUT_TEXT)
    return pb_pack(&m->base, 16 * PB_FIELD_BYTES BAD_TEXTS(ADD_SIZE), b);
}

bool claim_pack(const struct claim_record *from, struct buf *b)
{
    Waymark__V1__Claim claim;
    Waymark__V1__Claim *m = &claim;

    waymark__v1__claim__init(m);
    m->version = CODEC_VERSION;
    put_text(&m->instance, from->instance);
    put_text(&m->url, from->url);
    m->time = from->time;
    return pb_pack(&m->base, 4 * PB_FIELD_BYTES + from->instance.n + from->url.n, b);
}

/* --- unpacking ------------------------------------------------------------------------------------------------ */

/* Of CODEC_UNPACK_BYTES, what protobuf-c may take; the rest is for our own items. */
#define PROTOBUF_BYTES(n) (CODEC_UNPACK_BYTES(n) - 2 * LIMIT_ITEMS * sizeof(struct item))

/* Ours begin with the version, so that a later format is told from garbage even where it cannot be read. */
static int check_head(struct str bytes)
{
    const char *p = bytes.p;
    uint64_t version;

    if (bytes.n < 2 || bytes.n > LIMIT_RECORD_BYTES)
        return CODEC_INVALID;
    if (*p++ != 0x08)
        return CODEC_OK; /* another writer's order of fields: the version is read with the rest */
    if (!get_varint(&p, bytes.p + bytes.n, &version))
        return CODEC_INVALID;
    return version > CODEC_VERSION ? CODEC_VERSION_UNKNOWN : CODEC_OK;
}

/* Field numbers of waymark.proto on the way to the items of an event. */
enum { FIELD_EVENT_ITEMS = 33, FIELD_EVENT_ORDER = 34, FIELD_ORDER_REFUND = 13, FIELD_REFUND_ITEMS = 3 };

/* The next field; of a message or text its bytes, else nothing. False at the end, or where it is no protobuf. */
static bool next_field(struct str *in, uint64_t *number, struct str *bytes)
{
    static const size_t fixed[] = {[1] = 8, [5] = 4};
    const char *p = in->p, *end = in->p + in->n;
    uint64_t tag, n = 0;

    *bytes = STR_NONE;
    if (!get_varint(&p, end, &tag) || (tag & 7) == 3 || (tag & 7) == 4 || (tag & 7) > 5)
        return false;
    if ((tag & 7) == 0 || (tag & 7) == 2) {
        if (!get_varint(&p, end, &n))
            return false;
        n = (tag & 7) == 2 ? n : 0;
    } else {
        n = fixed[tag & 7];
    }
    if (n > (size_t)(end - p))
        return false;
    if ((tag & 7) == 2)
        *bytes = (struct str){p, (size_t)n};
    *number = tag >> 3;
    *in = (struct str){p + n, (size_t)(end - p) - (size_t)n};
    return true;
}

/* Items of a message that stand behind a way of field numbers; the way ends with 0. */
static size_t count_behind(struct str in, const unsigned *way)
{
    struct str bytes;
    uint64_t number;
    size_t n = 0;

    while (next_field(&in, &number, &bytes))
        if (number == way[0] && str_has(bytes))
            n += way[1] ? count_behind(bytes, way + 1) : 1;
    return n;
}

size_t event_unpacked_bytes(struct str packed)
{
    static const unsigned items[] = {FIELD_EVENT_ITEMS, 0};
    static const unsigned refunded[] = {FIELD_EVENT_ORDER, FIELD_ORDER_REFUND, FIELD_REFUND_ITEMS, 0};
    size_t n = count_behind(packed, items) + count_behind(packed, refunded);

    return sizeof(Waymark__V1__Event) + 2 * packed.n + n * (sizeof(Waymark__V1__Item) + sizeof(struct item));
}

static bool in_range(struct opt v, int64_t max)
{
    return !v.has || (v.v >= -max && v.v <= max);
}

static bool amount_sane(struct opt v)
{
    return in_range(v, LIMIT_AMOUNT * INT64_C(1000000));
}

static bool time_sane(int64_t t)
{
    return t >= LIMIT_TIME_FIRST && t <= LIMIT_TIME_LAST;
}

static bool get_item(const Waymark__V1__Item *m, struct item *to)
{
    ITEM_TEXTS(GET_TEXT)
    GET_NUMBER(price)
    GET_NUMBER(quantity)
    GET_NUMBER(cost)
    to->listed_at = m->has_listed_at ? m->listed_at : TIME_NONE;
    return amount_sane(to->price) && amount_sane(to->cost) && in_range(to->quantity, LIMIT_QUANTITY) &&
           (to->listed_at == TIME_NONE || time_sane(to->listed_at));
}

static bool get_items(Waymark__V1__Item *const *m, size_t n, struct arena *a, const struct item **out, size_t *count)
{
    if (n > LIMIT_ITEMS)
        return false;
    struct item *to = n ? arena_alloc(a, n * sizeof *to) : NULL;
    if (n && !to)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!get_item(m[i], &to[i]))
            return false;
    *out = to;
    *count = n;
    return true;
}

static void get_campaign(const Waymark__V1__Campaign *m, struct campaign *to)
{
    if (m) {
        CAMPAIGN_TEXTS(GET_TEXT)
    }
}

static void get_place(const Waymark__V1__Place *m, struct place *to)
{
    if (m) {
        PLACE_TEXTS(GET_TEXT)
    }
}

static bool get_refund(const Waymark__V1__Refund *m, struct arena *a, struct order_fields *to)
{
    if (!m)
        return true;
    to->has_refund = true;
    to->refund_id = get_text(m->has_id, &m->id);
    to->refund_amount = get_number(m->has_amount, m->amount);
    to->has_refund_items = m->has_has_items && m->has_items;
    return amount_sane(to->refund_amount) && (m->n_items == 0 || to->has_refund_items) &&
           get_items(m->items, m->n_items, a, &to->refund_items, &to->refund_item_count);
}

static bool currency_sane(struct str s)
{
    if (!str_has(s))
        return true;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 'A' || s.p[i] > 'Z')
            return false;
    return s.n == 3;
}

static bool get_order(const Waymark__V1__Order *m, struct arena *a, struct order_fields *to)
{
    if (!m)
        return true;
    ORDER_TEXTS(GET_TEXT)
    ORDER_AMOUNTS(GET_NUMBER)
    to->status = m->has_status ? (enum order_status)m->status : STATUS_NONE;
    to->has_items = m->has_has_items && m->has_items;
    return (int)m->status >= STATUS_NONE && (int)m->status <= STATUS_CANCELLED && currency_sane(to->currency) &&
           to->order_id.n <= LIMIT_ID_BYTES && amount_sane(to->total) && amount_sane(to->revenue) &&
           amount_sane(to->subtotal) && amount_sane(to->discount) && amount_sane(to->shipping) &&
           amount_sane(to->tax) && get_refund(m->refund, a, to);
}

/* Whether the rest of the program may rely on what the envelope says. */
static bool envelope_sane(const struct event *e)
{
    return e->type >= EVENT_PAGE && e->type <= EVENT_MARK && (e->trust == TRUST_BEACON || e->trust == TRUST_SERVER) &&
           event_log_key(e).n > 0 && e->user_id.n <= LIMIT_ID_BYTES && e->anonymous_id.n <= LIMIT_ID_BYTES &&
           e->message_id.n <= LIMIT_ID_BYTES && time_sane(e->time) && time_sane(e->received) &&
           (e->original_time == TIME_NONE || time_sane(e->original_time)) &&
           (e->sent == TIME_NONE || time_sane(e->sent));
}

static bool get_event(const Waymark__V1__Event *m, struct arena *a, struct event *to)
{
    if (m->uid.len != UID_BYTES)
        return false;
    to->type = (enum event_type)m->type;
    to->trust = (enum event_trust)m->trust;
    memcpy(to->uid.b, m->uid.data, UID_BYTES);
    to->time = m->time;
    to->received = m->received;
    to->position = m->has_position ? m->position : 0;
    to->original_time = m->has_original_time ? m->original_time : TIME_NONE;
    to->sent = m->has_sent ? m->sent : TIME_NONE;
    to->erased = m->has_erased && m->erased;
    EVENT_TEXTS(GET_TEXT)
    if (m->library) {
        to->library = get_text(m->library->has_name, &m->library->name);
        to->library_version = get_text(m->library->has_version, &m->library->version);
    }
    get_campaign(m->campaign, &to->campaign);
    get_place(m->place, &to->place);
    return envelope_sane(to) && get_items(m->items, m->n_items, a, &to->items, &to->item_count) &&
           get_order(m->order, a, &to->order);
}

int event_unpack(struct str bytes, struct arena *a, struct event *out)
{
    int head = check_head(bytes);

    if (head != CODEC_OK)
        return head;
    const Waymark__V1__Event *m =
        (const Waymark__V1__Event *)pb_unpack(&waymark__v1__event__descriptor, bytes, PROTOBUF_BYTES(bytes.n), a);
    if (!m)
        return errno == ENOMEM ? -ENOMEM : CODEC_INVALID;
    if (m->version != CODEC_VERSION)
        return m->version > CODEC_VERSION ? CODEC_VERSION_UNKNOWN : CODEC_INVALID;
    struct event e = {0};
    if (!get_event(m, a, &e))
        return CODEC_INVALID;
    *out = e;
    return CODEC_OK;
}

int bad_event_unpack(struct str bytes, struct arena *a, struct bad_event *out)
{
    int head = check_head(bytes);

    if (head != CODEC_OK)
        return head;
    const Waymark__V1__BadEvent *m = (const Waymark__V1__BadEvent *)pb_unpack(&waymark__v1__bad_event__descriptor,
                                                                              bytes, PROTOBUF_BYTES(bytes.n), a);
    if (!m)
        return CODEC_INVALID;
    if (m->version != CODEC_VERSION)
        return m->version > CODEC_VERSION ? CODEC_VERSION_UNKNOWN : CODEC_INVALID;
    struct bad_event bad = {.received = m->received,
                            .position = m->has_position ? m->position : 0,
                            .full_size = m->has_full_size ? m->full_size : 0,
                            .sealed = m->has_sealed && m->sealed,
                            .from_log = m->has_log_partition && m->has_log_offset,
                            .log_partition = m->has_log_partition ? m->log_partition : 0,
                            .log_offset = m->has_log_offset ? m->log_offset : 0};
    struct bad_event *to = &bad;
    BAD_TEXTS(GET_TEXT)
    *out = bad;
    return CODEC_OK;
}

int claim_unpack(struct str bytes, struct arena *a, struct claim_record *out)
{
    int head = check_head(bytes);

    if (head != CODEC_OK)
        return head;
    const Waymark__V1__Claim *m =
        (const Waymark__V1__Claim *)pb_unpack(&waymark__v1__claim__descriptor, bytes, PROTOBUF_BYTES(bytes.n), a);
    if (!m)
        return errno == ENOMEM ? -ENOMEM : CODEC_INVALID;
    if (m->version != CODEC_VERSION)
        return m->version > CODEC_VERSION ? CODEC_VERSION_UNKNOWN : CODEC_INVALID;
    *out = (struct claim_record){
        .instance = get_text(true, &m->instance), .url = get_text(true, &m->url), .time = m->time};
    return CODEC_OK;
}
