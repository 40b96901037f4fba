/* A rule as every writer would have it: one blank around operators, brackets only where they are needed, constants in
 * one form. It compiles to the same tree. Any thread. */
#include <assert.h>

#include "profiler/rule_check.h"
#include "profiler/rule_lex.h"
#include "profiler/rule_number.h"

/* How strongly what is written binds. */
enum { BIND_CHOICE, BIND_OR, BIND_AND, BIND_RELATION, BIND_SUM, BIND_PRODUCT, BIND_UNARY, BIND_POSTFIX };

static void write_node(const struct rule_node *n, int least, struct buf *b);

static void write_text(struct str s, struct buf *b)
{
    buf_add_char(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            buf_addf(b, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            buf_addf(b, "\\u%04x", c);
        else
            buf_add_char(b, s.p[i]);
    }
    buf_add_char(b, '"');
}

static void write_digits(__int128 v, size_t least, struct buf *b)
{
    char digits[48];
    size_t n = 0;

    assert(v >= 0);
    for (; v > 0 || n < least; v /= 10)
        digits[n++] = (char)('0' + (int)(v % 10));
    while (n > 0)
        buf_add_char(b, digits[--n]);
}

static int number_binding(struct rule_number v)
{
    unsigned places;
    __int128 digits;

    if (!rule_decimal(v, &places, &digits))
        return BIND_PRODUCT;
    return rule_number_sign(v) < 0 ? BIND_UNARY : BIND_POSTFIX;
}

static void write_number(struct rule_number v, struct buf *b)
{
    unsigned places;
    __int128 digits, scale = 1;

    if (v.above < 0)
        buf_add_char(b, '-');
    if (!rule_decimal(v, &places, &digits)) {
        write_digits(v.above < 0 ? -v.above : v.above, 1, b);
        buf_add_text(b, " / ");
        write_digits(v.below, 1, b);
        return;
    }
    for (unsigned i = 0; i < places; i++)
        scale *= 10;
    write_digits(digits / scale, 1, b);
    if (places > 0) {
        buf_add_char(b, '.');
        write_digits(digits % scale, places, b);
    }
}

static void write_duration(int64_t ms, struct buf *b)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "days"}, {3600000, "hours"}, {60000, "minutes"}};

    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (ms % units[i].ms == 0) {
            buf_addf(b, "%s(%lld)", units[i].name, (long long)(ms / units[i].ms));
            return;
        }
    buf_addf(b, "duration(\"%lldms\")", (long long)ms);
}

/* A window: whole days as a number. */
static void write_window(int64_t ms, struct buf *b)
{
    buf_add_text(b, ", ");
    if (ms % 86400000 == 0)
        buf_addf(b, "%lld", (long long)(ms / 86400000));
    else
        write_duration(ms, b);
}

static bool is_name(struct str s)
{
    if (s.n == 0 || str_is(s, "in") || str_is(s, "true") || str_is(s, "false") || str_is(s, "null"))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return true;
}

static void write_field(struct str name, struct buf *b)
{
    if (is_name(name)) {
        buf_add_char(b, '.');
        buf_add_str(b, name);
        return;
    }
    buf_add_char(b, '[');
    write_text(name, b);
    buf_add_char(b, ']');
}

/* A name of a group and the fields and keys behind it. */
static void write_path(const char *group, const struct rule_node *n, struct buf *b)
{
    buf_add_text(b, group);
    if (n->op == OP_LAST) {
        write_text(n->text, b);
        buf_add_char(b, ')');
    } else {
        write_field(n->text, b);
    }
    for (size_t i = 0; i < n->kid_count; i++) {
        if (n->kids[i]->op == OP_STRING) {
            write_field(n->kids[i]->text, b);
            continue;
        }
        buf_add_char(b, '[');
        write_node(n->kids[i], BIND_CHOICE, b);
        buf_add_char(b, ']');
    }
}

static void write_figure(const struct rule_node *n, struct buf *b)
{
    if (n->op == OP_BY)
        buf_addf(b, "by.%s[", rule_by_names[n->by.group]);
    else
        buf_add_text(b, "amounts_by_currency[");
    write_node(n->kids[0], BIND_CHOICE, b);
    buf_add_char(b, ']');
    if (n->by.figure != FIGURE_COUNT)
        buf_addf(b, ".%s", rule_figure_names[n->by.figure]);
}

