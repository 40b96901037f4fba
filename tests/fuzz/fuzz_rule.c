/* The compiler of rules on any text: what it accepts has one canonical text, which compiles to the same; what it
 * refuses has a place inside the text and words; its clauses compile by themselves. What it accepts is judged about
 * somebody who did nothing and about somebody who did a little: the value has the type that was promised, and is that
 * of the canonical text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "profiler/rule.h"
#include "profiler/rule_eval.h"
#include "profiler/rule_tree.h"
#include "proto/codec.h"

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

#define NOW INT64_C(1700000000000)
#define EVENTS 4

static const struct fold_rules rules = {
    .session_gap_ms = 1800000, .currency = "GBP", .touch_window_ms = 30 * INT64_C(86400000)};

static int unpack(void *arg, const struct path_entry *entry, struct event *out)
{
    return event_unpack(entry->bytes, arg, out);
}

/* Somebody who did the first `n` of a few things. */
static void make_person(struct arena *a, size_t n, struct path_entry *path, struct facts *facts)
{
    struct item item = {.category = STR_LIT("Shoes"), .color = STR_LIT("red"), .listed_at = TIME_NONE};
    struct fold_input in = {.path = path, .path_count = n, .decode = unpack, .arg = a};
    struct event e = {.type = EVENT_TRACK,
                      .trust = TRUST_SERVER,
                      .name = STR_LIT("Product Viewed"),
                      .source = STR_LIT("web"),
                      .anonymous_id = STR_LIT("d"),
                      .items = &item,
                      .item_count = 1,
                      .original_time = TIME_NONE,
                      .sent = TIME_NONE};
    struct buf b;

    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < n; i++) {
        e.type = i % 2 ? EVENT_PAGE : EVENT_TRACK;
        e.time = e.received = NOW - (int64_t)(n - i) * 86400000;
        e.uid.b[0] = (unsigned char)i;
        buf_reset(&b);
        must(event_pack(&e, &b));
        path[i] = (struct path_entry){
            .key = event_key(&e), .flags = entry_flags(&e, &rules), .bytes = arena_dup(a, buf_str(&b))};
    }
    buf_deinit(&b);
    must(facts_fold(&in, &rules, facts) == 0);
}

/* Appends the value as JSON, and checks what it is. */
static void judge(const struct rule *r, size_t n, struct buf *out)
{
    struct arena a;
    struct facts facts;
    struct path_entry path[EVENTS];
    struct rule_subject s = {.now = NOW, .rules = &rules, .facts = &facts, .path = path, .path_count = n, .arena = &a};
    struct rule_result result;
    struct buf explained;

    arena_init(&a, 256 << 20);
    make_person(&a, n, path, &facts);
    must(rule_eval(r, &s, &result) == 0);
    must(result.value.type == RULE_ANY || rule_type(r) == RULE_ANY || result.value.type == rule_type(r));
    must(result.next_change == TIME_NONE || result.next_change > NOW);
    rule_value_write(&result.value, out);
    buf_init(&explained, 64 << 20);
    must(rule_explain(r, &s, true, &explained) == 0);
    buf_deinit(&explained);
    rule_subject_done(&s);
    facts_deinit(&facts);
    arena_deinit(&a);
}

static void check_values(const struct rule *r, const struct rule *again)
{
    struct buf first, second;

    buf_init(&first, 1 << 20);
    buf_init(&second, 1 << 20);
    for (size_t n = 0; n <= EVENTS; n += EVENTS) {
        judge(r, n, &first);
        judge(again, n, &second);
    }
    must(str_eq(buf_str(&first), buf_str(&second)));
    buf_deinit(&first);
    buf_deinit(&second);
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
        check_values(r, again);
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
