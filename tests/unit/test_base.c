/* Arena, buffer, error text and log: what everything else stands on. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/log.h"

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* --- arena --- */

static void arena_pieces_are_aligned_and_apart(void **state)
{
    struct arena a;
    uint64_t seed = 1;
    char *pieces[2000];
    size_t sizes[2000], sum = 0;

    (void)state;
    arena_init(&a, 64 * MIB);
    for (size_t i = 0; i < 2000; i++) {
        sizes[i] = next_random(&seed) % (i % 100 == 0 ? 100000 : 300);
        pieces[i] = arena_alloc(&a, sizes[i]);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
        memset(pieces[i], (int)(i & 0xff), sizes[i]);
        sum += sizes[i];
    }
    assert_int_equal(a.used, sum);
    assert_true(a.held >= a.used);
    for (size_t i = 0; i < 2000; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal((unsigned char)pieces[i][k], i & 0xff);
    arena_deinit(&a);
    assert_int_equal(a.held, 0);
}

static void arena_keeps_its_bound(void **state)
{
    (void)state;
    for (size_t max = 0; max < 20000; max += 97) {
        struct arena a;
        size_t got = 0;
        arena_init(&a, max);
        while (arena_alloc(&a, 100)) {
            got++;
            assert_true(a.held <= max);
            assert_true(got < 1000);
        }
        assert_true(a.held <= max);
        assert_true(got * 100 <= max);
        if (max > 10000)
            assert_true(got * 100 > max / 2);
        arena_deinit(&a);
    }
}

static void arena_refuses_what_cannot_be(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 1000);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 8));
    assert_null(arena_alloc(&a, 1001));
    assert_non_null(arena_alloc(&a, 0));
    assert_false(str_has(arena_dup(&a, (struct str){"x", 5000})));
    arena_deinit(&a);
    arena_deinit(&a);
}

static void arena_reset_keeps_one_block(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 16 * MIB);
    for (int i = 0; i < 100; i++)
        assert_non_null(arena_alloc(&a, 10000));
    size_t before = a.held;
    arena_reset(&a);
    assert_int_equal(a.used, 0);
    assert_true(a.held > 0 && a.held < before);
    size_t kept = a.held;
    for (int i = 0; i < 20; i++) {
        char *p = arena_zalloc(&a, 1000);
        for (int k = 0; k < 1000; k++)
            assert_int_equal(p[k], 0);
    }
    assert_int_equal(a.held, kept);
    arena_deinit(&a);
}

static void arena_dup_keeps_absence(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 4096);
    assert_false(str_has(arena_dup(&a, STR_NONE)));
    struct str empty = arena_dup(&a, STR_LIT(""));
    assert_true(str_has(empty) && empty.n == 0 && empty.p[0] == '\0');
    struct str s = arena_dup(&a, (struct str){"a\0b", 3});
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.p, "a\0b", 4);
    arena_deinit(&a);
}

/* --- buffer --- */

static void buf_failure_is_sticky(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 10);
    assert_true(str_has(buf_str(&b)));
    assert_true(buf_add_text(&b, "12345"));
    assert_false(buf_add_text(&b, "678901"));
    assert_true(b.failed);
    assert_false(buf_add_text(&b, "6"));
    assert_false(buf_addf(&b, "%d", 6));
    assert_false(buf_add(&b, NULL, 0));
    assert_true(str_is(buf_str(&b), "12345"));
    buf_reset(&b);
    assert_true(buf_add_text(&b, "1234567890"));
    assert_false(buf_add_char(&b, 'x'));
    assert_int_equal(b.n, 10);
    assert_false(buf_room(&b, SIZE_MAX));
    buf_deinit(&b);
    buf_deinit(&b);
    struct buf zero = {0};
    assert_true(buf_add(&zero, "", 0));
    assert_false(buf_add_char(&zero, 'x'));
    buf_deinit(&zero);
}

static void buf_never_passes_its_bound(void **state)
{
    (void)state;
    for (size_t max = 0; max < 600; max++) {
        struct buf b;
        buf_init(&b, max);
        while (buf_add_text(&b, "seven b"))
            assert_true(b.cap <= max);
        assert_int_equal(b.n, max / 7 * 7);
        buf_deinit(&b);
    }
}

