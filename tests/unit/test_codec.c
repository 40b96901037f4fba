/* waymark.v1: what goes in comes out, one event has one byte string, and no bytes do harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/codec.h"
#include "tests/support/any_event.h"

/* --- tests ---------------------------------------------------------------------------------------------------- */

/* Without unpacking it the same is said of the first item, or nothing. */
static void assert_peeked(struct str packed, const struct event *e)
{
    static const struct item none = {0};
    const struct item *i = e->item_count ? &e->items[0] : &none;
    const struct str want[] = {i->product_id, i->sku, i->name, i->category, i->style, i->brand, i->color, i->size};
    static const char *const names[] = {"product_id", "sku", "name", "category", "style", "brand", "color", "size"};
    struct str got;

    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        assert_int_equal(event_peek_item(packed, str_of(names[k]), &got), str_has(want[k]));
        assert_true(str_has(got) == str_has(want[k]) && str_eq(got, want[k]));
    }
    assert_false(event_peek_item(packed, STR_LIT("price"), &got));
    assert_false(event_peek_item(packed, STR_LIT("extra"), &got));
}

static void test_round_trip(void **state)
{
    (void)state;
    struct buf one, two;
    struct arena a;

    buf_init(&one, LIMIT_RECORD_BYTES);
    buf_init(&two, LIMIT_RECORD_BYTES);
    arena_init(&a, 64 * MIB);
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        struct random r = {seed * 7919};
        struct item items[SOME_ITEMS], refund_items[SOME_ITEMS];
        struct event e, back;

        random_event(&r, &e, items, refund_items);
        buf_reset(&one);
        buf_reset(&two);
        arena_reset(&a);
        assert_true(event_pack(&e, &one));
        assert_int_equal(event_unpack(buf_str(&one), &a, &back), CODEC_OK);
        assert_events(&e, &back);
        assert_peeked(buf_str(&one), &e);
        assert_true(event_pack(&back, &two));
        assert_int_equal(one.n, two.n);
        assert_memory_equal(one.p, two.p, one.n);
    }
    buf_deinit(&one);
    buf_deinit(&two);
    arena_deinit(&a);
}

static struct event small_event(void)
{
    return (struct event){.type = EVENT_TRACK,
                          .trust = TRUST_BEACON,
                          .user_id = STR_LIT("u"),
                          .message_id = STR_LIT("m"),
                          .time = 1,
                          .received = 2,
                          .original_time = TIME_NONE,
                          .sent = TIME_NONE};
}

static int unpack(struct str bytes)
{
    struct arena a;
    struct event out;

    arena_init(&a, CODEC_UNPACK_BYTES(bytes.n) * 2);
    int rc = event_unpack(bytes, &a, &out);
    assert_true(a.used <= CODEC_UNPACK_BYTES(bytes.n));
    arena_deinit(&a);
    return rc;
}

/* No truncation passes as the whole; some prefixes are messages of their own, but then with fewer fields. */
static void test_truncations(void **state)
{
    (void)state;
    struct random r = {42};
    struct buf b, again;

    buf_init(&b, LIMIT_RECORD_BYTES);
    buf_init(&again, LIMIT_RECORD_BYTES);
    for (int i = 0; i < 200; i++) {
        struct item items[SOME_ITEMS], refund_items[SOME_ITEMS];
        struct event e, back;
        random_event(&r, &e, items, refund_items);
        buf_reset(&b);
        assert_true(event_pack(&e, &b));
        for (size_t n = 0; n < b.n; n++) {
            char *exact = malloc(n + 1); /* so that a sanitizer sees a read past the end */
            struct arena a;
            assert_non_null(exact);
            memcpy(exact, b.p, n);
            exact = realloc(exact, n ? n : 1);
            arena_init(&a, 64 * MIB);
            struct str text;
            if (event_peek_item((struct str){exact, n}, STR_LIT("size"), &text))
                assert_true(text.n == 0 || (text.p >= exact && str_end(text) <= exact + n));
            if (event_unpack((struct str){exact, n}, &a, &back) == CODEC_OK) {
                buf_reset(&again);
                assert_true(event_pack(&back, &again));
                assert_true(again.n <= n);
            }
            arena_deinit(&a);
            free(exact);
        }
    }
    buf_deinit(&b);
    buf_deinit(&again);
}

/* Every byte flipped in every bit: never a crash, and what is accepted is sane. */
static void test_flipped_bits(void **state)
{
    (void)state;
    struct random r = {43};
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    for (int i = 0; i < 20; i++) {
        struct item items[SOME_ITEMS], refund_items[SOME_ITEMS];
        struct event e;
        random_event(&r, &e, items, refund_items);
        buf_reset(&b);
        assert_true(event_pack(&e, &b));
        for (size_t n = 0; n < b.n * 8; n++) {
            b.p[n / 8] = (char)(b.p[n / 8] ^ (1 << (n % 8)));
            unpack(buf_str(&b));
            b.p[n / 8] = (char)(b.p[n / 8] ^ (1 << (n % 8)));
        }
    }
    buf_deinit(&b);
}

