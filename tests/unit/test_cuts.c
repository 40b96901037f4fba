/* Cut points of quintiles against the words that define them: the percentile rank of every value, computed one by one;
 * their text; and which of many count at a moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "profiler/cuts.h"
#include "profiler/rule_tree.h"

#define PEOPLE 400

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static int64_t next_below(int64_t n)
{
    return (int64_t)(next_random() % (uint64_t)n);
}

/* 1 + the whole part of 5 × (less + equal / 2) / n, in whole numbers. */
static int quintile_by_definition(const int64_t *v, size_t n, int64_t value)
{
    size_t less = 0, equal = 0;

    for (size_t i = 0; i < n; i++) {
        less += v[i] < value;
        equal += v[i] == value;
    }
    return 1 + (int)(5 * (2 * less + equal) / (2 * n));
}

static int quintile_by_cuts(const struct rule_quintile *q, int64_t value)
{
    int k = 0;

    while (k < 4 && value > q->cuts[k])
        k++;
    return k + 1;
}

static void every_value_is_in_the_quintile_of_its_rank(void **state)
{
    int64_t v[PEOPLE];

    (void)state;
    for (int round = 0; round < 300; round++) {
        size_t n = 1 + (size_t)next_below(round < 100 ? 12 : PEOPLE);
        int64_t range = 1 + next_below(round % 3 == 0 ? 4 : round % 3 == 1 ? 40 : 1000000);
        struct cuts_values values;
        struct rule_cuts cuts;

        cuts_values_init(&values);
        for (size_t i = 0; i < n; i++) {
            v[i] = next_below(range) - range / 2;
            assert_int_equal(cuts_values_put(&values, 3, v[i]), 0);
        }
        cuts_values_make(&values, 5, &cuts);
        assert_int_equal(cuts.made_at, 5);
        assert_true(cuts.of[cuts_facts[3]].has);
        assert_false(cuts.of[cuts_facts[0]].has);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(quintile_by_cuts(&cuts.of[cuts_facts[3]], v[i]), quintile_by_definition(v, n, v[i]));
        cuts_values_deinit(&values);
    }
}

static void equal_values_are_all_in_the_middle(void **state)
{
    struct cuts_values values;
    struct rule_cuts cuts;

    (void)state;
    cuts_values_init(&values);
    for (int i = 0; i < 7; i++)
        assert_int_equal(cuts_values_put(&values, 0, 1), 0);
    cuts_values_make(&values, 1, &cuts);
    assert_int_equal(quintile_by_cuts(&cuts.of[cuts_facts[0]], 1), 3);
    assert_int_equal(quintile_by_cuts(&cuts.of[cuts_facts[0]], 2), 5);
    assert_int_equal(quintile_by_cuts(&cuts.of[cuts_facts[0]], 0), 1);
    cuts_values_deinit(&values);
}

static void only_customers_count(void **state)
{
    struct cuts_values values;
    struct rule_cuts cuts;
    struct facts f;

    (void)state;
    cuts_values_init(&values);
    facts_init(&f);
    assert_int_equal(cuts_values_add(&values, &f), 0);
    assert_int_equal(values.people, 0);
    f.orders = 2;
    f.gross = (money)INT64_MAX * 4; /* past what a cut point holds */
    f.last_order_at = 77;
    assert_int_equal(cuts_values_add(&values, &f), 0);
    assert_int_equal(values.people, 1);
    cuts_values_make(&values, 1, &cuts);
    assert_true(cuts.of[FACT_SPENT].has);
    assert_true(cuts.of[FACT_SPENT].cuts[3] == INT64_MAX);
    assert_true(cuts.of[FACT_LAST_ORDER_AT].cuts[3] == 77);
    assert_false(cuts.of[FACT_FIRST_ORDER_AT].has); /* it has none */
    assert_false(cuts.of[FACT_PAGES].has);
    cuts_values_deinit(&values);
    facts_deinit(&f);
}

static struct rule_cuts some_cuts(int64_t made_at)
{
    struct cuts_values values;
    struct rule_cuts cuts;

    cuts_values_init(&values);
    for (unsigned place = 0; place < CUTS_FACTS; place++)
        for (int i = 0; place != 4 && i < 50; i++)
            assert_int_equal(cuts_values_put(&values, place, next_below(1000) - 100), 0);
    cuts_values_make(&values, made_at, &cuts);
    cuts_values_deinit(&values);
    return cuts;
}

static void what_is_written_is_read(void **state)
{
    struct rule_cuts cuts = some_cuts(1323475200123), again;
    uint64_t people = 0;
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 16);
    assert_true(cuts_write(&cuts, 4339, &b));
    assert_int_equal(cuts_read(buf_str(&b), &again, &people), 0);
    assert_int_equal(people, 4339);
    assert_memory_equal(&again, &cuts, sizeof cuts);
    buf_deinit(&b);
}

static void what_is_none_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"made_at\":\"2011-12-10\",\"people\":1}",
        "{\"made_at\":\"yesterday\",\"people\":1,\"cuts\":{}}",
        "{\"made_at\":\"2011-12-10\",\"people\":-1,\"cuts\":{}}",
        "{\"made_at\":\"2011-12-10\",\"people\":1,\"cuts\":{\"orders\":[1,2,3]}}",
        "{\"made_at\":\"2011-12-10\",\"people\":1,\"cuts\":{\"orders\":[1,2,3,\"4\"]}}",
        "{\"made_at\":\"2011-12-10\",\"people\":1,\"cuts\":{\"orders\":[1,2,3,0]}}",
        "{\"made_at\":\"2011-12-10\",\"people\":1,\"cuts\":{\"orders\":[1,2,3,4.5]}}",
        "{\"made_at\":\"2011-12-10\",\"people\":1,\"cuts\":{\"orders\":4}}",
    };
    struct rule_cuts c;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(cuts_read(str_of(bad[i]), &c, NULL), 1);
    assert_int_equal(cuts_read(STR_LIT("{\"made_at\":\"2011-12-10\",\"people\":0,\"cuts\":{}}"), &c, NULL), 0);
    assert_int_equal(cuts_read(STR_NONE, &c, NULL), 1);
}

