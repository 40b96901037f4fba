/* Tags of people for answers, and how many have which. Any thread that may wait. */
#include <errno.h>
#include <stdlib.h>

#include "common/json.h"
#include "profiler/audience_questions.h"

/* --- one person ------------------------------------------------------------------------------------------------ */

struct tag_text {
    size_t order;
    struct str name, value;
};

static int by_order(const void *a, const void *b)
{
    const struct tag_text *x = a, *y = b;

    return x->order != y->order ? (x->order > y->order) - (x->order < y->order) : str_cmp(x->name, y->name);
}

static void write_member(struct buf *out, size_t start, struct str name, struct str value)
{
    if (out->n > start + 1)
        buf_add_char(out, ',');
    json_write_str(out, name);
    buf_add_char(out, ':');
    buf_add_str(out, value);
}

/* With the lock. In the order of the file, those that it does not have at the end. */
static int write_row(const struct audiences *a, const struct row *r, struct arena *arena, struct buf *out)
{
    struct tag_text *v = arena_alloc(arena, (r->tag_count + 1) * sizeof *v);
    size_t n = 0, start = out->n;

    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < r->tag_count; i++)
        if (set_tag(&a->sets, r->tags[i], &v[n].name, &v[n].value)) {
            v[n].order = a->world->tags ? tags_find(a->world->tags, v[n].name) : SIZE_MAX;
            n++;
        }
    qsort(v, n, sizeof *v, by_order);
    buf_add_char(out, '{');
    for (size_t i = 0; i < n; i++)
        write_member(out, start, v[i].name, v[i].value);
    if (r->more_tags.n) {
        if (n)
            buf_add_char(out, ',');
        buf_add_str(out, r->more_tags);
    }
    return buf_add_char(out, '}') ? 0 : -ENOMEM;
}

int row_settled(struct audiences *a, const struct world *w, uint32_t partition, const struct key_hash *hash,
                int64_t version, struct arena *arena, struct row *out)
{
    const struct crowd *p = &a->parts[partition];
    uint32_t number = p->here ? people_find(&p->people, hash) : PERSON_NONE;
    struct str bytes;

    if (number == PERSON_NONE || p->people.v[number].version != version || p->people.v[number].world != w->id)
        return 1;
    int rc = row_store_get(a->rows, partition, hash, arena, &bytes, NULL);
    if (rc == 0)
        rc = row_unpack(bytes, arena, out);
    if (rc == 0 && (out->version != version || out->world != w->id || (out->due != TIME_NONE && out->due <= wall(a))))
        rc = 1;
    return rc;
}

/* From the row. 1: it does not say. */
static int write_known(struct audiences *a, uint32_t partition, const struct key_hash *hash, int64_t version,
                       struct arena *arena, struct buf *out, struct tags_good *good)
{
    struct row r;
    int rc = 1;

    pthread_rwlock_rdlock(&a->lock);
    if (a->world)
        rc = row_settled(a, a->world, partition, hash, version, arena, &r);
    if (rc == 0) {
        *good = (struct tags_good){a->world->tags_id, r.due};
        rc = write_row(a, &r, arena, out);
    }
    pthread_rwlock_unlock(&a->lock);
    return rc;
}

static int write_fresh(struct audiences *a, struct world *w, const struct who *who, struct arena *arena,
                       struct buf *out, struct tags_good *good)
{
    struct asking k;
    struct err e = {0};
    int rc = ask_person(a, w, who, arena, &k, &e);

    if (rc != 0)
        return rc;
    rc = person_tags(&k.p);
    if (rc == 0)
        rc = tags_write_json(w->tags, k.p.tags, &k.p.s, out);
    *good = (struct tags_good){w->tags_id, k.p.tags_next};
    person_seen_done(&k.p);
    return rc;
}

