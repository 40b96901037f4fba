/* Partitions that come and go: their rows are read into memory, the topic behind them is read back, and the state is
 * compared with them. The judging thread. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/audience_inside.h"

#define RETRY_MS 500
#define LATE_FIRST_MS 1000
#define MARK "audiences" /* its hash says whether the state's hashes are those of the rows */
#define AGAIN_MOST 65536 /* beyond it the background finds them */

bool crowd_shows(struct audiences *a, uint32_t partition)
{
    return !a->o.shows || a->o.shows(a->o.arg, partition);
}

uint64_t crowd_stint(struct audiences *a, uint32_t partition)
{
    return a->o.stint ? a->o.stint(a->o.arg, partition) : 1;
}

/* --- what waits ------------------------------------------------------------------------------------------------ */

static bool push(uint32_t **v, uint32_t *n, uint32_t *cap, uint32_t number)
{
    if (*n == *cap) {
        uint32_t more = *cap ? *cap * 2 : 64;
        uint32_t *grown = realloc(*v, more * sizeof *grown);

        if (!grown)
            abort();
        *v = grown;
        *cap = more;
    }
    (*v)[(*n)++] = number;
    return true;
}

void crowd_lap(struct crowd *p)
{
    p->lap_left = p->people.n;
    atomic_store(&p->whole, false);
}

void crowd_again(struct crowd *p, uint32_t number)
{
    if (p->again_n == AGAIN_MOST) {
        p->people.v[number].world = 0;
        p->again_over = true;
        crowd_lap(p);
        return;
    }
    if (p->again_n == 0)
        p->again_at = clock_monotonic() + AGAIN_MS;
    push(&p->again, &p->again_n, &p->again_cap, number);
}

/* --- the rows -------------------------------------------------------------------------------------------------- */

struct loading {
    struct audiences *a;
    struct crowd *p;
    struct arena arena;
    uint64_t unread; /* rows that are none */
};

static bool knows_all(const struct audiences *a, const struct row *r)
{
    for (size_t i = 0; i < r->in_count; i++)
        if (r->in[i].set >= a->sets.n || !a->sets.v[r->in[i].set].bytes)
            return false;
    for (size_t i = 0; i < r->tag_count; i++)
        if (r->tags[i] >= a->sets.n || !a->sets.v[r->tags[i]].bytes)
            return false;
    return true;
}

static int load_row(void *arg, const struct key_hash *hash, struct str bytes)
{
    struct loading *l = arg;
    struct crowd *p = l->p;
    struct row r;
    int rc;

    arena_reset(&l->arena);
    rc = row_unpack(bytes, &l->arena, &r);
    if (rc < 0)
        return rc;
    if (rc > 0 || !knows_all(l->a, &r)) {
        l->unread++;
        return 0;
    }
    uint32_t number = people_add(&p->people, hash, r.number);
    p->people.v[number].version = r.version;
    p->people.v[number].world = number == r.number ? r.world : 0;
    people_set_due(&p->people, number, r.due);
    crowd_put_row(p, number, &r);
    return 0;
}

/* Rows of other hashes say nothing: the state was made anew. Who is in which audience then stands on the topic. */
static int check_mark(struct audiences *a, struct crowd *p, struct err *e)
{
    struct key_hash mark;
    int rc = row_store_place(a->rows, p->number, &p->place, &mark, e);

    p->mark = state_watch_hash(a->o.state, p->number, STR_LIT(MARK));
    if (rc < 0)
        return rc;
    if (rc == 0 && key_hash_eq(&mark, &p->mark))
        return 0;
    p->place = 0;
    p->bare = true;
    return rc == 0 ? row_store_wipe(a->rows, p->number, e) : 0;
}

static int load(struct audiences *a, struct crowd *p, uint64_t stint, struct err *e)
{
    struct loading l = {.a = a, .p = p};
    int rc = check_mark(a, p, e);

    if (rc != 0)
        return rc;
    arena_init(&l.arena, 16 * MIB);
    pthread_rwlock_wrlock(&a->lock);
    people_init(&p->people);
    p->here = true;
    p->stint = stint;
    bits_free(p->kept);
    p->kept = NULL;
    rc = row_store_walk(a->rows, p->number, load_row, &l, e);
    pthread_rwlock_unlock(&a->lock);
    arena_deinit(&l.arena);
    if (rc == 0) {
        atomic_store(&a->outer[p->number].forget, false);
        atomic_store(&a->outer[p->number].live, stint);
    }
    if (l.unread)
        log_warn("audiences: partition %u: %llu rows cannot be read; the people are judged anew", p->number,
                 (unsigned long long)l.unread);
    return rc;
}

static void forget_gone(struct crowd *p)
{
    for (size_t i = 0; i < p->gone_id_n; i++)
        free((char *)p->gone_ids[i].id.p);
    free(p->gone_ids);
    p->gone_ids = NULL;
    p->gone_id_n = 0;
    p->gone_n = p->gone_at = 0;
}

void crowd_leave(struct audiences *a, struct crowd *p)
{
    pthread_rwlock_wrlock(&a->lock);
    if (p->dirty) /* what is not written is found out again */
        row_store_write(a->rows, p->number, p->place, &p->mark, NULL);
    p->here = p->known = false;
    atomic_store(&a->outer[p->number].live, 0);
    people_deinit(&p->people);
    for (uint32_t i = 0; i < p->set_cap; i++)
        bits_free(p->sets[i]);
    free(p->sets);
    p->sets = NULL;
    p->set_cap = 0;
    row_store_forget(a->rows, p->number);
    pthread_rwlock_unlock(&a->lock);
    forget_gone(p);
    free(p->gone);
    free(p->again);
    turns_deinit(&p->turns);
    pasts_clear(&a->pasts);
    arena_deinit(&p->changed_arena);
    *p = (struct crowd){.number = p->number};
    arena_init(&p->changed_arena, SIZE_MAX);
}