static void write_row(const struct rule_node *n, size_t from, struct buf *b)
{
    for (size_t i = from; i < n->kid_count; i++) {
        if (i > from)
            buf_add_text(b, n->op == OP_MAP && i % 2 ? ": " : ", ");
        write_node(n->kids[i], BIND_CHOICE, b);
    }
}

static void write_call(const char *name, const struct rule_node *n, struct buf *b)
{
    buf_add_text(b, name);
    buf_add_char(b, '(');
    write_row(n, 0, b);
    buf_add_char(b, ')');
}

static void write_method(const char *name, const struct rule_node *n, struct buf *b)
{
    write_node(n->kids[0], BIND_POSTFIX, b);
    buf_addf(b, ".%s(", name);
    write_row(n, 1, b);
    buf_add_char(b, ')');
}

/* Functions whose first argument is a name of events. */
static void write_scan(const char *name, const struct rule_node *n, struct buf *b)
{
    buf_addf(b, "%s(", name);
    write_text(n->text, b);
    if (n->second.p) {
        buf_add_text(b, ", ");
        write_text(n->second, b);
    }
    if (n->op == OP_INTEREST) {
        write_window(n->within_ms, b);
    } else if (n->within_ms != RULE_EVER) {
        buf_add_text(b, ", ");
        write_duration(n->within_ms, b);
    }
    if (n->window_ms != RULE_EVER)
        write_window(n->window_ms, b);
    if (n->kid_count) {
        buf_add_text(b, ", ");
        write_node(n->kids[0], BIND_CHOICE, b);
    }
    buf_add_char(b, ')');
}

static void write_sum(const struct rule_node *n, struct buf *b)
{
    static const char *const sums[] = {[SUM_SPENT] = "spent", [SUM_GROSS] = "gross", [SUM_ITEMS] = "items"};

    buf_addf(b, "sum(\"%s\"", sums[n->money]);
    if (n->window_ms != RULE_EVER)
        write_window(n->window_ms, b);
    buf_add_char(b, ')');
}

static void write_group(const char *name, const struct rule_node *n, struct buf *b)
{
    buf_addf(b, "%s(\"%s\"", name, rule_by_names[n->by.group]);
    if (n->by.figure != FIGURES_NONE)
        buf_addf(b, ", \"%s\"", rule_figure_names[n->by.figure]);
    buf_add_char(b, ')');
}

static void write_named(const char *name, const struct rule_node *n, struct buf *b)
{
    buf_addf(b, "%s(", name);
    write_text(n->text, b);
    buf_add_char(b, ')');
}

static bool write_constant(const struct rule_node *n, struct buf *b)
{
    switch (n->op) {
    case OP_BOOL:
        buf_add_text(b, n->truth ? "true" : "false");
        return true;
    case OP_NUMBER:
        write_number(n->number, b);
        return true;
    case OP_STRING:
        write_text(n->text, b);
        return true;
    case OP_DURATION:
        write_duration(n->ms, b);
        return true;
    case OP_LIST:
    case OP_MAP:
        buf_add_char(b, n->op == OP_LIST ? '[' : '{');
        write_row(n, 0, b);
        buf_add_char(b, n->op == OP_LIST ? ']' : '}');
        return true;
    default:
        return false;
    }
}

static bool write_name(const struct rule_node *n, struct buf *b)
{
    static const char *const groups[OP_COUNT_OF_OPS] = {
        [OP_TRAIT] = "traits", [OP_TAG] = "tags", [OP_CONSENT] = "consent", [OP_PROPERTY] = "e", [OP_LAST] = "last("};

    if (groups[n->op])
        write_path(groups[n->op], n, b);
    else if (n->op == OP_BY || n->op == OP_AMOUNTS)
        write_figure(n, b);
    else if (n->op == OP_NOW)
        buf_add_text(b, "now");
    else if (n->op == OP_FACT)
        buf_add_text(b, rule_facts[n->fact].name);
    else
        return false;
    return true;
}

