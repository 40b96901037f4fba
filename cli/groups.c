/* Open groups in a hash table and a queue; closed ones as hashes, so that a row that comes too late is seen. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "cli/groups.h"

#define BUCKETS 4096

struct groups {
    struct group *buckets[BUCKETS];
    struct group *first, **last;
    uint64_t *closed; /* open addressing, 0 is free */
    size_t closed_cap;
    size_t keys; /* open and closed: a slot is there for each before it closes */
};

struct groups *groups_new(void)
{
    struct groups *g = calloc(1, sizeof *g);

    if (!g)
        return NULL;
    g->last = &g->first;
    g->closed_cap = 1024;
    g->closed = calloc(g->closed_cap, sizeof *g->closed);
    if (!g->closed) {
        free(g);
        return NULL;
    }
    return g;
}

void group_free(struct group *g)
{
    if (!g)
        return;
    mapping_event_deinit(&g->event);
    free(g->key);
    free(g);
}

void groups_free(struct groups *g)
{
    if (!g)
        return;
    while (g->first) {
        struct group *next = g->first->next_in_order;
        group_free(g->first);
        g->first = next;
    }
    free(g->closed);
    free(g);
}

static uint64_t *closed_slot(uint64_t *table, size_t cap, uint64_t hash)
{
    size_t i = hash & (cap - 1);

    while (table[i] && table[i] != hash)
        i = (i + 1) & (cap - 1);
    return &table[i];
}

static bool closed_grow(struct groups *g)
{
    size_t cap = g->closed_cap * 2;
    uint64_t *table = calloc(cap, sizeof *table);

    if (!table)
        return false;
    for (size_t i = 0; i < g->closed_cap; i++)
        if (g->closed[i])
            *closed_slot(table, cap, g->closed[i]) = g->closed[i];
    free(g->closed);
    g->closed = table;
    g->closed_cap = cap;
    return true;
}

struct group *groups_get(struct groups *g, struct str key, bool *fresh, bool *closed)
{
    uint64_t hash = XXH64(key.p, key.n, 0) | 1;
    struct group **bucket = &g->buckets[(hash >> 1) % BUCKETS];

    *fresh = *closed = false;
    for (struct group *x = *bucket; x; x = x->next_in_bucket)
        if (x->hash == hash && x->key_n == key.n && !memcmp(x->key, key.p, key.n))
            return x;
    if (*closed_slot(g->closed, g->closed_cap, hash)) {
        *closed = true;
        return NULL;
    }
    if (2 * (g->keys + 1) > g->closed_cap && !closed_grow(g))
        return NULL;
    struct group *x = calloc(1, sizeof *x);
    if (!x || !(x->key = malloc(key.n ? key.n : 1))) {
        free(x);
        return NULL;
    }
    memcpy(x->key, key.p, key.n);
    x->key_n = key.n;
    x->hash = hash;
    mapping_event_init(&x->event);
    x->next_in_bucket = *bucket;
    *bucket = x;
    *g->last = x;
    g->last = &x->next_in_order;
    g->keys++;
    *fresh = true;
    return x;
}

struct group *groups_take(struct groups *g, uint64_t before)
{
    struct group *x = g->first;

    if (!x || x->last_row > before)
        return NULL;
    g->first = x->next_in_order;
    if (!g->first)
        g->last = &g->first;
    struct group **p = &g->buckets[(x->hash >> 1) % BUCKETS];
    while (*p != x)
        p = &(*p)->next_in_bucket;
    *p = x->next_in_bucket;
    *closed_slot(g->closed, g->closed_cap, x->hash) = x->hash;
    return x;
}
