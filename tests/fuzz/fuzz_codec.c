/* Any bytes as an event and as a bad event: what is taken packs into bytes that unpack and pack alike. */
#include "tests/support/fuzz_codec.h"

static void try_event(struct str bytes, struct arena *a, struct buf *one, struct buf *two)
{
    struct event e;

    if (event_unpack(bytes, a, &e) != CODEC_OK)
        return;
    assert(a->used <= CODEC_UNPACK_BYTES(bytes.n));
    MUST_PACK_ALIKE(event, &e, a, one, two);
}

static void try_bad_event(struct str bytes, struct arena *a, struct buf *one, struct buf *two)
{
    struct bad_event e;

    if (bad_event_unpack(bytes, a, &e) == CODEC_OK)
        MUST_PACK_ALIKE(bad_event, &e, a, one, two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_as_both(data, n, try_event, try_bad_event);
    return 0;
}
