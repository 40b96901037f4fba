/* Marks: what the shop notes about a person beside what the person did. A tag set by hand or by another system, that an
 * export took them or held them out. A mark is an event of type EVENT_MARK on the person's log, from the profiler
 * itself or a server key, so it goes where the person's events go, is erased with them and is there again after a
 * refold; but it stands in no path, no session and no fact. Marks are folded with the traits: by name the last writer
 * in the order of events wins, null removes. Pure. */
#ifndef WAYMARK_MARKS_H
#define WAYMARK_MARKS_H

#include "common/arena.h"
#include "common/buf.h"
#include "profiler/traits.h"
#include "proto/event.h"

enum mark_kind { MARK_TAG, MARK_CAMPAIGN };

/* A tag set by hand: `value` is JSON, `until` the moment at which it ends (TIME_NONE: none).
 * A campaign: `value` is JSON {"arm":"exported"|"held_out","export":"ex_…","channel":"…"}, time says when. */
struct mark {
    enum mark_kind kind;
    struct str name;
    struct str value; /* absent: the mark is taken away */
    int64_t time, until;
    struct str source; /* of who set it: a token's name */
};

#define MARK_NAME_BYTES 64
#define MARKS_PER_PERSON 1000

/* The event that says so, for the log; `id` is user:… or anon:…. Bytes lie in the arena. 0, -EINVAL (id or name are
 * none), -ENOMEM. */
int mark_event(const struct mark *m, struct str id, int64_t received, struct arena *a, struct event *out);
/* 0 and *out; 1: there is none. */
int marks_find(const struct traits *t, enum mark_kind kind, struct str name, struct arena *a, struct mark *out);
/* All of a kind, sorted by name; false when memory is out. */
bool marks_all(const struct traits *t, enum mark_kind kind, struct arena *a, struct mark **out, size_t *n);

#endif
