/* Who a rule means, from bitmaps alone: one that is made of audiences, tags, and whether there is an address, by and,
 * or, not. Any thread, with the lock of the audiences. */
#include <stdlib.h>

#include "profiler/audience_questions.h"
#include "profiler/rule_number.h"
#include "profiler/rule_tree.h"

/* --- tags and constants ---------------------------------------------------------------------------------------- */

static bool is_constant(const struct rule_node *n)
{
    return n->op == OP_STRING || n->op == OP_NUMBER || n->op == OP_BOOL;
}

/* A comparison of a tag with a constant; `op` as if the tag stood first. */
static bool tag_and_constant(const struct rule_node *n, const struct rule_node **tag, const struct rule_node **constant,
                             enum rule_op *op)
{
    static const enum rule_op turned[] = {
        [OP_EQ] = OP_EQ, [OP_LT] = OP_GT, [OP_LE] = OP_GE, [OP_GT] = OP_LT, [OP_GE] = OP_LE};
    bool first = n->kids[0]->op == OP_TAG;

    *tag = n->kids[!first];
    *constant = n->kids[first];
    *op = first ? n->op : turned[n->op];
    return (*tag)->op == OP_TAG && is_constant(*constant) && (n->op == OP_EQ || (*constant)->op == OP_NUMBER);
}

static struct rule_value value_of(const struct rule_node *constant, struct rule_number *number)
{
    struct rule_value v = {.type = constant->type};

    if (constant->op == OP_STRING)
        v.text = constant->text;
    else if (constant->op == OP_NUMBER) {
        *number = constant->number;
        v.number = number;
    } else
        v.truth = constant->truth;
    return v;
}

static void add_tagged(const struct audiences *a, const struct crowd *p, struct str tag, struct rule_value value,
                       struct bits *to)
{
    struct buf json;
    uint32_t set;

    buf_init(&json, 4 * KIB);
    rule_value_write(&value, &json);
    set = json.failed ? UINT32_MAX : sets_find(&a->sets, 't', tag, buf_str(&json));
    buf_deinit(&json);
    if (set != UINT32_MAX)
        bits_or(to, crowd_set(p, set));
}

static bool compares(int order, enum rule_op op)
{
    switch (op) {
    case OP_LT:
        return order < 0;
    case OP_LE:
        return order <= 0;
    case OP_GT:
        return order > 0;
    default:
        return order >= 0;
    }
}

/* Each value of the tag that somebody has is one set. */
static void add_compared(const struct audiences *a, const struct crowd *p, struct str tag, enum rule_op op,
                         struct rule_number than, struct bits *to)
{
    struct str name, value;
    struct rule_number number;

    for (uint32_t set = 0; set < p->set_cap; set++)
        if (crowd_set(p, set) && set_tag(&a->sets, set, &name, &value) && str_eq(name, tag) &&
            rule_number_read(value, &number) && compares(rule_number_cmp(number, than), op))
            bits_or(to, crowd_set(p, set));
}

static struct bits *compared(const struct audiences *a, const struct crowd *p, const struct rule_node *n)
{
    const struct rule_node *tag, *constant;
    struct rule_number number;
    enum rule_op op;
    struct bits *b = bits_new();

    if (!tag_and_constant(n, &tag, &constant, &op))
        abort();
    if (op == OP_EQ)
        add_tagged(a, p, tag->text, value_of(constant, &number), b);
    else
        add_compared(a, p, tag->text, op, constant->number, b);
    return b;
}

/* --- rules ----------------------------------------------------------------------------------------------------- */

/* has(traits.email), has(traits.phone): REACH_NONE is any other. */
static enum reach reach_of(const struct rule_node *n)
{
    const struct rule_node *kid = n->kids[0];

    for (enum reach r = 0; r < REACH_NONE && kid->op == OP_TRAIT && kid->kid_count == 0; r++)
        if (str_is(kid->text, reach_names[r]))
            return r;
    return REACH_NONE;
}

/* What a tree needs beside the audiences that it names. */
struct use {
    const struct audiences *a;
    bool tags, reach;
};

/* What a number is written as says what it is: of a third that is not so. */
static bool are_whole(const struct audiences *a, struct str tag)
{
    struct str name, value;
    struct rule_number number;

    for (uint32_t set = 0; set < a->sets.n; set++)
        if (set_tag(&a->sets, set, &name, &value) && str_eq(name, tag) && rule_number_read(value, &number) &&
            !rule_number_whole(number))
            return false;
    return true;
}

static bool is_told(const struct rule_node *n, struct use *u)
{
    const struct rule_node *tag, *constant;
    enum rule_op op;

    u->tags = true;
    return tag_and_constant(n, &tag, &constant, &op) && (constant->op != OP_NUMBER || are_whole(u->a, tag->text));
}

static bool is_algebra(const struct rule_node *n, struct use *u)
{

    switch (n->op) {
    case OP_BOOL:
    case OP_IN_AUDIENCE:
        return true;
    case OP_TAG:
        u->tags = true;
        return n->type == RULE_BOOL;
    case OP_HAS:
        u->reach = true;
        return reach_of(n) != REACH_NONE;
    case OP_EQ:
    case OP_LT:
    case OP_LE:
    case OP_GT:
    case OP_GE:
        return is_told(n, u);
    case OP_AND:
    case OP_OR:
    case OP_NOT:
        for (size_t i = 0; i < n->kid_count; i++)
            if (!is_algebra(n->kids[i], u))
                return false;
        return true;
    default:
        return false;
    }
}

