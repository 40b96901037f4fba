/* Tokens of a rule to a tree, by climbing the precedences of CEL. Any thread.
 *
 * What is inside one another is bounded twice: brackets, ?: and lists by counting calls, so that no text exhausts the
 * stack, and chains of operators by the height of the tree, because whoever walks it does so by recursion. */
#include "profiler/rule_parse.h"

#include <assert.h>

#include "common/limits.h"
#include "profiler/rule_lex.h"

struct parser {
    struct rule_source *source;
    struct rule_lexer lexer;
    struct rule_token token; /* the next one */
    size_t last;             /* end of the one before */
    unsigned depth;
    size_t nodes;
};

static struct rule_ast *parse_expression(struct parser *p);

static bool advance(struct parser *p)
{
    p->last = p->token.place.to;
    return rule_lex_next(&p->lexer, &p->token);
}

/* Says what the token is, for mistakes. */
static void *fail_token(struct parser *p, const char *wanted)
{
    static const struct {
        const char *word, *meant;
    } words[] = {{"and", "&&"}, {"or", "||"}, {"not", "!"}, {"is", "=="}, {"AND", "&&"}, {"OR", "||"}, {"NOT", "!"}};
    struct rule_place at = p->token.place;
    struct str text = {p->source->text.p + at.from, at.to > at.from ? at.to - at.from : 0};

    if (p->token.kind == TOKEN_END)
        return rule_fail(p->source, at, "the rule ends here, but %s must follow", wanted);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (p->token.kind == TOKEN_NAME && str_is(text, words[i].word))
            return rule_fail_near(p->source, at, str_of(words[i].meant), "%.*s is no operator", STR_ARG(text));
    return rule_fail(p->source, at, "%.*s does not fit here; expected %s", (int)(text.n < 40 ? text.n : 40), text.p,
                     wanted);
}

static bool expect(struct parser *p, enum rule_token_kind kind, const char *wanted)
{
    if (p->token.kind != kind) {
        fail_token(p, wanted);
        return false;
    }
    return advance(p);
}

static struct rule_ast *make(struct parser *p, enum rule_ast_kind kind, struct rule_place at)
{
    struct rule_ast *a;

    if (++p->nodes > LIMIT_RULE_NODES)
        return rule_fail(p->source, at, "the rule is too large: more than %d names, constants and operators",
                         LIMIT_RULE_NODES);
    a = rule_scratch(p->source, sizeof *a);
    if (a) {
        a->kind = kind;
        a->line = at.line;
        a->column = at.column;
        a->from = a->start = at.from;
        a->to = at.to;
        a->height = 1;
    }
    return a;
}

static void *fail_depth(struct parser *p, struct rule_place at)
{
    return rule_fail(p->source, at, "the rule is too deep: more than %d brackets or operators inside one another",
                     LIMIT_RULE_DEPTH);
}

/* Gives a node its kids; they are copied. */
static struct rule_ast *adopt(struct parser *p, struct rule_ast *a, struct rule_ast *const *kids, size_t n)
{
    a->kids = rule_scratch(p->source, (n ? n : 1) * sizeof *a->kids);
    if (!a->kids)
        return NULL;
    a->kid_count = n;
    for (size_t i = 0; i < n; i++) {
        a->kids[i] = kids[i];
        if (kids[i]->height >= a->height)
            a->height = kids[i]->height + 1;
    }
    return a->height > LIMIT_RULE_DEPTH ? fail_depth(p, rule_ast_place(a)) : a;
}

/* Kids while they are found; grows in the arena by doubling. */
struct row {
    struct rule_ast **kids;
    size_t n, cap;
};

static bool row_add(struct parser *p, struct row *row, struct rule_ast *kid)
{
    if (!kid)
        return false;
    if (row->n == row->cap) {
        size_t cap = row->cap ? row->cap * 2 : 4;
        struct rule_ast **kids = rule_scratch(p->source, cap * sizeof *kids);
        if (!kids)
            return false;
        if (row->n)
            memcpy(kids, row->kids, row->n * sizeof *kids);
        row->kids = kids;
        row->cap = cap;
    }
    row->kids[row->n++] = kid;
    return true;
}

/* Expressions with commas between them up to `close`, which is taken too. A comma before it is allowed in lists and
 * maps, as in CEL; of maps every element is a key, a colon and a value. */
static bool parse_row(struct parser *p, enum rule_token_kind close, const char *wanted, struct row *row)
{
    while (p->token.kind != close) {
        if (!row_add(p, row, parse_expression(p)))
            return false;
        if (close == TOKEN_CLOSE_MAP &&
            (!expect(p, TOKEN_COLON, "a : and a value") || !row_add(p, row, parse_expression(p))))
            return false;
        if (p->token.kind != TOKEN_COMMA)
            break;
        if (!advance(p))
            return false;
        if (close == TOKEN_CLOSE && p->token.kind == close)
            return fail_token(p, "an argument") != NULL;
    }
    return expect(p, close, wanted);
}

