/* Tags: named values of a person that rules give them, from config/tags.yaml. A tag has rules, each with a value, and
 * the first that is true gives it; or one expression, whose value it is; or neither, and then it is only set by hand.
 * One set by hand wins while it lasts.
 *
 * A set is read and compiled once and does not change; who uses it holds a reference, so that another one can take its
 * place while the program runs. Tags may name tags that stand before them in the file, but no audiences: those are
 * judged after the tags. */
#ifndef WAYMARK_TAGS_H
#define WAYMARK_TAGS_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "profiler/rule.h"
#include "profiler/rule_eval.h"

struct tags;

struct tag_value_rule {
    struct str value;           /* JSON of the value; absent: the rule's own value */
    struct rule_value constant; /* the same, for answers of rules */
    struct rule *rule;
};

struct tag {
    struct str name, description, owner; /* the latter two may be absent */
    enum rule_type type;                 /* RULE_STRING, RULE_NUMBER or RULE_BOOL */
    const struct tag_value_rule *rules;
    size_t rule_count; /* 0: set by hand alone */
};

/* Reads a file of tags. After mistakes `errors` has a line "file:line:column: text" for each, all of the file; places
 * that do what their writer may not have meant are such lines in `warnings` (may be NULL). `path` NULL: the set built
 * in. 0, -EINVAL or -ENOMEM. Any thread. */
int tags_load(const char *path, const struct vocabulary *traits, struct tags **out, struct buf *errors,
              struct buf *warnings);
/* The same from memory; `file` is for messages. */
int tags_parse(const char *file, struct str text, const struct vocabulary *traits, struct tags **out,
               struct buf *errors, struct buf *warnings);
/* References are counted; any thread. NULL is allowed. */
struct tags *tags_ref(struct tags *t);
void tags_unref(struct tags *t);

/* config/tags.yaml as it was built in. */
struct str tags_builtin_text(void);

size_t tags_count(const struct tags *t);
const struct tag *tags_at(const struct tags *t, size_t i);
/* The number of the tag; SIZE_MAX: there is none. */
size_t tags_find(const struct tags *t, struct str name);
/* Names and types, for other rules. Lives as long as the set. */
const struct rule_tag *tags_names(const struct tags *t, size_t *n);
/* All of rule_needs that evaluating the set needs. */
unsigned tags_needs(const struct tags *t);
/* Of what the rules mean, whatever their blanks and descriptions: another one, another version. */
uint64_t tags_version(const struct tags *t);
/* Whether a name can be a tag's: a letter, then letters, digits and underscores, all small, 64 bytes. */
bool tags_is_name(struct str name);

/* Values of all tags of a person, in the order of the file; `out` has tags_count of them; those set by hand (marks, in
 * the traits) in their place. Sets s->tag and s->tag_arg, which look into `out`. *next_change as in rule_result, over
 * all, the ends of those set by hand that no rule gives too. 0 or negative errno. */
int tags_eval(const struct tags *t, struct rule_subject *s, struct rule_value *out, int64_t *next_change);
/* A tag and its value as JSON. */
struct tag_said {
    struct str name, value;
};
/* Those with a value, in the order of the file, and then those set by hand that no rule gives. The list lies in the
 * subject's arena; values lie there or in `b`, to which they are added, and stand while it is left alone. 0 or negative
 * errno. */
int tags_say(const struct tags *t, const struct rule_value *values, const struct rule_subject *s, struct buf *b,
             struct tag_said **out, size_t *n);
/* The same as {"lifecycle":"growing",…}. */
int tags_write_json(const struct tags *t, const struct rule_value *values, const struct rule_subject *s, struct buf *b);
/* Whether a value (JSON) can be set by hand: it has the tag's type, or no rule gives the tag and it is a string, number
 * or boolean. Else words. */
bool tags_fits(const struct tags *t, struct str name, struct str value, struct err *e);

#endif
