/* How a value of a rule goes on while time passes and nothing else happens, and when a comparison of two such values
 * flips. `days_since(t)` is a line, a count in a window goes down step by step, `today()` goes up at midnights, and
 * sums, differences, products and quotients of those are what they are made of. Times and durations are numbers of ms
 * here. Built in the arena of an evaluation; pure. */
#ifndef WAYMARK_RULE_MOTION_H
#define WAYMARK_RULE_MOTION_H

#include "common/arena.h"
#include "common/clock.h"
#include "profiler/rule_number.h"

enum motion_kind {
    MOTION_LINE,
    MOTION_STEPS,
    MOTION_CUT,      /* the whole part of one that goes one way */
    MOTION_DAY,      /* of a moment: its local day, as that day's midnight in UTC */
    MOTION_MIDNIGHT, /* of such a day: its first moment */
    MOTION_ADD,
    MOTION_SUB,
    MOTION_MUL,
    MOTION_DIV
};

enum { MOTION_DOWN = -1, MOTION_STILL = 0, MOTION_UP = 1, MOTION_ANY_WAY = 2 };

#define MOTION_STEPS_MAX 64 /* that are looked ahead */
#define MOTION_NEVER INT64_MAX

struct motion {
    enum motion_kind kind;
    int way;                    /* in which it goes for ever */
    int keeps;                  /* the sign that it has for ever, zeros beside; 0: not known */
    struct rule_number n, rate; /* a line: now, and per ms. Steps: now */
    const struct motion *a, *b;
    const struct zone *zone;
    int64_t now;
    /* Steps: moments, ascending and after `now`, and the value from each on. `open`: there are more behind the last. */
    size_t count;
    const int64_t *at;
    const struct rule_number *then;
    bool open;
};

/* A line that stands still, or moves. */
void motion_line(struct motion *m, struct rule_number n, struct rule_number rate);
/* Two that are joined by a kind from MOTION_ADD on, in the arena. NULL: memory is out. */
const struct motion *motion_join(enum motion_kind kind, const struct motion *a, const struct motion *b,
                                 struct arena *arena);
/* MOTION_CUT, MOTION_DAY or MOTION_MIDNIGHT of one. */
const struct motion *motion_local(enum motion_kind kind, const struct motion *a, const struct zone *zone,
                                  struct arena *arena);

/* The value so many ms from now. False: there is none. */
bool motion_at(const struct motion *m, int64_t from_now, struct rule_number *out);

/* Of `l` compared with `r`: bit 0 the comparison holds for less, bit 1 for equal, bit 2 for greater. The least number
 * of ms from now, at least 1, after which it is another than now; earlier where that cannot be told; MOTION_NEVER. */
enum { MOTION_LESS = 1, MOTION_EQUAL = 2, MOTION_GREATER = 4 };
int64_t motion_flip(const struct motion *l, const struct motion *r, unsigned holds);

#endif