static struct rule_ast *finish_row(struct parser *p, struct rule_ast *a, enum rule_token_kind close, const char *wanted,
                                   struct row *row)
{
    if (!a || !parse_row(p, close, wanted, row))
        return NULL;
    a->to = p->last;
    return adopt(p, a, row->kids, row->n);
}

static struct rule_ast *parse_constant(struct parser *p)
{
    struct rule_ast *a = make(p, AST_CONSTANT, p->token.place);

    if (!a)
        return NULL;
    switch (p->token.kind) {
    case TOKEN_NUMBER:
        a->op = OP_NUMBER;
        a->number = p->token.number;
        break;
    case TOKEN_STRING:
        a->op = OP_STRING;
        a->text = p->token.text;
        break;
    case TOKEN_NULL:
        a->op = OP_NULL;
        break;
    default:
        a->op = OP_BOOL;
        a->truth = p->token.kind == TOKEN_TRUE;
    }
    return advance(p) ? a : NULL;
}

/* A name, or a function's call. */
static struct rule_ast *parse_name(struct parser *p)
{
    struct rule_token name = p->token;
    struct row row = {0};
    struct rule_ast *a;

    if (!advance(p))
        return NULL;
    a = make(p, p->token.kind == TOKEN_OPEN ? AST_CALL : AST_NAME, name.place);
    if (!a)
        return NULL;
    a->text = name.text;
    a->name = name.place;
    if (a->kind == AST_NAME)
        return a;
    return advance(p) ? finish_row(p, a, TOKEN_CLOSE, "a , or )", &row) : NULL;
}

/* ( … ) */
static struct rule_ast *parse_brackets(struct parser *p)
{
    size_t from = p->token.place.from;
    struct rule_ast *a;

    if (!advance(p))
        return NULL;
    a = parse_expression(p);
    if (!a || !expect(p, TOKEN_CLOSE, "a )"))
        return NULL;
    a->start = from;
    return a;
}

static struct rule_ast *parse_made(struct parser *p, enum rule_ast_kind kind, enum rule_token_kind close,
                                   const char *wanted)
{
    struct rule_ast *a = make(p, kind, p->token.place);
    struct row row = {0};

    return a && advance(p) ? finish_row(p, a, close, wanted, &row) : NULL;
}

static struct rule_ast *parse_primary(struct parser *p)
{
    switch (p->token.kind) {
    case TOKEN_NUMBER:
    case TOKEN_STRING:
    case TOKEN_TRUE:
    case TOKEN_FALSE:
    case TOKEN_NULL:
        return parse_constant(p);
    case TOKEN_NAME:
        return parse_name(p);
    case TOKEN_OPEN:
        return parse_brackets(p);
    case TOKEN_OPEN_LIST:
        return parse_made(p, AST_LIST, TOKEN_CLOSE_LIST, "a , or ]");
    case TOKEN_OPEN_MAP:
        return parse_made(p, AST_MAP, TOKEN_CLOSE_MAP, "a , or }");
    default:
        return fail_token(p, "a name, a constant or a (");
    }
}

/* .NAME or .NAME(…) behind `of`; the token is the name. */
static struct rule_ast *parse_member(struct parser *p, struct rule_ast *of)
{
    struct rule_token name = p->token;
    struct row row = {0};
    struct rule_ast *a;

    if (!expect(p, TOKEN_NAME, "a name"))
        return NULL;
    a = make(p, p->token.kind == TOKEN_OPEN ? AST_METHOD : AST_FIELD, name.place);
    if (!a || !row_add(p, &row, of))
        return NULL;
    a->text = name.text;
    a->name = name.place;
    a->from = a->start = of->start;
    if (a->kind == AST_FIELD)
        return adopt(p, a, row.kids, row.n);
    return advance(p) ? finish_row(p, a, TOKEN_CLOSE, "a , or )", &row) : NULL;
}

/* [ … ] behind `of`; the token is what follows the bracket. */
static struct rule_ast *parse_index(struct parser *p, struct rule_ast *of, struct rule_place bracket)
{
    struct rule_ast *a = make(p, AST_INDEX, bracket);
    struct rule_ast *kids[2] = {of, NULL};

    if (!a)
        return NULL;
    kids[1] = parse_expression(p);
    if (!kids[1] || !expect(p, TOKEN_CLOSE_LIST, "a ]"))
        return NULL;
    a->from = a->start = of->start;
    a->to = p->last;
    return adopt(p, a, kids, 2);
}

static struct rule_ast *parse_postfix(struct parser *p)
{
    struct rule_ast *a = parse_primary(p);

    while (a && (p->token.kind == TOKEN_DOT || p->token.kind == TOKEN_OPEN_LIST)) {
        struct rule_token token = p->token;
        if (!advance(p))
            return NULL;
        a = token.kind == TOKEN_DOT ? parse_member(p, a) : parse_index(p, a, token.place);
    }
    return a;
}

static struct rule_ast *parse_unary(struct parser *p)
{
    enum rule_token_kind kind = p->token.kind;
    struct rule_place at = p->token.place;
    struct rule_ast *a, *kid;

