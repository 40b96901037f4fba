/* What happened up to a time; see state_as_of.h. Any thread. */
#include "profiler/state_as_of.h"

#include <errno.h>
#include <stdlib.h>

size_t path_up_to(const struct path_entry *path, size_t n, int64_t time)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (path[middle].key.time <= time)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int orders_as_of(const struct order *orders, size_t n, const struct fold_rules *rules, int64_t as_of, struct arena *a,
                 const struct order **out, size_t *count)
{
    struct order *v = arena_alloc(a, (n + 1) * sizeof *v);

    *count = 0;
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct order *o = &orders[i];
        size_t stated = 0;

        while (stated < o->statement_count && o->statements[stated]->time <= as_of)
            stated++;
        if (stated == 0)
            continue;
        int rc = order_build(o->statements, stated, rules, a, &v[*count]);
        if (rc != 0)
            return rc;
        ++*count;
    }
    qsort(v, *count, sizeof *v, order_cmp); /* one that was placed later stood elsewhere then */
    *out = v;
    return 0;
}
