/* waymark.v1 beside events: what is kept of bad ones, and claims of partitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/limits.h"
#include "proto/codec.h"
#include "tests/support/str_case.h"

static void test_bad_event(void **state)
{
    (void)state;
    struct bad_event e = {.received = -5,
                          .source = STR_LIT("web"),
                          .route = STR_LIT("/v1/batch"),
                          .position = 3,
                          .code = STR_LIT("id_missing"),
                          .message = STR_LIT(""),
                          .bytes = STR_LIT("{\"a\":\"\0\"}"),
                          .full_size = 77};
    struct bad_event back;
    struct buf b, again;
    struct arena a;

    buf_init(&b, LIMIT_RECORD_BYTES);
    buf_init(&again, LIMIT_RECORD_BYTES);
    arena_init(&a, MIB);
    assert_true(bad_event_pack(&e, &b));
    assert_int_equal(bad_event_unpack(buf_str(&b), &a, &back), CODEC_OK);
    assert_true(back.received == -5 && back.position == 3 && back.full_size == 77);
    assert_str(back.source, e.source);
    assert_str(back.route, e.route);
    assert_str(back.code, e.code);
    assert_str(back.message, e.message);
    assert_str(back.bytes, e.bytes);
    assert_true(bad_event_pack(&back, &again));
    assert_true(str_eq(buf_str(&b), buf_str(&again)));
    for (size_t n = 0; n < b.n; n++) {
        arena_reset(&a);
        bad_event_unpack((struct str){b.p, n}, &a, &back);
    }
    b.p[1] = 9;
    assert_int_equal(bad_event_unpack(buf_str(&b), &a, &back), CODEC_VERSION_UNKNOWN);
    buf_deinit(&b);
    buf_deinit(&again);
    arena_deinit(&a);
}

static void test_bad_record(void **state)
{
    struct bad_event e = {.code = STR_LIT("record_invalid"), .from_log = true, .log_partition = 3, .log_offset = 0};
    struct bad_event back;
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, 1 << 20);
    buf_init(&b, 1 << 16);
    assert_true(bad_event_pack(&e, &b));
    assert_int_equal(bad_event_unpack(buf_str(&b), &a, &back), CODEC_OK);
    assert_true(back.from_log);
    assert_int_equal(back.log_partition, 3);
    assert_int_equal(back.log_offset, 0);
    e.from_log = false;
    b.n = 0;
    assert_true(bad_event_pack(&e, &b));
    assert_int_equal(bad_event_unpack(buf_str(&b), &a, &back), CODEC_OK);
    assert_false(back.from_log);
    buf_deinit(&b);
    arena_deinit(&a);
}

static void test_claim(void **state)
{
    const struct claim_record claim = {STR_LIT("p\0001"), STR_LIT("http://10.0.0.1:8081"), -7};
    struct claim_record back;
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, 64 << 20);
    buf_init(&b, 1 << 16);
    assert_true(claim_pack(&claim, &b));
    assert_int_equal(claim_unpack(buf_str(&b), &a, &back), CODEC_OK);
    assert_true(str_eq(back.instance, claim.instance));
    assert_true(str_eq(back.url, claim.url));
    assert_int_equal(back.time, -7);
    for (size_t n = 0; n < b.n; n++) /* every field is required */
        assert_int_equal(claim_unpack((struct str){b.p, n}, &a, &back), CODEC_INVALID);
    assert_int_equal(b.p[1], CODEC_VERSION);
    b.p[1] = CODEC_VERSION + 1;
    assert_int_equal(claim_unpack(buf_str(&b), &a, &back), CODEC_VERSION_UNKNOWN);
    buf_deinit(&b);
    arena_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_event),
        cmocka_unit_test(test_bad_record),
        cmocka_unit_test(test_claim),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