static void buf_formats_any_length(void **state)
{
    struct buf b;
    char word[1000];

    (void)state;
    memset(word, 'w', sizeof word);
    for (int n = 100; n < 1000; n += 7) {
        buf_init(&b, (size_t)n + 2);
        assert_true(buf_addf(&b, "<%.*s>", n, word));
        assert_int_equal(b.n, n + 2);
        assert_int_equal(b.p[n + 1], '>');
        buf_deinit(&b);
        buf_init(&b, (size_t)n + 1);
        assert_false(buf_addf(&b, "<%.*s>", n, word));
        assert_int_equal(b.n, 0);
        buf_deinit(&b);
    }
}

/* Small and large numbers alike. */
static uint64_t any_number(uint64_t *seed)
{
    return next_random(seed) >> next_random(seed) % 64;
}

static void numbers_come_back(void **state)
{
    static const uint64_t edges[] = {0, 1, 127, 128, 16383, 16384, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};

    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t seed = i, v = i < 9 ? edges[i] : any_number(&seed), u;
        int64_t s;
        uint32_t w;
        struct buf b;
        buf_init(&b, 64);
        assert_true(buf_add_varint(&b, v) && buf_add_svarint(&b, (int64_t)v) && buf_add_be64(&b, v) &&
                    buf_add_be32(&b, (uint32_t)v));
        const char *p = b.p, *end = b.p + b.n;
        assert_true(get_varint(&p, end, &u) && u == v);
        assert_true(get_svarint(&p, end, &s) && s == (int64_t)v);
        assert_true(get_be64(&p, end, &u) && u == v);
        assert_true(get_be32(&p, end, &w) && w == (uint32_t)v);
        assert_ptr_equal(p, end);
        buf_deinit(&b);
    }
}

static void cut_numbers_are_refused(void **state)
{
    uint64_t seed = 7, u = 99;
    int64_t s = 99;
    uint32_t w = 99;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct buf b;
        buf_init(&b, 64);
        buf_add_varint(&b, any_number(&seed));
        for (size_t n = 0; n < b.n; n++) {
            char *exact = malloc(n ? n : 1);
            memcpy(exact, b.p, n);
            const char *p = exact;
            assert_false(get_varint(&p, exact + n, &u));
            assert_false(get_svarint(&p, exact + n, &s));
            assert_ptr_equal(p, exact);
            free(exact);
        }
        buf_deinit(&b);
    }
    const char *p = "1234567";
    assert_false(get_be64(&p, p + 7, &u));
    assert_false(get_be32(&p, p + 3, &w));
    assert_true(u == 99 && s == 99 && w == 99);
    /* Past 64 bits. */
    const char *wide = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
               *endless = "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01";
    assert_false(get_varint(&wide, wide + 10, &u));
    assert_false(get_varint(&endless, endless + 11, &u));
}

static void big_endian_sorts(void **state)
{
    uint64_t seed = 3;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        uint64_t x = any_number(&seed), y = any_number(&seed);
        struct buf a, b;
        buf_init(&a, 8);
        buf_init(&b, 8);
        buf_add_be64(&a, x);
        buf_add_be64(&b, y);
        int c = memcmp(a.p, b.p, 8);
        assert_int_equal((c > 0) - (c < 0), (x > y) - (x < y));
        buf_deinit(&a);
        buf_deinit(&b);
    }
}

/* --- error text --- */

static void err_is_cut_and_prefixed(void **state)
{
    struct err e = {0};
    char longer[600];

    (void)state;
    err_set(NULL, "nobody %d", 1);
    err_prefix(NULL, "nobody");
    err_set(&e, "no space on %s", "disk");
    err_prefix(&e, "opening %s", "/x");
    assert_string_equal(e.text, "opening /x: no space on disk");
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    err_set(&e, "%s", longer);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    err_prefix(&e, "before");
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_memory_equal(e.text, "before: xxx", 11);
    err_set(&e, "again %s", e.text);
    assert_memory_equal(e.text, "again before: xxx", 17);
}

static void err_cuts_between_characters(void **state)
{
    struct err e;

    (void)state;
    for (int before = 240; before < 256; before++) {
        err_set(&e, "%*s%s", before, "", "äöü€😀äöü€😀");
        size_t n = strlen(e.text);
        assert_true(n >= 252);
        const char *tail = e.text + before;
        static const char whole[] = "äöü€😀äöü€😀";
        assert_memory_equal(tail, whole, n - (size_t)before);
        assert_true(((unsigned char)whole[n - (size_t)before] & 0xc0) != 0x80);
    }
}

/* --- log --- */

/* Points standard error at a pipe; returns its reading end, and the true one in *old. */
static int take_stderr(int *old)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    *old = dup(2);
    dup2(ends[1], 2);
    close(ends[1]);
    return ends[0];
}

