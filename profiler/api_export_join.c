/* An export over several profilers, as one: figures are added, what all parts share is told once. Pure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/num.h"
#include "profiler/api_export_parts.h"

/* --- members ---------------------------------------------------------------------------------------------------- */

struct str part_text(const struct json *o, const char *key)
{
    const struct json *v = o ? json_get(o, key) : NULL;

    return v && v->type == JSON_STRING ? v->text : STR_NONE;
}

uint64_t part_number(const struct json *o, const char *key)
{
    const struct json *v = o ? json_get(o, key) : NULL;
    uint64_t n = 0;

    return v && v->type == JSON_NUMBER && num_u64(v->text, &n) == NUM_OK ? n : 0;
}

bool part_truth(const struct json *o, const char *key)
{
    const struct json *v = o ? json_get(o, key) : NULL;

    return v && v->type == JSON_TRUE;
}

const struct json *part_of_maker(const struct json *maker, const struct json *const *parts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(part_text(parts[i], "instance"), part_text(maker, "instance")))
            return parts[i];
    return NULL;
}

/* --- the state -------------------------------------------------------------------------------------------------- */

static const char *const state_names[] = {"running", "done", "failed", "expired", "erased", "away"};

static enum export_whole state_of(const struct json *part)
{
    struct str s = part_text(part, "state");

    for (int i = WHOLE_RUNNING; i < WHOLE_AWAY; i++)
        if (str_is(s, state_names[i]))
            return (enum export_whole)i;
    return WHOLE_AWAY;
}

/* Parts were made by one rule. */
static bool rules_agree(const struct export_part *parts, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (!str_eq(part_text(json_get(parts[i].root, "manifest"), "rule_version"),
                    part_text(json_get(parts[0].root, "manifest"), "rule_version")))
            return false;
    return true;
}

enum export_whole export_whole_state(const struct export_part *parts, size_t n)
{
    /* What is worse tells more. */
    static const enum export_whole order[] = {WHOLE_FAILED, WHOLE_ERASED, WHOLE_EXPIRED, WHOLE_AWAY, WHOLE_RUNNING};
    unsigned seen = 0;

    for (size_t i = 0; i < n; i++)
        seen |= 1u << state_of(parts[i].root);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (seen >> order[i] & 1)
            return order[i];
    return rules_agree(parts, n) ? WHOLE_DONE : WHOLE_FAILED;
}

static void write_error(const struct export_part *parts, size_t n, enum export_whole state, struct buf *b)
{
    for (size_t i = 0; i < n; i++)
        if (str_has(part_text(parts[i].root, "error"))) {
            json_write_member(b, "error", part_text(parts[i].root, "error"));
            return;
        }
    if (state == WHOLE_AWAY)
        json_write_member(b, "error", STR_LIT("a profiler does not have its part of it: ask for another export"));
    else if (state == WHOLE_FAILED)
        json_write_member(b, "error", STR_LIT("the audience changed while it was made: ask for another export"));
}

/* --- the manifest ------------------------------------------------------------------------------------------------ */

static uint64_t sum(const struct json *const *from, size_t n, const char *key)
{
    uint64_t all = 0;

    for (size_t i = 0; i < n; i++)
        all += part_number(from[i], key);
    return all;
}

/* An object of numbers. */
static void sum_object(const struct json *const *manifests, size_t n, const char *key, struct buf *b)
{
    const struct json *inner[EXPORT_PARTS];
    const struct json *first = json_get(manifests[0], key);
    const char *comma = "";

    for (size_t i = 0; i < n; i++)
        inner[i] = json_get(manifests[i], key);
    buf_add_char(b, '{');
    for (const struct json *m = first ? first->child : NULL; m; m = m->next) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", STR_ARG(m->key));
        buf_addf(b, "%s\"%s\":", comma, name);
        num_write_int(b, (int64_t)sum(inner, n, name));
        comma = ",";
    }
    buf_add_char(b, '}');
}

