/* Evaluating rules about one person at one moment. A value and the next moment at which time alone changes it come
 * together: every comparison with something that moves with time says when it flips, so nobody sweeps over all people.
 *
 * Absent: what a person has no value for. What is computed from it, or divided by zero, is absent; every comparison
 * with it, != too, is false; as a truth it is false, so ! of it is true. Pure but for the keys of personal traits. */
#ifndef WAYMARK_RULE_EVAL_H
#define WAYMARK_RULE_EVAL_H

#include "common/arena.h"
#include "common/buf.h"
#include "profiler/facts.h"
#include "profiler/rule.h"
#include "profiler/rules.h"
#include "profiler/traits.h"

struct rule_number;
struct rule_past;

struct rule_value {
    enum rule_type type; /* RULE_ANY: absent */
    bool truth;
    const struct rule_number *number; /* in the arena of the subject, or the rule's */
    struct str text;
    bool day;                /* of a time: a calendar day, whose midnight in UTC `ms` is */
    int64_t ms;              /* of a time or a duration */
    struct rule_value *list; /* of a list; of a map key, value, key, value */
    size_t n;
};

/* Cut points of quintiles among people with a counted order: what is at most cuts[0] is in 1, …; at one moment, the
 * same for everybody. */
struct rule_cuts {
    int64_t made_at; /* TIME_NONE: there are none, and every quintile is absent */
    struct rule_quintile {
        bool has;
        __int128 cuts[4]; /* in the unit of the fact: micros, ms or pieces */
    } of[32];             /* by enum rule_fact */
};

/* A person as of a moment; filled by the caller, who gives what rule_needs of the rules asks for. The evaluation keeps
 * in it what several rules of the person need (decoded events). One thread. */
struct rule_subject {
    int64_t now;
    const struct fold_rules *rules;
    const struct facts *facts;
    const struct traits *traits;   /* may be NULL: nothing is known */
    const struct path_entry *path; /* in the order of events, up to `now` when it is a moment that has been */
    size_t path_count;
    struct rule_past *past; /* what came before it; NULL: nothing did */
    const struct order *orders;
    size_t order_count;
    const struct rule_cuts *cuts; /* may be NULL */
    /* Of the person; false: no value. tags_eval sets both. */
    bool (*tag)(void *tag_arg, struct str name, struct rule_value *out);
    void *tag_arg;
    bool (*in_audience)(void *arg, struct str name);
    void *arg;
    struct arena *arena;        /* the caller's; reset after the person */
    struct rule_events *events; /* of the evaluation; NULL at first */
};

struct rule_result {
    struct rule_value value;
    int64_t next_change; /* the first moment after `now` at which time alone may change it; TIME_NONE: never */
};

/* 0 or negative errno (-ENOMEM, -EIO: a stored event is none, -ENODATA: `past` does not know what is asked). */
int rule_eval(const struct rule *r, struct rule_subject *s, struct rule_result *out);
/* Frees what the evaluation made; before the arena is reset. */
void rule_subject_done(struct rule_subject *s);

/* [{"expression":"orders >= 3","value":true,"operands":[5,3]},…]: every comparison and function of the rule with what
 * it is for this person, in the order of the text; null is absent. Values of personal traits only with `pii`, else
 * "***". 0 or negative errno. */
int rule_explain(const struct rule *r, struct rule_subject *s, bool pii, struct buf *out);
/* Appends a value as JSON: null is absent. */
void rule_value_write(const struct rule_value *v, struct buf *b);
/* A JSON value as one of rules, in the arena: of a trait, a property, a tag set by hand; null is absent. 0, 1: it is no
 * JSON, -ENOMEM. */
int rule_value_read(struct str json, struct arena *a, struct rule_value *out);
bool rule_value_eq(const struct rule_value *a, const struct rule_value *b);

#endif
