/* murmur2 as org.apache.kafka.common.utils.Utils has it, so that a key lands in the same partition here, in Kafka and
 * in every Java program that writes to the same topic. Bytes are taken little-endian whatever the machine. Pure. */
#include "common/murmur2.h"

#include <assert.h>

#include "common/event_log.h"

enum { SHIFT = 24 };
#define SEED UINT32_C(0x9747b28c)
#define MIX UINT32_C(0x5bd1e995)

static uint32_t load_le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t murmur2(const void *p, size_t n)
{
    const unsigned char *c = p;
    uint32_t h = SEED ^ (uint32_t)n;
    size_t left = n;

    for (; left >= 4; c += 4, left -= 4) {
        uint32_t k = load_le32(c) * MIX;

        k ^= k >> SHIFT;
        h = h * MIX ^ k * MIX;
    }
    if (left == 3)
        h ^= (uint32_t)c[2] << 16;
    if (left >= 2)
        h ^= (uint32_t)c[1] << 8;
    if (left >= 1)
        h = (h ^ c[0]) * MIX;
    h ^= h >> 13;
    h *= MIX;
    return h ^ h >> 15;
}

uint32_t event_log_partition(struct str key, uint32_t partitions)
{
    assert(partitions > 0);
    return (murmur2(key.p, key.n) & UINT32_C(0x7fffffff)) % partitions;
}