/* Times and durations of what was made side by side. */
static struct str extreme(const struct json *const *from, size_t n, const char *key, bool greatest)
{
    struct str out = STR_NONE;

    for (size_t i = 0; i < n; i++) {
        struct str s = part_text(from[i], key);
        if (str_has(s) && (!str_has(out) || (str_cmp(s, out) > 0) == greatest))
            out = s;
    }
    return out;
}

static uint64_t longest(const struct json *const *from, size_t n, const char *key)
{
    uint64_t out = 0;

    for (size_t i = 0; i < n; i++)
        out = part_number(from[i], key) > out ? part_number(from[i], key) : out;
    return out;
}

static bool all_true(const struct json *const *from, size_t n, const char *key)
{
    bool all = true;

    for (size_t i = 0; i < n; i++)
        all = all && part_truth(from[i], key);
    return all;
}

static bool is_one(struct str key, const char *const *names)
{
    while (*names && !str_is(key, *names))
        names++;
    return *names != NULL;
}

static void write_number(struct buf *b, const char *key, uint64_t v)
{
    json_write_key(b, key);
    num_write_int(b, (int64_t)v);
}

/* The head stands in each part, and once in the whole. */
static uint64_t whole_bytes(const struct export_part *parts, size_t n)
{
    uint64_t bytes = part_number(parts[0].root, "bytes");

    for (size_t i = 1; i < n; i++)
        bytes += part_number(parts[i].root, "bytes") - part_number(parts[i].root, "head");
    return bytes;
}

static void join_partitions(const struct json *const *manifests, size_t n, struct buf *b)
{
    uint64_t here = 0, all = part_number(json_get(manifests[0], "partitions"), "all");

    for (size_t i = 0; i < n; i++)
        here += part_number(json_get(manifests[i], "partitions"), "here");
    json_write_key(b, "partitions");
    buf_addf(b, "{\"here\":%llu,\"all\":%llu}", (unsigned long long)here, (unsigned long long)all);
    json_write_key(b, "partial");
    buf_add_text(b, here < all ? "true" : "false");
}

static void join_member(const struct export_part *parts, const struct json *const *m, size_t n, const struct json *v,
                        struct buf *b)
{
    static const char *const sums[] = {"people",   "rows", "phones_without_country", "added", "removed", "unchanged",
                                       "assigned", NULL};
    static const char *const objects[] = {"excluded", "identifiers", "removals", NULL};
    static const char *const dropped[] = {"sha256", "partial", NULL};
    char key[64];

    snprintf(key, sizeof key, "%.*s", STR_ARG(v->key));
    if (is_one(v->key, sums)) {
        write_number(b, key, sum(m, n, key));
    } else if (is_one(v->key, objects)) {
        json_write_key(b, key);
        sum_object(m, n, key, b);
    } else if (str_is(v->key, "took_ms")) {
        write_number(b, key, longest(m, n, key));
    } else if (str_is(v->key, "bytes")) {
        write_number(b, key, whole_bytes(parts, n));
    } else if (str_is(v->key, "asked_at") || str_is(v->key, "made_at")) {
        json_write_member(b, key, extreme(m, n, key, false));
    } else if (str_is(v->key, "from_nothing")) {
        json_write_key(b, key);
        buf_add_text(b, all_true(m, n, key) ? "true" : "false");
    } else if (str_is(v->key, "partitions")) {
        join_partitions(m, n, b);
    } else if (!is_one(v->key, dropped)) {
        json_write_key(b, key);
        buf_add_str(b, v->raw);
    }
}

