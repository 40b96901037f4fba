/* Values that people get from tags: the first rule that is true, what is set by hand, and when time changes them; and
 * the shipped set for people made by chance. */
#include "common/buf.h"
#include "profiler/cuts.h"
#include "profiler/marks.h"
#include "profiler/rule_tree.h"
#include "profiler/tags.h"
#include "tests/support/rule_case.h"

#define NOW (INT64_C(1323475200000)) /* 2011-12-10 */
#define TAGS_MOST 64

static struct tags *parse(const char *text)
{
    struct buf errors;
    struct tags *t = NULL;

    buf_init(&errors, MIB);
    if (tags_parse("t", str_of(text), NULL, &t, &errors, NULL) != 0)
        fail_msg("%.*s", STR_ARG(buf_str(&errors)));
    buf_deinit(&errors);
    return t;
}

struct judged {
    char text[8192];
    int64_t next;
};

static struct judged judge(struct tags *t, struct rule_person *p, int64_t now)
{
    struct rule_subject s = person_subject(p, now);
    struct rule_value values[TAGS_MOST];
    struct judged out;
    struct buf b;

    assert_true(tags_count(t) <= TAGS_MOST);
    assert_int_equal(tags_eval(t, &s, values, &out.next), 0);
    buf_init(&b, sizeof out.text - 1);
    assert_int_equal(tags_write_json(t, values, &s, &b), 0);
    assert_true(out.next == TIME_NONE || out.next > now);
    memcpy(out.text, b.p, b.n);
    out.text[b.n] = '\0';
    buf_deinit(&b);
    rule_subject_done(&s);
    return out;
}

#define assert_tags(t, p, now, want)                                                                                   \
    do {                                                                                                               \
        struct judged got_ = judge(t, p, now);                                                                         \
        if (strcmp(got_.text, want) != 0)                                                                              \
            fail_msg("%s, not %s", got_.text, want);                                                                   \
    } while (0)

static void orders(struct rule_person *p, int n, int64_t first, int64_t gap)
{
    for (int i = 0; i < n; i++) {
        char *id = arena_alloc(&p->arena, 16);
        snprintf(id, 16, "O%d", i);
        person_states(p, id, STATUS_CREATED, first + i * gap, 100);
    }
}

/* One piece of that category in the order that event states. */
static void bought(struct rule_person *p, size_t i, const char *category)
{
    person_item(p, &p->events[i])->category = str_of(category);
    p->events[i].order.has_items = true;
}

/* --- rules ------------------------------------------------------------------------------------------------------ */

static void the_first_rule_that_is_true_gives_the_value(void **state)
{
    struct tags *t = parse("level: {values: [{gold: orders >= 3}, {silver: orders >= 2}, {bronze: orders >= 1}]}\n"
                           "points: {rule: orders * 2.5}\n"
                           "regular: {rule: tags.level == \"gold\" || tags.level == \"silver\"}\n"
                           "pause: {rule: mean_days_between_orders}\n"
                           "rank: {values: [{1: orders > 2}, {2: true}]}\n");
    struct rule_person *p = person_new();

    (void)state;
    assert_tags(t, p, NOW, "{\"points\":0,\"regular\":false,\"rank\":2}");
    person_unmake(p);
    orders(p, 2, NOW - 20 * DAY, 5 * DAY);
    assert_tags(t, p, NOW, "{\"level\":\"silver\",\"points\":5,\"regular\":true,\"pause\":5,\"rank\":2}");
    person_unmake(p);
    p->n = 0;
    orders(p, 3, NOW - 20 * DAY, 5 * DAY);
    assert_tags(t, p, NOW, "{\"level\":\"gold\",\"points\":7.5,\"regular\":true,\"pause\":5,\"rank\":1}");
    person_free(p);
    tags_unref(t);
}

static void the_next_change_is_the_first_over_all(void **state)
{
    struct tags *t = parse("a: {values: [{late: days_since(last_order_at) > 30}, {early: orders > 0}]}\n"
                           "b: {values: [{x: orders > 0}, {never: days_since(last_order_at) > 1}]}\n");
    struct rule_person *p = person_new();

    (void)state;
    orders(p, 1, NOW, DAY);
    struct judged j = judge(t, p, NOW);
    assert_string_equal(j.text, "{\"a\":\"early\",\"b\":\"x\"}");
    assert_true(j.next == NOW + 30 * DAY + 1); /* what is behind the rule that gives b cannot change it */
    assert_tags(t, p, j.next - 1, "{\"a\":\"early\",\"b\":\"x\"}");
    assert_tags(t, p, j.next, "{\"a\":\"late\",\"b\":\"x\"}");
    assert_true(judge(t, p, j.next).next == TIME_NONE);
    person_free(p);
    tags_unref(t);
}

/* --- set by hand ------------------------------------------------------------------------------------------------ */

