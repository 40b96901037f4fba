/* Tags: named values of a person that rules give them, from config/tags.yaml. A tag has rules, each with a value, and
 * the first that is true gives it; or one expression, whose value it is. One set by hand wins while it lasts.
 *
 * A set is read and compiled once and does not change; who uses it holds a reference, so that another one can take its
 * place while the program runs. Tags may name tags that stand before them in the file. */
#ifndef WAYMARK_TAGS_H
#define WAYMARK_TAGS_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "profiler/rule.h"
#include "profiler/rule_eval.h"

struct tags;

struct tag_value_rule {
    struct str value; /* JSON of the value; absent: the rule's own value */
    struct rule *rule;
};

struct tag {
    struct str name, description, owner;
    enum rule_type type;
    const struct tag_value_rule *rules;
    size_t rule_count;
};

/* Reads a file of tags; all errors of the file at once, each as file:line:column. `path` NULL: the set built in. 0 or
 * -EINVAL with words, -ENOMEM, or what opening it said. */
int tags_load(const char *path, const struct vocabulary *traits, struct tags **out, struct err *e);
struct tags *tags_ref(struct tags *t);
void tags_unref(struct tags *t);

size_t tags_count(const struct tags *t);
const struct tag *tags_at(const struct tags *t, size_t i);
/* The number of the tag; SIZE_MAX: there is none. */
size_t tags_find(const struct tags *t, struct str name);
/* Names and types, for other rules. Lives as long as the set. */
const struct rule_tag *tags_names(const struct tags *t, size_t *n);
/* All of rule_needs that evaluating the set needs. */
unsigned tags_needs(const struct tags *t);
/* Of the rules' text: another one, another version. */
uint64_t tags_version(const struct tags *t);

/* Values of all tags of a person, in the order of the file; `out` has tags_count of them; those set by hand (marks, in
 * the traits) in their place. Sets s->tag. *next_change as in rule_result, over all. 0 or negative errno. */
int tags_eval(const struct tags *t, struct rule_subject *s, struct rule_value *out, int64_t *next_change);
/* {"lifecycle":"growing",…}: those with a value; and those set by hand that no rule gives. */
void tags_write_json(const struct tags *t, const struct rule_value *values, const struct rule_subject *s,
                     struct buf *b);

#endif
