/* Any bytes as an event and as a bad event: what is taken packs into bytes that unpack and pack alike. */
#include <assert.h>
#include <stdint.h>

#include "proto/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void try_event(struct str bytes, struct arena *a, struct buf *one, struct buf *two)
{
    struct event e, back;

    if (event_unpack(bytes, a, &e) != CODEC_OK)
        return;
    assert(a->used <= CODEC_UNPACK_BYTES(bytes.n));
    bool ok = event_pack(&e, one);
    assert(ok);
    int rc = event_unpack(buf_str(one), a, &back);
    assert(rc == CODEC_OK);
    ok = event_pack(&back, two);
    assert(ok && str_eq(buf_str(one), buf_str(two)));
}

static void try_bad_event(struct str bytes, struct arena *a, struct buf *one, struct buf *two)
{
    struct bad_event e, back;

    if (bad_event_unpack(bytes, a, &e) != CODEC_OK)
        return;
    bool ok = bad_event_pack(&e, one);
    assert(ok);
    int rc = bad_event_unpack(buf_str(one), a, &back);
    assert(rc == CODEC_OK);
    ok = bad_event_pack(&back, two);
    assert(ok && str_eq(buf_str(one), buf_str(two)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str bytes = {(const char *)data, n};
    struct arena a;
    struct buf one, two;

    arena_init(&a, 64 * MIB);
    buf_init(&one, 2 * LIMIT_RECORD_BYTES);
    buf_init(&two, 2 * LIMIT_RECORD_BYTES);
    try_event(bytes, &a, &one, &two);
    buf_reset(&one);
    buf_reset(&two);
    arena_reset(&a);
    try_bad_event(bytes, &a, &one, &two);
    buf_deinit(&one);
    buf_deinit(&two);
    arena_deinit(&a);
    return 0;
}
