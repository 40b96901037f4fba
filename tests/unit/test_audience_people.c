/* Numbers of people, found by hash, and their due times: against a plain model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/clock.h"
#include "profiler/audience_people.h"

enum { HASHES = 400, ROUNDS = 60000 };

static struct key_hash hash_of(uint32_t i)
{
    struct key_hash h = {{0}};
    uint64_t n = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

    memcpy(h.b, &n, sizeof n);
    h.b[15] = (unsigned char)i;
    return h;
}

/* Of each hash: its number, and when it is due. */
struct model {
    uint32_t number[HASHES];
    int64_t due[HASHES];
};

static void check(const struct people *p, const struct model *m)
{
    int64_t least = INT64_MAX;
    uint32_t count = 0, first = people_first_due(p);

    for (uint32_t i = 0; i < HASHES; i++) {
        struct key_hash h = hash_of(i);

        assert_int_equal(people_find(p, &h), m->number[i]);
        if (m->number[i] == PERSON_NONE)
            continue;
        count++;
        assert_true(people_has(p, m->number[i]));
        assert_true(p->v[m->number[i]].due == m->due[i]);
        if (m->due[i] != TIME_NONE && m->due[i] < least)
            least = m->due[i];
    }
    assert_int_equal(p->count, count);
    assert_int_equal(bits_count(p->everybody), count);
    if (least == INT64_MAX)
        assert_int_equal(first, PERSON_NONE);
    else
        assert_true(p->v[first].due == least);
}

static void change(struct people *p, struct model *m)
{
    uint32_t i = (uint32_t)rand() % HASHES;
    struct key_hash h = hash_of(i);

    if (m->number[i] == PERSON_NONE) {
        m->number[i] = people_add(p, &h, rand() % 4 ? PERSON_NONE : (uint32_t)rand() % (2 * HASHES));
        m->due[i] = TIME_NONE;
        for (uint32_t k = 0; k < HASHES; k++)
            assert_true(k == i || m->number[k] != m->number[i]);
    } else if (rand() % 3 == 0) {
        people_remove(p, m->number[i]);
        m->number[i] = PERSON_NONE;
    } else {
        m->due[i] = rand() % 5 ? rand() % 1000 : TIME_NONE;
        people_set_due(p, m->number[i], m->due[i]);
    }
}

static void numbers_and_due_times_are_as_in_the_model(void **state)
{
    struct people p;
    static struct model m;

    (void)state;
    srand(7);
    for (uint32_t i = 0; i < HASHES; i++)
        m.number[i] = PERSON_NONE;
    people_init(&p);
    for (int r = 0; r < ROUNDS; r++) {
        change(&p, &m);
        if (r % 500 == 0)
            check(&p, &m);
    }
    check(&p, &m);
    assert_true(p.n <= 2 * HASHES);   /* numbers are used again */
    assert_true(p.heap_n <= p.count); /* one entry for each at most */
    people_deinit(&p);
}

/* Rows come in the order of their hashes. */
static void wishes_are_granted_in_any_order(void **state)
{
    struct people p;
    struct key_hash other = hash_of(50);

    (void)state;
    people_init(&p);
    for (uint32_t i = 0; i < 50; i++) {
        struct key_hash h = hash_of(i);

        assert_int_equal(people_add(&p, &h, (i * 37) % 100), (i * 37) % 100);
    }
    uint32_t number = people_add(&p, &other, 37); /* taken */
    assert_int_not_equal(number, 37);
    assert_true(number < 101);
    assert_int_equal(p.count, 51);
    people_deinit(&p);
}

static void sets_of_numbers(void **state)
{
    struct bits *a = bits_new(), *b = bits_new(), *c;
    uint32_t list[4];

    (void)state;
    for (uint32_t i = 0; i < 100; i += 2)
        bits_set(a, i);
    for (uint32_t i = 0; i < 100; i += 3)
        bits_set(b, i);
    c = bits_copy(a);
    bits_and(c, b);
    assert_int_equal(bits_count(c), 17);
    bits_or(c, a);
    assert_int_equal(bits_count(c), 50);
    bits_without(c, b);
    assert_int_equal(bits_count(c), 33);
    assert_int_equal(bits_list(a, 5, list, 4), 4);
    assert_int_equal(list[0], 6);
    assert_int_equal(bits_list(a, 99, list, 4), 0);
    assert_int_equal(bits_list(NULL, 0, list, 4), 0);
    bits_and(c, NULL);
    assert_int_equal(bits_count(c), 0);
    bits_clear(a, 6);
    assert_false(bits_has(a, 6));
    assert_true(bits_has(a, 8));
    assert_false(bits_has(NULL, 8));
    assert_true(bits_bytes(a) > 0);
    bits_free(a);
    bits_free(b);
    bits_free(c);
    bits_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_and_due_times_are_as_in_the_model),
                                       cmocka_unit_test(wishes_are_granted_in_any_order),
                                       cmocka_unit_test(sets_of_numbers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