    if (kind != TOKEN_NOT && kind != TOKEN_MINUS)
        return parse_postfix(p);
    if (++p->depth > LIMIT_RULE_DEPTH)
        return fail_depth(p, at);
    if (!advance(p))
        return NULL;
    kid = parse_unary(p);
    p->depth--;
    a = kid ? make(p, AST_OPERATOR, at) : NULL;
    if (!a)
        return NULL;
    a->op = kind == TOKEN_NOT ? OP_NOT : OP_NEG;
    a->to = p->last;
    return adopt(p, a, &kid, 1);
}

/* How strongly an operator binds; 0: it is none. && and || bind least. */
static int precedence(enum rule_token_kind kind, enum rule_op *op)
{
    static const struct {
        enum rule_token_kind kind;
        int precedence;
        enum rule_op op;
    } operators[] = {{TOKEN_OR, 1, OP_OR},      {TOKEN_AND, 2, OP_AND},   {TOKEN_EQ, 3, OP_EQ},
                     {TOKEN_NE, 3, OP_NE},      {TOKEN_LT, 3, OP_LT},     {TOKEN_LE, 3, OP_LE},
                     {TOKEN_GT, 3, OP_GT},      {TOKEN_GE, 3, OP_GE},     {TOKEN_IN, 3, OP_IN},
                     {TOKEN_PLUS, 4, OP_ADD},   {TOKEN_MINUS, 4, OP_SUB}, {TOKEN_TIMES, 5, OP_MUL},
                     {TOKEN_DIVIDE, 5, OP_DIV}, {TOKEN_REST, 5, OP_MOD}};

    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (operators[i].kind == kind) {
            *op = operators[i].op;
            return operators[i].precedence;
        }
    return 0;
}

static struct rule_ast *parse_binary(struct parser *p, int least);

/* The rest of a chain of && or ||, of which `left` is the first: one node for all of it. The token is the operator. */
static struct rule_ast *parse_chain(struct parser *p, struct rule_ast *left, int level, enum rule_op op)
{
    enum rule_token_kind kind = p->token.kind;
    struct rule_ast *a = make(p, AST_OPERATOR, p->token.place);
    struct row row = {0};

    if (!a || !row_add(p, &row, left))
        return NULL;
    a->op = op;
    while (p->token.kind == kind)
        if (!advance(p) || !row_add(p, &row, parse_binary(p, level + 1)))
            return NULL;
    a->from = a->start = left->start;
    a->to = p->last;
    return adopt(p, a, row.kids, row.n);
}

static struct rule_ast *parse_pair(struct parser *p, struct rule_ast *left, int level, enum rule_op op)
{
    struct rule_ast *a = make(p, AST_OPERATOR, p->token.place);
    struct rule_ast *kids[2] = {left, NULL};

    if (!a || !advance(p))
        return NULL;
    a->op = op;
    kids[1] = parse_binary(p, level + 1);
    if (!kids[1])
        return NULL;
    a->from = a->start = left->start;
    a->to = p->last;
    return adopt(p, a, kids, 2);
}

/* Operators that bind at least as strongly as `least`. Recursion is bounded by the number of precedences. */
static struct rule_ast *parse_binary(struct parser *p, int least)
{
    struct rule_ast *a = parse_unary(p);
    enum rule_op op;

    while (a) {
        int level = precedence(p->token.kind, &op);
        if (level < least || level == 0)
            break;
        a = level <= 2 ? parse_chain(p, a, level, op) : parse_pair(p, a, level, op);
    }
    return a;
}

/* CONDITION ? A : B, of which the condition is read; the token is the question mark. */
static struct rule_ast *parse_choice(struct parser *p, struct rule_ast *condition)
{
    struct rule_ast *a = make(p, AST_OPERATOR, p->token.place);
    struct rule_ast *kids[3] = {condition, NULL, NULL};

    if (!a || !advance(p))
        return NULL;
    a->op = OP_TERNARY;
    kids[1] = parse_binary(p, 1);
    if (!kids[1] || !expect(p, TOKEN_COLON, "a : and another value"))
        return NULL;
    kids[2] = parse_expression(p);
    if (!kids[2])
        return NULL;
    a->from = a->start = condition->start;
    a->to = p->last;
    return adopt(p, a, kids, 3);
}

static struct rule_ast *parse_expression(struct parser *p)
{
    struct rule_ast *a;

    if (++p->depth > LIMIT_RULE_DEPTH)
        return fail_depth(p, p->token.place);
    a = parse_binary(p, 1);
    if (a && p->token.kind == TOKEN_QUESTION)
        a = parse_choice(p, a);
    p->depth--;
    return a;
}

struct rule_ast *rule_parse(struct rule_source *source)
{
    struct parser p = {.source = source};
    struct rule_ast *a;

    rule_lex_init(&p.lexer, source);
    if (!advance(&p))
        return NULL;
    a = parse_expression(&p);
    if (a && p.token.kind != TOKEN_END)
        return fail_token(&p, "an operator or the end");
    assert(a || source->failed || source->no_memory);
    return a;
}
