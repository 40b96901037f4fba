/* Reading single fields out of parsed JSON: members by key, texts, ids, amounts, times. Pure; any thread. */
#include "collector/decode_fields.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include <errno.h>

#include "common/num.h"

int refuse(struct refusal *why, const char *code, const char *format, ...)
{
    va_list args;

    why->code = code;
    va_start(args, format);
    vsnprintf(why->message, sizeof why->message, format, args);
    va_end(args);
    return DECODE_REFUSED;
}

void refusal_prefix(struct refusal *why, const char *format, ...)
{
    char before[sizeof why->message];
    va_list args;

    memcpy(before, why->message, sizeof before);
    va_start(args, format);
    vsnprintf(why->message, sizeof why->message, format, args);
    va_end(args);
    size_t n = strlen(why->message);
    snprintf(why->message + n, sizeof why->message - n, "%s", before);
}

/* --- members --- */

#define KEY_LONGEST 32

static const struct key_row *key_find(const struct key_table *keys, struct str key)
{
    if (key.n == 0 || key.n > KEY_LONGEST)
        return NULL;
    const struct key_row *row = keys->rows, *end = row + keys->count;
    uint32_t tag = KEY_TAG(key.n, key.p[0], key.p[key.n - 1]);
    for (size_t n = keys->count; n > 0; n /= 2) {
        const struct key_row *middle = row + n / 2;
        if (middle->tag < tag) {
            row = middle + 1;
            n--;
        }
    }
    for (; row < end && row->tag == tag; row++)
        if (memcmp(row->name, key.p, key.n) == 0)
            return row;
    return NULL;
}

void members_read(const struct json *o, const struct key_table *keys, struct members *out)
{
    memset(out, 0, sizeof *out);
    for (const struct json *v = o ? o->child : NULL; v; v = v->next) {
        const struct key_row *row = key_find(keys, v->key);
        if (!row) {
            out->unknown++;
            continue;
        }
        out->v[row->slot][row->snake] = v;
        out->present |= SLOT_BIT(row->slot);
    }
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c != '"' && c != '\\';
}

/* A key as JSON. It came out of a parser, so it is UTF-8; it becomes at most six times as long, and quotes. */
static char *write_key(char *p, struct str key)
{
    static const char hex[] = "0123456789abcdef";

    *p++ = '"';
    for (size_t i = 0; i < key.n; i++) {
        unsigned char c = (unsigned char)key.p[i];
        if (is_plain(c)) {
            *p++ = key.p[i];
        } else if (c >= 0x20) {
            *p++ = '\\';
            *p++ = key.p[i];
        } else {
            memcpy(p, "\\u00", 4);
            p[4] = hex[c >> 4];
            p[5] = hex[c & 15];
            p += 6;
        }
    }
    *p++ = '"';
    return p;
}

bool member_is_rest(const struct json *v, const struct key_table *keys, uint32_t kept)
{
    const struct key_row *row = key_find(keys, v->key);

    return !row || (kept >> row->slot & 1 && v->type != JSON_NULL);
}

int members_rest(const struct json *o, const struct key_table *keys, const struct members *m, uint32_t kept,
                 struct arena *a, struct str *out)
{
    size_t bound = 2;

    if (m->unknown == 0 && (kept & m->present) == 0)
        return 0;
    for (const struct json *v = o->child; v; v = v->next)
        if (member_is_rest(v, keys, kept))
            bound += 6 * v->key.n + v->raw.n + 4;
    if (bound == 2)
        return 0;
    char *start = arena_alloc(a, bound), *p = start;
    if (!start)
        return -ENOMEM;
    *p++ = '{';
    for (const struct json *v = o->child; v; v = v->next) {
        if (!member_is_rest(v, keys, kept))
            continue;
        if (p > start + 1)
            *p++ = ',';
        p = write_key(p, v->key);
        *p++ = ':';
        memcpy(p, v->raw.p, v->raw.n);
        p += v->raw.n;
    }
    *p++ = '}';
    assert((size_t)(p - start) <= bound);
    *out = (struct str){start, (size_t)(p - start)};
    return 0;
}

/* What member_is_rest asks for. */
struct rest {
    const struct key_table *keys;
    uint32_t kept;
};

static bool belongs(const struct json *v, const void *arg)
{
    const struct rest *rest = arg;

    return member_is_rest(v, rest->keys, rest->kept);
}

int rest_keep(struct reader *r, const struct json *o, const struct key_table *keys, const struct members *m,
              uint32_t kept, const char *prefix, struct str *out)
{
    const struct rest rest = {keys, kept};
    const struct scrub_source from = {.own = o, .belongs = belongs, .arg = &rest, .prefix = prefix};

    if (m->unknown == 0 && (kept & m->present) == 0)
        return 0;
    if (r->scrub && scrub_wanted(r->scrub, SCRUB_EXTRA, &from))
        return scrub_object(r->scrub, SCRUB_EXTRA, &from, out);
    return members_rest(o, keys, m, kept, r->arena, out);
}

