/* Values of traits: whether one fits its type, and what is shown of it to who may not see it. Pure; any thread. */
#include <stdlib.h>
#include <strings.h>

#include "common/clock.h"
#include "profiler/traits_inside.h"

const struct json *trait_parse(struct str json, struct arena *a, struct json_parser **parser)
{
    const struct json *root = NULL;
    char *copy = arena_alloc(a, json.n + JSON_PADDING);

    *parser = NULL;
    if (!copy || !(*parser = json_parser_new()))
        return NULL;
    memcpy(copy, json.p, json.n);
    memset(copy + json.n, 0, JSON_PADDING);
    if (json_parse(*parser, copy, json.n, &root, NULL) != JSON_OK)
        return NULL;
    return root;
}

/* --- types ----------------------------------------------------------------------------------------------------- */

static bool written(struct buf *b, struct arena *a, struct str *out)
{
    *out = b->failed ? STR_NONE : arena_dup(a, buf_str(b));
    buf_deinit(b);
    return true;
}

static bool fit_string(const struct json *v, struct arena *a, struct str *out)
{
    struct buf b;

    if (v->type != JSON_NUMBER && v->type != JSON_TRUE && v->type != JSON_FALSE)
        return false;
    buf_init(&b, LIMIT_EVENT_BYTES + 2);
    buf_add_char(&b, '"');
    buf_add_str(&b, v->raw);
    buf_add_char(&b, '"');
    return written(&b, a, out);
}

static bool fit_number(const struct json *v, struct arena *a, struct str *out)
{
    struct buf b;
    int64_t micros;

    if (v->type != JSON_STRING || num_micros(v->text, true, &micros) != NUM_OK)
        return false;
    buf_init(&b, 64);
    num_write_micros(&b, micros);
    return written(&b, a, out);
}

static bool fit_boolean(const struct json *v, struct str *out)
{
    static const char *const words[2][4] = {{"false", "no", "0", "off"}, {"true", "yes", "1", "on"}};
    char text[8] = "";

    if ((v->type != JSON_STRING && v->type != JSON_NUMBER) || v->text.n >= sizeof text)
        return false;
    memcpy(text, v->text.p, v->text.n);
    for (int truth = 0; truth < 2; truth++)
        for (int i = 0; i < 4; i++)
            if (strcasecmp(text, words[truth][i]) == 0) {
                *out = str_of(words[truth][0]);
                return true;
            }
    return false;
}

/* A day stays a day, a time is written as answers write them. */
static bool fit_date(const struct json *v, struct arena *a, struct str *out)
{
    int64_t t;
    struct buf b;

    if (v->type == JSON_STRING ? time_parse(v->text, &t) != 0
                               : v->type != JSON_NUMBER || time_parse_epoch(v->text, &t) != 0)
        return false;
    buf_init(&b, 64);
    buf_add_char(&b, '"');
    if (v->type == JSON_STRING && v->text.n == 10)
        buf_add_str(&b, v->text);
    else
        time_write(&b, t);
    buf_add_char(&b, '"');
    return written(&b, a, out);
}

static bool fit_list(const struct json *v, struct arena *a, struct str *out)
{
    struct buf b;

    buf_init(&b, LIMIT_EVENT_BYTES + 2);
    buf_add_char(&b, '[');
    buf_add_str(&b, v->raw);
    buf_add_char(&b, ']');
    return written(&b, a, out);
}

/* Whether it is of the type as it stands. */
static bool is_of(enum trait_type type, const struct json *v)
{
    switch (type) {
    case TRAIT_STRING:
        return v->type == JSON_STRING;
    case TRAIT_NUMBER:
        return v->type == JSON_NUMBER;
    case TRAIT_BOOLEAN:
        return v->type == JSON_TRUE || v->type == JSON_FALSE;
    case TRAIT_LIST:
        return v->type == JSON_ARRAY;
    case TRAIT_OBJECT:
        return v->type == JSON_OBJECT;
    case TRAIT_ADDRESS:
        return v->type == JSON_OBJECT || v->type == JSON_STRING;
    default:
        return type == TRAIT_ANY;
    }
}

bool trait_fit(enum trait_type type, const struct json *v, struct arena *a, struct str *out)
{
    if (is_of(type, v)) {
        *out = arena_dup(a, v->raw);
        return true;
    }
    switch (type) {
    case TRAIT_STRING:
        return fit_string(v, a, out);
    case TRAIT_NUMBER:
        return fit_number(v, a, out);
    case TRAIT_BOOLEAN:
        return fit_boolean(v, out);
    case TRAIT_DATE:
        return fit_date(v, a, out);
    case TRAIT_LIST:
        return fit_list(v, a, out);
    default:
        return false;
    }
}

/* --- masks ----------------------------------------------------------------------------------------------------- */

#define STARS "***"

