/* The compiler of rules on any text: what it accepts has one canonical text, which compiles to the same; what it
 * refuses has a place inside the text and words; its clauses compile by themselves. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "profiler/rule.h"
#include "profiler/rule_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool held)
{
    if (!held)
        abort();
}

static const struct rule_names *names(void)
{
    static const struct rule_tag tags[] = {{{"lifecycle", 9}, RULE_STRING}, {{"vip", 3}, RULE_BOOL}};
    static struct rule_names all = {.tags = tags, .tag_count = 2};
    struct buf errors;

    if (!all.traits) {
        buf_init(&errors, 1 << 16);
        all.traits = vocabulary_load(NULL, &errors);
        must(all.traits != NULL);
        buf_deinit(&errors);
    }
    return &all;
}

/* A refused rule says where: no further than one past the text. */
static void check_error(const struct rule_error *e, struct str text)
{
    unsigned lines = 1;

    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    must(e->line >= 1 && e->line <= lines && e->column >= 1 && e->column <= text.n + 1);
    must(e->message[0] != '\0' && memchr(e->message, '\0', sizeof e->message));
    must(memchr(e->suggestion, '\0', sizeof e->suggestion) != NULL);
}

static size_t check_node(const struct rule_node *n, size_t length, unsigned depth)
{
    size_t count = 1;

    must(n->op < OP_COUNT_OF_OPS && n->op != OP_NULL && n->type < RULE_TYPES);
    must(n->from <= n->to && n->to <= length && n->line >= 1 && n->column >= 1);
    must(n->op != OP_NUMBER || n->number.below > 0);
    must(depth <= LIMIT_RULE_DEPTH + 2);
    for (size_t i = 0; i < n->kid_count; i++)
        count += check_node(n->kids[i], length, depth + 1);
    return count;
}

/* The canonical text is that of the rule that it is, too, and needs the same. */
static void check_canonical(const struct rule *r)
{
    struct rule *again = NULL;
    struct rule_error e;
    struct buf first, second;

    buf_init(&first, 1 << 20);
    buf_init(&second, 1 << 20);
    must(rule_canonical(r, &first));
    if (first.n <= LIMIT_RULE_BYTES) {
        must(rule_compile(buf_str(&first), RULE_ANY, names(), &again, &e) == 0);
        must(rule_canonical(again, &second));
        must(str_eq(buf_str(&first), buf_str(&second)));
        must(rule_needs(r) == rule_needs(again) && rule_type(r) == rule_type(again));
        must(rule_personal(r) == rule_personal(again));
    }
    rule_free(again);
    buf_deinit(&first);
    buf_deinit(&second);
}

static void check_clauses(const struct rule *r)
{
    struct str clauses[64];
    size_t n = rule_clauses(r, clauses, 64);
    struct rule *part;
    struct rule_error e;

    must(n >= 1);
    for (size_t i = 0; i < n; i++) {
        must(rule_compile(clauses[i], RULE_ANY, names(), &part, &e) == 0);
        rule_free(part);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char none[1];
    struct str text = {n ? (const char *)data : none, n};
    const struct rule_warning *warnings;
    struct rule *r = NULL;
    struct rule_error e;
    int result = rule_compile(text, RULE_ANY, names(), &r, &e);

    if (result != 0) {
        must(!r);
        check_error(&e, text);
        return 0;
    }
    must(check_node(r->root, text.n, 1) <= 2 * LIMIT_RULE_NODES);
    must(rule_warnings(r, &warnings) <= LIMIT_RULE_WARNINGS);
    check_canonical(r);
    check_clauses(r);
    rule_free(r);
    return 0;
}
