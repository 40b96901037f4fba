/* Meaning for a parsed rule: constants, operators and their types. Any thread.
 *
 * A type error stands at the operator or function that does not take what it gets. What is known only at evaluation
 * (RULE_ANY) is taken everywhere; a value of another type is absent there. */
#include "profiler/rule_check.h"

#include <assert.h>

#include "common/limits.h"
#include "profiler/rule_lex.h"
#include "profiler/rule_number.h"

const char *const rule_type_names[RULE_TYPES] = {"any", "bool", "number", "string", "time", "duration", "list", "map"};

const char *rule_type_words(enum rule_type type)
{
    static const char *const words[RULE_TYPES] = {"anything", "true or false", "a number", "a text",
                                                  "a time",   "a duration",    "a list",   "a map"};

    assert(type < RULE_TYPES);
    return words[type];
}

struct str rule_excerpt(const struct rule_source *s, size_t from, size_t to)
{
    struct str text = {s->text.p + from, to - from};

    assert(from <= to && to <= s->text.n);
    if (text.n <= 48)
        return text;
    for (text.n = 48; text.n > 0 && ((unsigned char)text.p[text.n] & 0xc0) == 0x80;)
        text.n--;
    return text;
}

struct rule_node *rule_node_make(struct rule_checker *c, const struct rule_ast *a, enum rule_op op, enum rule_type type,
                                 size_t kids)
{
    struct rule_node *n = rule_alloc(c->source, sizeof *n);

    if (!n)
        return NULL;
    n->op = op;
    n->type = type;
    n->line = a->line;
    n->column = a->column;
    n->from = a->from;
    n->to = a->to;
    n->text = n->second = STR_NONE;
    n->window_ms = n->within_ms = RULE_EVER;
    n->kid_count = kids;
    c->rule->nodes++;
    if (kids && !(n->kids = rule_alloc(c->source, kids * sizeof(struct rule_node *))))
        return NULL;
    return n;
}

void rule_need(struct rule_checker *c, unsigned needs)
{
    c->rule->needs |= needs;
}

bool rule_list_name(struct rule_checker *c, struct str **list, size_t *n, struct str name)
{
    struct str *longer;

    for (size_t i = 0; i < *n; i++)
        if (str_eq((*list)[i], name))
            return true;
    if ((*n & (*n - 1)) == 0) { /* none, or a power of two: it is full */
        longer = rule_alloc(c->source, (*n ? *n * 2 : 1) * sizeof *longer);
        if (!longer)
            return false;
        if (*n)
            memcpy(longer, *list, *n * sizeof *longer);
        *list = longer;
    }
    (*list)[(*n)++] = name;
    return true;
}

static bool fits(enum rule_type is, enum rule_type wanted)
{
    return is == wanted || is == RULE_ANY || wanted == RULE_ANY;
}

struct str rule_operator_text(enum rule_op op)
{
    static const struct {
        enum rule_op op;
        const char *text;
    } operators[] = {{OP_AND, "&&"}, {OP_OR, "||"}, {OP_NOT, "!"}, {OP_TERNARY, "?:"}, {OP_EQ, "=="}, {OP_NE, "!="},
                     {OP_LT, "<"},   {OP_LE, "<="}, {OP_GT, ">"},  {OP_GE, ">="},      {OP_IN, "in"}, {OP_ADD, "+"},
                     {OP_SUB, "-"},  {OP_MUL, "*"}, {OP_DIV, "/"}, {OP_MOD, "%"},      {OP_NEG, "-"}};

    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (operators[i].op == op)
            return str_of(operators[i].text);
    return STR_NONE;
}

/* The operator or function that takes something, for messages. */
static struct str taker(const struct rule_ast *by)
{
    if (by->kind == AST_OPERATOR)
        return rule_operator_text(by->op);
    return by->kind == AST_INDEX ? STR_LIT("[ ]") : (struct str){by->text.p, by->text.n < 48 ? by->text.n : 48};
}

struct rule_node *rule_check_as(struct rule_checker *c, const struct rule_ast *a, enum rule_type type,
                                const struct rule_ast *by)
{
    struct rule_node *n = rule_check(c, a);

    if (!n || fits(n->type, type))
        return n;
    return rule_fail(c->source, rule_ast_place(by), "%.*s takes %s, and %.*s is %s", STR_ARG(taker(by)),
                     rule_type_words(type), STR_ARG(rule_excerpt(c->source, a->from, a->to)), rule_type_words(n->type));
}

