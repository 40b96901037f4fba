/* Values of rules and JSON. Pure; any thread. */
#include <errno.h>

#include "common/calendar.h"
#include "common/num.h"
#include "profiler/rule_eval_inside.h"

bool value_time(struct str text, struct rule_value *out)
{
    int64_t ms;

    if (time_parse(text, &ms) != 0)
        return false;
    *out = (struct rule_value){.type = RULE_TIME, .ms = ms, .day = text.n == strlen("2006-01-02")};
    return true;
}

/* --- from JSON --------------------------------------------------------------------------------------------------- */

static int number_of_text(struct str text, struct arena *a, struct rule_value *out)
{
    struct rule_number v, *copy;

    *out = (struct rule_value){0};
    if (!rule_number_read(text, &v))
        return 0; /* beyond all bounds: absent */
    copy = arena_alloc(a, sizeof *copy);
    if (!copy)
        return -ENOMEM;
    *copy = v;
    out->type = RULE_NUMBER;
    out->number = copy;
    return 0;
}

static int text_of_json(struct str text, struct arena *a, struct rule_value *out)
{
    *out = (struct rule_value){.type = RULE_STRING, .text = arena_dup(a, text)};
    return out->text.p ? 0 : -ENOMEM;
}

static int list_of_json(const struct json *j, struct arena *a, struct rule_value *out)
{
    const bool map = j->type == JSON_OBJECT;
    size_t n = 0;
    int rc = 0;

    *out = (struct rule_value){.type = map ? RULE_MAP : RULE_LIST};
    out->list = arena_alloc(a, (j->count + 1) * (map ? 2 : 1) * sizeof *out->list);
    if (!out->list)
        return -ENOMEM;
    for (const struct json *c = j->child; c && rc == 0; c = c->next) {
        if (map)
            rc = text_of_json(c->key, a, &out->list[n++]);
        if (rc == 0)
            rc = value_of_json(c, a, &out->list[n++]);
    }
    out->n = n;
    return rc;
}

int value_of_json(const struct json *j, struct arena *a, struct rule_value *out)
{
    switch (j->type) {
    case JSON_NULL:
        *out = (struct rule_value){0};
        return 0;
    case JSON_FALSE:
    case JSON_TRUE:
        *out = (struct rule_value){.type = RULE_BOOL, .truth = j->type == JSON_TRUE};
        return 0;
    case JSON_NUMBER:
        return number_of_text(j->text, a, out);
    case JSON_STRING:
        return text_of_json(j->text, a, out);
    case JSON_ARRAY:
    case JSON_OBJECT:
        /* What is nested deeper than anybody means is absent, and costs no stack. */
        if (j->height > LIMIT_EVENT_DEPTH) {
            *out = (struct rule_value){0};
            return 0;
        }
        return list_of_json(j, a, out);
    }
    return 1;
}

int value_parse(struct json_parser *parser, struct buf *text, struct str json, struct arena *a, struct rule_value *out)
{
    const struct json *root;
    int rc;

    buf_reset(text);
    if (!buf_room(text, json.n + JSON_PADDING))
        return -ENOMEM;
    buf_add_str(text, json);
    memset(text->p + json.n, 0, JSON_PADDING);
    rc = json_parse(parser, text->p, json.n, &root, NULL);
    if (rc != JSON_OK)
        return rc < 0 ? rc : 1;
    return value_of_json(root, a, out);
}

static int read_slowly(struct str json, struct arena *a, struct rule_value *out)
{
    struct json_parser *parser = json_parser_new();
    struct buf text;
    int rc;

    if (!parser)
        return -ENOMEM;
    buf_init(&text, json.n + JSON_PADDING);
    rc = value_parse(parser, &text, json, a, out);
    buf_deinit(&text);
    json_parser_free(parser);
    return rc;
}

int rule_value_read(struct str json, struct arena *a, struct rule_value *out)
{
    return read_slowly(json, a, out);
}

