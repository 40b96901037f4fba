/* How many a rule means: from bitmaps where it is made of audiences and tags alone, else by looking at everybody. Any
 * thread that may wait; no lock is held while people are looked at. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "profiler/audience_questions.h"
#include "profiler/rule_tree.h"

#define AT_ONCE 256
#define CATCH_UP_MS 1000
#define HELD_TRIES 100 /* of 10 ms each, for a profile that is held */

/* --- bitmaps --------------------------------------------------------------------------------------------------- */

static bool tag_and_constant(const struct rule_node *n, const struct rule_node **tag, const struct rule_node **constant)
{
    for (int i = 0; i < 2; i++) {
        *tag = n->kids[i];
        *constant = n->kids[1 - i];
        if ((*tag)->op == OP_TAG &&
            ((*constant)->op == OP_STRING || (*constant)->op == OP_NUMBER || (*constant)->op == OP_BOOL))
            return true;
    }
    return false;
}

static bool is_algebra(const struct rule_node *n)
{
    const struct rule_node *tag, *constant;

    switch (n->op) {
    case OP_BOOL:
    case OP_IN_AUDIENCE:
        return true;
    case OP_TAG:
        return n->type == RULE_BOOL;
    case OP_EQ:
        return tag_and_constant(n, &tag, &constant);
    case OP_AND:
    case OP_OR:
    case OP_NOT:
        for (size_t i = 0; i < n->kid_count; i++)
            if (!is_algebra(n->kids[i]))
                return false;
        return true;
    default:
        return false;
    }
}

static struct bits *members_of(const struct audiences *a, const struct crowd *p, struct str name)
{
    uint32_t set = sets_find(&a->sets, 'a', name, STR_NONE);
    bool there = set != UINT32_MAX && world_find(a->world, name) != SIZE_MAX;

    return bits_copy(there ? crowd_set(p, set) : NULL);
}

static struct bits *tagged(const struct audiences *a, const struct crowd *p, struct str tag, struct rule_value value)
{
    struct buf json;
    uint32_t set;

    buf_init(&json, 4 * KIB);
    rule_value_write(&value, &json);
    set = json.failed ? UINT32_MAX : sets_find(&a->sets, 't', tag, buf_str(&json));
    buf_deinit(&json);
    return bits_copy(set == UINT32_MAX ? NULL : crowd_set(p, set));
}

static struct bits *tagged_as(const struct audiences *a, const struct crowd *p, const struct rule_node *n)
{
    const struct rule_node *tag, *constant;
    struct rule_value v = {0};
    struct rule_number number;

    if (!tag_and_constant(n, &tag, &constant))
        abort();
    v.type = constant->op == OP_STRING ? RULE_STRING : constant->op == OP_NUMBER ? RULE_NUMBER : RULE_BOOL;
    if (v.type == RULE_STRING)
        v.text = constant->text;
    else if (v.type == RULE_NUMBER) {
        number = constant->number;
        v.number = &number;
    } else
        v.truth = constant->truth;
    return tagged(a, p, tag->text, v);
}

/* With the lock. Rules are at most LIMIT_RULE_DEPTH deep. */
static struct bits *solve(const struct audiences *a, const struct crowd *p, const struct rule_node *n)
{
    struct bits *b, *other;

    switch (n->op) {
    case OP_BOOL:
        return bits_copy(n->truth ? p->people.everybody : NULL);
    case OP_IN_AUDIENCE:
        return members_of(a, p, n->text);
    case OP_TAG:
        return tagged(a, p, n->text, (struct rule_value){.type = RULE_BOOL, .truth = true});
    case OP_EQ:
        return tagged_as(a, p, n);
    case OP_NOT:
        b = bits_copy(p->people.everybody);
        other = solve(a, p, n->kids[0]);
        bits_without(b, other);
        bits_free(other);
        return b;
    default:
        b = solve(a, p, n->kids[0]);
        for (size_t i = 1; i < n->kid_count; i++) {
            other = solve(a, p, n->kids[i]);
            if (n->op == OP_AND)
                bits_and(b, other);
            else
                bits_or(b, other);
            bits_free(other);
        }
        return b;
    }
}

/* The live audience that has the same rule; SIZE_MAX: there is none. With the lock. */
static size_t same_rule(const struct audiences *a, const struct rule *rule)
{
    struct buf text;
    size_t found = SIZE_MAX;

    buf_init(&text, MIB);
    if (rule_canonical(rule, &text))
        for (size_t i = 0; i < a->world->n && found == SIZE_MAX; i++)
            if (a->world->v[i].rule && !a->building[i] && str_eq(a->world->v[i].canonical, buf_str(&text)))
                found = i;
    buf_deinit(&text);
    return found;
}

static bool laps_left(const struct audiences *a)
{
    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (a->parts[i].here && (a->parts[i].lap_left || a->parts[i].again_n))
            return true;
    return atomic_load(&a->turns_behind);
}

