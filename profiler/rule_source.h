/* What the steps of compiling a rule share: its text, its memory and its first mistake. Private to rule_*.c; one
 * thread. */
#ifndef WAYMARK_RULE_SOURCE_H
#define WAYMARK_RULE_SOURCE_H

#include "common/arena.h"
#include "profiler/rule.h"

/* Where something stands: its bytes, and the line and column (from 1, in characters) of the first. */
struct rule_place {
    size_t from, to;
    unsigned line, column;
};

struct rule_source {
    struct str text;
    struct arena *arena;   /* of the rule that is made */
    struct arena *scratch; /* until it is made */
    struct rule_error *err;
    bool failed, no_memory; /* either is final: the step that sees it returns */
};

/* Notes a mistake; the first one stands. Returns NULL, so that who makes something can return it. */
void *rule_fail(struct rule_source *s, struct rule_place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with the name that was probably meant; absent: none. */
void *rule_fail_near(struct rule_source *s, struct rule_place at, struct str near, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Zeroed memory of the rule; NULL when it is out, and then that is noted. */
void *rule_alloc(struct rule_source *s, size_t n);
/* The same of memory that is given back when the rule is made. */
void *rule_scratch(struct rule_source *s, size_t n);
/* A copy in the rule's memory; p is NULL when memory is out. */
struct str rule_copy(struct rule_source *s, struct str text);

/* The name nearest to one that nobody has: offer all candidates, then ask. */
struct rule_near {
    struct str wanted;
    struct str best;
    unsigned distance; /* of the best one */
};
void rule_near_init(struct rule_near *near, struct str wanted);
void rule_near_offer(struct rule_near *near, struct str name);
/* Absent when none is near enough. */
struct str rule_near_best(const struct rule_near *near);

#endif
