/* The refunds of an order, for order.c alone. Pure. */
#ifndef WAYMARK_ORDER_REFUNDS_H
#define WAYMARK_ORDER_REFUNDS_H

#include <stdbool.h>

#include "profiler/order.h"

/* Fills refunds, refunded and credit_note of an order whose statements and total are known. `bought`: some statement
 * says created, paid, shipped or delivered. 0 or -ENOMEM. */
int order_refunds(struct order *o, bool bought, struct arena *a);

#endif
