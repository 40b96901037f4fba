/* Internal records and commands as bytes, by protobuf-c. Pure. */
#include "proto/internal.h"

#include <assert.h>
#include <errno.h>

#include "common/limits.h"
#include "proto/codec.h"
#include "proto/keys.h"
#include "proto/pb.h"
#include "waymark.pb-c.h"

/* What unpacking takes of the arena: the texts, which are copied, and the items. */
#define UNPACK_BYTES(n) (2 * MIB + 2 * (size_t)(n))
#define MOST_ITEMS 8192 /* far more than are ever written, and little enough for the arena */

struct str internal_key(const struct internal *r, struct buf *buf)
{
    switch (r->kind) {
    case INTERNAL_LINK:
    case INTERNAL_VERDICT:
    case INTERNAL_ERASE:
    case INTERNAL_RECOUNT:
        return r->device;
    case INTERNAL_MEMBER:
    case INTERNAL_PLACEMENT:
    case INTERNAL_PAIR:
        return r->user;
    case INTERNAL_STATEMENT:
        buf_reset(buf);
        buf_add_str(buf, STR_LIT(ORDER_DEVICE_PREFIX));
        buf_add_str(buf, r->order_id);
        return buf->failed ? STR_NONE : buf_str(buf);
    case INTERNAL_GRAVE:
        return STR_NONE;
    case INTERNAL_ORDER:
        break;
    }
    return (struct str){r->owner.p + 5, r->owner.n - 5}; /* without "user:" */
}

/* --- packing -------------------------------------------------------------------------------------------------- */

static void put(protobuf_c_boolean *has, ProtobufCBinaryData *to, struct str s)
{
    if (!str_has(s))
        return;
    *has = true;
    *to = (ProtobufCBinaryData){s.n, (uint8_t *)(uintptr_t)s.p};
}

static void put_key(Waymark__V1__EventKey *to, const struct event_key *key)
{
    waymark__v1__event_key__init(to);
    to->time = key->time;
    to->received = key->received;
    to->has_position = key->position != 0;
    to->position = key->position;
    to->uid = (ProtobufCBinaryData){UID_BYTES, (uint8_t *)(uintptr_t)key->uid.b};
}

static bool has_key(enum internal_kind kind)
{
    return kind == INTERNAL_LINK || kind == INTERNAL_PAIR;
}

struct packing {
    Waymark__V1__Internal m;
    Waymark__V1__EventKey key;
    Waymark__V1__EventKey keys[INTERNAL_ITEMS];
    Waymark__V1__InternalItem items[INTERNAL_ITEMS], *list[INTERNAL_ITEMS];
};

static size_t put_items(struct packing *to, const struct internal *r)
{
    size_t bytes = 0;

    to->m.n_items = r->item_count;
    to->m.items = to->list;
    for (size_t i = 0; i < r->item_count; i++) {
        Waymark__V1__InternalItem *item = &to->items[i];

        waymark__v1__internal_item__init(item);
        put_key(&to->keys[i], &r->items[i].key);
        item->key = &to->keys[i];
        put(&item->has_event, &item->event, r->items[i].bytes);
        to->list[i] = item;
        bytes += 8 * PB_FIELD_BYTES + UID_BYTES + r->items[i].bytes.n;
    }
    return bytes;
}

bool internal_pack(const struct internal *r, struct buf *b)
{
    struct packing to;
    Waymark__V1__Internal *m = &to.m;

    assert(r->item_count <= INTERNAL_ITEMS);
    waymark__v1__internal__init(m);
    m->version = CODEC_VERSION;
    m->kind = (Waymark__V1__InternalKind)r->kind;
    m->sender = r->sender;
    m->cause = r->version.cause;
    m->index = r->version.index;
    put(&m->has_device, &m->device, r->device);
    put(&m->has_user, &m->user, r->user);
    put(&m->has_order_id, &m->order_id, r->order_id);
    put(&m->has_owner, &m->owner, r->owner);
    if (has_key(r->kind)) {
        put_key(&to.key, &r->key);
        m->key = &to.key;
        m->has_subject = memcmp(r->subject.b, r->key.uid.b, UID_BYTES) != 0;
        m->subject = (ProtobufCBinaryData){UID_BYTES, (uint8_t *)(uintptr_t)r->subject.b};
    }
    m->has_removed = m->removed = r->removed;
    m->has_by_order = m->by_order = r->by_order;
    m->has_until = r->erased;
    m->until = r->until;
    put(&m->has_alias, &m->alias, r->alias);
    put(&m->has_links, &m->links, r->links);
    size_t bytes = put_items(&to, r) + r->device.n + r->user.n + r->order_id.n + r->owner.n + r->alias.n + r->links.n;
    return pb_pack(&m->base, bytes + 24 * PB_FIELD_BYTES, b);
}