/* What the parts are, so that each can be checked. */
static void write_parts(const struct export_part *parts, const struct json *const *m, size_t n, struct buf *b)
{
    json_write_key(b, "parts");
    buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        buf_add_text(b, i ? ",{" : "{");
        json_write_member(b, "instance", part_text(parts[i].maker, "instance"));
        write_number(b, "rows", part_number(m[i], "rows"));
        write_number(b, "bytes", part_number(m[i], "bytes"));
        json_write_member(b, "sha256", part_text(m[i], "sha256"));
        if (json_get(m[i], "from_nothing")) {
            json_write_key(b, "from_nothing");
            buf_add_text(b, part_truth(m[i], "from_nothing") ? "true" : "false");
        }
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void join_manifest(const struct export_part *parts, size_t n, struct buf *b)
{
    const struct json *manifests[EXPORT_PARTS] = {NULL};

    for (size_t i = 0; i < n; i++) {
        manifests[i] = parts[i].root ? json_get(parts[i].root, "manifest") : NULL;
        if (!manifests[i])
            return;
    }
    if (n == 0)
        return;
    json_write_key(b, "manifest");
    if (n == 1) {
        buf_add_str(b, manifests[0]->raw);
        return;
    }
    buf_add_char(b, '{');
    for (const struct json *v = manifests[0]->child; v; v = v->next)
        join_member(parts, manifests, n, v, b);
    write_parts(parts, manifests, n, b);
    buf_add_char(b, '}');
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

static double progress_of(const struct json *part)
{
    const struct json *v = part ? json_get(part, "progress") : NULL;
    char text[32];

    if (!v || v->type != JSON_NUMBER)
        return 0;
    snprintf(text, sizeof text, "%.*s", STR_ARG(v->text));
    return strtod(text, NULL);
}

void export_join(const struct export_part *parts, size_t n, struct buf *b)
{
    static const char *const shared[] = {"id", "audience", "format", "by"};
    const struct json *roots[EXPORT_PARTS] = {NULL};
    enum export_whole state = export_whole_state(parts, n);
    double progress = 0;
    size_t first = 0;

    for (size_t i = 0; i < n; i++) {
        roots[i] = parts[i].root;
        progress += progress_of(roots[i]) / (double)n;
        first = roots[first] ? first : i;
    }
    buf_add_char(b, '{');
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        json_write_member(b, shared[i], part_text(roots[first], shared[i]));
    json_write_member(b, "state", str_of(state_names[state]));
    json_write_member(b, "asked_at", extreme(roots, n, "asked_at", false));
    if (state != WHOLE_RUNNING)
        json_write_member(b, "ended_at", extreme(roots, n, "ended_at", true));
    json_write_key(b, "progress");
    num_write_double(b, state == WHOLE_RUNNING ? progress : 1);
    if (state != WHOLE_RUNNING && state != WHOLE_DONE)
        write_error(parts, n, state, b);
    join_manifest(parts, n, b);
    buf_add_char(b, '}');
}

/* --- lists ------------------------------------------------------------------------------------------------------- */

static int newer(const void *a, const void *b)
{
    return str_cmp(part_text(*(const struct json *const *)b, "id"), part_text(*(const struct json *const *)a, "id"));
}

void export_join_list(const struct json **parts, size_t n, struct buf *b)
{
    struct export_part group[EXPORT_PARTS];

    qsort(parts, n, sizeof *parts, newer);
    buf_add_char(b, '[');
    for (size_t i = 0, end; i < n; i = end) {
        const struct json *makers = json_get(parts[i], "makers");
        size_t count = 0;

        for (end = i + 1; end < n && newer(&parts[i], &parts[end]) == 0;)
            end++;
        bool whole = !makers || makers->type != JSON_ARRAY || makers->count == 0;
        if (whole)
            group[count++] = (struct export_part){.root = parts[i]};
        for (const struct json *m = whole ? NULL : makers->child; m && count < EXPORT_PARTS; m = m->next)
            group[count++] = (struct export_part){.root = part_of_maker(m, parts + i, end - i), .maker = m};
        if (i > 0)
            buf_add_char(b, ',');
        export_join(group, count, b);
    }
    buf_add_char(b, ']');
}
