/* The partitioner against the figures that Kafka publishes for its Java client and against partitions worked out from
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/event_log.h"
#include "common/murmur2.h"

static const struct {
    const char *key;
    int32_t hash;
} published[] = {
    {"21", -973932308},
    {"foobar", -790332482},
    {"a-little-bit-long-string", -985981536},
    {"a-little-bit-longer-string", -1486304829},
    {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
    {"abc", 479470107},
};

static void test_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
        struct str key = str_of(published[i].key);

        assert_int_equal((int32_t)murmur2(key.p, key.n), published[i].hash);
    }
}

static void test_partition_clears_the_sign(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
        uint32_t positive = (uint32_t)published[i].hash & UINT32_C(0x7fffffff);

        for (uint32_t n = 1; n < 1030; n = n * 2 + 1)
            assert_int_equal(event_log_partition(str_of(published[i].key), n), positive % n);
    }
}

/* Bytes with the high bit set must not be taken for negative numbers, at every length modulo four. */
static void test_high_bytes(void **state)
{
    static const char bytes[] = "\xff\xfe\x80\x81\xe4\xb8\xad";
    /* As librdkafka's murmur2 partitioner gives them over 1,000,003 partitions. */
    static const uint32_t expected[] = {645856, 10455, 627500, 751293, 646777, 594272, 770127, 404114};

    (void)state;
    for (size_t n = 0; n < sizeof(bytes); n++)
        assert_int_equal(event_log_partition((struct str){bytes, n}, 1000003), expected[n]);
}

static void test_absent_is_empty(void **state)
{
    (void)state;
    assert_int_equal(event_log_partition(STR_NONE, 1000), event_log_partition(STR_LIT(""), 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_partition_clears_the_sign),
        cmocka_unit_test(test_high_bytes),
        cmocka_unit_test(test_absent_is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
