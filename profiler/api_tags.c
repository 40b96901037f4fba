/* GET /v1/tags: the set in use, how many have each value, and the cut points of quintiles. Look-up threads. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/num.h"
#include "profiler/api_audience.h"
#include "profiler/tags.h"

/* --- here ----------------------------------------------------------------------------------------------------- */

static void write_rules(struct buf *b, const struct tag *t)
{
    json_write_key(b, "rules");
    buf_add_char(b, '[');
    for (size_t i = 0; i < t->rule_count; i++) {
        buf_add_text(b, i ? ",{" : "{");
        if (str_has(t->rules[i].value)) {
            json_write_key(b, "value");
            buf_add_str(b, t->rules[i].value);
        }
        json_write_member(b, "rule", rule_text(t->rules[i].rule));
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void write_tag(struct buf *b, const struct tag *t)
{
    buf_add_char(b, '{');
    json_write_member(b, "name", t->name);
    json_write_member(b, "type", str_of(rule_type_names[t->type]));
    json_write_member(b, "description", t->description);
    json_write_member(b, "owner", t->owner);
    write_rules(b, t);
    buf_add_char(b, '}');
}

/* The latest, by their day. */
static int write_cuts(struct ask *ask, const bool *here, struct buf *b)
{
    struct state_definition *list = NULL;
    struct arena arena;
    struct str body = STR_NONE;
    uint64_t changes;
    size_t n = 0;
    int r = 0;

    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    for (uint32_t p = 0; p < ask->api->o.conf->partitions && r == 0 && !str_has(body); p++) {
        if (!here[p])
            continue;
        r = state_definitions(ask->api->o.state, p, &arena, &list, &n, &changes);
        for (size_t i = 0; r == 0 && i < n; i++)
            if (list[i].kind == DEFINITION_CUTS && list[i].name.n == sizeof "2026-01-31" - 1)
                body = list[i].body; /* sorted by name, which is the day; others are parts of one to come */
    }
    json_write_key(b, "cuts");
    buf_add_str(b, r == 0 && str_has(body) ? body : STR_LIT("null"));
    arena_deinit(&arena);
    return r;
}

static int write_here(struct ask *ask, const bool *here, struct buf *b)
{
    struct tags *set = audiences_tagset(ask->api->o.audiences);

    partitions_write(ask, here, b);
    buf_addf(b, ",\"version\":\"%016" PRIx64 "\",\"tags\":[", tags_version(set));
    for (size_t i = 0; i < tags_count(set); i++) {
        if (i > 0)
            buf_add_char(b, ',');
        write_tag(b, tags_at(set, i));
    }
    tags_unref(set);
    buf_add_text(b, "],\"values\":");
    int r = audiences_tag_counts(ask->api->o.audiences, b);
    if (r == 0)
        r = write_cuts(ask, here, b);
    buf_add_char(b, '}');
    return r;
}

/* --- joined --------------------------------------------------------------------------------------------------- */

/* The values of a tag in one answer. */
static const struct json *values_of(const struct json *answer, struct str tag)
{
    const struct json *all = json_get(answer, "values"), *m = all && all->type == JSON_OBJECT ? all->child : NULL;

    while (m && !str_eq(m->key, tag))
        m = m->next;
    return m && m->type == JSON_OBJECT ? m->child : NULL;
}

static uint64_t count_of(const struct json *answer, struct str tag, struct str value)
{
    uint64_t n = 0;

    for (const struct json *v = values_of(answer, tag); v; v = v->next)
        if (str_eq(v->key, value) && num_u64(v->raw, &n) != NUM_OK)
            n = 0;
    return n;
}

/* Whether an answer before this one has told it. */
static bool was_told(const struct json *const *answers, size_t before, struct str tag, struct str value)
{
    for (size_t i = 0; i < before; i++)
        for (const struct json *v = values_of(answers[i], tag); v; v = v->next)
            if (str_eq(v->key, value))
                return true;
    return false;
}

static void write_values(const struct json *const *answers, size_t n, struct str tag, struct buf *b)
{
    bool first = true;

    buf_add_char(b, '{');
    for (size_t a = 0; a < n; a++) {
        for (const struct json *v = values_of(answers[a], tag); v; v = v->next) {
            uint64_t all = 0;
            if (was_told(answers, a, tag, v->key))
                continue;
            for (size_t i = a; i < n; i++)
                all += count_of(answers[i], tag, v->key);
            if (!first)
                buf_add_char(b, ',');
            first = false;
            json_write_str(b, v->key);
            buf_addf(b, ":%" PRIu64, all);
        }
    }
    buf_add_char(b, '}');
}

static void join(struct ask *ask, const struct json *const *answers, size_t n)
{
    const struct json *version = json_get(answers[0], "version"), *cuts = json_get(answers[0], "cuts");
    const struct json *tags = json_get(answers[0], "tags");
    struct buf b;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    buf_add_char(&b, '{');
    json_write_member(&b, "version", version ? version->text : STR_NONE);
    for (size_t i = 1; i < n && (!cuts || cuts->type == JSON_NULL); i++)
        cuts = json_get(answers[i], "cuts");
    json_write_key(&b, "cuts");
    buf_add_str(&b, cuts ? cuts->raw : STR_LIT("null"));
    json_write_key(&b, "tags");
    buf_add_char(&b, '[');
    for (const struct json *t = tags ? tags->child : NULL; t; t = t->next) {
        const struct json *name = json_get(t, "name");
        if (t != tags->child)
            buf_add_char(&b, ',');
        buf_add(&b, t->raw.p, t->raw.n - 1);
        json_write_key(&b, "values");
        write_values(answers, n, name ? name->text : STR_NONE, &b);
        buf_add_char(&b, '}');
    }
    buf_add_text(&b, "]}");
    ask_answer(ask, &b);
    buf_deinit(&b);
}

void run_tags(struct ask *ask)
{
    const bool *here;
    struct buf b;

    if (!ask_is_judged(ask) || !(here = partitions_here(ask)))
        return;
    buf_init(&b, LIMIT_ANSWER_BYTES);
    int r = write_here(ask, here, &b);
    if (r != 0)
        ask_error(ask, 503, "not_yet", "the tags cannot be counted now");
    else if (partitions_same(ask, here))
        ask_gather(ask, &b, STR_NONE, LIMIT_FORWARD_MS, join);
    buf_deinit(&b);
}
