/* Receipts of erasures: their ids, what is signed, what they say of Kafka, and what instances tell each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "profiler/receipt.h"

#include <sodium.h>

static const struct state_erasure sample = {.offset = 812,
                                            .time = 1769900399123,
                                            .until = 1769900399500,
                                            .hash = {1, 2, 0xab},
                                            .alias = {0xff},
                                            .events = 12,
                                            .devices = 2,
                                            .orders = 1};

static struct receipt receipt_of(bool shared, int64_t kept)
{
    return (struct receipt){
        .id = "3-812", .erasure = &sample, .completed = 1769900401000, .cache = true, .shared = shared, .kept = kept};
}

static void written(struct buf *b, const struct receipt *r, struct seal_keys *keys)
{
    buf_reset(b);
    receipt_write(b, r, keys);
    assert_false(b->failed);
    assert_true(buf_room(b, JSON_PADDING));
    memset(b->p + b->n, 0, JSON_PADDING);
}

static void test_ids(void **state)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "3",
                                      "3-",
                                      "-3",
                                      "3-x",
                                      "x-3",
                                      "4-0",
                                      "+3-1",
                                      "3--1",
                                      "3-1 ",
                                      "3-1-1",
                                      "0x1-1",
                                      "3-9223372036854775807",
                                      "3-99999999999999999999"};
    char id[RECEIPT_ID_BYTES];
    uint32_t partition;
    int64_t offset;

    (void)state;
    receipt_id(id, 1023, INT64_MAX - 1);
    assert_true(receipt_id_read(str_of(id), 1024, &partition, &offset));
    assert_true(partition == 1023 && offset == INT64_MAX - 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (receipt_id_read(str_of(bad[i]), 4, &partition, &offset))
            fail_msg("%s", bad[i]);
}

/* --- what is signed ------------------------------------------------------------------------------------------- */

static void remove_keys(const char *folder)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void test_the_signature_is_of_the_object(void **state)
{
    char folder[] = "/tmp/waymark-receipt-XXXXXX";
    struct receipt r = receipt_of(true, TIME_DAY);
    struct json_parser *p = json_parser_new();
    struct seal_signature s = {0};
    struct seal_keys *keys;
    const struct json *root;
    struct err e = {0};
    struct buf b;
    bool made;
    size_t n;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(seal_keys_init(folder, &made, &e), 0);
    assert_int_equal(seal_keys_open(folder, SEAL_PROFILER, &keys, &e), 0);
    buf_init(&b, MIB);
    written(&b, &r, keys);
    assert_int_equal(json_parse(p, b.p, b.n, &root, NULL), JSON_OK);
    const struct json *receipt = json_get(root, "receipt"), *signature = json_get(root, "signature");
    struct str key = json_get(signature, "key")->text, text = json_get(signature, "ed25519")->text;
    memcpy(s.id, key.p, key.n);
    assert_int_equal(
        sodium_base642bin(s.bytes, sizeof s.bytes, text.p, text.n, NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL), 0);
    assert_int_equal(seal_receipt_verify(folder, receipt->raw, &s, &e), SEAL_OK);
    for (size_t i = 0; i < receipt->raw.n; i++) /* what other programs make of it without white space is the same */
        assert_true(receipt->raw.p[i] >= ' ' && receipt->raw.p[i] < 0x7f && receipt->raw.p[i] != '\\');
    assert_true(str_is(json_get(receipt, "profile_hash")->text, "0102ab00000000000000000000000000"));
    assert_true(str_is(json_get(receipt, "until")->text, "2026-01-31T22:59:59.500Z"));
    buf_deinit(&b);
    json_parser_free(p);
    seal_keys_free(keys);
    remove_keys(folder);
}

static void test_without_a_key_it_is_not_signed(void **state)
{
    struct receipt r = receipt_of(false, 0);
    struct buf b;

    (void)state;
    buf_init(&b, MIB);
    written(&b, &r, NULL);
    assert_non_null(strstr(b.p, ",\"signature\":null}"));
    assert_non_null(strstr(b.p, "\"event_log\""));
    assert_null(strstr(b.p, "kafka"));
    buf_deinit(&b);
}

/* --- Kafka ---------------------------------------------------------------------------------------------------- */

static void test_the_day_is_named(void **state)
{
    static const struct {
        int64_t kept;
        const char *says;
    } cases[] = {{30 * TIME_DAY, "\"2026-03-03\""},
                 {TIME_HOUR, "\"2026-02-01\""},
                 {TIME_DAY, "\"2026-02-02\""},
                 {0, "null,\"why\""},
                 {-1, "null,\"why\":\"personal values stand there sealed; the b"}};
    char wanted[128];
    struct buf b;

    (void)state;
    buf_init(&b, MIB);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct receipt r = receipt_of(true, cases[i].kept);
        written(&b, &r, NULL);
        snprintf(wanted, sizeof wanted, "\"ids_and_behaviour_until\":%s", cases[i].says);
        if (!strstr(b.p, wanted))
            fail_msg("%s is not in %s", wanted, b.p);
        assert_null(strstr(b.p, "\"event_log\""));
    }
    buf_deinit(&b);
}

/* --- between instances ---------------------------------------------------------------------------------------- */

static void test_erasures_there_and_back(void **state)
{
    struct state_erasure got;
    struct buf b;

    (void)state;
    buf_init(&b, MIB);
    erasure_write(&b, &sample);
    size_t n = b.n;
    assert_true(buf_room(&b, JSON_PADDING));
    memset(b.p + n, 0, JSON_PADDING);
    assert_true(erasure_read(b.p, n, &got));
    assert_true(got.offset == sample.offset && got.time == sample.time && got.until == sample.until);
    assert_true(got.events == 12 && got.devices == 2 && got.orders == 1);
    assert_memory_equal(got.hash, sample.hash, sizeof got.hash);
    assert_memory_equal(got.alias, sample.alias, sizeof got.alias);
    for (size_t cut = 0; cut < n; cut++)
        assert_false(erasure_read(b.p, cut, &got));
    char *events = strstr(b.p, "\"events\":12");
    assert_non_null(events);
    memcpy(events, "\"events\":-1", 11);
    assert_false(erasure_read(b.p, n, &got));
    memcpy(b.p + 9, "zz", 2); /* in the hash */
    assert_false(erasure_read(b.p, n, &got));
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_the_signature_is_of_the_object),
        cmocka_unit_test(test_without_a_key_it_is_not_signed),
        cmocka_unit_test(test_the_day_is_named),
        cmocka_unit_test(test_erasures_there_and_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