static int write_tags(struct audiences *a, struct world *w, const struct who *who, struct arena *arena, struct buf *out,
                      struct tags_good *good)
{
    struct key_hash hash = state_watch_hash(a->o.state, who->partition, who->id);
    struct str found;
    struct err e = {0};
    size_t before = out->n;
    int64_t version;
    int rc = 1;

    if (who->as_of == TIME_NONE)
        rc = state_watch_find(a->o.state, who->partition, &hash, arena, &found, &version, &e);
    if (who->as_of == TIME_NONE && rc == 0)
        rc = write_known(a, who->partition, &hash, version, arena, out, good);
    if (rc != 1)
        return rc;
    out->n = before;
    return write_fresh(a, w, who, arena, out, good);
}

int audiences_tags(struct audiences *a, uint32_t partition, struct str id, int64_t as_of, struct buf *out,
                   struct tags_good *good)
{
    struct world *w = world_of(a);
    size_t before = out->n;
    struct arena arena;
    int rc = w ? 1 : -EAGAIN;

    *good = (struct tags_good){w ? w->tags_id : 0, TIME_NONE};
    arena_init(&arena, LIMIT_AUDIENCE_ARENA);
    if (w && w->tags)
        rc = write_tags(a, w, &(struct who){.partition = partition, .id = id, .needs = w->tag_needs, .as_of = as_of},
                        &arena, out, good);
    if (rc > 0) {
        out->n = before;
        rc = buf_add_text(out, "{}") ? 0 : -ENOMEM;
    }
    arena_deinit(&arena);
    world_unref(w);
    return rc;
}

uint64_t audiences_tags_by(struct audiences *a)
{
    return atomic_load(&a->tags_by);
}

/* --- everybody ------------------------------------------------------------------------------------------------- */

struct tag_count {
    size_t order;
    struct str name, value;
    uint64_t n;
};

static int by_tag(const void *a, const void *b)
{
    const struct tag_count *x = a, *y = b;
    int c = x->order != y->order ? (x->order > y->order) - (x->order < y->order) : str_cmp(x->name, y->name);

    return c ? c : str_cmp(x->value, y->value);
}

/* With the lock. */
static size_t count_sets(const struct audiences *a, struct tag_count *v)
{
    size_t n = 0;

    for (uint32_t i = 0; i < a->sets.n; i++) {
        struct tag_count *t = &v[n];

        if (!set_tag(&a->sets, i, &t->name, &t->value))
            continue;
        t->n = 0;
        for (uint32_t p = 0; p < a->o.partitions; p++)
            t->n += bits_count(crowd_set(&a->parts[p], i));
        t->order = a->world && a->world->tags ? tags_find(a->world->tags, t->name) : SIZE_MAX;
        n += t->n > 0;
    }
    return n;
}

static void write_counts(const struct tag_count *v, size_t n, struct buf *out)
{
    buf_add_char(out, '{');
    for (size_t i = 0; i < n; i++) {
        bool first = i == 0 || !str_eq(v[i].name, v[i - 1].name);

        if (first) {
            if (i)
                buf_add_text(out, "},");
            json_write_str(out, v[i].name);
            buf_add_text(out, ":{");
        } else {
            buf_add_char(out, ',');
        }
        if (v[i].value.n && v[i].value.p[0] == '"')
            buf_add_str(out, v[i].value);
        else
            buf_addf(out, "\"%.*s\"", STR_ARG(v[i].value));
        buf_addf(out, ":%llu", (unsigned long long)v[i].n);
    }
    buf_add_text(out, n ? "}}" : "}");
}

int audiences_tag_counts(struct audiences *a, struct buf *out)
{
    pthread_rwlock_rdlock(&a->lock);
    struct tag_count *v = malloc((a->sets.n + 1) * sizeof *v);
    if (v) {
        size_t n = count_sets(a, v);

        qsort(v, n, sizeof *v, by_tag);
        write_counts(v, n, out);
    }
    pthread_rwlock_unlock(&a->lock);
    free(v);
    return v && !out->failed ? 0 : -ENOMEM;
}
