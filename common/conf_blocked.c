/* The set of ids that count as absent: null, undefined, 0 and their like, which broken clients send for everybody.
 * Upper and lower case are one for ASCII letters, which is all that such words consist of. Looking up is pure. */
#include <assert.h>

#include "common/conf_inside.h"

struct conf_blocked {
    size_t longest;    /* of its ids; a longer id is looked up in no time */
    size_t slot_count; /* a power of two, at least twice the ids */
    bool zeros;        /* ids of zeros and dashes alone are in it too */
    struct str slots[];
};

static const char nil_uuid[] = "00000000-0000-0000-0000-000000000000";

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* FNV-1a over the lower case. */
static uint64_t hash(struct str id)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < id.n; i++)
        h = (h ^ (unsigned char)lower(id.p[i])) * UINT64_C(1099511628211);
    return h ^ h >> 32;
}

static bool same(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

/* The slot of the id, or the free one where it would stand. */
static size_t find(const struct conf_blocked *b, struct str id)
{
    size_t i = hash(id) & (b->slot_count - 1);

    while (b->slots[i].p && !same(b->slots[i], id))
        i = (i + 1) & (b->slot_count - 1);
    return i;
}

static bool only_zeros(struct str id)
{
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] != '0' && id.p[i] != '-')
            return false;
    return true;
}

struct conf_blocked *conf_blocked_new(struct conf_state *s, const struct str *ids, size_t n)
{
    size_t slots = 16;

    while (slots < 2 * n)
        slots *= 2;
    struct conf_blocked *b = conf_alloc(s, sizeof *b + slots * sizeof b->slots[0]);
    if (!b)
        return NULL;
    memset(b, 0, sizeof *b + slots * sizeof b->slots[0]);
    b->slot_count = slots;
    for (size_t i = 0; i < n; i++) {
        const char *copy = conf_copy(s, ids[i]);
        if (!copy)
            return NULL;
        b->slots[find(b, ids[i])] = (struct str){copy, ids[i].n};
        if (ids[i].n > b->longest)
            b->longest = ids[i].n;
        b->zeros = b->zeros || str_is(ids[i], nil_uuid);
    }
    return b;
}

bool conf_blocked(const struct conf_blocked *b, struct str id)
{
    if (id.n == 0)
        return true;
    if (!b)
        return false;
    if (b->zeros && (id.p[0] == '0' || id.p[0] == '-') && only_zeros(id))
        return true;
    return id.n <= b->longest && b->slots[find(b, id)].p != NULL;
}
