/* Exact scaling of a decimal text, for num.c and clock.c. Pure. */
#ifndef WAYMARK_NUM_TEXT_H
#define WAYMARK_NUM_TEXT_H

#include <stdint.h>

#include "common/str.h"

enum num_round {
    NUM_EXACT,     /* NUM_BAD when digits are left over */
    NUM_HALF_AWAY, /* half away from zero */
    NUM_CUT,       /* towards zero */
    NUM_FLOOR      /* towards minus infinity */
};

/* The number times ten to the power of `decimals`, rounded. NUM_OK, NUM_BAD, or NUM_RANGE when the result is over `max`
 * in size. Time is linear in the text whatever the exponent. */
int num_scaled(struct str text, int decimals, enum num_round round, int64_t max, int64_t *out);

#endif