/* Functions that each have a form of their own. */
static void write_special(const struct rule_node *n, struct buf *b)
{
    switch (n->op) {
    case OP_SUM:
        write_sum(n, b);
        return;
    case OP_TOP:
        write_group("top", n, b);
        return;
    case OP_NAMES:
        write_group("names", n, b);
        return;
    case OP_IN_AUDIENCE:
        write_named("in_audience", n, b);
        return;
    case OP_EXPORTED:
        write_named("exported", n, b);
        return;
    case OP_QUINTILE:
        buf_addf(b, "quintile(%s)", rule_facts[n->fact].name);
        return;
    default:
        assert(n->op == OP_INDEX);
        write_node(n->kids[0], BIND_POSTFIX, b);
        buf_add_char(b, '[');
        write_node(n->kids[1], BIND_CHOICE, b);
        buf_add_char(b, ']');
    }
}

/* Everything that is no operator. */
static void write_value(const struct rule_node *n, struct buf *b)
{
    static const char *const calls[OP_COUNT_OF_OPS] = {[OP_SIZE] = "size",
                                                       [OP_LOWER] = "lower",
                                                       [OP_UPPER] = "upper",
                                                       [OP_TO_INT] = "int",
                                                       [OP_TO_DOUBLE] = "double",
                                                       [OP_TO_STRING] = "string",
                                                       [OP_HAS] = "has",
                                                       [OP_TIMESTAMP] = "timestamp",
                                                       [OP_TODAY] = "today",
                                                       [OP_DATE] = "date",
                                                       [OP_MONTH] = "month",
                                                       [OP_DAYS_SINCE] = "days_since",
                                                       [OP_ANNIVERSARY] = "anniversary"};
    static const char *const methods[OP_COUNT_OF_OPS] = {
        [OP_CONTAINS] = "contains", [OP_STARTS_WITH] = "startsWith", [OP_ENDS_WITH] = "endsWith", [OP_TRIM] = "trim"};
    static const char *const scans[OP_COUNT_OF_OPS] = {[OP_COUNT] = "count",
                                                       [OP_FOLLOWED_BY] = "followed_by",
                                                       [OP_NOT_FOLLOWED_BY] = "not_followed_by",
                                                       [OP_INTEREST] = "interest"};

    if (calls[n->op]) {
        write_call(calls[n->op], n, b);
        return;
    }
    if (methods[n->op]) {
        write_method(methods[n->op], n, b);
        return;
    }
    if (scans[n->op]) {
        write_scan(scans[n->op], n, b);
        return;
    }
    if (!write_constant(n, b) && !write_name(n, b))
        write_special(n, b);
}

static int binding(const struct rule_node *n)
{
    switch (n->op) {
    case OP_TERNARY:
        return BIND_CHOICE;
    case OP_OR:
        return BIND_OR;
    case OP_AND:
        return BIND_AND;
    case OP_EQ:
    case OP_NE:
    case OP_LT:
    case OP_LE:
    case OP_GT:
    case OP_GE:
    case OP_IN:
        return BIND_RELATION;
    case OP_ADD:
    case OP_SUB:
        return BIND_SUM;
    case OP_MUL:
    case OP_DIV:
    case OP_MOD:
        return BIND_PRODUCT;
    case OP_NOT:
    case OP_NEG:
        return BIND_UNARY;
    case OP_NUMBER:
        return number_binding(n->number);
    default:
        return BIND_POSTFIX;
    }
}

static void write_operator(const struct rule_node *n, int level, struct buf *b)
{
    struct str text = rule_operator_text(n->op);

    if (n->op == OP_TERNARY) {
        write_node(n->kids[0], BIND_OR, b);
        buf_add_text(b, " ? ");
        write_node(n->kids[1], BIND_OR, b);
        buf_add_text(b, " : ");
        write_node(n->kids[2], BIND_CHOICE, b);
        return;
    }
    if (n->kid_count == 1)
        buf_add_str(b, text);
    for (size_t i = 0; i < n->kid_count; i++) {
        if (i > 0) {
            buf_add_char(b, ' ');
            buf_add_str(b, text);
            buf_add_char(b, ' ');
        }
        /* What stands first may be of the same strength: it is read from the left. */
        write_node(n->kids[i], level + (i > 0 || level <= BIND_AND), b);
    }
}

static void write_node(const struct rule_node *n, int least, struct buf *b)
{
    int level = binding(n);

    if (level < least)
        buf_add_char(b, '(');
    if (level == BIND_POSTFIX || n->op == OP_NUMBER)
        write_value(n, b);
    else
        write_operator(n, level, b);
    if (level < least)
        buf_add_char(b, ')');
}

bool rule_canonical(const struct rule *r, struct buf *b)
{
    write_node(r->root, BIND_CHOICE, b);
    return !b->failed;
}
