/* Chunks: what is written is read back; damaged bytes are refused, never run over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "profiler/chunk.h"

enum { MOST = 200 };

static struct chunk_entry entries[MOST];
static const struct chunk_entry *sorted[MOST];
static char payload[MOST * 4];

static void make(size_t n)
{
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (char)(i * 31);
    for (size_t i = 0; i < n; i++) {
        entries[i] = (struct chunk_entry){
            .key = {.time = (int64_t)(i / 3) * 977 - 5000,
                    .received = (int64_t)i * 1013 - 9000,
                    .position = (uint32_t)i * 77},
            .flags = (unsigned)i % 32,
            .bytes = {payload + i, i * 3},
        };
        memset(entries[i].key.uid.b, (int)i, UID_BYTES);
        sorted[i] = &entries[i];
    }
}

static void read_back(struct str value, size_t n)
{
    struct chunk_reader r;
    struct chunk_entry e;

    assert_true(chunk_open(value, &r));
    assert_int_equal(r.left, n);
    if (n)
        assert_int_equal(r.time, entries[0].key.time);
    for (size_t i = 0; i < n; i++) {
        assert_true(chunk_next(&r, &e));
        assert_int_equal(event_key_cmp(&e.key, &entries[i].key), 0);
        assert_int_equal(e.flags, entries[i].flags);
        assert_true(str_eq(e.bytes, entries[i].bytes));
    }
    assert_false(chunk_next(&r, &e));
    assert_int_equal(r.left, 0);
}

static void what_is_written_is_read(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 96, MOST};
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        make(sizes[i]);
        buf_reset(&b);
        assert_true(chunk_write(sorted, sizes[i], &b));
        read_back(buf_str(&b), sizes[i]);
    }
    buf_deinit(&b);
}

static void times_of_any_size(void **state)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX};
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    make(5);
    for (size_t i = 0; i < 5; i++) {
        entries[i].key.time = times[i];
        entries[i].key.received = times[4 - i];
        entries[i].key.position = UINT32_MAX;
    }
    assert_true(chunk_write(sorted, 5, &b));
    read_back(buf_str(&b), 5);
    buf_deinit(&b);
}

static void appended_to_what_is_there(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    make(7);
    assert_true(buf_add_text(&b, "before"));
    assert_true(chunk_write(sorted, 7, &b));
    read_back((struct str){b.p + 6, b.n - 6}, 7);
    buf_deinit(&b);
}

static void a_full_buffer_says_so(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 64);
    make(7);
    assert_false(chunk_write(sorted, 7, &b));
    buf_deinit(&b);
}

/* Reads as far as it goes; under the sanitizers that is the test. */
static void walk(struct str value)
{
    char *copy = malloc(value.n ? value.n : 1); /* so that one byte too far is seen */
    struct chunk_reader r;
    struct chunk_entry e;
    size_t n = 0;

    memcpy(copy, value.p, value.n);
    if (chunk_open((struct str){copy, value.n}, &r))
        while (chunk_next(&r, &e))
            n += e.bytes.n;
    assert_true(n <= value.n);
    free(copy);
}

static void damaged_bytes_do_no_harm(void **state)
{
    uint32_t random = 1;
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    make(30);
    assert_true(chunk_write(sorted, 30, &b));
    for (size_t n = 0; n < b.n; n++) {
        struct chunk_reader r;

        assert_false(chunk_open((struct str){b.p, n}, &r));
        walk((struct str){b.p, n});
    }
    for (size_t i = 0; i < 20000; i++) {
        size_t at = (random = random * 1664525 + 1013904223) % b.n;
        char was = b.p[at];

        b.p[at] = (char)(random >> 24);
        walk(buf_str(&b));
        b.p[at] = was;
    }
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),   cmocka_unit_test(times_of_any_size),
        cmocka_unit_test(appended_to_what_is_there), cmocka_unit_test(a_full_buffer_says_so),
        cmocka_unit_test(damaged_bytes_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
