/* Judging one person: what the tags and audiences say of them now, beside what their row says. Nothing is changed here;
 * verdicts gather in a batch. The judging thread. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/json.h"
#include "profiler/audience_inside.h"

#define BATCH_CHANGES 4096 /* a batch with more takes nobody else */
#define TAGS_BYTES (1 * MIB)

void batch_init(struct batch *b)
{
    *b = (struct batch){0};
    arena_init(&b->arena, LIMIT_AUDIENCE_ARENA);
    arena_init(&b->scratch, LIMIT_AUDIENCE_ARENA);
    buf_init(&b->out, TAGS_BYTES);
}

void batch_deinit(struct batch *b)
{
    arena_deinit(&b->arena);
    arena_deinit(&b->scratch);
    buf_deinit(&b->out);
    free(b->changes);
}

void batch_reset(struct batch *b)
{
    arena_reset(&b->arena);
    b->n = b->change_count = 0;
}

bool batch_full(const struct batch *b)
{
    return b->n + 1 >= LIMIT_AUDIENCE_BATCH || b->change_count >= BATCH_CHANGES;
}

static bool has(const struct batch *b, const struct crowd *p, const struct key_hash *hash)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->v[i].part == p && key_hash_eq(&b->v[i].hash, hash))
            return true;
    return false;
}

/* --- the row that there is ------------------------------------------------------------------------------------- */

static int read_was(struct audiences *a, struct verdict *v, struct err *e)
{
    struct str bytes;
    int rc;

    v->was = (struct row){.number = v->number, .version = -1, .due = TIME_NONE};
    if (v->number == PERSON_NONE)
        return 0;
    rc = row_store_get(a->rows, v->part->number, &v->hash, &a->batch.arena, &bytes, e);
    if (rc == 0)
        rc = row_unpack(bytes, &a->batch.arena, &v->was);
    if (rc > 0)
        v->was = (struct row){.number = v->number, .version = -1, .due = TIME_NONE};
    return rc < 0 ? rc : 0;
}

/* --- what is true ---------------------------------------------------------------------------------------------- */

/* In the middle of judging: what was found out about the audiences that come before. */
struct judging {
    const struct audiences *a;
    const struct verdict *v;
    bool *in;
};

static bool was_in(const struct audiences *a, const struct verdict *v, struct str name)
{
    uint32_t set = sets_find(&a->sets, 'a', name, STR_NONE);

    return set != UINT32_MAX && row_membership(&v->was, set);
}

static bool in_audience(void *arg, struct str name)
{
    const struct judging *j = arg;
    size_t at = world_find(j->a->world, name);

    return at != SIZE_MAX && j->in[at];
}

static void take_next(int64_t *next, int64_t one)
{
    if (one != TIME_NONE && (*next == TIME_NONE || one < *next))
        *next = one;
}

static int judge_audiences(struct judging *j, struct person_seen *p, int64_t *next)
{
    const struct world *w = j->a->world;
    struct rule_result result;

    for (size_t i = 0; i < w->n; i++)
        j->in[i] = !w->v[i].rule && was_in(j->a, j->v, w->v[i].name);
    p->s.in_audience = in_audience;
    p->s.arg = j;
    for (size_t i = 0; i < w->order_count; i++) {
        uint32_t at = w->order[i];
        int rc = rule_eval(w->v[at].rule, &p->s, &result);

        if (rc != 0 || p->failed != 0)
            return rc != 0 ? rc : p->failed;
        j->in[at] = result.value.type == RULE_BOOL && result.value.truth;
        take_next(next, result.next_change);
    }
    return 0;
}

/* --- the row that is to be ------------------------------------------------------------------------------------- */