static void test_insane(void **state)
{
    (void)state;
    struct event e[24];
    size_t n = 0;
    static const char long_id[LIMIT_ID_BYTES + 1];

    for (size_t i = 0; i < 24; i++)
        e[i] = small_event();
    e[n++].type = (enum event_type)0;
    e[n++].type = (enum event_type)9;
    e[n++].trust = (enum event_trust)0;
    e[n++].trust = (enum event_trust)3;
    e[n++].user_id = STR_NONE;
    e[n++].user_id = STR_LIT("");
    e[n++].user_id = (struct str){long_id, sizeof long_id};
    e[n++].anonymous_id = (struct str){long_id, sizeof long_id};
    e[n++].message_id = (struct str){long_id, sizeof long_id};
    e[n++].time = LIMIT_TIME_LAST + 1;
    e[n++].time = LIMIT_TIME_FIRST - 1;
    e[n++].received = INT64_MAX;
    e[n++].original_time = INT64_MAX;
    e[n++].sent = INT64_MIN + 1;
    e[n++].order.status = (enum order_status)7;
    e[n++].order.status = (enum order_status) - 1;
    e[n++].order.total = (struct opt){true, LIMIT_AMOUNT * 1000000 + 1};
    e[n++].order.tax = (struct opt){true, INT64_MIN};
    e[n++].order.currency = STR_LIT("gbp");
    e[n++].order.currency = STR_LIT("POUNDS");
    e[n++].order.order_id = (struct str){long_id, sizeof long_id};
    struct item big = {.quantity = {true, LIMIT_QUANTITY + 1}, .listed_at = TIME_NONE};
    e[n].items = &big;
    e[n++].item_count = 1;

    struct buf b;
    buf_init(&b, LIMIT_RECORD_BYTES);
    struct event good = small_event();
    assert_true(event_pack(&good, &b));
    assert_int_equal(unpack(buf_str(&b)), CODEC_OK);
    for (size_t i = 0; i < n; i++) {
        buf_reset(&b);
        assert_true(event_pack(&e[i], &b));
        if (unpack(buf_str(&b)) != CODEC_INVALID)
            fail_msg("insane event %zu was taken", i);
    }
    buf_deinit(&b);
}

static void add_field(struct buf *b, uint32_t field, struct str bytes)
{
    buf_add_varint(b, (uint64_t)field << 3 | 2);
    buf_add_varint(b, bytes.n);
    buf_add_str(b, bytes);
}

static void test_versions(void **state)
{
    (void)state;
    struct buf b;
    struct event e = small_event();

    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(event_pack(&e, &b));
    assert_memory_equal(b.p, "\x08\x01", 2);
    b.p[1] = 2;
    assert_int_equal(unpack(buf_str(&b)), CODEC_VERSION_UNKNOWN);
    b.p[1] = 0;
    assert_int_equal(unpack(buf_str(&b)), CODEC_INVALID);
    assert_int_equal(unpack(STR_LIT("\x08\xff\xff\x7f rubbish of the future")), CODEC_VERSION_UNKNOWN);
    assert_int_equal(unpack(STR_LIT("\x08\xff\xff")), CODEC_INVALID);
    assert_int_equal(unpack(STR_LIT("")), CODEC_INVALID);
    assert_int_equal(unpack(STR_NONE), CODEC_INVALID);

    /* Another writer puts the version last; unknown fields of the same version are no harm. */
    struct buf c;
    buf_init(&c, LIMIT_RECORD_BYTES);
    b.p[1] = 1;
    add_field(&c, 999, STR_LIT("of a later writer"));
    buf_add(&c, b.p + 2, b.n - 2);
    buf_add(&c, "\x08\x01", 2);
    assert_int_equal(unpack(buf_str(&c)), CODEC_OK);
    c.p[c.n - 1] = 3;
    assert_int_equal(unpack(buf_str(&c)), CODEC_VERSION_UNKNOWN);
    buf_deinit(&b);
    buf_deinit(&c);
}

/* Up to `n` bytes made of one pattern behind a good event. */
static int unpack_hostile(const char *pattern, size_t pattern_n, size_t n)
{
    struct buf b;
    struct event e = small_event();

    buf_init(&b, LIMIT_RECORD_BYTES + MIB);
    assert_true(event_pack(&e, &b));
    size_t head = b.n;
    while (b.n - head + pattern_n <= n)
        buf_add(&b, pattern, pattern_n);
    assert_false(b.failed);
    int rc = unpack(buf_str(&b));
    buf_deinit(&b);
    return rc;
}

