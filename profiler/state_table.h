/* A hash table of objects that carry their own link and key. It grows by one bucket for each object (linear hashing),
 * so that no insertion takes long: look-ups wait for the lock that it is changed under. One thread at a time. */
#ifndef WAYMARK_STATE_TABLE_H
#define WAYMARK_STATE_TABLE_H

#include <stddef.h>

#include "proto/keys.h"

struct table_node {
    struct table_node *next; /* in its bucket */
    struct key_hash key;
};

struct table {
    struct table_node **buckets;
    size_t count, cap; /* objects; buckets that there is memory for */
    size_t level;      /* a power of two: buckets before the present round */
    size_t split;      /* next bucket to be split in this round */
};

/* 0 or -ENOMEM. */
int table_init(struct table *t);
void table_deinit(struct table *t);
/* NULL when there is none of that key. */
struct table_node *table_find(const struct table *t, const struct key_hash *key);
/* Fetch ahead what table_find will touch: first the bucket, some time later the object at its head. */
void table_fetch_bucket(const struct table *t, const struct key_hash *key);
void table_fetch_head(const struct table *t, const struct key_hash *key);
/* Memory for `more` objects: 0 or -ENOMEM. Then table_add cannot fail so many times. */
int table_reserve(struct table *t, size_t more);
/* No other object has its key. 0 or -ENOMEM, and then nothing was added. */
int table_add(struct table *t, struct table_node *n);
void table_remove(struct table *t, struct table_node *n);
void table_each(const struct table *t, void (*each)(void *arg, const struct table_node *n), void *arg);
/* Takes all objects out, and gives each away. */
void table_drain(struct table *t, void (*each)(struct table_node *n));
static inline size_t table_bytes(const struct table *t)
{
    return t->cap * sizeof *t->buckets;
}

#endif
