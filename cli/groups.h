/* Events under construction from several rows each, in the order in which they began. One thread. */
#ifndef WAYMARK_GROUPS_H
#define WAYMARK_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/mapping.h"
#include "common/str.h"

struct group {
    char *key;
    size_t key_n;
    uint64_t hash;
    struct mapping_event event;
    uint64_t first_row, last_row;
    struct group *next_in_order, *next_in_bucket;
};

struct groups;

struct groups *groups_new(void);
void groups_free(struct groups *g);
/* The open group of that key; a new one when there is none (*fresh); NULL when it was closed before or memory is out
 * (*closed tells which). */
struct group *groups_get(struct groups *g, struct str key, bool *fresh, bool *closed);
/* The group that began first, if none of its rows came after row `before`; NULL otherwise. It is no longer in the set
 * and its key is remembered as closed. The caller frees it with group_free. */
struct group *groups_take(struct groups *g, uint64_t before);
void group_free(struct group *g);

#endif