struct str rule_check_text(struct rule_checker *c, const struct rule_ast *a, const struct rule_ast *by,
                           const char *what)
{
    if (a->kind == AST_CONSTANT && a->op == OP_STRING && a->text.n > 0 && a->text.n <= LIMIT_NAME_BYTES)
        return a->text;
    rule_fail(c->source, rule_ast_place(by), "%.*s takes %s in quotes, of 1 to %d bytes", STR_ARG(taker(by)), what,
              LIMIT_NAME_BYTES);
    return STR_NONE;
}

static struct rule_node *check_constant(struct rule_checker *c, const struct rule_ast *a)
{
    static const enum rule_type types[] = {[OP_BOOL] = RULE_BOOL, [OP_NUMBER] = RULE_NUMBER, [OP_STRING] = RULE_STRING};
    struct rule_node *n;

    if (a->op == OP_NULL)
        return rule_fail(c->source, rule_ast_place(a),
                         "null stands only beside == and !=: whether there is a value, has(…) says");
    n = rule_node_make(c, a, a->op, types[a->op], 0);
    if (!n)
        return NULL;
    if (a->op == OP_BOOL)
        n->truth = a->truth;
    else if (a->op == OP_NUMBER)
        n->number = a->number;
    else
        n->text = a->text;
    return n;
}

static struct rule_node *check_list(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = rule_node_make(c, a, OP_LIST, RULE_LIST, a->kid_count);

    for (size_t i = 0; n && i < a->kid_count; i++)
        if (!(n->kids[i] = rule_check(c, a->kids[i])))
            return NULL;
    return n;
}

static struct rule_node *check_map(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = rule_node_make(c, a, OP_MAP, RULE_MAP, a->kid_count);

    for (size_t i = 0; n && i < a->kid_count; i++) {
        n->kids[i] = rule_check(c, a->kids[i]);
        if (!n->kids[i])
            return NULL;
        if (i % 2 == 0 && n->kids[i]->type != RULE_STRING && n->kids[i]->type != RULE_NUMBER &&
            n->kids[i]->type != RULE_BOOL && n->kids[i]->type != RULE_ANY)
            return rule_fail(c->source, rule_ast_place(a->kids[i]), "%s cannot be the key of a map",
                             rule_type_words(n->kids[i]->type));
    }
    return n;
}

/* Operands of && and ||: those of the same operator inside brackets are operands themselves. */
static size_t count_chain(const struct rule_ast *a, enum rule_op op)
{
    size_t n = 0;

    if (a->kind != AST_OPERATOR || a->op != op)
        return 1;
    for (size_t i = 0; i < a->kid_count; i++)
        n += count_chain(a->kids[i], op);
    return n;
}

static bool check_operands(struct rule_checker *c, const struct rule_ast *a, struct rule_node *n, size_t *filled)
{
    for (size_t i = 0; i < a->kid_count; i++) {
        const struct rule_ast *kid = a->kids[i];
        if (kid->kind == AST_OPERATOR && kid->op == n->op) {
            if (!check_operands(c, kid, n, filled))
                return false;
            continue;
        }
        assert(*filled < n->kid_count);
        n->kids[*filled] = rule_check_as(c, kid, RULE_BOOL, a);
        if (!n->kids[(*filled)++])
            return false;
    }
    return true;
}

static struct rule_node *check_chain(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = rule_node_make(c, a, a->op, RULE_BOOL, count_chain(a, a->op));
    size_t filled = 0;

    return n && check_operands(c, a, n, &filled) ? n : NULL;
}

static struct rule_node *check_not(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = rule_node_make(c, a, OP_NOT, RULE_BOOL, 1);

    if (n)
        n->kids[0] = rule_check_as(c, a->kids[0], RULE_BOOL, a);
    return n && n->kids[0] ? n : NULL;
}

static struct rule_node *check_negative(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *kid = rule_check_as(c, a->kids[0], RULE_NUMBER, a), *n;

    if (!kid)
        return NULL;
    n = rule_node_make(c, a, kid->op == OP_NUMBER ? OP_NUMBER : OP_NEG, RULE_NUMBER, kid->op != OP_NUMBER);
    if (!n)
        return NULL;
    if (n->op == OP_NUMBER)
        n->number = rule_number_neg(kid->number);
    else
        n->kids[0] = kid;
    return n;
}

