/* What others ask of the audiences. Any thread that may wait: the lock is shared for short. */
#include <errno.h>
#include <stdlib.h>

#include "common/json.h"
#include "profiler/audience_inside.h"
#include "profiler/audience_questions.h"

#define MEMBERS_AT_ONCE 512
#define WHOLE_DIGITS 15 /* that a double has, too */

struct world *world_of(struct audiences *a)
{
    pthread_rwlock_rdlock(&a->lock);
    struct world *w = a->world ? world_ref(a->world) : NULL;
    pthread_rwlock_unlock(&a->lock);
    return w;
}

bool audiences_partial(const struct audiences *a)
{
    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (!crowd_tells(&a->parts[i]))
            return true;
    return false;
}

/* --- audiences ------------------------------------------------------------------------------------------------- */

static double progress(const struct audiences *a)
{
    uint64_t all = 0, left = 0;

    for (uint32_t i = 0; i < a->o.partitions; i++) {
        all += a->parts[i].people.n;
        left += a->parts[i].lap_left;
    }
    return all ? 1 - (double)left / (double)all : 1;
}

static uint64_t size_of(const struct audiences *a, uint32_t set)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < a->o.partitions && set != UINT32_MAX; i++)
        n += bits_count(crowd_set(&a->parts[i], set));
    return n;
}

/* With the lock. */
static int info_of(const struct audiences *a, size_t at, struct arena *arena, struct audience_info *out)
{
    const struct audience *d = &a->world->v[at];
    uint32_t set = sets_find(&a->sets, 'a', d->name, STR_NONE);
    int64_t updated = set == UINT32_MAX ? 0 : a->sets.v[set].updated_at;

    *out = (struct audience_info){.name = arena_dup(arena, d->name),
                                  .body = arena_dup(arena, d->body),
                                  .rule = arena_dup(arena, d->text),
                                  .description = arena_dup(arena, d->description),
                                  .broken = arena_dup(arena, d->broken),
                                  .size = size_of(a, set),
                                  .building = a->building[at],
                                  .progress = a->building[at] ? progress(a) : 1,
                                  .partial = audiences_partial(a),
                                  .updated_at = updated > d->version ? updated : d->version,
                                  .version = d->version};
    return out->name.p && out->body.p && (!str_has(d->text) || out->rule.p) ? 0 : -ENOMEM;
}

int audiences_get(struct audiences *a, struct str name, struct arena *arena, struct audience_info *out)
{
    pthread_rwlock_rdlock(&a->lock);
    size_t at = a->world ? world_find(a->world, name) : SIZE_MAX;
    int rc = at == SIZE_MAX ? AUDIENCE_NOT_FOUND : info_of(a, at, arena, out);
    pthread_rwlock_unlock(&a->lock);
    return rc;
}

int audiences_list(struct audiences *a, struct arena *arena, struct audience_info **out, size_t *n)
{
    int rc = 0;

    pthread_rwlock_rdlock(&a->lock);
    *n = a->world ? a->world->n : 0;
    *out = arena_alloc(arena, (*n + 1) * sizeof **out);
    if (!*out)
        rc = -ENOMEM;
    for (size_t i = 0; i < *n && rc == 0; i++)
        rc = info_of(a, i, arena, &(*out)[i]);
    pthread_rwlock_unlock(&a->lock);
    return rc;
}

/* --- members --------------------------------------------------------------------------------------------------- */

/* Hashes of members from `from` on; *next the number behind the last. How many. */
static size_t copy_hashes(const struct crowd *p, uint32_t set, uint32_t from, size_t max, struct key_hash *out,
                          uint32_t *next)
{
    uint32_t numbers[MEMBERS_AT_ONCE];
    size_t n = bits_list(crowd_set(p, set), from, numbers, max < MEMBERS_AT_ONCE ? max : MEMBERS_AT_ONCE);

    for (size_t i = 0; i < n; i++)
        out[i] = p->people.v[numbers[i]].hash;
    *next = n ? numbers[n - 1] + 1 : UINT32_MAX;
    return n;
}

static int add_ids(struct audiences *a, uint32_t partition, const struct key_hash *hashes, size_t n,
                   struct arena *arena, struct str *ids, size_t *count, struct err *e)
{
    int64_t version;

    for (size_t i = 0; i < n; i++) {
        int rc = state_watch_find(a->o.state, partition, &hashes[i], arena, &ids[*count], &version, e);

        if (rc < 0)
            return rc;
        *count += rc == 0;
    }
    return 0;
}

int audiences_members(struct audiences *a, struct str name, struct audience_place *place, size_t limit,
                      struct arena *arena, struct str **ids, size_t *n, struct err *e)
{
    const struct crowd *p = &a->parts[place->partition];
    struct key_hash hashes[MEMBERS_AT_ONCE];
    uint32_t from = place->number;
    bool more = true;
    int rc = 0;

