/* Making cut points of quintiles: when they are due, of whom, and saying them to every partition. The keeper's thread,
 * and whoever orders them. */
#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/cuts.h"
#include "profiler/define.h"
#include "profiler/tag_keeper_inside.h"

#define BODY_BYTES DEFINITION_BODY_BYTES
#define DEFINE_MS 10000
#define FIRST_WAIT_MS (5 * TIME_SECOND)
#define MOST_WAIT_MS (10 * TIME_MINUTE)
#define DAILY_LOOK_MS (5 * TIME_SECOND)
#define ARENA_BYTES (64 * MIB)

/* --- who ------------------------------------------------------------------------------------------------------ */

static bool all_here(const struct tag_keeper *k)
{
    for (uint32_t p = 0; p < k->parts.partitions; p++)
        if (!k->parts.shows(k->parts.arg, p))
            return false;
    return true;
}

static int gather_one(void *arg, struct str id, struct rule_subject *s)
{
    (void)id;
    return cuts_values_add(arg, s->facts);
}

static int gather(struct tag_keeper *k, int64_t as_of, struct cuts_values *out, struct err *e)
{
    int r = audiences_scan(k->parts.audiences, 0, as_of, gather_one, out, &k->stop, e);

    if (r == 0 && atomic_load(&k->stop))
        r = -ECANCELED;
    if (r == 0 && out->people == 0) {
        err_set(e, "nobody has a counted order");
        r = -ENODATA;
    }
    return r;
}

/* --- saying them ------------------------------------------------------------------------------------------------ */

static int define(struct tag_keeper *k, struct str name, struct str body, struct err *e)
{
    return define_everywhere(
        k->parts.log,
        &(struct command){.time = k->parts.now(), .definition = DEFINITION_CUTS, .name = name, .body = body}, DEFINE_MS,
        e);
}

/* Those of days, the oldest first: definitions are sorted by kind and name. */
static struct str oldest_beyond(const struct state_definition *d, size_t n)
{
    struct str oldest = STR_NONE;
    size_t days = 0;

    for (size_t i = 0; i < n; i++) {
        if (d[i].kind != DEFINITION_CUTS || d[i].name.n != CUTS_NAME_BYTES)
            continue;
        if (days++ == 0)
            oldest = d[i].name;
    }
    return days > LIMIT_CUTS_KEPT ? oldest : STR_NONE;
}

/* One a day comes, one a day goes. */
static void forget_oldest(struct tag_keeper *k)
{
    struct state_definition *d;
    struct err e = {0};
    struct arena a;
    uint64_t changes;
    size_t n;

    arena_init(&a, ARENA_BYTES);
    if (state_definitions(k->parts.state, 0, &a, &d, &n, &changes) == 0) {
        struct str name = oldest_beyond(d, n);
        if (str_has(name) && define(k, name, STR_NONE, &e) != 0)
            log_warn("profiler: the oldest cut points of quintiles stay: %s", e.text);
    }
    arena_deinit(&a);
}

static int publish(struct tag_keeper *k, const struct rule_cuts *cuts, uint64_t people, struct buf *out, struct err *e)
{
    char name[CUTS_NAME_BYTES + 1];
    struct buf body;

    buf_init(&body, BODY_BYTES);
    int r = cuts_write(cuts, people, &body) ? 0 : -ENOMEM;
    cuts_name(k->parts.rules->zone, cuts->made_at, name);
    if (r == 0)
        r = define(k, str_of(name), buf_str(&body), e);
    if (r == 0 && out)
        buf_add_str(out, buf_str(&body));
    buf_deinit(&body);
    return r;
}

/* Whether both part people in the same way, whenever they were made. */
static bool same_cuts(const struct rule_cuts *a, const struct rule_cuts *b)
{
    for (size_t i = 0; i < CUTS_FACTS; i++) {
        const struct rule_quintile *x = &a->of[cuts_facts[i]], *y = &b->of[cuts_facts[i]];
        if (x->has != y->has)
            return false;
        for (unsigned n = 0; x->has && n < 4; n++)
            if (x->cuts[n] != y->cuts[n])
                return false;
    }
    return true;
}