int value_dup(struct arena *a, struct rule_value *v)
{
    struct rule_value *list;

    if (v->type == RULE_STRING) {
        v->text = arena_dup(a, v->text);
        return v->text.p ? 0 : -ENOMEM;
    }
    if (v->type == RULE_NUMBER) {
        struct rule_number *number = arena_alloc(a, sizeof *number);

        if (!number)
            return -ENOMEM;
        *number = *v->number;
        v->number = number;
        return 0;
    }
    if (v->type != RULE_LIST && v->type != RULE_MAP)
        return 0;
    list = arena_alloc(a, (v->n + 1) * sizeof *list);
    if (!list)
        return -ENOMEM;
    for (size_t i = 0; i < v->n; i++) {
        list[i] = v->list[i];
        if (value_dup(a, &list[i]) != 0)
            return -ENOMEM;
    }
    v->list = list;
    return 0;
}

/* --- to JSON ----------------------------------------------------------------------------------------------------- */

static void write_time(const struct rule_value *v, struct buf *b)
{
    int64_t year;
    int month, day;

    buf_add_char(b, '"');
    if (v->day) {
        calendar_date(floor_div(v->ms, TIME_DAY), &year, &month, &day);
        buf_addf(b, "%04d-%02d-%02d", (int)year, month, day);
    } else {
        time_write(b, v->ms);
    }
    buf_add_char(b, '"');
}

/* As CEL has it: seconds. */
static void write_duration(int64_t ms, struct buf *b)
{
    buf_add_char(b, '"');
    rule_number_write(rule_number_of(ms, TIME_SECOND), b);
    buf_add_text(b, "s\"");
}

static void write_list(const struct rule_value *v, struct buf *b)
{
    const bool map = v->type == RULE_MAP;

    buf_add_char(b, map ? '{' : '[');
    for (size_t i = 0; i < v->n; i++) {
        if (i > 0)
            buf_add_char(b, map && i % 2 ? ':' : ',');
        if (map && i % 2 == 0 && v->list[i].type != RULE_STRING) {
            struct buf key; /* JSON has no other keys than texts */

            buf_init(&key, b->max);
            rule_value_write(&v->list[i], &key);
            json_write_str(b, buf_str(&key));
            buf_deinit(&key);
        } else {
            rule_value_write(&v->list[i], b);
        }
    }
    buf_add_char(b, map ? '}' : ']');
}

void rule_value_write(const struct rule_value *v, struct buf *b)
{
    switch (v->type) {
    case RULE_BOOL:
        buf_add_text(b, v->truth ? "true" : "false");
        break;
    case RULE_NUMBER:
        rule_number_write(*v->number, b);
        break;
    case RULE_STRING:
        json_write_str(b, v->text);
        break;
    case RULE_TIME:
        write_time(v, b);
        break;
    case RULE_DURATION:
        write_duration(v->ms, b);
        break;
    case RULE_LIST:
    case RULE_MAP:
        write_list(v, b);
        break;
    default:
        buf_add_text(b, "null");
    }
}

/* --- equality ---------------------------------------------------------------------------------------------------- */

static bool lists_eq(const struct rule_value *a, const struct rule_value *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!rule_value_eq(&a->list[i], &b->list[i]))
            return false;
    return true;
}

/* Keys in any order; of a key that is there twice the last one stands. */
static const struct rule_value *map_find(const struct rule_value *map, const struct rule_value *key)
{
    for (size_t i = map->n; i >= 2; i -= 2)
        if (rule_value_eq(&map->list[i - 2], key))
            return &map->list[i - 1];
    return NULL;
}

/* Of maps as large as nobody writes them: comparing those would take the square of it. */
#define MAP_MAX 1000

static bool within_map(const struct rule_value *a, const struct rule_value *b)
{
    for (size_t i = 0; i < a->n; i += 2) {
        const struct rule_value *x = map_find(a, &a->list[i]), *y = map_find(b, &a->list[i]);

        if (!y || !rule_value_eq(x, y))
            return false;
    }
    return true;
}

bool rule_value_eq(const struct rule_value *a, const struct rule_value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case RULE_BOOL:
        return a->truth == b->truth;
    case RULE_NUMBER:
        return rule_number_cmp(*a->number, *b->number) == 0;
    case RULE_STRING:
        return str_eq(a->text, b->text);
    case RULE_TIME:
        return a->day == b->day && a->ms == b->ms;
    case RULE_DURATION:
        return a->ms == b->ms;
    case RULE_LIST:
        return lists_eq(a, b);
    case RULE_MAP:
        return a->n <= 2 * MAP_MAX && b->n <= 2 * MAP_MAX && within_map(a, b) && within_map(b, a);
    default:
        return true;
    }
}
