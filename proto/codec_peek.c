/* What stands at the head of a packed event, without unpacking it. Pure; any thread. */
#include "proto/codec.h"

enum { FIELD_TYPE = 2, FIELD_NAME = 12 };
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static bool skip(const char **p, const char *end, uint64_t n)
{
    if (n > (uint64_t)(end - *p))
        return false;
    *p += n;
    return true;
}

bool event_peek(struct str packed, enum event_type *type, struct str *name)
{
    const char *p = packed.p, *end = str_end(packed);
    uint64_t tag, v = 0;

    *type = (enum event_type)0;
    *name = STR_NONE;
    while (p < end) {
        if (!get_varint(&p, end, &tag))
            return false;
        switch (tag & 7) {
        case WIRE_VARINT:
            if (!get_varint(&p, end, &v))
                return false;
            if (tag >> 3 == FIELD_TYPE)
                *type = (enum event_type)v;
            break;
        case WIRE_BYTES:
            if (!get_varint(&p, end, &v))
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
