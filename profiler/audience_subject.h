/* A person as rules see them: what the state knows of them now or knew at a time, as a rule_subject whose tags are
 * evaluated when they are first asked for. Any thread that may wait. */
#ifndef WAYMARK_AUDIENCE_SUBJECT_H
#define WAYMARK_AUDIENCE_SUBJECT_H

#include "profiler/audience_rules.h"
#include "profiler/state.h"

struct person_of {
    struct state *state;
    const struct fold_rules *rules;
    struct world *world;
    uint32_t partition;
    struct str id;
    unsigned needs; /* enum rule_needs: PATH and ORDERS count */
    int64_t now;
    int64_t as_of;               /* TIME_NONE: as of now */
    struct state_fence *fence;   /* of what is known of the path; NULL: all of it is wanted */
    struct state_reader *reader; /* by which the person of `hash` is read, without `id`, `fence` NULL; NULL: by `id` */
    struct key_hash hash;
};

struct person_seen {
    struct person_of of;
    struct arena *arena;
    struct rule_subject s;
    struct state_profile profile;
    struct state_view view;
    unsigned viewed; /* of VIEW_PATH and VIEW_ORDERS, what `view` has */
    bool has_view, has_profile, own_fold;
    struct facts facts; /* own_fold: as of a time */
    struct traits traits;
    struct rule_value *tags; /* by the set's order; NULL: not evaluated yet */
    int64_t tags_next;
    int failed; /* of what was asked for on the way: 0 or negative errno */
};

/* 0, STATE_NOT_FOUND (also of somebody who had no event at that time), STATE_LINKED or negative errno, -EAGAIN while
 * the profile is held or changes all the time; unless 0 nothing is to be closed. What it makes lies in the arena. */
int person_see(struct person_seen *p, const struct person_of *of, struct arena *a, struct err *e);
/* Before the arena is reset. */
void person_seen_done(struct person_seen *p);
/* Evaluates the tags, once. 0 or negative errno. */
int person_tags(struct person_seen *p);
/* One of them, evaluated with the others; false: it has no value, or p->failed. */
bool person_tag(struct person_seen *p, struct str name, struct rule_value *out);

#endif
