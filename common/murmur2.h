/* The hash by which Kafka's Java client chooses a partition. Pure; any thread. */
#ifndef WAYMARK_MURMUR2_H
#define WAYMARK_MURMUR2_H

#include <stddef.h>
#include <stdint.h>

/* murmur2 with Kafka's seed; all 32 bits, the sign not yet cleared. `p` may be NULL when `n` is 0. */
uint32_t murmur2(const void *p, size_t n);

#endif