/* --- unpacking ------------------------------------------------------------------------------------------------ */

static struct str get(protobuf_c_boolean has, const ProtobufCBinaryData *from)
{
    if (!has)
        return STR_NONE;
    return (struct str){from->data ? (const char *)from->data : "", from->len};
}

static bool get_key(const Waymark__V1__EventKey *from, struct event_key *out)
{
    if (!from || from->uid.len != UID_BYTES)
        return false;
    *out = (struct event_key){from->time, from->received, from->has_position ? from->position : 0, {{0}}};
    memcpy(out->uid.b, from->uid.data, UID_BYTES);
    return true;
}

static bool get_subject(const Waymark__V1__Internal *from, struct internal *out)
{
    out->subject = out->key.uid;
    if (from->has_subject && from->subject.len == UID_BYTES)
        memcpy(out->subject.b, from->subject.data, UID_BYTES);
    return !from->has_subject || from->subject.len == UID_BYTES;
}

static int get_items(const Waymark__V1__Internal *m, struct arena *a, struct internal *out)
{
    struct internal_item *items;

    if (m->n_items > MOST_ITEMS)
        return CODEC_INVALID;
    items = arena_alloc(a, (m->n_items + 1) * sizeof *items);
    if (!items)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_items; i++) {
        if (!get_key(m->items[i]->key, &items[i].key))
            return CODEC_INVALID;
        items[i].bytes = get(m->items[i]->has_event, &m->items[i]->event);
    }
    out->items = items;
    out->item_count = m->n_items;
    return CODEC_OK;
}

static bool usable(struct str id)
{
    return str_has(id) && id.n > 0 && id.n <= KEY_ID_MAX_BYTES;
}

static bool is_profile(struct str id)
{
    return id.n > 5 && id.n <= 5 + KEY_ID_MAX_BYTES &&
           (str_starts(id, STR_LIT("user:")) || str_starts(id, STR_LIT("anon:")));
}

static bool complete(const struct internal *r)
{
    switch (r->kind) {
    case INTERNAL_LINK:
    case INTERNAL_VERDICT:
    case INTERNAL_MEMBER:
    case INTERNAL_PAIR:
        return usable(r->device) && usable(r->user) && r->item_count == 0;
    case INTERNAL_PLACEMENT:
        return usable(r->device) && usable(r->user) && r->item_count > 0;
    case INTERNAL_ERASE:
        return usable(r->device) && usable(r->user) && r->erased && r->alias.n == ERASURE_ALIAS_BYTES;
    case INTERNAL_GRAVE:
        return r->device.n == ERASURE_HASH_BYTES && r->user.n == ERASURE_HASH_BYTES && r->erased &&
               r->alias.n == ERASURE_ALIAS_BYTES && str_has(r->links) && r->item_count == 0;
    case INTERNAL_STATEMENT:
    case INTERNAL_ORDER:
        return usable(r->order_id) && r->order_id.n <= ORDER_ID_MAX_BYTES && is_profile(r->owner) && r->item_count > 0;
    case INTERNAL_RECOUNT:
        break;
    }
    return false;
}

/* Whether the version says that it can be read, or why not. */
static int check_version(uint32_t version)
{
    if (version == CODEC_VERSION)
        return CODEC_OK;
    return version > CODEC_VERSION ? CODEC_VERSION_UNKNOWN : CODEC_INVALID;
}

static const ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *type, struct str bytes, struct arena *a,
                                      int *rc)
{
    const ProtobufCMessage *m = bytes.n > LIMIT_RECORD_BYTES ? NULL : pb_unpack(type, bytes, UNPACK_BYTES(bytes.n), a);

    *rc = m ? CODEC_OK : bytes.n <= LIMIT_RECORD_BYTES && errno == ENOMEM ? -ENOMEM : CODEC_INVALID;
    return m;
}

