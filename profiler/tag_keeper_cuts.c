/* Making cut points of quintiles: when they are due, and saying them to every partition. The keeper's thread, and
 * whoever orders them. */
#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/cuts.h"
#include "profiler/tag_keeper_inside.h"

#define FIRST_WAIT_MS (10 * TIME_SECOND)
#define MOST_WAIT_MS (10 * TIME_MINUTE)
#define DAILY_LOOK_MS (5 * TIME_SECOND)
#define LATE_MS TIME_HOUR /* into the day; then what others said of another day will do */
#define ARENA_BYTES (64 * MIB)

/* --- saying them ------------------------------------------------------------------------------------------------ */

static bool is_day(const struct state_definition *d)
{
    return d->kind == DEFINITION_CUTS && d->name.n == CUTS_NAME_BYTES && d->name.p[4] == '-';
}

/* Those of days, the oldest first: definitions are sorted by kind and name. */
static struct str oldest_beyond(const struct state_definition *d, size_t n)
{
    struct str oldest = STR_NONE;
    size_t days = 0;

    for (size_t i = 0; i < n; i++)
        if (is_day(&d[i]) && days++ == 0)
            oldest = d[i].name;
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
        if (str_has(name) && keeper_define(k, name, STR_NONE, &e) != 0)
            log_warn("profiler: the oldest cut points of quintiles stay: %s", e.text);
    }
    arena_deinit(&a);
}

static int publish(struct tag_keeper *k, const struct rule_cuts *cuts, uint64_t people, struct buf *out, struct err *e)
{
    char name[CUTS_NAME_BYTES + 1];
    struct buf body;

    buf_init(&body, DEFINITION_BODY_BYTES);
    int r = cuts_write(cuts, people, &body) ? 0 : -ENOMEM;
    cuts_name(k->parts.rules->zone, cuts->made_at, name);
    if (r == 0)
        r = keeper_define(k, str_of(name), buf_str(&body), e);
    if (r == 0 && out)
        buf_add_str(out, buf_str(&body));
    buf_deinit(&body);
    return r;
}

/* --- making them ------------------------------------------------------------------------------------------------ */

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

struct order_of_cuts {
    int64_t as_of;                  /* TIME_NONE: now */
    struct str day;                 /* of what others say; absent: of any */
    const struct rule_cuts *unless; /* such are not said again; NULL: whatever they are */
};

/* 1: they are those of `unless`. */
static int cut(struct tag_keeper *k, const struct order_of_cuts *o, struct buf *out, struct err *e)
{
    struct cuts_values values;
    struct rule_cuts cuts;

    cuts_values_init(&values);
    int r = keeper_gather(k, o->as_of, o->day, &values, e);
    if (r == 0)
        cuts_values_make(&values, o->as_of == TIME_NONE ? k->parts.now() : o->as_of, &cuts);
    if (r == 0 && o->unless && same_cuts(o->unless, &cuts))
        r = 1;
    else if (r == 0)
        r = publish(k, &cuts, values.people, out, e);
    cuts_values_deinit(&values);
    return r;
}

static int cut_and_count(struct tag_keeper *k, const struct order_of_cuts *o, struct buf *out, struct err *e)
{
    pthread_mutex_lock(&k->making);
    int r = cut(k, o, out, e);
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
    return cut_and_count(k, &(struct order_of_cuts){.as_of = as_of}, out, e);
}

/* --- when ------------------------------------------------------------------------------------------------------- */

struct known {
    struct rule_cuts cuts; /* the latest that count now */
    size_t days;           /* of which there are some */
    bool said;             /* what values the people here have today, to those who have not everybody here */
};

static bool first_here(const struct tag_keeper *k, uint32_t *out)
{
    for (uint32_t p = 0; p < k->parts.partitions; p++)
        if (k->parts.shows(k->parts.arg, p)) {
            *out = p;
            return true;
        }
    return false;
}

static int look(struct tag_keeper *k, int64_t now, struct str today, struct known *out)
{
    struct state_definition *d;
    struct arena a;
    uint64_t changes;
    uint32_t p;
    size_t n;

    *out = (struct known){.days = 0};
    if (!first_here(k, &p))
        return -EAGAIN;
    arena_init(&a, ARENA_BYTES);
    int r = state_definitions(k->parts.state, p, &a, &d, &n, &changes);
    if (r == 0)
        r = cuts_at(d, n, now, &out->cuts);
    for (size_t i = 0; r == 0 && i < n; i++)
        out->days += is_day(&d[i]);
    if (r == 0)
        out->said = keeper_shows_all(k) || keeper_values_said(k, d, n, today);
    arena_deinit(&a);
    return r;
}

static void wait_longer(struct tag_keeper *k)
{
    k->wait_ms = k->wait_ms ? k->wait_ms * 2 : FIRST_WAIT_MS;
    if (k->wait_ms > MOST_WAIT_MS)
        k->wait_ms = MOST_WAIT_MS;
    k->look_at = clock_monotonic() + k->wait_ms;
}

static void say_what(int r, const struct err *e)
{
    if (r < 0 && r != -ENODATA && r != -ECANCELED && r != -EAGAIN)
        log_warn("profiler: no cut points of quintiles could be made, those of before go on to count: %s", e->text);
    else if (r == 0)
        log_info("profiler: cut points of quintiles were made");
}

/* What is due today, or on a first day may be worth another try. */
static void work(struct tag_keeper *k, const struct known *is, int64_t now, struct str today, bool due)
{
    struct err e = {0};
    int r = 0;

    if (!is->said || (is->days <= 1 && !keeper_shows_all(k)))
        r = keeper_say_values(k, today, &e);
    if (r == 0 && k->parts.shows(k->parts.arg, 0)) {
        bool late = now - k->due_at > LATE_MS;
        r = cut_and_count(k,
                          &(struct order_of_cuts){
                              .as_of = TIME_NONE, .day = late ? STR_NONE : today, .unless = due ? NULL : &is->cuts},
                          NULL, &e);
    }
    say_what(r, &e);
}

void cuts_begin(struct tag_keeper *k)
{
    k->look_at = clock_monotonic() + FIRST_WAIT_MS;
}

void cuts_look_after(struct tag_keeper *k)
{
    char today[CUTS_NAME_BYTES + 1], made[CUTS_NAME_BYTES + 1] = "";
    int64_t now = k->parts.now();
    struct known is;

    cuts_name(k->parts.rules->zone, now, today);
    if (clock_monotonic() < k->look_at || look(k, now, str_of(today), &is) != 0)
        return;
    atomic_store(&k->made_at, is.cuts.made_at == TIME_NONE ? 0 : is.cuts.made_at);
    if (is.cuts.made_at != TIME_NONE)
        cuts_name(k->parts.rules->zone, is.cuts.made_at, made);
    bool due = strcmp(today, made) != 0;
    if (!due && is.days > 1) { /* an ordinary day */
        k->wait_ms = 0;
        k->due_at = 0;
        k->look_at = clock_monotonic() + DAILY_LOOK_MS;
        return;
    }
    if (k->due_at == 0)
        k->due_at = now;
    work(k, &is, now, str_of(today), due);
    wait_longer(k);
}
