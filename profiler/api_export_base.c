/* What a delta over several profilers begins from: the latest export of its name of which every part was made and can
 * still be known. One whose parts were not all made was never told to anybody; one that was taken and is known only in
 * part cannot be gone past, or removals would be lost. Look-up threads. */
#include <stdlib.h>

#include "profiler/api_export_parts.h"

#define CANDIDATES (EXPORT_PARTS * 64)

struct candidates {
    const struct json *parts[CANDIDATES];
    size_t count;
    bool too_many;
};

static int newer(const void *a, const void *b)
{
    return str_cmp(part_text(*(const struct json *const *)b, "id"), part_text(*(const struct json *const *)a, "id"));
}

static void collect(struct candidates *c, const struct json *const *answers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct json *list = json_get(answers[i], "exports");
        size_t of_one = 0;

        /* Newest first: older ones than these nobody can need. */
        for (const struct json *p = list && list->type == JSON_ARRAY ? list->child : NULL; p && of_one < 64;
             p = p->next)
            if (c->count < CANDIDATES && json_get(p, "makers") && json_get(p, "makers")->type == JSON_ARRAY) {
                c->parts[c->count++] = p;
                of_one++;
            }
    }
    qsort(c->parts, c->count, sizeof *c->parts, newer);
}

/* Whether that instance is among those who answered. */
static bool has_answered(const struct json *maker, const struct json *const *answers, size_t n)
{
    return part_of_maker(maker, answers, n) != NULL;
}

enum verdict { GOOD, NEVER_TOLD, RUNNING, LOST, ASK };

static struct str rule_of(const struct json *part)
{
    const struct json *manifest = json_get(part, "manifest");

    return manifest ? part_text(manifest, "rule_version") : STR_NONE;
}

/* Parts of different rules were never a file; see export_whole_state. */
static bool rules_differ(const struct json *const *parts, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (str_has(rule_of(parts[i])) && str_has(rule_of(parts[0])) && !str_eq(rule_of(parts[i]), rule_of(parts[0])))
            return true;
    return false;
}

/* Of all parts of one export. */
static enum verdict judge(const struct json *const *parts, size_t count, const struct json *const *answers, size_t n,
                          const struct json **ask)
{
    const struct json *makers = json_get(parts[0], "makers");
    bool whole = true, taken = false;

    for (size_t i = 0; i < count; i++) {
        struct str state = part_text(parts[i], "state");
        if (str_is(state, "failed"))
            return NEVER_TOLD;
        if (str_is(state, "running"))
            return RUNNING;
        taken = taken || part_truth(parts[i], "fetched");
    }
    if (rules_differ(parts, count))
        return NEVER_TOLD;
    for (const struct json *m = makers->child; m; m = m->next) {
        const struct json *p = part_of_maker(m, parts, count), *list = json_get(m, "partitions");
        bool nobody = list && list->type == JSON_ARRAY && list->count == 0; /* it told only removals */

        if (!p && !nobody && !has_answered(m, answers, n)) {
            *ask = m;
            return ASK;
        }
        whole = whole && (nobody || part_truth(p, "told"));
    }
    return whole ? GOOD : taken ? LOST : NEVER_TOLD;
}

static enum base_found refuse(struct ask *ask, enum verdict v, struct str id)
{
    if (v == RUNNING)
        ask_error(ask, 409, "not_finished", "the delta before it, %.*s, is being made: ask again when it is done",
                  STR_ARG(id));
    else
        ask_error(
            ask, 409, "delta_lost",
            "a profiler does not know any more what it told in the delta %.*s: ask with \"anew\":true, and put the "
            "file in the place of all that was told before",
            STR_ARG(id));
    return BASE_ANSWERED;
}

/* Told by one profiler alone, as before there were several: what to remove of it none of the parts would know. */
static bool told_alone(const struct json *const *answers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct json *list = json_get(answers[i], "exports");

        for (const struct json *p = list && list->type == JSON_ARRAY ? list->child : NULL; p; p = p->next)
            if (part_truth(p, "fetched") && part_truth(p, "told") && json_get(p, "makers") &&
                json_get(p, "makers")->type == JSON_NULL)
                return true;
    }
    return false;
}

enum base_found base_find(struct ask *ask, const struct json *const *answers, size_t n, struct base *out)
{
    struct candidates *c = calloc(1, sizeof *c);
    enum base_found found = BASE_NONE;

    if (!c) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return BASE_ANSWERED;
    }
    collect(c, answers, n);
    for (size_t i = 0, end; i < c->count && found == BASE_NONE; i = end) {
        struct str id = part_text(c->parts[i], "id");

        for (end = i + 1; end < c->count && newer(&c->parts[i], &c->parts[end]) == 0;)
            end++;
        enum verdict v = judge(c->parts + i, end - i, answers, n, &out->ask);
        if (v == GOOD) {
            out->id = id;
            out->makers = json_get(c->parts[i], "makers");
            found = BASE_FOUND;
        } else if (v == ASK) {
            found = BASE_ASK;
        } else if (v != NEVER_TOLD) {
            found = refuse(ask, v, id);
        }
    }
    free(c);
    if (found == BASE_NONE && told_alone(answers, n)) {
        ask_error(ask, 409, "delta_lost",
                  "the delta before it was made by one profiler alone: ask with \"anew\":true, and put the file in the "
                  "place of all that was told before");
        found = BASE_ANSWERED;
    }
    return found;
}