static const struct bits *members_of(const struct audiences *a, const struct crowd *p, struct str name)
{
    uint32_t set = sets_find(&a->sets, 'a', name, STR_NONE);

    return set != UINT32_MAX && world_find(a->world, name) != SIZE_MAX ? crowd_set(p, set) : NULL;
}

static const struct bits *reached(const struct audiences *a, const struct crowd *p, enum reach r)
{
    uint32_t set = sets_find(&a->sets, 'h', str_of(reach_names[r]), STR_NONE);

    return set == UINT32_MAX ? NULL : crowd_set(p, set);
}

/* Rules are at most LIMIT_RULE_DEPTH deep. */
static struct bits *solve(const struct audiences *a, const struct crowd *p, const struct rule_node *n)
{
    struct bits *b, *other;

    switch (n->op) {
    case OP_BOOL:
        return bits_copy(n->truth ? p->people.everybody : NULL);
    case OP_IN_AUDIENCE:
        return bits_copy(members_of(a, p, n->text));
    case OP_HAS:
        return bits_copy(reached(a, p, reach_of(n)));
    case OP_TAG:
        b = bits_new();
        add_tagged(a, p, n->text, (struct rule_value){.type = RULE_BOOL, .truth = true}, b);
        return b;
    case OP_NOT:
        b = bits_copy(p->people.everybody);
        other = solve(a, p, n->kids[0]);
        bits_without(b, other);
        bits_free(other);
        return b;
    case OP_AND:
    case OP_OR:
        b = solve(a, p, n->kids[0]);
        for (size_t i = 1; i < n->kid_count; i++) {
            other = solve(a, p, n->kids[i]);
            if (n->op == OP_AND)
                bits_and(b, other);
            else
                bits_or(b, other);
            bits_free(other);
        }
        return b;
    default:
        return compared(a, p, n);
    }
}

/* --- whether bitmaps tell -------------------------------------------------------------------------------------- */

/* The live audience that has the same rule; SIZE_MAX: there is none. */
static size_t same_rule(const struct audiences *a, const struct rule *rule)
{
    struct buf text;
    size_t found = SIZE_MAX;

    buf_init(&text, MIB);
    if (rule_canonical(rule, &text))
        for (size_t i = 0; i < a->world->n && found == SIZE_MAX; i++)
            if (a->world->v[i].rule && !a->building[i] && str_eq(a->world->v[i].canonical, buf_str(&text)))
                found = i;
    buf_deinit(&text);
    return found;
}

/* Everybody here has been judged by the rules that stand. */
static bool all_whole(const struct audiences *a)
{
    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (a->parts[i].here && !atomic_load(&a->parts[i].whole))
            return false;
    return true;
}

/* Bitmaps of tags are whole when no value was left without one. */
static bool from_bitmaps(const struct audiences *a, const struct rule *rule)
{
    struct use u = {.a = a};

    if (!is_algebra(rule->root, &u))
        return false;
    for (size_t i = 0; i < rule->audience_count; i++) {
        size_t at = world_find(a->world, rule->audiences[i]);

        if (at != SIZE_MAX && a->building[at])
            return false;
    }
    if (u.tags && a->sets.tags_used >= LIMIT_AUDIENCE_SETS - LIMIT_AUDIENCES)
        return false;
    return (!u.tags && !u.reach) || all_whole(a);
}

struct bits *solve_rule(const struct audiences *a, const struct crowd *p, const struct rule *rule)
{
    size_t same = same_rule(a, rule);

    if (same != SIZE_MAX)
        return bits_copy(members_of(a, p, a->world->v[same].name));
    return from_bitmaps(a, rule) ? solve(a, p, rule->root) : NULL;
}

/* --- counting -------------------------------------------------------------------------------------------------- */

static uint64_t count_both(const struct bits *who, const struct bits *other)
{
    struct bits *b = bits_copy(who);

    bits_and(b, other);
    uint64_t n = bits_count(b);
    bits_free(b);
    return n;
}

static bool add_counts(const struct audiences *a, const struct crowd *p, const struct rule *rule,
                       struct audience_bits *out)
{
    struct bits *who = solve_rule(a, p, rule);

    if (!who)
        return false;
    out->count += bits_count(who);
    for (enum reach r = 0; r < REACH_NONE && out->reach_known; r++)
        out->reach[r] += count_both(who, reached(a, p, r));
    bits_free(who);
    return true;
}

void audiences_count_bits(struct audiences *a, const struct rule *const *rules, size_t n, struct audience_bits *out)
{
    pthread_rwlock_rdlock(&a->lock);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct audience_bits){.known = a->world, .reach_known = a->world && all_whole(a)};
        for (uint32_t p = 0; p < a->o.partitions && out[i].known; p++)
            if (crowd_tells(&a->parts[p]))
                out[i].known = add_counts(a, &a->parts[p], rules[i], &out[i]);
    }
    pthread_rwlock_unlock(&a->lock);
}
