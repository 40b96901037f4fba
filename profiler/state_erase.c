/* What others ask of erasure in a partition. */
#include <stdlib.h>

#include "profiler/state_private.h"

bool state_erasing(struct state *s, uint32_t partition, int64_t *through)
{
    (void)s;
    (void)partition;
    *through = 0;
    return false;
}

struct str *state_erased_profiles(struct state *s, uint32_t partition, size_t *n)
{
    (void)s;
    (void)partition;
    *n = 0;
    return NULL;
}

int state_compact_erased(struct state *s, uint32_t partition, struct err *e)
{
    (void)s;
    (void)partition;
    (void)e;
    return 0;
}

void state_cleaned(struct state *s, uint32_t partition, int64_t through)
{
    (void)s;
    (void)partition;
    (void)through;
}

int state_is_erased(struct state *s, struct str profile, const struct event_key *key, bool *out, struct err *e)
{
    (void)s;
    (void)profile;
    (void)key;
    (void)e;
    *out = false;
    return 0;
}

int state_erasure(struct state *s, uint32_t partition, int64_t offset, struct state_erasure *out)
{
    (void)s;
    (void)partition;
    (void)offset;
    (void)out;
    return STATE_NOT_FOUND;
}

int device_erase(struct partition *p, const struct internal *r, struct err *e)
{
    (void)p;
    (void)r;
    (void)e;
    return 0;
}
