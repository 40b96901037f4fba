/* What stands at the head of a packed event, without unpacking it. Pure; any thread. */
#include "proto/codec.h"

enum { FIELD_TYPE = 2, FIELD_NAME = 12, FIELD_ITEMS = 33 };
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static bool skip(const char **p, const char *end, uint64_t n)
{
    if (n > (uint64_t)(end - *p))
        return false;
    *p += n;
    return true;
}

/* Most are of one byte or two. */
static inline bool next_varint(const char **p, const char *end, uint64_t *out)
{
    const unsigned char *c = (const unsigned char *)*p;

    if (end - *p < 2 || (c[0] & c[1] & 0x80))
        return get_varint(p, end, out);
    *out = c[0] & 0x80 ? (uint64_t)(c[0] & 0x7f) | (uint64_t)c[1] << 7 : c[0];
    *p += c[0] & 0x80 ? 2 : 1;
    return true;
}

bool event_peek(struct str packed, enum event_type *type, struct str *name)
{
    const char *p = packed.p, *end = str_end(packed);
    uint64_t tag, v = 0;

    *type = (enum event_type)0;
    *name = STR_NONE;
    while (p < end) {
        if (!next_varint(&p, end, &tag))
            return false;
        switch (tag & 7) {
        case WIRE_VARINT:
            if (!next_varint(&p, end, &v))
                return false;
            if (tag >> 3 == FIELD_TYPE)
                *type = (enum event_type)v;
            break;
        case WIRE_BYTES:
            if (!next_varint(&p, end, &v))
                return false;
            if (tag >> 3 == FIELD_NAME && v <= (uint64_t)(end - p))
                *name = (struct str){v ? p : "", (size_t)v};
            if (!skip(&p, end, v))
                return false;
            break;
        case WIRE_64:
        case WIRE_32:
            if (!skip(&p, end, (tag & 7) == WIRE_64 ? 8 : 4))
                return false;
            break;
        default:
            return false;
        }
    }
    return *type >= EVENT_PAGE;
}

/* The next field; of a message or text its bytes, else nothing. False at the end, or where it is no protobuf. */
static bool next_field(const char **p, const char *end, uint64_t *number, struct str *bytes)
{
    uint64_t tag, v = 0;

    *bytes = STR_NONE;
    if (!next_varint(p, end, &tag))
        return false;
    *number = tag >> 3;
    switch (tag & 7) {
    case WIRE_VARINT:
        return next_varint(p, end, &v);
    case WIRE_BYTES:
        if (!next_varint(p, end, &v))
            return false;
        *bytes = (struct str){v ? *p : "", (size_t)v};
        return skip(p, end, v);
    case WIRE_64:
    case WIRE_32:
        return skip(p, end, (tag & 7) == WIRE_64 ? 8 : 4);
    default:
        return false;
    }
}

/* By number, from 1. */
static const char *const item_texts[] = {"product_id", "sku", "name", "category", "style", "brand", "color", "size"};

/* 0: it is none. */
static uint64_t number_of_text(struct str name)
{
    for (uint64_t i = 0; i < sizeof item_texts / sizeof *item_texts; i++)
        if (str_is(name, item_texts[i]))
            return i + 1;
    return 0;
}

bool event_peek_item(struct str packed, struct str name, struct str *text)
{
    const uint64_t wanted = number_of_text(name);
    const char *p = packed.p, *end = str_end(packed);
    uint64_t number = 0;
    struct str item, bytes;

    *text = STR_NONE;
    if (wanted == 0)
        return false;
    do {
        if (!next_field(&p, end, &number, &item))
            return false;
    } while (number != FIELD_ITEMS);
    if (!str_has(item))
        return false;
    p = item.p;
    while (next_field(&p, str_end(item), &number, &bytes))
        if (number == wanted)
            *text = bytes;
    return p == str_end(item) && str_has(*text);
}