static void set_mark(struct traits *t, struct arena *a, const char *name, const char *value, int64_t time,
                     int64_t until)
{
    static const struct traits_rules rules = {0};
    const struct mark m = {.kind = MARK_TAG,
                           .name = str_of(name),
                           .value = value ? str_of(value) : STR_NONE,
                           .time = time,
                           .until = until,
                           .source = STR_LIT("crm")};
    struct event e;

    assert_int_equal(mark_event(&m, STR_LIT("user:42"), time, a, &e), 0);
    assert_int_equal(traits_add_event(t, &e, &rules), TRAITS_OK);
}

static void what_is_set_by_hand_wins_until_its_end(void **state)
{
    struct tags *t = parse("level: {values: [{gold: orders >= 3}, {none: 'true'}]}\n"
                           "good: {rule: tags.level == \"gold\"}\n"
                           "vip: {type: bool}\n");
    struct rule_person *p = person_new();
    struct arena a;
    struct traits traits;

    (void)state;
    arena_init(&a, MIB);
    traits_init(&traits);
    p->traits = &traits;
    set_mark(&traits, &a, "level", "\"gold\"", NOW - 5, NOW + DAY);
    set_mark(&traits, &a, "vip", "true", NOW - 5, TIME_NONE);
    set_mark(&traits, &a, "sales_note", "\"calls back\"", NOW - 5, NOW + 2 * DAY);
    struct judged j = judge(t, p, NOW);
    assert_string_equal(j.text, "{\"level\":\"gold\",\"good\":true,\"vip\":true,\"sales_note\":\"calls back\"}");
    assert_true(j.next == NOW + DAY);
    j = judge(t, p, NOW + DAY);
    assert_string_equal(j.text, "{\"level\":\"none\",\"good\":false,\"vip\":true,\"sales_note\":\"calls back\"}");
    assert_true(j.next == NOW + 2 * DAY); /* also of one that no rule gives */
    j = judge(t, p, NOW + 2 * DAY);
    assert_string_equal(j.text, "{\"level\":\"none\",\"good\":false,\"vip\":true}");
    assert_true(j.next == TIME_NONE);
    set_mark(&traits, &a, "vip", NULL, NOW + 1, TIME_NONE);
    assert_tags(t, p, NOW + 2 * DAY, "{\"level\":\"none\",\"good\":false}");
    person_free(p);
    traits_deinit(&traits);
    arena_deinit(&a);
    tags_unref(t);
}

static void a_value_of_another_type_is_none(void **state)
{
    struct tags *t = parse("level: {values: [{gold: 'true'}]}\nvip: {type: bool}\nn: {type: number}\n");
    struct rule_person *p = person_new();
    struct arena a;
    struct traits traits;
    struct err e;

    (void)state;
    arena_init(&a, MIB);
    traits_init(&traits);
    p->traits = &traits;
    set_mark(&traits, &a, "level", "5", NOW - 5, NOW + DAY);
    set_mark(&traits, &a, "vip", "\"true\"", NOW - 5, TIME_NONE);
    set_mark(&traits, &a, "n", "1.50", NOW - 5, TIME_NONE);
    assert_tags(t, p, NOW, "{\"level\":\"gold\",\"n\":1.5}");
    assert_true(tags_fits(t, STR_LIT("level"), STR_LIT("\"x\""), &e));
    assert_false(tags_fits(t, STR_LIT("level"), STR_LIT("5"), &e));
    assert_string_equal(e.text, "level is a string");
    assert_true(tags_fits(t, STR_LIT("other"), STR_LIT("5"), &e));
    assert_false(tags_fits(t, STR_LIT("other"), STR_LIT("[5]"), &e));
    assert_false(tags_fits(t, STR_LIT("other"), STR_LIT("null"), &e));
    assert_false(tags_fits(t, STR_LIT("other"), STR_LIT("{}"), &e));
    person_free(p);
    traits_deinit(&traits);
    arena_deinit(&a);
    tags_unref(t);
}

/* --- the shipped set -------------------------------------------------------------------------------------------- */

static uint64_t seed = 7;

static unsigned below(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % n);
}

static struct tags *shipped(void)
{
    struct buf errors;
    struct tags *t = NULL;

    buf_init(&errors, MIB);
    if (tags_load(NULL, NULL, &t, &errors, NULL) != 0)
        fail_msg("%.*s", STR_ARG(buf_str(&errors)));
    buf_deinit(&errors);
    return t;
}

