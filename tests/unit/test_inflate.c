/* Compressed bodies: whole, damaged, and made to burst. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "common/inflate.h"
#include "common/json.h"
#include "common/limits.h"

#define GZIP 16
#define ZLIB 0
#define MAX_OUT (1 * MIB)

static void compress_to(struct buf *out, int format, const char *p, size_t n)
{
    z_stream z = {.next_in = (Bytef *)(size_t)p, .avail_in = (uInt)n};

    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, MAX_WBITS + format, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_true(buf_room(out, deflateBound(&z, n)));
    z.next_out = (Bytef *)out->p + out->n;
    z.avail_out = (uInt)(out->cap - out->n);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->n += z.total_out;
    deflateEnd(&z);
}

/* From an exact copy, so that a sanitizer sees a read past the end. */
static int run(struct str in, size_t max, struct buf *out)
{
    char *copy = malloc(in.n ? in.n : 1);
    int r;

    assert_non_null(copy);
    if (in.n)
        memcpy(copy, in.p, in.n);
    r = inflate_all((struct str){copy, in.n}, max, out);
    free(copy);
    return r;
}

static void there_and_back(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 255, 4096, 16383, 16384, 16385, 100000, MAX_OUT - 1, MAX_OUT};
    char *text = malloc(MAX_OUT);
    unsigned seed = 3;

    (void)state;
    for (size_t i = 0; i < MAX_OUT; i++)
        text[i] = (char)('a' + rand_r(&seed) % (i % 1000 < 500 ? 2 : 26));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int format = 0; format <= GZIP; format += GZIP) {
            struct buf in, out;
            buf_init(&in, 4 * MIB);
            buf_init(&out, MAX_OUT + JSON_PADDING);
            buf_add_text(&out, "left from before");
            compress_to(&in, format, text, sizes[i]);
            assert_true(inflate_wanted(buf_str(&in)));
            assert_int_equal(run(buf_str(&in), MAX_OUT, &out), INFLATE_OK);
            assert_int_equal(out.n, sizes[i]);
            assert_memory_equal(out.p ? out.p : "", text, sizes[i]);
            assert_true(out.cap >= out.n + JSON_PADDING);
            if (sizes[i] > 0)
                assert_int_equal(run(buf_str(&in), sizes[i] - 1, &out), INFLATE_TOO_LARGE);
            buf_deinit(&in);
            buf_deinit(&out);
        }
    }
    free(text);
}

static void members(void **state)
{
    struct buf in, out;

    (void)state;
    buf_init(&in, 4 * MIB);
    buf_init(&out, MAX_OUT + JSON_PADDING);
    compress_to(&in, GZIP, "one,", 4);
    compress_to(&in, GZIP, "", 0);
    compress_to(&in, GZIP, "two", 3);
    assert_int_equal(run(buf_str(&in), MAX_OUT, &out), INFLATE_OK);
    assert_true(str_is(buf_str(&out), "one,two"));
    assert_int_equal(run(buf_str(&in), 6, &out), INFLATE_TOO_LARGE);
    size_t whole = in.n;
    buf_add(&in, "\0\0\0", 3); /* padding, as tapes have it */
    assert_int_equal(run(buf_str(&in), MAX_OUT, &out), INFLATE_OK);
    buf_add(&in, "x", 1);
    assert_int_equal(run(buf_str(&in), MAX_OUT, &out), INFLATE_INVALID);
    in.n = whole;
    buf_add(&in, "\x1f\x8b\x08", 3); /* a second one that is cut */
    assert_int_equal(run(buf_str(&in), MAX_OUT, &out), INFLATE_INVALID);
    buf_deinit(&in);
    buf_deinit(&out);
}

static void zlib_has_no_members(void **state)
{
    struct buf in, out;

    (void)state;
    buf_init(&in, 4 * MIB);
    buf_init(&out, MAX_OUT + JSON_PADDING);
    compress_to(&in, ZLIB, "one", 3);
    compress_to(&in, ZLIB, "two", 3);
    assert_int_equal(run(buf_str(&in), MAX_OUT, &out), INFLATE_INVALID);
    buf_deinit(&in);
    buf_deinit(&out);
}

