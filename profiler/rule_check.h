/* Meaning for a parsed rule: every name is known, every node has a type. Private to rule_*.c; one thread. */
#ifndef WAYMARK_RULE_CHECK_H
#define WAYMARK_RULE_CHECK_H

#include "profiler/rule_parse.h"
#include "profiler/rule_source.h"
#include "profiler/rule_tree.h"

struct rule_checker {
    struct rule_source *source;
    const struct rule_names *names;
    struct rule *rule;
    bool in_condition; /* of a count: e is known, and no other function may look through events */
    size_t scans;      /* functions that look through events */
    size_t joins;      /* + of texts or lists */
};

/* Each returns NULL after a mistake, or without memory, which the source then has. */

struct rule_node *rule_check(struct rule_checker *c, const struct rule_ast *a);
/* The same of a type, or one that is known only at evaluation. `by`: the operator or function that wants it. */
struct rule_node *rule_check_as(struct rule_checker *c, const struct rule_ast *a, enum rule_type type,
                                const struct rule_ast *by);
/* A constant that is a text. */
struct str rule_check_text(struct rule_checker *c, const struct rule_ast *a, const struct rule_ast *by,
                           const char *what);
/* A node with room for its kids, where `a` stands. */
struct rule_node *rule_node_make(struct rule_checker *c, const struct rule_ast *a, enum rule_op op, enum rule_type type,
                                 size_t kids);
void rule_need(struct rule_checker *c, unsigned needs);
/* Adds a name to a list of the rule, unless it is there. */
bool rule_list_name(struct rule_checker *c, struct str **list, size_t *n, struct str name);

/* Names, with the fields and keys behind them (rule_check_name.c). */
struct rule_node *rule_check_name(struct rule_checker *c, const struct rule_ast *a);
enum rule_fact rule_fact_find(struct str name); /* RULE_FACTS: there is none */
unsigned rule_by_find(struct str name);         /* RULE_BYS: there is none */
enum rule_figure rule_figure_find(struct str name);
/* Whether a map of `by` has that figure; hour and weekday have FIGURE_COUNT only, which has no name. */
bool rule_by_has(unsigned group, enum rule_figure figure);
/* The same of amounts_by_currency. */
bool rule_amounts_have(enum rule_figure figure);
struct rule_node *rule_fail_group(struct rule_checker *c, struct rule_place at, struct str name);
struct rule_node *rule_fail_figure(struct rule_checker *c, struct rule_place at, unsigned group, struct str name);
/* A name or value with what stands behind it. */
#define RULE_STEPS 64
struct rule_steps {
    const struct rule_ast *root;
    const struct rule_ast *step[RULE_STEPS]; /* fields and indexes, from the root on */
    size_t n;
};
/* Fields and keys as kids of a node, from the step `i` on. */
bool rule_check_path(struct rule_checker *c, struct rule_node *n, const struct rule_steps *steps, size_t i);
/* The text of a field, or of a constant key. Absent after a mistake. */
struct str rule_step_name(struct rule_checker *c, const struct rule_ast *step);
struct rule_place rule_step_place(const struct rule_ast *step);
/* Types of what is not built in: of a well-known property of events, of a trait (NULL: in no vocabulary). */
enum rule_type rule_property_type(struct str name);
enum rule_type rule_trait_type(const struct trait_kind *kind);

/* Functions and methods (rule_check_call.c, rule_check_event.c). */
struct rule_node *rule_check_call(struct rule_checker *c, const struct rule_ast *a);
struct rule_node *rule_check_method(struct rule_checker *c, const struct rule_ast *a);
struct rule_node *rule_check_last(struct rule_checker *c, const struct rule_ast *a, const struct rule_steps *steps);

typedef struct rule_node *rule_call_check(struct rule_checker *c, const struct rule_ast *a);
rule_call_check rule_call_count, rule_call_sum, rule_call_last, rule_call_followed_by, rule_call_not_followed_by,
    rule_call_in_audience, rule_call_exported, rule_call_quintile, rule_call_top, rule_call_names, rule_call_interest;

/* Functions by name, for the checker, the catalogue and the texts. */
struct rule_function {
    const char *name, *signature, *description;
    size_t least, most; /* arguments */
    rule_call_check *check;
};
extern const struct rule_function rule_functions[];
extern const size_t rule_function_count;
/* Methods of texts and lists: what is before the dot is kid 0. */
struct rule_method {
    const char *name;
    enum rule_op op;
    size_t arguments;
    enum rule_type type;
};
extern const struct rule_method rule_methods[];
extern const size_t rule_method_count;

/* Durations and windows (rule_check_time.c). */

/* A constant time span: a number is of days. `*ms` above 0 and within LIMIT_RULE_DAYS. */
bool rule_check_window(struct rule_checker *c, const struct rule_ast *a, const struct rule_ast *by, int64_t *ms);
/* The same of a duration only: hours(24). */
bool rule_check_duration(struct rule_checker *c, const struct rule_ast *a, const struct rule_ast *by, int64_t *ms);
rule_call_check rule_call_duration, rule_call_days, rule_call_hours, rule_call_minutes, rule_call_timestamp;

/* Bytes of the text, cut to what a message shows, at the end of a character. */
struct str rule_excerpt(const struct rule_source *s, size_t from, size_t to);
/* "a number": with its article. */
const char *rule_type_words(enum rule_type type);
/* "&&"; absent for what is no operator. */
struct str rule_operator_text(enum rule_op op);

/* rule_compile within a bound of memory for the rule, and the same for what is given back when it is made. */
int rule_compile_within(size_t bytes, struct str text, enum rule_type want, const struct rule_names *names,
                        struct rule **out, struct rule_error *err);

/* Where a negation lets the unknown in (rule_warn.c). False without memory. */
bool rule_warn(struct rule_source *s, const struct rule_names *names, struct rule *r);

#endif
