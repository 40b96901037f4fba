/* Local days. Pure; any thread. */
#include "profiler/rule_day.h"

#include "common/calendar.h"

static int64_t offset_at(const struct zone *z, int64_t ms)
{
    return z ? zone_offset(z, ms) : 0;
}

int64_t rule_day(const struct zone *z, int64_t ms)
{
    return floor_div(ms + offset_at(z, ms), TIME_DAY);
}

/* The first moment in (from, to] whose offset is another than that at `from`; at `to` it is. */
static int64_t find_step(const struct zone *z, int64_t from, int64_t to)
{
    const int64_t offset = offset_at(z, from);

    while (to - from > 1) {
        int64_t middle = from + (to - from) / 2;

        if (offset_at(z, middle) == offset)
            from = middle;
        else
            to = middle;
    }
    return to;
}

int64_t rule_day_end(const struct zone *z, int64_t ms)
{
    const int64_t day = rule_day(z, ms);

    for (;;) {
        const int64_t end = (day + 1) * TIME_DAY - offset_at(z, ms);
        int64_t step;

        if (offset_at(z, end) == offset_at(z, ms))
            return end;
        /* The clocks change before that midnight, or at it. */
        step = find_step(z, ms, end);
        if (rule_day(z, step) != day)
            return step;
        ms = step;
    }
}

int64_t rule_day_start(const struct zone *z, int64_t day)
{
    int64_t ms = day * TIME_DAY - 16 * TIME_HOUR; /* no zone is further east */

    while (rule_day(z, ms) < day)
        ms = rule_day_end(z, ms);
    return ms;
}
