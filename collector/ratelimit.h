/* Events a second and key: a bucket of one second's worth for each key. A request larger than the bucket passes when it
 * is full and is paid off afterwards, so that no batch is refused for ever. Any thread. */
#ifndef WAYMARK_RATELIMIT_H
#define WAYMARK_RATELIMIT_H

#include <stddef.h>
#include <stdint.h>

struct ratelimit;

/* `rate` events a second for each of `keys` keys, not 0. NULL when memory is out. */
struct ratelimit *ratelimit_new(uint64_t rate, size_t keys);
void ratelimit_free(struct ratelimit *l);
/* Takes `events` of key number `key` at the monotonic time `now` (ms). 0, or the seconds (1 to 300) after which they
 * may be sent again; then nothing was taken. */
unsigned ratelimit_take(struct ratelimit *l, size_t key, uint64_t events, int64_t now);

#endif
