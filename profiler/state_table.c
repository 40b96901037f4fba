/* Linear hashing over intrusive nodes. The keys are keyed hashes: nobody outside can fill one bucket. */
#include "profiler/state_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { FIRST_LEVEL = 64 };

int table_init(struct table *t)
{
    *t = (struct table){.cap = 2 * FIRST_LEVEL, .level = FIRST_LEVEL};
    t->buckets = calloc(t->cap, sizeof(*t->buckets));
    return t->buckets ? 0 : -ENOMEM;
}

void table_deinit(struct table *t)
{
    free(t->buckets);
    *t = (struct table){0};
}

static size_t bucket_of(const struct table *t, const struct key_hash *key)
{
    uint64_t h = key_hash_number(key);
    size_t i = (size_t)h & (t->level - 1);

    return i < t->split ? (size_t)h & (2 * t->level - 1) : i;
}

struct table_node *table_find(const struct table *t, const struct key_hash *key)
{
    struct table_node *n = t->buckets[bucket_of(t, key)];

    while (n && !key_hash_eq(&n->key, key))
        n = n->next;
    return n;
}

void table_fetch_bucket(const struct table *t, const struct key_hash *key)
{
    __builtin_prefetch(&t->buckets[bucket_of(t, key)]);
}

void table_fetch_head(const struct table *t, const struct key_hash *key)
{
    const struct table_node *n = t->buckets[bucket_of(t, key)];

    if (n)
        __builtin_prefetch(n);
}

/* Moves what belongs there from the next bucket in turn to its new twin. */
static void split_one(struct table *t)
{
    struct table_node *n = t->buckets[t->split], *next, **stay = &t->buckets[t->split];
    struct table_node **go = &t->buckets[t->split + t->level];

    for (; n; n = next) {
        next = n->next;
        if (key_hash_number(&n->key) & t->level) {
            *go = n;
            go = &n->next;
        } else {
            *stay = n;
            stay = &n->next;
        }
    }
    *stay = *go = NULL;
    if (++t->split == t->level) {
        t->level *= 2;
        t->split = 0;
    }
}

int table_reserve(struct table *t, size_t more)
{
    while (t->level + t->split + more > t->cap) {
        struct table_node **bigger = realloc(t->buckets, 2 * t->cap * sizeof(struct table_node *));

        if (!bigger)
            return -ENOMEM;
        memset(bigger + t->cap, 0, t->cap * sizeof(struct table_node *));
        t->buckets = bigger;
        t->cap *= 2;
    }
    return 0;
}

int table_add(struct table *t, struct table_node *n)
{
    size_t i;

    if (table_reserve(t, 1) < 0)
        return -ENOMEM;
    if (t->count >= t->level + t->split)
        split_one(t);
    i = bucket_of(t, &n->key);
    n->next = t->buckets[i];
    t->buckets[i] = n;
    t->count++;
    return 0;
}

void table_remove(struct table *t, struct table_node *n)
{
    struct table_node **at = &t->buckets[bucket_of(t, &n->key)];

    while (*at != n) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = n->next;
    t->count--;
}

void table_each(const struct table *t, void (*each)(void *arg, const struct table_node *n), void *arg)
{
    for (size_t i = 0; i < t->level + t->split; i++)
        for (const struct table_node *n = t->buckets[i]; n; n = n->next)
            each(arg, n);
}

void table_drain(struct table *t, void (*each)(struct table_node *n))
{
    for (size_t i = 0; t->buckets && i < t->level + t->split; i++) {
        struct table_node *n = t->buckets[i], *next;

        t->buckets[i] = NULL;
        for (; n; n = next) {
            next = n->next;
            each(n);
        }
    }
    t->count = 0;
}
