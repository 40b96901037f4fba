/* What the files of the evaluation share. Private to rule_*.c.
 *
 * A node is evaluated into a cell: its value, and how the value goes on with time. Where a truth or a step follows from
 * something that moves, the moment at which it becomes another one is noted in the evaluation at once (`next`), so
 * whatever is made of truths needs not care about time. */
#ifndef WAYMARK_RULE_EVAL_INSIDE_H
#define WAYMARK_RULE_EVAL_INSIDE_H

#include "profiler/rule_eval.h"
#include "profiler/rule_events.h"
#include "profiler/rule_motion.h"
#include "profiler/rule_number.h"
#include "profiler/rule_tree.h"

struct cell {
    struct rule_value v;
    const struct motion *moves; /* of numbers, times and durations: how; NULL: not at all */
};

struct eval {
    struct rule_subject *s;
    struct arena *arena;      /* of what is made */
    int64_t next;             /* least moment at which something that was asked becomes another; INT64_MAX */
    struct rule_event *event; /* that a condition is about */
};

/* --- rule_eval.c ------------------------------------------------------------------------------------------------ */

/* 0 or negative errno. */
int eval_node(struct eval *e, const struct rule_node *n, struct cell *out);
/* The value of a kid. */
int eval_kid(struct eval *e, const struct rule_node *n, size_t i, struct cell *out);
/* As a truth: absent is false. */
static inline bool cell_true(const struct cell *c)
{
    return c->v.type == RULE_BOOL && c->v.truth;
}
static inline bool cell_has(const struct cell *c)
{
    return c->v.type != RULE_ANY;
}
/* Notes a moment at which something changes; one that is not after now is the next one. */
void eval_wake(struct eval *e, int64_t at);
/* The same, so many ms from now; MOTION_NEVER is allowed. */
void eval_wake_in(struct eval *e, int64_t ms);
/* Evaluates with all that is made given back at the end, and says whether it is true. */
int eval_condition(struct eval *e, const struct rule_node *n, struct rule_event *event, bool *out);

/* --- rule_cell.c: cells and their comparisons ------------------------------------------------------------------- */

void cell_absent(struct cell *c);
void cell_bool(struct cell *c, bool v);
void cell_text(struct cell *c, struct str text);
/* 0 or -ENOMEM. */
int cell_number(struct eval *e, struct cell *c, struct rule_number v);
static inline int cell_int(struct eval *e, struct cell *c, __int128 v)
{
    return cell_number(e, c, rule_number_of_int(v));
}
/* One beyond the years 1 to 9999 is absent, and so is TIME_NONE. */
void cell_time(struct cell *c, int64_t ms);
void cell_day(struct cell *c, int64_t day);
void cell_duration(struct cell *c, int64_t ms);
/* A value as it is. */
void cell_still(struct cell *c, const struct rule_value *v);
/* The motion of a number, time or duration; `room` serves one that stands still. */
const struct motion *cell_motion(const struct cell *c, struct motion *room);
/* Makes of a day its first moment; of what a client wrote as text the time that it says; of what is no time nothing. 0
 * or -ENOMEM. */
int cell_to_moment(struct eval *e, struct cell *c);
/* The same without making a moment of a day. */
void cell_to_time(struct cell *c);

/* Whether `l` and `r` compare as one of == != < <= > >=, noting when that flips. */
int cell_compare(struct eval *e, enum rule_op op, struct cell *l, struct cell *r, bool *out);
/* Notes when a comparison of a number with a constant flips; `holds` as in motion_flip. */
void cell_watch(struct eval *e, const struct motion *m, struct rule_number with, unsigned holds);

/* --- by subject: each evaluates nodes of some operators --------------------------------------------------------- */

int eval_name(struct eval *e, const struct rule_node *n, struct cell *out);       /* rule_eval_name.c */
int eval_arithmetic(struct eval *e, const struct rule_node *n, struct cell *out); /* rule_eval_number.c */
int eval_text(struct eval *e, const struct rule_node *n, struct cell *out);       /* rule_eval_text.c */
int eval_time(struct eval *e, const struct rule_node *n, struct cell *out);       /* rule_eval_time.c */
int eval_window(struct eval *e, const struct rule_node *n, struct cell *out);     /* rule_window.c */
int eval_interest(struct eval *e, const struct rule_node *n, struct cell *out);   /* rule_interest.c */
/* What an interest meets in an event; absent: nothing. In the arena, or where the event was taken apart. */
int interest_text(struct eval *e, const struct rule_node *n, struct rule_event *event, struct str *out);

/* --- rule_property.c -------------------------------------------------------------------------------------------- */

/* The property `name` of an event, of type `type` where that is not RULE_ANY, in the arena. */
int event_property(struct eval *e, struct rule_event *event, struct str name, bool personal, struct rule_value *out);
/* What lies further in, along the kids of a node from `kid` on. */
int value_further(struct eval *e, const struct rule_node *n, size_t kid, struct rule_value *v);
/* Absent unless it is of the node's type; a text that says a time is one where a time is wanted. */
void value_as(enum rule_type type, struct rule_value *v);

/* --- rule_value.c ----------------------------------------------------------------------------------------------- */

/* As rule_value_read, with a parser that is there; `text` is its room. */
int value_parse(struct json_parser *parser, struct buf *text, struct str json, struct arena *a, struct rule_value *out);
/* The value of a tree of JSON. 0 or -ENOMEM. */
int value_of_json(const struct json *j, struct arena *a, struct rule_value *out);
/* Makes the value own its texts and numbers, in the arena. 0 or -ENOMEM. */
int value_dup(struct arena *a, struct rule_value *v);
/* A time as clients write it: a moment, or a day. False: it is none. */
bool value_time(struct str text, struct rule_value *out);

#endif