    *n = 0;
    *ids = arena_alloc(arena, (limit + 1) * sizeof **ids);
    if (!*ids)
        return -ENOMEM;
    while (rc == 0 && more && *n < limit) {
        size_t found = 0;

        pthread_rwlock_rdlock(&a->lock);
        if (!a->world || world_find(a->world, name) == SIZE_MAX)
            rc = AUDIENCE_NOT_FOUND;
        else if (!crowd_tells(p))
            rc = -ENOTCONN;
        else
            found = copy_hashes(p, sets_find(&a->sets, 'a', name, STR_NONE), from, limit - *n, hashes, &from);
        pthread_rwlock_unlock(&a->lock);
        more = found > 0;
        if (rc == 0)
            rc = add_ids(a, place->partition, hashes, found, arena, *ids, n, e);
    }
    if (rc != 0)
        return rc;
    *place = more ? (struct audience_place){place->partition, from} : (struct audience_place){place->partition + 1, 0};
    return 0;
}

/* --- one person ------------------------------------------------------------------------------------------------ */

/* Who is in what is not noted as of a time, and not yet where audiences are being built: all rules are evaluated once,
 * in their order. */
static bool evaluate_all(struct asking *k)
{
    const struct world *w = k->p.of.world;
    struct rule_subject own = k->p.s;
    struct rule_result result;
    int rc = 0;

    own.events = NULL;
    k->in = arena_zalloc(k->p.arena, w->n + 1);
    for (size_t i = 0; k->in && i < w->order_count && rc == 0; i++) {
        rc = rule_eval(w->v[w->order[i]].rule, &own, &result);
        k->in[w->order[i]] = rc == 0 && result.value.type == RULE_BOOL && result.value.truth;
    }
    rule_subject_done(&own);
    if (!k->in)
        rc = -ENOMEM;
    if (rc != 0)
        k->p.failed = rc;
    return rc == 0;
}

static bool asked_in(void *arg, struct str name)
{
    struct asking *k = arg;
    struct audiences *a = k->a;
    bool in = false;

    if (k->evaluate) {
        size_t at = world_find(k->p.of.world, name);

        return at != SIZE_MAX && (k->in || evaluate_all(k)) && k->in[at];
    }
    pthread_rwlock_rdlock(&a->lock);
    const struct crowd *p = &a->parts[k->p.of.partition];
    uint32_t set = sets_find(&a->sets, 'a', name, STR_NONE);
    uint32_t number = p->here ? people_find(&p->people, &k->hash) : PERSON_NONE;
    if (set != UINT32_MAX && number != PERSON_NONE && a->world && world_find(a->world, name) != SIZE_MAX)
        in = bits_has(crowd_set(p, set), number);
    pthread_rwlock_unlock(&a->lock);
    return in;
}

/* With the lock. */
static bool copy_said(struct asking *k, const struct row *r)
{
    struct arena *arena = k->p.arena;
    struct str name, value;

    k->said = arena_alloc(arena, (r->tag_count + 1) * sizeof *k->said);
    for (size_t i = 0; k->said && i < r->tag_count; i++) {
        if (!set_tag(&k->a->sets, r->tags[i], &name, &value))
            continue;
        struct tag_said *said = &k->said[k->said_count++];
        *said = (struct tag_said){arena_dup(arena, name), arena_dup(arena, value)};
        if (!said->name.p || !said->value.p)
            return false;
    }
    k->said_all = r->more_tags.n == 0;
    return k->said != NULL;
}

/* What was judged stands as long as the person is what they were then: the tags need not be evaluated again. */
static void read_row(struct asking *k)
{
    const struct person_seen *p = &k->p;
    struct row r;

    k->row = ROW_NONE;
    if (!p->of.world->tags || p->of.as_of != TIME_NONE || p->profile.amid)
        return;
    pthread_rwlock_rdlock(&k->a->lock);
    if (row_settled(k->a, p->of.world, p->of.partition, &k->hash, p->profile.version, p->arena, &r) == 0 &&
        copy_said(k, &r))
        k->row = ROW_READ;
    pthread_rwlock_unlock(&k->a->lock);
}

/* A number that is not whole may be said with fewer digits than it has. */
static bool is_said_exactly(struct str value)
{
    size_t i = value.n > 1 && value.p[0] == '-';

    if (value.n == 0 || value.p[0] == '"' || value.p[0] == 't' || value.p[0] == 'f')
        return value.n > 0;
    while (i < value.n && value.p[i] >= '0' && value.p[i] <= '9')
        i++;
    return i == value.n && i <= WHOLE_DIGITS;
}

