/* Writing and reading what stands in Redis. Pure. */
#include "profiler/cache_value.h"

#include <string.h>

#include "common/num.h"

void cache_key_profile(struct buf *out, const char *prefix, struct str id)
{
    buf_add_text(out, prefix);
    buf_add_text(out, "profile:");
    buf_add_str(out, id);
}

void cache_key_lease(struct buf *out, const char *prefix, uint32_t partition, const char *run_id)
{
    buf_addf(out, "%slease:%u", prefix, partition);
    if (run_id)
        buf_addf(out, ":%s", run_id);
}

void cache_value_write(struct buf *out, const struct generation *g, int64_t version, struct str answer)
{
    buf_add(out, g->digits, sizeof g->digits);
    buf_addf(out, " %lld\n", (long long)version);
    buf_add_str(out, answer);
}

bool cache_value_read(struct str copy, struct str lease, int64_t *version, struct str *answer)
{
    uint64_t number;

    if (lease.n != GENERATION_DIGITS || copy.n <= GENERATION_DIGITS + 1 ||
        memcmp(copy.p, lease.p, GENERATION_DIGITS) != 0 || copy.p[GENERATION_DIGITS] != ' ')
        return false;
    const char *from = copy.p + GENERATION_DIGITS + 1, *end = str_end(copy);
    const char *stop = memchr(from, '\n', (size_t)(end - from));
    if (!stop || num_u64((struct str){from, (size_t)(stop - from)}, &number) != 0 || number > INT64_MAX)
        return false;
    *version = (int64_t)number;
    *answer = (struct str){stop + 1, (size_t)(end - stop - 1)};
    return true;
}
