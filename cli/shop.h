/* A seeded shop: people, visits, carts, orders, log-ins, refunds, as events on the wire. The seed and the start time
 * decide everything. Pure; one thread. */
#ifndef WAYMARK_SHOP_H
#define WAYMARK_SHOP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

struct shop;

enum shop_kind { SHOP_BEACON, SHOP_ORDER_LOG };

struct shop_event {
    enum shop_kind kind; /* which key and route it goes by */
    const char *type;    /* for counting: page, track, identify, order */
    char profile[64];    /* whose it is, by ids alone */
    char message_id[64];
};

/* `name` goes into all ids, so that several shops can send to one instance; the seed into those of messages and orders,
 * so that another seed sends other events of the same people. `start`: event time of the first visits. */
struct shop *shop_new(uint64_t seed, unsigned name, unsigned people, int64_t start);
void shop_free(struct shop *s);
/* Appends the JSON of the next event. `now`: when it will be sent, for devices whose clock is wrong. */
void shop_next(struct shop *s, int64_t now, struct buf *json, struct shop_event *out);
/* A random number below n of the shop's own sequence. */
uint64_t shop_random(struct shop *s, uint64_t n);

#endif