static void test_hostile(void **state)
{
    (void)state;
    static const char item[] = {(char)(33 << 3 | 2 | 0x80), 33 >> 4, 0};
    static const char order[] = {(char)(34 << 3 | 2 | 0x80), 34 >> 4, 0};
    static const char refund[] = {(char)(34 << 3 | 2 | 0x80), 34 >> 4, 2, 13 << 3 | 2, 0};
    static const char name[] = {12 << 3 | 2, 1, 'x'};
    static const char unknown[] = {(char)0xf8, 0x3e, 1}; /* field 1007 */

    assert_int_equal(unpack_hostile(item, 3, MIB), CODEC_INVALID); /* too many empty items */
    assert_int_equal(unpack_hostile(item, 3, 3 * 4900), CODEC_OK);
    assert_int_equal(unpack_hostile(item, 3, LIMIT_RECORD_BYTES - 100), CODEC_INVALID);
    assert_int_not_equal(unpack_hostile(order, 3, LIMIT_RECORD_BYTES - 100), CODEC_VERSION_UNKNOWN);
    assert_int_not_equal(unpack_hostile(refund, 5, LIMIT_RECORD_BYTES - 100), CODEC_VERSION_UNKNOWN);
    assert_int_not_equal(unpack_hostile(name, 3, LIMIT_RECORD_BYTES - 100), CODEC_VERSION_UNKNOWN);
    assert_int_not_equal(unpack_hostile(unknown, 3, LIMIT_RECORD_BYTES - 100), CODEC_VERSION_UNKNOWN);
    assert_int_equal(unpack_hostile(name, 3, LIMIT_RECORD_BYTES + 10), CODEC_INVALID); /* too large */
    /* A count that promises what is not there; deep nesting; groups; field 0; a varint without end. */
    assert_int_equal(unpack_hostile("\x62\xff\xff\xff\xff\x07", 6, 40), CODEC_INVALID);
    assert_int_equal(unpack_hostile("\x62\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, 40), CODEC_INVALID);
    assert_int_equal(unpack_hostile("\x0b", 1, MIB), CODEC_INVALID);
    assert_int_equal(unpack_hostile("\x00\x00", 2, 64), CODEC_INVALID);
    assert_int_equal(unpack_hostile("\xff", 1, MIB), CODEC_INVALID);
    struct buf nested;
    buf_init(&nested, 4 * MIB);
    for (int i = 0; i < 200000; i++)
        buf_add(&nested, "\x92\x02\x7f", 3);
    unpack(buf_str(&nested));
    buf_deinit(&nested);
}

/* The arena may refuse at any moment. */
static void test_out_of_memory(void **state)
{
    (void)state;
    struct random r = {7};
    struct item items[SOME_ITEMS], refund_items[SOME_ITEMS];
    struct event e, back;
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    random_event(&r, &e, items, refund_items);
    assert_true(event_pack(&e, &b));
    size_t max = 0;
    for (; max < 64 * KIB; max += 64) {
        struct arena a;
        arena_init(&a, max);
        int rc = event_unpack(buf_str(&b), &a, &back);
        arena_deinit(&a);
        if (rc == CODEC_OK)
            break;
        assert_int_equal(rc, CODEC_INVALID);
    }
    assert_true(max > 0 && max < 64 * KIB);
    buf_deinit(&b);
}

static void test_pack_bounds(void **state)
{
    (void)state;
    struct random r = {8};
    struct item items[SOME_ITEMS], refund_items[SOME_ITEMS];
    struct event e;
    struct buf b;

    random_event(&r, &e, items, refund_items);
    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(event_pack(&e, &b));
    size_t n = b.n;
    buf_deinit(&b);

    buf_init(&b, n); /* exactly enough, though the bound is greater */
    assert_true(event_pack(&e, &b));
    assert_int_equal(b.n, n);
    assert_false(event_pack(&e, &b));
    assert_true(b.failed);
    assert_int_equal(b.n, n);
    buf_deinit(&b);

    buf_init(&b, n - 1);
    assert_false(event_pack(&e, &b));
    assert_true(b.failed);
    assert_int_equal(b.n, 0);
    buf_deinit(&b);
}

static void test_many_items(void **state)
{
    (void)state;
    struct item *items = calloc(LIMIT_ITEMS, sizeof *items);
    struct event e = small_event(), back;
    struct buf b;
    struct arena a;

    assert_non_null(items);
    for (size_t i = 0; i < LIMIT_ITEMS; i++)
        items[i] = (struct item){.product_id = STR_LIT("p"), .quantity = {true, -3}, .listed_at = TIME_NONE};
    e.items = e.order.refund_items = items;
    e.item_count = e.order.refund_item_count = LIMIT_ITEMS;
    e.order.has_refund = e.order.has_refund_items = true;
    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(event_pack(&e, &b));
    arena_init(&a, 16 * MIB);
    assert_int_equal(event_unpack(buf_str(&b), &a, &back), CODEC_OK);
    assert_events(&e, &back);
    assert_true(a.used <= CODEC_UNPACK_BYTES(b.n));
    arena_deinit(&a);
    buf_deinit(&b);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_truncations), cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_insane),        cmocka_unit_test(test_versions),    cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_pack_bounds), cmocka_unit_test(test_many_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
