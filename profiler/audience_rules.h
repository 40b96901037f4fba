/* What people are judged by: the set of tags, the audiences that are defined, with their rules compiled, and the cut
 * points of quintiles. A world does not change; another one takes its place. References are counted, so that a question
 * may go on with the one it began with. Any thread. */
#ifndef WAYMARK_AUDIENCE_RULES_H
#define WAYMARK_AUDIENCE_RULES_H

#include <stdatomic.h>

#include "profiler/audiences.h"
#include "profiler/rule.h"
#include "profiler/rule_eval.h"
#include "profiler/state_watch.h"
#include "profiler/tags.h"

struct audience {
    struct str name, body, text, description; /* of the definition; text is the rule's, absent when there is none */
    int64_t version;                          /* when it was said */
    struct rule *rule;                        /* NULL: it does not compile, and its members stay */
    struct str broken;                        /* why */
    struct str canonical;
};

struct world {
    atomic_uint refs;
    uint64_t id;      /* another one whenever somebody may be judged otherwise; never 0 */
    uint64_t tags_id; /* the same of tags alone */
    struct arena arena;
    struct tags *tags;
    struct rule_cuts cuts;     /* those that count now */
    struct rule_cuts *history; /* all of them, by made_at; for questions as of a moment */
    size_t history_count;
    struct audience *v; /* by name */
    size_t n;
    uint32_t *order; /* indexes of those with a rule, after those that their rules name */
    size_t order_count;
    unsigned needs, tag_needs;      /* of all rules; of the tags alone */
    struct rule *reach[REACH_NONE]; /* whether there is an address of the kind */
};
extern const char *const reach_names[REACH_NONE];

/* Of definitions that are sorted by kind and name, once each. 0 or -ENOMEM. */
int world_new(const struct state_definition *d, size_t n, struct tags *tags, const struct vocabulary *traits,
              int64_t now, struct world **out);
struct world *world_ref(struct world *w);
void world_unref(struct world *w);
/* The index of an audience; SIZE_MAX: there is none of that name. */
size_t world_find(const struct world *w, struct str name);
/* Marks (changed[i] of now->v[i]) those whose members may be others than by `was`, NULL is allowed. */
void world_changed(const struct world *was, const struct world *now, bool *changed);

#endif
