/* Why a rule is what it is for a person: every comparison and function in it with its operands. Each is evaluated by
 * itself, those that decide nothing too. A look-up thread. */
#include <assert.h>
#include <errno.h>

#include "common/json.h"
#include "profiler/rule_eval_inside.h"

struct explaining {
    const struct rule *rule;
    struct eval *e;
    bool pii;
    struct buf *out;
    bool first;
};

static bool is_comparison(enum rule_op op)
{
    return op >= OP_EQ && op <= OP_IN;
}

static bool is_logic(enum rule_op op)
{
    return op == OP_AND || op == OP_OR || op == OP_NOT;
}

static bool is_function(enum rule_op op)
{
    return op >= OP_SIZE && op < OP_COUNT_OF_OPS;
}

static bool is_name(enum rule_op op)
{
    return op >= OP_NOW && op <= OP_PROPERTY;
}

/* Whether its kids are about an event that is not at hand. */
static bool is_about_events(enum rule_op op)
{
    return op == OP_COUNT;
}

static bool is_personal(const struct rule_node *n)
{
    bool personal = n->personal;

    for (size_t i = 0; i < n->kid_count && !personal; i++)
        personal = is_personal(n->kids[i]);
    return personal;
}

/* What is true or false tells no value. */
static int write_masked(struct explaining *x, const struct rule_node *n, const struct rule_value *v)
{
    if (!x->pii && v->type != RULE_BOOL && v->type != RULE_ANY && is_personal(n))
        buf_add_text(x->out, "\"***\"");
    else
        rule_value_write(v, x->out);
    return 0;
}

static int write_value(struct explaining *x, const struct rule_node *n)
{
    struct cell c;
    int rc = eval_node(x->e, n, &c);

    return rc ? rc : write_masked(x, n, &c.v);
}

/* Of functions the kids; those of events have their constants in the text. */
static int write_operands(struct explaining *x, const struct rule_node *n)
{
    int rc = 0;

    buf_add_text(x->out, ",\"operands\":[");
    for (size_t i = 0; i < n->kid_count && rc == 0 && !is_about_events(n->op) && n->op != OP_LAST; i++) {
        if (i > 0)
            buf_add_char(x->out, ',');
        rc = write_value(x, n->kids[i]);
    }
    buf_add_char(x->out, ']');
    return rc;
}

static int write_line(struct explaining *x, const struct rule_node *n)
{
    const struct str text = {x->rule->text.p + n->from, n->to - n->from};
    int rc;

    assert(n->from <= n->to && n->to <= x->rule->text.n);
    buf_add_text(x->out, x->first ? "{\"expression\":" : ",{\"expression\":");
    x->first = false;
    json_write_str(x->out, text);
    buf_add_text(x->out, ",\"value\":");
    rc = write_value(x, n);
    if (rc == 0)
        rc = write_operands(x, n);
    buf_add_char(x->out, '}');
    return rc;
}

/* `clause`: it stands where a truth is asked for. */
static int explain_node(struct explaining *x, const struct rule_node *n, bool clause)
{
    const bool logic = is_logic(n->op);
    int rc = 0;

    if (is_comparison(n->op) || is_function(n->op) || (clause && is_name(n->op)))
        rc = write_line(x, n);
    for (size_t i = 0; i < n->kid_count && rc == 0 && !is_about_events(n->op); i++)
        rc = explain_node(x, n->kids[i], logic || (n->op == OP_TERNARY && (i == 0 || clause)));
    return rc;
}

int rule_explain(const struct rule *r, struct rule_subject *s, bool pii, struct buf *out)
{
    struct eval e = {.s = s, .arena = s->arena, .next = INT64_MAX};
    struct explaining x = {.rule = r, .e = &e, .pii = pii, .out = out, .first = true};
    int rc;

    buf_add_char(out, '[');
    rc = explain_node(&x, r->root, true);
    if (rc == 0 && x.first) /* a constant, or a sum of names */
        rc = write_line(&x, r->root);
    buf_add_char(out, ']');
    return rc;
}