static void give_back(int old)
{
    dup2(old, 2);
    close(old);
}

static char *read_all(int fd, char *text, size_t size)
{
    ssize_t n = read(fd, text, size - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void log_lines_are_whole(void **state)
{
    char text[8192];
    int old, fd = take_stderr(&old);

    (void)state;
    log_debug("not shown");
    log_error("bad \"%s\"", "one\ntwo\x1b[31m ä");
    log_set_level(LOG_DEBUG);
    log_debug("shown");
    log_set_level(LOG_ERROR);
    log_warn("not shown");
    log_set_level(LOG_INFO);
    give_back(old);
    read_all(fd, text, sizeof text);
    close(fd);
    /* 2026-01-31T23:59:59.123Z error … */
    assert_string_equal(strchr(text, ' '), strstr(text, " error bad"));
    assert_non_null(strstr(text, " error bad \"one\\x0atwo\\x1b[31m ä\"\n"));
    assert_non_null(strstr(text, " debug shown\n"));
    assert_null(strstr(text, "not shown"));
}

static void log_cuts_a_long_line(void **state)
{
    char text[8192], longer[5000];
    int old, fd = take_stderr(&old);

    (void)state;
    memset(longer, '\x01', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    log_info("%s", longer);
    give_back(old);
    read_all(fd, text, sizeof text);
    close(fd);
    size_t n = strlen(text);
    assert_true(n > 1000 && n <= 4096);
    assert_int_equal(text[n - 1], '\n');
    assert_ptr_equal(strchr(text, '\n'), text + n - 1);
}

static void log_drops_and_counts_when_nobody_reads(void **state)
{
    char text[1 << 17];
    int old, fd = take_stderr(&old);
    uint64_t before = log_dropped();

    (void)state;
    for (int i = 0; i < 3000; i++) /* more than a pipe holds; a blocking write would hang here */
        log_info("line %d of those that nobody reads while they are written", i);
    uint64_t dropped = log_dropped() - before;
    assert_true(dropped > 0 && dropped < 3000);
    size_t lines = 0, got = 0;
    read_all(fd, text, sizeof text);
    for (char *p = text; *p; p++)
        lines += *p == '\n';
    got = lines + dropped;
    assert_int_equal(got, 3000);
    log_info("after");
    give_back(old);
    read_all(fd, text, sizeof text);
    close(fd);
    char want[100];
    snprintf(want, sizeof want, " warn log: %llu lines were dropped\n", (unsigned long long)dropped);
    assert_non_null(strstr(text, want));
    assert_non_null(strstr(text, " info after\n"));
}

static void log_limited_holds_back(void **state)
{
    static struct log_limit never = {.period_ms = 1000000}, always = {.period_ms = -1};
    char text[8192];
    int old, fd = take_stderr(&old);

    (void)state;
    for (int i = 0; i < 5; i++)
        log_limited(&never, LOG_WARN, "queue full %d", i);
    atomic_store(&never.next_ms, 0); /* the period is over */
    log_limited(&never, LOG_WARN, "queue full %d", 5);
    for (int i = 0; i < 3; i++)
        log_limited(&always, LOG_WARN, "each %d", i);
    give_back(old);
    read_all(fd, text, sizeof text);
    close(fd);
    assert_non_null(strstr(text, "queue full 0\n"));
    assert_null(strstr(text, "queue full 4"));
    assert_non_null(strstr(text, "queue full 5 (4 more like it were held back)\n"));
    assert_non_null(strstr(text, "each 0\n"));
    assert_non_null(strstr(text, "each 2\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_pieces_are_aligned_and_apart),
        cmocka_unit_test(arena_keeps_its_bound),
        cmocka_unit_test(arena_refuses_what_cannot_be),
        cmocka_unit_test(arena_reset_keeps_one_block),
        cmocka_unit_test(arena_dup_keeps_absence),
        cmocka_unit_test(buf_failure_is_sticky),
        cmocka_unit_test(buf_never_passes_its_bound),
        cmocka_unit_test(buf_formats_any_length),
        cmocka_unit_test(numbers_come_back),
        cmocka_unit_test(cut_numbers_are_refused),
        cmocka_unit_test(big_endian_sorts),
        cmocka_unit_test(err_is_cut_and_prefixed),
        cmocka_unit_test(err_cuts_between_characters),
        cmocka_unit_test(log_lines_are_whole),
        cmocka_unit_test(log_cuts_a_long_line),
        cmocka_unit_test(log_drops_and_counts_when_nobody_reads),
        cmocka_unit_test(log_limited_holds_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