/* --- comparing with the state ---------------------------------------------------------------------------------- */

struct comparing {
    struct audiences *a;
    struct crowd *p;
    struct bits *seen;
};

static int compare_one(void *arg, const struct key_hash *hash, struct str id, int64_t version)
{
    struct comparing *c = arg;
    struct people *people = &c->p->people;
    uint32_t number = people_find(people, hash);

    (void)id;
    if (number == PERSON_NONE) {
        pthread_rwlock_wrlock(&c->a->lock);
        number = people_add(people, hash, PERSON_NONE);
        pthread_rwlock_unlock(&c->a->lock);
    }
    if (people->v[number].version != version)
        people->v[number].world = 0;
    bits_set(c->seen, number);
    return 0;
}

static void list_gone(struct comparing *c)
{
    struct bits *left = bits_copy(c->p->people.everybody);
    uint32_t numbers[512], from = 0;
    size_t n;

    bits_without(left, c->seen);
    while ((n = bits_list(left, from, numbers, 512)) > 0) {
        for (size_t i = 0; i < n; i++)
            push(&c->p->gone, &c->p->gone_n, &c->p->gone_cap, numbers[i]);
        from = numbers[n - 1] + 1;
        if (from == 0)
            break;
    }
    bits_free(left);
}

/* Who is in memory alone is not met, and is among those who are looked for one by one; so are the gone. */
static int compare(struct audiences *a, struct crowd *p, struct err *e)
{
    struct comparing c = {a, p, bits_new()};
    int rc = state_watch_walk(a->o.state, p->number, NULL, compare_one, &c, e);

    forget_gone(p);
    if (rc == 0)
        list_gone(&c);
    bits_free(c.seen);
    if (rc == 0 && p->gone_n > 0)
        rc = crowd_find_gone(a, p, e);
    if (rc != 0)
        return rc;
    p->known = p->stale = true;
    crowd_lap(p);
    return 0;
}

/* --- coming and going ------------------------------------------------------------------------------------------ */

static void failed(struct audiences *a, struct crowd *p, const char *what, const struct err *e)
{
    p->retry_at = clock_monotonic() + RETRY_MS;
    log_limited(&a->limit, LOG_WARN, "audiences: partition %u: %s: %s; trying again", p->number, what, e->text);
}

bool needs_topic(const struct audiences *a)
{
    return a->world && a->world->n > 0;
}

static bool come(struct audiences *a, struct crowd *p, uint64_t stint)
{
    struct err e = {0};

    if (!p->here && load(a, p, stint, &e) != 0) {
        failed(a, p, "its rows cannot be read", &e);
        crowd_leave(a, p);
        p->retry_at = clock_monotonic() + RETRY_MS;
        return false;
    }
    state_watch_again(a->o.state, p->number); /* who has changed in memory alone was noted for a stint before */
    p->unread = p->compare = true;
    p->came_at = clock_monotonic();
    p->late_at = p->came_at + LATE_FIRST_MS;
    return true;
}

static bool read_back(struct audiences *a, struct crowd *p)
{
    struct err e = {0};

    if (!needs_topic(a))
        return false;
    if (crowd_read_topic(a, p, &e) == 0)
        return true;
    failed(a, p, "the topic of changes cannot be read back", &e);
    return false;
}

bool crowds_follow(struct audiences *a)
{
    int64_t now = clock_monotonic();
    bool changed = false;

    for (uint32_t i = 0; i < a->o.partitions; i++) {
        struct crowd *p = &a->parts[i];
        uint64_t stint = crowd_stint(a, i);

        if (p->here && stint != p->stint) {
            crowd_leave(a, p);
            changed = true;
        }
        if (!p->here && stint == 0)
            crowd_forget(a, p);
        if (now < p->retry_at || stint == 0 || !crowd_shows(a, i))
            continue;
        if (!p->here && p->gathered)
            changed = come(a, p, stint) || changed;
        if (p->here && p->unread)
            changed = read_back(a, p) || changed;
    }
    crowds_ask_late(a);
    return changed;
}

/* The partition's state was replaced by one that hashes otherwise: it comes anew, by the topic. */
static bool is_another(struct audiences *a, const struct crowd *p)
{
    struct key_hash mark = state_watch_hash(a->o.state, p->number, STR_LIT(MARK));

    return !key_hash_eq(&mark, &p->mark);
}

bool crowd_take(struct audiences *a, struct crowd *p)
{
    struct err e = {0};
    bool all;

    if (p->changed_at < p->changed_n)
        return true;
    if (!p->here || clock_monotonic() < p->retry_at)
        return false;
    arena_reset(&p->changed_arena);
    p->changed_n = p->changed_at = 0;
    if (state_watch_take(a->o.state, p->number, &p->changed_arena, &p->changed, &p->changed_n, &all) != 0) {
        p->changed_n = 0;
        p->retry_at = clock_monotonic() + AGAIN_MS;
        return false;
    }
    p->taken_before = p->taken;
    p->taken = a->round;
    if (all && is_another(a, p)) {
        crowd_leave(a, p);
        return false;
    }
    p->compare = p->compare || all;
    if (p->compare && compare(a, p, &e) != 0)
        failed(a, p, "the state cannot be compared with the rows", &e);
    else
        p->compare = false;
    return p->changed_n > 0;
}