static struct rule_node *check_choice(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = rule_node_make(c, a, OP_TERNARY, RULE_ANY, 3);

    if (!n || !(n->kids[0] = rule_check_as(c, a->kids[0], RULE_BOOL, a)) || !(n->kids[1] = rule_check(c, a->kids[1])) ||
        !(n->kids[2] = rule_check(c, a->kids[2])))
        return NULL;
    if (!fits(n->kids[1]->type, n->kids[2]->type))
        return rule_fail(c->source, rule_ast_place(a), "?: gives %s or %s: both must be of one type",
                         rule_type_words(n->kids[1]->type), rule_type_words(n->kids[2]->type));
    if (n->kids[1]->type == n->kids[2]->type)
        n->type = n->kids[1]->type;
    return n;
}

static bool is_null(const struct rule_ast *a)
{
    return a->kind == AST_CONSTANT && a->op == OP_NULL;
}

/* x == null asks whether x has a value. */
static struct rule_node *check_null(struct rule_checker *c, const struct rule_ast *a)
{
    const struct rule_ast *of = is_null(a->kids[0]) ? a->kids[1] : a->kids[0];
    struct rule_node *has, *n;

    if (is_null(of)) {
        n = rule_node_make(c, a, OP_BOOL, RULE_BOOL, 0);
        if (n)
            n->truth = a->op == OP_EQ;
        return n;
    }
    has = rule_node_make(c, a, OP_HAS, RULE_BOOL, 1);
    if (!has || !(has->kids[0] = rule_check(c, of)) || a->op == OP_NE)
        return has && has->kids[0] ? has : NULL;
    n = rule_node_make(c, a, OP_NOT, RULE_BOOL, 1);
    if (n)
        n->kids[0] = has;
    return n;
}

static struct rule_node *fail_pair(struct rule_checker *c, const struct rule_ast *a, const struct rule_node *n)
{
    enum rule_type x = n->kids[0]->type, y = n->kids[1]->type;
    const struct rule_ast *text = a->kids[x == RULE_STRING ? 0 : 1];

    if (a->op >= OP_EQ && a->op <= OP_GE &&
        ((x == RULE_TIME && y == RULE_STRING) || (x == RULE_STRING && y == RULE_TIME)))
        return rule_fail(c->source, rule_ast_place(a), "%.*s takes a time on both sides: write timestamp(%.*s)",
                         STR_ARG(rule_operator_text(a->op)), STR_ARG(rule_excerpt(c->source, text->from, text->to)));
    return rule_fail(c->source, rule_ast_place(a), "%.*s does not go with %s and %s",
                     STR_ARG(rule_operator_text(a->op)), rule_type_words(x), rule_type_words(y));
}

static enum rule_type comparison_type(enum rule_op op, enum rule_type x, enum rule_type y)
{
    enum rule_type known = x == RULE_ANY ? y : x;
    bool equality = op == OP_EQ || op == OP_NE;

    return fits(x, y) && (equality || (known != RULE_LIST && known != RULE_MAP)) ? RULE_BOOL : RULE_TYPES;
}

/* What two types add up to, or leave. RULE_TYPES: nothing. */
static enum rule_type sum_type(enum rule_op op, enum rule_type x, enum rule_type y)
{
    static const struct {
        enum rule_op op;
        enum rule_type x, y, gives;
    } sums[] = {{OP_ADD, RULE_NUMBER, RULE_NUMBER, RULE_NUMBER}, {OP_ADD, RULE_STRING, RULE_STRING, RULE_STRING},
                {OP_ADD, RULE_LIST, RULE_LIST, RULE_LIST},       {OP_ADD, RULE_TIME, RULE_DURATION, RULE_TIME},
                {OP_ADD, RULE_DURATION, RULE_TIME, RULE_TIME},   {OP_ADD, RULE_DURATION, RULE_DURATION, RULE_DURATION},
                {OP_SUB, RULE_NUMBER, RULE_NUMBER, RULE_NUMBER}, {OP_SUB, RULE_TIME, RULE_DURATION, RULE_TIME},
                {OP_SUB, RULE_TIME, RULE_TIME, RULE_DURATION},   {OP_SUB, RULE_DURATION, RULE_DURATION, RULE_DURATION}};
    enum rule_type found = RULE_TYPES;

    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        if (sums[i].op != op || !fits(x, sums[i].x) || !fits(y, sums[i].y))
            continue;
        found = found == RULE_TYPES || found == sums[i].gives ? sums[i].gives : RULE_ANY;
    }
    return found;
}

