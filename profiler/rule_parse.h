/* The text of a rule as a tree in which nothing has a meaning yet. Private to rule_*.c; one thread. */
#ifndef WAYMARK_RULE_PARSE_H
#define WAYMARK_RULE_PARSE_H

#include "profiler/rule_source.h"
#include "profiler/rule_tree.h"

enum rule_ast_kind {
    AST_CONSTANT, /* op: OP_BOOL, OP_NUMBER, OP_STRING or OP_NULL */
    AST_NAME,     /* text */
    AST_FIELD,    /* kid 0, text */
    AST_INDEX,    /* kid 0, kid 1 */
    AST_CALL,     /* text, kids */
    AST_METHOD,   /* text, kid 0: of what; the rest: arguments */
    AST_LIST,
    AST_MAP,     /* kids: key, value, key, value */
    AST_OPERATOR /* op, kids */
};

struct rule_ast {
    enum rule_ast_kind kind;
    enum rule_op op;
    struct str text;
    struct rule_place name; /* of a field's, function's or method's name */
    struct rule_number number;
    bool truth;
    unsigned height;
    unsigned line, column; /* of the operator, function or token */
    size_t from, to;       /* bytes of the text */
    size_t start;          /* the same as from, with brackets around it */
    struct rule_ast **kids;
    size_t kid_count;
};

/* In the scratch memory, but for the texts of constants. NULL after a mistake, or without memory, which the source then
 * has. */
struct rule_ast *rule_parse(struct rule_source *source);

/* Where it stands, for mistakes: the operator or function. */
static inline struct rule_place rule_ast_place(const struct rule_ast *a)
{
    return (struct rule_place){a->from, a->to, a->line, a->column};
}

#endif