static int by_set(const void *a, const void *b)
{
    const struct membership *x = a, *y = b;

    return (x->set > y->set) - (x->set < y->set);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static int make_memberships(struct audiences *a, struct verdict *v, const bool *in, int64_t now)
{
    const struct world *w = a->world;
    struct row *r = &v->now;

    r->in = arena_alloc(&a->batch.arena, (w->n + 1) * sizeof *r->in);
    if (!r->in)
        return -ENOMEM;
    for (size_t i = 0; i < w->n; i++) {
        if (!in[i])
            continue;
        uint32_t set = sets_make(a, 'a', w->v[i].name, STR_NONE);
        const struct membership *was = row_membership(&v->was, set);
        assert(set != UINT32_MAX);
        r->in[r->in_count++] = (struct membership){set, was ? was->entered_at : now};
    }
    qsort(r->in, r->in_count, sizeof *r->in, by_set);
    return 0;
}

static void add_more(struct buf *more, const struct tag_said *t)
{
    if (more->n)
        buf_add_char(more, ',');
    json_write_str(more, t->name);
    buf_add_char(more, ':');
    buf_add_str(more, t->value);
}

/* Whether there is an address of each kind stands among the tags. */
static int keep_reach(struct audiences *a, struct row *row, struct rule_subject *s)
{
    struct rule_result result;

    for (enum reach r = 0; r < REACH_NONE; r++) {
        const struct rule *rule = a->world->reach[r];
        int rc = rule ? rule_eval(rule, s, &result) : 0;

        if (rc != 0)
            return rc;
        if (rule && result.value.type == RULE_BOOL && result.value.truth)
            row->tags[row->tag_count++] = sets_make(a, 'h', str_of(reach_names[r]), STR_NONE);
    }
    return 0;
}

static int keep_tags(struct audiences *a, struct verdict *v, const struct tag_said *tags, size_t n)
{
    struct row *r = &v->now;
    struct buf more;

    buf_init(&more, TAGS_BYTES);
    for (size_t i = 0; i < n; i++) {
        uint32_t set = sets_make(a, 't', tags[i].name, tags[i].value);

        if (set != UINT32_MAX)
            r->tags[r->tag_count++] = set;
        else
            add_more(&more, &tags[i]);
    }
    qsort(r->tags, r->tag_count, sizeof *r->tags, by_number);
    r->more_tags = arena_dup(&a->batch.arena, more.n ? buf_str(&more) : STR_LIT(""));
    bool fine = !more.failed && r->more_tags.p;
    buf_deinit(&more);
    return fine ? 0 : -ENOMEM;
}

static int make_tags(struct audiences *a, struct verdict *v, struct person_seen *p)
{
    struct tag_said *tags = NULL;
    size_t n = 0;
    int rc = 0;

    buf_reset(&a->batch.out);
    if (a->world->tags)
        rc = tags_say(a->world->tags, p->tags, &p->s, &a->batch.out, &tags, &n);
    v->now.tags = rc == 0 ? arena_alloc(&a->batch.arena, (n + REACH_NONE) * sizeof *v->now.tags) : NULL;
    if (!v->now.tags)
        return rc == 0 ? -ENOMEM : rc;
    rc = keep_reach(a, &v->now, &p->s);
    return rc == 0 ? keep_tags(a, v, tags, n) : rc;
}

static int judge_person(struct audiences *a, struct verdict *v, struct person_seen *p)
{
    bool in[LIMIT_AUDIENCES];
    struct judging j = {.a = a, .v = v, .in = in};
    int64_t next = TIME_NONE, now = p->s.now;
    int rc = person_tags(p);

    take_next(&next, p->tags_next);
    if (rc == 0)
        rc = judge_audiences(&j, p, &next);
    if (rc != 0)
        return rc;
    if (next != TIME_NONE && next <= now)
        next = now + 1;
    v->now = (struct row){.number = v->number, .version = p->profile.version, .world = a->world->id, .due = next};
    rc = make_memberships(a, v, in, now);
    return rc == 0 ? make_tags(a, v, p) : rc;
}

/* --- who is gone ----------------------------------------------------------------------------------------------- */

static int judge_gone(struct audiences *a, struct verdict *v, struct str id)
{
    struct kept_past *k = past_find(&a->pasts, &v->hash);

    if (k)
        past_forget(&a->pasts, k);
    v->gone = true;
    return verdict_leaves(a, v, id, verdict_erased(a, v, id));
}

/* The row is of a life that was erased, and another has begun since. */
static bool is_of_past_life(struct audiences *a, const struct verdict *v, struct str id)
{
    int64_t was = v->was.version, erased, version;
    struct str same;

    (void)state_erasing(a->o.state, v->part->number, &erased); /* the last of all */
    if (was < 0 || was >= erased)
        return false;
    erased = state_erased_version(a->o.state, v->part->number, id);
    return was < erased &&
           state_watch_find(a->o.state, v->part->number, &v->hash, &a->batch.scratch, &same, &version, NULL) == 0 &&
           version >= erased;
}

/* Nobody is there. Who went a moment ago was noted with an id, without which the leaving cannot be told: by the next
 * try the note has been taken. */
static int judge_missing(struct audiences *a, struct verdict *v)
{
    struct str id = crowd_gone_id(v->part, &v->hash);

    if (v->number == PERSON_NONE)
        return 1;
    struct person *who = &v->part->people.v[v->number];
    if (!str_has(id) && v->was.in_count > 0 && !who->missed) {
        who->missed = true;
        return -EAGAIN;
    }
    return judge_gone(a, v, id);
}

/* --- the whole ------------------------------------------------------------------------------------------------- */

/* As far as they are known, and if that is too little, whole. */
static int see_and_judge(struct audiences *a, struct verdict *v, const struct person_of *of, struct kept_past *k,
                         struct person_seen *p, struct err *e)
{
    int rc = person_see(p, of, &a->batch.scratch, e);

    if (rc != 0)
        return rc;
    if (p->viewed & VIEW_PATH)
        stats_add(a->paths[k && of->fence->before != INT64_MIN], 1);
    if (k && of->fence->before == INT64_MIN)
        past_reset(k);
    p->s.past = k ? k->past : NULL;
    rc = p->profile.amid ? -EAGAIN : judge_person(a, v, p); /* nobody enters or leaves for half a record */
    if (rc == -ENODATA && k && of->fence->before != INT64_MIN) {
        person_seen_done(p);
        past_reset(k);
        return see_and_judge(a, v, of, k, p, e);
    }
    if (rc != 0)
        person_seen_done(p);
    return rc;
}

/* Who lives anew leaves first what they were in before, and has no row. */
static int add_life(struct audiences *a, struct verdict *v, struct kept_past *k, struct person_seen *p, struct str id,
                    bool told, const struct row *over)
{
    struct verdict before = *v;
    int rc = 0;

    if (over) {
        before.was = *over;
        rc = verdict_leaves(a, &before, id, true);
    }
    return rc == 0 ? verdict_changes(a, v, k, p, id, told || over) : rc;
}

static int judge(struct audiences *a, struct verdict *v, struct str id, bool told, struct err *e)
{
    const bool anew = is_of_past_life(a, v, id);
    const struct row was = v->was;
    struct kept_past *k = past_find(&a->pasts, &v->hash);

    if (anew && k) {
        past_forget(&a->pasts, k);
        k = NULL;
    }
    const struct person_of of = {.state = a->o.state,
                                 .rules = a->o.rules,
                                 .world = a->world,
                                 .partition = v->part->number,
                                 .id = id,
                                 .needs = a->world->needs,
                                 .now = wall(a),
                                 .as_of = TIME_NONE,
                                 .fence = k ? &k->fence : NULL};
    struct person_seen p;
    if (anew)
        v->was = (struct row){.number = v->number, .version = -1, .due = TIME_NONE};
    int rc = see_and_judge(a, v, &of, k, &p, e);

    if (rc == 0) {
        rc = add_life(a, v, k, &p, id, told, anew ? &was : NULL);
        past_keep(a, &v->hash, k, &p);
        person_seen_done(&p);
    }
    v->was = was; /* what is in the bitmaps */
    if (rc == STATE_NOT_FOUND || rc == STATE_LINKED)
        return v->number == PERSON_NONE ? 1 : judge_gone(a, v, id);
    return rc;
}

int batch_judge(struct audiences *a, struct crowd *p, const struct key_hash *hash, struct str id, struct err *e)
{
    struct batch *b = &a->batch;
    struct verdict *v = &b->v[b->n];
    bool told = str_has(id);
    int64_t version;
    int rc = 0;

    assert(b->n < LIMIT_AUDIENCE_BATCH);
    if (has(b, p, hash))
        return 0;
    *v = (struct verdict){.part = p, .hash = *hash, .number = people_find(&p->people, hash)};
    v->first_change = b->change_count;
    arena_reset(&b->scratch);
    rc = read_was(a, v, e);
    if (rc == 0 && !told)
        rc = state_watch_find(a->o.state, p->number, hash, &b->arena, &id, &version, e);
    if (rc == 0)
        rc = judge(a, v, id, told, e);
    else if (rc == STATE_NOT_FOUND)
        rc = judge_missing(a, v);
    if (rc != 0) {
        b->change_count = v->first_change;
        return rc < 0 ? rc : 0;
    }
    if (v->number != PERSON_NONE && !v->gone)
        p->people.v[v->number].missed = false;
    v->changes = b->change_count - v->first_change;
    b->n++;
    return 0;
}
