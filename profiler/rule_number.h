/* The numbers of rules: exact quotients of whole numbers in 128 bits. 0.1 + 0.2 == 0.3, a third three times is one, and
 * amounts, counts and days mix without a float. Comparing is always exact. What is computed is exact while both halves
 * fit 127 bits after reduction; beyond, both halves lose their last bits and the result is right to 60 bits, and what
 * is itself beyond 2^126 is no number. Pure. */
#ifndef WAYMARK_RULE_NUMBER_H
#define WAYMARK_RULE_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/str.h"
#include "profiler/rule_tree.h"

/* `below` above 0. Not reduced. */
static inline struct rule_number rule_number_of(__int128 above, __int128 below)
{
    return (struct rule_number){above, below};
}

static inline struct rule_number rule_number_of_int(__int128 v)
{
    return (struct rule_number){v, 1};
}

/* The results of these are false, and *out is not written, where there is no number: beyond the bounds, or divided by
 * zero. *out may be one of the operands. */
bool rule_number_add(struct rule_number a, struct rule_number b, struct rule_number *out);
bool rule_number_sub(struct rule_number a, struct rule_number b, struct rule_number *out);
bool rule_number_mul(struct rule_number a, struct rule_number b, struct rule_number *out);
bool rule_number_div(struct rule_number a, struct rule_number b, struct rule_number *out);
/* What is left of a after the whole part of a / b, with the sign of a. */
bool rule_number_mod(struct rule_number a, struct rule_number b, struct rule_number *out);
struct rule_number rule_number_neg(struct rule_number a);

/* Less than, equal to or greater than 0 as a is to b. Exact. */
int rule_number_cmp(struct rule_number a, struct rule_number b);
static inline int rule_number_sign(struct rule_number a)
{
    return (a.above > 0) - (a.above < 0);
}
static inline bool rule_number_whole(struct rule_number a)
{
    return a.below == 1 || a.above % a.below == 0;
}
/* Towards zero, and towards minus infinity. */
static inline __int128 rule_number_cut(struct rule_number a)
{
    return a.above / a.below;
}
__int128 rule_number_floor(struct rule_number a);
/* In lowest terms. */
struct rule_number rule_number_reduced(struct rule_number a);

/* From the text of a JSON number: exact up to 36 digits with exponents of up to 36, beyond which it is false. */
bool rule_number_read(struct str text, struct rule_number *out);
/* As JSON: all digits of a decimal that ends within twenty places, else the shortest text of the nearest double. */
void rule_number_write(struct rule_number a, struct buf *b);
long double rule_number_float(struct rule_number a);

#endif
