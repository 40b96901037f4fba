/* Rules: what marketers say about people, in CEL's syntax and INTERFACE's section 6, checked and compiled once.
 *
 * A rule is read in three steps, each with a file: text to tokens (rule_lex), tokens to a tree (rule_parse), a tree to
 * one in which every name is known and every node has a type (rule_check, with rule_catalog for the names). Bounds of
 * depth, nodes and cost are held where the tree is made, so what was compiled can be evaluated at a bounded price
 * (rule_eval.h). Pure; a compiled rule does not change and any thread may use it. */
#ifndef WAYMARK_RULE_H
#define WAYMARK_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/str.h"
#include "common/traits_vocabulary.h"

enum rule_type {
    RULE_ANY, /* known only when it is evaluated: traits outside the vocabulary, properties of events */
    RULE_BOOL,
    RULE_NUMBER, /* whole numbers, decimals and amounts are one type */
    RULE_STRING,
    RULE_TIME,
    RULE_DURATION,
    RULE_LIST,
    RULE_MAP,
    RULE_TYPES
};
extern const char *const rule_type_names[RULE_TYPES];

/* What else than facts a rule reads, so that whoever evaluates it fetches no more. */
enum rule_needs {
    RULE_NEEDS_TRAITS = 1, /* or consent */
    RULE_NEEDS_PATH = 2,   /* events */
    RULE_NEEDS_ORDERS = 4,
    RULE_NEEDS_MARKS = 8, /* exported(): what campaigns noted, with the traits */
    RULE_NEEDS_CUTS = 16, /* quintile() */
    RULE_NEEDS_TAGS = 32,
    RULE_NEEDS_AUDIENCES = 64,
    RULE_NEEDS_NOW = 128 /* time alone may change it */
};

/* A tag that rules may name. */
struct rule_tag {
    struct str name;
    enum rule_type type; /* RULE_STRING, RULE_NUMBER or RULE_BOOL */
};

/* The names that a shop has, beside the facts, which are built in. Must outlive the call, not the rule. */
struct rule_names {
    const struct vocabulary *traits; /* may be NULL */
    const struct rule_tag *tags;
    size_t tag_count;
    /* Whether there is an audience of that name; NULL: every name is one (it may be defined later). */
    bool (*audience)(void *arg, struct str name);
    void *arg;
};

#define RULE_MESSAGE 256
#define RULE_SUGGESTION 128

struct rule_error {
    unsigned line, column; /* from 1; columns count characters */
    char message[RULE_MESSAGE];
    char suggestion[RULE_SUGGESTION]; /* "" when no name is near */
};

/* A place in a rule that does what its writer may not have meant. */
struct rule_warning {
    unsigned line, column;
    char message[RULE_MESSAGE];
};

struct rule;

/* `want`: the type that the whole must have; RULE_ANY: any of bool, number, string. 0; -EINVAL and `err`; -ENOMEM. */
int rule_compile(struct str text, enum rule_type want, const struct rule_names *names, struct rule **out,
                 struct rule_error *err);
/* NULL is allowed. */
void rule_free(struct rule *r);

struct str rule_text(const struct rule *r);
enum rule_type rule_type(const struct rule *r);
unsigned rule_needs(const struct rule *r);
/* Whether it names personal traits: who asks with it needs the scope pii. */
bool rule_personal(const struct rule *r);
size_t rule_warnings(const struct rule *r, const struct rule_warning **out);
/* Names in tags.NAME, in_audience("NAME") and exported("NAME"), each once. Spans live as long as the rule. */
size_t rule_tags(const struct rule *r, const struct str **out);
size_t rule_audiences(const struct rule *r, const struct str **out);
size_t rule_campaigns(const struct rule *r, const struct str **out);
/* The operands of the && or || that the rule is, as they stand in its text: each compiles by itself. The whole where it
 * is neither, or has more than `max`. */
size_t rule_clauses(const struct rule *r, struct str *out, size_t max);
/* The text as every writer would have it: equal bytes for rules that differ in blanks and brackets only. */
bool rule_canonical(const struct rule *r, struct buf *b);

/* The names that rules may use, for GET /v1/catalog: {"facts":[{"name","type","description"}…],"traits":[…],
 * "tags":[…],"functions":[{"name","signature","description"}…]}. */
void rule_catalog_write(const struct rule_names *names, struct buf *b);

#endif