/* Bytes of the first character of a text, which is good UTF-8 where JSON was checked. */
static size_t first_character(struct str s)
{
    size_t n = s.n > 0;

    while (n < s.n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n++;
    return n;
}

static void write_parts(struct buf *b, struct str before, const char *stars, struct str after)
{
    struct buf text;

    buf_init(&text, before.n + after.n + 16);
    buf_add_str(&text, before);
    buf_add_text(&text, stars);
    buf_add_str(&text, after);
    json_write_str(b, buf_str(&text));
    buf_deinit(&text);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* 138****5678: of eleven digits and more the first three and the last four, of fewer only the last two. */
static void mask_phone(struct str s, struct buf *b)
{
    char digits[24];
    size_t n = 0;

    for (size_t i = 0; i < s.n && n < sizeof digits; i++)
        if (is_digit(s.p[i]))
            digits[n++] = s.p[i];
    if (n >= 11)
        write_parts(b, (struct str){digits, 3}, "****", (struct str){digits + n - 4, 4});
    else if (n >= 6)
        write_parts(b, STR_LIT(""), "****", (struct str){digits + n - 2, 2});
    else
        json_write_str(b, STR_LIT(STARS));
}

static void mask_email(struct str s, struct buf *b)
{
    const char *at = s.n ? memrchr(s.p, '@', s.n) : NULL;
    size_t first = first_character(s);

    if (!at || at == s.p)
        json_write_str(b, STR_LIT(STARS));
    else
        write_parts(b, (struct str){s.p, first}, STARS, (struct str){at, (size_t)(s.p + s.n - at)});
}

static void mask_name(struct str s, struct buf *b)
{
    size_t first = first_character(s);

    write_parts(b, (struct str){s.p, first < s.n ? first : 0}, STARS, STR_LIT(""));
}

/* Of what is hardly longer nothing is shown. */
static void mask_last4(struct str s, struct buf *b)
{
    size_t n = s.n > 4 ? 4 : s.n;
    bool digits = s.n == 4 || s.n >= 8;

    for (size_t i = 0; digits && i < n; i++)
        digits = (unsigned char)s.p[s.n - n + i] < 0x80;
    if (digits)
        write_parts(b, STR_LIT(""), "****", (struct str){s.p + s.n - n, n});
    else
        json_write_str(b, STR_LIT(STARS));
}

static void mask_year(struct str s, struct buf *b)
{
    bool year = s.n >= 10;

    for (size_t i = 0; year && i < 4; i++)
        year = is_digit(s.p[i]);
    json_write_str(b, year ? (struct str){s.p, 4} : STR_LIT(STARS));
}

static bool public_part(struct str key)
{
    static const char *const keys[] = {"city", "province", "state", "region", "country", "country_code", "default"};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (key.n == strlen(keys[i]) && strncasecmp(key.p, keys[i], key.n) == 0)
            return true;
    return false;
}

/* The city and what is larger; of a text nothing. */
static void mask_address(const struct json *v, struct buf *b)
{
    bool first = true;

    if (v->type != JSON_OBJECT) {
        json_write_str(b, STR_LIT(STARS));
        return;
    }
    buf_add_char(b, '{');
    for (const struct json *m = v->child; m; m = m->next) {
        if (!public_part(m->key) || m->height > 0)
            continue;
        if (!first)
            buf_add_char(b, ',');
        first = false;
        json_write_str(b, m->key);
        buf_add_char(b, ':');
        buf_add_str(b, m->raw);
    }
    buf_add_char(b, '}');
}

static void mask_text(enum trait_mask mask, struct str text, struct buf *b)
{
    switch (mask) {
    case MASK_PHONE:
        mask_phone(text, b);
        break;
    case MASK_EMAIL:
        mask_email(text, b);
        break;
    case MASK_NAME:
        mask_name(text, b);
        break;
    case MASK_LAST4:
        mask_last4(text, b);
        break;
    case MASK_YEAR:
        mask_year(text, b);
        break;
    default:
        json_write_str(b, STR_LIT(STARS));
    }
}

/* Of a list each entry is masked; the mask of a text hides all of an object. */
static void mask_value(enum trait_mask mask, const struct json *v, struct buf *b)
{
    if (v->type == JSON_ARRAY) {
        buf_add_char(b, '[');
        for (const struct json *i = v->child; i; i = i->next) {
            mask_value(mask, i, b);
            if (i->next)
                buf_add_char(b, ',');
        }
        buf_add_char(b, ']');
    } else if (mask == MASK_ADDRESS) {
        mask_address(v, b);
    } else if (v->type == JSON_STRING || v->type == JSON_NUMBER) {
        mask_text(mask, v->text, b);
    } else {
        json_write_str(b, STR_LIT(STARS));
    }
}

void trait_mask_write(enum trait_mask mask, struct str value, struct buf *b)
{
    struct json_parser *parser = NULL;
    const struct json *root;
    struct arena arena;

    if (mask == MASK_NONE) {
        buf_add_str(b, value);
        return;
    }
    if (mask == MASK_HIDE) {
        json_write_str(b, STR_LIT(STARS));
        return;
    }
    arena_init(&arena, MIB);
    root = trait_parse(value, &arena, &parser);
    if (root)
        mask_value(mask, root, b);
    else
        json_write_str(b, STR_LIT(STARS));
    json_parser_free(parser);
    arena_deinit(&arena);
}
