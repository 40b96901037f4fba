/* Keys of the state: they sort as what they stand for, and are read back as they were written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/keys.h"

static const struct key_secret secret = {"0123456789abcde"};

static struct key_hash hash(const char *text)
{
    return key_hash_of(&secret, str_of(text));
}

static int compare(const struct key *a, const struct key *b)
{
    return str_cmp(key_str(a), key_str(b));
}

static void hashes_depend_on_the_secret(void **state)
{
    struct key_secret other = {"fedcba987654321"};
    struct key_hash a = hash("user:1"), b = key_hash_of(&other, STR_LIT("user:1")), c = hash("user:2");

    (void)state;
    assert_false(key_hash_eq(&a, &b));
    assert_false(key_hash_eq(&a, &c));
    b = hash("user:1");
    assert_true(key_hash_eq(&a, &b));
}

static void streams_tell_absent_from_empty(void **state)
{
    const struct str none = STR_NONE, empty = {"", 0}, ab = {"ab", 2}, a = {"a", 1}, b = {"b", 1};
    struct key_hash h[] = {
        key_hash_stream(&secret, none, ab),  key_hash_stream(&secret, ab, none), key_hash_stream(&secret, empty, ab),
        key_hash_stream(&secret, ab, empty), key_hash_stream(&secret, a, b),     key_hash_stream(&secret, b, a),
    };

    (void)state;
    for (size_t i = 0; i < sizeof h / sizeof *h; i++)
        for (size_t k = 0; k < i; k++)
            assert_false(key_hash_eq(&h[i], &h[k]));
}

static void pairs_tell_first_from_second(void **state)
{
    struct key_hash a = hash("a"), b = hash("b"), ab = key_hash_pair(&secret, a, b), ba = key_hash_pair(&secret, b, a);

    (void)state;
    assert_false(key_hash_eq(&ab, &ba));
}

static void ids_do_not_stand_in_keys(void **state)
{
    struct key k = key_two(KEY_STREAM, hash("user:somebody"), hash("somebody"));

    (void)state;
    assert_null(memmem(k.b, k.n, "somebody", 8));
    assert_int_equal(k.n, KEY_PREFIX_BYTES + KEY_HASH_BYTES);
}

static void chunks_sort_by_time_commit_and_part(void **state)
{
    static const int64_t times[] = {INT64_MIN, -5, -1, 0, 1, INT64_C(1700000000000), INT64_MAX};
    struct key before = key_one(KEY_CHUNK, hash("s"));

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        for (uint32_t commit = 1; commit < 1u << 31; commit *= 300)
            for (uint32_t part = 0; part < 70000; part += 34999) {
                struct key_place place = {KEY_CHUNK, hash("s"), times[i], commit, part}, read;
                struct key k = key_placed(&place), seek = key_seek(KEY_CHUNK, hash("s"), times[i]);

                assert_true(compare(&before, &k) < 0);
                assert_true(compare(&seek, &k) < 0);
                assert_true(key_read_placed(key_str(&k), &read));
                assert_int_equal(read.kind, KEY_CHUNK);
                assert_int_equal(read.time, times[i]);
                assert_int_equal(read.commit, commit);
                assert_int_equal(read.part, part);
                assert_true(key_hash_eq(&read.stream, &place.stream));
                before = k;
            }
}

static void uids_have_no_time(void **state)
{
    struct key_place place = {KEY_UIDS, hash("s"), 0, 7, 9}, read;
    struct key k = key_placed(&place);

    (void)state;
    assert_int_equal(k.n, KEY_PREFIX_BYTES + 8);
    assert_true(key_read_placed(key_str(&k), &read));
    assert_int_equal(read.commit, 7);
    assert_int_equal(read.part, 9);
}

static void places_at_a_home_stand_as_they_count(void **state)
{
    static const int64_t times[] = {INT64_MIN, -5, 0, INT64_C(1700000000000), INT64_MAX};
    struct key prefix = key_home_places(hash("O1")), before = {0};

    (void)state;
    for (int trust = TRUST_SERVER; trust >= TRUST_BEACON; trust--)
        for (size_t i = 0; i < 25; i++)
            for (uint32_t position = 0; position < 3; position++) {
                struct key_home home = {
                    hash("O1"),
                    HOME_PLACE,
                    {(enum event_trust)trust,
                     {times[i / 5], times[i % 5], position * 0x7fffffffu, {{(unsigned char)i, 3}}}}};
                struct key_home read;
                struct key k = key_homed(&home);

                if (before.n)
                    assert_true(compare(&before, &k) < 0);
                before = k;
                assert_true(str_starts(key_str(&k), key_str(&prefix)));
                assert_true(key_read_homed(key_str(&k), &read));
                assert_true(key_hash_eq(&read.order, &home.order) && read.part == HOME_PLACE);
                assert_int_equal(event_rank_cmp(&read.place, &home.place), 0);
                for (size_t n = 0; n < k.n; n++)
                    assert_false(key_read_homed((struct str){(const char *)k.b, n}, &read));
            }
}

static void the_parts_of_a_home_are_told_apart(void **state)
{
    struct key_home head = {.order = hash("O1"), .part = HOME_HEAD}, read;
    struct key_home uid = {hash("O1"), HOME_UID, {.key = {.uid = {{1, 2, 3}}}}};
    struct key a = key_homed(&head), b = key_homed(&uid), places = key_home_places(hash("O1"));

    (void)state;
    assert_true(compare(&a, &b) < 0 && compare(&b, &places) < 0);
    assert_true(key_read_homed(key_str(&a), &read) && read.part == HOME_HEAD);
    assert_true(key_read_homed(key_str(&b), &read) && read.part == HOME_UID);
    assert_memory_equal(read.place.key.uid.b, uid.place.key.uid.b, UID_BYTES);
    for (size_t n = 0; n < b.n; n++)
        assert_false(n != a.n && key_read_homed((struct str){(const char *)b.b, n}, &read));
    b.b[KEY_PREFIX_BYTES] = HOME_PLACE + 1;
    assert_false(key_read_homed(key_str(&b), &read));
}

static void other_bytes_are_no_keys(void **state)
{
    struct key_place place = {KEY_LATE, hash("s"), 1, 7, 9}, read;
    struct key k = key_placed(&place), two = key_two(KEY_ORDER, hash("a"), hash("b"));
    struct key_hash first, second;

    (void)state;
    for (size_t n = 0; n < k.n; n++)
        assert_false(key_read_placed((struct str){(const char *)k.b, n}, &read));
    assert_true(key_read_placed(key_str(&k), &read));
    k.b[0] = 'F';
    assert_false(key_read_placed(key_str(&k), &read));
    assert_true(key_read_two(key_str(&two), KEY_ORDER, &first, &second));
    assert_false(key_read_two(key_str(&two), KEY_STREAM, &first, &second));
    two.n--;
    assert_false(key_read_two(key_str(&two), KEY_ORDER, &first, &second));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_depend_on_the_secret),
        cmocka_unit_test(streams_tell_absent_from_empty),
        cmocka_unit_test(pairs_tell_first_from_second),
        cmocka_unit_test(ids_do_not_stand_in_keys),
        cmocka_unit_test(chunks_sort_by_time_commit_and_part),
        cmocka_unit_test(uids_have_no_time),
        cmocka_unit_test(places_at_a_home_stand_as_they_count),
        cmocka_unit_test(the_parts_of_a_home_are_told_apart),
        cmocka_unit_test(other_bytes_are_no_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
