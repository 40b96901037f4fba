/* Numbers of audiences and of values of tags, and the bitmaps of who is in them. The judging thread changes them under
 * the lock of the audiences. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/audience_inside.h"

#define NO_SET UINT32_MAX
#define INDEX_FIRST 256

void sets_init(struct sets *s)
{
    *s = (struct sets){.index_size = INDEX_FIRST};
    s->index = malloc(INDEX_FIRST * sizeof *s->index);
    if (!s->index)
        abort();
    memset(s->index, 0xff, INDEX_FIRST * sizeof *s->index);
}

void sets_deinit(struct sets *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        free(s->v[i].bytes);
    free(s->v);
    free(s->index);
}

/* FNV-1a */
static uint32_t hash_of(struct str s)
{
    uint64_t h = 0xcbf29ce484222325;

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3;
    return (uint32_t)(h ^ (h >> 32));
}

static struct str bytes_of(const struct set *s)
{
    return (struct str){s->bytes, s->n};
}

static uint32_t place_of(const struct sets *s, struct str bytes)
{
    uint32_t at = hash_of(bytes) & (s->index_size - 1);

    while (s->index[at] != NO_SET && !str_eq(bytes_of(&s->v[s->index[at]]), bytes))
        at = (at + 1) & (s->index_size - 1);
    return at;
}

static void rebuild_index(struct sets *s, uint32_t size)
{
    free(s->index);
    s->index_size = size;
    s->index = malloc(size * sizeof *s->index);
    if (!s->index)
        abort();
    memset(s->index, 0xff, size * sizeof *s->index);
    for (uint32_t i = 0; i < s->n; i++)
        if (s->v[i].bytes)
            s->index[place_of(s, bytes_of(&s->v[i]))] = i;
}

/* "a" FIRST, or "t" FIRST 0 SECOND. In `to`, which has room. */
static struct str join(char kind, struct str first, struct str second, char *to)
{
    size_t n = 1 + first.n;

    to[0] = kind;
    memcpy(to + 1, first.p, first.n);
    if (kind == 't') {
        to[n++] = '\0';
        memcpy(to + n, second.p, second.n);
        n += second.n;
    }
    return (struct str){to, n};
}

#define SET_BYTES 1024

uint32_t sets_find(const struct sets *s, char kind, struct str first, struct str second)
{
    char bytes[SET_BYTES];

    if (first.n + second.n + 2 > sizeof bytes)
        return NO_SET;
    return s->index[place_of(s, join(kind, first, second, bytes))];
}

void sets_put(struct sets *s, uint32_t set, struct str bytes)
{
    assert(bytes.n > 0 && set <= LIMIT_AUDIENCE_SETS * 2);
    while (s->cap <= set) {
        uint32_t cap = s->cap ? s->cap * 2 : 64;
        struct set *v = realloc(s->v, cap * sizeof *v);

        if (!v)
            abort();
        s->v = v;
        s->cap = cap;
    }
    while (s->n <= set)
        s->v[s->n++] = (struct set){0};
    assert(!s->v[set].bytes);
    s->v[set] = (struct set){.bytes = malloc(bytes.n), .n = bytes.n};
    if (!s->v[set].bytes)
        abort();
    memcpy(s->v[set].bytes, bytes.p, bytes.n);
    s->used++;
    s->tags_used += bytes.p[0] == 't';
    if ((uint64_t)s->used * 2 > s->index_size)
        rebuild_index(s, s->index_size * 2);
    else
        s->index[place_of(s, bytes)] = set;
}

static uint32_t free_number(const struct sets *s)
{
    for (uint32_t i = 0; s->used < s->n && i < s->n; i++)
        if (!s->v[i].bytes)
            return i;
    return s->n;
}

uint32_t sets_make(struct audiences *a, char kind, struct str first, struct str second)
{
    uint32_t set = sets_find(&a->sets, kind, first, second);
    char bytes[SET_BYTES];

    if (set != NO_SET)
        return set;
    if (first.n + second.n + 2 > sizeof bytes ||
        (kind == 't' && a->sets.tags_used >= LIMIT_AUDIENCE_SETS - LIMIT_AUDIENCES))
        return NO_SET;
    set = free_number(&a->sets);
    struct str joined = join(kind, first, second, bytes);
    pthread_rwlock_wrlock(&a->lock);
    sets_put(&a->sets, set, joined);
    pthread_rwlock_unlock(&a->lock);
    row_store_put_set(a->rows, set, joined);
    return set;
}

