/* The machine of one partition's claim. Pure; whoever has it locks it. */
#include "profiler/claim.h"

#include <assert.h>

static void forget(struct claim *c)
{
    c->offset = c->target = -1;
    c->term = 0;
    c->appending = false;
}

void claim_init(struct claim *c)
{
    *c = (struct claim){0};
    forget(c);
}

void claim_given(struct claim *c, int64_t now)
{
    forget(c);
    c->given = true;
    c->lost = false;
    c->stint++;
    c->append_at = now;
}

void claim_given_for_good(struct claim *c, int64_t show_from, int64_t target)
{
    claim_given(c, 0);
    c->append_at = CLAIM_FOR_EVER;
    c->offset = 0;
    c->show_from = show_from;
    c->target = target;
    c->term = CLAIM_FOR_EVER;
}

void claim_taken(struct claim *c)
{
    forget(c);
    c->given = c->lost = false;
}

bool claim_follows(const struct claim *c)
{
    return c->given && !c->lost;
}

/* --- the append ----------------------------------------------------------------------------------------------- */

bool claim_due(struct claim *c, int64_t now)
{
    if (!c->given || c->appending || c->offset >= 0 || now < c->append_at)
        return false;
    if (c->lost)
        c->stint++;
    c->lost = false;
    return true;
}

uint64_t claim_append(struct claim *c)
{
    assert(claim_follows(c) && !c->appending && c->offset < 0);
    c->appending = true;
    return ++c->serial;
}

void claim_acked(struct claim *c, uint64_t serial, int64_t offset, int64_t now)
{
    assert(offset >= 0);
    if (!c->appending || serial != c->serial)
        return;
    c->appending = false;
    c->offset = offset;
    c->target = -1;
    c->show_from = now + CLAIM_WAIT_MS; /* rule `wait` */
}

/* It may be on the log all the same. Then it is older than the next one, and does not count. */
void claim_failed(struct claim *c, uint64_t serial, int64_t now)
{
    if (!c->appending || serial != c->serial)
        return;
    c->appending = false;
    c->append_at = now + CLAIM_AGAIN_MS;
}

/* --- what the log says ---------------------------------------------------------------------------------------- */

enum claim_told claim_told(struct claim *c, uint64_t serial, int64_t end, int64_t asked, int64_t now)
{
    if (!claim_follows(c) || c->offset < 0 || serial != c->serial)
        return CLAIM_STALE;
    if (end == c->offset + 1) { /* rules `claim` and `asked` */
        if (c->term < asked + CLAIM_TERM_MS)
            c->term = asked + CLAIM_TERM_MS;
        return CLAIM_OURS;
    }
    bool newer = end > c->offset;
    forget(c);
    c->lost = newer;
    c->append_at = now + (newer ? CLAIM_LOST_MS : CLAIM_AGAIN_MS);
    return newer ? CLAIM_LOST : CLAIM_GONE;
}

bool claim_wants_target(const struct claim *c, int64_t now)
{
    return claim_follows(c) && c->offset >= 0 && c->target < 0 && now >= c->show_from;
}

void claim_set_target(struct claim *c, uint64_t serial, int64_t end)
{
    if (claim_follows(c) && c->offset >= 0 && c->target < 0 && serial == c->serial)
        c->target = end;
}

/* --- what may be shown ---------------------------------------------------------------------------------------- */

const char *claim_why(const struct claim *c, int64_t shown, int64_t now)
{
    if (!claim_follows(c))
        return "is followed elsewhere";
    if (c->offset < 0)
        return "waits for its claim to be on the log";
    if (now < c->show_from)
        return "waits until an owner before it is silent";
    if (c->target < 0)
        return "waits for the log to tell its end";
    if (shown < c->target)
        return "is still folding what was there before the start";
    if (now >= c->term) /* rule `clock` */
        return "was not confirmed by the log for a second";
    return "";
}

bool claim_serves(const struct claim *c, int64_t shown, int64_t now)
{
    return !*claim_why(c, shown, now);
}

int64_t claim_next(const struct claim *c, int64_t now)
{
    if (c->given && !c->appending && c->offset < 0)
        return c->append_at;
    return claim_follows(c) && c->offset >= 0 && c->target < 0 && now < c->show_from ? c->show_from : INT64_MAX;
}
