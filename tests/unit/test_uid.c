/* Names by content: known values, made with Python's hashlib, and no two things with one name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/codec.h"

static void hex_of(struct uid u, char out[33])
{
    for (int i = 0; i < UID_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", u.b[i]);
}

/* def field(s): return (0 if s is None else len(s) + 1).to_bytes(8, 'big') + (s or b'')
 * def uid(*fields): return hashlib.blake2b(b''.join(map(field, (b'waymark.uid.1',) + fields)), digest_size=16) */
static void test_known_uids(void **state)
{
    (void)state;
    static char long_id[256];
    memset(long_id, 'x', sizeof long_id);
    static char longer[3000];
    memset(longer, 'y', sizeof longer);
    const struct {
        struct str source, anonymous_id, user_id, message_id;
        const char *want;
    } cases[] = {
        {STR_LIT("web"), STR_LIT("a1"), STR_LIT("42"), STR_LIT("m1"), "bbe84e23fe7a8cab2e71e84185434ef9"},
        {STR_LIT("web"), STR_NONE, STR_LIT("42"), STR_LIT("m1"), "ead5a412385311f9d97f5bc58fd0fbd5"},
        {STR_LIT("web"), STR_LIT(""), STR_LIT("42"), STR_LIT("m1"), "406b2ecd05b765626959b4e9b100232a"},
        {STR_LIT("web"), STR_LIT("a1"), STR_NONE, STR_LIT("m1"), "d21d4b0f70df3054cc9740436a369640"},
        {STR_LIT(""), STR_LIT("a\0b"), STR_LIT("天宇😀"), STR_LIT(""), "68e32b29077fecd74602bb24dfaee0f3"},
        {{long_id, sizeof long_id},
         {long_id, sizeof long_id},
         {long_id, sizeof long_id},
         {long_id, sizeof long_id},
         "d5063f4244ab0bbaff4cfd8b2f44f6cd"},
        {{longer, sizeof longer}, STR_NONE, STR_LIT("u"), STR_LIT("m"), "b43c2e73b0ddd6d3ec54236fb7ab04c4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char hex[33];
        hex_of(event_uid(cases[i].source, cases[i].anonymous_id, cases[i].user_id, cases[i].message_id), hex);
        assert_string_equal(hex, cases[i].want);
    }
}

static void test_content_hash(void **state)
{
    (void)state;
    char hex[33];

    hex_of(content_hash(STR_LIT("")), hex);
    assert_string_equal(hex, "cae66941d9efbd404e4d88758ea67670");
    hex_of(content_hash(STR_LIT("abc")), hex);
    assert_string_equal(hex, "cf4ab791c62b8d2b2109c90275287816");
}

static void test_known_order_ids(void **state)
{
    (void)state;
    const struct item items[] = {
        {.sku = STR_LIT("s"), .price = {true, 9990000}, .quantity = {true, 2}, .listed_at = TIME_NONE}};
    struct event e = {.user_id = STR_LIT("u"), .original_time = TIME_NONE};
    char hex[33];

    e.order.order_id = STR_LIT("O");
    e.order.status = STATUS_PAID;
    order_content_id(&e, hex);
    assert_string_equal(hex, "65a31fe034a83fc7b384fb43471e08e0");
    e.original_time = 1767225600000;
    e.order.total = (struct opt){true, -1};
    e.order.has_items = true;
    e.items = items;
    e.item_count = 1;
    order_content_id(&e, hex);
    assert_string_equal(hex, "47fec9ce79d1ce4c5dfbc8910a1405a7");
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, UID_BYTES);
}

/* All ways to put "aaa"-like pieces, nothing and absence into four fields: shifted text is another event. */
static void test_no_collisions(void **state)
{
    (void)state;
    static const struct str texts[] = {STR_NONE,       STR_LIT(""),   STR_LIT("a"),
                                       STR_LIT("aa"),  STR_LIT("\0"), STR_LIT("a\0"),
                                       STR_LIT("\0a"), STR_LIT("ab"), STR_LIT("\0\0\0\0\0\0\0\1")};
    enum { N = sizeof texts / sizeof *texts, ALL = N * N * N * N };
    struct uid *all = malloc(ALL * sizeof *all);

    assert_non_null(all);
    for (size_t i = 0; i < ALL; i++)
        all[i] = event_uid(texts[i % N], texts[i / N % N], texts[i / N / N % N], texts[i / N / N / N]);
    qsort(all, ALL, sizeof *all, by_bytes);
    for (size_t i = 1; i < ALL; i++)
        assert_memory_not_equal(all[i - 1].b, all[i].b, UID_BYTES);
    free(all);
}

/* Of one message id, with another device: another event. */
static void test_alias(void **state)
{
    struct str source = STR_LIT("web"), user = STR_LIT("u"), message = STR_LIT("m");
    struct uid a = alias_uid(source, STR_NONE, user, message, STR_LIT("a")),
               b = alias_uid(source, STR_NONE, user, message, STR_LIT("b")),
               again = alias_uid(source, STR_NONE, user, message, STR_LIT("a")),
               event = event_uid(source, STR_NONE, user, message);

    (void)state;
    assert_memory_equal(a.b, again.b, UID_BYTES);
    assert_memory_not_equal(a.b, b.b, UID_BYTES);
    assert_memory_not_equal(a.b, event.b, UID_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_alias), cmocka_unit_test(test_known_uids),
                                       cmocka_unit_test(test_content_hash), cmocka_unit_test(test_known_order_ids),
                                       cmocka_unit_test(test_no_collisions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
