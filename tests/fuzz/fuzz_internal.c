/* Any bytes as a record between partitions and as a command: what is taken packs into bytes that unpack and pack alike,
 * and is complete. */
#include <assert.h>
#include <stdint.h>

#include "proto/codec.h"
#include "proto/internal.h"
#include "proto/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void try_internal(struct str bytes, struct arena *a, struct buf *one, struct buf *two)
{
    struct internal r, back;

    if (internal_unpack(bytes, a, &r) != CODEC_OK)
        return;
    assert(!str_has(r.device) || r.device.n <= KEY_ID_MAX_BYTES);
    assert(!str_has(r.user) || r.user.n <= KEY_ID_MAX_BYTES);
    if (r.item_count > INTERNAL_ITEMS)
        return; /* more than are ever packed */
    buf_reset(one);
    assert(str_has(internal_key(&r, one)));
    buf_reset(one);
    bool ok = internal_pack(&r, one);
    assert(ok);
    int rc = internal_unpack(buf_str(one), a, &back);
    assert(rc == CODEC_OK);
    ok = internal_pack(&back, two);
    assert(ok && str_eq(buf_str(one), buf_str(two)));
}

static void try_command(struct str bytes, struct arena *a, struct buf *one, struct buf *two)
{
    struct command c, back;

    if (command_unpack(bytes, a, &c) != CODEC_OK)
        return;
    bool ok = command_pack(&c, one);
    assert(ok);
    int rc = command_unpack(buf_str(one), a, &back);
    assert(rc == CODEC_OK);
    ok = command_pack(&back, two);
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
    try_internal(bytes, &a, &one, &two);
    buf_reset(&one);
    buf_reset(&two);
    arena_reset(&a);
    try_command(bytes, &a, &one, &two);
    buf_deinit(&one);
    buf_deinit(&two);
    arena_deinit(&a);
    return 0;
}