/* Cut anywhere, or with a bit changed: never taken for another text. */
static void damaged(void **state)
{
    static const char text[] = "{\"type\":\"track\",\"event\":\"Product Viewed\",\"userId\":\"u\",\"properties\":{}}";
    struct buf in, out;
    int taken = 0;

    (void)state;
    buf_init(&in, 4 * MIB);
    buf_init(&out, MAX_OUT + JSON_PADDING);
    compress_to(&in, GZIP, text, sizeof text - 1);
    for (size_t n = 0; n < in.n; n++)
        assert_int_equal(run((struct str){in.p, n}, MAX_OUT, &out), INFLATE_INVALID);
    for (size_t i = 0; i < in.n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            in.p[i] = (char)(in.p[i] ^ 1 << bit);
            int r = run(buf_str(&in), MAX_OUT, &out);
            /* Some bits say nothing about the text: time, system, filling before the checksum. */
            taken += r == INFLATE_OK;
            assert_true(r == INFLATE_INVALID || str_is(buf_str(&out), text));
            in.p[i] = (char)(in.p[i] ^ 1 << bit);
        }
    }
    assert_true(taken < 70);
    assert_int_equal(run(STR_LIT("\x1f\x8b\x08nonsense"), MAX_OUT, &out), INFLATE_INVALID);
    assert_int_equal(run(STR_LIT("{}"), MAX_OUT, &out), INFLATE_INVALID);
    buf_deinit(&in);
    buf_deinit(&out);
}

/* 200 MiB in 200 KB, and the same in a hundred members. */
static void bombs(void **state)
{
    size_t n = 2 * MIB;
    char *blank = calloc(1, n);
    struct buf in, out;

    (void)state;
    buf_init(&in, 4 * MIB);
    buf_init(&out, MAX_OUT + JSON_PADDING);
    compress_to(&in, GZIP, blank, n);
    assert_int_equal(run(buf_str(&in), MAX_OUT, &out), INFLATE_TOO_LARGE);
    assert_true(out.cap <= MAX_OUT + JSON_PADDING);
    for (int i = 0; i < 99; i++)
        compress_to(&in, GZIP, blank, n);
    assert_int_equal(run(buf_str(&in), MAX_OUT, &out), INFLATE_TOO_LARGE);
    assert_true(out.cap <= MAX_OUT + JSON_PADDING);
    buf_reset(&in);
    for (int i = 0; i < 20000; i++)
        compress_to(&in, GZIP, "", 0);
    assert_int_equal(run(buf_str(&in), MAX_OUT, &out), INFLATE_OK);
    assert_int_equal(out.n, 0);
    free(blank);
    buf_deinit(&in);
    buf_deinit(&out);
}

static void wanted(void **state)
{
    (void)state;
    assert_true(inflate_wanted(STR_LIT("\x1f\x8b\x08")));
    assert_true(inflate_wanted(STR_LIT("\x78\x9c")));
    assert_true(inflate_wanted(STR_LIT("\x78\x01")));
    assert_true(inflate_wanted(STR_LIT("\x78\xda")));
    assert_false(inflate_wanted(STR_LIT("\x1f\x8b")));
    assert_false(inflate_wanted(STR_LIT("\x1f\x8b\x07")));
    assert_false(inflate_wanted(STR_LIT("x^2=1"))); /* a form, not a stream */
    assert_false(inflate_wanted(STR_LIT("x")));
    assert_false(inflate_wanted(STR_LIT("[1]")));
    assert_false(inflate_wanted(STR_LIT("")));
    assert_false(inflate_wanted(STR_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(members), cmocka_unit_test(zlib_has_no_members),
        cmocka_unit_test(damaged),        cmocka_unit_test(bombs),   cmocka_unit_test(wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
