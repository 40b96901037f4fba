/* What is sent to webhooks: the published example of Standard Webhooks is signed as it should be, bodies are what they
 * are said to be, and only what was chosen stands in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/webhook_body.h"

/* Of the reference libraries' tests: secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw. */
static void published_example(void **state)
{
    unsigned char key[64];
    size_t n;
    char out[WEBHOOK_SIGNATURE_BYTES];

    (void)state;
    assert_int_equal(sodium_base642bin(key, sizeof key, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 32, NULL, &n, NULL,
                                       sodium_base64_VARIANT_ORIGINAL),
                     0);
    webhook_sign(key, n, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, STR_LIT("{\"test\": 2432232314}"), out);
    assert_string_equal(out, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    webhook_sign(key, n, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265331, STR_LIT("{\"test\": 2432232314}"), out);
    assert_string_not_equal(out, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

/* RFC 4231, test case 6: a key longer than a block. It has no id and time, so it is compared with the library's own way
 * over the same bytes. */
static void long_key(void **state)
{
    unsigned char key[131], mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state h;
    char out[WEBHOOK_SIGNATURE_BYTES], want[64];

    (void)state;
    memset(key, 0xaa, sizeof key);
    crypto_auth_hmacsha256_init(&h, key, sizeof key);
    crypto_auth_hmacsha256_update(&h, (const unsigned char *)"a.5.", 4);
    crypto_auth_hmacsha256_final(&h, mac);
    sodium_bin2base64(want, sizeof want, mac, sizeof mac, sodium_base64_VARIANT_ORIGINAL);
    webhook_sign(key, sizeof key, "a", 5, STR_LIT(""), out);
    assert_string_equal(out + 3, want);
}

static void expect_body(const struct audience_change *c, const char *traits, const char *tags, const char *want)
{
    struct buf b;

    buf_init(&b, MIB);
    assert_true(webhook_body_write(c, str_of(traits), str_of(tags), &b));
    buf_add_char(&b, '\0');
    assert_string_equal(b.p, want);
    buf_deinit(&b);
}

static void bodies(void **state)
{
    const struct audience_change entered = {.audience = STR_LIT("loyal \"x\""),
                                            .id = STR_LIT("user:42"),
                                            .entered = true,
                                            .time = 1700000000123,
                                            .entered_at = 1700000000123,
                                            .because = BECAUSE_EVENT,
                                            .message_id = STR_LIT("m1"),
                                            .event_name = STR_LIT("Order Completed"),
                                            .event_time = 1700000000001};
    const struct audience_change left = {.audience = STR_LIT("loyal"),
                                         .id = STR_LIT("anon:1"),
                                         .time = 1700000000123,
                                         .entered_at = TIME_NONE,
                                         .because = BECAUSE_TIME};

    (void)state;
    expect_body(&entered, "{\"city\":\"Bath\"}", "{\"stage\":\"new\"}",
                "{\"type\":\"audience.entered\",\"timestamp\":\"2023-11-14T22:13:20.123Z\",\"data\":{"
                "\"audience\":\"loyal \\\"x\\\"\",\"id\":\"user:42\",\"time\":\"2023-11-14T22:13:20.123Z\","
                "\"entered_at\":\"2023-11-14T22:13:20.123Z\",\"because\":\"event\",\"event\":{\"message_id\":\"m1\","
                "\"name\":\"Order Completed\",\"time\":\"2023-11-14T22:13:20.001Z\"},\"traits\":{\"city\":\"Bath\"},"
                "\"tags\":{\"stage\":\"new\"}}}");
    expect_body(&left, "{}", "{}",
                "{\"type\":\"audience.left\",\"timestamp\":\"2023-11-14T22:13:20.123Z\",\"data\":{"
                "\"audience\":\"loyal\",\"id\":\"anon:1\",\"time\":\"2023-11-14T22:13:20.123Z\",\"because\":\"time\","
                "\"traits\":{},\"tags\":{}}}");
}

static void too_large(void **state)
{
    const struct audience_change c = {.audience = STR_LIT("a"), .entered_at = TIME_NONE, .event_time = TIME_NONE};
    struct buf b;

    (void)state;
    buf_init(&b, 64);
    assert_false(webhook_body_write(&c, STR_LIT("{}"), STR_LIT("{}"), &b));
    buf_deinit(&b);
}

static void expect_chosen(const char *object, int want_rc, const char *want)
{
    static const char *const names[] = {"city", "a \"b\"", "gone"};
    struct arena a;
    struct buf b;

    arena_init(&a, MIB);
    buf_init(&b, MIB);
    assert_int_equal(webhook_choose(str_of(object), names, 3, &a, &b), want_rc);
    buf_add_char(&b, '\0');
    assert_string_equal(b.p, want);
    buf_deinit(&b);
    arena_deinit(&a);
}

static void chosen(void **state)
{
    (void)state;
    expect_chosen("{\"email\":\"x\",\"a \\\"b\\\"\":[1,{\"c\":null}],\"city\":\"B\\u00e4r\"}", 0,
                  "{\"city\":\"B\\u00e4r\",\"a \\\"b\\\"\":[1,{\"c\":null}]}");
    expect_chosen("{}", 0, "{}");
    expect_chosen("[]", 1, "");
    expect_chosen("", 1, "");
    expect_chosen("{\"city\":", 1, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_example), cmocka_unit_test(long_key), cmocka_unit_test(bodies),
        cmocka_unit_test(too_large),         cmocka_unit_test(chosen),
    };

    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
