/* The text by which instances compare what they believe of an order sorts as the rank itself does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "profiler/api_ask.h"

static const int64_t times[] = {INT64_MIN,     -62135596800000, -1,       0, 1, 255, 256,
                                1767225600000, 253402300799999, INT64_MAX};

static int64_t any_time(void)
{
    return times[(size_t)rand() % (sizeof times / sizeof *times)];
}

/* Few values of each field, so that every field decides now and then. */
static struct event_rank any_rank(void)
{
    static const uint32_t positions[] = {0, 1, 0x100, UINT32_MAX};
    struct event_rank r = {.trust = rand() % 2 ? TRUST_SERVER : TRUST_BEACON,
                           .key = {.time = any_time(), .received = any_time(), .position = positions[rand() % 4]}};

    r.key.uid.b[rand() % UID_BYTES] = (unsigned char)(rand() % 256);
    return r;
}

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

static void test_sorts_alike(void **state)
{
    char a_text[RANK_TEXT], b_text[RANK_TEXT];

    (void)state;
    srand(7);
    for (int i = 0; i < 200000; i++) {
        struct event_rank a = any_rank(), b = any_rank();
        int64_t kept = a.key.time;
        if (rand() % 2) {
            b = a;
            b.key.uid.b[rand() % UID_BYTES] ^= (unsigned char)(rand() % 2);
            b.key.time = rand() % 2 ? kept : any_time();
        }
        rank_write(a_text, &a);
        rank_write(b_text, &b);
        assert_int_equal(sign(strcmp(a_text, b_text)), sign(event_rank_cmp(&a, &b)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sorts_alike)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
