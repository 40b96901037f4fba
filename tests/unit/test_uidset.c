/* Sets of uids and the table of objects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "profiler/state_table.h"
#include "profiler/uidset.h"

static struct uid uid_of(uint64_t n)
{
    struct uid u = {{0}};

    n *= UINT64_C(0x9e3779b97f4a7c15);
    memcpy(u.b + 4, &n, sizeof n);
    return u;
}

static void an_empty_set_holds_nothing(void **state)
{
    struct uidset s = {.seed = 1};
    struct uid u = uid_of(1);
    size_t i = 0;

    (void)state;
    assert_null(uidset_find(&s, &u));
    assert_null(uidset_next(&s, &i));
    assert_int_equal(uidset_bytes(&s), 0);
    uidset_deinit(&s);
}

static void what_is_put_is_found(void **state)
{
    struct uidset s = {.seed = 42};
    const struct uid_times *t;
    uint64_t seen = 0;
    size_t i = 0;

    (void)state;
    for (uint64_t n = 0; n < 10000; n++) {
        struct uid_times put = {uid_of(n), (int64_t)n, -(int64_t)n};

        assert_null(uidset_find(&s, &put.uid));
        assert_int_equal(uidset_put(&s, &put), 0);
    }
    assert_int_equal(s.count, 10000);
    for (uint64_t n = 0; n < 20000; n++) {
        struct uid u = uid_of(n);

        t = uidset_find(&s, &u);
        assert_int_equal(t != NULL, n < 10000);
        if (t)
            assert_int_equal(t->time, n);
    }
    while ((t = uidset_next(&s, &i)) != NULL)
        seen++;
    assert_int_equal(seen, 10000);
    assert_true(uidset_bytes(&s) <= 10000 * 32 * 3);
    uidset_deinit(&s);
}

static void a_later_put_replaces(void **state)
{
    struct uidset s = {.seed = 7};
    struct uid_times t = {uid_of(5), 10, 20};

    (void)state;
    assert_int_equal(uidset_put(&s, &t), 0);
    t.time = INT64_MIN;
    assert_int_equal(uidset_put(&s, &t), 0);
    assert_int_equal(s.count, 1);
    assert_int_equal(uidset_find(&s, &t.uid)->time, INT64_MIN);
    uidset_deinit(&s);
}

/* Uids that agree in the bytes that a plain table would take must not fall into one slot. */
static void chosen_uids_are_spread(void **state)
{
    uint64_t slots[1024] = {0}, most = 0;

    (void)state;
    for (uint64_t n = 0; n < 1024; n++) {
        struct uid u = {{0}};

        memcpy(u.b + 8, &n, sizeof n);
        slots[uid_spread(UINT64_C(0x123456789abcdef1), &u) & 1023]++;
    }
    for (int i = 0; i < 1024; i++)
        most = slots[i] > most ? slots[i] : most;
    assert_true(most < 20);
}

struct object {
    struct table_node node;
    int number;
};

static void objects_come_and_go(void **state)
{
    enum { N = 5000 };
    struct object *v = calloc(N, sizeof *v);
    struct key_secret secret = {"0123456789abcde"};
    struct table t;

    (void)state;
    assert_int_equal(table_init(&t), 0);
    for (int i = 0; i < N; i++) {
        v[i].node.key = key_hash_of(&secret, (struct str){(const char *)&i, sizeof i});
        v[i].number = i;
        assert_null(table_find(&t, &v[i].node.key));
        assert_int_equal(table_add(&t, &v[i].node), 0);
    }
    for (int i = 0; i < N; i += 3)
        table_remove(&t, &v[i].node);
    for (int i = 0; i < N; i++)
        assert_ptr_equal(table_find(&t, &v[i].node.key), i % 3 ? &v[i].node : NULL);
    for (int i = 0; i < N; i += 3)
        assert_int_equal(table_add(&t, &v[i].node), 0);
    assert_int_equal(t.count, N);
    for (int i = 0; i < N; i++)
        assert_ptr_equal(table_find(&t, &v[i].node.key), &v[i].node);
    table_deinit(&t);
    free(v);
}

static void what_is_reserved_can_be_added(void **state)
{
    enum { N = 5000 };
    struct object *v = calloc(N, sizeof *v);
    struct key_secret secret = {"0123456789abcde"};
    struct table t;

    (void)state;
    assert_int_equal(table_init(&t), 0);
    for (int i = 0; i < N; i += 2) {
        struct table_node **buckets;

        assert_int_equal(table_reserve(&t, 2), 0);
        buckets = t.buckets;
        for (int k = i; k < i + 2; k++) {
            v[k].node.key = key_hash_of(&secret, (struct str){(const char *)&k, sizeof k});
            assert_int_equal(table_add(&t, &v[k].node), 0);
        }
        assert_ptr_equal(t.buckets, buckets);
    }
    for (int i = 0; i < N; i++)
        assert_ptr_equal(table_find(&t, &v[i].node.key), &v[i].node);
    table_deinit(&t);
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_set_holds_nothing), cmocka_unit_test(what_is_put_is_found),
        cmocka_unit_test(a_later_put_replaces),       cmocka_unit_test(chosen_uids_are_spread),
        cmocka_unit_test(objects_come_and_go),        cmocka_unit_test(what_is_reserved_can_be_added),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
