/* protobuf-c within bounds. Pure; any thread.
 *
 * protobuf-c copies every text it unpacks and trusts counts in the input, so it gets an allocator that hands out the
 * caller's arena up to a budget and never frees. Our messages do not nest in themselves, so depth has a bound. */
#include "proto/pb.h"

#include <assert.h>
#include <errno.h>

#include "common/limits.h"

bool pb_pack(const ProtobufCMessage *m, size_t bound, struct buf *b)
{
    if (b->failed)
        return false;
    if (bound > b->max - b->n)
        bound = protobuf_c_message_get_packed_size(m);
    if (!buf_room(b, bound))
        return false;
    size_t n = protobuf_c_message_pack(m, (uint8_t *)b->p + b->n);
    assert(n <= bound);
    b->n += n;
    return true;
}

struct budget {
    struct arena *arena;
    size_t left;
    bool out_of_memory;
};

static void *budget_alloc(void *data, size_t n)
{
    struct budget *b = data;

    if (n >= b->left)
        return NULL;
    b->left -= n;
    void *p = arena_alloc(b->arena, n);
    /* Where its bound had room, beside what it keeps for itself, it was malloc that had none. */
    if (!p && b->arena->max - b->arena->held > n + KIB)
        b->out_of_memory = true;
    return p;
}

static void budget_free(void *data, void *p)
{
    (void)data; /* the arena's owner frees everything at once */
    (void)p;
}

const ProtobufCMessage *pb_unpack(const ProtobufCMessageDescriptor *type, struct str bytes, size_t budget,
                                  struct arena *a)
{
    struct budget b = {.arena = a, .left = budget};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &b};
    const ProtobufCMessage *m = protobuf_c_message_unpack(type, &allocator, bytes.n, (const uint8_t *)bytes.p);

    if (!m)
        errno = b.out_of_memory ? ENOMEM : EINVAL;
    return m;
}