int internal_unpack(struct str bytes, struct arena *a, struct internal *out)
{
    int rc;
    const Waymark__V1__Internal *m =
        (const Waymark__V1__Internal *)unpack(&waymark__v1__internal__descriptor, bytes, a, &rc);

    if (rc != CODEC_OK || (rc = check_version(m->version)) != CODEC_OK)
        return rc;
    *out = (struct internal){
        .kind = (enum internal_kind)m->kind,
        .sender = m->sender,
        .version = {m->cause, m->index},
        .device = get(m->has_device, &m->device),
        .user = get(m->has_user, &m->user),
        .order_id = get(m->has_order_id, &m->order_id),
        .owner = get(m->has_owner, &m->owner),
        .removed = m->has_removed && m->removed,
        .by_order = m->has_by_order && m->by_order,
        .erased = m->has_until,
        .until = m->until,
        .alias = get(m->has_alias, &m->alias),
        .links = get(m->has_links, &m->links),
    };
    if (m->kind < (int)INTERNAL_FIRST || m->kind > (int)INTERNAL_LAST)
        return CODEC_INVALID;
    if (has_key(out->kind) && (!get_key(m->key, &out->key) || !get_subject(m, out)))
        return CODEC_INVALID;
    rc = get_items(m, a, out);
    return rc == CODEC_OK && !complete(out) ? CODEC_INVALID : rc;
}

/* --- commands ------------------------------------------------------------------------------------------------- */

bool command_pack(const struct command *c, struct buf *b)
{
    Waymark__V1__Command m;

    waymark__v1__command__init(&m);
    m.version = CODEC_VERSION;
    m.kind = (Waymark__V1__CommandKind)c->kind;
    m.time = c->time;
    put(&m.has_device, &m.device, c->device);
    put(&m.has_user, &m.user, c->user);
    m.has_until = true;
    m.until = c->until;
    put(&m.has_hash, &m.hash, c->hash);
    put(&m.has_alias, &m.alias, c->alias);
    m.has_definition = c->definition != 0;
    m.definition = c->definition;
    put(&m.has_name, &m.name, c->name);
    put(&m.has_body, &m.body, c->body);
    size_t bytes = c->device.n + c->user.n + c->hash.n + c->alias.n + c->name.n + c->body.n;
    return pb_pack(&m.base, bytes + 11 * PB_FIELD_BYTES, b);
}

static bool is_definition(const struct command *c)
{
    return c->definition >= DEFINITION_AUDIENCE && c->definition < DEFINITION_KINDS && c->name.n > 0 &&
           c->name.n <= DEFINITION_NAME_BYTES && c->body.n <= DEFINITION_BODY_BYTES && !str_has(c->device) &&
           !str_has(c->user);
}

static bool is_command(const struct command *c)
{
    if (c->kind == COMMAND_UNLINK)
        return usable(c->device) && usable(c->user);
    if (c->kind == COMMAND_DEFINE)
        return is_definition(c);
    return c->kind == COMMAND_ERASE && c->hash.n == ERASURE_HASH_BYTES && c->alias.n == ERASURE_ALIAS_BYTES &&
           !(str_has(c->device) && str_has(c->user)) && (!str_has(c->device) || usable(c->device)) &&
           (!str_has(c->user) || usable(c->user));
}

int command_unpack(struct str bytes, struct arena *a, struct command *out)
{
    int rc;
    const Waymark__V1__Command *m =
        (const Waymark__V1__Command *)unpack(&waymark__v1__command__descriptor, bytes, a, &rc);

    if (rc != CODEC_OK || (rc = check_version(m->version)) != CODEC_OK)
        return rc;
    *out = (struct command){.kind = (enum command_kind)m->kind,
                            .time = m->time,
                            .device = get(m->has_device, &m->device),
                            .user = get(m->has_user, &m->user),
                            .until = m->until,
                            .hash = get(m->has_hash, &m->hash),
                            .alias = get(m->has_alias, &m->alias),
                            .definition = m->has_definition ? (enum definition_kind)m->definition : 0,
                            .name = get(m->has_name, &m->name),
                            .body = get(m->has_body, &m->body)};
    return m->has_until && is_command(out) ? CODEC_OK : CODEC_INVALID;
}