struct str set_audience(const struct sets *s, uint32_t set)
{
    if (set >= s->n || !s->v[set].bytes || s->v[set].bytes[0] != 'a')
        return STR_NONE;
    return (struct str){s->v[set].bytes + 1, s->v[set].n - 1};
}

bool set_tag(const struct sets *s, uint32_t set, struct str *tag, struct str *value)
{
    if (set >= s->n || !s->v[set].bytes || s->v[set].bytes[0] != 't')
        return false;
    const char *p = s->v[set].bytes + 1, *end = s->v[set].bytes + s->v[set].n;
    const char *zero = memchr(p, '\0', (size_t)(end - p));
    if (!zero)
        return false;
    *tag = (struct str){p, (size_t)(zero - p)};
    *value = (struct str){zero + 1, (size_t)(end - zero - 1)};
    return true;
}

static bool is_wanted(struct audiences *a, uint32_t set)
{
    struct str name = set_audience(&a->sets, set);

    if (str_has(name) && world_find(a->world, name) != SIZE_MAX)
        return true;
    for (uint32_t p = 0; p < a->o.partitions; p++)
        if (a->parts[p].here ? bits_count(crowd_set(&a->parts[p], set)) > 0 : crowd_keeps(a, &a->parts[p], set))
            return true;
    return false;
}

void sets_sweep(struct audiences *a)
{
    for (uint32_t i = 0; i < a->sets.n; i++) {
        if (!a->sets.v[i].bytes || is_wanted(a, i))
            continue;
        pthread_rwlock_wrlock(&a->lock);
        a->sets.used--;
        a->sets.tags_used -= a->sets.v[i].bytes[0] == 't';
        free(a->sets.v[i].bytes);
        a->sets.v[i] = (struct set){0};
        rebuild_index(&a->sets, a->sets.index_size);
        pthread_rwlock_unlock(&a->lock);
        row_store_put_set(a->rows, i, STR_NONE);
    }
}

/* --- who is in them ------------------------------------------------------------------------------------------- */

const struct bits *crowd_set(const struct crowd *p, uint32_t set)
{
    return set < p->set_cap ? p->sets[set] : NULL;
}

void crowd_set_add(struct crowd *p, uint32_t set, uint32_t number)
{
    if (set >= p->set_cap) {
        uint32_t cap = p->set_cap ? p->set_cap : 64;

        while (cap <= set)
            cap *= 2;
        p->sets = realloc(p->sets, cap * sizeof *p->sets);
        if (!p->sets)
            abort();
        for (uint32_t i = p->set_cap; i < cap; i++)
            p->sets[i] = NULL;
        p->set_cap = cap;
    }
    if (!p->sets[set])
        p->sets[set] = bits_new();
    bits_set(p->sets[set], number);
}

void crowd_set_remove(struct crowd *p, uint32_t set, uint32_t number)
{
    if (set >= p->set_cap || !p->sets[set])
        return;
    bits_clear(p->sets[set], number);
    if (bits_count(p->sets[set]) == 0) {
        bits_free(p->sets[set]);
        p->sets[set] = NULL;
    }
}

void crowd_put_row(struct crowd *p, uint32_t number, const struct row *r)
{
    for (size_t i = 0; i < r->in_count; i++)
        crowd_set_add(p, r->in[i].set, number);
    for (size_t i = 0; i < r->tag_count; i++)
        crowd_set_add(p, r->tags[i], number);
}

void crowd_drop_row(struct crowd *p, uint32_t number, const struct row *r)
{
    for (size_t i = 0; i < r->in_count; i++)
        crowd_set_remove(p, r->in[i].set, number);
    for (size_t i = 0; i < r->tag_count; i++)
        crowd_set_remove(p, r->tags[i], number);
}
