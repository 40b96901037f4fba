/* Reading single fields out of parsed JSON: what the decoders share. Camel case and snake case are both known by the
 * tables of keys; where an object has both, camel case wins. Null counts as absent. Pure. */
#ifndef WAYMARK_DECODE_FIELDS_H
#define WAYMARK_DECODE_FIELDS_H

#include <assert.h>

#include "collector/decode.h"
#include "collector/scrub.h"
#include "common/limits.h"

/* What goes along from field to field while one event is read. */
struct reader {
    const struct decode_input *in;
    struct arena *arena;
    struct refusal *why;
    struct event *e;
    struct decode_notes *notes;
    struct scrub *scrub; /* NULL: nothing is taken out */
};

/* Begins the reading of `e`: all of `r`, with a scrub and notes of the caller's where the input gives none. */
void reader_begin(struct reader *r, const struct decode_input *in, struct arena *a, struct refusal *why,
                  struct event *e, struct scrub *scrub, struct decode_notes *notes);
/* Ends it, whatever came of it (`rc`): what was taken out goes to the notes. The result of the whole. */
int reader_end(struct reader *r, int rc);

/* --- refusing --- */

/* Fills *why and returns DECODE_REFUSED. */
int refuse(struct refusal *why, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Puts words before the message, so that it names the field from the event's top: "properties." "products[3]." */
void refusal_prefix(struct refusal *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- members --- */

/* A key and the slot of the field that it names. `snake` marks the spelling that gives way. The tag is the key's
 * length, first and last byte: it tells most keys apart without looking at them. */
struct key_row {
    const char *name;
    uint32_t tag;
    unsigned char slot;
    bool snake;
};
#define KEY_TAG(n, first, last) ((uint32_t)(n) << 16 | (uint32_t)(unsigned char)(first) << 8 | (unsigned char)(last))
#define KEY_ROW(name, slot, snake)                                                                                     \
    {                                                                                                                  \
        name, KEY_TAG(sizeof(name) - 1, (name)[0], (name)[sizeof(name) - 2]), slot, snake                              \
    }
#define KEY(name, slot) KEY_ROW(name, slot, false)
#define SNAKE(name, slot) KEY_ROW(name, slot, true)

/* Sorted by tag. */
struct key_table {
    const struct key_row *rows;
    size_t count;
};
#define KEY_TABLE(rows)                                                                                                \
    {                                                                                                                  \
        rows, sizeof(rows) / sizeof *(rows)                                                                            \
    }

extern const struct key_table call_keys, property_keys, order_keys, refund_keys, item_keys, place_keys, context_keys;

#define SLOTS_MAX 32

struct members {
    const struct json *v[SLOTS_MAX][2];
    uint32_t present; /* a bit for each slot that has a member */
    size_t unknown;   /* members without a slot */
};

/* Sorts an object's members into slots; of several with one key the last, as JavaScript has it. `o` may be NULL. */
void members_read(const struct json *o, const struct key_table *keys, struct members *out);

/* The value in a slot; NULL when absent or null. */
static inline const struct json *member(const struct members *m, unsigned slot)
{
    for (int i = 0; i < 2; i++)
        if (m->v[slot][i] && m->v[slot][i]->type != JSON_NULL)
            return m->v[slot][i];
    return NULL;
}

/* Writes an object of the members that have no slot and of those whose slot's bit is set in `kept`, each as it was
 * written. *out stays absent when there are none. 0 or -ENOMEM. */
int members_rest(const struct json *o, const struct key_table *keys, const struct members *m, uint32_t kept,
                 struct arena *a, struct str *out);

/* Whether a member is one of those. */
bool member_is_rest(const struct json *v, const struct key_table *keys, uint32_t kept);
/* members_rest without what must not be kept; what is taken out has names that begin with `prefix`, if not NULL. */
int rest_keep(struct reader *r, const struct json *o, const struct key_table *keys, const struct members *m,
              uint32_t kept, const char *prefix, struct str *out);

/* The bit of a slot. */
#define SLOT_BIT(slot) (UINT32_C(1) << (slot))

/* --- values: `v` may be NULL for absent; then nothing is written --- */

/* A descriptive text; numbers and booleans as they are written. False, and nothing written, when there is a value that
 * cannot be taken: an object, an array, or longer than `max`; it then stays in the verbatim part only. */
bool text_read(const struct json *v, size_t max, struct str *out);
/* The same where an empty text says nothing. */
bool text_read_full(const struct json *v, size_t max, struct str *out);
/* A string or an integer of any size, as its digits, up to LIMIT_ID_BYTES; empty counts as absent. */
int id_read(struct refusal *why, const char *code, const char *name, const struct json *v, struct str *out);
/* A JSON number or a decimal string, in micros. */
int amount_read(struct refusal *why, const char *name, const struct json *v, struct opt *out);
/* A whole number, negative too (a shop's correction). */
int quantity_read(struct refusal *why, const char *name, const struct json *v, struct opt *out);
/* Three letters; lower case becomes upper case. */
int currency_read(struct reader *r, const char *name, const struct json *v, struct str *out);
/* ISO 8601, a number of seconds or milliseconds since 1970, or such a number as a string of 10 or 13 digits. */
int time_read(struct refusal *why, const char *code, const char *name, const struct json *v, int64_t *out);
/* An object; *out is NULL when absent, and for [], which is what PHP makes of an empty object. */
int object_read(struct refusal *why, const char *name, const struct json *v, const struct json **out);

/* --- parts of an event --- */

/* Checks that hold for every event: an object, not too large, not too deep, in a batch that is none of it either. */
int shape_check(const struct json *v, const struct json *batch, struct refusal *why);
/* A person's ids: blocked ones count as absent. So does a beacon's user where the shop demands its hash, `hash`, and
 * that is NULL or wrong. */
int user_read(struct reader *r, const char *name, const struct json *v, const struct json *hash, struct str *out);
int device_read(struct reader *r, const char *name, const struct json *v, struct str *out);
/* Fills the times of the event. `timestamp` is what the client stated, `sent` the event's own. */
int times_read(struct reader *r, const struct json *timestamp, const struct json *sent);
/* What every event gets last: a message id if it has none, and its uid. */
int event_finish(struct reader *r);

/* Items of an array named `name`; `keep` keeps unknown members in `extra`. */
int items_read(struct reader *r, const char *name, const struct json *v, bool keep, const struct item **out,
               size_t *count);
/* The product that stands in the properties themselves, if there is one. */
int flat_item_read(struct reader *r, const struct json *properties);
/* False when something of it has no field, so that it must be kept as it was written too. */
bool place_read(const struct json *v, struct place *out);

/* Slots that order logs and the properties of calls share. */
enum field {
    F_ORDER_ID,
    F_TOTAL,
    F_REVENUE,
    F_SUBTOTAL,
    F_DISCOUNT,
    F_SHIPPING,
    F_TAX,
    F_CURRENCY,
    F_COUPON,
    F_CHANNEL,
    F_ITEMS,
    F_SHARED_BY,
    F_PLACE,
    /* order logs only */
    F_STATUS,
    F_USER,
    F_DEVICE,
    F_MESSAGE,
    F_TIMESTAMP,
    F_ORIGINAL,
    F_SENT,
    F_REFUND,
    F_DROPPED,
    /* properties only */
    F_REFUND_ID,
    F_URL,
    F_PATH,
    F_TITLE,
    F_REFERRER,
    F_MODULE,
    F_CAME_FROM,
    F_NAME
};
static_assert(F_NAME < SLOTS_MAX, "a bit for each slot");

/* What a call says of an order in its properties, by the name of a track. */
int order_of_call_read(struct reader *r, const struct members *properties);
/* Whether a call says something about an order; its products are then those of the order or its refund. */
bool states_order(const struct event *e);
/* Context, merged over the batch's, with what is read from it. The url from the properties must be in place. `consent`:
 * what the call itself states. */
int context_read(struct reader *r, const struct json *v, const struct json *consent, const struct json **traits);

#endif
