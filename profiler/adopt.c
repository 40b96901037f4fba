/* A look at a state and its log, as a follower takes it at its start: the record that was folded last must be the same,
 * and the place on the log. A log that does not answer says nothing, however long it is away. Commands, one thread. */
#include "profiler/adopt.h"

#include <assert.h>
#include <errno.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/same_log.h"

#define POLL_MS 100

struct look {
    struct state *state;
    struct event_log *log;
    struct log_reader *reader;
    uint32_t partition;
    int64_t until; /* monotonic */
};

static bool over(const struct look *l)
{
    return clock_monotonic() >= l->until;
}

static int silent(const struct look *l, const char *more, struct err *e)
{
    enum log_status status = event_log_ready(l->log);
    const char *why = *more ? more : status == LOG_OK ? "it does not answer" : log_status_text(status);

    err_set(e, "partition %u of the log cannot be read: %s", (unsigned)l->partition, why);
    return -EAGAIN;
}

/* 0 or LOG_READ_GAP, as the log says now. */
static int seek(const struct look *l, int64_t offset, struct err *e)
{
    for (;;) {
        int r = log_reader_seek(l->reader, l->partition, offset);

        if (r >= 0)
            return r;
        if (over(l))
            return silent(l, "", e);
        log_reader_wait(l->reader, &l->partition, 1, POLL_MS);
    }
}

/* A place that no log has: to find that out it asks where it begins and ends. */
static int ask_range(const struct look *l, struct adopt_place *out, struct err *e)
{
    int r = seek(l, INT64_MAX, e);

    if (r < 0)
        return r;
    assert(r == LOG_READ_GAP);
    out->begin = event_log_begin(l->log, LOG_EVENTS, l->partition);
    out->end = event_log_end(l->log, LOG_EVENTS, l->partition);
    return 0;
}

/* 1: the record at `offset` has that uid; 0: another stands there; negative errno: it does not come. */
static int compare(const struct look *l, int64_t offset, const struct uid *uid, struct err *e)
{
    struct log_record record;
    struct err why = {0};
    int n = 0, r = seek(l, offset, e);

    if (r < 0)
        return r;
    while (r == 0 && (n = log_reader_read(l->reader, l->partition, &record, 1, LIMIT_RECORD_BYTES, &why)) <= 0) {
        if ((n < 0 && n != -EAGAIN) || over(l))
            return silent(l, why.text, e);
        log_reader_wait(l->reader, &l->partition, 1, POLL_MS);
    }
    if (r == LOG_READ_GAP) /* it changed under our eyes */
        return silent(l, "it changes; try again", e);
    return same_event(&record, offset, uid);
}

int adopt_look(struct state *s, struct event_log *log, struct log_reader *reader, uint32_t partition, int64_t ms,
               struct adopt_place *out, struct err *e)
{
    const struct look l = {s, log, reader, partition, clock_monotonic() + ms};
    struct state_figures f;
    struct adopt_place found = {.fit = ADOPT_FITS};
    struct uid uid;
    int64_t last;

    state_figures(s, partition, &f);
    int r = ask_range(&l, &found, e);
    if (r < 0)
        return r;
    found.offset = f.offset - f.base;
    if (f.offset == 0)
        found.fit = ADOPT_EMPTY;
    else if (found.offset < found.begin)
        found.fit = ADOPT_BEHIND;
    else if (found.offset > found.end)
        found.fit = ADOPT_BEYOND;
    else if (state_last_event(s, partition, &last, &uid) && last - f.base >= found.begin) {
        r = compare(&l, last - f.base, &uid, e);
        if (r < 0)
            return r;
        found.fit = r == 1 ? ADOPT_FITS : ADOPT_REPLACED;
    }
    *out = found;
    return 0;
}
