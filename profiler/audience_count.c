/* How many a rule means, by walking through everybody; who is meant is taken from bitmaps where these tell. Any thread
 * that may wait; no lock is held while people are looked at. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "profiler/audience_questions.h"

#define AT_ONCE 256
#define HELD_TRIES 100 /* of 10 ms each, for a profile that is held */

/* --- everybody ------------------------------------------------------------------------------------------------- */

struct scan {
    struct audiences *a;
    struct world *world;
    const struct rule *rule; /* NULL: everybody is meant */
    unsigned needs;
    int64_t as_of;
    audience_visitor *each;
    void *arg;
    const _Atomic bool *stop;
    struct arena arena;
    uint64_t count;
    uint32_t partition;
    struct state_reader *reader; /* of the partition */
};

static void rest(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static int use(struct scan *s, struct asking *k, struct str id)
{
    struct rule_result result;
    int rc = 0;

    if (s->rule) {
        rc = rule_eval(s->rule, &k->p.s, &result);
        rc = rc == 0 ? k->p.failed : rc;
        if (rc != 0 || result.value.type != RULE_BOOL || !result.value.truth)
            return rc;
    }
    s->count++;
    rc = s->each ? s->each(s->arg, id, &k->p.s) : 0;
    return rc == 0 ? k->p.failed : rc;
}

static int look_once(struct scan *s, const struct key_hash *hash, struct err *e)
{
    const struct who who = {
        .partition = s->partition, .needs = s->needs, .as_of = s->as_of, .reader = s->reader, .hash = *hash};
    struct asking k;
    int rc = ask_person(s->a, s->world, &who, &s->arena, &k, e);

    if (rc == 0) {
        rc = use(s, &k, k.p.of.id);
        person_seen_done(&k.p);
        return rc;
    }
    return rc == STATE_NOT_FOUND || rc == STATE_LINKED ? 0 : rc;
}

/* Who is held for a moment is waited for. */
static int look(struct scan *s, const struct key_hash *hash, struct err *e)
{
    uint64_t before = s->count;
    int rc = -EAGAIN;

    for (int i = 0; i < HELD_TRIES && (rc == -EAGAIN || rc == -EBUSY) && s->count == before; i++) {
        if (i > 0) {
            state_reader_rest(s->reader);
            rest();
        }
        if (s->stop && atomic_load(s->stop))
            return -ECANCELED;
        arena_reset(&s->arena);
        rc = look_once(s, hash, e);
    }
    return rc;
}

struct hashes {
    struct key_hash *v;
    size_t n, cap;
};

/* The next ones from a number on: 1, 0 when there are no more, or -ENOMEM. The lock is held for a few at a time. */
static int copy_some(struct audiences *a, const struct crowd *p, const struct bits *who, uint32_t *from,
                     struct hashes *out)
{
    uint32_t numbers[AT_ONCE];
    size_t n = 0;

    if (out->cap - out->n < AT_ONCE) {
        size_t cap = 2 * out->cap + AT_ONCE;
        struct key_hash *more = realloc(out->v, cap * sizeof *more);

        if (!more)
            return -ENOMEM;
        out->v = more;
        out->cap = cap;
    }
    pthread_rwlock_rdlock(&a->lock);
    if (p->here)
        n = bits_list(who ? who : p->people.everybody, *from, numbers, AT_ONCE);
    for (size_t i = 0; i < n; i++)
        if (people_has(&p->people, numbers[i]))
            out->v[out->n++] = p->people.v[numbers[i]].hash;
    if (n > 0)
        *from = numbers[n - 1] + 1;
    pthread_rwlock_unlock(&a->lock);
    return n > 0;
}

static int by_hash(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct key_hash));
}

/* In the order of the state's keys, where neighbours stand side by side. */
static int look_at_part(struct scan *s, uint32_t partition, const struct bits *who, struct err *e)
{
    struct hashes hashes = {0};
    uint32_t from = 0;
    int rc;

    s->partition = partition;
    s->reader = state_reader_new(s->a->o.state, partition);
    rc = s->reader ? 1 : -ENOMEM;
    while (rc == 1)
        rc = copy_some(s->a, &s->a->parts[partition], who, &from, &hashes);
    if (rc == 0 && hashes.n > 1)
        qsort(hashes.v, hashes.n, sizeof *hashes.v, by_hash);
    for (size_t i = 0; i < hashes.n && rc == 0; i++)
        rc = look(s, &hashes.v[i], e);
    state_reader_free(s->reader);
    free(hashes.v);
    return rc;
}

/* --- questions ------------------------------------------------------------------------------------------------- */

static bool is_known(struct audiences *a, uint32_t partition, uint64_t *people, bool *partial)
{
    const struct crowd *p = &a->parts[partition];

    pthread_rwlock_rdlock(&a->lock);
    bool known = p->here && p->known;
    if (known)
        *people += p->people.count;
    else
        *partial = true;
    pthread_rwlock_unlock(&a->lock);
    return known;
}

/* NULL: bitmaps do not tell. */
static struct bits *meant_of(struct audiences *a, uint32_t partition, const struct rule *rule)
{
    struct bits *who;

    pthread_rwlock_rdlock(&a->lock);
    who = a->world && a->parts[partition].here ? solve_rule(a, &a->parts[partition], rule) : NULL;
    pthread_rwlock_unlock(&a->lock);
    return who;
}

/* The members of a bitmap are told without evaluating the rule again. */
static int visit(struct scan *s, uint32_t partition, const struct bits *who, struct err *e)
{
    const struct rule *rule = s->rule;

    s->rule = NULL;
    int rc = look_at_part(s, partition, who, e);
    s->rule = rule;
    return rc;
}

static int count_part(struct scan *s, uint32_t partition, struct audience_count *out, struct err *e)
{
    struct bits *who = s->as_of == TIME_NONE && s->rule ? meant_of(s->a, partition, s->rule) : NULL;
    int rc = 0;

    if (who && !s->each)
        s->count += bits_count(who);
    else if (who)
        rc = visit(s, partition, who, e);
    else {
        out->from_bitmaps = false;
        rc = look_at_part(s, partition, NULL, e);
    }
    bits_free(who);
    return rc;
}

static int run(struct scan *s, struct audience_count *out, struct err *e)
{
    int rc = 0;

    *out = (struct audience_count){.from_bitmaps = true};
    s->world = world_of(s->a);
    if (!s->world)
        return -EAGAIN;
    arena_init(&s->arena, LIMIT_AUDIENCE_ARENA);
    for (uint32_t p = 0; p < s->a->o.partitions && rc == 0; p++)
        if (is_known(s->a, p, &out->people, &out->partial))
            rc = count_part(s, p, out, e);
    arena_deinit(&s->arena);
    world_unref(s->world);
    out->count = s->count;
    return rc;
}

int audiences_count(struct audiences *a, const struct rule *rule, int64_t as_of, audience_visitor *each, void *arg,
                    const _Atomic bool *stop, struct audience_count *out, struct err *e)
{
    struct scan s = {
        .a = a, .rule = rule, .needs = rule_needs(rule), .as_of = as_of, .each = each, .arg = arg, .stop = stop};

    return run(&s, out, e);
}

int audiences_scan(struct audiences *a, unsigned needs, int64_t as_of, audience_visitor *each, void *arg,
                   const _Atomic bool *stop, struct err *e)
{
    struct scan s = {.a = a, .needs = needs, .as_of = as_of, .each = each, .arg = arg, .stop = stop};
    struct audience_count count;

    return run(&s, &count, e);
}
