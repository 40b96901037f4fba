/* Writing and reading what stands in Redis. Pure. */
#include "profiler/cache_value.h"

#include <inttypes.h>
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

void cache_value_write(struct buf *out, const struct generation *g, const struct cache_head *head, struct str answer)
{
    buf_add(out, g->digits, sizeof g->digits);
    buf_addf(out, " %" PRId64, head->version);
    if (head->tags)
        buf_addf(out, " %" PRIu64 " %" PRId64, head->tags, head->until);
    buf_add_char(out, '\n');
    buf_add_str(out, answer);
}

/* The number up to the next blank; *line moves behind it. */
static bool take_number(struct str *line, uint64_t most, uint64_t *out)
{
    const char *blank = line->n ? memchr(line->p, ' ', line->n) : NULL;
    struct str word = {line->p, blank ? (size_t)(blank - line->p) : line->n};

    if (num_u64(word, out) != NUM_OK || *out > most)
        return false;
    *line = blank ? (struct str){blank + 1, line->n - word.n - 1} : STR_NONE;
    return true;
}

static bool read_head(struct str line, struct cache_head *out)
{
    uint64_t version, until = 0;

    out->tags = 0;
    if (!take_number(&line, INT64_MAX, &version))
        return false;
    if (str_has(line) && (!take_number(&line, UINT64_MAX, &out->tags) || !str_has(line) || out->tags == 0 ||
                          !take_number(&line, INT64_MAX, &until)))
        return false;
    out->version = (int64_t)version;
    out->until = (int64_t)until;
    return !str_has(line);
}

bool cache_value_read(struct str copy, struct str lease, struct cache_head *head, struct str *answer)
{
    if (lease.n != GENERATION_DIGITS || copy.n <= GENERATION_DIGITS + 1 ||
        memcmp(copy.p, lease.p, GENERATION_DIGITS) != 0 || copy.p[GENERATION_DIGITS] != ' ')
        return false;
    const char *from = copy.p + GENERATION_DIGITS + 1, *end = str_end(copy);
    const char *stop = memchr(from, '\n', (size_t)(end - from));
    if (!stop || !read_head((struct str){from, (size_t)(stop - from)}, head))
        return false;
    *answer = (struct str){stop + 1, (size_t)(end - stop - 1)};
    return true;
}