static void make_person(struct rule_person *p)
{
    static const char *const categories[] = {"Shoes", "Hats", "Coats", "Socks", "Bags", "Belts"};
    unsigned n = below(10), views = below(8);

    orders(p, (int)n, NOW - (int64_t)below(700) * DAY, (int64_t)(1 + below(90)) * DAY);
    for (size_t i = 0; i < p->n; i++) {
        p->events[i].order.discount = (struct opt){below(3) == 0, below(60) * MICROS};
        p->events[i].order.channel = below(2) ? STR_LIT("web") : STR_LIT("store");
        bought(p, i, categories[below(6)]);
    }
    for (unsigned i = 0; i < views; i++) {
        struct event *e = person_view(p, NOW - (int64_t)below(100) * DAY, "red");
        p->items[p->n - 1].category = str_of(categories[below(6)]);
        (void)e;
    }
    if (n > 0 && below(3) == 0)
        person_refund(p, "O0", NOW - (int64_t)below(50) * DAY, 1 + (int64_t)below(100));
    p->cuts = (struct rule_cuts){.made_at = NOW};
    for (size_t i = 0; i < CUTS_FACTS; i++) {
        struct rule_quintile *q = &p->cuts.of[cuts_facts[i]];
        q->has = true;
        for (int k = 0; k < 4; k++)
            q->cuts[k] = cuts_facts[i] == FACT_LAST_ORDER_AT ? NOW - (400 - k * 100) * DAY
                         : cuts_facts[i] == FACT_ORDERS      ? k + 1
                                                             : (k + 1) * 200 * MICROS;
    }
}

static void nothing_changes_before_it_is_said_to(void **state)
{
    struct tags *t = shipped();
    unsigned changed = 0;

    (void)state;
    for (int round = 0; round < 150; round++) {
        struct rule_person *p = person_new();
        make_person(p);
        int64_t at = NOW + (int64_t)below(100) * DAY + below(86400000);
        for (int step = 0; step < 12; step++) {
            struct judged j = judge(t, p, at), k;
            int64_t end = j.next == TIME_NONE ? at + 2000 * DAY : j.next;
            int64_t in_between = at + (int64_t)((double)(end - at) * below(1000) / 1000);
            k = judge(t, p, in_between);
            assert_string_equal(k.text, j.text);
            k = judge(t, p, end - 1);
            assert_string_equal(k.text, j.text);
            if (j.next == TIME_NONE)
                break;
            k = judge(t, p, end);
            changed += strcmp(k.text, j.text) != 0;
            at = end;
        }
        person_free(p);
    }
    assert_true(changed > 300); /* times are not said for nothing */
    tags_unref(t);
}

static const char *value_of(const char *json, const char *name)
{
    static char out[64];
    char key[64];

    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(json, key);
    out[0] = '\0';
    if (at)
        snprintf(out, sizeof out, "%.*s", (int)strcspn(at + strlen(key), ",}"), at + strlen(key));
    return out;
}

/* Someone who orders every thirty days and then stops. */
static void a_life_as_a_customer(void **state)
{
    static const struct {
        int day;
        const char *lifecycle, *risk;
    } life[] = {{0, "\"mature\"", "\"low\""},      {44, "\"mature\"", "\"low\""},
                {46, "\"mature\"", "\"medium\""},  {61, "\"declining\"", "\"medium\""},
                {91, "\"declining\"", "\"high\""}, {365, "\"declining\"", "\"high\""},
                {366, "\"lost\"", "\"high\""}};
    struct tags *t = shipped();
    struct rule_person *p = person_new();

    (void)state;
    orders(p, 8, NOW, 30 * DAY);
    for (size_t i = 0; i < sizeof life / sizeof *life; i++) {
        struct judged j = judge(t, p, NOW + (210 + life[i].day) * DAY);
        assert_string_equal(value_of(j.text, "lifecycle"), life[i].lifecycle);
        assert_string_equal(value_of(j.text, "churn_risk"), life[i].risk);
        assert_string_equal(value_of(j.text, "rfm_recency"), "");
    }
    person_free(p);
    tags_unref(t);
}

static void loyalty_is_the_sum_of_its_parts(void **state)
{
    static const char *const categories[] = {"Shoes", "Hats", "Coats", "Socks", "Bags"};
    struct tags *t = shipped();
    struct rule_person *p = person_new();

    (void)state;
    orders(p, 13, NOW, 28 * DAY);
    for (size_t i = 0; i < p->n; i++)
        bought(p, i, categories[i % 5]);
    struct judged j = judge(t, p, NOW + 12 * 28 * DAY + 60 * DAY);
    assert_string_equal(value_of(j.text, "three_in_a_row"), "true");
    assert_string_equal(value_of(j.text, "category_breadth"), "5");
    assert_string_equal(value_of(j.text, "cross_selling"), "\"broad\"");
    assert_string_equal(value_of(j.text, "price_sensitivity"), "\"low\"");
    assert_string_equal(value_of(j.text, "order_trend"), "\"falling\""); /* 5 of 180 days, 6 of those before */
    assert_string_equal(value_of(j.text, "loyalty_index"), "75");        /* 15 + 15 + 5 + 20 + 20 */
    assert_string_equal(value_of(j.text, "loyalty"), "\"loyal\"");
    person_free(p);
    tags_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_rule_that_is_true_gives_the_value),
        cmocka_unit_test(the_next_change_is_the_first_over_all),
        cmocka_unit_test(what_is_set_by_hand_wins_until_its_end),
        cmocka_unit_test(a_value_of_another_type_is_none),
        cmocka_unit_test(nothing_changes_before_it_is_said_to),
        cmocka_unit_test(a_life_as_a_customer),
        cmocka_unit_test(loyalty_is_the_sum_of_its_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