/* Bitmaps of tags are whole when nobody is to be judged and no value was left without one. */
static bool from_bitmaps(const struct audiences *a, const struct rule *rule)
{
    if (!is_algebra(rule->root))
        return false;
    for (size_t i = 0; i < rule->audience_count; i++) {
        size_t at = world_find(a->world, rule->audiences[i]);

        if (at != SIZE_MAX && a->building[at])
            return false;
    }
    return rule->tag_count == 0 || (!laps_left(a) && a->sets.tags_used < LIMIT_AUDIENCE_SETS - LIMIT_AUDIENCES);
}

/* Who is meant, of one partition; NULL: everybody has to be looked at. With the lock. */
static struct bits *meant(const struct audiences *a, const struct crowd *p, const struct rule *rule)
{
    size_t same = same_rule(a, rule);

    if (same != SIZE_MAX)
        return members_of(a, p, a->world->v[same].name);
    return from_bitmaps(a, rule) ? solve(a, p, rule->root) : NULL;
}

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

static int look_once(struct scan *s, uint32_t partition, const struct key_hash *hash, struct err *e)
{
    struct who who = {.partition = partition, .needs = s->needs, .as_of = s->as_of};
    struct asking k;
    int64_t version;
    int rc = state_watch_find(s->a->o.state, partition, hash, &s->arena, &who.id, &version, e);

    if (rc == 0)
        rc = ask_person(s->a, s->world, &who, &s->arena, &k, e);
    if (rc == 0) {
        rc = use(s, &k, who.id);
        person_seen_done(&k.p);
        return rc;
    }
    return rc == STATE_NOT_FOUND || rc == STATE_LINKED ? 0 : rc;
}

/* Who is held for a moment is waited for. */
static int look(struct scan *s, uint32_t partition, const struct key_hash *hash, struct err *e)
{
    uint64_t before = s->count;
    int rc = -EAGAIN;

    for (int i = 0; i < HELD_TRIES && (rc == -EAGAIN || rc == -EBUSY) && s->count == before; i++) {
        if (i > 0)
            rest();
        if (s->stop && atomic_load(s->stop))
            return -ECANCELED;
        arena_reset(&s->arena);
        rc = look_once(s, partition, hash, e);
    }
    return rc;
}

static size_t copy(struct audiences *a, const struct crowd *p, const struct bits *who, uint32_t *from,
                   struct key_hash *out)
{
    uint32_t numbers[AT_ONCE];
    size_t n = 0, kept = 0;

    pthread_rwlock_rdlock(&a->lock);
    if (p->here)
        n = bits_list(who ? who : p->people.everybody, *from, numbers, AT_ONCE);
    for (size_t i = 0; i < n; i++)
        if (people_has(&p->people, numbers[i]))
            out[kept++] = p->people.v[numbers[i]].hash;
    if (n > 0)
        *from = numbers[n - 1] + 1;
    pthread_rwlock_unlock(&a->lock);
    return n == 0 ? SIZE_MAX : kept;
}

static int look_at_part(struct scan *s, uint32_t partition, const struct bits *who, struct err *e)
{
    struct key_hash hashes[AT_ONCE];
    uint32_t from = 0;
    size_t n;
    int rc = 0;

    while (rc == 0 && (n = copy(s->a, &s->a->parts[partition], who, &from, hashes)) != SIZE_MAX)
        for (size_t i = 0; i < n && rc == 0; i++)
            rc = look(s, partition, &hashes[i], e);
    return rc;
}

/* --- questions ------------------------------------------------------------------------------------------------- */

/* Whoever changed before the question is in the bitmaps then, or a second is over. */
static void catch_up(struct audiences *a, const _Atomic bool *stop)
{
    unsigned long long wakes = atomic_load(&a->wakes);
    int64_t until = clock_monotonic() + CATCH_UP_MS;

    while (atomic_load(&a->caught_up) < wakes && clock_monotonic() < until && !(stop && atomic_load(stop)))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

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

/* From bitmaps if that can be: 1 and *who, NULL is nobody. */
static struct bits *meant_of(struct audiences *a, uint32_t partition, const struct rule *rule)
{
    struct bits *who;

    pthread_rwlock_rdlock(&a->lock);
    who = a->world && a->parts[partition].here ? meant(a, &a->parts[partition], rule) : NULL;
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
    catch_up(s->a, s->stop);
    arena_init(&s->arena, LIMIT_AUDIENCE_ARENA);
    for (uint32_t p = 0; p < s->a->o.partitions && rc == 0; p++)
        if (is_known(s->a, p, &out->people, &out->partial))
            rc = count_part(s, p, out, e);
    arena_deinit(&s->arena);
    world_unref(s->world);
    out->count = s->count;
    return rc;
}

bool audiences_counts_bitmaps(struct audiences *a, const struct rule *rule)
{
    pthread_rwlock_rdlock(&a->lock);
    bool can = a->world && (same_rule(a, rule) != SIZE_MAX || from_bitmaps(a, rule));
    pthread_rwlock_unlock(&a->lock);
    return can;
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
