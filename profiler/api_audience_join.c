/* Audiences in answers: as this instance knows them, and joined with what others know of theirs. Pure. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/num.h"
#include "profiler/api_audience.h"
#include "profiler/render.h"

/* The members of the definition as they were given; the name stands there already. */
static void add_definition(struct buf *b, const struct audience_info *info)
{
    struct str body = info->body;

    if (body.n > 2 && body.p[0] == '{' && body.p[body.n - 1] == '}') {
        buf_add_char(b, ',');
        buf_add(b, body.p + 1, body.n - 2);
    }
}

void audience_write(struct buf *b, const struct audience_info *info)
{
    buf_add_char(b, '{');
    json_write_member(b, "name", info->name);
    add_definition(b, info);
    buf_addf(b, ",\"size\":%" PRIu64 ",\"state\":\"%s\",\"method\":\"bitmap\"", info->size,
             info->building ? "building" : "live");
    if (info->building)
        buf_addf(b, ",\"progress\":%.4f", info->progress);
    json_write_member(b, "broken", info->broken);
    json_write_key(b, "updated_at");
    render_time(b, info->updated_at);
    json_write_key(b, "rule_version");
    render_time(b, info->version);
    buf_add_char(b, '}');
}

/* --- joining -------------------------------------------------------------------------------------------------- */

static struct str text_of(const struct json *o, const char *name)
{
    const struct json *v = json_get(o, name);

    return v && v->type == JSON_STRING ? v->text : STR_NONE;
}

static uint64_t size_of(const struct json *o)
{
    const struct json *v = json_get(o, "size");
    uint64_t n = 0;

    if (v && v->type == JSON_NUMBER && num_u64(v->text, &n) != NUM_OK)
        n = 0;
    return n;
}

static const struct json *find(const struct json *answer, struct str name)
{
    const struct json *list = json_get(answer, "audiences"), *o = list && list->type == JSON_ARRAY ? list->child : NULL;

    while (o && !str_eq(text_of(o, "name"), name))
        o = o->next;
    return o;
}

/* Of times as text the later is the greater. */
static bool is_later(struct str a, struct str b)
{
    return str_has(a) && str_cmp(a, b) > 0;
}

static bool is_replaced(struct str member)
{
    static const char *const ours[] = {"size", "state", "progress", "updated_at"};

    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (str_is(member, ours[i]))
            return true;
    return false;
}

/* What the latest definition says, with the figures of all. */
static void write_one(const struct json *const *answers, size_t n, const struct json *first, struct buf *b)
{
    struct str name = text_of(first, "name"), updated = STR_NONE;
    const struct json *latest = first, *least = NULL;
    bool building = false;
    uint64_t size = 0;

    for (size_t i = 0; i < n; i++) {
        const struct json *o = find(answers[i], name);
        if (o && is_later(text_of(o, "rule_version"), text_of(latest, "rule_version")))
            latest = o;
    }
    for (size_t i = 0; i < n; i++) {
        const struct json *o = find(answers[i], name), *progress = json_get(o, "progress");
        building = building || !o || str_is(text_of(o, "state"), "building") ||
                   !str_eq(text_of(o, "rule_version"), text_of(latest, "rule_version"));
        size += o ? size_of(o) : 0;
        if (progress && (!least || strtod(progress->raw.p, NULL) < strtod(least->raw.p, NULL)))
            least = progress;
        if (o && is_later(text_of(o, "updated_at"), updated))
            updated = text_of(o, "updated_at");
    }
    buf_add_char(b, '{');
    for (const struct json *m = latest->child; m; m = m->next) {
        if (is_replaced(m->key))
            continue;
        if (m != latest->child)
            buf_add_char(b, ',');
        json_write_str(b, m->key);
        buf_add_char(b, ':');
        buf_add_str(b, m->raw);
    }
    buf_addf(b, ",\"size\":%" PRIu64 ",\"state\":\"%s\"", size, building ? "building" : "live");
    if (building && least)
        buf_addf(b, ",\"progress\":%.*s", STR_ARG(least->raw));
    json_write_key(b, "updated_at");
    if (str_has(updated))
        json_write_str(b, updated);
    else
        buf_add_text(b, "null");
    buf_add_char(b, '}');
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(text_of(*(const struct json *const *)a, "name"), text_of(*(const struct json *const *)b, "name"));
}

/* Each name once, sorted. NULL: out of memory. */
static const struct json **all_of(const struct json *const *answers, size_t n, size_t *count)
{
    const struct json **all;
    size_t most = 0, kept = 0;

    for (size_t i = 0; i < n; i++) {
        const struct json *list = json_get(answers[i], "audiences");
        most += list ? list->count : 0;
    }
    all = calloc(most + 1, sizeof *all);
    *count = 0;
    if (!all)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const struct json *list = json_get(answers[i], "audiences");
        for (const struct json *o = list && list->type == JSON_ARRAY ? list->child : NULL; o; o = o->next)
            if (str_has(text_of(o, "name")))
                all[(*count)++] = o;
    }
    qsort(all, *count, sizeof *all, by_name);
    for (size_t i = 0; i < *count; i++)
        if (kept == 0 || by_name(&all[kept - 1], &all[i]) != 0)
            all[kept++] = all[i];
    *count = kept;
    return all;
}

bool audiences_join(const struct json *const *answers, size_t n, struct str only, struct buf *b)
{
    size_t count;
    const struct json **all = all_of(answers, n, &count);
    bool first = true;

    if (!all)
        return false;
    if (!str_has(only))
        buf_add_char(b, '[');
    for (size_t i = 0; i < count; i++) {
        if (str_has(only) && !str_eq(text_of(all[i], "name"), only))
            continue;
        if (!first)
            buf_add_char(b, ',');
        first = false;
        write_one(answers, n, all[i], b);
    }
    if (!str_has(only))
        buf_add_char(b, ']');
    free(all);
    return !b->failed;
}
