/* What the fuzz targets of packed bytes share: a value that was taken packs into bytes that unpack and pack alike, and
 * one input is tried as two kinds. */
#ifndef WAYMARK_TESTS_FUZZ_CODEC_H
#define WAYMARK_TESTS_FUZZ_CODEC_H

#include <assert.h>
#include <stdint.h>

#include "common/limits.h"
#include "proto/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* `kind` is a struct with kind_pack and kind_unpack; `one` and `two` are empty. */
#define MUST_PACK_ALIKE(kind, value, a, one, two)                                                                      \
    do {                                                                                                               \
        struct kind back_;                                                                                             \
        bool ok_ = kind##_pack(value, one);                                                                            \
        assert(ok_);                                                                                                   \
        int rc_ = kind##_unpack(buf_str(one), a, &back_);                                                              \
        assert(rc_ == CODEC_OK);                                                                                       \
        ok_ = kind##_pack(&back_, two);                                                                                \
        assert(ok_);                                                                                                   \
        assert(str_eq(buf_str(one), buf_str(two)));                                                                    \
    } while (0)

typedef void fuzz_try(struct str bytes, struct arena *a, struct buf *one, struct buf *two);

/* Each with empty buffers and an empty arena. */
static inline void fuzz_as_both(const uint8_t *data, size_t n, fuzz_try *first, fuzz_try *second)
{
    struct str bytes = {(const char *)data, n};
    struct arena a;
    struct buf one, two;

    arena_init(&a, 64 * MIB);
    buf_init(&one, 2 * LIMIT_RECORD_BYTES);
    buf_init(&two, 2 * LIMIT_RECORD_BYTES);
    first(bytes, &a, &one, &two);
    buf_reset(&one);
    buf_reset(&two);
    arena_reset(&a);
    second(bytes, &a, &one, &two);
    buf_deinit(&one);
    buf_deinit(&two);
    arena_deinit(&a);
}

#endif
