/* Ranges of offsets in bounded memory: when there are too many, those that lie close become one. Pure. */
#include <assert.h>
#include <string.h>

#include "common/event_log_local.h"

enum { APART = 64, COARSER = 4 };

static bool close_by(const struct log_ranges *r, int64_t last, int64_t first)
{
    return last >= first || first - last <= r->apart;
}

/* So that there is room for half of what there may be. */
static void make_coarser(struct log_ranges *r)
{
    while (r->n > LOG_RANGES / 2) {
        size_t n = 1;

        r->apart *= COARSER;
        for (size_t i = 1; i < r->n; i++) {
            if (close_by(r, r->at[n - 1].last, r->at[i].first))
                r->at[n - 1].last = r->at[i].last;
            else
                r->at[n++] = r->at[i];
        }
        r->n = n;
    }
}

void log_ranges_add(struct log_ranges *r, int64_t first, int64_t last)
{
    size_t i = 0, j;

    assert(first >= 0 && first <= last);
    r->apart = r->apart ? r->apart : APART;
    if (r->n == LOG_RANGES)
        make_coarser(r);
    while (i < r->n && !close_by(r, r->at[i].last, first))
        i++;
    for (j = i; j < r->n && close_by(r, last, r->at[j].first); j++) {
        first = r->at[j].first < first ? r->at[j].first : first;
        last = r->at[j].last > last ? r->at[j].last : last;
    }
    memmove(&r->at[i + 1], &r->at[j], (r->n - j) * sizeof(r->at[0]));
    r->at[i] = (struct log_range){first, last};
    r->n = r->n + 1 + i - j;
}