static enum rule_type pair_type(enum rule_op op, enum rule_type x, enum rule_type y)
{
    switch (op) {
    case OP_ADD:
    case OP_SUB:
        return sum_type(op, x, y);
    case OP_MUL:
    case OP_DIV:
    case OP_MOD:
        return fits(x, RULE_NUMBER) && fits(y, RULE_NUMBER) ? RULE_NUMBER : RULE_TYPES;
    case OP_IN:
        return fits(y, RULE_LIST) || fits(y, RULE_MAP) ? RULE_BOOL : RULE_TYPES;
    default:
        return comparison_type(op, x, y);
    }
}

/* A computation with two constant numbers becomes its result, unless that is none. */
static void fold_constants(struct rule_node *n)
{
    static bool (*const compute[OP_COUNT_OF_OPS])(struct rule_number, struct rule_number,
                                                  struct rule_number *) = {[OP_ADD] = rule_number_add,
                                                                           [OP_SUB] = rule_number_sub,
                                                                           [OP_MUL] = rule_number_mul,
                                                                           [OP_DIV] = rule_number_div,
                                                                           [OP_MOD] = rule_number_mod};
    struct rule_number result;

    if (!compute[n->op] || n->kids[0]->op != OP_NUMBER || n->kids[1]->op != OP_NUMBER ||
        !compute[n->op](n->kids[0]->number, n->kids[1]->number, &result))
        return;
    result = rule_number_reduced(result);
    if (!rule_number_writable(result))
        return;
    n->op = OP_NUMBER;
    n->number = result;
    n->kid_count = 0;
}

/* Each + of texts or lists copies both, so that many of them inside one another would cost their square. */
#define MOST_JOINS 64

static bool count_join(struct rule_checker *c, const struct rule_ast *a, const struct rule_node *n)
{
    if (n->op != OP_ADD || (n->type != RULE_STRING && n->type != RULE_LIST && n->type != RULE_ANY))
        return true;
    if (++c->joins <= MOST_JOINS)
        return true;
    return rule_fail(c->source, rule_ast_place(a), "more than %d times + of texts or lists", MOST_JOINS);
}

static struct rule_node *check_pair(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n;

    if ((a->op == OP_EQ || a->op == OP_NE) && (is_null(a->kids[0]) || is_null(a->kids[1])))
        return check_null(c, a);
    n = rule_node_make(c, a, a->op, RULE_ANY, 2);
    if (!n || !(n->kids[0] = rule_check(c, a->kids[0])) || !(n->kids[1] = rule_check(c, a->kids[1])))
        return NULL;
    n->type = pair_type(a->op, n->kids[0]->type, n->kids[1]->type);
    if (n->type == RULE_TYPES)
        return fail_pair(c, a, n);
    fold_constants(n);
    return count_join(c, a, n) ? n : NULL;
}

static struct rule_node *check_operator(struct rule_checker *c, const struct rule_ast *a)
{
    switch (a->op) {
    case OP_AND:
    case OP_OR:
        return check_chain(c, a);
    case OP_NOT:
        return check_not(c, a);
    case OP_NEG:
        return check_negative(c, a);
    case OP_TERNARY:
        return check_choice(c, a);
    default:
        return check_pair(c, a);
    }
}

struct rule_node *rule_check(struct rule_checker *c, const struct rule_ast *a)
{
    switch (a->kind) {
    case AST_CONSTANT:
        return check_constant(c, a);
    case AST_LIST:
        return check_list(c, a);
    case AST_MAP:
        return check_map(c, a);
    case AST_OPERATOR:
        return check_operator(c, a);
    case AST_CALL:
        return rule_check_call(c, a);
    case AST_METHOD:
        return rule_check_method(c, a);
    default:
        return rule_check_name(c, a);
    }
}