/* True: the row says it, also that there is no value, which is of RULE_ANY. */
static bool said_tag(struct asking *k, struct str name, struct rule_value *out)
{
    if (k->row == ROW_UNREAD)
        read_row(k);
    if (k->row != ROW_READ || tags_find(k->p.of.world->tags, name) == SIZE_MAX)
        return false;
    for (size_t i = 0; i < k->said_count; i++)
        if (str_eq(k->said[i].name, name))
            return is_said_exactly(k->said[i].value) && rule_value_read(k->said[i].value, k->p.arena, out) == 0;
    *out = (struct rule_value){.type = RULE_ANY};
    return k->said_all;
}

static bool asked_tag(void *arg, struct str name, struct rule_value *out)
{
    struct asking *k = arg;

    return k->p.tags || !said_tag(k, name, out) ? person_tag(&k->p, name, out) : out->type != RULE_ANY;
}

static bool any_building(struct audiences *a)
{
    bool any = false;

    pthread_rwlock_rdlock(&a->lock);
    for (size_t i = 0; a->world && i < a->world->n; i++)
        any = any || a->building[i];
    pthread_rwlock_unlock(&a->lock);
    return any;
}

int ask_person(struct audiences *a, struct world *w, const struct who *who, struct arena *arena, struct asking *k,
               struct err *e)
{
    bool evaluate = who->as_of != TIME_NONE || ((who->needs & RULE_NEEDS_AUDIENCES) && any_building(a));
    const struct person_of of = {.state = a->o.state,
                                 .rules = a->o.rules,
                                 .world = w,
                                 .partition = who->partition,
                                 .id = who->id,
                                 .needs = who->needs | (evaluate ? w->needs : 0),
                                 .now = wall(a),
                                 .as_of = who->as_of,
                                 .reader = who->reader,
                                 .hash = who->hash};
    int rc = person_see(&k->p, &of, arena, e);

    if (rc != 0)
        return rc;
    k->a = a;
    k->in = NULL;
    k->evaluate = evaluate;
    k->row = ROW_UNREAD;
    k->said_count = 0;
    k->hash = who->reader ? who->hash : state_watch_hash(a->o.state, who->partition, who->id);
    k->p.s.tag = asked_tag;
    k->p.s.tag_arg = k;
    k->p.s.in_audience = asked_in;
    k->p.s.arg = k;
    return 0;
}

int audiences_subject(struct audiences *a, uint32_t partition, struct str id, unsigned needs, int64_t as_of,
                      int (*use)(void *arg, struct rule_subject *s), void *arg, struct err *e)
{
    const struct who who = {.partition = partition, .id = id, .needs = needs, .as_of = as_of};
    struct world *w = world_of(a);
    struct arena arena;
    struct asking k;

    if (!w)
        return -EAGAIN;
    arena_init(&arena, LIMIT_AUDIENCE_ARENA);
    int rc = ask_person(a, w, &who, &arena, &k, e);
    if (rc == 0) {
        rc = use(arg, &k.p.s);
        if (rc == 0)
            rc = k.p.failed;
        person_seen_done(&k.p);
    }
    arena_deinit(&arena);
    world_unref(w);
    return rc;
}

/* --- rules and names ------------------------------------------------------------------------------------------- */

struct audience_rule {
    struct world *world;
};

const struct rule *audience_rule_get(struct audiences *a, struct str name, struct audience_rule **ref)
{
    struct world *w = world_of(a);
    size_t at = w ? world_find(w, name) : SIZE_MAX;

    if (at == SIZE_MAX || !w->v[at].rule) {
        world_unref(w);
        return NULL;
    }
    *ref = malloc(sizeof **ref);
    if (!*ref)
        abort();
    (*ref)->world = w;
    return w->v[at].rule;
}

void audience_rule_release(struct audience_rule *ref)
{
    if (ref)
        world_unref(ref->world);
    free(ref);
}

struct tags *audiences_tagset(struct audiences *a)
{
    struct world *w = world_of(a);
    struct tags *t = w && w->tags ? tags_ref(w->tags) : NULL;

    world_unref(w);
    return t;
}

static bool is_audience(void *arg, struct str name)
{
    return arg && world_find(arg, name) != SIZE_MAX;
}

void audiences_names(struct audiences *a, struct audience_names *out)
{
    struct world *w = world_of(a);

    *out = (struct audience_names){.names = {.audience = is_audience, .arg = w}, .private = w};
    out->names.traits = a->o.rules->traits ? a->o.rules->traits->vocabulary : NULL;
    if (w && w->tags)
        out->names.tags = tags_names(w->tags, &out->names.tag_count);
}

void audiences_names_done(struct audience_names *n)
{
    world_unref(n->private);
    n->private = NULL;
}