/* --- values --- */

bool text_read(const struct json *v, size_t max, struct str *out)
{
    if (!v || v->type == JSON_NULL)
        return true;
    if (v->type == JSON_ARRAY || v->type == JSON_OBJECT)
        return false;
    struct str text = v->type == JSON_STRING || v->type == JSON_NUMBER ? v->text : v->raw;
    if (text.n > max)
        return false;
    *out = text;
    return true;
}

bool text_read_full(const struct json *v, size_t max, struct str *out)
{
    struct str text = STR_NONE;
    bool taken = text_read(v, max, &text);

    if (text.n > 0)
        *out = text;
    return taken;
}

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

/* Without point and exponent: "-7" too, since that is how it would be written as a string. */
static bool is_integer(struct str number)
{
    if (number.n > 0 && *number.p == '-')
        number = (struct str){number.p + 1, number.n - 1};
    return all_digits(number);
}

int id_read(struct refusal *why, const char *code, const char *name, const struct json *v, struct str *out)
{
    if (!v || v->type == JSON_NULL)
        return 0;
    if (v->type != JSON_STRING && !(v->type == JSON_NUMBER && is_integer(v->text)))
        return refuse(why, code, "%s is neither a string nor an integer", name);
    if (v->text.n > LIMIT_ID_BYTES)
        return refuse(why, code, "%s is over %d bytes", name, LIMIT_ID_BYTES);
    if (v->text.n > 0)
        *out = v->text;
    return 0;
}

int amount_read(struct refusal *why, const char *name, const struct json *v, struct opt *out)
{
    int64_t micros = 0;
    int rc = NUM_BAD;

    if (!v || v->type == JSON_NULL)
        return 0;
    if (v->type == JSON_NUMBER || v->type == JSON_STRING)
        rc = num_micros(v->text, v->type == JSON_STRING, &micros);
    if (rc == NUM_RANGE)
        return refuse(why, "value_invalid", "%s is over %lld in size", name, (long long)LIMIT_AMOUNT);
    if (rc != NUM_OK)
        return refuse(why, "value_invalid", "%s is no amount", name);
    *out = (struct opt){true, micros};
    return 0;
}

int quantity_read(struct refusal *why, const char *name, const struct json *v, struct opt *out)
{
    int64_t pieces = 0;
    int rc = NUM_BAD;

    if (!v || v->type == JSON_NULL)
        return 0;
    if (v->type == JSON_NUMBER || v->type == JSON_STRING)
        rc = num_integer(v->text, LIMIT_QUANTITY, &pieces);
    if (rc == NUM_RANGE)
        return refuse(why, "value_invalid", "%s is over %lld in size", name, (long long)LIMIT_QUANTITY);
    if (rc != NUM_OK)
        return refuse(why, "value_invalid", "%s is no whole number", name);
    *out = (struct opt){true, pieces};
    return 0;
}

int currency_read(struct reader *r, const char *name, const struct json *v, struct str *out)
{
    if (!v || v->type == JSON_NULL)
        return 0;
    bool good = v->type == JSON_STRING && v->text.n == 3, upper = good;
    for (size_t i = 0; good && i < 3; i++) {
        char c = (char)(v->text.p[i] & ~0x20);
        good = c >= 'A' && c <= 'Z';
        upper = upper && c == v->text.p[i];
    }
    if (!good)
        return refuse(r->why, "value_invalid", "%s is no currency code of three letters", name);
    *out = v->text;
    if (upper)
        return 0;
    char *p = arena_alloc(r->arena, 3);
    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < 3; i++)
        p[i] = (char)(v->text.p[i] & ~0x20);
    *out = (struct str){p, 3};
    return 0;
}

static bool is_epoch_text(struct str s)
{
    return (s.n == 10 || s.n == 13) && all_digits(s);
}

int time_read(struct refusal *why, const char *code, const char *name, const struct json *v, int64_t *out)
{
    int64_t t = 0;
    int rc = 1;

    if (!v || v->type == JSON_NULL)
        return 0;
    if (v->type == JSON_NUMBER || (v->type == JSON_STRING && is_epoch_text(v->text)))
        rc = time_parse_epoch(v->text, &t);
    else if (v->type == JSON_STRING)
        rc = time_parse(v->text, &t);
    if (rc != 0 || t < LIMIT_TIME_FIRST || t > LIMIT_TIME_LAST)
        return refuse(why, code, "%s cannot be read as a time", name);
    *out = t;
    return 0;
}

int object_read(struct refusal *why, const char *name, const struct json *v, const struct json **out)
{
    *out = NULL;
    if (!v || v->type == JSON_NULL || (v->type == JSON_ARRAY && v->count == 0))
        return 0;
    if (v->type != JSON_OBJECT)
        return refuse(why, "value_invalid", "%s is no object", name);
    *out = v;
    return 0;
}