/* `unless`: such are not said again; NULL: whatever they are. 1: they are the same. */
static int cut(struct tag_keeper *k, int64_t as_of, const struct rule_cuts *unless, struct buf *out, struct err *e)
{
    struct cuts_values values;
    struct rule_cuts cuts;

    cuts_values_init(&values);
    int r = gather(k, as_of, &values, e);
    if (r == 0)
        cuts_values_make(&values, as_of == TIME_NONE ? k->parts.now() : as_of, &cuts);
    if (r == 0 && unless && same_cuts(unless, &cuts))
        r = 1;
    else if (r == 0)
        r = publish(k, &cuts, values.people, out, e);
    cuts_values_deinit(&values);
    return r;
}

static int count_cut(struct tag_keeper *k, int64_t as_of, const struct rule_cuts *unless, struct buf *out,
                     struct err *e)
{
    if (!all_here(k)) {
        err_set(e, "the people of some partitions are not here");
        return -EAGAIN;
    }
    pthread_mutex_lock(&k->making);
    int r = cut(k, as_of, unless, out, e);
    if (r == 0) {
        stats_add(k->made, 1);
        forget_oldest(k);
    } else if (r < 0 && r != -ENODATA) {
        stats_add(k->failed, 1);
    }
    pthread_mutex_unlock(&k->making);
    return r;
}

int tag_keeper_cut(struct tag_keeper *k, int64_t as_of, struct buf *out, struct err *e)
{
    return count_cut(k, as_of, NULL, out, e);
}

/* --- when ------------------------------------------------------------------------------------------------------- */

/* The latest that were made before now; *days: how many there are. */
static int latest(struct tag_keeper *k, int64_t now, struct rule_cuts *out, size_t *days)
{
    struct state_definition *d;
    struct arena a;
    uint64_t changes;
    size_t n;

    *days = 0;
    arena_init(&a, ARENA_BYTES);
    int r = state_definitions(k->parts.state, 0, &a, &d, &n, &changes);
    if (r == 0)
        r = cuts_at(d, n, now, out);
    for (size_t i = 0; r == 0 && i < n; i++)
        *days += d[i].kind == DEFINITION_CUTS && d[i].name.n == CUTS_NAME_BYTES;
    arena_deinit(&a);
    return r;
}

static bool same_day(const struct tag_keeper *k, int64_t a, int64_t b)
{
    char x[CUTS_NAME_BYTES + 1], y[CUTS_NAME_BYTES + 1];

    cuts_name(k->parts.rules->zone, a, x);
    cuts_name(k->parts.rules->zone, b, y);
    return memcmp(x, y, sizeof x) == 0;
}

static void wait_longer(struct tag_keeper *k)
{
    k->wait_ms = k->wait_ms ? k->wait_ms * 2 : FIRST_WAIT_MS;
    if (k->wait_ms > MOST_WAIT_MS)
        k->wait_ms = MOST_WAIT_MS;
    k->look_at = clock_monotonic() + k->wait_ms;
}

static void make(struct tag_keeper *k, const struct rule_cuts *unless)
{
    struct err e = {0};
    int r = count_cut(k, TIME_NONE, unless, NULL, &e);

    if (r < 0 && r != -ENODATA && r != -ECANCELED)
        log_warn("profiler: no cut points of quintiles could be made, those of before go on to count: %s", e.text);
    else if (r == 0)
        log_info("profiler: cut points of quintiles were made");
}

void cuts_look_after(struct tag_keeper *k)
{
    int64_t now = k->parts.now();
    struct rule_cuts cuts;
    size_t days;

    if (clock_monotonic() < k->look_at || !all_here(k) || latest(k, now, &cuts, &days) != 0)
        return;
    atomic_store(&k->made_at, cuts.made_at == TIME_NONE ? 0 : cuts.made_at);
    bool due = cuts.made_at == TIME_NONE || !same_day(k, cuts.made_at, now);
    if (!due && days > 1) { /* an ordinary day */
        k->wait_ms = 0;
        k->look_at = clock_monotonic() + DAILY_LOOK_MS;
        return;
    }
    make(k, due ? NULL : &cuts);
    wait_longer(k);
}