/* Few different values come back as they were; of many each rank is right to one share. */
static void values_of_others_are_read(void **state)
{
    (void)state;
    for (int many = 0; many < 2; many++) {
        struct cuts_values a, b;
        struct rule_cuts x, y;
        struct buf text;

        cuts_values_init(&a);
        cuts_values_init(&b);
        buf_init(&text, DEFINITION_BODY_BYTES);
        for (int i = 0; i < 20000; i++)
            for (unsigned place = 0; place < CUTS_FACTS; place++)
                assert_int_equal(cuts_values_put(&a, place, many ? -(int64_t)(next_random() >> 1) : next_below(250)),
                                 0);
        a.people = 20000;
        assert_true(cuts_values_write(&a, STR_LIT("2011-12-10"), &text));
        assert_int_equal(cuts_values_read(buf_str(&text), STR_LIT("2011-12-11"), &b), 1);
        assert_int_equal(cuts_values_read(buf_str(&text), STR_LIT("2011-12-10"), NULL), 0);
        assert_int_equal(b.people, 0);
        assert_int_equal(cuts_values_read(buf_str(&text), STR_NONE, &b), 0);
        assert_int_equal(b.people, 20000);
        cuts_values_make(&a, 1, &x);
        cuts_values_make(&b, 1, &y);
        if (!many)
            assert_memory_equal(&x, &y, sizeof x);
        for (unsigned place = 0; place < CUTS_FACTS; place++)
            for (int k = 0; k < 4; k++) {
                size_t below = 0;
                assert_int_equal(b.of[place].n, 20000);
                while (below < 20000 && a.of[place].v[below] <= y.of[cuts_facts[place]].cuts[k])
                    below++;
                assert_in_range(below, 4000 * (k + 1) - 20000 / CUTS_POINTS, 4000 * (k + 1) + 20000 / CUTS_POINTS);
            }
        buf_deinit(&text);
        cuts_values_deinit(&a);
        cuts_values_deinit(&b);
    }
}

/* Definitions of three days among others, as a partition has them. */
static void the_latest_that_was_made_by_then_counts(void **state)
{
    static const char *const days[] = {"2011-12-08", "2011-12-09", "2011-12-10"};
    struct state_definition d[5] = {
        {.kind = DEFINITION_AUDIENCE, .name = STR_LIT("2011-12-08"), .body = STR_LIT("{}")}};
    struct rule_cuts cuts, got;
    struct buf body[3];
    int64_t made[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(time_parse(str_of(days[i]), &made[i]), 0);
        made[i] += 100 * i;
        cuts = some_cuts(made[i]);
        buf_init(&body[i], 1 << 16);
        assert_true(cuts_write(&cuts, 1, &body[i]));
        d[i + 1] =
            (struct state_definition){.kind = DEFINITION_CUTS, .name = str_of(days[i]), .body = buf_str(&body[i])};
    }
    d[4] = (struct state_definition){.kind = DEFINITION_CUTS, .name = STR_LIT("values.3"), .body = STR_LIT("{}")};
    assert_int_equal(cuts_at(d, 5, made[0] - 1, &got), 0);
    assert_true(got.made_at == TIME_NONE);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(cuts_at(d, 5, made[i], &got), 0);
        assert_true(got.made_at == made[i]);
        assert_int_equal(cuts_at(d, 5, made[i] - 1, &got), 0);
        assert_true(got.made_at == (i ? made[i - 1] : TIME_NONE));
    }
    assert_int_equal(cuts_at(d, 5, made[2] + 1000 * TIME_DAY, &got), 0);
    assert_true(got.made_at == made[2]);

    struct rule_cuts *history;
    struct arena a;
    size_t n;
    arena_init(&a, 1 << 20);
    assert_int_equal(cuts_history(d, 5, &a, &history, &n), 0);
    assert_int_equal(n, 3);
    assert_null(cuts_pick(history, n, made[0] - 1));
    for (int i = 0; i < 3; i++)
        assert_true(cuts_pick(history, n, made[i] + 1)->made_at == made[i]);
    assert_null(cuts_pick(history, 0, made[2]));
    arena_deinit(&a);
    for (int i = 0; i < 3; i++)
        buf_deinit(&body[i]);
}

static void the_name_is_the_local_day(void **state)
{
    struct zone *zone = zone_new("Asia/Tokyo");
    char name[CUTS_NAME_BYTES + 1];
    int64_t at;

    (void)state;
    assert_int_equal(time_parse(STR_LIT("2011-12-09T15:00:00Z"), &at), 0);
    cuts_name(NULL, at, name);
    assert_string_equal(name, "2011-12-09");
    cuts_name(zone, at, name);
    assert_string_equal(name, "2011-12-10");
    cuts_name(zone, at - 1, name);
    assert_string_equal(name, "2011-12-09");
    zone_free(zone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_is_in_the_quintile_of_its_rank),
        cmocka_unit_test(equal_values_are_all_in_the_middle),
        cmocka_unit_test(only_customers_count),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(values_of_others_are_read),
        cmocka_unit_test(the_latest_that_was_made_by_then_counts),
        cmocka_unit_test(the_name_is_the_local_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
