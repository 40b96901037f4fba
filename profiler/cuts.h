/* Cut points of quintiles: for some facts the four values that part people with a counted order into five. Made once a
 * day of the values of all of them, and kept as definitions (state_watch.h), one a day, so that whoever evaluates, now
 * or as of a moment, takes the same ones.
 *
 * The percentile rank of a value among N values is (those less than it + half of those equal to it) / N; its quintile
 * is 1 + the whole part of 5 times that. So equal values share a quintile, and all values the same are in 3. Pure. */
#ifndef WAYMARK_CUTS_H
#define WAYMARK_CUTS_H

#include "common/buf.h"
#include "profiler/rule_eval.h"
#include "profiler/state_watch.h"

/* Facts that have quintiles, by their places in rule_tree.h's enum rule_fact. */
#define CUTS_FACTS 8
extern const unsigned cuts_facts[CUTS_FACTS];

/* Values of people, gathered one by one. One thread. */
struct cuts_values {
    uint64_t people;
    struct cuts_column {
        int64_t *v;
        size_t n, cap;
    } of[CUTS_FACTS];
};
void cuts_values_init(struct cuts_values *v);
void cuts_values_deinit(struct cuts_values *v);
/* Adds a person, unless without a counted order. 0, -ENOMEM, or -EFBIG past LIMIT_CUTS_PEOPLE. */
int cuts_values_add(struct cuts_values *v, const struct facts *f);
/* Adds a value of the fact at that place of cuts_facts; for those who were gathered elsewhere. */
int cuts_values_put(struct cuts_values *v, unsigned place, int64_t value);
/* The cut points; sorts the values. Of a fact that nobody has a value of there are none. */
void cuts_values_make(struct cuts_values *v, int64_t made_at, struct rule_cuts *out);

/* What another instance is told of the values of one partition: {"day":"2011-12-10","people":12,"values":{"orders":
 * [[1,7],[2,5]],…}}, each with how many have it; where there are more than CUTS_POINTS different ones, those in the
 * middle of as many equal shares. Sorts the values. False: it does not fit. */
#define CUTS_POINTS 250
bool cuts_values_write(struct cuts_values *v, struct str day, struct buf *b);
/* Adds what was written; `v` NULL: only looks. 0, 1: it is none, or `day` is present and it is of another, -ENOMEM,
 * -EFBIG. */
int cuts_values_read(struct str body, struct str day, struct cuts_values *v);

/* The fact's value in the unit of the cut points. False: it has none. */
bool cuts_value(const struct facts *f, unsigned fact, int64_t *out);

/* The body of a definition: {"made_at":"…","people":4339,"cuts":{"orders":[1,2,3,6],"spent":[…micros],…}}. */
bool cuts_write(const struct rule_cuts *c, uint64_t people, struct buf *b);
/* 0, 1: it is none, -ENOMEM. *people may be NULL. */
int cuts_read(struct str body, struct rule_cuts *out, uint64_t *people);

#define CUTS_NAME_BYTES 10
/* The name of the definition of a moment's cut points: its local day, "2011-12-10". */
void cuts_name(const struct zone *zone, int64_t at, char out[CUTS_NAME_BYTES + 1]);

/* Of the definitions of a partition (sorted, as state_definitions gives them) the latest cut points that were made at
 * `at` or before; made_at TIME_NONE when there are none. 0 or -ENOMEM. */
int cuts_at(const struct state_definition *d, size_t n, int64_t at, struct rule_cuts *out);

/* All of them that can be read, by made_at, in the arena, for who asks as of many moments. 0 or -ENOMEM. */
int cuts_history(const struct state_definition *d, size_t n, struct arena *a, struct rule_cuts **out, size_t *count);
/* Of these the latest made at `at` or before; NULL: there are none. */
const struct rule_cuts *cuts_pick(const struct rule_cuts *history, size_t count, int64_t at);

#endif
