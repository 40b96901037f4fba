/* Of whom cut points are made: the people here, and of partitions elsewhere what their owners say of the values there.
 * The keeper's thread, and whoever orders cut points. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/cuts.h"
#include "profiler/define.h"
#include "profiler/tag_keeper_inside.h"

#define NAME_BYTES 24
#define ARENA_BYTES (64 * MIB)
#define JUDGED_MS 10000

static bool shows(const struct tag_keeper *k, uint32_t partition)
{
    return k->parts.shows(k->parts.arg, partition);
}

bool keeper_shows_all(const struct tag_keeper *k)
{
    for (uint32_t p = 0; p < k->parts.partitions; p++)
        if (!shows(k, p))
            return false;
    return true;
}

int keeper_define(struct tag_keeper *k, struct str name, struct str body, struct err *e)
{
    return define_everywhere(
        k->parts.log,
        &(struct command){.time = k->parts.now(), .definition = DEFINITION_CUTS, .name = name, .body = body},
        KEEPER_DEFINE_MS, e);
}

/* --- the people here -------------------------------------------------------------------------------------------- */

/* An order that names nobody makes somebody who never comes back: who is known is not measured against those. */
static bool is_guest(struct str id)
{
    return str_starts(id, STR_LIT("anon:" ORDER_DEVICE_PREFIX));
}

static int gather_one(void *arg, struct str id, struct rule_subject *s)
{
    return is_guest(id) ? 0 : cuts_values_add(arg, s->facts);
}

/* Who was folded and not judged yet is in no scan, and cut points of a part of the people would be wrong for a day. */
static int scan(struct tag_keeper *k, int64_t as_of, audience_visitor *each, void *arg, struct err *e)
{
    if (!audiences_await(k->parts.audiences, JUDGED_MS, &k->stop)) {
        err_set(e, "there are people who are not judged yet; ask again soon");
        return -EAGAIN;
    }
    int r = audiences_scan(k->parts.audiences, 0, as_of, each, arg, &k->stop, e);

    return r == 0 && atomic_load(&k->stop) ? -ECANCELED : r;
}

/* --- saying what values there are ------------------------------------------------------------------------------- */

static void values_name(uint32_t partition, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "values.%" PRIu32, partition);
}

struct sorted {
    const struct tag_keeper *k;
    struct cuts_values *of; /* by partition */
};

/* The key on the log of somebody's events is their id without its kind. */
static int sort_one(void *arg, struct str id, struct rule_subject *s)
{
    struct sorted *to = arg;
    const char *colon = memchr(id.p, ':', id.n);
    size_t kind = colon ? (size_t)(colon - id.p) + 1 : 0;
    uint32_t p = event_log_partition((struct str){id.p + kind, id.n - kind}, to->k->parts.partitions);

    return is_guest(id) ? 0 : cuts_values_add(&to->of[p], s->facts);
}

static int say_values(struct tag_keeper *k, uint32_t partition, struct str day, struct cuts_values *v, struct err *e)
{
    char name[NAME_BYTES];
    struct buf body;

    buf_init(&body, DEFINITION_BODY_BYTES);
    values_name(partition, name);
    int r = cuts_values_write(v, day, &body) ? keeper_define(k, str_of(name), buf_str(&body), e) : -ENOMEM;
    buf_deinit(&body);
    return r;
}

int keeper_say_values(struct tag_keeper *k, struct str day, struct err *e)
{
    uint32_t n = k->parts.partitions;
    struct sorted to = {.k = k, .of = calloc(n, sizeof *to.of)};
    int r = to.of ? scan(k, TIME_NONE, sort_one, &to, e) : -ENOMEM;

    for (uint32_t p = 0; r == 0 && p < n; p++)
        if (shows(k, p))
            r = say_values(k, p, day, &to.of[p], e);
    for (uint32_t p = 0; to.of && p < n; p++)
        cuts_values_deinit(&to.of[p]);
    free(to.of);
    return r;
}

/* --- everybody -------------------------------------------------------------------------------------------------- */

static const struct state_definition *find(const struct state_definition *d, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (d[i].kind == DEFINITION_CUTS && str_eq(d[i].name, name))
            return &d[i];
    return NULL;
}

bool keeper_values_said(const struct tag_keeper *k, const struct state_definition *d, size_t n, struct str day)
{
    for (uint32_t p = 0; p < k->parts.partitions; p++) {
        char name[NAME_BYTES];
        values_name(p, name);
        const struct state_definition *said = shows(k, p) ? find(d, n, str_of(name)) : NULL;
        if (shows(k, p) && (!said || cuts_values_read(said->body, day, NULL) != 0))
            return false;
    }
    return true;
}

/* What was said of the partitions that are not here. -EAGAIN: nothing was of one. */
static int add_others(struct tag_keeper *k, struct str day, struct cuts_values *out, struct err *e)
{
    struct state_definition *d;
    struct arena a;
    uint64_t changes;
    size_t n;

    arena_init(&a, ARENA_BYTES);
    int r = state_definitions(k->parts.state, 0, &a, &d, &n, &changes);
    for (uint32_t p = 0; r == 0 && p < k->parts.partitions; p++) {
        char name[NAME_BYTES];
        if (shows(k, p))
            continue;
        values_name(p, name);
        const struct state_definition *said = find(d, n, str_of(name));
        r = said ? cuts_values_read(said->body, day, out) : 1;
        if (r == 1) {
            err_set(e, "partition %" PRIu32 " is elsewhere, and has not said what values there are", p);
            r = -EAGAIN;
        }
    }
    arena_deinit(&a);
    return r;
}

int keeper_gather(struct tag_keeper *k, int64_t as_of, struct str day, struct cuts_values *out, struct err *e)
{
    bool all = keeper_shows_all(k);

    if (!shows(k, 0) || (!all && as_of != TIME_NONE)) {
        err_set(e, "the people of some partitions are not here");
        return -EAGAIN;
    }
    int r = scan(k, as_of, gather_one, out, e);
    if (r == 0 && !all)
        r = add_others(k, day, out, e);
    if (r == 0 && out->people == 0) {
        err_set(e, "nobody has a counted order");
        r = -ENODATA;
    }
    return r;
}
