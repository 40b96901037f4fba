/* Any bytes as a record between partitions and as a command: what is taken packs into bytes that unpack and pack alike,
 * and is complete. */
#include "proto/internal.h"
#include "proto/keys.h"
#include "tests/support/fuzz_codec.h"

static void try_internal(struct str bytes, struct arena *a, struct buf *one, struct buf *two)
{
    struct internal r;

    if (internal_unpack(bytes, a, &r) != CODEC_OK)
        return;
    assert(!str_has(r.device) || r.device.n <= KEY_ID_MAX_BYTES);
    assert(!str_has(r.user) || r.user.n <= KEY_ID_MAX_BYTES);
    if (r.item_count > INTERNAL_ITEMS)
        return; /* more than are ever packed */
    assert(str_has(internal_key(&r, one)));
    buf_reset(one);
    MUST_PACK_ALIKE(internal, &r, a, one, two);
}

static void try_command(struct str bytes, struct arena *a, struct buf *one, struct buf *two)
{
    struct command c;

    if (command_unpack(bytes, a, &c) == CODEC_OK)
        MUST_PACK_ALIKE(command, &c, a, one, two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_as_both(data, n, try_internal, try_command);
    return 0;
}
